#pragma once
// Scaled dot-product attention in blocks of queries and keys with a running maximum and sum, so that the matrix of
// scores never exists as a whole: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao, Fu,
// Ermon, Rudra, Re, "FlashAttention", NeurIPS 2022. Backward computes the scores again, and the weights from the saved
// peak and sum of every row.
//
// Work is shared out by heads and fixed groups of rows, and sums run over blocks in order: bits do not depend on
// threads. A row that sees no key gives zeros and gets zero gradient.

#include <algorithm>
#include <cmath>
#include <limits>

#include "graft/backend/cpu/dropout.hpp"
#include "graft/backend/cpu/gemm.hpp"
#include "graft/core/tensor.hpp"
#include "graft/number/functions.hpp"
#include "graft/number/transpose.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Queries and keys of a tile of scores; its rows lie `kKeyBlock` apart.
inline constexpr Index kQueryBlock = 64, kKeyBlock = 128;
/// Queries (forward) and keys (backward) of one head that a thread takes on at a time.
inline constexpr Index kQueryGroup = 512, kKeyGroup = 1024;

/// Dropout of the attention weights, which are numbered in row-major order; the mask is that of `cpu::dropout`.
struct AttentionDropout {
  std::uint64_t key = 0;
  std::uint32_t threshold = 0;  ///< 0: nothing is dropped
  double scale = 1;             ///< of the weights that stay
};

/// q [batch, heads, queries, depth], k [batch, key_heads, keys, depth], v [batch, key_heads, keys, value_depth];
/// key_heads divides heads, and as many heads in a row share keys and values.
template <class T>
struct AttentionProblem {
  Index batch, heads, queries, keys, depth, value_depth;
  T scale;
  bool causal;
  AttentionDropout dropout;
  const T *q, *k, *v;
  const bool* key_mask;  ///< [batch, keys] or null
  const bool* mask;      ///< [.., .., queries, keys] or null; read with these strides at (batch, head)
  Index mask_strides[2];
  const T* bias;  ///< or null; read with these strides at (batch, head, query, key)
  Index bias_strides[4];
  Index key_heads;
  Index key_room;   ///< rows from one head of k and v to the next; more than `keys` where there is room for others
  const T* slopes;  ///< [heads] or null: a score falls by the head's slope times the distance of query and key

  Index heads_of_a_key() const { return key_heads > 0 ? heads / key_heads : 1; }
  /// The head of k and v that a head uses, both counted over all samples.
  Index key_head(Index head) const { return head / heads_of_a_key(); }
  /// Where a query stands among the keys: the last one at the last.
  Index place(Index query) const { return query + keys - queries; }
  /// Keys that a query sees for its position alone: the last query sees all.
  Index visible_keys(Index query) const { return causal ? std::clamp(place(query) + 1, Index{0}, keys) : keys; }
  /// Row `query` of the mask of a head, counted over all samples.
  const bool* mask_row(Index head, Index query) const {
    return mask + head / heads * mask_strides[0] + head % heads * mask_strides[1] + query * keys;
  }
};

/// One head with its keys, and if need be its values, as the products read them. Numbers of masked keys are never used.
template <class T>
class AttentionHead {
 public:
  AttentionHead(const AttentionProblem<T>& problem, Index head, Index first_key, Index last_key, bool values_across)
      : p(problem),
        index(head),
        q(p.q + head * p.queries * p.depth),
        k(p.k + p.key_head(head) * p.key_room * p.depth),
        v(p.v + p.key_head(head) * p.key_room * p.value_depth),
        begin(first_key),
        end(last_key),
        keys_across_(detail::fresh<T>({blocks(), p.depth, kKeyBlock})) {
    if (p.key_mask) {
      const bool* mask = p.key_mask + head / p.heads * p.keys;
      seen_ = detail::fresh<T>({p.keys});
      for (Index j = 0; j < p.keys; ++j) detail::writable(seen_)[j] = mask[j] ? T(1) : T(0);
      masked_k_ = zero_masked(k, p.depth, mask);
      masked_v_ = zero_masked(v, p.value_depth, mask);
      k = masked_k_.data();
      v = masked_v_.data();
    }
    transpose_blocks(k, p.depth, detail::writable(keys_across_));
    if (!values_across) return;
    values_across_ = detail::fresh<T>({blocks(), p.value_depth, kKeyBlock});
    transpose_blocks(v, p.value_depth, detail::writable(values_across_));
  }

  /// Scores of queries [row, row + rows) and keys [key, key + count), count <= kKeyBlock, -inf where a query must not
  /// see the key and up to the next whole batch. `scaled` are the queries times the scale.
  void scores(const T* scaled, Index row, Index rows, Index key, Index count, T* to) const {
    using B = Simd<T>;
    const Index wide = whole_batches<T>(count);
    gemm(false, false, rows, wide, p.depth, scaled, p.depth, keys_across_.data() + (key - begin) * p.depth, kKeyBlock,
         to, kKeyBlock);
    const bool all = !p.key_mask && !p.mask && wide == count && p.visible_keys(row) >= key + count;
    if (all && !p.bias && !p.slopes) return;
    alignas(64) T lane_numbers[B::size];
    for (Index l = 0; l < B::size; ++l) lane_numbers[l] = static_cast<T>(l);
    const B lanes = B::load(lane_numbers), never(-std::numeric_limits<T>::infinity());
    alignas(64) T seen_by_query[kKeyBlock] = {};
    for (Index i = 0; i < rows; ++i) {
      T* at = to + i * kKeyBlock;
      if (p.bias) add_bias(at, row + i, key, count);
      if (p.slopes) {
        const B slope(p.slopes[index % p.heads]), ahead(static_cast<T>(key - p.place(row + i)));
        for (Index j = 0; j < wide; j += B::size)
          (B::load(at + j) - slope * native::abs(ahead + B(static_cast<T>(j)) + lanes)).store(at + j);
      }
      if (all) continue;
      if (p.mask)
        std::transform(p.mask_row(index, row + i) + key, p.mask_row(index, row + i) + key + count, seen_by_query,
                       [](bool seen) { return seen ? T(1) : T(0); });
      const Index visible = std::min(count, p.visible_keys(row + i) - key);
      for (Index j = 0; j < wide; j += B::size) {
        auto sees = lanes < B(visible - j);
        if (p.key_mask) sees = sees && B::load(seen_.data() + key + j) != B(0);
        if (p.mask) sees = sees && B::load(seen_by_query + j) != B(0);
        where(sees, B::load(at + j), never).store(at + j);
      }
    }
  }

  const T* values_across(Index key) const { return values_across_.data() + (key - begin) * p.value_depth; }

  /// Multiplies the weights of queries [row, row + rows) and keys [key, key + count) by 0 or the dropout's scale.
  void drop(Index row, Index rows, Index key, Index count, T* weights) const {
    const PhiloxKeys keys(p.dropout.key);
    std::uint32_t words[kMaskTile];
    for (Index i = 0; i < rows; ++i) {
      const Index first = (index * p.queries + row + i) * p.keys + key;
      T* at = weights + i * kKeyBlock;
      for (Index j = 0; j < count;) {
        const Index tile = (first + j) / kMaskTile, skip = (first + j) % kMaskTile;
        const Index tile_end = std::min(count, j + kMaskTile - skip);
        mask_words(static_cast<std::uint64_t>(tile), keys, words);
        for (Index word = skip; j < tile_end; ++j, ++word)
          at[j] = words[word] >= p.dropout.threshold ? at[j] * static_cast<T>(p.dropout.scale) : T(0);
      }
    }
  }

  const AttentionProblem<T>& p;
  const Index index;
  const T *q, *k, *v;
  const Index begin, end;  ///< keys that are laid out

 private:
  Index blocks() const { return (end - begin + kKeyBlock - 1) / kKeyBlock; }

  Tensor<T> zero_masked(const T* from, Index width, const bool* mask) const {
    const Tensor<T> result = detail::fresh<T>({p.keys, width});
    T* to = detail::writable(result);
    for (Index j = 0; j < p.keys; ++j)
      for (Index d = 0; d < width; ++d) to[j * width + d] = mask[j] ? from[j * width + d] : T(0);
    return result;
  }

  /// to[block, d, j] = from[begin + block * kKeyBlock + j, d], zeros behind the last key.
  void transpose_blocks(const T* from, Index width, T* to) const {
    constexpr Index lanes = Simd<T>::size;
    for (Index key = begin; key < end; key += kKeyBlock, to += width * kKeyBlock) {
      const Index count = std::min(kKeyBlock, end - key);
      for (Index j = 0; j < count; j += lanes) {
        Index d = 0;
        if (count - j >= lanes)
          for (; d + lanes <= width; d += lanes)
            load_transposed(from + (key + j) * width + d, width,
                            [&](Index l, Simd<T> column) { column.store(to + (d + l) * kKeyBlock + j); });
        for (; d < width; ++d)
          for (Index l = 0; l < lanes; ++l)
            to[d * kKeyBlock + j + l] = j + l < count ? from[(key + j + l) * width + d] : T(0);
      }
    }
  }

  void add_bias(T* at, Index row, Index key, Index count) const {
    using B = Simd<T>;
    const T* from = p.bias + index / p.heads * p.bias_strides[0] + index % p.heads * p.bias_strides[1] +
                    row * p.bias_strides[2] + key * p.bias_strides[3];
    for (Index j = 0; j < count; j += B::size)
      (B::load(at + j) + (p.bias_strides[3] == 0 ? B(*from) : B::load(from + j))).store(at + j);
  }

  Tensor<T> masked_k_, masked_v_, seen_, keys_across_, values_across_;
};

/// Combines lane l of `combine`d batches: out[r] = the lanes of row r combined, for `lanes` rows of one batch each.
template <class T, class Combine>
Simd<T> combine_rows(const T* rows, Combine combine) {
  Simd<T> columns[Simd<T>::size];
  load_transposed(rows, Simd<T>::size, [&](Index j, Simd<T> column) { columns[j] = column; });
  for (Index half = Simd<T>::size / 2; half > 0; half /= 2)
    for (Index j = 0; j < half; ++j) columns[j] = combine(columns[j], columns[j + half]);
  return columns[0];
}

/// What turns the scores of every row into weights, exp(score - peak) scale; [batch, heads, queries] each. One number,
/// the log-sum-exp, would be rounded to the size of the scores. Both are 0 for a row without keys.
template <class T>
struct AttentionNorms {
  T *peak, *scale;
};

/// The state of a block of queries between blocks of keys.
template <class T>
struct alignas(64) RunningSoftmax {
  using B = Simd<T>;
  T peak[kQueryBlock], total[kQueryBlock], rescale[kQueryBlock], lanes[kQueryBlock * B::size];

  RunningSoftmax() {
    std::fill(peak, peak + kQueryBlock, -std::numeric_limits<T>::infinity());
    std::fill(total, total + kQueryBlock, T(0));
    std::fill(lanes, lanes + kQueryBlock * B::size, T(0));
  }

  /// Turns scores [rows, count], padded with -inf to whole batches, into exp(score - peak), and says in `rescale` what
  /// the sums so far are to be multiplied by.
  void add(Index rows, Index count, T* scores) {
    const B never(-std::numeric_limits<T>::infinity());
    for (Index i = 0; i < rows; ++i) {
      B most = never;
      for (Index j = 0; j < count; j += B::size) most = native::max(most, B::load(scores + i * kKeyBlock + j));
      most.store(lanes + i * B::size);
    }
    for (Index i = 0; i < rows; i += B::size) {
      const B before = B::load(peak + i);
      const B most = native::max(before, combine_rows(lanes + i * B::size, [](B a, B b) { return native::max(a, b); }));
      native::exp(where(most == never, B(0), before - most)).store(rescale + i);
      most.store(peak + i);
    }
    for (Index i = 0; i < rows; ++i) {
      const B most(peak[i] == -std::numeric_limits<T>::infinity() ? T(0) : peak[i]);
      B sum(0);
      for (Index j = 0; j < count; j += B::size) {
        const B weight = native::exp(B::load(scores + i * kKeyBlock + j) - most);
        weight.store(scores + i * kKeyBlock + j);
        sum += weight;
      }
      sum.store(lanes + i * B::size);
    }
    for (Index i = 0; i < rows; i += B::size)
      fma(B::load(total + i), B::load(rescale + i), combine_rows(lanes + i * B::size, [](B a, B b) { return a + b; }))
          .store(total + i);
  }
};

/// to[i] = from[i] * factor.
template <class T>
void scale_numbers(const T* from, Index count, T factor, T* to) {
  using B = Simd<T>;
  Index i = 0;
  for (; i + B::size <= count; i += B::size) (B::load(from + i) * factor).store(to + i);
  if (i < count) (B::load_part(from + i, count - i) * factor).store_part(to + i, count - i);
}

/// Calls run(head, group) for every head and every group of `group_size` of `count`, large jobs in parallel.
template <class Run>
void for_heads_and_groups(Index heads, Index count, Index group_size, Index work_of_head, Run run) {
  const Index groups = std::max((count + group_size - 1) / group_size, Index{1});
  const Index work = std::max(work_of_head / groups, Index{1});
  const Index chunk = std::max(Index{1}, (Index{1} << 20) / work), jobs = heads * groups;
  parallel_jobs((jobs + chunk - 1) / chunk, [&](Index c) {
    for (Index job = c * chunk; job < std::min((c + 1) * chunk, jobs); ++job) run(job / groups, job % groups);
  });
}

/// out [batch, heads, queries, value_depth].
template <class T>
void attention(const AttentionProblem<T>& p, T* out, const AttentionNorms<T>& norms) {
  const Index width = p.value_depth;
  for_heads_and_groups(
      p.batch * p.heads, p.queries, kQueryGroup, p.queries * p.keys * (p.depth + width), [&](Index index, Index group) {
        const Index first = group * kQueryGroup, last = std::min(first + kQueryGroup, p.queries);
        const AttentionHead<T> head(p, index, 0, p.visible_keys(last - 1), false);
        const Tensor<T> scaled_block = detail::fresh<T>({kQueryBlock, p.depth});
        const Tensor<T> tile_block = detail::fresh<T>({kQueryBlock, kKeyBlock});
        T *scaled = detail::writable(scaled_block), *tile = detail::writable(tile_block);
        for (Index row = first; row < last; row += kQueryBlock) {
          const Index rows = std::min(kQueryBlock, last - row), keys = p.visible_keys(row + rows - 1);
          T* to = out + (index * p.queries + row) * width;
          scale_numbers(head.q + row * p.depth, rows * p.depth, p.scale, scaled);
          RunningSoftmax<T> softmax;
          for (Index key = 0; key < keys; key += kKeyBlock) {
            const Index count = std::min(kKeyBlock, keys - key);
            head.scores(scaled, row, rows, key, count, tile);
            softmax.add(rows, count, tile);
            if (p.dropout.threshold > 0) head.drop(row, rows, key, count, tile);
            for (Index i = 0; i < rows && key > 0; ++i)
              if (softmax.rescale[i] != 1) scale_numbers(to + i * width, width, softmax.rescale[i], to + i * width);
            gemm(false, false, rows, width, count, tile, kKeyBlock, head.v + key * width, width, to, width, key > 0);
          }
          for (Index i = 0; i < rows; ++i) {
            const bool seen = softmax.total[i] != 0;
            const T scale = seen ? 1 / softmax.total[i] : 0;
            if (seen)
              scale_numbers(to + i * width, width, scale, to + i * width);
            else
              std::fill(to + i * width, to + (i + 1) * width, T(0));
            norms.peak[index * p.queries + row + i] = seen ? softmax.peak[i] : 0;
            norms.scale[index * p.queries + row + i] = scale;
          }
        }
      });
}

/// Where the gradients of an attention go; null for those not asked for. `bias` is [batch, heads, queries, keys], the
/// gradient of every score, to be zero at first.
template <class T>
struct AttentionGradients {
  T *q, *k, *v, *bias;
};

/// Gradients for the gradient `g` of `out`, both [batch, heads, queries, value_depth].
template <class T>
void attention_backward(const AttentionProblem<T>& p, const T* out, const AttentionNorms<const T>& norms, const T* g,
                        const AttentionGradients<T>& to) {
  using B = Simd<T>;
  const Index width = p.value_depth, depth = p.depth, heads = p.batch * p.heads, shared = p.heads_of_a_key();
  const Index groups = std::max((p.keys + kKeyGroup - 1) / kKeyGroup, Index{1}), size = p.queries * depth;
  // Each group of keys has its own sum for the queries; groups are added in order.
  const Tensor<T> parts_block = detail::fresh<T>({to.q && groups > 1 ? heads * groups * size : 0});
  T* parts = detail::writable(parts_block);
  const auto of_head = [&](Index index, Index group) {
    const Index first = group * kKeyGroup, last = std::min(first + kKeyGroup, p.keys);
    T* dq = !to.q ? nullptr : groups > 1 ? parts + (index * groups + group) * size : to.q + index * size;
    if (dq) std::fill(dq, dq + size, T(0));
    T* dk = to.k ? to.k + p.key_head(index) * p.keys * depth : nullptr;
    T* dv = to.v ? to.v + p.key_head(index) * p.keys * width : nullptr;
    const bool opens = index % shared == 0;  // the first of the heads that add to these keys
    if (dk && opens) std::fill(dk + first * depth, dk + last * depth, T(0));
    if (dv && opens) std::fill(dv + first * width, dv + last * width, T(0));
    if (first == last) return;

    const AttentionHead<T> head(p, index, first, last, true);
    const Tensor<T> numbers = detail::fresh<T>({size + p.queries + 2 * kQueryBlock * kKeyBlock});
    T* scaled = detail::writable(numbers);
    T *weights = scaled + size, *slopes = weights + kQueryBlock * kKeyBlock, *dots = slopes + kQueryBlock * kKeyBlock;
    scale_numbers(head.q, size, p.scale, scaled);
    const T *g_head = g + index * p.queries * width, *out_head = out + index * p.queries * width;
    const T *peaks = norms.peak + index * p.queries, *scales = norms.scale + index * p.queries;
    for (Index i = 0; i < p.queries; ++i) {
      B sum(0);
      for (Index d = 0; d < width; d += B::size) {
        const B a =
            width - d >= B::size ? B::load(g_head + i * width + d) : B::load_part(g_head + i * width + d, width - d);
        const B b = width - d >= B::size ? B::load(out_head + i * width + d)
                                         : B::load_part(out_head + i * width + d, width - d);
        sum = fma(a, b, sum);
      }
      dots[i] = sum_lanes(sum);
    }
    for (Index key = first; key < last; key += kKeyBlock)
      for (Index row = 0; row < p.queries; row += kQueryBlock) {
        const Index rows = std::min(kQueryBlock, p.queries - row);
        const Index count = std::min({kKeyBlock, last - key, p.visible_keys(row + rows - 1) - key});
        if (count <= 0) continue;
        const Index wide = whole_batches<T>(count);
        head.scores(scaled + row * depth, row, rows, key, count, weights);
        gemm(false, false, rows, wide, width, g_head + row * width, width, head.values_across(key), kKeyBlock, slopes,
             kKeyBlock);
        if (p.dropout.threshold > 0) head.drop(row, rows, key, count, slopes);
        for (Index i = 0; i < rows; ++i) {
          const B peak(peaks[row + i]), scale(scales[row + i]), dot(dots[row + i]);
          T *weight = weights + i * kKeyBlock, *slope = slopes + i * kKeyBlock;
          for (Index j = 0; j < wide; j += B::size) {
            const B w = native::exp(B::load(weight + j) - peak) * scale;
            w.store(weight + j);
            (w * (B::load(slope + j) - dot)).store(slope + j);
          }
          if (to.bias) std::copy(slope, slope + count, to.bias + ((index * p.queries + row + i) * p.keys) + key);
        }
        if (dv) {
          if (p.dropout.threshold > 0) head.drop(row, rows, key, count, weights);
          gemm(true, false, count, width, rows, weights, kKeyBlock, g_head + row * width, width, dv + key * width,
               width, true);
        }
        if (dq)
          gemm(false, false, rows, depth, count, slopes, kKeyBlock, head.k + key * depth, depth, dq + row * depth,
               depth, true);
        if (dk)
          gemm(true, false, count, depth, rows, slopes, kKeyBlock, scaled + row * depth, depth, dk + key * depth, depth,
               true);
      }
    // Masked keys get nothing, not even from a query whose weights are NaN.
    const bool* seen = p.key_mask ? p.key_mask + index / p.heads * p.keys : nullptr;
    for (Index j = first; seen && j < last; ++j) {
      if (seen[j]) continue;
      if (dk) std::fill(dk + j * depth, dk + (j + 1) * depth, T(0));
      if (dv) std::fill(dv + j * width, dv + (j + 1) * width, T(0));
      for (Index i = 0; to.bias && i < p.queries; ++i) to.bias[(index * p.queries + i) * p.keys + j] = T(0);
    }
    if (dq && groups == 1) scale_numbers(dq, size, p.scale, dq);
  };
  for_heads_and_groups(heads / shared, p.keys, kKeyGroup, shared * p.queries * p.keys * (3 * depth + 2 * width),
                       [&](Index key_head, Index group) {
                         for (Index head = 0; head < shared; ++head) of_head(key_head * shared + head, group);
                       });
  if (!to.q || groups == 1) return;
  parallel_for(heads, 1 + 65536 / (groups * size + 1), [&](Index begin, Index end) {
    for (Index index = begin; index < end; ++index) {
      const T* from = parts + index * groups * size;
      T* dq = to.q + index * size;
      for (Index i = 0; i < size; i += B::size) {
        B sum = B::load(from + i);
        for (Index group = 1; group < groups; ++group) sum += B::load(from + group * size + i);
        sum *= p.scale;
        store_lanes(sum, dq + i, size - i);
      }
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
