#pragma once
// Nodes of one graph as items of few-shot episodes.

#include "graft/graph/sgc.hpp"
#include "graft/nn/mlp.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Numbers of nodes -> embeddings: the node's row of a table, through a perceptron. The table is that of features which
/// the graph has smoothed before, once for all episodes, S^K X of `sgc_features` (Wu et al., "Simplifying graph
/// convolutional networks", ICML 2019), so that a training step costs the items of its episode and not the graph:
///
///     NodeEmbedding<> nodes(sgc_features(gcn_matrix(graph), features, 8), 64, random);
///
/// The table is no parameter; it is saved with the model. It belongs to all nodes, those that are tested too, which
/// never had labels: inductive in labels, not in nodes.
template <class T = float>
struct NodeEmbedding {
  Buffer<T> table;  ///< [nodes, in]
  Mlp<T> map;       ///< in -> out
  GRAFT_FIELDS(table, map)

  NodeEmbedding() = default;
  /// Throws ShapeError unless the table is [nodes, in], and as `Mlp`.
  NodeEmbedding(const Tensor<T>& features, Index out, const Random& random, const MlpOptions& o = {},
                Site site = Site::current()) {
    if (features.rank() != 2)
      fail<ShapeError>("NodeEmbedding", "expected features [nodes, in]", {{"features", features.shape()}}, site);
    const Named here("NodeEmbedding", site);
    table.value = features.detach();
    map = Mlp<T>(features.size(1), out, random.stream("map"), o, site);
  }

  /// `nodes` [n, 1], whole numbers in T -> [n, out]. Throws ShapeError, IndexError for a number that is no node's.
  Tensor<T> operator()(const Tensor<T>& nodes, Site site = Site::current()) const {
    const Named here("NodeEmbedding", site);
    if (nodes.rank() != 2 || nodes.size(1) != 1)
      fail<ShapeError>("NodeEmbedding", "expected numbers of nodes [n, 1]", {{"nodes", nodes.shape()}}, site);
    const Tensor<std::int64_t> rows = cast<std::int64_t>(reshape(nodes, {nodes.size(0)}));
    detail::check_indices("NodeEmbedding", rows, table.value.size(0), site);
    return map(gather(table.value, rows, 0, site), site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
