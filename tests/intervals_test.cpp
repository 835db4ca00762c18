// Intervals: Student's quantiles against an independent implementation, and what an interval promises.

#include <array>
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "graft/core/random.hpp"
#include "graft/evaluate/intervals.hpp"

using namespace graft;

TEST_CASE("Student's quantiles are those of an independent implementation", "[evaluate]") {
  // scipy.stats.t.ppf(probability, freedom) of SciPy 1.17.1; the same to four digits in the table of the NIST/SEMATECH
  // e-Handbook of Statistical Methods, 1.3.6.7.2.
  struct Value {
    double probability;
    Index freedom;
    double quantile;
  };
  const Value values[] = {
      {0.975, 1, 12.706204736174694},    {0.975, 2, 4.302652729749462},       {0.975, 3, 3.1824463052837078},
      {0.975, 4, 2.7764451051977934},    {0.975, 5, 2.5705818356363146},      {0.975, 9, 2.262157162798205},
      {0.975, 10, 2.228138851986274},    {0.975, 30, 2.0422724563012378},     {0.975, 99, 1.9842169515864174},
      {0.975, 100, 1.9839715185235518},  {0.975, 599, 1.9639322489452784},    {0.975, 1000, 1.9623390808264083},
      {0.975, 1001, 1.9623367052808798}, {0.975, 100000, 1.9599877075346095}, {0.95, 1, 6.313751514675037},
      {0.95, 4, 2.1318467863266495},     {0.95, 150, 1.6550755001871749},     {0.995, 2, 9.924843200918287},
      {0.995, 5, 4.032142983555228},     {0.995, 1000, 2.580754698065951},    {0.995, 100000, 2.575878469908375}};
  for (const auto& [probability, freedom, quantile] : values) {
    INFO(probability << " with " << freedom);
    CHECK(student_quantile(probability, freedom) == Approx(quantile).epsilon(1e-11));
    CHECK(student_quantile(1 - probability, freedom) == Approx(-quantile).epsilon(1e-11));
  }
  // The quantile of Cauchy's distribution, freedom 1, is tan(pi (p - 1/2)); with freedom 2 it is
  // 2 a sqrt(2 / (1 - 4 a^2)), a = p - 1/2.
  for (double p : {0.5, 0.6, 0.9, 0.999}) {
    const double a = p - 0.5;
    CHECK(student_quantile(p, 1) == Approx(std::tan(std::acos(-1.0) * a)).epsilon(1e-11).margin(1e-14));
    CHECK(student_quantile(p, 2) == Approx(2 * a * std::sqrt(2 / (1 - 4 * a * a))).epsilon(1e-11).margin(1e-14));
  }
  for (double p : {0.0, 1.0, -0.1, std::nan("")}) CHECK_THROWS_AS(student_quantile(p, 4), ValueError);
  CHECK_THROWS_WITH(student_quantile(0.975, 0), contains("student_quantile") && contains("0 degrees"));
}

TEST_CASE("a mean's interval is Student's", "[evaluate]") {
  // 1 .. 5: mean 3, sample variance 2.5, so t sqrt(2.5 / 5) with t = 2.7764451 of 4 degrees of freedom.
  const std::vector<double> five{1, 2, 3, 4, 5};
  const Interval interval = mean_interval(five);
  CHECK(interval.n == 5);
  CHECK(interval.mean == Approx(3));
  CHECK(interval.ci95 == Approx(2.7764451051977934 * std::sqrt(0.5)));
  CHECK(interval.low() == Approx(3 - interval.ci95));
  CHECK(interval.high() == Approx(3 + interval.ci95));
  CHECK(mean_interval({}).n == 0);
  CHECK(mean_interval(std::vector<double>{7}).mean == 7);
  CHECK(mean_interval(std::vector<double>{7}).ci95 == 0);

  // Of two methods with equal gaps everywhere the difference is sure, however much the items vary.
  const std::vector<double> more{1.5, 2.5, 3.5, 4.5, 5.5};
  const Interval gap = paired_difference(more, five);
  CHECK(gap.mean == Approx(0.5));
  CHECK(gap.ci95 == Approx(0).margin(1e-12));
  CHECK_THROWS_WITH(paired_difference(five, std::vector<double>{1}), contains("5 values against 1"));
}

TEST_CASE("an interval of five normal values holds the mean in 95 of 100 cases", "[evaluate]") {
  const int trials = 20000;
  int inside = 0;
  for (std::uint64_t trial = 0; trial < trials; ++trial) {
    std::array<double, 5> values;
    for (std::uint64_t i = 0; i < 5; ++i) values[i] = 3 + 2 * Random(1).stream(trial).normal(i);
    const Interval interval = mean_interval(values);
    inside += interval.low() < 3 && 3 < interval.high();
  }
  // Five standard deviations of a binomial share; with 1.96 instead of 2.776 it would be 0.88.
  CHECK(std::abs(inside / double(trials) - 0.95) < 5 * std::sqrt(0.95 * 0.05 / trials));
}
