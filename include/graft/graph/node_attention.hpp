#pragma once
// Nodes of one or several graphs, embedded for few-shot episodes: an input layer for each graph, then graph attention
// that they share (GATv2: Brody, Alon, Yahav, "How attentive are graph attention networks?", ICLR 2022), or any encoder
// of a whole graph.

#include <utility>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/graph/gatv2.hpp"
#include "graft/graph/node_embedding.hpp"
#include "graft/graph/sampling.hpp"
#include "graft/nn/norm.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The graph whose edges have been dealt out anew: every node sends and receives as many as before, but who hears whom
/// is drawn at random. The negative control of whatever uses the edges.
inline Graph shuffled_edges(const Graph& graph, const Random& random, Site site = Site::current()) {
  std::vector<GraphEdge> edges = edge_list(graph), dealt = edges;
  const std::vector<Index> order = random.permutation(graph.edges());
  for (std::size_t e = 0; e < edges.size(); ++e) dealt[e].source = edges[static_cast<std::size_t>(order[e])].source;
  return Graph(graph.sources(), graph.destinations(), dealt, site);
}

namespace detail {

/// Numbers of nodes [n, 1], or [n], of a graph whose first node has the number `first`, as its own: [n].
template <class T>
Tensor<std::int64_t> own_numbers(const char* op, const Tensor<T>& nodes, Index first, Index count, Site site) {
  if (nodes.rank() != 2 || nodes.size(1) != 1)
    fail<ShapeError>(op, "expected numbers of nodes [n, 1]", {{"nodes", nodes.shape()}}, site);
  const Tensor<std::int64_t> own =
      cast<std::int64_t>(reshape(nodes, {nodes.size(0)})) - static_cast<std::int64_t>(first);
  check_indices(op, own, count, site);
  return own;
}

}  // namespace detail

/// Sizes of a `NodeAttention`.
struct NodeAttentionOptions {
  Index layers = 2;  ///< of graph attention: a node hears nodes so many edges away; 0: no graph
  Index heads = 4;   ///< must divide the width
  double gate = 0;   ///< every layer's branch starts scaled by this
};

/// x <- x + gate * GATv2(norm(x)) along the edges of a graph.
template <class T = float>
struct NodeAttentionLayer {
  LayerNorm<T> norm;
  GatV2<T> attention;
  Tensor<T> gate;  ///< [width]
  GRAFT_FIELDS(norm, attention, gate)

  /// x [sources, width] -> [destinations, width], the first of them.
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Tensor<T> own = slice(x, 0, 0, graph.destinations());
    return own + gate * attention(graph, norm(x), norm(own), context, site);
  }
};

/// Numbers of nodes -> embeddings [n, width]: each node's row of its graph's table through that graph's input layer,
/// then layers of graph attention that all graphs share. The graphs' nodes are numbered behind one another, those of
/// graph g from the number of nodes before it on; the nodes of a call differ and are of one graph. Attention walks the
/// nodes around those of the call only, with the bits of the whole graph. With gates at 0 it starts as the input
/// layers.
///
///     NodeAttention<> nodes({table_a, table_b}, {graph_a, graph_b}, 64, random);
///
/// Tables are saved with the model, graphs are not: they are given anew to the model that a file is loaded into.
template <class T = float>
struct NodeAttention {
  std::vector<NodeEmbedding<T>> inputs;       ///< [graphs]
  std::vector<NodeAttentionLayer<T>> layers;  ///< shared
  std::vector<Graph> graphs;
  GRAFT_FIELDS(inputs, layers)
  GRAFT_CONFIG(graphs)

  NodeAttention() = default;
  /// `tables` [graphs] of [nodes, in], with the graph of each. An input layer is a linear map to `width` numbers, which
  /// starts as the identity where its table is as wide. Throws ValueError unless each graph has a table of its nodes,
  /// and for options out of range.
  NodeAttention(const std::vector<Tensor<T>>& tables, std::vector<Graph> edges, Index width, const Random& random,
                const NodeAttentionOptions& o = {}, Site site = Site::current())
      : graphs(std::move(edges)) {
    if (tables.empty() || tables.size() != graphs.size())
      fail("NodeAttention", {tables.size(), " tables of ", graphs.size(), " graphs"}, {}, site);
    if (o.layers < 0 || o.heads < 1 || width < 1 || width % o.heads != 0)
      fail("NodeAttention", {o.layers, " layers of ", o.heads, " heads on ", width, " numbers"}, {}, site);
    detail::check_option<T>("NodeAttention", "gate", o.gate, detail::Range::finite, site);
    for (std::size_t g = 0; g < graphs.size(); ++g) {
      inputs.emplace_back(tables[g], width, random.stream("inputs", g), MlpOptions{.hidden = {}}, site);
      if (tables[g].size(0) != graphs[g].sources())
        fail("NodeAttention", {"graph ", g, " has ", graphs[g].sources(), " nodes, its table is another's"},
             {{"table", tables[g].shape()}}, site);
      if (tables[g].size(1) != width) continue;
      inputs[g].map.layers[0].weight = eye<T>(width);
      inputs[g].map.layers[0].bias = zeros<T>({width});
    }
    for (Index l = 0; l < o.layers; ++l)
      layers.push_back({LayerNorm<T>(width),
                        GatV2<T>(width, width / o.heads, random.stream("layers", l), {.heads = o.heads}, site),
                        full<T>({width}, static_cast<T>(o.gate))});
  }

  /// `nodes` [n, 1], whole numbers in T. Throws ShapeError, IndexError for a number that is no node's or for nodes of
  /// more than one graph, ValueError for a node given twice.
  Tensor<T> operator()(const Tensor<T>& nodes, ContextRef context, Site site = Site::current()) const {
    const Named here("NodeAttention", site);
    if (nodes.rank() != 2 || nodes.size(1) != 1 || nodes.size(0) == 0)
      fail<ShapeError>("NodeAttention", "expected numbers of nodes [n, 1]", {{"nodes", nodes.shape()}}, site);
    if (graphs.empty()) fail("NodeAttention", "has no graphs: a file brings none", {{"nodes", nodes.shape()}}, site);
    detail::check_parts("NodeAttention", "graphs", graphs.size(), "tables", inputs.size(), site);
    const auto number = static_cast<Index>(host(nodes)[0]);
    std::size_t g = 0;
    Index first = 0;
    while (g + 1 < graphs.size() && number >= first + graphs[g].sources()) first += graphs[g++].sources();
    const Tensor<std::int64_t> own = detail::own_numbers("NodeAttention", nodes, first, graphs[g].sources(), site);
    const auto embedded = [&](const Tensor<std::int64_t>& rows) {
      return inputs[g](cast<T>(reshape(rows, {rows.count(), 1})), site);
    };
    if (layers.empty()) return embedded(own);
    const std::vector<Index> everybody(layers.size(), kAllNeighbours);
    const SampledBatch around = sample_neighbours(graphs[g], own, everybody, Random(), site);
    Tensor<T> x = embedded(around.nodes());
    for (std::size_t l = 0; l < layers.size(); ++l) x = layers[l](around.blocks[l].graph, x, context, site);
    return x;
  }
};

/// Numbers of nodes -> their rows of a table, whose first row is of the node with the number `first`: [n, width].
template <class T = float>
struct NodeRows {
  Buffer<T> table;  ///< [nodes, width]
  Index first = 0;
  GRAFT_FIELDS(table)
  GRAFT_CONFIG(first)

  /// `nodes` [n, 1]. Throws ShapeError, IndexError for a number that is no node's.
  Tensor<T> operator()(const Tensor<T>& nodes, ContextRef, Site site = Site::current()) const {
    const Named here("NodeRows", site);
    return gather(table.value, detail::own_numbers("NodeRows", nodes, first, table.value.size(0), site), 0, site);
  }
};

/// Numbers of nodes -> their rows of what `encoder(graph, features, context)` makes of a whole graph, whose first node
/// has the number `first`. Graph and features are not saved with the model.
template <class Encoder>
struct EncodedNodes {
  using T = ModelScalar<Encoder>;
  Encoder encoder;
  Graph graph;
  SparseMatrix<T> features;  ///< [nodes, in]
  Index first = 0;
  GRAFT_FIELDS(encoder)
  GRAFT_CONFIG(graph, features, first)

  /// `nodes` [n, 1] -> [n, width]. Throws ShapeError, IndexError for a number that is no node's.
  Tensor<T> operator()(const Tensor<T>& nodes, ContextRef context, Site site = Site::current()) const {
    const Named here("EncodedNodes", site);
    const Tensor<std::int64_t> own = detail::own_numbers("EncodedNodes", nodes, first, graph.sources(), site);
    return gather(encoder(graph, features, context), own, 0, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
