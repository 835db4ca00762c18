#pragma once
// Few-shot embedding adaptation with a Transformer. Ye, Hu, Zhan, Sha, "Few-shot learning via embedding adaptation with
// set-to-set functions", CVPR 2020. Formulas and defaults as in the authors' code.

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/attention.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/norm.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Feat`; the defaults are the authors' for 5-way 1-shot tieredImageNet.
struct FeatOptions {
  Index heads = 1;                   ///< of the attention; must divide the width
  double dropout = 0.5;              ///< of what the attention adds, in training
  double attention_dropout = 0.1;    ///< of the attention's weights, in training
  double temperature = 64;           ///< squared distances are divided by it
  double contrast_temperature = 64;  ///< the same in the contrastive term
  double balance = 0.1;              ///< weight of the contrastive term; 0: none
};

/// A set of embeddings adapts itself by one Transformer layer without a perceptron, and queries are answered by the
/// adapted prototypes:
///   adapt(X) = LayerNorm(X + dropout(attention(X, X, X)))
///   logits = -|f(x) - adapt(prototypes)_k|^2 / temperature
/// The projections of queries, keys and values have no bias, as the authors'; initial weights are those of
/// `MultiHeadAttention`. The loss adds the contrastive term: all items of a class, support and queries, adapt among
/// themselves, and the cross-entropy of every item, as it was, to the means of the adapted classes counts `balance`.
template <class T = float>
struct Feat {
  MultiHeadAttention<T> attention;
  LayerNorm<T> norm;
  FeatOptions options;
  GRAFT_FIELDS(attention, norm)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{};

  Feat() = default;
  /// `width`: of the embeddings. Throws ValueError for options out of range.
  Feat(Index width, const Random& random, const FeatOptions& o = {}, Site site = Site::current()) : options(o) {
    using detail::Range;
    if (o.heads < 1 || width < 1 || width % o.heads != 0)
      fail("Feat", {o.heads, " heads do not divide a width of ", width}, {}, site);
    detail::check_option<T>("Feat", "dropout", o.dropout, Range::below_one, site);
    detail::check_option<T>("Feat", "attention_dropout", o.attention_dropout, Range::below_one, site);
    detail::check_option<T>("Feat", "temperature", o.temperature, Range::positive, site);
    detail::check_option<T>("Feat", "contrast_temperature", o.contrast_temperature, Range::positive, site);
    detail::check_option<T>("Feat", "balance", o.balance, Range::not_negative, site);
    attention = MultiHeadAttention<T>(width, o.heads, random, {.dropout = o.attention_dropout, .bias = false}, site);
    attention.out_proj.bias = zeros<T>({width});
    norm = LayerNorm<T>(width);
  }

  /// Rows of x [items, width] after they have heard one another, those that `mask` lets them: -> [items, width].
  Tensor<T> adapt(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                  Site site = Site::current()) const {
    const Named here("Feat", site);
    return norm(x + Dropout{options.dropout}(attention(x, mask, context, site), context, site), site);
  }

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError for other
  /// episodes, ShapeError for embeddings of another width.
  Tensor<T> operator()(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    detail::check_embedded("Feat", episode, attention.in_proj_weight.size(1), site);
    const auto& [support, labels] = episode.support;
    const Tensor<T> classes = adapt(prototypes(support, labels, episode.ways, site), {}, context, site);
    return squared_distances(episode.query.x, classes, site) / -options.temperature;
  }

  /// Cross-entropy of the queries and `balance` times the contrastive term.
  Tensor<T> loss(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    const Tensor<T> fit = cross_entropy((*this)(episode, context, site), episode.query.y, {}, site);
    if (options.balance == 0) return fit;
    const Tensor<T> items = concat<T>({episode.support.x, episode.query.x}, 0, site);
    const auto labels = concat<std::int64_t>({episode.support.y, episode.query.y}, 0, site);
    const Tensor<bool> own_class = block_mask(reshape(labels, {1, labels.size(0)}), site);
    const Tensor<T> centres = prototypes(adapt(items, {.mask = own_class}, context, site), labels, episode.ways, site);
    const Tensor<T> logits = squared_distances(items, centres, site) / -options.contrast_temperature;
    return fit + options.balance * cross_entropy(logits, labels, {}, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
