#pragma once
// Reptile. Nichol, Achiam, Schulman, "On first-order meta-learning algorithms", arXiv:1803.02999, 2018: train on a
// task, and move the initial parameters towards where that led. Compared with the authors' code.

#include <optional>

#include "graft/common/inner_loop.hpp"
#include "graft/optim/adam.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Inner loop of `Reptile`: the authors' for 5-way Omniglot, where they train with 10 shots and take 50 steps at test
/// time.
struct ReptileOptions {
  double alpha = 1e-3;  ///< inner learning rate
  int steps = 5;        ///< inner steps
  Index batch = 10;     ///< items of a step; 0: all
  bool adam = true;     ///< Adam with beta1 = 0, from fresh moments for every task; else plain gradient steps
};

/// What takes the place of a gradient: theta - phi, for parameters theta that a task led to phi. A step of plain
/// gradient descent with it and a rate eps is  theta <- theta + eps (phi - theta).
template <Model M>
M reptile_direction(const M& theta, const M& phi, Site site = Site::current()) {
  return detail::add_scaled("reptile_direction", theta, -1, phi, site);
}

/// Reptile as a few-shot method. `adapt` takes `steps` inner steps on mini-batches of the support set, drawn by the
/// context's random numbers. `train_loss` has the mean support loss of the inner steps as its value and theta - phi as
/// its gradient, which is not the gradient of any function: a second derivative of it is zero and means nothing. The
/// query set is not looked at; the authors' outer step is that of `Sgd` with a rate that falls linearly from 1 to 0.
/// (Their code carries Adam's moments from task to task.) Throws ValueError for less than one step, a batch or a
/// rate below 0, and when a support loss or an adapted parameter is not finite.
template <class Loss = ClassificationLoss>
struct Reptile {
  static constexpr Needs needs{.derivatives = 1, .any_ways = false};
  ReptileOptions options = {};
  Loss loss = {};

  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Reptile", site);
    Tensor<T> mean_loss;
    const M phi = adapted(model, episode.support, mean_loss, context, site);
    return detail::with_gradient(mean_loss, model, reptile_direction(detach(model), phi, site));
  }

  template <Model M, class T>
  AdaptedModel<M> adapt(const M& model, const LabelledSet<T>& support, const Tensor<T>& = {},
                        ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("Reptile", site);
    Tensor<T> mean_loss;
    return {adapted(model, support, mean_loss, context, site)};
  }

 private:
  template <class M, class T>
  M adapted(const M& theta, const LabelledSet<T>& support, Tensor<T>& mean_loss, ContextRef context, Site site) const {
    const auto [alpha, steps, batch, with_adam] = options;
    detail::check_count("Reptile", "steps", steps, 1, site);
    detail::check_count("Reptile", "batch", batch, 0, site);
    detail::check_option<T>("Reptile", "alpha", alpha, detail::Range::not_negative, site);
    const Recording off(false);
    detail::MiniBatches batches(batch, context->stream("mini-batches"));
    std::optional<Adam<M>> adam;
    if (with_adam) adam.emplace(theta, AdamOptions{.beta1 = 0}, site);
    M phi = detach(theta);
    for (int k = 0; k < steps; ++k) {
      const LabelledSet<T> items = batches.next(support);
      const auto [value, slope] =
          value_and_grad([&](const M& at) { return loss(at, items, context); }, phi, {.create_graph = false}, site);
      detail::finite_support("Reptile", value, k, site);
      mean_loss = k == 0 ? value : mean_loss + value;
      if (adam)
        adam->step(phi, slope, alpha, site);
      else
        phi = axpy(-alpha, slope, phi, site);
    }
    mean_loss = mean_loss / steps;
    return detail::finite_model("Reptile", phi, steps, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
