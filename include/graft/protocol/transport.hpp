#pragma once
// How the ranks of a run, processes or threads that all do the same work, share the part of it that each can do alone:
// place i of a list is computed by rank i % ranks and travels to all others, so that every rank goes on with the same
// numbers and none of them leads the others. A round of the protocol shares its tasks' gradients, a validation its
// episodes' figures. `LocalTransport` is one rank, thread_transport.hpp has ranks of one process, mpi_transport.hpp
// ranks that are processes. Where a `Transport*` is asked for, null means this process alone.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/crowding.hpp"
#include "graft/core/list.hpp"
#include "graft/core/parallel.hpp"
#include "graft/core/stop.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What travels between ranks.
using Bytes = List<std::byte>;

/// Thrown by a rank that waits for another which has ended, or that is told to end while it waits. The work that was to
/// be shared has not changed anything yet, so training saves its state and ends.
class RankLost : public Stopped {
 public:
  using Stopped::Stopped;
};

/// Thrown by all ranks alike when what they must have in common differs.
class RanksDiffer : public ValueError {
 public:
  using ValueError::ValueError;
};

/// What has travelled so far, and how long this rank waited for it.
struct Traffic {
  Index exchanges = 0;
  double sent = 0, received = 0;  ///< bytes; what is sent to several ranks counts for each
  double waited = 0;              ///< seconds between the end of this rank's own places and the arrival of the last
};

/// The end of a rank that does not come to the end of the work.
struct Leaving {
  bool all = true;    ///< all other ranks have left, too
  bool said = false;  ///< a lower rank left with the same words
};

/// One exchange of blocks of bytes, one for each place. A rank posts those of its own places, and waits for each of the
/// others' once.
class Exchange {
 public:
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  virtual ~Exchange() = default;
  /// Begins to send the block of a place of this rank's and returns at once. Several threads may post at once.
  virtual void post(Index place, Bytes block) = 0;
  /// The block of another rank's place, as soon as it is here. Throws RankLost.
  virtual std::shared_ptr<const Bytes> wait(Index place) = 0;
};

/// A rank's way to the others. All ranks call the same functions in the same order, each from one thread.
class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  virtual Index rank() const = 0;
  virtual Index ranks() const = 0;
  /// True for rank 0, which alone prints and writes files.
  bool leads() const { return rank() == 0; }
  /// Whose place it is.
  Index owner(Index place) const { return place % ranks(); }

  /// Says, before a rank ends without the others, why; a rank that waits for it gets RankLost with these words. Waits
  /// up to `seconds` for the others to leave as well. A rank that has left shares nothing any more.
  virtual Leaving leave(const std::string& why, double seconds) noexcept = 0;
  /// Ends the process, and those of the other ranks that did not leave.
  [[noreturn]] virtual void abort(int code) noexcept { std::_Exit(code); }

  Traffic traffic() const {
    return {exchanges_, static_cast<double>(sent_.load()), static_cast<double>(received_), 1e-9 * waited_};
  }

  /// Calls `make(place)` -> Bytes for each of this rank's places below `places`, on several threads at once, and
  /// `take(place, bytes)` for each of the others', in the order of the places. What is made travels while more is made.
  /// Throws RankLost, and what `make` and `take` throw; no more can be shared then.
  template <class Make, class Take>
  void share(Index places, const Make& make, const Take& take, Site site = Site::current()) {
    if (given_up_) throw RankLost("graft: Transport: an earlier exchange was given up");
    given_up_ = true;
    // A rank without a place posts an empty block, so none is further ahead than one exchange.
    const Index all = std::max(places, ranks()), own = (places - rank() + ranks() - 1) / ranks();
    const std::unique_ptr<Exchange> exchange = open(all, site);
    const auto post = [&](Index place, Bytes block) {
      sent_ += block.size() * (ranks() - 1);
      exchange->post(place, std::move(block));
    };
    if (rank() >= places) post(rank(), Bytes());
    parallel_tasks(own, [&](Index i) {
      const Index place = rank() + i * ranks();
      post(place, make(place));
    });
    for (Index place = 0; place < all; ++place) {
      if (owner(place) == rank()) continue;
      const std::int64_t start = detail::nanoseconds();
      const std::shared_ptr<const Bytes> block = exchange->wait(place);
      waited_ += static_cast<double>(detail::nanoseconds() - start);
      received_ += block->size();
      if (place < places) take(place, *block);
    }
    ++exchanges_;
    given_up_ = false;
  }

  /// Each rank's text, in the order of the ranks. Throws RankLost.
  std::vector<std::string> gather(const std::string& own, Site site = Site::current()) {
    std::vector<std::string> texts(static_cast<std::size_t>(ranks()));
    texts[static_cast<std::size_t>(rank())] = own;
    share(
        ranks(), [&](Index) { return Bytes(std::as_bytes(std::span(own))); },
        [&](Index from, const Bytes& block) {
          texts[static_cast<std::size_t>(from)].assign(reinterpret_cast<const char*>(block.data()),
                                                       static_cast<std::size_t>(block.size()));
        },
        site);
    return texts;
  }

  /// Throws RanksDiffer, in every rank, unless all gave the same text: it names the lowest rank that has another one
  /// than rank 0, and the first line in which they differ. `what` says what the text is: "options". Throws RankLost.
  void agree(const std::string& what, const std::string& text, Site site = Site::current()) {
    const std::vector<std::string> texts = gather(text, site);
    for (std::size_t other = 1; other < texts.size(); ++other) {
      if (texts[other] == texts[0]) continue;
      const auto line = [](const std::string& of, std::size_t at) {
        return at < of.size() ? of.substr(at, of.find('\n', at) - at) : std::string();
      };
      std::size_t at = 0, start = 0;
      for (; at < std::min(texts[0].size(), texts[other].size()) && texts[0][at] == texts[other][at]; ++at)
        if (texts[0][at] == '\n') start = at + 1;
      fail<RanksDiffer>("Transport",
                        {what, " differ: rank ", other, " has \"", line(texts[other], start), "\", rank 0 has \"",
                         line(texts[0], start), "\""},
                        {}, site);
    }
  }

  /// The number that rank 0 has: what was measured, such as a time, decides the same in all ranks. Throws RankLost.
  double of_first(double own, Site site = Site::current()) {
    share(
        1, [&](Index) { return Bytes(std::as_bytes(std::span(&own, 1))); },
        [&](Index, const Bytes& block) { std::memcpy(&own, block.data(), sizeof own); }, site);
    return own;
  }

 protected:
  /// Begins an exchange; the one before has ended. All ranks call it with the same number of places, at least one for
  /// each. Throws RankLost, and Error where the ranks do not fit together.
  virtual std::unique_ptr<Exchange> open(Index places, Site site) = 0;

 private:
  std::atomic<Index> sent_{0};
  Index received_ = 0, exchanges_ = 0;
  double waited_ = 0;  // nanoseconds
  bool given_up_ = false;
};

/// One rank, without others.
class LocalTransport final : public Transport {
 public:
  Index rank() const override { return 0; }
  Index ranks() const override { return 1; }
  Leaving leave(const std::string&, double) noexcept override { return {}; }

 protected:
  std::unique_ptr<Exchange> open(Index, Site) override {
    struct Nothing final : Exchange {
      void post(Index, Bytes) override {}
      std::shared_ptr<const Bytes> wait(Index) override { return nullptr; }
    };
    return std::make_unique<Nothing>();
  }
};

/// Whether this process prints and writes: rank 0, and a process without others.
inline bool leads(const Transport* transport) { return !transport || transport->leads(); }

/// figure(i) of i = 0 .. count - 1, a number each, computed by one of the ranks on several threads and known to all:
/// the numbers that one process would have. Throws RankLost, and what `figure` throws.
template <class Figure>
std::vector<double> shared_figures(Transport* transport, Index count, const Figure& figure,
                                   Site site = Site::current()) {
  std::vector<double> figures(static_cast<std::size_t>(count));
  const Index first = transport ? transport->rank() : 0, stride = transport ? transport->ranks() : 1;
  const Index own = (count - first + stride - 1) / stride;
  parallel_tasks(own, [&](Index i) {
    const Index at = first + i * stride;
    figures[static_cast<std::size_t>(at)] = figure(at);
  });
  if (!transport || stride == 1) return figures;
  // One block a rank: figure j of its block is of place rank + j ranks.
  transport->share(
      stride,
      [&](Index) {
        List<double> numbers;
        for (Index at = first; at < count; at += stride) numbers.push_back(figures[static_cast<std::size_t>(at)]);
        return Bytes(std::as_bytes(std::span(numbers)));
      },
      [&](Index from, const Bytes& block) {
        const Index there = (count - from + stride - 1) / stride;
        if (block.size() != there * static_cast<Index>(sizeof(double)))
          fail<Error>("shared_figures", {"rank ", from, " sent ", block.size(), " bytes for ", there, " figures"}, {},
                      site);
        for (Index j = 0; j < there; ++j)
          std::memcpy(&figures[static_cast<std::size_t>(from + j * stride)], &block[j * Index{sizeof(double)}],
                      sizeof(double));
      },
      site);
  return figures;
}

}  // namespace GRAFT_ABI
}  // namespace graft
