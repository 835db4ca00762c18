#pragma once
// Fixed lists of episodes that every method answers.

#include <algorithm>
#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/core/stop.hpp"
#include "graft/data/item_set.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Items, and the lists of classes that an episode takes its classes from, one of the lists an episode: all classes, or
/// those of each alphabet.
struct EpisodeSource {
  ItemSet items;
  std::vector<std::vector<Index>> tasks;  ///< [lists]
  std::vector<std::string> names;         ///< of the lists

  /// The most classes that a list has.
  Index most_ways() const {
    std::size_t most = 0;
    for (const auto& classes : tasks) most = std::max(most, classes.size());
    return static_cast<Index>(most);
  }
};

/// `count` episodes, each of a list with classes enough for `options`, drawn uniformly; number i depends on `random`
/// and i only. `purpose` names them in errors: "test". Throws FileError where no list has so many classes, or a class
/// of one that has too few items.
GRAFT_ONCE std::vector<EpisodeIndices> draw_episodes(const std::string& purpose, const EpisodeSource& source,
                                                     const EpisodeOptions& options, Index count, const Random& random,
                                                     Site site = Site::current()) {
  std::vector<std::size_t> large;
  for (std::size_t t = 0; t < source.tasks.size(); ++t)
    if (std::ssize(source.tasks[t]) >= options.ways + options.distractors) {
      source.items.check(purpose, source.tasks[t], options, source.names[t]);
      large.push_back(t);
    }
  if (large.empty())
    fail_file(source.items.source, {"impossible ", purpose, " episodes: ", options.ways, " ways, but there are ",
                                    source.most_ways(), " classes", source.tasks.size() > 1 ? " at most" : ""});
  std::vector<EpisodeIndices> episodes;
  for (Index i = 0; i < count; ++i) {
    const Random own = random.stream(static_cast<std::uint64_t>(i));
    const std::size_t list = large[static_cast<std::size_t>(own.below(0, std::ssize(large)))];
    episodes.push_back(source.items.draw(source.tasks[list], options, own.stream("episode"), site));
  }
  return episodes;
}
GRAFT_HELD(std::vector<EpisodeIndices> draw_episodes<>(const std::string&, const EpisodeSource&, const EpisodeOptions&,
                                                       Index, const Random&, Site))

/// Episodes of several kinds, [kinds][episodes].
using EpisodeSuite = std::vector<std::vector<EpisodeIndices>>;

/// `count` episodes each of two kinds, of the classes in `pool`: with classes from anywhere, and with all classes of
/// one alphabet (or other group), which is harder; the second kind leaves out alphabets with fewer classes than ways
/// and distractors. Depends on `random` only. Errors: FileError if the pool is too small, ValueError for a negative
/// count; `purpose` names the episodes in them: "test".
GRAFT_ONCE EpisodeSuite draw_suite(const std::string& purpose, const ItemSet& items, const ClassPool& pool,
                                   const EpisodeOptions& options, Index count, const Random& random,
                                   Site site = Site::current()) {
  if (count < 0) fail("draw_suite", {count, " episodes"}, {}, site);
  items.check(purpose, pool.all, options, "their set of characters", {}, site);
  const EpisodeSource alphabets{items, pool.by_alphabet, pool.names};
  if (alphabets.most_ways() < options.ways + options.distractors)
    fail_file(items.source,
              {"impossible ", purpose, " episodes: ", options.ways, " ways, but no alphabet has so many classes"});
  EpisodeSuite suite(2);
  for (Index i = 0; i < count; ++i)
    suite[0].push_back(items.draw(pool.all, options, random.stream("unstructured", i), site));
  suite[1] = draw_episodes(purpose, alphabets, options, count, random.stream("within"), site);
  return suite;
}
GRAFT_HELD(EpisodeSuite draw_suite<>(const std::string&, const ItemSet&, const ClassPool&, const EpisodeOptions&, Index,
                                     const Random&, Site))

/// The group of a pool that each episode's first class is of: of episodes within a group, which one. Throws ValueError
/// for a class that is in none.
GRAFT_ONCE std::vector<Index> groups_of(const ClassPool& pool, const std::vector<EpisodeIndices>& episodes,
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
GRAFT_HELD(std::vector<Index> groups_of<>(const ClassPool&, const std::vector<EpisodeIndices>&, Site))

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
