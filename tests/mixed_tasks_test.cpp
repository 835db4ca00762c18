// Tasks of different kinds in one run: items behind the number of their reader, mixtures of tasks, a task that fails,
// and joint against separate training.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/multitask/krum.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/pcgrad.hpp"
#include "graft/protocol/joint_or_separate.hpp"

using namespace graft;

namespace {

/// Vectors of 6 classes around corners, 30 of each: easy.
FewShotTask corners(const std::string& name, Index width = 6, Index each = 30, const std::string& reader = "corners") {
  const Tensor<> noise = randn<float>({6 * each, width}, Random(7).stream(name));
  const Tensor<> x = generate({6 * each, width}, [](Index i, Index k) { return i % 6 == k ? 3.0f : 0.0f; }) + noise;
  return set_task(name, reader, ItemKind::vectors, width,
                  vector_items(x, generate({6 * each}, [](Index i) { return i % 6; }), {}, name));
}
FewShotTask requests() { return text_task("bank", make_intents(Random(1)), {}, {.buckets = 64, .length = 8}); }
FewShotTask communities() {
  return node_task("graph", make_communities(Random(2), {.nodes = 300, .classes = 6, .width = 24}), "a graph");
}

constexpr MixtureOptions kSmall{
    .ways = 3, .shots = 2, .queries = 3, .train_ways = 4, .train_queries = 2, .validations = 3, .tests = 4};
MixedLearner learner_of(const TaskMixture& mixture) {
  return MixedLearner({mixture.encoder(Random(1)), GraphTransformer<>(Random(2))}, std::ssize(mixture.tasks), 4,
                      Random(3), {.on = false});
}
EpisodeTraining training(Index rounds, Index places) {
  EpisodeTraining how;
  how.protocol = {.tasks_per_round = places, .seed = 5};
  how.aggregator = MeanGradient();
  how.train = {.name = "mixed", .steps = rounds, .validations = 2, .quiet = true};
  return how;
}

/// Three aggregators are enough here.
Aggregator join(const std::string& name, Index) {
  if (name == "mean") return MeanGradient();
  if (name == "pcgrad") return PcGrad();
  if (name == "krum") return Krum();
  fail("join", {"there is none named ", name});
}

/// Answers with numbers that were decided before: `figure(arm, column)` in each of two episodes of each seed.
template <class Figure>
Experiment decided(const JointOrSeparate& both, Index seeds, const Figure& figure) {
  Experiment experiment({"", "", both.columns(), both.arms(), 1, seeds});
  experiment.run([&](const ExperimentUnit& unit) {
    UnitResult result{{}, 1, 1};
    for (const std::string& column : both.columns())
      result.figures.push_back(std::vector<double>(2, figure(unit.arm, column, unit.seed)));
    return result;
  });
  return experiment;
}

}  // namespace

TEST_CASE("a mixed encoder is each reader's own, and refuses what is of none", "[protocol]") {
  const FewShotTask words = requests(), points = corners("points");
  const TaskMixture mixture = mix_tasks({words, points}, kSmall, Random(1));
  REQUIRE(mixture.readers.size() == 2);
  const MixedEncoder encoder = mixture.encoder(Random(4), 16);
  const std::vector<Index> items{3, 8}, classes{0, 0};
  for (std::size_t t : {0u, 1u}) {
    const FewShotTask& task = t == 0 ? words : points;
    const Tensor<> plain = task.items.inputs(items, classes), tagged = mixture.tasks[t].items.inputs(items, classes);
    REQUIRE(tagged.shape() == Shape{2, task.size + 1});
    CHECK(tagged.at({1, 0}) == static_cast<float>(t));
    CHECK(same_bits(encoder(tagged, Context()), encoder.norms[t](encoder.encoders[t](plain, Context()))));
  }
  // Images have four axes, behind the tag as before.
  MixedEncoder images;
  images.add(backbones().make("conv4", {28, 1, 8}, Random(1), {}), {28, 28, 1}, 8);
  const Tensor<> x = rand<float>({2, 28, 28, 1}, Random(9));
  const Tensor<> flat = concat<float>({zeros<float>({2, 1}), reshape(x, {2, 784})}, 1);
  CHECK(same_bits(images(flat, Context()), images.norms[0](images.encoders[0](x, Context()))));

  const auto tag = [](std::vector<float> tags) {
    const auto n = static_cast<Index>(tags.size());
    return concat<float>({from_vector(std::move(tags), {n, 1}), zeros<float>({n, 6})}, 1);
  };
  CHECK_NOTHROW(encoder(tag({1, 1}), Context()));
  CHECK_THROWS_AS(encoder(tag({1, 0}), Context()), ValueError);
  CHECK_THROWS_AS(encoder(tag({2}), Context()), IndexError);
  CHECK_THROWS_AS(encoder(tag({-1}), Context()), IndexError);
  CHECK_THROWS_AS(encoder(tag({std::numeric_limits<float>::quiet_NaN()}), Context()), IndexError);
  CHECK_THROWS_AS(encoder(tag({0}), Context()), ShapeError);  // words are eight ids long
  CHECK_THROWS_AS(encoder(zeros<float>({0, 7}), Context()), ValueError);
  CHECK_THROWS_AS(encoder(zeros<float>({7}), Context()), ShapeError);
  CHECK_THROWS_AS(tagged_items(points.items, -1), ValueError);
  MixedEncoder less = encoder;
  less.norms.pop_back();
  CHECK_THROWS_WITH(less(tag({1}), Context()), contains("MixedEncoder: 1 norms for 2 encoders"));
  less = encoder;
  less.shapes.pop_back();
  CHECK_THROWS_WITH(less(tag({1}), Context()), contains("MixedEncoder: 1 shapes for 2 encoders"));
}

TEST_CASE("what a task gets does not depend on the others of its mixture", "[protocol]") {
  const FewShotTask words = requests(), nodes = communities(), points = corners("points");
  const TaskMixture all = mix_tasks({nodes, words, points, corners("others")}, kSmall, Random(1));
  const TaskMixture one = mix_tasks({words}, kSmall, Random(1));
  REQUIRE(all.tasks.size() == 4);
  CHECK(all.readers.size() == 3);  // two tasks of corners have one
  const MixedTask &own = one.tasks[0], &among = all.tasks[1];
  CHECK(own.classes == among.classes);
  for (const auto& [a, b] : {std::pair(&own.validation, &among.validation), std::pair(&own.test, &among.test)}) {
    REQUIRE(a->size() == b->size());
    for (std::size_t i = 0; i < a->size(); ++i) {
      CHECK((*a)[i].classes == (*b)[i].classes);
      CHECK((*a)[i].support == (*b)[i].support);
      CHECK((*a)[i].query == (*b)[i].query);
    }
  }
  // Initial values go by the reader's name.
  CHECK(same_bits(to_vector(all.encoder(Random(2)).encoders[1]), to_vector(one.encoder(Random(2)).encoders[0])));
  // Ways: as many as the part has. Six classes are two, two and two.
  CHECK(all.tasks[0].training.ways == 2);
  CHECK(all.tasks[0].test[0].classes.size() == 2);
  CHECK(own.training.ways == 4);
  CHECK(own.test[0].classes.size() == 3);
  for (const MixedTask& task : all.tasks)
    for (const auto& part : {task.validation, task.test})
      for (const EpisodeIndices& episode : part) check_disjoint(task.items, task.classes, episode.classes);

  CHECK_THROWS_AS(mix_tasks({}, kSmall, Random(1)), ValueError);
  CHECK_THROWS_AS(mix_tasks({words, words}, kSmall, Random(1)), ValueError);
  MixtureOptions bad = kSmall;
  bad.ways = 1;
  CHECK_THROWS_AS(mix_tasks({words}, bad, Random(1)), ValueError);
  CHECK_THAT(file_error([&] { mix_tasks({corners("few", 6, 4)}, kSmall, Random(1)); }),
             contains("few") && contains("4 items"));
}

TEST_CASE("a mixture is learned; a task that fails moves no other task's draws", "[protocol]") {
  const std::vector<FewShotTask> tasks{corners("a"), corners("b"), corners("c", 8, 30, "wide")};
  MixtureOptions sizes = kSmall;
  sizes.tests = 30;
  TaskMixture mixture = mix_tasks(tasks, sizes, Random(1));
  const auto good = train_on_mixture(learner_of(mixture), mixture, training(12, 3));
  for (Index t = 0; t < 3; ++t) {
    const MixedTask& task = mixture.tasks[t];
    CHECK(good.meter.of_task(t).failures == 0);
    CHECK(good.meter.of_task(t).episodes == 12);
    // Two shots of two classes 3 sqrt(2) standard deviations apart: far above chance, 0.5.
    CHECK(mean_interval(task_accuracies(good.model, task, t, task.test).accuracies).low() > 0.7);
  }
  // Task b throws, or gives what is not finite: the others train in the same bits.
  const auto show = mixture.tasks[1].items.inputs;
  mixture.tasks[1].items.inputs = [](std::span<const Index>, std::span<const Index>) -> Tensor<> {
    throw FileError("the disk is gone");
  };
  const auto thrown = train_on_mixture(learner_of(mixture), mixture, training(12, 3));
  const MixedTask broken = mixture.tasks[1];
  const TaskAccuracies none = task_accuracies(thrown.model, broken, 1, broken.test);
  CHECK(none.accuracies == std::vector<double>(30, 0.0));
  CHECK(none.failed == 30);
  mixture.tasks[1].items.inputs = [show](std::span<const Index> items, std::span<const Index> classes) {
    const Tensor<> x = show(items, classes);
    const Tensor<> tag = slice(x, 1, 0, 1);
    return concat<float>({tag, full<float>({x.size(0), x.size(1) - 1}, std::numeric_limits<float>::infinity())}, 1);
  };
  const auto infinite = train_on_mixture(learner_of(mixture), mixture, training(12, 3));
  for (const auto* run : {&thrown, &infinite}) {
    CHECK(run->meter.of_task(1).failures == 12);
    CHECK(run->meter.of_task(1).episodes == 0);
    CHECK(run->meter.of_task(0).failures == 0);
    // The same episodes: the first loss of each interval of one round is that of the run without a failure.
    CHECK(run->meter.of_task(0, 0).loss == good.meter.of_task(0, 0).loss);
    CHECK(run->meter.of_task(2, 0).loss == good.meter.of_task(2, 0).loss);
  }
  for (Index t : {Index{0}, Index{2}})
    for (Index i = 0; i < 12; ++i) CHECK(thrown.meter.of_task(t, i).loss == infinite.meter.of_task(t, i).loss);
  CHECK_THROWS_AS(train_on_mixture(learner_of(mixture), TaskMixture(), training(1, 1)), ValueError);
}

TEST_CASE("joint training of one task is separate training, bit for bit", "[protocol]") {
  JointOptions o{.mix = kSmall, .aggregates = {"mean"}};
  const JointOrSeparate both({requests()}, o, join);
  const UnitResult joint = both({"joint-mean", 0, 0}, 3, 2), separate = both({"separate-1", 0, 0}, 3, 2);
  REQUIRE(joint.figures.size() == 2);
  CHECK(joint.figures[0].size() == 4);
  CHECK(joint.figures[1].size() == 3);
  CHECK(joint.figures == separate.figures);
  CHECK(joint.rounds == 3);
  CHECK(joint.failures.empty());
  CHECK(separate.failures.empty());
}

TEST_CASE("what failed in a unit is kept with it", "[protocol]") {
  FewShotTask broken = corners("b");
  broken.items.inputs = [](std::span<const Index>, std::span<const Index>) -> Tensor<> {
    throw FileError("the disk is gone");
  };
  const JointOptions o{.mix = kSmall, .aggregates = {"mean"}, .episodes = 2};
  const JointOrSeparate both({corners("a"), broken}, o, join);
  const Folder folder;
  const ExperimentPlan plan{folder / "units", "", both.columns(), both.arms()};
  // Two tasks a round: b fails in each of three rounds, and in all of its 4 tests and 3 validations.
  const std::map<std::string, Index> expected{{"joint-mean, b", 3},
                                              {"joint-mean, b, tested", 7},
                                              {"separate-1, b", 3},
                                              {"separate-1, b, tested", 7}};
  {
    Experiment experiment(plan);
    experiment.run([&](const ExperimentUnit& unit) { return both(unit, 3, 1); });
    CHECK(experiment.failures() == expected);
  }
  CHECK(Experiment(plan).failures() == expected);
}

TEST_CASE("an aggregator that needs more episodes than a round has is refused before the first", "[protocol]") {
  const JointOptions o{.mix = kSmall, .aggregates = {"mean", "krum"}, .episodes = 2};
  CHECK_THROWS_AS(JointOrSeparate({corners("a"), corners("b")}, o, join), TooFewTasks);
  const TaskMixture mixture = mix_tasks({corners("a"), corners("b")}, kSmall, Random(1));
  EpisodeTraining how = training(1, 2);
  how.aggregator = Krum();
  CHECK_THROWS_AS(train_on_mixture(learner_of(mixture), mixture, how), TooFewTasks);
}

TEST_CASE("tasks of three kinds are trained with exchange, each aggregator and seed for itself", "[protocol]") {
  JointOptions o{.mix = kSmall, .aggregates = {"mean", "pcgrad"}, .exchange = "prototypes", .episodes = 3};
  const JointOrSeparate both({requests(), communities(), corners("points")}, o, join);
  CHECK(both.arms() == std::vector<std::string>{"separate-1", "separate-2", "joint-mean", "joint-pcgrad"});
  CHECK(both.columns() == std::vector<std::string>{"bank", "graph", "points", "validation of bank",
                                                   "validation of graph", "validation of points"});
  Experiment experiment({"", "", both.columns(), both.arms(), 1, 2});
  experiment.run([&](const ExperimentUnit& unit) { return both(unit, 2, 1); });
  const JointGains gains = both.gains(experiment, Random(1));
  REQUIRE(gains.tasks.size() == 3);
  CHECK(gains.chosen.size() == 2);
  CHECK(gains.validation.size() == 4);
  CHECK_THAT(gains.text(), contains("points") && contains("joint-pcgrad"));
  CHECK(gains.rows().size() == 4 * 3 + 2 + 4);
}

TEST_CASE("a second exchange is joint training once more, compared with the first", "[protocol]") {
  const JointOptions o{.mix = kSmall, .aggregates = {"mean", "pcgrad"}, .second_exchange = "prototypes", .episodes = 2};
  const JointOrSeparate both({corners("a"), corners("b")}, o, join);
  CHECK(both.arms() == std::vector<std::string>{"separate-1", "separate-2", "joint-mean", "joint-pcgrad",
                                                "joint-mean-prototypes", "joint-pcgrad-prototypes"});
  // An arm with the second exchange is what the arm of a run with that exchange is, the others are untouched by it.
  const JointOptions first{.mix = kSmall, .aggregates = {"mean", "pcgrad"}, .exchange = "prototypes", .episodes = 2};
  const JointOrSeparate exchanging({corners("a"), corners("b")}, first, join);
  CHECK(both({"joint-pcgrad-prototypes", 0, 0}, 3, 1).figures == exchanging({"joint-pcgrad", 0, 0}, 3, 1).figures);
  const JointOptions none{.mix = kSmall, .aggregates = {"mean"}, .episodes = 2};
  const JointOrSeparate without({corners("a"), corners("b")}, none, join);
  CHECK(both({"joint-mean", 0, 0}, 3, 1).figures == without({"joint-mean", 0, 0}, 3, 1).figures);

  // Validation likes pcgrad without and mean with the exchange.
  const auto figure = [](const std::string& arm, const std::string& column, Index) {
    const bool prototypes = arm.ends_with("-prototypes"), mean = arm.starts_with("joint-mean");
    if (arm.starts_with("separate")) return 0.1;
    if (column.starts_with("validation")) return prototypes == mean ? 0.9 : 0.8;
    const double first = mean ? 0.7 : 0.5, second = mean ? 0.6 : 0.2;
    return (prototypes ? second : first) + (column == "b" ? 0.05 : 0.0);
  };
  const Experiment experiment = decided(both, 2, figure);
  const JointGains gains = both.second_gains(experiment, Random(1));
  CHECK(gains.chosen == std::vector<std::string>(2, "joint-mean-prototypes"));
  CHECK(gains.validation.size() == 2);
  CHECK(gains.tasks[0].base.mean == Approx(0.5));
  CHECK(gains.tasks[1].joint.mean == Approx(0.65));
  CHECK(gains.all.difference.mean == Approx(0.1));
  CHECK_THAT(gains.text(), contains("joint prototypes minus joint off"));
  CHECK(gains.rows()[1].name == "joint prototypes, a");
  CHECK(both.gains(experiment, Random(1)).validation.size() == 4);
  CHECK_THROWS_AS(without.second_gains(experiment, Random(1)), ValueError);
}

TEST_CASE("the aggregator is chosen on validation alone, separate training for each task", "[protocol]") {
  JointOptions o{.mix = kSmall, .aggregates = {"mean", "pcgrad"}};
  const JointOrSeparate both({corners("a"), corners("b")}, o, join);
  // Validation likes joint-pcgrad, though joint-mean is best in the test; of a separate-1, of b separate-2.
  const auto figure = [](const std::string& arm, const std::string& column, Index seed) {
    const bool of_a = column.ends_with("a");
    if (column.starts_with("validation")) {
      if (arm == "joint-pcgrad") return 0.75;
      if (arm == "joint-mean") return seed == 0 ? 0.5 : 0.25;
      return (arm == "separate-1") == of_a ? 0.8 : 0.7;
    }
    if (arm == "joint-mean") return 1.0;
    if (arm == "joint-pcgrad") return of_a ? 0.6 : 0.3;
    return (arm == "separate-1") == of_a ? 0.5 : 0.9;
  };
  const JointGains gains = both.gains(decided(both, 2, figure), Random(1));
  CHECK(gains.chosen == std::vector<std::string>{"joint-pcgrad", "joint-pcgrad"});
  CHECK(gains.validation.at("joint-mean") == Approx(0.375));
  CHECK(gains.tasks[0].joint.mean == Approx(0.6));
  CHECK(gains.tasks[0].base.mean == Approx(0.5));
  CHECK(gains.tasks[0].difference.mean == Approx(0.1));
  CHECK(gains.tasks[1].joint.mean == Approx(0.3));
  CHECK(gains.tasks[1].base.mean == Approx(0.5));
  CHECK(gains.tasks[1].difference.mean == Approx(-0.2));
  CHECK(gains.all.joint.mean == Approx(0.45));
  CHECK(gains.all.difference.mean == Approx(-0.05));
  CHECK(gains.all.difference.low == Approx(-0.2));  // both tasks are b
  CHECK(gains.relative == Approx((0.1 / 0.5 - 0.2 / 0.5) / 2));
  CHECK(gains.hurt == 1);
  CHECK(gains.surely_better == 1);
  CHECK(gains.surely_worse == 1);
  CHECK_THAT(gains.text(), contains("chosen in 2 of 2 seeds"));
}

TEST_CASE("of trainings that are equal in validation but for rounding the first is chosen", "[protocol]") {
  const JointOptions o{.mix = kSmall, .aggregates = {"mean", "pcgrad"}};
  const JointOrSeparate both({corners("a")}, o, join);
  const auto figure = [](const std::string& arm, const std::string& column, Index) {
    const bool first = arm == "joint-mean" || arm == "separate-1";
    if (column.starts_with("validation")) return first ? 0.3 : 0.1 + 0.2;
    return first ? 0.4 : 0.9;
  };
  const JointGains gains = both.gains(decided(both, 1, figure), Random(1));
  CHECK(gains.chosen == std::vector<std::string>{"joint-mean"});
  CHECK(gains.tasks[0].base.mean == Approx(0.4));
}

TEST_CASE("tasks that cannot be had are left out with the reason", "[protocol]") {
  const auto make = [](const std::string& name) -> FewShotTask {
    if (name == "gone") throw FileError("graft: gone.npz: cannot open it");
    return corners(name, 6, name == "few" ? 3 : 30);
  };
  const JointOptions o{.mix = kSmall};
  const UsableTasks found = usable_tasks({"a", "gone", "few", "b"}, make, o, 2);
  REQUIRE(found.tasks.size() == 2);
  CHECK(found.tasks[1].name == "b");
  REQUIRE(found.left_out.size() == 2);
  CHECK(found.left_out[0] == std::pair<std::string, std::string>("gone", "gone.npz: cannot open it"));
  CHECK_THAT(found.left_out[1].second, contains("few") && contains("3 items"));
  CHECK_THROWS_AS(JointOrSeparate({}, o, join), ValueError);
  CHECK_THROWS_AS(JointOrSeparate({corners("a")}, {.aggregates = {"median"}}, join), ValueError);
  CHECK_THROWS_AS(JointOrSeparate({corners("a")}, {.exchange = "rumours"}, join), ValueError);
  CHECK_THROWS_AS(JointOrSeparate({corners("a")}, {.second_exchange = "rumours"}, join), ValueError);
  CHECK_THROWS_AS(JointOrSeparate({corners("a")}, {.second_exchange = "off"}, join), ValueError);
  CHECK(same_bits(randn<float>({3}, random_of_seed(o, 1)), randn<float>({3}, random_of_seed({.seed = 1}, 1))));
}
