#pragma once
// Copies between two strided layouts: what permute, slice, pad, flip and concat come down to.

#include <cstring>

#include "graft/core/parallel.hpp"
#include "graft/core/tensor.hpp"
#include "graft/number/transpose.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// One axis of a copy: its size and how far apart its numbers are on both sides, in elements.
struct CopyAxis {
  Index size;
  Index from;
  Index to;
};

/// The axes of a copy, outermost first; axes that lie alike on both sides are merged.
struct CopyAxes {
  CopyAxis axes[kMaxRank];
  int rank = 0;

  void add(CopyAxis axis) {
    if (axis.size == 1) return;
    if (rank > 0) {
      CopyAxis& outer = axes[rank - 1];
      if (outer.from == axis.from * axis.size && outer.to == axis.to * axis.size) {
        axis.size *= outer.size;
        outer = axis;
        return;
      }
    }
    axes[rank++] = axis;
  }
};

/// Positions of both sides over the first `rank` of some axes, walked in row-major order.
class CopyWalk {
 public:
  CopyWalk(const CopyAxis* axes, int rank, Index start) : axes_(axes), rank_(rank) {
    for (int a = rank - 1; a >= 0; --a) {
      at_[a] = start % axes[a].size;
      start /= axes[a].size;
      from += at_[a] * axes[a].from;
      to += at_[a] * axes[a].to;
    }
  }
  void advance() {
    for (int a = rank_ - 1; a >= 0; --a) {
      from += axes_[a].from;
      to += axes_[a].to;
      if (++at_[a] < axes_[a].size) return;
      from -= axes_[a].size * axes_[a].from;
      to -= axes_[a].size * axes_[a].to;
      at_[a] = 0;
    }
  }
  Index from = 0, to = 0;

 private:
  const CopyAxis* axes_;
  int rank_;
  Index at_[kMaxRank] = {};
};

/// to[t * stride_to + u] = from[u * stride_from + t] for t < rows, u < columns.
template <class T>
void transpose_copy(const T* from, Index stride_from, T* to, Index stride_to, Index rows, Index columns) {
  constexpr Index kTile = 64 / sizeof(T) < 16 ? 64 / sizeof(T) : 16;
  for (Index u = 0; u < columns; u += kTile)
    for (Index t = 0; t < rows; t += kTile) {
      if constexpr (Real<T>) {
        constexpr Index size = Simd<T>::size;
        if (t + kTile <= rows && u + kTile <= columns) {
          for (Index v = u; v < u + kTile; v += size)
            for (Index s = t; s < t + kTile; s += size)
              load_transposed(from + v * stride_from + s, stride_from,
                              [&](Index j, Simd<T> column) { column.store(to + (s + j) * stride_to + v); });
          continue;
        }
      }
      const Index last_u = u + kTile < columns ? u + kTile : columns, last_t = t + kTile < rows ? t + kTile : rows;
      for (Index s = t; s < last_t; ++s)
        for (Index v = u; v < last_u; ++v) to[s * stride_to + v] = from[v * stride_from + s];
    }
}

/// Copies every number from its place on one side to its place on the other.
template <class T>
void copy_strided(const T* from, T* to, CopyAxes copy) {
  CopyAxis* axes = copy.axes;
  if (copy.rank == 0) axes[copy.rank++] = {1, 1, 1};
  for (int a = 0; a < copy.rank; ++a)
    if (axes[a].size == 0) return;
  const CopyAxis inner = axes[copy.rank - 1];
  const bool rows_are_dense = inner.from == 1 && inner.to == 1;
  if (copy.rank == 1 && rows_are_dense) {
    parallel_for(inner.size, Index{1} << 16, [&](Index begin, Index end) {
      std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin) * sizeof(T));
    });
    return;
  }
  // An axis whose numbers are neighbours at the source while the innermost axis has them at the destination: a
  // transposition.
  int crossed = -1;
  if (inner.to == 1 && inner.from > 1)
    for (int a = 0; a < copy.rank - 1; ++a)
      if (axes[a].from == 1) crossed = a;
  if (crossed >= 0) {
    const CopyAxis rows = axes[crossed];
    for (int a = crossed; a + 2 < copy.rank; ++a) axes[a] = axes[a + 1];
    const int outer = copy.rank - 2;
    Index blocks = 1;
    for (int a = 0; a < outer; ++a) blocks *= axes[a].size;
    const Index strip = inner.size >= 512 ? 32 : 16384 / inner.size;
    const Index strips = (rows.size + strip - 1) / strip;
    const Index work = inner.size * (rows.size < strip ? rows.size : strip);
    parallel_for(blocks * strips, 1 + 16384 / (work + 1), [&](Index begin, Index end) {
      for (Index job = begin; job < end; ++job) {
        const CopyWalk at(axes, outer, job / strips);
        const Index first = job % strips * strip, left = rows.size - first;
        transpose_copy(from + at.from + first, inner.from, to + at.to + first * rows.to, rows.to,
                       left < strip ? left : strip, inner.size);
      }
    });
    return;
  }
  const int outer = copy.rank - 1;
  Index rows = 1;
  for (int a = 0; a < outer; ++a) rows *= axes[a].size;
  parallel_for(rows, 1 + 16384 / inner.size, [&](Index begin, Index end) {
    CopyWalk at(axes, outer, begin);
    for (Index row = begin; row < end; ++row, at.advance()) {
      const T* source = from + at.from;
      T* target = to + at.to;
      if (rows_are_dense)
        std::memcpy(target, source, static_cast<std::size_t>(inner.size) * sizeof(T));
      else
        for (Index i = 0; i < inner.size; ++i) target[i * inner.to] = source[i * inner.from];
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
