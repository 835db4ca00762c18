// Scaled dot-product attention, value alone and value with gradient, as fractions of the multiply-add peak of one core
// measured around each. Masked pairs do not count as work.
//   attention --benchmark_filter=gradient --benchmark_repetitions=9 --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>

#include "graft/model/grad.hpp"
#include "graft/ops/attention.hpp"
#include "peak.hpp"

using namespace graft;

namespace {

/// Arguments: batch, heads, time, depth, causal, threads. `products` of T x T x depth a head make the work.
template <class Run>
void measure(benchmark::State& state, double products, Run attend) {
  const Shape shape{state.range(0), state.range(1), state.range(2), state.range(3)};
  const std::vector<Tensor<float>> x{randn<float>(shape, Random(1)), randn<float>(shape, Random(2)),
                                     randn<float>(shape, Random(3))};
  const AttentionOptions<float> options{.causal = state.range(4) != 0};
  const auto threads_used = static_cast<int>(state.range(5));
  set_threads(threads_used);
  double peak = bench::fma_peak<float>();
  for (auto _ : state) attend(x, options);
  peak = (peak + bench::fma_peak<float>()) / 2;
  set_threads(0);
  const double pairs =
      static_cast<double>(shape[2]) * static_cast<double>(options.causal ? shape[2] + 1 : 2 * shape[2]) / 2;
  const double flops = 2 * products * pairs * static_cast<double>(shape[0] * shape[1] * shape[3] * state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(flops / (peak * threads_used), benchmark::Counter::kIsRate);
}
void value(benchmark::State& state) {
  measure(state, 2, [](const auto& x, const auto& options) {
    benchmark::DoNotOptimize(scaled_dot_product_attention(x[0], x[1], x[2], options));
  });
}
void value_and_gradient(benchmark::State& state) {
  measure(state, 7, [](const auto& x, const auto& options) {
    benchmark::DoNotOptimize(grad(
        [&](const std::vector<Tensor<float>>& v) {
          return sum(scaled_dot_product_attention(v[0], v[1], v[2], options));
        },
        x));
  });
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"batch", "heads", "time", "depth", "causal", "threads"})
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
  for (Index causal : {0, 1})
    for (Index count : {1, 2}) {
      bench->Args({8, 8, 256, 64, causal, count});
      bench->Args({1, 8, 2048, 64, causal, count});
    }
  bench->Args({32, 8, 128, 32, 0, 1});
  bench->Args({1, 4, 30, 16, 0, 1});  // an episode of thirty items
}
BENCHMARK(value)->Apply(shapes);
BENCHMARK(value_and_gradient)->Apply(shapes);

}  // namespace

BENCHMARK_MAIN();
