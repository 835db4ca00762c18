#pragma once
// FixMatch. Sohn et al., "FixMatch: simplifying semi-supervised learning with consistency and confidence", NeurIPS
// 2020: what the model is sure of in a weakly augmented item is its label in a strongly augmented one.

#include "graft/common/needs.hpp"
#include "graft/common/unlabelled.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `FixMatch`; the defaults are the authors'. They take 7 items without labels for each labelled one.
struct FixMatchOptions {
  double weight = 1;        ///< lambda_u; 0: the labelled items alone
  double threshold = 0.95;  ///< tau: what the probability of a pseudo-label must reach; above 1 none does
};

/// Mean cross-entropy of the labelled items + lambda_u times the mean over items without labels of
/// 1[max p >= tau] CE(logits of the strong view, argmax p)  with p = softmax(logits of the weak view), a constant.
struct FixMatch {
  static constexpr DataNeeds needs{.unlabelled = true};
  FixMatchOptions options = {};

  /// The loss, shape []. Both views and the labelled items pass the model together, as in the authors' code. Throws
  /// ShapeError and ValueError for items of other shapes, without labels, or none; ValueError for a weight or a
  /// threshold below 0.
  template <class M, Real T>
  Tensor<T> train_loss(const M& model, const LabelledSet<T>& labelled, const UnlabelledViews<T>& views, Index /*step*/,
                       ContextRef context, Site site = Site::current()) const {
    const Named here("FixMatch", site);
    const auto [weight, threshold] = options;
    detail::check_option<T>("FixMatch", "weight", weight, detail::Range::not_negative, site);
    detail::check_option<T>("FixMatch", "threshold", threshold, detail::Range::not_negative, site);
    detail::check_unlabelled("FixMatch", labelled, views, site);
    if (weight == 0) return cross_entropy(answer_of(model, labelled.x, context), labelled.y, {}, site);
    const Tensor<T> logits = answer_of(model, concat<T>({labelled.x, views.weak, views.strong}, 0, site), context);
    const Index told = labelled.x.size(0), others = views.weak.size(0);
    const Tensor<T> weak = slice(logits, 0, told, told + others).detach();
    const Tensor<T> losses = cross_entropy(slice(logits, 0, told + others, told + 2 * others), argmax(weak, 1),
                                           {.reduction = Reduction::none}, site);
    const Tensor<bool> sure = max(softmax(weak), {1}) >= threshold;
    return cross_entropy(slice(logits, 0, 0, told), labelled.y, {}, site) + weight * mean(where(sure, losses, 0));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
