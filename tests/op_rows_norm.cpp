// Rows for the norms: layer, RMS, group, batch norm. References are the definitions, in extended precision.

#include <cmath>

#include "graft/ops/norm.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

using Real80 = long double;
using Shapes = std::vector<std::vector<Shape>>;

constexpr double kEps = 1e-3;

/// (x - mean) / sqrt(variance + eps) weight + bias with the moments over all elements that `group_of` gives one number;
/// `centred` false takes 0 for the mean. Weight and bias, if any, are x[1] and x[2].
template <class GroupOf>
Tensor<double> norm_reference(const Arrays& x, bool centred, Index groups, GroupOf group_of) {
  const Tensor<double>& in = x[0];
  const auto size = static_cast<std::size_t>(groups);
  std::vector<Real80> count(size), mean(size), square(size);
  for (Index i = 0; i < in.count(); ++i) {
    const auto k = static_cast<std::size_t>(group_of(i));
    count[k] += 1;
    mean[k] += in.data()[i];
  }
  for (std::size_t k = 0; k < size; ++k) mean[k] = centred && count[k] > 0 ? mean[k] / count[k] : 0;
  for (Index i = 0; i < in.count(); ++i) {
    const auto k = static_cast<std::size_t>(group_of(i));
    square[k] += (in.data()[i] - mean[k]) * (in.data()[i] - mean[k]);
  }
  std::vector<double> out;
  const Index channels = in.size(-1);
  for (Index i = 0; i < in.count(); ++i) {
    const auto k = static_cast<std::size_t>(group_of(i));
    Real80 value = (in.data()[i] - mean[k]) / std::sqrt(square[k] / count[k] + kEps);
    if (x.size() > 1) value *= x[1].data()[i % channels];
    if (x.size() > 2) value += x[2].data()[i % channels];
    out.push_back(static_cast<double>(value));
  }
  return array(in.shape(), out);
}

Tensor<double> over_rows(const Arrays& x, bool centred) {
  const Index width = x[0].size(-1);
  return norm_reference(x, centred, width == 0 ? 0 : x[0].count() / width, [=](Index i) { return i / width; });
}
Tensor<double> over_batch(const Arrays& x) {
  const Index channels = x[0].size(-1);
  return norm_reference(x, true, channels, [=](Index i) { return i % channels; });
}
Tensor<double> over_groups(const Arrays& x, Index groups) {
  const Index channels = x[0].size(-1), sample = x[0].size(0) == 0 ? 1 : x[0].count() / x[0].size(0);
  return norm_reference(x, true, x[0].size(0) * groups,
                        [=](Index i) { return i / sample * groups + i % channels / (channels / groups); });
}

/// One list of shapes a variant: x alone, or followed by as many [channels] as there are weights.
Shapes with_weights(const std::vector<Shape>& xs, int weights) {
  Shapes all;
  for (const Shape& x : xs) {
    all.push_back({x});
    for (int i = 0; i < weights; ++i) all.back().push_back({x[-1]});
  }
  return all;
}
std::vector<Input> inputs_for(const Shape& x, int weights) {
  std::vector<Input> inputs = {{.shape = x, .low = -2, .high = 2, .never = kHuge, .because = squares_leave_range}};
  for (int i = 0; i < weights; ++i) inputs.push_back({{x[-1]}, i == 0 ? 0.5 : -1, i == 0 ? 1.5 : 1.0});
  return inputs;
}

OpRow norm_row(const char* name, OpCall call, std::function<Tensor<double>(const Arrays&)> reference, const Shape& x,
               int weights, const std::vector<Shape>& variants, const Shape& large, std::vector<BadCall> errors,
               bool rows_independent) {
  return {.name = name,
          .family = "norm",
          .call = std::move(call),
          .inputs = inputs_for(x, weights),
          .reference = std::move(reference),
          .variants = with_weights(variants, weights),
          .large = with_weights({large}, weights)[0],
          .errors = std::move(errors),
          .rows_of = rows_independent ? std::vector<int>{0} : std::vector<int>{}};
}

/// A row of a norm over channels, whose mean is subtracted in two parts, the second one after it is multiplied by the
/// weight.
OpRow over_channels(OpRow row) {
  row.inputs[1].never |= kInfinite;
  row.inputs[1].because = "infinities of both parts of a mean cancel";
  return row;
}

template <class X>
auto three(const X&) {
  return zeros<ScalarOf<X>>({3});
}
const std::vector<Shape> row_shapes = {{5}, {1, 5}, {0, 5}, {3, 0}, {2, 3, 17}, {21, 33}, {5, 2}};
const std::vector<Shape> channel_shapes = {{7, 1},  {0, 4},  {4, 0},   {3, 2, 2, 5}, {40, 17},
                                           {9, 35}, {6, 50}, {12, 70}, {5, 130}};
const std::vector<Shape> group_shapes = {{1, 4}, {2, 4}, {0, 3, 4}, {2, 0, 4}, {2, 3, 2, 8}, {3, 5, 36}, {2, 3, 140}};

// Statistics as `batch_norm` is given them: numbers for the variance are positive.
const auto given = [](const auto& x) { return ChannelStatistics<ScalarOf<decltype(x)>>{x[1], x[2]}; };
Tensor<double> given_reference(const Arrays& x) {
  std::vector<double> out;
  const Index channels = x[0].size(-1);
  for (Index i = 0; i < x[0].count(); ++i) {
    const Index c = i % channels;
    const Real80 deviation = std::sqrt(Real80(x[2].data()[c]) + kEps);
    const Real80 value = (Real80(x[0].data()[i]) - x[1].data()[c]) / deviation;
    out.push_back(
        static_cast<double>(x.size() > 3 ? value * x[3].data()[c] + (x.size() > 4 ? x[4].data()[c] : 0) : value));
  }
  return array(x[0].shape(), out);
}
OpRow given_row(const char* name, OpCall call, int weights) {
  std::vector<Input> inputs = {{{4, 3}, -2, 2}, {{3}, -1, 1}, {{3}, 0.5, 2}};
  if (weights > 0)
    inputs.push_back({.shape = {3},
                      .low = 0.5,
                      .high = 1.5,
                      .never = kHuge,
                      .because = "times a deviation of that size it leaves the range"});
  if (weights > 1) inputs.push_back({{3}, -1, 1});
  return {.name = name,
          .family = "norm",
          .call = std::move(call),
          .inputs = inputs,
          .reference = given_reference,
          .variants = with_weights(channel_shapes, 2 + weights),
          .large = with_weights({{30, 40, 40}}, 2 + weights)[0],
          .errors = {bad<ShapeError>(
              [](const auto& x) {
                batch_norm(x[0], {three(x), zeros<ScalarOf<decltype(x)>>({2})});
              },
              "variance [2]")},
          .rows_of = {0}};
}

/// Sums over a channel, divided by the number of rows.
Tensor<double> channel_means(const Arrays& x) {
  const Index channels = x[0].size(-1);
  std::vector<double> sums(channels);
  for (Index i = 0; i < x[0].count(); ++i) sums[i % channels] += x[0].data()[i];
  for (double& sum : sums)
    sum = x[0].count() == 0 ? 0 : sum * static_cast<double>(channels) / static_cast<double>(x[0].count());
  return array({channels}, sums);
}
Tensor<double> channel_variances(const Arrays& x) {
  const Index channels = x[0].size(-1);
  const Tensor<double> mean = channel_means(x);
  std::vector<double> squares;
  for (Index i = 0; i < x[0].count(); ++i) squares.push_back(std::pow(x[0].data()[i] - mean.data()[i % channels], 2));
  return channel_means({array(x[0].shape(), squares)});
}
OpRow statistics_row(const char* name, OpCall call, Tensor<double> (*reference)(const Arrays&)) {
  return {.name = name,
          .family = "norm",
          .call = std::move(call),
          .inputs = {{.shape = {4, 3}, .low = -2, .high = 2, .never = kHuge, .because = squares_leave_range}},
          .reference = reference,
          .variants = with_weights({{7, 1}, {0, 4}, {3, 2, 2, 5}, {40, 17}, {12, 70}, {3}}, 0),
          .large = {{30, 40, 40}},
          .errors = {bad<ShapeError>([](const auto&) { batch_statistics(Tensor<float>(1.0f)); }, "last axis")},
          .orders = 0};
}

const bool rows = add_op_rows({
    norm_row(
        "layer_norm", [](const auto& x) { return layer_norm(x[0], x[1], x[2], kEps); },
        [](const Arrays& x) { return over_rows(x, true); }, {3, 5}, 2, row_shapes, {300, 257},
        {bad<ShapeError>([](const auto& x) { layer_norm(x[0], three(x), x[2]); }, "weight [3]"),
         bad<ShapeError>([](const auto& x) { layer_norm(x[0], x[1], three(x)); }, "bias [3]"),
         bad<ValueError>([](const auto& x) { layer_norm(x[0], x[1], x[2], -1); }, "eps")},
        true),
    norm_row(
        "layer_norm, no weight", [](const auto& x) { return layer_norm(x[0], kEps); },
        [](const Arrays& x) { return over_rows(x, true); }, {3, 5}, 0, row_shapes, {300, 257},
        {bad<ShapeError>([](const auto& x) { layer_norm(sum(x[0])); }, "last axis")}, true),
    norm_row(
        "layer_norm, no bias", [](const auto& x) { return layer_norm(x[0], x[1], kEps); },
        [](const Arrays& x) { return over_rows(x, true); }, {3, 5}, 1, row_shapes, {300, 257},
        {bad<ShapeError>([](const auto& x) { layer_norm(x[0], three(x)); }, "weight [3]"),
         bad<ValueError>([](const auto& x) { layer_norm(x[0], x[1], -1); }, "eps")},
        true),
    norm_row(
        "rms_norm", [](const auto& x) { return rms_norm(x[0], x[1], kEps); },
        [](const Arrays& x) { return over_rows(x, false); }, {3, 5}, 1, row_shapes, {300, 257},
        {bad<ShapeError>([](const auto& x) { rms_norm(x[0], three(x)); }, "weight [3]"),
         bad<ValueError>([](const auto& x) { rms_norm(x[0], x[1], -1); }, "eps")},
        true),
    norm_row(
        "rms_norm, no weight", [](const auto& x) { return rms_norm(x[0], kEps); },
        [](const Arrays& x) { return over_rows(x, false); }, {3, 5}, 0, row_shapes, {300, 257},
        {bad<ShapeError>([](const auto& x) { rms_norm(sum(x[0])); }, "last axis")}, true),
    over_channels(norm_row(
        "group_norm", [](const auto& x) { return group_norm(x[0], 2, x[1], x[2], kEps); },
        [](const Arrays& x) { return over_groups(x, 2); }, {2, 3, 4}, 2, group_shapes, {30, 40, 40},
        {bad<ShapeError>([](const auto& x) { group_norm(x[0], 2, x[1], three(x)); }, "bias [3]"),
         bad<ValueError>([](const auto& x) { group_norm(x[0], 3, x[1], x[2]); }, "3 groups"),
         bad<ShapeError>([](const auto& x) { group_norm(x[1], 2, x[1], x[2]); }, "batch")},
        true)),
    over_channels(norm_row(
        "group_norm, no bias", [](const auto& x) { return group_norm(x[0], 2, x[1], kEps); },
        [](const Arrays& x) { return over_groups(x, 2); }, {2, 3, 4}, 1, group_shapes, {30, 40, 40},
        {bad<ShapeError>([](const auto& x) { group_norm(x[0], 2, three(x)); }, "weight [3]")}, true)),
    norm_row(
        "group_norm, one group", [](const auto& x) { return group_norm(x[0], 1, kEps); },
        [](const Arrays& x) { return over_groups(x, 1); }, {2, 3, 4}, 0, group_shapes, {30, 40, 40},
        {bad<ValueError>([](const auto& x) { group_norm(x[0], 0); }, "0 groups")}, true),
    norm_row(
        "group_norm, a group a channel", [](const auto& x) { return group_norm(x[0], x[0].size(-1), kEps); },
        [](const Arrays& x) { return over_groups(x, x[0].size(-1)); }, {2, 5, 3}, 0,
        {{2, 4, 1}, {2, 3, 2, 8}, {3, 5, 35}}, {30, 40, 40},
        {bad<ValueError>([](const auto& x) { group_norm(x[0], 2, -1.0); }, "eps")}, true),
    over_channels(norm_row(
        "batch_norm", [](const auto& x) { return batch_norm(x[0], x[1], x[2], kEps); }, over_batch, {5, 3}, 2,
        channel_shapes, {30, 40, 40},
        {bad<ShapeError>([](const auto& x) { batch_norm(x[0], zeros<ScalarOf<decltype(x)>>({2}), x[2]); },
                         "weight [2]"),
         bad<ValueError>([](const auto& x) { batch_norm(x[0], x[1], x[2], -1); }, "eps")},
        false)),
    over_channels(norm_row(
        "batch_norm, no bias", [](const auto& x) { return batch_norm(x[0], x[1], kEps); }, over_batch, {5, 3}, 1,
        channel_shapes, {30, 40, 40}, {bad<ValueError>([](const auto& x) { batch_norm(x[0], x[1], -1); }, "eps")},
        false)),
    norm_row(
        "batch_norm, no weight", [](const auto& x) { return batch_norm(x[0], kEps); }, over_batch, {5, 3}, 0,
        channel_shapes, {2000, 33}, {bad<ShapeError>([](const auto& x) { batch_norm(sum(x[0])); }, "last axis")},
        false),
    over_channels(norm_row(
        "batch_norm_with_statistics, value",
        [](const auto& x) { return batch_norm_with_statistics(x[0], x[1], x[2], kEps).value; }, over_batch, {5, 3}, 2,
        {{2, 2, 5}}, {30, 40, 40},
        {bad<ShapeError>(
            [](const auto& x) { batch_norm_with_statistics(x[0], x[1], zeros<ScalarOf<decltype(x)>>({2})); },
            "bias [2]")},
        false)),
    over_channels(norm_row(
        "batch_norm_with_statistics, value no bias",
        [](const auto& x) { return batch_norm_with_statistics(x[0], x[1], kEps).value; }, over_batch, {5, 3}, 1,
        {{2, 2, 5}}, {30, 40, 40}, {}, false)),
    statistics_row(
        "batch_statistics, mean", [](const auto& x) { return batch_statistics(x[0]).mean; }, channel_means),
    statistics_row(
        "batch_statistics, variance", [](const auto& x) { return batch_statistics(x[0]).variance; }, channel_variances),
    given_row(
        "batch_norm, given statistics", [](const auto& x) { return batch_norm(x[0], given(x), x[3], x[4], kEps); }, 2),
    given_row(
        "batch_norm, given statistics no bias", [](const auto& x) { return batch_norm(x[0], given(x), x[3], kEps); },
        1),
    given_row(
        "batch_norm, given statistics no weight", [](const auto& x) { return batch_norm(x[0], given(x), kEps); }, 0),
});

}  // namespace
