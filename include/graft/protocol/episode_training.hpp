#pragma once
// A few-shot learner trained by the collaborative protocol: the tasks are sets of classes, each round's tasks draw an
// episode of their own.

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/core/function.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/losses.hpp"
#include "graft/protocol/phases.hpp"
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
  ClassItems unlabelled = {};   ///< of each class, for `episode.unlabelled`; none: further ones of the labelled items
  Function<Tensor<>(const Tensor<>&, const Random&)> augment = {};  ///< changes the inputs of training episodes
  Scheduler scheduler = UniformTasks();
};

namespace detail {

/// What a learner is trained with and how well it answers, on one episode of a task: its own `train_answer(episode,
/// task, context)` or `train_loss(episode, context)` where it has one, else the cross-entropy of its logits. Its
/// accuracy is NaN where only another pass would tell it.
template <class Learner>
TaskAnswer<> answer_in_training(const Learner& learner, const Episode<>& episode, Index task, Context& context) {
  if constexpr (requires { learner.train_answer(episode, task, context); }) {
    return learner.train_answer(episode, task, context);
  } else if constexpr (requires { learner.train_loss(episode, context); }) {
    return {learner.train_loss(episode, context), std::numeric_limits<double>::quiet_NaN()};
  } else {
    const Tensor<> logits = learner(episode, context);
    return {cross_entropy(logits, episode.query.y), accuracy(logits, episode.query.y)};
  }
}

}  // namespace detail

/// Trains `learner(episode, context)` -> logits [queries, ways] by rounds of the protocol with Adam, whatever its tasks
/// are: `draw(task, random)` gives an episode of a task in 0 .. tasks-1, on several threads at once, and
/// `validate(learner)` the figure by which the model that is kept is chosen. The loss is the learner's own
/// `train_answer(episode, task, context)` or `train_loss(episode, context)` if it has one, else the cross-entropy. The
/// sizes and unlabelled items of `how` are the business of `draw`. Throws ValueError for no tasks, else as `run_phase`.
template <Model Learner>
PhaseResult<Learner> train_on_episodes(const Learner& learner, Index tasks,
                                       const Function<Episode<>(Index task, const Random& random)>& draw,
                                       const Function<double(const std::type_identity_t<Learner>&)>& validate,
                                       EpisodeTraining how, const Checkpoints& checkpoints = {},
                                       Site site = Site::current()) {
  if (tasks < 1) fail("train_on_episodes", "no tasks", {}, site);
  const auto answer = [&](const Learner& own, Index task, const Random& random) {
    Episode<> episode = draw(task, random.stream("episode"));
    if (how.augment) {
      const Random changes = random.stream("augmentation");
      episode.support.x = how.augment(episode.support.x, changes.stream("support"));
      episode.query.x = how.augment(episode.query.x, changes.stream("query"));
      if (episode.unlabelled.defined())
        episode.unlabelled = how.augment(episode.unlabelled, changes.stream("unlabelled"));
    }
    Context context(Phase::training, random.stream("layers"));
    return detail::answer_in_training(own, episode, task, context);
  };
  how.train.words.metric = "accuracy";
  return run_phase(learner, tasks, answer, validate,
                   {how.protocol, how.aggregator, how.scheduler, how.learning_rate, {}, how.train}, checkpoints, site);
}
GRAFT_HELD(PhaseResult<AnyEpisodeLearner> train_on_episodes(const AnyEpisodeLearner&, Index,
                                                            const Function<Episode<>(Index, const Random&)>&,
                                                            const Function<double(const AnyEpisodeLearner&)>&,
                                                            EpisodeTraining, const Checkpoints&, Site))

/// The same on `tasks` that are lists of classes of `items`, chosen by the mean accuracy on the episodes of
/// `validation`. Before training it throws ValueError for no tasks, and for no queries unless the learner has a loss of
/// its own; FileError if a task's classes are too few for an episode; what `items` throws where the first episode of a
/// kind of `validation` is of another set. Else it throws as `train`.
template <Model Learner>
PhaseResult<Learner> train_on_episodes(const Learner& learner, const ItemSet& items,
                                       const std::vector<std::vector<Index>>& tasks, const EpisodeSuite& validation,
                                       const EpisodeTraining& how, const Checkpoints& checkpoints = {},
                                       Site site = Site::current()) {
  if (tasks.empty()) fail("train_on_episodes", "no tasks", {}, site);
  if constexpr (!requires(const Episode<> episode, Context& context) { learner.train_loss(episode, context); })
    if (how.episode.queries < 1)
      fail("train_on_episodes", {how.episode.queries, " queries a class, whose labels are the loss"}, {}, site);
  for (const auto& classes : tasks) items.check("training", classes, how.episode, "a task", how.unlabelled, site);
  for (const std::vector<EpisodeIndices>& kind : validation)
    if (!kind.empty()) items.episode(kind[0], site);
  const auto draw = [&](Index task, const Random& random) {
    return items.episode(
        draw_episode(items.items, tasks[static_cast<std::size_t>(task)], how.episode, random, how.unlabelled, site));
  };
  const auto validate = [&](const Learner& own) {
    return mean_figure(episode_accuracies(own, items, validation, how.train.stop, how.train.ranks));
  };
  return train_on_episodes<Learner>(learner, std::ssize(tasks), draw, validate, how, checkpoints, site);
}
GRAFT_HELD(PhaseResult<AnyEpisodeLearner> train_on_episodes(const AnyEpisodeLearner&, const ItemSet&,
                                                            const std::vector<std::vector<Index>>&, const EpisodeSuite&,
                                                            const EpisodeTraining&, const Checkpoints&, Site))

}  // namespace GRAFT_ABI
}  // namespace graft
