#pragma once
// Aligned-MTL. Senushkin, Patakin, Kuznetsov, Konushin, "Independent component alignment for multi-task learning", CVPR
// 2023.

#include "graft/common/gramian.hpp"
#include "graft/common/host_eigen.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Which of the gradient matrix's squared singular values sets the common one: the smallest, the (lower) median, or
/// their mean, whose root is the singular values' root mean square.
enum class AlignedScale { min, median, rmse };

/// Options of Aligned-MTL.
struct AlignedMtlOptions {
  AlignedScale scale = AlignedScale::min;  ///< authors' default
  /// Eigenvalues up to this part of the largest count as 0, and their directions are left out; the authors' code, in
  /// single precision, has 1.2e-7 times the number of tasks.
  double rank_tolerance = 1e-12;
  List<double> preference = {};  ///< [tasks], of the aggregator [all tasks]; none: 1 / tasks each
};

/// Weights [tasks] of the tasks' gradients g_i in the combined direction, from their Gramian M = V S V' [tasks, tasks]:
///   weights = s^(1/2) V S^(-1/2) V' preference,   s the smallest eigenvalue (or see `scale`),
/// that is sum_i preference_i h_i, where the h_i are the orthogonal vectors of equal length s^(1/2) nearest to the g_i:
/// the matrix of gradients with all its singular values made equal, its condition number 1. Orthogonal gradients of one
/// length stay as they are. Carries no gradient. Throws ShapeError for a Gramian that is not square, ValueError without
/// tasks, for numbers that are not finite, a preference below 0 or of another length, and a tolerance outside [0, 1).
inline Tensor<double> aligned_mtl_weights(const Tensor<double>& gramian, const AlignedMtlOptions& options = {},
                                          Site site = Site::current()) {
  const detail::HostGramian m("aligned_mtl_weights", gramian, site);
  const Index n = m.tasks();
  detail::check_option<double>("aligned_mtl_weights", "rank_tolerance", options.rank_tolerance,
                               detail::Range::below_one, site);
  const List<double> preference = detail::task_numbers("aligned_mtl_weights", "preference", options.preference, n,
                                                       1 / static_cast<double>(n), site);
  const detail::HostEigen eigen(from_vector(m.numbers(), {n, n}), site);
  Index first = 0;  // of the eigenvalues, in ascending order, that are not 0
  while (first < n && !(eigen.value(first) > options.rank_tolerance * eigen.largest())) ++first;
  List<double> weights(n);
  if (first == n) return from_vector(weights);
  double common = eigen.value(options.scale == AlignedScale::median ? (first + n - 1) / 2 : first);
  if (options.scale == AlignedScale::rmse) {
    common = 0;
    for (Index e = first; e < n; ++e) common += eigen.value(e) / static_cast<double>(n - first);
  }
  for (Index e = first; e < n; ++e)
    eigen.add(e, std::sqrt(common / eigen.value(e)) * eigen.along(e, preference), weights);
  return from_vector(weights);
}

/// Aligned-MTL as an aggregator.
struct AlignedMtl {
  AlignedMtlOptions options = {};
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)

  /// Throws ValueError as `aligned_mtl_weights`, IndexError for a row of no task.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    AlignedMtlOptions own = options;
    own.preference = detail::by_row("AlignedMtl", "preference", options.preference, gradients, site);
    return {.weights = aligned_mtl_weights(gradients.gramian(), own, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
