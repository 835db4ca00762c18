#pragma once
// Nearest neighbours on features, as edges.

#include <algorithm>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/ops/csr.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// For each row of `to` the `k` nearest rows of `from` in squared Euclidean distance, nearest first; a tie goes to the
/// lower row. `from` [m, width], `to` [n, width] -> edges (row of from -> row of to), n min(k, m) of them. With
/// `skip_same` row i is no neighbour of row i (both are the same set). Carries no gradient: the choice of neighbours is
/// not differentiated.
template <Real T>
std::vector<GraphEdge> nearest_neighbours(const Tensor<T>& from, const Tensor<T>& to, Index k, bool skip_same = false,
                                          Site site = Site::current()) {
  if (from.rank() != 2 || to.rank() != 2 || from.size(1) != to.size(1))
    fail<ShapeError>("nearest_neighbours", "expected [m, width] and [n, width]",
                     {{"from", from.shape()}, {"to", to.shape()}}, site);
  if (k < 0) fail("nearest_neighbours", {"k is ", k}, {}, site);
  const Index m = from.size(0), n = to.size(0), width = from.size(1);
  const T *const sent = std::data(host(from)), *const wanted = std::data(host(to));
  std::vector<GraphEdge> edges;
  List<std::pair<T, Index>> candidates;
  for (Index i = 0; i < n; ++i) {
    candidates.clear();
    for (Index j = 0; j < m; ++j) {
      if (skip_same && i == j) continue;
      T distance = 0;
      for (Index w = 0; w < width; ++w) {
        const T gap = wanted[i * width + w] - sent[j * width + w];
        distance += gap * gap;
      }
      candidates.emplace_back(distance, j);
    }
    const Index taken = std::min(k, candidates.size());
    std::partial_sort(candidates.begin(), candidates.begin() + taken, candidates.end());
    for (Index rank = 0; rank < taken; ++rank) edges.push_back({candidates[rank].second, i});
  }
  return edges;
}

}  // namespace GRAFT_ABI
}  // namespace graft
