#pragma once
// Layers that hear neighbours and the whole graph. Rampasek, Galkin, Dwivedi, Luu, Wolf, Beaini, "Recipe for a general,
// powerful, scalable graph Transformer", NeurIPS 2022. Parameter names are those of PyG's GPSConv (there "norm1.module"
// where it is "norm1" here).

#include <optional>
#include <utility>

#include "graft/graph/batch.hpp"
#include "graft/graph/inputs.hpp"
#include "graft/nn/attention.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/norm.hpp"
#include "graft/nn/sequential.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Gps`.
struct GpsOptions {
  Index heads = 1;
  double dropout = 0;            ///< of both branches and of the perceptron, in training
  double attention_dropout = 0;  ///< of the weights of the global attention, in training
  BatchNormOptions norm = {};
};

/// x' = norm3(s + mlp(s)), s = norm1(x + conv(x)) + norm2(x + attention(x)), where `conv` hears neighbours, a layer
/// (graph, x, context) or (graph, x, edge features, context) -> [nodes, width], the attention hears all nodes of the
/// same graph, and the perceptron is 2 width wide. x [nodes, width] -> the same shape. Without `conv` s is its second
/// term. Input features should carry positions, see `random_walk_encoding` and `laplacian_encoding`. Throws ShapeError.
template <class Conv, class T = ModelScalar<Conv>>
struct Gps {
  std::optional<Conv> conv;
  MultiHeadAttention<T> attn;
  Sequential<Linear<T>, Relu, Dropout, Linear<T>, Dropout> mlp;
  BatchNorm<T> norm1, norm2, norm3;
  GpsOptions options;
  GRAFT_FIELDS(conv, attn, mlp, norm1, norm2, norm3)
  GRAFT_CONFIG(options)

  Gps() = default;
  /// Initial values of the layers that it is made of. Throws ValueError for options out of range.
  Gps(Index width, std::optional<Conv> local, const Random& random, const GpsOptions& o = {},
      Site site = Site::current())
      : conv(std::move(local)),
        attn(width, o.heads, random.stream("attn"), {.dropout = o.attention_dropout}, site),
        mlp(Linear<T>(width, 2 * width, random.stream("mlp.0"), {}, site), Relu(), Dropout{o.dropout},
            Linear<T>(2 * width, width, random.stream("mlp.3"), {}, site), Dropout{o.dropout}),
        norm1(width, o.norm, site),
        norm2(width, o.norm, site),
        norm3(width, o.norm, site),
        options(o) {}

  Tensor<T> operator()(const GraphBatch& batch, const Tensor<T>& x, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Gps", site);
    return layer(batch.graph, x, within(batch, context, site), context, site, context, site);
  }
  Tensor<T> operator()(const GraphBatch& batch, const Tensor<T>& x, const Tensor<T>& edge_features, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Gps", site);
    return layer(batch.graph, x, within(batch, context, site), context, site, edge_features, context, site);
  }
  /// Of one graph.
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Gps", site);
    return layer(graph, x, over_all(context, site), context, site, context, site);
  }
  Tensor<T> operator()(const Graph& graph, const Tensor<T>& x, const Tensor<T>& edge_features, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Gps", site);
    return layer(graph, x, over_all(context, site), context, site, edge_features, context, site);
  }

 private:
  /// Attention among the nodes of each graph.
  auto within(const GraphBatch& batch, ContextRef context, Site site) const {
    return [this, &batch, context, site](const Tensor<T>& x) {
      const Tensor<T> rows = batch.padded(x, site);
      return batch.unpadded(attn(rows, {.key_mask = batch.key_mask()}, context, site), site);
    };
  }
  auto over_all(ContextRef context, Site site) const {
    return [this, context, site](const Tensor<T>& x) { return attn(x, context, site); };
  }
  /// `local`: what the local layer takes after (graph, x).
  template <class Attend, class... Local>
  Tensor<T> layer(const Graph& graph, const Tensor<T>& x, const Attend& attend, ContextRef context, Site site,
                  const Local&... local) const {
    detail::check_nodes("Gps", graph, x.shape(), site);
    const Dropout drop{options.dropout};
    std::optional<Tensor<T>> sum;
    if (conv) sum = norm1(x + drop((*conv)(graph, x, local...), context, site), context, site);
    const Tensor<T> global = norm2(x + drop(attend(x), context, site), context, site);
    const Tensor<T> both = sum ? *sum + global : global;
    return norm3(both + mlp(both, context, site), context, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
