#pragma once
// The bits of the weights that dropout keeps, one for every edge and head of a graph.

#include <algorithm>
#include <cstdint>

#include "graft/backend/cpu/graph.hpp"
#include "graft/number/simd.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// The dropout factors of (edge in destination order, head): a bit each that says whether it is kept, if there are any.
template <class T>
struct KeptWeights {
  const std::uint64_t* bits;
  T scale;
  bool bit(Index n) const { return bits[n / 64] >> (n % 64) & 1; }
  /// `weights` from element n on with their factors.
  Simd<T> operator()(Simd<T> weights, Index n) const {
    const std::uint64_t place = static_cast<std::uint64_t>(n), word = place / 64, shift = place % 64;
    std::uint64_t set = bits[word] >> shift;
    if (shift > 64 - static_cast<std::uint64_t>(Simd<T>::size)) set |= bits[word + 1] << (64 - shift);
    return lanes_where(set, weights * Simd<T>(scale));
  }
};

/// Bits e * heads + h of `to` become bits places[e] * heads + h of `from`, for e < count.
inline void copy_bits(const std::uint64_t* from, const GraphIndex* places, Index count, Index heads,
                      std::uint64_t* to) {
  const std::uint64_t n = static_cast<std::uint64_t>(heads);
  to[0] = 0;
  std::uint64_t at = 0;
  for (Index e = 0; e < count; ++e)
    for (std::uint64_t h = 0; h < n; h += 64) {
      const std::uint64_t left = std::min<std::uint64_t>(n - h, 64);
      const std::uint64_t first = static_cast<std::uint64_t>(places[e]) * n + h, shift = first % 64;
      std::uint64_t some = from[first / 64] >> shift;
      if (shift + left > 64) some |= from[first / 64 + 1] << (64 - shift);
      some &= ~std::uint64_t{0} >> (64 - left);
      to[at / 64] |= some << (at % 64);
      // A word gets its first bits by being set, the rest by being added to.
      if (at % 64 + left >= 64) to[at / 64 + 1] = at % 64 == 0 ? 0 : some >> (64 - at % 64);
      at += left;
    }
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
