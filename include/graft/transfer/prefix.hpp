#pragma once
// Learned keys and values in every layer: Li, Liang, "Prefix-tuning: optimizing continuous prompts for generation", ACL
// 2021. Learned input vectors: Lester, Al-Rfou, Constant, "The power of scale for parameter-efficient prompt tuning",
// EMNLP 2021. Formulas as the catalogue of methods has them; the papers were not read.

#include <string>
#include <utility>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/token_encoder.hpp"
#include "graft/common/tuner.hpp"
#include "graft/model/init.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `prefix` and `prompt`. The prefixes are parameters themselves: the perceptron that Li and Liang train
/// them through, and drop afterwards, is left out.
struct PrefixOptions {
  Index length = 8;                      ///< keys and values of a layer, or vectors before the input; 0: the base model
  double deviation = 0.02;               ///< of their first values, normal
  std::vector<std::string> layers = {};  ///< of `prefix`: "layers.0", ...; empty: all
};

namespace detail {

/// true of the `length` first places and `mask` [..., keys] of the others, where there is a mask.
inline Tensor<bool> after_seen(const Tensor<bool>& mask, Index length) {
  if (!mask.defined()) return mask;
  const int axis = mask.rank() - 1;
  return concat<bool>({ones<bool>(mask.shape().with(axis, length)), mask}, axis);
}

/// Self-attention of x [batch, time, width] whose keys and values are those of x after further ones [length, ..]. These
/// are seen by all queries and ask nothing themselves.
template <class T>
Tensor<T> attend_after(const MultiHeadAttention<T>& attention, const Tensor<T>& keys, const Tensor<T>& values,
                       const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context, Site site) {
  attention.check_weights(site);
  const Index batch = x.size(0), width = attention.in_proj_weight.size(1), depth = width / attention.heads;
  const Index own = attention.key_heads * depth, length = keys.size(0);
  const auto project = [&](Index begin, Index end) {
    const Tensor<T> y = matmul(x, slice(attention.in_proj_weight, 0, begin, end, 1, site), {.transpose_b = true}, site);
    return attention.in_proj_bias ? y + slice(*attention.in_proj_bias, 0, begin, end, 1, site) : y;
  };
  const auto turned = [&](const Tensor<T>& heads) {
    return attention.rotation ? rotary(heads, 0, *attention.rotation, site) : heads;
  };
  const auto after = [&](const Tensor<T>& first, const Tensor<T>& heads) {
    const Tensor<T> all = broadcast_to(reshape(first, {1, length, own}), {batch, length, own});
    return concat<T>({split_heads(all, attention.key_heads, site), heads}, 2, site);
  };
  AttentionOptions<T> options;
  options.causal = mask.causal;
  options.key_mask = after_seen(mask.key_mask, length);
  options.mask = after_seen(mask.mask, length);
  options.bias = mask.bias;
  if (mask.bias.defined() && mask.bias.shape()[-1] != 1)
    options.bias = concat<T>({zeros<T>(mask.bias.shape().with(-1, length)), mask.bias}, mask.bias.rank() - 1);
  if (context->training()) {
    options.dropout = attention.dropout;
    options.random = context->stream("attention dropout");
  }
  const Tensor<T> q = turned(split_heads(project(0, width), attention.heads, site));
  const Tensor<T> k = turned(split_heads(project(width, width + own), attention.key_heads, site));
  const Tensor<T> v = split_heads(project(width + own, width + 2 * own), attention.key_heads, site);
  return attention.out_proj(
      merge_heads(scaled_dot_product_attention(q, after(keys, k), after(values, v), options, site), site), site);
}

}  // namespace detail

/// A Transformer layer, frozen, whose attention sees learned keys and values too.
template <class T = float>
struct PrefixLayer {
  TransformerEncoderLayer<T> layer;
  Tensor<T> keys, values;  ///< [length, key_heads depth]; of length 0 the layer is as it was
  GRAFT_FIELDS(layer, keys, values)

  /// x [batch, time, width] -> the same shape. Throws ShapeError for another rank, ValueError for a mask of so many
  /// keys.
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    if (keys.size(0) == 0) return layer(x, mask, context, site);
    if (x.rank() != 3) fail<ShapeError>("prefix", "expected x [batch, time, width]", {{"x", x.shape()}}, site);
    if (mask.keys) fail("prefix", "the mask must not cut off keys: those before the input are not counted", {}, site);
    const Named here("PrefixLayer", site);
    const auto attend = [&](const Tensor<T>& h) {
      return detail::attend_after(layer.self_attn, keys, values, h, mask, context, site);
    };
    const auto same = [](const Tensor<T>& h) { return h; };
    return detail::layer_with(layer, attend, same, same, x, context, site);
  }
};

/// The encoder, frozen, with learned keys and values in the chosen layers; 2 length key_heads depth numbers each are
/// all that is trained. With length 0 the same answers, bit for bit. Throws ValueError for a negative length, a
/// deviation that is negative or not finite, a layer that does not exist, with a list of those that do, and layers with
/// ALiBi, which knows no place before the first.
template <class T>
LayerStack<PrefixLayer<T>, T> prefix(const TransformerEncoder<T>& encoder, const Random& random,
                                     const PrefixOptions& o = {}, Site site = Site::current()) {
  detail::check_count("prefix", "length", o.length, 0, site);
  detail::check_option<T>("prefix", "deviation", o.deviation, detail::Range::not_negative, site);
  const std::vector<bool> chosen = detail::chosen_layers("prefix", encoder.layers.size(), o.layers, site);
  const TransformerEncoder<T> frozen = detail::all_frozen(encoder);
  LayerStack<PrefixLayer<T>, T> result{{}, frozen.norm};
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const TransformerEncoderLayer<T>& layer = frozen.layers[i];
    const MultiHeadAttention<T>& attention = layer.self_attn;
    if (attention.alibi) fail("prefix", {"layers.", i, " has ALiBi, which knows no place before the first"}, {}, site);
    const Index length = chosen[i] ? o.length : 0;
    const Index own = attention.in_proj_weight.size(1) / attention.heads * attention.key_heads;
    const Random draws = random.stream("prefix", i);
    result.layers.push_back({layer, scaled_normal<T>({length, own}, o.deviation, draws.stream("keys"), site),
                             scaled_normal<T>({length, own}, o.deviation, draws.stream("values"), site)});
  }
  return result;
}
/// Of a model in parts: what is before the layers is frozen.
template <class Front, class T>
TokenEncoder<Front, LayerStack<PrefixLayer<T>, T>> prefix(const TokenEncoder<Front, TransformerEncoder<T>>& model,
                                                          const Random& random, const PrefixOptions& o = {},
                                                          Site site = Site::current()) {
  return {detail::all_frozen(model.front), prefix(model.encoder, random, o, site), model.unit};
}

/// An encoder, frozen, that sees learned vectors before its input; what it makes of them is dropped.
template <class T = float>
struct PromptEncoder {
  TransformerEncoder<T> encoder;
  Tensor<T> vectors;  ///< [length, width]
  GRAFT_FIELDS(encoder, vectors)

  /// x [batch, time, width] -> the same shape. Throws ShapeError for another rank, ValueError for masks that are not of
  /// keys alone.
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Index length = vectors.size(0);
    if (length == 0) return encoder(x, mask, context, site);
    if (x.rank() != 3 || x.size(2) != vectors.size(1))
      fail<ShapeError>("prompt", {"expected x [batch, time, ", vectors.size(1), "]"}, {{"x", x.shape()}}, site);
    if (mask.mask.defined() || mask.bias.defined() || mask.keys)
      fail("prompt", "the mask may be causal or of keys, no other: the input has more places inside", {}, site);
    const Named here("PromptEncoder", site);
    const Tensor<T> first =
        broadcast_to(reshape(vectors, {1, length, vectors.size(1)}), {x.size(0), length, vectors.size(1)});
    AttentionMask<T> longer = mask;
    longer.key_mask = detail::after_seen(mask.key_mask, length);
    const Tensor<T> h = encoder(concat<T>({first, x}, 1), longer, context, site);
    return slice(h, 1, length, length + x.size(1));
  }
  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    return (*this)(x, {}, context, site);
  }
};

/// The encoder, frozen, with learned vectors before its input, length width numbers: all that is trained. With length 0
/// the same answers, bit for bit. Throws ValueError for a negative length, a deviation that is negative or not finite,
/// an encoder without layers, and for chosen layers, which are not a prompt's.
template <class T>
PromptEncoder<T> prompt(const TransformerEncoder<T>& encoder, const Random& random, const PrefixOptions& o = {},
                        Site site = Site::current()) {
  detail::check_count("prompt", "length", o.length, 0, site);
  detail::check_option<T>("prompt", "deviation", o.deviation, detail::Range::not_negative, site);
  if (!o.layers.empty()) fail("prompt", "layers are chosen, but a prompt stands before the input alone", {}, site);
  if (encoder.layers.empty()) fail("prompt", "the encoder has no layers", {}, site);
  const Index width = encoder.layers[0].linear2.weight.size(0);
  return {detail::all_frozen(encoder), scaled_normal<T>({o.length, width}, o.deviation, random.stream("prompt"), site)};
}
/// Of a model in parts: what is before the layers is frozen.
template <class Front, class T>
TokenEncoder<Front, PromptEncoder<T>> prompt(const TokenEncoder<Front, TransformerEncoder<T>>& model,
                                             const Random& random, const PrefixOptions& o = {},
                                             Site site = Site::current()) {
  return {detail::all_frozen(model.front), prompt(model.encoder, random, o, site), model.unit};
}

/// A way to tune (`TunerMethod`): `prefix` of a body that is a `TransformerEncoder` or a `TokenEncoder` of one.
struct Prefix {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "prefix";
  PrefixOptions options = {};

  template <Model M>
  auto start(const M& body, const Random& random, Site site = Site::current()) const {
    return prefix(body, random, options, site);
  }
};
/// The same with `prompt`.
struct Prompt {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "prompt";
  PrefixOptions options = {};

  template <Model M>
  auto start(const M& body, const Random& random, Site site = Site::current()) const {
    return prompt(body, random, options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
