#pragma once
// The record that every example and bench writes with --json: one form for all, so that tables can be put together from
// files. Includes a JSON library; not part of graft.hpp.

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "graft/core/parallel.hpp"
#include "graft/evaluate/intervals.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One measured quantity. `value` is a mean over `n`; rates and accuracies are fractions in 0..1.
struct ResultRow {
  std::string name, metric;
  double value = 0, ci95 = 0;
  Index n = 0;
  double seconds = 0;
};

/// {"program", "options", "seeds", "threads", "machine", "seconds", "peak_bytes", "results"}; the clock starts at
/// construction.
class Record {
 public:
  explicit Record(std::string program) : program_(std::move(program)), start_(std::chrono::steady_clock::now()) {}

  /// The options of the run, whatever JSON holds: `record.options()["ways"] = 5`.
  nlohmann::ordered_json& options() { return options_; }
  void add_seed(std::uint64_t seed) { seeds_.push_back(seed); }
  void add(ResultRow row) { rows_.push_back(std::move(row)); }
  void add(std::string name, std::string metric, const Interval& interval, double seconds) {
    rows_.push_back({std::move(name), std::move(metric), interval.mean, interval.ci95, interval.n, seconds});
  }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

  std::string text() const {
    nlohmann::ordered_json json;
    json["program"] = program_;
    json["options"] = options_;
    json["seeds"] = seeds_;
    json["threads"] = threads();
    json["machine"] = machine();
    json["seconds"] = seconds();
    json["peak_bytes"] = peak_bytes();
    json["results"] = nlohmann::ordered_json::array();
    for (const ResultRow& row : rows_)
      json["results"].push_back({{"name", row.name},
                                 {"metric", row.metric},
                                 {"value", row.value},
                                 {"ci95", row.ci95},
                                 {"n", row.n},
                                 {"seconds", row.seconds}});
    return json.dump(2) + "\n";
  }
  /// Writes the record to a new file beside `path` and renames it. Throws FileError.
  void write(const std::string& path) const {
    const std::string body = text(), beside = path + ".new";
    std::FILE* file = std::fopen(beside.c_str(), "wb");
    bool written = file && std::fwrite(body.data(), 1, body.size(), file) == body.size();
    if (file) written = std::fclose(file) == 0 && written;
    if (written && std::rename(beside.c_str(), path.c_str()) == 0) return;
    const std::string reason = std::strerror(errno);
    std::remove(beside.c_str());
    throw FileError("graft: " + path + ": cannot write it: " + reason);
  }
  /// Throws FileError now if `write` would later: before the work whose record it is.
  static void check(const std::string& path) {
    const std::string beside = path + ".new";
    struct stat status;
    const bool folder = stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    std::FILE* file = folder ? nullptr : std::fopen(beside.c_str(), "wb");
    if (!file)
      throw FileError("graft: " + path + ": cannot write it: " + (folder ? "is a directory" : std::strerror(errno)));
    std::fclose(file);
    std::remove(beside.c_str());
  }

  /// Highest resident set of this process so far.
  static Index peak_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<Index>(usage.ru_maxrss) * 1024;
  }
  /// CPU model and core count as the system names them.
  static std::string machine() {
    std::string model = "unknown CPU";
    if (std::FILE* file = std::fopen("/proc/cpuinfo", "rb")) {
      char line[256];
      while (std::fgets(line, sizeof line, file)) {
        const std::string text = line;
        if (text.rfind("model name", 0) != 0) continue;
        const auto colon = text.find(": ");
        if (colon != std::string::npos) model = text.substr(colon + 2, text.size() - colon - 3);
        break;
      }
      std::fclose(file);
    }
    utsname system{};
    uname(&system);
    return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores, " + system.sysname;
  }

 private:
  std::string program_;
  std::chrono::steady_clock::time_point start_;
  nlohmann::ordered_json options_ = nlohmann::ordered_json::object();
  std::vector<std::uint64_t> seeds_;
  std::vector<ResultRow> rows_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
