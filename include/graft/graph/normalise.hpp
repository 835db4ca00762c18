#pragma once
// Weights of edges normalised by the degrees of their ends, and matrices of them. Degrees are the sums of the weights
// of the edges into a node. A node without edges, or with weights of 0 only, gets zeros.

#include "graft/graph/structure.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/sparse.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// The sums of the weights of the edges into each node, none of which may be negative or NaN.
template <class T>
Tensor<T> weighted_degrees(const char* op, const Graph& graph, const Tensor<T>& weights, Site site) {
  if (!(weights.shape() == Shape{graph.edges()}))
    fail<ShapeError>(op, "weights must be one number for each edge",
                     {{"weights", weights.shape()}, {kGraphSizes, graph_sizes(graph)}}, site);
  const Tensor<T> degrees = edge_sum(graph, weights, site);
  Index i = 0;
  for (const T degree : host(degrees)) {
    if (!(degree >= 0))
      fail(op, {"the weights of the edges into node ", i, " add up to ", degree, ", expected 0 or more"},
           {{"weights", weights.shape()}}, site);
    ++i;
  }
  return degrees;
}
/// Ones, unless weights are given.
template <class T>
Tensor<T> weights_or_ones(const Graph& graph, const Tensor<T>& weights) {
  return weights.defined() ? weights : ones<T>({graph.edges()});
}

}  // namespace detail

/// w_ij / d_i for the edges j -> i, d_i = sum_j w_ij: what takes a mean over neighbours. `weights` [edges] (an empty
/// handle: ones) -> [edges], differentiable. Throws ShapeError, ValueError for weights that add up to less than 0.
template <Real T = float>
Tensor<T> row_normalised(const Graph& graph, const Tensor<T>& weights = {}, Site site = Site::current()) {
  const Tensor<T> w = detail::weights_or_ones(graph, weights);
  const Tensor<T> degrees = detail::weighted_degrees("row_normalised", graph, w, site);
  return w * destination_rows(graph, map([](auto d) { return where(d > 0, 1 / d, 0); }, degrees));
}

/// w_ij / sqrt(d_i d_j) for the edges j -> i, d_i = sum_j w_ij. `weights` [edges] (an empty handle: ones) -> [edges],
/// differentiable. Throws ShapeError unless the graph is on one set of nodes, ValueError for weights that add up to
/// less than 0.
template <Real T = float>
Tensor<T> symmetric_normalised(const Graph& graph, const Tensor<T>& weights = {}, Site site = Site::current()) {
  detail::check_one_set("symmetric_normalised", graph, site);
  const Tensor<T> w = detail::weights_or_ones(graph, weights);
  const Tensor<T> degrees = detail::weighted_degrees("symmetric_normalised", graph, w, site);
  const Tensor<T> scale = map([](auto d) { return where(d > 0, 1 / sqrt(d), 0); }, degrees);
  return w * source_rows(graph, scale) * destination_rows(graph, scale);
}

/// The graph of D^-1/2 (A + I) D^-1/2 with its weights as features: self-loops of weight 1 where they are missing, then
/// `symmetric_normalised`. The operator of GCN, Kipf and Welling, ICLR 2017.
template <Real T = float>
FeaturedGraph<T> gcn_normalised(const Graph& graph, const Tensor<T>& weights = {}, Site site = Site::current()) {
  detail::check_one_set("gcn_normalised", graph, site);
  const auto looped = with_self_loops(graph, detail::weights_or_ones(graph, weights), 1, site);
  return {looped.graph, symmetric_normalised(looped.graph, looped.features, site)};
}
/// The same as a matrix of constants [nodes, nodes].
template <Real T = float>
SparseMatrix<T> gcn_matrix(const Graph& graph, const Tensor<T>& weights = {}, Site site = Site::current()) {
  const FeaturedGraph<T> normalised = gcn_normalised(graph, weights, site);
  return {normalised.graph, normalised.features, site};
}
/// D^-1 A as a matrix of constants [destinations, sources]; see `row_normalised`.
template <Real T = float>
SparseMatrix<T> mean_matrix(const Graph& graph, const Tensor<T>& weights = {}, Site site = Site::current()) {
  return {graph, row_normalised(graph, weights, site), site};
}

}  // namespace GRAFT_ABI
}  // namespace graft
