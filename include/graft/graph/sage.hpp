#pragma once
// GraphSAGE. Hamilton, Ying, Leskovec, "Inductive representation learning on large graphs", NeurIPS 2017. Parameter
// names and initial values are those of PyG's SAGEConv.

#include <optional>

#include "graft/graph/gcn.hpp"
#include "graft/graph/message_passing.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Sage`.
struct SageOptions {
  Aggregate aggregate = Aggregate::mean;
  bool project = false;    ///< neighbours are relu(W_3 x_j + b_3) instead of x_j: the paper's pooling, with max
  bool root = true;        ///< the term W_2 x_i
  bool normalise = false;  ///< rows of the result are divided by their Euclidean norm
  bool bias = true;
  Index in_destinations = 0;  ///< features of destinations where they differ from those of sources; 0: the same
};

/// h'_i = W_1 mean_j x_j + b + W_2 x_i over the edges j -> i, or with another aggregate than the mean: x [nodes, in] ->
/// [nodes, out], with one set of nodes or with sources and destinations, such as the blocks of sampled neighbours. Of
/// no neighbours the aggregate is 0. Throws ShapeError.
template <class T = float>
struct Sage {
  std::optional<Linear<T>> lin;    ///< in -> in, of `project`
  Linear<T> lin_l;                 ///< W_1, b: in -> out
  std::optional<Linear<T>> lin_r;  ///< W_2: in -> out, without bias
  SageOptions options;
  GRAFT_FIELDS(lin, lin_l, lin_r)
  GRAFT_CONFIG(options)

  Sage() = default;
  /// Initial values of `Linear`.
  Sage(Index in, Index out, const Random& random, const SageOptions& o = {}, Site site = Site::current())
      : lin_l(in, out, random.stream("lin_l"), {.bias = o.bias}, site), options(o) {
    if (o.project) lin.emplace(in, in, random.stream("lin"), LinearOptions{}, site);
    if (o.root)
      lin_r.emplace(o.in_destinations > 0 ? o.in_destinations : in, out, random.stream("lin_r"),
                    LinearOptions{.bias = false}, site);
  }

  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef, Site site = Site::current()) const {
    const Named here("Sage", site);
    detail::check_nodes("Sage", graph, x.shape(), site);
    return layer(graph, x, x, site);
  }
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x_sources, const Tensor<T>& x_destinations, ContextRef,
                       Site site = Site::current()) const {
    const Named here("Sage", site);
    detail::check_ends("Sage", graph, x_sources.shape(), x_destinations.shape(), site);
    return layer(graph, x_sources, x_destinations, site);
  }
  /// Of constant features that are mostly zeros. Throws ValueError for the extremes of such rows as they are.
  Tensor<T> operator()(const Graph& graph, const SparseMatrix<T>& x, ContextRef, Site site = Site::current()) const {
    const Named here("Sage", site);
    detail::check_nodes("Sage", graph, {x.rows(), x.columns()}, site);
    if (!linear() && !lin)
      fail("Sage", "extremes of sparse features need the option project", {{"x", {x.rows(), x.columns()}}}, site);
    return layer(graph, x, x, site);
  }

 private:
  template <class X, class Y>
  Tensor<T> layer(const Graph& graph, const X& x_sources, const Y& x_destinations, Site site) const {
    Tensor<T> out = lin ? heard(graph, relu((*lin)(x_sources, site)), site) : heard(graph, x_sources, site);
    if (lin_r) out = out + (*lin_r)(x_destinations, site);
    if (options.normalise) out = unit_rows(out, site);
    return out;
  }
  /// W_1 mean_j x_j + b, or of another aggregate.
  template <class X>
  Tensor<T> heard(const Graph& graph, const X& x, Site site) const {
    const auto joined = [&](const Tensor<T>& h) { return propagate(graph, SourceMessage{h}, options.aggregate, site); };
    if constexpr (detail::is_tensor<X>)
      if (!linear()) return lin_l(joined(x), site);
    Linear<T> map;
    map.weight = lin_l.weight;
    const Tensor<T> out = detail::propagate_linear(joined, map, x, site);
    return lin_l.bias ? out + *lin_l.bias : out;
  }
  bool linear() const { return options.aggregate == Aggregate::sum || options.aggregate == Aggregate::mean; }
};

}  // namespace GRAFT_ABI
}  // namespace graft
