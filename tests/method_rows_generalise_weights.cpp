// Rows of the method table for generalise/: averages of weights.

#include <algorithm>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "files.hpp"
#include "graft/generalise/soups.hpp"
#include "graft/generalise/swad.hpp"
#include "graft/generalise/wise_ft.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/ops/statistics.hpp"
#include "method_table.hpp"
#include "small_nets.hpp"

using namespace small_nets;

namespace {

// ---- WiSE-FT --------------------------------------------------------------------------------------------------------
const bool wise_ft_row = add_method_rows({{
    .name = "wise_ft",
    .header = "graft/generalise/wise_ft.hpp",
    .paper = "Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022",
    .functions = {"wise_ft", "WiseFtOptions"},
    .use = "wise_ft(zero_shot, fine_tuned, {.alpha = 0.5})",
    .run =
        [](const Random& random) {
          return to_vector(wise_ft(large_net(random.stream("zero-shot")), large_net(random), {.alpha = 0.3}));
        },
    .loss =
        [](const Tensor<double>& x) {
          const Net<double> mixed = wise_ft(from_vector(x, small_net()), small_net(2), {.alpha = 0.3});
          return cross_entropy(mixed(small_set().x, Context()), small_set().y);
        },
    .loss_at = to_vector(small_net()),
    .errors = {bad_use<ValueError>([] { wise_ft(small_net(), small_net(), {.alpha = 1.5}); }, "alpha is 1.5"),
               bad_use<ValueError>([] { wise_ft(small_net(), small_net(), {.alpha = NAN}); }, "alpha is nan"),
               bad_use<ShapeError>([] { wise_ft(small_net(), net<double>(3, 5, 3, Random(1))); },
                                   "shapes of body.map.weight differ")},
    .properties = {{"0 and 1 are the two models, bit for bit",
                    [] {
                      CHECK(same_bits_of(wise_ft(small_net(1), small_net(2), {.alpha = 0}), small_net(1)));
                      CHECK(same_bits_of(wise_ft(small_net(1), small_net(2), {.alpha = 1}), small_net(2)));
                    }},
                   {"the logits of a linear head interpolate",
                    [] {
                      const Linear<double> zero(4, 3, Random(1)), tuned(4, 3, Random(2));
                      const Tensor<double> x = randn<double>({20, 4}, Random(3));
                      for (const double alpha : {0.0, 0.25, 0.5, 0.9, 1.0})
                        CHECK(gap(wise_ft(zero, tuned, {.alpha = alpha})(x), (1 - alpha) * zero(x) + alpha * tuned(x)) <
                              1e-14);
                    }},
                   {"a common offset of 1e6 stays, and swapping the models swaps the shares",
                    [] {
                      const Tensor<double> a = 1e6 + randn<double>({50}, Random(1)),
                                           b = 1e6 + randn<double>({50}, Random(2));
                      for (const double alpha : {0.25, 0.75})
                        CHECK(gap(wise_ft(a, b, {.alpha = alpha}), wise_ft(b, a, {.alpha = 1 - alpha})) < 1e-9);
                      CHECK(gap(wise_ft(a, a, {.alpha = 0.3}), a) < 1e-9);
                    }},
                   {"running statistics are the nearer model's",
                    [] {
                      NormedNet<double> zero = small_normed_net(), tuned = small_normed_net();
                      tuned.norm.running_mean.value = ones<double>({4});
                      CHECK(wise_ft(zero, tuned, {.alpha = 0.4}).norm.running_mean.value.at({0}) == 0);
                      CHECK(wise_ft(zero, tuned, {.alpha = 0.5}).norm.running_mean.value.at({0}) == 1);
                    }}},
}});

// ---- Soups ----------------------------------------------------------------------------------------------------------
template <class M>
std::vector<M> some_models(int count, M make(std::uint64_t)) {
  std::vector<M> models;
  for (int i = 0; i < count; ++i) models.push_back(make(static_cast<std::uint64_t>(i)));
  return models;
}
std::vector<Tensor<double>> numbers(const std::vector<double>& values) {
  std::vector<Tensor<double>> models;
  for (const double value : values) models.emplace_back(value);
  return models;
}
/// Minus (theta - 1)^2.
double near_one(const Tensor<double>& theta) { return -(theta.item() - 1) * (theta.item() - 1); }

const bool soups_row = add_method_rows({{
    .name = "soups",
    .header = "graft/generalise/soups.hpp",
    .paper = "Wortsman et al., Model soups, ICML 2022; Rame et al., Diverse weight averaging, NeurIPS 2022",
    .functions = {"uniform_soup", "greedy_soup", "diwa_soup", "ratio_error", "Soup", "SoupOptions", "DiwaSelection"},
    .use = "greedy_soup(models, held_out_accuracy).model",
    .run =
        [](const Random& random) {
          std::vector<Net<float>> models;
          for (std::uint64_t i = 0; i < 4; ++i) models.push_back(large_net(random.stream("model", i)));
          const LabelledSet<float> set = large_set(random);
          const auto score = [&](const Net<float>& model) {
            return -static_cast<double>(cross_entropy(model(set.x, Context()), set.y).item());
          };
          return concat<float>({to_vector(greedy_soup(models, score).model), to_vector(uniform_soup(models))}, 0);
        },
    .errors = {bad_use<ValueError>([] { uniform_soup(std::vector<Net<double>>()); }, "no models"),
               bad_use<ValueError>([] { greedy_soup(std::vector<Tensor<double>>(), near_one); }, "no models"),
               bad_use<ValueError>([] { diwa_soup(std::vector<Tensor<double>>(), near_one); }, "no models"),
               bad_use<ValueError>(
                   [] {
                     greedy_soup(numbers({1, NAN}), near_one);
                   },
                   "the score of model 1"),
               bad_use<ShapeError>(
                   [] {
                     uniform_soup(std::vector{small_net(), net<double>(3, 5, 3, Random(1))});
                   },
                   "shapes of body.map.weight differ"),
               bad_use<ShapeError>(
                   [] {
                     diwa_soup(std::vector{zeros<double>({2}), zeros<double>({3})}, [](const auto&) { return 1; });
                   },
                   "[3]"),
               bad_use<ShapeError>(
                   [] { ratio_error(zeros<std::int64_t>({2}), zeros<std::int64_t>({3}), zeros<std::int64_t>({2})); },
                   "[3]")},
    .properties =
        {{"the mean of the weights; of equal members the member, bit for bit",
          [] {
            CHECK(uniform_soup(numbers({1, 2, 6, 7})).item() == Approx(4).epsilon(1e-15));
            const std::vector<Net<double>> same(5, small_net());
            CHECK(same_bits_of(uniform_soup(same), small_net()));
            CHECK(same_bits_of(greedy_soup(same, [](const Net<double>&) { return 0.5; }).model, small_net()));
          }},
         {"of a convex loss: not above the mean of the members' losses",
          [] {
            const LabelledSet<double> set = small_set(3, 30);
            std::vector<Linear<double>> models;
            double mean_loss = 0;
            const auto loss = [&](const Linear<double>& m) { return cross_entropy(m(set.x), set.y).item(); };
            for (std::uint64_t i = 0; i < 6; ++i) {
              models.push_back(3 * Linear<double>(3, 3, Random(i)));
              mean_loss += loss(models.back()) / 6;
            }
            CHECK(loss(uniform_soup(models)) < mean_loss);
          }},
         {"greedy by hand: what helps the best one, and where nothing does",
          [] {
            // 1.1 (-0.01), 1.3 (-0.09), 0.6 (-0.16), 3, -1: with 1.3 the mean is 1.2, worse; with 0.6 it is 0.85, worse
            CHECK(greedy_soup(numbers({3, 0.6, 1.1, 1.3, -1}), near_one).members == std::vector<Index>{2});
            // 1.4, 0.5, 3, -1: the mean with 0.5 is 0.95; 3 would make it 1.63, and -1 then 0.3
            const Soup<Tensor<double>> soup = greedy_soup(numbers({3, 0.5, -1, 1.4}), near_one);
            CHECK(soup.members == std::vector<Index>{3, 1});
            CHECK(soup.model.item() == Approx(0.95).epsilon(1e-15));
            CHECK(soup.score == Approx(-0.0025).epsilon(1e-12));
          }},
         {"greedy is never below its best member, DiWA's restricted choice is the same, its uniform one has all",
          [] {
            const LabelledSet<double> set = small_set(3, 30);
            for (std::uint64_t trial = 0; trial < 10; ++trial) {
              std::vector<Net<double>> models;
              double best = -std::numeric_limits<double>::infinity();
              const auto score = [&](const Net<double>& m) { return -loss_on(m, set); };
              for (std::uint64_t i = 0; i < 5; ++i) {
                models.push_back(small_net(10 * trial + i));
                best = std::max(best, score(models.back()));
              }
              const Soup<Net<double>> greedy = greedy_soup(models, score),
                                      all = diwa_soup(models, score, DiwaSelection::uniform);
              CHECK(greedy.score >= best);
              CHECK(greedy.score == score(greedy.model));
              CHECK(same_bits_of(diwa_soup(models, score).model, greedy.model));
              CHECK(all.members == std::vector<Index>{0, 1, 2, 3, 4});
              CHECK(same_bits_of(all.model, uniform_soup(models)));
              CHECK(all.score == score(all.model));
            }
          }},
         {"errors of one alone over errors of both",
          [] {
            const auto labels = tensor<std::int64_t>({0, 0, 0, 0, 0, 0}),
                       first = tensor<std::int64_t>({0, 1, 1, 1, 0, 2}),
                       second = tensor<std::int64_t>({0, 1, 2, 0, 0, 0});
            CHECK(ratio_error(first, second, labels) == 1.0);  // items 3 and 5 over items 1 and 2
            CHECK(ratio_error(first, first, labels) == 0);
            CHECK(std::isinf(ratio_error(first, labels, labels)));
          }}},
}});

// ---- SWAD -----------------------------------------------------------------------------------------------------------
/// Algorithm 1 on the evaluations of a run: which spans are averaged, from the first to the last of the answer.
std::pair<Index, Index> valley_of(const std::vector<double>& losses, const SwadOptions& o) {
  const auto count = static_cast<Index>(losses.size());
  const auto at = [&](Index i) { return losses[i]; };
  Index start = -1, end = -1;
  double threshold = 0;
  for (Index i = 0; i < count && end < 0; ++i) {
    if (start < 0) {
      if (i + 1 < o.optimum_patience) continue;
      bool best = true;
      double total = 0;
      for (Index k = 0; k < o.optimum_patience; ++k) {
        best = best && at(i - o.optimum_patience + 1) <= at(i - k);
        total += at(i - k);
      }
      if (!best) continue;
      start = i - o.optimum_patience + 1;
      threshold = o.tolerance * total / static_cast<double>(o.optimum_patience);
    } else if (i - o.overfit_patience >= start) {
      bool above = true;
      for (Index k = 0; k < o.overfit_patience; ++k) above = above && at(i - k) > threshold;
      if (above) end = i - o.overfit_patience;
    }
  }
  if (start < 0) return {count - 1, count - 1};
  if (end < 0)
    for (end = count - 1; end > start && at(end) > threshold;) --end;
  return {start, end};
}
/// The mean of theta = 1, 4, 9, 16 ... after the steps of spans of 3 steps.
double mean_of_squares(Index first, Index last) {
  double total = 0;
  for (Index step = 3 * first; step < 3 * (last + 1); ++step) total += static_cast<double>((step + 1) * (step + 1));
  return total / static_cast<double>(3 * (last - first + 1));
}
Swad<Tensor<double>> swad_after(const std::vector<double>& losses, const SwadOptions& options) {
  Swad<Tensor<double>> swad(Tensor<double>(77), options);
  double step = 0;
  for (const double loss : losses) {
    for (int k = 0; k < 3; ++k) {
      ++step;
      swad.step(Tensor<double>(step * step));
    }
    swad.evaluated(loss);
  }
  return swad;
}

const bool swad_row = add_method_rows({{
    .name = "swad",
    .header = "graft/generalise/swad.hpp",
    .paper = "Cha et al., SWAD: domain generalization by seeking flat minima, NeurIPS 2021",
    .functions = {"Swad", "SwadOptions", "WeightSegment", "with_batch_statistics"},
    .use = "swad.step(net), swad.evaluated(validation_loss)",
    .run =
        [](const Random& random) {
          Swad<Net<float>> swad(large_net(random));
          for (std::uint64_t step = 0; step < 8; ++step) {
            swad.step(large_net(random.stream("step", step)));
            swad.evaluated(1);
          }
          return to_vector(swad.average());
        },
    .errors = {bad_use<ValueError>([] { swad_after({}, {.optimum_patience = 0}); }, "optimum_patience is 0"),
               bad_use<ValueError>([] { swad_after({}, {.overfit_patience = 0}); }, "overfit_patience is 0"),
               bad_use<ValueError>([] { swad_after({}, {.tolerance = 0.9}); }, "tolerance is 0.9"),
               bad_use<ValueError>([] { swad_after({}, {.tolerance = NAN}); }, "tolerance is nan"),
               bad_use<ValueError>([] { swad_after({}, {}).average(); }, "no evaluation"),
               bad_use<ValueError>([] { swad_after({}, {}).evaluated(1); }, "no step"),
               bad_use<ValueError>(
                   [] {
                     Swad<Tensor<double>> swad = swad_after({}, {});
                     swad.step(Tensor<double>(1));
                     swad.evaluated(NAN);
                   },
                   "the validation loss is nan"),
               bad_use<ShapeError>(
                   [] {
                     Swad<Tensor<double>> swad = swad_after({}, {});
                     swad.step(Tensor<double>(1));
                     swad.step(zeros<double>({2}));
                   },
                   "[2]"),
               bad_use<ValueError>(
                   [] { (void)with_batch_statistics(small_normed_net(), std::vector<Tensor<double>>(), Random(1)); },
                   "no batches")},
    .properties =
        {{"constant weights are themselves, bit for bit",
          [] {
            const Net<double> model = small_net();
            Swad<Net<double>> swad(small_net(2));
            for (const double loss : {3., 2., 1., 1.2, 1.1, 1.3, 9., 9., 9., 9., 9., 9., 9.}) {
              for (int k = 0; k < 7; ++k) swad.step(model);
              swad.evaluated(loss);
            }
            CHECK(swad.ended());
            CHECK(same_bits_of(swad.average(), model));
          }},
         {"the valley by hand",
          [] {
            // Start at evaluation 2 (1 <= 1.2, 1.1), threshold 1.3 * 1.1 = 1.43; 6 above it from 6 on: the end is 5.
            const std::vector<double> losses{3, 2, 1, 1.2, 1.1, 1.3, 9, 9, 9, 9, 9, 9, 1, 1};
            const Swad<Tensor<double>> swad = swad_after(losses, {});
            CHECK(swad.threshold.value.item() == Approx(1.43).epsilon(1e-14));
            CHECK(swad.ended());
            CHECK(swad.average().item() == Approx(mean_of_squares(2, 5)).epsilon(1e-14));
          }},
         {"Algorithm 1, on 300 random runs",
          [] {
            int started = 0, ended = 0;
            for (std::uint64_t trial = 0; trial < 300; ++trial) {
              const Random random = Random(7).stream(trial);
              const SwadOptions options{1 + random.below(0, 4), 1 + random.below(1, 6), random.uniform(2, 1, 1.5)};
              std::vector<double> losses;
              for (std::uint64_t i = 0; i < 16; ++i)
                losses.push_back(random.uniform(10 + i, 0.5, 1.5) * (1 + std::abs(static_cast<double>(i) - 5) / 4));
              const Swad<Tensor<double>> swad = swad_after(losses, options);
              const auto [first, last] = valley_of(losses, options);
              CHECK(swad.average().item() == Approx(mean_of_squares(first, last)).epsilon(1e-13));
              started += swad.started();
              ended += swad.ended();
            }
            CHECK(started > 250);
            CHECK(ended > 100);
          }},
         {"before the valley starts: the last span alone",
          [] {
            CHECK(swad_after({5, 4, 3, 2}, {}).average().item() == Approx(mean_of_squares(3, 3)).epsilon(1e-14));
          }},
         {"half of a run goes on from a checkpoint as it would have, also across the end of the valley",
          [] {
            const std::vector<double> losses{3, 2, 1, 1.2, 1.1, 1.3, 9, 9, 9, 9, 9, 9, 1, 1};
            Folder folder;
            for (std::size_t half = 0; half <= losses.size(); ++half) {
              Swad<Tensor<double>> saved = swad_after({losses.begin(), losses.begin() + static_cast<int>(half)}, {}),
                                   loaded(Tensor<double>(5));
              save_checkpoint(folder / "swad.npz", saved);
              load_checkpoint(folder / "swad.npz", loaded);
              for (std::size_t i = half; i < losses.size(); ++i)
                for (Swad<Tensor<double>>* one : {&saved, &loaded}) {
                  one->step(Tensor<double>(static_cast<double>(i)));
                  one->evaluated(losses[i]);
                }
              CHECK(same_bits(saved.average(), loaded.average()));
              CHECK(loaded.ended());
            }
          }},
         {"batch statistics anew: the means of the batches' moments, whatever was there",
          [] {
            NormedNet<double> model = small_normed_net();
            model.norm.running_mean.value = full<double>({4}, 77);
            const std::vector<Tensor<double>> batches{1e6 + randn<double>({5, 3}, Random(1)),
                                                      randn<double>({5, 3}, Random(2))};
            const NormedNet<double> fresh = with_batch_statistics(model, batches, Random(3));
            const Tensor<double> a = model.first(batches[0]), b = model.first(batches[1]);
            const VarOptions sample{.sample = true};
            CHECK(gap(fresh.norm.running_mean.value, 0.5 * (mean(a, {0}) + mean(b, {0}))) < 1e-8);
            CHECK(gap(fresh.norm.running_var.value, 0.5 * (var(a, {0}, sample) + var(b, {0}, sample))) < 1e-8);
            CHECK(fresh.norm.num_batches_tracked.value.item() == 2);
            CHECK(same_bits_of(fresh, model));
            // A model without running statistics is as it was.
            CHECK(same_bits_of(with_batch_statistics(small_net(), batches, Random(3)), small_net()));
          }}},
}});

}  // namespace
