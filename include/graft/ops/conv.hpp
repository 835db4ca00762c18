#pragma once
// Convolution of channels-last maps, as three bilinear ops that are one another's derivatives: conv2d and its
// transposes in the input and in the weight. Every gradient of every order is one of the three kernels
// (backend/cpu/conv.hpp).

#include "graft/backend/cpu/conv.hpp"
#include "graft/core/per_axis.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Where the windows of a convolution lie. Stride, padding and dilation are one number, or {rows, columns}.
struct ConvOptions {
  PerAxis stride = 1;    ///< pixels from one window to the next
  Padding padding = 0;   ///< rows and columns of zeros around the map, or `Padding::same`
  PerAxis dilation = 1;  ///< pixels from one tap of a window to the next
  Index groups = 1;      ///< the channels fall into so many groups; each output sees the inputs of its own group
};

namespace detail {

/// Checks and completes the sizes of a convolution with input shape `x` and weight shape `weight`.
inline cpu::ConvShape conv_shape(const char* op, const Shape& x, const Shape& weight, const ConvOptions& o, Site site) {
  if (x.rank() != 4 || weight.rank() != 4)
    fail<ShapeError>(op, "expected input [batch, height, width, in] and weight [out, in / groups, kernel_h, kernel_w]",
                     {{"input", x}, {"weight", weight}}, site);
  const PerAxis padding = o.padding.widths();
  if (o.stride.least() < 1 || o.dilation.least() < 1 || o.groups < 1 || padding.least() < 0)
    fail(op,
         {"stride, dilation and groups must be 1 or more and padding 0 or more, got ", as_text(o.stride), ", ",
          as_text(o.dilation), ", ", o.groups, ", ", as_text(padding)},
         {{"input", x}, {"weight", weight}}, site);
  constexpr Index kLimit = Index{1} << 30;  // keeps every position below 2^63
  if (o.stride.most() > kLimit || o.dilation.most() > kLimit || padding.most() > kLimit)
    fail(op, "stride, dilation or padding above 2^30", {{"input", x}, {"weight", weight}}, site);
  if (x[3] % o.groups != 0 || weight[0] % o.groups != 0 || weight[1] != x[3] / o.groups)
    fail<ShapeError>(op, {x[3], " input channels in ", o.groups, " groups do not fit the weight"},
                     {{"input", x}, {"weight", weight}}, site);
  const bool same = o.padding.is_same();
  const WindowsAlong rows = windows_along(x[1], weight[2], o.stride.rows, o.dilation.rows, padding.rows, same);
  const WindowsAlong columns =
      windows_along(x[2], weight[3], o.stride.columns, o.dilation.columns, padding.columns, same);
  if (rows.count == 0 || columns.count == 0)
    fail<ShapeError>(op,
                     {"the kernel does not fit into the padded input, padding ", as_text(o.padding), ", dilation ",
                      as_text(o.dilation)},
                     {{"input", x}, {"weight", weight}}, site);
  return {x[0],      x[1],       x[2],          x[3],     weight[0], weight[2],
          weight[3], rows.count, columns.count, o.groups, o.stride,  {rows.before, columns.before},
          o.dilation};
}
inline Shape output_shape(const cpu::ConvShape& s) { return {s.batch, s.out_h, s.out_w, s.out}; }

inline void check_conv_output(const char* op, const cpu::ConvShape& s, const Shape& y, Site site) {
  if (!(y == output_shape(s)))
    fail<ShapeError>(op, "y must have the convolution's output shape", {{"y", y}, {"output", output_shape(s)}}, site);
}

}  // namespace detail

template <Real T>
Tensor<T> conv2d(const Tensor<T>& x, const Tensor<T>& weight, ConvOptions options = {}, Site site = Site::current());
template <Real T>
Tensor<T> conv2d_weight(const Tensor<T>& x, const Tensor<T>& y, const Shape& weight_shape, ConvOptions options = {},
                        Site site = Site::current());

/// Transposed convolution, the transpose of `conv2d` in its input: y [batch, out_h, out_w, out] and weight
/// [out, in / groups, kernel_h, kernel_w] -> [batch, height, width, in] = `x_shape`, where
/// x[b, h, w, c] = sum of y[b, i, j, o] weight[o, c, k, l] over h = i stride + k dilation - padding, and w likewise.
/// Throws ShapeError unless y has the shape that `conv2d` gives for an input of shape `x_shape`.
template <Real T>
Tensor<T> conv2d_input(const Tensor<T>& y, const Tensor<T>& weight, const Shape& x_shape, ConvOptions options = {},
                       Site site = Site::current()) {
  const cpu::ConvShape s = detail::conv_shape("conv2d_input", x_shape, weight.shape(), options, site);
  detail::check_conv_output("conv2d_input", s, y.shape(), site);
  Tensor<T> value = detail::fresh<T>(x_shape, "conv2d_input", site);
  if (value.count() > 0) cpu::conv2d_input(s, y.data(), weight.data(), detail::writable(value));
  return record("conv2d_input", std::move(value),
                Edge(y, [weight, options](const Tensor<T>& g) { return conv2d(g, weight, options); }),
                Edge(weight, [y, own = weight.shape(), options](const Tensor<T>& g) {
                  return conv2d_weight(g, y, own, options);
                }));
}

/// The transpose of `conv2d` in its weight: x [batch, height, width, in] and y [batch, out_h, out_w, out] ->
/// [out, in / groups, kernel_h, kernel_w] = `weight_shape`, where
/// weight[o, c, k, l] = sum of x[b, i stride + k dilation - padding, j stride + l dilation - padding, c] y[b, i, j, o].
/// Throws ShapeError unless y has the shape that `conv2d` gives for x and a weight of shape `weight_shape`.
template <Real T>
Tensor<T> conv2d_weight(const Tensor<T>& x, const Tensor<T>& y, const Shape& weight_shape, ConvOptions options,
                        Site site) {
  const cpu::ConvShape s = detail::conv_shape("conv2d_weight", x.shape(), weight_shape, options, site);
  detail::check_conv_output("conv2d_weight", s, y.shape(), site);
  Tensor<T> value = detail::fresh<T>(weight_shape, "conv2d_weight", site);
  if (value.count() > 0) cpu::conv2d_weight(s, x.data(), y.data(), detail::writable(value));
  return record("conv2d_weight", std::move(value),
                Edge(x, [y, own = x.shape(), options](const Tensor<T>& g) { return conv2d_input(y, g, own, options); }),
                Edge(y, [x, options](const Tensor<T>& g) { return conv2d(x, g, options); }));
}

namespace detail {

template <class T>
Tensor<T> conv2d_value(const cpu::ConvShape& s, const Tensor<T>& x, const Tensor<T>& weight, const T* bias, Site site) {
  Tensor<T> value = fresh<T>(output_shape(s), "conv2d", site);
  if (value.count() > 0) cpu::conv2d(s, x.data(), weight.data(), bias, writable(value));
  return value;
}

}  // namespace detail

/// Convolution (in the sense of deep learning: correlation) of channels-last maps x [batch, height, width, in] with
/// weight [out, in / groups, kernel_h, kernel_w] -> [batch, out_h, out_w, out], where y[b, i, j, o] = sum of x[b, i
/// stride + k dilation - padding, j stride + l dilation - padding, c] weight[o, c, k, l] and out_h = (height + 2
/// padding - dilation (kernel_h - 1) - 1) / stride + 1, with the stride, padding and dilation of each axis; with
/// `Padding::same`, out_h = ceil(height / stride). Throws ShapeError when shapes do not fit together or the kernel does
/// not fit, ValueError for bad options.
template <Real T>
Tensor<T> conv2d(const Tensor<T>& x, const Tensor<T>& weight, ConvOptions options, Site site) {
  const cpu::ConvShape s = detail::conv_shape("conv2d", x.shape(), weight.shape(), options, site);
  Tensor<T> value = detail::conv2d_value<T>(s, x, weight, nullptr, site);
  return record(
      "conv2d", std::move(value),
      Edge(x, [weight, own = x.shape(), options](const Tensor<T>& g) { return conv2d_input(g, weight, own, options); }),
      Edge(weight,
           [x, own = weight.shape(), options](const Tensor<T>& g) { return conv2d_weight(x, g, own, options); }));
}

/// `conv2d` plus bias [out].
template <Real T>
Tensor<T> conv2d(const Tensor<T>& x, const Tensor<T>& weight, const Tensor<T>& bias, ConvOptions options = {},
                 Site site = Site::current()) {
  const cpu::ConvShape s = detail::conv_shape("conv2d", x.shape(), weight.shape(), options, site);
  if (!(bias.shape() == Shape{s.out}))
    fail<ShapeError>("conv2d", "expected a bias [out]", {{"bias", bias.shape()}, {"weight", weight.shape()}}, site);
  Tensor<T> value = detail::conv2d_value<T>(s, x, weight, bias.data(), site);
  return record(
      "conv2d", std::move(value),
      Edge(x, [weight, own = x.shape(), options](const Tensor<T>& g) { return conv2d_input(g, weight, own, options); }),
      Edge(weight,
           [x, own = weight.shape(), options](const Tensor<T>& g) { return conv2d_weight(x, g, own, options); }),
      Edge(bias, [own = bias.shape()](const Tensor<T>& g) { return sum_to(g, own); }));
}

}  // namespace GRAFT_ABI
}  // namespace graft
