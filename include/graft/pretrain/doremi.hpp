#pragma once
// Weights of domains for pre-training, by which a small proxy model makes the worst excess loss over a reference model
// small. Xie et al., "DoReMi: optimizing data mixtures speeds up language model pretraining", NeurIPS 2023, Algorithm
// 1; a domain that a batch lacks, and the scale of the objective, as in the authors' code.

#include <algorithm>
#include <cmath>

#include "graft/common/checks.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/fields.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `DoReMi`; the defaults are the authors'.
struct DoReMiOptions {
  double eta = 1;           ///< step of the weights
  double smoothing = 1e-3;  ///< c: share of the uniform distribution that is mixed in
};

/// The weights of domains during training, and their sum over the steps, whose mean is the answer. One step:
///   lambda_i = mean over the domain's items of max(loss - reference loss, 0)
///   w_i <- w_i e^(eta lambda_i), over their sum;  w <- (1 - c) w + c / domains
/// The proxy model is then stepped with `weighted_loss`. What is learned are the weights: train the model that one
/// wants on batches drawn with `average`. A value that is saved with the training state.
struct DoReMi {
  Buffer<double> weights;      ///< [domains]
  Buffer<double> excess;       ///< [domains]: the latest lambda of each, 0 before the first
  Buffer<double> total;        ///< [domains]: the sum of the weights after each step
  Tensor<std::int64_t> steps;  ///< []
  DoReMiOptions options;
  GRAFT_FIELDS(weights, excess, total, steps)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true, .domains = true};

  DoReMi() = default;
  /// Equal weights. Throws ValueError for no domains and options out of range.
  explicit DoReMi(Index domains, const DoReMiOptions& o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("DoReMi", "domains", domains, 1, site);
    detail::check_option<double>("DoReMi", "eta", o.eta, detail::Range::not_negative, site);
    if (!(o.smoothing >= 0 && o.smoothing <= 1))
      fail("DoReMi", {"smoothing is ", o.smoothing, ", expected 0 to 1"}, {}, site);
    weights.value = full<double>({domains}, 1 / static_cast<double>(domains));
    excess.value = zeros<double>({domains});
    total.value = zeros<double>({domains});
    steps = zeros<std::int64_t>({});
  }

  /// One step of the weights by the losses of items (tokens, texts) [items] under the proxy and the reference model,
  /// and their domains [items]. A domain without items keeps its latest lambda. Throws ShapeError, IndexError for a
  /// domain that there is not, ValueError for a loss that is not finite; nothing is changed then.
  template <Real T>
  void update(const Tensor<T>& losses, const Tensor<T>& reference, const Tensor<std::int64_t>& domains,
              Site site = Site::current()) {
    check("DoReMi", losses, domains, site);
    if (!(reference.shape() == losses.shape()))
      fail<ShapeError>("DoReMi", "expected a reference loss for each loss",
                       {{"losses", losses.shape()}, {"reference", reference.shape()}}, site);
    const Index count = weights.value.count();
    List<double> sums(count), items(count), latest(host(excess.value));
    const auto own = host(losses), other = host(reference);
    const auto of = host(domains);
    for (std::size_t i = 0; i < own.size(); ++i) {
      const double difference = static_cast<double>(own[i]) - static_cast<double>(other[i]);
      if (!std::isfinite(difference)) fail("DoReMi", {"the excess loss of item ", i, " is ", difference}, {}, site);
      sums[of[i]] += std::max(difference, 0.0);
      ++items[of[i]];
    }
    List<double> w(host(weights.value)), all(host(total.value));
    double most = 0, sum = 0;
    for (Index i = 0; i < count; ++i) {
      if (items[i] > 0) latest[i] = sums[i] / items[i];
      most = std::max(most, latest[i]);
    }
    for (Index i = 0; i < count; ++i) sum += w[i] *= std::exp(options.eta * (latest[i] - most));
    for (Index i = 0; i < count; ++i)
      all[i] += w[i] = (1 - options.smoothing) * w[i] / sum + options.smoothing / static_cast<double>(count);
    weights.value = from_vector(w);
    excess.value = from_vector(latest);
    total.value = from_vector(all);
    steps = Tensor<std::int64_t>(steps.item() + 1);
  }

  /// sum_i w_d(i) loss_i / sum_i w_d(i), d(i) the domain of item i: what the proxy model is stepped by, shape []. The
  /// weights are constants. Throws ShapeError, IndexError for a domain that there is not.
  template <Real T>
  Tensor<T> weighted_loss(const Tensor<T>& losses, const Tensor<std::int64_t>& domains,
                          Site site = Site::current()) const {
    check("DoReMi", losses, domains, site);
    const Tensor<T> w = cast<T>(gather(weights.value, domains, 0, site));
    return sum(w * losses) / sum(w);
  }

  /// The mean of the weights over the steps, [domains]; equal weights before the first.
  Tensor<double> average() const {
    const double n = static_cast<double>(steps.item());
    return n > 0 ? total.value / n : weights.value;
  }

 private:
  template <class T>
  void check(const char* op, const Tensor<T>& losses, const Tensor<std::int64_t>& domains, Site site) const {
    if (losses.rank() != 1 || losses.count() == 0 || !(domains.shape() == losses.shape()))
      fail<ShapeError>(op, "expected losses and domains [items] of one item or more",
                       {{"losses", losses.shape()}, {"domains", domains.shape()}}, site);
    const Index count = weights.value.defined() ? weights.value.count() : 0;
    for (const std::int64_t d : host(domains))
      if (d < 0 || d >= count) fail<IndexError>(op, {"domain ", d, " of ", count}, {}, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
