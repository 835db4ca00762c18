// Rows for the ops over neighbourhoods (ops/neighbours.hpp). The graph is made from the numbers of nodes and edges.

#include <algorithm>
#include <cmath>
#include <limits>

#include "graft/ops/neighbours.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

using Edges = std::vector<GraphEdge>;
using Group = std::vector<double>;

/// As many edges, in no order: every fifth repeats the one before it, and the last third of the destinations has none.
Edges edges_of(Index sources, Index destinations, Index count) {
  Edges edges;
  const Index heard = destinations - destinations / 3;
  for (Index e = 0; e < count; ++e)
    edges.push_back(e % 5 == 4 ? edges.back() : GraphEdge{(3 * e + e / 7) % sources, (e * e + 5 * e + 2) % heard});
  return edges;
}
/// The same in destination order where `sorted`, so that nothing has to be moved.
Edges listed(Index sources, Index destinations, Index count, bool sorted) {
  Edges edges = edges_of(sources, destinations, count);
  if (sorted)
    std::stable_sort(edges.begin(), edges.end(), [](const GraphEdge& a, const GraphEdge& b) {
      return std::pair(a.destination, a.source) < std::pair(b.destination, b.source);
    });
  return edges;
}
Index destinations_for(Index sources) { return sources + 2; }
Index edges_for(Index sources) { return sources == 0 ? 0 : 3 * sources + 1; }
/// From a number of sources, for ops whose inputs say no more.
Edges edges_from(Index sources) { return listed(sources, destinations_for(sources), edges_for(sources), false); }
Graph graph_from(Index sources) { return Graph(sources, destinations_for(sources), edges_from(sources)); }

Index row_of(const Shape& shape) {
  Index width = 1;
  for (int a = 1; a < shape.rank(); ++a) width *= shape[a];
  return width;
}
std::size_t place(Index i) { return static_cast<std::size_t>(i); }

/// f on the numbers at the sources of each destination's edges, column by column.
template <class F>
Tensor<double> by_neighbourhood(const Tensor<double>& x, F f) {
  const Index destinations = destinations_for(x.size(0)), width = row_of(x.shape());
  std::vector<double> out;
  for (Index i = 0; i < destinations; ++i)
    for (Index w = 0; w < width; ++w) {
      Group group;
      for (const GraphEdge& edge : edges_from(x.size(0)))
        if (edge.destination == i) group.push_back(x.data()[edge.source * width + w]);
      out.push_back(f(group));
    }
  return array(x.shape().with(0, destinations), out);
}
double sum_of(const Group& group) {
  double total = 0;
  for (double v : group) total += v;
  return total;
}
double mean_of(const Group& group) { return group.empty() ? 0 : sum_of(group) / static_cast<double>(group.size()); }
double highest(const Group& group) { return group.empty() ? 0 : *std::max_element(group.begin(), group.end()); }
double lowest(const Group& group) { return group.empty() ? 0 : *std::min_element(group.begin(), group.end()); }

/// Squared, so that orders above the first are not all zero.
template <class Op, class F>
OpRow node_row(const char* name, Op op, F f) {
  return {.name = name,
          .family = "graph",
          .call = [op](const auto& x) { return square(op(graph_from(x[0].size(0)), x[0])); },
          .inputs = {{.shape = {5, 3}, .low = -2, .high = 2, .spaced = true}},
          .reference =
              [f](const Arrays& x) {
                return by_neighbourhood(x[0], [f](const Group& group) { return f(group) * f(group); });
              },
          .variants = {{{4, 2, 3}}, {{6}}, {{1}}, {{1, 1}}, {{3, 16}}, {{2, 70}}, {{2, 129}}, {{0, 3}}, {{3, 0}}},
          .large = {{700, 33}},
          .errors = {bad<ShapeError>([op](const auto& x) { op(graph_from(6), x[0]); }, "6 sources"),
                     bad<ShapeError>([op](const auto& x) { op(graph_from(5), sum(x[0])); }, "x []"),
                     bad<ShapeError>([op](const auto& x) { op(Graph(), x[0]); }, "[0, 0, 0]")}};
}

/// Sums with weights [edges], or [edges, heads] for x of rank 3 and weights of rank 2.
Tensor<double> weighted(const Arrays& x, bool sorted) {
  const Index sources = x[0].size(0), destinations = destinations_for(sources), width = row_of(x[0].shape());
  const Index heads = x[1].rank() == 2 ? x[1].size(1) : 1;
  std::vector<double> out(place(destinations * width), 0.0);
  const Edges edges = listed(sources, destinations, x[1].size(0), sorted);
  for (Index e = 0; e < x[1].size(0); ++e)
    for (Index w = 0; w < width; ++w) {
      const GraphEdge& edge = edges[place(e)];
      out[place(edge.destination * width + w)] +=
          x[1].data()[e * heads + w / (width / heads)] * x[0].data()[edge.source * width + w];
    }
  return array(x[0].shape().with(0, destinations), out);
}
template <class T>
Tensor<T> weighted_sum(const Inputs<T>& x, bool sorted) {
  const Index sources = x[0].size(0), destinations = destinations_for(sources);
  return neighbour_sum(Graph(sources, destinations, listed(sources, destinations, x[1].size(0), sorted)), x[0], x[1]);
}
const char* const products_of_both = "gradients are products of both inputs, rounded before they are added";
OpRow weighted_row(const char* name, Shape x, Shape weights, std::vector<std::vector<Shape>> variants,
                   std::vector<Shape> large, bool sorted) {
  return {.name = name,
          .family = "graph",
          .call = [sorted](const auto& x) { return weighted_sum(x, sorted); },
          .inputs = {{x}, {weights}},
          .reference = [sorted](const Arrays& x) { return weighted(x, sorted); },
          .variants = std::move(variants),
          .large = std::move(large),
          .errors = {bad<ShapeError>([](const auto& x) { neighbour_sum(graph_from(6), x[0], x[1]); }, "6 sources"),
                     bad<ShapeError>([](const auto& x) { neighbour_sum(graph_from(5), x[0], x[0]); },
                                     "weights needs a row for each of the graph's 16 edges"),
                     bad<ShapeError>(
                         [](const auto& x) {
                           neighbour_sum(graph_from(5), x[0], zeros<ScalarOf<decltype(x)>>({16, 7}));
                         },
                         "weights [16, 7]")},
          .rounding = {.products = {0, 1}, .because = products_of_both}};
}

Index pairs_for(Index destinations, Index sources) {
  return sources == 0 || destinations == 0 ? 0 : 2 * destinations + 5;
}
Tensor<double> dots(const Arrays& x, bool sorted) {
  const Index destinations = x[0].size(0), sources = x[1].size(0), count = pairs_for(destinations, sources);
  const Index heads = x[0].rank() == 3 ? x[0].size(1) : 1, width = x[0].size(-1);
  std::vector<double> out;
  for (const GraphEdge& edge : listed(sources, destinations, count, sorted))
    for (Index h = 0; h < heads; ++h) {
      double total = 0;
      for (Index w = 0; w < width; ++w)
        total += x[0].data()[(edge.destination * heads + h) * width + w] *
                 x[1].data()[(edge.source * heads + h) * width + w];
      out.push_back(total);
    }
  return array(x[0].rank() == 3 ? Shape{count, heads} : Shape{count}, out);
}
template <class T>
Tensor<T> dots_by_op(const Inputs<T>& x, bool sorted) {
  const Index destinations = x[0].size(0), sources = x[1].size(0), count = pairs_for(destinations, sources);
  return edge_dot(Graph(sources, destinations, listed(sources, destinations, count, sorted)), x[0], x[1]);
}
OpRow dot_row(const char* name, Shape a, Shape b, std::vector<std::vector<Shape>> variants, bool sorted) {
  return {.name = name,
          .family = "graph",
          .call = [sorted](const auto& x) { return dots_by_op(x, sorted); },
          .inputs = {{a}, {b}},
          .reference = [sorted](const Arrays& x) { return dots(x, sorted); },
          .variants = std::move(variants),
          .large = {{3000, 3, 11}, {400, 3, 11}},
          .errors = {bad<ShapeError>([](const auto& x) { edge_dot(graph_from(5), x[0], x[1]); }, "7 destinations"),
                     bad<ShapeError>([](const auto& x) { edge_dot(Graph(9, 6, Edges{}), x[0], x[1]); }, "9 sources"),
                     bad<ShapeError>(
                         [](const auto& x) {
                           using T = ScalarOf<decltype(x)>;
                           edge_dot(graph_from(4), zeros<T>({6, 3}), zeros<T>({4, 2}));
                         },
                         "b [4, 2]"),
                     bad<ShapeError>(
                         [](const auto& x) {
                           using T = ScalarOf<decltype(x)>;
                           edge_dot(graph_from(4), zeros<T>({6}), zeros<T>({4}));
                         },
                         "a [6]")},
          .rounding = {.products = {0, 1}, .because = products_of_both}};
}

/// A list of edges for `count` of them, about four a destination.
Edges edges_with(Index count, bool sorted) { return listed(4, count / 4 + 2, count, sorted); }
Graph graph_with(Index count, bool sorted) { return Graph(4, count / 4 + 2, edges_with(count, sorted)); }
/// f on the numbers of each destination's edges, column by column: a number for the destination.
template <class F>
Tensor<double> by_destination(const Tensor<double>& x, bool sorted, F f) {
  const Index count = x.size(0), destinations = count / 4 + 2, width = row_of(x.shape());
  const Edges edges = edges_with(count, sorted);
  std::vector<double> out;
  for (Index i = 0; i < destinations; ++i)
    for (Index w = 0; w < width; ++w) {
      Group group;
      for (Index e = 0; e < count; ++e)
        if (edges[place(e)].destination == i) group.push_back(x.data()[e * width + w]);
      out.push_back(f(group));
    }
  return array(x.shape().with(0, destinations), out);
}
template <class Op, class F>
OpRow edge_row(const char* name, bool sorted, Op op, F f) {
  return {.name = name,
          .family = "graph",
          .call = [op, sorted](const auto& x) { return square(op(graph_with(x[0].size(0), sorted), x[0])); },
          .inputs = {{.shape = {13, 2}, .low = -2, .high = 2, .spaced = true}},
          .reference =
              [f, sorted](const Arrays& x) {
                return by_destination(x[0], sorted, [f](const Group& group) { return f(group) * f(group); });
              },
          .variants = {{{13}}, {{1}}, {{1, 1}}, {{9, 1, 19}}, {{0, 2}}, {{6, 40}}},
          .large = {{4000, 9}},
          .errors = {bad<ShapeError>([op](const auto& x) { op(graph_with(12, false), x[0]); }, "12 edges"),
                     bad<ShapeError>([op](const auto& x) { op(graph_with(13, false), sum(x[0])); }, "x []")}};
}
OpRow softmax_row(const char* name, bool sorted) {
  return {
      .name = name,
      .family = "graph",
      .call = [sorted](const auto& x) { return edge_softmax(graph_with(x[0].size(0), sorted), x[0]); },
      .inputs = {{{13, 2}, -2, 2}},
      .reference =
          [sorted](const Arrays& x) {
            const Index width = row_of(x[0].shape());
            // Shifted by the highest, as a common part of the scores would swallow the rest of a logarithm.
            const Tensor<double> shifts = by_destination(x[0], sorted, highest);
            const Tensor<double> totals = by_destination(x[0], sorted, [](const Group& group) {
              double total = 0;
              for (double v : group) total += std::exp(v - highest(group));
              return total;
            });
            const Edges edges = edges_with(x[0].size(0), sorted);
            std::vector<double> out;
            for (Index e = 0; e < x[0].size(0); ++e)
              for (Index w = 0; w < width; ++w) {
                const Index at = edges[place(e)].destination * width + w;
                out.push_back(std::exp(x[0].data()[e * width + w] - shifts.data()[at]) / totals.data()[at]);
              }
            return array(x[0].shape(), out);
          },
      .variants = {{{13}}, {{1}}, {{1, 1}}, {{9, 19}}, {{0, 2}}, {{0}}},
      .large = {{9000, 4}},
      .errors = {bad<ShapeError>([](const auto& x) { edge_softmax(graph_with(12, false), x[0]); },
                                 "scores needs a row for each of the graph's 12 edges"),
                 bad<ShapeError>([](const auto& x) { edge_softmax(graph_with(13, false), sum(x[0])); }, "scores []")}};
}

/// The row of an end of each edge.
template <class Op>
OpRow end_row(const char* name, Op op, bool of_source) {
  const auto edges = [=](Index nodes) {
    return of_source ? listed(nodes, 6, 3 * nodes, false) : listed(4, nodes, nodes > 1 ? 3 * nodes : nodes, false);
  };
  const auto graph = [=](Index nodes) {
    return Graph(of_source ? nodes : Index{4}, of_source ? Index{6} : nodes, edges(nodes));
  };
  return {.name = name,
          .family = "graph",
          .call = [=](const auto& x) { return square(op(graph(x[0].size(0)), x[0])); },
          .inputs = {{{5, 3}}},
          .reference =
              [=](const Arrays& x) {
                const Index width = row_of(x[0].shape());
                std::vector<double> out;
                const Edges list = edges(x[0].size(0));
                for (const GraphEdge& edge : list)
                  for (Index w = 0; w < width; ++w) {
                    const double v = x[0].data()[(of_source ? edge.source : edge.destination) * width + w];
                    out.push_back(v * v);
                  }
                return array(x[0].shape().with(0, static_cast<Index>(list.size())), out);
              },
          .variants = {{{4, 2, 3}}, {{6}}, {{1, 1}}, {{0, 3}}, {{3, 0}}, {{2, 70}}},
          .large = {{900, 33}},
          .errors = {bad<ShapeError>([=](const auto& x) { op(graph(6), x[0]); },
                                     of_source ? "6 sources" : "6 destinations")}};
}

/// A row of edges moved, by the list of edges.
template <class Op>
OpRow order_row(const char* name, Op op, bool to_list) {
  return {.name = name,
          .family = "graph",
          .call = [op](const auto& x) { return square(op(graph_with(x[0].size(0), false), x[0])); },
          .inputs = {{{13, 2}}},
          .reference =
              [=](const Arrays& x) {
                const Index count = x[0].size(0), width = row_of(x[0].shape());
                const Edges edges = edges_with(count, false);
                std::vector<Index> order;
                for (Index e = 0; e < count; ++e) order.push_back(e);
                std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
                  const GraphEdge &one = edges[place(a)], &other = edges[place(b)];
                  return std::pair(one.destination, one.source) < std::pair(other.destination, other.source);
                });
                std::vector<double> out(place(count * width));
                for (Index e = 0; e < count; ++e)
                  for (Index w = 0; w < width; ++w) {
                    const Index from = to_list ? e : order[place(e)], to = to_list ? order[place(e)] : e;
                    const double v = x[0].data()[from * width + w];
                    out[place(to * width + w)] = v * v;
                  }
                return array(x[0].shape(), out);
              },
          .variants = {{{13}}, {{1}}, {{9, 1, 19}}, {{0, 2}}},
          .large = {{9000, 9}},
          .errors = {bad<ShapeError>([op](const auto& x) { op(graph_with(12, false), x[0]); }, "12 edges")}};
}

#define GRAFT_GRAPH_OP(op) [](const Graph& graph, const auto& x) { return op(graph, x); }

const bool rows = add_op_rows(
    {node_row("neighbour_sum", GRAFT_GRAPH_OP(neighbour_sum), sum_of),
     node_row("neighbour_mean", GRAFT_GRAPH_OP(neighbour_mean), mean_of),
     node_row("neighbour_max", GRAFT_GRAPH_OP(neighbour_max), highest),
     node_row("neighbour_min", GRAFT_GRAPH_OP(neighbour_min), lowest),
     weighted_row("neighbour_sum, weighted", {5, 3}, {16},
                  {{{4, 2, 3}, {9}},
                   {{5}, {16}},
                   {{1, 1}, {1}},
                   {{3, 16}, {7}},
                   {{2, 70}, {7}},
                   {{3, 4}, {0}},
                   {{0, 3}, {0}},
                   {{3, 0}, {5}}},
                  {{500, 33}, {9000}}, false),
     weighted_row("neighbour_sum, weighted, sorted list", {5, 3}, {16}, {{{1, 1}, {1}}, {{2, 70}, {7}}},
                  {{500, 33}, {9000}}, true),
     weighted_row("neighbour_sum, weights of heads", {5, 2, 3}, {16, 2},
                  {{{5, 1, 3}, {16, 1}},
                   {{6, 3, 19}, {9, 3}},
                   {{6, 2, 8}, {9, 2}},
                   {{4, 4, 16}, {9, 4}},
                   {{4, 17, 1}, {9, 17}},
                   {{1, 1, 1}, {1, 1}},
                   {{3, 2, 3}, {0, 2}},
                   {{0, 2, 3}, {0, 2}},
                   {{3, 2, 0}, {5, 2}}},
                  {{500, 4, 33}, {9000, 4}}, false),
     weighted_row("neighbour_sum, weights of heads, sorted list", {5, 2, 3}, {16, 2},
                  {{{6, 3, 19}, {9, 3}}, {{4, 4, 16}, {9, 4}}, {{4, 17, 1}, {9, 17}}}, {{500, 4, 33}, {9000, 4}}, true),
     dot_row("edge_dot", {6, 3}, {5, 3},
             {{{1, 1}, {1, 1}},
              {{4, 16}, {3, 16}},
              {{4, 70}, {3, 70}},
              {{4, 0}, {3, 0}},
              {{0, 3}, {4, 3}},
              {{3, 3}, {0, 3}}},
             false),
     dot_row("edge_dot, heads", {6, 2, 3}, {5, 2, 3},
             {{{4, 1, 5}, {3, 1, 5}},
              {{4, 3, 19}, {3, 3, 19}},
              {{4, 2, 8}, {3, 2, 8}},
              {{4, 4, 16}, {3, 4, 16}},
              {{4, 17, 1}, {3, 17, 1}},
              {{4, 2, 0}, {3, 2, 0}},
              {{0, 2, 3}, {4, 2, 3}}},
             false),
     dot_row("edge_dot, heads, sorted list", {6, 2, 3}, {5, 2, 3}, {{{4, 4, 16}, {3, 4, 16}}, {{4, 3, 19}, {3, 3, 19}}},
             true),
     edge_row("edge_sum", false, GRAFT_GRAPH_OP(edge_sum), sum_of),
     edge_row("edge_mean", false, GRAFT_GRAPH_OP(edge_mean), mean_of),
     edge_row("edge_max", false, GRAFT_GRAPH_OP(edge_max), highest),
     edge_row("edge_min", false, GRAFT_GRAPH_OP(edge_min), lowest),
     edge_row("edge_sum, sorted list", true, GRAFT_GRAPH_OP(edge_sum), sum_of),
     edge_row("edge_max, sorted list", true, GRAFT_GRAPH_OP(edge_max), highest),
     softmax_row("edge_softmax", false),
     softmax_row("edge_softmax, sorted list", true),
     end_row("source_rows", GRAFT_GRAPH_OP(source_rows), true),
     end_row("destination_rows", GRAFT_GRAPH_OP(destination_rows), false),
     order_row("to_destination_order", GRAFT_GRAPH_OP(to_destination_order), false),
     order_row("to_list_order", GRAFT_GRAPH_OP(to_list_order), true)});

}  // namespace
