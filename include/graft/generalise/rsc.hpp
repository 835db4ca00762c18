#pragma once
// Representation self-challenging. Huang, Wang, Xing, Huang, "Self-challenging improves cross-domain generalization",
// ECCV 2020: the features that the answer leans on most are muted, so that others learn to carry it. Compared with
// DomainBed, which works on vectors of features as here.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "graft/common/domains.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Rsc`; the defaults are DomainBed's.
struct RscOptions {
  double features = 1.0 / 3;  ///< share of an item's features that are muted, in [0, 1]; 0: empirical risk
  double items = 1.0 / 3;     ///< share of the items whose features are, in [0, 1]; 0: empirical risk
};

/// The mean of the domains' risks with muted features: of every item those `features` (rounded down) by which the true
/// class's logit rises fastest, and of these items those `items` (rounded down) whose probability of the true class
/// falls most by it; the other items keep all features. Masks are constants; of equal numbers the earlier counts as the
/// larger. (DomainBed cuts at a percentile instead, and so mutes at least one feature of one item at any share.)
struct Rsc {
  static constexpr DataNeeds needs{};
  RscOptions options = {};

  /// Of a model with a `body` and a `head`, which is called three times with the same random numbers. Throws ValueError
  /// without domains, for a share outside [0, 1] and when a slope is not finite; ShapeError for items without labels
  /// and features that are no [items, width].
  template <Model M, class T>
  requires requires(const M& model) { model.body, model.head; }
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index /*step*/, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Rsc", site);
    check_share("features", options.features, site);
    check_share("items", options.items, site);
    detail::check_domains("Rsc", domains, 1, site);
    const Tensor<T> z = answer_of(model.body, detail::all_items(domains, site), context);
    if (z.rank() != 2)
      fail<ShapeError>("Rsc", "expected features [items, width] of the body", {{"features", z.shape()}}, site);
    const Index muted = part_of(options.features, z.size(1)), items = part_of(options.items, z.size(0));
    Tensor<T> seen = z;
    if (muted > 0 && items > 0)
      seen = z * mask(model.head, z.detach(), detail::all_labels(domains, site), muted, items, context, site);
    const Tensor<T> logits = answer_of(model.head, seen, context);
    return detail::mean_of(detail::domain_risks(detail::by_domain(logits, domains, site), domains, site));
  }

 private:
  static void check_share(const char* name, double share, Site site) {
    if (!(share >= 0 && share <= 1)) fail("Rsc", {name, " is ", share, ", expected a share in [0, 1]"}, {}, site);
  }
  /// A share of `count` rounded down, but for rounding of the share.
  static Index part_of(double share, Index count) {
    return static_cast<Index>(std::floor(share * static_cast<double>(count) + 1e-9));
  }
  /// The places of the `count` largest numbers.
  static std::vector<Index> largest(const std::vector<double>& numbers, Index count) {
    std::vector<Index> order(numbers.size());
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
      return numbers[static_cast<std::size_t>(a)] > numbers[static_cast<std::size_t>(b)];
    });
    order.resize(static_cast<std::size_t>(count));
    return order;
  }

  /// [items, width]: 0 for what is muted, else 1.
  template <class Head, class T>
  static Tensor<T> mask(const Head& head, const Tensor<T>& z, const Tensor<std::int64_t>& labels, Index muted,
                        Index items, Context& context, Site site) {
    const Recording off(false);
    const auto logits_of = [&](const Tensor<T>& features) {
      Context repeated = context;
      return answer_of(head, features, repeated);
    };
    const auto of_true_class = [&](const Tensor<T>& numbers) { return take_along(numbers, labels, 1, site); };
    const Tensor<T> slope =
        grad([&](const Tensor<T>& at) { return sum(of_true_class(logits_of(at))); }, z, {.create_graph = false}, site);
    const Index count = z.size(0), width = z.size(1);
    const auto slopes = host(slope);
    std::vector<T> all(static_cast<std::size_t>(count * width), T(1));
    for (Index i = 0; i < count; ++i) {
      const auto row = slopes.begin() + static_cast<std::ptrdiff_t>(i * width);
      const std::vector<double> own(row, row + static_cast<std::ptrdiff_t>(width));
      for (const double number : own)
        if (!std::isfinite(number)) fail("Rsc", {"a slope of the logit of item ", i, " is not finite"}, {}, site);
      for (const Index k : largest(own, muted)) all[static_cast<std::size_t>(i * width + k)] = 0;
    }
    const Tensor<T> all_muted = from_vector(all, {count, width});
    const Tensor<T> falls = of_true_class(softmax(logits_of(z))) - of_true_class(softmax(logits_of(z * all_muted)));
    const auto numbers = host(falls);
    std::vector<T> muted_items(static_cast<std::size_t>(count), T(0));
    for (const Index i : largest(std::vector<double>(numbers.begin(), numbers.end()), items))
      muted_items[static_cast<std::size_t>(i)] = 1;
    const Tensor<T> chosen = from_vector(muted_items, {count, 1});
    return where(chosen == 1, all_muted, 1);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
