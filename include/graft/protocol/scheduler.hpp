#pragma once
// Which tasks take part in a round of the collaborative protocol.

#include <algorithm>
#include <vector>

#include "graft/core/random.hpp"

namespace graft {
inline namespace GRAFT_ABI {

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

}  // namespace GRAFT_ABI
}  // namespace graft
