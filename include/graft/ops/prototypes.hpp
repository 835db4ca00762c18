#pragma once
// What methods that classify by nearness share: class means, squared distances and cosines.

#include <algorithm>
#include <limits>
#include <vector>

#include "graft/ops/indexing.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Class prototypes: the mean embedding of each class. `embeddings` [items, width], `labels` [items] in 0 .. ways-1 ->
/// [ways, width]; a class without items gets 0. Throws ShapeError, IndexError for a label out of range.
template <Real T>
Tensor<T> prototypes(const Tensor<T>& embeddings, const Tensor<std::int64_t>& labels, Index ways,
                     Site site = Site::current()) {
  if (embeddings.rank() != 2 || labels.rank() != 1 || labels.size(0) != embeddings.size(0))
    fail<ShapeError>("prototypes", "expected embeddings [items, width] and labels [items]",
                     {{"embeddings", embeddings.shape()}, {"labels", labels.shape()}}, site);
  detail::check_indices("prototypes", labels, ways, site);  // scatter_add takes negative ones
  const Tensor<T> sums = scatter_add(embeddings, labels, ways, 0, site);
  std::vector<Index> counts(static_cast<std::size_t>(ways));
  for (std::int64_t label : labels.span()) ++counts[static_cast<std::size_t>(label)];
  Tensor<T> share = detail::fresh<T>({ways, 1});
  for (Index c = 0; c < ways; ++c)
    detail::writable(share)[c] = T(1) / static_cast<T>(std::max(counts[static_cast<std::size_t>(c)], Index{1}));
  return sums * share;
}

namespace detail {

/// The mean of the rows of x [rows, width], [1, width], outside any tape; infinities and NaNs count as 0.
template <class T>
Tensor<T> finite_mean_row(const Tensor<T>& x) {
  Recording off(false);
  const auto finite_or_zero = [](auto v) { return where(abs(v) < std::numeric_limits<T>::infinity(), v, 0); };
  const Tensor<T> share = map(finite_or_zero, x) / static_cast<T>(std::max(x.size(0), Index{1}));
  return map(finite_or_zero, sum_to(share, Shape{1, x.size(1)}));
}

}  // namespace detail

/// Squared Euclidean distances |a_i - b_j|^2: `a` [m, width], `b` [n, width] -> [m, n]. They are computed as |a_i|^2 +
/// |b_j|^2 - 2 a_i b_j from what is left of both after subtracting the mean row of b, so that a part that all share
/// costs no accuracy; rounding below 0 is cut off. Throws ShapeError.
template <Real T>
Tensor<T> squared_distances(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  if (a.rank() != 2 || b.rank() != 2 || a.size(1) != b.size(1))
    fail<ShapeError>("squared_distances", "expected [m, width] and [n, width]", {{"a", a.shape()}, {"b", b.shape()}},
                     site);
  // A constant: distances do not depend on it. Of b alone, so that a row of a is answered whatever the others are.
  const Tensor<T> centre = detail::finite_mean_row(b), u = a - centre, v = b - centre;
  const Tensor<T> inner = matmul(u, v, {.transpose_b = true}, site);
  const Tensor<T> d = sum(square(u), {1}, true) + reshape(sum(square(v), {1}), {1, b.size(0)}) - T(2) * inner;
  return d - minimum(d.detach(), 0);
}

/// Cosines of the angles between rows, <a_i, b_j> / (|a_i| |b_j|): `a` [m, width], `b` [n, width] -> [m, n]. Those with
/// a row of zeros are 0, and it gets no gradient; see `unit_rows`. Throws ShapeError.
template <Real T>
Tensor<T> cosine_similarities(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  if (a.rank() != 2 || b.rank() != 2 || a.size(1) != b.size(1))
    fail<ShapeError>("cosine_similarities", "expected [m, width] and [n, width]", {{"a", a.shape()}, {"b", b.shape()}},
                     site);
  return matmul(unit_rows(a), unit_rows(b), {.transpose_b = true}, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
