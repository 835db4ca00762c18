#pragma once
// Gradients against finite differences: for a user's own ops and losses.

#include <cmath>
#include <utility>

#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `check_gradients` compares.
struct CheckGradientsOptions {
  int orders = 2;             ///< 1: the gradient; 2: Hessian-vector products too; 3: their derivatives
  double step = 4e-3;         ///< largest step of a finite difference; the point must be so far from every kink
  double tolerance = 1e-6;    ///< of the relative error
  Random random = Random(0);  ///< of the directions
};

/// Largest relative error of each order, |slope - difference| / max(1, |difference|).
struct CheckGradientsResult {
  List<double> errors;
  bool passed = true;
};

/// Compares the derivatives of `f(model)`, a scalar, along random directions with central differences, extrapolated
/// twice (Romberg: the error falls as step^6). phi_0 = f, phi_k = <grad phi_(k-1), direction_k>; order k compares the
/// slope of phi_(k-1) with its difference. Frozen parameters stay where they are. For models of doubles: floats round
/// away what is compared. Throws ValueError for options out of range.
template <class F, Model M>
CheckGradientsResult check_gradients(F f, const M& model, const CheckGradientsOptions& options = {},
                                     Site site = Site::current()) {
  static_assert(!detail::may_hold<M, float>, "check_gradients compares in double: give it a model of doubles");
  if (options.orders < 1 || options.orders > 3)
    fail("check_gradients", {"orders is ", options.orders, ", expected 1 to 3"}, {}, site);
  detail::check_option<double>("check_gradients", "step", options.step, detail::Range::positive, site);
  const auto direction = [&](int order) {
    std::uint64_t leaf = 0;
    return zip(
        [&](const auto& x) {
          const Random draws = options.random.stream(static_cast<std::uint64_t>(order)).stream(leaf++);
          return x.frozen() ? zeros<double>(x.shape()) : randn<double>(x.shape(), draws);
        },
        model);
  };
  const M first = direction(1), second = direction(2), third = direction(3);
  const auto inner = [](const M& a, const M& b) {
    if constexpr (detail::is_tensor<M>)
      return sum(a * b);
    else
      return dot(a, b);
  };
  const auto phi1 = [&](const M& x) { return inner(grad(f, x), first); };
  const auto phi2 = [&](const M& x) { return inner(grad(phi1, x), second); };
  CheckGradientsResult result;
  const auto compare = [&](const auto& phi, const M& along) {
    const double slope = static_cast<double>(inner(grad(phi, model), along).item());
    double d[3];
    for (int level = 0; level < 3; ++level) {
      const double h = options.step / (1 << level);
      d[level] = (static_cast<double>(phi(axpy(h, along, model)).item()) -
                  static_cast<double>(phi(axpy(-h, along, model)).item())) /
                 (2 * h);
    }
    const double coarse = (4 * d[1] - d[0]) / 3, fine = (4 * d[2] - d[1]) / 3, difference = (16 * fine - coarse) / 15;
    const double error = std::fabs(slope - difference) / std::fmax(1, std::fabs(difference));
    result.errors.push_back(error);
    result.passed = result.passed && error <= options.tolerance;
  };
  compare(f, first);
  if (options.orders > 1) compare(phi1, second);
  if (options.orders > 2) compare(phi2, third);
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
