#pragma once
// Register-blocked micro-kernel of the matrix product: a tile of C, Rows x (1 or 2 batches), stays in registers while
// one step of k at a time adds a column of A times a row of B. Operands are given by strides, so one kernel reads
// packed panels and matrices where they lie. Every sum is one chain of `fma` over k, from zero, whatever the tile.

#include <type_traits>
#include <utility>

#include "graft/number/batch.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {
namespace blocked {

/// Sizes of the blocked product. `depth` alone decides bits: sums over k run in blocks of `depth`, added in order.
template <class T>
struct GemmBlocks {
  /// Numbers in a register.
  static constexpr Index lanes = Batch<T>::size;
  /// True where 32 registers can hold accumulators, else 16.
  static constexpr bool many_registers = lanes * sizeof(T) == 64;
  /// Tile heights. The highest with two batches a row fills the registers (28 of 32 and 12 of 16 accumulators); the
  /// lower ones keep the ends of C from wasting work.
  static constexpr int rows = many_registers ? 14 : lanes * sizeof(T) == 32 ? 6 : 4;
  static constexpr int middle_rows = many_registers ? 8 : 4;
  static constexpr int few_rows = many_registers ? 4 : 2;
  /// Tile widths.
  static constexpr Index columns = 2 * lanes;
  /// Steps of k in a block. Long blocks touch C rarely, which pays although a panel of B, depth x columns, then takes
  /// 64 KiB and streams from the L2 cache: the hardware follows it.
  static constexpr Index depth = sizeof(T) == 4 ? 512 : 256;
  /// Columns of B that are walked for every panel of A: as many as reuse the panel often; the block of B, depth x width,
  /// streams from the L2 and L3 caches.
  static constexpr Index width = 1024;
};

/// Where a tile reads and writes: A(i, p) = a[i * a_row + p * a_step], B(p, j) = b[p * b_step + j], C row-major.
template <class T>
struct TileArguments {
  Index k;
  const T* a;
  Index a_row, a_step;
  const T* b;
  Index b_step;
  T* c;
  Index c_row;
  bool add;  ///< C += A B instead of C = A B
};

/// The kernel for one tile size.
template <class T, bool Wide, class Rows>
struct GemmTile;

template <class T, bool Wide, int... I>
struct GemmTile<T, Wide, std::integer_sequence<int, I...>> {
  template <int>
  using Accumulator = Batch<T>;

  [[gnu::noinline]] static void run(const TileArguments<T>& t) {
    sum(t, Accumulator<I>(T(0))..., Accumulator<I>(T(0))...);
  }

  // Accumulators are parameter packs: compilers keep separately named variables in registers, not elements of an array.
  [[gnu::always_inline]] static void sum(const TileArguments<T>& t, Accumulator<I>... left, Accumulator<I>... right) {
    constexpr Index lanes = Batch<T>::size;
    const Index row = t.a_row, a_step = t.a_step, b_step = t.b_step;
    // A pointer for three rows: the third is reached by the scaled index of an address, so few registers hold
    // addresses.
    const T *a0 = t.a, *a1 = a0 + 3 * row, *a2 = a1 + 3 * row, *a3 = a2 + 3 * row, *a4 = a3 + 3 * row, *b = t.b;
    for (Index k = t.k; k > 0; --k) {
      const Batch<T> b0 = Batch<T>::load(b), b1 = Wide ? Batch<T>::load(b + lanes) : b0;
      const auto fma_row = [&](int i, Batch<T>& l, [[maybe_unused]] Batch<T>& r) __attribute__((always_inline)) {
        const T* from = i < 3 ? a0 : i < 6 ? a1 : i < 9 ? a2 : i < 12 ? a3 : a4;
        const Batch<T> x(from[i % 3 * row]);
        l = fma(x, b0, l);
        if constexpr (Wide) r = fma(x, b1, r);
      };
      (fma_row(I, left, right), ...);
      a0 += a_step, a1 += a_step, a2 += a_step, a3 += a_step, a4 += a_step, b += b_step;
    }
    const auto write = [&](T * c, Batch<T> l, [[maybe_unused]] Batch<T> r) __attribute__((always_inline)) {
      if (t.add) {
        l = Batch<T>::load(c) + l;
        if constexpr (Wide) r = Batch<T>::load(c + lanes) + r;
      }
      l.store(c);
      if constexpr (Wide) r.store(c + lanes);
    };
    (write(t.c + I * t.c_row, left, right), ...);
  }
};

/// Computes a tile of `rows` (one of the three tile heights) x `wide ? 2 : 1` batches.
template <class T>
void gemm_tile(int rows, bool wide, const TileArguments<T>& t) {
  using Blocks = GemmBlocks<T>;
  const auto run = [&](auto height) {
    if (wide)
      GemmTile<T, true, decltype(height)>::run(t);
    else
      GemmTile<T, false, decltype(height)>::run(t);
  };
  if (rows == Blocks::rows)
    run(std::make_integer_sequence<int, Blocks::rows>{});
  else if (rows == Blocks::middle_rows)
    run(std::make_integer_sequence<int, Blocks::middle_rows>{});
  else
    run(std::make_integer_sequence<int, Blocks::few_rows>{});
}

}  // namespace blocked
}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
