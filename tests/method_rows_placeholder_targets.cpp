// Rows of the method table for placeholder/: samples whose targets a teacher or the items themselves give.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/descent.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/linalg_spectral.hpp"
#include "graft/placeholder/distillation.hpp"
#include "graft/placeholder/sample_loss.hpp"
#include "graft/placeholder/self_supervised.hpp"
#include "method_table.hpp"
#include "placeholder_items.hpp"

using namespace placeholder_items;

namespace {

// ---- Distilled placeholders -----------------------------------------------------------------------------------------
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

// ---- Self-supervised placeholders -----------------------------------------------------------------------------------
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
