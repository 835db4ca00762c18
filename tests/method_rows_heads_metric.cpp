// Rows of the method table for few-shot heads that compare embeddings: matching and relation networks, SimpleShot, and
// the graph network of Garcia and Bruna.

#include <cmath>

#include "graft/fewshot/fewshot_gnn.hpp"
#include "graft/fewshot/matching.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/relation.hpp"
#include "graft/fewshot/simpleshot.hpp"
#include "graft/optim/adam.hpp"
#include "heads.hpp"

using namespace graft;

namespace {

using Double = Tensor<double>;

/// More than one thread's work.
Episode<float> large_episode(const Random& random) { return embedded_episode<float>({20, 3, 200, 64}, random); }
double inner(const Double& a, Index i, const Double& b, Index j) {
  double total = 0;
  for (Index w = 0; w < a.size(1); ++w) total += a.at({i, w}) * b.at({j, w});
  return total;
}

using Numbers = std::vector<double>;
Numbers mapped(const Linear<double>& map, const Numbers& in) {
  Numbers out;
  for (Index o = 0; o < map.weight.size(0); ++o) {
    double total = map.bias->at({o});
    for (Index i = 0; i < map.weight.size(1); ++i) total += map.weight.at({o, i}) * in[i];
    out.push_back(total);
  }
  return out;
}

// ---- Matching networks ----------------------------------------------------------------------------------------------
using Matching = MatchingHead<double>;
const MatchingOptions kSquared{.similarity = MatchingSimilarity::squared};

/// One shot u of class 0 and -u of all others, asked for u.
double confidence(Index ways, const MatchingOptions& options) {
  Episode<double> e;
  e.ways = ways;
  e.support.y = arange<std::int64_t>(ways);
  e.support.x =
      generate({ways, 2}, [](Index i, Index w) { return (i == 0 ? 1.0 : -1.0) * static_cast<double>(w + 1); });
  e.query.x = slice(e.support.x, 0, 0, 1);
  return std::exp(Matching(options)(e, Context()).at({0, 0}));
}

const bool matching_row = add_method_rows({{
    .name = "matching",
    .header = "graft/fewshot/matching.hpp",
    .paper =
        "Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, Matching networks for one shot learning, NeurIPS 2016",
    .functions = {"MatchingHead"},
    .use = "EpisodeLearner{embedding, MatchingHead<>({.scale = 10, .learned = true})}(episode, context)",
    .run =
        [](const Random& random) {
          return trained_head(MatchingHead<float>({.scale = 10, .learned = true}), large_episode(random));
        },
    .loss = head_loss(Matching({.scale = 3, .learned = true}), embedded_episode()),
    .loss_at = head_point(Matching({.scale = 3, .learned = true}), embedded_episode()),
    .errors = joined(head_errors(Matching(), embedded_episode()),
                     {bad_use<ValueError>([] { Matching({.scale = 0}); }, "scale is 0"),
                      bad_use<ValueError>([] { Matching({.scale = INFINITY, .learned = true}); }, "scale is inf"),
                      bad_use<ValueError>([] { MatchingHead<float>({.scale = 1e-60}); }, "float")}),
    .properties = {{"inductive; classes and support items have no order",
                    [] {
                      for (const MatchingOptions& options :
                           {MatchingOptions{}, MatchingOptions{.scale = 7, .learned = true}, kSquared}) {
                        check_inductive(Matching(options), embedded_episode());
                        check_permutations(Matching(options), embedded_episode());
                      }
                    }},
                   {"attention over the items, by plain sums",
                    [] {
                      const Episode<double> e = embedded_episode({3, 4, 6, 5});
                      const Double &x = e.support.x, &query = e.query.x;
                      for (const double scale : {1., 5.}) {
                        const Double logits = Matching({.scale = scale})(e, Context());
                        for (Index q = 0; q < 6; ++q) {
                          double of_class[3] = {}, total = 0;
                          for (Index i = 0; i < 12; ++i) {
                            const double cosine =
                                inner(query, q, x, i) / std::sqrt(inner(query, q, query, q) * inner(x, i, x, i));
                            of_class[e.support.y.at({i})] += std::exp(scale * cosine);
                            total += std::exp(scale * cosine);
                          }
                          for (Index k = 0; k < 3; ++k)
                            CHECK(logits.at({q, k}) == Approx(std::log(of_class[k] / total)).epsilon(1e-12));
                        }
                      }
                    }},
                   {"one shot by squared distance is a prototypical network",
                    [] {
                      const Episode<double> e = embedded_episode({4, 1, 6, 5});
                      CHECK(gap(Matching(kSquared)(e, Context()), log_softmax(ProtoNetHead()(e, Context()))) < 1e-12);
                    }},
                   {"without a scale, one shot is believed with e^2 / (e^2 + N - 1) at most",
                    [] {
                      CHECK(std::abs(confidence(5, {}) - 0.6488) < 5e-5);
                      CHECK(std::abs(confidence(20, {}) - 0.2800) < 5e-5);
                      for (const Index ways : {2, 5, 20})
                        CHECK(confidence(ways, {}) ==
                              Approx(std::exp(2.) / (std::exp(2.) + static_cast<double>(ways) - 1)));
                      CHECK(confidence(20, {.scale = 10}) > 0.9999);
                    }},
                   {"of like items classes have their shares; rows of zeros are like all",
                    [] {
                      Episode<double> e = embedded_episode({2, 3, 4, 5});
                      e.support.y = tensor<std::int64_t>({0, 1, 1, 1, 0, 1});
                      const Double share =
                          log(tensor<double>({{2. / 6, 4. / 6}, {2. / 6, 4. / 6}, {2. / 6, 4. / 6}, {2. / 6, 4. / 6}}));
                      const Double x = e.support.x;
                      e.support.x = x * 0.0 + slice(x, 0, 0, 1);
                      for (const MatchingOptions& options : {MatchingOptions{}, kSquared})
                        CHECK(gap(Matching(options)(e, Context()), share) < 1e-12);
                      e.support.x = x;
                      e.query.x = zeros<double>({4, 5});
                      CHECK(gap(Matching()(e, Context()), share) < 1e-12);
                    }},
                   {"embeddings of zeros pass no gradient on",
                    [] {
                      Episode<double> e = embedded_episode();
                      e.query.x = zeros<double>({2, 4});
                      const auto loss = [&](const Double& x) {
                        return sum(square(Matching()(with_queries(e, x), Context())));
                      };
                      CHECK(max(abs(grad(loss, e.query.x))).item() == 0);
                    }},
                   {"cosines do not see lengths, and large numbers do not overflow",
                    [] {
                      const Episode<float> e = embedded_episode<float>();
                      const auto scaled = [&](float by) {
                        return MatchingHead<float>()(with_embeddings(e, [&](const Tensor<float>& x) { return x * by; }),
                                                     Context());
                      };
                      CHECK(gap(scaled(1e-6f), scaled(1)) < 1e-6);
                      CHECK(gap(scaled(1e30f), scaled(1)) < 1e-6);
                    }},
                   {"squared distances do not see a common part",
                    [] { check_common_part([]<class T>(T) { return MatchingHead<T>(kSquared); }); }},
                   {"however large the scale, logits are finite logarithms of probabilities",
                    [] {
                      const Double logits = Matching({.scale = 1e6})(embedded_episode(), Context());
                      CHECK(gap(sum(exp(logits), {1}), ones<double>({5})) < 1e-12);
                      CHECK(max(abs(logits)).item() < 2.1e6);
                    }}},
}});

// ---- Relation networks ----------------------------------------------------------------------------------------------
using Relation = RelationHead<double>;
constexpr RelationOptions kSmall{.width = 4, .hidden = 6, .last = 3};

/// Every ReLU far from its kink.
Relation off_the_kinks() {
  Relation head(Random(2), kSmall);
  head.first.bias = tensor<double>({20, -20, 20, 20, -20, 20});
  head.second.bias = tensor<double>({60, -60, 60});
  head.third.bias = -sum(head.third.weight * tensor<double>({{60, 0, 60}}), {1});
  return head;
}
/// A head that says `score` of everything.
Relation constant(double score) {
  Relation head(Random(2), kSmall);
  head.third.weight = zeros<double>({1, 3});
  head.third.bias = tensor<double>({std::log(score / (1 - score))});
  return head;
}

const bool relation_row = add_method_rows({{
    .name = "relation",
    .header = "graft/fewshot/relation.hpp",
    .paper = "Sung, Yang, Zhang, Xiang, Torr, Hospedales, Learning to compare: relation network for few-shot learning, "
             "CVPR 2018",
    .functions = {"RelationHead"},
    .use = "HeadMethod<RelationHead<>>().train_loss(learner, episode, context)",
    .run =
        [](const Random& random) {
          return trained_head(RelationHead<float>(random.stream("head")), large_episode(random));
        },
    .loss = head_loss(off_the_kinks(), embedded_episode()),
    .loss_at = head_point(off_the_kinks(), embedded_episode()),
    .errors = joined(head_errors(Relation(Random(2), kSmall), embedded_episode()),
                     {bad_use<ValueError>([] { Relation(Random(1), {.last = 0}); }, "64 and 0 units"),
                      bad_use<ShapeError>([] { Relation(Random(1))(embedded_episode(), Context(), Site::current()); },
                                          "[items, 64]"),
                      bad_use<ShapeError>(
                          [] {
                            const Episode<double> e = embedded_episode();
                            Relation(Random(2), kSmall).loss(with_queries(e, e.query.x), Context(), Site::current());
                          },
                          "label for each query")}),
    .properties =
        {{"inductive; classes and support items have no order",
          [] {
            check_inductive(Relation(Random(2), kSmall), embedded_episode());
            check_permutations(Relation(Random(2), kSmall), embedded_episode());
          }},
         {"the best constant answer 1 / N loses (1 / N) (1 - 1 / N)",
          [] {
            for (const Index ways : {2, 5}) {
              const Episode<double> e = embedded_episode({ways, 1, 10, 4});
              const double share = 1 / static_cast<double>(ways);
              const auto loss = [&](const Relation& head) { return head.loss(e, Context()); };
              CHECK(loss(constant(share)).item() == Approx(share * (1 - share)).epsilon(1e-13));
              CHECK(std::abs(grad(loss, constant(share)).third.bias->item()) < 1e-15);
              CHECK(loss(constant(share + 0.05)).item() > loss(constant(share)).item());
              CHECK(loss(constant(share - 0.05)).item() > loss(constant(share)).item());
            }
          }},
         {"the perceptron on a class and a query, in this order, by plain sums",
          [] {
            const Episode<double> e = embedded_episode();
            const Relation head(Random(2), kSmall);
            const Double scores = head(e, Context());
            const auto positive = [](Numbers v) {
              for (double& x : v) x = std::max(x, 0.0);
              return v;
            };
            for (Index q = 0; q < 5; ++q)
              for (Index k = 0; k < 3; ++k) {
                Numbers pair(8);
                for (Index w = 0; w < 4; ++w) {
                  for (Index i = 0; i < 6; ++i)
                    if (e.support.y.at({i}) == k) pair[w] += e.support.x.at({i, w});
                  pair[w + 4] = e.query.x.at({q, w});
                }
                const double r =
                    mapped(head.third, positive(mapped(head.second, positive(mapped(head.first, pair)))))[0];
                CHECK(scores.at({q, k}) == Approx(1 / (1 + std::exp(-r))).epsilon(1e-12));
              }
          }},
         {"the mean is the sum of one shot, and does not grow with repeated shots",
          [] {
            RelationOptions mean = kSmall;
            mean.of_class = RelationClass::mean;
            const Relation of_sum(Random(2), kSmall), of_mean(Random(2), mean);
            Episode<double> e = embedded_episode({3, 1, 5, 4});
            const Double once = of_sum(e, Context());
            CHECK(same_bits(of_mean(e, Context()), once));
            e.support = {concat<double>({e.support.x, e.support.x}), concat<std::int64_t>({e.support.y, e.support.y})};
            CHECK(gap(of_mean(e, Context()), once) < 1e-14);
            CHECK(gap(of_sum(e, Context()), once) > 1e-3);
          }},
         {"scores lie from 0 to 1, of large embeddings too",
          [] {
            const Double scores = Relation(Random(2), kSmall)(shifted(embedded_episode(), 1e6), Context());
            CHECK(min(scores).item() >= 0);
            CHECK(max(scores).item() <= 1);
          }}},
}});

// ---- SimpleShot -----------------------------------------------------------------------------------------------------
template <class T = double>
SimpleShotHead<T> simpleshot(FeatureTransform transform, Index width = 4, double common = 0) {
  SimpleShotHead<T> head{{}, transform};
  if (transform == FeatureTransform::centred_l2)
    head.base_mean.value =
        mean_feature(shifted(on_a_grid(embedded_episode<T>({4, 2, 0, width}, 9), T(2)), common).support.x);
  return head;
}
constexpr FeatureTransform kTransforms[] = {FeatureTransform::none, FeatureTransform::l2, FeatureTransform::centred_l2};

const bool simpleshot_row = add_method_rows({{
    .name = "simpleshot",
    .header = "graft/fewshot/simpleshot.hpp",
    .paper = "Wang, Chao, Weinberger, van der Maaten, SimpleShot: revisiting nearest-neighbor classification for "
             "few-shot learning, arXiv 2019",
    .functions = {"SimpleShotHead", "mean_feature"},
    .use = "head.base_mean.value = mean_feature(base_features)",
    .run =
        [](const Random& random) {
          return trained_head(simpleshot<float>(FeatureTransform::centred_l2, 64), large_episode(random));
        },
    .loss = head_loss(simpleshot(FeatureTransform::centred_l2), embedded_episode()),
    .loss_at = head_point(simpleshot(FeatureTransform::centred_l2), embedded_episode()),
    .errors =
        joined(head_errors(simpleshot(FeatureTransform::l2), embedded_episode()),
               {bad_use<ValueError>([] { SimpleShotHead<double>()(embedded_episode(), Context(), Site::current()); },
                                    "no base_mean"),
                bad_use<ShapeError>(
                    [] { simpleshot(FeatureTransform::centred_l2, 7)(embedded_episode(), Context(), Site::current()); },
                    "base_mean [7]"),
                bad_use<ShapeError>(
                    [] {
                      mean_feature(zeros({0, 3}));
                    },
                    "one item or more"),
                bad_use<ShapeError>([] { mean_feature(zeros({3})); }, "features [3]")}),
    .properties =
        {{"inductive; classes and support items have no order",
          [] {
            for (const FeatureTransform transform : kTransforms) {
              check_inductive(simpleshot(transform), embedded_episode());
              check_permutations(simpleshot(transform), embedded_episode());
            }
          }},
         {"untransformed it is a prototypical network, with length 1 one of unit rows",
          [] {
            const Episode<double> e = embedded_episode();
            const auto unit = with_embeddings(e, [](const Double& x) { return x / sqrt(sum(square(x), {1}, true)); });
            CHECK(gap(simpleshot(FeatureTransform::none)(e, Context()), ProtoNetHead()(e, Context())) == 0);
            CHECK(gap(simpleshot(FeatureTransform::l2)(e, Context()), ProtoNetHead()(unit, Context())) < 1e-14);
          }},
         {"a base mean of zeros does not centre",
          [] {
            SimpleShotHead<double> head;
            head.base_mean.value = zeros<double>({4});
            CHECK(same_bits(head(embedded_episode(), Context()),
                            simpleshot(FeatureTransform::l2)(embedded_episode(), Context())));
          }},
         {"a common part of all features, the base's too, changes nothing; of those of length 1 alone it does",
          [] {
            const Episode<double> e = on_a_grid(embedded_episode());
            const auto answers = [&](FeatureTransform transform, double common) {
              return simpleshot(transform, 4, common)(shifted(e, common), Context());
            };
            for (const FeatureTransform t : {FeatureTransform::none, FeatureTransform::centred_l2})
              CHECK(gap(answers(t, 1e6), answers(t, 0)) < 1e-12);
            CHECK(gap(answers(FeatureTransform::l2, 1e6), answers(FeatureTransform::l2, 0)) > 0.1);
            const Episode<float> f = on_a_grid(embedded_episode<float>());
            CHECK(gap(simpleshot<float>(FeatureTransform::centred_l2, 4, 1e6)(shifted(f, 1e6), Context()),
                      simpleshot<float>(FeatureTransform::centred_l2)(f, Context())) < 1e-5);
          }},
         {"centred features do not see their scale, about the base mean",
          [] {
            const auto head = simpleshot(FeatureTransform::centred_l2);
            const Double mean = head.base_mean.value;
            const Episode<double> e = embedded_episode();
            const auto scaled = with_embeddings(e, [&](const Double& x) { return mean + 7.0 * (x - mean); });
            CHECK(gap(head(scaled, Context()), head(e, Context())) < 1e-13);
          }},
         {"items at the base mean are 0 and pass no gradient on",
          [] {
            const auto head = simpleshot(FeatureTransform::centred_l2);
            Episode<double> e = embedded_episode();
            e.query.x = broadcast_to(head.base_mean.value, {2, 4});
            const auto loss = [&](const Double& x) { return sum(head(with_queries(e, x), Context())); };
            CHECK(std::isfinite(loss(e.query.x).item()));
            CHECK(max(abs(grad(loss, e.query.x))).item() == 0);
          }},
         {"the mean of features is theirs, and no parameter",
          [] {
            CHECK(all_close(mean_feature(tensor<double>({{1, 2}, {3, 6}})), tensor<double>({2, 4}), 1e-15, 0.0));
            CHECK(count(simpleshot(FeatureTransform::centred_l2)) == 0);
          }}},
}});

// ---- Few-shot GNN ---------------------------------------------------------------------------------------------------
using Gnn = FewShotGnn<double>;
constexpr FewShotGnnOptions kGnn{.ways = 3, .width = 4, .features = 5, .edge_hidden = 4};

/// Without the kinks of leaky ReLUs, and so few features that no two differ by so little that the kink of |x_i - x_j|
/// is near.
Gnn smooth_gnn() { return Gnn(Random(27), {.ways = 2, .width = 2, .features = 3, .edge_hidden = 4, .slope = 1}); }
Episode<double> smooth_episode() { return embedded_episode({2, 1, 1, 2, 3}, 27); }

/// leaky_relu(layer_norm(x)), with weight 1 and bias 0.
Numbers normed_leaky(Numbers x, double slope) {
  double mean = 0, variance = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
  for (double& v : x) {
    v = (v - mean) / std::sqrt(variance + 1e-5);
    if (v < 0) v *= slope;
  }
  return x;
}
Double as_graph(const std::vector<Numbers>& nodes) {
  return generate({1, static_cast<Index>(nodes.size()), static_cast<Index>(nodes[0].size())},
                  [&](Index, Index i, Index w) { return nodes[i][w]; });
}
/// Of every node, its features and the weighted sum of its neighbours'.
std::vector<Numbers> beside_neighbours(const LearnedAdjacency<double>& adjacency, const std::vector<Numbers>& nodes) {
  const Double a = adjacency(as_graph(nodes));
  std::vector<Numbers> out = nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (std::size_t w = 0; w < nodes[0].size(); ++w) {
      double heard = 0;
      for (std::size_t j = 0; j < nodes.size(); ++j)
        heard += a.at({0, static_cast<Index>(i), static_cast<Index>(j)}) * nodes[j][w];
      out[i].push_back(heard);
    }
  return out;
}

const bool fewshot_gnn_row = add_method_rows({{
    .name = "fewshot_gnn",
    .header = "graft/fewshot/fewshot_gnn.hpp",
    .paper = "Garcia, Bruna, Few-shot learning with graph neural networks, ICLR 2018",
    .functions = {"FewShotGnn", "LearnedAdjacency"},
    .use = "EpisodeLearner{embedding, FewShotGnn<>(random, {.ways = 5})}(episode, context)",
    .run =
        [](const Random& random) {
          const FewShotGnn<float> head(random.stream("head"),
                                       {.ways = 5, .width = 16, .features = 8, .edge_hidden = 8});
          return trained_head(head, embedded_episode<float>({5, 1, 20, 16}, random));
        },
    .loss = head_loss(smooth_gnn(), smooth_episode()),
    .loss_at = head_point(smooth_gnn(), smooth_episode()),
    .errors = joined(head_errors(Gnn(Random(4), kGnn), embedded_episode()),
                     {bad_use<ValueError>([] { FewShotGnn<float>(Random(1), {.features = 0}); }, "0 features"),
                      bad_use<ValueError>([] { FewShotGnn<float>(Random(1), {.slope = NAN}); }, "slope is nan"),
                      bad_use<ValueError>(
                          [] {
                            Gnn(Random(4), kGnn)(embedded_episode({4, 1, 2, 4}), Context(), Site::current());
                          },
                          "4 ways, made for 3"),
                      bad_use<ValueError>(
                          [] {
                            Gnn head(Random(4), kGnn);
                            head.maps.pop_back();
                            head(embedded_episode({3, 1, 2, 4}), Context(), Site::current());
                          },
                          "maps for"),
                      bad_use<ValueError>(
                          [] {
                            Gnn head(Random(4), kGnn);
                            head.norms.pop_back();
                            head(embedded_episode({3, 1, 2, 4}), Context(), Site::current());
                          },
                          "norms and one"),
                      bad_use<ValueError>(
                          [] {
                            LearnedAdjacency<double> adjacency(4, Random(1));
                            adjacency.norms.pop_back();
                            adjacency(zeros<double>({1, 3, 4}));
                          },
                          "3 norms for 4 hidden layers"),
                      bad_use<ShapeError>(
                          [] {
                            Gnn(Random(4), kGnn)(embedded_episode({3, 1, 2, 5}), Context(), Site::current());
                          },
                          "[items, 4]"),
                      bad_use<ShapeError>(
                          [] {
                            LearnedAdjacency<double>(4, Random(1), kGnn)(zeros<double>({2, 1, 4}));
                          },
                          "[2, 1, 4]")}),
    .properties = {{"inductive; support items have no order",
                    [] {
                      check_inductive(Gnn(Random(4), kGnn), embedded_episode());
                      check_orders(Gnn(Random(4), kGnn), embedded_episode());
                    }},
                   {"the hidden label of a query changes nothing",
                    [] {
                      const Gnn head(Random(4), kGnn);
                      Episode<double> e = embedded_episode();
                      const Double before = head(e, Context());
                      e.query.y = full<std::int64_t>({5}, 2);
                      CHECK(same_bits(head(e, Context()), before));
                    }},
                   {"rows of the edges' weights sum to 1, none leads from a node to itself",
                    [] {
                      const Double x = randn<double>({2, 6, 4}, Random(3));
                      const Double a = LearnedAdjacency<double>(4, Random(1), kGnn)(x);
                      CHECK(a.shape() == Shape{2, 6, 6});
                      CHECK(gap(sum(a, {2}), ones<double>({2, 6})) < 1e-14);
                      CHECK(max(abs(a * eye<double>(6))).item() == 0);
                      CHECK(min(a + eye<double>(6)).item() > 0);
                    }},
                   {"edges depend on differences alone: like nodes hear the same",
                    [] {
                      const LearnedAdjacency<double> adjacency(2, Random(1), kGnn);
                      const Double a = adjacency(reshape(tensor<double>({0, 0, 1, 2, 0, 0}), {1, 3, 2}));
                      CHECK(a.at({0, 1, 0}) == Approx(0.5).epsilon(1e-14));
                      CHECK(a.at({0, 0, 1}) == Approx(a.at({0, 2, 1})).epsilon(1e-14));
                      CHECK(a.at({0, 0, 2}) == Approx(a.at({0, 2, 0})).epsilon(1e-14));
                    }},
                   {"edges do not see a common part of all nodes",
                    [] {
                      const Episode<double> e = on_a_grid(embedded_episode());
                      const LearnedAdjacency<double> adjacency(4, Random(1), kGnn);
                      const auto edges = [&](double common) {
                        return adjacency(reshape(shifted(e, common).support.x, {1, 6, 4}));
                      };
                      CHECK(same_bits(edges(1e6), edges(0)));
                    }},
                   {"the perceptron of the edges, by plain sums",
                    [] {
                      const LearnedAdjacency<double> adjacency(4, Random(1), kGnn);
                      const Double x = randn<double>({1, 5, 4}, Random(3)), a = adjacency(x);
                      for (Index i = 0; i < 5; ++i) {
                        double weights[5] = {}, total = 0;
                        for (Index j = 0; j < 5; ++j) {
                          if (j == i) continue;
                          Numbers h;
                          for (Index w = 0; w < 4; ++w) h.push_back(std::abs(x.at({0, i, w}) - x.at({0, j, w})));
                          for (const auto& map : adjacency.hidden) h = normed_leaky(mapped(map, h), 0.01);
                          total += weights[j] = std::exp(mapped(adjacency.last, h)[0]);
                        }
                        for (Index j = 0; j < 5; ++j)
                          CHECK(a.at({0, i, j}) == Approx(weights[j] / total).epsilon(1e-12));
                      }
                    }},
                   {"nodes and layers, by plain sums",
                    [] {
                      const Gnn head(Random(4), kGnn);
                      const Episode<double> e = embedded_episode();
                      const Double logits = head(e, Context());
                      for (Index q = 0; q < 5; ++q) {
                        std::vector<Numbers> nodes;
                        for (Index i = 0; i < 7; ++i) {
                          nodes.emplace_back();
                          for (Index w = 0; w < 4; ++w)
                            nodes.back().push_back(i < 6 ? e.support.x.at({i, w}) : e.query.x.at({q, w}));
                          for (Index k = 0; k < 3; ++k)
                            nodes.back().push_back(i == 6 ? 1. / 3 : e.support.y.at({i}) == k);
                        }
                        for (std::size_t l = 0; l < 2; ++l) {
                          const std::vector<Numbers> heard = beside_neighbours(head.adjacencies[l], nodes);
                          for (std::size_t i = 0; i < 7; ++i)
                            for (const double v : normed_leaky(mapped(head.maps[l], heard[i]), 0.01))
                              nodes[i].push_back(v);
                        }
                        const Numbers expected = mapped(head.maps[2], beside_neighbours(head.adjacencies[2], nodes)[6]);
                        for (Index k = 0; k < 3; ++k) CHECK(logits.at({q, k}) == Approx(expected[k]).epsilon(1e-10));
                      }
                    }},
                   {"it learns to copy the label of the nearest",
                    [] {
                      // Two classes told apart by the sign of one number, in a random order each time.
                      FewShotGnn<float> head(Random(4),
                                             {.ways = 2, .width = 2, .layers = 1, .features = 8, .edge_hidden = 8});
                      const auto draw = [](std::uint64_t number) {
                        return embedded_episode<float>({2, 2, 8, 2, 4}, Random(number));
                      };
                      const auto loss = [&](const FewShotGnn<float>& h, const Episode<float>& e) {
                        return cross_entropy(h(e, Context()), e.query.y);
                      };
                      Adam adam(head);
                      for (std::uint64_t step = 0; step < 150; ++step) {
                        const Episode<float> e = draw(step);
                        adam.step(head, grad([&](const FewShotGnn<float>& h) { return loss(h, e); }, head), 0.01);
                      }
                      double right = 0;
                      for (std::uint64_t test = 1000; test < 1040; ++test)
                        right += share_right(head(draw(test), Context()), draw(test)) / 40;
                      CHECK(right > 0.85);
                    }}},
}});

}  // namespace
