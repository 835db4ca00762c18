#pragma once
// A support vector machine as a head (MetaOptNet). Lee, Maji, Ravichandran, Soatto, "Meta-learning with differentiable
// convex optimization", CVPR 2019, with the multi-class machine of Crammer, Singer, "On the algorithmic implementation
// of multiclass kernel-based vector machines", JMLR 2001. Solved by Mehrotra's primal-dual interior-point method (SIAM
// Journal on Optimization 1992), then exactly on the set of duals off their bounds, through which it is differentiated.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Minimise 1/2 sum_k a_k' K a_k - sum_n a_n,label(n)  subject to  a <= upper, sum_k a_nk = 0: the dual of the
/// Crammer-Singer machine.
struct CrammerSinger {
  Tensor<double> kernel;  ///< [items, items], positive definite
  Tensor<double> target;  ///< [items, ways]: 1 at the label, 0 elsewhere
  Tensor<double> upper;   ///< [items, ways]: c at the label, 0 elsewhere

  Index items() const { return target.size(0); }
  Index ways() const { return target.size(1); }
  /// Of the objective, [items, ways].
  Tensor<double> gradient(const Tensor<double>& a) const { return matmul(kernel, a) - target; }
};

/// The optimum where a given set of duals is off its bounds: with a reference class r off its bound for every item, a =
/// fixed + sum_p t_p (e_k - e_r), over the other duals p = (item, class k) off theirs.
inline Tensor<double> duals_off_bounds(const CrammerSinger& problem, const List<char>& off) {
  const Index items = problem.items(), ways = problem.ways();
  std::vector<std::int64_t> item;
  std::vector<double> step, fixed;
  const auto upper = host(problem.upper);
  for (Index n = 0; n < items; ++n) {
    Index reference = 0;
    while (!off[n * ways + reference]) ++reference;
    double bound = 0;
    for (Index k = 0; k < ways; ++k) {
      const Index place = n * ways + k;
      fixed.push_back(off[place] ? 0 : upper[static_cast<std::size_t>(place)]);
      bound += fixed.back();
      if (!off[place] || k == reference) continue;
      item.push_back(n);
      for (Index j = 0; j < ways; ++j) step.push_back((j == k) - (j == reference));
    }
    fixed[static_cast<std::size_t>(n * ways + reference)] -= bound;
  }
  const Tensor<double> start = from_vector(fixed, {items, ways});
  if (item.empty()) return start;
  const auto place = from_vector(item);
  const Tensor<double> e = from_vector(step, {place.count(), ways});
  // Stationary along every step: sum_q K(p, q) <e_p, e_q> t_q = -<e_p, gradient at the start>.
  const Tensor<double> curvature =
      gather(gather(problem.kernel, place, 0), place, 1) * matmul(e, e, {.transpose_b = true});
  const Tensor<double> slope = sum(gather(problem.gradient(start), place) * e, {1}, true);
  return start + scatter_add(-cholesky_solve(curvature, slope) * e, place, items);
}

/// Up to what slopes are equal, and duals within their bounds.
struct DualTolerance {
  double gradient, dual;
};

/// Which duals are off their bounds at the optimum [items * ways], by interior points: those whose slack, in units of
/// the gradient, exceeds its multiplier.
inline List<char> crammer_singer_off_bounds(const CrammerSinger& problem, double c, const DualTolerance& tolerance) {
  const Index items = problem.items(), ways = problem.ways();
  const double count = static_cast<double>(items * ways);
  const Tensor<double>& kernel = problem.kernel;
  const Tensor<double> identity = eye<double>(items);
  // Matrices of a class each, [ways, items, items], act on columns of it, [ways, items, 1].
  const auto by_class = [&](const Tensor<double>& x) { return reshape(transpose(x), {ways, items, 1}); };
  const auto by_item = [&](const Tensor<double>& x) { return transpose(reshape(x, {ways, items})); };
  // The longest step of at most 1 from x in direction d that keeps x positive.
  const auto longest = [](const Tensor<double>& x, const Tensor<double>& d) {
    double most = 1;
    const auto from = host(x), along = host(d);
    for (std::size_t i = 0; i < from.size(); ++i)
      if (along[i] < 0) most = std::min(most, -from[i] / along[i]);
    return most;
  };

  const double others = 2 * static_cast<double>(ways - 1);
  Tensor<double> a = problem.upper * (0.5 + 1 / others) - c / others;  // c / 2 at the label, sum 0
  Tensor<double> s = problem.upper - a, nu = zeros<double>({items, 1});
  Tensor<double> z = full<double>({items, ways}, 1 + max(abs(problem.gradient(a))).item());
  for (int round = 0; round < 100; ++round) {
    const Tensor<double> ratio = z / s;
    const Tensor<double> dual_gap = problem.gradient(a) + z - nu, sums = sum(a, {1}, true);
    const double mu = sum(s * z).item() / count;
    if (max(abs(dual_gap)).item() <= tolerance.gradient && mu <= 1e-16 * c) break;

    // (K + diag(z / s)) da_k - dnu = right side, sum_k da_k = -sums.
    const Tensor<double> system = kernel + by_class(ratio) * identity;
    const Tensor<double> inverse = cholesky_solve(system, identity);
    const Tensor<double> joint = sum(inverse, {0});
    Tensor<double> da, dnu, dz;
    const auto solve_for = [&](const Tensor<double>& complement) {
      const Tensor<double> right = complement / s - dual_gap;
      const Tensor<double> alone = by_item(matmul(inverse, by_class(right)));
      dnu = -cholesky_solve(joint, sum(alone, {1}, true) + sums);
      da = alone + by_item(matmul(inverse, broadcast_to(reshape(dnu, {1, items, 1}), {ways, items, 1})));
      dz = ratio * da - complement / s;
    };
    solve_for(z * s);  // towards s z = 0
    const double p = longest(s, -da), d = longest(z, dz);
    const double after = sum((s - p * da) * (z + d * dz)).item() / count;
    const double sigma = std::pow(after / mu, 3);
    solve_for(z * s - sigma * mu - da * dz);  // towards s z = sigma mu, with the second order of the step before
    const double step = 0.99 * std::min(longest(s, -da), longest(z, dz));
    a = a + step * da;
    s = s - step * da;
    nu = nu + step * dnu;
    z = z + step * dz;
  }

  List<char> off(items * ways);
  const auto slack = host(s), multiplier = host(z), k = host(kernel);
  for (Index n = 0; n < items; ++n) {
    const double curvature = k[static_cast<std::size_t>(n * items + n)];
    Index loosest = n * ways;
    for (Index place = n * ways; place < (n + 1) * ways; ++place) {
      const auto at = static_cast<std::size_t>(place);
      off[place] = slack[at] * curvature > multiplier[at];
      if (slack[at] > slack[static_cast<std::size_t>(loosest)]) loosest = place;
    }
    off[loosest] = true;
  }
  return off;
}

}  // namespace detail

/// The dual variables [items, ways] of the Crammer-Singer support vector machine with w_k = sum_n a_nk x_n,
///   min 1/2 sum_k |w_k|^2 + c sum_n xi_n   subject to  <w_label(n), x_n> - <w_k, x_n> >= 1 - [k = label(n)] - xi_n,
/// from the kernel K_nm = <x_n, x_m> [items, items], which must be positive definite, and labels [items] in 0 ..
/// ways-1: a_nk <= c at the label of n, a_nk <= 0 elsewhere, and sum_k a_nk = 0. Duals at a bound are there exactly.
/// Differentiable in the kernel to any order while the set of duals at bounds stays the same; where it is about to
/// change, the derivatives are those of one side. The set is a host's work, of ways items^3 a round. Throws ShapeError;
/// IndexError for labels out of range; ValueError for a NaN or an infinity, a `c` that is not positive, a kernel that
/// is not positive definite, and one so badly conditioned that no set satisfies the conditions of the optimum.
inline Tensor<double> crammer_singer_duals(const Tensor<double>& kernel, const Tensor<std::int64_t>& labels, Index ways,
                                           double c, Site site = Site::current()) {
  const char* op = "crammer_singer_duals";
  if (labels.rank() != 1 || !(kernel.shape() == Shape{labels.size(0), labels.size(0)}))
    fail<ShapeError>(op, "expected a kernel [items, items] and labels [items]",
                     {{"kernel", kernel.shape()}, {"labels", labels.shape()}}, site);
  detail::check_option<double>(op, "c", c, detail::Range::positive, site);
  double largest = 0;
  for (const double v : host(kernel)) {
    if (!std::isfinite(v)) fail(op, "the kernel holds a NaN or an infinity", {{"kernel", kernel.shape()}}, site);
    largest = std::max(largest, std::abs(v));
  }
  const Named here(op, site);
  const Tensor<double> target = one_hot<double>(labels, ways, site);
  if (ways < 2 || labels.size(0) == 0) return zeros<double>({labels.size(0), ways});
  const detail::CrammerSinger problem{kernel, target, c * target};
  const Index items = problem.items();
  // Rounding of the gradient, whose terms are as large as K c.
  const double rounding = 16 * std::numeric_limits<double>::epsilon() * static_cast<double>(items);
  const detail::DualTolerance tolerance{1e-10 + rounding * largest * c, 1e-10 * c};

  List<char> off;
  {
    const Recording untaped(false);
    const detail::CrammerSinger numbers{kernel.detach(), target, problem.upper};
    off = detail::crammer_singer_off_bounds(numbers, c, tolerance);
    // Nearly always the set is right; else the worst of the conditions that fail names a dual on the wrong side.
    for (Index change = 0;; ++change) {
      const Tensor<double> a = detail::duals_off_bounds(numbers, off), g = numbers.gradient(a);
      const auto dual = host(a), slope = host(g), upper = host(numbers.upper);
      double worst = 1;
      Index wrong = -1;
      for (Index n = 0; n < items; ++n) {
        Index reference = n * ways;
        while (!off[reference]) ++reference;
        for (Index place = n * ways; place < (n + 1) * ways; ++place) {
          const auto at = static_cast<std::size_t>(place);
          const double fault = off[place]
                                   ? (dual[at] - upper[at]) / tolerance.dual
                                   : (slope[at] - slope[static_cast<std::size_t>(reference)]) / tolerance.gradient;
          if (fault > worst) {
            worst = fault;
            wrong = place;
          }
        }
      }
      if (wrong < 0) break;
      if (change == 10 * items * ways) fail(op, "no optimum was found", {{"kernel", kernel.shape()}}, site);
      off[wrong] = !off[wrong];
    }
  }
  return detail::duals_off_bounds(problem, off);
}

/// Options of `SvmHead`; the defaults are the authors'.
struct SvmOptions {
  double c = 0.1;       ///< price of a violated margin
  double ridge = 1;     ///< added to the diagonal of the kernel, so that it is positive definite
  double scale = 1;     ///< of the answers, at first
  bool centre = false;  ///< embeddings less their mean over the support set: a common part of all changes nothing
};

/// Logits [queries, ways] = scale <w_k, query> of the support vector machine that separates the support set, see
/// `crammer_singer_duals`. `scale` is learned. The machine is trained and differentiated in double; a common part of
/// all embeddings costs digits, and with one of 1e6 the kernel may not be positive definite, unless they are centred.
/// Throws ValueError for options that are not positive, and for embeddings with a NaN or an infinity.
template <class T = float>
struct SvmHead {
  Tensor<T> scale;  ///< []
  SvmOptions options;
  GRAFT_FIELDS(scale)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{};

  explicit SvmHead(const SvmOptions& o = {}, Site site = Site::current()) : scale(static_cast<T>(o.scale)), options(o) {
    detail::check_option<double>("SvmHead", "c", o.c, detail::Range::positive, site);
    detail::check_option<double>("SvmHead", "ridge", o.ridge, detail::Range::positive, site);
    detail::check_option<T>("SvmHead", "scale", o.scale, detail::Range::positive, site);
  }

  /// The duals of the support items [items, ways].
  Tensor<double> duals(const Episode<T>& episode, Site site = Site::current()) const {
    return machine(episode, site).duals;
  }

  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    const auto [x, a] = machine(episode, site);
    const Tensor<T> w = cast<T>(matmul(a, x, {.transpose_a = true}));
    return scale * matmul(centred(episode.query.x, episode), w, {.transpose_b = true});
  }

 private:
  struct Machine {
    Tensor<double> x, duals;  ///< the support items as they are separated, and their duals
  };
  Machine machine(const Episode<T>& episode, Site site) const {
    detail::check_embedded("SvmHead", episode, site);
    const Named here("SvmHead", site);
    const Tensor<double> x = cast<double>(centred(episode.support.x, episode));
    const Tensor<double> kernel = matmul(x, x, {.transpose_b = true}) + options.ridge * eye<double>(x.size(0));
    return {x, crammer_singer_duals(kernel, episode.support.y, episode.ways, options.c, site)};
  }
  /// x, less the mean of the support set where asked for.
  Tensor<T> centred(const Tensor<T>& x, const Episode<T>& episode) const {
    return options.centre ? detail::less_mean(x, episode.support.x) : x;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
