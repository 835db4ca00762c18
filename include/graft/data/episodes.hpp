#pragma once
// N-way K-shot episodes over any data set whose items are grouped by class. Vinyals et al., "Matching networks for one
// shot learning", NeurIPS 2016. An episode depends on its random stream only, so a task's draws are the same whatever
// else runs.

#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Inputs and class labels 0 .. ways-1 of one side of an episode: `x` [items, ...], `y` [items].
template <class T = float>
struct LabelledSet {
  Tensor<T> x;
  Tensor<std::int64_t> y;
};

/// A small classification task: learn from `support`, answer on `query`.
template <class T = float>
struct Episode {
  LabelledSet<T> support, query;
  Index ways = 0;
  Tensor<T> unlabelled = {};  ///< [items, ...]: items of the task whose labels are not told; none, if not defined
};

/// The sizes of an episode.
struct EpisodeOptions {
  Index ways = 5;      ///< classes
  Index shots = 1;     ///< support items of each class
  Index queries = 15;  ///< query items of each class
};

/// Which items make up an episode. Items are grouped by class: class c (in episode order) has the support items
/// [c shots, (c + 1) shots) and the query items [c queries, (c + 1) queries).
struct EpisodeIndices {
  std::vector<Index> classes;  ///< [ways]: the data set's class behind each label
  std::vector<Index> support;  ///< [ways shots]: items
  std::vector<Index> query;    ///< [ways queries]: items, none of them in `support`
};

/// Items of each class of a data set.
using ClassItems = List<List<Index>>;

/// Draws `ways` classes out of `classes` without replacement, and for each class `shots` + `queries` different items.
/// Throws ValueError when the data have fewer classes, or a class fewer items, than asked for, and IndexError for a
/// class that is not one of `items`.
inline EpisodeIndices draw_episode(const ClassItems& items, const std::vector<Index>& classes,
                                   const EpisodeOptions& options, const Random& random, Site site = Site::current()) {
  const auto [ways, shots, queries] = options;
  if (ways < 1 || shots < 1 || queries < 0)
    fail("draw_episode", {"needs ways >= 1, shots >= 1 and queries >= 0, got ", ways, ", ", shots, ", ", queries}, {},
         site);
  if (ways > static_cast<Index>(classes.size()))
    fail("draw_episode", {ways, " ways, but there are ", classes.size(), " classes"}, {}, site);
  EpisodeIndices episode;
  for (Index rank : random.stream("classes").permutation(static_cast<Index>(classes.size()), ways)) {
    const Index chosen = classes[static_cast<std::size_t>(rank)];
    if (chosen < 0 || chosen >= items.size())
      fail<IndexError>("draw_episode", {"class ", chosen, ", but items are given of ", items.size(), " classes"}, {},
                       site);
    const List<Index>& own = items[chosen];
    if (shots > own.size() || queries > own.size() - shots)
      fail("draw_episode",
           {shots, " shots and ", queries, " queries, but class ", chosen, " has ", own.size(), " items"}, {}, site);
    const auto order = random.stream("items")
                           .stream(static_cast<std::uint64_t>(episode.classes.size()))
                           .permutation(own.size(), shots + queries);
    episode.classes.push_back(chosen);
    Index drawn = 0;
    for (Index item : order) (drawn++ < shots ? episode.support : episode.query).push_back(own[item]);
  }
  return episode;
}

/// Labels 0 0 .. 1 1 .. of `ways` classes with `each` items a class. Throws ValueError for negative numbers.
inline Tensor<std::int64_t> episode_labels(Index ways, Index each, Site site = Site::current()) {
  Index items = 0;
  if (ways < 0 || each < 0 || __builtin_mul_overflow(ways, each, &items))
    fail("episode_labels", {ways, " ways of ", each, " items"}, {}, site);
  return generate({items}, [each](Index i) { return i / each; });
}

}  // namespace GRAFT_ABI
}  // namespace graft
