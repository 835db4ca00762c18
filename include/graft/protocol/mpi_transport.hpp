#pragma once
// Ranks as processes, on one machine or many, that MPI started: mpirun -n 4 PROGRAM. Blocks go from each rank to each
// other by non-blocking sends. A thread beside the work moves them on while the work goes on; MPI is called by one
// thread at a time (MPI_THREAD_SERIALIZED).
//
// A program that includes this header is compiled and linked with MPI: CMake's target graft::mpi.

#include <time.h>

#include <algorithm>
#include <climits>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

// The C++ classes that MPI once had are left out.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include "graft/protocol/transport.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A rank among the processes of MPI_COMM_WORLD. One for the process; it starts MPI, and ends it, unless MPI was
/// started before. When it is destroyed by an exception it leaves, and aborts the run if the others do not leave within
/// two seconds.
class MpiTransport final : public Transport {
 public:
  /// True if a launcher (mpirun, mpiexec, srun with PMI) started this process as a rank, maybe the only one.
  static bool launched() {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MPI_LOCALRANKID"})
      if (std::getenv(name)) return true;
    return false;
  }

  /// All processes make theirs at the same time. A rank that waits throws RankLost when `stop` asks for the end. Throws
  /// Error if this MPI cannot be called by several threads in turn.
  explicit MpiTransport(const StopFlag* stop = nullptr, Site site = Site::current()) : stop_(stop) {
    int before = 0, level = 0;
    MPI_Initialized(&before);
    starts_ = before == 0;
    if (starts_)
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level);
    else
      MPI_Query_thread(&level);
    if (level < MPI_THREAD_SERIALIZED)
      fail<Error>("MpiTransport", "MPI was started without MPI_THREAD_SERIALIZED", {}, site);
    for (MPI_Comm* own : {&parts_, &notices_}) {
      MPI_Comm_dup(MPI_COMM_WORLD, own);
      MPI_Comm_set_errhandler(*own, MPI_ERRORS_RETURN);
    }
    MPI_Comm_rank(parts_, &rank_);
    MPI_Comm_size(parts_, &ranks_);
    void* highest = nullptr;
    int known = 0;
    MPI_Comm_get_attr(parts_, MPI_TAG_UB, &highest, &known);
    if (known) highest_tag_ = *static_cast<int*>(highest);
    gone_.resize(static_cast<std::size_t>(ranks_));
    if (ranks_ > 1) mover_ = std::thread([this] { keep_moving(); });
  }
  ~MpiTransport() override {
    if (std::uncaught_exceptions() > exceptions_ && !leave("it has ended by an exception", 2).all) abort(1);
    {
      std::unique_lock lock(mutex_);
      while (!sends_.requests.empty() && error_.empty() && std::none_of(gone_.begin(), gone_.end(), has_left)) {
        pause(lock, kShortest);
        move();
      }
      ends_ = true;
    }
    changed_.notify_all();
    if (mover_.joinable()) mover_.join();
    MPI_Comm_free(&parts_);
    MPI_Comm_free(&notices_);
    if (starts_) MPI_Finalize();
  }

  Index rank() const override { return rank_; }
  Index ranks() const override { return ranks_; }

  Leaving leave(const std::string& why, double seconds) noexcept override {
    Leaving end;
    const std::int64_t deadline = detail::nanoseconds() + static_cast<std::int64_t>(1e9 * seconds);
    std::unique_lock lock(mutex_);
    const auto own = static_cast<std::size_t>(rank_);
    if (!gone_[own]) {
      gone_[own] = why.substr(0, kLongestNotice);
      for (int other = 0; other < ranks_; ++other) {
        if (other == rank_) continue;
        notice_sends_.emplace_back();
        MPI_Isend(std::data(*gone_[own]), static_cast<int>(gone_[own]->size()), MPI_BYTE, other, 0, notices_,
                  &notice_sends_.back());
      }
    }
    const auto wait_for = [&](auto done) {
      while (!done()) {
        if (detail::nanoseconds() > deadline) return false;
        pause(lock, kShortest);
        move();
      }
      return true;
    };
    // Until everything that was under way has arrived, here and there: MPI ends in order then.
    const auto all_left = [&] {
      int sent = 1;
      MPI_Testall(static_cast<int>(notice_sends_.size()), std::data(notice_sends_), &sent, MPI_STATUSES_IGNORE);
      return sent != 0 && sends_.requests.empty() && std::all_of(gone_.begin(), gone_.end(), has_left);
    };
    end.all = wait_for(all_left);
    for (std::size_t lower = 0; lower < own; ++lower) end.said = end.said || gone_[lower] == gone_[own];
    if (!end.all) return end;
    MPI_Request barrier;
    MPI_Ibarrier(notices_, &barrier);
    end.all = wait_for([&] {
      int here = 0;
      MPI_Test(&barrier, &here, MPI_STATUS_IGNORE);
      return here != 0;
    });
    return end;
  }

  [[noreturn]] void abort(int code) noexcept override {
    MPI_Abort(MPI_COMM_WORLD, code);
    std::_Exit(code);
  }

 protected:
  std::unique_ptr<Exchange> open(Index places, Site site) override {
    if (2 * places > highest_tag_)
      fail<Error>("MpiTransport", {places, " places, but this MPI tells only ", highest_tag_ / 2, " apart"}, {}, site);
    std::unique_lock lock(mutex_);
    wait_until(
        lock, [&] { return sends_.requests.empty(); }, [] { return std::string("the last exchange to end"); });
    parity_ ^= 1;
    auto& blocks = blocks_[parity_];
    if (static_cast<Index>(blocks.size()) > places) fail_places(static_cast<Index>(blocks.size()) - 1, places);
    blocks.resize(static_cast<std::size_t>(places));
    places_ = places;
    changed_.notify_all();
    return std::make_unique<Round>(*this);
  }

 private:
  static constexpr std::size_t kLongestNotice = 4000;
  static constexpr std::int64_t kShortest = 20000, kLongest = 1000000;  // nanoseconds between two looks

  static constexpr std::int64_t kGrace = 100000000;

  static bool has_left(const std::optional<std::string>& why) { return why.has_value(); }

  struct Round final : Exchange {
    explicit Round(MpiTransport& of) : own(of) {}
    ~Round() override {
      const std::lock_guard lock(own.mutex_);
      own.blocks_[own.parity_].clear();
      own.places_ = 0;
    }
    void post(Index place, Bytes block) override { own.post(place, std::move(block)); }
    std::shared_ptr<const Bytes> wait(Index place) override { return own.wait(place); }
    MpiTransport& own;
  };

  /// Requests under way, each with the block that it reads or fills.
  template <class Block>
  struct Requests {
    std::vector<MPI_Request> requests;
    std::vector<Block> blocks;
    std::vector<int> done;

    /// Calls `end(block)` for those that have ended and forgets them. Whether there were any; an error's code in
    /// `code`.
    template <class End>
    bool test(int& code, const End& end) {
      if (requests.empty()) return false;
      done.resize(requests.size());
      int count = 0;
      const int result = MPI_Testsome(static_cast<int>(requests.size()), std::data(requests), &count, std::data(done),
                                      MPI_STATUSES_IGNORE);
      if (result != MPI_SUCCESS) code = result;
      if (count == MPI_UNDEFINED || count <= 0) return false;
      for (int i = 0; i < count; ++i) end(blocks[static_cast<std::size_t>(done[static_cast<std::size_t>(i)])]);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < requests.size(); ++i) {
        if (requests[i] == MPI_REQUEST_NULL) continue;
        if (kept != i) {
          requests[kept] = requests[i];
          blocks[kept] = std::move(blocks[i]);
        }
        ++kept;
      }
      requests.resize(kept);
      blocks.resize(kept);
      return true;
    }
  };
  /// A block that is being received, and where it belongs.
  struct Incoming {
    std::shared_ptr<Bytes> block;
    int parity = 0;
    Index place = 0;
  };

  /// A block goes to every other rank, the next one first, so that not all send to the same.
  void post(Index place, Bytes block) {
    if (ranks_ == 1) return;
    if (block.size() > INT_MAX)
      fail<Error>("MpiTransport", {"a block of ", block.size(), " bytes: MPI sends up to ", INT_MAX, " at once"});
    const auto shared = std::make_shared<const Bytes>(std::move(block));
    const std::lock_guard lock(mutex_);
    for (int k = 1; k < ranks_; ++k) {
      sends_.requests.emplace_back();
      sends_.blocks.push_back(shared);
      note(MPI_Isend(std::data(*shared), static_cast<int>(shared->size()), MPI_BYTE, (rank_ + k) % ranks_,
                     static_cast<int>(2 * place) + parity_, parts_, &sends_.requests.back()));
    }
    move();
    changed_.notify_all();
  }
  std::shared_ptr<const Bytes> wait(Index place) {
    const auto at = static_cast<std::size_t>(place), from = static_cast<std::size_t>(owner(place));
    std::unique_lock lock(mutex_);
    const auto here = [&] { return blocks_[parity_][at] != nullptr; };
    std::int64_t left = 0;  // when it was seen to have left: a block that it sent before may come after its notice
    const auto lost = [&] {
      if (gone_[from] && left == 0) left = detail::nanoseconds();
      return left > 0 && detail::nanoseconds() - left > kGrace;
    };
    wait_until(
        lock, [&] { return here() || lost(); }, [&] { return "rank " + std::to_string(from); });
    if (!here()) throw RankLost("graft: rank " + std::to_string(from) + " left: " + *gone_[from]);
    return std::exchange(blocks_[parity_][at], nullptr);
  }

  /// Looks again and again until `done()`; `whom()` says what is waited for.
  template <class Done, class Whom>
  void wait_until(std::unique_lock<std::mutex>& lock, const Done& done, const Whom& whom) {
    std::int64_t between = 0;
    for (;;) {
      const bool moved = move();
      if (!error_.empty())
        throw RankLost("graft: MPI failed while rank " + std::to_string(rank_) + " waited for " + whom() + ": " +
                       error_);
      if (done()) return;
      if (stop_requested(stop_))
        throw RankLost("graft: rank " + std::to_string(rank_) + " was told to end while it waited for " + whom() +
                       " (a rank was killed, or the run cancelled)");
      between = moved ? 0 : std::min(std::max(2 * between, kShortest), kLongest / 2);
      pause(lock, between);
    }
  }
  /// Lets others have the lock for so many nanoseconds.
  static void pause(std::unique_lock<std::mutex>& lock, std::int64_t time) {
    lock.unlock();
    if (time > 0) {
      const timespec length{0, static_cast<long>(time)};
      ::nanosleep(&length, nullptr);
    } else {
      std::this_thread::yield();
    }
    lock.lock();
  }

  /// What the thread beside the work does: moves blocks on while an exchange is under way.
  void keep_moving() {
    std::unique_lock lock(mutex_);
    std::int64_t between = 0;
    while (!ends_) {
      if (places_ == 0 && sends_.requests.empty()) {
        changed_.wait(lock);
        between = 0;
        continue;
      }
      between = move() ? kShortest : std::min(std::max(2 * between, kShortest), kLongest);
      pause(lock, between);
    }
  }

  /// Receives what has come, and ends sends that have arrived; whether there was anything. Under the lock, as is all
  /// below.
  bool move() {
    bool moved = false;
    for (;;) {
      int found = 0;
      MPI_Message message;
      MPI_Status status;
      note(MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, parts_, &found, &message, &status));
      if (!found) break;
      int bytes = 0;
      MPI_Get_count(&status, MPI_BYTE, &bytes);
      auto block = std::make_shared<Bytes>(Index{bytes});
      receives_.requests.emplace_back();
      note(MPI_Imrecv(std::data(*block), bytes, MPI_BYTE, &message, &receives_.requests.back()));
      receives_.blocks.push_back({std::move(block), status.MPI_TAG & 1, status.MPI_TAG / 2});
      moved = true;
    }
    int code = MPI_SUCCESS;
    moved |= receives_.test(code, [&](Incoming& in) { arrive(in); });
    moved |= sends_.test(code, [](std::shared_ptr<const Bytes>& block) { block = nullptr; });
    note(code);
    for (;;) {
      int found = 0;
      MPI_Message message;
      MPI_Status status;
      MPI_Improbe(MPI_ANY_SOURCE, 0, notices_, &found, &message, &status);
      if (!found) break;
      int bytes = 0;
      MPI_Get_count(&status, MPI_BYTE, &bytes);
      std::string why(static_cast<std::size_t>(bytes), ' ');
      MPI_Mrecv(std::data(why), bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE);
      gone_[static_cast<std::size_t>(status.MPI_SOURCE)] = std::move(why);
      moved = true;
    }
    return moved;
  }
  /// A block may be of this exchange, or of the next one where its sender has come further.
  void arrive(Incoming& in) {
    auto& blocks = blocks_[in.parity];
    const auto at = static_cast<std::size_t>(in.place);
    const bool now = in.parity == parity_ && places_ > 0;
    if (now && in.place >= places_) {
      error_ = "the ranks share different numbers of places";
      return;
    }
    if (at >= blocks.size()) blocks.resize(at + 1);
    blocks[at] = std::move(in.block);
  }
  [[noreturn]] void fail_places(Index place, Index places) const {
    fail<Error>("MpiTransport", {"rank ", rank_, " shares ", places, " places, rank ", owner(place), " place ", place});
  }
  /// Keeps the first error of MPI, for whoever waits.
  void note(int code) {
    if (code == MPI_SUCCESS || !error_.empty()) return;
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    MPI_Error_string(code, text, &length);
    error_.assign(text, static_cast<std::size_t>(length));
  }

  const StopFlag* stop_;
  int exceptions_ = std::uncaught_exceptions();
  bool starts_ = false;
  MPI_Comm parts_ = MPI_COMM_NULL, notices_ = MPI_COMM_NULL;
  int rank_ = 0, ranks_ = 1, highest_tag_ = 32767;  // the least that MPI promises

  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  int parity_ = 0;    // of the exchange: its blocks are told from the next one's by it
  Index places_ = 0;  // of the exchange under way; 0: none is
  std::vector<std::shared_ptr<const Bytes>> blocks_[2];
  Requests<std::shared_ptr<const Bytes>> sends_;
  Requests<Incoming> receives_;
  std::vector<std::optional<std::string>> gone_;  // why each rank left
  std::vector<MPI_Request> notice_sends_;
  std::string error_;
  std::thread mover_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
