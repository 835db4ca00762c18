#pragma once
// Comparisons, logic of masks, and `where`. All broadcast by the NumPy rule.

#include <cmath>
#include <limits>

#include "graft/ops/broadcast.hpp"
#include "graft/ops/refused.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Where a number stands among the values of T. Exact, unlike a cast, except that numbers with a fraction are rounded
/// to a floating type, as everywhere.
template <class T>
struct Place {
  T at = T(0);           ///< the value at the number or next to it
  int side = 0;          ///< 1: the number is above `at` and below the next value; -1: the other way round
  bool nowhere = false;  ///< a NaN among whole numbers

  template <Number S>
  explicit Place(S number) {
    const auto y = +number;  // of bool and the characters: an int
    using Y = std::remove_const_t<decltype(y)>;
    using Limits = std::numeric_limits<T>;
    if constexpr (Real<T>) {
      at = static_cast<T>(y);
      if constexpr (std::is_integral_v<Y>) {
        if (at >= std::ldexp(T(1), std::numeric_limits<Y>::digits))
          side = -1;
        else
          side = (y > static_cast<Y>(at)) - (y < static_cast<Y>(at));
      }
    } else if constexpr (std::is_integral_v<Y>) {
      using Wide = decltype(+T());
      const bool below = std::cmp_less(y, Wide{Limits::lowest()}), above = std::cmp_greater(y, Wide{Limits::max()});
      at = below ? Limits::lowest() : above ? Limits::max() : static_cast<T>(y);
      side = above - below;
    } else {
      nowhere = y != y;
      if (nowhere) return;
      const bool below = y < static_cast<Y>(Limits::lowest()), above = y >= std::ldexp(Y(1), Limits::digits);
      at = below ? Limits::lowest() : above ? Limits::max() : static_cast<T>(std::trunc(y));
      side = below ? -1 : above ? 1 : (y > static_cast<Y>(at)) - (y < static_cast<Y>(at));
    }
  }
};

/// A number as an element of T: rounded where T is floating; a whole number where T is whole, in its range.
template <class T, Number S>
T element_of(const char* op, S number, Site site = {}) {
  if constexpr (Real<T>) {
    return static_cast<T>(number);
  } else {
    if constexpr (!WholeNumber<S>) refuse_fraction(number);
    const Place<T> place(number);
    if (place.side != 0)
      fail(op, {"the number ", number, " is outside the range of the tensor's element type"}, {}, site);
    return place.at;
  }
}

template <class T, class F>
Tensor<bool> compare(const char* op, const Tensor<T>& x, const Tensor<T>& y, F f) {
  const Shape shape = checked_broadcast(op, {"x", x.shape()}, {"y", y.shape()}, {});
  Tensor<bool> result = fresh<bool>(shape);
  cpu::map_scalars<bool>(shape, writable(result), f, x, y);
  return result;
}
template <class T, class F>
Tensor<bool> test(const Tensor<T>& x, F f) {
  Tensor<bool> result = fresh<bool>(x.shape());
  cpu::map_scalars<bool>(x.shape(), writable(result), f, x);
  return result;
}

}  // namespace detail

// Comparisons give Tensor<bool>, which carries no gradient. A tensor and a number are compared as mathematics does:
// nothing in a tensor of uint8 is 256 or 2.5. (Numbers with a fraction are rounded to a floating tensor's type first: a
// float tensor that holds 0.1f equals 0.1.) `holds` is the outcome for an element a and the place p of the number: one
// kernel for numbers of all types.
#define GRAFT_COMPARISON(name, symbol, mirrored, holds)                                             \
  template <class T>                                                                                \
  Tensor<bool> operator symbol(const Tensor<T>& x, const Tensor<T>& y) {                            \
    return detail::compare("operator" #symbol, x, y, [](T a, T b) { return a symbol b; });          \
  }                                                                                                 \
  namespace detail {                                                                                \
  template <class T>                                                                                \
  Tensor<bool> name##_place(const Tensor<T>& x, Place<T> p) {                                       \
    if (p.nowhere) return full<bool>(x.shape(), 0 symbol std::numeric_limits<double>::quiet_NaN()); \
    return test(x, [p](T a) { return holds; });                                                     \
  }                                                                                                 \
  }                                                                                                 \
  template <class T, Number S>                                                                      \
  Tensor<bool> operator symbol(const Tensor<T>& x, S y) {                                           \
    return detail::name##_place(x, detail::Place<T>(y));                                            \
  }                                                                                                 \
  template <class T, Number S>                                                                      \
  Tensor<bool> operator symbol(S x, const Tensor<T>& y) {                                           \
    return y mirrored x;                                                                            \
  }
GRAFT_COMPARISON(below, <, >, a < p.at || (a == p.at && p.side > 0))
GRAFT_COMPARISON(at_most, <=, >=, a < p.at || (a == p.at && p.side >= 0))
GRAFT_COMPARISON(above, >, <, a> p.at || (a == p.at && p.side < 0))
GRAFT_COMPARISON(at_least, >=, <=, a > p.at || (a == p.at && p.side <= 0))
GRAFT_COMPARISON(at, ==, ==, a == p.at && p.side == 0)
GRAFT_COMPARISON(not_at, !=, !=, !(a == p.at && p.side == 0))
#undef GRAFT_COMPARISON

inline Tensor<bool> operator!(const Tensor<bool>& x) {
  return detail::test(x, [](bool a) { return !a; });
}
inline Tensor<bool> operator&&(const Tensor<bool>& x, const Tensor<bool>& y) {
  return detail::compare("operator&&", x, y, [](bool a, bool b) { return a && b; });
}
inline Tensor<bool> operator||(const Tensor<bool>& x, const Tensor<bool>& y) {
  return detail::compare("operator||", x, y, [](bool a, bool b) { return a || b; });
}

/// a where `mask`, else b; elementwise, all three broadcast. No gradient flows through the side not taken: what
/// elementwise functions make of a gradient of zero is zero, also where their slope is infinite (`chain_product`).
template <class T>
Tensor<T> where(const Tensor<bool>& mask, const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  Shape values, shape;
  if (!broadcast_shapes(a.shape(), b.shape(), values) || !broadcast_shapes(mask.shape(), values, shape))
    fail<ShapeError>("where", "shapes do not broadcast", {{"mask", mask.shape()}, {"a", a.shape()}, {"b", b.shape()}},
                     site);
  Tensor<T> value = detail::fresh<T>(shape, "where", site);
  cpu::map_scalars<T>(
      shape, detail::writable(value), [](bool m, T x, T y) { return m ? x : y; }, mask, a, b);
  if constexpr (Real<T>)
    if (recorded(a, b))
      return record("where", std::move(value),
                    Edge(a, [mask, own = a.shape()](const Tensor<T>& g) { return sum_to(where(mask, g, 0), own); }),
                    Edge(b, [mask, own = b.shape()](const Tensor<T>& g) { return sum_to(where(mask, 0, g), own); }));
  return value;
}
template <class T, Number S>
Tensor<T> where(const Tensor<bool>& mask, const Tensor<T>& a, S b, Site site = Site::current()) {
  return where(mask, a, Tensor<T>(detail::element_of<T>("where", b, site)), site);
}
template <class T, Number S>
Tensor<T> where(const Tensor<bool>& mask, S a, const Tensor<T>& b, Site site = Site::current()) {
  return where(mask, Tensor<T>(detail::element_of<T>("where", a, site)), b, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
