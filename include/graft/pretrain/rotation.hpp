#pragma once
// Rotation prediction: by how many quarter turns an image was turned. Gidaris, Singh, Komodakis, "Unsupervised
// representation learning by predicting image rotations", ICLR 2018.

#include "graft/common/needs.hpp"
#include "graft/common/pretext.hpp"
#include "graft/common/quarter_turns.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The cross-entropy of the turns by `model`, called as model(items, context) -> [items, 4]: shape []. Throws
/// ShapeError.
template <class M, Real T>
Tensor<T> rotation_loss(const M& model, const Tensor<T>& images, ContextRef context, Site site = Site::current()) {
  const LabelledSet<T> turned = quarter_turns(images, site);
  const Tensor<T> scores = answer_of(model, turned.x, context);
  if (!(scores.shape() == Shape{turned.y.count(), 4}))
    fail<ShapeError>("rotation_loss", "the model must give four scores an item",
                     {{"scores", scores.shape()}, {"items", turned.x.shape()}}, site);
  return cross_entropy(scores, turned.y);
}

/// The task with a head of its own, for any encoder of images: pretext(encoder, images, context) is `rotation_loss` of
/// head(encoder(images)). After training the encoder is what one keeps.
template <class T = float>
struct RotationPretext {
  Linear<T> head;  ///< width -> 4
  GRAFT_FIELDS(head)
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};

  RotationPretext() = default;
  /// For embeddings of `width` numbers; initial values of `Linear`.
  RotationPretext(Index width, const Random& random, Site site = Site::current())
      : head(width, 4, random.stream("head"), {}, site) {}

  /// `encoder(images, context)` or `encoder(images)` -> [items, width]; images [n, size, size, channels]. Shape [].
  /// Throws ShapeError.
  template <class Encoder>
  Tensor<T> operator()(const Encoder& encoder, const Tensor<T>& images, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("RotationPretext", site);
    const auto scores = [&](const Tensor<T>& x, ContextRef own) {
      return head(detail::encoded_items("RotationPretext", encoder, x, head.weight.size(1), own, site), site);
    };
    return rotation_loss(scores, images, context, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
