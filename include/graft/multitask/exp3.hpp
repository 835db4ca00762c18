#pragma once
// Tasks as the arms of a bandit whose reward is progress. Auer, Cesa-Bianchi, Freund, Schapire, "The nonstochastic
// multiarmed bandit problem", SIAM Journal on Computing 2002 (Exp3); rewards from losses after Graves, Bellemare,
// Menick, Munos, Kavukcuoglu, "Automated curriculum learning for neural networks", ICML 2017.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/common/exp3.hpp"
#include "graft/common/scheduler.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Exp3`.
struct Exp3Options {
  double gamma = 0.1;  ///< share of uniform draws, in (0, 1]; ours: Auer et al. set it from the number of draws to come
};

/// Draws tasks with p = exp3_probabilities(log w, gamma), independently. Before the next round, for every task of the
/// last one:
///   reward_i = (L_i before - L_i after) / |L_i before|, cut to [0, 1];  0 where one of the two is unknown
///   w_i <- w_i exp(gamma reward_i f_i / (p_i K)),  f_i: the share of the places that it had
/// With one place a round this is Exp3; with more, reward_i f_i / p_i is the mean of as many of its estimates. Graves
/// et al. take the drop of the loss on the same items before and after the step, scaled to [-1, 1] by quantiles of all
/// drops so far; here it is the relative drop from the task's last round to this one, which needs neither a second pass
/// nor a history. A loss that rises counts as 0. Weights are kept as logarithms, the largest 0, so that they cannot
/// overflow.
struct Exp3 {
  Buffer<double> log_weights;  ///< [tasks]
  Buffer<double> importance;   ///< [tasks]: f_i / p_i of the last round
  Buffer<double> losses;       ///< [tasks]: what was known before it
  Exp3Options options;
  GRAFT_FIELDS(log_weights, importance, losses)
  GRAFT_CONFIG(options)

  /// Throws ValueError for no tasks and a gamma outside (0, 1].
  explicit Exp3(Index tasks, Exp3Options o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("Exp3", "tasks", tasks, 1, site);
    log_weights.value = importance.value = losses.value = zeros<double>({tasks});
    exp3_probabilities(log_weights.value, o.gamma, site);
  }

  std::vector<Index> operator()(const ScheduleInput& input, Site site = Site::current()) {
    detail::check_schedule("Exp3", input, log_weights.value.count(), site);
    const double tasks = static_cast<double>(input.tasks);
    const List<double> now = detail::known_losses(input), last(host(importance.value)), before(host(losses.value));
    List<double> log_w(host(log_weights.value));
    for (Index i = 0; i < input.tasks; ++i)
      if (last[i] > 0) log_w[i] += options.gamma / tasks * reward(before[i], now[i]) * last[i];
    const double largest = *std::max_element(log_w.begin(), log_w.end());
    for (double& weight : log_w) weight -= largest;
    log_weights.value = from_vector(log_w);

    const Tensor<double> p = exp3_probabilities(log_weights.value, options.gamma, site);
    std::vector<Index> chosen = detail::draw_tasks(p, input.wanted, input.random);
    std::sort(chosen.begin(), chosen.end());
    List<double> drawn(input.tasks);
    for (Index task : chosen)
      drawn[task] += 1 / (static_cast<double>(input.wanted) * host(p)[static_cast<std::size_t>(task)]);
    importance.value = from_vector(drawn);
    losses.value = from_vector(now);
    return chosen;
  }

 private:
  static double reward(double before, double now) {
    const double drop = before - now;
    if (!(drop > 0)) return 0;  // nor is NaN
    return std::min(1.0, drop / std::abs(before));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
