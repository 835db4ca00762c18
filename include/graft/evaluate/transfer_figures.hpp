#pragma once
// What tasks give one another: joint training against training on a task alone, labels saved, and what learning one
// task after another does to those before and after it.

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One metric of one task: after training on all tasks, and after training on that task alone.
struct TransferFigure {
  double joint = 0, single = 0;
  bool higher_is_better = true;  ///< an accuracy; false: a loss, an error
};

namespace detail {

inline double checked_ratio(const char* op, const TransferFigure& figure, Site site) {
  if (!std::isfinite(figure.joint) || !std::isfinite(figure.single) || figure.single == 0)
    fail(op, {"joint is ", figure.joint, " and single ", figure.single, ", expected finite numbers and single not 0"},
         {}, site);
  const double gain = (figure.joint - figure.single) / std::abs(figure.single);
  return figure.higher_is_better ? gain : -gain;
}
/// The mean ratio of each task. Throws ValueError for no tasks, a task without metrics or a figure without a ratio.
inline std::vector<double> task_ratios(const char* op, const std::vector<std::vector<TransferFigure>>& tasks,
                                       Site site) {
  if (tasks.empty()) fail(op, "of no tasks", {}, site);
  std::vector<double> ratios;
  for (const std::vector<TransferFigure>& metrics : tasks) {
    if (metrics.empty()) fail(op, {"task ", ratios.size(), " has no metrics"}, {}, site);
    double sum = 0;
    for (const TransferFigure& figure : metrics) sum += checked_ratio(op, figure, site);
    ratios.push_back(sum / static_cast<double>(metrics.size()));
  }
  return ratios;
}

}  // namespace detail

/// (joint - single) / |single|, with a minus where lower is better: above 0 if the other tasks help, 0.1 for a tenth
/// better. Throws ValueError for figures that are not finite and a `single` of 0.
inline double transfer_ratio(const TransferFigure& figure, Site site = Site::current()) {
  return detail::checked_ratio("transfer_ratio", figure, site);
}

/// Delta_p = mean over tasks of the mean over a task's metrics of (-1)^w (B - N) / B, with B trained alone, N jointly,
/// and w = 1 where higher is better (Maninis, Radosavovic, Kokkinos, CVPR 2019; LibMTL's count_improvement): the mean
/// `transfer_ratio`. `tasks` [tasks][metrics of the task]. It divides by |B|, so that a negative B does not turn the
/// sign. Throws ValueError for no tasks, a task without metrics, figures that are not finite and a `single` of 0.
inline double delta_p(const std::vector<std::vector<TransferFigure>>& tasks, Site site = Site::current()) {
  double sum = 0;
  for (const double ratio : detail::task_ratios("delta_p", tasks, site)) sum += ratio;
  return sum / static_cast<double>(tasks.size());
}

/// How many tasks joint training hurts: those whose mean ratio over their metrics is below -margin. `tasks`
/// [tasks][metrics of the task]. Throws as `delta_p`, and ValueError unless margin >= 0.
inline Index tasks_hurt(const std::vector<std::vector<TransferFigure>>& tasks, double margin = 0,
                        Site site = Site::current()) {
  if (!(margin >= 0)) fail("tasks_hurt", {"margin is ", margin, ", expected 0 or more"}, {}, site);
  Index hurt = 0;
  for (const double ratio : detail::task_ratios("tasks_hurt", tasks, site)) hurt += ratio < -margin;
  return hurt;
}

/// What is reached with how many labels.
struct LearningCurve {
  std::vector<double> labels;    ///< numbers of labelled items, above 0 and rising
  std::vector<double> figures;   ///< with each of them
  bool higher_is_better = true;  ///< an accuracy; false: a loss, an error
};

namespace detail {

inline double labels_of_curve(const char* op, const LearningCurve& curve, double figure, Site site) {
  const auto& labels = curve.labels;
  if (labels.empty() || labels.size() != curve.figures.size())
    fail(op, {labels.size(), " numbers of labels and ", curve.figures.size(), " figures"}, {}, site);
  if (!std::isfinite(figure)) fail(op, {"the figure to reach is ", figure}, {}, site);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (!(labels[i] > (i == 0 ? 0 : labels[i - 1])) || !std::isfinite(labels[i]))
      fail(op, {"number ", i, " of labels is ", labels[i], ", expected rising numbers above 0"}, {}, site);
    if (!std::isfinite(curve.figures[i])) fail(op, {"figure ", i, " is ", curve.figures[i]}, {}, site);
  }
  const auto gap = [&](std::size_t i) {  // what is left to reach
    return curve.higher_is_better ? figure - curve.figures[i] : curve.figures[i] - figure;
  };
  if (gap(0) <= 0) return labels[0];
  for (std::size_t i = 1; i < labels.size(); ++i)
    if (gap(i) <= 0) return labels[i - 1] * std::pow(labels[i] / labels[i - 1], gap(i - 1) / (gap(i - 1) - gap(i)));
  return std::numeric_limits<double>::infinity();
}

}  // namespace detail

/// The number of labels at which a curve first reaches a figure, on straight lines between its points over the
/// logarithm of the number of labels; its first number if that is enough, infinity if all of them are not. Throws
/// ValueError for an empty curve, lists of unequal length, numbers of labels that do not rise from above 0, or what is
/// not finite.
inline double labels_to_reach(const LearningCurve& curve, double figure, Site site = Site::current()) {
  return detail::labels_of_curve("labels_to_reach", curve, figure, site);
}

/// n_single(figure) / n_joint(figure): how many times as many labels a task needs alone to reach a figure, by
/// `labels_to_reach`; above 1 if the other tasks save labels. Throws ValueError as that, and where a curve does not
/// reach the figure: it is not extrapolated.
inline double label_efficiency(const LearningCurve& single, const LearningCurve& joint, double figure,
                               Site site = Site::current()) {
  const char* op = "label_efficiency";
  const double alone = detail::labels_of_curve(op, single, figure, site);
  const double together = detail::labels_of_curve(op, joint, figure, site);
  if (std::isinf(alone) || std::isinf(together))
    fail(op, {"the curve of ", std::isinf(alone) ? "single" : "joint", " training does not reach ", figure}, {}, site);
  return alone / together;
}

namespace detail {

/// The numbers of `results` [tasks, tasks]. Throws ShapeError, ValueError for less than two tasks or a number that is
/// not finite.
template <Real T>
std::span<const T> sequence_results(const char* op, const Tensor<T>& results, Site site) {
  if (results.rank() != 2 || results.size(0) != results.size(1))
    fail<ShapeError>(op, "expected results [tasks, tasks]", {{"results", results.shape()}}, site);
  if (results.size(0) < 2) fail(op, "of less than two tasks", {{"results", results.shape()}}, site);
  const auto numbers = host(results);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (!std::isfinite(numbers[i])) {
      const Index tasks = results.size(0), place = static_cast<Index>(i);
      fail(op, {"the result of task ", place % tasks, " after task ", place / tasks, " is ", numbers[i]}, {}, site);
    }
  return numbers;
}

}  // namespace detail

/// BWT = mean over all tasks i but the last of R(T, i) - R(i, i), with R(i, j) the accuracy on task j after learning
/// tasks 1 .. i one after another and T their number: below 0 for what is forgotten (Lopez-Paz, Ranzato, NeurIPS 2017).
/// `results` [tasks, tasks], row i after task i. Throws ShapeError, ValueError for less than two tasks or a number that
/// is not finite.
template <Real T>
double backward_transfer(const Tensor<T>& results, Site site = Site::current()) {
  const auto r = detail::sequence_results("backward_transfer", results, site);
  const auto tasks = static_cast<std::size_t>(results.size(0));
  double sum = 0;
  for (std::size_t i = 0; i + 1 < tasks; ++i)
    sum += static_cast<double>(r[(tasks - 1) * tasks + i]) - static_cast<double>(r[i * tasks + i]);
  return sum / static_cast<double>(tasks - 1);
}

/// FWT = mean over all tasks i but the first of R(i-1, i) - b(i), with b the accuracies before any training (the same
/// paper): what is known of a task before it is learned. `results` [tasks, tasks], row i after task i, `untrained`
/// [tasks]. Throws ShapeError, ValueError for less than two tasks or a number that is not finite.
template <Real T>
double forward_transfer(const Tensor<T>& results, const Tensor<T>& untrained, Site site = Site::current()) {
  const char* op = "forward_transfer";
  const auto r = detail::sequence_results(op, results, site);
  if (untrained.rank() != 1 || untrained.size(0) != results.size(0))
    fail<ShapeError>(op, "expected untrained [tasks]", {{"results", results.shape()}, {"untrained", untrained.shape()}},
                     site);
  const auto b = host(untrained);
  const auto tasks = b.size();
  double sum = 0;
  for (std::size_t i = 0; i < tasks; ++i) {
    if (!std::isfinite(b[i])) fail(op, {"the untrained result of task ", i, " is ", b[i]}, {}, site);
    if (i > 0) sum += static_cast<double>(r[(i - 1) * tasks + i]) - static_cast<double>(b[i]);
  }
  return sum / static_cast<double>(tasks - 1);
}

}  // namespace GRAFT_ABI
}  // namespace graft
