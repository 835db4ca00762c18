#pragma once
// Merging of models that were tuned on several tasks from one start. Yadav, Tam, Choshen, Raffel, Bansal,
// "TIES-Merging: resolving interference when merging models", NeurIPS 2023. Compared with the package PEFT.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/common/checks.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/model/arithmetic.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `ties`; the authors'.
struct TiesOptions {
  static constexpr DataNeeds needs{.labels = false, .derivatives = 0};
  double density = 0.2;  ///< share of each task's numbers that is kept, the largest ones
  double lambda = 1;     ///< of the merged change
};

/// start + lambda tau. Of the changes tau_t = model_t - start of each task only the largest `density` are kept
/// (trimmed); at each place the sign of their sum is elected, where it is 0 that of the sum of all signs; tau is the
/// mean of the changes of that sign, of those that are not 0 (disjoint). Of changes of equal size at the edge the first
/// are kept. Buffers and frozen marks are the start's; no gradient flows. Throws ValueError for no models, a density
/// outside [0, 1], a lambda that is not finite, and for numbers that are not; ShapeError, which names the parameter,
/// for models of another architecture.
template <ModelTree M>
M ties(const M& start, const std::vector<M>& models, const TiesOptions& o = {}, Site site = Site::current()) {
  using T = ModelScalar<M>;
  if (models.empty()) fail("ties", "there are no models", {}, site);
  if (!(o.density >= 0 && o.density <= 1))
    fail("ties", {"density is ", o.density, ", expected 0 <= density <= 1"}, {}, site);
  detail::check_option<T>("ties", "lambda", o.lambda, detail::Range::finite, site);
  for (const M& model : models) detail::check_same_shapes("ties", start, model, site);
  const Recording off(false);
  const Index n = count(start);
  const auto kept = static_cast<Index>(std::floor(o.density * static_cast<double>(n)));
  List<List<double>> changes;
  List<double> sizes;
  for (const M& model : models) {
    const Tensor<T> change = to_vector(detach(model) - detach(start));
    List<double> own(n);
    const auto numbers = host(change);
    for (Index i = 0; i < n; ++i) own[i] = static_cast<double>(numbers[static_cast<std::size_t>(i)]);
    sizes = own;
    for (double& size : sizes) {
      size = std::fabs(size);
      if (!std::isfinite(size)) fail("ties", "a model or the start holds a number that is not finite", {}, site);
    }
    Index at_edge = 0;  // how many of the smallest size that is kept
    double edge = 0;
    if (kept > 0 && kept < n) {
      std::nth_element(sizes.begin(), sizes.begin() + (n - kept), sizes.end());
      edge = sizes[n - kept];
      for (Index i = n - kept; i < n; ++i) at_edge += sizes[i] == edge;
    }
    for (double& change_of : own) {
      const double size = std::fabs(change_of);
      const bool keep = kept == n || (kept > 0 && (size > edge || (size == edge && at_edge-- > 0)));
      if (!keep) change_of = 0;
    }
    changes.push_back(own);
  }
  List<double> total(n);
  double signs = 0;
  for (Index i = 0; i < n; ++i) {
    for (Index t = 0; t < changes.size(); ++t) total[i] += changes[t][i];
    signs += (total[i] > 0) - (total[i] < 0);
  }
  List<T> merged(n);
  for (Index i = 0; i < n; ++i) {
    const double sign = total[i] != 0 ? total[i] : signs;
    double sum = 0, voters = 0;
    for (Index t = 0; t < changes.size(); ++t) {
      if (!(changes[t][i] * sign > 0)) continue;
      sum += changes[t][i];
      ++voters;
    }
    merged[i] = static_cast<T>(voters > 0 ? sum / voters : 0);
  }
  return axpy(o.lambda, from_vector(from_vector(merged), start), detach(start), site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
