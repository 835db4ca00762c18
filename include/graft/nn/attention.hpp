#pragma once
// Multi-head attention (Vaswani et al., "Attention is all you need", NeurIPS 2017), with keys and values shared by
// groups of heads (Ainslie et al., EMNLP 2023), rotary positions (Su et al. 2021) and linear biases (Press et al., ICLR
// 2022) as options. Parameter names and initial values are torch.nn.MultiheadAttention's, so its weights load.

#include <algorithm>
#include <optional>
#include <string>

#include "graft/model/context.hpp"
#include "graft/nn/linear.hpp"
#include "graft/nn/positions.hpp"
#include "graft/ops/attention.hpp"
#include "graft/ops/kv_cache.hpp"
#include "graft/ops/rotary.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `MultiHeadAttention`.
struct MultiHeadAttentionOptions {
  double dropout = 0;  ///< of the attention weights, in training
  bool bias = true;
  Index key_heads = 0;     ///< heads of keys and values, which several heads of the queries share; 0: a head each
  Index memory_width = 0;  ///< of the keys' and values' inputs, in attention to another sequence; 0: the queries' width
  std::optional<RotaryOptions> rotary = {};  ///< turns queries and keys by their places
  bool alibi = false;                        ///< scores fall with the distance, by the slopes of `alibi_slopes`
};

/// What may be attended to; see `AttentionOptions`.
template <Real T = float>
struct AttentionMask {
  bool causal = false;         ///< query i sees keys up to its own place
  Tensor<bool> key_mask = {};  ///< [batch, keys]: true where the key may be seen; empty: all
  Tensor<bool> mask = {};      ///< [batch or 1, heads or 1, queries, keys]: true where the query may see the key
  Tensor<T> bias = {};         ///< added to the scores; broadcasts to [batch, heads, queries, keys]
  /// How many places, from the first on, are keys and values; empty: all. The shapes above count these keys alone.
  std::optional<Index> keys = {};
};

/// concat over heads of softmax(Q_h K_h^T / sqrt(width / heads)) V_h, times out_proj, where Q, K and V are affine maps
/// of query, key and value. [batch, queries, width] and [batch, keys, memory_width] -> [batch, queries, width]; without
/// the batch axis, [queries, width] and [keys, memory_width] -> [queries, width]. A query that may see no key attends
/// to nothing: its heads are 0. Where places matter (causal, rotary, ALiBi), the last query stands at the last key.
/// Throws ShapeError for other inputs, and for weights that are not those of so many heads.
template <class T = float>
struct MultiHeadAttention {
  /// [(heads + 2 key_heads) depth, width], depth = width / heads: rows of Q, K, V. Not there for another memory_width.
  Tensor<T> in_proj_weight;
  std::optional<Tensor<T>> in_proj_bias;  ///< [(heads + 2 key_heads) depth]
  Linear<T> out_proj;                     ///< width -> width
  /// [width, width] and twice [key_heads depth, memory_width], in place of in_proj_weight.
  std::optional<Tensor<T>> q_proj_weight, k_proj_weight, v_proj_weight;
  Index heads = 1, key_heads = 1;
  double dropout = 0;
  std::optional<RotaryOptions> rotation;
  bool alibi = false;
  GRAFT_FIELDS(in_proj_weight, in_proj_bias, out_proj, q_proj_weight, k_proj_weight, v_proj_weight)
  GRAFT_CONFIG(heads, key_heads, dropout, rotation, alibi)

  MultiHeadAttention() = default;
  /// Glorot uniform input projections, zero biases. Throws ValueError when `head_count` does not divide `width`, the
  /// key heads do not divide the heads, or rotary positions do not fit the depth of a head.
  MultiHeadAttention(Index width, Index head_count, const Random& random, MultiHeadAttentionOptions o = {},
                     Site site = Site::current())
      : heads(head_count),
        key_heads(o.key_heads == 0 ? head_count : o.key_heads),
        dropout(o.dropout),
        rotation(o.rotary),
        alibi(o.alibi) {
    if (head_count < 1 || width % head_count != 0)
      fail("MultiHeadAttention", {head_count, " heads do not divide width ", width}, {}, site);
    if (key_heads < 1 || heads % key_heads != 0)
      fail("MultiHeadAttention", {key_heads, " heads of keys and values do not divide ", heads, " heads"}, {}, site);
    if (o.memory_width < 0) fail("MultiHeadAttention", {"memory_width is ", o.memory_width}, {}, site);
    const Index depth = width / heads, memory = o.memory_width == 0 ? width : o.memory_width;
    const Index turned = rotation && rotation->depth != 0 ? rotation->depth : depth;
    if (rotation && (turned < 0 || turned > depth || turned % 2 != 0))
      fail("MultiHeadAttention", {"rotary positions turn ", turned, " of the ", depth, " numbers of a head"}, {}, site);
    const auto projection = [&](Index rows, Index columns, const char* name) {
      return glorot_uniform<T>({rows, columns}, random.stream(name), 1, site);
    };
    const Index rows = (heads + 2 * key_heads) * depth;
    if (memory == width) {
      in_proj_weight = projection(rows, width, "in_proj_weight");
    } else {
      q_proj_weight = projection(width, width, "q_proj_weight");
      k_proj_weight = projection(key_heads * depth, memory, "k_proj_weight");
      v_proj_weight = projection(key_heads * depth, memory, "v_proj_weight");
    }
    out_proj = Linear<T>(width, width, random.stream("out_proj"), {.bias = o.bias}, site);
    if (!o.bias) return;
    in_proj_bias = zeros<T>({rows}, site);
    out_proj.bias = zeros<T>({width}, site);
  }

  /// Self-attention: query, key and value are x.
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    return (*this)(x, x, x, mask, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    return (*this)(x, x, x, {}, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& query, const Tensor<T>& key, const Tensor<T>& value, ContextRef context,
                       Site site = Site::current()) const {
    return (*this)(query, key, value, {}, context, site);
  }
  Tensor<T> operator()(const Tensor<T>& query, const Tensor<T>& key, const Tensor<T>& value,
                       const AttentionMask<T>& mask, ContextRef context, Site site = Site::current()) const {
    const Named here("MultiHeadAttention", site);
    check_weights(site);
    const Index width = query_width(), memory = memory_width();
    const int rank = query.rank();
    const auto fits = [&](const Tensor<T>& x, Index own) { return x.rank() == rank && x.shape()[-1] == own; };
    if ((rank != 2 && rank != 3) || !fits(query, width) || !fits(key, memory) || !fits(value, memory))
      fail<ShapeError>(
          "MultiHeadAttention",
          {"expected query [batch, time, ", width, "] or [time, ", width, "], key and value the same with ", memory},
          {{"query", query.shape()}, {"key", key.shape()}, {"value", value.shape()}}, site);
    if (mask.keys) {
      const Index places = std::min(key.shape()[-2], value.shape()[-2]);
      if (*mask.keys < 0 || *mask.keys > places)
        fail<IndexError>("MultiHeadAttention", {"keys is ", *mask.keys, " of ", places, " places"},
                         {{"key", key.shape()}, {"value", value.shape()}}, site);
      if (rotation || alibi)
        fail("MultiHeadAttention", "keys cannot be used with positions, which count from the last key", {}, site);
      const auto seen = [&](const Tensor<T>& x) { return slice(x, rank - 2, 0, *mask.keys, 1, site); };
      AttentionMask<T> rest = mask;
      rest.keys.reset();
      return (*this)(query, seen(key), seen(value), rest, context, site);
    }
    if (rank == 2) {
      const auto batched = [&](const Tensor<T>& x) { return reshape(x, {1, x.shape()[0], x.shape()[1]}, site); };
      const Tensor<T> y = (*this)(batched(query), batched(key), batched(value), mask, context, site);
      return reshape(y, query.shape(), site);
    }
    AttentionOptions<T> options = seen_by(mask, site);
    if (context->training()) {
      options.dropout = dropout;
      options.random = context->stream("attention dropout");
    }
    const Index ahead = key.shape()[1] - query.shape()[1];
    return out_proj(merge_heads(scaled_dot_product_attention(queries(query, ahead, site), keys(key, 0, site),
                                                             values(value, site), options, site),
                                site),
                    site);
  }

  /// The weights of self-attention, x [batch, time, width] -> [batch, heads, time, time], without dropout: what values
  /// that are the unit vectors would give. For looking at; the layer itself never makes them.
  Tensor<T> weights(const Tensor<T>& x, const AttentionMask<T>& mask = {}, Site site = Site::current()) const {
    return weights(x, x, mask, site);
  }
  /// Of query [batch, queries, width] to key [batch, keys, memory_width] -> [batch, heads, queries, keys].
  Tensor<T> weights(const Tensor<T>& query, const Tensor<T>& key, const AttentionMask<T>& mask = {},
                    Site site = Site::current()) const {
    const Named here("MultiHeadAttention", site);
    check_weights(site);
    if (query.rank() != 3 || key.rank() != 3 || query.size(2) != query_width() || key.size(2) != memory_width())
      fail<ShapeError>(
          "MultiHeadAttention",
          {"expected query [batch, queries, ", query_width(), "] and key [batch, keys, ", memory_width(), "]"},
          {{"query", query.shape()}, {"key", key.shape()}}, site);
    if (mask.keys) fail("MultiHeadAttention", "weights are of all keys: pass those that are some", {}, site);
    const Index batch = key.size(0), count = key.size(1);
    const Tensor<T> units =
        generate({batch, key_heads, count, count}, [](Index, Index, Index i, Index j) { return i == j ? T(1) : T(0); });
    return scaled_dot_product_attention(queries(query, count - query.size(1), site), keys(key, 0, site), units,
                                        seen_by(mask, site), site);
  }

  /// Causal self-attention of further tokens: keys and values of x [batch, time, width] are appended to the cache, and
  /// x attends to all that it holds. The result for all tokens at once, whatever the portions they come in; of
  /// inference (no dropout, no gradients).
  Tensor<T> step(const Tensor<T>& x, KvCache<T>& cache, Site site = Site::current()) const {
    const Named here("MultiHeadAttention", site);
    check_weights(site);
    if (x.rank() != 3 || x.shape()[2] != query_width() || memory_width() != query_width())
      fail<ShapeError>("MultiHeadAttention", {"expected x [batch, time, ", query_width(), "] and self-attention"},
                       {{"x", x.shape()}}, site);
    const Index before = cache.length();
    cache.append(keys(x, before, site), values(x, site), site);
    return out_proj(merge_heads(cache.attend(queries(x, before, site), with_positions(true, site), site), site), site);
  }
  /// Attention of x to another sequence, whose keys and values `remember` put into the cache; `key_mask` [batch, keys]:
  /// true where the key may be seen. Of inference.
  Tensor<T> recall(const Tensor<T>& x, const KvCache<T>& memory, const Tensor<bool>& key_mask = {},
                   Site site = Site::current()) const {
    const Named here("MultiHeadAttention", site);
    check_weights(site);
    if (x.rank() != 3 || x.shape()[2] != query_width())
      fail<ShapeError>("MultiHeadAttention", {"expected x [batch, time, ", query_width(), "]"}, {{"x", x.shape()}},
                       site);
    AttentionOptions<T> options = with_positions(false, site);
    options.key_mask = key_mask;
    const Tensor<T> q = queries(x, memory.length() - x.shape()[1], site);
    return out_proj(merge_heads(memory.attend(q, options, site), site), site);
  }
  /// Keys and values of `memory` [batch, keys, memory_width].
  KvCache<T> remember(const Tensor<T>& memory, Site site = Site::current()) const {
    const Named here("MultiHeadAttention", site);
    check_weights(site);
    if (memory.rank() != 3 || memory.shape()[2] != memory_width())
      fail<ShapeError>("MultiHeadAttention", {"expected memory [batch, keys, ", memory_width(), "]"},
                       {{"memory", memory.shape()}}, site);
    KvCache<T> cache;
    cache.append(keys(memory, 0, site), values(memory, site), site);
    return cache;
  }

  /// Throws unless weights and biases are those of `heads` and `key_heads`: in fields that were set by hand they may
  /// disagree, as where `heads` was changed and `key_heads` was not.
  void check_weights(Site site = Site::current()) const {
    const char* op = "MultiHeadAttention";
    const bool apart = q_proj_weight || k_proj_weight || v_proj_weight;
    if (apart && !(q_proj_weight && k_proj_weight && v_proj_weight))
      fail(op, "of q_proj_weight, k_proj_weight and v_proj_weight some are there and some are not", {}, site);
    const Index width = query_width(), depth = heads > 0 ? width / heads : 0, own = key_heads * depth;
    const bool divided = heads > 0 && key_heads > 0 && heads * depth == width;
    const auto expect = [&](const char* name, const Tensor<T>& x, const Shape& shape) {
      if (divided && x.shape() == shape) return;
      fail<ShapeError>(op, {name, " is not that of ", heads, " heads and ", key_heads, " of keys and values"},
                       {{name, x.shape()}, {"expected", shape}}, site);
    };
    if (apart) {
      expect("q_proj_weight", *q_proj_weight, {width, width});
      expect("k_proj_weight", *k_proj_weight, {own, memory_width()});
      expect("v_proj_weight", *v_proj_weight, {own, memory_width()});
    } else {
      expect("in_proj_weight", in_proj_weight, {width + 2 * own, width});
    }
    if (in_proj_bias) expect("in_proj_bias", *in_proj_bias, {width + 2 * own});
  }

 private:
  Index query_width() const { return q_proj_weight ? q_proj_weight->size(1) : in_proj_weight.size(1); }
  Index memory_width() const { return k_proj_weight ? k_proj_weight->size(1) : in_proj_weight.size(1); }

  AttentionOptions<T> with_positions(bool causal, Site site) const {
    AttentionOptions<T> options;
    options.causal = causal;
    if (alibi) options.slopes = alibi_slopes<T>(heads, site);
    return options;
  }

  AttentionOptions<T> seen_by(const AttentionMask<T>& mask, Site site) const {
    AttentionOptions<T> options = with_positions(mask.causal, site);
    options.key_mask = mask.key_mask;
    options.mask = mask.mask;
    options.bias = mask.bias;
    return options;
  }

  /// Queries, keys and values of x: [batch, time, width] -> [batch, heads of it, time, depth]; x begins at place
  /// `first`.
  Tensor<T> queries(const Tensor<T>& x, Index first, Site site) const {
    return placed(project(x, q_proj_weight, 0, heads, site), first, site);
  }
  Tensor<T> keys(const Tensor<T>& x, Index first, Site site) const {
    return placed(project(x, k_proj_weight, heads, key_heads, site), first, site);
  }
  Tensor<T> values(const Tensor<T>& x, Site site) const {
    return project(x, v_proj_weight, heads + key_heads, key_heads, site);
  }

  Tensor<T> placed(const Tensor<T>& x, Index first, Site site) const {
    return rotation ? rotary(x, first, *rotation, site) : x;
  }
  /// By a weight of its own, or by the rows of `in_proj_weight` for `count` heads from number `head` on.
  Tensor<T> project(const Tensor<T>& x, const std::optional<Tensor<T>>& own, Index head, Index count, Site site) const {
    const Index depth = query_width() / heads, begin = head * depth, end = begin + count * depth;
    // Rows of the weight are a view, so three products cost no copy.
    const Tensor<T> weight = own ? *own : slice(in_proj_weight, 0, begin, end, 1, site);
    Tensor<T> y = matmul(x, weight, {.transpose_b = true}, site);
    if (in_proj_bias) y = y + slice(*in_proj_bias, 0, begin, end, 1, site);
    return split_heads(y, count, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
