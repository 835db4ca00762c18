#pragma once
// The two learners that the main job trains: a prototypical network, and the same embedding followed by graph attention
// and a Transformer over the episode. A learner is a model with learner(episode, context) -> logits [queries, ways].

#include <algorithm>
#include <optional>
#include <utility>

#include "graft/data/episodes.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/nn/backbones.hpp"
#include "graft/ops/losses.hpp"
#include "graft/protocol/round.hpp"

namespace collaborate {

using namespace graft;

/// Images -> embeddings [n, width], by one of two backbones.
struct Embedding {
  std::optional<Conv4<>> conv;
  std::optional<PatchTransformer<>> patch;
  GRAFT_FIELDS(conv, patch)

  Tensor<> operator()(const Tensor<>& images, Context& context) const {
    return conv ? (*conv)(images) : (*patch)(images, context);
  }
};

/// Support and query images of an episode, embedded in one batch: [items, width] each.
inline std::pair<Tensor<>, Tensor<>> embed_episode(const Embedding& embedding, const Episode<>& episode,
                                                   Context& context) {
  const Index supports = episode.support.x.size(0);
  const Tensor<> all = embedding(concat<float>({episode.support.x, episode.query.x}), context);
  return {slice(all, 0, 0, supports), slice(all, 0, supports, all.size(0))};
}

struct ProtoNetLearner {
  Embedding embedding;
  GRAFT_FIELDS(embedding)

  Tensor<> operator()(const Episode<>& episode, Context& context) const {
    const auto [support, query] = embed_episode(embedding, episode, context);
    return protonet_logits(support, episode.support.y, query, episode.ways);
  }
};

struct GraphTransformerLearner {
  Embedding embedding;
  GraphTransformer<> head;
  GRAFT_FIELDS(embedding, head)

  Tensor<> operator()(const Episode<>& episode, Context& context) const {
    const auto [support, query] = embed_episode(embedding, episode, context);
    return head(support, episode.support.y, query, episode.ways, context);
  }
};

/// Share of the rows of `logits` [items, classes] whose largest entry is at the label.
inline double accuracy(const Tensor<>& logits, const Tensor<std::int64_t>& labels) {
  const Index items = logits.size(0), classes = logits.size(1);
  Index right = 0;
  for (Index i = 0; i < items; ++i) {
    const float* row = logits.data() + i * classes;
    right += std::max_element(row, row + classes) - row == labels.data()[i];
  }
  return static_cast<double>(right) / static_cast<double>(items);
}

}  // namespace collaborate
