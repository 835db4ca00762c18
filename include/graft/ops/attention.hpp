#pragma once
// Scaled dot-product attention (Vaswani et al., "Attention is all you need", NeurIPS 2017) as a fused op: blocked
// kernels for the value and the first derivatives (backend/cpu/attention.hpp), the plain formula for every higher
// order.

#include <cmath>
#include <limits>
#include <optional>

#include "graft/autodiff/fused.hpp"
#include "graft/backend/cpu/attention.hpp"
#include "graft/ops/dropout.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a query attends to, and how scores become weights.
template <Real T = float>
struct AttentionOptions {
  bool causal = false;               ///< query i sees keys up to i + keys - queries: the last query sees all of them
  std::optional<double> scale = {};  ///< factor of the dot products; 1 / sqrt(depth) when left out
  Tensor<bool> key_mask = {};        ///< [batch, keys]: true where the key may be seen; empty: all of them
  Tensor<bool> mask = {};  ///< [batch or 1, heads or 1, queries, keys], leading ones may be left out: true where
                           ///< the query may see the key; empty: all of them
  Tensor<T> bias = {};     ///< added to the scaled scores; broadcasts to [batch, heads, queries, keys]
  /// [heads]: the linear bias of ALiBi (see `alibi_slopes`): score -= slope |i + keys - queries - j| for query i and
  /// key j, the last query standing at the last key; constants; empty: none.
  Tensor<T> slopes = {};
  double dropout = 0;        ///< rate of the dropout of the weights
  Random random = Random();  ///< stream of the dropout, used as `dropout` uses it on the weights
};

namespace detail {

/// What an attention is about besides its differentiable inputs.
template <class T>
struct AttentionPlan {
  double scale;
  bool causal;
  Tensor<bool> key_mask, mask;
  Tensor<T> slopes;
  double dropout_rate;
  Random random;
};

/// Of the first `keys` places of k and v.
template <class T>
cpu::AttentionProblem<T> attention_problem(const AttentionPlan<T>& plan, const Tensor<T>& q, const Tensor<T>& k,
                                           const Tensor<T>& v, Index keys, const Tensor<T>* bias) {
  cpu::AttentionDropout drop;
  if (plan.dropout_rate > 0)
    drop = {plan.random.bits(0), static_cast<std::uint32_t>(std::min(plan.dropout_rate * 0x1p32 + 0.5, 0x1p32 - 1)),
            1 / (1 - plan.dropout_rate)};
  cpu::AttentionProblem<T> p{q.shape()[0],
                             q.shape()[1],
                             q.shape()[2],
                             keys,
                             q.shape()[3],
                             v.shape()[3],
                             static_cast<T>(plan.scale),
                             plan.causal,
                             drop,
                             q.data(),
                             k.data(),
                             v.data(),
                             plan.key_mask.defined() ? plan.key_mask.data() : nullptr,
                             plan.mask.defined() ? plan.mask.data() : nullptr,
                             {},
                             bias ? bias->data() : nullptr,
                             {},
                             k.shape()[1],
                             k.shape()[2],
                             plan.slopes.defined() ? plan.slopes.data() : nullptr};
  if (p.mask) {
    const Shape& shape = plan.mask.shape();
    const Index heads = shape.rank() > 2 ? shape[-3] : 1, samples = shape.rank() > 3 ? shape[-4] : 1;
    p.mask_strides[1] = heads == 1 ? 0 : p.queries * p.keys;
    p.mask_strides[0] = samples == 1 ? 0 : heads * p.queries * p.keys;
  }
  if (!bias) return p;
  Index step = 1;
  for (int axis = 1; axis <= bias->rank(); ++axis) {
    const Index size = bias->shape()[-axis];
    p.bias_strides[4 - axis] = size == 1 ? 0 : step;
    step *= size;
  }
  return p;
}
template <class T>
cpu::AttentionProblem<T> attention_problem(const AttentionPlan<T>& plan, const Tensor<T>& q, const Tensor<T>& k,
                                           const Tensor<T>& v, const Tensor<T>* bias = nullptr) {
  return attention_problem(plan, q, k, v, k.shape()[2], bias);
}

/// exp(scores - largest of the row) where `allowed` (everywhere when it is empty), else 0. The largest is a constant:
/// it cancels when rows are divided by their sums.
template <class T>
Tensor<T> unnormalised_weights(const Tensor<T>& scores, const Tensor<bool>& allowed) {
  const Index keys = scores.shape()[-1];
  Tensor<T> peaks = fresh<T>(scores.shape().with(scores.rank() - 1, 1));
  for (Index row = 0; row < peaks.count(); ++row) {
    T peak = -std::numeric_limits<T>::infinity();
    for (Index j = row * keys; j < (row + 1) * keys; ++j)
      if ((!allowed.defined() || allowed.data()[j]) && scores.data()[j] > peak) peak = scores.data()[j];
    writable(peaks)[row] = peak == -std::numeric_limits<T>::infinity() ? T(0) : peak;
  }
  if (!allowed.defined()) return exp(scores - peaks);
  return where(allowed, exp(where(allowed, scores - peaks, T(0))), T(0));
}

/// -slope |distance| for every head, query and key: [heads, queries, keys].
template <class T>
Tensor<T> linear_bias(const cpu::AttentionProblem<T>& p) {
  return generate({p.heads, p.queries, p.keys}, [&p](Index head, Index query, Index key) {
    return -p.slopes[head] * static_cast<T>(std::abs(p.place(query) - key));
  });
}

/// The definition, in differentiable ops; stores the whole matrix of scores, and a copy of keys and values for each of
/// the heads that share them.
template <class T, class... Bias>
Tensor<T> attention_by_formula(const AttentionPlan<T>& plan, const Tensor<T>& q, Tensor<T> k, Tensor<T> v,
                               const Bias&... bias) {
  const cpu::AttentionProblem<T> p = attention_problem(plan, q, k, v);
  if (plan.key_mask.defined()) {
    // Numbers of masked keys are never used, not even to multiply them by zero.
    const Tensor<bool> seen = reshape(plan.key_mask, {p.batch, 1, p.keys, 1});
    k = where(seen, k, T(0));
    v = where(seen, v, T(0));
  }
  if (p.key_heads != p.heads) {
    k = repeat(k, p.heads_of_a_key(), 1);
    v = repeat(v, p.heads_of_a_key(), 1);
  }
  Tensor<T> scores = matmul(q * plan.scale, k, {.transpose_b = true});
  ((scores = scores + bias), ...);
  if (p.slopes) scores = scores + linear_bias(p);
  Tensor<bool> allowed;
  if (plan.causal || p.key_mask || p.mask) {
    allowed = fresh<bool>(scores.shape());
    bool* to = writable(allowed);
    for (Index row = 0; row < p.batch * p.heads * p.queries; ++row) {
      const Index head = row / p.queries, query = row % p.queries, visible = p.visible_keys(query);
      const bool* of_keys = p.key_mask ? p.key_mask + head / p.heads * p.keys : nullptr;
      const bool* of_query = p.mask ? p.mask_row(head, query) : nullptr;
      for (Index j = 0; j < p.keys; ++j) *to++ = j < visible && (!of_keys || of_keys[j]) && (!of_query || of_query[j]);
    }
  }
  Tensor<T> weights = unnormalised_weights(scores, allowed);
  const Tensor<T> total = sum(weights, {-1}, true);
  weights = weights / where(total == T(0), T(1), total);
  return matmul(dropout(weights, plan.dropout_rate, plan.random), v);
}

/// The fused op over queries, keys, values and at most one bias.
template <class T, class... Bias>
Tensor<T> fused_attention(const AttentionPlan<T>& plan, const Tensor<T>& queries, const Tensor<T>& keys,
                          const Tensor<T>& values, const Bias&... biases) {
  struct Saved {
    Tensor<T> value, peak, scale;  // of `cpu::AttentionNorms`
  };
  return fused(
      "scaled_dot_product_attention",
      [plan](const Tensor<T>& q, const Tensor<T>& k, const Tensor<T>& v, const auto&... bias) {
        return attention_by_formula(plan, q, k, v, bias...);
      },
      [&plan](const Tensor<T>& q, const Tensor<T>& k, const Tensor<T>& v, const auto&... bias) {
        const cpu::AttentionProblem<T> p = attention_problem(plan, q, k, v, &bias...);
        Tensor<T> value = fresh<T>({p.batch, p.heads, p.queries, p.value_depth}, "scaled_dot_product_attention");
        const Shape rows{p.batch, p.heads, p.queries};
        const Saved saved{value, fresh<T>(rows), fresh<T>(rows)};
        cpu::attention(p, writable(value), {writable(saved.peak), writable(saved.scale)});
        return Fused<T, Saved>{value, saved};
      },
      [plan](const Tensor<T>& g, const Saved& saved, const bool* needed, AnyTensor* results, const Tensor<T>& q,
             const Tensor<T>& k, const Tensor<T>& v, const auto&... bias) {
        const cpu::AttentionProblem<T> p = attention_problem(plan, q, k, v, &bias...);
        const cpu::AttentionNorms<const T> norms{saved.peak.data(), saved.scale.data()};
        cpu::AttentionGradients<T> to{};
        const auto make = [&](int i, const Shape& shape) -> T* {
          if (!needed[i]) return nullptr;
          const Tensor<T> gradient = fresh<T>(shape);
          results[i] = gradient;
          return writable(gradient);
        };
        to.q = make(0, q.shape());
        to.k = make(1, k.shape());
        to.v = make(2, v.shape());
        if constexpr (sizeof...(bias) > 0) {
          Tensor<T> slopes;
          if (needed[3]) {
            slopes = zeros<T>({p.batch, p.heads, p.queries, p.keys});
            to.bias = writable(slopes);
          }
          cpu::attention_backward(p, saved.value.data(), norms, g.data(), to);
          if (needed[3]) ((results[3] = sum_to(slopes, bias.shape())), ...);
        } else {
          cpu::attention_backward(p, saved.value.data(), norms, g.data(), to);
        }
      },
      queries, keys, values, biases...);
}

}  // namespace detail

namespace detail {

/// Throws unless the options fit scores [batch, heads, queries, keys]; the plan of an attention of that depth.
template <class T>
AttentionPlan<T> checked_plan(const char* op, const Shape& scores, Index depth, const AttentionOptions<T>& options,
                              Site site) {
  if (options.key_mask.defined() && !(options.key_mask.shape() == Shape{scores[0], scores[3]}))
    fail<ShapeError>(op, "expected a key mask [batch, keys]",
                     {{"key_mask", options.key_mask.shape()}, {"scores", scores}}, site);
  if (options.mask.defined()) {
    const Shape& shape = options.mask.shape();
    bool fits = shape.rank() >= 2 && shape.rank() <= 4;
    for (int axis = 1; fits && axis <= shape.rank(); ++axis)
      fits = shape[-axis] == scores[-axis] || (axis > 2 && shape[-axis] == 1);
    if (!fits)
      fail<ShapeError>(op, "expected a mask [batch or 1, heads or 1, queries, keys]",
                       {{"mask", shape}, {"scores", scores}}, site);
  }
  if (!(options.dropout >= 0 && options.dropout < 1))
    fail(op, {"dropout is ", options.dropout, ", expected 0 or more and less than 1"}, {{"scores", scores}}, site);
  if (Shape joined;
      options.bias.defined() && (!broadcast_shapes(options.bias.shape(), scores, joined) || !(joined == scores)))
    fail<ShapeError>(op, "the bias does not broadcast to [batch, heads, queries, keys]",
                     {{"bias", options.bias.shape()}, {"scores", scores}}, site);
  if (options.slopes.defined() && !(options.slopes.shape() == Shape{scores[1]}))
    fail<ShapeError>(op, "expected a slope for each head", {{"slopes", options.slopes.shape()}, {"scores", scores}},
                     site);
  const double usual_scale = depth > 0 ? 1 / std::sqrt(static_cast<double>(depth)) : 1;
  return {options.scale.value_or(usual_scale),
          options.causal,
          options.key_mask,
          options.mask,
          options.slopes.detach(),
          options.dropout,
          options.random};
}

}  // namespace detail

/// softmax(scale q k^T + bias) v over the keys that a query may see; a query that sees none gets zeros and zero
/// gradient. q [batch, heads, queries, depth], k [batch, key_heads, keys, depth], v [batch, key_heads, keys,
/// value_depth] -> [batch, heads, queries, value_depth]. Where key_heads is less than heads, which it must divide,
/// heads / key_heads heads in a row share keys and values (grouped-query attention: Ainslie et al., EMNLP 2023; with
/// one key head, Shazeer 2019); no copy of them is made but for derivatives of second and higher order. Memory grows
/// with queries + keys, not with their product, but for those derivatives, and for the gradient to the bias. Numbers of
/// keys that `key_mask` hides are never read into the result; those of keys hidden by `mask` or by place must be
/// finite. Throws ShapeError when shapes do not fit together, ValueError for a dropout outside [0, 1).
template <Real T>
Tensor<T> scaled_dot_product_attention(const Tensor<T>& q, const Tensor<T>& k, const Tensor<T>& v,
                                       const AttentionOptions<std::type_identity_t<T>>& options = {},
                                       Site site = Site::current()) {
  const char* op = "scaled_dot_product_attention";
  const Shape &a = q.shape(), &b = k.shape(), &c = v.shape();
  if (a.rank() != 4 || b.rank() != 4 || c.rank() != 4 || a[0] != b[0] || a[0] != c[0] || b[1] != c[1] || a[3] != b[3] ||
      b[2] != c[2] || (a[1] != b[1] && (b[1] == 0 || a[1] % b[1] != 0)))
    fail<ShapeError>(op,
                     "expected q [batch, heads, queries, depth], k [batch, key_heads, keys, depth], v [batch, "
                     "key_heads, keys, value_depth], key_heads dividing heads",
                     {{"q", a}, {"k", b}, {"v", c}}, site);
  const detail::AttentionPlan<T> plan = detail::checked_plan<T>(op, {a[0], a[1], a[2], b[2]}, a[3], options, site);
  if (options.bias.defined()) return detail::fused_attention(plan, q, k, v, options.bias);
  return detail::fused_attention(plan, q, k, v);
}

namespace detail {

/// to[b, j, i, :] = from[b, i, j, :] for from [batch, rows, columns, width].
template <class T>
Tensor<T> swap_middle_axes(const char* op, const Tensor<T>& x, Index batch, Index rows, Index columns, Index width,
                           const Shape& shape, Site site) {
  Tensor<T> value = fresh<T>(shape, op, site);
  parallel_for(batch * columns, 1 + 65536 / (rows * width + 1), [&](Index begin, Index end) {
    for (Index at = begin; at < end; ++at) {
      const T* from = x.data() + (at / columns * rows * columns + at % columns) * width;
      T* to = writable(value) + at * rows * width;
      for (Index i = 0; i < rows; ++i, from += columns * width, to += width) std::copy(from, from + width, to);
    }
  });
  return value;
}

}  // namespace detail

template <Real T>
Tensor<T> merge_heads(const Tensor<T>& x, Site site = Site::current());

/// [batch, time, heads * depth] -> [batch, heads, time, depth].
template <Real T>
Tensor<T> split_heads(const Tensor<T>& x, Index heads, Site site = Site::current()) {
  if (x.rank() != 3 || heads < 1 || x.shape()[2] % heads != 0)
    fail<ShapeError>("split_heads", {"expected [batch, time, heads * depth] with ", heads, " heads"},
                     {{"x", x.shape()}}, site);
  const Index batch = x.shape()[0], time = x.shape()[1], depth = x.shape()[2] / heads;
  Tensor<T> value =
      detail::swap_middle_axes("split_heads", x, batch, time, heads, depth, {batch, heads, time, depth}, site);
  return record("split_heads", std::move(value), Edge(x, [](const Tensor<T>& g) { return merge_heads(g); }));
}

/// [batch, heads, time, depth] -> [batch, time, heads * depth].
template <Real T>
Tensor<T> merge_heads(const Tensor<T>& x, Site site) {
  if (x.rank() != 4) fail<ShapeError>("merge_heads", "expected [batch, heads, time, depth]", {{"x", x.shape()}}, site);
  const Index batch = x.shape()[0], heads = x.shape()[1], time = x.shape()[2], depth = x.shape()[3];
  Tensor<T> value =
      detail::swap_middle_axes("merge_heads", x, batch, heads, time, depth, {batch, time, heads * depth}, site);
  return record("merge_heads", std::move(value),
                Edge(x, [heads](const Tensor<T>& g) { return split_heads(g, heads); }));
}

}  // namespace GRAFT_ABI
}  // namespace graft
