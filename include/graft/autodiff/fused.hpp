#pragma once
// Fused ops: defined by a readable composite of other ops, accelerated by kernels where there are any. A plain backward
// runs the backward kernel; a backward that must itself be differentiable replays the composite on identity nodes, one
// an argument (so a tensor passed twice is counted right), and differentiates that. Hence every fused op has
// derivatives of any order. An op without a backward kernel is `recompute`: nothing but its inputs is stored.

#include <tuple>

#include "graft/autodiff/backward.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a forward kernel returns: the value, and whatever its backward kernel wants to see again. Saved tensors are
/// numbers outside the tape.
template <class T, class Saved>
struct Fused {
  Tensor<T> value;
  Saved saved;
};

namespace detail {

template <class T>
Tensor<T> replay_argument(const Tensor<T>& x, bool needed, bool linked) {
  if constexpr (Real<T>)
    if (needed) return linked ? identity(x) : variable(x);
  return x.detach();
}

/// Sets results[i] to the gradient of `composite` with respect to input i, for each needed i.
template <class Composite, class T, class... Us>
void replay(const Composite& composite, const Tensor<T>& gradient, const bool* needed, AnyTensor* results,
            const Tensor<Us>&... inputs) {
  const bool linked = recording();
  constexpr std::size_t kCount = sizeof...(Us);
  std::size_t next = 0;
  // Braces fix the order of evaluation.
  const std::tuple<Tensor<Us>...> arguments{
      [&] {
        const bool wanted = needed[next++];
        return replay_argument(inputs, wanted, linked);
      }()...};
  Tensor<T> value = [&] {
    const Recording on(true);
    const Differentiating here;
    return std::apply(composite, arguments);
  }();
  Node* targets[kCount];
  std::apply(
      [&](const auto&... argument) {
        std::size_t i = 0;
        ((targets[i] = needed[i] ? node_of(argument) : nullptr, ++i), ...);
      },
      arguments);
  std::vector<AnyTensor> gradients = backward(std::move(value), gradient, targets, linked, true);
  for (std::size_t i = 0; i < kCount; ++i)
    if (needed[i]) results[i] = std::move(gradients[i]);
}

}  // namespace detail

/// A fused op of the given inputs.
///   composite(inputs...) -> Tensor<T>                            the definition, in differentiable ops
///   forward(inputs...) -> Fused<T, Saved>                        the kernel of the value
///   backward(g, saved, needed, results, inputs...)               the kernel of the first derivatives: sets results[i]
///                                                                where needed[i]
/// The kernels see inputs outside any tape. The composite may be called at any time later: capture by value.
template <class Composite, class Forward, class Backward, class... Us>
auto fused(const char* op, Composite composite, Forward forward, Backward backward, const Tensor<Us>&... inputs) {
  auto result = [&] {
    Recording off(false);
    return forward(inputs...);
  }();
  using T = typename decltype(result.value)::Scalar;
  if (!recorded(inputs...)) return result.value;
  auto rule = [composite = std::move(composite), backward = std::move(backward), saved = std::move(result.saved),
               kept = std::tuple(inputs...)](const Tensor<T>& g, const bool* needed, AnyTensor* results) {
    std::apply(
        [&](const auto&... input) {
          if (recording())
            detail::replay(composite, g, needed, results, input...);
          else
            backward(g, saved, needed, results, input...);
        },
        kept);
  };
  return record_jointly(op, std::move(result.value), std::move(rule), inputs...);
}

/// f(inputs...) storing nothing but the inputs: f runs again when gradients are asked for (known as gradient
/// checkpointing). Any order. `f` must be a pure function of its arguments (random ops save their stream and index, so
/// they repeat their numbers) and outlive the call by value: capture copies, never references.
template <class F, class... Us>
auto recompute(F f, const Tensor<Us>&... inputs) {
  auto value = [&] {
    Recording off(false);
    return f(inputs.detach()...);
  }();
  using T = typename decltype(value)::Scalar;
  if (!recorded(inputs...)) return value;
  auto rule = [f = std::move(f), kept = std::tuple(inputs...)](const Tensor<T>& g, const bool* needed,
                                                               AnyTensor* results) {
    std::apply([&](const auto&... input) { detail::replay(f, g, needed, results, input...); }, kept);
  };
  return record_jointly("recompute", std::move(value), std::move(rule), inputs...);
}

}  // namespace GRAFT_ABI
}  // namespace graft
