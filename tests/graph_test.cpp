// Graphs and the layers on them, tagged [graph]. Properties: what the arrays promise, and what Velickovic et al. 2018
// and Brody et al. 2022 say of their layers.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "catch.hpp"
#include "graft/graph/gatv2.hpp"
#include "graft/graph/knn.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/losses.hpp"
#include "graft/optim/adam.hpp"

using namespace graft;

namespace {

using Edges = std::vector<GraphEdge>;

Edges random_edges(Index sources, Index destinations, Index count, const Random& random) {
  Edges edges;
  for (Index e = 0; e < count; ++e)
    edges.push_back({random.below(static_cast<std::uint64_t>(2 * e), sources),
                     random.below(static_cast<std::uint64_t>(2 * e + 1), destinations)});
  return edges;
}
Edges shuffled(const Edges& edges, const Random& random) {
  Edges result;
  for (Index e : random.permutation(static_cast<Index>(edges.size()))) result.push_back(edges[e]);
  return result;
}
/// (source, destination) of every edge, sorted.
std::vector<std::pair<Index, Index>> edge_set(const Graph& graph) {
  std::vector<std::pair<Index, Index>> all;
  for (Index e = 0; e < graph.edges(); ++e) all.emplace_back(graph.source_of().at({e}), graph.destination_of().at({e}));
  std::sort(all.begin(), all.end());
  return all;
}
Graph complete(Index nodes) {
  Edges edges;
  for (Index i = 0; i < nodes; ++i)
    for (Index j = 0; j < nodes; ++j) edges.push_back({j, i});
  return Graph(nodes, edges);
}
Tensor<double> normal(const Shape& shape, std::uint64_t stream) {
  return randn<double>(shape, Random(11).stream(stream));
}
/// Rows of x in the order `order`.
Tensor<double> rows_of(const Tensor<double>& x, const std::vector<Index>& order) {
  return gather(x, from_vector(std::vector<std::int64_t>(order.begin(), order.end())));
}

/// Calls `test` with a GAT and a GATv2 layer as functions (graph, x) -> out, and their matrix [heads width, in] and
/// bias.
template <class Test>
void for_both_layers(Index in, Index width, const GatOptions& options, Test test) {
  const auto with_bias = [](auto layer) {
    *layer.bias = normal(layer.bias->shape(), 77);
    return layer;
  };
  Context evaluation;
  const auto gat = with_bias(Gat<double>(in, width, Random(1), options));
  test([&](const Graph& graph, const Tensor<double>& x) { return gat(graph, x, evaluation); }, gat.weight, *gat.bias);
  const auto gatv2 = with_bias(GatV2<double>(in, width, Random(2), options));
  test([&](const Graph& graph, const Tensor<double>& x) { return gatv2(graph, x, evaluation); }, gatv2.weight_l,
       *gatv2.bias);
}

/// alpha [destinations, sources] of graph_attention: values one-hot in the source.
Tensor<double> weights(const Graph& graph, const Tensor<double>& source_scores,
                       const Tensor<double>& destination_scores) {
  const Index n = graph.sources();
  return reshape(graph_attention(graph, reshape(eye<double>(n), {n, 1, n}), source_scores, destination_scores),
                 {graph.destinations(), n});
}
/// The same of graph_attention_v2: sources carry a one-hot part that the attention vector does not look at.
Tensor<double> weights_v2(const Graph& graph, const Tensor<double>& s, const Tensor<double>& d,
                          const Tensor<double>& a) {
  const Index n = graph.sources(), m = graph.destinations(), width = s.size(1);
  const auto wide = [](const Tensor<double>& x, const Tensor<double>& more) {
    return reshape(concat(std::vector{x, more}, 1), {x.size(0), 1, x.size(1) + more.size(1)});
  };
  const Tensor<double> attention = concat(std::vector{reshape(a, {1, width}), zeros<double>({1, n})}, 1);
  const Tensor<double> out =
      graph_attention_v2(graph, wide(s, eye<double>(n)), wide(d, zeros<double>({m, n})), attention);
  return slice(reshape(out, {m, width + n}), 1, width, width + n);
}
/// Sources from the highest weight to the lowest, for one destination.
std::vector<Index> ranking(const Tensor<double>& alpha, Index destination) {
  std::vector<Index> order;
  for (Index j = 0; j < alpha.size(1); ++j) order.push_back(j);
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {
    return alpha.at({destination, a}) > alpha.at({destination, b});
  });
  return order;
}

}  // namespace

TEST_CASE("a graph sorts its edges and keeps both directions", "[graph]") {
  for (const auto& [sources, destinations, count] : {std::tuple{7, 5, 60}, {5, 9, 4}, {3, 3, 0}, {1, 1, 3}}) {
    const Edges edges = random_edges(sources, destinations, count, Random(3));
    const Graph graph(sources, destinations, edges);
    REQUIRE(graph.edges() == count);
    REQUIRE(graph.offsets().count() == destinations + 1);
    REQUIRE(graph.source_offsets().count() == sources + 1);
    CHECK(graph.offsets().at({0}) == 0);
    CHECK(graph.offsets().at({destinations}) == count);
    CHECK(graph.source_offsets().at({sources}) == count);
    std::vector<int> times_listed(count), times_back(count);
    for (Index i = 0; i < destinations; ++i)
      for (Index e = graph.offsets().at({i}); e < graph.offsets().at({i + 1}); ++e) {
        CHECK(graph.destination_of().at({e}) == i);
        const Index place = graph.input_order().at({e});
        ++times_listed[place];
        CHECK(edges[place].source == graph.source_of().at({e}));
        CHECK(edges[place].destination == i);
        if (e == graph.offsets().at({i})) continue;
        const Index before = graph.source_of().at({e - 1}), source = graph.source_of().at({e});
        CHECK((before < source || (before == source && graph.input_order().at({e - 1}) < place)));
      }
    for (Index j = 0; j < sources; ++j)
      for (Index p = graph.source_offsets().at({j}); p < graph.source_offsets().at({j + 1}); ++p) {
        const Index e = graph.edge_by_source().at({p});
        ++times_back[e];
        CHECK(graph.source_of().at({e}) == j);
        CHECK(graph.destination_by_source().at({p}) == graph.destination_of().at({e}));
        if (p > graph.source_offsets().at({j})) CHECK(graph.edge_by_source().at({p - 1}) < e);
      }
    CHECK(std::count(times_listed.begin(), times_listed.end(), 1) == count);
    CHECK(std::count(times_back.begin(), times_back.end(), 1) == count);
  }
  CHECK(Graph().sources() == 0);
  CHECK(Graph().edges() == 0);
}

TEST_CASE("an edge to a node that is not there is an error", "[graph]") {
  CHECK_THROWS_AS(Graph(3, Edges{{0, 3}}), IndexError);
  CHECK_THROWS_AS(Graph(3, Edges{{-1, 0}}), IndexError);
  CHECK_THROWS_WITH(Graph(2, 5, Edges{{0, 4}, {4, 0}}),
                    contains("graft: Graph: edge 1 goes from 4 to 0") && contains("graph_test.cpp"));
  CHECK_THROWS_AS(Graph(-1, Edges{}), ValueError);
  CHECK_THROWS_WITH(Graph(Index{1} << 31, 1, Edges{}), contains("2147483648 sources") && contains("2^31 - 1"));
  CHECK_THROWS_WITH(with_self_loops(Graph(2, 3, Edges{})),
                    contains("graft: with_self_loops: ") && contains("graph_test.cpp"));
}

TEST_CASE("self-loops are added where they are missing", "[graph]") {
  const Graph graph = with_self_loops(Graph(4, Edges{{1, 1}, {0, 1}, {2, 3}, {2, 3}, {1, 1}}));
  const std::vector<std::pair<Index, Index>> expected{{0, 0}, {0, 1}, {1, 1}, {1, 1}, {2, 2}, {2, 3}, {2, 3}, {3, 3}};
  CHECK(edge_set(graph) == expected);
  CHECK(edge_set(with_self_loops(graph)) == expected);
  CHECK(with_self_loops(Graph()).edges() == 0);
}

TEST_CASE("a disjoint union numbers nodes one graph after the other", "[graph]") {
  const std::vector<Graph> graphs{Graph(2, 3, Edges{{1, 2}, {0, 0}}), Graph(), Graph(1, 1, Edges{{0, 0}, {0, 0}})};
  const Graph all = disjoint_union(graphs);
  CHECK(all.sources() == 3);
  CHECK(all.destinations() == 4);
  CHECK(edge_set(all) == std::vector<std::pair<Index, Index>>{{0, 0}, {1, 2}, {2, 3}, {2, 3}});
  CHECK(disjoint_union(std::vector<Graph>{}).sources() == 0);
}

TEST_CASE("nearest neighbours are those of a full sort", "[graph]") {
  const Tensor<double> from = normal({9, 3}, 1), to = normal({4, 3}, 2);
  const auto distance = [&](const Tensor<double>& a, Index i, const Tensor<double>& b, Index j) {
    double sum = 0;
    for (Index w = 0; w < 3; ++w) sum += (a.at({i, w}) - b.at({j, w})) * (a.at({i, w}) - b.at({j, w}));
    return sum;
  };
  for (Index k : {0, 1, 4, 9, 20}) {
    const Edges edges = nearest_neighbours(from, to, k);
    REQUIRE(static_cast<Index>(edges.size()) == 4 * std::min<Index>(k, 9));
    for (Index i = 0; i < 4; ++i) {
      std::vector<std::pair<double, Index>> all;
      for (Index j = 0; j < 9; ++j) all.emplace_back(distance(to, i, from, j), j);
      std::sort(all.begin(), all.end());
      for (Index rank = 0; rank < std::min<Index>(k, 9); ++rank) {
        const GraphEdge& edge = edges[i * std::min<Index>(k, 9) + rank];
        CHECK(edge.destination == i);
        CHECK(edge.source == all[rank].second);
      }
    }
  }
  // Ties go to the lower row; a row is no neighbour of itself with skip_same.
  const Tensor<double> line = tensor<double>({{0.0}, {1.0}, {2.0}});
  const Edges both = nearest_neighbours(line, line, 1, true);
  REQUIRE(both.size() == 3);
  CHECK(both[1].source == 0);
  CHECK(both[0].source == 1);
  CHECK(both[2].source == 1);
  CHECK_THROWS_AS(nearest_neighbours(from, normal({4, 2}, 2), 1), ShapeError);
  CHECK_THROWS_AS(nearest_neighbours(from, to, -1), ValueError);
}

TEST_CASE("renumbering the nodes of a graph renumbers a layer's output", "[graph]") {
  const Edges edges = random_edges(8, 8, 30, Random(4));
  const Tensor<double> x = normal({8, 5}, 3);
  const std::vector<Index> new_place = Random(5).permutation(8);
  Edges renamed;
  for (const GraphEdge& e : edges) renamed.push_back({new_place[e.source], new_place[e.destination]});
  std::vector<Index> old_place(8);
  for (std::size_t i = 0; i < 8; ++i) old_place[new_place[i]] = static_cast<Index>(i);
  for_both_layers(5, 3, {.heads = 2}, [&](auto layer, const auto&, const auto&) {
    CHECK(all_close(layer(Graph(8, renamed), rows_of(x, old_place)), rows_of(layer(Graph(8, edges), x), old_place),
                    1e-12, 1e-13));
  });
}

TEST_CASE("a node that hears only itself passes through a dense layer", "[graph]") {
  const Tensor<double> x = normal({6, 5}, 4);
  for_both_layers(5, 3, {.heads = 2}, [&](auto layer, const auto& weight, const auto& bias) {
    const Tensor<double> dense = matmul(x, weight, {.transpose_b = true}) + bias;
    CHECK(all_close(layer(with_self_loops(Graph(6, Edges{})), x), dense, 1e-13, 1e-14));
    // Without any edge only the bias is left.
    CHECK(all_close(layer(Graph(6, Edges{}), x), zeros<double>({6, 6}) + bias, 0, 0));
  });
}

TEST_CASE("a batch of graphs gives the bits of one graph at a time", "[graph]") {
  std::vector<Graph> graphs;
  std::vector<Tensor<double>> features;
  for (Index g = 0; g < 4; ++g) {
    const Index nodes = 3 + 2 * g;
    graphs.push_back(with_self_loops(Graph(nodes, random_edges(nodes, nodes, 4 * g, Random(6)))));
    features.push_back(normal({nodes, 5}, static_cast<std::uint64_t>(20 + g)));
  }
  for_both_layers(5, 7, {.heads = 3, .concatenate = false}, [&](auto layer, const auto&, const auto&) {
    std::vector<Tensor<double>> apart;
    for (std::size_t g = 0; g < graphs.size(); ++g) apart.push_back(layer(graphs[g], features[g]));
    CHECK(same_bits(layer(disjoint_union(graphs), concat(features, 0)), concat(apart, 0)));
  });
}

TEST_CASE("the order of a list of edges changes no bit, backwards neither", "[graph]") {
  const Edges edges = random_edges(6, 9, 50, Random(7)), mixed = shuffled(edges, Random(8));
  const Tensor<double> v = normal({6, 2, 3}, 5), s = normal({6, 2}, 6), d = normal({9, 2}, 7), g = normal({9, 2, 3}, 8);
  const auto gradient = [&](const Edges& list) {
    const Graph graph(6, 9, list);
    return vjp([&](const auto& x) { return graph_attention(graph, x[0], x[1], x[2]); }, std::vector{v, s, d}, g).second;
  };
  const auto first = gradient(edges), second = gradient(mixed);
  for (std::size_t i = 0; i < 3; ++i) CHECK(same_bits(first[i], second[i]));
}

TEST_CASE("attention weights over a neighbourhood add up to one", "[graph]") {
  const Graph graph(6, 9, random_edges(6, 9, 25, Random(9)));
  const Tensor<double> out =
      graph_attention(graph, ones<double>({6, 2, 3}), normal({6, 2}, 1) * 5, normal({9, 2}, 2) * 5);
  for (Index i = 0; i < 9; ++i) {
    const bool hears = graph.offsets().at({i}) < graph.offsets().at({i + 1});
    for (Index h = 0; h < 2; ++h)
      for (Index w = 0; w < 3; ++w) CHECK(std::abs(out.at({i, h, w}) - (hears ? 1 : 0)) < 1e-14);
  }
}

TEST_CASE("without scores attention is the mean of the neighbours", "[graph]") {
  const Graph graph(6, 9, random_edges(6, 9, 25, Random(10)));
  const Tensor<double> v = normal({6, 2, 3}, 9);
  const Tensor<double> mean_of_neighbours = segment_mean(gather(v, graph.source_of()), graph.offsets());
  CHECK(all_close(graph_attention(graph, v, zeros<double>({6, 2}), zeros<double>({9, 2})), mean_of_neighbours, 1e-13,
                  1e-14));
  CHECK(all_close(graph_attention_v2(graph, v, normal({9, 2, 3}, 4), zeros<double>({2, 3})), mean_of_neighbours, 1e-13,
                  1e-14));
}

TEST_CASE("GAT ranks sources the same for every destination, GATv2 does not", "[graph]") {
  // Brody et al., theorem 1: with LeakyReLU(d_i + s_j) the order of j cannot depend on i.
  const Index n = 6;
  const Graph graph = complete(n);
  const Tensor<double> alpha = weights(graph, normal({n, 1}, 31), normal({n, 1}, 32));
  for (Index i = 1; i < n; ++i) CHECK(ranking(alpha, i) == ranking(alpha, 0));
  // Theorem 2, by construction: s_j = 4 e_j - 4, d_i = 3 e_i, a = 1. The score of j = i is 3 - 0.8 (n - 1), that of any
  // other j is -0.2 - 0.8 (n - 2), lower by 2.4: every node attends to itself most.
  const Tensor<double> dynamic = weights_v2(graph, eye<double>(n) * 4 - 4.0, eye<double>(n) * 3, ones<double>({n}));
  for (Index i = 0; i < n; ++i) {
    CHECK(ranking(dynamic, i)[0] == i);
    CHECK(dynamic.at({i, i}) == Approx(1 / (1 + static_cast<double>(n - 1) * std::exp(-2.4))).epsilon(1e-12));
  }
}

TEST_CASE("a node whose scores are all minus infinity gets nothing", "[graph]") {
  const Graph graph(2, Edges{{0, 0}, {1, 0}, {1, 1}});
  const double infinity = std::numeric_limits<double>::infinity();
  const Tensor<double> v = normal({2, 1, 3}, 1), s = zeros<double>({2, 1}), d = tensor<double>({{-infinity}, {0.0}});
  for (bool graph_kept : {false, true}) {
    const auto [out, gradient] = vjp([&](const auto& x) { return graph_attention(graph, x[0], x[1], d); },
                                     std::vector{v, s}, ones<double>({2, 1, 3}), {.create_graph = graph_kept});
    CHECK(all_close(out, concat(std::vector{zeros<double>({1, 1, 3}), slice(v, 0, 1, 2)}, 0), 0, 0));
    CHECK(all_close(gradient[0], concat(std::vector{zeros<double>({1, 1, 3}), ones<double>({1, 1, 3})}, 0), 1e-15, 0));
    CHECK(all_close(gradient[1], zeros<double>({2, 1}), 0, 1e-15));
  }
}

TEST_CASE("attention never stores a row of features for each edge", "[graph]") {
  const Index nodes = 200, heads = 4, width = 64;
  const Graph graph = complete(nodes);
  const Tensor<float> v = ones<float>({nodes, heads, width}), s = zeros<float>({nodes, heads}),
                      a = ones<float>({heads, width});
  const Index expanded = graph.edges() * heads * width * static_cast<Index>(sizeof(float));
  const Tensor<float> weights = ones<float>(v.shape());
  for (bool v2 : {false, true}) {
    release_cached_memory();
    const Index before = memory_stats().system_bytes;
    vjp([&](const auto& x) { return v2 ? graph_attention_v2(graph, x, v, a) : graph_attention(graph, x, s, s); }, v,
        weights);
    // What was freed stays cached, so this is the peak.
    CHECK(memory_stats().system_bytes - before < expanded / 8);
  }
}

TEST_CASE("layers drop attention weights in training only", "[graph]") {
  const Graph graph = complete(5);
  const Tensor<double> x = normal({5, 4}, 2);
  const GatOptions options{.heads = 2, .dropout = 0.5};
  const auto check = [&](const auto& layer) {
    const auto in_training = [](std::uint64_t seed) { return Context(Phase::training, Random(seed)); };
    Context evaluation, first = in_training(1), again = in_training(1), other = in_training(2), unused = in_training(3);
    auto without = layer;
    without.options.dropout = 0;
    CHECK(same_bits(layer(graph, x, evaluation), without(graph, x, unused)));
    const Tensor<double> dropped = layer(graph, x, first), next = layer(graph, x, first);
    CHECK(same_bits(dropped, layer(graph, x, again)));
    CHECK_FALSE(same_bits(dropped, next));
    CHECK_FALSE(same_bits(dropped, layer(graph, x, other)));
    // A layer without dropout takes its draw all the same, so that its rate moves no other layer's mask.
    Context skipped = in_training(1);
    without(graph, x, skipped);
    CHECK(same_bits(layer(graph, x, skipped), next));
  };
  check(Gat<double>(4, 3, Random(1), options));
  check(GatV2<double>(4, 3, Random(1), options));
}

TEST_CASE("a row of thousands of edges attends to all of them", "[graph]") {
  // One destination hears 9000 edges, more than a group of rows or a parallel chunk has; others hear few.
  Edges edges = random_edges(40, 30, 200, Random(12));
  for (const GraphEdge& e : random_edges(40, 1, 9000, Random(13))) edges.push_back(e);
  const Graph graph(40, 30, edges);
  const Tensor<double> v = normal({40, 3, 5}, 1), s = normal({40, 3}, 2), d = normal({30, 3}, 3), a = normal({3, 5}, 4),
                       t = normal({30, 3, 5}, 5), g = normal({30, 3, 5}, 6);
  const auto compare = [&](auto call, const std::vector<Tensor<double>>& x) {
    const auto [value, gradient] = vjp(call, x, g);
    const auto [again, replayed] = vjp(call, x, g, {.create_graph = true});  // of the composite
    for (std::size_t i = 0; i < 3; ++i) CHECK(all_close(gradient[i], replayed[i], 1e-10, 1e-11));
    CHECK(same_bits(value, again));
  };
  compare([&](const auto& x) { return graph_attention(graph, x[0], x[1], x[2]); }, {v, s, d});
  compare([&](const auto& x) { return graph_attention_v2(graph, x[0], x[1], x[2]); }, {v, t, a});
}

TEST_CASE("numbers of a sparse matrix stay with the places they were given for", "[graph]") {
  // Three forms of one matrix, its entries in no order, one place given twice.
  const Tensor<double> dense = tensor<double>({{0, 5, 7}, {2, 0, 3}});
  const auto row = tensor<std::int64_t>({1, 0, 1, 0, 0}), column = tensor<std::int64_t>({2, 2, 0, 1, 2});
  const auto values = tensor<double>({3, 4, 2, 5, 3});
  const auto whole = [](const SparseMatrix<double>& x) { return matmul(x, eye<double>(x.columns())); };
  CHECK(same_bits(whole(SparseMatrix<double>::from_coordinates(2, 3, row, column, values)), dense));
  CHECK(same_bits(whole({Graph::from_edge_index(3, 2, stack<std::int64_t>({column, row})), values}), dense));
  const auto offsets = tensor<std::int32_t>({0, 3, 5}), columns = tensor<std::int32_t>({2, 1, 2, 2, 0});
  const auto by_row = tensor<double>({4, 5, 3, 3, 2});
  const auto from_rows = SparseMatrix<double>::from_csr(3, offsets, columns, by_row);
  CHECK(same_bits(whole(from_rows), dense));
  CHECK(same_bits(whole(from_rows.with_values(2.0 * from_rows.values())), 2.0 * dense));

  CHECK_THROWS_AS(SparseMatrix<double>::from_coordinates(2, 2, row, column, values), IndexError);
  CHECK_THROWS_AS(SparseMatrix<double>::from_coordinates(2, 3, row, tensor<std::int64_t>({0}), values), ShapeError);
  CHECK_THROWS_AS(SparseMatrix<double>::from_csr(2, offsets, columns, by_row), IndexError);
  CHECK_THROWS_AS(SparseMatrix<double>::from_csr(3, tensor<std::int32_t>({0, 4, 3}), columns, by_row), ValueError);
  CHECK_THROWS_AS(SparseMatrix<double>::from_csr(3, tensor<std::int32_t>({0, 3}), columns, by_row), ValueError);
  CHECK_THROWS_AS(Graph::from_edge_index(3, row), ShapeError);
}

TEST_CASE("a sparse matrix is its dense one, dropout included", "[graph]") {
  const Tensor<double> dense = relu(normal({9, 70}, 1) - 0.8);
  const SparseMatrix<double> sparse(dense);
  const auto whole = [](const SparseMatrix<double>& x) { return matmul(x, eye<double>(x.columns())); };
  CHECK(same_bits(whole(sparse), dense));
  CHECK(sparse.values().count() < dense.count() / 2);
  for (double rate : {0.0, 0.3, 0.9})
    CHECK(same_bits(whole(dropout(sparse, rate, Random(5))), dropout(dense, rate, Random(5))));
  Context training(Phase::training, Random(5)), same = training;
  const Dropout half{0.5};
  CHECK(same_bits(whole(half(sparse, training)), half(dense, same)));
  CHECK(SparseMatrix<double>(zeros<double>({0, 4})).columns() == 4);
  CHECK_THROWS_AS(SparseMatrix<double>(normal({4}, 1)), ShapeError);
  CHECK_THROWS_AS(SparseMatrix<double>(Graph(3, Edges{{0, 1}}), normal({2}, 1)), ShapeError);
  CHECK_THROWS_WITH(dropout(sparse, 1, Random(5)), contains("graft: dropout: ") && contains("[9, 70]"));
  // A layer reads either form.
  for (const bool bias : {true, false}) {
    const Linear<double> linear(70, 4, Random(2), {.bias = bias});
    CHECK(all_close(linear(sparse), linear(dense), 1e-13, 1e-13));
    const auto of = [](const auto& x) { return [&x](const auto& m) { return sum(square(m(x))); }; };
    CHECK(all_close(to_vector(grad(of(sparse), linear)), to_vector(grad(of(dense), linear)), 1e-13, 1e-13));
    CHECK_THROWS_WITH(Linear<double>(60, 4, Random(2))(sparse),
                      contains("Linear: sparse x must have 60 columns") && contains("[9, 70]"));
  }
  const Graph graph = complete(9);
  Context context;
  const auto check = [&](const auto& layer, const std::string& name) {
    CHECK(all_close(layer(graph, sparse, context), layer(graph, dense, context), 1e-12, 1e-13));
    CHECK_THROWS_WITH(layer(complete(4), sparse, context), contains("graft: " + name + ": ") && contains("x [9, 70]"));
  };
  check(Gat<double>(70, 3, Random(1), {.heads = 2}), "Gat");
  check(GatV2<double>(70, 3, Random(1), {.heads = 2}), "GatV2");
}

TEST_CASE("layers check their input and name themselves", "[graph]") {
  Context context;
  const Gat<> gat(4, 3, Random(1));
  const GatV2<> gatv2(4, 3, Random(1));
  const Tensor<float> x = ones<float>({5, 4});
  CHECK_THROWS_WITH(gat(complete(4), x, context),
                    contains("graft: Gat: ") && contains("x [5, 4]") && contains("graph_test.cpp"));
  CHECK_THROWS_AS(gatv2(Graph(5, 4, Edges{}), x, context), ShapeError);
  CHECK_THROWS_AS(gatv2(complete(5), ones<float>({5, 3}), context), ShapeError);
  CHECK_THROWS_AS(Gat<>(4, 3, Random(1), {.heads = 0}), ValueError);
  CHECK_THROWS_AS(GatV2<>(4, 3, Random(1), {.dropout = 1}), ValueError);
}

// ---- DictionaryLookup, Brody et al. 2022, section 4.1
// ------------------------------------------------------------------- k sources hold a key and a value, k destinations
// a key; every source is connected to every destination, which must tell the value of its key. The values are permuted
// anew for each graph. GAT cannot look up (static attention), GATv2 can.
namespace {

struct Lookup {
  Tensor<float> keys, values, questions;    // embeddings [k, width]
  Tensor<float> source, destination;        // [width, width]
  Tensor<float> of_source, of_destination;  // attention vectors [1, width]; GATv2 uses the first
  Tensor<float> head;                       // [width, k]
  GRAFT_FIELDS(keys, values, questions, source, destination, of_source, of_destination, head)
};

/// Accuracy on permutations not trained on.
double lookup_accuracy(bool v2, Index k, int steps) {
  const Index width = 32, batch = 16;
  const Random root(1);
  const auto embedding = [&](const char* name) { return randn<float>({k, width}, root.stream(name)); };
  const auto weight = [&](const Shape& shape, const char* name) {
    return glorot_uniform<float>(shape, root.stream(name));
  };
  Lookup model{embedding("keys"),
               embedding("values"),
               embedding("questions"),
               weight({width, width}, "source"),
               weight({width, width}, "destination"),
               weight({1, width}, "of_source"),
               weight({1, width}, "of_destination"),
               weight({width, k}, "head")};
  const Graph graph = disjoint_union(std::vector<Graph>(static_cast<std::size_t>(batch), complete(k)));
  const auto permutations = [&](bool identity, const Random& random) {
    std::vector<std::int64_t> all;
    for (Index b = 0; b < batch; ++b) {
      const std::vector<Index> order = random.stream(static_cast<std::uint64_t>(b)).permutation(k);
      for (Index i = 0; i < k; ++i) all.push_back(identity ? i : order[i]);
    }
    return from_vector(all);
  };
  const Tensor<std::int64_t> key_of = permutations(true, root);
  const auto logits = [&](const Lookup& m, const Tensor<std::int64_t>& value_of) {
    const Shape by_head{batch * k, 1, width};
    const Tensor<float> s = reshape(matmul(gather(m.keys, key_of) + gather(m.values, value_of), m.source), by_head);
    const Tensor<float> d = reshape(matmul(gather(m.questions, key_of), m.destination), by_head);
    const Tensor<float> heard =
        v2 ? graph_attention_v2(graph, s, d, m.of_source)
           : graph_attention(graph, s, sum(s * m.of_source, {2}), sum(d * m.of_destination, {2}));
    return matmul(reshape(heard, {batch * k, width}), m.head);
  };
  Adam<Lookup> adam(model);
  for (int step = 0; step < steps; ++step) {
    const Tensor<std::int64_t> value_of =
        permutations(false, root.stream("train").stream(static_cast<std::uint64_t>(step)));
    adam.step(model, grad([&](const Lookup& m) { return cross_entropy(logits(m, value_of), value_of); }, model), 0.01);
  }
  Index right = 0, asked = 0;
  for (std::uint64_t draw = 0; draw < 10; ++draw) {
    const Tensor<std::int64_t> value_of = permutations(false, root.stream("test").stream(draw));
    const auto answer = argmax(logits(model, value_of), 1);
    for (Index i = 0; i < value_of.count(); ++i, ++asked) right += answer.data()[i] == value_of.data()[i];
  }
  return static_cast<double>(right) / static_cast<double>(asked);
}

}  // namespace

TEST_CASE("GATv2 learns to look up, GAT does not", "[graph]") {
  CHECK(lookup_accuracy(true, 10, 300) >= 0.995);
  CHECK(lookup_accuracy(false, 10, 300) < 0.4);
}
