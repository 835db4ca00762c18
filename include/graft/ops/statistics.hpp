#pragma once
// Reductions built on sums and maxima: variance, standard deviation, norm, log-sum-exp, running sums. Each is safe
// where the textbook formula is not: a norm of zero, rows of -inf, numbers that overflow when exponentiated.

#include <algorithm>
#include <limits>
#include <utility>

#include "graft/ops/map.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `var` and `stddev` divide, and whether reduced axes stay with size one.
struct VarOptions {
  bool sample = false;  ///< divide by n - 1 (an estimate from a sample) instead of n (a whole population)
  bool keep = false;
};

namespace detail {

inline Shape keep_marked(Shape shape, const bool (&marked)[kMaxRank]) {
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (marked[axis]) shape[axis] = 1;
  return shape;
}

/// sqrt(x), with a derivative of zero (of every order) where x is 0.
template <class T>
Tensor<T> root_or_zero(const Tensor<T>& x) {
  const Tensor<bool> zero = x == 0;
  return where(zero, 0, sqrt(where(zero, 1, x)));
}

template <class T>
Tensor<T> var_marked(const Tensor<T>& x, const bool (&marked)[kMaxRank], bool sample) {
  const Shape kept = keep_marked(x.shape(), marked);
  const T numbers = static_cast<T>(kept.count() > 0 ? x.count() / kept.count() : 0);
  const T divisor = sample ? std::max(numbers - 1, T(0)) : numbers;
  if (x.count() == 0) return sum_to(x, kept) / divisor;
  struct Centre {
    Tensor<T> first, mean;  // of the numbers less the first
  };
  const auto squared_gap = [](auto v, auto f, auto m) { return square((v - f) - m); };
  auto composite = [=](const Tensor<T>& v) {
    const Tensor<T> d = v - first_of(v, kept);
    return sum_to(square(d - sum_to(d, kept) / numbers), kept) / divisor;
  };
  auto forward = [=](const Tensor<T>& v) {
    const Tensor<T> first = first_of(v, kept), mean = sum_to(v - first, kept) / numbers;
    return Fused<T, Centre>{sum_to(map(squared_gap, v, first, mean), kept) / divisor, {first, mean}};
  };
  auto backward = [=](const Tensor<T>& g, const Centre& centre, const bool*, AnyTensor* results, const Tensor<T>& v) {
    const T scale = 2 / divisor;
    results[0] =
        map([scale](auto gradient, auto value, auto f, auto m) { return gradient * (scale * ((value - f) - m)); }, g, v,
            centre.first, centre.mean);
  };
  return fused("var", composite, forward, backward, x);
}

template <class T>
Tensor<T> logsumexp_marked(const Tensor<T>& x, const bool (&marked)[kMaxRank]) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  Tensor<T> value, shift, log_sum;
  {
    Recording off(false);
    using Fold = cpu::Extreme<T, 1>;
    const Tensor<T> largest = fold_marked<Fold, Fold, T>(x, marked);
    shift = map([=](auto m) { return where(abs(m) < kInfinity, m, 0); }, largest);
    log_sum = log(sum_marked(map([](auto v, auto m) { return exp(v - m); }, x, shift), marked));
    value = log_sum + shift;
  }
  return record("logsumexp", value, Edge(x, [x, shift, log_sum](const Tensor<T>& g) {
                  // Softmax of x, zero in rows where there is nothing but -inf.
                  if (!recording())
                    return map([=](auto gradient, auto v, auto m,
                                   auto l) { return gradient * exp((v - m) - where(l == -kInfinity, 0, l)); },
                               g, x, shift, log_sum);
                  const Tensor<T> e = exp(x - shift), total = sum_to(e, shift.shape());
                  return g * (e / where(total == 0, 1, total));
                }));
}

/// |x|^p, with derivatives of zero (of every order) where x is 0.
template <class T>
Tensor<T> power_or_zero(const Tensor<T>& x, double p) {
  const Tensor<bool> zero = x == 0;
  return where(zero, 0, pow(where(zero, 1, abs(x)), p));
}

}  // namespace detail

/// Variance over `axes` (default: all): the mean of (x - mean)^2, in two passes; NaN over no elements, and of a sample
/// of one. Numbers whose squares leave the range of T (beyond about 1e+-19 in float) must be scaled first.
template <Real T>
Tensor<T> var(const Tensor<T>& x, const Axes& axes = {}, VarOptions options = {}, Site site = Site::current()) {
  bool marked[kMaxRank] = {};
  detail::mark_axes("var", x.shape(), axes, marked, site);
  return detail::drop_marked(detail::var_marked(x, marked, options.sample), x.shape(), marked, options.keep);
}

/// Standard deviation over `axes` (default: all), the root of `var`; zero gradient where it is 0.
template <Real T>
Tensor<T> stddev(const Tensor<T>& x, const Axes& axes = {}, VarOptions options = {}, Site site = Site::current()) {
  bool marked[kMaxRank] = {};
  detail::mark_axes("stddev", x.shape(), axes, marked, site);
  const Tensor<T> root = detail::root_or_zero(detail::var_marked(x, marked, options.sample));
  return detail::drop_marked(root, x.shape(), marked, options.keep);
}

/// Euclidean norm over `axes` (default: all): sqrt(sum of x^2). Where it is 0, derivatives of every order are 0.
/// Numbers whose squares leave the range of T (beyond about 1e+-19 in float) must be scaled first.
template <Real T>
Tensor<T> norm(const Tensor<T>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  bool marked[kMaxRank] = {};
  detail::mark_axes("norm", x.shape(), axes, marked, site);
  const Shape kept = detail::keep_marked(x.shape(), marked);
  auto composite = [kept](const Tensor<T>& v) { return detail::root_or_zero(sum_to(square(v), kept)); };
  auto forward = [kept](const Tensor<T>& v) {
    const Tensor<T> root = sqrt(sum_to(square(v), kept));
    return Fused<T, Tensor<T>>{root, root};
  };
  auto backward = [](const Tensor<T>& g, const Tensor<T>& root, const bool*, AnyTensor* results, const Tensor<T>& v) {
    results[0] = map(
        [](auto gradient, auto value, auto y) { return where(y == 0, 0, gradient * (value / where(y == 0, 1, y))); }, g,
        v, root);
  };
  return detail::drop_marked(fused("norm", composite, forward, backward, x), x.shape(), marked, keep);
}

/// Rows over their norms, x / max(|x|, 1e-12): x [items, width] -> the same shape. Rows of zeros stay so and pass no
/// derivative of any order on; squares of large numbers do not overflow. Throws ShapeError.
template <Real T>
Tensor<T> unit_rows(const Tensor<T>& x, Site site = Site::current()) {
  if (x.rank() != 2) fail<ShapeError>("unit_rows", "expected [items, width]", {{"x", x.shape()}}, site);
  const auto [zero, scale] = [&] {
    Recording off(false);
    using Fold = cpu::Extreme<T, 1>;
    constexpr bool marked[kMaxRank] = {false, true};
    const Tensor<T> largest = detail::fold_marked<Fold, Fold, T>(abs(x), marked);
    // A constant, since it cancels; 1 for ordinary rows, which so are divided once.
    const auto if_large = [](auto m) {
      return where(m > T(1e15), where(m < std::numeric_limits<T>::infinity(), m, 1), 1);
    };
    return std::pair(largest == 0, map(if_large, largest));
  }();
  const Tensor<T> v = x / scale;
  return where(zero, 0, v / maximum(norm(v, {1}, true), 1e-12));
}

/// Norm of order p = `ord` over `axes` (default: all): (sum of |x|^p)^(1/p) for p > 0, and the largest |x| for
/// infinity, where equal ones share the gradient. Numbers that are 0, and norms that are, pass no derivative of any
/// order on. Throws ValueError for an order that is not positive.
template <Real T>
Tensor<T> vector_norm(const Tensor<T>& x, double ord, const Axes& axes = {}, bool keep = false,
                      Site site = Site::current()) {
  bool marked[kMaxRank] = {};
  detail::mark_axes("vector_norm", x.shape(), axes, marked, site);
  if (!(ord > 0))
    fail("vector_norm", {"ord is ", ord, ", expected a positive number or infinity"}, {{"x", x.shape()}}, site);
  if (ord == 2) return norm(x, axes, keep, site);
  if (ord == std::numeric_limits<double>::infinity())
    return detail::extreme<1>("vector_norm", abs(x), axes, keep, site);
  const Shape kept = detail::keep_marked(x.shape(), marked);
  if (ord == 1) return detail::drop_marked(sum_to(abs(x), kept), x.shape(), marked, keep);
  // Relative to the largest number, which is a constant: it cancels.
  const Tensor<T> scale = [&] {
    Recording off(false);
    using Fold = cpu::Extreme<T, 1>;
    const Tensor<T> largest = detail::fold_marked<Fold, Fold, T>(abs(x), marked);
    return map([](auto m) { return where(m > 0, where(m < std::numeric_limits<T>::infinity(), m, 1), 1); }, largest);
  }();
  const Tensor<T> total = sum_to(detail::power_or_zero(x / scale, ord), kept);
  return detail::drop_marked(scale * detail::power_or_zero(total, 1 / ord), x.shape(), marked, keep);
}

/// log(sum of e^x) over `axes` (default: all), without overflow. -inf where all of x is -inf and over no elements; the
/// gradient is 0 there. +inf where one of x is.
template <Real T>
Tensor<T> logsumexp(const Tensor<T>& x, const Axes& axes = {}, bool keep = false, Site site = Site::current()) {
  bool marked[kMaxRank] = {};
  detail::mark_axes("logsumexp", x.shape(), axes, marked, site);
  return detail::drop_marked(detail::logsumexp_marked(x, marked), x.shape(), marked, keep);
}

/// Running sums along one axis: out[i] = x[0] + ... + x[i], or x[i] + ... + x[last] when `reverse`.
template <class T>
  requires(Real<T> || Integer<T>)
Tensor<T> cumsum(const Tensor<T>& x, int axis = -1, bool reverse = false, Site site = Site::current()) {
  const int at = detail::checked_axis_or_scalar("cumsum", axis, x.shape(), site);
  Tensor<T> value = detail::fresh<T>(x.shape(), "cumsum", site);
  if (value.count() > 0)
    cpu::cumsum_axis(x.data(), detail::outer_count(x.shape(), at), detail::size_or_scalar(x.shape(), at),
                     detail::inner_count(x.shape(), at), reverse, detail::writable(value));
  if constexpr (Real<T>)
    return record("cumsum", std::move(value),
                  Edge(x, [at, reverse](const Tensor<T>& g) { return cumsum(g, at, !reverse); }));
  else
    return value;
}

}  // namespace GRAFT_ABI
}  // namespace graft
