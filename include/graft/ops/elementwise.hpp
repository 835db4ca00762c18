#pragma once
// The functions of the table of elementwise ops (ops/elementwise_table.hpp) on tensors, batches and duals, and the
// operators + - * / that are rows of it. All broadcast by the NumPy rule.

#include "graft/core/refuse.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/elementwise_table.hpp"
#include "graft/ops/map_kernels.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Constant slopes: a gradient times One is itself, without work or storage.
struct One {
  template <class T>
  operator Simd<T>() const {
    return Simd<T>(1);
  }
};
/// See `One`.
struct MinusOne {
  template <class T>
  operator Simd<T>() const {
    return Simd<T>(-1);
  }
};

namespace row {

/// 2 u of gelu_tanh, u = sqrt(2 / pi) (x + 0.044715 x^3), and its slope.
template <class X>
[[gnu::always_inline]] inline X gelu_cubic(const X& x) {
  return x * (1.5957691216057307 + 0.071354816272600234 * x * x);
}
template <class X>
[[gnu::always_inline]] inline X gelu_cubic_slope(const X& x) {
  return 1.5957691216057307 + 3 * 0.071354816272600234 * x * x;
}

/// Stands for an argument that a slope is tried without: a slope that does not compile without it needs it saved.
struct Absent {};

#define GRAFT_UNARY_STRUCT(op, value_, slope_, low_, high_, doc_)                                     \
  struct op##_row {                                                                                   \
    static constexpr const char *name = #op, *doc = doc_;                                             \
    static constexpr double low = low_, high = high_;                                                 \
    template <class X>                                                                                \
    static X value(const X& x) {                                                                      \
      return value_;                                                                                  \
    }                                                                                                 \
    template <class X, class Y>                                                                       \
    static auto slope([[maybe_unused]] const X& x, [[maybe_unused]] const Y& y) -> decltype(slope_) { \
      return slope_;                                                                                  \
    }                                                                                                 \
  };
#define GRAFT_INDICATOR_STRUCT(op, value_, doc_)          \
  struct op##_row {                                       \
    static constexpr const char *name = #op, *doc = doc_; \
    template <class X>                                    \
    static X value(const X& x) {                          \
      return value_;                                      \
    }                                                     \
  };
#define GRAFT_DERIVED_STRUCT(op, value_, low_, high_, doc_) \
  struct op##_row {                                         \
    static constexpr const char *name = #op, *doc = doc_;   \
    static constexpr double low = low_, high = high_;       \
    template <class X>                                      \
    X operator()(const X& x) const {                        \
      return value_;                                        \
    }                                                       \
  };
#define GRAFT_BINARY_STRUCT(op, value_, slope_x_, slope_y_, low_x_, high_x_, low_y_, high_y_, doc_)            \
  struct op##_row {                                                                                            \
    static constexpr const char *name = #op, *doc = doc_;                                                      \
    static constexpr double low_x = low_x_, high_x = high_x_, low_y = low_y_, high_y = high_y_;                \
    template <class X>                                                                                         \
    static X value(const X& x, const X& y) {                                                                   \
      return value_;                                                                                           \
    }                                                                                                          \
    template <class X, class Y, class Z>                                                                       \
    static auto slope_x([[maybe_unused]] const X& x, [[maybe_unused]] const Y& y, [[maybe_unused]] const Z& z) \
        -> decltype(slope_x_) {                                                                                \
      return slope_x_;                                                                                         \
    }                                                                                                          \
    template <class X, class Y, class Z>                                                                       \
    static auto slope_y([[maybe_unused]] const X& x, [[maybe_unused]] const Y& y, [[maybe_unused]] const Z& z) \
        -> decltype(slope_y_) {                                                                                \
      return slope_y_;                                                                                         \
    }                                                                                                          \
  };
#define GRAFT_BINARY_INDICATOR_STRUCT(op, value_, doc_)   \
  struct op##_row {                                       \
    static constexpr const char *name = #op, *doc = doc_; \
    template <class X>                                    \
    static X value(const X& x, const X& y) {              \
      return value_;                                      \
    }                                                     \
  };
GRAFT_UNARY_ROWS(GRAFT_UNARY_STRUCT)
GRAFT_INDICATOR_ROWS(GRAFT_INDICATOR_STRUCT)
GRAFT_DERIVED_ROWS(GRAFT_DERIVED_STRUCT)
GRAFT_BINARY_ROWS(GRAFT_BINARY_STRUCT)
GRAFT_BINARY_INDICATOR_ROWS(GRAFT_BINARY_INDICATOR_STRUCT)
#undef GRAFT_UNARY_STRUCT
#undef GRAFT_INDICATOR_STRUCT
#undef GRAFT_DERIVED_STRUCT
#undef GRAFT_BINARY_STRUCT
#undef GRAFT_BINARY_INDICATOR_STRUCT

}  // namespace row

namespace detail {

template <class Row, class T>
Tensor<T> unary_value(const Tensor<T>& x) {
  return cpu::mapped(
      Row::name, {}, [](const std::array<Simd<T>, 1>& b) { return std::array{Row::value(b[0])}; }, x);
}

template <class Row, class T>
Tensor<T> unary(const Tensor<T>& x);

/// The rule of a unary row: gradient times slope. Keeps the value where the slope reads it: its numbers are there
/// anyway, computing them again is not free.
template <class Row, class T>
struct UnaryRule {
  using A = row::Absent;
  using V = Tensor<T>;
  static constexpr bool reads_x = !requires(A x, Simd<T> (*y)()) { Row::slope(x, y); };
  static constexpr bool reads_y = !requires(Simd<T> x, A y) { Row::slope(x, y); };
  V x;
  std::conditional_t<reads_y, V, A> y;

  UnaryRule(const V& argument, const V& value) : x(argument) {
    if constexpr (reads_y) y = value;
  }
  V operator()(const V& g) const {
    if (recording()) return chain_product(g, Row::slope(x, [&] { return unary<Row>(x); }));
    using B = Simd<T>;
    if constexpr (!reads_y)
      return times_slope([](const std::array<B, 2>& b) { return Row::slope(b[1], A()); }, g, x);
    else if constexpr (!reads_x)
      return times_slope([](const std::array<B, 2>& b) { return Row::slope(A(), [&] { return b[1]; }); }, g, y);
    else
      return times_slope([](const std::array<B, 3>& b) { return Row::slope(b[1], [&] { return b[2]; }); }, g, x, y);
  }
  template <class Slope, class... Kept>
  static V times_slope(Slope slope, const V& g, const Kept&... kept) {
    using Inputs = std::array<Simd<T>, 1 + sizeof...(Kept)>;
    return cpu::mapped(
        Row::name, {},
        [slope](const Inputs& b) { return std::array{native::chain_product(b[0], Simd<T>(slope(b)))}; }, g, kept...);
  }
};

template <class Row, class T>
Tensor<T> unary(const Tensor<T>& x) {
  const Tensor<T> value = unary_value<Row>(x);
  if (!recorded(x)) return value;
  return record(Row::name, value, Edge(x, UnaryRule<Row, T>(x, value)));
}

template <class Row, class T>
Tensor<T> binary_value(const Tensor<T>& x, const Tensor<T>& y, Site site) {
  return cpu::mapped(
      Row::name, site, [](const std::array<Simd<T>, 2>& b) { return std::array{Row::value(b[0], b[1])}; }, x, y);
}

template <class Row, class T>
Tensor<T> binary(const Tensor<T>& x, const Tensor<T>& y, Site site = {});

/// The slope of argument I, on whatever numbers.
template <class Row, int I>
struct Slope {
  template <class X, class Y, class Z>
  auto operator()(const X& x, const Y& y, const Z& z) const
    requires(I == 0 ? requires { Row::slope_x(x, y, z); } : requires { Row::slope_y(x, y, z); })
  {
    if constexpr (I == 0)
      return Row::slope_x(x, y, z);
    else
      return Row::slope_y(x, y, z);
  }
};

/// The rule of argument I of a binary row: gradient times slope, summed over what was broadcast. Saves only the
/// arguments that the slope reads.
template <class Row, class T, int I>
struct BinaryRule {
  using A = row::Absent;
  using V = Tensor<T>;
  using S = Slope<Row, I>;
  /// Whether the slope is an expression without some arguments. Absent itself is none: the slope of x y in x is y.
  template <class X, class Y>
  static constexpr bool without() {
    if constexpr (requires(X x, Y y, A z) { S()(x, y, z); })
      return !std::is_same_v<decltype(S()(std::declval<X>(), std::declval<Y>(), A())), A>;
    else
      return false;
  }
  static constexpr bool constant = without<A, A>();
  static constexpr bool reads_x = !constant && !without<A, V>();
  static constexpr bool reads_y = !constant && !without<V, A>();
  std::conditional_t<reads_x, V, A> x;
  std::conditional_t<reads_y, V, A> y;
  Shape own;

  BinaryRule(const V& a, const V& b) : own(I == 0 ? a.shape() : b.shape()) {
    if constexpr (reads_x) x = a;
    if constexpr (reads_y) y = b;
  }
  V operator()(const V& g) const {
    if constexpr (constant) {
      if constexpr (std::is_same_v<decltype(S()(A(), A(), A())), One>)
        return sum_to(g, own);
      else
        return sum_to(-g, own);
    } else {
      if (recording()) {
        const auto z = [&] {
          if constexpr (reads_x && reads_y) return binary<Row>(x, y);
        };
        return sum_to(chain_product(g, V(S()(x, y, z))), own);
      }
      using B = Simd<T>;
      const V& first = [&]() -> const V& {
        if constexpr (reads_x) return x;
        else return y;
      }();
      const V& second = [&]() -> const V& {
        if constexpr (reads_y) return y;
        else return x;
      }();
      V product = cpu::mapped(
          Row::name, {},
          [](const std::array<B, 3>& b) {
            const auto z = [&] { return Row::value(b[1], b[2]); };
            return std::array{native::chain_product(b[0], B(S()(b[1], b[2], z)))};
          },
          g, first, second);
      return sum_to(std::move(product), own);
    }
  }
};

template <class Row, class T>
Tensor<T> binary(const Tensor<T>& x, const Tensor<T>& y, Site site) {
  Tensor<T> value = binary_value<Row>(x, y, site);
  if (!recorded(x, y)) return value;
  return record(Row::name, std::move(value), Edge(x, BinaryRule<Row, T, 0>(x, y)),
                Edge(y, BinaryRule<Row, T, 1>(x, y)));
}

}  // namespace detail

// The functions of every row, on tensors, batches, duals and what is known before any number is. Tensors of other types
// are told so in one line.
#define GRAFT_REFUSED_UNARY(op)           \
  template <Whole T>                      \
  Tensor<T> op(const Tensor<T>& x) {      \
    return detail::refuse_types<T, T>(x); \
  }
#define GRAFT_REFUSED_BINARY(op)                                  \
  template <class T, class U>                                     \
    requires(!Real<T> || !std::is_same_v<T, U>)                   \
  Tensor<T> op(const Tensor<T>& x, const Tensor<U>&, Site = {}) { \
    return detail::refuse_types<T, U>(x);                         \
  }
#define GRAFT_UNARY_KNOWN(op)         \
  template <KnownNumber X>            \
  constexpr auto op(const X& x) {     \
    return detail::known_function(x); \
  }
#define GRAFT_BINARY_KNOWN(op)                \
  template <class X, class Y>                 \
    requires KnownPair<X, Y>                  \
  constexpr auto op(const X& x, const Y& y) { \
    return detail::known_function(x, y);      \
  }
#define GRAFT_UNARY_FUNCTIONS(op, value_, slope_, low_, high_, doc_)                             \
  template <Real T>                                                                              \
  Tensor<T> op(const Tensor<T>& x) {                                                             \
    return detail::unary<row::op##_row>(x);                                                      \
  }                                                                                              \
  template <class T>                                                                             \
  Simd<T> op(Simd<T> x) {                                                                        \
    return row::op##_row::value(x);                                                              \
  }                                                                                              \
  GRAFT_REFUSED_UNARY(op)                                                                        \
  GRAFT_UNARY_KNOWN(op)                                                                          \
  template <class V, int N>                                                                      \
  Dual<V, N> op(const Dual<V, N>& x) {                                                           \
    const V value = op(x.value);                                                                 \
    return Dual<V, N>::chain(value, V(row::op##_row::slope(x.value, [&] { return value; })), x); \
  }
#define GRAFT_INDICATOR_FUNCTIONS(op, value_, doc_) \
  template <Real T>                                 \
  Tensor<T> op(const Tensor<T>& x) {                \
    return detail::unary_value<row::op##_row>(x);   \
  }                                                 \
  template <class T>                                \
  Simd<T> op(Simd<T> x) {                           \
    return row::op##_row::value(x);                 \
  }                                                 \
  GRAFT_REFUSED_UNARY(op)                           \
  GRAFT_UNARY_KNOWN(op)                             \
  template <class V, int N>                         \
  Dual<V, N> op(const Dual<V, N>& x) {              \
    return Dual<V, N>(op(x.value));                 \
  }
#define GRAFT_DERIVED_FUNCTIONS(op, value_, low_, high_, doc_) \
  template <Real T>                                            \
  Tensor<T> op(const Tensor<T>& x) {                           \
    return detail::fused_map(#op, {}, row::op##_row(), x);     \
  }                                                            \
  template <class T>                                           \
  Simd<T> op(Simd<T> x) {                                      \
    return row::op##_row()(x);                                 \
  }                                                            \
  GRAFT_REFUSED_UNARY(op)                                      \
  GRAFT_UNARY_KNOWN(op)                                        \
  template <class V, int N>                                    \
  Dual<V, N> op(const Dual<V, N>& x) {                         \
    return row::op##_row()(x);                                 \
  }
#define GRAFT_BINARY_FUNCTIONS(op, value_, slope_x_, slope_y_, low_x_, high_x_, low_y_, high_y_, doc_) \
  template <Real T>                                                                                    \
  Tensor<T> op(const Tensor<T>& x, const Tensor<T>& y, Site site = Site::current()) {                  \
    return detail::binary<row::op##_row>(x, y, site);                                                  \
  }                                                                                                    \
  template <class T>                                                                                   \
  Simd<T> op(Simd<T> x, std::type_identity_t<Simd<T>> y) {                                             \
    return row::op##_row::value(x, y);                                                                 \
  }                                                                                                    \
  GRAFT_REFUSED_BINARY(op)                                                                             \
  GRAFT_BINARY_KNOWN(op)                                                                               \
  template <class V, int N>                                                                            \
  Dual<V, N> op(const Dual<V, N>& x, const std::type_identity_t<Dual<V, N>>& y) {                      \
    const V value = row::op##_row::value(x.value, y.value);                                            \
    const auto z = [&] { return value; };                                                              \
    return Dual<V, N>::chain(value, V(row::op##_row::slope_x(x.value, y.value, z)), x,                 \
                             V(row::op##_row::slope_y(x.value, y.value, z)), y);                       \
  }
#define GRAFT_BINARY_INDICATOR_FUNCTIONS(op, value_, doc_)                            \
  template <Real T>                                                                   \
  Tensor<T> op(const Tensor<T>& x, const Tensor<T>& y, Site site = Site::current()) { \
    return detail::binary_value<row::op##_row>(x, y, site);                           \
  }                                                                                   \
  template <class T>                                                                  \
  Simd<T> op(Simd<T> x, std::type_identity_t<Simd<T>> y) {                            \
    return row::op##_row::value(x, y);                                                \
  }                                                                                   \
  GRAFT_REFUSED_BINARY(op)                                                            \
  GRAFT_BINARY_KNOWN(op)                                                              \
  template <class V, int N>                                                           \
  Dual<V, N> op(const Dual<V, N>& x, const std::type_identity_t<Dual<V, N>>& y) {     \
    return Dual<V, N>(op(x.value, y.value));                                          \
  }
GRAFT_UNARY_ROWS(GRAFT_UNARY_FUNCTIONS)
GRAFT_INDICATOR_ROWS(GRAFT_INDICATOR_FUNCTIONS)
GRAFT_DERIVED_ROWS(GRAFT_DERIVED_FUNCTIONS)
GRAFT_BINARY_ROWS(GRAFT_BINARY_FUNCTIONS)
GRAFT_BINARY_INDICATOR_ROWS(GRAFT_BINARY_INDICATOR_FUNCTIONS)
#undef GRAFT_REFUSED_UNARY
#undef GRAFT_REFUSED_BINARY
#undef GRAFT_UNARY_KNOWN
#undef GRAFT_BINARY_KNOWN
#undef GRAFT_UNARY_FUNCTIONS
#undef GRAFT_INDICATOR_FUNCTIONS
#undef GRAFT_DERIVED_FUNCTIONS
#undef GRAFT_BINARY_FUNCTIONS
#undef GRAFT_BINARY_INDICATOR_FUNCTIONS

// x (op) y for tensors, and for a tensor with a number on either side (the number is converted to the element type).
#define GRAFT_OPERATOR(symbol, row_name)                                         \
  template <Real T>                                                              \
  Tensor<T> operator symbol(const Tensor<T>& x, const Tensor<T>& y) {            \
    return detail::binary<row::row_name##_row>(x, y);                            \
  }                                                                              \
  template <Real T, Number S>                                                    \
  Tensor<T> operator symbol(const Tensor<T>& x, S y) {                           \
    return detail::binary<row::row_name##_row>(x, Tensor<T>(static_cast<T>(y))); \
  }                                                                              \
  template <Real T, Number S>                                                    \
  Tensor<T> operator symbol(S x, const Tensor<T>& y) {                           \
    return detail::binary<row::row_name##_row>(Tensor<T>(static_cast<T>(x)), y); \
  }
GRAFT_OPERATOR(+, add)
GRAFT_OPERATOR(-, subtract)
GRAFT_OPERATOR(*, multiply)
GRAFT_OPERATOR(/, divide)
#undef GRAFT_OPERATOR

template <Real T>
Tensor<T> operator-(const Tensor<T>& x) {
  return x * T(-1);
}

}  // namespace GRAFT_ABI
}  // namespace graft
