#pragma once
// Sparse attention over the rows of a graph: scores, softmax and weighted sum in one walk. Features are never expanded
// to one row per edge; of the forward pass only the log-sum-exp of every node and head is kept. Every sum is owned by
// its destination row (or, in the second backward walk, its source row) and runs in edge order, so bits do not depend
// on threads.

#include <cmath>

#include "graft/core/parallel.hpp"
#include "graft/core/tensor.hpp"
#include "graft/number/batch.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// The arrays of a graph as kernels see them; see `Graph`.
struct GraphArrays {
  Index sources, destinations;
  const std::int64_t *offsets, *source_of, *destination_of, *source_offsets, *edge_by_source;
};

/// Rows of one parallel chunk. Fixed, because partial sums over chunks are added in chunk order.
inline constexpr Index kGraphRows = 64;

template <class T>
T dot_part(const T* a, const T* b, Index count) {
  using B = Batch<T>;
  B sum(0);
  Index i = 0;
  for (; i + B::size <= count; i += B::size) sum = fma(B::load(a + i), B::load(b + i), sum);
  if (i < count) sum = fma(B::load_part(a + i, count - i), B::load_part(b + i, count - i), sum);
  return sum_lanes(sum);
}
/// to += scale from.
template <class T>
void add_scaled(T* to, T scale, const T* from, Index count) {
  using B = Batch<T>;
  Index i = 0;
  for (; i + B::size <= count; i += B::size) fma(B(scale), B::load(from + i), B::load(to + i)).store(to + i);
  if (i < count)
    fma(B(scale), B::load_part(from + i, count - i), B::load_part(to + i, count - i)).store_part(to + i, count - i);
}

/// A batch of numbers from `from`, the first `left` of them real.
template <class T>
Batch<T> load_up_to(const T* from, Index left) {
  return left >= Batch<T>::size ? Batch<T>::load(from) : Batch<T>::load_part(from, left);
}
template <class T>
Batch<T> leaky_batch(Batch<T> x, T slope) {
  return where(x > Batch<T>(0), x, x * Batch<T>(slope));
}
/// a . LeakyReLU(s + d).
template <class T>
T dot_leaky(const T* a, const T* s, const T* d, Index count, T slope) {
  using B = Batch<T>;
  B sum(0);
  for (Index i = 0; i < count; i += B::size) {
    const B joint = load_up_to(s + i, count - i) + load_up_to(d + i, count - i);
    sum = fma(load_up_to(a + i, count - i), leaky_batch(joint, slope), sum);
  }
  return sum_lanes(sum);
}
/// to += scale a LeakyReLU'(s + d).
template <class T>
void add_leaky_slope(T* to, T scale, const T* a, const T* s, const T* d, Index count, T slope) {
  using B = Batch<T>;
  for (Index i = 0; i < count; i += B::size) {
    const Index left = count - i;
    const B joint = load_up_to(s + i, left) + load_up_to(d + i, left);
    const B step = load_up_to(a + i, left) * where(joint > B(0), B(scale), B(scale * slope));
    const B sum = load_up_to<T>(to + i, left) + step;
    left >= B::size ? sum.store(to + i) : sum.store_part(to + i, left);
  }
}
/// to += scale LeakyReLU(s + d).
template <class T>
void add_scaled_leaky(T* to, T scale, const T* s, const T* d, Index count, T slope) {
  using B = Batch<T>;
  for (Index i = 0; i < count; i += B::size) {
    const Index left = count - i;
    const B joint = load_up_to(s + i, left) + load_up_to(d + i, left);
    const B sum = fma(B(scale), leaky_batch(joint, slope), load_up_to<T>(to + i, left));
    left >= B::size ? sum.store(to + i) : sum.store_part(to + i, left);
  }
}

/// exp(x - shift), cut to zero below the smallest normal number.
template <class T>
T exp_shifted(T x, T shift) {
  const T difference = x - shift;
  return difference < T(std::is_same_v<T, float> ? -87.3 : -708.3) ? T(0) : std::exp(difference);
}

/// Forward of one attention over a graph. `score(edge, destination, head)` is the logit, `keep(edge, head)` the dropout
/// factor (1 without dropout), `values` [sources, heads, width]. Writes out [destinations, heads, width] and the
/// log-sum-exp [destinations, heads] (0 for a node without edges, or with no logit above -inf, whose output is 0).
template <class T, class Score, class Keep>
void graph_attention_forward(const GraphArrays& graph, Index heads, Index width, const T* values, Score score,
                             Keep keep, T* out, T* log_sum_exp) {
  const detail::Workspace<T> logits(graph.offsets[graph.destinations]);  // of one head at a time
  parallel_for(graph.destinations, kGraphRows, [&](Index first, Index last) {
    for (Index i = first; i < last; ++i) {
      const Index begin = graph.offsets[i], end = graph.offsets[i + 1];
      for (Index h = 0; h < heads; ++h) {
        T* to = out + (i * heads + h) * width;
        for (Index w = 0; w < width; ++w) to[w] = 0;
        T& lse = log_sum_exp[i * heads + h];
        lse = 0;
        if (begin == end) continue;
        T highest = -std::numeric_limits<T>::infinity();
        for (Index e = begin; e < end; ++e) {
          const T logit = score(e, i, h);
          logits[e] = logit;
          highest = logit > highest || logit != logit ? logit : highest;
        }
        if (highest == -std::numeric_limits<T>::infinity()) continue;
        T total = 0;
        for (Index e = begin; e < end; ++e) total += logits[e] = exp_shifted(logits[e], highest);
        lse = highest + std::log(total);
        for (Index e = begin; e < end; ++e)
          add_scaled(to, logits[e] / total * keep(e, h), values + (graph.source_of[e] * heads + h) * width, width);
      }
    }
  });
}

/// Gradient of the logits, [edges, heads] in destination order:
///   alpha_e keep_e <dOut_i, v_j> - alpha_e <dOut_i, out_i>   with alpha_e = exp(logit_e - lse_i).
/// `alpha_kept`, [edges, heads], receives alpha_e keep_e.
template <class T, class Score, class Keep>
void graph_attention_logits_backward(const GraphArrays& graph, Index heads, Index width, const T* values, Score score,
                                     Keep keep, const T* out, const T* log_sum_exp, const T* d_out, T* d_logits,
                                     T* alpha_kept) {
  parallel_for(graph.destinations, kGraphRows, [&](Index first, Index last) {
    for (Index i = first; i < last; ++i)
      for (Index h = 0; h < heads; ++h) {
        const Index at = i * heads + h;
        const T mean = dot_part(d_out + at * width, out + at * width, width);
        for (Index e = graph.offsets[i]; e < graph.offsets[i + 1]; ++e) {
          const T alpha = exp_shifted(score(e, i, h), log_sum_exp[at]), kept = alpha * keep(e, h);
          const T along = dot_part(d_out + at * width, values + (graph.source_of[e] * heads + h) * width, width);
          alpha_kept[e * heads + h] = kept;
          d_logits[e * heads + h] = kept * along - alpha * mean;
        }
      }
  });
}

/// Adds up edges at their source: d_values[j, h, :] = sum of alpha_kept_e dOut_i (+ `more(e, i, h, to)`) over edges out
/// of j.
template <class T, class More>
void graph_attention_values_backward(const GraphArrays& graph, Index heads, Index width, const T* alpha_kept,
                                     const T* d_out, More more, T* d_values) {
  parallel_for(graph.sources, kGraphRows, [&](Index first, Index last) {
    for (Index j = first; j < last; ++j) {
      T* row = d_values + j * heads * width;
      for (Index w = 0; w < heads * width; ++w) row[w] = 0;
      for (Index place = graph.source_offsets[j]; place < graph.source_offsets[j + 1]; ++place) {
        const Index e = graph.edge_by_source[place], i = graph.destination_of[e];
        for (Index h = 0; h < heads; ++h) {
          add_scaled(row + h * width, alpha_kept[e * heads + h], d_out + (i * heads + h) * width, width);
          more(e, i, h, row + h * width);
        }
      }
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
