#pragma once
// Simple graph convolution. Wu, Zhang, de Souza, Fifty, Yu, Weinberger, "Simplifying graph convolutional networks",
// ICML 2019. Parameter names and initial values are those of PyG's SGConv.

#include "graft/graph/gcn.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Sgc`.
struct SgcOptions {
  Index hops = 1;          ///< K
  bool self_loops = true;  ///< a node hears itself too; for calls with a graph
  bool bias = true;
};

/// S^hops x for S = `gcn_matrix`, x [nodes, in] -> the same shape: what `Sgc` can be trained on at the cost of a
/// linear map, since it has no parameters. Throws ShapeError, ValueError for negative hops.
template <Real T>
Tensor<T> sgc_features(const SparseMatrix<T>& adjacency, const Tensor<T>& x, Index hops, Site site = Site::current()) {
  detail::check_adjacency("sgc_features", adjacency, x.shape(), site);
  if (hops < 0) fail("sgc_features", {"hops is ", hops, ", expected 0 or more"}, {}, site);
  Tensor<T> h = x;
  for (Index k = 0; k < hops; ++k) h = matmul(adjacency, h, {}, site);
  return h;
}

/// h' = S^K x W^T + b for S = D^(-1/2) (A + I) D^(-1/2): GCN layers without what stands between them. x [nodes, in],
/// dense or a `SparseMatrix`, -> [nodes, out], on a graph or on S as `gcn_matrix` makes it. Throws ShapeError.
template <class T = float>
struct Sgc {
  Linear<T> lin;  ///< in -> out
  SgcOptions options;
  GRAFT_FIELDS(lin)
  GRAFT_CONFIG(options)

  Sgc() = default;
  /// Initial values of `Linear`. Throws ValueError for negative hops.
  Sgc(Index in, Index out, const Random& random, const SgcOptions& o = {}, Site site = Site::current())
      : lin(in, out, random.stream("lin"), {.bias = o.bias}, site), options(o) {
    if (o.hops < 0) fail("Sgc", {"hops is ", o.hops, ", expected 0 or more"}, {}, site);
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef, Site site = Site::current()) const {
    return on_graph(graph, x, site);
  }
  Tensor<T> operator()(const Graph& graph, const SparseMatrix<T>& x, ContextRef, Site site = Site::current()) const {
    return on_graph(graph, x, site);
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
  Tensor<T> on_graph(const Graph& graph, const X& x, Site site) const {
    const Named here("Sgc", site);
    detail::check_nodes("Sgc", graph, detail::shape_of(x), site);
    const detail::GcnPropagation<T> step(graph, Tensor<T>(), options.self_loops, site);
    return finish([&](const Tensor<T>& h) { return step(h, site); }, x, site);
  }
  template <class X>
  Tensor<T> on_matrix(const SparseMatrix<T>& adjacency, const X& x, Site site) const {
    const Named here("Sgc", site);
    detail::check_adjacency("Sgc", adjacency, detail::shape_of(x), site);
    return finish([&](const Tensor<T>& h) { return matmul(adjacency, h, {}, site); }, x, site);
  }
  template <class Step, class X>
  Tensor<T> finish(const Step& step, const X& x, Site site) const {
    Linear<T> map;
    map.weight = lin.weight;
    const auto propagate = [&](Tensor<T> h) {
      for (Index k = 0; k < options.hops; ++k) h = step(h);
      return h;
    };
    const Tensor<T> out = detail::propagate_linear(propagate, map, x, site);
    return lin.bias ? out + *lin.bias : out;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
