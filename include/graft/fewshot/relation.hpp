#pragma once
// Relation networks. Sung, Yang, Zhang, Xiang, Torr, Hospedales, "Learning to compare: relation network for few-shot
// learning", CVPR 2018. The paper's relation module has two convolutional blocks on feature maps before its two linear
// layers; here embeddings are vectors, and a linear layer of as many units stands for the blocks.

#include "graft/common/few_shot.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What stands for a class: the sum of its items' embeddings, or their mean, which does not grow with the shots.
enum class RelationClass { sum, mean };

/// Options of `RelationHead`; the defaults are the paper's, where it has them.
struct RelationOptions {
  Index width = 64;   ///< of the embeddings
  Index hidden = 64;  ///< units of the first layer, as the filters of the paper's convolutions
  Index last = 8;     ///< units of the second
  RelationClass of_class = RelationClass::sum;
};

/// Relation scores in (0, 1) of every query and class,
///   r = sigmoid(W_3 relu(W_2 relu(W_1 [class; query] + b_1) + b_2) + b_3)
/// as logits [queries, ways]. `loss` trains them as the paper does; a score of exactly 0 or 1, of large embeddings,
/// gets no gradient. Throws ValueError for sizes below 1, ShapeError for embeddings of another width.
template <class T = float>
struct RelationHead {
  Linear<T> first, second, third;
  RelationOptions options;
  GRAFT_FIELDS(first, second, third)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{};

  RelationHead() = default;
  explicit RelationHead(const Random& random, const RelationOptions& o = {}, Site site = Site::current()) : options(o) {
    if (o.width < 1 || o.hidden < 1 || o.last < 1)
      fail("RelationHead", {"width ", o.width, ", ", o.hidden, " and ", o.last, " units"}, {}, site);
    first = Linear<T>(2 * o.width, o.hidden, random.stream("first"), {}, site);
    second = Linear<T>(o.hidden, o.last, random.stream("second"), {}, site);
    third = Linear<T>(o.last, 1, random.stream("third"), {}, site);
  }

  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("RelationHead", episode, options.width, site);
    const Named here("RelationHead", site);
    const auto& [x, labels] = episode.support;
    const Tensor<T>& query = episode.query.x;
    const Index queries = query.size(0), ways = episode.ways, width = options.width;
    const Tensor<T> classes =
        options.of_class == RelationClass::sum ? scatter_add(x, labels, ways) : prototypes(x, labels, ways, site);
    const Shape pairs{queries, ways, width};
    const Tensor<T> both =
        concat<T>({broadcast_to(classes, pairs), broadcast_to(reshape(query, {queries, 1, width}), pairs)}, 2);
    return reshape(sigmoid(third(relu(second(relu(first(both)))))), {queries, ways});
  }

  /// The mean squared error of the scores to 1 for a query's class and 0 for the others, shape []. Throws ShapeError
  /// unless every query has a label, IndexError for one that is not 0 .. ways-1.
  Tensor<T> loss(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    const Named here("RelationHead", site);
    detail::check_query_labels("RelationHead", episode.query, site);
    return mse((*this)(episode, context, site), one_hot<T>(episode.query.y, episode.ways, site));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
