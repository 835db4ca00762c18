// Rounds of the protocol by how many tasks they have, how many parameters the model, and how many ranks share them:
// seconds, and what travels. The tasks are simulated; their gradients cost as little as gradients can, so what is seen
// is the protocol and the transport. One rank without MPI: `rounds`; more: `mpirun -n 4 rounds`. docs/many-processes.md
// has the tables.
// Usage: rounds [SECONDS a row] [MiB of gradients at most]

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "graft/graft.hpp"
#include "graft/optim/adam.hpp"
#include "graft/protocol/rank_parts.hpp"

#ifdef GRAFT_WITH_MPI
#include "graft/protocol/mpi_transport.hpp"
#endif

namespace {

using namespace graft;

struct Simulated {
  std::vector<Tensor<>> parts;  // as many as layers usually are
  GRAFT_FIELDS(parts)
};

/// The gradient is the model times a number of the task's.
TaskAnswer<> answer(const Simulated& model, Index task, const Random&) {
  Tensor<> loss;
  for (const Tensor<>& part : model.parts) {
    const Tensor<> term = sum(square(part));
    loss = loss.defined() ? loss + term : term;
  }
  return {loss * (1e-6 * static_cast<double>(task + 1)), 0};
}

/// Seconds and bytes of a round, means over the quickest of some batches: other programs may use the machine.
struct Row {
  double took = 0, work = 0, rest = 0, waited = 0, sent = 0, received = 0;
};
constexpr int kBatches = 5;

double now() { return 1e-9 * static_cast<double>(detail::nanoseconds()); }

void measure(Transport& ranks, Index tasks, Index parameters, double seconds) {
  Simulated model;
  for (int i = 0; i < 20; ++i) model.parts.push_back(full<float>({parameters / 20}, 0.1));
  auto state = start_protocol(model, Adam<Simulated>(model), tasks, MeanGradient(), UniformTasks(), {.intervals = 0});
  const ProtocolOptions options{.tasks_per_round = tasks};
  const auto round = [&] { return run_round(state, answer, 1e-3, options, RankParts{&ranks}); };
  round();
  const double start = now();
  round();
  const Index count = std::max(Index{3}, static_cast<Index>(ranks.of_first(seconds / kBatches / (now() - start))));
  const double n = static_cast<double>(count);
  Row best{.took = 1e300};
  for (int batch = 0; batch < kBatches; ++batch) {
    const Traffic before = ranks.traffic();
    RoundSeconds of;
    const double begin = now();
    for (Index i = 0; i < count; ++i) of += round().seconds;
    const double took = (now() - begin) / n;
    const Traffic after = ranks.traffic();
    if (took < best.took)
      best = {took,
              of.work / n,
              (of.aggregate + of.step) / n,
              (after.waited - before.waited) / n,
              (after.sent - before.sent) / n,
              (after.received - before.received) / n};
  }
  if (!ranks.leads()) return;
  std::printf("| %lld | %lld | %lld | %.3f | %.3f | %.2f | %.2f | %.2f | %.2f |\n",
              static_cast<long long>(ranks.ranks()), static_cast<long long>(tasks), static_cast<long long>(parameters),
              1e-6 * best.sent, 1e-6 * best.received, 1e3 * best.took, 1e3 * best.work, 1e3 * best.waited,
              1e3 * best.rest);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 1, most = argc > 2 ? std::atof(argv[2]) : 512;
  std::unique_ptr<Transport> ranks = std::make_unique<LocalTransport>();
#ifdef GRAFT_WITH_MPI
  if (MpiTransport::launched()) ranks = std::make_unique<MpiTransport>();
#endif
  if (ranks->leads())
    std::printf(
        "| ranks | tasks | parameters | MB sent | MB received | ms a round | tasks and exchange | waited | "
        "aggregate and step |\n|---|---|---|---|---|---|---|---|---|\n");
  for (Index parameters : {10000, 100000, 1000000})
    for (Index tasks : {4, 16, 64, 256, 1000})
      if (4e-6 * static_cast<double>(tasks * parameters) <= most * 1.048576)
        measure(*ranks, tasks, parameters, seconds);
}
