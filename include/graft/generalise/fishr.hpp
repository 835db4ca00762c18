#pragma once
// Fishr. Rame, Dancette, Cord, "Fishr: invariant gradient variances for out-of-distribution generalization", ICML 2022:
// the variances of the items' gradients in the last layer should be alike in all domains. Compared with the authors'
// code, that of DomainBed.

#include <vector>

#include "graft/common/domains.hpp"
#include "graft/model/per_sample_gradients.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Fishr`; the defaults are the authors'.
struct FishrOptions {
  double weight = 1000;  ///< lambda; 0: empirical risk, and nothing is remembered
  double decay = 0.95;   ///< of the moving averages of the variances
  Index start = 1500;    ///< the step from which on the penalty counts
};

/// Mean of the domains' risks + lambda mean_e mean_k (v_ek - mean_e v_ek)^2, where v_e [n] are the variances over the
/// items of domain e of the gradients of their cross-entropies with respect to the head's weight and bias,
/// (p_i - y_i) x_i^T and p_i - y_i. As in the authors' code v_e is  (decay m + (1 - decay) v) / (1 - decay)  with m the
/// moving average so far, at first 0, so that the gradient that flows to v does not depend on the decay. The averages
/// are kept from step 0 on. Holds items x classes x width numbers some times over.
template <class T = float>
struct Fishr {
  static constexpr DataNeeds needs{.domains = true, .derivatives = 2};
  FishrOptions options;
  Buffer<T> averages;  ///< [domains, n]: m of each domain
  GRAFT_FIELDS(averages)
  GRAFT_CONFIG(options)

  Fishr() = default;
  /// For so many domains and so many numbers n in the head, so that a checkpoint can be loaded into it; where they are
  /// 0, for as many as there are in the first step, when the averages are made. Throws ValueError for a weight or a
  /// start below 0 and a decay outside [0, 1).
  explicit Fishr(const FishrOptions& o, Index domains = 0, Index numbers = 0, Site site = Site::current())
      : options(o) {
    detail::check_option<T>("Fishr", "weight", o.weight, detail::Range::not_negative, site);
    detail::check_option<T>("Fishr", "decay", o.decay, detail::Range::below_one, site);
    detail::check_count("Fishr", "start", o.start, 0, site);
    detail::check_count("Fishr", "domains", domains, 0, site);
    detail::check_count("Fishr", "numbers", numbers, 0, site);
    if (domains > 0 && numbers > 0) averages.value = zeros<T>({domains, numbers}, site);
  }

  /// DomainBed starts its optimiser anew where the penalty sets in.
  bool restarts_optimiser(Index step) const { return options.weight != 0 && step == options.start && step != 0; }

  /// Of a model with a `body` and a linear `head`. Throws ValueError for one domain and for other domains or classes
  /// than before, ShapeError for items without labels and features that are no [items, width].
  template <Model M>
  requires requires(const M& model) { model.body, model.head.weight.size(1); }
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index step, ContextRef context,
                       Site site = Site::current()) {
    const Named here("Fishr", site);
    detail::check_domains("Fishr", domains, 2, site);
    const Tensor<T> features = answer_of(model.body, detail::all_items(domains, site), context);
    const Tensor<T> logits = answer_of(model.head, features, context);
    const std::vector<Tensor<T>> z = detail::by_domain(features, domains, site),
                                 answers = detail::by_domain(logits, domains, site);
    const Tensor<T> risk = detail::mean_of(detail::domain_risks(answers, domains, site));
    if (options.weight == 0) return risk;
    std::vector<Tensor<T>> variances;
    for (std::size_t e = 0; e < domains.size(); ++e)
      variances.push_back(variance(model.head, z[e], answers[e], domains[e].y, site));
    const Tensor<T> now = averaged(stack(variances), site);
    if (step < options.start) return risk;
    return risk + options.weight * mean(square(now - mean(now, {0}, true)));
  }

 private:
  /// [n]: of the items of one domain.
  template <class Head>
  static Tensor<T> variance(const Head& head, const Tensor<T>& z, const Tensor<T>& logits,
                            const Tensor<std::int64_t>& labels, Site site) {
    const auto losses = [&](const Tensor<T>& at) {
      return cross_entropy(at, labels, {.reduction = Reduction::none}, site);
    };
    const HeadGradients<T> g = per_sample_gradients(losses, logits, z, {.create_graph = true}, site);
    const Tensor<T> of_weight = reshape(var(g.weight, {0}), {-1});
    if constexpr (requires { head.bias.has_value(); })
      if (!head.bias.has_value()) return of_weight;
    return concat<T>({of_weight, var(g.bias, {0})}, 0, site);
  }
  Tensor<T> averaged(const Tensor<T>& variances, Site site) {
    const T decay = static_cast<T>(options.decay), rest = static_cast<T>(1 - options.decay);
    Tensor<T> sum = rest * variances;
    if (averages.value.defined()) {
      if (!(averages.value.shape() == variances.shape()))
        fail("Fishr", "other domains or classes than in the steps before",
             {{"before", averages.value.shape()}, {"now", variances.shape()}}, site);
      sum = decay * averages.value + sum;
    }
    averages.value = sum.detach();
    return sum / rest;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
