#pragma once
// Softmax cross-entropy of rows of logits. The forward pass reads the logits once and saves the log-sum-exp of a row in
// two parts; the backward pass reads them once more. Losses and probabilities are computed from logits less the row's
// largest, so no size of logits overflows or cancels. Logits of -inf are classes that are ruled out: probability 0,
// gradient 0.

#include "graft/backend/cpu/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// The log-sum-exp of every row, shift + log_sum: one number would round it to the size of the logits.
template <class T>
struct LogSums {
  T* shift;    ///< the row's largest logit, 0 for a row of -inf
  T* log_sum;  ///< log sum_j e^(x[r, j] - shift), 0 for a row of -inf
};

/// Targets given by class numbers: `on` for the label and `off` for every class on top of that, times the weights of
/// the classes where there are any. A row whose label is `*ignored` counts nothing.
template <class T, class Label>
struct LabelTargets {
  const Label* labels;
  T on, off;
  const T* weight;       ///< [classes] or null
  T weight_sum;          ///< of all classes
  const Index* ignored;  ///< or null

  bool counts(Index row) const { return !ignored || static_cast<Index>(labels[row]) != *ignored; }
  T at_label(Index label) const { return weight ? on * weight[label] : on; }
  Simd<T> elsewhere(Index i) const { return weight ? off * Simd<T>::load(weight + i) : Simd<T>(off); }
  /// The sum of the targets of a row.
  T mass(Index label) const { return weight ? off * weight_sum + at_label(label) : T(1); }
};

/// With t the targets of row r: loss[r] = sum_j t_j (log sum_k e^x[r, k] - x[r, j]).
template <class T, class Label>
void cross_entropy(const T* x, LabelTargets<T, Label> targets, Index rows, Index width, LogSums<T> sums, T* loss) {
  using B = Simd<T>;
  for_each_row(rows, width, [=](Index r) {
    if (!targets.counts(r)) {
      sums.shift[r] = sums.log_sum[r] = loss[r] = 0;
      return;
    }
    const T* from = x + r * width;
    const B shift = row_shift(from, width);
    const T log_sum = log_of_row_sum(sum_over_row<T>(
        width, [&](Index i, Index) __attribute__((always_inline)) {
          fetch_ahead(from + i);
          return native::exp(B::load(from + i) - shift);
        }));
    sums.shift[r] = first_lane(shift);
    sums.log_sum[r] = log_sum;
    const Index label = static_cast<Index>(targets.labels[r]);
    T value = targets.mass(label) * log_sum - targets.at_label(label) * (from[label] - first_lane(shift));
    if (targets.off != 0)
      value -= first_lane(sum_over_row<T>(
          width, [&](Index i, Index)
                     __attribute__((always_inline)) { return targets.elsewhere(i) * (B::load(from + i) - shift); }));
    loss[r] = value;
  });
}

/// dx[r, j] = scale g[r] (mass softmax(x[r])_j - t_j); g is one number for all rows when `one_g`.
template <class T, class Label>
void cross_entropy_backward(const T* x, LabelTargets<T, Label> targets, LogSums<const T> sums, const T* g, bool one_g,
                            T scale, Index rows, Index width, T* dx) {
  using B = Simd<T>;
  const B minus_infinity(kMinusInfinity<T>);
  for_each_row(rows, width, [=](Index r) {
    const T* from = x + r * width;
    T* to = dx + r * width;
    if (!targets.counts(r)) {
      for_row<T>(width, [&](Index i, Index left) { store_lanes(B(0), to + i, left); });
      return;
    }
    const Index label = static_cast<Index>(targets.labels[r]);
    const T factor = scale * g[one_g ? 0 : r];
    const B f(factor), shift(sums.shift[r]), log_sum(sums.log_sum[r]), mass(targets.mass(label));
    for_row<T>(
        width, [&](Index i, Index left) __attribute__((always_inline)) {
          fetch_ahead(from + i);
          fetch_for_write_ahead(to + i);
          const B xi = B::load(from + i), p = native::exp((xi - shift) - log_sum);
          store_lanes(where(xi == minus_infinity, B(0), f * fma(p, mass, -targets.elsewhere(i))), to + i, left);
        });
    if (from[label] != kMinusInfinity<T>) to[label] -= factor * targets.at_label(label);
  });
}

/// The target (on t + off) weight of a class whose given target is t.
template <class T>
struct Smoothing {
  T on, off;
  const T* weight;  ///< [classes] or null

  /// Of the classes from i on.
  Simd<T> operator()(Simd<T> t, Index i) const { return weighted(fma(t, Simd<T>(on), Simd<T>(off)), i); }
  Simd<T> weighted(Simd<T> x, Index i) const { return weight ? x * Simd<T>::load(weight + i) : x; }
};

/// The same for targets [rows, width]; mass[r] = sum_j t_j. A target of 0 counts nothing, whatever the logit.
template <class T>
void soft_cross_entropy(const T* x, const T* targets, Smoothing<T> smooth, Index rows, Index width, LogSums<T> sums,
                        T* mass, T* loss) {
  using B = Simd<T>;
  for_each_row(rows, width, [=](Index r) {
    const T *from = x + r * width, *target = targets + r * width;
    const B shift = row_shift(from, width);
    const T log_sum = log_of_row_sum(sum_over_row<T>(
        width, [&](Index i, Index)
                   __attribute__((always_inline)) { return native::exp(B::load(from + i) - shift); }));
    const B total = sum_over_row<T>(
        width, [&](Index i, Index) __attribute__((always_inline)) { return smooth(B::load(target + i), i); });
    const B product = sum_over_row<T>(
        width, [&](Index i, Index) __attribute__((always_inline)) {
          const B t = smooth(B::load(target + i), i);
          return where(t == B(0), B(0), t * (B::load(from + i) - shift));
        });
    sums.shift[r] = first_lane(shift);
    sums.log_sum[r] = log_sum;
    mass[r] = first_lane(total);
    loss[r] = log_sum * first_lane(total) - first_lane(product);
  });
}

/// dx[r, j] = scale g[r] (mass[r] softmax(x[r])_j - t_j), and the gradient of the given targets
/// dt[r, j] = -scale g[r] on weight_j log softmax(x[r])_j; a null output is skipped, a logit of -inf gives 0 in both.
template <class T>
void soft_cross_entropy_backward(const T* x, const T* targets, Smoothing<T> smooth, LogSums<const T> sums,
                                 const T* mass, const T* g, bool one_g, T scale, Index rows, Index width, T* dx,
                                 T* dt) {
  using B = Simd<T>;
  const B minus_infinity(kMinusInfinity<T>);
  for_each_row(rows, width, [=](Index r) {
    const Index at = r * width;
    const B f(scale * g[one_g ? 0 : r]), shift(sums.shift[r]), log_sum(sums.log_sum[r]), m(mass[r]);
    const B on = f * B(smooth.on);
    for_row<T>(
        width, [&](Index i, Index left) __attribute__((always_inline)) {
          const B xi = B::load(x + at + i), log_p = (xi - shift) - log_sum;
          const auto dead = xi == minus_infinity;
          if (dx) {
            const B t = smooth(B::load(targets + at + i), i);
            store_lanes(where(dead, B(0), f * fma(native::exp(log_p), m, -t)), dx + at + i, left);
          }
          if (dt) store_lanes(where(dead, B(0), smooth.weighted(-(on * log_p), i)), dt + at + i, left);
        });
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
