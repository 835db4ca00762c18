#pragma once
// Power transform and maximum a posteriori by optimal transport. Hu, Gripon, Pateux, "Leveraging the feature
// distribution in transfer-based few-shot learning", ICANN 2021. Formulas and defaults as in the authors' code.

#include <algorithm>
#include <cmath>
#include <limits>

#include "graft/common/transductive.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The logarithm [items, classes] of the plan P that shares items out evenly among classes at little cost: P minimises
/// sum P cost + sum P log P / lambda under rows that add up to 1 and columns that add up to items / classes. Cuturi,
/// "Sinkhorn distances", NeurIPS 2013: P = diag(u) exp(-lambda cost) diag(v), rows and columns scaled in turn, here in
/// logarithms, until no row is off by more than 1e-6 (a little more in float) or 1000 times. Columns are then exact.
/// Throws ShapeError, ValueError for a lambda that is not positive.
template <Real T>
Tensor<T> sinkhorn(const Tensor<T>& cost, double lambda, Site site = Site::current()) {
  if (cost.rank() != 2 || cost.size(1) == 0)
    fail<ShapeError>("sinkhorn", "expected a cost [items, classes]", {{"cost", cost.shape()}}, site);
  detail::check_option<T>("sinkhorn", "lambda", lambda, detail::Range::positive, site);
  if (cost.size(0) == 0) return cost;
  const double column = std::log(static_cast<double>(cost.size(0)) / static_cast<double>(cost.size(1)));
  const double tolerance = std::max(1e-6, 64 * static_cast<double>(std::numeric_limits<T>::epsilon()));
  const Tensor<T> kernel = -lambda * cost;
  Tensor<T> v, u = -logsumexp(kernel, {1}, true);
  for (int times = 0; times < 1000; ++times) {
    v = column - logsumexp(kernel + u, {0}, true);
    const Tensor<T> next = -logsumexp(kernel + v, {1}, true);
    const double off = static_cast<double>(max(abs(expm1((u - next).detach()))).item());  // row sums less 1
    if (!(off > tolerance)) break;
    u = next;
  }
  return kernel + u + v;
}

/// Options of `PtMap`; the defaults are the authors'.
struct PtMapOptions {
  double beta = 0.5;   ///< power that features are raised to
  double lambda = 10;  ///< of the optimal transport
  double alpha = 0.2;  ///< rate at which centres move
  int steps = 20;      ///< moves of the centres
};

/// Features become more like Gaussians by a power, and class centres are moved to where an even share of the queries is
/// nearest:
///   1  f(x) = (x + 1e-6)^beta, of a negative x -(|x| + 1e-6)^beta, over its norm; then, of the support and of the
///      queries each, less their mean and over its norm again
///   2  c_k <- c_k + alpha (c'_k - c_k), `steps` times from the support's means on, where c'_k is the mean of the
///      support items of class k and of the queries, weighted by the plan P of `sinkhorn` for the costs |f - c_k|^2
///   3  logits = log P for the last centres
/// The authors' features are never negative. Classes are taken to be equally frequent among the queries: the columns of
/// the answer's probabilities add up to the same. Unlabelled items, if there are any, are treated as queries. A single
/// item less its mean is 0, and at cost |c_k|^2 of class k.
struct PtMap {
  PtMapOptions options;
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.sees = Sees::queries};

  /// The features of one set of items, step 1: x [items, width] -> the same shape. Throws ShapeError.
  template <Real T>
  Tensor<T> features(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("PtMap", site);
    if (x.size(0) == 0) return x;
    const Tensor<T> raised = pow(abs(x) + 1e-6, options.beta);
    const Tensor<T> f = unit_rows(where(x < 0, -raised, raised), site);
    return unit_rows(f - mean(f, {0}, true), site);
  }

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError for other
  /// episodes, ValueError for options out of range.
  template <Real T>
  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    using detail::Range;
    detail::check_option<T>("PtMap", "beta", options.beta, Range::positive, site);
    detail::check_option<T>("PtMap", "lambda", options.lambda, Range::positive, site);
    detail::check_option<T>("PtMap", "alpha", options.alpha, Range::finite, site);
    detail::check_count("PtMap", "steps", options.steps, 0, site);
    detail::check_embedded("PtMap", episode, site);
    const Named here("PtMap", site);
    const Tensor<T> support = features(episode.support.x, site);
    const Tensor<T> others = features(detail::items_without_labels(episode, site), site);
    const Tensor<T> items = concat<T>({support, others}, 0, site);
    const Tensor<T> known = one_hot<T>(episode.support.y, episode.ways);
    Tensor<T> centres = prototypes(support, episode.support.y, episode.ways, site);
    const auto plan = [&] { return sinkhorn(squared_distances(others, centres, site), options.lambda, site); };
    for (int step = 0; step < options.steps; ++step) {
      const Tensor<T> estimate = detail::weighted_means(items, concat<T>({known, exp(plan())}, 0, site), site);
      centres = centres + options.alpha * (estimate - centres);
    }
    return detail::of_queries(plan(), episode);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
