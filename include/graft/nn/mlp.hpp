#pragma once
// The multi-layer perceptron, with a norm before each activation: the plainest embedding of vectors.

#include <vector>

#include "graft/core/options.hpp"
#include "graft/nn/linear.hpp"
#include "graft/nn/norm.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of an `Mlp`.
struct MlpOptions {
  std::vector<Index> hidden{128};  ///< units of each hidden layer; none: a linear map
  bool norm = true;                ///< a layer norm before each activation
};

/// x [n, ...] -> [n, out]: items are flattened to `in` numbers; each hidden layer is relu(norm(W x + b)), the last
/// layer is linear.
template <class T = float>
struct Mlp {
  std::vector<Linear<T>> layers;
  std::vector<LayerNorm<T>> norms;
  GRAFT_FIELDS(layers, norms)

  Mlp() = default;
  /// Initial values of `Linear`. Throws ValueError for sizes below 1.
  Mlp(Index in, Index out, const Random& random, const MlpOptions& o = {}, Site site = Site::current()) {
    std::vector<Index> widths{in};
    widths.insert(widths.end(), o.hidden.begin(), o.hidden.end());
    widths.push_back(out);
    for (const Index width : widths)
      if (width < 1) fail("Mlp", {"a layer of ", width, " numbers"}, {}, site);
    for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
      const bool last = l + 2 == widths.size();
      layers.emplace_back(widths[l], widths[l + 1], random.stream("layers", l), LinearOptions{.bias = last || !o.norm},
                          site);
      if (!last && o.norm) norms.emplace_back(widths[l + 1], NormOptions{}, site);
    }
  }

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("Mlp", site);
    if (layers.empty()) fail("Mlp", "called before it was made", {{"x", x.shape()}}, site);
    if (!norms.empty()) detail::check_parts("Mlp", "norms", norms.size(), "hidden layers", layers.size() - 1, site);
    const Index in = layers[0].weight.size(1);
    if (x.rank() < 1 || x.count() != x.size(0) * in)
      fail<ShapeError>("Mlp", {"expected items of ", in, " numbers"}, {{"x", x.shape()}}, site);
    Tensor<T> h = reshape(x, {x.size(0), in}, site);
    for (std::size_t l = 0; l < layers.size(); ++l) {
      h = layers[l](h, site);
      if (l + 1 == layers.size()) break;
      h = relu(norms.empty() ? h : norms[l](h, site));
    }
    return h;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
