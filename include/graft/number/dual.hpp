#pragma once
// Dual numbers: a value with N partial derivatives. A lambda called with duals of SIMD batches is a fused first-order
// backward pass. Functions other than arithmetic get their duals from the table in ops/elementwise.hpp.
//
// Everything is expanded in place, partial by partial, without loops: only so do compilers keep the partials of a whole
// expression in registers and fold those that are 1.

#include <array>
#include <type_traits>
#include <utility>

#include "graft/number/functions.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// value + sum_i partial[i] e_i with e_i e_j = 0, for a V of SIMD batches. Where a factor of the chain rule is 0, so is
/// the product (`native::chain_product`), as in the graphs of higher derivatives.
template <class V, int N>
struct Dual {
  V value;
  std::array<V, N> partial;

  Dual() = default;
  [[gnu::always_inline]] Dual(V v) : Dual(v, [](auto) { return V(0); }) {}
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] Dual(S scalar) : Dual(V(scalar)) {}
  /// The partials are part(i) for every i, a constant of integral type.
  template <class Part>
  [[gnu::always_inline]] Dual(V v, Part part) : value(v), partial(each(part, std::make_index_sequence<N>())) {}

  /// The i-th independent variable; with i = -1, a constant.
  [[gnu::always_inline]] static Dual variable(V v, int i) {
    return Dual(v, [i](auto n) { return V(static_cast<int>(n) == i ? 1 : 0); });
  }
  /// A function's value, and its slope times the inner partials.
  [[gnu::always_inline]] static Dual chain(V value, V slope, const Dual& inner) {
    return Dual(value, [&](auto i) { return native::chain_product(slope, inner.partial[i]); });
  }
  [[gnu::always_inline]] static Dual chain(V value, V slope_a, const Dual& a, V slope_b, const Dual& b) {
    return Dual(value, [&](auto i) {
      return native::chain_product(slope_a, a.partial[i]) + native::chain_product(slope_b, b.partial[i]);
    });
  }

  [[gnu::always_inline]] friend Dual operator-(const Dual& a) {
    return Dual(-a.value, [&](auto i) { return -a.partial[i]; });
  }
  [[gnu::always_inline]] friend Dual operator+(const Dual& a, const Dual& b) {
    return Dual(a.value + b.value, [&](auto i) { return a.partial[i] + b.partial[i]; });
  }
  [[gnu::always_inline]] friend Dual operator-(const Dual& a, const Dual& b) {
    return Dual(a.value - b.value, [&](auto i) { return a.partial[i] - b.partial[i]; });
  }
  [[gnu::always_inline]] friend Dual operator*(const Dual& a, const Dual& b) {
    return chain(a.value * b.value, b.value, a, a.value, b);
  }
  [[gnu::always_inline]] friend Dual operator/(const Dual& a, const Dual& b) {
    const V inverse = V(1) / b.value, quotient = a.value / b.value;
    return chain(quotient, inverse, a, -quotient * inverse, b);
  }

  // Constants have no partials to compute with.
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] friend Dual operator+(const Dual& a, S b) {
    return Dual(a.value + V(b), [&](auto i) { return a.partial[i]; });
  }
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] friend Dual operator+(S a, const Dual& b) {
    return b + a;
  }
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] friend Dual operator-(const Dual& a, S b) {
    return Dual(a.value - V(b), [&](auto i) { return a.partial[i]; });
  }
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] friend Dual operator-(S a, const Dual& b) {
    return Dual(V(a) - b.value, [&](auto i) { return -b.partial[i]; });
  }
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] friend Dual operator*(const Dual& a, S b) {
    return chain(a.value * V(b), V(b), a);
  }
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] friend Dual operator*(S a, const Dual& b) {
    return b * a;
  }
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] friend Dual operator/(const Dual& a, S b) {
    return chain(a.value / V(b), V(1) / V(b), a);
  }
  template <class S>
    requires std::is_arithmetic_v<S>
  [[gnu::always_inline]] friend Dual operator/(S a, const Dual& b) {
    const V inverse = V(1) / b.value, quotient = V(a) / b.value;
    return chain(quotient, -quotient * inverse, b);
  }

  friend auto operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
  friend auto operator<=(const Dual& a, const Dual& b) { return a.value <= b.value; }
  friend auto operator>(const Dual& a, const Dual& b) { return a.value > b.value; }
  friend auto operator>=(const Dual& a, const Dual& b) { return a.value >= b.value; }
  friend auto operator==(const Dual& a, const Dual& b) { return a.value == b.value; }
  friend auto operator!=(const Dual& a, const Dual& b) { return a.value != b.value; }
  /// a where `mask`, else b.
  template <class Mask>
  [[gnu::always_inline]] friend Dual where(Mask mask, const Dual& a, const Dual& b) {
    return Dual(where(mask, a.value, b.value), [&](auto i) { return where(mask, a.partial[i], b.partial[i]); });
  }

 private:
  template <class Part, std::size_t... I>
  [[gnu::always_inline]] static std::array<V, N> each(Part part, std::index_sequence<I...>) {
    return {part(std::integral_constant<std::size_t, I>())...};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
