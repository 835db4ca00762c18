#pragma once
// Features seen along the directions in which they vary most (Pearson 1901), and how far classes or tasks lie apart.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/ops/linalg_spectral.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The directions of largest variance of features.
struct PrincipalComponents {
  Tensor<double> mean;        ///< [width], of the items
  Tensor<double> directions;  ///< [width, components], orthonormal columns; the largest number of each is positive
  Tensor<double> variances;   ///< [components], of the items along each, falling; divided by items - 1
  double total_variance = 0;  ///< of all directions

  /// (x - mean) directions: [items, components]. Throws ShapeError for another width.
  template <Real T>
  Tensor<double> project(const Tensor<T>& x, Site site = Site::current()) const {
    if (x.rank() != 2 || x.size(1) != mean.size(0))
      fail<ShapeError>("PrincipalComponents", {"made for features [items, ", mean.size(0), "]"}, {{"x", x.shape()}},
                       site);
    return matmul(cast<double>(x.detach()) - mean, directions);
  }
  /// The share of all variance that lies along the components; 1 where nothing varies.
  double explained() const { return total_variance > 0 ? std::min(1.0, sum(variances).item() / total_variance) : 1; }
};

namespace detail {

/// `x` in double. Throws ShapeError unless it is [items, width], ValueError for no items or a number that is not
/// finite.
template <class T>
Tensor<double> finite_features(const char* op, const Tensor<T>& x, Site site) {
  if (x.rank() != 2) fail<ShapeError>(op, "expected x [items, width]", {{"x", x.shape()}}, site);
  if (x.size(0) == 0) fail(op, "of no items", {{"x", x.shape()}}, site);
  for (const T value : host(x))
    if (!std::isfinite(value)) fail(op, {"x holds ", value}, {{"x", x.shape()}}, site);
  return cast<double>(x.detach());
}

}  // namespace detail

/// The first `components` principal components of features `x` [items, width], by the singular value decomposition of
/// the centred features in double: exact, with signs fixed, so that pictures of the same features are the same. Throws
/// ShapeError, ValueError for fewer than 2 items, a number that is not finite, and unless 1 <= components <=
/// min(items, width).
template <Real T>
PrincipalComponents principal_components(const Tensor<T>& x, Index components = 2, Site site = Site::current()) {
  const char* op = "principal_components";
  const Tensor<double> rows = detail::finite_features(op, x, site);
  if (rows.size(0) < 2) fail(op, {rows.size(0), " items, expected 2 or more"}, {{"x", x.shape()}}, site);
  if (components < 1 || components > std::min(rows.size(0), rows.size(1)))
    fail(op, {components, " components, expected 1 to ", std::min(rows.size(0), rows.size(1))}, {{"x", x.shape()}},
         site);
  const Tensor<double> first = slice(rows, 0, 0, 1), moved = rows - first, shift = mean(moved, {0}, true);
  const Svd<double> parts = svd(moved - shift, site);
  const Tensor<double> variances = square(parts.values) / static_cast<double>(rows.size(0) - 1);
  return {reshape(first + shift, {rows.size(1)}), slice(parts.v, 1, 0, components), slice(variances, 0, 0, components),
          sum(variances).item()};
}

/// Between-class over within-class scatter: sum_c n_c |m_c - m|^2 / sum_i |x_i - m_(y_i)|^2, with m_c the means of the
/// classes and m that of all items. `x` [items, width], `labels` [items], numbers from 0 on of two classes or more; a
/// class without items does not count. About (classes - 1) / (items - classes) where labels have nothing to do with
/// `x`; infinite where all items of each class are alike and classes are not. Throws ShapeError, IndexError for a label
/// below 0, ValueError for one class, items that are all alike, or a number that is not finite.
template <Real T>
double separation(const Tensor<T>& x, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  const char* op = "separation";
  const Tensor<double> rows = detail::finite_features(op, x, site);
  if (!(labels.shape() == Shape{x.size(0)}))
    fail<ShapeError>(op, "expected x [items, width] and labels [items]", {{"x", x.shape()}, {"labels", labels.shape()}},
                     site);
  std::vector<Index> order;
  for (const std::int64_t label : host(labels)) {
    if (label < 0) fail<IndexError>(op, {"label ", label}, {}, site);
    order.push_back(static_cast<Index>(label));
  }
  std::vector<Index> classes = order;  // those that occur
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  if (classes.size() < 2) fail(op, "items of one class", {{"labels", labels.shape()}}, site);
  const auto numbers = host(rows);
  const auto width = static_cast<std::size_t>(rows.size(1)), items = order.size();
  double between = 0, within = 0;
  std::vector<double> sums(classes.size()), counts(classes.size());
  for (std::size_t k = 0; k < width; ++k) {
    const auto at = [&](std::size_t i) { return numbers[i * width + k] - numbers[k]; };
    std::fill(sums.begin(), sums.end(), 0.0);
    std::fill(counts.begin(), counts.end(), 0.0);
    double all = 0;
    for (std::size_t i = 0; i < items; ++i) {
      const auto c =
          static_cast<std::size_t>(std::lower_bound(classes.begin(), classes.end(), order[i]) - classes.begin());
      sums[c] += at(i);
      counts[c] += 1;
      all += at(i) / static_cast<double>(items);
    }
    for (std::size_t c = 0; c < classes.size(); ++c)
      between += counts[c] * (sums[c] / counts[c] - all) * (sums[c] / counts[c] - all);
    for (std::size_t i = 0; i < items; ++i) {
      const auto c =
          static_cast<std::size_t>(std::lower_bound(classes.begin(), classes.end(), order[i]) - classes.begin());
      const double off = at(i) - sums[c] / counts[c];
      within += off * off;
    }
  }
  if (between == 0 && within == 0) fail(op, "all items are alike", {{"x", x.shape()}}, site);
  return within == 0 ? std::numeric_limits<double>::infinity() : between / within;
}

}  // namespace GRAFT_ABI
}  // namespace graft
