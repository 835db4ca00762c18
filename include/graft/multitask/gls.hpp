#pragma once
// Geometric loss strategy. Chennupati, Sistu, Yogamani, Rawashdeh, "MultiNet++: multi-stream feature aggregation and
// geometric loss strategy for multi-task learning", CVPR workshops 2019.

#include "graft/common/task_losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The geometric mean of `losses` [tasks], (prod_i L_i)^{1/tasks}, shape [], computed in logarithms. Its gradient with
/// respect to L_i is GLS / (tasks L_i), so multiplying one loss by c multiplies the gradients of all tasks by
/// c^{1/tasks} and changes no direction. Differentiable to any order. Throws ShapeError, and ValueError for a loss that
/// is not a finite number above 0.
template <Real T>
Tensor<T> gls_loss(const Tensor<T>& losses, Site site = Site::current()) {
  detail::positive_losses("gls_loss", losses, site);
  return exp(mean(log(losses)));
}

/// GLS as an aggregator: the weight of row i is GLS / (rows L_i) over the losses of the round; a task that is in it
/// twice is two factors. No state. The gradients are not looked at. Throws ValueError without losses, and for one that
/// is not a finite number above 0.
struct Gls {
  GRAFT_FIELDS()

  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    const auto round = detail::task_losses("Gls", gradients, detail::Range::positive, site);
    const double rows = static_cast<double>(round.rows.size());
    double mean_log = 0;
    for (const double loss : round.rows) mean_log += std::log(loss) / rows;
    List<double> weights;
    for (const double loss : round.rows) weights.push_back(std::exp(mean_log - std::log(loss)) / rows);
    return {.weights = from_vector(weights)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
