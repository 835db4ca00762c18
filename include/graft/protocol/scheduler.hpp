#pragma once
// The schedulers of the collaborative protocol by name; what a scheduler is: common/scheduler.hpp.

#include <vector>

#include "graft/common/scheduler.hpp"
#include "graft/core/registry.hpp"
#include "graft/multitask/exp3.hpp"
#include "graft/multitask/loss_sampling.hpp"
#include "graft/multitask/round_robin.hpp"
#include "graft/multitask/self_paced.hpp"
#include "graft/multitask/temperature_sampling.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// `uniform_tasks` as a scheduler.
struct UniformTasks {
  GRAFT_FIELDS()

  std::vector<Index> operator()(const ScheduleInput& input, Site site = Site::current()) const {
    return uniform_tasks(input.tasks, input.wanted, input.random, site);
  }
};

/// The schedulers that a program can choose by name, each with its defaults; a new one is a line. They are made for
/// tasks of these `sizes` [tasks], how many items each has: ones where that is not known. `CompetenceCurriculum` is not
/// among them: it must be told how difficult the tasks are.
GRAFT_ONCE const Registry<Scheduler(const Tensor<double>&)>& schedulers() {
  using Sizes = const Tensor<double>&;
  static const Registry<Scheduler(Sizes)> list(
      "schedulers", {
                        {"uniform", [](Sizes) -> Scheduler { return UniformTasks(); }},
                        {"round_robin", [](Sizes) -> Scheduler { return RoundRobin(); }},
                        {"temperature", [](Sizes sizes) -> Scheduler { return TemperatureSampling(sizes); }},
                        {"loss_proportional", [](Sizes sizes) -> Scheduler { return LossProportional(sizes.count()); }},
                        {"self_paced", [](Sizes) -> Scheduler { return SelfPaced(); }},
                        {"exp3", [](Sizes sizes) -> Scheduler { return Exp3(sizes.count()); }},
                    });
  return list;
}
GRAFT_HELD(const Registry<Scheduler(const Tensor<double>&)>& schedulers<>())

}  // namespace GRAFT_ABI
}  // namespace graft
