#pragma once
// How far confidences can be believed, and one temperature that mends them: Guo, Pleiss, Sun, Weinberger, "On
// calibration of modern neural networks", ICML 2017.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/evaluate/metrics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `calibration_bins` and `expected_calibration_error`.
struct CalibrationOptions {
  Index bins = 15;  ///< of equal width; the paper's number
};

/// Items whose confidences lie in one bin; all 0 where there are none.
struct CalibrationBin {
  double confidence = 0;  ///< mean
  double accuracy = 0;    ///< share of them that are right
  Index items = 0;
};

namespace detail {

/// How sure an item is of its prediction, and whether that is right.
struct Confidence {
  double value = 0;
  bool right = false;
};

/// Throws as `check_logits`, ValueError for no items and IndexError for a label out of range.
template <Real T>
void check_labelled_logits(const char* op, const Tensor<T>& logits, const Tensor<std::int64_t>& labels, Site site) {
  check_logits(op, logits, labels, site);
  if (labels.count() == 0) fail(op, "of no items", {{"logits", logits.shape()}}, site);
  for (const std::int64_t label : host(labels))
    if (label < 0 || label >= logits.size(1))
      fail<IndexError>(op, {"label ", label, " of ", logits.size(1), " classes"}, {}, site);
}

/// The largest of each row's softmax, and whether its first place is the label.
template <Real T>
std::vector<Confidence> confidences_of(const char* op, const Tensor<T>& logits, const Tensor<std::int64_t>& labels,
                                       Site site) {
  check_labelled_logits(op, logits, labels, site);
  std::vector<Confidence> items;
  const auto classes = static_cast<std::size_t>(logits.size(1));
  const T* row = std::data(host(logits));
  for (const std::int64_t label : host(labels)) {
    std::size_t best = 0;
    for (std::size_t c = 0; c < classes; ++c)
      if (row[c] > row[best]) best = c;
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c)
      sum += std::exp(static_cast<double>(row[c]) - static_cast<double>(row[best]));
    if (!(sum >= 1)) fail(op, {"the logits of item ", items.size(), " have no softmax"}, {}, site);
    items.push_back({1 / sum, static_cast<std::int64_t>(best) == label});
    row += classes;
  }
  return items;
}
template <Real T>
std::vector<Confidence> confidences_of(const char* op, const Tensor<T>& confidences, const Tensor<bool>& right,
                                       Site site) {
  if (confidences.rank() != 1 || !(right.shape() == confidences.shape()))
    fail<ShapeError>(op, "expected confidences and right [items]",
                     {{"confidences", confidences.shape()}, {"right", right.shape()}}, site);
  if (right.count() == 0) fail(op, "of no items", {}, site);
  std::vector<Confidence> items;
  const auto values = host(confidences);
  const auto is_right = host(right);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] >= 0 && values[i] <= 1))
      fail(op, {"the confidence of item ", i, " is ", values[i], ", expected one in [0, 1]"}, {}, site);
    items.push_back({static_cast<double>(values[i]), is_right[i]});
  }
  return items;
}

inline std::vector<CalibrationBin> binned(const char* op, const std::vector<Confidence>& items,
                                          const CalibrationOptions& o, Site site) {
  if (o.bins < 1) fail(op, {"into ", o.bins, " bins"}, {}, site);
  std::vector<CalibrationBin> bins(static_cast<std::size_t>(o.bins));
  const double count = static_cast<double>(o.bins);
  for (const Confidence& item : items) {
    auto at = std::min(static_cast<Index>(item.value * count), o.bins - 1);
    if (at > 0 && item.value <= static_cast<double>(at) / count) --at;  // a bin ends with its upper edge
    CalibrationBin& bin = bins[static_cast<std::size_t>(at)];
    bin.confidence += item.value;
    bin.accuracy += item.right;
    ++bin.items;
  }
  for (CalibrationBin& bin : bins) {
    if (bin.items == 0) continue;
    bin.confidence /= static_cast<double>(bin.items);
    bin.accuracy /= static_cast<double>(bin.items);
  }
  return bins;
}
inline double calibration_error_of(const std::vector<CalibrationBin>& bins) {
  double error = 0, items = 0;
  for (const CalibrationBin& bin : bins) {
    error += static_cast<double>(bin.items) * std::abs(bin.accuracy - bin.confidence);
    items += static_cast<double>(bin.items);
  }
  return error / items;
}

}  // namespace detail

/// The reliability diagram: items by confidence, the largest number of an item's softmax, in M bins, bin b with those
/// above b / M up to (b + 1) / M, the first with 0 too. `logits` [items, classes], `labels` [items]; the logarithms of
/// probabilities are logits of them. Throws ShapeError, IndexError for a label out of range, ValueError for no items,
/// less than one bin or logits without a softmax (a NaN, an infinite one).
template <Real T>
std::vector<CalibrationBin> calibration_bins(const Tensor<T>& logits, const Tensor<std::int64_t>& labels,
                                             const CalibrationOptions& o = {}, Site site = Site::current()) {
  const char* op = "calibration_bins";
  return detail::binned(op, detail::confidences_of(op, logits, labels, site), o, site);
}
/// The same of `confidences` [items] in [0, 1], with `right` [items] for whether the predictions are right.
template <Real T>
std::vector<CalibrationBin> calibration_bins(const Tensor<T>& confidences, const Tensor<bool>& right,
                                             const CalibrationOptions& o = {}, Site site = Site::current()) {
  const char* op = "calibration_bins";
  return detail::binned(op, detail::confidences_of(op, confidences, right, site), o, site);
}

/// ECE = sum_b |B_b| / n |accuracy(B_b) - confidence(B_b)| over the bins of `calibration_bins`. `logits` [items,
/// classes], `labels` [items]. Throws as `calibration_bins`.
template <Real T>
double expected_calibration_error(const Tensor<T>& logits, const Tensor<std::int64_t>& labels,
                                  const CalibrationOptions& o = {}, Site site = Site::current()) {
  const char* op = "expected_calibration_error";
  return detail::calibration_error_of(detail::binned(op, detail::confidences_of(op, logits, labels, site), o, site));
}
/// The same of `confidences` [items] in [0, 1] and `right` [items].
template <Real T>
double expected_calibration_error(const Tensor<T>& confidences, const Tensor<bool>& right,
                                  const CalibrationOptions& o = {}, Site site = Site::current()) {
  const char* op = "expected_calibration_error";
  return detail::calibration_error_of(
      detail::binned(op, detail::confidences_of(op, confidences, right, site), o, site));
}

namespace detail {

/// The first two derivatives by b of the mean over items of -log softmax(b z)_y, with z the logits over `unit`: E[z] -
/// z_y and Var[z] under softmax(b z).
struct LossSlopes {
  double first = 0, second = 0;
};
template <Real T>
LossSlopes scaled_loss_slopes(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, double unit, double b) {
  LossSlopes slopes;
  const auto classes = static_cast<std::size_t>(logits.size(1));
  const T* row = std::data(host(logits));
  for (const std::int64_t label : host(labels)) {
    const double largest = static_cast<double>(*std::max_element(row, row + classes));
    double sum = 0, first = 0, second = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      const double below = (static_cast<double>(row[c]) - largest) / unit, weight = std::exp(b * below);
      sum += weight;
      first += weight * below;
      second += weight * below * below;
    }
    const double mean = first / sum;
    slopes.first += mean - (static_cast<double>(row[label]) - largest) / unit;
    slopes.second += second / sum - mean * mean;
    row += classes;
  }
  const double items = static_cast<double>(labels.count());
  return {slopes.first / items, slopes.second / items};
}

}  // namespace detail

/// The temperature T above 0 at which the mean of -log softmax(logits / T)_label is smallest, to be divided by at test
/// time (section 4.2 of the paper). The loss is convex in 1 / T; its minimum is found by Newton's method with
/// bisection, in double. Fit on items of validation: `logits` [items, classes], `labels` [items]. Predictions stay what
/// they are. Throws ShapeError, IndexError for a label out of range, ValueError for no items, logits that are not
/// finite, or where no temperature is best: every item is right, so the loss falls as T goes to 0, or the labels'
/// logits are on average not above the others', so it falls as T grows.
template <Real T>
double fit_temperature(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  const char* op = "fit_temperature";
  detail::check_labelled_logits(op, logits, labels, site);
  const auto classes = static_cast<std::size_t>(logits.size(1)), items = static_cast<std::size_t>(labels.count());
  const auto numbers = host(logits);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (!std::isfinite(numbers[i])) fail(op, {"a logit of item ", i / classes, " is ", numbers[i]}, {}, site);
  // By how much the largest number of each row exceeds its smallest and its label's.
  const auto y = host(labels);
  double spread = 0, wrong_by = 0;
  for (std::size_t i = 0; i < items; ++i) {
    const T* row = std::data(numbers) + i * classes;
    const auto [low, high] = std::minmax_element(row, row + classes);
    const double largest = static_cast<double>(*high);
    spread = std::max(spread, largest - static_cast<double>(*low));
    wrong_by = std::max(wrong_by, largest - static_cast<double>(row[y[i]]));
  }
  if (!std::isfinite(spread)) fail(op, {"logits of one item are ", spread, " apart"}, {}, site);
  const auto slopes = [&](double b) { return detail::scaled_loss_slopes(logits, labels, spread, b); };
  if (spread == 0 || slopes(0).first >= 0)
    fail(op, "the labels' logits are on average not above the others'", {}, site);
  if (wrong_by <= 1e-290 * spread)  // so little is lost in double
    fail(op, "every item is right, so the loss falls as the temperature goes to 0", {}, site);
  double low = 0, high = 1, b = 0.5;  // spread / T
  while (slopes(high).first < 0) {
    low = high;
    high *= 2;
    b = 0.5 * (low + high);
  }
  for (int i = 0; i < 200; ++i) {
    const detail::LossSlopes here = slopes(b);
    (here.first < 0 ? low : high) = b;
    double next = b - here.first / here.second;
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    const bool settled = std::abs(next - b) <= 1e-14 * b;
    b = next;
    if (settled) break;
  }
  return spread / b;
}

}  // namespace GRAFT_ABI
}  // namespace graft
