#pragma once
// N-way K-shot episodes over any data set whose items are grouped by class. Vinyals et al., "Matching networks for one
// shot learning", NeurIPS 2016. An episode depends on its random stream only, so a task's draws are the same whatever
// else runs.

#include <algorithm>
#include <vector>

#include "graft/core/beta_draws.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
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

/// The sizes of an episode. All classes have as many support and query items as each other unless the later options say
/// otherwise.
struct EpisodeOptions {
  Index ways = 5;            ///< classes
  Index shots = 1;           ///< support items of each class
  Index queries = 15;        ///< query items of each class
  Index unlabelled = 0;      ///< items of each class whose labels are not told
  Index distractors = 0;     ///< further classes with as many unlabelled items each and nothing else
  Index fewest_ways = 0;     ///< above 0: the classes' number is drawn uniformly from here to `ways`
  Index fewest_shots = 0;    ///< above 0: that of a class's support items likewise, to `shots`
  double concentration = 0;  ///< above 0: the queries are shared out by Dirichlet(concentration, ...) over the classes;
                             ///< 2 in Veilleux et al., NeurIPS 2021
};

/// Which items make up an episode, grouped by class in the order of `classes`.
struct EpisodeIndices {
  std::vector<Index> classes;              ///< [ways]: the data set's class behind each label
  std::vector<Index> support;              ///< [items]
  std::vector<Index> query;                ///< [queries]: items, none of them in `support`
  std::vector<Index> support_labels = {};  ///< [items]: places in `classes`
  std::vector<Index> query_labels = {};    ///< [queries]
  std::vector<Index> unlabelled = {};      ///< [others]: items that are in neither, those of distractors last
  std::vector<Index> others = {};          ///< [others]: the data set's class of each of these
};

/// Items of each class of a data set.
using ClassItems = List<List<Index>>;

/// The items of a data set whose labels are told, and those whose are not.
struct LabelSplit {
  ClassItems labelled, unlabelled;
};

/// `labelled` items of each class drawn from `random`, the others unlabelled; both in the order of `items`. `forms`
/// classes that follow one another are one in so many forms, as a character at four turns, and have the same items
/// labelled. Ren et al., "Meta-learning for semi-supervised few-shot classification", ICLR 2018, label a tenth. Throws
/// ValueError when a class has fewer items or the number of classes is no multiple of `forms`.
inline LabelSplit split_labels(const ClassItems& items, Index labelled, const Random& random, Index forms = 1,
                               Site site = Site::current()) {
  if (forms < 1 || items.size() % forms != 0)
    fail("split_labels", {items.size(), " classes in ", forms, " forms each"}, {}, site);
  LabelSplit split{ClassItems(items.size()), ClassItems(items.size())};
  for (Index c = 0; c < items.size(); ++c) {
    const List<Index>& own = items[c];
    if (labelled < 0 || labelled > own.size())
      fail("split_labels", {labelled, " labelled items, but class ", c, " has ", own.size()}, {}, site);
    List<char> told(own.size());
    for (const Index place : random.stream("labelled", c / forms).permutation(own.size(), labelled)) told[place] = 1;
    for (Index i = 0; i < own.size(); ++i) (told[i] ? split.labelled : split.unlabelled)[c].push_back(own[i]);
  }
  return split;
}

namespace detail {

inline void check_episode_options(const char* op, const EpisodeOptions& o, Site site) {
  if (o.ways < 1 || o.shots < 1 || o.queries < 0)
    fail(op, {"needs ways >= 1, shots >= 1 and queries >= 0, got ", o.ways, ", ", o.shots, ", ", o.queries}, {}, site);
  if (o.unlabelled < 0 || o.distractors < 0)
    fail(op, {o.unlabelled, " unlabelled items a class and ", o.distractors, " distractors"}, {}, site);
  if (o.fewest_ways < 0 || o.fewest_ways > o.ways || o.fewest_shots < 0 || o.fewest_shots > o.shots)
    fail(op, {"at least ", o.fewest_ways, " of ", o.ways, " ways and ", o.fewest_shots, " of ", o.shots, " shots"}, {},
         site);
  check_option<double>(op, "concentration", o.concentration, Range::not_negative, site);
  Index total = 0;
  if (o.concentration > 0 && __builtin_mul_overflow(o.ways, o.queries, &total))
    fail(op, {o.queries, " queries of each of ", o.ways, " classes"}, {}, site);
}

/// Shares out `total` queries: gamma draws make shares, the largest remainders the last few.
inline std::vector<Index> shared_queries(Index total, std::size_t ways, double concentration, const Random& random) {
  std::vector<double> shares(ways);
  double sum = 0;
  for (std::size_t k = 0; k < ways; ++k)
    sum += shares[k] = std::max(gamma_draw(concentration, random.stream("share", static_cast<Index>(k))), 1e-300);
  std::vector<Index> counts(ways), order(ways);
  Index given = 0;
  for (std::size_t k = 0; k < ways; ++k) {
    shares[k] *= static_cast<double>(total) / sum;
    given += counts[k] = static_cast<Index>(shares[k]);
    shares[k] -= static_cast<double>(counts[k]);
    order[k] = static_cast<Index>(k);
  }
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {
    const double x = shares[static_cast<std::size_t>(a)], y = shares[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  });
  for (Index i = 0; i < total - given; ++i)
    ++counts[static_cast<std::size_t>(order[static_cast<std::size_t>(i) % ways])];
  return counts;
}

}  // namespace detail

/// Draws classes out of `classes`, which differ, without replacement, and different items of each. What the later
/// options ask for moves no other draw: with them at their defaults an episode is the same as without. Unlabelled items
/// are of `unlabelled`, if that is given, else further ones of `items`. Throws ValueError when the data have fewer
/// classes, or a class fewer items, than asked for, and IndexError for a class that is not one of `items`.
GRAFT_ONCE EpisodeIndices draw_episode(const ClassItems& items, const std::vector<Index>& classes,
                                       const EpisodeOptions& options, const Random& random,
                                       const ClassItems& unlabelled = {}, Site site = Site::current()) {
  const char* op = "draw_episode";
  const EpisodeOptions& o = options;
  detail::check_episode_options(op, o, site);
  const bool own_pool = unlabelled.size() > 0;
  if (own_pool && unlabelled.size() != items.size())
    fail(op, {"unlabelled items of ", unlabelled.size(), " classes, others of ", items.size()}, {}, site);
  const Index ways =
      o.fewest_ways > 0 ? o.fewest_ways + random.stream("ways").below(0, o.ways - o.fewest_ways + 1) : o.ways;
  if (ways > static_cast<Index>(classes.size()) || o.distractors > static_cast<Index>(classes.size()) - ways)
    fail(op,
         {ways, " ways", o.distractors > 0 ? " and " + detail::as_text(o.distractors) + " distractors" : "",
          ", but there are ", classes.size(), " classes"},
         {}, site);
  const auto all = static_cast<Index>(classes.size());
  const Random item_draws = random.stream("items"), shot_draws = random.stream("shots");
  std::vector<Index> queries(static_cast<std::size_t>(ways), o.queries);
  if (o.concentration > 0)
    queries = detail::shared_queries(ways * o.queries, queries.size(), o.concentration, random.stream("queries"));

  EpisodeIndices episode;
  Index place = 0;
  for (const Index rank : random.stream("classes").permutation(all, ways + o.distractors)) {
    const Index chosen = classes[static_cast<std::size_t>(rank)];
    if (chosen < 0 || chosen >= items.size())
      fail<IndexError>(op, {"class ", chosen, ", but items are given of ", items.size(), " classes"}, {}, site);
    const List<Index>& own = items[chosen];
    const bool distracts = place >= ways;
    const auto number = static_cast<std::uint64_t>(place);
    const Index fewest = o.fewest_shots > 0 ? o.fewest_shots : o.shots;
    const Index shots = distracts ? 0 : fewest + shot_draws.below(number, o.shots - fewest + 1);
    const Index asked = distracts ? 0 : queries[static_cast<std::size_t>(place)];
    const Index hidden = own_pool ? 0 : o.unlabelled;
    if (shots > own.size() || asked > own.size() - shots || hidden > own.size() - shots - asked)
      fail(op,
           {shots, " shots", hidden > 0 ? ", " + detail::as_text(hidden) + " unlabelled" : "", " and ", asked,
            " queries, but class ", chosen, " has ", own.size(), " items"},
           {}, site);
    if (!distracts) episode.classes.push_back(chosen);
    Index drawn = 0;
    for (const Index at : item_draws.stream(number).permutation(own.size(), shots + asked + hidden)) {
      if (drawn < shots) {
        episode.support.push_back(own[at]);
        episode.support_labels.push_back(place);
      } else if (drawn < shots + asked) {
        episode.query.push_back(own[at]);
        episode.query_labels.push_back(place);
      } else {
        episode.unlabelled.push_back(own[at]);
        episode.others.push_back(chosen);
      }
      ++drawn;
    }
    if (own_pool && o.unlabelled > 0) {
      const List<Index>& pool = unlabelled[chosen];
      if (o.unlabelled > pool.size())
        fail(op, {o.unlabelled, " unlabelled, but class ", chosen, " has ", pool.size(), " unlabelled items"}, {},
             site);
      for (const Index at : random.stream("unlabelled", place).permutation(pool.size(), o.unlabelled)) {
        episode.unlabelled.push_back(pool[at]);
        episode.others.push_back(chosen);
      }
    }
    ++place;
  }
  return episode;
}
GRAFT_HELD(EpisodeIndices draw_episode<>(const ClassItems&, const std::vector<Index>&, const EpisodeOptions&,
                                         const Random&, const ClassItems&, Site))

/// Labels 0 0 .. 1 1 .. of `ways` classes with `each` items a class. Throws ValueError for negative numbers.
inline Tensor<std::int64_t> episode_labels(Index ways, Index each, Site site = Site::current()) {
  Index items = 0;
  if (ways < 0 || each < 0 || __builtin_mul_overflow(ways, each, &items))
    fail("episode_labels", {ways, " ways of ", each, " items"}, {}, site);
  return generate({items}, [each](Index i) { return i / each; });
}

}  // namespace GRAFT_ABI
}  // namespace graft
