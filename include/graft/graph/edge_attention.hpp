#pragma once
// What attention layers with edge features share.

#include "graft/ops/graph_attention.hpp"
#include "graft/ops/neighbours.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Softmax of `logits` [edges, heads], in the order of the list, over each destination's edges; dropout then takes the
/// same of them as in the fused ops.
template <class T>
Tensor<T> edge_weights(const Graph& graph, const Tensor<T>& logits, const GraphAttentionOptions& options, Site site) {
  const Tensor<T> alpha = edge_softmax(graph, logits, site);
  if (options.dropout == 0) return alpha;
  return to_list_order(graph, dropout(to_destination_order(graph, alpha), options.dropout, options.random));
}

/// Throws if the layer has parameters for edge features and none were passed.
inline void check_no_edges(const char* layer, bool takes_edges, Site site) {
  if (takes_edges) fail(layer, "was made with edge features: pass them before the context", {}, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
