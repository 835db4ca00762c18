#pragma once
// Fast adaptive multitask optimisation. Liu, Feng, Stone, Liu, "FAMO: fast adaptive multitask optimization", NeurIPS
// 2023; the details of the update are those of the authors' code.

#include "graft/common/task_losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Famo`.
struct FamoOptions {
  double learning_rate = 0.025;    ///< of Adam on w, the authors'
  double decay = 1e-3;             ///< of w, added to its gradient as decay w; the authors' code has had other values
  List<double> lower_bounds = {};  ///< b [tasks]: what no loss falls below; empty: 0 for all, the authors'
  double epsilon = 1e-8;           ///< added to L - b, the authors'
};

/// With D_i = L_i - b_i + epsilon and z = softmax(w) the weights of the tasks' gradients are
///   c z_i / D_i,  c = 1 / sum_j z_j / D_j,
/// so that they sum to 1: a step on sum_i c z_i ln D_i. When the losses after the step are known,
///   w <- Adam(w, J^T delta + decay w),  delta_i = ln D_i before - ln D_i after,  J = d z / d w,
/// which moves weight from the tasks whose loss fell, relative to its size, more than the others' to those whose loss
/// fell less.
///
/// What "after" is: by default the losses of the task's next round, on another batch, so that no second forward pass is
/// needed; delta then holds the difference of the batches too, whose mean is zero for batches of one distribution. The
/// paper takes the same batch again. Who evaluates it has a `Famo` of his own, calls it with the round's gradients,
/// steps the model, and calls `after` with the new losses; then the next round is not taken for comparison.
///
/// Absent tasks are in no softmax of the round and keep w, Adam's numbers and their last loss. A task that is in the
/// round twice counts with its mean loss in delta. The gradients are not looked at. Throws ValueError without losses,
/// for one that is not finite or makes no D_i above 0, ShapeError for another number of tasks or of bounds.
struct Famo {
  FamoOptions options;
  Tensor<double> logits;               ///< w [tasks]
  Tensor<double> mean, square, steps;  ///< Adam's [tasks]: of a task's own, so that absent tasks do not move
  Tensor<double> logs;                 ///< ln D [tasks] of the latest round that a task was in
  Tensor<double> waiting;              ///< [tasks]: 1 if these are still to be compared with losses after the step
  GRAFT_FIELDS(logits, mean, square, steps, logs, waiting)
  GRAFT_CONFIG(options)

  /// For `tasks` tasks, or, if 0, for as many as there are in the first round, when the state is made. Throws
  /// ValueError, and ShapeError for another number of bounds.
  explicit Famo(Index tasks = 0, FamoOptions o = {}, Site site = Site::current()) : options(std::move(o)) {
    detail::check_count("Famo", "tasks", tasks, 0, site);
    const auto check = [&](const char* name, double value, detail::Range range) {
      detail::check_option<double>("Famo", name, value, range, site);
    };
    check("learning_rate", options.learning_rate, detail::Range::not_negative);
    check("decay", options.decay, detail::Range::not_negative);
    check("epsilon", options.epsilon, detail::Range::not_negative);
    for (const double bound : options.lower_bounds) check("a lower bound", bound, detail::Range::finite);
    if (tasks > 0) start(tasks, site);
  }

  Combination operator()(TaskGradients& gradients, Site site = Site::current()) {
    const auto round = detail::task_losses("Famo", gradients, detail::Range::finite, site);
    start(round.tasks, site);
    List<double> weights, scores, now(host(logs));
    for (Index task : round.present) now[task] = std::log(above_bound(round.mean[task], task, site));
    for (Index row = 0; row < round.rows.size(); ++row)
      weights.push_back(above_bound(round.rows[row], round.ids[row], site));  // D
    compare(round.present, now);

    List<double> z(host(logits)), waits(host(waiting));
    for (Index task : round.ids) scores.push_back(z[task]);
    z = detail::softmax_weights(scores, 1);
    double sum = 0;
    for (Index row = 0; row < z.size(); ++row) sum += weights[row] = z[row] / weights[row];
    for (double& weight : weights) weight /= sum;
    for (Index task : round.present) waits[task] = 1;
    logs = from_vector(now), waiting = from_vector(waits);
    return {.weights = from_vector(weights)};
  }

  /// Tells the `losses` [rows] of the last round's batches after the model's step; `ids` are the tasks behind them, 0,
  /// 1, ... if there are none. Of a task that was in no round since, nothing is taken. Throws ValueError for losses as
  /// above, ShapeError unless there is one for each of `ids`, IndexError for a task that there is not.
  void after(const Tensor<double>& losses, const List<Index>& ids = {}, Site site = Site::current()) {
    if (losses.rank() != 1 || losses.count() < 1)
      fail<ShapeError>("Famo", "expected losses [rows]", {{"losses", losses.shape()}}, site);
    TaskGradients told(zeros<double>({losses.count(), 0}), losses, Random());
    if (ids.size() > 0) told.ids = ids;
    told.all_tasks = logits.defined() ? logits.count() : losses.count();
    const auto round = detail::task_losses("Famo", told, detail::Range::finite, site);
    start(round.tasks, site);
    List<double> now(round.tasks), waits(host(waiting));
    for (Index task : round.present) now[task] = std::log(above_bound(round.mean[task], task, site));
    compare(round.present, now);
    for (Index task : round.present) waits[task] = 0;
    waiting = from_vector(waits);
  }

 private:
  void start(Index tasks, Site site) {
    const Index bounds = options.lower_bounds.size();
    if (bounds > 0 && bounds != tasks)
      fail<ShapeError>("Famo", {bounds, " lower bounds for ", tasks, " tasks"}, {}, site);
    for (Tensor<double>* state : {&logits, &mean, &square, &steps, &logs, &waiting})
      detail::start_state("Famo", *state, tasks, 0, site);
  }
  /// D of a loss.
  double above_bound(double loss, Index task, Site site) const {
    const double bound = options.lower_bounds.size() > 0 ? options.lower_bounds[task] : 0;
    const double above = loss - bound + options.epsilon;
    if (!(above > 0) || !std::isfinite(above))
      fail("Famo", {"the loss of task ", task, " is ", loss, ", expected more than its lower bound ", bound}, {}, site);
    return above;
  }
  /// A step of w with the tasks of `present` that wait; `now` [tasks] are their ln D.
  void compare(const List<Index>& present, const List<double>& now) {
    List<Index> tasks;
    List<double> w(host(logits)), m(host(mean)), v(host(square)), t(host(steps)), scores;
    const std::span<const double> before = host(logs), waits = host(waiting);
    const auto delta = [&](Index task) { return before[static_cast<std::size_t>(task)] - now[task]; };
    for (Index task : present)
      if (waits[static_cast<std::size_t>(task)] > 0) {
        tasks.push_back(task);
        scores.push_back(w[task]);
      }
    if (tasks.empty()) return;
    const List<double> z = detail::softmax_weights(scores, 1);
    double average = 0;  // sum_i z_i delta_i
    for (Index k = 0; k < tasks.size(); ++k) average += z[k] * delta(tasks[k]);
    constexpr double beta1 = 0.9, beta2 = 0.999, small = 1e-8;  // Adam's own
    for (Index k = 0; k < tasks.size(); ++k) {
      const Index i = tasks[k];
      const double slope = z[k] * (delta(i) - average) + options.decay * w[i];
      ++t[i];
      m[i] = beta1 * m[i] + (1 - beta1) * slope;
      v[i] = beta2 * v[i] + (1 - beta2) * slope * slope;
      const double first = m[i] / (1 - std::pow(beta1, t[i])), second = v[i] / (1 - std::pow(beta2, t[i]));
      w[i] -= options.learning_rate * first / (std::sqrt(second) + small);
    }
    logits = from_vector(w), mean = from_vector(m), square = from_vector(v), steps = from_vector(t);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
