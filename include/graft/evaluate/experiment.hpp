#pragma once
// A planned comparison: arms (methods, controls, ablations) times folds times seeds, one small file a unit, so that a
// run of many hours goes on where it was stopped, and a table that is made from the files alone.

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/core/stop.hpp"
#include "graft/evaluate/bootstrap.hpp"
#include "graft/evaluate/machine.hpp"
#include "graft/evaluate/paired.hpp"
#include "graft/io/claim.hpp"
#include "graft/io/json.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One training and its test.
struct ExperimentUnit {
  std::string arm;
  Index fold = 0, seed = 0;
};

/// What a unit came to.
struct UnitResult {
  std::vector<std::vector<double>> figures;  ///< [columns][episodes]; the same episodes for all arms of a fold and seed
  Index rounds = 0;                          ///< of training, which a replay repeats
  double seconds = 0;                        ///< that they took
  /// What failed and is in the figures all the same, as episodes that count as wrong, by name: how often.
  std::map<std::string, Index> failures = {};
};

/// What is compared, decided before the first run.
struct ExperimentPlan {
  std::string folder;                ///< of the units' files; "": nothing is kept
  std::string identity;              ///< everything that the units depend on but arm, fold and seed
  std::vector<std::string> columns;  ///< kinds of episodes
  std::vector<std::string> arms;     ///< the base first, then controls
  Index folds = 1, seeds = 1;
};

/// An arm's column: its mean, and the mean of its differences to another arm on the same episodes.
struct ArmFigure {
  std::string arm, column;
  std::string other;                   ///< the arm that it is compared with
  BootstrapInterval mean, difference;  ///< over folds, then seeds, then episodes
  double p = 1;                        ///< of Wilcoxon's test on the units' means; by Holm over all but the control
  double seconds = 0;                  ///< mean of a unit
  Index rounds = 0;                    ///< mean of a unit
};

/// The units of a plan.
///
///     Experiment experiment({.folder = "records", .identity = text, .columns = {"5-way"}, .arms = arms, .folds = 6});
///     experiment.run(train_and_test, stop);                      // units without a file, several at a time
///     for (const ArmFigure& figure : experiment.compare("masked_soft_kmeans", random)) ...
class Experiment {
 public:
  /// Reads the units that are there and claims the folder. Throws ValueError for a plan without arms, columns, folds or
  /// seeds, and FileError for a unit's file that cannot be read or that is of another plan.
  explicit Experiment(ExperimentPlan plan, Site site = Site::current()) : plan_(std::move(plan)) {
    if (plan_.arms.empty() || plan_.columns.empty() || plan_.folds < 1 || plan_.seeds < 1)
      fail("Experiment",
           {plan_.arms.size(), " arms, ", plan_.columns.size(), " columns, ", plan_.folds, " folds, ", plan_.seeds,
            " seeds"},
           {}, site);
    for (const std::string& arm : plan_.arms)
      for (Index fold = 0; fold < plan_.folds; ++fold)
        for (Index seed = 0; seed < plan_.seeds; ++seed) units_.push_back({{arm, fold, seed}, {}, false});
    if (plan_.folder.empty()) return;
    std::error_code error;
    std::filesystem::create_directories(plan_.folder, error);
    if (error) fail_file(plan_.folder, {"cannot make the folder: ", error.message()});
    claim_ = std::make_shared<FolderClaim>(plan_.folder);
    for (Unit& unit : units_)
      if (std::filesystem::exists(file(unit.is), error)) read(unit);
  }

  /// Units that have no result yet.
  Index missing() const {
    Index count = 0;
    for (const Unit& unit : units_) count += !unit.done;
    return count;
  }

  /// Rounds that a unit of the arm took, which the others repeat; 0 before any is done. Throws ValueError for an arm
  /// that there is not.
  Index rounds_of(const std::string& arm, Site site = Site::current()) const {
    place(plan_.arms, arm, "arm", site);
    for (const Unit& unit : units_)
      if (unit.done && unit.is.arm == arm) return unit.result.rounds;
    return 0;
  }

  /// What failed in the units that are done, whenever that was: "ARM, NAME" and how often in all.
  std::map<std::string, Index> failures() const {
    std::map<std::string, Index> all;
    for (const Unit& unit : units_)
      for (const auto& [name, times] : unit.result.failures) all[unit.is.arm + ", " + name] += times;
    return all;
  }

  /// Does the units that have no result, as tasks in parallel, seeds and folds before arms so that whatever is done
  /// when the run is stopped compares all arms; keeps each when it ends. `work(unit)` -> UnitResult. Throws Stopped,
  /// what `work` throws, and ValueError for figures that are not one list a column.
  template <class Work>
  void run(const Work& work, const StopFlag* stop = nullptr, Site site = Site::current()) {
    std::vector<Unit*> open;
    const std::size_t repeats = static_cast<std::size_t>(plan_.folds * plan_.seeds);
    for (std::size_t repeat = 0; repeat < repeats; ++repeat)
      for (std::size_t arm = 0; arm < plan_.arms.size(); ++arm)
        if (Unit& unit = units_[arm * repeats + repeat]; !unit.done) open.push_back(&unit);
    std::mutex files;
    parallel_tasks(static_cast<Index>(open.size()), [&](Index i) {
      if (stop_requested(stop)) throw Stopped("graft: stopped between units of the experiment; run again to go on");
      Unit& unit = *open[static_cast<std::size_t>(i)];
      UnitResult result = work(unit.is);
      if (result.figures.size() != plan_.columns.size())
        fail("Experiment",
             {"a unit of ", unit.is.arm, " gave ", result.figures.size(), " lists of figures for ",
              plan_.columns.size(), " columns"},
             {}, site);
      const std::lock_guard lock(files);
      unit.result = std::move(result);
      unit.done = true;
      if (!plan_.folder.empty()) write(unit);
    });
  }

  /// Figures of an arm in a column, [folds][seeds][episodes]. Throws ValueError for a name that there is not, or while
  /// a unit is missing.
  FoldFigures figures(const std::string& arm, const std::string& column, Site site = Site::current()) const {
    const std::size_t c = place(plan_.columns, column, "column", site);
    FoldFigures all(static_cast<std::size_t>(plan_.folds));
    for (const Unit* unit : units_of(arm, site))
      all[static_cast<std::size_t>(unit->is.fold)].push_back(unit->result.figures[c]);
    return all;
  }

  /// Every arm in every column, with its paired difference to the control: that of `controls` with the highest mean in
  /// the column (of the control itself: to the base, the first arm). Throws as `figures`, and ValueError for no
  /// controls.
  std::vector<ArmFigure> compare(const std::vector<std::string>& controls, const Random& random,
                                 Site site = Site::current()) const {
    if (controls.empty()) fail("Experiment", "no control to compare with", {}, site);
    std::vector<ArmFigure> all;
    for (const std::string& column : plan_.columns) {
      std::vector<ArmFigure> of_column;
      std::string control;
      double highest = 0;
      for (const std::string& candidate : controls)
        if (const double mean = detail::mean_of(unit_means(figures(candidate, column, site)));
            control.empty() || mean > highest) {
          control = candidate;
          highest = mean;
        }
      std::vector<double> p;
      for (const std::string& arm : plan_.arms) {
        const std::string& against = arm == control ? plan_.arms[0] : control;
        const FoldFigures own = figures(arm, column, site), other = figures(against, column, site);
        ArmFigure figure{arm, column, against, hierarchical_bootstrap(own, random, {}, site),
                         hierarchical_bootstrap(own, other, random, {}, site)};
        for (const Unit* unit : units_of(arm, site)) {
          figure.seconds += unit->result.seconds / static_cast<double>(plan_.folds * plan_.seeds);
          figure.rounds += unit->result.rounds;
        }
        figure.rounds /= plan_.folds * plan_.seeds;
        const std::vector<double> own_means = unit_means(own), other_means = unit_means(other);
        if (arm != control) p.push_back(wilcoxon_signed_rank(own_means, other_means, site).p);
        of_column.push_back(std::move(figure));
      }
      const std::vector<double> corrected = holm(p, site);
      std::size_t test = 0;
      for (ArmFigure& figure : of_column) {
        if (figure.arm != control) figure.p = corrected[test++];
        if (figure.arm == control && figure.other != control) figure.p = corrected[0];  // the base's test
        all.push_back(std::move(figure));
      }
    }
    return all;
  }
  /// The same with one control in all columns.
  std::vector<ArmFigure> compare(const std::string& control, const Random& random, Site site = Site::current()) const {
    return compare(std::vector<std::string>{control}, random, site);
  }

 private:
  struct Unit {
    ExperimentUnit is;
    UnitResult result;
    bool done = false;
  };

  std::string file(const ExperimentUnit& unit) const {
    return plan_.folder + "/" + unit.arm + "-fold" + detail::as_text(unit.fold) + "-seed" + detail::as_text(unit.seed) +
           ".json";
  }
  static std::size_t place(const std::vector<std::string>& names, const std::string& name, const char* what,
                           Site site) {
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] == name) return i;
    fail("Experiment", {"no ", what, " is called '", name, "'; there are ", detail::listed(names)}, {}, site);
  }
  std::vector<const Unit*> units_of(const std::string& arm, Site site) const {
    place(plan_.arms, arm, "arm", site);
    std::vector<const Unit*> own;
    for (const Unit& unit : units_) {
      if (unit.is.arm != arm) continue;
      if (!unit.done)
        fail("Experiment", {arm, ", fold ", unit.is.fold, ", seed ", unit.is.seed, " was not run"}, {}, site);
      own.push_back(&unit);
    }
    return own;
  }
  static std::vector<double> unit_means(const FoldFigures& figures) {
    std::vector<double> means;
    for (const auto& fold : figures)
      for (const auto& episodes : fold) means.push_back(detail::mean_of(episodes));
    return means;
  }
  void read(Unit& unit) const {
    const std::string path = file(unit.is);
    const auto json = nlohmann::json::parse(InputFile(path).read_text(), nullptr, false);
    try {
      if (json.at("identity").get<std::string>() != plan_.identity)
        fail_file(path, {"is of an experiment with other options or data; choose another folder"});
      for (const std::string& column : plan_.columns)
        unit.result.figures.push_back(json.at("figures").at(column).get<std::vector<double>>());
      unit.result.rounds = json.at("rounds").get<Index>();
      unit.result.seconds = json.at("seconds").get<double>();
      if (json.contains("failures")) unit.result.failures = json.at("failures").get<std::map<std::string, Index>>();
    } catch (const nlohmann::json::exception&) {
      fail_file(path, {"is no unit of an experiment with these columns"});
    }
    unit.done = true;
  }
  void write(const Unit& unit) const {
    std::string columns;
    for (std::size_t c = 0; c < plan_.columns.size(); ++c)
      columns += (c == 0 ? "\n    " : ",\n    ") + json_text(plan_.columns[c]) + ": [" +
                 detail::joined(unit.result.figures[c], json_number) + "]";
    const std::string failures = detail::joined(unit.result.failures, [](const auto& failed) {
      return json_text(failed.first) + ": " + std::to_string(failed.second);
    });
    write_text(file(unit.is),
               "{\n  \"arm\": " + json_text(unit.is.arm) + ",\n  \"fold\": " + std::to_string(unit.is.fold) +
                   ",\n  \"seed\": " + std::to_string(unit.is.seed) + ",\n  \"rounds\": " +
                   std::to_string(unit.result.rounds) + ",\n  \"seconds\": " + json_number(unit.result.seconds) +
                   (failures.empty() ? "" : ",\n  \"failures\": {" + failures + "}") +
                   ",\n  \"machine\": " + json_text(machine_name()) +
                   ",\n  \"identity\": " + json_text(plan_.identity) + ",\n  \"figures\": {" + columns + "\n  }\n}\n");
  }

  ExperimentPlan plan_;
  std::vector<Unit> units_;
  std::shared_ptr<FolderClaim> claim_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
