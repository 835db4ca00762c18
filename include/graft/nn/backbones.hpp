#pragma once
// Embeddings of small images for few-shot learning.

#include <vector>

#include "graft/nn/conv.hpp"
#include "graft/nn/norm.hpp"
#include "graft/nn/patch.hpp"
#include "graft/nn/transformer.hpp"
#include "graft/ops/conv_norm_pool.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of `Conv4`.
struct Conv4Options {
  Index in = 1;                                 ///< channels of the images
  std::vector<Index> channels{32, 32, 64, 64};  ///< of each block
  Index groups = 8;                             ///< of the group norms; must divide all channels
};

/// The four-block convolutional network of few-shot learning (Vinyals et al., NeurIPS 2016; Snell et al., NeurIPS
/// 2017): each block is a 3x3 convolution, a norm, ReLU and a 2x2 max-pooling. The norm is group norm (Wu, He, ECCV
/// 2018), which looks at one image at a time: batch norm would either mix the queries of an episode (transductive) or
/// need running statistics. Images [n, height, width, in] of at least 16 x 16 pixels -> [n, width], for 28 x 28 pixels
/// `channels.back()` wide.
template <class T = float>
struct Conv4 {
  struct Block {
    Conv2d<T> conv;
    GroupNorm<T> norm;
    GRAFT_FIELDS(conv, norm)

    /// x [n, height, width, in] -> [n, height / 2, width / 2, out]. Pools before ReLU: the same numbers for a quarter of
    /// the work.
    Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
      return conv_group_norm_pool(x, conv.weight, norm.groups, *norm.weight, *norm.bias, conv.options, norm.eps, site);
    }
  };
  std::vector<Block> blocks;
  GRAFT_FIELDS(blocks)

  Conv4() = default;
  explicit Conv4(const Random& random, const Conv4Options& options = {}, Site site = Site::current()) {
    if (options.channels.empty()) fail("Conv4", "no channels, expected one number a block", {}, site);
    Index in = options.in;
    for (std::size_t i = 0; i < options.channels.size(); ++i) {
      const Index out = options.channels[i];
      if (options.groups < 1 || out % options.groups != 0)
        fail("Conv4", {options.groups, " groups do not divide ", out, " channels"}, {}, site);
      // The norm has a shift of its own, so the convolution needs no bias.
      blocks.push_back({Conv2d<T>(in, out, 3, random.stream("blocks").stream(i), {.padding = 1, .bias = false}, site),
                        GroupNorm<T>(options.groups, out, {}, site)});
      in = out;
    }
  }

  Tensor<T> operator()(const Tensor<T>& images, Site site = Site::current()) const {
    const Named here("Conv4", site);
    if (images.rank() != 4)
      fail<ShapeError>("Conv4", "expected images [n, height, width, channels]", {{"images", images.shape()}}, site);
    Tensor<T> x = images;
    for (const Block& block : blocks) x = block(x, site);
    return reshape(x, {images.size(0), x.count() / std::max(images.size(0), Index{1})});
  }
};

/// Sizes of `PatchTransformer`.
struct PatchTransformerOptions {
  Index size = 28;   ///< height and width of the images in pixels
  Index patch = 4;   ///< of a patch; must divide the size
  Index width = 64;  ///< of the embedding
  Index heads = 4;
  Index hidden = 128;  ///< of the perceptrons
  Index depth = 3;     ///< layers
};

/// A small vision Transformer (Dosovitskiy et al., ICLR 2021) without a class token: patches, a pre-norm encoder, and
/// the mean over patches. Images [n, size, size, 1] -> [n, width].
template <class T = float>
struct PatchTransformer {
  PatchEmbedding<T> patches;
  TransformerEncoder<T> encoder;
  GRAFT_FIELDS(patches, encoder)

  PatchTransformer() = default;
  explicit PatchTransformer(const Random& random, const PatchTransformerOptions& o = {}, Site site = Site::current())
      : patches(o.size, o.size, o.patch, o.width, random.stream("patches"), {}, site),
        encoder(o.depth, o.width, o.heads, o.hidden, random.stream("encoder"),
                {.layer = {.dropout = 0, .activation = Activation::gelu, .norm_first = true}, .final_norm = true},
                site) {}

  Tensor<T> operator()(const Tensor<T>& images, ContextRef context, Site site = Site::current()) const {
    const Named here("PatchTransformer", site);
    return mean(encoder(patches(images, site), context, site), {1});
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
