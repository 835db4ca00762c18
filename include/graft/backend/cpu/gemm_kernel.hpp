#pragma once
// Register-blocked micro-kernel of the matrix product: a tile of C, Rows x (1 or 2 batches), stays in registers while
// one step of k at a time adds a column of A times a row of B. Operands are given by strides, so one kernel reads
// packed panels and matrices where they lie. Every sum is one chain of `fma` over k, from zero, whatever the tile.

#include <type_traits>
#include <utility>

#include "graft/number/transpose.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {
namespace blocked {

/// Sizes of the blocked product. `depth` alone decides bits: sums over k run in blocks of `depth`, added in order.
template <class T>
struct GemmBlocks {
  /// Numbers in a register.
  static constexpr Index lanes = Simd<T>::size;
  /// Tile heights. The highest with two batches a row fills the registers (28 of AVX-512's 32 and 24 of AArch64's, 12
  /// of AVX2's 16, 8 of SSE's 16 accumulators); the lower ones keep the ends of C from wasting work.
  static constexpr bool longest = lanes * sizeof(T) == 64;
#ifdef __aarch64__
  static constexpr bool many_registers = true;
#else
  static constexpr bool many_registers = longest;
#endif
  static constexpr int rows = longest ? 14 : many_registers ? 12 : lanes * sizeof(T) == 32 ? 6 : 4;
  static constexpr int upper_rows = longest ? 10 : rows;
  static constexpr int middle_rows = many_registers ? 8 : 4;
  static constexpr int few_rows = many_registers ? 4 : 2;
  /// Tile widths.
  static constexpr Index columns = 2 * lanes;
  /// Steps of k in a block. Long blocks touch C rarely, which pays although a panel of B, depth x columns, then takes
  /// 64 KiB and streams from the L2 cache: the hardware follows it.
  static constexpr Index depth = sizeof(T) == 4 ? 512 : 256;
  /// Steps after the end of a panel of A that packing it may write to: a register less the lowest tile.
  static constexpr Index panel_end = lanes > few_rows ? lanes / few_rows - 1 : 0;
  /// Rows of A whose block of k, rows x depth, stays in the L2 cache: 768 KiB.
  static constexpr Index resident_rows = 384;
};

/// Blocks of lanes x lanes numbers of B that `ThinTile` fetches ahead.
inline constexpr Index kThinAhead = 4;

/// Where a tile reads and writes: A(i, p) = a[i * a_row + p * a_step], B(p, j) = b[p * b_step + j], C row-major.
template <class T>
struct TileArguments {
  Index tiles = 1;  ///< one below the other
  Index columns;    ///< of C that are written; of B a narrow tile reads no others, a wide one all of its width
  Index k;
  const T* a;
  const T* b;
  T* c;
  Index a_row, b_step, c_row, a_step;
  bool add;  ///< C += A B instead of C = A B
};

/// The kernel for one tile size. `Panels`: both operands are panels as wide as the tile, whose addresses are constants.
template <class T, bool Wide, class Rows, bool Panels = false>
struct GemmTile;

template <class T, bool Wide, int... I, bool Panels>
struct GemmTile<T, Wide, std::integer_sequence<int, I...>, Panels> {
  template <int>
  using Accumulator = Simd<T>;

  [[gnu::noinline]] static void run(const TileArguments<T>& t) {
    constexpr Index rows = sizeof...(I);
    const T* a = t.a;
    T* c = t.c;
    for (Index i = t.tiles; i > 0; --i, a += rows * t.a_row, c += rows * t.c_row)
      sum(t, a, c, Accumulator<I>(T(0))..., Accumulator<I>(T(0))...);
  }

  // Accumulators are parameter packs: compilers keep separately named variables in registers, not elements of an array.
  [[gnu::always_inline]] static void sum(const TileArguments<T>& t, const T* a0, T* c, Accumulator<I>... left,
                                         Accumulator<I>... right) {
    static_assert(sizeof...(I) <= 14);
    constexpr Index lanes = Simd<T>::size;
    const Index row = t.a_row, a_step = t.a_step, b_step = t.b_step, c_row = t.c_row;
    const SimdPart<T> last(Wide ? t.columns - lanes : t.columns);
    const bool add = t.add;
    // A pointer for seven rows: the others are reached by the scaled index of an address, so that few registers hold
    // addresses and few instructions move them.
    const T *a7 = a0 + 7 * row, *b = t.b;
    const Index row3 = 3 * row, row5 = 5 * row;
    // The products of the step of k that is `ahead` of the pointers.
    const auto step = [&](Index ahead) __attribute__((always_inline)) {
      constexpr Index panel_rows = sizeof...(I), panel_columns = (Wide ? 2 : 1) * lanes;
      const T* at = Panels ? b + ahead * panel_columns : b;
      const Simd<T> b0 = !Wide && SimdPart<T>::fast ? Simd<T>::load(at, last) : Simd<T>::load(at);
      const Simd<T> b1 = Wide ? Simd<T>::load(at + lanes) : b0;
      const auto fma_row = [&](int i, Simd<T>& l, [[maybe_unused]] Simd<T>& r) __attribute__((always_inline)) {
        const T* from = i < 7 ? a0 : a7;
        const int j = i % 7;
        const Simd<T> x(Panels ? a0[ahead * panel_rows + i]
                                : from[j == 3 ? row3 : j == 5 ? row5 : j == 6 ? 2 * row3 : j * row]);
        l = fma(x, b0, l);
        if constexpr (Wide) r = fma(x, b1, r);
      };
      (fma_row(I, left, right), ...);
    };
    Index k = t.k;
    if constexpr (Panels) {
      for (; k >= 2; k -= 2) {  // two steps a turn: next to nothing but products
        step(0), step(1);
        a0 += 2 * sizeof...(I), b += 4 * lanes;
      }
      if (k > 0) step(0);
    } else {
      do {
        step(0);
        a0 += a_step, a7 += a_step, b += b_step;
      } while (--k > 0);
    }
    // Row by row: in a C whose rows lie a large power of two apart, reading all rows first would evict the first ones.
    const auto write = [&](T * to, Simd<T> l, [[maybe_unused]] Simd<T> r) __attribute__((always_inline)) {
      if constexpr (Wide) {
        (add ? Simd<T>::load(to) + l : l).store(to);
        (add ? Simd<T>::load(to + lanes, last) + r : r).store(to + lanes, last);
      } else {
        (add ? Simd<T>::load(to, last) + l : l).store(to, last);
      }
    };
    (write(c + I * c_row, left, right), ...);
  }
};

/// The kernel of few rows times a B whose columns lie in one piece, each of them needed once: B is transposed on its
/// way from memory into the multiply-adds.
template <class T, class Rows>
struct ThinTile;

template <class T, int... I>
struct ThinTile<T, std::integer_sequence<int, I...>> {
  template <int>
  using Accumulator = Simd<T>;

  /// tile [rows, lanes] = A B over k steps. A is a panel [k, rows]; the columns of B start `b_column` apart.
  [[gnu::noinline]] static void run(Index k, const T* a, const T* b, Index b_column, T* tile) {
    sum(k, a, b, b_column, tile, Accumulator<I>(T(0))...);
  }

  [[gnu::always_inline]] static void sum(Index k, const T* a, const T* b, Index b_column, T* tile,
                                         Accumulator<I>... sums) {
    constexpr Index rows = sizeof...(I), lanes = Simd<T>::size;
    for (; k > 0; k -= lanes, b += lanes, a += lanes * rows) {
      const T* from = b;
      Index stride = b_column;
      alignas(64) T block[lanes * lanes];
      if (k < lanes) {
        for (Index j = 0; j < lanes; ++j) Simd<T>::load_part(b + j * b_column, k).store(block + j * lanes);
        from = block, stride = lanes;
      } else {
        // So many columns at once are more streams than the hardware follows.
        for (Index j = 0; j < lanes; ++j) native::prefetch(b + j * b_column + kThinAhead * lanes);
      }
      load_transposed(from, stride, [&](Index p, Simd<T> row) __attribute__((always_inline)) {
        if (p < k) ((sums = fma(Simd<T>(a[p * rows + I]), row, sums)), ...);
      });
    }
    (sums.store(tile + I * lanes), ...);
  }
};

/// Computes a tile of `rows` (one of the tile heights) x `wide ? 2 : 1` batches.
template <class T>
void gemm_tile(int rows, bool wide, const TileArguments<T>& t) {
  using Blocks = GemmBlocks<T>;
  const auto run = [&](auto height) {
    if (wide)
      GemmTile<T, true, decltype(height)>::run(t);
    else
      GemmTile<T, false, decltype(height)>::run(t);
  };
  using Highest = std::make_integer_sequence<int, Blocks::rows>;
  if (rows == Blocks::rows && wide && t.a_row == 1 && t.a_step == Blocks::rows && t.b_step == Blocks::columns)
    GemmTile<T, true, Highest, true>::run(t);
  else if (rows == Blocks::rows)
    run(Highest{});
  else if (rows == Blocks::upper_rows)
    run(std::make_integer_sequence<int, Blocks::upper_rows>{});
  else if (rows == Blocks::middle_rows)
    run(std::make_integer_sequence<int, Blocks::middle_rows>{});
  else
    run(std::make_integer_sequence<int, Blocks::few_rows>{});
}

}  // namespace blocked
}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
