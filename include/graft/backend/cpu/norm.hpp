#pragma once
// Normalisation of contiguous rows: layer norm (mean and deviation) and root-mean-square norm (deviation from 0). The
// variance is the mean square of what is left after the mean is subtracted, never a difference of large numbers. The
// backward kernel reads each row once, with its two row sums and the gradients of weight and bias taken in the same
// pass; those are added over fixed chunks of rows, so bits depend on no thread.

#include <vector>

#include "graft/backend/cpu/rows.hpp"
#include "graft/core/memory.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// y = (x - mean) inverse weight + bias for each row, with mean 0 unless `Centred`, and
/// inverse = 1 / sqrt(mean (x - mean)^2 + eps). `weight` and `bias` may be null; `mean` is written only when `Centred`.
template <bool Centred, class T>
void norm_rows(const T* x, const T* weight, const T* bias, T eps, Index rows, Index width, T* mean, T* inverse, T* y) {
  using B = Batch<T>;
  const B one_over(T(1) / static_cast<T>(width));
  for_row_blocks<T>(rows, width, [&](Index first, Index count) {
    RowBlock<T> block;
    PerRow<T> centre, scale;
    centre = B(0);
    if constexpr (Centred) {
      for (Index r = 0; r < count; ++r)
        block.put(r, sum_over_row<T>(
                         width, [from = x + (first + r) * width](Index i, Index)
                                    __attribute__((always_inline)) { return B::load(from + i); }));
      const B means = block.sums() * one_over;
      centre = means;
      store_lanes(means, mean + first, count);
    }
    for (Index r = 0; r < count; ++r) {
      const B m = centre[r];
      block.put(r, sum_over_row<T>(
                       width, [ m, from = x + (first + r) * width ](Index i, Index) __attribute__((always_inline)) {
                         const B d = B::load(from + i) - m;
                         return d * d;
                       }));
    }
    const B inverses = B(1) / native::sqrt(fma(block.sums(), one_over, B(eps)));
    scale = inverses;
    store_lanes(inverses, inverse + first, count);
    for (Index r = 0; r < count; ++r) {
      const T* from = x + (first + r) * width;
      T* to = y + (first + r) * width;
      const B m = centre[r], s = scale[r];
      for_row<T>(
          width, [&](Index i, Index left) __attribute__((always_inline)) {
            B value = (B::load(from + i) - m) * s;
            if (weight) value = bias ? fma(value, B::load(weight + i), B::load(bias + i)) : value * B::load(weight + i);
            store_lanes(value, to + i, left);
          });
    }
  });
}

/// Gradients of `norm_rows`: with n = (x - mean) inverse and h = g weight,
/// dx = inverse (h - mean h - n mean (h n)), the first mean only when `Centred`; dweight = sum over rows of g n and
/// dbias = sum over rows of g. dx may be null; dweight and dbias are null or given together (dbias only when
/// `Centred`).
template <bool Centred, class T>
void norm_rows_backward(const T* x, const T* g, const T* weight, const T* mean, const T* inverse, Index rows,
                        Index width, T* dx, T* dweight, T* dbias) {
  using B = Batch<T>;
  constexpr Index kChunk = 64;
  const Index chunks = (rows + kChunk - 1) / kChunk, stride = (width + B::size - 1) / B::size * B::size;
  const Index block = rows_in_block<T>(2 * width), part = dweight ? chunks * stride : 0;
  const B one_over(T(1) / static_cast<T>(width));
  std::vector<T, detail::CacheAllocator<T>> parts(static_cast<std::size_t>(Centred ? 2 * part : part));
  parallel_for(chunks, 1 + 16384 / (kChunk * width + 1), [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c) {
      T* const dw = dweight ? parts.data() + c * stride : nullptr;
      T* const db = dweight && Centred ? dw + part : nullptr;
      const Index last = (c + 1) * kChunk < rows ? (c + 1) * kChunk : rows;
      for (Index first = c * kChunk; first < last; first += block) {
        const Index count = last - first < block ? last - first : block;
        RowBlock<T> plain, along;
        for (Index r = 0; r < count; ++r) {
          const Index row = first + r;
          const B m = Centred ? B(mean[row]) : B(0), s(inverse[row]);
          B sum(0), product(0);
          for_row<T>(
              width, [&](Index i, Index left) __attribute__((always_inline)) {
                const B gi = B::load(g + row * width + i), normal = (B::load(x + row * width + i) - m) * s;
                B h = weight ? gi * B::load(weight + i) : gi, hn = h * normal;
                if (left < B::size) h = first_lanes(h, left, T(0)), hn = first_lanes(hn, left, T(0));
                if constexpr (Centred) sum += h;
                product += hn;
                if (!dw) return;
                fma(gi, normal, B::load(dw + i)).store(dw + i);
                if constexpr (Centred) (B::load(db + i) + gi).store(db + i);
              });
          if constexpr (Centred) plain.put(r, sum);
          along.put(r, product);
        }
        if (!dx) continue;
        PerRow<T> mean_plain, mean_along;
        mean_plain = plain.sums() * one_over;
        mean_along = along.sums() * one_over;
        for (Index r = 0; r < count; ++r) {
          const Index row = first + r;
          const B m = Centred ? B(mean[row]) : B(0), s(inverse[row]), k = mean_along[r] * s, p = mean_plain[r];
          for_row<T>(
              width, [&](Index i, Index left) __attribute__((always_inline)) {
                const B gi = B::load(g + row * width + i), d = B::load(x + row * width + i) - m;
                const B h = weight ? gi * B::load(weight + i) : gi;
                store_lanes(fma(d, -k, Centred ? h - p : h) * s, dx + row * width + i, left);
              });
        }
      }
    }
  });
  if (!dweight) return;
  add_parts(parts.data(), chunks, stride, width, dweight);
  if constexpr (Centred) add_parts(parts.data() + part, chunks, stride, width, dbias);
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
