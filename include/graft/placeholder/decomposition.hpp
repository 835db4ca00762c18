#pragma once
// A task as several: losses of sub-tasks that add up to the loss of the task, so that an aggregator of tasks' gradients
// can be used within one. One class against the rest: Rifkin, Klautau, "In defense of one-vs-all classification", JMLR
// 2004; box and class: Girshick, "Fast R-CNN", ICCV 2015.

#include "graft/common/checks.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/placeholder_samples.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Losses [classes] of "is it class c?", mean over the items of the binary cross-entropy of logits [items, classes]:
///   L_c = mean_i -ln sigmoid(z_ic) if y_i = c, else -ln sigmoid(-z_ic);
/// they add up to the classes' number times the binary cross-entropy of all logits to one-hot labels. Throws
/// ShapeError, ValueError without items, IndexError for a label out of range.
template <Real T>
Tensor<T> one_vs_rest_losses(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  const char* op = "one_vs_rest_losses";
  if (logits.rank() != 2 || !(labels.shape() == Shape{logits.size(0)}))
    fail<ShapeError>(op, "expected logits [items, classes] and labels [items]",
                     {{"logits", logits.shape()}, {"labels", labels.shape()}}, site);
  if (logits.count() == 0) fail(op, "there are no items", {{"logits", logits.shape()}}, site);
  detail::check_labels(op, labels, logits.size(0), logits.size(1), site);
  const Tensor<T> targets = one_hot<T>(labels, logits.size(1), site);
  return mean(binary_cross_entropy_with_logits(logits, targets, {.reduction = Reduction::none}, site), {0});
}

/// Losses [digits] of a number's digits, the first the most significant: the mean cross-entropy of logits [items,
/// digits, base] to the digits of `numbers` [items] in 0 .. base^digits - 1. They add up to the cross-entropy over all
/// base^digits numbers with logits sum_k z_{k, digit k of the number}. Throws ShapeError, ValueError without items or
/// for more numbers than int64 has, IndexError for a number out of range.
template <Real T>
Tensor<T> digit_losses(const Tensor<T>& logits, const Tensor<std::int64_t>& numbers, Site site = Site::current()) {
  const char* op = "digit_losses";
  if (logits.rank() != 3 || !(numbers.shape() == Shape{logits.size(0)}))
    fail<ShapeError>(op, "expected logits [items, digits, base] and numbers [items]",
                     {{"logits", logits.shape()}, {"numbers", numbers.shape()}}, site);
  if (logits.count() == 0) fail(op, "there are no items", {{"logits", logits.shape()}}, site);
  const Index items = logits.size(0), digits = logits.size(1), base = logits.size(2);
  Index count = 1;
  for (Index k = 0; k < digits; ++k)
    if (__builtin_mul_overflow(count, base, &count)) fail(op, {digits, " digits of base ", base}, {}, site);
  List<std::int64_t> labels(items * digits);
  Index item = 0;
  for (std::int64_t number : host(numbers)) {
    if (number < 0 || number >= count) fail<IndexError>(op, {"number ", number, " of ", count}, {}, site);
    for (Index k = digits; k-- > 0; number /= base) labels[item * digits + k] = number % base;
    ++item;
  }
  const Tensor<T> each =
      cross_entropy(logits, from_vector(labels, Shape{items, digits}), {.reduction = Reduction::none}, site);
  return mean(each, {0});
}

/// Options of `box_class_losses`.
struct BoxClassOptions {
  double weight = 1;  ///< lambda of the boxes' loss; Girshick's
  static constexpr DataNeeds needs{};
};

/// Losses [2] of a detector's two sub-tasks, of the class and of the box: the mean cross-entropy of logits [items,
/// classes], and
///   lambda mean over the items of [y > 0] sum_k s(b_k - t_k),   s(d) = d^2 / 2 if |d| < 1, else |d| - 1/2
/// for boxes b and targets t [items, 4]; class 0 is the background, which has no box. They add up to the detector's
/// loss. Throws ShapeError, ValueError without items or for a negative weight, IndexError for a label out of range.
template <Real T>
Tensor<T> box_class_losses(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, const Tensor<T>& boxes,
                           const Tensor<T>& targets, const BoxClassOptions& o = {}, Site site = Site::current()) {
  const char* op = "box_class_losses";
  if (logits.rank() != 2 || !(labels.shape() == Shape{logits.size(0)}) || !(boxes.shape() == targets.shape()) ||
      !(boxes.shape() == Shape{logits.size(0), 4}))
    fail<ShapeError>(op, "expected logits [items, classes], labels [items], boxes and targets [items, 4]",
                     {{"logits", logits.shape()},
                      {"labels", labels.shape()},
                      {"boxes", boxes.shape()},
                      {"targets", targets.shape()}},
                     site);
  if (logits.count() == 0) fail(op, "there are no items", {{"logits", logits.shape()}}, site);
  detail::check_option<T>(op, "weight", o.weight, detail::Range::not_negative, site);
  detail::check_labels(op, labels, logits.size(0), logits.size(1), site);
  const auto smooth = [](auto b, auto t) {
    const auto d = abs(b - t);
    return where(d < 1, 0.5 * d * d, d - 0.5);
  };
  const Tensor<T> each = sum(map(smooth, boxes, targets), {1});
  const Tensor<T> box = static_cast<T>(o.weight) * mean(where(labels > 0, each, T(0)));
  return stack<T>({cross_entropy(logits, labels, {}, site), box}, 0, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
