#pragma once
// Meta-learning for domain generalisation. Li, Yang, Song, Hospedales, "Learning to generalize: meta-learning for
// domain generalization", AAAI 2018, Algorithm 1: a step that lowers the risk of some domains should lower that of
// others too. The first-order form is DomainBed's (which takes an inner step for each pair of a meta-train and a
// meta-test domain, and one of Adam; here there is one plain step on all meta-train domains, as in the paper).

#include <cmath>
#include <vector>

#include "graft/common/domains.hpp"
#include "graft/model/grad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Mldg`; the defaults are DomainBed's for small images.
struct MldgOptions {
  double alpha = 1e-3;       ///< rate of the inner step
  double beta = 1;           ///< weight of the meta-test domains; 0: the meta-train ones alone
  Index meta_test = 2;       ///< domains drawn as meta-test, of each step's own
  bool first_order = false;  ///< the inner gradient counts as a constant
};

/// F(theta) + beta G(theta - alpha F'(theta)) with F the mean loss of the meta-train domains and G that of `meta_test`
/// others, drawn anew by the context's numbers in every step. Its gradient is  F' + beta (1 - alpha F'') G'(theta'),
/// of first order  F' + beta G'(theta'),  whose second derivative lacks that of F. `loss(model, domain, context)` is a
/// scalar.
template <class Loss = ClassificationLoss>
struct Mldg {
  static constexpr DataNeeds needs{.domains = true, .derivatives = 2};
  MldgOptions options = {};
  Loss loss = {};

  /// Throws ValueError unless there is a meta-train domain besides the meta-test ones, for options outside their range
  /// and when the inner gradient is not finite; ShapeError for items without labels.
  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index /*step*/, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Mldg", site);
    const auto [alpha, beta, meta_test, first_order] = options;
    const auto count = static_cast<Index>(domains.size());
    detail::check_option<T>("Mldg", "alpha", alpha, detail::Range::finite, site);
    detail::check_option<T>("Mldg", "beta", beta, detail::Range::not_negative, site);
    detail::check_count("Mldg", "meta_test", meta_test, 1, site);
    detail::check_domains("Mldg", domains, meta_test + 1, site);
    const std::vector<Index> order = context->stream("meta-test").permutation(count);
    const auto risk = [&](const M& at, Index first, Index last) {
      std::vector<Tensor<T>> risks;
      for (Index i = first; i < last; ++i)
        risks.push_back(loss(at, domains[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])], context));
      return detail::mean_of(risks);
    };
    const auto meta_train = [&](const M& at) { return risk(at, options.meta_test, count); };
    if (beta == 0) return meta_train(model);
    const auto [train, slope] = value_and_grad(meta_train, model, detail::inner_gradient(first_order), site);
    if (!std::isfinite(train.item()) || !all_finite(slope))
      fail("Mldg", "the loss of the meta-train domains or its gradient is not finite", {}, site);
    const Tensor<T> test = risk(axpy(-alpha, slope, model, site), 0, meta_test);
    // Of first order the value of F comes without its graph; the gradient is there already.
    return (first_order ? detail::with_gradient(train, model, slope) : train) + beta * test;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
