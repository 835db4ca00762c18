#pragma once
// The phases of collaborative training, each a run of rounds with a checkpoint of its own: the encoder is pre-trained
// by any objective, one task; all tasks are trained together; each task adapts the shared model for itself.

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/optim/adam.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/protocol/rank_parts.hpp"
#include "graft/train/train.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a phase is run: rounds of Adam.
struct PhaseOptions {
  ProtocolOptions protocol = {};
  Aggregator aggregator = MeanGradient();
  Scheduler scheduler = UniformTasks();
  double learning_rate = 1e-3;  ///< the highest: it warms up for a fiftieth of the rounds, then falls along a cosine
  MeterOptions meter = {};
  TrainOptions train = {};  ///< its name is the phase's and that of its checkpoint, its steps are rounds
};

/// What a phase came to.
template <Model M>
struct PhaseResult : Trained<M> {
  TaskMeter meter;  ///< of the whole run
};

/// A phase of `tasks` tasks: `answer(model, task, random)` as for `run_round`, `validate(model)` as for `train`. A
/// model with a schedule of its own has a member `see_progress(share)`, which is told before each round what share of
/// the rounds is done. Throws TooFewTasks before the first round when the aggregator needs more than a round has, else
/// as they do.
template <Model M, class Answer, class Validate>
PhaseResult<M> run_phase(const M& model, Index tasks, Answer answer, Validate validate, PhaseOptions how,
                         const Checkpoints& checkpoints = {}, Site site = Site::current()) {
  check_round_size(how.aggregator, how.protocol.tasks_per_round, site);
  const Index rounds = std::max(how.train.steps, Index{1}), warm_up = std::min(rounds, 1 + rounds / 50);
  const Schedule rate =
      Schedule::warm_up(warm_up, Schedule::cosine(how.learning_rate, std::max(rounds - warm_up, Index{1})));
  const auto start = [&] {
    return start_protocol(model, Adam<M>(model), tasks, how.aggregator, how.scheduler, how.meter, site);
  };
  const Index validations = std::min(how.train.validations, rounds);
  std::optional<TaskMeter> meter;
  const auto round = [&](auto& state, Index number) -> StepReport {
    if constexpr (requires { state.model.see_progress(0.0); })
      state.model.see_progress(static_cast<double>(number) / static_cast<double>(rounds));
    const RoundReport report = run_round(state, answer, rate(number), how.protocol, RankParts{how.train.ranks}, site);
    // A run ends with a validation.
    if ((number + 1) * validations / rounds > number * validations / rounds) meter = state.meter;
    return {report.loss, report.metric, report.tasks, report.dropped};
  };
  how.train.words = {"round", "episodes", how.train.words.metric};
  Trained<M> trained = train(start(), round, validate, how.train, checkpoints, site);
  if (!meter) {  // the run was over before: only its checkpoint knows
    detail::TrainTree<decltype(start()), M> saved{start(), model, zeros<double>({validations}), zeros<double>({10})};
    load_checkpoint(checkpoints.file(how.train.name), saved);
    meter = std::move(saved.state.meter);
  }
  return {{std::move(trained)}, std::move(*meter)};
}

/// Pre-training: `objective(model, random)` draws a batch from `random` and gives the loss to minimise, a scalar. The
/// protocol of one task, thus a plain trainer. Throws as `run_phase`.
template <Model M, class Objective, class Validate>
PhaseResult<M> run_pretraining(const M& model, Objective objective, Validate validate, PhaseOptions how,
                               const Checkpoints& checkpoints = {}, Site site = Site::current()) {
  how.protocol.tasks_per_round = 1;
  const auto answer = [&](const M& own, Index, const Random& random) {
    const auto loss = objective(own, random);
    return TaskAnswer<typename std::remove_cvref_t<decltype(loss)>::Scalar>{loss, static_cast<double>(loss.item())};
  };
  return run_phase(model, 1, answer, validate, std::move(how), checkpoints, site);
}

/// A task's own model.
template <Model M>
struct TaskAdaptation {
  M model;                   ///< the shared one where adaptation did not raise the figure, or failed
  double before = 0;         ///< validation figure of the shared model
  double after = 0;          ///< of the model that is kept
  bool adapted = false;      ///< it is the task's own
  std::string failure = {};  ///< why there was nothing to adapt with; the other tasks are not touched
};

/// The names of the runs of `adapt_tasks`, for `Checkpoints`: NAME-0, NAME-1 ...
inline std::vector<std::string> adaptation_names(const std::string& name, Index tasks) {
  std::vector<std::string> names;
  for (Index task = 0; task < tasks; ++task) names.push_back(name + "-" + std::to_string(task));
  return names;
}

/// Per-task adaptation of a shared model: for each task a run of its own from `model` on, NAME-TASK, of
/// `how.train.steps` rounds with its episodes alone; messages are not posted, and what a board holds stays. `answer` as
/// for `run_round`, `validate(model, task)` -> figure, the higher the better. The draws of a task depend on its number
/// and the seed alone. A task whose answer throws, or that diverges, keeps the shared model. Throws Stopped, and what
/// `validate` and checkpoints throw.
template <Model M, class Answer, class Validate>
std::vector<TaskAdaptation<M>> adapt_tasks(const M& model, Index tasks, Answer answer, Validate validate,
                                        const PhaseOptions& how, const Checkpoints& checkpoints = {},
                                        Site site = Site::current()) {
  std::vector<TaskAdaptation<M>> results;
  for (Index task = 0; task < tasks; ++task) {
    PhaseOptions own = how;
    own.protocol.tasks_per_round = 1;
    own.train.name = how.train.name + "-" + std::to_string(task);
    bool is_the_tasks = false;  // what is thrown
    const auto ask = [&](const M& now, Index, const Random& random) {
      try {
        auto result = answer(now, task, random.stream("adaptation", task));
        result.message = {};
        result.attention = {};
        return result;
      } catch (...) {
        is_the_tasks = true;
        throw;
      }
    };
    const auto figure = [&](const M& now) { return static_cast<double>(validate(now, task)); };
    TaskAdaptation<M> result{model, figure(model)};
    result.after = result.before;
    try {
      PhaseResult<M> trained = run_phase(model, 1, ask, figure, own, checkpoints, site);
      result.adapted = !(trained.figure <= result.before);
      if (result.adapted) {
        result.after = trained.figure;
        result.model = std::move(trained.model);
      }
    } catch (const Stopped&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const Diverged& error) {
      result.failure = error.what();
    } catch (const std::exception& error) {
      if (!is_the_tasks) throw;
      result.failure = error.what();
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace GRAFT_ABI
}  // namespace graft
