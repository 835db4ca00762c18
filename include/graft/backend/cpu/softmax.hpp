#pragma once
// Softmax and log-softmax, forward and backward. Along the last axis a row is read from memory once: its maximum, its
// sum of exponentials and its result are computed while it is in the first-level cache. A row of -inf alone gives
// zeros.

#include <cmath>

#include "graft/backend/cpu/rows.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// What exponents are taken relative to: the largest entry, or 0 for a row of -inf alone (-inf less -inf is no number).
template <class T>
Simd<T> softmax_shift(Simd<T> largest) {
  return where(largest == Simd<T>(kMinusInfinity<T>), Simd<T>(0), largest);
}
/// log(sum) where there is anything to sum, else 0.
template <class T>
Simd<T> log_of_sum(Simd<T> sum) {
  return where(sum == Simd<T>(0), Simd<T>(0), native::log(sum));
}
/// The same of the sum of one row, which every lane holds.
template <class T>
T log_of_row_sum(Simd<T> sum) {
  const T s = first_lane(sum);
  return s == 0 ? T(0) : std::log(s);
}
/// What the exponents of a row are taken relative to, in every lane.
template <class T>
[[gnu::always_inline]] inline Simd<T> row_shift(const T* x, Index width) {
  using B = Simd<T>;
  return softmax_shift(
      max_over_row<T>(width, [x](Index i, Index) __attribute__((always_inline)) { return B::load(x + i); }));
}

/// y[r, j] = e^x[r, j] / sum over k of e^x[r, k], or its logarithm. While the exponentials of one row are summed, the
/// row before is finished and the maximum of the next is found: none waits for the lanes of another to be joined.
template <bool Log, class T>
void softmax_rows(const T* x, Index rows, Index width, T* y) {
  using B = Simd<T>;
  parallel_for(rows, rows_of_chunk(width), [x, width, y](Index begin, Index end) {
    const T* from = x + begin * width;
    T* to = y + begin * width;
    B shift = row_shift(from, width), shift_before(0), scale(0);
    // Column i of the row before; `left` as in `for_row`.
    const auto finish = [&](Index i, Index left) __attribute__((always_inline)) {
      T* const before = to - width + i;
      store_lanes(Log ? (B::load(from - width + i) - shift_before) - scale : load_lanes(before, left) * scale, before,
                  left);
    };
    for (Index row = begin; row < end; ++row) {
      const bool first = row == begin, last = row + 1 == end;
      B largest(kMinusInfinity<T>);
      const B sum = sum_over_row<T>(
          width, [&](Index i, Index left) __attribute__((always_inline)) {
            fetch_ahead(from + i);
            fetch_for_write_ahead(to + i);
            const B e = native::exp(B::load(from + i) - shift);
            if (!first) finish(i, left);
            if constexpr (!Log) store_lanes(e, to + i, left);
            if (!last) {
              const B next = B::load(from + width + i);
              largest = native::max(largest, left < B::size ? first_lanes(next, left, kMinusInfinity<T>) : next);
            }
            return e;
          });
      scale = Log ? B(log_of_row_sum(sum)) : where(sum == B(0), B(0), B(1) / sum);
      shift_before = shift;
      shift = softmax_shift(join_lanes(largest, [](B a, B b) { return native::max(a, b); }));
      from += width;
      to += width;
    }
    for_row<T>(width, finish);
  });
}

/// The same along the middle axis of [outer, width, inner], a batch of columns at a time.
template <bool Log, class T>
void softmax_columns(const T* x, Index outer, Index width, Index inner, T* y) {
  using B = Simd<T>;
  const Index strips = (inner + B::size - 1) / B::size;
  parallel_for(outer * strips, 1 + 16384 / (width * B::size + 1), [&](Index begin, Index end) {
    for (Index job = begin; job < end; ++job) {
      const Index column = job % strips * B::size, left = inner - column;
      const T* from = x + job / strips * width * inner + column;
      T* to = y + job / strips * width * inner + column;
      B largest(kMinusInfinity<T>), sum(0);
      for (Index k = 0; k < width; ++k) largest = native::max(largest, B::load(from + k * inner));
      const B shift = softmax_shift(largest);
      for (Index k = 0; k < width; ++k) {
        const B e = native::exp(B::load(from + k * inner) - shift);
        if constexpr (!Log) store_lanes(e, to + k * inner, left);
        sum += e;
      }
      const B scale = Log ? log_of_sum(sum) : where(sum == B(0), B(0), B(1) / sum);
      for (Index k = 0; k < width; ++k)
        store_lanes(Log ? (B::load(from + k * inner) - shift) - scale : load_lanes(to + k * inner, left) * scale,
                    to + k * inner, left);
    }
  });
}

/// From y = softmax(x) or its logarithm and the gradient g of y, the gradient of x:
/// y (g - sum g y), or g - e^y sum g with sums over the entries that are not -inf.
template <bool Log, class T>
void softmax_rows_backward(const T* y, const T* g, Index rows, Index width, T* dx) {
  using B = Simd<T>;
  const auto live = [](B log_p, B gradient) { return where(log_p == B(kMinusInfinity<T>), B(0), gradient); };
  const bool streams = worth_streaming(dx, 3, rows * width, width);
  const auto backward = [=](Index row) {
    const T *from = y + row * width, *gradient = g + row * width;
    T* to = dx + row * width;
    const B sum = sum_over_row<T>(
        width, [&](Index i, Index) __attribute__((always_inline)) {
          fetch_ahead(from + i);
          fetch_ahead(gradient + i);
          if (!streams) fetch_for_write_ahead(to + i);
          const B yi = B::load(from + i), gi = B::load(gradient + i);
          return Log ? live(yi, gi) : yi * gi;
        });
    for_row<T>(
        width, [&](Index i, Index left) __attribute__((always_inline)) {
          const B yi = B::load(from + i), gi = B::load(gradient + i);
          store_lanes(Log ? fma(-native::exp(yi), sum, live(yi, gi)) : yi * (gi - sum), to + i, left, streams);
        });
  };
  for_each_row(rows, width, backward, streams);
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
