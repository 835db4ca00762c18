#pragma once
// Risk extrapolation by its variance, V-REx. Krueger, Caballero, Jacobsen, Zhang, Binas, Zhang, Le Priol, Courville,
// "Out-of-distribution generalization via risk extrapolation", ICML 2021:
//   min  mean_e R_e + beta Var_e(R_e)
// over domains e. Formula and defaults are those of DomainBed (algorithms.py, VREx).

#include "graft/common/domains.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Vrex`; the defaults are DomainBed's.
struct VrexOptions {
  double penalty_weight = 10;  ///< beta, after annealing; 0: plain risk minimisation
  int annealing_steps = 500;   ///< steps with weight 1 before
};

/// mean_e R_e + weight mean_e (R_e - mean)^2, shape []; with weight 0 the mean alone. Equal risks have no penalty, and
/// no gradient of one. Throws ValueError for an empty list, ShapeError for a risk that is no scalar.
template <Real T>
Tensor<T> vrex_objective(const std::vector<Tensor<T>>& risks, double weight, Site site = Site::current()) {
  if (risks.empty()) fail("vrex_objective", "there are no risks", {}, site);
  detail::check_option<T>("vrex_objective", "weight", weight, detail::Range::not_negative, site);
  for (std::size_t e = 0; e < risks.size(); ++e)
    if (risks[e].count() != 1)
      fail<ShapeError>("vrex_objective", {"the risk of domain ", e, " is no scalar"}, {{"risk", risks[e].shape()}},
                       site);
  const Tensor<T> mean = detail::mean_of(risks);
  if (weight == 0) return mean;
  std::vector<Tensor<T>> squares;
  for (const Tensor<T>& risk : risks) squares.push_back(square(risk - mean));
  return mean + static_cast<T>(weight) * detail::mean_of(squares);
}

/// V-REx as a method of domain generalisation. Its weight jumps after the annealing, where DomainBed starts its
/// optimiser anew. Throws ValueError for fewer than two domains, one without items, or an option below 0.
struct Vrex {
  static constexpr DataNeeds needs{.domains = true};
  VrexOptions options = {};

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index step, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Vrex", site);
    detail::check_domains("Vrex", domains, 2, site);
    detail::check_count("Vrex", "annealing_steps", options.annealing_steps, 0, site);
    detail::check_option<T>("Vrex", "penalty_weight", options.penalty_weight, detail::Range::not_negative, site);
    const auto risks = detail::domain_risks(detail::domain_answers(model, domains, context, site), domains, site);
    return vrex_objective(risks, detail::annealed_weight(options.penalty_weight, options.annealing_steps, step), site);
  }
  bool restarts_optimiser(Index step) const {
    return detail::weight_jumps(options.penalty_weight, options.annealing_steps, step);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
