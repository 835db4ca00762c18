// Rows of the method table for few-shot heads that let sets of embeddings act on one another: FEAT, soft k-means with
// unlabelled items, placeholders for rejection.

#include "graft/fewshot/feat.hpp"
#include "graft/fewshot/proser.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/soft_kmeans.hpp"
#include "heads_unlabelled.hpp"

using namespace graft;

namespace {

Tensor<double> protonet(const Episode<double>& e) { return ProtoNetHead()(e, Context()); }

/// For `.run`: `trained_head` and the gradient of the head's loss in training.
template <class Head>
Tensor<float> trained_by_loss(const Head& head, const Episode<float>& episode) {
  const Head gradient = grad([&](const Head& h) { return h.loss(episode, training(3)); }, head);
  return concat<float>({trained_head(head, episode), to_vector(gradient)}, 0);
}

// ---- FEAT -----------------------------------------------------------------------------------------------------------
Rows times(const Rows& x, const Tensor<double>& weight, Index first, Index rows) {
  const Rows w = rows_of(slice(weight, 0, first, first + rows));
  Rows y(x.size(), std::vector<double>(w.size()));
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t r = 0; r < w.size(); ++r)
      for (std::size_t c = 0; c < w[r].size(); ++c) y[i][r] += w[r][c] * x[i][c];
  return y;
}
/// The adaptation of a set by loops, with one head.
Rows adapted_by_hand(const Feat<double>& head, const Rows& x) {
  const Tensor<double>& weight = head.attention.in_proj_weight;
  const Index width = weight.size(1);
  const Rows q = times(x, weight, 0, width), k = times(x, weight, width, width), v = times(x, weight, 2 * width, width);
  Rows heard(x.size(), std::vector<double>(x[0].size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::vector<double> scores(x.size());
    for (std::size_t j = 0; j < x.size(); ++j)
      for (std::size_t w = 0; w < q[i].size(); ++w) scores[j] += q[i][w] * k[j][w] / std::sqrt(double(width));
    scores = softmax_of(scores);
    for (std::size_t j = 0; j < x.size(); ++j)
      for (std::size_t w = 0; w < q[i].size(); ++w) heard[i][w] += scores[j] * v[j][w];
  }
  heard = times(heard, head.attention.out_proj.weight, 0, width);
  const Rows bias = rows_of(reshape(*head.attention.out_proj.bias, {1, width}));
  for (std::size_t i = 0; i < x.size(); ++i) {
    double mean = 0, variance = 0;
    for (std::size_t w = 0; w < x[i].size(); ++w)
      mean += (heard[i][w] += x[i][w] + bias[0][w]) / static_cast<double>(width);
    for (double h : heard[i]) variance += (h - mean) * (h - mean) / static_cast<double>(width);
    for (double& h : heard[i]) h = (h - mean) / std::sqrt(variance + 1e-5);
  }
  return heard;
}
Rows scaled_logits(const Rows& x, const Rows& classes, double temperature) {
  Rows logits;
  for (const auto& item : x) {
    logits.emplace_back();
    for (const auto& c : classes) logits.back().push_back(-squared_distance(item, c) / temperature);
  }
  return logits;
}
double mean_cross_entropy(const Rows& logits, const Tensor<std::int64_t>& labels) {
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) total -= std::log(softmax_of(logits[i])[labels.span()[i]]);
  return total / static_cast<double>(logits.size());
}
Feat<double> feat(const FeatOptions& options = {.temperature = 2, .contrast_temperature = 3}) {
  Feat<double> head(4, Random(1), options);
  head.attention.out_proj.bias = randn<double>({4}, Random(2));
  return head;
}

const bool feat_row = add_method_rows({{
    .name = "feat",
    .header = "graft/fewshot/feat.hpp",
    .paper = "Ye et al., Few-shot learning via embedding adaptation with set-to-set functions, CVPR 2020",
    .functions = {"Feat"},
    .use = "Feat<>(width, random)(episode, context)",
    .run =
        [](const Random& random) {
          return trained_by_loss(
              Feat<float>(64, random.stream("head")),
              embedded_episode<float>({.ways = 10, .shots = 5, .queries = 150, .width = 64}, random));
        },
    .loss = head_loss(feat(), embedded_episode()),
    .loss_at = head_point(feat(), embedded_episode()),
    .errors =
        [] {
          std::vector<BadUse> errors = head_errors(feat(), embedded_episode());
          errors.push_back(
              bad_use<ShapeError>([] { feat()(embedded_episode({.width = 5}), Context()); }, "[items, 4]"));
          errors.push_back(bad_use<ValueError>([] { Feat<>(10, Random(1), {.heads = 4}); }, "4 heads"));
          errors.push_back(bad_use<ValueError>([] { Feat<>(4, Random(1), {.dropout = 1}); }, "dropout is 1"));
          errors.push_back(bad_use<ValueError>([] { Feat<>(4, Random(1), {.temperature = 0}); }, "temperature is 0"));
          errors.push_back(bad_use<ValueError>([] { Feat<>(4, Random(1), {.balance = NAN}); }, "balance is nan"));
          return errors;
        }(),
    .properties =
        {{"a query does not see the others; orders and names of classes change nothing",
          [] {
            check_inductive(feat(), embedded_episode());
            check_permutations(feat(), embedded_episode());
            check_unusual(feat());
          }},
         {"one head of attention, the residual and the norm as by hand, for several classes and for one",
          [] {
            for (const Index ways : {1, 3}) {
              const Episode<double> e = embedded_episode({.ways = ways});
              const Rows classes = adapted_by_hand(feat(), means_of(rows_of(e.support.x), e.support.y, ways));
              CHECK(gap(feat()(e, Context()), scaled_logits(rows_of(e.query.x), classes, 2)) < 1e-12);
            }
          }},
         {"with values of 0 a prototypical network on prototypes of mean 0 and variance 1",
          [] {
            Feat<double> head = feat({.temperature = 1});
            const Tensor<double> weight = head.attention.in_proj_weight;
            head.attention.in_proj_weight = concat<double>({slice(weight, 0, 0, 8), zeros<double>({4, 4})}, 0);
            head.attention.out_proj.bias = zeros<double>({4});
            const Episode<double> e = embedded_episode();
            const Tensor<double> classes = layer_norm(prototypes(e.support.x, e.support.y, 3));
            CHECK(gap(head(e, Context()), -squared_distances(e.query.x, classes)) < 1e-13);
          }},
         {"the contrastive term adapts each class alone",
          [] {
            const Episode<double> e = embedded_episode({.shots = 3, .queries = 7});  // classes of unequal size
            const Feat<double> head = feat({.temperature = 2, .contrast_temperature = 3, .balance = 0.7});
            const Tensor<double> items = concat<double>({e.support.x, e.query.x});
            const auto labels = concat<std::int64_t>({e.support.y, e.query.y});
            Rows centres;
            for (std::int64_t k = 0; k < 3; ++k) {
              const Rows own = adapted_by_hand(head, rows_of(gather(items, nonzero(labels == k))));
              centres.push_back(means_of(own, zeros<std::int64_t>({static_cast<Index>(own.size())}), 1)[0]);
            }
            const double fit = cross_entropy(head(e, Context()), e.query.y).item();
            const double contrast = mean_cross_entropy(scaled_logits(rows_of(items), centres, 3), labels);
            CHECK(head.loss(e, Context()).item() == Approx(fit + 0.7 * contrast).epsilon(1e-12));
            CHECK(feat({.balance = 0}).loss(e, Context()).item() ==
                  cross_entropy(feat({.balance = 0})(e, Context()), e.query.y).item());
          }},
         {"dropout acts in training alone, anew for every stream",
          [] {
            const Episode<double> e = embedded_episode();
            const Tensor<double> first = feat()(e, training(1));
            CHECK(same_bits(feat()(e, training(1)), first));
            CHECK_FALSE(same_bits(feat()(e, training(2)), first));
            const Feat<double> none = feat({.dropout = 0, .attention_dropout = 0, .temperature = 2});
            CHECK(same_bits(none(e, training(1)), feat()(e, Context())));
          }}},
}});

// ---- Soft k-means ---------------------------------------------------------------------------------------------------
const SoftKMeans all_gradients{{.steps = 2, .constant_assignments = false}};

/// Logits by loops; masks(distances [items][ways]) are multiplied into the assignments.
template <class Masks>
Rows refined_by_hand(const Episode<double>& e, int steps, const Masks& masks) {
  const Rows support = rows_of(e.support.x), others = rows_of(e.unlabelled);
  Rows classes = means_of(support, e.support.y, e.ways);
  for (int step = 0; step < steps; ++step) {
    const Rows logits = scaled_logits(others, classes, 1), mask = masks(logits);
    Rows sums(classes.size(), std::vector<double>(classes[0].size()));
    std::vector<double> counts(classes.size());
    const auto add = [&](std::size_t k, double weight, const std::vector<double>& x) {
      counts[k] += weight;
      for (std::size_t w = 0; w < x.size(); ++w) sums[k][w] += weight * x[w];
    };
    for (std::size_t i = 0; i < support.size(); ++i) add(std::size_t(e.support.y.span()[i]), 1, support[i]);
    for (std::size_t i = 0; i < others.size(); ++i)
      for (std::size_t k = 0; k < classes.size(); ++k) add(k, softmax_of(logits[i])[k] * mask[i][k], others[i]);
    for (std::size_t k = 0; k < classes.size(); ++k)
      for (std::size_t w = 0; w < sums[k].size(); ++w) classes[k][w] = sums[k][w] / counts[k];
  }
  return scaled_logits(rows_of(e.query.x), classes, 1);
}
Rows no_masks(const Rows& logits) { return Rows(logits.size(), std::vector<double>(logits[0].size(), 1)); }
/// sigmoid(gamma (beta - d)) of the distances d over their class's mean.
auto masks_of(double beta, double gamma) {
  return [=](const Rows& logits) {
    Rows masks = logits;
    for (std::size_t k = 0; k < logits[0].size(); ++k) {
      double mean = 0;
      for (const auto& row : logits) mean -= row[k] / static_cast<double>(logits.size());
      for (std::size_t i = 0; i < logits.size(); ++i)
        masks[i][k] = 1 / (1 + std::exp(-gamma * (beta + logits[i][k] / mean)));
    }
    return masks;
  };
}
/// A perceptron that gives these thresholds whatever the statistics are.
MaskedSoftKMeans<double> with_thresholds(double beta, double gamma, int steps = 1) {
  MaskedSoftKMeans<double> head(Random(1), {.steps = steps});
  head.linear2.weight = zeros<double>({2, 20});
  head.linear2.bias = tensor<double>({std::log(beta), std::log(gamma)});
  return head;
}
Episode<double> unlabelled_episode() { return with_unlabelled(embedded_episode(), 8); }
/// Thresholds that depend on the statistics.
MaskedSoftKMeans<double> masked() {
  MaskedSoftKMeans<double> head(Random(1), {.hidden = 3});
  head.linear1.weight = 0.5 * randn<double>({3, 5}, Random(2));
  head.linear2.weight = 0.5 * randn<double>({2, 3}, Random(3));
  return head;
}

const bool soft_kmeans_row = add_method_rows({{
    .name = "soft_kmeans",
    .header = "graft/fewshot/soft_kmeans.hpp",
    .paper = "Ren et al., Meta-learning for semi-supervised few-shot classification, ICLR 2018",
    .functions = {"SoftKMeans", "MaskedSoftKMeans", "distance_statistics"},
    .use = "MaskedSoftKMeans<>(random)(episode, context)",
    .run =
        [](const Random& random) {
          const Episode<float> e = with_unlabelled(
              embedded_episode<float>({.ways = 10, .shots = 2, .queries = 150, .width = 64, .apart = 0.2}, random),
              200);
          return concat<float>({trained_head(SoftKMeans(), e), trained_head(MaskedSoftKMeans<float>(random), e)}, 0);
        },
    // Of soft k-means all embeddings, of the masked one the perceptron and the queries: no gradient flows through its
    // statistics.
    .loss =
        [](const Tensor<double>& x) {
          Episode<double> e = unlabelled_episode();
          e.support.x = reshape(slice(x, 0, 0, 24), {6, 4});
          e.query.x = reshape(slice(x, 0, 24, 44), {5, 4});
          e.unlabelled = reshape(slice(x, 0, 44, 76), {8, 4});
          Episode<double> fixed = unlabelled_episode();
          fixed.query.x = e.query.x;
          const auto head = from_vector(slice(x, 0, 76, x.count()), masked());
          return cross_entropy(all_gradients(e, Context()), e.query.y) +
                 cross_entropy(head(fixed, Context()), e.query.y);
        },
    .loss_at =
        [] {
          const Episode<double> e = unlabelled_episode();
          return concat<double>(
              {reshape(e.support.x, {-1}), reshape(e.query.x, {-1}), reshape(e.unlabelled, {-1}), to_vector(masked())},
              0);
        }(),
    .errors =
        [] {
          std::vector<BadUse> errors = head_errors(SoftKMeans(), embedded_episode());
          for (BadUse& error : head_errors(masked(), embedded_episode())) errors.push_back(error);
          errors.push_back(bad_use<ShapeError>(
              [] {
                Episode<double> e = embedded_episode();
                e.unlabelled = zeros<double>({2, 3});
                SoftKMeans()(e, Context());
              },
              "[2, 3]"));
          errors.push_back(
              bad_use<ValueError>([] { SoftKMeans{{.steps = -1}}(embedded_episode(), Context()); }, "steps is -1"));
          errors.push_back(bad_use<ValueError>([] { MaskedSoftKMeans<>(Random(1), {.steps = -1}); }, "steps is -1"));
          errors.push_back(bad_use<ValueError>([] { MaskedSoftKMeans<>(Random(1), {.hidden = 0}); }, "hidden is 0"));
          errors.push_back(bad_use<ShapeError>([] { distance_statistics(zeros({0, 3})); }, "[0, 3]"));
          return errors;
        }(),
    .properties =
        {{"without unlabelled items, or without steps, a prototypical network, bit for bit",
          [] {
            Episode<double> e = embedded_episode();
            CHECK(same_bits(SoftKMeans()(e, Context()), protonet(e)));
            CHECK(same_bits(masked()(e, Context()), protonet(e)));
            e.unlabelled = zeros<double>({0, 4});
            CHECK(same_bits(SoftKMeans()(e, Context()), protonet(e)));
            CHECK(same_bits(masked()(e, Context()), protonet(e)));
            CHECK(same_bits(SoftKMeans{{.steps = 0}}(unlabelled_episode(), Context()), protonet(e)));
            check_inductive(SoftKMeans(), e);
          }},
         {"a query does not see the others; orders and names of classes change nothing",
          [] {
            check_inductive(SoftKMeans(), unlabelled_episode());
            check_inductive(masked(), unlabelled_episode());
            check_permutations(SoftKMeans(), unlabelled_episode());
            check_permutations(masked(), unlabelled_episode());
            check_unlabelled(SoftKMeans(), unlabelled_episode());
            check_unlabelled(masked(), unlabelled_episode());
            check_unusual(SoftKMeans());
            check_unusual(masked());
          }},
         {"an item half way between two classes belongs to both by half",
          [] {
            Episode<double> e{{tensor<double>({{0}, {2}}), tensor<std::int64_t>({0, 1})},
                              {tensor<double>({{0}}), {}},
                              2,
                              tensor<double>({{1}})};
            // (0 + 1/2) / (3/2) = 1/3 and (2 + 1/2) / (3/2) = 5/3
            CHECK(gap(SoftKMeans()(e, Context()), Rows{{-1.0 / 9, -25.0 / 9}}) < 1e-15);
            // A single item is at its mean distance: d = 1 and beta = 1 give masks of 1/2, hence 1/5 and 9/5.
            CHECK(gap(with_thresholds(1, 3)(e, Context()), Rows{{-1.0 / 25, -81.0 / 25}}) < 1e-15);
          }},
         {"refinements as by loops, one or several",
          [] {
            const Episode<double> e = unlabelled_episode();
            for (const int steps : {1, 3}) {
              CHECK(gap(SoftKMeans{{.steps = steps}}(e, Context()), refined_by_hand(e, steps, no_masks)) < 1e-12);
              CHECK(gap(with_thresholds(0.8, 2.5, steps)(e, Context()), refined_by_hand(e, steps, masks_of(0.8, 2.5))) <
                    1e-12);
            }
          }},
         {"masks of 1 are soft k-means, masks of 0 a prototypical network, and distractors move masked prototypes less",
          [] {
            const Episode<double> e = unlabelled_episode();
            CHECK(gap(with_thresholds(1e3, 1)(e, Context()), SoftKMeans()(e, Context())) < 1e-12);
            CHECK(gap(with_thresholds(1e-3, 1e9)(e, Context()), protonet(e)) < 1e-12);
            Episode<double> distracted = embedded_episode();
            distracted.unlabelled = concat<double>({distracted.support.x, full<double>({1, 4}, 20)},
                                                   0);  // own items, and one that is far from all classes
            Episode<double> own = distracted;
            own.unlabelled = own.support.x;
            const Tensor<double> alone = SoftKMeans()(own, Context());
            const auto moved = [&](const auto& head) { return gap(head(distracted, Context()), alone); };
            CHECK(moved(with_thresholds(2, 5)) < 1e-4 * moved(SoftKMeans()));
          }},
         {"statistics of known distances",
          [] {
            // {1, 3}: mean 2, so {1/2, 3/2}. {0, 0, 0, 4}: mean 1, gaps -1 -1 -1 3: variance 3, third moment 6, fourth
            // 21. {2, 2}: no spread, counted as 1. {0, 0}: no mean either.
            CHECK(gap(distance_statistics(tensor<double>({{1, 2, 0}, {3, 2, 0}})),
                      Rows{{0.5, 1.5, 0.25, 0, -2}, {1, 1, 0, 0, -3}, {0, 0, 0, 0, -3}}) < 1e-14);
            CHECK(gap(distance_statistics(tensor<double>({{0}, {0}, {0}, {4}})),
                      Rows{{0, 4, 3, 6 / std::pow(3, 1.5), 21.0 / 9 - 3}}) < 1e-14);
            const Tensor<double> d = rand<double>({9, 2}, Random(4), 1, 2);
            CHECK(gap(distance_statistics(1e5 * d), distance_statistics(d)) < 1e-12);
          }},
         {"the gradient takes assignments for constants where asked to",
          [] {
            const Episode<double> e = unlabelled_episode();
            const Tensor<double> z =
                softmax(-squared_distances(e.unlabelled, prototypes(e.support.x, e.support.y, 3)), 1);
            const auto by = [&](const auto& logits) {
              return grad([&](const Tensor<double>& u) { return cross_entropy(logits(u), e.query.y); }, e.unlabelled);
            };
            const auto head = [&](bool constant) {
              return by([&, constant](const Tensor<double>& u) {
                Episode<double> own = e;
                own.unlabelled = u;
                return SoftKMeans{{.constant_assignments = constant}}(own, Context());
              });
            };
            const Tensor<double> expected = by([&](const Tensor<double>& u) {
              const Tensor<double> weights = concat<double>({one_hot<double>(e.support.y, 3), z}, 0);
              const Tensor<double> sums = matmul(weights, concat<double>({e.support.x, u}), {.transpose_a = true});
              return -squared_distances(e.query.x, sums / reshape(sum(weights, {0}), {3, 1}));
            });
            CHECK(gap(head(true), expected) < 1e-12);
            CHECK(gap(head(false), expected) > 1e-3);
          }},
         {"a part of 1e6 that all embeddings share changes nothing",
          [] {
            const Episode<double> e = on_a_grid(unlabelled_episode());
            CHECK(gap(SoftKMeans()(shifted(e, 1e6), Context()), SoftKMeans()(e, Context())) < 1e-7);
            CHECK(gap(masked()(shifted(e, 1e6), Context()), masked()(e, Context())) < 1e-7);
          }}},
}});

// ---- Placeholders ---------------------------------------------------------------------------------------------------
Proser<double> proser(const ProserOptions& options = {.dummies = 2, .gamma = 0.5}) {
  Proser<double> head(4, Random(1), options);
  head.placeholders = randn<double>(head.placeholders.shape(), Random(2));
  return head;
}
Rows open_logits(const Proser<double>& head, const Rows& x, const Rows& classes, double bias) {
  Rows logits = scaled_logits(x, classes, 1);
  const Rows added = rows_of(head.placeholders);
  for (std::size_t i = 0; i < x.size(); ++i) {
    double best = -INFINITY;
    for (const auto& placeholder : added) {
      std::vector<double> d(placeholder);
      for (std::size_t w = 0; w < d.size(); ++w)
        for (const auto& c : classes) d[w] += c[w] / static_cast<double>(classes.size());
      best = std::max(best, -squared_distance(x[i], d));
    }
    logits[i].push_back(best + bias);
  }
  return logits;
}

const bool proser_row = add_method_rows({{
    .name = "proser",
    .header = "graft/fewshot/proser.hpp",
    .paper = "Zhou, Ye, Zhan, Learning placeholders for open-set recognition, CVPR 2021",
    .functions = {"Proser"},
    .use = "Proser<>(width, random).with_rejection(episode, context)",
    .run =
        [](const Random& random) {
          const Proser<float> head(64, random.stream("head"), {.dummies = 5});
          const auto e = embedded_episode<float>({.ways = 10, .shots = 5, .queries = 150, .width = 64}, random);
          const auto by_queries = [&](const Tensor<float>& x) {
            return head.loss({e.support, {x, e.query.y}, e.ways}, training(3));
          };
          return concat<float>(
              {reshape(head.with_rejection(e, Context()), {-1}), reshape(grad(by_queries, e.query.x), {-1}),
               to_vector(grad([&](const Proser<float>& h) { return h.loss(e, training(3)); }, head))},
              0);
        },
    .loss = head_loss(proser(), embedded_episode()),
    .loss_at = head_point(proser(), embedded_episode()),
    .errors =
        [] {
          std::vector<BadUse> errors = head_errors(proser(), embedded_episode());
          errors.push_back(
              bad_use<ShapeError>([] { proser()(embedded_episode({.width = 5}), Context()); }, "[items, 4]"));
          errors.push_back(bad_use<ShapeError>(
              [] {
                proser().mixed(with_queries(embedded_episode(), zeros<double>({2, 4})), Context());
              },
              "a label for each"));
          errors.push_back(bad_use<ValueError>([] { Proser<>(4, Random(1), {.dummies = 0}); }, "0 dummies"));
          errors.push_back(bad_use<ValueError>([] { Proser<>(4, Random(1), {.mixing = 0}); }, "mixing is 0"));
          errors.push_back(bad_use<ValueError>([] { Proser<>(4, Random(1), {.beta = -1}); }, "beta is -1"));
          errors.push_back(bad_use<ValueError>([] { Proser<>(4, Random(1), {.gamma = NAN}); }, "gamma is nan"));
          errors.push_back(bad_use<ValueError>([] { Proser<>(4, Random(1), {.bias = INFINITY}); }, "bias is inf"));
          return errors;
        }(),
    .properties = {{"without the placeholder's column a prototypical network, bit for bit",
                    [] {
                      const Episode<double> e = embedded_episode();
                      CHECK(same_bits(proser()(e, Context()), protonet(e)));
                      CHECK(same_bits(slice(proser().with_rejection(e, Context()), 1, 0, 3), protonet(e)));
                    }},
                   {"a query does not see the others; orders and names of classes change nothing",
                    [] {
                      check_inductive(proser(), embedded_episode());
                      check_permutations(proser(), embedded_episode());
                      check_unusual(proser());
                      const auto open = [](const Episode<double>& e, ContextRef context) {
                        return proser().with_rejection(e, context);
                      };
                      const Episode<double> e = embedded_episode();
                      const Tensor<double> all = open(e, Context());
                      for (Index q = 0; q < 5; ++q)
                        CHECK(same_bits(open(with_queries(e, slice(e.query.x, 0, q, q + 1)), Context()),
                                        slice(all, 0, q, q + 1)));
                      CHECK(gap(slice(open(with_renamed_classes(e, {1, 2, 0}), Context()), 1, 3, 4),
                                slice(all, 1, 3, 4)) < 1e-12);
                    }},
                   {"the largest of several placeholders counts, with the bias",
                    [] {
                      const Episode<double> e = embedded_episode();
                      const Rows classes = means_of(rows_of(e.support.x), e.support.y, 3);
                      for (const double bias : {0.0, -2.5}) {
                        const Proser<double> head = proser({.dummies = 3, .bias = bias});
                        CHECK(gap(head.with_rejection(e, Context()),
                                  open_logits(head, rows_of(e.query.x), classes, bias)) < 1e-12);
                      }
                    }},
                   {"a larger bias rejects more, from none to all",
                    [] {
                      const Episode<double> e = embedded_episode({.queries = 60});
                      double before = -1;
                      for (const double bias : {-1e3, -3.0, 0.0, 3.0, 1e3}) {
                        const auto answers = argmax(proser({.bias = bias}).with_rejection(e, Context()), 1);
                        const double rejected = static_cast<double>(count_nonzero(answers == 3).item());
                        CHECK(rejected >= before);
                        if (bias == -1e3) CHECK(rejected == 0);
                        if (bias == 1e3) CHECK(rejected == 60);
                        before = rejected;
                      }
                    }},
                   {"the three terms of the loss, by hand",
                    [] {
                      const Episode<double> e = embedded_episode();
                      const Proser<double> head = proser({.dummies = 2, .beta = 0.7, .gamma = 0.3});
                      const Rows classes = means_of(rows_of(e.support.x), e.support.y, 3);
                      Rows logits = open_logits(head, rows_of(e.query.x), classes, 0);
                      const double first = mean_cross_entropy(logits, e.query.y);
                      for (std::size_t i = 0; i < logits.size(); ++i)
                        logits[i][std::size_t(e.query.y.span()[i])] = -INFINITY;
                      const auto none = full<std::int64_t>({5}, 3);
                      const double second = mean_cross_entropy(logits, none);
                      const double third =
                          mean_cross_entropy(open_logits(head, rows_of(head.mixed(e, training(4))), classes, 0), none);
                      CHECK(head.loss(e, training(4)).item() ==
                            Approx(first + 0.7 * second + 0.3 * third).epsilon(1e-12));
                      const Proser<double> plain = proser({.dummies = 2, .beta = 0, .gamma = 0});
                      CHECK(plain.loss(e, training(4)).item() == Approx(first).epsilon(1e-13));
                    }},
                   {"mixtures lie between queries of different classes, at one ratio a call whose mean is 1/2",
                    [] {
                      // Each query is its class's own unit vector, so that a mixture shows ratio and partner.
                      const auto labels = tensor<std::int64_t>({0, 1, 1, 2, 0, 2, 2});
                      const Episode<double> e{
                          {eye<double>(3), tensor<std::int64_t>({0, 1, 2})}, {one_hot<double>(labels, 3), labels}, 3};
                      for (const double mixing : {0.5, 1.0, 4.0}) {
                        const Proser<double> head(3, Random(1), {.mixing = mixing});
                        double sum = 0, squares = 0;
                        constexpr int kCalls = 2000;
                        for (int call = 0; call < kCalls; ++call) {
                          const Rows rows = rows_of(head.mixed(e, training(static_cast<std::uint64_t>(call))));
                          REQUIRE(rows.size() == 7);
                          const double m = rows[0][0];
                          bool good = m >= 0 && m <= 1;
                          for (std::size_t i = 0; i < rows.size(); ++i) {
                            int others = 0;
                            for (std::size_t k = 0; k < 3; ++k) {
                              const bool own = k == std::size_t(labels.span()[i]);
                              good &= own ? rows[i][k] == m : rows[i][k] == 0 || rows[i][k] == 1 - m;
                              others += !own && rows[i][k] == 1 - m;
                            }
                            good &= others == 1;
                          }
                          CHECK(good);
                          sum += m;
                          squares += m * m;
                        }
                        // Mean 1/2 and variance 1 / (4 (2 a + 1)) of Beta(a, a), within five deviations of the
                        // estimates.
                        const double mean = sum / kCalls, variance = squares / kCalls - mean * mean;
                        const double expected = 1 / (4 * (2 * mixing + 1));
                        CHECK(std::abs(mean - 0.5) < 5 * std::sqrt(expected / kCalls));
                        CHECK(variance == Approx(expected).epsilon(5 * std::sqrt(2.0 / kCalls)));
                      }
                      // One class: nothing to mix, and nothing but the placeholder beside the own class.
                      const Episode<double> one = embedded_episode({.ways = 1});
                      CHECK(proser().mixed(one, training(1)).shape() == Shape{0, 4});
                      CHECK(proser().loss(one, training(1)).item() ==
                            Approx(mean_cross_entropy(rows_of(proser().with_rejection(one, Context())), one.query.y)));
                    }},
                   {"a part of 1e6 that all embeddings share changes nothing",
                    [] {
                      const Episode<double> e = on_a_grid(embedded_episode());
                      CHECK(gap(proser().with_rejection(shifted(e, 1e6), Context()),
                                proser().with_rejection(e, Context())) < 1e-7);
                      CHECK(proser().loss(shifted(e, 1e6), training(1)).item() ==
                            Approx(proser().loss(e, training(1)).item()).epsilon(1e-8));
                    }}},
}});

}  // namespace
