#pragma once
// Initial values of parameters. Element i is draw i of the given stream, so a layer's numbers depend on nothing else.
// Fans follow PyTorch: a weight [out, in, ...] has fan-in `in` and fan-out `out`, each times the sizes of the other
// axes.

#include <cmath>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Numbers that one output is computed from, and outputs that one input reaches; what initial weights are scaled by.
struct Fans {
  double in, out;
};

/// Fans of a weight [out, in, ...]. Throws ShapeError below rank 2.
inline Fans fans(const Shape& shape, Site site = Site::current()) {
  if (shape.rank() < 2) fail<ShapeError>("fans", "a weight needs rank 2 or more", {{"weight", shape}}, site);
  double field = 1;
  for (int axis = 2; axis < shape.rank(); ++axis) field *= static_cast<double>(shape[axis]);
  return {static_cast<double>(shape[1]) * field, static_cast<double>(shape[0]) * field};
}

namespace detail {

/// 1 / sqrt(fan), 0 for an empty weight.
inline double one_over_root(double fan) { return fan > 0 ? 1 / std::sqrt(fan) : 0; }

}  // namespace detail

/// Uniform in [-bound, bound).
template <Real T = float>
Tensor<T> symmetric_uniform(const Shape& shape, double bound, const Random& random, Site site = Site::current()) {
  return rand<T>(shape, random, -bound, bound, site);
}
/// Normal with mean 0.
template <Real T = float>
Tensor<T> scaled_normal(const Shape& shape, double deviation, const Random& random, Site site = Site::current()) {
  const auto number = [&](Index i) { return static_cast<T>(deviation * random.normal(static_cast<std::uint64_t>(i))); };
  return generate(shape, number, site);
}

/// Uniform with variance gain^2 2 / (fan_in + fan_out). Glorot and Bengio, AISTATS 2010 (torch: xavier_uniform_).
template <Real T = float>
Tensor<T> glorot_uniform(const Shape& shape, const Random& random, double gain = 1, Site site = Site::current()) {
  const Fans fan = fans(shape, site);
  return symmetric_uniform<T>(shape, gain * std::sqrt(6.0) * detail::one_over_root(fan.in + fan.out), random, site);
}
/// Normal with variance gain^2 2 / (fan_in + fan_out) (torch: xavier_normal_).
template <Real T = float>
Tensor<T> glorot_normal(const Shape& shape, const Random& random, double gain = 1, Site site = Site::current()) {
  const Fans fan = fans(shape, site);
  return scaled_normal<T>(shape, gain * std::sqrt(2.0) * detail::one_over_root(fan.in + fan.out), random, site);
}
/// Uniform with variance gain^2 / fan_in; the default gain is that of relu. He, Zhang, Ren, Sun, ICCV 2015 (torch:
/// kaiming_uniform_).
template <Real T = float>
Tensor<T> kaiming_uniform(const Shape& shape, const Random& random, double gain = 1.4142135623730951,
                          Site site = Site::current()) {
  return symmetric_uniform<T>(shape, gain * std::sqrt(3.0) * detail::one_over_root(fans(shape, site).in), random, site);
}
/// Normal with variance gain^2 / fan_in; the default gain is that of relu (torch: kaiming_normal_).
template <Real T = float>
Tensor<T> kaiming_normal(const Shape& shape, const Random& random, double gain = 1.4142135623730951,
                         Site site = Site::current()) {
  return scaled_normal<T>(shape, gain * detail::one_over_root(fans(shape, site).in), random, site);
}

/// PyTorch's default of linear and convolution weights: uniform in +-1 / sqrt(fan_in), which is kaiming_uniform with
/// gain sqrt(1/3).
template <Real T = float>
Tensor<T> torch_default_weight(const Shape& shape, const Random& random, Site site = Site::current()) {
  return symmetric_uniform<T>(shape, detail::one_over_root(fans(shape, site).in), random, site);
}
/// PyTorch's default of linear and convolution biases: uniform in +-1 / sqrt(fan_in of the weight).
template <Real T = float>
Tensor<T> torch_default_bias(const Shape& weight, const Random& random, Site site = Site::current()) {
  return symmetric_uniform<T>({weight[0]}, detail::one_over_root(fans(weight, site).in), random, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
