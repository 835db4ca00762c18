#pragma once
// Easy source tasks first, and little of them; more of both as the model becomes competent. The pace is that of
// Platanios, Stretcu, Neubig, Poczos, Mitchell, "Competence-based curriculum learning for neural machine translation",
// NAACL 2019; the rest as the catalogue of methods has it.

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "graft/common/competence.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/source_plan.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `ProgressiveSubstitution`.
struct ProgressiveSubstitutionOptions {
  double rho = 0.25;    ///< rho_max, share of an item that is filled in the end; ours
  double start = 0.01;  ///< competence at first, in (0, 1]; that of Platanios et al.
  Index epochs = 20;    ///< E, until all sources are admitted; ours
};

/// In epoch e the first ceil(c(e) R) of the R sources by difficulty are admitted, of equals those with the lower
/// number, and rho = rho_max c(e), c = `competence`. An item's source is uniform among the admitted. From epoch E on it
/// is `RandomSubstitution` with rho_max, draw by draw.
struct ProgressiveSubstitution {
  Buffer<double> difficulties;  ///< [sources]
  ProgressiveSubstitutionOptions options;
  GRAFT_FIELDS(difficulties)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.domains = true};

  /// `of_sources` [sources]: how difficult each is, in any unit: the loss of the task alone, or 1 less its similarity
  /// to the main task. Throws ShapeError, ValueError for a NaN and options out of range.
  explicit ProgressiveSubstitution(Tensor<double> of_sources, const ProgressiveSubstitutionOptions& o = {},
                                   Site site = Site::current())
      : difficulties{std::move(of_sources)}, options(o) {
    const char* op = "ProgressiveSubstitution";
    detail::check_per_task(op, "difficulties", difficulties.value, site);
    for (const double difficulty : host(difficulties.value))
      if (std::isnan(difficulty))
        fail(op, {"a difficulty is ", difficulty}, {{"difficulties", difficulties.value.shape()}}, site);
    detail::check_share(op, "rho", o.rho, site);
    if (!(o.start > 0 && o.start <= 1)) fail(op, {"start is ", o.start, ", expected in (0, 1]"}, {}, site);
    detail::check_count(op, "epochs", o.epochs, 1, site);
  }

  /// c(epoch), in (0, 1].
  double competence_at(Index epoch, Site site = Site::current()) const {
    detail::check_count("ProgressiveSubstitution", "epoch", epoch, 0, site);
    return competence(static_cast<double>(epoch), {.start = options.start, .rounds = options.epochs}, site);
  }
  /// The sources that are admitted in an epoch, in order of their numbers.
  std::vector<Index> admitted(Index epoch, Site site = Site::current()) const {
    const auto hard = host(difficulties.value);
    const Index sources = difficulties.value.count();
    std::vector<Index> order = detail::all_sources(sources);
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
      return hard[static_cast<std::size_t>(a)] < hard[static_cast<std::size_t>(b)];
    });
    // Rounding of c R must not admit one more.
    const double count = std::ceil(competence_at(epoch, site) * static_cast<double>(sources) * (1 - 1e-12));
    order.resize(static_cast<std::size_t>(std::clamp(count, 1.0, static_cast<double>(sources))));
    std::sort(order.begin(), order.end());
    return order;
  }

  /// Throws ShapeError for another number of sources, ValueError for a negative epoch or item.
  SourcePlan operator()(const SourceInput& input, Site site = Site::current()) const {
    const char* op = "ProgressiveSubstitution";
    detail::check_sources(op, input, site);
    if (input.sources != difficulties.value.count())
      fail<ShapeError>(op, {"made for ", difficulties.value.count(), " sources, not ", input.sources}, {}, site);
    return {detail::uniform_sources(input, admitted(input.epoch, site)),
            options.rho * competence_at(input.epoch, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
