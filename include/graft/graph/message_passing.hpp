#pragma once
// Layers of one's own: a message along each edge, an aggregate of the messages into each node, and whatever the layer
// does with it. Gilmer, Schoenholz, Riley, Vinyals, Dahl, "Neural message passing for quantum chemistry", ICML 2017.
//
// Messages that are rows of the sources, weighted or not, go through fused ops, which never make a row for each edge;
// any other message is a lambda on rows of edges.

#include <type_traits>

#include "graft/ops/neighbours.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How the messages into a node are joined; a node without edges gets 0.
enum class Aggregate { sum, mean, max, min };

/// The message of an edge is the row of its source: x [sources, ...].
template <class T>
struct SourceMessage {
  Tensor<T> x;
};
/// The message is the row of its source times the edge's weight: [edges], or [edges, heads] for x [sources, heads,
/// width].
template <class T>
struct WeightedMessage {
  Tensor<T> x, weights;
};
/// The message is the row of its source times the softmax of the edges' scores over each destination; scores as the
/// weights of `WeightedMessage`.
template <class T>
struct AttendedMessage {
  Tensor<T> x, scores;
};

template <class T>
SourceMessage(Tensor<T>) -> SourceMessage<T>;
template <class T>
WeightedMessage(Tensor<T>, Tensor<T>) -> WeightedMessage<T>;
template <class T>
AttendedMessage(Tensor<T>, Tensor<T>) -> AttendedMessage<T>;

/// Messages [edges, ...] in the order of the graph's list, joined: -> [destinations, ...]. Throws ShapeError.
template <Real T>
Tensor<T> aggregate_edges(const Graph& graph, const Tensor<T>& messages, Aggregate how = Aggregate::sum,
                          Site site = Site::current()) {
  switch (how) {
    case Aggregate::mean:
      return edge_mean(graph, messages, site);
    case Aggregate::max:
      return edge_max(graph, messages, site);
    case Aggregate::min:
      return edge_min(graph, messages, site);
    default:
      return edge_sum(graph, messages, site);
  }
}

/// The aggregate of the sources' rows: -> [destinations, ...], fused.
template <Real T>
Tensor<T> propagate(const Graph& graph, const SourceMessage<T>& message, Aggregate how = Aggregate::sum,
                    Site site = Site::current()) {
  switch (how) {
    case Aggregate::mean:
      return neighbour_mean(graph, message.x, site);
    case Aggregate::max:
      return neighbour_max(graph, message.x, site);
    case Aggregate::min:
      return neighbour_min(graph, message.x, site);
    default:
      return neighbour_sum(graph, message.x, site);
  }
}
/// The sum of the sources' weighted rows: -> [destinations, ...], fused.
template <Real T>
Tensor<T> propagate(const Graph& graph, const WeightedMessage<T>& message, Site site = Site::current()) {
  return neighbour_sum(graph, message.x, message.weights, site);
}
/// The sum of the sources' rows by attention: -> [destinations, ...], fused.
template <Real T>
Tensor<T> propagate(const Graph& graph, const AttendedMessage<T>& message, Site site = Site::current()) {
  return neighbour_sum(graph, message.x, edge_softmax(graph, message.scores, site), site);
}

/// The aggregate of message(source row, destination row, edge features), called once on rows of all edges, [edges,
/// ...] each, in the order of the list. A message of fewer arguments is called without the last ones, and rows that
/// nobody reads are not made. `sources` [sources, ...], `destinations` [destinations, ...], `edge_features` [edges,
/// ...] -> [destinations, ...]. Throws ShapeError.
template <Real T, class Message>
Tensor<T> propagate(const Graph& graph, const Message& message, const Tensor<T>& sources,
                    const std::type_identity_t<Tensor<T>>& destinations = {},
                    const std::type_identity_t<Tensor<T>>& edge_features = {}, Aggregate how = Aggregate::sum,
                    Site site = Site::current()) {
  using Rows = const Tensor<T>&;
  if constexpr (std::is_invocable_v<const Message&, Rows, Rows, Rows>)
    return aggregate_edges(
        graph, message(source_rows(graph, sources, site), destination_rows(graph, destinations, site), edge_features),
        how, site);
  else if constexpr (std::is_invocable_v<const Message&, Rows, Rows>)
    return aggregate_edges(
        graph, message(source_rows(graph, sources, site), destination_rows(graph, destinations, site)), how, site);
  else
    return aggregate_edges(graph, message(source_rows(graph, sources, site)), how, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
