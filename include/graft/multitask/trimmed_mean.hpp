#pragma once
// The coordinate-wise trimmed mean. Yin, Chen, Ramchandran, Bartlett, "Byzantine-robust distributed learning: towards
// optimal statistical rates", ICML 2018.

#include <utility>
#include <vector>

#include "graft/common/aggregator.hpp"
#include "graft/common/checks.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of the trimmed mean. How many rows may be anything, a user has to know.
struct TrimmedMeanOptions {
  Index trimmed = 1;  ///< b, numbers that are left out of a coordinate at each end: tasks > 2 b; 0: the mean
};

/// The direction [n] of the rows of `jacobian` [tasks, n]: in each coordinate the mean without the b largest and the b
/// smallest numbers, which lies between numbers of the others whatever b rows are. Differentiable; equal numbers share
/// the gradient of those that stay. Throws ShapeError, ValueError for numbers that are not finite, TooFewTasks.
template <Real T>
Tensor<T> trimmed_mean(const Tensor<T>& jacobian, const TrimmedMeanOptions& options = {}, Site site = Site::current()) {
  if (jacobian.rank() != 2)
    fail<ShapeError>("trimmed_mean", "expected one gradient a row, [tasks, n]", {{"jacobian", jacobian.shape()}}, site);
  const Index tasks = jacobian.size(0), n = jacobian.size(1), b = options.trimmed;
  detail::check_count("trimmed_mean", "trimmed", b, 0, site);
  if (tasks <= 2 * b)
    fail<TooFewTasks>("trimmed_mean", {tasks, " tasks, ", b, " trimmed at each end: expected at least ", 2 * b + 1}, {},
                      site);
  if (!all_finite(jacobian))
    fail("trimmed_mean", "the gradients are not finite", {{"jacobian", jacobian.shape()}}, site);
  std::vector<Tensor<T>> rows;
  for (Index i = 0; i < tasks; ++i) rows.push_back(reshape(slice(jacobian, 0, i, i + 1), {n}));
  // Each pass moves the largest numbers of all coordinates to the last row, or the smallest ones, and drops them.
  for (Index pass = 0; pass < 2 * b; ++pass) {
    for (std::size_t i = 1; i < rows.size(); ++i) {
      const Tensor<T> low = minimum(rows[i - 1], rows[i]), high = maximum(rows[i - 1], rows[i]);
      rows[i - 1] = pass < b ? low : high;
      rows[i] = pass < b ? high : low;
    }
    rows.pop_back();
  }
  Tensor<T> total = rows[0];
  for (std::size_t i = 1; i < rows.size(); ++i) total = total + rows[i];
  return total / static_cast<T>(rows.size());
}

/// The trimmed mean as an aggregator.
struct TrimmedMean {
  TrimmedMeanOptions options = {};
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)

  /// Throws ValueError and TooFewTasks as `trimmed_mean`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    return {.direction = trimmed_mean(gradients.jacobian(), options, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
