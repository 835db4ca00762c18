#pragma once
// Figures of several names over folds and seeds, with intervals and paired differences, as a table and as rows of a
// record.

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "graft/evaluate/bootstrap.hpp"
#include "graft/evaluate/record.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One figure a metric, name, fold and seed. Its intervals are those of `hierarchical_bootstrap`: of new folds and
/// seeds; differences are paired.
class FigureTable {
 public:
  /// Throws ValueError for names, metrics, folds or seeds that are none.
  FigureTable(std::vector<std::string> names, std::vector<std::string> metrics, Index folds, Index seeds,
              Site site = Site::current())
      : names_(std::move(names)), metrics_(std::move(metrics)) {
    if (names_.empty() || metrics_.empty() || folds < 1 || seeds < 1)
      fail("FigureTable",
           {names_.size(), " names, ", metrics_.size(), " metrics, ", folds, " folds of ", seeds, " seeds"}, {}, site);
    for (const std::string& metric : metrics_)
      for (const std::string& name : names_)
        figures_[metric][name].assign(
            static_cast<std::size_t>(folds),
            std::vector<std::vector<double>>(static_cast<std::size_t>(seeds), std::vector<double>(1)));
  }

  /// Puts the figures of all metrics in. Those of different places may be put by different threads. Throws IndexError
  /// for a place that the table has not, ValueError for another name or number of figures.
  void put(const std::string& name, Index fold, Index seed, const std::vector<double>& figures,
           Site site = Site::current()) {
    const FoldFigures& first = at(metrics_[0], name, site);
    if (fold < 0 || fold >= std::ssize(first) || seed < 0 || seed >= std::ssize(first[0]))
      fail<IndexError>("FigureTable", {"fold ", fold, " of ", first.size(), ", seed ", seed, " of ", first[0].size()},
                       {}, site);
    if (figures.size() != metrics_.size())
      fail("FigureTable", {figures.size(), " figures for ", metrics_.size(), " metrics"}, {}, site);
    for (std::size_t m = 0; m < figures.size(); ++m)
      figures_.at(metrics_[m]).at(name)[static_cast<std::size_t>(fold)][static_cast<std::size_t>(seed)][0] = figures[m];
  }
  /// Throws ValueError for a name or metric that the table has not.
  const FoldFigures& at(const std::string& metric, const std::string& name, Site site = Site::current()) const {
    const auto row = figures_.find(metric);
    if (row == figures_.end()) fail("FigureTable", {"there is no metric '", metric, "'"}, {}, site);
    const auto found = row->second.find(name);
    if (found == row->second.end()) fail("FigureTable", {"there is no name '", name, "'"}, {}, site);
    return found->second;
  }

  /// A line a name: each metric in % with its interval, and the difference of the last metric to `control`, if that is
  /// one of the names.
  std::string text(const std::string& control, const Random& random) const {
    std::string page(12, ' ');
    char part[64];
    const auto put_interval = [&](const char* form, const BootstrapInterval& i) {
      std::snprintf(part, sizeof part, form, 100 * i.mean, 100 * i.low, 100 * i.high);
      page += part;
    };
    const bool compares = figures_.at(metrics_[0]).count(control) > 0;
    for (const std::string& metric : metrics_) {
      std::snprintf(part, sizeof part, "  %-20s", (metric + " in %").c_str());
      page += part;
    }
    page += (compares ? "  " + metrics_.back() + ", difference to " + control : "") + "\n";
    for (const std::string& name : names_) {
      std::snprintf(part, sizeof part, "%-12s", name.c_str());
      page += part;
      for (const std::string& metric : metrics_)
        put_interval("  %5.1f [%5.1f, %5.1f]", hierarchical_bootstrap(figures_.at(metric).at(name), random));
      if (compares && name != control) put_interval("  %+5.1f [%+5.1f, %+5.1f]", difference(name, control, random));
      page += "\n";
    }
    return page;
  }

  /// The same as rows, as shares of 1; `n` counts folds times seeds.
  std::vector<ResultRow> rows(const std::string& control, const Random& random) const {
    std::vector<ResultRow> list;
    const bool compares = figures_.at(metrics_[0]).count(control) > 0;
    const auto add = [&](const std::string& name, const std::string& metric, const BootstrapInterval& i) {
      const FoldFigures& of = figures_.at(metrics_[0]).at(name);
      list.push_back({name, metric, i.mean, (i.high - i.low) / 2, std::ssize(of) * std::ssize(of[0]), 0});
    };
    for (const std::string& name : names_) {
      for (const std::string& metric : metrics_)
        add(name, metric, hierarchical_bootstrap(figures_.at(metric).at(name), random));
      if (compares && name != control)
        add(name, metrics_.back() + " minus " + control, difference(name, control, random));
    }
    return list;
  }

 private:
  BootstrapInterval difference(const std::string& name, const std::string& control, const Random& random) const {
    const auto& of = figures_.at(metrics_.back());
    return hierarchical_bootstrap(of.at(name), of.at(control), random);
  }

  std::vector<std::string> names_, metrics_;
  std::map<std::string, std::map<std::string, FoldFigures>> figures_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
