// Memory: sizes and caches of blocks, several threads, and what is given back to the system.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/matmul.hpp"

using namespace graft;

namespace {

/// Hands tensors from one thread to another, a few at a time.
class Channel {
 public:
  void put(Tensor<> batch) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() < 4; });
    batches_.push_back(std::move(batch));
    changed_.notify_all();
  }
  Tensor<> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !batches_.empty(); });
    Tensor<> batch = std::move(batches_.front());
    batches_.pop_front();
    changed_.notify_all();
    return batch;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Tensor<>> batches_;
};

/// Bytes held from the system that no block uses.
Index cached_bytes() {
  const MemoryStats stats = memory_stats();
  return stats.system_bytes - stats.bytes_in_use;
}

/// Restores the default limits.
struct Limits {
  Limits(std::size_t thread_bytes, std::size_t shared_bytes) { set_cache_limits(thread_bytes, shared_bytes); }
  ~Limits() { set_cache_limits(std::size_t{256} << 20, std::size_t{4} << 30); }
};

}  // namespace

TEST_CASE("size classes hold what is asked for and waste at most a quarter", "[memory]") {
  int before = -1;
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 45); bytes += 1 + bytes / 7) {
    for (std::size_t exact : {bytes, (bytes + 63) / 64 * 64}) {
      const int c = detail::size_class(exact);
      REQUIRE(c >= 0);
      REQUIRE(c < detail::kSizeClasses);
      REQUIRE(detail::class_bytes(c) >= exact);
      REQUIRE(detail::class_bytes(c) % 64 == 0);
      if (c > 0) REQUIRE(detail::class_bytes(c - 1) < exact);
      if (exact > 512) REQUIRE(detail::class_bytes(c) - exact <= exact / 4);
    }
    REQUIRE(detail::size_class(bytes) >= before);
    before = detail::size_class(bytes);
  }
  CHECK(detail::size_class(0) == 0);
  CHECK_THROWS_AS(detail::allocate_block(std::size_t{1} << 45), std::bad_alloc);
}

TEST_CASE("freed blocks are used again, small and large", "[memory]") {
  const auto work = [] {
    const Tensor<> small = ones({5}), large = ones({1 << 20});
    return sum(large * 2.0f) + sum(small);
  };
  work();
  const MemoryStats before = memory_stats();
  for (int i = 0; i < 50; ++i) work();
  const MemoryStats after = memory_stats();
  CHECK(after.system_allocations == before.system_allocations);
  CHECK(after.system_bytes == before.system_bytes);
  CHECK(after.bytes_in_use == before.bytes_in_use);
}

TEST_CASE("bytes in use count live blocks", "[memory]") {
  const Index before = memory_stats().bytes_in_use;
  {
    const Tensor<> x = zeros({1000});
    const Index used = memory_stats().bytes_in_use - before;
    CHECK(used >= 4000);
    CHECK(used <= 4000 + 4000 / 4 + 512);
    const Tensor<> view = reshape(x, {10, 100}), copy = x;
    CHECK(memory_stats().bytes_in_use - before - used <= 128);  // a header
  }
  CHECK(memory_stats().bytes_in_use == before);
}

TEST_CASE("cached memory goes back to the system when asked", "[memory]") {
  release_cached_memory();
  const Index held_by_others = cached_bytes();  // by threads that earlier tests left waiting
  { const Tensor<> x = zeros({1 << 20}); }
  CHECK(cached_bytes() >= held_by_others + (1 << 22));
  const Tensor<> kept = ones({1000});
  release_cached_memory();
  CHECK(cached_bytes() <= held_by_others);
  CHECK(kept.at({999}) == 1);
}

TEST_CASE("caches keep to their byte limits", "[memory]") {
  release_cached_memory();
  const Index before = cached_bytes();
  const auto fill = [] {
    std::vector<Tensor<>> many(64, Tensor<>());
    for (auto& t : many) t = zeros({1 << 16});
  };
  {
    const Limits limits(1 << 20, 2 << 20);
    fill();  // 16 MiB
    CHECK(cached_bytes() - before <= (3 << 20));
    CHECK(cached_bytes() - before >= (2 << 20));
  }
  release_cached_memory();
  fill();
  CHECK(cached_bytes() - before >= (16 << 20));
  release_cached_memory();
}

TEST_CASE("a producer and a consumer run in constant memory", "[memory][threads]") {
  release_cached_memory();
  const auto run = [](bool backward) {
    Channel channel, results;
    std::atomic<bool> wrong = false;
    Index settled = 0, highest = 0;
    std::thread producer([&] {
      for (int i = 0; i < 10000; ++i) channel.put(full<float>({2000}, static_cast<float>(i % 97)));
    });
    std::thread consumer([&] {
      for (int i = 0; i < 10000; ++i) {
        const Tensor<> batch = channel.take();
        const auto mean_square = [&](const Tensor<>& w) { return sum(square(batch * w)) * (1 / 2000.0f); };
        const float expected = static_cast<float>(i % 97) * static_cast<float>(i % 97);
        if (backward) {
          if (std::abs(grad(mean_square, Tensor<>(1.0f)).item() - 2 * expected) > 1e-3f * expected) wrong = true;
        } else if (std::abs(mean_square(Tensor<>(1.0f)).item() - expected) > 1e-3f * expected) {
          wrong = true;
        }
        if (i == 1000) settled = memory_stats().system_bytes;
        if (i > 1000) highest = std::max(highest, memory_stats().system_bytes);
      }
    });
    producer.join();
    consumer.join();
    CHECK_FALSE(wrong);
    INFO("settled at " << settled << " bytes, highest " << highest);
    return highest - settled;
  };
  // The consumer's cache is a cache of its own: blocks that the producer made pile up there up to its limit. With a
  // limit of 1 MiB it is full within the first 1000 batches of 8 KiB; from then on at most one block more is on its
  // way.
  const Limits limits(1 << 20, std::size_t{4} << 30);
  CHECK(run(false) <= 8 * 16384);
  CHECK(run(true) <= 8 * 16384);
  release_cached_memory();
}

TEST_CASE("a thread's cache is drained when it ends", "[memory][threads]") {
  release_cached_memory();
  const MemoryStats before = memory_stats();
  Tensor<> survivor;
  std::thread([&] {
    { const Tensor<> x = zeros({1 << 20}); }
    survivor = ones({100});
    CHECK(memory_stats().system_bytes - before.system_bytes >= (1 << 22));
  }).join();
  CHECK(survivor.at({99}) == 1);
  // What it freed serves other threads without asking the system again.
  const Index asked = memory_stats().system_allocations;
  { const Tensor<> x = zeros({1 << 20}); }
  CHECK(memory_stats().system_allocations == asked);
  survivor = Tensor<>();
  CHECK(memory_stats().bytes_in_use == before.bytes_in_use);
  release_cached_memory();
  CHECK(memory_stats().system_bytes - before.system_bytes < (1 << 20));
  // A hundred threads one after the other leave no more behind than one.
  const auto once = [] {
    std::thread([] { const Tensor<> x = zeros({1 << 20}) + 1.0f; }).join();
    return memory_stats().system_bytes;
  };
  const Index first = once();
  for (int i = 0; i < 100; ++i) REQUIRE(once() == first);
  release_cached_memory();
}

TEST_CASE("threads share a tensor and let go of it in any order", "[memory][threads]") {
  const Index before = memory_stats().bytes_in_use;
  for (int repeat = 0; repeat < 200; ++repeat) {
    Tensor<> shared = full<float>({1000}, 2), tracked = variable(shared) * 3.0f;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> team;
    for (int t = 0; t < 2; ++t)
      team.emplace_back([x = shared, y = tracked, &wrong]() mutable {
        for (int i = 0; i < 50; ++i) {
          Tensor<> copy = x, view = reshape(y, {10, 100});
          if (copy.at({999}) != 2 || view.at({9, 99}) != 6 || sum(copy).item() != 2000) ++wrong;
          x = copy;
        }
        x = Tensor<>();
        y = Tensor<>();
      });
    shared = Tensor<>();
    tracked = Tensor<>();
    for (std::thread& thread : team) thread.join();
    REQUIRE(wrong == 0);
  }
  CHECK(memory_stats().bytes_in_use == before);
}

TEST_CASE("tasks and kernels split work by its size and pass on the first error", "[threads]") {
  for (int count : {1, 2, 3, 8}) {
    set_threads(count);
#ifdef _OPENMP
    CHECK(threads() == count);
#else
    CHECK(threads() == 1);
#endif
    std::vector<int> seen(1000, 0);
    parallel_for(1000, 64, [&](Index begin, Index end) {
      if (begin % 64 != 0 || (end != begin + 64 && end != 1000)) ++seen[0];
      for (Index i = begin; i < end; ++i) ++seen[i];
    });
    CHECK(seen == std::vector<int>(1000, 1));

    std::vector<int> nested(8, 0);
    parallel_tasks(8, [&](Index i) {
      // Inside a task, work stays on its thread.
      parallel_for(100, 1, [&](Index begin, Index) { nested[i] += inside_parallel() && begin >= 0; });
    });
    CHECK(nested == std::vector<int>(8, 100));
    CHECK_FALSE(inside_parallel());

    // All calls are made, and the error of the lowest is the one that is seen.
    std::atomic<int> calls = 0;
    CHECK_THROWS_WITH(parallel_tasks(8,
                                     [&](Index i) {
                                       ++calls;
                                       if (i >= 3) fail("task", "number " + std::to_string(i));
                                     }),
                      contains("number 3"));
    CHECK(calls == 8);
    CHECK_FALSE(inside_parallel());
    parallel_tasks(0, [](Index) { FAIL(); });
    parallel_for(0, 16, [](Index, Index) { FAIL(); });
  }
  set_threads(0);
}
