// Rows of the method table for placeholder/: how many placeholders there are, which, and how much each counts.

#include <algorithm>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/statistics.hpp"
#include "graft/placeholder/placeholder_ratio.hpp"
#include "graft/placeholder/sample_weighting.hpp"
#include "graft/placeholder/selection.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A loss that is least at 3, and where more of the resource shows it better.
double bowl(double ratio, double resource) { return (ratio - 3) * (ratio - 3) + std::cos(5 * ratio) / resource; }

const bool ratio_row = add_method_rows({{
    .name = "placeholder_ratio",
    .header = "graft/placeholder/placeholder_ratio.hpp",
    .paper =
        "Jamieson, Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, AISTATS 2016; "
        "the optimum in closed form is the catalogue's",
    .functions = {"grid_choice", "successive_halving", "mean_with_placeholders", "placeholder_mean_error",
                  "best_placeholder_count", "HalvingOptions", "RatioChoice", "RatioTrial"},
    .use = "successive_halving({0, 1, 2, 4, 8}, {.budget = 100}, validation_loss).ratio",
    .run =
        [](const Random& random) {
          return mean_with_placeholders(randn<float>({300, 200}, random), 4, 0.5);
        },
    .loss =
        [](const Numbers& x) {
          return sum(square(square(mean_with_placeholders(reshape(x, {3, 2}), 1.5, 0.2))));
        },
    .loss_at = randn<double>({6}, Random(4)),
    .errors = {bad_use<ValueError>([] { grid_choice({}, 1, bowl); }, "no ratios"),
               bad_use<ValueError>(
                   [] {
                     grid_choice({1, kInfinity}, 1, bowl);
                   },
                   "a ratio is inf"),
               bad_use<ValueError>(
                   [] {
                     grid_choice({1, 2}, 1, [](double, double) { return std::nan(""); });
                   },
                   "the loss at 1 is nan"),
               bad_use<ValueError>(
                   [] {
                     grid_choice({1, 2}, 1, [](double, double) { return kInfinity; });
                   },
                   "every trial failed"),
               bad_use<ValueError>(
                   [] {
                     successive_halving({1, 2, 3, 4}, {.budget = 7}, bowl);
                   },
                   "a budget of 7 for 4 ratios in 2 rounds"),
               bad_use<ValueError>(
                   [] {
                     successive_halving({1, 2}, {}, bowl);
                   },
                   "budget is 0"),
               bad_use<ValueError>(
                   [] {
                     successive_halving({1, 2}, {.budget = 9, .keep_one_of = 1}, bowl);
                   },
                   "keep_one_of is 1"),
               bad_use<ValueError>(
                   [] {
                     successive_halving({1, 2}, {.budget = 9}, [](double, double) { return kInfinity; });
                   },
                   "every trial failed"),
               bad_use<ValueError>([] { mean_with_placeholders(ones<double>({3}), -1); }, "placeholders is -1"),
               bad_use<ValueError>(
                   [] {
                     mean_with_placeholders(ones<double>({0, 2}), 0);
                   },
                   "no items"),
               bad_use<ShapeError>([] { mean_with_placeholders(ones<double>({}), 1); }, "[items, ...]"),
               bad_use<ValueError>([] { placeholder_mean_error(0, 0, 1, 1); }, "no items"),
               bad_use<ValueError>([] { best_placeholder_count(-1, 1); }, "variance is -1")},
    .properties = {{"the grid finds M* = s^2 / (theta - mu)^2 = 4, whatever N (catalogue P8.1)",
                    [] {
                      CHECK(best_placeholder_count(1, 0.5) == 4);
                      CHECK(best_placeholder_count(1, 0) == kInfinity);
                      CHECK(best_placeholder_count(0, 0) == 0);
                      std::vector<double> counts;
                      for (int m = 0; m <= 30; ++m) counts.push_back(m / 2.0);
                      for (const double items : {1.0, 3.0, 20.0, 1000.0})
                        CHECK(grid_choice(counts, 1, [&](double m, double) {
                                return placeholder_mean_error(items, m, 1, 0.5);
                              }).ratio == 4);
                    }},
                   {"the error of the mean in closed form is that of samples",
                    [] {
                      // theta 0.5, mu 0, s 1: 40000 estimates from 4 samples each, M = 0, 2, 4.
                      const Numbers x = randn<double>({4, 40000}, Random(1)) + 0.5;
                      for (const double m : {0.0, 2.0, 4.0}) {
                        const double error = mean(square(mean_with_placeholders(x, m) - 0.5)).item();
                        CHECK(error == Approx(placeholder_mean_error(4, m, 1, 0.5)).epsilon(0.03));
                      }
                      CHECK(mean_with_placeholders(tensor<double>({3, 5}), 2, 1).item() == 2.5);
                    }},
                   {"both tuners find 4 by samples, and halving spends no more than its budget",
                    [] {
                      // Each unit of the resource is one more data set of four samples, the same for every M.
                      double spent = 0, most = 0;
                      const auto loss = [&](double m, double resource) {
                        const Numbers x = randn<double>({4, static_cast<Index>(resource)}, Random(2)) + 0.5;
                        most = std::max(most, resource);
                        return mean(square(mean_with_placeholders(x, m) - 0.5)).item();
                      };
                      const std::vector<double> counts{0, 1, 2, 4, 8, 16, 32, 64};
                      CHECK(grid_choice(counts, 2000, loss).ratio == 4);
                      most = 0;
                      const RatioChoice choice = successive_halving(counts, {.budget = 16000}, loss);
                      CHECK(choice.ratio == 4);
                      CHECK(choice.trials.size() == 8 + 4 + 2);
                      double before = 0, last = 0;
                      for (const RatioTrial& trial :
                           choice.trials) {  // models go on training: what a round adds is paid
                        if (trial.resource != last) before = last;
                        last = trial.resource;
                        spent += trial.resource - before;
                      }
                      CHECK(spent <= 16000);
                      CHECK(spent > 15000);
                      CHECK(most > 4000);  // the last two ratios get more than a grid's 2000
                    }},
                   {"rounds and resources of successive halving by hand",
                    [] {
                      // n = 5, B = 60: ceil(log2 5) = 3 rounds with 5, 2, 1 left: floor(60 / 15) = 4, floor(60 / 6) =
                      // 10, 20.
                      const RatioChoice choice = successive_halving({1, 2, 3, 4, 5}, {.budget = 60}, bowl);
                      std::vector<double> resources;
                      for (const RatioTrial& trial : choice.trials) resources.push_back(trial.resource);
                      CHECK(resources == std::vector<double>{4, 4, 4, 4, 4, 14, 14, 34});
                      CHECK(choice.ratio == 3);
                      // One ratio is one trial; three left of nine, and one of three.
                      CHECK(successive_halving({7}, {.budget = 3}, bowl).trials.size() == 1);
                      CHECK(successive_halving({1, 2, 3, 4, 5, 6, 7, 8, 9}, {.budget = 90, .keep_one_of = 3}, bowl)
                                .trials.size() == 9 + 3);
                    }},
                   {"the earlier of equal ones, and a trial that failed is not chosen",
                    [] {
                      const auto flat = [](double ratio, double) { return ratio == 1 ? kInfinity : 2.0; };
                      CHECK(grid_choice({1, 5, 3}, 1, flat).ratio == 5);
                      CHECK(successive_halving({1, 5, 3}, {.budget = 12}, flat).ratio == 5);
                    }}},
}});

/// Points of the plane on a grid of quarters, so that some coincide.
Numbers grid_points(Index items, std::uint64_t seed) {
  const Random random(seed);
  return generate({items, 2}, [&](Index i, Index k) {
    return static_cast<double>(random.below(static_cast<std::uint64_t>(2 * i + k), 9)) / 4;
  });
}
double distance(const Numbers& x, Index i, Index j) {
  double squares = 0;
  for (Index k = 0; k < x.size(1); ++k) squares += std::pow(x.at({i, k}) - x.at({j, k}), 2);
  return std::sqrt(squares);
}
/// Calls f(items) for every set of `count` of `items` places.
template <class F>
void each_choice(Index items, Index count, F f) {
  for (unsigned set = 0; set < 1u << items; ++set) {
    if (__builtin_popcount(set) != count) continue;
    std::vector<Index> chosen;
    for (Index i = 0; i < items; ++i)
      if (set >> i & 1) chosen.push_back(i);
    f(chosen);
  }
}
/// Over all items, the largest or the sum of the distances to the nearest chosen one.
double distance_to(const Numbers& x, const std::vector<Index>& chosen, bool summed) {
  double result = 0;
  for (Index i = 0; i < x.size(0); ++i) {
    double nearest = kInfinity;
    for (const Index j : chosen) nearest = std::min(nearest, distance(x, i, j));
    result = summed ? result + nearest : std::max(result, nearest);
  }
  return result;
}
std::vector<Index> chosen_by(const Selection& selection) {
  std::vector<Index> items;
  for (const std::int64_t item : host(selection.items)) items.push_back(static_cast<Index>(item));
  return items;
}
bool all_differ(std::vector<Index> items) {
  std::sort(items.begin(), items.end());
  return std::adjacent_find(items.begin(), items.end()) == items.end();
}

const bool selection_row = add_method_rows({{
    .name = "selection",
    .header = "graft/placeholder/selection.hpp",
    .paper = "Sener, Savarese, Active learning for convolutional neural networks: a core-set approach, ICLR 2018; "
             "Kaufman, Rousseeuw, Clustering by means of medoids, 1987; Welling, Herding dynamical weights to learn, "
             "ICML 2009",
    .functions = {"k_center_greedy", "k_medoids", "herding", "MedoidOptions", "Selection"},
    .use = "gather(pool, k_center_greedy(features, 100, labelled).items)",
    .run =
        [](const Random& random) {
          const Tensor<float> pool = randn<float>({400, 8}, random);
          const Tensor<std::int64_t> chosen = concat<std::int64_t>(
              {k_center_greedy(pool, 30).items, k_medoids(pool, 3).items, herding(pool, 30).items}, 0);
          return gather(pool, chosen);
        },
    .errors = {bad_use<ValueError>(
                   [] {
                     k_center_greedy(ones<double>({0, 2}), 1);
                   },
                   "the source of placeholders"),
               bad_use<ValueError>(
                   [] {
                     k_medoids(ones<double>({0, 2}), 1);
                   },
                   "the source of placeholders"),
               bad_use<ValueError>(
                   [] {
                     herding(ones<double>({3, 2}), 4);
                   },
                   "4 items to choose, expected 1 to 3"),
               bad_use<ValueError>(
                   [] {
                     k_center_greedy(ones<double>({3, 2}), 0);
                   },
                   "0 items to choose"),
               bad_use<ValueError>(
                   [] {
                     k_center_greedy(ones<double>({3, 2}), 2, {0, 2});
                   },
                   "2 items to choose of 1 that are not taken"),
               bad_use<IndexError>(
                   [] {
                     k_center_greedy(ones<double>({3, 2}), 1, {3});
                   },
                   "taken item 3 of 3"),
               bad_use<ShapeError>([] { herding(ones<double>({3}), 1); }, "[3]"),
               bad_use<ValueError>(
                   [] {
                     k_medoids(ones<double>({3, 2}) * std::nan(""), 1);
                   },
                   "item 0 holds nan"),
               bad_use<ValueError>(
                   [] {
                     k_medoids(ones<double>({3, 2}), 1, {.swaps = -1});
                   },
                   "swaps is -1")},
    .properties =
        {{"k-center greedy: the radius is at most twice the best, by all choices of up to 12 items",
          [] {
            double worst = 0;
            for (std::uint64_t seed = 0; seed < 12; ++seed) {
              const Index items = 5 + static_cast<Index>(seed % 8);
              const Numbers x = grid_points(items, seed);
              for (const Index count : {1, 2, 3, 4}) {
                double best = kInfinity;
                each_choice(items, count, [&](const std::vector<Index>& chosen) {
                  best = std::min(best, distance_to(x, chosen, false));
                });
                const Selection found = k_center_greedy(x, count);
                CHECK(all_differ(chosen_by(found)));
                CHECK(found.figure == Approx(distance_to(x, chosen_by(found), false)).margin(1e-14));
                CHECK(found.figure <= 2 * best + 1e-12);
                if (best > 0) worst = std::max(worst, found.figure / best);
              }
            }
            CHECK(worst > 1.2);  // greedy, not the best
          }},
         {"k-center greedy by hand, with and without items that are taken",
          [] {
            const Numbers x = tensor<double>({{0}, {1}, {2}, {3}, {10}, {7}});  // mean 23 / 6
            CHECK(chosen_by(k_center_greedy(x, 4)) == std::vector<Index>{3, 4, 0, 5});
            CHECK(k_center_greedy(x, 4).figure == 1);
            CHECK(chosen_by(k_center_greedy(x, 2, {0, 4})) == std::vector<Index>{3, 5});
            CHECK(k_center_greedy(x, 6).figure == 0);
            CHECK(all_differ(chosen_by(k_center_greedy(full<double>({5, 2}, 0.1), 5))));  // all alike
            CHECK(chosen_by(k_center_greedy(x * 1e-3 + 1e6, 4)) == std::vector<Index>{3, 4, 0, 5});
          }},
         {"k-medoids: no swap lowers the sum, which is that of its medoids and never above BUILD's",
          [] {
            int best_found = 0;
            for (std::uint64_t seed = 0; seed < 10; ++seed) {
              const Numbers x = grid_points(11, 100 + seed);
              const Selection built = k_medoids(x, 3, {.swaps = 0}), found = k_medoids(x, 3);
              const std::vector<Index> medoids = chosen_by(found);
              CHECK(all_differ(medoids));
              CHECK(found.figure == Approx(distance_to(x, medoids, true)).epsilon(1e-13));
              CHECK(built.figure == Approx(distance_to(x, chosen_by(built), true)).epsilon(1e-13));
              CHECK(found.figure <= built.figure);
              for (std::size_t m = 0; m < 3; ++m)
                for (Index i = 0; i < 11; ++i) {
                  std::vector<Index> swapped = medoids;
                  swapped[m] = i;
                  CHECK(distance_to(x, swapped, true) >= found.figure * (1 - 1e-9));
                }
              double best = kInfinity, last = kInfinity;
              each_choice(11, 3, [&](const std::vector<Index>& chosen) {
                best = std::min(best, distance_to(x, chosen, true));
              });
              best_found += found.figure <= best * (1 + 1e-12);
              for (Index swaps = 0; swaps < 5; ++swaps) {  // the cost never rises
                const double cost = k_medoids(x, 3, {.swaps = swaps}).figure;
                CHECK(cost <= last);
                last = cost;
              }
            }
            CHECK(best_found >= 8);
          }},
         {"k-medoids finds the middle of each of three groups far apart",
          [] {
            const Numbers x = tensor<double>({{0}, {1}, {2}, {100}, {101}, {103}, {1000}, {1001}, {1002}}) + 1e6;
            std::vector<Index> medoids = chosen_by(k_medoids(x, 3));
            std::sort(medoids.begin(), medoids.end());
            CHECK(medoids == std::vector<Index>{1, 4, 7});
            CHECK(k_medoids(x, 3).figure == Approx(2 + 3 + 2));
            CHECK(k_medoids(x, 9).figure == 0);
          }},
         {"herding: each item is the one that brings the mean nearest, and all items have the mean itself",
          [] {
            const Numbers x = randn<double>({12, 3}, Random(1)), mu = mean(x, {0});
            const std::vector<Index> chosen = chosen_by(herding(x, 12));
            CHECK(all_differ(chosen));
            const auto off = [&](const std::vector<Index>& items) {
              return norm(mean(gather(x, from_vector(items)), {0}) - mu).item();
            };
            std::vector<Index> so_far;
            for (const Index item : chosen) {
              for (Index other = 0; other < 12; ++other) {
                if (std::find(so_far.begin(), so_far.end(), other) != so_far.end()) continue;
                std::vector<Index> instead = so_far, own = so_far;
                instead.push_back(other);
                own.push_back(item);
                CHECK(off(own) <= off(instead) + 1e-12);
              }
              so_far.push_back(item);
              CHECK(herding(x, static_cast<Index>(so_far.size())).figure == Approx(off(so_far)).margin(1e-14));
            }
            CHECK(herding(x, 12).figure < 1e-15);
            // Nearer than items drawn at random, whose distance falls as 1 / sqrt(k) (Welling: 1 / k).
            const Numbers many = randn<double>({400, 3}, Random(2));
            CHECK(herding(many, 40).figure < 0.02);  // sqrt(3 / 40) is 0.27
            CHECK(chosen_by(herding(many * 1e-3 + 1e6, 5)) == chosen_by(herding(many, 5)));
          }}},
}});

/// A linear model w of logistic losses: items x [n, width] with labels +-1.
struct LinearToy {
  Numbers x, y;
  Numbers losses(const Numbers& w) const {
    return softplus(-y * reshape(matmul(x, reshape(w, {w.count(), 1})), {x.size(0)}));
  }
};
LinearToy toy(Index items, std::uint64_t seed, Index flipped = 0) {
  const Numbers x = randn<double>({items, 3}, Random(seed));
  Numbers y = sign(slice(x, 1, 0, 1) + 0.5 * slice(x, 1, 1, 2));
  y = reshape(y, {items}) * where(arange<double>(items) < static_cast<double>(flipped), -1.0, ones<double>({items}));
  return {x, y};
}
Numbers meta_weights(const Numbers& w, const LinearToy& placeholders, const LinearToy& clean) {
  return meta_gradient_weights(
      w, [&](const Numbers& v) { return placeholders.losses(v); },
      [&](const Numbers& v) { return mean(clean.losses(v)); });
}

const bool weighting_row = add_method_rows({{
    .name = "sample_weighting",
    .header = "graft/placeholder/sample_weighting.hpp",
    .paper = "Ren, Zeng, Yang, Urtasun, Learning to reweight examples for robust deep learning, ICML 2018",
    .functions = {"meta_gradient_weights", "confidence_weights", "loss_weights", "MetaGradientOptions"},
    .use = "meta_gradient_weights(net, losses_of_placeholders, validation_loss)",
    .run =
        [](const Random& random) {
          const Tensor<float> x = randn<float>({3000, 8}, random.stream("x")), w = randn<float>({8, 1}, random),
                              clean = randn<float>({500, 8}, random.stream("clean"));
          return meta_gradient_weights(
              w, [&](const Tensor<float>& v) { return reshape(softplus(matmul(x, v)), {3000}); },
              [&](const Tensor<float>& v) { return mean(softplus(matmul(clean, v))); });
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     meta_gradient_weights(
                         ones<double>({2}), [](const Numbers& w) { return sum(w); },
                         [](const Numbers& w) { return sum(w); });
                   },
                   "a loss for each placeholder"),
               bad_use<ValueError>(
                   [] {
                     meta_gradient_weights(
                         ones<double>({2}), [](const Numbers& w) { return slice(w, 0, 0, 0); },
                         [](const Numbers& w) { return sum(w); });
                   },
                   "no placeholder samples"),
               bad_use<ValueError>(
                   [] {
                     meta_gradient_weights(
                         zeros<double>({2}), [](const Numbers& w) { return w; },
                         [](const Numbers& w) { return sum(sqrt(w)); });
                   },
                   "validation loss is not finite"),
               bad_use<ValueError>(
                   [] {
                     meta_gradient_weights(
                         zeros<double>({2}), [](const Numbers& w) { return sqrt(w); },
                         [](const Numbers& w) { return sum(w); });
                   },
                   "placeholder 0 is inf"),
               bad_use<ShapeError>([] { confidence_weights(ones<double>({2})); }, "[2]"),
               bad_use<ValueError>(
                   [] {
                     confidence_weights(ones<double>({0, 3}));
                   },
                   "no placeholder samples"),
               bad_use<ValueError>(
                   [] {
                     confidence_weights(-ones<double>({2, 3}));
                   },
                   "a class -1"),
               bad_use<ValueError>([] { loss_weights(zeros<double>({3}), 0); }, "tau is 0"),
               bad_use<ShapeError>(
                   [] {
                     loss_weights(zeros<double>({3, 1}));
                   },
                   "[3, 1]"),
               bad_use<ValueError>([] { loss_weights(zeros<double>({0})); }, "no placeholder samples"),
               bad_use<ValueError>(
                   [] {
                     loss_weights(tensor<double>({1, std::nan("")}));
                   },
                   "a loss is nan"),
               bad_use<ValueError>([] { loss_weights(full<double>({2}, kInfinity)); }, "every loss is infinite")},
    .properties =
        {{"a placeholder with a flipped label has weight 0 in a linear toy (catalogue P8.3)",
          [] {
            // At w = 0 the slope of item j is -y_j x_j / 2, so u_j is <mean y x of clean items, y_j x_j> / 4.
            const LinearToy clean = toy(200, 1), right = toy(12, 2), flipped = toy(12, 2, 12);
            const Numbers w = zeros<double>({3});
            const Numbers of_right = meta_weights(w, right, clean), of_flipped = meta_weights(w, flipped, clean);
            const Numbers direction = mean(clean.x * reshape(clean.y, {200, 1}), {0});
            for (Index j = 0; j < 12; ++j) {
              double along = 0;
              for (Index k = 0; k < 3; ++k) along += direction.at({k}) * right.y.at({j}) * right.x.at({j, k});
              CHECK((of_right.at({j}) > 0) == (along > 0));
              if (along > 0) CHECK(of_flipped.at({j}) == 0);
            }
            // Of a batch of both, a clear item counts, and the same with a flipped label does not.
            const LinearToy both{tensor<double>({{2, 1, 0}, {2, 1, 0}, {-1, -1, 0}, {-1, -1, 0}}),
                                 tensor<double>({1, -1, -1, 1})};
            const Numbers weights = meta_weights(w, both, clean);
            CHECK(weights.at({1}) == 0);
            CHECK(weights.at({3}) == 0);
            CHECK(weights.at({0}) > weights.at({2}));
            CHECK(mean(weights).item() == Approx(1).epsilon(1e-14));
          }},
         {"the weights are the slopes of the validation loss after a step, by finite differences",
          [] {
            const LinearToy clean = toy(50, 1), placeholders = toy(6, 2, 3);
            const Numbers w = randn<double>({3}, Random(3));
            const Numbers each = jacobian([&](const Numbers& v) { return placeholders.losses(v); }, w);
            double slopes[6], total = 0;
            for (Index j = 0; j < 6; ++j) {
              const Numbers gradient = reshape(slice(each, 0, j, j + 1), {3});
              slopes[j] =
                  std::max(0.0, -slope_at_zero([&](double e) { return mean(clean.losses(w - e * gradient)).item(); }));
              total += slopes[j] / 6;
            }
            const Numbers weights = meta_weights(w, placeholders, clean);
            for (Index j = 0; j < 6; ++j) CHECK(weights.at({j}) == Approx(slopes[j] / total).margin(1e-9));
          }},
         {"placeholders that are all harmful have weight 0, all of them; scales of 1e-200 and 1e200 do not matter",
          [] {
            const LinearToy clean{ones<double>({1, 3}), ones<double>({1})};
            const LinearToy harmful{ones<double>({4, 3}), -ones<double>({4})};
            CHECK(same_bits(meta_weights(zeros<double>({3}), harmful, clean), zeros<double>({4})));
            const LinearToy good = toy(6, 2);
            const Numbers w = zeros<double>({3}), usual = meta_weights(w, good, toy(50, 1));
            for (const double scale : {1e-100, 1e100}) {
              const Numbers scaled = meta_gradient_weights(
                  w, [&](const Numbers& v) { return scale * good.losses(v); },
                  [&](const Numbers& v) { return scale * mean(toy(50, 1).losses(v)); });
              CHECK(max(abs(scaled - usual)).item() < 1e-12);
            }
          }},
         {"confidence: the largest share over the mean of them",
          [] {
            const Numbers weights = confidence_weights(tensor<double>({{0.5, 0.5}, {1, 0}, {0.25, 0.75}}));
            CHECK(max(abs(weights - tensor<double>({0.5, 1, 0.75}) / 0.75)).item() < 1e-15);
          }},
         {"by losses: softmax(-l / tau) times their number, alike for a large tau, the easiest alone for a small one",
          [] {
            const Numbers losses = tensor<double>({0.3, 2, 0.5, kInfinity}) + 1e3;
            const double z = 1 + std::exp(-1.7 / 0.5) + std::exp(-0.2 / 0.5);
            const Numbers weights = loss_weights(losses, 0.5);
            CHECK(weights.at({0}) == Approx(4 / z));
            CHECK(weights.at({1}) == Approx(4 * std::exp(-1.7 / 0.5) / z));
            CHECK(weights.at({3}) == 0);
            CHECK(loss_weights(losses, 1e-3).at({0}) == 4);
            const Numbers alike = loss_weights(slice(losses, 0, 0, 3), 1e9);
            CHECK(max(abs(alike - 1.0)).item() < 1e-8);
          }}},
}});

}  // namespace
