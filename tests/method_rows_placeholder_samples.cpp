// Rows of the method table for placeholder/: samples beside the labelled ones, drawn or searched.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/descent.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/linalg_spectral.hpp"
#include "graft/placeholder/adversarial.hpp"
#include "graft/placeholder/sample_loss.hpp"
#include "method_table.hpp"
#include "placeholder_items.hpp"

using namespace placeholder_items;

namespace {

// ---- Random and open-set placeholders -------------------------------------------------------------------------------
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
    const auto& row = kCounts[k];
    return row[c] / static_cast<double>(row[0] + row[1] + row[2]);
  });
}
PlaceholderSamples<double> same_inputs(const LabelledSet<double>& set, const Numbers& q) {
  return random_placeholders(set.x, set.x.size(0), q, Random(3));
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
            for (const double item : host(drawn.x)) ++counts[item];
            CHECK(counts == std::vector<int>(7, 3));
            CHECK(gap(prior_target<double>(tensor<std::int64_t>({0, 2, 2, 2}), 4),
                      tensor<double>({0.25, 0, 0.75, 0})) == 0);
          }}},
}});

// ---- Adversarial placeholders ---------------------------------------------------------------------------------------
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

}  // namespace
