#pragma once
// Correlation alignment of features. Sun, Saenko, "Deep CORAL: correlation alignment for deep domain adaptation", ECCV
// Workshops 2016. Formula and default are those of DomainBed (algorithms.py, CORAL), which aligns means too.

#include "graft/common/domains.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Coral`; the default is DomainBed's.
struct CoralOptions {
  double weight = 1;  ///< of the distance; 0: plain risk minimisation
};

/// The two parts of the distance of two sets of features, scalars [].
template <class T>
struct CoralParts {
  Tensor<T> means;        ///< mean over features of (mean_a - mean_b)^2
  Tensor<T> covariances;  ///< mean over pairs of features of (C_a - C_b)^2, C with divisor n - 1; the paper's
                          ///< |C_a - C_b|_F^2 / (4 width^2) is a quarter of it
};

/// `a` [n, width], `b` [m, width]. Both are 0 where means and covariances are equal; the second is the same for shifted
/// sets. A part that all items share costs no accuracy. Throws ShapeError, and ValueError for fewer than two items.
template <Real T>
CoralParts<T> coral_parts(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  if (a.rank() != 2 || b.rank() != 2 || a.size(1) != b.size(1) || a.size(1) < 1)
    fail<ShapeError>("coral_parts", "expected features [n, width] and [m, width]", {{"a", a.shape()}, {"b", b.shape()}},
                     site);
  if (a.size(0) < 2 || b.size(0) < 2)
    fail("coral_parts", {"covariances need two items, there are ", a.size(0), " and ", b.size(0)}, {}, site);
  const Tensor<T> shared = slice(a.detach(), 0, 0, 1);
  const auto centred = [&](const Tensor<T>& x) {
    const Tensor<T> rest = x - shared;
    return std::pair(mean(rest, {0}, true), rest);
  };
  const auto covariance = [](const Tensor<T>& x) {
    const Tensor<T> rest = detail::less_mean(x, x);
    return matmul(rest, rest, {.transpose_a = true}) / static_cast<T>(x.size(0) - 1);
  };
  return {mean(square(centred(a).first - centred(b).first)), mean(square(covariance(a) - covariance(b)))};
}

/// CORAL as a method of domain generalisation, for a model with `body` and `head`: the mean risk + weight times the
/// mean over pairs of domains of both parts of their features' distance. Throws ValueError for fewer than two domains,
/// one with fewer than two items, a weight below 0, ShapeError for features that are not [items, width].
struct Coral {
  static constexpr DataNeeds needs{.domains = true};
  CoralOptions options = {};

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Coral", site);
    detail::check_domains("Coral", domains, 2, site);
    detail::check_option<T>("Coral", "weight", options.weight, detail::Range::not_negative, site);
    for (std::size_t e = 0; e < domains.size(); ++e)
      if (options.weight != 0 && domains[e].x.size(0) < 2)
        fail("Coral", {"domain ", e, " has one item; covariances need two"}, {}, site);
    const auto [features, risk] = detail::features_and_risk("Coral", model, domains, context, site);
    if (options.weight == 0) return risk;
    const auto distance = [&](const Tensor<T>& a, const Tensor<T>& b) {
      const CoralParts<T> parts = coral_parts(a, b, site);
      return parts.means + parts.covariances;
    };
    return risk + static_cast<T>(options.weight) *
                      detail::mean_over_pairs(detail::by_domain(features, domains, site), distance);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
