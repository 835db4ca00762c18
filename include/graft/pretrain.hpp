#pragma once
// All objectives of pretrain/ that need nothing but images, by name.

#include <algorithm>

#include "graft/common/backbones.hpp"
#include "graft/pretrain/augmentation_pairs.hpp"
#include "graft/pretrain/masked_images.hpp"
#include "graft/pretrain/rotation.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// An objective with its own head: pretext(encoder, images [n, size, size, 1], context) -> the loss of a batch, [].
using ImagePretext = AnyModel<Tensor<>(const Backbone& encoder, const Tensor<>& images, ContextRef context) const>;

/// An encoder and what trains it; model(images, context) is the loss. The encoder is what one keeps.
///
///     Pretraining model{backbones().make("conv4", sizes, random, {}), image_pretexts().make("rotation", sizes,
///     random)}; const auto objective = [&](const Pretraining& m, const Random& r) {
///       return m(images_of(r), Context(Phase::training, r));
///     };
///     const Backbone encoder = run_pretraining(model, objective, validate, how).model.encoder;
struct Pretraining {
  Backbone encoder;
  ImagePretext pretext;
  GRAFT_FIELDS(encoder, pretext)

  Tensor<> operator()(const Tensor<>& images, ContextRef context, Site site = Site::current()) const {
    return pretext(encoder, images, context, site);
  }
};

namespace detail {

inline MaskedImagePretext<> masked_image_pretext(const BackboneOptions& o, const Random& random,
                                                 MaskedImageOptions how) {
  Index row = 7;  // patches; of 4 pixels for 28
  while (o.size % row != 0) --row;
  how.patch = o.size / std::max(row, Index{1});
  return MaskedImagePretext<>({o.size, o.size, 1}, o.width, random, how);
}
inline ImagePretext rotation_pretext(const BackboneOptions& o, const Random& random) {
  return RotationPretext<>(o.width, random);
}
inline ImagePretext masked_images_pretext(const BackboneOptions& o, const Random& random) {
  return masked_image_pretext(o, random, {});
}
inline ImagePretext denoising_pretext(const BackboneOptions& o, const Random& random) {
  return masked_image_pretext(o, random, {.rate = 0, .noise = 0.5, .everywhere = true});
}
inline ImagePretext contrastive_pretext(const BackboneOptions& o, const Random& random) {
  return ContrastivePretext(o.width, random);
}

}  // namespace detail

/// The objectives that a program can choose by name, made by (sizes, random) for backbones of those sizes; a new one is
/// a line. Each has its defaults, patches of a seventh of the image's side or the next number that divides it, and
/// noise of deviation 0.5.
inline const Registry<ImagePretext(const BackboneOptions&, const Random&)>& image_pretexts() {
  static const Registry<ImagePretext(const BackboneOptions&, const Random&)> list(
      "image pretexts", {
                            {"rotation", detail::rotation_pretext},
                            {"masked_images", detail::masked_images_pretext},
                            {"denoising", detail::denoising_pretext},
                            {"contrastive", detail::contrastive_pretext},
                        });
  return list;
}

}  // namespace GRAFT_ABI
}  // namespace graft
