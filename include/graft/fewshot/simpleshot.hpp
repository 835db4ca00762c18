#pragma once
// SimpleShot. Wang, Chao, Weinberger, van der Maaten, "SimpleShot: revisiting nearest-neighbor classification for
// few-shot learning", arXiv 1911.04623, 2019: nearest class mean among transformed features of an embedding that was
// trained by plain classification of the base classes.

#include "graft/common/few_shot.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What is done to features: nothing (UN), to length 1 (L2N), or less the mean of the base classes' features and then
/// to length 1 (CL2N).
enum class FeatureTransform { none, l2, centred_l2 };

/// The mean [width] of features [items, width]: what centred features are less. Carries no gradient. A common part of
/// all items costs no accuracy. Throws ShapeError for another rank, and without items.
template <Real T>
Tensor<T> mean_feature(const Tensor<T>& features, Site site = Site::current()) {
  if (features.rank() != 2 || features.size(0) == 0)
    fail<ShapeError>("mean_feature", "expected features [items, width] of one item or more",
                     {{"features", features.shape()}}, site);
  const Tensor<T> x = features.detach(), first = slice(x, 0, 0, 1);
  return reshape(first + mean(x - first, {0}, true), {x.size(1)});
}

/// Logits [queries, ways] = -|t(query) - c_k|^2 with c_k the mean of t(x) over the support items of class k and the
/// transform t. The paper trains nothing in episodes, and this head has no parameters; trained as any other, gradients
/// flow to the embeddings. With `centred_l2`, the paper's best, `base_mean` must be set:
///     head.base_mean.value = mean_feature(features_of_base_classes);
/// Throws ValueError where it is not, ShapeError where it is of another width.
template <class T = float>
struct SimpleShotHead {
  Buffer<T> base_mean;  ///< [width]; not needed without centring
  FeatureTransform transform = FeatureTransform::centred_l2;
  GRAFT_FIELDS(base_mean)
  GRAFT_CONFIG(transform)
  static constexpr Needs needs{.derivatives = 0};

  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("SimpleShotHead", episode, site);
    const Named here("SimpleShotHead", site);
    const auto transformed = [&](const Tensor<T>& x) {
      if (transform == FeatureTransform::none) return x;
      if (transform == FeatureTransform::l2) return unit_rows(x);
      if (!base_mean.value.defined())
        fail("SimpleShotHead", "has no base_mean; set it with mean_feature(features of the base classes)", {}, site);
      if (!(base_mean.value.shape() == Shape{x.size(1)}))
        fail<ShapeError>("SimpleShotHead", "base_mean must be as wide as the embeddings",
                         {{"base_mean", base_mean.value.shape()}, {"embeddings", x.shape()}}, site);
      return unit_rows(x - base_mean.value);
    };
    const Tensor<T> classes = prototypes(transformed(episode.support.x), episode.support.y, episode.ways);
    return -squared_distances(transformed(episode.query.x), classes);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
