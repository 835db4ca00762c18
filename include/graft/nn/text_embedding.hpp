#pragma once
// Short texts as vectors: token embeddings, a small Transformer encoder, the mean over tokens.

#include <cmath>

#include "graft/nn/embedding.hpp"
#include "graft/nn/transformer.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of a `TextEmbedding`.
struct TextEmbeddingOptions {
  Index vocabulary = 1000;  ///< tokens; number 0 stands for no token
  Index length = 32;        ///< places, the longest text
  Index width = 64;         ///< of the embedding
  Index depth = 1;          ///< layers of the encoder
  Index heads = 4;
  Index hidden = 128;  ///< of the perceptrons
};

/// Token ids [n, time], whole numbers of any element type, 0 where there is no token -> [n, width]: vectors of token
/// and place, a pre-norm encoder that sees no empty places, and the mean over tokens; zeros for a text without any.
/// time is `length` at most.
template <class T = float>
struct TextEmbedding {
  Embedding<T> tokens;
  Tensor<T> positions;  ///< [length, width]
  TransformerEncoder<T> encoder;
  GRAFT_FIELDS(tokens, positions, encoder)

  TextEmbedding() = default;
  /// Vectors normal with deviation 0.02 for places, and 1 / sqrt(width) for tokens. Throws ValueError for sizes below 1
  /// and heads that do not divide the width.
  explicit TextEmbedding(const Random& random, const TextEmbeddingOptions& o = {}, Site site = Site::current()) {
    if (o.vocabulary < 1 || o.length < 1 || o.width < 1)
      fail("TextEmbedding", {o.vocabulary, " tokens, ", o.length, " places, width ", o.width}, {}, site);
    const double deviation = 1 / std::sqrt(static_cast<double>(o.width));
    tokens.weight = scaled_normal<T>({o.vocabulary, o.width}, deviation, random.stream("tokens"), site);
    positions = scaled_normal<T>({o.length, o.width}, 0.02, random.stream("positions"), site);
    encoder = TransformerEncoder<T>(
        o.depth, o.width, o.heads, o.hidden, random.stream("encoder"),
        {.layer = {.dropout = 0, .activation = Activation::gelu, .norm_first = true}, .final_norm = true}, site);
  }

  /// Throws ShapeError for another rank or longer texts, IndexError for an id outside the vocabulary.
  template <class I>
  Tensor<T> operator()(const Tensor<I>& ids, ContextRef context, Site site = Site::current()) const {
    const Named here("TextEmbedding", site);
    if (ids.rank() != 2 || ids.size(1) > positions.size(0))
      fail<ShapeError>("TextEmbedding", {"expected ids [n, time] of at most ", positions.size(0), " tokens"},
                       {{"ids", ids.shape()}}, site);
    const Index count = ids.size(0), time = ids.size(1);
    const Tensor<std::int64_t> whole = cast<std::int64_t>(ids);
    const Tensor<bool> there = whole != 0;
    const Tensor<T> x = tokens(whole, site) + slice(positions, 0, 0, time, 1, site);
    const Tensor<T> h = encoder(x, {.key_mask = there}, context, site);
    const Tensor<T> share = reshape(cast<T>(there), {count, time, 1});
    return sum(h * share, {1}) / maximum(sum(share, {1}), T(1));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
