#pragma once
// What methods that classify by nearness share: class means and squared distances.

#include "graft/ops/indexing.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"

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
  const Tensor<T> sums = scatter_add(embeddings, labels, ways, 0, site);  // checks ways and labels
  std::vector<Index> counts(static_cast<std::size_t>(ways));
  for (std::int64_t label : labels.span()) ++counts[static_cast<std::size_t>(label)];
  Tensor<T> share = detail::fresh<T>({ways, 1});
  for (Index c = 0; c < ways; ++c)
    detail::writable(share)[c] = T(1) / static_cast<T>(std::max(counts[static_cast<std::size_t>(c)], Index{1}));
  return sums * share;
}

/// Squared Euclidean distances |a_i - b_j|^2 = |a_i|^2 + |b_j|^2 - 2 a_i b_j: `a` [m, width], `b` [n, width] -> [m, n].
/// Rounding can leave a distance near 0 slightly negative. Throws ShapeError.
template <Real T>
Tensor<T> squared_distances(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  if (a.rank() != 2 || b.rank() != 2 || a.size(1) != b.size(1))
    fail<ShapeError>("squared_distances", "expected [m, width] and [n, width]", {{"a", a.shape()}, {"b", b.shape()}},
                     site);
  const Tensor<T> inner = matmul(a, b, {.transpose_b = true}, site);
  return sum(square(a), {1}, true) + reshape(sum(square(b), {1}), {1, b.size(0)}) - T(2) * inner;
}

}  // namespace GRAFT_ABI
}  // namespace graft
