#pragma once
// Multiple-gradient descent. Desideri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization",
// Comptes Rendus Mathematique 350, 2012; for the tasks of a network: Sener, Koltun, "Multi-task learning as
// multi-objective optimization", NeurIPS 2018, whose Frank-Wolfe iteration is here an exact active-set method.

#include "graft/common/gramian.hpp"
#include "graft/common/simplex_qp.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Weights [tasks] of the tasks' gradients g_i in the combined direction d, from their Gramian [tasks, tasks]:
///   d = the shortest sum_i a_i g_i   over a >= 0, sum_i a_i = 1.
/// Then <d, g_i> >= |d|^2 for all tasks, and d is 0 exactly where the point is Pareto-stationary; a gradient of 0 is
/// such a point. Short gradients have large weights. Carries no gradient. Throws ShapeError for a Gramian that is not
/// square, ValueError without tasks and for numbers that are not finite.
inline Tensor<double> mgda_weights(const Tensor<double>& gramian, Site site = Site::current()) {
  const detail::HostGramian m("mgda_weights", gramian, site);
  detail::SimplexQp shortest(m.tasks(), m.numbers());
  shortest.solve();
  return from_vector(shortest.weights());
}

/// What gradients are divided by before weights are sought, as in the authors' code ("none", "l2", "loss", "loss+"):
/// nothing, the gradient's length, the task's loss, or the product of the two.
enum class MgdaNormalise { none, l2, loss, loss_l2 };

/// Options of MGDA.
struct MgdaOptions {
  /// The paper's method has no normalisation; the authors' code offers it as an option.
  MgdaNormalise normalise = MgdaNormalise::none;
  /// The weights found for normalised gradients are the authors' for the gradients themselves; or, if true, the
  /// direction is made of the normalised ones, so that <d, g_i> >= 0 holds for all tasks again.
  bool combine_normalised = false;
};

/// MGDA as an aggregator.
struct Mgda {
  MgdaOptions options = {};
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)

  /// Throws ValueError as `mgda_weights`, and where losses are asked for and are not known or not above 0. A gradient
  /// of 0 is not divided by anything.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    const Index tasks = gradients.tasks();
    const bool by_length = options.normalise == MgdaNormalise::l2 || options.normalise == MgdaNormalise::loss_l2;
    const bool by_loss = options.normalise == MgdaNormalise::loss || options.normalise == MgdaNormalise::loss_l2;
    if (!by_length && !by_loss) return {.weights = mgda_weights(gradients.gramian(), site)};
    const detail::Cosines cosines("Mgda", gradients.gramian(), site);
    if (by_loss && !gradients.losses().defined()) fail("Mgda", "the tasks' losses are not known", {}, site);
    List<double> length(tasks), divisor(tasks, 1);
    for (Index i = 0; i < tasks; ++i) {
      length[i] = cosines.length(i);
      if (length[i] == 0) continue;
      if (by_length) divisor[i] = length[i];
      if (by_loss) {
        const double loss = host(gradients.losses())[static_cast<std::size_t>(i)];
        if (!(std::isfinite(loss) && loss > 0))
          fail("Mgda", {"the loss of task ", gradients.ids[i], " is ", loss, ", expected above 0"}, {}, site);
        divisor[i] *= loss;
      }
    }
    List<double> normalised(tasks * tasks), weights(tasks);
    for (Index i = 0; i < tasks; ++i)
      for (Index j = 0; j < tasks; ++j)
        normalised[i * tasks + j] = cosines(i, j) * (length[i] / divisor[i]) * (length[j] / divisor[j]);
    const Tensor<double> found = mgda_weights(from_vector(normalised, {tasks, tasks}), site);
    for (Index i = 0; i < tasks; ++i)
      weights[i] = host(found)[static_cast<std::size_t>(i)] / (options.combine_normalised ? divisor[i] : 1);
    return {.weights = from_vector(weights)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
