#pragma once
// Learning in context: a Transformer reads labelled examples and answers a query, and nothing is adapted. Kirsch,
// Harrison, Sohl-Dickstein, Metz, "General-purpose in-context learning by meta-learning Transformers", 2022; with the
// class codes and the unknown code of Fifty, Duan, Junkins, Amid, Leskovec, Re, Thrun, "Context-aware meta-learning",
// ICLR 2024, as their published program has them; the papers themselves were not read.

#include <algorithm>
#include <cmath>
#include <optional>

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/norm.hpp"
#include "graft/nn/transformer.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Class codes of equal length 1 and equal angles, as far apart as `ways` vectors can be: code k is sqrt(C / (C - 1))
/// (e_k - 1/C (1 .. 1)) with C = ways and zeros behind it, [ways, width]. Inner products are 1 and -1 / (C - 1), and
/// each code adds up to 0, so that a layer norm over a token treats all classes alike. One class: e_1. Throws
/// ValueError for no classes, or a width below `ways`.
template <Real T = float>
Tensor<T> elmes_codes(Index ways, Index width, Site site = Site::current()) {
  if (ways < 1 || width < ways)
    fail("elmes_codes", {ways, " codes of width ", width, ", expected a width from their number on"}, {}, site);
  if (ways == 1) return generate({1, width}, [](Index, Index j) { return j == 0 ? T(1) : T(0); });
  const double count = static_cast<double>(ways), scale = std::sqrt(count / (count - 1));
  const auto number = [&](Index k, Index j) {
    return j < ways ? static_cast<T>(scale * ((k == j ? 1 : 0) - 1 / count)) : T(0);
  };
  return generate({ways, width}, number, site);
}

/// Sizes of an `InContextLearner`. Layers and heads are those of the smallest of Fifty et al.; the one of their results
/// has 24 layers, 16 heads and codes of 256 numbers beside embeddings of 768 to 1280.
struct InContextOptions {
  Index ways = 5;          ///< codes: the most classes that an episode may have
  Index width = 64;        ///< of the embeddings
  Index label_width = 32;  ///< of the codes; `ways` or more
  Index layers = 4;
  Index heads = 8;         ///< must divide width + label_width
  Index hidden = 0;        ///< of the Transformer's perceptrons; 0: four times its width
  double dropout = 0;      ///< in the Transformer, in training
  bool normalise = false;  ///< a layer norm of the embeddings: where they are large the codes beside them drown
};

/// Logits of an episode's queries from its embeddings:
///   1  support tokens [embedding; scale code_label], query tokens [embedding; unknown], with a learned scale and a
///      learned code of the unknown label
///   2  a Transformer encoder (pre-norm, gelu) without positions; its keys and values are the support tokens
///   3  a linear map of the query's token to one logit a code, of which the episode's classes are the first
/// A query sees the support, and itself through the residual: its answer is the same, bit for bit, whatever other
/// queries are asked, and a pass serves all of them. (Fifty et al. run one sequence a query, whose token the support
/// sees too.) The order of the support does not matter; the classes' does, since codes and logits are told apart by
/// learned weights: give classes their labels at random, as episodes do.
template <class T = float>
struct InContextLearner {
  Buffer<T> codes;    ///< [ways, label_width]
  Tensor<T> scale;    ///< [], of the codes; 1 at first
  Tensor<T> unknown;  ///< [label_width]; 0 at first
  std::optional<LayerNorm<T>> norm;
  TransformerEncoder<T> transformer;
  Linear<T> output;  ///< width + label_width -> ways
  InContextOptions options;
  GRAFT_FIELDS(codes, scale, unknown, norm, transformer, output)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.any_ways = false};  ///< as many as there are codes, or fewer

  InContextLearner() = default;
  explicit InContextLearner(const Random& random, const InContextOptions& o = {}, Site site = Site::current())
      : options(o) {
    const char* op = "InContextLearner";
    if (o.ways < 1 || o.label_width < o.ways)
      fail(op, {o.ways, " codes of width ", o.label_width, ", expected a width from their number on"}, {}, site);
    const Index width = o.width + o.label_width;
    if (o.width < 1 || o.heads < 1 || width % o.heads != 0)
      fail(op, {o.heads, " heads do not divide a width of ", o.width, " + ", o.label_width}, {}, site);
    if (o.layers < 0 || o.hidden < 0) fail(op, {o.layers, " layers of ", o.hidden, " hidden numbers"}, {}, site);
    detail::check_option<T>(op, "dropout", o.dropout, detail::Range::below_one, site);
    codes.value = elmes_codes<T>(o.ways, o.label_width);
    scale = Tensor<T>(T(1));
    unknown = zeros<T>({o.label_width});
    if (o.normalise) norm.emplace(o.width);
    const TransformerOptions layer{
        .dropout = o.dropout, .activation = Activation::gelu, .norm_first = true, .eps = 1e-6};
    transformer = TransformerEncoder<T>(o.layers, width, o.heads, o.hidden, random.stream("transformer"),
                                        {.layer = layer, .final_norm = true}, site);
    output = Linear<T>(width, o.ways, random.stream("output"), {.bias = false}, site);
  }

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError for a label out of range,
  /// ValueError for more classes than codes.
  Tensor<T> operator()(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    detail::check_embedded("InContextLearner", episode, options.width, site);
    const Named here("InContextLearner", site);
    const auto& [support, labels] = episode.support;
    const Tensor<T>& query = episode.query.x;
    if (episode.ways > options.ways)
      fail("InContextLearner", {episode.ways, " ways, but there are codes for ", options.ways}, {}, site);
    const auto embedded = [&](const Tensor<T>& x) { return norm ? (*norm)(x, site) : x; };
    const Index items = support.size(0), queries = query.size(0);
    const Tensor<T> known = concat<T>({embedded(support), scale * gather(codes.value, labels)}, 1, site);
    const Tensor<T> asked =
        concat<T>({embedded(query), broadcast_to(unknown, {queries, options.label_width}, site)}, 1, site);
    const Tensor<T> x = transformer(concat<T>({known, asked}, 0, site), {.keys = items}, context, site);
    return slice(output(slice(x, 0, items, items + queries), site), 1, 0, episode.ways);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
