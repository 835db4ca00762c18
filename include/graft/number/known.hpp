#pragma once
// What is known of the slopes of an elementwise expression before any number is: called with KnownSlopes, a lambda
// tells which of its arguments are only added, so that their gradient is the upstream gradient as it is.

#include <type_traits>

#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The slopes of an expression in N variables, each 0, 1 or anything. An arithmetic constant has slopes 0.
template <int N>
struct KnownSlopes {
  enum Slope : char { kZero, kOne, kAny };
  /// The outcome of a comparison, which is not known.
  struct Mask {
    friend constexpr Mask operator&&(Mask, Mask) { return {}; }
    friend constexpr Mask operator||(Mask, Mask) { return {}; }
    friend constexpr Mask operator!(Mask) { return {}; }
  };
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
  /// Any function of a and b.
  static constexpr KnownSlopes function(const KnownSlopes& a, const KnownSlopes& b = {}) {
    return joined(a, b, [](Slope p, Slope q) { return p == kZero && q == kZero ? kZero : kAny; });
  }

  friend constexpr KnownSlopes operator+(const KnownSlopes& a, const KnownSlopes& b) {
    return joined(a, b, [](Slope p, Slope q) { return p == kZero ? q : q == kZero ? p : kAny; });
  }
  friend constexpr KnownSlopes operator-(const KnownSlopes& a, const KnownSlopes& b) {
    return joined(a, b, [](Slope p, Slope q) { return q == kZero ? p : kAny; });
  }
  friend constexpr KnownSlopes operator-(const KnownSlopes& a) { return function(a); }
  friend constexpr KnownSlopes operator*(const KnownSlopes& a, const KnownSlopes& b) { return function(a, b); }
  friend constexpr KnownSlopes operator/(const KnownSlopes& a, const KnownSlopes& b) { return function(a, b); }
  friend constexpr Mask operator<(const KnownSlopes&, const KnownSlopes&) { return {}; }
  friend constexpr Mask operator<=(const KnownSlopes&, const KnownSlopes&) { return {}; }
  friend constexpr Mask operator>(const KnownSlopes&, const KnownSlopes&) { return {}; }
  friend constexpr Mask operator>=(const KnownSlopes&, const KnownSlopes&) { return {}; }
  friend constexpr Mask operator==(const KnownSlopes&, const KnownSlopes&) { return {}; }
  friend constexpr Mask operator!=(const KnownSlopes&, const KnownSlopes&) { return {}; }
  friend constexpr KnownSlopes where(Mask, const KnownSlopes& a, const KnownSlopes& b) {
    return joined(a, b, [](Slope p, Slope q) { return p == q ? p : kAny; });
  }

 private:
  template <class Join>
  static constexpr KnownSlopes joined(const KnownSlopes& a, const KnownSlopes& b, Join join) {
    KnownSlopes result;
    for (int i = 0; i < N; ++i) result.slope[i] = join(a.slope[i], b.slope[i]);
    return result;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
