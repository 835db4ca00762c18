#pragma once
// Entropy minimisation. Grandvalet, Bengio, "Semi-supervised learning by entropy minimization", NIPS 2004: items
// without labels should be far from where classes meet. Formula from memory of the paper.

#include "graft/common/needs.hpp"
#include "graft/common/unlabelled.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `EntropyMinimisation`. The authors choose the weight by cross-validation; 0.1 is ours.
struct EntropyMinimisationOptions {
  double weight = 0.1;  ///< lambda; 0: the labelled items alone
};

/// Mean cross-entropy of the labelled items + lambda times the mean entropy of the answers to the others.
struct EntropyMinimisation {
  static constexpr DataNeeds needs{.unlabelled = true};
  EntropyMinimisationOptions options = {};

  /// The loss, shape []. All items pass the model together, so that batch statistics are of them all. Throws ShapeError
  /// and ValueError for items of other shapes, without labels, or none; ValueError for a weight below 0.
  template <class M, Real T>
  Tensor<T> train_loss(const M& model, const LabelledSet<T>& labelled, const Tensor<T>& unlabelled, Index /*step*/,
                       ContextRef context, Site site = Site::current()) const {
    const Named here("EntropyMinimisation", site);
    detail::check_option<T>("EntropyMinimisation", "weight", options.weight, detail::Range::not_negative, site);
    detail::check_unlabelled("EntropyMinimisation", labelled, unlabelled, site);
    if (options.weight == 0) return cross_entropy(answer_of(model, labelled.x, context), labelled.y, {}, site);
    const Tensor<T> logits = answer_of(model, concat<T>({labelled.x, unlabelled}, 0, site), context);
    const Index told = labelled.x.size(0);
    return cross_entropy(slice(logits, 0, 0, told), labelled.y, {}, site) +
           options.weight * mean(softmax_entropy(slice(logits, 0, told, logits.size(0)), site));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
