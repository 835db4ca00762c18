#pragma once
// The yardstick of arithmetic kernels: the rate of independent chains of fused multiply-adds that never leave the
// registers. Clocks wander, so it is measured next to what it is compared with.

#include <algorithm>
#include <chrono>
#include <utility>

#include "graft/number/simd.hpp"

namespace graft::bench {

template <class T, class Chains>
struct FmaChains;

/// sizeof...(I) chains x = x factor + term. Ordinary values: with 0 < factor < 1 they settle near term / (1 - factor).
template <class T, int... I>
struct FmaChains<T, std::integer_sequence<int, I...>> {
  template <int>
  using Chain = Simd<T>;

  [[gnu::noinline]] static T run(Index steps, T factor, T term) {
    return run_from(steps, factor, term, Chain<I>(T(1) + T(I) / 16)...);
  }
  [[gnu::always_inline]] static T run_from(Index steps, T factor, T term, Chain<I>... x) {
    const Simd<T> by(factor), plus(term);
    for (Index i = 0; i < steps; ++i) ((x = fma(x, by, plus)), ...);
    return sum_lanes((x + ...));
  }
};

/// Chains enough to hide the latency of a multiply-add, few enough for the registers.
template <class T>
inline constexpr int kFmaChains = Simd<T>::size * sizeof(T) == 64 ? 24 : 12;

/// Multiply-add rate of the registers of one core, in FLOP/s: the median of five runs of about `seconds` / 5 in all.
template <class T>
double fma_peak(double seconds = 2e-3) {
  using Clock = std::chrono::steady_clock;
  constexpr int chains = kFmaChains<T>;
  volatile T factor = T(0.75), term = T(0.5), sink = 0;
  Index steps = 1000;
  double rates[5] = {};
  for (double& rate : rates) {
    double took = 0;
    for (;; steps *= 2) {
      const auto start = Clock::now();
      sink = FmaChains<T, std::make_integer_sequence<int, chains>>::run(steps, factor, term);
      took = std::chrono::duration<double>(Clock::now() - start).count();
      if (took > seconds / 10) break;
    }
    rate = 2.0 * Simd<T>::size * chains * static_cast<double>(steps) / took;
  }
  (void)sink;
  std::sort(rates, rates + 5);
  return rates[2];
}

}  // namespace graft::bench
