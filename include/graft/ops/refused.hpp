#pragma once
// Operators on tensors that do not go together, so that compilers say what to do instead of listing everything that
// does not match. Written out: from inside of macros their messages are twice as long.

#include "graft/core/refuse.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Another element type than U.
template <class T, class U>
concept MixedElements = !std::is_same_v<T, U>;

// Two element types.
template <class T, MixedElements<T> U>
Tensor<T> operator+(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator-(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator*(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator/(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator<(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator<=(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator>(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator>=(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator==(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
template <class T, MixedElements<T> U>
Tensor<T> operator!=(const Tensor<T>& x, const Tensor<U>&) {
  return detail::refuse_mixed<T, U>(x);
}
/// Refused at compile time: `a` and `b` of different element types.
template <class T, MixedElements<T> U>
Tensor<T> where(const Tensor<bool>&, const Tensor<T>& a, const Tensor<U>&, Site = {}) {
  return detail::refuse_mixed<T, U>(a);
}

// Quotients of whole numbers.
template <Whole T>
Tensor<T> operator/(const Tensor<T>& x, const Tensor<T>&) {
  return detail::refuse_quotient(x);
}
template <Whole T, Number S>
Tensor<T> operator/(const Tensor<T>& x, S) {
  return detail::refuse_quotient(x);
}
template <Whole T, Number S>
Tensor<T> operator/(S, const Tensor<T>& x) {
  return detail::refuse_quotient(x);
}

// Whole numbers and fractions.
template <Whole T, FractionNumber S>
Tensor<T> operator+(const Tensor<T>& x, S) {
  return detail::refuse_fraction(x);
}
template <Whole T, FractionNumber S>
Tensor<T> operator+(S, const Tensor<T>& x) {
  return detail::refuse_fraction(x);
}
template <Whole T, FractionNumber S>
Tensor<T> operator-(const Tensor<T>& x, S) {
  return detail::refuse_fraction(x);
}
template <Whole T, FractionNumber S>
Tensor<T> operator-(S, const Tensor<T>& x) {
  return detail::refuse_fraction(x);
}
template <Whole T, FractionNumber S>
Tensor<T> operator*(const Tensor<T>& x, S) {
  return detail::refuse_fraction(x);
}
template <Whole T, FractionNumber S>
Tensor<T> operator*(S, const Tensor<T>& x) {
  return detail::refuse_fraction(x);
}

}  // namespace GRAFT_ABI
}  // namespace graft
