#pragma once
// Softmax and log-softmax, forward and backward. Along the last axis a row is read from memory once: its maximum, its
// sum of exponentials and its result are computed while it is in the first-level cache. A row of -inf alone gives
// zeros.

#include "graft/backend/cpu/rows.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// What exponents are taken relative to: the largest entry, or 0 for a row of -inf alone (-inf less -inf is no number).
template <class T>
Batch<T> softmax_shift(Batch<T> largest) {
  return where(largest == Batch<T>(kMinusInfinity<T>), Batch<T>(0), largest);
}
/// log(sum) where there is anything to sum, else 0.
template <class T>
Batch<T> log_of_sum(Batch<T> sum) {
  return where(sum == Batch<T>(0), Batch<T>(0), native::log(sum));
}
/// The largest entry of each row of a block, as `softmax_shift`s.
template <class T>
Batch<T> row_shifts(const T* x, Index count, Index width, RowBlock<T>& block) {
  using B = Batch<T>;
  for (Index r = 0; r < count; ++r)
    block.put(r,
              fold_row<T>(
                  width, kMinusInfinity<T>,
                  [from = x + r * width](Index i, Index) __attribute__((always_inline)) { return B::load(from + i); },
                  [](B a, B b) { return native::max(a, b); }));
  return softmax_shift(block.maxima());
}

/// y[r, j] = e^x[r, j] / sum over k of e^x[r, k], or its logarithm.
template <bool Log, class T>
void softmax_rows(const T* x, Index rows, Index width, T* y) {
  using B = Batch<T>;
  for_row_blocks<T>(rows, width, [&](Index first, Index count) {
    RowBlock<T> block;
    PerRow<T> shift, scale;
    shift = row_shifts(x + first * width, count, width, block);
    for (Index r = 0; r < count; ++r) {
      const T* from = x + (first + r) * width;
      T* to = y + (first + r) * width;
      const B m = shift[r];
      block.put(r, sum_over_row<T>(
                       width, [&](Index i, Index left) __attribute__((always_inline)) {
                         const B e = native::exp(B::load(from + i) - m);
                         if constexpr (!Log) store_lanes(e, to + i, left);
                         return e;
                       }));
    }
    const B sums = block.sums();
    scale = Log ? log_of_sum(sums) : where(sums == B(0), B(0), B(1) / sums);
    for (Index r = 0; r < count; ++r) {
      const T* from = x + (first + r) * width;
      T* to = y + (first + r) * width;
      const B m = shift[r], s = scale[r];
      for_row<T>(
          width, [&](Index i, Index left) __attribute__((always_inline)) {
            store_lanes(Log ? (B::load(from + i) - m) - s : load_lanes(to + i, left) * s, to + i, left);
          });
    }
  });
}

/// The same along the middle axis of [outer, width, inner], a batch of columns at a time.
template <bool Log, class T>
void softmax_columns(const T* x, Index outer, Index width, Index inner, T* y) {
  using B = Batch<T>;
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
  using B = Batch<T>;
  const auto live = [](B log_p, B gradient) { return where(log_p == B(kMinusInfinity<T>), B(0), gradient); };
  for_row_blocks<T>(rows, width, [&](Index first, Index count) {
    RowBlock<T> block;
    PerRow<T> total;
    for (Index r = 0; r < count; ++r) {
      const Index at = (first + r) * width;
      block.put(r, sum_over_row<T>(
                       width, [&](Index i, Index) __attribute__((always_inline)) {
                         const B yi = B::load(y + at + i), gi = B::load(g + at + i);
                         return Log ? live(yi, gi) : yi * gi;
                       }));
    }
    total = block.sums();
    for (Index r = 0; r < count; ++r) {
      const Index at = (first + r) * width;
      const B s = total[r];
      for_row<T>(
          width, [&](Index i, Index left) __attribute__((always_inline)) {
            const B yi = B::load(y + at + i), gi = B::load(g + at + i);
            store_lanes(Log ? fma(-native::exp(yi), s, live(yi, gi)) : yi * (gi - s), dx + at + i, left);
          });
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
