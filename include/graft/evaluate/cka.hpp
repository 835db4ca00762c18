#pragma once
// How alike two representations of the same items are: linear centred kernel alignment. Kornblith, Norouzi, Lee,
// Hinton, "Similarity of neural network representations revisited", ICML 2019; the unbiased estimate of HSIC is that of
// Song, Smola, Gretton, Bedo, Borgwardt, JMLR 2012, as Nguyen, Raghu, Kornblith, ICLR 2021, use it.

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "graft/ops/arithmetic.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `linear_cka` estimates the alignment of two populations from a sample of items.
enum class CkaEstimate {
  by_size,   ///< `unbiased` for fewer than ten items a column of the wider one, where there are 4 or more; else
             ///< `centred`
  centred,   ///< Kornblith's; above 0 by about width / items where nothing is alike
  unbiased,  ///< with the unbiased estimate of HSIC: about 0 there, and sometimes below
};

namespace detail {

/// `x` [items, width] less the means of its columns, in double and with a Frobenius norm of 1.
template <class T>
Tensor<double> unit_centred(const char* op, const char* name, const Tensor<T>& x, Site site) {
  for (const T value : host(x))
    if (!std::isfinite(value)) fail(op, {name, " holds ", value}, {{name, x.shape()}}, site);
  Tensor<double> rows = cast<double>(x.detach());
  double largest = 0;
  for (const double value : host(rows)) largest = std::max(largest, std::abs(value));
  if (largest > 0) rows = rows / largest;  // squares of what is large, and of what is small, stay numbers
  rows = rows - slice(rows, 0, 0, 1);      // items that are all alike become zeros without rounding
  const Tensor<double> centred = rows - mean(rows, {0});
  double spread = 0;
  for (const double value : host(centred)) spread = std::max(spread, std::abs(value));
  if (spread == 0) fail(op, {"all items of ", name, " are alike"}, {{name, x.shape()}}, site);
  const Tensor<double> scaled = centred / spread;
  return scaled / std::sqrt(sum(scaled * scaled).item());
}

/// The unbiased estimate of HSIC from two Gram matrices [items, items], but for the factor 1 / (items (items - 3)).
inline double unbiased_hsic(const Tensor<double>& k, const Tensor<double>& l) {
  const auto items = static_cast<double>(k.size(0));
  const Tensor<double> in_k = sum(k, {1}), in_l = sum(l, {1});
  return sum(k * l).item() + sum(in_k).item() * sum(in_l).item() / ((items - 1) * (items - 2)) -
         2 / (items - 2) * sum(in_k * in_l).item();
}

}  // namespace detail

/// Linear CKA |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F) of two representations of the same items, less the means of their
/// columns: 1 for copies that are rotated, shifted and scaled, 0 for what has no correlation. `x` [items, width], `y`
/// [items, other width]. With the unbiased estimate it is HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) of Gram matrices
/// without their diagonals, still 1 for such copies. Computed in double; neither a common offset nor the scale of the
/// numbers matters. Throws ShapeError for other shapes, ValueError for fewer than 2 items (4 for the unbiased
/// estimate), a number that is not finite, and items that are all alike: nothing is defined for them.
template <Real T>
double linear_cka(const Tensor<T>& x, const Tensor<T>& y, CkaEstimate estimate = CkaEstimate::by_size,
                  Site site = Site::current()) {
  const char* op = "linear_cka";
  if (x.rank() != 2 || y.rank() != 2 || x.size(0) != y.size(0) || x.size(1) == 0 || y.size(1) == 0)
    fail<ShapeError>(op, "expected x [items, width] and y [items, other width]", {{"x", x.shape()}, {"y", y.shape()}},
                     site);
  const Index items = x.size(0), width = std::max(x.size(1), y.size(1));
  const bool unbiased =
      estimate == CkaEstimate::unbiased || (estimate == CkaEstimate::by_size && items >= 4 && items < 10 * width);
  if (items < (unbiased ? 4 : 2))
    fail(op, {items, " items, expected ", unbiased ? 4 : 2, " or more"}, {{"x", x.shape()}}, site);
  const Tensor<double> a = detail::unit_centred(op, "x", x, site), b = detail::unit_centred(op, "y", y, site);
  const auto gram = [](const Tensor<double>& rows) { return matmul(rows, rows, {.transpose_b = true}); };
  if (unbiased) {
    const Tensor<double> others = 1.0 - one_hot<double>(arange<std::int64_t>(items), items);
    const Tensor<double> k = gram(a) * others, l = gram(b) * others;
    const double own = detail::unbiased_hsic(k, k) * detail::unbiased_hsic(l, l);
    if (!(own > 0)) fail(op, "items that differ in too little for the unbiased estimate", {{"x", x.shape()}}, site);
    return detail::unbiased_hsic(k, l) / std::sqrt(own);
  }
  const auto squares = [](const Tensor<double>& m) { return sum(m * m).item(); };
  if (items < width) {  // the same through Gram matrices, which are the smaller ones
    const Tensor<double> k = gram(a), l = gram(b);
    return sum(k * l).item() / std::sqrt(squares(k) * squares(l));
  }
  const auto cross = [](const Tensor<double>& p, const Tensor<double>& q) {
    return matmul(p, q, {.transpose_a = true});
  };
  return squares(cross(b, a)) / std::sqrt(squares(cross(a, a)) * squares(cross(b, b)));
}

/// The linear CKA of every two of several representations of the same items, [representations, representations]: 1 on
/// the diagonal, symmetric. Throws as `linear_cka`, and ValueError for none.
template <Real T>
Tensor<double> cka_matrix(const std::vector<Tensor<T>>& representations, CkaEstimate estimate = CkaEstimate::by_size,
                          Site site = Site::current()) {
  if (representations.empty()) fail("cka_matrix", "of no representations", {}, site);
  const auto count = static_cast<Index>(representations.size());
  std::vector<double> values(static_cast<std::size_t>(count * count), 1);
  for (Index i = 0; i < count; ++i)
    for (Index j = 0; j < i; ++j)
      values[static_cast<std::size_t>(i * count + j)] = values[static_cast<std::size_t>(j * count + i)] = linear_cka(
          representations[static_cast<std::size_t>(i)], representations[static_cast<std::size_t>(j)], estimate, site);
  return from_vector(values, Shape{count, count});
}

/// Pearson's correlation of each unit of `x` with the same unit of `y`, both [items, width]: [width]. 0 for a unit that
/// is the same for all items. Throws ShapeError for other shapes, ValueError for fewer than 2 items or a number that is
/// not finite.
template <Real T>
Tensor<double> unit_correlations(const Tensor<T>& x, const Tensor<T>& y, Site site = Site::current()) {
  const char* op = "unit_correlations";
  if (x.rank() != 2 || !(x.shape() == y.shape()))
    fail<ShapeError>(op, "expected x and y [items, width]", {{"x", x.shape()}, {"y", y.shape()}}, site);
  if (x.size(0) < 2) fail(op, {x.size(0), " items, expected 2 or more"}, {{"x", x.shape()}}, site);
  const auto items = static_cast<std::size_t>(x.size(0)), width = static_cast<std::size_t>(x.size(1));
  /// A unit's numbers, centred and with a norm of 1; zeros where they are equal.
  const auto unit = [&](const char* name, std::span<const T> numbers, std::size_t column) {
    std::vector<double> values(items);
    double mean = 0, largest = 0, squares = 0;
    for (std::size_t i = 0; i < items; ++i) {
      const double value = numbers[i * width + column];
      if (!std::isfinite(value))
        fail(op, {"unit ", static_cast<Index>(column), " of ", name, " holds ", value}, {{name, x.shape()}}, site);
      values[i] = value - static_cast<double>(numbers[column]);  // equal ones become 0 without rounding
      mean += values[i] / static_cast<double>(items);
    }
    for (double& value : values) largest = std::max(largest, std::abs(value -= mean));
    if (largest == 0) return values;
    for (double& value : values) {
      value /= largest;
      squares += value * value;
    }
    for (double& value : values) value /= std::sqrt(squares);
    return values;
  };
  std::vector<double> correlations(width);
  for (std::size_t k = 0; k < width; ++k) {
    const std::vector<double> a = unit("x", host(x), k), b = unit("y", host(y), k);
    for (std::size_t i = 0; i < items; ++i) correlations[k] += a[i] * b[i];
  }
  return from_vector(correlations);
}

}  // namespace GRAFT_ABI
}  // namespace graft
