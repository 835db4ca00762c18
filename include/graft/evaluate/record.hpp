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
      return "[" + detail::joined(v, json_text) + "]";
    }
  };
  return std::visit(Writer(), value);
}

/// What somebody needs besides options and seeds to repeat a run and to know with what it may be compared.
struct ReproducibilityCard {
  std::vector<std::pair<std::string, std::string>> data;  ///< name and fingerprint (a hash) of each data set
  std::string split;                                      ///< what was trained, chosen and tested on
  std::string selection;      ///< the rule by which the tested model was chosen, "last step" or "best validation"
  bool transductive = false;  ///< whether an answer may depend on other items that are tested
  Index configurations = 1;   ///< settings that were tried before this one was chosen, itself among them
};

/// {"program", "options", "seeds", "threads", "machine", "seconds", "peak_bytes", "results"}, and "card" of a program
/// that gave one; the clock starts at construction. Text that is not UTF-8 is recorded with U+FFFD in its place.
class Record {
 public:
  explicit Record(std::string program) : program_(std::move(program)), start_(std::chrono::steady_clock::now()) {}

  /// States an option of the run. Throws ValueError for one that was stated before.
  void option(const std::string& name, OptionValue value, Site site = Site::current()) {
    for (const auto& [known, unused] : options_)
      if (known == name) fail("Record::option", {"option '", name, "' is stated twice"}, {}, site);
    options_.emplace_back(name, std::move(value));
  }
  /// States the card, {"data", "split", "selection", "transductive", "configurations"}. Throws ValueError for a second
  /// one, a card without split or selection, less than one configuration, and data without a name or fingerprint or
  /// named twice.
  void card(const ReproducibilityCard& card, Site site = Site::current()) {
    const char* op = "Record::card";
    if (!card_.empty()) fail(op, "the card is stated twice", {}, site);
    if (card.split.empty() || card.selection.empty())
      fail(op, {card.split.empty() ? "split" : "selection", " is empty"}, {}, site);
    if (card.configurations < 1)
      fail(op, {"configurations is ", card.configurations, ", expected 1 or more"}, {}, site);
    std::string data;
    for (std::size_t i = 0; i < card.data.size(); ++i) {
      const auto& [name, fingerprint] = card.data[i];
      if (name.empty() || fingerprint.empty())
        fail(op, {"data set number ", i, ", '", name, "', lacks ", name.empty() ? "a name" : "a fingerprint"}, {},
             site);
      for (std::size_t j = 0; j < i; ++j)
        if (card.data[j].first == name) fail(op, {"data set '", name, "' is stated twice"}, {}, site);
      data += (i == 0 ? "" : ", ") + json_text(name) + ": " + json_text(fingerprint);
    }
    card_ = "{\"data\": {" + data + "}, \"split\": " + json_text(card.split) +
            ", \"selection\": " + json_text(card.selection) +
            ", \"transductive\": " + (card.transductive ? "true" : "false") +
            ", \"configurations\": " + std::to_string(card.configurations) + "}";
  }
  void add_seed(std::uint64_t seed) { seeds_.push_back(seed); }
  void add(ResultRow row) { rows_.push_back(std::move(row)); }
  void add(const std::vector<ResultRow>& rows) { rows_.insert(rows_.end(), rows.begin(), rows.end()); }
  void add(std::string name, std::string metric, const Interval& interval, double seconds) {
    rows_.push_back({std::move(name), std::move(metric), interval.mean, interval.ci95, interval.n, seconds});
  }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

  /// The record as JSON.
  GRAFT_ONCE std::string text() const {
    const std::string seeds = detail::joined(seeds_, [](std::uint64_t seed) { return std::to_string(seed); });
    std::string options, rows;
    for (const auto& [name, value] : options_)
      options += (options.empty() ? "\n    " : ",\n    ") + json_text(name) + ": " + to_json(value);
    for (const ResultRow& row : rows_)
      rows += (rows.empty() ? "\n    {" : ",\n    {") + ("\"name\": " + json_text(row.name)) +
              ", \"metric\": " + json_text(row.metric) + ", \"value\": " + json_number(row.value) +
              ", \"ci95\": " + json_number(row.ci95) + ", \"n\": " + std::to_string(row.n) +
              ", \"seconds\": " + json_number(row.seconds) + "}";
    return "{\n  \"program\": " + json_text(program_) + ",\n  \"options\": {" + options +
           (options.empty() ? "}" : "\n  }") + ",\n  \"seeds\": [" + seeds +
           "],\n  \"threads\": " + std::to_string(threads()) + ",\n  \"machine\": " + json_text(machine_name()) +
           ",\n  \"seconds\": " + json_number(seconds()) + ",\n  \"peak_bytes\": " + std::to_string(peak_bytes()) +
           (card_.empty() ? "" : ",\n  \"card\": " + card_) + ",\n  \"results\": [" + rows +
           (rows.empty() ? "]" : "\n  ]") + "\n}\n";
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
  std::string card_;
};
GRAFT_HELD(std::string Record::text<>() const)

}  // namespace GRAFT_ABI
}  // namespace graft
