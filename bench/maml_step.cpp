// One meta-step of MAML, second order: sinusoid regression with a 1-40-40-1 network, ten shots, 25 tasks (Finn, Abbeel,
// Levine 2017), tasks in parallel, gradients averaged in task order.
//   maml_step --benchmark_repetitions=9 --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>

#include "graft/fewshot/maml.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/losses.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/protocol/aggregation.hpp"

using namespace graft;

namespace {

struct Net {
  Linear<> first, second, last;
  GRAFT_FIELDS(first, second, last)
  Tensor<> operator()(const Tensor<>& x) const { return last(relu(second(relu(first(x))))); }
};
struct Points {
  Tensor<> x, y;
};
struct Task {
  Points support, query;
};

Points draw(double amplitude, double phase, const Random& random) {
  const Tensor<> x = rand({10, 1}, random, -5, 5);
  return {x, amplitude * sin(x - phase)};
}

/// Arguments: inner steps, first order, threads.
void meta_step(benchmark::State& state) {
  const Random random(1);
  const Net theta{{1, 40, random.stream("first")}, {40, 40, random.stream("second")}, {40, 1, random.stream("last")}};
  std::vector<Task> tasks;
  for (std::uint64_t t = 0; t < 25; ++t) {
    const Random own = random.stream("task").stream(t);
    const double amplitude = own.uniform(0, 0.1, 5), phase = own.uniform(1, 0, 3.14159265358979);
    tasks.push_back({draw(amplitude, phase, own.stream("support")), draw(amplitude, phase, own.stream("query"))});
  }
  const MamlOptions options{
      .alpha = 0.01, .steps = static_cast<int>(state.range(0)), .first_order = state.range(1) != 0};
  const auto loss = [](const Net& net, const Points& points) { return mse(net(points.x), points.y); };
  set_threads(static_cast<int>(state.range(2)));
  Aggregator average = MeanGradient();
  std::vector<Net> gradients(tasks.size());
  for (auto _ : state) {
    parallel_tasks(static_cast<Index>(tasks.size()), [&](Index t) {
      const auto at = static_cast<std::size_t>(t);
      gradients[at] = grad([&](const Net& own) { return maml_loss(own, tasks[at], loss, options); }, theta);
    });
    benchmark::DoNotOptimize(aggregate(gradients, average, random));
  }
  set_threads(0);
}
BENCHMARK(meta_step)
    ->ArgNames({"steps", "first_order", "threads"})
    ->ArgsProduct({{1, 5}, {0, 1}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
