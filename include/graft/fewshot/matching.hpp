#pragma once
// Matching networks. Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, "Matching networks for one shot learning",
// NeurIPS 2016, without the full-context embeddings, the paper's optional LSTMs over the support set.

#include <cmath>
#include <optional>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What makes a query and a support item alike: the cosine of their embeddings, or minus their squared distance.
enum class MatchingSimilarity { cosine, squared };

/// Options of `MatchingHead`; the defaults are the paper's.
struct MatchingOptions {
  MatchingSimilarity similarity = MatchingSimilarity::cosine;
  double scale = 1;      ///< of the similarities, at first
  bool learned = false;  ///< the scale is a parameter
};

/// A query's probability of class k is the attention that its items get, so the logits [queries, ways] are
///   log sum_{i in class k} softmax_i(scale similarity(f(x), f(x_i)))
/// and their exponentials sum to 1. At the paper's cosine with scale 1 no single shot among N classes is believed with
/// more than e^2 / (e^2 + N - 1), 0.65 of five and 0.28 of twenty, which slows training: larger and learned scales are
/// there for that. Throws ValueError for a scale that is not positive.
template <class T = float>
struct MatchingHead {
  std::optional<Tensor<T>> log_scale;  ///< [], if it is learned
  MatchingOptions options;
  GRAFT_FIELDS(log_scale)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{};

  explicit MatchingHead(const MatchingOptions& o = {}, Site site = Site::current()) : options(o) {
    detail::check_option<T>("MatchingHead", "scale", o.scale, detail::Range::positive, site);
    if (o.learned) log_scale = Tensor<T>(static_cast<T>(std::log(o.scale)));
  }

  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("MatchingHead", episode, site);
    const Named here("MatchingHead", site);
    const Tensor<T>&x = episode.support.x, &query = episode.query.x;
    const Tensor<T> similarity =
        options.similarity == MatchingSimilarity::cosine ? cosine_similarities(query, x) : -squared_distances(query, x);
    const Tensor<T> scores = log_scale ? exp(*log_scale) * similarity : options.scale * similarity;
    std::vector<Tensor<T>> of_class;
    for (Index way = 0; way < episode.ways; ++way) {
      const Tensor<std::int64_t> items = nonzero(episode.support.y == way);
      of_class.push_back(logsumexp(gather(scores, items, 1), {1}, true));
    }
    return log_softmax(concat(of_class, 1), 1);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
