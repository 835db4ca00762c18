#pragma once
// Graph Transformer layer. Shi, Huang, Feng, Zhong, Wang, Sun, "Masked label prediction: unified message passing model
// for semi-supervised classification", IJCAI 2021. Formulas, parameter names and initial values are those of PyG's
// TransformerConv.

#include <cmath>
#include <optional>
#include <vector>

#include "graft/graph/edge_attention.hpp"
#include "graft/graph/inputs.hpp"
#include "graft/model/context.hpp"
#include "graft/nn/linear.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `TransformerConv`.
struct TransformerConvOptions {
  Index heads = 1;
  bool concatenate = true;    ///< heads side by side; false: their mean
  bool beta = false;          ///< a learned gate between the node's own row and what it hears; needs `root`
  double dropout = 0;         ///< of the attention weights, in training
  bool bias = true;           ///< of the map of the node's own row
  bool root = true;           ///< the term W_1 x_i
  Index edge_features = 0;    ///< numbers of an edge that keys and values see too
  Index in_destinations = 0;  ///< features of destinations where they differ from those of sources; 0: the same
};

/// h'_i = W_1 x_i + m_i, m_i = sum_j alpha_ij (W_2 x_j + W_6 e_ij) per head over the edges j -> i, alpha_ij = softmax_j
/// (W_3 x_i) . (W_4 x_j + W_6 e_ij) / sqrt(width). With the option beta h'_i = b_i W_1 x_i + (1 - b_i) m_i, where b_i =
/// sigmoid(w_5 . [m_i, W_1 x_i, m_i - W_1 x_i]). x [nodes, in], or x_sources [sources, in] and x_destinations
/// [destinations, in], and edge features [edges, edge_features] in the order of the graph's list -> [nodes, heads
/// width] (or [nodes, width] for averaged heads). Throws ShapeError, ValueError for missing edge features.
template <class T = float>
struct TransformerConv {
  Linear<T> lin_key, lin_query, lin_value;  ///< W_4, W_3, W_2 with biases: in -> heads width
  std::optional<Linear<T>> lin_edge;        ///< W_6: edge_features -> heads width, without bias
  std::optional<Linear<T>> lin_skip;        ///< W_1
  std::optional<Linear<T>> lin_beta;        ///< w_5, without bias
  TransformerConvOptions options;
  GRAFT_FIELDS(lin_key, lin_query, lin_value, lin_edge, lin_skip, lin_beta)
  GRAFT_CONFIG(options)

  TransformerConv() = default;
  /// Initial values of `Linear`. Throws ValueError for options out of range.
  TransformerConv(Index in, Index width, const Random& random, const TransformerConvOptions& o = {},
                  Site site = Site::current())
      : options(o) {
    if (o.heads < 1) fail("TransformerConv", {"heads is ", o.heads, ", expected 1 or more"}, {}, site);
    if (o.beta && !o.root) fail("TransformerConv", "the option beta needs the option root", {}, site);
    detail::check_attention_options("TransformerConv", {0, o.dropout, Random()}, site);
    const Index all = o.heads * width, out = o.concatenate ? all : width;
    const Index in_destinations = o.in_destinations > 0 ? o.in_destinations : in;
    lin_key = Linear<T>(in, all, random.stream("lin_key"), {}, site);
    lin_query = Linear<T>(in_destinations, all, random.stream("lin_query"), {}, site);
    lin_value = Linear<T>(in, all, random.stream("lin_value"), {}, site);
    if (o.edge_features > 0)
      lin_edge.emplace(o.edge_features, all, random.stream("lin_edge"), LinearOptions{.bias = false}, site);
    if (o.root) lin_skip.emplace(in_destinations, out, random.stream("lin_skip"), LinearOptions{.bias = o.bias}, site);
    if (o.beta) lin_beta.emplace(3 * out, 1, random.stream("lin_beta"), LinearOptions{.bias = false}, site);
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("TransformerConv", site);
    detail::check_nodes("TransformerConv", graph, x.shape(), site);
    detail::check_no_edges("TransformerConv", lin_edge.has_value(), site);
    return layer(graph, x, x, Tensor<T>(), context, site);
  }
  /// With edge features [edges, edge_features] if the layer was made for them, else between two sets of nodes, with
  /// x_destinations [destinations, in].
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, const Tensor<T>& edges_or_destinations,
                       ContextRef context, Site site = Site::current()) const {
    const Named here("TransformerConv", site);
    if (!lin_edge) return layer(graph, x, edges_or_destinations, Tensor<T>(), context, site);
    detail::check_nodes("TransformerConv", graph, x.shape(), site);
    return layer(graph, x, x, edges_or_destinations, context, site);
  }
  /// With both.
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                       const Tensor<T>& edge_features, ContextRef context, Site site = Site::current()) const {
    const Named here("TransformerConv", site);
    return layer(graph, x_sources, x_destinations, edge_features, context, site);
  }

  /// The weights alpha [edges, heads], in the order of the graph's list, without dropout.
  Tensor<T> attention(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) const {
    return attention(graph, x, x, Tensor<T>(), site);
  }
  /// The same with all that the layer may take; without edge features, an empty handle.
  Tensor<T> attention(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                      const Tensor<T>& edge_features, Site site = Site::current()) const {
    const Named here("TransformerConv", site);
    check(graph, x_sources, x_destinations, edge_features, site);
    if (!edge_features.defined()) detail::check_no_edges("TransformerConv", lin_edge.has_value(), site);
    return edge_softmax(graph, edge_logits(graph, query_of(x_destinations, site), x_sources, edge_features, site),
                        site);
  }

 private:
  void check(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
             const Tensor<T>& edge_features, Site site) const {
    detail::check_ends("TransformerConv", graph, x_sources.shape(), x_destinations.shape(), site);
    if (!edge_features.defined()) return;
    if (!lin_edge)
      fail("TransformerConv", "was made without edge features", {{"edge_features", edge_features.shape()}}, site);
    detail::check_edges("TransformerConv", graph, edge_features.shape(), lin_edge->weight.size(1), site);
  }
  Tensor<T> layer(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                  const Tensor<T>& edge_features, ContextRef context, Site site) const {
    check(graph, x_sources, x_destinations, edge_features, site);
    const Tensor<T> heard = attend(graph, x_sources, x_destinations, edge_features, context, site);
    const Tensor<T> message =
        options.concatenate ? reshape(heard, {heard.size(0), heard.size(1) * heard.size(2)}) : mean(heard, {1});
    if (!lin_skip) return message;
    const Tensor<T> own = (*lin_skip)(x_destinations, site);
    if (!lin_beta) return own + message;
    const Tensor<T> beta = sigmoid((*lin_beta)(concat(std::vector{message, own, message - own}, 1), site));
    return beta * own + (1 - beta) * message;
  }

  Index width() const { return lin_key.weight.size(0) / options.heads; }
  Tensor<T> by_head(const Linear<T>& map, const Tensor<T>& x, Site site) const {
    return reshape(map(x, site), {x.size(0), options.heads, width()});
  }
  /// W_3 x_i / sqrt(width).
  Tensor<T> query_of(const Tensor<T>& x_destinations, Site site) const {
    return by_head(lin_query, x_destinations, site) * (1 / std::sqrt(static_cast<double>(width())));
  }
  /// W_6 by head, [heads, width, edge_features].
  Tensor<T> edge_map() const { return reshape(lin_edge->weight, {options.heads, width(), lin_edge->weight.size(1)}); }

  /// [edges, heads]. W_6 is applied to queries and to the sums over edges, by linearity, so no edge has a row of
  /// features.
  Tensor<T> edge_logits(const Graph& graph, const Tensor<T>& query, const Tensor<T>& x_sources,
                        const Tensor<T>& edge_features, Site site) const {
    const Tensor<T> logits = edge_dot(graph, query, by_head(lin_key, x_sources, site), site);
    if (!edge_features.defined()) return logits;
    // [heads, destinations, ..] and back, for one product a head.
    const Tensor<T> asked = permute(matmul(permute(query, {1, 0, 2}), edge_map(), {}, site), {1, 0, 2});
    const Tensor<T> features = reshape(edge_features, {graph.edges(), 1, edge_features.size(1)});
    return logits + sum(destination_rows(graph, asked) * features, {2});
  }
  /// m [destinations, heads, width].
  Tensor<T> attend(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                   const Tensor<T>& edge_features, ContextRef context, Site site) const {
    GraphAttentionOptions how;
    if (context->training()) {
      how.dropout = options.dropout;
      how.random = context->stream("attention dropout");
    }
    const Tensor<T> logits = edge_logits(graph, query_of(x_destinations, site), x_sources, edge_features, site);
    const Tensor<T> values = by_head(lin_value, x_sources, site);
    const Tensor<T> alpha = detail::edge_weights(graph, logits, how, site);
    if (!edge_features.defined()) return neighbour_sum(graph, values, alpha, site);
    const Tensor<T> features = reshape(edge_features, {graph.edges(), 1, edge_features.size(1)});
    const Tensor<T> of_edges = edge_sum(graph, reshape(alpha, {graph.edges(), options.heads, 1}) * features);
    const Tensor<T> mapped = matmul(permute(of_edges, {1, 0, 2}), edge_map(), {.transpose_b = true}, site);
    return neighbour_sum(graph, values, alpha, site) + permute(mapped, {1, 0, 2});
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
