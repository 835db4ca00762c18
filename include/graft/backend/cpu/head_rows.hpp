#pragma once
// Rows of several heads side by side, as attention over a graph reads them edge by edge: where the heads lie in a row
// and in numbers [edges, heads], sums over each head, rows weighted head by head, the bits of dropped weights, and rows
// that registers hold.

#include <algorithm>
#include <bit>

#include "graft/backend/cpu/graph.hpp"
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

/// Calls run(row, first edge, count) for the rows of the edges begin .. end - 1, the first of which belongs to `row`.
template <class Run>
[[gnu::always_inline]] inline void for_row_parts(const GraphSide& side, Index row, Index begin, Index end, Run run) {
  for (; begin < end; ++row) {
    const Index stop = std::min(end, side.offsets[row + 1]);
    if (begin < stop) run(row, begin, stop - begin);
    begin = stop;
  }
}

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

/// Products over the edges begin .. end - 1 of the rows [row, past): row r of `to` becomes (begin > offsets[r], then it
/// is added to) the sum over its edges e of weights[e - begin, head] values[other[e], head, :]; 0 where it has none.
template <class T>
struct WeightedRows {
  GraphSide side;
  Index row, past, begin, end;
  const T *values, *weights;
  T* to;
};

/// How the weights of an edge are spread over the batches of its row.
enum class Spread { one_head, one_batch, any };

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
        const T* weight = w.weights + (e - w.begin) * n;
        (native::prefetch(ahead + K * B::size), ...);
        if constexpr (spread == Spread::one_head) {
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
    if (heads.heads == 1)
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

/// Rows of `Count` batches and numbers a head beside them: in the first lanes of a batch, in all lanes of it if there
/// is but one head.
template <class T, bool OneHead, int Count>
struct RowLanes {
  using B = Simd<T>;
  Index heads, row;
  const LaneIndex<T>* head_lane;

  [[gnu::always_inline]] B per_head(const T* numbers) const { return OneHead ? B(*numbers) : B::load(numbers); }
  [[gnu::always_inline]] void store_per_head(B numbers, T* to) const { numbers.store_part(to, heads); }
  /// Numbers a head beside batch k of a row.
  [[gnu::always_inline]] B spread(B numbers, int k) const {
    return OneHead ? numbers : pick_lanes(numbers, head_lane + k * B::size);
  }
  /// What dropout leaves of the weights of an edge, the first of which is number n.
  [[gnu::always_inline]] B kept(B weights, const KeptWeights<T>& keep, Index n) const {
    return OneHead ? lanes_where(keep.bit(n) ? ~std::uint64_t{0} : 0, weights * B(keep.scale)) : keep(weights, n);
  }
  /// Register k of a row and zeros past it.
  [[gnu::always_inline]] B load(const T* from, int k) const {
    return OneHead && k == Count - 1 ? load_lanes(from + k * B::size, row - k * B::size) : B::load(from + k * B::size);
  }
  [[gnu::always_inline]] void store(B numbers, T* to, int k) const {
    store_lanes(numbers, to + k * B::size, OneHead && k == Count - 1 ? row - k * B::size : B::size);
  }
  /// The sums over each head of product(k) for the batches of a row.
  template <int From = 0, int To = Count, class Product>
  [[gnu::always_inline]] B sum_heads(const Product& product) const {
    if constexpr (To - From > 1) {
      const B a = sum_heads<From, (From + To) / 2>(product), b = sum_heads<(From + To) / 2, To>(product);
      if constexpr (To - From < Count) return OneHead ? a + b : add_pairs(a, b);
      return whole_sums(OneHead ? a + b : add_pairs(a, b));
    } else if constexpr (Count > 1) {
      return product(From);
    } else {
      return whole_sums(product(From));
    }
  }

 private:
  [[gnu::always_inline]] B whole_sums(B sums) const {
    if (OneHead) return sum_everywhere(sums);
    for (Index lanes = B::size / heads; lanes > 1; lanes /= 2) sums = add_pairs(sums, sums);
    return sums;
  }
};

/// Calls run(lanes, std::integer_sequence of the batches of a row) if a row has `batches` of them that registers hold;
/// false if not.
template <bool OneHead, class T, class Run>
[[gnu::always_inline]] inline bool with_batches(const HeadRow<T>& heads, Index batches, const Run& run) {
  const auto with = [&]<int Count>(std::integral_constant<int, Count>) __attribute__((always_inline)) {
    run(RowLanes<T, OneHead, Count>{heads.heads, heads.row, heads.head_lane.data()},
        std::make_integer_sequence<int, Count>());
    return true;
  };
  switch (batches) {
    case 1: return with(std::integral_constant<int, 1>{});
    case 2: return with(std::integral_constant<int, 2>{});
    case 4: return with(std::integral_constant<int, 4>{});
    case 8: return with(std::integral_constant<int, 8>{});
    default: return false;
  }
}
/// The same where a batch holds all heads and registers hold a row; false where not.
template <class T, class Run>
bool with_row_lanes(const HeadRow<T>& heads, const Run& run) {
  if (heads.heads == 1) return with_batches<true>(heads, (heads.row + Simd<T>::size - 1) / Simd<T>::size, run);
  return with_batches<false>(heads, heads.folded, run);
}

/// scratch[e, h] = sum over the numbers of head h of a row of products, for `count` <= block edges. `products(e)` gives
/// a function that returns the batch of the products of edge e from number i of the row on.
template <class T, class Products>
[[gnu::always_inline]] inline void sum_heads(const HeadRow<T>& heads, Index count, Products products, T* scratch) {
  using B = Simd<T>;
  const Index row = heads.row;
  const auto in_registers = [&](const auto& lanes, auto) __attribute__((always_inline)) {
    for (Index e = 0; e < count; ++e) {
      const auto product = products(e);
      const B sums = lanes.sum_heads([&](int k) __attribute__((always_inline)) { return product(k * B::size); });
      sums.store(scratch + e * heads.heads);  // what is past the heads is overwritten by the next
    }
  };
  if (with_batches<false>(heads, heads.folded, in_registers)) return;
  T* to = scratch;
  for (Index e = 0; e < count; ++e) {
    const auto product = products(e);
    if (heads.group == heads.width) {  // what is stored past a row is overwritten by the next
      for (Index i = 0; i < row; i += B::size) product(i).store(to + i);
      to += row;
    } else {
      for (Index h = 0; h < heads.heads; ++h, to += B::size) {
        B sum(0);
        for_row<T>(heads.width, [&](Index i, Index left) __attribute__((always_inline)) {
          const B part = product(h * heads.width + i);
          sum += left < B::size ? first_lanes(part, left, T(0)) : part;
        });
        sum.store(to);
      }
    }
  }
  for (Index group = heads.group / 2; group > 0; group /= 2)
    for (Index i = 0; i < count * heads.heads * group; i += B::size)
      add_pairs(B::load(scratch + 2 * i), B::load(scratch + 2 * i + B::size)).store(scratch + i);
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
