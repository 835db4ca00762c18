#pragma once
// Tile registers: 16 rows of 64 bytes that one instruction multiplies (Intel AMX), and what their products are made
// from: floats split into three bfloat16 terms. Two units hold tiles: `TileUnit`, the CPU's, and `TileModel`, the same
// arithmetic in software, with which every machine can check kernels. Both are numbered registers 0 to 7; a tile holds
// 16 x 16 floats (sums) or 16 rows of 16 pairs of bfloat16 numbers (operands).

#include "graft/core/float_mode.hpp"
#include "graft/number/simd.hpp"

// The instructions are written as assembly: it needs no compiler flag, while the intrinsics of g++ 12 need one, and do
// not tell the compiler that a tile is loaded from memory.
#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define GRAFT_TILES 1
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace graft {
inline namespace GRAFT_ABI {

/// Rows of a tile, and floats in one.
inline constexpr Index kTileRows = 16;
/// bfloat16 numbers in a row of a tile: steps of k that one product of tiles takes.
inline constexpr Index kTileSteps = 32;
/// bfloat16 numbers in a tile.
inline constexpr Index kTileNumbers = kTileRows * kTileSteps;

#ifdef GRAFT_TILES
/// The tiles of the CPU, for as long as it lives: configured for the thread that makes it, released at the end. Tiles
/// that somebody else configured on this thread are lost. To be made only where `available()`.
class TileUnit {
 public:
  /// True where the CPU multiplies bfloat16 tiles and the system lets this process use them. Asked once a process.
  static bool available() {
    static const bool allowed = [] {
      unsigned a = 0, b = 0, c = 0, d = 0;
      constexpr unsigned kTilesAndProducts = 1u << 24 | 1u << 22;  // AMX-TILE, AMX-BF16
      if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTilesAndProducts) != kTilesAndProducts) return false;
      // Linux saves the big registers for those who ask: ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA (arch/x86/xstate.rst).
      return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
    }();
    return allowed;
  }

  TileUnit() {
    Configuration all;
    for (int i = 0; i < 8; ++i) all.row_bytes[i] = 64, all.rows[i] = 16;
    asm volatile("ldtilecfg %0" ::"m"(all));
  }
  ~TileUnit() { asm volatile("tilerelease"); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;

  template <int Tile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(Tile));
  }
  /// Loads the 16 rows of an operand that lie one after the other.
  template <int Tile>
  void load(const std::uint16_t* from) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(Tile), "r"(from), "r"(std::int64_t{64}) : "memory");
  }
  /// Stores 16 rows of 16 sums that start `stride` floats apart.
  template <int Tile>
  void store(float* to, Index stride) const {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(Tile), "r"(to), "r"(stride * 4) : "memory");
  }
  /// C += A B, see `TileModel::multiply`.
  template <int C, int A, int B>
  void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
  }

 private:
  /// Operand of LDTILECFG, palette 1.
  struct alignas(64) Configuration {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  };
  static_assert(sizeof(Configuration) == 64);
};
#endif

/// What `TileUnit` computes, in software (Intel 64 Software Developer's Manual, volume 2, TDPBF16PS).
class TileModel {
 public:
  static bool available() { return true; }

  template <int Tile>
  void zero() {
    std::memset(tiles_[Tile], 0, sizeof tiles_[Tile]);
  }
  template <int Tile>
  void load(const std::uint16_t* from) {
    std::memcpy(tiles_[Tile], from, sizeof tiles_[Tile]);
  }
  template <int Tile>
  void store(float* to, Index stride) const {
    for (Index i = 0; i < kTileRows; ++i) std::memcpy(to + i * stride, tiles_[Tile][i], sizeof tiles_[Tile][i]);
  }
  /// C(i, j) += sum over p of A(i, p)[0] B(p, j)[0] + the same of [1]: each of the two sums is a chain of 16 fused
  /// multiply-adds from zero, both are added, then added to C. Rounds to nearest even, takes denormals for zeros.
  template <int C, int A, int B>
  void multiply() {
    const detail::DenormalMode mode(detail::kFlushDenormals);
    multiply(tiles_[C], tiles_[A], tiles_[B]);
  }

 private:
  using Tile = std::uint32_t[kTileRows][kTileRows];

  static float number(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  // Not inline: a compiler knows nothing of the mode that arithmetic runs in, but moves none of it across calls.
  [[gnu::noinline]] static void multiply(Tile& c, const Tile& a, const Tile& b) {
    for (Index i = 0; i < kTileRows; ++i) {
      float sums[2][kTileRows] = {};
      for (Index p = 0; p < kTileRows; ++p) {
        const float low = number(a[i][p] << 16), high = number(a[i][p] & 0xFFFF0000u);
        for (Index j = 0; j < kTileRows; ++j) {
          sums[0][j] = __builtin_fmaf(low, number(b[p][j] << 16), sums[0][j]);
          sums[1][j] = __builtin_fmaf(high, number(b[p][j] & 0xFFFF0000u), sums[1][j]);
        }
      }
      for (Index j = 0; j < kTileRows; ++j) {
        const float sum = number(c[i][j]) + (sums[0][j] + sums[1][j]);
        std::memcpy(&c[i][j], &sum, sizeof sum);
      }
    }
  }

  alignas(64) Tile tiles_[8];
};

/// A register of floats as integers.
using FloatBits [[gnu::vector_size(4 * Simd<float>::size)]] = std::uint32_t;
/// The bits of the numbers, lane by lane.
[[gnu::always_inline]] inline FloatBits bits_of(Simd<float> numbers) { return (FloatBits)numbers.v.data; }
/// Grows `largest` to the bits of the larger |number|, lane by lane.
[[gnu::always_inline]] inline void grow_to(FloatBits& largest, FloatBits number) {
  const FloatBits size = number & 0x7FFFFFFFu;
  largest = size > largest ? size : largest;
}

/// Splits lane l of `low` and `high` into three bfloat16 terms that add up to the number, and stores term t of both as
/// neighbours: to[t * apart + 2 l] and the one after it. Exact unless terms are denormal; finite where the bits of
/// |number| are below 0x7F7F8000.
[[gnu::always_inline]] inline void split_pair(FloatBits low, FloatBits high, std::uint16_t* to, Index apart) {
  using Floats [[gnu::vector_size(sizeof(FloatBits))]] = float;
  // The upper half of a float is a bfloat16. To nearest, because remainders that are cut all have the sign of their
  // number; which way a tie goes does not matter, since the next term holds what is left. The last one leaves nothing.
  for (int term = 0; term < 3; ++term, to += apart) {
    const FloatBits a = (low + 0x8000u) & 0xFFFF0000u, b = (high + 0x8000u) & 0xFFFF0000u, both = a >> 16 | b;
    low = (FloatBits)((Floats)low - (Floats)a);
    high = (FloatBits)((Floats)high - (Floats)b);
    std::memcpy(to, &both, sizeof both);
  }
}
/// The largest lane.
inline std::uint32_t largest_lane(FloatBits bits) {
  std::uint32_t largest = 0;
  for (Index l = 0; l < Simd<float>::size; ++l) largest = bits[l] > largest ? bits[l] : largest;
  return largest;
}

}  // namespace GRAFT_ABI
}  // namespace graft
