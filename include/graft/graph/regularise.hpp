#pragma once
// Against over-smoothing, and a meter of it.

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "graft/graph/structure.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Each edge of the list stays with probability 1 - `rate`, in the order of the list. With `both_ways` all edges
/// between two nodes, whichever way they lead, share their fate. Rong, Huang, Xu, Huang, "DropEdge: towards deep graph
/// convolutional networks on node classification", ICLR 2020. Draws from `random` only. Throws ValueError for a rate
/// outside [0, 1).
inline EdgeSelection drop_edges(const Graph& graph, double rate, const Random& random, bool both_ways = false,
                                Site site = Site::current()) {
  if (!(rate >= 0 && rate < 1)) fail("drop_edges", {"rate is ", rate, ", expected [0, 1)"}, {}, site);
  std::vector<GraphEdge> edges;
  std::vector<std::int64_t> kept;
  std::int64_t place = 0;
  for (const GraphEdge& edge : edge_list(graph)) {
    const Index low = std::min(edge.source, edge.destination), high = std::max(edge.source, edge.destination);
    const Index key = both_ways ? low * std::max(graph.sources(), graph.destinations()) + high : place;
    if (random.uniform(static_cast<std::uint64_t>(key)) >= rate) {
      edges.push_back(edge);
      kept.push_back(place);
    }
    ++place;
  }
  return detail::selected(graph, edges, kept, site);
}

/// `drop_edges` in training, all edges in evaluation. Every call takes the context's next stream named "drop edges".
/// Add self-loops and normalise after it. Configuration, not a model: leave it out of GRAFT_FIELDS.
struct DropEdge {
  double rate = 0.5;
  bool both_ways = false;

  EdgeSelection operator()(const Graph& graph, ContextRef context, Site site = Site::current()) const {
    const bool training = context->training();
    return drop_edges(graph, training ? rate : 0, training ? context->stream("drop edges") : Random(), both_ways, site);
  }
};

/// How `jumping_knowledge` joins layers.
enum class Jump { concatenate, max };

/// The outputs of several layers in one: [nodes, width] each, side by side [nodes, sum of widths], or the largest,
/// number by number, [nodes, width]. Xu, Li, Tian, Sonobe, Kawarabayashi, Jegelka, "Representation learning on graphs
/// with jumping knowledge networks", ICML 2018. Throws ShapeError, ValueError for no layers.
template <Real T>
Tensor<T> jumping_knowledge(const std::vector<Tensor<T>>& layers, Jump how = Jump::concatenate,
                            Site site = Site::current()) {
  if (layers.empty()) fail("jumping_knowledge", "of no layers", {}, site);
  return how == Jump::concatenate ? concat(layers, 1, site) : max(stack(layers, 0, site), {0}, false, site);
}

/// How much x [nodes, width] varies along the edges, 1/2 sum |x_i / sqrt(1 + d_i) - x_j / sqrt(1 + d_j)|^2 over the
/// edges j -> i of an undirected graph, d_i the number of edges into i, those from a node to itself left out: x^T (I -
/// S) x for the S of GCN, a product with which never makes it larger. It falls to 0 as layers smooth. Cai, Wang, "A
/// note on over-smoothing for graph neural networks", 2020. Carries no gradient. Throws ShapeError.
template <Real T>
double dirichlet_energy(const Graph& graph, const Tensor<T>& x, Site site = Site::current()) {
  detail::check_one_set("dirichlet_energy", graph, site);
  if (x.rank() != 2 || x.size(0) != graph.sources())
    fail<ShapeError>("dirichlet_energy", "x must be [nodes, width]",
                     {{"x", x.shape()}, {detail::kGraphSizes, detail::graph_sizes(graph)}}, site);
  const auto width = static_cast<std::size_t>(x.size(1));
  const std::span numbers = host(x);
  const std::vector<GraphEdge> edges = edge_list(graph);
  std::vector<double> degrees(static_cast<std::size_t>(graph.sources()));
  for (const GraphEdge& edge : edges)
    degrees[static_cast<std::size_t>(edge.destination)] += edge.source != edge.destination;
  double energy = 0;
  for (const GraphEdge& edge : edges) {
    const auto i = static_cast<std::size_t>(edge.destination), j = static_cast<std::size_t>(edge.source);
    const double of_i = 1 / std::sqrt(1 + degrees[i]), of_j = 1 / std::sqrt(1 + degrees[j]);
    for (std::size_t w = 0; w < width; ++w) {
      const double gap =
          static_cast<double>(numbers[i * width + w]) * of_i - static_cast<double>(numbers[j * width + w]) * of_j;
      energy += gap * gap;
    }
  }
  return energy / 2;
}

}  // namespace GRAFT_ABI
}  // namespace graft
