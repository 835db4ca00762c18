#pragma once
// Ops over the neighbourhoods of a graph. Those that read rows of nodes never make a row for each edge. A tensor about
// edges, [edges, ...], is in the order of the list that the graph was made from; that costs nothing where the list was
// in destination order (`Graph::list_is_sorted`). Sums over a neighbourhood run in destination order, so bits depend
// neither on threads nor on the order of the list.
//
// Sums and dot products are closed under differentiation, so each has derivatives of any order.

#include "graft/backend/cpu/neighbours.hpp"
#include "graft/ops/csr.hpp"
#include "graft/ops/segment.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// What errors say of a graph.
inline constexpr const char* kGraphSizes = "graph (sources, destinations, edges)";
inline Shape graph_sizes(const Graph& graph) { return {graph.sources(), graph.destinations(), graph.edges()}; }

/// Throws unless x has a row for each of `rows`.
template <class T>
void check_rows_of(const char* op, const char* name, const Tensor<T>& x, Index rows, const char* of, const Graph& graph,
                   Site site) {
  if (x.rank() < 1 || x.size(0) != rows)
    fail<ShapeError>(op, {name, " needs a row for each of the graph's ", rows, " ", of},
                     {{name, x.shape()}, {kGraphSizes, graph_sizes(graph)}}, site);
}
/// Where numbers of edges lie, for the walks by destination or, `back`, by source; null: where they are walked.
inline const cpu::GraphIndex* edge_places(const Graph& graph, bool back) {
  if (back) return graph.input_by_source().data();
  return graph.list_is_sorted() ? nullptr : graph.input_order().data();
}
/// The rows of edges that belong to each node, as its neighbours.
inline cpu::GraphSide edge_side(const Graph& graph, bool of_sources) {
  if (of_sources) return {graph.sources(), graph.source_offsets().data(), graph.input_by_source().data()};
  return {graph.destinations(), graph.offsets().data(), graph.input_order().data()};
}

template <class T>
Tensor<T> neighbour_dots(const char* op, const Graph& graph, const Tensor<T>& a, const Tensor<T>& b, const Shape& shape,
                         Site site = {});

/// out_i = sum over the edges e from j to i of w_e x_j, with w = 1 for an empty handle; `back`: over the edges from i
/// to j. `w` is [edges], or [edges, heads] for x [rows, heads, width].
template <class T>
Tensor<T> neighbour_total(const char* op, const Graph& graph, bool back, const Tensor<T>& x, const Tensor<T>& w,
                          Site site = {}) {
  const cpu::GraphArrays arrays = detail::arrays(graph);
  const cpu::GraphSide& side = back ? arrays.by_source : arrays.by_destination;
  Tensor<T> value = fresh<T>(x.shape().with(0, side.rows), op, site);
  const Index row = inner_count(x.shape(), 0);
  if (!w.defined()) {
    cpu::neighbour_sum(side, x.data(), row, writable(value));
    return record(op, std::move(value),
                  Edge(x, [op, graph, back](const Tensor<T>& g) { return neighbour_total(op, graph, !back, g, {}); }));
  }
  const Index heads = w.rank() == 2 ? w.size(1) : 1;
  cpu::weighted_neighbour_sum(side, edge_places(graph, back), w.data(), x.data(), heads, heads ? row / heads : 0,
                              writable(value));
  return record(op, std::move(value),
                Edge(x, [op, graph, back, w](const Tensor<T>& g) { return neighbour_total(op, graph, !back, g, w); }),
                Edge(w, [op, graph, back, x, shape = w.shape()](const Tensor<T>& g) {
                  return back ? neighbour_dots(op, graph, x, g, shape) : neighbour_dots(op, graph, g, x, shape);
                }));
}

/// s_e = <a_i, b_j> for the edges e from j to i, of the shape of the weights of `neighbour_total`.
template <class T>
Tensor<T> neighbour_dots(const char* op, const Graph& graph, const Tensor<T>& a, const Tensor<T>& b, const Shape& shape,
                         Site site) {
  Tensor<T> value = fresh<T>(shape, op, site);
  const Index heads = shape.rank() == 2 ? shape[1] : 1, row = inner_count(a.shape(), 0);
  cpu::neighbour_dots(arrays(graph).by_destination, edge_places(graph, false), a.data(), b.data(), heads,
                      heads ? row / heads : 0, writable(value));
  return record(op, std::move(value),
                Edge(a, [op, graph, b](const Tensor<T>& g) { return neighbour_total(op, graph, false, b, g); }),
                Edge(b, [op, graph, a](const Tensor<T>& g) { return neighbour_total(op, graph, true, a, g); }));
}

/// One over the number of edges into each node, [destinations, 1, ...] of the given rank; 0 where there are none.
template <class T>
Tensor<T> edge_shares(const Graph& graph, int rank) {
  Shape column{graph.destinations()};
  while (column.rank() < rank) column.push_back(1);
  const Tensor<T> shares = fresh<T>(column);
  const std::int64_t* at = graph.offsets().data();
  for (Index i = 0; i < graph.destinations(); ++i)
    writable(shares)[i] = at[i] == at[i + 1] ? T(0) : 1 / static_cast<T>(at[i + 1] - at[i]);
  return shares;
}

/// u summed by the edges that lead from an extreme, number by number: u [sources, ...] to [destinations, ...] or,
/// `back`, the other way. Where the extremes are is locally constant, so this is linear in u, and the two ways are each
/// other's transpose.
template <int Sign, class T>
Tensor<T> selected_total(const char* op, const Graph& graph, bool back, const Tensor<T>& x, const Tensor<T>& extreme,
                         const Tensor<T>& u) {
  const cpu::GraphArrays arrays = detail::arrays(graph);
  const cpu::GraphSide& side = back ? arrays.by_source : arrays.by_destination;
  Tensor<T> value = fresh<T>(x.shape().with(0, side.rows));
  const Index width = inner_count(x.shape(), 0);
  const T* numbers = u.defined() ? u.data() : nullptr;
  if (back)
    cpu::fold_neighbours(side, width, cpu::SelectStep<T, Sign, false>{x.data(), extreme.data(), numbers},
                         writable(value));
  else
    cpu::fold_neighbours(side, width, cpu::SelectStep<T, Sign, true>{x.data(), extreme.data(), numbers},
                         writable(value));
  if (!u.defined()) return value;
  return record(op, std::move(value), Edge(u, [op, graph, back, x, extreme](const Tensor<T>& g) {
                  return selected_total<Sign>(op, graph, !back, x, extreme, g);
                }));
}
template <int Sign, class T>
Tensor<T> neighbour_extreme(const char* op, const Graph& graph, const Tensor<T>& x, Site site) {
  check_rows_of(op, "x", x, graph.sources(), "sources", graph, site);
  Tensor<T> value = fresh<T>(x.shape().with(0, graph.destinations()), op, site);
  cpu::fold_neighbours(arrays(graph).by_destination, inner_count(x.shape(), 0), cpu::ExtremeStep<T, Sign>{x.data()},
                       writable(value));
  if (!recorded(x)) return value;
  return record(op, value, Edge(x, [op, graph, x = x.detach(), value](const Tensor<T>& g) {
                  const Tensor<T> ties = selected_total<Sign>(op, graph, false, x, value, Tensor<T>());
                  return selected_total<Sign>(op, graph, true, x, value, g / maximum(ties, Tensor<T>(T(1))));
                }));
}

template <class T>
Tensor<T> edge_total(const char* op, const Graph& graph, bool of_sources, const Tensor<T>& x, Site site = {});

/// The row of its source or destination for each edge, in list order. The transpose of `edge_total`.
template <class T>
Tensor<T> edge_rows(const char* op, const Graph& graph, bool of_sources, const Tensor<T>& x, Site site = {}) {
  Tensor<T> value = fresh<T>(x.shape().with(0, graph.edges()), op, site);
  cpu::spread_rows(edge_side(graph, of_sources), x.data(), inner_count(x.shape(), 0), writable(value));
  return record(op, std::move(value),
                Edge(x, [op, graph, of_sources](const Tensor<T>& g) { return edge_total(op, graph, of_sources, g); }));
}
/// The sum of the rows of its edges, in list order, for each source or destination.
template <class T>
Tensor<T> edge_total(const char* op, const Graph& graph, bool of_sources, const Tensor<T>& x, Site site) {
  const cpu::GraphSide side = edge_side(graph, of_sources);
  Tensor<T> value = fresh<T>(x.shape().with(0, side.rows), op, site);
  cpu::neighbour_sum(side, x.data(), inner_count(x.shape(), 0), writable(value));
  return record(op, std::move(value),
                Edge(x, [op, graph, of_sources](const Tensor<T>& g) { return edge_rows(op, graph, of_sources, g); }));
}

template <class T>
Tensor<T> edges_moved(const char* op, const Graph& graph, bool back, const Tensor<T>& x, Site site) {
  check_rows_of(op, "x", x, graph.edges(), "edges", graph, site);
  if (graph.list_is_sorted()) return x;
  Tensor<T> value = fresh<T>(x.shape(), op, site);
  cpu::permute_rows(graph.input_order().data(), back, graph.edges(), inner_count(x.shape(), 0), x.data(),
                    writable(value));
  if constexpr (Real<T>)
    return record(op, std::move(value),
                  Edge(x, [op, graph, back](const Tensor<T>& g) { return edges_moved(op, graph, !back, g, Site()); }));
  else
    return value;
}

}  // namespace detail

/// Rows of edges [edges, ...] from the order of the list to destination order, as the graph's arrays are.
template <class T>
Tensor<T> to_destination_order(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  return detail::edges_moved("to_destination_order", graph, false, x, site);
}
/// Rows of edges [edges, ...] from destination order to the order of the list.
template <class T>
Tensor<T> to_list_order(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  return detail::edges_moved("to_list_order", graph, true, x, site);
}

/// out_i = sum over the edges j -> i of x_j: x [sources, ...] -> [destinations, ...]; 0 for a node without edges.
/// Repeated edges count as often. Throws ShapeError.
template <Real T>
Tensor<T> neighbour_sum(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_rows_of("neighbour_sum", "x", x, graph.sources(), "sources", graph, site);
  return detail::neighbour_total("neighbour_sum", graph, false, x, Tensor<T>(), site);
}
/// out_i = sum over the edges e: j -> i of w_e x_j. `weights` w [edges] for x [sources, ...] -> [destinations, ...], or
/// [edges, heads] for x [sources, heads, width] -> [destinations, heads, width]; a gradient flows to both. With one
/// weight an edge, an edge of weight 0 counts for nothing, against infinities too. Throws ShapeError.
template <Real T>
Tensor<T> neighbour_sum(const Graph& graph, const Tensor<T>& x, const Tensor<T>& weights, Site site = Site::current()) {
  const char* op = "neighbour_sum";
  detail::check_rows_of(op, "x", x, graph.sources(), "sources", graph, site);
  detail::check_rows_of(op, "weights", weights, graph.edges(), "edges", graph, site);
  if (weights.rank() > 2 || (weights.rank() == 2 && (x.rank() != 3 || x.size(1) != weights.size(1))))
    fail<ShapeError>(
        op, "weights must be [edges], or [edges, heads] for x [sources, heads, width]",
        {{"x", x.shape()}, {"weights", weights.shape()}, {detail::kGraphSizes, detail::graph_sizes(graph)}}, site);
  return detail::neighbour_total(op, graph, false, x, weights, site);
}

/// s_e = a_i . b_j for every edge e: j -> i. `a` [destinations, width], `b` [sources, width] -> [edges], or with heads
/// [destinations, heads, width], [sources, heads, width] -> [edges, heads]. Throws ShapeError.
template <Real T>
Tensor<T> edge_dot(const Graph& graph, const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  const char* op = "edge_dot";
  detail::check_rows_of(op, "a", a, graph.destinations(), "destinations", graph, site);
  detail::check_rows_of(op, "b", b, graph.sources(), "sources", graph, site);
  if (a.rank() < 2 || a.rank() > 3 || !(a.shape().with(0, 0) == b.shape().with(0, 0)))
    fail<ShapeError>(op, "expected [destinations, width] and [sources, width], or both with heads before the width",
                     {{"a", a.shape()}, {"b", b.shape()}, {detail::kGraphSizes, detail::graph_sizes(graph)}}, site);
  const Index edges = graph.edges();
  return detail::neighbour_dots(op, graph, a, b, a.rank() == 3 ? Shape{edges, a.size(1)} : Shape{edges}, site);
}

/// Mean of x_j over the edges j -> i: x [sources, ...] -> [destinations, ...]; 0 for a node without edges. Throws
/// ShapeError.
template <Real T>
Tensor<T> neighbour_mean(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_rows_of("neighbour_mean", "x", x, graph.sources(), "sources", graph, site);
  return detail::neighbour_total("neighbour_mean", graph, false, x, Tensor<T>(), site) *
         detail::edge_shares<T>(graph, x.rank());
}
/// Largest number of x_j over the edges j -> i, column by column: x [sources, ...] -> [destinations, ...]; 0 for a node
/// without edges. Edges from equal maxima share the gradient. Throws ShapeError.
template <Real T>
Tensor<T> neighbour_max(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  return detail::neighbour_extreme<1>("neighbour_max", graph, x, site);
}
/// Smallest number; see `neighbour_max`.
template <Real T>
Tensor<T> neighbour_min(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  return detail::neighbour_extreme<-1>("neighbour_min", graph, x, site);
}

/// The softmax over each destination's edges: `scores` [edges] or [edges, heads] -> the same shape, both in the order
/// of the list. Scores of nothing but -inf give zeros, and a zero gradient. Throws ShapeError.
template <Real T>
Tensor<T> edge_softmax(const Graph& graph, const Tensor<T>& scores, Site site = Site::current()) {
  detail::check_rows_of("edge_softmax", "scores", scores, graph.edges(), "edges", graph, site);
  return to_list_order(graph, segment_softmax(to_destination_order(graph, scores, site), graph.offsets(), site), site);
}

/// The row of its source for each edge: x [sources, ...] -> [edges, ...], in the order of the list. Throws ShapeError.
template <Real T>
Tensor<T> source_rows(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_rows_of("source_rows", "x", x, graph.sources(), "sources", graph, site);
  return detail::edge_rows("source_rows", graph, true, x, site);
}
/// The row of its destination for each edge: x [destinations, ...] -> [edges, ...], in the order of the list. Throws
/// ShapeError.
template <Real T>
Tensor<T> destination_rows(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_rows_of("destination_rows", "x", x, graph.destinations(), "destinations", graph, site);
  return detail::edge_rows("destination_rows", graph, false, x, site);
}

/// Sum of the rows of the edges into each destination: x [edges, ...], in the order of the list, -> [destinations,
/// ...]. Throws ShapeError.
template <Real T>
Tensor<T> edge_sum(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_rows_of("edge_sum", "x", x, graph.edges(), "edges", graph, site);
  return detail::edge_total("edge_sum", graph, false, x, site);
}
/// Mean of the rows of the edges into each destination; 0 where there are none. See `edge_sum`.
template <Real T>
Tensor<T> edge_mean(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_rows_of("edge_mean", "x", x, graph.edges(), "edges", graph, site);
  return detail::edge_total("edge_mean", graph, false, x, site) * detail::edge_shares<T>(graph, x.rank());
}
/// Largest number of every column over the edges into each destination; 0 where there are none. Equal maxima share the
/// gradient. See `edge_sum`.
template <Real T>
Tensor<T> edge_max(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_rows_of("edge_max", "x", x, graph.edges(), "edges", graph, site);
  return segment_max(to_destination_order(graph, x, site), graph.offsets(), site);
}
/// Smallest number; see `edge_max`.
template <Real T>
Tensor<T> edge_min(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_rows_of("edge_min", "x", x, graph.edges(), "edges", graph, site);
  return segment_min(to_destination_order(graph, x, site), graph.offsets(), site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
