#pragma once
// Model-agnostic meta-learning. Finn, Abbeel, Levine, "Model-agnostic meta-learning for fast adaptation of deep
// networks", ICML 2017, Algorithm 2: learn initial parameters from which a few gradient steps on a task's support set
// lead to a low loss on its query set. The outer loop is the caller's, one gradient a task and a step with their mean:
//
//     auto meta_loss = [&](const Net& theta) { return maml_loss(theta, episode, loss, {.alpha = 0.4}); };
//     const auto [value, gradient] = value_and_grad(meta_loss, net);

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

}  // namespace GRAFT_ABI
}  // namespace graft
