// Rows for ops that move numbers: permute, slice, pad, flip, concat, stack, split, repeat, tile, gather, scatter_add,
// take_along, and dropout. Most are linear, so their squares are tested: a linear op has no second derivative to get
// wrong.

#include "graft/ops/dropout.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

using Position = std::vector<Index>;
using Indices = Tensor<std::int64_t>;

/// An array of the given shape from f(position).
template <class F>
Tensor<double> by_position(const Shape& shape, F f) {
  std::vector<double> out(static_cast<std::size_t>(shape.count()));
  for (std::size_t flat = 0; flat < out.size(); ++flat) {
    Position at(static_cast<std::size_t>(shape.rank()));
    Index rest = static_cast<Index>(flat);
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      at[static_cast<std::size_t>(axis)] = rest % shape[axis];
      rest /= shape[axis];
    }
    out[flat] = f(at);
  }
  return array(shape, out);
}
double number_at(const Tensor<double>& x, const Position& at) {
  Index offset = 0;
  for (int axis = 0; axis < x.rank(); ++axis) offset = offset * x.shape()[axis] + at[static_cast<std::size_t>(axis)];
  return x.data()[offset];
}
Index& on(Position& at, const Tensor<double>& x, int axis) {
  return at[static_cast<std::size_t>(axis < 0 ? axis + x.rank() : axis)];
}

/// The row of the squares of a linear op, from the row of the op without `call`.
template <class Op>
OpRow squared(OpRow row, Op op) {
  row.call = [op](const auto& x) { return square(op(x)); };
  row.reference = [op = row.reference](const Arrays& x) { return by_number(op(x), [](double v) { return v * v; }); };
  return row;
}
/// Stands for the call that `squared` fills in.
const auto later = [](const auto& x) { return x[0]; };

OpRow permute_row(const char* name, const std::vector<int>& order, const std::vector<std::vector<Shape>>& variants,
                  const Shape& large) {
  Shape shape;
  for (int a = 0; a < large.rank(); ++a) shape.push_back(a + 2);
  return squared(
      {.name = name,
       .family = "layout",
       .call = later,
       .inputs = {{shape}},
       .reference =
           [order](const Arrays& x) {
             Shape moved;
             for (int a : order) moved.push_back(x[0].shape()[a]);
             return by_position(moved, [&](const Position& at) {
               Position from(at.size());
               for (std::size_t a = 0; a < at.size(); ++a) on(from, x[0], order[a]) = at[a];
               return number_at(x[0], from);
             });
           },
       .variants = variants,
       .large = {large},
       .errors = {bad<ShapeError>([](const auto& x) { permute(x[0], {0}); }, "1 axes for rank"),
                  bad<IndexError>(
                      [](const auto& x) { permute(x[0], std::vector<int>(static_cast<std::size_t>(x[0].rank()), 0)); },
                      "axis 0 given twice"),
                  bad<IndexError>(
                      [](const auto& x) { permute(x[0], std::vector<int>(static_cast<std::size_t>(x[0].rank()), 6)); },
                      "axis 6")}},
      [order](const auto& x) { return permute(x[0], order); });
}

OpRow slice_row(const char* name, int axis, Index begin, Index end, Index step,
                const std::vector<std::vector<Shape>>& variants) {
  return squared(
      {.name = name,
       .family = "layout",
       .call = later,
       .inputs = {{{4, 5, 6}}},
       .reference =
           [=](const Arrays& x) {
             const Index size = x[0].size(axis);
             const Index first = begin < 0 ? begin + size : begin, last = end < 0 ? end + size : end;
             Index count = 0;
             for (Index i = first; i < last; i += step) ++count;
             return by_position(x[0].shape().with(axis, count), [&](Position at) {
               on(at, x[0], axis) = first + step * on(at, x[0], axis);
               return number_at(x[0], at);
             });
           },
       .variants = variants,
       .large = {{70, 80, 90}},
       .errors = {bad<IndexError>([](const auto& x) { slice(x[0], 3, 0, 1); }, "axis 3 of rank 3"),
                  bad<IndexError>([](const auto& x) { slice(x[0], 1, 2, 6); }, "[2, 6) of axis 1 with size 5"),
                  bad<IndexError>([](const auto& x) { slice(x[0], 1, 3, 2); }, "[3, 2)"),
                  bad<IndexError>([](const auto& x) { slice(x[0], 0, -5, 2); }, "[-5, 2)"),
                  bad<ValueError>([](const auto& x) { slice(x[0], 0, 0, 1, 0); }, "step is 0")}},
      [=](const auto& x) { return slice(x[0], axis, begin, end, step); });
}

OpRow pad_row(const char* name, int axis) {
  return squared({.name = name,
                  .family = "layout",
                  .call = later,
                  .inputs = {{{2, 3, 4}}},
                  .reference =
                      [=](const Arrays& x) {
                        const Index size = x[0].size(axis);
                        return by_position(x[0].shape().with(axis, size + 3), [&](Position at) {
                          const Index i = on(at, x[0], axis) -= 2;
                          return i < 0 || i >= size ? 0 : number_at(x[0], at);
                        });
                      },
                  .variants = {{{0, 3, 4}}, {{2, 0, 4}}, {{2, 3, 0}}, {{1, 1, 1}}},
                  .large = {{50, 60, 70}},
                  .errors = {bad<IndexError>([](const auto& x) { pad(x[0], -4, 1, 1); }, "axis -4"),
                             bad<ValueError>([](const auto& x) { pad(x[0], 0, 1, -1); }, "widths are 1 and -1")}},
                 [=](const auto& x) { return pad(x[0], axis, 2, 1); });
}

OpRow flip_row(const char* name, int axis) {
  return squared({.name = name,
                  .family = "layout",
                  .call = later,
                  .inputs = {{{2, 3, 4}}},
                  .reference =
                      [=](const Arrays& x) {
                        return by_position(x[0].shape(), [&](Position at) {
                          Index& i = on(at, x[0], axis);
                          i = x[0].size(axis) - 1 - i;
                          return number_at(x[0], at);
                        });
                      },
                  .variants = {{{0, 3, 4}}, {{2, 0, 4}}, {{1, 1, 1}}},
                  .large = {{30, 40, 50}},
                  .errors = {bad<IndexError>([](const auto& x) { flip(x[0], 3); }, "axis 3")}},
                 [=](const auto& x) { return flip(x[0], axis); });
}

Tensor<double> joined_arrays(const Arrays& x, int axis) {
  Index size = 0;
  for (const auto& one : x) size += one.size(axis);
  return by_position(x[0].shape().with(axis, size), [&](Position at) {
    std::size_t from = 0;
    Index& i = on(at, x[0], axis);
    while (i >= x[from].size(axis)) i -= x[from++].size(axis);
    return number_at(x[from], at);
  });
}
OpRow concat_row(const char* name, int axis, const std::vector<std::vector<Shape>>& variants,
                 const std::vector<Shape>& large) {
  return squared({.name = name,
                  .family = "layout",
                  .call = later,
                  .inputs = {{{2, 3, 4}}, {{2, 3, 4}}, {{2, 3, 4}}},
                  .reference = [=](const Arrays& x) { return joined_arrays(x, axis); },
                  .variants = variants,
                  .large = large,
                  .errors = {bad<ValueError>([](const auto& x) { concat(decltype(std::vector(x))()); }, "at least one"),
                             bad<IndexError>([](const auto& x) { concat(x, 3); }, "axis 3 of rank 3"),
                             bad<ShapeError>(
                                 [](const auto& x) {
                                   concat(std::vector{x[0], reshape(x[1], {3, 2, 4})}, 2);
                                 },
                                 "other [3, 2, 4]"),
                             bad<ShapeError>(
                                 [](const auto& x) {
                                   concat(std::vector{x[0], reshape(x[1], {6, 4})});
                                 },
                                 "[6, 4]")}},
                 [=](const auto& x) { return concat(x, axis); });
}

const bool layout_rows =
    add_op_rows({
        permute_row("permute", {2, 0, 1}, {{{0, 2, 3}}, {{2, 3, 0}}, {{1, 1, 1}}, {{3, 1, 2}}}, {30, 20, 70}),
        permute_row("permute, heads", {0, 2, 1, 3}, {{{1, 5, 1, 3}}, {{2, 0, 3, 4}}}, {4, 33, 7, 35}),
        permute_row("permute, reversed", {2, 1, 0}, {{{17, 2, 33}}}, {37, 19, 41}),
        permute_row("permute, unchanged", {0, 1, 2}, {{{1, 1, 1}}}, {30, 20, 70}),
        squared({.name = "transpose",
                 .family = "layout",
                 .call = later,
                 .inputs = {{{3, 4}}},
                 .reference =
                     [](const Arrays& x) {
                       const Shape& shape = x[0].shape();
                       return by_position(shape.with(-1, shape[-2]).with(-2, shape[-1]), [&](Position at) {
                         std::swap(at[at.size() - 1], at[at.size() - 2]);
                         return number_at(x[0], at);
                       });
                     },
                 .variants = {{{2, 3, 4}}, {{0, 3}}, {{3, 0}}, {{1, 5}}, {{1, 1}}, {{16, 16}}, {{17, 33}}},
                 .large = {{200, 300}},
                 .errors = {bad<ShapeError>([](const auto& x) { transpose(reshape(x[0], {-1})); }, "[12]")}},
                [](const auto& x) { return transpose(x[0]); }),
        slice_row("slice, leading", 0, 1, 3, 1, {{{3}}, {{3, 0, 1}}}),
        slice_row("slice, middle", 1, 1, -1, 1, {{{2, 2}}, {{0, 3}}, {{1, 3, 1}}}),
        slice_row("slice, last", -1, -4, -1, 1, {{{1, 6}}, {{0, 4}}}),
        slice_row("slice, step", 1, 1, 5, 3, {{{2, 5}}, {{0, 5, 2}}, {{1, 6, 1}}}),
        slice_row("slice, leading step", 0, 0, -1, 2, {{{1}}, {{6, 1}}, {{3, 0}}}),
        slice_row("slice, nothing", 1, 2, 2, 1, {{{1, 2}}}),
        pad_row("pad, first", 0),
        pad_row("pad, middle", 1),
        pad_row("pad, last", -1),
        flip_row("flip, first", 0),
        flip_row("flip, middle", 1),
        flip_row("flip, last", -1),
        concat_row("concat", 0, {{{2}, {0}, {3}}, {{1, 0}, {2, 0}, {0, 0}}, {{1}, {1}, {1}}},
                   {{30, 40, 9}, {1, 40, 9}, {70, 40, 9}}),
        concat_row("concat, middle", 1, {{{2, 1}, {2, 3}, {2, 0}}, {{0, 1}, {0, 2}, {0, 0}}},
                   {{30, 4, 9}, {30, 1, 9}, {30, 70, 9}}),
        concat_row("concat, last", -1, {{{2}, {0}, {3}}, {{2, 1}, {2, 1}, {2, 1}}}, {{300, 4}, {300, 1}, {300, 70}}),
        squared({.name = "stack",
                 .family = "layout",
                 .call = later,
                 .inputs = {{{2, 3}}, {{2, 3}}, {{2, 3}}},
                 .reference =
                     [](const Arrays& x) {
                       Arrays parts;
                       Shape shape = {1};
                       for (Index size : x[0].shape()) shape.push_back(size);
                       for (const auto& one : x) parts.push_back(array(shape, {one.span().begin(), one.span().end()}));
                       return joined_arrays(parts, 0);
                     },
                 .variants = {{{}, {}, {}}, {{0}, {0}, {0}}, {{1}, {1}, {1}}},
                 .large = {{100, 200}, {100, 200}, {100, 200}},
                 .errors = {bad<ValueError>([](const auto& x) { stack(decltype(std::vector(x))()); }, "at least one"),
                            bad<ShapeError>(
                                [](const auto& x) {
                                  stack(std::vector{x[0], reshape(x[1], {3, 2})});
                                },
                                "other [3, 2]")}},
                [](const auto& x) { return stack(x); }),
        squared({.name = "stack, last",
                 .family = "layout",
                 .call = later,
                 .inputs = {{{2, 3}}, {{2, 3}}},
                 .reference =
                     [](const Arrays& x) {
                       Shape shape = x[0].shape();
                       shape.push_back(2);
                       return by_position(shape, [&](Position at) {
                         const auto from = static_cast<std::size_t>(at.back());
                         at.pop_back();
                         return number_at(x[from], at);
                       });
                     },
                 .variants = {{{}, {}}, {{0}, {0}}, {{1}, {1}}},
                 .large = {{100, 200}, {100, 200}}},
                [](const auto& x) { return stack(x, -1); }),
        {.name = "split",  // the parts put back together in another order, each times another number
         .family = "layout",
         .call =
             [](const auto& x) {
               const auto parts = split(x[0], {1, 0, x[0].size(1) - 1}, 1);
               return square(concat(std::vector{parts[2], parts[1], parts[0] * 3}, 1));
             },
         .inputs = {{{2, 4, 3}}},
         .reference =
             [](const Arrays& x) {
               return by_position(x[0].shape(), [&](Position at) {
                 const bool first = at[1] == x[0].size(1) - 1;
                 at[1] = first ? 0 : at[1] + 1;
                 const double v = number_at(x[0], at);
                 return (first ? 9 : 1) * v * v;
               });
             },
         .variants = {{{2, 1}}, {{0, 3}}, {{2, 2, 0}}},
         .large = {{40, 50, 30}},
         .errors = {bad<ShapeError>(
                        [](const auto& x) {
                          split(x[0], {1, 2}, 1);
                        },
                        "add up to 3, axis 1 has 4"),
                    bad<ShapeError>(
                        [](const auto& x) {
                          split(x[0], {-1, 5}, 1);
                        },
                        "negative"),
                    bad<IndexError>([](const auto& x) { split(x[0], {4}, 3); }, "axis 3")}},
        squared({.name = "unsqueeze",
                 .family = "layout",
                 .call = later,
                 .inputs = {{{2, 3}}},
                 .reference =
                     [](const Arrays& x) {
                       return array({2, 1, x[0].count() / 2}, {x[0].span().begin(), x[0].span().end()});
                     },
                 .variants = {{{2, 0}}, {{2, 1}}},
                 .large = {{2, 30000}},
                 .errors = {bad<IndexError>([](const auto& x) { unsqueeze(x[0], 3); }, "axis 3"),
                            bad<IndexError>([](const auto& x) { unsqueeze(x[0], -4); }, "axis -4")}},
                [](const auto& x) { return unsqueeze(x[0], -2); }),
        squared({.name = "squeeze",
                 .family = "layout",
                 .call = later,
                 .inputs = {{{2, 1, 3}}},
                 .reference =
                     [](const Arrays& x) {
                       return array({2, x[0].count() / 2}, {x[0].span().begin(), x[0].span().end()});
                     },
                 .variants = {{{2, 1, 0}}, {{2, 1, 1}}},
                 .large = {{2, 1, 30000}},
                 .errors = {bad<ShapeError>([](const auto& x) { squeeze(x[0], 0); }, "axis 0 has size 2"),
                            bad<IndexError>([](const auto& x) { squeeze(x[0], 3); }, "axis 3")}},
                [](const auto& x) { return squeeze(x[0], 1); }),
        squared({.name = "repeat",
                 .family = "layout",
                 .call = later,
                 .inputs = {{{2, 3, 4}}},
                 .reference =
                     [](const Arrays& x) {
                       return by_position(x[0].shape().with(1, 3 * x[0].size(1)), [&](Position at) {
                         at[1] /= 3;
                         return number_at(x[0], at);
                       });
                     },
                 .variants = {{{2, 1}}, {{0, 2}}, {{2, 0}}},
                 .large = {{20, 30, 40}},
                 .errors = {bad<IndexError>([](const auto& x) { repeat(x[0], 2, 3); }, "axis 3"),
                            bad<ValueError>([](const auto& x) { repeat(x[0], -1); }, "count is -1")}},
                [](const auto& x) { return repeat(x[0], 3, 1); }),
        squared({.name = "tile",
                 .family = "layout",
                 .call = later,
                 .inputs = {{{2, 3, 4}}},
                 .reference =
                     [](const Arrays& x) {
                       return by_position(x[0].shape().with(1, 3 * x[0].size(1)), [&](Position at) {
                         at[1] %= x[0].size(1);
                         return number_at(x[0], at);
                       });
                     },
                 .variants = {{{2, 1}}, {{0, 2}}, {{2, 0}}},
                 .large = {{20, 30, 40}},
                 .errors = {bad<IndexError>([](const auto& x) { tile(x[0], 2, 3); }, "axis 3"),
                            bad<ValueError>([](const auto& x) { tile(x[0], -1); }, "count is -1")}},
                [](const auto& x) { return tile(x[0], 3, 1); }),
    });

// ---- Indexing. The indices of a row are a fixed function of the shapes, with repeats, gaps and no order.
// ---------------

Indices scattered(const Shape& shape, Index size) {
  std::vector<std::int64_t> at(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < at.size(); ++i)
    at[i] = static_cast<std::int64_t>((i * i * 7 + 3 * i + 1) % static_cast<std::size_t>(size));
  return from_vector(at, shape);
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
                     [](const Arrays& x) {
                       const Indices indices = scattered({x[0].size(0)}, 7);
                       Tensor<double> sums = zeros<double>(x[0].shape().with(0, 7));
                       std::vector<double> out(sums.span().begin(), sums.span().end());
                       const Index width = x[0].size(0) == 0 ? 0 : x[0].count() / x[0].size(0);
                       for (Index i = 0; i < x[0].count(); ++i)
                         out[static_cast<std::size_t>(indices.data()[i / width] * width + i % width)] += x[0].data()[i];
                       return array(sums.shape(), out);
                     },
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
                       const Shape& s = x[0].shape();
                       const Indices indices = scattered({s[1], s[2]}, 6);
                       std::vector<double> out(static_cast<std::size_t>(s[0] * 6 * s[3]));
                       for (Index a = 0; a < s[0]; ++a)
                         for (Index k = 0; k < s[1] * s[2]; ++k)
                           for (Index i = 0; i < s[3]; ++i)
                             out[static_cast<std::size_t>((a * 6 + indices.data()[k]) * s[3] + i)] +=
                                 x[0].data()[(a * s[1] * s[2] + k) * s[3] + i];
                       return array({s[0], 6, s[3]}, out);
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
         .inputs = {{{5, 4}}},
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
        {.name = "dropout",  // the mask is Philox's words as the kernel documents them, each counter drawn one by one
         .family = "dropout",
         .call = [](const auto& x) { return square(dropout(x[0], 0.375, Random(5).stream("dropout"))); },
         .inputs = {{{7, 11}, 0.5, 1}},
         .reference =
             [](const Arrays& x) {
               const std::uint64_t key = Random(5).stream("dropout").bits(0);
               std::vector<double> out(x[0].span().begin(), x[0].span().end());
               for (std::size_t i = 0; i < out.size(); ++i) {
                 const auto words =
                     detail::philox({static_cast<std::uint32_t>(i / 64 * 16 + i % 16), 0, 0, 0},
                                    {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
                 const double scaled = out[i] / 0.625;
                 out[i] = words[i / 16 % 4] < 0x60000000u ? 0 : scaled * scaled;
               }
               return array(x[0].shape(), out);
             },
         .variants = {{{}}, {{0, 3}}, {{1}}, {{64}}, {{65}}},
         .large = {{40000}},
         .errors = {bad<ValueError>([](const auto& x) { dropout(x[0], 1, Random(1)); }, "rate is 1"),
                    bad<ValueError>([](const auto& x) { dropout(x[0], -0.5, Random(1)); }, "rate is -0.5")}},
    });

}  // namespace
