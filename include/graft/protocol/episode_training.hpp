#pragma once
// A few-shot learner trained by the collaborative protocol: the tasks are sets of classes, each round's tasks draw an
// episode of their own.

#include <algorithm>
#include <utility>
#include <vector>

#include "graft/model/grad.hpp"
#include "graft/ops/losses.hpp"
#include "graft/optim/adam.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/protocol/round.hpp"
#include "graft/train/episodes.hpp"
#include "graft/train/train.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a few-shot learner is trained.
struct EpisodeTraining {
  EpisodeOptions episode;       ///< sizes of the training episodes
  ProtocolOptions protocol;     ///< of a round
  Aggregator aggregator;        ///< of the tasks' gradients
  double learning_rate = 1e-3;  ///< the highest: it warms up for a fiftieth of the rounds, then falls along a cosine
  TrainOptions train;           ///< its steps are rounds
};

/// Trains `learner(episode, context)` -> logits [queries, ways] by rounds of the protocol with Adam and cross-entropy
/// on `tasks`, lists of classes of `characters`; the model with the highest mean accuracy on the episodes of
/// `validation` is kept. Throws ValueError for no tasks, FileError if a task's classes are too few for an episode, and
/// as `train`.
template <Model Learner>
Trained<Learner> train_on_episodes(const Learner& learner, const CharacterClasses& characters,
                                   const std::vector<std::vector<Index>>& tasks, const EpisodeSuite& validation,
                                   EpisodeTraining how, const Checkpoints& checkpoints = {},
                                   Site site = Site::current()) {
  if (tasks.empty()) fail("train_on_episodes", "no tasks", {}, site);
  for (const auto& classes : tasks) characters.check("training", classes, how.episode, "a task");
  const Index rounds = std::max(how.train.steps, Index{1}), warm_up = std::min(rounds, 1 + rounds / 50);
  const Schedule rate =
      Schedule::warm_up(warm_up, Schedule::cosine(how.learning_rate, std::max(rounds - warm_up, Index{1})));
  const auto answer = [&](const Learner& own, Index task, const Random& random) {
    const auto drawn = characters.draw(tasks[static_cast<std::size_t>(task)], how.episode, random.stream("episode"));
    const Episode<> episode = characters.render(drawn);
    Context context(Phase::training, random.stream("layers"));
    const Tensor<> logits = own(episode, context);
    return TaskAnswer<>{cross_entropy(logits, episode.query.y), accuracy(logits, episode.query.y)};
  };
  const auto round = [&](auto& state, Index number) -> StepReport {
    const RoundReport report = run_round(state, answer, rate(number), how.protocol, site);
    return {report.loss, report.metric, report.tasks, report.dropped};
  };
  const auto validate = [&](const Learner& own) {
    return mean_figure(episode_accuracies(own, characters, validation, how.train.stop));
  };
  how.train.words = {"round", "episodes", "accuracy"};
  return train(start_protocol(learner, Adam<Learner>(learner), static_cast<Index>(tasks.size()), how.aggregator), round,
               validate, how.train, checkpoints, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
