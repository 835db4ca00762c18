#pragma once
// float matrix product on tile registers: every float is the sum of three bfloat16 terms, and of the nine products of
// terms the six largest are computed by tiles. After Henry, Tang and Heinecke, "Leveraging the bfloat16 artificial
// intelligence datatype for higher-precision computations", ARITH 2019, arXiv 1904.06376; docs/split-bfloat16.md.
//
// Every element of C sums alike: one chain of tile products inside a block of kSplitDepth steps of k, from zero; the
// sums of eight blocks in order; these groups in order. So an element depends on its row of A, its column of B and k
// alone, unless an operand as a whole is out of the terms' range, which leaves the product to the ordinary kernel.

#include <atomic>
#include <bit>

#include "graft/backend/cpu/gemm.hpp"
#include "graft/number/tile.hpp"
#include "graft/number/transpose.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace cpu {
namespace blocked {

/// Steps of k in a block and blocks in a group; they decide bits.
inline constexpr Index kSplitDepth = 256, kSplitGroup = 8;
/// Rows of a panel of A, and columns of one of B: two tiles.
inline constexpr Index kSplitPanel = 2 * kTileRows;
/// Panels of A and B in a block of C. Their block of k takes 0.6 MiB of the L2 cache, the sums 128 KiB.
inline constexpr Index kSplitRows = 4, kSplitColumns = 8;
/// Sums of a panel of A times one of B.
inline constexpr Index kSplitSums = kSplitPanel * kSplitPanel;
/// Pairs of tiles that are packed as one piece of work.
inline constexpr Index kSplitPiece = 8;
/// Numbers of an operand that are packed at a time, six bytes each.
inline constexpr Index kSplitPackedNumbers = Index{1} << 24;
/// Multiplications worth a parallel region.
inline constexpr Index kSplitParallelWork = Index{1} << 21;
/// Least number of columns, and of steps of k: below, packing takes what tiles gain.
inline constexpr Index kSplitLeast = 128;

constexpr Index split_pieces(Index count, Index piece) { return (count + piece - 1) / piece; }

/// An operand as rows of A, or columns of B, over k: number (i, p) is from[i * item + p * step].
struct SplitOperand {
  const float* from;
  Index items, k, item, step;
  bool columns;  ///< of B

  /// bfloat16 numbers of a panel: [k / 32][term][2 tiles][16][32].
  Index panel() const { return split_pieces(k, kTileSteps) * 3 * 2 * kTileNumbers; }
  /// Pieces of work that packing is cut into.
  Index pieces() const {
    const Index steps = split_pieces(k, kTileSteps), panels = split_pieces(items, kSplitPanel);
    return step == 1 ? panels * split_pieces(steps, kSplitPiece) : steps * split_pieces(panels, kSplitPiece);
  }
};

/// Packs 16 items over 32 steps of k: three tiles, `2 kTileNumbers` apart. Steps p and p + 16 share a pair, so that no
/// number changes its lane: a tile of A has rows [item][p][p or p + 16], one of B [p][item][p or p + 16].
inline void split_tile(const SplitOperand& o, Index item, Index p, std::uint16_t* to, FloatBits& largest) {
  constexpr Index lanes = Simd<float>::size;
  const Index lines = o.columns ? 32 : 16, length = 512 / lines;
  const Index line = o.columns ? o.step : o.item, along = o.columns ? o.item : o.step;
  const float* from = o.from + item * o.item + p * o.step;
  const Index items_left = o.items - item, steps_left = o.k - p;
  Index stride = line;
  alignas(64) float block[512];
  const bool whole = items_left >= kTileRows && steps_left >= kTileSteps;
  if (!whole || along != 1) {
    if (whole) {
      for (Index i = 0; i < lines; i += lanes)
        for (Index j = 0; j < length; j += lanes)
          load_transposed(from + i + j * along, along,
                          [&](Index l, Simd<float> column) { column.store(block + (i + l) * length + j); });
    } else {
      const Index i_end = o.columns ? steps_left : items_left, j_end = o.columns ? items_left : steps_left;
      for (Index i = 0; i < lines; ++i)
        for (Index j = 0; j < length; ++j)
          block[i * length + j] = i < i_end && j < j_end ? from[i * line + j * along] : 0.0f;
    }
    from = block, stride = length;
  }
  const Index partner = o.columns ? kTileRows * stride : kTileRows;
  for (Index r = 0; r < kTileRows; ++r, from += stride)
    for (Index l = 0; l < kTileRows; l += lanes) {
      const FloatBits low = bits_of(Simd<float>::load(from + l));
      const FloatBits high = bits_of(Simd<float>::load(from + l + partner));
      grow_to(largest, low), grow_to(largest, high);
      split_pair(low, high, to + r * kTileSteps + 2 * l, 2 * kTileNumbers);
    }
}

/// The range of an operand, shared by the threads that read it.
class SplitRange {
 public:
  void join(FloatBits bits) {
    const std::uint32_t mine = largest_lane(bits);
    std::uint32_t all = largest_.load(std::memory_order_relaxed);
    while (mine > all && !largest_.compare_exchange_weak(all, mine, std::memory_order_relaxed)) {
    }
  }
  /// Whether products of terms neither overflow nor lose bits that count. Operands: between 2^-60, so that all terms of
  /// the largest number are normal, and the first float that is infinite as bfloat16. The largest product |a| |b|, from
  /// 2^e to 2^(e + 2): k of them are finite, and what is flushed to zero, below 2^-126, is below 2^-42 of it.
  static bool fits(const SplitRange& a, const SplitRange& b, Index k) {
    constexpr std::uint32_t least = (127u - 60) << 23, infinite = 0x7F7F8000;
    const std::uint32_t x = a.largest_.load(std::memory_order_relaxed), y = b.largest_.load(std::memory_order_relaxed);
    const int e = static_cast<int>(x >> 23) + static_cast<int>(y >> 23) - 2 * 127;
    return x >= least && y >= least && x < infinite && y < infinite && e >= -84 &&
           e + 2 + static_cast<int>(std::bit_width(static_cast<std::uint64_t>(k))) <= 126;
  }

 private:
  std::atomic<std::uint32_t> largest_{0};
};

/// Packs piece `piece` of an operand: eight tiles deep or eight panels wide, so that memory is read along its rows.
[[gnu::noinline]] inline void split_piece(const SplitOperand& o, Index piece, std::uint16_t* packed,
                                          SplitRange& range) {
  FloatBits largest = {};
  const Index steps = split_pieces(o.k, kTileSteps), panels = split_pieces(o.items, kSplitPanel);
  const bool deep = o.step == 1;
  const Index across = split_pieces(deep ? steps : panels, kSplitPiece);
  const Index first = piece % across * kSplitPiece, last = first + kSplitPiece;
  for (Index i = first; i < last && i < (deep ? steps : panels); ++i) {
    const Index panel = deep ? piece / across : i, step = deep ? i : piece / across;
    for (Index tile = 0; tile < 2; ++tile)
      split_tile(o, panel * kSplitPanel + tile * kTileRows, step * kTileSteps,
                 packed + panel * o.panel() + (step * 6 + tile) * kTileNumbers, largest);
  }
  range.join(largest);
}

/// sums [32, 32] = A B for panels over 32 `steps` of k, stored `stride` apart.
template <class Tiles>
[[gnu::noinline]] void split_multiply(Tiles& tiles, Index steps, const std::uint16_t* a, const std::uint16_t* b,
                                      float* sums) {
  tiles.template zero<0>(), tiles.template zero<1>(), tiles.template zero<2>(), tiles.template zero<3>();
  const auto load_a = [&](Index term) __attribute__((always_inline)) {
    tiles.template load<4>(a + 2 * term * kTileNumbers);
    tiles.template load<5>(a + (2 * term + 1) * kTileNumbers);
  };
  const auto load_b = [&](Index term) __attribute__((always_inline)) {
    tiles.template load<6>(b + 2 * term * kTileNumbers);
    tiles.template load<7>(b + (2 * term + 1) * kTileNumbers);
  };
  const auto multiply = [&]() __attribute__((always_inline)) {
    tiles.template multiply<0, 4, 6>();
    tiles.template multiply<1, 4, 7>();
    tiles.template multiply<2, 5, 6>();
    tiles.template multiply<3, 5, 7>();
  };
  // Small terms first, and an operand at a time: a2 b0, a1 b0, a1 b1, a0 b1, a0 b2, a0 b0.
  for (; steps > 0; --steps, a += 6 * kTileNumbers, b += 6 * kTileNumbers) {
    load_a(2), load_b(0), multiply();
    load_a(1), multiply();
    load_b(1), multiply();
    load_a(0), multiply();
    load_b(2), multiply();
    load_b(0), multiply();
  }
  tiles.template store<0>(sums, kSplitPanel);
  tiles.template store<1>(sums + kTileRows, kSplitPanel);
  tiles.template store<2>(sums + kTileRows * kSplitPanel, kSplitPanel);
  tiles.template store<3>(sums + kTileRows * kSplitPanel + kTileRows, kSplitPanel);
}

/// C [rows, columns] = sums [32, 32], plus C where `add`.
inline void split_write(const float* sums, Index rows, Index columns, float* c, Index c_row, bool add) {
  for (Index i = 0; i < rows; ++i, sums += kSplitPanel, c += c_row)
    for (Index j = 0; j < columns; j += Simd<float>::size) {
      const Simd<float> sum = Simd<float>::load(sums + j);
      store_lanes(add ? load_lanes(c + j, columns - j) + sum : sum, c + j, columns - j);
    }
}

/// The product from panels. Blocks of C are the work that threads share.
template <class Tiles>
[[gnu::noinline]] void split_product(const SplitOperand& a, const SplitOperand& b, const std::uint16_t* packed_a,
                                     const std::uint16_t* packed_b, float* c, Index c_row, bool accumulate,
                                     float* all_sums, Index shares) {
  const Index panels_a = split_pieces(a.items, kSplitPanel), panels_b = split_pieces(b.items, kSplitPanel);
  const Index rows = split_pieces(panels_a, kSplitRows), columns = split_pieces(panels_b, kSplitColumns);
  const auto multiply_block = [&](Tiles& tiles, Index block, float* sums) {
    const Index i0 = block % rows * kSplitRows, i1 = i0 + kSplitRows < panels_a ? i0 + kSplitRows : panels_a;
    const Index j0 = block / rows * kSplitColumns, j1 = j0 + kSplitColumns < panels_b ? j0 + kSplitColumns : panels_b;
    for (Index p = 0; p < a.k; p += kSplitDepth) {
      const bool ends = p + kSplitDepth >= a.k;
      const Index steps = split_pieces((ends ? a.k : p + kSplitDepth) - p, kTileSteps);
      const Index at = p / kTileSteps * 6 * kTileNumbers, in_group = p / kSplitDepth % kSplitGroup;
      const bool first = in_group == 0, last = ends || in_group == kSplitGroup - 1;
      for (Index i = i0; i < i1; ++i)
        for (Index j = j0; j < j1; ++j) {
          float* const group = sums + ((i - i0) * kSplitColumns + j - j0) * kSplitSums;
          alignas(64) float one[kSplitSums];
          float* const product = first ? group : one;
          split_multiply(tiles, steps, packed_a + i * a.panel() + at, packed_b + j * b.panel() + at, product);
          if (!first) split_write(one, kSplitPanel, kSplitPanel, group, kSplitPanel, true);
          if (!last) continue;
          const Index row = i * kSplitPanel, column = j * kSplitPanel;
          split_write(group, a.items - row < kSplitPanel ? a.items - row : kSplitPanel,
                      b.items - column < kSplitPanel ? b.items - column : kSplitPanel, c + row * c_row + column, c_row,
                      accumulate || p >= kSplitGroup * kSplitDepth);
        }
    }
  };
  std::atomic<Index> next{0};
  parallel_jobs(shares, [&](Index share) {
    Tiles tiles;
    for (Index block; (block = next.fetch_add(1, std::memory_order_relaxed)) < rows * columns;)
      multiply_block(tiles, block, all_sums + share * kSplitRows * kSplitColumns * kSplitSums);
  });
}

/// Grows `range` by an operand that is not packed at once.
inline void split_scan(const SplitOperand& o, SplitRange& range) {
  const bool along_k = o.step == 1;
  const Index lines = along_k ? o.items : o.k, length = along_k ? o.k : o.items, line = along_k ? o.item : o.step;
  parallel_for(lines, 1 + (Index{1} << 16) / length, [&](Index begin, Index end) {
    FloatBits largest = {};
    for (Index i = begin; i < end; ++i)
      for (Index j = 0; j < length; j += Simd<float>::size)
        grow_to(largest, bits_of(load_lanes(o.from + i * line + j, length - j)));
    range.join(largest);
  });
}

/// The product on `Tiles`; false, and nothing written, where an operand is out of range. Of GemmProblem<float>, with
/// c_column 1.
template <class Tiles, class Problem>
bool gemm_split(const Problem& g) {
  const SplitOperand a{g.a, g.m, g.k, g.a_row, g.a_step, false}, b{g.b, g.n, g.k, g.b_column, g.b_step, true};
  // Groups of rows and columns that are packed at a time, of whole blocks of C.
  const auto group_of = [&](Index items, Index panels) {
    const Index block = panels * kSplitPanel, blocks = kSplitPackedNumbers / g.k / block;
    const Index group = (blocks > 0 ? blocks : 1) * block;
    return group < items ? group : items;
  };
  const Index rows = group_of(g.m, kSplitRows), columns = group_of(g.n, kSplitColumns);
  const bool parallel = g.m * g.n * g.k >= kSplitParallelWork && !inside_parallel();
  const Index blocks =
      split_pieces(rows, kSplitRows * kSplitPanel) * split_pieces(columns, kSplitColumns * kSplitPanel);
  const Index shares = parallel ? (blocks < threads() ? blocks : threads()) : 1;
  const detail::Workspace<std::uint16_t> packed_a(split_pieces(rows, kSplitPanel) * a.panel());
  const detail::Workspace<std::uint16_t> packed_b(split_pieces(columns, kSplitPanel) * b.panel());
  const detail::Workspace<float> sums(shares * kSplitRows * kSplitColumns * kSplitSums);

  SplitRange range_a, range_b;
  const bool at_once = rows == g.m && columns == g.n;
  if (!at_once) {
    split_scan(a, range_a), split_scan(b, range_b);
    if (!SplitRange::fits(range_a, range_b, g.k)) return false;
  }
  for (Index j = 0; j < g.n; j += columns)
    for (Index i = 0; i < g.m; i += rows) {
      SplitOperand a_part = a, b_part = b;
      a_part.from += i * a.item, a_part.items = rows < g.m - i ? rows : g.m - i;
      b_part.from += j * b.item, b_part.items = columns < g.n - j ? columns : g.n - j;
      // An operand that is there from the turn before is not packed again.
      const Index of_b = i == 0 ? b_part.pieces() : 0, of_a = j == 0 || rows < g.m ? a_part.pieces() : 0;
      parallel_for(of_a + of_b, parallel ? 4 : of_a + of_b, [&](Index begin, Index end) {
        for (Index piece = begin; piece < end; ++piece)
          if (piece < of_b)
            split_piece(b_part, piece, packed_b.data(), range_b);
          else
            split_piece(a_part, piece - of_b, packed_a.data(), range_a);
      });
      if (at_once && !SplitRange::fits(range_a, range_b, g.k)) return false;
      split_product<Tiles>(a_part, b_part, packed_a.data(), packed_b.data(), g.c + i * g.c_row + j, g.c_row,
                           g.accumulate, sums.data(), shares);
    }
  return true;
}

#ifdef GRAFT_TILES
/// The product on the CPU's tiles if it is worth splitting and in range. Does not ask for the number of rows: a row of
/// C keeps its bits among any number of others.
inline bool gemm_on_tiles(const GemmProblem<float>& g) {
  return g.n >= kSplitLeast && g.k >= kSplitLeast && gemm_split<TileUnit>(g);
}
#endif

}  // namespace blocked
}  // namespace cpu

/// Whether large float products are computed from bfloat16 terms where the CPU multiplies tiles of them (default: no, as
/// their speed on such a CPU has not been measured). Values change in the last bits; see docs/split-bfloat16.md.
inline void set_split_products([[maybe_unused]] bool on) {
#ifdef GRAFT_TILES
  cpu::blocked::other_gemm.store(on && TileUnit::available() ? cpu::blocked::gemm_on_tiles : nullptr);
#endif
}
/// True where they are: the CPU can, and `set_split_products` said yes.
inline bool split_products() { return cpu::blocked::other_gemm.load() != nullptr; }
}  // namespace GRAFT_ABI
}  // namespace graft
