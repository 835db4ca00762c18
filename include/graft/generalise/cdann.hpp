#pragma once
// Domain-adversarial training within classes. Li, Tian, Gong, Liu, Liu, Zhang, Tao, "Deep domain generalization via
// conditional invariant adversarial networks", ECCV 2018. Formula and defaults are those of DomainBed (algorithms.py,
// CDANN): one discriminator that is told the class, where the paper has one a class; the paper was not read.

#include <vector>

#include "graft/common/adversarial_model.hpp"
#include "graft/common/domains.hpp"
#include "graft/common/gradient_reversal.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Cdann`; the defaults are DomainBed's.
struct CdannOptions {
  double lambda = 1;   ///< of the reversed gradient; 0: plain risk minimisation, the discriminator learns nothing
  double penalty = 0;  ///< of the discriminator's squared gradient in its input; above 0 derivatives of order 2 are
                       ///< taken
};

/// CDANN as a method of domain generalisation, for a model with `body`, `head`, `discriminator` and `class_embedding`
/// (common/adversarial_model.hpp): as `Dann`, with
///   sum_i w_i CE(discriminator(reversed z_i + class_embedding[y_i]), domain_i),  w_i = 1 / (items of class y_i,
///   in all domains) / (classes present),
/// so that all classes of the batch weigh the same. Throws as `Dann`, IndexError for a label that has no embedding.
struct Cdann {
  static constexpr DataNeeds needs{.domains = true};
  CdannOptions options = {};

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Cdann", site);
    detail::check_domains("Cdann", domains, 2, site);
    detail::check_option<T>("Cdann", "lambda", options.lambda, detail::Range::not_negative, site);
    detail::check_option<T>("Cdann", "penalty", options.penalty, detail::Range::not_negative, site);
    const auto [features, risk] = detail::features_and_risk("Cdann", model, domains, context, site);
    if (options.lambda == 0) return risk;
    const Tensor<T>& embedding = model.class_embedding;
    if (!embedding.defined() || embedding.rank() != 2 || embedding.size(1) != features.size(1))
      fail<ShapeError>(
          "Cdann", "the model needs a class_embedding [classes, width]",
          {{"features", features.shape()}, {"class_embedding", embedding.defined() ? embedding.shape() : Shape{0}}},
          site);
    const Tensor<std::int64_t> labels = detail::all_labels(domains, site);
    for (const std::int64_t label : host(labels))
      if (label < 0 || label >= embedding.size(0))
        fail<IndexError>("Cdann", {"label ", label, " of ", embedding.size(0), " embedded classes"}, {}, site);
    const Tensor<T> z = reverse_gradient(features, options.lambda, site) + gather(embedding, labels, 0, site);
    return risk + detail::adversary_loss("Cdann", model.discriminator, z, detail::domain_labels(domains),
                                         domains.size(), shares_of<T>(labels, embedding.size(0)), options.penalty,
                                         context, site);
  }

 private:
  /// [items]: 1 / items of the same class / classes present.
  template <class T>
  static Tensor<T> shares_of(const Tensor<std::int64_t>& labels, Index classes) {
    List<Index> items(classes);
    Index present = 0;
    for (const std::int64_t label : host(labels)) present += items[label]++ == 0;
    std::vector<T> shares;
    for (const std::int64_t label : host(labels)) shares.push_back(T(1) / static_cast<T>(items[label] * present));
    return from_vector(shares);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
