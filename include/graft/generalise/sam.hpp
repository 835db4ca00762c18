#pragma once
// Sharpness-aware minimisation. Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-aware minimization for efficiently
// improving generalization", ICLR 2021: descend by the gradient at the worst place nearby. Its adaptive form: Kwon,
// Kim, Park, Choi, "ASAM: adaptive sharpness-aware minimization for scale-invariant learning of deep neural networks",
// ICML 2021, from memory of the paper.

#include <cmath>
#include <vector>

#include "graft/common/domains.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Sam`; the authors' of each paper (rho of the adaptive form: 0.5 to 2).
struct SamOptions {
  double rho = 0.05;      ///< how far off; 0: the loss as it is
  bool adaptive = false;  ///< a step in each parameter w in proportion to |w| + eta
  double eta = 0.01;      ///< of the adaptive form
};

/// The mean over domains of the mean cross-entropy, all items in one call.
struct MeanRisk {
  template <class M, class T>
  Tensor<T> operator()(const M& model, const std::vector<LabelledSet<T>>& domains, ContextRef context,
                       Site site = Site::current()) const {
    return detail::mean_of(detail::domain_risks(detail::domain_answers(model, domains, context, site), domains, site));
  }
};

/// L(theta + e) with the constant  e = rho g / |g|,  g = L'(theta), |.| over all parameters; adaptive
/// e = rho T^2 g / |T g|  with T = |theta| + eta. Its gradient is that of L at theta + e. Both passes get the same
/// random numbers; running statistics are those of the first. Where g is 0, so is e. `loss(model, domains, context)`
/// is a scalar; what domains are is its own matter.
template <class Loss = MeanRisk>
struct Sam {
  static constexpr DataNeeds needs{};
  SamOptions options = {};
  Loss loss = {};

  /// Throws ValueError without domains, for a radius below 0 or an eta that is not above 0, and when the gradient is
  /// not finite; ShapeError for items without labels.
  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index /*step*/, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Sam", site);
    const auto [rho, adaptive, eta] = options;
    detail::check_option<T>("Sam", "rho", rho, detail::Range::not_negative, site);
    detail::check_option<T>("Sam", "eta", eta, detail::Range::positive, site);
    detail::check_domains("Sam", domains, 1, site);
    if (rho == 0) return loss(model, domains, context);
    Context again = static_cast<Context&>(context);
    const M theta = detach(model);
    M away = grad([&](const M& at) { return loss(at, domains, context); }, theta, {.create_graph = false}, site);
    const double floor = eta;
    const auto scaled = [&](const M& direction) {
      return zip(
          [floor](const auto& w, const auto& d) {
            return map([floor](auto size, auto slope) { return (abs(size) + floor) * slope; }, w, d);
          },
          theta, direction);
    };
    if (adaptive) away = scaled(away);
    const double length = static_cast<double>(norm(away).item());
    if (!std::isfinite(length)) fail("Sam", "the gradient is not finite", {}, site);
    if (adaptive) away = scaled(away);
    const double share = length > 0 ? rho / length : 0;
    return loss(axpy(share, detach(away), model, site), domains, again);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
