#pragma once
// What every transport promises, as functions that each rank calls and that throw where it is not so: for ranks that
// are threads (transport_test.cpp) and for those that are processes (mpi/ranks.cpp).

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "graft/graft.hpp"
#include "graft/multitask/pcgrad.hpp"
#include "graft/optim/adam.hpp"
#include "graft/protocol/rank_parts.hpp"
#include "graft/train/train.hpp"

namespace transport_checks {

using namespace graft;

inline void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("not so: " + what);
}

/// A block of `size` bytes that only this place of this exchange has.
inline Bytes block_of(Index exchange, Index place, Index size) {
  Bytes block(size);
  for (Index i = 0; i < size; ++i) block[i] = static_cast<std::byte>((exchange * 31 + place * 7 + i) % 251);
  return block;
}
inline void nap(Index milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

/// Blocks of all sizes arrive whole, each at its place, in the order of the places, whatever the order in which they
/// were made; also where ranks have no place.
inline void exchanges(Transport& ranks) {
  const Index sizes[] = {0, 1, 8, 4096, 70000, 1500000};
  Index number = 0;
  double sent = 0, received = 0;
  for (const Index places : {Index{0}, Index{1}, Index{2}, ranks.ranks(), 3 * ranks.ranks() + 1})
    for (int again = 0; again < 4; ++again, ++number) {
      const auto size = [&](Index place) { return sizes[(place + number) % 6]; };
      std::atomic<Index> made{0};
      std::vector<Index> taken;
      ranks.share(
          places,
          [&](Index place) {
            require(ranks.owner(place) == ranks.rank(), "a rank makes its own places only");
            ++made;
            if (again % 2 == 1) nap((place * 13 + number * 7) % 5);  // the first are not always the first to be ready
            return block_of(number, place, size(place));
          },
          [&](Index place, const Bytes& block) {
            require(block == block_of(number, place, size(place)), "a block is that of its place");
            taken.push_back(place);
          });
      std::vector<Index> others;
      Index own = 0;
      for (Index place = 0; place < places; ++place) {
        if (ranks.owner(place) == ranks.rank()) {
          ++own;
          sent += static_cast<double>(size(place) * (ranks.ranks() - 1));
        } else {
          others.push_back(place);
          received += static_cast<double>(size(place));
        }
      }
      require(made == own && taken == others, "every place is made once and taken by all others, in order");
    }
  const Traffic traffic = ranks.traffic();
  require(traffic.exchanges == number && traffic.sent == sent && traffic.received == received, "traffic is counted");
}

/// What is ready travels while more is made: rank 0 has the first block of rank 1, too large for any buffer, before
/// rank 1 has made its second one.
inline void overlap(Transport& ranks) {
  using Clock = std::chrono::steady_clock;
  if (ranks.ranks() < 2) return;
  const auto now = [] { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); };
  const Index n = ranks.ranks();
  double first_came = 0, second_made = 0;
  ranks.share(
      2 * n,
      [&](Index place) {
        // With one thread the first place is posted before the second one begins.
        if (place == n + 1) nap(1500);
        Bytes block(Index{4} << 20);
        const double at = now();
        std::memcpy(std::data(block), &at, sizeof at);
        return block;
      },
      [&](Index place, const Bytes& block) {
        if (place == 1) first_came = now();
        if (place == n + 1) std::memcpy(&second_made, std::data(block), sizeof second_made);
      });
  if (ranks.rank() == 0) require(first_came < second_made, "a block travels while the next one is made");
}

inline void figures(Transport& ranks) {
  const auto figure = [](Index i) { return 1.0 / (3.0 + static_cast<double>(i * i)); };
  for (Index count : {0, 1, 3, 17, 100}) {
    std::vector<double> alone;
    for (Index i = 0; i < count; ++i) alone.push_back(figure(i));
    require(shared_figures(&ranks, count, figure) == alone, "figures are those of one process");
    require(shared_figures(nullptr, count, figure) == alone, "a null transport is this process alone");
  }
  require(ranks.of_first(ranks.leads() ? 0.5 : 7.0) == 0.5, "of_first is rank 0's number");
  const std::vector<std::string> texts = ranks.gather("rank " + std::to_string(ranks.rank()));
  for (std::size_t r = 0; r < texts.size(); ++r) require(texts[r] == "rank " + std::to_string(r), "texts in order");
}

/// What the ranks must have in common: the lowest rank that differs, and its first line that does, are named to all.
inline void agreement(Transport& ranks) {
  ranks.agree("options", "seed: 1\nrounds: 8\n");
  ranks.agree("options", "");
  if (ranks.ranks() == 1) return;
  const auto differ = [&](const std::string& own, const std::string& says) {
    try {
      ranks.agree("options", own);
    } catch (const RanksDiffer& error) {
      require(std::string(error.what()).find(says) != std::string::npos, says + " is in " + error.what());
      return;
    }
    require(false, "a difference is refused");
  };
  const bool last = ranks.rank() == ranks.ranks() - 1;
  const std::string name = "options differ: rank " + std::to_string(ranks.ranks() - 1);
  differ(last ? "seed: 1\nrounds: 9\nways: 2\n" : "seed: 1\nrounds: 8\nways: 3\n",
         name + " has \"rounds: 9\", rank 0 has \"rounds: 8\"");
  differ(last ? "seed: 1\n" : "seed: 1\nmore: 2\n", name + " has \"\", rank 0 has \"more: 2\"");
  differ(last ? "seed: 1\nmore: 2\n" : "seed: 1\n", name + " has \"more: 2\", rank 0 has \"\"");
  differ(last ? "rounds: 80" : "rounds: 8", name + " has \"rounds: 80\", rank 0 has \"rounds: 8\"");
  ranks.agree("options", "still together");
}

// ---- Rounds of the protocol
// -------------------------------------------------------------------------------------------

struct Net {
  Linear<> hidden, head;
  Tensor<double> offset;  // parameters of two types
  TaskBoard board;
  GRAFT_FIELDS(hidden, head, offset, board)
};
inline Net make_net(Index tasks) {
  const Random random(3);
  return {Linear<>(3, 37, random.stream("hidden")), Linear<>(37, 1, random.stream("head")), zeros<double>({5}),
          TaskBoard(tasks, {2, 3})};
}
constexpr Index kTasks = 6;

/// Regression with messages; task 2 has no data, task 3's loss is not a number now and then.
inline TaskAnswer<> answer(const Net& net, Index task, const Random& random) {
  if (task == 2) fail<FileError>("answer", "no data");
  const Tensor<> x = randn<float>({8, 3}, random.stream("inputs"));
  const Tensor<> y = static_cast<double>(task) * sum(x, {1}, true);
  Tensor<> loss = mse(net.head(tanh(net.hidden(x))) + cast<float>(sum(net.offset)), y);
  const BoardRows seen = rows_of_others(net.board, task);
  if (seen.rows.defined()) loss = loss + 0.01 * mean(square(net.hidden(seen.rows)));
  if (task == 3 && random.below(0, 3) == 0) loss = loss / 0.0 - loss / 0.0;
  const Tensor<double> attention = full<double>({kTasks}, 1.0 / kTasks);
  return {loss, static_cast<double>(loss.item()), slice(x, 0, 0, 1 + task % 2), attention};
}

using State = ProtocolState<Net, Adam<Net>>;
inline State start() {
  const Net net = make_net(kTasks);
  return start_protocol(net, Adam<Net>(net), kTasks, PcGrad());
}
inline ProtocolOptions options(Index places) { return {.tasks_per_round = places, .seed = 5, .clip = 1}; }

/// A checksum of all tensors of the state.
inline std::string bits(const State& state) { return detail::model_fingerprint(state); }

/// Rounds have the bits of one process, whatever the number of places: fewer than ranks, or several for each.
inline void rounds(Transport& ranks) {
  for (Index places : {1, 3, 5}) {
    State alone = start(), together = start();
    for (int round = 0; round < 12; ++round) {
      const auto run = [&](State& state, const auto& gather) -> RoundReport {
        try {
          return run_round(state, answer, 1e-2, options(places), gather);
        } catch (const Error& error) {  // task 2 was the only one: the same in all ranks
          state.draws = state.draws + 1;
          return {.failures = {{2, error.what()}}};
        }
      };
      const RoundReport a = run(alone, LocalParts()), b = run(together, RankParts{&ranks});
      require(a.loss == b.loss && a.metric == b.metric && a.tasks == b.tasks && a.dropped == b.dropped,
              "a round's report is that of one process");
      require(a.failures.size() == b.failures.size(), "as many failures");
      for (std::size_t i = 0; i < a.failures.size(); ++i)
        require(a.failures[i].task == b.failures[i].task && a.failures[i].reason == b.failures[i].reason,
                "failures are told alike");
      require(bits(alone) == bits(together), "the state has the bits of one process");
    }
  }
  // An answer that fails everywhere ends the round in all ranks with the same words.
  State state = start();
  const auto hopeless = [](const Net&, Index, const Random&) -> TaskAnswer<> { fail<FileError>("answer", "no data"); };
  try {
    run_round(state, hopeless, 1e-2, options(3), RankParts{&ranks});
    require(false, "a round without any answer throws");
  } catch (const Error& error) {
    require(std::string(error.what()).find("no data") != std::string::npos, error.what());
  }
}

inline double total(const std::vector<double>& figures) {
  double sum = 0;
  for (double figure : figures) sum += figure;
  return sum;
}

/// A whole training with checkpoints; `fails_at` >= 0: the last rank throws in this step.
inline Trained<Net> training(Transport& ranks, Index steps, const Checkpoints& checkpoints, Index fails_at = -1) {
  const auto step = [&](State& state, Index number) -> StepReport {
    if (number == fails_at && ranks.rank() == ranks.ranks() - 1) fail<FileError>("training", "the disk is gone");
    const RoundReport report = run_round(state, answer, 1e-2, options(4), RankParts{&ranks});
    return {report.loss, report.metric, report.tasks, report.dropped};
  };
  const auto validate = [&](const Net& net) {
    return -total(shared_figures(&ranks, 9, [&](Index i) {
      const Tensor<> x = randn<float>({8, 3}, Random(99).stream("validation").stream(static_cast<std::uint64_t>(i)));
      return static_cast<double>(mse(net.head(tanh(net.hidden(x))), sum(x, {1}, true)).item());
    }));
  };
  return train(start(), step, validate,
               {.name = "net", .steps = steps, .validations = 4, .quiet = true, .ranks = &ranks}, checkpoints);
}

}  // namespace transport_checks
