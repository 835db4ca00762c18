#pragma once
// The walks of GAT over a graph where a batch holds all heads and registers hold a row: all that an edge needs is done
// in one turn of one loop, so the ends of short rows, which nobody can foretell, cost one mispredicted branch each. And
// what GAT does to nodes: the scores of all heads with two vectors, and their gradients.

#include "graft/backend/cpu/graph_attention.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// What the walk by destination reads and writes; see `graph_attention_forward`. `bias` [heads, width] may be null.
template <class T>
struct GatForward {
  GraphSide side;
  const T* values;
  GatLogits<T> logits;
  KeptWeights<T> keep;
  const T* bias;
  T* out;
  EdgeNorms<T> norms;
};
template <class Lanes, class T, int... K>
[[gnu::noinline]] void gat_rows_forward(const Lanes& lanes_of, const GatForward<T>& work, Index first, Index last,
                                        std::integer_sequence<int, K...>) {
  using B = Simd<T>;
  const Lanes lanes = lanes_of;
  const GatForward<T> w = work;
  const Index n = lanes.heads, row = lanes.row, past = w.side.edges() - 1;
  const auto score = [&](Index e) __attribute__((always_inline)) {
    return lanes.per_head(w.logits.other + w.side.other[e] * w.logits.other_stride);
  };
  for (Index r = first; r < last; ++r) {
    const Index begin = w.side.offsets[r], end = w.side.offsets[r + 1];
    const B own = lanes.per_head(w.logits.own + r * n);
    B highest(kMinusInfinity<T>), total(0);
    for (Index e = begin; e < end; ++e) highest = native::max(highest, score(e));
    // The leaky ReLU of the highest sum is the highest logit.
    const B shift = softmax_shift(leaky_batch(own + highest, w.logits.slope));
    T* to = w.out + r * row;
    // Separately named variables stay in registers, elements of an array do not.
    [&]<class... Sum>(Sum... sum) __attribute__((always_inline)) {
      for (Index e = begin; e < end; ++e) {
        const T* from = w.values + w.side.other[e] * row;
        const T* ahead = w.values + w.side.other[std::min(e + kEdgesAhead, past)] * row;
        (native::prefetch(ahead + K * B::size), ...);
        const B power = native::exp(leaky_batch(own + score(e), w.logits.slope) - shift);
        total += power;
        const B weight = w.keep.bits ? lanes.kept(power, w.keep, e * n) : power;
        ((sum = fma(lanes.spread(weight, K), lanes.load(from, K), sum)), ...);
      }
      const B scale = where(total == B(0), B(0), B(1) / total);
      ((sum *= lanes.spread(scale, K)), ...);
      if (w.bias) ((sum += lanes.load(w.bias, K)), ...);
      (lanes.store(sum, to, K), ...);
      lanes.store_per_head(shift, w.norms.shift + r * n);
      lanes.store_per_head(scale, w.norms.scale + r * n);
    }
    ((static_cast<void>(K), B(0))...);
  }
}

/// What the walk by source reads and writes; see `graph_attention_backward`. Records hold shift, scale, mean and score
/// of a destination. Null where a gradient is not asked for; `d_logits` [edges, heads] in destination order.
template <class T>
struct GatBackward {
  GraphArrays graph;
  const T *values, *scores, *records;
  T slope;
  KeptWeights<T> keep;
  const T* d_out;
  T *d_values, *d_scores, *d_logits;
};
template <class Lanes, class T, int... K>
[[gnu::noinline]] void gat_rows_backward(const Lanes& lanes_of, const GatBackward<T>& work, Index first, Index last,
                                         std::integer_sequence<int, K...>) {
  using B = Simd<T>;
  const Lanes lanes = lanes_of;
  const GatBackward<T> w = work;
  const GraphSide side = w.graph.by_source;
  const Index n = lanes.heads, row = lanes.row, past = side.edges() - 1;
  for (Index j = first; j < last; ++j) {
    const B own = lanes.per_head(w.scores + j * n);
    const T* value = w.values + j * row;
    B d_score(0);
    [&]<class... Sum>(Sum... sum) __attribute__((always_inline)) {
      for (Index e = side.offsets[j]; e < side.offsets[j + 1]; ++e) {
        const Index i = side.other[e], ahead = side.other[std::min(e + kEdgesAhead, past)],
                    place = w.graph.edge_by_source[e];
        const T *gradient = w.d_out + i * row, *record = w.records + i * 4 * n;
        (native::prefetch(w.d_out + ahead * row + K * B::size), ...);
        prefetch_row(w.records + ahead * 4 * n, 4 * n);
        const B along = lanes.sum_heads([&](int k) __attribute__((always_inline)) {
          return lanes.load(gradient, k) * lanes.load(value, k);
        });
        // The sign of what goes into the leaky ReLU is the sign of its result.
        const B logit = leaky_batch(own + lanes.per_head(record + 3 * n), w.slope);
        const B alpha = native::exp(logit - lanes.per_head(record)) * lanes.per_head(record + n);
        const B weight = w.keep.bits ? lanes.kept(alpha, w.keep, place * n) : alpha;
        const B d_logit = (weight * along - alpha * lanes.per_head(record + 2 * n)) * leaky_slope(logit, w.slope);
        d_score += d_logit;
        if (w.d_logits) lanes.store_per_head(d_logit, w.d_logits + place * n);
        ((sum = fma(lanes.spread(weight, K), lanes.load(gradient, K), sum)), ...);
      }
      if (w.d_values) (lanes.store(sum, w.d_values + j * row, K), ...);
    }
    ((static_cast<void>(K), B(0))...);
    if (w.d_scores) lanes.store_per_head(d_score, w.d_scores + j * n);
  }
}

/// What `head_scores` reads and writes.
template <class T>
struct HeadScores {
  const T *values, *a, *b;
  T *to_a, *to_b;
};
template <class Lanes, class T, int... K>
[[gnu::noinline]] void head_scores_of(const Lanes& lanes_of, const HeadScores<T>& work, Index first, Index last,
                                      std::integer_sequence<int, K...>) {
  const Lanes lanes = lanes_of;
  const HeadScores<T> w = work;
  const Simd<T> a[] = {lanes.load(w.a, K)...}, b[] = {lanes.load(w.b, K)...};
  for (Index r = first; r < last; ++r) {
    const Simd<T> value[] = {lanes.load(w.values + r * lanes.row, K)...};
    const auto with = [&](const auto& vector) __attribute__((always_inline)) {
      return lanes.sum_heads([&](int k) __attribute__((always_inline)) { return value[k] * vector[k]; });
    };
    lanes.store_per_head(with(a), w.to_a + r * lanes.heads);
    lanes.store_per_head(with(b), w.to_b + r * lanes.heads);
  }
}
/// to_a[i, h] = <values[i, h, :], a[h, :]> for every row i, and the same with b.
template <class T>
void head_scores(const HeadRow<T>& heads, Index rows, const HeadScores<T>& work) {
  using B = Simd<T>;
  constexpr Index chunk = 512;
  const bool held = with_row_lanes(heads, [&](const auto& lanes, auto batches) {
    parallel_for(rows, chunk, [&](Index first, Index last) { head_scores_of(lanes, work, first, last, batches); });
  });
  if (held) return;
  // Tasks, not `parallel_for`: each asks for memory.
  parallel_even_jobs((rows + chunk - 1) / chunk, [&](Index task) {
    const Index last = std::min((task + 1) * chunk, rows);
    const detail::Workspace<T> scratch(heads.scratch_numbers());
    for (Index begin = task * chunk; begin < last; begin += heads.block) {
      const Index count = std::min(heads.block, last - begin);
      const auto score = [&](const T* with, T* to) {
        sum_heads<T>(
            heads, count,
            [&](Index r) __attribute__((always_inline)) {
              const T* from = work.values + (begin + r) * heads.row;
              return [=](Index i) __attribute__((always_inline)) { return B::load(from + i) * B::load(with + i); };
            },
            scratch.data());
        for_row<T>(count * heads.heads, [&](Index at, Index left) {
          store_lanes(B::load(scratch.data() + at), to + begin * heads.heads + at, left);
        });
      };
      score(work.a, work.to_a);
      score(work.b, work.to_b);
    }
  });
}

/// What the backward of these scores reads and writes: `d_scores` [nodes, heads] is the gradient of the scores with a;
/// that of a score with b is the sum of the `d_logits` [edges, heads] of its row. `d_vectors` is [chunks, 2, heads,
/// width].
template <class T>
struct ScoreGradients {
  GraphSide side;
  const T *values, *a, *b, *d_scores, *d_logits;
  T *d_values, *d_vectors;
};
template <class Lanes, class T, int... K>
[[gnu::noinline]] void add_score_gradients_of(const Lanes& lanes_of, const ScoreGradients<T>& work, Index first,
                                              Index last, T* d_a, T* d_b, std::integer_sequence<int, K...>) {
  using B = Simd<T>;
  const Lanes lanes = lanes_of;
  const ScoreGradients<T> w = work;
  const B a[] = {lanes.load(w.a, K)...}, b[] = {lanes.load(w.b, K)...};
  B sum_a[] = {(static_cast<void>(K), B(0))...}, sum_b[] = {(static_cast<void>(K), B(0))...};
  for (Index r = first; r < last; ++r) {
    B total(0);
    for (Index e = w.side.offsets[r]; e < w.side.offsets[r + 1]; ++e)
      total += lanes.per_head(w.d_logits + e * lanes.heads);
    const B score = lanes.per_head(w.d_scores + r * lanes.heads);
    const auto add = [&](int k) __attribute__((always_inline)) {
      const B by_a = lanes.spread(score, k), by_b = lanes.spread(total, k);
      const B value = lanes.load(w.values + r * lanes.row, k);
      sum_a[k] = fma(by_a, value, sum_a[k]);
      sum_b[k] = fma(by_b, value, sum_b[k]);
      if (!w.d_values) return;
      T* to = w.d_values + r * lanes.row;
      lanes.store(fma(by_a, a[k], fma(by_b, b[k], lanes.load(to, k))), to, k);
    };
    (add(K), ...);
  }
  (lanes.store(sum_a[K], d_a, K), ...);
  (lanes.store(sum_b[K], d_b, K), ...);
}
/// Backward of scores with a and b that rows of one set of nodes have as sources and as destinations: adds to
/// `d_values` (unless it is null) the gradients by way of both, and writes those of a and b, sums over the rows of
/// every chunk.
template <class T>
void add_score_gradients(const HeadRow<T>& heads, const ScoreGradients<T>& work) {
  using B = Simd<T>;
  const Index n = heads.heads, row = heads.row;
  const GraphSide side = work.side;
  const bool held = with_row_lanes(heads, [&](const auto& lanes, auto batches) {
    for_graph_chunks(side, [&](Index chunk, Index first, Index last) {
      T* d_a = work.d_vectors + 2 * chunk * row;
      add_score_gradients_of(lanes, work, first, last, d_a, d_a + row, batches);
    });
  });
  if (held) return;
  for_graph_chunks(side, [&](Index chunk, Index first, Index last) {
    const detail::Workspace<T> space(whole_batches<T>(n) + B::size);
    T* total = space.data();
    T *d_a = work.d_vectors + 2 * chunk * row, *d_b = d_a + row;
    for_row<T>(2 * row, [&](Index i, Index left) { store_lanes(B(0), d_a + i, left); });
    for (Index r = first; r < last; ++r) {
      std::fill_n(total, n, T(0));
      add_edges(work.d_logits + side.offsets[r] * n, side.offsets[r + 1] - side.offsets[r], n, total);
      const T* score = work.d_scores + r * n;
      for_row<T>(row, [&](Index i, Index left) __attribute__((always_inline)) {
        const B by_a = heads.spread(score, i), by_b = heads.spread(total, i),
                value = B::load(work.values + r * row + i);
        store_lanes(fma(by_a, value, load_lanes(d_a + i, left)), d_a + i, left);
        store_lanes(fma(by_b, value, load_lanes(d_b + i, left)), d_b + i, left);
        if (!work.d_values) return;
        T* to = work.d_values + r * row + i;
        store_lanes(fma(by_a, B::load(work.a + i), fma(by_b, B::load(work.b + i), load_lanes(to, left))), to, left);
      });
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
