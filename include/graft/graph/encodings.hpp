#pragma once
// Features that say where in its graph a node is, for layers that hear all nodes alike.

#include <algorithm>
#include <vector>

#include "graft/graph/normalise.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/linalg_spectral.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Probabilities that a random walk is back where it began after 1, 2 .. `steps` steps: the diagonal of (D^-1 A)^k, A
/// with a 1 for each edge. Dwivedi, Luu, Laurent, Bengio, Bresson, "Graph neural networks with learnable structural and
/// positional representations", ICLR 2022. -> [nodes, steps], at a cost of nodes times edges times steps. Throws
/// ShapeError unless the graph is on one set of nodes, ValueError for negative steps.
template <Real T = float>
Tensor<T> random_walk_encoding(const Graph& graph, Index steps, Site site = Site::current()) {
  detail::check_one_set("random_walk_encoding", graph, site);
  if (steps < 0) fail("random_walk_encoding", {"steps is ", steps, ", expected 0 or more"}, {}, site);
  const SparseMatrix<double> walk = mean_matrix<double>(graph, {}, site);
  const Index nodes = graph.sources(), columns = 64;
  std::vector<T> back(static_cast<std::size_t>(nodes * steps));
  // From so many nodes at a time, since the powers are dense.
  for (Index first = 0; first < nodes; first += columns) {
    const Index count = std::min(columns, nodes - first);
    Tensor<double> at = generate({nodes, count}, [&](Index i, Index j) { return i == first + j ? 1.0 : 0.0; });
    for (Index k = 0; k < steps; ++k) {
      at = matmul(walk, at, {}, site);
      const std::span now = host(at);
      for (Index j = 0; j < count; ++j)
        back[static_cast<std::size_t>((first + j) * steps + k)] =
            static_cast<T>(now[static_cast<std::size_t>((first + j) * count + j)]);
    }
  }
  return from_vector(back, {nodes, steps});
}

/// Eigenvectors of I - D^(-1/2) A D^(-1/2) for the eigenvalues 2 .. `count` + 1 from below, as columns, largest numbers
/// positive: -> [nodes, count], zeros where there are no more. Dwivedi et al., "Benchmarking graph neural networks",
/// JMLR 2023. A is taken as symmetric, without edges from a node to itself. Signs are arbitrary (see `random_signs`),
/// and so are the vectors of equal eigenvalues, which a renumbering of the nodes mixes. Dense, at nodes^3; for one
/// connected graph at a time. Throws ShapeError unless the graph is on one set of nodes, ValueError for a negative
/// count.
template <Real T = float>
Tensor<T> laplacian_encoding(const Graph& graph, Index count, Site site = Site::current()) {
  detail::check_one_set("laplacian_encoding", graph, site);
  if (count < 0) fail("laplacian_encoding", {"count is ", count, ", expected 0 or more"}, {}, site);
  const Index nodes = graph.sources(), found = std::clamp<Index>(nodes - 1, 0, count);
  if (found == 0) return zeros<T>({nodes, count}, site);
  const Graph edges = without_self_loops(graph, site).graph;
  const SparseMatrix<double> adjacency(edges, symmetric_normalised<double>(edges, {}, site), site);
  const Tensor<double> identity = eye<double>(nodes);
  const Tensor<double> vectors = symmetric_eigen(identity - matmul(adjacency, identity, {}, site), site).vectors;
  return cast<T>(pad(slice(vectors, 1, 1, 1 + found), 1, 0, count - found));
}

/// In training the columns of x [nodes, count] times -1 or 1, each with probability 1/2; in evaluation x. `offsets`
/// [graphs + 1] of a batch: drawn for each graph. Throws ShapeError.
template <Real T>
Tensor<T> random_signs(const Tensor<T>& x, const Tensor<std::int64_t>& offsets, ContextRef context,
                       Site site = Site::current()) {
  if (x.rank() != 2) fail<ShapeError>("random_signs", "x must be [nodes, count]", {{"x", x.shape()}}, site);
  if (!context->training()) return x;
  const Random random = context->stream("random signs");
  const Index graphs = offsets.count() - 1, count = x.size(1);
  const Tensor<T> signs = generate({graphs, count}, [&](Index g, Index c) {
    return random.bits(static_cast<std::uint64_t>(g * count + c)) >> 63 ? T(1) : T(-1);
  });
  return x * segment_broadcast(signs, offsets, site);
}
template <Real T>
Tensor<T> random_signs(const Tensor<T>& x, ContextRef context, Site site = Site::current()) {
  if (x.rank() != 2) fail<ShapeError>("random_signs", "x must be [nodes, count]", {{"x", x.shape()}}, site);
  return random_signs(x, from_vector(std::vector<std::int64_t>{0, x.size(0)}), context, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
