#pragma once
// The table of methods that answered the same items (episodes, seeds): means with intervals, and beside them what was
// published or the paired differences to one of the methods.

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "graft/evaluate/record.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What one method reached.
struct MethodResult {
  std::string name;
  std::vector<std::vector<double>> figures;  ///< [columns][items]
  double seconds = 0;                        ///< of training
  Index items = 0;                           ///< that it was trained on (0: it was not trained)
  Index dropped = 0;                         ///< more of them that were left out, since their loss was not finite
  std::string published = {};                ///< what others reported, as text
};

/// A kind of items: how the table's head and the record call it, and what the table multiplies its figures by.
struct MethodColumn {
  std::string head, metric;
  double scale = 100;      ///< percent; 1 for errors and losses
  bool deviation = false;  ///< the table shows the standard deviation of the items too
};

/// Results of methods side by side.
///
///     MethodTable table({{"unstructured", "accuracy"}, {"within alphabet", "accuracy-within-alphabet"}}, "protonet");
///     table.add({"protonet", {free_accuracies, bound_accuracies}, seconds});
class MethodTable {
 public:
  /// Paired differences are to the method `base`; empty: there are none.
  explicit MethodTable(std::vector<MethodColumn> columns, std::string base = "", Site site = Site::current())
      : columns_(std::move(columns)), base_(std::move(base)) {
    if (columns_.empty()) fail("MethodTable", "no columns", {}, site);
  }

  /// Throws ValueError unless there is a list of figures for each column, as long as those of the methods before.
  void add(MethodResult result, Site site = Site::current()) {
    if (result.figures.size() != columns_.size())
      fail("MethodTable::add", {result.figures.size(), " lists of figures for ", columns_.size(), " columns"}, {},
           site);
    for (std::size_t c = 0; !results_.empty() && c < columns_.size(); ++c)
      if (result.figures[c].size() != results_[0].figures[c].size())
        fail("MethodTable::add",
             {result.name, " has ", result.figures[c].size(), " figures for ", columns_[c].head, ", ", results_[0].name,
              " has ", results_[0].figures[c].size()},
             {}, site);
    results_.push_back(std::move(result));
  }

  /// One line a method: means with 95 % intervals, standard deviations in brackets where a column has them, differences
  /// to the base, what was published, seconds of training. A line below says which of them were trained without all of
  /// their items. Throws ValueError if the base was not added.
  GRAFT_ONCE std::string text(Site site = Site::current()) const {
    const MethodResult* base = base_result(site);
    const bool published =
        std::any_of(results_.begin(), results_.end(), [](const MethodResult& r) { return !r.published.empty(); });
    std::vector<std::string> heads;
    for (const MethodColumn& column : columns_) heads.push_back(column.head);
    for (const MethodColumn& column : columns_)
      if (base) heads.push_back(heads.size() == columns_.size() ? "minus " + base_ + ":" : column.head);
    if (published) heads.push_back("published");
    std::string table = line("", heads, "training");
    for (const MethodResult& result : results_) {
      std::vector<std::string> cells;
      for (std::size_t c = 0; c < columns_.size(); ++c) {
        const Interval interval = mean_interval(result.figures[c]);
        cells.push_back(cell("%.2f +- %.2f", columns_[c].scale, interval.mean, interval.ci95));
        if (columns_[c].deviation) cells.back() += cell(" (%.2f)", columns_[c].scale, interval.deviation);
      }
      for (std::size_t c = 0; base && c < columns_.size(); ++c) {
        const Interval difference = paired_difference(result.figures[c], base->figures[c]);
        cells.push_back(&result == base ? ""
                                        : cell("%+.2f +- %.2f", columns_[c].scale, difference.mean, difference.ci95));
      }
      if (published) cells.push_back(result.published);
      char seconds[32];
      std::snprintf(seconds, sizeof seconds, "%.0f s", result.seconds);
      table += line(result.name, cells, seconds);
    }
    for (const MethodResult& result : results_)
      if (result.dropped > 0)
        table += result.name + ": " + std::to_string(result.dropped) + " of " +
                 std::to_string(result.items + result.dropped) +
                 " training tasks dropped, their loss or gradient was not finite\n";
    return table;
  }

  /// The same figures as rows of a record: means, then the share of dropped training items, then differences.
  GRAFT_ONCE std::vector<ResultRow> rows(Site site = Site::current()) const {
    const MethodResult* base = base_result(site);
    std::vector<ResultRow> rows;
    const auto add = [&](const MethodResult& result, std::string metric, const Interval& interval) {
      rows.push_back({result.name, std::move(metric), interval.mean, interval.ci95, interval.n, result.seconds});
    };
    for (const MethodResult& result : results_) {
      for (std::size_t c = 0; c < columns_.size(); ++c)
        add(result, columns_[c].metric, mean_interval(result.figures[c]));
      if (const Index all = result.items + result.dropped; all > 0)
        add(result, "dropped", {static_cast<double>(result.dropped) / static_cast<double>(all), 0, all});
    }
    for (const MethodResult& result : results_)
      for (std::size_t c = 0; base && &result != base && c < columns_.size(); ++c)
        add(result, columns_[c].metric + "-minus-" + base_, paired_difference(result.figures[c], base->figures[c]));
    return rows;
  }

 private:
  const MethodResult* base_result(Site site) const {
    if (base_.empty()) return nullptr;
    for (const MethodResult& result : results_)
      if (result.name == base_) return &result;
    fail("MethodTable", {"no result of ", base_, ", to which differences are taken"}, {}, site);
  }
  template <class... Numbers>
  static std::string cell(const char* form, double scale, Numbers... numbers) {
    char text[64];
    std::snprintf(text, sizeof text, form, scale * numbers...);
    return text;
  }
  std::string line(const std::string& name, const std::vector<std::string>& cells, const std::string& last) const {
    std::string line = name;
    const auto add = [&](const std::string& text, std::size_t width) {
      line.append(std::max(width, text.size() + 2) - text.size(), ' ').append(text);
    };
    line.resize(std::max<std::size_t>(17, name.size()), ' ');
    for (std::size_t c = 0; c < cells.size(); ++c) add(cells[c], c == 0 ? 16 : c == columns_.size() ? 22 : 18);
    add(last, 11);
    return line + "\n";
  }

  std::vector<MethodColumn> columns_;
  std::string base_;
  std::vector<MethodResult> results_;
};
GRAFT_HELD(std::string MethodTable::text<>(Site) const)
GRAFT_HELD(std::vector<ResultRow> MethodTable::rows<>(Site) const)

}  // namespace GRAFT_ABI
}  // namespace graft
