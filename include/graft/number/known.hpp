#pragma once
// What is known of an elementwise expression before any number is: called with KnownSlopes, a lambda tells which of its
// arguments are only added, so that their gradient is the upstream gradient as it is, and whether it calls what no
// kernel could run.

#include <iterator>
#include <type_traits>

#include "graft/fwd.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// An expression that cannot be a kernel, and why not.
enum class Unfit { calls_std, holds_tensor };

namespace detail {

/// Why an expression with an X in it cannot be a kernel: a tensor, or what a function of std gave, a long double.
template <class X>
struct UnfitReason;
template <class T>
struct UnfitReason<Tensor<T>> : std::integral_constant<Unfit, Unfit::holds_tensor> {};
template <>
struct UnfitReason<long double> : std::integral_constant<Unfit, Unfit::calls_std> {};
template <class X>
concept UnfitPart = requires { UnfitReason<X>::value; };

/// N of KnownSlopes<N>, else 0.
template <class X>
inline constexpr int kVariables = 0;

template <class X, class Y, class Join>
constexpr auto known(const X& x, const Y& y, Join join);
/// Any function of x and y.
template <class X, class Y = int>
constexpr auto known_function(const X& x, const Y& y = 0);

}  // namespace detail

/// The outcome of a comparison, which is not known.
struct KnownMask {
  friend constexpr KnownMask operator&&(KnownMask, KnownMask) { return {}; }
  friend constexpr KnownMask operator||(KnownMask, KnownMask) { return {}; }
  friend constexpr KnownMask operator!(KnownMask) { return {}; }
};

struct KnownNumberBase;
/// What an expression is called with to be known, and what it then gives.
template <class X>
concept KnownNumber = std::is_base_of_v<KnownNumberBase, X>;
/// Arguments of which one at least is such a number.
template <class X, class Y>
concept KnownPair = KnownNumber<X> || KnownNumber<Y>;

/// The operators, for any arguments.
struct KnownNumberBase {
  /// std::exp(x) and its kin take it, and are known by the type of their value.
  constexpr operator long double() const { return 0; }

  template <class X, class Y>
    requires KnownPair<X, Y>
  friend constexpr auto operator+(const X& x, const Y& y) {
    return detail::known(x, y, [](int p, int q, int zero, int any) { return p == zero ? q : q == zero ? p : any; });
  }
  template <class X, class Y>
    requires KnownPair<X, Y>
  friend constexpr auto operator-(const X& x, const Y& y) {
    return detail::known(x, y, [](int p, int q, int zero, int any) { return q == zero ? p : any; });
  }
  template <class X, class Y>
    requires KnownPair<X, Y>
  friend constexpr auto operator*(const X& x, const Y& y) {
    return detail::known_function(x, y);
  }
  template <class X, class Y>
    requires KnownPair<X, Y>
  friend constexpr auto operator/(const X& x, const Y& y) {
    return detail::known_function(x, y);
  }
  template <KnownNumber X>
  friend constexpr auto operator-(const X& x) {
    return detail::known_function(x);
  }
  template <class X, class Y>
    requires KnownPair<X, Y>
  friend constexpr auto where(KnownMask, const X& x, const Y& y) {
    return detail::known(x, y, [](int p, int q, int, int any) { return p == q ? p : any; });
  }
#define GRAFT_KNOWN_COMPARISON(symbol)                             \
  template <class X, class Y>                                      \
    requires KnownPair<X, Y>                                       \
  friend constexpr KnownMask operator symbol(const X&, const Y&) { \
    return {};                                                     \
  }
  GRAFT_KNOWN_COMPARISON(<)
  GRAFT_KNOWN_COMPARISON(<=)
  GRAFT_KNOWN_COMPARISON(>)
  GRAFT_KNOWN_COMPARISON(>=)
  GRAFT_KNOWN_COMPARISON(==)
  GRAFT_KNOWN_COMPARISON(!=)
#undef GRAFT_KNOWN_COMPARISON
};

/// The slopes of an expression in N variables, each 0, 1 or anything. An arithmetic constant has slopes 0.
template <int N>
struct KnownSlopes : KnownNumberBase {
  enum Slope : char { kZero, kOne, kAny };
  Slope slope[N] = {};

  constexpr KnownSlopes() = default;
  template <class S>
    requires std::is_arithmetic_v<S>
  constexpr KnownSlopes(S) {}

  /// The i-th independent variable.
  static constexpr KnownSlopes variable(int i) {
    KnownSlopes result;
    result.slope[i] = kOne;
    return result;
  }
};
/// What is known of an expression that cannot be a kernel.
template <Unfit>
struct UnfitExpression : KnownNumberBase {};

namespace detail {

template <int N>
inline constexpr int kVariables<KnownSlopes<N>> = N;
template <Unfit why>
struct UnfitReason<UnfitExpression<why>> : std::integral_constant<Unfit, why> {};

/// What is known of a function of x and y: slope i is join(slope i of x, slope i of y, zero, any).
template <class X, class Y, class Join>
constexpr auto known(const X& x, const Y& y, Join join) {
  if constexpr (UnfitPart<X>) {
    return UnfitExpression<UnfitReason<X>::value>();
  } else if constexpr (UnfitPart<Y>) {
    return UnfitExpression<UnfitReason<Y>::value>();
  } else {
    using Slopes = KnownSlopes<(kVariables<X> > 0 ? kVariables<X> : kVariables<Y>)>;
    const Slopes a(x), b(y);
    Slopes result;
    for (std::size_t i = 0; i < std::size(a.slope); ++i)
      result.slope[i] =
          static_cast<typename Slopes::Slope>(join(a.slope[i], b.slope[i], Slopes::kZero, Slopes::kAny));
    return result;
  }
}
template <class X, class Y>
constexpr auto known_function(const X& x, const Y& y) {
  return known(x, y, [](int p, int q, int zero, int any) { return p == zero && q == zero ? zero : any; });
}

}  // namespace detail

}  // namespace GRAFT_ABI
}  // namespace graft
