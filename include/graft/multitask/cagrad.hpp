#pragma once
// Conflict-averse gradient descent. Liu, Liu, Jin, Stone, Liu, "Conflict-averse gradient descent for multi-task
// learning", NeurIPS 2021.

#include "graft/common/gramian.hpp"
#include "graft/common/simplex_qp.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What the direction is divided by at the end.
enum class CaGradRescale { none, one_plus_c, one_plus_c2 };

/// Options of CAGrad.
struct CaGradOptions {
  double c = 0.5;  ///< how far the direction may be from the mean gradient, relative to that; authors' default
  /// The paper's algorithm divides by nothing; the authors' code by 1 + c (toy problem) or 1 + c^2 (networks).
  CaGradRescale rescale = CaGradRescale::none;
};

/// Weights [tasks] of the tasks' gradients g_i in the combined direction d, from their Gramian [tasks, tasks]: with g_0
/// the mean of the g_i,
///   d maximises  min_i <g_i, d>   subject to   |d - g_0| <= c |g_0|,
/// that is  d = g_0 + c |g_0| g_w / |g_w|,  where w on the simplex minimises  <g_w, g_0> + c |g_0| |g_w|,  g_w = sum_i
/// w_i g_i. Where the minimiser has g_w = 0 every allowed direction that conflicts with no task is as good; d is the
/// one nearest to g_0. (The authors' code adds a small number to |g_w|, and so has nearly g_0 there.) A gradient of
/// less than 1e-14 of the longest one's length may count as 0. c = 0 gives the mean; for c >= 1 no task conflicts with
/// d. Carries no gradient. Throws ShapeError for a Gramian that is not square, ValueError without tasks, for numbers
/// that are not finite and for c below 0.
inline Tensor<double> cagrad_weights(const Tensor<double>& gramian, const CaGradOptions& options = {},
                                     Site site = Site::current()) {
  const detail::HostGramian m("cagrad_weights", gramian, site);
  const double c = options.c;
  detail::check_option<double>("cagrad_weights", "c", c, detail::Range::not_negative, site);
  const Index n = m.tasks();
  const double share = 1 / static_cast<double>(n);
  List<double> weights(n, share), with_mean(n);  // <g_i, g_0>
  double mean_square = 0, longest = 0;
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) with_mean[i] += share * m(i, j);
    mean_square += share * with_mean[i];
    longest = std::max(longest, std::sqrt(m(i, i)));
  }
  const double radius = c * std::sqrt(std::max(mean_square, 0.0));
  if (radius > 0) {
    // |g_w| = min_s (|g_w|^2 / s + s) / 2, so w minimises a quadratic for the right s, which is |g_w| there: it is
    // below |g_w| for smaller s and above for larger. While the same weights are positive w is linear in s, and the
    // square of |g_w| is rest + bend s^2.
    detail::SimplexQp dual(n, m.numbers());
    List<double> slope(n), per_radius(n), movement(n);
    for (Index i = 0; i < n; ++i) per_radius[i] = with_mean[i] / radius;
    double low = 0, high = longest, s = longest;
    bool at_zero = false;
    for (int round = 0; round < 200 && !at_zero; ++round) {
      for (Index i = 0; i < n; ++i) slope[i] = s * per_radius[i];
      dual.solve(slope);
      const double square = dual.square(), length = std::sqrt(std::max(square, 0.0));
      if (std::abs(length - s) <= 1e-14 * s) break;
      (length > s ? low : high) = s;
      movement = dual.movement(per_radius);
      double bend = 0, size = 0;
      for (Index i = 0; i < n; ++i) {
        size += dual.weights()[i] * std::sqrt(m(i, i));
        for (Index j = 0; j < n; ++j) bend += movement[i] * m(i, j) * movement[j];
      }
      const double rest = square - bend * s * s;
      const bool is_zero = rest <= 1e-14 * size * size;  // but for rounding
      at_zero = is_zero && bend <= 1 && (s <= 1e-6 * size || s <= 1e-14 * longest);
      double next = is_zero || bend >= 1 ? 0 : std::sqrt(rest / (1 - bend));
      if (is_zero && low == 0) next = s / 1024;
      if (!(next > low && next < high)) next = 0.5 * (low + high);
      if (next == s || high - low <= 1e-15 * high) break;
      s = next;
    }
    const double length = std::sqrt(std::max(dual.square(), 0.0));
    for (Index i = 0; i < n; ++i)
      weights[i] += radius * (at_zero ? movement[i] : length > 0 ? dual.weights()[i] / length : 0);
  }
  const double divisor = options.rescale == CaGradRescale::none         ? 1
                         : options.rescale == CaGradRescale::one_plus_c ? 1 + c
                                                                        : 1 + c * c;
  for (double& weight : weights) weight /= divisor;
  return from_vector(weights);
}

/// CAGrad as an aggregator.
struct CaGrad {
  CaGradOptions options = {};
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)

  /// Throws ValueError as `cagrad_weights`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    return {.weights = cagrad_weights(gradients.gramian(), options, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
