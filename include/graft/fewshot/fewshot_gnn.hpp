#pragma once
// Few-shot learning with graph neural networks. Garcia, Bruna, ICLR 2018: the support set and one query are the nodes
// of a graph whose edges are learned from the features of their ends. Every query has a graph of its own, so its answer
// depends on no other. For the same reason features are normed over each node or pair alone (layer norm): the paper's
// batch norm takes its statistics over the queries of a batch.

#include <limits>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/linear.hpp"
#include "graft/nn/norm.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `FewShotGnn`; the defaults are the authors', for embeddings of 64 numbers.
struct FewShotGnnOptions {
  Index ways = 5;          ///< classes of every episode
  Index width = 64;        ///< of the embeddings
  Index layers = 2;        ///< before the last, which gives the logits
  Index features = 48;     ///< that a layer adds to every node
  Index edge_hidden = 96;  ///< h: the perceptrons of the edges have layers of 2 h, 2 h, h and h units
  double slope = 0.01;     ///< of the leaky ReLU below 0
};

/// The weights of the edges of a graph from the features of its nodes: x [graphs, nodes, width] -> A [graphs, nodes,
/// nodes] with A_ij = softmax over j != i of phi(|x_i - x_j|), phi a perceptron with layer norm, and A_ii = 0. Rows sum
/// to 1. Needs two nodes or more.
template <class T = float>
struct LearnedAdjacency {
  std::vector<Linear<T>> hidden;
  std::vector<LayerNorm<T>> norms;
  Linear<T> last;
  double slope = 0.01;
  GRAFT_FIELDS(hidden, norms, last)
  GRAFT_CONFIG(slope)

  LearnedAdjacency() = default;
  LearnedAdjacency(Index width, const Random& random, const FewShotGnnOptions& o = {}, Site site = Site::current())
      : last(o.edge_hidden, 1, random.stream("last"), {}, site), slope(o.slope) {
    Index in = width;
    for (const Index units : {2 * o.edge_hidden, 2 * o.edge_hidden, o.edge_hidden, o.edge_hidden}) {
      hidden.emplace_back(in, units, random.stream("hidden", hidden.size()), LinearOptions{}, site);
      norms.emplace_back(units, NormOptions{}, site);
      in = units;
    }
  }

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("LearnedAdjacency", site);
    if (x.rank() != 3 || x.size(1) < 2)
      fail<ShapeError>("LearnedAdjacency", "expected [graphs, nodes, width] of two nodes or more", {{"x", x.shape()}},
                       site);
    detail::check_parts("LearnedAdjacency", "norms", norms.size(), "hidden layers", hidden.size(), site);
    const Index graphs = x.size(0), nodes = x.size(1), width = x.size(2);
    Tensor<T> h = abs(reshape(x, {graphs, nodes, 1, width}) - reshape(x, {graphs, 1, nodes, width}));
    for (std::size_t l = 0; l < hidden.size(); ++l) h = leaky_relu(norms[l](hidden[l](h)), slope);
    const Tensor<T> scores = reshape(last(h), {graphs, nodes, nodes});
    return softmax(where(eye<T>(nodes) == 1, -std::numeric_limits<T>::infinity(), scores));
  }
};

/// Logits [queries, ways] of episodes of as many ways as it was made for:
///   1  nodes of a query's graph: x_i = [embedding; label], a label one-hot or, of the query, 1 / ways throughout
///   2  `layers` times: A from x; x <- [x, leaky_relu(norm(W [x, A x] + b))]
///   3  A from x; logits = W [x, A x] + b at the query
/// Its memory grows as queries (items + 1)^2 edge_hidden: with many ways and shots ask few queries at a time. A common
/// part of all embeddings changes answers. Throws ValueError for sizes below 1 and episodes of other ways, ShapeError
/// for embeddings of another width.
template <class T = float>
struct FewShotGnn {
  std::vector<LearnedAdjacency<T>> adjacencies;  ///< [layers + 1]
  std::vector<Linear<T>> maps;                   ///< [layers + 1]
  std::vector<LayerNorm<T>> norms;               ///< [layers]
  FewShotGnnOptions options;
  GRAFT_FIELDS(adjacencies, maps, norms)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.any_ways = false};

  FewShotGnn() = default;
  explicit FewShotGnn(const Random& random, const FewShotGnnOptions& o = {}, Site site = Site::current()) : options(o) {
    detail::check_option<T>("FewShotGnn", "slope", o.slope, detail::Range::not_negative, site);
    if (o.ways < 1 || o.width < 1 || o.layers < 0 || o.features < 1 || o.edge_hidden < 1)
      fail("FewShotGnn",
           {o.ways, " ways, width ", o.width, ", ", o.layers, " layers of ", o.features, " features, ", o.edge_hidden,
            " hidden units of edges"},
           {}, site);
    Index in = o.width + o.ways;
    for (Index l = 0; l <= o.layers; ++l) {
      const bool last = l == o.layers;
      adjacencies.emplace_back(in, random.stream("adjacency", l), o, site);
      maps.emplace_back(2 * in, last ? o.ways : o.features, random.stream("map", l), LinearOptions{}, site);
      if (!last) norms.emplace_back(o.features, NormOptions{}, site);
      in += o.features;
    }
  }

  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("FewShotGnn", episode, options.width, site);
    const Named here("FewShotGnn", site);
    const auto& [support, labels] = episode.support;
    const Index items = support.size(0), queries = episode.query.x.size(0), ways = options.ways;
    if (episode.ways != ways) fail("FewShotGnn", {episode.ways, " ways, made for ", ways}, {}, site);
    detail::check_parts("FewShotGnn", "maps", maps.size(), "adjacencies", adjacencies.size(), site);
    detail::check_parts("FewShotGnn", "maps", maps.size(), "norms and one", norms.size() + 1, site);
    const Tensor<T> known = concat<T>({support, one_hot<T>(labels, ways)}, 1);
    const Tensor<T> asked = concat<T>({episode.query.x, full<T>({queries, ways}, T(1) / static_cast<T>(ways))}, 1);
    const Index width = known.size(1);
    Tensor<T> x = concat<T>({broadcast_to(known, {queries, items, width}), reshape(asked, {queries, 1, width})}, 1);
    const auto beside_neighbours = [](const Tensor<T>& a, const Tensor<T>& nodes) {
      return concat<T>({nodes, matmul(a, nodes)}, 2);
    };
    for (std::size_t l = 0; l < norms.size(); ++l)
      x = concat<T>({x, leaky_relu(norms[l](maps[l](beside_neighbours(adjacencies[l](x), x))), options.slope)}, 2);
    const Tensor<T> at_query = slice(beside_neighbours(adjacencies.back()(x), x), 1, items, items + 1);
    return maps.back()(reshape(at_query, {queries, at_query.size(2)}));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
