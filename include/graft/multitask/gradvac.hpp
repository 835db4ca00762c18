#pragma once
// Gradient vaccine: gradients are turned until they are as similar as they have been on average. Wang, Tsvetkov, Firat,
// Cao, "Gradient vaccine: investigating and improving multi-task optimization in massively multilingual models", ICLR
// 2021. Formula as the catalogue of methods has it; the paper was not read. Implementations differ in when a target
// moves: here at every comparison, after its step, so that tasks which agree come to be held to it.

#include <limits>

#include "graft/common/gramian.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of GradVac.
struct GradVacOptions {
  double beta = 0.5;  ///< in [0, 1], what a new cosine counts for in the target; LibMTL's default
};

/// What one round gives: the weights [tasks] of the tasks' gradients, and the cosines [tasks, tasks] of p_i and g_j
/// that were compared with the targets, which stand where nothing was compared.
struct GradVacStep {
  Tensor<double> weights, cosines;
};

/// From the Gramian [tasks, tasks] of the tasks' gradients g_i and the targets r [tasks, tasks], cosines in [-1, 1]:
///   p_i = g_i;  for j != i in random order: c = cos(p_i, g_j); if c < r_ij:
///     p_i += |p_i| (r_ij sqrt(1 - c^2) - c sqrt(1 - r_ij^2)) / (|g_j| sqrt(1 - r_ij^2)) g_j;   direction = sum_i p_i.
/// After a step cos(p_i, g_j) = r_ij. With targets of 0 it is PCGrad, with the same random orders. Each p_i is kept as
/// its weights on the rows. Gradients of 0, and a p_i that has come to 0, are compared with nothing. The step to a
/// target of 1 would be infinite: targets above 1 - 1e-8 count as that, and p_i grows to at most 7100 times its length.
/// Carries no gradient. Throws ShapeError, ValueError for a Gramian that is not finite or targets outside [-1, 1].
inline GradVacStep gradvac_step(const Tensor<double>& gramian, const Tensor<double>& targets, const Random& random,
                                Site site = Site::current()) {
  const detail::HostGramian products("gradvac_step", gramian, site);
  const Index tasks = products.tasks();
  if (!(targets.shape() == gramian.shape()))
    fail<ShapeError>("gradvac_step", "expected a target for each pair of tasks",
                     {{"gramian", gramian.shape()}, {"targets", targets.shape()}}, site);
  List<double> compared(host(targets)), weights(tasks), length;
  for (double target : compared)
    if (!(std::abs(target) <= 1)) fail("gradvac_step", {"a target cosine is ", target, ", expected -1 to 1"}, {}, site);
  for (Index i = 0; i < tasks; ++i) length.push_back(std::sqrt(products(i, i)));
  const double rounding = 4 * static_cast<double>(tasks) * std::numeric_limits<double>::epsilon();

  for (Index i = 0; i < tasks; ++i) {
    List<double> w(tasks);  // p_i = sum_k w_k g_k
    w[i] = 1;
    for (Index j : random.stream(static_cast<std::uint64_t>(i)).permutation(tasks)) {
      if (j == i || length[j] == 0) continue;
      double along = 0, squared = 0, size = 0;  // <p_i, g_j>, |p_i|^2
      for (Index k = 0; k < tasks; ++k) {
        along += w[k] * products(k, j);
        size += std::abs(w[k]) * length[k];
        for (Index l = 0; l < tasks; ++l) squared += w[k] * products(k, l) * w[l];
      }
      if (!(squared > rounding * size * size)) continue;
      const double c = std::clamp(along / std::sqrt(squared) / length[j], -1.0, 1.0);
      double& entry = compared[i * tasks + j];
      const double r = std::min(entry, 1 - 1e-8);
      if (c < r) {
        const double sine = std::sqrt((1 - c) * (1 + c)), wanted = std::sqrt((1 - r) * (1 + r));
        w[j] += std::sqrt(squared) / length[j] * (r * sine - c * wanted) / wanted;
      }
      entry = c;
    }
    for (Index k = 0; k < tasks; ++k) weights[k] += w[k];
  }
  return {from_vector(weights), from_vector(compared, {tasks, tasks})};
}

/// GradVac as an aggregator, divided by the number of tasks: its first round is PCGrad's. It remembers a target for
/// each pair of all tasks; that of a pair which does not meet in a round stays.
struct GradVac {
  GradVacOptions options;
  Tensor<double> targets;  ///< [tasks, tasks]: the moving averages of the cosines, at first 0
  GRAFT_FIELDS(targets)
  GRAFT_CONFIG(options)

  /// For `tasks` tasks, or, if 0, for as many as there are in the first round, when the targets are made. Throws
  /// ValueError.
  explicit GradVac(Index tasks = 0, GradVacOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("GradVac", "tasks", tasks, 0, site);
    if (!(o.beta >= 0 && o.beta <= 1)) fail("GradVac", {"beta is ", o.beta, ", expected 0 to 1"}, {}, site);
    if (tasks > 0) targets = zeros<double>({tasks, tasks});
  }

  /// Throws ShapeError for another number of tasks than before, IndexError for a row of no task, ValueError for
  /// gradients that are not finite.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) {
    const Index rows = gradients.tasks(), all = gradients.all_tasks;
    if (!targets.defined()) targets = zeros<double>({all, all});
    if (!(targets.shape() == Shape{all, all}))
      fail<ShapeError>("GradVac", {"the targets are not those of ", all, " tasks"}, {{"targets", targets.shape()}},
                       site);
    detail::check_ids("GradVac", gradients, site);
    List<double> remembered(host(targets)), of_rows;
    for (Index i : gradients.ids)
      for (Index j : gradients.ids) of_rows.push_back(remembered[i * all + j]);
    const GradVacStep step =
        gradvac_step(gradients.gramian(), from_vector(of_rows, {rows, rows}), gradients.random(), site);
    const List<double> cosines(host(step.cosines));
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < rows; ++j) {
        const double cosine = cosines[i * rows + j];
        double& target = remembered[gradients.ids[i] * all + gradients.ids[j]];
        if (cosine != of_rows[i * rows + j]) target += options.beta * (cosine - target);  // it was compared
      }
    targets = from_vector(remembered, {all, all});
    return {.weights = step.weights / static_cast<double>(rows)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
