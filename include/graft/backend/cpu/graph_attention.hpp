#pragma once
// Sparse attention over the rows of a graph: scores, softmax and weighted sum in one walk. Features are never expanded
// to one row per edge; of the forward pass only two numbers of every node and head are kept. The row of an edge, all
// heads side by side, is read once: forward by its destination, backward by its source. Every sum is owned by one row
// and runs in edge order, so bits do not depend on threads.

#include "graft/backend/cpu/row_lanes.hpp"
#include "graft/backend/cpu/softmax.hpp"
#include "graft/backend/cpu/weighted_rows.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

template <class T>
[[gnu::always_inline]] inline Simd<T> leaky_batch(Simd<T> x, T slope) {
  return where(x > Simd<T>(0), x, x * Simd<T>(slope));
}
template <class T>
[[gnu::always_inline]] inline Simd<T> leaky_slope(Simd<T> x, T slope) {
  return where(x > Simd<T>(0), Simd<T>(1), Simd<T>(slope));
}

/// to[e, h] = from[index[e] * stride + h] for e < count, [count, heads].
template <class T>
[[gnu::always_inline]] inline void gather_edges(const T* from, Index stride, const GraphIndex* index, Index count,
                                                Index heads, T* to) {
  if (heads == 1)
    for (Index e = 0; e < count; ++e) to[e] = from[index[e] * stride];
  else
    for (Index e = 0; e < count; ++e)
      for (Index h = 0; h < heads; h += Simd<T>::size)
        Simd<T>::load(from + index[e] * stride + h).store(to + e * heads + h);
}

/// Logits of GAT, LeakyReLU(own + other). Which of the two is the source does not matter, so it serves both ways.
template <class T>
struct GatLogits {
  const T *own, *other;
  Index other_stride;
  T slope;
  /// to[e, h] for the edges begin .. end - 1, the first of which belongs to `row`.
  void operator()(const HeadRow<T>& heads, const GraphSide& side, Index row, Index begin, Index end, T*, T* to) const {
    using B = Simd<T>;
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
    using B = Simd<T>;
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

/// What turns the logits of the edges of a node into weights, exp(logit - shift) scale; [destinations, heads] each. One
/// number, the log-sum-exp, would be rounded to the size of the logits. Both are 0 for a node without edges, or with no
/// logit above -inf, whose output is 0.
template <class T>
struct EdgeNorms {
  T *shift, *scale;
};

/// Forward of one attention over a graph; `values` [sources, heads, width]. Writes out [destinations, heads, width].
template <class T, class Logits>
void graph_attention_forward(const GraphSide& graph, const HeadRow<T>& heads, const T* values, const Logits& logits_of,
                             const KeptWeights<T>& keep, T* out, const EdgeNorms<T>& norms) {
  using B = Simd<T>;
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
        const B scale = where(total == B(0), B(0), B(1) / total);
        store_lanes(B::load(shifts + at), norms.shift + i * n + at, left);
        store_lanes(scale, norms.scale + i * n + at, left);
        scale.store(totals + at);
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

/// What the walk back reads of a destination besides its rows: records `stride` apart that begin with shift, scale and
/// mean, [heads] each. The mean is <dOut_i, out_i>: the sum of alpha times its gradient.
template <class T>
struct SoftmaxRecords {
  const T* from;
  Index stride;
};
/// What `softmax_records` reads and writes. `scores` [destinations, heads] may be null, and what was added to `out`
/// after the sum, `bias` [heads, width], and `d_bias` [chunks, heads, width].
template <class T>
struct RecordRows {
  Index destinations;
  const T *out, *bias, *d_out;
  EdgeNorms<const T> norms;
  const T* scores;
  T *records, *d_bias;
  Index numbers_of_head() const { return scores ? 4 : 3; }
};
inline constexpr Index kRecordChunk = 512;
template <class Lanes, class T, int... K>
[[gnu::noinline]] void softmax_records_of(const Lanes& lanes_of, const RecordRows<T>& work, Index first, Index last,
                                          T* total, std::integer_sequence<int, K...>) {
  using B = Simd<T>;
  const Lanes lanes = lanes_of;
  const RecordRows<T> w = work;
  const Index n = lanes.heads;
  const B added[] = {w.bias ? lanes.load(w.bias, K) : B(0)...};
  B sum[] = {(static_cast<void>(K), B(0))...};
  T* record = w.records + first * w.numbers_of_head() * n;
  for (Index r = first; r < last; ++r) {
    const T* out = w.out + r * lanes.row;
    const B gradient[] = {lanes.load(w.d_out + r * lanes.row, K)...};
    const auto store = [&](B numbers) {
      lanes.store_per_head(numbers, record);
      record += n;
    };
    store(lanes.per_head(w.norms.shift + r * n));
    store(lanes.per_head(w.norms.scale + r * n));
    store(lanes.sum_heads([&](int k) __attribute__((always_inline)) {
      return (lanes.load(out, k) - added[k]) * gradient[k];
    }));
    if (w.scores) store(lanes.per_head(w.scores + r * n));
    ((sum[K] += gradient[K]), ...);
  }
  if (total) (lanes.store(sum[K], total, K), ...);
}
/// Writes records of shifts, scales, means and scores, which are left out where they are null. d_bias, unless it is
/// null, gets the sums of d_out over chunks of kRecordChunk rows.
template <class T>
void softmax_records(const HeadRow<T>& heads, const RecordRows<T>& work) {
  using B = Simd<T>;
  const Index n = heads.heads, row = heads.row, stride = work.numbers_of_head() * n;
  const auto total_of = [&](Index chunk) { return work.d_bias ? work.d_bias + chunk * row : nullptr; };
  const bool held = with_row_lanes(heads, [&](const auto& lanes, auto batches) {
    parallel_for(work.destinations, kRecordChunk, [&](Index first, Index last) {
      softmax_records_of(lanes, work, first, last, total_of(first / kRecordChunk), batches);
    });
  });
  if (held) return;
  // Tasks, not `parallel_for`: each asks for memory.
  parallel_even_jobs((work.destinations + kRecordChunk - 1) / kRecordChunk, [&](Index task) {
    const Index first = task * kRecordChunk, last = std::min(first + kRecordChunk, work.destinations);
    const detail::Workspace<T> scratch(heads.scratch_numbers()), none(work.bias ? 0 : whole_batches<T>(row) + B::size);
    if (!work.bias) std::memset(none.data(), 0, static_cast<std::size_t>(row + B::size) * sizeof(T));
    const T* added = work.bias ? work.bias : none.data();
    T* total = total_of(task);
    if (total) for_row<T>(row, [&](Index i, Index left) { store_lanes(B(0), total + i, left); });
    for (Index begin = first; begin < last; begin += heads.block) {
      const Index count = std::min(heads.block, last - begin);
      sum_heads<T>(
          heads, count,
          [&](Index r) __attribute__((always_inline)) {
            const T *a = work.out + (begin + r) * row, *b = work.d_out + (begin + r) * row;
            return [=](Index i) __attribute__((always_inline)) {
              return (B::load(a + i) - B::load(added + i)) * B::load(b + i);
            };
          },
          scratch.data());
      for (Index r = 0; r < count; ++r) {
        T* record = work.records + (begin + r) * stride;
        const Index at = (begin + r) * n;
        for_row<T>(
            n, [&](Index h, Index left) __attribute__((always_inline)) {
              store_lanes(B::load(work.norms.shift + at + h), record + h, left);
              store_lanes(B::load(work.norms.scale + at + h), record + n + h, left);
              store_lanes(B::load(scratch.data() + r * n + h), record + 2 * n + h, left);
              if (work.scores) store_lanes(B::load(work.scores + at + h), record + 3 * n + h, left);
            });
        if (total)
          for_row<T>(row, [&](Index i, Index left) __attribute__((always_inline)) {
            store_lanes(load_lanes(total + i, left) + B::load(work.d_out + (begin + r) * row + i), total + i, left);
          });
      }
    }
  });
}

/// Backward of one attention, by source:
///   dlogit_e = alpha_e (keep_e <dOut_i, v_j> - <dOut_i, out_i>)  with  alpha_e = exp(logit_e - shift_i) scale_i
///   d_values[j] = sum over the edges j -> i of alpha_e keep_e dOut_i   (unless it is null)
/// Calls slope(dlogits, logits) on batches of them, for the gradient of whatever is inside the logits, and then
/// finish(j, begin, end, [end - begin, heads] of these) for every group of edges in source order, the first of row j.
template <class T, class Logits, class Slope, class Finish>
void graph_attention_backward(const GraphArrays& graph, const HeadRow<T>& heads, const T* values,
                              const Logits& logits_of, const SoftmaxRecords<T>& records, const KeptWeights<T>& keep,
                              const T* d_out, Slope slope, Finish finish, T* d_values) {
  using B = Simd<T>;
  const GraphSide& side = graph.by_source;
  const Index n = heads.heads;
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    const Index numbers = heads.edge_numbers(heads.block);
    const detail::Workspace<T> space(5 * numbers), scratch(heads.scratch_numbers());
    const detail::Workspace<std::uint64_t> bits(keep.bits ? numbers / 64 + 2 : 0);
    const KeptWeights<T> kept{keep.bits ? bits.data() : nullptr, keep.scale};
    T *logits = space.data(), *shifts = logits + numbers, *scales = shifts + numbers, *means = scales + numbers,
      *weights = means + numbers;
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
      gather_edges(records.from, records.stride, others, count, n, shifts);
      gather_edges(records.from + n, records.stride, others, count, n, scales);
      gather_edges(records.from + 2 * n, records.stride, others, count, n, means);
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
        const B logit = B::load(logits + at);
        const B alpha = native::exp(logit - B::load(shifts + at)) * B::load(scales + at);
        const B weight = kept.bits ? kept(alpha, at) : alpha, along = weight * B::load(scratch.data() + at);
        const B gradient = along - alpha * B::load(means + at);
        weight.store(weights + at);
        slope(gradient, logit).store(shifts + at);
      }
      if (d_values) {
        Index past = row;
        while (side.offsets[past] < end) ++past;
        add_weighted_rows<T>(heads, {side, row, past, begin, end, d_out, weights, d_values});
      }
      finish(row, begin, end, shifts);
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
    Simd<T> sum = load_lanes(to + h, left);
    for (Index e = 0; e < count; ++e) sum += Simd<T>::load(numbers + e * heads + h);
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
      store_lanes(Simd<T>::load(numbers + e * heads + h), to + places[e] * heads + h, left);
    });
}

/// GATv2: to += the sum over `count` edges of dlogits[e, head] a LeakyReLU'(own + others[index[e]]), all rows of heads.
template <class T>
void add_joint_gradients(const HeadRow<T>& heads, const T* own, const T* others, const GraphIndex* index, Index count,
                         const T* a, T slope, const T* d_logits, T* to) {
  using B = Simd<T>;
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
  using B = Simd<T>;
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
