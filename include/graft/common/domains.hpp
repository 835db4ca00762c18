#pragma once
// What methods of domain generalisation share. A method is a value of two members, so that a harness runs any of them:
//
//     static constexpr DataNeeds needs;                 common/needs.hpp
//     train_loss(model, domains, step, context)         the scalar [] whose gradient trains `model`
//
// `domains` holds one labelled batch a domain, `step` counts the steps of training from 0. `model(x, context)`, or
// `model(x)`, are logits [items, classes]; a method that looks at features takes a `BodyHead` (common/inner_loop.hpp).
// What a method remembers from step to step is in its GRAFT_FIELDS, is saved with the training state, and is brought up
// to date by train_loss, which is then not const. A method that puts a gradient of its own in the place of the loss's
// answers a scalar that has it (detail::with_gradient). One whose loss changes its scale at some step says so by a
// member `restarts_optimiser(step)`: moments of the old scale are no use there. A risk that is not finite makes a loss
// that is not, for the caller to see, where a method does not throw.

#include <algorithm>
#include <vector>

#include "graft/common/checks.hpp"
#include "graft/common/inner_loop.hpp"
#include "graft/common/needs.hpp"
#include "graft/data/episodes.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Whether `method` asks for a new optimiser at `step`.
template <class Method>
bool restarts_optimiser(const Method& method, Index step) {
  if constexpr (requires { method.restarts_optimiser(step); })
    return method.restarts_optimiser(step);
  else
    return false;
}

namespace detail {

/// Throws unless there are `least` domains or more, of items of one shape with a label each, and none is empty.
template <class T>
void check_domains(const char* op, const std::vector<LabelledSet<T>>& domains, Index least, Site site) {
  const auto count = static_cast<Index>(domains.size());
  if (count < least) fail(op, {count, count == 1 ? " domain" : " domains", ", expected ", least, " or more"}, {}, site);
  for (Index e = 0; e < count; ++e) {
    const auto& [x, y] = domains[static_cast<std::size_t>(e)];
    if (!x.defined() || !y.defined() || x.rank() < 1 || !(y.shape() == Shape{x.size(0)}))
      fail<ShapeError>(op, {"domain ", e, " needs items and a label each"},
                       {{"items", x.defined() ? x.shape() : Shape{0}}, {"labels", y.defined() ? y.shape() : Shape{0}}},
                       site);
    if (!(x.shape().without(0) == domains[0].x.shape().without(0)))
      fail<ShapeError>(op, {"the items of domain ", e, " have another shape than those of domain 0"},
                       {{"domain 0", domains[0].x.shape()}, {"items", x.shape()}}, site);
    if (x.size(0) == 0) fail(op, {"domain ", e, " has no items"}, {}, site);
  }
}

/// The items of all domains behind one another, [items, ...].
template <class T>
Tensor<T> all_items(const std::vector<LabelledSet<T>>& domains, Site site) {
  std::vector<Tensor<T>> parts;
  for (const LabelledSet<T>& domain : domains) parts.push_back(domain.x);
  return parts.size() == 1 ? parts[0] : concat(parts, 0, site);
}
/// Their labels, [items].
template <class T>
Tensor<std::int64_t> all_labels(const std::vector<LabelledSet<T>>& domains, Site site) {
  std::vector<Tensor<std::int64_t>> parts;
  for (const LabelledSet<T>& domain : domains) parts.push_back(domain.y);
  return parts.size() == 1 ? parts[0] : concat(parts, 0, site);
}
/// The domain of each item, 0 0 .. 1 1 .., [items].
template <class T>
Tensor<std::int64_t> domain_labels(const std::vector<LabelledSet<T>>& domains) {
  std::vector<std::int64_t> labels;
  for (std::size_t e = 0; e < domains.size(); ++e)
    labels.insert(labels.end(), static_cast<std::size_t>(domains[e].x.size(0)), static_cast<std::int64_t>(e));
  return from_vector(labels);
}
/// What was made of all items, [items, ...], taken apart into that of each domain.
template <class T>
std::vector<Tensor<T>> by_domain(const Tensor<T>& rows, const std::vector<LabelledSet<T>>& domains, Site site) {
  std::vector<Tensor<T>> parts;
  Index at = 0;
  for (const LabelledSet<T>& domain : domains) {
    const Index end = at + domain.x.size(0);
    parts.push_back(domains.size() == 1 ? rows : slice(rows, 0, at, end, 1, site));
    at = end;
  }
  return parts;
}
/// What `model` makes of the items of each domain: of all of them in one call, which batch statistics then run over.
template <class M, class T>
std::vector<Tensor<T>> domain_answers(const M& model, const std::vector<LabelledSet<T>>& domains, ContextRef context,
                                      Site site) {
  return by_domain(answer_of(model, all_items(domains, site), context), domains, site);
}
/// The mean cross-entropy of each domain's logits, a scalar a domain.
template <class T>
std::vector<Tensor<T>> domain_risks(const std::vector<Tensor<T>>& logits, const std::vector<LabelledSet<T>>& domains,
                                    Site site) {
  std::vector<Tensor<T>> risks;
  for (std::size_t e = 0; e < domains.size(); ++e) risks.push_back(cross_entropy(logits[e], domains[e].y, {}, site));
  return risks;
}
/// The mean of some scalars.
template <class T>
Tensor<T> mean_of(const std::vector<Tensor<T>>& scalars) {
  Tensor<T> total = scalars[0];
  for (std::size_t i = 1; i < scalars.size(); ++i) total = total + scalars[i];
  return total / static_cast<T>(scalars.size());
}

/// The features of all items [items, width] that `model.body` makes, and the mean over domains of the risk of
/// `model.head` on them: the same number as that of `model` where it is head(body(x)).
template <class T>
struct FeaturesAndRisk {
  Tensor<T> features, risk;
};
template <class M, class T>
FeaturesAndRisk<T> features_and_risk(const char* op, const M& model, const std::vector<LabelledSet<T>>& domains,
                                     ContextRef context, Site site) {
  const Tensor<T> items = all_items(domains, site), features = answer_of(model.body, items, context);
  if (features.rank() != 2 || features.size(0) != items.size(0))
    fail<ShapeError>(op, "the body must make features [items, width]",
                     {{"items", items.shape()}, {"features", features.shape()}}, site);
  const Tensor<T> logits = answer_of(model.head, features, context);
  return {features, mean_of(domain_risks(by_domain(logits, domains, site), domains, site))};
}

/// The mean of distance(a, b) over all pairs of `parts`.
template <class T, class Distance>
Tensor<T> mean_over_pairs(const std::vector<Tensor<T>>& parts, Distance distance) {
  std::vector<Tensor<T>> distances;
  for (std::size_t i = 0; i < parts.size(); ++i)
    for (std::size_t j = i + 1; j < parts.size(); ++j) distances.push_back(distance(parts[i], parts[j]));
  return mean_of(distances);
}

/// The weight of a penalty that is 1 in the first `annealing_steps` steps and `weight` afterwards; always 0 if that is.
inline double annealed_weight(double weight, int annealing_steps, Index step) {
  return weight == 0 || step >= annealing_steps ? weight : 1;
}
/// Whether it jumps at `step`.
inline bool weight_jumps(double weight, int annealing_steps, Index step) {
  return step > 0 && step == annealing_steps && weight != 0 && weight != 1;
}

}  // namespace detail

/// The number of classes of the data of some domains, the largest label and 1. What a program asks of its data before
/// it trains on them: throws ValueError for fewer than two domains, a domain without items, with one class only or
/// with a label below 0, ShapeError for items of unequal shapes or without a label each.
template <class T>
Index classes_of(const std::vector<LabelledSet<T>>& domains, Site site = Site::current()) {
  detail::check_domains("classes_of", domains, 2, site);
  Index classes = 0;
  for (std::size_t e = 0; e < domains.size(); ++e) {
    const auto labels = host(domains[e].y);
    bool several = false;
    for (const std::int64_t label : labels) {
      if (label < 0) fail("classes_of", {"label ", label, " in domain ", e}, {}, site);
      several |= label != *labels.begin();
      classes = std::max(classes, static_cast<Index>(label) + 1);
    }
    if (!several) fail("classes_of", {"domain ", e, " has items of one class only"}, {}, site);
  }
  return classes;
}

}  // namespace GRAFT_ABI
}  // namespace graft
