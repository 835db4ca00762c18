#pragma once
// Ranks as threads of one process: what several processes do, where it can be watched and tested.

#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "graft/protocol/transport.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Where the ranks of one process meet.
struct ThreadHub {
  /// The blocks of one exchange, and how many ranks have yet to take each.
  struct Board {
    std::vector<std::shared_ptr<const Bytes>> blocks;
    std::vector<Index> takers;
  };

  explicit ThreadHub(Index ranks) : gone(static_cast<std::size_t>(ranks)) {}
  Index ranks() const { return static_cast<Index>(gone.size()); }
  bool all_gone() const {
    for (const auto& why : gone)
      if (!why) return false;
    return true;
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::map<Index, Board> boards;                 // by the number of the exchange
  std::vector<std::optional<std::string>> gone;  // why each rank left
};

}  // namespace detail

/// A rank among threads of this process.
class ThreadTransport final : public Transport {
 public:
  /// Rank `rank` of those that meet at `hub`; see `run_ranks`.
  ThreadTransport(std::shared_ptr<detail::ThreadHub> hub, Index rank) : hub_(std::move(hub)), rank_(rank) {}
  ~ThreadTransport() override { leave("it has ended", 0); }

  Index rank() const override { return rank_; }
  Index ranks() const override { return hub_->ranks(); }

  Leaving leave(const std::string& why, double seconds) noexcept override {
    std::unique_lock lock(hub_->mutex);
    auto& own = hub_->gone[static_cast<std::size_t>(rank_)];
    if (!own) own = why;
    hub_->changed.notify_all();
    Leaving end{hub_->changed.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return hub_->all_gone(); })};
    for (Index lower = 0; lower < rank_; ++lower)
      end.said = end.said || hub_->gone[static_cast<std::size_t>(lower)] == own;
    return end;
  }

 protected:
  std::unique_ptr<Exchange> open(Index places, Site site) override {
    const std::lock_guard lock(hub_->mutex);
    detail::ThreadHub::Board& board = hub_->boards[number_];
    if (board.blocks.empty()) {
      board.blocks.resize(static_cast<std::size_t>(places));
      board.takers.assign(static_cast<std::size_t>(places), ranks() - 1);
    }
    if (static_cast<Index>(board.blocks.size()) != places)
      fail<Error>("ThreadTransport",
                  {"rank ", rank_, " shares ", places, " places, another rank ", board.blocks.size()}, {}, site);
    // No rank is behind the one before the last.
    hub_->boards.erase(hub_->boards.begin(), hub_->boards.lower_bound(number_ - 1));
    return std::make_unique<Meeting>(*this, number_++);
  }

 private:
  struct Meeting final : Exchange {
    Meeting(ThreadTransport& of, Index at) : own(of), number(at) {}

    void post(Index place, Bytes block) override {
      auto shared = std::make_shared<const Bytes>(std::move(block));
      const std::lock_guard lock(own.hub_->mutex);
      if (own.ranks() > 1) board().blocks[static_cast<std::size_t>(place)] = std::move(shared);
      own.hub_->changed.notify_all();
    }
    std::shared_ptr<const Bytes> wait(Index place) override {
      const auto at = static_cast<std::size_t>(place), owner = static_cast<std::size_t>(own.owner(place));
      std::unique_lock lock(own.hub_->mutex);
      own.hub_->changed.wait(lock, [&] { return board().blocks[at] || own.hub_->gone[owner]; });
      const std::shared_ptr<const Bytes> block = board().blocks[at];
      if (!block) throw RankLost("graft: rank " + std::to_string(owner) + " left: " + own.hub_->gone[owner].value());
      if (--board().takers[at] == 0) board().blocks[at] = nullptr;
      return block;
    }
    detail::ThreadHub::Board& board() { return own.hub_->boards[number]; }

    ThreadTransport& own;
    Index number;
  };

  std::shared_ptr<detail::ThreadHub> hub_;
  Index rank_, number_ = 0;
};

/// Calls `work(transport)` in as many threads as there are to be ranks, each with a transport of its own, and waits for
/// all. An exception of one ends the others where they wait for it; the first that was not caused by another rank's end
/// is rethrown. Throws ValueError for no ranks.
template <class Work>
void run_ranks(Index ranks, const Work& work, Site site = Site::current()) {
  if (ranks < 1) fail("run_ranks", {ranks, " ranks"}, {}, site);
  const auto hub = std::make_shared<detail::ThreadHub>(ranks);
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(ranks));
  std::exception_ptr lost;
  std::vector<std::thread> others;
  const auto run = [&](Index rank) {
    ThreadTransport transport(hub, rank);
    try {
      work(static_cast<Transport&>(transport));
    } catch (const RankLost& error) {
      {
        const std::lock_guard lock(hub->mutex);
        lost = std::current_exception();
      }
      transport.leave(error.what(), 0);
    } catch (const std::exception& error) {
      errors[static_cast<std::size_t>(rank)] = std::current_exception();
      transport.leave(error.what(), 0);
    }
  };
  for (Index rank = 0; rank < ranks; ++rank) others.emplace_back(run, rank);
  for (std::thread& other : others) other.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  if (lost) std::rethrow_exception(lost);
}

}  // namespace GRAFT_ABI
}  // namespace graft
