#pragma once
// Nearest neighbours on features, as edges and as graphs.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/ops/csr.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Throws unless both are [.., width] of finite numbers.
template <class T>
void check_points(const char* op, const Tensor<T>& from, const Tensor<T>& to, Site site) {
  if (from.rank() != 2 || to.rank() != 2 || from.size(1) != to.size(1))
    fail<ShapeError>(op, "expected [m, width] and [n, width]", {{"from", from.shape()}, {"to", to.shape()}}, site);
  const auto check = [&](const char* name, const Tensor<T>& points) {
    Index i = 0;
    for (const T number : host(points)) {
      if (!std::isfinite(number))
        fail(op, {name, " has a ", number, " in row ", i / points.size(1)}, {{name, points.shape()}}, site);
      ++i;
    }
  };
  check("from", from);
  check("to", to);
}
/// Squared Euclidean distance of two rows.
template <class T>
T squared_gap(const T* a, const T* b, Index width) {
  T distance = 0;
  for (Index w = 0; w < width; ++w) distance += (a[w] - b[w]) * (a[w] - b[w]);
  return distance;
}

}  // namespace detail

/// For each row of `to` the `k` nearest rows of `from` in squared Euclidean distance, nearest first; a tie goes to the
/// lower row. `from` [m, width], `to` [n, width] -> edges (row of from -> row of to), n min(k, m) of them. With
/// `skip_same` row i is no neighbour of row i (both are the same set). Carries no gradient: the choice of neighbours is
/// not differentiated. Throws ShapeError, ValueError for a negative k or numbers that are not finite.
template <Real T>
std::vector<GraphEdge> nearest_neighbours(const Tensor<T>& from, const Tensor<T>& to, Index k, bool skip_same = false,
                                          Site site = Site::current()) {
  detail::check_points("nearest_neighbours", from, to, site);
  if (k < 0) fail("nearest_neighbours", {"k is ", k}, {}, site);
  const Index m = from.size(0), n = to.size(0), width = from.size(1);
  const T *const sent = std::data(host(from)), *const wanted = std::data(host(to));
  std::vector<GraphEdge> edges;
  List<std::pair<T, Index>> candidates;
  for (Index i = 0; i < n; ++i) {
    candidates.clear();
    for (Index j = 0; j < m; ++j) {
      if (skip_same && i == j) continue;
      candidates.emplace_back(detail::squared_gap(wanted + i * width, sent + j * width, width), j);
    }
    const Index taken = std::min(k, candidates.size());
    std::partial_sort(candidates.begin(), candidates.begin() + taken, candidates.end());
    for (Index rank = 0; rank < taken; ++rank) edges.push_back({candidates[rank].second, i});
  }
  return edges;
}

/// For each row of `to` the rows of `from` at a Euclidean distance of at most `radius`, lower rows first. `from` [m,
/// width], `to` [n, width] -> edges (row of from -> row of to). `skip_same` as for `nearest_neighbours`. Throws
/// ShapeError, ValueError for a negative radius or numbers that are not finite.
template <Real T>
std::vector<GraphEdge> neighbours_within(const Tensor<T>& from, const Tensor<T>& to, double radius,
                                         bool skip_same = false, Site site = Site::current()) {
  detail::check_points("neighbours_within", from, to, site);
  if (!(radius >= 0)) fail("neighbours_within", {"radius is ", radius, ", expected 0 or more"}, {}, site);
  const Index m = from.size(0), n = to.size(0), width = from.size(1);
  const T *const sent = std::data(host(from)), *const wanted = std::data(host(to));
  std::vector<GraphEdge> edges;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < m; ++j)
      if (!(skip_same && i == j) &&
          static_cast<double>(detail::squared_gap(wanted + i * width, sent + j * width, width)) <= radius * radius)
        edges.push_back({j, i});
  return edges;
}

/// Every row hears its `k` nearest other rows: x [nodes, width]. See `nearest_neighbours`.
template <Real T>
Graph knn_graph(const Tensor<T>& x, Index k, Site site = Site::current()) {
  const std::vector<GraphEdge> edges = nearest_neighbours(x, x, k, true, site);
  return Graph(x.size(0), edges, site);
}
/// Every row hears the other rows within `radius`: x [nodes, width]. See `neighbours_within`.
template <Real T>
Graph radius_graph(const Tensor<T>& x, double radius, Site site = Site::current()) {
  const std::vector<GraphEdge> edges = neighbours_within(x, x, radius, true, site);
  return Graph(x.size(0), edges, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
