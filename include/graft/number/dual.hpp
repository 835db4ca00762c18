#pragma once
// Dual numbers: a value with N partial derivatives. A lambda called with duals of SIMD batches is a fused first-order
// backward pass. Functions other than arithmetic get their duals from the table in ops/elementwise.hpp.

#include <array>
#include <type_traits>

#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// value + sum_i partial[i] e_i with e_i e_j = 0.
template <class V, int N>
struct Dual {
  V value;
  std::array<V, N> partial;

  Dual() = default;
  Dual(V v) : value(v) { partial.fill(V(0)); }
  template <class S>
    requires std::is_arithmetic_v<S>
  Dual(S scalar) : Dual(V(scalar)) {}
  /// The i-th independent variable.
  static Dual variable(V v, int i) {
    Dual x(v);
    x.partial[static_cast<std::size_t>(i)] = V(1);
    return x;
  }
  /// A function's value, and its slope times the inner partials.
  static Dual chain(V value, V slope, const Dual& inner) {
    Dual y(value);
    for (std::size_t i = 0; i < N; ++i) y.partial[i] = slope * inner.partial[i];
    return y;
  }
  static Dual chain(V value, V slope_a, const Dual& a, V slope_b, const Dual& b) {
    Dual y(value);
    for (std::size_t i = 0; i < N; ++i) y.partial[i] = slope_a * a.partial[i] + slope_b * b.partial[i];
    return y;
  }

  friend Dual operator-(const Dual& a) { return chain(-a.value, V(-1), a); }
  friend Dual operator+(const Dual& a, const Dual& b) {
    Dual y(a.value + b.value);
    for (std::size_t i = 0; i < N; ++i) y.partial[i] = a.partial[i] + b.partial[i];
    return y;
  }
  friend Dual operator-(const Dual& a, const Dual& b) {
    Dual y(a.value - b.value);
    for (std::size_t i = 0; i < N; ++i) y.partial[i] = a.partial[i] - b.partial[i];
    return y;
  }
  friend Dual operator*(const Dual& a, const Dual& b) { return chain(a.value * b.value, b.value, a, a.value, b); }
  friend Dual operator/(const Dual& a, const Dual& b) {
    const V inverse = V(1) / b.value, quotient = a.value * inverse;
    return chain(quotient, inverse, a, -quotient * inverse, b);
  }
  friend auto operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
  friend auto operator<=(const Dual& a, const Dual& b) { return a.value <= b.value; }
  friend auto operator>(const Dual& a, const Dual& b) { return a.value > b.value; }
  friend auto operator>=(const Dual& a, const Dual& b) { return a.value >= b.value; }
  friend auto operator==(const Dual& a, const Dual& b) { return a.value == b.value; }
  friend auto operator!=(const Dual& a, const Dual& b) { return a.value != b.value; }
  /// a where `mask`, else b.
  template <class Mask>
  friend Dual where(Mask mask, const Dual& a, const Dual& b) {
    Dual y(where(mask, a.value, b.value));
    for (std::size_t i = 0; i < N; ++i) y.partial[i] = where(mask, a.partial[i], b.partial[i]);
    return y;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
