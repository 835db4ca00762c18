#pragma once
// Graphs with named types of nodes and edges, and graphs on one set of nodes whose edges have types by number.

#include <string>
#include <string_view>
#include <vector>

#include "graft/graph/structure.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Edges of one type, from nodes of one type to nodes of another.
struct Relation {
  std::string source, name, destination;
  Graph graph;  ///< its sources are the nodes of type `source`, its destinations those of type `destination`
};

/// The edges of each type, 0 .. types - 1, in the order of the list, on the same nodes: what RGCN takes. `edge_types`
/// [edges] in the order of the list. Throws ShapeError, IndexError for another type.
template <Integer I>
std::vector<EdgeSelection> relations_of(const Graph& graph, const Tensor<I>& edge_types, Index types,
                                        Site site = Site::current()) {
  const char* op = "relations_of";
  if (!(edge_types.shape() == Shape{graph.edges()}))
    fail<ShapeError>(op, "edge_types must be one number for each edge",
                     {{"edge_types", edge_types.shape()}, {detail::kGraphSizes, detail::graph_sizes(graph)}}, site);
  if (types < 0) fail(op, {"types is ", types, ", expected 0 or more"}, {}, site);
  std::vector<std::vector<GraphEdge>> edges(static_cast<std::size_t>(types));
  std::vector<std::vector<std::int64_t>> places(static_cast<std::size_t>(types));
  const std::vector<GraphEdge> list = edge_list(graph);
  const std::span type_of = host(edge_types);
  for (std::size_t e = 0; e < list.size(); ++e) {
    const auto type = static_cast<Index>(type_of[e]);
    if (type < 0 || type >= types)
      fail<IndexError>(op, {"edge ", e, " is of type ", type, ", types are 0 .. ", types - 1},
                       {{"edge_types", edge_types.shape()}}, site);
    edges[static_cast<std::size_t>(type)].push_back(list[e]);
    places[static_cast<std::size_t>(type)].push_back(static_cast<std::int64_t>(e));
  }
  std::vector<EdgeSelection> relations;
  for (std::size_t type = 0; type < edges.size(); ++type)
    relations.push_back(detail::selected(graph, edges[type], places[type], site));
  return relations;
}

/// Nodes of named types, and relations between them:
///
///     HeteroGraph library;
///     library.add_nodes("author", 3);
///     library.add_nodes("paper", 5);
///     library.add_edges("author", "writes", "paper", edges);
///
/// A layer takes one graph a relation, bipartite unless both types are the same.
class HeteroGraph {
 public:
  /// Throws ValueError for a type that is there already or a negative number of nodes.
  void add_nodes(std::string_view type, Index count, Site site = Site::current()) {
    if (count < 0) fail("HeteroGraph", {count, " nodes of type ", type}, {}, site);
    if (find(type) < types_.size()) fail("HeteroGraph", {"there are nodes of type ", type, " already"}, {}, site);
    types_.emplace_back(type);
    counts_.push_back(count);
  }
  /// Edges from nodes of type `source` to nodes of type `destination`, numbered within their types; features of edges
  /// are in this order. Throws ValueError for an unknown type or a relation that is there already, IndexError for a
  /// node that is not there.
  void add_edges(std::string_view source, std::string_view name, std::string_view destination,
                 std::span<const GraphEdge> edges, Site site = Site::current()) {
    const Index from = nodes(source, site), to = nodes(destination, site);
    if (place_of(source, name, destination) < relations_.size())
      fail("HeteroGraph", {"there is a relation ", source, " ", name, " ", destination, " already"}, {}, site);
    Index place = 0;
    for (const GraphEdge& edge : edges) {
      if (edge.source < 0 || edge.source >= from || edge.destination < 0 || edge.destination >= to)
        fail<IndexError>("HeteroGraph",
                         {"edge ", place, " of ", source, " ", name, " ", destination, " goes from ", edge.source,
                          " to ", edge.destination, ", nodes are ", from, " and ", to},
                         {}, site);
      ++place;
    }
    relations_.push_back(
        {std::string(source), std::string(name), std::string(destination), Graph(from, to, edges, site)});
  }

  /// In the order in which they were added.
  const std::vector<std::string>& node_types() const { return types_; }
  const std::vector<Relation>& relations() const { return relations_; }
  /// The number of nodes of a type. Throws ValueError for an unknown one.
  Index nodes(std::string_view type, Site site = Site::current()) const {
    const std::size_t at = find(type);
    if (at == types_.size()) fail("HeteroGraph", {"there are no nodes of type ", type}, {}, site);
    return counts_[at];
  }
  /// The edges of one relation. Throws ValueError for an unknown one.
  const Graph& relation(std::string_view source, std::string_view name, std::string_view destination,
                        Site site = Site::current()) const {
    const std::size_t at = place_of(source, name, destination);
    if (at == relations_.size())
      fail("HeteroGraph", {"there is no relation ", source, " ", name, " ", destination}, {}, site);
    return relations_[at].graph;
  }

  /// All nodes in one graph, those of each type after those of the types before it, and all edges in the order of the
  /// relations.
  struct Homogeneous {
    Graph graph;
    Tensor<std::int64_t> offsets;     ///< [node types + 1]: nodes offsets[t] .. offsets[t + 1] - 1 are of type t
    Tensor<std::int64_t> edge_types;  ///< [edges]: the relation of each edge, in the order of the list
  };
  Homogeneous homogeneous(Site site = Site::current()) const {
    std::vector<std::int64_t> offsets{0}, edge_types;
    for (const Index count : counts_) offsets.push_back(offsets.back() + count);
    std::vector<GraphEdge> edges;
    for (std::size_t r = 0; r < relations_.size(); ++r) {
      const Index from = offsets[find(relations_[r].source)], to = offsets[find(relations_[r].destination)];
      for (const GraphEdge& edge : edge_list(relations_[r].graph)) {
        edges.push_back({edge.source + from, edge.destination + to});
        edge_types.push_back(static_cast<std::int64_t>(r));
      }
    }
    return {Graph(offsets.back(), edges, site), from_vector(offsets), from_vector(edge_types)};
  }

 private:
  std::size_t find(std::string_view type) const {
    std::size_t at = 0;
    while (at < types_.size() && types_[at] != type) ++at;
    return at;
  }
  std::size_t place_of(std::string_view source, std::string_view name, std::string_view destination) const {
    std::size_t at = 0;
    while (at < relations_.size() && !(relations_[at].source == source && relations_[at].name == name &&
                                       relations_[at].destination == destination))
      ++at;
    return at;
  }
  std::vector<std::string> types_;
  std::vector<Index> counts_;
  std::vector<Relation> relations_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
