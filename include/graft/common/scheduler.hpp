#pragma once
// Which tasks take part in a round of the collaborative protocol: what a scheduler sees, and what it answers. A
// scheduler is a value, like an aggregator: what it remembers from round to round is in its GRAFT_FIELDS and is saved
// with the training state.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/common/checks.hpp"
#include "graft/common/laps.hpp"
#include "graft/core/list.hpp"
#include "graft/model/any_model.hpp"
#include "graft/ops/sampling.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a scheduler sees before a round.
struct ScheduleInput {
  Index tasks = 1;           ///< that there are
  Index wanted = 1;          ///< places in the round
  Random random = Random();  ///< the round's own stream
  Index round = 0;           ///< rounds done before
  /// [tasks]: of each in the latest round that it took part in, NaN before; empty: unknown
  Tensor<double> losses = {};
};

/// A callable `std::vector<Index>(const ScheduleInput&)`, which may change its own state and may take a Site after its
/// input: the tasks of the round, in task order; a task may be in it twice.
using Scheduler = AnyModel<std::vector<Index>(const ScheduleInput&), double>;

/// `chosen` of `tasks` tasks, uniformly without replacement as long as there are enough (then again from all), in task
/// order. Depends on the stream only.
inline std::vector<Index> uniform_tasks(Index tasks, Index chosen, const Random& random, Site site = Site::current()) {
  if (tasks < 1 || chosen < 1) fail("uniform_tasks", {chosen, " of ", tasks, " tasks"}, {}, site);
  std::vector<Index> drawn = detail::places_in_laps(chosen, tasks, random);
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

namespace detail {

/// Throws ValueError for no tasks or no places, ShapeError for losses that are not one a task.
inline void check_schedule(const char* op, const ScheduleInput& input, Site site) {
  if (input.tasks < 1 || input.wanted < 1) fail(op, {input.wanted, " places for ", input.tasks, " tasks"}, {}, site);
  if (input.losses.defined() && !(input.losses.shape() == Shape{input.tasks}))
    fail<ShapeError>(op, {"expected one loss for each of ", input.tasks, " tasks"}, {{"losses", input.losses.shape()}},
                     site);
}
/// The same, and ShapeError unless the scheduler was made for as many tasks.
inline void check_schedule(const char* op, const ScheduleInput& input, Index tasks, Site site) {
  check_schedule(op, input, site);
  if (tasks != input.tasks) fail<ShapeError>(op, {"made for ", tasks, " tasks, not ", input.tasks}, {}, site);
}

/// [tasks]: the losses, NaN for all that are not known. One that is not finite says no more than that.
inline List<double> known_losses(const ScheduleInput& input) {
  List<double> known(input.tasks, std::numeric_limits<double>::quiet_NaN());
  if (!input.losses.defined()) return known;
  Index task = 0;
  for (const double loss : host(input.losses)) {
    if (std::isfinite(loss)) known[task] = loss;
    ++task;
  }
  return known;
}

/// `places` independent draws, task i with probability p_i / sum p, in no order.
inline std::vector<Index> draw_tasks(const Tensor<double>& p, Index places, const Random& random) {
  std::vector<Index> drawn;
  for (Index k = 0; k < places; ++k) drawn.push_back(categorical(p, random.stream("place", k)).item());
  return drawn;
}

/// `input.wanted` of the tasks that are marked, uniformly as `uniform_tasks`.
inline std::vector<Index> uniform_of_marked(const Tensor<bool>& marked, const ScheduleInput& input, Site site) {
  std::vector<Index> list, chosen;
  for (Index i = 0; i < marked.count(); ++i)
    if (host(marked)[static_cast<std::size_t>(i)]) list.push_back(i);
  for (Index place : uniform_tasks(static_cast<Index>(list.size()), input.wanted, input.random, site))
    chosen.push_back(list[static_cast<std::size_t>(place)]);
  return chosen;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
