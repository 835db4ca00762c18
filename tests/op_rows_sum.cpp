// Rows for sums and broadcasts, each other's transposes (ops/reduce.hpp); the other reductions are in
// op_rows_reduce.cpp.

#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

/// x added up to `shape`, which broadcasts to x's.
Tensor<double> summed_to(const Tensor<double>& x, const Shape& shape) {
  std::vector<double> out(shape.count(), 0.0);
  for (std::size_t i = 0; i < x.span().size(); ++i) out[broadcast_offset(i, x.shape(), shape)] += x.data()[i];
  return array(shape, out);
}

/// Sums over the axes in `reduced`, kept with size one or dropped.
Tensor<double> sums(const Tensor<double>& x, std::vector<int> reduced, bool keep) {
  Shape kept = x.shape(), dropped;
  for (int axis : reduced) kept[axis] = 1;
  for (int axis = 0; axis < x.rank(); ++axis) {
    bool gone = false;
    for (int r : reduced) gone |= (r + x.rank()) % x.rank() == axis;
    if (!gone) dropped.push_back(x.shape()[axis]);
  }
  const Tensor<double> sum = summed_to(x, kept);
  return keep ? sum : array(dropped, {sum.span().begin(), sum.span().end()});
}

/// `sums` divided by `count`.
Tensor<double> means(const Tensor<double>& sums, Index count) {
  return by_number(sums, [count](double v) { return v / static_cast<double>(count); });
}

/// x repeated to `shape`.
Tensor<double> repeated(const Tensor<double>& x, const Shape& shape) {
  return by_pair(shape, x, x, [](double a, double) { return a; });
}

const bool sum_rows = add_op_rows({
    squared({.name = "sum",
             .family = "reduce",
             .call = later,
             .inputs = {{{3, 4}}},
             .reference = [](const Arrays& x) { return summed_to(x[0], {}); },
             .variants = {{{}}, {{1}}, {{0}}, {{2, 0}}, {{2, 1, 3}}},
             .large = {{40000}},
             .errors = {bad<IndexError>([](const auto& x) { sum(x[0], {2}); }, "axis 2 of rank 2"),
                        bad<IndexError>([](const auto& x) { sum(x[0], {-3}); }, "axis -3"),
                        bad<IndexError>(
                            [](const auto& x) {
                              sum(x[0], {0, -2});
                            },
                            "twice")}},
            [](const auto& x) { return sum(x[0]); }),
    squared({.name = "sum, last axis",
             .family = "reduce",
             .call = later,
             .inputs = {{{3, 4}}},
             .reference = [](const Arrays& x) { return sums(x[0], {-1}, false); },
             .variants = {{{5}}, {{1}}, {{0}}, {{2, 0}}, {{0, 3}}, {{2, 1, 3}}},
             .large = {{300, 257}},
             .rows_of = {0}},
            [](const auto& x) { return sum(x[0], {-1}); }),
    squared({.name = "sum, first axis kept",
             .family = "reduce",
             .call = later,
             .inputs = {{{5, 4}}},
             .reference = [](const Arrays& x) { return sums(x[0], {0}, true); },
             .variants = {{{5}}, {{1}}, {{0}}, {{2, 0}}, {{0, 3}}, {{2, 1, 3}}},
             .large = {{300, 257}}},
            [](const auto& x) { return sum(x[0], {0}, true); }),
    squared({.name = "sum, outer axes",
             .family = "reduce",
             .call = later,
             .inputs = {{{2, 3, 4}}},
             .reference = [](const Arrays& x) { return sums(x[0], {0, -1}, false); },
             .variants = {{{1, 1, 1}}, {{2, 0, 3}}, {{0, 2, 3}}, {{2, 3}}},
             .large = {{30, 20, 100}}},
            [](const auto& x) {
              return sum(x[0], {0, -1});
            }),
    squared({.name = "mean",
             .family = "reduce",
             .call = later,
             .inputs = {{{3, 4}}},
             .reference = [](const Arrays& x) { return means(summed_to(x[0], {}), x[0].count()); },
             .variants = {{{}}, {{1}}, {{2, 1, 3}}},
             .large = {{40000}},
             .errors = {bad<IndexError>([](const auto& x) { mean(x[0], {2}); }, "axis 2 of rank 2")}},
            [](const auto& x) { return mean(x[0]); }),
    squared({.name = "mean, middle axis",
             .family = "reduce",
             .call = later,
             .inputs = {{{2, 3, 4}}},
             .reference = [](const Arrays& x) { return means(sums(x[0], {1}, true), x[0].size(1)); },
             .variants = {{{2, 1}}, {{2, 3, 0}}, {{0, 2}}},
             .large = {{30, 20, 100}}},
            [](const auto& x) { return mean(x[0], {1}, true); }),
    squared({.name = "sum_to",
             .family = "reduce",
             .call = later,
             .inputs = {{{2, 3, 4}}},
             .reference =
                 [](const Arrays& x) {
                   return summed_to(x[0], {3, 1});
                 },
             .variants = {{{3, 1}}, {{3, 5}}, {{1, 3, 1}}, {{0, 3, 4}}, {{2, 3, 0}}},
             .large = {{40, 3, 700}},
             .errors = {bad<ShapeError>(
                            [](const auto& x) {
                              sum_to(x[0], {2, 4});
                            },
                            "[2, 4]"),
                        bad<ShapeError>(
                            [](const auto& x) {
                              sum_to(x[0], {1, 2, 3, 4});
                            },
                            "[1, 2, 3, 4]")}},
            [](const auto& x) {
              return sum_to(x[0], {3, 1});
            }),
    squared({.name = "broadcast_to",
             .family = "reduce",
             .call = later,
             .inputs = {{{3, 1}}},
             .reference =
                 [](const Arrays& x) {
                   return repeated(x[0], {2, 3, 4});
                 },
             .variants = {{{}}, {{1}}, {{4}}, {{2, 1, 4}}, {{2, 3, 4}}},
             .large = {{2, 3, 4}},
             .errors = {bad<ShapeError>(
                            [](const auto& x) {
                              broadcast_to(x[0], {2, 4});
                            },
                            "[2, 4]"),
                        bad<ShapeError>([](const auto& x) { broadcast_to(x[0], {3}); }, "[3]")}},
            [](const auto& x) {
              return broadcast_to(x[0], {2, 3, 4});
            }),
    squared({.name = "broadcast_to, many rows",
             .family = "reduce",
             .call = later,
             .inputs = {{{2, 1}}},
             .reference =
                 [](const Arrays& x) {
                   return repeated(x[0], {x[0].size(0), 3});
                 },
             .variants = {{{0, 1}}, {{1, 1}}},
             .large = {{20000, 1}},
             .rows_of = {0}},
            [](const auto& x) {
              return broadcast_to(x[0], {x[0].size(0), 3});
            }),
});

}  // namespace
