#pragma once
// Reductions built on sums and maxima: variance, standard deviation, norm, log-sum-exp, running sums. Each is safe
// where the textbook formula is not: a norm of zero, rows of -inf, numbers that overflow when exponentiated.

#include <limits>

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
  const T divisor = sample ? numbers - 1 : numbers;
  const auto squared_gap = [](auto v, auto m) { return (v - m) * (v - m); };
  auto composite = [=](const Tensor<T>& v) {
    return sum_to(map(squared_gap, v, sum_to(v, kept) / numbers), kept) / divisor;
  };
  auto forward = [=](const Tensor<T>& v) {
    const Tensor<T> mean = sum_to(v, kept) / numbers;
    return Fused<T, Tensor<T>>{sum_to(map(squared_gap, v, mean), kept) / divisor, mean};
  };
  auto backward = [=](const Tensor<T>& g, const Tensor<T>& mean, const bool*, AnyTensor* results, const Tensor<T>& v) {
    const T scale = 2 / divisor;
    results[0] = map([scale](auto gradient, auto value, auto middle) { return gradient * (scale * (value - middle)); },
                     g, v, mean);
  };
  return fused("var", composite, forward, backward, x);
}

template <class T>
Tensor<T> logsumexp_marked(const Tensor<T>& x, const bool (&marked)[kMaxRank]) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  Tensor<T> value;
  {
    Recording off(false);
    using Fold = cpu::Extreme<T, 1>;
    const Tensor<T> largest = fold_marked<Fold, Fold, T>(x, marked);
    const Tensor<T> shift = map([=](auto m) { return where(abs(m) < kInfinity, m, 0); }, largest);
    value = log(sum_marked(map([](auto v, auto m) { return exp(v - m); }, x, shift), marked)) + shift;
  }
  return record("logsumexp", value, Edge(x, [x, value, marked](const Tensor<T>& g) {
                  // Softmax of x, zero in rows where there is nothing but -inf.
                  if (!recording())
                    return map(
                        [=](auto gradient, auto v, auto y) { return gradient * exp(v - where(y == -kInfinity, 0, y)); },
                        g, x, value);
                  const Tensor<T> y = logsumexp_marked(x, marked);
                  return g * exp(x - where(y == -kInfinity, 0, y));
                }));
}

}  // namespace detail

/// Variance over `axes` (default: all): the mean of (x - mean)^2, in two passes.
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

/// log(sum of e^x) over `axes` (default: all), without overflow. -inf where all of x is -inf and over no elements; the
/// gradient is 0 there.
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
  const int at = detail::checked_axis("cumsum", axis, x.rank(), x.shape(), site);
  Tensor<T> value = detail::fresh<T>(x.shape(), "cumsum", site);
  if (value.count() > 0)
    cpu::cumsum_axis(x.data(), detail::outer_count(x.shape(), at), x.shape()[at], detail::inner_count(x.shape(), at),
                     reverse, detail::writable(value));
  if constexpr (Real<T>)
    return record("cumsum", std::move(value),
                  Edge(x, [at, reverse](const Tensor<T>& g) { return cumsum(g, at, !reverse); }));
  else
    return value;
}

}  // namespace GRAFT_ABI
}  // namespace graft
