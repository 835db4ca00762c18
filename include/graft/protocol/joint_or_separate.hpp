#pragma once
// What tasks of different kinds gain and lose by being trained together: one learner for all of them against a learner
// of each task's own, in units of an `Experiment`.

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graft/evaluate/experiment.hpp"
#include "graft/evaluate/record.hpp"
#include "graft/evaluate/transfer_figures.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/protocol/exchange.hpp"
#include "graft/protocol/mixed_tasks.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// An encoder of each kind of items in front of a graph-attention + Transformer head, with or without exchange.
using MixedLearner = ExchangeLearner<MixedEncoder, GraphTransformer<>>;

/// How both are trained.
struct JointOptions {
  MixtureOptions mix = {};
  std::vector<std::string> aggregates = {"mean", "pcgrad", "upgrad"};  ///< of joint training, one chosen on validation
  std::string exchange = "off";      ///< what tasks tell one another in joint training, one of `exchange_names()`
  std::string second_exchange = {};  ///< of further joint trainings, to compare with these; "": none
  Index episodes = 4;                ///< of a round, of as many tasks as there are
  double learning_rate = 2e-3;       ///< the highest of Adam
  double clip = 10;                  ///< largest norm of a round's gradient
  std::uint64_t seed = 1;
  const StopFlag* stop = nullptr;
};

/// Makes an aggregator by name for so many tasks: `aggregators().make` of graft/multitask.hpp.
using MakeAggregator = Function<Aggregator(const std::string& name, Index tasks)>;

/// What the seed of a unit decides: classes, episodes, and the draws of training.
inline Random random_of_seed(const JointOptions& o, Index seed) { return Random(o.seed).stream("seed", seed); }

/// Tasks that can be trained and tested, and why others cannot.
struct UsableTasks {
  std::vector<FewShotTask> tasks;
  std::vector<std::pair<std::string, std::string>> left_out = {};  ///< names and reasons
};

/// Makes tasks by `make(name)`; one whose data are missing, damaged or, with the classes of one of the `seeds`, too few
/// for an episode is left out, and the others are what they would be. Throws all but FileError.
template <class Make>
UsableTasks usable_tasks(const std::vector<std::string>& names, Make&& make, const JointOptions& o, Index seeds) {
  UsableTasks result;
  for (const std::string& name : names) {
    try {
      FewShotTask task = make(name);
      MixtureOptions one = o.mix;
      one.tests = one.validations = 1;
      for (Index seed = 0; seed < seeds; ++seed) mix_tasks({task}, one, random_of_seed(o, seed));
      result.tasks.push_back(std::move(task));
    } catch (const FileError& error) {
      const std::string why = error.what();
      result.left_out.emplace_back(name, why.starts_with("graft: ") ? why.substr(7) : why);
    }
  }
  return result;
}

/// A task after both trainings.
struct TaskGain {
  std::string task;
  BootstrapInterval base, joint, difference;  ///< accuracies, and joint minus base, paired by test episodes
};

/// What joint training came to against a base: separate training, or joint training with another exchange.
struct JointGains {
  std::string base, joint;  ///< what both are called
  std::vector<TaskGain> tasks;
  TaskGain all;                               ///< the mean over tasks; its intervals draw tasks too
  std::vector<std::string> chosen;            ///< [seeds]: the arm of joint training
  std::map<std::string, double> validation;   ///< mean accuracy over seeds and tasks of every arm
  double relative = 0;                        ///< `delta_p` of the tasks' accuracies
  Index hurt = 0;                             ///< tasks whose difference is below 0
  Index surely_better = 0, surely_worse = 0;  ///< tasks whose interval does not hold 0

  /// A table of the tasks in percent, and what was chosen.
  std::string text() const {
    std::string out;
    char line[256];
    const auto add = [&](auto... values) {
      std::snprintf(line, sizeof line, values...);
      out += line;
    };
    add("%-16s %25s %26s %28s\n", "accuracy in %", base.c_str(), joint.c_str(), minus().c_str());
    for (std::size_t row = 0; row <= tasks.size(); ++row) {
      const TaskGain& t = row < tasks.size() ? tasks[row] : all;
      add("%-16.16s", t.task.c_str());
      for (const BootstrapInterval* i : {&t.base, &t.joint})
        add("   %6.2f [%6.2f, %6.2f]", 100 * i->mean, 100 * i->low, 100 * i->high);
      const BootstrapInterval& d = t.difference;
      add("   %+7.2f [%+7.2f, %+7.2f]\n", 100 * d.mean, 100 * d.low, 100 * d.high);
    }
    add("\nmean relative difference %+.2f %%; worse in %d of %d tasks, surely in %d, surely better in %d\n",
        100 * relative, static_cast<int>(hurt), static_cast<int>(tasks.size()), static_cast<int>(surely_worse),
        static_cast<int>(surely_better));
    for (const auto& [arm, figure] : validation) {
      add("%s: %.2f %% on validation", arm.c_str(), 100 * figure);
      if (const auto times = std::count(chosen.begin(), chosen.end(), arm); times > 0)
        add(", chosen in %d of %d seeds", static_cast<int>(times), static_cast<int>(chosen.size()));
      out += "\n";
    }
    return out;
  }

  /// Rows for a record: accuracy of "BASE, TASK", "JOINT, TASK" and "JOINT minus BASE, TASK", the last TASK
  /// "all tasks", with half the width of their intervals, relative-difference and tasks-hurt of JOINT,
  /// validation-accuracy of every arm.
  std::vector<ResultRow> rows() const {
    std::vector<ResultRow> list;
    const auto seeds = static_cast<Index>(chosen.size()), count = static_cast<Index>(tasks.size());
    const auto add = [&](const std::string& name, const BootstrapInterval& i) {
      list.push_back({name, "accuracy", i.mean, (i.high - i.low) / 2, seeds, 0});
    };
    for (std::size_t row = 0; row <= tasks.size(); ++row) {
      const TaskGain& t = row < tasks.size() ? tasks[row] : all;
      add(base + ", " + t.task, t.base);
      add(joint + ", " + t.task, t.joint);
      add(minus() + ", " + t.task, t.difference);
    }
    list.push_back({joint, "relative-difference", relative, 0, count, 0});
    list.push_back({joint, "tasks-hurt", static_cast<double>(hurt), 0, count, 0});
    for (const auto& [arm, figure] : validation) list.push_back({arm, "validation-accuracy", figure, 0, seeds, 0});
    return list;
  }

 private:
  std::string minus() const { return joint + " minus " + base; }
};

/// Arms of the comparison: "separate-1", "separate-2" ... are learners of each task alone, from as many initial values
/// as there are aggregators, "joint-mean" and so on are one learner of all tasks, "joint-mean-prototypes" one with the
/// second exchange. Columns are the tasks, then "validation of TASK". Test and validation episodes, and how classes are
/// dealt, depend on the seed of a unit and the task alone, so all arms answer the same. Both ways may choose among
/// equally many trainings: joint one of its aggregators for all tasks, separate one of its initial values for each
/// task, by validation accuracy alone.
class JointOrSeparate {
 public:
  /// Throws ValueError for no tasks, no aggregators, and names that there are not, TooFewTasks for an aggregator that
  /// needs more episodes than a round has.
  JointOrSeparate(std::vector<FewShotTask> tasks, JointOptions options, MakeAggregator make,
                  Site site = Site::current())
      : tasks_(std::move(tasks)),
        options_(std::move(options)),
        make_(std::move(make)) {
    if (tasks_.empty() || options_.aggregates.empty())
      fail("JointOrSeparate", {tasks_.size(), " tasks, ", options_.aggregates.size(), " aggregators"}, {}, site);
    for (const std::string& name : options_.aggregates)
      check_round_size(make_(name, std::ssize(tasks_)), options_.episodes, site);
    exchange_of(options_.exchange, site);
    if (options_.second_exchange.empty()) return;
    exchange_of(options_.second_exchange, site);
    if (options_.second_exchange == options_.exchange)
      fail("JointOrSeparate", {"both exchanges are '", options_.exchange, "'"}, {}, site);
  }

  std::vector<std::string> separate_arms() const {
    std::vector<std::string> arms;
    for (std::size_t i = 1; i <= options_.aggregates.size(); ++i) arms.push_back("separate-" + std::to_string(i));
    return arms;
  }
  std::vector<std::string> joint_arms() const {
    std::vector<std::string> arms;
    for (const std::string& name : options_.aggregates) arms.push_back("joint-" + name);
    return arms;
  }
  /// None without a second exchange.
  std::vector<std::string> second_arms() const {
    std::vector<std::string> arms;
    if (!options_.second_exchange.empty())
      for (const std::string& arm : joint_arms()) arms.push_back(arm + "-" + options_.second_exchange);
    return arms;
  }
  std::vector<std::string> arms() const {
    std::vector<std::string> all = separate_arms();
    for (const auto& more : {joint_arms(), second_arms()}) all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<std::string> columns() const {
    std::vector<std::string> all;
    for (const char* part : {"", "validation of "})
      for (const FewShotTask& task : tasks_) all.push_back(part + task.name);
    return all;
  }

  /// Trains and tests an arm: joint training for `rounds` rounds, or each task for so many, with `checks` validations
  /// each. A learner that cannot be trained (all its episodes throw, or nothing finite is left) is tested untrained.
  /// The failures are TASK, episodes of its training that failed, all where it was tested untrained, and
  /// "TASK, tested", episodes that the learner threw at. Throws FileError where data are too few, Stopped.
  UnitResult operator()(const ExperimentUnit& unit, Index rounds, Index checks) const {
    UnitResult result{{}, rounds, 0};
    std::vector<std::vector<double>> validation;
    if (unit.arm.starts_with("joint-")) {
      const std::size_t start = std::string("joint-").size(), end = unit.arm.find('-', start);
      const bool second = end != std::string::npos;
      train(unit, tasks_, unit.arm.substr(start, end - start), second ? options_.second_exchange : options_.exchange,
            checks, result, validation);
    } else {
      for (const FewShotTask& task : tasks_) train(unit, {task}, "", "off", checks, result, validation);
    }
    result.figures.insert(result.figures.end(), validation.begin(), validation.end());
    return result;
  }

  /// Joint against separate training: chooses on validation, then compares on test. Throws as `Experiment::figures`.
  JointGains gains(const Experiment& experiment, const Random& random, Site site = Site::current()) const {
    JointGains result =
        compared({"separate", separate_arms(), true}, {"joint", joint_arms()}, experiment, random, site);
    for (const std::string& arm : separate_arms())
      result.validation[arm] = detail::mean_of(validated(experiment, arm, names(), site));
    return result;
  }

  /// The same of joint training with the second exchange against that with the first. Throws ValueError where there is
  /// no second one, and as `Experiment::figures`.
  JointGains second_gains(const Experiment& experiment, const Random& random, Site site = Site::current()) const {
    if (options_.second_exchange.empty()) fail("JointOrSeparate", "no second exchange to compare with", {}, site);
    return compared({"joint " + options_.exchange, joint_arms()},
                    {"joint " + options_.second_exchange, second_arms()}, experiment, random, site);
  }

 private:
  /// Trainings of which one is chosen in each seed, for all tasks or for each.
  struct Choice {
    std::string name;
    std::vector<std::string> arms;
    bool each_task = false;
  };

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const FewShotTask& task : tasks_) all.push_back(task.name);
    return all;
  }

  /// Mean accuracy of an arm on the validation episodes of some tasks, by seed.
  static std::vector<double> validated(const Experiment& experiment, const std::string& arm,
                                       const std::vector<std::string>& tasks, Site site) {
    std::vector<double> means;
    for (const std::string& task : tasks) {
      const FoldFigures figures = experiment.figures(arm, "validation of " + task, site);
      means.resize(figures[0].size());
      for (std::size_t seed = 0; seed < means.size(); ++seed)
        means[seed] += detail::mean_of(figures[0][seed]) / static_cast<double>(tasks.size());
    }
    return means;
  }

  /// The arm with the highest accuracy in validation of some tasks, by seed; of those that are equal but for rounding,
  /// the first.
  static std::vector<std::string> chosen(const Experiment& experiment, const std::vector<std::string>& arms,
                                         const std::vector<std::string>& tasks, Site site) {
    std::vector<double> highest;
    std::vector<std::string> found;
    for (const std::string& arm : arms) {
      const std::vector<double> means = validated(experiment, arm, tasks, site);
      highest.resize(means.size(), -1);
      found.resize(means.size());
      for (std::size_t seed = 0; seed < means.size(); ++seed)
        if (means[seed] > highest[seed] + 1e-9) highest[seed] = means[seed], found[seed] = arm;
    }
    return found;
  }

  /// Test accuracies of a task in each seed by that seed's arm.
  static FoldFigures tested(const Experiment& experiment, const std::vector<std::string>& arms, const std::string& task,
                            Site site) {
    FoldFigures figures(1);
    for (std::size_t seed = 0; seed < arms.size(); ++seed)
      figures[0].push_back(experiment.figures(arms[seed], task, site)[0][seed]);
    return figures;
  }

  JointGains compared(const Choice& base, const Choice& joint, const Experiment& experiment, const Random& random,
                      Site site) const {
    JointGains result;
    result.base = base.name;
    result.joint = joint.name;
    for (const std::string& arm : joint.arms)
      result.validation[arm] = detail::mean_of(validated(experiment, arm, names(), site));
    result.chosen = chosen(experiment, joint.arms, names(), site);
    const std::vector<std::string> for_all = chosen(experiment, base.arms, names(), site);
    std::vector<std::vector<TransferFigure>> transfer;
    FoldFigures all_joint, all_base;  // a fold is a task
    const auto gain_of = [&](const std::string& name, const FoldFigures& own, const FoldFigures& other) {
      return TaskGain{name, hierarchical_bootstrap(other, random, {}, site),
                      hierarchical_bootstrap(own, random, {}, site),
                      hierarchical_bootstrap(own, other, random, {}, site)};
    };
    for (const std::string& task : names()) {
      const FoldFigures own = tested(experiment, result.chosen, task, site);
      const FoldFigures other =
          tested(experiment, base.each_task ? chosen(experiment, base.arms, {task}, site) : for_all, task, site);
      const TaskGain gain = gain_of(task, own, other);
      all_joint.push_back(own[0]);
      all_base.push_back(other[0]);
      result.surely_better += gain.difference.low > 0;
      result.surely_worse += gain.difference.high < 0;
      if (gain.base.mean > 0) transfer.push_back({{gain.joint.mean, gain.base.mean}});
      result.tasks.push_back(gain);
    }
    result.all = gain_of("all tasks", all_joint, all_base);
    if (!transfer.empty()) {
      result.relative = delta_p(transfer, site);
      result.hurt = tasks_hurt(transfer, 0, site);
    }
    return result;
  }

  void train(const ExperimentUnit& unit, const std::vector<FewShotTask>& some, const std::string& aggregate,
             const std::string& exchange, Index checks, UnitResult& to,
             std::vector<std::vector<double>>& validation) const {
    const JointOptions& o = options_;
    const Random random = random_of_seed(o, unit.seed);
    // All joint arms begin alike; "separate-1" with the encoders and the head that these begin with.
    const Random initial = random.stream(unit.arm.starts_with("joint-") ? std::string("separate-1") : unit.arm);
    const TaskMixture mixture = mix_tasks(some, o.mix, random);
    const Index count = std::ssize(some);
    MixedLearner learner({mixture.encoder(initial.stream("encoders")), GraphTransformer<>(initial.stream("head"))},
                         count, o.mix.train_ways, initial.stream("exchange"), exchange_of(exchange));
    const auto failed = [&](Index task, const char* where, Index times) {
      if (times > 0) to.failures[mixture.tasks[static_cast<std::size_t>(task)].name + where] += times;
    };
    EpisodeTraining how;
    how.protocol = {.tasks_per_round = o.episodes, .seed = random.stream("training").bits(0), .clip = o.clip};
    how.aggregator = aggregate.empty() ? Aggregator(MeanGradient()) : make_(aggregate, count);
    how.learning_rate = o.learning_rate;
    how.train = {.name = unit.arm, .steps = to.rounds, .validations = checks, .quiet = true, .stop = o.stop};
    try {
      auto trained = train_on_mixture(learner, mixture, how);
      for (Index t = 0; t < count; ++t) failed(t, "", trained.meter.of_task(t).failures);
      to.seconds += trained.seconds;
      learner = std::move(trained.model);
    } catch (const Stopped&) {
      throw;
    } catch (const Error&) {
      for (Index t = 0; t < count; ++t) failed(t, "", to.rounds);
    }
    for (Index t = 0; t < count; ++t) {
      const MixedTask& task = mixture.tasks[static_cast<std::size_t>(t)];
      for (const auto& [episodes, figures] : {std::pair(&task.test, &to.figures), {&task.validation, &validation}}) {
        TaskAccuracies answers = task_accuracies(learner, task, t, *episodes, o.stop);
        figures->push_back(std::move(answers.accuracies));
        failed(t, ", tested", answers.failed);
      }
    }
  }

  std::vector<FewShotTask> tasks_;
  JointOptions options_;
  MakeAggregator make_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
