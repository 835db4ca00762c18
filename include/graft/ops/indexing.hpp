#pragma once
// Ops that read and write places named by integer tensors. Gather and scatter_add are each other's transpose, and so
// are take_along_axis and add_along_axis. Every index is checked before any work; negative ones count from the end,
// except of classes.

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

/// The indices counted from the front: themselves, unless some are negative.
template <class I>
Tensor<I> checked_places(const char* op, const Tensor<I>& indices, Index size, Site site) {
  const I* at = indices.data();
  const Index count = indices.count();
  bool negative = false;
  for (Index k = 0; k < count; ++k) {
    negative |= at[k] < 0;
    if (static_cast<Index>(at[k]) < -size || static_cast<Index>(at[k]) >= size) [[unlikely]]
      fail<IndexError>(op, {"index ", at[k], " at position ", k, " is outside ", -size, " .. ", size - 1},
                       {{"indices", indices.shape()}}, site);
  }
  if (!negative) return indices;
  Tensor<I> places = fresh<I>(indices.shape());
  for (Index k = 0; k < count; ++k) writable(places)[k] = static_cast<I>(at[k] < 0 ? at[k] + size : at[k]);
  return places;
}
/// Indices of size one beside `axis` repeated to the sizes of `shape` there; an error unless the others agree.
template <class I>
Tensor<I> spread_along(const char* op, const char* name, const Shape& shape, const Tensor<I>& indices, int axis,
                       Site site) {
  const Shape& own = indices.shape();
  bool fits = own.rank() == shape.rank();
  for (int a = 0; fits && a < own.rank(); ++a) fits = a == axis || own[a] == shape[a] || own[a] == 1;
  if (!fits)
    fail<ShapeError>(op, {"indices need the sizes of ", name, ", or 1, beside axis ", axis},
                     {{name, shape}, {"indices", own}}, site);
  const Shape whole = shape.with(axis, own[axis]);
  if (own == whole) return indices;
  Tensor<I> spread = fresh<I>(whole, op, site);
  cpu::CopyAxes copy;
  for (int a = 0; a < whole.rank(); ++a)
    copy.add({whole[a], own[a] == 1 ? 0 : inner_count(own, a), inner_count(whole, a)});
  cpu::copy_strided(indices.data(), writable(spread), copy);
  return spread;
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
Tensor<T> add_along(const Tensor<T>& values, const Tensor<I>& indices, const Shape& shape, int axis);

/// The entries along one axis of x that `indices` name: as many for each of the other places as indices fall to it.
template <class T, class I>
Tensor<T> pick_along(const char* op, const Tensor<T>& x, const Tensor<I>& indices, int axis, Site site = {}) {
  const Index outer = outer_count(x.shape(), axis), inner = inner_count(x.shape(), axis);
  Tensor<T> value = fresh<T>(indices.shape(), op, site);
  if (value.count() > 0)
    cpu::pick_along(x.data(), outer, x.shape()[axis], inner, indices.data(), value.count() / (outer * inner),
                    writable(value));
  if constexpr (Real<T>)
    return record(op, std::move(value), Edge(x, [indices, axis, own = x.shape()](const Tensor<T>& g) {
                    return add_along(g, indices, own, axis);
                  }));
  else
    return value;
}

/// Zeros of `shape` to which `values` are added at the entries along one axis that `indices` name.
template <class T, class I>
Tensor<T> add_along(const Tensor<T>& values, const Tensor<I>& indices, const Shape& shape, int axis) {
  const Index outer = outer_count(shape, axis), inner = inner_count(shape, axis);
  Tensor<T> value = fresh<T>(shape, "add_along_axis");
  if (value.count() > 0)
    cpu::add_along(values.data(), outer, shape[axis], inner, indices.data(), values.count() / (outer * inner),
                   writable(value));
  return record("add_along_axis", std::move(value), Edge(values, [indices, axis](const Tensor<T>& g) {
                  return pick_along("take_along_axis", g, indices, axis);
                }));
}

}  // namespace detail

/// Entries of one axis by index: out[..., k, ...] = x[..., indices[k], ...], as NumPy's take. The sizes of `indices`
/// take the axis's place; negative ones count from the end. Throws IndexError.
template <class T, Integer I>
Tensor<T> gather(const Tensor<T>& x, const Tensor<I>& indices, int axis = 0, Site site = Site::current()) {
  const int at = detail::checked_axis("gather", axis, x.rank(), x.shape(), site);
  return detail::gather_checked(x, detail::checked_places("gather", indices, x.shape()[at], site), at, site);
}

/// The transpose of `gather`: zeros with an axis of the given size in place of the axes of `indices`, to which every
/// entry is added: out[..., indices[k], ...] += values[..., k, ...], in the order of k on any number of threads. The
/// axes of `indices` begin at `axis` of `values`; negative indices count from the end. Throws ShapeError, IndexError.
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
  const Tensor<I> places = detail::checked_places("scatter_add", indices, size, site);
  Shape shape;
  for (int a = 0; a < at; ++a) shape.push_back(values.shape()[a]);
  shape.push_back(size);
  for (int a = at + indices.rank(); a < values.rank(); ++a) shape.push_back(values.shape()[a]);
  detail::checked_count("scatter_add", shape, sizeof(T), site);
  return detail::scatter_rows(values, places, shape, at);
}

/// One entry of every row: out[...] = x[..., indices[...]] for the last axis. In general, `indices` has the shape of
/// `x` without `axis` and says which entry along `axis` is taken; negative ones count from the end. Throws ShapeError,
/// IndexError.
template <class T, Integer I>
Tensor<T> take_along(const Tensor<T>& x, const Tensor<I>& indices, int axis = -1, Site site = Site::current()) {
  const int at = detail::checked_axis("take_along", axis, x.rank(), x.shape(), site);
  if (!(indices.shape() == x.shape().without(at)))
    fail<ShapeError>("take_along", {"indices need the shape of x without axis ", axis},
                     {{"x", x.shape()}, {"indices", indices.shape()}}, site);
  const Tensor<I> places = detail::checked_places("take_along", indices, x.shape()[at], site);
  return detail::pick_along("take_along", x, places, at, site);
}

/// Entries along one axis, chosen for each place of the others, as NumPy's take_along_axis and PyTorch's gather:
/// out[i, k, j] = x[i, indices[i, k, j], j] for the middle of three axes. `indices` has the rank of x and its sizes
/// beside `axis`, or 1 there: the same choice for all. Negative indices count from the end. Throws ShapeError,
/// IndexError.
template <class T, Integer I>
Tensor<T> take_along_axis(const Tensor<T>& x, const Tensor<I>& indices, int axis = -1, Site site = Site::current()) {
  const char* op = "take_along_axis";
  const int at = detail::checked_axis(op, axis, x.rank(), x.shape(), site);
  const Tensor<I> spread = detail::spread_along(op, "x", x.shape(), indices, at, site);
  return detail::pick_along(op, x, detail::checked_places(op, spread, x.shape()[at], site), at, site);
}

/// The transpose of `take_along_axis`, as PyTorch's scatter_add to zeros: an axis of the given size to which every
/// value is added where its index says, out[i, indices[i, k, j], j] += values[i, k, j] for the middle of three axes, in
/// the order of k on any number of threads. `indices` has the shape of `values`, or size 1 beside `axis`; negative ones
/// count from the end. Throws ShapeError, IndexError.
template <Real T, Integer I>
Tensor<T> add_along_axis(const Tensor<T>& values, const Tensor<I>& indices, Index size, int axis = -1,
                         Site site = Site::current()) {
  const char* op = "add_along_axis";
  const int at = detail::checked_axis(op, axis, values.rank(), values.shape(), site);
  const Tensor<I> spread = detail::spread_along(op, "values", values.shape(), indices, at, site);
  if (!(spread.shape() == values.shape()))
    fail<ShapeError>(op, {"needs an index for each of the values along axis ", axis},
                     {{"values", values.shape()}, {"indices", indices.shape()}}, site);
  const Shape shape = values.shape().with(at, size);
  detail::checked_count(op, shape, sizeof(T), site);
  return detail::add_along(values, detail::checked_places(op, spread, size, site), shape, at);
}

/// [...] -> [..., classes]: 1 at the index, 0 elsewhere. Throws IndexError for an index outside 0 .. classes - 1.
template <class T = float, Integer I>
Tensor<T> one_hot(const Tensor<I>& indices, Index classes, Site site = Site::current()) {
  detail::check_indices("one_hot", indices, classes, site);
  Shape shape = indices.shape();
  shape.push_back(classes);
  Tensor<T> value = zeros<T>(shape, site);
  for (Index k = 0; k < indices.count(); ++k) detail::writable(value)[k * classes + indices.data()[k]] = T(1);
  return value;
}

/// The places, in row-major order, of what is not zero, or true: [count]. For a vector they are the indices that
/// `gather` takes.
template <class T>
Tensor<std::int64_t> nonzero(const Tensor<T>& x, Site site = Site::current()) {
  const T* at = x.data();
  Index count = 0;
  for (Index i = 0; i < x.count(); ++i) count += at[i] != T(0);
  Tensor<std::int64_t> places = detail::fresh<std::int64_t>({count}, "nonzero", site);
  std::int64_t* to = detail::writable(places);
  for (Index i = 0; i < x.count(); ++i)
    if (at[i] != T(0)) *to++ = i;
  return places;
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

/// What a query of packed sequences may see, [batch, 1, time, time]: the places of its own segment. `segments` [batch,
/// time] numbers them; a place with a negative number is padding, which sees nothing and is not seen. Throws ShapeError
/// for another rank.
template <Integer I>
Tensor<bool> block_mask(const Tensor<I>& segments, Site site = Site::current()) {
  if (segments.rank() != 2)
    fail<ShapeError>("block_mask", "expected segments [batch, time]", {{"segments", segments.shape()}}, site);
  const Index batch = segments.shape()[0], time = segments.shape()[1];
  Tensor<bool> mask = detail::fresh<bool>({batch, 1, time, time}, "block_mask", site);
  bool* to = detail::writable(mask);
  for (const I* row = segments.data(); row != segments.data() + batch * time; row += time)
    for (Index query = 0; query < time; ++query)
      for (Index key = 0; key < time; ++key) *to++ = row[query] >= 0 && row[query] == row[key];
  return mask;
}

}  // namespace GRAFT_ABI
}  // namespace graft
