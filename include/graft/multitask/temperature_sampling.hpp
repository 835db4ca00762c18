#pragma once
// Tasks by their sizes, evened out by a temperature. Arivazhagan et al., "Massively multilingual neural machine
// translation in the wild: findings and challenges", 2019 (temperature 5); annealed: Stickland, Murray, "BERT and PALs:
// projected attention layers for efficient adaptation in multi-task learning", ICML 2019. Exact quotas by the algorithm
// of Tijdeman, "The chairman assignment problem", Discrete Mathematics 1980.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "graft/common/scheduler.hpp"
#include "graft/common/temperature.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `TemperatureSampling`.
struct TemperatureSamplingOptions {
  double tau = 5;                ///< 1: in proportion to the sizes; infinity: uniformly. Arivazhagan et al. take 5
  Index annealing = 0;           ///< rounds in which the temperature goes linearly from `first_tau` to `tau`; 0: none
  double first_tau = 1;          ///< of the first round, if there is annealing
  bool low_discrepancy = false;  ///< exact quotas instead of independent draws
};

/// Draws tasks with p_i = n_i^(1/tau) / sum_j n_j^(1/tau): independently, or with `low_discrepancy` so that after any
/// number r of draws task i was drawn r p_i times but for less than one (as long as tau does not change; while it is
/// annealed the p_i of the draws are added up, and a task may be off by a little more). Then nothing is random: draw by
/// draw, of the tasks that lag 1 / (2 m - 2) or more behind r p_i, m tasks having p_i above 0, the one that would first
/// lag by 1 - 1 / (2 m - 2). Stickland and Murray anneal 1/tau linearly from 1, here tau is.
struct TemperatureSampling {
  Buffer<double> sizes;  ///< [tasks]
  Buffer<double> owed;   ///< [tasks]: draws that each lags behind its quota
  TemperatureSamplingOptions options;
  GRAFT_FIELDS(sizes, owed)
  GRAFT_CONFIG(options)

  /// `of_tasks` [tasks]: how many items each task has. Throws as `temperature_probabilities`, and ValueError for
  /// annealing over a negative number of rounds or from or to an infinite temperature.
  explicit TemperatureSampling(Tensor<double> of_tasks, TemperatureSamplingOptions o = {}, Site site = Site::current())
      : sizes{std::move(of_tasks)}, options(o) {
    const char* op = "TemperatureSampling";
    detail::check_count(op, "annealing", o.annealing, 0, site);
    if (o.annealing > 0)
      for (const double end : {o.first_tau, o.tau})
        if (!(end > 0 && std::isfinite(end))) fail(op, {"annealing from or to a tau of ", end}, {}, site);
    owed.value = zeros<double>(temperature_probabilities(sizes.value, o.tau, site).shape());
  }

  /// The temperature of the round after `round` others.
  double tau(Index round) const {
    if (round >= options.annealing) return options.tau;
    const double share = static_cast<double>(round) / static_cast<double>(options.annealing);
    return options.first_tau + (options.tau - options.first_tau) * share;
  }

  std::vector<Index> operator()(const ScheduleInput& input, Site site = Site::current()) {
    detail::check_schedule("TemperatureSampling", input, sizes.value.count(), site);
    const Tensor<double> p = temperature_probabilities(sizes.value, tau(input.round), site);
    std::vector<Index> chosen =
        options.low_discrepancy ? draw_quotas(p, input.wanted) : detail::draw_tasks(p, input.wanted, input.random);
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

 private:
  std::vector<Index> draw_quotas(const Tensor<double>& probabilities, Index places) {
    const List<double> p(host(probabilities));
    List<double> lag(host(owed.value));
    const double possible = static_cast<double>(std::count_if(p.begin(), p.end(), [](double x) { return x > 0; }));
    const double least = 1 / (2 * std::max(possible, 2.0) - 2);
    std::vector<Index> chosen;
    for (Index k = 0; k < places; ++k) {
      Index best = -1, furthest = 0;
      double earliest = std::numeric_limits<double>::infinity();
      for (Index i = 0; i < p.size(); ++i) {
        lag[i] += p[i];
        if (lag[i] > lag[furthest]) furthest = i;
        if (p[i] == 0 || lag[i] < least) continue;
        const double left = (1 - least - lag[i]) / p[i];  // draws until it lags by 1 - least
        if (best >= 0 && left >= earliest) continue;
        best = i;
        earliest = left;
      }
      if (best < 0) best = furthest;  // where roundings alone are below `least`
      lag[best] -= 1;
      chosen.push_back(best);
    }
    owed.value = from_vector(lag);
    return chosen;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
