#pragma once
// The one place that names OpenMP. Work is cut into chunks whose size depends on the work alone, never on the number of
// threads, so results have the same bits on any number of threads. Inside a task region ops run serially on their
// thread.

#include <atomic>
#include <exception>

#include "graft/core/crowding.hpp"
#include "graft/core/errors.hpp"
#include "graft/core/float_mode.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {
inline std::atomic<int> thread_limit{0};
inline constinit thread_local bool inside_parallel = false;

/// Keeps the exception of the lowest chunk, whatever order the chunks ran in.
class FirstException {
 public:
  void keep(Index chunk) {
    while (busy_.test_and_set(std::memory_order_acquire)) {
    }
    if (!error_ || chunk < chunk_) {
      error_ = std::current_exception();
      chunk_ = chunk;
    }
    busy_.clear(std::memory_order_release);
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic_flag busy_;
  std::exception_ptr error_;
  Index chunk_ = 0;
};

/// A thread at a part of somebody's work, whose treatment of denormals it takes over.
struct InsideParallel {
  bool before = inside_parallel;
  DenormalMode mode;
  explicit InsideParallel(unsigned denormals) : mode(denormals) { inside_parallel = true; }
  ~InsideParallel() { inside_parallel = before; }
};
}  // namespace detail

/// Number of threads that a parallel region uses at most (fewer while other programs have the cores): what
/// `set_threads` said, else OMP_NUM_THREADS, else the machine's.
inline int threads() {
#ifdef _OPENMP
  const int limit = detail::thread_limit.load(std::memory_order_relaxed);
  return limit > 0 ? limit : omp_get_max_threads();
#else
  return 1;
#endif
}

/// Limits parallel regions to `count` threads (0: as if never called). Results do not depend on it.
inline void set_threads(int count) {
  if (count < 0) fail("set_threads", {"count is ", count, ", expected 0 (all) or more"});
  detail::thread_limit.store(count, std::memory_order_relaxed);
}

/// True inside `parallel_tasks` or a parallel kernel: whatever runs there runs on one thread.
inline bool inside_parallel() { return detail::inside_parallel; }

namespace detail {

/// Tasks of the caller's, of any length; jobs of one kernel, about equally long; the same with a fixed thread for each.
enum class Parts { tasks, jobs, even };

/// The regions themselves, compiled once: callables come as a pointer and a function that calls it.
inline void run_parts(Index count, [[maybe_unused]] Parts kind, void (*call)(const void*, Index), const void* run) {
  FirstException first;
  const unsigned denormals = denormal_mode();
  const auto guarded = [&](Index i) {
    const InsideParallel mark(denormals);
    try {
      call(run, i);
    } catch (...) {
      first.keep(i);
    }
  };
#ifdef _OPENMP
  const int most = inside_parallel || count < 2 ? 1 : kind == Parts::tasks ? threads() : crowding.allowed(threads());
  if (most > 1) {
    const int team = static_cast<int>(count < most ? count : most);
    Ends ends;
#pragma omp parallel num_threads(team)
    {
      if (kind == Parts::even) {
#pragma omp for schedule(static, 1) nowait
        for (Index i = 0; i < count; ++i) guarded(i);
      } else {
#pragma omp for schedule(dynamic, 1) nowait
        for (Index i = 0; i < count; ++i) guarded(i);
      }
      ends.mark();
    }
    if (kind != Parts::tasks) ends.report();
    first.rethrow();
    return;
  }
#endif
  for (Index i = 0; i < count; ++i) guarded(i);
  first.rethrow();
}

inline void run_chunks(Index count, Index chunk, void (*call)(const void*, Index, Index), const void* run) noexcept {
#ifdef _OPENMP
  const int most = count > chunk && !inside_parallel ? crowding.allowed(threads()) : 1;
  if (most > 1) {
    const Index chunks = (count + chunk - 1) / chunk;
    const int team = static_cast<int>(chunks < most ? chunks : most);
    const unsigned denormals = denormal_mode();
    Ends ends;
#pragma omp parallel num_threads(team)
    {
#pragma omp for schedule(static) nowait
      for (Index i = 0; i < chunks; ++i) {
        const InsideParallel mark(denormals);
        const Index end = (i + 1) * chunk;
        call(run, i * chunk, end < count ? end : count);
      }
      ends.mark();
    }
    ends.report();
    return;
  }
#endif
  for (Index begin = 0; begin < count; begin += chunk) call(run, begin, count - begin < chunk ? count : begin + chunk);
}

}  // namespace detail

/// Calls `run(i)` for every i in [0, count), on several threads; each call runs its ops serially. The calls must be
/// independent. All of them run, also when one throws; the exception of the lowest i is rethrown at the end.
template <class Run>
void parallel_tasks(Index count, const Run& run) {
  detail::run_parts(
      count, detail::Parts::tasks, [](const void* f, Index i) { (*static_cast<const Run*>(f))(i); }, &run);
}

/// The same for the jobs of a kernel, each about as long as the others and too short to share a core with another
/// program.
template <class Run>
void parallel_jobs(Index count, const Run& run) {
  detail::run_parts(
      count, detail::Parts::jobs, [](const void* f, Index i) { (*static_cast<const Run*>(f))(i); }, &run);
}

/// The same where which thread does a job is fixed, so each finds in its cache the memory that it asked for last time.
template <class Run>
void parallel_even_jobs(Index count, const Run& run) {
  detail::run_parts(
      count, detail::Parts::even, [](const void* f, Index i) { (*static_cast<const Run*>(f))(i); }, &run);
}

/// Calls `run(begin, end)` for the ranges [0, chunk), [chunk, 2 chunk) ... of [0, count). Ranges depend on `count` and
/// `chunk` only; `run` must not throw. Choose `chunk` so that one range is worth about 20 us.
template <class Run>
void parallel_for(Index count, Index chunk, const Run& run) noexcept {
  detail::run_chunks(
      count, chunk, [](const void* f, Index begin, Index end) { (*static_cast<const Run*>(f))(begin, end); }, &run);
}

}  // namespace GRAFT_ABI
}  // namespace graft
