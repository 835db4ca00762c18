#pragma once
// How good answers are.

#include <algorithm>
#include <utility>
#include <vector>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Throws ShapeError unless there is a row of logits and a label for each item.
template <Real T>
void check_logits(const char* op, const Tensor<T>& logits, const Tensor<std::int64_t>& labels, Site site) {
  if (logits.rank() != 2 || labels.rank() != 1 || labels.size(0) != logits.size(0))
    fail<ShapeError>(op, "expected logits [items, classes] and labels [items]",
                     {{"logits", logits.shape()}, {"labels", labels.shape()}}, site);
}
/// Whether `label` is the place of the first of the largest of a row's logits; of a row that holds a NaN it is not.
template <Real T>
bool is_right(const T* row, Index classes, std::int64_t label) {
  const T best = row[label];
  bool right = best == best;
  for (Index c = 0; c < classes; ++c) right = right && (c < label ? row[c] < best : row[c] <= best);
  return right;
}
/// Throws ShapeError unless there is a prediction and a right label for each item.
template <Integer I>
void check_predictions(const char* op, const Tensor<I>& predicted, const Tensor<I>& labels, Site site) {
  if (predicted.rank() != 1 || !(predicted.shape() == labels.shape()))
    fail<ShapeError>(op, "expected predicted and right labels [items]",
                     {{"predicted", predicted.shape()}, {"labels", labels.shape()}}, site);
}

}  // namespace detail

/// Share of the items whose label is the place of the first of their largest logits; a row that holds a NaN is wrong.
/// `logits` [items, classes], `labels` [items] in 0 .. classes-1. Throws ShapeError, IndexError for a label out of
/// range, ValueError for no items.
template <Real T>
double accuracy(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  detail::check_logits("accuracy", logits, labels, site);
  const Index items = logits.size(0), classes = logits.size(1);
  if (items == 0) fail("accuracy", "of no items", {}, site);
  const T* row = std::data(host(logits));
  Index right = 0;
  for (const std::int64_t label : host(labels)) {
    if (label < 0 || label >= classes)
      fail<IndexError>("accuracy", {"label ", label, " of ", classes, " classes"}, {}, site);
    right += detail::is_right(row, classes, label);
    row += classes;
  }
  return static_cast<double>(right) / static_cast<double>(items);
}

/// Share of the items whose predicted label is the right one: both [items]. Throws ShapeError, ValueError for no items.
template <Integer I>
double accuracy(const Tensor<I>& predicted, const Tensor<I>& labels, Site site = Site::current()) {
  detail::check_predictions("accuracy", predicted, labels, site);
  if (labels.count() == 0) fail("accuracy", "of no items", {}, site);
  Index right = 0;
  const auto a = host(predicted), b = host(labels);
  for (std::size_t i = 0; i < a.size(); ++i) right += a[i] == b[i];
  return static_cast<double>(right) / static_cast<double>(labels.count());
}

namespace detail {

/// How many items of each label, 0 or 1, have one score.
struct ScoreTie {
  double score = 0, negatives = 0, positives = 0;
};
/// The ties of scores with their labels, highest first.
template <Real T>
std::vector<ScoreTie> sorted_ties(std::vector<std::pair<T, bool>> items) {
  std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<ScoreTie> ties;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i == 0 || items[i].first < items[i - 1].first) ties.push_back({static_cast<double>(items[i].first)});
    ++(items[i].second ? ties.back().positives : ties.back().negatives);
  }
  return ties;
}
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
  return sorted_ties(std::move(items));
}
/// The mean over all classes of figure(ties), where an item is positive if its label is the class. Throws ShapeError,
/// IndexError for a label out of range, ValueError for less than two classes, a NaN or a class without items.
template <Real T, class Figure>
double mean_over_classes(const char* op, const Tensor<T>& scores, const Tensor<std::int64_t>& labels, Figure figure,
                         Site site) {
  if (scores.rank() != 2 || labels.rank() != 1 || labels.size(0) != scores.size(0))
    fail<ShapeError>(op, "expected scores [items, classes] and labels [items]",
                     {{"scores", scores.shape()}, {"labels", labels.shape()}}, site);
  const auto classes = static_cast<std::size_t>(scores.size(1));
  if (classes < 2) fail(op, {"of ", classes, " classes, expected 2 or more"}, {{"scores", scores.shape()}}, site);
  const auto score = host(scores);
  const auto label = host(labels);
  std::vector<bool> has_items(classes);
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] < 0 || label[i] >= scores.size(1))
      fail<IndexError>(op, {"label ", label[i], " of ", classes, " classes"}, {}, site);
    has_items[static_cast<std::size_t>(label[i])] = true;
    for (std::size_t c = 0; c < classes; ++c)
      if (const T x = score[i * classes + c]; x != x) fail(op, {"a score of item ", i, " is not a number"}, {}, site);
  }
  for (std::size_t c = 0; c < classes; ++c)
    if (!has_items[c]) fail(op, {"no item has the label ", c}, {{"labels", labels.shape()}}, site);
  double sum = 0;
  for (std::size_t c = 0; c < classes; ++c) {
    std::vector<std::pair<T, bool>> items;
    for (std::size_t i = 0; i < label.size(); ++i)
      items.emplace_back(score[i * classes + c], label[i] == static_cast<std::int64_t>(c));
    sum += figure(sorted_ties(std::move(items)));
  }
  return sum / static_cast<double>(classes);
}

/// The area under the receiver operating characteristic of ties that hold items of both labels.
inline double auc_of(const std::vector<ScoreTie>& ties) {
  double pairs = 0, positives = 0, negatives = 0;
  for (const ScoreTie& tie : ties) {
    pairs += tie.negatives * (positives + tie.positives / 2);
    positives += tie.positives;
    negatives += tie.negatives;
  }
  return pairs / (positives * negatives);
}
/// Average precision of ties that hold positive items.
inline double average_precision_of(const std::vector<ScoreTie>& ties) {
  double sum = 0, positives = 0, items = 0;
  for (const ScoreTie& tie : ties) {
    positives += tie.positives;
    items += tie.positives + tie.negatives;
    sum += tie.positives * positives / items;
  }
  return sum / positives;
}
inline bool has_negatives(const std::vector<ScoreTie>& ties) {
  return std::any_of(ties.begin(), ties.end(), [](const ScoreTie& tie) { return tie.negatives > 0; });
}

}  // namespace detail

/// The area under the receiver operating characteristic: the chance that an item with label 1 has a higher score than
/// one with label 0, equal scores counting half (Hanley, McNeil, Radiology 1982). `scores` [items], `labels` [items] of
/// 0 and 1. Throws ShapeError, IndexError for any other label, ValueError for a NaN among the scores or if a label has
/// no item.
template <Real T>
double auc(const Tensor<T>& scores, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  const std::vector<detail::ScoreTie> ties = detail::score_ties("auc", scores, labels, site);
  if (!detail::has_negatives(ties)) fail("auc", "no item has the label 0", {{"labels", labels.shape()}}, site);
  return detail::auc_of(ties);
}

/// sum_n (R_n - R_(n-1)) P_n over the different scores from the highest down, with R_n the share of the items with
/// label 1 that score at least so high, and P_n the share of label 1 among all that do: scikit-learn's
/// average_precision_score. `scores` [items], `labels` [items] of 0 and 1. Throws ShapeError, IndexError for any other
/// label, ValueError for a NaN among the scores or if no item has label 1.
template <Real T>
double average_precision(const Tensor<T>& scores, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  return detail::average_precision_of(detail::score_ties("average_precision", scores, labels, site));
}

/// The mean over classes of `auc` of a class's scores, its items against all others: scikit-learn's roc_auc_score with
/// multi_class='ovr', average='macro'. `scores` [items, classes], `labels` [items] in 0 .. classes-1; two classes or
/// more. Throws ShapeError, IndexError for a label out of range, ValueError for a NaN among the scores or a class
/// without items.
template <Real T>
double macro_auc(const Tensor<T>& scores, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  return detail::mean_over_classes("macro_auc", scores, labels, detail::auc_of, site);
}

/// The mean over classes of `average_precision` of a class's scores, its items against all others. `scores` [items,
/// classes], `labels` [items] in 0 .. classes-1; two classes or more. Throws as `macro_auc`.
template <Real T>
double mean_average_precision(const Tensor<T>& scores, const Tensor<std::int64_t>& labels,
                              Site site = Site::current()) {
  return detail::mean_over_classes("mean_average_precision", scores, labels, detail::average_precision_of, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
