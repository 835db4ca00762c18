#pragma once
// Nash-MTL. Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya, "Multi-task learning as a bargaining game",
// ICML 2022. The authors solve for the weights by a sequence of convex programmes; here it is Newton's method on the
// convex function whose stationary point they are.

#include "graft/common/alpha_fair.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The defaults are the authors' but for `iterations`: theirs are 20, of another solver.
struct NashMtlOptions {
  double max_norm = 1;   ///< the direction is scaled down to this length if it is longer; 0: never
  int iterations = 100;  ///< of Newton's method at most; about ten are needed
  int update_every = 1;  ///< of the aggregator: rounds from one solution to the next, with the same weights between
};

namespace detail {

inline void check_nash_mtl(const char* op, const NashMtlOptions& options, Site site) {
  check_option<double>(op, "max_norm", options.max_norm, Range::not_negative, site);
  check_count(op, "iterations", options.iterations, 1, site);
  check_count(op, "update_every", options.update_every, 1, site);
}

/// The weights, scaled down where the direction is longer than `max_norm`.
inline Tensor<double> clip_direction(const Tensor<double>& weights, const HostGramian& m, double max_norm) {
  List<double> w{host(weights)};
  double square = 0;
  for (Index i = 0; i < m.tasks(); ++i)
    for (Index j = 0; j < m.tasks(); ++j) square += w[i] * m.unit() * m(i, j) * m.unit() * w[j];
  if (max_norm > 0 && square > max_norm * max_norm)
    for (double& weight : w) weight *= max_norm / std::sqrt(square);
  return from_vector(w);
}

}  // namespace detail

/// Weights a [tasks] of the tasks' gradients g_i in the combined direction d, from their Gramian M [tasks, tasks]: the
/// Nash bargaining solution
///   (M a)_i = 1 / a_i,   the minimiser over a > 0 of   1/2 a' M a - sum_i ln a_i,
/// which maximises sum_i ln <g_i, d> over directions of one length. All <g_i, d> are above 0, |d|^2 is the number of
/// tasks before it is cut to `max_norm`, and multiplying a task's loss by a number changes nothing. A gradient of 0
/// takes no part in the bargain (its weight is 0). At a Pareto-stationary point no direction improves all tasks, and
/// the weights are 0: that is so when a convex combination of the gradients, each divided by its length, is shorter
/// than 1e-6. Carries no gradient. Throws ShapeError for a Gramian that is not square, ValueError without tasks, for
/// numbers that are not finite, a `max_norm` below 0 and counts below 1.
inline Tensor<double> nash_mtl_weights(const Tensor<double>& gramian, const NashMtlOptions& options = {},
                                       Site site = Site::current()) {
  const detail::HostGramian m("nash_mtl_weights", gramian, site);
  detail::check_nash_mtl("nash_mtl_weights", options, site);
  const Tensor<double> weights = from_vector(detail::alpha_fair_weights(detail::Cosines(m), 1, options.iterations));
  return detail::clip_direction(weights, m, options.max_norm);
}

/// Nash-MTL as an aggregator. With `update_every` above 1 it remembers the weights of its last solution; a round with a
/// task that has no weight above 0 in that is solved anew.
struct NashMtl {
  NashMtlOptions options = {};
  Buffer<double> weights = {};       ///< [all tasks], -1 for tasks with no weight above 0 in the last solution
  Tensor<std::int64_t> rounds = {};  ///< [] rounds so far
  GRAFT_FIELDS(weights, rounds)
  GRAFT_CONFIG(options)

  /// For `tasks` tasks, or, if 0, for as many as there are in the first round; with `update_every` above 1 the number
  /// is needed for restoring from a file. Throws ValueError.
  explicit NashMtl(Index tasks = 0, NashMtlOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("NashMtl", "tasks", tasks, 0, site);
    detail::check_nash_mtl("NashMtl", o, site);
    if (tasks > 0 && o.update_every > 1) forget(tasks);
  }

  /// Throws ValueError as `nash_mtl_weights`, IndexError for a row of no task.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) {
    if (options.update_every == 1) return {.weights = nash_mtl_weights(gradients.gramian(), options, site)};
    const detail::HostGramian m("NashMtl", gradients.gramian(), site);
    detail::check_nash_mtl("NashMtl", options, site);
    detail::check_ids("NashMtl", gradients, site);
    if (!weights.value.defined() || weights.value.count() != gradients.all_tasks) forget(gradients.all_tasks);
    List<double> known{host(weights.value)}, now;
    bool solve = rounds.item() % options.update_every == 0;
    for (Index task : gradients.ids) {
      now.push_back(known[task]);
      solve = solve || known[task] < 0;
    }
    if (solve) {
      now = detail::alpha_fair_weights(detail::Cosines(m), 1, options.iterations);
      std::fill(known.begin(), known.end(), -1.0);
      for (Index i = 0; i < gradients.tasks(); ++i) known[gradients.ids[i]] = now[i] > 0 ? now[i] : -1;
      weights.value = from_vector(known);
    }
    rounds = Tensor<std::int64_t>(rounds.item() + 1);
    return {.weights = detail::clip_direction(from_vector(now), m, options.max_norm)};
  }

 private:
  void forget(Index tasks) {
    weights.value = full<double>({tasks}, -1);
    rounds = Tensor<std::int64_t>(0);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
