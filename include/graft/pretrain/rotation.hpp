#pragma once
// Rotation prediction: by how many quarter turns an image was turned. Gidaris, Singh, Komodakis, "Unsupervised
// representation learning by predicting image rotations", ICLR 2018.

#include "graft/data/episodes.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Images [n, size, size, channels] turned by 0, 1, 2 and 3 quarters against the clock, one turn after another: items
/// [4 n, size, size, channels] with the turn as label. Throws ShapeError.
template <class T>
LabelledSet<T> quarter_turns(const Tensor<T>& images, Site site = Site::current()) {
  if (images.rank() != 4 || images.size(1) != images.size(2))
    fail<ShapeError>("quarter_turns", "expected images [n, size, size, channels]", {{"images", images.shape()}}, site);
  const auto turned = [&](const Tensor<T>& x) { return flip(permute(x, {0, 2, 1, 3}, site), 1, site); };
  std::vector<Tensor<T>> turns{images};
  for (int quarters = 1; quarters < 4; ++quarters) turns.push_back(turned(turns.back()));
  return {concat(turns, 0, site), episode_labels(4, images.size(0), site)};
}

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

}  // namespace GRAFT_ABI
}  // namespace graft
