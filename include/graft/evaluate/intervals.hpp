#pragma once
// Means with confidence intervals, and paired differences of methods that answered the same episodes.

#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// P(|T| <= sqrt(freedom) tan(angle)) of Student's t, from its finite series (Abramowitz and Stegun 1964, 26.7.3 and
/// 26.7.4).
inline double student_central(double angle, Index freedom) {
  const double sine = std::sin(angle), cosine = std::cos(angle);
  const bool odd = freedom % 2 == 1;
  double term = odd ? cosine : 1, sum = freedom == 1 ? 0 : term;
  for (Index k = odd ? 3 : 2; k < freedom; k += 2) {
    term *= cosine * cosine * static_cast<double>(k - 1) / static_cast<double>(k);
    sum += term;
  }
  return odd ? 2 / std::numbers::pi * (angle + sine * sum) : sine * sum;
}

/// x in [low, high] at which the rising function `f` reaches `value`.
template <class F>
double where_reached(F f, double value, double low, double high) {
  for (int i = 0; i < 100; ++i) {
    const double middle = 0.5 * (low + high);
    (f(middle) < value ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace detail

/// t for which a variable of Student's distribution with `freedom` degrees of freedom is at most t with the given
/// probability: 2.776 for 0.975 and 4, 1.96 for very many. Throws ValueError unless 0 < probability < 1 and freedom >=
/// 1.
inline double student_quantile(double probability, Index freedom, Site site = Site::current()) {
  if (!(probability > 0 && probability < 1) || freedom < 1)
    fail("student_quantile", {"probability ", probability, " and ", freedom, " degrees of freedom"}, {}, site);
  if (probability < 0.5) return -student_quantile(1 - probability, freedom, site);
  if (freedom <= 1000) {
    const auto central = [&](double angle) { return detail::student_central(angle, freedom); };
    const double angle = detail::where_reached(central, 2 * probability - 1, 0, std::numbers::pi / 2);
    return std::sqrt(static_cast<double>(freedom)) * std::tan(angle);
  }
  // The normal quantile and its corrections in powers of 1 / freedom (Abramowitz and Stegun 1964, 26.7.5).
  const auto normal = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  const double x = detail::where_reached(normal, probability, 0, 40), s = x * x, n = static_cast<double>(freedom);
  return x + x * (s + 1) / (4 * n) + x * ((5 * s + 16) * s + 3) / (96 * n * n) +
         x * (((3 * s + 19) * s + 17) * s - 15) / (384 * n * n * n);
}

/// A mean over `n` values and the half-width of its 95 % confidence interval.
struct Interval {
  double mean = 0;
  double ci95 = 0;
  Index n = 0;
  double deviation = 0;  ///< the values' sample standard deviation, 0 for n < 2
  double low() const { return mean - ci95; }
  double high() const { return mean + ci95; }
};

/// Mean and t s / sqrt(n), s the sample standard deviation and t Student's 0.975 quantile with n - 1 degrees of
/// freedom: 2.78 for five seeds, 1.96 for the 600 episodes over which few-shot accuracies are reported. Zero width for
/// n < 2.
inline Interval mean_interval(std::span<const double> values) {
  Interval interval;
  interval.n = static_cast<Index>(values.size());
  if (values.empty()) return interval;
  const double count = static_cast<double>(values.size());
  for (double value : values) interval.mean += value / count;
  double squares = 0;
  for (double value : values) squares += (value - interval.mean) * (value - interval.mean);
  if (interval.n > 1) {
    interval.deviation = std::sqrt(squares / (count - 1));
    interval.ci95 = student_quantile(0.975, interval.n - 1) * interval.deviation / std::sqrt(count);
  }
  return interval;
}

/// Interval of the mean of a_i - b_i over the same items: narrower than the two intervals when items vary more than
/// methods. Throws ValueError for lists of unequal length.
inline Interval paired_difference(std::span<const double> a, std::span<const double> b, Site site = Site::current()) {
  if (a.size() != b.size()) fail("paired_difference", {a.size(), " values against ", b.size()}, {}, site);
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  return mean_interval(differences);
}

}  // namespace GRAFT_ABI
}  // namespace graft
