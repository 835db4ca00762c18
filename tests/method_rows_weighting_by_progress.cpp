// Rows of the method table for weightings of the tasks' losses by how fast these fall.

#include <cmath>
#include <limits>

#include "gap.hpp"
#include "graft/multitask/dwa.hpp"
#include "graft/multitask/famo.hpp"
#include "graft/multitask/gradnorm.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/optim/adam.hpp"
#include "weightings.hpp"

using namespace graft;

namespace {

// ---- Dynamic weight averaging ---------------------------------------------------------------------------------------
/// The weights in the first round after two periods of one round with these losses.
Numbers after_two(const Numbers& first, const Numbers& second, double temperature = 2) {
  Dwa weighting(0, {.temperature = temperature, .period = 1});
  weigh(weighting, first);
  weigh(weighting, second);
  return weigh(weighting, ones<double>(first.shape()));
}

const bool dwa_row = add_method_rows({{
    .name = "dwa",
    .header = "graft/multitask/dwa.hpp",
    .paper = "Liu, Johns, Davison, End-to-end multi-task learning with attention, CVPR 2019",
    .functions = {"Dwa"},
    .use = "Aggregator weighting = Dwa(tasks, {.period = rounds_of_an_epoch})",
    .run = [](const Random& random) { return direction_of(Dwa(0, {.period = 1}), random); },
    .errors = refuses_all(Dwa(), -1, "the loss of task 0 is -1",
                          {bad_use<ValueError>([] { Dwa(0, {.temperature = 0}); }, "temperature is 0"),
                           bad_use<ValueError>([] { Dwa(0, {.period = 0}); }, "period is 0")}),
    .properties =
        {{"1 in the first two periods, then by the formula on the periods' means",
          [] {
            Dwa weighting(0, {.period = 3});
            const std::vector<Numbers> losses{tensor<double>({1, 4}), tensor<double>({2, 4}), tensor<double>({3, 1}),
                                              tensor<double>({1, 2}), tensor<double>({1, 1}), tensor<double>({1, 6})};
            for (const Numbers& now : losses) CHECK(same_bits(weigh(weighting, now), ones<double>({2})));
            // Means (2, 3), then (1, 3): ratios 1/2 and 1.
            const double e0 = std::exp(0.25), e1 = std::exp(0.5);
            const Numbers expected = tensor<double>({2 * e0 / (e0 + e1), 2 * e1 / (e0 + e1)});
            for (int round = 0; round < 3; ++round)
              CHECK(gap(weigh(weighting, tensor<double>({4, 3})), expected) < 1e-15);
            // The next means are (4, 3): ratios 4 and 1.
            const double e2 = std::exp(2);
            CHECK(at(weigh(weighting, tensor<double>({4, 3})), 0) == Approx(2 * e2 / (e2 + e1)).epsilon(1e-14));
          }},
         {"equal ratios give 1, and the weights sum to the number of tasks",
          [] {
            const Numbers losses = some_losses(49, 1);
            CHECK(same_bits(after_two(losses, 0.5 * losses), ones<double>({49})));
            CHECK(total(after_two(losses, some_losses(49, 2))) == Approx(49).epsilon(1e-14));
          }},
         {"multiplying the losses of a task changes nothing",
          [] {
            const Numbers c = tensor<double>({1, 1024, 0.25}), first = some_losses(3, 3), second = some_losses(3, 4);
            CHECK(same_bits(after_two(c * first, c * second), after_two(first, second)));
          }},
         {"the ends of the temperature",
          [] {
            const Numbers first = ones<double>({3}), second = tensor<double>({0.9, 0.5, 0.7});
            CHECK(gap(after_two(first, second, 1e9), ones<double>({3})) < 1e-9);
            CHECK(gap(after_two(first, second, 1e-4), tensor<double>({3, 0, 0})) < 1e-12);
          }},
         {"losses of 0, and from 0 up",
          [] {
            CHECK(same_bits(after_two(tensor<double>({0, 1}), tensor<double>({0, 1})), ones<double>({2})));
            CHECK(gap(after_two(tensor<double>({0, 1}), tensor<double>({1e-300, 1})), tensor<double>({2, 0})) < 1e-12);
            CHECK(all_finite(after_two(tensor<double>({1e-300, 1}), tensor<double>({1e30, 1}))));
          }},
         {"a task that is absent for a period keeps its means, a new one counts as ratio 1",
          [] {
            Dwa weighting(3, {.period = 1});
            weigh(weighting, tensor<double>({2, 8}), {0, 1}, 3);
            weigh(weighting, tensor<double>({1, 6}), {0, 1}, 3);
            weigh(weighting, tensor<double>({5}), {2}, 3);
            const double e0 = std::exp(0.25), e1 = std::exp(0.375), e2 = std::exp(0.5);
            const Numbers expected = 3 / (e0 + e1 + e2) * tensor<double>({e2, e0, e0});
            CHECK(gap(weigh(weighting, ones<double>({3}), {2, 0, 0}, 3), expected) < 1e-15);
          }},
         {"the tasks have no order", [] { check_order(Dwa(0, {.period = 1})); }},
         {"it remembers", [] { check_memory(Dwa(0, {.period = 5}), Dwa(4, {.period = 5})); }}},
}});

// ---- GradNorm -------------------------------------------------------------------------------------------------------
/// Gradients at right angles of these norms.
Numbers of_norms(const Numbers& norms) { return eye<double>(norms.count()) * reshape(norms, {norms.count(), 1}); }

/// Rounds with steps that become smaller: around its kink w moves by the rate.
Numbers settled(GradNorm& weighting, const Numbers& losses, const Numbers& rows) {
  for (double rate : {0.1, 0.01, 1e-3, 1e-4, 1e-5}) {
    weighting.options.learning_rate = rate;
    for (int round = 0; round < 300; ++round) weigh(weighting, losses, {}, 0, rows);
  }
  return weighting.task_weights;
}

const bool gradnorm_row = add_method_rows({{
    .name = "gradnorm",
    .header = "graft/multitask/gradnorm.hpp",
    .paper = "Chen, Badrinarayanan, Lee, Rabinovich, GradNorm, ICML 2018",
    .functions = {"GradNorm"},
    .use = "Aggregator weighting = GradNorm(tasks, {.alpha = 1.5})",
    .run = [](const Random& random) { return direction_of(GradNorm(), random); },
    .errors = refuses_all(
        GradNorm(), -1, "the loss of task 0 is -1",
        {bad_use<ValueError>([] { GradNorm(0, {.alpha = -1}); }, "alpha is -1"),
         bad_use<ValueError>([] { GradNorm(0, {.learning_rate = kInfinity}); }, "learning_rate is inf"),
         bad_use<ValueError>([] { GradNorm(0, {.warm_up = 0}); }, "warm_up is 0"),
         bad_use<ValueError>(
             [] {
               GradNorm weighting;
               TaskGradients gradients = round_of(ones<double>({2}), {}, 0, tensor<double>({{1, 1}, {NAN, 1}}));
               weighting(gradients);
             },
             "the gradient of task 1")}),
    .properties =
        {{"alpha = 0: weights proportional to 1 / |g|, whatever the losses",
          [] {
            const Numbers norms = tensor<double>({1e-3, 1, 4, 250});
            GradNorm weighting(0, {.alpha = 0});
            weigh(weighting, ones<double>({4}), {}, 0, of_norms(norms));
            const Numbers w = settled(weighting, tensor<double>({0.1, 1, 0.5, 3}), of_norms(norms));
            CHECK(relative(w, 4 / total(1 / norms) / norms) < 1e-3);
            CHECK(total(w) == Approx(4).epsilon(1e-12));
          }},
         {"the first step by hand",
          [] {
            // Norms 1 and 3: G = 2, both ratios 1, so w_1 rises and w_2 falls; then the sum is 2 again.
            GradNorm weighting;
            const Numbers rows = of_norms(tensor<double>({1, 3}));
            CHECK(same_bits(weigh(weighting, tensor<double>({7, 0.1}), {}, 0, rows), ones<double>({2})));
            const double up = std::exp(0.025), down = std::exp(-0.025);
            const Numbers expected = 2 / (up + down) * tensor<double>({up, down});
            CHECK(gap(weigh(weighting, tensor<double>({7, 0.1}), {}, 0, rows), expected) < 1e-15);
          }},
         {"norms proportional to r^alpha",
          [] {
            const Numbers norms = tensor<double>({3, 1, 10}), ratios = tensor<double>({1, 0.1, 0.5});
            GradNorm weighting(0, {.alpha = 1.5});
            weigh(weighting, tensor<double>({5, 2, 1}), {}, 0, of_norms(norms));
            const Numbers w = settled(weighting, ratios * tensor<double>({5, 2, 1}), of_norms(norms));
            const Numbers expected = pow(ratios, 1.5) / norms;
            CHECK(relative(w, 3 / total(expected) * expected) < 1e-3);
            CHECK(total(w) == Approx(3).epsilon(1e-12));
          }},
         {"multiplying all gradients, or the losses of a task, changes nothing",
          [] {
            const Numbers rows = randn<double>({3, 5}, Random(2)), c = tensor<double>({1, 1024, 0.25});
            GradNorm plain, scaled;
            for (std::uint64_t round = 0; round < 20; ++round) {
              const Numbers losses = some_losses(3, round);
              CHECK(gap(weigh(plain, losses, {}, 0, rows), weigh(scaled, c * losses, {}, 0, 1e30 * rows)) < 1e-13);
            }
          }},
         {"zero gradients and losses",
          [] {
            GradNorm weighting;
            for (int round = 0; round < 100; ++round)
              CHECK(same_bits(weigh(weighting, zeros<double>({2}), {}, 0, zeros<double>({2, 3})), ones<double>({2})));
            // A task without gradient does not run away with the weight.
            for (int round = 0; round < 100; ++round)
              weigh(weighting, ones<double>({2}), {}, 0, tensor<double>({{0, 0}, {0, 1}}));
            CHECK(min(weighting.task_weights).item() > 0);
            CHECK(total(weighting.task_weights) == Approx(2).epsilon(1e-12));
          }},
         {"L(0) is the mean of the first losses above 0, and the tasks of a round keep their sum",
          [] {
            GradNorm weighting(3, {.warm_up = 2});
            for (double loss : {0.0, 4.0, 2.0, 9.0})
              weigh(weighting, tensor<double>({loss, 1}), {2, 0}, 3, of_norms(tensor<double>({1, 2})));
            CHECK(gap(weighting.first, tensor<double>({1, 0, 3})) == 0);
            CHECK(at(weighting.task_weights, 1) == 1);
            CHECK(at(weighting.task_weights, 0) + at(weighting.task_weights, 2) == Approx(2).epsilon(1e-14));
            CHECK(at(weighting.task_weights, 0) != 1);
          }},
         {"the tasks have no order", [] { check_order(GradNorm()); }},
         {"it remembers", [] { check_memory(GradNorm(), GradNorm(4)); }}},
}});

// ---- FAMO -----------------------------------------------------------------------------------------------------------
const bool famo_row = add_method_rows({{
    .name = "famo",
    .header = "graft/multitask/famo.hpp",
    .paper = "Liu, Feng, Stone, Liu, FAMO: fast adaptive multitask optimization, NeurIPS 2023",
    .functions = {"Famo"},
    .use = "Aggregator weighting = Famo(tasks)",
    .run = [](const Random& random) { return direction_of(Famo(), random); },
    .errors =
        refuses_all(Famo(), -1, "the loss of task 0 is -1, expected more than its lower bound 0",
                    {bad_use<ValueError>([] { Famo(0, {.learning_rate = -1}); }, "learning_rate is -1"),
                     bad_use<ValueError>([] { Famo(0, {.decay = NAN}); }, "decay is nan"),
                     bad_use<ValueError>([] { Famo(0, {.epsilon = -1}); }, "epsilon is -1"),
                     bad_use<ValueError>(
                         [] {
                           Famo(0, {.lower_bounds = {0, NAN}});
                         },
                         "a lower bound is nan"),
                     bad_use<ShapeError>(
                         [] {
                           Famo(3, {.lower_bounds = {0, 1}});
                         },
                         "2 lower bounds for 3 tasks"),
                     bad_use<ValueError>(
                         [] {
                           Famo weighting(0, {.lower_bounds = {0, 5}});
                           TaskGradients gradients = round_of(ones<double>({2}));
                           weighting(gradients);
                         },
                         "the loss of task 1 is 1, expected more than its lower bound 5"),
                     bad_use<ShapeError>(
                         [] {
                           Famo().after(ones<double>({2, 2}));
                         },
                         "[2, 2]"),
                     bad_use<ShapeError>([] { Famo(3).after(ones<double>({2}), {0}); }, "1 tasks for 2 losses"),
                     bad_use<IndexError>(
                         [] {
                           Famo(3).after(ones<double>({2}), {0, 3});
                         },
                         "task 3 of 3"),
                     bad_use<ValueError>([] { Famo(1).after(tensor<double>({NAN})); }, "the loss of task 0 is nan")}),
    .properties =
        {{"weights c z / D that sum to 1",
          [] {
            Famo weighting(0, {.lower_bounds = {0, -2, 1}});
            weighting.logits = tensor<double>({0.3, -1, 0.5});
            for (Numbers* state :
                 {&weighting.mean, &weighting.square, &weighting.steps, &weighting.logs, &weighting.waiting})
              *state = zeros<double>({3});
            const Numbers losses = tensor<double>({0.5, 3, 1e30}), above = losses - tensor<double>({0, -2, 1}) + 1e-8;
            const Numbers shares = softmax(weighting.logits) / above;
            const Numbers weights = weigh(weighting, losses);
            CHECK(relative(weights, shares / sum(shares)) < 1e-14);
            CHECK(total(weights) == Approx(1).epsilon(1e-14));
          }},
         {"the first step by hand",
          [] {
            // Adam's first step is rate sign(slope); task 1 fell more.
            Famo weighting(0, {.decay = 0});
            weigh(weighting, tensor<double>({1, 1}));
            CHECK(gap(weighting.logits, zeros<double>({2})) == 0);
            weigh(weighting, tensor<double>({0.5, 0.9}));
            CHECK(gap(weighting.logits, tensor<double>({-0.025, 0.025})) < 1e-8);
          }},
         {"Adam on J^T (ln before - ln after) + decay w",
          [] {
            const FamoOptions options{.decay = 0.05};
            Famo weighting(4, options);
            Numbers w = zeros<double>({4}), before;
            Adam adam(w);
            for (std::uint64_t round = 0; round < 40; ++round) {
              const Numbers losses = some_losses(4, round);
              if (before.defined()) {
                const Numbers delta = log(before + options.epsilon) - log(losses + options.epsilon);
                const Numbers slope =
                    vjp([](const Numbers& logits) { return softmax(logits); }, w, delta).second + options.decay * w;
                adam.step(w, slope, options.learning_rate);
              }
              before = losses;
              weigh(weighting, losses);
              CHECK(gap(weighting.logits, w) < 1e-12);
            }
            CHECK(max(abs(w)).item() > 0.05);
          }},
         {"losses told afterwards take the place of those of the next round",
          [] {
            Famo told, next;
            const Numbers first = some_losses(3, 1), second = some_losses(3, 2), third = some_losses(3, 3);
            weigh(told, first);
            weigh(next, first);
            told.after(second);
            weigh(next, second);
            CHECK(same_bits(told.logits, next.logits));
            const Numbers logits = told.logits;
            weigh(told, third);  // not compared with the first
            CHECK(same_bits(told.logits, logits));
            told.after(gather(second, tensor<std::int64_t>({2, 0, 1})), {2, 0, 1});
            weigh(next, third);
            weigh(next, second);
            CHECK(at(told.steps, 0) == 2);
            told.after(first);  // there was no round since
            CHECK(at(told.steps, 0) == 2);
          }},
         {"multiplying the losses of a task changes w by nothing",
          [] {
            Famo plain(3, {.epsilon = 0}), scaled(3, {.epsilon = 0});
            const Numbers c = tensor<double>({1, 1e9, 1e-9});
            for (std::uint64_t round = 0; round < 20; ++round) {
              const Numbers losses = some_losses(3, round), weights = weigh(plain, losses);
              const Numbers other = c * weigh(scaled, c * losses);  // the gradients are multiplied too
              CHECK(relative(other / sum(other), weights / sum(weights)) < 1e-9);
              CHECK(gap(scaled.logits, plain.logits) < 1e-9);
            }
          }},
         {"balances how fast the losses fall",
          [] {
            // A loss that falls by the share k_i z_i of itself: balanced for z = (3/4, 1/4).
            Famo weighting(2, {.learning_rate = 2e-3, .decay = 0});
            Numbers losses = tensor<double>({1, 1});
            for (int round = 0; round < 6000; ++round) {
              weigh(weighting, losses);
              const Numbers z = softmax(weighting.logits);
              losses = losses * exp(-1e-3 * tensor<double>({1, 3}) * z);
            }
            CHECK(gap(softmax(weighting.logits), tensor<double>({0.75, 0.25})) < 0.01);
          }},
         {"losses of 0, and one task",
          [] {
            Famo weighting;
            for (int round = 0; round < 3; ++round) CHECK(all_finite(weigh(weighting, tensor<double>({0, 1, 1e30}))));
            Famo one;
            for (double loss : {3.0, 1.0, 2.0}) CHECK(at(weigh(one, tensor<double>({loss})), 0) == 1);
            CHECK(at(one.logits, 0) == 0);
          }},
         {"the tasks have no order", [] { check_order(Famo()); }},
         {"it remembers", [] { check_memory(Famo(), Famo(4)); }}},
}});

}  // namespace
