#pragma once
// Multi-task attention network. Liu, Johns, Davison, "End-to-end multi-task learning with attention", CVPR 2019.

#include <vector>

#include "graft/common/task_models.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/linear.hpp"
#include "graft/nn/norm.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// sigmoid(norm(W_2 relu(norm(W_1 x)))) of the last axis: x [items, ..., in] -> [items, ..., out], each in (0, 1). On
/// maps [items, height, width, channels] these are the paper's 1 x 1 convolutions with batch norm.
template <class T = float>
struct MtanMask {
  Linear<T> squeeze, spread;
  BatchNorm<T> squeeze_norm, spread_norm;
  GRAFT_FIELDS(squeeze, spread, squeeze_norm, spread_norm)

  MtanMask() = default;
  MtanMask(Index in, Index hidden, Index out, const Random& random, const BatchNormOptions& norm = {},
           Site site = Site::current())
      : squeeze(in, hidden, random.stream("squeeze"), {.bias = false}, site),
        spread(hidden, out, random.stream("spread"), {.bias = false}, site),
        squeeze_norm(hidden, norm, site),
        spread_norm(out, norm, site) {}

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context) const {
    return sigmoid(spread_norm(spread(relu(squeeze_norm(squeeze(x), context))), context));
  }
};

/// A stage of the shared trunk in two parts, u = first(p of the stage before), p = second(u), and a mask a task.
template <class First, class Second, class T = float>
struct MtanStage {
  First first;
  Second second;
  std::vector<MtanMask<T>> masks;  ///< [tasks]
  GRAFT_FIELDS(first, second, masks)
};

/// A trunk of stages, from whose features each task takes by masks (the paper's equations 1 and 2):
///   a_t^1 = mask_t(u^1) p^1,    a_t^j = mask_t([u^j; pass_(j-1)(a_t^(j-1))]) p^j,    answer heads[t](a_t of the last)
/// `passes`, shared by the tasks, bring the features of a stage to the size of the next one's. Masks of 1 are hard
/// sharing.
template <class Stage, class Pass, class Head, class T = float>
struct Mtan {
  std::vector<Stage> stages;
  std::vector<Pass> passes;  ///< [stages - 1]
  std::vector<Head> heads;
  GRAFT_FIELDS(stages, passes, heads)

  std::vector<Tensor<T>> all(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Mtan", site);
    detail::check_task("Mtan", 0, heads.size(), site);
    if (stages.empty() || passes.size() + 1 != stages.size())
      fail("Mtan", {passes.size(), " passes between ", stages.size(), " stages"}, {}, site);
    for (const Stage& stage : stages)
      detail::check_parts("Mtan", "masks", stage.masks.size(), "tasks", heads.size(), site);
    Tensor<T> p = x;
    std::vector<Tensor<T>> taken(heads.size());
    for (std::size_t j = 0; j < stages.size(); ++j) {
      const Tensor<T> u = answer_of(stages[j].first, p, context);
      p = answer_of(stages[j].second, u, context);
      for (std::size_t t = 0; t < heads.size(); ++t) {
        Tensor<T> seen = u;
        if (j > 0) seen = concat<T>({u, answer_of(passes[j - 1], taken[t], context)}, -1, site);
        taken[t] = stages[j].masks[t](seen, context) * p;
      }
    }
    return detail::answers_of(heads, taken, context);
  }
  /// A task's answer to its own items.
  Tensor<T> operator()(const Tensor<T>& x, Index task, ContextRef context, Site site = Site::current()) const {
    detail::check_task("Mtan", task, heads.size(), site);
    return all(x, context, site)[static_cast<std::size_t>(task)];
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
