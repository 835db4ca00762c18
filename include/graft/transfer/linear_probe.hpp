#pragma once
// Linear probe: logistic regression on frozen features. The form is that of Alain, Bengio, "Understanding intermediate
// layers using linear classifier probes", 2016, and of Kornblith, Shlens, Le, "Do better ImageNet models transfer
// better?", CVPR 2019.

#include "graft/common/logistic_regression.hpp"
#include "graft/common/needs.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `LinearProbe`.
struct LinearProbeOptions {
  static constexpr DataNeeds needs{};
  LogisticOptions head = {};
};

/// The probe as a few-shot method for a `BodyHead`. `train_loss` is that of a plain classifier of the base classes on
/// the labelled items of a batch, `Episode::support`. `adapt` fits `logistic_regression` to the features of the support
/// items in the place of the head, to convergence; the body is the model's, bit for bit. Throws as
/// `logistic_regression`.
template <class Loss = ClassificationLoss>
struct LinearProbe {
  static constexpr Needs needs{};
  LinearProbeOptions options = {};
  Loss loss = {};

  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("LinearProbe", site);
    return loss(model, episode.support, context);
  }

  template <class Body, class Head, class T>
  auto adapt(const BodyHead<Body, Head>& model, const LabelledSet<T>& support, const Tensor<T>& = {},
             ContextRef context = Context(), Site site = Site::current()) const {
    return AdaptedModel{detail::probed(model.body, support, options.head, context, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
