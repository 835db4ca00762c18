#pragma once
// Impartial multi-task learning, the part for losses, IMTL-L. Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, "Towards
// impartial multi-task learning", ICLR 2021.

#include "graft/common/task_losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// sum_i (e^{s_i} L_i - s_i), shape []: to be minimised over the model and over `scales` s [tasks] at once. For frozen
/// `losses` [tasks] above 0 the least value is sum_i (1 + ln L_i), where all scaled losses e^{s_i} L_i are 1: tasks
/// count alike whatever their losses' units. It is twice `uncertainty_loss` with -s for s. A loss of 0 or below has no
/// such s: its s rises without end. Differentiable in both, to any order. Throws ShapeError.
template <Real T>
Tensor<T> imtl_l_loss(const Tensor<T>& losses, const Tensor<T>& scales, Site site = Site::current()) {
  detail::check_losses("imtl_l_loss", losses, "scales", scales, site);
  return sum(exp(scales) * losses - scales);
}

/// Options of `ImtlL`.
struct ImtlLOptions {
  double learning_rate = 0.05;  ///< of s; ours, as the authors train s with the model's optimiser
  double start = 0;             ///< s of every task at first, the authors'
};

/// IMTL-L as an aggregator: the weights of the tasks' gradients are e^{s_i}, those of `imtl_l_loss`; then s takes a
/// step of gradient descent,
///   s_i <- s_i - learning_rate d_i,   d_i = e^{s_i} L_i - 1 but 1 at most.
/// So d_i is the gradient for losses up to 2 e^{-s_i}, and one of 1e30 moves s no further than these. At frozen losses
/// the weights converge to 1 / L. s is kept in [-80, 80], so that the weights are numbers that float has: the weight of
/// a task whose loss stays 0 grows to e^80. A task that is in the round twice counts with its mean loss, an absent one
/// keeps its s. The gradients are not looked at. Throws ValueError without losses, for a loss that is negative or not
/// finite, ShapeError for another number of tasks.
struct ImtlL {
  ImtlLOptions options;
  Tensor<double> scales;  ///< s [tasks]
  GRAFT_FIELDS(scales)
  GRAFT_CONFIG(options)

  /// For `tasks` tasks, or, if 0, for as many as there are in the first round, when the state is made. Throws
  /// ValueError.
  explicit ImtlL(Index tasks = 0, ImtlLOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("ImtlL", "tasks", tasks, 0, site);
    detail::check_option<double>("ImtlL", "learning_rate", o.learning_rate, detail::Range::not_negative, site);
    detail::check_option<double>("ImtlL", "start", o.start, detail::Range::finite, site);
    if (tasks > 0) start(tasks, site);
  }

  Combination operator()(TaskGradients& gradients, Site site = Site::current()) {
    const auto round = detail::task_losses("ImtlL", gradients, detail::Range::not_negative, site);
    start(round.tasks, site);
    List<double> s(host(scales)), weights;
    for (Index task : round.ids) weights.push_back(std::exp(s[task]));
    for (Index task : round.present) {
      const double slope = std::min(std::exp(s[task]) * round.mean[task] - 1, 1.0);
      s[task] = std::clamp(s[task] - options.learning_rate * slope, -80.0, 80.0);
    }
    scales = from_vector(s);
    return {.weights = from_vector(weights)};
  }

 private:
  void start(Index tasks, Site site) {
    detail::start_state("ImtlL", scales, tasks, std::clamp(options.start, -80.0, 80.0), site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
