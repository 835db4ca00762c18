#pragma once
// Gradient descent as a function from model to model: the inner loop that meta-learners share.

#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

struct DescentOptions {
  double alpha = 0.01;       ///< learning rate
  int steps = 1;             ///< gradient steps
  bool first_order = false;  ///< gradients count as constants when the result is differentiated
};

/// The model after `steps` gradient steps: phi_0 = theta, phi_{k+1} = phi_k - alpha grad loss(phi_k). `loss(model)` is a
/// scalar. For a tracked `theta` the steps can be differentiated through, to any order, unless `first_order`; an
/// untracked one outside any differentiated function leaves nothing behind. Parameters that the loss does not use, and
/// frozen ones, stay as they are. Throws ValueError for negative steps or a rate that is not finite.
template <Model M, class Loss>
M descend(Loss loss, const M& theta, const DescentOptions& options, Site site = Site::current()) {
  if (options.steps < 0) fail("descend", {"steps is ", options.steps, ", expected 0 or more"}, {}, site);
  detail::for_each_scalar<M>([&]<class T>() {
    detail::check_option<T>("descend", "alpha", options.alpha, detail::Range::finite, site);
  });
  GradOptions how;
  if (options.first_order) how.create_graph = false;
  M phi = theta;
  for (int k = 0; k < options.steps; ++k) phi = axpy(-options.alpha, grad(loss, phi, how, site), phi, site);
  return phi;
}

}  // namespace GRAFT_ABI
}  // namespace graft
