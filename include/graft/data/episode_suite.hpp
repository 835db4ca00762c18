#pragma once
// Fixed lists of episodes that every method answers.

#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/core/stop.hpp"
#include "graft/data/character_classes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Two kinds of episodes: with classes from anywhere, and with all classes of one alphabet, which is harder.
struct EpisodeSuite {
  std::vector<EpisodeIndices> unstructured, within_alphabet;
};

/// `count` episodes of each kind, of the classes in `pool`; the second kind leaves out alphabets with fewer classes
/// than ways. Depends on `random` only. Errors: FileError if the pool is too small, ValueError for a negative count;
/// `purpose` names the episodes in them: "test".
inline EpisodeSuite draw_suite(const std::string& purpose, const CharacterClasses& characters, const ClassPool& pool,
                               const EpisodeOptions& options, Index count, const Random& random,
                               Site site = Site::current()) {
  if (count < 0) fail("draw_suite", {count, " episodes"}, {}, site);
  characters.check(purpose, pool.all, options, "their set of characters");
  std::vector<const std::vector<Index>*> large;
  for (const auto& alphabet : pool.by_alphabet)
    if (static_cast<Index>(alphabet.size()) >= options.ways) large.push_back(&alphabet);
  if (large.empty())
    fail_file(characters.source(),
              {"impossible ", purpose, " episodes: ", options.ways, " ways, but no alphabet has so many characters"});
  EpisodeSuite suite;
  for (Index i = 0; i < count; ++i) {
    const auto number = static_cast<std::uint64_t>(i);
    const Random free = random.stream("unstructured").stream(number), bound = random.stream("within").stream(number);
    suite.unstructured.push_back(characters.draw(pool.all, options, free, site));
    const auto chosen = static_cast<std::size_t>(bound.below(0, static_cast<Index>(large.size())));
    suite.within_alphabet.push_back(characters.draw(*large[chosen], options, bound.stream("episode"), site));
  }
  return suite;
}

/// A figure of each episode, in their order: `answer(episode)`, which runs on several threads at once. Throws Stopped
/// when `stop` asks for it.
template <class Answer>
std::vector<double> episode_figures(const CharacterClasses& characters, const std::vector<EpisodeIndices>& episodes,
                                    const Answer& answer, const StopFlag* stop = nullptr) {
  std::vector<double> figures(episodes.size());
  parallel_tasks(static_cast<Index>(episodes.size()), [&](Index i) {
    if (stop_requested(stop)) throw Stopped("graft: stopped while episodes were answered");
    figures[static_cast<std::size_t>(i)] = answer(characters.render(episodes[static_cast<std::size_t>(i)]));
  });
  return figures;
}
/// The same of both kinds of a suite: [2][episodes].
template <class Answer>
std::vector<std::vector<double>> episode_figures(const CharacterClasses& characters, const EpisodeSuite& suite,
                                                 const Answer& answer, const StopFlag* stop = nullptr) {
  return {episode_figures(characters, suite.unstructured, answer, stop),
          episode_figures(characters, suite.within_alphabet, answer, stop)};
}

}  // namespace GRAFT_ABI
}  // namespace graft
