#pragma once
// H-score: how much of the features' variance lies between the classes of a new task. Bao, Li, Huang, Zhang, Zheng,
// Zamir, Guibas, "An information-theoretic approach to transferability in task transfer learning", ICIP 2019. The
// formula was compared with the code of the Transfer Learning Library (thuml); the paper was not read.

#include "graft/common/checks.hpp"
#include "graft/common/few_shot.hpp"
#include "graft/common/host_eigen.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `h_score`.
struct HScoreOptions {
  static constexpr DataNeeds needs{.derivatives = 0};
  /// Directions whose variance is at most this share of the largest count as none: what is 0 but for rounding.
  double tolerance = 1e-10;
};

/// trace(S^+ B), S the covariance of the features [items, width] and B that of the means of their classes, each item
/// counted: between 0 and the smaller of the rank and classes - 1; the larger, the better. Blind to shifts and
/// invertible linear maps. Features whose common part is large lose no digits by it. Throws ShapeError, IndexError for
/// a label out of range, ValueError for a class without items, features that are not finite or all alike, and a
/// negative tolerance.
template <Real T>
double h_score(const Tensor<T>& features, const Tensor<std::int64_t>& labels, Index classes,
               const HScoreOptions& o = {}, Site site = Site::current()) {
  detail::check_option<double>("h_score", "tolerance", o.tolerance, detail::Range::not_negative, site);
  detail::check_embedded("h_score", Episode<T>{{features, labels}, {features, {}}, classes}, site);
  const Recording off(false);
  const Tensor<double> x = detail::less_mean(cast<double>(features), cast<double>(features));
  if (!all_finite(x)) fail("h_score", "the features are not all finite", {{"features", features.shape()}}, site);
  const Tensor<double> means = gather(prototypes(x, labels, classes, site), labels);
  const auto covariance = [](const Tensor<double>& rows) { return matmul(rows, rows, {.transpose_a = true}); };
  const detail::HostEigen eigen(covariance(x), site);
  if (!(eigen.largest() > 0)) fail("h_score", "all features are alike", {{"features", features.shape()}}, site);
  const Tensor<double> between = covariance(means);
  const auto b = host(between);
  const Index width = x.size(1);
  double score = 0;
  List<double> row(width), axis(width);
  for (Index e = 0; e < width; ++e) {
    if (!(eigen.value(e) > o.tolerance * eigen.largest())) continue;
    std::fill(axis.begin(), axis.end(), 0);
    eigen.add(e, 1, axis);
    double along = 0;
    for (Index i = 0; i < width; ++i) {
      double product = 0;
      for (Index j = 0; j < width; ++j) product += b[static_cast<std::size_t>(i * width + j)] * axis[j];
      along += axis[i] * product;
    }
    score += along / eigen.value(e);
  }
  return score;
}

}  // namespace GRAFT_ABI
}  // namespace graft
