#pragma once
// Few-shot learners of images whose embedding and head a program chooses at run time.

#include <string>

#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/fewshot/protonet.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// An `EpisodeLearner` of `make_image_embedding(embedding, size, random)` and `head`. Throws as that does.
template <class Head>
AnyEpisodeLearner make_image_learner(const std::string& embedding, Index size, const Random& random, const Head& head,
                                     Site site = Site::current()) {
  return EpisodeLearner{make_image_embedding(embedding, size, random, site), head};
}
GRAFT_HELD(AnyEpisodeLearner make_image_learner(const std::string&, Index, const Random&, const ProtoNetHead&, Site))
GRAFT_HELD(AnyEpisodeLearner make_image_learner(const std::string&, Index, const Random&, const GraphTransformer<>&,
                                                Site))

}  // namespace GRAFT_ABI
}  // namespace graft
