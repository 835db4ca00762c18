#pragma once
// Graph isomorphism network. Xu, Hu, Leskovec, Jegelka, "How powerful are graph neural networks?", ICLR 2019; with edge
// features (GINE): Hu, Liu, Gomes, Zitnik, Liang, Pande, Leskovec, "Strategies for pre-training graph neural networks",
// ICLR 2020. Parameter names and initial values are those of PyG's GINConv and GINEConv.

#include <optional>
#include <tuple>
#include <utility>

#include "graft/graph/inputs.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/linear.hpp"
#include "graft/nn/sequential.hpp"
#include "graft/ops/neighbours.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Gin` and `Gine`.
struct GinOptions {
  double eps = 0;
  bool train_eps = false;  ///< false: eps is frozen
};

namespace detail {

/// net(x, context) if it takes a context, else net(x).
template <class Net, class T>
Tensor<T> apply_net(const Net& net, const Tensor<T>& x, ContextRef context, Site site) {
  return apply_first(net, std::tuple(x, context, site), std::tuple(x, context), std::tuple(x, site), std::tuple(x));
}

template <class T>
Tensor<T> initial_eps(const GinOptions& options, Site site) {
  return with_frozen_mark(full<T>({1}, static_cast<T>(options.eps), site), !options.train_eps);
}

}  // namespace detail

/// h'_i = nn((1 + eps) x_i + sum_j x_j) over the edges j -> i, where `nn` maps rows [nodes, in] -> [nodes, out], called
/// as nn(x, context) or nn(x): x [nodes, in] -> [nodes, out], with one set of nodes or with sources and destinations.
/// Throws ShapeError.
template <class Net>
struct Gin {
  using T = ModelScalar<Net>;
  Net nn;
  Tensor<T> eps;  ///< [1]
  GRAFT_FIELDS(nn, eps)

  Gin() = default;
  explicit Gin(Net net, const GinOptions& o = {}, Site site = Site::current())
      : nn(std::move(net)), eps(detail::initial_eps<T>(o, site)) {}

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Gin", site);
    detail::check_nodes("Gin", graph, x.shape(), site);
    return update(graph, x, x, context, site);
  }
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                       ContextRef context, Site site = Site::current()) const {
    const Named here("Gin", site);
    detail::check_ends("Gin", graph, x_sources.shape(), x_destinations.shape(), site);
    return update(graph, x_sources, x_destinations, context, site);
  }

 private:
  Tensor<T> update(const Graph& graph, const Tensor<T>& sources, const Tensor<T>& destinations, ContextRef context,
                   Site site) const {
    return detail::apply_net(nn, (1 + eps) * destinations + neighbour_sum(graph, sources, site), context, site);
  }
};

/// h'_i = nn((1 + eps) x_i + sum_j relu(x_j + W e_ij + b)) over the edges j -> i: x [nodes, in] and edge features
/// [edges, edge width], in the order of the graph's list, -> [nodes, out]. Made without a width of edges there is no
/// W: edge features are then [edges, in]. Throws ShapeError.
template <class Net>
struct Gine {
  using T = ModelScalar<Net>;
  Net nn;
  Tensor<T> eps;                 ///< [1]
  std::optional<Linear<T>> lin;  ///< edge width -> in
  GRAFT_FIELDS(nn, eps, lin)

  Gine() = default;
  explicit Gine(Net net, const GinOptions& o = {}, Site site = Site::current())
      : nn(std::move(net)), eps(detail::initial_eps<T>(o, site)) {}
  Gine(Net net, Index in, Index edge_width, const Random& random, const GinOptions& o = {}, Site site = Site::current())
      : Gine(std::move(net), o, site) {
    lin.emplace(edge_width, in, random.stream("lin"), LinearOptions{}, site);
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, const Tensor<T>& edge_features, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Gine", site);
    detail::check_nodes("Gine", graph, x.shape(), site);
    return update(graph, x, x, edge_features, context, site);
  }
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                       const Tensor<T>& edge_features, ContextRef context, Site site = Site::current()) const {
    const Named here("Gine", site);
    detail::check_ends("Gine", graph, x_sources.shape(), x_destinations.shape(), site);
    return update(graph, x_sources, x_destinations, edge_features, context, site);
  }

 private:
  Tensor<T> update(const Graph& graph, const Tensor<T>& sources, const Tensor<T>& destinations,
                   const Tensor<T>& edge_features, ContextRef context, Site site) const {
    detail::check_edges("Gine", graph, edge_features.shape(), lin ? lin->weight.size(1) : sources.size(1), site);
    const Tensor<T> of_edges = lin ? (*lin)(edge_features, site) : edge_features;
    const Tensor<T> messages = relu(source_rows(graph, sources) + of_edges);
    return detail::apply_net(nn, (1 + eps) * destinations + edge_sum(graph, messages), context, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
