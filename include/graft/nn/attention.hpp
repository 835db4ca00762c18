#pragma once
// Multi-head attention (Vaswani et al., "Attention is all you need", NeurIPS 2017). Parameter names and initial values
// are torch.nn.MultiheadAttention's, so its weights load.

#include <algorithm>
#include <optional>
#include <string>

#include "graft/model/context.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/attention.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `MultiHeadAttention`.
struct MultiHeadAttentionOptions {
  double dropout = 0;  ///< of the attention weights, in training
  bool bias = true;
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
/// of query, key and value. [batch, queries, width] and [batch, keys, width] -> [batch, queries, width]; without the
/// batch axis, [queries, width] and [keys, width] -> [queries, width]. A query that may see no key attends to nothing:
/// its heads are 0.
template <class T = float>
struct MultiHeadAttention {
  Tensor<T> in_proj_weight;               ///< [3 width, width]: rows of Q, K, V
  std::optional<Tensor<T>> in_proj_bias;  ///< [3 width]
  Linear<T> out_proj;                     ///< width -> width
  Index heads = 1;
  double dropout = 0;
  GRAFT_FIELDS(in_proj_weight, in_proj_bias, out_proj)
  GRAFT_CONFIG(heads, dropout)

  MultiHeadAttention() = default;
  /// Glorot uniform input projection, zero biases. Throws ValueError when `head_count` does not divide `width`.
  MultiHeadAttention(Index width, Index head_count, const Random& random, MultiHeadAttentionOptions o = {},
                     Site site = Site::current())
      : heads(head_count), dropout(o.dropout) {
    if (head_count < 1 || width % head_count != 0)
      fail("MultiHeadAttention", {head_count, " heads do not divide width ", width}, {}, site);
    in_proj_weight = glorot_uniform<T>({3 * width, width}, random.stream("in_proj_weight"), 1, site);
    out_proj = Linear<T>(width, width, random.stream("out_proj"), {.bias = o.bias}, site);
    if (!o.bias) return;
    in_proj_bias = zeros<T>({3 * width}, site);
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
    const Index width = in_proj_weight.shape()[1];
    const int rank = query.rank();
    const auto fits = [&](const Tensor<T>& x) { return x.rank() == rank && x.shape()[-1] == width; };
    if ((rank != 2 && rank != 3) || !fits(query) || !fits(key) || !fits(value))
      fail<ShapeError>("MultiHeadAttention", "expected query, key and value [batch, time, width] or [time, width]",
                       {{"query", query.shape()},
                        {"key", key.shape()},
                        {"value", value.shape()},
                        {"in_proj_weight", in_proj_weight.shape()}},
                       site);
    if (mask.keys) {
      const Index places = std::min(key.shape()[-2], value.shape()[-2]);
      if (*mask.keys < 0 || *mask.keys > places)
        fail<IndexError>("MultiHeadAttention", {"keys is ", *mask.keys, " of ", places, " places"},
                         {{"key", key.shape()}, {"value", value.shape()}}, site);
      const auto seen = [&](const Tensor<T>& x) { return slice(x, rank - 2, 0, *mask.keys, 1, site); };
      AttentionMask<T> rest = mask;
      rest.keys.reset();
      return (*this)(query, seen(key), seen(value), rest, context, site);
    }
    if (rank == 2) {
      const auto batched = [&](const Tensor<T>& x) { return reshape(x, {1, x.shape()[0], width}, site); };
      const Tensor<T> y = (*this)(batched(query), batched(key), batched(value), mask, context, site);
      return reshape(y, query.shape(), site);
    }
    AttentionOptions<T> options;
    options.causal = mask.causal;
    options.key_mask = mask.key_mask;
    options.mask = mask.mask;
    options.bias = mask.bias;
    if (context->training()) {
      options.dropout = dropout;
      options.random = context->stream("attention dropout");
    }
    const Tensor<T> mixed = scaled_dot_product_attention(project(query, 0, site), project(key, 1, site),
                                                         project(value, 2, site), options, site);
    return out_proj(merge_heads(mixed, site), site);
  }

 private:
  /// Part `which` of the input projection, [batch, time, width] -> [batch, heads, time, width / heads].
  Tensor<T> project(const Tensor<T>& x, Index which, Site site) const {
    const Index width = in_proj_weight.shape()[1], begin = which * width, end = begin + width;
    // Rows of the weight are a view, so three products cost no copy.
    Tensor<T> y = matmul(x, slice(in_proj_weight, 0, begin, end, 1, site), {.transpose_b = true}, site);
    if (in_proj_bias) y = y + slice(*in_proj_bias, 0, begin, end, 1, site);
    return split_heads(y, heads, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
