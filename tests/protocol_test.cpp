// The collaborative training protocol: what its rounds promise.

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/model/grad.hpp"
#include "graft/multitask.hpp"
#include "graft/multitask/constant.hpp"
#include "graft/multitask/curriculum.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/losses.hpp"
#include "graft/optim/adam.hpp"
#include "graft/optim/sgd.hpp"
#include "graft/protocol/round.hpp"
#include "two_layers.hpp"

using namespace graft;
using namespace two_layers;

namespace {

/// Task t regresses on t times the sum of its inputs; the batch is drawn from the given stream.
TaskAnswer<> regress(const Net& net, Index task, const Random& random) {
  const Tensor<> x = randn<float>({8, 4}, random.stream("inputs"));
  const Tensor<> y = static_cast<double>(task) * sum(x, {1}, true);
  const Tensor<> loss = mse(net(x), y);
  return {loss, static_cast<double>(loss.item())};
}

using State = ProtocolState<Net, Adam<Net>>;
State start(Index tasks, Aggregator aggregator = MeanGradient(), Scheduler scheduler = UniformTasks()) {
  const Net net = make_net();
  return start_protocol(net, Adam<Net>(net), tasks, std::move(aggregator), std::move(scheduler));
}

/// The mean of this round's and all earlier gradients' weights on the tasks: remembers how often each took part.
struct Counting {
  Buffer<double> seen;  ///< [all tasks]
  GRAFT_FIELDS(seen)

  Combination operator()(TaskGradients& gradients) {
    if (!seen.value.defined() || seen.value.count() != gradients.all_tasks)
      seen.value = zeros<double>({gradients.all_tasks});
    std::vector<double> counts(seen.value.span().begin(), seen.value.span().end()), weights;
    for (Index task : gradients.ids) weights.push_back(1 / ++counts[task]);
    seen.value = from_vector(counts);
    return {.weights = from_vector(weights)};
  }
};
Aggregator counting(Index tasks) {
  Counting fresh;
  fresh.seen.value = zeros<double>({tasks});
  return fresh;
}

/// The parts as another process would give them: only numbers and texts pass; those of odd places are made first, and
/// the last ones first.
struct Elsewhere {
  template <class Compute>
  std::vector<RoundPart<Net>> operator()(const Net& model, Index places, const Compute& compute) const {
    std::vector<RoundPart<Net>> parts(places);
    for (Index odd : {1, 0})
      for (Index i = places - 1; i >= 0; --i) {
        if (i % 2 != odd) continue;
        const RoundPart<Net> part = compute(i);
        RoundPart<Net>& to = parts[i];
        to = {.loss = part.loss, .metric = part.metric, .failure = part.failure, .threw = part.threw};
        if (part.gradient) to.gradient = from_vector(to_vector(*part.gradient), model);
      }
    return parts;
  }
};

bool equal_bits(const State& a, const State& b) {
  bool equal = same_bits(a.draws, b.draws) && same_bits(a.round, b.round) && same_bits(a.losses.value, b.losses.value);
  const auto compare = [&](const auto& x, const auto& y) { equal = equal && same_bits(x, y); };
  for_each_parameter(compare, a.model, b.model);
  for_each_parameter(compare, a.optimizer, b.optimizer);
  return equal && same_bits(a.optimizer.steps.value, b.optimizer.steps.value) &&
         same_bits(a.meter.figures.value, b.meter.figures.value) &&
         same_bits(a.meter.conflict.value, b.meter.conflict.value) &&
         same_bits(a.meter.cosines.value, b.meter.cosines.value);
}

State run(State state, int rounds, const ProtocolOptions& options) {
  for (int i = 0; i < rounds; ++i) run_round(state, regress, 1e-2, options);
  return state;
}

std::string scratch(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("graft_protocol_" + std::to_string(::getpid()) + "_" + name))
      .string();
}

}  // namespace

TEST_CASE("one task with uniform scheduling is the plain trainer, bit for bit", "[protocol]") {
  const ProtocolOptions options{.tasks_per_round = 1, .seed = 11};
  const State protocol = run(start(1), 20, options);

  Net net = make_net();
  Adam<Net> adam(net);
  for (std::uint64_t step = 0; step < 20; ++step) {
    const Random draw = Random(11).stream("task").stream(std::uint64_t{0}).stream(step);
    adam.step(net, grad([&](const Net& m) { return regress(m, 0, draw).loss; }, net), 1e-2);
  }
  for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, protocol.model, net);
}

TEST_CASE("any number of threads gives the same bits over a whole run", "[protocol][threads]") {
  for (const std::string& how : aggregators().names()) {
    const ProtocolOptions options{.tasks_per_round = 5, .seed = 5, .clip = 1};
    set_threads(1);
    const State one = run(start(7, aggregators().make(how, 7)), 15, options);
    CHECK(one.round.item() == 15);
    for (int threads : {2, 3, 8}) {
      set_threads(threads);
      CHECK(equal_bits(run(start(7, aggregators().make(how, 7)), 15, options), one));
    }
    set_threads(0);
  }
}

TEST_CASE("resuming at any round equals never having stopped, bit for bit", "[protocol]") {
  const ProtocolOptions options{.tasks_per_round = 3, .seed = 7};
  const std::string file = scratch("resume.npz");
  std::vector<Aggregator> all{counting(5)};
  for (const std::string& name : aggregators().names()) all.push_back(aggregators().make(name, 5));
  for (const Aggregator& aggregator : all) {
    const State whole = run(start(5, aggregator), 9, options);
    for (int stop : {0, 1, 2, 5, 9}) {
      save_checkpoint(file, run(start(5, aggregator), stop, options));
      State resumed = start(5, aggregator);
      load_checkpoint(file, resumed);
      CHECK(resumed.round.item() == stop);
      CHECK(equal_bits(run(std::move(resumed), 9 - stop, options), whole));
    }
  }
  std::filesystem::remove(file);
}

TEST_CASE("whatever the scheduler remembers is resumed, bit for bit", "[protocol]") {
  const ProtocolOptions options{.tasks_per_round = 3, .seed = 7};
  const std::string file = scratch("scheduler.npz");
  const Tensor<double> sizes = tensor<double>({5, 1, 30, 8, 0.5});
  std::vector<Scheduler> all{TemperatureSampling(sizes, {.annealing = 6, .low_discrepancy = true}),
                             CompetenceCurriculum(sizes, {.rounds = 8}), SelfPaced({.growth = 1.05})};
  for (const std::string& name : schedulers().names()) all.push_back(schedulers().make(name, sizes));
  for (const Scheduler& scheduler : all) {
    const auto begin = [&] { return start(5, MeanGradient(), scheduler); };
    const State whole = run(begin(), 16, options);
    for (int stop : {0, 1, 5, 11, 16}) {
      save_checkpoint(file, run(begin(), stop, options));
      State resumed = begin();
      load_checkpoint(file, resumed);
      resumed = run(std::move(resumed), 16 - stop, options);
      CHECK(equal_bits(resumed, whole));
      save_checkpoint(file, resumed);  // the scheduler's own state too: no array differs
      State loaded = begin();
      load_checkpoint(file, loaded);
      CHECK(equal_bits(run(std::move(loaded), 2, options), run(whole, 2, options)));
    }
  }
  std::filesystem::remove(file);
}

TEST_CASE("a scheduler sees the round and the latest loss of each task that took part", "[protocol]") {
  struct Recording {
    std::vector<ScheduleInput>* seen;
    GRAFT_FIELDS()
    GRAFT_CONFIG(seen)
    std::vector<Index> operator()(const ScheduleInput& input) const {
      seen->push_back(input);
      // Task 1 twice, task 0 in even rounds, task 2, which fails, always; task 3 never.
      return input.round % 2 == 0 ? std::vector<Index>{0, 1, 1, 2} : std::vector<Index>{1, 1, 2};
    }
  };
  std::vector<ScheduleInput> seen;
  State state = start(4, MeanGradient(), Recording{&seen});
  Index call = 0;
  set_threads(1);
  // Task 0 answers round + 1; task 1 twice, 10 and 20 more than the round; task 2 once with a loss, then with none.
  const auto answer = [&](const Net& net, Index task, const Random&) {
    const Index round = static_cast<Index>(seen.size()) - 1;
    double loss = static_cast<double>(round) + 1;
    if (task == 1) loss += call++ % 2 == 0 ? 10 : 20;
    if (task == 2 && round > 0) loss = std::numeric_limits<double>::quiet_NaN();
    return TaskAnswer<>{0.0 * sum(net.head.weight) + loss, 0};
  };
  for (int round = 0; round < 4; ++round) run_round(state, answer, 1e-2, {.tasks_per_round = 4, .seed = 3});
  set_threads(0);
  REQUIRE(seen.size() == 4);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::vector<double>> expected{
      {nan, nan, nan, nan}, {1, 16, 1, nan}, {1, 17, 1, nan}, {3, 18, 1, nan}};
  for (std::size_t round = 0; round < 4; ++round) {
    CHECK(seen[round].round == static_cast<Index>(round));
    CHECK(seen[round].tasks == 4);
    CHECK(seen[round].wanted == 4);
    CHECK(seen[round].random == Random(3).stream("scheduler").stream(static_cast<std::uint64_t>(round)));
    for (std::size_t i = 0; i < 4; ++i) {
      const double loss = seen[round].losses.at({static_cast<Index>(i)}), right = expected[round][i];
      CHECK((loss == right || (std::isnan(loss) && std::isnan(right))));
    }
  }
  CHECK(state.losses.value.at({0}) == 3);
  CHECK(state.losses.value.at({1}) == 19);
  // They are numbers of the state, no parameters: what walks over parameters does not see a NaN.
  CHECK(all_finite(state.model));
  int visited = 0;
  for_each_named_parameter([&](const std::string& name, const auto&) { visited += name == "losses"; }, state);
  CHECK(visited == 0);
}

TEST_CASE("an error of a scheduler names the caller of the round", "[protocol]") {
  State state = start(4, MeanGradient(), TemperatureSampling(ones<double>({3})));
  CHECK_THROWS_WITH(run_round(state, regress, 1e-2, {}),
                    contains("TemperatureSampling: made for 3 tasks, not 4") && contains("protocol_test.cpp"));
  State uniform = start(4);
  CHECK_THROWS_WITH(run_round(uniform, regress, 1e-2, {.tasks_per_round = 0}),
                    contains("uniform_tasks: 0 of 4 tasks") && contains("protocol_test.cpp"));
}

TEST_CASE("a task that fails is dropped and leaves the others' draws unchanged", "[protocol]") {
  // Both runs schedule the same tasks; in one of them task 2 answers with what is not a finite number, in the loss or
  // in the gradient alone. The figures that the others draw are recorded.
  enum class Fault { none, loss, gradient };
  for (Fault fault : {Fault::loss, Fault::gradient}) {
    std::vector<std::vector<float>> seen[2];
    Index dropped[2] = {0, 0}, took_part[2] = {0, 0};
    for (int broken = 0; broken < 2; ++broken) {
      set_threads(1);
      State state = start(4);
      for (int round = 0; round < 8; ++round) {
        const auto answer = [&](const Net& net, Index task, const Random& random) {
          TaskAnswer<> result = regress(net, task, random);
          if (task != 2) {
            const Tensor<> x = randn<float>({8, 4}, random.stream("inputs"));
            seen[broken].emplace_back(x.span().begin(), x.span().end());
          } else if (broken && fault == Fault::loss) {
            result.loss = result.loss * std::numeric_limits<double>::quiet_NaN();
          } else if (broken) {  // sqrt(0) is finite, its slope is not
            result.loss = result.loss + sqrt(sum(net.head.weight - net.head.weight.detach()));
          }
          return result;
        };
        const RoundReport report = run_round(state, answer, 1e-2, {.tasks_per_round = 3, .seed = 9});
        dropped[broken] += report.dropped;
        took_part[broken] += report.tasks;
        CHECK(std::isfinite(report.loss));
      }
      for_each_parameter(
          [](const auto& p) {
            for (float value : p.span()) CHECK(std::isfinite(value));
          },
          state.model);
      set_threads(0);
    }
    CHECK(dropped[0] == 0);
    CHECK(dropped[1] > 0);
    CHECK(took_part[1] + dropped[1] == took_part[0]);
    CHECK(seen[0] == seen[1]);
  }
}

TEST_CASE("a task of weight 0 changes no shared parameter", "[protocol]") {
  const auto run_with = [](double factor) {  // of task 1's loss
    State state = start(3, ConstantWeights{{1, 0, 0.5}});
    const auto answer = [&](const Net& net, Index task, const Random& random) {
      TaskAnswer<> result = regress(net, task, random);
      if (task == 1) result.loss = factor * result.loss;
      return result;
    };
    for (int round = 0; round < 8; ++round) run_round(state, answer, 1e-2, {.tasks_per_round = 3, .seed = 4});
    return state.model;
  };
  const Net one = run_with(1), other = run_with(-50);
  for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, one, other);
}

TEST_CASE("tasks of unequal sizes take part as they are", "[protocol]") {
  const Index sizes[] = {1, 7, 300};
  const auto answer = [&](const Net& net, Index task, const Random& random) {
    const Tensor<> x = randn<float>({sizes[task], 4}, random.stream("inputs"));
    return TaskAnswer<>{mse(net(x), sum(x, {1}, true)), 0};
  };
  const Net net = make_net();
  auto state = start_protocol(net, Sgd<Net>(net), 3);
  run_round(state, answer, 0.1, {.tasks_per_round = 3, .seed = 6});
  Net by_hand = net;
  for (Index task = 0; task < 3; ++task) {
    const Random draw = Random(6).stream("task").stream(static_cast<std::uint64_t>(task)).stream(std::uint64_t{0});
    by_hand = by_hand - 0.1 / 3 * grad([&](const Net& m) { return answer(m, task, draw).loss; }, net);
  }
  for_each_parameter([](const auto& a, const auto& b) { CHECK(all_close(a, b, 1e-5, 1e-7)); }, state.model, by_hand);
}

TEST_CASE("a round in which every task fails changes nothing but the counters", "[protocol]") {
  State state = start(3);
  const Net before = state.model;
  const auto broken = [](const Net& net, Index, const Random&) {
    return TaskAnswer<>{sum(net.head.weight) * std::numeric_limits<double>::infinity(), 0};
  };
  const RoundReport report = run_round(state, broken, 1e-2, {.tasks_per_round = 3});
  CHECK(report.tasks == 0);
  CHECK(report.dropped == 3);
  CHECK(state.round.item() == 1);
  for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, state.model, before);
}

TEST_CASE("a task whose answer throws is isolated: the others train as if it had not been drawn", "[protocol]") {
  // Task 1 throws, gives a NaN, or an infinite gradient: in all three runs the others' steps are the same bits, those
  // of a protocol in which the scheduler had left its places out.
  struct Leaving {
    bool all = true;  // else without task 1
    GRAFT_FIELDS()
    GRAFT_CONFIG(all)
    std::vector<Index> operator()(const ScheduleInput& input) const {
      std::vector<Index> drawn = uniform_tasks(input.tasks, input.wanted, input.random);
      if (!all) std::erase(drawn, 1);
      return drawn;
    }
  };
  const ProtocolOptions options{.tasks_per_round = 3, .seed = 21};
  const State without = [&] {
    State state = start(4, MeanGradient(), Leaving{false});
    for (int round = 0; round < 10; ++round) run_round(state, regress, 1e-2, options);
    return state;
  }();
  for (int fault = 0; fault < 4; ++fault) {
    const auto broken = [&](const Net& net, Index task, const Random& random) {
      if (task == 1 && fault == 0) fail<FileError>("answer", "no data");
      if (task == 1 && fault == 1) throw 7;
      TaskAnswer<> result = regress(net, task, random);
      if (task == 1 && fault == 2) result.loss = result.loss * std::numeric_limits<double>::quiet_NaN();
      if (task == 1 && fault == 3) result.loss = result.loss + sqrt(sum(net.head.weight - net.head.weight.detach()));
      return result;
    };
    State state = start(4, MeanGradient(), Leaving{true});
    Index failed = 0;
    for (int round = 0; round < 10; ++round) {
      const RoundReport report = run_round(state, broken, 1e-2, options);
      CHECK(static_cast<Index>(report.failures.size()) == report.dropped);
      CHECK(report.tasks + report.dropped == 3);
      for (const TaskFailure& failure : report.failures) {
        CHECK(failure.task == 1);
        const std::string reasons[] = {"no data", "no std::exception", "not a number", "gradient is not finite"};
        CHECK(contains(reasons[fault]).match(failure.reason));
      }
      failed += report.dropped;
    }
    CHECK(failed > 0);
    CHECK(state.meter.of_task(1).failures == failed);
    for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, state.model, without.model);
    for (Index task : {0, 2, 3}) CHECK(state.draws.at({task}) == without.draws.at({task}));
  }
}

TEST_CASE("what may not be isolated ends the round and leaves the state as it was", "[protocol]") {
  State state = start(3);
  const State before = state;
  const auto throwing = [](auto error, Index in) {
    return [=](const Net& net, Index task, const Random& random) {
      if (task == in || in < 0) throw error;
      return regress(net, task, random);
    };
  };
  const ProtocolOptions all{.tasks_per_round = 3}, strict{.tasks_per_round = 3, .isolate = false};
  CHECK_THROWS_AS(run_round(state, throwing(FileError("no data"), 1), 1e-2, strict), FileError);
  CHECK_THROWS_AS(run_round(state, throwing(Stopped("asked to"), 1), 1e-2, all), Stopped);
  CHECK_THROWS_AS(run_round(state, throwing(std::bad_alloc(), 2), 1e-2, all), std::bad_alloc);
  // With every task's answer broken the program is, not a task: its exception comes through as it is.
  CHECK_THROWS_AS(run_round(state, throwing(IndexError("a slip"), -1), 1e-2, all), IndexError);
  CHECK(equal_bits(state, before));
}

TEST_CASE("a round is a function of its parts, wherever they were computed", "[protocol]") {
  const ProtocolOptions options{.tasks_per_round = 3, .seed = 2, .clip = 1};
  const auto answer = [](const Net& net, Index task, const Random& random) {
    if (task == 4) fail("answer", "no data");
    return regress(net, task, random);
  };
  State here = start(5, PcGrad()), there = start(5, PcGrad());
  for (int round = 0; round < 8; ++round) {
    const RoundReport a = run_round(here, answer, 1e-2, options);
    const RoundReport b = run_round(there, answer, 1e-2, options, Elsewhere());
    CHECK(a.loss == b.loss);
    CHECK(a.dropped == b.dropped);
  }
  CHECK(equal_bits(here, there));
  CHECK(same_bits(here.meter.figures.value, there.meter.figures.value));
  CHECK(same_bits(here.meter.cosines.value, there.meter.cosines.value));
  const auto hopeless = [](const Net&, Index, const Random&) -> TaskAnswer<> { fail<FileError>("answer", "no data"); };
  CHECK_THROWS_WITH(run_round(there, hopeless, 1e-2, options, Elsewhere()), contains("no data"));
}

TEST_CASE("rounds with a failing task are the same on any number of threads, and resumed", "[protocol][threads]") {
  const ProtocolOptions options{.tasks_per_round = 4, .seed = 31};
  const auto broken = [](const Net& net, Index task, const Random& random) {
    if (task == 1) fail("answer", "no data");
    TaskAnswer<> result = regress(net, task, random);
    if (task == 5) result.loss = result.loss / 0.0;
    return result;
  };
  const auto go = [&](State state, int rounds) {
    for (int i = 0; i < rounds; ++i) run_round(state, broken, 1e-2, options);
    return state;
  };
  const auto begin = [] {
    return start(6, aggregators().make("gradvac", 6), schedulers().make("exp3", ones<double>({6})));
  };
  const std::string file = scratch("failing.npz");
  set_threads(1);
  const State one = go(begin(), 12);
  CHECK(one.meter.of_task(1).failures + one.meter.of_task(5).failures > 0);
  CHECK(one.meter.of_task(1).episodes == 0);
  for (int threads : {2, 3, 8}) {
    set_threads(threads);
    CHECK(equal_bits(go(begin(), 12), one));
  }
  set_threads(0);
  for (int stop = 0; stop <= 12; ++stop) {
    save_checkpoint(file, go(begin(), stop));
    State resumed = begin();
    load_checkpoint(file, resumed);
    CHECK(equal_bits(go(std::move(resumed), 12 - stop), one));
  }
  std::filesystem::remove(file);
}

TEST_CASE("robust aggregation withstands a task whose gradients are garbage", "[protocol]") {
  // Five tasks learn the sum of the inputs. Task 4's gradients are finite and everything but that: noise of a thousand
  // times their length.
  const auto error_with = [](const std::string& aggregator, bool garbage) {
    State state = start(5, aggregators().make(aggregator, 5));
    const auto answer = [&](const Net& net, Index task, const Random& random) {
      TaskAnswer<> result = regress(net, 1, random);
      if (garbage && task == 4) {
        result.loss = 0.0 * result.loss;
        for_each_parameter(
            [&](const auto& p) {
              result.loss = result.loss + sum(p * randn<float>(p.shape(), random.stream("garbage")) * 1000.0f);
            },
            net);
      }
      return result;
    };
    for (int round = 0; round < 150; ++round) run_round(state, answer, 1e-2, {.tasks_per_round = 5, .seed = 6});
    const Tensor<> x = randn<float>({500, 4}, Random(77));
    return static_cast<double>(mse(state.model(x), sum(x, {1}, true)).item());
  };
  const double clean = error_with("mean", false), spoiled = error_with("mean", true);
  INFO("mean " << clean << ", with garbage " << spoiled);
  CHECK(spoiled > 10 * clean);
  for (const std::string robust : {"krum", "trimmed_mean"}) {
    const double error = error_with(robust, true), without = error_with(robust, false);
    INFO(robust << " " << without << ", with garbage " << error);
    CHECK(error < 2 * without + 0.01);
    CHECK(error < spoiled / 5);
  }
}

TEST_CASE("a robust aggregator makes no step where failed tasks leave it too few", "[protocol]") {
  // Of three tasks one fails now and then; both aggregators need three.
  const auto answer = [](const Net& net, Index task, const Random& random) {
    if (task == 1 && random.uniform(0) < 0.3) fail("answer", "no data");
    return regress(net, 1, random);
  };
  for (const std::string robust : {"krum", "trimmed_mean"}) {
    State state = start(3, aggregators().make(robust, 3));
    Index skipped = 0;
    for (int round = 0; round < 30; ++round) {
      const Net before = state.model;
      const RoundReport report = run_round(state, answer, 1e-2, {.tasks_per_round = 3, .seed = 6});
      INFO(robust << ", round " << round << ": " << report.no_step);
      CHECK(report.no_step.empty() == (report.dropped == 0));
      if (report.dropped > 0) CHECK_THAT(report.no_step, contains("2 tasks") && contains("at least 3"));
      skipped += report.dropped;
      bool same = true;
      for_each_parameter([&](const auto& a, const auto& b) { same = same && same_bits(a, b); }, before, state.model);
      CHECK(same == (report.dropped > 0));
    }
    CHECK(skipped > 3);
    CHECK(state.round.item() == 30);
    CHECK(state.meter.of_task(1).failures == skipped);
    for (Index task = 0; task < 3; ++task) CHECK(state.draws.at({task}) == 30);
    // Where none has failed, it is a mistake of whoever set the sizes.
    const auto sound = [](const Net& net, Index, const Random& random) { return regress(net, 1, random); };
    CHECK_THROWS_AS(run_round(state, sound, 1e-2, {.tasks_per_round = 2, .seed = 6}), TooFewTasks);
    CHECK(state.round.item() == 30);
  }
}

TEST_CASE("a meter moves no bit of the training", "[protocol]") {
  const auto with = [](const MeterOptions& meter) {
    const Net net = make_net();
    auto state = start_protocol(net, Adam<Net>(net), 5, PcGrad(), UniformTasks(), meter);
    return run(std::move(state), 10, {.tasks_per_round = 3, .seed = 1}).model;
  };
  const Net off = with({.intervals = 0}), each = with({}), rare = with({.intervals = 2, .matrices = 0, .every = 4});
  for_each_parameter(
      [](const auto& a, const auto& b, const auto& c) {
        CHECK(same_bits(a, b));
        CHECK(same_bits(a, c));
      },
      off, each, rare);
}

TEST_CASE("the meter of a run has the conflict figures of its gradients", "[protocol]") {
  // Gradients of a linear loss are its coefficients: 1 and 3 times the same, and the opposite of it.
  const auto answer = [](const Net& net, Index task, const Random&) {
    const double factors[] = {1, 3, -2};
    return TaskAnswer<>{factors[task] * sum(net.head.weight), 0.5};
  };
  State state = start(3);
  for (int round = 0; round < 4; ++round) run_round(state, answer, 0.0, {.tasks_per_round = 3});
  const ConflictFigures figures = state.meter.conflicts();
  CHECK(figures.conflicts == Approx(2.0 / 3));
  CHECK(figures.mean_cosine == Approx(-1.0 / 3));
  CHECK(figures.largest_ratio == Approx(3));
  const Tensor<double> cosines = state.meter.mean_cosines();
  CHECK(cosines.at({0, 1}) == Approx(1));
  CHECK(cosines.at({2, 1}) == Approx(-1));
  CHECK(state.meter.of_task(1).metric == 0.5);
  CHECK(state.meter.seconds.all >= state.meter.seconds.work);
  CHECK(state.meter.seconds.work > 0);
}

/// Bytes of this process that are in memory now.
Index resident_bytes() {
  std::ifstream file("/proc/self/statm");
  Index size = 0, resident = 0;
  file >> size >> resident;
  return resident * static_cast<Index>(::sysconf(_SC_PAGESIZE));
}

TEST_CASE("rounds of a trivial task hold no more memory than ten", "[protocol][soak]") {
  // Two tasks a round, one of which fails now and then; a million rounds in tests/long.sh.
  const int rounds = amount("GRAFT_SOAK_STEPS", 100000);
  struct Point {
    Tensor<> x;
    GRAFT_FIELDS(x)
  };
  const Point begin{ones({2})};
  auto state = start_protocol(begin, Sgd<Point>(begin), 3, PcGrad());
  const auto answer = [](const Point& point, Index task, const Random& random) {
    if (task == 2 && random.uniform(0) < 0.1) fail("answer", "no data");
    return TaskAnswer<>{sum(square(point.x - randn<float>({2}, random))), 0};
  };
  const auto go = [&](int from, int to) {
    Index episodes = 0;
    for (int round = from; round < to; ++round)
      episodes += run_round(state, answer, 1e-3, {.tasks_per_round = 2, .seed = 5}).tasks;
    return episodes;
  };
  set_threads(1);
  go(0, 100);
  const MemoryStats before = memory_stats();
  const Index resident = resident_bytes();
  const Index episodes = go(100, 100 + rounds);
  const MemoryStats after = memory_stats();
  set_threads(0);
#ifndef __SANITIZE_ADDRESS__  // which keeps what was freed
  CHECK(resident_bytes() - resident < Index{4} << 20);  // containers of all kinds, not tensors alone
#endif
  CHECK(episodes > 1.8 * rounds);
  CHECK(state.meter.rounds() == 100 + rounds);
  CHECK(after.bytes_in_use == before.bytes_in_use);
  CHECK(after.system_bytes == before.system_bytes);
  CHECK(after.system_allocations == before.system_allocations);
}

TEST_CASE("what is chosen by name names its choices when there is none", "[protocol]") {
  CHECK_THROWS_WITH(aggregators().make("median", 2), contains("'median'") && contains("mean, sum"));
  CHECK_THROWS_WITH(schedulers().make("greedy", ones<double>({2})),
                    contains("'greedy'") && contains("uniform, round_robin"));
}

TEST_CASE("a finite gradient of any size takes part in a round", "[protocol]") {
  // The squares of 1e20 and their sum are beyond float's range.
  const auto answer = [](const Net& net, Index, const Random&) { return TaskAnswer<>{1e20 * sum(net.head.weight), 0}; };
  State state = start(2);
  const RoundReport report = run_round(state, answer, 1e-2, {.tasks_per_round = 2, .seed = 1, .clip = 1});
  CHECK(report.dropped == 0);
  CHECK(report.tasks == 2);
  for_each_parameter([](const auto& p) { CHECK(all_finite(p)); }, state.model);
}

TEST_CASE("the scheduler draws tasks uniformly, each once while there are enough", "[protocol]") {
  std::vector<int> often(6);
  for (std::uint64_t round = 0; round < 3000; ++round) {
    const auto drawn = uniform_tasks(6, 2, Random(1).stream(round));
    REQUIRE(drawn.size() == 2);
    CHECK(drawn[0] < drawn[1]);
    for (Index task : drawn) ++often[task];
  }
  // Chi-square with 5 degrees of freedom: above 20.5 with probability 0.001. Draws without replacement vary less.
  double chi = 0;
  for (int count : often) chi += (count - 1000.0) * (count - 1000.0) / 1000.0;
  CHECK(chi < 20.5);
  // More than there are: every task floor or ceil of chosen / tasks times, in order.
  const auto many = uniform_tasks(3, 7, Random(2));
  REQUIRE(many.size() == 7);
  for (Index task = 0; task < 3; ++task) {
    const auto count = std::count(many.begin(), many.end(), task);
    CHECK((count == 2 || count == 3));
  }
  CHECK(std::is_sorted(many.begin(), many.end()));
  REQUIRE_THROWS_AS(uniform_tasks(0, 1, Random(1)), ValueError);
  REQUIRE_THROWS_AS(uniform_tasks(3, 0, Random(1)), ValueError);
}
