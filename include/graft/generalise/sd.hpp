#pragma once
// Spectral decoupling. Pezeshki, Kaba, Bengio, Courville, Precup, Lajoie, "Gradient starvation: a learning proclivity
// in neural networks", NeurIPS 2021: a penalty on the logits instead of on the weights lets weaker features be learnt
// beside the strongest. In the form and with the weight of DomainBed.

#include <vector>

#include "graft/common/domains.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `SpectralDecoupling`.
struct SpectralDecouplingOptions {
  double weight = 0.1;  ///< lambda; 0: empirical risk
};

/// Mean of the domains' risks + lambda times the mean square of all logits.
struct SpectralDecoupling {
  static constexpr DataNeeds needs{};
  SpectralDecouplingOptions options = {};

  /// Throws ValueError without domains and for a weight below 0, ShapeError for items without labels.
  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index /*step*/, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("SpectralDecoupling", site);
    detail::check_option<T>("SpectralDecoupling", "weight", options.weight, detail::Range::not_negative, site);
    detail::check_domains("SpectralDecoupling", domains, 1, site);
    const Tensor<T> logits = answer_of(model, detail::all_items(domains, site), context);
    const Tensor<T> risk =
        detail::mean_of(detail::domain_risks(detail::by_domain(logits, domains, site), domains, site));
    return options.weight == 0 ? risk : risk + options.weight * mean(square(logits));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
