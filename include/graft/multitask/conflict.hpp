#pragma once
// How much the gradients of several tasks disagree: figures to log for every run, whatever the aggregator. Conflict in
// the sense of Yu, Kumar, Gupta, Levine, Hausman, Finn, "Gradient surgery for multi-task learning", NeurIPS 2020: a
// negative inner product.

#include "graft/common/gramian.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What `conflict_figures` says of some gradients.
struct ConflictFigures {
  double conflicts = 0;      ///< share of the pairs with <g_i, g_j> < 0
  double mean_cosine = 1;    ///< over the pairs
  double largest_ratio = 1;  ///< max_i |g_i| / min_j |g_j|
};

/// The figures of gradients from their Gramian [tasks, tasks]. A zero gradient has no direction and conflicts with
/// nothing: it is in no pair and not in the ratio. Without a pair, thus for one task, the figures are those of equal
/// gradients: 0, 1, 1. Scaling a gradient changes only the ratio, and scaling all of them nothing. Throws ShapeError,
/// ValueError without tasks, for a number that is not finite or below 0 on the diagonal.
inline ConflictFigures conflict_figures(const Tensor<double>& gramian, Site site = Site::current()) {
  const detail::Cosines cosine("conflict_figures", gramian, site);
  const Index tasks = cosine.tasks();
  double pairs = 0, conflicts = 0, cosines = 0, largest = 0, smallest = 0;
  for (Index i = 0; i < tasks; ++i) {
    const double length = cosine.length(i);
    if (length == 0) continue;
    largest = std::max(largest, length);
    smallest = smallest > 0 ? std::min(smallest, length) : length;
    for (Index j = 0; j < i; ++j) {
      if (cosine.length(j) == 0) continue;
      ++pairs;
      conflicts += cosine(i, j) < 0;
      cosines += cosine(i, j);
    }
  }
  ConflictFigures figures;
  if (smallest > 0) figures.largest_ratio = largest / smallest;
  if (pairs > 0) {
    figures.conflicts = conflicts / pairs;
    figures.mean_cosine = cosines / pairs;
  }
  return figures;
}

}  // namespace GRAFT_ABI
}  // namespace graft
