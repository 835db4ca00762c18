#pragma once
// Prototypical networks. Snell, Swersky, Zemel, "Prototypical networks for few-shot learning", NeurIPS 2017,
// Algorithm 1.

#include "graft/common/few_shot.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Logits of the queries: minus the squared distance to the mean embedding of each class, -|f(x) - c_k|^2. Embeddings
/// `support` [items, width] with `labels` [items] in 0 .. ways-1 and `query` [queries, width] -> [queries, ways].
template <Real T>
Tensor<T> protonet_logits(const Tensor<T>& support, const Tensor<std::int64_t>& labels, const Tensor<T>& query,
                          Index ways, Site site = Site::current()) {
  return -squared_distances(query, prototypes(support, labels, ways, site), site);
}

/// `protonet_logits` as the head of an `EpisodeLearner`: it has no parameters.
struct ProtoNetHead {
  static constexpr Needs needs{};
  GRAFT_FIELDS()

  template <Real T>
  Tensor<T> operator()(const Episode<T>& e, ContextRef, Site site = Site::current()) const {
    return protonet_logits(e.support.x, e.support.y, e.query.x, e.ways, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
