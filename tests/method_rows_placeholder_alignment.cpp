// Rows of the method table for placeholder/: alignment of tasks, and the objective of several terms.

#include <algorithm>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/placeholder/adversarial_alignment.hpp"
#include "graft/placeholder/alignment.hpp"
#include "graft/placeholder/objective.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
using Features = std::vector<Numbers>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// `tasks` times features [items, width] of different means.
template <class T = double>
std::vector<Tensor<T>> task_features(Index tasks, Index items, Index width, const Random& random) {
  std::vector<Tensor<T>> all;
  for (Index t = 0; t < tasks; ++t) all.push_back(randn<T>({items, width}, random.stream("task", t)) * T(1 + t) + T(t));
  return all;
}
/// The parts of a vector, each [items, width].
Features parts_of(const Numbers& x, Index items, Index width) {
  Features all;
  for (Index at = 0; at < x.count(); at += items * width)
    all.push_back(reshape(slice(x, 0, at, at + items * width), {items, width}));
  return all;
}
/// An orthogonal matrix: (I - A)(I + A)^-1 of an A with A^T = -A (Cayley).
Numbers rotation(Index width, const Random& random) {
  const Numbers half = randn<double>({width, width}, random), skew = half - transpose(half);
  return solve(eye<double>(width) + skew, eye<double>(width) - skew);
}
const TaskAlignmentOptions moments_alone{.floor_weight = 0}, means_alone{.covariance = 0, .floor_weight = 0};

const bool alignment_row = add_method_rows({{
    .name = "alignment",
    .header = "graft/placeholder/alignment.hpp",
    .paper =
        "Sun, Saenko, Deep CORAL, ECCV 2016 workshops; Bardes, Ponce, LeCun, VICReg, ICLR 2022; over slots of tasks "
        "a formula of the catalogue",
    .functions = {"task_alignment", "variance_floor", "feature_deviations", "TaskAlignmentOptions"},
    .use = "task_alignment(slot_features, {.kind = AlignmentKind::moments})",
    .run =
        [](const Random& random) {
          auto features = task_features<float>(3, 700, 16, random);
          return grad(
              [&](const Tensor<float>& x) {
                features[1] = x;
                return task_alignment(features);
              },
              Tensor<float>(features[1]));
        },
    .loss =
        [](const Numbers& x) {
          Numbers total;
          for (const auto kind : {AlignmentKind::moments, AlignmentKind::cosine, AlignmentKind::info_nce}) {
            const Numbers own = task_alignment(parts_of(x, 4, 3), {.kind = kind, .temperature = 0.7, .floor = 3.0});
            total = total.defined() ? total + own : own;
          }
          return total;
        },
    .loss_at = randn<double>({36}, Random(4)),
    .errors =
        {bad_use<ValueError>(
             [] {
               task_alignment(Features{ones<double>({2, 3})});
             },
             "1 task, expected 2"),
         bad_use<ValueError>([] { task_alignment(Features{}); }, "0 tasks"),
         bad_use<ValueError>(
             [] {
               task_alignment(Features{ones<double>({2, 3}), ones<double>({0, 3})});
             },
             "task 1 has no items"),
         bad_use<ShapeError>(
             [] {
               task_alignment(Features{ones<double>({2, 3}), ones<double>({2, 4})});
             },
             "those of task 1"),
         bad_use<ShapeError>(
             [] {
               task_alignment(Features{ones<double>({2, 3}), ones<double>({4, 3})}, {.kind = AlignmentKind::info_nce});
             },
             "as many rows of task 1"),
         bad_use<ShapeError>(
             [] {
               task_alignment(task_features(3, 2, 2, Random(1)), {}, ones<double>({2, 2}));
             },
             "pair_weights of 3 tasks"),
         bad_use<ValueError>([] { task_alignment(task_features(2, 2, 2, Random(1)), {.covariance = -1}); },
                             "covariance is -1"),
         bad_use<ValueError>([] { task_alignment(task_features(2, 2, 2, Random(1)), {.temperature = 0}); },
                             "temperature is 0"),
         bad_use<ValueError>([] { task_alignment(task_features(2, 1, 2, Random(1))); }, "fewer than two items"),
         bad_use<ValueError>(
             [] {
               variance_floor(ones<double>({3, 2}), -1);
             },
             "floor is -1"),
         bad_use<ShapeError>([] { variance_floor(ones<double>({3})); }, "[3]"),
         bad_use<ValueError>([] { feature_deviations(Features{}); }, "no tasks"),
         bad_use<ShapeError>([] { feature_deviations(Features{ones<double>({3})}); }, "[3]")},
    .properties =
        {{"|mu_s - mu_t|^2 + b |Sigma_s - Sigma_t|^2 / 4 d^2 by hand (catalogue P6.1; Deep CORAL's factor)",
          [] {
            // Means (1, 0) and (2, 2); covariances diag(1, 0) and ((1, 1), (1, 1)).
            const Features two{tensor<double>({{0, 0}, {2, 0}}), tensor<double>({{1, 1}, {3, 3}})};
            CHECK(task_alignment(two, means_alone).item() == 1 + 4);
            CHECK(task_alignment(two, moments_alone).item() == Approx(5 + 3.0 / 16).epsilon(1e-14));
            CHECK(task_alignment(two, {.covariance = 8, .floor_weight = 0}).item() == Approx(5 + 1.5).epsilon(1e-14));
            CHECK(task_alignment(two, {.kind = AlignmentKind::cosine, .floor_weight = 0}).item() ==
                  Approx(1 - std::sqrt(0.5)).epsilon(1e-14));
          }},
         {"0 if and only if the moments are equal",
          [] {
            const Numbers x = randn<double>({6, 4}, Random(1));
            const auto order = from_vector(Random(2).permutation(6));
            const Numbers shuffled = gather(x, order), twice = concat<double>({x, x}, 0);
            CHECK(task_alignment(Features{x, shuffled, twice}, moments_alone).item() < 1e-28);
            // Equal means and other covariances, equal covariances and other means.
            const Numbers centred = x - mean(x, {0});
            const Features wider{centred, 2 * centred}, moved{x, x + 1.0};
            CHECK(task_alignment(wider, means_alone).item() < 1e-28);
            CHECK(task_alignment(wider, moments_alone).item() > 0.01);
            CHECK(task_alignment(moved, moments_alone).item() == Approx(4).epsilon(1e-12));
          }},
         {"invariant to a common rotation, and distances of moments to a common shift of 1e6",
          [] {
            const Features features = task_features(3, 5, 4, Random(1));
            const Numbers turn = rotation(4, Random(2));
            Features turned, shifted;
            for (const Numbers& x : features) {
              turned.push_back(matmul(x, turn));
              shifted.push_back(x + 1e6);
            }
            for (const auto kind : {AlignmentKind::moments, AlignmentKind::cosine, AlignmentKind::info_nce}) {
              const TaskAlignmentOptions o{.kind = kind, .floor_weight = 0};
              CHECK(task_alignment(turned, o).item() == Approx(task_alignment(features, o).item()).epsilon(1e-11));
            }
            CHECK(task_alignment(shifted, moments_alone).item() ==
                  Approx(task_alignment(features, moments_alone).item()).epsilon(1e-8));
          }},
         {"the gradient in the mean of task s is 2 sum_t w_st (mu_s - mu_t)",
          [] {
            const Features features = task_features(3, 5, 4, Random(1));
            const Numbers weights = tensor<double>({{9, 0.5, 2}, {9, 9, 0}, {9, 9, 9}});
            Features means;
            for (const Numbers& x : features) means.push_back(mean(x, {0}));
            const auto slope = [&](std::size_t s) {  // moving all items of a task moves its mean
              return grad(
                  [&](const Numbers& shift) {
                    Features moved = features;
                    moved[s] = moved[s] + shift;
                    return task_alignment(moved, moments_alone, weights);
                  },
                  zeros<double>({4}));
            };
            const Numbers first = 2 * (0.5 * (means[0] - means[1]) + 2 * (means[0] - means[2]));
            CHECK(max(abs(slope(0) - first)).item() < 1e-12);
            CHECK(max(abs(slope(1) - (means[1] - means[0]))).item() < 1e-12);  // w_12 is 0
          }},
         {"InfoNCE over tasks: ln N where all rows are alike, ln(1 + (N - 1) e^(-1 / tau)) for orthonormal ones",
          [] {
            const TaskAlignmentOptions o{.kind = AlignmentKind::info_nce, .temperature = 0.5, .floor_weight = 0};
            const Numbers alike = ones<double>({5, 4}), one = eye<double>(6);
            CHECK(task_alignment(Features{alike, 3 * alike}, o).item() == Approx(std::log(5)).epsilon(1e-13));
            CHECK(task_alignment(Features{one, one, one}, o).item() ==
                  Approx(3 * std::log1p(5 * std::exp(-2))).epsilon(1e-12));
          }},
         {"the variance floor: 0 for wide features, 1 - sqrt(epsilon) for a point (VICReg)",
          [] {
            const Numbers x = tensor<double>({{0, 0}, {2, 0.5}});  // deviations sqrt(2) and sqrt(1 / 8)
            CHECK(variance_floor(x, 1, 1e-12).item() == Approx(0.5 * (1 - std::sqrt(0.125))).epsilon(1e-9));
            CHECK(variance_floor(4 * x).item() == 0);
            CHECK(variance_floor(full<double>({3, 2}, 1e6)).item() == Approx(0.99).epsilon(1e-12));
            CHECK(max(abs(feature_deviations(Features{x, 2 * x, slice(x, 0, 0, 1)}) -
                          tensor<double>({0.625 * std::sqrt(2), 1.25 * std::sqrt(2), 0})))
                      .item() < 1e-14);
          }},
         {"alignment alone collapses, and the floor keeps the features apart",
          [] {
            // Descent on features that are free: without the floor the distances of moments shrink the wider task, and
            // with it both deviations stay near 1.
            const auto descend = [](const TaskAlignmentOptions& o) {
              Numbers x = 0.1 * randn<double>({2 * 12}, Random(3));
              for (int step = 0; step < 2000; ++step)
                x = x - 0.5 * grad([&](const Numbers& y) { return task_alignment(parts_of(y, 6, 2), o); }, x);
              return x;
            };
            const Numbers apart = descend({}), near = descend(moments_alone);
            CHECK(min(feature_deviations(parts_of(apart, 6, 2))).item() > 0.99);
            CHECK(max(feature_deviations(parts_of(near, 6, 2))).item() < 0.2);
            CHECK(task_alignment(parts_of(apart, 6, 2), moments_alone).item() < 1e-3);
          }},
         {"weights of 0 switch terms off bit for bit, and features that are not finite are not hidden",
          [] {
            const Features features = task_features(2, 5, 3, Random(1));
            const auto value_and_slope = [&](const TaskAlignmentOptions& o) {
              return value_and_grad(
                  [&](const Numbers& x) {
                    return task_alignment(Features{x, features[1]}, o);
                  },
                  Numbers(features[0]));
            };
            const auto direct = value_and_grad(
                [&](const Numbers& x) {
                  const Numbers common = slice(x.detach(), 0, 0, 1);
                  return sum(square(mean(x - common, {0}, true) - mean(features[1] - common, {0}, true)));
                },
                Numbers(features[0]));
            const auto off = value_and_slope(means_alone);
            CHECK(same_bits(off.first, direct.first));
            CHECK(same_bits(off.second, direct.second));
            CHECK_FALSE(same_bits(value_and_slope(moments_alone).first, off.first));
            for (const double bad : {std::nan(""), kInfinity})
              CHECK_FALSE(std::isfinite(task_alignment(Features{features[0] + bad, features[1]}).item()));
          }}},
}});

/// Logits h W^T of features.
struct Discriminator {
  Numbers weight;
  GRAFT_FIELDS(weight)
  Numbers operator()(const Numbers& h) const { return matmul(h, weight, {.transpose_b = true}); }
};

const bool adversarial_row = add_method_rows({{
    .name = "adversarial_alignment",
    .header = "graft/placeholder/adversarial_alignment.hpp",
    .paper = "Ganin, Lempitsky, Unsupervised domain adaptation by backpropagation, ICML 2015",
    .functions = {"adversarial_alignment", "AdversarialAlignmentOptions"},
    .use = "adversarial_alignment(discriminator, slot_features, {.lambda = 0.1}, context)",
    .run =
        [](const Random& random) {
          auto features = task_features<float>(3, 700, 16, random);
          const Linear<float> discriminator(16, 3, random.stream("discriminator"));
          return grad(
              [&](const Tensor<float>& x) {
                features[1] = x;
                return adversarial_alignment(discriminator, features, {}, Context());
              },
              Tensor<float>(features[1]));
        },
    .loss =
        [](const Numbers& w) {  // of the discriminator: in the features the gradient is not that of the value
          return adversarial_alignment(Discriminator{reshape(w, {3, 4})}, task_features(3, 5, 4, Random(1)), {},
                                       Context());
        },
    .loss_at = randn<double>({12}, Random(4)),
    .errors =
        {bad_use<ValueError>(
             [] {
               adversarial_alignment(Discriminator{eye<double>(3)}, Features{ones<double>({2, 3})}, {}, Context());
             },
             "1 task, expected 2"),
         bad_use<ValueError>(
             [] {
               adversarial_alignment(Discriminator{eye<double>(2)},
                                     Features{ones<double>({2, 2}), zeros<double>({0, 2})}, {}, Context());
             },
             "task 1 has no items"),
         bad_use<ShapeError>(
             [] {
               adversarial_alignment(Discriminator{eye<double>(2)},
                                     Features{ones<double>({2, 2}), zeros<double>({4, 3})}, {}, Context());
             },
             "those of task 1"),
         bad_use<ShapeError>(
             [] {
               adversarial_alignment(Discriminator{ones<double>({3, 4})}, task_features(2, 5, 4, Random(1)), {},
                                     Context());
             },
             "logits [10, 3]"),
         bad_use<ValueError>(
             [] {
               adversarial_alignment(Discriminator{ones<double>({2, 4})}, task_features(2, 5, 4, Random(1)),
                                     {.lambda = kInfinity}, Context());
             },
             "lambda is inf")},
    .properties =
        {{"the features' gradient is -lambda that of the loss, the discriminator's is that of the loss",
          [] {
            const Features features = task_features(2, 6, 4, Random(1));
            const Numbers weight = randn<double>({2, 4}, Random(2));
            const auto slopes = [&](double lambda) {
              const auto loss = [&](const Features& both) {
                return adversarial_alignment(Discriminator{both[2]}, Features{both[0], both[1]}, {.lambda = lambda},
                                             Context());
              };
              return grad(loss, Features{features[0], features[1], weight});
            };
            const Features once = slopes(1), plain = slopes(-1), less = slopes(0.25), off = slopes(0);
            for (std::size_t t = 0; t < 2; ++t) {
              CHECK(max(abs(plain[t])).item() > 0.01);
              CHECK(same_bits(once[t], -plain[t]));
              CHECK(same_bits(less[t], -0.25 * plain[t]));
              CHECK(same_bits(off[t], zeros<double>({6, 4})));
            }
            for (const Features& other : {once, less, off}) CHECK(same_bits(other[2], plain[2]));
            // -1 is the loss without a reversal: against its own cross-entropy.
            const Numbers direct = grad(
                [&](const Numbers& x) {
                  const Numbers logits = matmul(concat<double>({x, features[1]}, 0), weight, {.transpose_b = true});
                  return cross_entropy(logits, tensor<std::int64_t>({0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}));
                },
                Numbers(features[0]));
            CHECK(max(abs(direct - plain[0])).item() < 1e-14);
          }},
         {"aligned features: no discriminator has less than ln T, one that answers all alike has just that",
          [] {
            const Numbers x = randn<double>({7, 3}, Random(1));
            const Features aligned{x, x, concat<double>({x, x}, 0), x};
            const auto loss = [&](const Numbers& weight) {
              return adversarial_alignment(Discriminator{weight}, aligned, {}, Context()).item();
            };
            CHECK(loss(zeros<double>({4, 3})) == Approx(std::log(4)).epsilon(1e-14));
            for (std::uint64_t seed = 0; seed < 20; ++seed)
              CHECK(loss(randn<double>({4, 3}, Random(seed))) > std::log(4) + 1e-3);
            // Trained to its optimum it comes to ln T; on features that tell their task, to less.
            const auto trained = [](const Features& features) {
              Numbers weight = randn<double>({4, 3}, Random(9));
              const auto of = [&](const Numbers& w) {
                return adversarial_alignment(Discriminator{w}, features, {}, Context());
              };
              for (int step = 0; step < 2000; ++step) weight = weight - 0.5 * grad(of, weight);
              return of(weight).item();
            };
            CHECK(trained(aligned) == Approx(std::log(4)).epsilon(1e-6));
            CHECK(trained(Features{x, -x + 2.0, 3 * x - 4.0, x * tensor<double>({0, 5, 0})}) < 0.8 * std::log(4));
          }},
         {"tasks count alike, however many items they have",
          [] {
            const Features features = task_features(2, 6, 4, Random(1));
            const Discriminator d{randn<double>({2, 4}, Random(2))};
            const Features more{features[0], concat<double>({features[1], features[1], features[1]}, 0)};
            CHECK(adversarial_alignment(d, more, {}, Context()).item() ==
                  Approx(adversarial_alignment(d, features, {}, Context()).item()).epsilon(1e-13));
          }},
         {"one step of descent on both raises the plain loss by the features and lowers it by the discriminator",
          [] {
            const Features start{ones<double>({1, 1}), -ones<double>({1, 1}), tensor<double>({{1}, {-1}})};
            const auto plain = [](const Features& both) {
              return adversarial_alignment(Discriminator{both[2]}, Features{both[0], both[1]}, {}, Context()).item();
            };
            const Features slope = grad(
                [](const Features& both) {
                  return adversarial_alignment(Discriminator{both[2]}, Features{both[0], both[1]}, {}, Context());
                },
                start);
            Features features_alone = start, discriminator_alone = start;
            for (std::size_t t = 0; t < 2; ++t) features_alone[t] = features_alone[t] - 0.1 * slope[t];
            discriminator_alone[2] = discriminator_alone[2] - 0.1 * slope[2];
            CHECK(plain(features_alone) > plain(start));
            CHECK(plain(discriminator_alone) < plain(start));
            CHECK(features_alone[0].item() < 1);  // towards the other task
          }}},
}});

/// An objective on x [n]: each term is a squared distance, behind a dropout that draws from the term's context; the
/// first has the coefficient 1.
template <class T>
Objective<Tensor<T>, T> noisy_objective(const std::vector<double>& coefficients, std::vector<int>* calls = nullptr) {
  Objective<Tensor<T>, T> objective;
  for (std::size_t k = 0; k < coefficients.size(); ++k)
    objective.terms.push_back(
        {"term " + std::to_string(k), coefficients[k], [k, calls](const Tensor<T>& x, ContextRef context) {
           if (calls) ++(*calls)[k];
           const Random random = context->stream("noise");
           return mean(square(x - randn<T>(x.shape(), random) * T(k + 1)) * (T(1) + square(x)));
         }});
  return objective;
}
Numbers value_of(const Objective<Numbers, double>& objective, const Numbers& x, std::uint64_t seed = 1) {
  std::vector<Context> contexts = objective.contexts(Phase::training, Random(seed));
  return objective(x, contexts);
}

const bool objective_row = add_method_rows({{
    .name = "objective",
    .header = "graft/placeholder/objective.hpp",
    .paper = "A weighted sum of losses; formula as the catalogue of methods has it, which no paper describes",
    .functions = {"Objective", "ObjectiveTerm"},
    .use = "objective(net, contexts)",
    .run =
        [](const Random& random) {
          const auto objective = noisy_objective<float>({1, 0.5, 0, 2});
          std::vector<Context> contexts = objective.contexts(Phase::training, random);
          return grad([&](const Tensor<float>& x) { return objective(x, contexts); },
                      randn<float>({20000}, random.stream("x")));
        },
    .loss =
        [](const Numbers& x) {
          return value_of(noisy_objective<double>({1, 0.5, 2}), x);
        },
    .loss_at = randn<double>({7}, Random(4)),
    .errors = {bad_use<ValueError>(
                   [] {
                     value_of(noisy_objective<double>({0, 0}), ones<double>({3}));
                   },
                   "none of 2 terms is on"),
               bad_use<ValueError>(
                   [] {
                     value_of(noisy_objective<double>({1, -2}), ones<double>({3}));
                   },
                   "term 1 is -2"),
               bad_use<ValueError>(
                   [] {
                     value_of(noisy_objective<double>({1, std::nan("")}), ones<double>({3}));
                   },
                   "term 1 is nan"),
               bad_use<ValueError>(
                   [] {
                     auto objective = noisy_objective<double>({1, 1});
                     objective.terms[1].name = "term 0";
                     value_of(objective, ones<double>({3}));
                   },
                   "two terms are named term 0"),
               bad_use<ValueError>(
                   [] {
                     auto objective = noisy_objective<double>({1, 1});
                     objective.terms[1].loss = {};
                     value_of(objective, ones<double>({3}));
                   },
                   "term 1 has no loss"),
               bad_use<ValueError>(
                   [] {
                     std::vector<Context> one(1);
                     noisy_objective<double>({1, 1})(ones<double>({3}), one);
                   },
                   "1 contexts for 2 terms"),
               bad_use<ShapeError>(
                   [] {
                     Objective<Numbers, double> objective{
                         {{"wide", 1, [](const Numbers& x, ContextRef) { return square(x); }}}};
                     value_of(objective, ones<double>({3}));
                   },
                   "the term wide must be a scalar"),
               bad_use<ValueError>(
                   [] {
                     value_of(noisy_objective<double>({0, 1}), full<double>({3}, kInfinity));
                   },
                   "the term term 1 is")},
    .properties =
        {{"the sum of c_k L_k",
          [] {
            const Numbers x = randn<double>({5}, Random(1));
            const Objective<Numbers, double> objective{{
                {"main", 1, [](const Numbers& y, ContextRef) { return sum(square(y)); }},
                {"mean", 0.5, [](const Numbers& y, ContextRef) { return mean(y); }},
                {"cubes", 3, [](const Numbers& y, ContextRef) { return sum(y * y * y); }},
            }};
            const double expected = sum(square(x)).item() + 0.5 * mean(x).item() + 3 * sum(x * x * x).item();
            CHECK(value_of(objective, x).item() == Approx(expected).epsilon(1e-14));
          }},
         {"all 2^k sets of terms: those that are off are not evaluated, the others keep their bits and their numbers",
          [] {
            const Numbers x = randn<double>({9}, Random(1));
            constexpr unsigned kTerms = 6;
            std::vector<Numbers> alone(kTerms), slopes(kTerms);
            const auto ask = [&](unsigned set, std::vector<int>& calls) {
              std::vector<double> coefficients;
              for (unsigned k = 0; k < kTerms; ++k) coefficients.push_back(set >> k & 1 ? 1 + 0.25 * k : 0);
              return noisy_objective<double>(coefficients, &calls);
            };
            for (unsigned set = 1; set < 1u << kTerms; ++set) {
              std::vector<int> calls(kTerms);
              const auto objective = ask(set, calls);
              std::vector<Context> contexts = objective.contexts(Phase::training, Random(1)), same = contexts;
              const auto [value, slope] = value_and_grad([&](const Numbers& y) { return objective(y, contexts); }, x);
              const std::vector<Numbers> losses = objective.losses(x, same);
              Numbers total;
              for (unsigned k = 0; k < kTerms; ++k) {
                const bool on = set >> k & 1;
                CHECK(calls[k] == (on ? 2 : 0));
                CHECK(losses[k].defined() == on);
                if (!on) continue;
                // As alone, where it was asked first: sets of one come before all that hold it.
                if (set == 1u << k) {
                  alone[k] = losses[k];
                  slopes[k] = slope;
                }
                CHECK(same_bits(losses[k], alone[k]));
                const Numbers own = k == 0 ? alone[k] : (1 + 0.25 * k) * alone[k];
                total = total.defined() ? total + own : own;
              }
              CHECK(same_bits(value, total));
              // The gradient is the sum of theirs.
              Numbers sum_of_slopes = zeros<double>({9});
              for (unsigned k = 0; k < kTerms; ++k)
                if (set >> k & 1) sum_of_slopes = sum_of_slopes + slopes[k];
              CHECK(max(abs(slope - sum_of_slopes)).item() < 1e-13);
            }
          }},
         {"all but the first off: value, gradient, random numbers and updates of the plain loss",
          [] {
            const Numbers x = randn<double>({9}, Random(1));
            const auto objective = noisy_objective<double>({1, 0, 0});
            std::vector<Context> contexts = objective.contexts(Phase::training, Random(1));
            Context plain(Phase::training, Random(1));
            const auto [value, slope] = value_and_grad([&](const Numbers& y) { return objective(y, contexts); }, x);
            const auto [expected, expected_slope] =
                value_and_grad([&](const Numbers& y) { return objective.terms[0].loss(y, plain); }, x);
            CHECK(same_bits(value, expected));
            CHECK(same_bits(slope, expected_slope));
            CHECK(
                same_bits(randn<double>({3}, contexts[0].stream("noise")), randn<double>({3}, plain.stream("noise"))));
          }},
         {"an infinite loss of a term that is off does no harm",
          [] {
            Objective<Numbers, double> objective = noisy_objective<double>({1});
            const Numbers x = ones<double>({4}), base = value_of(objective, x);
            objective.terms.push_back({"broken", 0, [](const Numbers& y, ContextRef) { return sum(y) / 0.0; }});
            CHECK(same_bits(value_of(objective, x), base));
          }}},
}});

}  // namespace
