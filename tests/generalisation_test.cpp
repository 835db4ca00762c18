// Generalisation: figures by hand, and robust accuracies of linear models, for which the worst input of a ball and the
// share of noisy ones are known in closed form.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/evaluate/generalisation.hpp"
#include "graft/ops/losses.hpp"
#include "layers.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Labels = Tensor<std::int64_t>;
constexpr double kNone = std::numeric_limits<double>::infinity();
constexpr InputRange kAnywhere{};

/// Logits (0, w x + b): class 1 where w x + b is above 0.
struct Half {
  Tensor<double> w;
  double b = 0;
  GRAFT_FIELDS(w)
  GRAFT_CONFIG(b)
  Tensor<double> operator()(const Tensor<double>& x) const {
    const Tensor<double> score = sum(x * w, {1}, true) + b;
    return concat<double>({zeros<double>(score.shape()), score}, 1);
  }
};
/// +1 for class 1, -1 for class 0, [items, 1].
Tensor<double> signs(const Labels& labels) { return reshape(2 * cast<double>(labels) - 1, {labels.count(), 1}); }
Labels random_labels(Index count, std::uint64_t seed) {
  const Random random(seed);
  return generate({count},
                  [&](Index i) { return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(i), 2)); });
}
double normal_share(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

}  // namespace

TEST_CASE("gaps and drops", "[evaluate]") {
  CHECK(train_test_gap(0.75, 0.5) == 0.25);
  CHECK(train_test_gap(0.5, 0.75) == -0.25);
  CHECK(train_test_gap(0.25, 1.25, false) == 1);  // of a loss
  CHECK(out_of_distribution_drop(0.75, 0.25) == 0.5);
  CHECK(out_of_distribution_drop(2, 3, false) == 1);
  CHECK(refusal_fault("train_test_gap", "nan", [] { train_test_gap(NAN, 1); }) == "");
  CHECK(refusal_fault("out_of_distribution_drop", "inf", [] { out_of_distribution_drop(1, kNone); }) == "");
}

TEST_CASE("accuracies of domains and the worst of them", "[evaluate]") {
  // Predictions 0, 1, 1, 0, 1; right, right, wrong, wrong, right.
  const Tensor<> logits = tensor<float>({{1, 0}, {0, 1}, {0, 1}, {1, 0}, {0, 1}});
  const Labels labels = tensor<std::int64_t>({0, 1, 0, 1, 1}), domains = tensor<std::int64_t>({2, 0, 2, 1, 0});
  CHECK(domain_accuracies(logits, labels, domains, 3) == std::vector<double>{1, 0, 0.5});
  const WorstDomain worst = worst_domain({1, 0, 0.5});
  CHECK(worst.domain == 1);
  CHECK(worst.figure == 0);
  CHECK(worst.mean == 0.5);
  CHECK(worst_domain({1, 3, 2, 3}, false).domain == 1);  // of losses: the first of equal ones
  CHECK(worst_domain({-2}).figure == -2);

  const auto of = [&](const Labels& d, Index count) { domain_accuracies(logits, labels, d, count); };
  CHECK_THROWS_WITH(of(domains, 4), contains("domain_accuracies: domain 3 has no items"));
  CHECK_THROWS_AS(of(domains, 4), ValueError);
  CHECK_THROWS_WITH(of(domains, 2), contains("domain 2 of 2"));
  CHECK_THROWS_AS(of(domains, 2), IndexError);
  CHECK_THROWS_AS(of(tensor<std::int64_t>({0}), 1), ShapeError);
  CHECK_THROWS_AS(of(domains, 0), ValueError);
  CHECK(refusal_fault("worst_domain", "of no domains", [] { worst_domain({}); }) == "");
  CHECK(refusal_fault("worst_domain", "the figure of domain 1 is nan", [] { worst_domain({0, NAN}); }) == "");
}

TEST_CASE("accuracy under noise of a linear model", "[evaluate]") {
  // w (x + s z) + b is normal with mean the margin and deviation s |w|.
  constexpr Index kItems = 20000;
  const Half model{tensor<double>({3, -4}), 0.5};
  const Tensor<double> x = broadcast_to(tensor<double>({1, 0.25}), {kItems, 2});  // a score of 2.5
  const Labels labels = ones<std::int64_t>({kItems});
  const std::vector<double> deviations{0, 0.1, 0.5, 2};
  const std::vector<double> accuracies = noise_accuracies(model, x, labels, deviations, Random(1));
  CHECK(accuracies[0] == 1);
  for (std::size_t i = 1; i < deviations.size(); ++i) {
    const double share = normal_share(2.5 / (5 * deviations[i]));
    CHECK(std::abs(accuracies[i] - share) < 4 * std::sqrt(share * (1 - share) / kItems) + 1e-9);
  }
  // The same noise for every deviation and every model: an item that is lost stays lost as noise grows, and a scale of
  // the model changes nothing.
  CHECK(accuracies[1] > accuracies[2]);
  CHECK(noise_accuracies(Half{2 * model.w, 1}, x, labels, deviations, Random(1)) == accuracies);
  CHECK(noise_accuracies(model, x, labels, deviations, Random(2))[2] != accuracies[2]);
  // In 0 .. 1: nothing leaves the square, in which the score is at least -3.5 and at most 3.5; (1, 0.25) moved by a
  // huge deviation is a corner, with scores 3.5, 0.5, -0.5, -3.5 by the signs of z.
  const std::vector<double> corners = noise_accuracies(model, x, labels, {1e6}, Random(1), {0, 1});
  CHECK(std::abs(corners[0] - 0.5) < 4 * std::sqrt(0.25 / kItems));

  const auto accuracy_of = [&](const Tensor<double>& in, double deviation, InputRange range) {
    noise_accuracies(model, in, labels, {deviation}, Random(1), range);
  };
  CHECK(refusal_fault("noise_accuracies", "deviation is -1",
                      [&] { noise_accuracies(model, x, labels, {-1}, Random(1)); }) == "");
  CHECK_THROWS_WITH(accuracy_of(x, 1, {0, 0.5}), contains("an input is 1, expected 0 to 0.5"));
  CHECK_THROWS_WITH(accuracy_of(x, 1, {1, 1}), contains("inputs from 1 to 1"));
  CHECK_THROWS_AS(accuracy_of(ones<double>({3, 2}), 1, {}), ShapeError);
  CHECK_THROWS_WITH(noise_accuracies(model, ones<double>({0, 2}), zeros<std::int64_t>({0}), {1}, Random(1)),
                    contains("of no items"));
}

TEST_CASE("the worst input of a linear model is eps against the signs of its weights", "[evaluate]") {
  // min over |d| <= eps of y (w (x + d) + b) = y (w x + b) - eps |w|_1 at d = -eps y sign w.
  const Half model{tensor<double>({0.7, -1.1, 0, 2.3}), -0.2};
  const double norm1 = 0.7 + 1.1 + 2.3, eps = 0.25;
  const Tensor<double> x = randn<double>({500, 4}, Random(1));
  const Labels labels = random_labels(500, 2);
  const Tensor<double> side = signs(labels);
  const Tensor<double> margins = reshape(side * (sum(x * model.w, {1}, true) + model.b), {500});
  double share = 0;
  for (const double margin : margins.span()) share += margin > eps * norm1 ? 1.0 / 500 : 0;
  REQUIRE(share > 0.1);
  for (const bool random_start : {false, true})
    for (const Index restarts : {1, 3}) {
      const PgdOptions options{.eps = eps, .alpha = 0.1, .steps = 6, .random_start = random_start, .range = kAnywhere};
      CHECK(pgd_accuracy(model, x, labels, Random(3), options, restarts) == Approx(share).epsilon(1e-12));
      const Tensor<double> moved = pgd_attack(model, x, labels, Random(3), options);
      for (Index c : {0, 1, 3})
        CHECK(gap(slice(moved, 1, c, c + 1), slice(x - eps * side * sign(model.w), 1, c, c + 1)) < 1e-15);
      // The third number counts nothing: it stays where it began.
      const Tensor<double> idle = slice(moved - x, 1, 2, 3);
      CHECK(max(abs(idle)).item() <= eps);
      CHECK((max(abs(idle)).item() > 0.9 * eps) == random_start);
    }
  // Within a range a number moves by eps or as far as there is room.
  const Tensor<double> inside = rand<double>({500, 4}, Random(4));
  const Tensor<double> worst = clamp(inside - eps * side * sign(model.w), 0, 1);
  CHECK(gap(pgd_attack(model, inside, labels, Random(5), {.eps = eps, .random_start = false}), worst) < 1e-15);
  // Short of the sphere: alpha a step.
  const PgdOptions few{.eps = eps, .alpha = 0.01, .steps = 3, .random_start = false, .range = kAnywhere};
  CHECK(gap(pgd_attack(model, x, labels, Random(3), few), x - 0.03 * side * sign(model.w)) < 1e-15);
}

TEST_CASE("an attack of no size is none, and one of no steps is noise", "[evaluate]") {
  const Half model{tensor<double>({1, 1})};
  const Tensor<double> x = rand<double>({200, 2}, Random(1), -1, 1);
  const Labels labels = random_labels(200, 3);
  const double clean = accuracy(model(x), labels);
  CHECK(pgd_accuracy(model, x, labels, Random(1), {.eps = 0, .range = kAnywhere}) == clean);
  CHECK(same_bits(pgd_attack(model, x, labels, Random(1), {.eps = 0, .range = kAnywhere}), x));
  const PgdOptions start{.eps = 0.5, .steps = 0, .range = kAnywhere};
  const Tensor<double> moved = pgd_attack(model, x, labels, Random(1), start) - x;
  CHECK(std::abs(mean(moved).item()) < 4 * 0.5 / std::sqrt(3.0 * 400));
  CHECK(mean(square(moved)).item() == Approx(0.25 / 3).epsilon(0.15));
  CHECK(same_bits(pgd_attack(model, x, labels, Random(1), start), pgd_attack(model, x, labels, Random(1), start)));
  CHECK_FALSE(
      same_bits(pgd_attack(model, x, labels, Random(2), start), pgd_attack(model, x, labels, Random(1), start)));
}

TEST_CASE("a model that is sure is attacked all the same", "[evaluate]") {
  // The cross-entropy of a margin of 1000 has no slope in double: exp(-1000) = 0.
  const Half sure{tensor<double>({1e4})};
  const Tensor<double> x = tensor<double>({{0.1}, {-0.1}});
  const Labels labels = tensor<std::int64_t>({1, 0});
  CHECK(same_bits(grad([&](const auto& z) { return cross_entropy(sure(z), labels); }, x), zeros<double>({2, 1})));
  const PgdOptions options{.eps = 0.2, .alpha = 0.05, .steps = 8, .random_start = false, .range = kAnywhere};
  CHECK(gap(pgd_attack(sure, x, labels, Random(1), options), tensor<double>({{-0.1}, {0.1}})) < 1e-15);
  CHECK(pgd_accuracy(sure, x, labels, Random(1), options) == 0);
}

TEST_CASE("the loss of the attack has the direction of the cross-entropy", "[evaluate]") {
  // d CE = (1 - p_y) d margin, of each item.
  const Tensor<double> x = randn<double>({6, 4}, Random(1));
  const Linear<double> net(4, 3, Random(2));
  const Labels labels = tensor<std::int64_t>({0, 1, 2, 2, 1, 0});
  const auto entropy = grad([&](const auto& z) { return 6 * cross_entropy(net(z), labels); }, x);
  const auto margin = grad([&](const auto& z) { return detail::margins_lost("test", net(z), labels, {}); }, x);
  const Tensor<double> p = sum(softmax(net(x)) * one_hot<double>(labels, 3), {1}, true);
  CHECK(gap(entropy, (1 - p) * margin) < 1e-14);
  // Two classes that tie in place of one: the mean of their directions.
  const Tensor<double> even =
      grad([](const auto& z) { return detail::margins_lost("test", z, tensor<std::int64_t>({1}), {}); },
           tensor<double>({{3, 5, 3}}));
  CHECK(gap(even, tensor<double>({{0.5, -1, 0.5}})) < 1e-15);
}

TEST_CASE("an attack lowers the accuracy of a curved model, more with restarts and room", "[evaluate]") {
  // Rings around 0: right where tanh layers would be; here |x|^2 < 1 is class 1.
  const auto rings = [](const Tensor<double>& x) {
    const Tensor<double> score = 1 - sum(square(x), {1}, true);
    return concat<double>({zeros<double>(score.shape()), score}, 1);
  };
  const Tensor<double> x = rand<double>({400, 2}, Random(1), -1.5, 1.5);
  const Labels labels = cast<std::int64_t>(reshape(sum(square(x), {1}), {400}) < 1.0);
  const auto robust = [&](double eps, Index restarts) {
    return pgd_accuracy(rings, x, labels, Random(2), {.eps = eps, .alpha = 0.02, .range = kAnywhere}, restarts);
  };
  CHECK(robust(0, 1) == 1);
  // In closed form: outside of the ring every |x_c| loses eps, down to 0; inside it gains eps.
  double share = 0;
  for (Index i = 0; i < 400; ++i) {
    double far = 0;
    for (Index c = 0; c < 2; ++c) {
      const double a = std::abs(x.at({i, c}));
      far += std::pow(labels.at({i}) == 1 ? a + 0.1 : std::fmax(a - 0.1, 0), 2);
    }
    share += (labels.at({i}) == 1) == (far < 1) ? 1.0 / 400 : 0;
  }
  // A step of 0.02 swings about the ridge |x_c| = 0 of items outside; they are few.
  CHECK(robust(0.1, 1) == Approx(share).margin(0.02));
  CHECK(robust(0.1, 3) <= robust(0.1, 1));
  CHECK(robust(0.3, 1) < robust(0.1, 1));
}

TEST_CASE("attacks that are refused", "[evaluate]") {
  const Half model{tensor<double>({1, 1})};
  const Tensor<double> x = ones<double>({2, 2});
  const Labels labels = tensor<std::int64_t>({0, 1});
  const auto attack = [&](const PgdOptions& o) { pgd_attack(model, x, labels, Random(1), o); };
  CHECK_THROWS_WITH(attack({.eps = -1}), contains("pgd_attack: eps is -1"));
  CHECK_THROWS_WITH(attack({.alpha = NAN}), contains("alpha is nan"));
  CHECK_THROWS_WITH(attack({.steps = -1}), contains("steps is -1"));
  CHECK_THROWS_WITH(attack({.range = {2, 3}}), contains("an input is 1, expected 2 to 3"));
  CHECK(refusal_fault("pgd_accuracy", "restarts is 0", [&] { pgd_accuracy(model, x, labels, Random(1), {}, 0); }) ==
        "");
  CHECK(refusal_fault<IndexError>("pgd_attack", "label 5 of 2 classes", [&] {
          pgd_attack(model, x, tensor<std::int64_t>({0, 5}), Random(1));
        }) == "");
  CHECK(refusal_fault<ShapeError>("pgd_attack", "[3]",
                                  [&] { pgd_attack(model, x, zeros<std::int64_t>({3}), Random(1)); }) == "");
  const auto one_class = [](const Tensor<double>& z) { return sum(z, {1}, true); };
  const Labels zero = zeros<std::int64_t>({2});
  CHECK(refusal_fault("pgd_attack", "less than two classes", [&] { pgd_attack(one_class, x, zero, Random(1)); }) == "");
  const auto spoilt = [](const Tensor<double>& z) { return z * sqrt(z - 1); };
  CHECK(refusal_fault("pgd_attack", "the gradient is not finite at step 0",
                      [&] { pgd_attack(spoilt, x, zero, Random(1)); }) == "");
}
