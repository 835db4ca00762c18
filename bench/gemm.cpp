// Rate of the matrix product, and its fraction of the multiply-add peak measured around it: cubes, a long skinny
// product (features of a citation graph), a convolution as a product, tall and batched products.
//   gemm --benchmark_filter=1024 --benchmark_repetitions=9 --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>

#include <chrono>
#include <vector>

#include "graft/backend/cpu/gemm.hpp"
#include "graft/core/random.hpp"
#include "peak.hpp"

using namespace graft;
using cpu::gemm;
using cpu::gemm_batched;

namespace {

/// Aligned as the data of tensors is.
template <class T>
using Numbers = std::vector<T, detail::CacheAllocator<T>>;

template <class T>
Numbers<T> numbers(Index count, const char* name) {
  const Random random = Random(0).stream(name);
  Numbers<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(random.uniform(i, -1, 1));
  return values;
}

/// Runs `product` of `work` multiply-adds on `count` threads; reports FLOP/s and the fraction of `count` peaks.
template <class T, class Run>
void measure(benchmark::State& state, double work, int count, Run product) {
  set_threads(count);
  product();
  double peak = bench::fma_peak<T>();
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    product();
    benchmark::ClobberMemory();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  peak = (peak + bench::fma_peak<T>()) / 2;
  set_threads(0);
  const double rate = 2 * work * static_cast<double>(state.iterations()) / took.count();
  state.counters["GFLOP/s"] = rate * 1e-9;
  state.counters["of_peak"] = rate / (peak * count);
}

/// Arguments: m, n, k, order (1: A transposed, 2: B transposed), threads.
template <class T>
void product(benchmark::State& state) {
  const Index m = state.range(0), n = state.range(1), k = state.range(2);
  const bool ta = state.range(3) & 1, tb = state.range(3) & 2;
  const Numbers<T> a = numbers<T>(m * k, "a"), b = numbers<T>(k * n, "b");
  Numbers<T> c(static_cast<std::size_t>(m * n));
  measure<T>(state, static_cast<double>(m * n * k), static_cast<int>(state.range(4)),
             [&] { gemm(ta, tb, m, n, k, a.data(), ta ? m : k, b.data(), tb ? k : n, c.data(), n); });
}

/// Arguments: batch, size of the cubes, threads.
template <class T>
void batched(benchmark::State& state) {
  const Index batch = state.range(0), n = state.range(1);
  const Numbers<T> a = numbers<T>(batch * n * n, "a"), b = numbers<T>(batch * n * n, "b");
  Numbers<T> c(static_cast<std::size_t>(batch * n * n));
  measure<T>(state, static_cast<double>(batch * n * n * n), static_cast<int>(state.range(2)), [&] {
    gemm_batched(false, false, batch, n, n, n, a.data(), n, n * n, b.data(), n, n * n, c.data(), n, n * n);
  });
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"m", "n", "k", "order", "threads"})->UseRealTime();
  for (Index size : {8, 16, 32, 33, 64, 100, 128, 256, 512, 1024}) bench->Args({size, size, size, 0, 1});
  for (Index order : {1, 2, 3}) bench->Args({32, 32, 32, order, 1})->Args({512, 512, 512, order, 1});
  for (Index count : {1, 2}) {
    bench->Args({2708, 8, 1433, 0, count});  // features to eight hidden units
    bench->Args({2708, 64, 1433, 0, count});
    bench->Args({1000, 32, 288, 0, count});  // 3x3 convolution, 32 to 32 channels
    bench->Args({1000, 288, 32, 2, count});  // its gradient to the input
    bench->Args({288, 32, 1000, 1, count});  // its gradient to the weights
    bench->Args({4096, 256, 1024, 0, count});
    bench->Args({10, 40, 40, 0, count});  // a layer of the sinusoid network
  }
  bench->Args({512, 512, 512, 0, 2})->Args({1024, 1024, 1024, 0, 2})->Args({1, 1024, 1024, 2, 1});
}

BENCHMARK_TEMPLATE(product, float)->Apply(shapes);
BENCHMARK_TEMPLATE(product, double)
    ->ArgNames({"m", "n", "k", "order", "threads"})
    ->UseRealTime()
    ->Args({64, 64, 64, 0, 1})
    ->Args({512, 512, 512, 0, 1})
    ->Args({1024, 1024, 1024, 0, 1});
BENCHMARK_TEMPLATE(batched, float)
    ->ArgNames({"batch", "n", "threads"})
    ->UseRealTime()
    ->Args({512, 8, 1})
    ->Args({512, 32, 1})
    ->Args({512, 32, 2})
    ->Args({512, 64, 1});

}  // namespace

BENCHMARK_MAIN();
