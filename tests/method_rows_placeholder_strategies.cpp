// Rows of the method table for placeholder/: substitution by source tasks, and the strategies that choose them.

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/multitask/conflict.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/statistics.hpp"
#include "graft/placeholder/adaptive_substitution.hpp"
#include "graft/placeholder/cross_validation_substitution.hpp"
#include "graft/placeholder/decomposition.hpp"
#include "graft/placeholder/progressive_substitution.hpp"
#include "graft/placeholder/random_substitution.hpp"
#include "graft/placeholder/substitution.hpp"
#include "method_table.hpp"
#include "placeholder_items.hpp"

using namespace placeholder_items;

namespace {

/// What a strategy is asked of items first .. first + count - 1.
SourceInput input_of(Index count, Index sources, Index epoch = 0, Index first = 0, const Random& random = Random(7)) {
  SourceInput input{{}, sources, epoch, random};
  for (Index i = 0; i < count; ++i) input.items.push_back(first + i);
  return input;
}
/// Pearson's chi-square of how often each source was chosen against `p`; a source of probability 0 must not be chosen.
double chi_square(const std::vector<Index>& chosen, const Numbers& p) {
  List<double> counts(p.count());
  for (const Index s : chosen) ++counts[s];
  double chi = 0;
  for (Index s = 0; s < p.count(); ++s) {
    const double expected = p.at({s}) * static_cast<double>(chosen.size());
    if (expected == 0) REQUIRE(counts[s] == 0);
    if (expected > 0) chi += std::pow(counts[s] - expected, 2) / expected;
  }
  return chi;
}
/// What holds of every strategy: an item has the same source in whatever batch it stands, another in another epoch for
/// some; the call changes nothing, and the erased strategy says the same.
template <class S>
void check_strategy(const S& strategy, Index sources, Index epoch) {
  const SourcePlan all = strategy(input_of(60, sources, epoch));
  REQUIRE(all.sources.size() == 60);
  for (Index i = 0; i < 60; ++i) {
    REQUIRE((all.sources[i] >= 0 && all.sources[i] < sources));
    CHECK(strategy(input_of(1, sources, epoch, i)).sources[0] == all.sources[i]);
  }
  bool moves = false;
  for (Index e = 0; e < 50; ++e) moves = moves || strategy(input_of(60, sources, e)).sources != all.sources;
  CHECK(moves == (sources > 1));
  SourceStrategy erased(strategy);
  const SourcePlan again = erased(input_of(60, sources, epoch));
  CHECK(again.sources == all.sources);
  CHECK(again.rho == all.rho);
}
/// The errors that all strategies share.
template <class S>
std::vector<BadUse> bad_inputs(S make) {
  return {bad_use<ValueError>([=] { make()(input_of(3, 0)); }, "no source tasks"),
          bad_use<ValueError>([=] { make()(input_of(3, 4, -1)); }, "epoch is -1"),
          bad_use<ValueError>([=] { make()(input_of(3, 4, 0, -2)); }, "an item is -2")};
}
/// Three source tasks' items, and a main task's with their parts substituted as `strategy` says.
template <class S>
Tensor<float> substituted_by(const S& strategy, Index sources, const Random& random) {
  std::vector<Tensor<float>> pools;
  for (Index s = 0; s < sources; ++s) pools.push_back(randn<float>({50 + s, 32}, random.stream("pool", s)));
  const SourcePlan plan = strategy(input_of(200, sources, 1, 0, random));
  const SourceItems<float> drawn = drawn_sources(pools, plan, random.stream("drawn"));
  const Tensor<float> main = randn<float>({200, 32}, random.stream("main"));
  return substitute(main, drawn.x, plan.rho, random.stream("parts")).x;
}

// ---- Substitution
// ----------------------------------------------------------------------------------------------------
Substituted<double> taken_of(const Shape& shape, double rho) {
  return substitute(normal(shape, 1), normal(shape, 2), rho, Random(3));
}

const bool substitution_row = add_method_rows({{
    .name = "substitution",
    .header = "graft/placeholder/substitution.hpp",
    .paper = "Yun, Han, Oh, Chun, Choe, Yoo, CutMix, ICCV 2019, where the main task is its own source; other sources: "
             "the catalogue of methods",
    .functions = {"substitute", "substituted_loss", "drawn_sources", "Substituted", "SubstitutionTarget", "SourcePlan",
                  "SourceItems"},
    .use = "substitute(items, drawn_sources(pools, plan, random).x, plan.rho, random)",
    .run =
        [](const Random& random) {
          const auto draw = [&](const char* name) { return randn<float>({20, 12, 12, 2}, random.stream(name)); };
          return substitute(draw("main"), draw("source"), 0.3, random).x;
        },
    .loss =
        [](const Numbers& x) {
          const Substituted<double> mixed =
              substitute(reshape(slice(x, 0, 0, 12), {3, 4}), reshape(slice(x, 0, 12, 24), {3, 4}), 0.5, Random(1));
          const Numbers l = mean(square(square(mixed.x)), {1});
          return mean(substituted_loss(l, exp(slice(x, 0, 0, 3)), mixed.share));
        },
    .loss_at = normal({24}, 4),
    .errors = {bad_use<ValueError>(
                   [] {
                     taken_of({2, 3}, 1.5);
                   },
                   "rho is 1.5"),
               bad_use<ValueError>(
                   [] {
                     taken_of({2, 3}, kNaN);
                   },
                   "rho is nan"),
               bad_use<ShapeError>([] { taken_of({3}, 0.5); }, "[3]"),
               bad_use<ShapeError>(
                   [] {
                     substitute(zeros({2, 3}), zeros({2, 4}), 0.5, Random(1));
                   },
                   "source [2, 4]"),
               bad_use<ValueError>(
                   [] {
                     taken_of({0, 3}, 0.5);
                   },
                   "no items"),
               bad_use<ShapeError>([] { substituted_loss(zeros({2}), zeros({3}), 0.5); }, "[3]"),
               bad_use<ValueError>([] { substituted_loss(zeros({2}), zeros({2}), -0.5); }, "share is -0.5"),
               bad_use<ValueError>(
                   [] {
                     drawn_sources(std::vector<Tensor<float>>(), {{0}, 0.5}, Random(1));
                   },
                   "0 source tasks"),
               bad_use<ValueError>(
                   [] {
                     drawn_sources<float>({ones({2, 3})}, {{}, 0.5}, Random(1));
                   },
                   "0 items"),
               bad_use<ValueError>(
                   [] {
                     drawn_sources<float>({ones({2, 3}), ones({0, 3})}, {{0}, 0.5}, Random(1));
                   },
                   "source task 1 has no items"),
               bad_use<IndexError>(
                   [] {
                     drawn_sources<float>({ones({2, 3})}, {{1}, 0.5}, Random(1));
                   },
                   "source task 1 of 1"),
               bad_use<ShapeError>(
                   [] {
                     drawn_sources<float>({ones({2, 3}), ones({2, 4})}, {{0}, 0.5}, Random(1));
                   },
                   "[2, 4]")},
    .properties =
        {{"rho 0 is the main item and its loss bit for bit, rho 1 the source (catalogue P4.1)",
          [] {
            for (const Shape& shape : {Shape{5, 6}, Shape{5, 6, 2}, Shape{5, 4, 6, 1}}) {
              CHECK(same_bits(taken_of(shape, 0).x, normal(shape, 1)));
              CHECK(taken_of(shape, 0).share == 0);
              CHECK(count_nonzero(taken_of(shape, 0).taken).item() == 0);
              CHECK(same_bits(taken_of(shape, 1).x, normal(shape, 2)));
              CHECK(taken_of(shape, 1).share == 1);
            }
            const Numbers l = normal({4}, 1);
            CHECK(same_bits(substituted_loss(l, full<double>({4}, kNaN), 0), l));
            CHECK(same_bits(substituted_loss(l, full<double>({4}, kNaN), 0.5, SubstitutionTarget::hide), l));
            CHECK(gap(substituted_loss(l, 2.0 * l, 0.25), 1.25 * l) < 1e-15);
          }},
         {"round(rho n) features or whole tokens of every item, each as often; the rest untouched",
          [] {
            for (const Shape& shape : {Shape{200, 7}, Shape{200, 7, 3}}) {
              const auto [x, taken, share] = taken_of(shape, 0.4);
              CHECK(share == 3.0 / 7);
              CHECK(same_bits(count_nonzero(taken, {1}), full<std::int64_t>({200}, 3)));
              const Tensor<bool> mask = shape.rank() == 3 ? unsqueeze(taken, 2) : taken;
              CHECK(same_bits(x, where(mask, normal(shape, 2), normal(shape, 1))));
              const Labels counts = count_nonzero(taken, {0});
              for (const std::int64_t count : host(counts))  // five deviations
                CHECK(std::abs(static_cast<double>(count) - 600.0 / 7) < 5 * std::sqrt(200 * 3.0 / 7 * 4 / 7));
            }
          }},
         {"one box an image, whole, of the share that is said and about rho, anywhere",
          [] {
            for (const double rho : {0.02, 0.1, 0.25, 0.5, 0.77, 0.99}) {
              const auto [x, taken, share] = taken_of({60, 9, 14, 2}, rho);
              CHECK(std::abs(share - rho) <= 0.5 / 9);
              CHECK(same_bits(x, where(unsqueeze(taken, 3), normal({60, 9, 14, 2}, 2), normal({60, 9, 14, 2}, 1))));
              std::set<std::pair<Index, Index>> corners;
              for (Index i = 0; i < 60; ++i) {
                Index top = 9, left = 14, bottom = -1, right = -1, count = 0;
                for (Index r = 0; r < 9; ++r)
                  for (Index c = 0; c < 14; ++c)
                    if (taken.at({i, r, c})) {
                      top = std::min(top, r);
                      left = std::min(left, c);
                      bottom = std::max(bottom, r);
                      right = std::max(right, c);
                      ++count;
                    }
                CHECK(count == (bottom - top + 1) * (right - left + 1));
                CHECK(static_cast<double>(count) == Approx(share * 9 * 14).epsilon(1e-14));
                corners.emplace(top, left);
              }
              if (rho <= 0.5) CHECK(corners.size() > 5);
            }
            CHECK(taken_of({1, 10, 10, 1}, 0.25).share == 0.25);
          }},
         {"with the main task as its own source: CutMix, the cross-entropy to (1 - share) y + share y_s",
          [] {
            const Numbers images = rand<double>({6, 8, 8, 1}, Random(1));
            const Labels y = generate({6}, [](Index i) { return i % 3; });
            const Labels partner = tensor<std::int64_t>({3, 2, 5, 0, 1, 4});
            const auto [x, taken, share] = substitute(images, gather(images, partner), 0.4, Random(2));
            const Numbers logits = matmul(reshape(x, {6, 64}), normal({64, 3}, 3));
            const Labels ys = gather(y, partner);
            const Numbers target = (1 - share) * one_hot<double>(y, 3) + share * one_hot<double>(ys, 3);
            CHECK(substituted_loss(cross_entropy(logits, y), cross_entropy(logits, ys), share).item() ==
                  Approx(cross_entropy(logits, target).item()).epsilon(1e-14));
          }},
         {"an item's part depends on its own stream; gradients go to where each number came from",
          [] {
            const Numbers a = normal({4, 6}, 1), b = normal({4, 6}, 2);
            const auto [x, taken, share] = substitute(a, b, 0.5, Random(5));
            CHECK(same_bits(substitute(slice(a, 0, 0, 2), slice(b, 0, 0, 2), 0.5, Random(5)).x, slice(x, 0, 0, 2)));
            const Tensor<bool> mask = taken;
            const Numbers to_main = grad([&](const Numbers&m) { return sum(substitute(m, b, 0.5, Random(5)).x); }, a),
                          to_source = grad([&](const Numbers&s) { return sum(substitute(a, s, 0.5, Random(5)).x); }, b);
            CHECK(same_bits(to_main, where(mask, 0.0, ones<double>({4, 6}))));
            CHECK(same_bits(to_source, where(mask, 1.0, zeros<double>({4, 6}))));
          }},
         {"drawn items are of the source that the plan says, uniformly",
          [] {
            const std::vector<Numbers> pools{arange<double>(3), 100.0 + arange<double>(4)};
            SourcePlan plan{{}, 0.5};
            for (Index i = 0; i < 8000; ++i) plan.sources.push_back(i % 2);
            const SourceItems<double> drawn = drawn_sources(pools, plan, Random(1));
            std::vector<Index> of_first, of_second;
            for (std::size_t i = 0; i < 8000; ++i) {
              REQUIRE(host(drawn.x)[i] == static_cast<double>(i % 2 * 100) + static_cast<double>(drawn.places[i]));
              (i % 2 ? of_second : of_first).push_back(drawn.places[i]);
            }
            CHECK(chi_square(of_first, full<double>({3}, 1.0 / 3)) < 25);
            CHECK(chi_square(of_second, full<double>({4}, 0.25)) < 25);
          }}},
}});

// ---- Random
// ----------------------------------------------------------------------------------------------------------
const bool random_row = add_method_rows({{
    .name = "random substitution",
    .header = "graft/placeholder/random_substitution.hpp",
    .paper = "The catalogue of methods, P4.1",
    .functions = {"RandomSubstitution"},
    .use = "RandomSubstitution({.rho = 0.25})(input)",
    .run = [](const Random& random) { return substituted_by(RandomSubstitution{}, 3, random); },
    .errors = joined({bad_use<ValueError>([] { RandomSubstitution{{.rho = 2}}(input_of(3, 4)); }, "rho is 2"),
                      bad_use<ValueError>([] { RandomSubstitution{{.rho = kNaN}}(input_of(3, 4)); }, "rho is nan")},
                     bad_inputs([] { return RandomSubstitution{}; })),
    .properties = {{"all sources as often, in every epoch; rho as given",
                    [] {
                      for (Index epoch = 0; epoch < 3; ++epoch) {
                        const SourcePlan plan = RandomSubstitution{{.rho = 0.3}}(input_of(6000, 5, epoch));
                        CHECK(chi_square(plan.sources, full<double>({5}, 0.2)) < 30);
                        CHECK(plan.rho == 0.3);
                      }
                      check_strategy(RandomSubstitution{}, 5, 3);
                    }},
                   {"one source fills all; another seed draws others",
                    [] {
                      CHECK(RandomSubstitution{}(input_of(9, 1)).sources == std::vector<Index>(9, 0));
                      CHECK(RandomSubstitution{}(input_of(50, 4)).sources !=
                            RandomSubstitution{}(input_of(50, 4, 0, 0, Random(8))).sources);
                    }}},
}});

// ---- Cross-validation
// ------------------------------------------------------------------------------------------------
CrossValidationSubstitution dealt(Index items = 60, const CrossValidationOptions& o = {}) {
  return CrossValidationSubstitution(items, Random(2), o);
}

const bool cross_validation_row = add_method_rows({{
    .name = "cross-validation substitution",
    .header = "graft/placeholder/cross_validation_substitution.hpp",
    .paper = "The catalogue of methods, P4.2",
    .functions = {"CrossValidationSubstitution", "held_out_gains", "HeldOutGains"},
    .use = "CrossValidationSubstitution(items, random, {.folds = 5})(input)",
    .run = [](const Random& random) { return substituted_by(CrossValidationSubstitution(200, random), 3, random); },
    .errors =
        joined({bad_use<ValueError>([] { dealt(60, {.folds = 1}); }, "folds is 1"),
                bad_use<ValueError>([] { dealt(3); }, "items is 3"),
                bad_use<ValueError>([] { dealt(60, {.rho = -1}); }, "rho is -1"),
                bad_use<IndexError>([] { dealt()(input_of(61, 4)); }, "item 60 of 60"),
                bad_use<IndexError>([] { dealt().held_out(5); }, "fold 5 of 5"),
                bad_use<IndexError>(
                    [] {
                      auto strategy = dealt();
                      strategy.folds.value = full<std::int64_t>({60}, -1);
                      strategy(input_of(60, 4));
                    },
                    "fold -1 of 5"),
                bad_use<ValueError>([] { held_out_gains([](std::optional<Index>, Index) { return 1.0; }, 0, 5); },
                                    "sources is 0"),
                bad_use<ValueError>([] { held_out_gains([](std::optional<Index>, Index) { return 1.0; }, 2, 1); },
                                    "folds is 1"),
                bad_use<ValueError>([] { held_out_gains([](std::optional<Index>, Index) { return kInfinity; }, 2, 3); },
                                    "fold 0 is inf")},
               bad_inputs([] { return dealt(); })),
    .properties = {{"a Latin square: over R epochs each pair of fold and source occurs once, in every window",
                    [] {
                      for (const Index sources : {1, 3, 4, 7}) {
                        const CrossValidationSubstitution strategy = dealt(62, {.folds = 4, .rho = 0.3});
                        for (const Index first : {0, 1, 11}) {
                          std::set<std::pair<std::int64_t, Index>> pairs;
                          for (Index epoch = first; epoch < first + sources; ++epoch) {
                            const SourcePlan plan = strategy(input_of(62, sources, epoch));
                            CHECK(plan.rho == 0.3);
                            std::set<std::pair<std::int64_t, Index>> of_epoch;
                            for (Index i = 0; i < 62; ++i)
                              of_epoch.emplace(strategy.folds.value.at({i}), plan.sources[i]);
                            CHECK(of_epoch.size() == 4);  // all items of a fold have one source
                            for (const auto& pair : of_epoch) CHECK(pairs.insert(pair).second);
                          }
                          CHECK(static_cast<Index>(pairs.size()) == 4 * sources);
                        }
                      }
                      check_strategy(dealt(), 3, 2);
                    }},
                   {"folds are a partition, as even as can be",
                    [] {
                      const CrossValidationSubstitution strategy = dealt(62, {.folds = 4});
                      std::set<Index> all;
                      for (Index k = 0; k < 4; ++k) {
                        const std::vector<Index> fold = strategy.held_out(k);
                        CHECK((fold.size() == 15 || fold.size() == 16));
                        all.insert(fold.begin(), fold.end());
                      }
                      CHECK(all.size() == 62);
                    }},
                   {"gains on held-out folds: means and standard errors by hand",
                    [] {
                      int calls = 0;
                      const auto loss = [&](std::optional<Index> source, Index fold) {
                        ++calls;
                        const double base = 1 + 0.5 * static_cast<double>(fold);
                        return source ? base - static_cast<double>(*source) * (1 + static_cast<double>(fold)) : base;
                      };
                      const HeldOutGains found = held_out_gains(loss, 2, 3);
                      CHECK(calls == 9);
                      CHECK(gap(found.gains, tensor<double>({{0, 0, 0}, {1, 2, 3}})) < 1e-15);
                      CHECK(gap(found.mean, tensor<double>({0, 2})) < 1e-15);
                      CHECK(gap(found.standard_error, tensor<double>({0, 1 / std::sqrt(3.0)})) < 1e-15);
                    }}},
}});

// ---- Progressive
// -----------------------------------------------------------------------------------------------------
ProgressiveSubstitution progressive(const ProgressiveSubstitutionOptions& o = {}) {
  return ProgressiveSubstitution(tensor<double>({3, 1, 2, 1}), o);
}

const bool progressive_row = add_method_rows({{
    .name = "progressive substitution",
    .header = "graft/placeholder/progressive_substitution.hpp",
    .paper =
        "The catalogue of methods, P4.3; its pace: Platanios et al., Competence-based curriculum learning for neural "
        "machine translation, NAACL 2019",
    .functions = {"ProgressiveSubstitution", "competence"},
    .use = "ProgressiveSubstitution(difficulties, {.epochs = 20})(input)",
    .run = [](const Random& random) { return substituted_by(progressive({.rho = 0.9, .epochs = 2}), 4, random); },
    .errors = joined({bad_use<ShapeError>(
                          [] {
                            ProgressiveSubstitution(zeros<double>({2, 2}));
                          },
                          "[2, 2]"),
                      bad_use<ValueError>(
                          [] {
                            ProgressiveSubstitution(tensor<double>({1, kNaN}));
                          },
                          "difficulty is nan"),
                      bad_use<ValueError>([] { progressive({.rho = 1.5}); }, "rho is 1.5"),
                      bad_use<ValueError>([] { progressive({.start = 0}); }, "start is 0"),
                      bad_use<ValueError>([] { progressive({.epochs = 0}); }, "epochs is 0"),
                      bad_use<ShapeError>([] { progressive()(input_of(3, 5)); }, "made for 4 sources"),
                      bad_use<ValueError>([] { progressive().admitted(-1); }, "epoch is -1")},
                     bad_inputs([] { return progressive(); })),
    .properties =
        {{"admitted sets are nested, by difficulty and then by number, of ceil(c R) sources; rho rises",
          [] {
            const ProgressiveSubstitution strategy = progressive({.rho = 0.4, .start = 0.1, .epochs = 9});
            const std::vector<std::vector<Index>> order = {{1}, {1, 3}, {1, 2, 3}, {0, 1, 2, 3}};
            double last = 0;
            for (Index epoch = 0; epoch < 12; ++epoch) {
              const double c = std::min(1.0, std::sqrt(static_cast<double>(epoch) * (1 - 0.01) / 9 + 0.01));
              const auto count = static_cast<std::size_t>(std::ceil(4 * c - 1e-9));
              CHECK(strategy.admitted(epoch) == order[count - 1]);
              const SourcePlan plan = strategy(input_of(400, 4, epoch));
              CHECK(plan.rho == Approx(0.4 * c).epsilon(1e-14));
              CHECK(plan.rho >= last);
              last = plan.rho;
              const std::set<Index> used(plan.sources.begin(), plan.sources.end());
              CHECK(used == std::set<Index>(order[count - 1].begin(), order[count - 1].end()));
            }
            check_strategy(strategy, 4, 6);
          }},
         {"a share of k hundredths of a hundred sources admits k, whatever its rounding; of many equals the first",
          [] {
            for (Index k = 1; k <= 100; ++k) {
              const ProgressiveSubstitution strategy(zeros<double>({100}), {.start = static_cast<double>(k) / 100});
              CHECK(strategy.admitted(0) == detail::all_sources(k));
            }
          }},
         {"from epoch E on it is random substitution, draw by draw",
          [] {
            for (const Index epoch : {9, 10, 500}) {
              const SourcePlan ours = progressive({.rho = 0.4, .epochs = 9})(input_of(300, 4, epoch)),
                               plain = RandomSubstitution{{.rho = 0.4}}(input_of(300, 4, epoch));
              CHECK(ours.sources == plain.sources);
              CHECK(ours.rho == plain.rho);
            }
          }}},
}});

// ---- Adaptive
// --------------------------------------------------------------------------------------------------------
/// The Gramian of gradients [tasks, n], the main task's first.
Numbers gramian_of(const Numbers& gradients) { return matmul(gradients, gradients, {.transpose_b = true}); }
/// Scores as given.
AffinitySubstitution with_scores(const Numbers& scores, const AffinitySubstitutionOptions& o) {
  AffinitySubstitution strategy(scores.count(), o);
  strategy.scores.value = scores;
  return strategy;
}
/// Squared distances of a point to those of the sources, [sources], and to one of the validation items.
auto distances_to(const Numbers& centres) {
  return [centres](const Numbers& theta) { return 0.5 * sum(square(theta - centres), {1}); };
}
auto distance_to(const Numbers& centre) {
  return [centre](const Numbers& theta) { return 0.5 * sum(square(theta - centre)); };
}
/// Logistic losses of two sources, and of validation items.
Numbers losses_of_two(const Numbers& w) {
  const Numbers z = matmul(normal({2, 3}, 5), reshape(w, {3, 1}));
  return reshape(softplus(z) + 0.1 * square(z), {2});
}
Numbers validation_of(const Numbers& w) { return sum(softplus(matmul(normal({4, 3}, 6), reshape(w, {3, 1})))); }

const bool adaptive_row = add_method_rows({{
    .name = "adaptive substitution",
    .header = "graft/placeholder/adaptive_substitution.hpp",
    .paper =
        "The catalogue of methods, P4.4; Auer, Cesa-Bianchi, Freund, Schapire, The nonstochastic multiarmed bandit "
        "problem, 2002; Ren, Zeng, Yang, Urtasun, Learning to reweight examples, ICML 2018",
    .functions = {"AffinitySubstitution", "Exp3Substitution", "BilevelSubstitution", "bilevel_value",
                  "exp3_probabilities"},
    .use = "AffinitySubstitution(sources, {.tau = 0.1})(input)",
    .run =
        [](const Random& random) {
          AffinitySubstitution affinity(3);
          affinity.observe(gramian_of(randn<double>({4, 6}, random)));
          BilevelSubstitution bilevel(2);
          bilevel.observe(losses_of_two, validation_of, randn<double>({3}, random.stream("theta")));
          Exp3Substitution bandit(3);
          bandit.observe(1, 2, 1);
          return substituted_by(affinity, 3, random) + substituted_by(bilevel, 2, random.stream("bilevel")) +
                 substituted_by(bandit, 3, random.stream("bandit"));
        },
    .loss =
        [](const Numbers& x) { return bilevel_value(losses_of_two, validation_of, normal({3}, 1), softmax(x), 0.7); },
    .loss_at = normal({2}, 3),
    .errors =
        joined({bad_use<ValueError>([] { AffinitySubstitution(0); }, "sources is 0"),
                bad_use<ValueError>([] { AffinitySubstitution(2, {.rho = 2}); }, "rho is 2"),
                bad_use<ValueError>([] { AffinitySubstitution(2, {.decay = 1}); }, "decay is 1"),
                bad_use<ValueError>([] { AffinitySubstitution(2, {.tau = 0}); }, "tau is 0"),
                bad_use<ValueError>([] { AffinitySubstitution(2, {.floor = kNaN}); }, "floor is nan"),
                bad_use<ShapeError>([] { AffinitySubstitution(2).observe(eye<double>(2)); }, "2 sources"),
                bad_use<ValueError>(
                    [] {
                      AffinitySubstitution(1).observe(full<double>({2, 2}, kNaN));
                    },
                    "is nan"),
                bad_use<ShapeError>([] { AffinitySubstitution(2)(input_of(3, 4)); }, "made for 2 sources"),
                bad_use<ValueError>([] { Exp3Substitution(0); }, "sources is 0"),
                bad_use<ValueError>([] { Exp3Substitution(2, {.gamma = 0}); }, "gamma is 0"),
                bad_use<ValueError>([] { Exp3Substitution(2, {.rho = -1}); }, "rho is -1"),
                bad_use<IndexError>([] { Exp3Substitution(2).observe(2, 1, 0.5); }, "source 2 of 2"),
                bad_use<ShapeError>([] { Exp3Substitution(2)(input_of(3, 4)); }, "made for 2 sources"),
                bad_use<ValueError>([] { BilevelSubstitution(2, {.alpha = 0}); }, "alpha is 0"),
                bad_use<ValueError>([] { BilevelSubstitution(2, {.rate = kInfinity}); }, "rate is inf"),
                bad_use<ShapeError>(
                    [] { BilevelSubstitution(3).observe(losses_of_two, validation_of, normal({3}, 1)); }, "losses [2]"),
                bad_use<ValueError>(
                    [] {
                      BilevelSubstitution(2).observe(
                          losses_of_two, [](const Numbers& w) { return exp(1e6 * sum(square(w))); }, normal({3}, 1));
                    },
                    "not finite"),
                bad_use<ShapeError>([] { BilevelSubstitution(2)(input_of(3, 4)); }, "made for 2 sources"),
                bad_use<ValueError>(
                    [] { bilevel_value(losses_of_two, validation_of, normal({3}, 1), ones<double>({2}), kNaN); },
                    "alpha is nan")},
               bad_inputs([] { return AffinitySubstitution(4); })),
    .properties =
        {{"q = (1 - e) softmax(a / tau) + e / R >= e / R; items are drawn by it",
          [] {
            const Numbers a = tensor<double>({0.5, -0.2, 0.1, 0.1});
            const AffinitySubstitution strategy = with_scores(a, {.rho = 0.3, .tau = 0.5, .floor = 0.2});
            double total = 0;
            for (Index s = 0; s < 4; ++s) total += std::exp(a.at({s}) / 0.5);
            for (Index s = 0; s < 4; ++s)
              CHECK(strategy.probabilities().at({s}) ==
                    Approx(0.8 * std::exp(a.at({s}) / 0.5) / total + 0.05).epsilon(1e-13));
            const SourcePlan plan = strategy(input_of(8000, 4, 2));
            CHECK(chi_square(plan.sources, strategy.probabilities()) < 30);
            CHECK(plan.rho == 0.3);
            check_strategy(strategy, 4, 3);
          }},
         {"a large tau is random, a small one the largest score, equals sharing; floor 1 is random, 0 without a floor",
          [] {
            const Numbers a = tensor<double>({0.5, -0.2, 0.5});
            const auto q = [&](double tau, double floor) {
              return with_scores(a, {.tau = tau, .floor = floor}).probabilities();
            };
            const Numbers even = full<double>({3}, 1.0 / 3);
            CHECK(gap(q(1e12, 0.1), even) < 1e-12);
            CHECK(gap(q(0.3, 1), even) < 1e-15);
            for (const double tau : {1e-3, 1e-300}) {
              CHECK(gap(q(tau, 0), tensor<double>({0.5, 0, 0.5})) < 1e-15);
              CHECK(gap(q(tau, 0.3), 0.7 * tensor<double>({0.5, 0, 0.5}) + 0.1) < 1e-15);
            }
            CHECK(detail::source_at(std::vector<double>{0.3, 0.3, 0.3, 0}, 0.95) == 2);
            // A source of probability 0 is never drawn, not even where the sum of the others rounds below 1.
            const SourcePlan plan =
                with_scores(tensor<double>({0.1, 0.1, 0.1, -1}), {.tau = 1e-9, .floor = 0})(input_of(4000, 4));
            CHECK(chi_square(plan.sources, tensor<double>({1, 1, 1, 0}) / 3.0) < 25);
          }},
         {"a duplicate of the main task and its negation get the largest and the smallest q within 50 noisy steps",
          [] {
            for (std::uint64_t seed = 0; seed < 20; ++seed) {
              AffinitySubstitution strategy(4);
              for (Index step = 0; step < 50; ++step) {
                const Random random = Random(seed).stream("step", step);
                const Numbers signal = randn<double>({1, 8}, Random(99));
                const auto noise = [&](const char* name) { return 0.5 * randn<double>({1, 8}, random.stream(name)); };
                const Numbers main = signal + noise("main");
                strategy.observe(gramian_of(concat<double>({main, 3.0 * randn<double>({1, 8}, random.stream("other")),
                                                            main, -2.0 * main, noise("one more")})));
              }
              const Numbers q = strategy.probabilities();
              CHECK(argmax(q).item() == 1);
              CHECK(argmin(q).item() == 2);
              CHECK(min(q).item() >= 0.1 / 4);
              CHECK(sum(q).item() == Approx(1).epsilon(1e-14));
              CHECK(strategy.scores.value.at({1}) == Approx(1 - std::pow(0.9, 50)).epsilon(1e-13));
            }
          }},
         {"cosines do not see lengths, and a gradient of 0 scores 0",
          [] {
            const Numbers g = concat<double>({normal({3, 5}, 1), zeros<double>({1, 5})});
            AffinitySubstitution one(3), other(3);
            one.observe(gramian_of(g));
            other.observe(gramian_of(g * tensor<double>({{1e3}, {1e-4}, {7}, {1}})));
            CHECK(gap(one.scores.value, other.scores.value) < 1e-15);
            CHECK(one.scores.value.at({2}) == 0);
          }},
         {"the bandit: one source an epoch, paid w e^(gamma reward / (p R)), the relative drop cut to [0, 1]",
          [] {
            Exp3Substitution bandit(4, {.gamma = 0.2});
            CHECK(gap(bandit.probabilities(), full<double>({4}, 0.25)) < 1e-15);
            bandit.observe(2, 2, 1.5);  // reward 1/4, p 1/4
            const double w = std::exp(0.2 * 0.25 / (0.25 * 4));
            const double p = 0.8 * w / (w + 3) + 0.05;
            CHECK(bandit.probabilities().at({2}) == Approx(p).epsilon(1e-13));
            bandit.observe(2, 1, -7);  // reward 1
            const double w2 = w * std::exp(0.2 / (p * 4));
            CHECK(bandit.probabilities().at({2}) == Approx(0.8 * w2 / (w2 + 3) + 0.05).epsilon(1e-13));
            const Numbers before = bandit.log_weights.value;
            bandit.observe(1, 1, 2);
            bandit.observe(1, 1, kNaN);
            bandit.observe(1, kInfinity, 1);
            CHECK(same_bits(bandit.log_weights.value, before));
            std::vector<Index> drawn;
            for (Index epoch = 0; epoch < 3000; ++epoch) {
              const SourcePlan plan = bandit(input_of(3, 4, epoch));
              CHECK((plan.sources[0] == plan.sources[1] && plan.sources[0] == plan.sources[2]));
              drawn.push_back(plan.sources[0]);
            }
            CHECK(chi_square(drawn, bandit.probabilities()) < 30);
            check_strategy(bandit, 4, 3);
          }},
         {"the bandit finds the source that pays",
          [] {
            Exp3Substitution bandit(4, {.gamma = 0.1});
            for (Index epoch = 0; epoch < 400; ++epoch) {
              const Index source = bandit(input_of(1, 4, epoch)).sources[0];
              bandit.observe(source, 1, source == 3 ? 0.2 : 0.9);
            }
            CHECK(argmax(bandit.probabilities()).item() == 3);
            CHECK(bandit.probabilities().at({3}) > 0.7);
            for (Index epoch = 0; epoch < 20000; ++epoch) bandit.observe(3, 1, 0);
            CHECK(bandit.probabilities().at({3}) == Approx(0.9 + 0.025).epsilon(1e-9));
          }},
         {"bilevel: -alpha <grad L_val(theta'), grad L_s(theta)>, and its own derivative, on squared distances",
          [] {
            const Numbers theta = normal({1, 3}, 1), centres = normal({4, 3}, 2), goal = normal({1, 3}, 3);
            const Numbers q = softmax(normal({4}, 4));
            const double alpha = 0.3;
            const auto value = [&](const Numbers& at) {
              return bilevel_value(distances_to(centres), distance_to(goal), theta, at, alpha);
            };
            const Numbers pull = theta - centres;  // grad L_s, [4, 3]
            const Numbers moved = theta - alpha * matmul(reshape(q, {1, 4}), pull);
            const Numbers expected = -alpha * reshape(matmul(pull, moved - goal, {.transpose_b = true}), {4});
            CHECK(value(q).item() == Approx(0.5 * sum(square(moved - goal)).item()).epsilon(1e-14));
            CHECK(gap(grad(value, q), expected) < 1e-14);
            const Numbers v = normal({4}, 5);
            CHECK(gap(hvp(value, q, v).second,
                      alpha * alpha * reshape(matmul(gramian_of(pull), reshape(v, {4, 1})), {4})) < 1e-14);
          }},
         {"bilevel: the source whose goal is that of the validation wins",
          [] {
            // Of goals that are as far from theta, the validation's own draws theta' nearest to itself.
            const Numbers centres = unit_rows(normal({4, 3}, 2)), goal = slice(centres, 0, 2, 3);
            BilevelSubstitution strategy(4, {.floor = 0.2});
            Numbers theta = zeros<double>({1, 3});
            for (int step = 0; step < 200; ++step) strategy.observe(distances_to(centres), distance_to(goal), theta);
            CHECK(argmax(strategy.probabilities()).item() == 2);
            CHECK(min(strategy.probabilities()).item() >= 0.05);
            check_strategy(strategy, 4, 3);
          }}},
}});

// ---- Decomposition
// ---------------------------------------------------------------------------------------------------
const Labels kThree = generate({6}, [](Index i) { return i % 3; });
/// The Gramian of the gradients of several losses [tasks] of one trunk.
template <class F>
Numbers gramian_of_losses(F losses, const Numbers& trunk) {
  return gramian_of(jacobian(losses, trunk));
}

const bool decomposition_row = add_method_rows({{
    .name = "decomposition",
    .header = "graft/placeholder/decomposition.hpp",
    .paper = "The catalogue of methods, P4.5; Rifkin, Klautau, In defense of one-vs-all classification, JMLR 2004; "
             "Girshick, Fast R-CNN, ICCV 2015",
    .functions = {"one_vs_rest_losses", "digit_losses", "box_class_losses"},
    .use = "one_vs_rest_losses(net(x), labels)",
    .run =
        [](const Random& random) {
          const auto labels = generate({150}, [](Index i) { return i % 10; });
          const Tensor<float> targets = randn<float>({150, 4}, random.stream("targets"));
          return grad(
              [&](const Tensor<float>& z) {
                return sum(one_vs_rest_losses(slice(z, 1, 0, 10), labels)) +
                       sum(digit_losses(reshape(slice(z, 1, 0, 20), {150, 2, 10}), labels)) +
                       sum(box_class_losses(slice(z, 1, 0, 10), labels, slice(z, 1, 20, 24), targets));
              },
              randn<float>({150, 24}, random));
        },
    .loss =
        [](const Numbers& x) {
          const Numbers z = reshape(x, {6, 7});
          return sum(square(one_vs_rest_losses(slice(z, 1, 0, 3), kThree))) +
                 sum(square(digit_losses(reshape(slice(z, 1, 0, 6), {6, 2, 3}), kThree))) +
                 sum(square(box_class_losses(slice(z, 1, 0, 3), kThree, slice(z, 1, 3, 7), zeros<double>({6, 4}),
                                             {.weight = 2})));
        },
    .loss_at = 0.3 * normal({42}, 3),
    .errors = {bad_use<ShapeError>(
                   [] {
                     one_vs_rest_losses(zeros({5, 3}), kThree);
                   },
                   "[5, 3]"),
               bad_use<ValueError>(
                   [] {
                     one_vs_rest_losses(zeros({0, 3}), zeros<std::int64_t>({0}));
                   },
                   "no items"),
               bad_use<IndexError>(
                   [] {
                     one_vs_rest_losses(zeros({6, 2}), kThree);
                   },
                   "label 2 of 2"),
               bad_use<ShapeError>(
                   [] {
                     digit_losses(zeros({6, 3}), kThree);
                   },
                   "[6, 3]"),
               bad_use<ValueError>(
                   [] {
                     digit_losses(zeros({0, 2, 3}), zeros<std::int64_t>({0}));
                   },
                   "no items"),
               bad_use<IndexError>(
                   [] {
                     digit_losses(zeros({2, 2, 3}), tensor<std::int64_t>({8, 9}));
                   },
                   "number 9 of 9"),
               bad_use<IndexError>(
                   [] {
                     digit_losses(zeros({1, 2, 3}), tensor<std::int64_t>({-1}));
                   },
                   "number -1"),
               bad_use<ValueError>(
                   [] {
                     digit_losses(zeros({1, 64, 2}), zeros<std::int64_t>({1}));
                   },
                   "64 digits"),
               bad_use<ShapeError>(
                   [] {
                     box_class_losses(zeros({6, 3}), kThree, zeros({6, 3}), zeros({6, 3}));
                   },
                   "boxes [6, 3]"),
               bad_use<ValueError>(
                   [] {
                     box_class_losses(zeros({0, 3}), zeros<std::int64_t>({0}), zeros({0, 4}), zeros({0, 4}));
                   },
                   "no items"),
               bad_use<ValueError>(
                   [] {
                     box_class_losses(zeros({6, 3}), kThree, zeros({6, 4}), zeros({6, 4}), {.weight = -1});
                   },
                   "weight is -1"),
               bad_use<IndexError>(
                   [] {
                     box_class_losses(zeros({6, 2}), kThree, zeros({6, 4}), zeros({6, 4}));
                   },
                   "label 2 of 2")},
    .properties =
        {{"one against the rest: by plain loops, and the sum is that over all logits",
          [] {
            const Numbers z = normal({6, 3}, 1), losses = one_vs_rest_losses(z, kThree);
            for (Index c = 0; c < 3; ++c) {
              double expected = 0;
              for (Index i = 0; i < 6; ++i) {
                const double side = kThree.at({i}) == c ? 1 : -1;
                expected += std::log1p(std::exp(-side * z.at({i, c}))) / 6;
              }
              CHECK(losses.at({c}) == Approx(expected).epsilon(1e-14));
            }
            CHECK(sum(losses).item() ==
                  Approx(3 * binary_cross_entropy_with_logits(z, one_hot<double>(kThree, 3)).item()).epsilon(1e-14));
          }},
         {"digits: the sum is the cross-entropy over all numbers",
          [] {
            const Numbers z = normal({4, 3, 2}, 1);
            const Labels numbers = tensor<std::int64_t>({0, 5, 7, 2});
            // The logits of all eight numbers, the first digit the most significant.
            const Numbers joint = generate({4, 8}, [&](Index i, Index n) {
              return z.at({i, 0, n / 4}) + z.at({i, 1, n / 2 % 2}) + z.at({i, 2, n % 2});
            });
            const Numbers losses = digit_losses(z, numbers);
            CHECK(losses.shape() == Shape{3});
            CHECK(sum(losses).item() == Approx(cross_entropy(joint, numbers).item()).epsilon(1e-14));
            CHECK(losses.at({0}) ==
                  Approx(cross_entropy(reshape(slice(z, 1, 0, 1), {4, 2}), tensor<std::int64_t>({0, 1, 1, 0})).item())
                      .epsilon(1e-14));
          }},
         {"box and class: by plain loops; the background has no box, whatever stands there",
          [] {
            const Numbers z = normal({6, 3}, 1), t = normal({6, 4}, 2);
            Numbers b = t + 1.5 * normal({6, 4}, 3);
            double expected = 0;
            for (Index i = 0; i < 6; ++i)
              for (Index k = 0; k < 4; ++k) {
                const double d = std::abs(b.at({i, k}) - t.at({i, k}));
                if (kThree.at({i}) > 0) expected += (d < 1 ? d * d / 2 : d - 0.5) / 6;
              }
            const Numbers losses = box_class_losses(z, kThree, b, t, {.weight = 3});
            CHECK(losses.at({0}) == Approx(cross_entropy(z, kThree).item()).epsilon(1e-14));
            CHECK(losses.at({1}) == Approx(3 * expected).epsilon(1e-13));
            CHECK(same_bits(slice(box_class_losses(z, kThree, b, t, {.weight = 0}), 0, 0, 1), slice(losses, 0, 0, 1)));
            const Numbers wild = where(unsqueeze(kThree > 0, 1), b, kNaN);
            const auto loss = [&](const Numbers& at) { return sum(box_class_losses(z, kThree, at, t, {.weight = 3})); };
            const auto [value, slope] = value_and_grad(loss, wild);
            CHECK(value.item() == Approx(sum(losses).item()).epsilon(1e-14));
            CHECK(std::isfinite(sum(slope).item()));
          }},
         {"the sub-tasks' gradients add up to the task's; only they can conflict (meter M9)",
          [] {
            const Numbers x = normal({6, 5}, 1), heads = normal({2, 3}, 2);
            const auto losses = [&](const Numbers& trunk) {
              return one_vs_rest_losses(matmul(matmul(x, trunk), heads), kThree);
            };
            const auto whole = [&](const Numbers& trunk) { return reshape(sum(losses(trunk)), {1}); };
            const Numbers trunk = normal({5, 2}, 3);
            const Numbers parts = reshape(jacobian(losses, trunk), {3, 10}),
                          all = reshape(jacobian(whole, trunk), {1, 10});
            CHECK(gap(sum(parts, {0}, true), all) < 1e-14);
            const ConflictFigures before = conflict_figures(gramian_of(all)),
                                  after = conflict_figures(gramian_of(parts));
            CHECK(before.conflicts == 0);
            CHECK(before.mean_cosine == 1);
            CHECK(after.conflicts > 0);
            CHECK(after.mean_cosine < 1);
          }}},
}});

}  // namespace
