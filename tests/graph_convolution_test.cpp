// GCN, SGC, GraphSAGE, GIN, GINE and RGCN, tagged [graph]: their formulas written out, the properties that their papers
// state, limits in which one layer is another. What all layers share is in graph_layers_test.cpp.

#include "graft/graph/gin.hpp"
#include "graft/graph/rgcn.hpp"
#include "graft/graph/sage.hpp"
#include "graft/graph/sampling.hpp"
#include "graft/graph/sgc.hpp"
#include "graft/graph/stack.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/sequential.hpp"
#include "graft/ops/linalg_spectral.hpp"
#include "graphs.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

/// A layer's numbers replaced by normal ones, biases included.
template <class M>
M with_normal_parameters(const M& model) {
  std::uint64_t leaf = 100;
  return zip([&](const auto& x) { return normal_numbers(x.shape(), leaf++); }, model);
}
Numbers dense(const SparseMatrix<double>& a) { return matmul(a, eye<double>(a.columns())); }
/// Nodes without an edge, one with a loop, edges both ways.
Graph some_graph() {
  EdgeList edges = both_ways({{0, 1}, {1, 2}, {2, 3}, {0, 2}});
  edges.push_back({3, 3});
  return Graph(5, edges);
}

}  // namespace

TEST_CASE("GCN is D^-1/2 (A + I) D^-1/2 x W^T + b on a graph, a matrix, dense and sparse features", "[graph]") {
  const Graph graph = some_graph();
  // Rows and degrees written out: 0 hears 1, 2; 1 hears 0, 2; 2 hears 1, 3, 0; 3 hears 2 and itself.
  const Numbers a =
      tensor<double>({{1, 1, 1, 0, 0}, {1, 1, 1, 0, 0}, {1, 1, 1, 1, 0}, {0, 0, 1, 1, 0}, {0, 0, 0, 0, 1}});
  const Numbers root = reshape(tensor<double>({3, 3, 4, 2, 1}), {5, 1});
  const Numbers s = a / sqrt(root) / sqrt(transpose(root));
  for (const Index out : {2, 6}) {  // narrower and wider than the input
    const Gcn<double> gcn = with_normal_parameters(Gcn<double>(4, out, Random(1)));
    const Numbers x = normal_numbers({5, 4}, 1);
    const Numbers expected = matmul(matmul(s, x), gcn.lin.weight, {.transpose_b = true}) + *gcn.bias;
    const SparseMatrix<double> matrix = gcn_matrix<double>(graph), sparse(x);
    CHECK(all_close(gcn(graph, x, Context()), expected, 1e-13, 1e-13));
    CHECK(all_close(gcn(graph, sparse, Context()), expected, 1e-13, 1e-13));
    CHECK(all_close(gcn(matrix, x, Context()), expected, 1e-13, 1e-13));
    CHECK(all_close(gcn(matrix, sparse, Context()), expected, 1e-13, 1e-13));
    CHECK(all_close(gcn(graph, x, ones<double>({graph.edges()}), Context()), expected, 1e-13, 1e-13));
  }
  // An edge of weight 2 is an edge listed twice.
  const Gcn<double> gcn(4, 2, Random(1));
  const Numbers x = normal_numbers({3, 4}, 1);
  CHECK(all_close(gcn(Graph(3, EdgeList{{0, 1}, {2, 1}}), x, tensor<double>({2, 1}), Context()),
                  gcn(Graph(3, EdgeList{{0, 1}, {2, 1}, {0, 1}}), x, Context()), 1e-13, 1e-13));
  // Without edges and self-loops only the bias is left.
  const Gcn<double> bare = with_normal_parameters(Gcn<double>(4, 2, Random(1), {.self_loops = false}));
  CHECK(same_bits(bare(Graph(3, EdgeList{}), x, Context()), zeros<double>({3, 2}) + *bare.bias));
}

TEST_CASE("GCN alone is a dense layer for a node without edges", "[graph]") {
  const Gcn<double> gcn = with_normal_parameters(Gcn<double>(4, 3, Random(1)));
  const Numbers x = normal_numbers({6, 4}, 1);
  const Numbers expected = matmul(x, gcn.lin.weight, {.transpose_b = true}) + *gcn.bias;
  CHECK(all_close(gcn(Graph(6, EdgeList{}), x, Context()), expected, 1e-14, 1e-14));
  CHECK(all_close(gcn(loops_only(6), x, Context()), expected, 1e-14, 1e-14));
}

TEST_CASE("the operator of GCN has eigenvalues in (-1, 1] and keeps constants of a regular graph", "[graph]") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Graph graph(9, both_ways(random_edge_list(9, 9, 12, seed)));
    const Numbers values = symmetric_eigen(dense(gcn_matrix<double>(graph))).values;
    CHECK(min(values).item() > -1 + 1e-9);
    CHECK(max(values).item() == Approx(1).epsilon(1e-12));
  }
  // Without loops an even ring is bipartite and reaches -1: the loops are what keeps it out.
  const Graph even(6, ring(6));
  const SparseMatrix<double> without(even, symmetric_normalised<double>(even));
  CHECK(min(symmetric_eigen(dense(without)).values).item() == Approx(-1).epsilon(1e-12));
  // A ring with its antipodes: every node has degree 3.
  EdgeList edges = ring(8);
  for (const GraphEdge& e : both_ways({{0, 4}, {1, 5}, {2, 6}, {3, 7}})) edges.push_back(e);
  CHECK(
      all_close(matmul(gcn_matrix<double>(Graph(8, edges)), ones<double>({8, 2})), ones<double>({8, 2}), 1e-14, 1e-14));
}

TEST_CASE("SGC is a linear map of features spread so many times", "[graph]") {
  const Graph graph = some_graph();
  const Numbers x = normal_numbers({5, 4}, 1);
  const SparseMatrix<double> s = gcn_matrix<double>(graph), sparse(x);
  for (const Index out : {2, 6}) {
    const Sgc<double> sgc(4, out, Random(1), {.hops = 3});
    const Numbers expected = sgc.lin(matmul(dense(s), matmul(dense(s), matmul(dense(s), x))));
    CHECK(all_close(sgc(graph, x, Context()), expected, 1e-13, 1e-13));
    CHECK(all_close(sgc(s, x, Context()), expected, 1e-13, 1e-13));
    CHECK(all_close(sgc(graph, sparse, Context()), expected, 1e-13, 1e-13));
    CHECK(all_close(sgc(s, sparse, Context()), expected, 1e-13, 1e-13));
    CHECK(all_close(sgc.lin(sgc_features(s, x, 3)), expected, 1e-13, 1e-13));
  }
  CHECK(same_bits(sgc_features(s, x, 0), x));
  // One hop is GCN.
  const Sgc<double> one(4, 2, Random(1));
  Gcn<double> gcn(4, 2, Random(2));
  gcn.lin.weight = one.lin.weight;
  gcn.bias = one.lin.bias;
  CHECK(all_close(one(graph, x, Context()), gcn(graph, x, Context()), 1e-13, 1e-13));
  CHECK_THROWS_WITH(Sgc<double>(4, 2, Random(1), {.hops = -1}), contains("Sgc: hops is -1"));
  CHECK_THROWS_AS(sgc_features(s, x, -1), ValueError);
}

TEST_CASE("SAGE maps the mean or maximum of the neighbours and the node itself", "[graph]") {
  const Graph graph(4, EdgeList{{0, 1}, {2, 1}, {2, 1}, {3, 0}});
  const Numbers x = normal_numbers({4, 3}, 1);
  const auto row = [&](Index i) { return slice(x, 0, i, i + 1); };
  const Numbers none = zeros<double>({1, 3});
  const Numbers mean = concat(std::vector{row(3), (row(0) + 2 * row(2)) / 3.0, none, none}, 0),
                largest = concat(std::vector{row(3), maximum(row(0), row(2)), none, none}, 0);
  for (const Index out : {2, 5}) {
    const Sage<double> sage(3, out, Random(1)), high(3, out, Random(1), {.aggregate = Aggregate::max});
    CHECK(all_close(sage(graph, x, Context()), sage.lin_l(mean) + (*sage.lin_r)(x), 1e-13, 1e-13));
    CHECK(all_close(sage(graph, SparseMatrix<double>(x), Context()), sage(graph, x, Context()), 1e-13, 1e-13));
    CHECK(all_close(high(graph, x, Context()), high.lin_l(largest) + (*high.lin_r)(x), 1e-13, 1e-13));
  }
  const Sage<double> unit(3, 4, Random(1), {.normalise = true}), own(3, 4, Random(1), {.root = false});
  CHECK(all_close(norm(unit(graph, x, Context()), {1}), ones<double>({4}), 1e-14, 1e-14));
  CHECK(all_close(own(graph, x, Context()), own.lin_l(mean), 1e-13, 1e-13));
  const Sage<double> pooled(3, 4, Random(1), {.aggregate = Aggregate::max, .project = true});
  const Numbers p = relu((*pooled.lin)(x));
  const auto of = [&](Index i) { return slice(p, 0, i, i + 1); };
  CHECK(all_close(pooled(graph, x, Context()),
                  pooled.lin_l(concat(std::vector{of(3), maximum(of(0), of(2)), none, none}, 0)) + (*pooled.lin_r)(x),
                  1e-13, 1e-13));
  CHECK_THROWS_WITH(
      Sage<double>(3, 4, Random(1), {.aggregate = Aggregate::max})(graph, SparseMatrix<double>(x), Context()),
      contains("graft: Sage: ") && contains("project"));
}

TEST_CASE("SAGE on sampled neighbours is the full layer when the fan-out reaches every degree", "[graph]") {
  const Graph graph(30, random_edge_list(30, 30, 120, 3));
  const Numbers x = normal_numbers({30, 3}, 1);
  const auto seeds = tensor<std::int64_t>({4, 17, 9});
  for (const Aggregate how : {Aggregate::mean, Aggregate::max}) {
    const Sage<double> sage(3, 4, Random(1), {.aggregate = how});
    for (const Index fan_out : {Index{120}, kAllNeighbours}) {
      const SampledBatch batch = sample_neighbours(graph, seeds, {fan_out}, Random(2));
      const SampledBlock& block = batch.blocks[0];
      const Numbers rows = gather(x, block.sources);
      CHECK(same_bits(sage(block.graph, rows, slice(rows, 0, 0, 3), Context()),
                      gather(sage(graph, x, Context()), seeds)));
    }
  }
}

TEST_CASE("GIN separates multisets that the mean or the maximum merges, and no more than colour refinement",
          "[graph]") {
  // Node 0 hears nodes of the given features.
  const auto heard = [](const std::vector<double>& features) {
    EdgeList edges;
    std::vector<double> x{5};
    for (const double f : features) {
      edges.push_back({static_cast<Index>(x.size()), 0});
      x.push_back(f);
    }
    const auto nodes = static_cast<Index>(x.size());
    return std::pair(Graph(nodes, edges), from_vector(x, {nodes, 1}));
  };
  const Gin gin(Sequential(Linear<double>(1, 8, Random(1)), Relu(), Linear<double>(8, 4, Random(2))));
  const Sage<double> mean(1, 4, Random(3)), largest(1, 4, Random(3), {.aggregate = Aggregate::max});
  const auto at_zero = [&](const auto& layer, const std::vector<double>& features) {
    const auto [graph, x] = heard(features);
    return slice(layer(graph, x, Context()), 0, 0, 1);
  };
  const auto merges = [&](const auto& layer, const std::vector<double>& a, const std::vector<double>& b) {
    return all_close(at_zero(layer, a), at_zero(layer, b), 0, 1e-12);
  };
  CHECK(merges(mean, {1, 2}, {1, 1, 2, 2}));
  CHECK(merges(largest, {1, 2}, {1, 1, 2}));
  CHECK_FALSE(merges(gin, {1, 2}, {1, 1, 2, 2}));
  CHECK_FALSE(merges(gin, {1, 2}, {1, 1, 2}));
  // Two triangles and a hexagon, constant features: all nodes look alike, however many layers.
  EdgeList triangles = ring(3);
  for (const GraphEdge& e : ring(3, 3)) triangles.push_back(e);
  const Gin wide(Sequential(Linear<double>(4, 4, Random(4)), Relu()));
  const auto twice = [&](const EdgeList& edges) {
    const Graph graph(6, edges);
    return wide(graph, gin(graph, ones<double>({6, 1}), Context()), Context());
  };
  CHECK(same_bits(twice(triangles), twice(ring(6))));
}

TEST_CASE("GIN and GINE are their formulas", "[graph]") {
  const Graph graph(4, EdgeList{{2, 1}, {0, 1}, {3, 0}});
  const Numbers x = normal_numbers({4, 3}, 1), e = normal_numbers({3, 2}, 2), none = zeros<double>({1, 3});
  const auto row = [](const Numbers& of, Index i) { return slice(of, 0, i, i + 1); };
  const Linear<double> map(3, 2, Random(1));
  const Gin gin(map, {.eps = 0.5});
  const Numbers sums = concat(std::vector{row(x, 3), row(x, 0) + row(x, 2), none, none}, 0);
  CHECK(all_close(gin(graph, x, Context()), map(1.5 * x + sums), 1e-13, 1e-13));
  CHECK(all_close(gin(loops_only(4), x, Context()), map(2.5 * x), 1e-13, 1e-13));
  CHECK(same_bits(gin(graph, x, x, Context()), gin(graph, x, Context())));

  const Gine gine(map, 3, 2, Random(2), {.eps = 0.5});
  const Numbers w = (*gine.lin)(e);
  const Numbers messages = concat(
      std::vector{relu(row(x, 3) + row(w, 2)), relu(row(x, 2) + row(w, 0)) + relu(row(x, 0) + row(w, 1)), none, none},
      0);
  CHECK(all_close(gine(graph, x, e, Context()), map(1.5 * x + messages), 1e-13, 1e-13));
  CHECK(same_bits(gine(graph, x, x, e, Context()), gine(graph, x, e, Context())));
  // Of positive features and edges of zeros, without a map, it is GIN.
  const Gine same(map, {.eps = 0.5});
  CHECK(all_close(same(graph, abs(x), zeros<double>({3, 3}), Context()), gin(graph, abs(x), Context()), 1e-13, 1e-13));
  // eps is a parameter that stands still unless it is asked to move.
  const auto moved = [&](bool train) {
    const Gin layer(map, {.train_eps = train});
    return largest(grad([&](const auto& m) { return sum(m(graph, x, Context())); }, layer).eps) > 0;
  };
  CHECK(moved(true));
  CHECK_FALSE(moved(false));
  CHECK_THROWS_WITH(gine(graph, x, normal_numbers({3, 4}, 2), Context()),
                    contains("graft: Gine: edge features must be [edges, 2]") && contains("[3, 4]"));
}

TEST_CASE("RGCN of one relation is SAGE, and identity coefficients of as many bases are free matrices", "[graph]") {
  const Graph graph(6, random_edge_list(6, 6, 20, 3));
  const Numbers x = normal_numbers({6, 3}, 1);
  const Rgcn<double> one = with_normal_parameters(Rgcn<double>(3, 4, 1, Random(1)));
  Sage<double> sage(3, 4, Random(2));
  sage.lin_l.weight = transpose(reshape(one.weight, {3, 4}));
  sage.lin_l.bias = one.bias;
  sage.lin_r->weight = transpose(*one.root);
  CHECK(all_close(one(std::vector{graph}, x, Context()), sage(graph, x, Context()), 1e-13, 1e-13));

  const auto types = generate({20}, [](Index e) { return std::int64_t{e % 3}; });
  const std::vector<EdgeSelection> relations = relations_of(graph, types, 3);
  const Rgcn<double> free = with_normal_parameters(Rgcn<double>(3, 4, 3, Random(1)));
  Rgcn<double> based(3, 4, 3, Random(2), {.bases = 3});
  based.weight = free.weight;
  based.comp = eye<double>(3);
  based.root = free.root;
  based.bias = free.bias;
  CHECK(all_close(based(relations, x, Context()), free(relations, x, Context()), 1e-13, 1e-13));
  // A node that nothing reaches: the root and the bias alone.
  const std::vector<Graph> no_edges(3, Graph(6, EdgeList{}));
  CHECK(all_close(free(no_edges, x, Context()), matmul(x, *free.root) + *free.bias, 1e-13, 1e-13));
  CHECK(all_close(free(no_edges, x, x, Context()), free(no_edges, x, Context()), 0, 0));
  CHECK_THROWS_WITH(free(std::vector{graph}, x, Context()), contains("graft: Rgcn: 1 relations") && contains("for 3"));
  CHECK_THROWS_AS(Rgcn<double>(3, 4, 3, Random(1), {.bases = -1}), ValueError);
}

TEST_CASE("a stack of layers puts dropout before each and its activation between them", "[graph]") {
  const Graph graph = some_graph();
  const Numbers x = normal_numbers({5, 4}, 1);
  const std::vector<Gcn<double>> layers = {Gcn<double>(4, 6, Random(1)), Gcn<double>(6, 3, Random(2))};
  const GraphStack plain(layers), dropping(layers, Activation::elu, 0.5);
  CHECK(names(plain) == Names{"layers.0.lin.weight", "layers.0.bias", "layers.1.lin.weight", "layers.1.bias"});
  const auto by_hand = [&](const auto& start, const auto& between) {
    return layers[1](graph, between(layers[0](graph, start, Context())), Context());
  };
  CHECK(same_bits(plain(graph, x, Context()), by_hand(x, [](const Numbers& h) { return relu(h); })));
  CHECK(same_bits(dropping(graph, x, Context()), by_hand(x, [](const Numbers& h) { return elu(h); })));
  const auto dropped = [&](std::uint64_t seed, const auto& start) {
    return dropping(graph, start, Context(Phase::training, Random(seed)));
  };
  Context context(Phase::training, Random(7));
  const Dropout half{0.5};
  const Numbers start = half(x, context);
  CHECK(same_bits(dropped(7, x), by_hand(start, [&](const Numbers& h) { return half(elu(h), context); })));
  CHECK_FALSE(same_bits(dropped(7, x), dropped(8, x)));
  // Numbers that are mostly zeros are dropped where they are; the layers of one that hears nobody see no graph.
  CHECK(dropped(7, SparseMatrix<double>(x)).shape() == Shape{5, 3});
  const GraphStack perceptron(std::vector{Linear<double>(4, 2, Random(1))});
  CHECK(same_bits(perceptron(graph, x, Context()), perceptron.layers[0](x)));
  CHECK_THROWS_WITH(GraphStack<Gcn<double>>()(graph, x, Context()), contains("graft: GraphStack: has no layers"));
}

TEST_CASE("convolutions have PyG's names and say what is wrong", "[graph]") {
  const Random random(1);
  CHECK(names(Gcn<>(3, 2, random)) == Names{"lin.weight", "bias"});
  CHECK(names(Sgc<>(3, 2, random)) == Names{"lin.weight", "lin.bias"});
  CHECK(names(Sage<>(3, 2, random)) == Names{"lin_l.weight", "lin_l.bias", "lin_r.weight"});
  CHECK(names(Gin(Sequential(Linear<>(3, 2, random)))) == Names{"nn.0.weight", "nn.0.bias", "eps"});
  CHECK(names(Gine(Linear<>(3, 2, random), 3, 2, random)) ==
        Names{"nn.weight", "nn.bias", "eps", "lin.weight", "lin.bias"});
  CHECK(names(Rgcn<>(3, 2, 4, random, {.bases = 2})) == Names{"weight", "comp", "root", "bias"});
  CHECK(largest(Gcn<>(30, 20, random).lin.weight) <= std::sqrt(6.0 / 50));

  const Tensor<> x = ones({5, 3});
  const Graph other(4, EdgeList{{0, 1}}), between(5, 4, EdgeList{{4, 0}});
  const Gcn<> gcn(3, 2, random);
  const Sage<> sage(3, 2, random);
  CHECK_THROWS_WITH(gcn(other, x, Context()),
                    contains("graft: Gcn: ") && contains("x [5, 3]") && contains("graph_convolution_test.cpp"));
  CHECK_THROWS_WITH(gcn(gcn_matrix(other), x, Context()), contains("graft: Gcn: ") && contains("[4, 4]"));
  CHECK_THROWS_AS(gcn(Graph(5, EdgeList{{0, 1}}), x, ones({2}), Context()), ShapeError);
  CHECK_THROWS_AS(gcn(Graph(5, EdgeList{{0, 1}}), x, -ones({1}), Context()), ValueError);
  CHECK_THROWS_WITH(sage(between, x, x, Context()), contains("graft: Sage: ") && contains("x_destinations [5, 3]"));
  CHECK(sage(between, x, ones({4, 3}), Context()).shape() == Shape{4, 2});
  CHECK_THROWS_AS(Gin(Linear<>(3, 2, random))(other, x, Context()), ShapeError);
}
