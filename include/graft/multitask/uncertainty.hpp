#pragma once
// Weighting losses by uncertainty. Kendall, Gal, Cipolla, "Multi-task learning using uncertainty to weigh losses for
// scene geometry and semantics", CVPR 2018. The half stands before all losses here; the paper leaves it out for
// classification.

#include "graft/common/task_losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// sum_i (L_i e^{-s_i} + s_i) / 2, shape []: to be minimised over the model and over s = ln sigma^2, `log_variances`
/// [tasks], at once. For frozen `losses` [tasks] above 0 the least value is sum_i (1 + ln L_i) / 2, at s_i = ln L_i,
/// where the weight of task i is 1 / (2 L_i). A loss of 0 or below has no such s: its s falls without end.
/// Differentiable in both, to any order. Throws ShapeError.
template <Real T>
Tensor<T> uncertainty_loss(const Tensor<T>& losses, const Tensor<T>& log_variances, Site site = Site::current()) {
  detail::check_losses("uncertainty_loss", losses, "log_variances", log_variances, site);
  return T(0.5) * sum(losses * exp(-log_variances) + log_variances);
}

/// Options of `UncertaintyWeights`.
struct UncertaintyOptions {
  double learning_rate = 0.1;  ///< of s; ours, as the authors train s with the model's optimiser
  double start = 0;            ///< s of every task at first
};

/// Uncertainty weighting as an aggregator: the weights of the tasks' gradients are e^{-s_i} / 2, those of
/// `uncertainty_loss`; then s takes a step of gradient descent,
///   s_i <- s_i - learning_rate d_i,   d_i = (1 - L_i e^{-s_i}) / 2 but -1/2 at least.
/// So d_i is the gradient for losses up to 2 e^{s_i}, and one of 1e30 moves s no further than these. At frozen losses s
/// converges to ln L, from wherever it starts. s is kept in [-80, 80], so that the weights are numbers that float
/// has: the weight of a task whose loss stays 0 grows to e^80 / 2, that of losses above e^80 stays there. A task
/// that is in the round twice counts with its mean loss, an absent one keeps its s. The gradients are not looked at.
/// Throws ValueError without losses, for a loss that is negative or not finite, ShapeError for another number of tasks.
struct UncertaintyWeights {
  UncertaintyOptions options;
  Tensor<double> log_variances;  ///< s [tasks]
  GRAFT_FIELDS(log_variances)
  GRAFT_CONFIG(options)

  /// For `tasks` tasks, or, if 0, for as many as there are in the first round, when the state is made. Throws
  /// ValueError.
  explicit UncertaintyWeights(Index tasks = 0, UncertaintyOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("UncertaintyWeights", "tasks", tasks, 0, site);
    using detail::Range;
    detail::check_option<double>("UncertaintyWeights", "learning_rate", o.learning_rate, Range::not_negative, site);
    detail::check_option<double>("UncertaintyWeights", "start", o.start, Range::finite, site);
    if (tasks > 0) start(tasks, site);
  }

  Combination operator()(TaskGradients& gradients, Site site = Site::current()) {
    const auto round = detail::task_losses("UncertaintyWeights", gradients, detail::Range::not_negative, site);
    start(round.tasks, site);
    List<double> s(host(log_variances)), weights;
    for (Index task : round.ids) weights.push_back(std::exp(-s[task]) / 2);
    for (Index task : round.present) {
      const double slope = std::max((1 - round.mean[task] * std::exp(-s[task])) / 2, -0.5);
      s[task] = std::clamp(s[task] - options.learning_rate * slope, -80.0, 80.0);
    }
    log_variances = from_vector(s);
    return {.weights = from_vector(weights)};
  }

 private:
  void start(Index tasks, Site site) {
    detail::start_state("UncertaintyWeights", log_variances, tasks, std::clamp(options.start, -80.0, 80.0), site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
