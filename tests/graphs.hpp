#pragma once
// Graphs and features that tests of graph layers share.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/ops/csr.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"

using EdgeList = std::vector<graft::GraphEdge>;
using graft::Index;

inline EdgeList random_edge_list(Index sources, Index destinations, Index count, std::uint64_t seed) {
  const graft::Random random(seed);
  EdgeList edges;
  for (Index e = 0; e < count; ++e)
    edges.push_back({random.below(static_cast<std::uint64_t>(2 * e), sources),
                     random.below(static_cast<std::uint64_t>(2 * e + 1), destinations)});
  return edges;
}
/// Each edge both ways round.
inline EdgeList both_ways(const EdgeList& edges) {
  EdgeList both;
  for (const graft::GraphEdge& e : edges) {
    both.push_back(e);
    both.push_back({e.destination, e.source});
  }
  return both;
}
/// Every node hears every node, itself too.
inline graft::Graph complete_graph(Index nodes) {
  EdgeList edges;
  for (Index i = 0; i < nodes; ++i)
    for (Index j = 0; j < nodes; ++j) edges.push_back({j, i});
  return graft::Graph(nodes, edges);
}
/// Nodes in a ring, first + (0, 1 .. length - 1), each edge both ways round.
inline EdgeList ring(Index length, Index first = 0) {
  EdgeList edges;
  for (Index i = 0; i < length; ++i) edges.push_back({first + i, first + (i + 1) % length});
  return both_ways(edges);
}
/// Each node by itself, with an edge to itself.
inline graft::Graph loops_only(Index nodes) { return graft::with_self_loops(graft::Graph(nodes, EdgeList{})); }

inline graft::Tensor<double> normal_numbers(const graft::Shape& shape, std::uint64_t stream) {
  return graft::randn<double>(shape, graft::Random(11).stream(stream));
}
/// Rows of x in the order `order`.
inline graft::Tensor<double> rows_in_order(const graft::Tensor<double>& x, const std::vector<Index>& order) {
  return graft::gather(x, graft::from_vector(std::vector<std::int64_t>(order.begin(), order.end())));
}

/// Checks derivatives of orders 1 to 3 of a random projection of sin(call(model)): linear maps have them too.
template <class M, class Call>
void check_orders(const M& model, Call call, std::uint64_t seed = 1) {
  const auto scalar = [&](const M& at) {
    const graft::Tensor<double> y = call(at);
    return graft::sum(graft::sin(y) * normal_numbers(y.shape(), 500 + seed));
  };
  // Steps are short, so that no kink of a ReLU or of a maximum lies within one.
  const graft::CheckGradientsResult result =
      graft::check_gradients(scalar, model, {.orders = 3, .step = 1e-4, .random = graft::Random(seed)});
  for (double error : result.errors) CHECK(error <= 1e-6);
}
