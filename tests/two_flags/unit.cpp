// One unit of the program: -DUNIT=name gives its function a name of its own, outside graft.

#include "graft/graft.hpp"

/// Sum of the gradient of sum(tanh(x w)) with respect to w: SIMD kernels, threads and the tape, with values that any
/// instruction set gives up to rounding.
double UNIT() {
  using namespace graft;
  const Tensor<> x = rand({37, 19}, Random(1), -1, 1);
  const Tensor<> w = rand({19, 23}, Random(2), -1, 1);
  return sum(grad([&](const Tensor<>& v) { return sum(tanh(matmul(x, v))); }, w)).item();
}
