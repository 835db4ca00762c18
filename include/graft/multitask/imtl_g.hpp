#pragma once
// Impartial multi-task learning, the balance of gradients. Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang, "Towards
// impartial multi-task learning", ICLR 2021.

#include "graft/common/gramian.hpp"
#include "graft/common/host_eigen.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Weights [tasks] of the tasks' gradients g_i in the combined direction d, from their Gramian [tasks, tasks]: weights
/// of sum 1 such that d has equal projections <d, g_i / |g_i|> on all tasks,
///   weights_i = y_i / |g_i| / sum_k y_k / |g_k|,   y = C^+ 1,
/// with C^+ the pseudo-inverse of the gradients' cosines, whose eigenvalues up to 1e-12 of the largest count as 0. The
/// direction does not depend on the tasks' scales, but for its length. A gradient of 0 has weight 0. Where no direction
/// has equal projections they are so in least squares, over gradients divided by their lengths; where that gives none,
/// as for opposite gradients, or weights of sum 0, all weights are 0. Weights may be negative; for three tasks and more
/// the closed form may even have equal projections below 0. Carries no gradient. Throws ShapeError for a Gramian that
/// is not square, ValueError without tasks and for numbers that are not finite.
inline Tensor<double> imtl_g_weights(const Tensor<double>& gramian, Site site = Site::current()) {
  const detail::Cosines cosines("imtl_g_weights", gramian, site);
  const Index n = cosines.tasks();
  List<double> weights(n), y(n), ones(n);  // of the gradients that are not 0
  double shortest = 0;                     // lengths are in its units, so that no quotient overflows
  Index count = 0;
  for (Index i = 0; i < n; ++i)
    if (cosines.length(i) > 0) {
      shortest = count == 0 ? cosines.length(i) : std::min(shortest, cosines.length(i));
      ones[i] = 1;
      ++count;
    }
  if (count == 0) return from_vector(weights);
  const detail::HostEigen eigen(cosines.matrix(), site);
  double projected = 0;  // square of 1's projection onto the range of C
  for (Index e = 0; e < n; ++e) {
    if (eigen.value(e) <= 1e-12 * eigen.largest()) continue;
    const double along = eigen.along(e, ones);
    projected += along * along;
    eigen.add(e, along / eigen.value(e), y);
  }
  double sum = 0, size = 0;
  for (Index i = 0; i < n; ++i) {
    if (cosines.length(i) == 0) continue;
    weights[i] = y[i] * (shortest / cosines.length(i));
    sum += weights[i];
    size += std::abs(weights[i]);
  }
  const bool none = projected <= 1e-12 * static_cast<double>(count) || std::abs(sum) <= 1e-12 * size;
  for (double& weight : weights) weight = none ? 0 : weight / sum;
  return from_vector(weights);
}

/// IMTL-G as an aggregator.
struct ImtlG {
  GRAFT_FIELDS()

  /// Throws ValueError as `imtl_g_weights`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    return {.weights = imtl_g_weights(gradients.gramian(), site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
