#pragma once
// Transformer encoders in parts, so that a method can put its own layers in the middle: what turns items into tokens,
// the stack of layers, and the mean over tokens.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/common/inner_loop.hpp"
#include "graft/nn/backbones.hpp"
#include "graft/nn/bert.hpp"
#include "graft/nn/text_embedding.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Tokens of items, and which of them there are.
template <class T = float>
struct Tokens {
  Tensor<T> x;              ///< [items, time, width]
  Tensor<bool> there = {};  ///< [items, time]; empty: all
};

/// Layers of a kind one after another, then a norm if there is one: a `TransformerEncoder` of other layers.
template <class Layer, class T = float>
struct LayerStack {
  std::vector<Layer> layers;
  std::optional<BlockNorm<T>> norm;
  GRAFT_FIELDS(layers, norm)

  /// x [batch, time, width] -> the same shape.
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    return detail::through_layers(
        layers, norm, [&](std::size_t i, const Tensor<T>& h) { return layers[i](h, mask, context, site); }, x, site);
  }
  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    return (*this)(x, {}, context, site);
  }
};

/// The patches of images; see `PatchTransformer`.
template <class T = float>
struct PatchTokens {
  PatchEmbedding<T> patches;
  GRAFT_FIELDS(patches)
  Tokens<T> operator()(const Tensor<T>& images, ContextRef) const { return {patches(images)}; }
};

/// The words of texts; see `TextEmbedding`.
template <class T = float>
struct WordTokens {
  Embedding<T> tokens;
  Tensor<T> positions;  ///< [length, width]
  GRAFT_FIELDS(tokens, positions)

  /// Ids [n, time] as whole numbers, 0 where there is no token. Throws ShapeError, IndexError.
  Tokens<T> operator()(const Tensor<T>& ids, ContextRef) const {
    if (ids.rank() != 2 || ids.size(1) > positions.size(0))
      fail<ShapeError>("WordTokens", {"expected ids [n, time] of at most ", positions.size(0), " tokens"},
                       {{"ids", ids.shape()}});
    const Tensor<std::int64_t> whole = cast<std::int64_t>(ids);
    return {tokens(whole) + slice(positions, 0, 0, ids.size(1)), whole != 0};
  }
};

/// What a `Bert` makes of token ids before its layers.
template <class T = float>
struct BertTokens {
  Bert<T> embeddings;  ///< without layers
  GRAFT_FIELDS(embeddings)

  /// Ids [n, time] as whole numbers, 0, which is BERT's padding, where there is no token.
  Tokens<T> operator()(const Tensor<T>& ids, ContextRef context) const {
    const Tensor<std::int64_t> whole = cast<std::int64_t>(ids);
    const Tensor<bool> there = whole != 0;
    return {embeddings(whole, there, context), there};
  }
};

/// Items -> [items, width]: the mean over the tokens that there are, after the layers; zeros where there is none.
template <class Front, class Encoder>
struct TokenEncoder {
  Front front;        ///< (items, context) -> `Tokens`
  Encoder encoder;    ///< (x, mask, context) -> the same shape
  bool unit = false;  ///< means of length 1 in L2 norm, as sentence encoders make them
  GRAFT_FIELDS(front, encoder)
  GRAFT_CONFIG(unit)

  template <class X>
  auto operator()(const X& items, ContextRef context) const {
    const auto tokens = front(items, context);
    using T = typename std::remove_cvref_t<decltype(tokens.x)>::Scalar;
    const Tensor<T> h = encoder(tokens.x, {.key_mask = tokens.there}, context);
    return unit ? unit_rows(means(h, tokens.there)) : means(h, tokens.there);
  }

 private:
  template <class T>
  static Tensor<T> means(const Tensor<T>& h, const Tensor<bool>& there) {
    if (!there.defined()) return mean(h, {1});
    const Tensor<T> share = reshape(cast<T>(there), {h.size(0), h.size(1), 1});
    return sum(h * share, {1}) / maximum(sum(share, {1}), T(1));
  }
};

/// The parts of a `PatchTransformer`: the same answers, bit for bit.
template <class T>
TokenEncoder<PatchTokens<T>, TransformerEncoder<T>> token_encoder(const PatchTransformer<T>& model) {
  return {{model.patches}, model.encoder};
}
/// The parts of a `TextEmbedding`: the same answers, bit for bit.
template <class T>
TokenEncoder<WordTokens<T>, TransformerEncoder<T>> token_encoder(const TextEmbedding<T>& model) {
  return {{model.tokens, model.positions}, model.encoder};
}
/// The parts of a `Bert` that encodes sentences: `sentence_vectors` of token ids.
template <class T>
TokenEncoder<BertTokens<T>, TransformerEncoder<T>> token_encoder(const Bert<T>& model) {
  Bert<T> front = model;
  front.encoder = {};
  return {{std::move(front)}, model.encoder, true};
}

namespace detail {

/// A `TransformerEncoderLayer` with another attention, and with what happens to the results of attention and perceptron
/// before each is added to its input; the layer itself where `attention` is its own and both leave them as they are.
template <class T, class Attention, class AfterAttention, class AfterPerceptron>
Tensor<T> layer_with(const TransformerEncoderLayer<T>& layer, const Attention& attention,
                     const AfterAttention& after_attention, const AfterPerceptron& after_perceptron, const Tensor<T>& x,
                     ContextRef context, Site site) {
  const TransformerOptions& o = layer.options;
  const auto attend = [&](const Tensor<T>& h) {
    return branch(layer.gate1, after_attention(Dropout{o.dropout}(attention(h), context, site)), o, context, site);
  };
  const auto perceive = [&](const Tensor<T>& h) {
    return branch(layer.gate2,
                  after_perceptron(perceptron(layer.linear1, layer.linear_gate, layer.linear2, o, h, context, site)), o,
                  context, site);
  };
  if (o.norm_first) {
    const Tensor<T> h = x + attend(layer.norm1(x, site));
    return h + perceive(layer.norm2(h, site));
  }
  const Tensor<T> h = layer.norm1(x + attend(x), site);
  return layer.norm2(h + perceive(h), site);
}

/// Which of `depth` layers are named, "layers.0", all without names. Throws ValueError for a name that none has.
inline std::vector<bool> chosen_layers(const char* op, std::size_t depth, const std::vector<std::string>& names,
                                       Site site) {
  std::vector<bool> chosen(depth, names.empty());
  for (const std::string& name : names) {
    std::vector<std::string> layers;
    bool found = false;
    for (std::size_t i = 0; i < depth; ++i) {
      layers.push_back("layers." + as_text(i));
      if (layers.back() == name) chosen[i] = found = true;
    }
    if (!found) fail(op, {"no layer is named '", name, "'; there are ", listed(layers)}, {}, site);
  }
  return chosen;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
