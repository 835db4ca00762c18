#pragma once
// Transposition of square blocks of numbers in registers.

#include "graft/number/simd.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

template <class T>
inline constexpr int kQuad = 16 / static_cast<int>(sizeof(T));

/// Interleaves the groups of `width` numbers in the lower (High = 0) or upper half of every 16 bytes of a and b.
template <class T, int Width, int High, class Register, int... I>
[[gnu::always_inline]] inline Register zip_quads(Register a, Register b, std::integer_sequence<int, I...>) {
  constexpr int quad = kQuad<T>, lanes = sizeof...(I);
  return __builtin_shufflevector(a, b, (I / Width % 2 * lanes + I / quad * quad + High * quad / 2 +
                                        I % quad / (2 * Width) * Width + I % Width)...);
}

/// A register of 16-byte pieces: piece i is at from + i * apart. Reads them with inserts, which shuffle nothing.
template <int Bytes, class T>
[[gnu::always_inline]] inline auto load_pieces(const T* from, Index apart) {
  if constexpr (Bytes == 16) {
    return xsimd::make_sized_batch_t<float, 4>::load_unaligned(reinterpret_cast<const float*>(from)).data;
  } else {
    const auto low = load_pieces<Bytes / 2>(from, apart);
    const auto high = load_pieces<Bytes / 2>(from + Bytes / 32 * apart, apart);
#ifdef __AVX512F__
    if constexpr (Bytes == 64)
      return _mm512_castpd_ps(
          _mm512_insertf64x4(_mm512_castps_pd(_mm512_castps256_ps512(low)), _mm256_castps_pd(high), 1));
#endif
#ifdef __AVX__
    if constexpr (Bytes == 32) return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
#endif
  }
}

}  // namespace detail

/// Reads the block of size rows, `stride` apart, and `columns` and transposes it in registers: calls put(j, column) for
/// every j, where lane i of the batch `column` is from[i * stride + j]. Reads and puts kQuad<T> columns at a time.
template <class T, class Put>
[[gnu::always_inline]] inline void load_transposed(const T* from, Index stride, Put put,
                                                   Index columns = Simd<T>::size) {
  // Pieces of rows that lie `quad` apart share a register; what is left to do are transpositions of quad x quad numbers
  // inside 16 bytes.
  constexpr int size = static_cast<int>(Simd<T>::size), quad = detail::kQuad<T>;
  constexpr std::make_integer_sequence<int, size> lanes;
  using Register = typename Simd<T>::Register;
  using Raw = decltype(Register::data);
  const auto rows = [&](int first, int column) {
    return (Raw)detail::load_pieces<size * static_cast<int>(sizeof(T))>(from + first * stride + column, quad * stride);
  };
  for (int j = 0; j < columns; j += quad) {
    const Raw r0 = rows(0, j), r1 = rows(1, j);
    const Raw low = detail::zip_quads<T, 1, 0>(r0, r1, lanes), high = detail::zip_quads<T, 1, 1>(r0, r1, lanes);
    if constexpr (quad == 2) {
      put(j, Simd<T>(Register(low)));
      put(j + 1, Simd<T>(Register(high)));
    } else {
      const Raw r2 = rows(2, j), r3 = rows(3, j);
      const Raw low2 = detail::zip_quads<T, 1, 0>(r2, r3, lanes), high2 = detail::zip_quads<T, 1, 1>(r2, r3, lanes);
      put(j, Simd<T>(Register(detail::zip_quads<T, 2, 0>(low, low2, lanes))));
      put(j + 1, Simd<T>(Register(detail::zip_quads<T, 2, 1>(low, low2, lanes))));
      put(j + 2, Simd<T>(Register(detail::zip_quads<T, 2, 0>(high, high2, lanes))));
      put(j + 3, Simd<T>(Register(detail::zip_quads<T, 2, 1>(high, high2, lanes))));
    }
  }
}

}  // namespace GRAFT_ABI
}  // namespace graft
