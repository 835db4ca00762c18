// The bootstrap: distributions and standard errors that are known exactly, and the same bits at any number of threads.

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/bootstrap.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Values = std::vector<double>;

/// Sum of squared deviations over the count: the variance of one draw.
double spread(const Values& values) {
  const double mean = detail::mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return squares / static_cast<double>(values.size());
}

/// Folds of unequal numbers of seeds and episodes, with effects of each level.
FoldFigures folds_with_effects() {
  FoldFigures figures;
  const Random random(10);
  for (std::uint64_t f = 0; f < 4; ++f) {
    figures.emplace_back();
    const Random fold = random.stream("fold", f);
    for (std::uint64_t s = 0; s < 2 + f; ++s) {
      figures.back().emplace_back();
      const Random seed = fold.stream("seed", s);
      for (std::uint64_t e = 0; e < 5 + 2 * s; ++e)
        figures.back().back().push_back(0.3 * fold.normal(0) + 0.2 * seed.normal(0) + seed.stream("episode").normal(e));
    }
  }
  return figures;
}

void check_equal(const BootstrapInterval& a, const BootstrapInterval& b) {
  CHECK(a.mean == b.mean);
  CHECK(a.low == b.low);
  CHECK(a.high == b.high);
  CHECK(a.standard_error == b.standard_error);
  CHECK(a.share_above_zero == b.share_above_zero);
}

}  // namespace

TEST_CASE("means of two drawn from two are known", "[evaluate]") {
  // Of -1 and 2: -1 with chance 1/4, 1/2 with 1/2, 2 with 1/4, so quantiles up to 1/4 are -1 and those from 3/4 on 2.
  const Values two{-1, 2};
  const Index draws = 40000;
  const BootstrapInterval interval = bootstrap_mean(two, Random(1), {.draws = draws});
  CHECK((interval.mean == 0.5 && interval.low == -1 && interval.high == 2 && interval.draws == draws));
  // Five deviations of a share of draws.
  CHECK(std::abs(interval.share_above_zero - 0.75) < 5 * std::sqrt(0.75 * 0.25 / static_cast<double>(draws)));
  const BootstrapInterval half = bootstrap_mean(two, Random(1), {.draws = draws, .level = 0.4});
  CHECK((half.low == 0.5 && half.high == 0.5));  // quantiles 0.3 and 0.7
  // Of 0 and 0 with 1: means of 0 count half.
  const BootstrapInterval zero = bootstrap_mean(Values{0, 0}, Random(1));
  CHECK((zero.share_above_zero == 0.5 && zero.low == 0 && zero.high == 0 && zero.standard_error == 0));
}

TEST_CASE("the bootstrap's standard error of a mean is that of the items' spread", "[evaluate]") {
  Values values;
  for (std::uint64_t i = 0; i < 200; ++i) values.push_back(3 + Random(2).normal(i));
  const double error = std::sqrt(spread(values) / 200);
  const BootstrapInterval interval = bootstrap_mean(values, Random(3), {.draws = 20000});
  CHECK(interval.mean == Approx(detail::mean_of(values)).epsilon(1e-14));
  // A deviation from n draws is off by 1 / sqrt(2 n), half a per cent.
  CHECK(interval.standard_error == Approx(error).epsilon(0.025));
  // Means of 200 are normal to a few hundredths of their deviation, and so are quantiles from 20000 draws.
  CHECK(std::abs(interval.low - (interval.mean - 1.96 * error)) < 0.15 * error);
  CHECK(std::abs(interval.high - (interval.mean + 1.96 * error)) < 0.15 * error);
  CHECK(interval.share_above_zero == 1);
  const BootstrapInterval of_two = bootstrap_mean(values, Random(3), {.draws = 2});
  CHECK(of_two.low < of_two.high);  // no draw is another again
}

TEST_CASE("quantiles are NumPy's", "[evaluate]") {
  // numpy.quantile([[10, 7, 4], [3, 2, 1]], 0.5) is 3.5, numpy's example; places between are on straight lines.
  CHECK(detail::quantile(Values{1, 2, 3, 4, 7, 10}, 0.5) == 3.5);
  CHECK(detail::quantile(Values{1, 2, 3, 4}, 0.25) == 1.75);
  CHECK(detail::quantile(Values{1, 2, 3, 4}, 0) == 1);
  CHECK(detail::quantile(Values{1, 2, 3, 4}, 1) == 4);
  CHECK(detail::quantile(Values{5}, 0.3) == 5);
}

TEST_CASE("a paired bootstrap is one of the differences", "[evaluate]") {
  const Values a{1, 4, 2, 8, 5}, b{0, 4, 1, 9, 2}, differences{1, 0, 1, -1, 3};
  check_equal(paired_bootstrap(a, b, Random(4)), bootstrap_mean(differences, Random(4)));
  // Items that vary together tell methods apart that differ by a little everywhere.
  Values raised;
  for (const double value : a) raised.push_back(value + 0.5);
  const BootstrapInterval gap = paired_bootstrap(raised, a, Random(4));
  CHECK((gap.low == 0.5 && gap.high == 0.5 && gap.standard_error == 0 && gap.share_above_zero == 1));
}

TEST_CASE("the hierarchical bootstrap adds up the variances of its levels", "[evaluate]") {
  // One draw's mean over F folds has the variance (spread of the folds' means + mean over folds of within) / F, within
  // a fold of S seeds (spread of the seeds' means + mean over seeds of within) / S, within a seed spread / episodes.
  const FoldFigures figures = folds_with_effects();
  Values fold_means, fold_variances, all;
  for (const auto& fold : figures) {
    Values seed_means, seed_variances;
    for (const Values& episodes : fold) {
      seed_means.push_back(detail::mean_of(episodes));
      seed_variances.push_back(spread(episodes) / static_cast<double>(episodes.size()));
      all.insert(all.end(), episodes.begin(), episodes.end());
    }
    fold_means.push_back(detail::mean_of(seed_means));
    fold_variances.push_back((spread(seed_means) + detail::mean_of(seed_variances)) / static_cast<double>(fold.size()));
  }
  const double variance = (spread(fold_means) + detail::mean_of(fold_variances)) / static_cast<double>(figures.size());
  const BootstrapInterval interval = hierarchical_bootstrap(figures, Random(5), {.draws = 20000});
  CHECK(interval.mean == Approx(detail::mean_of(fold_means)).epsilon(1e-14));
  CHECK(interval.standard_error == Approx(std::sqrt(variance)).epsilon(0.025));
  // Episodes taken for independent promise too much.
  CHECK(interval.standard_error > 1.3 * bootstrap_mean(all, Random(5)).standard_error);

  // One fold and one seed: drawing episodes alone.
  const FoldFigures flat{{all}};
  CHECK(hierarchical_bootstrap(flat, Random(5), {.draws = 20000}).standard_error ==
        Approx(std::sqrt(spread(all) / static_cast<double>(all.size()))).epsilon(0.025));
}

TEST_CASE("two methods are drawn together on every level", "[evaluate]") {
  const FoldFigures a = folds_with_effects();
  FoldFigures b = a, differences = a;
  for (std::size_t f = 0; f < a.size(); ++f)
    for (std::size_t s = 0; s < a[f].size(); ++s)
      for (std::size_t e = 0; e < a[f][s].size(); ++e) {
        b[f][s][e] = a[f][s][e] / 2;
        differences[f][s][e] = a[f][s][e] / 2;
      }
  check_equal(hierarchical_bootstrap(a, b, Random(6)), hierarchical_bootstrap(differences, Random(6)));
}

TEST_CASE("the bootstrap has the same bits at any number of threads", "[evaluate]") {
  const FoldFigures figures = folds_with_effects();
  set_threads(1);
  const BootstrapInterval nested = hierarchical_bootstrap(figures, Random(7)),
                          flat = bootstrap_mean(figures[3][4], Random(7));
  for (const int threads : {2, 3, 8}) {
    set_threads(threads);
    INFO(threads);
    check_equal(hierarchical_bootstrap(figures, Random(7)), nested);
    check_equal(bootstrap_mean(figures[3][4], Random(7)), flat);
  }
  set_threads(0);
  CHECK(bootstrap_mean(figures[3][4], Random(8)).low != flat.low);  // another seed draws other items
}

TEST_CASE("the bootstrap refuses what has no value", "[evaluate]") {
  const Values two{1, 2}, none, lost{1, NAN};
  const Random random(1);
  const FoldFigures good{{{1, 2}, {3}}, {{4}}};
  const char *mean = "bootstrap_mean", *paired = "paired_bootstrap", *folds = "hierarchical_bootstrap";
  CHECK(refusal_fault(mean, "no items", [&] { bootstrap_mean(none, random); }) == "");
  CHECK(refusal_fault(mean, "item 1 is nan", [&] { bootstrap_mean(lost, random); }) == "");
  CHECK(refusal_fault(mean, "0 draws", [&] { bootstrap_mean(two, random, {.draws = 0}); }) == "");
  for (const double level : {0.0, 1.0, std::nan("")})
    CHECK(refusal_fault(mean, "level is", [&] { bootstrap_mean(two, random, {.level = level}); }) == "");
  CHECK(refusal_fault(paired, "2 values against 0", [&] { paired_bootstrap(two, none, random); }) == "");
  CHECK(refusal_fault(paired, "item 1", [&] { paired_bootstrap(lost, two, random); }) == "");
  CHECK(refusal_fault(paired, "-1 draws", [&] { paired_bootstrap(two, two, random, {.draws = -1}); }) == "");

  const FoldFigures no_folds, no_seeds{{{1}}, {}}, no_episodes{{{1}, {}}}, hole{{{1}, {1, NAN}}};
  const FoldFigures seeds{{{1, 2}}, {{4}}}, episodes{{{1, 2}, {3}}, {{4, 5}}};
  CHECK(refusal_fault(folds, "no folds", [&] { hierarchical_bootstrap(no_folds, random); }) == "");
  CHECK(refusal_fault(folds, "fold 1 has no seeds", [&] { hierarchical_bootstrap(no_seeds, random); }) == "");
  CHECK(refusal_fault(folds, "seed 1 of fold 0 has", [&] { hierarchical_bootstrap(no_episodes, random); }) == "");
  CHECK(refusal_fault(folds, "seed 1 of fold 0 holds", [&] { hierarchical_bootstrap(hole, random); }) == "");
  CHECK(refusal_fault(folds, "level", [&] { hierarchical_bootstrap(good, random, {.level = 2}); }) == "");
  CHECK(refusal_fault(folds, "2 folds against 0", [&] { hierarchical_bootstrap(good, no_folds, random); }) == "");
  CHECK(refusal_fault(folds, "2 seeds against 1", [&] { hierarchical_bootstrap(good, seeds, random); }) == "");
  CHECK(refusal_fault(folds, "1 episodes against 2", [&] { hierarchical_bootstrap(good, episodes, random); }) == "");
}
