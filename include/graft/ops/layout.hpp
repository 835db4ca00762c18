#pragma once
// Ops that move numbers without computing, for every element type. Their derivatives move numbers too: the transpose of
// permute is permute, of slice is pad, of concat is slice, of flip is flip. Negative axes count from the end.

#include <array>
#include <span>
#include <type_traits>
#include <vector>

#include "graft/autodiff/node.hpp"
#include "graft/backend/cpu/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The same numbers under another shape with as many elements; one size may be -1 and is worked out. Shares storage.
template <class T>
Tensor<T> reshape(const Tensor<T>& x, Shape shape, Site site = Site::current()) {
  Index known = 1;
  int unknown = -1;
  for (int axis = 0; axis < shape.rank() && axis < kMaxRank; ++axis) {
    if (shape[axis] == -1 && unknown < 0)
      unknown = axis;
    else
      known *= shape[axis];
  }
  if (unknown >= 0 && known > 0) shape[unknown] = x.count() / known;
  if (detail::checked_count("reshape", shape, sizeof(T), site) != x.count())
    fail<ShapeError>("reshape", "element counts differ", {{"x", x.shape()}, {"shape", shape}}, site);
  Tensor<T> value = detail::view(x, shape, 0);
  if constexpr (Real<T>)
    return record("reshape", std::move(value),
                  Edge(x, [own = x.shape()](const Tensor<T>& g) { return reshape(g, own); }));
  else
    return value;
}

namespace detail {

/// `axis` counted from the front; an error unless it is one of `rank` axes.
inline int checked_axis(const char* op, int axis, int rank, const Shape& x, Site site) {
  if (axis < -rank || axis >= rank) fail<IndexError>(op, {"axis ", axis, " of rank ", rank}, {{"x", x}}, site);
  return axis < 0 ? axis + rank : axis;
}
/// The same for ops along an axis that a scalar has too, as in PyTorch: axis 0, of size one.
inline int checked_axis_or_scalar(const char* op, int axis, const Shape& x, Site site) {
  return x.rank() == 0 && (axis == 0 || axis == -1) ? 0 : checked_axis(op, axis, x.rank(), x, site);
}
inline Index size_or_scalar(const Shape& shape, int axis) { return shape.rank() == 0 ? 1 : shape[axis]; }
/// Product of the sizes of the axes before, or behind, `axis`.
inline Index outer_count(const Shape& shape, int axis) {
  Index count = 1;
  for (int a = 0; a < axis; ++a) count *= shape[a];
  return count;
}
inline Index inner_count(const Shape& shape, int axis) {
  Index count = 1;
  for (int a = axis + 1; a < shape.rank(); ++a) count *= shape[a];
  return count;
}
/// Which entries of one axis are meant: begin, begin + step ... (`count` of them).
struct Stride {
  int axis;
  Index begin, step, count;
};
/// The copy between a tensor of shape `whole` and the dense tensor of the entries that `part` names.
inline cpu::CopyAxes part_axes(const Shape& whole, const Stride& part, bool from_whole) {
  const Index inner = inner_count(whole, part.axis);
  cpu::CopyAxes copy;
  const auto add = [&](Index size, Index in_whole, Index in_part) {
    copy.add(from_whole ? cpu::CopyAxis{size, in_whole, in_part} : cpu::CopyAxis{size, in_part, in_whole});
  };
  add(outer_count(whole, part.axis), whole[part.axis] * inner, part.count * inner);
  add(part.count, part.step * inner, inner);
  add(inner, 1, 1);
  return copy;
}

template <class T>
Tensor<T> take_part(const char* op, const Tensor<T>& x, const Stride& part, Site site = {});

/// `filling` in `shape` with the numbers of `x` at the entries that `part` names: with 0, the transpose of `take_part`.
template <class T>
Tensor<T> put_part(const char* op, const Tensor<T>& x, const Shape& shape, const Stride& part, T filling = T(),
                   Site site = {}) {
  Tensor<T> value = fresh<T>(shape, op, site);
  const T zero = T();
  if (std::memcmp(&filling, &zero, sizeof(T)) != 0)
    for (Index i = 0; i < value.count(); ++i) writable(value)[i] = filling;
  else if (value.count() > 0)
    std::memset(writable(value), 0, static_cast<std::size_t>(value.count()) * sizeof(T));
  cpu::copy_strided(x.data(), writable(value) + part.begin * inner_count(shape, part.axis),
                    part_axes(shape, part, false));
  if constexpr (Real<T>)
    return record(op, std::move(value), Edge(x, [part](const Tensor<T>& g) { return take_part("slice", g, part); }));
  else
    return value;
}

template <class T>
Tensor<T> take_part(const char* op, const Tensor<T>& x, const Stride& part, Site site) {
  const Shape shape = x.shape().with(part.axis, part.count);
  const Index inner = inner_count(shape, part.axis);
  Tensor<T> value;
  if (part.step == 1 && outer_count(shape, part.axis) == 1) {
    value = view(x, shape, part.begin * inner);
  } else {
    value = fresh<T>(shape, op, site);
    cpu::copy_strided(x.data() + part.begin * inner, writable(value), part_axes(x.shape(), part, true));
  }
  if constexpr (Real<T>)
    return record(op, std::move(value),
                  Edge(x, [part, own = x.shape()](const Tensor<T>& g) { return put_part("pad", g, own, part); }));
  else
    return value;
}

}  // namespace detail

/// x with a new axis of size one before `axis` (-1: at the end).
template <class T>
Tensor<T> unsqueeze(const Tensor<T>& x, int axis, Site site = Site::current()) {
  const int at = detail::checked_axis("unsqueeze", axis, x.rank() + 1, x.shape(), site);
  Shape shape;
  for (int a = 0; a <= x.rank(); ++a) shape.push_back(a == at ? 1 : x.shape()[a < at ? a : a - 1]);
  return reshape(x, shape, site);
}

/// x without the size-one axis `axis`.
template <class T>
Tensor<T> squeeze(const Tensor<T>& x, int axis, Site site = Site::current()) {
  const int at = detail::checked_axis("squeeze", axis, x.rank(), x.shape(), site);
  if (x.shape()[at] != 1)
    fail<ShapeError>("squeeze", {"axis ", axis, " has size ", x.shape()[at]}, {{"x", x.shape()}}, site);
  return reshape(x, x.shape().without(at), site);
}

namespace detail {

using AxisOrder = std::array<int, kMaxRank>;

/// Axis a of the result is axis order[a] of `x`.
template <class T>
Tensor<T> permuted(const Tensor<T>& x, const AxisOrder& order, Site site = {}) {
  const int rank = x.rank();
  Shape shape;
  for (int a = 0; a < rank; ++a) shape.push_back(x.shape()[order[static_cast<std::size_t>(a)]]);
  AxisOrder inverse{};
  cpu::CopyAxes copy;
  for (int a = 0; a < rank; ++a) {
    const int from = order[static_cast<std::size_t>(a)];
    inverse[static_cast<std::size_t>(from)] = a;
    copy.add({shape[a], inner_count(x.shape(), from), inner_count(shape, a)});
  }
  Tensor<T> value;
  if (copy.rank == 0 || (copy.rank == 1 && copy.axes[0].from == 1)) {
    value = view(x, shape, 0);  // only axes of size one moved
  } else {
    value = fresh<T>(shape, "permute", site);
    cpu::copy_strided(x.data(), writable(value), copy);
  }
  if constexpr (Real<T>)
    return record("permute", std::move(value), Edge(x, [inverse](const Tensor<T>& g) { return permuted(g, inverse); }));
  else
    return value;
}

}  // namespace detail

/// Axes in another order: axis a of the result is axis order[a] of `x`.
template <class T>
Tensor<T> permute(const Tensor<T>& x, const Axes& order, Site site = Site::current()) {
  const int rank = x.rank();
  if (static_cast<int>(order.size()) != rank)
    fail<ShapeError>("permute", {order.size(), " axes for rank ", rank}, {{"x", x.shape()}}, site);
  detail::AxisOrder checked{};
  bool seen[kMaxRank] = {};
  for (std::size_t a = 0; a < order.size(); ++a) {
    const int from = detail::checked_axis("permute", order[a], rank, x.shape(), site);
    if (seen[from]) fail<IndexError>("permute", {"axis ", from, " given twice"}, {{"x", x.shape()}}, site);
    seen[from] = true;
    checked[a] = from;
  }
  return detail::permuted(x, checked, site);
}

/// The last two axes swapped: [..., m, n] -> [..., n, m]. In products, prefer the transpose flags of `matmul`: no copy.
template <class T>
Tensor<T> transpose(const Tensor<T>& x, Site site = Site::current()) {
  const int rank = x.rank();
  if (rank < 2) fail<ShapeError>("transpose", "needs rank 2 or more", {{"x", x.shape()}}, site);
  detail::AxisOrder order{};
  for (int a = 0; a < rank; ++a) order[static_cast<std::size_t>(a)] = a < rank - 2 ? a : 2 * rank - 3 - a;
  return detail::permuted(x, order, site);
}

/// Entries begin, begin + step ... below `end` of one axis. Negative `begin` and `end` count from the end. A range of
/// the leading axis shares storage.
template <class T>
Tensor<T> slice(const Tensor<T>& x, int axis, Index begin, Index end, Index step = 1, Site site = Site::current()) {
  const int at = detail::checked_axis("slice", axis, x.rank(), x.shape(), site);
  const Index size = x.shape()[at];
  const Index first = begin < 0 ? begin + size : begin, last = end < 0 ? end + size : end;
  if (first < 0 || last < first || last > size)
    fail<IndexError>("slice", {"range [", begin, ", ", end, ") of axis ", axis, " with size ", size},
                     {{"x", x.shape()}}, site);
  if (step < 1) fail("slice", {"step is ", step, ", expected 1 or more"}, {{"x", x.shape()}}, site);
  return detail::take_part("slice", x, {at, first, step, (last - first + step - 1) / step}, site);
}

/// `value` (default: 0) put `before` times before and `after` times behind the entries of one axis.
template <class T>
Tensor<T> pad(const Tensor<T>& x, int axis, Index before, Index after, std::type_identity_t<T> value = T(),
              Site site = Site::current()) {
  const int at = detail::checked_axis("pad", axis, x.rank(), x.shape(), site);
  if (before < 0 || after < 0)
    fail("pad", {"widths are ", before, " and ", after, ", expected 0 or more"}, {{"x", x.shape()}}, site);
  const Index size = x.shape()[at];
  return detail::put_part("pad", x, x.shape().with(at, before + size + after), {at, before, 1, size}, value, site);
}

/// The entries of one axis in reverse order.
template <class T>
Tensor<T> flip(const Tensor<T>& x, int axis, Site site = Site::current()) {
  const int at = detail::checked_axis("flip", axis, x.rank(), x.shape(), site);
  const Index size = x.shape()[at], inner = detail::inner_count(x.shape(), at);
  Tensor<T> value = detail::fresh<T>(x.shape(), "flip", site);
  if (value.count() > 0) {
    cpu::CopyAxes copy;
    copy.add({detail::outer_count(x.shape(), at), size * inner, size * inner});
    copy.add({size, -inner, inner});
    copy.add({inner, 1, 1});
    cpu::copy_strided(x.data() + (size - 1) * inner, detail::writable(value), copy);
  }
  if constexpr (Real<T>)
    return record("flip", std::move(value), Edge(x, [at](const Tensor<T>& g) { return flip(g, at); }));
  else
    return value;
}

/// Tensors joined along one axis; all other sizes must agree.
template <class T>
Tensor<T> concat(const std::vector<Tensor<T>>& xs, int axis = 0, Site site = Site::current()) {
  if (xs.empty()) fail("concat", "needs at least one tensor", {}, site);
  Shape shape = xs[0].shape();
  const int at = detail::checked_axis("concat", axis, shape.rank(), shape, site);
  Index size = 0;
  for (const Tensor<T>& x : xs) {
    if (x.rank() != shape.rank() || !(x.shape().with(at, shape[at]) == shape))
      fail<ShapeError>("concat", {"sizes differ beside axis ", axis}, {{"first", xs[0].shape()}, {"other", x.shape()}},
                       site);
    size += x.shape()[at];
  }
  if (xs.size() == 1) return xs[0];
  shape[at] = size;
  Tensor<T> value = detail::fresh<T>(shape, "concat", site);
  const Index inner = detail::inner_count(shape, at);
  Index begin = 0;
  for (const Tensor<T>& x : xs) {
    const Index count = x.shape()[at];
    cpu::copy_strided(x.data(), detail::writable(value) + begin * inner,
                      detail::part_axes(shape, {at, 0, 1, count}, false));
    begin += count;
  }
  if constexpr (Real<T>) {
    bool tracked = false;
    for (const Tensor<T>& x : xs) tracked = tracked || x.tracked();
    if (!tracked || !recording()) return value;
    std::vector<Index, detail::CacheAllocator<Index>> ends;
    for (const Tensor<T>& x : xs) ends.push_back((ends.empty() ? 0 : ends.back()) + x.shape()[at]);
    auto rule = [at, ends = std::move(ends)](const Tensor<T>& g, const bool* needed, AnyTensor* results) {
      for (std::size_t i = 0; i < ends.size(); ++i) {
        const Index first = i == 0 ? 0 : ends[i - 1];
        if (needed[i]) results[i] = detail::take_part("slice", g, {at, first, 1, ends[i] - first});
      }
    };
    return record_many("concat", std::move(value), std::move(rule), std::span<const Tensor<T>>(xs));
  } else {
    return value;
  }
}

/// Tensors of one shape joined along a new axis before `axis`.
template <class T>
Tensor<T> stack(const std::vector<Tensor<T>>& xs, int axis = 0, Site site = Site::current()) {
  if (xs.empty()) fail("stack", "needs at least one tensor", {}, site);
  std::vector<Tensor<T>> parts;
  parts.reserve(xs.size());
  for (const Tensor<T>& x : xs) {
    if (!(x.shape() == xs[0].shape()))
      fail<ShapeError>("stack", "shapes differ", {{"first", xs[0].shape()}, {"other", x.shape()}}, site);
    parts.push_back(unsqueeze(x, axis, site));
  }
  return concat(parts, axis, site);
}

/// Consecutive ranges of one axis, of the given sizes, which add up to the axis. The inverse of `concat`.
template <class T>
std::vector<Tensor<T>> split(const Tensor<T>& x, const std::vector<Index>& sizes, int axis = 0,
                             Site site = Site::current()) {
  const int at = detail::checked_axis("split", axis, x.rank(), x.shape(), site);
  Index total = 0;
  for (Index size : sizes) {
    if (size < 0) fail<ShapeError>("split", {"size ", size, " is negative"}, {{"x", x.shape()}}, site);
    total += size;
  }
  if (total != x.shape()[at])
    fail<ShapeError>("split", {"sizes add up to ", total, ", axis ", axis, " has ", x.shape()[at]}, {{"x", x.shape()}},
                     site);
  std::vector<Tensor<T>> parts;
  parts.reserve(sizes.size());
  Index begin = 0;
  for (Index size : sizes) {
    parts.push_back(detail::take_part("split", x, {at, begin, 1, size}, site));
    begin += size;
  }
  return parts;
}

}  // namespace GRAFT_ABI
}  // namespace graft
