#pragma once
// Checks of arguments that methods share.

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

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
