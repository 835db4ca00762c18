#pragma once
// Alpha-fair bargaining between tasks: the direction d that is best for sum_i U(<g_i, d>) - |d|^2 / 2, U'(y) =
// y^-alpha, is sum_i a_i g_i with  M a = a^(-1/alpha), M the gradients' Gramian. Mo, Walrand, "Fair end-to-end
// window-based congestion control", IEEE/ACM Transactions on Networking 8, 2000; alpha = 1 is Nash's bargain.

#include <limits>

#include "graft/common/gramian.hpp"
#include "graft/common/host_cholesky.hpp"
#include "graft/common/simplex_qp.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// A convex combination of unit gradients that is shorter than the root of this is 0 but for rounding: the Gramian
/// holds squares, which have no more digits.
inline constexpr double kStationarySquare = 1e-12;

/// The bargain between tasks whose gradients have cosines C and lengths s_i, by Newton's method on a convex function of
/// as many unknowns as there are tasks.
class AlphaFair {
 public:
  AlphaFair(List<double> cosines, List<double> scales, double alpha)
      : n_(scales.size()), c_(std::move(cosines)), scales_(std::move(scales)), alpha_(alpha), p_(1 / alpha) {}

  /// s_i a_i for all tasks. `start` [tasks] are weights of gradients of length 1 whose sum conflicts with none. The
  /// unknowns are the weights; for large alpha, where weights may be too small for that, what each task gains.
  List<double> solve(const List<double>& start, int iterations) const {
    List<double> z(n_);
    if (!by_weights(z, iterations) && alpha_ > 1) by_gains(z, start, iterations);
    return z;
  }

 private:
  double c(Index i, Index j) const { return c_[i * n_ + j]; }
  double along(Index i, const List<double>& x) const {
    double sum = 0;
    for (Index j = 0; j < n_; ++j) sum += c(i, j) * x[j];
    return sum;
  }
  double product(const List<double>& x, const List<double>& y) const {
    double sum = 0;
    for (Index i = 0; i < n_; ++i) sum += x[i] * along(i, y);
    return sum;
  }

  /// x of A x = b, A_ij = a(i, j) of positive eigenvalues; `b` becomes x.
  template <class A>
  void solve_positive(const A& a, List<double>& b) const {
    HostCholesky factor;
    factor.start(n_);
    for (Index i = 0; i < n_; ++i)
      factor.accept(std::max(factor.next([&](Index j) { return a(i, j); }), std::numeric_limits<double>::min()));
    factor.forward(b);
    factor.backward(b);
  }

  /// How far a convex function falls along a step: to where a tenth of its slope, `slope_at(0)` < 0, is left. At most
  /// to the wall at `wall`. The step itself, where that is enough.
  template <class SlopeAt>
  static double fall(const SlopeAt& slope_at, double wall) {
    const double start = slope_at(0.0);
    double low = 0, high = wall, length = wall > 1 ? 1 : 0.99 * wall;
    for (int trial = 0; trial < 60; ++trial) {
      const double there = slope_at(length);
      if (std::abs(there) <= -0.1 * start) break;
      (there < 0 ? low : high) = length;
      length = std::isinf(high) ? 4 * length : 0.5 * (low + high);
    }
    return length;
  }

  /// z_i = s_i a_i with  C z = out,  out_i = t_i (z_i / t_i)^-p,  p = 1 / alpha,  t_i = s_i^((p - 1) / (p + 1)), which
  /// is where 1/2 z' C z + sum_i t_i^2 (z_i / t_i)^(1 - p) / (p - 1) is least (p = 1: - ln z_i). False if
  /// that was not reached.
  bool by_weights(List<double>& z, int iterations) const {
    List<double> t(n_), out(n_), step(n_), slope(n_);
    double total = 0;
    for (Index i = 0; i < n_; ++i) {
      t[i] = std::pow(scales_[i], (p_ - 1) / (p_ + 1));
      total += t[i] * t[i];
    }
    // Begins with the best multiple of t, but not too far out where t is nearly flat.
    const double ray = std::pow(total / std::max(product(t, t), 1e-6 * total), 1 / (1 + p_));
    for (Index i = 0; i < n_; ++i) z[i] = ray * t[i];
    const auto outward = [&](Index i, double at) { return t[i] * std::pow(at / t[i], -p_); };
    for (int iteration = 0; iteration <= iterations; ++iteration) {
      bool solved = true;
      for (Index i = 0; i < n_; ++i) {
        out[i] = outward(i, z[i]);
        if (!std::isfinite(out[i])) return false;
        double size = out[i];
        for (Index j = 0; j < n_; ++j) size += std::abs(c(i, j)) * z[j];
        slope[i] = along(i, z) - out[i];
        step[i] = -slope[i];
        solved = solved && std::abs(slope[i]) <= rounding() * size;
      }
      if (solved) return true;
      solve_positive([&](Index i, Index j) { return c(i, j) + (i == j ? p_ * out[i] / z[i] : 0); }, step);
      double start = 0, wall = std::numeric_limits<double>::infinity();
      for (Index i = 0; i < n_; ++i) {
        start += slope[i] * step[i];
        if (step[i] < 0) wall = std::min(wall, z[i] / -step[i]);
      }
      if (!(start < 0)) return true;  // nothing but rounding errors is left
      const double bend = product(step, step);
      const double length = fall(
          [&](double by) {
            double sum = start + by * bend;
            for (Index i = 0; i < n_; ++i) sum += step[i] * (out[i] - outward(i, z[i] + by * step[i]));
            return sum;
          },
          wall);
      if (iteration < iterations)
        for (Index i = 0; i < n_; ++i) z[i] += length * step[i];
    }
    return false;
  }

  /// For alpha > 1: d = sum_i b_i g_i / s_i with gains y = C b > 0, and  b = pull(y),  pull_i = (y_i / t_i)^-alpha, t_i
  /// = s_i^((1 - alpha) / alpha), which is where 1/2 b' C b + sum_i t_i (y_i / t_i)^(1 - alpha) / (alpha - 1) is least.
  /// Many b have these gains where C is singular; pull(y) is the answer.
  void by_gains(List<double>& z, const List<double>& start, int iterations) const {
    List<double> t(n_), b = start, y(n_), pull(n_), root(n_), rest(n_), step(n_), gain(n_);
    double most = -std::numeric_limits<double>::infinity(), sum = 0;
    List<double> terms(n_);  // logarithms, as powers may be beyond double
    for (Index i = 0; i < n_; ++i) {
      t[i] = std::pow(scales_[i], (1 - alpha_) / alpha_);
      y[i] = along(i, b);
      terms[i] = std::log(y[i]) - alpha_ * std::log(y[i] / t[i]);
      most = std::max(most, terms[i]);
    }
    for (double term : terms) sum += std::exp(term - most);
    const double ray = std::exp((most + std::log(sum) - std::log(product(b, b))) / (1 + alpha_));  // best multiple
    for (Index i = 0; i < n_; ++i) {
      b[i] *= ray;
      y[i] *= ray;
    }
    const auto pull_at = [&](Index i, double at) { return std::pow(at / t[i], -alpha_); };
    for (int iteration = 0; iteration < iterations; ++iteration) {
      // (C + C D C) step = C (pull - b) with D = alpha pull / y, by  step = r - R (1 + R C R)^-1 R C r,  R = D^(1/2).
      for (Index i = 0; i < n_; ++i) {
        pull[i] = pull_at(i, y[i]);
        root[i] = std::sqrt(alpha_ * pull[i] / y[i]);
        rest[i] = pull[i] - b[i];
      }
      for (Index i = 0; i < n_; ++i) step[i] = root[i] * along(i, rest);
      solve_positive([&](Index i, Index j) { return root[i] * c(i, j) * root[j] + (i == j ? 1 : 0); }, step);
      for (Index i = 0; i < n_; ++i) step[i] = rest[i] - root[i] * step[i];
      double slope = 0, wall = std::numeric_limits<double>::infinity(), change = 0;
      for (Index i = 0; i < n_; ++i) {
        gain[i] = along(i, step);
        slope -= rest[i] * gain[i];
        change = std::max(change, std::abs(gain[i]) / y[i]);
        if (gain[i] < 0) wall = std::min(wall, y[i] / -gain[i]);
      }
      if (!(slope < 0 && std::isfinite(slope))) break;  // nothing but rounding errors is left
      const double bend = product(step, step);
      const double length = fall(
          [&](double by) {
            double total = slope + by * bend;
            for (Index i = 0; i < n_; ++i) total += gain[i] * (pull[i] - pull_at(i, y[i] + by * gain[i]));
            return total;
          },
          wall);
      for (Index i = 0; i < n_; ++i) b[i] += length * step[i];
      for (Index i = 0; i < n_; ++i) {
        const double there = y[i] + length * gain[i], exact = along(i, b);
        y[i] = exact > 0.5 * there ? exact : there;  // the sum may be rounded to less than 0
      }
      if (change <= rounding()) break;
    }
    // pull(y) = b but where C is singular; a gain below the rounding errors of C b says nothing about the weight.
    bool exact = true;
    for (Index i = 0; i < n_; ++i) pull[i] = pull_at(i, y[i]);
    for (Index i = 0; i < n_; ++i) {
      double size = y[i];
      for (Index j = 0; j < n_; ++j) size += std::abs(c(i, j)) * b[j];
      exact = exact && std::abs(along(i, pull) - y[i]) <= 1e-9 * size;
    }
    z = exact ? pull : b;
  }
  double rounding() const { return 2 * static_cast<double>(n_) * std::numeric_limits<double>::epsilon(); }

  Index n_;
  List<double> c_, scales_;
  double alpha_, p_;
};

/// The weights a [tasks] with  sum_j M_ij a_j = a_i^(-1/alpha)  for all tasks, by at most `iterations` steps of
/// Newton's method. Gradients of 0 are left out: their weights are 0. All weights are 0 at a Pareto-stationary point,
/// where some convex combination of the gradients is 0 and there is no solution.
inline List<double> alpha_fair_weights(const Cosines& all, double alpha, int iterations) {
  List<double> weights(all.tasks()), scales;
  List<Index> tasks;
  for (Index i = 0; i < all.tasks(); ++i)
    if (all.length(i) > 0) {
      tasks.push_back(i);
      scales.push_back(all.length(i));
    }
  const Index n = tasks.size();
  if (n == 0) return weights;
  List<double> c(n * n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) c[i * n + j] = all(tasks[i], tasks[j]);
  SimplexQp nearest(n, c);
  nearest.solve();
  if (nearest.square() <= kStationarySquare) return weights;
  // Scaling all gradients scales a by a power, which is taken out.
  double unit = 1;
  for (double scale : scales) unit *= std::pow(scale, 1 / static_cast<double>(n));
  for (double& scale : scales) scale /= unit;
  const List<double> z = AlphaFair(c, scales, alpha).solve(nearest.weights(), iterations);
  const double factor = std::pow(unit, -2 * alpha / (1 + alpha));
  for (Index i = 0; i < n; ++i) weights[tasks[i]] = z[i] / scales[i] * factor;
  return weights;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
