#pragma once
// Arithmetic of whole numbers: tensors of integers and truth values, and such a tensor with a whole number. All
// broadcast by the NumPy rule; no gradient. As in C++, bool, uint8 and uint16 count as int32: a difference of bytes can
// be negative and their sum exceed 255. int32 and int64 wrap around at their ends.

#include "graft/ops/compare.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What arithmetic of whole elements of type T gives.
template <Whole T>
using Promoted = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;

namespace detail {

// In unsigned numbers, which wrap around where signed ones are undefined.
inline constexpr auto wrapping_add = []<class P>(P a, P b) {
  return static_cast<P>(static_cast<std::make_unsigned_t<P>>(a) + static_cast<std::make_unsigned_t<P>>(b));
};
inline constexpr auto wrapping_subtract = []<class P>(P a, P b) {
  return static_cast<P>(static_cast<std::make_unsigned_t<P>>(a) - static_cast<std::make_unsigned_t<P>>(b));
};
inline constexpr auto wrapping_multiply = []<class P>(P a, P b) {
  return static_cast<P>(static_cast<std::make_unsigned_t<P>>(a) * static_cast<std::make_unsigned_t<P>>(b));
};
// The lowest number divided by -1 is the one quotient that overflows.
inline constexpr auto floored_quotient = []<class P>(P a, P b) {
  if (b == -1) return wrapping_subtract(P(0), a);
  return static_cast<P>(a / b - (a % b != 0 && (a < 0) != (b < 0)));
};
inline constexpr auto floored_remainder = []<class P>(P a, P b) {
  if (b == -1) return P(0);
  const P rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? static_cast<P>(rest + b) : rest;
};

/// f(a, b) for all elements, in the promoted type.
template <class T, class U, class F>
Tensor<Promoted<T>> whole_map(const char* op, const Tensor<T>& x, const Tensor<U>& y, F f, Site site = {}) {
  using P = Promoted<T>;
  const Shape shape = checked_broadcast(op, {"x", x.shape()}, {"y", y.shape()}, site);
  Tensor<P> result = fresh<P>(shape, op, site);
  cpu::map_scalars<P>(
      shape, writable(result), [f](T a, U b) { return f(P{a}, P{b}); }, x, y);
  return result;
}
/// A number as arithmetic with elements of T takes it.
template <class T, Number S>
Tensor<Promoted<T>> whole_number(const char* op, S number, Site site = {}) {
  return Tensor<Promoted<T>>(element_of<Promoted<T>>(op, number, site));
}
/// `y`, without zeros.
template <class T>
const Tensor<T>& divisors(const char* op, const Tensor<T>& y, Site site) {
  for (T v : y.span())
    if (v == T(0)) fail(op, "division by zero", {{"y", y.shape()}}, site);
  return y;
}

}  // namespace detail

#define GRAFT_WHOLE_OPERATOR(symbol, f)                                                                 \
  template <Whole T>                                                                                    \
  Tensor<Promoted<T>> operator symbol(const Tensor<T>& x, const Tensor<T>& y) {                         \
    return detail::whole_map("operator" #symbol, x, y, f);                                              \
  }                                                                                                     \
  template <Whole T, WholeNumber S>                                                                     \
  Tensor<Promoted<T>> operator symbol(const Tensor<T>& x, S y) {                                        \
    return detail::whole_map("operator" #symbol, x, detail::whole_number<T>("operator" #symbol, y), f); \
  }                                                                                                     \
  template <Whole T, WholeNumber S>                                                                     \
  Tensor<Promoted<T>> operator symbol(S x, const Tensor<T>& y) {                                        \
    return detail::whole_map("operator" #symbol, detail::whole_number<T>("operator" #symbol, x), y, f); \
  }
GRAFT_WHOLE_OPERATOR(+, detail::wrapping_add)
GRAFT_WHOLE_OPERATOR(-, detail::wrapping_subtract)
GRAFT_WHOLE_OPERATOR(*, detail::wrapping_multiply)
#undef GRAFT_WHOLE_OPERATOR

template <Whole T>
Tensor<Promoted<T>> operator-(const Tensor<T>& x) {
  return 0 - x;
}
#define GRAFT_WHOLE_FUNCTION(function, f, checked)                                                    \
  template <Whole T>                                                                                  \
  Tensor<Promoted<T>> function(const Tensor<T>& x, const Tensor<T>& y, Site site = Site::current()) { \
    return detail::whole_map(#function, x, checked, f, site);                                         \
  }                                                                                                   \
  template <Whole T, Number S>                                                                        \
  Tensor<Promoted<T>> function(const Tensor<T>& x, S number, Site site = Site::current()) {           \
    const Tensor<Promoted<T>> y = detail::whole_number<T>(#function, number, site);                   \
    return detail::whole_map(#function, x, checked, f, site);                                         \
  }
/// x / y rounded down, also where one is negative: floor_divide(-1, 2) is -1. Throws ValueError where y is 0.
GRAFT_WHOLE_FUNCTION(floor_divide, detail::floored_quotient, detail::divisors("floor_divide", y, site))
/// x - y floor_divide(x, y), which has the sign of y: remainder(-1, n) is n - 1. Throws ValueError where y is 0.
GRAFT_WHOLE_FUNCTION(remainder, detail::floored_remainder, detail::divisors("remainder", y, site))
/// The larger of x and y.
GRAFT_WHOLE_FUNCTION(maximum, [](auto a, auto b) { return a > b ? a : b; }, y)
/// The smaller of x and y.
GRAFT_WHOLE_FUNCTION(minimum, [](auto a, auto b) { return a < b ? a : b; }, y)
#undef GRAFT_WHOLE_FUNCTION

}  // namespace GRAFT_ABI
}  // namespace graft
