// Rows of the method table for fewshot/: MAML, prototypical networks and the graph Transformer.

#include <cmath>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/data/episodes.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/nearest_support.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/ops/attention.hpp"
#include "graft/ops/conv.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/norm.hpp"
#include "graft/ops/segment.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

// ---- MAML on quadratic tasks a/2 (theta - c)^2, where everything is known -------------------------------------------
struct Quadratic {
  double a, c;
};
struct QuadraticTask {
  Quadratic support, query;
};
const std::vector<QuadraticTask> quadratics{{{1, 0}, {1, 0}}, {{3, 1}, {3, 1}}};

Tensor<double> quadratic(const Tensor<double>& theta, const Quadratic& task) {
  return 0.5 * task.a * square(theta - task.c);
}
/// The same with the call that methods make.
struct QuadraticLoss {
  Tensor<double> operator()(const Tensor<double>& theta, const Quadratic& task, ContextRef) const {
    return quadratic(theta, task);
  }
};
double meta_gradient(double theta, const MamlOptions& options) {
  double total = 0;
  for (const QuadraticTask& task : quadratics)
    total +=
        grad([&](const Tensor<double>& at) { return maml_loss(at, task, quadratic, options); }, Tensor<double>(theta))
            .item();
  return total;
}
/// Where the meta-gradient, affine in theta, is zero.
double fixed_point(const MamlOptions& options) {
  const double at_zero = meta_gradient(0, options), at_one = meta_gradient(1, options);
  return at_zero / (at_zero - at_one);
}
/// sum w c / sum w with w = a (1 - alpha a)^power: the inner steps contract the distance to c by 1 - alpha a each.
double weighted_mean(double alpha, int power) {
  double weighted = 0, weights = 0;
  for (const QuadraticTask& task : quadratics) {
    const double w = task.support.a * std::pow(1 - alpha * task.support.a, power);
    weighted += w * task.support.c;
    weights += w;
  }
  return weighted / weights;
}

// ---- A small network with convolution, norm, attention and segment softmax ------------------------------------------
template <class T>
struct Net {
  Tensor<T> conv, scale, shift, query, key, gate, head;
  Tensor<T> unused;
  GRAFT_FIELDS(conv, scale, shift, query, key, gate, head, unused)

  Net(Index channels, Index ways, const Random& random) {
    const auto draw = [&](const Shape& shape, const char* name) {
      return T(0.5) * randn<T>(shape, random.stream(name));
    };
    conv = draw({channels, 1, 3, 3}, "conv");
    scale = draw({channels}, "scale") + T(1);
    shift = draw({channels}, "shift");
    query = draw({channels, channels}, "query");
    key = draw({channels, channels}, "key");
    gate = draw({channels, 1}, "gate");
    head = draw({channels, ways}, "head");
    unused = draw({3}, "unused");
  }
  /// x [items, height, width, 1] -> [items, ways].
  Tensor<T> operator()(const Tensor<T>& x) const {
    const Tensor<T> maps = silu(batch_norm(conv2d(x, conv, {.stride = 2, .padding = 1}), scale, shift));
    const Index items = maps.size(0), channels = maps.size(3), time = maps.size(1) * maps.size(2);
    const Tensor<T> flat = reshape(maps, {items * time, channels});
    const auto heads = [&](const Tensor<T>& y) { return reshape(y, {items, 1, time, channels}); };
    const Tensor<T> mixed =
        reshape(scaled_dot_product_attention(heads(matmul(flat, query)), heads(matmul(flat, key)), heads(flat)),
                {items * time, channels});
    std::vector<std::int64_t> starts;
    for (Index i = 0; i <= items; ++i) starts.push_back(i * time);
    const Tensor<std::int64_t> offsets = from_vector(starts);
    const Tensor<T> alpha = segment_softmax(matmul(mixed, gate), offsets);
    return matmul(segment_sum(alpha * mixed, offsets), head);
  }
};
template <class T>
Episode<T> episode(Index ways, Index size, const Random& random) {
  return {{randn<T>({2 * ways, size, size, 1}, random.stream("support")), episode_labels(ways, 2)},
          {randn<T>({3 * ways, size, size, 1}, random.stream("query")), episode_labels(ways, 3)},
          ways};
}
template <class T>
Tensor<T> loss_on(const Net<T>& net, const LabelledSet<T>& set) {
  return cross_entropy(net(set.x), set.y);
}
const auto net_loss = [](const auto& net, const auto& set) { return loss_on(net, set); };

/// The loss <slopes, theta>: no curvature.
struct LinearTask {
  Tensor<double> support, query;
};

const bool maml_row = add_method_rows({{
    .name = "maml",
    .header = "graft/fewshot/maml.hpp",
    .paper = "Finn, Abbeel, Levine, Model-agnostic meta-learning for fast adaptation of deep networks, ICML 2017",
    .functions = {"maml_adapt", "maml_loss", "Maml"},
    .use = "maml_loss(net, episode, loss, {.alpha = 0.4})",
    .run =
        [](const Random& random) {
          const Episode<float> task = episode<float>(4, 12, random);
          return to_vector(grad([&](const Net<float>& theta) { return maml_loss(theta, task, net_loss, {.steps = 2}); },
                                Net<float>(8, 4, random)));
        },
    .loss =
        [](const Tensor<double>& vector) {
          const Net<double> net = from_vector(vector, Net<double>(3, 2, Random(1)));
          return maml_loss(net, episode<double>(2, 5, Random(2)), net_loss, {.alpha = 0.1, .steps = 2});
        },
    .loss_at = to_vector(Net<double>(3, 2, Random(1))),
    .errors = {bad_use<ValueError>([] { maml_loss(Tensor<double>(1), quadratics[0], quadratic, {.steps = -1}); },
                                   "steps is -1"),
               bad_use<ValueError>(
                   [] { maml_adapt(Tensor<double>(1), quadratics[0].support, quadratic, {.alpha = NAN}); }, "alpha"),
               bad_use<ValueError>(
                   [] {
                     Maml<QuadraticLoss>{{.alpha = 1e100, .steps = 9}}.adapt(Tensor<double>(1), Quadratic{4, 0});
                   },
                   "Maml: the support loss is not finite at step 2"),
               bad_use<ValueError>(
                   [] {
                     Maml<QuadraticLoss>{{.alpha = 1e200}}.train_loss(Tensor<double>(0), quadratics[1], Context());
                   },
                   "Maml: the query loss is not finite after 1 steps"),
               bad_use<ValueError>(
                   [] {
                     Maml<QuadraticLoss>{{.alpha = 1e200}}.adapt(Tensor<double>(1), Quadratic{1e120, 0});
                   },
                   "Maml: the adapted parameters are not finite after 1 steps")},
    .properties =
        {{"fixed points on quadratic tasks",
          [] {
            for (int steps : {0, 1, 2, 5}) {
              CHECK(fixed_point({.alpha = 0.1, .steps = steps}) ==
                    Approx(weighted_mean(0.1, 2 * steps)).epsilon(1e-12));
              CHECK(fixed_point({.alpha = 0.1, .steps = steps, .first_order = true}) ==
                    Approx(weighted_mean(0.1, steps)).epsilon(1e-12));
            }
            // The same by hand, to seven digits.
            CHECK(std::abs(fixed_point({.alpha = 0.1, .steps = 0}) - 0.75) < 5e-8);
            CHECK(std::abs(fixed_point({.alpha = 0.1, .steps = 1}) - 0.6447368) < 5e-8);
            CHECK(std::abs(fixed_point({.alpha = 0.1, .steps = 2}) - 0.5233217) < 5e-8);
            CHECK(std::abs(fixed_point({.alpha = 0.1, .steps = 1, .first_order = true}) - 0.7) < 5e-8);
            CHECK(std::abs(fixed_point({.alpha = 0.1, .steps = 2, .first_order = true}) - 0.6447368) < 5e-8);
          }},
         {"without steps, or with rate zero, the joint gradient",
          [] {
            const Net<double> net(3, 2, Random(3));
            const Episode<double> task = episode<double>(2, 5, Random(4));
            const auto joint = to_vector(grad([&](const auto& theta) { return loss_on(theta, task.query); }, net));
            for (const MamlOptions& options : {MamlOptions{.steps = 0}, MamlOptions{.alpha = 0, .steps = 3}})
              CHECK(gap(to_vector(
                            grad([&](const auto& theta) { return maml_loss(theta, task, net_loss, options); }, net)),
                        joint) < 1e-13);
          }},
         {"first order equals full for a linear loss",
          [] {
            const LinearTask task{tensor<double>({1, -2, 3}), tensor<double>({0.5, 4, -1})};
            const auto loss = [](const Tensor<double>& theta, const Tensor<double>& slopes) {
              return sum(theta * slopes);
            };
            const auto gradient = [&](bool first_order) {
              return grad(
                  [&](const auto& theta) {
                    return maml_loss(theta, task, loss, {.steps = 3, .first_order = first_order});
                  },
                  tensor<double>({1, 1, 1}));
            };
            CHECK(same_bits(gradient(false), gradient(true)));
            CHECK(gap(gradient(false), task.query) == 0);
          }},
         {"first order is the query gradient at the adapted parameters, and not the full one",
          [] {
            const Net<double> net(3, 2, Random(5));
            const Episode<double> task = episode<double>(2, 5, Random(6));
            const auto gradient = [&](bool first_order) {
              return to_vector(grad(
                  [&](const auto& theta) { return maml_loss(theta, task, net_loss, {.first_order = first_order}); },
                  net));
            };
            const Net<double> adapted = maml_adapt(net, task.support, net_loss, {});
            CHECK(gap(gradient(true),
                      to_vector(grad([&](const auto& phi) { return loss_on(phi, task.query); }, adapted))) < 1e-14);
            CHECK(gap(gradient(true), gradient(false)) > 1e-3);
          }},
         {"the method of three members is these functions, bit for bit",
          [] {
            const Net<double> net(3, 2, Random(3));
            const Episode<double> task = episode<double>(2, 5, Random(4));
            for (const bool first_order : {false, true}) {
              const MamlOptions options{.alpha = 0.3, .steps = 2, .first_order = first_order};
              const Maml<> method{options};
              const auto adapted = method.adapt(net, task.support);
              CHECK(same_bits(to_vector(adapted.model), to_vector(maml_adapt(net, task.support, net_loss, options))));
              CHECK(same_bits(adapted.predict(task.query.x), adapted.model(task.query.x)));
              const auto loss = [&](const auto& theta) { return maml_loss(theta, task, net_loss, options); };
              const auto of_method = [&](const auto& theta) { return method.train_loss(theta, task, Context()); };
              CHECK(same_bits(to_vector(grad(of_method, net)), to_vector(grad(loss, net))));
            }
          }},
         {"adapting an untracked model leaves no tape behind",
          [] {
            const Net<double> net(3, 2, Random(5));
            const Net<double> adapted =
                maml_adapt(net, episode<double>(2, 5, Random(6)).support, net_loss, {.steps = 2});
            for_each_parameter([](const auto& parameter) { CHECK_FALSE(parameter.tracked()); }, adapted);
          }},
         {"unused and frozen parameters stay, with gradient zero",
          [] {
            const Net<double> net = freeze(Net<double>(3, 2, Random(5)), {"conv"});
            const Episode<double> task = episode<double>(2, 5, Random(6));
            const Net<double> adapted = maml_adapt(net, task.support, net_loss, {.steps = 2});
            CHECK(same_bits(adapted.conv, net.conv));
            CHECK(same_bits(adapted.unused, net.unused));
            CHECK_FALSE(same_bits(adapted.head, net.head));
            const auto gradient = grad([&](const auto& theta) { return maml_loss(theta, task, net_loss, {}); }, net);
            CHECK(gap(gradient.conv, zeros<double>(net.conv.shape())) == 0);
            CHECK(gap(gradient.unused, zeros<double>({3})) == 0);
          }}},
}});

// ---- Prototypical networks ------------------------------------------------------------------------------------------
struct Embedded {
  Tensor<double> support, query;
  Tensor<std::int64_t> labels;
  Tensor<double> logits(Index ways) const { return protonet_logits(support, labels, query, ways); }
  Episode<double> episode(Index ways) const { return {{support, labels}, {query, {}}, ways}; }
};
/// 3 classes in turn, `shots` each, and 5 queries in 4 dimensions.
Embedded embedded(Index shots) {
  std::vector<std::int64_t> labels;
  for (Index i = 0; i < 3 * shots; ++i) labels.push_back(i % 3);
  return {randn<double>({3 * shots, 4}, Random(1)), randn<double>({5, 4}, Random(2)), from_vector(labels)};
}
Tensor<double> minus_row_means(const Tensor<double>& x) { return x - mean(x, {1}, true); }

const bool protonet_row = add_method_rows({{
    .name = "protonet",
    .header = "graft/fewshot/protonet.hpp",
    .paper = "Snell, Swersky, Zemel, Prototypical networks for few-shot learning, NeurIPS 2017",
    .functions = {"protonet_logits", "prototypes", "squared_distances"},
    .use = "protonet_logits(support, labels, query, ways)",
    .run =
        [](const Random& random) {
          const Tensor<float> query = randn<float>({300, 64}, random.stream("query"));
          const auto [logits, gradient] = vjp(
              [&](const Tensor<float>& support) { return protonet_logits(support, episode_labels(20, 5), query, 20); },
              randn<float>({100, 64}, random.stream("support")), ones<float>({300, 20}));
          return concat(std::vector{reshape(logits, {-1}), reshape(gradient, {-1})}, 0);
        },
    .loss =
        [](const Tensor<double>& x) {
          return cross_entropy(protonet_logits(slice(x, 0, 0, 6), episode_labels(3, 2), slice(x, 0, 6, 9), 3),
                               episode_labels(3, 1));
        },
    .loss_at = randn<double>({9, 4}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     protonet_logits(zeros({4, 3}), episode_labels(2, 3), zeros({5, 3}), 2);
                   },
                   "labels [6]"),
               bad_use<ShapeError>(
                   [] {
                     protonet_logits(zeros({4, 3}), episode_labels(2, 2), zeros({5, 2}), 2);
                   },
                   "[5, 2]"),
               bad_use<ShapeError>(
                   [] {
                     protonet_logits(zeros({4}), episode_labels(2, 2), zeros({5, 3}), 2);
                   },
                   "[4]")},
    .properties =
        {{"a linear classifier with w = 2 c and b = -|c|^2, up to a constant a query",
          [] {
            const Embedded e = embedded(4);
            const Tensor<double> c = prototypes(e.support, e.labels, 3);
            const Tensor<double> linear =
                matmul(e.query, 2.0 * c, {.transpose_b = true}) - reshape(sum(square(c), {1}), {1, 3});
            CHECK(gap(minus_row_means(e.logits(3)), minus_row_means(linear)) < 1e-13);
          }},
         {"one shot is the nearest neighbour",
          [] {
            const Embedded e = embedded(1);
            const auto answer = argmax(e.logits(3), 1);
            for (Index q = 0; q < 5; ++q) {
              Index nearest = 0;
              double least = INFINITY;
              for (Index s = 0; s < 3; ++s) {
                double squared = 0;
                for (Index w = 0; w < 4; ++w) squared += std::pow(e.query.at({q, w}) - e.support.at({s, w}), 2);
                CHECK(e.logits(3).at({q, s}) == Approx(-squared).epsilon(1e-12));
                if (squared < least) least = squared, nearest = s;
              }
              CHECK(answer.at({q}) == nearest);
            }
          }},
         {"invariant to translating and rotating the embedding",
          [] {
            Embedded e = embedded(4);
            const Tensor<double> before = e.logits(3);
            // Two plane rotations and a shift.
            const double c = std::cos(0.7), s = std::sin(0.7);
            const Tensor<double> turn = tensor<double>({{c, s, 0, 0}, {-s, c, 0, 0}, {0, 0, s, -c}, {0, 0, c, s}});
            const Tensor<double> shift = tensor<double>({3, -1, 2, 0.5});
            e.support = matmul(e.support, turn) + shift;
            e.query = matmul(e.query, turn) + shift;
            CHECK(gap(e.logits(3), before) < 1e-12);
          }},
         {"the order of the support set changes nothing, renaming classes permutes columns",
          [] {
            Embedded e = embedded(4);
            const Tensor<double> before = e.logits(3);
            const std::vector<Index> order = Random(4).permutation(12);
            const auto places = from_vector(std::vector<std::int64_t>(order.begin(), order.end()));
            Embedded mixed{gather(e.support, places), e.query, gather(e.labels, places)};
            CHECK(gap(mixed.logits(3), before) < 1e-13);
            const std::int64_t renamed[] = {2, 0, 1};
            std::vector<std::int64_t> labels;
            for (std::int64_t label : e.labels.span()) labels.push_back(renamed[label]);
            e.labels = from_vector(labels);
            for (Index q = 0; q < 5; ++q)
              for (Index k = 0; k < 3; ++k) CHECK(e.logits(3).at({q, renamed[k]}) == before.at({q, k}));
          }},
         {"a class without items has its prototype at zero",
          [] {
            const Embedded e = embedded(2);
            const Tensor<double> logits = e.logits(4);
            for (Index q = 0; q < 5; ++q)
              CHECK(logits.at({q, 3}) == Approx(-sum(square(slice(e.query, 0, q, q + 1))).item()).epsilon(1e-13));
          }}},
}});

// ---- The nearest support item ---------------------------------------------------------------------------------------
const bool nearest_support_row = add_method_rows({{
    .name = "nearest_support",
    .header = "graft/fewshot/nearest_support.hpp",
    .paper = "Cover, Hart, Nearest neighbor pattern classification, IEEE Transactions on Information Theory 1967",
    .functions = {"nearest_support"},
    .use = "nearest_support(episode)",
    .run = [](const Random& random) { return cast<float>(nearest_support(episode<float>(4, 12, random))) + 1.0f; },
    .errors = {bad_use<ShapeError>(
                   [] {
                     nearest_support(Episode<float>{{zeros({2, 3}), episode_labels(3, 1)}, {zeros({4, 3}), {}}, 3});
                   },
                   "labels [3]"),
               bad_use<ValueError>(
                   [] {
                     nearest_support(Episode<float>{{zeros({0, 3}), episode_labels(0, 1)}, {zeros({4, 3}), {}}, 3});
                   },
                   "no support")},
    .properties = {{"a support item is nearest to itself, the earlier of two alike",
                    [] {
                      const Tensor<double> x = tensor<double>({{0, 1}, {5, 5}, {0, 1}});
                      const auto labels = tensor<std::int64_t>({2, 0, 1});
                      CHECK(same_bits(nearest_support(Episode<double>{{x, labels}, {x, {}}, 3}),
                                      tensor<std::int64_t>({2, 0, 2})));
                    }}},
}});

// ---- Graph Transformer; its invariances are in fewshot_test.cpp -----------------------------------------------------
const bool graph_transformer_row = add_method_rows({{
    .name = "graph_transformer",
    .header = "graft/fewshot/graph_transformer.hpp",
    .paper = "Snell, Swersky, Zemel, NeurIPS 2017; Brody, Alon, Yahav, ICLR 2022; Vaswani et al., NeurIPS 2017",
    .functions = {"GraphTransformer", "episode_graph"},
    .use = "EpisodeLearner{embedding, GraphTransformer<>(random)}(episode, context)",
    .run =
        [](const Random& random) {
          const GraphTransformer<float> model(random.stream("model"));
          const Tensor<float> query = randn<float>({100, 64}, random.stream("query"));
          const auto [logits, gradient] = vjp(
              [&](const Tensor<float>& support) {
                return model(Episode<float>{{support, episode_labels(20, 2)}, {query, {}}, 20}, Context());
              },
              randn<float>({40, 64}, random.stream("support")), ones<float>({100, 20}));
          return concat(std::vector{reshape(logits, {-1}), reshape(gradient, {-1})}, 0);
        },
    // The Transformer alone: the graph's choice of neighbours and its leaky ReLU have kinks.
    .loss =
        [](const Tensor<double>& x) {
          const GraphTransformer<double> model(
              Random(7), {.width = 4, .heads = 2, .graph_layers = 0, .hidden = 6, .gate = 0.5, .scale = 0.5});
          const Episode<double> e{{slice(x, 0, 0, 6), episode_labels(3, 2)}, {slice(x, 0, 6, 9), {}}, 3};
          return cross_entropy(model(e, Context()), episode_labels(3, 1));
        },
    .loss_at = randn<double>({9, 4}, Random(3)),
    .errors = {bad_use<ValueError>([] { GraphTransformer<float>(Random(1), {.width = 10, .heads = 4}); }, "4 heads"),
               bad_use<ValueError>([] { GraphTransformer<float>(Random(1), {.transformer_layers = -1}); }, "-1"),
               bad_use<ValueError>([] { GraphTransformer<float>(Random(1), {.gate = NAN}); }, "gate is nan"),
               bad_use<ValueError>([] { GraphTransformer<float>(Random(1), {.scale = 0}); }, "scale is 0"),
               bad_use<IndexError>(
                   [] {
                     episode_graph(zeros({6, 4}), episode_labels(3, 2), zeros({2, 4}), 2, 1);
                   },
                   "label 2 of 2 ways"),
               bad_use<ShapeError>(
                   [] {
                     episode_graph(zeros({6, 4}), episode_labels(2, 2), zeros({2, 4}), 2, 1);
                   },
                   "labels [4]")},
    .properties = {{"with its gates at 0, or without layers, and scale 1 it is ProtoNet, bit for bit",
                    [] {
                      const Embedded e = embedded(2);
                      const auto logits = [&](double gate, Index layers) {
                        const GraphTransformer<double> model(Random(1), {.width = 4,
                                                                         .heads = 2,
                                                                         .neighbours = 3,
                                                                         .graph_layers = layers,
                                                                         .transformer_layers = layers,
                                                                         .hidden = 6,
                                                                         .gate = gate,
                                                                         .scale = 1});
                        return model(e.episode(3), Context());
                      };
                      CHECK(same_bits(logits(0, 2), e.logits(3)));
                      CHECK(same_bits(logits(0.5, 0), e.logits(3)));
                      CHECK_FALSE(same_bits(logits(0.5, 2), e.logits(3)));
                    }},
                   {"its Transformer attends to classes and supports alone",
                    [] {
                      const Embedded e = embedded(2);
                      const GraphTransformer<double> model(
                          Random(1), {.width = 4, .heads = 2, .graph_layers = 0, .hidden = 6, .gate = 0.5, .scale = 1});
                      const Tensor<double> c = prototypes(e.support, e.labels, 3);
                      const Tensor<double> nodes = concat(std::vector{c, e.support, e.query}, 0);
                      Tensor<bool> known = generate({1, 14}, [](Index, Index node) { return node < 9; });
                      const Tensor<double> masked = model.transformer(nodes, {.key_mask = known}, Context());
                      CHECK(gap(model(e.episode(3), Context()),
                                -squared_distances(slice(masked, 0, 9, 14), slice(masked, 0, 0, 3))) < 1e-13);
                    }}},
}});

// ---- The same with unlabelled items ---------------------------------------------------------------------------------
using SeesUnlabelled = GraphTransformer<double, Sees::unlabelled>;

Episode<double> with_unlabelled(Index others) {
  Episode<double> e = embedded(2).episode(3);
  e.unlabelled = randn<double>({others, 4}, Random(41));
  return e;
}
const GraphTransformerOptions small_with_unlabelled{
    .width = 4, .heads = 2, .neighbours = 3, .hidden = 6, .gate = 0.5, .scale = 1};

const bool graph_transformer_unlabelled_row = add_method_rows({{
    .name = "graph_transformer of unlabelled items",
    .header = "graft/fewshot/graph_transformer.hpp",
    .paper = "as graph_transformer; unlabelled items as in Ren et al., ICLR 2018",
    .functions = {"GraphTransformer"},
    .use = "EpisodeLearner{embedding, GraphTransformer<float, Sees::unlabelled>(random)}(episode, context)",
    .run =
        [](const Random& random) {
          const GraphTransformer<float, Sees::unlabelled> model(random.stream("model"));
          const Tensor<float> support = randn<float>({40, 64}, random.stream("support"));
          const LabelledSet<float> query{randn<float>({100, 64}, random.stream("query")), {}};
          const auto [logits, gradient] = vjp(
              [&](const Tensor<float>& unlabelled) {
                return model(Episode<float>{{support, episode_labels(20, 2)}, query, 20, unlabelled}, Context());
              },
              randn<float>({60, 64}, random.stream("unlabelled")), ones<float>({100, 20}));
          return concat(std::vector{reshape(logits, {-1}), reshape(gradient, {-1})}, 0);
        },
    .loss =
        [](const Tensor<double>& x) {
          GraphTransformerOptions o = small_with_unlabelled;
          o.graph_layers = 0;  // its choice of neighbours and its leaky ReLU have kinks
          const Episode<double> e{
              {slice(x, 0, 0, 6), episode_labels(3, 2)}, {slice(x, 0, 6, 9), {}}, 3, slice(x, 0, 9, 13)};
          return cross_entropy(SeesUnlabelled(Random(7), o)(e, Context()), episode_labels(3, 1));
        },
    .loss_at = randn<double>({13, 4}, Random(3)),
    .errors = {bad_use<ShapeError>(
        [] {
          Episode<double> e = embedded(2).episode(3);
          e.unlabelled = zeros<double>({5, 3});
          SeesUnlabelled(Random(1), small_with_unlabelled)(e, Context());
        },
        "[5, 3]")},
    .properties =
        {{"without unlabelled items it is the inductive one, bit for bit",
          [] {
            const Tensor<double> inductive =
                GraphTransformer<double>(Random(5), small_with_unlabelled)(embedded(2).episode(3), Context());
            const SeesUnlabelled model(Random(5), small_with_unlabelled);
            CHECK(same_bits(model(embedded(2).episode(3), Context()), inductive));
            CHECK(same_bits(model(with_unlabelled(0), Context()), inductive));
            CHECK_FALSE(same_bits(model(with_unlabelled(7), Context()), inductive));
          }},
         {"a query is answered the same whatever other queries there are",
          [] {
            const SeesUnlabelled model(Random(5), small_with_unlabelled);
            Episode<double> e = with_unlabelled(7);
            const Tensor<double> all = model(e, Context());
            e.query.x = slice(e.query.x, 0, 1, 3);
            CHECK(same_bits(model(e, Context()), slice(all, 0, 1, 3)));
          }},
         {"the order of the unlabelled items does not matter",
          [] {
            const SeesUnlabelled model(Random(5), small_with_unlabelled);
            Episode<double> e = with_unlabelled(7);
            const Tensor<double> logits = model(e, Context());
            e.unlabelled = gather(e.unlabelled, tensor<std::int64_t>({6, 5, 4, 3, 2, 1, 0}));
            CHECK(gap(model(e, Context()), logits) < 1e-12);
          }},
         {"an unlabelled item and the class with the nearest mean exchange edges, and it sends to queries near it",
          [] {
            const Tensor<double> support = tensor<double>({{0, 0}, {4, 4}}), query = tensor<double>({{9, 9}});
            const Graph graph =
                episode_graph(support, tensor<std::int64_t>({0, 1}), query, 2, 1, tensor<double>({{8, 8}, {-1, 0}}));
            // Nodes: classes 0, 1; supports 2, 3; unlabelled 4, 5; query 6.
            std::vector<std::pair<Index, Index>> edges;
            for (const GraphEdge& edge : edge_list(graph))
              if (edge.source != edge.destination) edges.emplace_back(edge.source, edge.destination);
            std::sort(edges.begin(), edges.end());
            const std::vector<std::pair<Index, Index>> expected{{0, 2}, {0, 5}, {1, 3}, {1, 4}, {2, 0}, {2, 3}, {2, 5},
                                                                {3, 1}, {3, 4}, {4, 1}, {4, 6}, {5, 0}, {5, 2}};
            CHECK(edges == expected);
          }},
         {"random edges are drawn from the context: others answers, the same in the same context",
          [] {
            GraphTransformerOptions o = small_with_unlabelled;
            o.random_edges = true;
            const SeesUnlabelled model(Random(5), o), nearest(Random(5), small_with_unlabelled);
            const auto logits = [&](const SeesUnlabelled& of, std::uint64_t seed) {
              return of(with_unlabelled(7), Context(Phase::evaluation, Random(seed)));
            };
            CHECK(same_bits(logits(model, 1), logits(model, 1)));
            CHECK_FALSE(same_bits(logits(model, 1), logits(model, 2)));
            CHECK_FALSE(same_bits(logits(model, 1), logits(nearest, 1)));
          }},
         {"with its gates at 0 and scale 1 it is ProtoNet, bit for bit",
          [] {
            GraphTransformerOptions o = small_with_unlabelled;
            o.gate = 0;
            CHECK(same_bits(SeesUnlabelled(Random(1), o)(with_unlabelled(7), Context()), embedded(2).logits(3)));
          }}},
}});

}  // namespace
