// Rows of the method table for aggregators that turn conflicting gradients towards each other, or pick a sign.

#include <algorithm>
#include <cmath>
#include <limits>

#include "aggregators.hpp"
#include "catch.hpp"
#include "graft/multitask/conflict_free.hpp"
#include "graft/multitask/graddrop.hpp"
#include "graft/multitask/gradvac.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/pcgrad.hpp"

using namespace graft;

namespace {

// ---- GradVac --------------------------------------------------------------------------------------------------------
Numbers targets_of(Index tasks, double r) { return full<double>({tasks, tasks}, r); }
/// The rounds on vectors, with the random orders that `gradvac_step` documents: task i's is stream i.
Numbers vaccinated(const Numbers& g, const Numbers& targets, const Random& random) {
  const Index tasks = g.size(0);
  Numbers total = zeros<double>({g.size(1)});
  for (Index i = 0; i < tasks; ++i) {
    Numbers p = row_of(g, i);
    for (Index j : random.stream(static_cast<std::uint64_t>(i)).permutation(tasks)) {
      if (j == i) continue;
      const Numbers other = row_of(g, j);
      const double c = cosine(p, other), r = at(targets, i * tasks + j);
      if (c >= r) continue;
      // In the plane of both, p' = p + s g_j at the angle acos r to g_j: its part across g_j is p's.
      const double across = length_of(p) * std::sin(std::acos(c)), wanted = across / std::tan(std::acos(r));
      p = p + (wanted - length_of(p) * c) / length_of(other) * other;
      CHECK(cosine(p, other) == Approx(r).margin(1e-12));
    }
    total = total + p;
  }
  return total;
}

const bool gradvac_row = add_method_rows({{
    .name = "gradvac",
    .header = "graft/multitask/gradvac.hpp",
    .paper = "Wang, Tsvetkov, Firat, Cao, Gradient vaccine: investigating and improving multi-task optimization in "
             "massively multilingual models, ICLR 2021",
    .functions = {"gradvac_step", "GradVac"},
    .use = "aggregators().make(\"gradvac\", tasks)",
    .run =
        [](const Random& random) {
          GradVac aggregator(6);
          const Tensor<float> first = one_round(aggregator, random.stream("first"));
          return first + one_round(aggregator, random);
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     gradvac_step(zeros<double>({2, 3}), zeros<double>({2, 3}), Random(1));
                   },
                   "[2, 3]"),
               bad_use<ShapeError>(
                   [] {
                     gradvac_step(eye<double>(2), zeros<double>({3, 3}), Random(1));
                   },
                   "[3, 3]"),
               bad_use<ValueError>(
                   [] {
                     gradvac_step(zeros<double>({0, 0}), zeros<double>({0, 0}), Random(1));
                   },
                   "no tasks"),
               bad_use<ValueError>(
                   [] {
                     gradvac_step(full<double>({2, 2}, NAN), targets_of(2, 0), Random(1));
                   },
                   "nan"),
               bad_use<ValueError>([] { gradvac_step(eye<double>(2), targets_of(2, 1.1), Random(1)); }, "1.1"),
               bad_use<ValueError>([] { gradvac_step(eye<double>(2), targets_of(2, NAN), Random(1)); }, "nan"),
               bad_use<ValueError>([] { GradVac(2, {.beta = 1.5}); }, "1.5"),
               bad_use<ValueError>([] { GradVac(-1); }, "-1"),
               bad_use<ShapeError>(
                   [] {
                     GradVac aggregator(3);
                     TaskGradients gradients(golden, {}, Random(1));
                     aggregator(gradients);
                   },
                   "[3, 3]"),
               bad_use<IndexError>(
                   [] {
                     GradVac aggregator(2);
                     TaskGradients gradients(golden, {}, Random(1));
                     gradients.ids = {0, 2};
                     aggregator(gradients);
                   },
                   "task 2 of 2")},
    .properties =
        {{"the golden rows: its first round is PCGrad",
          [] {
            const Numbers w = gradvac_step(gramian_of(golden), targets_of(2, 0), Random(1)).weights;
            CHECK(gap(w, tensor<double>({1 + 22.0 / 18, 1 + 22.0 / 38})) < 1e-14);
            CHECK(gap(direction_of(w, golden), tensor<double>({0.5848, 3.8012, 3.8012})) < 5e-5);
            CHECK(gap(direction(GradVac(), golden), 0.5 * direction_of(w, golden)) < 1e-15);
          }},
         {"targets of 0 are PCGrad with the same orders",
          [] {
            scan([](const TestJacobian& one) {
              const Numbers m = gramian_of(one.rows), targets = targets_of(one.rows.size(0), 0);
              for (std::uint64_t seed = 0; seed < 3; ++seed)
                CHECK(direction_gap(gradvac_step(m, targets, Random(seed)).weights, one.rows,
                                    direction_of(pcgrad_weights(m, Random(seed)), one.rows)) < 1e-12);
            });
          }},
         {"after the step the cosine is the target",
          [] {
            for (std::uint64_t i = 0; i < 20; ++i) {
              const Numbers g = random_rows(2, 4, i), m = gramian_of(g);
              const double c = cosine(row_of(g, 0), row_of(g, 1));
              for (double r : {-0.95, -0.4, 0.0, 0.3, 0.9, 0.999}) {
                // p1 = g1 + (w2 - 1) g2 and p2 = (w1 - 1) g1 + g2.
                const Numbers w = gradvac_step(m, targets_of(2, r), Random(i)).weights;
                const Numbers p1 = row_of(g, 0) + (at(w, 1) - 1) * row_of(g, 1),
                              p2 = (at(w, 0) - 1) * row_of(g, 0) + row_of(g, 1);
                CHECK(cosine(p1, row_of(g, 1)) == Approx(std::max(c, r)).margin(1e-13));
                CHECK(cosine(p2, row_of(g, 0)) == Approx(std::max(c, r)).margin(1e-13));
                if (c >= r) CHECK(gap(w, ones<double>({2})) == 0);
              }
            }
          }},
         {"the algorithm on vectors gives the same",
          [] {
            for (std::uint64_t seed = 0; seed < 5; ++seed) {
              const Numbers g = random_rows(5, 7, seed), targets = rand<double>({5, 5}, Random(seed), -0.8, 0.9);
              const Numbers w = gradvac_step(gramian_of(g), targets, Random(seed)).weights;
              CHECK(direction_gap(w, g, vaccinated(g, targets, Random(seed))) < 1e-12);
            }
          }},
         {"targets are moving averages of the cosines",
          [] {
            // The same two gradients again and again: c (1 - (1 - beta)^rounds).
            const double c = -22 / std::sqrt(18.0 * 38.0);
            GradVac aggregator(0, {.beta = 0.25});
            double left = 1;
            for (int round = 0; round < 5; ++round) {
              direction(aggregator, golden);
              left *= 0.75;
              CHECK(at(aggregator.targets, 1) == Approx(c * (1 - left)).epsilon(1e-14));
              CHECK(at(aggregator.targets, 2) == Approx(c * (1 - left)).epsilon(1e-14));
            }
            // Tasks that agreed are held to it.
            GradVac agreed(2);
            const Numbers alike = tensor<double>({{1, 0}, {0.8, 0.6}}), apart = tensor<double>({{1, 0}, {0, 1}});
            CHECK(gap(direction(agreed, alike), tensor<double>({0.9, 0.3})) < 1e-16);
            CHECK(at(agreed.targets, 1) == Approx(0.4).epsilon(1e-15));
            const double cotangent = 0.4 / std::sqrt(1 - 0.16);
            CHECK(gap(direction(agreed, apart), 0.5 * (1 + cotangent) * ones<double>({2})) < 1e-15);
          }},
         {"targets are by task, and those of absent tasks stay",
          [] {
            GradVac aggregator(3);
            aggregator.targets = tensor<double>({{0, 0.1, 0.2}, {0.3, 0, 0.4}, {0.5, 0.6, 0}});
            const Numbers before = aggregator.targets, r = tensor<double>({{0, 0.5}, {0.2, 0}});
            const Numbers d = direction(aggregator, golden, Random(4), {2, 0}, 3);
            CHECK(same_bits(d, direction_of(gradvac_step(gramian_of(golden), r, Random(4)).weights / 2.0, golden)));
            for (Index k = 0; k < 9; ++k) CHECK((at(aggregator.targets, k) != at(before, k)) == (k == 2 || k == 6));
          }},
         {"a task that is twice in a round has a target with itself",
          [] {
            const double c = -22 / std::sqrt(18.0 * 38.0);
            GradVac aggregator(2);
            direction(aggregator, golden, Random(1), {1, 1}, 2);  // two comparisons: c (1 - 1 / 2^2)
            CHECK(gap(aggregator.targets, tensor<double>({{0, 0}, {0, 0.75 * c}})) < 1e-15);
          }},
         {"what it remembers is its targets",
          [] {
            GradVac one(4);
            for (std::uint64_t round = 0; round < 3; ++round) direction(one, random_rows(4, 6, round), Random(round));
            GradVac other(4);
            other.targets = one.targets;
            for (std::uint64_t round = 3; round < 6; ++round)
              CHECK(same_bits(direction(one, random_rows(4, 6, round), Random(round)),
                              direction(other, random_rows(4, 6, round), Random(round))));
          }},
         {"zeros are compared with nothing",
          [] {
            const Numbers rows = concat(std::vector{golden, zeros<double>({1, 3})}, 0);
            const GradVacStep step = gradvac_step(gramian_of(rows), targets_of(3, 0.5), Random(1));
            CHECK(gap(direction_of(step.weights, rows),
                      direction_of(gradvac_step(gramian_of(golden), targets_of(2, 0.5), Random(1)).weights, golden)) <
                  1e-14);
            for (Index k : {2, 5, 6, 7, 8}) CHECK(at(step.cosines, k) == 0.5);
            CHECK(gap(direction(GradVac(), zeros<double>({2, 3})), zeros<double>({3})) == 0);
          }},
         {"a target of 1 gives finite numbers",
          [] {
            scan([](const TestJacobian& one) {
              const Numbers w = gradvac_step(gramian_of(one.rows), targets_of(one.rows.size(0), 1), Random(1)).weights;
              CHECK(all_finite(w));
            });
          }},
         {"two tasks: no conflict with targets of 0, and no order",
          [] {
            const auto first = [](const Numbers& m) {
              return gradvac_step(m, targets_of(m.size(0), 0), Random(1)).weights;
            };
            const auto later = [](const Numbers& m) {
              return gradvac_step(m, targets_of(m.size(0), 0.3), Random(1)).weights;
            };
            scan([&](const TestJacobian& one) {
              if (one.rows.size(0) != 2) return;
              CHECK(never_conflicts(first(gramian_of(one.rows)), one.rows, 1e-12));
              CHECK(permutes(first, one.rows));
              CHECK(permutes(later, one.rows));
            });
          }},
         {"of several tasks the order does not matter on average over the draws",
          [] {
            const auto once = [](const Numbers& g, const Random& random) {
              return direction_of(gradvac_step(gramian_of(g), targets_of(3, 0.2), random).weights, g);
            };
            CHECK(permutes_on_average(once, tensor<double>({{1, 0, 0.1}, {-0.5, 0.8, 0.3}, {-0.5, -0.7, 0.2}})));
          }},
         {"scales with all gradients",
          [] {
            for (std::uint64_t i = 0; i < 5; ++i)
              CHECK(scales_linearly(
                  [&](const Numbers& m) { return gradvac_step(m, targets_of(4, 0.2), Random(i)).weights; },
                  random_rows(4, 8, i)));
          }},
         {"the mean without conflicts",
          [] {
            const Numbers g = abs(random_rows(4, 6, 1));
            CHECK(same_bits(direction(GradVac(), g), direction(MeanGradient(), g)));
            CHECK(same_bits(direction(GradVac(), slice(g, 0, 0, 1)), row_of(g, 0)));
          }},
         {"the random orders come from the stream",
          [] {
            const Numbers m = gramian_of(random_rows(6, 4, 5)), targets = targets_of(6, 0.2);
            const auto w = [&](std::uint64_t seed) { return gradvac_step(m, targets, Random(seed)).weights; };
            CHECK(same_bits(w(1), w(1)));
            bool differs = false;
            for (std::uint64_t seed = 2; seed < 6; ++seed) differs |= gap(w(seed), w(1)) > 1e-9;
            CHECK(differs);
          }}},
}});

// ---- ConFIG ---------------------------------------------------------------------------------------------------------
Numbers config_of(const Numbers& gramian) { return config_weights(gramian); }

const bool config_row = add_method_rows({{
    .name = "config",
    .header = "graft/multitask/conflict_free.hpp",
    .paper = "Liu, Chu, Thuerey, ConFIG: towards conflict-free training of physics informed neural networks, ICLR 2025",
    .functions = {"config_weights", "ConFig"},
    .use = "aggregators().make(\"config\", tasks)",
    .run = [](const Random& random) { return one_round(ConFig(), random); },
    .errors = joined(bad_gramians([](const Numbers& m) { config_weights(m); }),
                     {bad_use<ValueError>(
                          [] {
                            config_weights(eye<double>(2), {1, 2, 3});
                          },
                          "2 tasks"),
                      bad_use<ValueError>(
                          [] {
                            config_weights(eye<double>(2), {1, -2});
                          },
                          "preference is -2")}),
    .properties =
        {{"the golden rows",
          [] {
            // Two unit gradients: along their sum s; <g1 + g2, s> / |s|^2 s. TorchJD's documentation has these numbers.
            const Numbers s = row_of(golden, 0) / std::sqrt(18.0) + row_of(golden, 1) / std::sqrt(38.0);
            const Numbers d = direction_of(config_of(gramian_of(golden)), golden);
            CHECK(gap(d, inner(s, tensor<double>({2, 2, 2})) / inner(s, s) * s) < 1e-14);
            CHECK(gap(d, tensor<double>({0.1588, 2.0706, 2.0706})) < 5e-5);
            CHECK(gap(direction(ConFig(), golden), 0.5 * d) < 1e-15);
          }},
         {"equal cosines with independent gradients, and no conflict",
          [] {
            for (std::uint64_t i = 0; i < 10; ++i) {
              const auto tasks = static_cast<Index>(2 + i % 5);
              const Numbers scales = rand<double>({tasks}, Random(i), 0.01, 100),
                            g = scale_rows(scales, random_rows(tasks, 9, i));
              const Numbers d = direction(ConFig(), g);
              const double expected = cosine(row_of(g, 0), d);
              CHECK(expected > 0);
              for (Index k = 1; k < tasks; ++k) CHECK(cosine(row_of(g, k), d) == Approx(expected).epsilon(1e-11));
              double along = 0;  // the length is the sum of the gradients' parts
              for (Index k = 0; k < tasks; ++k) along += inner(row_of(g, k), d) / length_of(d);
              CHECK(length_of(d) == Approx(along / static_cast<double>(tasks)).epsilon(1e-12));
            }
          }},
         {"cosines in proportion to the preference, which is by task",
          [] {
            const Numbers g = random_rows(3, 6, 2), d = direction_of(config_weights(gramian_of(g), {1, 3, 0.5}), g);
            CHECK(cosine(row_of(g, 1), d) == Approx(3 * cosine(row_of(g, 0), d)).epsilon(1e-12));
            CHECK(cosine(row_of(g, 2), d) == Approx(0.5 * cosine(row_of(g, 0), d)).epsilon(1e-12));
            CHECK(gap(direction(ConFig{{3, 9, 0.5, 1}}, g, Random(1), {3, 0, 2}, 4), d / 3.0) < 1e-15);
          }},
         {"the nearest to equal cosines in least squares",
          [] {
            scan([](const TestJacobian& one) {
              const Numbers w = config_of(gramian_of(one.rows)), d = direction_of(w, one.rows);
              const Index tasks = one.rows.size(0);
              const std::vector<double> lengths = lengths_of(one.rows);
              // With t d the solution of U x = 1: U^T (U t d - 1) = 0. No d: U^T 1 = 0.
              std::vector<double> along;
              double parts = 0, squares = 0;
              for (Index i = 0; i < tasks; ++i) {
                const double length = lengths[i];
                along.push_back(length > 0 ? inner(row_of(one.rows, i), d) / length : 0);
                parts += along.back(), squares += along.back() * along.back();
              }
              const double t = length_of(d) > 1e-12 * size_of(w, one.rows) ? parts / squares : 0;
              Numbers normal_equations = zeros<double>({one.rows.size(1)});
              for (Index i = 0; i < tasks; ++i)
                if (const double length = lengths[i]; length > 0)
                  normal_equations = normal_equations + (t * along[i] - 1) / length * row_of(one.rows, i);
              CHECK(length_of(normal_equations) < 1e-7);
              CHECK(all_finite(w));
            });
          }},
         {"at right angles: the unit gradients' sum, of the lengths' mean",
          [] {
            const Numbers g = tensor<double>({{2, 0, 0}, {0, 3, 0}, {0, 0, 0.5}});
            CHECK(gap(direction_of(config_of(gramian_of(g)), g), full<double>({3}, 5.5 / 3)) < 1e-14);
          }},
         {"the direction does not depend on the gradients' lengths",
          [] {
            const Numbers g = random_rows(4, 6, 2), scales = tensor<double>({1, 1e-6, 1e5, 3});
            CHECK(cosine(direction(ConFig(), g), direction(ConFig(), scale_rows(scales, g))) ==
                  Approx(1).epsilon(1e-13));
          }},
         {"equal gradients give that gradient, opposite ones nothing, zeros have no part",
          [] {
            const Numbers g = random_rows(1, 5, 2);
            CHECK(gap(direction(ConFig(), concat(std::vector{g, g, g}, 0)), row_of(g, 0)) < 1e-14);
            CHECK(same_bits(direction(ConFig(), g), row_of(g, 0)));
            CHECK(length_of(direction(ConFig(), concat(std::vector{g, -3.0 * g}, 0))) == 0);
            const Numbers several = random_rows(3, 5, 4);
            CHECK(length_of(direction(ConFig(), concat(std::vector{several, -2.0 * several}, 0))) < 1e-12);
            CHECK(gap(direction(ConFig(), zeros<double>({3, 2})), zeros<double>({2})) == 0);
            const Numbers more = concat(std::vector{zeros<double>({1, 3}), golden}, 0);
            CHECK(gap(direction(ConFig(), more), 2.0 / 3 * direction(ConFig(), golden)) < 1e-14);
          }},
         {"scales with all gradients, and the tasks have no order",
          [] {
            scan([](const TestJacobian& one) {
              CHECK(scales_linearly(config_of, one.rows));
              CHECK(permutes(config_of, one.rows, 1e-7));
            });
          }}},
}});

// ---- GradDrop -------------------------------------------------------------------------------------------------------
Numbers always_positive(const Numbers& purity) { return ones<double>(purity.shape()); }
Numbers majority(const Numbers& purity) { return cast<double>(purity > 0.5); }

const bool graddrop_row = add_method_rows({{
    .name = "graddrop",
    .header = "graft/multitask/graddrop.hpp",
    .paper =
        "Chen, Ngiam, Huang, Luong, Kretzschmar, Chai, Anguelov, Just pick a sign: optimizing deep multitask models "
        "with gradient sign dropout, NeurIPS 2020",
    .functions = {"graddrop", "GradDrop"},
    .use = "aggregators().make(\"graddrop\", tasks)",
    .run =
        [](const Random& random) {
          return one_round(GradDrop{{.leak = {0, 0.1, 0.2, 0.3, 0.4, 0.5}}}, random);
        },
    .loss =
        [](const Numbers& x) {
          return sum(square(graddrop(reshape(x, {3, 4}), Random(2), {.leak = {0, 0.3, 1}})));
        },
    .loss_at = randn<double>({12}, Random(4)),
    .errors = {bad_use<ShapeError>([] { graddrop(zeros<double>({4}), Random(1)); }, "[4]"),
               bad_use<ValueError>(
                   [] {
                     graddrop(zeros<double>({0, 4}), Random(1));
                   },
                   "no tasks"),
               bad_use<ValueError>(
                   [] {
                     graddrop(full<double>({2, 2}, NAN), Random(1));
                   },
                   "finite"),
               bad_use<ValueError>(
                   [] {
                     graddrop(full<double>({2, 2}, INFINITY), Random(1));
                   },
                   "finite"),
               bad_use<ValueError>([] { graddrop(golden, Random(1), {.leak = {0.5}}); }, "2 tasks"),
               bad_use<ValueError>(
                   [] {
                     graddrop(golden, Random(1), {.leak = {0.5, 1.5}});
                   },
                   "1.5"),
               bad_use<ValueError>(
                   [] {
                     graddrop(golden, Random(1), {.leak = {0.5, -0.5}});
                   },
                   "leak is -0.5")},
    .properties = {{"the golden rows: 6 or -4, with probabilities 0.6 and 0.4",
                    [] {
                      // P = (1 + 2 / 10) / 2; TorchJD's documentation shows (6, 2, 2) for these rows.
                      bool both[2] = {false, false};
                      for (std::uint64_t seed = 0; seed < 20; ++seed) {
                        const Numbers d = graddrop(golden, Random(seed));
                        const bool positive = at(d, 0) == 6;
                        both[positive] = true;
                        CHECK(gap(d, tensor<double>({positive ? 6.0 : -4.0, 2, 2})) == 0);
                      }
                      CHECK((both[0] && both[1]));
                      const Index n = 40000;
                      const Numbers columns = matmul(tensor<double>({{-4}, {6}}), ones<double>({1, n}));
                      const double positives =
                          sum(cast<double>(graddrop(columns, Random(1)) > 0.0)).item() / static_cast<double>(n);
                      CHECK(std::abs(positives - 0.6) < 4 * std::sqrt(0.24 / static_cast<double>(n)));
                    }},
                   {"the mean over the draws is the sum",
                    [] {
                      // Each column many times: of one draw each.
                      const Index n = 20000;
                      for (double leak : {0.0, 0.3}) {
                        const Numbers column = tensor<double>({{0.7}, {-1.2}, {0.4}, {-0.3}});
                        const Numbers d =
                            graddrop(matmul(column, ones<double>({1, n})), Random(5), {.leak = List<double>(4, leak)});
                        const double deviation =
                            std::sqrt((mean(square(d)) - square(mean(d))).item() / static_cast<double>(n));
                        CHECK(deviation > 0);
                        CHECK(std::abs(mean(d).item() - sum(column).item()) < 4 * deviation);
                      }
                    }},
                   {"each coordinate is all of one sign",
                    [] {
                      const Numbers g = random_rows(5, 300, 1), d = graddrop(g, Random(3));
                      const Numbers positive = sum(maximum(g, 0.0), {0}), negative = sum(minimum(g, 0.0), {0});
                      CHECK(max(minimum(abs(d - positive), abs(d - negative))).item() == 0);
                    }},
                   {"the sum where all signs agree, whatever is drawn",
                    [] {
                      const Numbers g = abs(random_rows(4, 50, 2)) *
                                        reshape(cast<double>(random_rows(1, 50, 3) > 0.0) - 0.5, {1, 50});
                      for (std::uint64_t seed = 0; seed < 5; ++seed) {
                        CHECK(gap(graddrop(g, Random(seed)), sum(g, {0})) < 1e-15);
                        CHECK(gap(direction(GradDrop(), g, Random(seed)), mean(g, {0})) < 1e-15);
                        CHECK(gap(direction(GradDrop(), slice(g, 0, 1, 2), Random(seed)), row_of(g, 1)) ==
                              0);  // one task
                      }
                      CHECK(gap(graddrop(zeros<double>({3, 4}), Random(1)), zeros<double>({4})) == 0);
                    }},
                   {"what leaks is kept, by task",
                    [] {
                      const Numbers g = random_rows(3, 40, 4);
                      CHECK(gap(graddrop(g, Random(1), {.leak = {1, 1, 1}}), sum(g, {0})) < 1e-15);
                      // The picked signs do not depend on the leaks: the direction is affine in each.
                      const auto d = [&](double leak) { return graddrop(g, Random(1), {.leak = {0, leak, 0}}); };
                      CHECK(gap(d(0.25), 0.75 * d(0) + 0.25 * d(1)) < 1e-15);
                      const Numbers others = maximum(row_of(g, 0), 0.0) + maximum(row_of(g, 2), 0.0);
                      CHECK(gap(graddrop(g, Random(1), {.leak = {0, 1, 0}, .probability = always_positive}),
                                row_of(g, 1) + others) < 1e-15);
                      CHECK(same_bits(direction(GradDrop{{.leak = {0.5, 0.9, 0.1}}}, g, Random(1), {2, 0, 2}, 3),
                                      graddrop(g, Random(1), {.leak = {0.1, 0.5, 0.1}}) / 3.0));
                    }},
                   {"another probability of the positive sign",
                    [] {
                      const Numbers g = random_rows(3, 40, 4);
                      CHECK(gap(graddrop(g, Random(1), {.leak = {}, .probability = always_positive}),
                                sum(maximum(g, 0.0), {0})) == 0);
                      const Numbers d = graddrop(g, Random(1), {.leak = {}, .probability = majority});
                      CHECK(min(d * sum(g, {0})).item() > 0);
                    }},
                   {"the draws come from the stream",
                    [] {
                      const Numbers g = random_rows(4, 100, 5);
                      CHECK(same_bits(graddrop(g, Random(1)), graddrop(g, Random(1))));
                      CHECK(gap(graddrop(g, Random(1)), graddrop(g, Random(2))) > 0);
                    }},
                   {"scales with all gradients, and the tasks have no order",
                    [] {
                      const Numbers g = random_rows(4, 100, 6), d = graddrop(g, Random(1));
                      CHECK(same_bits(graddrop(1024 * g, Random(1)), 1024 * d));
                      CHECK(gap(graddrop(reorder(g, {2, 0, 3, 1}), Random(1)), d) < 1e-14);
                    }}},
}});

}  // namespace
