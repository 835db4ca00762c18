// Rows for gather, scatter_add, take_along, take_along_axis, add_along_axis and one_hot (ops/indexing.hpp). The indices
// of a row are a fixed function of the shapes, with repeats, gaps and no order.

#include "graft/ops/indexing.hpp"
#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

using Indices = Tensor<std::int64_t>;

Indices scattered(const Shape& shape, Index size) {
  std::vector<std::int64_t> at(shape.count());
  for (std::size_t i = 0; i < at.size(); ++i)
    at[i] = static_cast<std::int64_t>((i * i * 7 + 3 * i + 1) % static_cast<std::size_t>(size));
  return from_vector(at, shape);
}

/// The same places, every other one counted from the end.
Indices from_the_end(const Indices& indices, Index size) {
  std::vector<std::int64_t> at(indices.span().begin(), indices.span().end());
  for (std::size_t i = 0; i < at.size(); i += 2) at[i] -= size;
  return from_vector(at, indices.shape());
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
  std::vector<double> out(shape.count(), 0.0);
  const Index picks = indices.count();
  for (Index o = 0; o < outer; ++o)
    for (Index k = 0; k < picks; ++k)
      for (Index i = 0; i < inner; ++i)
        out[(o * size + indices.data()[k]) * inner + i] += x.data()[(o * picks + k) * inner + i];
  return array(shape, out);
}

OpRow gather_row(const char* name, int axis, const Shape& picked, const std::vector<std::vector<Shape>>& variants,
                 bool backwards = false) {
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
                 const Index i = at[a];
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
                      "index 3 at position 1 is outside -3 .. 2"),
                  bad<IndexError>([](const auto& x) { gather(x[0], tensor<std::int32_t>({-5})); },
                                  "index -5 at position 0 is outside -4 .. 3"),
                  bad<IndexError>([](const auto& x) { gather(x[0], tensor<std::int32_t>({0}), 3); }, "axis 3")}},
      [=](const auto& x) {
        const Indices indices = indices_for(x[0]);
        return gather(x[0], backwards ? from_the_end(indices, x[0].size(axis)) : indices, axis);
      });
}

/// The value and the index that stand at a place of `indices`, which have size 1 where they are the same for all.
std::int64_t index_at(const Indices& indices, Position at) {
  for (int a = 0; a < indices.rank(); ++a)
    if (indices.shape()[a] == 1) at[a] = 0;
  return indices.data()[flat_of(at, indices.shape())];
}
/// `picked` indices along an axis, for every place beside it or the same for all.
Indices along(const Shape& shape, int axis, Index picked, bool for_all, Index size) {
  Shape own = shape.with(axis, picked);
  for (int a = 0; for_all && a < own.rank(); ++a)
    if (a != axis) own[a] = 1;
  return scattered(own, size);
}
OpRow take_along_axis_row(const char* name, int axis, Index picked, bool for_all) {
  return squared({.name = name,
                  .family = "indexing",
                  .call = later,
                  .inputs = {{{3, 4, 5}}},
                  .reference =
                      [=](const Arrays& x) {
                        const Indices indices = along(x[0].shape(), axis, picked, for_all, x[0].size(axis));
                        return by_position(x[0].shape().with(axis, picked), [&](const Position& at) {
                          Position from = at;
                          from[axis] = index_at(indices, at);
                          return number_at(x[0], from);
                        });
                      },
                  .variants = {{{1, 1, 1}}, {axis == 0 ? Shape{2, 3, 0} : Shape{0, 2, 2}}, {{2, 1, 9}}},
                  .large = {{70, 50, 30}},
                  .errors = {bad<IndexError>(
                                 [](const auto& x) {
                                   take_along_axis(x[0], reshape(tensor<std::int32_t>({0, -6}), {1, 1, 2}));
                                 },
                                 " is outside -5 .. 4"),
                             bad<ShapeError>(
                                 [](const auto& x) { take_along_axis(x[0], zeros<std::int64_t>({3, 2, 5}), 0); },
                                 "beside axis 0\n  x [3, 4, 5]\n  indices [3, 2, 5]"),
                             bad<ShapeError>([](const auto& x) { take_along_axis(x[0], zeros<std::int64_t>({4})); },
                                             "indices [4]"),
                             bad<IndexError>(
                                 [](const auto& x) { take_along_axis(x[0], zeros<std::int64_t>({3, 4, 5}), 3); },
                                 "axis 3")}},
                 [=](const auto& x) {
                   const Index size = x[0].size(axis);
                   const Indices indices = along(x[0].shape(), axis, picked, for_all, size);
                   return take_along_axis(x[0], from_the_end(indices, size), axis - 3);
                 });
}
OpRow add_along_axis_row(const char* name, int axis, bool for_all) {
  constexpr Index kSize = 3;
  return squared({.name = name,
                  .family = "indexing",
                  .call = later,
                  .inputs = {{{3, 4, 5}}},
                  .reference =
                      [=](const Arrays& x) {
                        const Shape& own = x[0].shape();
                        const Shape shape = own.with(axis, kSize);
                        const Indices indices = along(own, axis, own[axis], for_all, kSize);
                        std::vector<double> out(shape.count(), 0.0);
                        by_position(own, [&](const Position& at) {
                          Position to = at;
                          to[axis] = index_at(indices, at);
                          return out[flat_of(to, shape)] += number_at(x[0], at);
                        });
                        return array(shape, out);
                      },
                  .variants = {{{1, 1, 1}}, {{2, 3, 0}}, {{0, 2, 2}}, {{2, 0, 2}}, {{2, 1, 9}}},
                  .large = {{70, 50, 30}},
                  .errors = {bad<IndexError>(
                                 [](const auto& x) { add_along_axis(x[0], full<std::int64_t>({1, 1, 5}, 3), 3); },
                                 "index 3 at position 0 is outside -3 .. 2"),
                             bad<ShapeError>(
                                 [](const auto& x) { add_along_axis(x[0], zeros<std::int64_t>({3, 4, 2}), 3); },
                                 "along axis -1\n  values [3, 4, 5]"),
                             bad<ShapeError>(
                                 [](const auto& x) { add_along_axis(x[0], zeros<std::int64_t>({3, 2, 5}), 3); },
                                 "indices [3, 2, 5]"),
                             bad<IndexError>(
                                 [](const auto& x) { add_along_axis(x[0], zeros<std::int64_t>({3, 4, 5}), 3, -4); },
                                 "axis -4")}},
                 [=](const auto& x) {
                   const Indices indices = along(x[0].shape(), axis, x[0].size(axis), for_all, kSize);
                   return add_along_axis(x[0], from_the_end(indices, kSize), kSize, axis);
                 });
}
const bool indexing_rows =
    add_op_rows({
        gather_row("gather", 0, {5}, {{{3}}, {{1, 0}}, {{1, 1}}}),
        gather_row("gather, table of indices", 1, {2, 3}, {{{2, 1}}, {{0, 3}}, {{2, 3, 0}}}),
        gather_row("gather, one", 2, {}, {{{1, 1, 1}}}),
        gather_row("gather, none", 0, {0}, {{{3, 2}}}),
        gather_row("gather, many", 0, {7000}, {{{2}}}),
        gather_row("gather, from the end", 1, {5}, {{{2, 1}}, {{0, 3}}}, true),
        take_along_axis_row("take_along_axis", 2, 4, false),
        take_along_axis_row("take_along_axis, middle axis", 1, 6, false),
        take_along_axis_row("take_along_axis, same for all", 0, 2, true),
        add_along_axis_row("add_along_axis", 2, false),
        add_along_axis_row("add_along_axis, first axis", 0, false),
        add_along_axis_row("add_along_axis, same for all", 1, true),
        squared({.name = "scatter_add, from the end",
                 .family = "indexing",
                 .call = later,
                 .inputs = {{{5, 3}}},
                 .reference = [](const Arrays& x) { return scatter_sums(x[0], scattered({x[0].size(0)}, 7), 7); },
                 .variants = {{{5}}, {{0, 2}}},
                 .large = {{900, 5}}},
                [](const auto& x) {
                  return scatter_add(x[0], from_the_end(scattered({x[0].size(0)}, 7), 7), 7);
                }),
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
                                "index 4 at position 4 is outside -4 .. 3"),
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
