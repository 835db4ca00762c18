#pragma once
// Arithmetic that takes denormals for zeros. On x86 an operation with a number below the smallest normal one costs a
// hundred times an ordinary one, and gradients on their way through many layers do vanish slowly.

#include "graft/core/config.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// The bits of this thread's floating-point control register that say how denormals are treated; 0 where it is unknown
/// how to ask.
inline unsigned denormal_mode() {
#ifdef __SSE__
  return __builtin_ia32_stmxcsr() & 0x8040u;
#else
  return 0;
#endif
}
inline void set_denormal_mode([[maybe_unused]] unsigned bits) {
#ifdef __SSE__
  __builtin_ia32_ldmxcsr((__builtin_ia32_stmxcsr() & ~0x8040u) | bits);
#endif
}

/// Sets how this thread treats denormals for as long as it lives.
class DenormalMode {
 public:
  explicit DenormalMode(unsigned bits) : before_(denormal_mode()) {
    if (bits != before_) set_denormal_mode(bits);
  }
  ~DenormalMode() {
    if (denormal_mode() != before_) set_denormal_mode(before_);
  }
  DenormalMode(const DenormalMode&) = delete;
  DenormalMode& operator=(const DenormalMode&) = delete;

 private:
  unsigned before_;
};
/// Operands and results below the smallest normal number are zeros.
inline constexpr unsigned kFlushDenormals = 0x8040;

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
