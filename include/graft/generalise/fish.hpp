#pragma once
// Fish. Shi, Seely, Torr, Siddharth, Hannun, Usunier, Synnaeve, "Gradient matching for domain generalization", ICLR
// 2022: inner steps over the domains one after another, which to second order in their rate raise the inner products of
// the domains' gradients. It is Reptile (Nichol, Achiam, Schulman 2018) with domains as batches.

#include <cmath>
#include <vector>

#include "graft/common/domains.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Fish`. The outer step is the caller's: `Sgd` with the rate 0.5 is DomainBed's.
struct FishOptions {
  double alpha = 1e-3;  ///< rate of the inner steps; 0: empirical risk
};

/// A scalar with the mean of the inner steps' losses as its value and  theta - theta~  as its gradient, where theta~ is
/// what one plain gradient step on each domain, in an order drawn by the context's numbers, makes of theta: averaged
/// over the orders of two domains  alpha (g_1 + g_2) - alpha^2 / 2 d <g_1, g_2> / d theta + .... It is the gradient of
/// no function: a second derivative of it is zero and means nothing. At rate 0 it is the mean of the losses with
/// its own gradient, the direction that theta - theta~ tends to. (DomainBed's inner steps are Adam's, which keeps its
/// moments.) `loss(model, domain, context)` is a scalar.
template <class Loss = ClassificationLoss>
struct Fish {
  static constexpr DataNeeds needs{.domains = true};
  FishOptions options = {};
  Loss loss = {};

  /// Throws ValueError for one domain, a rate below 0, and when a loss or theta~ is not finite; ShapeError
  /// for items without labels.
  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index /*step*/, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Fish", site);
    detail::check_option<T>("Fish", "alpha", options.alpha, detail::Range::not_negative, site);
    detail::check_domains("Fish", domains, 2, site);
    std::vector<Tensor<T>> losses;
    if (options.alpha == 0) {
      for (const LabelledSet<T>& domain : domains) losses.push_back(loss(model, domain, context));
      return detail::mean_of(losses);
    }
    const M theta = detach(model);
    M phi = theta;
    {
      const Recording off(false);
      for (const Index d : context->stream("domains").permutation(static_cast<Index>(domains.size()))) {
        const LabelledSet<T>& domain = domains[static_cast<std::size_t>(d)];
        const auto [value, slope] =
            value_and_grad([&](const M& at) { return loss(at, domain, context); }, phi, {.create_graph = false}, site);
        if (!std::isfinite(value.item())) fail("Fish", {"the loss of domain ", d, " is not finite"}, {}, site);
        losses.push_back(value);
        phi = axpy(-options.alpha, slope, phi, site);
      }
      if (!all_finite(phi)) fail("Fish", "the parameters after the inner steps are not finite", {}, site);
      phi = axpy(-1, phi, theta, site);  // theta - theta~
    }
    return detail::with_gradient(detail::mean_of(losses), model, phi);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
