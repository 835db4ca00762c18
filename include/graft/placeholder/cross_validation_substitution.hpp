#pragma once
// Source tasks dealt to folds of the main data in turn, as in a Latin square, and scored on the folds that were held
// out. As the catalogue of methods has it; there is no paper that we know of.

#include <cmath>
#include <optional>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/source_plan.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `CrossValidationSubstitution`.
struct CrossValidationOptions {
  Index folds = 5;    ///< K; ours, as usual in cross-validation
  double rho = 0.25;  ///< share of an item that is filled; ours
};

/// In epoch e all items of fold k have the source (k + e) mod R, R the number of sources: within R epochs each pair of
/// fold and source occurs once, and an item changes its source between epochs, never within one.
struct CrossValidationSubstitution {
  Buffer<std::int64_t> folds;  ///< [items]: the fold of each item, in 0 .. K-1, as even as can be
  CrossValidationOptions options;
  GRAFT_FIELDS(folds)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.domains = true};

  CrossValidationSubstitution() = default;
  /// Deals `items` main items to the folds in a random order. Throws ValueError for fewer than two folds, fewer items
  /// than folds, a rho outside [0, 1].
  CrossValidationSubstitution(Index items, const Random& random, const CrossValidationOptions& o = {},
                              Site site = Site::current())
      : options(o) {
    const char* op = "CrossValidationSubstitution";
    detail::check_count(op, "folds", o.folds, 2, site);
    detail::check_count(op, "items", items, o.folds, site);
    detail::check_share(op, "rho", o.rho, site);
    List<std::int64_t> dealt(items);
    Index at = 0;
    for (const Index item : random.stream("folds").permutation(items)) dealt[item] = at++ % o.folds;
    folds.value = from_vector(dealt);
  }

  /// Throws ValueError without sources, for a negative epoch or item, IndexError for an item that it was not made for.
  SourcePlan operator()(const SourceInput& input, Site site = Site::current()) const {
    const char* op = "CrossValidationSubstitution";
    detail::check_sources(op, input, site);
    const auto of = host(folds.value);
    SourcePlan plan{{}, options.rho};
    for (const Index item : input.items) {
      if (item >= folds.value.count()) fail<IndexError>(op, {"item ", item, " of ", folds.value.count()}, {}, site);
      const auto fold = static_cast<Index>(of[static_cast<std::size_t>(item)]);
      if (fold < 0 || fold >= options.folds) fail<IndexError>(op, {"fold ", fold, " of ", options.folds}, {}, site);
      plan.sources.push_back((fold + input.epoch) % input.sources);
    }
    return plan;
  }

  /// The items of a fold, to be held out when a source is scored. Throws IndexError.
  std::vector<Index> held_out(Index fold, Site site = Site::current()) const {
    if (fold < 0 || fold >= options.folds)
      fail<IndexError>("CrossValidationSubstitution", {"fold ", fold, " of ", options.folds}, {}, site);
    std::vector<Index> items;
    Index item = 0;
    for (const std::int64_t of : host(folds.value)) {
      if (of == fold) items.push_back(item);
      ++item;
    }
    return items;
  }
};

/// What each source task is worth on items that were held out; see `held_out_gains`.
struct HeldOutGains {
  Tensor<double> gains;           ///< [sources, folds]
  Tensor<double> mean;            ///< [sources]
  Tensor<double> standard_error;  ///< [sources]: of the mean
};

/// gain = loss without substitution - loss with the source, on each fold: `held_out_loss(source, fold)`, a double, is
/// the loss on a fold of a model that was trained on the others with this source, or with none (an empty optional).
/// That is (sources + 1) folds trainings. Mean and standard error sd / sqrt(folds), sd with folds - 1; gains of folds
/// share training items, so that the error is rather too small (Bengio, Grandvalet, "No unbiased estimator of the
/// variance of k-fold cross-validation", JMLR 2004). Throws ValueError for no sources, fewer than two folds, a loss
/// that is not finite.
template <class F>
HeldOutGains held_out_gains(F held_out_loss, Index sources, Index folds, Site site = Site::current()) {
  const char* op = "held_out_gains";
  detail::check_count(op, "sources", sources, 1, site);
  detail::check_count(op, "folds", folds, 2, site);
  const auto loss_of = [&](std::optional<Index> source, Index fold) {
    const double loss = held_out_loss(source, fold);
    if (!std::isfinite(loss)) fail(op, {"a loss on fold ", fold, " is ", loss}, {}, site);
    return loss;
  };
  List<double> base, gains, means, errors;
  for (Index k = 0; k < folds; ++k) base.push_back(loss_of(std::nullopt, k));
  for (Index s = 0; s < sources; ++s) {
    double mean = 0, squares = 0;
    for (Index k = 0; k < folds; ++k) {
      gains.push_back(base[k] - loss_of(s, k));
      mean += gains.back() / static_cast<double>(folds);
    }
    for (Index k = 0; k < folds; ++k) squares += std::pow(gains[s * folds + k] - mean, 2);
    means.push_back(mean);
    errors.push_back(std::sqrt(squares / static_cast<double>(folds * (folds - 1))));
  }
  return {from_vector(gains, {sources, folds}), from_vector(means), from_vector(errors)};
}

}  // namespace GRAFT_ABI
}  // namespace graft
