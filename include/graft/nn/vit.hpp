#pragma once
// The vision Transformer: Dosovitskiy et al., "An image is worth 16x16 words: Transformers for image recognition at
// scale", ICLR 2021. A smaller one without a class token, for few-shot learning: `PatchTransformer`.

#include <optional>

#include "graft/nn/patch.hpp"
#include "graft/nn/transformer.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of a `VisionTransformer`; the defaults are those of ViT-B/16.
struct VisionTransformerOptions {
  Index height = 224, columns = 224;  ///< of the images in pixels
  Index channels = 3;
  Index patch = 16;  ///< height and width of a patch, which must divide those of the images
  Index width = 768, depth = 12, heads = 12;
  Index hidden = 0;      ///< of the perceptrons; 0: `usual_hidden`
  Index classes = 1000;  ///< 0: no head
  TransformerOptions layer = {.dropout = 0.1, .activation = Activation::gelu, .norm_first = true, .eps = 1e-6};
};

/// Patches and a class token through a pre-norm encoder; the class token's vector after the final norm, or the head's
/// scores of classes by it: images [batch, height, columns, channels] -> [batch, classes], or [batch, width] without a
/// head.
template <class T = float>
struct VisionTransformer {
  PatchEmbedding<T> patches;
  TransformerEncoder<T> encoder;
  std::optional<Linear<T>> head;
  double dropout = 0;
  GRAFT_FIELDS(patches, encoder, head)
  GRAFT_CONFIG(dropout)

  VisionTransformer() = default;
  /// Initial values of the parts; the head starts at zero, as in the paper.
  explicit VisionTransformer(const Random& random, const VisionTransformerOptions& o = {}, Site site = Site::current())
      : patches(o.height, o.columns, o.patch, o.width, random.stream("patches"),
                {.channels = o.channels, .class_token = true}, site),
        encoder(o.depth, o.width, o.heads, o.hidden, random.stream("encoder"),
                {.layer = o.layer, .final_norm = o.layer.norm_first}, site),
        dropout(o.layer.dropout) {
    if (o.classes == 0) return;
    head.emplace();
    head->weight = zeros<T>({o.classes, o.width}, site);
    head->bias = zeros<T>({o.classes}, site);
  }

  Tensor<T> operator()(const Tensor<T>& images, ContextRef context, Site site = Site::current()) const {
    const Named here("VisionTransformer", site);
    const Tensor<T> token = class_vectors(images, context, site);
    return head ? (*head)(token, site) : token;
  }
  /// The vectors that the head reads, [batch, width].
  Tensor<T> class_vectors(const Tensor<T>& images, ContextRef context, Site site = Site::current()) const {
    const Tensor<T> tokens = encoded(images, context, site);
    return reshape(slice(tokens, 1, 0, 1, 1, site), {tokens.shape()[0], tokens.shape()[2]}, site);
  }
  /// Class token and patches after the encoder, [batch, 1 + patches, width].
  Tensor<T> encoded(const Tensor<T>& images, ContextRef context, Site site = Site::current()) const {
    return encoder(Dropout{dropout}(patches(images, site), context, site), context, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
