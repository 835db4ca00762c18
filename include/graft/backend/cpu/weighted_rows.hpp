#pragma once
// Sums of the rows that the edges of a graph lead to, weighted head by head: the product of a sparse matrix with rows.

#include <algorithm>
#include <utility>

#include "graft/backend/cpu/graph.hpp"
#include "graft/backend/cpu/head_rows.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Products over the edges begin .. end - 1 of the rows [row, past): row r of `to` becomes (begin > offsets[r], then it
/// is added to) the sum over its edges e of weights[e - begin, head] values[other[e], head, :]; 0 where it has none.
/// Weights are 1 where `weights` is null.
template <class T>
struct WeightedRows {
  GraphSide side;
  Index row, past, begin, end;
  const T *values, *weights;
  T* to;
};

/// How the weights of an edge are spread over the batches of its row.
enum class Spread { ones, one_head, one_batch, any };

/// The batches of a row that begin at number i, as many as there are K: kept in registers over all edges of a row.
template <Spread spread, class T, int... K>
[[gnu::noinline]] void add_weighted_block(const HeadRow<T>& heads, const WeightedRows<T>& work, Index i,
                                          std::integer_sequence<int, K...>) {
  using B = Simd<T>;
  const WeightedRows<T> w = work;
  const Index row = heads.row, n = heads.heads, left = row - i, last = w.side.edges() - 1;
  const Index* first = heads.first_head.data() + i / B::size;
  const LaneIndex<T>* lanes = heads.head_lane.data() + i;
  for (Index r = w.row; r < w.past; ++r) {
    const Index from = std::max(w.begin, w.side.offsets[r]), stop = std::min(w.end, w.side.offsets[r + 1]);
    const bool add = from > w.side.offsets[r];
    T* to = w.to + r * row + i;
    // Separately named variables stay in registers, elements of an array do not.
    [&]<class... Sum>(Sum... sum) __attribute__((always_inline)) {
      for (Index e = from; e < stop; ++e) {
        const T* number = w.values + w.side.other[e] * row + i;
        const T* ahead = w.values + w.side.other[std::min(e + kEdgesAhead, last)] * row + i;
        [[maybe_unused]] const T* weight = spread == Spread::ones ? nullptr : w.weights + (e - w.begin) * n;
        (native::prefetch(ahead + K * B::size), ...);
        if constexpr (spread == Spread::ones) {
          ((sum += B::load(number + K * B::size)), ...);
        } else if constexpr (spread == Spread::one_head) {
          const B all(*weight);
          ((sum = fma(all, B::load(number + K * B::size), sum)), ...);
        } else if constexpr (spread == Spread::one_batch) {
          const B all = B::load(weight);
          ((sum = fma(pick_lanes(all, lanes + K * B::size), B::load(number + K * B::size), sum)), ...);
        } else {
          ((sum = fma(pick_lanes(B::load(weight + first[K]), lanes + K * B::size), B::load(number + K * B::size), sum)),
           ...);
        }
      }
      (store_lanes(sum, to + K * B::size, left - K * B::size), ...);
    }
    (add ? load_lanes(to + K * B::size, left - K * B::size) : B(0)...);
  }
}
template <class T>
void add_weighted_rows(const HeadRow<T>& heads, const WeightedRows<T>& work) {
  constexpr Index size = Simd<T>::size;
  const auto run = [&]<int Count>(Index i, std::integral_constant<int, Count>) {
    constexpr std::make_integer_sequence<int, Count> batches;
    if (!work.weights)
      add_weighted_block<Spread::ones>(heads, work, i, batches);
    else if (heads.heads == 1)
      add_weighted_block<Spread::one_head>(heads, work, i, batches);
    else if (heads.one_batch())
      add_weighted_block<Spread::one_batch>(heads, work, i, batches);
    else
      add_weighted_block<Spread::any>(heads, work, i, batches);
    return Count * size;
  };
  for (Index i = 0; i < heads.row;) {
    const Index batches = (heads.row - i + size - 1) / size;
    if (batches >= 8)
      i += run(i, std::integral_constant<int, 8>{});
    else if (batches >= 4)
      i += run(i, std::integral_constant<int, 4>{});
    else if (batches >= 2)
      i += run(i, std::integral_constant<int, 2>{});
    else
      i += run(i, std::integral_constant<int, 1>{});
  }
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
