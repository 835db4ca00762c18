#pragma once
// Meta-SGD. Li, Zhou, Chen, Li, "Meta-SGD: Learning to learn quickly for few-shot learning", arXiv:1707.09835, 2017:
// MAML whose inner rate is a learned number of every parameter, direction and length of the step at once.

#include "graft/common/inner_loop.hpp"
#include "graft/core/random.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Inner loop of `MetaSgd`.
struct MetaSgdOptions {
  int steps = 1;             ///< inner gradient steps, all with the same rates; the paper takes one
  bool first_order = false;  ///< inner gradients count as constants; the rates are learned still
};

/// Between which numbers the rates of `meta_sgd_model` are drawn; equal: all are that number. The paper's defaults.
struct MetaSgdRates {
  double low = 0.005, high = 0.1;
};

/// `model` and rates for `MetaSgd`, uniform in [low, high), one for every number of every parameter. Throws ValueError
/// unless low <= high are finite.
template <Model M>
ModelWithRates<M> meta_sgd_model(const M& model, const Random& random, const MetaSgdRates& rates = {},
                                 Site site = Site::current()) {
  detail::for_each_scalar<M>([&]<class T>() {
    detail::check_option<T>("meta_sgd_model", "low", rates.low, detail::Range::finite, site);
    detail::check_option<T>("meta_sgd_model", "high", rates.high, detail::Range::finite, site);
  });
  if (rates.low > rates.high) fail("meta_sgd_model", {"low is ", rates.low, ", above high, ", rates.high}, {}, site);
  std::uint64_t place = 0;
  return {model, detail::rates_like(model, [&]<class T>(const Tensor<T>& leaf) {
            const Random own = random.stream("rates").stream(place++);
            return rates.low == rates.high ? full<T>(leaf.shape(), static_cast<T>(rates.low))
                                           : rand<T>(leaf.shape(), own, rates.low, rates.high);
          })};
}

/// Meta-SGD as a few-shot method; its model is a `ModelWithRates` {theta, alpha}, alpha shaped like theta:
///   theta' = theta - alpha * grad loss(theta, support), `steps` times;  train_loss = loss(theta', query).
/// With one step the gradient in alpha is -grad loss(theta, support) * grad loss(theta', query), number by number.
/// Rates may become negative, as in the paper. Throws ValueError for negative steps, ShapeError for rates of another
/// shape, and ValueError when a support loss, the query loss or an adapted parameter is not finite.
template <class Loss = ClassificationLoss>
struct MetaSgd {
  static constexpr Needs needs{.derivatives = 2, .any_ways = false};
  MetaSgdOptions options = {};
  Loss loss = {};

  template <Model M, class Task>
  auto train_loss(const ModelWithRates<M>& model, const Task& task, ContextRef context,
                  Site site = Site::current()) const {
    const Named here("MetaSgd", site);
    const M phi = adapted(model, task.support, context, site);
    return detail::finite_query("MetaSgd", loss(phi, task.query, context), options.steps, site);
  }

  template <Model M, class Set>
  AdaptedModel<M> adapt(const ModelWithRates<M>& model, const Set& support, const Tensor<ModelScalar<M>>& = {},
                        ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("MetaSgd", site);
    return {detail::finite_model("MetaSgd", adapted(model, support, context, site), options.steps, site)};
  }

 private:
  template <class M, class Set>
  M adapted(const ModelWithRates<M>& model, const Set& support, ContextRef context, Site site) const {
    detail::check_count("MetaSgd", "steps", options.steps, 0, site);
    detail::check_same_shapes("MetaSgd", model.model, model.rates, site);
    M phi = model.model;
    for (int k = 0; k < options.steps; ++k) {
      const auto support_loss = [&](const M& at) {
        return detail::finite_support("MetaSgd", loss(at, support, context), k, site);
      };
      phi = zip([](const auto& leaf, const auto& rate, const auto& g) { return leaf - rate * g; }, phi, model.rates,
                grad(support_loss, phi, detail::inner_gradient(options.first_order), site));
    }
    return phi;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
