#pragma once
// Classes from the tokens of their descriptions: multi-head attention (Vaswani et al., "Attention is all you need",
// NeurIPS 2017) from the image, or from a learned query, to the tokens, k_c(x) = MHA(q(x), D_c, D_c); the score is
// cos(x, k_c(x)). No paper is followed: this is the catalogue's reading of "attention over class descriptions".

#include <cmath>
#include <optional>

#include "graft/common/class_descriptions.hpp"
#include "graft/common/needs.hpp"
#include "graft/model/context.hpp"
#include "graft/nn/attention.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What asks for tokens: each image, so that classes look different to different images, or one learned vector, the
/// same for all images and all classes, those unseen among them.
enum class DescriptionQuery { image, learned };

/// Options of `DescriptionAttention`.
struct DescriptionAttentionOptions {
  Index heads = 4;
  DescriptionQuery query = DescriptionQuery::image;
  Index memory_width = 0;        ///< of the tokens; 0: that of the images
  double scale = 1 / 0.07;       ///< of the cosines, at first; CLIP's
  double highest_scale = 100.0;  ///< that learning may reach; CLIP's
};

namespace detail {

inline void check_description_scale(const char* op, double scale, double highest, Site site) {
  check_option<float>(op, "scale", scale, Range::positive, site);
  check_option<float>(op, "highest_scale", highest, Range::positive, site);
}

}  // namespace detail

/// Scores [items, classes] of images [items, width] and descriptions: scale cos(x_i, k_c(x_i)). Tokens have no places:
/// their order does not matter. Of one token all attention is on it, whatever the query.
template <class T = float>
struct DescriptionAttention {
  MultiHeadAttention<T> attention;
  std::optional<Tensor<T>> query;  ///< [1, width], with a learned query
  Tensor<T> log_scale;             ///< []
  DescriptionAttentionOptions options;
  GRAFT_FIELDS(attention, query, log_scale)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.second_modality = true};

  DescriptionAttention() = default;
  /// Of images of `width` numbers. Throws ValueError for sizes below 1, heads that do not divide the width and scales
  /// that are not positive.
  DescriptionAttention(Index width, const Random& random, const DescriptionAttentionOptions& o = {},
                       Site site = Site::current())
      : log_scale(static_cast<T>(std::log(o.scale))), options(o) {
    if (width < 1) fail("DescriptionAttention", {"width ", width}, {}, site);
    if (o.heads < 1 || width % o.heads != 0)
      fail("DescriptionAttention", {o.heads, " heads do not divide width ", width}, {}, site);
    detail::check_description_scale("DescriptionAttention", o.scale, o.highest_scale, site);
    attention =
        MultiHeadAttention<T>(width, o.heads, random.stream("attention"), {.memory_width = o.memory_width}, site);
    if (o.query == DescriptionQuery::learned) query = randn<T>({1, width}, random.stream("query"), site);
  }

  /// Vectors of the classes, [classes, items, width] as the items see them, or [classes, 1, width] of a learned query.
  Tensor<T> class_vectors(const Tensor<T>& x, const ClassDescriptions<T>& descriptions, ContextRef context,
                          Site site = Site::current()) const {
    const Index width = log_scale.defined() ? attention.out_proj.weight.size(0) : 0;
    if (x.rank() != 2 || x.size(1) != width)
      fail<ShapeError>("DescriptionAttention", {"expected items [items, ", width, "]"}, {{"items", x.shape()}}, site);
    detail::check_descriptions("DescriptionAttention", descriptions,
                               options.memory_width == 0 ? width : options.memory_width, site);
    const Named here("DescriptionAttention", site);
    const Tensor<T> asks = query ? *query : x;
    const Index classes = descriptions.tokens.size(0), count = asks.size(0);
    return attention(broadcast_to(reshape(asks, {1, count, width}), {classes, count, width}), descriptions.tokens,
                     descriptions.tokens, {.key_mask = descriptions.there}, context, site);
  }

  /// Throws ShapeError for items and tokens of other widths, ValueError for a class without a token.
  Tensor<T> operator()(const Tensor<T>& x, const ClassDescriptions<T>& descriptions, ContextRef context,
                       Site site = Site::current()) const {
    const Tensor<T> vectors = class_vectors(x, descriptions, context, site);
    const Index classes = vectors.size(0), asks = vectors.size(1), width = vectors.size(2);
    const Tensor<T> units = reshape(unit_rows(reshape(vectors, {classes * asks, width})), {classes, asks, width});
    const Tensor<T> cosines = sum(units * reshape(unit_rows(x), {1, x.size(0), width}), {2});
    return minimum(exp(log_scale), static_cast<T>(options.highest_scale)) * transpose(cosines);
  }
};

/// The control of `DescriptionAttention`: the mean of a description's tokens, through a perceptron that has as many
/// weights as the attention's four maps; tokens as wide as images go past it too. Scores as there.
template <class T = float>
struct MeanDescription {
  Linear<T> first, last;
  Tensor<T> log_scale;  ///< []
  DescriptionAttentionOptions options;
  GRAFT_FIELDS(first, last, log_scale)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.second_modality = true};

  MeanDescription() = default;
  /// Of the options only the tokens' width and the scales count. Throws ValueError for sizes below 1 and scales that
  /// are not positive.
  MeanDescription(Index width, const Random& random, const DescriptionAttentionOptions& o = {},
                  Site site = Site::current())
      : log_scale(static_cast<T>(std::log(o.scale))), options(o) {
    const Index memory = o.memory_width == 0 ? width : o.memory_width;
    if (width < 1 || memory < 1) fail("MeanDescription", {"width ", width, ", tokens of ", memory}, {}, site);
    detail::check_description_scale("MeanDescription", o.scale, o.highest_scale, site);
    first = Linear<T>(memory, 2 * width, random.stream("first"), {}, site);
    last = Linear<T>(2 * width, width, random.stream("last"), {}, site);
  }

  /// Throws ShapeError for items and tokens of other widths, ValueError for a class without a token.
  Tensor<T> operator()(const Tensor<T>& x, const ClassDescriptions<T>& descriptions, ContextRef,
                       Site site = Site::current()) const {
    const Index width = last.weight.size(0), memory = first.weight.size(1);
    if (x.rank() != 2 || x.size(1) != width)
      fail<ShapeError>("MeanDescription", {"expected items [items, ", width, "]"}, {{"items", x.shape()}}, site);
    detail::check_descriptions("MeanDescription", descriptions, memory, site);
    const Named here("MeanDescription", site);
    const Tensor<T> share = cast<T>(descriptions.there);
    const Tensor<T> column = reshape(share, {share.size(0), share.size(1), 1});
    const Tensor<T> means = sum(descriptions.tokens * column, {1}) / sum(column, {1});
    const Tensor<T> through = last(gelu(first(means, site)), site);
    return minimum(exp(log_scale), static_cast<T>(options.highest_scale)) *
           cosine_similarities(x, memory == width ? means + through : through, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
