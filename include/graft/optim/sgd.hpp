#pragma once
// Stochastic gradient descent with momentum, by the formulas of torch.optim.SGD.

#include <cstdint>

#include "graft/core/list.hpp"
#include "graft/optim/update.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Sgd`.
struct SgdOptions {
  double momentum = 0;      ///< in [0, 1)
  bool nesterov = false;    ///< Nesterov's form: Sutskever, Martens, Dahl, Hinton, ICML 2013; needs momentum
  double weight_decay = 0;  ///< added to the gradient, times the parameter
  bool maximize = false;    ///< climb instead of descend: the gradient's sign is turned before all else
  double dampening = 0;     ///< of the gradient on its way into the velocity, from a parameter's second step on
};

namespace detail {

/// One step of the parameters of element type T, number i for the `counts[i]`-th time where that is counted; see `Sgd`.
template <class T>
void sgd_step(const SgdOptions& o, const LeafList& model, const LeafList& gradient, const LeafList& velocity,
              List<std::int64_t>& counts, double rate) {
  using B = Simd<T>;
  const bool nesterov = o.nesterov;
  const B sign(o.maximize ? -1 : 1), decay(o.weight_decay), momentum(o.momentum), down(-rate);
  for (std::size_t i = 0; i < model.size(); ++i) {
    if (!is_stepped<T>(model[i])) continue;
    const bool first = counts.empty() || ++counts[static_cast<Index>(i)] == 1;
    const B share(first ? 1 : 1 - o.dampening);
    if (o.momentum == 0)
      update_in_one_pass<T>([=](const std::array<B, 1>& x,
                                B slope) { return std::array{fma(down, fma(decay, x[0], sign * slope), x[0])}; },
                            gradient[i].as<T>(), model[i].as<T>());
    else
      update_in_one_pass<T>(
          [=](const std::array<B, 2>& x, B slope) {
            const B full = fma(decay, x[0], sign * slope);
            const B speed = without_denormals(fma(momentum, x[1], share * full));
            return std::array{fma(down, nesterov ? fma(momentum, speed, full) : speed, x[0]), speed};
          },
          gradient[i].as<T>(), model[i].as<T>(), velocity[i].as<T>());
  }
}

}  // namespace detail

/// g <- gradient + weight_decay p;  v <- momentum v + (1 - dampening) g, at a parameter's first step v <- g;
/// p <- p - rate (nesterov ? g + momentum v : v).
/// A value: its state is a tree of the model's shape, copied and saved like a model.
///
///     Sgd optimizer(net, {.momentum = 0.9});
///     optimizer.step(net, grad(loss, net), 0.01);
template <class M>
struct Sgd {
  SgdOptions options;
  M velocity;                  ///< v, zeros at first
  Buffer<std::int64_t> steps;  ///< of each parameter [tensors]; not there without dampening
  GRAFT_FIELDS(velocity, steps)
  GRAFT_CONFIG(options)

  /// Throws ValueError for options outside their range, and when two parameters hold one tensor.
  explicit Sgd(const M& model, SgdOptions o = {}, Site site = Site::current())
      : options(o), velocity(detail::optimizer_state("Sgd", model, site)) {
    using detail::Range;
    detail::for_each_scalar<M>([&]<class T>() {
      detail::check_option<T>("Sgd", "momentum", o.momentum, Range::below_one, site);
      detail::check_option<T>("Sgd", "dampening", o.dampening, Range::finite, site);
      detail::check_option<T>("Sgd", "weight_decay", o.weight_decay, Range::not_negative, site);
    });
    if (o.nesterov && (o.momentum == 0 || o.dampening != 0))
      fail("Sgd", "nesterov needs a momentum above 0 and no dampening", {}, site);
    if (o.dampening != 0)
      steps.value = zeros<std::int64_t>({static_cast<Index>(detail::parameters_of(model).size())}, site);
  }

  /// One step on the model in place; frozen parameters and their velocity stay as they are. Tensors that somebody else
  /// holds get new numbers elsewhere, so copies of the model made before do not change.
  void step(M& model, const M& gradient, double rate, Site site = Site::current()) {
    const detail::LeafList to = detail::parameters_of(model), from = detail::parameters_of(gradient),
                           speed = detail::parameters_of(velocity);
    detail::for_each_scalar<M>([&]<class T>() { detail::check_step<T>("Sgd::step", to, from, {&speed}, rate, site); });
    List<std::int64_t> counts;
    if (steps.value.defined()) counts = List<std::int64_t>(host(steps.value));
    detail::for_each_scalar<M>([&]<class T>() { detail::sgd_step<T>(options, to, from, speed, counts, rate); });
    if (steps.value.defined()) steps.value = from_span(std::span<const std::int64_t>(counts), steps.value.shape());
  }
};

// Of structs that do not name their fields there is none.
template <class M>
  requires(!Model<M>)
struct Sgd<M> : detail::NoOptimizer<M, SgdOptions> {
  using detail::NoOptimizer<M, SgdOptions>::NoOptimizer;
};

}  // namespace GRAFT_ABI
}  // namespace graft
