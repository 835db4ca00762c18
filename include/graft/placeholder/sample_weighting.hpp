#pragma once
// How much each placeholder counts: as much as its gradient helps on clean data (Ren, Zeng, Yang, Urtasun, "Learning to
// reweight examples for robust deep learning", ICML 2018), as sure as its target is, or by its own loss. Weights are
// constants of mean 1, for `PlaceholderSamples::weights`; where none counts they are all 0.

#include <algorithm>
#include <cmath>
#include <limits>

#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// max(0, x_j) over their mean, [items]; zeros where all are 0 or less. Throws ShapeError unless x is [items],
/// ValueError for no items and a number that is not finite.
template <class T>
Tensor<T> weights_of_mean_one(const char* op, const Tensor<T>& x, Site site) {
  if (x.rank() != 1) fail<ShapeError>(op, "expected a number for each placeholder", {{"numbers", x.shape()}}, site);
  if (x.count() == 0) fail(op, "there are no placeholder samples", {{"numbers", x.shape()}}, site);
  const auto numbers = host(x);
  double largest = 0, total = 0;
  for (Index i = 0; i < x.count(); ++i) {
    const auto number = static_cast<double>(numbers[static_cast<std::size_t>(i)]);
    if (!std::isfinite(number)) fail(op, {"the number of placeholder ", i, " is ", number}, {}, site);
    largest = std::max(largest, number);
  }
  List<T> weights(x.count());
  if (largest == 0) return from_vector(weights);
  for (const T number : numbers) total += std::max(0.0, static_cast<double>(number) / largest);
  for (Index i = 0; i < x.count(); ++i)
    weights[i] = static_cast<T>(std::max(0.0, static_cast<double>(numbers[static_cast<std::size_t>(i)]) / largest) *
                                static_cast<double>(x.count()) / total);
  return from_vector(weights);
}

}  // namespace detail

/// Options of `meta_gradient_weights`.
struct MetaGradientOptions {
  static constexpr DataNeeds needs{.derivatives = 2};
};

/// Weights [items], of mean 1:  w_j = max(0, u_j) / mean,  u_j = <grad L_val, grad l_j>, all at `model`. That is, up to
/// a factor that the mean takes away, -d L_val(model - alpha sum_j e_j grad l_j) / d e_j at e = 0, that of the
/// paper, with plain gradient descent as the step: how fast the loss of clean data falls as placeholder j is given
/// weight. `losses(model)` are those of the placeholders [items], `validation(model)` is a scalar of clean labelled
/// data; both must draw the same random numbers at every call. One gradient and one directional derivative, whatever
/// the number of items. Placeholders that harm or do nothing have weight 0; where all do, all have. Throws ShapeError,
/// ValueError for no placeholders, and for gradients that are not finite.
template <class M, class Losses, class Validation>
auto meta_gradient_weights(const M& model, Losses losses, Validation validation, const MetaGradientOptions& = {},
                           Site site = Site::current()) {
  const char* op = "meta_gradient_weights";
  const M direction = detach(grad(validation, model, {.create_graph = false}, site));
  if (!all_finite(direction)) fail(op, "the gradient of the validation loss is not finite", {}, site);
  const auto checked = [&](const M& m) {
    const auto own = losses(m);
    if (own.rank() != 1) fail<ShapeError>(op, "expected a loss for each placeholder", {{"losses", own.shape()}}, site);
    if (own.count() == 0) fail(op, "there are no placeholder samples", {{"losses", own.shape()}}, site);
    return own;
  };
  const auto helps = jvp(checked, model, direction, {.create_graph = false}, site).second;
  return detail::weights_of_mean_one(op, helps.detach(), site);
}

/// Weights [items], of mean 1, as the largest share of each target q [items, classes]: a placeholder counts as its
/// target is sure. Throws ShapeError, ValueError for no items or classes, a negative share or what is not finite.
template <Real T>
Tensor<T> confidence_weights(const Tensor<T>& targets, Site site = Site::current()) {
  const char* op = "confidence_weights";
  if (targets.rank() != 2)
    fail<ShapeError>(op, "expected targets [items, classes]", {{"targets", targets.shape()}}, site);
  if (targets.count() == 0) fail(op, "there are no placeholder samples", {{"targets", targets.shape()}}, site);
  for (const T share : host(targets))
    if (!(share >= 0)) fail(op, {"a target gives a class ", static_cast<double>(share)}, {}, site);
  return detail::weights_of_mean_one(op, max(targets.detach(), {1}), site);
}

/// Weights [items], of mean 1, proportional to e^(-l_j / tau) of the losses l [items]: a placeholder counts as it is
/// easy. tau to infinity: all alike; to 0: the easiest alone. A loss of +infinity has weight 0. Throws ShapeError,
/// ValueError for no items, a tau of 0 or below, losses that are NaN or all infinite.
template <Real T>
Tensor<T> loss_weights(const Tensor<T>& losses, double tau = 1, Site site = Site::current()) {
  const char* op = "loss_weights";
  detail::check_option<T>(op, "tau", tau, detail::Range::positive, site);
  if (losses.rank() != 1)
    fail<ShapeError>(op, "expected a loss for each placeholder", {{"losses", losses.shape()}}, site);
  if (losses.count() == 0) fail(op, "there are no placeholder samples", {{"losses", losses.shape()}}, site);
  const auto all = host(losses);
  double least = std::numeric_limits<double>::infinity();
  for (const T loss : all) {
    if (std::isnan(loss) || loss == -std::numeric_limits<T>::infinity())
      fail(op, {"a loss is ", static_cast<double>(loss)}, {{"losses", losses.shape()}}, site);
    least = std::min(least, static_cast<double>(loss));
  }
  if (std::isinf(least)) fail(op, "every loss is infinite", {{"losses", losses.shape()}}, site);
  List<T> shares;
  for (const T loss : all) shares.push_back(static_cast<T>(std::exp((least - static_cast<double>(loss)) / tau)));
  return detail::weights_of_mean_one(op, from_vector(shares), site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
