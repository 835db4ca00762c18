#pragma once
// An expression as a fused, differentiable elementwise op: what `map` and the derived rows of the table run on. One text
// serves every order: called with SIMD batches it is the forward kernel, with duals of batches the first-order backward
// kernel, with tensors the graph for higher orders.

#include "graft/autodiff/fused.hpp"
#include "graft/backend/cpu/map.hpp"
#include "graft/number/dual.hpp"
#include "graft/number/known.hpp"
#include "graft/ops/broadcast.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

template <class F, std::size_t... I>
constexpr auto known_slopes(std::index_sequence<I...>) {
  constexpr int N = sizeof...(I);
  return KnownSlopes<N>(F()(KnownSlopes<N>::variable(I)...));
}

/// Which of the N arguments of F have their gradient computed, as the partial derivatives of a dual: all but those that
/// F, if it captured nothing, only adds.
template <class F, int N>
struct MapSlots {
  int count = 0, slot_of[N] = {}, argument_of[N] = {};  ///< slot_of[i] = -1 for an argument that is only added

  constexpr MapSlots() {
    bool added[N] = {};
    if constexpr (N > 1 && std::is_empty_v<F> && std::is_default_constructible_v<F>) {
      using Arguments = std::make_index_sequence<N>;
      if constexpr (requires { typename std::bool_constant<(known_slopes<F>(Arguments()), true)>; })
        for (int i = 0; i < N; ++i) added[i] = known_slopes<F>(Arguments()).slope[i] == KnownSlopes<N>::kOne;
    }
    for (int i = 0; i < N; ++i) {
      slot_of[i] = added[i] ? -1 : count;
      if (!added[i]) argument_of[count++] = i;
    }
  }
};

/// What reaches the arguments of f from the gradient of its value, those that are `needed`, in one pass; `seen` are that
/// gradient and the arguments. Not yet summed over what was broadcast, except where an argument repeats in every row.
template <class F, class T, std::size_t Seen>
auto map_gradients(const F& f, const std::array<const Tensor<T>*, Seen>& seen, const bool* needed) {
  constexpr int N = Seen - 1;
  static constexpr MapSlots<F, N> slots;
  constexpr int M = slots.count;
  const Tensor<T>& g = *seen[0];
  std::array<Tensor<T>, N> gradients;
  bool any = false;
  for (std::size_t i = 0; i < N; ++i) {
    if (slots.slot_of[i] < 0)
      gradients[i] = g;
    else
      any |= needed[i];
  }
  if constexpr (M > 0) {
    if (!any) return gradients;
    std::array<T*, M> outputs{};
    std::array<bool, M> summed{};
    bool same_row[Seen];
    cpu::find_same_rows<T>(g.shape(), seen.data(), Seen, same_row);
    for (std::size_t m = 0; m < M; ++m) {
      const auto i = static_cast<std::size_t>(slots.argument_of[m]);
      if (!needed[i]) continue;
      summed[m] = same_row[i + 1];
      gradients[i] = fresh<T>(summed[m] ? seen[i + 1]->shape() : g.shape());
      outputs[m] = writable(gradients[i]);
    }
    using B = Simd<T>;
    cpu::map_gradients<T, Seen, M>(g.shape(), outputs, summed, seen, [&](const std::array<B, Seen>& x) {
      return [&]<std::size_t... i, std::size_t... m>(std::index_sequence<i...>, std::index_sequence<m...>) {
        const Dual<B, M> y = f(Dual<B, M>::variable(x[i + 1], slots.slot_of[i])...);
        return std::array{native::chain_product(x[0], y.partial[m])...};
      }(std::make_index_sequence<N>(), std::make_index_sequence<M>());
    });
  }
  return gradients;
}

/// out[i] = f(inputs[i]...), called by `op` at `site`. The tensor functions that `f` calls must be declared where it is
/// written.
template <class F, Real T, class... Ts>
Tensor<T> fused_map(const char* op, Site site, F f, const Tensor<T>& first, const Tensor<Ts>&... rest) {
  static constexpr int N = 1 + sizeof...(Ts);
  using B = Simd<T>;
  Tensor<T> value = cpu::mapped(
      op, site, [&](const std::array<B, N>& x) { return std::array{B(std::apply(f, x))}; }, first, rest...);
  if (!recorded(first, rest...)) return value;

  auto rule = [f, kept = std::tuple(first, rest...)](const Tensor<T>& g, const bool* needed, AnyTensor* results) {
    std::apply(
        [&](const auto&... inputs) {
          if (recording()) {
            replay(f, g, needed, results, inputs...);
            return;
          }
          auto gradients = map_gradients(f, std::array<const Tensor<T>*, N + 1>{&g, &inputs...}, needed);
          std::size_t i = 0;
          const auto give = [&](const Tensor<T>& input) {
            if (needed[i]) results[i] = sum_to(std::move(gradients[i]), input.shape());
            ++i;
          };
          (give(inputs), ...);
        },
        kept);
  };
  return record_jointly(op, std::move(value), std::move(rule), first, rest...);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
