#pragma once
// FairGrad. Ban, Ji, "Fair resource allocation in multi-task learning", ICML 2024. The authors solve for the weights by
// least squares; here it is Newton's method on the convex function whose stationary point they are.

#include "graft/common/alpha_fair.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of FairGrad.
struct FairGradOptions {
  double alpha = 1;      ///< fairness, 0.01 to 100; 1, the default of the authors' code, is Nash's bargain
  int iterations = 100;  ///< of Newton's method at most; about ten are needed
};

/// Weights a [tasks] of the tasks' gradients g_i in the combined direction d, from their Gramian M [tasks, tasks]:
///   (M a)_i = a_i^(-1 / alpha),
/// the solution of  max_d sum_i <g_i, d>^(1 - alpha) / (1 - alpha)  over directions of one length (logarithms for alpha
/// = 1). alpha near 0 nears the sum of the gradients, alpha = 1 is Nash-MTL without a limit of length, and large alpha
/// nears equal <g_i, d> (max-min fairness) where that is possible. A gradient of 0 takes no part (its weight is 0). At
/// a Pareto-stationary point the weights are 0: where a convex combination of the gradients, each divided by its
/// length, is shorter than 1e-6. Carries no gradient. Throws ShapeError for a Gramian that is not square, ValueError
/// without tasks, for numbers that are not finite, alpha outside 0.01 to 100 and iterations below 1.
inline Tensor<double> fairgrad_weights(const Tensor<double>& gramian, const FairGradOptions& options = {},
                                       Site site = Site::current()) {
  const detail::Cosines cosines("fairgrad_weights", gramian, site);
  if (!(options.alpha >= 0.01 && options.alpha <= 100))
    fail("fairgrad_weights", {"alpha is ", options.alpha, ", expected 0.01 to 100"}, {}, site);
  detail::check_count("fairgrad_weights", "iterations", options.iterations, 1, site);
  return from_vector(detail::alpha_fair_weights(cosines, options.alpha, options.iterations));
}

/// FairGrad as an aggregator.
struct FairGrad {
  FairGradOptions options = {};
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)

  /// Throws ValueError as `fairgrad_weights`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    return {.weights = fairgrad_weights(gradients.gramian(), options, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
