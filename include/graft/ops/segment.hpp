#pragma once
// Reductions over ragged segments of rows, given as CSR offsets: segment s is the rows from offsets[s] to before
// offsets[s + 1]. segment_sum and segment_broadcast are each other's transpose; the others are built on them, so each
// has derivatives of any order. Empty segments give 0.

#include "graft/ops/indexing.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Throws unless `offsets` is [segments + 1], starts at 0, never falls, and ends at `rows` (any end if `rows` < 0).
inline void check_offsets(const char* op, const Tensor<std::int64_t>& offsets, Index rows, Site site) {
  if (offsets.rank() != 1 || offsets.count() < 1)
    fail<ShapeError>(op, "offsets need shape [segments + 1]", {{"offsets", offsets.shape()}}, site);
  const std::int64_t* at = offsets.data();
  const Index segments = offsets.count() - 1;
  if (at[0] != 0)
    fail<IndexError>(op, {"offsets start at ", at[0], ", expected 0"}, {{"offsets", offsets.shape()}}, site);
  for (Index s = 0; s < segments; ++s)
    if (at[s + 1] < at[s]) [[unlikely]]
      fail<IndexError>(op, {"offset ", at[s + 1], " at position ", s + 1, " is below the one before, ", at[s]},
                       {{"offsets", offsets.shape()}}, site);
  if (rows >= 0 && at[segments] != rows)
    fail<IndexError>(op, {"offsets end at ", at[segments], ", there are ", rows, " rows"},
                     {{"offsets", offsets.shape()}}, site);
}
template <class T>
void check_segments(const char* op, const Tensor<T>& x, const Tensor<std::int64_t>& offsets, Site site) {
  if (x.rank() < 1) fail<ShapeError>(op, "needs rows: rank 1 or more", {{"x", x.shape()}}, site);
  check_offsets(op, offsets, x.shape()[0], site);
}

template <class T>
Tensor<T> segment_spread(const Tensor<T>& x, const Tensor<std::int64_t>& offsets);

template <class T>
Tensor<T> segment_total(const Tensor<T>& x, const Tensor<std::int64_t>& offsets) {
  const Index segments = offsets.count() - 1;
  Tensor<T> value = fresh<T>(x.shape().with(0, segments));
  cpu::sum_segments<T>(x.data(), offsets.data(), nullptr, segments, inner_count(x.shape(), 0), writable(value));
  return record("segment_sum", std::move(value),
                Edge(x, [offsets](const Tensor<T>& g) { return segment_spread(g, offsets); }));
}
template <class T>
Tensor<T> segment_spread(const Tensor<T>& x, const Tensor<std::int64_t>& offsets) {
  const Index segments = offsets.count() - 1;
  Tensor<T> value = fresh<T>(x.shape().with(0, offsets.data()[segments]));
  cpu::spread_segments(x.data(), offsets.data(), segments, inner_count(x.shape(), 0), writable(value));
  return record("segment_broadcast", std::move(value),
                Edge(x, [offsets](const Tensor<T>& g) { return segment_total(g, offsets); }));
}

template <int Sign, class T>
Tensor<T> segment_extreme(const char* op, const Tensor<T>& x, const Tensor<std::int64_t>& offsets, Site site) {
  check_segments(op, x, offsets, site);
  const Index segments = offsets.count() - 1;
  Tensor<T> value = fresh<T>(x.shape().with(0, segments));
  cpu::extreme_segments<Sign>(x.data(), offsets.data(), segments, inner_count(x.shape(), 0), writable(value));
  if (!recorded(x)) return value;
  return record(op, value, Edge(x, [x = x.detach(), value, offsets](const Tensor<T>& g) {
                  // Where the extremes are is locally constant, so the weights carry no gradient.
                  const Tensor<T> hit = equal(x, segment_spread(value, offsets));
                  const Tensor<T> weight = hit / segment_spread(segment_total(hit, offsets), offsets);
                  return segment_spread(g, offsets) * weight;
                }));
}

template <class T>
Tensor<T> segment_softmax_checked(const Tensor<T>& x, const Tensor<std::int64_t>& offsets) {
  Tensor<T> value = fresh<T>(x.shape());
  cpu::softmax_segments(x.data(), offsets.data(), offsets.count() - 1, inner_count(x.shape(), 0), writable(value));
  if (!recorded(x)) return value;
  return record("segment_softmax", value, Edge(x, [x, value, offsets](const Tensor<T>& g) {
                  const Tensor<T> p = recording() ? segment_softmax_checked(x, offsets) : value;
                  const Tensor<T> weighted = p * g;
                  return weighted - p * segment_spread(segment_total(weighted, offsets), offsets);
                }));
}

}  // namespace detail

/// Sum of the rows of every segment: [rows, ...] -> [segments, ...].
template <Real T>
Tensor<T> segment_sum(const Tensor<T>& x, const Tensor<std::int64_t>& offsets, Site site = Site::current()) {
  detail::check_segments("segment_sum", x, offsets, site);
  return detail::segment_total(x, offsets);
}

/// The row of its segment for every member: [segments, ...] -> [rows, ...]. The transpose of `segment_sum`.
template <Real T>
Tensor<T> segment_broadcast(const Tensor<T>& x, const Tensor<std::int64_t>& offsets, Site site = Site::current()) {
  detail::check_offsets("segment_broadcast", offsets, -1, site);
  if (x.rank() < 1 || x.shape()[0] != offsets.count() - 1)
    fail<ShapeError>("segment_broadcast", "needs one row a segment", {{"x", x.shape()}, {"offsets", offsets.shape()}},
                     site);
  detail::checked_count("segment_broadcast", x.shape().with(0, offsets.data()[offsets.count() - 1]), sizeof(T), site);
  return detail::segment_spread(x, offsets);
}

/// Mean of the rows of every segment: [rows, ...] -> [segments, ...]; 0 for an empty segment.
template <Real T>
Tensor<T> segment_mean(const Tensor<T>& x, const Tensor<std::int64_t>& offsets, Site site = Site::current()) {
  detail::check_segments("segment_mean", x, offsets, site);
  const Tensor<T> total = detail::segment_total(x, offsets);
  Shape column;
  for (int a = 0; a < total.rank(); ++a) column.push_back(a == 0 ? total.shape()[0] : 1);
  const Tensor<T> share = detail::fresh<T>(column);
  for (Index s = 0; s < share.count(); ++s) {
    const std::int64_t rows = offsets.data()[s + 1] - offsets.data()[s];
    detail::writable(share)[s] = rows == 0 ? T(0) : 1 / static_cast<T>(rows);
  }
  return total * share;
}

/// Largest number of every column of every segment: [rows, ...] -> [segments, ...]; 0 for an empty segment. Equal
/// maxima share the gradient.
template <Real T>
Tensor<T> segment_max(const Tensor<T>& x, const Tensor<std::int64_t>& offsets, Site site = Site::current()) {
  return detail::segment_extreme<1>("segment_max", x, offsets, site);
}
/// Smallest number of every column of every segment; see `segment_max`.
template <Real T>
Tensor<T> segment_min(const Tensor<T>& x, const Tensor<std::int64_t>& offsets, Site site = Site::current()) {
  return detail::segment_extreme<-1>("segment_min", x, offsets, site);
}

/// Softmax over the rows of every segment, column by column, shifted by the segment's maximum: positive numbers that
/// add up to 1. A column of nothing but -inf gives zeros, and a zero gradient.
template <Real T>
Tensor<T> segment_softmax(const Tensor<T>& x, const Tensor<std::int64_t>& offsets, Site site = Site::current()) {
  detail::check_segments("segment_softmax", x, offsets, site);
  return detail::segment_softmax_checked(x, offsets);
}

}  // namespace GRAFT_ABI
}  // namespace graft
