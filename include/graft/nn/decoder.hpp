#pragma once
// Transformer decoders (Vaswani et al., NeurIPS 2017): causal self-attention, attention to a memory, a perceptron.
// Parameter names and defaults are those of torch.nn.TransformerDecoderLayer and TransformerDecoder (batch_first). A
// decoder without a memory, as of GPT, is a `TransformerEncoder` under a causal mask.

#include <optional>
#include <string>
#include <vector>

#include "graft/nn/transformer.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a decoder may attend to, among its own tokens and in the memory.
template <Real T = float>
struct DecoderMask {
  AttentionMask<T> self = {.causal = true};
  AttentionMask<T> memory = {};
};

/// What a decoder layer remembers: its own tokens so far, and the memory.
template <class T = float>
struct DecoderLayerCache {
  KvCache<T> self, memory;
};

/// Self-attention, attention to the memory and a two-layer perceptron, each with a residual connection, a norm and, if
/// asked for, a gate: x [batch, time, width], memory [batch, keys, memory_width] -> [batch, time, width], or all
/// without the batch axis. Throws ValueError for a gate that is not finite, and for a stochastic depth outside [0, 1).
template <class T = float>
struct TransformerDecoderLayer {
  MultiHeadAttention<T> self_attn, multihead_attn;
  Linear<T> linear1, linear2;            ///< width -> hidden -> width
  std::optional<Linear<T>> linear_gate;  ///< width -> hidden, of a gated perceptron
  BlockNorm<T> norm1, norm2, norm3;
  std::optional<Tensor<T>> gate1, gate2, gate3;  ///< [width], of the two attentions and of the perceptron
  TransformerOptions options;
  GRAFT_FIELDS(self_attn, multihead_attn, linear1, linear2, linear_gate, norm1, norm2, norm3, gate1, gate2, gate3)
  GRAFT_CONFIG(options)

  TransformerDecoderLayer() = default;
  /// `hidden` 0: `usual_hidden`.
  TransformerDecoderLayer(Index width, Index heads, Index hidden, const Random& random, TransformerOptions o = {},
                          Site site = Site::current())
      : self_attn(
            width, heads, random.stream("self_attn"),
            {.dropout = o.dropout, .bias = o.bias, .key_heads = o.key_heads, .rotary = o.rotary, .alibi = o.alibi},
            site),
        multihead_attn(width, heads, random.stream("multihead_attn"),
                       {.dropout = o.dropout, .bias = o.bias, .key_heads = o.key_heads, .memory_width = o.memory_width},
                       site),
        norm1(width, o, site),
        norm2(width, o, site),
        norm3(width, o, site),
        gate1(detail::initial_gate<T>("TransformerDecoderLayer", width, o.gate, site)),
        gate2(detail::initial_gate<T>("TransformerDecoderLayer", width, o.gate, site)),
        gate3(detail::initial_gate<T>("TransformerDecoderLayer", width, o.gate, site)),
        options(o) {
    detail::check_stochastic_depth("TransformerDecoderLayer", o.stochastic_depth, site);
    if (hidden == 0) hidden = usual_hidden(width, o.glu);
    linear1 = Linear<T>(width, hidden, random.stream("linear1"), {.bias = o.bias}, site);
    linear2 = Linear<T>(hidden, width, random.stream("linear2"), {.bias = o.bias}, site);
    if (o.glu) linear_gate = Linear<T>(width, hidden, random.stream("linear_gate"), {.bias = o.bias}, site);
  }

  Tensor<T> operator()(const Tensor<T>& x, const Tensor<T>& memory, ContextRef context,
                       Site site = Site::current()) const {
    return (*this)(x, memory, {}, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& x, const Tensor<T>& memory, const DecoderMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("TransformerDecoderLayer", site);
    return around([&](const Tensor<T>& h) { return self_attn(h, mask.self, context, site); },
                  [&](const Tensor<T>& h) { return multihead_attn(h, memory, memory, mask.memory, context, site); }, x,
                  context, site);
  }

  /// The cache of a sequence that is still empty, about `memory` [batch, keys, memory_width].
  DecoderLayerCache<T> start(const Tensor<T>& memory, Site site = Site::current()) const {
    const Named here("TransformerDecoderLayer", site);
    return {{}, multihead_attn.remember(memory, site)};
  }
  /// The layer under a causal mask for further tokens, see `MultiHeadAttention::step`; `key_mask` [batch, keys] is that
  /// of the memory.
  Tensor<T> step(const Tensor<T>& x, DecoderLayerCache<T>& cache, const Tensor<bool>& key_mask = {},
                 Site site = Site::current()) const {
    const Named here("TransformerDecoderLayer", site);
    return around([&](const Tensor<T>& h) { return self_attn.step(h, cache.self, site); },
                  [&](const Tensor<T>& h) { return multihead_attn.recall(h, cache.memory, key_mask, site); }, x,
                  Context(), site);
  }

 private:
  template <class Self, class Cross>
  Tensor<T> around(const Self& self, const Cross& cross, const Tensor<T>& x, ContextRef context, Site site) const {
    const Dropout drop{options.dropout};
    const auto attend = [&](const Tensor<T>& h) {
      const Named part("self_attn", site);
      return detail::branch(gate1, drop(self(h), context, site), options, context, site);
    };
    const auto look_up = [&](const Tensor<T>& h) {
      const Named part("multihead_attn", site);
      return detail::branch(gate2, drop(cross(h), context, site), options, context, site);
    };
    const auto perceive = [&](const Tensor<T>& h) {
      return detail::branch(gate3, detail::perceptron(linear1, linear_gate, linear2, options, h, context, site),
                            options, context, site);
    };
    if (options.norm_first) {
      const Tensor<T> h = x + attend(norm1(x, site));
      const Tensor<T> informed = h + look_up(norm2(h, site));
      return informed + perceive(norm3(informed, site));
    }
    const Tensor<T> h = norm1(x + attend(x), site);
    const Tensor<T> informed = norm2(h + look_up(h), site);
    return norm3(informed + perceive(informed), site);
  }
};

/// What a decoder remembers of the tokens so far, and of the memory.
template <class T = float>
struct DecoderCache {
  std::vector<DecoderLayerCache<T>> layers;
  Tensor<bool> key_mask;  ///< of the memory, [batch, keys]; empty: all may be seen

  /// Tokens so far.
  Index length() const { return layers.empty() ? 0 : layers.front().self.length(); }
  /// Forgets all tokens from `length` on.
  void truncate(Index length, Site site = Site::current()) {
    for (DecoderLayerCache<T>& layer : layers) layer.self.truncate(length, site);
  }
  /// Room for `tokens` in all, once there is a first token.
  void reserve(Index tokens, Site site = Site::current()) {
    for (DecoderLayerCache<T>& layer : layers) layer.self.reserve(tokens, site);
  }
};

/// Decoder layers of equal size one after another, then the final norm if there is one. Options as of a
/// `TransformerEncoder`.
template <class T = float>
struct TransformerDecoder {
  std::vector<TransformerDecoderLayer<T>> layers;
  std::optional<BlockNorm<T>> norm;
  GRAFT_FIELDS(layers, norm)

  TransformerDecoder() = default;
  TransformerDecoder(Index depth, Index width, Index heads, Index hidden, const Random& random,
                     TransformerEncoderOptions o = {}, Site site = Site::current()) {
    if (depth < 0) fail("TransformerDecoder", {"depth is ", depth, ", expected 0 or more"}, {}, site);
    for (Index i = 0; i < depth; ++i)
      layers.emplace_back(width, heads, hidden, random.stream("layers", i), detail::at_depth(o.layer, i, depth), site);
    if (o.final_norm) norm.emplace(width, o.layer, site);
  }

  Tensor<T> operator()(const Tensor<T>& x, const Tensor<T>& memory, ContextRef context,
                       Site site = Site::current()) const {
    return (*this)(x, memory, {}, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& x, const Tensor<T>& memory, const DecoderMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("TransformerDecoder", site);
    return detail::through_layers(
        layers, norm, [&](std::size_t i, const Tensor<T>& h) { return layers[i](h, memory, mask, context, site); }, x,
        site);
  }

  /// The cache of sequences that are still empty, about `memory` [batch, keys, memory_width].
  DecoderCache<T> start(const Tensor<T>& memory, const Tensor<bool>& key_mask = {}, Site site = Site::current()) const {
    const Named here("TransformerDecoder", site);
    DecoderCache<T> cache{{}, key_mask};
    for (const TransformerDecoderLayer<T>& layer : layers) cache.layers.push_back(layer.start(memory, site));
    return cache;
  }
  /// Further tokens x [batch, time, width], which the cache then holds too: the result for all tokens at once, whatever
  /// the portions they come in. For inference: no dropout, no gradients.
  Tensor<T> step(const Tensor<T>& x, DecoderCache<T>& cache, Site site = Site::current()) const {
    const Named here("TransformerDecoder", site);
    if (cache.layers.size() != layers.size())
      fail("TransformerDecoder", {"the cache is one of ", cache.layers.size(), " layers, there are ", layers.size()},
           {{"x", x.shape()}}, site);
    return detail::through_layers(
        layers, norm,
        [&](std::size_t i, const Tensor<T>& h) { return layers[i].step(h, cache.layers[i], cache.key_mask, site); }, x,
        site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
