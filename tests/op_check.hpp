#pragma once
// The standing checks of the op table, without a test framework, so that the mutation check can run them too.

#include "check_report.hpp"
#include "op_table.hpp"

/// All checks of one row; with `gradients_only` values and gradients alone, at the row's own shapes.
CheckReport check_op(const OpRow& row, bool gradients_only = false);
/// The row at unusual points (op_unusual.cpp).
CheckReport check_unusual(const OpRow& row);
