#pragma once
// Model-agnostic meta-learning. Finn, Abbeel, Levine, "Model-agnostic meta-learning for fast adaptation of deep
// networks", ICML 2017, Algorithm 2: learn initial parameters from which a few gradient steps on a task's support set
// lead to a low loss on its query set. The outer loop is the caller's, one gradient a task and a step with their mean:
//
//     auto meta_loss = [&](const Net& theta) { return maml_loss(theta, episode, loss, {.alpha = 0.4}); };
//     const auto [value, gradient] = value_and_grad(meta_loss, net);
//
// `Maml` is the same as a few-shot method (common/few_shot.hpp): `Maml<>{{.alpha = 0.4}}.train_loss(net, episode,
// context)`.

#include "graft/common/inner_loop.hpp"
#include "graft/model/descent.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Inner loop of MAML. The defaults are the authors' for 5-way 1-shot Omniglot.
struct MamlOptions {
  double alpha = 0.4;        ///< inner learning rate
  int steps = 1;             ///< inner gradient steps
  bool first_order = false;  ///< FOMAML: inner gradients count as constants
};

/// The model after `steps` gradient steps on the support set: phi_0 = theta, phi_{k+1} = phi_k - alpha grad loss(phi_k,
/// support). `loss(model, set)` is a scalar. For a tracked `theta` the steps can be differentiated through, to any
/// order, unless `first_order`; an untracked one (adaptation at test time) leaves nothing behind. Parameters that the
/// loss does not use, and frozen ones, stay as they are. Throws ValueError for negative steps or a rate that is not
/// finite.
template <Model M, class Set, class Loss>
M maml_adapt(const M& theta, const Set& support, Loss loss, const MamlOptions& options, Site site = Site::current()) {
  const auto support_loss = [&](const M& phi) { return loss(phi, support); };
  const DescentOptions inner{options.alpha, options.steps, options.first_order};
  return detail::descend("maml_adapt", support_loss, theta, inner, site);  // lines 5-7
}

/// Meta-loss of one task: the query loss after adaptation (line 10). `task` has a `support` and a `query`. Its gradient
/// with respect to `theta` is  prod_k (I - alpha H_k) grad loss(phi, query)  with H_k the Hessian of the support loss
/// at phi_k; first order: grad loss(phi, query).
template <Model M, class Task, class Loss>
auto maml_loss(const M& theta, const Task& task, Loss loss, const MamlOptions& options, Site site = Site::current()) {
  return loss(maml_adapt(theta, task.support, loss, options, site), task.query);
}

/// MAML, or FOMAML with `options.first_order`, as a few-shot method for any model that `loss(model, set, context)`
/// takes. `task` has a `support` and a `query`. Throws as `maml_adapt`, and ValueError when a support loss, the query
/// loss or an adapted parameter is not finite.
template <class Loss = ClassificationLoss>
struct Maml {
  static constexpr Needs needs{.derivatives = 2, .any_ways = false};
  MamlOptions options = {};
  Loss loss = {};

  template <Model M, class Task>
  auto train_loss(const M& model, const Task& task, ContextRef context, Site site = Site::current()) const {
    const Named here("Maml", site);
    const M phi = adapted(model, task.support, context, site);
    return detail::finite_query("Maml", loss(phi, task.query, context), options.steps, site);
  }

  template <Model M, class Set>
  AdaptedModel<M> adapt(const M& model, const Set& support, const Tensor<ModelScalar<M>>& = {},
                        ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("Maml", site);
    return {detail::finite_model("Maml", adapted(model, support, context, site), options.steps, site)};
  }

 private:
  template <class M, class Set>
  M adapted(const M& theta, const Set& support, ContextRef context, Site site) const {
    int step = 0;
    const auto support_loss = [&](const M& phi, const Set& set) {
      return detail::finite_support("Maml", loss(phi, set, context), step++, site);
    };
    return maml_adapt(theta, support, support_loss, options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
