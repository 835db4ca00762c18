#pragma once
// Decoder-only language models: Radford, Wu, Child, Luan, Amodei, Sutskever, "Language models are unsupervised
// multitask learners" (GPT-2), 2019; with rotary positions, RMS norms and a gated perceptron as options, as of LLaMA
// (Touvron et al. 2023).

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graft/model/names.hpp"
#include "graft/nn/embedding.hpp"
#include "graft/nn/transformer.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a model knows where a token stands: a learned or a sinusoidal vector is added to it, queries and keys are
/// turned, or scores fall with the distance.
enum class Positions { learned, sinusoidal, rotary, alibi };

/// Sizes of a `Gpt`.
struct GptOptions {
  Index vocabulary = 50257, width = 768, depth = 12, heads = 12;
  Index hidden = 0;      ///< of the perceptrons; 0: `usual_hidden`
  Index longest = 1024;  ///< the most tokens of a text
  Positions positions = Positions::learned;
  bool tied = true;  ///< scores of tokens are dot products with their embeddings; false: a linear map of its own
  TransformerOptions layer = {.activation = Activation::gelu_tanh, .norm_first = true};
};

/// A stack of pre-norm blocks under a causal mask over embedded tokens, and a score for each token that may come next:
/// ids [batch, time] in 0 .. vocabulary - 1 -> [batch, time, vocabulary].
template <class T = float>
struct Gpt {
  Embedding<T> word_embeddings;
  std::optional<Embedding<T>> position_embeddings;
  TransformerEncoder<T> decoder;
  std::optional<Linear<T>> head;  ///< width -> vocabulary, unless the embeddings serve
  GptOptions options;
  GRAFT_FIELDS(word_embeddings, position_embeddings, decoder, head)
  GRAFT_CONFIG(options)

  Gpt() = default;
  /// GPT-2's initial values: normal of deviation 0.02, of the maps that lead back into the residual stream divided by
  /// sqrt(2 depth); biases 0.
  explicit Gpt(const Random& random, const GptOptions& o = {}, Site site = Site::current()) : options(o) {
    constexpr double deviation = 0.02;
    TransformerOptions layer = o.layer;
    if (o.positions == Positions::rotary && !layer.rotary) layer.rotary = RotaryOptions();
    layer.alibi = layer.alibi || o.positions == Positions::alibi;
    const Random stack = random.stream("decoder");
    decoder = TransformerEncoder<T>(o.depth, o.width, o.heads, o.hidden, stack,
                                    {.layer = layer, .final_norm = layer.norm_first}, site);
    const double inner = deviation / std::sqrt(2 * std::max(static_cast<double>(o.depth), 1.0));
    const auto draw = [&](Linear<T>& map, double own, const Random& stream) {
      map.weight = scaled_normal<T>(map.weight.shape(), own, stream, site);
      if (map.bias) map.bias = zeros<T>(map.bias->shape(), site);
    };
    for (std::size_t i = 0; i < decoder.layers.size(); ++i) {
      TransformerEncoderLayer<T>& block = decoder.layers[i];
      const Random own = stack.stream("initial values", i);
      Tensor<T>& projections = block.self_attn.in_proj_weight;
      projections = scaled_normal<T>(projections.shape(), deviation, own.stream("in_proj_weight"), site);
      draw(block.self_attn.out_proj, inner, own.stream("out_proj"));
      draw(block.linear1, deviation, own.stream("linear1"));
      draw(block.linear2, inner, own.stream("linear2"));
      if (block.linear_gate) draw(*block.linear_gate, deviation, own.stream("linear_gate"));
    }
    const auto table = [&](Index rows, const char* name) {
      return scaled_normal<T>({rows, o.width}, deviation, random.stream(name), site);
    };
    word_embeddings.weight = table(o.vocabulary, "word_embeddings");
    if (o.positions == Positions::learned) {
      position_embeddings.emplace();
      position_embeddings->weight = table(o.longest, "position_embeddings");
    }
    if (o.tied) return;
    head = Linear<T>(o.width, o.vocabulary, random.stream("head"), {.bias = false}, site);
    draw(*head, deviation, random.stream("head"));
  }

  /// Scores of what may come after each token. Throws IndexError for an id outside the vocabulary, ShapeError for more
  /// than `longest` tokens.
  template <Integer I>
  Tensor<T> operator()(const Tensor<I>& ids, ContextRef context, Site site = Site::current()) const {
    return (*this)(ids, {.causal = true}, context, site);
  }
  /// The same under another mask, for packed texts: `{.causal = true, .mask = block_mask(segments)}`.
  template <Integer I>
  Tensor<T> operator()(const Tensor<I>& ids, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Gpt", site);
    const Tensor<T> x = Dropout{options.layer.dropout}(embedded(ids, 0, site), context, site);
    return scores(decoder(x, mask, context, site), site);
  }

  /// The scores of further tokens, which the cache then holds too: those of all tokens at once, whatever the portions
  /// they come in. For inference: no dropout, no gradients.
  template <Integer I>
  Tensor<T> step(const Tensor<I>& ids, TransformerCache<T>& cache, Site site = Site::current()) const {
    const Named here("Gpt", site);
    return scores(decoder.step(embedded(ids, cache.length(), site), cache, site), site);
  }
  /// Those of the last token alone, [batch, vocabulary].
  template <Integer I>
  Tensor<T> last_step(const Tensor<I>& ids, TransformerCache<T>& cache, Site site = Site::current()) const {
    const Named here("Gpt", site);
    const Tensor<T> h = decoder.step(embedded(ids, cache.length(), site), cache, site);
    const Index batch = h.shape()[0], time = h.shape()[1], width = h.shape()[2];
    if (time == 0) fail<ShapeError>("Gpt", "there is no last token", {{"ids", ids.shape()}}, site);
    return scores(reshape(slice(h, 1, time - 1, time, 1, site), {batch, width}, site), site);
  }

 private:
  template <Integer I>
  Tensor<T> embedded(const Tensor<I>& ids, Index first, Site site) const {
    if (ids.rank() != 2 || first + ids.shape()[1] > options.longest)
      fail<ShapeError>(
          "Gpt",
          {"expected ids [batch, time] of at most ", options.longest, " tokens, ", first, " before them included"},
          {{"ids", ids.shape()}}, site);
    const Index end = first + ids.shape()[1];
    const Tensor<T> words = word_embeddings(ids, site);
    if (position_embeddings) return words + slice(position_embeddings->weight, 0, first, end, 1, site);
    if (options.positions != Positions::sinusoidal) return words;
    return words + sinusoidal_positions<T>(ids.shape()[1], options.width, first, 10000, site);
  }
  Tensor<T> scores(const Tensor<T>& h, Site site) const {
    return head ? (*head)(h, site) : matmul(h, word_embeddings.weight, {.transpose_b = true}, site);
  }
};

/// Names of a `Gpt` with learned positions and tied embeddings in the files of the transformers library's GPT2Model,
/// whose linear maps are [in, out]:
///
///     load_weights(read_safetensors("model.safetensors"), gpt, {.names = gpt2_names(), .ignore = gpt2_ignored(12)});
inline std::span<const PublishedName> gpt2_names() {
  static const std::vector<PublishedName> all = {{"word_embeddings.", {"wte."}},
                                                 {"position_embeddings.", {"wpe."}},
                                                 {"decoder.norm.", {"ln_f."}},
                                                 {"decoder.layers.", {"h."}},
                                                 {".norm1.", {".ln_1."}},
                                                 {".norm2.", {".ln_2."}},
                                                 {".self_attn.in_proj_", {".attn.c_attn."}, true},
                                                 {".self_attn.out_proj.", {".attn.c_proj."}, true},
                                                 {".linear1.", {".mlp.c_fc."}, true},
                                                 {".linear2.", {".mlp.c_proj."}, true}};
  return all;
}
/// What such a file of `depth` layers may hold besides: their causal masks.
inline std::vector<std::string> gpt2_ignored(Index depth) {
  std::vector<std::string> all;
  for (Index i = 0; i < depth; ++i)
    for (const char* name : {".attn.bias", ".attn.masked_bias"}) all.push_back("h." + detail::as_text(i) + name);
  return all;
}

}  // namespace GRAFT_ABI
}  // namespace graft
