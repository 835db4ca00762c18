#pragma once
// Projecting conflicting gradients. Yu, Kumar, Gupta, Levine, Hausman, Finn, "Gradient surgery for multi-task
// learning", NeurIPS 2020, Algorithm 1.

#include "graft/common/gramian.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Weights [tasks] of the tasks' gradients g_i in the combined direction, from their Gramian [tasks, tasks]:
///   p_i = g_i;  for j != i in random order: if <p_i, g_j> < 0: p_i -= <p_i, g_j> / |g_j|^2 g_j;  direction = sum_i
///   p_i.
/// Each p_i is kept as its weights on the rows, p_i = sum_k w_k g_k, so only the Gramian is needed. A zero gradient
/// changes nothing. `random` decides the orders. Carries no gradient. Throws ShapeError for a Gramian that is not
/// square, ValueError without tasks and for numbers that are not finite.
inline Tensor<double> pcgrad_weights(const Tensor<double>& gramian, const Random& random, Site site = Site::current()) {
  const detail::HostGramian inner("pcgrad_weights", gramian, site);
  const Index tasks = inner.tasks();
  List<double> weights(tasks);
  for (Index i = 0; i < tasks; ++i) {
    List<double> w(tasks);
    w[i] = 1;                                                                          // line 3
    for (Index j : random.stream(static_cast<std::uint64_t>(i)).permutation(tasks)) {  // line 4
      if (j == i || inner(j, j) == 0) continue;
      double along = 0;  // <p_i, g_j>
      for (Index k = 0; k < tasks; ++k) along += w[k] * inner(k, j);
      if (along < 0) w[j] -= along / inner(j, j);  // lines 5-6
    }
    for (Index k = 0; k < tasks; ++k) weights[k] += w[k];  // line 7
  }
  return from_vector(weights);
}

/// The combined direction [n] of the rows of `jacobian` [tasks, n]; see `pcgrad_weights`.
template <Real T>
Tensor<T> pcgrad(const Tensor<T>& jacobian, const Random& random, Site site = Site::current()) {
  if (jacobian.rank() != 2)
    fail<ShapeError>("pcgrad", "expected one gradient a row, [tasks, n]", {{"jacobian", jacobian.shape()}}, site);
  const Tensor<double> g = cast<double>(jacobian.detach());
  const Tensor<double> weights = pcgrad_weights(matmul(g, g, {.transpose_b = true}), random, site);
  return cast<T>(reshape(matmul(reshape(weights, {1, g.size(0)}), g), {g.size(1)}));
}

/// PCGrad as an aggregator, divided by the number of tasks: without conflicts it is the mean.
struct PcGrad {
  GRAFT_FIELDS()

  /// Throws ValueError as `pcgrad_weights`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    const double tasks = static_cast<double>(gradients.tasks());
    return {.weights = pcgrad_weights(gradients.gramian(), gradients.random(), site) / tasks};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
