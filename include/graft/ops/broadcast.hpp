#pragma once
// Broadcasting by the NumPy rule and its transpose, the sum over what was repeated.

#include "graft/autodiff/node.hpp"
#include "graft/backend/cpu/map.hpp"
#include "graft/backend/cpu/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

template <Real T>
Tensor<T> sum_to(const Tensor<T>& x, const Shape& shape, Site site = Site::current());
/// The same of a tensor that is given away: one that has the shape already is passed on without counting references.
template <Real T>
Tensor<T> sum_to(Tensor<T>&& x, const Shape& shape, Site site = Site::current()) {
  if (x.shape() == shape) return std::move(x);
  return sum_to(static_cast<const Tensor<T>&>(x), shape, site);
}

/// `x` repeated along new and size-one axes until it has `shape` (NumPy rule).
template <class T>
Tensor<T> broadcast_to(const Tensor<T>& x, const Shape& shape, Site site = Site::current()) {
  if (x.shape() == shape) return x;
  Shape joined;
  if (!broadcast_shapes(x.shape(), shape, joined) || !(joined == shape))
    fail<ShapeError>("broadcast_to", "does not broadcast to the shape", {{"x", x.shape()}, {"shape", shape}}, site);
  Tensor<T> value = detail::fresh<T>(shape, "broadcast_to", site);
  if constexpr (Real<T>) {
    const auto copy = [](const std::array<Simd<T>, 1>& b) { return b; };
    cpu::map_kernel<T, 1, 1>(shape, {detail::writable(value)}, {&x}, copy);
    return record("broadcast_to", std::move(value),
                  Edge(x, [own = x.shape()](const Tensor<T>& g) { return sum_to(g, own); }));
  } else {
    cpu::map_scalars<T>(
        shape, detail::writable(value), [](T v) { return v; }, x);
    return value;
  }
}

namespace detail {

/// Sums the axes marked in `reduce`, keeping them with size one. Adjacent axes are summed in one pass.
template <class T>
Tensor<T> sum_marked(const Tensor<T>& x, const bool (&reduce)[kMaxRank]) {
  Tensor<T> current = x;
  const int rank = x.rank();
  for (int last = rank - 1; last >= 0; --last) {
    if (!reduce[last] || current.shape()[last] == 1) continue;
    int first = last;
    while (first > 0 && (reduce[first - 1] || current.shape()[first - 1] == 1)) --first;
    Index outer = 1, reduced = 1, inner = 1;
    Shape shape = current.shape();
    for (int axis = 0; axis < rank; ++axis) {
      (axis < first ? outer : axis <= last ? reduced : inner) *= shape[axis];
      if (axis >= first && axis <= last) shape[axis] = 1;
    }
    Tensor<T> next = fresh<T>(shape);
    cpu::sum_axis(current.data(), outer, reduced, inner, writable(next));
    current = std::move(next);
    last = first;
  }
  return current;
}

}  // namespace detail

/// The transpose of `broadcast_to`: sums `x` over the axes along which `shape` would be repeated to give x's shape.
template <Real T>
Tensor<T> sum_to(const Tensor<T>& x, const Shape& shape, Site site) {
  if (x.shape() == shape) return x;
  Shape joined;
  if (!broadcast_shapes(x.shape(), shape, joined) || !(joined == x.shape()))
    fail<ShapeError>("sum_to", "the shape does not broadcast to x's", {{"x", x.shape()}, {"shape", shape}}, site);
  bool marked[kMaxRank] = {};
  const int added = x.rank() - shape.rank();
  for (int axis = 0; axis < x.rank(); ++axis) marked[axis] = axis < added || shape[axis - added] != x.shape()[axis];
  Tensor<T> summed = detail::sum_marked(x, marked);
  Tensor<T> value = detail::view(summed, shape, 0);
  return record("sum_to", std::move(value),
                Edge(x, [own = x.shape()](const Tensor<T>& g) { return broadcast_to(g, own); }));
}

}  // namespace GRAFT_ABI
}  // namespace graft
