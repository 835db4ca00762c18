#pragma once
// The source task of every item drawn uniformly, anew in every epoch: the strategy that others are compared with.

#include "graft/common/needs.hpp"
#include "graft/common/source_plan.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `RandomSubstitution`.
struct RandomSubstitutionOptions {
  double rho = 0.25;  ///< share of an item that is filled; ours
};

/// s ~ uniform over the sources, for every item and epoch; rho fixed.
struct RandomSubstitution {
  RandomSubstitutionOptions options;
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.domains = true};

  /// Throws ValueError without sources, for a negative epoch or item, a rho outside [0, 1].
  SourcePlan operator()(const SourceInput& input, Site site = Site::current()) const {
    const char* op = "RandomSubstitution";
    detail::check_share(op, "rho", options.rho, site);
    detail::check_sources(op, input, site);
    return {detail::uniform_sources(input, detail::all_sources(input.sources)), options.rho};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
