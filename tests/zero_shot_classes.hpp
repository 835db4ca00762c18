#pragma once
// What rows of the method table for zero-shot methods share.

#include "graft/graft.hpp"

namespace zero_shot_classes {

using namespace graft;
using Numbers = Tensor<double>;
using Labels = Tensor<std::int64_t>;

inline double distance(const Numbers& a, const Numbers& b) { return max(abs(a - b)).item(); }
inline Labels in_turn(Index items, Index classes) {
  return generate({items}, [=](Index i) { return i % classes; });
}

}  // namespace zero_shot_classes
