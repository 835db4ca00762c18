// The three products of a convolution of 3 x 3 kernels, and pooling, at the sizes of a four-layer embedding of
// characters; rates as fractions of the multiply-add peak of one core measured around each.
//   conv --benchmark_filter=forward --benchmark_repetitions=9 --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>

#include "graft/model/grad.hpp"
#include "graft/ops/conv.hpp"
#include "graft/ops/pool.hpp"
#include "peak.hpp"

using namespace graft;

namespace {

/// Arguments: batch, size of the map, channels in, channels out, stride, threads.
struct Layer {
  explicit Layer(const benchmark::State& state)
      : options{.stride = state.range(4), .padding = 1},
        x(randn<float>({state.range(0), state.range(1), state.range(1), state.range(2)}, Random(1))),
        weight(randn<float>({state.range(3), state.range(2), 3, 3}, Random(2))),
        y(conv2d(x, weight, options)) {}
  double work() const { return 2.0 * static_cast<double>(y.count() * x.size(3) * 9); }

  ConvOptions options;
  Tensor<float> x, weight, y;
};

template <class Run>
void measure(benchmark::State& state, Run product) {
  const Layer layer(state);
  const auto threads_used = static_cast<int>(state.range(5));
  set_threads(threads_used);
  double peak = bench::fma_peak<float>();
  for (auto _ : state) benchmark::DoNotOptimize(product(layer));
  peak = (peak + bench::fma_peak<float>()) / 2;
  set_threads(0);
  const double flops = layer.work() * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(flops / (peak * threads_used), benchmark::Counter::kIsRate);
}
void forward(benchmark::State& state) {
  measure(state, [](const Layer& l) { return conv2d(l.x, l.weight, l.options); });
}
void to_input(benchmark::State& state) {
  measure(state, [](const Layer& l) { return conv2d_input(l.y, l.weight, l.x.shape(), l.options); });
}
void to_weight(benchmark::State& state) {
  measure(state, [](const Layer& l) { return conv2d_weight(l.x, l.y, l.weight.shape(), l.options); });
}

void layers(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"batch", "size", "in", "out", "stride", "threads"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (Index count : {1, 2}) {
    bench->Args({32, 28, 64, 64, 1, count});
    bench->Args({100, 28, 1, 64, 1, count});
    bench->Args({100, 14, 64, 64, 1, count});
  }
  bench->Args({100, 7, 64, 64, 1, 1})->Args({100, 3, 64, 64, 1, 1})->Args({32, 28, 64, 64, 2, 1});
  bench->Args({5, 14, 32, 32, 1, 1});  // an episode of five images
}
BENCHMARK(forward)->Apply(layers);
BENCHMARK(to_input)->Apply(layers);
BENCHMARK(to_weight)->Apply(layers);

/// Arguments: batch, size of the map, channels; windows 2 x 2, value and gradient.
void max_pool(benchmark::State& state) {
  const auto x = randn<float>({state.range(0), state.range(1), state.range(1), state.range(2)}, Random(1));
  const auto loss = [](const Tensor<float>& v) { return sum(max_pool2d(v)); };
  for (auto _ : state) benchmark::DoNotOptimize(grad(loss, x));
  state.SetBytesProcessed(state.iterations() * x.count() * static_cast<Index>(sizeof(float)));
}
BENCHMARK(max_pool)->ArgNames({"batch", "size", "channels"})->UseRealTime()->Args({100, 28, 64})->Args({100, 14, 64});

}  // namespace

BENCHMARK_MAIN();
