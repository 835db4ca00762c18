// The checks of transport_checks.hpp for ranks that MPI started; tests/mpi_cli.py runs it.
// Usage: mpirun -n N ranks checks | differ | fail RANK | early RANK | bits

#include <cstdio>
#include <cstdlib>
#include <string>

#include "../transport_checks.hpp"
#include "graft/protocol/mpi_transport.hpp"

namespace {

using namespace graft;

void work(MpiTransport& ranks, const std::string& what, Index of) {
  using namespace transport_checks;
  if (what == "checks") {
    exchanges(ranks);
    overlap(ranks);
    figures(ranks);
    agreement(ranks);
    rounds(ranks);
  }
  if (what == "bits") {
    const auto trained = training(ranks, 16, {});
    if (ranks.leads()) std::printf("%s %.17g\n", detail::model_fingerprint(trained.model).c_str(), trained.figure);
  }
  if (what == "differ") ranks.agree("options", ranks.rank() == of ? "rounds: 9" : "rounds: 8");
  if (what == "early" && ranks.rank() != of) ranks.gather("");
  if (what == "fail")
    for (int round = 0; round < 10; ++round) {
      if (round == 4 && ranks.rank() == of) fail<FileError>("work", "the disk is gone");
      ranks.gather(std::string(1000000, 'x'));
    }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "checks";
  MpiTransport ranks;
  try {
    work(ranks, what, argc > 2 ? std::atoi(argv[2]) : 0);
    if (what == "early" && ranks.rank() == std::atoi(argv[2])) throw Error("graft: work: done too early");
  } catch (const std::exception& error) {
    const Leaving end = ranks.leave(error.what(), 5);
    if (!end.said) std::fprintf(stderr, "rank %d: %s\n", static_cast<int>(ranks.rank()), error.what());
    if (!end.all) ranks.abort(3);
    return 1;
  }
  if (ranks.leads()) std::printf("%s: as promised by %d ranks\n", what.c_str(), static_cast<int>(ranks.ranks()));
  return 0;
}
