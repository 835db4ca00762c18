// Nodes of graphs as items of episodes: the sets, splits and tables, and what embeds the nodes.

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/node_episodes.hpp"
#include "graft/graph/dgi.hpp"
#include "graft/graph/stack.hpp"

using namespace graft;

namespace {

constexpr Index kNodes = 90, kWords = 30;

/// Node i is of class i modulo 6.
NodeLabels community(std::uint64_t seed) {
  return make_communities(Random(seed),
                          {.nodes = kNodes, .classes = 6, .inside = 0.3, .width = kWords, .train = 2, .validation = 3});
}
Tensor<> numbers(const std::vector<Index>& of, Index first = 0) {
  return generate({std::ssize(of), 1}, [&](Index i, Index) { return static_cast<float>(first + of[i]); });
}
Tensor<> dense(const NodeLabels& nodes) { return matmul(nodes.features, eye<float>(kWords)); }
Tensor<> rows(const Tensor<>& of, const std::vector<std::int64_t>& places) {
  return gather(of, from_vector(std::vector<std::int64_t>(places)));
}
using Encoder = GraphStack<Gcn<>>;

}  // namespace

TEST_CASE("nodes of several graphs are one set of items", "[node_episodes_test]") {
  std::vector<NodeLabels> graphs{community(1), community(2)};
  graphs[1].unknown = {0, 7};
  const NodeSets sets(graphs, {"one", "two"});
  CHECK(sets.first_node == std::vector<Index>{0, kNodes});
  CHECK(sets.first_class == std::vector<Index>{0, 6});
  CHECK(sets.items.classes() == 12);
  CHECK(sets.items.class_names[7] == "class 1 of two");
  CHECK(sets.classes_of(1) == std::vector<Index>{6, 7, 8, 9, 10, 11});
  CHECK(sets.pairs(0) == 15);
  CHECK(sets.items.items[1].size() == 15);
  CHECK(sets.items.items[6].size() == 14);  // without node 0
  CHECK(sets.items.items[6][0] == kNodes + 6);
  CHECK(sets.items.items[7].size() == 14);  // without node 7
  CHECK(all_close(sum(dense(sets.graphs[0]), {1}), ones<float>({kNodes}), 1e-5));
  std::set<std::string> names;
  for (const auto& [name, value] : sets.fingerprints()) names.insert(name);
  CHECK(names.size() == sets.fingerprints().size());
  graphs[1] = community(3);
  CHECK(NodeSets(graphs, {"one", "two"}).fingerprints() != sets.fingerprints());
  const NodeSets made(std::vector<std::string>{"communities", "communities"});
  CHECK(made.names == std::vector<std::string>{"communities-1", "communities-2"});
  CHECK(made.items.classes() == 12);
  CHECK_THROWS_AS(NodeSets(graphs, {"one"}), ValueError);
  CHECK_THROWS_AS(NodeSets(std::vector<std::string>()), ValueError);
}

TEST_CASE("every pair of classes is tested once, by a split that keeps classes apart", "[node_episodes_test]") {
  const std::vector<Index> classes{10, 11, 12, 13, 14, 15, 16};
  std::set<std::vector<Index>> tested;
  for (Index pair = 0; pair < 21; ++pair) {
    const ClassSplit split = pair_split(classes, pair, Random(1));
    CHECK((split.test.size() == 2 && split.validation.size() == 2 && split.train.size() == 3));
    tested.insert(split.test);
    std::set<Index> all(split.test.begin(), split.test.end());
    all.insert(split.validation.begin(), split.validation.end());
    all.insert(split.train.begin(), split.train.end());
    CHECK(all == std::set<Index>(classes.begin(), classes.end()));
    CHECK(pair_split(classes, pair, Random(1)).validation == split.validation);
  }
  CHECK(tested.size() == 21);
  CHECK(pair_split(classes, 0, Random(1)).test == std::vector<Index>{10, 11});
  CHECK(pair_split(classes, 6, Random(1)).test == std::vector<Index>{11, 12});
  CHECK(pair_split(classes, 20, Random(1)).test == std::vector<Index>{15, 16});
  const NodeSets sets({community(1)}, {"one"});
  CHECK(sets.pair_split(0, 17, Random(2)).test == sets.pair_split(0, 2, Random(2)).test);
  CHECK_THROWS_AS(pair_split(classes, 21, Random(1)), IndexError);
  CHECK_THROWS_AS(pair_split({1, 2, 3, 4, 5}, 0, Random(1)), ValueError);
}

TEST_CASE("rows that nodes are compared by are smooth, centred and of length 1", "[node_episodes_test]") {
  const NodeLabels nodes = community(4);
  const Tensor<> smooth = compared_features(nodes, 3), unit = unit_rows(dense(nodes));
  Tensor<> by_hand = unit;
  for (int k = 0; k < 3; ++k) by_hand = matmul(gcn_matrix(nodes.graph), by_hand);
  CHECK(all_close(smooth, unit_rows(by_hand - mean(by_hand, {0}, true)), 1e-4));
  CHECK(all_close(compared_features(nodes, 0), unit_rows(unit - mean(unit, {0}, true)), 1e-5));
  CHECK(all_close(sum(square(smooth), {1}), ones<float>({kNodes}), 1e-5));
  CHECK(all_close(centred_units(tensor<float>({{1, 0}, {3, 0}, {2, 5}, {2, -5}})),
                  tensor<float>({{-1, 0}, {1, 0}, {0, 1}, {0, -1}}), 1e-6));

  // Rows in a plane: two directions span it, the longer one comes first.
  const Tensor<> plane = matmul(randn<float>({40, 2}, Random(1)), tensor<float>({{3, 0, 0, 0}, {0, 1, 1, 0}}));
  const Tensor<> found = principal_directions(plane, 2, Random(2), 30);
  CHECK(all_close(matmul(found, found, {.transpose_a = true}), eye<float>(2), 1e-5));
  CHECK(std::abs(found.at({0, 0})) > 0.95f);
  CHECK(all_close(matmul(matmul(plane, found), found, {.transpose_b = true}), plane, 1e-4, 1e-4));
  CHECK(all_close(principal_coordinates(plane, 2, Random(2)), unit_rows(matmul(plane, found)), 1e-3));
  const std::vector<NodeTables> tables = compared_tables(NodeSets({nodes}, {"one"}), 3, 8, Random(3));
  CHECK(all_close(tables[0].smooth, smooth, 1e-4));
  CHECK((tables[0].raw.size(1) == kWords && tables[0].coordinates.size(1) == 8));
  CHECK_THROWS_AS(principal_directions(plane, 5, Random(1)), ValueError);
  CHECK_THROWS_AS(principal_directions(zeros<float>({9, 3}), 2, Random(1)), ValueError);
  CHECK_THROWS_AS(principal_directions(ones<float>({3}), 1, Random(1)), ShapeError);
}

TEST_CASE("graph attention around a few nodes is that of the whole graph", "[node_episodes_test]") {
  const NodeLabels a = community(5), b = community(6);
  const std::vector<Tensor<>> tables{compared_features(a, 2), compared_features(b, 2)};
  const NodeAttention<> nodes(tables, {a.graph, b.graph}, 16, Random(1), {.gate = 0.3});
  Context context;
  std::vector<Index> all;
  for (Index i = 0; i < kNodes; ++i) all.push_back(i);
  for (const std::size_t g : {0, 1}) {
    const Index first = g == 0 ? 0 : kNodes;
    const Tensor<> whole = nodes(numbers(all, first), context);
    CHECK(all_close(nodes(numbers({7, 3, 88}, first), context), rows(whole, {7, 3, 88}), 1e-5));
    Tensor<> x = nodes.inputs[g](numbers(all));
    for (const NodeAttentionLayer<>& layer : nodes.layers) x = layer(g == 0 ? a.graph : b.graph, x, context);
    CHECK(all_close(whole, x, 1e-5));
    CHECK(!all_close(whole, nodes.inputs[g](numbers(all)), 1e-2));
  }
  // Gates at 0, or no layers: the input layers, which are the table where that is as wide.
  for (const NodeAttentionOptions& o :
       {NodeAttentionOptions{.heads = 3}, NodeAttentionOptions{.layers = 0, .heads = 3}}) {
    const NodeAttention<> own(tables, {a.graph, b.graph}, kWords, Random(1), o);
    CHECK(all_close(own(numbers({5, 2}), context), rows(tables[0], {5, 2}), 1e-6));
    CHECK(all_close(own(numbers({5, 2}, kNodes), context), rows(tables[1], {5, 2}), 1e-6));
  }
  CHECK_THROWS_AS(nodes(numbers({180}), context), IndexError);
  CHECK_THROWS_AS(nodes(numbers({3, 95}), context), IndexError);  // of two graphs
  CHECK_THROWS_AS(nodes(numbers({3, 3}), context), ValueError);
  CHECK_THROWS_AS(nodes(zeros<float>({3}), context), ShapeError);
  CHECK_THROWS_AS(NodeAttention<>(tables, {a.graph}, 16, Random(1)), ValueError);
  CHECK_THROWS_AS(NodeAttention<>(tables, {a.graph, b.graph}, 18, Random(1)), ValueError);
  CHECK_THROWS_AS(NodeAttention<>(tables, {a.graph, Graph(3, {})}, 16, Random(1)), ValueError);
  NodeAttention<> loaded = nodes;  // a file brings the tables without their graphs
  loaded.graphs.clear();
  CHECK_THROWS_WITH(loaded(numbers({3}), context), contains("NodeAttention: has no graphs"));
  loaded.graphs = {a.graph};
  CHECK_THROWS_WITH(loaded(numbers({3}), context), contains("1 graphs for 2 tables"));
}

TEST_CASE("shuffled edges keep how many each node sends and hears", "[node_episodes_test]") {
  const Graph graph = community(7).graph, shuffled = shuffled_edges(graph, Random(1));
  CHECK(same_bits(in_degrees(shuffled), in_degrees(graph)));
  CHECK(same_bits(out_degrees(shuffled), out_degrees(graph)));
  CHECK(edge_list(shuffled) != edge_list(graph));
  CHECK(edge_list(shuffled) == edge_list(shuffled_edges(graph, Random(1))));
}

TEST_CASE("rows of tables, encoded graphs and spread labels are looked up by number", "[node_episodes_test]") {
  const NodeLabels nodes = community(8);
  const Tensor<> table = compared_features(nodes, 1);
  Context context;
  const NodeRows<> looked_up{{table}, 100};
  CHECK(same_bits(looked_up(numbers({4, 4, 0}, 100), context), rows(table, {4, 4, 0})));
  CHECK_THROWS_AS(looked_up(numbers({4}), context), IndexError);
  CHECK_THROWS_AS(looked_up(zeros<float>({2, 2}), context), ShapeError);
  const EncodedNodes<Encoder> encoded{Encoder({Gcn<>(kWords, 5, Random(1))}), nodes.graph, nodes.features, 10};
  const Tensor<> all = encoded.encoder(nodes.graph, nodes.features, context);
  CHECK(same_bits(encoded(numbers({89, 1}, 10), context), rows(all, {89, 1})));
  CHECK_THROWS_AS(encoded(numbers({90}, 10), context), IndexError);

  const Episode<> e{{numbers({0, 1, 6}, 10), tensor<std::int64_t>({0, 1, 0})}, {numbers({12, 13}, 10), {}}, 2};
  const Tensor<std::int64_t> labels = generate({kNodes}, [](Index i) { return i % 6; });
  const Tensor<> spread = label_propagation(nodes.graph, labels, tensor<std::int64_t>({0, 1, 6}), 6);
  CHECK(same_bits(NodeLabelPropagation{nodes.graph, 10}(e, context), slice(rows(spread, {12, 13}), 1, 0, 2)));
}

TEST_CASE("deep graph infomax takes features that are mostly zeros", "[node_episodes_test]") {
  const NodeLabels nodes = community(9);
  const Dgi<Encoder> model(Encoder({Gcn<>(kWords, 8, Random(1))}), 8, Random(2));
  const auto loss = [&](const auto& x) { return model.loss(nodes.graph, x, Context(Phase::training, Random(3))); };
  CHECK(all_close(loss(nodes.features), loss(dense(nodes)), 1e-5));
  CHECK_THROWS_AS(loss(community(1).features.with_values(zeros<float>({0}))), ShapeError);
}
