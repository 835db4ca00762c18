#pragma once
// What a model costs: parameters, multiply-adds of a forward pass, steps until it is good enough. Seconds and bytes are
// measured: `Record`, `peak_bytes`.

#include <cmath>
#include <optional>
#include <vector>

#include "graft/graph/gat.hpp"
#include "graft/graph/gatv2.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/backbones.hpp"
#include "graft/nn/conv_block.hpp"
#include "graft/nn/transformer.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Numbers in parameters; buffers are none.
struct ParameterCounts {
  Index total = 0;      ///< of the model that is trained
  Index trainable = 0;  ///< of these, what is not frozen
  Index deployed = 0;   ///< of the model that answers after training
};

/// Of a model that is deployed as it is.
template <Model M>
ParameterCounts parameter_counts(const M& model) {
  ParameterCounts counts;
  for_each_parameter(
      [&](const auto& leaf) {
        if (!leaf.defined()) return;
        counts.total += leaf.count();
        if (!leaf.frozen()) counts.trainable += leaf.count();
      },
      model);
  counts.deployed = counts.total;
  return counts;
}
/// Of a model of which `deployed` is left after training: without heads of auxiliary tasks, rates of inner steps, a
/// teacher.
template <Model M, Model D>
ParameterCounts parameter_counts(const M& trained, const D& deployed) {
  ParameterCounts counts = parameter_counts(trained);
  counts.deployed = count(deployed);
  return counts;
}

namespace detail {

/// Throws ShapeError unless the last axis of x has `width` numbers. Returns the number of its rows.
inline Index rows_of_width(const Shape& x, Index width, const char* layer, Site site) {
  if (x.rank() < 1 || x[-1] != width)
    fail<ShapeError>("multiply_adds", {"the last axis of the input of ", layer, " must have ", width, " elements"},
                     {{"x", x}}, site);
  return x.without(x.rank() - 1).count();
}

}  // namespace detail

// Multiply-adds of one forward pass for inputs of a given shape: of products of matrices, convolutions, and the scores
// and sums of attention. Biases, norms, activations, softmax and pooling, which are a small part, are not counted.
// Where a kernel leaves out products with zeros (padding) or scores that a mask hides, they are counted all the same:
// the numbers are those of the layer, not of its implementation. A step of training costs about three times as much.

/// rows in out, for x [..., in].
template <class T>
Index multiply_adds(const Linear<T>& layer, const Shape& x, Site site = Site::current()) {
  return detail::rows_of_width(x, layer.weight.size(1), "Linear", site) * layer.weight.count();
}

/// batch out_h out_w out (in / groups) kernel_h kernel_w, for x [batch, height, width, in].
template <class T>
Index multiply_adds(const Conv2d<T>& layer, const Shape& x, Site site = Site::current()) {
  const auto s = detail::conv_shape("multiply_adds", x, layer.weight.shape(), layer.options, site);
  return s.batch * s.out_h * s.out_w * layer.weight.count();
}

/// Those of its convolution.
template <class T>
Index multiply_adds(const ConvBlock<T>& layer, const Shape& x, Site site = Site::current()) {
  return multiply_adds(layer.conv, x, site);
}

/// Those of its convolutions, for images [n, height, width, in].
template <class T>
Index multiply_adds(const Conv4<T>& model, const Shape& images, Site site = Site::current()) {
  Shape x = images;
  Index total = 0;
  for (const auto& block : model.blocks) {
    total += multiply_adds(block.conv, x, site);
    const auto s = detail::conv_shape("multiply_adds", x, block.conv.weight.shape(), block.conv.options, site);
    x = {s.batch, s.out_h / 2, s.out_w / 2, s.out};
  }
  return total;
}

/// Projections, scores and weighted sums of query [batch, queries, width] and key [batch, keys, memory_width], or
/// without a batch axis: batch (queries width + keys memory_width 2 key_heads / heads + 2 queries keys + queries width)
/// width.
template <class T>
Index multiply_adds(const MultiHeadAttention<T>& layer, const Shape& query, const Shape& key,
                    Site site = Site::current()) {
  const Tensor<T>& of_queries = layer.q_proj_weight ? *layer.q_proj_weight : layer.in_proj_weight;
  const Index width = of_queries.size(1), memory = layer.k_proj_weight ? layer.k_proj_weight->size(1) : width;
  const bool fit = query.rank() == key.rank() && (query.rank() == 2 || (query.rank() == 3 && query[0] == key[0]));
  if (!fit)
    fail<ShapeError>("multiply_adds", "expected query and key [batch, time, width] or [time, width]",
                     {{"query", query}, {"key", key}}, site);
  const Index queries = detail::rows_of_width(query, width, "MultiHeadAttention", site);
  const Index keys = detail::rows_of_width(key, memory, "MultiHeadAttention", site);
  const Index key_width = width / layer.heads * layer.key_heads;
  return 2 * queries * width * width + 2 * keys * memory * key_width + 2 * queries * key[-2] * width;
}

/// Attention and perceptron, for x [batch, time, width] or [time, width].
template <class T>
Index multiply_adds(const TransformerEncoderLayer<T>& layer, const Shape& x, Site site = Site::current()) {
  const Index rows = detail::rows_of_width(x, layer.linear1.weight.size(1), "TransformerEncoderLayer", site);
  const Index gate = layer.linear_gate ? layer.linear_gate->weight.count() : 0;
  return multiply_adds(layer.self_attn, x, x, site) +
         rows * (layer.linear1.weight.count() + gate + layer.linear2.weight.count());
}

/// Those of its layers.
template <class T>
Index multiply_adds(const TransformerEncoder<T>& model, const Shape& x, Site site = Site::current()) {
  Index total = 0;
  for (const auto& layer : model.layers) total += multiply_adds(layer, x, site);
  return total;
}

/// Patches and encoder, for images [n, size, size, 1].
template <class T>
Index multiply_adds(const PatchTransformer<T>& model, const Shape& images, Site site = Site::current()) {
  const Conv2d<T>& patches = model.patches.projection;
  const auto s = detail::conv_shape("multiply_adds", images, patches.weight.shape(), patches.options, site);
  return multiply_adds(patches, images, site) + multiply_adds(model.encoder, {s.batch, s.out_h * s.out_w, s.out}, site);
}

/// The map of the sources, scores of both ends, and the weighted sum over the edges: (sources in + sources +
/// destinations + edges) heads width. Between two sets of nodes destinations are mapped too, destinations
/// in_destinations heads width; with edge features their scores are made by edges edge_features heads, after the
/// vectors of the heads went through their map once. Two sets are told by a map of their own, or by their sizes.
template <class T>
Index multiply_adds(const Gat<T>& layer, const Graph& graph) {
  const Index joined = layer.weight.size(0), sources = graph.sources(), destinations = graph.destinations();
  Index total = sources * layer.weight.count() + (sources + destinations + graph.edges()) * joined;
  if (layer.weight_dst || sources != destinations)
    total += destinations * (layer.weight_dst ? *layer.weight_dst : layer.weight).count();
  if (layer.weight_edge)
    total += layer.weight_edge->count() + graph.edges() * layer.weight_edge->size(1) * layer.att_edge->size(0);
  return total;
}

/// Both maps, the scores of the edges and the weighted sum over them: (sources in + destinations in_destinations + 2
/// edges) heads width; with edge features edges edge_features heads width more.
template <class T>
Index multiply_adds(const GatV2<T>& layer, const Graph& graph) {
  const Index edges = graph.edges();
  const Index features = layer.weight_edge ? layer.weight_edge->count() : 0;
  return graph.sources() * layer.weight_l.count() + graph.destinations() * layer.weight_r.count() +
         edges * (2 * layer.weight_l.size(0) + features);
}

/// A figure in the course of training.
struct TrainingCurve {
  std::vector<Index> steps;      ///< done when it was measured, 0 or more and rising
  std::vector<double> figures;   ///< then
  bool higher_is_better = true;  ///< an accuracy; false: a loss, an error
};

/// The first of the steps at which a curve was measured to be at `target` or better; none if it never was. Nothing is
/// interpolated between measurements, so that the answer is a model that there was. A figure that is NaN has not
/// reached anything. Throws ValueError for lists of unequal length, steps that do not rise from 0 or more, and a target
/// that is not finite.
inline std::optional<Index> steps_to_target(const TrainingCurve& curve, double target, Site site = Site::current()) {
  const char* op = "steps_to_target";
  const auto& [steps, figures, higher_is_better] = curve;
  if (steps.size() != figures.size())
    fail(op, {steps.size(), " numbers of steps and ", figures.size(), " figures"}, {}, site);
  if (!std::isfinite(target)) fail(op, {"the target is ", target}, {}, site);
  std::optional<Index> first;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i] < (i == 0 ? 0 : steps[i - 1] + 1))
      fail(op, {"number ", i, " of steps is ", steps[i], ", expected rising numbers from 0"}, {}, site);
    const bool reached = higher_is_better ? figures[i] >= target : figures[i] <= target;
    if (reached && !first) first = steps[i];
  }
  return first;
}

}  // namespace GRAFT_ABI
}  // namespace graft
