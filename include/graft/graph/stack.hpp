#pragma once
// Layers of a graph one after the other.

#include <tuple>
#include <utility>
#include <vector>

#include "graft/graph/gin.hpp"
#include "graft/nn/block_parts.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/ops/csr.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Layers with dropout before each and an activation between them: x [nodes, in], dense or a `SparseMatrix` if the
/// first layer takes it, -> [nodes, out of the last]. A layer is called as layer(graph, x, context), or, if it hears
/// nobody, as layer(x, context) or layer(x): what a table compares with. Throws ValueError for no layers.
template <class Layer>
struct GraphStack {
  using T = ModelScalar<Layer>;
  std::vector<Layer> layers;
  Activation activation = Activation::relu;
  double dropout = 0;
  GRAFT_FIELDS(layers)
  GRAFT_CONFIG(activation, dropout)

  GraphStack() = default;
  explicit GraphStack(std::vector<Layer> own, Activation between = Activation::relu, double rate = 0)
      : layers(std::move(own)), activation(between), dropout(rate) {}

  template <class X>
  Tensor<T> operator()(const Graph& graph, const X& x, ContextRef context, Site site = Site::current()) const {
    const Named here("GraphStack", site);
    if (layers.empty()) fail("GraphStack", "has no layers", {}, site);
    Tensor<T> h = layer(layers[0], graph, Dropout{dropout}(x, context, site), context, site);
    for (std::size_t i = 1; i < layers.size(); ++i)
      h = layer(layers[i], graph, Dropout{dropout}(detail::activate(activation, h), context, site), context, site);
    return h;
  }

 private:
  template <class X>
  static Tensor<T> layer(const Layer& own, const Graph& graph, const X& x, ContextRef context, Site site) {
    return detail::apply_first(own, std::tuple(graph, x, context, site), std::tuple(x, context, site),
                               std::tuple(x, context), std::tuple(x, site), std::tuple(x));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
