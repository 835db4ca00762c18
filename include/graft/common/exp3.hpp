#pragma once
// What bandits by Exp3 share: Auer, Cesa-Bianchi, Freund, Schapire, "The nonstochastic multiarmed bandit problem", SIAM
// Journal on Computing 2002.

#include <cmath>

#include "graft/common/checks.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// p_i = (1 - gamma) w_i / sum_j w_j + gamma / K of the logarithms of the weights w, [arms]; K arms. Throws ShapeError,
/// ValueError for a gamma outside (0, 1] and for weights that are infinite or NaN.
inline Tensor<double> exp3_probabilities(const Tensor<double>& log_weights, double gamma, Site site = Site::current()) {
  const char* op = "exp3_probabilities";
  detail::check_per_task(op, "log_weights", log_weights, site);
  if (!(gamma > 0 && gamma <= 1)) fail(op, {"gamma is ", gamma, ", expected in (0, 1]"}, {}, site);
  for (const double weight : host(log_weights))
    if (!std::isfinite(weight)) fail(op, {"a log weight is ", weight}, {{"log_weights", log_weights.shape()}}, site);
  return (1 - gamma) * softmax(log_weights, 0, site) + gamma / static_cast<double>(log_weights.count());
}

}  // namespace GRAFT_ABI
}  // namespace graft
