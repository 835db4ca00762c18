// Rows for gather, scatter_add, take_along and one_hot (ops/indexing.hpp). The indices of a row are a fixed function of
// the shapes, with repeats, gaps and no order.

#include "graft/ops/indexing.hpp"
#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

using Indices = Tensor<std::int64_t>;

Indices scattered(const Shape& shape, Index size) {
  std::vector<std::int64_t> at(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < at.size(); ++i)
    at[i] = static_cast<std::int64_t>((i * i * 7 + 3 * i + 1) % static_cast<std::size_t>(size));
  return from_vector(at, shape);
}

/// x with its axes from `axis` on, as many as the indices have, added up into `size` places.
Tensor<double> scatter_sums(const Tensor<double>& x, const Indices& indices, Index size, int axis = 0) {
  Shape shape;
  for (int a = 0; a < x.rank(); ++a) {
    if (a == axis) shape.push_back(size);
    if (a < axis || a >= axis + indices.rank()) shape.push_back(x.shape()[a]);
  }
  Index outer = 1, inner = 1;
  for (int a = 0; a < axis; ++a) outer *= x.size(a);
  for (int a = axis + indices.rank(); a < x.rank(); ++a) inner *= x.size(a);
  std::vector<double> out(static_cast<std::size_t>(shape.count()), 0.0);
  const Index picks = indices.count();
  for (Index o = 0; o < outer; ++o)
    for (Index k = 0; k < picks; ++k)
      for (Index i = 0; i < inner; ++i)
        out[static_cast<std::size_t>((o * size + indices.data()[k]) * inner + i)] +=
            x.data()[(o * picks + k) * inner + i];
  return array(shape, out);
}

OpRow gather_row(const char* name, int axis, const Shape& picked, const std::vector<std::vector<Shape>>& variants) {
  const auto indices_for = [=](const auto& x) { return scattered(picked, x.size(axis)); };
  return squared(
      {.name = name,
       .family = "indexing",
       .call = later,
       .inputs = {{{4, 3, 2}}},
       .reference =
           [=](const Arrays& x) {
             const Indices indices = indices_for(x[0]);
             Shape shape;
             for (int a = 0; a < axis; ++a) shape.push_back(x[0].shape()[a]);
             for (Index size : picked) shape.push_back(size);
             for (int a = axis + 1; a < x[0].rank(); ++a) shape.push_back(x[0].shape()[a]);
             return by_position(shape, [&](const Position& at) {
               Position from;
               Index k = 0;
               for (int a = 0; a < shape.rank(); ++a) {
                 const Index i = at[static_cast<std::size_t>(a)];
                 if (a < axis || a >= axis + picked.rank())
                   from.push_back(i);
                 else
                   k = k * picked[a - axis] + i;
               }
               from.insert(from.begin() + axis, indices.data()[k]);
               return number_at(x[0], from);
             });
           },
       .variants = variants,
       .large = {{300, 40, 3}},
       .errors = {bad<IndexError>(
                      [](const auto& x) {
                        gather(x[0], tensor<std::int64_t>({0, 3, 4}), 1);
                      },
                      "index 3 at position 1 is outside 0 .. 2"),
                  bad<IndexError>([](const auto& x) { gather(x[0], tensor<std::int32_t>({-1})); },
                                  "index -1 at position 0"),
                  bad<IndexError>([](const auto& x) { gather(x[0], tensor<std::int32_t>({0}), 3); }, "axis 3")}},
      [=](const auto& x) { return gather(x[0], indices_for(x[0]), axis); });
}

const bool indexing_rows =
    add_op_rows({
        gather_row("gather", 0, {5}, {{{3}}, {{1, 0}}, {{1, 1}}}),
        gather_row("gather, table of indices", 1, {2, 3}, {{{2, 1}}, {{0, 3}}, {{2, 3, 0}}}),
        gather_row("gather, one", 2, {}, {{{1, 1, 1}}}),
        gather_row("gather, none", 0, {0}, {{{3, 2}}}),
        gather_row("gather, many", 0, {7000}, {{{2}}}),
        squared({.name = "scatter_add",
                 .family = "indexing",
                 .call = later,
                 .inputs = {{{5, 3}}},
                 .reference =
                     [](const Arrays& x) { return scatter_sums(x[0], scattered({x[0].size(0)}, 7), 7); },
                 .variants = {{{5}}, {{0, 2}}, {{4, 0}}, {{1, 1}}, {{6, 2, 9}}},
                 .large = {{9000, 5}},
                 .errors = {bad<IndexError>(
                                [](const auto& x) {
                                  scatter_add(x[0], tensor<std::int64_t>({0, 1, 2, 3, 4}), 4);
                                },
                                "index 4 at position 4 is outside 0 .. 3"),
                            bad<ShapeError>(
                                [](const auto& x) {
                                  scatter_add(x[0], tensor<std::int64_t>({0, 1}), 4);
                                },
                                "indices [2]"),
                            bad<IndexError>([](const auto& x) { scatter_add(x[0], tensor<std::int64_t>({0}), 4, 2); },
                                            "axis 2")}},
                [](const auto& x) { return scatter_add(x[0], scattered({x[0].size(0)}, 7), 7); }),
        squared({.name = "scatter_add, middle axes",
                 .family = "indexing",
                 .call = later,
                 .inputs = {{{2, 3, 4, 5}}},
                 .reference =
                     [](const Arrays& x) {
                       return scatter_sums(x[0], scattered({x[0].size(1), x[0].size(2)}, 6), 6, 1);
                     },
                 .variants = {{{1, 1, 1, 1}}, {{2, 0, 3, 4}}, {{0, 2, 2, 2}}},
                 .large = {{3, 50, 40, 8}}},
                [](const auto& x) {
                  return scatter_add(x[0], scattered({x[0].size(1), x[0].size(2)}, 6), 6, 1);
                }),
        squared({.name = "take_along",
                 .family = "indexing",
                 .call = later,
                 .inputs = {{{5, 4}}},
                 .reference =
                     [](const Arrays& x) {
                       const Shape kept = x[0].shape().without(x[0].rank() - 1);
                       const Indices indices = scattered(kept, x[0].size(-1));
                       std::vector<double> out;
                       for (Index k = 0; k < kept.count(); ++k)
                         out.push_back(x[0].data()[k * x[0].size(-1) + indices.data()[k]]);
                       return array(kept, out);
                     },
                 .variants = {{{3}}, {{0, 3}}, {{1, 1}}, {{2, 3, 4}}},
                 .large = {{20000, 3}},
                 .errors = {bad<IndexError>(
                                [](const auto& x) {
                                  take_along(x[0], tensor<std::int64_t>({0, 1, 2, 3, 4}));
                                },
                                "index 4 at position 4"),
                            bad<ShapeError>(
                                [](const auto& x) {
                                  take_along(x[0], tensor<std::int64_t>({0, 1}));
                                },
                                "indices [2]"),
                            bad<IndexError>([](const auto& x) { take_along(x[0], tensor<std::int64_t>({0}), 2); },
                                            "axis 2")}},
                [](const auto& x) {
                  return take_along(x[0], scattered(x[0].shape().without(x[0].rank() - 1), x[0].size(-1)));
                }),
        squared({.name = "take_along, first axis",
                 .family = "indexing",
                 .call = later,
                 .inputs = {{{5, 4}}},
                 .reference =
                     [](const Arrays& x) {
                       const Shape kept = x[0].shape().without(0);
                       const Indices indices = scattered(kept, x[0].size(0));
                       std::vector<double> out;
                       for (Index k = 0; k < kept.count(); ++k)
                         out.push_back(x[0].data()[indices.data()[k] * kept.count() + k]);
                       return array(kept, out);
                     },
                 .variants = {{{3}}, {{3, 0}}, {{1, 1}}, {{2, 3, 4}}},
                 .large = {{3, 20000}}},
                [](const auto& x) { return take_along(x[0], scattered(x[0].shape().without(0), x[0].size(0)), 0); }),
        {.name = "one_hot",
         .family = "indexing",
         .call =
             [](const auto& x) {
               return x[0] * one_hot<ScalarOf<decltype(x)>>(scattered({x[0].size(0)}, x[0].size(1)), x[0].size(1));
             },
         .inputs = {{.shape = {5, 4}, .spreads = "the row multiplies by zeros"}},
         .reference =
             [](const Arrays& x) {
               const Indices indices = scattered({x[0].size(0)}, x[0].size(1));
               return by_position(x[0].shape(), [&](const Position& at) {
                 return indices.data()[at[0]] == at[1] ? number_at(x[0], at) : 0;
               });
             },
         .variants = {{{0, 3}}, {{1, 1}}},
         .large = {{5000, 7}},
         .errors = {bad<IndexError>(
             [](const auto&) {
               one_hot(tensor<std::int64_t>({2, 3}), 3);
             },
             "index 3 at position 1")}},
    });

}  // namespace
