// What all layers on graphs have in common, tagged [graph]: they follow a renumbering of the nodes, do not see the
// order of the list of edges, treat a batch of graphs as one graph at a time, and have derivatives of orders one to
// three.

#include "graft/graph/gatv2.hpp"
#include "graft/graph/gin.hpp"
#include "graft/graph/rgcn.hpp"
#include "graft/graph/sage.hpp"
#include "graft/graph/sgc.hpp"
#include "graft/graph/transformer_conv.hpp"
#include "graft/nn/sequential.hpp"
#include "graphs.hpp"

using namespace graft;

namespace {

constexpr Index kIn = 3, kEdge = 2;
using Numbers = Tensor<double>;

/// Calls visit(name, model, call) for every layer, with call(model, graph, x, edge features) -> rows of nodes.
template <class Visit>
void for_each_layer(Visit visit) {
  const Random random(5);
  const auto plain = [](const auto& m, const Graph& g, const Numbers& x, const Numbers&) { return m(g, x, Context()); };
  const auto edges = [](const auto& m, const Graph& g, const Numbers& x, const Numbers& e) {
    return m(g, x, e, Context());
  };
  const auto weighted = [](const auto& m, const Graph& g, const Numbers& x, const Numbers& e) {
    return m(g, x, 1 + square(sum(e, {1})), Context());
  };
  const auto relational = [](const auto& m, const Graph& g, const Numbers& x, const Numbers& e) {
    const auto types = generate({g.edges()}, [&](Index edge) { return std::int64_t{e.at({edge, 0}) > 0}; });
    return m(relations_of(g, types, 2), x, Context());
  };
  const auto net = [&] { return Sequential(Linear<double>(kIn, 4, random.stream("net")), Tanh()); };
  visit("Gcn", Gcn<double>(kIn, 4, random), plain);
  visit("Gcn, without loops", Gcn<double>(kIn, 2, random, {.self_loops = false}), plain);
  visit("Gcn, weights", Gcn<double>(kIn, 2, random), weighted);
  visit("Sgc", Sgc<double>(kIn, 4, random, {.hops = 2}), plain);
  visit("Sage", Sage<double>(kIn, 4, random), plain);
  visit("Sage, maximum", Sage<double>(kIn, 4, random, {.aggregate = Aggregate::max, .project = true}), plain);
  visit("Sage, normalised", Sage<double>(kIn, 4, random, {.normalise = true}), plain);
  visit("Gin", Gin(net(), {.eps = 0.3, .train_eps = true}), plain);
  visit("Gine", Gine(net(), kIn, kEdge, random, {.eps = 0.3, .train_eps = true}), edges);
  visit("Rgcn", Rgcn<double>(kIn, 4, 2, random), relational);
  visit("Rgcn, bases", Rgcn<double>(kIn, 4, 2, random, {.bases = 3}), relational);
  visit("Gat", Gat<double>(kIn, 2, random, {.heads = 2}), plain);
  visit("Gat, edges", Gat<double>(kIn, 2, random, {.heads = 2, .edge_features = kEdge}), edges);
  visit("GatV2", GatV2<double>(kIn, 2, random, {.heads = 2}), plain);
  visit("GatV2, edges", GatV2<double>(kIn, 2, random, {.heads = 2, .edge_features = kEdge}), edges);
  visit("TransformerConv", TransformerConv<double>(kIn, 2, random, {.heads = 2, .beta = true}), plain);
  visit("TransformerConv, edges",
        TransformerConv<double>(kIn, 2, random, {.heads = 2, .concatenate = false, .edge_features = kEdge}), edges);
}

}  // namespace

TEST_CASE("renumbering nodes or reordering edges renumbers the output of every layer", "[graph]") {
  const Index nodes = 8, edges = 30;
  const EdgeList list = random_edge_list(nodes, nodes, edges, 4);
  const Numbers x = normal_numbers({nodes, kIn}, 3), e = normal_numbers({edges, kEdge}, 4);
  const std::vector<Index> place = Random(5).permutation(nodes), order = Random(6).permutation(edges);
  std::vector<Index> old_place(nodes);
  for (std::size_t i = 0; i < place.size(); ++i) old_place[place[i]] = static_cast<Index>(i);
  EdgeList renamed, mixed;
  for (const GraphEdge& edge : list) renamed.push_back({place[edge.source], place[edge.destination]});
  for (Index at : order) mixed.push_back(list[at]);
  for_each_layer([&](const char* name, const auto& layer, const auto& call) {
    INFO(name);
    const Numbers y = call(layer, Graph(nodes, list), x, e);
    CHECK(all_close(call(layer, Graph(nodes, renamed), rows_in_order(x, old_place), e), rows_in_order(y, old_place),
                    1e-12, 1e-13));
    CHECK(all_close(call(layer, Graph(nodes, mixed), x, rows_in_order(e, order)), y, 1e-12, 1e-13));
  });
}

TEST_CASE("a batch of graphs gives the bits of one graph at a time, for every layer", "[graph]") {
  std::vector<Graph> graphs;
  std::vector<Numbers> x, e;
  for (Index g = 0; g < 4; ++g) {
    const Index nodes = 3 + 2 * g, edges = 4 * g;
    const auto stream = static_cast<std::uint64_t>(g);
    graphs.push_back(Graph(nodes, random_edge_list(nodes, nodes, edges, 6 + stream)));
    x.push_back(normal_numbers({nodes, kIn}, 20 + stream));
    e.push_back(normal_numbers({edges, kEdge}, 30 + stream));
  }
  for_each_layer([&](const char* name, const auto& layer, const auto& call) {
    INFO(name);
    std::vector<Numbers> apart;
    for (std::size_t g = 0; g < graphs.size(); ++g) apart.push_back(call(layer, graphs[g], x[g], e[g]));
    CHECK(same_bits(call(layer, disjoint_union(graphs), concat(x, 0), concat(e, 0)), concat(apart, 0)));
  });
}

TEST_CASE("every layer has derivatives of orders one to three", "[graph]") {
  // A node without edges, one with a loop, a repeated edge.
  const Graph graph(4, EdgeList{{1, 0}, {0, 1}, {2, 1}, {2, 1}, {1, 2}, {2, 2}});
  const Numbers x = normal_numbers({4, kIn}, 1), e = normal_numbers({6, kEdge}, 2);
  for_each_layer([&](const char* name, const auto& layer, const auto& call) {
    INFO(name);
    // Features of edges stand beside the output too, for the layers that do not see them.
    check_orders(std::tuple(layer, x, e), [&](const auto& at) {
      const auto& [model, nodes, edges] = at;
      return concat(std::vector{reshape(call(model, graph, nodes, edges), {-1}), reshape(edges, {-1})}, 0);
    });
  });
}
