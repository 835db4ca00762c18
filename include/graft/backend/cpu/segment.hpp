#pragma once
// Rows picked by index and rows reduced by segment. Every destination row is written by one thread, which takes its
// sources in their order: bits depend on neither threads nor atomics.

#include <cstring>
#include <limits>
#include <vector>

#include "graft/backend/cpu/reduce.hpp"
#include "graft/number/functions.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Destination rows of one parallel chunk when `numbers` numbers are spread over `rows` rows.
inline Index rows_per_chunk(Index rows, Index numbers) { return 1 + 16384 / (numbers / (rows + 1) + 1); }

/// out[o, k] = x[o, indices[k]], rows of `inner` numbers.
template <class T, class I>
void gather_rows(const T* x, Index outer, Index size, Index inner, const I* indices, Index picked, T* out) {
  parallel_for(outer * picked, 1 + 16384 / (inner + 1), [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      const T* from = x + (row / picked * size + static_cast<Index>(indices[row % picked])) * inner;
      if (inner == 1)
        out[row] = *from;
      else
        std::memcpy(out + row * inner, from, static_cast<std::size_t>(inner) * sizeof(T));
    }
  });
}

/// out[o, k, i] = x[o, indices[o, k, i], i], `picked` entries k of `size`.
template <class T, class I>
void pick_along(const T* x, Index outer, Index size, Index inner, const I* indices, Index picked, T* out) {
  parallel_for(outer * picked, 1 + 16384 / (inner + 1), [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      const T* from = x + row / picked * size * inner;
      for (Index i = row * inner, column = 0; column < inner; ++i, ++column)
        out[i] = from[static_cast<Index>(indices[i]) * inner + column];
    }
  });
}

/// The transpose of `pick_along`: out[o, indices[o, k, i], i] += values[o, k, i] on zeros, in the order of k.
template <class T, class I>
void add_along(const T* values, Index outer, Index size, Index inner, const I* indices, Index picked, T* out) {
  // Columns that lie side by side make one job; no other writes to their places.
  constexpr Index kColumns = 256;
  const Index jobs = (inner + kColumns - 1) / kColumns, width = inner < kColumns ? inner : kColumns;
  parallel_for(outer * jobs, 1 + 16384 / ((size + picked) * width + 1), [&](Index begin, Index end) {
    for (Index job = begin; job < end; ++job) {
      const Index o = job / jobs, first = job % jobs * kColumns;
      const Index last = first + kColumns < inner ? first + kColumns : inner;
      T* to = out + o * size * inner;
      for (Index k = 0; k < size; ++k)
        for (Index i = first; i < last; ++i) to[k * inner + i] = T(0);
      for (Index k = o * picked; k < (o + 1) * picked; ++k)
        for (Index i = first; i < last; ++i)
          to[static_cast<Index>(indices[k * inner + i]) * inner + i] += values[k * inner + i];
    }
  });
}

/// For every destination the places in `indices` that name it, in order: `places[starts[d]] .. places[starts[d + 1] -
/// 1]`.
struct Destinations {
  std::vector<std::int64_t, detail::CacheAllocator<std::int64_t>> starts, places;

  template <class I>
  Destinations(const I* indices, Index count, Index size)
      : starts(static_cast<std::size_t>(size + 1), 0), places(static_cast<std::size_t>(count)) {
    // Counting sort: starts[d] runs from the first place of d to the first of d + 1, then is moved back by one entry.
    for (Index k = 0; k < count; ++k) ++starts[static_cast<std::size_t>(indices[k])];
    std::int64_t total = 0;
    for (std::int64_t& start : starts) total += std::exchange(start, total);
    for (Index k = 0; k < count; ++k)
      places[static_cast<std::size_t>(starts[static_cast<std::size_t>(indices[k])]++)] = k;
    for (std::size_t d = starts.size() - 1; d > 0; --d) starts[d] = starts[d - 1];
    starts[0] = 0;
  }
};

/// out[s] = sum of the rows x[places[p]], or x[p] when `places` is null, over starts[s] <= p < starts[s + 1].
template <class T>
void sum_segments(const T* x, const std::int64_t* starts, const std::int64_t* places, Index segments, Index inner,
                  T* out) {
  using B = Simd<T>;
  if (segments == 0) return;
  parallel_for(segments, rows_per_chunk(segments, starts[segments] * inner), [&](Index begin, Index end) {
    for (Index s = begin; s < end; ++s) {
      const std::int64_t first = starts[s], last = starts[s + 1];
      if (inner == 1) {
        if (!places) {
          out[s] = sum_row(x + first, last - first);
          continue;
        }
        T total = 0;
        for (std::int64_t p = first; p < last; ++p) total += x[places[p]];
        out[s] = total;
        continue;
      }
      for (Index i = 0; i < inner; i += B::size) {
        B total(0);
        for (std::int64_t p = first; p < last; ++p) total += B::load(x + (places ? places[p] : p) * inner + i);
        store_lanes(total, out + s * inner + i, inner - i);
      }
    }
  });
}

/// out[p] = x[s] for every row p of segment s.
template <class T>
void spread_segments(const T* x, const std::int64_t* starts, Index segments, Index inner, T* out) {
  if (segments == 0) return;
  parallel_for(segments, rows_per_chunk(segments, starts[segments] * inner), [&](Index begin, Index end) {
    for (Index s = begin; s < end; ++s)
      for (std::int64_t p = starts[s]; p < starts[s + 1]; ++p) {
        if (inner == 1)
          out[p] = x[s];
        else
          std::memcpy(out + p * inner, x + s * inner, static_cast<std::size_t>(inner) * sizeof(T));
      }
  });
}

/// out[s] = largest (Sign = 1) or smallest (-1) of the rows of segment s, column by column; 0 for an empty segment.
template <int Sign, class T>
void extreme_segments(const T* x, const std::int64_t* starts, Index segments, Index inner, T* out) {
  if (segments == 0) return;
  parallel_for(segments, rows_per_chunk(segments, starts[segments] * inner), [&](Index begin, Index end) {
    for (Index s = begin; s < end; ++s) {
      const std::int64_t rows = starts[s + 1] - starts[s];
      if (rows == 0)
        std::memset(out + s * inner, 0, static_cast<std::size_t>(inner) * sizeof(T));
      else
        fold_rows<Extreme<T, Sign>>(x + starts[s] * inner, rows, inner, out + s * inner);
    }
  });
}

/// Softmax of one column of each segment, its numbers side by side in registers.
template <class T>
void softmax_dense(const T* x, Index count, T* out) {
  using B = Simd<T>;
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  T largest;
  fold_rows<Extreme<T, 1>>(x, count, 1, &largest);
  const B shift(largest == -kInfinity ? T(0) : largest);
  B totals(0);
  Index i = 0;
  for (; i + B::size <= count; i += B::size) {
    const B e = native::exp(B::load(x + i) - shift);
    totals += e;
    e.store(out + i);
  }
  T total = sum_lanes(totals);
  if (const Index left = count - i; left > 0) {
    // The exponentials are stored first and added from there, so that lanes past the end count for nothing.
    native::exp(B::load_part(x + i, left) - shift).store_part(out + i, left);
    total += sum_lanes(B::load_part(out + i, left));
  }
  const B scale(total > 0 || total != total ? 1 / total : T(0));
  for (i = 0; i + B::size <= count; i += B::size) (B::load(out + i) * scale).store(out + i);
  if (i < count) (B::load_part(out + i, count - i) * scale).store_part(out + i, count - i);
}

/// Softmax over the rows of every segment, column by column; a column of nothing but -inf gives zeros.
template <class T>
void softmax_segments(const T* x, const std::int64_t* starts, Index segments, Index inner, T* out) {
  using B = Simd<T>;
  if (segments == 0) return;
  parallel_for(segments, rows_per_chunk(segments, 4 * starts[segments] * inner), [&](Index begin, Index end) {
    for (Index s = begin; s < end; ++s) {
      const std::int64_t first = starts[s] * inner, last = starts[s + 1] * inner;
      if (inner == 1) {
        if (first < last) softmax_dense(x + first, last - first, out + first);
        continue;
      }
      for (Index i = 0; i < inner; i += B::size) {
        const Index width = inner - i;
        B largest(-std::numeric_limits<T>::infinity());
        for (std::int64_t p = first + i; p < last; p += inner) largest = native::max(largest, B::load(x + p));
        const B shift = where(largest == B(-std::numeric_limits<T>::infinity()), B(0), largest);
        B total(0);
        for (std::int64_t p = first + i; p < last; p += inner) {
          const B e = native::exp(B::load(x + p) - shift);
          total += e;
          store_lanes(e, out + p, width);
        }
        const B scale = where(total == B(0), B(0), B(1) / total);
        for (std::int64_t p = first + i; p < last; p += inner) store_lanes(B::load(out + p) * scale, out + p, width);
      }
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
