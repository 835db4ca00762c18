#pragma once
// Graphs made from graphs. The list of a new graph follows from the list of the old one in a way that each function
// states, so that weights and features of edges follow by `gather` or `concat`.

#include <algorithm>
#include <vector>

#include "graft/ops/csr.hpp"
#include "graft/ops/neighbours.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A graph made of edges of another one. Features follow by `gather(features, edges)`.
struct EdgeSelection {
  Graph graph;
  Tensor<std::int64_t> edges;  ///< [edges]: the place in the other's list that each edge comes from
};

/// A graph and what belongs to its edges.
template <class T = float>
struct FeaturedGraph {
  Graph graph;
  Tensor<T> features;  ///< [edges, ...] in the order of the graph's list
};

/// What becomes of the features of edges that are merged.
enum class EdgeJoin { sum, mean, max };

namespace detail {

inline void check_one_set(const char* op, const Graph& graph, Site site) {
  if (graph.sources() != graph.destinations())
    fail<ShapeError>(op, "the graph must be on one set of nodes", {{kGraphSizes, graph_sizes(graph)}}, site);
}
inline EdgeSelection selected(const Graph& graph, const std::vector<GraphEdge>& edges,
                              const std::vector<std::int64_t>& kept, Site site) {
  return {Graph(graph.sources(), graph.destinations(), edges, site), from_vector(kept)};
}

/// Duplicates merged, and where the runs of equal edges begin in the order of `sorted`.
struct CoalescedEdges {
  Graph sorted, graph;
  Tensor<std::int64_t> offsets;
};
inline CoalescedEdges coalesced_edges(const Graph& graph, Site site) {
  // Sorted anew: the rows of `Graph::from_rows` may be in any order.
  const Graph sorted(graph.sources(), graph.destinations(), edge_list(graph), site);
  const std::span sources = host(sorted.source_of()), destinations = host(sorted.destination_of());
  std::vector<GraphEdge> edges;
  std::vector<std::int64_t> offsets;
  for (std::size_t e = 0; e < sources.size(); ++e) {
    const GraphEdge edge{sources[e], destinations[e]};
    if (!edges.empty() && edges.back() == edge) continue;
    edges.push_back(edge);
    offsets.push_back(static_cast<std::int64_t>(e));
  }
  offsets.push_back(graph.edges());
  return {sorted, Graph(graph.sources(), graph.destinations(), edges, site), from_vector(offsets)};
}

}  // namespace detail

/// The number of edges into each node, [destinations].
inline Tensor<std::int64_t> in_degrees(const Graph& graph) {
  const std::span at = host(graph.offsets());
  return generate({graph.destinations()}, [&](Index i) {
    const auto row = static_cast<std::size_t>(i);
    return at[row + 1] - at[row];
  });
}
/// The number of edges out of each node, [sources].
inline Tensor<std::int64_t> out_degrees(const Graph& graph) {
  const std::span at = host(graph.source_offsets());
  return generate({graph.sources()}, [&](Index j) {
    const auto row = static_cast<std::size_t>(j);
    return at[row + 1] - at[row];
  });
}

/// Every edge turned round; edge e of the list stays edge e.
inline Graph reversed(const Graph& graph, Site site = Site::current()) {
  std::vector<GraphEdge> edges = edge_list(graph);
  for (GraphEdge& edge : edges) std::swap(edge.source, edge.destination);
  return Graph(graph.destinations(), graph.sources(), edges, site);
}

/// The list and, after it, every edge turned round whose reverse is not in the list: between any two nodes there are
/// edges both ways or none. Throws ShapeError unless the graph is on one set of nodes.
inline EdgeSelection undirected(const Graph& graph, Site site = Site::current()) {
  detail::check_one_set("undirected", graph, site);
  std::vector<GraphEdge> edges = edge_list(graph), sorted = edges;
  const auto before = [](const GraphEdge& a, const GraphEdge& b) {
    return a.destination != b.destination ? a.destination < b.destination : a.source < b.source;
  };
  std::sort(sorted.begin(), sorted.end(), before);
  std::vector<std::int64_t> from;
  for (std::int64_t e = 0; e < graph.edges(); ++e) from.push_back(e);
  for (std::int64_t e = 0; e < graph.edges(); ++e) {
    const GraphEdge& edge = edges[static_cast<std::size_t>(e)];
    const GraphEdge reverse{edge.destination, edge.source};
    if (std::binary_search(sorted.begin(), sorted.end(), reverse, before)) continue;
    edges.push_back(reverse);
    from.push_back(e);
  }
  return detail::selected(graph, edges, from, site);
}

/// The edges that do not lead from a node to itself, in the order of the list. Throws ShapeError unless the graph is on
/// one set of nodes.
inline EdgeSelection without_self_loops(const Graph& graph, Site site = Site::current()) {
  detail::check_one_set("without_self_loops", graph, site);
  std::vector<GraphEdge> edges;
  std::vector<std::int64_t> kept;
  std::int64_t place = 0;
  for (const GraphEdge& edge : edge_list(graph)) {
    if (edge.source != edge.destination) {
      edges.push_back(edge);
      kept.push_back(place);
    }
    ++place;
  }
  return detail::selected(graph, edges, kept, site);
}

/// `with_self_loops(graph)` and the features [edges, ...] of its edges: the old ones, then `fill` for each new loop.
/// Throws ShapeError, ValueError for a bipartite graph.
template <Real T>
FeaturedGraph<T> with_self_loops(const Graph& graph, const Tensor<T>& features, double fill,
                                 Site site = Site::current()) {
  detail::check_rows_of("with_self_loops", "features", features, graph.edges(), "edges", graph, site);
  const Graph looped = with_self_loops(graph, site);
  const Shape added = features.shape().with(0, looped.edges() - graph.edges());
  return {looped, concat(std::vector{features, full<T>(added, static_cast<T>(fill))}, 0)};
}
/// Says that a new self-loop has the mean of the features of the edges into its node; 0 where there are none.
struct IncomingMean {};
template <Real T>
FeaturedGraph<T> with_self_loops(const Graph& graph, const Tensor<T>& features, IncomingMean,
                                 Site site = Site::current()) {
  detail::check_rows_of("with_self_loops", "features", features, graph.edges(), "edges", graph, site);
  const Graph looped = with_self_loops(graph, site);
  std::vector<std::int64_t> nodes;
  const std::vector<GraphEdge> edges = edge_list(looped);
  for (auto e = static_cast<std::size_t>(graph.edges()); e < edges.size(); ++e) nodes.push_back(edges[e].source);
  return {looped, concat(std::vector{features, gather(edge_mean(graph, features), from_vector(nodes))}, 0)};
}

/// Each edge once, in destination order.
inline Graph coalesced(const Graph& graph, Site site = Site::current()) {
  return detail::coalesced_edges(graph, site).graph;
}
/// Each edge once, in destination order, with the sum, mean or largest numbers of the features [edges, ...] of its
/// duplicates. Throws ShapeError.
template <Real T>
FeaturedGraph<T> coalesced(const Graph& graph, const Tensor<T>& features, EdgeJoin join = EdgeJoin::sum,
                           Site site = Site::current()) {
  detail::check_rows_of("coalesced", "features", features, graph.edges(), "edges", graph, site);
  const detail::CoalescedEdges merged = detail::coalesced_edges(graph, site);
  const Tensor<T> rows = to_destination_order(merged.sorted, features);
  const auto joined = [&] {
    if (join == EdgeJoin::sum) return segment_sum(rows, merged.offsets);
    return join == EdgeJoin::mean ? segment_mean(rows, merged.offsets) : segment_max(rows, merged.offsets);
  };
  return {merged.graph, joined()};
}

/// The nodes [count], numbered anew in that order, and the edges between them in the order of the list. Throws
/// ShapeError, IndexError for a node that is not there, ValueError for one that is listed twice.
template <Integer I>
EdgeSelection induced_subgraph(const Graph& graph, const Tensor<I>& nodes, Site site = Site::current()) {
  const char* op = "induced_subgraph";
  detail::check_one_set(op, graph, site);
  if (nodes.rank() != 1) fail<ShapeError>(op, "nodes must be a list", {{"nodes", nodes.shape()}}, site);
  std::vector<Index> number(static_cast<std::size_t>(graph.sources()), -1);
  Index next = 0;
  for (const I node : host(nodes)) {
    if (node < 0 || static_cast<Index>(node) >= graph.sources())
      fail<IndexError>(op, {"node ", node, " at position ", next, " is outside 0 .. ", graph.sources() - 1},
                       {{"nodes", nodes.shape()}, {detail::kGraphSizes, detail::graph_sizes(graph)}}, site);
    Index& mine = number[static_cast<std::size_t>(node)];
    if (mine >= 0)
      fail(op, {"node ", node, " is listed at positions ", mine, " and ", next}, {{"nodes", nodes.shape()}}, site);
    mine = next++;
  }
  std::vector<GraphEdge> edges;
  std::vector<std::int64_t> kept;
  std::int64_t place = 0;
  for (const GraphEdge& edge : edge_list(graph)) {
    const Index source = number[static_cast<std::size_t>(edge.source)],
                destination = number[static_cast<std::size_t>(edge.destination)];
    if (source >= 0 && destination >= 0) {
      edges.push_back({source, destination});
      kept.push_back(place);
    }
    ++place;
  }
  return {Graph(next, edges, site), from_vector(kept)};
}

}  // namespace GRAFT_ABI
}  // namespace graft
