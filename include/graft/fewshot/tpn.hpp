#pragma once
// Transductive propagation network. Liu, Lee, Park, Kim, Yang, Hwang, Yang, "Learning to propagate labels: transductive
// propagation network for few-shot learning", ICLR 2019. Formulas and defaults as in the authors' code.

#include <cmath>
#include <optional>

#include "graft/common/transductive.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/linalg.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A symmetrically normalised graph of points, S = D^(-1/2) W D^(-1/2): x [points, width] -> [points, points], with
///   W_ij = exp(-|x_i - x_j|^2 / (2 width))
/// where one is among the `neighbours` nearest points of the other, itself being the first, and else 0, and D_ii =
/// sum_j W_ij, at least 1. All eigenvalues lie in [-1, 1]. No gradient flows through the choice of neighbours. Throws
/// ShapeError, ValueError for numbers that are not finite or less than one neighbour.
template <Real T>
Tensor<T> propagation_graph(const Tensor<T>& x, Index neighbours, Site site = Site::current()) {
  if (x.rank() != 2) fail<ShapeError>("propagation_graph", "expected points [points, width]", {{"x", x.shape()}}, site);
  detail::check_count("propagation_graph", "neighbours", neighbours, 1, site);
  const Tensor<T> near = detail::neighbour_matrix("propagation_graph", x, neighbours - 1, site);
  const Tensor<T> d = squared_distances(x, x, site) / static_cast<double>(x.size(1));
  // The diagonal is 1 and not what rounding leaves of it, so that no degree is 0.
  const Tensor<T> w = maximum(near, transpose(near)) * exp(-0.5 * d) + eye<T>(x.size(0));
  const Tensor<T> scale = rsqrt(sum(w, {1}, true));
  return scale * w * transpose(scale);
}

/// Options of `LabelPropagationHead`; the defaults are the authors', but for the length scale, which they learn.
struct LabelPropagationHeadOptions {
  Index neighbours = 20;    ///< of a point in the graph, itself among them; all, if there are fewer points
  double alpha = 0.99;      ///< share of what is heard from neighbours, in [0, 1)
  double length_scale = 1;  ///< of all points, unless learned
  Index hidden = 8;         ///< of the perceptron that gives each point its length scale
};

/// Labels that spread over a graph of all of the task's items, whatever they are: support, unlabelled, queries. With
/// the graph S of the embeddings over their length scales (`propagation_graph`), rows Y of the support one-hot and of
/// all others 0,
///   F = (I - alpha S)^(-1) Y = sum_n alpha^n S^n Y,  logits = F of the queries.
/// The length scale of a point is a number, or softplus(linear2(relu(linear1(embedding)))) when learned; the authors'
/// may turn negative, which the softplus excludes. The loss is, as the paper's, the cross-entropy of support and
/// queries. Scales that vanish leave no edge, F of the queries is 0, and so are all gradients: a learning rate that is
/// too high can end there (docs/unlabelled-items.md).
template <class T = float>
struct LabelPropagationHead {
  std::optional<Linear<T>> linear1, linear2;  ///< width -> hidden -> 1, where length scales are learned
  LabelPropagationHeadOptions options;
  GRAFT_FIELDS(linear1, linear2)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.sees = Sees::queries};

  LabelPropagationHead() = default;
  /// The same length scale for all points.
  explicit LabelPropagationHead(const LabelPropagationHeadOptions& o, Site site = Site::current()) : options(o) {
    check_options(site);
  }
  /// Length scales learned from embeddings of `width` numbers.
  LabelPropagationHead(Index width, const Random& random, const LabelPropagationHeadOptions& o = {},
                       Site site = Site::current())
      : options(o) {
    check_options(site);
    if (width < 1 || o.hidden < 1)
      fail("LabelPropagationHead", {"embeddings of ", width, " numbers, hidden is ", o.hidden}, {}, site);
    linear1 = Linear<T>(width, o.hidden, random.stream("linear1"), {}, site);
    linear2 = Linear<T>(o.hidden, 1, random.stream("linear2"), {}, site);
  }

  /// F [support + unlabelled + queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError
  /// for other episodes, ValueError for embeddings that are not finite.
  Tensor<T> propagate(const Episode<T>& episode, Site site = Site::current()) const {
    detail::check_embedded("LabelPropagationHead", episode, site);
    const Named here("LabelPropagationHead", site);
    const Tensor<T> points = concat<T>({episode.support.x, detail::items_without_labels(episode, site)}, 0, site);
    const Index count = points.size(0), unknown = count - episode.support.x.size(0);
    const Tensor<T> known = one_hot<T>(episode.support.y, episode.ways);
    const Tensor<T> start = concat<T>({known, zeros<T>({unknown, episode.ways})}, 0, site);
    const Tensor<T> s = propagation_graph(scaled(points, site), options.neighbours, site);
    return cholesky_solve(eye<T>(count) - options.alpha * s, start, site);
  }

  /// Logits [queries, ways] of an episode of embeddings; see `propagate`.
  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    return detail::of_queries(propagate(episode, site), episode);
  }

  /// Cross-entropy of F of support and queries.
  Tensor<T> loss(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    const Tensor<T> f = propagate(episode, site);
    const Tensor<T> labelled =
        concat<T>({slice(f, 0, 0, episode.support.x.size(0)), detail::of_queries(f, episode)}, 0, site);
    return cross_entropy(labelled, concat<std::int64_t>({episode.support.y, episode.query.y}, 0, site), {}, site);
  }

 private:
  void check_options(Site site) const {
    using detail::Range;
    const char* op = "LabelPropagationHead";
    detail::check_option<T>(op, "alpha", options.alpha, Range::below_one, site);
    detail::check_option<T>(op, "length_scale", options.length_scale, Range::positive, site);
    detail::check_count(op, "neighbours", options.neighbours, 1, site);
  }
  /// Points over their length scales; the constant keeps a scale that vanishes from dividing by 0.
  Tensor<T> scaled(const Tensor<T>& points, Site site) const {
    if (!linear1) return options.length_scale == 1 ? points : points / options.length_scale;
    return points / (softplus((*linear2)(relu((*linear1)(points, site)), site)) + 1e-6);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
