#pragma once
// The table and the record rows of methods that answered the same test episodes.

#include <cstdio>
#include <string>
#include <vector>

#include "graft/evaluate/record.hpp"

namespace collaborate {

using namespace graft;

/// Test accuracies of one method, episode by episode.
struct MethodResult {
  std::string name;
  std::vector<double> unstructured, within_alphabet;
  double seconds = 0;  ///< of training
};

/// The method called `name`, which must be among the results.
inline const MethodResult& result_of(const std::vector<MethodResult>& results, const std::string& name) {
  for (const MethodResult& result : results)
    if (result.name == name) return result;
  fail("result_of", {"no result of ", name});
}

/// One line a method: mean accuracies with intervals, and paired differences to the method `base`.
inline void print_table(const std::vector<MethodResult>& results, const std::string& base) {
  const MethodResult& reference = result_of(results, base);
  std::printf("%-17s %15s %17s %21s %17s %10s\n", "", "unstructured", "within alphabet",
              ("minus " + base + ":").c_str(), "within alphabet", "training");
  for (const MethodResult& result : results) {
    const auto cell = [](const char* form, const Interval& interval) {
      char text[64];
      std::snprintf(text, sizeof text, form, 100 * interval.mean, 100 * interval.ci95);
      return std::string(text);
    };
    const auto value = [&](const std::vector<double>& a) { return cell("%.2f +- %.2f", mean_interval(a)); };
    const auto gap = [&](const std::vector<double>& a, const std::vector<double>& b) {
      return result.name == base ? "" : cell("%+.2f +- %.2f", paired_difference(a, b));
    };
    std::printf("%-17s %15s %17s %21s %17s %8.0f s\n", result.name.c_str(), value(result.unstructured).c_str(),
                value(result.within_alphabet).c_str(), gap(result.unstructured, reference.unstructured).c_str(),
                gap(result.within_alphabet, reference.within_alphabet).c_str(), result.seconds);
  }
}

/// The same figures as rows of a record, accuracies first.
inline void add_rows(Record& record, const std::vector<MethodResult>& results, const std::string& base) {
  const MethodResult& reference = result_of(results, base);
  for (const MethodResult& result : results) {
    record.add(result.name, "accuracy", mean_interval(result.unstructured), result.seconds);
    record.add(result.name, "accuracy-within-alphabet", mean_interval(result.within_alphabet), result.seconds);
  }
  for (const MethodResult& result : results) {
    if (result.name == base) continue;
    const std::string suffix = "-minus-" + base;
    record.add(result.name, "accuracy" + suffix, paired_difference(result.unstructured, reference.unstructured),
               result.seconds);
    record.add(result.name, "accuracy-within-alphabet" + suffix,
               paired_difference(result.within_alphabet, reference.within_alphabet), result.seconds);
  }
}

}  // namespace collaborate
