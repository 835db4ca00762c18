#pragma once
// Graph convolution. Kipf, Welling, "Semi-supervised classification with graph convolutional networks", ICLR 2017.
// Parameter names and initial values are those of PyG's GCNConv.

#include <algorithm>
#include <optional>

#include "graft/graph/inputs.hpp"
#include "graft/graph/normalise.hpp"
#include "graft/model/context.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/neighbours.hpp"
#include "graft/ops/sparse.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// 1 [nodes, 1] where a node has no edge to itself, else 0.
template <class T>
Tensor<T> missing_loops(const Graph& graph) {
  const std::span offsets = host(graph.offsets());
  const std::span sources = host(graph.source_of());
  return generate({graph.destinations(), 1}, [&](Index i, Index) {
    const auto row = static_cast<std::size_t>(i);
    const auto begin = sources.begin() + offsets[row], end = sources.begin() + offsets[row + 1];
    return static_cast<T>(std::find(begin, end, static_cast<cpu::GraphIndex>(i)) == end);
  });
}

/// Products with D^(-1/2) (A + I) D^(-1/2) without a matrix: rows are scaled on both sides of a sum over neighbours.
template <class T>
struct GcnPropagation {
  Graph graph;
  Tensor<T> weights;       ///< [edges], or empty for ones
  Tensor<T> loops, roots;  ///< [nodes, 1]: weight of the added self-loop, D^(-1/2)

  GcnPropagation(const Graph& g, const Tensor<T>& w, bool self_loops, Site site) : graph(g), weights(w) {
    const Tensor<T> degrees = w.defined() ? weighted_degrees("Gcn", graph, weights, site) : cast<T>(in_degrees(graph));
    Tensor<T> all = reshape(degrees, {graph.destinations(), 1});
    if (self_loops) {
      loops = missing_loops<T>(graph);
      all = all + loops;
    }
    roots = map([](auto d) { return where(d > 0, 1 / sqrt(d), 0); }, all);
  }
  Tensor<T> operator()(const Tensor<T>& x, Site site) const {
    const Tensor<T> scaled = roots * x;
    const Tensor<T> sums =
        weights.defined() ? neighbour_sum(graph, scaled, weights, site) : neighbour_sum(graph, scaled, site);
    return roots * (loops.defined() ? sums + loops * scaled : sums);
  }
};

/// propagate(x) W^T for a linear map of rows without bias, in the cheaper order: propagation costs by the width.
template <class T, class Propagate>
Tensor<T> propagate_linear(const Propagate& propagate, const Linear<T>& lin, const Tensor<T>& x, Site site) {
  return lin.weight.size(1) < lin.weight.size(0) ? lin(propagate(x), site) : propagate(lin(x, site));
}
template <class T, class Propagate>
Tensor<T> propagate_linear(const Propagate& propagate, const Linear<T>& lin, const SparseMatrix<T>& x, Site site) {
  return propagate(lin(x, site));
}

template <class T>
Shape shape_of(const Tensor<T>& x) {
  return x.shape();
}
template <class T>
Shape shape_of(const SparseMatrix<T>& x) {
  return {x.rows(), x.columns()};
}

/// Throws unless `adjacency` is square with a row for each of x.
template <class T>
void check_adjacency(const char* layer, const SparseMatrix<T>& adjacency, const Shape& x, Site site) {
  if (x.rank() != 2 || adjacency.rows() != adjacency.columns() || adjacency.rows() != x[0])
    fail<ShapeError>(layer, "x must be [nodes, in] for an adjacency [nodes, nodes]",
                     {{"x", x}, {"adjacency", {adjacency.rows(), adjacency.columns()}}}, site);
}

}  // namespace detail

/// Options of `Gcn`.
struct GcnOptions {
  bool self_loops = true;  ///< a node hears itself too; for calls with a graph
  bool bias = true;
};

/// h' = D^(-1/2) (A + I) D^(-1/2) x W^T + b: x [nodes, in], dense or a `SparseMatrix`, -> [nodes, out]. Called with a
/// graph, which may have edge weights w_ij >= 0 in place of ones (D then sums them), or with the operator itself: make
/// it once with `gcn_matrix` where many steps use one graph. Node i without edges and self-loops gets b. Throws
/// ShapeError.
template <class T = float>
struct Gcn {
  Linear<T> lin;                  ///< in -> out, without bias
  std::optional<Tensor<T>> bias;  ///< [out]
  GcnOptions options;
  GRAFT_FIELDS(lin, bias)
  GRAFT_CONFIG(options)

  Gcn() = default;
  /// Glorot uniform weight, zero bias.
  Gcn(Index in, Index out, const Random& random, const GcnOptions& o = {}, Site site = Site::current()) : options(o) {
    lin.weight = glorot_uniform<T>({out, in}, random.stream("lin"), 1, site);
    if (o.bias) bias = zeros<T>({out}, site);
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef, Site site = Site::current()) const {
    return on_graph(graph, x, Tensor<T>(), site);
  }
  Tensor<T> operator()(const Graph& graph, const SparseMatrix<T>& x, ContextRef, Site site = Site::current()) const {
    return on_graph(graph, x, Tensor<T>(), site);
  }
  /// With weights of edges [edges], in the order of the graph's list; differentiable in them.
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, const Tensor<T>& edge_weights, ContextRef,
                       Site site = Site::current()) const {
    return on_graph(graph, x, edge_weights, site);
  }
  Tensor<T> operator()(const SparseMatrix<T>& adjacency, const Tensor<T>& x, ContextRef,
                       Site site = Site::current()) const {
    return on_matrix(adjacency, x, site);
  }
  Tensor<T> operator()(const SparseMatrix<T>& adjacency, const SparseMatrix<T>& x, ContextRef,
                       Site site = Site::current()) const {
    return on_matrix(adjacency, x, site);
  }

 private:
  template <class X>
  Tensor<T> on_graph(const Graph& graph, const X& x, const Tensor<T>& edge_weights, Site site) const {
    const Named here("Gcn", site);
    detail::check_nodes("Gcn", graph, detail::shape_of(x), site);
    const detail::GcnPropagation<T> propagation(graph, edge_weights, options.self_loops, site);
    return finish([&](const Tensor<T>& h) { return propagation(h, site); }, x, site);
  }
  template <class X>
  Tensor<T> on_matrix(const SparseMatrix<T>& adjacency, const X& x, Site site) const {
    const Named here("Gcn", site);
    detail::check_adjacency("Gcn", adjacency, detail::shape_of(x), site);
    return finish([&](const Tensor<T>& h) { return matmul(adjacency, h, {}, site); }, x, site);
  }
  template <class Propagate, class X>
  Tensor<T> finish(const Propagate& propagate, const X& x, Site site) const {
    const Tensor<T> out = detail::propagate_linear(propagate, lin, x, site);
    return bias ? out + *bias : out;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
