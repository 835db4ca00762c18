#pragma once
// Reductions. Sum and broadcast are each other's transpose; every other reduction is built so that its derivative uses
// only ops that are themselves differentiable. A scalar counts as having an axis 0, of size one.

#include <vector>

#include "graft/backend/cpu/reduce.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/broadcast.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Marks the given axes (negative ones count from the end; none means all).
inline void mark_axes(const char* op, const Shape& shape, const Axes& axes, bool (&marked)[kMaxRank], Site site) {
  for (bool& mark : marked) mark = axes.empty();
  for (int axis : axes) {
    const int at = checked_axis_or_scalar(op, axis, shape, site);
    if (marked[at]) fail<IndexError>(op, {"axis ", axis, " given twice"}, {{"x", shape}}, site);
    marked[at] = true;
  }
}
inline Shape without_marked(const Shape& shape, const bool (&marked)[kMaxRank]) {
  Shape kept;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (!marked[axis]) kept.push_back(shape[axis]);
  return kept;
}

}  // namespace detail

/// Sum over `axes` (default: all). With `keep` the summed axes stay, with size one.
template <Real T>
Tensor<T> sum(const Tensor<T>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  bool marked[kMaxRank] = {};
  detail::mark_axes("sum", x.shape(), axes, marked, site);
  Shape kept = x.shape();
  for (int axis = 0; axis < x.rank(); ++axis)
    if (marked[axis]) kept[axis] = 1;
  Tensor<T> total = sum_to(x, kept, site);
  return keep ? total : reshape(total, detail::without_marked(x.shape(), marked), site);
}

/// Mean over `axes` (default: all); NaN over no elements.
template <Real T>
Tensor<T> mean(const Tensor<T>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  bool marked[kMaxRank] = {};
  detail::mark_axes("mean", x.shape(), axes, marked, site);
  const Tensor<T> total = sum(x, axes, keep, site);
  return total * (static_cast<T>(total.count()) / static_cast<T>(x.count()));
}

namespace detail {

/// Folds the axes marked in `reduce`, keeping them with size one. Adjacent axes are one pass of `Fold`; further passes
/// fold what the first one gave with `Join`.
template <class Fold, class Join, class Out, class In>
Tensor<Out> fold_marked(const Tensor<In>& x, const bool (&reduce)[kMaxRank]) {
  int last = x.rank() - 1;
  while (last >= 0 && !reduce[last]) --last;
  int first = last;
  while (first > 0 && reduce[first - 1]) --first;
  Index outer = 1, reduced = 1, inner = 1;
  Shape shape = x.shape();
  for (int axis = 0; axis < x.rank(); ++axis) {
    (axis < first ? outer : axis <= last ? reduced : inner) *= shape[axis];
    if (axis >= first && axis <= last) shape[axis] = 1;
  }
  Tensor<Out> folded = fresh<Out>(shape);
  cpu::fold_axis<Fold>(x.data(), outer, reduced, inner, writable(folded));
  bool rest[kMaxRank] = {}, more = false;
  for (int axis = 0; axis < first; ++axis) more |= rest[axis] = reduce[axis];
  if (more) return fold_marked<Join, Join, Out>(folded, rest);
  return folded;
}

/// The first number of every group of numbers that a sum to shape `kept` adds up, in that shape, outside any tape. Less
/// of it, numbers that share a large part lose nothing to rounding: what no common part changes (a variance) is
/// computed from x - first_of(x), with the first number as a constant.
template <class T>
Tensor<T> first_of(const Tensor<T>& x, const Shape& kept) {
  Tensor<T> first = x.detach();
  for (int axis = 0; axis < kept.rank(); ++axis)
    if (kept[axis] == 1 && first.size(axis) > 1) first = slice(first, axis, 0, 1);
  return first;
}

template <class T>
Tensor<T> drop_marked(const Tensor<T>& folded, const Shape& shape, const bool (&marked)[kMaxRank], bool keep) {
  return keep ? folded : reshape(folded, without_marked(shape, marked));
}

/// Throws unless every reduction over the marked axes has a number to choose.
inline void check_not_empty(const char* op, const Shape& shape, const bool (&marked)[kMaxRank], Site site) {
  bool empty = false;
  for (int axis = 0; axis < shape.rank(); ++axis) empty |= marked[axis] && shape[axis] == 0;
  if (empty && without_marked(shape, marked).count() > 0)
    fail<ShapeError>(op, "over no elements", {{"x", shape}}, site);
}

template <int Sign, class T>
Tensor<T> extreme(const char* op, const Tensor<T>& x, const Axes& axes, bool keep, Site site) {
  bool marked[kMaxRank] = {};
  mark_axes(op, x.shape(), axes, marked, site);
  check_not_empty(op, x.shape(), marked, site);
  using Fold = cpu::Extreme<T, Sign>;
  Tensor<T> value = fold_marked<Fold, Fold, T>(x, marked);
  if constexpr (Real<T>)
    if (recorded(x)) {
      // Where the extremes are is locally constant, so the weights carry no gradient.
      auto rule = [x = x.detach(), value](const Tensor<T>& g) {
        const Tensor<T> hit = equal(x, value);
        return chain_product(g, hit / sum_to(hit, value.shape()));
      };
      value = record(op, value, Edge(x, std::move(rule)));
    }
  return drop_marked(value, x.shape(), marked, keep);
}

template <int Sign, class T>
Tensor<std::int64_t> arg_extreme(const char* op, const Tensor<T>& x, int axis, bool keep, Site site) {
  const int at = checked_axis_or_scalar(op, axis, x.shape(), site);
  bool marked[kMaxRank] = {};
  marked[at] = true;
  check_not_empty(op, x.shape(), marked, site);
  Tensor<std::int64_t> value = fresh<std::int64_t>(keep ? x.shape().with(at, 1) : x.shape().without(at));
  if (value.count() > 0)
    cpu::arg_axis<Sign>(x.data(), outer_count(x.shape(), at), size_or_scalar(x.shape(), at), inner_count(x.shape(), at),
                        writable(value));
  return value;
}

template <class Fold, class Join, class Out, class In>
Tensor<Out> fold_axes(const char* op, const Tensor<In>& x, const Axes& axes, bool keep, Site site) {
  bool marked[kMaxRank] = {};
  mark_axes(op, x.shape(), axes, marked, site);
  return drop_marked(fold_marked<Fold, Join, Out>(x, marked), x.shape(), marked, keep);
}

}  // namespace detail

/// Sum of whole numbers over `axes` (default: all), of a mask the number of true entries; wraps around at the ends of
/// int64.
template <Whole T>
Tensor<std::int64_t> sum(const Tensor<T>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  using Total = cpu::SumWhole<std::int64_t>;
  return detail::fold_axes<cpu::SumWhole<T>, Total, std::int64_t>("sum", x, axes, keep, site);
}

/// Largest number over `axes` (default: all); NaN if there is one. Equal maxima share the gradient. Over no elements:
/// an error, unless the result is empty too.
template <class T>
Tensor<T> max(const Tensor<T>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  return detail::extreme<1>("max", x, axes, keep, site);
}
/// Smallest number over `axes`; see `max`.
template <class T>
Tensor<T> min(const Tensor<T>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  return detail::extreme<-1>("min", x, axes, keep, site);
}

/// Place of the largest number along `axis`: the first of equals, the first NaN if there is one.
template <class T>
Tensor<std::int64_t> argmax(const Tensor<T>& x, int axis, bool keep = false, Site site = Site::current()) {
  return detail::arg_extreme<1>("argmax", x, axis, keep, site);
}
/// Place, in row-major order, of the largest of all numbers; shape [].
template <class T>
Tensor<std::int64_t> argmax(const Tensor<T>& x, Site site = Site::current()) {
  return detail::arg_extreme<1>("argmax", detail::view(x, {x.count()}, 0), 0, false, site);
}
/// Place of the smallest number along `axis`; see `argmax`.
template <class T>
Tensor<std::int64_t> argmin(const Tensor<T>& x, int axis, bool keep = false, Site site = Site::current()) {
  return detail::arg_extreme<-1>("argmin", x, axis, keep, site);
}
/// Place, in row-major order, of the smallest of all numbers; shape [].
template <class T>
Tensor<std::int64_t> argmin(const Tensor<T>& x, Site site = Site::current()) {
  return detail::arg_extreme<-1>("argmin", detail::view(x, {x.count()}, 0), 0, false, site);
}

/// True where any entry over `axes` (default: all) is true; false over no elements.
inline Tensor<bool> any(const Tensor<bool>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  return detail::fold_axes<cpu::AnyTrue, cpu::AnyTrue, bool>("any", x, axes, keep, site);
}
/// True where all entries over `axes` (default: all) are true; true over no elements.
inline Tensor<bool> all(const Tensor<bool>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  return detail::fold_axes<cpu::AllTrue, cpu::AllTrue, bool>("all", x, axes, keep, site);
}
/// How many entries over `axes` (default: all) are not zero, or true.
template <class T>
Tensor<std::int64_t> count_nonzero(const Tensor<T>& x, const Axes& axes = {}, bool keep = false,
                                   Site site = Site::current()) {
  using Total = cpu::SumWhole<std::int64_t>;
  return detail::fold_axes<cpu::CountNonzero<T>, Total, std::int64_t>("count_nonzero", x, axes, keep, site);
}

/// Every entry of one axis `count` times in a row: [a, b] -> [a, a, b, b].
template <class T>
Tensor<T> repeat(const Tensor<T>& x, Index count, int axis = 0, Site site = Site::current()) {
  const int at = detail::checked_axis("repeat", axis, x.rank(), x.shape(), site);
  if (count < 0) fail("repeat", {"count is ", count, ", expected 0 or more"}, {{"x", x.shape()}}, site);
  const Index outer = detail::outer_count(x.shape(), at), size = x.shape()[at],
              inner = detail::inner_count(x.shape(), at);
  const Tensor<T> spread = broadcast_to(reshape(x, {outer, size, 1, inner}), {outer, size, count, inner}, site);
  return reshape(spread, x.shape().with(at, size * count));
}
/// The whole of one axis `count` times: [a, b] -> [a, b, a, b].
template <class T>
Tensor<T> tile(const Tensor<T>& x, Index count, int axis = 0, Site site = Site::current()) {
  const int at = detail::checked_axis("tile", axis, x.rank(), x.shape(), site);
  if (count < 0) fail("tile", {"count is ", count, ", expected 0 or more"}, {{"x", x.shape()}}, site);
  const Index outer = detail::outer_count(x.shape(), at), block = x.shape()[at] * detail::inner_count(x.shape(), at);
  const Tensor<T> spread = broadcast_to(reshape(x, {outer, 1, block}), {outer, count, block}, site);
  return reshape(spread, x.shape().with(at, x.shape()[at] * count));
}

}  // namespace GRAFT_ABI
}  // namespace graft
