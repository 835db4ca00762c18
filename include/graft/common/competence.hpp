#pragma once
// How much a model may be asked of as its training goes on. Platanios, Stretcu, Neubig, Poczos, Mitchell,
// "Competence-based curriculum learning for neural machine translation", NAACL 2019.

#include <algorithm>
#include <cmath>

#include "graft/common/checks.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How competence grows; of `CompetenceCurriculum`.
struct CompetenceOptions {
  double start = 0.01;  ///< c0, the competence at first, in (0, 1]; the authors'
  Index rounds = 1000;  ///< T, until all tasks are admitted; no default of the authors: it depends on the training
};

namespace detail {

inline void check_competence(const char* op, const CompetenceOptions& o, Site site) {
  if (!(o.start > 0 && o.start <= 1)) fail(op, {"start is ", o.start, ", expected in (0, 1]"}, {}, site);
  check_count(op, "rounds", o.rounds, 1, site);
}

}  // namespace detail

/// c(t) = min(1, sqrt(t (1 - c0^2) / T + c0^2)) after t rounds: c0 at first, 1 from T on. Throws ValueError for a
/// negative t or NaN, and for options outside their range.
inline double competence(double t, const CompetenceOptions& o = {}, Site site = Site::current()) {
  detail::check_competence("competence", o, site);
  if (!(t >= 0)) fail("competence", {"t is ", t, ", expected 0 or more"}, {}, site);
  const double rounds = static_cast<double>(o.rounds), square = o.start * o.start;
  return t >= rounds ? 1 : std::min(1.0, std::sqrt(t * (1 - square) / rounds + square));
}

}  // namespace GRAFT_ABI
}  // namespace graft
