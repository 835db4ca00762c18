#pragma once
// Invariant risk minimisation in its practical form, IRMv1. Arjovsky, Bottou, Gulrajani, Lopez-Paz, arXiv 1907.02893:
//   min  sum_e R_e(logits) + lambda |d R_e(w logits) / dw at w = 1|^2
// over domains e. The penalty is zero when the same classifier is optimal, up to scale, in every domain.

#include <vector>

#include "graft/common/domains.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of IRM; the defaults are DomainBed's.
struct IrmOptions {
  double penalty_weight = 100;  ///< lambda, after annealing; 0: plain risk minimisation
  int annealing_steps = 500;    ///< steps with weight 1 before
};

/// The weight lambda of the penalty at `step`. It jumps after the annealing; DomainBed starts its optimiser anew there.
inline double irm_weight(const IrmOptions& options, Index step) {
  return detail::annealed_weight(options.penalty_weight, options.annealing_steps, step);
}

/// Penalty of one domain: (d R(w logits) / d w at w = 1)^2, shape []. `risk(logits)` is a scalar. Differentiable in the
/// logits, to any order. The estimate uses the whole batch for both factors, so it is never negative. Throws ShapeError
/// for empty logits or a risk that is no scalar.
template <Real T, class Risk>
Tensor<T> irm_penalty(const Tensor<T>& logits, Risk risk, Site site = Site::current()) {
  if (logits.count() == 0) fail<ShapeError>("irm_penalty", "there are no logits", {{"logits", logits.shape()}}, site);
  const auto risk_of_scale = [&](const Tensor<T>& w) {
    const Tensor<T> value = risk(w * logits);
    if (value.count() != 1)
      fail<ShapeError>("irm_penalty", "the risk must be a scalar",
                       {{"logits", logits.shape()}, {"risk", value.shape()}}, site);
    return value;
  };
  return square(grad(risk_of_scale, Tensor<T>(T(1)), {.create_graph = true}, site));
}

/// Objective over domains: the mean of R_e + weight penalty_e, shape []; with weight 0 of R_e alone. One scalar a
/// domain in each list. Throws ValueError when a list is empty or their lengths differ, ShapeError for what is no
/// scalar.
template <Real T>
Tensor<T> irm_objective(const std::vector<Tensor<T>>& risks, const std::vector<Tensor<T>>& penalties, double weight,
                        Site site = Site::current()) {
  if (risks.empty() || risks.size() != penalties.size())
    fail("irm_objective", {risks.size(), " risks and ", penalties.size(), " penalties"}, {}, site);
  for (std::size_t e = 0; e < risks.size(); ++e)
    if (risks[e].count() != 1 || penalties[e].count() != 1)
      fail<ShapeError>("irm_objective", {"domain ", e, " needs a scalar risk and penalty"},
                       {{"risk", risks[e].shape()}, {"penalty", penalties[e].shape()}}, site);
  if (weight == 0) return detail::mean_of(risks);
  Tensor<T> total = risks[0] + weight * penalties[0];
  for (std::size_t e = 1; e < risks.size(); ++e) total = total + risks[e] + weight * penalties[e];
  return total / static_cast<T>(risks.size());
}

/// IRMv1 as a method of domain generalisation, with the cross-entropy as the risk. Derivatives of order 2 are taken of
/// the risk in the logits, of the model those of order 1. (DomainBed multiplies the slopes of two halves of a batch,
/// which has no bias but may be negative.) Throws ValueError for fewer than two domains, one without items, an option
/// below 0.
struct Irm {
  static constexpr DataNeeds needs{.domains = true};
  IrmOptions options = {};

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index step, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Irm", site);
    detail::check_domains("Irm", domains, 2, site);
    detail::check_count("Irm", "annealing_steps", options.annealing_steps, 0, site);
    detail::check_option<T>("Irm", "penalty_weight", options.penalty_weight, detail::Range::not_negative, site);
    const auto logits = detail::domain_answers(model, domains, context, site);
    const auto risks = detail::domain_risks(logits, domains, site);
    const double weight = irm_weight(options, step);
    if (weight == 0) return detail::mean_of(risks);
    std::vector<Tensor<T>> penalties;
    for (std::size_t e = 0; e < domains.size(); ++e) {
      const auto risk = [&](const Tensor<T>& scaled) { return cross_entropy(scaled, domains[e].y, {}, site); };
      penalties.push_back(irm_penalty(logits[e], risk, site));
    }
    return irm_objective(risks, penalties, weight, site);
  }
  bool restarts_optimiser(Index step) const {
    return detail::weight_jumps(options.penalty_weight, options.annealing_steps, step);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
