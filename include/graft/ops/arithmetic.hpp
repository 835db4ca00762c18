#pragma once
// Comparisons, where, casts, and elementwise functions with numbers as options. All broadcast by the NumPy rule.

#include "graft/ops/elementwise.hpp"

namespace graft {
inline namespace GRAFT_ABI {

// Elementwise functions of a tensor and a number.
#define GRAFT_WITH_NUMBER(function)                                                      \
  template <Real T, class S>                                                             \
    requires std::is_arithmetic_v<S>                                                     \
  Tensor<T> function(const Tensor<T>& x, S y) {                                          \
    return detail::binary<row::function##_row>(x, Tensor<T>(static_cast<T>(y)));               \
  }
GRAFT_WITH_NUMBER(pow)
GRAFT_WITH_NUMBER(maximum)
GRAFT_WITH_NUMBER(minimum)
#undef GRAFT_WITH_NUMBER

namespace detail {

template <class T, class F>
Tensor<bool> compare(const char* op, const Tensor<T>& x, const Tensor<T>& y, F f) {
  const Shape shape = checked_broadcast(op, {"x", x.shape()}, {"y", y.shape()}, {});
  Tensor<bool> result = fresh<bool>(shape);
  cpu::map_scalars<bool>(shape, writable(result), f, x, y);
  return result;
}

}  // namespace detail

// Comparisons give Tensor<bool>, which carries no gradient.
#define GRAFT_COMPARISON(symbol)                                                                          \
  template <class T>                                                                                      \
  Tensor<bool> operator symbol(const Tensor<T>& x, const Tensor<T>& y) {                                  \
    return detail::compare("operator" #symbol, x, y, [](T a, T b) { return a symbol b; });                \
  }                                                                                                       \
  template <class T, class S>                                                                             \
    requires std::is_arithmetic_v<S>                                                                      \
  Tensor<bool> operator symbol(const Tensor<T>& x, S y) {                                                 \
    return detail::compare("operator" #symbol, x, Tensor<T>(static_cast<T>(y)), [](T a, T b) { return a symbol b; }); \
  }                                                                                                       \
  template <class T, class S>                                                                             \
    requires std::is_arithmetic_v<S>                                                                      \
  Tensor<bool> operator symbol(S x, const Tensor<T>& y) {                                                 \
    return detail::compare("operator" #symbol, Tensor<T>(static_cast<T>(x)), y, [](T a, T b) { return a symbol b; }); \
  }
GRAFT_COMPARISON(<)
GRAFT_COMPARISON(<=)
GRAFT_COMPARISON(>)
GRAFT_COMPARISON(>=)
GRAFT_COMPARISON(==)
GRAFT_COMPARISON(!=)
#undef GRAFT_COMPARISON

inline Tensor<bool> operator!(const Tensor<bool>& x) {
  return detail::compare("operator!", x, x, [](bool a, bool) { return !a; });
}
inline Tensor<bool> operator&&(const Tensor<bool>& x, const Tensor<bool>& y) {
  return detail::compare("operator&&", x, y, [](bool a, bool b) { return a && b; });
}
inline Tensor<bool> operator||(const Tensor<bool>& x, const Tensor<bool>& y) {
  return detail::compare("operator||", x, y, [](bool a, bool b) { return a || b; });
}

/// a where `mask`, else b; elementwise, all three broadcast. No gradient flows through the side not taken.
template <Real T>
Tensor<T> where(const Tensor<bool>& mask, const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  Shape values, shape;
  if (!broadcast_shapes(a.shape(), b.shape(), values) || !broadcast_shapes(mask.shape(), values, shape))
    fail<ShapeError>("where", "shapes do not broadcast", {{"mask", mask.shape()}, {"a", a.shape()}, {"b", b.shape()}},
                     site);
  Tensor<T> value = detail::fresh<T>(shape, "where", site);
  cpu::map_scalars<T>(
      shape, detail::writable(value), [](bool m, T x, T y) { return m ? x : y; }, mask, a, b);
  if (!recorded(a, b)) return value;
  return record(
      "where", std::move(value),
      Edge(a, [mask, own = a.shape()](const Tensor<T>& g) { return sum_to(where(mask, g, Tensor<T>(T(0))), own); }),
      Edge(b, [mask, own = b.shape()](const Tensor<T>& g) { return sum_to(where(mask, Tensor<T>(T(0)), g), own); }));
}
template <Real T, class S>
  requires std::is_arithmetic_v<S>
Tensor<T> where(const Tensor<bool>& mask, const Tensor<T>& a, S b) {
  return where(mask, a, Tensor<T>(static_cast<T>(b)));
}
template <Real T, class S>
  requires std::is_arithmetic_v<S>
Tensor<T> where(const Tensor<bool>& mask, S a, const Tensor<T>& b) {
  return where(mask, Tensor<T>(static_cast<T>(a)), b);
}

/// The numbers of `x` as type To. Between float and double gradients flow (and are converted back); fractions are cut
/// off on the way to integers.
template <class To, class From>
Tensor<To> cast(const Tensor<From>& x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else {
    Tensor<To> value = detail::fresh<To>(x.shape());
    cpu::map_scalars<To>(
        x.shape(), detail::writable(value), [](From v) { return static_cast<To>(v); }, x);
    if constexpr (Real<To> && Real<From>)
      return record("cast", std::move(value), Edge(x, [](const Tensor<To>& g) { return cast<From>(g); }));
    else
      return value;
  }
}

/// max(x, 0) + slope min(x, 0).
template <Real T>
Tensor<T> leaky_relu(const Tensor<T>& x, double slope = 0.01) {
  return detail::fused_map([slope](auto v) { return where(v > 0, v, slope * v); }, x);
}
/// x where x > 0, else alpha (e^x - 1). Clevert, Unterthiner, Hochreiter, ICLR 2016.
template <Real T>
Tensor<T> elu(const Tensor<T>& x, double alpha = 1) {
  return detail::fused_map([alpha](auto v) { return where(v > 0, v, alpha * expm1(where(v > 0, 0, v))); }, x);
}
/// x limited to [low, high]; slope 1 inside and on the limits, 0 outside.
template <Real T>
Tensor<T> clamp(const Tensor<T>& x, double low, double high, Site site = Site::current()) {
  if (!(low <= high)) fail("clamp", {"low ", low, " is above high ", high}, {{"x", x.shape()}}, site);
  return detail::fused_map([low, high](auto v) { return where(v < low, low, where(v > high, high, v)); }, x);
}

}  // namespace GRAFT_ABI
}  // namespace graft
