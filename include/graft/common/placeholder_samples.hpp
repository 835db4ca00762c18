#pragma once
// Placeholder samples: items that stand beside the labelled ones, with targets that somebody made up for them.

#include "graft/common/checks.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Items, what is to be said of them, and how much each counts.
template <class T = float>
struct PlaceholderSamples {
  Tensor<T> x;             ///< [items, ...]
  Tensor<T> targets;       ///< q [items, classes], each row a distribution
  Tensor<T> weights = {};  ///< w [items], of mean 1; ones, if not defined
};

namespace detail {

/// Throws ShapeError unless the parts are of as many items, ValueError when there are none.
template <class T>
void check_placeholders(const char* op, const PlaceholderSamples<T>& samples, Site site) {
  const auto& [x, targets, weights] = samples;
  if (!x.defined() || x.rank() < 1 || x.size(0) == 0) fail(op, "there are no placeholder samples", {}, site);
  if (!targets.defined() || targets.rank() != 2 || targets.size(0) != x.size(0))
    fail<ShapeError>(op, "expected placeholders x [items, ...] and targets [items, classes]",
                     {{"x", x.shape()}, {"targets", targets.defined() ? targets.shape() : Shape{0}}}, site);
  if (weights.defined() && !(weights.shape() == Shape{x.size(0)}))
    fail<ShapeError>(op, "expected a weight for each placeholder", {{"x", x.shape()}, {"weights", weights.shape()}},
                     site);
}

/// Throws ShapeError unless there is a label for each of `items`, IndexError for one outside 0 .. classes-1.
inline void check_labels(const char* op, const Tensor<std::int64_t>& labels, Index items, Index classes, Site site) {
  if (!(labels.shape() == Shape{items}))
    fail<ShapeError>(op, {"expected a label for each of ", items, " items"}, {{"labels", labels.shape()}}, site);
  for (const std::int64_t label : host(labels))
    if (label < 0 || label >= classes) fail<IndexError>(op, {"label ", label, " of ", classes, " classes"}, {}, site);
}

/// mean_j w_j CE(logits_j, q_j), shape []. Throws ShapeError unless the logits are shaped like q.
template <class T>
Tensor<T> placeholder_loss(const char* op, const Tensor<T>& logits, const PlaceholderSamples<T>& samples, Site site) {
  if (!(logits.shape() == samples.targets.shape()))
    fail<ShapeError>(op, "the model's logits are not shaped like the placeholders' targets",
                     {{"logits", logits.shape()}, {"targets", samples.targets.shape()}}, site);
  if (!samples.weights.defined()) return cross_entropy(logits, samples.targets, {}, site);
  return mean(samples.weights * cross_entropy(logits, samples.targets, {.reduction = Reduction::none}, site));
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
