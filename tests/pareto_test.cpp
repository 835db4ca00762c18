// Figures of several objectives: volumes by hand, in closed form and by inclusion and exclusion, distances by hand.

#include <algorithm>
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/pareto.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

/// The volume that points below the reference dominate, by inclusion and exclusion over all sets of them.
double volume_by_sets(const Tensor<double>& points, const Tensor<double>& reference) {
  const Index count = points.size(0), objectives = points.size(1);
  double volume = 0;
  for (unsigned set = 1; set < 1u << count; ++set) {
    double common = __builtin_popcount(set) % 2 == 1 ? 1 : -1;
    for (Index k = 0; k < objectives; ++k) {
      double worst = -1e300;
      for (Index i = 0; i < count; ++i)
        if (set >> i & 1) worst = std::max(worst, points.at({i, k}));
      common *= reference.at({k}) - worst;
    }
    volume += common;
  }
  return volume;
}

}  // namespace

TEST_CASE("hypervolumes of pygmo's examples", "[evaluate]") {
  // The points of pygmo's tutorial; rectangles 1/2 x 1, 1/2 x 3/2 and 1 x 2.
  const Tensor<double> plane = tensor<double>({{1, 0}, {0.5, 0.5}, {0, 1}, {1.5, 0.75}});
  CHECK(hypervolume(plane, tensor<double>({2, 2})) == 3.25);
  // Of PyGMO's documentation: three boxes of 3/2 5/2 5/2, less three of 3/2 3/2 5/2, and 3/2 3/2 3/2.
  const Tensor<double> space = tensor<double>({{2, 1, 1}, {1, 2, 1}, {1, 1, 2}});
  CHECK(hypervolume(space, full<double>({3}, 3.5)) == 3 * 9.375 - 3 * 5.625 + 3.375);
  CHECK(hypervolume(tensor<float>({{3}, {1}, {2}}), tensor<float>({5})) == 4);
}

TEST_CASE("a hypervolume is that of inclusion and exclusion in one to five objectives", "[evaluate]") {
  for (Index objectives = 1; objectives <= 5; ++objectives) {
    const Random random = Random(5).stream("points", objectives);
    // A grid of quarters, so that points tie in objectives.
    const Tensor<double> points = generate({9, objectives}, [&](Index i, Index k) {
      return static_cast<double>(random.below(static_cast<std::uint64_t>(i * objectives + k), 5)) / 4;
    });
    const Tensor<double> reference = full<double>({objectives}, 1.25);
    const double volume = hypervolume(points, reference);
    INFO(objectives);
    CHECK(volume == Approx(volume_by_sets(points, reference)).epsilon(1e-12));

    // It does not depend on the order, on points that are listed twice or dominated, or beyond the reference.
    const auto order = from_vector(random.permutation(9));
    CHECK(hypervolume(gather(points, order), reference) == Approx(volume).epsilon(1e-13));
    CHECK(hypervolume(concat<double>({points, points + 0.125, points}, 0), reference) == Approx(volume).epsilon(1e-13));
    CHECK(hypervolume(concat<double>({points, full<double>({1, objectives}, 1.25)}, 0), reference) == volume);
    CHECK(hypervolume(gather(points, non_dominated(points)), reference) == Approx(volume).epsilon(1e-13));
    CHECK(hypervolume(zeros<double>({0, objectives}), reference) == 0);
  }
}

TEST_CASE("hypervolumes of fronts in closed form", "[evaluate]") {
  // (i / n, 1 - i / n), i = 0 .. n, below (1, 1): steps of width 1 / n and height i / n.
  for (const Index n : {1, 2, 10, 1000}) {
    const Tensor<double> x = arange<double>(n + 1) / static_cast<double>(n);
    CHECK(hypervolume(stack<double>({x, 1 - x}, 1), ones<double>({2})) ==
          Approx(static_cast<double>(n - 1) / static_cast<double>(2 * n)).epsilon(1e-12).margin(1e-15));
  }
  // Two quadratics (s - 1)^2 and (s + 1)^2, -1 <= s <= 1: on their front sqrt(f1) + sqrt(f2) = 2, below which 8 / 3 of
  // the 16 up to (4, 4) lie. Points of the front miss the steps between them, at most the products of their gaps.
  const Tensor<double> s = 2 * arange<double>(401) / 400 - 1, f1 = square(s - 1), f2 = square(s + 1);
  double missed = 0;
  for (Index i = 0; i < 400; ++i) missed += (f1.at({i}) - f1.at({i + 1})) * (f2.at({i + 1}) - f2.at({i}));
  const double volume = hypervolume(stack<double>({f1, f2}, 1), full<double>({2}, 4));
  CHECK(volume < 16 - 8.0 / 3);
  CHECK(volume > 16 - 8.0 / 3 - missed);
  CHECK(missed < 0.05);
}

TEST_CASE("what no other point dominates stays", "[evaluate]") {
  const Tensor<> points = tensor<float>({{1, 3}, {2, 2}, {2, 3}, {3, 1}, {2, 2}, {1, 4}});
  CHECK(same_bits(non_dominated(points), tensor<std::int64_t>({0, 1, 3, 4})));  // equal points stay together
  CHECK(same_bits(non_dominated(tensor<float>({{3}, {1}, {1}})), tensor<std::int64_t>({1, 2})));
  CHECK(non_dominated(zeros({0, 2})).count() == 0);
}

TEST_CASE("distances between points and a front", "[evaluate]") {
  const Tensor<> front = tensor<float>({{0, 1}, {1, 0}}), far = tensor<float>({{3, 4}, {0, 0}});
  CHECK(generational_distance(front, front) == 0);
  CHECK(inverted_generational_distance(front, front) == 0);
  // One end reached: all points lie on the front, half of which is sqrt 2 away.
  const Tensor<> end = tensor<float>({{1, 0}});
  CHECK(generational_distance(end, front) == 0);
  CHECK(inverted_generational_distance(end, front) == Approx(std::sqrt(2.0) / 2));
  // (3, 4) is sqrt 18 and sqrt 20 away from the ends, (0, 0) is 1 away.
  CHECK(generational_distance(far, front) == Approx((std::sqrt(18.0) + 1) / 2));
  CHECK(inverted_generational_distance(far, front) == 1);
}

TEST_CASE("figures of several objectives refuse what has no value", "[evaluate]") {
  const Tensor<> points = tensor<float>({{1, 2}, {2, 1}}), lost = tensor<float>({{1, 2}, {NAN, 1}}),
                 none = zeros({0, 2});
  const Tensor<> two = full({2}, 3.f), three = full({3}, 3.f), wide = ones({1, 3});
  const char *op = "hypervolume", *igd = "inverted_generational_distance", *gd = "generational_distance";
  CHECK(refusal_fault<ShapeError>(op, "points [2]", [&] { hypervolume(two, two); }) == "");
  CHECK(refusal_fault<ShapeError>(op, "points [2, 0]", [&] { hypervolume(zeros({2, 0}), zeros({0})); }) == "");
  CHECK(refusal_fault<ShapeError>(op, "reference [3]", [&] { hypervolume(points, three); }) == "");
  CHECK(refusal_fault(op, "point 1", [&] { hypervolume(lost, two); }) == "");
  CHECK(refusal_fault(op, "reference holds", [&] { hypervolume(points, tensor<float>({NAN, 1})); }) == "");
  CHECK(refusal_fault(op, "reference holds", [&] { hypervolume(points, tensor<float>({INFINITY, 1})); }) == "");
  CHECK(refusal_fault("non_dominated", "point 1", [&] { non_dominated(lost); }) == "");
  CHECK(refusal_fault<ShapeError>("non_dominated", "points [2]", [&] { non_dominated(two); }) == "");
  CHECK(refusal_fault<ShapeError>(igd, "front [1, 3]", [&] { inverted_generational_distance(points, wide); }) == "");
  CHECK(refusal_fault(igd, "points [0, 2]", [&] { inverted_generational_distance(none, points); }) == "");
  CHECK(refusal_fault(igd, "front [0, 2]", [&] { inverted_generational_distance(points, none); }) == "");
  CHECK(refusal_fault(gd, "point 1 of front", [&] { generational_distance(points, lost); }) == "");
  CHECK(refusal_fault(gd, "point 1 of points", [&] { generational_distance(lost, points); }) == "");
}
