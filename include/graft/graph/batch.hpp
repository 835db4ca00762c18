#pragma once
// Graphs side by side in one graph, which remembers where each begins: for segment ops over the nodes of a graph, and
// for attention that must not cross from one graph to another.

#include <algorithm>
#include <vector>

#include "graft/graph/structure.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The disjoint union of graphs on one set of nodes each. Read-outs are segment ops: `segment_mean(x, batch.offsets)`
/// takes nodes [nodes, ...] to graphs [graphs, ...].
struct GraphBatch {
  Graph graph;                        ///< nodes and edges of each graph after those of the one before it
  Tensor<std::int64_t> offsets;       ///< [graphs + 1]: nodes offsets[g] .. offsets[g + 1] - 1 are graph g's
  Tensor<std::int64_t> edge_offsets;  ///< [graphs + 1]: the same of the edges, in the order of the list
  Tensor<std::int64_t> graph_of;      ///< [nodes]: the graph of each node
  Index longest = 0;                  ///< nodes of the largest graph

  GraphBatch() : GraphBatch(std::span<const Graph>()) {}
  /// Throws ShapeError for a graph that is not on one set of nodes.
  explicit GraphBatch(std::span<const Graph> graphs, Site site = Site::current()) {
    std::vector<std::int64_t> nodes{0}, edges{0}, owners;
    for (const Graph& one : graphs) {
      detail::check_one_set("GraphBatch", one, site);
      owners.insert(owners.end(), static_cast<std::size_t>(one.sources()), static_cast<std::int64_t>(nodes.size()) - 1);
      nodes.push_back(nodes.back() + one.sources());
      edges.push_back(edges.back() + one.edges());
      longest = std::max(longest, one.sources());
    }
    graph = disjoint_union(graphs, site);
    offsets = from_vector(nodes);
    edge_offsets = from_vector(edges);
    graph_of = from_vector(owners);
  }

  Index graphs() const { return offsets.count() - 1; }
  Index nodes() const { return graph_of.count(); }

  /// [nodes, nodes]: true where both nodes are of one graph, for attention over all nodes at once.
  Tensor<bool> block_mask() const {
    const std::span owner = host(graph_of);
    return generate({nodes(), nodes()}, [&](Index i, Index j) {
      return owner[static_cast<std::size_t>(i)] == owner[static_cast<std::size_t>(j)];
    });
  }
  /// [graphs, longest]: true where `padded` has a node, the key mask of attention.
  Tensor<bool> key_mask() const {
    const std::span at = host(offsets);
    return generate({graphs(), longest}, [&](Index g, Index i) {
      return i < at[static_cast<std::size_t>(g) + 1] - at[static_cast<std::size_t>(g)];
    });
  }
  /// The rows of each graph, then zeros: x [nodes, ...] -> [graphs, longest, ...]. Throws ShapeError.
  template <Real T>
  Tensor<T> padded(const Tensor<T>& x, Site site = Site::current()) const {
    detail::check_rows_of("GraphBatch::padded", "x", x, nodes(), "nodes", graph, site);
    const std::span at = host(offsets);
    const Tensor<std::int64_t> places = generate({graphs(), longest}, [&](Index g, Index i) {
      const std::int64_t node = at[static_cast<std::size_t>(g)] + i;
      return node < at[static_cast<std::size_t>(g) + 1] ? node : at.back();  // the row of zeros
    });
    return gather(pad(x, 0, 0, 1), places);
  }
  /// The rows of the nodes: [graphs, longest, ...] -> [nodes, ...], what `padded` took apart. Throws ShapeError.
  template <Real T>
  Tensor<T> unpadded(const Tensor<T>& x, Site site = Site::current()) const {
    if (x.rank() < 2 || x.size(0) != graphs() || x.size(1) != longest)
      fail<ShapeError>("GraphBatch::unpadded", {"expected [", graphs(), ", ", longest, ", ...]"}, {{"x", x.shape()}},
                       site);
    Shape rows{graphs() * longest};
    for (int axis = 2; axis < x.rank(); ++axis) rows.push_back(x.size(axis));
    const std::span at = host(offsets), owner = host(graph_of);
    return gather(reshape(x, rows), generate({nodes()}, [&](Index i) {
                    const std::int64_t g = owner[static_cast<std::size_t>(i)];
                    return g * longest + i - at[static_cast<std::size_t>(g)];
                  }));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
