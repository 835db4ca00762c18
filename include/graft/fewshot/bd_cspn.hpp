#pragma once
// Prototype rectification by diminishing two biases. Liu, Song, Qin, "Prototype rectification for few-shot learning",
// ECCV 2020. The paper was not at hand; formulas as in a public implementation (easyfsl), which lets all queries take
// part, but for the queries, which are answered where they were moved to, as in the code of LaplacianShot's authors.

#include <limits>

#include "graft/common/transductive.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `BdCspn`; the default is the authors'.
struct BdCspnOptions {
  double temperature = 10;  ///< cosines are multiplied by it
};

/// Cosine prototypes that the queries take part in:
///   1  cross-class bias: all queries move by the mean of the support less the mean of the queries
///   2  each moved query is taken for one of the class k whose prototype c_k it has the largest cosine with
///   3  intra-class bias: c'_k is the mean of the support items and the queries of class k with weights softmax over
///      these items of temperature cos(x, c_k)
///   4  logits = temperature cos(moved query, c'_k)
/// Unlabelled items, if there are any, are treated as queries. No gradient flows through the choice of step 2. A common
/// part of all queries has no effect; a single query, moved to the mean of the support, is therefore answered without
/// being looked at. A row of zeros has cosine 0 with everything.
struct BdCspn {
  BdCspnOptions options;
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.sees = Sees::queries};

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError for other
  /// episodes, ValueError for a temperature that is not positive.
  template <Real T>
  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_option<T>("BdCspn", "temperature", options.temperature, detail::Range::positive, site);
    detail::check_embedded("BdCspn", episode, site);
    const Named here("BdCspn", site);
    const auto& [support, labels] = episode.support;
    const Index ways = episode.ways;
    Tensor<T> others = detail::items_without_labels(episode, site);
    if (others.size(0) == 0) return zeros<T>({0, ways});
    const auto scores = [&](const Tensor<T>& x, const Tensor<T>& classes) {
      return options.temperature * cosine_similarities(x, classes, site);
    };

    others = (others - mean(others, {0}, true)) + mean(support, {0}, true);  // 1
    const Tensor<T> items = concat<T>({support, others}, 0, site);
    const Tensor<T> logits = scores(items, prototypes(support, labels, ways, site));
    const auto pseudo = argmax(slice(logits, 0, support.size(0), items.size(0)), 1);  // 2
    const auto classes = concat<std::int64_t>({labels, pseudo}, 0, site);
    const Tensor<T> weights =
        softmax(where(one_hot<T>(classes, ways) == 1, logits, -std::numeric_limits<T>::infinity()), 0, site);
    const Tensor<T> rectified = matmul(weights, items, {.transpose_a = true}, site);  // 3
    return scores(detail::of_queries(others, episode), rectified);                    // 4
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
