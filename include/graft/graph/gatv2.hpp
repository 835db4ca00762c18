#pragma once
// Graph attention layer with dynamic scores. Brody, Alon, Yahav, "How attentive are graph attention networks?", ICLR
// 2022. Parameters as in PyG's GATv2Conv: lin_l transforms sources, lin_r destinations.

#include "graft/graph/gat.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// h'_i = sum_j alpha_ij W_l h_j (+ b) per head, alpha_ij = softmax_j a . LeakyReLU(W_r h_i + W_l h_j) over the edges j
/// -> i. x [nodes, in] -> [nodes, heads width] (or [nodes, width] for averaged heads). The ranking of neighbours can
/// differ from node to node, which plain GAT cannot express. Add self-loops to the graph where a node should see
/// itself.
/// With edge features e_ij [edges, edge_features], in the order of the graph's list, W_edge e_ij is added inside the
/// LeakyReLU. Between two sets of nodes, x_sources [sources, in] and x_destinations [destinations, in or
/// in_destinations] -> [destinations, ..], the h_i are destinations. Throws ShapeError unless there is a row for each
/// node and each edge, ValueError for missing edge features.
template <class T = float>
struct GatV2 {
  Tensor<T> weight_l, weight_r;             ///< [heads width, in], weight_r [heads width, in_destinations] if given
  std::optional<Tensor<T>> bias_l, bias_r;  ///< [heads width]
  Tensor<T> att;                            ///< [heads, width]
  std::optional<Tensor<T>> bias;
  std::optional<Tensor<T>> weight_edge;  ///< [heads width, edge_features]
  GatOptions options;
  GRAFT_FIELDS(weight_l, weight_r, bias_l, bias_r, att, bias, weight_edge)
  GRAFT_CONFIG(options)

  GatV2() = default;
  /// Glorot uniform weights, zero biases. Throws ValueError for options out of range.
  GatV2(Index in, Index width, const Random& random, const GatOptions& o = {}, Site site = Site::current())
      : weight_l(glorot_uniform<T>({detail::checked_heads("GatV2", o, site) * width, in}, random.stream("weight_l"), 1,
                                   site)),
        weight_r(glorot_uniform<T>({o.heads * width, o.in_destinations > 0 ? o.in_destinations : in},
                                   random.stream("weight_r"), 1, site)),
        att(glorot_uniform<T>({o.heads, width}, random.stream("att"), 1, site)),
        options(o) {
    if (o.edge_features > 0)
      weight_edge = glorot_uniform<T>({o.heads * width, o.edge_features}, random.stream("weight_edge"), 1, site);
    if (!o.bias) return;
    bias_l = zeros<T>({o.heads * width});
    bias_r = zeros<T>({o.heads * width});
    bias = zeros<T>({o.concatenate ? o.heads * width : width});
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("GatV2", site);
    detail::check_nodes("GatV2", graph, x.shape(), site);
    detail::check_no_edges("GatV2", weight_edge.has_value(), site);
    return between(graph, x, x, Tensor<T>(), context, site);
  }
  /// The same of constant features that are mostly zeros.
  Tensor<T> operator()(const Graph& graph, const SparseMatrix<T>& x, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("GatV2", site);
    detail::check_nodes("GatV2", graph, {x.rows(), x.columns()}, site);
    detail::check_no_edges("GatV2", weight_edge.has_value(), site);
    return attend(graph, transform(x, weight_l, bias_l, site), transform(x, weight_r, bias_r, site), Tensor<T>(),
                  context, site);
  }
  /// With edge features [edges, edge_features] if the layer was made for them, else between two sets of nodes, with
  /// x_destinations [destinations, in].
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, const Tensor<T>& edges_or_destinations,
                       ContextRef context, Site site = Site::current()) const {
    const Named here("GatV2", site);
    if (!weight_edge) return between(graph, x, edges_or_destinations, Tensor<T>(), context, site);
    detail::check_nodes("GatV2", graph, x.shape(), site);
    return between(graph, x, x, edges_or_destinations, context, site);
  }
  /// With both.
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                       const Tensor<T>& edge_features, ContextRef context, Site site = Site::current()) const {
    const Named here("GatV2", site);
    return between(graph, x_sources, x_destinations, edge_features, context, site);
  }

  /// The weights alpha [edges, heads], in the order of the graph's list, without dropout. x may be a `SparseMatrix`.
  template <class X>
  Tensor<T> attention(const Graph& graph, const X& x, Site site = Site::current()) const {
    const Named here("GatV2", site);
    detail::check_nodes("GatV2", graph, detail::matrix_shape(x), site);
    detail::check_no_edges("GatV2", weight_edge.has_value(), site);
    const Tensor<T> s = transform(x, weight_l, bias_l, site), d = transform(x, weight_r, bias_r, site);
    return edge_softmax(graph, edge_logits(graph, s, d, Tensor<T>(), site), site);
  }
  /// The same with all that the layer may take; without edge features, an empty handle.
  Tensor<T> attention(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                      const Tensor<T>& edge_features, Site site = Site::current()) const {
    const Named here("GatV2", site);
    detail::check_ends("GatV2", graph, x_sources.shape(), x_destinations.shape(), site);
    if (!edge_features.defined()) detail::check_no_edges("GatV2", weight_edge.has_value(), site);
    const Tensor<T> s = transform(x_sources, weight_l, bias_l, site);
    const Tensor<T> d = transform(x_destinations, weight_r, bias_r, site);
    return edge_softmax(graph, edge_logits(graph, s, d, edge_features, site), site);
  }

 private:
  /// W x (+ b), [rows, heads, width].
  template <class X>
  Tensor<T> transform(const X& x, const Tensor<T>& weight, const std::optional<Tensor<T>>& offset, Site site) const {
    const Tensor<T> h = matmul(x, weight, {.transpose_b = true}, site);
    return reshape(offset ? h + *offset : h, {h.size(0), att.size(0), att.size(1)});
  }
  Tensor<T> between(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                    const Tensor<T>& edge_features, ContextRef context, Site site) const {
    detail::check_ends("GatV2", graph, x_sources.shape(), x_destinations.shape(), site);
    return attend(graph, transform(x_sources, weight_l, bias_l, site),
                  transform(x_destinations, weight_r, bias_r, site), edge_features, context, site);
  }
  Tensor<T> attend(const Graph& graph, const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& edge_features,
                   ContextRef context, Site site) const {
    const GraphAttentionOptions how = detail::attention_options(options, context);
    if (!edge_features.defined())
      return detail::join_heads(graph_attention_v2(graph, s, d, att, how, site), options.concatenate, bias);
    const Tensor<T> alpha = detail::edge_weights(graph, edge_logits(graph, s, d, edge_features, site), how, site);
    return detail::join_heads(neighbour_sum(graph, s, alpha, site), options.concatenate, bias);
  }
  /// [edges, heads].
  Tensor<T> edge_logits(const Graph& graph, const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& edge_features,
                        Site site) const {
    const auto of_ends = [&] { return source_rows(graph, s) + destination_rows(graph, d); };
    const auto scored = [&](const Tensor<T>& joint) {
      return sum(leaky_relu(joint, options.negative_slope) * att, {2});
    };
    if (!edge_features.defined()) return scored(of_ends());
    if (!weight_edge) fail("GatV2", "was made without edge features", {{"edge_features", edge_features.shape()}}, site);
    detail::check_edges("GatV2", graph, edge_features.shape(), weight_edge->size(1), site);
    return scored(of_ends() + transform(edge_features, *weight_edge, std::nullopt, site));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
