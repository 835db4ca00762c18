#pragma once
// What a call is told at compile time when its tensors' element types do not fit. Included first by the headers that
// use it: compilers begin a message with the way to the file in which they found the mistake.

#include <type_traits>

#include "graft/core/config.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Of a call that takes tensors of one type and got T and U.
template <class T, class U, class X>
const X& refuse_mixed(const X& x) {
  static_assert(std::is_same_v<T, U>, "tensors of different element types: convert one, as in x + cast<float>(y)");
  return x;
}
/// Of a call that takes tensors of float or double, all of one type, and got T and U.
template <class T, class U, class X>
const X& refuse_types(const X& x) {
  constexpr bool alike = std::is_same_v<T, U>, real = std::is_floating_point_v<T>;
  static_assert(alike, "tensors of different element types: convert one, as in x + cast<float>(y)");
  static_assert(real || !alike, "takes tensors of float or double: convert, as in cast<float>(x)");
  return x;
}
/// Of x / y for whole numbers: rounded down, towards zero or not at all, it would surprise somebody.
template <class X>
const X& refuse_quotient(const X& x) {
  constexpr bool exact = sizeof(X) == 0;
  static_assert(exact, "whole numbers: floor_divide(x, y) rounds down, cast<float>(x) / cast<float>(y) does not");
  return x;
}
/// Of a tensor of whole numbers and a number with a fraction.
template <class X>
const X& refuse_fraction(const X& x) {
  constexpr bool whole = sizeof(X) == 0;
  static_assert(whole, "a number with a fraction and a tensor of whole numbers: convert first, as in cast<float>(x)");
  return x;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
