#pragma once
// Random loss weighting. Lin, Ye, Zhang, Tsang, "Reasonable effectiveness of random weighting: a litmus test for
// multi-task learning", TMLR 2022, with normal numbers as in the authors' code.

#include "graft/common/task_losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Weights softmax(z) with z standard normal, one a row, new in every round from the round's own stream. They sum to 1
/// and each is 1 / rows on average. Neither losses nor gradients are looked at. A baseline: a weighting that learns
/// should be better than this.
struct RandomLossWeights {
  GRAFT_FIELDS()

  Combination operator()(TaskGradients& gradients) const {
    List<double> scores;
    const Random random = gradients.random().stream("random_loss_weights");
    for (Index row = 0; row < gradients.tasks(); ++row)
      scores.push_back(random.normal(static_cast<std::uint64_t>(row)));
    return {.weights = from_vector(detail::softmax_weights(scores, 1))};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
