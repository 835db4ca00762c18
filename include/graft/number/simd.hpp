#pragma once
// A SIMD register of floats or doubles as a number type: what an elementwise expression is called with in a kernel.
// The only door to xsimd. Every lane of every element goes through the same instructions, so a value never depends on
// its position; short ends of rows go through `load_part` and `store_part`.

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

// g++ 12 takes the undefined start values inside its own AVX-512 intrinsics for uses (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#if defined(__AVX512BW__) && defined(__GNUC__) && !defined(__clang__) && !defined(__OPTIMIZE__)
// Without optimisation two of g++ 12's intrinsics are macros that cast to __v64qi what only converts to __m512i.
#include <immintrin.h>
#undef _mm512_mask_blend_epi8
#undef _mm512_mask_blend_epi16
#define _mm512_mask_blend_epi8(u, a, w) \
  ((__m512i)__builtin_ia32_blendmb_512_mask((__v64qi)(__m512i)(a), (__v64qi)(__m512i)(w), (__mmask64)(u)))
#define _mm512_mask_blend_epi16(u, a, w) \
  ((__m512i)__builtin_ia32_blendmw_512_mask((__v32hi)(__m512i)(a), (__v32hi)(__m512i)(w), (__mmask32)(u)))
#endif
#include <xsimd/xsimd.hpp>
#pragma GCC diagnostic pop

#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Lane-wise truth values, the result of comparing batches.
template <class T>
struct SimdMask {
  xsimd::batch_bool<T> v;
  friend SimdMask operator&&(SimdMask a, SimdMask b) { return {a.v & b.v}; }
  friend SimdMask operator||(SimdMask a, SimdMask b) { return {a.v | b.v}; }
  friend SimdMask operator!(SimdMask a) { return {~a.v}; }
  bool any() const { return xsimd::any(v); }
};

/// The first `count` lanes of a batch (at most all), for loads and stores that touch no memory past them.
template <class T>
struct SimdPart {
#if defined(__AVX512F__)
  static constexpr bool fast = true;  ///< masks are the CPU's own, not a walk through memory
  using Mask = std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8>;
  Mask mask;
  explicit SimdPart(Index count) : mask(static_cast<Mask>((1u << count) - 1)) {}
#elif defined(__AVX2__)
  static constexpr bool fast = true;
  __m256i mask;
  explicit SimdPart(Index count) {
    if constexpr (sizeof(T) == 4)
      mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    else
      mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
  }
#else
  static constexpr bool fast = false;
  std::size_t bytes;
  explicit SimdPart(Index count) : bytes(static_cast<std::size_t>(count) * sizeof(T)) {}
#endif
};

/// `Simd<T>::size` numbers of type T (float or double) that are computed with together.
template <class T>
struct Simd {
  using Register = xsimd::batch<T>;
  using Scalar = T;
  static constexpr Index size = static_cast<Index>(Register::size);

  Register v;

  Simd() = default;
  Simd(Register value) : v(value) {}
  template <class S>
    requires std::is_arithmetic_v<S>
  Simd(S value) : v(static_cast<T>(value)) {}

  static Simd load(const T* from) { return Register::load_unaligned(from); }
  void store(T* to) const { v.store_unaligned(to); }
  /// Loads the numbers of a part and zeros.
  static Simd load(const T* from, SimdPart<T> part) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return Register(_mm512_maskz_loadu_ps(part.mask, from));
    else
      return Register(_mm512_maskz_loadu_pd(part.mask, from));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return Register(_mm256_maskload_ps(from, part.mask));
    else
      return Register(_mm256_maskload_pd(from, part.mask));
#else
    alignas(64) T lanes[size] = {};
    std::memcpy(lanes, from, part.bytes);
    return Register::load_aligned(lanes);
#endif
  }
  void store(T* to, SimdPart<T> part) const {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      _mm512_mask_storeu_ps(to, part.mask, v);
    else
      _mm512_mask_storeu_pd(to, part.mask, v);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      _mm256_maskstore_ps(to, part.mask, v);
    else
      _mm256_maskstore_pd(to, part.mask, v);
#else
    alignas(64) T lanes[size];
    v.store_aligned(lanes);
    std::memcpy(to, lanes, part.bytes);
#endif
  }
  /// Loads `count` <= size numbers and zeros; touches no memory past them.
  static Simd load_part(const T* from, Index count) { return load(from, SimdPart<T>(count)); }
  /// Stores the first `count` <= size lanes.
  void store_part(T* to, Index count) const { store(to, SimdPart<T>(count)); }

  /// Stores past the caches where the CPU can: `to` is a multiple of the batch's bytes, and `native::finish_streams` is
  /// called before anybody else reads.
  void stream(T* to) const {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)v.data);
#elif defined(__AVX__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)v.data);
#elif defined(__SSE2__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)v.data);
#else
    store(to);
#endif
  }

  friend Simd operator+(Simd a, Simd b) { return a.v + b.v; }
  friend Simd operator-(Simd a, Simd b) { return a.v - b.v; }
  friend Simd operator*(Simd a, Simd b) { return a.v * b.v; }
  /// The CPU's own division: xsimd divides floats by estimates on AArch64.
  friend Simd operator/(Simd a, Simd b) { return Register(a.v.data / b.v.data); }
  friend Simd operator-(Simd a) { return -a.v; }
  Simd& operator+=(Simd b) { return *this = *this + b; }
  Simd& operator-=(Simd b) { return *this = *this - b; }
  Simd& operator*=(Simd b) { return *this = *this * b; }

  friend SimdMask<T> operator<(Simd a, Simd b) { return {a.v < b.v}; }
  friend SimdMask<T> operator<=(Simd a, Simd b) { return {a.v <= b.v}; }
  friend SimdMask<T> operator>(Simd a, Simd b) { return {a.v > b.v}; }
  friend SimdMask<T> operator>=(Simd a, Simd b) { return {a.v >= b.v}; }
  friend SimdMask<T> operator==(Simd a, Simd b) { return {a.v == b.v}; }
  // Not xsimd's, which on AVX calls a NaN equal to everything.
  friend SimdMask<T> operator!=(Simd a, Simd b) { return {!(a.v == b.v)}; }
  /// a where `mask`, else b.
  friend Simd where(SimdMask<T> mask, Simd a, Simd b) { return xsimd::select(mask.v, a.v, b.v); }

  /// a b + c, rounded once where the CPU can.
  friend Simd fma(Simd a, Simd b, Simd c) {
#ifdef __AVX512F__
    // xsimd 8.1 multiplies, then adds at this width, and leaves it to the compiler to fuse the two.
    if constexpr (sizeof(T) == 4)
      return Register(_mm512_fmadd_ps(a.v, b.v, c.v));
    else
      return Register(_mm512_fmadd_pd(a.v, b.v, c.v));
#else
    return xsimd::fma(a.v, b.v, c.v);
#endif
  }
};

/// `count` rounded up to whole batches.
template <class T>
constexpr Index whole_batches(Index count) {
  return (count + Simd<T>::size - 1) / Simd<T>::size * Simd<T>::size;
}
/// Stores the first `left` lanes, all of them when `left` is a whole batch or more; with `stream`, which wants a whole
/// batch, past the caches.
template <class T>
[[gnu::always_inline]] inline void store_lanes(Simd<T> values, T* to, Index left, bool stream = false) {
  if (stream)
    values.stream(to);
  else if (left >= Simd<T>::size)
    values.store(to);
  else
    values.store_part(to, left);
}
/// Loads the first `left` lanes, never touching memory past them: for numbers next to which others are being written.
template <class T>
[[gnu::always_inline]] inline Simd<T> load_lanes(const T* from, Index left) {
  return left >= Simd<T>::size ? Simd<T>::load(from) : Simd<T>::load_part(from, left);
}

/// A number that picks a lane; as wide as T.
template <class T>
using LaneIndex = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

/// Lane l of the result is lane indices[l] of `a`.
template <class T>
[[gnu::always_inline]] inline Simd<T> pick_lanes(Simd<T> a, const LaneIndex<T>* indices) {
  using Register = typename Simd<T>::Register;
#ifdef __AVX512F__
  if constexpr (sizeof(T) == 4)
    return Register(_mm512_permutexvar_ps(_mm512_loadu_si512(indices), a.v));
  else
    return Register(_mm512_permutexvar_pd(_mm512_loadu_si512(indices), a.v));
#else
#ifdef __AVX2__
  if constexpr (sizeof(T) == 4)
    return Register(
        _mm256_permutevar8x32_ps(a.v, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(indices))));
#endif
  alignas(64) T from[Simd<T>::size], to[Simd<T>::size];
  a.v.store_aligned(from);
  for (Index l = 0; l < Simd<T>::size; ++l) to[l] = from[indices[l]];
  return Register::load_aligned(to);
#endif
}

/// a[0] + a[1], a[2] + a[3] ..., then the same of b.
template <class T>
[[gnu::always_inline]] inline Simd<T> add_pairs(Simd<T> a, Simd<T> b) {
  using Register = typename Simd<T>::Register;
  using Raw = decltype(Register::data);
  return [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    const Raw even = __builtin_shufflevector(a.v.data, b.v.data, (2 * I)...);
    const Raw odd = __builtin_shufflevector(a.v.data, b.v.data, (2 * I + 1)...);
    return Simd<T>(Register(even) + Register(odd));
  }
  (std::make_integer_sequence<int, static_cast<int>(Simd<T>::size)>{});
}

/// The lanes whose bit is set (the lowest belongs to lane 0), 0 in the others.
template <class T>
[[gnu::always_inline]] inline Simd<T> lanes_where(std::uint64_t bits, Simd<T> a) {
#ifdef __AVX512F__
  using Register = typename Simd<T>::Register;
  if constexpr (sizeof(T) == 4)
    return Register(_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), a.v));
  else
    return Register(_mm512_maskz_mov_pd(static_cast<__mmask8>(bits), a.v));
#else
  alignas(64) T set[Simd<T>::size];
  for (Index l = 0; l < Simd<T>::size; ++l) set[l] = static_cast<T>(bits >> l & 1);
  return where(Simd<T>::load(set) == Simd<T>(0), Simd<T>(0), a);
#endif
}

namespace detail {

template <int Half, class T, class Join, int... I>
[[gnu::always_inline]] inline Simd<T> join_halves(Simd<T> a, Join join, std::integer_sequence<int, I...> lanes) {
  if constexpr (Half == 0) {
    return a;
  } else {
    using Register = typename Simd<T>::Register;
    using Raw = decltype(Register::data);
    const Simd<T> other(Register((Raw)__builtin_shufflevector(a.v.data, a.v.data, (I ^ Half)...)));
    return join_halves<Half / 2>(join(a, other), join, lanes);
  }
}

}  // namespace detail

/// All lanes joined, in every lane: lane i with lane i + size/2 first, and so on by halves. `join` must not care which
/// of its two arguments comes first.
template <class T, class Join>
[[gnu::always_inline]] inline Simd<T> join_lanes(Simd<T> a, Join join) {
  constexpr int size = static_cast<int>(Simd<T>::size);
  return detail::join_halves<size / 2>(a, join, std::make_integer_sequence<int, size>());
}
/// Lane 0.
template <class T>
T first_lane(Simd<T> a) {
  return a.v.data[0];
}
/// Sum of the lanes, in every lane.
template <class T>
[[gnu::always_inline]] inline Simd<T> sum_everywhere(Simd<T> a) {
  return join_lanes(a, [](Simd<T> b, Simd<T> c) { return b + c; });
}
/// Sum of the lanes.
template <class T>
T sum_lanes(Simd<T> a) {
  return first_lane(sum_everywhere(a));
}

/// What a CPU offers for its registers.
namespace native {

/// a > b ? a : b, hence the second argument where one is a NaN.
template <class T>
Simd<T> max(Simd<T> a, Simd<T> b) {
#ifdef __SSE2__
  return xsimd::max(a.v, b.v);
#else
  return where(a > b, a, b);  // other CPUs' instructions give the NaN
#endif
}
/// a < b ? a : b, hence the second argument where one is a NaN.
template <class T>
Simd<T> min(Simd<T> a, Simd<T> b) {
#ifdef __SSE2__
  return xsimd::min(a.v, b.v);
#else
  return where(a < b, a, b);
#endif
}
template <class T>
Simd<T> sqrt(Simd<T> a) {
#ifdef __aarch64__
  // xsimd takes roots of floats by estimates.
  if constexpr (sizeof(T) == 4) return typename Simd<T>::Register(vsqrtq_f32(a.v));
#endif
  return xsimd::sqrt(a.v);
}
template <class T>
Simd<T> abs(Simd<T> a) {
  return xsimd::abs(a.v);
}
template <class T>
Simd<T> floor(Simd<T> a) {
  return xsimd::floor(a.v);
}
/// Hints that `from` is read soon.
[[gnu::always_inline]] inline void prefetch(const void* from) { __builtin_prefetch(from); }
/// Hints that `from` is read, but not so soon: the second-level cache is near enough.
[[gnu::always_inline]] inline void prefetch_to_l2(const void* from) { __builtin_prefetch(from, 0, 2); }
/// Hints that `to` is written soon.
[[gnu::always_inline]] inline void prefetch_for_write(void* to) { __builtin_prefetch(to, 1); }
/// Makes what this thread streamed visible to others.
inline void finish_streams() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

}  // namespace native

}  // namespace GRAFT_ABI
}  // namespace graft
