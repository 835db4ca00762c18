#pragma once
// Edges held back from a graph, for the prediction of links: what a model hears, what it is asked, and pairs of nodes
// without an edge as wrong answers.

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/random.hpp"
#include "graft/ops/csr.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Pairs of two different nodes, each pair once, with first < second.
struct NodePairs {
  Tensor<std::int64_t> first, second;  ///< [pairs]

  Index count() const { return first.count(); }
};

/// What `split_edges` makes of a graph, in which an edge between two nodes leads both ways.
struct EdgeSplit {
  Graph graph;                                     ///< the edges of `train`, both ways: all that a model may hear
  NodePairs train, validation, test;               ///< edges, every one in one of them
  NodePairs validation_negatives, test_negatives;  ///< as many pairs without an edge, none in both
};

/// Options of `split_edges`.
struct EdgeSplitOptions {
  double validation = 0.05, test = 0.1;  ///< shares of the edges, rounded down
};

namespace detail {

inline NodePairs node_pairs(std::span<const std::int64_t> keys, Index nodes) {
  List<std::int64_t> first, second;
  for (const std::int64_t key : keys) {
    first.push_back(key / nodes);
    second.push_back(key % nodes);
  }
  return {from_vector(first), from_vector(second)};
}
/// The pairs of different nodes with an edge, whichever way it leads, rising: smaller node times nodes plus larger.
inline std::vector<std::int64_t> linked_pairs(const char* op, const Graph& graph, Site site) {
  if (graph.sources() != graph.destinations())
    fail<ShapeError>(
        op,
        {"the graph goes from ", graph.sources(), " nodes to ", graph.destinations(), ", expected one set of nodes"},
        {}, site);
  std::vector<std::int64_t> keys;
  for (const auto& [from, to] : edge_list(graph))
    if (from != to) keys.push_back(std::min(from, to) * graph.sources() + std::max(from, to));
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}
/// `count` of the pairs that are not in `linked`, in the order in which they were drawn.
inline std::vector<std::int64_t> unlinked_pairs(const char* op, Index nodes, const std::vector<std::int64_t>& linked,
                                                Index count, const Random& random, Site site) {
  const Index edges = static_cast<Index>(linked.size()), pairs = nodes * (nodes - 1) / 2;
  if (count > pairs - edges)
    fail(op, {count, " pairs without an edge asked for, ", nodes, " nodes with ", edges, " edges have ", pairs - edges},
         {}, site);
  const auto is_free = [&](std::int64_t key) { return !std::binary_search(linked.begin(), linked.end(), key); };
  std::vector<std::int64_t> drawn;
  if (edges + count > pairs / 2) {  // most would be drawn in vain: listed, they are as many as the edges
    std::vector<std::int64_t> all;
    for (Index i = 0; i < nodes; ++i)
      for (Index j = i + 1; j < nodes; ++j)
        if (is_free(i * nodes + j)) all.push_back(i * nodes + j);
    for (const Index at : random.permutation(pairs - edges, count)) drawn.push_back(all[static_cast<std::size_t>(at)]);
    return drawn;
  }
  std::unordered_set<std::int64_t> seen;
  for (std::uint64_t at = 0; static_cast<Index>(drawn.size()) < count; at += 2) {
    const Index a = random.below(at, nodes), b = random.below(at + 1, nodes);
    const std::int64_t key = std::min(a, b) * nodes + std::max(a, b);
    if (a != b && is_free(key) && seen.insert(key).second) drawn.push_back(key);
  }
  return drawn;
}

}  // namespace detail

/// `count` different pairs of nodes between which no edge leads either way, drawn uniformly. Throws ShapeError unless
/// the graph is on one set of nodes, ValueError for a negative count or if there are not so many.
inline NodePairs draw_unlinked(const Graph& graph, Index count, const Random& random, Site site = Site::current()) {
  if (count < 0) fail("draw_unlinked", {"count is ", count, ", expected 0 or more"}, {}, site);
  const std::vector<std::int64_t> linked = detail::linked_pairs("draw_unlinked", graph, site);
  return detail::node_pairs(detail::unlinked_pairs("draw_unlinked", graph.sources(), linked, count, random, site),
                            graph.sources());
}

/// Holds back edges, drawn uniformly, for validation and test, with as many pairs that have no edge. An edge counts
/// once, whichever way it leads and however often it is listed; edges from a node to itself are left out. Both
/// directions of what is held back leave the graph (Kipf, Welling, "Variational graph auto-encoders", 2016). Throws
/// ShapeError unless the graph is on one set of nodes, ValueError for shares that leave a part without edges, or if
/// there are not enough pairs without an edge.
inline EdgeSplit split_edges(const Graph& graph, const Random& random, const EdgeSplitOptions& o = {},
                             Site site = Site::current()) {
  const std::vector<std::int64_t> linked = detail::linked_pairs("split_edges", graph, site);
  const auto edges = static_cast<Index>(linked.size());
  const auto share = [&](double of) {
    return of > 0 && of < 1 ? static_cast<Index>(std::floor(of * static_cast<double>(edges))) : Index{0};
  };
  const Index validation = share(o.validation), test = share(o.test);
  if (validation < 1 || test < 1 || validation + test >= edges)
    fail("split_edges", {"shares of ", o.validation, " and ", o.test, " of ", edges, " edges leave a part without any"},
         {}, site);
  const Index nodes = graph.sources();
  const std::vector<std::int64_t> unlinked = detail::unlinked_pairs("split_edges", nodes, linked, validation + test,
                                                                    random.stream("pairs without an edge"), site);
  List<std::int64_t> part[3];
  Index place = 0;
  for (const Index at : random.stream("edges").permutation(edges)) {
    part[place < test ? 2 : place < test + validation ? 1 : 0].push_back(linked[static_cast<std::size_t>(at)]);
    ++place;
  }
  std::sort(part[0].begin(), part[0].end());
  std::vector<GraphEdge> heard;
  for (const std::int64_t key : part[0]) {
    heard.push_back({key / nodes, key % nodes});
    heard.push_back({key % nodes, key / nodes});
  }
  const std::span all(unlinked);
  const auto wrong = static_cast<std::size_t>(test);
  return {Graph(nodes, heard, site),
          detail::node_pairs(part[0], nodes),
          detail::node_pairs(part[1], nodes),
          detail::node_pairs(part[2], nodes),
          detail::node_pairs(all.subspan(wrong), nodes),
          detail::node_pairs(all.first(wrong), nodes)};
}

}  // namespace GRAFT_ABI
}  // namespace graft
