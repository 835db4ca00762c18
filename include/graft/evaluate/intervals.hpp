#pragma once
// Means with confidence intervals, and paired differences of methods that answered the same episodes.

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A mean over `n` values and the half-width of its 95 % confidence interval.
struct Interval {
  double mean = 0;
  double ci95 = 0;
  Index n = 0;
  double low() const { return mean - ci95; }
  double high() const { return mean + ci95; }
};

/// Mean and 1.96 s / sqrt(n), s the sample standard deviation: the form in which few-shot accuracies are reported over
/// at least 600 episodes. Zero width for n < 2.
inline Interval mean_interval(std::span<const double> values) {
  Interval interval;
  interval.n = static_cast<Index>(values.size());
  if (values.empty()) return interval;
  const double count = static_cast<double>(values.size());
  for (double value : values) interval.mean += value / count;
  double squares = 0;
  for (double value : values) squares += (value - interval.mean) * (value - interval.mean);
  if (values.size() > 1) interval.ci95 = 1.96 * std::sqrt(squares / (count - 1) / count);
  return interval;
}

/// Interval of the mean of a_i - b_i over the same items: narrower than the two intervals when items vary more than
/// methods.
inline Interval paired_difference(std::span<const double> a, std::span<const double> b, Site site = Site::current()) {
  if (a.size() != b.size()) fail("paired_difference", {a.size(), " values against ", b.size()}, {}, site);
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  return mean_interval(differences);
}

}  // namespace GRAFT_ABI
}  // namespace graft
