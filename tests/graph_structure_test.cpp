// Graphs made from graphs, tagged [graph]: what becomes of the list of edges, so that features follow; normalised
// weights; batches; typed graphs; messages of one's own.

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "catch.hpp"
#include "graft/graph/batch.hpp"
#include "graft/graph/hetero.hpp"
#include "graft/graph/knn.hpp"
#include "graft/graph/message_passing.hpp"
#include "graft/graph/normalise.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/linalg_spectral.hpp"

using namespace graft;

namespace {

using Edges = std::vector<GraphEdge>;
using Indices = std::vector<std::int64_t>;

Edges random_edges(Index sources, Index destinations, Index count, std::uint64_t seed) {
  const Random random(seed);
  Edges edges;
  for (Index e = 0; e < count; ++e)
    edges.push_back({random.below(static_cast<std::uint64_t>(2 * e), sources),
                     random.below(static_cast<std::uint64_t>(2 * e + 1), destinations)});
  return edges;
}
Tensor<double> normal(const Shape& shape, std::uint64_t stream) {
  return randn<double>(shape, Random(11).stream(stream));
}
Indices numbers(const Tensor<std::int64_t>& x) { return {x.span().begin(), x.span().end()}; }
/// The matrix [destinations, sources] of a graph with a number for each edge of its list, by loops.
Tensor<double> dense(const Graph& graph, const Tensor<double>& weights) {
  std::vector<double> all(graph.destinations() * graph.sources(), 0.0);
  const Edges edges = edge_list(graph);
  for (std::size_t e = 0; e < edges.size(); ++e)
    all[edges[e].destination * graph.sources() + edges[e].source] += weights.data()[e];
  return from_vector(all, {graph.destinations(), graph.sources()});
}
/// A list out of order, with a repeated edge, a self-loop and a node without edges.
const Edges some_edges{{3, 1}, {0, 2}, {3, 1}, {2, 2}, {1, 0}, {0, 1}};
Graph some_graph() { return Graph(5, some_edges); }

}  // namespace

TEST_CASE("the list that a graph was made from comes back", "[graph]") {
  const Edges edges = random_edges(7, 5, 60, 3);
  const Graph graph(7, 5, edges);
  CHECK(edge_list(graph) == edges);
  CHECK_FALSE(graph.list_is_sorted());
  for (Index p = 0; p < graph.edges(); ++p)
    CHECK(graph.input_by_source().at({p}) == graph.input_order().at({graph.edge_by_source().at({p})}));
  // In destination order nothing moves, and the list is its own order.
  Edges sorted;
  for (Index e = 0; e < graph.edges(); ++e)
    sorted.push_back({graph.source_of().at({e}), graph.destination_of().at({e})});
  const Graph again(7, 5, sorted);
  CHECK(again.list_is_sorted());
  CHECK(same_bits(again.source_of(), graph.source_of()));
  const Tensor<double> x = normal({60, 2}, 1);
  CHECK(to_destination_order(again, x).body() == x.body());
  CHECK(same_bits(to_list_order(graph, to_destination_order(graph, x)), x));
  CHECK(same_bits(to_destination_order(graph, x), gather(x, graph.input_order())));
  CHECK(Graph().list_is_sorted());
}

TEST_CASE("a graph from rows keeps their order", "[graph]") {
  const auto offsets = tensor<std::int64_t>({0, 3, 3, 5});
  const auto source_of = tensor<std::int32_t>({3, 0, 3, 1, 0});
  const Graph graph = Graph::from_rows(4, offsets, source_of);
  CHECK(graph.destinations() == 3);
  CHECK(graph.list_is_sorted());
  CHECK(edge_list(graph) == Edges{{3, 0}, {0, 0}, {3, 0}, {1, 2}, {0, 2}});
  CHECK(same_bits(graph.source_offsets(), tensor<std::int64_t>({0, 2, 3, 3, 5})));
  CHECK(same_bits(graph.destination_by_source(), tensor<std::int32_t>({0, 2, 2, 0, 0})));
  CHECK(same_bits(graph.edge_by_source(), tensor<std::int32_t>({1, 4, 3, 0, 2})));
  CHECK(same_bits(graph.input_by_source(), graph.edge_by_source()));
  const Tensor<double> x = normal({4, 3}, 2);
  CHECK(all_close(neighbour_sum(graph, x), matmul(dense(graph, ones<double>({5})), x), 1e-14, 1e-14));
  CHECK_THROWS_WITH(Graph::from_rows(3, offsets, source_of),
                    contains("graft: Graph::from_rows: edge 0 goes from 3 to 0") && contains("structure_test.cpp"));
  CHECK_THROWS_AS(Graph::from_rows(4, tensor<std::int64_t>({0, 3, 2, 5}), source_of), ValueError);
  CHECK_THROWS_AS(Graph::from_rows(4, tensor<std::int64_t>({0, 3}), source_of), ValueError);
  CHECK_THROWS_AS(Graph::from_rows(4, zeros<std::int64_t>({2, 1}), source_of), ShapeError);
}

TEST_CASE("neighbourhood ops do not depend on the order of the list", "[graph]") {
  // The bits of a list and of the same list shuffled, its weights with it.
  const Edges edges = random_edges(6, 9, 50, 7);
  const std::vector<Index> order = Random(8).permutation(50);
  Edges mixed;
  for (Index e : order) mixed.push_back(edges[e]);
  const Tensor<std::int64_t> places = from_vector(Indices(order.begin(), order.end()));
  // Equal edges are summed in list order, so they get equal weights.
  const Tensor<double> of_pair = normal({6 * 9, 2}, 4);
  Indices pair;
  for (const GraphEdge& edge : edges) pair.push_back(edge.source * 9 + edge.destination);
  const Tensor<double> x = normal({6, 2, 3}, 1), a = normal({9, 2, 3}, 2), w = gather(of_pair, from_vector(pair));
  const Graph one(6, 9, edges), other(6, 9, mixed);
  const auto moved = [&](const Tensor<double>& t) { return gather(t, places); };
  CHECK(same_bits(neighbour_sum(one, x), neighbour_sum(other, x)));
  CHECK(same_bits(neighbour_sum(one, x, w), neighbour_sum(other, x, moved(w))));
  CHECK(same_bits(moved(edge_dot(one, a, x)), edge_dot(other, a, x)));
  CHECK(same_bits(moved(edge_softmax(one, w)), edge_softmax(other, moved(w))));
  CHECK(same_bits(edge_sum(one, w), edge_sum(other, moved(w))));
  CHECK(same_bits(edge_max(one, w), edge_max(other, moved(w))));
  CHECK(same_bits(moved(source_rows(one, x)), source_rows(other, x)));
  CHECK(same_bits(moved(destination_rows(one, a)), destination_rows(other, a)));
}

TEST_CASE("equal maxima of neighbours share the gradient", "[graph]") {
  // Node 0 hears 1.0 from nodes 0 and 1 (twice): a third of the gradient along each edge. Nobody hears node 3.
  const Graph graph(4, Edges{{0, 0}, {1, 0}, {1, 0}, {2, 0}, {2, 1}});
  const Tensor<double> x = tensor<double>({{1.0}, {1.0}, {0.5}, {7.0}});
  const auto [value, gradient] =
      vjp([&](const auto& v) { return neighbour_max(graph, v); }, x, tensor<double>({{3.0}, {2.0}, {1.0}, {1.0}}));
  CHECK(same_bits(value, tensor<double>({{1.0}, {0.5}, {0.0}, {0.0}})));
  CHECK(all_close(gradient, tensor<double>({{1.0}, {2.0}, {2.0}, {0.0}}), 1e-15, 0));
  // A NaN among the neighbours is the result, first or last.
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (Index place : {0, 1, 2}) {
    std::vector<double> numbers{1, 2, 3, 4};
    numbers[place] = nan;
    const Tensor<double> with = from_vector(numbers, {4, 1});
    CHECK(std::isnan(neighbour_max(graph, with).at({0, 0})));
    CHECK(std::isnan(neighbour_min(graph, with).at({0, 0})));
    CHECK(neighbour_max(graph, with).at({2, 0}) == 0);
  }
}

TEST_CASE("neighbourhood ops never store a row of features for each edge", "[graph]") {
  const Index nodes = 200, heads = 4, width = 256;
  Edges edges;
  for (Index i = 0; i < nodes; ++i)
    for (Index j = 0; j < nodes; ++j) edges.push_back({i, (i + j) % nodes});
  const Graph graph(nodes, edges);
  const Tensor<float> x = ones<float>({nodes, heads, width}), w = ones<float>({graph.edges(), heads});
  const Index expanded = graph.edges() * heads * width * static_cast<Index>(sizeof(float));
  release_cached_memory();
  const Index before = memory_stats().system_bytes;
  vjp(
      [&](const auto& v) {
        return neighbour_sum(graph, v[0], edge_softmax(graph, edge_dot(graph, v[0], v[0])) * v[1]);
      },
      std::vector{x, w}, x);
  vjp([&](const auto& v) { return neighbour_max(graph, v) + neighbour_mean(graph, v); }, x, x);
  // What was freed stays cached, so this is the peak.
  CHECK(memory_stats().system_bytes - before < expanded / 8);
}

TEST_CASE("new graphs keep the order of the list", "[graph]") {
  const Graph graph = some_graph();
  CHECK(edge_list(with_self_loops(graph)) ==
        Edges{{3, 1}, {0, 2}, {3, 1}, {2, 2}, {1, 0}, {0, 1}, {0, 0}, {1, 1}, {3, 3}, {4, 4}});
  CHECK(edge_list(reversed(graph)) == Edges{{1, 3}, {2, 0}, {1, 3}, {2, 2}, {0, 1}, {1, 0}});
  CHECK(edge_list(reversed(Graph(2, 3, Edges{{1, 2}}))) == Edges{{2, 1}});
  const EdgeSelection bare = without_self_loops(graph);
  CHECK(edge_list(bare.graph) == Edges{{3, 1}, {0, 2}, {3, 1}, {1, 0}, {0, 1}});
  CHECK(numbers(bare.edges) == Indices{0, 1, 2, 4, 5});
  const EdgeSelection both = undirected(graph);
  CHECK(edge_list(both.graph) == Edges{{3, 1}, {0, 2}, {3, 1}, {2, 2}, {1, 0}, {0, 1}, {1, 3}, {2, 0}, {1, 3}});
  CHECK(numbers(both.edges) == Indices{0, 1, 2, 3, 4, 5, 0, 1, 2});
  CHECK(undirected(both.graph).graph.edges() == both.graph.edges());
  const EdgeSelection part = induced_subgraph(graph, tensor<std::int64_t>({2, 1, 0}));
  CHECK(part.graph.sources() == 3);
  CHECK(edge_list(part.graph) == Edges{{2, 0}, {0, 0}, {1, 2}, {2, 1}});
  CHECK(numbers(part.edges) == Indices{1, 3, 4, 5});
  const std::vector<Graph> graphs{graph, Graph(2, Edges{{1, 0}, {0, 1}})};
  CHECK(edge_list(disjoint_union(graphs)) == Edges{{3, 1}, {0, 2}, {3, 1}, {2, 2}, {1, 0}, {0, 1}, {6, 5}, {5, 6}});
  CHECK(numbers(in_degrees(graph)) == Indices{1, 3, 2, 0, 0});
  CHECK(numbers(out_degrees(graph)) == Indices{2, 1, 1, 2, 0});
}

TEST_CASE("features of edges follow loops and merges", "[graph]") {
  const Graph graph = some_graph();
  const Tensor<double> features = normal({6, 2}, 3);
  const auto at = [&](Index e, Index w) { return features.at({e, w}); };
  const auto filled = with_self_loops(graph, features, 0.5);
  CHECK(same_bits(filled.features, concat(std::vector{features, full<double>({4, 2}, 0.5)}, 0)));
  // The loops of nodes 0, 1, 3, 4, which hear edge 4; edges 0, 2, 5; nothing; nothing.
  const auto averaged = with_self_loops(graph, features, IncomingMean{});
  for (Index w : {0, 1}) {
    CHECK(averaged.features.at({6, w}) == at(4, w));
    CHECK(averaged.features.at({7, w}) == Approx((at(0, w) + at(2, w) + at(5, w)) / 3).epsilon(1e-14));
    CHECK(averaged.features.at({8, w}) == 0);
    CHECK(averaged.features.at({9, w}) == 0);
  }
  // Edges 0 and 2 are equal; the rest, in destination order, are 4, then 5, then 1, 3.
  const Edges merged{{1, 0}, {0, 1}, {3, 1}, {0, 2}, {2, 2}};
  CHECK(edge_list(coalesced(graph)) == merged);
  CHECK(coalesced(graph).list_is_sorted());
  for (const auto& [join, expected] : {std::pair{EdgeJoin::sum, at(0, 1) + at(2, 1)},
                                       {EdgeJoin::mean, (at(0, 1) + at(2, 1)) / 2},
                                       {EdgeJoin::max, std::max(at(0, 1), at(2, 1))}}) {
    const auto result = coalesced(graph, features, join);
    CHECK(edge_list(result.graph) == merged);
    CHECK(result.features.at({2, 1}) == Approx(expected).epsilon(1e-14));
    CHECK(result.features.at({0, 0}) == at(4, 0));
    CHECK(result.features.at({4, 0}) == at(3, 0));
  }
  // Gradients flow, to each duplicate its share.
  const Tensor<double> slope =
      grad([&](const Tensor<double>& f) { return sum(coalesced(graph, f, EdgeJoin::mean).features); }, features);
  CHECK(slope.at({0, 0}) == 0.5);
  CHECK(slope.at({1, 0}) == 1);
  // Rows in no order are merged too.
  const Graph rows = Graph::from_rows(3, tensor<std::int64_t>({0, 3}), tensor<std::int32_t>({2, 0, 2}));
  CHECK(same_bits(coalesced(rows, tensor<double>({1, 5, 2})).features, tensor<double>({5, 3})));
}

TEST_CASE("normalised weights are those of dense matrices", "[graph]") {
  const Graph graph = some_graph();
  const Tensor<double> w = rand<double>({6}, Random(5), 0.5, 2);
  // D^-1/2 (A + I) D^-1/2 with loops where they are missing, by loops over numbers.
  for (const bool weighted : {false, true}) {
    const Tensor<double> given = weighted ? w : ones<double>({6});
    std::vector<double> a;
    const Tensor<double> plain = dense(graph, given);
    for (Index i = 0; i < 25; ++i) a.push_back(plain.data()[i] + (i % 6 == 0 && i != 12 ? 1 : 0));
    std::vector<double> d(5, 0.0);
    for (std::size_t i = 0; i < 25; ++i) d[i / 5] += a[i];
    const Tensor<double> weights = weighted ? w : Tensor<double>();
    const Tensor<double> gcn = matmul(gcn_matrix(graph, weights), eye<double>(5)),
                         mean = matmul(mean_matrix(graph, weights), eye<double>(5));
    for (Index i = 0; i < 5; ++i) {
      double row = 0;
      for (Index j = 0; j < 5; ++j) row += plain.at({i, j});
      for (Index j = 0; j < 5; ++j) {
        const auto at = static_cast<std::size_t>(5 * i + j);
        CHECK(gcn.at({i, j}) == Approx(a[at] / std::sqrt(d[i] * d[j])).margin(1e-14));
        CHECK(mean.at({i, j}) == Approx(row == 0 ? 0 : plain.at({i, j}) / row).margin(1e-14));
      }
    }
  }
  // Weights of 0 and no weights at all: zeros, and zero gradients.
  const Graph lone(3, Edges{{0, 1}});
  const auto slope = [&](auto normalise) {
    return grad([&](const Tensor<double>& v) { return sum(normalise(lone, v)); }, zeros<double>({1}));
  };
  const auto rows = [](const Graph& g, const Tensor<double>& v) { return row_normalised(g, v); };
  const auto both = [](const Graph& g, const Tensor<double>& v) { return symmetric_normalised(g, v); };
  CHECK(same_bits(rows(lone, zeros<double>({1})), zeros<double>({1})));
  CHECK(same_bits(both(lone, zeros<double>({1})), zeros<double>({1})));
  CHECK(same_bits(slope(rows), zeros<double>({1})));
  CHECK(same_bits(slope(both), zeros<double>({1})));
  CHECK_THROWS_WITH(row_normalised(lone, full<double>({1}, -2)), contains("node 1 add up to -2"));
  CHECK_THROWS_WITH(gcn_normalised(lone, full<double>({1}, std::numeric_limits<double>::quiet_NaN())),
                    contains("into node 1") && contains("structure_test.cpp"));
  CHECK_THROWS_AS(symmetric_normalised<double>(Graph(2, 3, Edges{})), ShapeError);
  CHECK_THROWS_WITH(row_normalised(lone, ones<double>({2})), contains("weights [2]") && contains("[3, 3, 1]"));
}

TEST_CASE("the operator of GCN keeps constants on a regular graph and has eigenvalues in (-1, 1]", "[graph]") {
  Edges ring;  // 4-regular
  for (Index i = 0; i < 9; ++i)
    for (Index step : {1, 2, 7, 8}) ring.push_back({(i + step) % 9, i});
  CHECK(all_close(matmul(gcn_matrix<double>(Graph(9, ring)), full<double>({9}, 3)), full<double>({9}, 3), 1e-14, 0));
  const Graph graph = undirected(without_self_loops(Graph(12, random_edges(12, 12, 20, 9))).graph).graph;
  const Tensor<double> values = symmetric_eigen(matmul(gcn_matrix<double>(coalesced(graph)), eye<double>(12))).values;
  for (double value : values.span()) CHECK((value > -1 && value < 1 + 1e-12));
}

TEST_CASE("a batch knows the nodes and edges of each of its graphs", "[graph]") {
  const std::vector<Graph> graphs{Graph(2, Edges{{1, 0}}), Graph(), Graph(3, Edges{{0, 2}, {2, 0}})};
  const GraphBatch batch(graphs);
  CHECK(batch.graphs() == 3);
  CHECK(batch.nodes() == 5);
  CHECK(batch.longest == 3);
  CHECK(numbers(batch.offsets) == Indices{0, 2, 2, 5});
  CHECK(numbers(batch.edge_offsets) == Indices{0, 1, 1, 3});
  CHECK(numbers(batch.graph_of) == Indices{0, 0, 2, 2, 2});
  const Tensor<double> x = normal({5, 2}, 1);
  const Tensor<bool> mask = batch.block_mask(), keys = batch.key_mask();
  for (Index i = 0; i < 5; ++i)
    for (Index j = 0; j < 5; ++j) CHECK(mask.at({i, j}) == ((i < 2) == (j < 2)));
  CHECK(same_bits(keys, tensor<bool>({{true, true, false}, {false, false, false}, {true, true, true}})));
  const Tensor<double> padded = batch.padded(x);
  REQUIRE(padded.shape() == Shape{3, 3, 2});
  CHECK(padded.at({0, 1, 1}) == x.at({1, 1}));
  CHECK(padded.at({2, 0, 1}) == x.at({2, 1}));
  CHECK(padded.at({0, 2, 0}) == 0);
  CHECK(padded.at({1, 0, 0}) == 0);
  CHECK(same_bits(batch.unpadded(padded), x));
  CHECK(same_bits(grad([&](const Tensor<double>& v) { return sum(batch.padded(v)); }, x), ones<double>({5, 2})));
  CHECK(same_bits(segment_sum(ones<double>({5}), batch.offsets), tensor<double>({2, 0, 3})));
  CHECK(GraphBatch().graphs() == 0);
  CHECK(GraphBatch(std::vector{Graph()}).padded(zeros<double>({0, 2})).shape() == Shape{1, 0, 2});
  CHECK_THROWS_AS(GraphBatch(std::vector{Graph(2, 3, Edges{})}), ShapeError);
  CHECK_THROWS_WITH(batch.padded(normal({4, 2}, 1)), contains("x [4, 2]") && contains("5 nodes"));
  CHECK_THROWS_WITH(batch.unpadded(normal({3, 2, 2}, 1)), contains("expected [3, 3, ...]"));
}

TEST_CASE("graphs from features hear who is near", "[graph]") {
  const Tensor<double> line = tensor<double>({{0.0}, {1.0}, {3.0}, {3.5}});
  CHECK(edge_list(radius_graph(line, 1)) == Edges{{1, 0}, {0, 1}, {3, 2}, {2, 3}});
  CHECK(radius_graph(line, 0).edges() == 0);
  CHECK(edge_list(knn_graph(line, 1)) == Edges{{1, 0}, {0, 1}, {3, 2}, {2, 3}});
  CHECK(neighbours_within(line, line, 0).size() == 4);
  CHECK(neighbours_within(line, slice(line, 0, 1, 2), 2) == Edges{{0, 0}, {1, 0}, {2, 0}});
  CHECK(radius_graph(zeros<double>({0, 3}), 1).sources() == 0);
  CHECK_THROWS_WITH(radius_graph(line, -1), contains("radius is -1"));
  CHECK_THROWS_AS(radius_graph(line, std::numeric_limits<double>::quiet_NaN()), ValueError);
  CHECK_THROWS_AS(neighbours_within(line, zeros<double>({2, 2}), 1), ShapeError);
  const Tensor<double> holes =
      tensor<double>({{0.0, 1.0}, {2.0, std::numeric_limits<double>::quiet_NaN()}, {1.0, 1.0}});
  CHECK_THROWS_WITH(knn_graph(holes, 1), contains("nan in row 1") && contains("from [3, 2]"));
  CHECK_THROWS_WITH(radius_graph(holes, 1), contains("nan in row 1"));
}

TEST_CASE("structure functions name what does not fit", "[graph]") {
  const Graph graph = some_graph(), two(2, 3, Edges{{0, 2}});
  const auto list = [](std::initializer_list<std::int64_t> nodes) { return tensor<std::int64_t>(nodes); };
  CHECK_THROWS_WITH(induced_subgraph(graph, list({0, 5})), contains("node 5 at position 1 is outside 0 .. 4"));
  CHECK_THROWS_AS(induced_subgraph(graph, list({-1})), IndexError);
  CHECK_THROWS_WITH(induced_subgraph(graph, list({3, 1, 3})), contains("node 3 is listed at positions 0 and 2"));
  CHECK_THROWS_AS(induced_subgraph(graph, zeros<std::int64_t>({1, 1})), ShapeError);
  CHECK_THROWS_WITH(induced_subgraph(two, list({0})), contains("one set of nodes") && contains("[2, 3, 1]"));
  CHECK_THROWS_AS(undirected(two), ShapeError);
  CHECK_THROWS_AS(without_self_loops(two), ShapeError);
  CHECK_THROWS_AS(with_self_loops(two, ones<double>({1}), 1.0), ValueError);
  CHECK_THROWS_WITH(with_self_loops(graph, ones<double>({5}), 1.0), contains("features [5]") && contains("[5, 5, 6]"));
  CHECK_THROWS_AS(coalesced(graph, ones<double>({7})), ShapeError);
  // An empty graph and nodes without edges go through everything.
  for (Index nodes : {0, 3}) {
    const Graph none(nodes, Edges{});
    CHECK(coalesced(none, zeros<double>({0, 2})).graph.edges() == 0);
    CHECK(undirected(none).graph.sources() == nodes);
    CHECK(with_self_loops(none, zeros<double>({0, 2}), IncomingMean{}).features.shape() == Shape{nodes, 2});
    CHECK(gcn_normalised<double>(none).graph.edges() == nodes);
    CHECK(row_normalised<double>(none).count() == 0);
    CHECK(induced_subgraph(none, zeros<std::int64_t>({0})).graph.sources() == 0);
    CHECK(same_bits(neighbour_max(none, normal({nodes, 2}, 1)), zeros<double>({nodes, 2})));
  }
}

TEST_CASE("relations are the edges of one type", "[graph]") {
  const Graph graph = some_graph();
  const auto relations = relations_of(graph, tensor<std::int64_t>({2, 0, 0, 2, 0, 0}), 3);
  REQUIRE(relations.size() == 3);
  CHECK(edge_list(relations[0].graph) == Edges{{0, 2}, {3, 1}, {1, 0}, {0, 1}});
  CHECK(numbers(relations[0].edges) == Indices{1, 2, 4, 5});
  CHECK(relations[1].graph.edges() == 0);
  CHECK(relations[1].graph.sources() == 5);
  CHECK(numbers(relations[2].edges) == Indices{0, 3});
  CHECK_THROWS_WITH(relations_of(graph, tensor<std::int64_t>({0, 0, 3, 0, 0, 0}), 3),
                    contains("edge 2 is of type 3, types are 0 .. 2"));
  CHECK_THROWS_AS(relations_of(graph, zeros<std::int64_t>({5}), 1), ShapeError);
  CHECK_THROWS_AS(relations_of(graph, zeros<std::int64_t>({6}), -1), ValueError);
}

TEST_CASE("a graph of typed nodes keeps each relation", "[graph]") {
  HeteroGraph library;
  library.add_nodes("author", 2);
  library.add_nodes("paper", 3);
  library.add_edges("author", "writes", "paper", Edges{{1, 0}, {0, 2}});
  library.add_edges("paper", "cites", "paper", Edges{{2, 1}});
  CHECK(library.nodes("paper") == 3);
  const Graph& writes = library.relation("author", "writes", "paper");
  CHECK(writes.sources() == 2);
  CHECK(writes.destinations() == 3);
  CHECK(edge_list(writes) == Edges{{1, 0}, {0, 2}});
  CHECK(library.node_types() == std::vector<std::string>{"author", "paper"});
  const auto all = library.homogeneous();
  CHECK(numbers(all.offsets) == Indices{0, 2, 5});
  CHECK(edge_list(all.graph) == Edges{{1, 2}, {0, 4}, {4, 3}});
  CHECK(numbers(all.edge_types) == Indices{0, 0, 1});
  CHECK_THROWS_WITH(library.add_nodes("paper", 1), contains("paper already"));
  CHECK_THROWS_WITH(library.add_nodes("venue", -1), contains("-1 nodes of type venue"));
  CHECK_THROWS_WITH(library.add_edges("author", "likes", "venue", Edges{}), contains("no nodes of type venue"));
  CHECK_THROWS_WITH(library.add_edges("author", "likes", "paper", Edges{{0, 0}, {2, 0}}),
                    contains("edge 1 of author likes paper goes from 2 to 0") && contains("structure_test.cpp"));
  CHECK_THROWS_WITH(library.add_edges("author", "writes", "paper", Edges{}), contains("author writes paper already"));
  CHECK_THROWS_WITH(library.relation("paper", "writes", "author"), contains("no relation paper writes author"));
  CHECK_THROWS_AS(library.nodes("venue"), ValueError);
}

TEST_CASE("fused messages are messages written out", "[graph]") {
  const Graph graph(6, 9, random_edges(6, 9, 30, 4));
  const Tensor<double> x = normal({6, 2, 3}, 1), d = normal({9, 2, 3}, 2), w = normal({30, 2}, 3);
  const auto close = [](const Tensor<double>& a, const Tensor<double>& b) { return all_close(a, b, 1e-13, 1e-14); };
  const auto row = [](const auto& s) { return s; };
  for (const Aggregate how : {Aggregate::sum, Aggregate::mean, Aggregate::max, Aggregate::min})
    CHECK(close(propagate(graph, SourceMessage{x}, how), propagate(graph, row, x, {}, {}, how)));
  const auto weighted = [&](const Tensor<double>& weights) {
    const auto message = [](const auto& s, const auto&, const auto& e) { return s * reshape(e, {30, 2, 1}); };
    return propagate(graph, message, x, d, weights);
  };
  CHECK(close(propagate(graph, WeightedMessage{x, w}), weighted(w)));
  CHECK(close(propagate(graph, AttendedMessage{x, w}), weighted(edge_softmax(graph, w))));
  CHECK(same_bits(aggregate_edges(graph, w, Aggregate::max), edge_max(graph, w)));
  const Tensor<double> ends = propagate(
      graph, [](const auto& s, const auto& t) { return s - t; }, x, d);
  const Tensor<double> heard = reshape(cast<double>(in_degrees(graph)), {9, 1, 1});
  CHECK(close(ends, neighbour_sum(graph, x) - d * heard));
  CHECK_THROWS_WITH(propagate(graph, row, normal({5, 2}, 1)), contains("x [5, 2]") && contains("6 sources"));
  CHECK_THROWS_WITH(propagate(
                        graph, [](const auto& s) { return sum(s); }, x),
                    contains("30 edges"));
}
