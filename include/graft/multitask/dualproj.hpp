#pragma once
// Projection of the mean gradient onto the directions that conflict with no task. Lopez-Paz, Ranzato, "Gradient
// episodic memory for continual learning", NeurIPS 2017, for the tasks of a round in place of those in memory; named as
// in Quinton, Rey, "Jacobian descent for multi-objective optimization", arXiv 2406.16232, 2024.

#include "graft/common/cone_projection.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Weights [tasks] of the tasks' gradients g_i in the combined direction, from their Gramian [tasks, tasks]:
///   direction = argmin_x |x - sum_i preference_i g_i|   with <x, g_j> >= 0 for all j.
/// `preference` [tasks], none: 1 / tasks each, which is the mean where that conflicts with no task. Carries no
/// gradient. Throws ShapeError for a Gramian that is not square, ValueError for numbers that are not finite, a
/// preference below 0 or of another length.
inline Tensor<double> dualproj_weights(const Tensor<double>& gramian, const List<double>& preference = {},
                                       Site site = Site::current()) {
  const detail::Cosines cosines("dualproj_weights", gramian, site);
  const Index tasks = cosines.tasks();
  return from_vector(detail::cone_projection(
      cosines,
      detail::task_numbers("dualproj_weights", "preference", preference, tasks, 1 / static_cast<double>(tasks), site)));
}

/// The projected mean as an aggregator.
struct DualProj {
  List<double> preference = {};  ///< [all tasks]; none: 1 / tasks for each task of a round
  GRAFT_FIELDS()
  GRAFT_CONFIG(preference)

  /// Throws ValueError as `dualproj_weights`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    const List<double> preferred = detail::by_row("DualProj", "preference", preference, gradients, site);
    return {.weights = dualproj_weights(gradients.gramian(), preferred, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
