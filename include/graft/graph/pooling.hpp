#pragma once
// From the rows of a graph's nodes to one row a graph, or to fewer nodes. The sum, mean and maximum over the nodes of
// each graph of a batch are `segment_sum`, `segment_mean` and `segment_max` with `batch.offsets`.

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "graft/graph/batch.hpp"
#include "graft/graph/gin.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// sum_i alpha_i x_i with alpha the softmax of gate(x_i) over the nodes of each graph, as PyG's AttentionalAggregation,
/// which gives as its source Li, Gu, Dullien, Vinyals, Kohli, "Graph matching networks", ICML 2019.
/// `gate_nn` maps x [nodes, width] -> [nodes, 1], called as gate_nn(x, context) or gate_nn(x); x and `offsets` [graphs
/// + 1] of a batch -> [graphs, width], zeros for a graph without nodes. Throws ShapeError.
template <class Gate>
struct AttentionPooling {
  using T = ModelScalar<Gate>;
  Gate gate_nn;
  GRAFT_FIELDS(gate_nn)

  AttentionPooling() = default;
  explicit AttentionPooling(Gate gate) : gate_nn(std::move(gate)) {}

  Tensor<T> operator()(const Tensor<T>& x, const Tensor<std::int64_t>& offsets, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("AttentionPooling", site);
    const Tensor<T> logits = detail::apply_net(gate_nn, x, context, site);
    if (x.rank() != 2 || !(logits.shape() == Shape{x.size(0), 1}))
      fail<ShapeError>("AttentionPooling", "x must be [nodes, width] and the gate's answer [nodes, 1]",
                       {{"x", x.shape()}, {"gate", logits.shape()}}, site);
    return segment_sum(segment_softmax(logits, offsets, site) * x, offsets, site);
  }
};

/// A batch after `TopKPooling`.
template <class T = float>
struct PooledBatch {
  GraphBatch batch;            ///< the nodes that are left and the edges between them
  Tensor<T> x;                 ///< [nodes left, width]
  Tensor<std::int64_t> nodes;  ///< [nodes left]: their numbers in the batch before
  Tensor<std::int64_t> edges;  ///< [edges left]: their places in the list before
};

/// Keeps the ceil(ratio n) nodes of highest score s_i = p . x_i / |p| of each graph of n nodes, in the order of their
/// numbers, with rows tanh(s_i) x_i. Gao, Ji, "Graph U-nets", ICML 2019; Cangea, Velickovic, Jovanovic, Kipf, Lio,
/// "Towards sparse hierarchical graph classifiers", 2018. Parameter names and initial values are those of PyG's
/// TopKPooling. Of equal scores the first nodes are kept. Throws ShapeError.
template <class T = float>
struct TopKPooling {
  Tensor<T> weight;  ///< p [1, width]
  double ratio = 0.5;
  GRAFT_FIELDS(weight)
  GRAFT_CONFIG(ratio)

  TopKPooling() = default;
  /// Weight uniform in +-1 / sqrt(width). Throws ValueError for a ratio outside (0, 1].
  TopKPooling(Index width, double kept, const Random& random, Site site = Site::current())
      : weight(torch_default_weight<T>({1, width}, random.stream("weight"), site)), ratio(kept) {
    if (!(kept > 0 && kept <= 1))
      fail("TopKPooling", {"ratio is ", kept, ", expected above 0 and at most 1"}, {}, site);
  }

  PooledBatch<T> operator()(const GraphBatch& batch, const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("TopKPooling", site);
    if (!(x.shape() == Shape{batch.nodes(), weight.size(1)}))
      fail<ShapeError>("TopKPooling", {"x must be [", batch.nodes(), ", ", weight.size(1), "]"}, {{"x", x.shape()}},
                       site);
    const Tensor<T> scores = sum(x * weight, {1}, true) / norm(weight);
    PooledBatch<T> pooled;
    const std::vector<std::int64_t> kept = highest(batch, scores);
    pooled.nodes = from_vector(kept);
    const EdgeSelection part = induced_subgraph(batch.graph, pooled.nodes, site);
    pooled.edges = part.edges;
    pooled.batch = batch_of(batch, part, kept);
    pooled.x = gather(x, pooled.nodes) * tanh(gather(scores, pooled.nodes));
    return pooled;
  }

 private:
  std::vector<std::int64_t> highest(const GraphBatch& batch, const Tensor<T>& scores) const {
    const std::span offsets = host(batch.offsets);
    const std::span score = host(scores);
    std::vector<std::int64_t> kept;
    for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
      std::vector<std::int64_t> order;
      for (std::int64_t i = offsets[g]; i < offsets[g + 1]; ++i) order.push_back(i);
      const auto higher = [&](std::int64_t a, std::int64_t b) {
        return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
      };
      std::stable_sort(order.begin(), order.end(), higher);
      order.resize(static_cast<std::size_t>(std::ceil(ratio * static_cast<double>(order.size()))));
      std::sort(order.begin(), order.end());
      kept.insert(kept.end(), order.begin(), order.end());
    }
    return kept;
  }
  static GraphBatch batch_of(const GraphBatch& before, const EdgeSelection& part,
                             const std::vector<std::int64_t>& kept) {
    const auto graphs = static_cast<std::size_t>(before.graphs());
    const std::span owner = host(before.graph_of);
    std::vector<std::int64_t> owners, nodes(graphs + 1), edges(graphs + 1);
    for (const std::int64_t node : kept) owners.push_back(owner[static_cast<std::size_t>(node)]);
    for (const std::int64_t g : owners) ++nodes[static_cast<std::size_t>(g) + 1];
    for (const GraphEdge& edge : edge_list(part.graph))
      ++edges[static_cast<std::size_t>(owners[static_cast<std::size_t>(edge.source)]) + 1];
    GraphBatch batch;
    for (std::size_t g = 0; g < graphs; ++g) {
      batch.longest = std::max<Index>(batch.longest, nodes[g + 1]);
      nodes[g + 1] += nodes[g];
      edges[g + 1] += edges[g];
    }
    batch.graph = part.graph;
    batch.offsets = from_vector(nodes);
    batch.edge_offsets = from_vector(edges);
    batch.graph_of = from_vector(owners);
    return batch;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
