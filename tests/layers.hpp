#pragma once
// What tests of layers share.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "graft/model/context.hpp"

using Names = std::vector<std::string>;

/// A context of a training step.
inline graft::Context training(std::uint64_t seed = 1) {
  return graft::Context(graft::Phase::training, graft::Random(seed));
}

/// Largest |x|.
template <class T>
double largest(const graft::Tensor<T>& x) {
  double most = 0;
  for (T value : x.span()) most = std::max(most, std::abs(static_cast<double>(value)));
  return most;
}
