#pragma once
// Domain-adversarial training. Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky,
// "Domain-adversarial training of neural networks", JMLR 2016: a discriminator learns to tell domains apart by their
// features, and the body, behind a reversed gradient, to make that impossible.

#include <algorithm>
#include <cmath>
#include <utility>

#include "graft/common/adversarial_model.hpp"
#include "graft/common/domains.hpp"
#include "graft/common/gradient_reversal.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Dann`. lambda is DomainBed's, the schedule that of the paper.
struct DannOptions {
  double lambda = 1;    ///< of the reversed gradient; 0: plain risk minimisation, the discriminator learns nothing
  double schedule = 0;  ///< above 0: lambda (2 / (1 + exp(-schedule p)) - 1) after a share p of all steps; the paper's
                        ///< is 10
  Index steps = 0;      ///< all steps, for the schedule
  double penalty = 0;   ///< of the discriminator's squared gradient in its input, DomainBed's `grad_penalty`; above 0
                        ///< derivatives of order 2 are taken
};

/// The factor of the reversed gradient at `step`. Throws ValueError for a schedule without steps.
inline double dann_lambda(const DannOptions& options, Index step, Site site = Site::current()) {
  if (options.schedule == 0) return options.lambda;
  detail::check_option<double>("dann_lambda", "schedule", options.schedule, detail::Range::not_negative, site);
  if (options.steps < 1) fail("dann_lambda", {"a schedule over ", options.steps, " steps"}, {}, site);
  const double done = std::min(1.0, static_cast<double>(step) / static_cast<double>(options.steps));
  return options.lambda * (2 / (1 + std::exp(-options.schedule * done)) - 1);
}

/// DANN as a method of domain generalisation, for a model with `body`, `head` and `discriminator`
/// (common/adversarial_model.hpp):
///   mean_e R_e + CE(discriminator(reversed z), domain),   z = body(x),
/// one scalar whose gradient lets the discriminator descend and the body ascend, lambda times, the second term, as in
/// the paper. (DomainBed takes steps of either in turn, with an optimiser each.) A discriminator that sees no
/// difference has ln(domains). With a penalty p the second term has p mean_i |d sum_j CE_j / d z_i|^2 besides. Throws
/// ValueError for fewer than two domains, one without items, an option below 0, ShapeError for features that are not
/// [items, width] or a discriminator of fewer domains.
struct Dann {
  static constexpr DataNeeds needs{.domains = true};
  DannOptions options = {};

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index step, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Dann", site);
    detail::check_domains("Dann", domains, 2, site);
    for (const auto& [name, value] : {std::pair("lambda", options.lambda), std::pair("schedule", options.schedule),
                                      std::pair("penalty", options.penalty)})
      detail::check_option<T>("Dann", name, value, detail::Range::not_negative, site);
    if (options.schedule > 0) detail::check_count("Dann", "steps", options.steps, 1, site);
    const auto [features, risk] = detail::features_and_risk("Dann", model, domains, context, site);
    if (options.lambda == 0) return risk;
    const double lambda = dann_lambda(options, step, site);
    const Tensor<T> z = lambda == 0 ? features.detach() : reverse_gradient(features, lambda, site);
    return risk + detail::adversary_loss("Dann", model.discriminator, z, detail::domain_labels(domains), domains.size(),
                                         Tensor<T>(), options.penalty, context, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
