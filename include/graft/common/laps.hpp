#pragma once
// Draws that serve everybody as often as anybody else.

#include <algorithm>
#include <vector>

#include "graft/core/random.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// `count` places among `items`, each of them as often as any other, up to one: laps through all places, each in a
/// random order of its own. `items` is 1 or more unless `count` is 0.
inline std::vector<Index> places_in_laps(Index count, Index items, const Random& random) {
  std::vector<Index> places;
  for (std::uint64_t lap = 0; static_cast<Index>(places.size()) < count; ++lap) {
    const Index left = count - static_cast<Index>(places.size());
    const auto order = random.stream(lap).permutation(items, std::min(items, left));
    places.insert(places.end(), order.begin(), order.end());
  }
  return places;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
