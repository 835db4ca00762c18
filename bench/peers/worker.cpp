// The program around `Work`: KIND INPUTS.npz RESULTS.npz. Runs one repetition and writes its results; says "ready" and
// the resident bytes before it; then, for every line with a number on its input, runs that many repetitions and says
// how many seconds they took. worker.py speaks the same way.

#include <chrono>
#include <cstdio>
#include <exception>

#include <unistd.h>

#include "work.hpp"

namespace peers {
namespace {

auto& makers() {
  static std::map<std::string, std::function<Work(const Inputs&)>> all;
  return all;
}

/// Bytes in memory now; forgets the highest number so far.
long long restart_peak() {
  if (std::FILE* file = std::fopen("/proc/self/clear_refs", "w")) {
    std::fputs("5", file);
    std::fclose(file);
  }
  long long pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%*d %lld", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * sysconf(_SC_PAGESIZE);
}

void write(const Results& results, const std::string& path) {
  std::map<std::string, graft::Array> arrays;
  for (const auto& [name, result] : results) arrays.emplace(name, graft::make_array(result.span(), result.shape()));
  graft::write_npz(path, arrays);
}

}  // namespace

bool add_work(const std::string& kind, std::function<Work(const Inputs&)> make) {
  return makers().emplace(kind, std::move(make)).second;
}

}  // namespace peers

int main(int argc, char** argv) {
  using namespace peers;
  try {
    if (argc != 4 || !makers().contains(argv[1])) {
      std::fprintf(stderr, "usage: %s KIND INPUTS.npz RESULTS.npz; kinds:", argv[0]);
      for (const auto& [name, make] : makers()) std::fprintf(stderr, " %s", name.c_str());
      std::fprintf(stderr, "\n");
      return 2;
    }
    const Inputs inputs(graft::read_npz(argv[2]).arrays);
    const long long bytes = restart_peak();
    const Work work = makers().at(argv[1])(inputs);
    work.step();
    graft::release_cached_memory();  // results are copied out, which is no part of the work
    write(work.results(), argv[3]);
    std::printf("ready %lld\n", bytes);
    std::fflush(stdout);
    for (long long repetitions; std::scanf("%lld", &repetitions) == 1;) {
      const auto start = std::chrono::steady_clock::now();
      for (long long i = 0; i < repetitions; ++i) work.step();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      std::printf("%.9g\n", took.count());
      std::fflush(stdout);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
