#pragma once
// A matrix product as its paths see it, and how C is cut into tiles of the micro-kernel (backend/cpu/gemm_kernel.hpp):
// where the ends of C do not fill a tile, the last one overlaps the one before or is computed aside.

#include <utility>

#include "graft/backend/cpu/gemm_kernel.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {
namespace blocked {

// std::min and std::max would bring all of <algorithm> into every program.
constexpr Index smaller(Index a, Index b) { return a < b ? a : b; }
constexpr Index larger(Index a, Index b) { return a > b ? a : b; }

/// One product with its orders turned into strides; C may be written transposed (c_column other than 1).
template <class T>
struct GemmProblem {
  Index m, n, k;
  const T* a;
  Index a_row, a_step;
  const T* b;
  Index b_step, b_column;
  T* c;
  Index c_row, c_column;
  bool accumulate;

  /// Bytes from the first number of an operand to about its last.
  Index a_bytes() const { return (a_row == 1 ? k * a_step : m * a_row) * static_cast<Index>(sizeof(T)); }
  Index b_bytes() const { return (b_column == 1 ? k * b_step : n * b_column) * static_cast<Index>(sizeof(T)); }

  /// C^T = B^T A^T.
  GemmProblem transposed() const {
    return {n, m, k, b, b_column, b_step, a, a_step, a_row, c, c_column, c_row, accumulate};
  }
};

/// The rows or columns [first, first + extent) of a tile, of which `count` from first + skip are new: the last tile
/// overlaps the one before where that spares a ragged one. Where first + extent is too far, the operand is padded.
struct TileSpan {
  Index first, extent, skip, count;
};

/// Next tile of rows [done, end); rows from 0 on may be computed again.
template <class T>
[[gnu::always_inline]] inline TileSpan next_rows(Index done, Index end) {
  using Blocks = GemmBlocks<T>;
  const Index rest = end - done;
  Index extent = Blocks::few_rows;
  if (rest > Blocks::rows && rest <= 2 * Blocks::middle_rows)
    extent = Blocks::middle_rows;
  else if (rest > Blocks::middle_rows && rest <= Blocks::upper_rows && end >= Blocks::upper_rows)
    extent = Blocks::upper_rows;
  else if (rest >= Blocks::rows || (rest > Blocks::middle_rows && end >= Blocks::rows))
    extent = Blocks::rows;
  else if (rest > Blocks::few_rows && end >= Blocks::middle_rows)
    extent = Blocks::middle_rows;
  const Index first = larger(smaller(done, end - extent), Index{0});
  return {first, extent, done - first, smaller(first + extent, end) - done};
}

/// Next tile of columns [done, end). Packed panels are padded. Where B lies in place, a wide tile reads all of its
/// columns and a narrow one those that are there, by a mask; without fast masks, columns are computed again.
template <class T>
TileSpan next_columns(Index done, Index end, bool packed) {
  using Blocks = GemmBlocks<T>;
  const bool padded = packed || SimdPart<T>::fast;
  const bool wide =
      end - done >= Blocks::columns || (end - done > Blocks::lanes && (packed || (!padded && end >= Blocks::columns)));
  const Index extent = wide ? Blocks::columns : Blocks::lanes;
  const Index first = padded ? done : smaller(done, end - extent);
  return {first, extent, done - first, smaller(first + extent, end) - done};
}

/// Writes the new part of a tile, computed into `tile` [rows.extent, columns.extent], to C.
template <class T>
void write_part(const GemmProblem<T>& g, const T* tile, TileSpan rows, TileSpan columns, bool add) {
  constexpr Index lanes = Simd<T>::size;
  tile += rows.skip * columns.extent + columns.skip;
  T* c = g.c + (rows.first + rows.skip) * g.c_row + (columns.first + columns.skip) * g.c_column;
  if (g.c_column != 1) {
    for (Index j = 0; j < columns.count; ++j)
      for (Index i = 0; i < rows.count; ++i) {
        T& to = c[i * g.c_row + j * g.c_column];
        to = add ? to + tile[i * columns.extent + j] : tile[i * columns.extent + j];
      }
    return;
  }
  for (Index i = 0; i < rows.count; ++i, tile += columns.extent, c += g.c_row) {
    Index j = 0;
    for (; j + lanes <= columns.count; j += lanes) {
      const Simd<T> sum = Simd<T>::load(tile + j);
      (add ? Simd<T>::load(c + j) + sum : sum).store(c + j);
    }
    if (const Index rest = columns.count - j; rest > 0) {
      const Simd<T> sum = Simd<T>::load_part(tile + j, rest);
      (add ? Simd<T>::load_part(c + j, rest) + sum : sum).store_part(c + j, rest);
    }
  }
}

/// One tile over one block of k, computed aside and then written or added where it is new.
template <class T>
[[gnu::noinline]] void run_tile_aside(GemmProblem<T> g, TileSpan rows, TileSpan columns, TileArguments<T>& t) {
  using Blocks = GemmBlocks<T>;
  const bool wide = columns.extent == Blocks::columns;
  alignas(64) T tile[Blocks::rows * Blocks::columns];
  t.columns = SimdPart<T>::fast && !wide ? columns.count : columns.extent;
  t.c = tile;
  t.c_row = columns.extent;
  const bool add = std::exchange(t.add, false);
  gemm_tile(static_cast<int>(rows.extent), wide, t);
  t.add = add;
  write_part(g, tile, rows, columns, add);
}

/// One tile over one block of k: operands as the kernel reads them, the place in C from the spans. (The other way gets
/// copies, so that a compiler may keep the originals in registers.)
template <class T>
[[gnu::always_inline]] inline void run_tile(const GemmProblem<T>& g, const TileSpan& rows, const TileSpan& columns,
                                            TileArguments<T>& t) {
  const bool wide = columns.extent == GemmBlocks<T>::columns;
  // Rows that are computed again have the same bits: they may be written again, but not added.
  const bool whole = rows.first + rows.extent <= g.m && !(t.add && rows.skip > 0) && columns.skip == 0;
  if (whole && g.c_column == 1) {
    t.columns = columns.count;
    t.c = g.c + rows.first * g.c_row + columns.first;
    t.c_row = g.c_row;
    gemm_tile(static_cast<int>(rows.extent), wide, t);
    return;
  }
  run_tile_aside(g, rows, columns, t);
}

}  // namespace blocked
}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
