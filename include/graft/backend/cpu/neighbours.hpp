#pragma once
// Sums, dot products and extremes over the edges of a graph, without a row of features for each edge, and the moves
// between rows of edges and rows of nodes. `places`, unless it is null, says where the numbers of each edge lie, or go
// to. Every row is one thread's, which takes its edges in order: bits do not depend on threads.

#include <cstring>

#include "graft/backend/cpu/graph_attention.hpp"
#include "graft/backend/cpu/segment.hpp"
#include "graft/backend/cpu/sparse.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// out[r, :] = sum over the edges e of row r of x[other[e], :], rows of `width` numbers.
template <class T>
void neighbour_sum(const GraphSide& side, const T* x, Index width, T* out) {
  const HeadRow<T> row(1, width);
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    add_weighted_rows<T>(row, {side, first, last, side.offsets[first], side.offsets[last], x, nullptr, out});
  });
}

/// out[r, h, :] = sum over the edges e of row r of weights[e, h] x[other[e], h, :].
template <class T>
void weighted_neighbour_sum(const GraphSide& side, const GraphIndex* places, const T* weights, const T* x, Index heads,
                            Index width, T* out) {
  if (heads == 1) return sparse_product(side, places, weights, x, width, out);
  const HeadRow<T> row(heads, width);
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    const Index begin = side.offsets[first], end = side.offsets[last];
    const detail::Workspace<T> moved(places ? row.edge_numbers(graph_capacity(end - begin)) : 0);
    if (places) gather_edges(weights, heads, places + begin, end - begin, heads, moved.data());
    add_weighted_rows<T>(row, {side, first, last, begin, end, x, places ? moved.data() : weights + begin * heads, out});
  });
}

/// out[e, h] = <a[r, h, :], b[other[e], h, :]> for the edges e of every row r.
template <class T>
void neighbour_dots(const GraphSide& side, const GraphIndex* places, const T* a, const T* b, Index heads, Index width,
                    T* out) {
  using B = Simd<T>;
  const HeadRow<T> row(heads, width);
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    const detail::Workspace<T> dots(row.scratch_numbers());
    Index r = first;
    for (Index begin = side.offsets[first], end; begin < side.offsets[last]; begin = end) {
      end = std::min(begin + row.block, side.offsets[last]);
      sum_heads<T>(
          row, end - begin,
          [&](Index e) __attribute__((always_inline)) {
            while (begin + e >= side.offsets[r + 1]) ++r;
            prefetch_row(b + side.ahead(begin + e, kEdgesAhead) * row.row, row.row);
            const T *mine = a + r * row.row, *other = b + side.other[begin + e] * row.row;
            return [=](Index i) __attribute__((always_inline)) { return B::load(mine + i) * B::load(other + i); };
          },
          dots.data());
      if (places)
        place_edges(dots.data(), places + begin, end - begin, heads, out);
      else
        std::memcpy(out + begin * heads, dots.data(), static_cast<std::size_t>((end - begin) * heads) * sizeof(T));
    }
  });
}

/// Row r of `out` becomes a fold over its edges e, number by number: start, then step(so far, row, other row) with the
/// number i of each of `count` pairs of arrays. Rows without edges become 0.
template <class T, class Step, int... K>
[[gnu::noinline]] void fold_neighbours_block(const GraphSide& given, Index first, Index last, Index width, Index i,
                                             Step step, T* out, std::integer_sequence<int, K...>) {
  using B = Simd<T>;
  const GraphSide side = given;
  for (Index r = first; r < last; ++r) {
    const Index begin = side.offsets[r], end = side.offsets[r + 1];
    [&]<class... Fold>(Fold... fold) __attribute__((always_inline)) {
      for (Index e = begin; e < end; ++e) {
        const Index other = side.other[e] * width + i, ahead = side.ahead(e, kEdgesAhead) * width + i;
        (step.fetch(ahead + K * B::size), ...);
        ((fold = step(fold, r * width + i + K * B::size, other + K * B::size)), ...);
      }
      (store_lanes(fold, out + r * width + i + K * B::size, width - i - K * B::size), ...);
    }
    ((static_cast<void>(K), B(begin < end ? step.start : T(0)))...);
  }
}
template <class T, class Step>
void fold_neighbours(const GraphSide& side, Index width, const Step& step, T* out) {
  constexpr Index size = Simd<T>::size;
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    Index i = 0;
    for (; i + 3 * size < width; i += 4 * size)
      fold_neighbours_block<T>(side, first, last, width, i, step, out, std::make_integer_sequence<int, 4>());
    for (; i < width; i += size)
      fold_neighbours_block<T>(side, first, last, width, i, step, out, std::make_integer_sequence<int, 1>());
  });
}

/// The largest (Sign = 1) or smallest (-1) number; a NaN where there is one.
template <class T, int Sign>
struct ExtremeStep {
  static constexpr T start = Extreme<T, Sign>::start;
  const T* x;
  void fetch(Index at) const { native::prefetch(x + at); }
  Simd<T> operator()(Simd<T> best, Index, Index other) const {
    const Simd<T> number = Simd<T>::load(x + other);
    // Kept where the best is better or a NaN: comparisons with NaN are false.
    const auto worse = Sign > 0 ? best < number : number < best;
    return where(number == number, where(worse, number, best), number);
  }
};
/// The sum of `u` (of ones where it is null), by edges that lead from an extreme. The numbers are at the row and the
/// extremes at the other end, or, with `ExtremeAtRow`, the other way round. At a NaN all edges count.
template <class T, int Sign, bool ExtremeAtRow>
struct SelectStep {
  static constexpr T start = 0;
  const T *x, *extreme, *u;
  void fetch(Index at) const {
    native::prefetch((ExtremeAtRow ? x : extreme) + at);
    if (u) native::prefetch(u + at);
  }
  Simd<T> operator()(Simd<T> sum, Index row, Index other) const {
    using B = Simd<T>;
    const B number = B::load(x + (ExtremeAtRow ? other : row)), best = B::load(extreme + (ExtremeAtRow ? row : other));
    const auto worse = Sign > 0 ? number < best : best < number;
    return sum + where(worse, B(0), u ? B::load(u + other) : B(1));
  }
};

/// out[places[e], :] = x[r, :] for the edges e of every row r.
template <class T>
void spread_rows(const GraphSide& side, const T* x, Index width, T* out) {
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    for (Index r = first; r < last; ++r)
      for (Index e = side.offsets[r]; e < side.offsets[r + 1]; ++e)
        std::memcpy(out + side.other[e] * width, x + r * width, static_cast<std::size_t>(width) * sizeof(T));
  });
}

/// Rows moved from places[e] to e or, with `back`, from e to places[e]; every place stands in `places` once.
template <class T>
void permute_rows(const GraphIndex* places, bool back, Index rows, Index width, const T* x, T* out) {
  parallel_for(rows, rows_of_chunk(width), [&](Index begin, Index end) {
    for (Index e = begin; e < end; ++e) {
      const Index from = back ? e : places[e], to = back ? places[e] : e;
      std::memcpy(out + to * width, x + from * width, static_cast<std::size_t>(width) * sizeof(T));
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
