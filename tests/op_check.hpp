#pragma once
// The standing checks of the op table, without a test framework, so that the mutation check can run them too.

#include <string>
#include <vector>

#include "op_table.hpp"

struct OpReport {
  int checks = 0;
  std::vector<std::string> failures;  ///< one sentence each; empty when the row is right
};

/// All checks of one row; with `gradients_only` values and gradients alone, at the row's own shapes.
OpReport check_op(const OpRow& row, bool gradients_only = false);
