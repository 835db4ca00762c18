#pragma once
// Empirical risk minimisation over domains. Vapnik, "Statistical learning theory", 1998: what every method of domain
// generalisation is to be compared with. Gulrajani, Lopez-Paz, "In search of lost domain generalization", ICLR 2021.

#include "graft/common/domains.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// ERM: the mean over domains of the mean cross-entropy R_e of the domain's batch. Batches of unequal sizes weigh the
/// same. Throws ValueError without domains or for one without items, ShapeError for what is no labelled set.
struct Erm {
  static constexpr DataNeeds needs{};

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Erm", site);
    detail::check_domains("Erm", domains, 1, site);
    return detail::mean_of(detail::domain_risks(detail::domain_answers(model, domains, context, site), domains, site));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
