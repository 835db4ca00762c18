#pragma once
// MixStyle. Zhou, Yang, Qiao, Xiang, "Domain generalization with MixStyle", ICLR 2021: the mean and deviation of an
// item's feature maps are its style; mixing them with another item's makes items of domains between. Compared with the
// authors' code.

#include <vector>

#include "graft/common/needs.hpp"
#include "graft/core/beta_draws.hpp"
#include "graft/core/options.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A layer between others, for training by any method; the defaults are the paper's. In training, with probability
/// `rate` for a batch,  s' (x - m) / s + m'  where m and s are mean and deviation of each item's channels over its
/// positions, s = root(sample variance + eps), and m', s' mix them with those of another item of the batch by one
/// ratio an item, from Beta(mixing, mixing): maps x [items, positions ..., channels] -> the same shape. Means and
/// deviations are constants: the gradient passes as s' / s. The identity in evaluation. Every call takes the context's
/// next stream named "mixstyle". Configuration, not a model: leave it out of GRAFT_FIELDS.
struct MixStyle {
  static constexpr DataNeeds needs{};
  double rate = 0.5;
  double mixing = 0.1;
  double eps = 1e-6;

  /// Partners by a random permutation of the batch. Throws ShapeError for maps of fewer than two positions, ValueError
  /// for numbers outside their range.
  template <Real T>
  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("MixStyle", site);
    check(x, site);
    if (!context->training()) return x;
    const Random random = context->stream("mixstyle");
    if (!applies(random)) return x;
    const std::vector<Index> order = random.stream("partners").permutation(x.size(0));
    return mixed(x, std::vector<std::int64_t>(order.begin(), order.end()), random, site);
  }

  /// Partners of another domain, of `domains` [items], drawn at random: for batches whose domains are known. Throws as
  /// above, and ValueError when all items are of one domain.
  template <Real T>
  Tensor<T> operator()(const Tensor<T>& x, const Tensor<std::int64_t>& domains, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("MixStyle", site);
    check(x, site);
    const Index items = x.size(0);
    if (!(domains.shape() == Shape{items}))
      fail<ShapeError>("MixStyle", "expected a domain for each item", {{"x", x.shape()}, {"domains", domains.shape()}},
                       site);
    if (!context->training()) return x;
    const Random random = context->stream("mixstyle");
    const auto of = host(domains);
    const std::vector<Index> order = random.stream("partners").permutation(items);
    std::vector<std::int64_t> partners;
    for (Index i = 0; i < items; ++i)  // from its own place in the order on, the first of another domain
      for (Index ahead = 0; ahead < items; ++ahead) {
        const Index j = order[static_cast<std::size_t>((i + ahead) % items)];
        if (of[static_cast<std::size_t>(j)] == of[static_cast<std::size_t>(i)]) continue;
        partners.push_back(j);
        break;
      }
    if (partners.empty() && items > 0) fail("MixStyle", "all items are of one domain", {{"x", x.shape()}}, site);
    return applies(random) ? mixed(x, partners, random, site) : x;
  }

 private:
  bool applies(const Random& random) const { return random.stream("apply").uniform(0) < rate; }

  template <class T>
  void check(const Tensor<T>& x, Site site) const {
    if (!(rate >= 0 && rate <= 1)) fail("MixStyle", {"rate is ", rate, ", expected a number in [0, 1]"}, {}, site);
    detail::check_option<T>("MixStyle", "mixing", mixing, detail::Range::positive, site);
    detail::check_option<T>("MixStyle", "eps", eps, detail::Range::positive, site);
    if (x.rank() < 3 || x.count() < 2 * x.size(0) * x.size(-1))
      fail<ShapeError>("MixStyle", "expected maps [items, positions ..., channels] of two positions or more",
                       {{"x", x.shape()}}, site);
  }
  template <class T>
  Tensor<T> mixed(const Tensor<T>& x, const std::vector<std::int64_t>& partners, const Random& random,
                  Site site) const {
    const Index items = x.size(0), channels = x.size(-1);
    if (items == 0) return x;
    const Tensor<T> rows = reshape(x, {items, x.count() / (items * channels), channels}, site), fixed = rows.detach();
    const Tensor<T> m = mean(fixed, {1}, true), s = sqrt(var(fixed, {1}, {.sample = true, .keep = true}, site) + eps);
    const Tensor<T> ratio = beta_draws<T>({items, 1, 1}, mixing, mixing, random.stream("ratio"), site);
    const Tensor<std::int64_t> of = from_vector(partners);
    const auto mix = [&](const Tensor<T>& own) { return ratio * own + (T(1) - ratio) * gather(own, of); };
    return reshape((rows - m) / s * mix(s) + mix(m), x.shape(), site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
