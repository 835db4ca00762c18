#pragma once
// What the programs share that run a planned comparison (graft/evaluate/experiment.hpp): equal seconds for every arm,
// ablations, and the table.

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "graft/data/episode_suite.hpp"
#include "graft/evaluate/experiment.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/protocol/episode_training.hpp"
#include "program.hpp"

namespace examples {

/// `count` episodes of each kind, all of classes in `classes`; they depend on `random` alone.
inline EpisodeSuite draw_kinds(const ItemSet& items, const std::vector<Index>& classes,
                               const std::vector<EpisodeOptions>& kinds, Index count, const Random& random) {
  EpisodeSuite suite;
  for (const EpisodeOptions& kind : kinds) {
    const Random own = random.stream("kind", std::ssize(suite));
    suite.emplace_back();
    for (Index i = 0; i < count; ++i) suite.back().push_back(items.draw(classes, kind, own.stream("episode", i)));
  }
  return suite;
}

/// Uniform graph attention: the scores of all GATv2 layers are 0 and do not learn.
template <Model M>
M with_uniform_attention(M model) {
  const std::vector<std::string> all = names(model);
  std::vector<std::string> scores;
  auto name = all.begin();
  for_each_parameter(
      [&](auto& leaf) {
        if (!leaf.defined()) return;
        if (name->ends_with("attention.att")) {
          leaf = leaf - leaf;
          scores.push_back(*name);
        }
        ++name;
      },
      model);
  return freeze(model, scores);
}

/// The graph-attention + Transformer head of an arm: whole, or as one of the ablations and negative controls
/// "no_graph", "no_transformer", "random_edges" and "uniform_attention".
template <Sees sees = Sees::support>
GraphTransformer<float, sees> graph_transformer(const std::string& arm, const Random& random) {
  GraphTransformerOptions o;
  if (arm == "no_graph") o.graph_layers = 0;
  if (arm == "no_transformer") o.transformer_layers = 0;
  o.random_edges = arm == "random_edges";
  const GraphTransformer<float, sees> head(random, o);
  return arm == "uniform_attention" ? with_uniform_attention(head) : head;
}

/// The negative control "permuted_labels": an episode whose classes have exchanged their labels in the support at
/// random, so that what is learned from it is chance.
inline Episode<> with_permuted_labels(Episode<> episode, const Random& random) {
  const std::vector<Index> other = random.permutation(episode.ways);
  episode.support.y = gather(from_vector(std::vector<std::int64_t>(other.begin(), other.end())), episode.support.y);
  return episode;
}

/// Accuracies of a unit's learner on its test, [kinds][episodes]; of "permuted_labels" with these. Throws Stopped.
template <class Learner>
std::vector<std::vector<double>> test_accuracies(const ExperimentUnit& unit, const Learner& learner,
                                                 const ItemSet& items, const EpisodeSuite& suite,
                                                 const Random& random) {
  if (unit.arm != "permuted_labels") return episode_accuracies(learner, items, suite, Program::stop());
  std::vector<std::vector<double>> figures;
  for (const std::vector<EpisodeIndices>& kind : suite) {
    const Random own = random.stream("permuted", std::ssize(figures));
    const auto draw = [&](Index i) {
      return with_permuted_labels(items.episode(kind[static_cast<std::size_t>(i)]), own.stream("episode", i));
    };
    figures.push_back(drawn_accuracies(learner, std::ssize(kind), draw, Program::stop()));
  }
  return figures;
}

/// Rounds that fit into the `seconds` of each training by name, of one thread with `validations` validations, when
/// every thread is at such a training: the processor time of `train(name, rounds, validations)` -> UnitResult for few
/// and for more of both tells what a round and a validation cost, whatever else the machine does. All take turns three
/// times, so that none is alone in an hour of a slow machine, and the least counts. What `train` does besides should be
/// short. 0 for what takes no rounds.
template <class Train>
std::map<std::string, Index> rounds_within(const std::map<std::string, double>& seconds, Index validations,
                                           const Train& train) {
  constexpr Index few = 16, checks = 4;
  struct Times {
    Index more = 4 * few;
    double base = 0, checked = 0, longer = 0;  // of few rounds, of these with more validations, of more rounds
    bool trains = true;
  };
  std::map<std::string, Times> all;
  const auto time = [&](const std::string& name, Index rounds, Index times) {
    std::vector<double> each(threads());
    parallel_tasks(threads(), [&](Index i) {
      const auto now = [] {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
      };
      const double start = now();
      const UnitResult result = train(name, rounds, times);
      each[i] = now() - start;
      if (i == 0) all[name].trains = result.rounds > 0;
    });
    return detail::mean_of(each);
  };
  for (const auto& [name, filled] : seconds) {
    Times& t = all[name];
    t.base = time(name, few, 1);
    if (!t.trains) continue;
    t.checked = time(name, few, checks);
    while ((t.longer = time(name, t.more, 1)) - t.base < std::min(0.02 * filled, 2.0) && t.more < 1 << 20) t.more *= 2;
  }
  for (int turn = 1; turn < 3; ++turn)
    for (auto& [name, t] : all) {
      if (!t.trains) continue;
      t.base = std::min(t.base, time(name, few, 1));
      t.checked = std::min(t.checked, time(name, few, checks));
      t.longer = std::min(t.longer, time(name, t.more, 1));
    }
  std::map<std::string, Index> fit;
  for (const auto& [name, t] : all) {
    const double validation = std::max(t.checked - t.base, 0.0) / (checks - 1);
    const double round = std::max((t.longer - t.base) / static_cast<double>(t.more - few), 1e-6);
    const double left = seconds.at(name) - validation * static_cast<double>(validations);
    fit[name] = t.trains ? std::max(static_cast<Index>(left / round), Index{1}) : 0;
  }
  return fit;
}

/// Arms that are trained for equally many rounds: those given, else those of units that are done, else what fits into
/// the seconds of the slowest.
struct EqualRounds {
  std::vector<std::string> arms;
  double seconds = 0;
  Index given = 0;
  std::size_t timed = 1 << 20;  ///< how many of the arms are timed; the others cost as much
};

/// The rounds of each arm; what is to be timed is timed in turn, and nothing where all units are done.
template <class Train>
std::map<std::string, Index> equal_rounds(const std::vector<EqualRounds>& all, const Experiment& experiment,
                                          Index validations, const Train& train) {
  std::map<std::string, Index> rounds;
  std::map<std::string, double> open;
  for (const EqualRounds& equal : all) {
    Index known = equal.given;
    for (const std::string& arm : equal.arms)
      if (equal.given == 0) known = std::max(known, experiment.rounds_of(arm));
    for (const std::string& arm : equal.arms) rounds[arm] = known;
    if (known > 0 || experiment.missing() == 0) continue;
    for (std::size_t i = 0; i < std::min(equal.timed, equal.arms.size()); ++i) open[equal.arms[i]] = equal.seconds;
  }
  const std::map<std::string, Index> fitting = rounds_within(open, validations, train);
  for (const EqualRounds& equal : all) {
    std::vector<Index> fits;
    for (const std::string& arm : equal.arms)
      if (fitting.contains(arm)) fits.push_back(fitting.at(arm));
    if (fits.empty()) continue;
    for (const std::string& arm : equal.arms) rounds[arm] = *std::min_element(fits.begin(), fits.end());
  }
  return rounds;
}

/// A training of `rounds` rounds of two tasks each, or of `tasks`; the program's stop ends it.
inline EpisodeTraining training_of(const ExperimentUnit& unit, const Random& random, Index rounds, Index validations,
                                   double learning_rate, Index tasks = 2) {
  EpisodeTraining how;
  how.aggregator = MeanGradient();
  how.learning_rate = learning_rate;
  how.protocol = {.tasks_per_round = tasks, .seed = random.bits(0), .clip = 10};
  how.train = {.name = unit.arm, .steps = rounds, .validations = validations, .quiet = true, .stop = Program::stop()};
  return how;
}

/// How much is run.
struct ExperimentSize {
  Index folds, seeds;
  double seconds;
};

/// What every planned comparison may be asked for.
struct ExperimentSettings {
  std::vector<std::string> arms;        ///< the base first
  std::vector<std::string> controls;    ///< what the others are compared with in a column is the best of these there
  std::map<std::string, double> share;  ///< of the seconds, for arms that get less than all
  std::string records;
  Index folds = 0, seeds = 0, rounds = 0, tests = 200;
  double seconds = 0;

  /// The options; `arms` are run by default, and there are `others`. What is done does not depend on how much of it is
  /// asked for.
  void add_to(Program& program, const std::vector<std::string>& others, Index most_folds) {
    Option& chosen = program.names("--arms", arms, "what is compared, the base first");
    chosen.choices = arms;
    chosen.choices.insert(chosen.choices.end(), others.begin(), others.end());
    chosen.in_identity = false;
    program.whole("--folds", folds, "folds that are run, 0 as the profile says", 0, most_folds).in_identity = false;
    program.whole("--seeds", seeds, "seeds a fold, 0 as the profile says", 0, 1000).in_identity = false;
    program.whole("--tests", tests, "test episodes of each kind", 1);
    program.real("--seconds", seconds, "of training of each arm, fold and seed, on one thread; 0 as the profile says",
                 0, 1e6);
    program.whole("--rounds", rounds, "of training, whatever they take; 0: as many as fit into the seconds", 0);
    program.word("--records", records, {}, "folder of what is done, gone on with if there is one").in_identity = false;
  }
  /// Puts in what was not given; the settings are those that the program's options lead to, so that the identity of
  /// records tells the seconds.
  void by_profile(const Program& program, const ExperimentSize& quick, const ExperimentSize& full) {
    const ExperimentSize& size = program.full() ? full : quick;
    if (folds == 0) folds = size.folds;
    if (seeds == 0) seeds = size.seeds;
    if (seconds == 0) seconds = size.seconds;
  }
};

/// Prints every column of an experiment, each arm with its mean and its differences in %, to the best control (of that
/// itself: to the base) and to the base, the first arm, each with its p; records means and differences.
inline void report(Program& program, const Experiment& experiment, const std::vector<std::string>& controls,
                   const std::string& base, const Random& random) {
  std::string column;
  const auto text = [](const char* form, auto... values) {
    char all[64];
    std::snprintf(all, sizeof all, form, values...);
    return std::string(all);
  };
  const auto interval = [&](const char* form, const BootstrapInterval& i) {
    return text(form, 100 * i.mean, 100 * i.low, 100 * i.high);
  };
  const auto add = [&](const ArmFigure& figure, const std::string& metric, const BootstrapInterval& i) {
    program.record.add({figure.arm, metric + ", " + figure.column, i.mean, (i.high - i.low) / 2, 0, figure.seconds});
  };
  constexpr const char *plain = "%6.2f [%6.2f, %6.2f]", *difference = "%+6.2f [%+6.2f, %+6.2f]",
                       *row = "%-24s %22s   %26s %8s  %-24s %26s %8s %8s %8s\n";
  const std::vector<ArmFigure> to_control = experiment.compare(controls, random),
                               to_base = experiment.compare(base, random);
  for (std::size_t i = 0; i < to_control.size(); ++i) {
    const ArmFigure& figure = to_control[i];
    if (figure.column != column) {
      column = figure.column;
      std::printf("\n%s\n", column.c_str());
      std::printf(row, "", "accuracy in %", "difference", "p", "to", ("to " + base).c_str(), "p", "rounds", "seconds");
    }
    const bool further = figure.arm != base && figure.other != base;
    std::printf(row, figure.arm.c_str(), interval(plain, figure.mean).c_str(),
                interval(difference, figure.difference).c_str(), text("%.4f", figure.p).c_str(), figure.other.c_str(),
                further ? interval(difference, to_base[i].difference).c_str() : "",
                further ? text("%.4f", to_base[i].p).c_str() : "",
                text("%lld", static_cast<long long>(figure.rounds)).c_str(), text("%.1f", figure.seconds).c_str());
    add(figure, "accuracy", figure.mean);
    add(figure, "minus " + figure.other, figure.difference);
    if (further) add(figure, "minus " + base, to_base[i].difference);
  }
}

/// Runs the units that have no record and reports on all. `work(unit, rounds, validations, tests)` -> UnitResult, whose
/// `rounds` are 0 where nothing is trained; `tests` is 1 where it is timed. Every arm gets the rounds of its finished
/// units, else those that fit into its share of the seconds. `data`: fingerprints of all that is read.
template <class Work>
void run_experiment(Program& program, const ExperimentSettings& settings, const std::vector<std::string>& columns,
                    const std::vector<std::pair<std::string, std::string>>& data, const Work& work) {
  constexpr Index validations = 5;
  program.keep_folder(settings.records, "--records");
  Identity identity = program.identity();
  identity.add("data", data);
  Experiment experiment({settings.records, identity.text(), columns, settings.arms, settings.folds, settings.seeds});
  std::vector<EqualRounds> alone;
  for (const std::string& arm : settings.arms) {
    const auto part = settings.share.find(arm);
    const double share = part == settings.share.end() ? 1 : part->second;
    const auto given = static_cast<Index>(share * static_cast<double>(settings.rounds));
    alone.push_back({{arm}, settings.seconds * share, settings.rounds > 0 ? std::max(given, Index{1}) : 0});
  }
  const auto timed = [&](const std::string& arm, Index count, Index checks) {
    return work({arm, 0, 0}, count, checks, 1);
  };
  const std::map<std::string, Index> rounds = equal_rounds(alone, experiment, validations, timed);
  for (const std::string& arm : settings.arms)
    if (!program.quiet) std::fprintf(stderr, "%s: %lld rounds\n", arm.c_str(), static_cast<long long>(rounds.at(arm)));
  experiment.run(
      [&](const ExperimentUnit& unit) { return work(unit, rounds.at(unit.arm), validations, settings.tests); },
      Program::stop());
  std::vector<std::string> controls;
  for (const std::string& name : settings.controls)
    if (std::find(settings.arms.begin(), settings.arms.end(), name) != settings.arms.end()) controls.push_back(name);
  if (controls.empty()) controls = {settings.arms[0]};
  report(program, experiment, controls, settings.arms[0], Random(program.seed));
}

}  // namespace examples
