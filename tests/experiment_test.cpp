// Experiments: units are done once and kept, a stopped run goes on, comparisons are those of their parts, and files of
// another plan are refused.

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/evaluate/experiment.hpp"

using namespace graft;

namespace {

ExperimentPlan plan_in(const std::string& folder) {
  return {.folder = folder,
          .identity = "data: one\nshots: 1\n",
          .columns = {"near", "far"},
          .arms = {"base", "control", "method"},
          .folds = 3,
          .seeds = 2};
}

/// Four episodes a column, which depend on the unit alone.
UnitResult result_of(const ExperimentUnit& unit) {
  const double arm = unit.arm == "base" ? 0 : unit.arm == "control" ? 0.25 : 0.5;
  UnitResult result{{}, 10 + unit.fold, 2.5};
  for (const double far : {0.0, 0.1}) {
    result.figures.emplace_back();
    for (Index episode = 0; episode < 4; ++episode)
      result.figures.back().push_back(arm - far + 0.01 * static_cast<double>(unit.fold + episode) +
                                      0.002 * static_cast<double>(unit.seed));
  }
  return result;
}

}  // namespace

TEST_CASE("experiment: a unit is done once, also by a later run of the same plan", "[experiment_test]") {
  const Folder folder;
  std::atomic<Index> calls{0};
  const auto work = [&](const ExperimentUnit& unit) {
    ++calls;
    return result_of(unit);
  };
  {
    Experiment experiment(plan_in(folder / "units"));
    CHECK(experiment.missing() == 18);
    CHECK(experiment.rounds_of("control") == 0);
    experiment.run(work);
    CHECK(experiment.rounds_of("control") == 10);
    CHECK(experiment.missing() == 0);
    experiment.run(work);
    CHECK(calls == 18);
  }
  Experiment again(plan_in(folder / "units"));
  CHECK(again.missing() == 0);
  for (const std::string arm : {"base", "control", "method"}) {
    const FoldFigures figures = again.figures(arm, "far");
    REQUIRE(figures.size() == 3);
    for (Index fold = 0; fold < 3; ++fold)
      for (Index seed = 0; seed < 2; ++seed) CHECK(figures[fold][seed] == result_of({arm, fold, seed}).figures[1]);
  }
}

TEST_CASE("experiment: a run that was stopped goes on with the units that are missing", "[experiment_test]") {
  const Folder folder;
  set_threads(1);
  std::vector<std::string> done;
  {
    Experiment experiment(plan_in(folder / "units"));
    StopFlag stop;
    const auto work = [&](const ExperimentUnit& unit) {
      done.push_back(unit.arm);
      if (done.size() == 4) stop.request();
      return result_of(unit);
    };
    CHECK_THROWS_AS(experiment.run(work, &stop), Stopped);
    CHECK(experiment.missing() == 14);
    // All arms of a repetition come before the next one.
    CHECK(done == std::vector<std::string>{"base", "control", "method", "base"});
    CHECK_THROWS_WITH(experiment.compare("control", Random(1)), contains("control, fold 0, seed 1 was not run"));
  }
  set_threads(0);
  Experiment again(plan_in(folder / "units"));
  CHECK(again.missing() == 14);
  again.run(result_of);
  CHECK(again.missing() == 0);
}

TEST_CASE("experiment: comparisons are paired by episode and corrected over the arms", "[experiment_test]") {
  Experiment experiment(plan_in(""));
  experiment.run(result_of);
  const std::vector<ArmFigure> figures = experiment.compare("control", Random(7));
  REQUIRE(figures.size() == 6);
  const ArmFigure &base = figures[0], &control = figures[1], &method = figures[2], &far = figures[5];
  CHECK((base.arm == "base" && control.arm == "control" && method.arm == "method" && far.column == "far"));
  // Means over folds 0..2 and episodes 0..3 of the figures above.
  CHECK(method.mean.mean == Approx(0.5 + 0.01 + 0.015 + 0.001));
  CHECK(far.mean.mean == Approx(0.4 + 0.01 + 0.015 + 0.001));
  // The differences of the arms do not vary at all: intervals of no width; the control's is to the base.
  CHECK(method.difference.low == Approx(0.25));
  CHECK(method.difference.high == Approx(0.25));
  CHECK(base.difference.mean == Approx(-0.25));
  CHECK(control.difference.mean == Approx(0.25));
  CHECK(method.mean.high > method.mean.low);
  // Six pairs of one sign: Wilcoxon's p is 2 / 2^6, twice as much by Holm; the control's test is the base's.
  CHECK(method.p == Approx(2 * 2.0 / 64));
  CHECK(control.p == base.p);
  const std::vector<ArmFigure> of_base = experiment.compare("base", Random(7));
  CHECK((of_base[0].other == "base" && of_base[0].p == 1 && of_base[0].difference.mean == 0));
  CHECK(of_base[2].p == Approx(2 * 2.0 / 64));
  CHECK(method.seconds == Approx(2.5));
  CHECK(method.rounds == 11);
  CHECK((method.other == "control" && control.other == "base" && base.other == "control"));
  // Of several controls the one with the highest mean, which is compared with the base.
  const std::vector<ArmFigure> hardest =
      experiment.compare(std::vector<std::string>{"base", "method", "control"}, Random(7));
  CHECK((hardest[0].other == "method" && hardest[1].other == "method" && hardest[2].other == "base"));
  CHECK(hardest[1].difference.mean == Approx(-0.25));
  CHECK_THROWS_WITH(experiment.compare(std::vector<std::string>(), Random(1)), contains("no control"));
}

TEST_CASE("experiment: what does not fit is refused", "[experiment_test]") {
  const Folder folder;
  ExperimentPlan plan = plan_in(folder / "units");
  {
    Experiment experiment(plan);
    CHECK_THROWS_WITH(experiment.figures("nobody", "near"), contains("base, control, method"));
    CHECK_THROWS_WITH(experiment.run([](const ExperimentUnit&) {
      return UnitResult{{{1}}, 1, 1};
    }),
                      contains("1 lists of figures for 2 columns"));
    experiment.run(result_of);
  }
  const std::string file = folder / "units/method-fold2-seed1.json";
  plan.identity = "data: two\n";
  CHECK_THAT(file_error([&] { Experiment experiment(plan); }), contains("other options or data"));
  plan = plan_in(folder / "units");
  for (const std::string text : {"", "{", "[]", "{\"identity\": 3}"}) {
    put(file, text);
    CHECK_THAT(refusal(file, [&] { Experiment experiment(plan); }), contains("no unit"));
  }
  plan.arms.clear();
  CHECK_THROWS_AS(Experiment(plan), ValueError);
}
