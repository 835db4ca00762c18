// Principal components of features with known ones, and separation by hand.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/core/random.hpp"
#include "graft/evaluate/principal_components.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

/// Points a (3, 4)/5 + b (4, -3)/5 + (7, -2), with a and b of all four signs of (a, b) and sizes 2 and 1.
Numbers cross() {
  std::vector<double> points;
  for (const double a : {2.0, -2.0})
    for (const double b : {1.0, -1.0}) {
      points.push_back((3 * a + 4 * b) / 5 + 7);
      points.push_back((4 * a - 3 * b) / 5 - 2);
    }
  return from_vector(points, {4, 2});
}
double largest_difference(const Numbers& a, const Numbers& b) { return max(abs(a - b)).item(); }

}  // namespace

TEST_CASE("principal components by hand", "[evaluate]") {
  // The variances are 4 * 4 / 3 along (3, 4) / 5, 4 * 1 / 3 along (4, -3) / 5.
  const PrincipalComponents parts = principal_components(cross());
  CHECK(largest_difference(parts.mean, tensor<double>({7, -2})) < 1e-14);
  CHECK(largest_difference(parts.directions, tensor<double>({{0.6, 0.8}, {0.8, -0.6}})) < 1e-14);
  CHECK(largest_difference(parts.variances, tensor<double>({16.0 / 3, 4.0 / 3})) < 1e-13);
  CHECK(parts.total_variance == Approx(20.0 / 3));
  CHECK(parts.explained() == Approx(1));
  CHECK(principal_components(cross(), 1).explained() == Approx(0.8));
  CHECK(largest_difference(parts.project(cross()), tensor<double>({{2, 1}, {2, -1}, {-2, 1}, {-2, -1}})) < 1e-14);
  // A sign of all numbers does not turn the directions.
  const PrincipalComponents mirrored = principal_components(-cross());
  CHECK(largest_difference(mirrored.directions, parts.directions) < 1e-14);
  CHECK(largest_difference(principal_components(cast<float>(cross())).directions, parts.directions) < 1e-6);
}

TEST_CASE("features of rank 2 in many dimensions are found exactly, whatever their offset", "[evaluate]") {
  const Numbers plane = randn<double>({2, 30}, Random(1)), places = randn<double>({50, 2}, Random(2));
  for (const double offset : {0.0, 1e6}) {
    const Numbers x = matmul(places, plane) + offset;
    const PrincipalComponents parts = principal_components(x, 3);
    const double exact = offset == 0 ? 1e-12 : 1e-8;  // x itself is rounded to 1e-10 there
    CHECK(parts.variances.at({2}) < exact);
    CHECK(parts.explained() == Approx(1).epsilon(exact));
    const Numbers two = slice(parts.directions, 1, 0, 2);
    CHECK(largest_difference(matmul(two, two, {.transpose_a = true}), tensor<double>({{1, 0}, {0, 1}})) < 1e-12);
    const Numbers seen = matmul(slice(parts.project(x), 1, 0, 2), transpose(two)) + parts.mean;
    CHECK(largest_difference(seen, x) < 10 * exact);
    // Distances stay as they are, and the components have no correlation.
    const Numbers p = parts.project(x), scatter = matmul(p, p, {.transpose_a = true}) / 49.0;
    CHECK(std::abs(scatter.at({0, 1})) < 10 * exact);
    CHECK(scatter.at({0, 0}) == Approx(parts.variances.at({0})).epsilon(1e-10));
  }
}

TEST_CASE("more dimensions than items, and features that do not vary", "[evaluate]") {
  const Numbers x = randn<double>({3, 10}, Random(1));
  const PrincipalComponents parts = principal_components(x, 3);
  CHECK(parts.variances.at({2}) < 1e-25);  // three points lie in a plane
  CHECK(parts.explained() == Approx(1));
  const PrincipalComponents still = principal_components(full<double>({4, 3}, 0.1), 2);
  CHECK(still.total_variance == 0);
  CHECK(still.explained() == 1);
  CHECK(max(abs(still.project(full<double>({4, 3}, 0.1)))).item() == 0);
}

TEST_CASE("separation by hand", "[evaluate]") {
  // Means (1, 0) and (5, 3), of all (3, 1.5): between 2 * 2 * (4 + 2.25) = 25, within 4.
  const Numbers x = tensor<double>({{0, 0}, {2, 0}, {4, 3}, {6, 3}});
  const Tensor<std::int64_t> labels = tensor<std::int64_t>({0, 0, 3, 3});
  CHECK(separation(x, labels) == Approx(25.0 / 4));
  CHECK(separation(1e-3 * x + 1e6, labels) == Approx(25.0 / 4).epsilon(1e-6));
  CHECK(separation(cast<float>(x), labels) == Approx(25.0 / 4));
  CHECK(separation(x, tensor<std::int64_t>({0, 1, 1, 0})) == 0);
  CHECK(separation(tensor<double>({{1}, {1}, {2}}), tensor<std::int64_t>({0, 0, 1})) ==
        std::numeric_limits<double>::infinity());
  // Labels drawn at random separate by about (classes - 1) / (items - classes) in every dimension.
  double total = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Random random(seed);
    const Numbers y = randn<double>({60, 5}, random.stream("x"));
    std::vector<std::int64_t> drawn;
    for (Index i = 0; i < 60; ++i) drawn.push_back(i % 4);
    total += separation(y, from_vector(drawn)) / 20;
  }
  CHECK(total == Approx(3.0 / 56).epsilon(0.15));
}

TEST_CASE("what principal components and separation refuse", "[evaluate]") {
  const Numbers x = randn<double>({5, 3}, Random(1));
  const auto labels = tensor<std::int64_t>({0, 1, 0, 1, 0});
  CHECK(refusal_fault("principal_components", "4 components", [&] { principal_components(x, 4); }) == "");
  CHECK(refusal_fault("principal_components", "0 components", [&] { principal_components(x, 0); }) == "");
  CHECK(refusal_fault("principal_components", "1 items", [&] { principal_components(slice(x, 0, 0, 1)); }) == "");
  CHECK(refusal_fault("principal_components", "holds inf", [&] { principal_components(x / 0.0 * x); }) == "");
  CHECK(refusal_fault<ShapeError>("principal_components", "[5]", [&] { principal_components(sum(x, {1})); }) == "");
  CHECK(refusal_fault<ShapeError>("PrincipalComponents", "items, 3]",
                                  [&] { principal_components(x).project(slice(x, 1, 0, 2)); }) == "");
  CHECK(refusal_fault<ShapeError>("separation", "[4, 3]", [&] { separation(slice(x, 0, 0, 4), labels); }) == "");
  CHECK(refusal_fault<IndexError>("separation", "label -1", [&] { separation(x, labels - 1); }) == "");
  CHECK(refusal_fault("separation", "one class", [&] { separation(x, zeros<std::int64_t>({5})); }) == "");
  CHECK(refusal_fault("separation", "are alike", [&] { separation(full<double>({5, 2}, 0.1), labels); }) == "");
}
