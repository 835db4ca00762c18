// Rows of the method table for aggregators that balance the tasks' gradients: each solves a small problem on their
// Gramian.

#include <cmath>
#include <limits>

#include "aggregators.hpp"
#include "catch.hpp"
#include "graft/multitask/aligned_mtl.hpp"
#include "graft/multitask/cagrad.hpp"
#include "graft/multitask/imtl_g.hpp"
#include "graft/multitask/mgda.hpp"
#include "graft/multitask/nash_mtl.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/reduce.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

// ---- MGDA -----------------------------------------------------------------------------------------------------------

Numbers mgda(const Numbers& jacobian) { return direction_of(mgda_weights(gramian_of(jacobian)), jacobian); }

const bool mgda_row = add_method_rows({{
    .name = "mgda",
    .header = "graft/multitask/mgda.hpp",
    .paper = "Sener, Koltun, Multi-task learning as multi-objective optimization, NeurIPS 2018",
    .functions = {"mgda_weights", "Mgda"},
    .use = "aggregators().make(\"mgda\", tasks)",
    .run = [](const Random& random) { return one_round(Mgda{{.normalise = MgdaNormalise::loss_l2}}, random); },
    .errors = joined(bad_gramians([](const Numbers& m) { mgda_weights(m); }),
                     {bad_use<ValueError>(
                          [] {
                            TaskGradients gradients(golden, {}, Random(1));
                            Mgda{{.normalise = MgdaNormalise::loss}}(gradients);
                          },
                          "losses are not known"),
                      bad_use<ValueError>(
                          [] {
                            TaskGradients gradients(golden, tensor<double>({1, 0}), Random(1));
                            Mgda{{.normalise = MgdaNormalise::loss_l2}}(gradients);
                          },
                          "loss of task 1 is 0"),
                      bad_use<ValueError>(
                          [] {
                            const double nan = std::numeric_limits<double>::quiet_NaN();
                            TaskGradients gradients(golden, tensor<double>({nan, 1}), Random(1));
                            Mgda{{.normalise = MgdaNormalise::loss}}(gradients);
                          },
                          "loss of task 0 is nan")}),
    .properties =
        {{"the golden rows",
          [] {
            CHECK(gap(mgda_weights(gramian_of(golden)), tensor<double>({0.6, 0.4})) < 1e-15);
            CHECK(gap(mgda(golden), tensor<double>({0, 1, 1})) < 1e-14);
          }},
         {"two tasks: a_1 = <g_2 - g_1, g_2> / |g_1 - g_2|^2, cut to [0, 1]",
          [] {
            for (std::uint64_t seed = 0; seed < 50; ++seed) {
              const Numbers g = scale_rows(tensor<double>({1, std::pow(10, Random(4).uniform(seed, -2, 2))}),
                                           random_rows(2, 3, seed));
              const Numbers apart = row_of(g, 1) - row_of(g, 0);
              const double first = std::clamp(inner(apart, row_of(g, 1)) / inner(apart, apart), 0.0, 1.0);
              CHECK(gap(mgda_weights(gramian_of(g)), tensor<double>({first, 1 - first})) < 1e-12);
            }
          }},
         {"right angles: a_i is proportional to 1 / |g_i|^2, to the last digits for tasks of any scale",
          [] {
            const Numbers lengths = tensor<double>({2, 1e-5, 3e4, 1});
            const Numbers found = mgda_weights(lengths * lengths * eye<double>(4));
            const double total = sum(1 / (lengths * lengths)).item();
            for (Index i = 0; i < 4; ++i)
              CHECK(at(found, i) == Approx(1 / std::pow(at(lengths, i), 2) / total).epsilon(1e-12));
          }},
         {"<d, g_i> >= |d|^2 for all tasks, which says that no convex combination is shorter",
          [] {
            std::vector<TestJacobian> all = test_jacobians();
            all.push_back({"sixty tasks", random_rows(60, 20, 1) + 1.0});
            all.push_back({"sixty tasks around the origin", random_rows(60, 20, 1)});
            for (const TestJacobian& test : all) {
              INFO(test.name);
              const Numbers w = mgda_weights(gramian_of(test.rows)), d = direction_of(w, test.rows);
              CHECK(min(w).item() >= 0);
              CHECK(std::abs(sum(w).item() - 1) < 1e-14);
              const double size = size_of(w, test.rows);
              const std::vector<double> lengths = lengths_of(test.rows);
              for (Index i = 0; i < w.count(); ++i)
                CHECK(at(gains(test.rows, d), i) >= inner(d, d) - 1e-13 * size * (size + lengths[i]));
            }
          }},
         {"d = 0 exactly at Pareto-stationary points",
          [] {
            for (const TestJacobian& test : test_jacobians()) {
              INFO(test.name);
              const Numbers w = mgda_weights(gramian_of(test.rows)), d = direction_of(w, test.rows);
              if (test.stationary)
                CHECK(length_of(d) <= 1e-7 * size_of(w, test.rows));
              else
                CHECK(length_of(d) > 1e-5 * size_of(w, test.rows));
            }
          }},
         {"no conflicts; linear in the gradients; independent of the tasks' order",
          [] {
            const auto weights_of = [](const Numbers& m) { return mgda_weights(m); };
            for (const TestJacobian& test : test_jacobians()) {
              INFO(test.name);
              CHECK(never_conflicts(mgda_weights(gramian_of(test.rows)), test.rows));
              CHECK(scales_linearly(weights_of, test.rows));
              CHECK(permutes(weights_of, test.rows));
            }
            // A power of 2 changes no bit of the weights, up to the ends of double.
            const Numbers m = gramian_of(random_rows(5, 8, 2));
            for (int power : {-900, -60, 60, 900})
              CHECK(same_bits(mgda_weights(std::ldexp(1.0, power) * m), mgda_weights(m)));
          }},
         {"the quadratic programme behind it, with a linear term too: no unknown promises a descent",
          [] {
            // min 1/2 w' M w + q' w over the simplex has (M w + q)_i >= (M w + q)' w for all i. Of any rank, 0 too,
            // where it is a linear programme, and from where the last one ended.
            for (std::uint64_t seed = 0; seed < 300; ++seed) {
              const Random random = Random(6).stream(seed);
              const Index n = 1 + random.below(0, 9), rank = random.below(1, 6);
              const Numbers g = scale_rows(exp(3.0 * randn<double>({n}, random.stream("lengths"))),
                                           randn<double>({n, rank}, random.stream("rows")));
              const Numbers m = rank == 0 ? zeros<double>({n, n}) : gramian_of(g);
              const List<double> matrix(host(m));
              detail::SimplexQp programme(n, matrix);
              for (int term = 0; term < 4; ++term) {
                const Numbers q = std::pow(10.0, 2 - 3 * term) * randn<double>({n}, random.stream("term", term));
                programme.solve(List<double>(host(q)));
                const Numbers w = from_vector(programme.weights());
                CHECK(min(w).item() >= 0);
                CHECK(std::abs(sum(w).item() - 1) < 1e-14);
                const Numbers slope = gains(m, w) + q, noise = gains(abs(m), w) + abs(q);
                const double level = inner(slope, w), level_noise = inner(noise, w);
                for (Index i = 0; i < n; ++i) CHECK(at(slope, i) >= level - 1e-11 * (at(noise, i) + level_noise));
              }
            }
          }},
         {"one task has all the weight, the same gradient twice is that gradient",
          [] {
            CHECK(same_bits(mgda_weights(full<double>({1, 1}, 7)), ones<double>({1})));
            CHECK(gap(mgda(concat(std::vector{golden, golden}, 0)), mgda(golden)) < 1e-14);
          }},
         {"normalised by lengths: that of unit gradients, for the gradients themselves or for the normalised ones",
          [] {
            const Numbers g = random_rows(3, 6, 4), c = tensor<double>({1, 50, 0.02});
            Numbers unit = g;
            for (Index i = 0; i < 3; ++i)
              unit = concat(std::vector{slice(unit, 0, 1, 3), slice(unit, 0, 0, 1) / length_of(row_of(g, i))}, 0);
            const Numbers expected = mgda_weights(gramian_of(unit));
            const Mgda authors{{.normalise = MgdaNormalise::l2}},
                normalised{{.normalise = MgdaNormalise::l2, .combine_normalised = true}};
            CHECK(gap(weights_by(authors, scale_rows(c, g)), expected) < 1e-13);
            CHECK(gap(direction_of(weights_by(normalised, scale_rows(c, g)), scale_rows(c, g)), mgda(unit)) < 1e-13);
            for (const TestJacobian& test : test_jacobians()) {
              INFO(test.name);
              CHECK(never_conflicts(weights_by(normalised, test.rows), test.rows));
            }
          }},
         {"normalised by losses, and by both",
          [] {
            const Numbers g = random_rows(3, 6, 5), losses = tensor<double>({0.5, 3, 20});
            Numbers lengths = from_vector(lengths_of(g));
            const auto of_rows = [&](const Numbers& divisors) {
              return mgda_weights(gramian_of(scale_rows(1 / divisors, g)));
            };
            CHECK(gap(weights_by(Mgda{{.normalise = MgdaNormalise::loss}}, g, losses), of_rows(losses)) < 1e-13);
            CHECK(gap(weights_by(Mgda{{.normalise = MgdaNormalise::loss_l2}}, g, losses), of_rows(losses * lengths)) <
                  1e-13);
            CHECK(gap(weights_by(Mgda{{.normalise = MgdaNormalise::loss, .combine_normalised = true}}, g, losses),
                      of_rows(losses) / losses) < 1e-13);
            CHECK(same_bits(weights_by(Mgda(), g, losses), mgda_weights(gramian_of(g))));
            // A gradient of 0 needs no divisor, so its loss may be 0 as well.
            const Numbers with_zero = concat(std::vector{golden, zeros<double>({1, 3})}, 0);
            CHECK(gap(weights_by(Mgda{{.normalise = MgdaNormalise::loss}}, with_zero, tensor<double>({1, 2, 0})),
                      tensor<double>({0, 0, 1})) == 0);
          }},
         {"the weights are plain numbers", [] { CHECK_FALSE(mgda_weights(variable(gramian_of(golden))).tracked()); }}},
}});

// ---- CAGrad ---------------------------------------------------------------------------------------------------------

/// <g_w, g_0> + c |g_0| |g_w|
double cagrad_dual(const Numbers& g, double c, const Numbers& w) {
  const Numbers mean_gradient = mean(g, {0}), mixed = direction_of(w, g);
  return inner(mixed, mean_gradient) + c * length_of(mean_gradient) * length_of(mixed);
}
/// min_i <g_i, d> of the direction.
double cagrad_value(const Numbers& g, double c) {
  return min(gains(g, direction_of(cagrad_weights(gramian_of(g), {.c = c}), g))).item();
}
/// The dual's minimum over a grid of the simplex of 2 or 3 tasks, which is above the minimum.
double cagrad_by_grid(const Numbers& g, double c, int steps) {
  double best = std::numeric_limits<double>::infinity();
  const auto try_it = [&](const Numbers& w) { best = std::min(best, cagrad_dual(g, c, w)); };
  for (int i = 0; i <= steps; ++i) {
    const double a = static_cast<double>(i) / steps;
    if (g.size(0) == 2) try_it(tensor<double>({a, 1 - a}));
    for (int j = 0; g.size(0) == 3 && i + j <= steps; ++j) {
      const double b = static_cast<double>(j) / steps;
      try_it(tensor<double>({a, b, 1 - a - b}));
    }
  }
  return best;
}
double longest_of(const Numbers& g) {
  double longest = 0;
  for (double length : lengths_of(g)) longest = std::max(longest, length);
  return longest;
}

const bool cagrad_row = add_method_rows({{
    .name = "cagrad",
    .header = "graft/multitask/cagrad.hpp",
    .paper = "Liu, Liu, Jin, Stone, Liu, Conflict-averse gradient descent for multi-task learning, NeurIPS 2021",
    .functions = {"cagrad_weights", "CaGrad"},
    .use = "aggregators().make(\"cagrad\", tasks)",
    .run = [](const Random& random) { return one_round(CaGrad(), random); },
    .errors = joined(bad_gramians([](const Numbers& m) { cagrad_weights(m); }),
                     {bad_use<ValueError>([] { cagrad_weights(gramian_of(golden), {.c = -0.1}); }, "c is -0.1"),
                      bad_use<ValueError>(
                          [] {
                            TaskGradients gradients(golden, {}, Random(1));
                            CaGrad{{.c = std::numeric_limits<double>::infinity()}}(gradients);
                          },
                          "c is inf")}),
    .properties =
        {{"the golden rows",
          [] {
            // By hand: w = (1, 0), |g_0| = 3^(1/2), |g_1| = 18^(1/2), so the first weight is 1/2 + 1/2 (3 / 18)^(1/2).
            const Numbers w = cagrad_weights(gramian_of(golden));
            CHECK(gap(w, tensor<double>({0.5 + 0.5 * std::sqrt(3.0 / 18), 0.5})) < 1e-14);
            CHECK(gap(direction_of(w, golden), tensor<double>({0.1835, 1.2041, 1.2041})) < 5e-5);
          }},
         {"c = 0 is the mean, one task g gives (1 + c) g",
          [] {
            for (const TestJacobian& test : test_jacobians()) {
              const Numbers w = cagrad_weights(gramian_of(test.rows), {.c = 0});
              CHECK(same_bits(w, full<double>({test.rows.size(0)}, 1.0 / static_cast<double>(test.rows.size(0)))));
            }
            CHECK(at(cagrad_weights(full<double>({1, 1}, 7), {.c = 0.3}), 0) == Approx(1.3).epsilon(1e-15));
          }},
         {"the dual's minimum over a grid, for two and three tasks",
          [] {
            for (std::uint64_t seed = 0; seed < 8; ++seed)
              for (double c : {0.2, 0.5, 0.9, 2.0})
                for (Index tasks : {2, 3}) {
                  const Numbers g = random_rows(tasks, 4, 100 + seed);
                  const double found = cagrad_value(g, c), scale = longest_of(g) * longest_of(g);
                  const int steps = tasks == 2 ? 4000 : 120;
                  const double grid = cagrad_by_grid(g, c, steps);
                  CHECK(found <= grid + 1e-13 * scale);  // weak duality
                  // Between neighbours of the grid the dual changes by less than (1 + c) longest^2 times their
                  // distance.
                  CHECK(found >= grid - (1 + c) * scale * 2 / steps);
                }
            // Smooth around the minimum, so that a fine grid is exact to its step's square.
            const Numbers g = tensor<double>({{3, 1, 0}, {-1, 2, 1}});
            CHECK(cagrad_value(g, 0.5) == Approx(cagrad_by_grid(g, 0.5, 100000)).epsilon(1e-8));
          }},
         {"no gap to the dual: min_i <g_i, d> is its value at the weights of d - g_0",
          [] {
            for (const TestJacobian& test : test_jacobians())
              for (double c : {0.1, 0.5, 0.9}) {
                INFO(test.name << ", c = " << c);
                const Numbers m = gramian_of(test.rows), w = cagrad_weights(m, {.c = c});
                const Index tasks = test.rows.size(0);
                const Numbers pulled = w - 1.0 / static_cast<double>(tasks);
                const double total = sum(pulled).item(), scale = longest_of(test.rows) * longest_of(test.rows);
                if (test.stationary || total == 0) continue;
                CHECK(min(pulled).item() >= 0);
                const double value = min(gains(test.rows, direction_of(w, test.rows))).item();
                CHECK(std::abs(value - cagrad_dual(test.rows, c, pulled / total)) <= 1e-12 * scale);
              }
          }},
         {"|d - g_0| = c |g_0|, and no worse than the mean for the worst task",
          [] {
            for (const TestJacobian& test : test_jacobians())
              for (double c : {0.1, 0.5, 1.5}) {
                INFO(test.name << ", c = " << c);
                const Numbers mean_gradient = mean(test.rows, {0});
                const Numbers w = cagrad_weights(gramian_of(test.rows), {.c = c}), d = direction_of(w, test.rows);
                const double radius = c * length_of(mean_gradient), far = length_of(d - mean_gradient);
                const double rounding = 1e-9 * longest_of(test.rows);
                CHECK(far <= radius + rounding);
                if (!test.stationary) CHECK(far >= radius - rounding);
                CHECK(min(gains(test.rows, d)).item() >=
                      min(gains(test.rows, mean_gradient)).item() - 1e-9 * longest_of(test.rows) * length_of(d));
              }
          }},
         {"a dual minimiser of length 0: the nearest direction to the mean that conflicts with no task",
          [] {
            // Tasks 1 and 2 allow no step along the first axis; what is left of the mean (-1/3, 1) is (0, 1), nearer to
            // it than 1/2 of its length.
            const Numbers g = tensor<double>({{1, 0}, {-2, 0}, {0, 3}});
            CHECK(gap(direction_of(cagrad_weights(gramian_of(g)), g), tensor<double>({0, 1})) < 1e-13);
            // Not nearer than a fifth: then the dual is above... its value, as over a grid, and the whole radius.
            CHECK(cagrad_value(g, 0.2) == Approx(cagrad_by_grid(g, 0.2, 300)).margin(0.02));
            const Numbers short_of = direction_of(cagrad_weights(gramian_of(g), {.c = 0.2}), g);
            CHECK(length_of(short_of - mean(g, {0})) == Approx(0.2 * length_of(mean(g, {0}))).epsilon(1e-12));
            // Opposite gradients: nothing but 0 is allowed for c >= 1.
            const Numbers opposite = tensor<double>({{1, 2}, {-3, -6}});
            CHECK(length_of(direction_of(cagrad_weights(gramian_of(opposite), {.c = 1}), opposite)) < 1e-13);
            // A task without a gradient: its gain is 0 whatever d is, so the others' must not be below.
            const Numbers with_zero = tensor<double>({{-4, 1, 1}, {0, 0, 0}, {6, 1, 1}});
            const Numbers d = direction_of(cagrad_weights(gramian_of(with_zero), {.c = 0.9}), with_zero);
            CHECK(min(gains(with_zero, d)).item() >= -1e-12);
            // The projection of (2/3, 2/3, 2/3) onto <d, g_1> >= 0: + (4/3) / 18 g_1.
            CHECK(gap(d, full<double>({3}, 2.0 / 3) + 4.0 / 3 / 18 * row_of(golden, 0)) < 1e-12);
          }},
         {"no conflicts for c >= 1; linear in the gradients; independent of the tasks' order",
          [] {
            for (double c : {0.5, 1.0, 3.0}) {
              const auto weights_of = [&](const Numbers& m) { return cagrad_weights(m, {.c = c}); };
              for (const TestJacobian& test : test_jacobians()) {
                INFO(test.name << ", c = " << c);
                if (c >= 1) CHECK(never_conflicts(weights_of(gramian_of(test.rows)), test.rows));
                CHECK(scales_linearly(weights_of, test.rows));
                CHECK(permutes(weights_of, test.rows));
              }
            }
          }},
         {"divided by 1 + c or 1 + c^2",
          [] {
            const Numbers m = gramian_of(random_rows(3, 5, 7)), plain = cagrad_weights(m, {.c = 0.4});
            CHECK(gap(cagrad_weights(m, {.c = 0.4, .rescale = CaGradRescale::one_plus_c}), plain / 1.4) < 1e-15);
            CHECK(gap(cagrad_weights(m, {.c = 0.4, .rescale = CaGradRescale::one_plus_c2}), plain / 1.16) < 1e-15);
            const Numbers g = random_rows(3, 5, 7);
            CHECK(same_bits(weights_by(CaGrad{{.c = 0.4}}, g), cagrad_weights(gramian_of(g), {.c = 0.4})));
          }},
         {"the weights are plain numbers",
          [] { CHECK_FALSE(cagrad_weights(variable(gramian_of(golden))).tracked()); }}},
}});

// ---- IMTL-G ---------------------------------------------------------------------------------------------------------

/// <d, g_i / |g_i|>
Numbers projections(const Numbers& jacobian, const Numbers& direction) {
  return gains(jacobian, direction) / from_vector(lengths_of(jacobian));
}

const bool imtl_g_row = add_method_rows({{
    .name = "imtl_g",
    .header = "graft/multitask/imtl_g.hpp",
    .paper = "Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, Towards impartial multi-task learning, ICLR 2021",
    .functions = {"imtl_g_weights", "ImtlG"},
    .use = "aggregators().make(\"imtl_g\", tasks)",
    .run = [](const Random& random) { return one_round(ImtlG(), random); },
    .errors = bad_gramians([](const Numbers& m) { imtl_g_weights(m); }),
    .properties = {{"the golden rows",
                    [] {
                      const Numbers w = imtl_g_weights(gramian_of(golden));
                      CHECK(gap(w, tensor<double>({0.5923, 0.4077})) < 5e-5);
                      CHECK(gap(direction_of(w, golden), tensor<double>({0.0767, 1, 1})) < 5e-5);
                    }},
                   {"two tasks: weights proportional to 1 / |g_i|, Nash's direction",
                    [] {
                      for (std::uint64_t seed = 0; seed < 20; ++seed) {
                        const Numbers g = random_rows(2, 3, 300 + seed), w = imtl_g_weights(gramian_of(g));
                        const double a = length_of(row_of(g, 0)), b = length_of(row_of(g, 1));
                        CHECK(gap(w, tensor<double>({b / (a + b), a / (a + b)})) < 1e-12);
                        CHECK(cosine(direction_of(w, g), direction_of(nash_mtl_weights(gramian_of(g)), g)) ==
                              Approx(1).epsilon(1e-12));
                      }
                    }},
                   {"two tasks never conflict with their direction",
                    [] {
                      for (const TestJacobian& test : test_jacobians()) {
                        INFO(test.name);
                        if (test.rows.size(0) == 2)
                          CHECK(never_conflicts(imtl_g_weights(gramian_of(test.rows)), test.rows));
                      }
                    }},
                   {"equal projections on independent gradients; weights of sum 1",
                    [] {
                      for (std::uint64_t seed = 0; seed < 10; ++seed) {
                        const Index tasks = 2 + static_cast<Index>(seed % 4);
                        Numbers lengths = exp(6.0 * randn<double>({tasks}, Random(5).stream(seed)));
                        const Numbers g = scale_rows(lengths, random_rows(tasks, 9, 320 + seed));
                        const Numbers w = imtl_g_weights(gramian_of(g)), along = projections(g, direction_of(w, g));
                        CHECK(max(along).item() - min(along).item() <= 1e-8 * std::abs(max(along).item()));
                        CHECK(sum(w).item() == Approx(1).epsilon(1e-9));
                      }
                    }},
                   {"the direction does not depend on the tasks' scales, but for its length",
                    [] {
                      const Numbers g = random_rows(3, 6, 15), c = tensor<double>({1e-5, 2, 1e7});
                      const Numbers d = direction_of(imtl_g_weights(gramian_of(g)), g),
                                    scaled =
                                        direction_of(imtl_g_weights(gramian_of(scale_rows(c, g))), scale_rows(c, g));
                      CHECK(std::abs(cosine(d, scaled)) == Approx(1).epsilon(1e-12));
                    }},
                   {"equal projections may be below 0",
                    [] {
                      // Equal projections on the first two need d along the first axis; the third, short, has to bring
                      // d below.
                      const Numbers g = tensor<double>({{0.8, 0.6, 0}, {0.8, -0.6, 0}, {0.01, 0, 0.003}});
                      const Numbers along = projections(g, direction_of(imtl_g_weights(gramian_of(g)), g));
                      CHECK(max(along).item() < 0);
                      CHECK(max(along).item() - min(along).item() <= 1e-9 * std::abs(max(along).item()));
                    }},
                   {"linear in the gradients; independent of the tasks' order; weights of sum 1, or none",
                    [] {
                      const auto weights_of = [](const Numbers& m) { return imtl_g_weights(m); };
                      for (const TestJacobian& test : test_jacobians()) {
                        INFO(test.name);
                        CHECK(scales_linearly(weights_of, test.rows));
                        CHECK(permutes(weights_of, test.rows));
                        const Numbers w = weights_of(gramian_of(test.rows));
                        CHECK(
                            (max(abs(w)).item() == 0 || std::abs(sum(w).item() - 1) < 1e-9 * (1 + sum(abs(w)).item())));
                      }
                    }},
                   {"gradients of 0, opposite ones, the same twice, one task",
                    [] {
                      const Numbers w = imtl_g_weights(gramian_of(tensor<double>({{-4, 1, 1}, {0, 0, 0}, {6, 1, 1}})));
                      const Numbers without = imtl_g_weights(gramian_of(golden));
                      CHECK(gap(w, tensor<double>({at(without, 0), 0, at(without, 1)})) < 1e-14);
                      CHECK(max(abs(imtl_g_weights(zeros<double>({2, 2})))).item() == 0);
                      CHECK(max(abs(imtl_g_weights(tensor<double>({{1, -2}, {-2, 4}})))).item() == 0);
                      // Equal projections on these take weights proportional to (1, 1, -2), which no factor gives the
                      // sum 1.
                      const Numbers balanced = tensor<double>({{0.8, 0.6, 0}, {0.8, -0.6, 0}, {0.96, 0, 0.28}});
                      const Numbers weighted = scale_rows(tensor<double>({1, 1, 16.0 / 29}), balanced);
                      CHECK(max(abs(imtl_g_weights(gramian_of(weighted)))).item() == 0);
                      // Three at 120 degrees in some plane: no direction has equal projections but 0.
                      const double half = std::sqrt(0.75);
                      const Numbers star =
                          matmul(tensor<double>({{1, 0}, {-0.5, half}, {-0.5, -half}}),
                                 tensor<double>({{0.3, -0.4, 1.2}, {1.04, 0.78, 0}}) / std::sqrt(1.69));
                      for (const Numbers& c : {tensor<double>({1, 1, 1}), tensor<double>({0.1, 7, 3})})
                        CHECK(max(abs(imtl_g_weights(gramian_of(scale_rows(c, star))))).item() == 0);
                      CHECK(gap(imtl_g_weights(full<double>({2, 2}, 3)), full<double>({2}, 0.5)) < 1e-14);
                      CHECK(gap(imtl_g_weights(full<double>({1, 1}, 3)), ones<double>({1})) < 1e-15);
                    }},
                   {"as an aggregator; the weights are plain numbers",
                    [] {
                      CHECK(same_bits(weights_by(ImtlG(), golden), imtl_g_weights(gramian_of(golden))));
                      CHECK_FALSE(imtl_g_weights(variable(gramian_of(golden))).tracked());
                    }}},
}});

// ---- Aligned-MTL ----------------------------------------------------------------------------------------------------

Numbers aligned(const Numbers& jacobian, const AlignedMtlOptions& options = {}) {
  return direction_of(aligned_mtl_weights(gramian_of(jacobian), options), jacobian);
}
/// The aligned gradients, one a row: directions for preferences of one task alone.
Numbers aligned_rows(const Numbers& jacobian, AlignedMtlOptions options = {}) {
  std::vector<Numbers> rows;
  for (Index i = 0; i < jacobian.size(0); ++i) {
    options.preference = List<double>(jacobian.size(0));
    options.preference[i] = 1;
    rows.push_back(aligned(jacobian, options));
  }
  return stack(rows);
}

const bool aligned_mtl_row = add_method_rows({{
    .name = "aligned_mtl",
    .header = "graft/multitask/aligned_mtl.hpp",
    .paper = "Senushkin, Patakin, Kuznetsov, Konushin, Independent component alignment for multi-task learning, CVPR "
             "2023",
    .functions = {"aligned_mtl_weights", "AlignedMtl"},
    .use = "aggregators().make(\"aligned_mtl\", tasks)",
    .run = [](const Random& random) { return one_round(AlignedMtl(), random); },
    .errors = joined(bad_gramians([](const Numbers& m) { aligned_mtl_weights(m); }),
                     {bad_use<ValueError>([] { aligned_mtl_weights(gramian_of(golden), {.rank_tolerance = 1}); },
                                          "rank_tolerance is 1"),
                      bad_use<ValueError>(
                          [] {
                            aligned_mtl_weights(gramian_of(golden), {.preference = {1, 2, 3}});
                          },
                          "2 tasks"),
                      bad_use<ValueError>(
                          [] {
                            aligned_mtl_weights(gramian_of(golden), {.preference = {1, -1}});
                          },
                          "-1"),
                      bad_use<ValueError>(
                          [] {
                            TaskGradients gradients(golden, {}, Random(1));
                            gradients.all_tasks = 3;
                            AlignedMtl{{.preference = {1, 1}}}(gradients);
                          },
                          "3 tasks"),
                      bad_use<IndexError>(
                          [] {
                            TaskGradients gradients(golden, {}, Random(1));
                            gradients.ids = {0, -1};
                            AlignedMtl{{.preference = {1, 1}}}(gradients);
                          },
                          "task -1 of 2")}),
    .properties =
        {{"the golden rows",
          [] {
            CHECK(gap(aligned_mtl_weights(gramian_of(golden)), tensor<double>({0.5591, 0.4083})) < 5e-5);
            CHECK(gap(aligned(golden), tensor<double>({0.2133, 0.9673, 0.9673})) < 5e-5);
          }},
         {"the aligned gradients are orthogonal and of one length, the smallest singular value: condition number 1",
          [] {
            for (std::uint64_t seed = 0; seed < 5; ++seed) {
              const Numbers g = random_rows(4, 7, 400 + seed), h = aligned_rows(g);
              const double least = at(symmetric_eigen(gramian_of(g)).values, 0);
              CHECK(gap(gramian_of(h), least * eye<double>(4)) < 1e-11);
            }
            // Of dependent gradients: the singular values that are not 0.
            const Numbers g = matmul(tensor<double>({{1, 0}, {1, 1}, {0.2, -0.5}}), random_rows(2, 5, 16));
            const Numbers values = symmetric_eigen(gramian_of(g)).values,
                          after = symmetric_eigen(gramian_of(aligned_rows(g))).values;
            CHECK(gap(after, tensor<double>({0, at(values, 1), at(values, 1)})) < 1e-12 * at(values, 2));
          }},
         {"orthogonal gradients of one length stay as they are",
          [] {
            CHECK(gap(aligned_rows(3.0 * eye<double>(4)), 3.0 * eye<double>(4)) < 1e-14);
            CHECK(gap(aligned(eye<double>(4)), full<double>({4}, 0.25)) < 1e-15);
          }},
         {"right angles: each gradient to the common length",
          [] {
            const Numbers m = tensor<double>({2, 3, 0.5}) * tensor<double>({2, 3, 0.5}) * eye<double>(3);
            const auto expected = [](double length) { return length / 3 / tensor<double>({2, 3, 0.5}); };
            CHECK(gap(aligned_mtl_weights(m), expected(0.5)) < 1e-15);
            CHECK(gap(aligned_mtl_weights(m, {.scale = AlignedScale::median}), expected(2)) < 1e-14);
            CHECK(gap(aligned_mtl_weights(m, {.scale = AlignedScale::rmse}), expected(std::sqrt(13.25 / 3))) < 1e-14);
            // Of two, or of two that are not 0, the median is the lower one, as in the authors' code.
            const AlignedMtlOptions median{.scale = AlignedScale::median, .preference = {1, 1}};
            CHECK(gap(aligned_mtl_weights(tensor<double>({{4, 0}, {0, 9}}), median), tensor<double>({1, 2.0 / 3})) <
                  1e-15);
            const Numbers with_zero = tensor<double>({{0, 0, 0}, {0, 4, 0}, {0, 0, 9}});
            CHECK(gap(aligned_mtl_weights(with_zero, {.scale = AlignedScale::median, .preference = {1, 1, 1}}),
                      tensor<double>({0, 1, 2.0 / 3})) < 1e-15);
            const double common = std::sqrt(6.5);  // root of the mean of 4 and 9
            CHECK(gap(aligned_mtl_weights(with_zero, {.scale = AlignedScale::rmse, .preference = {1, 1, 1}}),
                      tensor<double>({0, common / 2, common / 3})) < 1e-14);
          }},
         {"linear in the preference, which is by task where tasks are absent from a round",
          [] {
            const Numbers g = random_rows(3, 5, 17);
            const Numbers sum_of = aligned(g, {.preference = {1, 0, 2}}) + aligned(g, {.preference = {0.5, 3, 0}});
            CHECK(gap(aligned(g, {.preference = {1.5, 3, 2}}), sum_of) < 1e-13);
            CHECK(gap(aligned(g, {.preference = {0.5, 0.5, 0.5}}), 1.5 * aligned(g)) < 1e-14);
            TaskGradients gradients(slice(g, 0, 0, 2), {}, Random(1));
            gradients.ids = {2, 0};
            gradients.all_tasks = 3;
            Aggregator aggregator = AlignedMtl{{.preference = {0.2, 9, 0.7}}};
            CHECK(same_bits(aggregator(gradients).weights,
                            aligned_mtl_weights(gradients.gramian(), {.preference = {0.7, 0.2}})));
          }},
         {"linear in the gradients; independent of the tasks' order",
          [] {
            for (AlignedScale scale : {AlignedScale::min, AlignedScale::median, AlignedScale::rmse}) {
              const auto weights_of = [&](const Numbers& m) { return aligned_mtl_weights(m, {.scale = scale}); };
              for (const TestJacobian& test : test_jacobians()) {
                INFO(test.name);
                // Rounding errors are of the largest eigenvalue's size, results of the smallest's that is not 0.
                const Numbers values = symmetric_eigen(gramian_of(test.rows)).values;
                const double largest = max(values).item();
                double smallest = largest;
                for (double value : host(values))
                  if (value > 1e-12 * largest) smallest = std::min(smallest, value);
                const double tolerance = std::max(1e-9, largest == 0 ? 0 : 1e-14 * largest / smallest);
                CHECK(scales_linearly(weights_of, test.rows, tolerance));
                CHECK(permutes(weights_of, test.rows, tolerance));
              }
            }
          }},
         {"the rank's tolerance: gradients that are the same but for it count as the same",
          [] {
            const Numbers g = tensor<double>({{1, 0}, {1, 1e-4}});  // eigenvalues about 2 and 5e-9
            CHECK(gap(aligned(g, {.rank_tolerance = 1e-6}), row_of(g, 0)) < 1e-4);
            CHECK(length_of(aligned(g)) == Approx(1e-4 / std::sqrt(2) / std::sqrt(2)).epsilon(1e-3));
            CHECK(gap(aligned(tensor<double>({{1, 2}, {1, 2}})), tensor<double>({1, 2})) < 1e-14);
          }},
         {"opposite gradients keep the part that the preference leaves",
          [] {
            // One direction only: s = |g_1|^2 + |g_2|^2 is the one eigenvalue, its vector (1, -2) / 5^(1/2).
            CHECK(gap(aligned_mtl_weights(tensor<double>({{1, -2}, {-2, 4}})), tensor<double>({-0.1, 0.2})) < 1e-15);
            CHECK(max(abs(aligned_mtl_weights(zeros<double>({2, 2})))).item() == 0);
          }},
         {"as an aggregator; the weights are plain numbers",
          [] {
            CHECK(same_bits(weights_by(AlignedMtl(), golden), aligned_mtl_weights(gramian_of(golden))));
            CHECK_FALSE(aligned_mtl_weights(variable(gramian_of(golden))).tracked());
          }}},
}});

}  // namespace
