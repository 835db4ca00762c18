#pragma once
// Arithmetic that takes denormals for zeros. On x86 an operation with a number below the smallest normal one costs a
// hundred times an ordinary one, and gradients on their way through many layers do vanish slowly. AArch64 does the
// same, so that both give the same numbers.

#include <cstdint>

#include "graft/core/config.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Operands and results below the smallest normal number are zeros: bits of the thread's floating-point control
/// register.
#if defined(__SSE__)
inline constexpr unsigned kFlushDenormals = 0x8040;  // MXCSR: flush to zero, denormals are zeros
#elif defined(__aarch64__)
inline constexpr unsigned kFlushDenormals = 1u << 24;  // FPCR: flush to zero
#else
inline constexpr unsigned kFlushDenormals = 0;  // unknown how to ask
#endif

/// Those of the bits that are set.
inline unsigned denormal_mode() {
#if defined(__SSE__)
  return __builtin_ia32_stmxcsr() & kFlushDenormals;
#elif defined(__aarch64__)
  std::uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  return static_cast<unsigned>(control) & kFlushDenormals;
#else
  return 0;
#endif
}
inline void set_denormal_mode([[maybe_unused]] unsigned bits) {
#if defined(__SSE__)
  __builtin_ia32_ldmxcsr((__builtin_ia32_stmxcsr() & ~kFlushDenormals) | bits);
#elif defined(__aarch64__)
  std::uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  control = (control & ~std::uint64_t{kFlushDenormals}) | bits;
  __asm__ volatile("msr fpcr, %0" : : "r"(control) : "memory");
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
}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
