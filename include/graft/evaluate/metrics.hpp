#pragma once
// How good answers are.

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

}  // namespace GRAFT_ABI
}  // namespace graft
