// Rows of the method table for weightings of the tasks' losses that know a loss to be minimised, or chance.

#include <cmath>
#include <limits>

#include "gap.hpp"
#include "graft/multitask/gls.hpp"
#include "graft/multitask/imtl_l.hpp"
#include "graft/multitask/rlw.hpp"
#include "graft/multitask/scale_invariant.hpp"
#include "graft/multitask/stch.hpp"
#include "graft/multitask/uncertainty.hpp"
#include "graft/ops/softmax.hpp"
#include "weightings.hpp"

using namespace graft;

namespace {

// ---- Uncertainty weighting ------------------------------------------------------------------------------------------
const bool uncertainty_row = add_method_rows({{
    .name = "uncertainty",
    .header = "graft/multitask/uncertainty.hpp",
    .paper = "Kendall, Gal, Cipolla, Multi-task learning using uncertainty to weigh losses, CVPR 2018",
    .functions = {"uncertainty_loss", "UncertaintyWeights"},
    .use = "uncertainty_loss(losses, log_variances)",
    .run =
        [](const Random& random) {
          return trained([](const auto& losses, const auto& s) { return uncertainty_loss(losses, s); },
                         UncertaintyWeights(), random);
        },
    .loss = [](const Numbers& x) { return uncertainty_loss(square(part(x, 0, 3)), part(x, 3, 6)); },
    .loss_at = randn<double>({6}, Random(2)),
    .errors = refuses_all(
        UncertaintyWeights(), -1, "the loss of task 0 is -1",
        {bad_use<ShapeError>([] { uncertainty_loss(ones<double>({2}), ones<double>({3})); }, "log_variances [3]"),
         bad_use<ShapeError>([] { uncertainty_loss(ones<double>({0}), ones<double>({0})); }, "one task or more"),
         bad_use<ValueError>([] { UncertaintyWeights(0, {.learning_rate = -1}); }, "learning_rate is -1"),
         bad_use<ValueError>([] { UncertaintyWeights(0, {.start = NAN}); }, "start is nan")}),
    .properties = {{"the minimum at frozen losses",
                    [] {
                      // M2: s = ln L, value (1 + ln L) / 2 a task, weight 1 / (2 L).
                      const Numbers losses = tensor<double>({0.01, 1, 250}), s = log(losses);
                      const auto by_scale = [&](const Numbers& x) { return uncertainty_loss(losses, x); };
                      CHECK(max(abs(grad(by_scale, s))).item() < 1e-15);
                      CHECK(by_scale(s).item() == Approx(total(1 + s) / 2).epsilon(1e-14));
                      for (const Numbers& other : {s + 0.1, s - 0.1})
                        CHECK(by_scale(other).item() > by_scale(s).item());
                      const Numbers slope = grad([&](const Numbers& x) { return uncertainty_loss(x, s); }, losses);
                      CHECK(relative(slope, 0.5 / losses) < 1e-14);
                    }},
                   {"it is the likelihood of normal errors",
                    [] {
                      // -ln N(y; f, sigma^2) = (y - f)^2 / (2 sigma^2) + ln(sigma^2) / 2 + ln(2 pi) / 2, the paper's
                      // derivation.
                      const double error = 0.7, sigma = 1.9;
                      const double density =
                          std::exp(-error * error / (2 * sigma * sigma)) / (sigma * std::sqrt(2 * std::numbers::pi));
                      CHECK(uncertainty_loss(tensor<double>({error * error}), tensor<double>({std::log(sigma * sigma)}))
                                .item() ==
                            Approx(-std::log(density) - std::log(2 * std::numbers::pi) / 2).epsilon(1e-14));
                    }},
                   {"the weights are the derivative of the loss, and the steps by hand",
                    [] {
                      const Numbers losses = tensor<double>({0.5, 1.5, 1e30}), s = tensor<double>({-0.3, 0, 0.4});
                      UncertaintyWeights weighting(3);
                      weighting.log_variances = s;
                      const Numbers slope = grad([&](const Numbers& x) { return uncertainty_loss(x, s); }, losses);
                      CHECK(relative(weigh(weighting, losses), slope) < 1e-15);
                      // d = (1 - L e^-s) / 2, -1/2 at least.
                      const Numbers stepped =
                          tensor<double>({-0.3 - 0.1 * (1 - 0.5 * std::exp(0.3)) / 2, 0.1 * 0.25, 0.4 + 0.1 * 0.5});
                      CHECK(gap(weighting.log_variances, stepped) < 1e-15);
                    }},
                   {"converges to s = ln L at frozen losses of any size",
                    [] {
                      UncertaintyWeights weighting;
                      Numbers weights;
                      for (int round = 0; round < 4000; ++round) weights = weigh(weighting, far_apart);
                      CHECK(gap(weighting.log_variances, log(far_apart)) < 1e-12);
                      CHECK(relative(weights, 0.5 / far_apart) < 1e-12);
                    }},
                   {"a loss of 0 and one beyond e^80 stop at the bounds",
                    [] {
                      UncertaintyWeights weighting;
                      Numbers weights;
                      for (int round = 0; round < 4000; ++round) weights = weigh(weighting, tensor<double>({0, 1e200}));
                      CHECK(gap(weighting.log_variances, tensor<double>({-80, 80})) == 0);
                      CHECK(std::isfinite(static_cast<float>(at(weights, 0))));
                      CHECK(static_cast<float>(at(weights, 1)) > 0);
                    }},
                   {"a task that is there twice counts with its mean loss",
                    [] {
                      UncertaintyWeights twice, once;
                      CHECK(weigh(twice, tensor<double>({1, 3, 5}), {1, 0, 1}, 2).count() == 3);
                      weigh(once, tensor<double>({3, 3}));
                      CHECK(same_bits(twice.log_variances, once.log_variances));
                    }},
                   {"the tasks have no order", [] { check_order(UncertaintyWeights()); }},
                   {"it remembers", [] { check_memory(UncertaintyWeights(), UncertaintyWeights(4)); }}},
}});

// ---- IMTL-L ---------------------------------------------------------------------------------------------------------
const bool imtl_l_row = add_method_rows({{
    .name = "imtl_l",
    .header = "graft/multitask/imtl_l.hpp",
    .paper = "Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, Towards impartial multi-task learning, ICLR 2021",
    .functions = {"imtl_l_loss", "ImtlL"},
    .use = "imtl_l_loss(losses, scales)",
    .run =
        [](const Random& random) {
          return trained([](const auto& losses, const auto& s) { return imtl_l_loss(losses, s); }, ImtlL(), random);
        },
    .loss = [](const Numbers& x) { return imtl_l_loss(square(part(x, 0, 3)), part(x, 3, 6)); },
    .loss_at = randn<double>({6}, Random(3)),
    .errors = refuses_all(ImtlL(), -1, "the loss of task 0 is -1",
                          {bad_use<ShapeError>([] { imtl_l_loss(ones<double>({2}), ones<double>({3})); }, "scales [3]"),
                           bad_use<ValueError>([] { ImtlL(0, {.learning_rate = NAN}); }, "learning_rate is nan"),
                           bad_use<ValueError>([] { ImtlL(0, {.start = kInfinity}); }, "start is inf")}),
    .properties = {{"scaled losses are 1 at the minimum",
                    [] {
                      const Numbers losses = tensor<double>({0.01, 1, 250}), s = -log(losses);
                      const auto by_scale = [&](const Numbers& x) { return imtl_l_loss(losses, x); };
                      CHECK(max(abs(grad(by_scale, s))).item() < 1e-14);
                      CHECK(by_scale(s).item() == Approx(total(1 + log(losses))).epsilon(1e-14));
                      for (const Numbers& other : {s + 0.1, s - 0.1})
                        CHECK(by_scale(other).item() > by_scale(s).item());
                    }},
                   {"it is twice the uncertainty loss with -s, and so are weights and steps",
                    [] {
                      const Numbers losses = some_losses(5, 1), s = randn<double>({5}, Random(4));
                      CHECK(imtl_l_loss(losses, s).item() ==
                            Approx(2 * uncertainty_loss(losses, -s).item()).epsilon(1e-14));
                      ImtlL scales(5, {.learning_rate = 0.05});
                      UncertaintyWeights variances(5, {.learning_rate = 0.1});
                      for (std::uint64_t round = 0; round < 50; ++round) {
                        const Numbers now = 3 * some_losses(5, round);
                        CHECK(relative(weigh(scales, now), 2 * weigh(variances, now)) < 1e-13);
                      }
                    }},
                   {"converges to weights 1 / L at frozen losses of any size",
                    [] {
                      ImtlL weighting;
                      Numbers weights;
                      for (int round = 0; round < 4000; ++round) weights = weigh(weighting, far_apart);
                      CHECK(relative(weights, 1 / far_apart) < 1e-12);
                    }},
                   {"a loss of 0 stops at the bound",
                    [] {
                      ImtlL weighting;
                      Numbers weights;
                      for (int round = 0; round < 4000; ++round) weights = weigh(weighting, tensor<double>({0, 1}));
                      CHECK(at(weighting.scales, 0) == 80);
                      CHECK(std::isfinite(static_cast<float>(at(weights, 0))));
                    }},
                   {"the tasks have no order", [] { check_order(ImtlL()); }},
                   {"it remembers", [] { check_memory(ImtlL(), ImtlL(4)); }}},
}});

// ---- Geometric loss strategy ----------------------------------------------------------------------------------------
const bool gls_row = add_method_rows({{
    .name = "gls",
    .header = "graft/multitask/gls.hpp",
    .paper = "Chennupati, Sistu, Yogamani, Rawashdeh, MultiNet++, CVPR workshops 2019",
    .functions = {"gls_loss", "Gls"},
    .use = "gls_loss(losses)",
    .run =
        [](const Random& random) {
          return trained([](const auto& losses, const auto& more) { return 9000 * gls_loss(losses * exp(more)); },
                         Gls(), random);
        },
    .loss = [](const Numbers& x) { return gls_loss(square(x)); },
    .loss_at = tensor<double>({0.7, -1.3, 2, 0.4}),
    .errors =
        [] {
          std::vector<BadUse> uses = refuses(Gls(), 0, "the loss of task 0 is 0, expected a finite number above 0");
          for (const BadUse& use : refuses(Gls(), -3, "the loss of task 0 is -3")) uses.push_back(use);
          uses.push_back(bad_use<ShapeError>([] { gls_loss(ones<double>({2, 2})); }, "[2, 2]"));
          uses.push_back(bad_use<ValueError>([] { gls_loss(tensor<double>({1, -2})); }, "the loss of task 1 is -2"));
          uses.push_back(bad_use<ValueError>([] { gls_loss(tensor<double>({1, NAN})); }, "the loss of task 1 is nan"));
          return uses;
        }(),
    .properties = {{"the root of the product, and GLS / (T L_i)",
                    [] {
                      const Numbers losses = tensor<double>({2, 4, 27});  // the product is 6^3
                      CHECK(gls_loss(losses).item() == Approx(6).epsilon(1e-14));
                      const Numbers expected = 6 / (3 * losses);
                      CHECK(relative(grad([](const Numbers& x) { return gls_loss(x); }, losses), expected) < 1e-14);
                      Gls weighting;
                      CHECK(relative(weigh(weighting, losses), expected) < 1e-14);
                    }},
                   {"multiplying one loss scales the gradients of all tasks alike",
                    [] {
                      const Numbers losses = some_losses(4, 1), c = tensor<double>({1, 1, 1e6, 1});
                      Gls weighting;
                      // The gradient of a task is multiplied too.
                      CHECK(relative(c * weigh(weighting, c * losses), std::pow(1e6, 0.25) * weigh(weighting, losses)) <
                            1e-13);
                    }},
                   {"the tasks have no order", [] { check_order(Gls()); }},
                   {"equal losses, one task, losses of any size",
                    [] {
                      Gls weighting;
                      CHECK(relative(weigh(weighting, full<double>({5}, 3.0)), full<double>({5}, 0.2)) < 1e-15);
                      CHECK(at(weigh(weighting, tensor<double>({1e30})), 0) == 1);
                      const Numbers losses = tensor<double>({1e300, 1e300, 1e-300, 1e-300});  // its product overflows
                      CHECK(gls_loss(losses).item() == Approx(1).epsilon(1e-12));
                      CHECK(relative(weigh(weighting, losses), 0.25 / losses) < 1e-12);
                    }}},
}});

// ---- Scale-invariant scalarisation ----------------------------------------------------------------------------------
const bool si_row = add_method_rows({{
    .name = "si",
    .header = "graft/multitask/scale_invariant.hpp",
    .paper = "Navon et al., Multi-task learning as a bargaining game, ICML 2022 (a baseline there)",
    .functions = {"si_loss", "ScaleInvariant"},
    .use = "si_loss(losses)",
    .run =
        [](const Random& random) {
          return trained([](const auto& losses, const auto& more) { return si_loss(losses + exp(more)); },
                         ScaleInvariant(), random);
        },
    .loss = [](const Numbers& x) { return si_loss(square(x)); },
    .loss_at = tensor<double>({0.7, -1.3, 2, 0.4}),
    .errors = joined(joined(refuses(ScaleInvariant(), 0, "the loss of task 0 is 0, expected a finite number above 0"),
                            refuses(ScaleInvariant(), 1e-320, "1 / it too large")),
                     {bad_use<ShapeError>(
                          [] {
                            si_loss(ones<double>({2, 2}));
                          },
                          "[2, 2]"),
                      bad_use<ValueError>(
                          [] {
                            si_loss(tensor<double>({1, -2}));
                          },
                          "the loss of task 1 is -2"),
                      bad_use<ValueError>(
                          [] {
                            si_loss(tensor<double>({1, NAN}));
                          },
                          "the loss of task 1 is nan")}),
    .properties = {{"the logarithm of the product, and 1 / L_i",
                    [] {
                      const Numbers losses = tensor<double>({2, 4, 27});  // the product is 6^3
                      CHECK(si_loss(losses).item() == Approx(3 * std::log(6)).epsilon(1e-14));
                      const auto loss = [](const Numbers& x) { return si_loss(x); };
                      CHECK(relative(grad(loss, losses), 1 / losses) < 1e-15);
                      ScaleInvariant weighting;
                      CHECK(same_bits(weigh(weighting, losses), tensor<double>({1.0 / 2, 1.0 / 4, 1.0 / 27})));
                    }},
                   {"multiplying losses changes no gradient, and the value by a constant",
                    [] {
                      const Numbers losses = some_losses(4, 1), c = tensor<double>({1, 1e9, 1e-9, 8});
                      ScaleInvariant weighting;
                      // The gradient of a task is multiplied too.
                      CHECK(relative(c * weigh(weighting, c * losses), weigh(weighting, losses)) < 1e-15);
                      CHECK(si_loss(c * losses).item() - si_loss(losses).item() == Approx(std::log(8)).epsilon(1e-12));
                    }},
                   {"GLS but for the length: tasks log GLS, weights tasks / GLS of its own",
                    [] {
                      const Numbers losses = some_losses(5, 2);
                      const double mean = gls_loss(losses).item();
                      CHECK(si_loss(losses).item() == Approx(5 * std::log(mean)).epsilon(1e-14));
                      ScaleInvariant weighting;
                      Gls other;
                      CHECK(relative(weigh(weighting, losses), 5 / mean * weigh(other, losses)) < 1e-14);
                      // As the losses fall together GLS keeps its length, SI grows.
                      CHECK(relative(weigh(other, 0.01 * losses), weigh(other, losses)) < 1e-14);
                      CHECK(relative(weigh(weighting, 0.01 * losses), 100 * weigh(weighting, losses)) < 1e-14);
                    }},
                   {"the tasks have no order", [] { check_order(ScaleInvariant()); }},
                   {"losses of any size",
                    [] {
                      ScaleInvariant weighting;
                      CHECK(relative(weigh(weighting, far_apart), 1 / far_apart) < 1e-15);
                      CHECK(std::abs(si_loss(tensor<double>({1e300, 1e300, 1e-300, 1e-300})).item()) < 1e-12);
                    }}},
}});

// ---- Random loss weighting ------------------------------------------------------------------------------------------
const bool rlw_row = add_method_rows({{
    .name = "rlw",
    .header = "graft/multitask/rlw.hpp",
    .paper = "Lin, Ye, Zhang, Tsang, Reasonable effectiveness of random weighting, TMLR 2022",
    .functions = {"RandomLossWeights", "TaskGradients"},
    .use = "Aggregator weighting = RandomLossWeights()",
    .run = [](const Random& random) { return direction_of(RandomLossWeights(), random); },
    .errors = {bad_use<ShapeError>(
        [] {
          TaskGradients gradients(ones<double>({2}), {}, Random(1));
          RandomLossWeights()(gradients);
        },
        "[2]")},
    .properties = {{"a softmax of normal numbers",
                    [] {
                      constexpr int kRounds = 4000;
                      double sums[3] = {}, squares = 0;
                      for (std::uint64_t round = 0; round < kRounds; ++round) {
                        TaskGradients gradients(ones<double>({3, 1}), {}, Random(3).stream(round));
                        const Numbers weights = RandomLossWeights()(gradients).weights;
                        CHECK(total(weights) == Approx(1).epsilon(1e-14));
                        CHECK(min(weights).item() > 0);
                        for (Index i = 0; i < 3; ++i) sums[i] += at(weights, i);
                        const double odds =
                            std::log(at(weights, 0) / at(weights, 1));  // a difference of normals: variance 2
                        squares += odds * odds;
                      }
                      // Within 4 standard errors: that of a weight in [0, 1] of mean 1/3 is below sqrt(2/9 / 4000) =
                      // 0.0075.
                      for (double sum : sums) CHECK(std::abs(sum / kRounds - 1.0 / 3) < 0.03);
                      CHECK(std::abs(squares / kRounds - 2) < 4 * std::sqrt(8.0 / kRounds));
                    }},
                   {"new in every round, from the round's stream",
                    [] {
                      const auto weights = [](const Random& random) {
                        TaskGradients gradients(ones<double>({5, 1}), {}, random);
                        return RandomLossWeights()(gradients).weights;
                      };
                      CHECK(same_bits(weights(Random(1)), weights(Random(1))));
                      CHECK(gap(weights(Random(1)), weights(Random(2))) > 1e-3);
                      TaskGradients one(ones<double>({1, 1}), {}, Random(1));
                      CHECK(at(RandomLossWeights()(one).weights, 0) == 1);
                    }}},
}});

// ---- Smooth Tchebycheff scalarisation -------------------------------------------------------------------------------
const bool stch_row = add_method_rows({{
    .name = "stch",
    .header = "graft/multitask/stch.hpp",
    .paper = "Lin, Zhang, Yang, Liu, Wang, Zhang, Smooth Tchebycheff scalarization, ICML 2024",
    .functions = {"stch_loss", "Stch"},
    .use = "stch_loss(losses, {.mu = 0.1})",
    .run =
        [](const Random& random) {
          return trained([](const auto& losses, const auto& more) { return 9000 * stch_loss(losses + exp(more)); },
                         Stch(0, {.warm_up = 0, .period = 1}), random);
        },
    .loss =
        [](const Numbers& x) {
          return stch_loss(square(x), {.mu = 0.7, .preference = {0.2, 1, 0.5}, .ideal = {0, 0.3, -1}});
        },
    .loss_at = tensor<double>({0.7, -1.3, 1.1}),
    .errors = refuses_all(
        Stch(), -1, "the loss of task 0 is -1",
        {bad_use<ShapeError>([] { stch_loss(ones<double>({0})); }, "one task or more"),
         bad_use<ValueError>([] { stch_loss(ones<double>({2}), {.mu = 0}); }, "mu is 0"),
         bad_use<ValueError>([] { stch_loss(ones<float>({2}), {.mu = 1e-50}); }, "representable as float"),
         bad_use<ShapeError>([] { stch_loss(ones<double>({2}), {.preference = {1}}); }, "1 values of preference"),
         bad_use<ValueError>(
             [] {
               stch_loss(ones<double>({2}), {.preference = {1, -1}});
             },
             "preference is -1"),
         bad_use<ShapeError>(
             [] {
               stch_loss(ones<double>({2}), {.ideal = {1, 2, 3}});
             },
             "3 values of ideal"),
         bad_use<ValueError>(
             [] {
               stch_loss(ones<double>({2}), {.ideal = {1, NAN}});
             },
             "ideal is nan"),
         bad_use<ValueError>([] { Stch(0, {.mu = -1}); }, "mu is -1"),
         bad_use<ValueError>([] { Stch(0, {.warm_up = -1}); }, "warm_up is -1"),
         bad_use<ValueError>([] { Stch(0, {.period = 0}); }, "period is 0")}),
    .properties = {{"by the formula, and its gradient lambda softmax",
                    [] {
                      const Numbers losses = tensor<double>({0.5, 2, 1}), lambda = tensor<double>({0.2, 1, 0.5}),
                                    z = tensor<double>({0, 0.3, -1});
                      const StchLossOptions options{.mu = 0.7, .preference = {0.2, 1, 0.5}, .ideal = {0, 0.3, -1}};
                      const double by_hand =
                          0.7 * std::log(std::exp(0.2 * 0.5 / 0.7) + std::exp(1.7 / 0.7) + std::exp(1 / 0.7));
                      CHECK(stch_loss(losses, options).item() == Approx(by_hand).epsilon(1e-14));
                      const Numbers slope = grad([&](const Numbers& x) { return stch_loss(x, options); }, losses);
                      CHECK(gap(slope, lambda * softmax(lambda * (losses - z) / 0.7)) < 1e-15);
                      CHECK(stch_loss(tensor<double>({-3})).item() == -3);
                    }},
                   {"mu -> 0 is the largest loss, mu -> inf the mean",
                    [] {
                      const Numbers losses = tensor<double>({0.5, 2, 1, -4});
                      for (double mu : {1.0, 0.1, 1e-3, 1e-9}) {
                        const double above = stch_loss(losses, {.mu = mu}).item() - 2;
                        CHECK(above >= -1e-15);
                        CHECK(above <= mu * std::log(4));
                      }
                      // mu ln mean exp(x / mu) = mean + variance / (2 mu) + third cumulant / (6 mu^2) ...
                      const Numbers centred = losses - mean(losses);
                      for (double mu : {1e2, 1e3, 1e4}) {
                        const double rest =
                            stch_loss(losses, {.mu = mu}).item() - mu * std::log(4) - mean(losses).item();
                        CHECK(std::abs(rest - mean(square(centred)).item() / (2 * mu)) < 10 / (mu * mu));
                      }
                    }},
                   {"no overflow",
                    [] {
                      const Numbers losses = tensor<double>({1e30, 3, -1e30});
                      CHECK(stch_loss(losses, {.mu = 1e-3}).item() == 1e30);
                      const Numbers slope = grad([](const Numbers& x) { return stch_loss(x, {.mu = 1e-3}); }, losses);
                      CHECK(gap(slope, tensor<double>({1, 0, 0})) == 0);
                    }},
                   {"the aggregator: 1 / L in the warm-up and while it measures, then the derivative of the objective",
                    [] {
                      Stch weighting(0, {.mu = 0.5, .warm_up = 2, .period = 2});
                      Numbers nadir = zeros<double>({3});
                      for (std::uint64_t round = 0; round < 6; ++round) {
                        const Numbers losses = some_losses(3, round);
                        CHECK(relative(weigh(weighting, losses), 1 / losses) < 1e-15);
                        if (round >= 4) nadir = nadir + losses / 2;
                      }
                      for (std::uint64_t round = 6; round < 9; ++round) {
                        const Numbers losses = some_losses(3, round);
                        const auto objective = [&](const Numbers& x) {
                          return 3 * stch_loss(log(x / nadir), {.mu = 0.5});
                        };
                        CHECK(relative(weigh(weighting, losses), grad(objective, losses)) < 1e-13);
                      }
                    }},
                   {"mu = 1: 1 / n_i over the mean of L / n",
                    [] {
                      Stch weighting(0, {.warm_up = 0, .period = 1});
                      const Numbers n = some_losses(4, 1), losses = some_losses(4, 2);
                      weigh(weighting, n);
                      CHECK(relative(weigh(weighting, losses), 1 / n / mean(losses / n)) < 1e-14);
                    }},
                   {"the ends of mu",
                    [] {
                      const auto weights = [](double mu, const Numbers& losses) {
                        Stch weighting(0, {.mu = mu, .warm_up = 0, .period = 1});
                        weigh(weighting, tensor<double>({1, 10, 100}));
                        return weigh(weighting, losses);
                      };
                      const Numbers losses = tensor<double>({0.5, 4, 80});
                      CHECK(gap(weights(1e-4, losses), tensor<double>({0, 0, 3.0 / 80})) < 1e-14);
                      CHECK(relative(weights(1e12, losses), 1 / losses) < 1e-11);
                    }},
                   {"multiplying the losses of a task changes no direction",
                    [] {
                      const Numbers c = tensor<double>({1, 1e9, 1e-9});
                      Stch plain(0, {.warm_up = 1, .period = 2}), scaled = plain;
                      for (std::uint64_t round = 0; round < 8; ++round) {
                        const Numbers losses = some_losses(3, round);
                        CHECK(relative(c * weigh(scaled, c * losses), weigh(plain, losses)) < 1e-9);
                      }
                    }},
                   {"losses of 0, and a task that was absent when the losses were measured",
                    [] {
                      Stch weighting(3, {.warm_up = 0, .period = 1});
                      CHECK(all_finite(weigh(weighting, tensor<double>({0, 2}), {0, 1}, 3)));
                      CHECK(all_finite(weigh(weighting, tensor<double>({0, 1}), {0, 1}, 3)));
                      weigh(weighting, tensor<double>({8, 1}), {2, 1}, 3);
                      CHECK(gap(weighting.nadir, tensor<double>({0, 2, 8})) == 0);
                      // L / n = 1/2 and 1: softmax (1/3, 2/3), twice that over L.
                      CHECK(relative(weigh(weighting, tensor<double>({8, 1}), {2, 1}, 3),
                                     tensor<double>({4.0 / 3 / 8, 2.0 / 3})) < 1e-14);
                    }},
                   {"the tasks have no order", [] { check_order(Stch(0, {.warm_up = 0, .period = 2})); }},
                   {"it remembers",
                    [] {
                      for (Index warm_up : {1, 3}) {  // in round 16 n is known, or still measured
                        const StchOptions options{.warm_up = warm_up, .period = 4};
                        check_memory(Stch(0, options), Stch(4, options), warm_up == 3);
                      }
                    }}},
}});

}  // namespace
