#pragma once
// Intervals of means without a distribution assumed: items are drawn again and again from the items at hand (Efron,
// Tibshirani, "An introduction to the bootstrap", 1993). Draws are of the library's `Random`, the same at any number of
// threads.

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/core/random.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of the bootstrap.
struct BootstrapOptions {
  Index draws = 10000;
  double level = 0.95;  ///< of the interval
};

/// A mean and what drawing its items again makes of it.
struct BootstrapInterval {
  double mean = 0;              ///< of the items at hand
  double low = 0, high = 0;     ///< quantiles (1 - level) / 2 and (1 + level) / 2 of the draws' means
  double standard_error = 0;    ///< standard deviation of the draws' means
  double share_above_zero = 0;  ///< of the draws, a mean of 0 counting half
  Index draws = 0;
};

/// Figures [folds][seeds][episodes], as many seeds and episodes as each fold and seed has.
using FoldFigures = std::vector<std::vector<std::vector<double>>>;

namespace detail {

inline double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// The value below which a share of `rising` numbers lies, on straight lines between neighbours (NumPy's default).
inline double quantile(std::span<const double> rising, double share) {
  const double place = share * static_cast<double>(rising.size() - 1);
  const auto low = static_cast<std::size_t>(place);
  const std::size_t high = std::min(low + 1, rising.size() - 1);
  return rising[low] + (place - static_cast<double>(low)) * (rising[high] - rising[low]);
}

/// Places among `count` items, one after another from a stream.
class Picker {
 public:
  explicit Picker(const Random& random) : random_(random) {}
  std::size_t operator()(std::size_t count) {
    return static_cast<std::size_t>(random_.below(next_++, static_cast<Index>(count)));
  }

 private:
  Random random_;
  std::uint64_t next_ = 0;
};

inline void check_bootstrap(const char* op, const BootstrapOptions& o, Site site) {
  if (o.draws < 1) fail(op, {o.draws, " draws"}, {}, site);
  if (!(o.level > 0 && o.level < 1)) fail(op, {"level is ", o.level, ", expected one in (0, 1)"}, {}, site);
}

/// The interval of draw_mean(picker of the draw).
template <class DrawMean>
BootstrapInterval bootstrap(double mean, const Random& random, const BootstrapOptions& o, const DrawMean& draw_mean) {
  std::vector<double> means(static_cast<std::size_t>(o.draws));
  parallel_for(o.draws, 16, [&](Index begin, Index end) {
    for (Index draw = begin; draw < end; ++draw)
      means[static_cast<std::size_t>(draw)] = draw_mean(Picker(random.stream("bootstrap", draw)));
  });
  std::sort(means.begin(), means.end());
  BootstrapInterval interval;
  interval.mean = mean;
  interval.draws = o.draws;
  interval.low = quantile(means, (1 - o.level) / 2);
  interval.high = quantile(means, (1 + o.level) / 2);
  const double centre = mean_of(means);
  for (const double value : means) {
    interval.standard_error += (value - centre) * (value - centre);
    interval.share_above_zero += value > 0 ? 1 : value == 0 ? 0.5 : 0;
  }
  interval.standard_error = o.draws < 2 ? 0 : std::sqrt(interval.standard_error / static_cast<double>(o.draws - 1));
  interval.share_above_zero /= static_cast<double>(o.draws);
  return interval;
}

inline BootstrapInterval bootstrap_of(const char* op, std::span<const double> values, const Random& random,
                                      const BootstrapOptions& o, Site site) {
  check_bootstrap(op, o, site);
  if (values.empty()) fail(op, "of no items", {}, site);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) fail(op, {"item ", i, " is ", values[i]}, {}, site);
  return bootstrap(mean_of(values), random, o, [&](Picker pick) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[pick(values.size())];
    return sum / static_cast<double>(values.size());
  });
}

inline BootstrapInterval hierarchical_bootstrap_of(const char* op, const FoldFigures& figures, const Random& random,
                                                   const BootstrapOptions& o, Site site) {
  check_bootstrap(op, o, site);
  if (figures.empty()) fail(op, "of no folds", {}, site);
  double mean = 0;
  for (std::size_t f = 0; f < figures.size(); ++f) {
    if (figures[f].empty()) fail(op, {"fold ", f, " has no seeds"}, {}, site);
    double of_fold = 0;
    for (std::size_t s = 0; s < figures[f].size(); ++s) {
      if (figures[f][s].empty()) fail(op, {"seed ", s, " of fold ", f, " has no episodes"}, {}, site);
      for (const double value : figures[f][s])
        if (!std::isfinite(value)) fail(op, {"seed ", s, " of fold ", f, " holds ", value}, {}, site);
      of_fold += mean_of(figures[f][s]);
    }
    mean += of_fold / static_cast<double>(figures[f].size());
  }
  mean /= static_cast<double>(figures.size());
  return bootstrap(mean, random, o, [&](Picker pick) {
    double of_folds = 0;
    for (std::size_t f = 0; f < figures.size(); ++f) {
      const auto& fold = figures[pick(figures.size())];
      double of_seeds = 0;
      for (std::size_t s = 0; s < fold.size(); ++s) {
        const auto& episodes = fold[pick(fold.size())];
        double sum = 0;
        for (std::size_t e = 0; e < episodes.size(); ++e) sum += episodes[pick(episodes.size())];
        of_seeds += sum / static_cast<double>(episodes.size());
      }
      of_folds += of_seeds / static_cast<double>(fold.size());
    }
    return of_folds / static_cast<double>(figures.size());
  });
}

}  // namespace detail

/// The percentile interval of the mean of `values` [items]: each draw takes as many items, with replacement. Draw r
/// uses random.stream("bootstrap", r), so two calls with one `random` draw the same places. Throws ValueError for no
/// items, one that is not finite, less than one draw or a level outside (0, 1).
inline BootstrapInterval bootstrap_mean(std::span<const double> values, const Random& random,
                                        const BootstrapOptions& o = {}, Site site = Site::current()) {
  return detail::bootstrap_of("bootstrap_mean", values, random, o, site);
}

/// The same of the differences a_i - b_i: both methods' figures of an item are drawn together. Throws as
/// `bootstrap_mean`, and ValueError for lists of unequal length.
inline BootstrapInterval paired_bootstrap(std::span<const double> a, std::span<const double> b, const Random& random,
                                          const BootstrapOptions& o = {}, Site site = Site::current()) {
  const char* op = "paired_bootstrap";
  if (a.size() != b.size()) fail(op, {a.size(), " values against ", b.size()}, {}, site);
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  return detail::bootstrap_of(op, differences, random, o, site);
}

/// The percentile interval of the mean over folds of the mean over a fold's seeds of the mean over a seed's episodes.
/// Each draw takes folds with replacement, of each of these seeds, and of each of those episodes, so that the interval
/// speaks of new folds and seeds, not of new episodes alone (Davison, Hinkley 1997, section 3.8; Saravanan, Berman,
/// Sober 2020). Seeds belong to their fold and episodes to their seed: with the same episodes for all seeds, treat the
/// figures as means of seeds instead. A level with one member adds no width. `figures` [folds][seeds][episodes]. Throws
/// ValueError for an empty level, a number that is not finite, less than one draw or a level outside (0, 1).
inline BootstrapInterval hierarchical_bootstrap(const FoldFigures& figures, const Random& random,
                                                const BootstrapOptions& o = {}, Site site = Site::current()) {
  return detail::hierarchical_bootstrap_of("hierarchical_bootstrap", figures, random, o, site);
}

/// The same of the differences of two methods that answered the same episodes, drawn together: `a` and `b`
/// [folds][seeds][episodes] of the same sizes. Throws as above, and ValueError for sizes that differ.
inline BootstrapInterval hierarchical_bootstrap(const FoldFigures& a, const FoldFigures& b, const Random& random,
                                                const BootstrapOptions& o = {}, Site site = Site::current()) {
  const char* op = "hierarchical_bootstrap";
  FoldFigures differences = a;
  if (a.size() != b.size()) fail(op, {a.size(), " folds against ", b.size()}, {}, site);
  for (std::size_t f = 0; f < a.size(); ++f) {
    if (a[f].size() != b[f].size())
      fail(op, {"fold ", f, " has ", a[f].size(), " seeds against ", b[f].size()}, {}, site);
    for (std::size_t s = 0; s < a[f].size(); ++s) {
      if (a[f][s].size() != b[f][s].size())
        fail(op, {"seed ", s, " of fold ", f, " has ", a[f][s].size(), " episodes against ", b[f][s].size()}, {}, site);
      for (std::size_t e = 0; e < a[f][s].size(); ++e) differences[f][s][e] -= b[f][s][e];
    }
  }
  return detail::hierarchical_bootstrap_of(op, differences, random, o, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
