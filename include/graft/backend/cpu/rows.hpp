#pragma once
// Reductions of many contiguous rows at once, for kernels that normalise rows. The lanes of one row's running batch are
// added by transposing the batches of a whole block of rows: a few instructions a row where a row alone costs dozens.
// Whatever its place in a block, a row goes through the same operations in the same order, so its result depends
// neither on the number of rows nor on threads.

#include <limits>

#include "graft/core/parallel.hpp"
#include "graft/number/batch.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

template <class T>
inline constexpr T kMinusInfinity = -std::numeric_limits<T>::infinity();

/// `values` in the first `count` lanes, `other` in the rest.
template <class T>
Batch<T> first_lanes(Batch<T> values, Index count, T other) {
  alignas(64) static constexpr T lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static_assert(Batch<T>::size <= 16);
  return where(Batch<T>::load(lane) < Batch<T>(static_cast<T>(count)), values, Batch<T>(other));
}

/// Stores the first `left` lanes, all of them when `left` is a whole batch or more.
template <class T>
[[gnu::always_inline]] inline void store_lanes(Batch<T> values, T* to, Index left) {
  if (left >= Batch<T>::size)
    values.store(to);
  else
    values.store_part(to, left);
}
/// Loads the first `left` lanes, never touching memory past them: for numbers next to which others are being written.
template <class T>
[[gnu::always_inline]] inline Batch<T> load_lanes(const T* from, Index left) {
  return left >= Batch<T>::size ? Batch<T>::load(from) : Batch<T>::load_part(from, left);
}

/// Joins f(i, left) for i = 0, size, 2 size ... < width, lane by lane, in four running batches; `left` = width - i.
/// Lanes past the width count as `neutral`.
template <class T, class F, class Join>
[[gnu::always_inline]] inline Batch<T> fold_row(Index width, T neutral, F f, Join join) {
  using B = Batch<T>;
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
  return join(join(a, b), join(c, d));
}
template <class T, class F>
[[gnu::always_inline]] inline Batch<T> sum_over_row(Index width, F f) {
  return fold_row<T>(width, T(0), f, [](Batch<T> a, Batch<T> b) { return a + b; });
}
/// Calls f(i, left) for i = 0, size, 2 size ... < width.
template <class T, class F>
[[gnu::always_inline]] inline void for_row(Index width, F f) {
  constexpr Index size = Batch<T>::size;
  Index i = 0;
  for (; i + size <= width; i += size) f(i, size);
  if (i < width) f(i, width - i);
}

/// The running batches of a block of rows, and the sums or maxima of their lanes: lane r of a result belongs to row r.
template <class T>
class RowBlock {
 public:
  using B = Batch<T>;
  void put(Index row, B lanes) { lanes.store(lanes_ + row * B::size); }
  B sums() const {
    return joined([](B a, B b) { return a + b; });
  }
  B maxima() const {
    return joined([](B a, B b) { return native::max(a, b); });
  }

 private:
  template <class Join>
  B joined(Join join) const {
    B even(0), odd(0);
    load_transposed(lanes_, B::size, [&](int lane, B column) {
      B& to = lane % 2 == 0 ? even : odd;
      to = lane < 2 ? column : join(to, column);
    });
    return join(even, odd);
  }
  alignas(64) T lanes_[B::size * B::size] = {};
};

/// One number a row of a block, filled from the lanes of a batch.
template <class T>
struct PerRow {
  alignas(64) T values[Batch<T>::size];
  PerRow& operator=(Batch<T> lanes) {
    lanes.store(values);
    return *this;
  }
  Batch<T> operator[](Index row) const { return Batch<T>(values[row]); }
};

/// Rows of a block: as many as a batch has lanes, fewer where they would not stay in the first-level cache.
template <class T>
Index rows_in_block(Index width) {
  const Index fit = 16384 / static_cast<Index>(sizeof(T)) / (width + 1);
  return fit < 1 ? 1 : fit < Batch<T>::size ? fit : Batch<T>::size;
}

/// Calls f(first row, number of rows) for blocks of rows that cover [0, rows), on several threads.
template <class T, class F>
void for_row_blocks(Index rows, Index width, F f) {
  const Index block = rows_in_block<T>(width), blocks = (rows + block - 1) / block;
  parallel_for(blocks, 1 + 16384 / (block * width + 1), [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b) f(b * block, (b + 1) * block < rows ? block : rows - b * block);
  });
}

/// out[i] = sum over c of parts[c * stride + i] for i < width, added in groups of 32 whose sums are added in order.
/// Rows of `parts` are padded to whole batches (`stride`).
template <class T>
void add_parts(const T* parts, Index count, Index stride, Index width, T* out) {
  constexpr Index group = 32;
  for_row<T>(width, [&](Index i, Index left) {
    Batch<T> total(0);
    for (Index begin = 0; begin < count; begin += group) {
      Batch<T> sum(0);
      for (Index c = begin; c < count && c < begin + group; ++c) sum += Batch<T>::load(parts + c * stride + i);
      total += sum;
    }
    store_lanes(total, out + i, left);
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
