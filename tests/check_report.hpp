#pragma once
// What the standing checks of the tables have in common: a report, and a guard around each group of checks.

#include <exception>
#include <string>
#include <vector>

#include "graft/core/parallel.hpp"

struct CheckReport {
  int checks = 0;
  std::vector<std::string> failures;  ///< one sentence each; empty when the row is right
};

/// Collects the report of one row.
class RowChecks {
 protected:
  void require(bool holds, const std::string& what) {
    ++report_.checks;
    if (!holds) report_.failures.push_back(where_ + what);
  }
  /// Runs a group of checks, whose failures begin with `where`; an exception is a failure. All threads afterwards.
  template <class F>
  void guarded(const std::string& where, F f) {
    where_ = where;
    try {
      f();
    } catch (const std::exception& error) {
      require(false, std::string("unexpected error: ") + error.what());
    }
    graft::set_threads(0);
    where_.clear();
  }

  CheckReport report_;
  std::string where_;
};
