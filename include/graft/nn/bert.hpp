#pragma once
// Encoders of text. Devlin, Chang, Lee, Toutanova, "BERT: pre-training of deep bidirectional Transformers for language
// understanding", NAACL 2019, and the smaller ones of its kind: MiniLM (Wang et al., NeurIPS 2020), sentence encoders on
// it (Reimers, Gurevych, EMNLP 2019).

#include <span>
#include <string>
#include <vector>

#include "graft/model/names.hpp"
#include "graft/nn/embedding.hpp"
#include "graft/nn/transformer.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of a `Bert`; the defaults are those of bert-base-uncased.
struct BertOptions {
  Index vocabulary = 30522, width = 768, depth = 12, heads = 12;
  Index hidden = 3072;    ///< of the perceptrons
  Index positions = 512;  ///< the longest text, in tokens
  Index types = 2;        ///< kinds of segments
  double dropout = 0.1, eps = 1e-12;
};

/// Post-norm Transformer encoder over the sum of a token's, a position's and a segment's vector, normalised: ids [batch,
/// time] in 0 .. vocabulary - 1 -> [batch, time, width].
template <class T = float>
struct Bert {
  Embedding<T> word_embeddings, position_embeddings, token_type_embeddings;
  LayerNorm<T> norm;
  TransformerEncoder<T> encoder;
  double dropout = 0;
  GRAFT_FIELDS(word_embeddings, position_embeddings, token_type_embeddings, norm, encoder)
  GRAFT_CONFIG(dropout)

  Bert() = default;
  /// Normal embeddings of standard deviation 0.02, as published; the encoder's initial values are its layers'.
  explicit Bert(const Random& random, const BertOptions& o = {}, Site site = Site::current())
      : norm(o.width, {.eps = o.eps}, site),
        encoder(o.depth, o.width, o.heads, o.hidden, random.stream("encoder"),
                {.layer = {.dropout = o.dropout, .activation = Activation::gelu, .eps = o.eps}}, site),
        dropout(o.dropout) {
    const auto table = [&](Index rows, const char* name) {
      Embedding<T> result;
      result.weight = scaled_normal<T>({rows, o.width}, 0.02, random.stream(name), site);
      return result;
    };
    word_embeddings = table(o.vocabulary, "word_embeddings");
    position_embeddings = table(o.positions, "position_embeddings");
    token_type_embeddings = table(o.types, "token_type_embeddings");
  }

  /// `mask` [batch, time]: true where there is a token; all tokens belong to the first segment. Throws IndexError for
  /// an id outside the vocabulary, ShapeError for more tokens than the model has positions.
  template <Integer I>
  Tensor<T> operator()(const Tensor<I>& ids, const Tensor<bool>& mask, ContextRef context,
                       Site site = Site::current()) const {
    return (*this)(ids, mask, zeros<I>(ids.shape()), context, site);
  }
  /// `segments` [batch, time]: the segment of each token, in 0 .. types - 1.
  template <Integer I>
  Tensor<T> operator()(const Tensor<I>& ids, const Tensor<bool>& mask, const Tensor<I>& segments, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Bert", site);
    const Index positions = position_embeddings.weight.size(0);
    if (ids.rank() != 2 || segments.shape() != ids.shape() || ids.size(1) > positions)
      fail<ShapeError>("Bert", {"expected ids and segments [batch, time] of at most ", positions, " tokens"},
                       {{"ids", ids.shape()}, {"segments", segments.shape()}}, site);
    const Tensor<T> place = slice(position_embeddings.weight, 0, 0, ids.size(1), 1, site);
    const Tensor<T> sum = word_embeddings(ids, site) + token_type_embeddings(segments, site) + place;
    return encoder(Dropout{dropout}(norm(sum, site), context, site), {.key_mask = mask}, context, site);
  }
};

/// Names of a `Bert` in the files of the transformers library's BertModel; its pooler, which sentence encoders do
/// not use, and the numbers of its positions are `bert_ignored`.
///
///     load_weights(read_safetensors("model.safetensors"), bert, {.names = bert_names(), .ignore = bert_ignored()});
inline std::span<const PublishedName> bert_names() {
  static const std::vector<PublishedName> all = {
      {"word_embeddings.", {"embeddings.word_embeddings."}},
      {"position_embeddings.", {"embeddings.position_embeddings."}},
      {"token_type_embeddings.", {"embeddings.token_type_embeddings."}},
      {"encoder.layers.", {"encoder.layer."}},
      {".self_attn.in_proj_", {".attention.self.query.", ".attention.self.key.", ".attention.self.value."}},
      {".self_attn.out_proj.", {".attention.output.dense."}},
      {".norm1.", {".attention.output.LayerNorm."}},
      {".linear1.", {".intermediate.dense."}},
      {".linear2.", {".output.dense."}},
      {".norm2.", {".output.LayerNorm."}},
      {"norm.", {"embeddings.LayerNorm."}}};
  return all;
}
/// Arrays of those files that a `Bert` has not.
inline std::vector<std::string> bert_ignored() {
  return {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"};
}

/// Mean over each text's tokens, of length 1 in L2 norm: hidden [batch, time, width], mask [batch, time] -> [batch,
/// width]. Reimers, Gurevych, "Sentence-BERT", EMNLP 2019. A text without tokens gives zeros.
template <Real T>
Tensor<T> sentence_vectors(const Tensor<T>& hidden, const Tensor<bool>& mask, Site site = Site::current()) {
  const Named here("sentence_vectors", site);
  if (hidden.rank() != 3 || mask.shape() != Shape{hidden.size(0), hidden.size(1)})
    fail<ShapeError>("sentence_vectors", "expected hidden [batch, time, width] and mask [batch, time]",
                     {{"hidden", hidden.shape()}, {"mask", mask.shape()}}, site);
  const Tensor<T> known = cast<T>(mask), weights = known / maximum(sum(known, {1}, true), T(1));
  const Tensor<T> means = matmul(reshape(weights, {mask.size(0), 1, mask.size(1)}), hidden, {}, site);
  const Tensor<T> rows = reshape(means, {hidden.size(0), hidden.size(2)});
  return unit_rows(rows, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
