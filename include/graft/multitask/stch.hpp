#pragma once
// Smooth Tchebycheff scalarisation. Lin, Zhang, Yang, Liu, Wang, Zhang, "Smooth Tchebycheff scalarization for
// multi-objective optimization", ICML 2024; the warm-up is that of the authors' code for networks.

#include "graft/common/task_losses.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `stch_loss`.
struct StchLossOptions {
  double mu = 1;                 ///< smoothness; the authors' for networks
  List<double> preference = {};  ///< lambda [tasks], 0 or more; empty: 1 for all, as in the authors' code for networks
  List<double> ideal = {};       ///< z [tasks], what the losses would best be; empty: 0 for all
};

/// mu ln sum_i exp(lambda_i (L_i - z_i) / mu) of `losses` [tasks], shape [], without overflow. For mu -> 0 it is the
/// largest lambda_i (L_i - z_i), at most mu ln(tasks) below it; for mu -> inf, less mu ln(tasks), their mean. The
/// gradient with respect to L_i is lambda_i softmax_i(lambda (L - z) / mu). Differentiable to any order. Throws
/// ShapeError unless there are as many preferences and ideal values as losses, ValueError for a mu that is not above 0,
/// a negative preference and what is not finite among the options.
template <Real T>
Tensor<T> stch_loss(const Tensor<T>& losses, const StchLossOptions& options = {}, Site site = Site::current()) {
  const char* op = "stch_loss";
  detail::check_per_task(op, "losses", losses, site);
  detail::check_option<T>(op, "mu", options.mu, detail::Range::positive, site);
  const auto as_tensor = [&](const char* name, const List<double>& values, detail::Range range) {
    for (const double value : values) detail::check_option<T>(op, name, value, range, site);
    if (values.size() != losses.count())
      fail<ShapeError>(op, {"has ", values.size(), " values of ", name}, {{"losses", losses.shape()}}, site);
    return cast<T>(from_vector(values));
  };
  Tensor<T> x = losses;
  if (!options.ideal.empty()) x = x - as_tensor("ideal", options.ideal, detail::Range::finite);
  if (!options.preference.empty()) x = x * as_tensor("preference", options.preference, detail::Range::not_negative);
  const T mu = static_cast<T>(options.mu);
  return mu * logsumexp(x / mu);
}

/// Options of `Stch`.
struct StchOptions {
  double mu = 1;       ///< smoothness, the authors'
  Index warm_up = 4;   ///< periods on logarithms before the one in which the losses are measured, the authors'
  Index period = 100;  ///< rounds of a period; the authors' is an epoch, however many rounds it has
};

/// STCH as an aggregator, of logarithms of losses relative to what they were after the warm-up. The objective is
///   sum_i ln L_i                                    in the first `warm_up` periods and one more, whose mean losses n
///   tasks mu ln sum_i exp(ln(L_i / n_i) / mu)       afterwards
/// so that the weights of the tasks' gradients are 1 / L_i, then tasks softmax_i(ln(L / n) / mu) / L_i. Multiplying a
/// task's losses by a number changes no direction. As in the authors' code 1e-20 is added to L and to L / n, so a loss
/// of 0 has a finite weight.
///
/// The sums are over the rows of the round; a task that is in it twice counts twice. One that was absent in all of the
/// period that measures is measured in its first round after it. The gradients are not looked at. Throws ValueError
/// without losses, for a loss that is negative or not finite, ShapeError for another number of tasks.
struct Stch {
  StchOptions options;
  Tensor<double> nadir, seen;  ///< [tasks]: n, and of how many losses it is the mean so far
  Tensor<double> round;        ///< []: rounds done
  GRAFT_FIELDS(nadir, seen, round)
  GRAFT_CONFIG(options)

  /// For `tasks` tasks, or, if 0, for as many as there are in the first round, when the state is made. Throws
  /// ValueError.
  explicit Stch(Index tasks = 0, StchOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("Stch", "tasks", tasks, 0, site);
    detail::check_option<double>("Stch", "mu", o.mu, detail::Range::positive, site);
    detail::check_count("Stch", "warm_up", o.warm_up, 0, site);
    detail::check_count("Stch", "period", o.period, 1, site);
    if (tasks > 0) start(tasks, site);
  }

  Combination operator()(TaskGradients& gradients, Site site = Site::current()) {
    const auto now = detail::task_losses("Stch", gradients, detail::Range::not_negative, site);
    start(now.tasks, site);
    List<double> n(host(nadir)), counts(host(seen)), weights;
    const double done = round.item();
    const auto period = static_cast<Index>(done / static_cast<double>(options.period));
    const bool measures = period == options.warm_up, warm = period <= options.warm_up;
    for (Index task : now.present)
      if (measures || (!warm && counts[task] == 0)) n[task] += (now.mean[task] - n[task]) / ++counts[task];
    if (warm) {
      for (const double loss : now.rows) weights.push_back(1 / (loss + kSmall));
    } else {
      const auto unit = [&](Index row) { return std::max(n[now.ids[row]], kSmall); };
      for (Index row = 0; row < now.rows.size(); ++row)
        weights.push_back(std::log(now.rows[row] / unit(row) + kSmall) / options.mu);
      weights = detail::softmax_weights(weights, static_cast<double>(now.rows.size()));
      for (Index row = 0; row < now.rows.size(); ++row) weights[row] /= now.rows[row] + kSmall * unit(row);
    }
    nadir = from_vector(n), seen = from_vector(counts), round = Tensor<double>(done + 1);
    return {.weights = from_vector(weights)};
  }

 private:
  static constexpr double kSmall = 1e-20;
  void start(Index tasks, Site site) {
    detail::start_state("Stch", nadir, tasks, 0, site);
    detail::start_state("Stch", seen, tasks, 0, site);
    if (!round.defined()) round = Tensor<double>(0.0);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
