#pragma once
// Source tasks by what they are worth to the main task, in three ways: how well their gradients agree with its
// gradient; as the arms of a bandit, Auer, Cesa-Bianchi, Freund, Schapire, "The nonstochastic multiarmed bandit
// problem", SIAM Journal on Computing 2002 (Exp3); by the derivative of the validation loss after one step, as the
// meta-learners of weights do, Ren, Zeng, Yang, Urtasun, "Learning to reweight examples for robust deep learning", ICML
// 2018. Their use for substitution is as the catalogue of methods has it.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/common/exp3.hpp"
#include "graft/common/gramian.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/source_plan.hpp"
#include "graft/model/descent.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// q_s = (1 - floor) softmax(scores / tau)_s + floor / R of R scores; as tau goes to 0, equal shares of the largest.
inline Tensor<double> floored_softmax(const Tensor<double>& scores, double tau, double floor) {
  const Tensor<double> below = scores - max(scores);  // its multiples have no infinity less infinity
  return (1 - floor) * softmax(below / tau, 0) + floor / static_cast<double>(scores.count());
}

/// The first source whose running sum of q passes `u` in [0, 1).
inline Index source_at(std::span<const double> q, double u) {
  double sum = 0;
  Index chosen = 0;
  for (std::size_t s = 0; s < q.size(); ++s) {
    if (q[s] > 0) chosen = static_cast<Index>(s);
    sum += q[s];
    if (sum > u) break;
  }
  return chosen;
}

/// A source for every item by q, with draw i of the epoch for item i.
inline std::vector<Index> sources_by(const Tensor<double>& q, const SourceInput& input) {
  const Random random = source_stream(input);
  std::vector<Index> chosen;
  for (const Index item : input.items)
    chosen.push_back(source_at(host(q), random.uniform(static_cast<std::uint64_t>(item))));
  return chosen;
}

inline void check_made_for(const char* op, Index sources, const SourceInput& input, Site site) {
  check_sources(op, input, site);
  if (input.sources != sources) fail<ShapeError>(op, {"made for ", sources, " sources, not ", input.sources}, {}, site);
}

}  // namespace detail

/// Options of `AffinitySubstitution`; all ours.
struct AffinitySubstitutionOptions {
  double rho = 0.25;   ///< share of an item that is filled
  double decay = 0.9;  ///< of the running mean of cosines, in [0, 1)
  double tau = 0.1;    ///< temperature: small for the best source alone, large for all alike
  double floor = 0.1;  ///< e, share of uniform draws, in [0, 1]
};

/// s ~ q = (1 - e) softmax(a / tau) + e / R, where a_s is the running mean of cos(g_0, g_s), g_0 the gradient of the
/// main task and g_s that of source s: a_s <- decay a_s + (1 - decay) cos(g_0, g_s), from 0.
/// Other scores (task affinities, minus distances of tasks) may be put in their place.
struct AffinitySubstitution {
  Buffer<double> scores;  ///< a [sources]
  AffinitySubstitutionOptions options;
  GRAFT_FIELDS(scores)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.domains = true};

  /// Throws ValueError for no sources and options out of range.
  explicit AffinitySubstitution(Index sources, const AffinitySubstitutionOptions& o = {}, Site site = Site::current())
      : options(o) {
    const char* op = "AffinitySubstitution";
    detail::check_count(op, "sources", sources, 1, site);
    detail::check_share(op, "rho", o.rho, site);
    detail::check_share(op, "floor", o.floor, site);
    detail::check_option<double>(op, "decay", o.decay, detail::Range::below_one, site);
    detail::check_option<double>(op, "tau", o.tau, detail::Range::positive, site);
    scores.value = zeros<double>({sources});
  }

  /// Takes in a round's Gramian [1 + sources, 1 + sources] of the gradients, the main task's first. A gradient of 0 has
  /// cosine 0. Throws ShapeError, ValueError for products that are not finite.
  void observe(const Tensor<double>& gramian, Site site = Site::current()) {
    const char* op = "AffinitySubstitution";
    const detail::Cosines cosine(op, gramian, site);
    if (cosine.tasks() != scores.value.count() + 1)
      fail<ShapeError>(op, {"expected a Gramian of the main task and ", scores.value.count(), " sources"},
                       {{"gramian", gramian.shape()}}, site);
    List<double> next(host(scores.value));
    for (Index s = 0; s < next.size(); ++s) next[s] = options.decay * next[s] + (1 - options.decay) * cosine(0, s + 1);
    scores.value = from_vector(next);
  }
  /// q [sources].
  Tensor<double> probabilities() const { return detail::floored_softmax(scores.value, options.tau, options.floor); }

  /// Throws ShapeError for another number of sources, ValueError for a negative epoch or item.
  SourcePlan operator()(const SourceInput& input, Site site = Site::current()) const {
    detail::check_made_for("AffinitySubstitution", scores.value.count(), input, site);
    return {detail::sources_by(probabilities(), input), options.rho};
  }
};

/// Options of `Exp3Substitution`; all ours.
struct Exp3SubstitutionOptions {
  double rho = 0.25;   ///< share of an item that is filled
  double gamma = 0.1;  ///< share of uniform draws, in (0, 1]
};

/// Exp3 with an epoch as a round: one source s ~ p = exp3_probabilities(log w, gamma) fills all items of an epoch, and
/// is paid what the loss on held-out items fell by,
///   reward = (L before - L after) / |L before|, cut to [0, 1];  w_s <- w_s e^(gamma reward / (p_s R)).
struct Exp3Substitution {
  Buffer<double> log_weights;  ///< [sources], the largest 0
  Exp3SubstitutionOptions options;
  GRAFT_FIELDS(log_weights)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.domains = true};

  /// Throws ValueError for no sources and options out of range.
  explicit Exp3Substitution(Index sources, const Exp3SubstitutionOptions& o = {}, Site site = Site::current())
      : options(o) {
    const char* op = "Exp3Substitution";
    detail::check_count(op, "sources", sources, 1, site);
    detail::check_share(op, "rho", o.rho, site);
    log_weights.value = zeros<double>({sources});
    exp3_probabilities(log_weights.value, o.gamma, site);
  }

  /// p [sources].
  Tensor<double> probabilities(Site site = Site::current()) const {
    return exp3_probabilities(log_weights.value, options.gamma, site);
  }

  /// Throws ShapeError for another number of sources, ValueError for a negative epoch or item.
  SourcePlan operator()(const SourceInput& input, Site site = Site::current()) const {
    detail::check_made_for("Exp3Substitution", log_weights.value.count(), input, site);
    const Tensor<double> p = probabilities(site);
    const Index source = detail::source_at(host(p), detail::source_stream(input).uniform(0));
    return {std::vector<Index>(input.items.size(), source), options.rho};
  }

  /// Pays the source of the last epoch. A loss that did not fall, or is not finite, pays 0. Throws IndexError.
  void observe(Index source, double loss_before, double loss_after, Site site = Site::current()) {
    const Index sources = log_weights.value.count();
    if (source < 0 || source >= sources)
      fail<IndexError>("Exp3Substitution", {"source ", source, " of ", sources}, {}, site);
    const double drop = loss_before - loss_after;
    if (!(drop > 0) || !std::isfinite(drop)) return;
    const Tensor<double> probability = probabilities(site);
    List<double> log_w(host(log_weights.value));
    log_w[source] += options.gamma * std::min(1.0, drop / std::abs(loss_before)) /
                     (host(probability)[static_cast<std::size_t>(source)] * static_cast<double>(sources));
    const double largest = *std::max_element(log_w.begin(), log_w.end());
    for (double& weight : log_w) weight -= largest;
    log_weights.value = from_vector(log_w);
  }
};

/// L_val(theta - alpha d/dtheta sum_s q_s L_s(theta)), shape []: the validation loss after one step on the sources'
/// losses `losses_of(model)` [sources] mixed by q [sources]. `validation(model)` is a scalar. A function of q to any
/// order; its gradient is -alpha <grad L_val(theta'), grad L_s(theta)>, which takes a derivative of a gradient. Throws
/// ShapeError unless there is one loss a source, ValueError for an alpha that is not finite.
template <Model M, class Losses, class Validation>
Tensor<ModelScalar<M>> bilevel_value(Losses losses_of, Validation validation, const M& theta,
                                     const Tensor<ModelScalar<M>>& q, double alpha, Site site = Site::current()) {
  const char* op = "bilevel_value";
  detail::check_option<ModelScalar<M>>(op, "alpha", alpha, detail::Range::finite, site);
  const auto mixed = [&](const M& at) {
    const Tensor<ModelScalar<M>> losses = losses_of(at);
    if (q.rank() != 1 || !(losses.shape() == q.shape()))
      fail<ShapeError>(op, "expected losses and q [sources]", {{"losses", losses.shape()}, {"q", q.shape()}}, site);
    return sum(q * losses);
  };
  return validation(axpy(-alpha, grad(mixed, theta, {.create_graph = true}, site), theta, site));
}

/// Options of `BilevelSubstitution`; all ours.
struct BilevelSubstitutionOptions {
  double rho = 0.25;   ///< share of an item that is filled
  double alpha = 0.1;  ///< size of the step that is looked at
  double rate = 1;     ///< of the descent on the scores
  double floor = 0.1;  ///< e, share of uniform draws, in [0, 1]
};

/// s ~ q = (1 - e) softmax(v) + e / R with scores v that follow the validation loss down: v <- v - rate d/dv
/// bilevel_value(q(v)).
struct BilevelSubstitution {
  Buffer<double> scores;  ///< v [sources]
  BilevelSubstitutionOptions options;
  GRAFT_FIELDS(scores)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.domains = true, .derivatives = 2};

  /// Throws ValueError for no sources and options out of range.
  explicit BilevelSubstitution(Index sources, const BilevelSubstitutionOptions& o = {}, Site site = Site::current())
      : options(o) {
    const char* op = "BilevelSubstitution";
    detail::check_count(op, "sources", sources, 1, site);
    detail::check_share(op, "rho", o.rho, site);
    detail::check_share(op, "floor", o.floor, site);
    detail::check_option<double>(op, "alpha", o.alpha, detail::Range::positive, site);
    detail::check_option<double>(op, "rate", o.rate, detail::Range::positive, site);
    scores.value = zeros<double>({sources});
  }

  /// q [sources].
  Tensor<double> probabilities() const { return detail::floored_softmax(scores.value, 1, options.floor); }

  /// One step of the scores at the model `theta`; see `bilevel_value`. Throws ShapeError unless there is one loss a
  /// source, ValueError for a derivative that is not finite.
  template <Model M, class Losses, class Validation>
  void observe(Losses losses_of, Validation validation, const M& theta, Site site = Site::current()) {
    const auto value = [&](const Tensor<double>& v) {
      const auto q = cast<ModelScalar<M>>(detail::floored_softmax(v, 1, options.floor));
      return bilevel_value(losses_of, validation, theta, q, options.alpha, site);
    };
    const Tensor<double> slope = grad(value, scores.value, {.create_graph = false}, site);
    if (!all_finite(slope)) fail("BilevelSubstitution", "the derivative is not finite", {}, site);
    scores.value = scores.value - options.rate * slope;
  }

  /// Throws ShapeError for another number of sources, ValueError for a negative epoch or item.
  SourcePlan operator()(const SourceInput& input, Site site = Site::current()) const {
    detail::check_made_for("BilevelSubstitution", scores.value.count(), input, site);
    return {detail::sources_by(probabilities(), input), options.rho};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
