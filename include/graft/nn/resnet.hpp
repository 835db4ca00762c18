#pragma once
// A small residual network for few-shot learning, after the ResNet-12 of Mishra et al., "A simple neural attentive
// meta-learner", ICLR 2018, and Lee et al., "Meta-learning with differentiable convex optimization", CVPR 2019: blocks
// of three 3x3 convolutions with a 1x1 convolution beside them and a max-pooling behind. He, Zhang, Ren, Sun, "Deep
// residual learning for image recognition", CVPR 2016. There are fewer channels here, ReLU is not leaky, DropBlock is
// left out, and the norm is group norm, which looks at one image at a time (see `Conv4`).

#include <algorithm>
#include <vector>

#include "graft/nn/conv.hpp"
#include "graft/nn/norm.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/pool.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of a `ResNet12`. The channels of the papers are 64, 128, 256, 512 or 64, 160, 320, 640.
struct ResNet12Options {
  Index in = 1;                                 ///< channels of the images
  std::vector<Index> channels{16, 32, 64, 64};  ///< of each block
  Index groups = 8;                             ///< of the group norms; must divide all channels
};

/// x <- max_pool(relu(norm(conv(relu(norm(conv(relu(norm(conv(x)))))))) + norm(conv1x1(x)))), as many times as there
/// are blocks, then the mean over the places: images [n, height, width, in] -> [n, channels.back()]. Each block halves
/// height and width, rounded down; images must have 2^blocks pixels a side or more, 16 with four.
template <class T = float>
struct ResNet12 {
  struct ConvNorm {
    Conv2d<T> conv;
    GroupNorm<T> norm;
    GRAFT_FIELDS(conv, norm)
    Tensor<T> operator()(const Tensor<T>& x, Site site) const { return norm(conv(x, site), site); }
  };
  struct Block {
    std::vector<ConvNorm> layers;
    ConvNorm shortcut;
    GRAFT_FIELDS(layers, shortcut)
    Tensor<T> operator()(const Tensor<T>& x, Site site) const {
      Tensor<T> h = x;
      for (std::size_t l = 0; l < layers.size(); ++l) h = layers[l](l == 0 ? h : relu(h), site);
      return max_pool2d(relu(h + shortcut(x, site)), {}, site);
    }
  };
  std::vector<Block> blocks;
  GRAFT_FIELDS(blocks)

  ResNet12() = default;
  /// Throws ValueError for no channels, or groups that do not divide them.
  explicit ResNet12(const Random& random, const ResNet12Options& o = {}, Site site = Site::current()) {
    if (o.channels.empty()) fail("ResNet12", "no channels, expected one number a block", {}, site);
    Index in = o.in;
    for (std::size_t b = 0; b < o.channels.size(); ++b) {
      const Index out = o.channels[b];
      if (o.groups < 1 || out % o.groups != 0)
        fail("ResNet12", {o.groups, " groups do not divide ", out, " channels"}, {}, site);
      const Random own = random.stream("blocks", b);
      // The norms have shifts of their own, so the convolutions need no bias.
      const auto layer = [&](Index from, Index kernel, const Random& at) {
        return ConvNorm{Conv2d<T>(from, out, kernel, at, {.padding = kernel / 2, .bias = false}, site),
                        GroupNorm<T>(o.groups, out, {}, site)};
      };
      Block block;
      for (std::size_t l = 0; l < 3; ++l) block.layers.push_back(layer(l == 0 ? in : out, 3, own.stream("layers", l)));
      block.shortcut = layer(in, 1, own.stream("shortcut"));
      blocks.push_back(std::move(block));
      in = out;
    }
  }

  Tensor<T> operator()(const Tensor<T>& images, Site site = Site::current()) const {
    const Named here("ResNet12", site);
    const Index least = Index{1} << blocks.size();
    if (images.rank() != 4 || images.size(1) < least || images.size(2) < least)
      fail<ShapeError>("ResNet12",
                       {"expected images [n, height, width, channels] of ", least, " pixels a side or more"},
                       {{"images", images.shape()}}, site);
    Tensor<T> x = images;
    for (const Block& block : blocks) x = block(x, site);
    return mean(x, {1, 2});
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
