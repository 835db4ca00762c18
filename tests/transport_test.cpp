// Ranks that share the work of a run, as threads of this process; mpi_cli.py has the same of processes.

#include <map>

#include "catch.hpp"
#include "files.hpp"
#include "graft/protocol/thread_transport.hpp"
#include "transport_checks.hpp"

using namespace graft;

namespace {

Identity identity() {
  Identity made;
  made.add("seed", "5");
  return made;
}

}  // namespace

TEST_CASE("blocks, figures and texts reach all ranks", "[transport][threads]") {
  LocalTransport alone;
  transport_checks::exchanges(alone);
  for (Index ranks : {1, 2, 3, 5}) {
    INFO(ranks);
    run_ranks(ranks, [](Transport& own) {
      transport_checks::exchanges(own);
      transport_checks::figures(own);
      transport_checks::agreement(own);
    });
  }
  run_ranks(3, transport_checks::overlap);
}

TEST_CASE("one rank, 2, 3 and 4 have the bits of a process without ranks", "[transport]") {
  LocalTransport alone;
  transport_checks::rounds(alone);
  for (Index ranks : {1, 2, 3, 4}) {
    INFO(ranks);
    run_ranks(ranks, transport_checks::rounds);
  }
}

TEST_CASE("a rank that ends is named to those who wait for it", "[transport][threads]") {
  std::mutex mutex;
  std::map<Index, std::string> said;
  const auto work = [&](Transport& ranks) {
    try {
      for (int round = 0; round < 10; ++round) {
        if (round == 4 && ranks.rank() == 1) fail<FileError>("work", "the disk is gone");
        ranks.gather("still here");
      }
    } catch (const RankLost& lost) {
      const std::lock_guard lock(mutex);
      said[ranks.rank()] = lost.what();
      // What was begun is not whole: nothing more is shared.
      CHECK_THROWS_AS(ranks.gather("and now?"), RankLost);
      throw;
    }
  };
  CHECK_THROWS_WITH(run_ranks(3, work), contains("the disk is gone"));
  REQUIRE(said.size() == 2);
  for (const auto& [rank, words] : said) CHECK_THAT(words, contains("left: ") && contains("the disk is gone"));
  CHECK_THAT(said[0], contains("rank 1 left"));

  // One that comes to its end too early is missed as well.
  CHECK_THROWS_WITH(run_ranks(2,
                              [](Transport& ranks) {
                                if (ranks.leads()) ranks.gather("");
                              }),
                    contains("rank 1 left: it has ended"));
  // An exception in what is made is thrown by its own rank, and waiting ones are not left alone.
  CHECK_THROWS_WITH(run_ranks(2,
                              [](Transport& ranks) {
                                const auto make = [&](Index) -> Bytes { fail("make", "a slip"); };
                                const auto nothing = [](Index, const Bytes&) {};
                                if (ranks.leads())
                                  return ranks.share(
                                      2, [](Index) { return Bytes(); }, nothing);
                                ranks.share(2, make, nothing);
                              }),
                    contains("a slip"));
  CHECK_THROWS_WITH(run_ranks(2,
                              [](Transport& ranks) {
                                ranks.share(
                                    3 + ranks.rank(), [](Index) { return Bytes(); }, [](Index, const Bytes&) {});
                              }),
                    contains("places"));
  CHECK_THROWS_AS(run_ranks(0, [](Transport&) {}), ValueError);
}

TEST_CASE("a rank that leaves learns whether the others have, and who said it first", "[transport]") {
  run_ranks(3, [](Transport& ranks) {
    const Leaving end = ranks.leave(ranks.rank() == 1 ? "another reason" : "the same", 20);
    if (!end.all || end.said != (ranks.rank() == 2)) fail("leave", {"rank ", ranks.rank(), " got it wrong"});
  });
  run_ranks(2, [](Transport& ranks) {
    if (ranks.leads() && ranks.leave("alone", 0.01).all) fail("leave", "the other one has not left");
    if (!ranks.leads()) transport_checks::nap(200);
  });
  LocalTransport alone;
  CHECK(alone.leave("so be it", 0).all);
}

TEST_CASE("a training of several ranks, ended by one of them, goes on with any number", "[transport]") {
  const Folder folder;
  const std::vector<std::string> names{"net"};
  LocalTransport local;
  const auto whole = transport_checks::training(local, 16, {});
  const std::string expected = detail::model_fingerprint(whole.model);
  for (Index ranks : {1, 2, 3}) {
    const std::string own = folder / std::to_string(ranks);
    std::string said;
    const auto ended = [&](Transport& rank) {
      const Checkpoints checkpoints(own, false, identity(), names, &rank);
      try {
        transport_checks::training(rank, 16, checkpoints, 7);
      } catch (const RankLost& lost) {
        if (rank.leads()) said = lost.what();
        throw;
      }
    };
    CHECK_THROWS_WITH(run_ranks(ranks, ended), contains("the disk is gone"));
    if (ranks > 1)
      CHECK_THAT(said, contains("net: rank " + std::to_string(ranks - 1) + " left") && contains("the disk is gone") &&
                           contains("after step 7 of 16; continue with --resume"));
    const auto resumed = [&](Transport& rank) {
      const Checkpoints checkpoints(own, true, identity(), names, &rank);
      const auto trained = transport_checks::training(rank, 16, checkpoints);
      if (detail::model_fingerprint(trained.model) != expected || trained.history != whole.history ||
          trained.items != whole.items || trained.dropped != whole.dropped)
        fail("training", {"rank ", rank.rank(), " has other numbers"});
    };
    run_ranks(4 - ranks, resumed);
    CHECK(std::filesystem::exists(own + "/net.npz"));
  }
}

TEST_CASE("ranks that do not train the same are refused before the first step", "[transport]") {
  const auto differ = [](Transport& ranks) { transport_checks::training(ranks, 8 + ranks.rank() / 2, {}); };
  CHECK_THROWS_WITH(run_ranks(3, differ), contains("rank 2 has \"steps: 9\", rank 0 has \"steps: 8\""));
  // One whose model has other bits, found after the first validation.
  int steps = 0;
  const auto astray = [&](Transport& ranks) {
    const auto step = [&](transport_checks::State& state, Index number) -> StepReport {
      if (ranks.leads()) ++steps;
      if (ranks.rank() == 1 && number == 1) state.model.offset = full<double>({5}, 1e-300);
      return {1, 1, 1, 0};
    };
    train(transport_checks::start(), step, [](const auto&) { return 0.0; },
          {.name = "net", .steps = 8, .validations = 4, .quiet = true, .ranks = &ranks});
  };
  CHECK_THROWS_WITH(run_ranks(2, astray), contains("checksum of the model"));
  CHECK(steps == 2);
}
