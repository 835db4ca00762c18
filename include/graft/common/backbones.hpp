#pragma once
// The embeddings of single items that few-shot learners can choose by name.

#include <cmath>
#include <string>

#include "graft/core/registry.hpp"
#include "graft/graph/node_embedding.hpp"
#include "graft/model/any_model.hpp"
#include "graft/nn/backbones.hpp"
#include "graft/nn/mlp.hpp"
#include "graft/nn/resnet.hpp"
#include "graft/nn/text_embedding.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What embeds items of any kind: images [n, size, size, 1], vectors [n, size], numbers of nodes [n, 1] or token ids
/// [n, size] -> [n, width].
using Backbone = AnyModel<Tensor<>(const Tensor<>& items, ContextRef context) const>;

/// Sizes of a backbone.
struct BackboneOptions {
  Index size = 28;    ///< of an item: pixels a side of images, numbers of a vector or of a node's features, tokens
  Index entries = 1;  ///< of the table that items are looked up in: nodes of the graph, tokens of the vocabulary
  Index width = 64;   ///< of the embeddings
};

/// The backbone of items that are embeddings already.
struct SameItems {
  GRAFT_FIELDS()
  Tensor<> operator()(const Tensor<>& items, ContextRef) const { return items; }
};

namespace detail {

/// A model that takes no context as one that does.
template <class M>
struct WithoutContext {
  M model;
  GRAFT_FIELDS(model)
  Tensor<> operator()(const Tensor<>& items, ContextRef, Site site = Site::current()) const {
    return model(items, site);
  }
};
template <class M>
WithoutContext(M) -> WithoutContext<M>;

/// A `Conv4` and the mean over the places that it leaves of images from 32 pixels on: as wide for images of any size.
struct PooledConv4 {
  Conv4<> conv;
  GRAFT_FIELDS(conv)
  Tensor<> operator()(const Tensor<>& images, Site site) const {
    const Tensor<> maps = conv(images, site);
    const Index width = conv.blocks.back().conv.weight.size(0), places = maps.size(1) / width;
    return places == 1 ? maps : mean(reshape(maps, {maps.size(0), places, width}), {1});
  }
};

inline void check_backbone_image(const char* name, const BackboneOptions& o) {
  if (o.size < 16) fail("backbones", {name, ": images of ", o.size, " pixels, expected 16 or more"});
  if (o.width < 8 || o.width % 8 != 0) fail("backbones", {name, ": width ", o.width, " is no multiple of 8"});
}
inline Backbone conv4_backbone(const BackboneOptions& o, const Random& random, const Tensor<>&) {
  check_backbone_image("conv4", o);
  return WithoutContext{PooledConv4{Conv4<>(random, {.channels = {32, 32, 64, o.width}})}};
}
inline Backbone resnet_backbone(const BackboneOptions& o, const Random& random, const Tensor<>&) {
  check_backbone_image("resnet", o);
  return WithoutContext{ResNet12<>(random, {.channels = {16, 32, 64, o.width}})};
}
inline Backbone vit_backbone(const BackboneOptions& o, const Random& random, const Tensor<>&) {
  check_backbone_image("vit", o);
  Index row = 8;  // patches; 7 of 4 pixels for 28
  while (o.size % row != 0) --row;
  return PatchTransformer<>(random, {.size = o.size, .patch = o.size / row, .width = o.width, .hidden = 2 * o.width});
}
inline Backbone mlp_backbone(const BackboneOptions& o, const Random& random, const Tensor<>&) {
  return WithoutContext{Mlp<>(o.size, o.width, random, {.hidden = {2 * o.width}})};
}
inline Backbone graph_backbone(const BackboneOptions& o, const Random& random, const Tensor<>& table) {
  return WithoutContext{NodeEmbedding<>(table.defined() ? table : zeros<float>({o.entries, o.size}), o.width, random,
                                        {.hidden = {2 * o.width}})};
}
inline Backbone text_backbone(const BackboneOptions& o, const Random& random, const Tensor<>&) {
  return TextEmbedding<>(random, {.vocabulary = o.entries, .length = o.size, .width = o.width, .hidden = 2 * o.width});
}

}  // namespace detail

/// The backbones that a program can choose by name, made by (sizes, random, table); a new one is a line. For images
/// [n, size, size, 1] of 16 pixels or more: conv4, resnet, vit. For vectors [n, size]: mlp. For numbers of nodes [n,
/// 1]: graph, whose `table` [entries, size] are the nodes' features as the graph has smoothed them, zeros where it is
/// not given (a file that is loaded has them). For token ids [n, size] in 0 .. entries - 1: text.
GRAFT_ONCE const Registry<Backbone(const BackboneOptions&, const Random&, const Tensor<>&)>& backbones() {
  static const Registry<Backbone(const BackboneOptions&, const Random&, const Tensor<>&)> list(
      "backbones", {
                       {"conv4", detail::conv4_backbone},
                       {"resnet", detail::resnet_backbone},
                       {"vit", detail::vit_backbone},
                       {"mlp", detail::mlp_backbone},
                       {"graph", detail::graph_backbone},
                       {"text", detail::text_backbone},
                   });
  return list;
}
GRAFT_HELD(const Registry<Backbone(const BackboneOptions&, const Random&, const Tensor<>&)>& backbones<>())

}  // namespace GRAFT_ABI
}  // namespace graft
