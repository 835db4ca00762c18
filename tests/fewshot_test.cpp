// Prototypical networks and the graph Transformer of an episode: known values, limits and invariances.

#include <algorithm>
#include <numeric>
#include <vector>

#include "catch.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/backbones.hpp"
#include "graft/ops/losses.hpp"
#include "graft/optim/adam.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

/// Random embeddings of an episode, support items of all classes in turn.
template <class T>
struct Embedded {
  Tensor<T> support, query;
  Tensor<std::int64_t> labels;
  Index ways;
};
template <class T>
Embedded<T> random_episode(Index ways, Index shots, Index queries, Index width, std::uint64_t seed) {
  const Random random(seed);
  std::vector<std::int64_t> labels;
  for (Index i = 0; i < ways * shots; ++i) labels.push_back(i % ways);
  return {randn<T>({ways * shots, width}, random.stream("support")), randn<T>({queries, width}, random.stream("query")),
          from_vector(labels), ways};
}
template <class T>
Tensor<T> rows(const Tensor<T>& x, const std::vector<std::int64_t>& order) {
  return gather(x, from_vector(order));
}
Index largest(const Tensor<double>& logits, Index row) {
  const double* at = logits.data() + row * logits.size(1);
  return std::max_element(at, at + logits.size(1)) - at;
}

GraphTransformerOptions small(double gate) {
  return {.width = 8,
          .heads = 2,
          .neighbours = 3,
          .graph_layers = 2,
          .transformer_layers = 2,
          .hidden = 12,
          .gate = gate,
          .scale = 1};
}
/// A model whose every parameter is random, so that no branch is silent.
template <class T>
GraphTransformer<T> random_model(GraphTransformerOptions options, std::uint64_t seed) {
  GraphTransformer<T> model(Random(seed), options);
  std::uint64_t i = 0;
  for_each_parameter(
      [&](auto& leaf) {
        leaf = static_cast<T>(0.3) * randn<T>(leaf.shape(), Random(seed).stream("all").stream(i++)) +
               (leaf.rank() == 1 ? T(0.5) : T(0));
      },
      model);
  return model;
}
template <class T>
Tensor<T> logits_of(const GraphTransformer<T>& model, const Embedded<T>& e) {
  Context evaluation;
  return model(Episode<T>{{e.support, e.labels}, {e.query, {}}, e.ways}, evaluation);
}

}  // namespace

TEST_CASE("ProtoNet is the linear classifier w = 2 c, b = -|c|^2 up to a constant a query", "[methods][fewshot]") {
  const auto e = random_episode<double>(4, 3, 7, 5, 1);
  const Tensor<double> logits = protonet_logits(e.support, e.labels, e.query, 4);
  for (Index q = 0; q < 7; ++q) {
    double constant = 0;
    for (Index k = 0; k < 4; ++k) {
      double linear = 0;
      for (Index w = 0; w < 5; ++w) {
        double c = 0;
        for (Index shot = 0; shot < 3; ++shot) c += e.support.at({4 * shot + k, w}) / 3;
        linear += 2 * c * e.query.at({q, w}) - c * c;
      }
      if (k == 0) constant = logits.at({q, 0}) - linear;
      CHECK(logits.at({q, k}) - linear == Approx(constant).margin(1e-12));
    }
  }
}

TEST_CASE("ProtoNet ignores translation and rotation of the embedding", "[methods][fewshot]") {
  const auto e = random_episode<double>(3, 2, 6, 5, 2);
  const Tensor<double> logits = protonet_logits(e.support, e.labels, e.query, 3);
  const Tensor<double> shift = randn<double>({1, 5}, Random(3));
  CHECK(all_close(protonet_logits(e.support + shift, e.labels, e.query + shift, 3), logits, 1e-11, 1e-11));
  // A Householder reflection I - 2 v v^T / |v|^2 is orthogonal.
  const Tensor<double> v = randn<double>({1, 5}, Random(4));
  const Tensor<double> mirror = eye<double>(5) - matmul(v, v, {.transpose_a = true}) * (2 / sum(square(v)).item());
  CHECK(all_close(protonet_logits(matmul(e.support, mirror), e.labels, matmul(e.query, mirror), 3), logits, 1e-11,
                  1e-11));
}

TEST_CASE("one-shot ProtoNet is the nearest neighbour", "[methods][fewshot]") {
  const auto e = random_episode<double>(6, 1, 40, 4, 5);
  const Tensor<double> logits = protonet_logits(e.support, e.labels, e.query, 6);
  for (Index q = 0; q < 40; ++q) {
    Index nearest = 0;
    double best = 1e300;
    for (Index s = 0; s < 6; ++s) {
      double distance = 0;
      for (Index w = 0; w < 4; ++w) distance += std::pow(e.query.at({q, w}) - e.support.at({s, w}), 2);
      if (distance < best) best = distance, nearest = e.labels.data()[s];
      CHECK(logits.at({q, e.labels.data()[s]}) == Approx(-distance).margin(1e-12));
    }
    CHECK(largest(logits, q) == nearest);
  }
}

TEST_CASE("order of the support and names of the classes only permute the answers", "[methods][fewshot]") {
  const auto e = random_episode<double>(3, 2, 5, 8, 6);
  const auto model = random_model<double>(small(0.5), 7);
  Embedded<double> shuffled = e;
  const std::vector<std::int64_t> order{4, 0, 5, 2, 1, 3};
  shuffled.support = rows(e.support, order);
  shuffled.labels = rows(e.labels, order);
  CHECK(all_close(protonet_logits(shuffled.support, shuffled.labels, e.query, 3),
                  protonet_logits(e.support, e.labels, e.query, 3), 1e-12, 1e-12));
  CHECK(all_close(logits_of(model, shuffled), logits_of(model, e), 1e-11, 1e-11));

  Embedded<double> renamed = e;  // class k is called name[k]
  const std::vector<std::int64_t> name{2, 0, 1};
  std::vector<std::int64_t> labels;
  for (std::int64_t label : e.labels.span()) labels.push_back(name[label]);
  renamed.labels = from_vector(labels);
  const Tensor<std::int64_t> names = from_vector(name);
  CHECK(all_close(gather(protonet_logits(e.support, renamed.labels, e.query, 3), names, 1),
                  protonet_logits(e.support, e.labels, e.query, 3), 1e-12, 1e-12));
  CHECK(all_close(gather(logits_of(model, renamed), names, 1), logits_of(model, e), 1e-11, 1e-11));
}

TEST_CASE("prototypes are class means, of nothing 0, and check their labels", "[methods][fewshot]") {
  const Tensor<double> x = tensor<double>({{1, 2}, {3, 4}, {5, 9}});
  CHECK(all_close(prototypes(x, tensor<std::int64_t>({2, 0, 2}), 3), tensor<double>({{3, 4}, {0, 0}, {3, 5.5}})));
  for (std::int64_t label : {3, -1})
    REQUIRE_THROWS_AS(prototypes(x, tensor<std::int64_t>({0, 1, label}), 3), IndexError);
  REQUIRE_THROWS_WITH(prototypes(x, tensor<std::int64_t>({0, 1}), 3), contains("prototypes") && contains("[3, 2]"));
  REQUIRE_THROWS_WITH(squared_distances(x, tensor<double>({{1, 2, 3}})), contains("[1, 3]"));
}

TEST_CASE("nearest neighbours are the nearest, a tie goes to the lower row", "[methods][fewshot]") {
  const Tensor<double> from = tensor<double>({{0, 0}, {1, 0}, {3, 0}}), to = tensor<double>({{0.5, 0}, {4, 0}});
  const auto pairs = [](const std::vector<GraphEdge>& edges) {
    std::vector<std::pair<Index, Index>> list;
    for (const GraphEdge& edge : edges) list.emplace_back(edge.source, edge.destination);
    return list;
  };
  using List = std::vector<std::pair<Index, Index>>;
  CHECK(pairs(nearest_neighbours(from, to, 1)) == List{{0, 0}, {2, 1}});
  CHECK(pairs(nearest_neighbours(from, to, 2)) == List{{0, 0}, {1, 0}, {2, 1}, {1, 1}});
  CHECK(pairs(nearest_neighbours(from, from, 9, true)) == List{{1, 0}, {2, 0}, {0, 1}, {2, 1}, {1, 2}, {0, 2}});
  CHECK(nearest_neighbours(from, to, 0).empty());
  REQUIRE_THROWS_AS(nearest_neighbours(from, to, -1), ValueError);
  REQUIRE_THROWS_AS(nearest_neighbours(from, tensor<double>({{1, 2, 3}}), 1), ShapeError);
}

TEST_CASE("the graph of an episode has the edges of its definition, none out of a query", "[methods][fewshot]") {
  // Two classes with one support each at 0 and 1, queries at 0.9 and 5: nodes 0 1 | 2 3 | 4 5.
  const Tensor<double> support = tensor<double>({{0}, {1}}), query = tensor<double>({{0.9}, {5}});
  const Graph graph = episode_graph(support, tensor<std::int64_t>({0, 1}), query, 2, 1);
  const auto refused = [&](const Tensor<std::int64_t>& labels, Index ways) {
    return message([&] { episode_graph(support, labels, query, ways, 1); });
  };
  CHECK_THAT(refused(tensor<std::int64_t>({0}), 2), contains("episode_graph") && contains("labels [1]"));
  CHECK_THAT(refused(tensor<std::int64_t>({0, 2}), 2), contains("label 2 of 2 ways"));
  CHECK_THAT(refused(tensor<std::int64_t>({-1, 0}), 2), contains("label -1"));
  std::vector<std::pair<Index, Index>> edges;
  for (Index e = 0; e < graph.edges(); ++e)
    edges.emplace_back(graph.source_of().data()[e], graph.destination_of().data()[e]);
  std::sort(edges.begin(), edges.end());
  const std::vector<std::pair<Index, Index>> expected{{0, 0}, {0, 2}, {1, 1}, {1, 3},  // classes
                                                      {2, 0}, {2, 2}, {2, 3},          // support 0
                                                      {3, 1}, {3, 2}, {3, 3}, {3, 4},
                                                      {3, 5},  // support 1: nearest to both
                                                      {4, 4}, {5, 5}};
  CHECK(edges == expected);
}

TEST_CASE("a query's answer has the same bits whatever other queries are asked", "[methods][fewshot]") {
  // 130 supports: more than one block of keys in the attention kernels.
  for (Index shots : {1, 2, 26}) {
    auto e = random_episode<float>(5, shots, 33, 8, 9);
    const auto model = random_model<float>(small(0.5), 10);
    const Tensor<float> all = logits_of(model, e);
    const std::vector<std::vector<std::int64_t>> choices{{0}, {17}, {32}, {5, 30}, {32, 31, 5, 0}, {20, 20}};
    for (const auto& kept : choices) {
      Embedded<float> fewer = e;
      fewer.query = rows(e.query, kept);
      CHECK(same_bits(logits_of(model, fewer), rows(all, kept)));
    }
    e.query = concat<float>({slice(e.query, 0, 0, 1), randn<float>({32, 8}, Random(77)) * 1e6});
    CHECK(same_bits(slice(logits_of(model, e), 0, 0, 1), slice(all, 0, 0, 1)));
    e.query = slice(e.query, 0, 0, 0);
    CHECK(logits_of(model, e).shape() == Shape{0, 5});
  }
}

TEST_CASE("graph and Transformer each change the answer, and the supports matter", "[methods][fewshot]") {
  const auto e = random_episode<double>(3, 2, 4, 8, 11);
  GraphTransformerOptions no_graph = small(0.5), no_transformer = small(0.5);
  no_graph.graph_layers = 0;
  no_transformer.transformer_layers = 0;
  const Tensor<double> plain = protonet_logits(e.support, e.labels, e.query, 3);
  const auto differs = [&](const Tensor<double>& a, const Tensor<double>& b) { return !all_close(a, b, 1e-3, 1e-3); };
  const Tensor<double> by_graph = logits_of(GraphTransformer<double>(Random(2), no_transformer), e);
  const Tensor<double> by_transformer = logits_of(GraphTransformer<double>(Random(2), no_graph), e);
  CHECK(differs(by_graph, plain));
  CHECK(differs(by_transformer, plain));
  CHECK(differs(by_graph, by_transformer));
}

TEST_CASE("gradients of the graph Transformer, first and second order, match differences", "[methods][fewshot]") {
  const auto e = random_episode<double>(3, 2, 4, 8, 12);
  const Tensor<std::int64_t> answers = tensor<std::int64_t>({0, 2, 1, 1});
  const auto model = random_model<double>(small(0.5), 13);
  const auto loss = [&](const GraphTransformer<double>& m) { return cross_entropy(logits_of(m, e), answers); };
  GraphTransformer<double> direction = model;
  for_each_parameter([](auto& leaf) { leaf = randn<double>(leaf.shape(), Random(14)); }, direction);
  const double step = 1e-6;
  const auto ahead = model + step * direction, behind = model - step * direction;
  const auto [gradient, curved] = hvp(loss, model, direction);
  const double slope = dot(gradient, direction).item();
  CHECK(slope == Approx((loss(ahead) - loss(behind)).item() / (2 * step)).epsilon(1e-6));
  CHECK(std::abs(slope) > 1e-3);
  const auto difference = (1 / (2 * step)) * (grad(loss, ahead) - grad(loss, behind));
  CHECK(norm(curved - difference).item() < 1e-6 * norm(curved).item());
  // Every parameter takes part.
  for_each_named_parameter(
      [](const std::string& name, const auto& leaf) {
        INFO(name);
        CHECK(sum(abs(leaf)).item() > 0);
      },
      gradient);
}

TEST_CASE("second order runs through the convolutional backbone and the graph Transformer", "[methods][fewshot]") {
  struct Learner {
    Conv4<double> embedding;
    GraphTransformer<double> head;
    GRAFT_FIELDS(embedding, head)
  };
  const Learner learner{Conv4<double>(Random(1), {.channels = {4, 4, 4, 8}, .groups = 2}),
                        random_model<double>(small(0.5), 15)};
  const Tensor<double> images = rand<double>({7, 16, 16, 1}, Random(2));
  const Tensor<std::int64_t> labels = tensor<std::int64_t>({0, 1, 2}), answers = tensor<std::int64_t>({1, 0, 2, 2});
  const auto loss = [&](const Learner& m) {
    const Tensor<double> z = m.embedding(images);
    Context evaluation;
    const Episode<double> embedded{{slice(z, 0, 0, 3), labels}, {slice(z, 0, 3, 7), {}}, 3};
    return cross_entropy(m.head(embedded, evaluation), answers);
  };
  Learner direction = learner;
  for_each_parameter([](auto& leaf) { leaf = randn<double>(leaf.shape(), Random(16)); }, direction);
  const double step = 1e-7;
  const auto [gradient, curved] = hvp(loss, learner, direction);
  const auto difference =
      (1 / (2 * step)) * (grad(loss, learner + step * direction) - grad(loss, learner - step * direction));
  CHECK(norm(curved).item() > 1e-3);
  CHECK(norm(curved - difference).item() < 1e-4 * norm(curved).item());
}

TEST_CASE("the graph Transformer learns what ProtoNet cannot: a metric of its own for each episode",
          "[methods][fewshot]") {
  // Every episode has two classes at +-1 along one of four axes and noise of deviation 2 along the others: the distance
  // drowns in noise, but which axis counts can be read off the two supports' difference from other episodes' scale.
  const auto episode = [](std::uint64_t number) {
    const Random random = Random(21).stream(number);
    auto e = random_episode<float>(2, 6, 16, 8, 1000 + number);
    const Index axis = random.below(0, 4);
    const auto place = [&](const Tensor<float>& x, auto label) {
      std::vector<float> values(x.span().begin(), x.span().end());
      for (Index i = 0; i < x.size(0); ++i)
        values[i * 8 + axis] = 0.3f * values[i * 8 + axis] + (label(i) ? 1.5f : -1.5f);
      return from_vector(values, x.shape());
    };
    e.support = place(e.support, [](Index i) { return i % 2; });
    e.query = place(e.query, [](Index i) { return i % 2; });
    return e;
  };
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < 16; ++i) labels.push_back(i % 2);
  const Tensor<std::int64_t> answers = from_vector(labels);
  GraphTransformer<float> model(
      Random(3), {.width = 8, .heads = 2, .neighbours = 3, .graph_layers = 1, .transformer_layers = 1, .hidden = 16});
  const auto loss_of = [&](const GraphTransformer<float>& m, std::uint64_t number) {
    return cross_entropy(logits_of(m, episode(number)), answers);
  };
  const auto test_loss = [&](const GraphTransformer<float>& m) {
    double total = 0;
    for (std::uint64_t number = 5000; number < 5050; ++number) total += loss_of(m, number).item() / 50;
    return total;
  };
  const double before = test_loss(model);
  Adam<GraphTransformer<float>> adam(model);
  for (std::uint64_t step = 0; step < 150; ++step)
    adam.step(model, grad([&](const GraphTransformer<float>& m) { return loss_of(m, step); }, model), 3e-3);
  CHECK(test_loss(model) < 0.8 * before);
}

TEST_CASE("dropout acts in training only, and repeats with its stream", "[methods][fewshot]") {
  const auto e = random_episode<float>(3, 2, 4, 8, 17);
  GraphTransformerOptions options = small(0.5);
  options.dropout = 0.3;
  const GraphTransformer<float> model(Random(2), options), sure(Random(2), small(0.5));
  CHECK(same_bits(logits_of(model, e), logits_of(sure, e)));
  const auto training = [&](std::uint64_t seed) {
    Context context(Phase::training, Random(seed));
    return model(Episode<float>{{e.support, e.labels}, {e.query, {}}, 3}, context);
  };
  CHECK(same_bits(training(1), training(1)));
  CHECK_FALSE(same_bits(training(1), training(2)));
}

TEST_CASE("the backbones' answer for an image does not depend on the others", "[methods][fewshot]") {
  const Tensor<float> images = rand<float>({5, 28, 28, 1}, Random(5));
  const Conv4<float> conv(Random(1));
  const PatchTransformer<float> patches(Random(2));
  Context evaluation;
  const Tensor<float> one = slice(images, 0, 3, 4);
  CHECK(conv(images).shape() == Shape{5, 64});
  CHECK(same_bits(slice(conv(images), 0, 3, 4), conv(one)));
  CHECK(patches(images, evaluation).shape() == Shape{5, 64});
  CHECK(same_bits(slice(patches(images, evaluation), 0, 3, 4), patches(one, evaluation)));
  REQUIRE_THROWS_WITH(conv(rand<float>({28, 28}, Random(1))), contains("Conv4") && contains("[28, 28]"));
  REQUIRE_THROWS_WITH(Conv4<float>(Random(1), {.channels = {12}, .groups = 8}), contains("8 groups"));
}

namespace {

/// A head with a loss of its own, which sees unlabelled items.
struct Counting {
  static constexpr Needs needs{.sees = Sees::unlabelled, .derivatives = 0};
  GRAFT_FIELDS()
  Tensor<double> operator()(const Episode<double>& e, ContextRef) const {
    const Index unlabelled = e.unlabelled.defined() ? e.unlabelled.size(0) : 0;
    return full<double>({e.query.x.size(0), e.ways}, static_cast<double>(100 * unlabelled + e.support.x.size(0)));
  }
  Tensor<double> loss(const Episode<double>&, ContextRef) const { return Tensor<double>(7); }
};

}  // namespace

TEST_CASE("a head makes a few-shot method of an episode learner", "[fewshot]") {
  const auto e = random_episode<double>(3, 2, 5, 4, 1);
  const Tensor<std::int64_t> answers = tensor<std::int64_t>({0, 1, 2, 0, 1});
  const Episode<double> episode{{e.support, e.labels}, {e.query, answers}, 3};
  const EpisodeLearner learner{Linear<double>(4, 6, Random(2)), ProtoNetHead()};
  const HeadMethod<ProtoNetHead> method;
  STATIC_REQUIRE(method.needs.sees == Sees::support);

  const Episode<double> embedded = learner.embed(episode, Context());
  CHECK(all_close(embedded.support.x, learner.embedding(e.support), 1e-14, 1e-14));
  CHECK(all_close(embedded.query.x, learner.embedding(e.query), 1e-14, 1e-14));
  CHECK_FALSE(embedded.unlabelled.defined());
  const Tensor<double> logits = learner(episode, Context());
  CHECK(same_bits(method.train_loss(learner, episode, Context()), cross_entropy(logits, answers)));
  // An embedding that looks at items one by one: the answers to a task that was adapted to are the learner's.
  CHECK(all_close(method.adapt(learner, episode.support).predict(e.query), logits, 1e-12, 1e-12));

  const EpisodeLearner counting{Linear<double>(4, 6, Random(2)), Counting()};
  const HeadMethod<Counting> own;
  STATIC_REQUIRE(own.needs.sees == Sees::unlabelled);
  CHECK(own.train_loss(counting, episode, Context()).item() == 7);
  CHECK(own.adapt(counting, episode.support, zeros<double>({9, 4})).predict(e.query).at({0, 0}) == 906);
  Episode<double> with_more = episode;
  with_more.unlabelled = zeros<double>({2, 4});
  CHECK(counting(with_more, Context()).at({4, 2}) == 206);

  CHECK_THROWS_WITH(learner.embed(Episode<double>(), Context()), contains("EpisodeLearner: the episode has no items"));
  const LabelledSet<double> unlabelled{e.support, zeros<std::int64_t>({0})};
  CHECK_THROWS_WITH(method.adapt(learner, unlabelled), contains("ways_of: no labels"));
}

TEST_CASE("answers to some queries at a time are those to all at once, each query asked once", "[fewshot]") {
  const Embedded<double> items = random_episode<double>(3, 2, 7, 4, 5);
  const Episode<double> e{{items.support, items.labels}, {items.query, {}}, 3};
  const Tensor<double> all = ProtoNetHead()(e, Context());
  for (const Index piece : {1, 2, 3, 7, 100}) {
    std::vector<Index> sizes;
    const auto head = [&](const Episode<double>& some, ContextRef context) {
      sizes.push_back(some.query.x.size(0));
      return ProtoNetHead()(some, context);
    };
    CHECK(same_bits(answer_in_pieces(head, e, piece, Context()), all));
    for (const Index size : sizes) CHECK(size <= piece);
    CHECK(std::accumulate(sizes.begin(), sizes.end(), Index{0}) == all.size(0));
  }
  CHECK_THROWS_WITH(answer_in_pieces(ProtoNetHead(), e, 0, Context()), contains("0 queries at a time"));
}

TEST_CASE("the number of classes is one more than the largest label", "[fewshot]") {
  CHECK(ways_of(tensor<std::int64_t>({0, 3, 1})) == 4);
  CHECK(ways_of(tensor<std::int64_t>({0})) == 1);
  CHECK_THROWS_WITH(ways_of(tensor<std::int64_t>({0, -1})), contains("label -1") && contains("fewshot_test.cpp"));
  CHECK_THROWS_AS(ways_of(zeros<std::int64_t>({0})), ValueError);
}
