#pragma once
// Projection onto the dual cone of the tasks' gradients, the directions that conflict with none. Its dual problem has
// one unknown a task; it is solved by the active-set method of Lawson, Hanson, "Solving least squares problems", 1974,
// chapter 23, on the Gramian.

#include <algorithm>
#include <limits>

#include "graft/common/gramian.hpp"
#include "graft/common/host_cholesky.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Over weights v >= u, in units of the gradients' lengths: y_i = |g_i| v_i = floor_i + lift_i.
struct ConeProblem {
  const Cosines& cosines;
  double rounding;
  List<double> floor, lift;
  List<Index> raised;    ///< whose lift is above 0, in the order in which they were raised
  List<Index> given_up;  ///< not to be raised as long as no lift changes

  /// The gradient that conflicts most with sum_k y_k g_k / |g_k|, -1 when all conflicts are roundings.
  Index most_conflicting() const {
    const auto is_in = [](const List<Index>& list, Index i) {
      return std::find(list.begin(), list.end(), i) != list.end();
    };
    Index found = -1;
    double most = 0;
    for (Index j = 0; j < cosines.tasks(); ++j) {
      if (is_in(raised, j) || is_in(given_up, j)) continue;
      double along = 0, size = 0;
      for (Index k = 0; k < cosines.tasks(); ++k) {
        const double part = cosines(j, k) * (floor[k] + lift[k]);
        along += part;
        size += std::abs(part);
      }
      if (along >= most || along >= -rounding * size) continue;
      most = along;
      found = j;
    }
    return found;
  }
  /// The lifts of `raised` with which no raised gradient has a part along y, C_rr z = -(C floor)_r. False if the last
  /// of them depends on the others; of these, none does.
  bool level(List<double>& z) const {
    const Index count = raised.size();
    HostCholesky factor;
    factor.start(count);
    z = List<double>(count);
    for (Index a = 0; a < count; ++a) {
      const double square = factor.next([&](Index b) { return cosines(raised[a], raised[b]); });
      if (!(square > rounding)) return false;
      factor.accept(square);
      for (Index k = 0; k < cosines.tasks(); ++k) z[a] -= cosines(raised[a], k) * floor[k];
    }
    factor.forward(z);
    factor.backward(z);
    return true;
  }
  /// Moves the lifts towards z until one of them comes to 0, which is then no longer raised. True if none does.
  bool arrive(const List<double>& z) {
    double reach = 1;
    Index first = -1;
    for (Index a = 0; a < raised.size(); ++a) {
      const double now = lift[raised[a]];
      if (z[a] > 0 || now / (now - z[a]) > reach) continue;
      reach = now / (now - z[a]);
      first = raised[a];
    }
    List<Index> above;
    for (Index a = 0; a < raised.size(); ++a) {
      double& now = lift[raised[a]];
      now = first < 0 ? z[a] : raised[a] == first ? 0 : std::max(now + reach * (z[a] - now), 0.0);
      if (now > 0) above.push_back(raised[a]);
    }
    raised = above;
    return first < 0;
  }
};

/// The weights v >= u [tasks] of least |sum_i v_i g_i|: that vector is the projection of sum_i u_i g_i onto the cone
/// {x: <x, g_i> >= 0 for all i}. Each task has v_i = u_i or <g_i, sum_k v_k g_k> = 0. Where gradients depend on each
/// other v is one of many, the vector is the same; for a gradient of 0 v_i = u_i.
inline List<double> cone_projection(const Cosines& cosines, const List<double>& u) {
  const Index tasks = cosines.tasks();
  const double rounding = 4 * static_cast<double>(tasks) * std::numeric_limits<double>::epsilon();
  ConeProblem problem{cosines, rounding, {}, List<double>(tasks), {}, {}};
  for (Index i = 0; i < tasks; ++i) problem.floor.push_back(cosines.length(i) * u[i]);
  List<double> z;
  for (Index round = 0; round < 16 + 16 * tasks; ++round) {  // ends long before, but for endless roundings
    const Index next = problem.most_conflicting();
    if (next < 0) break;
    problem.raised.push_back(next);
    if (!problem.level(z) || z.back() <= 0) {
      problem.raised.pop_back();
      problem.given_up.push_back(next);
      continue;
    }
    problem.given_up.clear();
    while (!problem.arrive(z) && problem.level(z)) continue;
  }
  List<double> v = u;
  for (Index i : problem.raised) v[i] += problem.lift[i] / cosines.length(i);
  return v;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
