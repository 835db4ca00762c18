#pragma once
// Matrix product on the CPU: packed panels around a register-blocked micro-kernel, after Goto and van de Geijn,
// "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008, and Van Zee and van de Geijn, "BLIS", ACM
// TOMS 41(3), 2015.
//
// Every path sums alike: one chain of `fma` inside a block of GemmBlocks<T>::depth steps of k, then the sums of the
// blocks in order. So an element of C depends on its row of A, its column of B and k alone: not on the path, the number
// of rows or columns, its position, or the number of threads.
//
// The paths, the first that fits; "in place": read where it lies, by full registers:
//
//   path                  for                                                      A                  B
//   gemm_in_place         both operands up to 64 KiB, k one block, rows of B       in place           in place
//                         in one piece; or one such row of A
//   gemm_transposing      the same where columns of B are in one piece             in place           transposed
//   gemm_thin             a few rows, columns of B in one piece: reading B         one panel          in place, once
//                         is what takes time
//   gemm_few_rows         A that the L2 cache holds                                packed, all of k   a panel at a time
//   gemm_many_rows        all others, one block of k after the other               packed in blocks   packed, 4 MiB at
//                                                                                                     a time
//
// A product with few columns is computed as its transpose.

#include <atomic>
#include <cstddef>

#include "graft/backend/cpu/gemm_pack.hpp"
#include "graft/backend/cpu/gemm_tiles.hpp"
#include "graft/core/memory.hpp"
#include "graft/core/parallel.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {
namespace blocked {

/// Multiplications worth a parallel region (2 MFLOP).
inline constexpr Index kGemmParallelWork = Index{1} << 20;
/// Numbers of B worth one where a few rows of A use each of them once: a MiB, which one core reads in about 40 us.
inline constexpr Index kGemmParallelNumbers = Index{1} << 18;
/// Bytes of an operand that the kernel reads in place however often it needs them: half of an L1 cache.
inline constexpr Index kGemmInPlaceBytes = Index{1} << 14;
/// Bytes of each operand of a product that is computed without panels: two of them in a part of the L2 cache.
inline constexpr Index kGemmDirectBytes = Index{1} << 16;
/// Numbers of B packed at a time: a few MiB, in the L3 cache while all rows of A pass.
inline constexpr Index kGemmPackedNumbers = Index{1} << 20;

/// Another way to compute products of floats, true where it did; null: none. See gemm_split.hpp.
inline std::atomic<bool (*)(const GemmProblem<float>&)> other_gemm{nullptr};

/// Where a register has no fast masks, columns of B in place are read by whole registers.
template <class T>
bool readable_in_place(const GemmProblem<T>& g) {
  return SimdPart<T>::fast || g.n >= GemmBlocks<T>::lanes;
}

/// Rows of a matrix that start a large power of two apart share few sets of a cache.
template <class T>
bool awkward_stride(Index stride) {
  return stride * static_cast<Index>(sizeof(T)) % 2048 == 0;
}

/// Small products, whose operands stay in cache while they are read where they lie: no panels, one block of k. The cost
/// of a call shows here: tiles of full height that lie one below the other are one call of the kernel.
template <class T>
[[gnu::always_inline]] inline void gemm_in_place(const GemmProblem<T>& g) {
  using Blocks = GemmBlocks<T>;
  TileArguments<T> t;
  t.k = g.k, t.a_row = g.a_row, t.a_step = g.a_step, t.b_step = g.b_step, t.c_row = g.c_row, t.add = g.accumulate;
  for (Index j = 0; j < g.n;) {
    const TileSpan columns = next_columns<T>(j, g.n, false);
    t.b = g.b + columns.first;
    for (Index i = 0; i < g.m;) {
      TileSpan rows = next_rows<T>(i, g.m);
      t.tiles = 1;
      if (rows.extent == Blocks::rows && columns.skip == 0)
        for (; g.m - i - rows.count >= Blocks::rows; rows.count += Blocks::rows, ++t.tiles)
          if (next_rows<T>(i + rows.count, g.m).extent != Blocks::rows) break;
      t.a = g.a + rows.first * g.a_row;
      run_tile(g, rows, columns, t);
      i += rows.count;
    }
    j += columns.count;
  }
}

/// The same where the columns of B lie in one piece: its transpose is laid out first.
template <class T>
[[gnu::noinline]] void gemm_transposing(const GemmProblem<T>& g) {
  const Index columns = whole_batches<T>(g.n);
  const detail::Workspace<T> b(g.k * columns);
  pack_panel(g.b, g.b_column, g.b_step, g.n, g.n, g.k, columns, b.data());
  gemm_in_place(GemmProblem<T>{g.m, g.n, g.k, g.a, g.a_row, g.a_step, b.data(), columns, 1, g.c, g.c_row, g.c_column,
                               g.accumulate});
}

/// Few rows times a B whose columns lie in one piece, a register of them or more: what takes time is to read B, once.
template <class T>
[[gnu::noinline]] void gemm_thin(const GemmProblem<T>& g, bool parallel) {
  using Blocks = GemmBlocks<T>;
  constexpr Index rows = Blocks::middle_rows, lanes = Blocks::lanes;
  const bool pack_a = g.a_row != 1 || g.m != rows || g.a_step != rows;
  const detail::Workspace<T> a(pack_a ? g.k * rows + lanes : 0);
  if (pack_a) pack_panel(g.a, g.a_row, g.a_step, g.m, g.m, g.k, rows, a.data());
  const T* const panel = pack_a ? a.data() : g.a;
  const auto run = [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index first = smaller(i * lanes, g.n - lanes), skip = i * lanes - first;
      const TileSpan columns{first, lanes, skip, lanes - skip};
      for (Index p = 0; p < g.k; p += Blocks::depth) {
        alignas(64) T tile[rows * lanes];
        ThinTile<T, std::make_integer_sequence<int, rows>>::run(smaller(Blocks::depth, g.k - p), panel + p * rows,
                                                                g.b + p + first * g.b_column, g.b_column, tile);
        write_part(g, tile, {0, rows, 0, g.m}, columns, g.accumulate || p > 0);
      }
    }
  };
  // An even number of equal chunks.
  const Index panels = (g.n + lanes - 1) / lanes, work = larger(Index{1}, kGemmParallelWork / (g.m * g.k * lanes));
  const Index chunks = (panels + 2 * work - 1) / (2 * work) * 2;
  const bool shared = parallel || g.n * g.k >= kGemmParallelNumbers;
  parallel_for(panels, shared ? (panels + chunks - 1) / chunks : panels, run);
}

/// Calls run(tile, place) for the tiles that cover the rows [row, row_end), one below the other; `place` = rows of the
/// tiles before. Returns the rows of all tiles.
template <class T, class Run>
[[gnu::always_inline]] inline Index for_row_tiles(Index row, Index row_end, Run run) {
  Index place = 0;
  for (Index i = row; i < row_end;) {
    const TileSpan rows = next_rows<T>(i, row_end);
    run(rows, place);
    i += rows.count, place += rows.extent;
  }
  return place;
}

/// Packs rows [row, row_end) of A, `steps` steps of k from p on, as panels [tiles][steps + panel_end][extent].
template <class T>
void pack_rows(const GemmProblem<T>& g, Index row, Index row_end, Index p, Index steps, T* to) {
  // Lines of a transposed A that share few sets of a cache are read by all tiles before they are evicted.
  const Index together = g.a_row == 1 && awkward_stride<T>(g.a_step) ? Index{64} : steps;
  for (Index q = 0; q < steps; q += together)
    for_row_tiles<T>(row, row_end, [&](const TileSpan& rows, Index place) {
      const Index left = g.m - rows.first;
      pack_panel(g.a + rows.first * g.a_row + (p + q) * g.a_step, g.a_row, g.a_step, smaller(rows.extent, left), left,
                 smaller(together, steps - q), rows.extent,
                 to + place * (steps + GemmBlocks<T>::panel_end) + q * rows.extent);
    });
}

/// Packs a tile's columns of B, `steps` steps of k from p on, as a panel [steps][extent].
template <class T>
void pack_columns(const GemmProblem<T>& g, const TileSpan& columns, Index p, Index steps, T* to) {
  pack_panel(g.b + p * g.b_step + columns.first * g.b_column, g.b_column, g.b_step, columns.count, columns.count, steps,
             columns.extent, to);
}

/// Rows [row, row_end) of C, a panel of columns, over the t.k steps from p on: `packed` is what `pack_rows` packed,
/// null where A is read in place; t.b is set.
template <class T>
[[gnu::always_inline]] inline void gemm_panel(const GemmProblem<T>& g, const T* packed, Index row, Index row_end,
                                              const TileSpan& columns, Index p, TileArguments<T>& t) {
  const Index row_numbers = t.k + GemmBlocks<T>::panel_end;
  for_row_tiles<T>(row, row_end, [&](const TileSpan& rows, Index place) {
    if (packed)
      t.a = packed + place * row_numbers, t.a_row = 1, t.a_step = rows.extent;
    else
      t.a = g.a + rows.first * g.a_row + p * g.a_step, t.a_row = g.a_row, t.a_step = g.a_step;
    if (g.c_column == 1)
      for (Index i = 0; i < rows.extent; ++i)
        for (Index j = 0; j < columns.extent; j += GemmBlocks<T>::lanes)
          native::prefetch_to_l2(g.c + (rows.first + i) * g.c_row + columns.first + j);
    run_tile(g, rows, columns, t);
  });
}

/// Products with few rows: each panel of B is used as soon as it is packed, and never again.
template <class T>
[[gnu::noinline]] void gemm_few_rows(const GemmProblem<T>& g, bool parallel) {
  using Blocks = GemmBlocks<T>;
  const bool pack_a = g.m < Blocks::few_rows || g.a_bytes() > kGemmInPlaceBytes;
  const Index a_rows = for_row_tiles<T>(0, g.m, [](const TileSpan&, Index) {});
  const Index blocks_of_k = (g.k + Blocks::depth - 1) / Blocks::depth;
  const detail::Workspace<T> a(pack_a ? (g.k + blocks_of_k * Blocks::panel_end) * a_rows : 0);
  const auto block_of_a = [&](Index p) { return a.data() + (p + p / Blocks::depth * Blocks::panel_end) * a_rows; };
  if (pack_a) {
    // Whole tiles, so that the rows of the tiles before are as many as the rows before; the rest goes to the last.
    const Index rows = 4 * Blocks::rows, chunks = larger(g.m / rows, Index{1});
    parallel_for(chunks, parallel ? 1 : chunks, [&](Index begin, Index end) {
      const Index row = begin * rows, row_end = end == chunks ? g.m : end * rows;
      for (Index p = 0; p < g.k; p += Blocks::depth) {
        const Index steps = smaller(Blocks::depth, g.k - p);
        pack_rows(g, row, row_end, p, steps, block_of_a(p) + row * (steps + Blocks::panel_end));
      }
    });
  }
  const bool pack_b =
      g.b_column != 1 || !readable_in_place(g) || (g.m > Blocks::rows && g.b_bytes() > 2 * kGemmInPlaceBytes);
  const auto run = [&](Index begin, Index end) {
    alignas(64) T panel[Blocks::depth * Blocks::columns];
    for (Index j = begin * Blocks::columns; j < smaller(end * Blocks::columns, g.n);) {
      const TileSpan columns = next_columns<T>(j, g.n, pack_b);
      for (Index p = 0; p < g.k; p += Blocks::depth) {
        TileArguments<T> t;
        t.k = smaller(Blocks::depth, g.k - p), t.add = g.accumulate || p > 0;
        if (pack_b) {
          pack_columns(g, columns, p, t.k, panel);
          t.b = panel, t.b_step = columns.extent;
        } else {
          t.b = g.b + p * g.b_step + columns.first, t.b_step = g.b_step;
        }
        gemm_panel(g, pack_a ? block_of_a(p) : nullptr, 0, g.m, columns, p, t);
      }
      j += columns.count;
    }
  };
  const Index panels = (g.n + Blocks::columns - 1) / Blocks::columns;
  parallel_for(panels, parallel ? larger(Index{1}, kGemmParallelWork / (g.m * g.k * Blocks::columns)) : panels, run);
}

/// Rows [row, row_end) of C over the block of k that begins at p. The block of A waits in the L2 cache, packed at `a`
/// unless that is null, for the panels of B: of `packed_b` [columns / extent][steps][extent], or in place if it is
/// null.
template <class T>
[[gnu::noinline]] void gemm_rows(const GemmProblem<T>& g, T* a, const T* packed_b, Index row, Index row_end, Index p) {
  using Blocks = GemmBlocks<T>;
  TileArguments<T> t;
  t.k = smaller(Blocks::depth, g.k - p), t.add = g.accumulate || p > 0;
  if (a) pack_rows(g, row, row_end, p, t.k, a);
  for (Index j = 0; j < g.n;) {
    const TileSpan columns = next_columns<T>(j, g.n, packed_b != nullptr);
    t.b = packed_b ? packed_b + columns.first * t.k : g.b + p * g.b_step + columns.first;
    t.b_step = packed_b ? columns.extent : g.b_step;
    gemm_panel(g, a, row, row_end, columns, p, t);
    j += columns.count;
  }
}

/// Products with many rows, one block of k after the other: B is packed for all rows, A for some at a time.
template <class T>
[[gnu::noinline]] void gemm_many_rows(const GemmProblem<T>& g, bool parallel) {
  using Blocks = GemmBlocks<T>;
  const Index depth = smaller(g.k, Blocks::depth);
  const bool pack_b = g.b_column != 1 || !readable_in_place(g) || g.b_bytes() > 2 * kGemmInPlaceBytes;
  const detail::Workspace<T> block_of_b(pack_b ? depth * whole_batches<T>(g.n) : 0);
  T* const packed_b = pack_b ? block_of_b.data() : nullptr;
  // Rows of A lie in one piece unless A is transposed; packing them pays when a panel is used many times.
  const bool pack_a =
      g.a_bytes() > kGemmInPlaceBytes && (g.a_row == 1 || g.n > 8 * Blocks::columns || awkward_stride<T>(g.a_row));
  // An even number of chunks of about eight tiles of rows; what does not fill a tile goes to the last. A thread packs
  // its chunks of A in the same place, one after the other.
  const Index tiles = g.m / Blocks::rows, about = larger(Index{1}, tiles / 8), chunks = about + about % 2;
  const Index team = parallel && !inside_parallel() ? smaller(threads(), chunks) : 1;
  const Index block = pack_a ? (tiles / chunks + 3) * Blocks::rows * (depth + Blocks::panel_end) : 0;
  const detail::Workspace<T> block_of_a(team * block);
  const auto first_row = [&](Index chunk) { return chunk == chunks ? g.m : chunk * tiles / chunks * Blocks::rows; };
  const Index panels = (g.n + Blocks::columns - 1) / Blocks::columns;
  for (Index p = 0; p < g.k; p += Blocks::depth) {
    if (pack_b)
      parallel_for(panels, parallel ? 2 : panels, [&](Index begin, Index end) {
        const Index steps = smaller(Blocks::depth, g.k - p);
        for (Index i = begin; i < end; ++i) {
          const TileSpan span = next_columns<T>(i * Blocks::columns, g.n, true);
          pack_columns(g, span, p, steps, packed_b + span.first * steps);
        }
      });
    // Down and up in turn: the rows of C that were written last are still in a cache.
    const bool upwards = p / Blocks::depth % 2 != 0;
    parallel_for(team, 1, [&](Index worker, Index) {
      T* const a = pack_a ? block_of_a.data() + worker * block : nullptr;
      const Index first = worker * chunks / team, end = (worker + 1) * chunks / team;
      for (Index i = first; i < end; ++i) {
        const Index chunk = upwards ? first + end - 1 - i : i;
        gemm_rows(g, a, packed_b, first_row(chunk), first_row(chunk + 1), p);
      }
    });
  }
}

/// All other products.
template <class T>
[[gnu::noinline]] void gemm_through_panels(const GemmProblem<T>& g, bool parallel) {
  using Blocks = GemmBlocks<T>;
  if (g.m == 1 && g.b_column == 1 && g.k <= Blocks::depth && !parallel && !g.accumulate && readable_in_place(g)) {
    // A tile all of whose rows are this one.
    gemm_in_place(
        GemmProblem<T>{Blocks::few_rows, g.n, g.k, g.a, 0, g.a_step, g.b, g.b_step, 1, g.c, 0, g.c_column, false});
    return;
  }
  if (g.m <= Blocks::middle_rows && g.n >= Blocks::lanes && g.b_column != 1) {
    gemm_thin(g, parallel);
    return;
  }
  // An A that stays in the L2 cache waits there for the panels of B, if they are many.
  if (g.m <= 2 * Blocks::rows || (g.m <= Blocks::resident_rows && g.n >= 8 * Blocks::columns)) {
    gemm_few_rows(g, parallel);
    return;
  }
  const Index group =
      larger(kGemmPackedNumbers / smaller(g.k, Blocks::depth) / Blocks::columns, Index{1}) * Blocks::columns;
  for (Index j = 0; j < g.n; j += group) {
    GemmProblem<T> part = g;
    part.n = smaller(group, g.n - j);
    part.b += j * g.b_column;
    part.c += j * g.c_column;
    gemm_many_rows(part, parallel);
  }
}

}  // namespace blocked

/// C [m, n] = op(A) [m, k] op(B) [k, n], plus C where `accumulate`. op(X) is X, or its transpose where asked for: A is
/// stored [m, k] or [k, m], B [k, n] or [n, k]. Row-major; `lda`, `ldb`, `ldc` are the distances of rows in memory, at
/// least their length. C overlaps neither A nor B. k = 0 gives zeros. float and double.
/// Throws std::bad_alloc before anything is written.
template <class T>
void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, const T* a, Index lda, const T* b, Index ldb,
          T* c, Index ldc, bool accumulate = false) {
  using Blocks = blocked::GemmBlocks<T>;
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    if (!accumulate)
      for (Index i = 0; i < m; ++i) for (Index j = 0; j < n; ++j) c[i * ldc + j] = T(0);
    return;
  }
  const blocked::GemmProblem<T> g{m,
                                 n,
                                 k,
                                 a,
                                 transpose_a ? 1 : lda,
                                 transpose_a ? lda : 1,
                                 b,
                                 transpose_b ? 1 : ldb,
                                 transpose_b && n > 1 ? ldb : 1,
                                 c,
                                 ldc,
                                 1,
                                 accumulate};
  if constexpr (sizeof(T) == sizeof(float))
    if (const auto other = blocked::other_gemm.load(std::memory_order_relaxed); other && other(g)) return;
  const bool parallel = m * n * k >= blocked::kGemmParallelWork;
  // A few columns leave lanes empty: rows take their place.
  const bool turn = 2 * n <= Blocks::lanes && m >= Blocks::lanes;
  if (!turn && !parallel && k <= Blocks::depth && m >= Blocks::few_rows &&
      blocked::larger(g.a_bytes(), g.b_bytes()) <= blocked::kGemmDirectBytes && blocked::readable_in_place(g)) {
    if (g.b_column == 1) {
      blocked::gemm_in_place(g);
      return;
    }
    // Few rows transpose B on its way, many columns are packed a panel at a time.
    if (n < Blocks::lanes || (m > Blocks::middle_rows && n < 8 * Blocks::columns)) {
      blocked::gemm_transposing(g);
      return;
    }
  }
  blocked::gemm_through_panels(turn ? g.transposed() : g, parallel);
}

/// Calls product(i) for every i from 0 up to `batch`, `work` multiplications each, on several threads where that pays.
template <class Product>
void gemm_each(Index batch, Index work, Product product) {
  const auto run = [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) product(i);
  };
  // Few large products are shared out one by one, so that no thread waits for the last of them.
  if (batch * work < blocked::kGemmParallelWork || (batch < 8 && work >= blocked::kGemmParallelWork)) {
    run(0, batch);
    return;
  }
  const Index chunk = blocked::larger(Index{1}, blocked::kGemmParallelWork / work);
  // Tasks, not `parallel_for`: a product may fail to get memory.
  parallel_jobs((batch + chunk - 1) / chunk,
                [&](Index i) { run(i * chunk, blocked::smaller((i + 1) * chunk, batch)); });
}

/// `batch` products as `gemm` computes them, the matrices `stride_a`, `stride_b`, `stride_c` numbers apart; a stride of
/// 0 shares A or B among all.
template <class T>
void gemm_batched(bool transpose_a, bool transpose_b, Index batch, Index m, Index n, Index k, const T* a, Index lda,
                  Index stride_a, const T* b, Index ldb, Index stride_b, T* c, Index ldc, Index stride_c) {
  if (batch <= 0 || m <= 0 || n <= 0) return;
  if (stride_b == 0 && !transpose_a && stride_a == m * lda && stride_c == m * ldc) {
    gemm(false, transpose_b, batch * m, n, k, a, lda, b, ldb, c, ldc);
    return;
  }
  gemm_each(batch, m * n * blocked::larger(k, Index{1}), [&](Index i) {
    gemm(transpose_a, transpose_b, m, n, k, a + i * stride_a, lda, b + i * stride_b, ldb, c + i * stride_c, ldc);
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
