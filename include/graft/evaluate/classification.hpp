#pragma once
// Which classes are taken for which, and what follows from it: accuracy of each class, precision, recall and F1.

#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/evaluate/metrics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Counts pairs of a right label and a prediction, one after the other.
class ConfusionCounts {
 public:
  ConfusionCounts(Index classes, Site site)
      : classes_(classes),
        counts_(checked_count("confusion_matrix", {classes, classes}, sizeof(std::int64_t), site)),
        site_(site) {}

  /// Throws IndexError for a label or a prediction out of range.
  void add(Index label, Index predicted) {
    for (const auto& [name, value] : {std::pair("label", label), std::pair("prediction", predicted)})
      if (value < 0 || value >= classes_)
        fail<IndexError>("confusion_matrix", {name, " ", value, " of ", classes_, " classes"}, {}, site_);
    ++counts_[label * classes_ + predicted];
  }
  Tensor<std::int64_t> matrix() const { return from_vector(counts_, {classes_, classes_}); }

 private:
  Index classes_;
  List<std::int64_t> counts_;
  Site site_;
};

}  // namespace detail

/// How often each class is taken for each: entry (i, j) of the result [classes, classes] is the number of items with
/// label i that are predicted to be j, as in scikit-learn's confusion_matrix. `predicted` and `labels` [items].
/// Matrices of several batches add up; that of no items is 0. Throws ShapeError, IndexError for a label or prediction
/// out of range, ValueError for less than one class.
template <Integer I>
Tensor<std::int64_t> confusion_matrix(const Tensor<I>& predicted, const Tensor<I>& labels, Index classes,
                                      Site site = Site::current()) {
  detail::check_predictions("confusion_matrix", predicted, labels, site);
  if (classes < 1) fail("confusion_matrix", {"of ", classes, " classes"}, {}, site);
  detail::ConfusionCounts counts(classes, site);
  const auto taken = host(predicted), right = host(labels);
  for (std::size_t i = 0; i < right.size(); ++i) counts.add(right[i], taken[i]);
  return counts.matrix();
}

/// The same of `logits` [items, classes], whose prediction is the place of the first of a row's largest numbers, and
/// `labels` [items]. A row that holds a NaN predicts nothing: ValueError.
template <Real T>
Tensor<std::int64_t> confusion_matrix(const Tensor<T>& logits, const Tensor<std::int64_t>& labels,
                                      Site site = Site::current()) {
  detail::check_logits("confusion_matrix", logits, labels, site);
  const Index classes = logits.size(1);
  if (classes < 1) fail("confusion_matrix", "of no classes", {{"logits", logits.shape()}}, site);
  detail::ConfusionCounts counts(classes, site);
  const T* row = std::data(host(logits));
  Index item = 0;
  for (const std::int64_t label : host(labels)) {
    Index best = 0;
    for (Index c = 0; c < classes; ++c) {
      if (row[c] != row[c]) fail("confusion_matrix", {"a logit of item ", item, " is not a number"}, {}, site);
      if (row[c] > row[best]) best = c;
    }
    counts.add(label, best);
    row += classes;
    ++item;
  }
  return counts.matrix();
}

/// How well a class is found, or several of them on average.
struct PrecisionRecall {
  double precision = 0;  ///< right / predicted: the share of what is taken for the class that is of it
  double recall = 0;     ///< right / items: the share of what is of the class that is taken for it
  double f1 = 0;         ///< 2 right / (predicted + items), the harmonic mean of both
  Index items = 0;       ///< of the class
};

/// How figures of classes become one: `micro` joins their counts, `macro` takes the mean of their figures, `weighted`
/// that mean with the classes' shares of the items as weights.
enum class ClassAverage { micro, macro, weighted };

namespace detail {

/// Of one class: items that are rightly taken for it, all that are taken for it, all that are of it.
struct ClassCounts {
  Index right = 0, predicted = 0, items = 0;
};
/// The counts of all classes. Throws ShapeError unless `confusion` is a square matrix, ValueError for a negative count
/// or no items.
inline List<ClassCounts> class_counts(const char* op, const Tensor<std::int64_t>& confusion, Site site) {
  if (confusion.rank() != 2 || confusion.size(0) != confusion.size(1))
    fail<ShapeError>(op, "expected counts [classes, classes]", {{"confusion", confusion.shape()}}, site);
  const Index classes = confusion.size(0);
  List<ClassCounts> counts(classes);
  Index items = 0, place = 0;
  for (const std::int64_t count : host(confusion)) {
    if (count < 0) fail(op, {"a count of ", count, ", expected 0 or more"}, {}, site);
    const Index label = place / classes, predicted = place % classes;
    counts[label].items += count;
    counts[predicted].predicted += count;
    if (label == predicted) counts[label].right += count;
    items += count;
    ++place;
  }
  if (items == 0) fail(op, "of no items", {{"confusion", confusion.shape()}}, site);
  return counts;
}
inline PrecisionRecall precision_recall_of(const ClassCounts& counts) {
  const auto share = [](Index part, Index whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  return {share(counts.right, counts.predicted), share(counts.right, counts.items),
          share(2 * counts.right, counts.predicted + counts.items), counts.items};
}

}  // namespace detail

/// The share of each class's items that are predicted to be of it, its recall; 0 for a class without items.
/// `confusion` as `confusion_matrix` makes it. Throws ShapeError, ValueError for a negative count or no items.
inline std::vector<double> class_accuracies(const Tensor<std::int64_t>& confusion, Site site = Site::current()) {
  std::vector<double> accuracies;
  for (const detail::ClassCounts& counts : detail::class_counts("class_accuracies", confusion, site))
    accuracies.push_back(detail::precision_recall_of(counts).recall);
  return accuracies;
}

/// Precision, recall and F1 of each class. What divides by nothing is 0: the precision of a class that nothing is taken
/// for, the recall of one without items, the F1 of one with neither (scikit-learn's zero_division=0). `confusion` as
/// `confusion_matrix` makes it. Throws ShapeError, ValueError for a negative count or no items.
inline std::vector<PrecisionRecall> precision_recall(const Tensor<std::int64_t>& confusion,
                                                     Site site = Site::current()) {
  std::vector<PrecisionRecall> figures;
  for (const detail::ClassCounts& counts : detail::class_counts("precision_recall", confusion, site))
    figures.push_back(detail::precision_recall_of(counts));
  return figures;
}

/// The same as one figure for all classes; macro F1 is the mean of the classes' F1. Classes without items and
/// predictions count in the macro average, with 0; in scikit-learn they do when `labels` names them. With one label an
/// item, all three micro figures are the accuracy.
inline PrecisionRecall precision_recall(const Tensor<std::int64_t>& confusion, ClassAverage average,
                                        Site site = Site::current()) {
  const List<detail::ClassCounts> counts = detail::class_counts("precision_recall", confusion, site);
  detail::ClassCounts all;
  for (const detail::ClassCounts& one : counts) {
    all.right += one.right;
    all.predicted += one.predicted;
    all.items += one.items;
  }
  if (average == ClassAverage::micro) return detail::precision_recall_of(all);
  PrecisionRecall mean{0, 0, 0, all.items};
  for (const detail::ClassCounts& one : counts) {
    const PrecisionRecall figures = detail::precision_recall_of(one);
    const double weight = average == ClassAverage::macro
                              ? 1 / static_cast<double>(counts.size())
                              : static_cast<double>(one.items) / static_cast<double>(all.items);
    mean.precision += weight * figures.precision;
    mean.recall += weight * figures.recall;
    mean.f1 += weight * figures.f1;
  }
  return mean;
}

}  // namespace GRAFT_ABI
}  // namespace graft
