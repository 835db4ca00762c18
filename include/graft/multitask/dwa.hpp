#pragma once
// Dynamic weight averaging. Liu, Johns, Davison, "End-to-end multi-task learning with attention", CVPR 2019.

#include "graft/common/task_losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Dwa`.
struct DwaOptions {
  double temperature = 2;  ///< the authors'
  Index period = 100;      ///< rounds whose losses make one mean; the authors' is an epoch, however many rounds it has
};

/// w_i = tasks softmax_i(r / temperature),  r_i = L_i(t - 1) / L_i(t - 2)
/// with L_i(t) the mean of task i's losses in period t: a task whose loss falls more slowly than the others' weighs
/// more. The weights of all tasks sum to their number and change at the end of a period; in the first two periods they
/// are 1. A ratio counts as 1 for a task without two means, or if both are 0, and as 1e6 where it is above. A task
/// that is in the round twice counts with its mean loss; one that is absent for a period keeps its means, and all tasks
/// are in the softmax whether in the round or not. Multiplying a task's losses by a number changes nothing. The
/// gradients are not looked at. Throws ValueError without losses, for a loss that is negative or not finite, ShapeError
/// for another number of tasks.
struct Dwa {
  DwaOptions options;
  Tensor<double> sum, count;    ///< [tasks]: of the losses in this period so far
  Tensor<double> last, before;  ///< [tasks]: means of the latest two periods that a task was in
  Tensor<double> periods;       ///< [tasks]: how many of these two there are
  Tensor<double> round;         ///< []: of this period
  GRAFT_FIELDS(sum, count, last, before, periods, round)
  GRAFT_CONFIG(options)

  /// For `tasks` tasks, or, if 0, for as many as there are in the first round, when the state is made. Throws
  /// ValueError.
  explicit Dwa(Index tasks = 0, DwaOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("Dwa", "tasks", tasks, 0, site);
    detail::check_option<double>("Dwa", "temperature", o.temperature, detail::Range::positive, site);
    detail::check_count("Dwa", "period", o.period, 1, site);
    if (tasks > 0) start(tasks, site);
  }

  Combination operator()(TaskGradients& gradients, Site site = Site::current()) {
    const auto now = detail::task_losses("Dwa", gradients, detail::Range::not_negative, site);
    start(now.tasks, site);
    List<double> sums(host(sum)), counts(host(count)), lasts(host(last)), befores(host(before)), known(host(periods));
    List<double> scores(now.tasks), weights;
    for (Index i = 0; i < now.tasks; ++i) {
      const bool plain = known[i] < 2 || (lasts[i] == 0 && befores[i] == 0);
      scores[i] = (plain ? 1 : std::min(lasts[i] / befores[i], 1e6)) / options.temperature;
    }
    const List<double> of_tasks = detail::softmax_weights(scores, static_cast<double>(now.tasks));
    for (Index task : now.ids) weights.push_back(of_tasks[task]);

    for (Index task : now.present) sums[task] += now.mean[task], ++counts[task];
    double done = round.item() + 1;
    if (done >= static_cast<double>(options.period)) {
      done = 0;
      for (Index i = 0; i < now.tasks; ++i) {
        if (counts[i] == 0) continue;
        befores[i] = lasts[i];
        lasts[i] = sums[i] / counts[i];
        known[i] = std::min(known[i] + 1, 2.0);
        sums[i] = counts[i] = 0;
      }
    }
    sum = from_vector(sums), count = from_vector(counts), last = from_vector(lasts), before = from_vector(befores);
    periods = from_vector(known), round = Tensor<double>(done);
    return {.weights = from_vector(weights)};
  }

 private:
  void start(Index tasks, Site site) {
    for (Tensor<double>* state : {&sum, &count, &last, &before, &periods})
      detail::start_state("Dwa", *state, tasks, 0, site);
    if (!round.defined()) round = Tensor<double>(0.0);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
