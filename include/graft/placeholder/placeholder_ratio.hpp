#pragma once
// How many placeholders: chosen by a loss of validation, on a grid or by successive halving (Jamieson, Talwalkar,
// "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016), and in closed form where the
// optimum is known.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/common/checks.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// (sum_i x_i + M mu) / (N + M) over numbers x [N, ...] and M placeholders fixed at mu: shaped like one of x. M need
/// not be whole. Throws ShapeError, ValueError for a negative M, and unless N + M > 0.
template <Real T>
Tensor<T> mean_with_placeholders(const Tensor<T>& x, double placeholders, double mu = 0, Site site = Site::current()) {
  const char* op = "mean_with_placeholders";
  if (x.rank() < 1) fail<ShapeError>(op, "expected x [items, ...]", {{"x", x.shape()}}, site);
  detail::check_option<T>(op, "placeholders", placeholders, detail::Range::not_negative, site);
  detail::check_option<T>(op, "mu", mu, detail::Range::finite, site);
  const double items = static_cast<double>(x.size(0));
  if (items + placeholders == 0) fail(op, "of no items and no placeholders", {{"x", x.shape()}}, site);
  return mu + sum(x - mu, {0}) / (items + placeholders);
}

/// The mean squared error (N s^2 + M^2 gap^2) / (N + M)^2 of that estimate of a mean theta from N samples of variance
/// s^2, gap = theta - mu. Throws ValueError for negative numbers and for N + M = 0.
inline double placeholder_mean_error(double items, double placeholders, double variance, double gap,
                                     Site site = Site::current()) {
  const char* op = "placeholder_mean_error";
  using detail::Range;
  detail::check_option<double>(op, "items", items, Range::not_negative, site);
  detail::check_option<double>(op, "placeholders", placeholders, Range::not_negative, site);
  detail::check_option<double>(op, "variance", variance, Range::not_negative, site);
  detail::check_option<double>(op, "gap", gap, Range::finite, site);
  if (items + placeholders == 0) fail(op, "of no items and no placeholders", {}, site);
  const double all = items + placeholders;
  return items / all * (variance / all) + placeholders / all * gap * (placeholders / all * gap);
}

/// M* = s^2 / gap^2, where that error is least, whatever N: as many placeholders as their distance from the truth
/// allows, infinity if they are the truth. Throws ValueError for a negative variance or what is not finite.
inline double best_placeholder_count(double variance, double gap, Site site = Site::current()) {
  detail::check_option<double>("best_placeholder_count", "variance", variance, detail::Range::not_negative, site);
  detail::check_option<double>("best_placeholder_count", "gap", gap, detail::Range::finite, site);
  if (variance == 0) return 0;
  return gap == 0 ? std::numeric_limits<double>::infinity() : variance / gap / gap;
}

/// One trial of a ratio, or of whatever number is chosen.
struct RatioTrial {
  double ratio = 0;
  double resource = 0;  ///< what it was trained with
  double loss = 0;      ///< of validation
};

/// What a choice came to.
struct RatioChoice {
  double ratio = 0;                ///< the chosen one
  std::vector<RatioTrial> trials;  ///< in their order
};

namespace detail {

template <class F>
RatioTrial try_ratio(const char* op, F& loss, double ratio, double resource, Site site) {
  const RatioTrial trial{ratio, resource, static_cast<double>(loss(ratio, resource))};
  if (std::isnan(trial.loss)) fail(op, {"the loss at ", ratio, " is ", trial.loss}, {}, site);
  return trial;
}
inline void check_ratios(const char* op, const std::vector<double>& ratios, Site site) {
  if (ratios.empty()) fail(op, "no ratios to choose from", {}, site);
  for (const double ratio : ratios) check_option<double>(op, "a ratio", ratio, Range::finite, site);
}

}  // namespace detail

/// The ratio with the least loss of validation, the earlier one of equal ones: `loss(ratio, resource)` is that of a
/// model trained with the resource (steps, say), the same for each. An infinite loss is a trial that failed. Throws
/// ValueError for no ratios, a loss that is NaN, and if all failed.
template <class F>
RatioChoice grid_choice(const std::vector<double>& ratios, double resource, F loss, Site site = Site::current()) {
  const char* op = "grid_choice";
  detail::check_ratios(op, ratios, site);
  RatioChoice choice;
  for (const double ratio : ratios) choice.trials.push_back(detail::try_ratio(op, loss, ratio, resource, site));
  const auto best = std::min_element(choice.trials.begin(), choice.trials.end(),
                                     [](const RatioTrial& a, const RatioTrial& b) { return a.loss < b.loss; });
  if (!(best->loss < std::numeric_limits<double>::infinity())) fail(op, "every trial failed", {}, site);
  choice.ratio = best->ratio;
  return choice;
}

/// Options of `successive_halving`.
struct HalvingOptions {
  static constexpr DataNeeds needs{.derivatives = 0};
  double budget = 0;       ///< resource to be spent in all; the paper's B
  double keep_one_of = 2;  ///< of so many ratios one goes on; the paper's halving
};

/// Successive halving as in the paper: in each of K = ceil(log_h n) rounds, h = `keep_one_of`, every ratio
/// left gets floor(B / (left K)) more of the resource, and the best floor(left / h), one at least, go on. `loss(ratio,
/// resource)` is the loss of validation with the resource in all so far, which need not start anew. Ratios that are bad
/// are left early, so the last ones get more than on a grid of the same budget. Ties go to the earlier. Throws
/// ValueError for no ratios, a budget with which some round has nothing to spend, a loss that is NaN, and if all
/// failed.
template <class F>
RatioChoice successive_halving(const std::vector<double>& ratios, const HalvingOptions& o, F loss,
                               Site site = Site::current()) {
  const char* op = "successive_halving";
  detail::check_ratios(op, ratios, site);
  detail::check_option<double>(op, "budget", o.budget, detail::Range::positive, site);
  if (!(o.keep_one_of >= 1.5) || !std::isfinite(o.keep_one_of))
    fail(op, {"keep_one_of is ", o.keep_one_of, ", expected 1.5 or more"}, {}, site);
  double rounds = 1;
  const auto count = static_cast<double>(ratios.size());
  for (double reached = o.keep_one_of; reached < count * (1 - 1e-12); reached *= o.keep_one_of) rounds += 1;
  if (o.budget < count * rounds)
    fail(op, {"a budget of ", o.budget, " for ", ratios.size(), " ratios in ", rounds, " rounds"}, {}, site);
  std::vector<std::size_t> left(ratios.size());
  for (std::size_t i = 0; i < left.size(); ++i) left[i] = i;
  std::vector<double> losses(ratios.size());
  RatioChoice choice;
  double resource = 0;
  for (double round = 0; round < rounds; ++round) {
    const auto many = static_cast<double>(left.size());
    resource += std::floor(o.budget / (many * rounds));
    for (const std::size_t i : left) {
      choice.trials.push_back(detail::try_ratio(op, loss, ratios[i], resource, site));
      losses[i] = choice.trials.back().loss;
    }
    const auto better = [&](std::size_t i, std::size_t j) {
      return losses[i] < losses[j] || (losses[i] == losses[j] && i < j);
    };
    std::sort(left.begin(), left.end(), better);
    if (!(losses[left[0]] < std::numeric_limits<double>::infinity())) fail(op, "every trial failed", {}, site);
    choice.ratio = ratios[left[0]];
    left.resize(static_cast<std::size_t>(std::max(1.0, std::floor(many / o.keep_one_of))));
    std::sort(left.begin(), left.end());
  }
  return choice;
}

}  // namespace GRAFT_ABI
}  // namespace graft
