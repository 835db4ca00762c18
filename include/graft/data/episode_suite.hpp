#pragma once
// Fixed lists of episodes that every method answers.

#include <algorithm>
#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/core/stop.hpp"
#include "graft/data/item_set.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Episodes of several kinds, [kinds][episodes].
using EpisodeSuite = std::vector<std::vector<EpisodeIndices>>;

/// `count` episodes each of two kinds, of the classes in `pool`: with classes from anywhere, and with all classes of
/// one alphabet (or other group), which is harder; the second kind leaves out alphabets with fewer classes than ways
/// and distractors. Depends on `random` only. Errors: FileError if the pool is too small, ValueError for a negative
/// count; `purpose` names the episodes in them: "test".
inline EpisodeSuite draw_suite(const std::string& purpose, const ItemSet& items, const ClassPool& pool,
                               const EpisodeOptions& options, Index count, const Random& random,
                               Site site = Site::current()) {
  if (count < 0) fail("draw_suite", {count, " episodes"}, {}, site);
  items.check(purpose, pool.all, options, "their set of characters", {}, site);
  std::vector<const std::vector<Index>*> large;
  for (const auto& alphabet : pool.by_alphabet)
    if (static_cast<Index>(alphabet.size()) >= options.ways + options.distractors) large.push_back(&alphabet);
  if (large.empty())
    fail_file(items.source,
              {"impossible ", purpose, " episodes: ", options.ways, " ways, but no alphabet has so many classes"});
  EpisodeSuite suite(2);
  for (Index i = 0; i < count; ++i) {
    const auto number = static_cast<std::uint64_t>(i);
    const Random free = random.stream("unstructured").stream(number), bound = random.stream("within").stream(number);
    suite[0].push_back(items.draw(pool.all, options, free, site));
    const auto chosen = static_cast<std::size_t>(bound.below(0, static_cast<Index>(large.size())));
    suite[1].push_back(items.draw(*large[chosen], options, bound.stream("episode"), site));
  }
  return suite;
}

/// The group of a pool that each episode's first class is of: of episodes within a group, which one. Throws ValueError
/// for a class that is in none.
inline std::vector<Index> groups_of(const ClassPool& pool, const std::vector<EpisodeIndices>& episodes,
                                    Site site = Site::current()) {
  std::vector<Index> groups;
  for (const EpisodeIndices& episode : episodes) {
    Index group = -1;
    for (std::size_t g = 0; g < pool.by_alphabet.size() && group < 0; ++g)
      if (!episode.classes.empty() && std::find(pool.by_alphabet[g].begin(), pool.by_alphabet[g].end(),
                                                episode.classes[0]) != pool.by_alphabet[g].end())
        group = static_cast<Index>(g);
    if (group < 0) fail("groups_of", {"episode ", groups.size(), " is of no group"}, {}, site);
    groups.push_back(group);
  }
  return groups;
}

/// A figure of each episode, in their order: `answer(episode)`, which runs on several threads at once. Throws Stopped
/// when `stop` asks for it.
template <class Answer>
std::vector<double> episode_figures(const ItemSet& items, const std::vector<EpisodeIndices>& episodes,
                                    const Answer& answer, const StopFlag* stop = nullptr) {
  std::vector<double> figures(episodes.size());
  parallel_tasks(static_cast<Index>(episodes.size()), [&](Index i) {
    if (stop_requested(stop)) throw Stopped("graft: stopped while episodes were answered");
    figures[static_cast<std::size_t>(i)] = answer(items.episode(episodes[static_cast<std::size_t>(i)]));
  });
  return figures;
}
/// The same of every kind of a suite: [kinds][episodes].
template <class Answer>
std::vector<std::vector<double>> episode_figures(const ItemSet& items, const EpisodeSuite& suite, const Answer& answer,
                                                 const StopFlag* stop = nullptr) {
  std::vector<std::vector<double>> figures;
  for (const auto& episodes : suite) figures.push_back(episode_figures(items, episodes, answer, stop));
  return figures;
}

}  // namespace GRAFT_ABI
}  // namespace graft
