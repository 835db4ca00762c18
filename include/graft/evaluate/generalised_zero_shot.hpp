#pragma once
// The generalised zero-shot protocol: seen and unseen classes compete. Xian, Lampert, Schiele, Akata, "Zero-shot
// learning: a comprehensive evaluation of the good, the bad and the ugly", TPAMI 2019: mean accuracies of seen and
// unseen classes and their harmonic mean. Chao, Changpinyo, Gong, Sha, "An empirical study and analysis of generalized
// zero-shot learning for object recognition in the wild", ECCV 2016: calibrated stacking, and the area under the curve
// of both accuracies. Formulas as the catalogue of methods has them; the papers were not read.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// 2 seen unseen / (seen + unseen), 0 if both are. Not above twice the lesser.
inline double harmonic_mean(double seen, double unseen) {
  return seen + unseen > 0 ? 2 * seen * unseen / (seen + unseen) : 0;
}

/// Accuracies of seen and unseen classes when `gamma` is taken from the scores of the seen ones.
struct ZeroShotFigures {
  double gamma = 0;
  double seen = 0, unseen = 0;  ///< S and U: means over classes with items of the share of their items that are right
  double harmonic = 0;          ///< H
};

namespace detail {

/// What the protocol looks at, item by item: how far the best seen class is ahead of the best unseen one, which is the
/// gamma at which the answer turns from the one to the other, whether they are right, and what that adds to S and U.
class ZeroShotAnswers {
 public:
  template <Real T>
  ZeroShotAnswers(const char* op, const Tensor<T>& logits, const Tensor<std::int64_t>& labels, const Tensor<bool>& seen,
                  Site site) {
    if (logits.rank() != 2 || !(labels.shape() == Shape{logits.size(0)}) || !(seen.shape() == Shape{logits.size(1)}))
      fail<ShapeError>(op, "expected logits [items, classes], labels [items] and seen [classes]",
                       {{"logits", logits.shape()}, {"labels", labels.shape()}, {"seen", seen.shape()}}, site);
    const Index classes = logits.size(1);
    const auto is_seen = host(seen);
    List<double> counts(classes);
    for (const std::int64_t label : host(labels)) {
      if (label < 0 || label >= classes) fail<IndexError>(op, {"label ", label, " of ", classes, " classes"}, {}, site);
      ++counts[label];
    }
    double with_items[2] = {0, 0};  // unseen and seen classes
    for (Index c = 0; c < classes; ++c) with_items[is_seen[static_cast<std::size_t>(c)]] += counts[c] > 0;
    for (const bool side : {false, true})
      if (with_items[side] == 0) fail(op, {"no item is of ", side ? "a seen" : "an unseen", " class"}, {}, site);
    const T* row = std::data(host(logits));
    Index item = 0;
    for (const std::int64_t label : host(labels)) {
      Index best[2] = {-1, -1};
      for (Index c = 0; c < classes; ++c) {
        if (row[c] != row[c]) fail(op, {"a logit of item ", item, " is not a number"}, {}, site);
        Index& own = best[is_seen[static_cast<std::size_t>(c)]];
        if (own < 0 || row[c] > row[own]) own = c;
      }
      const bool of_seen = is_seen[static_cast<std::size_t>(label)];
      const double ahead =
          row[best[1]] == row[best[0]] ? 0 : static_cast<double>(row[best[1]]) - static_cast<double>(row[best[0]]);
      answers_.push_back(
          {ahead, best[of_seen] == label, of_seen, best[1] < best[0], 1 / (counts[label] * with_items[of_seen])});
      row += classes;
      ++item;
    }
    std::stable_sort(answers_.begin(), answers_.end(),
                     [](const Answer& a, const Answer& b) { return a.ahead < b.ahead; });
  }

  ZeroShotFigures at(double gamma) const {
    ZeroShotFigures figures{gamma};
    for (const Answer& a : answers_) {
      // The first of the largest, as argmax answers; an infinite gamma leaves one side alone.
      const bool says_seen =
          a.ahead > gamma || gamma == -kInfinity || (a.ahead == gamma && a.seen_first && gamma != kInfinity);
      if (a.right && says_seen == a.of_seen) (a.of_seen ? figures.seen : figures.unseen) += a.weight;
    }
    figures.harmonic = harmonic_mean(figures.seen, figures.unseen);
    return figures;
  }

  /// From gamma = -infinity, where all answers are seen classes, to infinity, where none is, with a gamma between any
  /// two at which answers change.
  std::vector<ZeroShotFigures> curve() const {
    ZeroShotFigures now{-kInfinity};
    for (const Answer& a : answers_)
      if (a.right && a.of_seen) now.seen += a.weight;
    std::vector<ZeroShotFigures> points{now};
    for (Index i = 0; i < answers_.size();) {
      const double ahead = answers_[i].ahead;
      for (; i < answers_.size() && answers_[i].ahead == ahead; ++i)
        if (answers_[i].right) {
          if (answers_[i].of_seen)
            now.seen -= answers_[i].weight;
          else
            now.unseen += answers_[i].weight;
        }
      if (i == answers_.size()) now.seen = 0;  // whatever rounding left
      now.seen = std::max(now.seen, 0.0);
      now.gamma = i < answers_.size() ? between(ahead, answers_[i].ahead) : kInfinity;
      now.harmonic = harmonic_mean(now.seen, now.unseen);
      points.push_back(now);
    }
    return points;
  }

 private:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static double between(double low, double high) {
    constexpr double most = std::numeric_limits<double>::max();
    return std::max(low, -most) / 2 + std::min(high, most) / 2;
  }
  struct Answer {
    double ahead;
    bool right, of_seen, seen_first;
    double weight;
  };
  List<Answer> answers_;
};

}  // namespace detail

/// S, U and H by logits [items, classes], labels [items] of seen and unseen classes, and which classes were seen in
/// training, [classes], with `gamma` taken from the seen ones' logits (calibrated stacking); an infinite gamma lets
/// unseen classes alone answer, or seen ones. Every class counts alike, whatever its items; one without items does not
/// count. `gamma` is to be chosen on classes held out of the seen ones. Throws ShapeError, IndexError for a label out
/// of range, ValueError if no item is of a seen or of an unseen class, and for a NaN.
template <Real T>
ZeroShotFigures zero_shot_figures(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, const Tensor<bool>& seen,
                                  double gamma = 0, Site site = Site::current()) {
  if (gamma != gamma) fail("zero_shot_figures", "gamma is not a number", {}, site);
  return detail::ZeroShotAnswers("zero_shot_figures", logits, labels, seen, site).at(gamma);
}

/// The figures for all gamma that make a difference, from -infinity, where U is 0, to infinity, where S is. Throws as
/// `zero_shot_figures` does.
template <Real T>
std::vector<ZeroShotFigures> seen_unseen_curve(const Tensor<T>& logits, const Tensor<std::int64_t>& labels,
                                               const Tensor<bool>& seen, Site site = Site::current()) {
  return detail::ZeroShotAnswers("seen_unseen_curve", logits, labels, seen, site).curve();
}

/// The area under the curve of S over U, by trapezia between its points: AUSUC. Throws as `zero_shot_figures` does.
template <Real T>
double ausuc(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, const Tensor<bool>& seen,
             Site site = Site::current()) {
  const auto points = detail::ZeroShotAnswers("ausuc", logits, labels, seen, site).curve();
  double area = 0;
  for (std::size_t i = 1; i < points.size(); ++i)
    area += (points[i].unseen - points[i - 1].unseen) * (points[i].seen + points[i - 1].seen) / 2;
  return area;
}

/// The point of the curve with the highest harmonic mean, the first of equals; its gamma is what validation would
/// choose. Of test items it says what the best calibration could reach, no more. Throws as `zero_shot_figures` does.
template <Real T>
ZeroShotFigures best_calibration(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, const Tensor<bool>& seen,
                                 Site site = Site::current()) {
  const auto points = detail::ZeroShotAnswers("best_calibration", logits, labels, seen, site).curve();
  ZeroShotFigures best = points.front();
  for (const ZeroShotFigures& point : points)
    if (point.harmonic > best.harmonic) best = point;
  return best;
}

}  // namespace GRAFT_ABI
}  // namespace graft
