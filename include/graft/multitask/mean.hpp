#pragma once
// The average gradient: the plain sum of the tasks' losses, scaled.

#include "graft/common/aggregator.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// direction = 1 / tasks sum_i g_i.
struct MeanGradient {
  GRAFT_FIELDS()

  Combination operator()(TaskGradients& gradients) const {
    return {.weights = full<double>({gradients.tasks()}, 1 / static_cast<double>(gradients.tasks()))};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
