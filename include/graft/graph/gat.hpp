#pragma once
// Graph attention layer. Velickovic, Cucurull, Casanova, Romero, Lio, Bengio, "Graph attention networks", ICLR 2018.
// Parameter shapes and initial values follow the authors' and PyG's GATConv (there with a leading axis of size one on
// att_*), whose term for edge features this is too.

#include <optional>

#include "graft/graph/edge_attention.hpp"
#include "graft/graph/inputs.hpp"
#include "graft/model/context.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/graph_attention.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/sparse.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of GAT and GATv2 layers.
struct GatOptions {
  Index heads = 1;
  bool concatenate = true;      ///< heads side by side; false: their mean (for the last layer)
  double negative_slope = 0.2;  ///< of the leaky ReLU in the scores
  double dropout = 0;           ///< of the attention weights, in training
  bool bias = true;
  Index edge_features = 0;    ///< numbers of an edge that the scores see too
  Index in_destinations = 0;  ///< of bipartite layers: features of destinations where they differ; see the layer
};

namespace detail {

/// The number of heads, after a look at all options.
inline Index checked_heads(const char* op, const GatOptions& options, Site site) {
  if (options.heads < 1) fail(op, {"heads is ", options.heads, ", expected 1 or more"}, {}, site);
  check_attention_options(op, {options.negative_slope, options.dropout, Random()}, site);
  return options.heads;
}

/// Heads side by side [nodes, heads width] or averaged [nodes, width], plus bias.
template <class T>
Tensor<T> join_heads(const Tensor<T>& per_head, bool concatenate, const std::optional<Tensor<T>>& bias) {
  const Tensor<T> joined =
      concatenate ? reshape(per_head, {per_head.size(0), per_head.size(1) * per_head.size(2)}) : mean(per_head, {1});
  return bias ? joined + *bias : joined;
}

template <class T>
Shape matrix_shape(const Tensor<T>& x) {
  return x.shape();
}
template <class T>
Shape matrix_shape(const SparseMatrix<T>& x) {
  return {x.rows(), x.columns()};
}

// In training a stream is always drawn, so that one layer's rate does not move another layer's mask.
inline GraphAttentionOptions attention_options(const GatOptions& options, ContextRef context) {
  if (!context->training()) return {.negative_slope = options.negative_slope};
  return {options.negative_slope, options.dropout, context->stream("attention dropout")};
}

}  // namespace detail

/// h'_i = sum_j alpha_ij W h_j (+ b) per head, alpha_ij = softmax_j LeakyReLU(a_dst . W h_i + a_src . W h_j) over the
/// edges j -> i. x [nodes, in] -> [nodes, heads width] (or [nodes, width] for averaged heads). Add self-loops to the
/// graph where a node should see itself.
/// With edge features e_ij [edges, edge_features], in the order of the graph's list, a_edge . W_edge e_ij is added
/// inside the LeakyReLU. Between two sets of nodes, x_sources [sources, in] and x_destinations [destinations, in] ->
/// [destinations, ..], the h_i of the scores are destinations: mapped by W, or by W_dst if `in_destinations` says their
/// width. Throws ShapeError unless there is a row for each node and each edge, ValueError for missing edge features.
template <class T = float>
struct Gat {
  Tensor<T> weight;            ///< [heads width, in]
  Tensor<T> att_src, att_dst;  ///< [heads, width]
  std::optional<Tensor<T>> bias;
  std::optional<Tensor<T>> weight_edge;  ///< [heads width, edge_features]
  std::optional<Tensor<T>> att_edge;     ///< [heads, width]
  std::optional<Tensor<T>> weight_dst;   ///< [heads width, in_destinations]
  GatOptions options;
  GRAFT_FIELDS(weight, att_src, att_dst, bias, weight_edge, att_edge, weight_dst)
  GRAFT_CONFIG(options)

  Gat() = default;
  /// Glorot uniform weights, zero bias. Throws ValueError for options out of range.
  Gat(Index in, Index width, const Random& random, const GatOptions& o = {}, Site site = Site::current())
      : weight(
            glorot_uniform<T>({detail::checked_heads("Gat", o, site) * width, in}, random.stream("weight"), 1, site)),
        att_src(glorot_uniform<T>({o.heads, width}, random.stream("att_src"), 1, site)),
        att_dst(glorot_uniform<T>({o.heads, width}, random.stream("att_dst"), 1, site)),
        options(o) {
    if (o.bias) bias = zeros<T>({o.concatenate ? o.heads * width : width});
    if (o.edge_features > 0) {
      weight_edge = glorot_uniform<T>({o.heads * width, o.edge_features}, random.stream("weight_edge"), 1, site);
      att_edge = glorot_uniform<T>({o.heads, width}, random.stream("att_edge"), 1, site);
    }
    if (o.in_destinations > 0)
      weight_dst = glorot_uniform<T>({o.heads * width, o.in_destinations}, random.stream("weight_dst"), 1, site);
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Gat", site);
    detail::check_nodes("Gat", graph, x.shape(), site);
    detail::check_no_edges("Gat", weight_edge.has_value(), site);
    return attend(graph, matmul(x, weight, {.transpose_b = true}, site), context, site);
  }
  /// The same of constant features that are mostly zeros.
  Tensor<T> operator()(const Graph& graph, const SparseMatrix<T>& x, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Gat", site);
    detail::check_nodes("Gat", graph, {x.rows(), x.columns()}, site);
    detail::check_no_edges("Gat", weight_edge.has_value(), site);
    return attend(graph, matmul(x, weight, {.transpose_b = true}, site), context, site);
  }
  /// With edge features [edges, edge_features] if the layer was made for them, else between two sets of nodes, with
  /// x_destinations [destinations, in].
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, const Tensor<T>& edges_or_destinations,
                       ContextRef context, Site site = Site::current()) const {
    const Named here("Gat", site);
    if (!weight_edge) return between(graph, x, edges_or_destinations, Tensor<T>(), context, site);
    detail::check_nodes("Gat", graph, x.shape(), site);
    return between(graph, x, x, edges_or_destinations, context, site);
  }
  /// With both.
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                       const Tensor<T>& edge_features, ContextRef context, Site site = Site::current()) const {
    const Named here("Gat", site);
    return between(graph, x_sources, x_destinations, edge_features, context, site);
  }

  /// The weights alpha [edges, heads], in the order of the graph's list, without dropout. x may be a `SparseMatrix`.
  template <class X>
  Tensor<T> attention(const Graph& graph, const X& x, Site site = Site::current()) const {
    const Named here("Gat", site);
    detail::check_nodes("Gat", graph, detail::matrix_shape(x), site);
    detail::check_no_edges("Gat", weight_edge.has_value(), site);
    const Tensor<T> h = by_head(x, weight, site);
    return edge_softmax(graph, edge_logits(graph, sum(h * att_src, {2}), sum(h * att_dst, {2}), Tensor<T>(), site),
                        site);
  }
  /// The same with all that the layer may take; without edge features, an empty handle.
  Tensor<T> attention(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                      const Tensor<T>& edge_features, Site site = Site::current()) const {
    const Named here("Gat", site);
    detail::check_ends("Gat", graph, x_sources.shape(), x_destinations.shape(), site);
    if (!edge_features.defined()) detail::check_no_edges("Gat", weight_edge.has_value(), site);
    const Tensor<T> s = sum(by_head(x_sources, weight, site) * att_src, {2});
    const Tensor<T> d = sum(by_head(x_destinations, weight_dst ? *weight_dst : weight, site) * att_dst, {2});
    return edge_softmax(graph, edge_logits(graph, s, d, edge_features, site), site);
  }

 private:
  /// What follows h = x W^T [nodes, heads width].
  Tensor<T> attend(const Graph& graph, const Tensor<T>& h, ContextRef context, Site site) const {
    const Index heads = att_src.size(0), width = att_src.size(1);
    const bool added = bias && options.concatenate;  // otherwise it belongs to the mean of the heads
    const Tensor<T> out = graph_self_attention(graph, reshape(h, {h.size(0), heads, width}), att_src, att_dst,
                                               added ? reshape(*bias, {heads, width}) : Tensor<T>(),
                                               detail::attention_options(options, context), site);
    return detail::join_heads(out, options.concatenate, added ? std::nullopt : bias);
  }
  /// Maps of the rows by head, [rows, heads, width].
  template <class X>
  Tensor<T> by_head(const X& x, const Tensor<T>& w, Site site) const {
    const Tensor<T> h = matmul(x, w, {.transpose_b = true}, site);
    return reshape(h, {h.size(0), att_src.size(0), att_src.size(1)});
  }
  /// Sources and destinations apart, with edge features if there are any.
  Tensor<T> between(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                    const Tensor<T>& edge_features, ContextRef context, Site site) const {
    detail::check_ends("Gat", graph, x_sources.shape(), x_destinations.shape(), site);
    const GraphAttentionOptions how = detail::attention_options(options, context);
    const Tensor<T> values = by_head(x_sources, weight, site);
    const Tensor<T> seen = by_head(x_destinations, weight_dst ? *weight_dst : weight, site);
    const Tensor<T> s = sum(values * att_src, {2}), d = sum(seen * att_dst, {2});
    if (!edge_features.defined())
      return detail::join_heads(graph_attention(graph, values, s, d, how, site), options.concatenate, bias);
    const Tensor<T> alpha = detail::edge_weights(graph, edge_logits(graph, s, d, edge_features, site), how, site);
    return detail::join_heads(neighbour_sum(graph, values, alpha, site), options.concatenate, bias);
  }
  /// [edges, heads]. a_edge . W_edge e = (W_edge^T a_edge) . e, so no edge has a row of features; without edge features
  /// the term is left out.
  Tensor<T> edge_logits(const Graph& graph, const Tensor<T>& source_scores, const Tensor<T>& destination_scores,
                        const Tensor<T>& edge_features, Site site) const {
    const auto of_ends = [&] {
      return source_rows(graph, source_scores) + destination_rows(graph, destination_scores);
    };
    if (!edge_features.defined()) return leaky_relu(of_ends(), options.negative_slope);
    if (!weight_edge) fail("Gat", "was made without edge features", {{"edge_features", edge_features.shape()}}, site);
    const Index heads = att_edge->size(0), width = att_edge->size(1), numbers = weight_edge->size(1);
    detail::check_edges("Gat", graph, edge_features.shape(), numbers, site);
    const Tensor<T> map =
        sum(reshape(*weight_edge, {heads, width, numbers}) * reshape(*att_edge, {heads, width, 1}), {1});
    const Tensor<T> of_edges = matmul(edge_features, map, {.transpose_b = true}, site);
    return leaky_relu(of_ends() + of_edges, options.negative_slope);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
