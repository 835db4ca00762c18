#pragma once
// Cross-stitch networks. Misra, Shrivastava, Gupta, Hebert, "Cross-stitch networks for multi-task learning", CVPR 2016.

#include <vector>

#include "graft/common/task_models.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How the stitches of a `CrossStitch` start: a task takes `own` of its own activations, the others share the rest
/// evenly. The paper starts at 0.9 and 0.1 with two tasks, and finds sums of 1 to be needed.
struct CrossStitchOptions {
  double own = 0.9;
};

/// A net a task, all of the same layers; after each layer but the last the tasks' activations mix,
///   x_i <- sum_j a_ij x_j     (the paper's equation 1),
/// with learned a. The identity makes the nets independent. Activations of the tasks have one shape.
template <class Layer, class T = float>
struct CrossStitch {
  std::vector<std::vector<Layer>> nets;  ///< [tasks][layers]
  std::vector<Tensor<T>> stitches;       ///< [layers - 1] of [tasks, tasks]
  GRAFT_FIELDS(nets, stitches)

  CrossStitch() = default;
  explicit CrossStitch(std::vector<std::vector<Layer>> all_nets, const CrossStitchOptions& o = {},
                       Site site = Site::current())
      : nets(std::move(all_nets)) {
    detail::check_option<T>("CrossStitch", "own", o.own, detail::Range::finite, site);
    if (nets.empty() || nets[0].empty()) fail("CrossStitch", "has no nets, or nets without layers", {}, site);
    check_nets(site);
    const auto tasks = static_cast<Index>(nets.size());
    const double others = tasks > 1 ? (1 - o.own) / static_cast<double>(tasks - 1) : 0;
    for (std::size_t l = 1; l < nets[0].size(); ++l)
      stitches.push_back(generate({tasks, tasks}, [&](Index i, Index j) {
        return static_cast<T>(tasks == 1 ? 1 : i == j ? o.own : others);
      }));
  }

  /// The answers of all tasks, each to its own items.
  std::vector<Tensor<T>> operator()(std::vector<Tensor<T>> x, ContextRef context, Site site = Site::current()) const {
    const Named here("CrossStitch", site);
    if (x.size() != nets.size() || nets.empty())
      fail("CrossStitch", {x.size(), " inputs for ", nets.size(), " tasks"}, {}, site);
    check_nets(site);
    const std::size_t gaps = nets[0].empty() ? 0 : nets[0].size() - 1;
    detail::check_parts("CrossStitch", "stitches", stitches.size(), "gaps between layers", gaps, site);
    for (std::size_t l = 0; l < nets[0].size(); ++l) {
      for (std::size_t t = 0; t < nets.size(); ++t) x[t] = answer_of(nets[t][l], x[t], context);
      if (l < stitches.size()) x = stitched(x, stitches[l], site);
    }
    return x;
  }
  std::vector<Tensor<T>> all(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    return (*this)(std::vector<Tensor<T>>(nets.size(), x), context, site);
  }
  /// A task's answer to its own items; the other nets run on them, too.
  Tensor<T> operator()(const Tensor<T>& x, Index task, ContextRef context, Site site = Site::current()) const {
    detail::check_task("CrossStitch", task, nets.size(), site);
    return all(x, context, site)[static_cast<std::size_t>(task)];
  }

 private:
  void check_nets(Site site) const {
    for (const auto& net : nets)
      if (net.size() != nets[0].size())
        fail("CrossStitch", {"nets of ", nets[0].size(), " and of ", net.size(), " layers"}, {}, site);
  }
  static std::vector<Tensor<T>> stitched(const std::vector<Tensor<T>>& x, const Tensor<T>& a, Site site) {
    const auto tasks = static_cast<Index>(x.size());
    const Tensor<T> rows = stack(x, 0, site);  // [tasks, items, ...]
    const Tensor<T> mixed = matmul(a, reshape(rows, {tasks, rows.count() / tasks}), {}, site);
    std::vector<Tensor<T>> parts;
    for (Index t = 0; t < tasks; ++t)
      parts.push_back(reshape(slice(mixed, 0, t, t + 1), x[static_cast<std::size_t>(t)].shape(), site));
    return parts;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
