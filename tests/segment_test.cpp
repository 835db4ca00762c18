// What the op table cannot say about segments: ties, masked rows, identities between the ops, long and uneven segments.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/segment.hpp"

using namespace graft;

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Offsets of `segments` segments with 0 .. longest - 1 rows each.
Tensor<std::int64_t> uneven(Index segments, Index longest) {
  const Random random = Random(9).stream("offsets");
  std::vector<std::int64_t> offsets = {0};
  for (Index s = 0; s < segments; ++s)
    offsets.push_back(offsets.back() + random.below(static_cast<std::uint64_t>(s), longest));
  return from_vector(offsets);
}
}  // namespace

TEST_CASE("segment sums and broadcasts are transposes of each other", "[ops]") {
  const auto offsets = uneven(300, 9);
  const Index rows = offsets.at({300});
  const auto x = randn<double>({rows, 7}, Random(1)), y = randn<double>({300, 7}, Random(2));
  CHECK(sum(segment_sum(x, offsets) * y).item() ==
        Approx(sum(x * segment_broadcast(y, offsets)).item()).epsilon(1e-12));
}

TEST_CASE("segment softmax adds up to one in every segment, from far up and far down", "[ops]") {
  for (double level : {-1e4, 0.0, 1e4})
    for (const Shape& shape : {Shape{-1}, Shape{-1, 1, 3}, Shape{-1, 20}}) {
      const auto offsets = uneven(100, 70);
      const Shape full_shape = shape.with(0, offsets.at({100}));
      const auto p = segment_softmax(randn<double>(full_shape, Random(3)) + level, offsets);
      const auto totals = segment_sum(p, offsets);
      const Index width = totals.count() / 100;
      double worst = 0;
      for (Index i = 0; i < totals.count(); ++i) {
        const bool empty = offsets.at({i / width + 1}) == offsets.at({i / width});
        worst = std::max(worst, std::abs(totals.data()[i] - (empty ? 0 : 1)));
      }
      CHECK(worst < 1e-13);
      CHECK(min(p).item() > 0);
    }
}

TEST_CASE("one column and many give the same softmax", "[ops]") {
  // A column alone is computed along its segment, several side by side: equal up to the order of additions.
  const auto offsets = uneven(60, 50);
  const auto x = randn<double>({offsets.at({60}), 1}, Random(5));
  const auto alone = segment_softmax(x, offsets);
  const auto beside = segment_softmax(concat(std::vector{x, x * 2.0}, 1), offsets);
  CHECK(all_close(slice(beside, 1, 0, 1), alone, 1e-13));
}

TEST_CASE("segment softmax of masked rows is zero, with zero gradients and no NaN", "[ops]") {
  const auto offsets = tensor<std::int64_t>({0, 2, 5});
  const auto x = tensor<double>({-kInfinity, -kInfinity, 1, -kInfinity, 2});
  const double s = 1 / (1 + std::exp(-1));
  for (int columns : {1, 2}) {
    const auto wide = columns == 1 ? reshape(x, {5, 1}) : stack(std::vector{x, x}, 1);
    const auto p = segment_softmax(wide, offsets);
    CHECK(all_close(reshape(slice(p, 1, 0, 1), {5}), tensor<double>({0, 0, 1 - s, 0, s}), 1e-14));
    const auto f = [&](const Tensor<double>& v) { return sum(square(segment_softmax(v, offsets))); };
    const auto slope = [&](const Tensor<double>& v) { return sum(square(grad(f, v, {.create_graph = true}))); };
    for (const auto& g : {grad(f, wide), grad(slope, wide)}) {
      CHECK(all(g == g).item());
      CHECK_FALSE(any(gather(g, tensor<std::int64_t>({0, 1, 3})) != 0).item());
      CHECK(all(gather(g, tensor<std::int64_t>({2, 4})) != 0).item());
    }
  }
}

TEST_CASE("equal extremes of a segment share the gradient; an empty segment gives 0 and takes none", "[ops]") {
  const auto offsets = tensor<std::int64_t>({0, 3, 3, 5});
  const auto x = tensor<double>({-4, -1, -1, -2, -3});
  CHECK(same_bits(segment_max(x, offsets), tensor<double>({-1, 0, -2})));
  const auto weights = tensor<double>({10, 100, 1000});
  CHECK(same_bits(grad([&](const Tensor<double>& v) { return sum(segment_max(v, offsets) * weights); }, x),
                  tensor<double>({0, 5, 5, 1000, 0})));
  CHECK(same_bits(segment_min(-x, offsets), tensor<double>({1, 0, 2})));
  CHECK(same_bits(grad([&](const Tensor<double>& v) { return sum(segment_min(v, offsets) * weights); }, -x),
                  tensor<double>({0, 5, 5, 1000, 0})));
  CHECK(same_bits(segment_mean(x, offsets), tensor<double>({-2, 0, -2.5})));
  CHECK(same_bits(segment_sum(x, offsets), tensor<double>({-6, 0, -5})));
}

TEST_CASE("bad offsets are named with value and position before any work", "[ops]") {
  const auto x = zeros({4, 2});
  CHECK_THROWS_WITH(
      segment_sum(x, tensor<std::int64_t>({0, 3, 2, 4})),
      contains("segment_sum: offset 2 at position 2 is below the one before, 3") && contains("segment_test.cpp"));
  CHECK_THROWS_AS(segment_softmax(x, tensor<std::int64_t>({0, 5})), IndexError);
  CHECK_THROWS_AS(segment_max(x, zeros<std::int64_t>({0})), ShapeError);
  CHECK_THROWS_AS(segment_mean(Tensor<float>(1.f), tensor<std::int64_t>({0, 1})), ShapeError);
}
