#pragma once
// How far two tensors are apart, in tests.

#include <cmath>

#include "catch.hpp"
#include "graft/core/tensor.hpp"

/// The largest difference of two tensors; NaN if there is one.
template <class T>
double gap(const graft::Tensor<T>& a, const graft::Tensor<T>& b) {
  REQUIRE(a.shape() == b.shape());
  double most = 0;
  for (std::size_t i = 0; i < a.span().size(); ++i) {
    const double d = std::abs(static_cast<double>(a.span()[i]) - static_cast<double>(b.span()[i]));
    if (!(d <= most)) most = d;
  }
  return most;
}
