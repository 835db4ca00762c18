#pragma once
// How well a few-shot learner answers suites of episodes.

#include <algorithm>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/data/episode_suite.hpp"
#include "graft/evaluate/classification.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/model/context.hpp"
#include "graft/protocol/transport.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Accuracy of `learner(episode, context)` -> logits [queries, ways] in each of `count` episodes, which `draw(i)` makes
/// on several threads at once: [count]. `ranks` share the episodes and all get the figures of all. Throws Stopped when
/// `stop` asks for it.
template <class Learner, class Draw>
std::vector<double> drawn_accuracies(const Learner& learner, Index count, const Draw& draw,
                                     const StopFlag* stop = nullptr, Transport* ranks = nullptr) {
  return shared_figures(ranks, count, [&](Index i) {
    if (stop_requested(stop)) throw Stopped("graft: stopped while episodes were answered");
    const Episode<> episode = draw(i);
    Context evaluation;
    return accuracy(learner(episode, evaluation), episode.query.y);
  });
}

/// The same of the episodes of a suite, [kinds][episodes].
template <class Learner>
std::vector<std::vector<double>> episode_accuracies(const Learner& learner, const ItemSet& items,
                                                    const EpisodeSuite& suite, const StopFlag* stop = nullptr,
                                                    Transport* ranks = nullptr) {
  std::vector<std::vector<double>> figures;
  for (const std::vector<EpisodeIndices>& episodes : suite)
    figures.push_back(drawn_accuracies(
        learner, std::ssize(episodes), [&](Index i) { return items.episode(episodes[static_cast<std::size_t>(i)]); },
        stop, ranks));
  return figures;
}
GRAFT_HELD(std::vector<std::vector<double>> episode_accuracies(const AnyEpisodeLearner&, const ItemSet&,
                                                               const EpisodeSuite&, const StopFlag*, Transport*))

/// Means over the episodes of a suite of an episode's macro-averaged precision, recall and F1 of its classes, [kinds].
template <class Learner>
std::vector<PrecisionRecall> episode_precision_recall(const Learner& learner, const ItemSet& items,
                                                      const EpisodeSuite& suite, const StopFlag* stop = nullptr) {
  std::vector<PrecisionRecall> kinds;
  for (const std::vector<EpisodeIndices>& episodes : suite) {
    std::vector<PrecisionRecall> each(episodes.size());
    parallel_tasks(std::ssize(episodes), [&](Index i) {
      if (stop_requested(stop)) throw Stopped("graft: stopped while episodes were answered");
      const Episode<> episode = items.episode(episodes[static_cast<std::size_t>(i)]);
      Context evaluation;
      each[static_cast<std::size_t>(i)] =
          precision_recall(confusion_matrix(learner(episode, evaluation), episode.query.y), ClassAverage::macro);
    });
    PrecisionRecall mean{0, 0, 0};
    const double share = 1 / std::max(static_cast<double>(each.size()), 1.0);
    for (const PrecisionRecall& one : each) {
      mean.precision += share * one.precision;
      mean.recall += share * one.recall;
      mean.f1 += share * one.f1;
    }
    kinds.push_back(mean);
  }
  return kinds;
}
GRAFT_HELD(std::vector<PrecisionRecall> episode_precision_recall(const AnyEpisodeLearner&, const ItemSet&,
                                                                 const EpisodeSuite&, const StopFlag*))

/// Mean over kinds of episodes of their mean figures: what a model is chosen by. 0 for no kinds.
inline double mean_figure(const std::vector<std::vector<double>>& figures) {
  double mean = 0;
  for (const auto& kind : figures) mean += mean_interval(kind).mean / static_cast<double>(figures.size());
  return mean;
}

}  // namespace GRAFT_ABI
}  // namespace graft
