#pragma once
// Linear probing, then fine-tuning. Kumar, Raghunathan, Jones, Ma, Liang, "Fine-tuning can distort pretrained features
// and underperform out-of-distribution", ICLR 2022. Formula as the catalogue of methods has it; the paper was not read.

#include "graft/common/logistic_regression.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/tuner.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `LpFt`.
struct LpFtOptions {
  static constexpr DataNeeds needs{};
  LogisticOptions head = {};    ///< of the probe
  TuningOptions training = {};  ///< of what follows
};

/// The two stages as a few-shot method for a `BodyHead`: the head that `logistic_regression` finds on the frozen
/// features, then AdamW on all of the model, from that head. With 0 steps it is the linear probe. `train_loss` is that
/// of a plain classifier of the base classes on `Episode::support`. Throws as `logistic_regression`, and ValueError for
/// options outside their range and when a support loss or the tuned model is not finite.
template <class Loss = ClassificationLoss>
struct LpFt {
  static constexpr Needs needs{};
  LpFtOptions options = {};
  Loss loss = {};

  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("LpFt", site);
    return loss(model, episode.support, context);
  }

  template <class Body, class Head, class T>
  auto adapt(const BodyHead<Body, Head>& model, const LabelledSet<T>& support, const Tensor<T>& = {},
             ContextRef context = Context(), Site site = Site::current()) const {
    const auto probed = detail::probed(detach(model.body), support, options.head, context, site);
    const Named here("LpFt", site);
    const auto objective = [&](const auto& at, const LabelledSet<T>& items, ContextRef own) {
      return loss(at, items, own);
    };
    return AdaptedModel{detail::trained_on("LpFt", probed, support, options.training, objective, context, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
