#pragma once
// Packing of operands of the matrix product into panels that the micro-kernel reads front to back. Transposition is
// done here, in registers; the numbers themselves are only copied.

#include "graft/number/transpose.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {
namespace blocked {

/// Bytes that are transposed without fetching ahead: they are in the L1 cache, or soon all on their way.
inline constexpr Index kPackedUnderway = Index{1} << 14;

/// Panel of `items` vectors of `k` numbers: to[p * panel + i] = from[i * item + p * step] for i < items, and 0 for
/// items <= i < panel. One of `item` and `step` is 1. `readable` >= items vectors exist at `from` (items == panel where
/// it is more). Writes up to a register past the end of the panel.
template <class T>
[[gnu::noinline]] void pack_panel(const T* from, Index item, Index step, Index items, Index readable, Index k,
                                  Index panel, T* to) {
  constexpr Index lanes = Simd<T>::size;
  for (Index i = 0; i < panel; i += lanes) {
    const Index filled = items - i < lanes ? (items > i ? items - i : 0) : lanes;
    // What a first register writes beyond a narrow panel belongs to the next step of k, which is written later.
    const bool whole = i == 0 || panel - i >= lanes;
    const auto put = [&](Index p, Simd<T> numbers) {
      if (whole)
        numbers.store(to + p * panel + i);
      else
        numbers.store_part(to + p * panel + i, panel - i);
    };
    if (item == 1) {
      const T* at = from + i;
      if (filled == lanes)
        for (Index p = 0; p < k; ++p, at += step) put(p, Simd<T>::load(at));
      else
        for (Index p = 0; p < k; ++p, at += step) put(p, Simd<T>::load_part(at, filled));
      continue;
    }
    const bool ahead_pays = readable * k * static_cast<Index>(sizeof(T)) > kPackedUnderway;
    alignas(64) T block[lanes * lanes];
    for (Index r = filled; r < lanes; ++r) Simd<T>(T(0)).store(block + r * lanes);
    for (Index p = 0; p < k; p += lanes) {
      const T* at = from + i * item + p;
      Index stride = item;
      const Index steps = k - p < lanes ? k - p : lanes;
      if (steps % detail::kQuad<T> != 0 || readable - i < lanes) {
        for (Index r = 0; r < filled; ++r)
          (steps < lanes ? Simd<T>::load_part(at + r * item, steps) : Simd<T>::load(at + r * item))
              .store(block + r * lanes);
        at = block;
        stride = lanes;
      } else if (ahead_pays) {
        // So many rows at once are more streams than the hardware follows. After their end come the next ones.
        const Index ahead = k - p > 4 * lanes ? 4 * lanes : lanes * item + 4 * lanes - k;
        for (Index r = 0; r < lanes; ++r) native::prefetch(at + r * item + ahead);
      }
      load_transposed(
          at, stride,
          [&](Index j, Simd<T> column) {
            if (j < steps) put(p + j, column);
          },
          steps);
    }
  }
}

}  // namespace blocked
}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
