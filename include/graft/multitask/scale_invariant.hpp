#pragma once
// Scale-invariant scalarisation, SI: the sum of the logarithms of the losses, a baseline of Navon, Shamsian, Achituve,
// Maron, Kawaguchi, Chechik, Fetaya, "Multi-task learning as a bargaining game", ICML 2022. Compared with the authors'
// code.

#include "graft/common/task_losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// sum_i log L_i of `losses` [tasks], shape []. Its gradient with respect to L_i is 1 / L_i, so multiplying a loss by a
/// constant moves the sum and changes no gradient of the parameters. It is tasks log GLS: a direction is that of
/// `gls_loss`, tasks / GLS times as long, so that steps do not shorten as the losses fall. Differentiable to any order.
/// Throws ShapeError, and ValueError for a loss that is not a finite number above 0.
template <Real T>
Tensor<T> si_loss(const Tensor<T>& losses, Site site = Site::current()) {
  detail::positive_losses("si_loss", losses, site);
  return sum(log(losses));
}

/// SI as an aggregator: the weight of a row is 1 / L_i over the losses of the round; a task that is in it twice is two
/// terms. No state. The gradients are not looked at. Throws ValueError without losses, and for one that is not a finite
/// number above 0 with a finite reciprocal.
struct ScaleInvariant {
  GRAFT_FIELDS()

  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    const auto round = detail::task_losses("ScaleInvariant", gradients, detail::Range::positive, site);
    List<double> weights;
    for (Index row = 0; row < round.rows.size(); ++row) {
      weights.push_back(1 / round.rows[row]);
      if (!std::isfinite(weights[row]))
        fail("ScaleInvariant", {"the loss of task ", round.ids[row], " is ", round.rows[row], ", 1 / it too large"}, {},
             site);
    }
    return {.weights = from_vector(weights)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
