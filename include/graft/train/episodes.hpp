#pragma once
// How well a few-shot learner answers suites of episodes.

#include <vector>

#include "graft/data/episode_suite.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/model/context.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Accuracy of `learner(episode, context)` -> logits [queries, ways] in each episode of a suite: of the unstructured
/// ones, and of those within an alphabet. Throws Stopped when `stop` asks for it.
template <class Learner>
std::vector<std::vector<double>> episode_accuracies(const Learner& learner, const CharacterClasses& characters,
                                                    const EpisodeSuite& suite, const StopFlag* stop = nullptr) {
  const auto answer = [&](const Episode<>& episode) {
    Context evaluation;
    return accuracy(learner(episode, evaluation), episode.query.y);
  };
  return episode_figures(characters, suite, answer, stop);
}

/// Mean over kinds of episodes of their mean figures: what a model is chosen by. 0 for no kinds.
inline double mean_figure(const std::vector<std::vector<double>>& figures) {
  double mean = 0;
  for (const auto& kind : figures) mean += mean_interval(kind).mean / static_cast<double>(figures.size());
  return mean;
}

}  // namespace GRAFT_ABI
}  // namespace graft
