#pragma once
// Softmax and log-softmax over one axis. Value and first derivative are kernels; the rule of the derivative is written
// in softmax itself, so every further order runs on the same kernels.

#include "graft/backend/cpu/softmax.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// A shape seen from one axis: [outer, width, inner]. A scalar has axis 0, of size one.
struct AxisWalk {
  int axis;
  Index outer, width, inner;

  AxisWalk(const char* op, const Shape& shape, int given, Site site) {
    axis = checked_axis_or_scalar(op, given, shape, site);
    outer = outer_count(shape, axis);
    width = size_or_scalar(shape, axis);
    inner = inner_count(shape, axis);
  }
};

template <bool Log, class T>
Tensor<T> softmax_value(const Tensor<T>& x, const AxisWalk& walk) {
  Tensor<T> value = fresh<T>(x.shape());
  if (walk.inner == 1)
    cpu::softmax_rows<Log>(x.data(), walk.outer, walk.width, writable(value));
  else
    cpu::softmax_columns<Log>(x.data(), walk.outer, walk.width, walk.inner, writable(value));
  return value;
}

/// The gradient of x by the kernel for rows.
template <bool Log, class T>
Tensor<T> softmax_pullback(const Tensor<T>& y, const Tensor<T>& g, const AxisWalk& walk) {
  Tensor<T> result = fresh<T>(y.shape());
  cpu::softmax_rows_backward<Log>(y.data(), g.data(), walk.outer, walk.width, writable(result));
  return result;
}

}  // namespace detail

/// e^x_i / sum_j e^x_j along `axis`, shaped like x. Entries of -inf give 0; where all are, the result is 0 and so is
/// the gradient. Throws IndexError for an axis that x does not have.
template <Real T>
Tensor<T> softmax(const Tensor<T>& x, int axis = -1, Site site = Site::current()) {
  const detail::AxisWalk walk("softmax", x.shape(), axis, site);
  const Tensor<T> value = detail::softmax_value<false>(x, walk);
  if (!recorded(x)) return value;
  return record("softmax", value, Edge(x, [x, value, walk](const Tensor<T>& g) {
                  if (!recording() && walk.inner == 1) return detail::softmax_pullback<false>(value, g, walk);
                  const Tensor<T> y = recording() ? softmax(x, walk.axis) : value;
                  return y * (g - sum_to(g * y, y.shape().with(walk.axis, 1)));
                }));
}

/// x_i - log sum_j e^x_j along `axis`, shaped like x. Entries of -inf stay -inf and are constants: they pass no
/// gradient on and get none. Throws IndexError for an axis that x does not have.
template <Real T>
Tensor<T> log_softmax(const Tensor<T>& x, int axis = -1, Site site = Site::current()) {
  const detail::AxisWalk walk("log_softmax", x.shape(), axis, site);
  const Tensor<T> value = detail::softmax_value<true>(x, walk);
  if (!recorded(x)) return value;
  return record("log_softmax", value, Edge(x, [x, value, walk](const Tensor<T>& g) {
                  if (!recording() && walk.inner == 1) return detail::softmax_pullback<true>(value, g, walk);
                  const Tensor<T> kept = where(value == cpu::kMinusInfinity<T>, 0, g);
                  const Tensor<T> p = recording() ? softmax(x, walk.axis) : exp(value);
                  return kept - p * sum_to(kept, value.shape().with(walk.axis, 1));
                }));
}

}  // namespace GRAFT_ABI
}  // namespace graft
