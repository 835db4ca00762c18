#pragma once
// The collaborative multi-task training protocol, in its simplest complete form. One shared model, many tasks, each
// with an episode stream of its own. A round:
//   1 the scheduler draws tasks               4 barrier: aggregate the gradients in task order
//   2 each task draws an episode from its     5 step the shared model
//     own stream (seed, task, draw number)    6 the caller validates, saves or stops between rounds
//   3 each task takes loss and gradient, in parallel
// Scheduler and aggregator are values of the state. Everything that a later round depends on is in ProtocolState, so a
// resumed run continues bit for bit; nothing depends on the number of threads.

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "graft/common/task_losses.hpp"
#include "graft/core/list.hpp"
#include "graft/core/parallel.hpp"
#include "graft/model/grad.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/protocol/aggregation.hpp"
#include "graft/protocol/scheduler.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What the protocol carries from round to round; saved and loaded as a tree of tensors.
template <Model M, class Optimizer>
struct ProtocolState {
  M model;
  Optimizer optimizer;
  Scheduler scheduler;
  Aggregator aggregator;
  Tensor<std::int64_t> draws;  ///< [tasks]: episodes that each task has drawn so far
  Tensor<std::int64_t> round;  ///< []: rounds done so far
  /// [tasks]: the mean loss of each task in the latest round that it took part in, NaN before; no parameter
  Buffer<double> losses;
  GRAFT_FIELDS(model, optimizer, scheduler, aggregator, draws, round, losses)
};

/// A state at round 0 for `tasks` tasks.
template <Model M, class Optimizer>
ProtocolState<M, Optimizer> start_protocol(M model, Optimizer optimizer, Index tasks,
                                           Aggregator aggregator = MeanGradient(),
                                           Scheduler scheduler = UniformTasks()) {
  return {std::move(model),
          std::move(optimizer),
          std::move(scheduler),
          std::move(aggregator),
          zeros<std::int64_t>({tasks}),
          zeros<std::int64_t>({}),
          {full<double>({tasks}, std::numeric_limits<double>::quiet_NaN())}};
}

/// How rounds are run.
struct ProtocolOptions {
  Index tasks_per_round = 4;
  std::uint64_t seed = 0;
  double clip = 0;                       ///< largest norm of the aggregated gradient; 0: no limit
  std::vector<std::string> shared = {};  ///< parameters that the aggregator acts on; none: all
};

/// A task's answer for one episode: the loss to differentiate, and a figure to report (accuracy, error).
template <class T = float>
struct TaskAnswer {
  Tensor<T> loss;
  double metric = 0;
};

/// What happened in a round: means over its tasks.
struct RoundReport {
  double loss = 0, metric = 0;
  Index tasks = 0;    ///< that took part
  Index dropped = 0;  ///< whose loss or gradient was not finite; they neither step the model nor move the others' draws
};

/// One round. `answer(model, task, random)` draws the episode of `task` from `random` (its own stream, a fresh draw
/// each time) and returns a TaskAnswer; it runs on several threads at once, each task with private handles to the
/// model. A task may be drawn several times in a round. Throws ValueError for no tasks; an exception of `answer` leaves
/// the state as it was.
template <Model M, class Optimizer, class Answer>
RoundReport run_round(ProtocolState<M, Optimizer>& state, Answer answer, double learning_rate,
                      const ProtocolOptions& options, Site site = Site::current()) {
  const Index tasks = state.draws.count();
  const Random root(options.seed);
  const auto round = static_cast<std::uint64_t>(state.round.item());
  // What may change itself is copied, and put back when the round has succeeded.
  Scheduler scheduler = state.scheduler;
  Aggregator aggregator = state.aggregator;
  const std::vector<Index> chosen = scheduler({tasks, options.tasks_per_round, root.stream("scheduler").stream(round),
                                               static_cast<Index>(round), state.losses.value},
                                              site);
  for (Index task : chosen)
    if (task < 0 || task >= tasks)
      fail<IndexError>("run_round", {"the scheduler chose task ", task, " of ", tasks}, {}, site);

  List<std::int64_t> draws(host(state.draws));
  std::vector<Random> streams;
  for (Index task : chosen) {
    const Random own = root.stream("task", task);
    streams.push_back(own.stream(static_cast<std::uint64_t>(draws[task]++)));
  }

  struct Part {
    double loss = 0, metric = 0;
    std::optional<M> gradient;  // none when it is not finite
  };
  std::vector<Part> parts(chosen.size());
  parallel_tasks(static_cast<Index>(chosen.size()), [&](Index i) {
    const auto at = static_cast<std::size_t>(i);
    Part& part = parts[at];
    auto [loss, gradient] = value_and_grad(
        [&](const M& own) {
          auto result = answer(own, chosen[at], streams[at]);
          part.metric = result.metric;
          return result.loss;
        },
        state.model, {}, site);
    part.loss = static_cast<double>(loss.item());
    if (std::isfinite(part.loss) && all_finite(gradient)) part.gradient = std::move(gradient);
  });

  RoundReport report;
  std::vector<M> gradients;
  List<double> losses;
  List<Index> ids;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Part& part = parts[i];
    if (!part.gradient) {
      ++report.dropped;
      continue;
    }
    ++report.tasks;
    report.loss += part.loss;
    report.metric += part.metric;
    gradients.push_back(std::move(*part.gradient));
    losses.push_back(part.loss);
    ids.push_back(chosen[i]);
  }
  parts.clear();
  List<double> latest(host(state.losses.value));
  detail::means_by_task(ids, losses, latest);
  const auto finish = [&] {
    state.scheduler = std::move(scheduler);
    state.aggregator = std::move(aggregator);
    state.draws = from_vector(draws);
    state.round = Tensor<std::int64_t>(static_cast<std::int64_t>(round) + 1);
    state.losses.value = from_vector(latest);
  };
  if (gradients.empty()) {
    finish();
    return report;
  }
  report.loss /= static_cast<double>(report.tasks);
  report.metric /= static_cast<double>(report.tasks);
  const auto step = [&](Index = 0) {
    M direction = aggregate(gradients, aggregator, root.stream("aggregation").stream(round), options.shared,
                            from_vector(losses), ids, tasks, site);
    if (options.clip > 0) direction = clip_by_norm(direction, options.clip);
    state.optimizer.step(state.model, direction, learning_rate);
  };
  // A small model is stepped by this thread alone: a hundred tiny parallel regions would cost more than they save, most
  // of all on a machine that others use too.
  constexpr Index small = Index{1} << 20;
  if (count(state.model) < small)
    parallel_tasks(1, step);
  else
    step();
  finish();
  return report;
}

}  // namespace GRAFT_ABI
}  // namespace graft
