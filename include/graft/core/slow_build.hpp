#pragma once
// A program built for x86-64 without AVX2 says so once, at its start, where a person reads it. Define
// GRAFT_NO_SLOW_BUILD_NOTE to keep it quiet.

#include "graft/core/config.hpp"

#if !defined(__AVX2__) && defined(__x86_64__) && !defined(GRAFT_NO_SLOW_BUILD_NOTE)
#include <unistd.h>

#include <cstdio>

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

inline const bool slow_build_noted =
    ::isatty(STDERR_FILENO) == 1 &&
    std::fputs("graft: built without AVX2, kernels run several times slower; link graft::native or add -march=native\n",
               stderr) >= 0;

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
#endif
