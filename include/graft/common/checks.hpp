#pragma once
// Checks of arguments that methods share.

#include <cmath>
#include <span>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Throws ValueError, "op: name is 0, expected 1 or more", unless value >= least.
inline void check_count(const char* op, const char* name, Index value, Index least, Site site) {
  if (value < least) fail(op, {name, " is ", value, ", expected ", least, " or more"}, {}, site);
}

/// Throws ShapeError unless there is a number for each of one task or more, [tasks].
template <class T>
void check_per_task(const char* op, const char* name, const Tensor<T>& numbers, Site site) {
  if (!numbers.defined() || numbers.rank() != 1 || numbers.count() < 1)
    fail<ShapeError>(op, {"expected ", name, " [tasks] of one task or more"},
                     {{name, numbers.defined() ? numbers.shape() : Shape{0}}}, site);
}

/// Throws ValueError unless the shares are 0 or more and add up to 1 within 1e-4, as those of thousands of classes do
/// that are rounded to single precision.
template <class T>
void check_distribution(const char* op, const char* name, std::span<const T> shares, Site site) {
  double total = 0;
  for (const T share : shares) {
    if (!(share >= 0))
      fail(op, {name, " gives a class ", static_cast<double>(share), ", expected 0 or more"}, {}, site);
    total += static_cast<double>(share);
  }
  if (!(std::abs(total - 1) < 1e-4)) fail(op, {name, " adds up to ", total, ", expected 1"}, {}, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
