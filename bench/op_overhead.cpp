// What an op costs besides its arithmetic: small tensors, with and without a tape, forward and backward.
//   op_overhead --benchmark_repetitions=9 --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>

#include "graft/model/grad.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/matmul.hpp"

using namespace graft;

namespace {

/// One product of two tensors of `range(0)` floats that leaves no node behind.
void untaped(benchmark::State& state) {
  const Tensor<> x = ones({state.range(0)}), y = ones({state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(x * y);
}
BENCHMARK(untaped)->Arg(8)->Arg(1024);

/// The same with a tracked factor: value, node and saved argument.
void taped(benchmark::State& state) {
  const Tensor<> x = variable(ones({state.range(0)})), y = ones({state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(x * y);
}
BENCHMARK(taped)->Arg(8)->Arg(1024);

/// Forward and backward of a product, an op of a chain of 100.
void chain(benchmark::State& state) {
  const Tensor<> start = ones({state.range(0)}), factor = ones({state.range(0)}), seed = ones({state.range(0)});
  const bool create_graph = state.range(1) != 0;
  const auto product = [&](const Tensor<>& x) {
    Tensor<> y = x;
    for (int i = 0; i < 100; ++i) y = y * factor;
    return y;
  };
  for (auto _ : state) benchmark::DoNotOptimize(vjp(product, start, seed, {.create_graph = create_graph}));
  state.counters["per_op"] =
      benchmark::Counter(100, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK(chain)->ArgNames({"count", "create_graph"})->Args({8, 0})->Args({8, 1})->Args({1024, 0});

/// A whole call of `grad` on a function of one op and a sum.
void grad_call(benchmark::State& state) {
  const Tensor<> x = ones({8}), y = ones({8});
  const auto loss = [&](const Tensor<>& v) { return sum(v * y); };
  for (auto _ : state) benchmark::DoNotOptimize(grad(loss, x));
}
BENCHMARK(grad_call);

/// Other ops whose own work is next to nothing.
void op_with_tape(benchmark::State& state) {
  const Tensor<> x = variable(ones({2, 4})), y = ones({4, 2});
  switch (state.range(0)) {
    case 0:
      for (auto _ : state) benchmark::DoNotOptimize(matmul(x, y));
      break;
    case 1:
      for (auto _ : state) benchmark::DoNotOptimize(sum(x, {1}));
      break;
    case 2:
      for (auto _ : state) benchmark::DoNotOptimize(tanh(x));
      break;
    case 3:
      for (auto _ : state) benchmark::DoNotOptimize(map([](auto a) { return a * a + 1; }, x));
      break;
    case 4:
      for (auto _ : state) benchmark::DoNotOptimize(reshape(x, {8}));
      break;
    default:
      for (auto _ : state) benchmark::DoNotOptimize(x * 2.0f);
  }
  static constexpr const char* names[] = {"matmul", "sum", "tanh", "map", "reshape", "times number"};
  state.SetLabel(names[state.range(0)]);
}
BENCHMARK(op_with_tape)->DenseRange(0, 5);

}  // namespace

BENCHMARK_MAIN();
