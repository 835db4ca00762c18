#pragma once
// What tests of layers share.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "graft/model/context.hpp"
#include "graft/nn/linear.hpp"

using Names = std::vector<std::string>;

/// A context of a training step.
inline graft::Context training(std::uint64_t seed = 1) {
  return graft::Context(graft::Phase::training, graft::Random(seed));
}

/// x as it is.
struct Same {
  GRAFT_FIELDS()
  template <class T>
  graft::Tensor<T> operator()(const graft::Tensor<T>& x) const {
    return x;
  }
};
/// tanh(W x + b): a layer with curvature.
template <class T>
struct TanhLayer {
  graft::Linear<T> map;
  GRAFT_FIELDS(map)
  TanhLayer() = default;
  TanhLayer(graft::Index in, graft::Index out, const graft::Random& random) : map(in, out, random) {}
  graft::Tensor<T> operator()(const graft::Tensor<T>& x) const { return tanh(map(x)); }
};

/// Largest |x|.
template <class T>
double largest(const graft::Tensor<T>& x) {
  double most = 0;
  for (T value : x.span()) most = std::max(most, std::abs(static_cast<double>(value)));
  return most;
}
