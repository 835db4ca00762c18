#pragma once
// Whether methods that answered the same items (seeds, folds, episodes) differ: signed ranks, and the correction for
// asking of many methods. Intervals of paired differences are in intervals.hpp.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <span>
#include <vector>

#include "graft/evaluate/intervals.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What `wilcoxon_signed_rank` finds.
struct WilcoxonTest {
  double positive = 0, negative = 0;  ///< sums of the ranks of differences above and below 0
  Index n = 0;                        ///< pairs that differ
  double p = 1;                       ///< two-sided: how probable so uneven sums are where signs are fair coins
  bool exact = true;                  ///< from all 2^n signs; false: from the normal approximation
};

/// With so many pairs that differ or fewer, `wilcoxon_signed_rank` counts all signs.
inline constexpr Index kExactWilcoxon = 50;

namespace detail {

/// a_i - b_i. Throws ValueError for lists of unequal length or empty ones, or a number that is not finite.
inline std::vector<double> finite_differences(const char* op, std::span<const double> a, std::span<const double> b,
                                              Site site) {
  if (a.size() != b.size()) fail(op, {a.size(), " values against ", b.size()}, {}, site);
  if (a.empty()) fail(op, "of no items", {}, site);
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i]))
      fail(op, {"item ", i, " has the values ", a[i], " and ", b[i]}, {}, site);
    differences[i] = a[i] - b[i];
  }
  return differences;
}

/// The ranks of sizes that rise, doubled so that they are whole: equal ones, those within `tolerance` of the one
/// before, have the mean of their places 1, 2 ...
inline std::vector<Index> doubled_ranks(std::span<const double> rising, double tolerance) {
  std::vector<Index> ranks;
  const auto count = static_cast<Index>(rising.size());
  for (Index first = 0, last = 1; first < count; first = last++) {
    while (last < count &&
           rising[static_cast<std::size_t>(last)] - rising[static_cast<std::size_t>(last - 1)] <= tolerance)
      ++last;
    ranks.insert(ranks.end(), static_cast<std::size_t>(last - first), first + 1 + last);
  }
  return ranks;
}

/// P(sum <= at) where each rank counts or does not, with chance 1/2: all 2^n cases, counted without rounding.
inline double signed_rank_below(std::span<const Index> ranks, Index at) {
  std::vector<double> cases(static_cast<std::size_t>(std::accumulate(ranks.begin(), ranks.end(), Index{0})) + 1);
  cases[0] = 1;
  for (const Index rank : ranks)
    for (std::size_t sum = cases.size(), own = static_cast<std::size_t>(rank); sum-- > own;)
      cases[sum] += cases[sum - own];
  return std::accumulate(cases.begin(), cases.begin() + at + 1, 0.0) / std::exp2(static_cast<double>(ranks.size()));
}

/// The same by a normal distribution whose variance has the correction for ties, and `at` that for continuity.
inline double signed_rank_below_normal(std::span<const Index> ranks, Index at) {
  double mean = 0, variance = 0;  // of the sum of doubled ranks: halves of r and quarters of r^2
  for (const Index rank : ranks) {
    const auto r = static_cast<double>(rank);
    mean += r / 2;
    variance += r * r / 4;
  }
  const double z = std::min(0.0, (static_cast<double>(at) + 1 - mean) / std::sqrt(variance));
  return 0.5 * std::erfc(-z / std::numbers::sqrt2);
}

}  // namespace detail

/// Wilcoxon's signed-rank test of the hypothesis that a_i - b_i is as often above as below 0, and as far (Wilcoxon,
/// Biometrics Bulletin 1945). The sizes of the differences are ranked, equal ones with the mean of their ranks, pairs
/// without a difference left out; W is the smaller of the sums of the ranks of positive and of negative differences,
/// and p = min(1, 2 P(sum <= W)). Up to `kExactWilcoxon` = 50 pairs that differ, P counts all 2^n signs of the ranks as
/// they are, ties included; above, it is normal with mean n (n + 1) / 4, variance n (n + 1) (2 n + 1) / 24 - sum (t^3 -
/// t) / 48 over ties of t, and W raised by 1/2 towards the mean (SciPy's correction=True). Differences that rounding
/// alone can tell apart count as equal: within 4 epsilon of the largest value. No pair that differs: p = 1. Throws
/// ValueError for lists of unequal length, empty ones or numbers that are not finite.
inline WilcoxonTest wilcoxon_signed_rank(std::span<const double> a, std::span<const double> b,
                                         Site site = Site::current()) {
  std::vector<double> differences = detail::finite_differences("wilcoxon_signed_rank", a, b, site);
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max({largest, std::abs(a[i]), std::abs(b[i])});
  const double tolerance = 4 * std::numeric_limits<double>::epsilon() * largest;
  std::erase_if(differences, [=](double d) { return std::abs(d) <= tolerance; });
  std::sort(differences.begin(), differences.end(), [](double x, double y) { return std::abs(x) < std::abs(y); });
  std::vector<double> sizes;
  for (const double d : differences) sizes.push_back(std::abs(d));
  const std::vector<Index> ranks = detail::doubled_ranks(sizes, tolerance);
  Index positive = 0, negative = 0;
  for (std::size_t i = 0; i < ranks.size(); ++i) (differences[i] > 0 ? positive : negative) += ranks[i];
  WilcoxonTest test{static_cast<double>(positive) / 2, static_cast<double>(negative) / 2,
                    static_cast<Index>(ranks.size())};
  if (test.n == 0) return test;
  test.exact = test.n <= kExactWilcoxon;
  const Index smaller = std::min(positive, negative);
  const double below =
      test.exact ? detail::signed_rank_below(ranks, smaller) : detail::signed_rank_below_normal(ranks, smaller);
  test.p = std::min(1.0, 2 * below);
  return test;
}

/// Holm's correction of the p values of m tests: the i-th smallest becomes the largest of (m - j + 1) p_(j) over j <=
/// i, at most 1, in the order of the list (Holm, Scandinavian Journal of Statistics 1979). Whoever rejects what is at
/// most alpha rejects a true hypothesis with a chance of at most alpha, however the tests depend on one another. Throws
/// ValueError for a value outside [0, 1].
inline std::vector<double> holm(std::span<const double> p, Site site = Site::current()) {
  std::vector<std::size_t> order(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (!(p[i] >= 0 && p[i] <= 1)) fail("holm", {"p value ", i, " is ", p[i], ", expected one in [0, 1]"}, {}, site);
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return p[i] < p[j]; });
  std::vector<double> corrected(p.size());
  double largest = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    largest = std::max(largest, static_cast<double>(p.size() - i) * p[order[i]]);
    corrected[order[i]] = std::min(1.0, largest);
  }
  return corrected;
}

/// How a method differs from a base that answered the same items.
struct PairedComparison {
  Interval difference;    ///< of method minus base, Student's
  WilcoxonTest wilcoxon;  ///< of the same differences
  double p_holm = 1;      ///< its p, corrected for the number of methods
};

/// `paired_difference`, `wilcoxon_signed_rank` and `holm` of several methods against one base. `methods`
/// [methods][items], `base` [items]. Throws ValueError for lists of unequal length, empty ones or numbers that are not
/// finite.
inline std::vector<PairedComparison> compare_with_base(std::span<const std::vector<double>> methods,
                                                       std::span<const double> base, Site site = Site::current()) {
  for (const std::vector<double>& method : methods) detail::finite_differences("compare_with_base", method, base, site);
  std::vector<PairedComparison> comparisons;
  std::vector<double> p;
  for (const std::vector<double>& method : methods) {
    comparisons.push_back({paired_difference(method, base, site), wilcoxon_signed_rank(method, base, site)});
    p.push_back(comparisons.back().wilcoxon.p);
  }
  const std::vector<double> corrected = holm(p, site);
  for (std::size_t i = 0; i < p.size(); ++i) comparisons[i].p_holm = corrected[i];
  return comparisons;
}

}  // namespace GRAFT_ABI
}  // namespace graft
