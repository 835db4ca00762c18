#pragma once
// Graphs that are to be labelled as a whole: sets of small graphs with folds from files, and drawn ones whose classes
// only their edges tell apart.

#include <algorithm>
#include <string>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/graph/batch.hpp"
#include "graft/io/npz.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Some graphs of a `GraphLabels`, side by side.
struct LabelledBatch {
  GraphBatch graphs;
  Tensor<float> features;       ///< [nodes, width]
  Tensor<std::int64_t> labels;  ///< [graphs]
};

/// Graphs with features of their nodes, a label each, and the folds of a cross-validation.
struct GraphLabels {
  std::vector<Graph> graphs;
  Tensor<float> features;        ///< [nodes of all graphs, width]
  Tensor<std::int64_t> offsets;  ///< [graphs + 1]: rows offsets[g] .. offsets[g + 1] - 1 are graph g's
  Tensor<std::int64_t> labels;   ///< [graphs], in 0 .. classes - 1
  Tensor<std::int64_t> fold_of;  ///< [graphs]: the fold whose test it belongs to, -1 for none
  Index classes = 0, folds = 0;

  Index count() const { return labels.count(); }
  /// The graphs of these numbers side by side. Throws IndexError for one that is not there.
  LabelledBatch batch(const Tensor<std::int64_t>& numbers, Site site = Site::current()) const {
    const std::span<const std::int64_t> at = host(offsets);
    List<std::int64_t> rows;
    std::vector<Graph> chosen;
    for (const std::int64_t g : host(numbers)) {
      if (g < 0 || g >= count()) fail<IndexError>("GraphLabels", {"graph ", g, " of ", count()}, {}, site);
      const auto place = static_cast<std::size_t>(g);
      chosen.push_back(graphs[place]);
      for (std::int64_t i = at[place]; i < at[place + 1]; ++i) rows.push_back(i);
    }
    return {GraphBatch(chosen, site), gather(features, from_vector(rows)), gather(labels, numbers)};
  }
};

/// Which graphs a run on one fold trains on, chooses by and is tested on: their numbers, rising.
struct GraphParts {
  Tensor<std::int64_t> train, validation, test;
};

/// The graphs of the fold are the test; of the others a tenth (rounded down, but one at least), drawn uniformly, is for
/// validation. Throws IndexError for a fold that is not there, ValueError if fewer than two graphs are in other folds.
inline GraphParts fold_parts(const GraphLabels& data, Index fold, const Random& random, Site site = Site::current()) {
  if (fold < 0 || fold >= data.folds) fail<IndexError>("fold_parts", {"fold ", fold, " of ", data.folds}, {}, site);
  List<std::int64_t> test, others, part[2];
  Index graph = 0;
  for (const std::int64_t of : host(data.fold_of)) (of == fold ? test : others).push_back(graph++);
  if (others.size() < 2)
    fail("fold_parts", {"fold ", fold, " leaves ", others.size(), " graphs to train on"}, {}, site);
  List<int> chosen(others.size());
  for (const Index i : random.permutation(others.size(), std::max<Index>(1, others.size() / 10))) chosen[i] = 1;
  for (Index i = 0; i < others.size(); ++i) part[chosen[i]].push_back(others[i]);
  return {from_vector(part[0]), from_vector(part[1]), from_vector(test)};
}

/// Reads an .npz file in the layout
///
///     edge_index             int64 [2, edges]    sources, destinations; both directions, none between two graphs
///     graph_id, node_label   int64 [nodes]       graph, rising from 0 by 0 or 1; kind of the node, in 0 .. 4095
///     graph_label, fold      int64 [graphs]      class, from 0; the fold whose test it belongs to, from 0, -1 for none
///
/// with the kind of a node, as one number 1 among zeros, for its features. Errors: FileError for a file that `read_npz`
/// refuses, an array that is missing or does not fit the others, a number out of range, an edge between two graphs, a
/// fold without graphs or one that leaves fewer than two.
inline GraphLabels load_graph_labels(const std::string& path) {
  const ArrayFile file = read_npz(path, {"edge_index", "graph_id", "node_label", "graph_label", "fold"});
  GraphLabels data;
  // The numbers of an array of one axis, and 1 more than the largest of them.
  const auto list_of = [&](const char* name, Index size, Index low, Index high, Index& end) {
    const std::vector<std::int64_t> list = file.at(name).with_shape({size}).converted<std::int64_t>();
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i] < low || list[i] >= high)
        file.at(name).fail({"holds ", list[i], " at position ", i, ", outside [", low, ", ", high, ")"});
      end = std::max(end, list[i] + 1);
    }
    return list;
  };
  const Index count = file.at("graph_label").with_shape({-1}).shape[0];
  const Index nodes = file.at("graph_id").with_shape({-1}).shape[0];
  Index named = 0, kinds = 0;
  const std::vector<std::int64_t> owner = list_of("graph_id", nodes, 0, count, named);
  List<std::int64_t> offsets;
  for (Index i = 0; i < nodes; ++i) {
    const Index own = owner[static_cast<std::size_t>(i)];
    if (own == offsets.size()) offsets.push_back(i);
    if (own != offsets.size() - 1)
      file.at("graph_id").fail({"holds ", own, " at position ", i, ", expected one graph after the other"});
  }
  if (named < count || count == 0) file.at("graph_id").fail({"holds no node of graph ", named});
  offsets.push_back(nodes);
  data.offsets = from_vector(offsets);

  const std::vector<std::int64_t> kind = list_of("node_label", nodes, 0, 4096, kinds);
  data.features =
      generate({nodes, kinds}, [&](Index i, Index k) { return kind[static_cast<std::size_t>(i)] == k ? 1.0f : 0.0f; });
  data.labels = from_vector(list_of("graph_label", count, 0, count, data.classes));
  const std::vector<std::int64_t> fold_of = list_of("fold", count, -1, count, data.folds);
  data.fold_of = from_vector(fold_of);
  List<Index> size(data.folds);
  for (const std::int64_t fold : fold_of)
    if (fold >= 0) ++size[fold];
  if (data.folds == 0) file.at("fold").fail({"holds no fold"});
  for (Index fold = 0; fold < data.folds; ++fold)
    if (size[fold] == 0 || count - size[fold] < 2)
      file.at("fold").fail({"has ", size[fold], " of ", count, " graphs in fold ", fold});

  const Array& ends = file.at("edge_index").with_shape({2, -1});
  const std::vector<std::int64_t> end = ends.converted<std::int64_t>();
  const auto edges = static_cast<std::size_t>(ends.shape[1]);
  List<std::vector<GraphEdge>> lists(count);
  for (std::size_t e = 0; e < edges; ++e) {
    const std::int64_t from = end[e], to = end[edges + e];
    for (const std::int64_t node : {from, to})
      if (node < 0 || node >= nodes) ends.fail({"holds node ", node, " in edge ", e, ", outside [0, ", nodes, ")"});
    const std::int64_t own = owner[static_cast<std::size_t>(from)], other = owner[static_cast<std::size_t>(to)];
    if (own != other) ends.fail({"holds edge ", e, " from graph ", own, " to graph ", other});
    lists[own].push_back({from - offsets[own], to - offsets[own]});
  }
  for (Index g = 0; g < count; ++g) data.graphs.emplace_back(offsets[g + 1] - offsets[g], lists[g]);
  return data;
}

/// Sizes of `make_necklaces`.
struct NecklaceOptions {
  Index graphs = 200, classes = 2, folds = 10;
  Index shortest = 8, longest = 16;  ///< beads of one colour
};

/// Rings of m beads each of two colours, m drawn uniformly, the edges between neighbours in both directions, the colour
/// as features. In class c of C a run of one colour ends after a bead with chance (C - c) / (C + 1), so that the number
/// of runs of a colour is 1 more than a binomial number of m - 1. Colours and numbers of neighbours are counted alike
/// in all classes: without edges they cannot be told apart. Classes and folds are equally large, as far as the number
/// of graphs allows. Throws ValueError for sizes that do not fit.
inline GraphLabels make_necklaces(const Random& random, const NecklaceOptions& o = {}, Site site = Site::current()) {
  if (o.classes < 1 || o.folds < 2 || o.graphs < 2 || o.graphs < o.folds || o.graphs < o.classes)
    fail("make_necklaces", {o.graphs, " graphs for ", o.classes, " classes and ", o.folds, " folds"}, {}, site);
  if (o.shortest < 2 || o.longest < o.shortest)
    fail("make_necklaces", {o.shortest, " to ", o.longest, " beads of a colour, expected 2 or more"}, {}, site);
  GraphLabels data;
  data.classes = o.classes;
  data.folds = o.folds;
  List<std::int64_t> offsets{0}, colours;
  for (Index g = 0; g < o.graphs; ++g) {
    const Random draw = random.stream("necklace", g);
    const Index own = g % o.classes, beads = o.shortest + draw.below(0, o.longest - o.shortest + 1);
    const double ends = static_cast<double>(o.classes - own) / static_cast<double>(o.classes + 1);
    Index further = 0;  // runs of each colour beyond the first
    for (Index i = 1; i < beads; ++i) further += draw.uniform(static_cast<std::uint64_t>(i)) < ends;
    // The lengths of the runs of each colour: all ways to cut its beads into so many are equally likely.
    List<Index> cuts[2];
    for (const int colour : {0, 1}) {
      for (const Index cut : draw.stream("cuts", colour).permutation(beads - 1, further))
        cuts[colour].push_back(cut + 1);
      std::sort(cuts[colour].begin(), cuts[colour].end());
      cuts[colour].push_back(beads);
    }
    for (Index run = 0; run <= further; ++run)
      for (const int colour : {0, 1})
        for (Index i = run > 0 ? cuts[colour][run - 1] : 0; i < cuts[colour][run]; ++i) colours.push_back(colour);
    const Index nodes = 2 * beads;
    std::vector<GraphEdge> edges;
    for (Index i = 0; i < nodes; ++i) {
      edges.push_back({i, (i + 1) % nodes});
      edges.push_back({(i + 1) % nodes, i});
    }
    data.graphs.emplace_back(nodes, edges, site);
    offsets.push_back(offsets.back() + nodes);
  }
  data.offsets = from_vector(offsets);
  data.features = generate({colours.size(), 2}, [&](Index i, Index k) { return colours[i] == k ? 1.0f : 0.0f; });
  data.labels = generate({o.graphs}, [&](Index g) { return g % o.classes; });
  data.fold_of = generate({o.graphs}, [&](Index g) { return g / o.classes % o.folds; });
  return data;
}

}  // namespace GRAFT_ABI
}  // namespace graft
