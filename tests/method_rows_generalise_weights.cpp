// Rows of the method table for generalise/: averages of weights, adaptation at test time, items without labels.

#include <algorithm>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "files.hpp"
#include "gap.hpp"
#include "graft/common/inner_loop.hpp"
#include "graft/generalise/entropy_minimisation.hpp"
#include "graft/generalise/fix_match.hpp"
#include "graft/generalise/mean_teacher.hpp"
#include "graft/generalise/soups.hpp"
#include "graft/generalise/swad.hpp"
#include "graft/generalise/t3a.hpp"
#include "graft/generalise/tent.hpp"
#include "graft/generalise/wise_ft.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/nn/norm.hpp"
#include "heads.hpp"
#include "layers.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

template <class T>
using Net = BodyHead<TanhLayer<T>, Linear<T>>;
template <class T>
Net<T> net(Index in, Index width, Index classes, const Random& random) {
  return {TanhLayer<T>(in, width, random.stream("body")), Linear<T>(width, classes, random.stream("head"))};
}
Net<double> small_net(std::uint64_t seed = 1) { return net<double>(3, 4, 3, Random(seed)); }
Net<float> large_net(const Random& random) { return net<float>(48, 96, 5, random); }

/// Some items of three classes.
LabelledSet<double> small_set(std::uint64_t seed = 1, Index items = 6) {
  return embedded_episode({.ways = 3, .shots = 1, .queries = items, .width = 3}, seed).query;
}
LabelledSet<float> large_set(const Random& random) {
  return embedded_episode<float>({.ways = 5, .shots = 1, .queries = 75, .width = 48}, random).query;
}
double loss_on(const Net<double>& model, const LabelledSet<double>& set) {
  return cross_entropy(model(set.x, Context()), set.y).item();
}
template <class M>
bool same_bits_of(const M& a, const M& b) {
  return same_bits(to_vector(a), to_vector(b));
}
template <class M>
double gap_of(const M& a, const M& b) {
  return gap(to_vector(a), to_vector(b));
}

/// A model with a batch norm, which has a mean of its own for every batch.
template <class T>
struct NormedNet {
  Linear<T> first;
  BatchNorm<T> norm;
  Linear<T> last;
  GRAFT_FIELDS(first, norm, last)

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context) const { return last(tanh(norm(first(x), context))); }
};
template <class T>
NormedNet<T> normed_net(Index in, Index width, Index classes, const Random& random) {
  return {Linear<T>(in, width, random.stream("first")), BatchNorm<T>(width),
          Linear<T>(width, classes, random.stream("last"))};
}
NormedNet<double> small_normed_net() { return normed_net<double>(3, 4, 3, Random(1)); }

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
  const auto at = [&](Index i) { return losses[static_cast<std::size_t>(i)]; };
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

// ---- TENT -----------------------------------------------------------------------------------------------------------
const bool tent_row = add_method_rows({{
    .name = "tent",
    .header = "graft/generalise/tent.hpp",
    .paper = "Wang et al., Tent: fully test-time adaptation by entropy minimization, ICLR 2021",
    .functions = {"Tent", "TentOptions"},
    .use = "Tent(net, {.alpha = 1e-3})(batch, context)",
    .run =
        [](const Random& random) {
          Tent<NormedNet<float>> tent(normed_net<float>(48, 96, 5, random), {.steps = 2});
          const Tensor<float> logits = tent(large_set(random).x, Context());
          return concat<float>({reshape(logits, {-1}), to_vector(tent.model)}, 0);
        },
    .errors = {bad_use<ValueError>([] { Tent<Net<double>>{small_net()}; }, "no batch norm"),
               bad_use<ValueError>([] { Tent<Net<double>>(small_net(), {.parts = {"norm"}}); },
                                   "no parameter is named 'norm'"),
               bad_use<ValueError>([] { Tent<NormedNet<double>>(small_normed_net(), {.steps = 0}); }, "steps is 0"),
               bad_use<ValueError>([] { Tent<NormedNet<double>>(small_normed_net(), {.alpha = 0}); }, "alpha is 0"),
               bad_use<ValueError>(
                   [] {
                     Tent<NormedNet<double>> tent(small_normed_net());
                     tent(zeros<double>({0, 3}), Context());
                   },
                   "no items"),
               bad_use<ValueError>(
                   [] {
                     Tent<NormedNet<double>> tent(small_normed_net());
                     tent(full<double>({2, 3}, NAN), Context());
                   },
                   "not finite")},
    .properties =
        {{"only scale and shift of the norm change, by Adam's first step alpha each; statistics stay",
          [] {
            const NormedNet<double> source = small_normed_net();
            Tent<NormedNet<double>> tent(source, {.alpha = 1e-3});
            const Tensor<double> x = 3 + randn<double>({20, 3}, Random(2));
            const Tensor<double> logits = tent(x, Context());
            CHECK(same_bits_of(tent.model.first, source.first));
            CHECK(same_bits_of(tent.model.last, source.last));
            CHECK(same_bits(tent.model.norm.running_mean.value, source.norm.running_mean.value));
            // The answers are those of the source, with the statistics of the batch.
            CHECK(gap(logits, source(x, Context(Phase::training, Random(1)))) < 1e-14);
            const auto entropy = [&](const NormedNet<double>& m) {
              return mean(softmax_entropy(m(x, Context(Phase::training, Random(1)))));
            };
            const NormedNet<double> slope = grad(entropy, source);
            for (const auto& [now, before, g] :
                 {std::tuple{*tent.model.norm.weight, *source.norm.weight, *slope.norm.weight},
                  std::tuple{*tent.model.norm.bias, *source.norm.bias, *slope.norm.bias}})
              for (Index i = 0; i < 4; ++i) {
                const double d = g.at({i});
                CHECK(now.at({i}) - before.at({i}) == Approx(-1e-3 * d / (std::abs(d) + 1e-8)).epsilon(1e-9));
              }
          }},
         {"the entropy falls from batch to batch, a copy starts anew, named parts adapt instead",
          [] {
            Tent<NormedNet<double>> tent(small_normed_net(), {.alpha = 0.05});
            const Tent<NormedNet<double>> before = tent;
            const Tensor<double> x = randn<double>({20, 3}, Random(2));
            std::vector<double> entropies;
            for (int batch = 0; batch < 20; ++batch)
              entropies.push_back(mean(softmax_entropy(tent(x, Context()))).item());
            CHECK(entropies.back() < entropies.front() - 0.1);
            Tent<NormedNet<double>> again = before;
            CHECK(mean(softmax_entropy(again(x, Context()))).item() == entropies.front());
            Tent<NormedNet<double>> other(small_normed_net(), {.parts = {"last.bias"}});
            other(x, Context());
            CHECK(same_bits_of(other.model.norm, small_normed_net().norm));
            CHECK_FALSE(same_bits_of(other.model.last, small_normed_net().last));
            NormedNet<double> without_averages = small_normed_net();
            without_averages.norm = BatchNorm<double>(4, {.mode = BatchNormMode::batch});
            CHECK(Tent<NormedNet<double>>(without_averages).options.parts ==
                  std::vector<std::string>{"norm.weight", "norm.bias"});
          }},
         {"entropy: ln C at equal logits, 0 when one is sure, the closed form of two classes and of its slope",
          [] {
            CHECK(softmax_entropy(zeros<double>({1, 5})).at({0}) == Approx(std::log(5)).epsilon(1e-14));
            const double inf = std::numeric_limits<double>::infinity();
            CHECK(softmax_entropy(tensor<double>({{0, -inf, -inf}})).at({0}) == 0);
            CHECK(softmax_entropy(tensor<double>({{1e6, 0, 3}})).at({0}) == 0);
            for (const double z : {-3.0, -0.4, 0.1, 2.0}) {
              const double p = 1 / (1 + std::exp(-z));
              const auto [value, slope] = value_and_grad(
                  [](const Tensor<double>& l) { return sum(softmax_entropy(l)); }, tensor<double>({{z, 0}}));
              CHECK(value.item() == Approx(-p * std::log(p) - (1 - p) * std::log(1 - p)).epsilon(1e-13));
              CHECK(slope.at({0, 0}) == Approx(-z * p * (1 - p)).epsilon(1e-13));
            }
          }}},
}});

// ---- T3A ------------------------------------------------------------------------------------------------------------
/// The definition, in loops: logits of the last of some batches, with M = `kept` templates a class.
std::vector<std::vector<double>> t3a_by_definition(const Linear<double>& head,
                                                   const std::vector<Tensor<double>>& batches, std::size_t kept) {
  const Index classes = head.weight.size(0), width = head.weight.size(1);
  struct Template {
    std::vector<double> z;
    double entropy;
  };
  std::vector<std::vector<Template>> of(static_cast<std::size_t>(classes));
  const auto add = [&](const Tensor<double>& rows) {
    for (Index i = 0; i < rows.size(0); ++i) {
      std::vector<double> z, logits;
      for (Index k = 0; k < width; ++k) z.push_back(rows.at({i, k}));
      double total = 0, entropy = 0;
      for (Index c = 0; c < classes; ++c) {
        double logit = head.bias->at({c});
        for (Index k = 0; k < width; ++k) logit += head.weight.at({c, k}) * z[static_cast<std::size_t>(k)];
        logits.push_back(logit);
        total += std::exp(logit);
      }
      for (const double logit : logits) entropy -= std::exp(logit) / total * std::log(std::exp(logit) / total);
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      of[static_cast<std::size_t>(best)].push_back({z, entropy});
    }
  };
  add(head.weight);
  std::vector<std::vector<double>> answers;
  for (const Tensor<double>& batch : batches) {
    add(batch);
    answers.assign(static_cast<std::size_t>(batch.size(0)), {});
    for (auto& own : of) {
      std::stable_sort(own.begin(), own.end(),
                       [](const Template& a, const Template& b) { return a.entropy < b.entropy; });
      if (kept > 0 && own.size() > kept) own.resize(kept);
      std::vector<double> centre(static_cast<std::size_t>(width), 0);
      const auto length = [](const std::vector<double>& v) {
        double squares = 0;
        for (const double x : v) squares += x * x;
        return std::sqrt(squares);
      };
      for (const Template& one : own)
        for (std::size_t k = 0; k < centre.size(); ++k) centre[k] += one.z[k] / length(one.z);
      const double size = own.empty() ? 1 : length(centre);
      for (Index i = 0; i < batch.size(0); ++i) {
        double logit = 0;
        for (Index k = 0; k < width; ++k) logit += batch.at({i, k}) * centre[static_cast<std::size_t>(k)] / size;
        answers[static_cast<std::size_t>(i)].push_back(logit);
      }
    }
  }
  return answers;
}

const bool t3a_row = add_method_rows({{
    .name = "t3a",
    .header = "graft/generalise/t3a.hpp",
    .paper = "Iwasawa, Matsuo, Test-time classifier adjustment module for model-agnostic domain generalization, "
             "NeurIPS 2021",
    .functions = {"T3a", "T3aOptions"},
    .use = "T3a<>(net.head)(net, batch)",
    .run =
        [](const Random& random) {
          const Net<float> model = large_net(random);
          T3a<float> t3a(model.head, {.kept = 5});
          return concat<float>({t3a(model, large_set(random).x), t3a(model, large_set(random.stream("later")).x)}, 0);
        },
    .errors = {bad_use<ValueError>([] { T3a<double>(small_net().head, {.kept = -1}); }, "kept is -1"),
               bad_use<ValueError>(
                   [] {
                     T3a<double> t3a;
                     t3a.answer(small_net().head, zeros<double>({2, 4}));
                   },
                   "before it was made"),
               bad_use<ShapeError>(
                   [] {
                     T3a<double> t3a(small_net().head);
                     t3a.answer(small_net().head, zeros<double>({2, 3}));
                   },
                   "[items, 4]"),
               bad_use<ValueError>(
                   [] {
                     T3a<double> t3a(small_net().head);
                     t3a.answer(small_net().head, full<double>({2, 4}, NAN));
                   },
                   "not finite")},
    .properties =
        {{"the definition in loops, over batches, for any number of templates",
          [] {
            const Linear<double> head(4, 3, Random(3));
            for (const Index kept : {0, 1, 3, 50}) {
              T3a<double> t3a(head, {.kept = kept});
              std::vector<Tensor<double>> batches;
              for (std::uint64_t b = 0; b < 3; ++b) {
                batches.push_back(randn<double>({7, 4}, Random(b)));
                const Tensor<double> logits = t3a.answer(head, batches.back());
                const auto expected = t3a_by_definition(head, batches, static_cast<std::size_t>(kept));
                for (Index i = 0; i < 7; ++i)
                  for (Index c = 0; c < 3; ++c)
                    CHECK(logits.at({i, c}) ==
                          Approx(expected[static_cast<std::size_t>(i)][static_cast<std::size_t>(c)]).margin(1e-12));
              }
            }
          }},
         {"one template a class, and items that are less sure than the rows: the nearest row by its direction",
          [] {
            Linear<double> head(3, 3, Random(1));
            head.weight = 5.0 * eye<double>(3);
            head.bias = zeros<double>({3});
            T3a<double> t3a(head, {.kept = 1});
            const Tensor<double> z = 0.1 * randn<double>({10, 3}, Random(2));
            CHECK(gap(t3a.answer(head, z), z) < 1e-15);
          }},
         {"a class that no row is assigned to has the logit 0, without NaN",
          [] {
            Linear<double> head(2, 2, Random(1));
            head.weight = tensor<double>({{2, 0}, {1, 0}});  // both rows are of class 0
            head.bias = zeros<double>({2});
            T3a<double> t3a(head, {});
            const Tensor<double> logits = t3a.answer(head, tensor<double>({{1, 0}}));
            CHECK(logits.at({0, 0}) == Approx(1).epsilon(1e-15));
            CHECK(logits.at({0, 1}) == 0);
          }}},
}});

// ---- Items without labels -------------------------------------------------------------------------------------------
/// The loss and its gradient in one vector.
template <class T, class F>
Tensor<T> loss_and_gradient(F loss, const Net<T>& model) {
  const auto [value, gradient] = value_and_grad(loss, model);
  return concat<T>({reshape(value, {1}), to_vector(gradient)}, 0);
}
template <class Method, class X>
auto on_small_set(const Method& method, const X& others, Index step = 0) {
  return [=](const Net<double>& m) { return method.train_loss(m, small_set(), others, step, Context()); };
}
Tensor<double> supervised() {
  return loss_and_gradient(
      [](const Net<double>& m) { return cross_entropy(m(small_set().x, Context()), small_set().y); }, small_net());
}
Tensor<double> other_items() { return 2.0 * randn<double>({5, 3}, Random(8)); }
UnlabelledViews<double> small_views() {
  return {other_items(), other_items() + 0.1 * randn<double>({5, 3}, Random(9))};
}
UnlabelledViews<float> large_views(const Random& random) {
  const Tensor<float> x = randn<float>({100, 48}, random.stream("items"));
  return {x, x + 0.1 * randn<float>({100, 48}, random.stream("noise"))};
}
/// Bad uses of a method, called as use(labelled, others).
template <class X, class Use>
std::vector<BadUse> bad_items(const X& others, const X& none, const X& of_two, Use use) {
  return {bad_use<ShapeError>(
              [=] {
                use(LabelledSet<double>{small_set().x, zeros<std::int64_t>({2})}, others);
              },
              "[2]"),
          bad_use<ValueError>(
              [=] {
                use(LabelledSet<double>{zeros<double>({0, 3}), zeros<std::int64_t>({0})}, others);
              },
              "no labelled items"),
          bad_use<ValueError>([=] { use(small_set(), none); }, "no items without labels"),
          bad_use<ShapeError>([=] { use(small_set(), of_two); }, "[5, 2]")};
}

const bool entropy_row = add_method_rows({{
    .name = "entropy_minimisation",
    .header = "graft/generalise/entropy_minimisation.hpp",
    .paper = "Grandvalet, Bengio, Semi-supervised learning by entropy minimization, NIPS 2004",
    .functions = {"EntropyMinimisation", "EntropyMinimisationOptions", "softmax_entropy"},
    .use = "EntropyMinimisation().train_loss(net, labelled, unlabelled, step, context)",
    .run =
        [](const Random& random) {
          return loss_and_gradient(
              [&](const Net<float>& m) {
                return EntropyMinimisation().train_loss(m, large_set(random), large_views(random).weak, 0, Context());
              },
              large_net(random));
        },
    .loss =
        [](const Tensor<double>& x) {
          return on_small_set(EntropyMinimisation{{.weight = 2}}, other_items())(from_vector(x, small_net()));
        },
    .loss_at = to_vector(small_net()),
    .errors = joined(
        {bad_use<ValueError>([] { on_small_set(EntropyMinimisation{{.weight = -1}}, other_items())(small_net()); },
                             "weight is -1"),
         bad_use<ShapeError>([] { softmax_entropy(zeros<double>({3})); }, "[3]")},
        bad_items(other_items(), zeros<double>({0, 3}), zeros<double>({5, 2}),
                  [](const LabelledSet<double>& set, const Tensor<double>& x) {
                    EntropyMinimisation().train_loss(small_net(), set, x, 0, Context());
                  })),
    .properties = {{"weight 0 is the labelled loss, bit for bit",
                    [] {
                      const EntropyMinimisation off{{.weight = 0}};
                      CHECK(same_bits(loss_and_gradient(on_small_set(off, other_items()), small_net()), supervised()));
                    }},
                   {"cross-entropy plus lambda times the mean entropy, in loops",
                    [] {
                      const Tensor<double> p = softmax(small_net()(other_items(), Context()));
                      double entropy = 0;
                      for (Index i = 0; i < 5; ++i)
                        for (Index c = 0; c < 3; ++c) entropy -= p.at({i, c}) * std::log(p.at({i, c})) / 5;
                      CHECK(on_small_set(EntropyMinimisation{{.weight = 0.7}}, other_items())(small_net()).item() ==
                            Approx(loss_on(small_net(), small_set()) + 0.7 * entropy).epsilon(1e-14));
                    }}},
}});

const bool mean_teacher_row = add_method_rows({{
    .name = "mean_teacher",
    .header = "graft/generalise/mean_teacher.hpp",
    .paper = "Tarvainen, Valpola, Mean teachers are better role models, NeurIPS 2017",
    .functions = {"MeanTeacher", "MeanTeacherOptions", "consistency_weight"},
    .use = "MeanTeacher<Net>(net).train_loss(net, labelled, views, step, context)",
    .run =
        [](const Random& random) {
          const Net<float> student = large_net(random.stream("student"));
          MeanTeacher<Net<float>> method(large_net(random), {.ramp = 0});
          const Tensor<float> result = loss_and_gradient(
              [&](const Net<float>& m) {
                return method.train_loss(m, large_set(random), large_views(random), 0, Context());
              },
              student);
          method.update(student);
          return concat<float>({result, to_vector(method.teacher)}, 0);
        },
    .loss =
        [](const Tensor<double>& x) {
          const MeanTeacher<Net<double>> method(small_net(5), {.ramp = 0});
          return on_small_set(method, small_views())(from_vector(x, small_net()));
        },
    .loss_at = to_vector(small_net()),
    .errors = joined({bad_use<ValueError>([] { MeanTeacher<Net<double>>(small_net(), {.weight = -1}); }, "is -1"),
                      bad_use<ValueError>([] { MeanTeacher<Net<double>>(small_net(), {.ramp = -1}); }, "ramp is -1"),
                      bad_use<ValueError>([] { MeanTeacher<Net<double>>(small_net(), {.decay = 1}); }, "decay is 1"),
                      bad_use<ShapeError>(
                          [] { MeanTeacher<Net<double>>(small_net()).update(net<double>(3, 5, 3, Random(1))); },
                          "shapes of body.map.weight differ"),
                      bad_use<ShapeError>(
                          [] {
                            const UnlabelledViews<double> views{other_items(), zeros<double>({4, 3})};
                            on_small_set(MeanTeacher<Net<double>>(small_net()), views)(small_net());
                          },
                          "[4, 3]")},
                     bad_items(small_views(), UnlabelledViews<double>{zeros<double>({0, 3}), zeros<double>({0, 3})},
                               UnlabelledViews<double>{zeros<double>({5, 2}), zeros<double>({5, 2})},
                               [](const LabelledSet<double>& set, const UnlabelledViews<double>& views) {
                                 MeanTeacher<Net<double>>(small_net()).train_loss(small_net(), set, views, 0,
                                                                                  Context());
                               })),
    .properties =
        {{"weight 0 is the labelled loss, bit for bit; so it is of a teacher that agrees, but for rounding",
          [] {
            const MeanTeacher<Net<double>> off(small_net(5), {.weight = 0, .ramp = 0}),
                same(small_net(), {.weight = 5, .ramp = 0});
            CHECK(same_bits(loss_and_gradient(on_small_set(off, small_views()), small_net()), supervised()));
            const UnlabelledViews<double> equal{other_items(), other_items()};
            CHECK(gap(loss_and_gradient(on_small_set(same, equal), small_net()), supervised()) < 1e-14);
          }},
         {"cross-entropy plus w times the mean square of differing probabilities, in loops",
          [] {
            const MeanTeacher<Net<double>> method(small_net(5), {.weight = 3, .ramp = 0});
            const Tensor<double> p = softmax(small_net()(small_views().strong, Context())),
                                 q = softmax(small_net(5)(small_views().weak, Context()));
            double square = 0;
            for (Index i = 0; i < 5; ++i)
              for (Index c = 0; c < 3; ++c) square += std::pow(p.at({i, c}) - q.at({i, c}), 2) / 15;
            CHECK(on_small_set(method, small_views())(small_net()).item() ==
                  Approx(loss_on(small_net(), small_set()) + 3 * square).epsilon(1e-14));
          }},
         {"the teacher is the plain mean of all weights at first, then the moving average",
          [] {
            MeanTeacher<Tensor<double>> method(Tensor<double>(7), {.decay = 0.75});
            const double student[] = {1, 4, -2, 3, 10};
            double expected = 7;
            for (int k = 0; k < 5; ++k) {
              method.update(Tensor<double>(student[k]));
              if (k < 3)
                expected += (student[k] - expected) / (k + 2);  // the mean of k + 2 numbers
              else
                expected = 0.75 * expected + 0.25 * student[k];
              CHECK(method.teacher.item() == Approx(expected).epsilon(1e-14));
            }
            MeanTeacher<Net<double>> same(small_net());
            for (int k = 0; k < 3; ++k) same.update(small_net());
            CHECK(same_bits_of(same.teacher, small_net()));
          }},
         {"the weight rises from e^-5 of itself to itself",
          [] {
            const MeanTeacherOptions options{.weight = 10, .ramp = 100};
            CHECK(consistency_weight(options, 0) == Approx(10 * std::exp(-5)).epsilon(1e-14));
            CHECK(consistency_weight(options, 50) == Approx(10 * std::exp(-1.25)).epsilon(1e-14));
            CHECK(consistency_weight(options, 100) == 10);
            CHECK(consistency_weight({.weight = 10, .ramp = 0}, 0) == 10);
          }}},
}});

const bool fix_match_row = add_method_rows({{
    .name = "fix_match",
    .header = "graft/generalise/fix_match.hpp",
    .paper = "Sohn et al., FixMatch: simplifying semi-supervised learning with consistency and confidence, NeurIPS "
             "2020",
    .functions = {"FixMatch", "FixMatchOptions"},
    .use = "FixMatch().train_loss(net, labelled, views, step, context)",
    .run =
        [](const Random& random) {
          return loss_and_gradient(
              [&](const Net<float>& m) {
                return FixMatch{{.threshold = 0.25}}.train_loss(m, large_set(random), large_views(random), 0,
                                                                Context());
              },
              large_net(random));
        },
    .loss =
        [](const Tensor<double>& x) {
          return on_small_set(FixMatch{{.threshold = 0}}, small_views())(from_vector(x, small_net()));
        },
    .loss_at = to_vector(small_net()),
    .errors = joined({bad_use<ValueError>([] { on_small_set(FixMatch{{.weight = -1}}, small_views())(small_net()); },
                                          "weight is -1"),
                      bad_use<ValueError>([] { on_small_set(FixMatch{{1, NAN}}, small_views())(small_net()); },
                                          "threshold is nan"),
                      bad_use<ShapeError>(
                          [] {
                            const UnlabelledViews<double> views{other_items(), zeros<double>({4, 3})};
                            on_small_set(FixMatch(), views)(small_net());
                          },
                          "[4, 3]")},
                     bad_items(small_views(), UnlabelledViews<double>{zeros<double>({0, 3}), zeros<double>({0, 3})},
                               UnlabelledViews<double>{zeros<double>({5, 2}), zeros<double>({5, 2})},
                               [](const LabelledSet<double>& set, const UnlabelledViews<double>& views) {
                                 FixMatch().train_loss(small_net(), set, views, 0, Context());
                               })),
    .properties =
        {{"weight 0, and a threshold that nothing reaches: the labelled loss",
          [] {
            CHECK(same_bits(loss_and_gradient(on_small_set(FixMatch{{.weight = 0}}, small_views()), small_net()),
                            supervised()));
            CHECK(gap(loss_and_gradient(on_small_set(FixMatch{{.threshold = 1.01}}, small_views()), small_net()),
                      supervised()) < 1e-15);
          }},
         {"the definition in loops: only sure items count, over all of them, and teach nothing to the weak view",
          [] {
            const Net<double> model = small_net();
            const Tensor<double> p = softmax(model(small_views().weak, Context()));
            std::vector<double> highest;
            for (Index i = 0; i < 5; ++i)
              highest.push_back(std::max({p.at({i, 0}), p.at({i, 1}), p.at({i, 2})}));
            std::vector<double> sorted = highest;
            std::sort(sorted.begin(), sorted.end());
            const double threshold = 0.5 * (sorted[1] + sorted[2]);
            const auto by_definition = [&](const Net<double>& m) {
              const Tensor<double> logs = log_softmax(m(small_views().strong, Context()));
              Tensor<double> total = cross_entropy(m(small_set().x, Context()), small_set().y);
              for (Index i = 0; i < 5; ++i) {
                if (highest[static_cast<std::size_t>(i)] < threshold) continue;
                Index label = 0;
                for (Index c = 1; c < 3; ++c)
                  if (p.at({i, c}) > p.at({i, label})) label = c;
                total = total - 2.0 / 5 * sum(slice(slice(logs, 0, i, i + 1), 1, label, label + 1));
              }
              return total;
            };
            const FixMatch method{{.weight = 2, .threshold = threshold}};
            CHECK(gap(loss_and_gradient(on_small_set(method, small_views()), model),
                      loss_and_gradient(by_definition, model)) < 1e-14);
          }}},
}});

}  // namespace
