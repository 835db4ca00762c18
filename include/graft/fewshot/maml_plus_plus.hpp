#pragma once
// MAML++. Antoniou, Edwards, Storkey, "How to train your MAML", ICLR 2019: MAML with a query loss after every inner
// step, learned rates of every step and parameter, batch norms of every step, and first-order gradients at the
// beginning of training. Its cosine schedule of the outer rate is `Schedule::cosine`. Compared with the authors' code.

#include <algorithm>
#include <string>
#include <vector>

#include "graft/common/inner_loop.hpp"
#include "graft/nn/per_step_norm.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Schedules of `MamlPlusPlus`, in rounds: what the caller counts, epochs of 500 meta-steps in the authors' code.
/// Defaults are those of the authors' settings for Omniglot.
struct MamlPlusPlusOptions {
  Index anneal_rounds = 10;      ///< after so many only the query loss of the last step counts
  Index first_order_rounds = 0;  ///< so many begin with first-order gradients
  Index round = 0;               ///< rounds done; the caller raises it
};

/// The rates of `maml_plus_plus_model`; the authors' for Omniglot, who in addition keep all norms.
struct MamlPlusPlusRates {
  int steps = 5;                       ///< inner gradient steps
  double alpha = 0.1;                  ///< every rate at first
  std::vector<std::string> kept = {};  ///< parts without rates, which inner steps leave as they are
};

/// Weights [steps] of the query losses after steps 1 .. steps, for a `progress` of the annealing from 0 to 1:
///   w_k = (1 - progress) / steps for k < steps,  w_steps = 1 - sum of these;
/// equal at first, the last step alone in the end and for a progress above 1. (The authors' code keeps 0.03 / steps on
/// the earlier ones until the end.) Throws ValueError for less than one step, or a negative progress.
inline std::vector<double> multi_step_weights(int steps, double progress, Site site = Site::current()) {
  detail::check_count("multi_step_weights", "steps", steps, 1, site);
  if (!(progress >= 0)) fail("multi_step_weights", {"progress is ", progress, ", expected 0 or more"}, {}, site);
  const double earlier = (1 - std::min(progress, 1.0)) / steps;
  std::vector<double> weights(static_cast<std::size_t>(steps), earlier);
  weights.back() = 1 - (steps - 1) * earlier;
  return weights;
}

/// `model` and rates for `MamlPlusPlus`: every parameter that is not kept has [steps] of its own. Throws ValueError for
/// less than one step, a rate that is not finite, or a name that the model does not have.
template <Model M>
ModelWithRates<M> maml_plus_plus_model(const M& model, const MamlPlusPlusRates& rates = {},
                                       Site site = Site::current()) {
  detail::check_count("maml_plus_plus_model", "steps", rates.steps, 1, site);
  detail::for_each_scalar<M>([&]<class T>() {
    detail::check_option<T>("maml_plus_plus_model", "alpha", rates.alpha, detail::Range::finite, site);
  });
  std::vector<bool> kept;
  detail::NameSet(rates.kept).choose("maml_plus_plus_model", detail::parameters_of(model), kept, site);
  M of_steps = detail::rates_like(
      model, [&]<class T>(const Tensor<T>&) { return full<T>({rates.steps}, static_cast<T>(rates.alpha)); });
  const detail::LeafList parameters = detail::parameters_of(of_steps);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (kept[i]) *parameters[i].tensor = AnyTensor();
  return {model, of_steps};
}

/// MAML++ as a few-shot method; its model is a `ModelWithRates` of `maml_plus_plus_model`:
///   phi_0 = theta,  phi_k = phi_{k-1} - alpha_k * grad loss(phi_{k-1}, support), one alpha_k a parameter tensor,
///   train_loss = sum_k w_k loss(phi_k, query),  w = multi_step_weights(steps, round / anneal_rounds).
/// A parameter without rates stays as it is in theta. Where the model has `PerStepBatchNorm`, the losses at phi_{k-1},
/// support, and phi_k, query, are by their norms number k-1, and an adapted model has the last ones chosen. At the end
/// of the annealing and with equal rates that is MAML. Rates may become negative. Throws ShapeError for rates that are
/// not [steps] everywhere, IndexError for per-step norms of fewer steps, ValueError for negative rounds and when a
/// support loss, a query loss that counts or an adapted parameter is not finite.
template <class Loss = ClassificationLoss>
struct MamlPlusPlus {
  static constexpr Needs needs{.derivatives = 2, .any_ways = false};
  MamlPlusPlusOptions options = {};
  Loss loss = {};

  template <Model M, class Task>
  auto train_loss(const ModelWithRates<M>& model, const Task& task, ContextRef context,
                  Site site = Site::current()) const {
    const Named here("MamlPlusPlus", site);
    const auto [anneal, first_order, round] = options;
    detail::check_count("MamlPlusPlus", "anneal_rounds", anneal, 0, site);
    detail::check_count("MamlPlusPlus", "first_order_rounds", first_order, 0, site);
    detail::check_count("MamlPlusPlus", "round", round, 0, site);
    const int steps = steps_of(model, site);
    const double progress = round >= anneal ? 1 : static_cast<double>(round) / static_cast<double>(anneal);
    const std::vector<double> weights = multi_step_weights(steps, progress, site);
    decltype(loss(model.model, task.query, context)) total;
    M phi = model.model;
    for (int k = 0; k < steps; ++k) {
      phi = stepped(phi, model.rates, task.support, k, round < first_order, context, site);
      const double weight = weights[static_cast<std::size_t>(k)];
      if (weight == 0) continue;
      const auto part = weight * detail::finite_query("MamlPlusPlus", loss(phi, task.query, context), k + 1, site);
      total = total.defined() ? total + part : part;
    }
    return total;
  }

  template <Model M, class Set>
  AdaptedModel<M> adapt(const ModelWithRates<M>& model, const Set& support, const Tensor<ModelScalar<M>>& = {},
                        ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("MamlPlusPlus", site);
    const int steps = steps_of(model, site);
    M phi = model.model;
    for (int k = 0; k < steps; ++k) phi = stepped(phi, model.rates, support, k, false, context, site);
    return {detail::finite_model("MamlPlusPlus", phi, steps, site)};
  }

 private:
  template <class M>
  static int steps_of(const ModelWithRates<M>& model, Site site) {
    Index steps = 0;
    for_each_parameter(
        [&](const auto& rate) {
          if (!rate.defined()) return;
          if (rate.rank() != 1 || rate.count() == 0 || (steps > 0 && rate.count() != steps))
            fail<ShapeError>("MamlPlusPlus", "expected rates [steps] for every parameter, equally many",
                             {{"rates", rate.shape()}}, site);
          steps = rate.count();
        },
        model.rates);
    M last = model.model;  // has norms for them all
    detail::choose_inner_step("MamlPlusPlus", detail::leaves_of(last), std::max(steps, Index{1}) - 1, site);
    return static_cast<int>(steps);
  }

  template <class M, class Set>
  M stepped(M phi, const M& rates, const Set& support, int k, bool first_order, ContextRef context, Site site) const {
    detail::choose_inner_step("MamlPlusPlus", detail::leaves_of(phi), k, site);
    const auto support_loss = [&](const M& at) {
      return detail::finite_support("MamlPlusPlus", loss(at, support, context), k, site);
    };
    const M slope = grad(support_loss, phi, detail::inner_gradient(first_order), site);
    return zip(
        [k](const auto& leaf, const auto& rate, const auto& g) {
          return rate.defined() ? leaf - reshape(slice(rate, 0, k, k + 1), Shape{}) * g : leaf;
        },
        phi, rates, slope);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
