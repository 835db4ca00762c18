#pragma once
// A `FewShotLearner` trained on episodes, or on batches of base classes, as its method asks, and how well it answers.

#include <algorithm>
#include <vector>

#include "graft/data/augment.hpp"
#include "graft/data/episode_suite.hpp"
#include "graft/data/few_shot_data.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/fewshot/learner.hpp"
#include "graft/optim/adam.hpp"
#include "graft/protocol/episode_training.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a learner is trained.
struct LearnerTraining {
  EpisodeOptions episode{20, 1, 5};  ///< of training episodes; unlabelled items are for methods that look at them
  Index batch = 100;                 ///< items of a batch of base classes, in the place of an episode
  Index tasks_per_round = 2;         ///< episodes or batches of a round, whose mean gradient makes a step
  double learning_rate = 2e-3;       ///< the highest of Adam: it warms up for a fiftieth of the rounds, then a cosine
  double clip = 10;                  ///< largest norm of a step's gradient
  AugmentOptions augment = {};       ///< of training images
  /// Of the classes of a training episode, the images of each changed alike: classes that the data do not have, where
  /// they have few.
  AugmentOptions change_classes = {};
  EpisodeOptions validation{5, 1, 10};
  Index validation_episodes = 100;
  std::uint64_t seed = 1;
  TrainOptions train = {};  ///< its steps are rounds
};

/// The source with items embedded once by `embedding`; items of classes that stand in no list are left out. The same
/// random numbers draw the same episodes of it.
inline EpisodeSource embedded_source(const EpisodeSource& source, const Backbone& embedding) {
  ItemSet some = source.items;
  ClassItems kept(some.classes());
  for (const auto& classes : source.tasks)
    for (const Index c : classes) kept[c] = some.items[c];
  some.items = kept;
  return {feature_bank(some, [&](const Tensor<>& x) { return embedding(x, Context()); }), source.tasks, source.names};
}

/// Accuracies of a learner in `count` episodes of a source, as `draw_episodes` draws them: in one pass over the items
/// where the learner embeds single items. Unlabelled items are seen by learners alone that see unlabelled items and no
/// queries. Throws as `draw_episodes` and the learner do, and Stopped.
GRAFT_ONCE std::vector<double> learner_accuracies(const FewShotLearner& learner, const EpisodeSource& source,
                                                  const EpisodeOptions& options, Index count, const Random& random,
                                                  const StopFlag* stop = nullptr) {
  const Backbone* embedding = learner.embedding();
  const FewShotLearner answering = embedding ? learner.with_embedding(SameItems()) : learner;
  const EpisodeSource answered = embedding ? embedded_source(source, *embedding) : source;
  std::vector<EpisodeIndices> episodes = draw_episodes("test", answered, options, count, random);
  if (learner.needs().sees != Sees::unlabelled)
    for (EpisodeIndices& episode : episodes) episode.unlabelled = episode.others = {};
  const auto answer = [&](const Episode<>& e) { return accuracy(answering(e, Context()), e.query.y); };
  return episode_figures(answered.items, episodes, answer, stop);
}
GRAFT_HELD(std::vector<double> learner_accuracies<>(const FewShotLearner&, const EpisodeSource&, const EpisodeOptions&,
                                                    Index, const Random&, const StopFlag*))
/// Accuracies in one-shot runs.
GRAFT_ONCE std::vector<double> learner_accuracies(const FewShotLearner& learner, const OneShotRuns& runs,
                                                  const StopFlag* stop = nullptr) {
  std::vector<double> figures(static_cast<std::size_t>(runs.runs));
  parallel_tasks(runs.runs, [&](Index run) {
    if (stop_requested(stop)) throw Stopped("graft: stopped while runs were answered");
    const Episode<> episode = runs.episode(run);
    figures[static_cast<std::size_t>(run)] = accuracy(learner(episode, Context()), episode.query.y);
  });
  return figures;
}
GRAFT_HELD(std::vector<double> learner_accuracies<>(const FewShotLearner&, const OneShotRuns&, const StopFlag*))

/// The classes of all lists of a source, in their order: class number k of a batch of base classes is the k-th.
inline std::vector<Index> base_classes(const EpisodeSource& source) {
  std::vector<Index> all;
  for (const auto& classes : source.tasks) all.insert(all.end(), classes.begin(), classes.end());
  return all;
}

/// `count` items of the base classes, class and item drawn uniformly, as a batch for `Trains::classes`: labels are the
/// classes' places in `base_classes`.
inline Episode<> draw_class_batch(const EpisodeSource& source, const std::vector<Index>& classes, Index count,
                                  const Random& random) {
  const Random places = random.stream("classes"), items = random.stream("items");
  std::vector<Index> chosen, shown;
  std::vector<std::int64_t> labels;
  for (Index i = 0; i < count; ++i) {
    const auto number = static_cast<std::uint64_t>(i);
    const Index place = places.below(number, std::ssize(classes)), own = classes[static_cast<std::size_t>(place)];
    chosen.push_back(source.items.items[own][items.below(number, source.items.items[own].size())]);
    shown.push_back(own);
    labels.push_back(place);
  }
  Episode<> batch;
  batch.support = {source.items.inputs(chosen, shown), from_vector(labels)};
  batch.ways = std::ssize(classes);
  return batch;
}

namespace detail {

/// What the rounds of one training draw and are chosen by.
class LearnerTasks {
 public:
  LearnerTasks(const FewShotLearner& learner, const EpisodeSource& training, const EpisodeSource& validation,
               const LearnerTraining& how, Site site)
      : training_(training), validation_(validation), how_(how), classes_(base_classes(training)) {
    trains_ = learner.trains();
    if (learner.needs().sees != Sees::unlabelled) how_.episode.unlabelled = how_.episode.distractors = 0;
    if (how_.episode.unlabelled == 0) how_.validation.unlabelled = how_.validation.distractors = 0;
    if (trains_ == Trains::nothing) fail("train_learner", {learner.name(), " is not trained"}, {}, site);
    if (how.batch < 1 || how.tasks_per_round < 1)
      fail("train_learner", {"batches of ", how.batch, ", ", how.tasks_per_round, " a round"}, {}, site);
    if (trains_ == Trains::classes) {
      if (learner.spec().classes != std::ssize(classes_))
        fail("train_learner",
             {learner.name(), " was made for ", learner.spec().classes, " base classes, there are ", classes_.size()},
             {}, site);
      for (const Index c : classes_)
        if (training.items.items[c].empty())
          fail_file(training.items.source, {training.items.name(c), " has no items"});
    }
    for (std::size_t t = 0; t < training.tasks.size(); ++t)
      if (trains_ == Trains::episodes)
        training.items.check("training", training.tasks[t], how_.episode, training.names[t]);
  }

  Index count() const { return std::ssize(training_.tasks); }
  EpisodeTraining training() const {
    return {how_.episode,
            {.tasks_per_round = how_.tasks_per_round, .seed = how_.seed, .clip = how_.clip},
            MeanGradient(),
            how_.learning_rate,
            how_.train};
  }
  Episode<> draw(Index task, const Random& random) const {
    const Random changes = random.stream("augmentation");
    // The classes of images as the data number them; none: these stay as they are.
    const auto change = [&](Tensor<>& images, const char* part, std::vector<Index> classes) {
      if (!images.defined()) return;
      if (!classes.empty() && how_.change_classes.changes())
        images = augment(images, from_vector(std::move(classes)), how_.change_classes, changes.stream("classes"));
      if (how_.augment.changes()) images = augment(images, how_.augment, changes.stream(part));
    };
    if (trains_ == Trains::classes) {
      Episode<> batch = draw_class_batch(training_, classes_, how_.batch, random);
      change(batch.support.x, "support", {});
      return batch;
    }
    const EpisodeIndices drawn =
        training_.items.draw(training_.tasks[static_cast<std::size_t>(task)], how_.episode, random);
    const auto classes_of = [&](std::vector<Index> labels) {
      for (Index& label : labels) label = drawn.classes[static_cast<std::size_t>(label)];
      return labels;
    };
    Episode<> episode = training_.items.episode(drawn);
    change(episode.support.x, "support", classes_of(drawn.support_labels));
    change(episode.query.x, "query", classes_of(drawn.query_labels));
    change(episode.unlabelled, "unlabelled", drawn.others);
    return episode;
  }
  double validate(const FewShotLearner& learner) const {
    return mean_interval(learner_accuracies(learner, validation_, how_.validation, how_.validation_episodes,
                                            Random(how_.seed).stream("validation"), how_.train.stop))
        .mean;
  }

 private:
  const EpisodeSource& training_;
  const EpisodeSource& validation_;
  LearnerTraining how_;
  std::vector<Index> classes_;
  Trains trains_ = Trains::episodes;
};

}  // namespace detail

/// Trains `learner` by rounds with Adam: each takes the mean gradient of the `train_loss` of a few episodes (of one
/// list of the source each) or batches of base classes, as `learner.trains()` says. The model with the highest mean
/// accuracy on `validation` is kept. A method that asks to see base classes is shown some thousand items of theirs in
/// the end. Throws ValueError for a learner that is not trained, or made for another number of base classes; FileError
/// for sources too small for their episodes; and as `train`.
GRAFT_ONCE Trained<FewShotLearner> train_learner(const FewShotLearner& learner, const EpisodeSource& training,
                                                 const EpisodeSource& validation, const LearnerTraining& how,
                                                 const Checkpoints& checkpoints = {}, Site site = Site::current()) {
  const detail::LearnerTasks tasks(learner, training, validation, how, site);
  return train_on_episodes(
      learner, tasks.count(), [&](Index task, const Random& random) { return tasks.draw(task, random); },
      [&](const FewShotLearner& own) { return tasks.validate(own); }, tasks.training(), checkpoints, site);
}
GRAFT_HELD(Trained<FewShotLearner> train_learner<>(const FewShotLearner&, const EpisodeSource&, const EpisodeSource&,
                                                   const LearnerTraining&, const Checkpoints&, Site))

/// Shows a learner up to `count` items of the base classes, embedded: what SimpleShot centres by. Learners that do not
/// ask for it stay as they are.
GRAFT_ONCE void show_base(FewShotLearner& learner, const EpisodeSource& training, const Random& random,
                          Index count = 2000) {
  const Backbone* embedding = learner.embedding();
  if (!embedding || learner.trains() != Trains::classes) return;
  std::vector<Tensor<>> parts;
  const std::vector<Index> classes = base_classes(training);
  for (Index at = 0; at < count; at += 200)
    parts.push_back((*embedding)(draw_class_batch(training, classes, std::min<Index>(200, count - at),
                                                  random.stream(static_cast<std::uint64_t>(at)))
                                     .support.x,
                                 Context()));
  learner.see_base(concat(parts, 0).detach());
}
GRAFT_HELD(void show_base<>(FewShotLearner&, const EpisodeSource&, const Random&, Index))

/// How many rounds `train_learner` may do in `seconds`, its validations within them: a fortieth of the time, and two
/// rounds at least, are spent to find out, on a copy. 1 at least. Not repeatable: take it once and keep the rounds.
GRAFT_ONCE Index rounds_within(double seconds, const FewShotLearner& learner, const EpisodeSource& training,
                               const EpisodeSource& validation, const LearnerTraining& how,
                               Site site = Site::current()) {
  if (!(seconds > 0)) fail("rounds_within", {seconds, " seconds"}, {}, site);
  const detail::LearnerTasks tasks(learner, training, validation, how, site);
  auto state = start_protocol(learner, Adam<FewShotLearner>(learner), tasks.count());
  const auto answer = [&](const FewShotLearner& own, Index task, const Random& random) {
    Context context(Phase::training, random.stream("layers"));
    return detail::answer_in_training(own, tasks.draw(task, random.stream("episode")), task, context);
  };
  const ProtocolOptions protocol = tasks.training().protocol;
  run_round(state, answer, 0, protocol, site);  // the first one asks for memory
  const Stopwatch watch;
  Index done = 0;
  for (; done == 0 || watch.seconds() < seconds / 40; ++done) run_round(state, answer, 0, protocol, site);
  const double of_round = watch.seconds() / static_cast<double>(done);
  tasks.validate(learner);
  const Stopwatch again;
  tasks.validate(learner);
  const double left = seconds - static_cast<double>(how.train.validations) * again.seconds();
  return std::max(Index{1}, static_cast<Index>(left / of_round));
}
GRAFT_HELD(Index rounds_within<>(double, const FewShotLearner&, const EpisodeSource&, const EpisodeSource&,
                                 const LearnerTraining&, Site))

}  // namespace GRAFT_ABI
}  // namespace graft
