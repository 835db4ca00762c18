#pragma once
// Sparse attention over the rows of a graph: scores, softmax and weighted sum in one walk. Features are never expanded
// to one row per edge; of the forward pass only the log-sum-exp of every node and head is kept. The row of an edge, all
// heads side by side, is read once: forward by its destination, backward by its source. Every sum is owned by one row
// and runs in edge order, so bits do not depend on threads.

#include <algorithm>
#include <bit>

#include "graft/backend/cpu/graph.hpp"
#include "graft/backend/cpu/softmax.hpp"
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
  using B = Batch<T>;
  Index heads, width, row;
  Index group;  ///< numbers of each head in `sum_heads` before lanes are added: a power of two
  Index folded;  ///< batches of a row that `sum_heads` folds into one in registers; 0 where it must go through memory
  Index block;  ///< edges that are taken together: their rows stay in the first-level cache
  Index turns;  ///< times `per_head` joins lanes: a batch holds 2^turns edges if it holds all heads of one
  Index step;   ///< numbers of [edges, heads] in a batch: whole edges, if it holds all heads of one
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
  Batch<T> operator()(Batch<T> weights, Index n) const {
    const std::uint64_t place = static_cast<std::uint64_t>(n), word = place / 64, shift = place % 64;
    std::uint64_t set = bits[word] >> shift;
    if (shift > 64 - static_cast<std::uint64_t>(Batch<T>::size)) set |= bits[word + 1] << (64 - shift);
    return lanes_where(set, weights * Batch<T>(scale));
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
  using B = Batch<T>;
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
  constexpr Index size = Batch<T>::size;
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

/// The batches product(i), product(i + size) ... of which there are `Count`, folded into one: sums of `Count` neighbours.
template <int Count, class T, class Product>
[[gnu::always_inline]] inline Batch<T> fold_products(const Product& product, Index i) {
  if constexpr (Count == 1)
    return product(i);
  else
    return add_pairs(fold_products<Count / 2, T>(product, i),
                     fold_products<Count / 2, T>(product, i + Count / 2 * Batch<T>::size));
}
/// scratch[e, h] = sum over the numbers of head h of a row of products, for `count` <= block edges. `products(e)` gives
/// a function that returns the batch of the products of edge e from number i of the row on.
template <class T, class Products>
[[gnu::always_inline]] inline void sum_heads(const HeadRow<T>& heads, Index count, Products products, T* scratch) {
  using B = Batch<T>;
  const Index row = heads.row;
  const auto in_registers = [&]<int Count>(std::integral_constant<int, Count>) __attribute__((always_inline)) {
    const Index n = heads.heads;
    for (Index e = 0; e < count; ++e) {
      B sums = fold_products<Count, T>(products(e), 0);
      for (Index lanes = B::size / n; lanes > 1; lanes /= 2) sums = add_pairs(sums, sums);
      sums.store(scratch + e * n);  // what is past the heads is overwritten by the next
    }
  };
  switch (heads.folded) {
    case 1: return in_registers(std::integral_constant<int, 1>{});
    case 2: return in_registers(std::integral_constant<int, 2>{});
    case 4: return in_registers(std::integral_constant<int, 4>{});
    case 8: return in_registers(std::integral_constant<int, 8>{});
    default: break;
  }
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

template <class T>
[[gnu::always_inline]] inline Batch<T> leaky_batch(Batch<T> x, T slope) {
  return where(x > Batch<T>(0), x, x * Batch<T>(slope));
}
template <class T>
[[gnu::always_inline]] inline Batch<T> leaky_slope(Batch<T> x, T slope) {
  return where(x > Batch<T>(0), Batch<T>(1), Batch<T>(slope));
}

/// to[e, h] = from[index[e] * stride + h] for e < count, [count, heads].
template <class T>
[[gnu::always_inline]] inline void gather_edges(const T* from, Index stride, const GraphIndex* index, Index count,
                                                Index heads, T* to) {
  if (heads == 1)
    for (Index e = 0; e < count; ++e) to[e] = from[index[e] * stride];
  else
    for (Index e = 0; e < count; ++e)
      for (Index h = 0; h < heads; h += Batch<T>::size)
        Batch<T>::load(from + index[e] * stride + h).store(to + e * heads + h);
}

/// Logits of GAT, LeakyReLU(own + other). Which of the two is the source does not matter, so it serves both ways.
template <class T>
struct GatLogits {
  const T *own, *other;
  Index other_stride;
  T slope;
  /// to[e, h] for the edges begin .. end - 1, the first of which belongs to `row`.
  void operator()(const HeadRow<T>& heads, const GraphSide& side, Index row, Index begin, Index end, T*, T* to) const {
    using B = Batch<T>;
    const Index n = heads.heads;
    const T factor = slope;
    gather_edges(other, other_stride, side.other + begin, end - begin, n, to);
    for_row_parts(side, row, begin, end, [&](Index r, Index first, Index count) {
      const T* mine = own + r * n;
      const B all = heads.beside_edges(mine, 0);
      T* logits = to + (first - begin) * n;
      // What the next row has gathered is not overwritten.
      heads.for_edge_batches(count, [&](Index at, Index h, Index left) __attribute__((always_inline)) {
        const B sum = (h == 0 ? all : B::load(mine + h)) + B::load(logits + at);
        store_lanes(leaky_batch(sum, factor), logits + at, left);
      });
    });
  }
};
/// Logits of GATv2, a . LeakyReLU(own + other).
template <class T>
struct GatV2Logits {
  const T *own, *other, *a;
  T slope;
  void operator()(const HeadRow<T>& heads, const GraphSide& side, Index row, Index begin, Index end, T* scratch,
                  T* to) const {
    using B = Batch<T>;
    for (; begin < end; begin += heads.block) {
      const Index count = std::min(heads.block, end - begin);
      sum_heads<T>(
          heads, count,
          [&](Index e) __attribute__((always_inline)) {
            while (begin + e >= side.offsets[row + 1]) ++row;
            const T *mine = own + row * heads.row, *yours = other + side.other[begin + e] * heads.row;
            prefetch_row(other + side.ahead(begin + e, kEdgesAhead) * heads.row, heads.row);
            return [=, this](Index i) __attribute__((always_inline)) {
              return B::load(a + i) * leaky_batch(B::load(mine + i) + B::load(yours + i), slope);
            };
          },
          scratch);
      for (Index i = 0; i < count * heads.heads; i += B::size) B::load(scratch + i).store(to + i);
      to += count * heads.heads;
    }
  }
};

/// Forward of one attention over a graph; `values` [sources, heads, width]. Writes out [destinations, heads, width] and
/// the log-sum-exp [destinations, heads] (0 for a node without edges, or with no logit above -inf, whose output is 0).
template <class T, class Logits>
void graph_attention_forward(const GraphSide& graph, const HeadRow<T>& heads, const T* values, const Logits& logits_of,
                             const KeptWeights<T>& keep, T* out, T* log_sum_exp) {
  using B = Batch<T>;
  const Index n = heads.heads;
  for_graph_chunks(graph, [&](Index, Index first, Index last) {
    // Rows are taken in groups with about this many numbers, so that the work on one overlaps that on the next. A row
    // that has more is a group of its own.
    Index capacity = 1 + 2048 / (n + 1);
    for (Index i = first; i < last; ++i) capacity = std::max(capacity, graph.offsets[i + 1] - graph.offsets[i]);
    const Index numbers = heads.edge_numbers(capacity), row_numbers = heads.edge_numbers(kGraphChunk);
    const detail::Workspace<T> logit_space(numbers), power_space(numbers), scratch(heads.scratch_numbers()),
        shift_space(row_numbers), total_space(row_numbers);
    T *logits = logit_space.data(), *powers = power_space.data(), *shifts = shift_space.data(),
      *totals = total_space.data();
    for (Index i = first, stop; i < last; i = stop) {
      const Index begin = graph.offsets[i];
      for (stop = i + 1; stop < last && graph.offsets[stop + 1] - begin <= capacity;) ++stop;
      const Index end = graph.offsets[stop], rows = stop - i;
      // Calls run(at, h, left) for the batches of row r; numbers of an edge are stored by whole batches.
      const auto for_edges = [&, offsets = graph.offsets + i](Index r, auto run) __attribute__((always_inline)) {
        const Index from = (offsets[r] - begin) * n;
        heads.for_edge_batches(offsets[r + 1] - offsets[r],
                               [&](Index at, Index h, Index left)
                                   __attribute__((always_inline)) { run(from + at, h, left); });
      };
      logits_of(heads, graph, i, begin, end, scratch.data(), logits);
      if (heads.one_batch()) {
        for (Index r = 0; r < rows; ++r) {
          B highest(kMinusInfinity<T>);
          for_edges(r, [&](Index at, Index, Index left) __attribute__((always_inline)) {
            highest = native::max(highest, first_lanes(B::load(logits + at), left, kMinusInfinity<T>));
          });
          highest = heads.per_head(highest, [](B a, B b) { return native::max(a, b); });
          softmax_shift(highest).store(shifts + r * n);
        }
        for (Index r = 0; r < rows; ++r) {
          const B shift = heads.beside_edges(shifts + r * n, 0);
          B total(0);
          for_edges(r, [&](Index at, Index, Index left) __attribute__((always_inline)) {
            const B power = native::exp(B::load(logits + at) - shift);
            total += first_lanes(power, left, T(0));
            power.store(powers + at);
          });
          heads.per_head(total, [](B a, B b) { return a + b; }).store(totals + r * n);
        }
      } else {
        for (Index r = 0; r < rows; ++r)
          for (Index h = 0; h < n; h += B::size) {
            B highest(kMinusInfinity<T>), total(0);
            const Index from = (graph.offsets[i + r] - begin) * n + h, past = (graph.offsets[i + r + 1] - begin) * n;
            for (Index at = from; at < past; at += n) highest = native::max(highest, B::load(logits + at));
            const B shift = softmax_shift(highest);
            for (Index at = from; at < past; at += n) {
              const B power = native::exp(B::load(logits + at) - shift);
              total += power;
              store_lanes(power, powers + at, n - h);
            }
            shift.store(shifts + r * n + h);
            total.store(totals + r * n + h);
          }
      }
      for_row<T>(rows * n, [&](Index at, Index left) {
        const B total = B::load(totals + at);
        store_lanes(where(total == B(0), B(0), B::load(shifts + at) + native::log(total)), log_sum_exp + i * n + at,
                    left);
        where(total == B(0), B(0), B(1) / total).store(totals + at);
      });
      for (Index r = 0; r < rows; ++r) {
        const T* scale = totals + r * n;
        const B all = heads.beside_edges(scale, 0);
        for_edges(r, [&](Index at, Index h, Index) __attribute__((always_inline)) {
          const B weight = B::load(powers + at) * (h == 0 ? all : B::load(scale + h));
          (keep.bits ? keep(weight, begin * n + at) : weight).store(logits + at);
        });
      }
      add_weighted_rows<T>(heads, {graph, i, stop, begin, end, values, logits, out});
    }
  });
}

/// What the walk back reads of a destination besides its rows: records `stride` apart that begin with log_sum_exp
/// [heads] and mean [heads], <dOut_i, out_i>: the sum of alpha times its gradient.
template <class T>
struct SoftmaxRecords {
  const T* from;
  Index stride;
};
/// Records of `log_sum_exp`, means and `scores` [destinations, heads], which may be null and are left out then. What was
/// added to `out` after the sum, `bias` [heads, width], may be null. Unless `d_bias` is null, it gets the sums of d_out
/// over chunks of kRecordChunk rows, [chunks, heads, width].
inline constexpr Index kRecordChunk = 512;
template <class T>
void softmax_records(const HeadRow<T>& heads, Index destinations, const T* out, const T* bias, const T* d_out,
                     const T* log_sum_exp, const T* scores, T* records, T* d_bias) {
  using B = Batch<T>;
  const Index n = heads.heads, row = heads.row, stride = scores ? 3 * n : 2 * n;
  // Tasks, not `parallel_for`: each asks for memory.
  parallel_even_tasks((destinations + kRecordChunk - 1) / kRecordChunk, [&](Index task) {
    const Index first = task * kRecordChunk, last = std::min(first + kRecordChunk, destinations);
    const detail::Workspace<T> scratch(heads.scratch_numbers()), none(bias ? 0 : whole_batches<T>(row) + B::size);
    if (!bias) std::memset(none.data(), 0, static_cast<std::size_t>(row + B::size) * sizeof(T));
    const T* added = bias ? bias : none.data();
    T* total = d_bias ? d_bias + task * row : nullptr;
    if (total) for_row<T>(row, [&](Index i, Index left) { store_lanes(B(0), total + i, left); });
    for (Index begin = first; begin < last; begin += heads.block) {
      const Index count = std::min(heads.block, last - begin);
      sum_heads<T>(
          heads, count,
          [&](Index r) __attribute__((always_inline)) {
            const T *a = out + (begin + r) * row, *b = d_out + (begin + r) * row;
            return [=](Index i) __attribute__((always_inline)) {
              return (B::load(a + i) - B::load(added + i)) * B::load(b + i);
            };
          },
          scratch.data());
      for (Index r = 0; r < count; ++r) {
        T* record = records + (begin + r) * stride;
        for_row<T>(n, [&](Index h, Index left) __attribute__((always_inline)) {
          store_lanes(B::load(log_sum_exp + (begin + r) * n + h), record + h, left);
          store_lanes(B::load(scratch.data() + r * n + h), record + n + h, left);
          if (scores) store_lanes(B::load(scores + (begin + r) * n + h), record + 2 * n + h, left);
        });
        if (total)
          for_row<T>(row, [&](Index i, Index left) __attribute__((always_inline)) {
            store_lanes(load_lanes(total + i, left) + B::load(d_out + (begin + r) * row + i), total + i, left);
          });
      }
    }
  });
}

/// Backward of one attention, by source:
///   dlogit_e = alpha_e (keep_e <dOut_i, v_j> - <dOut_i, out_i>)  with  alpha_e = exp(logit_e - lse_i)
///   d_values[j] = sum over the edges j -> i of alpha_e keep_e dOut_i   (unless it is null)
/// Calls slope(dlogits, logits) on batches of them, for the gradient of whatever is inside the logits, and then
/// finish(j, begin, end, [end - begin, heads] of these) for every group of edges in source order, the first of row j.
template <class T, class Logits, class Slope, class Finish>
void graph_attention_backward(const GraphArrays& graph, const HeadRow<T>& heads, const T* values,
                              const Logits& logits_of, const SoftmaxRecords<T>& records, const KeptWeights<T>& keep,
                              const T* d_out, Slope slope, Finish finish, T* d_values) {
  using B = Batch<T>;
  const GraphSide& side = graph.by_source;
  const Index n = heads.heads;
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    const Index numbers = heads.edge_numbers(heads.block);
    const detail::Workspace<T> space(4 * numbers), scratch(heads.scratch_numbers());
    const detail::Workspace<std::uint64_t> bits(keep.bits ? numbers / 64 + 2 : 0);
    const KeptWeights<T> kept{keep.bits ? bits.data() : nullptr, keep.scale};
    T *logits = space.data(), *sums = logits + numbers, *means = sums + numbers, *weights = means + numbers;
    for (Index j = first; j < last && d_values; ++j)
      if (side.offsets[j] == side.offsets[j + 1])
        for_row<T>(heads.row, [&](Index i, Index left) { store_lanes(B(0), d_values + j * heads.row + i, left); });
    Index row = first;
    for (Index begin = side.offsets[first], end; begin < side.offsets[last]; begin = end) {
      end = std::min(begin + heads.block, side.offsets[last]);
      while (side.offsets[row + 1] <= begin) ++row;
      const Index count = end - begin;
      const GraphIndex *others = side.other + begin, *places = graph.edge_by_source + begin;
      logits_of(heads, side, row, begin, end, scratch.data(), logits);
      gather_edges(records.from, records.stride, others, count, n, sums);
      gather_edges(records.from + n, records.stride, others, count, n, means);
      if (keep.bits) copy_bits(keep.bits, places, count, n, bits.data());
      Index j = row;  // of the edge that is walked
      sum_heads<T>(
          heads, count,
          [&](Index e) __attribute__((always_inline)) {
            while (begin + e >= side.offsets[j + 1]) ++j;
            prefetch_row(d_out + side.ahead(begin + e, kEdgesAhead) * heads.row, heads.row);
            prefetch_row(records.from + side.ahead(begin + e, heads.block) * records.stride, records.stride);
            const T *g = d_out + others[e] * heads.row, *v = values + j * heads.row;
            return [=](Index i) __attribute__((always_inline)) { return B::load(g + i) * B::load(v + i); };
          },
          scratch.data());
      for (Index at = 0; at < count * n; at += B::size) {
        const B logit = B::load(logits + at), alpha = native::exp(logit - B::load(sums + at));
        const B weight = kept.bits ? kept(alpha, at) : alpha, along = weight * B::load(scratch.data() + at);
        const B gradient = along - alpha * B::load(means + at);
        weight.store(weights + at);
        slope(gradient, logit).store(sums + at);
      }
      if (d_values) {
        Index past = row;
        while (side.offsets[past] < end) ++past;
        add_weighted_rows<T>(heads, {side, row, past, begin, end, d_out, weights, d_values});
      }
      finish(row, begin, end, sums);
    }
  });
}

/// to[h] += the sum of numbers[e, h] over e < count, in order, wherever the edges of a row are parted.
template <class T>
void add_edges(const T* numbers, Index count, Index heads, T* to) {
  if (heads == 1) {
    T sum = *to;
    for (Index e = 0; e < count; ++e) sum += numbers[e];
    *to = sum;
    return;
  }
  for_row<T>(heads, [&](Index h, Index left) {
    Batch<T> sum = load_lanes(to + h, left);
    for (Index e = 0; e < count; ++e) sum += Batch<T>::load(numbers + e * heads + h);
    store_lanes(sum, to + h, left);
  });
}
/// to[places[e], h] = numbers[e, h]: edges in source order go to their place in destination order.
template <class T>
void place_edges(const T* numbers, const GraphIndex* places, Index count, Index heads, T* to) {
  if (heads == 1) {
    for (Index e = 0; e < count; ++e) to[places[e]] = numbers[e];
    return;
  }
  for (Index e = 0; e < count; ++e)
    for_row<T>(heads, [&](Index h, Index left) {
      store_lanes(Batch<T>::load(numbers + e * heads + h), to + places[e] * heads + h, left);
    });
}

/// GATv2: to += the sum over `count` edges of dlogits[e, head] a LeakyReLU'(own + others[index[e]]), all rows of heads.
template <class T>
void add_joint_gradients(const HeadRow<T>& heads, const T* own, const T* others, const GraphIndex* index, Index count,
                         const T* a, T slope, const T* d_logits, T* to) {
  using B = Batch<T>;
  for_row<T>(heads.row, [&](Index i, Index left) {
    const B mine = B::load(own + i), weight = B::load(a + i);
    B sum = load_lanes(to + i, left);
    for (Index e = 0; e < count; ++e) {
      const B joint = mine + B::load(others + index[e] * heads.row + i);
      sum = fma(heads.spread(d_logits + e * heads.heads, i), weight * leaky_slope(joint, slope), sum);
    }
    store_lanes(sum, to + i, left);
  });
}
/// GATv2, by destination: the gradient of its row, as above, and of `a`: the sums over the edges of every chunk of
/// dlogits[e, head] LeakyReLU(own + others[index[e]]), [chunks, heads, width].
template <class T>
void graph_attention_v2_by_destination(const GraphSide& graph, const HeadRow<T>& heads, const T* source,
                                       const T* destination, const T* a, T slope, const T* d_logits,
                                       T* d_destination, T* d_attention) {
  using B = Batch<T>;
  for_graph_chunks(graph, [&](Index chunk, Index first, Index last) {
    T* for_a = d_attention + chunk * heads.row;
    for_row<T>(heads.row, [&](Index i, Index left) { store_lanes(B(0), for_a + i, left); });
    for (Index r = first; r < last; ++r) {
      const Index begin = graph.offsets[r], end = graph.offsets[r + 1];
      for_row<T>(heads.row, [&](Index i, Index left) {
        const B mine = B::load(destination + r * heads.row + i);
        B sum(0), sum_a = load_lanes(for_a + i, left);
        for (Index e = begin; e < end; ++e) {
          native::prefetch(source + graph.other[std::min(e + kEdgesAhead, graph.edges() - 1)] * heads.row + i);
          const B joint = mine + B::load(source + graph.other[e] * heads.row + i);
          const B gradient = heads.spread(d_logits + e * heads.heads, i);
          sum = fma(gradient, leaky_slope(joint, slope), sum);
          sum_a = fma(gradient, leaky_batch(joint, slope), sum_a);
        }
        store_lanes(sum * B::load(a + i), d_destination + r * heads.row + i, left);
        store_lanes(sum_a, for_a + i, left);
      });
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
