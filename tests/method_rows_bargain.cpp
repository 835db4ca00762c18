// Rows of the method table for aggregators that strike a bargain between the tasks.

#include <cmath>
#include <limits>

#include "aggregators.hpp"
#include "catch.hpp"
#include "graft/multitask/fairgrad.hpp"
#include "graft/multitask/imtl_g.hpp"
#include "graft/multitask/nash_mtl.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/reduce.hpp"

using namespace graft;

namespace {

// ---- Nash-MTL and FairGrad ------------------------------------------------------------------------------------------

/// The largest |a_i^(1/alpha) (M a)_i - 1| over the tasks with a weight, beyond what rounding (M a)_i may change.
double bargain_error(const Numbers& jacobian, const Numbers& a, double alpha) {
  const Numbers m = gramian_of(jacobian);
  double worst = 0;
  for (Index i = 0; i < a.count(); ++i) {
    if (at(a, i) == 0) continue;
    double gain = 0, size = 0;
    for (Index j = 0; j < a.count(); ++j) {
      gain += at(m, i, j) * at(a, j);
      size += std::abs(at(m, i, j)) * at(a, j);
    }
    const double pull = std::pow(at(a, i), -1 / alpha);
    worst = std::max(worst, (std::abs(gain - pull) - 1e-13 * size) / pull);
  }
  return worst;
}
/// sum_i y_i^(1 - alpha) / (1 - alpha), or of logarithms.
double utility(const Numbers& gain, double alpha) {
  return alpha == 1 ? sum(log(gain)).item() : sum(pow(gain, 1 - alpha)).item() / (1 - alpha);
}
/// No direction of the same length near `d` has more utility.
bool is_best_nearby(const Numbers& jacobian, const Numbers& d, double alpha) {
  const double length = length_of(d), best = utility(gains(jacobian, d), alpha);
  for (std::uint64_t i = 0; i < 200; ++i) {
    const double far = std::pow(10.0, -1 - static_cast<double>(i % 5));
    Numbers other = d + far * length * randn<double>(d.shape(), Random(8).stream(i));
    other = length / length_of(other) * other;
    if (min(gains(jacobian, other)).item() > 0 &&
        utility(gains(jacobian, other), alpha) > best + 1e-12 * std::abs(best))
      return false;
  }
  return true;
}

const NashMtlOptions unclipped{.max_norm = 0};

const bool nash_mtl_row = add_method_rows({{
    .name = "nash_mtl",
    .header = "graft/multitask/nash_mtl.hpp",
    .paper = "Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya, Multi-task learning as a bargaining game, "
             "ICML 2022",
    .functions = {"nash_mtl_weights", "NashMtl"},
    .use = "aggregators().make(\"nash_mtl\", tasks)",
    .run = [](const Random& random) { return one_round(NashMtl(0, {.update_every = 2}), random); },
    .errors =
        joined(bad_gramians([](const Numbers& m) { nash_mtl_weights(m); }),
               {bad_use<ValueError>([] { nash_mtl_weights(gramian_of(golden), {.max_norm = -1}); }, "max_norm is -1"),
                bad_use<ValueError>([] { nash_mtl_weights(gramian_of(golden), {.iterations = 0}); }, "iterations is 0"),
                bad_use<ValueError>([] { NashMtl(0, {.update_every = 0}); }, "update_every is 0"),
                bad_use<ValueError>([] { NashMtl(-1); }, "tasks is -1"),
                bad_use<IndexError>(
                    [] {
                      TaskGradients gradients(golden, {}, Random(1));
                      gradients.ids = {0, 2};
                      NashMtl(2, {.update_every = 2})(gradients);
                    },
                    "task 2 of 2")}),
    .properties =
        {{"the golden rows",
          [] {
            const Numbers m = gramian_of(golden), w = nash_mtl_weights(m, unclipped), d = direction_of(w, golden);
            CHECK(gap(w, tensor<double>({0.59146, 0.40707})) < 5e-6);
            CHECK(gap(d, tensor<double>({0.0766, 0.9985, 0.9985})) < 5e-5);
            CHECK(gap(direction_of(nash_mtl_weights(m), golden), tensor<double>({0.0542, 0.7061, 0.7061})) < 5e-5);
          }},
         {"two tasks: a_i = 1 / (|g_i| (1 + cos)^(1/2))",
          [] {
            for (std::uint64_t seed = 0; seed < 20; ++seed) {
              const Numbers g = random_rows(2, 3, 200 + seed), w = nash_mtl_weights(gramian_of(g), unclipped);
              for (Index i = 0; i < 2; ++i)
                CHECK(at(w, i) ==
                      Approx(1 / (length_of(row_of(g, i)) * std::sqrt(1 + cosine(row_of(g, 0), row_of(g, 1)))))
                          .epsilon(1e-12));
            }
          }},
         {"M a = 1 / a, and |d|^2 is the number of tasks",
          [] {
            for (const TestJacobian& test : test_jacobians()) {
              if (test.stationary) continue;
              INFO(test.name);
              const Numbers w = nash_mtl_weights(gramian_of(test.rows), unclipped), d = direction_of(w, test.rows);
              CHECK(min(w).item() > 0);
              CHECK(bargain_error(test.rows, w, 1) <= 1e-12);
              CHECK(inner(d, d) == Approx(static_cast<double>(test.rows.size(0))).epsilon(1e-9));
            }
          }},
         {"multiplying a task's loss divides its weight and leaves the direction",
          [] {
            const Numbers c = tensor<double>({1e-7, 30, 1, 1e6}), g = random_rows(4, 6, 9);
            const Numbers plain = nash_mtl_weights(gramian_of(g)),
                          scaled = nash_mtl_weights(gramian_of(scale_rows(c, g)));
            for (Index i = 0; i < 4; ++i) CHECK(at(scaled, i) * at(c, i) == Approx(at(plain, i)).epsilon(1e-11));
            CHECK(gap(direction_of(scaled, scale_rows(c, g)), direction_of(plain, g)) < 1e-11);
          }},
         {"no direction of that length has a greater product of gains",
          [] {
            for (std::uint64_t seed = 0; seed < 5; ++seed) {
              const Numbers g = random_rows(3, 5, 220 + seed);
              CHECK(is_best_nearby(g, direction_of(nash_mtl_weights(gramian_of(g)), g), 1));
            }
          }},
         {"no conflicts; independent of the tasks' order; never longer than max_norm",
          [] {
            const auto weights_of = [](const Numbers& m) { return nash_mtl_weights(m); };
            for (const TestJacobian& test : test_jacobians()) {
              INFO(test.name);
              const Numbers w = weights_of(gramian_of(test.rows));
              CHECK(never_conflicts(w, test.rows));
              CHECK(permutes(weights_of, test.rows, 1e-8));
              CHECK(length_of(direction_of(w, test.rows)) <= 1 + 1e-9);
            }
            const Numbers g = random_rows(3, 5, 10), m = gramian_of(g);
            CHECK(length_of(direction_of(nash_mtl_weights(m, {.max_norm = 0.25}), g)) == Approx(0.25).epsilon(1e-12));
            CHECK(same_bits(nash_mtl_weights(m, {.max_norm = 5}), nash_mtl_weights(m, unclipped)));
          }},
         {"0 at Pareto-stationary points, and only there",
          [] {
            for (const TestJacobian& test : test_jacobians()) {
              INFO(test.name);
              const bool is_zero = max(abs(nash_mtl_weights(gramian_of(test.rows)))).item() == 0;
              if (!has_zero_row(test.rows)) CHECK(is_zero == test.stationary);
            }
            // Near one: opposite but for an angle.
            const auto bent = [](double angle) {
              return gramian_of(tensor<double>({{1, 0}, {-std::cos(angle), std::sin(angle)}}));
            };
            CHECK(at(nash_mtl_weights(bent(1e-4), unclipped), 0) == Approx(1 / (std::sqrt(2) * std::sin(0.5e-4))));
            CHECK(max(nash_mtl_weights(bent(1e-7))).item() == 0);
          }},
         {"a gradient of 0 takes no part",
          [] {
            const Numbers w = nash_mtl_weights(gramian_of(tensor<double>({{-4, 1, 1}, {0, 0, 0}, {6, 1, 1}})));
            const Numbers without = nash_mtl_weights(gramian_of(golden));
            CHECK(gap(w, tensor<double>({at(without, 0), 0, at(without, 1)})) < 1e-15);
          }},
         {"update_every keeps weights for that many rounds, unless a task is new or had none",
          [] {
            Aggregator every = NashMtl(), third = NashMtl(4, {.max_norm = 0, .update_every = 3});
            const auto round = [](Aggregator& aggregator, const Numbers& jacobian, const List<Index>& ids) {
              TaskGradients gradients(jacobian, {}, Random(1));
              gradients.ids = ids;
              gradients.all_tasks = 4;
              return aggregator(gradients).weights;
            };
            const auto fresh = [](const Numbers& jacobian) {
              return nash_mtl_weights(gramian_of(jacobian), unclipped);
            };
            const Numbers a = random_rows(3, 5, 11), b = random_rows(3, 5, 12), two = slice(b, 0, 0, 2);
            CHECK(same_bits(round(every, b, {0, 1, 2}), nash_mtl_weights(gramian_of(b))));
            const Numbers first = round(third, a, {3, 0, 1});
            CHECK(same_bits(first, fresh(a)));
            CHECK(same_bits(round(third, two, {0, 3}), tensor<double>({at(first, 1), at(first, 0)})));
            CHECK(same_bits(round(third, two, {0, 2}), fresh(two)));  // 2 is new
            CHECK(same_bits(round(third, b, {0, 1, 2}), fresh(b)));   // the fourth round
            // What gave no weights is not kept.
            const Numbers none = concat(std::vector{slice(a, 0, 0, 1), -1.0 * slice(a, 0, 0, 1)}, 0);
            CHECK(max(abs(round(third, none, {3, 0}))).item() == 0);
            CHECK(same_bits(round(third, two, {3, 0}), fresh(two)));
            // The length is cut with the gradients of the round.
            Aggregator cut = NashMtl(0, {.update_every = 2});
            round(cut, a, {0, 1, 2});
            CHECK(length_of(direction_of(round(cut, 100.0 * a, {0, 1, 2}), 100.0 * a)) == Approx(1).epsilon(1e-12));
          }},
         {"the weights are plain numbers",
          [] { CHECK_FALSE(nash_mtl_weights(variable(gramian_of(golden))).tracked()); }}},
}});

const bool fairgrad_row = add_method_rows({{
    .name = "fairgrad",
    .header = "graft/multitask/fairgrad.hpp",
    .paper = "Ban, Ji, Fair resource allocation in multi-task learning, ICML 2024",
    .functions = {"fairgrad_weights", "FairGrad"},
    .use = "aggregators().make(\"fairgrad\", tasks)",
    .run = [](const Random& random) { return one_round(FairGrad{{.alpha = 2}}, random); },
    .errors =
        joined(bad_gramians([](const Numbers& m) { fairgrad_weights(m); }),
               {bad_use<ValueError>([] { fairgrad_weights(gramian_of(golden), {.alpha = 0}); }, "alpha is 0"),
                bad_use<ValueError>([] { fairgrad_weights(gramian_of(golden), {.alpha = 1e3}); }, "alpha is 1000"),
                bad_use<ValueError>(
                    [] {
                      TaskGradients gradients(golden, {}, Random(1));
                      FairGrad{{.iterations = 0}}(gradients);
                    },
                    "iterations is 0")}),
    .properties = {{"alpha = 1 is Nash's bargain, with the golden rows'",
                    [] {
                      CHECK(gap(fairgrad_weights(gramian_of(golden)), tensor<double>({0.5915, 0.4071})) < 5e-5);
                      for (const TestJacobian& test : test_jacobians()) {
                        const Numbers m = gramian_of(test.rows);
                        CHECK(same_bits(fairgrad_weights(m), nash_mtl_weights(m, unclipped)));
                      }
                    }},
                   {"M a = a^(-1 / alpha)",
                    [] {
                      for (const TestJacobian& test : test_jacobians())
                        for (double alpha : {0.1, 0.5, 2.0, 5.0, 20.0}) {
                          if (test.stationary) continue;
                          INFO(test.name << ", alpha = " << alpha);
                          const Numbers w = fairgrad_weights(gramian_of(test.rows), {.alpha = alpha});
                          CHECK(min(w).item() > 0);
                          CHECK(bargain_error(test.rows, w, alpha) <= 1e-10);
                        }
                    }},
                   {"right angles: a_i = |g_i|^(-2 alpha / (1 + alpha))",
                    [] {
                      const Numbers lengths = tensor<double>({2, 1e-3, 50});
                      for (double alpha : {0.01, 0.5, 2.0, 100.0}) {
                        const Numbers w = fairgrad_weights(lengths * lengths * eye<double>(3), {.alpha = alpha});
                        for (Index i = 0; i < 3; ++i)
                          CHECK(at(w, i) == Approx(std::pow(at(lengths, i), -2 * alpha / (1 + alpha))).epsilon(1e-12));
                      }
                    }},
                   {"two gradients of one length: a = (|g|^2 (1 + cos))^(-alpha / (1 + alpha))",
                    [] {
                      for (double cosine : {-0.9, 0.0, 0.5})
                        for (double alpha : {0.2, 1.0, 3.0}) {
                          const Numbers w =
                              fairgrad_weights(tensor<double>({{4, 4 * cosine}, {4 * cosine, 4}}), {.alpha = alpha});
                          const double expected = std::pow(4 * (1 + cosine), -alpha / (1 + alpha));
                          CHECK(gap(w, full<double>({2}, expected)) < 1e-12 * expected);
                        }
                    }},
                   {"no direction of that length has more utility",
                    [] {
                      for (double alpha : {0.3, 2.0, 6.0})
                        for (std::uint64_t seed = 0; seed < 3; ++seed) {
                          const Numbers g = random_rows(3, 5, 240 + seed);
                          CHECK(is_best_nearby(g, direction_of(fairgrad_weights(gramian_of(g), {.alpha = alpha}), g),
                                               alpha));
                        }
                    }},
                   {"small alpha nears the sum of the gradients, large alpha equal gains",
                    [] {
                      // a = (M a)^-alpha with gains between 1 and 100 here: weights of 100^-alpha to 1.
                      const Numbers agree = tensor<double>({{1, 2, 0, 0.5}, {0, 1, 4, 0}, {3, 0, 0.5, 1}});
                      const Numbers near_sum = fairgrad_weights(gramian_of(agree), {.alpha = 0.01});
                      CHECK(max(near_sum).item() <= 1);
                      CHECK(min(near_sum).item() >= std::pow(100, -0.01));
                      // (M a)_i = a_i^(-1 / 100), so gains differ by less than the hundredth root of the weights'
                      // quotient.
                      const Numbers g = random_rows(3, 6, 13), w = fairgrad_weights(gramian_of(g), {.alpha = 100});
                      const Numbers equal = gains(g, direction_of(w, g));
                      CHECK(max(equal).item() / min(equal).item() ==
                            Approx(std::pow(max(w).item() / min(w).item(), 0.01)).epsilon(1e-9));
                      CHECK(max(equal).item() / min(equal).item() < 1.1);
                    }},
                   {"no conflicts; independent of the tasks' order; scaling all gradients by c scales a by c^(-2 alpha "
                    "/ (1 + alpha))",
                    [] {
                      for (double alpha : {0.5, 2.0, 20.0}) {
                        const auto weights_of = [&](const Numbers& m) { return fairgrad_weights(m, {.alpha = alpha}); };
                        for (const TestJacobian& test : test_jacobians()) {
                          INFO(test.name << ", alpha = " << alpha);
                          const Numbers m = gramian_of(test.rows), w = weights_of(m);
                          CHECK(never_conflicts(w, test.rows));
                          CHECK(permutes(weights_of, test.rows, 1e-8));
                          const Numbers scaled = std::pow(100, 2 * alpha / (1 + alpha)) * weights_of(1e4 * m);
                          CHECK(length_of(direction_of(scaled - w, test.rows)) <= 1e-8 * size_of(w, test.rows));
                        }
                      }
                    }},
                   {"twenty iterations are enough",
                    [] {
                      for (const TestJacobian& test : test_jacobians())
                        for (double alpha : {0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0}) {
                          INFO(test.name << ", alpha = " << alpha);
                          const Numbers m = gramian_of(test.rows), w = fairgrad_weights(m, {.alpha = alpha});
                          const Numbers early = fairgrad_weights(m, {.alpha = alpha, .iterations = 20});
                          CHECK(length_of(direction_of(early - w, test.rows)) <= 1e-9 * size_of(w, test.rows));
                        }
                    }},
                   {"nearly equal gains of tasks whose scales differ by more than double's digits",
                    [] {
                      for (std::uint64_t seed = 0; seed < 40; ++seed)
                        for (double alpha : {2.0, 20.0, 100.0}) {
                          INFO(seed << ", alpha = " << alpha);
                          const Numbers lengths = exp(15.0 * randn<double>({5}, Random(12).stream(seed)));
                          const Numbers g =
                              scale_rows(lengths, random_rows(5, 3 + static_cast<Index>(seed % 4), 260 + seed));
                          const Numbers w = fairgrad_weights(gramian_of(g), {.alpha = alpha});
                          CHECK(max(abs(w)).item() < std::numeric_limits<double>::infinity());
                          CHECK(never_conflicts(w, g));
                        }
                    }},
                   {"0 at Pareto-stationary points; a gradient of 0 takes no part",
                    [] {
                      for (const TestJacobian& test : test_jacobians())
                        for (double alpha : {0.1, 2.0, 50.0}) {
                          INFO(test.name << ", alpha = " << alpha);
                          const Numbers w = fairgrad_weights(gramian_of(test.rows), {.alpha = alpha});
                          if (!has_zero_row(test.rows)) CHECK((max(abs(w)).item() == 0) == test.stationary);
                        }
                      const Numbers with_zero = gramian_of(tensor<double>({{-4, 1, 1}, {0, 0, 0}, {6, 1, 1}}));
                      const Numbers w = fairgrad_weights(with_zero, {.alpha = 2}),
                                    without = fairgrad_weights(gramian_of(golden), {.alpha = 2});
                      CHECK(gap(w, tensor<double>({at(without, 0), 0, at(without, 1)})) < 1e-15);
                    }},
                   {"as an aggregator; the weights are plain numbers",
                    [] {
                      const Numbers m = gramian_of(golden);
                      CHECK(same_bits(weights_by(FairGrad{{.alpha = 3}}, golden), fairgrad_weights(m, {.alpha = 3})));
                      CHECK_FALSE(fairgrad_weights(variable(m)).tracked());
                    }}},
}});

}  // namespace
