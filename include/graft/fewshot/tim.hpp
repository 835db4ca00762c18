#pragma once
// Transductive information maximisation. Boudiaf, Masud Ziko, Rony, Dolz, Piantanida, Ben Ayed, "Transductive
// information maximization for few-shot learning", NeurIPS 2020. Formulas and defaults as in the authors' code.

#include "graft/common/transductive.hpp"
#include "graft/core/options.hpp"
#include "graft/model/descent.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How the weights of `Tim` are found: by alternating closed updates (TIM-ADM), or by gradient descent (TIM-GD).
enum class TimSolver { alternating, gradient };

/// Options of `Tim`; the defaults are the authors', except for `alpha`.
struct TimOptions {
  TimSolver solver = TimSolver::alternating;
  int steps = 150;           ///< updates; the authors take 1000 of the gradient, by Adam with rate 1e-4
  double support = 0.1;      ///< lambda, weight of the support's cross-entropy
  double marginal = 1;       ///< weight of the entropy of the mean prediction, which is raised
  double conditional = 0.1;  ///< weight of the mean entropy of the predictions, which is lowered
  double temperature = 15;   ///< squared distances are multiplied by half of it
  bool unit = true;          ///< embeddings are scaled to length 1 first
  double alpha = 0.01;       ///< rate of plain gradient descent
};

/// A classifier of class weights w_k, p_ik = softmax_k(-temperature / 2 |x_i - w_k|^2), that starts as the prototypes
/// and lowers
///   support CE(support) - marginal H(mean over queries of p_i) + conditional mean over queries of H(p_i);
/// logits are those of p. Alternating updates, with lambda = `support` and a = `conditional`, b = `marginal`:
///   q_ik ~ p_ik^(1 + a) / (sum_i p_ik^(1 + a))^(b / (1 + b)), over k to sum 1
///   w_k <- w_k + (sum_i r_ik (x_i - w_k)) / (sum_i t_ik), over support, where r = lambda / (1 + a) (y - p) and t =
///   lambda / (1 + a) y, and over queries, where r = S / Q (q - p) and t = S / Q q, of S support items and Q queries.
/// With the gradient and both entropies at 0 they are prototypes fine-tuned on the support. Unlabelled items, if there
/// are any, are treated as queries. The steps can be differentiated through.
struct Tim {
  TimOptions options;
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.sees = Sees::queries};

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError for other
  /// episodes, ValueError for options out of range.
  template <Real T>
  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    check(episode, site);
    const Named here("Tim", site);
    const Task<T> task(episode, options, site);
    return detail::of_queries(logits(task.others, adapted(task, site), site), episode);
  }

  /// What is lowered, shape [], for weights [ways, width] in the place of the prototypes.
  template <Real T>
  Tensor<T> objective(const Episode<T>& episode, const Tensor<T>& weights, Site site = Site::current()) const {
    check(episode, site);
    const Named here("Tim", site);
    const Task<T> task(episode, options, site);
    return objective_of(task, weights - task.centre, site);
  }
  /// The class weights [ways, width] after `steps` updates.
  template <Real T>
  Tensor<T> weights(const Episode<T>& episode, Site site = Site::current()) const {
    check(episode, site);
    const Named here("Tim", site);
    const Task<T> task(episode, options, site);
    return task.centre + adapted(task, site);
  }

 private:
  /// Embeddings less a constant, on which nothing depends, so that a part that all share costs no accuracy.
  template <class T>
  struct Task {
    Tensor<T> centre, support, others, start;
    Tensor<std::int64_t> labels;

    Task(const Episode<T>& episode, const TimOptions& o, Site site) : labels(episode.support.y) {
      const auto prepared = [&](const Tensor<T>& x) { return o.unit ? unit_rows(x, site) : x; };
      const Tensor<T> x = prepared(episode.support.x);
      centre = detail::finite_mean_row(x);
      support = x - centre;
      others = prepared(detail::items_without_labels(episode, site)) - centre;
      start = prototypes(support, labels, episode.ways, site);
    }
  };

  template <class T>
  void check(const Episode<T>& episode, Site site) const {
    using detail::Range;
    const auto option = [&](const char* name, double value, Range range) {
      detail::check_option<T>("Tim", name, value, range, site);
    };
    option("support", options.support, Range::not_negative);
    option("marginal", options.marginal, Range::not_negative);
    option("conditional", options.conditional, Range::not_negative);
    option("temperature", options.temperature, Range::positive);
    option("alpha", options.alpha, Range::finite);
    detail::check_count("Tim", "steps", options.steps, 0, site);
    detail::check_embedded("Tim", episode, site);
  }

  template <class T>
  Tensor<T> logits(const Tensor<T>& x, const Tensor<T>& weights, Site site) const {
    return (-0.5 * options.temperature) * squared_distances(x, weights, site);
  }

  template <class T>
  Tensor<T> objective_of(const Task<T>& task, const Tensor<T>& weights, Site site) const {
    const Tensor<T> fit = options.support * cross_entropy(logits(task.support, weights, site), task.labels, {}, site);
    const Index queries = task.others.size(0);
    if (queries == 0) return fit;
    const Tensor<T> log_p = log_softmax(logits(task.others, weights, site), 1, site);
    const Tensor<T> log_mean = logsumexp(log_p, {0}) - std::log(static_cast<double>(queries));
    const Tensor<T> marginal = -sum(exp(log_mean) * log_mean);
    const Tensor<T> conditional = -sum(exp(log_p) * log_p) / static_cast<T>(queries);
    return fit - options.marginal * marginal + options.conditional * conditional;
  }

  template <class T>
  Tensor<T> adapted(const Task<T>& task, Site site) const {
    if (options.solver == TimSolver::gradient) {
      const auto loss = [&](const Tensor<T>& weights) { return objective_of(task, weights, site); };
      return detail::descend("Tim", loss, task.start, {options.alpha, options.steps, false}, site);
    }
    Tensor<T> weights = task.start;
    if (task.others.size(0) == 0) return weights;
    const double power = 1 + options.conditional, share = options.marginal / (1 + options.marginal);
    const double supported = options.support / power;
    const double queried = static_cast<double>(task.support.size(0)) / static_cast<double>(task.others.size(0));
    const Tensor<T> y = one_hot<T>(task.labels, weights.size(0));
    const auto total = [](const Tensor<T>& x) { return reshape(sum(x, {0}), {x.size(1), 1}); };
    /// sum_i r_ik (x_i - w_k)
    const auto pull = [&](const Tensor<T>& r, const Tensor<T>& x) {
      return matmul(r, x, {.transpose_a = true}, site) - total(r) * weights;
    };
    for (int step = 0; step < options.steps; ++step) {
      const Tensor<T> p = softmax(logits(task.support, weights, site), 1, site);
      const Tensor<T> log_p = log_softmax(logits(task.others, weights, site), 1, site);
      const Tensor<T> q = softmax(power * log_p - share * logsumexp(power * log_p, {0}, true), 1, site);
      const Tensor<T> pulled = supported * pull(y - p, task.support) + queried * pull(q - exp(log_p), task.others);
      weights = weights + pulled / (supported * total(y) + queried * total(q));
    }
    return weights;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
