#pragma once
// One harness for all few-shot methods: each is trained for the same seconds, once for all numbers of ways where it can
// answer any, and tested on the same episodes.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/machine.hpp"
#include "graft/evaluate/record.hpp"
#include "graft/protocol/learner_training.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A kind of test episodes, a column of the table.
struct HarnessSetting {
  std::string head, metric;  ///< as the table and the record call it
  EpisodeOptions episode;
  const OneShotRuns* runs = nullptr;  ///< these in the place of drawn episodes; figures are errors
  bool trained = false;               ///< of classes that were trained on
};

/// What is run.
struct HarnessOptions {
  LearnerSpec spec = {.backbone = ""};          ///< its backbone, "" for the usual one, and width alone
  std::vector<Index> ways{5, 20}, shots{1, 5};  ///< of the test episodes: each with each
  Index queries = 10, unlabelled = 5;           ///< of each class of a test episode
  Index tests = 1000;                           ///< episodes of each kind
  bool gap = false;                             ///< test on classes that were trained on, too, but for runs
  double budget = 300;                          ///< seconds of training and validation of a method and seed
  Index rounds = 0;                             ///< above 0: so many of each training in the place of the budget
  Index seeds = 1;                              ///< trainings with seeds seed, seed + 1 ...
  LearnerTraining training = {};
};

/// The names of backbones that read items of this kind, the usual one first.
inline std::vector<std::string> fitting_backbones(ItemKind kind) {
  switch (kind) {
    case ItemKind::images:
      return {"conv4", "resnet", "vit", "mlp"};
    case ItemKind::nodes:
      return {"graph"};
    case ItemKind::texts:
      return {"text"};
    case ItemKind::vectors:
      break;
  }
  return {"mlp"};
}

/// What one method came to.
struct HarnessReport {
  std::string name;
  Needs needs = {};
  std::vector<std::vector<std::vector<double>>> figures = {};  ///< [settings][seeds][episodes]
  Index rounds = 0, items = 0, dropped = 0;                    ///< of all trainings of a seed, means over seeds
  double seconds = 0;                                          ///< of training and validation, the mean over seeds
  Index peak = 0;                  ///< the most bytes that the process has held up to its end
  std::string shares = {};         ///< the method whose training it shares, if another's
  std::vector<Curve> curves = {};  ///< validation accuracies of the first seed
  FewShotLearner learner = {};     ///< of the first seed and the first training
  std::string failure = {};        ///< why there are no figures
  std::string shortage = {};       ///< which training had seconds for fewer rounds than validations

  bool failed() const { return !failure.empty(); }

  /// Means over seeds of a setting's episodes.
  std::vector<double> means(std::size_t setting) const {
    std::vector<double> mean(figures[setting][0].size());
    for (const auto& of_seed : figures[setting])
      for (std::size_t i = 0; i < mean.size(); ++i)
        mean[i] += of_seed[i] / static_cast<double>(figures[setting].size());
    return mean;
  }
};

/// Runs methods on one data set: on the runs of the data if there are any, else on episodes of the ways and shots asked
/// for. Training episodes have 20 ways, or the most of these (as many as each list of the data has classes, if these
/// are fewer), the fewest shots, 5 queries a class, and, for methods that look at them, as many unlabelled items as the
/// tests; validation has the most ways that its data have and the fewest shots, since accuracies near one choose by
/// chance, and no more queries than its data have items for. `make(spec, random, table)` is `make_learner`.
template <class Make>
class FewShotHarness {
 public:
  /// A backbone without a name is the usual one of the data. Throws ValueError for no ways or shots and numbers below
  /// 1, FileError for a backbone that cannot read the data, and for runs whose images have another size or are among
  /// those that are trained on.
  FewShotHarness(const FewShotData& data, HarnessOptions options, Make make, Site site = Site::current())
      : data_(data), options_(std::move(options)), settings_(), make_(make), classes_(base_classes(data.train)) {
    HarnessOptions& o = options_;
    const std::vector<std::string> fitting = fitting_backbones(data.kind);
    if (o.spec.backbone.empty()) o.spec.backbone = fitting[0];
    if (std::find(fitting.begin(), fitting.end(), o.spec.backbone) == fitting.end())
      fail_file(data.train.items.source,
                {"the backbone ", o.spec.backbone, " cannot read such items, ", fitting[0], " can"});
    if (o.ways.empty() || o.shots.empty() || o.tests < 1 || o.seeds < 1 || o.rounds < 0 ||
        (o.rounds == 0 && !(o.budget > 0)))
      fail("FewShotHarness",
           {o.ways.size(), " ways, ", o.shots.size(), " shots, ", o.tests, " tests, ", o.seeds, " seeds, ", o.rounds,
            " rounds, ", o.budget, " seconds"},
           {}, site);
    o.spec.size = o.spec.backbone == "mlp" && data.kind == ItemKind::images ? data.size * data.size : data.size;
    o.spec.entries = data.entries;
    o.spec.classes = std::ssize(classes_);
    const Index queries = data.runs.empty() ? o.queries : 1, unlabelled = data.runs.empty() ? o.unlabelled : 1;
    for (const auto& [name, runs] : data.runs) {
      if (runs.size != data.size)
        fail_file(runs.source, {"images are ", runs.size, " pixels wide, those that are trained on ", data.size});
      if (const Index shared = images_among(runs, data.train.items, data.train.tasks); shared > 0)
        fail_file(runs.source, {shared, " images are among those that are trained on"});
      settings_.push_back({"error, " + name, "error, " + name, {runs.items, 1, 1}, &runs});
    }
    for (const Index ways : data.runs.empty() ? o.ways : std::vector<Index>{})
      for (const Index shots : o.shots) {
        const std::string name = std::to_string(ways) + "-way " + std::to_string(shots) + "-shot";
        for (const bool trained : {false, true})
          if (!trained || o.gap)
            settings_.push_back({name + (trained ? ", trained" : ""),
                                 (trained ? "accuracy on trained classes, " : "accuracy, ") + name,
                                 {ways, shots, queries, unlabelled},
                                 nullptr,
                                 trained});
      }
    Index fewest_shots = settings_[0].episode.shots;
    for (const HarnessSetting& setting : settings_) fewest_shots = std::min(fewest_shots, setting.episode.shots);
    o.training.episode.shots = fewest_shots;
    o.training.episode.unlabelled = unlabelled;
    // Where a validation class has fewer items, half of what its support leaves, at most, goes without labels.
    const Index rest = std::max(fewest_items(data.validation) - fewest_shots, Index{1}),
                hidden = queries + unlabelled > rest ? std::min(unlabelled, rest / 2) : unlabelled;
    o.training.validation = {most_ways(), fewest_shots, std::min(queries, rest - hidden), hidden};
    for (const HarnessSetting& setting : settings_)
      if (!setting.runs) draw_episodes("test", source_of(setting), setting.episode, 1, Random(0));
  }

  /// What the learners are made from, but for method and ways.
  const LearnerSpec& spec() const { return options_.spec; }
  /// The columns of its table.
  const std::vector<HarnessSetting>& settings() const { return settings_; }

  /// The names of all trainings of these methods, for `Checkpoints`. Throws FileError where the data are too few for
  /// one of them, before any work.
  std::vector<std::string> trainings(const std::vector<std::string>& methods) const {
    std::vector<std::string> all;
    for (const std::string& method : methods) {
      const FewShotLearner learner = made(method, most_ways(), 0);
      if (learner.trains() == Trains::nothing) continue;
      for (const Index ways : groups(learner)) {
        const LearnerTraining how = training_of(learner, ways, 0);
        detail::LearnerTasks(learner, data_.train, data_.validation, how, Site::current());
        EpisodeOptions validation = how.validation;
        if (learner.needs().sees != Sees::unlabelled) validation.unlabelled = 0;
        draw_episodes("validation", data_.validation, validation, 1, Random(0));
        for (Index seed = 0; seed < options_.seeds; ++seed) {
          const std::string name = training_name(learner, ways, seed);
          if (std::find(all.begin(), all.end(), name) == all.end()) all.push_back(name);
        }
      }
    }
    return all;
  }

  /// Trains a method once a seed, and once for each number of ways where these are fixed, the seconds shared among
  /// them, and answers all settings. What the method throws, or its data, is told in the report as a failure; Stopped,
  /// lack of memory, FileError and RanksDiffer are thrown.
  HarnessReport run(const std::string& method, const Checkpoints& checkpoints = {}) {
    HarnessReport report;
    report.name = method;
    const FewShotLearner learner = made(method, most_ways(), 0);
    report.needs = learner.needs();
    if (learner.trains() != Trains::nothing && learner.trained_as() != method) report.shares = learner.trained_as();
    report.figures.resize(settings_.size());
    try {
      for (Index seed = 0; seed < options_.seeds; ++seed) {
        if (learner.trains() == Trains::nothing && seed > 0) {
          for (auto& of_setting : report.figures) of_setting.push_back(of_setting[0]);
          continue;
        }
        const std::vector<Index> all = groups(learner);
        for (const Index ways : all) {
          const FewShotLearner ready = learner.trains() == Trains::nothing
                                           ? learner
                                           : trained(method, ways, seed, std::ssize(all), report, checkpoints);
          if (seed == 0 && ways == all[0]) report.learner = ready;
          for (std::size_t s = 0; s < settings_.size(); ++s)
            if (ready.needs().any_ways || settings_[s].episode.ways == ways)
              report.figures[s].push_back(figures(ready, s));
        }
      }
    } catch (const FileError&) {
      throw;
    } catch (const Stopped&) {
      throw;
    } catch (const RanksDiffer&) {
      throw;
    } catch (const Error& error) {
      report.failure = error.what();
      report.failure = report.failure.substr(0, report.failure.find('\n'));
    }
    report.rounds /= options_.seeds;
    report.items /= options_.seeds;
    report.seconds /= static_cast<double>(options_.seeds);
    report.peak = peak_bytes();
    return report;
  }

 private:
  Index most_ways() const {
    Index most = 1;
    for (const HarnessSetting& setting : settings_) most = std::max(most, setting.episode.ways);
    return most;
  }
  /// The ways that a method is trained for, one training each.
  std::vector<Index> groups(const FewShotLearner& learner) const {
    if (learner.needs().any_ways) return {std::min(std::max(most_ways(), Index{20}), fewest_classes())};
    std::vector<Index> all;
    for (const HarnessSetting& setting : settings_)
      if (std::find(all.begin(), all.end(), setting.episode.ways) == all.end()) all.push_back(setting.episode.ways);
    return all;
  }
  Random random_of(Index seed) const { return Random(options_.training.seed + static_cast<std::uint64_t>(seed)); }
  FewShotLearner made(const std::string& method, Index ways, Index seed) const {
    LearnerSpec spec = options_.spec;
    spec.method = method;
    spec.ways = ways;
    return make_(spec, random_of(seed).stream("initialisation"), data_.table);
  }
  static std::string training_kind(const FewShotLearner& learner, Index ways) {
    return learner.trained_as() + (learner.trains() == Trains::classes ? "" : "-" + std::to_string(ways) + "-way");
  }
  std::string training_name(const FewShotLearner& learner, Index ways, Index seed) const {
    return training_kind(learner, ways) + "-seed-" +
           std::to_string(options_.training.seed + static_cast<std::uint64_t>(seed));
  }

  LearnerTraining training_of(const FewShotLearner& learner, Index ways, Index seed) const {
    LearnerTraining how = options_.training;
    how.seed += static_cast<std::uint64_t>(seed);
    how.episode.ways = ways;
    if (!learner.needs().any_ways) how.validation.ways = ways;
    how.validation.ways = std::min(how.validation.ways, data_.validation.most_ways());
    return how;
  }

  /// The rounds of a kind of training: timed once, of several ranks by the first, and kept beside its checkpoints.
  Index rounds_of(const FewShotLearner& learner, Index ways, Index shares, const LearnerTraining& how,
                  const Checkpoints& checkpoints) {
    if (options_.rounds > 0) return options_.rounds;
    const std::string kind = training_kind(learner, ways);
    if (const auto known = rounds_.find(kind); known != rounds_.end()) return known->second;
    std::string file = checkpoints.file(kind);
    if (!file.empty()) file.replace(file.size() - 4, 4, ".rounds");
    Index rounds = 0;
    if (!leads(how.train.ranks)) {
      // The first rank says.
    } else if (!file.empty() && ::access(file.c_str(), F_OK) == 0) {
      rounds = std::atoll(InputFile(file).read_text().c_str());
      if (rounds < 1) fail_file(file, "holds no number of rounds");
    } else {
      rounds =
          rounds_within(options_.budget / static_cast<double>(shares), learner, data_.train, data_.validation, how);
      if (!file.empty()) write_text(file, std::to_string(rounds) + "\n");
    }
    if (how.train.ranks) rounds = static_cast<Index>(how.train.ranks->of_first(static_cast<double>(rounds)));
    return rounds_[kind] = rounds;
  }

  FewShotLearner trained(const std::string& method, Index ways, Index seed, Index shares, HarnessReport& report,
                         const Checkpoints& checkpoints) {
    FewShotLearner learner = made(method, ways, seed);
    const FewShotLearner start = learner.trained_as() == method ? learner : made(learner.trained_as(), ways, seed);
    const std::string name = training_name(learner, ways, seed);
    auto shared = shared_.find(name);
    if (shared == shared_.end()) {
      LearnerTraining how = training_of(start, ways, seed);
      how.train.name = name;
      how.train.steps = rounds_of(start, ways, shares, how, checkpoints);
      shared = shared_.emplace(name, train_learner(start, data_.train, data_.validation, how, checkpoints)).first;
    }
    const Trained<FewShotLearner>& result = shared->second;
    report.rounds += result.steps;
    report.items += result.items;
    report.dropped += result.dropped;
    report.seconds += result.seconds;
    const Index validations = options_.training.train.validations;
    if (options_.rounds == 0 && result.steps < validations)
      report.shortage = "too few seconds for " + name + " (rounds: " + std::to_string(result.steps) +
                        ", validations: " + std::to_string(validations) + ")";
    if (seed == 0)
      report.curves.push_back({method + (start.needs().any_ways ? "" : ", " + std::to_string(ways) + "-way"),
                               result.history_steps, result.history});
    if (learner.trained_as() == method)
      learner = result.model;
    else
      learner = learner.with_embedding(*result.model.embedding());
    if (learner.trains() != Trains::classes) shared_.erase(shared);
    show_base(learner, data_.train, random_of(seed).stream("base"));
    return learner;
  }
  /// How many items each class has at least.
  static Index fewest_items(const EpisodeSource& source) {
    Index fewest = std::numeric_limits<Index>::max();
    for (const auto& classes : source.tasks)
      for (const Index c : classes) fewest = std::min(fewest, source.items.items[c].size());
    return fewest;
  }
  /// The most ways that training episodes of every list can have.
  Index fewest_classes() const {
    std::size_t fewest = classes_.size();
    for (const auto& classes : data_.train.tasks) fewest = std::min(fewest, classes.size());
    return static_cast<Index>(fewest);
  }
  const EpisodeSource& source_of(const HarnessSetting& setting) const {
    return setting.trained ? data_.train : data_.test;
  }
  std::vector<double> figures(const FewShotLearner& learner, std::size_t s) const {
    const HarnessSetting& setting = settings_[s];
    const StopFlag* stop = options_.training.train.stop;
    if (!setting.runs)
      return learner_accuracies(learner, source_of(setting), setting.episode, options_.tests,
                                Random(options_.training.seed).stream("test", static_cast<Index>(s)), stop);
    std::vector<double> errors = learner_accuracies(learner, *setting.runs, stop);
    for (double& figure : errors) figure = 1 - figure;
    return errors;
  }

  const FewShotData& data_;
  HarnessOptions options_;
  std::vector<HarnessSetting> settings_;
  Make make_;
  std::vector<Index> classes_;
  std::map<std::string, Index> rounds_;
  std::map<std::string, Trained<FewShotLearner>> shared_;
};

/// The reports as a table: a block for each of what methods see, in it a line a method: percent with 95 % interval over
/// episodes of means over seeds, then what training cost.
GRAFT_ONCE std::string harness_table(const std::vector<HarnessReport>& reports,
                                     const std::vector<HarnessSetting>& settings) {
  std::string table, notes;
  const auto line = [&](const std::string& name, const std::vector<std::string>& cells) {
    table += name;
    if (!cells.empty()) table += std::string(std::max<std::size_t>(30, name.size() + 1) - name.size(), ' ');
    for (const std::string& cell : cells)
      table += std::string(std::max<std::size_t>(16, cell.size() + 2) - cell.size(), ' ') + cell;
    table += "\n";
  };
  const auto text = [](const char* form, auto... numbers) {
    char cell[64];
    std::snprintf(cell, sizeof cell, form, numbers...);
    return std::string(cell);
  };
  for (const auto& [sees, head] :
       {std::pair(Sees::support, "inductive: the support alone"),
        std::pair(Sees::unlabelled, "semi-supervised: unlabelled items of the task too"),
        std::pair(Sees::queries, "transductive: the other queries too, equally many a class")}) {
    std::vector<std::string> heads;
    for (const HarnessSetting& setting : settings) heads.push_back(setting.head);
    for (const char* cost : {"rounds", "items/s", "training", "MiB"}) heads.push_back(cost);
    bool any = false;
    for (const HarnessReport& r : reports) {
      if (r.needs.sees != sees) continue;
      if (!std::exchange(any, true)) {
        if (!table.empty()) table += "\n";
        line(head, {});
        line("", heads);
      }
      std::vector<std::string> cells;
      for (std::size_t s = 0; !r.failed() && s < settings.size(); ++s) {
        const Interval interval = mean_interval(r.means(s));
        cells.push_back(text("%.2f +- %.2f", 100 * interval.mean, 100 * interval.ci95));
      }
      if (r.failed()) {
        notes += r.name + " failed: " + r.failure + "\n";
        cells.assign(settings.size(), "failed");
      }
      const bool trained = r.items > 0;
      cells.push_back(trained ? std::to_string(r.rounds) : "");
      cells.push_back(trained ? text("%.0f", static_cast<double>(r.items) / std::max(r.seconds, 1e-9)) : "");
      cells.push_back(trained ? text("%.0f s", r.seconds) : "none");
      cells.push_back(std::to_string(r.peak >> 20));
      line(r.name + (r.needs.any_ways || r.failed() ? "" : " (*)"), cells);
      if (!r.shares.empty()) notes += r.name + " shares the embedding and the training of " + r.shares + "\n";
      if (r.dropped > 0)
        notes += r.name + ": " + std::to_string(r.dropped) + " training items dropped, their loss was not finite\n";
      if (!r.shortage.empty()) notes += r.name + ": " + r.shortage + "\n";
    }
  }
  for (const HarnessReport& r : reports)
    if (!r.needs.any_ways && !r.failed()) {
      notes += "(*) fixed ways: one training for each number of ways, which share the seconds\n";
      break;
    }
  return table + (notes.empty() ? "" : "\n" + notes);
}
GRAFT_HELD(std::string harness_table<>(const std::vector<HarnessReport>&, const std::vector<HarnessSetting>&))

/// The validation accuracies of all trainings, a curve each.
inline std::vector<Curve> harness_curves(const std::vector<HarnessReport>& reports) {
  std::vector<Curve> curves;
  for (const HarnessReport& r : reports) curves.insert(curves.end(), r.curves.begin(), r.curves.end());
  return curves;
}

/// The reports as rows of a record: a method's figures in every setting, of every seed where there are several, and
/// what it was trained on.
GRAFT_ONCE std::vector<ResultRow> harness_rows(const std::vector<HarnessReport>& reports,
                                               const std::vector<HarnessSetting>& settings) {
  std::vector<ResultRow> rows;
  for (const HarnessReport& r : reports) {
    if (r.failed()) continue;
    const auto add = [&](const std::string& metric, const Interval& interval) {
      rows.push_back({r.name, metric, interval.mean, interval.ci95, interval.n, r.seconds});
    };
    for (std::size_t s = 0; s < settings.size(); ++s) {
      add(settings[s].metric, mean_interval(r.means(s)));
      for (std::size_t seed = 0; r.figures[s].size() > 1 && seed < r.figures[s].size(); ++seed)
        add(settings[s].metric + "-run-" + std::to_string(seed + 1), mean_interval(r.figures[s][seed]));
    }
    add("rounds", {static_cast<double>(r.rounds), 0, 1});
    add("training-items", {static_cast<double>(r.items), 0, 1});
  }
  return rows;
}
GRAFT_HELD(std::vector<ResultRow> harness_rows<>(const std::vector<HarnessReport>&, const std::vector<HarnessSetting>&))

}  // namespace GRAFT_ABI
}  // namespace graft
