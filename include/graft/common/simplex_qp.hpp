#pragma once
// Quadratic programmes over the simplex, of as many unknowns as there are tasks, by an active-set method: Wolfe,
// "Finding the nearest point in a polytope", Mathematical Programming 11, 1976, with a linear term. It ends with the
// minimiser on a face after finitely many exact steps, where Frank and Wolfe's method zig-zags for ever.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "graft/common/host_cholesky.hpp"
#include "graft/core/list.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// min 1/2 w' M w + q' w over w >= 0, sum w = 1, for a matrix M [n, n] without negative eigenvalues but for rounding;
/// it may be singular. All decisions are relative to the rounding errors of what they compare, so tasks may be of very
/// different sizes.
class SimplexQp {
 public:
  SimplexQp(Index n, const List<double>& matrix)
      : n_(n), matrix_(matrix), weights_(n), linear_(n), slope_(n), noise_(n), step_(n) {}

  /// [n]
  const List<double>& weights() const { return weights_; }
  /// w' M w
  double square() const {
    double sum = 0;
    for (Index i : face_)
      for (Index j : face_) sum += weights_[i] * m(i, j) * weights_[j];
    return sum;
  }

  /// Starts where the last solve ended.
  void solve(const List<double>& linear) {
    linear_ = linear;
    if (face_.empty()) start();
    descend();
    Index last = -1;  // entered, and got no weight: what it promised was a rounding error
    for (Index round = 0; round < 100 + 20 * n_; ++round) {
      differentiate();
      const Index entering = most_promising();
      if (entering < 0 || entering == last) return;
      face_.push_back(entering);
      descend();
      last = weights_[entering] == 0 ? entering : -1;
    }
  }
  void solve() { solve(List<double>(n_)); }

  /// The derivative [n] of the minimiser with respect to t, where q + t `change` is the linear term, as long as the
  /// same weights are positive.
  List<double> movement(const List<double>& change) {
    std::copy(change.begin(), change.end(), slope_.begin());
    newton_step();
    List<double> result(n_);
    for (Index i : face_) result[i] = step_[i];
    return result;
  }

 private:
  double m(Index i, Index j) const { return matrix_[i * n_ + j]; }

  void start() {
    Index best = 0;
    const auto value = [&](Index i) { return 0.5 * m(i, i) + linear_[i]; };
    for (Index i = 1; i < n_; ++i)
      if (value(i) < value(best)) best = i;
    face_.push_back(best);
    weights_[best] = 1;
  }

  /// slope = M w + q, and the size of its rounding errors in units of the machine's.
  void differentiate() {
    for (Index i = 0; i < n_; ++i) {
      slope_[i] = linear_[i];
      noise_[i] = std::abs(linear_[i]);
      for (Index j : face_) {
        slope_[i] += m(i, j) * weights_[j];
        noise_[i] += std::abs(m(i, j)) * weights_[j];
      }
    }
  }

  /// The unknown outside the face that descends most beside the noise; -1 when none does.
  Index most_promising() const {
    double level = 0, noise = 0;
    List<char> inside(n_, false);
    for (Index i : face_) {
      level += weights_[i] * slope_[i];
      noise += weights_[i] * noise_[i];
      inside[i] = true;
    }
    Index best = -1;
    double least = -16 * static_cast<double>(n_) * std::numeric_limits<double>::epsilon();
    for (Index i = 0; i < n_; ++i) {
      if (inside[i] || noise_[i] + noise == 0) continue;
      const double descent = (slope_[i] - level) / (noise_[i] + noise);
      if (descent < least) {
        least = descent;
        best = i;
      }
    }
    return best;
  }

  /// Goes to the minimiser on the face, leaving unknowns behind that would become negative.
  void descend() {
    while (face_.size() > 1) {
      differentiate();
      const bool flat = newton_step();
      double length = flat ? std::numeric_limits<double>::infinity() : 1;
      Index leaving = -1;
      for (Index k = 0; k < face_.size(); ++k) {
        const Index i = face_[k];
        if (step_[i] < 0 && weights_[i] <= -step_[i] * length) {
          length = weights_[i] / -step_[i];
          leaving = k;
        }
      }
      if (leaving < 0 && flat) return;  // a step of nothing but rounding errors
      for (Index i : face_) weights_[i] = std::max(weights_[i] + length * step_[i], 0.0);
      if (leaving >= 0) {
        weights_[face_[leaving]] = 0;
        face_.erase(face_.begin() + leaving);
      }
      normalise();
      if (leaving < 0) return;
    }
  }
  void normalise() {
    double sum = 0;
    for (Index i : face_) sum += weights_[i];
    for (Index i : face_) weights_[i] /= sum;
  }

  /// step: from anywhere on the affine hull of the face, where the slope is `slope_`, to its minimiser. Returns true if
  /// M is flat along some direction there: then step is that direction, downhill. Differences to the shortest row are
  /// factorised, so that long rows do not drown the others.
  bool newton_step() {
    const Index reference =
        *std::min_element(face_.begin(), face_.end(), [&](Index i, Index j) { return m(i, i) < m(j, j); });
    others_.clear();
    for (Index i : face_)
      if (i != reference) others_.push_back(i);
    const Index size = others_.size();
    const double shortest = m(reference, reference);
    factor_.start(size);
    solution_.resize(static_cast<std::size_t>(size));
    bool flat = false;
    while (factor_.rows() < size && !flat) {
      const Index i = others_[factor_.rows()];
      const double square = factor_.next(
          [&](Index k) { return m(i, others_[k]) - m(i, reference) - m(reference, others_[k]) + shortest; });
      flat = square <= kFlat * (m(i, i) + shortest);
      if (!flat) factor_.accept(square);
    }
    // Of the rows that count: L L' y = -slope, or for a flat direction L' y = -(last row of L), y_last = 1.
    const Index rank = factor_.rows();
    for (Index k = 0; k < rank; ++k) solution_[k] = flat ? -factor_(rank, k) : slope_[reference] - slope_[others_[k]];
    if (!flat) factor_.forward(solution_);
    factor_.backward(solution_);
    if (flat) solution_[rank] = 1;
    for (Index i : face_) step_[i] = 0;
    double descent = 0;
    for (Index k = 0; k < rank + flat; ++k) {
      step_[others_[k]] = solution_[k];
      step_[reference] -= solution_[k];
      descent += solution_[k] * (slope_[others_[k]] - slope_[reference]);
    }
    if (flat && descent > 0)
      for (Index i : face_) step_[i] = -step_[i];
    return flat;
  }

  /// Squares up to this part of the rows' own are roundings of 0: a Gramian of thousands of products is not more exact.
  static constexpr double kFlat = 1e-13;

  Index n_;
  const List<double>& matrix_;
  List<double> weights_, linear_, slope_, noise_, step_, solution_;
  HostCholesky factor_;
  List<Index> face_, others_;  // the unknowns that may be positive
};

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
