// Rows of the method table for aggregators that leave out gradients unlike the others, whoever sent them.

#include <algorithm>
#include <cmath>
#include <limits>

#include "aggregators.hpp"
#include "catch.hpp"
#include "graft/multitask/krum.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/trimmed_mean.hpp"

using namespace graft;

namespace {

// ---- Krum -----------------------------------------------------------------------------------------------------------
/// The definition, from differences of rows.
Numbers krum_by_the_book(const Numbers& g, Index f, Index m) {
  const Index tasks = g.size(0);
  std::vector<std::pair<double, Index>> scores;
  for (Index i = 0; i < tasks; ++i) {
    std::vector<double> squared;
    for (Index j = 0; j < tasks; ++j)
      if (j != i) squared.push_back(sum(square(row_of(g, i) - row_of(g, j))).item());
    std::sort(squared.begin(), squared.end());
    double score = 0;
    for (std::size_t k = 0; k < static_cast<std::size_t>(tasks - f - 2); ++k) score += squared[k];
    scores.emplace_back(score, i);
  }
  std::sort(scores.begin(), scores.end());
  List<double> weights(tasks);
  for (std::size_t k = 0; k < static_cast<std::size_t>(m); ++k) weights[scores[k].second] = 1 / static_cast<double>(m);
  return from_vector(weights);
}

const bool krum_row = add_method_rows({{
    .name = "krum",
    .header = "graft/multitask/krum.hpp",
    .paper = "Blanchard, El Mhamdi, Guerraoui, Stainer, Machine learning with adversaries: Byzantine tolerant gradient "
             "descent, NeurIPS 2017",
    .functions = {"krum_weights", "Krum"},
    .use = "Krum{{.byzantine = 1, .selected = 3}}",
    .run = [](const Random& random) { return one_round(Krum{{.byzantine = 1, .selected = 3}}, random); },
    .errors = joined(bad_gramians([](const Numbers& m) { krum_weights(m); }),
                     {bad_use<TooFewTasks>([] { krum_weights(eye<double>(2)); }, "at least 3"),
                      bad_use<TooFewTasks>([] { krum_weights(eye<double>(4), {.byzantine = 1}); }, "at least 5"),
                      bad_use<ValueError>([] { krum_weights(eye<double>(4), {.byzantine = -1}); }, "-1"),
                      bad_use<ValueError>([] { krum_weights(eye<double>(4), {.selected = 0}); }, "selected is 0"),
                      bad_use<TooFewTasks>([] { krum_weights(eye<double>(4), {.selected = 5}); }, "5 of 4"),
                      bad_use<TooFewTasks>([] { weights_by(Krum{{.byzantine = 3}}, eye<double>(4)); }, "at least 9")}),
    .properties =
        {{"by hand, in one dimension",
          [] {
            // Of 0, 1, 3, 7, 100 with one byzantine: to the two nearest 1 + 9, 1 + 4, 4 + 9, 16 + 36 and more.
            const Numbers g = tensor<double>({{0}, {1}, {3}, {7}, {100}});
            CHECK(gap(krum_weights(gramian_of(g), {.byzantine = 1}), tensor<double>({0, 1, 0, 0, 0})) == 0);
            CHECK(gap(krum_weights(gramian_of(g), {.byzantine = 1, .selected = 2}),
                      tensor<double>({0.5, 0.5, 0, 0, 0})) == 0);
          }},
         {"the example of TorchJD's documentation",
          [] {
            const Numbers g = tensor<double>({{1, 1, 1}, {1, 0, 1}, {75, -666, 23}, {1, 2, 3}, {2, 0, 1}});
            CHECK(gap(direction(Krum{{.byzantine = 1, .selected = 4}}, g), tensor<double>({1.25, 0.75, 1.5})) == 0);
          }},
         {"the definition, from differences of rows",
          [] {
            for (std::uint64_t i = 0; i < 20; ++i) {
              const auto f = static_cast<Index>(i % 3), tasks = 2 * f + 3 + static_cast<Index>(i % 4);
              const Numbers g = random_rows(tasks, 6, i);
              for (Index m = 1; m <= tasks; ++m) {
                const KrumOptions options{.byzantine = f, .selected = m};
                CHECK(gap(krum_weights(gramian_of(g), options), krum_by_the_book(g, f, m)) == 0);
                CHECK(gap(weights_by(Krum{options}, g), krum_by_the_book(g, f, m)) == 0);
              }
            }
          }},
         {"no byzantine row is taken, wherever they are",
          [] {
            for (double far : {10.0, 1e6, 1e20})
              for (std::uint64_t i = 0; i < 5; ++i) {
                const Numbers honest = 1 + 0.1 * random_rows(5, 4, i), lies = far * random_rows(1, 4, 50 + i);
                const Numbers g = concat(std::vector{lies, honest, lies}, 0);  // in league with each other
                const Numbers w = weights_by(Krum{{.byzantine = 2, .selected = 3}}, g);
                CHECK(at(w, 0) + at(w, 6) == 0);
              }
          }},
         {"what all rows have in common does not matter, however long it is",
          [] {
            for (std::uint64_t i = 0; i < 10; ++i) {
              const Numbers g =
                  cast<double>(cast<std::int64_t>(64 * random_rows(6, 5, i))) / 64.0;  // exact beside 2^40
              const KrumOptions options{.byzantine = 1, .selected = 2};
              CHECK(same_bits(weights_by(Krum{options}, g + std::ldexp(1.0, 40)), weights_by(Krum{options}, g)));
            }
          }},
         {"near and far rows beside each other",
          [] {
            for (std::uint64_t i = 0; i < 10; ++i) {
              const Numbers centres = tensor<double>({{1e3}, {1e3}, {1e3}, {-2e3}, {-2e3}, {1.5e3}, {0}});
              const Numbers g = centres + 0.1 * random_rows(7, 4, i);
              for (Index m = 1; m <= 7; ++m)
                CHECK(gap(weights_by(Krum{{.byzantine = 1, .selected = m}}, g), krum_by_the_book(g, 1, m)) == 0);
            }
          }},
         {"all rows: the mean; rows that are the same: the first",
          [] {
            CHECK(same_bits(weights_by(Krum{{.selected = 4}}, random_rows(4, 3, 1)), full<double>({4}, 0.25)));
            CHECK(gap(weights_by(Krum(), ones<double>({4, 3})), tensor<double>({1, 0, 0, 0})) == 0);
            CHECK(gap(weights_by(Krum(), zeros<double>({4, 3})), tensor<double>({1, 0, 0, 0})) == 0);
          }},
         {"scales with all gradients, and the tasks have no order",
          [] {
            const auto of = [](const Numbers& m) { return krum_weights(m, {.byzantine = 1, .selected = 2}); };
            for (std::uint64_t i = 0; i < 5; ++i) {
              CHECK(scales_linearly(of, random_rows(6, 5, i)));
              CHECK(permutes(of, random_rows(6, 5, i)));
            }
          }}},
}});

// ---- the trimmed mean -----------------------------------------------------------------------------------------------
Numbers trimmed_by_sorting(const Numbers& g, Index b) {
  List<double> result;
  for (Index k = 0; k < g.size(1); ++k) {
    std::vector<double> numbers;
    for (Index i = 0; i < g.size(0); ++i) numbers.push_back(at(g, i * g.size(1) + k));
    std::sort(numbers.begin(), numbers.end());
    double total = 0;
    for (Index i = b; i < g.size(0) - b; ++i) total += numbers[i];
    result.push_back(total / static_cast<double>(g.size(0) - 2 * b));
  }
  return from_vector(result);
}

const bool trimmed_mean_row = add_method_rows({{
    .name = "trimmed_mean",
    .header = "graft/multitask/trimmed_mean.hpp",
    .paper =
        "Yin, Chen, Ramchandran, Bartlett, Byzantine-robust distributed learning: towards optimal statistical rates, "
        "ICML 2018",
    .functions = {"trimmed_mean", "TrimmedMean"},
    .use = "TrimmedMean{{.trimmed = 1}}",
    .run = [](const Random& random) { return one_round(TrimmedMean{{.trimmed = 2}}, random); },
    .loss =
        [](const Numbers& x) {
          return sum(square(trimmed_mean(reshape(x, {5, 3}), {.trimmed = 1})));
        },
    .loss_at = randn<double>({15}, Random(4)),
    .errors = {bad_use<ShapeError>([] { trimmed_mean(zeros<double>({4})); }, "[4]"),
               bad_use<TooFewTasks>(
                   [] {
                     trimmed_mean(zeros<double>({0, 4}), {.trimmed = 0});
                   },
                   "at least 1"),
               bad_use<TooFewTasks>([] { trimmed_mean(golden); }, "at least 3"),
               bad_use<ValueError>([] { trimmed_mean(golden, {.trimmed = -1}); }, "-1"),
               bad_use<ValueError>(
                   [] {
                     trimmed_mean(full<double>({3, 2}, NAN));
                   },
                   "finite"),
               bad_use<ValueError>(
                   [] {
                     trimmed_mean(full<double>({3, 2}, INFINITY));
                   },
                   "finite"),
               bad_use<TooFewTasks>([] { direction(TrimmedMean{{.trimmed = 2}}, random_rows(4, 2, 1)); },
                                    "at least 5")},
    .properties = {{"the example of TorchJD's documentation",
                    [] {
                      const Numbers g = tensor<double>({{1e11, 3}, {1, -1e11}, {-1e10, 1e10}, {2, 2}});
                      CHECK(gap(direction(TrimmedMean(), g), tensor<double>({1.5, 2.5})) == 0);
                    }},
                   {"the definition, by sorting",
                    [] {
                      for (Index tasks = 1; tasks <= 9; ++tasks)
                        for (Index b = 0; 2 * b < tasks; ++b) {
                          const Numbers g = random_rows(tasks, 20, static_cast<std::uint64_t>(tasks));
                          CHECK(gap(trimmed_mean(g, {.trimmed = b}), trimmed_by_sorting(g, b)) < 1e-15);
                        }
                    }},
                   {"the mean if nothing is trimmed, the median if all but one is",
                    [] {
                      const Numbers g = random_rows(5, 30, 1);
                      CHECK(gap(trimmed_mean(g, {.trimmed = 0}), mean(g, {0})) < 1e-15);
                      CHECK(gap(trimmed_mean(tensor<double>({{5}, {1}, {9}, {3}, {4}}), {.trimmed = 2}),
                                tensor<double>({4})) == 0);
                      CHECK(same_bits(direction(TrimmedMean{{.trimmed = 0}}, slice(g, 0, 0, 1)),
                                      row_of(g, 0)));  // one task
                    }},
                   {"between the numbers of the honest rows, whatever the others are",
                    [] {
                      for (double far : {1.0, 1e6, 1e300})
                        for (std::uint64_t i = 0; i < 5; ++i) {
                          const Numbers honest = random_rows(5, 20, i), lies = far * random_rows(2, 20, 60 + i);
                          const Numbers d = trimmed_mean(concat(std::vector{lies, honest}, 0), {.trimmed = 2});
                          CHECK(min(d - min(honest, {0})).item() >= 0);
                          CHECK(max(d - max(honest, {0})).item() <= 0);
                        }
                    }},
                   {"equivariant: rows reordered, scaled, moved, turned round",
                    [] {
                      const Numbers g = random_rows(6, 25, 3), d = trimmed_mean(g);
                      CHECK(gap(trimmed_mean(reorder(g, {5, 2, 0, 1, 4, 3})), d) < 1e-15);
                      CHECK(same_bits(trimmed_mean(1024 * g), 1024 * d));
                      CHECK(gap(trimmed_mean(-1.0 * g), -1.0 * d) < 1e-15);
                      CHECK(gap(trimmed_mean(g + 3.0), d + 3.0) < 1e-14);
                    }},
                   {"rows that are the same stay themselves",
                    [] {
                      const Numbers g = random_rows(1, 8, 2);
                      CHECK(gap(trimmed_mean(concat(std::vector{g, g, g}, 0)), row_of(g, 0)) == 0);
                      CHECK(gap(trimmed_mean(zeros<double>({3, 8})), zeros<double>({8})) == 0);
                    }}},
}});

}  // namespace
