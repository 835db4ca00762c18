#pragma once
// Tasks in turn, the scheduler that every other one is compared with.

#include <algorithm>
#include <vector>

#include "graft/common/scheduler.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Task 0, 1, 2 ... and again from 0: each round goes on where the last one ended, so after r draws every task was
/// drawn floor(r / tasks) or ceil(r / tasks) times. Draws nothing at random. Throws ValueError for no tasks or no
/// places.
struct RoundRobin {
  Buffer<std::int64_t> place{zeros<std::int64_t>({})};  ///< []: the task whose turn it is
  GRAFT_FIELDS(place)

  std::vector<Index> operator()(const ScheduleInput& input, Site site = Site::current()) {
    detail::check_schedule("RoundRobin", input, site);
    const Index first = place.value.item() % input.tasks;
    std::vector<Index> chosen;
    for (Index k = 0; k < input.wanted; ++k) chosen.push_back((first + k) % input.tasks);
    place.value = Tensor<std::int64_t>((first + input.wanted) % input.tasks);
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
