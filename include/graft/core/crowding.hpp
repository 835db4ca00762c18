#pragma once
// Notices that other programs use the cores. Threads of a parallel region wait for one another; where one of them has
// lost its core, each short region lasts as long as the system takes to give the core back, milliseconds instead of
// microseconds. So the ends of a region's threads are compared: if they lie far apart twice in a short time, regions
// use half the threads for a while, and so on down to one. Results never depend on the number of threads.

#include <time.h>

#include <atomic>
#include <cstdint>

#include "graft/core/config.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Nanoseconds of a clock that never goes back.
inline std::int64_t nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{1000000000} * now.tv_sec + now.tv_nsec;
}

/// How many threads regions may use at the moment. One for the process; races between threads cost a late decision.
class Crowding {
 public:
  /// The threads that a region which may use `team` of them should use.
  int allowed(int team) {
    const int level = level_.load(std::memory_order_relaxed);
    if (level == 0) return team;
    if (nanoseconds() >= until_.load(std::memory_order_relaxed)) {  // try more again
      level_.store(level - 1, std::memory_order_relaxed);
      return less(team, level - 1);
    }
    return less(team, level);
  }
  /// After a region of several threads that lasted `duration` and whose first and last thread ended `spread` apart.
  void saw(std::int64_t spread, std::int64_t duration) {
    if (spread < kLate || 2 * spread < duration) return;
    const std::int64_t now = nanoseconds(), since = now - last_.exchange(now, std::memory_order_relaxed);
    if (since > kSoon) {  // once may be chance
      if (since > kForgotten) pause_.store(kShortest, std::memory_order_relaxed);
      return;
    }
    const std::int64_t pause = pause_.load(std::memory_order_relaxed);
    until_.store(now + pause, std::memory_order_relaxed);
    pause_.store(pause < kLongest ? 2 * pause : pause, std::memory_order_relaxed);
    if (const int level = level_.load(std::memory_order_relaxed); level < kLevels)
      level_.store(level + 1, std::memory_order_relaxed);
  }

 private:
  static constexpr std::int64_t kMillisecond = 1000000;
  static constexpr std::int64_t kLate = kMillisecond / 2;   // no thread of a free core is so late
  static constexpr std::int64_t kSoon = 50 * kMillisecond;  // between two late ends that count together
  static constexpr std::int64_t kForgotten = 5000 * kMillisecond;
  static constexpr std::int64_t kShortest = 50 * kMillisecond, kLongest = 800 * kMillisecond;  // of a pause
  static constexpr int kLevels = 16;

  static int less(int team, int level) { return team >> level > 1 ? team >> level : 1; }

  std::atomic<int> level_{0};  ///< regions use a 2^level-th part of their threads
  std::atomic<std::int64_t> until_{0}, pause_{kShortest}, last_{-kForgotten};
};
inline constinit Crowding crowding;

/// When the threads of one region ended.
class Ends {
 public:
  /// Called by each thread at its end.
  void mark() {
    const std::int64_t now = nanoseconds();
    std::int64_t seen = first_.load(std::memory_order_relaxed);
    while (now < seen && !first_.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
    }
    seen = last_.load(std::memory_order_relaxed);
    while (now > seen && !last_.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
    }
  }
  /// Called behind the region.
  void report() const {
    const std::int64_t last = last_.load(std::memory_order_relaxed);
    crowding.saw(last - first_.load(std::memory_order_relaxed), last - start_);
  }

 private:
  std::int64_t start_ = nanoseconds();
  std::atomic<std::int64_t> first_{INT64_MAX}, last_{0};
};

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
