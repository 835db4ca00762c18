#pragma once
// Softmax cross-entropy of rows of logits. The forward pass reads the logits once and saves one log-sum-exp a row; the
// backward pass reads them once more. Losses are computed from logits less the row's largest, so no size of logits
// overflows or cancels. Logits of -inf are classes that are ruled out: probability 0, gradient 0.

#include "graft/backend/cpu/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Target probabilities given by class numbers: `on` for the label and `off` for every class on top of that.
template <class T, class Label>
struct LabelTargets {
  const Label* labels;
  T on, off;
};

/// With t the targets of row r: lse[r] = log sum_j e^x[r, j] (0 for a row of -inf), loss[r] = sum_j t_j (lse[r] - x[r,
/// j]).
template <class T, class Label>
void cross_entropy(const T* x, LabelTargets<T, Label> targets, Index rows, Index width, T* lse, T* loss) {
  using B = Batch<T>;
  for_each_row(rows, width, [=](Index r) {
    const T* from = x + r * width;
    const B shift = row_shift(from, width);
    const T log_sum = log_of_row_sum(sum_over_row<T>(
        width, [&](Index i, Index) __attribute__((always_inline)) {
          fetch_ahead(from + i);
          return native::exp(B::load(from + i) - shift);
        }));
    lse[r] = first_lane(shift) + log_sum;
    T value = log_sum - targets.on * (from[static_cast<Index>(targets.labels[r])] - first_lane(shift));
    if (targets.off != 0)
      value -= targets.off * first_lane(sum_over_row<T>(
                                 width, [&](Index i, Index)
                                            __attribute__((always_inline)) { return B::load(from + i) - shift; }));
    loss[r] = value;
  });
}

/// dx[r, j] = scale g[r] (e^(x[r, j] - lse[r]) - t_j); g is one number for all rows when `one_g`.
template <class T, class Label>
void cross_entropy_backward(const T* x, LabelTargets<T, Label> targets, const T* lse, const T* g, bool one_g, T scale,
                            Index rows, Index width, T* dx) {
  using B = Batch<T>;
  const B minus_infinity(kMinusInfinity<T>), off(targets.off);
  for_each_row(rows, width, [=](Index r) {
    const T* from = x + r * width;
    T* to = dx + r * width;
    const T factor = scale * g[one_g ? 0 : r];
    const B f(factor), log_sum(lse[r]);
    for_row<T>(
        width, [&](Index i, Index left) __attribute__((always_inline)) {
          fetch_ahead(from + i);
          fetch_for_write_ahead(to + i);
          const B xi = B::load(from + i);
          store_lanes(where(xi == minus_infinity, B(0), f * (native::exp(xi - log_sum) - off)), to + i, left);
        });
    const Index label = static_cast<Index>(targets.labels[r]);
    if (from[label] != kMinusInfinity<T>) to[label] -= factor * targets.on;
  });
}

/// Smoothed targets on t + off of a class whose given target is t.
template <class T>
struct Smoothing {
  T on, off;
  Batch<T> operator()(Batch<T> t) const { return fma(t, Batch<T>(on), Batch<T>(off)); }
};

/// The same for targets [rows, width]; mass[r] = sum_j t_j. A target of 0 counts nothing, whatever the logit.
template <class T>
void soft_cross_entropy(const T* x, const T* targets, Smoothing<T> smooth, Index rows, Index width, T* lse, T* mass,
                        T* loss) {
  using B = Batch<T>;
  for_each_row(rows, width, [=](Index r) {
    const T *from = x + r * width, *target = targets + r * width;
    const B shift = row_shift(from, width);
    const T log_sum = log_of_row_sum(sum_over_row<T>(
        width, [&](Index i, Index)
                   __attribute__((always_inline)) { return native::exp(B::load(from + i) - shift); }));
    const B total = sum_over_row<T>(
        width, [&](Index i, Index) __attribute__((always_inline)) { return smooth(B::load(target + i)); });
    const B product = sum_over_row<T>(
        width, [&](Index i, Index) __attribute__((always_inline)) {
          const B t = smooth(B::load(target + i));
          return where(t == B(0), B(0), t * (B::load(from + i) - shift));
        });
    lse[r] = first_lane(shift) + log_sum;
    mass[r] = first_lane(total);
    loss[r] = log_sum * first_lane(total) - first_lane(product);
  });
}

/// dx[r, j] = scale g[r] (mass[r] e^(x[r, j] - lse[r]) - t_j), and the gradient of the given targets
/// dt[r, j] = scale g[r] on (lse[r] - x[r, j]); a null output is skipped, a logit of -inf gives 0 in both.
template <class T>
void soft_cross_entropy_backward(const T* x, const T* targets, Smoothing<T> smooth, const T* lse, const T* mass,
                                 const T* g, bool one_g, T scale, Index rows, Index width, T* dx, T* dt) {
  using B = Batch<T>;
  const B minus_infinity(kMinusInfinity<T>);
  for_each_row(rows, width, [=](Index r) {
    const Index at = r * width;
    const B f(scale * g[one_g ? 0 : r]), log_sum(lse[r]), m(mass[r]), on = f * B(smooth.on);
    for_row<T>(
        width, [&](Index i, Index left) __attribute__((always_inline)) {
          const B xi = B::load(x + at + i);
          const auto dead = xi == minus_infinity;
          if (dx) {
            const B t = smooth(B::load(targets + at + i));
            store_lanes(where(dead, B(0), f * fma(native::exp(xi - log_sum), m, -t)), dx + at + i, left);
          }
          if (dt) store_lanes(where(dead, B(0), on * (log_sum - xi)), dt + at + i, left);
        });
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
