#pragma once
// The record that every example and bench writes with --json: one form for all, so that tables can be put together from
// files.

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/evaluate/machine.hpp"
#include "graft/io/file.hpp"
#include "graft/io/json.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One measured quantity. `value` is a mean over `n`; rates and accuracies are fractions in 0..1.
struct ResultRow {
  std::string name, metric;
  double value = 0, ci95 = 0;
  Index n = 0;
  double seconds = 0;
};

/// What an option of a run may be.
using OptionValue = std::variant<bool, std::int64_t, std::uint64_t, double, std::string, std::vector<std::string>>;

/// An option's value as JSON.
inline std::string to_json(const OptionValue& value) {
  struct Writer {
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(std::int64_t v) const { return std::to_string(v); }
    std::string operator()(std::uint64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return json_number(v); }
    std::string operator()(const std::string& v) const { return json_text(v); }
    std::string operator()(const std::vector<std::string>& v) const {
      std::string list;
      for (const std::string& text : v) list += (list.empty() ? "" : ", ") + json_text(text);
      return "[" + list + "]";
    }
  };
  return std::visit(Writer(), value);
}

/// {"program", "options", "seeds", "threads", "machine", "seconds", "peak_bytes", "results"}; the clock starts at
/// construction. Text that is not UTF-8 is recorded with U+FFFD in its place.
class Record {
 public:
  explicit Record(std::string program) : program_(std::move(program)), start_(std::chrono::steady_clock::now()) {}

  /// States an option of the run. Throws ValueError for one that was stated before.
  void option(const std::string& name, OptionValue value, Site site = Site::current()) {
    for (const auto& [known, unused] : options_)
      if (known == name) fail("Record::option", {"option '", name, "' is stated twice"}, {}, site);
    options_.emplace_back(name, std::move(value));
  }
  void add_seed(std::uint64_t seed) { seeds_.push_back(seed); }
  void add(ResultRow row) { rows_.push_back(std::move(row)); }
  void add(const std::vector<ResultRow>& rows) { rows_.insert(rows_.end(), rows.begin(), rows.end()); }
  void add(std::string name, std::string metric, const Interval& interval, double seconds) {
    rows_.push_back({std::move(name), std::move(metric), interval.mean, interval.ci95, interval.n, seconds});
  }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

  /// The record as JSON.
  std::string text() const {
    std::string options, seeds, rows;
    for (const auto& [name, value] : options_)
      options += (options.empty() ? "\n    " : ",\n    ") + json_text(name) + ": " + to_json(value);
    for (std::uint64_t seed : seeds_) seeds += (seeds.empty() ? "" : ", ") + std::to_string(seed);
    for (const ResultRow& row : rows_)
      rows += (rows.empty() ? "\n    {" : ",\n    {") + ("\"name\": " + json_text(row.name)) +
              ", \"metric\": " + json_text(row.metric) + ", \"value\": " + json_number(row.value) +
              ", \"ci95\": " + json_number(row.ci95) + ", \"n\": " + std::to_string(row.n) +
              ", \"seconds\": " + json_number(row.seconds) + "}";
    return "{\n  \"program\": " + json_text(program_) + ",\n  \"options\": {" + options +
           (options.empty() ? "}" : "\n  }") + ",\n  \"seeds\": [" + seeds +
           "],\n  \"threads\": " + std::to_string(threads()) + ",\n  \"machine\": " + json_text(machine_name()) +
           ",\n  \"seconds\": " + json_number(seconds()) + ",\n  \"peak_bytes\": " + std::to_string(peak_bytes()) +
           ",\n  \"results\": [" + rows + (rows.empty() ? "]" : "\n  ]") + "\n}\n";
  }
  /// Writes the record to a file, as `OutputFile` does; `OutputFile::check(path)` says beforehand whether it will be
  /// possible. Throws FileError.
  void write(const std::string& path) const { write_text(path, text()); }

 private:
  std::string program_;
  std::chrono::steady_clock::time_point start_;
  std::vector<std::pair<std::string, OptionValue>> options_;
  std::vector<std::uint64_t> seeds_;
  std::vector<ResultRow> rows_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
