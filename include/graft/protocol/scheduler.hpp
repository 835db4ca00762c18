#pragma once
// Which tasks take part in a round of the collaborative protocol. A scheduler is a value with its own state, like an
// aggregator.

#include <algorithm>
#include <utility>
#include <vector>

#include "graft/core/random.hpp"
#include "graft/core/registry.hpp"
#include "graft/model/any_model.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a scheduler sees before a round.
struct ScheduleInput {
  Index tasks;    ///< that there are
  Index wanted;   ///< places in the round
  Random random;  ///< the round's own stream
};

/// A callable `std::vector<Index>(const ScheduleInput&)`: the tasks of the round, in task order; a task may be in it
/// twice.
using Scheduler = AnyModel<std::vector<Index>(const ScheduleInput&), double>;

/// `chosen` of `tasks` tasks, uniformly without replacement as long as there are enough (then again from all), in task
/// order. Depends on the stream only.
inline std::vector<Index> uniform_tasks(Index tasks, Index chosen, const Random& random, Site site = Site::current()) {
  if (tasks < 1 || chosen < 1) fail("uniform_tasks", {chosen, " of ", tasks, " tasks"}, {}, site);
  std::vector<Index> drawn;
  for (std::uint64_t lap = 0; static_cast<Index>(drawn.size()) < chosen; ++lap) {
    const auto order =
        random.stream(lap).permutation(tasks, std::min(tasks, chosen - static_cast<Index>(drawn.size())));
    drawn.insert(drawn.end(), order.begin(), order.end());
  }
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

/// `uniform_tasks` as a scheduler.
struct UniformTasks {
  GRAFT_FIELDS()

  std::vector<Index> operator()(const ScheduleInput& input) const {
    return uniform_tasks(input.tasks, input.wanted, input.random);
  }
};

/// The schedulers that a program can choose by name; a new one is a line.
inline const Registry<Scheduler()>& schedulers() {
  static const Registry<Scheduler()> list("schedulers", {
                                                            {"uniform", []() -> Scheduler { return UniformTasks(); }},
                                                        });
  return list;
}

}  // namespace GRAFT_ABI
}  // namespace graft
