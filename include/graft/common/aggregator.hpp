#pragma once
// How the gradients of several tasks become one direction: what an aggregator sees, and what it answers. An aggregator
// is a value: what it remembers from round to round is in its GRAFT_FIELDS and is saved with the training state.

#include <utility>

#include "graft/core/list.hpp"
#include "graft/model/any_model.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The tasks of one round. What is costly is computed when it is first asked for.
class TaskGradients {
 public:
  /// One gradient a row, [tasks, n], and one loss a task (empty: not known). Throws ShapeError.
  TaskGradients(Tensor<double> jacobian, Tensor<double> losses, const Random& random, Site site = Site::current())
      : TaskGradients(jacobian.rank() == 2 ? jacobian.size(0) : -1, std::move(losses), random, jacobian, site) {
    jacobian_ = std::move(jacobian);
  }
  virtual ~TaskGradients() = default;

  Index tasks() const { return tasks_; }
  /// [tasks]
  const Tensor<double>& losses() const { return losses_; }
  /// This round's numbers for whoever draws.
  const Random& random() const { return random_; }
  /// The task behind each row, of `all_tasks` that there are: a task may be absent from a round, or in it twice.
  List<Index> ids;
  Index all_tasks = 0;

  /// [tasks, n]: the gradients with respect to the shared parameters.
  const Tensor<double>& jacobian() {
    if (!jacobian_.defined()) jacobian_ = make_jacobian();
    return jacobian_;
  }
  /// [tasks, tasks]: their inner products. Gradients that are models give them without `jacobian()`.
  const Tensor<double>& gramian() {
    if (!gramian_.defined()) gramian_ = make_gramian();
    return gramian_;
  }

 protected:
  TaskGradients(Index tasks, Tensor<double> losses, const Random& random, const Tensor<double>& shown = {},
                Site site = {})
      : all_tasks(tasks), tasks_(tasks), losses_(std::move(losses)), random_(random) {
    if (tasks < 0)
      fail<ShapeError>("TaskGradients", "expected one gradient a row, [tasks, n]", {{"jacobian", shown.shape()}}, site);
    if (tasks == 0) fail("TaskGradients", "there are no tasks", {}, site);
    if (losses_.defined() && !(losses_.shape() == Shape{tasks}))
      fail<ShapeError>("TaskGradients", {"expected one loss for each of ", tasks, " tasks"},
                       {{"losses", losses_.shape()}}, site);
    for (Index i = 0; i < tasks; ++i) ids.push_back(i);
  }
  virtual Tensor<double> make_jacobian() const { return {}; }
  virtual Tensor<double> make_gramian() { return matmul(jacobian(), jacobian(), {.transpose_b = true}); }

 private:
  Index tasks_;
  Tensor<double> losses_, jacobian_, gramian_;
  Random random_;
};

/// Thrown by an aggregator that cannot answer for so few tasks, as robust ones. A round in which tasks have failed goes
/// on without a step then; one in which none has, throws it.
class TooFewTasks : public ValueError {
 public:
  using ValueError::ValueError;
};

namespace detail {

/// Throws IndexError for a row of no task.
inline void check_ids(const char* op, const TaskGradients& gradients, Site site) {
  for (Index task : gradients.ids)
    if (task < 0 || task >= gradients.all_tasks)
      fail<IndexError>(op, {"task ", task, " of ", gradients.all_tasks}, {}, site);
}

}  // namespace detail

/// An aggregator's answer: either weights of the tasks' gradients, or a direction of its own.
struct Combination {
  Tensor<double> weights = {};    ///< [tasks]: the direction is sum_i weights_i g_i
  Tensor<double> direction = {};  ///< [n]
};

/// A callable `Combination(TaskGradients&)`, which may change its own state.
using Aggregator = AnyModel<Combination(TaskGradients&), double>;

}  // namespace GRAFT_ABI
}  // namespace graft
