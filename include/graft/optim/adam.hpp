#pragma once
// Adam (Kingma and Ba, ICLR 2015) and AdamW (Loshchilov and Hutter, ICLR 2019), by the formulas of torch.optim.

#include <cmath>
#include <cstdint>

#include "graft/optim/update.hpp"

namespace graft {
inline namespace GRAFT_ABI {

struct AdamOptions {
  double beta1 = 0.9;       ///< decay of the mean, in [0, 1)
  double beta2 = 0.999;     ///< decay of the mean square, in [0, 1)
  double epsilon = 1e-8;    ///< added to the root, above 0
  double weight_decay = 0;  ///< Adam: added to the gradient; AdamW: shrinks the parameter by rate weight_decay
};

namespace detail {

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

  AdamBase(const char* op, const M& model, AdamOptions o, Site site)
      : options(o), mean(optimizer_state(model)), square(optimizer_state(model)) {
    if (!(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1 && o.epsilon > 0 && o.weight_decay >= 0))
      fail(op, "beta1 and beta2 must be in [0, 1), epsilon above 0 and weight_decay 0 or more", {}, site);
    Index tensors = 0;
    for_each_parameter([&](const auto&) { ++tensors; }, model);
    steps.value = zeros<std::int64_t>({tensors});
  }

  /// One step on the model in place; frozen parameters and their state stay as they are. Tensors that somebody else
  /// holds get new numbers elsewhere, so copies of the model made before do not change.
  void step(M& model, const M& gradient, double rate, Site site = Site::current()) {
    check_step(decoupled ? "AdamW::step" : "Adam::step", model, gradient, mean, rate, site);
    check_same_shapes(decoupled ? "AdamW::step" : "Adam::step", model, square, site);
    Tensor<std::int64_t> counts = from_span(steps.value.span(), steps.value.shape());
    std::int64_t* count = writable(counts);
    for_each_parameter(
        [&](auto& p, const auto& g, auto& m, auto& v) {
          std::int64_t& t = *count++;
          if (!p.defined() || p.frozen()) return;
          ++t;
          using T = typename std::remove_cvref_t<decltype(p)>::Scalar;
          using B = Batch<T>;
          const double time = static_cast<double>(t);
          const B keep(decoupled ? 1 - rate * options.weight_decay : 1), decay(decoupled ? 0 : options.weight_decay);
          const B beta1(options.beta1), new1(1 - options.beta1), beta2(options.beta2), new2(1 - options.beta2);
          const B down(-rate / (1 - std::pow(options.beta1, time)));
          const B root_scale(1 / std::sqrt(1 - std::pow(options.beta2, time))), epsilon(options.epsilon);
          update_in_one_pass<T>(
              [=](const std::array<B, 3>& x, B slope) {
                const B full = fma(decay, x[0], slope);
                const B first = without_denormals(fma(beta1, x[1], new1 * full));
                const B second = without_denormals(fma(beta2, x[2], new2 * full * full));
                const B root = fma(native::sqrt(second), root_scale, epsilon);
                return std::array{fma(down, first / root, keep * x[0]), first, second};
              },
              g, p, m, v);
        },
        model, gradient, mean, square);
    steps.value = counts;
  }
};

}  // namespace detail

/// Adam; weight decay, if any, is added to the gradient. A value: its state is copied and saved like a model.
///
///     Adam optimizer(net);
///     optimizer.step(net, grad(loss, net), 1e-3);
template <Model M>
struct Adam : detail::AdamBase<M, false> {
  /// Throws ValueError for options outside their range.
  explicit Adam(const M& model, AdamOptions o = {}, Site site = Site::current())
      : detail::AdamBase<M, false>("Adam", model, o, site) {}
};

/// Adam with decoupled weight decay: p <- (1 - rate weight_decay) p before the step.
template <Model M>
struct AdamW : detail::AdamBase<M, true> {
  /// Throws ValueError for options outside their range.
  explicit AdamW(const M& model, AdamOptions o = {.weight_decay = 0.01}, Site site = Site::current())
      : detail::AdamBase<M, true>("AdamW", model, o, site) {}
};

}  // namespace GRAFT_ABI
}  // namespace graft
