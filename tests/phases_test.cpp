// The phases of collaborative training: pre-training, training together, adaptation of each task.

#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/losses.hpp"
#include "graft/protocol/phases.hpp"

using namespace graft;

namespace {

using Net = Linear<>;
Net make_net() { return Net(3, 1, Random(1)); }

/// Task t: y = (1 + t) sum x.
Tensor<> target(Index task, const Tensor<>& x) { return (1.0f + static_cast<float>(task)) * sum(x, {1}, true); }
TaskAnswer<> regress(const Net& net, Index task, const Random& random) {
  const Tensor<> x = randn<float>({16, 3}, random);
  return {mse(net(x), target(task, x)), 0};
}
double figure(const Net& net, Index task) {
  const Tensor<> x = randn<float>({100, 3}, Random(8));
  return -static_cast<double>(mse(net(x), target(task, x)).item());
}
double mean_figure_of(const Net& net) { return (figure(net, 0) + figure(net, 1) + figure(net, 2)) / 3; }

PhaseOptions options(const std::string& name, Index rounds) {
  return {.protocol = {.tasks_per_round = 2, .seed = 3},
          .learning_rate = 0.05,
          .train = {.name = name, .steps = rounds, .validations = 5, .quiet = true}};
}
Identity identity() {
  Identity identity;
  identity.add("what", "phases");
  return identity;
}

}  // namespace

TEST_CASE("pre-training by the protocol is a plain trainer, bit for bit", "[phases]") {
  PhaseOptions how = options("pretraining", 30);
  how.train.validations = 1;
  const auto objective = [](const Net& net, const Random& random) { return regress(net, 0, random).loss; };
  int calls = 0;
  const auto validate = [&](const Net&) { return static_cast<double>(++calls); };
  const PhaseResult<Net> result = run_pretraining(make_net(), objective, validate, how);
  Net net = make_net();
  Adam<Net> adam(net);
  const Schedule rate = Schedule::warm_up(1, Schedule::cosine(0.05, 29));  // 1 + 30 / 50 rounds of it
  for (Index step = 0; step < 30; ++step) {
    const Random draw = Random(3).stream("task").stream(std::uint64_t{0}).stream(static_cast<std::uint64_t>(step));
    adam.step(net, grad([&](const Net& m) { return objective(m, draw); }, net), rate(step));
  }
  for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, result.model, net);
  CHECK(calls == 1);
  CHECK(result.meter.of_task(0).episodes == 30);
}

TEST_CASE("each phase goes on from the one before, and is resumed by its name", "[phases]") {
  const Folder folder;
  const std::vector<std::string> names{"pretraining", "together", "own-0", "own-1", "own-2"};
  CHECK(adaptation_names("own", 3) == std::vector<std::string>{names.begin() + 2, names.end()});
  // Asked to stop after so many answers of tasks, of 40 + 120 + 240.
  const auto all = [&](const Checkpoints& checkpoints, int stop_after) {
    StopFlag stop;
    std::atomic<int> answers = 0;
    const auto with = [&](const std::string& name, Index rounds) {
      PhaseOptions how = options(name, rounds);
      how.train.stop = &stop;
      return how;
    };
    const auto counted = [&](const Net& net, Index task, const Random& random) {
      if (++answers == stop_after) stop.request();
      return regress(net, task, random);
    };
    const auto pretrained = run_pretraining(
        make_net(), [&](const Net& net, const Random& random) { return counted(net, 1, random).loss; },
        [](const Net& net) { return figure(net, 1); }, with("pretraining", 40), checkpoints);
    const auto together =
        run_phase(pretrained.model, 3, counted, mean_figure_of, with("together", 60), checkpoints);
    const auto own = adapt_tasks(together.model, 3, counted, figure, with("own", 80), checkpoints);
    return std::pair(together, own);
  };
  const auto [together, own] = all({}, -1);
  CHECK(together.meter.rounds() == 60);
  Index episodes = 0;
  for (Index task = 0; task < 3; ++task) episodes += together.meter.of_task(task).episodes;
  CHECK(episodes == 120);
  for (Index task = 0; task < 3; ++task) {  // no shared model serves three slopes
    const TaskAdaptation<Net>& one = own[task];
    CHECK(one.failure.empty());
    CHECK(one.before == figure(together.model, task));
    CHECK(one.after == figure(one.model, task));
    CHECK(one.after >= one.before);
    CHECK(one.adapted == (one.after > one.before));
  }
  CHECK(own[0].adapted);
  CHECK(own[2].adapted);
  CHECK(own[2].after > -0.05);

  // Stopped in each of the phases and resumed: the same bits. When all is over they are read from the files.
  int files = 0;
  for (int stop_after : {25, 60, 100, 1000, 1000}) {
    const Checkpoints checkpoints(folder / "runs", files++ > 0, identity(), names);
    if (stop_after < 1000) {
      CHECK_THROWS_AS(all(checkpoints, stop_after), Stopped);
      continue;
    }
    const auto [resumed, adapted] = all(checkpoints, stop_after);
    for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, resumed.model,
                       together.model);
    CHECK(same_bits(resumed.meter.figures.value, together.meter.figures.value));
    CHECK(same_bits(resumed.meter.cosines.value, together.meter.cosines.value));
    for (std::size_t task = 0; task < 3; ++task)
      for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, adapted[task].model,
                         own[task].model);
  }
}

TEST_CASE("a task that cannot adapt keeps the shared model, the others adapt as without it", "[phases]") {
  const Net shared = make_net();
  const PhaseOptions how = options("own", 40);
  const auto whole = adapt_tasks(shared, 3, regress, figure, how);
  for (int fault = 0; fault < 3; ++fault) {
    const auto broken = [&](const Net& net, Index task, const Random& random) {
      if (task == 1 && fault == 0) fail<FileError>("answer", "no data");
      TaskAnswer<> result = regress(net, task, random);
      if (task == 1 && fault == 1) result.loss = result.loss * std::numeric_limits<double>::quiet_NaN();
      if (task == 1 && fault == 2) result.loss = -1.0f * result.loss;  // adapts, and gets worse
      return result;
    };
    const auto own = adapt_tasks(shared, 3, broken, figure, how);
    REQUIRE(own.size() == 3);
    CHECK(own[1].failure.empty() == (fault == 2));
    if (fault == 0) CHECK_THAT(own[1].failure, contains("no data"));
    if (fault == 1) CHECK_THAT(own[1].failure, contains("own-1: diverged"));
    CHECK(!own[1].adapted);
    CHECK(same_bits(own[1].model.weight, shared.weight));
    for (std::size_t task : {0u, 2u}) CHECK(same_bits(own[task].model.weight, whole[task].model.weight));
  }
  // What is no task's fault is not taken for one.
  const auto no_figure = [](const Net& net, Index task) -> double {
    if (task == 1) fail("validate", "a slip");
    return figure(net, task);
  };
  CHECK_THROWS_WITH(adapt_tasks(shared, 3, regress, no_figure, how), contains("a slip"));
  StopFlag stop;
  stop.request();
  PhaseOptions stopped = how;
  stopped.train.stop = &stop;
  CHECK_THROWS_AS(adapt_tasks(shared, 3, regress, figure, stopped), Stopped);
}
