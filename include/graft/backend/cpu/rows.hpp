#pragma once
// Rows of numbers one after the other, for kernels that normalise rows. A row is read from memory once; what a kernel
// needs of it again waits in the first-level cache, while rows further on are fetched. A row's result depends neither
// on the number of rows nor on threads.

#include <limits>

#include "graft/core/parallel.hpp"
#include "graft/number/functions.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

template <class T>
inline constexpr T kMinusInfinity = -std::numeric_limits<T>::infinity();

/// `values` in the first `count` lanes, `other` in the rest.
template <class T>
Simd<T> first_lanes(Simd<T> values, Index count, T other) {
  alignas(64) static constexpr T lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static_assert(Simd<T>::size <= 16);
  return where(Simd<T>::load(lane) < Simd<T>(static_cast<T>(count)), values, Simd<T>(other));
}

/// Joins f(i, left) for i = 0, size, 2 size ... < width, in four running batches and then all their lanes; `left` =
/// width - i. Lanes past the width count as `neutral`. The result is in every lane.
template <class T, class F, class Join>
[[gnu::always_inline]] inline Simd<T> fold_row(Index width, T neutral, F f, Join join) {
  using B = Simd<T>;
  B a(neutral), b(neutral), c(neutral), d(neutral);
  Index i = 0;
  for (; i + 4 * B::size <= width; i += 4 * B::size) {
    a = join(a, f(i, B::size));
    b = join(b, f(i + B::size, B::size));
    c = join(c, f(i + 2 * B::size, B::size));
    d = join(d, f(i + 3 * B::size, B::size));
  }
  for (; i + B::size <= width; i += B::size) a = join(a, f(i, B::size));
  if (i < width) b = join(b, first_lanes(f(i, width - i), width - i, neutral));
  return join_lanes(join(join(a, b), join(c, d)), join);
}
template <class T, class F>
[[gnu::always_inline]] inline Simd<T> sum_over_row(Index width, F f) {
  return fold_row<T>(width, T(0), f, [](Simd<T> a, Simd<T> b) { return a + b; });
}
template <class T, class F>
[[gnu::always_inline]] inline Simd<T> max_over_row(Index width, F f) {
  return fold_row<T>(width, kMinusInfinity<T>, f, [](Simd<T> a, Simd<T> b) { return native::max(a, b); });
}
/// Calls f(i, left) for i = 0, size, 2 size ... < width.
template <class T, class F>
[[gnu::always_inline]] inline void for_row(Index width, F f) {
  constexpr Index size = Simd<T>::size;
  Index i = 0;
  for (; i + size <= width; i += size) f(i, size);
  if (i < width) f(i, width - i);
}

/// Rows of `width` numbers that are one parallel chunk.
inline Index rows_of_chunk(Index width) { return 1 + 16384 / (width + 1); }
/// Calls f(row) for each of `rows` rows of `width` numbers, on several threads. `f` captures by value: in a copy of its
/// own, the compiler sees that what a kernel writes does not change what it captured. `streams`: f writes by `stream`.
template <class F>
void for_each_row(Index rows, Index width, const F& f, bool streams = false) {
  parallel_for(rows, rows_of_chunk(width), [&](Index begin, Index end) {
    const F own = f;
    for (Index row = begin; row < end; ++row) own(row);
    if (streams) native::finish_streams();
  });
}

/// How far ahead of its use memory is fetched: far enough to arrive in time, near enough to stay in the first-level
/// cache until then.
inline constexpr Index kBytesAhead = 4096;
/// While the numbers at `from` are being computed with, fetches those that are next but a few.
template <class T>
[[gnu::always_inline]] inline void fetch_ahead(const T* from) {
  native::prefetch(from + kBytesAhead / static_cast<Index>(sizeof(T)));
}
template <class T>
[[gnu::always_inline]] inline void fetch_for_write_ahead(T* to) {
  native::prefetch_for_write(to + kBytesAhead / static_cast<Index>(sizeof(T)));
}

/// True when rows of `width` numbers that start at `to` should be written by `Simd::stream`, by a kernel that goes
/// through `arrays` arrays of `count` numbers: more than stays in the caches until somebody reads it, so there is no
/// use in fetching first what is overwritten. Several threads write past the caches hardly faster than one does, but
/// into them they do.
template <class T>
bool worth_streaming(const T* to, Index arrays, Index count, Index width) {
  const Index least_bytes = Index{threads() > 1 ? 24 : 12} << 20;
  constexpr Index size = Simd<T>::size, number = static_cast<Index>(sizeof(T));
  return arrays * count * number >= least_bytes && width % size == 0 &&
         reinterpret_cast<std::uintptr_t>(to) % static_cast<std::uintptr_t>(size * number) == 0;
}

/// out[i] = sum over c of parts[c * stride + i] for i < width, added in groups of 32 whose sums are added in order.
/// Rows of `parts` are padded to whole batches (`stride`).
template <class T>
void add_parts(const T* parts, Index count, Index stride, Index width, T* out) {
  constexpr Index group = 32;
  for_row<T>(width, [&](Index i, Index left) {
    Simd<T> total(0);
    for (Index begin = 0; begin < count; begin += group) {
      Simd<T> sum(0);
      for (Index c = begin; c < count && c < begin + group; ++c) sum += Simd<T>::load(parts + c * stride + i);
      total += sum;
    }
    store_lanes(total, out + i, left);
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
