#pragma once
// Which source each item of a batch comes from, where sources are of very unequal size: in proportion to powers of the
// sizes. Arivazhagan et al., "Massively multilingual neural machine translation in the wild", 2019; the limit of Raffel
// et al., "Exploring the limits of transfer learning with a unified text-to-text transformer" (T5), JMLR 2020.

#include <cmath>
#include <limits>

#include "graft/common/needs.hpp"
#include "graft/common/temperature.hpp"
#include "graft/ops/broadcast.hpp"
#include "graft/ops/sampling.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `mixture_probabilities`.
struct TemperatureMixtureOptions {
  double tau = 5;    ///< 1: in proportion to the sizes; infinity: all alike. Arivazhagan et al. take 5
  double limit = 0;  ///< above 0: a larger source counts as one of so many items, T5's K
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true, .domains = true, .derivatives = 0};
};

/// p_i = m_i^(1/tau) / sum_j m_j^(1/tau), m_i = min(n_i, limit) of the sizes n [sources]. A source of size 0 has
/// probability 0. Throws as `temperature_probabilities`, and ValueError for a limit below 0.
inline Tensor<double> mixture_probabilities(const Tensor<double>& sizes, const TemperatureMixtureOptions& o = {},
                                            Site site = Site::current()) {
  const char* op = "mixture_probabilities";
  detail::check_per_task(op, "sizes", sizes, site);
  if (!(o.limit >= 0)) fail(op, {"limit is ", o.limit, ", expected 0 or more"}, {}, site);
  const double limit = o.limit > 0 ? o.limit : std::numeric_limits<double>::infinity();
  List<double> counted;
  for (const double size : host(sizes)) counted.push_back(size < limit ? size : std::isfinite(size) ? limit : size);
  return temperature_probabilities(from_vector(counted), o.tau, site);
}

/// The source of each of `count` items of a batch, drawn one by one with `probabilities` [sources]: [count]. Throws
/// ShapeError, ValueError for a negative count, and as `categorical`.
inline Tensor<std::int64_t> draw_sources(const Tensor<double>& probabilities, Index count, const Random& random,
                                         Site site = Site::current()) {
  const Named here("draw_sources", site);
  detail::check_per_task("draw_sources", "probabilities", probabilities, site);
  if (count < 0) fail("draw_sources", {count, " items"}, {}, site);
  return categorical(broadcast_to(probabilities, {count, probabilities.count()}, site), random, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
