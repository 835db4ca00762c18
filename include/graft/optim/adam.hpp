#pragma once
// Adam (Kingma and Ba, ICLR 2015) and AdamW (Loshchilov and Hutter, ICLR 2019), by the formulas of torch.optim.

#include <cmath>
#include <cstdint>

#include "graft/core/list.hpp"
#include "graft/optim/update.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Adam` and `AdamW`.
struct AdamOptions {
  double beta1 = 0.9;       ///< decay of the mean, in [0, 1)
  double beta2 = 0.999;     ///< decay of the mean square, in [0, 1)
  double epsilon = 1e-8;    ///< added to the root, above 0
  double weight_decay = 0;  ///< Adam: added to the gradient; AdamW: shrinks the parameter by rate weight_decay
  bool maximize = false;    ///< climb instead of descend: the gradient's sign is turned before all else
};

namespace detail {

/// One step of the parameters of element type T, number i for the `counts[i]`-th time; see `AdamBase`.
template <class T>
void adam_step(const AdamOptions& o, bool decoupled, const LeafList& model, const LeafList& gradient,
               const LeafList& mean, const LeafList& square, List<std::int64_t>& counts, double rate) {
  using B = Simd<T>;
  const B keep(decoupled ? 1 - rate * o.weight_decay : 1), decay(decoupled ? 0 : o.weight_decay);
  const B sign(o.maximize ? -1 : 1), beta1(o.beta1), new1(1 - o.beta1), beta2(o.beta2), new2(1 - o.beta2);
  const B epsilon(o.epsilon);
  for (std::size_t i = 0; i < model.size(); ++i) {
    if (!is_stepped<T>(model[i])) continue;
    const double time = static_cast<double>(++counts[static_cast<Index>(i)]);
    const B down(-rate / (1 - std::pow(o.beta1, time))), root_scale(1 / std::sqrt(1 - std::pow(o.beta2, time)));
    update_in_one_pass<T>(
        [=](const std::array<B, 3>& x, B slope) {
          const B full = fma(decay, x[0], sign * slope);
          const B first = without_denormals(fma(beta1, x[1], new1 * full));
          const B second = without_denormals(fma(beta2, x[2], new2 * full * full));
          const B root = fma(native::sqrt(second), root_scale, epsilon);
          return std::array{fma(down, first / root, keep * x[0]), first, second};
        },
        gradient[i].as<T>(), model[i].as<T>(), mean[i].as<T>(), square[i].as<T>());
  }
}

/// m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
/// p <- p - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon).
template <Model M, bool decoupled>
class AdamBase {
 public:
  AdamOptions options;
  M mean;                      ///< m, zeros at first
  M square;                    ///< v, zeros at first
  Buffer<std::int64_t> steps;  ///< t of each parameter [tensors]: one that is unfrozen later starts its own count
  GRAFT_FIELDS(mean, square, steps)
  GRAFT_CONFIG(options)

  AdamBase(const char* op, const M& model, AdamOptions o, Site site)
      : options(o), mean(optimizer_state(op, model, site)), square(optimizer_state(op, model, site)) {
    for_each_scalar<M>([&]<class T>() {
      check_option<T>(op, "beta1", o.beta1, Range::below_one, site);
      check_option<T>(op, "beta2", o.beta2, Range::below_one, site);
      check_option<T>(op, "epsilon", o.epsilon, Range::positive, site);
      check_option<T>(op, "weight_decay", o.weight_decay, Range::not_negative, site);
    });
    steps.value = zeros<std::int64_t>({static_cast<Index>(parameters_of(model).size())});
  }

  /// One step on the model in place; frozen parameters and their state stay as they are. Tensors that somebody else
  /// holds get new numbers elsewhere, so copies of the model made before do not change.
  void step(M& model, const M& gradient, double rate, Site site = Site::current()) {
    const LeafList to = parameters_of(model), from = parameters_of(gradient), first = parameters_of(mean),
                   second = parameters_of(square);
    for_each_scalar<M>([&]<class T>() {
      check_step<T>(decoupled ? "AdamW::step" : "Adam::step", to, from, {&first, &second}, rate, site);
    });
    List<std::int64_t> counts(host(steps.value));
    for_each_scalar<M>([&]<class T>() { adam_step<T>(options, decoupled, to, from, first, second, counts, rate); });
    steps.value = from_span(std::span<const std::int64_t>(counts), steps.value.shape());
  }
};

}  // namespace detail

/// Adam; weight decay, if any, is added to the gradient. A value: its state is copied and saved like a model.
///
///     Adam optimizer(net);
///     optimizer.step(net, grad(loss, net), 1e-3);
template <class M>
struct Adam : detail::AdamBase<M, false> {
  /// Throws ValueError for options outside their range, and when two parameters hold one tensor.
  explicit Adam(const M& model, AdamOptions o = {}, Site site = Site::current())
      : detail::AdamBase<M, false>("Adam", model, o, site) {}
};

/// Adam with decoupled weight decay: p <- (1 - rate weight_decay) p before the step.
template <class M>
struct AdamW : detail::AdamBase<M, true> {
  /// Throws ValueError for options outside their range, and when two parameters hold one tensor.
  explicit AdamW(const M& model, AdamOptions o = {.weight_decay = 0.01}, Site site = Site::current())
      : detail::AdamBase<M, true>("AdamW", model, o, site) {}
};

// Of structs that do not name their fields there are none.
template <class M>
  requires(!Model<M>)
struct Adam<M> : detail::NoOptimizer<M, AdamOptions> {
  using detail::NoOptimizer<M, AdamOptions>::NoOptimizer;
};
template <class M>
  requires(!Model<M>)
struct AdamW<M> : detail::NoOptimizer<M, AdamOptions> {
  using detail::NoOptimizer<M, AdamOptions>::NoOptimizer;
};

}  // namespace GRAFT_ABI
}  // namespace graft
