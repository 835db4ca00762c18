#pragma once
// Few-shot classification on the graph of an episode: prototypical networks (Snell, Swersky, Zemel, NeurIPS 2017) whose
// nodes first exchange messages along the edges of a graph (GATv2: Brody, Alon, Yahav, ICLR 2022), then by a
// Transformer encoder (Vaswani et al., NeurIPS 2017; pre-norm as in Xiong et al., ICML 2020). Close relatives are the
// graph networks of Garcia and Bruna, ICLR 2018, and the set-to-set adaptation of Ye et al., "FEAT", CVPR 2020.
//
// Inductive: no edge and no attention leads out of a query, so its answer is the same, bit for bit, whatever other
// queries are asked.

#include <cmath>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/graph/gatv2.hpp"
#include "graft/graph/knn.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/norm.hpp"
#include "graft/nn/transformer.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of a `GraphTransformer`.
struct GraphTransformerOptions {
  Index width = 64;              ///< of the embeddings
  Index heads = 4;               ///< of both kinds of attention; must divide the width
  Index neighbours = 5;          ///< k of the k-NN edges
  Index graph_layers = 2;        ///< 0: no graph
  Index transformer_layers = 2;  ///< 0: no Transformer
  Index hidden = 128;            ///< of the Transformer's perceptrons
  double gate = 0.1;             ///< every residual branch starts scaled by this; 0: none acts at first
  double scale = 0.125;          ///< of the squared distances at first; 1 is ProtoNet's, less lets gradients through
  double dropout = 0;            ///< rate on the output of every branch and inside the Transformer's, in training
  bool random_edges = false;     ///< control: neighbours, and nearest classes, are those of noise instead of embeddings
};

/// Edges among the nodes of an episode, numbered classes [ways], supports [items], unlabelled [others], queries
/// [queries] in a row: a loop on every node, known -> known and known -> query from the `neighbours` nearest in
/// embedding, where supports and unlabelled items are known, support <-> class by label, and unlabelled <-> the class
/// whose mean support is nearest. None leaves a query. `support` [items, width] with `labels` [items] in 0 .. ways-1,
/// `query` [queries, width], `unlabelled` [others, width] or none. Throws ShapeError, IndexError for a label out of
/// range.
template <Real T>
Graph episode_graph(const Tensor<T>& support, const Tensor<std::int64_t>& labels, const Tensor<T>& query, Index ways,
                    Index neighbours, const Tensor<T>& unlabelled = {}, Site site = Site::current()) {
  if (support.rank() != 2 || query.rank() != 2 || labels.rank() != 1 || labels.size(0) != support.size(0))
    fail<ShapeError>("episode_graph", "expected support [items, width], labels [items] and query [queries, width]",
                     {{"support", support.shape()}, {"labels", labels.shape()}, {"query", query.shape()}}, site);
  const std::span<const std::int64_t> classes = host(labels);
  for (const std::int64_t label : classes)
    if (label < 0 || label >= ways)
      fail<IndexError>("episode_graph", {"label ", label, " of ", ways, " ways"}, {}, site);
  const Tensor<T> known = unlabelled.defined() ? concat<T>({support, unlabelled}, 0, site) : support;
  const Index first_query = ways + known.size(0), nodes = first_query + query.size(0);
  std::vector<GraphEdge> edges;
  for (Index i = 0; i < nodes; ++i) edges.push_back({i, i});
  for (const GraphEdge& edge : nearest_neighbours(known, known, neighbours, true, site))
    edges.push_back({ways + edge.source, ways + edge.destination});
  for (const GraphEdge& edge : nearest_neighbours(known, query, neighbours, false, site))
    edges.push_back({ways + edge.source, first_query + edge.destination});
  Index item = ways;
  for (const Index label : classes) {
    edges.push_back({label, item});
    edges.push_back({item++, label});
  }
  if (unlabelled.defined())
    for (const GraphEdge& edge :
         nearest_neighbours(prototypes(support, labels, ways, site), unlabelled, 1, false, site)) {
      edges.push_back({edge.source, item + edge.destination});
      edges.push_back({item + edge.destination, edge.source});
    }
  return Graph(nodes, edges, site);
}

/// x <- x + gate * GATv2(norm(x)) along the episode's edges.
template <class T = float>
struct EpisodeGraphLayer {
  LayerNorm<T> norm;
  GatV2<T> attention;
  Tensor<T> gate;  ///< [width]
  GRAFT_FIELDS(norm, attention, gate)

  EpisodeGraphLayer() = default;
  explicit EpisodeGraphLayer(const Random& random, const GraphTransformerOptions& o = {}, Site site = Site::current())
      : norm(o.width),
        attention(o.width, o.width / o.heads, random, {.heads = o.heads}, site),
        gate(full<T>({o.width}, static_cast<T>(o.gate))) {}

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, Dropout drop, ContextRef context) const {
    return x + gate * drop(attention(graph, norm(x), context), context);
  }
};

/// Logits of an episode's queries from its embeddings:
///   1  nodes: a class node is the mean of its supports; each kind of node adds a learned vector
///   2  graph attention along `episode_graph`
///   3  pre-norm Transformer encoder over the episode, whose keys and values are the classes, supports and unlabelled
///      items: a query sees them, and itself through the residual
///   4  logits = -scale |query - class|^2 with a learned scale
/// With gates at 0 (or neither graph nor Transformer) and scale 1 it starts as a prototypical network. Unlabelled items
/// are nodes for `sees` = Sees::unlabelled alone; an episode without any is answered as if there were no such kind.
template <class T = float, Sees sees = Sees::support>
struct GraphTransformer {
  static_assert(sees != Sees::queries, "no edge leaves a query");
  Tensor<T> kinds;  ///< [3, width]: added to class, support and query nodes; [4, width] with unlabelled nodes last
  std::vector<EpisodeGraphLayer<T>> graph_layers;
  TransformerEncoder<T> transformer;
  Tensor<T> log_scale;  ///< []
  GraphTransformerOptions options;
  GRAFT_FIELDS(kinds, graph_layers, transformer, log_scale)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.sees = sees};

  GraphTransformer() = default;
  explicit GraphTransformer(const Random& random, const GraphTransformerOptions& o = {}, Site site = Site::current())
      : kinds(zeros<T>({sees == Sees::unlabelled ? 4 : 3, o.width})),
        log_scale(static_cast<T>(std::log(o.scale))),
        options(o) {
    detail::check_option<T>("GraphTransformer", "scale", o.scale, detail::Range::positive, site);
    detail::check_option<T>("GraphTransformer", "gate", o.gate, detail::Range::finite, site);
    if (o.heads < 1 || o.width < 1 || o.width % o.heads != 0)
      fail("GraphTransformer", {o.heads, " heads do not divide a width of ", o.width}, {}, site);
    if (o.neighbours < 0 || o.graph_layers < 0 || o.transformer_layers < 0)
      fail("GraphTransformer",
           {o.neighbours, " neighbours, ", o.graph_layers, " graph and ", o.transformer_layers, " Transformer layers"},
           {}, site);
    for (Index i = 0; i < o.graph_layers; ++i) graph_layers.emplace_back(random.stream("graph", i), o, site);
    const TransformerOptions layer{
        .dropout = o.dropout, .activation = Activation::gelu, .norm_first = true, .gate = o.gate};
    transformer = TransformerEncoder<T>(o.transformer_layers, o.width, o.heads, o.hidden, random.stream("transformer"),
                                        {.layer = layer}, site);
  }

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError for others.
  Tensor<T> operator()(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    detail::check_embedded("GraphTransformer", episode, kinds.size(1), site);
    const Named here("GraphTransformer", site);
    const auto& [support, labels] = episode.support;
    const Tensor<T>& query = episode.query.x;
    const Tensor<T> unlabelled = sees == Sees::unlabelled ? episode.unlabelled : Tensor<T>();
    const Index ways = episode.ways;
    const Dropout drop{options.dropout};
    const auto kind = [&](Index number) { return slice(kinds, 0, number, number + 1); };
    std::vector<Tensor<T>> nodes{prototypes(support, labels, ways, site) + kind(0), support + kind(1)};
    if (unlabelled.defined()) nodes.push_back(unlabelled + kind(3));
    nodes.push_back(query + kind(2));
    Tensor<T> x = concat(nodes, 0, site);
    const Index memory = x.size(0) - query.size(0);
    if (!graph_layers.empty()) {
      const auto placed = [&](const Tensor<T>& items) {
        return options.random_edges && items.defined() ? randn<T>(items.shape(), context->stream("edges")) : items;
      };
      const Graph graph =
          episode_graph(placed(support), labels, placed(query), ways, options.neighbours, placed(unlabelled), site);
      for (const auto& layer : graph_layers) x = layer(graph, x, drop, context);
    }
    x = transformer(x, {.keys = memory}, context, site);
    const Tensor<T> classes = slice(x, 0, 0, ways), queries = slice(x, 0, memory, x.size(0));
    return -exp(log_scale) * squared_distances(queries, classes, site);
  }
};
GRAFT_HELD(struct GraphTransformer<float, Sees::support>)

}  // namespace GRAFT_ABI
}  // namespace graft
