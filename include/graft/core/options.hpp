#pragma once
// Checks of what a caller set. Options are given as double whatever element type they act on; a number that is fine in
// double may be 0 or infinite in float. Every function that takes one checks it here, in the type in which it is used.
// Fields of a model are open: lists of its parts that were set by hand may disagree.

#include <limits>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Which numbers an option may be.
enum class Range { finite, not_negative, positive, below_one };

/// Throws ValueError unless `value` is in the range and stays there as a T: neither too large for T nor, if it is not
/// 0, too small for a normal number.
template <class T>
[[gnu::noinline]] void check_option(const char* op, const char* name, double value, Range range, Site site) {
  using Limits = std::numeric_limits<T>;
  const double size = value < 0 ? -value : value;
  const bool in_type =
      size <= static_cast<double>(Limits::max()) && (value == 0 || size >= static_cast<double>(Limits::min()));
  const bool in_range = range == Range::finite         ? value == value
                        : range == Range::not_negative ? value >= 0
                        : range == Range::positive     ? value > 0
                                                       : value >= 0 && value < 1;
  if (in_type && in_range) return;
  constexpr const char* expected[] = {"a finite number", "0 or more", "above 0", "in [0, 1)"};
  fail(op,
       {name, " is ", value, ", expected ", expected[static_cast<int>(range)], " and representable as ",
        sizeof(T) == 4 ? "float" : "double"},
       {}, site);
}

/// Throws ValueError, "op: 2 norms for 3 layers", unless there are as many `parts` as `expected`.
inline void check_parts(const char* op, const char* parts, std::size_t count, const char* of, std::size_t expected,
                        Site site) {
  if (count != expected) fail(op, {count, " ", parts, " for ", expected, " ", of}, {}, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
