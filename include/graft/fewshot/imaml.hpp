#pragma once
// iMAML. Rajeswaran, Finn, Kakade, Levine, "Meta-learning with implicit gradients", NeurIPS 2019, Algorithms 1 and 2:
// the meta-gradient depends on where the inner loop ends, not on its way there. Compared with the authors' code.

#include "graft/common/inner_loop.hpp"
#include "graft/model/solvers.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Inner problem and solver of `Imaml` for Omniglot: lambda of the paper, all else of the authors' code.
struct ImamlOptions {
  double lambda = 2;    ///< of the proximal term: how strongly the adapted parameters are held to the initial ones
  double alpha = 0.01;  ///< inner learning rate
  int steps = 16;       ///< inner steps
  int cg_steps = 5;     ///< steps of conjugate gradients; 0: the meta-gradient is that of the query loss, at phi
};

/// iMAML as a few-shot method:
///   phi = argmin L_S(phi) + lambda / 2 |phi - theta|^2,   L_S(phi) = loss(phi, support),
///   (I + H / lambda) v = grad loss(phi, query),           H the Hessian of L_S at phi, by products only.
/// `adapt` takes `steps` gradient steps of rate alpha / (1 + alpha lambda) from theta, which is a step of rate alpha on
/// L_S that is exact in the proximal term: no lambda is too large. `train_loss` has the query loss at phi as its value
/// and v as its gradient: not through the inner loop, and right where phi is near the minimum. A second derivative of
/// it is zero and means nothing. Where L_S curves down by more than lambda, conjugate gradients end with what they
/// have, and if that is nothing with the query gradient. (The authors' code damps I + H / lambda further, and takes
/// plain steps on L_S with one step on the proximal term after them.)
///
/// All evaluations of a support loss draw the same random numbers, so that they are of one function; running statistics
/// are not updated by them. Throws ValueError for a lambda that is not positive, a negative rate, negative
/// steps, and when a support loss, the query loss, an adapted parameter or the meta-gradient is not finite.
template <class Loss = ClassificationLoss>
struct Imaml {
  static constexpr Needs needs{.derivatives = 2, .any_ways = false};
  ImamlOptions options = {};
  Loss loss = {};

  template <Model M, class Task>
  auto train_loss(const M& model, const Task& task, ContextRef context, Site site = Site::current()) const {
    const Named here("Imaml", site);
    const Context same = context;
    const M phi = adapted(model, task.support, same, site);
    const auto query_loss = [&](const M& at) { return loss(at, task.query, context); };
    const auto [value, slope] = value_and_grad(query_loss, phi, {.create_graph = false}, site);
    detail::finite_query("Imaml", value, options.steps, site);
    const M direction = implicit_gradient(phi, slope, task.support, same, site);
    if (!all_finite(direction)) fail("Imaml", "the meta-gradient is not finite", {}, site);
    return detail::with_gradient(value, model, direction);
  }

  template <Model M, class Set>
  AdaptedModel<M> adapt(const M& model, const Set& support, const Tensor<ModelScalar<M>>& = {},
                        ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("Imaml", site);
    return {adapted(model, support, context, site)};
  }

 private:
  template <class M, class Set>
  M adapted(const M& theta, const Set& support, const Context& same, Site site) const {
    using detail::Range;
    detail::check_count("Imaml", "steps", options.steps, 0, site);
    detail::check_count("Imaml", "cg_steps", options.cg_steps, 0, site);
    detail::for_each_scalar<M>([&]<class T>() {
      detail::check_option<T>("Imaml", "lambda", options.lambda, Range::positive, site);
      detail::check_option<T>("Imaml", "alpha", options.alpha, Range::not_negative, site);
    });
    const Recording off(false);
    const M anchor = detach(theta);
    M phi = anchor;
    for (int k = 0; k < options.steps; ++k) {
      const auto support_loss = [&](const M& at) {
        return detail::finite_support("Imaml", loss(at, support, Context(same)), k, site);
      };
      const M slope = grad(support_loss, phi, {.create_graph = false}, site);
      phi = zip(
          [&]<class T>(const Tensor<T>& at, const Tensor<T>& g, const Tensor<T>& from) {
            const T lambda = static_cast<T>(options.lambda);
            const T rate = static_cast<T>(options.alpha / (1 + options.alpha * options.lambda));
            return at - rate * (g + lambda * (at - from));
          },
          phi, slope, anchor);
    }
    return detail::finite_model("Imaml", phi, options.steps, site);
  }

  /// v = lambda u with (H + lambda I) u = slope.
  template <class M, class Set>
  M implicit_gradient(const M& phi, const M& slope, const Set& support, const Context& same, Site site) const {
    if (options.cg_steps == 0) return slope;
    const Recording off(false);
    const auto support_loss = [&](const M& at) { return loss(at, support, Context(same)); };
    const auto hessian = [&](const M& v) { return hvp(support_loss, phi, v, {}, site).second; };
    const auto solved =
        conjugate_gradient(hessian, slope, {.iterations = options.cg_steps, .damping = options.lambda}, site);
    if (solved.iterations == 0) return slope;
    return zip([&]<class T>(const Tensor<T>& u) { return static_cast<T>(options.lambda) * u; }, solved.solution);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
