#pragma once
// Draws from gamma and beta distributions. Marsaglia, Tsang, "A simple method for generating gamma variables", ACM
// Transactions on Mathematical Software 2000. Computed in logarithms, so that small shapes do not round to 0.

#include <cmath>

#include "graft/core/options.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// The logarithm of a Gamma(a) number. With d = a - 1/3 and c = 1 / sqrt(9 d) a normal x becomes d v, v = (1 + c x)^3,
/// and is kept with probability min(1, exp(x^2 / 2 + d - d v + d log v)); a below 1 by Gamma(a) = Gamma(a + 1) U^(1/a).
inline double log_gamma_draw(double a, const Random& random) {
  const Random proposals = random.stream("proposal"), chances = random.stream("chance");
  const double raise = a < 1 ? std::log(1 - random.stream("raise").uniform(0)) / a : 0;
  const double d = (a < 1 ? a + 1 : a) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  // Above 0.95 of the proposals are kept: that none of 64 is happens once in 1e83 draws, and then d is the answer.
  for (std::uint64_t trial = 0; trial < 64; ++trial) {
    const double x = proposals.normal(2 * trial), root = 1 + c * x;
    if (root <= 0) continue;
    const double log_v = 3 * std::log(root), v = root * root * root;
    if (std::log(1 - chances.uniform(trial)) < x * x / 2 + d * (1 - v + log_v)) return std::log(d) + log_v + raise;
  }
  return std::log(d) + raise;
}

/// Throws ValueError unless a gamma's shape is a finite number from 1e-250 on, below which its logarithm overflows.
inline void check_gamma_shape(const char* op, const char* name, double value, Site site) {
  check_option<double>(op, name, value, Range::positive, site);
  if (value < 1e-250) fail(op, {name, " is ", value, ", expected 1e-250 or more"}, {}, site);
}

inline double beta_from_gammas(double a, double b, const Random& random) {
  return 1 / (1 + std::exp(log_gamma_draw(b, random.stream("b")) - log_gamma_draw(a, random.stream("a"))));
}

}  // namespace detail

/// A number of the gamma distribution with this shape and scale 1, whose density is x^(shape - 1) e^-x / Gamma(shape).
/// It depends on `random` alone. Throws ValueError for a shape that is not a finite number from 1e-250 on.
inline double gamma_draw(double shape, const Random& random, Site site = Site::current()) {
  detail::check_gamma_shape("gamma_draw", "shape", shape, site);
  return std::exp(detail::log_gamma_draw(shape, random));
}

/// A number in [0, 1] of the beta distribution, whose density is proportional to x^(a - 1) (1 - x)^(b - 1): u / (u + v)
/// of gammas u and v with shapes a and b. Throws ValueError for an a or b that is not a finite number from 1e-250 on.
inline double beta_draw(double a, double b, const Random& random, Site site = Site::current()) {
  detail::check_gamma_shape("beta_draw", "a", a, site);
  detail::check_gamma_shape("beta_draw", "b", b, site);
  return detail::beta_from_gammas(a, b, random);
}

/// Independent numbers of that distribution; element i is drawn from stream i of `random`.
template <Real T = float>
Tensor<T> beta_draws(const Shape& shape, double a, double b, const Random& random, Site site = Site::current()) {
  detail::check_gamma_shape("beta_draws", "a", a, site);
  detail::check_gamma_shape("beta_draws", "b", b, site);
  const auto number = [&](Index i) {
    return static_cast<T>(detail::beta_from_gammas(a, b, random.stream(static_cast<std::uint64_t>(i))));
  };
  return generate(shape, number, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
