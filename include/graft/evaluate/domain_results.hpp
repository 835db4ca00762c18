#pragma once
// Methods of domain generalisation side by side: each domain in turn as the unseen one, over seeds, under each of the
// three rules of choosing.

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "graft/evaluate/domain_selection.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/evaluate/record.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Test accuracies of methods in each domain, of several seeds. Every figure stands under the rule that its model was
/// chosen by.
class DomainResults {
 public:
  /// Of domains with these names.
  explicit DomainResults(std::vector<std::string> domains) : domains_(std::move(domains)) {}

  /// The runs of a method with one seed, all configurations: `domain_candidates` and `choose_by` for each domain and
  /// rule. The method that is added first is the one that others are compared with; all of them want the same seeds in
  /// the same order. Throws as these two, and ValueError for runs of another number of domains.
  void add(const std::string& method, const std::vector<DomainRun>& runs, Site site = Site::current()) {
    if (runs.empty() || runs[0].shown.size() != domains_.size())
      fail("DomainResults", {"runs of ", runs.empty() ? 0 : runs[0].shown.size(), " domains, of ", domains_.size()}, {},
           site);
    std::vector<std::vector<double>> figures;
    for (const DomainSelection rule : domain_selections()) {
      figures.emplace_back();
      double sum = 0;
      for (Index test = 0; test < std::ssize(domains_); ++test) {
        figures.back().push_back(choose_by(rule, domain_candidates(runs, test, site), site).test);
        sum += figures.back().back();
      }
      figures.back().push_back(sum / static_cast<double>(domains_.size()));
    }
    for (Method& known : methods_)
      if (known.name == method) return known.add(figures);
    methods_.push_back({method, {}});
    methods_.back().add(figures);
  }

  /// The test accuracy of a method in domain `test`, or, for a `test` that is the number of domains, their mean: over
  /// the seeds. Throws ValueError for a method or a domain that there is not.
  Interval figure(const std::string& method, DomainSelection rule, Index test, Site site = Site::current()) const {
    return mean_interval(seeds_of(find(method, site), rule, test, site));
  }
  /// What a method's mean over the domains has above that of the first method, of the same seeds.
  Interval gain(const std::string& method, DomainSelection rule, Site site = Site::current()) const {
    const Index mean = std::ssize(domains_);
    return paired_difference(seeds_of(find(method, site), rule, mean, site),
                             seeds_of(methods_.front(), rule, mean, site), site);
  }

  /// A table for each rule, accuracies in % with the half-widths of their 95 % intervals.
  std::string text() const {
    std::string text;
    char cell[64];
    const auto write = [&](const char* format, auto... values) {
      std::snprintf(cell, sizeof cell, format, values...);
      text += cell;
    };
    for (const DomainSelection rule : domain_selections()) {
      text += "\nAccuracy in %, chosen by: " + selection_name(rule) + "\n";
      write("%-16s", "tested in");
      for (const std::string& name : domains_) write("%16.15s", name.c_str());
      write("%16s", "mean");
      text += "  less that of " + methods_.front().name + "\n";
      for (const Method& method : methods_) {
        write("%-16.15s", method.name.c_str());
        for (Index test = 0; test <= std::ssize(domains_); ++test) {
          const Interval value = figure(method.name, rule, test);
          write("%8.1f +- %4.1f", 100 * value.mean, 100 * value.ci95);
        }
        const Interval above = gain(method.name, rule);
        if (&method != &methods_.front()) write("%9.1f +- %4.1f", 100 * above.mean, 100 * above.ci95);
        text += "\n";
      }
    }
    return text;
  }

  /// The same as rows of a record, whose metric says the domain and the rule: "accuracy in usps, oracle".
  std::vector<ResultRow> rows() const {
    std::vector<ResultRow> rows;
    for (const DomainSelection rule : domain_selections())
      for (const Method& method : methods_)
        for (Index test = 0; test <= std::ssize(domains_); ++test) {
          const Interval value = figure(method.name, rule, test);
          const std::string where = test < std::ssize(domains_) ? domains_[static_cast<std::size_t>(test)] : "the mean";
          rows.push_back(
              {method.name, "accuracy in " + where + ", " + selection_name(rule), value.mean, value.ci95, value.n, 0});
        }
    return rows;
  }

 private:
  struct Method {
    std::string name;
    std::vector<std::vector<std::vector<double>>> figures;  // [rules][domains and their mean][seeds]

    void add(const std::vector<std::vector<double>>& of_seed) {
      if (figures.empty()) figures.resize(of_seed.size(), std::vector<std::vector<double>>(of_seed[0].size()));
      for (std::size_t rule = 0; rule < of_seed.size(); ++rule)
        for (std::size_t e = 0; e < of_seed[rule].size(); ++e) figures[rule][e].push_back(of_seed[rule][e]);
    }
  };

  const Method& find(const std::string& name, Site site) const {
    for (const Method& method : methods_)
      if (method.name == name) return method;
    fail("DomainResults", {"there are no results of '", name, "'"}, {}, site);
  }
  const std::vector<double>& seeds_of(const Method& method, DomainSelection rule, Index test, Site site) const {
    if (test < 0 || test > std::ssize(domains_))
      fail("DomainResults", {"domain ", test, " of ", domains_.size()}, {}, site);
    return method.figures[static_cast<std::size_t>(rule)][static_cast<std::size_t>(test)];
  }

  std::vector<std::string> domains_;
  std::vector<Method> methods_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
