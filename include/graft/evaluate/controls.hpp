#pragma once
// Methods against controls of their own: what does the same without that which the method promises. The strongest
// control comes first, since a gain over a weaker one shows nothing.

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "graft/evaluate/paired.hpp"
#include "graft/evaluate/record.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A method and the names of its controls.
struct ControlledMethod {
  std::string name;
  std::vector<std::string> controls;
};

/// Everything that has to be run to compare methods with their controls and a base: the base, then each method and its
/// controls, each name once.
inline std::vector<std::string> names_to_compare(const std::vector<ControlledMethod>& methods,
                                                 const std::string& base) {
  std::vector<std::string> names{base};
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const ControlledMethod& method : methods) {
    add(method.name);
    for (const std::string& control : method.controls) add(control);
  }
  return names;
}

/// `figure(name, item)` of every name for items (seeds, say) 0 to items - 1, on several threads, so it must be callable
/// from them; the first exception is thrown. Throws ValueError for no items.
template <class F>
std::map<std::string, std::vector<double>> figures_of(const std::vector<std::string>& names, Index items, F figure,
                                                      Site site = Site::current()) {
  if (items < 1) fail("figures_of", {items, " items"}, {}, site);
  std::map<std::string, std::vector<double>> figures;
  for (const std::string& name : names) figures[name].resize(static_cast<std::size_t>(items));
  parallel_tasks(static_cast<Index>(names.size()) * items, [&](Index i) {
    const std::string& name = names[static_cast<std::size_t>(i / items)];
    figures.find(name)->second[static_cast<std::size_t>(i % items)] = static_cast<double>(figure(name, i % items));
  });
  return figures;
}

/// A method minus one of its controls, or the base, over the same items.
struct ControlledDifference {
  std::string name, other;
  bool primary = false;  ///< the method's first one: to its strongest control, or to the base where it has none
  Interval difference;   ///< paired, Student's
  double p = 1;          ///< of Wilcoxon's signed ranks
  double p_holm = 1;     ///< corrected for the number of methods in primary differences; else 1
};

/// For each method in turn its differences to its controls, from the one with the highest mean on, and then to `base`.
/// `figures` holds each name's, higher ones better, of the same items (seeds, say) in the same order. Choosing the
/// strongest control by the same items favours the control. Throws ValueError for a name without figures, which it
/// names, lists of unequal length, empty ones or numbers that are not finite.
inline std::vector<ControlledDifference> compare_with_controls(
    const std::map<std::string, std::vector<double>>& figures, const std::vector<ControlledMethod>& methods,
    const std::string& base, Site site = Site::current()) {
  const auto of = [&](const std::string& name) -> const std::vector<double>& {
    const auto found = figures.find(name);
    if (found == figures.end()) fail("compare_with_controls", {"there are no figures of ", name}, {}, site);
    return found->second;
  };
  std::vector<ControlledDifference> differences;
  std::vector<double> p;
  for (const ControlledMethod& method : methods) {
    std::vector<std::string> others = method.controls;
    for (const std::string& other : others)
      detail::finite_differences("compare_with_controls", of(method.name), of(other), site);
    std::stable_sort(others.begin(), others.end(), [&](const std::string& a, const std::string& b) {
      return mean_interval(of(a)).mean > mean_interval(of(b)).mean;
    });
    if (method.name != base && std::find(others.begin(), others.end(), base) == others.end()) others.push_back(base);
    for (std::size_t i = 0; i < others.size(); ++i) {
      detail::finite_differences("compare_with_controls", of(method.name), of(others[i]), site);
      const double own = wilcoxon_signed_rank(of(method.name), of(others[i]), site).p;
      differences.push_back(
          {method.name, others[i], i == 0, paired_difference(of(method.name), of(others[i]), site), own});
      if (i == 0) p.push_back(own);
    }
  }
  const std::vector<double> corrected = holm(p, site);
  std::size_t next = 0;
  for (ControlledDifference& difference : differences)
    if (difference.primary) difference.p_holm = corrected[next++];
  return differences;
}

/// `compare_with_controls` of fractions of 1 as lines of text in %, each with a mean and half its 95 % interval: first
/// the names by themselves, in the order of `names_to_compare`, then the differences. Throws as that.
inline std::string controlled_text(const std::map<std::string, std::vector<double>>& figures,
                                   const std::vector<ControlledMethod>& methods, const std::string& base,
                                   Site site = Site::current()) {
  const std::vector<ControlledDifference> differences = compare_with_controls(figures, methods, base, site);
  std::string text;
  char line[160];
  for (const std::string& name : names_to_compare(methods, base)) {
    const auto found = figures.find(name);
    if (found == figures.end()) fail("compare_with_controls", {"there are no figures of ", name}, {}, site);
    const Interval mean = mean_interval(found->second);
    std::snprintf(line, sizeof line, "%-40s %6.2f +- %5.2f\n", name.c_str(), 100 * mean.mean, 100 * mean.ci95);
    text += line;
  }
  text += "\n";
  for (const ControlledDifference& d : differences) {
    const std::string what = d.name + " minus " + d.other;
    std::snprintf(line, sizeof line, "%-40s %+6.2f +- %5.2f", what.c_str(), 100 * d.difference.mean,
                  100 * d.difference.ci95);
    text += line;
    std::snprintf(line, sizeof line, "   p %.3f, by Holm over methods %.3f", d.p, d.p_holm);
    text += std::string(d.primary ? line : "") + "\n";
  }
  return text;
}

/// The same for a record: a row "accuracy" or whatever `metric` is for every name, and "accuracy minus OTHER" for the
/// differences.
inline std::vector<ResultRow> controlled_rows(const std::map<std::string, std::vector<double>>& figures,
                                              const std::vector<ControlledMethod>& methods, const std::string& base,
                                              const std::string& metric, Site site = Site::current()) {
  std::vector<ResultRow> rows;
  const auto add = [&](const std::string& name, const std::string& what, const Interval& i) {
    rows.push_back({name, what, i.mean, i.ci95, i.n, 0});
  };
  const std::vector<ControlledDifference> differences = compare_with_controls(figures, methods, base, site);
  for (const auto& [name, values] : figures) add(name, metric, mean_interval(values));
  for (const ControlledDifference& d : differences) add(d.name, metric + " minus " + d.other, d.difference);
  return rows;
}

}  // namespace GRAFT_ABI
}  // namespace graft
