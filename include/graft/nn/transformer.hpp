#pragma once
// Transformer encoder blocks: post-norm as in Vaswani et al., NeurIPS 2017, pre-norm as in Xiong et al., ICML 2020.
// Parameter names and defaults are those of torch.nn.TransformerEncoderLayer and TransformerEncoder (batch_first).
// Gates: one number a channel as in LayerScale, Touvron et al., "Going deeper with image Transformers", ICCV 2021;
// they start at 0 as in ReZero, Bachlechner et al., UAI 2021, or above.

#include <optional>
#include <string>
#include <vector>

#include "graft/nn/block_parts.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Self-attention and a two-layer perceptron, each with a residual connection, a norm and, if asked for, a gate: x
/// [batch, time, width] (or [time, width]) -> the same shape. Throws ValueError for a gate that is not finite, and for
/// a stochastic depth outside [0, 1).
template <class T = float>
struct TransformerEncoderLayer {
  MultiHeadAttention<T> self_attn;
  Linear<T> linear1, linear2;            ///< width -> hidden -> width
  std::optional<Linear<T>> linear_gate;  ///< width -> hidden, of a gated perceptron
  BlockNorm<T> norm1, norm2;
  std::optional<Tensor<T>> gate1, gate2;  ///< [width], of the attention and of the perceptron
  TransformerOptions options;
  GRAFT_FIELDS(self_attn, linear1, linear2, linear_gate, norm1, norm2, gate1, gate2)
  GRAFT_CONFIG(options)

  TransformerEncoderLayer() = default;
  /// `hidden` 0: `usual_hidden`.
  TransformerEncoderLayer(Index width, Index heads, Index hidden, const Random& random, TransformerOptions o = {},
                          Site site = Site::current())
      : self_attn(
            width, heads, random.stream("self_attn"),
            {.dropout = o.dropout, .bias = o.bias, .key_heads = o.key_heads, .rotary = o.rotary, .alibi = o.alibi},
            site),
        norm1(width, o, site),
        norm2(width, o, site),
        gate1(detail::initial_gate<T>("TransformerEncoderLayer", width, o.gate, site)),
        gate2(detail::initial_gate<T>("TransformerEncoderLayer", width, o.gate, site)),
        options(o) {
    detail::check_stochastic_depth("TransformerEncoderLayer", o.stochastic_depth, site);
    if (hidden == 0) hidden = usual_hidden(width, o.glu);
    linear1 = Linear<T>(width, hidden, random.stream("linear1"), {.bias = o.bias}, site);
    linear2 = Linear<T>(hidden, width, random.stream("linear2"), {.bias = o.bias}, site);
    if (o.glu) linear_gate = Linear<T>(width, hidden, random.stream("linear_gate"), {.bias = o.bias}, site);
  }

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    return (*this)(x, {}, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("TransformerEncoderLayer", site);
    return around([&](const Tensor<T>& h) { return self_attn(h, mask, context, site); }, x, context, site);
  }
  /// The layer under a causal mask for further tokens, see `MultiHeadAttention::step`.
  Tensor<T> step(const Tensor<T>& x, KvCache<T>& cache, Site site = Site::current()) const {
    const Named here("TransformerEncoderLayer", site);
    return around([&](const Tensor<T>& h) { return self_attn.step(h, cache, site); }, x, Context(), site);
  }

 private:
  template <class Attention>
  Tensor<T> around(const Attention& attention, const Tensor<T>& x, ContextRef context, Site site) const {
    const auto attend = [&](const Tensor<T>& h) {
      const Named part("self_attn", site);
      return detail::branch(gate1, Dropout{options.dropout}(attention(h), context, site), options, context, site);
    };
    const auto perceive = [&](const Tensor<T>& h) {
      return detail::branch(gate2, detail::perceptron(linear1, linear_gate, linear2, options, h, context, site),
                            options, context, site);
    };
    if (options.norm_first) {
      const Tensor<T> h = x + attend(norm1(x, site));
      return h + perceive(norm2(h, site));
    }
    const Tensor<T> h = norm1(x + attend(x), site);
    return norm2(h + perceive(h), site);
  }
};

/// Options of a `TransformerEncoder`. A stochastic depth of `layer` is the rate of the last layer; those before it rise
/// to it in equal steps, rate (i + 1) / depth of layer i (Huang et al., ECCV 2016).
struct TransformerEncoderOptions {
  TransformerOptions layer;
  bool final_norm = false;  ///< a norm after the last layer, which pre-norm layers want
};

/// What the layers of a causal stack remember of the tokens so far, for `TransformerEncoder::step`. A value: a copy
/// goes on by itself.
template <class T = float>
struct TransformerCache {
  std::vector<KvCache<T>> layers;

  /// Tokens so far.
  Index length() const { return layers.empty() ? 0 : layers.front().length(); }
  /// Forgets all tokens from `length` on.
  void truncate(Index length, Site site = Site::current()) {
    for (KvCache<T>& layer : layers) layer.truncate(length, site);
  }
  /// Room for `tokens` in all, once there is a first token: no step allocates until it is used up.
  void reserve(Index tokens, Site site = Site::current()) {
    for (KvCache<T>& layer : layers) layer.reserve(tokens, site);
  }
};

namespace detail {

/// The options of layer i of `depth`, given those of the last.
inline TransformerOptions at_depth(TransformerOptions last, Index i, Index depth) {
  last.stochastic_depth *= static_cast<double>(i + 1) / static_cast<double>(depth);
  return last;
}

/// layer(i, h) for each of the layers, then the norm if there is one.
template <class T, class Layers, class Layer>
Tensor<T> through_layers(const Layers& layers, const std::optional<BlockNorm<T>>& norm, const Layer& layer,
                         const Tensor<T>& x, Site site) {
  Tensor<T> h = x;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string place = "layers." + as_text(i);
    const Named part(place.c_str(), site);
    h = layer(i, h);
  }
  return norm ? (*norm)(h, site) : h;
}

}  // namespace detail

/// Layers of equal size one after another, then the final norm if there is one.
template <class T = float>
struct TransformerEncoder {
  std::vector<TransformerEncoderLayer<T>> layers;
  std::optional<BlockNorm<T>> norm;
  GRAFT_FIELDS(layers, norm)

  TransformerEncoder() = default;
  // Not inline, so that a program leaves it to graft::compiled.
  [[gnu::noinline]] TransformerEncoder(Index depth, Index width, Index heads, Index hidden, const Random& random,
                                       TransformerEncoderOptions o = {}, Site site = Site::current()) {
    if (depth < 0) fail("TransformerEncoder", {"depth is ", depth, ", expected 0 or more"}, {}, site);
    for (Index i = 0; i < depth; ++i)
      layers.emplace_back(width, heads, hidden, random.stream("layers", i), detail::at_depth(o.layer, i, depth), site);
    if (o.final_norm) norm.emplace(width, o.layer, site);
  }

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    return (*this)(x, {}, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("TransformerEncoder", site);
    return detail::through_layers(
        layers, norm, [&](std::size_t i, const Tensor<T>& h) { return layers[i](h, mask, context, site); }, x, site);
  }
  /// The stack under a causal mask for further tokens x [batch, time, width], which the cache then holds too: the
  /// result for all tokens at once, whatever the portions they come in. For inference: no dropout, no gradients.
  Tensor<T> step(const Tensor<T>& x, TransformerCache<T>& cache, Site site = Site::current()) const {
    const Named here("TransformerEncoder", site);
    if (cache.layers.empty()) cache.layers.resize(layers.size());
    if (cache.layers.size() != layers.size())
      fail("TransformerEncoder", {"the cache is one of ", cache.layers.size(), " layers, there are ", layers.size()},
           {{"x", x.shape()}}, site);
    return detail::through_layers(
        layers, norm, [&](std::size_t i, const Tensor<T>& h) { return layers[i].step(h, cache.layers[i], site); }, x,
        site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
