#pragma once
// Linear systems whose unknown is a model, given by what the matrix does to one: Hessians and Gauss-Newton matrices are
// never formed.

#include <cmath>
#include <type_traits>

#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// When `conjugate_gradient` ends, and its damping.
struct ConjugateGradientOptions {
  int iterations = 10;       ///< at most
  double tolerance = 1e-10;  ///< ends when |b - A x| <= tolerance |b|
  double damping = 0;        ///< lambda: solves (A + lambda I) x = b
};

/// What `conjugate_gradient` returns.
template <Model M>
struct ConjugateGradientResult {
  M solution;
  int iterations = 0;   ///< done
  double residual = 0;  ///< |b - (A + lambda I) solution| / |b|, as the recurrence has it
};

namespace detail {

template <Model M>
double inner_product(const M& a, const M& b, Site site) {
  if constexpr (is_tensor<M>)
    return static_cast<double>(sum(a * b).item());
  else
    return static_cast<double>(dot(a, b, site).item());
}

}  // namespace detail

/// Solves (A + lambda I) x = b for a symmetric positive definite A from x = 0, `apply(v)` being A v. Hestenes and
/// Stiefel, J. Res. NBS 49, 1952. Carries no gradient. Ends early when the residual is small enough or a direction of
/// curvature 0 or below is met. Throws ValueError for options outside their range.
///
///     const auto step = conjugate_gradient([&](const Net& v) { return hvp(loss, net, v).second; }, gradient);
template <Model M, class Apply>
ConjugateGradientResult<M> conjugate_gradient(Apply apply, const M& b, const ConjugateGradientOptions& options = {},
                                              Site site = Site::current()) {
  using detail::Range;
  detail::check_option<double>("conjugate_gradient", "tolerance", options.tolerance, Range::not_negative, site);
  detail::check_option<double>("conjugate_gradient", "damping", options.damping, Range::not_negative, site);
  if (options.iterations < 0)
    fail("conjugate_gradient", {"iterations is ", options.iterations, ", expected 0 or more"}, {}, site);
  const Recording off(false);
  ConjugateGradientResult<M> result{zeros_like(b)};
  M residual = detach(b), direction = residual;
  const double start = detail::inner_product(residual, residual, site);
  double squared = start;
  const double enough = options.tolerance * options.tolerance * start;
  while (result.iterations < options.iterations && squared > enough) {
    const M product = axpy(options.damping, direction, detach(apply(direction)), site);
    const double curvature = detail::inner_product(direction, product, site);
    if (!(curvature > 0)) break;
    const double length = squared / curvature;
    result.solution = axpy(length, direction, result.solution, site);
    residual = axpy(-length, product, residual, site);
    const double next = detail::inner_product(residual, residual, site);
    direction = axpy(next / squared, direction, residual, site);
    squared = next;
    ++result.iterations;
  }
  result.residual = start > 0 ? std::sqrt(squared / start) : 0;
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
