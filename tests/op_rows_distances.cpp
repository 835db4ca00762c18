// Rows for class means, squared distances and cosines (ops/prototypes.hpp), and rows of length 1 (ops/statistics.hpp).

#include <algorithm>
#include <cmath>

#include "graft/ops/prototypes.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

/// Item i is of class i mod 3, but for the last of several, which is of class 3; nothing is of class 4.
constexpr Index kWays = 5;
Tensor<std::int64_t> classes_of(Index items) {
  std::vector<std::int64_t> labels;
  for (Index i = 0; i < items; ++i) labels.push_back(i > 0 && i + 1 == items ? 3 : i % 3);
  return from_vector(labels);
}

/// Rows over their norms; a norm below 1e-12 counts as that.
Tensor<double> unit(const Tensor<double>& x) {
  return by_row(x, [](std::span<double> row) {
    long double squares = 0;
    for (const double v : row) squares += static_cast<long double>(v) * v;
    const auto norm = std::max(static_cast<double>(std::sqrt(squares)), 1e-12);
    for (double& v : row) v /= norm;
  });
}

const bool rows = add_op_rows({
    squared({.name = "prototypes",
             .family = "distances",
             .call = later,
             .inputs = {{{7, 3}}},
             .reference =
                 [](const Arrays& x) {
                   const Tensor<std::int64_t> labels = classes_of(x[0].size(0));
                   return by_position({kWays, x[0].size(1)}, [&](const Position& at) {
                     double total = 0, count = 0;
                     for (Index i = 0; i < x[0].size(0); ++i)
                       if (labels.at({i}) == at[0]) total += x[0].at({i, at[1]}), count += 1;
                     return count == 0 ? 0 : total / count;
                   });
                 },
             .variants = {{{1, 1}}, {{0, 3}}, {{4, 0}}},
             .large = {{900, 70}},
             .errors = {bad<ShapeError>([](const auto& x) { prototypes(x[0], classes_of(6), kWays); }, "labels [6]"),
                        bad<ShapeError>([](const auto& x) { prototypes(sum(x[0], {1}), classes_of(7), kWays); },
                                        "embeddings [7]")}},
            [](const auto& x) { return prototypes(x[0], classes_of(x[0].size(0)), kWays); }),
    {.name = "squared_distances",
     .family = "distances",
     .call = [](const auto& x) { return squared_distances(x[0], x[1]); },
     .inputs = {{{4, 3}}, {{5, 3}}},
     .reference =
         [](const Arrays& x) {
           return by_position({x[0].size(0), x[1].size(0)}, [&](const Position& at) {
             double total = 0;
             for (Index i = 0; i < x[0].size(1); ++i) {
               const double gap = x[0].at({at[0], i}) - x[1].at({at[1], i});
               total += gap * gap;
             }
             return total;
           });
         },
     .variants = {{{1, 1}, {1, 1}}, {{3, 2}, {3, 2}}, {{0, 3}, {2, 3}}, {{2, 3}, {0, 3}}, {{2, 0}, {3, 0}}},
     .large = {{300, 70}, {40, 70}},
     .errors = {bad<ShapeError>(
                    [](const auto& x) {
                      squared_distances(x[0], reshape(x[1], {3, 5}));
                    },
                    "b [3, 5]"),
                bad<ShapeError>([](const auto& x) { squared_distances(sum(x[0]), x[1]); }, "a []")},
     .rows_of = {0}},
    {.name = "unit_rows",
     .family = "distances",
     .call = [](const auto& x) { return unit_rows(x[0]); },
     .inputs = {{{4, 3}}},
     .reference = [](const Arrays& x) { return unit(x[0]); },
     .variants = {{{1, 1}}, {{0, 3}}, {{3, 0}}},
     .large = {{900, 70}},
     .errors = {bad<ShapeError>([](const auto& x) { unit_rows(sum(x[0], {1})); }, "x [4]")},
     .rows_of = {0}},
    {.name = "cosine_similarities",
     .family = "distances",
     .call = [](const auto& x) { return cosine_similarities(x[0], x[1]); },
     .inputs = {{{4, 3}}, {{5, 3}}},
     .reference =
         [](const Arrays& x) {
           const Tensor<double> u = unit(x[0]), v = unit(x[1]);
           return by_position({u.size(0), v.size(0)}, [&](const Position& at) {
             double total = 0;
             for (Index i = 0; i < u.size(1); ++i) total += u.at({at[0], i}) * v.at({at[1], i});
             return total;
           });
         },
     .variants = {{{1, 3}, {2, 3}}, {{3, 2}, {3, 2}}, {{0, 3}, {2, 3}}, {{2, 3}, {0, 3}}, {{2, 0}, {3, 0}}},
     .large = {{300, 70}, {40, 70}},
     .errors = {bad<ShapeError>(
                    [](const auto& x) {
                      cosine_similarities(x[0], reshape(x[1], {3, 5}));
                    },
                    "b [3, 5]"),
                bad<ShapeError>([](const auto& x) { cosine_similarities(sum(x[0]), x[1]); }, "a []")},
     .rows_of = {0}},
});

}  // namespace
