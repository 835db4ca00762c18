#pragma once
// BOIL. Oh, Yoo, Kim, Yun, "BOIL: Towards representation change for few-shot learning", ICLR 2021: MAML whose inner
// steps change the body only, so that features must move to a head that stands still. Defaults of the authors' code.

#include <string>
#include <vector>

#include "graft/common/inner_loop.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The inner loop of `Boil`.
struct BoilOptions {
  std::vector<std::string> head = {"head"};  ///< names of the parameters that the inner steps leave alone
  double alpha = 0.5;                        ///< inner learning rate
  int steps = 1;                             ///< inner gradient steps
  bool first_order = false;                  ///< inner gradients count as constants
};

/// BOIL as a few-shot method: phi_{k+1} = phi_k - alpha grad loss(phi_k, support) in all parameters but those of the
/// head, train_loss = loss(phi_steps, query), whose gradient reaches body and head. `task` has a `support` and a
/// `query`. Throws ValueError for a name that the model does not have, a head of all parameters, negative steps, a rate
/// that is not finite, and when a support loss, the query loss or an adapted parameter is not finite.
template <class Loss = ClassificationLoss>
struct Boil {
  static constexpr Needs needs{.derivatives = 2, .any_ways = false};
  BoilOptions options = {};
  Loss loss = {};

  template <Model M, class Task>
  auto train_loss(const M& model, const Task& task, ContextRef context, Site site = Site::current()) const {
    const Named here("Boil", site);
    const M phi = adapted(model, task.support, context, site);
    return detail::finite_query("Boil", loss(phi, task.query, context), options.steps, site);
  }

  template <Model M, class Set>
  AdaptedModel<M> adapt(const M& model, const Set& support, const Tensor<ModelScalar<M>>& = {},
                        ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("Boil", site);
    return {detail::finite_model("Boil", adapted(model, support, context, site), options.steps, site)};
  }

 private:
  template <class M, class Set>
  M adapted(const M& theta, const Set& support, ContextRef context, Site site) const {
    const auto support_loss = [&](const M& phi, int step) {
      return detail::finite_support("Boil", loss(phi, support, context), step, site);
    };
    const Only body = detail::body_parts("Boil", theta, options.head, site);
    return detail::descend_parts("Boil", support_loss, theta, body, {options.alpha, options.steps, options.first_order},
                                 site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
