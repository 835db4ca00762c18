#pragma once
// Gradient sign dropout: in each coordinate, gradients of one sign only. Chen, Ngiam, Huang, Luong, Kretzschmar, Chai,
// Anguelov, "Just pick a sign: optimizing deep multitask models with gradient sign dropout", NeurIPS 2020. The paper
// acts on the gradients of activations; here, as for every aggregator, they are those of the shared parameters.

#include "graft/common/gramian.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of GradDrop; the defaults are the paper's pure form.
struct GradDropOptions {
  /// In [0, 1], one a row (in `GradDrop`: one for each of all tasks): the part of a gradient that is kept whatever its
  /// sign. None: 0 each.
  List<double> leak = {};
  /// f: how the purity in [0, 1] becomes the probability of the positive sign, elementwise; rising, with f(1 - P) = 1 -
  /// f(P). None: the identity.
  Tensor<double> (*probability)(const Tensor<double>& purity) = nullptr;
};

/// The combined direction [n] of the rows g_i of `jacobian` [tasks, n]:
///   P = (1 + sum_i g_i / sum_i |g_i|) / 2  (1/2 where all are 0),   U uniform in [0, 1) in each coordinate,
///   direction = sum_i leak_i g_i + (1 - leak_i) (the positive part of g_i where U < f(P), else the negative part).
/// Over U its mean is sum_i g_i, with no leaks or equal ones and the identity for f. Differentiable in the rows, with
/// the picked signs held fixed. Throws ShapeError, ValueError without tasks, for numbers that are not finite, and for a
/// leak outside [0, 1] or of another length.
inline Tensor<double> graddrop(const Tensor<double>& jacobian, const Random& random,
                               const GradDropOptions& options = {}, Site site = Site::current()) {
  if (jacobian.rank() != 2)
    fail<ShapeError>("graddrop", "expected one gradient a row, [tasks, n]", {{"jacobian", jacobian.shape()}}, site);
  const Index tasks = jacobian.size(0), n = jacobian.size(1);
  if (tasks == 0) fail("graddrop", "there are no tasks", {}, site);
  if (!all_finite(jacobian)) fail("graddrop", "the gradients are not finite", {{"jacobian", jacobian.shape()}}, site);
  const List<double> leaks = detail::task_numbers("graddrop", "leak", options.leak, tasks, 0, site);
  for (double one : leaks)
    if (one > 1) fail("graddrop", {"leak is ", one, ", expected 0 to 1"}, {}, site);

  const Tensor<double> g = jacobian.detach(), total = sum(g, {0}), sizes = sum(abs(g), {0});
  Tensor<double> p = 0.5 * (1 + total / where(sizes > 0.0, sizes, 1.0));
  if (options.probability) p = options.probability(p);
  const Tensor<bool> is_positive = rand<double>({n}, random) < p;
  const Tensor<double> leak = reshape(from_vector(leaks), {tasks, 1}), kept = (1 - leak) * jacobian;
  return sum(leak * jacobian, {0}) + where(is_positive, sum(maximum(kept, 0.0), {0}), sum(minimum(kept, 0.0), {0}));
}

/// GradDrop as an aggregator, divided by the number of tasks: where all signs agree it is the mean.
struct GradDrop {
  GradDropOptions options = {};
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)

  /// Throws ValueError as `graddrop`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    GradDropOptions rows = options;
    rows.leak = detail::by_row("GradDrop", "leak", options.leak, gradients, site);
    return {.direction = graddrop(gradients.jacobian(), gradients.random(), rows, site) /
                         static_cast<double>(gradients.tasks())};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
