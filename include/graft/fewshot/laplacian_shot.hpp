#pragma once
// Nearest prototypes with a Laplacian over the queries. Ziko, Dolz, Granger, Ben Ayed, "Laplacian regularized few-shot
// learning", ICML 2020. Formulas and defaults as in the authors' code.

#include "graft/common/transductive.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `LaplacianShot`; the defaults are the authors'.
struct LaplacianShotOptions {
  double lambda = 1;     ///< weight of the neighbours; the authors choose among 0.1 to 1.5 on validation classes
  Index neighbours = 2;  ///< nearest other items that an item is tied to; the authors' 3 count the item itself
  int steps = 20;        ///< bound updates, at most
  bool unit = true;      ///< embeddings are scaled to length 1 first
  double shift = 0;      ///< added to the diagonal of the affinities, see `LaplacianShot`
};

/// Soft assignments y_q of the queries that are near a prototype and like their neighbours': with a_q the squared
/// distances to the prototypes and affinities W, 1 between two queries that are each among the `neighbours` nearest of
/// the other, 1/2 if one is, the energy
///   E(Y) = sum_q y_q log y_q + y_q a_q - lambda / 2 sum_qp W_qp y_q y_p
/// is lowered by the updates  y_q <- softmax(-a_q + lambda sum_p W_qp y_p)  from softmax(-a_q) on, all at a time, until
/// none changes by more than 1e-6. Logits are the last argument of the softmax. Where W is positive semi-definite E
/// never rises; a `shift` of the largest row sum of W, at most the number of items, makes it so, and slows the updates.
/// With lambda 0 a prototypical network. (The authors' W is one-sided, 1 where p is among the nearest of q; the bound
/// needs its symmetric part. Their features are centred by the mean of the base classes, which is the embedding's
/// business here.) Unlabelled items, if there are any, are treated as queries. No gradient flows through the choice of
/// neighbours.
struct LaplacianShot {
  LaplacianShotOptions options;
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.sees = Sees::queries};

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError for other
  /// episodes, ValueError for options out of range or embeddings that are not finite.
  template <Real T>
  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    using detail::Range;
    const char* op = "LaplacianShot";
    detail::check_option<T>(op, "lambda", options.lambda, Range::not_negative, site);
    detail::check_option<T>(op, "shift", options.shift, Range::not_negative, site);
    detail::check_count(op, "neighbours", options.neighbours, 0, site);
    detail::check_count(op, "steps", options.steps, 0, site);
    detail::check_embedded(op, episode, site);
    const Named here(op, site);
    const auto prepared = [&](const Tensor<T>& x) { return options.unit ? unit_rows(x, site) : x; };
    const Tensor<T> classes = prototypes(prepared(episode.support.x), episode.support.y, episode.ways, site);
    const Tensor<T> items = prepared(detail::items_without_labels(episode, site));
    const Tensor<T> unary = -squared_distances(items, classes, site);
    if (options.lambda == 0) return detail::of_queries(unary, episode);

    const Tensor<T> near = detail::neighbour_matrix(op, items, options.neighbours, site);
    const Tensor<T> w = options.lambda * ((near + transpose(near)) / 2.0 + options.shift * eye<T>(items.size(0)));
    Tensor<T> logits = unary, y = softmax(unary, 1, site);
    for (int step = 0; step < options.steps; ++step) {
      logits = unary + matmul(w, y, {}, site);
      const Tensor<T> next = softmax(logits, 1, site);
      const bool settled = all(abs((next - y).detach()) <= 1e-6).item();
      y = next;
      if (settled) break;
    }
    return detail::of_queries(logits, episode);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
