#pragma once
// Places of every item that something is to be done to, drawn at random.

#include "graft/core/list.hpp"
#include "graft/ops/compare.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// `each` of the places of every item, uniformly and by stream i of `random` for item i: [items, places], true there. 0
/// <= each <= places.
inline Tensor<bool> marked_places(Index items, Index places, Index each, const Random& random) {
  List<std::int64_t> marked(items * places);
  for (Index i = 0; i < items; ++i)
    for (const Index at : random.stream(static_cast<std::uint64_t>(i)).permutation(places, each))
      marked[i * places + at] = 1;
  return from_vector(marked, Shape{items, places}) == 1;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
