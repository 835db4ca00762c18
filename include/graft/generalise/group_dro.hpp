#pragma once
// Group distributionally robust optimisation. Sagawa, Koh, Hashimoto, Liang, "Distributionally robust neural networks
// for group shifts: on the importance of regularization for worst-case generalization", ICLR 2020, algorithm 1.
// Formula and default are those of DomainBed (algorithms.py, GroupDRO).

#include <algorithm>
#include <cmath>

#include "graft/common/domains.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `GroupDro`; the default is the authors' and DomainBed's.
struct GroupDroOptions {
  double eta = 0.01;  ///< step of the weights; 0: they stay equal, plain risk minimisation
};

/// GroupDRO:  q_e <- q_e exp(eta R_e), divided by their sum,  loss = sum_e q_e R_e  with q a constant. Weight moves to
/// the domain of the largest risk, and adds up: under constant risks q is softmax(eta t R) after t steps. It is brought
/// up to date by every `train_loss`. The authors: an over-parameterised model, whose risks all reach 0, needs strong
/// weight decay or early stopping for this to help. Throws ValueError for fewer than two domains, another number of
/// them than before, one without items, a risk that is not finite, an eta below 0.
struct GroupDro {
  static constexpr DataNeeds needs{.domains = true};
  GroupDroOptions options;
  Buffer<double> log_weights;  ///< [domains]: log q
  GRAFT_FIELDS(log_weights)
  GRAFT_CONFIG(options)

  /// For so many domains, or, if 0, for as many as there are in the first step, when the weights are made.
  explicit GroupDro(Index domains = 0, GroupDroOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("GroupDro", "domains", domains, 0, site);
    detail::check_option<double>("GroupDro", "eta", o.eta, detail::Range::not_negative, site);
    if (domains > 0) start(domains);
  }

  /// q [domains].
  Tensor<double> weights() const {
    return map([](auto x) { return exp(x); }, log_weights.value);
  }

  template <class M, class T>
  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index, ContextRef context,
                       Site site = Site::current()) {
    const Named here("GroupDro", site);
    detail::check_domains("GroupDro", domains, 2, site);
    const auto count = static_cast<Index>(domains.size());
    if (!log_weights.value.defined()) start(count);
    if (log_weights.value.count() != count)
      fail("GroupDro", {count, " domains, but weights of ", log_weights.value.count()}, {}, site);
    const auto risks = detail::domain_risks(detail::domain_answers(model, domains, context, site), domains, site);
    if (options.eta == 0) return detail::mean_of(risks);

    List<double> logs(host(log_weights.value));
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (Index e = 0; e < count; ++e) {
      const auto risk = static_cast<double>(risks[static_cast<std::size_t>(e)].item());
      if (!std::isfinite(risk)) fail("GroupDro", {"the risk of domain ", e, " is ", risk}, {}, site);
      largest = std::max(largest, logs[e] += options.eta * risk);
    }
    for (Index e = 0; e < count; ++e) sum += std::exp(logs[e] - largest);
    for (Index e = 0; e < count; ++e) logs[e] -= largest + std::log(sum);
    log_weights.value = from_vector(logs);

    Tensor<T> loss;
    for (Index e = 0; e < count; ++e) {
      const Tensor<T> part = static_cast<T>(std::exp(logs[e])) * risks[static_cast<std::size_t>(e)];
      loss = e == 0 ? part : loss + part;
    }
    return loss;
  }

 private:
  void start(Index domains) { log_weights.value = full<double>({domains}, -std::log(static_cast<double>(domains))); }
};

}  // namespace GRAFT_ABI
}  // namespace graft
