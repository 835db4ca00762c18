#pragma once
// ConFIG, conflict-free inverse gradients. Liu, Chu, Thuerey, "ConFIG: towards conflict-free training of physics
// informed neural networks", ICLR 2025.

#include <algorithm>
#include <limits>

#include "graft/common/gramian.hpp"
#include "graft/common/host_eigen.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Weights [tasks] of the tasks' gradients g_i in the combined direction d, from their Gramian [tasks, tasks]:
///   u = unit(pinv(U) preference),   the rows of U: g_i / |g_i|;      d = sum_i <g_i, u> u.
/// As long as the gradients are independent, d's cosine with g_i is proportional to preference_i, none given: equal for
/// all; else it is so as nearly as in least squares, and opposite gradients give 0. Singular values of U below about
/// 1e-7 of the largest count as 0, since the Gramian holds their squares. A gradient of 0 has no part. Carries no
/// gradient. Throws ShapeError for a Gramian that is not square, ValueError for numbers that are not finite, a
/// preference below 0 or of another length.
inline Tensor<double> config_weights(const Tensor<double>& gramian, const List<double>& preference = {},
                                     Site site = Site::current()) {
  const detail::Cosines cosines("config_weights", gramian, site);
  const Index tasks = cosines.tasks();
  List<double> wanted = detail::task_numbers("config_weights", "preference", preference, tasks, 1, site);

  // pinv(U) wanted = U^T x, where x = (U U^T)^+ wanted by the eigenvectors of U U^T, the cosines.
  const detail::HostEigen eigen(cosines.matrix(), site);
  const double rounding = 8 * static_cast<double>(tasks) * std::numeric_limits<double>::epsilon();
  const double size = rounding * *std::max_element(wanted.begin(), wanted.end());
  for (Index i = 0; i < tasks; ++i)
    if (cosines.length(i) == 0) wanted[i] = 0;
  List<double> x(tasks);
  double squared = 0;  // |pinv(U) wanted|^2
  for (Index e = 0; e < tasks; ++e) {
    const double part = eigen.along(e, wanted);
    if (!(eigen.value(e) > rounding * eigen.largest() && std::abs(part) > size)) continue;
    eigen.add(e, part / eigen.value(e), x);
    squared += part / eigen.value(e) * part;
  }
  double along = 0;  // sum_i <g_i, pinv(U) wanted>
  for (Index i = 0; i < tasks; ++i)
    for (Index j = 0; j < tasks; ++j) along += cosines.length(i) * cosines(i, j) * x[j];
  for (Index i = 0; i < tasks; ++i)
    x[i] = cosines.length(i) > 0 && squared > 0 ? along / squared * x[i] / cosines.length(i) : 0;
  return from_vector(x);
}

/// ConFIG as an aggregator, divided by the number of tasks: several equal gradients give that gradient.
struct ConFig {
  List<double> preference = {};  ///< [all tasks]; none: equal for all
  GRAFT_FIELDS()
  GRAFT_CONFIG(preference)

  /// Throws ValueError as `config_weights`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    const List<double> preferred = detail::by_row("ConFig", "preference", preference, gradients, site);
    return {.weights = config_weights(gradients.gramian(), preferred, site) / static_cast<double>(gradients.tasks())};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
