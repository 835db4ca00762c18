#pragma once
// How the tasks' gradients of a round become one direction.

#include <string>
#include <vector>

#include "graft/model/arithmetic.hpp"
#include "graft/multitask/pcgrad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// mean: the average gradient. pcgrad: conflicting parts projected out (Yu et al. 2020), divided by the number of tasks
/// so that without conflicts it equals the mean.
enum class Aggregation { mean, pcgrad };

/// One direction from the gradients of a round, in the model's own structure. They are taken in the order given (the
/// protocol gives task order), so the result does not depend on which task ended first; `random` is pcgrad's. Throws
/// ValueError without gradients, ShapeError when their shapes differ.
template <Model M>
M aggregate(const std::vector<M>& gradients, Aggregation how, const Random& random, Site site = Site::current()) {
  if (gradients.empty()) fail("aggregate", "no gradients", {}, site);
  for (const M& gradient : gradients) detail::check_same_shapes("aggregate", gradients[0], gradient, site);
  if (gradients.size() == 1) return gradients[0];
  const double share = 1.0 / static_cast<double>(gradients.size());
  if (how == Aggregation::mean) {
    M total = gradients[0];
    for (std::size_t i = 1; i < gradients.size(); ++i) total = total + gradients[i];
    return share * total;
  }
  using V = decltype(to_vector(gradients[0]));
  std::vector<V> rows;
  for (const M& gradient : gradients) rows.push_back(to_vector(gradient));
  return share * from_vector(pcgrad(stack(rows), random, site), gradients[0]);
}

}  // namespace GRAFT_ABI
}  // namespace graft
