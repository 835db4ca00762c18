#pragma once
// What tasks, and parts of a model that they share, have to do with one another, as numbers: losses without a part,
// attention to slots, the value of training on some tasks only; and whether such a table finds a relation that is
// known.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "graft/core/random.hpp"
#include "graft/evaluate/shapley.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Throws ShapeError unless there is a loss for each of one task or more, and as many as `tasks` if that is not 0;
/// ValueError for one that is not finite.
inline void check_task_losses(const char* op, const Tensor<double>& losses, Index tasks, Site site) {
  if (losses.rank() != 1 || losses.size(0) < 1 || (tasks > 0 && losses.size(0) != tasks))
    fail<ShapeError>(op, {"expected losses [tasks] of one task or more, as many for every set of parts"},
                     {{"losses", losses.shape()}}, site);
  Index task = 0;
  for (const double loss : host(losses)) {
    if (!std::isfinite(loss)) fail(op, {"the loss of task ", task, " is ", loss}, {}, site);
    ++task;
  }
}

}  // namespace detail

/// What tasks lose without each part (a slot, a feature, an expert): D[t, k] = L_t(without part k) - L_t(with all),
/// [tasks, parts]; above 0 where task t needs part k, 0 where it does not look at it. `losses(kept)` are those of all
/// tasks, a Tensor<double> [tasks], with the parts kept, a std::vector<Index> that rises, and the others set to their
/// default: parts + 1 calls. Two parts that can stand in for each other have 0 both: see `shapley_dependency`. Throws
/// ShapeError for other losses, ValueError for no parts or a loss that is not finite.
template <class F>
Tensor<double> ablation_dependency(Index parts, F losses, Site site = Site::current()) {
  const char* op = "ablation_dependency";
  if (parts < 1) fail(op, {parts, " parts, expected 1 or more"}, {}, site);
  std::vector<Index> kept(static_cast<std::size_t>(parts));
  std::iota(kept.begin(), kept.end(), Index{0});
  const Tensor<double> all = losses(static_cast<const std::vector<Index>&>(kept));
  detail::check_task_losses(op, all, 0, site);
  const Index tasks = all.size(0);
  std::vector<double> table(static_cast<std::size_t>(tasks * parts));
  for (Index k = 0; k < parts; ++k) {
    std::vector<Index> rest = kept;
    rest.erase(rest.begin() + k);
    const Tensor<double> without = losses(static_cast<const std::vector<Index>&>(rest));
    detail::check_task_losses(op, without, tasks, site);
    for (Index t = 0; t < tasks; ++t)
      table[static_cast<std::size_t>(t * parts + k)] =
          host(without)[static_cast<std::size_t>(t)] - host(all)[static_cast<std::size_t>(t)];
  }
  return from_vector(table, {tasks, parts});
}

/// Shapley's values of the parts in -L_t, [tasks, parts]: how much part k lowers the loss of task t, in the mean over
/// all orders in which parts may be added; a row adds up to L_t(without any) - L_t(with all). `losses` as in
/// `ablation_dependency`, asked for all 2^parts sets. Throws as that, and ValueError for more than `kSetMembers` parts.
template <class F>
Tensor<double> shapley_dependency(Index parts, F losses, Site site = Site::current()) {
  const char* op = "shapley_dependency";
  if (parts < 1 || parts > kSetMembers) fail(op, {parts, " parts, expected 1 to ", kSetMembers}, {}, site);
  std::vector<SetValues> gains;  // of each task
  set_values(parts, [&](const std::vector<Index>& kept) {
    const Tensor<double> own = losses(kept);
    detail::check_task_losses(op, own, static_cast<Index>(gains.size()), site);
    gains.resize(static_cast<std::size_t>(own.size(0)), SetValues{parts, {}});
    for (std::size_t t = 0; t < gains.size(); ++t) gains[t].values.push_back(-host(own)[t]);
    return 0.0;
  });
  std::vector<double> table;
  for (const SetValues& v : gains) {
    const std::vector<double> phi = shapley_values(v, site);
    table.insert(table.end(), phi.begin(), phi.end());
  }
  return from_vector(table, {static_cast<Index>(gains.size()), parts});
}

/// Where the attention of each task's tokens goes.
struct AttentionAllocation {
  Tensor<double> slots;   ///< [tasks, heads, slots], mean mass on each slot
  Tensor<double> tokens;  ///< [tasks, heads], mean mass on all that is no slot: with that of the slots it is 1
  Tensor<double>
      entropy;  ///< [tasks, heads], -sum_s q_s ln q_s, q the mass on slots over its sum; ln(slots): all alike
};

/// The mean attention of the tokens of each task's items on the slots, head by head, of one layer. `weights` [items,
/// heads, queries, keys], rows of a softmax, the slots being the last `slots` keys; of queries, the first keys - slots
/// at most are counted, so that what slots themselves attend to is not. `task` [items], 0 to tasks - 1. Attention says
/// where a layer looks, not what a task needs: read it beside `ablation_dependency`. A head whose mass on slots is 0
/// has entropy 0. Throws ShapeError, IndexError for a task out of range, ValueError for rows that are no distributions,
/// a task without items, no slots or nothing but slots.
template <Real T>
AttentionAllocation attention_allocation(const Tensor<T>& weights, const Tensor<std::int64_t>& task, Index tasks,
                                         Index slots, Site site = Site::current()) {
  const char* op = "attention_allocation";
  if (weights.rank() != 4 || weights.size(2) == 0 || !(task.shape() == Shape{weights.size(0)}))
    fail<ShapeError>(op, "expected weights [items, heads, queries, keys] and task [items]",
                     {{"weights", weights.shape()}, {"task", task.shape()}}, site);
  const Index heads = weights.size(1), queries = weights.size(2), keys = weights.size(3);
  if (slots < 1 || slots >= keys)
    fail(op, {slots, " slots, expected 1 to ", keys - 1}, {{"weights", weights.shape()}}, site);
  if (tasks < 1) fail(op, {tasks, " tasks, expected 1 or more"}, {{"task", task.shape()}}, site);
  const Index asked = std::min(queries, keys - slots);
  std::vector<double> mass(static_cast<std::size_t>(tasks * heads * slots)),
      rest(static_cast<std::size_t>(tasks * heads)), entropy(rest.size()), items(static_cast<std::size_t>(tasks));
  for (const std::int64_t t : host(task)) {
    if (t < 0 || t >= tasks) fail<IndexError>(op, {"task ", t, " of ", tasks}, {}, site);
    items[static_cast<std::size_t>(t)] += 1;
  }
  for (std::size_t t = 0; t < items.size(); ++t)
    if (items[t] == 0) fail(op, {"task ", static_cast<Index>(t), " of ", tasks, " has no items"}, {}, site);
  const auto numbers = host(weights);
  const auto of_items = host(task);
  for (Index i = 0; i < weights.size(0); ++i)
    for (Index h = 0; h < heads; ++h)
      for (Index q = 0; q < asked; ++q) {
        const auto t = static_cast<std::size_t>(of_items[static_cast<std::size_t>(i)]);
        const std::size_t row = static_cast<std::size_t>(((i * heads + h) * queries + q) * keys);
        const std::size_t place = t * static_cast<std::size_t>(heads) + static_cast<std::size_t>(h);
        const double share = 1 / (items[t] * static_cast<double>(asked));
        double whole = 0;
        for (std::size_t k = 0; k < static_cast<std::size_t>(keys); ++k) {
          const auto weight = static_cast<double>(numbers[row + k]);
          if (!(weight >= 0)) fail(op, {"item ", i, " has a weight of ", weight}, {{"weights", weights.shape()}}, site);
          whole += weight;
        }
        if (!(std::abs(whole - 1) < 1e-3))
          fail(op, {"a row of item ", i, " adds up to ", whole}, {{"weights", weights.shape()}}, site);
        for (std::size_t k = 0; k < static_cast<std::size_t>(keys); ++k) {
          const double part = share * static_cast<double>(numbers[row + k]) / whole;
          if (k < static_cast<std::size_t>(keys - slots))
            rest[place] += part;
          else
            mass[place * static_cast<std::size_t>(slots) + k - static_cast<std::size_t>(keys - slots)] += part;
        }
      }
  for (std::size_t place = 0; place < rest.size(); ++place) {
    const double* own = std::data(mass) + place * static_cast<std::size_t>(slots);
    const double all = std::accumulate(own, own + slots, 0.0);
    for (Index s = 0; s < slots; ++s)
      if (own[s] > 0) entropy[place] -= own[s] / all * std::log(own[s] / all);
  }
  return {from_vector(mass, {tasks, heads, slots}), from_vector(rest, {tasks, heads}),
          from_vector(entropy, {tasks, heads})};
}

/// What each task adds to the value of joint training.
struct TaskDecomposition {
  std::vector<double> alone;     ///< v({i}) - v(none)
  std::vector<double> marginal;  ///< v(all) - v(all but i)
  std::vector<double> shapley;   ///< `shapley_values`: they add up to v(all) - v(none)
  Tensor<double> interactions;   ///< `pair_interactions` [tasks, tasks]: 0 for an additive value
  Tensor<double> among_others;   ///< `shapley_interactions` [tasks, tasks]
};

/// The parts of v(S), the value of training on a set S of tasks (an accuracy of the main task, say, or a loss with a
/// minus), made by `set_values(tasks, train_and_test)`. Throws as `shapley_values`.
inline TaskDecomposition task_decomposition(const SetValues& v, Site site = Site::current()) {
  detail::check_set_values("task_decomposition", v, site);
  TaskDecomposition parts{{}, {}, shapley_values(v, site), pair_interactions(v, site), shapley_interactions(v, site)};
  const std::size_t all = v.values.size() - 1;
  for (Index i = 0; i < v.members; ++i) {
    parts.alone.push_back(v[std::size_t{1} << i] - v.none());
    parts.marginal.push_back(v.whole() - v[all ^ std::size_t{1} << i]);
  }
  return parts;
}

/// How well a table of task relations agrees with a known one.
struct RecoveredRelation {
  double concordance = 0.5;     ///< share of pairs of entries that differ in the known relation and are in its order
  double rank_correlation = 0;  ///< Spearman's, of the entries
  double p = 1;                 ///< how often the tasks under other names agree as well
};

/// With so many tasks or fewer, `recovered_relation` tries all their names, else `kRelationDraws` of them.
inline constexpr Index kRelationTasks = 7, kRelationDraws = 2000;

namespace detail {

/// The entries off the diagonal, row by row. Throws ShapeError unless `table` is [tasks, tasks] of 3 tasks or more,
/// ValueError for an entry off the diagonal that is not finite.
template <class T>
std::vector<double> off_diagonal(const char* op, const char* name, const Tensor<T>& table, Site site) {
  if (table.rank() != 2 || table.size(0) != table.size(1) || table.size(0) < 3)
    fail<ShapeError>(op, {"expected ", name, " [tasks, tasks] of 3 tasks or more"}, {{name, table.shape()}}, site);
  const Index tasks = table.size(0);
  std::vector<double> entries;
  for (Index i = 0; i < tasks; ++i)
    for (Index j = 0; j < tasks; ++j) {
      if (i == j) continue;
      entries.push_back(static_cast<double>(host(table)[static_cast<std::size_t>(i * tasks + j)]));
      if (!std::isfinite(entries.back()))
        fail(op, {"entry ", i, ", ", j, " of ", name, " is ", entries.back()}, {}, site);
    }
  return entries;
}
/// The ranks of `values` less their mean and with a norm of 1, equal ones with the mean of their places; zeros where
/// all are equal.
inline std::vector<double> unit_ranks(const std::vector<double>& values) {
  const std::size_t count = values.size();
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(count);
  double squares = 0;
  for (std::size_t first = 0, last = 0; first < count; first = last) {
    while (last < count && values[order[last]] == values[order[first]]) ++last;
    const double rank = 0.5 * static_cast<double>(first + last) - 0.5 * static_cast<double>(count);
    for (std::size_t i = first; i < last; ++i) ranks[order[i]] = rank;
    squares += static_cast<double>(last - first) * rank * rank;
  }
  for (double& rank : ranks) rank = squares > 0 ? rank / std::sqrt(squares) : 0;
  return ranks;
}

}  // namespace detail

/// How well the entries off the diagonal of `found` rank those of `planted`, both [tasks, tasks], larger for more
/// related. The concordance is, over all pairs of entries that differ in `planted`, the share that `found` has in the
/// same order, ties as one half: the area under the ROC curve where `planted` holds two values, 1 for a perfect
/// ranking, 0.5 for a table that knows nothing. p is Mantel's (Cancer Research 1967): the share of all renamings of the
/// tasks of `found` (`random` draws them for more than `kRelationTasks`) whose rank correlation is as large, the given
/// names among them; with 3 tasks it is 1/6 at the least. Throws ShapeError, ValueError for a planted relation whose
/// entries are all equal or an entry that is not finite.
template <Real T, Real U>
RecoveredRelation recovered_relation(const Tensor<T>& found, const Tensor<U>& planted, const Random& random = Random(1),
                                     Site site = Site::current()) {
  const char* op = "recovered_relation";
  if (!(found.shape() == planted.shape()))
    fail<ShapeError>(op, "expected found and planted [tasks, tasks]",
                     {{"found", found.shape()}, {"planted", planted.shape()}}, site);
  const std::vector<double> own = detail::off_diagonal(op, "found", found, site);
  const std::vector<double> known = detail::off_diagonal(op, "planted", planted, site);
  double pairs = 0, right = 0;
  for (std::size_t a = 0; a < own.size(); ++a)
    for (std::size_t b = 0; b < own.size(); ++b)
      if (known[a] > known[b]) {
        pairs += 1;
        right += own[a] > own[b] ? 1 : own[a] == own[b] ? 0.5 : 0;
      }
  if (pairs == 0) fail(op, "all entries of planted are equal", {{"planted", planted.shape()}}, site);
  RecoveredRelation result{right / pairs, 0, 1};

  const auto tasks = static_cast<std::size_t>(found.size(0));
  const std::vector<double> own_ranks = detail::unit_ranks(own), known_ranks = detail::unit_ranks(known);
  /// The rank correlation where task i of `found` goes by the name of task `names[i]`.
  const auto agreement = [&](const std::vector<Index>& names) {
    double total = 0;
    for (std::size_t i = 0, place = 0; i < tasks; ++i)
      for (std::size_t j = 0; j < tasks; ++j) {
        if (i == j) continue;
        const auto row = static_cast<std::size_t>(names[i]), column = static_cast<std::size_t>(names[j]);
        total += own_ranks[place++] * known_ranks[row * (tasks - 1) + column - (column > row ? 1 : 0)];
      }
    return total;
  };
  std::vector<Index> names(tasks);
  std::iota(names.begin(), names.end(), Index{0});
  result.rank_correlation = agreement(names);
  const double bar = result.rank_correlation - 1e-12;
  double as_large = 0, tried = 0;
  const auto count = [&](const std::vector<Index>& other) {
    as_large += agreement(other) >= bar ? 1 : 0;
    tried += 1;
  };
  if (static_cast<Index>(tasks) <= kRelationTasks) {
    do count(names);
    while (std::next_permutation(names.begin(), names.end()));
  } else {
    count(names);
    for (Index draw = 1; draw < kRelationDraws; ++draw)
      count(random.stream("names", draw).permutation(static_cast<Index>(tasks)));
  }
  result.p = as_large / tried;
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
