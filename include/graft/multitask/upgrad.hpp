#pragma once
// Unconflicting projection of gradients. Quinton, Rey, "Jacobian descent for multi-objective optimization", arXiv
// 2406.16232, 2024.

#include "graft/common/cone_projection.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Weights [tasks] of the tasks' gradients g_i in the combined direction, from their Gramian [tasks, tasks]:
///   direction = sum_i preference_i project(g_i),   project: onto the dual cone {x: <x, g_j> >= 0 for all j}.
/// It conflicts with no task, and each task's part in it grows in proportion to its gradient. Without conflicts it is
/// sum_i preference_i g_i. `preference` [tasks], none: 1 / tasks each. Carries no gradient. Throws ShapeError for a
/// Gramian that is not square, ValueError for numbers that are not finite, a preference below 0 or of another length.
inline Tensor<double> upgrad_weights(const Tensor<double>& gramian, const List<double>& preference = {},
                                     Site site = Site::current()) {
  const detail::Cosines cosines("upgrad_weights", gramian, site);
  const Index tasks = cosines.tasks();
  const List<double> preferred =
      detail::task_numbers("upgrad_weights", "preference", preference, tasks, 1 / static_cast<double>(tasks), site);
  List<double> weights(tasks);
  for (Index i = 0; i < tasks; ++i) {
    List<double> only(tasks);
    only[i] = preferred[i];
    const List<double> projected = detail::cone_projection(cosines, only);
    for (Index k = 0; k < tasks; ++k) weights[k] += projected[k];
  }
  return from_vector(weights);
}

/// UPGrad as an aggregator.
struct UpGrad {
  List<double> preference = {};  ///< [all tasks]; none: 1 / tasks for each task of a round
  GRAFT_FIELDS()
  GRAFT_CONFIG(preference)

  /// Throws ValueError as `upgrad_weights`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    const List<double> preferred = detail::by_row("UpGrad", "preference", preference, gradients, site);
    return {.weights = upgrad_weights(gradients.gramian(), preferred, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
