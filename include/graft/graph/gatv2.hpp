#pragma once
// Graph attention layer with dynamic scores. Brody, Alon, Yahav, "How attentive are graph attention networks?", ICLR
// 2022. Parameters as in PyG's GATv2Conv: lin_l transforms sources, lin_r destinations.

#include "graft/graph/gat.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// h'_i = sum_j alpha_ij W_l h_j (+ b) per head, alpha_ij = softmax_j a . LeakyReLU(W_r h_i + W_l h_j) over the edges j
/// -> i. x [nodes, in] -> [nodes, heads width] (or [nodes, width] for averaged heads). The ranking of neighbours can
/// differ from node to node, which plain GAT cannot express. Add self-loops to the graph where a node should see
/// itself. Throws ShapeError unless the graph is on one set of nodes and x has a row for each.
template <class T = float>
struct GatV2 {
  Tensor<T> weight_l, weight_r;             ///< [heads width, in]
  std::optional<Tensor<T>> bias_l, bias_r;  ///< [heads width]
  Tensor<T> att;                            ///< [heads, width]
  std::optional<Tensor<T>> bias;
  GatOptions options;
  GRAFT_FIELDS(weight_l, weight_r, bias_l, bias_r, att, bias)
  GRAFT_CONFIG(options)

  GatV2() = default;
  /// Glorot uniform weights, zero biases. Throws ValueError for options out of range.
  GatV2(Index in, Index width, const Random& random, const GatOptions& o = {}, Site site = Site::current())
      : weight_l(glorot_uniform<T>({detail::checked_heads("GatV2", o, site) * width, in}, random.stream("weight_l"), 1,
                                   site)),
        weight_r(glorot_uniform<T>({o.heads * width, in}, random.stream("weight_r"), 1, site)),
        att(glorot_uniform<T>({o.heads, width}, random.stream("att"), 1, site)),
        options(o) {
    if (!o.bias) return;
    bias_l = zeros<T>({o.heads * width});
    bias_r = zeros<T>({o.heads * width});
    bias = zeros<T>({o.concatenate ? o.heads * width : width});
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("GatV2", site);
    if (graph.sources() != graph.destinations() || x.rank() != 2 || x.size(0) != graph.sources())
      fail<ShapeError>("GatV2", "x must be [nodes, in] with one row for each of the graph's nodes",
                       {{"x", x.shape()}, {"graph (sources, destinations)", {graph.sources(), graph.destinations()}}},
                       site);
    const auto transform = [&](const Tensor<T>& weight, const std::optional<Tensor<T>>& offset) {
      const Tensor<T> h = matmul(x, weight, {.transpose_b = true}, site);
      return reshape(offset ? h + *offset : h, {x.size(0), att.size(0), att.size(1)});
    };
    const Tensor<T> out = graph_attention_v2(graph, transform(weight_l, bias_l), transform(weight_r, bias_r), att,
                                             detail::attention_options(options, context), site);
    return detail::join_heads(out, options.concatenate, bias);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
