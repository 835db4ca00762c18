// Rows of the op table: convolution, pooling, and the block of both with a norm. References are the sums of the
// definitions, one product at a time.

#include <cmath>
#include <limits>

#include "graft/ops/conv_norm_pool.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

/// Windows along one axis: window i reads the positions i stride + k dilation - before.
struct Along {
  Index stride, dilation, before, after;

  Index windows(Index extent, Index kernel) const {
    Index windows = 0;  // counted, not computed: how many windows fit
    while (windows * stride + (kernel - 1) * dilation < extent + before + after) ++windows;
    return windows;
  }
  Index position(Index i, Index k) const { return i * stride + k * dilation - before; }
};
Along along(Index extent, Index kernel, Index stride, Index dilation, Index padding, bool same) {
  if (!same) return {stride, dilation, padding, padding};
  // The fewest zeros that give a window for every `stride` pixels, the odd one behind (TensorFlow's "SAME").
  Along axis{stride, dilation, 0, 0};
  while (axis.windows(extent, kernel) * stride < extent) ++(axis.after > axis.before ? axis.before : axis.after);
  return axis;
}
/// Of both axes of a map of shape `x`.
struct Both {
  Along rows, columns;
};
Both along(const Shape& x, PerAxis kernel, PerAxis stride, PerAxis dilation, Padding padding) {
  const PerAxis zeros = padding.widths();
  return {along(x[1], kernel.rows, stride.rows, dilation.rows, zeros.rows, padding.is_same()),
          along(x[2], kernel.columns, stride.columns, dilation.columns, zeros.columns, padding.is_same())};
}
Both along(const Shape& x, const Shape& w, const ConvOptions& o) {
  return along(x, {w[2], w[3]}, o.stride, o.dilation, o.padding);
}

/// Calls visit(x index, weight index, y index) for every product of a convolution.
template <class Visit>
void each_product(const Shape& x, const Shape& w, const Shape& y, ConvOptions o, Visit visit) {
  const Index group_out = w[0] / o.groups;
  const auto [rows, columns] = along(x, w, o);
  for (Index b = 0; b < y[0]; ++b)
    for (Index i = 0; i < y[1]; ++i)
      for (Index j = 0; j < y[2]; ++j)
        for (Index c_out = 0; c_out < w[0]; ++c_out)
          for (Index c = 0; c < w[1]; ++c)
            for (Index k = 0; k < w[2]; ++k)
              for (Index l = 0; l < w[3]; ++l) {
                const Index row = rows.position(i, k), column = columns.position(j, l);
                if (row < 0 || row >= x[1] || column < 0 || column >= x[2]) continue;
                const Index c_in = c_out / group_out * w[1] + c;
                visit(static_cast<std::size_t>(((b * x[1] + row) * x[2] + column) * x[3] + c_in),
                      static_cast<std::size_t>(((c_out * w[1] + c) * w[2] + k) * w[3] + l),
                      static_cast<std::size_t>(((b * y[1] + i) * y[2] + j) * w[0] + c_out));
              }
}

Shape conv_output(const Shape& x, const Shape& w, ConvOptions o) {
  const auto [rows, columns] = along(x, w, o);
  return {x[0], rows.windows(x[1], w[2]), columns.windows(x[2], w[3]), w[0]};
}

/// x[0] the map, x[1] the weight, x[2] a bias or nothing.
auto conv_reference(ConvOptions o) {
  return [o](const Arrays& x) {
    const Shape shape = conv_output(x[0].shape(), x[1].shape(), o);
    std::vector<double> y(shape.count());
    if (x.size() > 2)
      for (std::size_t i = 0; i < y.size(); ++i) y[i] = x[2].span()[i % static_cast<std::size_t>(shape[3])];
    each_product(x[0].shape(), x[1].shape(), shape, o,
                 [&](std::size_t a, std::size_t b, std::size_t c) { y[c] += x[0].span()[a] * x[1].span()[b]; });
    return array(shape, y);
  };
}
/// x[0] the output map, x[1] the weight, x[2] an input map whose shape counts.
auto conv_input_reference(ConvOptions o) {
  return [o](const Arrays& x) {
    std::vector<double> result(x[2].count());
    each_product(x[2].shape(), x[1].shape(), x[0].shape(), o,
                 [&](std::size_t a, std::size_t b, std::size_t c) { result[a] += x[0].span()[c] * x[1].span()[b]; });
    return array(x[2].shape(), result);
  };
}
/// x[0] the input map, x[1] the output map, x[2] a weight whose shape counts.
auto conv_weight_reference(ConvOptions o) {
  return [o](const Arrays& x) {
    std::vector<double> result(x[2].count());
    each_product(x[0].shape(), x[2].shape(), x[1].shape(), o,
                 [&](std::size_t a, std::size_t b, std::size_t c) { result[b] += x[0].span()[a] * x[1].span()[c]; });
    return array(x[2].shape(), result);
  };
}

/// Each row gets large shapes of about the same work: 20 maps of 29 x 28, and `large_w` for the weight.
const Shape large_map{20, 29, 28, 8};

OpRow conv_row(const char* name, ConvOptions o, Shape x, Shape w, Shape large_w) {
  return {.name = name,
          .family = "conv",
          .call = [o](const auto& v) { return conv2d(v[0], v[1], o); },
          .inputs = {{x}, {w}},
          .reference = conv_reference(o),
          .large = {large_map.with(3, large_w[1] * o.groups), large_w}};
}
OpRow conv_input_row(const char* name, ConvOptions o, Shape x, Shape w, Shape large_w) {
  const Shape large_x = large_map.with(3, large_w[1] * o.groups);
  return {.name = name,
          .family = "conv",
          .call = [o](const auto& v) { return conv2d_input(v[0], v[1], v[2].shape(), o); },
          .inputs = {{conv_output(x, w, o)}, {w}, {.shape = x, .tracked = false}},
          .reference = conv_input_reference(o),
          .large = {conv_output(large_x, large_w, o), large_w, large_x}};
}
OpRow conv_weight_row(const char* name, ConvOptions o, Shape x, Shape w, Shape large_w) {
  const Shape large_x = large_map.with(3, large_w[1] * o.groups);
  return {.name = name,
          .family = "conv",
          .call = [o](const auto& v) { return conv2d_weight(v[0], v[1], v[2].shape(), o); },
          .inputs = {{x}, {conv_output(x, w, o)}, {.shape = w, .tracked = false}},
          .reference = conv_weight_reference(o),
          .large = {large_x, conv_output(large_x, large_w, o), large_w}};
}

std::vector<OpRow> conv_rows() {
  const ConvOptions same{.padding = 1}, halving{.stride = 2, .padding = 1}, grouped{.padding = 1, .groups = 2};
  const ConvOptions sparse{.stride = 3, .padding = 2, .dilation = 2};
  std::vector<OpRow> rows;

  OpRow row = conv_row("conv2d", same, {2, 5, 4, 3}, {4, 3, 3, 3}, {24, 8, 3, 3});
  row.variants = {{{0, 5, 4, 3}, {4, 3, 3, 3}},   {{2, 5, 4, 0}, {4, 0, 3, 3}}, {{2, 5, 4, 3}, {0, 3, 3, 3}},
                  {{1, 1, 1, 1}, {1, 1, 1, 1}},   {{1, 1, 1, 1}, {1, 1, 3, 3}}, {{1, 3, 17, 2}, {3, 2, 5, 2}},
                  {{2, 4, 4, 17}, {19, 17, 3, 3}}};
  row.rows_of = {0};
  row.errors = {bad<ShapeError>([](const auto& v) { conv2d(v[0], v[0]); }),
                bad<ShapeError>([](const auto& v) { conv2d(v[0], v[1], {.dilation = 4}); }, "does not fit"),
                bad<ShapeError>([](const auto& v) { conv2d(v[0], v[1], {.groups = 2}); }, "groups"),
                bad<ShapeError>([](const auto& v) {
                  conv2d(reshape(v[0], {2, 20, 3}), v[1]);
                }),
                bad<ShapeError>([](const auto& v) { conv2d(v[0], v[1], v[1]); }, "bias"),
                bad<ValueError>([](const auto& v) { conv2d(v[0], v[1], {.stride = 0}); }),
                bad<ValueError>([](const auto& v) { conv2d(v[0], v[1], {.padding = -1}); }),
                bad<ValueError>([](const auto& v) { conv2d(v[0], v[1], {.stride = Index{1} << 40}); }, "2^30"),
                bad<ValueError>(
                    [](const auto& v) {
                      conv2d(v[0], v[1], {.stride = {2, 0}});
                    },
                    "2 x 0"),
                bad<ValueError>(
                    [](const auto& v) {
                      conv2d(v[0], v[1], {.padding = {1, -1}});
                    },
                    "1 x -1"),
                bad<ShapeError>(
                    [](const auto& v) {
                      conv2d(v[0], v[1], {.padding = {9, 0}, .dilation = {1, 2}});
                    },
                    "padding 9 x 0, dilation 1 x 2")};
  rows.push_back(row);

  rows.push_back({.name = "conv2d, bias",
                  .family = "conv",
                  .call = [=](const auto& v) { return conv2d(v[0], v[1], v[2], halving); },
                  .inputs = {{{2, 5, 4, 3}}, {{4, 3, 3, 3}}, {{4}}},
                  .reference = conv_reference(halving),
                  .variants = {{{2, 5, 4, 0}, {4, 0, 3, 3}, {4}}},
                  .large = {large_map, {24, 8, 3, 3}, {24}}});
  row = conv_row("conv2d, stride 2", halving, {2, 6, 7, 3}, {2, 3, 3, 3}, {24, 8, 3, 3});
  rows.push_back(row);
  rows.push_back(conv_row("conv2d, one channel", same, {2, 6, 5, 1}, {3, 1, 3, 3}, {24, 1, 3, 3}));
  rows.push_back(conv_row("conv2d, one pixel", {}, {2, 3, 4, 5}, {6, 5, 1, 1}, {24, 8, 1, 1}));
  rows.push_back(conv_row("conv2d, groups", grouped, {2, 5, 4, 4}, {6, 2, 3, 3}, {24, 4, 3, 3}));
  rows.push_back(conv_row("conv2d, depthwise", {.padding = 1, .groups = 3}, {2, 4, 4, 3}, {3, 1, 3, 3}, {9, 1, 3, 3}));
  rows.push_back(conv_row("conv2d, dilation", sparse, {2, 8, 7, 2}, {3, 2, 3, 2}, {24, 8, 3, 3}));
  rows.push_back(conv_row("conv2d, patches", {.stride = 4}, {2, 8, 9, 1}, {5, 1, 4, 4}, {48, 1, 4, 4}));

  row = conv_input_row("conv2d_input", same, {2, 5, 4, 3}, {4, 3, 3, 3}, {24, 8, 3, 3});
  row.variants = {{{0, 5, 4, 4}, {4, 3, 3, 3}, {0, 5, 4, 3}},
                  {{2, 5, 4, 0}, {0, 3, 3, 3}, {2, 5, 4, 3}},
                  {{1, 1, 1, 1}, {1, 1, 3, 3}, {1, 1, 1, 1}}};
  row.aliasing = false;
  row.errors = {bad<ShapeError>(
                    [](const auto& v) {
                      conv2d_input(v[0], v[1], {2, 5, 5, 3}, {.padding = 1});
                    },
                    "output shape"),
                bad<ValueError>([](const auto& v) { conv2d_input(v[0], v[1], v[2].shape(), {.stride = -1}); })};
  rows.push_back(row);
  row = conv_input_row("conv2d_input, stride 2", halving, {2, 6, 7, 3}, {2, 3, 3, 3}, {24, 8, 3, 3});
  rows.push_back(row);
  rows.push_back(conv_input_row("conv2d_input, dilation", sparse, {2, 8, 7, 2}, {3, 2, 3, 2}, {24, 8, 3, 2}));
  rows.push_back(
      conv_input_row("conv2d_input, groups", {.stride = 2, .groups = 2}, {2, 6, 5, 4}, {6, 2, 3, 2}, {24, 4, 3, 3}));
  rows.push_back(
      conv_input_row("conv2d_input, pixels between windows", {.stride = 3}, {1, 7, 7, 2}, {3, 2, 2, 1}, {24, 8, 2, 1}));

  row = conv_weight_row("conv2d_weight", same, {2, 5, 4, 3}, {4, 3, 3, 3}, {24, 8, 3, 3});
  row.variants = {{{0, 5, 4, 3}, {0, 5, 4, 4}, {4, 3, 3, 3}},
                  {{2, 5, 4, 0}, {2, 5, 4, 4}, {4, 0, 3, 3}},
                  {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 3, 3}}};
  row.errors = {
      bad<ShapeError>([](const auto& v) { conv2d_weight(v[0], v[0], v[2].shape(), {.padding = 1}); }, "output shape"),
      bad<ValueError>([](const auto& v) { conv2d_weight(v[0], v[1], v[2].shape(), {.dilation = 0}); })};
  rows.push_back(row);
  rows.push_back(conv_weight_row("conv2d_weight, stride 2", halving, {2, 6, 7, 3}, {2, 3, 3, 3}, {24, 8, 3, 3}));
  rows.push_back(conv_weight_row("conv2d_weight, dilation", sparse, {2, 8, 7, 2}, {3, 2, 3, 2}, {24, 8, 3, 2}));
  rows.push_back(conv_weight_row("conv2d_weight, groups", grouped, {2, 5, 4, 4}, {6, 2, 3, 3}, {24, 4, 3, 3}));
  // Options by axis, and as many zeros as a map of the same size needs: an odd number for an even kernel.
  const ConvOptions uneven{.stride = {1, 2}, .padding = {2, 1}, .dilation = {2, 1}};
  const ConvOptions tall{.stride = {3, 1}, .padding = {0, 2}, .dilation = {1, 2}, .groups = 2};
  const ConvOptions as_large{.padding = Padding::same};
  const ConvOptions a_third{.stride = {3, 2}, .padding = Padding::same, .dilation = {1, 2}};
  rows.push_back(conv_row("conv2d, by axis", uneven, {2, 6, 7, 3}, {2, 3, 3, 2}, {24, 8, 3, 3}));
  rows.push_back(conv_row("conv2d, by axis and groups", tall, {2, 7, 5, 4}, {4, 2, 2, 3}, {24, 4, 3, 3}));
  rows.push_back(conv_row("conv2d, same", as_large, {2, 5, 4, 3}, {4, 3, 2, 4}, {24, 8, 4, 3}));
  rows.push_back(conv_row("conv2d, same and one channel", as_large, {2, 5, 4, 1}, {4, 1, 2, 4}, {24, 1, 4, 4}));
  rows.push_back(conv_row("conv2d, same and stride", a_third, {2, 7, 6, 2}, {3, 2, 3, 2}, {24, 8, 4, 3}));
  rows.push_back(conv_row("conv2d, same and long lines", as_large, {2, 3, 13, 16}, {3, 16, 2, 4}, {40, 8, 3, 4}));
  rows.push_back(conv_input_row("conv2d_input, by axis", uneven, {2, 6, 7, 3}, {2, 3, 3, 2}, {24, 8, 3, 3}));
  rows.push_back(conv_input_row("conv2d_input, by axis and groups", tall, {2, 7, 5, 4}, {4, 2, 2, 3}, {24, 4, 3, 3}));
  rows.push_back(conv_input_row("conv2d_input, same and stride", a_third, {2, 7, 6, 2}, {3, 2, 3, 2}, {24, 8, 4, 3}));
  rows.push_back(conv_weight_row("conv2d_weight, by axis", uneven, {2, 6, 7, 3}, {2, 3, 3, 2}, {24, 8, 3, 3}));
  rows.push_back(conv_weight_row("conv2d_weight, same", as_large, {2, 6, 7, 17}, {2, 17, 2, 4}, {24, 8, 4, 3}));
  // Sizes that other ways through the kernels serve: long lines, wide maps, one channel under several.
  rows.push_back(conv_row("conv2d, long lines", same, {2, 3, 13, 16}, {3, 16, 1, 3}, {40, 8, 3, 3}));
  rows.push_back(conv_input_row("conv2d_input, long lines", same, {2, 3, 13, 3}, {16, 3, 1, 3}, {40, 8, 3, 3}));
  rows.push_back(conv_weight_row("conv2d_weight, many channels", {.padding = 2, .dilation = 2}, {1, 6, 7, 17},
                                 {2, 17, 2, 2}, {24, 8, 3, 3}));
  rows.push_back(conv_weight_row("conv2d_weight, one channel", same, {2, 6, 5, 1}, {3, 1, 3, 3}, {24, 1, 3, 3}));
  for (OpRow& each : rows) {
    each.float_tolerance = 1e-5;  // sums of up to 17 x 9 terms
    for (Input& input : each.inputs) input.spreads = "zeros around the map are multiplied too";
  }
  return rows;
}

/// The numbers of a window inside the map, by row and column.
template <class Visit>
void each_window_number(const Shape& x, const Both& windows, PerAxis kernel, Index i, Index j, Visit visit) {
  for (Index k = 0; k < kernel.rows; ++k)
    for (Index l = 0; l < kernel.columns; ++l) {
      const Index row = windows.rows.position(i, k), column = windows.columns.position(j, l);
      if (row >= 0 && row < x[1] && column >= 0 && column < x[2]) visit(row, column);
    }
}

auto pool_reference(PoolOptions o, bool largest) {
  return [=](const Arrays& v) {
    const Shape& x = v[0].shape();
    const PerAxis stride{o.stride.rows == 0 ? o.kernel.rows : o.stride.rows,
                         o.stride.columns == 0 ? o.kernel.columns : o.stride.columns};
    const Both windows = along(x, o.kernel, stride, o.dilation, o.padding);
    const Shape y{x[0], windows.rows.windows(x[1], o.kernel.rows), windows.columns.windows(x[2], o.kernel.columns),
                  x[3]};
    std::vector<double> out;
    for (Index b = 0; b < y[0]; ++b)
      for (Index i = 0; i < y[1]; ++i)
        for (Index j = 0; j < y[2]; ++j)
          for (Index c = 0; c < y[3]; ++c) {
            double most = -std::numeric_limits<double>::infinity(), total = 0;
            each_window_number(x, windows, o.kernel, i, j, [&](Index row, Index column) {
              const double number = v[0].at({b, row, column, c});
              total += number;
              most = number > most ? number : most;
            });
            out.push_back(largest ? most : total / static_cast<double>(o.kernel.rows * o.kernel.columns));
          }
    return array(y, out);
  };
}

OpRow max_row(const char* name, PoolOptions o, Shape x) {
  return {.name = name,
          .family = "pool",
          .call = [o](const auto& v) { return max_pool2d(v[0], o); },
          .inputs = {{.shape = x, .low = -2, .high = 2, .spaced = true}},
          .reference = pool_reference(o, true),
          .large = {{24, 28, 28, 24}}};
}
OpRow average_row(const char* name, PoolOptions o, Shape x) {
  return {.name = name,
          .family = "pool",
          .call = [o](const auto& v) { return avg_pool2d(v[0] * v[0], o); },
          .inputs = {{x}},
          .reference =
              [o](const Arrays& v) {
                return pool_reference(o, false)({by_number(v[0], [](double number) { return number * number; })});
              },
          .large = {{24, 28, 28, 24}}};
}

std::vector<OpRow> pool_rows() {
  std::vector<OpRow> rows;
  OpRow row = max_row("max_pool2d", {}, {2, 4, 5, 3});
  row.variants = {{{0, 4, 4, 3}}, {{1, 4, 4, 0}}, {{1, 2, 2, 1}}, {{1, 4, 4, 17}}};
  row.rows_of = {0};
  row.errors = {bad<ShapeError>([](const auto& v) {
                  max_pool2d(reshape(v[0], {2, 4, 15}));
                }),
                bad<ShapeError>([](const auto& v) { max_pool2d(v[0], {.kernel = 5}); }, "does not fit"),
                bad<ValueError>([](const auto& v) { max_pool2d(v[0], {.kernel = 0}); }),
                bad<ValueError>([](const auto& v) { max_pool2d(v[0], {.kernel = 2, .padding = 2}); }),
                bad<ValueError>(
                    [](const auto& v) {
                      max_pool2d(v[0], {.kernel = {4, 2}, .padding = 2});
                    },
                    "4 x 2"),
                bad<ShapeError>(
                    [](const auto& v) {
                      max_pool2d(v[0], {.kernel = {2, 6}});
                    },
                    "2 x 6 does not fit"),
                bad<ShapeError>(
                    [](const auto& v) {
                      max_pool2d(v[0], {.padding = 1, .dilation = {5, 1}});
                    },
                    "window 0 holds no pixel")};
  rows.push_back(row);
  rows.push_back(max_row("max_pool2d, by axis", {.kernel = {3, 2}, .stride = {1, 2}, .padding = {1, 0}}, {2, 4, 5, 2}));
  rows.push_back(max_row("max_pool2d, dilation", {.stride = 1, .padding = 1, .dilation = {2, 3}}, {1, 5, 6, 2}));
  rows.push_back(
      max_row("max_pool2d, same", {.kernel = {2, 3}, .stride = {1, 2}, .padding = Padding::same}, {2, 4, 5, 2}));
  rows.push_back(max_row("max_pool2d, overlapping windows", {.kernel = 3, .stride = 1, .padding = 1}, {2, 4, 3, 2}));
  rows.push_back(max_row("max_pool2d, pixels between windows", {.kernel = 2, .stride = 3}, {1, 6, 7, 2}));
  // Squared, so that orders above the first are not all zero.
  row = average_row("avg_pool2d", {}, {2, 4, 5, 3});
  row.variants = {{{0, 4, 4, 3}}, {{1, 4, 4, 0}}, {{1, 2, 2, 1}}, {{1, 4, 4, 17}}};
  row.rows_of = {0};
  row.errors = {bad<ShapeError>([](const auto& v) { avg_pool2d(v[0], {.kernel = 5}); }, "does not fit"),
                bad<ValueError>([](const auto& v) { avg_pool2d(v[0], {.stride = -1}); })};
  rows.push_back(row);
  rows.push_back(
      average_row("avg_pool2d, by axis", {.kernel = {2, 3}, .stride = {2, 1}, .padding = {1, 0}}, {2, 5, 4, 2}));
  rows.push_back(
      average_row("avg_pool2d, dilation", {.stride = {1, 2}, .padding = 1, .dilation = {3, 2}}, {1, 6, 5, 2}));
  rows.push_back(
      average_row("avg_pool2d, same", {.kernel = {4, 2}, .stride = 1, .padding = Padding::same}, {2, 5, 4, 2}));
  rows.push_back(
      average_row("avg_pool2d, overlapping windows", {.kernel = 3, .stride = 2, .padding = 1}, {2, 5, 4, 2}));
  return rows;
}

constexpr double kEps = 0.1;

/// (x - mean) / sqrt(variance + eps) weight + bias, with moments over a sample and a group of channels; no group: over
/// all samples and one channel.
Tensor<double> normalised(const Tensor<double>& x, Index groups, const Tensor<double>& weight,
                          const Tensor<double>& bias) {
  const Index channels = x.size(3), sample = x.size(1) * x.size(2) * channels;
  const auto group = [&](Index i) {
    const Index c = i % channels;
    return static_cast<std::size_t>(groups > 0 ? i / sample * groups + c / (channels / groups) : c);
  };
  std::vector<long double> count(std::max(x.size(0), Index{1}) * std::max(channels, groups));
  auto mean = count, square = count;
  for (Index i = 0; i < x.count(); ++i) count[group(i)] += 1, mean[group(i)] += x.data()[i];
  for (std::size_t k = 0; k < mean.size(); ++k) mean[k] /= count[k];
  for (Index i = 0; i < x.count(); ++i) square[group(i)] += std::pow(x.data()[i] - mean[group(i)], 2);
  std::vector<double> out;
  for (Index i = 0; i < x.count(); ++i) {
    const std::size_t k = group(i), c = static_cast<std::size_t>(i % channels);
    const long double n = (x.data()[i] - mean[k]) / std::sqrt(square[k] / count[k] + kEps);
    out.push_back(static_cast<double>(n * weight.span()[c] + bias.span()[c]));
  }
  return array(x.shape(), out);
}

const char* const rounds_to_ties = "pooling compares numbers that a common part rounds to ties";
const char* const infinities_cancel = "it is folded into a scale and a shift, whose infinities cancel";

/// `groups` 0: batch norm.
OpRow block_row(const char* name, Index groups, ConvOptions o, Shape x, Shape kernel, Shape large_kernel) {
  const auto affine = [](const Shape& k) { return Shape{k[0]}; };
  return {.name = name,
          .family = "conv_norm_pool",
          .call =
              [=](const auto& v) {
                return groups > 0 ? conv_group_norm_pool(v[0], v[1], groups, v[2], v[3], o, kEps)
                                  : conv_batch_norm_pool(v[0], v[1], v[2], v[3], o, kEps).value;
              },
          .inputs = {{.shape = x, .never = kHuge, .because = squares_leave_range},
                     {.shape = kernel, .never = kHuge, .because = squares_leave_range},
                     {.shape = affine(kernel),
                      .low = 0.5,
                      .high = 1.5,
                      .never = kInfinite,
                      .because = infinities_cancel},
                     {.shape = affine(kernel), .low = -0.5, .never = kShifted, .because = rounds_to_ties}},
          .reference =
              [=](const Arrays& v) {
                const Tensor<double> map = conv_reference(o)({v[0], v[1]});
                const Tensor<double> pooled = pool_reference({}, true)({normalised(map, groups, v[2], v[3])});
                return by_number(pooled, [](double number) { return number > 0 ? number : 0; });
              },
          .large = {{9, 28, 28, large_kernel[1] * o.groups}, large_kernel, affine(large_kernel), affine(large_kernel)},
          .rows_of = groups > 0 ? std::vector<int>{0} : std::vector<int>{},
          .float_tolerance = 1e-5,
          .float_gradient_tolerance = 2e-4,
          .rounding = {.products = {0, 1},
                       .because = "the map is rounded before the norm subtracts what its pixels share"}};
}

// Few windows, so that none is near a tie or a zero, where finite differences are wrong: numbers apart from one another
// under a kernel of one tap, or a single row of windows. More windows are compared with the four ops in conv_test.cpp.
std::vector<OpRow> block_rows() {
  const ConvOptions same{.padding = 1};
  std::vector<OpRow> rows;
  const auto apart = [](OpRow row) {
    row.inputs[0].spaced = true;
    row.inputs[1].low = 0.5, row.inputs[1].high = 1.5;
    row.inputs[3].low = 2.5, row.inputs[3].high = 3.5;
    return row;
  };
  OpRow row = apart(block_row("conv_batch_norm_pool", 0, {}, {1, 4, 5, 1}, {3, 1, 1, 1}, {64, 1, 3, 3}));
  row.variants = {{{1, 2, 2, 1}, {1, 1, 1, 1}, {1}, {1}}, {{2, 4, 4, 2}, {0, 2, 3, 3}, {0}, {0}}};
  row.errors = {bad<ShapeError>([](const auto& v) { conv_batch_norm_pool(v[0], v[0], v[2], v[3]); }),
                bad<ShapeError>([](const auto& v) { conv_batch_norm_pool(v[0], v[1], v[0], v[3]); }, "weight"),
                bad<ShapeError>([](const auto& v) { conv_batch_norm_pool(v[0], v[1], v[2], v[1]); }, "bias"),
                bad<ShapeError>([](const auto& v) { conv_batch_norm_pool(slice(v[0], 1, 0, 1), v[1], v[2], v[3]); },
                                "window of 2"),
                bad<ValueError>([](const auto& v) { conv_batch_norm_pool(v[0], v[1], v[2], v[3], {}, -1); }, "eps")};
  rows.push_back(row);
  row = block_row("conv_batch_norm_pool, map kept", 0, same, {2, 4, 4, 4}, {3, 4, 3, 3}, {64, 8, 3, 3});
  row.inputs[0].spreads = "it moves the moments of its channel, also where relu then cuts off";
  rows.push_back(row);
  row = apart(block_row("conv_group_norm_pool", 2, {}, {2, 4, 5, 1}, {4, 1, 1, 1}, {64, 1, 3, 3}));
  row.variants = {{{0, 4, 5, 2}, {4, 2, 3, 3}, {4}, {4}}};
  row.errors = {bad<ValueError>([](const auto& v) { conv_group_norm_pool(v[0], v[1], 3, v[2], v[3]); }, "groups"),
                bad<ValueError>([](const auto& v) { conv_group_norm_pool(v[0], v[1], 0, v[2], v[3]); }, "0 groups")};
  rows.push_back(row);
  rows.push_back(block_row("conv_group_norm_pool, stride and groups of the convolution", 3,
                           {.stride = 2, .padding = 1, .groups = 3}, {2, 8, 7, 12}, {6, 4, 3, 3}, {24, 4, 3, 3}));
  return rows;
}

const bool added = add_op_rows(conv_rows()) && add_op_rows(pool_rows()) && add_op_rows(block_rows());

}  // namespace
