#pragma once
// Images as sequences of patches: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021.

#include <optional>
#include <string>

#include "graft/nn/conv.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `PatchEmbedding`.
struct PatchEmbeddingOptions {
  Index channels = 1;
  bool class_token = false;  ///< a learned token before the patches
};

/// Every patch x patch square flattened and mapped to `width` numbers (a convolution with kernel = stride = patch),
/// plus a learned vector for its place: x [batch, height, width, channels] -> [batch, tokens, width], patches row by
/// row, the class token first if there is one.
template <class T = float>
struct PatchEmbedding {
  Conv2d<T> projection;
  std::optional<Tensor<T>> class_token;  ///< [width]
  Tensor<T> positions;                   ///< [tokens, width]
  GRAFT_FIELDS(projection, class_token, positions)

  PatchEmbedding() = default;
  /// For images of height x columns; positions and class token normal with deviation 0.02. Throws ValueError when
  /// patches do not tile the image.
  PatchEmbedding(Index height, Index columns, Index patch, Index width, const Random& random,
                 PatchEmbeddingOptions o = {}, Site site = Site::current()) {
    if (patch < 1 || height % patch != 0 || columns % patch != 0)
      fail("PatchEmbedding", {"patches of ", patch, " do not tile an image of ", height, " x ", columns}, {}, site);
    projection = Conv2d<T>(o.channels, width, patch, random.stream("projection"), {.stride = patch}, site);
    const Index tokens = (height / patch) * (columns / patch) + (o.class_token ? 1 : 0);
    positions = scaled_normal<T>({tokens, width}, 0.02, random.stream("positions"), site);
    if (o.class_token) class_token = scaled_normal<T>({width}, 0.02, random.stream("class_token"), site);
  }

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("PatchEmbedding", site);
    const Tensor<T> map = projection(x, site);
    const Index batch = map.shape()[0], patches = map.shape()[1] * map.shape()[2], width = map.shape()[3];
    if (patches + (class_token ? 1 : 0) != positions.shape()[0])
      fail<ShapeError>("PatchEmbedding", {"the image gives ", patches, " patches"},
                       {{"x", x.shape()}, {"positions", positions.shape()}}, site);
    Tensor<T> tokens = reshape(map, {batch, patches, width}, site);
    if (class_token) tokens = concat<T>({broadcast_to(*class_token, {batch, 1, width}, site), tokens}, 1, site);
    return tokens + positions;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
