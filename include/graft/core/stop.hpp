#pragma once
// How long work is told to end: by Ctrl-C, which a signal handler notes, or by another thread.

#include <atomic>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Thrown by work that was told to stop and did.
class Stopped : public Error {
 public:
  using Error::Error;
};

/// A wish to stop. Long work takes a pointer to one (null: it cannot be stopped) and looks at it between its parts; a
/// signal handler may ask.
class StopFlag {
 public:
  void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
  static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may set only what is free of locks");
};

/// True if there is a flag and it asks to stop.
inline bool stop_requested(const StopFlag* stop) { return stop && stop->requested(); }

}  // namespace GRAFT_ABI
}  // namespace graft
