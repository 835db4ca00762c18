#pragma once
// The sum of the gradients: the gradient of the summed losses. A learning rate for the mean acts `tasks` times as
// strongly on it.

#include "graft/common/aggregator.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// direction = sum_i g_i.
struct SumGradient {
  GRAFT_FIELDS()

  Combination operator()(TaskGradients& gradients) const { return {.weights = ones<double>({gradients.tasks()})}; }
};

}  // namespace GRAFT_ABI
}  // namespace graft
