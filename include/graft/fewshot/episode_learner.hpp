#pragma once
// Few-shot learners made of two parts: an embedding of single items and a head that answers an episode from embeddings.

#include <optional>
#include <string>

#include "graft/data/episodes.hpp"
#include "graft/model/context.hpp"
#include "graft/nn/backbones.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Images [n, size, size, 1] -> embeddings [n, 64], by one of two backbones. Of a `Conv4` that leaves more than one
/// position (images from 32 pixels on) the mean over positions, so that the head is as wide for images of any size.
struct ImageEmbedding {
  std::optional<Conv4<>> conv;
  std::optional<PatchTransformer<>> patch;
  GRAFT_FIELDS(conv, patch)

  Tensor<> operator()(const Tensor<>& images, Context& context) const {
    if (patch) return (*patch)(images, context);
    if (!conv) fail("ImageEmbedding", "has no backbone; make it with make_image_embedding");
    const Tensor<> maps = (*conv)(images);
    const Index width = conv->blocks.back().conv.weight.size(0), positions = maps.size(1) / width;
    return positions == 1 ? maps : mean(reshape(maps, {maps.size(0), positions, width}), {1});
  }
};

/// The embedding called "conv" or "patch", for images of `size` pixels a side. Patches are as small as lets at most
/// eight stand in a row: 4 x 4 pixels of 28. Throws ValueError for another name, or a size below 16.
inline ImageEmbedding make_image_embedding(const std::string& name, Index size, const Random& random,
                                           Site site = Site::current()) {
  if (size < 16) fail("make_image_embedding", {"images of ", size, " pixels, expected 16 or more"}, {}, site);
  ImageEmbedding embedding;
  Index row = 8;
  while (size % row != 0) --row;
  if (name == "conv")
    embedding.conv = Conv4<>(random);
  else if (name == "patch")
    embedding.patch = PatchTransformer<>(random, {.size = size, .patch = size / row});
  else
    fail("make_image_embedding", {"no embedding is called '", name, "'; there are conv and patch"}, {}, site);
  return embedding;
}

/// Logits of an episode's queries [queries, ways]: support and query are embedded in one batch by `embedding(items,
/// context)`, and answered by `head(support, labels, query, ways, context)`.
template <class Embedding, class Head>
struct EpisodeLearner {
  Embedding embedding;
  Head head;
  GRAFT_FIELDS(embedding, head)

  template <class T>
  Tensor<T> operator()(const Episode<T>& episode, Context& context, Site site = Site::current()) const {
    const Named here("EpisodeLearner", site);
    const Index supports = episode.support.x.size(0);
    const Tensor<T> all = embedding(concat<T>({episode.support.x, episode.query.x}, 0, site), context);
    return head(slice(all, 0, 0, supports), episode.support.y, slice(all, 0, supports, all.size(0)), episode.ways,
                context);
  }
};
template <class Embedding, class Head>
EpisodeLearner(Embedding, Head) -> EpisodeLearner<Embedding, Head>;

}  // namespace GRAFT_ABI
}  // namespace graft
