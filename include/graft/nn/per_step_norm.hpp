#pragma once
// Batch norm for the inner steps of meta-learning: Antoniou, Edwards, Storkey, "How to train your MAML", ICLR 2019,
// per-step running statistics (BNRS) and per-step weights and biases (BNWB). Features change from step to step of the
// inner loop, so one set of statistics, weights and biases for all of them fits none. Compared with the authors' code.

#include <string>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/nn/norm.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A `BatchNorm` for each inner step: x [..., channels] -> the same shape, by that of the step that was chosen with
/// `at_inner_step`, at first step 0. Both modes of BatchNorm are there. In mode `running` batches are normalised by
/// their own statistics in training, which are averaged for every step apart, and by these averages in evaluation: a
/// query's answer does not depend on the others. In mode `batch` by their own statistics always, without averages: that
/// is what the authors' code does, which keeps averages of every step but never reads them, so that it is transductive.
template <class T = float>
struct PerStepBatchNorm {
  std::vector<BatchNorm<T>> steps;  ///< weight, bias [channels] and running statistics of every inner step
  Buffer<std::int64_t> inner_step;  ///< [2]: the step that is chosen, and how many there are
  GRAFT_FIELDS(steps, inner_step)

  PerStepBatchNorm() = default;
  /// Weights 1, biases 0. Throws ValueError for less than one step.
  PerStepBatchNorm(Index channels, Index count, BatchNormOptions o = {}, Site site = Site::current()) {
    if (count < 1) fail("PerStepBatchNorm", {"steps is ", count, ", expected 1 or more"}, {}, site);
    for (Index step = 0; step < count; ++step) steps.emplace_back(channels, o, site);
    inner_step.value = tensor<std::int64_t>({0, count});
  }

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("PerStepBatchNorm", site);
    if (steps.empty()) fail("PerStepBatchNorm", "called before it was made", {{"x", x.shape()}}, site);
    const std::int64_t step = host(inner_step.value)[0];
    if (step < 0 || step >= std::ssize(steps))
      fail<IndexError>("PerStepBatchNorm", {"step ", step, " of ", steps.size()}, {{"x", x.shape()}}, site);
    return steps[static_cast<std::size_t>(step)](x, context, site);
  }
};

namespace detail {

/// Chooses the inner step of every PerStepBatchNorm among the leaves, which it knows by name and shape.
[[gnu::noinline]] inline void choose_inner_step(const char* op, const LeafList& leaves, Index step, Site site) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].buffer || !leaves[i].holds<std::int64_t>()) continue;
    Tensor<std::int64_t>& chosen = leaves[i].as<std::int64_t>();
    if (!chosen.defined() || !(chosen.shape() == Shape{2})) continue;
    if (names.empty()) names = leaves.names();
    const std::string own = "inner_step", &name = names[i];
    if (name != own && !(name.size() > own.size() && name.ends_with("." + own))) continue;
    const std::int64_t count = host(chosen)[1];
    if (step < 0 || step >= count) fail<IndexError>(op, {"step ", step, " of the ", count, " of ", name}, {}, site);
    chosen = tensor<std::int64_t>({step, count});
  }
}

}  // namespace detail

/// `model` with inner step number `step`, from 0 on, chosen in all its `PerStepBatchNorm`, however deep; parameters and
/// statistics are the model's own. A model without any is as it was. Throws IndexError for a step that one of them does
/// not have.
template <Model M>
[[nodiscard]] M at_inner_step(const M& model, Index step, Site site = Site::current()) {
  M result = model;
  detail::choose_inner_step("at_inner_step", detail::leaves_of(result), step, site);
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
