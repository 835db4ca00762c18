#pragma once
// The same search for every method of a comparison: as many configurations each, drawn at random, one of them chosen by
// a figure of validation alone (Bergstra, Bengio, JMLR 2012).

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/random.hpp"
#include "graft/evaluate/record.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A hyper-parameter and the values that it may have.
struct SearchRange {
  std::string name;
  double low = 0, high = 1;
  bool log = false;    ///< its logarithm is drawn evenly
  bool whole = false;  ///< a whole number, low and high among them
};

/// Values of hyper-parameters by name.
struct Configuration {
  std::vector<std::pair<std::string, double>> values;

  /// Throws ValueError, which lists the names, where there is none of that name.
  double at(std::string_view name, Site site = Site::current()) const {
    std::vector<std::string> names;
    for (const auto& [known, value] : values) {
      if (known == name) return value;
      names.push_back(known);
    }
    fail("Configuration::at", {"there is no '", name, "'; there are ", detail::listed(names)}, {}, site);
  }
  /// "alpha 0.01234, steps 3".
  std::string text() const {
    return detail::joined(values, [](const auto& named) {
      const double value = named.second;
      char number[32];
      std::snprintf(number, sizeof number, std::abs(value) < 1e15 && value == std::floor(value) ? "%.0f" : "%.4g",
                    value);
      return named.first + " " + number;
    });
  }
};

/// One configuration that was tried.
struct SearchTrial {
  Configuration configuration;
  double validation = 0;
};

/// What the search for one method came to.
struct SearchOutcome {
  std::string method;
  std::vector<SearchTrial> trials;  ///< in the order in which they ran
  std::size_t best = 0;             ///< the trial that is chosen

  const Configuration& chosen() const { return trials[best].configuration; }
  double validation() const { return trials[best].validation; }
};

/// Random search with one budget for all methods.
///
///     RandomSearch search(20, random);
///     const std::vector<SearchRange> space{{.name = "alpha", .low = 1e-3, .high = 1, .log = true}};
///     const SearchOutcome maml = search.run("maml", space, [&](const Configuration& c) { return accuracy of c; });
///     std::fputs(search.text().c_str(), stdout);
///
/// Trial t of a hyper-parameter is draw t of a stream with its name: methods whose spaces share a range try the same
/// values of it, and one more range moves no others' values.
class RandomSearch {
 public:
  /// `budget` configurations a method. Throws ValueError for less than one.
  RandomSearch(Index budget, const Random& random, Site site = Site::current())
      : budget_(budget), random_(random.stream("random search")) {
    if (budget < 1) fail("RandomSearch", {"a budget of ", budget, " trials"}, {}, site);
  }

  /// Calls validate(configuration) for each trial and chooses the first with the highest result; higher is better. What
  /// is not finite, as of a run that diverged, is never chosen. A method without hyper-parameters, an empty space, is
  /// tried once. Throws ValueError before any trial for a method that was searched for before, two ranges of one name,
  /// bounds that are not finite and rising or equal, a logarithmic range that does not start above 0, and bounds of
  /// whole numbers that are none; after all trials, where none has a finite result.
  template <class Validate>
  SearchOutcome run(std::string method, const std::vector<SearchRange>& space, Validate validate,
                    Site site = Site::current()) {
    check(method, space, site);
    SearchOutcome outcome{std::move(method), {}, 0};
    const Index trials = space.empty() ? 1 : budget_;
    bool any = false;
    for (Index t = 0; t < trials; ++t) {
      const Configuration configuration = drawn(space, t);
      const double validation = static_cast<double>(validate(configuration));
      outcome.trials.push_back({configuration, validation});
      if (!std::isfinite(validation) || (any && validation <= outcome.validation())) continue;
      outcome.best = outcome.trials.size() - 1;
      any = true;
    }
    if (!any) fail("RandomSearch::run", {"no trial of ", outcome.method, " has a finite result"}, {}, site);
    outcomes_.push_back(outcome);
    return outcome;
  }

  /// One line a method: its best validation figure, how many configurations were tried, and the chosen one.
  std::string text() const {
    std::size_t width = 6;
    for (const SearchOutcome& outcome : outcomes_) width = std::max(width, outcome.method.size());
    std::string table = padded("method", width) + "  validation  trials  chosen\n";
    for (const SearchOutcome& outcome : outcomes_) {
      char figures[64];
      std::snprintf(figures, sizeof figures, "  %10.4g  %6d  ", outcome.validation(),
                    static_cast<int>(outcome.trials.size()));
      table += padded(outcome.method, width) + figures + outcome.chosen().text() + "\n";
    }
    return table;
  }

  /// The same as rows of a record: "chosen-validation", "configurations-tried", and "chosen-NAME" of each
  /// hyper-parameter.
  std::vector<ResultRow> rows() const {
    std::vector<ResultRow> rows;
    for (const SearchOutcome& outcome : outcomes_) {
      rows.push_back({outcome.method, "chosen-validation", outcome.validation(), 0, 1});
      rows.push_back({outcome.method, "configurations-tried", static_cast<double>(outcome.trials.size()), 0, 1});
      for (const auto& [name, value] : outcome.chosen().values)
        rows.push_back({outcome.method, "chosen-" + name, value, 0, 1});
    }
    return rows;
  }

 private:
  void check(const std::string& method, const std::vector<SearchRange>& space, Site site) const {
    const char* op = "RandomSearch::run";
    for (const SearchOutcome& outcome : outcomes_)
      if (outcome.method == method) fail(op, {method, " was searched for before"}, {}, site);
    for (std::size_t i = 0; i < space.size(); ++i) {
      const auto& [name, low, high, log, whole] = space[i];
      for (std::size_t j = 0; j < i; ++j)
        if (space[j].name == name) fail(op, {"two ranges are named '", name, "'"}, {}, site);
      if (!std::isfinite(low) || !std::isfinite(high) || low > high)
        fail(op, {name, " goes from ", low, " to ", high}, {}, site);
      if (log && !(low > 0)) fail(op, {name, " starts at ", low, ", expected above 0 as it is logarithmic"}, {}, site);
      if (whole && (low != std::floor(low) || high != std::floor(high)))
        fail(op, {name, " goes from ", low, " to ", high, ", expected whole numbers"}, {}, site);
    }
  }

  Configuration drawn(const std::vector<SearchRange>& space, Index trial) const {
    Configuration configuration;
    for (const auto& [name, low, high, log, whole] : space) {
      const double u = random_.stream(name).uniform(static_cast<std::uint64_t>(trial));
      const double end = whole ? high + 1 : high;  // a whole number is the floor of a draw up to the next
      double value = log ? low * std::pow(end / low, u) : low + (end - low) * u;
      if (whole) value = std::floor(value);
      configuration.values.emplace_back(name, std::clamp(value, low, high));
    }
    return configuration;
  }
  static std::string padded(std::string text, std::size_t width) {
    text.resize(std::max(width, text.size()), ' ');
    return text;
  }

  Index budget_;
  Random random_;
  std::vector<SearchOutcome> outcomes_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
