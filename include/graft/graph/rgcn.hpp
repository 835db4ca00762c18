#pragma once
// Relational graph convolution. Schlichtkrull, Kipf, Bloem, van den Berg, Titov, Welling, "Modeling relational data
// with graph convolutional networks", ESWC 2018. Parameter names and initial values are those of PyG's RGCNConv.

#include <cmath>
#include <optional>
#include <span>

#include "graft/graph/hetero.hpp"
#include "graft/graph/inputs.hpp"
#include "graft/model/context.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Rgcn`.
struct RgcnOptions {
  Index bases = 0;   ///< B: each W_r is a mixture of so many matrices; 0: all W_r are free
  bool root = true;  ///< the term W_0 x_i
  bool bias = true;
};

/// h'_i = W_0 x_i + b + sum_r W_r mean_j x_j over the edges j -> i of relation r, with W_r = sum_b a_rb V_b if there
/// are bases. Called with one graph a relation, `relations_of(graph, types, count)` or the graphs of a `HeteroGraph`,
/// all on the same nodes: x [nodes, in], or x_sources [sources, in] and x_destinations [destinations, in], -> [..,
/// out]. Throws ShapeError.
template <class T = float>
struct Rgcn {
  Tensor<T> weight;               ///< [relations, in, out], or V [bases, in, out]
  std::optional<Tensor<T>> comp;  ///< a [relations, bases]
  std::optional<Tensor<T>> root;  ///< W_0 [in, out]
  std::optional<Tensor<T>> bias;  ///< [out]
  GRAFT_FIELDS(weight, comp, root, bias)

  Rgcn() = default;
  /// Glorot uniform weights, zero bias. Throws ValueError for a negative number of bases or relations.
  Rgcn(Index in, Index out, Index relations, const Random& random, const RgcnOptions& o = {},
       Site site = Site::current()) {
    if (relations < 0 || o.bases < 0)
      fail("Rgcn", {relations, " relations and ", o.bases, " bases, expected 0 or more"}, {}, site);
    const double bound = std::sqrt(6.0 / static_cast<double>(in + out));
    weight = symmetric_uniform<T>({o.bases > 0 ? o.bases : relations, in, out}, bound, random.stream("weight"), site);
    if (o.bases > 0) comp = glorot_uniform<T>({relations, o.bases}, random.stream("comp"), 1, site);
    if (o.root) root = symmetric_uniform<T>({in, out}, bound, random.stream("root"), site);
    if (o.bias) bias = zeros<T>({out}, site);
  }

  Tensor<T> operator()(std::span<const EdgeSelection> relations, const Tensor<T>& x, ContextRef,
                       Site site = Site::current()) const {
    return layer(relations, x, x, site);
  }
  Tensor<T> operator()(std::span<const Graph> relations, const Tensor<T>& x, ContextRef,
                       Site site = Site::current()) const {
    return layer(relations, x, x, site);
  }
  Tensor<T> operator()(std::span<const Graph> relations, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                       ContextRef, Site site = Site::current()) const {
    return layer(relations, x_sources, x_destinations, site);
  }

 private:
  static const Graph& graph_of(const Graph& graph) { return graph; }
  static const Graph& graph_of(const EdgeSelection& selection) { return selection.graph; }

  template <class Relations>
  Tensor<T> layer(const Relations& relations, const Tensor<T>& x_sources, const Tensor<T>& x_destinations,
                  Site site) const {
    const Named here("Rgcn", site);
    const Index count = comp ? comp->size(0) : weight.size(0), in = weight.size(1), out = weight.size(2);
    if (static_cast<Index>(relations.size()) != count)
      fail<ShapeError>("Rgcn", {relations.size(), " relations, the layer was made for ", count}, {}, site);
    for (const auto& relation : relations)
      detail::check_ends("Rgcn", graph_of(relation), x_sources.shape(), x_destinations.shape(), site);
    const Tensor<T> matrices =
        comp ? reshape(matmul(*comp, reshape(weight, {weight.size(0), in * out})), {count, in, out}) : weight;
    Tensor<T> sum = root ? matmul(x_destinations, *root, {}, site) : zeros<T>({x_destinations.size(0), out});
    Index r = 0;
    for (const auto& relation : relations) {
      const Tensor<T> matrix = reshape(slice(matrices, 0, r, r + 1), {in, out});
      sum = sum + matmul(neighbour_mean(graph_of(relation), x_sources, site), matrix, {}, site);
      ++r;
    }
    return bias ? sum + *bias : sum;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
