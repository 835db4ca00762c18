#pragma once
// Transformer encoder blocks: post-norm as in Vaswani et al., NeurIPS 2017, pre-norm as in Xiong et al., ICML 2020.
// Parameter names and defaults are those of torch.nn.TransformerEncoderLayer and TransformerEncoder (batch_first).
// Gates: one number a channel as in LayerScale, Touvron et al., "Going deeper with image Transformers", ICCV 2021;
// they start at 0 as in ReZero, Bachlechner et al., UAI 2021, or above.

#include <optional>
#include <string>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/nn/attention.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/norm.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The function between the two layers of a perceptron.
enum class Activation { relu, gelu };

/// Options of a `TransformerEncoderLayer`.
struct TransformerOptions {
  double dropout = 0.1;  ///< of attention weights, of both branches and of the hidden layer, in training
  Activation activation = Activation::relu;
  bool norm_first = false;  ///< pre-norm: x + f(LN(x)); else post-norm: LN(x + f(x))
  double eps = 1e-5;        ///< of the layer norms
  bool bias = true;         ///< false: neither the linear maps nor the norms have one
  /// Each branch f is scaled by a learned vector, x + gate * f(..), whose numbers start as this (0: no branch acts at
  /// first); empty: no gates.
  std::optional<double> gate = {};
};

/// Self-attention and a two-layer perceptron, each with a residual connection, a layer norm and, if asked for, a gate:
/// x [batch, time, width] (or [time, width]) -> the same shape. Throws ValueError for a gate that is not finite.
template <class T = float>
struct TransformerEncoderLayer {
  MultiHeadAttention<T> self_attn;
  Linear<T> linear1, linear2;  ///< width -> hidden -> width
  LayerNorm<T> norm1, norm2;
  std::optional<Tensor<T>> gate1, gate2;  ///< [width], of the attention and of the perceptron
  TransformerOptions options;
  GRAFT_FIELDS(self_attn, linear1, linear2, norm1, norm2, gate1, gate2)
  GRAFT_CONFIG(options)

  TransformerEncoderLayer() = default;
  TransformerEncoderLayer(Index width, Index heads, Index hidden, const Random& random, TransformerOptions o = {},
                          Site site = Site::current())
      : self_attn(width, heads, random.stream("self_attn"), {.dropout = o.dropout, .bias = o.bias}, site),
        linear1(width, hidden, random.stream("linear1"), {.bias = o.bias}, site),
        linear2(hidden, width, random.stream("linear2"), {.bias = o.bias}, site),
        norm1(width, {.eps = o.eps, .bias = o.bias}, site),
        norm2(width, {.eps = o.eps, .bias = o.bias}, site),
        options(o) {
    if (!o.gate) return;
    detail::check_option<T>("TransformerEncoderLayer", "gate", *o.gate, detail::Range::finite, site);
    gate1 = full<T>({width}, static_cast<T>(*o.gate), site);
    gate2 = full<T>({width}, static_cast<T>(*o.gate), site);
  }

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    return (*this)(x, {}, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("TransformerEncoderLayer", site);
    const Dropout drop{options.dropout};
    const auto attention = [&](const Tensor<T>& h) {
      const Named part("self_attn", site);
      return drop(self_attn(h, mask, context, site), context, site);
    };
    const auto perceptron = [&](const Tensor<T>& h) {
      const Named part("linear1, linear2", site);
      const Tensor<T> inner = linear1(h, site);
      const Tensor<T> active = options.activation == Activation::relu ? relu(inner) : gelu(inner);
      return drop(linear2(drop(active, context, site), site), context, site);
    };
    const auto gated = [](const std::optional<Tensor<T>>& gate, const Tensor<T>& branch) {
      return gate ? *gate * branch : branch;
    };
    if (options.norm_first) {
      const Tensor<T> h = x + gated(gate1, attention(norm1(x, site)));
      return h + gated(gate2, perceptron(norm2(h, site)));
    }
    const Tensor<T> h = norm1(x + gated(gate1, attention(x)), site);
    return norm2(h + gated(gate2, perceptron(h)), site);
  }
};

/// Options of a `TransformerEncoder`.
struct TransformerEncoderOptions {
  TransformerOptions layer;
  bool final_norm = false;  ///< a layer norm after the last layer, which pre-norm layers want
};

/// Layers of equal size one after another, then the final norm if there is one.
template <class T = float>
struct TransformerEncoder {
  std::vector<TransformerEncoderLayer<T>> layers;
  std::optional<LayerNorm<T>> norm;
  GRAFT_FIELDS(layers, norm)

  TransformerEncoder() = default;
  // Not inline, so that a program leaves it to graft::compiled.
  [[gnu::noinline]] TransformerEncoder(Index depth, Index width, Index heads, Index hidden, const Random& random,
                                       TransformerEncoderOptions o = {}, Site site = Site::current()) {
    if (depth < 0) fail("TransformerEncoder", {"depth is ", depth, ", expected 0 or more"}, {}, site);
    for (Index i = 0; i < depth; ++i)
      layers.emplace_back(width, heads, hidden, random.stream("layers", i), o.layer, site);
    if (o.final_norm) norm.emplace(width, NormOptions{.eps = o.layer.eps, .bias = o.layer.bias}, site);
  }

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    return (*this)(x, {}, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("TransformerEncoder", site);
    Tensor<T> h = x;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::string place = "layers." + detail::as_text(i);
      const Named part(place.c_str(), site);
      h = layers[i](h, mask, context, site);
    }
    return norm ? (*norm)(h, site) : h;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
