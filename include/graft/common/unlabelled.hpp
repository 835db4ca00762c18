#pragma once
// What methods share that learn from the model's own answers to items without labels.

#include "graft/common/few_shot.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Two augmentations of the same items without labels, [items, ...] each, row by row.
template <class T = float>
struct UnlabelledViews {
  Tensor<T> weak;    ///< little changed: what makes the target
  Tensor<T> strong;  ///< changed more: what is trained to meet it
};

/// The entropy of the classes of each row, -sum_c p_c ln p_c with p = softmax(logits): logits [items, classes] ->
/// [items]. A class whose logit is -inf has probability 0 and counts nothing. Throws ShapeError.
template <Real T>
Tensor<T> softmax_entropy(const Tensor<T>& logits, Site site = Site::current()) {
  if (logits.rank() != 2 || logits.size(1) == 0)
    fail<ShapeError>("softmax_entropy", "expected logits [items, classes]", {{"logits", logits.shape()}}, site);
  return cross_entropy(logits, softmax(logits), {.reduction = Reduction::none}, site);
}

namespace detail {

/// Throws unless there are labelled items with a label each, and items without labels of the same shape.
template <class T>
void check_unlabelled(const char* op, const LabelledSet<T>& labelled, const Tensor<T>& unlabelled, Site site) {
  const Tensor<T>& x = labelled.x;
  if (!x.defined() || !labelled.y.defined() || x.rank() < 1 || !(labelled.y.shape() == Shape{x.size(0)}))
    fail<ShapeError>(op, "expected labelled items and a label each",
                     {{"items", x.defined() ? x.shape() : Shape{0}},
                      {"labels", labelled.y.defined() ? labelled.y.shape() : Shape{0}}},
                     site);
  if (x.size(0) == 0) fail(op, "there are no labelled items", {}, site);
  if (!unlabelled.defined() || unlabelled.rank() != x.rank() ||
      !(unlabelled.shape().without(0) == x.shape().without(0)))
    fail<ShapeError>(op, "expected items without labels of the shape of labelled ones",
                     {{"labelled", x.shape()}, {"unlabelled", unlabelled.defined() ? unlabelled.shape() : Shape{0}}},
                     site);
  if (unlabelled.size(0) == 0) fail(op, "there are no items without labels", {}, site);
}
/// The same for two views, which must have one shape.
template <class T>
void check_unlabelled(const char* op, const LabelledSet<T>& labelled, const UnlabelledViews<T>& views, Site site) {
  check_unlabelled(op, labelled, views.weak, site);
  if (!views.strong.defined() || !(views.strong.shape() == views.weak.shape()))
    fail<ShapeError>(
        op, "the two views differ in shape",
        {{"weak", views.weak.shape()}, {"strong", views.strong.defined() ? views.strong.shape() : Shape{0}}}, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
