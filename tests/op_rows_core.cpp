// Rows for operators, broadcasting, selection, products, sums and the three ways of making an op: map, fused,
// checkpoint.

#include <cmath>

#include "graft/ops/matmul.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

Shape joined(const Arrays& x) {
  Shape shape = x[0].shape();
  for (const auto& other : x) {
    Shape wider;
    broadcast_shapes(shape, other.shape(), wider);
    shape = wider;
  }
  return shape;
}
/// Every way in which two shapes broadcast, empties and size-one axes included.
const std::vector<std::vector<Shape>> broadcasts = {
    {{}, {}},  {{1}, {1}}, {{0}, {0}},          {{0, 3}, {3}},    {{3}, {4, 3}}, {{4, 1}, {3}},
    {{}, {5}}, {{5}, {}},  {{2, 1, 3}, {5, 1}}, {{1, 0}, {3, 1}}, {{4}, {4}}};
template <class F>
OpRow operator_row(const char* name, OpCall call, BadCall mismatch, F reference) {
  return {.name = name,
          .family = "operator",
          .call = std::move(call),
          .inputs = {{{3, 4}, -2, 2}, {{3, 4}, 0.5, 2}},
          .reference = [reference](const Arrays& x) { return by_pair(joined(x), x[0], x[1], reference); },
          .variants = broadcasts,
          .large = {{40, 1, 600}, {2, 600}},
          .errors = {std::move(mismatch)}};
}
template <class F>
OpRow number_row(const char* name, OpCall call, F reference) {
  return {.name = name,
          .family = "operator",
          .call = std::move(call),
          .inputs = {{{3, 4}, 0.5, 2}},
          .reference = [reference](const Arrays& x) { return by_number(x[0], reference); },
          .variants = {{{}}, {{1}}, {{0, 2}}},
          .large = {{3, 16411}},
          .rows_of = {0}};
}
template <class T>
auto wrong_length(const Tensor<T>&) {
  return zeros<T>({5});
}

#define OPERATOR(symbol, op)                                                                         \
  operator_row(                                                                                      \
      #op ", operator", [](const auto& x) { return x[0] symbol x[1]; },                              \
      bad_operator<ShapeError>([](const auto& x) { return x[0] symbol wrong_length(x[0]); }, "[5]"), \
      [](double a, double b) { return a symbol b; }),                                                \
      number_row(                                                                                    \
          #op ", tensor and number", [](const auto& x) { return x[0] symbol 3; },                    \
          [](double a) { return a symbol 3; }),                                                      \
      number_row(                                                                                    \
          #op ", number and tensor", [](const auto& x) { return 3.5 symbol x[0]; },                  \
          [](double a) { return 3.5 symbol a; }),

const bool operator_rows = add_op_rows({
    OPERATOR(+, add) OPERATOR(-, subtract) OPERATOR(*, multiply) OPERATOR(/, divide) number_row(
        "multiply, negation", [](const auto& x) { return -x[0]; }, [](double a) { return -a; }),
    number_row(
        "pow, number", [](const auto& x) { return pow(x[0], 2.5); }, [](double a) { return std::pow(a, 2.5); }),
    number_row(
        "maximum, number", [](const auto& x) { return maximum(x[0], 0); }, [](double a) { return a; }),
    number_row(
        "minimum, number", [](const auto& x) { return minimum(x[0], 0); }, [](double) { return 0.0; }),
});

// Comparisons: no gradient; equal numbers are among the test points because both inputs are rounded to halves.
template <class T>
Tensor<T> halves(const Tensor<T>& x) {
  return floor(x.detach() * 2) * 0.5;
}
#define COMPARISON(symbol)                                                                                       \
  OpRow {                                                                                                        \
    .name = "operator" #symbol, .family = "comparison",                                                          \
    .call = [](const auto& x) { return cast<ScalarOf<decltype(x)>>(halves(x[0]) symbol halves(x[1])); },         \
    .inputs = {{{6, 8}, -1, 1}, {{6, 8}, -1, 1}},                                                                \
    .reference =                                                                                                 \
        [](const Arrays& x) {                                                                                    \
          return by_pair(joined(x), x[0], x[1],                                                                  \
                         [](double a, double b) { return double(std::floor(a * 2) symbol std::floor(b * 2)); }); \
        },                                                                                                       \
    .variants = broadcasts, .large = {{40, 1, 600}, {2, 600}},                                                   \
    .errors = {bad_operator<ShapeError>([](const auto& x) { return x[0] symbol wrong_length(x[0]); }, "[5]")},   \
    .orders = 0                                                                                                  \
  }
#define LOGICAL(symbol)                                                                                            \
  OpRow {                                                                                                          \
    .name = "operator" #symbol, .family = "comparison",                                                            \
    .call = [](const auto& x) { return cast<ScalarOf<decltype(x)>>((x[0] > 0) symbol(x[1] > 0)); },                \
    .inputs = {{{6, 8}, -1, 1}, {{6, 8}, -1, 1}},                                                                  \
    .reference =                                                                                                   \
        [](const Arrays& x) {                                                                                      \
          return by_pair(joined(x), x[0], x[1], [](double a, double b) { return double((a > 0) symbol(b > 0)); }); \
        },                                                                                                         \
    .variants = broadcasts, .large = {{40, 1, 600}, {2, 600}},                                                     \
    .errors = {bad_operator<ShapeError>([](const auto& x) { return (x[0] > 0) symbol(wrong_length(x[0]) > 0); },   \
                                        "[5]")},                                                                   \
    .orders = 0                                                                                                    \
  }
const bool comparison_rows = add_op_rows({
    COMPARISON(<),
    COMPARISON(<=),
    COMPARISON(>),
    COMPARISON(>=),
    COMPARISON(==),
    COMPARISON(!=),
    LOGICAL(&&),
    LOGICAL(||),
    {.name = "operator!",
     .family = "comparison",
     .call = [](const auto& x) { return cast<ScalarOf<decltype(x)>>(!(x[0] > 0)); },
     .inputs = {{{6, 8}}},
     .reference = [](const Arrays& x) { return by_number(x[0], [](double a) { return double(!(a > 0)); }); },
     .variants = {{{}}, {{0}}},
     .large = {{3, 16411}},
     .orders = 0},
});

/// A mask over `shape` that is neither constant nor periodic in a power of two.
Tensor<bool> mask_for(const Shape& shape) {
  const Tensor<double> numbers = arange<double>(shape.count());
  const Tensor<double> turned = sin(numbers * 3 + 1);
  return reshape(turned > 0.2, shape);
}
bool in_mask(std::size_t i) { return std::sin(static_cast<double>(i) * 3 + 1) > 0.2; }

const bool selection_rows = add_op_rows({
    {.name = "where",
     .family = "where",
     .call = [](const auto& x) { return where(mask_for(x[0].shape()), x[0], x[1]); },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) {
           std::vector<double> out(static_cast<std::size_t>(joined(x).count()));
           for (std::size_t i = 0; i < out.size(); ++i) {
             const std::size_t a = broadcast_offset(i, joined(x), x[0].shape()),
                               b = broadcast_offset(i, joined(x), x[1].shape());
             out[i] = in_mask(a) ? x[0].data()[a] : x[1].data()[b];
           }
           return array(joined(x), out);
         },
     .variants = broadcasts,
     .large = {{40, 1, 600}, {2, 600}},
     .errors = {bad<ShapeError>([](const auto& x) { where(mask_for({5}), x[0], x[1]); }, "mask [5]"),
                bad<ShapeError>(
                    [](const auto& x) {
                      where(mask_for({3, 4}), x[0], wrong_length(x[0]));
                    },
                    "b [5]")}},
    {.name = "where, numbers and a wider mask",
     .family = "where",
     .call =
         [](const auto& x) {
           return where(mask_for({3, 4}), x[0], 2) * where(mask_for({3, 4}), -1, x[0]);
         },
     .inputs = {{{4}}},
     .reference =
         [](const Arrays& x) {
           std::vector<double> out(12);
           for (std::size_t i = 0; i < out.size(); ++i) {
             const double v = x[0].data()[broadcast_offset(i, {3, 4}, x[0].shape())];
             out[i] = in_mask(i) ? -v : 2 * v;
           }
           return array({3, 4}, out);
         },
     .variants = {{{}}, {{1}}, {{3, 1}}},
     .large = {{3, 4}}},
    {.name = "cast",
     .family = "cast",
     .call = [](const auto& x) { return cast<ScalarOf<decltype(x)>>(square(cast<double>(x[0]))); },
     .inputs = {{{3, 4}}},
     .reference = [](const Arrays& x) { return by_number(x[0], [](double a) { return a * a; }); },
     .variants = {{{}}, {{0, 4}}, {{1}}},
     .large = {{3, 16411}}},
    {.name = "leaky_relu",
     .family = "map",
     .call = [](const auto& x) { return leaky_relu(x[0], 0.2); },
     .inputs = {{{3, 7}, -2, 2, true, {0}}},
     .reference = [](const Arrays& x) { return by_number(x[0], [](double a) { return a > 0 ? a : 0.2 * a; }); },
     .variants = {{{}}, {{0, 4}}, {{1}}},
     .large = {{3, 16411}},
     .rows_of = {0}},
    {.name = "elu",
     .family = "map",
     .call = [](const auto& x) { return elu(x[0], 1.3); },
     .inputs = {{{3, 7}, -2, 2, true, {0}}},
     .reference =
         [](const Arrays& x) { return by_number(x[0], [](double a) { return a > 0 ? a : 1.3 * std::expm1(a); }); },
     .variants = {{{}}, {{0, 4}}, {{1}}},
     .large = {{3, 16411}},
     .rows_of = {0}},
    {.name = "clamp",
     .family = "map",
     .call = [](const auto& x) { return clamp(x[0], -0.5, 1); },
     .inputs = {{{3, 7}, -2, 2, true, {-0.5, 1}}},
     .reference =
         [](const Arrays& x) { return by_number(x[0], [](double a) { return std::fmin(std::fmax(a, -0.5), 1.0); }); },
     .variants = {{{}}, {{0, 4}}, {{1}}},
     .large = {{3, 16411}},
     .errors = {bad<ValueError>([](const auto& x) { clamp(x[0], 1, 0); }, "above high")},
     .rows_of = {0}},
});

/// op(a) op(b) for each of the leading sizes; an operand of rank 2 serves all products.
Tensor<double> product(const Arrays& x, bool ta, bool tb) {
  const Shape &a = x[0].shape(), &b = x[1].shape();
  const Index m = a[ta ? -1 : -2], k = a[ta ? -2 : -1], n = b[tb ? -2 : -1];
  Shape shape;
  const Shape& leading = a.rank() > 2 ? a : b;
  Index batch = 1;
  for (int axis = 0; axis < leading.rank() - 2; ++axis) shape.push_back(leading[axis]), batch *= leading[axis];
  shape.push_back(m);
  shape.push_back(n);
  std::vector<double> out(static_cast<std::size_t>(shape.count()), 0.0);
  for (Index s = 0; s < batch; ++s)
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j)
        for (Index l = 0; l < k; ++l)
          out[static_cast<std::size_t>((s * m + i) * n + j)] +=
              x[0].data()[(a.rank() > 2 ? s * m * k : 0) + (ta ? l * m + i : i * k + l)] *
              x[1].data()[(b.rank() > 2 ? s * k * n : 0) + (tb ? j * k + l : l * n + j)];
  return array(shape, out);
}
template <bool ta, bool tb>
OpRow matmul_row(const char* name) {
  const auto swap = [](Shape shape, bool transposed) {
    if (transposed) std::swap(shape[-1], shape[-2]);
    return shape;
  };
  const auto shapes = [swap](Shape a, Shape b) { return std::vector<Shape>{swap(a, ta), swap(b, tb)}; };
  OpRow row{.name = name,
            .family = "matmul",
            .call = [](const auto& x) { return matmul(x[0], x[1], {.transpose_a = ta, .transpose_b = tb}); },
            .inputs = {{swap({3, 5}, ta)}, {swap({5, 4}, tb)}},
            .reference = [](const Arrays& x) { return product(x, ta, tb); },
            .variants = {shapes({4, 4}, {4, 4}), shapes({1, 1}, {1, 1}), shapes({1, 7}, {7, 3}), shapes({9, 1}, {1, 5}),
                         shapes({0, 3}, {3, 4}), shapes({2, 0}, {0, 3}), shapes({2, 3}, {3, 0}),
                         shapes({2, 3, 5}, {2, 5, 4}), shapes({2, 3, 5}, {5, 4}), shapes({3, 5}, {2, 5, 4}),
                         shapes({2, 3, 2, 2}, {2, 3, 2, 2}), shapes({0, 3, 5}, {5, 4}), shapes({0, 3, 5}, {0, 5, 4})},
            .large = shapes({150, 140}, {140, 130}),
            .errors = {bad<ShapeError>([](const auto& x) { matmul(reshape(x[0], {15}), x[1]); }, "rank 2"),
                       bad<ShapeError>([](const auto& x) { matmul(x[0], wrong_length(x[0])); }, "b [5]"),
                       bad<ShapeError>(
                           [](const auto& x) {
                             matmul(x[0], zeros<ScalarOf<decltype(x)>>({6, 6}), {.transpose_a = ta, .transpose_b = tb});
                           },
                           "inner sizes differ, 5 and 6"),
                       bad<ShapeError>(
                           [](const auto& x) {
                             using T = ScalarOf<decltype(x)>;
                             matmul(zeros<T>({2, 3, 3}), zeros<T>({4, 3, 3}));
                           },
                           "leading")}};
  if (!ta) row.rows_of = {0};
  return row;
}
const bool product_rows =
    add_op_rows({matmul_row<false, false>("matmul"), matmul_row<true, false>("matmul, a transposed"),
                 matmul_row<false, true>("matmul, b transposed"), matmul_row<true, true>("matmul, both transposed")});

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
    {.name = "reshape",
     .family = "layout",
     .call =
         [](const auto& x) {
           return square(reshape(x[0], {2, -1}));
         },
     .inputs = {{{3, 4}}},
     .reference =
         [](const Arrays& x) {
           const Tensor<double> squares = by_number(x[0], [](double v) { return v * v; });
           return array({2, x[0].count() / 2}, {squares.span().begin(), squares.span().end()});
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
});

// a e^b, fused by hand: the composite is the definition, the kernels are what it stands for.
template <class T>
Tensor<T> fused_scale_exp(const Tensor<T>& a, const Tensor<T>& b) {
  const auto composite = [](const Tensor<T>& x, const Tensor<T>& y) { return x * exp(y); };
  const auto forward = [](const Tensor<T>& x, const Tensor<T>& y) {
    Tensor<T> e = exp(y);
    return Fused<T, Tensor<T>>{x * e, e};
  };
  const auto backward = [](const Tensor<T>& g, const Tensor<T>& e, const bool* needed, AnyTensor* results,
                           const Tensor<T>& x, const Tensor<T>&) {
    if (needed[0]) results[0] = g * e;
    if (needed[1]) results[1] = g * x * e;
  };
  return fused("scale_exp", composite, forward, backward, a, b);
}
double scale_exp(double a, double b) { return a * std::exp(b); }

const bool making_rows = add_op_rows({
    {.name = "map, two inputs and numbers",
     .family = "map",
     .call =
         [](const auto& x) {
           const double sharpness = 1.5;
           return map([sharpness](auto a, auto b) { return a / (1 + exp(-sharpness * b)) + tanh(a * b); }, x[0], x[1]);
         },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) {
           return by_pair(joined(x), x[0], x[1],
                          [](double a, double b) { return a / (1 + std::exp(-1.5 * b)) + std::tanh(a * b); });
         },
     .variants = broadcasts,
     .large = {{40, 1, 600}, {2, 600}},
     .errors = {bad_operator<ShapeError>(
         [](const auto& x) { map([](auto a, auto b) { return a * b; }, x[0], wrong_length(x[0])); }, "[5]")}},
    {.name = "map, three inputs and a branch",
     .family = "map",
     .call =
         [](const auto& x) {
           return map([](auto a, auto b, auto c) { return where(a > 0, b * c, b - square(c)); }, x[0], x[1], x[2]);
         },
     .inputs = {{{3, 4}, -1, 1, true, {0}}, {{3, 4}}, {{4}}},
     .reference =
         [](const Arrays& x) {
           std::vector<double> out(static_cast<std::size_t>(joined(x).count()));
           for (std::size_t i = 0; i < out.size(); ++i) {
             const auto at = [&](int n) {
               return x[static_cast<std::size_t>(n)]
                   .data()[broadcast_offset(i, joined(x), x[static_cast<std::size_t>(n)].shape())];
             };
             out[i] = at(0) > 0 ? at(1) * at(2) : at(1) - at(2) * at(2);
           }
           return array(joined(x), out);
         },
     .variants = {{{}, {}, {}}, {{4}, {4}, {4}}, {{0}, {0}, {1}}, {{3, 1}, {1, 2}, {}}},
     .large = {{40, 1, 600}, {2, 600}, {600}}},
    {.name = "fused",
     .family = "fused",
     .call = [](const auto& x) { return fused_scale_exp(x[0], x[1]); },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference = [](const Arrays& x) { return by_pair(joined(x), x[0], x[1], scale_exp); },
     .variants = {{{}, {}}, {{0, 2}, {0, 2}}},
     .large = {{3, 16411}, {3, 16411}}},
    {.name = "fused, inside itself",
     .family = "fused",
     .call = [](const auto& x) { return fused_scale_exp(fused_scale_exp(x[0], x[1]), x[0]); },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) {
           return by_pair(joined(x), x[0], x[1], [](double a, double b) { return scale_exp(scale_exp(a, b), a); });
         },
     .variants = {{{}, {}}},
     .large = {{3, 16411}, {3, 16411}}},
    {.name = "checkpoint",
     .family = "fused",
     .call =
         [](const auto& x) {
           return checkpoint([](const auto& a, const auto& b) { return tanh(a * b) + a * exp(b); }, x[0], x[1]);
         },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) {
           return by_pair(joined(x), x[0], x[1], [](double a, double b) { return std::tanh(a * b) + a * std::exp(b); });
         },
     .variants = {{{}, {}}, {{0, 2}, {0, 2}}, {{2, 1}, {3}}},
     .large = {{3, 16411}, {3, 16411}}},
    {.name = "identity",
     .family = "fused",
     .call = [](const auto& x) { return identity(x[0]) * identity(x[1]); },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) { return by_pair(joined(x), x[0], x[1], [](double a, double b) { return a * b; }); },
     .variants = {{{}, {}}, {{0, 2}, {0, 2}}},
     .large = {{3, 16411}, {3, 16411}}},
});

}  // namespace
