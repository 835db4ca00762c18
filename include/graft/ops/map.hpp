#pragma once
// map: any lambda as a fused, differentiable elementwise op.

#include "graft/ops/arithmetic.hpp"
#include "graft/ops/std_functions.hpp"

namespace graft {
inline namespace GRAFT_ABI {

// A lambda that computes with a tensor that it captured would fail deep inside a kernel with every operator that there
// is. Instead it is told why, once: by the operators of batches. Those of duals are never called.
#define GRAFT_TENSOR_IN_MAP "a map lambda may capture numbers, never tensors: pass tensors as inputs of map"
template <class T, class U>
Batch<T> operator+(Batch<T> x, const Tensor<U>&) {
  static_assert(std::is_void_v<T>, GRAFT_TENSOR_IN_MAP);
  return x;
}
template <class T, class U>
Batch<T> operator+(const Tensor<U>&, Batch<T> x) {
  static_assert(std::is_void_v<T>, GRAFT_TENSOR_IN_MAP);
  return x;
}
template <class T, class U>
Batch<T> operator-(Batch<T> x, const Tensor<U>&) {
  static_assert(std::is_void_v<T>, GRAFT_TENSOR_IN_MAP);
  return x;
}
template <class T, class U>
Batch<T> operator-(const Tensor<U>&, Batch<T> x) {
  static_assert(std::is_void_v<T>, GRAFT_TENSOR_IN_MAP);
  return x;
}
template <class T, class U>
Batch<T> operator*(Batch<T> x, const Tensor<U>&) {
  static_assert(std::is_void_v<T>, GRAFT_TENSOR_IN_MAP);
  return x;
}
template <class T, class U>
Batch<T> operator*(const Tensor<U>&, Batch<T> x) {
  static_assert(std::is_void_v<T>, GRAFT_TENSOR_IN_MAP);
  return x;
}
template <class T, class U>
Batch<T> operator/(Batch<T> x, const Tensor<U>&) {
  static_assert(std::is_void_v<T>, GRAFT_TENSOR_IN_MAP);
  return x;
}
template <class T, class U>
Batch<T> operator/(const Tensor<U>&, Batch<T> x) {
  static_assert(std::is_void_v<T>, GRAFT_TENSOR_IN_MAP);
  return x;
}
#define GRAFT_TENSOR_AND_DUAL(symbol)                               \
  template <class V, int N, class U>                                \
  Dual<V, N> operator symbol(const Dual<V, N>&, const Tensor<U>&);  \
  template <class V, int N, class U>                                \
  Dual<V, N> operator symbol(const Tensor<U>&, const Dual<V, N>&);
GRAFT_TENSOR_AND_DUAL(+)
GRAFT_TENSOR_AND_DUAL(-)
GRAFT_TENSOR_AND_DUAL(*)
GRAFT_TENSOR_AND_DUAL(/)
#undef GRAFT_TENSOR_AND_DUAL

/// out[i] = f(inputs[i]...) elementwise, inputs broadcast by the NumPy rule; fused, differentiable to any order.
/// `f` is generic in its number type and written with graft's elementwise functions and `where` instead of branches. It
/// may capture numbers, never tensors: pass those as inputs.
///
///     auto swish = map([](auto x) { return x / (1 + exp(-x)); }, input);
template <class F, Real T, class... Ts>
  requires(std::is_same_v<T, Ts> && ...)
Tensor<T> map(F f, const Tensor<T>& first, const Tensor<Ts>&... rest) {
  static_assert(std::is_trivially_copyable_v<F>, GRAFT_TENSOR_IN_MAP);
  if constexpr (std::is_trivially_copyable_v<F>) {
    // Compiled here first, so that a compiler's message about the lambda leads straight to this call.
    static_assert(sizeof(f(first, rest...)) > 0);
    static_assert(sizeof(f(std::declval<Batch<T>>(), std::declval<Batch<Ts>>()...)) > 0);
    return detail::fused_map(f, first, rest...);
  } else {
    return first;
  }
}
#undef GRAFT_TENSOR_IN_MAP

}  // namespace GRAFT_ABI
}  // namespace graft
