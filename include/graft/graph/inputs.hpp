#pragma once
// What the layers of this folder ask of their inputs.

#include "graft/ops/csr.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Throws unless the graph is on one set of nodes and x is [nodes, in] with a row for each.
inline void check_nodes(const char* layer, const Graph& graph, const Shape& x, Site site) {
  if (graph.sources() != graph.destinations() || x.rank() != 2 || x[0] != graph.sources())
    fail<ShapeError>(layer, "x must be [nodes, in] with one row for each of the graph's nodes",
                     {{"x", x}, {"graph (sources, destinations)", {graph.sources(), graph.destinations()}}}, site);
}
/// Throws unless there is a row for each source and each destination.
inline void check_ends(const char* layer, const Graph& graph, const Shape& sources, const Shape& destinations,
                       Site site) {
  if (sources.rank() != 2 || destinations.rank() != 2 || sources[0] != graph.sources() ||
      destinations[0] != graph.destinations())
    fail<ShapeError>(layer, "x must be [sources, in] and [destinations, in] with one row for each of the graph's nodes",
                     {{"x_sources", sources},
                      {"x_destinations", destinations},
                      {"graph (sources, destinations)", {graph.sources(), graph.destinations()}}},
                     site);
}
/// Throws unless there is a row of `width` features for each edge.
inline void check_edges(const char* layer, const Graph& graph, const Shape& features, Index width, Site site) {
  if (!(features == Shape{graph.edges(), width}))
    fail<ShapeError>(layer, {"edge features must be [edges, ", width, "] for ", graph.edges(), " edges"},
                     {{"edge_features", features}}, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
