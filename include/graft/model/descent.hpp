#pragma once
// Gradient descent as a function from model to model: the inner loop that meta-learners share.

#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The steps of `descend`.
struct DescentOptions {
  double alpha = 0.01;       ///< learning rate
  int steps = 1;             ///< gradient steps
  bool first_order = false;  ///< gradients count as constants when the result is differentiated
};

namespace detail {

/// `descend` for a method of the name `op`.
template <class M, class Loss>
M descend(const char* op, Loss loss, const M& theta, const DescentOptions& options, Site site) {
  if (options.steps < 0) fail(op, {"steps is ", options.steps, ", expected 0 or more"}, {}, site);
  for_each_scalar<M>([&]<class T>() { check_option<T>(op, "alpha", options.alpha, Range::finite, site); });
  GradOptions how;
  if (options.first_order) how.create_graph = false;
  M phi = theta;
  for (int k = 0; k < options.steps; ++k) phi = axpy(-options.alpha, grad(loss, phi, how, site), phi, site);
  return phi;
}

}  // namespace detail

/// The model after `steps` gradient steps: phi_0 = theta, phi_{k+1} = phi_k - alpha grad loss(phi_k). `loss(model)` is
/// a scalar. For a tracked `theta` the steps can be differentiated through, to any order, unless `first_order`; an
/// untracked one outside any differentiated function leaves nothing behind. Parameters that the loss does not use, and
/// frozen ones, stay as they are. Throws ValueError for negative steps or a rate that is not finite.
template <Model M, class Loss>
M descend(Loss loss, const M& theta, const DescentOptions& options, Site site = Site::current()) {
  return detail::descend("descend", loss, theta, options, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
