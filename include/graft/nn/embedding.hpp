#pragma once
// A table of vectors looked up by index. Parameter name and initial values are torch.nn.Embedding's.

#include "graft/model/fields.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// y = weight[indices]: indices [...] -> [..., width]. Throws IndexError for an index outside 0 .. count - 1.
template <class T = float>
struct Embedding {
  Tensor<T> weight;  ///< [count, width]
  GRAFT_FIELDS(weight)

  Embedding() = default;
  /// Standard normal weights.
  Embedding(Index count, Index width, const Random& random, Site site = Site::current())
      : weight(randn<T>({count, width}, random.stream("weight"), site)) {}

  template <Integer I>
  Tensor<T> operator()(const Tensor<I>& indices, Site site = Site::current()) const {
    const Named here("Embedding", site);
    detail::check_indices("Embedding", indices, weight.size(0), site);  // gather takes negative ones
    return gather(weight, indices, 0, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
