// Rows of the method table for placeholder/: samples that stand beside the labelled ones.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/descent.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/linalg_spectral.hpp"
#include "graft/placeholder/adversarial.hpp"
#include "graft/placeholder/distillation.hpp"
#include "graft/placeholder/sample_loss.hpp"
#include "graft/placeholder/self_supervised.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
using Labels = Tensor<std::int64_t>;
constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

Numbers normal(const Shape& shape, std::uint64_t seed) { return randn<double>(shape, Random(seed)); }
/// A linear classifier with its weights as a matrix [width, classes].
template <class T>
struct Scores {
  Tensor<T> weight;
  GRAFT_FIELDS(weight)
  Tensor<T> operator()(const Tensor<T>& x) const { return matmul(x, weight); }
};

// ---- Random and open-set placeholders
// --------------------------------------------------------------------------------
/// Inputs 0 .. 3 with labels in 0 .. 2, each pair as often as the table says; the inputs as one-hot rows, so that the
/// model is a table of logits [4, 3].
const std::vector<std::vector<int>> kCounts = {{5, 2, 1}, {0, 3, 1}, {2, 2, 4}, {1, 0, 0}};
LabelledSet<double> tabular_set() {
  std::vector<std::int64_t> x, y;
  for (std::size_t k = 0; k < kCounts.size(); ++k)
    for (std::size_t c = 0; c < 3; ++c)
      for (int n = 0; n < kCounts[k][c]; ++n) {
        x.push_back(static_cast<std::int64_t>(k));
        y.push_back(static_cast<std::int64_t>(c));
      }
  return {one_hot<double>(from_vector(x), 4), from_vector(y)};
}
/// p(y | x) [4, 3] of the table.
Numbers tabular_answers() {
  return generate({4, 3}, [](Index k, Index c) {
    const auto& row = kCounts[static_cast<std::size_t>(k)];
    return row[static_cast<std::size_t>(c)] / static_cast<double>(row[0] + row[1] + row[2]);
  });
}
PlaceholderSamples<double> same_inputs(const LabelledSet<double>& set, const Numbers& q) {
  return random_placeholders(set.x, set.x.size(0), q, Random(3));
}
LabelledSet<double> some_set(Index items = 6, std::uint64_t seed = 1) {
  return {normal({items, 4}, seed), generate({items}, [](Index i) { return i % 3; })};
}
Numbers sample_loss_of(const Numbers& table, const LabelledSet<double>& set,
                       const PlaceholderSamples<double>& placeholders, double rho) {
  return sample_loss(Scores<double>{table}, set, placeholders, {.rho = rho}, Context());
}

const bool sample_loss_row = add_method_rows({{
    .name = "placeholder samples",
    .header = "graft/placeholder/sample_loss.hpp",
    .paper =
        "Label smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016; random labels: Wei, Tao, "
        "Xie, An, Open-set label noise can improve robustness against inherent label noise, NeurIPS 2021",
    .functions = {"sample_loss", "random_placeholders", "open_set_placeholders", "open_set_loss", "placeholder_ratio",
                  "uniform_target", "prior_target", "PlaceholderSamples"},
    .use =
        "sample_loss(net, batch, random_placeholders(unlabelled, 32, uniform_target(classes), random), {.rho = 0.1}, "
        "context)",
    .run =
        [](const Random& random) {
          const auto draw = [&](const char* name) { return randn<float>({200, 64}, random.stream(name)); };
          const LabelledSet<float> set{draw("set"), generate({200}, [](Index i) { return i % 40; })};
          const Tensor<float> unlabelled = draw("unlabelled");
          const auto placeholders = random_placeholders(unlabelled, 150, uniform_target(40), random);
          const auto loss = [&](const Linear<float>& net) {
            Context context(Phase::training, random);
            return sample_loss(net, set, placeholders, {.rho = 0.3}, context) +
                   open_set_loss(net, set, unlabelled, 40, {}, context);
          };
          return to_vector(grad(loss, Linear<float>(64, 40, random)));
        },
    .loss =
        [](const Numbers& x) {
          const Scores<double> net{reshape(x, {4, 3})};
          PlaceholderSamples<double> samples =
              random_placeholders(normal({5, 4}, 2), 7, tensor<double>({0.5, 0.2, 0.3}), Random(4));
          samples.weights = 0.5 + rand<double>({7}, Random(5));
          return sample_loss(net, some_set(), samples, {.rho = 0.4}, Context()) +
                 open_set_loss(net, some_set(), normal({5, 4}, 2), 3, {}, Context());
        },
    .loss_at = normal({12}, 6),
    .errors =
        {bad_use<ValueError>(
             [] {
               sample_loss_of(normal({4, 3}, 1), some_set(), same_inputs(some_set(), uniform_target<double>(3)), 1);
             },
             "rho is 1"),
         bad_use<ValueError>(
             [] {
               sample_loss_of(normal({4, 3}, 1), some_set(), same_inputs(some_set(), uniform_target<double>(3)), kNaN);
             },
             "rho is nan"),
         bad_use<ValueError>(
             [] {
               sample_loss_of(normal({4, 3}, 1), some_set(), {}, 0.5);
             },
             "no placeholder samples"),
         bad_use<ValueError>(
             [] {
               sample_loss_of(normal({4, 3}, 1), some_set(), {zeros<double>({0, 4}), zeros<double>({0, 3})}, 0.5);
             },
             "no placeholder samples"),
         bad_use<ShapeError>(
             [] {
               sample_loss_of(normal({4, 3}, 1), some_set(), {zeros<double>({2, 4}), zeros<double>({3, 3})}, 0.5);
             },
             "targets [3, 3]"),
         bad_use<ShapeError>(
             [] {
               sample_loss_of(normal({4, 3}, 1), some_set(),
                              {zeros<double>({2, 4}), zeros<double>({2, 3}), zeros<double>({3})}, 0.5);
             },
             "weights [3]"),
         bad_use<ShapeError>(
             [] {
               sample_loss_of(normal({4, 3}, 1), some_set(), {zeros<double>({2, 4}), zeros<double>({2, 2})}, 0.5);
             },
             "[2, 2]"),
         bad_use<ValueError>(
             [] {
               random_placeholders(zeros({0, 4}), 3, uniform_target(2), Random(1));
             },
             "no items"),
         bad_use<ValueError>([] { random_placeholders(Tensor<float>(), 3, uniform_target(2), Random(1)); }, "no items"),
         bad_use<ValueError>(
             [] {
               random_placeholders(zeros({2, 4}), 0, uniform_target(2), Random(1));
             },
             "count is 0"),
         bad_use<ValueError>(
             [] {
               random_placeholders(zeros({2, 4}), 1, ones({2}), Random(1));
             },
             "adds up to 2"),
         bad_use<ValueError>(
             [] {
               random_placeholders(zeros({2, 4}), 1, tensor<float>({2, -1}), Random(1));
             },
             "gives a class -1"),
         bad_use<ShapeError>(
             [] {
               random_placeholders(zeros({2, 4}), 1, ones({1, 2}), Random(1));
             },
             "[1, 2]"),
         bad_use<ValueError>(
             [] {
               open_set_placeholders(zeros({2, 4}), 1, 0, Random(1));
             },
             "classes is 0"),
         bad_use<ValueError>(
             [] {
               open_set_loss(Scores<double>{normal({4, 3}, 1)}, some_set(), zeros<double>({0, 4}), 3, {}, Context());
             },
             "no items"),
         bad_use<ValueError>(
             [] {
               open_set_loss(Scores<double>{normal({4, 3}, 1)}, some_set(), some_set().x, 3, {.weight = -1}, Context());
             },
             "weight is -1"),
         bad_use<ValueError>(
             [] {
               open_set_loss(Scores<double>{normal({4, 3}, 1)}, some_set(), some_set().x, 3, {.count = -1}, Context());
             },
             "count is -1"),
         bad_use<ValueError>([] { placeholder_ratio(0, 0); }, "0 items"),
         bad_use<ValueError>([] { uniform_target(0); }, "classes is 0"),
         bad_use<ValueError>([] { prior_target(zeros<std::int64_t>({0}), 3); }, "no labels"),
         bad_use<IndexError>(
             [] {
               prior_target(tensor<std::int64_t>({0, 3}), 3);
             },
             "3")},
    .properties =
        {{"placeholders of the inputs' own distribution are label smoothing by rho (catalogue P2.1)",
          [] {
            const LabelledSet<double> set = tabular_set();
            const auto placeholders = same_inputs(set, uniform_target<double>(3));
            for (const double rho : {0.1, 0.5}) {
              const auto ours = [&](const Numbers& z) { return sample_loss_of(z, set, placeholders, rho); };
              const auto smoothed = [&](const Numbers& z) {
                return cross_entropy(matmul(set.x, z), set.y, {.label_smoothing = rho});
              };
              const auto [a, slope_a] = value_and_grad(ours, normal({4, 3}, 2));
              const auto [b, slope_b] = value_and_grad(smoothed, normal({4, 3}, 2));
              CHECK(std::abs(a.item() - b.item()) < 1e-14);
              CHECK(gap(slope_a, slope_b) < 1e-15);
            }
          }},
         {"the optimum answers (1 - rho) p(y | x) + rho q; a uniform q changes no answer, another one does",
          [] {
            const LabelledSet<double> set = tabular_set();
            const Numbers p = tabular_answers();
            for (const Numbers& q : {uniform_target<double>(3), tensor<double>({0.05, 0.05, 0.9})}) {
              const double rho = 0.4;
              const auto placeholders = same_inputs(set, q);
              const auto loss = [&](const Scores<double>& m) {
                return sample_loss(m, set, placeholders, {.rho = rho}, Context());
              };
              const Scores<double> best =
                  descend(loss, Scores<double>{zeros<double>({4, 3})}, {.alpha = 8, .steps = 3000});
              const Numbers answer = softmax(best.weight), expected = (1 - rho) * p + rho * q;
              CHECK(gap(answer, expected) < 1e-9);
              CHECK(same_bits(argmax(answer, 1), argmax(p, 1)) == (q.at({0}) > 0.1));
            }
          }},
         {"with rho = M / (N + M) the mean over all items; weights multiply",
          [] {
            const Scores<double> net{normal({4, 3}, 3)};
            const LabelledSet<double> set = some_set();
            PlaceholderSamples<double> samples =
                random_placeholders(normal({5, 4}, 2), 7, tensor<double>({0.5, 0.2, 0.3}), Random(4));
            const double rho = placeholder_ratio(6, 7);
            CHECK(rho == 7.0 / 13);
            const Numbers joined = concat<double>({set.x, samples.x}),
                          targets = concat<double>({one_hot<double>(set.y, 3), samples.targets});
            CHECK(sample_loss_of(net.weight, set, samples, rho).item() ==
                  Approx(cross_entropy(net(joined), targets).item()).epsilon(1e-14));
            samples.weights = tensor<double>({0, 0, 0, 7, 0, 0, 0});
            const double only = cross_entropy(net(slice(samples.x, 0, 3, 4)), slice(samples.targets, 0, 3, 4)).item();
            CHECK(sample_loss_of(net.weight, set, samples, 0.25).item() ==
                  Approx(0.75 * cross_entropy(net(set.x), set.y).item() + 0.25 * only).epsilon(1e-14));
          }},
         {"at rho or eta 0 the plain loss bit for bit, and no number is drawn; otherwise the first draws are the same",
          [] {
            const LabelledSet<double> set = some_set();
            const auto samples = same_inputs(set, uniform_target<double>(3));
            std::vector<Random> drawn;
            const auto run = [&](const auto& loss) {
              drawn.clear();
              Context context(Phase::training, Random(8));
              return value_and_grad(
                  [&](const Scores<double>& m) {
                    const auto noisy = [&](const Numbers& x, Context& c) {
                      drawn.push_back(c.stream("dropout"));
                      return m(x) * (1 + 0.1 * randn<double>({x.size(0), 3}, drawn.back()));
                    };
                    return loss(noisy, context);
                  },
                  Scores<double>{normal({4, 3}, 3)});
            };
            const auto [value, slope] =
                run([&](const auto& m, Context& c) { return cross_entropy(m(set.x, c), set.y); });
            const std::vector<Random> plain = drawn;
            const auto [a, slope_a] =
                run([&](const auto& m, Context& c) { return sample_loss(m, set, samples, {.rho = 0}, c); });
            CHECK(drawn == plain);
            const auto [b, slope_b] =
                run([&](const auto& m, Context& c) { return open_set_loss(m, set, set.x, 3, {.weight = 0}, c); });
            CHECK(drawn == plain);
            CHECK(same_bits(a, value));
            CHECK(same_bits(sample_loss_of(normal({4, 3}, 3), set, {}, 0),
                            cross_entropy(matmul(set.x, normal({4, 3}, 3)), set.y)));
            CHECK(same_bits(b, value));
            CHECK(same_bits(slope_a.weight, slope.weight));
            CHECK(same_bits(slope_b.weight, slope.weight));
            run([&](const auto& m, Context& c) { return sample_loss(m, set, samples, {.rho = 0.5}, c); });
            REQUIRE(drawn.size() == 2);
            CHECK(drawn[0] == plain[0]);
            CHECK_FALSE(drawn[1] == plain[0]);
          }},
         {"open-set labels: their mean over all draws is the uniform target; they are redrawn at every call",
          [] {
            const Numbers x = normal({2, 4}, 5);
            const auto loss_to = [&](const Numbers& targets) {
              return value_and_grad(
                  [&](const Numbers& w) {
                    return sample_loss_of(w, some_set(), {x, targets}, 0.5);
                  },
                  normal({4, 3}, 3));
            };
            double value = 0;
            Numbers slope = zeros<double>({4, 3});
            for (Index a = 0; a < 3; ++a)
              for (Index b = 0; b < 3; ++b) {
                const auto [v, s] = loss_to(one_hot<double>(tensor<std::int64_t>({a, b}), 3));
                value += v.item() / 9;
                slope = slope + s / 9.0;
              }
            const auto [uniform, uniform_slope] = loss_to(full<double>({2, 3}, 1.0 / 3));
            CHECK(value == Approx(uniform.item()).epsilon(1e-14));
            CHECK(gap(slope, uniform_slope) < 1e-15);

            const auto noise = open_set_placeholders(normal({50, 4}, 1), 9000, 3, Random(2));
            double chi = 0;
            const Numbers counts = sum(noise.targets, {0});
            for (const double count : host(counts)) chi += std::pow(count - 3000, 2) / 3000;
            CHECK(chi < 20);  // two degrees of freedom: exceeded once in 20000
            CHECK(gap(sum(noise.targets, {1}), ones<double>({9000})) == 0);

            Context context(Phase::training, Random(4));
            const auto call = [&] {
              return open_set_loss(Scores<double>{normal({4, 3}, 3)}, some_set(), x, 3, {}, context).item();
            };
            const double first = call();
            CHECK(first != call());
            Context again(Phase::training, Random(4));
            CHECK(first == open_set_loss(Scores<double>{normal({4, 3}, 3)}, some_set(), x, 3, {}, again).item());
          }},
         {"the authors' form, loss + eta times the loss of the random labels",
          [] {
            const Scores<double> net{normal({4, 3}, 3)};
            const LabelledSet<double> set = some_set();
            Context context(Phase::training, Random(4)), copy = context;
            const auto noise = open_set_placeholders(normal({5, 4}, 2), 8, 3, copy.stream("open_set"));
            const double expected = cross_entropy(net(set.x), set.y).item() +
                                    3 * cross_entropy(net(noise.x), argmax(noise.targets, 1)).item();
            CHECK(open_set_loss(net, set, normal({5, 4}, 2), 3, {.weight = 3, .count = 8}, context).item() ==
                  Approx(expected).epsilon(1e-14));
          }},
         {"every unlabelled item is drawn as often as any other; the prior is that of the labels",
          [] {
            const auto drawn =
                random_placeholders(reshape(arange<double>(7), {7, 1}), 21, uniform_target<double>(2), Random(1));
            std::vector<int> counts(7);
            for (const double item : host(drawn.x)) ++counts[static_cast<std::size_t>(item)];
            CHECK(counts == std::vector<int>(7, 3));
            CHECK(gap(prior_target<double>(tensor<std::int64_t>({0, 2, 2, 2}), 4),
                      tensor<double>({0.25, 0, 0.75, 0})) == 0);
          }}},
}});

// ---- Adversarial placeholders
// ----------------------------------------------------------------------------------------
/// The logistic loss of each item, ln(1 + e^(-y w.x)), y -1 or 1.
Numbers logistic(const Numbers& x, const Numbers& w, const Numbers& y) {
  return softplus(-(y * reshape(matmul(x, reshape(w, {w.count(), 1})), {x.size(0)})));
}
Numbers signs(Index count) {
  return generate({count}, [](Index i) { return i % 2 == 0 ? 1.0 : -1.0; });
}
const AdversarialOptions kOneStep{.eps = 0.25, .alpha = 0.25, .steps = 1, .random_start = false};
Numbers move_of(const AdversarialOptions& o, const Numbers& x = normal({4, 3}, 1)) {
  return adversarial_points([](const Numbers& z) { return sum(square(z)); }, x, Random(1), o);
}
/// A model of two layers: tanh between them.
template <class T>
struct Curved {
  Tensor<T> weight;
  GRAFT_FIELDS(weight)
  Tensor<T> operator()(const Tensor<T>& x) const { return tanh(matmul(x, weight)); }
};

const bool adversarial_row = add_method_rows({{
    .name = "adversarial placeholders",
    .header = "graft/placeholder/adversarial.hpp",
    .paper = "Goodfellow, Shlens, Szegedy, Explaining and harnessing adversarial examples, ICLR 2015; Madry et al., "
             "Towards deep learning models resistant to adversarial attacks, ICLR 2018; Miyato, Maeda, Koyama, Ishii, "
             "Virtual adversarial training, TPAMI 2018",
    .functions = {"adversarial_points", "adversarial_placeholders", "adversarial_feature_loss",
                  "virtual_adversarial_points", "virtual_adversarial_loss"},
    .use = "sample_loss(net, batch, adversarial_placeholders(net, batch, {}, context), {.rho = 0.5}, context)",
    .run =
        [](const Random& random) {
          const Linear<float> net(64, 10, random);
          const LabelledSet<float> set{randn<float>({80, 64}, random.stream("x")),
                                       generate({80}, [](Index i) { return i % 10; })};
          Context context(Phase::training, random);
          return concat<float>({adversarial_placeholders(net, set, {}, context).x,
                                virtual_adversarial_points(net, set.x, {}, context).x});
        },
    .loss =
        [](const Numbers& x) {
          const BodyHead model{Curved<double>{reshape(slice(x, 0, 0, 12), {4, 3})},
                               Scores<double>{reshape(slice(x, 0, 12, 21), {3, 3})}};
          return adversarial_feature_loss(model, some_set(), kOneStep, Context());
        },
    .loss_at = normal({21}, 6),
    .errors =
        {bad_use<ValueError>([] { move_of({.eps = -1}); }, "eps is -1"),
         bad_use<ValueError>([] { move_of({.alpha = kNaN}); }, "alpha is nan"),
         bad_use<ValueError>([] { move_of({.steps = -1}); }, "steps is -1"),
         bad_use<ValueError>([] { move_of({.low = 1, .high = 0}); }, "1 to 0"),
         bad_use<ValueError>([] { move_of({.low = 0, .high = 1}, full<double>({2}, 1.5)); }, "an input is 1.5"),
         bad_use<ValueError>([] { move_of({}, full<double>({2}, kInfinity)); }, "an input is inf"),
         bad_use<ValueError>(
             [] {
               adversarial_points([](const Numbers& z) { return sum(log(z)); }, zeros<double>({2}), Random(1),
                                  {.random_start = false});
             },
             "not finite at step 0"),
         bad_use<IndexError>(
             [] {
               adversarial_placeholders(Scores<double>{normal({4, 2}, 1)}, some_set(), {}, Context());
             },
             "label 2"),
         bad_use<IndexError>(
             [] {
               adversarial_feature_loss(BodyHead{Curved<double>{normal({4, 3}, 1)}, Scores<double>{normal({3, 2}, 1)}},
                                        some_set(), {}, Context());
             },
             "label 2"),
         bad_use<ValueError>(
             [] {
               virtual_adversarial_points(Scores<double>{normal({4, 3}, 1)}, some_set().x, {.power_steps = 0},
                                          Context());
             },
             "power_steps is 0"),
         bad_use<ValueError>(
             [] {
               virtual_adversarial_loss(Scores<double>{normal({4, 3}, 1)}, some_set().x, {.eps = kInfinity}, Context());
             },
             "eps is inf"),
         bad_use<ShapeError>(
             [] {
               virtual_adversarial_points(Scores<double>{normal({4, 3}, 1)}, zeros<double>({0, 4}), {}, Context());
             },
             "[0, 4]"),
         bad_use<ValueError>(
             [] {
               virtual_adversarial_points(Scores<double>{normal({4, 3}, 1)}, full<double>({1, 4}, kNaN), {}, Context());
             },
             "not finite")},
    .properties =
        {{"a linear logistic model: one step reaches the worst case ln(1 + e^(-y w.x + eps |w|_1)) (catalogue P2.2)",
          [] {
            const Numbers x = normal({9, 5}, 1), w = normal({5}, 2), y = signs(9);
            const auto loss = [&](const Numbers& z) { return sum(logistic(z, w, y)); };
            const double l1 = sum(abs(w)).item();
            const Numbers margin = y * reshape(matmul(x, reshape(w, {5, 1})), {9});
            for (const double eps : {0.25, 1.0, 8.0}) {
              const Numbers worst = softplus(eps * l1 - margin);
              const AdversarialOptions one{.eps = eps, .alpha = eps, .steps = 1, .random_start = false};
              const Numbers moved = adversarial_points(loss, x, Random(1), one);
              CHECK(gap(logistic(moved, w, y), worst) < 1e-13 * (1 + eps * l1));
              // Small steps from anywhere reach the same corner, and no step leaves it.
              const AdversarialOptions many{.eps = eps, .alpha = eps / 8, .steps = 20};
              CHECK(gap(logistic(adversarial_points(loss, x, Random(3), many), w, y), worst) < 1e-13 * (1 + eps * l1));
            }
          }},
         {"never further than eps, never out of the range; eps 0 is x itself; without a slope nothing moves",
          [] {
            const Numbers x = rand<double>({40, 6}, Random(1));
            const AdversarialOptions o{.eps = 0.25, .alpha = 0.125, .steps = 3, .low = 0, .high = 1};
            const auto up = [](const Numbers& z) { return sum(square(z - 0.5)); };
            const Numbers moved = adversarial_points(up, x, Random(2), o);
            CHECK(max(abs(moved - x)).item() <= 0.25 + 1e-15);
            CHECK(max(abs(moved - x)).item() > 0.24);
            CHECK(min(moved).item() >= 0);
            CHECK(max(moved).item() <= 1);
            CHECK(same_bits(move_of({.eps = 0}), normal({4, 3}, 1)));
            const auto flat = [](const Numbers& z) { return sum(0.0 * z); };
            CHECK(same_bits(adversarial_points(flat, x, Random(2), kOneStep), x));
            const Numbers start = adversarial_points(flat, x, Random(2), {.eps = 0.25});
            CHECK(max(abs(start - x)).item() <= 0.25 + 1e-15);
            CHECK(std::abs(mean(start - x).item()) < 5 * 0.25 / std::sqrt(3 * 240));
            CHECK(mean(square(start - x)).item() == Approx(0.0625 / 3).epsilon(0.3));
          }},
         {"features: closed form of a linear head, and the gradient passes to the body",
          [] {
            const LabelledSet<double> set{normal({6, 4}, 1), generate({6}, [](Index i) { return i % 2; })};
            const Numbers v = normal({3, 2}, 3);
            const double eps = kOneStep.eps;
            const auto ours = [&](const Curved<double>& body) {
              return adversarial_feature_loss(BodyHead{body, Scores<double>{v}}, set, kOneStep, Context());
            };
            const auto closed = [&](const Curved<double>& body) {
              const Numbers w = reshape(slice(v, 1, 1, 2) - slice(v, 1, 0, 1), {3});
              const Numbers y = generate({6}, [](Index i) { return i % 2 == 0 ? -1.0 : 1.0; });
              const Numbers margin = y * reshape(matmul(body(set.x), reshape(w, {3, 1})), {6});
              return mean(softplus(eps * sum(abs(w)) - margin));
            };
            const Curved<double> body{normal({4, 3}, 2)};
            const auto [a, slope_a] = value_and_grad(ours, body);
            const auto [b, slope_b] = value_and_grad(closed, body);
            CHECK(a.item() == Approx(b.item()).epsilon(1e-14));
            CHECK(gap(slope_a.weight, slope_b.weight) < 1e-14);
            CHECK(max(abs(slope_a.weight)).item() > 0.01);
            const auto plain = [&](const Curved<double>& m) { return cross_entropy(matmul(m(set.x), v), set.y); };
            const auto off = [&](const Curved<double>& m) {
              return adversarial_feature_loss(BodyHead{m, Scores<double>{v}}, set, {.eps = 0}, Context());
            };
            CHECK(same_bits(off(body), plain(body)));
            CHECK(same_bits(grad(off, body).weight, grad(plain, body).weight));
          }},
         {"targets are the labels; the search draws nothing of the caller's and leaves no update",
          [] {
            const LabelledSet<double> set = some_set();
            const Buffer<double> running{zeros<double>({})};
            const auto model = [&](const Numbers& x, Context& c) {
              c.average(running, mean(x), 0.1);
              return matmul(x, normal({4, 3}, 2)) * (1 + 0.1 * randn<double>({x.size(0), 3}, c.stream("dropout")));
            };
            Context context(Phase::training, Random(1)), untouched = context;
            const auto found = adversarial_placeholders(model, set, {}, context);
            virtual_adversarial_points(model, set.x, {}, context);
            CHECK(context.updates().empty());
            CHECK(context.stream("dropout") == untouched.stream("dropout"));
            CHECK(same_bits(found.targets, one_hot<double>(set.y, 3)));
            CHECK(max(abs(found.x - set.x)).item() <= 8.0 / 255 + 1e-15);
          }},
         {"virtual: of two classes the direction of the weights' difference, and its divergence",
          [] {
            const Numbers x = 0.3 * normal({5, 4}, 1), v = normal({4, 2}, 2);
            const Numbers w = reshape(slice(v, 1, 1, 2) - slice(v, 1, 0, 1), {4});
            const double eps = 0.7, length = norm(w).item();
            const auto moved =
                virtual_adversarial_points(Scores<double>{v}, x, {.eps = eps}, Context(Phase::training, Random(3)));
            CHECK(gap(moved.targets, softmax(matmul(x, v))) < 1e-15);
            double expected = 0;
            for (Index i = 0; i < 5; ++i) {
              const Numbers r = reshape(slice(moved.x - x, 0, i, i + 1), {4});
              const double side = sum(r * w).item() > 0 ? 1 : -1;
              CHECK(gap(r, side * eps / length * w) < 1e-12);
              const double z = sum(reshape(slice(x, 0, i, i + 1), {4}) * w).item(), p = 1 / (1 + std::exp(-z)),
                           q = 1 / (1 + std::exp(-z - side * eps * length));
              expected += (p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q))) / 5;
            }
            CHECK(virtual_adversarial_loss(Scores<double>{v}, x, {.eps = eps}, Context(Phase::training, Random(3)))
                      .item() == Approx(expected).epsilon(1e-12));
          }},
         {"virtual: many power steps find the first eigenvector of J' (diag p - p p') J, item by item",
          [] {
            const Numbers x = 0.3 * normal({3, 4}, 1), v = normal({4, 3}, 2);
            const Scores<double> net{v};
            const VirtualAdversarialOptions o{.eps = 1, .power_steps = 200};
            const auto moved = virtual_adversarial_points(net, x, o, Context(Phase::training, Random(3)));
            for (Index i = 0; i < 3; ++i) {
              const Numbers p = reshape(slice(softmax(net(x)), 0, i, i + 1), {3, 1});
              const Numbers fisher = eye<double>(3) * p - matmul(p, p, {.transpose_b = true});
              const auto eigen = symmetric_eigen(matmul(matmul(v, fisher), v, {.transpose_b = true}));
              const Numbers top = reshape(slice(eigen.vectors, 1, 3, 4), {4}),
                            r = reshape(slice(moved.x - x, 0, i, i + 1), {4});
              CHECK(std::abs(sum(top * r).item()) == Approx(1).epsilon(1e-9));
            }
            const auto alone =
                virtual_adversarial_points(net, slice(x, 0, 0, 1), o, Context(Phase::training, Random(3)));
            CHECK(gap(alone.x, slice(moved.x, 0, 0, 1)) < 1e-9);
          }},
         {"virtual: the gradient is that of the soft cross-entropy; small curvatures move as far; none, not at all",
          [] {
            const Numbers x = normal({4, 4}, 1);
            const VirtualAdversarialOptions o{.eps = 0.5};
            const Scores<double> net{normal({4, 3}, 2)};
            const auto at = [&](const Scores<double>& m) {
              return virtual_adversarial_loss(m, x, o, Context(Phase::training, Random(3)));
            };
            const auto moved = virtual_adversarial_points(net, x, o, Context(Phase::training, Random(3)));
            const auto soft = [&](const Scores<double>& m) { return cross_entropy(m(moved.x), moved.targets); };
            CHECK(gap(grad(at, net).weight, grad(soft, net).weight) < 1e-14);
            CHECK(at(net).item() > 0);
            const Scores<double> faint{1e-9 * net.weight};
            CHECK(gap(norm(virtual_adversarial_points(faint, x, o, Context()).x - x, {1}), full<double>({4}, 0.5)) <
                  1e-12);
            const Scores<double> blind{zeros<double>({4, 3})};
            CHECK(same_bits(virtual_adversarial_points(blind, x, o, Context()).x, x));
            CHECK(virtual_adversarial_loss(net, x, {.eps = 0}, Context()).item() == Approx(0).margin(1e-15));
          }}},
}});

// ---- Distilled placeholders
// ------------------------------------------------------------------------------------------
Numbers distilled(const Numbers& student, const Numbers& teacher, double tau) {
  return distillation_loss(student, teacher, {.tau = tau});
}

const bool distillation_row = add_method_rows({{
    .name = "distilled placeholders",
    .header = "graft/placeholder/distillation.hpp",
    .paper =
        "Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, 2015; Romero et al., FitNets, ICLR 2015",
    .functions = {"distillation_loss", "distilled_loss", "distilled_placeholders", "slot_distillation_loss"},
    .use = "distilled_loss(net(x), teacher(x), labels, {.tau = 2})",
    .run =
        [](const Random& random) {
          const Tensor<float> teacher = randn<float>({120, 40}, random.stream("teacher"));
          const auto labels = generate({120}, [](Index i) { return i % 40; });
          return grad(
              [&](const Tensor<float>& z) {
                return distilled_loss(z, teacher, labels) + slot_distillation_loss(z, teacher);
              },
              randn<float>({120, 40}, random));
        },
    .loss =
        [](const Numbers& x) {
          return distilled_loss(reshape(x, {4, 3}), normal({4, 3}, 2), tensor<std::int64_t>({0, 1, 2, 0}),
                                {.tau = 1.5, .rho = 0.7});
        },
    .loss_at = normal({12}, 3),
    .errors = {bad_use<ShapeError>(
                   [] {
                     distilled(zeros<double>({2, 3}), zeros<double>({2, 4}), 1);
                   },
                   "[2, 4]"),
               bad_use<ShapeError>(
                   [] {
                     distilled(zeros<double>({0, 3}), zeros<double>({0, 3}), 1);
                   },
                   "[0, 3]"),
               bad_use<ValueError>(
                   [] {
                     distilled(zeros<double>({2, 3}), zeros<double>({2, 3}), 0);
                   },
                   "tau is 0"),
               bad_use<ValueError>(
                   [] {
                     distilled(zeros<double>({2, 3}), zeros<double>({2, 3}), kNaN);
                   },
                   "tau is nan"),
               bad_use<ValueError>(
                   [] {
                     distilled_loss(zeros({2, 3}), zeros({2, 3}), zeros<std::int64_t>({2}), {.rho = 1.5});
                   },
                   "rho is 1.5"),
               bad_use<IndexError>(
                   [] {
                     distilled_loss(zeros({2, 3}), zeros({2, 3}), full<std::int64_t>({2}, 3));
                   },
                   "label 3"),
               bad_use<ValueError>(
                   [] {
                     distilled_placeholders(zeros({0, 3}), zeros({2, 3}));
                   },
                   "no placeholder samples"),
               bad_use<ShapeError>(
                   [] {
                     distilled_placeholders(zeros({4, 3}), zeros({2, 3}));
                   },
                   "[4, 3]"),
               bad_use<ShapeError>(
                   [] {
                     slot_distillation_loss(zeros({2, 3}), zeros({2, 4}));
                   },
                   "[2, 4]")},
    .properties =
        {{"a student equal to the teacher has loss and gradient 0, whatever tau; others have more",
          [] {
            const Numbers z = normal({5, 4}, 1);
            for (const double tau : {0.1, 1.0, 20.0}) {
              const auto [value, slope] = value_and_grad([&](const Numbers& s) { return distilled(s, z, tau); }, z);
              CHECK(value.item() == 0);
              CHECK(max(abs(slope)).item() < 1e-15 * (1 + tau));
              CHECK(distilled(normal({5, 4}, 2), z, tau).item() > 0);
            }
            CHECK(distilled(z + 1e6, z, 2).item() < 1e-15);  // a common part of the logits says nothing
          }},
         {"the gradient is tau (softmax(z_S / tau) - softmax(z_T / tau)) / items",
          [] {
            const Numbers s = normal({5, 4}, 1), t = normal({5, 4}, 2);
            for (const double tau : {0.5, 1.0, 8.0}) {
              const Numbers expected = tau / 5 * (softmax(s / tau) - softmax(t / tau));
              CHECK(gap(grad([&](const Numbers& z) { return distilled(z, t, tau); }, s), expected) < 1e-14);
            }
          }},
         {"for a large tau the gradient is (z_S - z_T less their means) / classes, to order 1 / tau (catalogue P2.3)",
          [] {
            const Numbers s = normal({1, 4}, 1), t = normal({1, 4}, 2);
            const Numbers difference = s - t, limit = (difference - mean(difference)) / 4.0;
            double last = 0;
            for (const double tau : {1e1, 1e2, 1e3, 1e4}) {
              const double error = gap(grad([&](const Numbers& z) { return distilled(z, t, tau); }, s), limit);
              CHECK(error < 2 / tau);
              if (last > 0) CHECK(error == Approx(last / 10).epsilon(0.3));
              last = error;
            }
          }},
         {"rho 0 and 1 leave one term, bit for bit; the teacher gets no gradient",
          [] {
            const Numbers s = normal({3, 4}, 1), t = normal({3, 4}, 2);
            const Labels y = tensor<std::int64_t>({0, 3, 1});
            const auto at = [&](double rho) {
              return value_and_grad([&](const Numbers& z) { return distilled_loss(z, t, y, {.rho = rho}); }, s);
            };
            const auto [hard, hard_slope] = value_and_grad([&](const Numbers& z) { return cross_entropy(z, y); }, s);
            const auto [soft, soft_slope] = value_and_grad([&](const Numbers& z) { return distilled(z, t, 2); }, s);
            CHECK(same_bits(at(0).first, hard));
            CHECK(same_bits(at(0).second, hard_slope));
            CHECK(same_bits(at(1).first, soft));
            CHECK(same_bits(at(1).second, soft_slope));
            CHECK(at(0.25).first.item() == Approx(0.75 * hard.item() + 0.25 * soft.item()).epsilon(1e-14));
            CHECK_THROWS(grad([&](const Numbers& z) { return distilled(s, z, 2); }, t));
          }},
         {"as placeholders: the cross-entropy to the softened answers, the divergence and the teacher's entropy",
          [] {
            const Numbers x = normal({5, 4}, 1), t = normal({5, 3}, 2);
            const Scores<double> net{normal({4, 3}, 3)};
            const auto samples = distilled_placeholders(x, t, {.tau = 1});
            const double entropy = -sum(samples.targets * log(samples.targets)).item() / 5;
            const LabelledSet<double> set = some_set();
            CHECK(
                sample_loss(net, set, samples, {.rho = 0.5}, Context()).item() ==
                Approx(0.5 * cross_entropy(net(set.x), set.y).item() + 0.5 * (distilled(net(x), t, 1).item() + entropy))
                    .epsilon(1e-13));
          }},
         {"a class that the teacher rules out counts nothing",
          [] {
            const Numbers t = tensor<double>({{0.5, -kInfinity, 0.1}}), s = tensor<double>({{0.3, -0.2, 0.4}});
            const auto [value, slope] = value_and_grad([&](const Numbers& z) { return distilled(z, t, 2); }, s);
            const double q = 1 / (1 + std::exp(-0.2)), total = std::exp(0.15) + std::exp(-0.1) + std::exp(0.2);
            CHECK(value.item() == Approx(4 * (q * std::log(q / (std::exp(0.15) / total)) +
                                              (1 - q) * std::log((1 - q) / (std::exp(0.2) / total))))
                                      .epsilon(1e-13));
            CHECK(std::isfinite(sum(slope).item()));
          }},
         {"slots: 2 (p_S - p_T) / numbers, and 0 for equal ones",
          [] {
            const Numbers s = normal({2, 3, 4}, 1), t = normal({2, 3, 4}, 2);
            CHECK(gap(grad([&](const Numbers& p) { return slot_distillation_loss(p, t); }, s), (s - t) / 12.0) < 1e-15);
            CHECK(slot_distillation_loss(s, s).item() == 0);
            CHECK_THROWS(grad([&](const Numbers& p) { return slot_distillation_loss(s, p); }, t));
          }}},
}});

// ---- Self-supervised placeholders
// ------------------------------------------------------------------------------------
/// `each` items around each of three far centres, in a plane.
Numbers three_clouds(Index each, double offset = 0) {
  const Numbers centres = tensor<double>({{0, 0}, {2000, 0}, {0, 3000}});
  return repeat(centres, each) + normal({3 * each, 2}, 4) + offset;
}
/// The cost of labels with the clusters' means, by plain loops.
double cost_of(const Numbers& x, const Labels& labels, Index clusters) {
  double cost = 0;
  for (Index k = 0; k < clusters; ++k)
    for (Index w = 0; w < x.size(1); ++w) {
      double sum = 0, count = 0, squares = 0;
      for (Index i = 0; i < x.size(0); ++i)
        if (labels.at({i}) == k) {
          sum += x.at({i, w});
          ++count;
        }
      for (Index i = 0; i < x.size(0); ++i)
        if (labels.at({i}) == k) squares += std::pow(x.at({i, w}) - sum / count, 2);
      cost += squares;
    }
  return cost;
}
double pair_loss(const Numbers& x, double scale) {
  const auto same = [](const Numbers& items) { return items; };
  const auto view = [](const Numbers& items, const Random&) { return items; };
  return contrastive_pair_loss(same, x, view, scale, Context()).item();
}
/// Two numbers an item are made by a random linear map.
template <class T>
Tensor<T> noisy(const Tensor<T>& x, const Random& random) {
  return x + T(0.1) * randn<T>(x.shape(), random);
}

const bool self_supervised_row = add_method_rows({{
    .name = "self-supervised placeholders",
    .header = "graft/placeholder/self_supervised.hpp",
    .paper = "He et al., Masked autoencoders are scalable vision learners, CVPR 2022; Gidaris, Singh, Komodakis, ICLR "
             "2018; van den Oord, Li, Vinyals, 2018; Caron et al., Deep clustering, ECCV 2018; Baldi, Hornik, Neural "
             "networks and principal component analysis, 1989",
    .functions = {"hide_places", "hidden_places_loss", "rotation_placeholders", "contrastive_pair_loss",
                  "cluster_placeholders", "LinearAutoencoder", "kmeans", "HiddenPlaces", "KMeans"},
    .use = "sample_loss(net, batch, cluster_placeholders(items, features, 10, random), {}, context)",
    .run =
        [](const Random& random) {
          const Tensor<float> x = randn<float>({120, 32}, random.stream("x"));
          const HiddenPlaces<float> hidden = hide_places(x, random);
          const auto clusters = cluster_placeholders(x, x, 6, random);
          const LinearAutoencoder<float> coder(32, 4, random);
          const auto loss = [&](const Linear<float>& net) {
            Context context(Phase::training, random);
            return hidden_places_loss(net(hidden.seen), x, hidden.hidden) +
                   contrastive_pair_loss(net, x, noisy<float>, 5, context) +
                   cross_entropy(slice(net(x), 1, 0, 6), clusters.targets) + coder.loss(net(x));
          };
          return to_vector(grad(loss, Linear<float>(32, 32, random)));
        },
    .loss =
        [](const Numbers& x) {
          const Numbers items = normal({5, 4}, 1);
          const HiddenPlaces<double> hidden = hide_places(items, Random(2), {.rate = 0.5});
          LinearAutoencoder<double> coder;
          coder.encoder = reshape(slice(x, 0, 0, 8), {2, 4});
          coder.decoder = reshape(slice(x, 0, 8, 16), {4, 2});
          const Scores<double> net{reshape(slice(x, 0, 0, 16), {4, 4})};
          return coder.loss(items) + hidden_places_loss(net(hidden.seen), items, hidden.hidden) +
                 contrastive_pair_loss(net, items, noisy<double>, 3, Context());
        },
    .loss_at = normal({16}, 3),
    .errors = {bad_use<ShapeError>([] { hide_places(zeros({3}), Random(1)); }, "[3]"),
               bad_use<ValueError>(
                   [] {
                     hide_places(zeros({3, 4}), Random(1), {.rate = 1.5});
                   },
                   "rate is 1.5"),
               bad_use<ValueError>(
                   [] {
                     hide_places(zeros({3, 4}), Random(1), {.fill = kNaN});
                   },
                   "fill is nan"),
               bad_use<ShapeError>(
                   [] {
                     hidden_places_loss(zeros({3, 4}), zeros({3, 4}), zeros<bool>({3, 3}));
                   },
                   "[3, 3]"),
               bad_use<ShapeError>(
                   [] {
                     rotation_placeholders(zeros({3, 4, 5, 1}));
                   },
                   "[3, 4, 5, 1]"),
               bad_use<ValueError>(
                   [] {
                     rotation_placeholders(zeros({0, 4, 4, 1}));
                   },
                   "no placeholder samples"),
               bad_use<ValueError>(
                   [] {
                     pair_loss(zeros<double>({2, 3}), 0);
                   },
                   "scale is 0"),
               bad_use<ShapeError>(
                   [] {
                     pair_loss(zeros<double>({0, 3}), 1);
                   },
                   "[0, 3]"),
               bad_use<ValueError>(
                   [] {
                     cluster_placeholders(zeros({2, 3}), zeros({2, 3}), 3, Random(1));
                   },
                   "3 clusters of 2 items"),
               bad_use<ShapeError>(
                   [] {
                     cluster_placeholders(zeros({3, 3}), zeros({2, 3}), 2, Random(1));
                   },
                   "[3, 3]"),
               bad_use<ValueError>(
                   [] {
                     kmeans(zeros({2, 3}), 0, Random(1));
                   },
                   "clusters is 0"),
               bad_use<ValueError>(
                   [] {
                     kmeans(zeros({2, 3}), 1, Random(1), 0);
                   },
                   "rounds is 0"),
               bad_use<ShapeError>([] { kmeans(zeros({2}), 1, Random(1)); }, "[2]"),
               bad_use<ValueError>(
                   [] {
                     kmeans(full<double>({2, 1}, kInfinity), 1, Random(1));
                   },
                   "number inf"),
               bad_use<ValueError>([] { LinearAutoencoder<float>(4, 5, Random(1)); }, "code of 5"),
               bad_use<ShapeError>(
                   [] {
                     LinearAutoencoder<float>(4, 2, Random(1)).loss(zeros({3, 5}));
                   },
                   "[3, 5]"),
               bad_use<ShapeError>(
                   [] {
                     LinearAutoencoder<float>()(zeros({3, 5}));
                   },
                   "[3, 5]")},
    .properties =
        {{"round(rate n) places of every item are hidden, whole tokens, and only they",
          [] {
            for (const Shape& shape : {Shape{50, 7}, Shape{50, 7, 3}}) {
              const Numbers items = 1 + rand<double>(shape, Random(1));
              const auto [seen, hidden] = hide_places(items, Random(2), {.rate = 0.4});
              CHECK(same_bits(count_nonzero(hidden, {1}), full<std::int64_t>({50}, 3)));
              const Tensor<bool> mask = shape.rank() == 3 ? unsqueeze(hidden, 2) : hidden;
              CHECK(same_bits(seen, where(mask, 0.0, items)));
              // Every place is hidden about as often: 50 * 3 / 7 times, 5 deviations.
              const Labels counts = count_nonzero(hidden, {0});
              for (const std::int64_t count : host(counts))
                CHECK(std::abs(static_cast<double>(count) - 150.0 / 7) < 5 * std::sqrt(50 * 3.0 / 7 * 4 / 7));
            }
          }},
         {"the loss is the mean square over what was hidden; what was seen has no gradient; at rate 0 nothing changes",
          [] {
            const Numbers items = normal({4, 6, 2}, 1), answers = normal({4, 6, 2}, 2);
            const auto [seen, hidden] = hide_places(items, Random(2), {.rate = 0.5});
            double expected = 0;
            for (Index i = 0; i < 4; ++i)
              for (Index j = 0; j < 6; ++j)
                for (Index w = 0; w < 2; ++w)
                  if (hidden.at({i, j})) expected += std::pow(answers.at({i, j, w}) - items.at({i, j, w}), 2) / 24;
            const Tensor<bool> mask = hidden;
            const auto loss = [&](const Numbers& a) { return hidden_places_loss(a, items, mask); };
            const auto [value, slope] = value_and_grad(loss, answers);
            CHECK(value.item() == Approx(expected).epsilon(1e-14));
            CHECK(max(abs(where(unsqueeze(mask, 2), 0.0, slope))).item() == 0);
            const auto none = hide_places(items, Random(2), {.rate = 0});
            CHECK(same_bits(none.seen, items));
            CHECK(hidden_places_loss(answers, items, none.hidden).item() == 0);
          }},
         {"rotation: every image in each of its turns, ln 4 for a model that cannot tell",
          [] {
            const Numbers images = rand<double>({3, 4, 4, 1}, Random(1));
            const auto samples = rotation_placeholders(images);
            CHECK(same_bits(slice(samples.x, 0, 0, 3), images));
            // A turn against the clock: the top row of the turned image is the last column, from the top.
            for (Index j = 0; j < 4; ++j) CHECK(samples.x.at({3, 0, j, 0}) == images.at({0, j, 3, 0}));
            CHECK(same_bits(argmax(samples.targets, 1), repeat(arange<std::int64_t>(4), 3)));
            CHECK(cross_entropy(zeros<double>({12, 4}), samples.targets).item() == Approx(std::log(4)).epsilon(1e-14));
          }},
         {"pairs: alone 0, all alike ln N, orthonormal ln(1 + (N - 1) e^-scale) (catalogue Z3)",
          [] {
            CHECK(pair_loss(normal({1, 4}, 1), 7) == 0);
            CHECK(pair_loss(ones<double>({5, 4}), 7) == Approx(std::log(5)).epsilon(1e-14));
            for (const double scale : {0.5, 2.0, 14.0})
              CHECK(pair_loss(3.0 * eye<double>(6), scale) == Approx(std::log1p(5 * std::exp(-scale))).margin(1e-14));
          }},
         {"pairs: the two views are drawn from streams of their own",
          [] {
            std::vector<Random> drawn;
            const auto view = [&](const Numbers& x, const Random& r) {
              drawn.push_back(r);
              return x;
            };
            Context context(Phase::training, Random(1)), untouched = context;
            contrastive_pair_loss([](const Numbers& x) { return x; }, normal({3, 2}, 1), view, 1, context);
            REQUIRE(drawn.size() == 2);
            CHECK_FALSE(drawn[0] == drawn[1]);
            CHECK(context.stream("dropout") == untouched.stream("dropout"));
          }},
         {"k-means: clouds that are far apart are told apart, also with a common part of 1e6",
          [] {
            for (std::uint64_t seed = 0; seed < 20; ++seed) {
              const KMeans<double> found = kmeans(three_clouds(15), 3, Random(seed));
              bool right = true;
              for (Index i = 0; i < 45; ++i)
                for (Index j = 0; j < 45; ++j)
                  right = right && (found.labels.at({i}) == found.labels.at({j})) == (i / 15 == j / 15);
              CHECK(right);
              CHECK(same_bits(kmeans(three_clouds(15, 1e6), 3, Random(seed)).labels, found.labels));
            }
          }},
         {"k-means: the cost never rises, and the end is a fixed point: means, and nearest centres",
          [] {
            for (std::uint64_t seed = 0; seed < 10; ++seed) {
              const Numbers x = normal({200, 3}, 20 + seed);
              const KMeans<double> found = kmeans(x, 7, Random(seed));
              REQUIRE(found.costs.size() > 3);
              for (Index r = 1; r < found.costs.size(); ++r) {
                CHECK(found.costs[r] < found.costs[r - 1]);
                // A round is a mean and an assignment: the cost lies between those of the means before and after.
                const KMeans<double> before = kmeans(x, 7, Random(seed), r);
                CHECK(cost_of(x, before.labels, 7) <= before.costs.back() * (1 + 1e-12));
                CHECK(found.costs[r] <= cost_of(x, before.labels, 7) * (1 + 1e-12));
              }
              CHECK(gap(found.centres, prototypes(x, found.labels, 7)) < 1e-13);
              CHECK(same_bits(argmin(squared_distances(x, found.centres), 1), found.labels));
              CHECK(same_bits(kmeans(x, 7, Random(seed)).labels, found.labels));
            }
          }},
         {"k-means: no cluster stays empty, ties go to the lower number",
          [] {
            const KMeans<double> alike = kmeans(full<double>({5, 2}, 3.0), 3, Random(1));
            CHECK(alike.costs.back() == 0);
            for (Index k = 0; k < 3; ++k) CHECK(sum(alike.labels == k).item() > 0);
            const KMeans<double> all = kmeans(normal({6, 2}, 1), 6, Random(1));
            CHECK(all.costs.back() == 0);
            for (Index k = 0; k < 6; ++k) CHECK(sum(all.labels == k).item() == 1);
            // Three centres at 0: all items go to the first, then the others take the furthest, the 9 and the other 9.
            // From the means 2, 9 and 9 both of these go to the second, and the third takes the 5, 3 from the 2.
            detail::Clusters clusters(List<double>{0, 1, 5, 9, 9}, 5, 1, 3);
            CHECK(clusters.assign() == 1 + 25);
            CHECK(clusters.labels() == List<std::int64_t>{0, 0, 0, 1, 2});
            clusters.move();
            CHECK(clusters.centres() == List<double>{2, 9, 9});
            CHECK(clusters.assign() == 4 + 1);
            CHECK(clusters.labels() == List<std::int64_t>{0, 0, 2, 1, 1});
          }},
         {"k-means++: the second centre by squared distance from the first",
          [] {
            double at_one = 0, at_three = 0;
            for (std::uint64_t seed = 0; seed < 3000; ++seed) {
              detail::Clusters clusters(List<double>{0, 1, 3}, 3, 1, 2);
              clusters.start(Random(seed));
              if (clusters.centres()[0] != 0) continue;
              at_one += clusters.centres()[1] == 1;
              at_three += clusters.centres()[1] == 3;
            }
            const double all = at_one + at_three;
            CHECK(all > 800);
            CHECK(std::abs(at_one - 0.1 * all) < 5 * std::sqrt(0.09 * all));
          }},
         {"clusters as targets: the label of each item's cluster",
          [] {
            const Numbers x = three_clouds(10);
            const auto samples = cluster_placeholders(x, x, 3, Random(1));
            CHECK(same_bits(samples.targets, one_hot<double>(kmeans(x, 3, Random(1)).labels, 3)));
          }},
         {"the linear autoencoder spans the first principal components, and loses the others' variances (catalogue "
          "P2.4)",
          [] {
            const Numbers turn = svd(normal({5, 5}, 1)).u;
            for (const double offset : {0.0, 1e6}) {
              const Numbers x = matmul(normal({40, 5}, 2) * tensor<double>({3, 2, 0.6, 0.5, 0.4}), turn) + offset;
              const Numbers c = x - mean(x, {0}, true);
              const auto eigen = symmetric_eigen(matmul(c, c, {.transpose_a = true}) / 40.0);
              const Numbers top = slice(eigen.vectors, 1, 3, 5);
              const auto loss = [&](const LinearAutoencoder<double>& m) { return m.loss(x); };
              const auto trained =
                  descend(loss, LinearAutoencoder<double>(5, 2, Random(3)), {.alpha = 0.02, .steps = 3000});
              CHECK(loss(trained).item() == Approx(sum(slice(eigen.values, 0, 0, 3)).item()).epsilon(1e-6));
              // The sine of the largest principal angle is at most the norm of what sticks out.
              const Numbers spanned = svd(trained.decoder).u;
              CHECK(norm(spanned - matmul(top, matmul(top, spanned, {.transpose_a = true}))).item() < 1e-3);
            }
          }}},
}});

}  // namespace
