#pragma once
// Few-shot episodes over the nodes of graphs: nodes of several graphs in one set, features that the graph has smoothed,
// and splits of classes.

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "graft/data/item_set.hpp"
#include "graft/data/node_labels.hpp"
#include "graft/graph/label_propagation.hpp"
#include "graft/graph/node_attention.hpp"
#include "graft/graph/sgc.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Classes for training, validation and test.
struct ClassSplit {
  std::vector<Index> train, validation, test;
};

/// The split that tests pair `number` of `classes`, counted (0, 1), (0, 2) .. (1, 2) ..; of the others two, drawn from
/// `random`, validate, and the rest is trained on. Throws ValueError for less than six classes, IndexError for a pair
/// that there is not.
inline ClassSplit pair_split(const std::vector<Index>& classes, Index number, const Random& random,
                             Site site = Site::current()) {
  const Index count = std::ssize(classes), pairs = count * (count - 1) / 2;
  if (count < 6) fail("pair_split", {count, " classes, expected 6 or more"}, {}, site);
  if (number < 0 || number >= pairs) fail<IndexError>("pair_split", {"pair ", number, " of ", pairs}, {}, site);
  Index first = 0, left = number;
  while (left >= count - 1 - first) left -= count - 1 - first++;
  const Index second = first + 1 + left;
  ClassSplit split;
  split.test = {classes[static_cast<std::size_t>(first)], classes[static_cast<std::size_t>(second)]};
  for (const Index place : random.stream("pair", number).permutation(count)) {
    if (place == first || place == second) continue;
    (split.validation.size() < 2 ? split.validation : split.train).push_back(classes[static_cast<std::size_t>(place)]);
  }
  return split;
}

/// The nodes of several graphs as one set of items: those of graph g are numbered from `first_node[g]` on, its classes
/// from `first_class[g]` on. Rows of features add up to 1 or are empty. Nodes whose label is not known are in no class.
struct NodeSets {
  std::vector<NodeLabels> graphs;
  std::vector<std::string> names;              ///< [graphs]
  std::vector<Index> first_node, first_class;  ///< [graphs]
  ItemSet items;

  NodeSets() = default;
  /// Throws ValueError unless each graph has a name.
  NodeSets(std::vector<NodeLabels> of, std::vector<std::string> called, Site site = Site::current())
      : graphs(std::move(of)), names(std::move(called)) {
    if (graphs.empty() || graphs.size() != names.size())
      fail("NodeSets", {graphs.size(), " graphs with ", names.size(), " names"}, {}, site);
    std::vector<std::int64_t> labels;
    std::vector<std::string> classes;
    std::string source;
    for (std::size_t g = 0; g < graphs.size(); ++g) {
      first_node.push_back(std::ssize(labels));
      first_class.push_back(std::ssize(classes));
      graphs[g].features = rows_to_one(graphs[g].features);
      for (const std::int64_t label : graphs[g].known_labels())
        labels.push_back(label < 0 ? label : first_class[g] + label);
      for (Index c = 0; c < graphs[g].classes; ++c) classes.push_back("class " + std::to_string(c) + " of " + names[g]);
      source += (g == 0 ? "" : ", ") + names[g];
    }
    items = number_items(from_vector(labels), classes, source, site);
  }

  /// Of files (`load_node_labels`), called as these without folder and ending; "communities" is a graph of six
  /// classes from `make_communities`, another one at each place of the list.
  explicit NodeSets(const std::vector<std::string>& files, Site site = Site::current()) {
    std::vector<NodeLabels> of;
    std::vector<std::string> called;
    for (const std::string& file : files) {
      const bool made = file == "communities";
      of.push_back(made ? make_communities(Random(of.size()), {.classes = 6}) : load_node_labels(file));
      called.push_back(made ? file + "-" + std::to_string(of.size()) : std::filesystem::path(file).stem().string());
    }
    *this = NodeSets(std::move(of), std::move(called), site);
  }

  /// The content of all graphs, for an `Identity`.
  std::vector<std::pair<std::string, std::string>> fingerprints() const {
    std::vector<std::pair<std::string, std::string>> all = items.fingerprints;
    for (std::size_t g = 0; g < graphs.size(); ++g) {
      std::vector<std::int64_t> numbers;
      for (const Graph& pattern : {graphs[g].graph, graphs[g].features.pattern()})
        for (const GraphEdge& edge : edge_list(pattern)) {
          numbers.push_back(edge.source);
          numbers.push_back(edge.destination);
        }
      all.emplace_back("edges of " + names[g], fingerprint(numbers));
      const auto values = host(graphs[g].features.values());
      all.emplace_back("features of " + names[g], fingerprint(std::vector<float>(values.begin(), values.end())));
    }
    return all;
  }
  /// The classes of graph g in the set.
  std::vector<Index> classes_of(Index g) const {
    const auto at = static_cast<std::size_t>(g);
    std::vector<Index> own;
    for (Index c = 0; c < graphs[at].classes; ++c) own.push_back(first_class[at] + c);
    return own;
  }
  /// Pairs of classes of graph g.
  Index pairs(Index g) const {
    const Index classes = std::ssize(classes_of(g));
    return classes * (classes - 1) / 2;
  }
  /// The `pair_split` of graph g that tests pair `number`, counted round and round.
  ClassSplit pair_split(Index g, Index number, const Random& random, Site site = Site::current()) const {
    return graft::pair_split(classes_of(g), number % std::max(pairs(g), Index{1}), random, site);
  }
};

/// Rows less their mean, of length 1: [rows, width], constants.
inline Tensor<> centred_units(const Tensor<>& x, Site site = Site::current()) {
  const Tensor<> rows = x.detach();
  return unit_rows(rows - mean(rows, {0}, true), site);
}

/// The directions in which the rows of x [rows, width] vary most, orthonormal, the first the foremost: [width, count],
/// by orthogonal iteration from random ones. Rows are taken as they are; centre them before. Carries no gradient.
/// Throws ShapeError, ValueError for more directions than rows or columns and where x varies in fewer.
inline Tensor<> principal_directions(const Tensor<>& x, Index count, const Random& random, Index steps = 12,
                                     Site site = Site::current()) {
  const char* op = "principal_directions";
  if (x.rank() != 2) fail<ShapeError>(op, "expected rows [rows, width]", {{"x", x.shape()}}, site);
  if (count < 1 || count > std::min(x.size(0), x.size(1)))
    fail(op, {count, " directions of ", x.size(0), " rows of ", x.size(1), " numbers"}, {}, site);
  const Named here(op, site);
  const Recording off(false);
  const auto orthonormal = [](const Tensor<>& y) {
    const Tensor<double> wide = cast<double>(y);
    const Tensor<double> factor = cholesky(matmul(wide, wide, {.transpose_a = true}));
    return cast<float>(transpose(triangular_solve(factor, transpose(wide))));
  };
  Tensor<> directions = orthonormal(randn<float>({x.size(1), count}, random));
  for (Index step = 0; step < steps; ++step)
    directions = orthonormal(matmul(x, matmul(x, directions), {.transpose_a = true}));
  return directions;
}

/// What few-shot learners compare nodes by without any training: features with rows of length 1, smoothed by the graph
/// (S^hops X, Wu et al., "Simplifying graph convolutional networks", ICML 2019), less their mean over all nodes, rows
/// of length 1 again: [nodes, width]. Centring comes after smoothing, which makes all rows alike. No hops: the features
/// themselves, centred.
inline Tensor<> compared_features(const NodeLabels& nodes, Index hops, Site site = Site::current()) {
  Tensor<> x = unit_rows(matmul(nodes.features, eye<float>(nodes.features.columns())), site);
  x = sgc_features(gcn_matrix(nodes.graph), x, hops, site);
  return centred_units(x, site);
}
/// The first `width` principal coordinates of rows x [rows, in], of length 1 again: [rows, width]. Throws as
/// `principal_directions`.
inline Tensor<> principal_coordinates(const Tensor<>& x, Index width, const Random& random,
                                      Site site = Site::current()) {
  return unit_rows(matmul(x, principal_directions(x, width, random, 12, site)), site);
}

/// What nodes of a graph are compared by: [nodes, ...] each.
struct NodeTables {
  Tensor<> raw;          ///< `compared_features` of no hops
  Tensor<> smooth;       ///< of some
  Tensor<> coordinates;  ///< the `principal_coordinates` of these
};
/// Those of each graph of a set, `width` coordinates after `hops`. Throws as they do.
GRAFT_ONCE std::vector<NodeTables> compared_tables(const NodeSets& sets, Index hops, Index width, const Random& random,
                                                   Site site = Site::current()) {
  std::vector<NodeTables> tables;
  for (const NodeLabels& nodes : sets.graphs) {
    const Tensor<> smooth = compared_features(nodes, hops, site);
    tables.push_back({compared_features(nodes, 0, site), smooth, principal_coordinates(smooth, width, random, site)});
  }
  return tables;
}
GRAFT_HELD(std::vector<NodeTables> compared_tables<>(const NodeSets&, Index, Index, const Random&, Site))

/// A classifier of episodes whose items are numbers of nodes [n, 1], without training: the labels of the support spread
/// over the whole graph (`label_propagation`), whose first node has the number `first`. It sees all nodes of the graph,
/// each query by itself: what is asked of one does not depend on the others. Throws IndexError for a number that is no
/// node's.
struct NodeLabelPropagation {
  Graph graph;
  Index first = 0;
  PropagationOptions options = {};
  GRAFT_FIELDS()
  GRAFT_CONFIG(graph, first, options)

  /// Logits [queries, ways].
  Tensor<> operator()(const Episode<>& e, ContextRef, Site site = Site::current()) const {
    const Named here("NodeLabelPropagation", site);
    const auto own = [&](const Tensor<>& numbers) {
      return detail::own_numbers("NodeLabelPropagation", numbers, first, graph.sources(), site);
    };
    const Tensor<> start =
        scatter_add(one_hot<float>(e.support.y, e.ways, site), own(e.support.x), graph.sources(), 0, site);
    return gather(label_propagation(graph, start, options, site), own(e.query.x), 0, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
