#pragma once
// Shares by sizes, evened out by a temperature: of tasks in a round, of sources in a batch.

#include <algorithm>
#include <cmath>

#include "graft/common/checks.hpp"
#include "graft/core/list.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// p_i = n_i^(1/tau) / sum_j n_j^(1/tau) of the sizes n [tasks], by logarithms, so that no power overflows. A task of
/// size 0 has probability 0 at any temperature. Throws ShapeError, ValueError for a size that is negative or not
/// finite, for sizes that are all 0, and for a temperature that is not above 0.
inline Tensor<double> temperature_probabilities(const Tensor<double>& sizes, double tau, Site site = Site::current()) {
  const char* op = "temperature_probabilities";
  detail::check_per_task(op, "sizes", sizes, site);
  if (!(tau > 0)) fail(op, {"tau is ", tau, ", expected above 0"}, {}, site);
  double largest = 0;
  for (const double size : host(sizes)) {
    if (!(size >= 0 && std::isfinite(size))) fail(op, {"a size is ", size}, {{"sizes", sizes.shape()}}, site);
    largest = std::max(largest, size);
  }
  if (largest == 0) fail(op, "all sizes are 0", {{"sizes", sizes.shape()}}, site);
  List<double> p;
  double total = 0;
  for (const double size : host(sizes)) {
    p.push_back(size > 0 ? std::exp((std::log(size) - std::log(largest)) / tau) : 0);
    total += p.back();
  }
  for (double& share : p) share /= total;
  return from_vector(p);
}

}  // namespace GRAFT_ABI
}  // namespace graft
