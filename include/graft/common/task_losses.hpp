#pragma once
// What weightings of the tasks' losses share: the losses of a round by task, and state that is a number a task.

#include <algorithm>
#include <cmath>

#include "graft/common/aggregator.hpp"
#include "graft/common/checks.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// The losses of a round.
struct TaskLosses {
  Index tasks = 0;      ///< that there are
  List<Index> ids;      ///< the task behind each row
  List<double> rows;    ///< the loss of each row
  List<Index> present;  ///< the tasks with a row, each once, in order
  List<double> mean;    ///< [tasks]: of a task's rows; 0 for an absent one
};

/// Throws ValueError for a loss outside the range: all of them are finite.
inline void check_loss(const char* op, double loss, Index task, Range range, Site site) {
  const bool in_range = range == Range::positive ? loss > 0 : range == Range::not_negative ? loss >= 0 : loss == loss;
  if (std::isfinite(loss) && in_range) return;
  const char* expected = range == Range::positive       ? "a finite number above 0"
                         : range == Range::not_negative ? "a finite number, 0 or more"
                                                        : "a finite number";
  fail(op, {"the loss of task ", task, " is ", loss, ", expected ", expected}, {}, site);
}

/// The numbers of losses [tasks]. Throws ShapeError unless there is one task or more, ValueError for one that is not
/// finite and above 0.
template <class T>
List<double> positive_losses(const char* op, const Tensor<T>& losses, Site site) {
  check_per_task(op, "losses", losses, site);
  List<double> values;
  for (const T loss : host(losses)) {
    check_loss(op, static_cast<double>(loss), values.size(), Range::positive, site);
    values.push_back(static_cast<double>(loss));
  }
  return values;
}

/// Puts the mean of each task's rows into `means` [tasks], `ids` being the tasks behind the rows; those of absent tasks
/// stay. Returns how many rows each task has, [tasks].
inline List<double> means_by_task(const List<Index>& ids, const List<double>& rows, List<double>& means) {
  List<double> count(means.size());
  for (Index row = 0; row < rows.size(); ++row) {
    double& mean = means[ids[row]];
    if (count[ids[row]] == 0) mean = 0;
    mean += (rows[row] - mean) / ++count[ids[row]];
  }
  return count;
}

/// Throws ValueError without losses or for one outside the range, IndexError for a row of no task.
inline TaskLosses task_losses(const char* op, const TaskGradients& gradients, Range range, Site site) {
  if (!gradients.losses().defined()) fail(op, "weighs losses, and was given gradients only", {}, site);
  TaskLosses round{gradients.all_tasks, gradients.ids, List<double>(host(gradients.losses())), {}, {}};
  if (round.ids.size() != round.rows.size())
    fail<ShapeError>(op, {round.ids.size(), " tasks for ", round.rows.size(), " losses"}, {}, site);
  check_ids(op, gradients, site);
  for (Index row = 0; row < round.rows.size(); ++row) check_loss(op, round.rows[row], round.ids[row], range, site);
  round.mean = List<double>(round.tasks);
  const List<double> count = means_by_task(round.ids, round.rows, round.mean);
  for (Index task = 0; task < round.tasks; ++task)
    if (count[task] > 0) round.present.push_back(task);
  return round;
}

/// Makes a state [tasks] of equal numbers where there is none; throws ShapeError for one of another number of tasks.
inline void start_state(const char* op, Tensor<double>& state, Index tasks, double value, Site site) {
  if (!state.defined()) state = full<double>({tasks}, value);
  if (!(state.shape() == Shape{tasks}))
    fail<ShapeError>(op, {"the state is not one of ", tasks, " tasks"}, {{"state", state.shape()}}, site);
}

/// total softmax(scores); exactly total / count for equal scores.
inline List<double> softmax_weights(List<double> scores, double total) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  for (double& score : scores) score *= total / sum;
  return scores;
}

/// Throws ShapeError unless there are losses [tasks] of one task or more, and as many other numbers.
template <class T>
void check_losses(const char* op, const Tensor<T>& losses, const char* name, const Tensor<T>& other, Site site) {
  check_per_task(op, "losses", losses, site);
  if (!(other.shape() == losses.shape()))
    fail<ShapeError>(op, {"expected ", name, " [tasks], as many as losses"},
                     {{"losses", losses.shape()}, {name, other.shape()}}, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
