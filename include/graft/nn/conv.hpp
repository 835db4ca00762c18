#pragma once
// Two-dimensional convolution. Parameter names, weight layout and default initial values are torch.nn.Conv2d's; maps
// are channels-last.

#include <optional>

#include "graft/model/fields.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/conv.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Conv2d`; the windows are those of `ConvOptions`: one number for both axes or {rows, columns}, and
/// `.padding = Padding::same`.
struct Conv2dOptions {
  PerAxis stride = 1;
  Padding padding = 0;
  PerAxis dilation = 1;
  Index groups = 1;
  bool bias = true;
};

/// x [batch, height, width, in] -> [batch, out_h, out_w, out] as `conv2d`.
template <class T = float>
struct Conv2d {
  Tensor<T> weight;               ///< [out, in / groups, kernel_h, kernel_w]
  std::optional<Tensor<T>> bias;  ///< [out]
  ConvOptions options;
  GRAFT_FIELDS(weight, bias)
  GRAFT_CONFIG(options)

  Conv2d() = default;
  /// A kernel of `kernel` x `kernel`, or {kernel_h, kernel_w}. Weight and bias uniform in
  /// +-1 / sqrt(in / groups kernel_h kernel_w). Throws ValueError when `groups` divides in or out badly.
  Conv2d(Index in, Index out, PerAxis kernel, const Random& random, Conv2dOptions o = {}, Site site = Site::current())
      : options{o.stride, o.padding, o.dilation, o.groups} {
    if (o.groups < 1 || in % o.groups != 0 || out % o.groups != 0)
      fail("Conv2d", {o.groups, " groups of ", in, " and ", out, " channels"}, {}, site);
    const Shape shape{out, in / o.groups, kernel.rows, kernel.columns};
    weight = torch_default_weight<T>(shape, random.stream("weight"), site);
    if (o.bias) bias = torch_default_bias<T>(shape, random.stream("bias"), site);
  }

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("Conv2d", site);
    return bias ? conv2d(x, weight, *bias, options, site) : conv2d(x, weight, options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
