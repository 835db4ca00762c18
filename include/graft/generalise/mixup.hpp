#pragma once
// Mixup of items from different domains. Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: beyond empirical risk minimization",
// ICLR 2018; across domains: Yan, Song, Li, Zou, Ren, "Improve unsupervised domain adaptation with mixup training",
// arXiv 2001.00677, and Wang, Li, Kot, "Heterogeneous domain generalization via domain mixup", ICASSP 2020. Formula and
// default are those of DomainBed (algorithms.py, Mixup); the two papers on domains were not read.

#include <algorithm>

#include "graft/common/domains.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Mixup`; the default is DomainBed's.
struct MixupOptions {
  double alpha = 0.2;  ///< of the Beta(alpha, alpha) that lambda is drawn from; 0: nothing is mixed, plain risk
                       ///< minimisation
};

/// Two domains whose items are mixed: the first of them is `lambda` of the mixture.
struct MixedPair {
  Index first, second;
  double lambda;
};

/// The pairs of a step: the domains in a random order, each with the next and the last with the first, so that every
/// domain is once the first and once the second of a pair, and a lambda ~ Beta(alpha, alpha) a pair. Throws ValueError
/// for fewer than two domains and an alpha that is not positive.
inline std::vector<MixedPair> mixup_pairs(Index domains, double alpha, const Random& random,
                                          Site site = Site::current()) {
  detail::check_count("mixup_pairs", "domains", domains, 2, site);
  detail::check_gamma_shape("mixup_pairs", "alpha", alpha, site);
  const std::vector<Index> order = random.stream("order").permutation(domains);
  std::vector<MixedPair> pairs;
  for (std::size_t i = 0; i < order.size(); ++i)
    pairs.push_back({order[i], order[(i + 1) % order.size()],
                     beta_draw(alpha, alpha, random.stream("lambda").stream(static_cast<std::uint64_t>(i)), site)});
  return pairs;
}

/// Mixup as a method of domain generalisation: the mean over the pairs (i, j, lambda) of `mixup_pairs` of
///   lambda CE(f(x), y_i) + (1 - lambda) CE(f(x), y_j),   x = lambda x_i + (1 - lambda) x_j,
/// items in the order of the batches, and of the larger batch of a pair as many as the other has. Draws the context's
/// next stream named "mixup". Throws ValueError for fewer than two domains, one without items, an alpha below 0.
struct Mixup {
  static constexpr DataNeeds needs{.domains = true};
  MixupOptions options = {};

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Mixup", site);
    detail::check_domains("Mixup", domains, 2, site);
    const double alpha = options.alpha;
    if (alpha == 0)
      return detail::mean_of(
          detail::domain_risks(detail::domain_answers(model, domains, context, site), domains, site));
    detail::check_gamma_shape("Mixup", "alpha", alpha, site);
    const auto pairs = mixup_pairs(static_cast<Index>(domains.size()), alpha, context->stream("mixup"), site);
    std::vector<LabelledSet<T>> first, second;
    for (const MixedPair& pair : pairs) {
      const LabelledSet<T>& a = domains[static_cast<std::size_t>(pair.first)];
      const LabelledSet<T>& b = domains[static_cast<std::size_t>(pair.second)];
      const Index items = std::min(a.x.size(0), b.x.size(0));
      const auto front = [&](const auto& x) { return x.size(0) == items ? x : slice(x, 0, 0, items, 1, site); };
      const auto share = static_cast<T>(pair.lambda);
      first.push_back({share * front(a.x) + (1 - share) * front(b.x), front(a.y)});
      second.push_back({first.back().x, front(b.y)});
    }
    const auto logits = detail::domain_answers(model, first, context, site);
    const auto own = detail::domain_risks(logits, first, site), other = detail::domain_risks(logits, second, site);
    std::vector<Tensor<T>> losses;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const auto share = static_cast<T>(pairs[i].lambda);
      losses.push_back(share * own[i] + (1 - share) * other[i]);
    }
    return detail::mean_of(losses);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
