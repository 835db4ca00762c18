#pragma once
// One learner trained by the collaborative protocol: rounds, progress, validation, checkpoints. Everything that a later
// round depends on is in the checkpoint, so a run that was stopped and resumed has the same bits as one that was not.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "character_tasks.hpp"
#include "few_shot_learners.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/model/grad.hpp"
#include "graft/optim/adam.hpp"
#include "graft/optim/schedule.hpp"

namespace collaborate {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Set by Ctrl-C: training ends after the round under way, saved if there is a checkpoint folder.
inline volatile std::sig_atomic_t stop_requested = 0;
/// Thrown when it did.
struct Stopped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// How a learner is trained.
struct TrainingPlan {
  Index rounds = 1000;
  EpisodeOptions episode;  ///< of training
  ProtocolOptions protocol;
  Aggregator aggregator;
  double learning_rate = 1e-3;
  Index validations = 10;  ///< spread evenly over the rounds
  std::string folder;      ///< of checkpoints; empty: none
  bool resume = false;
  bool quiet = false;
  nlohmann::ordered_json identity;  ///< what a resumed run must have in common with the one before
};

/// Accuracy in each episode of a list, in its order.
template <class Answer>
std::vector<double> episode_accuracies(const Characters& characters, const std::vector<EpisodeIndices>& episodes,
                                       Answer answer) {
  std::vector<double> accuracies(episodes.size());
  parallel_tasks(static_cast<Index>(episodes.size()), [&](Index i) {
    accuracies[static_cast<std::size_t>(i)] = answer(characters.render(episodes[static_cast<std::size_t>(i)]));
  });
  return accuracies;
}
template <class Learner>
std::vector<double> learner_accuracies(const Learner& learner, const Characters& characters,
                                       const std::vector<EpisodeIndices>& episodes) {
  return episode_accuracies(characters, episodes, [&](const Episode<>& episode) {
    Context evaluation;
    return accuracy(learner(episode, evaluation), episode.query.y);
  });
}

/// What training leaves in a checkpoint.
template <class Learner>
struct TrainingState {
  ProtocolState<Learner, Adam<Learner>> protocol;
  Learner best;             ///< by validation accuracy, the earlier of equals
  Tensor<double> history;   ///< [validations, 2]: training loss since the last one, validation accuracy
  Tensor<double> progress;  ///< [4]: since the last validation loss, accuracy and number of episodes; best validation
  GRAFT_FIELDS(protocol, best, history, progress)
};

/// A trained learner and what it cost.
template <class Learner>
struct Trained {
  Learner learner;
  double seconds = 0;
};

/// A bar with figures on a terminal, lines otherwise; nothing when quiet.
class Progress {
 public:
  Progress(std::string name, Index rounds, Index first_round, bool quiet)
      : name_(std::move(name)),
        rounds_(rounds),
        first_(first_round),
        quiet_(quiet),
        terminal_(isatty(fileno(stdout)) != 0) {}

  /// Redraws the bar, ten times a second at most.
  void bar(Index round, double loss, double accuracy, Index episodes) {
    if (quiet_ || !terminal_ || seconds_since(drawn_) < 0.1) return;
    drawn_ = Clock::now();
    const double elapsed = seconds_since(start_), share = static_cast<double>(round) / static_cast<double>(rounds_);
    const double left =
        elapsed / static_cast<double>(std::max(round - first_, Index{1})) * static_cast<double>(rounds_ - round);
    const auto filled = static_cast<std::size_t>(24 * share);
    std::printf("\r\033[K%-16s [%s%s] %3.0f %%  loss %.3f  accuracy %.3f  %.0f episodes/s  %d:%02d left", name_.c_str(),
                std::string(filled, '#').c_str(), std::string(24 - filled, '.').c_str(), 100 * share, loss, accuracy,
                static_cast<double>(episodes) / elapsed, static_cast<int>(left) / 60, static_cast<int>(left) % 60);
    std::fflush(stdout);
  }
  /// A line that stays.
  void line(Index round, double loss, double accuracy, double validation, Index episodes) {
    if (quiet_) return;
    std::printf("%s%-16s round %lld of %lld  loss %.3f  accuracy %.3f  validation %.4f  %.0f episodes/s  %.0f s\n",
                terminal_ ? "\r\033[K" : "", name_.c_str(), static_cast<long long>(round),
                static_cast<long long>(rounds_), loss, accuracy, validation,
                static_cast<double>(episodes) / seconds_since(start_), seconds_since(start_));
    std::fflush(stdout);
  }

 private:
  std::string name_;
  Index rounds_, first_;
  bool quiet_, terminal_;
  Clock::time_point start_ = Clock::now(), drawn_ = start_;
};

/// Where the checkpoint of a learner is.
inline std::string checkpoint_file(const TrainingPlan& plan, const std::string& name) {
  return plan.folder.empty() ? "" : plan.folder + "/" + name + ".npz";
}

/// Throws unless the checkpoint folder can be written and holds what `plan.resume` says, before any work is done.
inline void check_checkpoint(const TrainingPlan& plan, const std::string& name) {
  const std::string file = checkpoint_file(plan, name);
  if (file.empty()) return;
  if (::access(file.c_str(), F_OK) == 0) {
    if (!plan.resume) throw UsageError(file + ": exists; continue it with --resume or choose another folder");
    const Metadata metadata = read_checkpoint_metadata(file);
    const auto found = metadata.find("options");
    const auto* text = found == metadata.end() ? nullptr : std::get_if<std::string>(&found->second);
    const auto before = text ? nlohmann::ordered_json::parse(*text, nullptr, false) : nlohmann::ordered_json();
    if (!before.is_object()) throw UsageError(file + ": is not a checkpoint of this program");
    for (const auto& [key, value] : plan.identity.items())
      if (!before.contains(key) || before[key] != value)
        throw UsageError(file + ": was made with other options: " + key + " " +
                         (before.contains(key) ? before[key].dump() : "unknown") + ", now " + value.dump());
  }
  OutputFile probe(file);  // a file is made and removed: the folder can be written
}

/// Trains `learner` on the tasks: lists of classes, one a task.
template <class Learner>
Trained<Learner> train(const std::string& name, const Learner& learner, const Characters& characters,
                       const std::vector<std::vector<Index>>& tasks, const EpisodeSuite& validation,
                       const TrainingPlan& plan) {
  const auto start = Clock::now();
  TrainingState<Learner> state{start_protocol(learner, Adam<Learner>(learner), static_cast<Index>(tasks.size()), plan.aggregator),
                               learner, zeros<double>({plan.validations, 2}), zeros<double>({4})};
  double seconds_before = 0;
  const std::string file = checkpoint_file(plan, name);
  if (plan.resume && !file.empty() && ::access(file.c_str(), F_OK) == 0) {
    const Metadata metadata = load_checkpoint(file, state);
    if (const auto found = metadata.find("seconds"); found != metadata.end() && std::get_if<double>(&found->second))
      seconds_before = std::get<double>(found->second);
  }
  const auto save = [&] {
    if (file.empty()) return;
    save_checkpoint(file, state,
                    {{"options", plan.identity.dump()}, {"seconds", seconds_before + seconds_since(start)}});
  };

  const Index warm_up = std::min(plan.rounds, 1 + plan.rounds / 50);
  const Schedule rate =
      Schedule::warm_up(warm_up, Schedule::cosine(plan.learning_rate, std::max(plan.rounds - warm_up, Index{1})));
  const auto answer = [&](const Learner& own, Index task, const Random& random) {
    const auto drawn = characters.draw(tasks[static_cast<std::size_t>(task)], plan.episode, random.stream("episode"));
    const Episode<> episode = characters.render(drawn);
    Context context(Phase::training, random.stream("layers"));
    const Tensor<> logits = own(episode, context);
    return TaskAnswer<>{cross_entropy(logits, episode.query.y), accuracy(logits, episode.query.y)};
  };

  Index round = state.protocol.round.item(), episodes = 0;
  Progress progress(name, plan.rounds, round, plan.quiet);
  std::vector<double> history(state.history.span().begin(), state.history.span().end());
  std::vector<double> sums(state.progress.span().begin(), state.progress.span().end());
  double &loss = sums[0], &metric = sums[1], &count = sums[2], &best = sums[3];
  while (round < plan.rounds) {
    const RoundReport report = run_round(state.protocol, answer, rate(round), plan.protocol);
    episodes += report.tasks + report.dropped;
    loss += report.loss * static_cast<double>(report.tasks);
    metric += report.metric * static_cast<double>(report.tasks);
    count += static_cast<double>(report.tasks);
    const Index done = round * plan.validations / plan.rounds;
    ++round;
    const double share = 1 / std::max(count, 1.0);
    progress.bar(round, loss * share, metric * share, episodes);
    if (round * plan.validations / plan.rounds > done) {
      double validated = 0;
      for (const auto* kind : {&validation.unstructured, &validation.within_alphabet})
        validated += 0.5 * mean_interval(learner_accuracies(state.protocol.model, characters, *kind)).mean;
      history[static_cast<std::size_t>(2 * done)] = loss * share;
      history[static_cast<std::size_t>(2 * done + 1)] = validated;
      if (validated > best) {
        best = validated;
        state.best = state.protocol.model;
      }
      progress.line(round, loss * share, metric * share, validated, episodes);
      loss = metric = count = 0;
    } else if (!stop_requested) {
      continue;
    }
    state.progress = from_vector(sums);
    state.history = from_vector(history, {plan.validations, 2});
    save();
    if (stop_requested && round < plan.rounds)
      throw Stopped(name + " stopped after round " + std::to_string(round) + " of " + std::to_string(plan.rounds) +
                    (file.empty() ? "" : "; continue with --resume"));
  }
  return {state.best, seconds_before + seconds_since(start)};
}

}  // namespace collaborate
