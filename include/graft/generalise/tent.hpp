#pragma once
// TENT: a model that adapts to the items that it is asked about. Wang, Shelhamer, Liu, Olshausen, Darrell, "Tent: fully
// test-time adaptation by entropy minimization", ICLR 2021. Compared with the authors' code.

#include <cmath>
#include <string>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/unlabelled.hpp"
#include "graft/core/options.hpp"
#include "graft/model/grad.hpp"
#include "graft/optim/adam.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Tent`; the authors' for CIFAR, with batches of 200 items.
struct TentOptions {
  double alpha = 1e-3;  ///< Adam's rate
  Index steps = 1;      ///< on each batch
  /// Names of the parameters that adapt, each for itself and all below it; none: scale and shift of every batch norm.
  std::vector<std::string> parts = {};
};

namespace detail {

/// The names of the scales and shifts of batch norms, which are known by their running mean: also where there is none,
/// in mode `batch`.
[[gnu::noinline]] inline std::vector<std::string> batch_norm_parts(const LeafList& leaves) {
  const std::vector<std::string> names = leaves.names();
  const std::string own = "running_mean";
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!leaves[i].buffer || !names[i].ends_with(own)) continue;
    const std::string before = names[i].substr(0, names[i].size() - own.size());
    if (!before.empty() && before.back() != '.') continue;
    for (std::size_t j = 0; j < names.size(); ++j)
      if (leaves[j].is_parameter() && leaves[j].tensor->defined() &&
          (names[j] == before + "weight" || names[j] == before + "bias"))
        parts.push_back(names[j]);
  }
  return parts;
}

}  // namespace detail

/// A model and what it has learnt since it is deployed. Each batch is answered with the statistics of the batch itself
/// in its batch norms; then `steps` steps of Adam lower the mean entropy of the answers, by the scales and shifts of
/// normalisation layers alone: all other parameters keep their bits. What was learnt stays for later batches; a copy
/// made before starts anew. Items of one batch see one another.
template <Model M>
struct Tent {
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};
  M model;
  Adam<M> optimizer;
  TentOptions options;
  GRAFT_FIELDS(model, optimizer)
  GRAFT_CONFIG(options)

  /// Throws ValueError for less than one step, a rate that is not above 0, a part that the model does not have, and,
  /// where none is named, a model without batch norms.
  explicit Tent(const M& source, const TentOptions& o = {}, Site site = Site::current())
      : model(detach(source)), optimizer(source, {}, site), options(o) {
    detail::check_count("Tent", "steps", o.steps, 1, site);
    detail::for_each_scalar<M>(
        [&]<class T>() { detail::check_option<T>("Tent", "alpha", o.alpha, detail::Range::positive, site); });
    if (options.parts.empty()) options.parts = detail::batch_norm_parts(detail::leaves_of(model));
    if (options.parts.empty())
      fail("Tent", "the model has no batch norm with a scale: name the parts that adapt", {}, site);
    detail::NameSet(options.parts).check("Tent", detail::parameters_of(model), site);
  }

  /// Logits [items, classes] of a batch x [items, ...], as they were before the last step, and the steps. The model is
  /// called as in training, dropout included, as the authors do; its running statistics stay. Throws ValueError for an
  /// empty batch and when the entropy is not finite.
  template <Real T>
  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) {
    const Named here("Tent", site);
    if (x.rank() < 1 || x.size(0) == 0) fail("Tent", "the batch has no items", {{"x", x.shape()}}, site);
    Context own(Phase::training, context->stream("tent"));
    Tensor<T> logits;
    const auto entropy = [&](const M& at) {
      const Tensor<T> answers = answer_of(at, x, own);
      logits = answers.detach();
      return mean(softmax_entropy(answers, site));
    };
    for (Index step = 0; step < options.steps; ++step) {
      const auto [value, gradient] = value_and_grad(entropy, model, Only(options.parts), {.create_graph = false}, site);
      if (!std::isfinite(value.item()) || !all_finite(gradient))
        fail("Tent", {"the entropy or its gradient is not finite at step ", step}, {{"x", x.shape()}}, site);
      optimizer.step(model, gradient, options.alpha, site);
    }
    return logits;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
