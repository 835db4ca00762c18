// Steps of a small Transformer on two threads, as a multiple of their time on one, while busy-looping processes use the
// cores: none, one, and one a core. What core/crowding.hpp is for: goal 1.3 beside busy processes.
//   crowded [steps a turn, 100]
// Turns on one and on two threads alternate; medians of five. bench/crowded.sh builds and starts it.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "graft/model/grad.hpp"
#include "graft/nn/transformer.hpp"
#include "graft/ops/losses.hpp"
#include "graft/optim/adam.hpp"

using namespace graft;

namespace {

/// Processes that do nothing but use a core, as long as this lives.
class BusyProcesses {
 public:
  explicit BusyProcesses(int count) {
    for (int i = 0; i < count; ++i) {
      const pid_t parent = getpid(), child = fork();
      if (child < 0) std::perror("crowded: fork"), std::exit(1);
      if (child == 0) loop(parent);
      children_.push_back(child);
    }
  }
  BusyProcesses(const BusyProcesses&) = delete;
  BusyProcesses& operator=(const BusyProcesses&) = delete;
  ~BusyProcesses() {
    for (const pid_t child : children_) kill(child, SIGKILL), waitpid(child, nullptr, 0);
  }

 private:
  [[noreturn]] static void loop(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);  // died before the line above
    for (volatile unsigned turns = 0;;) turns = turns + 1;
  }
  std::vector<pid_t> children_;
};

/// Two encoder layers that learn to give their input back.
class Training {
 public:
  void steps(int count) {
    for (int i = 0; i < count; ++i)
      adam_.step(model_, grad([&](const Model& m) { return mse(m(x_, Context()), x_); }, model_), 1e-3);
  }

 private:
  using Model = TransformerEncoder<>;
  Model model_{2, 64, 4, 128, Random(1), {.layer = {.dropout = 0, .norm_first = true}, .final_norm = true}};
  Adam<Model> adam_{model_};
  Tensor<> x_ = randn({16, 32, 64}, Random(2));
};

/// Milliseconds a step on so many threads.
double time_of_step(Training& training, int threads, int steps) {
  set_threads(threads);
  const auto start = std::chrono::steady_clock::now();
  training.steps(steps);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count() / steps;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kTurns = 5;
  const int steps = argc > 1 ? std::atoi(argv[1]) : 100, cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  if (steps < 1) return std::fprintf(stderr, "crowded: the steps of a turn must be 1 or more\n"), 2;
  std::vector<int> crowds{0, 1};
  if (cores > 1) crowds.push_back(cores);
  Training training;
  time_of_step(training, 2, steps / 10 + 1);  // caches, threads
  std::puts("busy processes   one thread   two threads   ratio   goal");
  bool met = true;
  for (const int crowd : crowds) {
    const BusyProcesses busy(crowd);
    std::array<double, kTurns> one, two;
    for (int turn = 0; turn < kTurns; ++turn) {
      one[turn] = time_of_step(training, 1, steps);
      two[turn] = time_of_step(training, 2, steps);
    }
    std::sort(one.begin(), one.end());
    std::sort(two.begin(), two.end());
    const double ratio = two[kTurns / 2] / one[kTurns / 2];
    std::printf("%14d %9.2f ms %10.2f ms %7.2f   %s\n", crowd, one[kTurns / 2], two[kTurns / 2], ratio,
                crowd == 0 ? "" : ratio <= 1.3 ? "1.3" : "1.3 missed");
    std::fflush(stdout);
    met = met && (crowd == 0 || ratio <= 1.3);
  }
  return met ? 0 : 1;
}
