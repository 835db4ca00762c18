#pragma once
// Attention over the edges of a graph as fused, any-order ops: the softmax of GAT and GATv2 with their weighted sums.

#include "graft/autodiff/fused.hpp"
#include "graft/backend/cpu/gat.hpp"
#include "graft/ops/csr.hpp"
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

/// The attention weights that dropout keeps: the same as of `dropout` on [edges, heads].
inline Tensor<std::int64_t> kept_weights(const Graph& graph, Index heads, const GraphAttentionOptions& options) {
  if (options.dropout == 0) return {};
  return dropout_mask(graph.edges() * heads, options.dropout, options.random);
}
template <class T>
cpu::KeptWeights<T> kept_weights(const Tensor<std::int64_t>& bits, const GraphAttentionOptions& options) {
  return {bits.defined() ? reinterpret_cast<const std::uint64_t*>(bits.data()) : nullptr,
          static_cast<T>(1 / (1 - options.dropout))};
}

/// What the backward kernels see again. `kept`: one bit an (edge in destination order, head), none without dropout.
template <class T>
struct SavedAttention {
  Tensor<T> out, shift, scale;  // of `cpu::EdgeNorms`
  Tensor<std::int64_t> kept;

  SavedAttention() = default;
  SavedAttention(const char* op, const Graph& graph, Index heads, Index width, const GraphAttentionOptions& options,
                 Site site)
      : out(fresh<T>({graph.destinations(), heads, width}, op, site)),
        shift(fresh<T>({graph.destinations(), heads})),
        scale(fresh<T>({graph.destinations(), heads})),
        kept(kept_weights(graph, heads, options)) {}
  cpu::EdgeNorms<T> norms_to_write() const { return {writable(shift), writable(scale)}; }
};

template <class T, class Logits>
Fused<T, SavedAttention<T>> attention_forward(const char* op, const Graph& graph, const Tensor<T>& values,
                                              const Logits& logits, const GraphAttentionOptions& options, Site site) {
  const Index heads = values.size(1), width = values.size(2);
  const SavedAttention<T> saved(op, graph, heads, width, options, site);
  cpu::graph_attention_forward(arrays(graph).by_destination, cpu::HeadRow<T>(heads, width), values.data(), logits,
                               kept_weights<T>(saved.kept, options), writable(saved.out), saved.norms_to_write());
  return {saved.out, saved};
}

/// The records of `cpu::SoftmaxRecords`, with the scores if there are any. Sets the gradient of what was added to the
/// output, if `d_bias` is not null.
template <class T>
Tensor<T> softmax_records(const Graph& graph, const SavedAttention<T>& saved, const Tensor<T>& g,
                          const Tensor<T>& scores, const Tensor<T>& bias, AnyTensor* d_bias) {
  const Index heads = g.size(1), width = g.size(2), rows = graph.destinations();
  Tensor<T> sums;
  if (d_bias) sums = fresh<T>({(rows + cpu::kRecordChunk - 1) / cpu::kRecordChunk, heads, width});
  const auto numbers = [](const Tensor<T>& t) { return t.defined() ? t.data() : nullptr; };
  cpu::RecordRows<T> work{rows,
                          saved.out.data(),
                          numbers(bias),
                          g.data(),
                          {saved.shift.data(), saved.scale.data()},
                          numbers(scores),
                          nullptr,
                          d_bias ? writable(sums) : nullptr};
  const Tensor<T> records = fresh<T>({rows, work.numbers_of_head() * heads});
  work.records = writable(records);
  cpu::softmax_records(cpu::HeadRow<T>(heads, width), work);
  if (d_bias) *d_bias = sum(sums, {0});
  return records;
}

/// Weighted sums with the softmax of LeakyReLU(d_i + s_j), the definition of what the kernels below compute.
template <class T>
Tensor<T> gat_composite(const Graph& graph, const Tensor<T>& v, const Tensor<T>& s, const Tensor<T>& d,
                        const GraphAttentionOptions& options) {
  const Tensor<T> logits =
      leaky_relu(gather(s, graph.source_of()) + gather(d, graph.destination_of()), options.negative_slope);
  return attend_composite(graph, logits, v, options);
}
/// Their value plus `bias` [heads, width], if it is defined.
template <class T>
Fused<T, SavedAttention<T>> gat_forward(const char* op, const Graph& graph, const Tensor<T>& v, const Tensor<T>& s,
                                        const Tensor<T>& d, const Tensor<T>& bias,
                                        const GraphAttentionOptions& options, Site site) {
  const Index heads = v.size(1), width = v.size(2);
  const cpu::GatLogits<T> logits{d.data(), s.data(), heads, static_cast<T>(options.negative_slope)};
  Fused<T, SavedAttention<T>> result;
  const cpu::HeadRow<T> row(heads, width);
  const bool walked = cpu::with_row_lanes(row, [&](const auto& lanes, auto batches) {
    SavedAttention<T>& saved = result.saved;
    saved = SavedAttention<T>(op, graph, heads, width, options, site);
    const cpu::GatForward<T> work{arrays(graph).by_destination,
                                  v.data(),
                                  logits,
                                  kept_weights<T>(saved.kept, options),
                                  bias.defined() ? bias.data() : nullptr,
                                  writable(saved.out),
                                  saved.norms_to_write()};
    cpu::for_graph_chunks(
        work.side, [&](Index, Index first, Index last) { cpu::gat_rows_forward(lanes, work, first, last, batches); });
    result.value = saved.out;
  });
  if (walked) return result;
  result = attention_forward(op, graph, v, logits, options, site);
  if (bias.defined()) result.value = result.saved.out = result.value + bias;
  return result;
}
/// The gradients of v and s and, an edge in destination order, of what goes into the leaky ReLU: those whose handles
/// are defined, which are written.
template <class T>
void gat_backward(const Graph& graph, const Tensor<T>& v, const Tensor<T>& s, const Tensor<T>& records,
                  const SavedAttention<T>& saved, const Tensor<T>& g, const GraphAttentionOptions& options,
                  const Tensor<T>& d_values, const Tensor<T>& d_source, const Tensor<T>& d_logits) {
  const Index heads = v.size(1), stride = 4 * heads;
  const cpu::GraphArrays arrays = detail::arrays(graph);
  const cpu::HeadRow<T> row(heads, v.size(2));
  const T slope = static_cast<T>(options.negative_slope);
  const cpu::KeptWeights<T> kept = kept_weights<T>(saved.kept, options);
  const auto numbers = [](const Tensor<T>& t) { return t.defined() ? writable(t) : nullptr; };
  T *to_values = numbers(d_values), *to_source = numbers(d_source), *to_logits = numbers(d_logits);
  const bool walked = cpu::with_row_lanes(row, [&](const auto& lanes, auto batches) {
    const cpu::GatBackward<T> work{arrays, v.data(), s.data(), records.data(), slope, kept, g.data(), to_values,
                                   to_source, to_logits};
    cpu::for_graph_chunks(arrays.by_source, [&](Index, Index first, Index last) {
      cpu::gat_rows_backward(lanes, work, first, last, batches);
    });
  });
  if (walked) return;
  if (to_source) std::fill_n(to_source, s.count(), T(0));
  cpu::graph_attention_backward(
      arrays, row, v.data(), cpu::GatLogits<T>{s.data(), records.data() + 3 * heads, stride, slope},
      cpu::SoftmaxRecords<T>{records.data(), stride}, kept, g.data(),
      // The sign of what goes into the leaky ReLU is the sign of its result.
      [slope](Simd<T> gradient, Simd<T> logit) { return gradient * cpu::leaky_slope(logit, slope); },
      [&](Index row_of_begin, Index begin, Index end, const T* gradients) {
        if (to_source)
          cpu::for_row_parts(arrays.by_source, row_of_begin, begin, end, [&](Index j, Index from, Index count) {
            cpu::add_edges(gradients + (from - begin) * heads, count, heads, to_source + j * heads);
          });
        if (to_logits)
          cpu::place_edges(gradients, arrays.edge_by_source + begin, end - begin, heads, to_logits);
      },
      to_values);
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
  const Index heads = values.size(1);
  if (!(source_scores.shape() == Shape{graph.sources(), heads})) wrong("source_scores must be [sources, heads]");
  if (!(destination_scores.shape() == Shape{graph.destinations(), heads}))
    wrong("destination_scores must be [destinations, heads]");
  detail::check_attention_options("graph_attention", options, site);

  const auto composite = [graph, options](const Tensor<T>& v, const Tensor<T>& s, const Tensor<T>& d) {
    return detail::gat_composite(graph, v, s, d, options);
  };
  const auto forward = [=](const Tensor<T>& v, const Tensor<T>& s, const Tensor<T>& d) {
    return detail::gat_forward("graph_attention", graph, v, s, d, Tensor<T>(), options, site);
  };
  const auto backward = [=](const Tensor<T>& g, const detail::SavedAttention<T>& saved, const bool* needed,
                            AnyTensor* results, const Tensor<T>& v, const Tensor<T>& s, const Tensor<T>& d) {
    Tensor<T> d_values, d_source, d_logits;
    if (needed[0]) results[0] = d_values = detail::fresh<T>(v.shape());
    if (needed[1]) results[1] = d_source = detail::fresh<T>(s.shape());
    if (needed[2]) d_logits = detail::fresh<T>({graph.edges(), heads});
    const Tensor<T> records = detail::softmax_records(graph, saved, g, d, Tensor<T>(), nullptr);
    detail::gat_backward(graph, v, s, records, saved, g, options, d_values, d_source, d_logits);
    if (needed[2]) results[2] = segment_sum(d_logits, graph.offsets());
  };
  return fused("graph_attention", composite, forward, backward, values, source_scores, destination_scores);
}

/// `graph_attention` on one set of nodes, scored by what is summed: s_j = a_s . v_j, d_i = a_d . v_i for each head,
/// with b added to the sums. `values` v [nodes, heads, width], `source_vector` a_s, `destination_vector` a_d and,
/// unless it is an empty handle, `bias` b [heads, width] -> [nodes, heads, width].
template <Real T>
Tensor<T> graph_self_attention(const Graph& graph, const Tensor<T>& values, const Tensor<T>& source_vector,
                               const Tensor<T>& destination_vector, const Tensor<T>& bias = {},
                               const GraphAttentionOptions& options = {}, Site site = Site::current()) {
  const auto wrong = [&](const char* what) {
    fail<ShapeError>("graph_self_attention", what,
                     {{"values", values.shape()},
                      {"source_vector", source_vector.shape()},
                      {"destination_vector", destination_vector.shape()},
                      {"bias", bias.defined() ? bias.shape() : Shape{}},
                      {"graph (sources, destinations)", {graph.sources(), graph.destinations()}}},
                     site);
  };
  if (graph.sources() != graph.destinations()) wrong("the graph must be on one set of nodes");
  if (values.rank() != 3 || values.size(0) != graph.sources()) wrong("values must be [nodes, heads, width]");
  const Index heads = values.size(1), width = values.size(2);
  if (!(source_vector.shape() == Shape{heads, width})) wrong("source_vector must be [heads, width]");
  if (!(destination_vector.shape() == Shape{heads, width})) wrong("destination_vector must be [heads, width]");
  if (bias.defined() && !(bias.shape() == Shape{heads, width})) wrong("bias must be [heads, width]");
  detail::check_attention_options("graph_self_attention", options, site);

  struct Saved {
    detail::SavedAttention<T> attention;
    Tensor<T> source_scores, destination_scores;
  };
  const auto composite = [graph, options](const Tensor<T>& v, const Tensor<T>& a_s, const Tensor<T>& a_d,
                                          const auto&... b) {
    return (detail::gat_composite(graph, v, sum(v * a_s, {2}), sum(v * a_d, {2}), options) + ... + b);
  };
  const auto forward = [=](const Tensor<T>& v, const Tensor<T>& a_s, const Tensor<T>& a_d, const auto&... b) {
    const Tensor<T> s = detail::fresh<T>({v.size(0), heads}), d = detail::fresh<T>({v.size(0), heads});
    cpu::head_scores(
        cpu::HeadRow<T>(heads, width), v.size(0),
        cpu::HeadScores<T>{v.data(), a_s.data(), a_d.data(), detail::writable(s), detail::writable(d)});
    auto result = detail::gat_forward("graph_self_attention", graph, v, s, d, Tensor<T>(b...), options, site);
    return Fused<T, Saved>{std::move(result.value), {std::move(result.saved), s, d}};
  };
  const auto backward = [=](const Tensor<T>& g, const Saved& saved, const bool* needed, AnyTensor* results,
                            const Tensor<T>& v, const Tensor<T>& a_s, const Tensor<T>& a_d, const auto&... b) {
    const Tensor<T> added(b...);
    const bool d_bias = added.defined() && needed[3];
    const Tensor<T> records = detail::softmax_records(graph, saved.attention, g, saved.destination_scores, added,
                                                      d_bias ? &results[3] : nullptr);
    if (!needed[0] && !needed[1] && !needed[2]) return;
    Tensor<T> d_values;
    if (needed[0]) results[0] = d_values = detail::fresh<T>(v.shape());
    const Tensor<T> d_source = detail::fresh<T>({v.size(0), heads}),
                    d_logits = detail::fresh<T>({graph.edges(), heads});
    detail::gat_backward(graph, v, saved.source_scores, records, saved.attention, g, options, d_values, d_source,
                         d_logits);
    const cpu::GraphSide side = detail::arrays(graph).by_destination;
    const Tensor<T> d_vectors = detail::fresh<T>({cpu::graph_chunks(side), 2, heads, width});
    cpu::add_score_gradients(
        cpu::HeadRow<T>(heads, width),
        cpu::ScoreGradients<T>{side, v.data(), a_s.data(), a_d.data(), d_source.data(), d_logits.data(),
                               needed[0] ? detail::writable(d_values) : nullptr, detail::writable(d_vectors)});
    const Tensor<T> d_both = sum(d_vectors, {0});
    if (needed[1]) results[1] = detail::view(d_both, {heads, width}, 0);
    if (needed[2]) results[2] = detail::view(d_both, {heads, width}, heads * width);
  };
  if (!bias.defined())
    return fused("graph_self_attention", composite, forward, backward, values, source_vector, destination_vector);
  return fused("graph_self_attention", composite, forward, backward, values, source_vector, destination_vector, bias);
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

  const auto composite = [graph, options](const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& a) {
    const Tensor<T> joint =
        leaky_relu(gather(s, graph.source_of()) + gather(d, graph.destination_of()), options.negative_slope);
    return detail::attend_composite(graph, sum(joint * a, {-1}), s, options);
  };
  const auto forward = [=](const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& a) {
    return detail::attention_forward("graph_attention_v2", graph, s,
                                     cpu::GatV2Logits<T>{d.data(), s.data(), a.data(), slope}, options, site);
  };
  const auto backward = [=](const Tensor<T>& g, const detail::SavedAttention<T>& saved, const bool* needed,
                            AnyTensor* results, const Tensor<T>& s, const Tensor<T>& d, const Tensor<T>& a) {
    const cpu::GraphArrays arrays = detail::arrays(graph);
    const cpu::HeadRow<T> row(heads, width);
    const Tensor<T> records = detail::softmax_records(graph, saved, g, Tensor<T>(), Tensor<T>(), nullptr);
    Tensor<T> d_source, d_logits = detail::fresh<T>({graph.edges(), heads});
    if (needed[0]) d_source = detail::fresh<T>(s.shape());
    cpu::graph_attention_backward(
        arrays, row, s.data(), cpu::GatV2Logits<T>{s.data(), d.data(), a.data(), slope},
        cpu::SoftmaxRecords<T>{records.data(), 3 * heads}, detail::kept_weights<T>(saved.kept, options), g.data(),
        [](Simd<T> gradient, Simd<T>) { return gradient; },
        [&](Index row_of_begin, Index begin, Index end, const T* gradients) {
          if (needed[0])
            cpu::for_row_parts(arrays.by_source, row_of_begin, begin, end, [&](Index j, Index from, Index count) {
              cpu::add_joint_gradients(row, s.data() + j * row.row, d.data(), arrays.by_source.other + from, count,
                                       a.data(), slope, gradients + (from - begin) * heads,
                                       detail::writable(d_source) + j * row.row);
            });
          cpu::place_edges(gradients, arrays.edge_by_source + begin, end - begin, heads, detail::writable(d_logits));
        },
        needed[0] ? detail::writable(d_source) : nullptr);
    results[0] = d_source;
    if (!needed[1] && !needed[2]) return;
    const Tensor<T> d_destination = detail::fresh<T>(d.shape());
    const Tensor<T> d_attention = detail::fresh<T>({cpu::graph_chunks(arrays.by_destination), heads, width});
    cpu::graph_attention_v2_by_destination(arrays.by_destination, row, s.data(), d.data(), a.data(), slope,
                                           d_logits.data(), detail::writable(d_destination),
                                           detail::writable(d_attention));
    if (needed[1]) results[1] = d_destination;
    if (needed[2]) results[2] = sum(d_attention, {0});
  };
  return fused("graph_attention_v2", composite, forward, backward, source, destination, attention);
}

}  // namespace GRAFT_ABI
}  // namespace graft
