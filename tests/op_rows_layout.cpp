// Rows for ops that move numbers without computing (ops/layout.hpp, and repeat and tile). Most are linear, so their
// squares are tested: a linear op has no second derivative to get wrong.

#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

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

OpRow pad_row(const char* name, int axis, double value = 0) {
  return squared({.name = name,
                  .family = "layout",
                  .call = later,
                  .inputs = {{{2, 3, 4}}},
                  .reference =
                      [=](const Arrays& x) {
                        const Index size = x[0].size(axis);
                        return by_position(x[0].shape().with(axis, size + 3), [&](Position at) {
                          const Index i = on(at, x[0], axis) -= 2;
                          return i < 0 || i >= size ? value : number_at(x[0], at);
                        });
                      },
                  .variants = {{{0, 3, 4}}, {{2, 0, 4}}, {{2, 3, 0}}, {{1, 1, 1}}},
                  .large = {{50, 60, 70}},
                  .errors = {bad<IndexError>([](const auto& x) { pad(x[0], -4, 1, 1); }, "axis -4"),
                             bad<ValueError>([](const auto& x) { pad(x[0], 0, 1, -1); }, "widths are 1 and -1")}},
                 [=](const auto& x) { return pad(x[0], axis, 2, 1, static_cast<ScalarOf<decltype(x)>>(value)); });
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

/// Three copies along axis 1: place i of the result is place from(i, size) of the input.
template <class Op, class From>
OpRow copies_row(const char* name, Op op, From from) {
  return squared({.name = name,
                  .family = "layout",
                  .call = later,
                  .inputs = {{{2, 3, 4}}},
                  .reference =
                      [from](const Arrays& x) {
                        const Index size = x[0].size(1);
                        return by_position(x[0].shape().with(1, 3 * size), [&](Position at) {
                          at[1] = from(at[1], size);
                          return number_at(x[0], at);
                        });
                      },
                  .variants = {{{2, 1}}, {{0, 2}}, {{2, 0}}},
                  .large = {{20, 30, 40}},
                  .errors = {bad<IndexError>([op](const auto& x) { op(x[0], 2, 3); }, "axis 3"),
                             bad<ValueError>([op](const auto& x) { op(x[0], -1); }, "count is -1")}},
                 [op](const auto& x) { return op(x[0], 3, 1); });
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
        pad_row("pad, with a value", 1, -1.5),
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
        copies_row(
            "repeat", [](const auto& x, auto... how) { return repeat(x, how...); },
            [](Index i, Index) { return i / 3; }),
        copies_row(
            "tile", [](const auto& x, auto... how) { return tile(x, how...); },
            [](Index i, Index size) { return i % size; }),
        squared({.name = "reshape",
                 .family = "layout",
                 .call = later,
                 .inputs = {{{3, 4}}},
                 .reference =
                     [](const Arrays& x) {
                       return array({2, x[0].count() / 2}, {x[0].span().begin(), x[0].span().end()});
                     },
                 .variants = {{{2}}, {{2, 1, 1}}, {{0, 3}}},
                 .large = {{2, 20000}},
                 .errors = {bad<ShapeError>([](const auto& x) { reshape(x[0], {5}); }, "[5]"),
                            bad<ShapeError>(
                                [](const auto& x) {
                                  reshape(x[0], {5, -1});
                                },
                                "x [3, 4]"),
                            bad<ShapeError>(
                                [](const auto& x) {
                                  reshape(x[0], {-2, -6});
                                },
                                "negative"),
                            bad<ShapeError>(
                                [](const auto& x) {
                                  reshape(x[0], {1, 1, 1, 1, 1, 3, 4});
                                },
                                "rank 7")}},
                [](const auto& x) {
                  return reshape(x[0], {2, -1});
                }),
    });

}  // namespace
