#pragma once
// Two losses of two numbers whose Pareto front is known, and on which following the mean of the gradients stops short
// of it. Liu, Liu, Jin, Stone, Liu, "Conflict-averse gradient descent for multi-task learning", NeurIPS 2021 (its toy
// example); with the first loss a tenth as large: Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya,
// "Multi-task learning as a bargaining game", ICML 2022.

#include <cmath>

#include "graft/core/options.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/map.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `pareto_toy_losses`.
struct ParetoToyOptions {
  double scale = 1;  ///< factor of the first loss: 1 in CAGrad's toy, 0.1 in Nash-MTL's
};

/// The losses (f1, f2) of points x = (x1, x2), [2] -> [2] or [..., 2] -> [..., 2]:
///   f1 = c(x2) (ln max(|(-x1 - 7) / 2 - tanh(-x2)|, 5e-6) + 6) + c(-x2) (((7 - x1)^2 + (x2 + 8)^2 / 10) / 10 - 20)
///   f2(x1, x2) = f1(-x1, x2),  c(z) = max(tanh(z / 2), 0)
/// and f1 times `scale`. Above x2 = 0 each loss has a valley along x1 = -+(7 - 2 tanh x2) that is as steep as its
/// gradient is long; below there are two bowls. f1 is least at (7, -8.434), f2 at (-7, -8.434), both -20 tanh(4.217) +
/// ..., and between them lies the front; see `pareto_toy_front`. On x2 = 0 both losses are 0: the slope of max(z, 0) at
/// z = 0 is 1 here, as torch.clamp has it; with a slope of 0 every method would stay at a point with x2 = 0 for ever.
/// Differentiable to any order off the kinks. Throws ShapeError, ValueError for a scale that is not above 0.
template <Real T>
Tensor<T> pareto_toy_losses(const Tensor<T>& x, const ParetoToyOptions& o = {}, Site site = Site::current()) {
  const char* op = "pareto_toy_losses";
  detail::check_option<T>(op, "scale", o.scale, detail::Range::positive, site);
  if (x.rank() < 1 || x.size(-1) != 2) fail<ShapeError>(op, "expected points [..., 2]", {{"x", x.shape()}}, site);
  const Tensor<T> side = tensor<T>({1, -1}), scale = tensor<T>({static_cast<T>(o.scale), 1});
  return map(
      [](auto x1, auto x2, auto mirror, auto factor) {
        const auto u = mirror * x1, up = tanh(0.5 * x2), down = tanh(-0.5 * x2);
        const auto far = abs(0.5 * (-7 - u) - tanh(-x2));
        const auto valley = log(where(far > 5e-6, far, 5e-6)) + 6;
        const auto bowl = 0.1 * (square(7 - u) + 0.1 * square(x2 + 8)) - 20;
        return factor * (where(up >= 0, up, 0) * valley + where(down >= 0, down, 0) * bowl);
      },
      slice(x, -1, 0, 1), slice(x, -1, 1, 2), side, scale, site);
}

/// The x2 of the Pareto front at x1 in [-7, 7]. Where w (7 - x1) = (1 - w) (7 + x1), w f1 + (1 - w) f2 has slope 0
/// along x1 and is tanh(-x2 / 2) q, q = (49 - x1^2) / 10 + (x2 + 8)^2 / 100 - 20, so its slope along x2 is 0 where
///   (x2 + 8) sinh(x2) / 50 = -q:   x2 = -8.3552 at x1 = 0, -8.434 at x1 = -+7.
/// The front does not depend on the losses' scales. Throws ValueError for an x1 outside.
inline double pareto_toy_front(double x1, Site site = Site::current()) {
  if (!(x1 >= -7 && x1 <= 7)) fail("pareto_toy_front", {"x1 is ", x1, ", expected in [-7, 7]"}, {}, site);
  double low = -9, high = -8;  // the left side minus the right falls from 81 to below 0
  for (int halving = 0; halving < 60; ++halving) {
    const double x2 = (low + high) / 2, up = x2 + 8;
    (0.02 * up * std::sinh(x2) + (49 - x1 * x1) / 10 + 0.01 * up * up > 20 ? low : high) = x2;
  }
  return (low + high) / 2;
}

}  // namespace GRAFT_ABI
}  // namespace graft
