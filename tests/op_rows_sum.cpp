// Rows for sums and broadcasts, each other's transposes (ops/reduce.hpp); the other reductions are in
// op_rows_reduce.cpp.

#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

/// Sums over the axes in `reduced`, kept with size one or dropped.
Tensor<double> sums(const Tensor<double>& x, std::vector<int> reduced, bool keep) {
  Shape kept = x.shape(), dropped;
  for (int axis : reduced) kept[axis] = 1;
  for (int axis = 0; axis < x.rank(); ++axis) {
    bool gone = false;
    for (int r : reduced) gone |= (r + x.rank()) % x.rank() == axis;
    if (!gone) dropped.push_back(x.shape()[axis]);
  }
  std::vector<double> out(static_cast<std::size_t>(kept.count()), 0.0);
  for (std::size_t i = 0; i < x.span().size(); ++i) out[broadcast_offset(i, x.shape(), kept)] += x.data()[i];
  return array(keep ? kept : dropped, out);
}
const bool sum_rows = add_op_rows({
    {.name = "sum",
     .family = "reduce",
     .call = [](const auto& x) { return square(sum(x[0])); },
     .inputs = {{{3, 4}}},
     .reference =
         [](const Arrays& x) {
           double total = 0;
           for (double v : x[0].span()) total += v;
           return array({}, {total * total});
         },
     .variants = {{{}}, {{1}}, {{0}}, {{2, 0}}, {{2, 1, 3}}},
     .large = {{40000}},
     .errors = {bad<IndexError>([](const auto& x) { sum(x[0], {2}); }, "axis 2 of rank 2"),
                bad<IndexError>([](const auto& x) { sum(x[0], {-3}); }, "axis -3"),
                bad<IndexError>(
                    [](const auto& x) {
                      sum(x[0], {0, -2});
                    },
                    "twice")}},
    {.name = "sum, last axis",
     .family = "reduce",
     .call = [](const auto& x) { return square(sum(x[0], {-1})); },
     .inputs = {{{3, 4}}},
     .reference = [](const Arrays& x) { return by_number(sums(x[0], {-1}, false), [](double v) { return v * v; }); },
     .variants = {{{5}}, {{1}}, {{0}}, {{2, 0}}, {{0, 3}}, {{2, 1, 3}}},
     .large = {{300, 257}},
     .rows_of = {0}},
    {.name = "sum, first axis kept",
     .family = "reduce",
     .call = [](const auto& x) { return square(sum(x[0], {0}, true)); },
     .inputs = {{{5, 4}}},
     .reference = [](const Arrays& x) { return by_number(sums(x[0], {0}, true), [](double v) { return v * v; }); },
     .variants = {{{5}}, {{1}}, {{0}}, {{2, 0}}, {{0, 3}}, {{2, 1, 3}}},
     .large = {{300, 257}}},
    {.name = "sum, outer axes",
     .family = "reduce",
     .call =
         [](const auto& x) {
           return square(sum(x[0], {0, -1}));
         },
     .inputs = {{{2, 3, 4}}},
     .reference =
         [](const Arrays& x) {
           return by_number(sums(x[0], {0, -1}, false), [](double v) { return v * v; });
         },
     .variants = {{{1, 1, 1}}, {{2, 0, 3}}, {{0, 2, 3}}, {{2, 3}}},
     .large = {{30, 20, 100}}},
    {.name = "mean",
     .family = "reduce",
     .call = [](const auto& x) { return square(mean(x[0])); },
     .inputs = {{{3, 4}}},
     .reference =
         [](const Arrays& x) {
           double total = 0;
           for (double v : x[0].span()) total += v;
           return array({}, {total * total / static_cast<double>(x[0].count() * x[0].count())});
         },
     .variants = {{{}}, {{1}}, {{2, 1, 3}}},
     .large = {{40000}},
     .errors = {bad<IndexError>([](const auto& x) { mean(x[0], {2}); }, "axis 2 of rank 2")}},
    {.name = "mean, middle axis",
     .family = "reduce",
     .call = [](const auto& x) { return square(mean(x[0], {1}, true)); },
     .inputs = {{{2, 3, 4}}},
     .reference =
         [](const Arrays& x) {
           const double count = static_cast<double>(x[0].size(1));
           return by_number(sums(x[0], {1}, true), [count](double v) { return v * v / count / count; });
         },
     .variants = {{{2, 1}}, {{2, 3, 0}}, {{0, 2}}},
     .large = {{30, 20, 100}}},
    {.name = "sum_to",
     .family = "reduce",
     .call =
         [](const auto& x) {
           return square(sum_to(x[0], {3, 1}));
         },
     .inputs = {{{2, 3, 4}}},
     .reference =
         [](const Arrays& x) {
           std::vector<double> out(3, 0.0);
           for (std::size_t i = 0; i < x[0].span().size(); ++i)
             out[broadcast_offset(i, x[0].shape(), {3, 1})] += x[0].data()[i];
           return by_number(array({3, 1}, out), [](double v) { return v * v; });
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
    {.name = "broadcast_to",
     .family = "reduce",
     .call =
         [](const auto& x) {
           return square(broadcast_to(x[0], {2, 3, 4}));
         },
     .inputs = {{{3, 1}}},
     .reference =
         [](const Arrays& x) {
           return by_pair({2, 3, 4}, x[0], x[0], [](double a, double) { return a * a; });
         },
     .variants = {{{}}, {{1}}, {{4}}, {{2, 1, 4}}, {{2, 3, 4}}},
     .large = {{2, 3, 4}},
     .errors = {bad<ShapeError>(
                    [](const auto& x) {
                      broadcast_to(x[0], {2, 4});
                    },
                    "[2, 4]"),
                bad<ShapeError>([](const auto& x) { broadcast_to(x[0], {3}); }, "[3]")}},
    {.name = "broadcast_to, many rows",
     .family = "reduce",
     .call =
         [](const auto& x) {
           return square(broadcast_to(x[0], {x[0].size(0), 3}));
         },
     .inputs = {{{2, 1}}},
     .reference =
         [](const Arrays& x) {
           return by_pair({x[0].size(0), 3}, x[0], x[0], [](double a, double) { return a * a; });
         },
     .variants = {{{0, 1}}, {{1, 1}}},
     .large = {{20000, 1}},
     .rows_of = {0}},
});

}  // namespace
