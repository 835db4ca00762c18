#pragma once
// What masks of random words are made with: products in 64-bit lanes, for the rounds of Philox, and comparisons of
// words with a bound.

#include "graft/number/simd.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Bit i says whether numbers[i] is `bound` or more.
template <int Count>
std::uint64_t bits_at_least(const std::uint32_t (&numbers)[Count], std::uint32_t bound) {
  static_assert(Count % 16 == 0 && Count <= 64);
  std::uint64_t bits = 0;
#ifdef __AVX512F__
  const __m512i least = _mm512_set1_epi32(static_cast<int>(bound));
  for (int i = 0; i < Count; i += 16)
    bits |= std::uint64_t{_mm512_cmpge_epu32_mask(_mm512_loadu_si512(numbers + i), least)} << i;
#else
  for (int i = 0; i < Count; ++i) bits |= std::uint64_t{numbers[i] >= bound} << i;
#endif
  return bits;
}

namespace native {

/// As many 64-bit lanes as a register has.
#if defined(__AVX512F__)
using Lanes64 [[gnu::vector_size(64)]] = std::uint64_t;
#elif defined(__AVX2__)
using Lanes64 [[gnu::vector_size(32)]] = std::uint64_t;
#else
using Lanes64 [[gnu::vector_size(16)]] = std::uint64_t;
#endif
/// The 64 bits of the lower half of each lane times `factor`.
[[gnu::always_inline]] inline Lanes64 multiply_lower_halves(Lanes64 a, std::uint32_t factor) {
  const Lanes64 by = Lanes64{} + factor;
#if defined(__AVX512F__)
  return (Lanes64)_mm512_mul_epu32((__m512i)a, (__m512i)by);
#elif defined(__AVX2__)
  return (Lanes64)_mm256_mul_epu32((__m256i)a, (__m256i)by);
#elif defined(__SSE2__)
  return (Lanes64)_mm_mul_epu32((__m128i)a, (__m128i)by);
#else
  return (a & 0xFFFFFFFFu) * by;
#endif
}
/// As many 32-bit numbers, two a lane.
using Halves64 [[gnu::vector_size(sizeof(Lanes64))]] = std::uint32_t;
/// The upper half of each lane in its lower half; what is above it does not count. A shuffle, not a shift, which would
/// wait for the units that multiply.
[[gnu::always_inline]] inline Lanes64 upper_halves(Lanes64 a) {
  return [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    return (Lanes64)__builtin_shufflevector((Halves64)a, (Halves64)a, (I | 1)...);
  }
  (std::make_integer_sequence<int, sizeof(Lanes64) / sizeof(std::uint32_t)>{});
}
/// Stores the lower halves of the lanes of a, then of b, side by side.
[[gnu::always_inline]] inline void store_lower_halves(Lanes64 a, Lanes64 b, std::uint32_t* to) {
  const Halves64 halves = [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    return __builtin_shufflevector((Halves64)a, (Halves64)b, (2 * I)...);
  }
  (std::make_integer_sequence<int, sizeof(Lanes64) / sizeof(std::uint32_t)>{});
  std::memcpy(to, &halves, sizeof halves);
}

}  // namespace native

}  // namespace GRAFT_ABI
}  // namespace graft
