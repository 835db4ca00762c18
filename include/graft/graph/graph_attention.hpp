#pragma once
// Attention over the edges of a graph as fused, any-order ops: the softmax of GAT and GATv2 with their weighted sums.

#include "graft/autodiff/fused.hpp"
#include "graft/backend/cpu/graph_attention.hpp"
#include "graft/graph/csr.hpp"
#include "graft/ops/dropout.hpp"
#include "graft/ops/segment.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of graph attention.
struct GraphAttentionOptions {
  double negative_slope = 0.2;  ///< of the leaky ReLU on the logits
  double dropout = 0;           ///< rate at which attention weights are dropped; 0 outside training
  Random random{};              ///< stream of the dropout mask, keyed by (edge in destination order, head)
};

namespace detail {

inline cpu::GraphArrays arrays(const Graph& graph) {
  return {graph.sources(),
          graph.destinations(),
          graph.offsets().data(),
          graph.source_of().data(),
          graph.destination_of().data(),
          graph.source_offsets().data(),
          graph.edge_by_source().data()};
}

inline void check_attention_options(const char* op, const GraphAttentionOptions& options, Site site) {
  if (!(options.negative_slope >= 0))
    fail(op, {"negative_slope is ", options.negative_slope, ", expected 0 or more"}, {}, site);
  if (!(options.dropout >= 0 && options.dropout < 1))
    fail(op, {"dropout is ", options.dropout, ", expected [0, 1)"}, {}, site);
}

/// Weighted sums of source rows with the softmax of `logits` [edges, heads] over each destination's edges.
template <class T>
Tensor<T> attend_composite(const Graph& graph, const Tensor<T>& logits, const Tensor<T>& values,
                           const GraphAttentionOptions& options) {
  Tensor<T> alpha = segment_softmax(logits, graph.offsets());
  if (options.dropout > 0) alpha = dropout(alpha, options.dropout, options.random);
  const Tensor<T> messages = gather(values, graph.source_of()) * reshape(alpha, {logits.size(0), logits.size(1), 1});
  return segment_sum(messages, graph.offsets());
}

/// What the backward kernels see again.
template <class T>
struct SavedAttention {
  Tensor<T> out, log_sum_exp;
};

/// The dropout factor of an (edge, head) as a kernel asks for it: the same numbers as `dropout` on [edges, heads].
template <class T>
struct KeepFactor {
  Tensor<T> factors;
  Index heads;
  T operator()(Index edge, Index head) const { return factors.defined() ? factors.data()[edge * heads + head] : T(1); }
};
template <class T>
KeepFactor<T> keep_factor(const Graph& graph, Index heads, const GraphAttentionOptions& options) {
  if (options.dropout == 0) return {Tensor<T>(), heads};
  return {dropout(ones<T>({graph.edges(), heads}), options.dropout, options.random), heads};
}

template <class T>
T leaky(T x, T slope) {
  return x > 0 ? x : slope * x;
}

}  // namespace detail

/// Graph attention of Velickovic et al., ICLR 2018:
///   out_i = sum_j alpha_ij v_j,  alpha_i. = softmax over the edges j -> i of LeakyReLU(d_i + s_j)
/// for each head. `values` v [sources, heads, width], `source_scores` s [sources, heads], `destination_scores` d
/// [destinations, heads] -> [destinations, heads, width]. A node without edges gets 0.
template <Real T>
Tensor<T> graph_attention(const Graph& graph, const Tensor<T>& values, const Tensor<T>& source_scores,
                          const Tensor<T>& destination_scores, const GraphAttentionOptions& options = {},
                          Site site = Site::current()) {
  const auto wrong = [&](const char* what) {
    fail<ShapeError>("graph_attention", what,
                     {{"values", values.shape()},
                      {"source_scores", source_scores.shape()},
                      {"destination_scores", destination_scores.shape()},
                      {"graph (sources, destinations)", {graph.sources(), graph.destinations()}}},
                     site);
  };
  if (values.rank() != 3 || values.size(0) != graph.sources()) wrong("values must be [sources, heads, width]");
  const Index heads = values.size(1), width = values.size(2);
  if (!(source_scores.shape() == Shape{graph.sources(), heads})) wrong("source_scores must be [sources, heads]");
  if (!(destination_scores.shape() == Shape{graph.destinations(), heads}))
    wrong("destination_scores must be [destinations, heads]");
  detail::check_attention_options("graph_attention", options, site);
  const T slope = static_cast<T>(options.negative_slope);

  const auto score_with = [graph, heads, slope](const Tensor<T>& s, const Tensor<T>& d) {
    return [source = s.data(), destination = d.data(), source_of = graph.source_of().data(), heads, slope](
               Index e, Index i, Index h) {
      return detail::leaky(source[source_of[e] * heads + h] + destination[i * heads + h], slope);
    };
  };
  const auto composite = [graph, options](const Tensor<T>& v, const Tensor<T>& s, const Tensor<T>& d) {
    const Tensor<T> logits =
        leaky_relu(gather(s, graph.source_of()) + gather(d, graph.destination_of()), options.negative_slope);
    return detail::attend_composite(graph, logits, v, options);
  };
  const auto forward = [=](const Tensor<T>& v, const Tensor<T>& s, const Tensor<T>& d) {
    Tensor<T> out = detail::fresh<T>({graph.destinations(), heads, width}, "graph_attention", site);
    Tensor<T> lse = detail::fresh<T>({graph.destinations(), heads});
    cpu::graph_attention_forward(detail::arrays(graph), heads, width, v.data(), score_with(s, d),
                                 detail::keep_factor<T>(graph, heads, options), detail::writable(out),
                                 detail::writable(lse));
    return Fused<T, detail::SavedAttention<T>>{out, {out, lse}};
  };
  const auto backward = [=](const Tensor<T>& g, const detail::SavedAttention<T>& saved, const bool* needed,
                            AnyTensor* results, const Tensor<T>& v, const Tensor<T>& s, const Tensor<T>& d) {
    const cpu::GraphArrays arrays = detail::arrays(graph);
    const auto score = score_with(s, d);
    Tensor<T> d_logits = detail::fresh<T>({graph.edges(), heads}), alpha = detail::fresh<T>({graph.edges(), heads});
    cpu::graph_attention_logits_backward(
        arrays, heads, width, v.data(), score, detail::keep_factor<T>(graph, heads, options), saved.out.data(),
        saved.log_sum_exp.data(), g.data(), detail::writable(d_logits), detail::writable(alpha));
    if (needed[0]) {
      Tensor<T> d_values = detail::fresh<T>(v.shape());
      cpu::graph_attention_values_backward(
          arrays, heads, width, alpha.data(), g.data(), [](Index, Index, Index, T*) {}, detail::writable(d_values));
      results[0] = d_values;
    }
    if (!needed[1] && !needed[2]) return;
    // Through the leaky ReLU, whose sign is the sign of its result.
    T* at = detail::writable(d_logits);
    const auto destination_of = graph.destination_of().data();
    parallel_for(graph.edges(), 4096, [&](Index first, Index last) {
      for (Index e = first; e < last; ++e)
        for (Index h = 0; h < heads; ++h)
          if (!(score(e, destination_of[e], h) > 0)) at[e * heads + h] *= slope;
    });
    if (needed[1]) results[1] = scatter_add(d_logits, graph.source_of(), graph.sources());
    if (needed[2]) results[2] = segment_sum(d_logits, graph.offsets());
  };
  return fused("graph_attention", composite, forward, backward, values, source_scores, destination_scores);
}

/// Graph attention with dynamic scores, GATv2 of Brody, Alon, Yahav, ICLR 2022:
///   out_i = sum_j alpha_ij s_j,  alpha_i. = softmax over the edges j -> i of a . LeakyReLU(d_i + s_j)
/// for each head. `source` s [sources, heads, width], `destination` d [destinations, heads, width], `attention` a
/// [heads, width] -> [destinations, heads, width]. A node without edges gets 0.
template <Real T>
Tensor<T> graph_attention_v2(const Graph& graph, const Tensor<T>& source, const Tensor<T>& destination,
                             const Tensor<T>& attention, const GraphAttentionOptions& options = {},
                             Site site = Site::current()) {
  const auto wrong = [&](const char* what) {
    fail<ShapeError>("graph_attention_v2", what,
                     {{"source", source.shape()},
                      {"destination", destination.shape()},
                      {"attention", attention.shape()},
                      {"graph (sources, destinations)", {graph.sources(), graph.destinations()}}},
                     site);
  };
  if (source.rank() != 3 || source.size(0) != graph.sources()) wrong("source must be [sources, heads, width]");
  const Index heads = source.size(1), width = source.size(2);
  if (!(destination.shape() == Shape{graph.destinations(), heads, width}))
    wrong("destination must be [destinations, heads, width]");
  if (!(attention.shape() == Shape{heads, width})) wrong("attention must be [heads, width]");
  detail::check_attention_options("graph_attention_v2", options, site);
  const T slope = static_cast<T>(options.negative_slope);

  const auto score_with = [graph, heads, width, slope](const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& a) {
    return [s = s.data(), d = d.data(), a = a.data(), source_of = graph.source_of().data(), heads, width, slope](
               Index e, Index i, Index h) {
      return cpu::dot_leaky(a + h * width, s + (source_of[e] * heads + h) * width, d + (i * heads + h) * width, width,
                            slope);
    };
  };
  const auto composite = [graph, options](const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& a) {
    const Tensor<T> joint =
        leaky_relu(gather(s, graph.source_of()) + gather(d, graph.destination_of()), options.negative_slope);
    return detail::attend_composite(graph, sum(joint * a, {-1}), s, options);
  };
  const auto forward = [=](const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& a) {
    Tensor<T> out = detail::fresh<T>({graph.destinations(), heads, width}, "graph_attention_v2", site);
    Tensor<T> lse = detail::fresh<T>({graph.destinations(), heads});
    cpu::graph_attention_forward(detail::arrays(graph), heads, width, s.data(), score_with(s, d, a),
                                 detail::keep_factor<T>(graph, heads, options), detail::writable(out),
                                 detail::writable(lse));
    return Fused<T, detail::SavedAttention<T>>{out, {out, lse}};
  };
  const auto backward = [=](const Tensor<T>& g, const detail::SavedAttention<T>& saved, const bool* needed,
                            AnyTensor* results, const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& a) {
    const cpu::GraphArrays arrays = detail::arrays(graph);
    Tensor<T> d_logits = detail::fresh<T>({graph.edges(), heads}), alpha = detail::fresh<T>({graph.edges(), heads});
    cpu::graph_attention_logits_backward(
        arrays, heads, width, s.data(), score_with(s, d, a), detail::keep_factor<T>(graph, heads, options),
        saved.out.data(), saved.log_sum_exp.data(), g.data(), detail::writable(d_logits), detail::writable(alpha));
    const T *logit_gradient = d_logits.data(), *s_at = s.data(), *d_at = d.data(), *a_at = a.data();
    // to += dlogit a LeakyReLU'(d_i + s_j): the gradient of both summands.
    const auto joint_gradient = [=](Index e, Index i, Index h, T* to) {
      cpu::add_leaky_slope(to, logit_gradient[e * heads + h], a_at + h * width,
                           s_at + (arrays.source_of[e] * heads + h) * width, d_at + (i * heads + h) * width, width,
                           slope);
    };
    if (needed[0]) {
      Tensor<T> result = detail::fresh<T>(s.shape());
      cpu::graph_attention_values_backward(arrays, heads, width, alpha.data(), g.data(), joint_gradient,
                                           detail::writable(result));
      results[0] = result;
    }
    if (needed[1]) {
      Tensor<T> result = zeros<T>(d.shape());
      parallel_for(arrays.destinations, cpu::kGraphRows, [&](Index first, Index last) {
        for (Index i = first; i < last; ++i)
          for (Index e = arrays.offsets[i]; e < arrays.offsets[i + 1]; ++e)
            for (Index h = 0; h < heads; ++h)
              joint_gradient(e, i, h, detail::writable(result) + (i * heads + h) * width);
      });
      results[1] = result;
    }
    if (needed[2]) {
      // One partial sum a chunk of rows, added in chunk order.
      const Index chunks = (arrays.destinations + cpu::kGraphRows - 1) / cpu::kGraphRows;
      Tensor<T> partial = zeros<T>({chunks, heads, width});
      parallel_for(arrays.destinations, cpu::kGraphRows, [&](Index first, Index last) {
        T* to = detail::writable(partial) + first / cpu::kGraphRows * heads * width;
        for (Index i = first; i < last; ++i)
          for (Index e = arrays.offsets[i]; e < arrays.offsets[i + 1]; ++e)
            for (Index h = 0; h < heads; ++h)
              cpu::add_scaled_leaky(to + h * width, logit_gradient[e * heads + h],
                                    s_at + (arrays.source_of[e] * heads + h) * width, d_at + (i * heads + h) * width,
                                    width, slope);
      });
      results[2] = sum(partial, {0});
    }
  };
  return fused("graph_attention_v2", composite, forward, backward, source, destination, attention);
}

}  // namespace GRAFT_ABI
}  // namespace graft
