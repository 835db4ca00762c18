#include "graft/evaluate/generalised_zero_shot.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/graft.hpp"
#include "zero_shot_cases.hpp"

using namespace graft;
using namespace zero_shot_cases;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Case {
  Tensor<double> logits;
  Tensor<std::int64_t> labels;
  Tensor<bool> seen;
};
Case made(const ProtocolCase& c) { return {matrix(c.scores), from_vector(c.labels), from_vector(c.seen) == 1}; }
Case random_case(std::uint64_t seed) {
  const Random random(seed);
  return {randn<double>({60, 9}, random.stream("logits")), generate({60}, [](Index i) { return i % 9; }),
          generate({9}, [](Index c) { return c < 6; })};
}

}  // namespace

TEST_CASE("zero-shot figures are scikit-learn's balanced accuracies", "[evaluate]") {
  for (const ProtocolCase& each : kProtocol) {
    const Case c = made(each);
    for (std::size_t g = 0; g < each.gammas.size(); ++g) {
      const ZeroShotFigures f = zero_shot_figures(c.logits, c.labels, c.seen, each.gammas[g]);
      CHECK(f.gamma == each.gammas[g]);
      CHECK(f.seen == Approx(each.seen_and_unseen[g][0]).margin(1e-12));
      CHECK(f.unseen == Approx(each.seen_and_unseen[g][1]).margin(1e-12));
    }
    CHECK(ausuc(c.logits, c.labels, c.seen) == Approx(each.area).margin(1e-12));
    const ZeroShotFigures best = best_calibration(c.logits, c.labels, c.seen);
    CHECK(best.harmonic == Approx(each.best).margin(1e-12));
    CHECK(zero_shot_figures(c.logits, c.labels, c.seen, best.gamma).harmonic == Approx(best.harmonic).margin(1e-12));
  }
  CHECK(kSpace.size() == 3);  // of semantic_space_test.cpp
}

TEST_CASE("the harmonic mean is 0 if either is, and at most twice the lesser", "[evaluate]") {
  CHECK(harmonic_mean(0, 0.7) == 0);
  CHECK(harmonic_mean(0.7, 0) == 0);
  CHECK(harmonic_mean(0, 0) == 0);
  CHECK(harmonic_mean(0.4, 0.4) == Approx(0.4).epsilon(1e-15));
  CHECK(harmonic_mean(0.2, 0.6) == Approx(0.3).epsilon(1e-15));
  for (const double s : {0.01, 0.3, 1.0})
    for (const double u : {0.01, 0.3, 1.0}) {
      CHECK(harmonic_mean(s, u) <= 2 * std::min(s, u) * (1 + 1e-15));
      CHECK(harmonic_mean(s, u) == harmonic_mean(u, s));
    }
}

TEST_CASE("classes count alike whatever their items, and those without items do not count", "[evaluate]") {
  // Class 0 has nine items, all right, class 1 one, wrong; class 2 is unseen and right; class 3 has none.
  const auto labels = generate({11}, [](Index i) { return i < 9 ? 0 : i - 8; });
  const Tensor<float> logits = one_hot<float>(generate({11}, [](Index i) { return i == 10 ? 2 : 0; }), 4);
  const Tensor<bool> seen = tensor<bool>({true, true, false, false});
  const ZeroShotFigures f = zero_shot_figures(logits, labels, seen);
  CHECK(f.seen == Approx(0.5));
  CHECK(f.unseen == 1);
  CHECK(f.harmonic == Approx(2 * 0.5 / 1.5));
}

TEST_CASE("the limits of calibration: seen classes alone, unseen classes alone", "[evaluate]") {
  for (std::uint64_t seed : {1u, 2u, 3u}) {
    const auto [logits, labels, seen] = random_case(seed);
    const ZeroShotFigures low = zero_shot_figures(logits, labels, seen, -kInfinity),
                          high = zero_shot_figures(logits, labels, seen, kInfinity);
    CHECK(low.unseen == 0);
    CHECK(low.harmonic == 0);
    CHECK(high.seen == 0);
    CHECK(high.harmonic == 0);
    // Each side judged by itself, on its own classes.
    double right[2] = {0, 0};
    for (Index i = 0; i < 60; ++i) {
      const Index label = i % 9, from = label < 6 ? 0 : 6, end = label < 6 ? 6 : 9;
      bool best = true;
      for (Index c = from; c < end; ++c) best = best && logits.at({i, c}) <= logits.at({i, label});
      right[label < 6] += best;
    }
    std::vector<double> of_class(9);
    for (Index i = 0; i < 60; ++i) ++of_class[i % 9];
    const auto points = seen_unseen_curve(logits, labels, seen);
    CHECK(points.front().gamma == -kInfinity);
    CHECK(points.back().gamma == kInfinity);
    CHECK(points.front().seen == Approx(low.seen).margin(1e-12));
    CHECK(points.back().unseen == Approx(high.unseen).margin(1e-12));
    CHECK(zero_shot_figures(logits, labels, seen, -1e9).seen == low.seen);
    CHECK(zero_shot_figures(logits, labels, seen, 1e9).unseen == high.unseen);
    // 60 items of 9 classes: 7 of the first six each, 6 of the others.
    CHECK(low.seen == Approx(right[1] / 42).margin(1e-12));
    CHECK(high.unseen == Approx(right[0] / 18).margin(1e-12));
  }
}

TEST_CASE("along the curve S falls and U rises, and each point is what its gamma gives", "[evaluate]") {
  const auto [logits, labels, seen] = random_case(4);
  const auto points = seen_unseen_curve(logits, labels, seen);
  double area = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ZeroShotFigures f = zero_shot_figures(logits, labels, seen, points[i].gamma);
    CHECK(f.seen == Approx(points[i].seen).margin(1e-12));
    CHECK(f.unseen == Approx(points[i].unseen).margin(1e-12));
    CHECK(f.harmonic == Approx(points[i].harmonic).margin(1e-12));
    if (i == 0) continue;
    CHECK(points[i].gamma > points[i - 1].gamma);
    CHECK(points[i].seen <= points[i - 1].seen + 1e-12);
    CHECK(points[i].unseen >= points[i - 1].unseen - 1e-12);
    area += (points[i].unseen - points[i - 1].unseen) * (points[i].seen + points[i - 1].seen) / 2;
  }
  CHECK(ausuc(logits, labels, seen) == Approx(area).epsilon(1e-13));
  CHECK(area <= points.front().seen * points.back().unseen + 1e-12);
}

TEST_CASE("AUSUC is 1 for answers that are all right at one gamma, and S U where sides never meet", "[evaluate]") {
  const auto labels = generate({12}, [](Index i) { return i % 4; });
  const Tensor<bool> seen = tensor<bool>({true, true, false, false});
  const Tensor<double> perfect = 10.0 * one_hot<double>(labels, 4);
  CHECK(ausuc(perfect, labels, seen) == Approx(1).epsilon(1e-14));
  // A bias of 1000 to the seen ones changes nothing of the curve, but all of H.
  const Tensor<double> biased = perfect + tensor<double>({1000, 1000, 0, 0});
  CHECK(zero_shot_figures(biased, labels, seen).harmonic == 0);
  CHECK(ausuc(biased, labels, seen) == Approx(1).epsilon(1e-14));
  const ZeroShotFigures best = best_calibration(biased, labels, seen);
  CHECK(best.harmonic == Approx(1).epsilon(1e-14));
  CHECK(zero_shot_figures(biased, labels, seen, best.gamma).harmonic == Approx(1).epsilon(1e-14));
  CHECK(best.gamma == Approx(1000).margin(10.1));
  // All items change sides at the same gamma: a straight line from (0, S) to (U, 0), half of the rectangle.
  const Tensor<double> level = zeros<double>({12, 4});
  CHECK(ausuc(level, labels, seen) == Approx(0.5 * 0.5 / 2).epsilon(1e-13));
}

TEST_CASE("ties are answered as argmax answers, and infinities are scores", "[evaluate]") {
  const auto labels = tensor<std::int64_t>({0, 1});
  for (const bool first : {false, true}) {
    const Tensor<bool> seen = tensor<bool>({first, !first});
    const ZeroShotFigures f = zero_shot_figures(zeros<float>({2, 2}), labels, seen);
    CHECK(f.seen == (first ? 1 : 0));
    CHECK(f.unseen == (first ? 0 : 1));
  }
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor<float> sure = tensor<float>({{inf, -inf}, {-inf, inf}});
  const Tensor<bool> seen = tensor<bool>({true, false});
  CHECK(zero_shot_figures(sure, labels, seen, 1e30).harmonic == 1);
  CHECK(ausuc(sure, labels, seen) == 1);
  for (const ZeroShotFigures& point : seen_unseen_curve(sure, labels, seen)) CHECK(point.gamma == point.gamma);
}

TEST_CASE("zero-shot figures refuse what they cannot judge", "[evaluate]") {
  const auto labels = tensor<std::int64_t>({0, 1});
  const Tensor<bool> seen = tensor<bool>({true, false});
  const Tensor<float> logits = zeros<float>({2, 2});
  CHECK_THROWS_AS(zero_shot_figures(logits, tensor<std::int64_t>({0}), seen), ShapeError);
  CHECK_THROWS_AS(ausuc(logits, labels, tensor<bool>({true})), ShapeError);
  CHECK_THROWS_AS(zero_shot_figures(logits, tensor<std::int64_t>({0, 2}), seen), IndexError);
  CHECK_THROWS_WITH(zero_shot_figures(logits, tensor<std::int64_t>({0, 0}), seen),
                    contains("zero_shot_figures: no item is of an unseen class"));
  CHECK_THROWS_WITH(best_calibration(logits, tensor<std::int64_t>({1, 1}), seen),
                    contains("best_calibration: no item is of a seen class"));
  CHECK_THROWS_WITH(seen_unseen_curve(full<float>({2, 2}, NAN), labels, seen),
                    contains("seen_unseen_curve: a logit of item 0 is not a number"));
  CHECK_THROWS_WITH(zero_shot_figures(logits, labels, seen, NAN), contains("gamma is not a number"));
}
