#pragma once
// Maximum mean discrepancy between domains' features. Gretton, Borgwardt, Rasch, Schoelkopf, Smola, "A kernel
// two-sample test", JMLR 2012; for domain generalisation: Li, Pan, Wang, Kot, "Domain generalization with adversarial
// feature learning", CVPR 2018. Kernels and default are those of DomainBed (algorithms.py, MMD), without the second
// paper's auto-encoder.

#include "graft/common/domains.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Mmd`; the default is DomainBed's.
struct MmdOptions {
  double weight = 1;  ///< of the distance; 0: plain risk minimisation
};

namespace detail {

/// sum_g exp(-g |a_i - b_j|^2) for g = 0.001, 0.01, .. 1000, [n, m].
template <class T>
Tensor<T> kernel_sums(const Tensor<T>& a, const Tensor<T>& b, Site site) {
  return map(
      [](auto d) {
        return exp(-0.001 * d) + exp(-0.01 * d) + exp(-0.1 * d) + exp(-d) + exp(-10 * d) + exp(-100 * d) +
               exp(-1000 * d);
      },
      squared_distances(a, b, site));
}

}  // namespace detail

/// MMD^2 of two samples of features under a sum k of seven Gaussian kernels, shape []:
///   mean k(a, a') + mean k(b, b') - 2 mean k(a, b),   k(u, v) = sum_g exp(-g |u - v|^2),  g = 0.001, 0.01, .. 1000
/// over all pairs, those of an item with itself too: the biased estimate, which is not negative but for rounding, and 0
/// for two equal samples. `a` [n, width], `b` [m, width]. Throws ShapeError, and ValueError for an empty sample.
template <Real T>
Tensor<T> gaussian_mmd(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  if (a.rank() != 2 || b.rank() != 2 || a.size(1) != b.size(1))
    fail<ShapeError>("gaussian_mmd", "expected features [n, width] and [m, width]",
                     {{"a", a.shape()}, {"b", b.shape()}}, site);
  if (a.size(0) < 1 || b.size(0) < 1) fail("gaussian_mmd", "a sample is empty", {}, site);
  const auto kernel = [&](const Tensor<T>& u, const Tensor<T>& v) { return mean(detail::kernel_sums(u, v, site)); };
  return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b);
}

/// MMD as a method of domain generalisation, for a model with `body` and `head`: the mean risk + weight times the mean
/// over pairs of domains of their features' MMD^2. Throws ValueError for fewer than two domains, one without items, a
/// weight below 0, ShapeError for features that are not [items, width].
struct Mmd {
  static constexpr DataNeeds needs{.domains = true};
  MmdOptions options = {};

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Mmd", site);
    detail::check_domains("Mmd", domains, 2, site);
    detail::check_option<T>("Mmd", "weight", options.weight, detail::Range::not_negative, site);
    const auto [features, risk] = detail::features_and_risk("Mmd", model, domains, context, site);
    if (options.weight == 0) return risk;
    const auto distance = [&](const Tensor<T>& a, const Tensor<T>& b) { return gaussian_mmd(a, b, site); };
    return risk + static_cast<T>(options.weight) *
                      detail::mean_over_pairs(detail::by_domain(features, domains, site), distance);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
