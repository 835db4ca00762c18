#pragma once
// map: any lambda as a fused, differentiable elementwise op.

#include "graft/ops/arithmetic.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// out[i] = f(inputs[i]...) elementwise, inputs broadcast by the NumPy rule; fused, differentiable to any order.
/// `f` is generic in its number type and written with graft's elementwise functions and `where` instead of branches. It
/// may capture numbers, never tensors: pass those as inputs.
///
///     auto swish = map([](auto x) { return x / (1 + exp(-x)); }, input);
template <class F, Real T, class... Ts>
  requires(std::is_same_v<T, Ts> && ...)
Tensor<T> map(F f, const Tensor<T>& first, const Tensor<Ts>&... rest) {
  static_assert(std::is_trivially_copyable_v<F>,
                "a map lambda may capture numbers, never tensors: pass tensors as inputs");
  return detail::fused_map(f, first, rest...);
}

}  // namespace GRAFT_ABI
}  // namespace graft
