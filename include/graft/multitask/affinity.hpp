#pragma once
// Which tasks to train together. Fifty, Amid, Zhao, Yu, Anil, Finn, "Efficiently identifying task groupings for
// multi-task learning", NeurIPS 2021: the affinity of task i for task j is how much a step for i lowers the loss of j;
// groups are chosen so that every task is served by one that is good for it. The groups' objective is that of the
// authors' code.

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "graft/common/task_losses.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The affinities Z [tasks, tasks] of the tasks' `losses_of(model)` [tasks]:
///   Z_ij = 1 - L_j(theta - eta g_i) / L_j(theta),   g_i = d L_i / d theta:
/// the share of its loss that task j gains from a step of size `eta` for task i; negative if the step harms it. The
/// steps are taken in the parameters named `shared` (a name stands for all below it; none: all). `losses_of` is called
/// 2 tasks + 1 times and must give the same numbers each time: the same batch, no dropout. The authors average over the
/// steps of a training run. Carries no gradient. Throws ShapeError unless there is one loss a task, ValueError for a
/// loss that is not above 0 and finite, for a step after which one is not finite, for an eta that is not above 0.
template <class F, Model M>
Tensor<double> task_affinity(F losses_of, const M& model, double eta, const std::vector<std::string>& shared = {},
                             Site site = Site::current()) {
  const char* op = "task_affinity";
  detail::for_each_scalar<M>(
      [&]<class T>() { detail::check_option<T>(op, "eta", eta, detail::Range::positive, site); });
  const M theta = detach(model);
  const List<double> before = detail::positive_losses(op, losses_of(theta), site);
  const Index tasks = before.size();
  List<double> affinity;
  for (Index i = 0; i < tasks; ++i) {
    const auto own = [&](const M& at) { return slice(losses_of(at), 0, i, i + 1); };
    const GradOptions once{.create_graph = false};
    const M slope = shared.empty() ? grad(own, theta, once, site) : grad(own, theta, Only(shared), once, site);
    const auto after = losses_of(axpy(-eta, slope, theta, site));
    Index j = 0;
    for (const auto loss : host(after)) {
      const double share = static_cast<double>(loss) / before[j];
      if (!std::isfinite(share))
        fail(op, {"a step for task ", i, " makes the loss of task ", j, " ", static_cast<double>(loss)}, {}, site);
      affinity.push_back(1 - share);
      ++j;
    }
  }
  return from_vector(affinity, {tasks, tasks});
}

/// The affinities to first order in eta, without a step: Z_ij = eta <g_i, g_j> / L_j, from the Gramian of the tasks'
/// gradients [tasks, tasks] and their `losses` [tasks]. Throws ShapeError, ValueError for a loss that is not above 0
/// and finite, a product that is not finite, an eta that is not above 0.
inline Tensor<double> first_order_affinity(const Tensor<double>& gramian, const Tensor<double>& losses, double eta,
                                           Site site = Site::current()) {
  const char* op = "first_order_affinity";
  detail::check_option<double>(op, "eta", eta, detail::Range::positive, site);
  const List<double> values = detail::positive_losses(op, losses, site);
  const Index tasks = values.size();
  if (!(gramian.shape() == Shape{tasks, tasks}))
    fail<ShapeError>(op, "expected a Gramian [tasks, tasks]",
                     {{"gramian", gramian.shape()}, {"losses", losses.shape()}}, site);
  List<double> affinity;
  for (const double product : host(gramian)) {
    const Index place = affinity.size(), j = place % tasks;
    if (!std::isfinite(product))
      fail(op, {"the inner product of gradients ", place / tasks, " and ", j, " is ", product}, {}, site);
    affinity.push_back(eta * product / values[j]);
  }
  return from_vector(affinity, {tasks, tasks});
}

/// Groups of tasks to be trained together; see `group_tasks`.
struct TaskGroups {
  std::vector<std::vector<Index>> groups;  ///< the tasks of each, in order
  std::vector<Index> served_by;            ///< [tasks]: the group whose model answers a task
  double affinity = 0;                     ///< the sum over tasks of the affinity of their group for them
};

/// Most tasks that `group_tasks` takes.
inline constexpr Index kMostTasksToGroup = 16;

/// At most `groups` groups of two tasks or more with the greatest total affinity: the sum over tasks i of
///   max over the groups S that i is in of  1 / (|S| - 1) sum_{j in S, j != i} Z_ji
/// for `affinity` Z [tasks, tasks], whose diagonal is not used. Every task is in a group; one may be in several, as
/// help for the others there, and is served by the one that is best for it. Of equal totals, fewer and smaller groups.
/// Exact, in about (groups + 1) 3^tasks operations: by the best group S for every set of tasks served together, then by
/// the best partition of all tasks into such sets. Throws ShapeError, ValueError for fewer than two tasks or more than
/// `kMostTasksToGroup`, no groups, or an affinity off the diagonal that is not finite.
inline TaskGroups group_tasks(const Tensor<double>& affinity, Index groups, Site site = Site::current()) {
  const char* op = "group_tasks";
  if (affinity.rank() != 2 || affinity.size(0) != affinity.size(1))
    fail<ShapeError>(op, "expected affinities [tasks, tasks]", {{"affinity", affinity.shape()}}, site);
  const Index tasks = affinity.size(0);
  if (tasks < 2 || tasks > kMostTasksToGroup)
    fail(op, {tasks, " tasks, expected 2 to ", kMostTasksToGroup}, {{"affinity", affinity.shape()}}, site);
  detail::check_count(op, "groups", groups, 1, site);
  const auto z = [&, values = std::data(host(affinity))](Index i, Index j) { return values[i * tasks + j]; };
  for (Index i = 0; i < tasks; ++i)
    for (Index j = 0; j < tasks; ++j)
      if (i != j && !std::isfinite(z(i, j)))
        fail(op, {"the affinity of task ", i, " for task ", j, " is ", z(i, j)}, {}, site);

  // Sets of tasks are numbers: bit i is task i.
  using Set = std::uint32_t;
  const Index sets = Index{1} << tasks;
  const Set all = static_cast<Set>(sets - 1);
  constexpr double none = -std::numeric_limits<double>::infinity();
  const auto has = [](Set set, Index task) { return (set >> task & 1) != 0; };

  // served[P]: the most that the tasks P can get from one group S that they are in, and that S.
  List<double> served(sets, none), from_group(sets), to_task(tasks);
  List<Set> group(sets);
  for (Set s = 1; s <= all; ++s) {
    const int size = std::popcount(s);
    if (size < 2) continue;
    for (Index i = 0; i < tasks; ++i) {
      if (!has(s, i)) continue;
      to_task[i] = 0;
      for (Index j = 0; j < tasks; ++j)
        if (j != i && has(s, j)) to_task[i] += z(j, i) / (size - 1);
    }
    from_group[0] = 0;
    for (Set p = s & (0 - s); p != 0; p = (p - s) & s) {  // the parts of S, in rising order
      from_group[p] = from_group[p & (p - 1)] + to_task[std::countr_zero(p)];
      const bool better = from_group[p] > served[p], equal = from_group[p] == served[p];
      if (!better && !(equal && size < std::popcount(group[p]))) continue;
      served[p] = from_group[p];
      group[p] = s;
    }
  }
  // best[P]: of a partition of P into at most k parts, with k rising; part[k][P]: its part with the lowest task.
  const Index most = std::min(groups, tasks);
  List<double> best(sets, none);
  best[0] = 0;
  std::vector<List<Set>> part;
  for (Index k = 0; k < most; ++k) {
    List<double> next = best;
    part.emplace_back(sets);
    for (Set p = 1; p <= all; ++p) {
      const Set lowest = p & (0 - p), rest = p ^ lowest;
      for (Set q = rest;; q = (q - 1) & rest) {
        const double total = served[q | lowest] + best[rest ^ q];
        if (total > next[p]) {
          next[p] = total;
          part.back()[p] = q | lowest;
        }
        if (q == 0) break;
      }
    }
    best = std::move(next);
  }

  TaskGroups result;
  result.affinity = best[all];
  result.served_by.resize(static_cast<std::size_t>(tasks));
  std::vector<Set> chosen;
  Set left = all;
  for (Index k = most; left != 0; --k) {
    const Set p = part[static_cast<std::size_t>(k - 1)][left];
    if (p == 0) continue;  // no better with k parts than with fewer
    const auto found = std::find(chosen.begin(), chosen.end(), group[p]);
    const auto place = found - chosen.begin();
    if (found == chosen.end()) chosen.push_back(group[p]);
    for (Index i = 0; i < tasks; ++i)
      if (has(p, i)) result.served_by[static_cast<std::size_t>(i)] = static_cast<Index>(place);
    left ^= p;
  }
  for (const Set s : chosen) {
    result.groups.emplace_back();
    for (Index i = 0; i < tasks; ++i)
      if (has(s, i)) result.groups.back().push_back(i);
  }
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
