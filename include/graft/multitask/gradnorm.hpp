#pragma once
// Gradient normalisation. Chen, Badrinarayanan, Lee, Rabinovich, "GradNorm: gradient normalization for adaptive loss
// balancing in deep multitask networks", ICML 2018, Algorithm 1.

#include "graft/common/task_losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `GradNorm`.
struct GradNormOptions {
  double alpha = 1.5;            ///< how hard tasks are pulled to a common rate; the authors', 0.12 for alike tasks
  double learning_rate = 0.025;  ///< of ln w; ours
  Index warm_up = 1;             ///< rounds of a task whose mean loss is its L(0); 1, the first alone, is the authors'
};

/// The weights of the tasks' gradients g_i are w, 1 at first; then w takes a step of descent on
///   sum_i | w_i |g_i| - G r_i^alpha |,   G = mean_j w_j |g_j|,   r_i = (L_i / L_i(0)) / mean_j (L_j / L_j(0)),
/// with the targets G r_i^alpha as constants and the means over the tasks of the round, and is scaled so that it sums
/// to the number of tasks. A task that learns more slowly than the others gets a larger gradient: the weights move to
/// where w_i |g_i| is proportional to r_i^alpha, thus equal for alpha = 0. Two things differ from the paper, which
/// steps w by the gradient. The step is by its sign, and in ln w,
///   ln w_i <- ln w_i - learning_rate sign(w_i |g_i| - target_i)   for |g_i| > 0,
/// so weights stay positive, and gradients of 1e-6 and of 1e6 are met alike. And the targets are divided by the mean of
/// r^alpha, so that they sum to what they share out: for an alpha other than 0 and 1 weights of a fixed sum could not
/// reach them otherwise. The objective has a kink at its solution, around which w goes on stepping by `learning_rate`
/// of itself.
///
/// The gradients are those of all parameters that the aggregator acts on; the paper takes the last shared layer alone,
/// for speed. A task that is in the round twice counts with its mean loss and mean norm. An absent one keeps its state,
/// and those present keep the sum of their weights. L(0) is measured on losses above 0; before that, and where all
/// ratios are 0, r_i is 1. Throws ValueError without losses, for a loss that is negative or not finite or a gradient
/// whose square is not finite, ShapeError for another number of tasks.
struct GradNorm {
  GradNormOptions options;
  Tensor<double> task_weights;  ///< w [tasks]
  Tensor<double> first, seen;   ///< [tasks]: L(0), and of how many losses it is the mean so far
  GRAFT_FIELDS(task_weights, first, seen)
  GRAFT_CONFIG(options)

  /// For `tasks` tasks, or, if 0, for as many as there are in the first round, when the state is made. Throws
  /// ValueError.
  explicit GradNorm(Index tasks = 0, GradNormOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("GradNorm", "tasks", tasks, 0, site);
    detail::check_option<double>("GradNorm", "alpha", o.alpha, detail::Range::not_negative, site);
    detail::check_option<double>("GradNorm", "learning_rate", o.learning_rate, detail::Range::not_negative, site);
    detail::check_count("GradNorm", "warm_up", o.warm_up, 1, site);
    if (tasks > 0) start(tasks, site);
  }

  Combination operator()(TaskGradients& gradients, Site site = Site::current()) {
    const auto round = detail::task_losses("GradNorm", gradients, detail::Range::not_negative, site);
    start(round.tasks, site);
    const List<double> norms = norms_of(gradients, round, site);
    List<double> w(host(task_weights)), l0(host(first)), counts(host(seen)), weights;
    for (Index task : round.ids) weights.push_back(w[task]);

    for (Index task : round.present)
      if (counts[task] < static_cast<double>(options.warm_up) && round.mean[task] > 0)
        l0[task] += (round.mean[task] - l0[task]) / ++counts[task];
    const double present = static_cast<double>(round.present.size());
    List<double> r(round.tasks, 1.0);
    double mean_ratio = 0, mean_norm = 0, mean_power = 0, before = 0, after = 0;
    for (Index task : round.present) {
      if (counts[task] > 0) r[task] = round.mean[task] / l0[task];
      mean_ratio += r[task] / present;
      mean_norm += w[task] * norms[task] / present;  // G
      before += w[task];
    }
    for (Index task : round.present) {
      r[task] = mean_ratio > 0 ? std::pow(r[task] / mean_ratio, options.alpha) : 1;
      mean_power += r[task] / present;
    }
    for (Index task : round.present) {
      const double target = mean_norm * r[task] / mean_power;
      const double size = w[task] * norms[task];
      const double sign = size == 0 || size == target ? 0 : size > target ? 1 : -1;
      w[task] *= std::exp(-options.learning_rate * sign);
      after += w[task];
    }
    for (Index task : round.present) w[task] *= before / after;
    task_weights = from_vector(w), first = from_vector(l0), seen = from_vector(counts);
    return {.weights = from_vector(weights)};
  }

 private:
  void start(Index tasks, Site site) {
    detail::start_state("GradNorm", task_weights, tasks, 1, site);
    detail::start_state("GradNorm", first, tasks, 0, site);
    detail::start_state("GradNorm", seen, tasks, 0, site);
  }
  /// |g_i| [tasks], the mean over the rows of a task.
  static List<double> norms_of(TaskGradients& gradients, const detail::TaskLosses& round, Site site) {
    List<double> of_rows, norms(round.tasks);
    const std::span<const double> products = host(gradients.gramian());
    const auto rows = static_cast<std::size_t>(round.rows.size());
    for (std::size_t row = 0; row < rows; ++row) {
      const Index task = round.ids[static_cast<Index>(row)];
      const double square = products[row * rows + row];
      if (!std::isfinite(square)) fail("GradNorm", {"the gradient of task ", task, " has norm^2 ", square}, {}, site);
      of_rows.push_back(std::sqrt(square));
    }
    detail::means_by_task(round.ids, of_rows, norms);
    return norms;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
