#pragma once
// Tasks of different kinds, images, nodes, texts, trained together: an encoder of each kind in front of one trunk, and
// episodes of as many classes as each task has.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "graft/common/mixed_encoder.hpp"
#include "graft/core/options.hpp"
#include "graft/data/few_shot_tasks.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/protocol/episode_training.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Episodes of all tasks.
struct MixtureOptions {
  Index ways = 5, shots = 5, queries = 10;   ///< of test and validation; ways: or as many as a task's part has
  Index train_ways = 10, train_queries = 5;  ///< likewise of training
  Index validations = 10, tests = 200;       ///< episodes of each task
};

/// A task of a mixture.
struct MixedTask {
  std::string name;
  ItemSet items;               ///< as `tagged_items`
  std::vector<Index> classes;  ///< to train on
  EpisodeOptions training;
  std::vector<EpisodeIndices> validation = {}, test = {};
};

/// Several tasks and what reads them.
struct TaskMixture {
  std::vector<MixedTask> tasks;
  std::vector<FewShotTask> readers;  ///< the first task of each reader, without its items

  /// An encoder of each reader, 64 numbers wide or `width`: a `Conv4` for images, `NodeEmbedding`, `TextEmbedding`, a
  /// perceptron for vectors. The initial values of an encoder depend on (random, the reader's name), whatever others
  /// there are.
  MixedEncoder encoder(const Random& random, Index width = 64, Site site = Site::current()) const {
    MixedEncoder mixed;
    for (const FewShotTask& task : readers) {
      Shape item{task.size};
      const char* name = "mlp";
      switch (task.kind) {
        case ItemKind::images:
          item = {task.size, task.size, 1};
          name = "conv4";
          break;
        case ItemKind::nodes:
          item = {1};
          name = "graph";
          break;
        case ItemKind::texts:
          name = "text";
          break;
        case ItemKind::vectors:
          break;
      }
      mixed.add(backbones().make(name, {task.size, task.entries, width}, random.stream(task.reader), task.table, site),
                item, width, site);
    }
    return mixed;
  }
};

/// Deals out the classes of every task and draws its validation and test episodes; what a task gets depends on (random,
/// its name and classes) only, not on the other tasks. Throws FileError, which names the data, for a task with too few
/// classes or items, ValueError for no tasks, a name that comes twice and numbers below 1 (ways: below 2).
inline TaskMixture mix_tasks(const std::vector<FewShotTask>& tasks, const MixtureOptions& o, const Random& random,
                             Site site = Site::current()) {
  if (tasks.empty()) fail("mix_tasks", "no tasks", {}, site);
  if (o.ways < 2 || o.train_ways < 2 || o.shots < 1 || o.queries < 1 || o.train_queries < 1 || o.validations < 1 ||
      o.tests < 1)
    fail("mix_tasks",
         {o.ways, " and ", o.train_ways, " ways, ", o.shots, " shots, ", o.queries, " and ", o.train_queries,
          " queries, ", o.validations, " validations, ", o.tests, " tests"},
         {}, site);
  TaskMixture mixture;
  for (const FewShotTask& task : tasks) {
    for (const MixedTask& other : mixture.tasks)
      if (other.name == task.name) fail("mix_tasks", {"two tasks are called ", task.name}, {}, site);
    std::size_t reader = 0;
    while (reader < mixture.readers.size() && mixture.readers[reader].reader != task.reader) ++reader;
    if (reader == mixture.readers.size()) {
      mixture.readers.push_back(task);
      mixture.readers.back().items = {};
    }
    const FewShotData data = deal_task(task, random.stream("classes"));
    const Random own = random.stream(task.name);
    const auto sizes = [&](const EpisodeSource& part, Index ways, Index queries) {
      return EpisodeOptions{std::min(ways, part.most_ways()), o.shots, queries};
    };
    MixedTask mixed{task.name, tagged_items(task.items, static_cast<Index>(reader)), data.train.tasks[0],
                    sizes(data.train, o.train_ways, o.train_queries)};
    task.items.check("training", mixed.classes, mixed.training, task.name, {}, site);
    const auto draw = [&](const char* what, const EpisodeSource& part, Index count) {
      return draw_episodes(what, part, sizes(part, o.ways, o.queries), count, own.stream(what), site);
    };
    mixed.validation = draw("validation", data.validation, o.validations);
    mixed.test = draw("test", data.test, o.tests);
    mixture.tasks.push_back(std::move(mixed));
  }
  return mixture;
}

namespace detail {

/// Logits of an episode of task number `own`: where the learner listens to other tasks, not to what it posted itself.
template <class Learner>
Tensor<> answer_of_task(const Learner& learner, const Episode<>& episode, Index own, ContextRef context) {
  if constexpr (requires { learner.joined(learner.learner.embed(episode, context), own, context); })
    return learner.learner.head(learner.joined(learner.learner.embed(episode, context), own, context), context);
  else
    return learner(episode, context);
}

}  // namespace detail

/// How a learner answers episodes.
struct TaskAccuracies {
  std::vector<double> accuracies;  ///< [episodes]
  Index failed = 0;                ///< episodes that it threw at, whose accuracy is 0
};

/// Accuracy of the learner in episodes of task number `own` of a mixture. An episode that it throws at is answered
/// wrongly, 0, and counted. Throws Stopped.
template <class Learner>
TaskAccuracies task_accuracies(const Learner& learner, const MixedTask& task, Index own,
                               const std::vector<EpisodeIndices>& episodes, const StopFlag* stop = nullptr) {
  std::atomic<Index> failed = 0;
  const auto answer = [&](const EpisodeIndices& drawn) {
    try {
      const Episode<> episode = task.items.episode(drawn);
      return accuracy(detail::answer_of_task(learner, episode, own, Context()), episode.query.y);
    } catch (const Stopped&) {
      throw;
    } catch (const Error&) {
      ++failed;
      return 0.0;
    }
  };
  std::vector<double> figures(episodes.size());
  parallel_tasks(std::ssize(episodes), [&](Index i) {
    if (stop_requested(stop)) throw Stopped("graft: stopped while episodes were answered");
    figures[static_cast<std::size_t>(i)] = answer(episodes[static_cast<std::size_t>(i)]);
  });
  return {std::move(figures), failed};
}

/// Trains a learner with the mixture's encoder in front on all tasks together, by `train_on_episodes`; the model that
/// is kept has the highest mean over tasks of validation accuracies. The episodes' sizes are the mixture's. A task
/// whose episodes throw, or have no finite loss or gradient, is left out of its rounds, counted in the meter, and moves
/// no other task's draws. Throws ValueError for a mixture of no tasks, else as `train_on_episodes`.
template <Model Learner>
PhaseResult<Learner> train_on_mixture(const Learner& learner, const TaskMixture& mixture, const EpisodeTraining& how,
                                      const Checkpoints& checkpoints = {}, Site site = Site::current()) {
  const auto draw = [&](Index number, const Random& random) {
    const MixedTask& task = mixture.tasks[static_cast<std::size_t>(number)];
    return task.items.episode(task.items.draw(task.classes, task.training, random, site), site);
  };
  const auto validate = [&](const Learner& own) {
    double mean = 0;
    Index number = 0;
    for (const MixedTask& task : mixture.tasks)
      mean += mean_interval(task_accuracies(own, task, number++, task.validation, how.train.stop).accuracies).mean;
    return mean / static_cast<double>(mixture.tasks.size());
  };
  return train_on_episodes<Learner>(learner, std::ssize(mixture.tasks), draw, validate, how, checkpoints, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
