#pragma once
// Few-shot learners of images whose tasks hear one another while they train, with an embedding and a head that a
// program chooses at run time.

#include <string>

#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/protocol/episode_training.hpp"
#include "graft/protocol/exchange.hpp"
#include "graft/protocol/report.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Exchange in front of any head.
using ImageExchangeLearner = ExchangeLearner<ImageEmbedding, AnyEpisodeLearner>;

/// A learner of `make_image_embedding(embedding, size, random.stream("embedding"))`, an exchange between `tasks` tasks
/// of up to `ways` classes that starts as random.stream("exchange") says, and `head`. With `exchange.on` false it has
/// the bits of `make_image_learner` with that embedding and head. Throws as the parts do.
template <class Head>
ImageExchangeLearner make_exchange_learner(const std::string& embedding, Index size, const Head& head, Index tasks,
                                           Index ways, const Random& random, const ExchangeOptions& exchange,
                                           Site site = Site::current()) {
  return {{make_image_embedding(embedding, size, random.stream("embedding"), site), head},
          tasks,
          ways,
          random.stream("exchange"),
          exchange,
          site};
}
GRAFT_HELD(ImageExchangeLearner make_exchange_learner(const std::string&, Index, const ProtoNetHead&, Index, Index,
                                                      const Random&, const ExchangeOptions&, Site))
GRAFT_HELD(ImageExchangeLearner make_exchange_learner(const std::string&, Index, const GraphTransformer<>&, Index,
                                                      Index, const Random&, const ExchangeOptions&, Site))

GRAFT_HELD(PhaseResult<ImageExchangeLearner> train_on_episodes(const ImageExchangeLearner&, const ItemSet&,
                                                               const std::vector<std::vector<Index>>&,
                                                               const EpisodeSuite&, const EpisodeTraining&,
                                                               const Checkpoints&, Site))
GRAFT_HELD(ReportedLearner test_learner(const std::string&, const Trained<ImageExchangeLearner>&, const ItemSet&,
                                        const EpisodeSuite&, bool, const StopFlag*, Transport*))

}  // namespace GRAFT_ABI
}  // namespace graft
