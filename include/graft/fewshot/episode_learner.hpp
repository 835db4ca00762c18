#pragma once
// Few-shot learners made of two parts: an embedding of single items and a head that answers an episode from embeddings.

#include <optional>
#include <string>
#include <vector>

#include "graft/common/few_shot.hpp"
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
GRAFT_ONCE ImageEmbedding make_image_embedding(const std::string& name, Index size, const Random& random,
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
GRAFT_HELD(ImageEmbedding make_image_embedding<>(const std::string&, Index, const Random&, Site))

/// Logits of an episode's queries [queries, ways]: all its items are embedded in one batch by `embedding(items,
/// context)`, and the episode of embeddings is answered by `head(episode, context)`.
template <class Embedding, class Head>
struct EpisodeLearner {
  Embedding embedding;
  Head head;
  GRAFT_FIELDS(embedding, head)

  /// The episode with embeddings [items, width] in the place of items; parts that it does not have stay away.
  template <class T>
  Episode<T> embed(Episode<T> episode, ContextRef context, Site site = Site::current()) const {
    const Named here("EpisodeLearner", site);
    std::vector<Tensor<T>*> parts;
    std::vector<Tensor<T>> items;
    for (Tensor<T>* part : {&episode.support.x, &episode.query.x, &episode.unlabelled})
      if (part->defined()) {
        parts.push_back(part);
        items.push_back(*part);
      }
    if (items.empty()) fail("EpisodeLearner", "the episode has no items", {}, site);
    const Tensor<T> all = answer_of(embedding, concat(items, 0, site), context);
    Index at = 0;
    for (Tensor<T>* part : parts) {
      const Index end = at + part->size(0);
      *part = slice(all, 0, at, end);
      at = end;
    }
    return episode;
  }

  template <class T>
  Tensor<T> operator()(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    return head(embed(episode, context, site), context);
  }
};
template <class Embedding, class Head>
EpisodeLearner(Embedding, Head) -> EpisodeLearner<Embedding, Head>;

/// An `EpisodeLearner` that knows a task: its support, and unlabelled items, as embeddings.
template <class Embedding, class Head, class T>
struct AdaptedLearner {
  EpisodeLearner<Embedding, Head> learner;
  Episode<T> known;

  /// Logits [queries, ways]. A transductive head sees the queries of one call together.
  Tensor<T> predict(const Tensor<T>& queries, ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("EpisodeLearner", site);
    Episode<T> episode = known;
    episode.query.x = answer_of(learner.embedding, queries, context);
    return learner.head(episode, context);
  }
};

/// The few-shot method (common/few_shot.hpp) whose model is an `EpisodeLearner` of this head: trained with the head's
/// own `loss(embedded episode, context)` where it has one, else with the cross-entropy of its logits.
template <class Head>
struct HeadMethod {
  static constexpr Needs needs = Head::needs;

  template <class Embedding, class T>
  Tensor<T> train_loss(const EpisodeLearner<Embedding, Head>& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const Episode<T> embedded = model.embed(episode, context, site);
    if constexpr (requires { model.head.loss(embedded, context); })
      return model.head.loss(embedded, context);
    else
      return cross_entropy(model.head(embedded, context), episode.query.y, {}, site);
  }

  template <class Embedding, class T>
  AdaptedLearner<Embedding, Head, T> adapt(const EpisodeLearner<Embedding, Head>& model, const LabelledSet<T>& support,
                                           const Tensor<T>& unlabelled = {}, ContextRef context = Context(),
                                           Site site = Site::current()) const {
    return {model, model.embed(Episode<T>{support, {}, ways_of(support.y, site), unlabelled}, context, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
