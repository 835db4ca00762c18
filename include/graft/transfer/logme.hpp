#pragma once
// LogME: the evidence of labels given features, under a Bayesian linear model. You, Liu, Wang, Long, "LogME: practical
// assessment of pre-trained models for transfer learning", ICML 2021; the fixed-point iteration of You et al., "Ranking
// and tuning pre-trained models", JMLR 2022. Compared with the authors' code.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "graft/common/checks.hpp"
#include "graft/common/few_shot.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/linalg_spectral.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `logme`; the authors'.
struct LogmeOptions {
  static constexpr DataNeeds needs{.derivatives = 0};
  int iterations = 11;      ///< of the fixed point, at most
  double tolerance = 1e-3;  ///< it ends when alpha / beta changes by this share or less
  double floor = 1e-5;      ///< added to |m|^2 and to the squared error before one divides by them
};

/// The mean over the columns y of targets [items, columns] of  1 / items  max_{alpha, beta} ln p(y | F, alpha, beta),
/// where  y = F w + noise,  w ~ N(0, 1 / alpha),  noise ~ N(0, 1 / beta)  and F the features [items, width]; the
/// larger, the better. With t = alpha / beta, s_k^2 the squared singular values of F and x_k the parts of y along its
/// left singular vectors, each step sets
///   gamma = sum s^2 / (s^2 + t),  alpha = gamma / |m|^2,  beta = (items - gamma) / |F m - y|^2.
/// Throws ShapeError, ValueError for numbers that are not finite, features of zeros and options outside their range.
template <Real T>
double logme(const Tensor<T>& features, const Tensor<T>& targets, const LogmeOptions& o = {},
             Site site = Site::current()) {
  using detail::Range;
  if (features.rank() != 2 || targets.rank() != 2 || features.count() == 0 || targets.count() == 0 ||
      features.size(0) != targets.size(0))
    fail<ShapeError>("logme", "expected features [items, width] and targets [items, columns]",
                     {{"features", features.shape()}, {"targets", targets.shape()}}, site);
  detail::check_count("logme", "iterations", o.iterations, 1, site);
  detail::check_option<double>("logme", "tolerance", o.tolerance, Range::not_negative, site);
  detail::check_option<double>("logme", "floor", o.floor, Range::not_negative, site);
  const Recording off(false);
  const Tensor<double> f = cast<double>(features), y = cast<double>(targets);
  if (!all_finite(f) || !all_finite(y))
    fail("logme", "features or targets are not all finite", {{"features", features.shape()}}, site);
  const Index items = f.size(0), width = f.size(1), columns = y.size(1);
  const bool wide = width > items;  // of the two products of F with itself the smaller one is taken apart
  const SymmetricEigen<double> eigen =
      symmetric_eigen(wide ? matmul(f, f, {.transpose_b = true}) : matmul(f, f, {.transpose_a = true}), site);
  const Tensor<double> along = wide ? matmul(eigen.vectors, y, {.transpose_a = true})
                                    : matmul(eigen.vectors, matmul(f, y, {.transpose_a = true}), {.transpose_a = true});
  const Tensor<double> squares = sum(square(y), {0});
  const auto value = host(eigen.values), part = host(along), length = host(squares);
  const auto rank = static_cast<Index>(value.size());
  const double least = 1e-14 * static_cast<double>(std::max(items, width)) * value.back();
  if (!(value.back() > 0)) fail("logme", "the features are all 0", {{"features", features.shape()}}, site);

  List<double> sigma, x2;
  double evidence = 0;
  for (Index c = 0; c < columns; ++c) {
    sigma.clear();
    x2.clear();
    double rest = length[static_cast<std::size_t>(c)];  // of y, outside the features' span
    for (Index k = 0; k < rank; ++k) {
      const double s = value[static_cast<std::size_t>(k)], p = part[static_cast<std::size_t>(k * columns + c)];
      if (!(s > least)) continue;
      sigma.push_back(s);
      x2.push_back(wide ? p * p : p * p / s);
      rest -= x2.back();
    }
    rest = std::max(rest, 0.0);
    const auto n = static_cast<double>(items);
    double alpha = 1, beta = 1, weights = 0, error = 0;
    for (int step = 0; step < o.iterations; ++step) {
      const double t = alpha / beta;
      double gamma = 0;
      weights = 0;
      error = rest;
      for (Index k = 0; k < sigma.size(); ++k) {
        const double s = sigma[k];
        gamma += s / (s + t);
        weights += s * x2[k] / ((t + s) * (t + s));
        error += x2[k] * (t / (t + s)) * (t / (t + s));
      }
      alpha = gamma / (weights + o.floor);
      beta = (n - gamma) / (error + o.floor);
      if (std::fabs(alpha / beta - t) <= o.tolerance * t) break;
    }
    double determinant = 0;
    for (Index k = 0; k < sigma.size(); ++k) determinant += std::log(alpha + beta * sigma[k]);
    // Directions without features cancel between the prior and the determinant. (The authors' fixed-point code leaves
    // (width - rank) / 2 ln alpha in, so that its numbers are others where there are such directions.)
    const double used = static_cast<double>(sigma.size());
    evidence += (used / 2 * std::log(alpha) + n / 2 * std::log(beta) - determinant / 2 - beta / 2 * error -
                 alpha / 2 * weights - n / 2 * std::log(2 * std::numbers::pi)) /
                n;
  }
  return evidence / static_cast<double>(columns);
}

/// The same for labels [items] of classes 0 .. classes - 1: each class against all others. Throws IndexError for a
/// label out of range.
template <Real T>
double logme(const Tensor<T>& features, const Tensor<std::int64_t>& labels, Index classes, const LogmeOptions& o = {},
             Site site = Site::current()) {
  if (labels.rank() != 1) fail<ShapeError>("logme", "expected labels [items]", {{"labels", labels.shape()}}, site);
  for (const std::int64_t label : host(labels))
    if (label < 0 || label >= classes)
      fail<IndexError>("logme", {"label ", label, " of ", classes, " classes"}, {}, site);
  return logme(features, one_hot<T>(labels, classes), o, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
