#pragma once
// What methods share that look at items without labels to answer queries: which items these are, means of softly
// assigned items, and who is whose neighbour.

#include <cmath>

#include "graft/common/few_shot.hpp"
#include "graft/core/list.hpp"
#include "graft/graph/knn.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// The items of an embedded episode that have no label, unlabelled ones before the queries: [unlabelled + queries,
/// width].
template <class T>
Tensor<T> items_without_labels(const Episode<T>& episode, Site site) {
  if (!episode.unlabelled.defined()) return episode.query.x;
  return concat<T>({episode.unlabelled, episode.query.x}, 0, site);
}
/// The queries' part of an answer for all items, in which they come last.
template <class T>
Tensor<T> of_queries(const Tensor<T>& answer, const Episode<T>& episode) {
  return slice(answer, 0, answer.size(0) - episode.query.x.size(0), answer.size(0));
}

/// Means of softly assigned items, c_k = sum_i w_ik x_i / sum_i w_ik: x [items, width], weights [items, ways] of
/// columns that are not all zeros -> [ways, width]. Taken around a constant, so that a part that all items share costs
/// no accuracy.
template <class T>
Tensor<T> weighted_means(const Tensor<T>& x, const Tensor<T>& weights, Site site) {
  const Tensor<T> centre = finite_mean_row(x), total = reshape(sum(weights, {0}), {weights.size(1), 1});
  return centre + matmul(weights, x - centre, {.transpose_a = true}, site) / total;
}

/// [n, n]: 1 where the column's row of x is among the `k` nearest of the row's others, else 0. x [n, width]; with fewer
/// than k others, all of them. A constant. Throws ValueError for numbers that are not finite.
template <class T>
Tensor<T> neighbour_matrix(const char* op, const Tensor<T>& x, Index k, Site site) {
  Index at = 0;
  for (const T number : host(x)) {
    if (!std::isfinite(number)) fail(op, {"an embedding has a ", number, ", at item ", at / x.size(1)}, {}, site);
    ++at;
  }
  const Index n = x.size(0);
  List<T> near(n * n);
  for (const GraphEdge& edge : nearest_neighbours(x, x, k, true, site)) near[edge.destination * n + edge.source] = 1;
  return from_vector(near, {n, n});
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
