#pragma once
// The model of the protocol's tests.

#include "graft/nn/linear.hpp"
#include "graft/ops/arithmetic.hpp"

namespace two_layers {

using namespace graft;

struct Net {
  Linear<> hidden, head;
  GRAFT_FIELDS(hidden, head)
  Tensor<> operator()(const Tensor<>& x) const { return head(tanh(hidden(x))); }
};
inline Net make_net() {
  const Random random(3);
  return {Linear<>(4, 16, random.stream("hidden")), Linear<>(16, 1, random.stream("head"))};
}

}  // namespace two_layers
