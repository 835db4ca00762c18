#pragma once
// Blocks of memory for tensors and tape nodes. Freed blocks of every size wait in a cache of the freeing thread, so a
// training step in the steady state asks the system for nothing. A thread's cache has a byte limit, beyond which blocks
// go to a pool shared by all threads (a consumer thread thus feeds its producer); it drains into the pool at thread
// exit.

#include <pthread.h>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "graft/core/errors.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define GRAFT_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GRAFT_ADDRESS_SANITIZER 1
#endif
#endif
#ifdef GRAFT_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace graft {
inline namespace GRAFT_ABI {

/// What the caches hold and how often the system was asked; see `memory_stats()`.
struct MemoryStats {
  Index system_allocations;  ///< blocks ever asked of the system
  Index system_bytes;        ///< bytes held from the system now: in use and cached
  Index bytes_in_use;        ///< bytes of live blocks now
};

namespace detail {

/// Size classes: multiples of 64 bytes up to 512, then four steps a doubling. The last class holds 2^45 bytes.
inline constexpr int kSizeClasses = 8 + 4 * 36;
constexpr int size_class(std::size_t bytes) {
  if (bytes <= 512) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / 64);
  const int width = static_cast<int>(std::bit_width(bytes - 1));
  return 8 + (width - 10) * 4 + static_cast<int>((bytes - 1) >> (width - 3)) - 4;
}
constexpr std::size_t class_bytes(int size_class) {
  if (size_class < 8) return static_cast<std::size_t>(size_class + 1) * 64;
  return static_cast<std::size_t>((size_class - 8) % 4 + 5) << ((size_class - 8) / 4 + 7);
}

struct FreeBlock {
  FreeBlock* next;
};

inline void hide_block([[maybe_unused]] void* block, [[maybe_unused]] std::size_t bytes) {
#ifdef GRAFT_ADDRESS_SANITIZER
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(block) + sizeof(FreeBlock), bytes - sizeof(FreeBlock));
#endif
}
inline void show_block([[maybe_unused]] void* block, [[maybe_unused]] std::size_t bytes) {
#ifdef GRAFT_ADDRESS_SANITIZER
  ASAN_UNPOISON_MEMORY_REGION(block, bytes);
#endif
}

/// Holds a mutex. <mutex> would bring <chrono> into every program.
class Lock {
 public:
  explicit Lock(pthread_mutex_t& mutex) : mutex_(mutex) { pthread_mutex_lock(&mutex_); }
  ~Lock() { pthread_mutex_unlock(&mutex_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  pthread_mutex_t& mutex_;
};

/// The pool shared by all threads, and the counters of what was asked of the system. Never destroyed, so tensors may
/// outlive every other static object.
struct SharedPool {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  FreeBlock* heads[kSizeClasses] = {};
  std::size_t bytes = 0;
  std::atomic<std::size_t> byte_limit{std::size_t{4} << 30};
  std::atomic<std::size_t> thread_byte_limit{std::size_t{256} << 20};
  std::atomic<Index> system_allocations{0};
  std::atomic<Index> system_bytes{0};
  std::atomic<Index> bytes_in_use_by_ended_threads{0};
  struct ThreadCache* threads = nullptr;  // guarded by mutex

  static SharedPool& instance() {
    static SharedPool* pool = new SharedPool;
    return *pool;
  }

  void* allocate(int size_class) {
    {
      const Lock lock(mutex);
      if (FreeBlock* block = heads[size_class]) {
        heads[size_class] = block->next;
        bytes -= class_bytes(size_class);
        return block;
      }
    }
    return from_system(size_class);
  }

  void* from_system(int size_class) {
    const std::size_t size = class_bytes(size_class);
    constexpr std::size_t kHugePage = std::size_t{2} << 20;
    const bool huge = size >= kHugePage;
    void* block = nullptr;
    if (posix_memalign(&block, huge ? kHugePage : 64, size) != 0) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (huge) madvise(block, size & ~(kHugePage - 1), MADV_HUGEPAGE);  // fewer page faults; a refusal does no harm
#endif
    system_allocations.fetch_add(1, std::memory_order_relaxed);
    system_bytes.fetch_add(static_cast<Index>(size), std::memory_order_relaxed);
    return block;
  }

  void free(void* block, int size_class) {
    const std::size_t size = class_bytes(size_class);
    {
      const Lock lock(mutex);
      if (bytes + size <= byte_limit.load(std::memory_order_relaxed)) {
        heads[size_class] = new (block) FreeBlock{heads[size_class]};
        bytes += size;
        hide_block(block, size);
        return;
      }
    }
    to_system(block, size_class);
  }

  void to_system(void* block, int size_class) {
    show_block(block, class_bytes(size_class));
    std::free(block);
    system_bytes.fetch_sub(static_cast<Index>(class_bytes(size_class)), std::memory_order_relaxed);
  }

  void release() {
    const Lock lock(mutex);
    for (int c = 0; c < kSizeClasses; ++c)
      while (FreeBlock* block = heads[c]) {
        heads[c] = block->next;
        to_system(block, c);
      }
    bytes = 0;
  }
};

/// The blocks that one thread freed. Constant-initialised and trivially destructible, so access costs no guard; a
/// `CacheOwner` registers it on first use of the slow path and drains it at thread exit.
struct ThreadCache {
  FreeBlock* heads[kSizeClasses];
  std::size_t bytes;
  std::size_t byte_limit;  // 0 until registered and after thread exit: frees go to the shared pool
  std::atomic<Index> bytes_in_use;
  ThreadCache* next;

  void drain(SharedPool& pool) {
    for (int c = 0; c < kSizeClasses; ++c)
      while (FreeBlock* block = heads[c]) {
        heads[c] = block->next;
        show_block(block, class_bytes(c));
        pool.free(block, c);
      }
    bytes = 0;
  }
};
inline constinit thread_local ThreadCache thread_cache{};

struct CacheOwner {
  CacheOwner() {
    SharedPool& pool = SharedPool::instance();
    thread_cache.byte_limit = pool.thread_byte_limit.load(std::memory_order_relaxed);
    const Lock lock(pool.mutex);
    thread_cache.next = pool.threads;
    pool.threads = &thread_cache;
  }
  ~CacheOwner() {
    SharedPool& pool = SharedPool::instance();
    thread_cache.byte_limit = 0;
    thread_cache.drain(pool);
    const Lock lock(pool.mutex);
    for (ThreadCache** link = &pool.threads; *link; link = &(*link)->next)
      if (*link == &thread_cache) {
        *link = thread_cache.next;
        break;
      }
    pool.bytes_in_use_by_ended_threads.fetch_add(thread_cache.bytes_in_use.exchange(0, std::memory_order_relaxed),
                                                 std::memory_order_relaxed);
  }
};

[[gnu::cold, gnu::noinline]] inline void* allocate_slowly(int size_class) {
  thread_local CacheOwner owner;
  (void)owner;
  void* block = SharedPool::instance().allocate(size_class);
  show_block(block, class_bytes(size_class));
  return block;
}

/// At least `bytes` bytes, aligned to 64. Throws std::bad_alloc.
[[gnu::noinline]] inline void* allocate_block(std::size_t bytes) {
  if (bytes > (std::size_t{1} << 44)) throw std::bad_alloc();
  const int c = size_class(bytes);
  ThreadCache& cache = thread_cache;
  const auto size = static_cast<Index>(class_bytes(c));
  cache.bytes_in_use.store(cache.bytes_in_use.load(std::memory_order_relaxed) + size, std::memory_order_relaxed);
  if (FreeBlock* block = cache.heads[c]) {
    cache.heads[c] = block->next;
    cache.bytes -= class_bytes(c);
    show_block(block, class_bytes(c));
    return block;
  }
  return allocate_slowly(c);
}

/// Gives back a block of `allocate_block(bytes)`, on any thread.
[[gnu::noinline]] inline void free_block(void* block, std::size_t bytes) noexcept {
  const int c = size_class(bytes);
  ThreadCache& cache = thread_cache;
  const std::size_t size = class_bytes(c);
  cache.bytes_in_use.store(cache.bytes_in_use.load(std::memory_order_relaxed) - static_cast<Index>(size),
                           std::memory_order_relaxed);
  if (cache.bytes + size <= cache.byte_limit) {
    cache.heads[c] = new (block) FreeBlock{cache.heads[c]};
    cache.bytes += size;
    hide_block(block, size);
    return;
  }
  SharedPool::instance().free(block, c);
}

/// Uninitialised numbers from the block caches, for as long as it lives.
template <class T>
class Workspace {
 public:
  explicit Workspace(Index count)
      : bytes_(static_cast<std::size_t>(count) * sizeof(T)),
        numbers_(count > 0 ? static_cast<T*>(allocate_block(bytes_)) : nullptr) {}
  ~Workspace() {
    if (numbers_) free_block(numbers_, bytes_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void swap(Workspace& other) {
    std::swap(bytes_, other.bytes_);
    std::swap(numbers_, other.numbers_);
  }
  T* data() const { return numbers_; }
  T& operator[](Index i) const { return numbers_[i]; }

 private:
  std::size_t bytes_;
  T* numbers_;
};

/// Standard allocator on the block caches, for containers on hot paths.
template <class T>
struct CacheAllocator {
  using value_type = T;
  CacheAllocator() = default;
  template <class U>
  CacheAllocator(const CacheAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_block(count * sizeof(T))); }
  void deallocate(T* from, std::size_t count) { free_block(from, count * sizeof(T)); }
  bool operator==(const CacheAllocator&) const { return true; }
};

}  // namespace detail

/// Counters over all threads. `bytes_in_use` is exact when no other thread is allocating.
inline MemoryStats memory_stats() {
  detail::SharedPool& pool = detail::SharedPool::instance();
  const detail::Lock lock(pool.mutex);
  Index in_use = pool.bytes_in_use_by_ended_threads.load(std::memory_order_relaxed) +
                 detail::thread_cache.bytes_in_use.load(std::memory_order_relaxed);
  for (detail::ThreadCache* cache = pool.threads; cache; cache = cache->next)
    if (cache != &detail::thread_cache) in_use += cache->bytes_in_use.load(std::memory_order_relaxed);
  return {pool.system_allocations.load(std::memory_order_relaxed), pool.system_bytes.load(std::memory_order_relaxed),
          in_use};
}

/// Gives the blocks cached by this thread and by the shared pool back to the system.
inline void release_cached_memory() {
  detail::SharedPool& pool = detail::SharedPool::instance();
  detail::thread_cache.drain(pool);
  pool.release();
}

/// Byte limits of the caches: of each thread (from its next block on; default 256 MiB) and of the shared pool (4 GiB).
inline void set_cache_limits(std::size_t thread_bytes, std::size_t shared_bytes) {
  detail::SharedPool& pool = detail::SharedPool::instance();
  pool.thread_byte_limit.store(thread_bytes, std::memory_order_relaxed);
  pool.byte_limit.store(shared_bytes, std::memory_order_relaxed);
  if (detail::thread_cache.byte_limit != 0) detail::thread_cache.byte_limit = thread_bytes;
}

}  // namespace GRAFT_ABI
}  // namespace graft
