#pragma once
// Sparse graphs in compressed rows, both ways round. Edges are sorted by destination and then source, so every sum over
// a neighbourhood runs in one fixed order; the transpose is built once, for the backward passes. Tensors about edges
// stay in the order of the list that the graph was made from.

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "graft/backend/cpu/graph.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One directed edge: messages flow from `source` to `destination`.
struct GraphEdge {
  Index source;
  Index destination;
  bool operator==(const GraphEdge&) const = default;
};

/// A directed graph between `sources` nodes that send and `destinations` nodes that receive (the same nodes unless it
/// is bipartite). A cheap handle to immutable arrays; safe to share between threads.
class Graph {
 public:
  /// No nodes.
  Graph() : Graph(0, {}) {}
  /// From a list of edges, in whose order weights and features of edges are given; duplicates stay. Throws IndexError
  /// for a node outside its range, ValueError for a negative number of nodes or more than 2^31 - 1 nodes or edges.
  Graph(Index sources, Index destinations, std::span<const GraphEdge> edges, Site site = Site::current())
      : data_(std::make_shared<const Data>(sources, destinations, edges, site)) {}
  /// A graph on one set of nodes.
  Graph(Index nodes, std::span<const GraphEdge> edges, Site site = Site::current())
      : Graph(nodes, nodes, edges, site) {}

  /// From an `edge_index` [2, edges], as PyTorch Geometric has it: row 0 the sources, row 1 the destinations. Throws
  /// ShapeError, and what the list of edges throws.
  template <Integer I>
  static Graph from_edge_index(Index sources, Index destinations, const Tensor<I>& edge_index,
                               Site site = Site::current()) {
    if (edge_index.rank() != 2 || edge_index.size(0) != 2)
      fail<ShapeError>("Graph::from_edge_index", "expected an edge_index [2, edges]",
                       {{"edge_index", edge_index.shape()}}, site);
    const Index count = edge_index.size(1);
    const std::span<const I> ends = host(edge_index);
    std::vector<GraphEdge> edges;
    for (Index e = 0; e < count; ++e)
      edges.push_back({ends[static_cast<std::size_t>(e)], ends[static_cast<std::size_t>(count + e)]});
    return Graph(sources, destinations, edges, site);
  }
  template <Integer I>
  static Graph from_edge_index(Index nodes, const Tensor<I>& edge_index, Site site = Site::current()) {
    return from_edge_index(nodes, nodes, edge_index, site);
  }

  /// From compressed rows: the edges into node i come from source_of[offsets[i]] .. source_of[offsets[i + 1] - 1], and
  /// stay in that order, in which sums over them run. `offsets` [destinations + 1], `source_of` [edges], which is the
  /// order of the list. Throws ShapeError, IndexError, ValueError unless the offsets rise from 0 to the edges.
  static Graph from_rows(Index sources, const Tensor<std::int64_t>& offsets, const Tensor<cpu::GraphIndex>& source_of,
                         Site site = Site::current()) {
    return Graph(std::make_shared<const Data>(sources, offsets, source_of, site));
  }

  Index sources() const { return data_->sources; }
  Index destinations() const { return data_->destinations; }
  Index edges() const { return data_->source_of.count(); }

  /// [destinations + 1]: the edges into node i are offsets[i] .. offsets[i + 1] - 1, in *destination order*.
  const Tensor<std::int64_t>& offsets() const { return data_->offsets; }
  /// [edges] in destination order.
  const Tensor<cpu::GraphIndex>& source_of() const { return data_->source_of; }
  const Tensor<cpu::GraphIndex>& destination_of() const { return data_->destination_of; }
  /// [edges]: the place in the constructor's list of each edge in destination order; see `to_destination_order`.
  const Tensor<cpu::GraphIndex>& input_order() const { return data_->input_order; }
  /// True when the list was in destination order already, so that `input_order` is 0, 1, 2 ...
  bool list_is_sorted() const { return data_->list_is_sorted; }
  /// [sources + 1]: the edges out of node j are source_offsets[j] .. source_offsets[j + 1] - 1, in *source order* (by
  /// source, then destination).
  const Tensor<std::int64_t>& source_offsets() const { return data_->source_offsets; }
  /// [edges] in source order.
  const Tensor<cpu::GraphIndex>& destination_by_source() const { return data_->destination_by_source; }
  /// [edges]: for each edge in source order its place in destination order.
  const Tensor<cpu::GraphIndex>& edge_by_source() const { return data_->edge_by_source; }
  /// [edges]: for each edge in source order its place in the list.
  const Tensor<cpu::GraphIndex>& input_by_source() const { return data_->input_by_source; }

 private:
  struct Data {
    Index sources, destinations;
    bool list_is_sorted = true;
    Tensor<std::int64_t> offsets, source_offsets;
    Tensor<cpu::GraphIndex> source_of, destination_of, input_order, destination_by_source, edge_by_source,
        input_by_source;

    Data(Index s, Index d, std::span<const GraphEdge> edges, Site site) : sources(s), destinations(d) {
      const auto count = static_cast<Index>(edges.size());
      check_sizes(count, site);
      for (Index e = 0; e < count; ++e) {
        const GraphEdge& edge = edges[static_cast<std::size_t>(e)];
        if (edge.source < 0 || edge.source >= s || edge.destination < 0 || edge.destination >= d)
          fail<IndexError>("Graph",
                           {"edge ", e, " goes from ", edge.source, " to ", edge.destination, ", nodes are ", s,
                            " sources and ", d, " destinations"},
                           {}, site);
      }
      // Two stable counting sorts, by source and then by destination; in between, the arrays in source order have the
      // edges of each source in the order of the list.
      const auto given = [&](Index e) { return edges[static_cast<std::size_t>(e)]; };
      edge_by_source = detail::fresh<cpu::GraphIndex>({count});
      destination_by_source = detail::fresh<cpu::GraphIndex>({count});
      source_offsets = counts(s, count, [&](Index e) { return given(e).source; });
      place(
          source_offsets, count, [&](Index e) { return given(e).source; },
          [&](Index at, Index e) {
            detail::writable(edge_by_source)[at] = static_cast<cpu::GraphIndex>(e);
            detail::writable(destination_by_source)[at] = static_cast<cpu::GraphIndex>(given(e).destination);
          });
      input_order = detail::fresh<cpu::GraphIndex>({count});
      source_of = detail::fresh<cpu::GraphIndex>({count});
      offsets = counts(d, count, [&](Index e) { return given(e).destination; });
      Index source = 0;
      place(
          offsets, count, [&](Index rank) { return destination_by_source.data()[rank]; },
          [&](Index at, Index rank) {
            while (source_offsets.data()[source + 1] <= rank) ++source;
            detail::writable(source_of)[at] = static_cast<cpu::GraphIndex>(source);
            detail::writable(input_order)[at] = edge_by_source.data()[rank];
          });
      name_destinations();
      for (Index e = 0; e < count && list_is_sorted; ++e) list_is_sorted = input_order.data()[e] == e;
      turn_round();
    }

    Data(Index s, const Tensor<std::int64_t>& rows, const Tensor<cpu::GraphIndex>& from, Site site)
        : sources(s), destinations(rows.rank() == 1 ? rows.count() - 1 : -1), offsets(rows), source_of(from) {
      const char* op = "Graph::from_rows";
      if (rows.rank() != 1 || rows.count() < 1 || from.rank() != 1)
        fail<ShapeError>(op, "expected offsets [destinations + 1] and sources [edges]",
                         {{"offsets", rows.shape()}, {"source_of", from.shape()}}, site);
      const Index count = from.count();
      check_sizes(count, site);
      const std::int64_t* at = rows.data();
      bool rising = at[0] == 0 && at[destinations] == count;
      for (Index i = 0; i < destinations; ++i) rising = rising && at[i] <= at[i + 1];
      if (!rising) fail(op, {"offsets must rise from 0 to the number of edges, ", count}, {}, site);
      for (Index i = 0; i < destinations; ++i)
        for (Index e = at[i]; e < at[i + 1]; ++e)
          if (from.data()[e] < 0 || from.data()[e] >= s)
            fail<IndexError>(op, {"edge ", e, " goes from ", from.data()[e], " to ", i, ", there are ", s, " sources"},
                             {}, site);
      name_destinations();
      input_order = arange<cpu::GraphIndex>(count);
      source_offsets = counts(s, count, [&](Index e) { return from.data()[e]; });
      edge_by_source = detail::fresh<cpu::GraphIndex>({count});
      destination_by_source = detail::fresh<cpu::GraphIndex>({count});
      turn_round();
    }

    void check_sizes(Index count, Site site) const {
      if (sources < 0 || destinations < 0) fail("Graph", "negative number of nodes", {}, site);
      if (std::max({sources, destinations, count}) > std::numeric_limits<cpu::GraphIndex>::max())
        fail("Graph",
             {sources, " sources, ", destinations, " destinations and ", count, " edges are more than 2^31 - 1"}, {},
             site);
    }
    /// The destination of each edge, from where its row begins.
    void name_destinations() {
      destination_of = detail::fresh<cpu::GraphIndex>({source_of.count()});
      for (Index i = 0; i < destinations; ++i)
        std::fill(detail::writable(destination_of) + offsets.data()[i],
                  detail::writable(destination_of) + offsets.data()[i + 1], static_cast<cpu::GraphIndex>(i));
    }
    /// The arrays in source order, from those in destination order: a stable counting sort by source.
    void turn_round() {
      const Index count = source_of.count();
      place(
          source_offsets, count, [&](Index at) { return source_of.data()[at]; },
          [&](Index rank, Index at) {
            detail::writable(destination_by_source)[rank] = destination_of.data()[at];
            detail::writable(edge_by_source)[rank] = static_cast<cpu::GraphIndex>(at);
          });
      input_by_source = edge_by_source;
      if (list_is_sorted) return;
      input_by_source = detail::fresh<cpu::GraphIndex>({count});
      for (Index rank = 0; rank < count; ++rank)
        detail::writable(input_by_source)[rank] = input_order.data()[edge_by_source.data()[rank]];
    }

    template <class Key>
    static Tensor<std::int64_t> counts(Index nodes, Index count, Key key) {
      Tensor<std::int64_t> offsets = zeros<std::int64_t>({nodes + 1});
      std::int64_t* at = detail::writable(offsets);
      for (Index e = 0; e < count; ++e) ++at[key(e) + 1];
      for (Index i = 0; i < nodes; ++i) at[i + 1] += at[i];
      return offsets;
    }
    template <class Key, class Put>
    static void place(const Tensor<std::int64_t>& offsets, Index count, Key key, Put put) {
      std::vector<Index> next(offsets.span().begin(), offsets.span().end());
      for (Index e = 0; e < count; ++e) put(next[static_cast<std::size_t>(key(e))]++, e);
    }
  };
  explicit Graph(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

/// The list that the graph was made from, in its order.
inline std::vector<GraphEdge> edge_list(const Graph& graph) {
  std::vector<GraphEdge> edges(static_cast<std::size_t>(graph.edges()));
  for (Index e = 0; e < graph.edges(); ++e)
    edges[static_cast<std::size_t>(graph.input_order().data()[e])] = {graph.source_of().data()[e],
                                                                      graph.destination_of().data()[e]};
  return edges;
}

namespace detail {

inline cpu::GraphArrays arrays(const Graph& graph) {
  return {{graph.destinations(), graph.offsets().data(), graph.source_of().data()},
          {graph.sources(), graph.source_offsets().data(), graph.destination_by_source().data()},
          graph.edge_by_source().data()};
}

}  // namespace detail

/// The same edges and, after them in the list, one from every node to itself where it is missing, in the order of the
/// nodes. Throws ValueError unless the graph is on one set of nodes.
inline Graph with_self_loops(const Graph& graph, Site site = Site::current()) {
  if (graph.sources() != graph.destinations()) fail("with_self_loops", "the graph is bipartite", {}, site);
  std::vector<GraphEdge> edges = edge_list(graph);
  std::vector<bool> has_loop(static_cast<std::size_t>(graph.destinations()));
  for (const GraphEdge& edge : edges)
    if (edge.source == edge.destination) has_loop[static_cast<std::size_t>(edge.source)] = true;
  for (Index i = 0; i < graph.destinations(); ++i)
    if (!has_loop[static_cast<std::size_t>(i)]) edges.push_back({i, i});
  return Graph(graph.sources(), edges, site);
}

/// The disjoint union: nodes and edges of each graph follow those of the one before it; no edge crosses.
inline Graph disjoint_union(std::span<const Graph> graphs, Site site = Site::current()) {
  std::vector<GraphEdge> edges;
  Index sources = 0, destinations = 0;
  for (const Graph& graph : graphs) {
    for (const GraphEdge& edge : edge_list(graph))
      edges.push_back({edge.source + sources, edge.destination + destinations});
    sources += graph.sources();
    destinations += graph.destinations();
  }
  return Graph(sources, destinations, edges, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
