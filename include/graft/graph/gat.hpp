#pragma once
// Graph attention layer. Velickovic, Cucurull, Casanova, Romero, Lio, Bengio, "Graph attention networks", ICLR 2018.
// Parameter shapes and initial values follow the authors' and PyG's GATConv (there with a leading axis of size one on
// att_*).

#include <optional>

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

// In training a stream is always drawn, so that one layer's rate does not move another layer's mask.
inline GraphAttentionOptions attention_options(const GatOptions& options, ContextRef context) {
  if (!context->training()) return {.negative_slope = options.negative_slope};
  return {options.negative_slope, options.dropout, context->stream("attention dropout")};
}

}  // namespace detail

/// h'_i = sum_j alpha_ij W h_j (+ b) per head, alpha_ij = softmax_j LeakyReLU(a_dst . W h_i + a_src . W h_j) over the
/// edges j -> i. x [nodes, in] -> [nodes, heads width] (or [nodes, width] for averaged heads). Add self-loops to the
/// graph where a node should see itself. Throws ShapeError unless the graph is on one set of nodes and x has a row for
/// each.
template <class T = float>
struct Gat {
  Tensor<T> weight;            ///< [heads width, in]
  Tensor<T> att_src, att_dst;  ///< [heads, width]
  std::optional<Tensor<T>> bias;
  GatOptions options;
  GRAFT_FIELDS(weight, att_src, att_dst, bias)
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
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Gat", site);
    check_rows(graph, x.shape(), site);
    return attend(graph, matmul(x, weight, {.transpose_b = true}, site), context, site);
  }
  /// The same of constant features that are mostly zeros.
  Tensor<T> operator()(const Graph& graph, const SparseMatrix<T>& x, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Gat", site);
    check_rows(graph, {x.rows(), x.columns()}, site);
    return attend(graph, matmul(x, weight, {.transpose_b = true}, site), context, site);
  }

 private:
  void check_rows(const Graph& graph, const Shape& x, Site site) const {
    if (graph.sources() != graph.destinations() || x.rank() != 2 || x[0] != graph.sources())
      fail<ShapeError>("Gat", "x must be [nodes, in] with one row for each of the graph's nodes",
                       {{"x", x}, {"graph (sources, destinations)", {graph.sources(), graph.destinations()}}}, site);
  }
  /// What follows h = x W^T [nodes, heads width].
  Tensor<T> attend(const Graph& graph, const Tensor<T>& h, ContextRef context, Site site) const {
    const Index heads = att_src.size(0), width = att_src.size(1);
    const bool added = bias && options.concatenate;  // otherwise it belongs to the mean of the heads
    const Tensor<T> out = graph_self_attention(graph, reshape(h, {h.size(0), heads, width}), att_src, att_dst,
                                               added ? reshape(*bias, {heads, width}) : Tensor<T>(),
                                               detail::attention_options(options, context), site);
    return detail::join_heads(out, options.concatenate, added ? std::nullopt : bias);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
