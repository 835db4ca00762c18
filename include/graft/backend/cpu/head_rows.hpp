#pragma once
// Rows of several heads side by side, as attention over a graph reads them edge by edge: where the heads lie in a row
// and in numbers [edges, heads].

#include <algorithm>
#include <bit>

#include "graft/backend/cpu/rows.hpp"
#include "graft/core/memory.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

template <class T>
void prefetch_row(const T* from, Index count) {
  for (Index i = 0; i < count; i += 64 / static_cast<Index>(sizeof(T))) native::prefetch(from + i);
}

/// Where the heads lie in a row of heads x width numbers, and in numbers [edges, heads].
template <class T>
struct HeadRow {
  using B = Simd<T>;
  Index heads, width, row;
  Index group;   ///< numbers of each head in `sum_heads` before lanes are added: a power of two
  Index folded;  ///< batches of a row that `sum_heads` folds into one in registers; 0 where it must go through memory
  Index block;   ///< edges that are taken together: their rows stay in the first-level cache
  Index turns;   ///< times `per_head` joins lanes: a batch holds 2^turns edges if it holds all heads of one
  Index step;    ///< numbers of [edges, heads] in a batch: whole edges, if it holds all heads of one
  detail::Workspace<Index> first_head;        ///< of each batch of a row; 0 where a batch holds all heads
  detail::Workspace<LaneIndex<T>> head_lane;  ///< of each number of a row: its head less the first of its batch
  detail::Workspace<LaneIndex<T>> lanes;      ///< of `step` numbers: their heads; then where each turn looks

  HeadRow(Index h, Index w)
      : heads(h),
        width(w),
        row(h * w),
        group(w <= B::size && std::has_single_bit(static_cast<std::uint64_t>(w)) ? w : B::size),
        folded(group == w && h <= B::size && std::has_single_bit(static_cast<std::uint64_t>(h)) ? row / B::size : 0),
        block(std::clamp<Index>(4096 / (h * std::max(w, group) + 1), 1, 64)),
        turns(h <= B::size ? std::bit_width(static_cast<std::uint64_t>(B::size / std::max<Index>(h, 1))) - 1 : 0),
        step(h <= B::size ? std::max<Index>(h, 1) << turns : B::size),
        first_head(whole_batches<T>(row) / B::size),
        head_lane(whole_batches<T>(row)),
        lanes((1 + turns) * B::size) {
    for (Index i = 0; i < row; i += B::size) {
      const Index first = one_batch() ? 0 : i / width;
      first_head[i / B::size] = first;
      for (Index lane = 0; lane < B::size; ++lane)
        head_lane[i + lane] = static_cast<LaneIndex<T>>(std::min((i + lane) / width, heads - 1) - first);
    }
    for (Index turn = 0; turn <= turns; ++turn)
      for (Index lane = 0; lane < B::size; ++lane)
        lanes[turn * B::size + lane] =
            static_cast<LaneIndex<T>>(turn == 0 ? lane % std::max<Index>(h, 1) : (lane + (step >> turn)) % step);
  }
  bool one_batch() const { return heads <= B::size; }

  /// Numbers of a workspace with one number an edge and head, and of that of `sum_heads`.
  Index edge_numbers(Index edges) const { return edges * heads + B::size; }
  Index scratch_numbers() const { return block * heads * group + 2 * B::size; }

  /// `per_head` [heads], spread over the batch of the row that begins at number i.
  B spread(const T* per_head, Index i) const {
    return pick_lanes(B::load(per_head + first_head[i / B::size]), head_lane.data() + i);
  }

  /// Calls run(at, h, left) for the batches of numbers [count, heads]: `left` of them, from number `at` on, which is of
  /// head h. Results may be stored by whole batches: what is past the last one is overwritten by the next.
  template <class Run>
  [[gnu::always_inline]] void for_edge_batches(Index count, Run run) const {
    if (one_batch())
      for (Index at = 0, all = count * heads; at < all; at += step) run(at, Index{0}, std::min(step, all - at));
    else
      for (Index e = 0; e < count; ++e)
        for (Index h = 0; h < heads; h += B::size) run(e * heads + h, h, std::min(B::size, heads - h));
  }
  /// `per_head` [heads] beside the numbers of a batch of `for_edge_batches` that begins with head h.
  [[gnu::always_inline]] B beside_edges(const T* per_head, Index h) const {
    return one_batch() ? pick_lanes(B::load(per_head), lanes.data()) : B::load(per_head + h);
  }
  /// The numbers of each head joined over the edges of a batch, beside all of them.
  template <class Join>
  [[gnu::always_inline]] B per_head(B a, Join join) const {
    for (Index turn = 1; turn <= turns; ++turn) a = join(a, pick_lanes(a, lanes.data() + turn * B::size));
    return a;
  }
};

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
