// Edge features and two sets of nodes in GAT and GATv2, TransformerConv and GPS, tagged [graph]: limits in which they
// are layers that are tested elsewhere, closed forms, masks. What all layers share is in graph_layers_test.cpp.

#include "graft/graph/gatv2.hpp"
#include "graft/graph/gin.hpp"
#include "graft/graph/gps.hpp"
#include "graft/graph/structure.hpp"
#include "graft/graph/transformer_conv.hpp"
#include "graft/ops/attention.hpp"
#include "graphs.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

/// A layer of type L with edge features, and the one without that has its other parameters.
template <class L>
std::pair<L, L> with_and_without_edges(const GatOptions& options) {
  GatOptions with = options;
  with.edge_features = 2;
  std::pair<L, L> both{L(3, 4, Random(1), with), L(3, 4, Random(1), options)};
  if (options.bias) *both.first.bias = *both.second.bias = normal_numbers(both.first.bias->shape(), 70);
  return both;
}
/// Calls test(layer with edges, layer without) for GAT and GATv2.
template <class Test>
void for_gat_and_gatv2(const GatOptions& options, Test test) {
  const auto call = [&](const auto& both) { test(both.first, both.second); };
  call(with_and_without_edges<Gat<double>>(options));
  call(with_and_without_edges<GatV2<double>>(options));
}

}  // namespace

TEST_CASE("edge features of zeros leave GAT, GATv2 and TransformerConv as they are, dropout included", "[graph]") {
  const Graph graph(5, random_edge_list(5, 5, 14, 2));
  const Numbers x = normal_numbers({5, 3}, 1), none = zeros<double>({14, 2}), some = normal_numbers({14, 2}, 2);
  const auto check = [&](const auto& with, const auto& without) {
    CHECK(all_close(with(graph, x, none, Context()), without(graph, x, Context()), 1e-13, 1e-13));
    Context one = training(), other = training();
    CHECK(all_close(with(graph, x, none, one), without(graph, x, other), 1e-12, 1e-13));
    CHECK_FALSE(all_close(with(graph, x, some, Context()), without(graph, x, Context()), 1e-3, 1e-3));
  };
  for (const bool concatenate : {true, false}) {
    for_gat_and_gatv2({.heads = 2, .concatenate = concatenate, .dropout = 0.4}, check);
    const TransformerConv<double> with(3, 4, Random(1),
                                       {.heads = 2, .concatenate = concatenate, .dropout = 0.4, .edge_features = 2});
    TransformerConv<double> without = with;
    without.lin_edge.reset();
    check(with, without);
  }
}

TEST_CASE("an edge feature decides between neighbours by its softmax", "[graph]") {
  // Node 0 hears 1 and 2.
  const Graph graph(3, EdgeList{{1, 0}, {2, 0}});
  const Numbers e = tensor<double>({{0.0}, {2.0}});
  // The scores do not see the nodes: the logits are a W_edge e = 0 and 2 in both layers.
  Gat<double> gat(1, 1, Random(1), {.edge_features = 1});
  gat.weight = gat.att_edge.emplace(ones<double>({1, 1}));
  gat.weight_edge = ones<double>({1, 1});
  gat.att_src = gat.att_dst = zeros<double>({1, 1});
  const Numbers values = tensor<double>({{0.0}, {1.0}, {0.0}});  // what node 0 hears tells the weight of node 1
  CHECK(slice(gat(graph, values, e, Context()), 0, 0, 1).item() == Approx(1 / (1 + std::exp(2))).epsilon(1e-13));
  GatV2<double> gatv2(1, 2, Random(1), {.edge_features = 1});
  // Two numbers a node: the first is scored, the second is the value.
  gatv2.weight_l = tensor<double>({{0.0}, {1.0}});
  gatv2.weight_r = zeros<double>({2, 1});
  gatv2.weight_edge = tensor<double>({{1.0}, {0.0}});
  gatv2.att = tensor<double>({{1.0, 0.0}});
  const Numbers heard = gatv2(graph, values, e, Context());
  CHECK(heard.at({0, 1}) == Approx(1 / (1 + std::exp(2))).epsilon(1e-13));
}

TEST_CASE("a node with a self-loop alone is a dense layer, whatever the feature of the loop", "[graph]") {
  const Numbers x = normal_numbers({4, 3}, 1), e = normal_numbers({4, 2}, 2);
  const auto check = [&](const auto& with, const auto& without) {
    CHECK(all_close(with(loops_only(4), x, e, Context()), without(loops_only(4), x, Context()), 1e-13, 1e-13));
    CHECK(
        same_bits(with(Graph(4, EdgeList{}), x, zeros<double>({0, 2}), Context()), zeros<double>({4, 8}) + *with.bias));
  };
  for_gat_and_gatv2({.heads = 2}, check);
  const TransformerConv<double> conv(3, 4, Random(1), {.heads = 2, .edge_features = 2});
  CHECK(all_close(conv(loops_only(4), x, e, Context()), conv.lin_value(x) + (*conv.lin_edge)(e) + (*conv.lin_skip)(x),
                  1e-13, 1e-13));
}

TEST_CASE("self-loops filled with the mean of the incoming features keep what a node hears of constant edges",
          "[graph]") {
  // All edges carry the same feature: its term is the same in every logit, and the softmax does not see it.
  const Graph graph(5, both_ways({{0, 1}, {1, 2}, {0, 3}, {3, 4}}));
  const Numbers x = normal_numbers({5, 3}, 1), e = tile(normal_numbers({1, 2}, 2), 8, 0);
  const FeaturedGraph<double> looped = with_self_loops(graph, e, IncomingMean());
  const auto [with, without] = with_and_without_edges<Gat<double>>({.negative_slope = 1});
  CHECK(
      all_close(with(looped.graph, x, looped.features, Context()), without(looped.graph, x, Context()), 1e-13, 1e-13));
}

TEST_CASE("layers between two sets of nodes are those on one set when both are the same", "[graph]") {
  const Graph graph(5, random_edge_list(5, 5, 14, 2));
  const Numbers x = normal_numbers({5, 3}, 1), e = normal_numbers({14, 2}, 2);
  const auto check = [&](const auto& with, const auto& without) {
    CHECK(all_close(without(graph, x, x, Context()), without(graph, x, Context()), 1e-13, 1e-13));
    CHECK(all_close(with(graph, x, x, e, Context()), with(graph, x, e, Context()), 1e-13, 1e-13));
  };
  for_gat_and_gatv2({.heads = 2}, check);
  const TransformerConv<double> with(3, 4, Random(1), {.heads = 2, .edge_features = 2}), without(3, 4, Random(1));
  check(with, without);

  // Destinations of another width. Zeros say nothing in their scores, and GAT then attends by its sources alone.
  const Graph between(5, 4, random_edge_list(5, 4, 14, 3));
  const Numbers other = normal_numbers({4, 6}, 5);
  const Gat<double> gat(3, 4, Random(1), {.heads = 2, .in_destinations = 6});
  const GatV2<double> gatv2(3, 4, Random(1), {.heads = 2, .in_destinations = 6});
  const TransformerConv<double> conv(3, 4, Random(1), {.heads = 2, .in_destinations = 6});
  CHECK(gat(between, x, other, Context()).shape() == Shape{4, 8});
  CHECK(gatv2(between, x, other, Context()).shape() == Shape{4, 8});
  CHECK(conv(between, x, other, Context()).shape() == Shape{4, 8});
  const Numbers values = reshape(matmul(x, gat.weight, {.transpose_b = true}), {5, 2, 4});
  CHECK(all_close(
      gat(between, x, zeros<double>({4, 6}), Context()),
      reshape(graph_attention(between, values, sum(values * gat.att_src, {2}), zeros<double>({4, 2})), {4, 8}), 1e-13,
      1e-13));
}

TEST_CASE("TransformerConv on a complete graph with self-loops is dense attention", "[graph]") {
  const Index nodes = 7, heads = 2, width = 4;
  const TransformerConv<double> conv(3, width, Random(1), {.heads = heads, .root = false});
  const Numbers x = normal_numbers({nodes, 3}, 1);
  const auto by_head = [&](const Linear<double>& map) {
    return permute(reshape(map(x), {1, nodes, heads, width}), {0, 2, 1, 3});
  };
  const Numbers dense = merge_heads(
      scaled_dot_product_attention(by_head(conv.lin_query), by_head(conv.lin_key), by_head(conv.lin_value)));
  CHECK(all_close(conv(complete_graph(nodes), x, Context()), reshape(dense, {nodes, heads * width}), 1e-12, 1e-13));
}

TEST_CASE("TransformerConv with edge features and gate is its formula", "[graph]") {
  const Graph graph(5, random_edge_list(5, 5, 14, 2));
  const Numbers x = normal_numbers({5, 3}, 1), e = normal_numbers({14, 2}, 2);
  const TransformerConv<double> conv(3, 4, Random(1), {.heads = 2, .beta = true, .edge_features = 2});
  const auto by_head = [&](const Numbers& rows) { return reshape(rows, {rows.size(0), 2, 4}); };
  // A row for each edge, in the order of the list.
  const Numbers of_edges = by_head((*conv.lin_edge)(e));
  const Numbers keys = source_rows(graph, by_head(conv.lin_key(x))) + of_edges;
  const Numbers logits = sum(destination_rows(graph, by_head(conv.lin_query(x))) * keys, {2}) / 2.0;
  const Numbers alpha = reshape(edge_softmax(graph, logits), {14, 2, 1});
  const Numbers m =
      reshape(edge_sum(graph, alpha * (source_rows(graph, by_head(conv.lin_value(x))) + of_edges)), {5, 8});
  const Numbers own = (*conv.lin_skip)(x);
  const Numbers beta = sigmoid((*conv.lin_beta)(concat(std::vector{m, own, m - own}, 1)));
  CHECK(all_close(conv(graph, x, e, Context()), beta * own + (1 - beta) * m, 1e-12, 1e-13));
  CHECK_THROWS_WITH(TransformerConv<double>(3, 4, Random(1), {.beta = true, .root = false}), contains("root"));
}

TEST_CASE("attention layers have PyG's names and say what is wrong", "[graph]") {
  const TransformerConv<> conv(3, 2, Random(1), {.beta = true, .edge_features = 2});
  CHECK(names(conv) == Names{"lin_key.weight", "lin_key.bias", "lin_query.weight", "lin_query.bias", "lin_value.weight",
                             "lin_value.bias", "lin_edge.weight", "lin_skip.weight", "lin_skip.bias",
                             "lin_beta.weight"});
  CHECK(names(Gat<>(3, 2, Random(1), {.edge_features = 2, .in_destinations = 4})) ==
        Names{"weight", "att_src", "att_dst", "bias", "weight_edge", "att_edge", "weight_dst"});
  const Graph graph(4, EdgeList{{0, 1}});
  const Tensor<> x = ones({4, 3});
  CHECK_THROWS_WITH(conv(graph, x, Context()), contains("graft: TransformerConv: was made with edge features"));
  CHECK_THROWS_WITH(Gat<>(3, 2, Random(1), {.edge_features = 2})(graph, x, ones({2, 2}), Context()),
                    contains("graft: Gat: edge features must be [edges, 2] for 1 edges") && contains("[2, 2]"));
  CHECK_THROWS_WITH(Gat<>(3, 2, Random(1))(graph, x, x, ones({1, 2}), Context()),
                    contains("graft: Gat: was made without edge features"));
  CHECK_THROWS_WITH(GatV2<>(3, 2, Random(1))(graph, x, ones({3, 3}), Context()),
                    contains("graft: GatV2: ") && contains("x_destinations [3, 3]"));
  CHECK_THROWS_AS(TransformerConv<>(3, 2, Random(1), {.heads = 0}), ValueError);
  CHECK_THROWS_AS(TransformerConv<>(3, 2, Random(1), {.dropout = 1}), ValueError);
}

// ---- GPS

namespace {

using Local = Gin<Linear<double>>;

Gps<Local> gps_layer(bool local, GpsOptions options = {.heads = 2}) {
  std::optional<Local> conv;
  if (local) conv.emplace(Linear<double>(4, 4, Random(3)), GinOptions{.train_eps = true});
  Gps<Local> layer(4, conv, Random(1), options);
  // Running statistics that are not those of a new layer.
  for (BatchNorm<double>* norm : {&layer.norm1, &layer.norm2, &layer.norm3}) {
    norm->running_mean.value = normal_numbers({4}, 40);
    norm->running_var.value = 1 + square(normal_numbers({4}, 41));
  }
  return layer;
}

}  // namespace

TEST_CASE("GPS without a local layer is a post-norm Transformer layer, with one their norms' sum", "[graph]") {
  const Graph graph(5, random_edge_list(5, 5, 9, 2));
  const Numbers x = normal_numbers({5, 4}, 1);
  for (const bool local : {false, true}) {
    const Gps<Local> layer = gps_layer(local);
    Numbers s = layer.norm2(x + layer.attn(x, Context()), Context());
    if (local) s = layer.norm1(x + (*layer.conv)(graph, x, Context()), Context()) + s;
    const auto& [first, act, drop, second, last] = layer.mlp.layers;
    CHECK(all_close(layer(graph, x, Context()), layer.norm3(s + second(relu(first(s))), Context()), 1e-12, 1e-13));
  }
  CHECK(names(gps_layer(true))[0] == "conv.nn.weight");
  CHECK(names(gps_layer(false))[4] == "mlp.0.weight");
  CHECK_THROWS_WITH(gps_layer(true)(Graph(4, EdgeList{}), x, Context()),
                    contains("graft: Gps: ") && contains("[5, 4]"));
}

TEST_CASE("GPS attends within each graph of a batch", "[graph]") {
  std::vector<Graph> graphs;
  std::vector<Numbers> x;
  for (const Index nodes : {3, 6, 1, 4}) {
    graphs.push_back(Graph(nodes, random_edge_list(nodes, nodes, 2 * nodes, 5)));
    x.push_back(normal_numbers({nodes, 4}, static_cast<std::uint64_t>(nodes)));
  }
  const GraphBatch batch(graphs);
  const Gps<Local> layer = gps_layer(true);
  std::vector<Numbers> apart;
  for (std::size_t g = 0; g < graphs.size(); ++g) apart.push_back(layer(graphs[g], x[g], Context()));
  CHECK(all_close(layer(batch, concat(x, 0), Context()), concat(apart, 0), 1e-12, 1e-13));
  // What one graph holds moves no bit of another.
  std::vector<Numbers> changed = x;
  changed[1] = 3.0 * x[1];
  const Numbers before = layer(batch, concat(x, 0), Context()), after = layer(batch, concat(changed, 0), Context());
  CHECK(same_bits(slice(before, 0, 0, 3), slice(after, 0, 0, 3)));
  CHECK(same_bits(slice(before, 0, 9, 14), slice(after, 0, 9, 14)));
}

TEST_CASE("GPS without edges is a function of a set", "[graph]") {
  const Gps<Local> layer = gps_layer(true);
  const Numbers x = normal_numbers({6, 4}, 1);
  const std::vector<Index> order = Random(5).permutation(6);
  const Graph graph(6, EdgeList{});
  CHECK(all_close(layer(graph, rows_in_order(x, order), Context()), rows_in_order(layer(graph, x, Context()), order),
                  1e-12, 1e-13));
}

TEST_CASE("GPS has derivatives of orders one to three, with edge features too", "[graph]") {
  const std::vector<Graph> graphs{Graph(3, EdgeList{{0, 1}, {1, 2}}), Graph(2, EdgeList{{1, 0}})};
  const GraphBatch batch(graphs);
  const Numbers x = normal_numbers({5, 4}, 1), e = normal_numbers({3, 2}, 2);
  check_orders(std::pair(gps_layer(true), x), [&](const auto& at) { return at.first(batch, at.second, Context()); });
  using Conv = TransformerConv<double>;
  const Gps<Conv> with_edges(4, Conv(4, 2, Random(2), {.heads = 2, .edge_features = 2}), Random(1), {.heads = 2});
  check_orders(std::tuple(with_edges, x, e),
               [&](const auto& at) { return std::get<0>(at)(batch, std::get<1>(at), std::get<2>(at), Context()); });
}

namespace {

/// Softmax of `logits` [destinations][sources] over the sources that the graph joins, an edge of the list after
/// another.
template <class Logit>
Numbers dense_attention(const EdgeList& edges, Index heads, Logit logit) {
  return generate({static_cast<Index>(edges.size()), heads}, [&](Index e, Index head) {
    const auto [source, destination] = edges[e];
    double total = 0;
    for (const GraphEdge& other : edges)
      if (other.destination == destination) total += std::exp(logit(other.source, destination, head));
    return std::exp(logit(source, destination, head)) / total;
  });
}
double leaky(double x) { return x > 0 ? x : 0.2 * x; }

}  // namespace

TEST_CASE("attention of GAT, GATv2 and TransformerConv is the dense softmax of their logits", "[graph]") {
  const EdgeList edges = random_edge_list(5, 5, 14, 2);
  const Graph graph(5, edges);
  const Numbers x = normal_numbers({5, 3}, 1);
  // h [nodes, 2 heads, width 4], by plain products.
  const auto mapped = [&](const Numbers& weight) {
    return reshape(matmul(x, weight, {.transpose_b = true}), {5, 2, 4});
  };
  const auto sum_over = [](auto term) {
    double total = 0;
    for (Index k = 0; k < 4; ++k) total += term(k);
    return total;
  };

  const Gat<double> gat(3, 4, Random(1), {.heads = 2, .dropout = 0.5});
  const Numbers h = mapped(gat.weight);
  const auto gat_logit = [&](Index j, Index i, Index head) {
    return leaky(sum_over([&](Index k) {
      return gat.att_dst.at({head, k}) * h.at({i, head, k}) + gat.att_src.at({head, k}) * h.at({j, head, k});
    }));
  };
  CHECK(all_close(gat.attention(graph, x), dense_attention(edges, 2, gat_logit), 1e-12, 1e-13));
  CHECK(all_close(gat.attention(graph, SparseMatrix<double>(x)), gat.attention(graph, x), 1e-12, 1e-13));

  const GatV2<double> gatv2(3, 4, Random(1), {.heads = 2});
  const Numbers left = mapped(gatv2.weight_l), right = mapped(gatv2.weight_r);
  const auto gatv2_logit = [&](Index j, Index i, Index head) {
    return sum_over([&](Index k) {
      return gatv2.att.at({head, k}) * leaky(right.at({i, head, k}) + left.at({j, head, k}));
    });
  };
  CHECK(all_close(gatv2.attention(graph, x), dense_attention(edges, 2, gatv2_logit), 1e-12, 1e-13));

  const TransformerConv<double> conv(3, 4, Random(1), {.heads = 2});
  const Numbers q = reshape(conv.lin_query(x), {5, 2, 4}), k_rows = reshape(conv.lin_key(x), {5, 2, 4});
  const auto conv_logit = [&](Index j, Index i, Index head) {
    return sum_over([&](Index k) { return q.at({i, head, k}) * k_rows.at({j, head, k}); }) / 2;
  };
  CHECK(all_close(conv.attention(graph, x), dense_attention(edges, 2, conv_logit), 1e-12, 1e-13));
}

TEST_CASE("what a layer gives is its attention's sum, with edge features and between two sets of nodes", "[graph]") {
  const Graph graph(5, 4, random_edge_list(5, 4, 14, 3));
  const Numbers x = normal_numbers({5, 3}, 1), y = normal_numbers({4, 3}, 2), e = normal_numbers({14, 2}, 3), none;
  const auto summed = [&](const Numbers& values, const Numbers& alpha) {
    return reshape(neighbour_sum(graph, reshape(values, {5, 2, 4}), alpha), {4, 8});
  };
  for_gat_and_gatv2({.heads = 2, .bias = false}, [&](const auto& with, const auto& without) {
    const auto check = [&](const auto& layer, const Numbers& features) {
      Numbers values;
      if constexpr (requires { layer.weight; })
        values = matmul(x, layer.weight, {.transpose_b = true});
      else
        values = matmul(x, layer.weight_l, {.transpose_b = true});
      CHECK(all_close(layer(graph, x, y, features, Context()), summed(values, layer.attention(graph, x, y, features)),
                      1e-12, 1e-13));
    };
    check(with, e);
    check(without, none);
    CHECK_THROWS_AS(with.attention(graph, x, y, none), ValueError);
    CHECK_THROWS_AS(without.attention(graph, x, y, e), ValueError);
    CHECK_THROWS_AS(without.attention(graph, x), ShapeError);
  });
  // Without its own row and with the features' messages of zero weight, TransformerConv is such a sum too.
  const TransformerConv<double> conv(3, 4, Random(1), {.heads = 2, .root = false});
  CHECK(all_close(conv(graph, x, y, none, Context()), summed(conv.lin_value(x), conv.attention(graph, x, y, none)),
                  1e-12, 1e-13));
  const TransformerConv<double> with(3, 4, Random(1), {.heads = 2, .root = false, .edge_features = 2});
  const Numbers alpha = with.attention(graph, x, y, e);
  const Numbers heard = source_rows(graph, with.lin_value(x)) + (*with.lin_edge)(e);
  CHECK(all_close(with(graph, x, y, e, Context()),
                  reshape(edge_sum(graph, reshape(heard, {14, 2, 4}) * reshape(alpha, {14, 2, 1})), {4, 8}), 1e-12,
                  1e-13));
  CHECK_THROWS_AS(with.attention(graph, x, y, none), ValueError);
}
