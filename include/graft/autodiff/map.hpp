#pragma once
// map: any lambda as a fused, differentiable elementwise op. One text serves every order: called with SIMD batches it
// is the forward kernel, with duals of batches the first-order backward kernel, with tensors the graph for higher
// orders.

#include "graft/autodiff/fused.hpp"
#include "graft/backend/cpu/map.hpp"
#include "graft/number/dual.hpp"

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
  constexpr int N = 1 + sizeof...(Ts);
  using B = Batch<T>;
  Tensor<T> value = cpu::mapped(
      "map", {}, [&](const std::array<B, N>& x) { return std::array{B(std::apply(f, x))}; }, first, rest...);
  if (!recorded(first, rest...)) return value;

  auto rule = [f, kept = std::tuple(first, rest...)](const Tensor<T>& g, const bool* needed, AnyTensor* results) {
    std::apply(
        [&](const auto&... inputs) {
          if (recording()) {
            detail::replay(f, g, needed, results, inputs...);
            return;
          }
          Tensor<T> gradients[N];
          std::array<T*, N> outputs{};
          for (std::size_t i = 0; i < N; ++i)
            if (needed[i]) {
              gradients[i] = detail::fresh<T>(g.shape());
              outputs[i] = detail::writable(gradients[i]);
            }
          cpu::map_kernel<T, N + 1, N>(g.shape(), outputs, {&g, &inputs...}, [&](const std::array<B, N + 1>& x) {
            using D = Dual<B, N>;
            std::array<D, N> variables;
            for (std::size_t i = 0; i < N; ++i) variables[i] = D::variable(x[i + 1], static_cast<int>(i));
            const D y = std::apply(f, variables);
            std::array<B, N> pulled;
            for (std::size_t i = 0; i < N; ++i) pulled[i] = x[0] * y.partial[i];
            return pulled;
          });
          std::size_t i = 0;
          const auto give = [&](const Tensor<T>& input) {
            if (needed[i]) results[i] = sum_to(gradients[i], input.shape());
            ++i;
          };
          (give(inputs), ...);
        },
        kept);
  };
  return record_jointly("map", std::move(value), std::move(rule), first, rest...);
}

}  // namespace GRAFT_ABI
}  // namespace graft
