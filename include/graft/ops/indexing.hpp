#pragma once
// Ops that read and write places named by integer tensors. Gather and scatter_add are each other's transpose, and so
// are take_along and its scatter. Every index is checked before any work; indices never count from the end.

#include "graft/backend/cpu/segment.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

template <class I>
void check_indices(const char* op, const Tensor<I>& indices, Index size, Site site) {
  const I* at = indices.data();
  const Index count = indices.count();
  for (Index k = 0; k < count; ++k)
    if (at[k] < 0 || static_cast<Index>(at[k]) >= size) [[unlikely]]
      fail<IndexError>(op, {"index ", at[k], " at position ", k, " is outside 0 .. ", size - 1},
                       {{"indices", indices.shape()}}, site);
}

/// `shape` with the sizes of `inserted` in place of axis `axis`.
inline Shape with_axis_replaced(const Shape& shape, int axis, const Shape& inserted) {
  Shape result;
  for (int a = 0; a < axis; ++a) result.push_back(shape[a]);
  for (Index size : inserted) result.push_back(size);
  for (int a = axis + 1; a < shape.rank(); ++a) result.push_back(shape[a]);
  return result;
}

template <class T, class I>
Tensor<T> scatter_rows(const Tensor<T>& values, const Tensor<I>& indices, const Shape& shape, int axis);

template <class T, class I>
Tensor<T> gather_checked(const Tensor<T>& x, const Tensor<I>& indices, int axis, Site site = {}) {
  const Index inner = inner_count(x.shape(), axis);
  Tensor<T> value = fresh<T>(with_axis_replaced(x.shape(), axis, indices.shape()), "gather", site);
  if (value.count() > 0)
    cpu::gather_rows(x.data(), outer_count(x.shape(), axis), x.shape()[axis], inner, indices.data(), indices.count(),
                     writable(value));
  if constexpr (Real<T>)
    return record("gather", std::move(value), Edge(x, [indices, axis, own = x.shape()](const Tensor<T>& g) {
                    return scatter_rows(g, indices, own, axis);
                  }));
  else
    return value;
}

/// Zeros of `shape`, and at index indices[k] of `axis` the sum of the entries k of `values`.
template <class T, class I>
Tensor<T> scatter_rows(const Tensor<T>& values, const Tensor<I>& indices, const Shape& shape, int axis) {
  Tensor<T> value = fresh<T>(shape, "scatter_add");
  if (value.count() > 0) {
    const Index outer = outer_count(shape, axis), size = shape[axis], inner = inner_count(shape, axis);
    const Index count = indices.count();
    const cpu::Destinations destinations(indices.data(), count, size);
    for (Index o = 0; o < outer; ++o)
      cpu::sum_segments(values.data() + o * count * inner, destinations.starts.data(), destinations.places.data(), size,
                        inner, writable(value) + o * size * inner);
  }
  return record("scatter_add", std::move(value),
                Edge(values, [indices, axis](const Tensor<T>& g) { return gather_checked(g, indices, axis); }));
}

template <class T, class I>
Tensor<T> put_along(const Tensor<T>& values, const Tensor<I>& indices, const Shape& shape, int axis);

template <class T, class I>
Tensor<T> take_along_checked(const Tensor<T>& x, const Tensor<I>& indices, int axis) {
  const Index size = x.shape()[axis], inner = inner_count(x.shape(), axis);
  Tensor<T> value = fresh<T>(indices.shape());
  parallel_for(value.count(), 16384, [&](Index begin, Index end) {
    for (Index k = begin; k < end; ++k)
      writable(value)[k] = x.data()[(k / inner * size + static_cast<Index>(indices.data()[k])) * inner + k % inner];
  });
  if constexpr (Real<T>)
    return record("take_along", std::move(value), Edge(x, [indices, axis, own = x.shape()](const Tensor<T>& g) {
                    return put_along(g, indices, own, axis);
                  }));
  else
    return value;
}

/// Zeros of `shape` with one entry set for each of `values`.
template <class T, class I>
Tensor<T> put_along(const Tensor<T>& values, const Tensor<I>& indices, const Shape& shape, int axis) {
  const Index size = shape[axis], inner = inner_count(shape, axis);
  Tensor<T> value = zeros<T>(shape);
  for (Index k = 0; k < values.count(); ++k)
    writable(value)[(k / inner * size + static_cast<Index>(indices.data()[k])) * inner + k % inner] = values.data()[k];
  return record("put_along", std::move(value),
                Edge(values, [indices, axis](const Tensor<T>& g) { return take_along_checked(g, indices, axis); }));
}

}  // namespace detail

/// Entries of one axis by index: out[..., k, ...] = x[..., indices[k], ...]. The sizes of `indices` take the axis's
/// place.
template <class T, Integer I>
Tensor<T> gather(const Tensor<T>& x, const Tensor<I>& indices, int axis = 0, Site site = Site::current()) {
  const int at = detail::checked_axis("gather", axis, x.rank(), x.shape(), site);
  detail::check_indices("gather", indices, x.shape()[at], site);
  return detail::gather_checked(x, indices, at, site);
}

/// The transpose of `gather`: zeros with an axis of the given size in place of the axes of `indices`, to which every
/// entry is added: out[..., indices[k], ...] += values[..., k, ...], in the order of k on any number of threads. The
/// axes of `indices` begin at `axis` of `values`.
template <Real T, Integer I>
Tensor<T> scatter_add(const Tensor<T>& values, const Tensor<I>& indices, Index size, int axis = 0,
                      Site site = Site::current()) {
  const int rank = values.rank() - indices.rank() + 1;
  bool fits = rank >= 1;
  const int at = fits ? detail::checked_axis("scatter_add", axis, rank, values.shape(), site) : 0;
  for (int a = 0; fits && a < indices.rank(); ++a) fits = values.shape()[at + a] == indices.shape()[a];
  if (!fits)
    fail<ShapeError>("scatter_add", {"values need the axes of indices at axis ", axis},
                     {{"values", values.shape()}, {"indices", indices.shape()}}, site);
  detail::check_indices("scatter_add", indices, size, site);
  Shape shape;
  for (int a = 0; a < at; ++a) shape.push_back(values.shape()[a]);
  shape.push_back(size);
  for (int a = at + indices.rank(); a < values.rank(); ++a) shape.push_back(values.shape()[a]);
  detail::checked_count("scatter_add", shape, sizeof(T), site);
  return detail::scatter_rows(values, indices, shape, at);
}

/// One entry of every row: out[...] = x[..., indices[...]] for the last axis. In general, `indices` has the shape of
/// `x` without `axis` and says which entry along `axis` is taken.
template <class T, Integer I>
Tensor<T> take_along(const Tensor<T>& x, const Tensor<I>& indices, int axis = -1, Site site = Site::current()) {
  const int at = detail::checked_axis("take_along", axis, x.rank(), x.shape(), site);
  if (!(indices.shape() == x.shape().without(at)))
    fail<ShapeError>("take_along", {"indices need the shape of x without axis ", axis},
                     {{"x", x.shape()}, {"indices", indices.shape()}}, site);
  detail::check_indices("take_along", indices, x.shape()[at], site);
  return detail::take_along_checked(x, indices, at);
}

/// [...] -> [..., classes]: 1 at the index, 0 elsewhere.
template <class T = float, Integer I>
Tensor<T> one_hot(const Tensor<I>& indices, Index classes, Site site = Site::current()) {
  detail::check_indices("one_hot", indices, classes, site);
  Shape shape = indices.shape();
  shape.push_back(classes);
  Tensor<T> value = zeros<T>(shape, site);
  for (Index k = 0; k < indices.count(); ++k) detail::writable(value)[k * classes + indices.data()[k]] = T(1);
  return value;
}

/// The lower triangle as a mask [rows, columns]: true where column - row <= diagonal.
inline Tensor<bool> tril_mask(Index rows, Index columns, Index diagonal = 0, Site site = Site::current()) {
  Tensor<bool> mask = detail::fresh<bool>({rows, columns}, "tril_mask", site);
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < columns; ++c) detail::writable(mask)[r * columns + c] = c - r <= diagonal;
  return mask;
}
/// What a causal query may see, [queries, keys]: the last query sees all keys, each earlier one a key less.
inline Tensor<bool> causal_mask(Index queries, Index keys, Site site = Site::current()) {
  return tril_mask(queries, keys, keys - queries, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
