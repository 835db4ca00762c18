#pragma once
// Linear scalarisation: the gradient of a sum of losses with fixed weights.

#include "graft/common/gramian.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// direction = sum_i weights_i g_i, the weights by task: a task that is absent from a round leaves the others' as they
/// are. Finite and 0 or more.
struct ConstantWeights {
  List<double> weights;  ///< [all tasks]
  GRAFT_FIELDS()
  GRAFT_CONFIG(weights)

  /// Throws ValueError unless there is one weight for each task.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    if (weights.empty()) fail("ConstantWeights", "there are no weights", {}, site);
    return {.weights = from_vector(detail::by_row("ConstantWeights", "weight", weights, gradients, site))};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
