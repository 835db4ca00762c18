#pragma once
// Projecting conflicting gradients. Yu, Kumar, Gupta, Levine, Hausman, Finn, "Gradient surgery for multi-task
// learning", NeurIPS 2020, Algorithm 1.

#include <vector>

#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Combined direction of the tasks' gradients g_i, the rows of `jacobian` [tasks, n] -> [n]:
///   p_i = g_i;  for j != i in random order: if <p_i, g_j> < 0: p_i -= <p_i, g_j> / |g_j|^2 g_j;  direction = sum_i
///   p_i.
/// Each p_i is kept as its weights on the rows, p_i = sum_k w_k g_k, so only the Gramian (in double) is needed. A zero
/// gradient changes nothing. `random` decides the orders. The direction carries no gradient. Throws ShapeError.
template <Real T>
Tensor<T> pcgrad(const Tensor<T>& jacobian, const Random& random, Site site = Site::current()) {
  if (jacobian.rank() != 2)
    fail<ShapeError>("pcgrad", "expected one gradient a row, [tasks, n]", {{"jacobian", jacobian.shape()}}, site);
  const Index tasks = jacobian.size(0);
  const Tensor<double> g = cast<double>(jacobian.detach());
  const Tensor<double> gramian = matmul(g, g, {.transpose_b = true});
  const double* gram = gramian.data();

  Tensor<double> weights = zeros<double>({1, tasks});  // of each row in the direction
  for (Index i = 0; i < tasks; ++i) {
    std::vector<double, detail::CacheAllocator<double>> w(static_cast<std::size_t>(tasks), 0.0);
    w[static_cast<std::size_t>(i)] = 1;                                                // line 3
    for (Index j : random.stream(static_cast<std::uint64_t>(i)).permutation(tasks)) {  // line 4
      const double squared = gram[j * tasks + j];
      if (j == i || squared == 0) continue;
      double inner = 0;  // <p_i, g_j>
      for (Index k = 0; k < tasks; ++k) inner += w[static_cast<std::size_t>(k)] * gram[k * tasks + j];
      if (inner < 0) w[static_cast<std::size_t>(j)] -= inner / squared;  // lines 5-6
    }
    for (Index k = 0; k < tasks; ++k) detail::writable(weights)[k] += w[static_cast<std::size_t>(k)];
  }
  return cast<T>(reshape(matmul(weights, g), {jacobian.size(1)}));  // line 7
}

}  // namespace GRAFT_ABI
}  // namespace graft
