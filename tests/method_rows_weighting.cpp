// Rows of the method table for the weightings of the tasks' losses, the figures of conflict and the affinities of
// tasks.

#include <bit>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "gap.hpp"
#include "files.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/model/grad.hpp"
#include "graft/multitask/affinity.hpp"
#include "graft/multitask/conflict.hpp"
#include "graft/multitask/dwa.hpp"
#include "graft/multitask/famo.hpp"
#include "graft/multitask/gls.hpp"
#include "graft/multitask/gradnorm.hpp"
#include "graft/multitask/imtl_l.hpp"
#include "graft/multitask/rlw.hpp"
#include "graft/multitask/stch.hpp"
#include "graft/multitask/uncertainty.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/optim/adam.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The largest difference, each as a share of b.
double relative(const Numbers& a, const Numbers& b) {
  REQUIRE(a.shape() == b.shape());
  return max(abs(a / b - 1)).item();
}
double at(const Numbers& x, Index i) { return x.span()[static_cast<std::size_t>(i)]; }
double total(const Numbers& x) { return sum(x).item(); }
Numbers part(const Numbers& x, Index from, Index to) { return slice(x, 0, from, to); }
/// Positive numbers that differ from round to round.
Numbers some_losses(Index tasks, std::uint64_t round) { return exp(randn<double>({tasks}, Random(8).stream(round))); }

/// A round of `all` tasks with these losses, and gradients [rows, n], of which most weightings know nothing.
TaskGradients round_of(const Numbers& losses, const List<Index>& ids = {}, Index all = 0, const Numbers& rows = {}) {
  TaskGradients gradients(rows.defined() ? rows : ones<double>({losses.count(), 1}), losses, Random(1));
  if (ids.size() > 0) {
    gradients.ids = ids;
    gradients.all_tasks = all;
  }
  return gradients;
}
template <class W>
Numbers weigh(W& weighting, const Numbers& losses, const List<Index>& ids = {}, Index all = 0,
              const Numbers& rows = {}) {
  TaskGradients gradients = round_of(losses, ids, all, rows);
  return weighting(gradients).weights;
}
/// The direction after three rounds of random losses and gradients.
Tensor<float> direction_of(Aggregator weighting, const Random& random) {
  Numbers direction;
  for (std::uint64_t round = 0; round < 3; ++round) {
    const Numbers rows = randn<double>({6, 3000}, random.stream("rows", round));
    TaskGradients gradients(rows, exp(randn<double>({6}, random.stream("losses", round))), random.stream(round));
    direction = sum(reshape(weighting(gradients).weights, {6, 1}) * rows, {0});
  }
  return cast<float>(direction);
}
/// The gradient of a loss of some thousand losses and as many numbers of the tasks' own, and a direction.
template <class Loss>
Tensor<float> trained(Loss loss, const Aggregator& weighting, const Random& random) {
  const Tensor<float> slopes =
      grad([&](const Tensor<float>& x) { return loss(exp(slice(x, 0, 0, 9000)), slice(x, 0, 9000, 18000)); },
           randn<float>({18000}, random.stream("losses")));
  return concat(std::vector{slopes, direction_of(weighting, random)}, 0);
}

/// What every weighting that remembers is held to: `fresh` was not told the number of tasks, `sized` that it is 4.
void check_memory(const Aggregator& fresh, const Aggregator& sized, bool always_moves = true) {
  const auto run = [](Aggregator& weighting, std::uint64_t from, std::uint64_t to) {
    std::vector<Numbers> weights;
    for (std::uint64_t round = from; round < to; ++round) {
      const List<Index> ids = round % 3 == 1 ? List<Index>{0, 2, 2} : List<Index>{0, 1, 2, 3};
      const Numbers rows = randn<double>({ids.size(), 3}, Random(4).stream(round));
      weights.push_back(weigh(weighting, some_losses(ids.size(), round), ids, 4, rows));
    }
    return weights;
  };
  const auto alike = [](const std::vector<Numbers>& a, const std::vector<Numbers>& b) {
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i], b[i]));
  };
  Aggregator one = fresh, other = sized;
  const std::vector<Numbers> first = run(one, 0, 7);
  alike(run(other, 0, 7), first);

  // A copy, and one that comes from a file, go on as the one that never stopped.
  Aggregator copy = one, loaded = sized;
  const Folder folder;
  save_checkpoint(folder / "weighting.npz", one);
  load_checkpoint(folder / "weighting.npz", loaded);
  const std::vector<Numbers> next = run(one, 7, 15);
  alike(run(copy, 7, 15), next);
  alike(run(loaded, 7, 15), next);
  CHECK_FALSE(same_bits(next[5], first[0]));

  // Tasks 1 and 3 are absent; what is known of them stays as it is.
  const Aggregator before = one;
  weigh(one, some_losses(2, 20), {2, 0}, 4, randn<double>({2, 3}, Random(6)));
  bool moved = false;
  for_each_parameter(
      [&](const Numbers& old, const Numbers& now) {
        if (old.rank() == 0) return;
        REQUIRE(old.shape() == Shape{4});
        for (Index task : {1, 3})
          CHECK(std::bit_cast<std::uint64_t>(at(old, task)) == std::bit_cast<std::uint64_t>(at(now, task)));
        moved = moved || at(old, 0) != at(now, 0);
      },
      before, one);
  CHECK(moved == always_moves);
}

/// Of every weighting of losses: it does not matter which number a task has, and in which row it stands.
void check_order(const Aggregator& fresh) {
  const std::int64_t number_of[] = {2, 0, 3, 1};
  Aggregator one = fresh, other = fresh;
  for (std::uint64_t round = 0; round < 8; ++round) {
    const List<Index> ids = round % 3 == 1 ? List<Index>{0, 2, 2} : List<Index>{0, 1, 2, 3};
    List<Index> renamed;
    List<std::int64_t> backwards;
    for (Index row = ids.size() - 1; row >= 0; --row) {
      renamed.push_back(number_of[ids[row]]);
      backwards.push_back(row);
    }
    const auto turned = [&](const Numbers& x) { return gather(x, from_vector(backwards)); };
    const Numbers losses = some_losses(ids.size(), round),
                  rows = randn<double>({ids.size(), 3}, Random(4).stream(round));
    const Numbers weights = weigh(one, losses, ids, 4, rows);
    CHECK(relative(weigh(other, turned(losses), renamed, 4, turned(rows)), turned(weights)) < 1e-12);
  }
}

/// Bad uses that every weighting of losses refuses; those that remember also refuse another number of tasks.
template <class W>
std::vector<BadUse> refuses(const W& weighting, double loss, const std::string& says) {
  const auto use = [weighting](const Numbers& losses, const List<Index>& ids, Index all) {
    W own = weighting;
    TaskGradients gradients = round_of(losses, ids, all);
    own(gradients);
  };
  return {bad_use<ValueError>(
              [weighting] {
                W own = weighting;
                TaskGradients gradients(ones<double>({2, 1}), {}, Random(1));
                own(gradients);
              },
              "gradients only"),
          bad_use<ValueError>(
              [use] {
                use(tensor<double>({1, NAN}), {}, 0);
              },
              "the loss of task 1 is nan"),
          bad_use<ValueError>(
              [use] {
                use(tensor<double>({kInfinity, 1}), {}, 0);
              },
              "the loss of task 0 is inf"),
          bad_use<ValueError>(
              [use, loss] {
                use(tensor<double>({loss, 1}), {}, 0);
              },
              says),
          bad_use<IndexError>(
              [use] {
                use(ones<double>({2}), {0, 2}, 2);
              },
              "task 2 of 2"),
          bad_use<ShapeError>([use] { use(ones<double>({2}), {0}, 2); }, "1 tasks for 2 losses")};
}
template <class W>
std::vector<BadUse> refuses_all(const W& weighting, double loss, const std::string& says,
                                const std::vector<BadUse>& own) {
  std::vector<BadUse> uses = refuses(weighting, loss, says);
  uses.push_back(bad_use<ShapeError>(
      [weighting] {
        W used = weighting;
        for (Index tasks : {2, 3}) {
          TaskGradients gradients = round_of(ones<double>({tasks}));
          used(gradients);
        }
      },
      "state [2]"));
  uses.push_back(bad_use<ValueError>([] { W(-1); }, "tasks is -1"));
  uses.insert(uses.end(), own.begin(), own.end());
  return uses;
}

const Numbers far_apart = tensor<double>({0.01, 1, 250, 1e30});

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

// ---- Conflict -------------------------------------------------------------------------------------------------------
ConflictFigures figures_of(const Numbers& rows) { return conflict_figures(matmul(rows, rows, {.transpose_b = true})); }

const bool conflict_row = add_method_rows({{
    .name = "conflict",
    .header = "graft/multitask/conflict.hpp",
    .paper = "Yu, Kumar, Gupta, Levine, Hausman, Finn, Gradient surgery for multi-task learning, NeurIPS 2020",
    .functions = {"conflict_figures"},
    .use = "conflict_figures(gradients.gramian())",
    .run =
        [](const Random& random) {
          const ConflictFigures f = figures_of(randn<double>({40, 4000}, random));
          return cast<float>(tensor<double>({f.conflicts, f.mean_cosine, f.largest_ratio}));
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     conflict_figures(ones<double>({2, 3}));
                   },
                   "[2, 3]"),
               bad_use<ShapeError>([] { conflict_figures(ones<double>({4})); }, "[4]"),
               bad_use<ValueError>(
                   [] {
                     conflict_figures(tensor<double>({{1, NAN}, {NAN, 1}}));
                   },
                   "0 and 1 is nan"),
               bad_use<ValueError>([] { conflict_figures(tensor<double>({{-1}})); }, "0 and 0"),
               bad_use<ValueError>(
                   [] {
                     conflict_figures(zeros<double>({0, 0}));
                   },
                   "no tasks")},
    .properties =
        {{"the golden rows",
          [] {
            const ConflictFigures f = figures_of(tensor<double>({{-4, 1, 1}, {6, 1, 1}}));
            CHECK(f.conflicts == 1);
            CHECK(f.mean_cosine == Approx(-22 / std::sqrt(18.0 * 38)).epsilon(1e-14));
            CHECK(std::abs(f.mean_cosine - -0.8412) < 5e-5);
            CHECK(f.largest_ratio == Approx(std::sqrt(38.0 / 18)).epsilon(1e-14));
          }},
         {"a share and a mean over pairs",
          [] {
            // Angles 0, 90, 135 degrees: cosines 0, -1/sqrt 2, 1/sqrt 2; a right angle is no conflict.
            const ConflictFigures f = figures_of(tensor<double>({{2, 0}, {0, 1}, {-3, 3}}));
            CHECK(f.conflicts == Approx(1.0 / 3).epsilon(1e-15));
            CHECK(std::abs(f.mean_cosine) < 1e-15);
            CHECK(f.largest_ratio == Approx(std::sqrt(18.0)).epsilon(1e-15));
          }},
         {"scaling a gradient changes only the ratio",
          [] {
            const Numbers rows = randn<double>({5, 4}, Random(1));
            const ConflictFigures f = figures_of(rows);
            const ConflictFigures g = figures_of(reshape(tensor<double>({1, 1e9, 1, 1e-9, 1}), {5, 1}) * rows);
            CHECK(f.conflicts == g.conflicts);
            CHECK(f.conflicts > 0);
            CHECK(g.mean_cosine == Approx(f.mean_cosine).epsilon(1e-12));
            CHECK(figures_of(1e70 * rows).largest_ratio == Approx(f.largest_ratio).epsilon(1e-12));
          }},
         {"zero gradients, one task, equal gradients",
          [] {
            const ConflictFigures f = figures_of(tensor<double>({{0, 0}, {2, 0}, {-1, 0}, {0, 0}}));
            CHECK(f.conflicts == 1);
            CHECK(f.mean_cosine == -1);
            CHECK(f.largest_ratio == 2);
            for (const Numbers& rows : {zeros<double>({3, 2}), tensor<double>({{5, 1}}),
                                        tensor<double>({{0, 0}, {3, 0}}), tensor<double>({{3, 1}, {3, 1}})}) {
              const ConflictFigures none = figures_of(rows);
              CHECK(none.conflicts == 0);
              CHECK(none.mean_cosine == Approx(1).epsilon(1e-15));
              CHECK(none.largest_ratio == 1);
            }
          }}},
}});

// ---- Affinity -------------------------------------------------------------------------------------------------------
/// L_j = a_j / 2 |theta - c_j|^2 + b_j, rows of c.
struct Quadratics {
  Numbers a, b, c;
  Numbers operator()(const Numbers& theta) const { return a / 2 * sum(square(theta - c), {1}) + b; }
};
const Quadratics quadratics{tensor<double>({1, 3, 0.5}), tensor<double>({0.5, 1, 2}),
                            tensor<double>({{1, 0}, {0, 2}, {-1, -1}})};

/// A trunk and the heads of two tasks.
template <class T>
struct Branches {
  Tensor<T> trunk, first, second;
  GRAFT_FIELDS(trunk, first, second)
};
template <class T>
auto branch_losses(const Tensor<T>& x) {
  return [x](const Branches<T>& net) {
    const Tensor<T> hidden = tanh(matmul(x, net.trunk));
    return stack(std::vector{mean(square(matmul(hidden, net.first) - T(1))), mean(square(matmul(hidden, net.second)))});
  };
}
template <class T>
Branches<T> branches(Index in, Index wide, const Random& random) {
  return {randn<T>({in, wide}, random.stream("trunk")), randn<T>({wide, 1}, random.stream("first")),
          randn<T>({wide, 1}, random.stream("second"))};
}

/// The authors' objective of some groups: every task takes the best of the groups that it is in; -inf unless all are in
/// one of two tasks or more.
double objective_of(const Numbers& z, const std::vector<std::vector<Index>>& groups) {
  const Index tasks = z.size(0);
  double sum = 0;
  for (Index i = 0; i < tasks; ++i) {
    double best = -kInfinity;
    for (const auto& group : groups) {
      if (std::find(group.begin(), group.end(), i) == group.end() || group.size() < 2) continue;
      double onto = 0;
      for (Index j : group)
        if (j != i) onto += at(z, j * tasks + i);
      best = std::max(best, onto / static_cast<double>(group.size() - 1));
    }
    sum += best;
  }
  return sum;
}
/// The greatest objective of any `groups` sets of tasks, one of which may be named several times.
double greatest(const Numbers& z, Index groups, std::vector<std::vector<Index>> chosen = {}) {
  if (static_cast<Index>(chosen.size()) == groups) return objective_of(z, chosen);
  double best = -kInfinity;
  for (Index set = 1; set < Index{1} << z.size(0); ++set) {
    std::vector<Index> group;
    for (Index i = 0; i < z.size(0); ++i)
      if (set >> i & 1) group.push_back(i);
    chosen.push_back(group);
    best = std::max(best, greatest(z, groups, chosen));
    chosen.pop_back();
  }
  return best;
}

const bool affinity_row = add_method_rows({{
    .name = "affinity",
    .header = "graft/multitask/affinity.hpp",
    .paper = "Fifty, Amid, Zhao, Yu, Anil, Finn, Efficiently identifying task groupings, NeurIPS 2021",
    .functions = {"task_affinity", "first_order_affinity", "group_tasks"},
    .use = "group_tasks(task_affinity(losses_of, net, 0.01, {\"trunk\"}), 3)",
    .run =
        [](const Random& random) {
          const Tensor<float> x = randn<float>({300, 40}, random.stream("x"));
          const Numbers z = task_affinity(branch_losses(x), branches<float>(40, 60, random), 1e-3);
          const TaskGroups found = group_tasks(randn<double>({6, 6}, random), 2);
          return cast<float>(concat(std::vector{reshape(z, {-1}), tensor<double>({found.affinity})}, 0));
        },
    .errors = {bad_use<ShapeError>(
                   [] { task_affinity([](const Numbers& x) { return sum(x); }, ones<double>({2}), 0.1); }, "losses []"),
               bad_use<ValueError>(
                   [] {
                     task_affinity([](const Numbers& x) { return x; }, tensor<double>({1, 0}), 0.1);
                   },
                   "the loss of task 1 is 0"),
               bad_use<ValueError>([] { task_affinity([](const Numbers& x) { return x; }, ones<double>({2}), 0); },
                                   "eta is 0"),
               bad_use<ValueError>(
                   [] { task_affinity([](const Numbers& x) { return exp(square(x)); }, full<double>({2}, 26.0), 1); },
                   "a step for task 0 makes the loss of task 0 inf"),
               bad_use<ValueError>([] { first_order_affinity(eye<double>(2), ones<double>({2}), NAN); }, "eta is nan"),
               bad_use<ShapeError>([] { first_order_affinity(eye<double>(3), ones<double>({2}), 1); },
                                   "gramian [3, 3]"),
               bad_use<ValueError>([] { first_order_affinity(eye<double>(1), tensor<double>({-1}), 1); },
                                   "the loss of task 0 is -1"),
               bad_use<ValueError>(
                   [] {
                     first_order_affinity(tensor<double>({{1, kInfinity}, {0, 1}}), ones<double>({2}), 1);
                   },
                   "gradients 0 and 1 is inf"),
               bad_use<ShapeError>(
                   [] {
                     group_tasks(ones<double>({2, 3}), 1);
                   },
                   "[2, 3]"),
               bad_use<ValueError>(
                   [] {
                     group_tasks(ones<double>({1, 1}), 1);
                   },
                   "1 tasks"),
               bad_use<ValueError>(
                   [] {
                     group_tasks(ones<double>({17, 17}), 1);
                   },
                   "17 tasks, expected 2 to 16"),
               bad_use<ValueError>(
                   [] {
                     group_tasks(ones<double>({2, 2}), 0);
                   },
                   "groups is 0"),
               bad_use<ValueError>(
                   [] {
                     group_tasks(tensor<double>({{1, NAN}, {1, 1}}), 1);
                   },
                   "the affinity of task 0 for task 1 is nan")},
    .properties =
        {{"quadratic losses: the step in closed form, and its first order",
          [] {
            const Numbers theta = tensor<double>({0.3, -0.7});
            const double eta = 0.2;
            const Numbers z = task_affinity(quadratics, theta, eta), before = quadratics(theta);
            const Numbers slopes = reshape(quadratics.a, {3, 1}) * (theta - quadratics.c);
            for (Index i = 0; i < 3; ++i) {
              const Numbers stepped = quadratics(theta - eta * reshape(slice(slopes, 0, i, i + 1), {2}));
              CHECK(gap(reshape(slice(z, 0, i, i + 1), {3}), 1 - stepped / before) < 1e-14);
            }
            // L_j(theta - eta g_i) = L_j - eta <g_i, g_j> + eta^2 a_j |g_i|^2 / 2 exactly.
            const Numbers gramian = matmul(slopes, slopes, {.transpose_b = true});
            const Numbers squares = reshape(sum(square(slopes), {1}), {3, 1});
            const Numbers second = eta * eta / 2 * squares * quadratics.a / before;
            CHECK(gap(first_order_affinity(gramian, before, eta) - second, z) < 1e-14);
            CHECK(min(z).item() < 0);
          }},
         {"identical tasks gain alike",
          [] {
            const auto losses = [](const Numbers& theta) {
              const Numbers loss = sum(square(theta)) + 1;
              return stack(std::vector{loss, loss, loss});
            };
            const Numbers z = task_affinity(losses, tensor<double>({1, 2}), 0.1);
            CHECK(gap(z, full<double>({3, 3}, at(z, 0))) == 0);
            CHECK(at(z, 0) == Approx(1 - (5 * 0.64 + 1) / 6).epsilon(1e-14));
          }},
         {"steps in the shared parameters only",
          [] {
            const Numbers x = randn<double>({7, 3}, Random(5));
            const auto losses = branch_losses(x);
            const Branches<double> net = branches<double>(3, 4, Random(6));
            const double eta = 1e-2;
            const Numbers z = task_affinity(losses, net, eta, {"trunk"}), before = losses(net);
            Index place = 0;
            for (Index i = 0; i < 2; ++i) {
              Branches<double> stepped = net;
              stepped.trunk =
                  net.trunk - eta * grad([&](const auto& n) { return slice(losses(n), 0, i, i + 1); }, net).trunk;
              for (Index j = 0; j < 2; ++j)
                CHECK(at(z, place++) == Approx(1 - at(losses(stepped), j) / at(before, j)).epsilon(1e-12));
            }
            // A private head moves with its own task only.
            const Numbers all = task_affinity(losses, net, eta);
            CHECK(at(all, 1) == Approx(at(z, 1)).epsilon(1e-12));
            CHECK(at(all, 0) != at(z, 0));
          }},
         {"planted groups",
          [] {
            const Numbers z = generate({6, 6}, [](Index i, Index j) { return i / 2 == j / 2 ? 1.0 : -1.0; });
            const TaskGroups found = group_tasks(z, 3);
            CHECK(found.affinity == 6);
            CHECK(found.groups.size() == 3);
            for (Index i = 0; i < 6; ++i) {
              const std::vector<Index> pair{i - i % 2, i - i % 2 + 1};
              CHECK(found.groups[static_cast<std::size_t>(found.served_by[static_cast<std::size_t>(i)])] == pair);
            }
          }},
         {"the best of all groupings, by trying them",
          [] {
            for (std::uint64_t seed = 0; seed < 6; ++seed)
              for (Index tasks : {2, 3, 4}) {
                const Numbers z = randn<double>({tasks, tasks}, Random(seed)) + (seed < 3 ? 0.5 : -0.5);
                for (Index groups : {1, 2, 3}) {
                  const TaskGroups found = group_tasks(z, groups);
                  CHECK(found.affinity == Approx(greatest(z, groups)).epsilon(1e-12));
                  CHECK(objective_of(z, found.groups) == Approx(found.affinity).epsilon(1e-12));
                  CHECK(static_cast<Index>(found.groups.size()) <= groups);
                }
              }
          }},
         {"a task that helps all is in several groups",
          [] {
            // Tasks 1 and 2 gain from 0, and lose from each other.
            const Numbers z = tensor<double>({{0, 1, 1}, {0.25, 0, -1}, {0.5, -1, 0}});
            const TaskGroups found = group_tasks(z, 2);
            CHECK(found.affinity == 2.5);
            CHECK(found.groups == std::vector<std::vector<Index>>{{0, 2}, {0, 1}});
            CHECK(found.served_by == std::vector<Index>{0, 1, 0});
            CHECK(group_tasks(z, 1).affinity == Approx(0.375 + 0 + 0).margin(1e-15));
          }},
         {"fewer and smaller groups of equal totals, and many tasks",
          [] {
            const TaskGroups found = group_tasks(ones<double>({5, 5}), 5);
            CHECK(found.affinity == 5);
            CHECK(found.groups == std::vector<std::vector<Index>>{{0, 1, 2, 3, 4}});
            const Numbers z = generate({12, 12}, [](Index i, Index j) { return i % 4 == j % 4 ? 1.0 : 0.25; });
            const TaskGroups four = group_tasks(z, 4);
            CHECK(four.affinity == 12);
            CHECK(four.groups.size() == 4);
            CHECK(objective_of(z, four.groups) == 12);
          }}},
}});

}  // namespace
