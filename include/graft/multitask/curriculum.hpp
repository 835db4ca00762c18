#pragma once
// Easy tasks first, more of them as the model becomes competent. Platanios, Stretcu, Neubig, Poczos, Mitchell,
// "Competence-based curriculum learning for neural machine translation", NAACL 2019.

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "graft/common/competence.hpp"
#include "graft/common/scheduler.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// [tasks]: whether each is among the easiest `share` of the tasks: whether the fraction of tasks that are no more
/// difficult is at most `share`. Equals are admitted together, and the easiest always. `difficulties` [tasks], in any
/// unit. Throws ShapeError, ValueError for a NaN.
inline Tensor<bool> curriculum_admitted(const Tensor<double>& difficulties, double share, Site site = Site::current()) {
  const char* op = "curriculum_admitted";
  detail::check_per_task(op, "difficulties", difficulties, site);
  const auto hard = host(difficulties);
  for (const double difficulty : hard)
    if (std::isnan(difficulty) || std::isnan(share))
      fail(op, {"difficulty ", difficulty, ", share ", share}, {{"difficulties", difficulties.shape()}}, site);
  const double easiest = *std::min_element(hard.begin(), hard.end()), tasks = static_cast<double>(hard.size());
  return generate(difficulties.shape(), [&](Index i) {
    const double own = hard[static_cast<std::size_t>(i)];
    const auto no_harder = std::count_if(hard.begin(), hard.end(), [&](double other) { return other <= own; });
    return own == easiest || static_cast<double>(no_harder) / tasks <= share;
  });
}

/// Uniform among the tasks that the competence of the round admits, as `uniform_tasks`; see `competence` and
/// `curriculum_admitted`. The paper ranks sentences, here tasks are ranked. Looks at nothing but the number of the
/// round.
struct CompetenceCurriculum {
  Buffer<double> difficulties;  ///< [tasks]
  CompetenceOptions options;
  GRAFT_FIELDS(difficulties)
  GRAFT_CONFIG(options)

  /// `of_tasks` [tasks]: how difficult each is. Throws ShapeError, ValueError for a NaN and options outside their
  /// range.
  explicit CompetenceCurriculum(Tensor<double> of_tasks, CompetenceOptions o = {}, Site site = Site::current())
      : difficulties{std::move(of_tasks)}, options(o) {
    detail::check_competence("CompetenceCurriculum", o, site);
    curriculum_admitted(difficulties.value, 1, site);
  }

  std::vector<Index> operator()(const ScheduleInput& input, Site site = Site::current()) const {
    detail::check_schedule("CompetenceCurriculum", input, difficulties.value.count(), site);
    const double share = competence(static_cast<double>(input.round), options, site);
    return detail::uniform_of_marked(curriculum_admitted(difficulties.value, share, site), input, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
