#pragma once
// What is not zero, moved together.

#include <bit>

#include "graft/number/simd.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Moves the numbers that are not 0, in order, to the front of `to`, and their tags to that of `to_tags`; returns how
/// many they are. Number i < count is values[i], or values[places[i]] unless `places` is null. Overwrites up to sixteen
/// places past what it keeps. No branch asks for a number: nobody could foretell it.
template <class T>
[[gnu::always_inline]] inline Index keep_nonzero(const T* values, const std::int32_t* places, const std::int32_t* tags,
                                                 Index count, T* to, std::int32_t* to_tags) {
  Index kept = 0;
#ifdef __AVX512F__
  if constexpr (std::is_same_v<T, float>) {
    const __m512 zero = _mm512_setzero_ps();
    for (Index i = 0; i < count; i += 16) {
      const auto there = static_cast<__mmask16>(count - i >= 16 ? 0xFFFF : (1u << (count - i)) - 1);
      const __m512 numbers =
          places ? _mm512_mask_i32gather_ps(zero, there, _mm512_maskz_loadu_epi32(there, places + i), values, 4)
                 : _mm512_maskz_loadu_ps(there, values + i);
      const __mmask16 keep = _mm512_mask_cmp_ps_mask(there, numbers, zero, _CMP_NEQ_UQ);
      _mm512_storeu_ps(to + kept, _mm512_maskz_compress_ps(keep, numbers));
      _mm512_storeu_si512(to_tags + kept,
                          _mm512_maskz_compress_epi32(keep, _mm512_maskz_loadu_epi32(there, tags + i)));
      kept += std::popcount(static_cast<unsigned>(keep));
    }
    return kept;
  }
#endif
  for (Index i = 0; i < count; ++i) {
    const T number = values[places ? places[i] : i];
    to[kept] = number;
    to_tags[kept] = tags[i];
    kept += number != 0;
  }
  return kept;
}

}  // namespace GRAFT_ABI
}  // namespace graft
