#pragma once
// Stochastic gradient descent with momentum, by the formulas of torch.optim.SGD (dampening 0).

#include "graft/optim/update.hpp"

namespace graft {
inline namespace GRAFT_ABI {

struct SgdOptions {
  double momentum = 0;      ///< in [0, 1)
  bool nesterov = false;    ///< Nesterov's form: Sutskever, Martens, Dahl, Hinton, ICML 2013; needs momentum
  double weight_decay = 0;  ///< added to the gradient, times the parameter
};

/// g <- gradient + weight_decay p;  v <- momentum v + g;  p <- p - rate (nesterov ? g + momentum v : v).
/// A value: its state is a tree of the model's shape, copied and saved like a model.
///
///     Sgd optimizer(net, {.momentum = 0.9});
///     optimizer.step(net, grad(loss, net), 0.01);
template <Model M>
class Sgd {
 public:
  SgdOptions options;
  M velocity;
  GRAFT_FIELDS(velocity)

  /// The velocity starts at 0. Throws ValueError for options outside their range.
  explicit Sgd(const M& model, SgdOptions o = {}, Site site = Site::current())
      : options(o), velocity(detail::optimizer_state(model)) {
    if (!(o.momentum >= 0 && o.momentum < 1) || !(o.weight_decay >= 0) || (o.nesterov && o.momentum == 0))
      fail("Sgd", "momentum must be in [0, 1), above 0 with nesterov, and weight_decay 0 or more", {}, site);
  }

  /// One step on the model in place; frozen parameters and their velocity stay as they are. Tensors that somebody else
  /// holds get new numbers elsewhere, so copies of the model made before do not change.
  void step(M& model, const M& gradient, double rate, Site site = Site::current()) {
    detail::check_step("Sgd::step", model, gradient, velocity, rate, site);
    const bool nesterov = options.nesterov, heavy = options.momentum > 0;
    for_each_parameter(
        [&](auto& p, const auto& g, auto& v) {
          if (!p.defined() || p.frozen()) return;
          using T = typename std::remove_cvref_t<decltype(p)>::Scalar;
          using B = Batch<T>;
          const B decay(options.weight_decay), momentum(options.momentum), down(-rate);
          if (!heavy) {
            detail::update_in_one_pass<T>([=](const std::array<B, 1>& x,
                                              B slope) { return std::array{fma(down, fma(decay, x[0], slope), x[0])}; },
                                          g, p);
            return;
          }
          detail::update_in_one_pass<T>(
              [=](const std::array<B, 2>& x, B slope) {
                const B full = fma(decay, x[0], slope);
                const B speed = detail::without_denormals(fma(momentum, x[1], full));
                return std::array{fma(down, nesterov ? fma(momentum, speed, full) : speed, x[0]), speed};
              },
              g, p, v);
        },
        model, gradient, velocity);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
