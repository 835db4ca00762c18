#pragma once
// Stochastic gradient descent with momentum, by the formulas of torch.optim.SGD.

#include "graft/optim/update.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Sgd`.
struct SgdOptions {
  double momentum = 0;      ///< in [0, 1)
  bool nesterov = false;    ///< Nesterov's form: Sutskever, Martens, Dahl, Hinton, ICML 2013; needs momentum
  double weight_decay = 0;  ///< added to the gradient, times the parameter
  bool maximize = false;    ///< climb instead of descend: the gradient's sign is turned before all else
};

namespace detail {

/// One step of the parameters of element type T; see `Sgd`.
template <class T>
void sgd_step(const SgdOptions& o, const LeafList& model, const LeafList& gradient, const LeafList& velocity,
              double rate) {
  using B = Simd<T>;
  const bool nesterov = o.nesterov;
  const B sign(o.maximize ? -1 : 1), decay(o.weight_decay), momentum(o.momentum), down(-rate);
  for (std::size_t i = 0; i < model.size(); ++i) {
    if (!is_stepped<T>(model[i])) continue;
    if (o.momentum == 0)
      update_in_one_pass<T>([=](const std::array<B, 1>& x,
                                B slope) { return std::array{fma(down, fma(decay, x[0], sign * slope), x[0])}; },
                            gradient[i].as<T>(), model[i].as<T>());
    else
      update_in_one_pass<T>(
          [=](const std::array<B, 2>& x, B slope) {
            const B full = fma(decay, x[0], sign * slope);
            const B speed = without_denormals(fma(momentum, x[1], full));
            return std::array{fma(down, nesterov ? fma(momentum, speed, full) : speed, x[0]), speed};
          },
          gradient[i].as<T>(), model[i].as<T>(), velocity[i].as<T>());
  }
}

}  // namespace detail

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
  GRAFT_CONFIG(options)

  /// The velocity starts at 0. Throws ValueError for options outside their range, and when two parameters hold one
  /// tensor.
  explicit Sgd(const M& model, SgdOptions o = {}, Site site = Site::current())
      : options(o), velocity(detail::optimizer_state("Sgd", model, site)) {
    using detail::Range;
    detail::for_each_scalar<M>([&]<class T>() {
      detail::check_option<T>("Sgd", "momentum", o.momentum, Range::below_one, site);
      detail::check_option<T>("Sgd", "weight_decay", o.weight_decay, Range::not_negative, site);
    });
    if (o.nesterov && o.momentum == 0) fail("Sgd", "nesterov needs a momentum above 0", {}, site);
  }

  /// One step on the model in place; frozen parameters and their velocity stay as they are. Tensors that somebody else
  /// holds get new numbers elsewhere, so copies of the model made before do not change.
  void step(M& model, const M& gradient, double rate, Site site = Site::current()) {
    const detail::LeafList to = detail::parameters_of(model), from = detail::parameters_of(gradient),
                           speed = detail::parameters_of(velocity);
    detail::for_each_scalar<M>([&]<class T>() { detail::check_step<T>("Sgd::step", to, from, {&speed}, rate, site); });
    detail::for_each_scalar<M>([&]<class T>() { detail::sgd_step<T>(options, to, from, speed, rate); });
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
