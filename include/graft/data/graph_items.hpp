#pragma once
// Whole graphs as items of few-shot episodes.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/data/graph_labels.hpp"
#include "graft/data/item_set.hpp"
#include "graft/graph/classifier.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The graphs as items, each by its number [1], with their labels as classes; a `GraphEmbedding` of the same graphs
/// reads them.
inline ItemSet graph_items(const GraphLabels& graphs, const std::string& source, Site site = Site::current()) {
  std::vector<std::string> names;
  for (Index c = 0; c < graphs.classes; ++c) names.push_back("class " + std::to_string(c));
  ItemSet set = number_items(graphs.labels, std::move(names), source, site);
  List<std::int64_t> edges;
  for (const Graph& graph : graphs.graphs) {
    edges.push_back(graph.sources());
    for (const GraphEdge& edge : edge_list(graph)) {
      edges.push_back(edge.source);
      edges.push_back(edge.destination);
    }
  }
  set.fingerprints.emplace_back("edges", fingerprint(edges));
  set.fingerprints.emplace_back(
      "features", fingerprint(std::vector<float>(host(graphs.features).begin(), host(graphs.features).end())));
  return set;
}

/// Numbers of graphs -> embeddings [n, width]: these graphs side by side through layers of message passing and a
/// read-out of all of them (Xu, Hu, Leskovec, Jegelka, "How powerful are graph neural networks?", ICLR 2019), the
/// scores of `width` classes of a `GraphClassifier`.
///
///     GraphEmbedding<Gin<Mlp<>>> embedding({std::move(layers), features, 32, 64, random}, graphs);
///
/// The graphs are not saved with the model: they are given anew to the one that a file is loaded into.
template <class Layer>
struct GraphEmbedding {
  GraphClassifier<Layer> reader;
  std::shared_ptr<const GraphLabels> graphs;
  GRAFT_FIELDS(reader)
  GRAFT_CONFIG(graphs)

  GraphEmbedding() = default;
  GraphEmbedding(GraphClassifier<Layer> own, GraphLabels of)
      : reader(std::move(own)), graphs(std::make_shared<const GraphLabels>(std::move(of))) {}

  /// `numbers` [n, 1], whole numbers in float. Throws ShapeError, IndexError for a number that is no graph's,
  /// ValueError without graphs.
  Tensor<> operator()(const Tensor<>& numbers, ContextRef context, Site site = Site::current()) const {
    const Named here("GraphEmbedding", site);
    if (numbers.rank() != 2 || numbers.size(1) != 1)
      fail<ShapeError>("GraphEmbedding", "expected numbers of graphs [n, 1]", {{"numbers", numbers.shape()}}, site);
    if (!graphs) fail("GraphEmbedding", "has no graphs: a file brings none", {{"numbers", numbers.shape()}}, site);
    const LabelledBatch batch = graphs->batch(cast<std::int64_t>(reshape(numbers, {numbers.size(0)})), site);
    return reader(batch.graphs, batch.features, context, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
