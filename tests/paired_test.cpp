// Paired tests: published examples, the distribution of signed ranks by enumeration, Holm's steps by their definition.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "catch.hpp"
#include "graft/core/random.hpp"
#include "graft/evaluate/paired.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Values = std::vector<double>;

WilcoxonTest of_differences(const Values& differences) {
  return wilcoxon_signed_rank(differences, Values(differences.size(), 0.0));
}

/// The ranks of sizes that are not 0: one more than how many are smaller, plus half of the others that are equal.
Values ranks_of(const Values& differences) {
  Values ranks;
  for (const double d : differences) {
    double rank = 0.5;
    for (const double other : differences)
      if (other != 0) rank += std::abs(other) < std::abs(d) ? 1 : std::abs(other) == std::abs(d) ? 0.5 : 0;
    if (d != 0) ranks.push_back(rank);
  }
  return ranks;
}

/// The two-sided p of whole differences by trying all signs of their ranks.
double p_by_signs(const Values& differences) {
  const Values ranks = ranks_of(differences);
  double total = 0, positive = 0;
  for (const double rank : ranks) total += rank;
  std::size_t at = 0;
  for (const double d : differences)
    if (d != 0) positive += d > 0 ? ranks[at++] : 0 * ranks[at++];
  double as_uneven = 0;
  for (unsigned signs = 0; signs < 1u << ranks.size(); ++signs) {
    double sum = 0;
    for (std::size_t i = 0; i < ranks.size(); ++i) sum += signs >> i & 1 ? ranks[i] : 0;
    as_uneven += std::abs(sum - total / 2) >= std::abs(positive - total / 2);
  }
  return as_uneven / std::exp2(static_cast<double>(ranks.size()));
}

/// Differences of small whole numbers, many of which are equal or 0.
Values drawn_differences(Index count, const Random& random) {
  Values differences;
  for (Index i = 0; i < count; ++i)
    differences.push_back(static_cast<double>(random.below(static_cast<std::uint64_t>(i), 11) - 4));
  return differences;
}

}  // namespace

TEST_CASE("Wilcoxon's signed-rank test gives the published values", "[evaluate]") {
  // Heights of cross- and self-fertilised plants, the example of scipy.stats.wilcoxon: statistic 24,
  // p = 0.041259765625.
  const WilcoxonTest plants = of_differences({6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75});
  CHECK((plants.negative == 24 && plants.positive == 96 && plants.n == 15 && plants.exact));
  CHECK(plants.p == 0.041259765625);
  // Hollander and Wolfe 1973, p. 29, in R's help of wilcox.test: V = 40, p = 0.01953 one-sided, 10 / 512.
  const Values x{1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30};
  const Values y{0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29};
  const WilcoxonTest depression = wilcoxon_signed_rank(x, y);
  CHECK((depression.positive == 40 && depression.negative == 5));
  CHECK(depression.p == 20.0 / 512);
}

TEST_CASE("p counts all signs of the ranks, ties and zeros among them", "[evaluate]") {
  for (Index count = 1; count <= 14; ++count)
    for (std::uint64_t draw = 0; draw < 5; ++draw) {
      const Values differences = drawn_differences(count, Random(6).stream("differences", count).stream(draw));
      INFO(count << " differences, draw " << draw);
      CHECK(of_differences(differences).p == p_by_signs(differences));
    }
  for (Index n = 1; n <= 50; ++n)  // the most uneven sums: two of 2^n
    CHECK(of_differences(Values(static_cast<std::size_t>(n), 1.0)).p == std::exp2(static_cast<double>(1 - n)));
}

TEST_CASE("beyond 50 pairs p is that of the normal approximation with both corrections", "[evaluate]") {
  const Random random(7);
  for (const Index count : {51, 60, 200}) {
    Values differences;
    for (Index i = 0; i < count; ++i)
      differences.push_back(static_cast<double>(random.below(static_cast<std::uint64_t>(i), 30) - 10) + 0.5);
    const WilcoxonTest test = of_differences(differences);
    INFO(count);
    CHECK((test.n == count && !test.exact));
    const double n = static_cast<double>(count);
    double variance = n * (n + 1) * (2 * n + 1) / 24;
    for (double size = 0.5; size < 20; ++size) {
      double ties = 0;
      for (const double d : differences) ties += std::abs(d) == size;
      variance -= (ties * ties * ties - ties) / 48;
    }
    const double z = (std::abs(test.positive - n * (n + 1) / 4) - 0.5) / std::sqrt(variance);
    CHECK(test.p == Approx(std::erfc(z / std::numbers::sqrt2)).epsilon(1e-12));
  }
  // It joins the counted values: 51 different sizes against a count of all sums. What is left is the next term of
  // Edgeworth's series, 2 phi(z) kurtosis / 24 (z^3 - 3 z), and of the order of 1 / n^2.
  for (const Index raised : {15, 25, 30, 35}) {
    Values differences;
    double fourth = 0;
    for (Index i = 1; i <= 51; ++i) {
      differences.push_back(static_cast<double>(i % 51 < raised ? -i : i));
      fourth += std::pow(static_cast<double>(i), 4);
    }
    const WilcoxonTest test = of_differences(differences);
    std::vector<double> cases(51 * 52 / 2 + 1);  // at most 2^51, so exact
    cases[0] = 1;
    for (std::size_t rank = 1; rank <= 51; ++rank)
      for (std::size_t sum = cases.size() - 1; sum >= rank; --sum) cases[sum] += cases[sum - rank];
    const double smaller = std::min(test.positive, test.negative), variance = 51.0 * 52 * 103 / 24;
    double below = 0;
    for (std::size_t sum = 0; sum <= static_cast<std::size_t>(smaller); ++sum) below += cases[sum];
    const double z = (51.0 * 52 / 4 - smaller - 0.5) / std::sqrt(variance),
                 kurtosis = -fourth / 8 / (variance * variance);
    const double density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
    INFO(raised);
    CHECK(std::abs(test.p + density * kurtosis / 12 * (z * z * z - 3 * z) - 2 * below / std::exp2(51)) < 2e-4);
  }
}

TEST_CASE("signed ranks do not depend on order, scale or what both methods share", "[evaluate]") {
  Values a, b;
  for (std::uint64_t i = 0; i < 30; ++i) {
    a.push_back(static_cast<double>(Random(8).below(2 * i, 75)));
    b.push_back(static_cast<double>(Random(8).below(2 * i + 1, 75)));
  }
  const WilcoxonTest test = wilcoxon_signed_rank(a, b), swapped = wilcoxon_signed_rank(b, a);
  CHECK((swapped.p == test.p && swapped.positive == test.negative && swapped.negative == test.positive));
  const auto changed = [&](auto change) {
    Values x, y;
    for (std::size_t i = a.size(); i-- > 0;) {
      x.push_back(change(a[i], i));
      y.push_back(change(b[i], i));
    }
    return wilcoxon_signed_rank(x, y);
  };
  // Shares of 75 queries: differences that are equal as fractions are not in binary.
  for (const WilcoxonTest& other :
       {changed([](double v, std::size_t) { return v; }), changed([](double v, std::size_t) { return v / 75; }),
        changed([](double v, std::size_t i) { return v + 1000 * static_cast<double>(i); })})
    CHECK((other.p == test.p && other.positive == test.positive && other.n == test.n));
}

TEST_CASE("methods that are equal everywhere do not differ", "[evaluate]") {
  const Values values{0.5, 0.25, 0.75};
  const WilcoxonTest test = wilcoxon_signed_rank(values, values);
  CHECK((test.p == 1 && test.n == 0 && test.positive == 0 && test.negative == 0));
  CHECK(of_differences({1, -1}).p == 1);
  CHECK(of_differences({0, 0, 3}).n == 1);
  CHECK(of_differences({0, 0, 3}).p == 1);  // one sign of two
  Values balanced;
  for (Index i = 0; i < 100; ++i) balanced.push_back(i % 2 == 0 ? 1 : -1);
  CHECK(of_differences(balanced).p == 1);
}

TEST_CASE("Holm's correction is that of the published example and of his steps", "[evaluate]") {
  // pingouin.holm([.50, .003, .32, .054, .0003]) prints [0.64, 0.012, 0.64, 0.162, 0.0015].
  const Values corrected = holm(Values{0.50, 0.003, 0.32, 0.054, 0.0003});
  const Values expected{0.64, 0.012, 0.64, 0.162, 0.0015};
  for (std::size_t i = 0; i < 5; ++i) CHECK(corrected[i] == Approx(expected[i]).epsilon(1e-14));
  CHECK(holm(Values{}).empty());
  CHECK(holm(Values{0.3}) == Values{0.3});
  CHECK(holm(Values{0.6, 0.6, 0}) == Values{1, 1, 0});
  CHECK(holm(Values{0.25, 0.25}) == Values{0.5, 0.5});

  // His steps: reject the smallest p while it is at most alpha over how many are left, stop at the first that is not.
  for (std::uint64_t draw = 0; draw < 200; ++draw) {
    Values p;
    for (std::uint64_t i = 0; i < 8; ++i) p.push_back(std::pow(Random(9).stream(draw).uniform(i), 4));
    const double alpha = 0.05;
    Values rising = p;
    std::sort(rising.begin(), rising.end());
    double last_rejected = -1;
    for (std::size_t i = 0; i < rising.size() && rising[i] <= alpha / static_cast<double>(rising.size() - i); ++i)
      last_rejected = rising[i];
    const Values by_correction = holm(p);
    for (std::size_t i = 0; i < p.size(); ++i) CHECK((by_correction[i] <= alpha) == (p[i] <= last_rejected));
  }
}

TEST_CASE("methods are compared with a base by interval, test and correction", "[evaluate]") {
  const Values base{0.5, 0.6, 0.7, 0.8, 0.55, 0.65};
  const std::vector<Values> methods{{0.6, 0.7, 0.75, 0.9, 0.6, 0.7}, base, {0.4, 0.62, 0.69, 0.83, 0.5, 0.66}};
  const std::vector<PairedComparison> comparisons = compare_with_base(methods, base);
  REQUIRE(comparisons.size() == 3);
  Values p;
  for (std::size_t m = 0; m < 3; ++m) {
    CHECK(comparisons[m].difference.mean == paired_difference(methods[m], base).mean);
    CHECK(comparisons[m].difference.ci95 == paired_difference(methods[m], base).ci95);
    CHECK(comparisons[m].wilcoxon.p == wilcoxon_signed_rank(methods[m], base).p);
    p.push_back(comparisons[m].wilcoxon.p);
  }
  for (std::size_t m = 0; m < 3; ++m) CHECK(comparisons[m].p_holm == holm(p)[m]);
  CHECK(comparisons[0].p_holm == 3.0 / 32);  // six of six above, three methods
  CHECK(compare_with_base({}, base).empty());
}

TEST_CASE("paired tests refuse what has no value", "[evaluate]") {
  const Values two{1, 2}, three{1, 2, 3}, none, lost{1, NAN}, infinite{INFINITY, 1};
  const std::vector<Values> good_and_bad{{1, 2}, {1, 2, 3}};
  const char *op = "wilcoxon_signed_rank", *compare = "compare_with_base";
  CHECK(refusal_fault(op, "2 values against 3", [&] { wilcoxon_signed_rank(two, three); }) == "");
  CHECK(refusal_fault(op, "no items", [&] { wilcoxon_signed_rank(none, none); }) == "");
  CHECK(refusal_fault(op, "item 1", [&] { wilcoxon_signed_rank(lost, two); }) == "");
  CHECK(refusal_fault(op, "item 0", [&] { wilcoxon_signed_rank(two, infinite); }) == "");
  CHECK(refusal_fault(compare, "3 values against 2", [&] { compare_with_base(good_and_bad, two); }) == "");
  CHECK(refusal_fault(compare, "item 1", [&] { compare_with_base(std::vector<Values>{two}, lost); }) == "");
  CHECK(refusal_fault("holm", "p value 1 is 1.5", [&] { holm(Values{0.5, 1.5}); }) == "");
  CHECK(refusal_fault("holm", "p value 0 is -", [&] { holm(Values{-0.1}); }) == "");
  CHECK(refusal_fault("holm", "p value 0 is nan", [&] { holm(Values{NAN}); }) == "");
}
