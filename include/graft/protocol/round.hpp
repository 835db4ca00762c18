#pragma once
// The collaborative multi-task training protocol. One shared model, many tasks, each with an episode stream of its own.
// A round:
//   1 the scheduler draws tasks               4 barrier: aggregate the gradients in task order
//   2 each task draws an episode from its     5 step the shared model
//     own stream (seed, task, draw number)    6 exchange: tasks post messages for the next round
//   3 each task takes loss and gradient, in   7 record; the caller validates, saves or stops between
//     parallel                                  rounds
// Scheduler and aggregator are values of the state. Everything that a later round depends on is in ProtocolState, so a
// resumed run continues bit for bit; nothing depends on the number of threads. Steps 2 and 3 of a place of the round
// make a `RoundPart`, and all that follows depends on the parts alone: whoever computes them elsewhere (`run_round`
// with a `gather`) goes on with the same bits.

#include <cmath>
#include <concepts>
#include <exception>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/common/task_losses.hpp"
#include "graft/core/list.hpp"
#include "graft/core/parallel.hpp"
#include "graft/core/stop.hpp"
#include "graft/model/grad.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/protocol/aggregation.hpp"
#include "graft/protocol/board.hpp"
#include "graft/protocol/meter.hpp"
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
  TaskMeter meter;  ///< what the rounds looked like
  GRAFT_FIELDS(model, optimizer, scheduler, aggregator, draws, round, losses, meter)
};

/// A state at round 0 for `tasks` tasks. Throws ValueError for no tasks, and as `TaskMeter`.
template <Model M, class Optimizer>
ProtocolState<M, Optimizer> start_protocol(M model, Optimizer optimizer, Index tasks,
                                           Aggregator aggregator = MeanGradient(), Scheduler scheduler = UniformTasks(),
                                           const MeterOptions& meter = {}, Site site = Site::current()) {
  if (tasks < 1) fail("start_protocol", {tasks, " tasks"}, {}, site);
  const TaskBoard* board = detail::board_of(model);
  const bool listens = board && board->tasks() > 0;
  if (listens && board->tasks() < tasks)
    fail("start_protocol", {"the model's board is of ", board->tasks(), " tasks, the protocol of ", tasks}, {}, site);
  return {std::move(model),
          std::move(optimizer),
          std::move(scheduler),
          std::move(aggregator),
          zeros<std::int64_t>({tasks}),
          zeros<std::int64_t>({}),
          {full<double>({tasks}, std::numeric_limits<double>::quiet_NaN())},
          TaskMeter(tasks, listens, meter, site)};
}

/// How rounds are run.
struct ProtocolOptions {
  Index tasks_per_round = 4;
  std::uint64_t seed = 0;
  double clip = 0;                       ///< largest norm of the aggregated gradient; 0: no limit
  std::vector<std::string> shared = {};  ///< parameters that the aggregator acts on; none: all
  /// A task whose answer throws is left out of the round like one whose loss is not finite; false: its exception ends
  /// the round. `Stopped` and `std::bad_alloc` always do.
  bool isolate = true;
};

/// Why a task was left out of a round.
struct TaskFailure {
  Index task = 0;
  std::string reason;
};

/// What happened in a round: means over its tasks.
struct RoundReport {
  double loss = 0, metric = 0;
  Index tasks = 0;                         ///< that took part
  Index dropped = 0;                       ///< that failed; they neither step the model nor move the others' draws
  std::vector<TaskFailure> failures = {};  ///< one for each that was dropped, in the order of the places
  std::string no_step = {};                ///< why the model was not stepped though tasks took part: too few did
  RoundSeconds seconds = {};
};

/// A place of a round: the task that has it, and the stream of the task's draw.
struct RoundPlace {
  Index task = 0;
  Random random = Random();
};

/// What one place of a round came to: all that the rest of the round sees of it.
template <Model M>
struct RoundPart {
  double loss = 0, metric = 0;
  std::optional<M> gradient = {};  ///< none: the task failed
  Tensor<float> message = {};      ///< [rows, width]; not defined: none
  Tensor<double> attention = {};   ///< [tasks]; not defined: unknown
  std::string failure = {};        ///< why there is no gradient
  bool threw = false;              ///< the answer threw; else loss or gradient were not finite
  std::exception_ptr error = {};   ///< what it threw, where that was in this process; only for its type
};

/// The usual `gather` of a round: all parts are computed by threads of this process.
struct LocalParts {
  /// The parts of the places 0 .. places - 1, in this order; `compute(place)` makes one, and may run on several threads
  /// at once.
  template <Model M, class Compute>
  std::vector<RoundPart<M>> operator()(const M&, Index places, const Compute& compute) const {
    std::vector<RoundPart<M>> parts(static_cast<std::size_t>(places));
    parallel_tasks(places, [&](Index place) { parts[static_cast<std::size_t>(place)] = compute(place); });
    return parts;
  }
};

namespace detail {

inline double seconds_since(std::int64_t start) { return 1e-9 * static_cast<double>(nanoseconds() - start); }

/// Loss and gradient of one place. An exception of `answer` becomes the part's failure, all but Stopped and bad_alloc.
template <Model M, class Answer>
RoundPart<M> compute_part(const M& model, Index tasks, Answer& answer, const RoundPlace& place, Site site) {
  RoundPart<M> part;
  const auto failed = [&](const char* why) {
    part.failure = why;
    part.threw = true;
    part.error = std::current_exception();
  };
  try {
    auto [loss, gradient] = value_and_grad(
        [&](const M& own) {
          auto result = answer(own, place.task, place.random);
          part.metric = result.metric;
          part.message = result.message;
          part.attention = result.attention;
          return result.loss;
        },
        model, {}, site);
    part.loss = static_cast<double>(loss.item());
    if (part.message.defined()) {
      part.message = part.message.detach();
      if (const TaskBoard* board = board_of(model); board && board->tasks() > 0)
        board->check(place.task, part.message, site);
    }
    if (part.attention.defined() && !(part.attention.shape() == Shape{tasks}))
      fail<ShapeError>("run_round", {"expected one share of attention for each of ", tasks, " tasks"},
                       {{"attention", part.attention.shape()}}, site);
    if (!std::isfinite(part.loss))
      part.failure = std::isnan(part.loss) ? "the loss is not a number" : "the loss is infinite";
    else if (!all_finite(gradient))
      part.failure = "the gradient is not finite";
    else
      part.gradient = std::move(gradient);
  } catch (const Stopped&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    failed(error.what());
  } catch (...) {
    failed("an exception that is no std::exception");
  }
  return part;
}

/// Throws what a task's answer threw; of another process, an Error with its words.
template <Model M>
[[noreturn]] void throw_failure(const RoundPart<M>& part) {
  if (part.error) std::rethrow_exception(part.error);
  throw Error(part.failure);
}

/// Throws when a task's answer threw and may not, or the answers of all tasks did: then nothing is left to go on with.
template <Model M>
void check_failures(const std::vector<RoundPart<M>>& parts, bool isolate) {
  bool all = !parts.empty();
  for (const RoundPart<M>& part : parts) {
    if (part.threw && !isolate) throw_failure(part);
    all = all && part.threw;
  }
  if (all) throw_failure(parts[0]);
}

}  // namespace detail

/// One round. `answer(model, task, random)` draws the episode of `task` from `random` (its own stream, a fresh draw
/// each time) and returns a TaskAnswer; it runs on several threads at once, each task with private handles to the
/// model. A task may be drawn several times in a round. One whose answer throws, or whose loss or gradient is not
/// finite, is left out and reported: the others' draws are what they would be. Where these are too few for the
/// aggregator then, the round ends without a step, as one does in which no loss is finite. `gather(model, places,
/// compute)` gives the parts of the round in place order, each made by `compute(place)` here or by another process that
/// runs the same round; see `LocalParts`. Throws ValueError for no tasks, what the scheduler and the aggregator throw,
/// and the first failure when every answer of the round threw; the state is then as it was.
template <Model M, class Optimizer, class Answer, class Gather>
requires(!std::same_as<Gather, Site>) RoundReport
    run_round(ProtocolState<M, Optimizer>& state, Answer answer, double learning_rate, const ProtocolOptions& options,
              const Gather& gather, Site site = Site::current()) {
  const std::int64_t start = detail::nanoseconds();
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
  List<RoundPlace> places;
  for (Index task : chosen)
    places.push_back({task, root.stream("task", task).stream(static_cast<std::uint64_t>(draws[task]++))});

  // The parts of the round. What comes after depends on them alone, and is the same in every process that has them.
  const auto compute = [&](Index place) {
    return detail::compute_part(std::as_const(state.model), tasks, answer, places[place], site);
  };
  const std::int64_t began = detail::nanoseconds();
  std::vector<RoundPart<M>> parts = gather(std::as_const(state.model), places.size(), compute);
  detail::check_failures(parts, options.isolate);

  RoundReport report;
  report.seconds.work = detail::seconds_since(began);
  std::vector<M> gradients;
  List<double> losses;
  List<Index> ids;
  MeterRound seen{static_cast<Index>(round)};
  for (Index i = 0; i < places.size(); ++i) {
    RoundPart<M>& part = parts[static_cast<std::size_t>(i)];
    const Index task = places[i].task;
    if (!part.gradient) {
      ++report.dropped;
      report.failures.push_back({task, std::move(part.failure)});
      seen.failed.push_back(task);
      part.message = {};
      continue;
    }
    ++report.tasks;
    report.loss += part.loss;
    report.metric += part.metric;
    gradients.push_back(std::move(*part.gradient));
    part.gradient.reset();
    losses.push_back(part.loss);
    ids.push_back(task);
    seen.tasks.push_back({task, part.loss, part.metric, part.attention});
  }
  List<double> latest(host(state.losses.value));
  detail::means_by_task(ids, losses, latest);
  const auto finish = [&] {
    state.scheduler = std::move(scheduler);
    state.aggregator = std::move(aggregator);
    state.draws = from_vector(draws);
    state.round = Tensor<std::int64_t>(static_cast<std::int64_t>(round) + 1);
    state.losses.value = from_vector(latest);
    if (TaskBoard* board = detail::board_of(state.model))
      for (Index i = 0; i < places.size(); ++i) {
        const Tensor<float>& message = parts[static_cast<std::size_t>(i)].message;
        if (message.defined() && board->tasks() > 0) board->post(places[i].task, message, site);
      }
    report.seconds.all = detail::seconds_since(start);
    seen.seconds = report.seconds;
    state.meter.add(seen);
  };
  if (gradients.empty()) {
    finish();
    return report;
  }
  report.loss /= static_cast<double>(report.tasks);
  report.metric /= static_cast<double>(report.tasks);
  const auto step = [&](Index = 0) {
    const std::int64_t at = detail::nanoseconds();
    const std::vector<bool> is_shared = detail::shared_parameters(gradients[0], options.shared, site);
    detail::ModelGradients<M> seen_by_all(gradients, is_shared, from_vector(losses),
                                          root.stream("aggregation").stream(round));
    seen_by_all.ids = ids;
    seen_by_all.all_tasks = tasks;
    M direction = detail::aggregated(gradients, seen_by_all, is_shared, aggregator, site);
    if (state.meter.measures(static_cast<Index>(round)) && gradients.size() > 1) seen.gramian = seen_by_all.gramian();
    if (options.clip > 0) direction = clip_by_norm(direction, options.clip);
    const std::int64_t then = detail::nanoseconds();
    state.optimizer.step(state.model, direction, learning_rate);
    report.seconds.aggregate = 1e-9 * static_cast<double>(then - at);
    report.seconds.step = detail::seconds_since(then);
  };
  // A small model is stepped by this thread alone: a hundred tiny parallel regions would cost more than they save, most
  // of all on a machine that others use too.
  constexpr Index small = Index{1} << 20;
  try {
    if (count(state.model) < small)
      parallel_tasks(1, step);
    else
      step();
  } catch (const TooFewTasks& error) {
    if (report.dropped == 0) throw;
    aggregator = state.aggregator;
    report.no_step = error.what();
  }
  finish();
  return report;
}
/// The same with all parts computed by the threads of this process.
template <Model M, class Optimizer, class Answer>
RoundReport run_round(ProtocolState<M, Optimizer>& state, Answer answer, double learning_rate,
                      const ProtocolOptions& options, Site site = Site::current()) {
  return run_round(state, std::move(answer), learning_rate, options, LocalParts(), site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
