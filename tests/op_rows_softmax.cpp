// Rows for softmax, log-softmax and the losses. References are the definitions, in extended precision.

#include <cmath>
#include <optional>

#include "graft/ops/losses.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

using Real80 = long double;
using Shapes = std::vector<std::vector<Shape>>;

/// Calls f(offset of the first element, distance between elements) for every line of `shape` along `axis`.
template <class F>
void for_lines(const Shape& shape, int axis, F f) {
  Index inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  const Index lines = shape[axis] == 0 ? 0 : shape.count() / shape[axis];
  for (Index line = 0; line < lines; ++line)
    f(static_cast<std::size_t>(line / inner * inner * shape[axis] + line % inner), static_cast<std::size_t>(inner));
}

Tensor<double> softmax_reference(const Tensor<double>& x, int axis, bool logarithm) {
  std::vector<double> out(x.span().begin(), x.span().end());
  if (axis < 0) axis += x.rank();
  const auto width = static_cast<std::size_t>(x.size(axis));
  for_lines(x.shape(), axis, [&](std::size_t first, std::size_t apart) {
    const Real80 shift = out[first];  // one class alone then has exactly log 1
    Real80 total = 0;
    for (std::size_t i = 0; i < width; ++i) total += std::exp(out[first + i * apart] - shift);
    for (std::size_t i = 0; i < width; ++i) {
      double& v = out[first + i * apart];
      v = static_cast<double>(logarithm ? v - shift - std::log(total) : std::exp(v - shift) / total);
    }
  });
  return array(x.shape(), out);
}

/// The label of row i: all classes occur, without order.
Index label_of(Index i, Index classes) { return (i * 7 + 3) % classes; }
template <class I = std::int64_t>
Tensor<I> labels_for(const Shape& logits) {
  const Shape rows = logits.without(logits.rank() - 1);
  std::vector<I> labels;
  for (Index i = 0; i < rows.count(); ++i) labels.push_back(static_cast<I>(label_of(i, logits[-1])));
  return from_vector(labels, rows);
}

/// What a row of cross-entropy is about.
struct Case {
  double smoothing = 0;
  Reduction reduction = Reduction::mean;
  bool weighted = false;
  std::optional<Index> ignored = {};
};
/// A class's weight.
double weight_of(Index c) { return 0.25 + 0.5 * static_cast<double>(c % 4); }
template <class T>
CrossEntropyOptions<T> options_for(const Case& c, Index classes) {
  CrossEntropyOptions<T> options{c.smoothing, c.reduction, {}, c.ignored};
  std::vector<T> weights;
  for (Index i = 0; i < classes; ++i) weights.push_back(static_cast<T>(weight_of(i)));
  if (c.weighted) options.weight = from_vector(weights);
  return options;
}

/// -sum_c w_c t(i, c) log softmax(logits)_ic of every row, then reduced; `share` is what a row counts in the mean, and
/// 0 where it counts nothing.
template <class Target, class Share>
Tensor<double> cross_entropy_reference(const Tensor<double>& logits, const Case& how, Target target, Share share) {
  const Tensor<double> log_p = softmax_reference(logits, -1, true);
  const Index classes = logits.size(-1);
  const Shape rows = logits.shape().without(logits.rank() - 1);
  std::vector<double> losses;
  double total = 0, divisor = 0;
  for (Index i = 0; i < rows.count(); ++i) {
    double loss = 0;
    for (Index c = 0; c < classes && share(i) > 0; ++c) {
      const double t = (1 - how.smoothing) * target(i, c) + how.smoothing / static_cast<double>(classes);
      loss -= (how.weighted ? weight_of(c) : 1) * t * log_p.data()[i * classes + c];
    }
    losses.push_back(loss);
    total += loss;
    divisor += share(i);
  }
  if (how.reduction == Reduction::none) return array(rows, losses);
  return array({}, {how.reduction == Reduction::mean ? total / divisor : total});
}

OpRow softmax_row(const char* name, int axis, bool logarithm) {
  const bool last = axis == -1;
  const auto wrong_axis = [logarithm](const auto& x) { logarithm ? log_softmax(x[0], 3) : softmax(x[0], 3); };
  return {
      .name = name,
      .family = "softmax",
      .call = [axis, logarithm](const auto& x) { return logarithm ? log_softmax(x[0], axis) : softmax(x[0], axis); },
      .inputs = {{last ? Shape{3, 5} : Shape{2, 4, 3}, -3, 3}},
      .reference = [axis, logarithm](const Arrays& x) { return softmax_reference(x[0], axis, logarithm); },
      .variants = last ? Shapes{{{7}}, {{1}}, {{4, 1}}, {{0, 5}}, {{3, 0}}, {{2, 3, 16}}, {{17, 21}}, {{2, 70}}}
                       : Shapes{{{3, 1, 2}}, {{2, 5, 1}}, {{0, 5, 2}}, {{2, 0, 3}}, {{1, 3, 21}}},
      .large = last ? std::vector<Shape>{{300, 257}} : std::vector<Shape>{{40, 33, 37}},
      .errors = {bad<IndexError>(wrong_axis, "axis 3")},
      .rows_of = {0}};
}

OpRow label_row(const char* name, Case how) {
  return {.name = name,
          .family = "losses",
          .call =
              [=](const auto& x) {
                return cross_entropy(x[0], labels_for(x[0].shape()),
                                     options_for<ScalarOf<decltype(x)>>(how, x[0].size(-1)));
              },
          .inputs = {{{4, 5}, -3, 3}},
          .reference =
              [=](const Arrays& x) {
                const auto label = [classes = x[0].size(-1)](Index i) { return label_of(i, classes); };
                return cross_entropy_reference(
                    x[0], how, [=](Index i, Index c) { return label(i) == c ? 1.0 : 0.0; },
                    [=](Index i) { return label(i) == how.ignored ? 0 : how.weighted ? weight_of(label(i)) : 1; });
              },
          .variants = how.reduction == Reduction::mean ? Shapes{{{1, 3}}, {{18, 20}}, {{3}}}
                                                       : Shapes{{{1, 3}}, {{0, 3}}, {{2, 3, 4}}},
          .large = {{300, 257}},
          .errors = {bad<ShapeError>(
                         [](const auto& x) {
                           cross_entropy(x[0], tensor<std::int64_t>({1, 2}));
                         },
                         "labels [2]"),
                     bad<IndexError>(
                         [](const auto& x) {
                           cross_entropy(x[0], tensor<std::int64_t>({1, 2, 5, 0}));
                         },
                         "label 5 at position 2"),
                     bad<IndexError>(
                         [](const auto& x) {
                           cross_entropy(x[0], tensor<std::int32_t>({1, -2, 3, 0}), {.ignore_index = -1});
                         },
                         "label -2 at position 1"),
                     bad<ShapeError>(
                         [](const auto& x) {
                           cross_entropy(x[0], labels_for(x[0].shape()), {.weight = zeros<ScalarOf<decltype(x)>>({4})});
                         },
                         "weight [4]"),
                     bad<ValueError>(
                         [](const auto& x) { cross_entropy(x[0], labels_for(x[0].shape()), {.label_smoothing = 1.5}); },
                         "label_smoothing")},
          .rows_of = how.reduction == Reduction::none ? std::vector<int>{0} : std::vector<int>{}};
}

OpRow target_row(const char* name, Case how) {
  return {.name = name,
          .family = "losses",
          .call =
              [=](const auto& x) {
                return cross_entropy(x[0], x[1], options_for<ScalarOf<decltype(x)>>(how, x[0].size(-1)));
              },
          .inputs = {{{4, 5}, -3, 3}, {{4, 5}, 0, 1}},
          .reference =
              [=](const Arrays& x) {
                return cross_entropy_reference(
                    x[0], how, [t = x[1], n = x[0].size(-1)](Index i, Index c) { return t.data()[i * n + c]; },
                    [](Index) { return 1.0; });
              },
          .variants = how.reduction == Reduction::mean
                          ? Shapes{{{1, 3}, {1, 3}}, {{18, 20}, {18, 20}}, {{3}, {3}}}
                          : Shapes{{{1, 1}, {1, 1}}, {{0, 3}, {0, 3}}, {{2, 3, 4}, {2, 3, 4}}},
          .large = {{300, 257}, {300, 257}},
          .errors = {bad<ShapeError>(
                         [](const auto& x) {
                           cross_entropy(x[0], zeros<ScalarOf<decltype(x)>>({4, 4}));
                         },
                         "targets [4, 4]"),
                     bad<ValueError>([](const auto& x) { cross_entropy(x[0], x[1], {.ignore_index = 2}); },
                                     "ignore_index"),
                     bad<ShapeError>([](const auto& x) { cross_entropy(x[0], x[1], {.weight = x[1]}); },
                                     "weight [4, 5]"),
                     bad<ValueError>([](const auto& x) { cross_entropy(x[0], x[1], {.label_smoothing = -0.1}); },
                                     "label_smoothing")},
          .rows_of = how.reduction == Reduction::none ? std::vector<int>{0, 1} : std::vector<int>{},
          .rounding = {.products = {1}, .because = "the gradient is a difference of numbers as large as the targets"}};
}

/// A loss of two tensors of equal shape, elementwise and then reduced.
OpRow pair_row(const char* name, OpCall call, BadCall mismatch, Real80 (*loss)(Real80, Real80), Reduction reduction,
               Input b) {
  const Shapes shapes = {{{}, {}}, {{1}, {1}}, {{2, 17}, {2, 17}}}, with_empty = {{{3}, {3}}, {{0, 3}, {0, 3}}};
  return {.name = name,
          .family = "losses",
          .call = std::move(call),
          .inputs = {{{3, 4}, -3, 3}, b},
          .reference =
              [=](const Arrays& x) {
                const Tensor<double> losses = by_pair(
                    x[0].shape(), x[0], x[1], [=](double u, double v) { return static_cast<double>(loss(u, v)); });
                if (reduction == Reduction::none) return losses;
                double total = 0;
                for (double one : losses.span()) total += one;
                return array({}, {reduction == Reduction::mean ? total / static_cast<double>(losses.count()) : total});
              },
          .variants = reduction == Reduction::mean ? shapes : with_empty,
          .large = {{3, 16411}, {3, 16411}},
          .errors = {std::move(mismatch)}};
}
OpRow mse_row(const char* name, Reduction reduction) {
  return pair_row(
      name, [=](const auto& x) { return mse(x[0], x[1], reduction); },
      bad<ShapeError>([](const auto& x) { mse(x[0], zeros<ScalarOf<decltype(x)>>({4})); }, "b [4]"),
      [](Real80 a, Real80 b) { return (a - b) * (a - b); }, reduction, {{3, 4}, -3, 3});
}
Real80 binary_loss(Real80 x, Real80 t, Real80 weight) {
  return weight * t * std::log1p(std::exp(-x)) + (1 - t) * std::log1p(std::exp(x));
}
const char* const only_finite = "logits and targets are finite";
OpRow binary_row(const char* name, Reduction reduction) {
  OpRow row = pair_row(
      name, [=](const auto& x) { return binary_cross_entropy_with_logits(x[0], x[1], {.reduction = reduction}); },
      bad<ShapeError>([](const auto& x) { binary_cross_entropy_with_logits(x[0], zeros<ScalarOf<decltype(x)>>({4})); },
                      "targets [4]"),
      [](Real80 x, Real80 t) { return binary_loss(x, t, 1); }, reduction, {{3, 4}, 0, 1});
  for (Input& input : row.inputs) input.never = kInfinite, input.because = only_finite;
  return row;
}
/// The weight of the positive class is a third input, which broadcasts.
OpRow weighted_binary_row() {
  return {.name = "binary_cross_entropy_with_logits, pos_weight",
          .family = "losses",
          .call =
              [](const auto& x) {
                return binary_cross_entropy_with_logits(x[0], x[1],
                                                        {.reduction = Reduction::none, .pos_weight = x[2]});
              },
          .inputs = {{.shape = {3, 4}, .low = -3, .high = 3, .never = kInfinite, .because = only_finite},
                     {.shape = {3, 4}, .low = 0, .high = 1, .never = kInfinite, .because = only_finite},
                     {{4}, 0.5, 2}},
          .reference =
              [](const Arrays& x) {
                return by_position(x[0].shape(), [&](const Position& at) {
                  const std::size_t i = broadcast_offset(flat_of(at, x[0].shape()), x[0].shape(), x[2].shape());
                  return static_cast<double>(binary_loss(number_at(x[0], at), number_at(x[1], at), x[2].data()[i]));
                });
              },
          .variants = {{{}, {}, {}}, {{2, 17}, {2, 17}, {1}}, {{0, 3}, {0, 3}, {3}}, {{3}, {3}, {3}}},
          .large = {{3, 16411}, {3, 16411}, {16411}},
          .errors = {bad<ShapeError>(
              [](const auto& x) { binary_cross_entropy_with_logits(x[0], x[1], {.pos_weight = wrong_length(x[0])}); },
              "pos_weight [5]")}};
}

const bool rows = add_op_rows({
    softmax_row("softmax", -1, false),
    softmax_row("softmax, middle axis", 1, false),
    softmax_row("log_softmax", -1, true),
    softmax_row("log_softmax, middle axis", 1, true),
    label_row("cross_entropy", {}),
    label_row("cross_entropy, smoothed sum", {.smoothing = 0.2, .reduction = Reduction::sum}),
    label_row("cross_entropy, one a row", {.smoothing = 0.1, .reduction = Reduction::none}),
    label_row("cross_entropy, class weights", {.weighted = true}),
    label_row("cross_entropy, class weights smoothed and a label ignored",
              {.smoothing = 0.2, .weighted = true, .ignored = 3}),
    label_row("cross_entropy, a label ignored", {.ignored = 3}),
    label_row("cross_entropy, class weights one a row and a label ignored",
              {.reduction = Reduction::none, .weighted = true, .ignored = 0}),
    target_row("cross_entropy, soft targets", {}),
    target_row("cross_entropy, soft targets one a row", {.smoothing = 0.3, .reduction = Reduction::none}),
    target_row("cross_entropy, soft targets and class weights", {.smoothing = 0.1, .weighted = true}),
    mse_row("mse", Reduction::mean),
    mse_row("mse, sum", Reduction::sum),
    binary_row("binary_cross_entropy_with_logits", Reduction::mean),
    binary_row("binary_cross_entropy_with_logits, one an element", Reduction::none),
    weighted_binary_row(),
});

}  // namespace
