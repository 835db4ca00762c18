#pragma once
// Which source task fills which item of the main task: what a strategy of substitution sees, and what it answers. A
// strategy is a value: what it remembers is in its GRAFT_FIELDS and is saved with the training state.

#include <cmath>
#include <utility>
#include <vector>

#include "graft/common/checks.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/any_model.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a strategy is asked.
struct SourceInput {
  std::vector<Index> items = {};  ///< numbers of the main task's items in the batch
  Index sources = 1;              ///< source tasks that there are
  Index epoch = 0;                ///< epochs done before
  Random random = Random();       ///< the training's own; the same in every batch and epoch
};

/// What it answers.
struct SourcePlan {
  std::vector<Index> sources = {};  ///< [items]: the source task of each
  double rho = 0;                   ///< share of each that it fills
};

/// A callable `SourcePlan(const SourceInput&)`, which may take a Site after its input. An item's source depends on the
/// item and the epoch, not on the batch that it is in.
using SourceStrategy = AnyModel<SourcePlan(const SourceInput&), double>;

/// Items of source tasks for a batch, and where they come from; see `drawn_sources`.
template <class T = float>
struct SourceItems {
  Tensor<T> x;                     ///< [items, ...]
  std::vector<Index> places = {};  ///< [items]: each one's place in its source task
};

namespace detail {

/// Throws ValueError without sources, and for a negative epoch or item.
inline void check_sources(const char* op, const SourceInput& input, Site site) {
  if (input.sources < 1) fail(op, "there are no source tasks", {}, site);
  check_count(op, "epoch", input.epoch, 0, site);
  for (const Index item : input.items) check_count(op, "an item", item, 0, site);
}
inline void check_share(const char* op, const char* name, double share, Site site) {
  if (!(share >= 0 && share <= 1)) fail(op, {name, " is ", share, ", expected in [0, 1]"}, {}, site);
}

/// The stream of the numbers of an epoch.
inline Random source_stream(const SourceInput& input) { return input.random.stream("source", input.epoch); }

/// One of `some` for every item, uniformly, with draw i of the epoch for item i.
inline std::vector<Index> uniform_sources(const SourceInput& input, const std::vector<Index>& some) {
  const Random random = source_stream(input);
  std::vector<Index> chosen;
  for (const Index item : input.items)
    chosen.push_back(some[static_cast<std::size_t>(
        random.below(static_cast<std::uint64_t>(item), static_cast<Index>(some.size())))]);
  return chosen;
}
inline std::vector<Index> all_sources(Index sources) {
  std::vector<Index> all;
  for (Index s = 0; s < sources; ++s) all.push_back(s);
  return all;
}

}  // namespace detail

/// One item for each place of the plan out of the `pools` [items, ...] of the source tasks, uniformly from its own
/// source's pool, with draw i of `random` for place i. Throws ValueError without pools, for a pool without items and a
/// plan of no items, IndexError for a source without pool, ShapeError for pools of different items.
template <class T>
SourceItems<T> drawn_sources(const std::vector<Tensor<T>>& pools, const SourcePlan& plan, const Random& random,
                             Site site = Site::current()) {
  const char* op = "drawn_sources";
  const auto count = static_cast<Index>(pools.size());
  if (count == 0 || plan.sources.empty())
    fail(op, {count, " source tasks for ", static_cast<Index>(plan.sources.size()), " items"}, {}, site);
  List<Index> first;  // of every pool in all of them behind one another
  Index total = 0;
  for (Index s = 0; s < count; ++s) {
    const Tensor<T>& pool = pools[static_cast<std::size_t>(s)];
    if (!pool.defined() || pool.rank() < 1 || pool.size(0) == 0)
      fail(op, {"source task ", s, " has no items"}, {}, site);
    if (!(pool.shape().with(0, 1) == pools[0].shape().with(0, 1)))
      fail<ShapeError>(op, {"items of source task ", s, " are of another shape than those of task 0"},
                       {{"first", pools[0].shape()}, {"other", pool.shape()}}, site);
    first.push_back(total);
    total += pool.size(0);
  }
  SourceItems<T> drawn;
  List<std::int64_t> rows;
  for (std::size_t i = 0; i < plan.sources.size(); ++i) {
    const Index s = plan.sources[i];
    if (s < 0 || s >= count) fail<IndexError>(op, {"source task ", s, " of ", count}, {}, site);
    drawn.places.push_back(random.below(i, pools[static_cast<std::size_t>(s)].size(0)));
    rows.push_back(first[s] + drawn.places.back());
  }
  drawn.x = gather(concat(pools, 0, site), from_vector(rows), 0, site);
  return drawn;
}

}  // namespace GRAFT_ABI
}  // namespace graft
