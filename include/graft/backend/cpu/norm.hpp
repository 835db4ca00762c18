#pragma once
// Normalisation of contiguous rows: layer norm (mean and deviation) and root-mean-square norm (deviation from 0). The
// variance is the mean square of what is left after the mean is subtracted, never a difference of large numbers. Means
// are those of the row less its first number: what all numbers of a row share, however large, is taken away before
// anything is rounded. The backward kernel reads each row once, with its two row sums and the gradients of weight and
// bias taken in the same pass; those are added over fixed chunks of rows, so bits depend on no thread.

#include <vector>

#include "graft/backend/cpu/rows.hpp"
#include "graft/core/memory.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// y = (d - mean) inverse weight + bias for each row, with d = x less the first number of the row, its mean, and
/// inverse = 1 / sqrt(mean (d - mean)^2 + eps); unless `Centred`, d = x and the mean is 0. `weight` and `bias` may be
/// null; `mean` is written only when `Centred`.
template <bool Centred, class T>
void norm_rows(const T* x, const T* weight, const T* bias, T eps, Index rows, Index width, T* mean, T* inverse, T* y) {
  using B = Simd<T>;
  const B one_over(T(1) / static_cast<T>(width));
  for_each_row(rows, width, [=](Index row) {
    const T* from = x + row * width;
    T* to = y + row * width;
    B first(0), m(0);
    if constexpr (Centred) {
      if (width > 0) first = B(*from);
      m = one_over * sum_over_row<T>(
                         width, [from, first](Index i, Index)
                                    __attribute__((always_inline)) { return B::load(from + i) - first; });
      mean[row] = first_lane(m);
    }
    const auto centred = [from, first, m](Index i) __attribute__((always_inline)) {
      return Centred ? (B::load(from + i) - first) - m : B::load(from + i);
    };
    const B squares = sum_over_row<T>(
        width, [from, to, centred](Index i, Index) __attribute__((always_inline)) {
          fetch_ahead(from + i);
          fetch_for_write_ahead(to + i);
          const B d = centred(i);
          return d * d;
        });
    const B s = B(1) / native::sqrt(fma(squares, one_over, B(eps)));
    inverse[row] = first_lane(s);
    for_row<T>(
        width, [&](Index i, Index left) __attribute__((always_inline)) {
          B value = centred(i) * s;
          if (weight) value = bias ? fma(value, B::load(weight + i), B::load(bias + i)) : value * B::load(weight + i);
          store_lanes(value, to + i, left);
        });
  });
}

/// Gradients of `norm_rows`: with n = (d - mean) inverse and h = g weight,
/// dx = inverse (h - mean h - n mean (h n)), the first mean only when `Centred`; dweight = sum over rows of g n and
/// dbias = sum over rows of g. dx, dweight and dbias may be null; dbias is given only with dweight, when `Centred`.
template <bool Centred, class T>
void norm_rows_backward(const T* x, const T* g, const T* weight, const T* mean, const T* inverse, Index rows,
                        Index width, T* dx, T* dweight, T* dbias) {
  using B = Simd<T>;
  constexpr Index kChunk = 64;
  const Index chunks = (rows + kChunk - 1) / kChunk, stride = whole_batches<T>(width);
  const Index part = dweight ? chunks * stride : 0;
  const B one_over(T(1) / static_cast<T>(width));
  const bool streams = dx && worth_streaming(dx, 3, rows * width, width);
  std::vector<T, detail::CacheAllocator<T>> parts(static_cast<std::size_t>(Centred ? 2 * part : part));
  parallel_for(chunks, 1 + 16384 / (kChunk * width + 1), [&](Index begin, Index end) {
    for (Index row = begin * kChunk; row < end * kChunk && row < rows; ++row) {
      T* const dw = dweight ? parts.data() + row / kChunk * stride : nullptr;
      T* const db = dweight && Centred ? dw + part : nullptr;
      const T *from = x + row * width, *gradient = g + row * width;
      T* const to = dx ? dx + row * width : nullptr;
      const B first(Centred && width > 0 ? *from : T(0)), m(Centred ? mean[row] : T(0)), s(inverse[row]);
      const auto centred = [from, first, m](Index i) __attribute__((always_inline)) {
        return Centred ? (B::load(from + i) - first) - m : B::load(from + i);
      };
      B sum(0), product(0);
      for_row<T>(
          width, [&](Index i, Index left) __attribute__((always_inline)) {
            fetch_ahead(from + i);
            fetch_ahead(gradient + i);
            if (to && !streams) fetch_for_write_ahead(to + i);
            const B gi = B::load(gradient + i);
            B normal = centred(i) * s, h = weight ? gi * B::load(weight + i) : gi;
            if (left < B::size) {  // what follows belongs to the next row, where 0 times an infinity lurks
              h = first_lanes(h, left, T(0));
              normal = first_lanes(normal, left, T(0));
            }
            if constexpr (Centred) sum += h;
            product = fma(h, normal, product);
            if (!dw) return;
            fma(gi, normal, B::load(dw + i)).store(dw + i);
            if constexpr (Centred) (B::load(db + i) + gi).store(db + i);
          });
      if (!to) continue;
      const B k = sum_everywhere(product) * one_over * s, p = sum_everywhere(sum) * one_over;
      for_row<T>(
          width, [&](Index i, Index left) __attribute__((always_inline)) {
            const B gi = B::load(gradient + i), d = centred(i);
            const B h = weight ? gi * B::load(weight + i) : gi;
            store_lanes(fma(d, -k, Centred ? h - p : h) * s, to + i, left, streams);
          });
    }
    if (streams) native::finish_streams();
  });
  if (!dweight) return;
  add_parts(parts.data(), chunks, stride, width, dweight);
  if (Centred && dbias) add_parts(parts.data() + part, chunks, stride, width, dbias);
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
