#pragma once
// How good answers are.

#include <algorithm>
#include <utility>
#include <vector>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Share of the items whose label is the place of the first of their largest logits; a row that holds a NaN is wrong.
/// `logits` [items, classes], `labels` [items] in 0 .. classes-1. Throws ShapeError, IndexError for a label out of
/// range, ValueError for no items.
template <Real T>
double accuracy(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  if (logits.rank() != 2 || labels.rank() != 1 || labels.size(0) != logits.size(0))
    fail<ShapeError>("accuracy", "expected logits [items, classes] and labels [items]",
                     {{"logits", logits.shape()}, {"labels", labels.shape()}}, site);
  const Index items = logits.size(0), classes = logits.size(1);
  if (items == 0) fail("accuracy", "of no items", {}, site);
  const T* row = std::data(host(logits));
  Index right = 0;
  for (const std::int64_t label : host(labels)) {
    if (label < 0 || label >= classes)
      fail<IndexError>("accuracy", {"label ", label, " of ", classes, " classes"}, {}, site);
    const T best = row[label];
    bool is_right = best == best;
    for (Index c = 0; c < classes; ++c) is_right = is_right && (c < label ? row[c] < best : row[c] <= best);
    right += is_right;
    row += classes;
  }
  return static_cast<double>(right) / static_cast<double>(items);
}

/// Share of the items whose predicted label is the right one: both [items]. Throws ShapeError, ValueError for no items.
template <Integer I>
double accuracy(const Tensor<I>& predicted, const Tensor<I>& labels, Site site = Site::current()) {
  if (predicted.rank() != 1 || !(predicted.shape() == labels.shape()))
    fail<ShapeError>("accuracy", "expected predicted and right labels [items]",
                     {{"predicted", predicted.shape()}, {"labels", labels.shape()}}, site);
  if (labels.count() == 0) fail("accuracy", "of no items", {}, site);
  Index right = 0;
  const auto a = host(predicted), b = host(labels);
  for (std::size_t i = 0; i < a.size(); ++i) right += a[i] == b[i];
  return static_cast<double>(right) / static_cast<double>(labels.count());
}

namespace detail {

/// How many items of each label, 0 or 1, have one score.
struct ScoreTie {
  double negatives = 0, positives = 0;
};
/// The ties of all scores, highest first. Throws ShapeError, IndexError for a label that is not 0 or 1, ValueError for
/// a NaN or if no item is positive.
template <Real T>
std::vector<ScoreTie> score_ties(const char* op, const Tensor<T>& scores, const Tensor<std::int64_t>& labels,
                                 Site site) {
  if (scores.rank() != 1 || !(labels.shape() == scores.shape()))
    fail<ShapeError>(op, "expected scores and labels [items]", {{"scores", scores.shape()}, {"labels", labels.shape()}},
                     site);
  const auto score = host(scores);
  const auto label = host(labels);
  std::vector<std::pair<T, bool>> items;
  bool any = false;
  for (std::size_t i = 0; i < score.size(); ++i) {
    if (label[i] != 0 && label[i] != 1) fail<IndexError>(op, {"label ", label[i], " is not 0 or 1"}, {}, site);
    if (score[i] != score[i]) fail(op, {"the score of item ", i, " is not a number"}, {}, site);
    items.emplace_back(score[i], label[i] == 1);
    any = any || label[i] == 1;
  }
  if (!any) fail(op, "no item has the label 1", {{"labels", labels.shape()}}, site);
  std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<ScoreTie> ties;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i == 0 || items[i].first < items[i - 1].first) ties.emplace_back();
    ++(items[i].second ? ties.back().positives : ties.back().negatives);
  }
  return ties;
}

}  // namespace detail

/// The area under the receiver operating characteristic: the chance that an item with label 1 has a higher score than
/// one with label 0, equal scores counting half (Hanley, McNeil, Radiology 1982). `scores` [items], `labels` [items] of
/// 0 and 1. Throws ShapeError, IndexError for any other label, ValueError for a NaN among the scores or if a label has
/// no item.
template <Real T>
double auc(const Tensor<T>& scores, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  double pairs = 0, positives = 0, negatives = 0;
  for (const detail::ScoreTie& tie : detail::score_ties("auc", scores, labels, site)) {
    pairs += tie.negatives * (positives + tie.positives / 2);
    positives += tie.positives;
    negatives += tie.negatives;
  }
  if (negatives == 0) fail("auc", "no item has the label 0", {{"labels", labels.shape()}}, site);
  return pairs / (positives * negatives);
}

/// sum_n (R_n - R_(n-1)) P_n over the different scores from the highest down, with R_n the share of the items with
/// label 1 that score at least so high, and P_n the share of label 1 among all that do: scikit-learn's
/// average_precision_score. `scores` [items], `labels` [items] of 0 and 1. Throws ShapeError, IndexError for any other
/// label, ValueError for a NaN among the scores or if no item has label 1.
template <Real T>
double average_precision(const Tensor<T>& scores, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  double sum = 0, positives = 0, items = 0;
  for (const detail::ScoreTie& tie : detail::score_ties("average_precision", scores, labels, site)) {
    positives += tie.positives;
    items += tie.positives + tie.negatives;
    sum += tie.positives * positives / items;
  }
  return sum / positives;
}

}  // namespace GRAFT_ABI
}  // namespace graft
