#pragma once
// Names only: include this where a pointer or reference to a graft type is all that is needed.

#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {

template <class T = float>
class Tensor;
class Random;
class Error;

}  // namespace GRAFT_ABI
}  // namespace graft
