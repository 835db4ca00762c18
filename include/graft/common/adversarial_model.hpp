#pragma once
// A classifier with a second head that tells which domain a feature comes from.

#include "graft/model/context.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What adversarial methods train: a `BodyHead` and, beside its head, a discriminator of domains. Called, it is
/// head(body(x)).
template <class Body, class Head, class Discriminator, class T = float>
struct AdversarialModel {
  Body body;                       ///< items -> features [items, width]
  Head head;                       ///< features -> logits [items, classes]
  Discriminator discriminator;     ///< features -> logits [items, domains]
  Tensor<T> class_embedding = {};  ///< [classes, width]: added to an item's features before the discriminator, which
                                   ///< then tells domains apart within a class; not defined: methods without classes
  GRAFT_FIELDS(body, head, discriminator, class_embedding)

  template <class X>
  auto operator()(const X& x, ContextRef context) const {
    return answer_of(head, answer_of(body, x, context), context);
  }
};

namespace detail {

/// The cross-entropy of the discriminator's answers to features `z` [items, width] with the domains that they come
/// from, weighed by `shares` [items], if given, which sum to 1, else the mean; and `penalty` times the mean over items
/// of the squared gradient of the sum of cross-entropies in the item's features. Throws ShapeError unless there is a
/// logit for each of so many domains.
template <class D, class T>
Tensor<T> adversary_loss(const char* op, const D& discriminator, const Tensor<T>& z,
                         const Tensor<std::int64_t>& domain_of, std::size_t domains, const Tensor<T>& shares,
                         double penalty, ContextRef context, Site site) {
  Context same_draws = context;
  const auto logits_of = [&](const Tensor<T>& at, ContextRef in) {
    const Tensor<T> logits = answer_of(discriminator, at, in);
    if (logits.rank() != 2 || logits.size(0) != at.size(0) || logits.size(1) < static_cast<Index>(domains))
      fail<ShapeError>(op, {"the discriminator must answer with logits of ", domains, " domains"},
                       {{"features", at.shape()}, {"logits", logits.shape()}}, site);
    return logits;
  };
  const Tensor<T> logits = logits_of(z, context);
  Tensor<T> loss = shares.defined()
                       ? sum(shares * cross_entropy(logits, domain_of, {.reduction = Reduction::none}, site))
                       : cross_entropy(logits, domain_of, {}, site);
  if (penalty == 0) return loss;
  const auto sum_of = [&](const Tensor<T>& at) {
    return cross_entropy(logits_of(at, same_draws), domain_of, {.reduction = Reduction::sum}, site);
  };
  const Tensor<T> slope = grad(sum_of, z, {.create_graph = true}, site);
  return loss + static_cast<T>(penalty / static_cast<double>(z.size(0))) * sum(square(slope));
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
