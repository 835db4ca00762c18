#pragma once
// Graphs whose nodes are to be labelled: citation networks from files, and random ones with communities.

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/io/npz.hpp"
#include "graft/ops/sparse.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A graph with features and labels of its nodes, and which of them are for training, validation and test.
struct NodeLabels {
  Graph graph;
  SparseMatrix<float> features = SparseMatrix<float>(zeros<float>({0, 0}));  ///< [nodes, width]
  Tensor<std::int64_t> labels;                   ///< [nodes], in 0 .. classes - 1
  Tensor<std::int64_t> train, validation, test;  ///< node numbers, rising
  Index classes = 0;
  std::vector<Index> unknown = {};  ///< nodes whose labels are not known: what `labels` says of them means nothing

  /// The labels with -1 for those that are not known.
  std::vector<std::int64_t> known_labels() const {
    std::vector<std::int64_t> known(host(labels).begin(), host(labels).end());
    for (const Index node : unknown) known[static_cast<std::size_t>(node)] = -1;
    return known;
  }
  Index nodes() const { return graph.sources(); }
};

/// Each row divided by the sum of its numbers' sizes: [rows, columns] with rows of L1 norm 1, or 0 where a row is empty.
template <Real T>
SparseMatrix<T> rows_to_one(const SparseMatrix<T>& x) {
  const std::span<const std::int64_t> offsets = host(x.pattern().offsets());
  const std::span<const T> values = host(x.values());
  List<T> scaled(x.values().count());
  for (Index i = 0; i < x.rows(); ++i) {
    const Index begin = offsets[static_cast<std::size_t>(i)], end = offsets[static_cast<std::size_t>(i + 1)];
    double total = 0;
    for (Index e = begin; e < end; ++e) total += std::abs(values[static_cast<std::size_t>(e)]);
    for (Index e = begin; e < end; ++e)
      scaled[e] = total > 0 ? static_cast<T>(values[static_cast<std::size_t>(e)] / total) : T(0);
  }
  return x.with_values(from_vector(scaled));
}

/// Reads an .npz file in the layout
///
///     edge_index                                int64    [2, edges]        sources, destinations; both directions
///     feature_indptr, _indices, _values         integers [nodes + 1], integers [entries], float32 [entries]
///     feature_shape                             int64    [2]               nodes, width, which is at most 2^24
///     y                                         int64    [nodes]           in 0 .. classes - 1
///     train_mask, val_mask, test_mask           uint8    [nodes]           0 or 1, no node in two of them
///     labelled                                  uint8    [nodes], optional nodes without a label are in no mask
///
/// Errors: FileError for a file that `read_npz` refuses, an array that is missing or does not fit the others, an edge
/// or column out of range, a feature that is not finite, a node in two masks or in one without a label, an empty mask.
inline NodeLabels load_node_labels(const std::string& path) {
  const ArrayFile file =
      read_npz(path, {"edge_index", "feature_indptr", "feature_indices", "feature_values", "feature_shape", "y",
                      "train_mask", "val_mask", "test_mask", "labelled"});
  NodeLabels data;
  const std::vector<Index> shape = file.at("feature_shape").with_shape({2}).converted<std::int64_t>();
  const Index nodes = shape[0], width = shape[1];
  if (nodes < 1 || width < 0 || width > 1 << 24) file.at("feature_shape").fail({"is ", nodes, " x ", width});
  file.at("y").with_shape({nodes});  // before anything is made for so many nodes
  // What the makers of graphs and matrices refuse is the file's fault here.
  const auto made = [](const Array& array, auto make) {
    try {
      return make();
    } catch (const Error& error) {
      const std::string text = error.what();
      array.fail({text.substr(0, text.find('\n'))});
    }
  };
  data.graph = made(file.at("edge_index").with_shape({2, -1}), [&] {
    return Graph::from_edge_index(nodes, to_tensor<std::int64_t>(file.at("edge_index")));
  });
  const Tensor<float> values = to_tensor<float>(file.at("feature_values").with_shape({-1}));
  for (float value : host(values))
    if (!std::isfinite(value)) file.at("feature_values").fail({"holds a number that is not finite"});
  data.features = made(file.at("feature_indices").with_shape({values.count()}), [&] {
    return SparseMatrix<float>::from_csr(
        width, to_tensor<std::int64_t>(file.at("feature_indptr").with_shape({nodes + 1})),
        to_tensor<std::int64_t>(file.at("feature_indices")), values);
  });

  data.labels = to_tensor<std::int64_t>(file.at("y"));
  for (std::int64_t label : host(data.labels)) {
    if (label < 0 || label >= nodes) file.at("y").fail({"holds the label ", label, ", outside [0, ", nodes, ")"});
    data.classes = std::max(data.classes, label + 1);
  }
  List<int> taken(nodes);
  const auto nodes_of = [&](const char* name) {
    const std::vector<int> mask = file.at(name).with_shape({nodes}).converted<int>();
    List<Index> list;
    for (Index i = 0; i < nodes; ++i) {
      if (mask[static_cast<std::size_t>(i)] == 0) continue;
      if (taken[i]++ > 0) file.at(name).fail({"holds node ", i, ", which is in another mask or has no label"});
      list.push_back(i);
    }
    if (list.empty()) file.at(name).fail({"holds no node"});
    return from_vector(list);
  };
  if (file.contains("labelled")) {
    const std::vector<int> known = file.at("labelled").with_shape({nodes}).converted<int>();
    for (Index i = 0; i < nodes; ++i) {
      taken[i] = known[static_cast<std::size_t>(i)] == 0;
      if (taken[i]) data.unknown.push_back(i);
    }
  }
  data.train = nodes_of("train_mask");
  data.validation = nodes_of("val_mask");
  data.test = nodes_of("test_mask");
  return data;
}

/// Sizes of `make_communities`.
struct CommunityOptions {
  Index nodes = 600, classes = 4;
  double inside = 0.02, outside = 0.002;  ///< chance of an edge between two nodes of one class, of two classes
  Index width = 200, words = 10;          ///< features: how many there are, how many are drawn for a node
  double own = 0.3;                       ///< chance that a drawn feature is one of the node's class's own
  Index train = 10, validation = 30;      ///< nodes a class; the others are for the test
};

/// A graph drawn from the stochastic block model (Holland, Laskey, Leinhardt, Social Networks 1983) in both directions,
/// with binary features that tell a little of a node's class, rows of L1 norm 1. Throws ValueError for sizes that do
/// not fit.
inline NodeLabels make_communities(const Random& random, const CommunityOptions& o = {}, Site site = Site::current()) {
  if (o.classes < 1 || o.nodes < o.classes * (o.train + o.validation + 1) || o.train < 1 || o.validation < 1)
    fail("make_communities", {o.nodes, " nodes of ", o.classes, " classes with ", o.train, " for training and ",
                              o.validation, " for validation a class leave none for the test"},
         {}, site);
  if (o.words < 1 || o.width < o.classes) fail("make_communities", "every class needs a feature of its own", {}, site);
  NodeLabels data;
  data.classes = o.classes;
  data.labels = generate({o.nodes}, [&](Index i) { return i % o.classes; });
  std::vector<GraphEdge> edges;
  for (Index i = 0; i < o.nodes; ++i) {
    const Random row = random.stream("edges", i);
    for (Index j = 0; j < i; ++j)
      if (row.uniform(static_cast<std::uint64_t>(j)) < (i % o.classes == j % o.classes ? o.inside : o.outside)) {
        edges.push_back({i, j});
        edges.push_back({j, i});
      }
  }
  data.graph = Graph(o.nodes, edges, site);

  const Index own = o.width / o.classes;  // features of one class
  List<Index> rows, columns, part[3];
  for (Index i = 0; i < o.nodes; ++i) {
    const Random draw = random.stream("features", i);
    List<char> has(o.width);
    for (Index w = 0; w < o.words; ++w) {
      const auto place = static_cast<std::uint64_t>(2 * w);
      const bool of_class = draw.uniform(place) < o.own;
      const Index word = of_class ? i % o.classes * own + draw.below(place + 1, own) : draw.below(place + 1, o.width);
      if (has[word]) continue;
      has[word] = 1;
      rows.push_back(i);
      columns.push_back(word);
    }
    const Index of_its_class = i / o.classes;
    part[of_its_class < o.train ? 0 : of_its_class < o.train + o.validation ? 1 : 2].push_back(i);
  }
  data.features = rows_to_one(SparseMatrix<float>::from_coordinates(o.nodes, o.width, from_vector(rows),
                                                                    from_vector(columns),
                                                                    ones<float>({rows.size()}), site));
  data.train = from_vector(part[0]);
  data.validation = from_vector(part[1]);
  data.test = from_vector(part[2]);
  return data;
}

}  // namespace GRAFT_ABI
}  // namespace graft
