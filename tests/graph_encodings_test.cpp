// Encodings of positions, pooling, label propagation, what works against over-smoothing, and self-supervised encoders,
// tagged [graph]: closed forms on small graphs and the properties that their papers state.

#include "graft/graph/dgi.hpp"
#include "graft/graph/encodings.hpp"
#include "graft/graph/gcn.hpp"
#include "graft/graph/grace.hpp"
#include "graft/graph/label_propagation.hpp"
#include "graft/graph/pooling.hpp"
#include "graft/graph/regularise.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/sequential.hpp"
#include "graft/optim/adam.hpp"
#include "graphs.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

/// The binomial coefficient.
double choose(int n, int k) { return k == 0 ? 1 : choose(n - 1, k - 1) * n / k; }

}  // namespace

TEST_CASE("a random walk on a long ring is back with the binomial probability, and at no odd step", "[graph]") {
  const Numbers back = random_walk_encoding<double>(Graph(20, ring(20)), 8);
  for (Index i = 0; i < 20; ++i)
    for (int k = 1; k <= 8; ++k)  // k / 2 steps to the left among k, on a ring too long to go round
      CHECK(back.at({i, k - 1}) == Approx(k % 2 ? 0 : choose(k, k / 2) / std::pow(2, k)).margin(1e-15));
  // An odd ring can be gone round.
  CHECK(random_walk_encoding<double>(Graph(3, ring(3)), 3).at({0, 2}) == Approx(0.25).epsilon(1e-14));
  // Of more nodes than are walked from at a time: a batch is one graph at a time.
  const std::vector<Graph> graphs{Graph(70, ring(70)), Graph(3, ring(3))};
  CHECK(same_bits(slice(random_walk_encoding<double>(disjoint_union(graphs), 3), 0, 70, 73),
                  random_walk_encoding<double>(graphs[1], 3)));
  CHECK(largest(random_walk_encoding<double>(Graph(2, EdgeList{}), 3)) == 0);
  CHECK_THROWS_AS(random_walk_encoding(Graph(2, EdgeList{}), -1), ValueError);
  CHECK_THROWS_AS(random_walk_encoding(Graph(2, 3, EdgeList{}), 1), ShapeError);
}

TEST_CASE("Laplacian encodings are eigenvectors without the constant one", "[graph]") {
  // A ring of n has eigenvalues 1 - cos(2 pi k / n) twice each, and its constant vector is left out.
  const Graph graph(8, ring(8));
  const Numbers v = laplacian_encoding<double>(graph, 4);
  const Numbers l = v - matmul(SparseMatrix<double>(graph, symmetric_normalised<double>(graph)), v);
  const double pi = std::acos(-1.0);
  for (Index k = 0; k < 4; ++k) {
    const double value = 1 - std::cos(2 * pi * static_cast<double>(k / 2 + 1) / 8);
    CHECK(all_close(slice(l, 1, k, k + 1), value * slice(v, 1, k, k + 1), 1e-10, 1e-12));
  }
  CHECK(all_close(matmul(v, v, {.transpose_a = true}), eye<double>(4), 1e-12, 1e-12));
  CHECK(largest(sum(v, {0})) < 1e-12);
  // Two nodes have one such vector; the rest is zeros. Loops do not count.
  const Numbers two = laplacian_encoding<double>(Graph(2, EdgeList{{0, 1}, {1, 0}, {0, 0}}), 3);
  CHECK(all_close(abs(two), tensor<double>({{std::sqrt(0.5), 0, 0}, {std::sqrt(0.5), 0, 0}}), 1e-13, 1e-14));
  CHECK(laplacian_encoding<double>(Graph(), 2).shape() == Shape{0, 2});
  CHECK_THROWS_AS(laplacian_encoding(graph, -1), ValueError);
}

TEST_CASE("signs are random in training only, and each graph of a batch has its own", "[graph]") {
  const Numbers x = ones<double>({7, 40});
  CHECK(same_bits(random_signs(x, Context()), x));
  Context one = training(), same = training();
  const Numbers signs = random_signs(x, one);
  CHECK(same_bits(signs, random_signs(x, same)));
  CHECK_FALSE(same_bits(signs, random_signs(x, one)));
  CHECK(same_bits(abs(signs), x));
  CHECK(same_bits(signs, broadcast_to(slice(signs, 0, 0, 1), {7, 40})));
  // 40 coins fall alike with probability 2^-39.
  CHECK(std::abs(sum(slice(signs, 0, 0, 1)).item()) < 40);
  Context third = training();
  const Numbers batch = random_signs(x, tensor<std::int64_t>({0, 3, 7}), third);
  CHECK(same_bits(slice(batch, 0, 0, 3), broadcast_to(slice(batch, 0, 0, 1), {3, 40})));
  CHECK_FALSE(same_bits(slice(batch, 0, 2, 3), slice(batch, 0, 3, 4)));
}

// ---- pooling

TEST_CASE("attention pooling is a weighted mean of each graph's nodes, in any order", "[graph]") {
  const Numbers x = normal_numbers({6, 3}, 1);
  const auto offsets = tensor<std::int64_t>({0, 2, 2, 6});
  const AttentionPooling pool(Linear<double>(3, 1, Random(1)));
  const Numbers pooled = pool(x, offsets, Context());
  const Numbers first = slice(x, 0, 0, 2), w = softmax(pool.gate_nn(first), 0);
  CHECK(all_close(slice(pooled, 0, 0, 1), sum(w * first, {0}, true), 1e-13, 1e-13));
  CHECK(largest(slice(pooled, 0, 1, 2)) == 0);
  CHECK(all_close(pool(rows_in_order(x, {1, 0, 5, 3, 2, 4}), offsets, Context()), pooled, 1e-13, 1e-13));
  // A gate of one value for all is the mean.
  AttentionPooling flat(Linear<double>(3, 1, Random(1)));
  flat.gate_nn.weight = zeros<double>({1, 3});
  CHECK(all_close(flat(x, offsets, Context()), segment_mean(x, offsets), 1e-13, 1e-13));
  CHECK(names(pool) == Names{"gate_nn.weight", "gate_nn.bias"});
  check_orders(std::pair(pool, x), [&](const auto& at) { return at.first(at.second, offsets, Context()); });
  CHECK_THROWS_WITH(AttentionPooling(Linear<double>(3, 2, Random(1)))(x, offsets, Context()),
                    contains("graft: AttentionPooling: ") && contains("gate [6, 2]"));
}

TEST_CASE("top-k pooling keeps the nodes of highest score and the edges between them", "[graph]") {
  const std::vector<Graph> graphs{Graph(4, EdgeList{{0, 1}, {1, 3}, {3, 1}, {2, 0}}), Graph(),
                                  Graph(1, EdgeList{{0, 0}})};
  const GraphBatch batch(graphs);
  TopKPooling<double> pool(2, 0.5, Random(1));
  pool.weight = tensor<double>({{3.0, 4.0}});                                    // of norm 5
  const Numbers x = tensor<double>({{1, 0}, {0, 2}, {-1, 0}, {1, 1}, {0, -1}});  // scores 0.6, 1.6, -0.6, 1.4 and -0.8
  const PooledBatch<double> left = pool(batch, x);
  CHECK(same_bits(left.nodes, tensor<std::int64_t>({1, 3, 4})));
  CHECK(all_close(left.x,
                  tensor<double>({{0, 2 * std::tanh(1.6)}, {std::tanh(1.4), std::tanh(1.4)}, {0, std::tanh(0.8)}}),
                  1e-14, 1e-14));
  CHECK(edge_list(left.batch.graph) == EdgeList{{0, 1}, {1, 0}, {2, 2}});
  CHECK(same_bits(left.edges, tensor<std::int64_t>({1, 2, 4})));
  CHECK(same_bits(left.batch.offsets, tensor<std::int64_t>({0, 2, 2, 3})));
  CHECK(same_bits(left.batch.edge_offsets, tensor<std::int64_t>({0, 2, 2, 3})));
  CHECK(same_bits(left.batch.graph_of, tensor<std::int64_t>({0, 0, 2})));
  CHECK(left.batch.longest == 2);
  // A ratio of 1 keeps all.
  pool.ratio = 1;
  const PooledBatch<double> all = pool(batch, x);
  CHECK(edge_list(all.batch.graph) == edge_list(batch.graph));
  CHECK(same_bits(all.batch.offsets, batch.offsets));
  CHECK(all_close(all.x, x * tanh(matmul(x, transpose(pool.weight)) / 5.0), 1e-14, 1e-14));
  pool.ratio = 0.5;
  check_orders(std::pair(pool, x), [&](const auto& at) { return at.first(batch, at.second).x; });
  CHECK_THROWS_WITH(TopKPooling<>(2, 0, Random(1)), contains("graft: TopKPooling: ratio is 0"));
  CHECK_THROWS_AS(pool(batch, normal_numbers({4, 2}, 1)), ShapeError);
}

// ---- label propagation

TEST_CASE("label propagation between two nodes is its geometric series", "[graph]") {
  // S = [[0, 1], [1, 0]], y_0 = (1, 0): the fixed point (1 - a) (I - a S)^-1 y_0 is (1, a) / (1 + a).
  const Graph pair(2, EdgeList{{0, 1}, {1, 0}});
  const auto labels = tensor<std::int64_t>({0, 0}), known = tensor<std::int64_t>({0});
  const double a = 0.5;
  const Numbers y = label_propagation<double>(pair, labels, known, 2, {.steps = 60, .alpha = a});
  CHECK(all_close(y, tensor<double>({{1 / (1 + a), 0}, {a / (1 + a), 0}}), 1e-14, 1e-14));
  // Of one step: (1 - a, 0) + a (0, 1).
  CHECK(all_close(label_propagation<double>(pair, labels, known, 2, {.steps = 1, .alpha = a}),
                  tensor<double>({{1 - a, 0}, {a, 0}}), 1e-15, 1e-15));
  // No steps, or nothing heard: what is known stays.
  const Numbers start = tensor<double>({{1, 0}, {0, 0}});
  CHECK(same_bits(label_propagation(pair, start, {.steps = 0}), start));
  CHECK(same_bits(label_propagation(pair, start, {.steps = 5, .alpha = 0}), start));
  CHECK_THROWS_WITH(label_propagation<double>(pair, labels, zeros<std::int64_t>({0}), 2),
                    contains("no node has a known"));
  CHECK_THROWS_WITH(label_propagation<double>(pair, labels, tensor<std::int64_t>({1, 1}), 2), contains("twice"));
  CHECK_THROWS_AS(label_propagation<double>(pair, labels, tensor<std::int64_t>({2}), 2), IndexError);
  CHECK_THROWS_AS(label_propagation<double>(pair, tensor<std::int64_t>({2, 0}), known, 2), IndexError);
  CHECK_THROWS_AS(label_propagation(pair, start, {.alpha = 1.5}), ValueError);
}

TEST_CASE("labels stay within a component and reach all of it", "[graph]") {
  EdgeList edges = ring(5);
  for (const GraphEdge& e : ring(4, 5)) edges.push_back(e);
  const auto labels = tensor<std::int64_t>({1, 9, 9, 9, 9, 0, 9, 9, 9}), known = tensor<std::int64_t>({0, 5});
  const Numbers y = label_propagation<double>(Graph(9, edges), labels, known, 2);
  for (Index i = 0; i < 9; ++i) {
    CHECK(y.at({i, i < 5}) > 0);
    CHECK(y.at({i, i >= 5}) == 0);
  }
}

TEST_CASE("correct and smooth on two nodes is its formula by hand", "[graph]") {
  const Graph pair(2, EdgeList{{0, 1}, {1, 0}});
  const auto labels = tensor<std::int64_t>({0, 0}), known = tensor<std::int64_t>({0});
  const Numbers p = tensor<double>({{0.6, 0.4}, {0.5, 0.5}});
  // The error is (0.4, -0.4) at node 0. One step of alpha = 1/2 leaves (0.2, -0.2) at both nodes; the mean error in the
  // sum norm is 0.8, that at each node 0.4, so it is doubled: node 1 becomes (0.9, 0.1). Without smoothing that is all,
  // but that node 0 is set to its label.
  const CorrectAndSmoothOptions once{.correct = {.steps = 1, .alpha = 0.5}, .smooth = {.steps = 0}};
  CHECK(
      all_close(correct_and_smooth(pair, p, labels, known, once), tensor<double>({{1, 0}, {0.9, 0.1}}), 1e-14, 1e-14));
  // A step of smoothing with alpha = 1/4: 3/4 of the own row and 1/4 of the other's.
  CorrectAndSmoothOptions both = once;
  both.smooth = {.steps = 1, .alpha = 0.25};
  CHECK(all_close(correct_and_smooth(pair, p, labels, known, both),
                  tensor<double>({{0.75 + 0.225, 0.025}, {0.675 + 0.25, 0.075}}), 1e-14, 1e-14));
  // Without autoscale: node 1 hears half of the error, times the scale.
  CorrectAndSmoothOptions fixed = once;
  fixed.autoscale = false;
  fixed.scale = 0.5;
  CHECK(
      all_close(correct_and_smooth(pair, p, labels, known, fixed), tensor<double>({{1, 0}, {0.6, 0.4}}), 1e-14, 1e-14));
  // Nodes that no error reaches keep their predictions.
  const Graph apart(3, EdgeList{{0, 1}, {1, 0}});
  const Numbers q = concat(std::vector{p, tensor<double>({{0.3, 0.7}})}, 0);
  const Numbers y = correct_and_smooth(apart, q, tensor<std::int64_t>({0, 0, 0}), known, once);
  CHECK(same_bits(slice(y, 0, 2, 3), slice(q, 0, 2, 3)));
  CHECK_THROWS_WITH(correct_and_smooth(pair, p, labels, zeros<std::int64_t>({0})),
                    contains("graft: correct_and_smooth: no node has a known label"));
  CHECK_THROWS_AS(correct_and_smooth(pair, q, labels, known), ShapeError);
}

// ---- over-smoothing

TEST_CASE("dropped edges are of the stated share, in training only, and of undirected graphs both ways", "[graph]") {
  const Graph graph(60, both_ways(random_edge_list(60, 60, 2000, 3)));
  const EdgeSelection half = drop_edges(graph, 0.5, Random(1)), pairs = drop_edges(graph, 0.5, Random(1), true);
  // 4000 coins, or 2000 pairs: within 4.5 standard errors of a half.
  CHECK(std::abs(half.graph.edges() / 4000.0 - 0.5) < 4.5 * 0.5 / std::sqrt(4000.0));
  CHECK(std::abs(pairs.graph.edges() / 4000.0 - 0.5) < 4.5 * 0.5 / std::sqrt(1200.0));
  const EdgeList all = edge_list(graph), kept = edge_list(half.graph);
  for (std::size_t e = 0; e < kept.size(); ++e) CHECK(kept[e] == all[half.edges.at({static_cast<Index>(e)})]);
  CHECK(undirected(pairs.graph).graph.edges() == pairs.graph.edges());
  CHECK(undirected(half.graph).graph.edges() > half.graph.edges());
  CHECK(drop_edges(graph, 0, Random(1)).graph.edges() == 4000);
  CHECK_THROWS_WITH(drop_edges(graph, 1, Random(1)), contains("graft: drop_edges: rate is 1"));
  const DropEdge drop{.rate = 0.5};
  CHECK(drop(graph, Context()).graph.edges() == 4000);
  Context one = training(), same = training();
  const EdgeList first = edge_list(drop(graph, one).graph);
  CHECK(first == edge_list(drop(graph, same).graph));
  CHECK_FALSE(first == edge_list(drop(graph, one).graph));
}

TEST_CASE("jumping knowledge stands side by side or is the largest", "[graph]") {
  const std::vector<Numbers> layers{normal_numbers({4, 3}, 1), normal_numbers({4, 3}, 2), normal_numbers({4, 3}, 3)};
  CHECK(same_bits(jumping_knowledge(layers), concat(layers, 1)));
  CHECK(same_bits(jumping_knowledge(layers, Jump::max), maximum(maximum(layers[0], layers[1]), layers[2])));
  CHECK_THROWS_AS(jumping_knowledge(std::vector<Numbers>{}), ValueError);
  CHECK_THROWS_AS(jumping_knowledge(std::vector{layers[0], normal_numbers({5, 3}, 1)}, Jump::max), ShapeError);
}

TEST_CASE("the Dirichlet energy is x^T (I - S) x, and never rises under propagation", "[graph]") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Graph graph(12, both_ways(random_edge_list(12, 12, 16, seed)));
    const SparseMatrix<double> s = gcn_matrix<double>(without_self_loops(graph).graph);
    Numbers x = normal_numbers({12, 3}, seed);
    double energy = dirichlet_energy(graph, x);
    CHECK(energy == Approx(sum(x * (x - matmul(s, x))).item()).epsilon(1e-12));
    for (int step = 0; step < 6; ++step) {
      x = matmul(s, x);
      const double next = dirichlet_energy(graph, x);
      CHECK(next <= energy);
      energy = next;
    }
  }
  // Constants of a regular graph have none; two nodes that differ by 2 have |2 / sqrt 2|^2.
  CHECK(dirichlet_energy(Graph(6, ring(6)), ones<double>({6, 2})) == Approx(0).margin(1e-30));
  CHECK(dirichlet_energy(Graph(2, EdgeList{{0, 1}, {1, 0}}), tensor<double>({{1.0}, {-1.0}})) ==
        Approx(2).epsilon(1e-14));
  CHECK_THROWS_AS(dirichlet_energy(Graph(3, EdgeList{}), ones<double>({2, 2})), ShapeError);
}

// ---- self-supervised encoders

TEST_CASE("deep graph infomax scores nodes and shuffled nodes against the summary", "[graph]") {
  const Graph graph(6, ring(6));
  const Numbers x = normal_numbers({6, 3}, 1);
  const Dgi dgi(Gcn<double>(3, 4, Random(1)), 4, Random(2));
  CHECK(names(dgi) == Names{"encoder.lin.weight", "encoder.bias", "weight"});
  // Without a judgement every probability is a half: log 2.
  auto blind = dgi;
  blind.weight = zeros<double>({4, 4});
  Context c = training();
  CHECK(blind.loss(graph, x, c).item() == Approx(std::log(2)).epsilon(1e-13));
  // By hand, of rows h and t.
  const Numbers h = normal_numbers({6, 4}, 3), t = normal_numbers({6, 4}, 4);
  const Numbers judge = matmul(dgi.weight, sigmoid(mean(h, {0})));
  const double expected = -(mean(log(sigmoid(matmul(h, judge)))) + mean(log(1 - sigmoid(matmul(t, judge))))).item() / 2;
  CHECK(dgi.contrast(h, t).item() == Approx(expected).epsilon(1e-12));
  Context one = training(), same = training();
  const double loss = dgi.loss(graph, x, one).item();
  CHECK(loss == dgi.loss(graph, x, same).item());
  CHECK(loss != dgi.loss(graph, x, one).item());
  check_orders(std::pair(dgi, x),
               [&](const auto& at) { return reshape(at.first.loss(graph, at.second, training()), {1}); });
}

TEST_CASE("GRACE's loss tells a node in two views from all others", "[graph]") {
  // By hand: rows of unit length in the plane, cosines 1, 0, -1. For u = v = (e_1, e_2) and t = 1 each node has the
  // positive e^1, between the views e^1 + e^0, and one other node e^0.
  const Numbers u = tensor<double>({{2, 0}, {0, 3}});
  CHECK(grace_loss(u, u, 1).item() == Approx(-std::log(std::exp(1) / (std::exp(1) + 2))).epsilon(1e-13));
  // The same directions in both views cost less than those of other nodes; lengths do not count.
  const Numbers v = tensor<double>({{0, 3}, {2, 0}});
  CHECK(grace_loss(u, u, 0.5).item() < grace_loss(u, v, 0.5).item());
  CHECK(grace_loss(u, 7 * u, 0.5).item() == Approx(grace_loss(u, u, 0.5).item()).epsilon(1e-13));
  CHECK(grace_loss(u, v, 0.5).item() == Approx(grace_loss(v, u, 0.5).item()).epsilon(1e-13));
  // One node has nothing to be told from.
  CHECK(grace_loss(slice(u, 0, 0, 1), slice(v, 0, 0, 1), 0.5).item() == Approx(0).margin(1e-14));
  CHECK_THROWS_AS(grace_loss(u, v, 0), ValueError);
  CHECK_THROWS_AS(grace_loss(u, slice(v, 0, 0, 1), 1), ShapeError);

  const Graph graph(6, ring(6));
  const Numbers x = normal_numbers({6, 3}, 1);
  const Grace grace(Gcn<double>(3, 4, Random(1)), 4, 5, Random(2));
  CHECK(names(grace) ==
        Names{"encoder.lin.weight", "encoder.bias", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"});
  // Nothing dropped: both views are the graph itself.
  auto whole = grace;
  whole.options.drop_edges = whole.options.drop_features = {0, 0};
  const Numbers z = whole.fc2(elu(whole.fc1(whole.encoder(graph, x, Context()))));
  CHECK(whole.loss(graph, x, training()).item() == Approx(grace_loss(z, z, 0.5).item()).epsilon(1e-13));
  check_orders(std::pair(grace, x),
               [&](const auto& at) { return reshape(at.first.loss(graph, at.second, training()), {1}); });
}

TEST_CASE("self-supervised encoders learn to lower their losses", "[graph]") {
  // Two rings whose sides show in one feature. Neighbours agree on it, shuffled neighbours do not: a ReLU of the sums
  // can tell, so the losses fall well below what they start from.
  EdgeList edges = ring(8);
  for (const GraphEdge& e : ring(8, 8)) edges.push_back(e);
  const Graph graph(16, edges);
  const Numbers side = generate({16, 1}, [](Index i, Index) { return i < 8 ? 1.0 : -1.0; });
  const Numbers x = concat(std::vector{side + 0.1 * normal_numbers({16, 1}, 1), normal_numbers({16, 3}, 2)}, 1);
  const auto trained = [&](auto model) {
    const auto loss = [&](const auto& m) { return m.loss(graph, x, training()); };
    const double before = loss(model).item();
    Adam adam(model);
    for (int step = 0; step < 100; ++step) adam.step(model, grad(loss, model), 0.02);
    return loss(model).item() / before;
  };
  const Sequential encoder(Gcn<double>(4, 8, Random(1)), Relu());
  CHECK(trained(Dgi(encoder, 8, Random(2))) < 0.8);
  CHECK(trained(Grace(encoder, 8, 8, Random(2))) < 0.8);
}
