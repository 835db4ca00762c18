#pragma once
// Images turned by quarters, which tell a model something without labels.

#include <vector>

#include "graft/data/episodes.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Images [n, size, size, channels] turned by 0, 1, 2 and 3 quarters against the clock, one turn after another: items
/// [4 n, size, size, channels] with the turn as label. Throws ShapeError.
template <class T>
LabelledSet<T> quarter_turns(const Tensor<T>& images, Site site = Site::current()) {
  if (images.rank() != 4 || images.size(1) != images.size(2))
    fail<ShapeError>("quarter_turns", "expected images [n, size, size, channels]", {{"images", images.shape()}}, site);
  const auto turned = [&](const Tensor<T>& x) { return flip(permute(x, {0, 2, 1, 3}, site), 1, site); };
  std::vector<Tensor<T>> turns{images};
  for (int quarters = 1; quarters < 4; ++quarters) turns.push_back(turned(turns.back()));
  return {concat(turns, 0, site), episode_labels(4, images.size(0), site)};
}

}  // namespace GRAFT_ABI
}  // namespace graft
