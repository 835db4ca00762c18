#pragma once
// Stochastic weight averaging, densely. Cha et al., "SWAD: domain generalization by seeking flat minima", NeurIPS 2021,
// Algorithm 1: the mean of the weights after every single step from the start of the validation loss's valley to its
// end. Compared with the authors' code, whose list of averaged pieces holds some of them twice; here each counts once.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/weight_average.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Swad`; the authors', with the tolerance of most of their data sets (1.2 for VLCS).
struct SwadOptions {
  Index optimum_patience = 3;  ///< N_s: evaluations of which the first must be the best for the valley to start
  Index overfit_patience = 6;  ///< N_e: evaluations that must all lie above the threshold for it to end
  double tolerance = 1.3;      ///< r: the threshold is r times the mean loss of the N_s evaluations at the start
};

/// The mean of the weights after some steps.
template <Model M>
struct WeightSegment {
  M mean;
  Buffer<double> numbers;  ///< [2]: how many steps, 0 where there is nothing, and the validation loss at their end
  GRAFT_FIELDS(mean, numbers)

  double steps() const { return host(numbers.value)[0]; }
  double loss() const { return host(numbers.value)[1]; }
};

/// The average, on its way: a value that is saved with the training state. It holds the mean of the valley so far and
/// of each of the last max(N_s, N_e) spans between evaluations; a span counts to the evaluation at its end.
///
///     Swad<Net> swad(net);
///     ... after every step:                swad.step(net);
///     ... after every so many:             swad.evaluated(validation_loss(net));
///     net = with_batch_statistics(swad.average(), batches, random);
template <Model M>
struct Swad {
  static constexpr DataNeeds needs{.derivatives = 0};
  WeightSegment<M> valley;                ///< from the start on, as far as the end cannot lie before
  WeightSegment<M> open;                  ///< since the last evaluation
  std::vector<WeightSegment<M>> waiting;  ///< places for the spans before the last evaluations, filled from the first
  Buffer<double> threshold;               ///< []: l, from the start on
  Buffer<std::int64_t> over;              ///< []: 1 when the valley has ended
  SwadOptions options;
  GRAFT_FIELDS(valley, open, waiting, threshold, over)
  GRAFT_CONFIG(options)

  /// For models like `model`, whose numbers do not count. Throws ValueError for a patience below 1 or a tolerance below
  /// 1.
  explicit Swad(const M& model, const SwadOptions& o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("Swad", "optimum_patience", o.optimum_patience, 1, site);
    detail::check_count("Swad", "overfit_patience", o.overfit_patience, 1, site);
    if (!(o.tolerance >= 1) || !std::isfinite(o.tolerance))
      fail("Swad", {"tolerance is ", o.tolerance, ", expected a number of 1 or more"}, {}, site);
    valley = open = {detach(model), {zeros<double>({2})}};
    waiting.assign(static_cast<std::size_t>(std::max(o.optimum_patience, o.overfit_patience) + 1), open);
    threshold.value = zeros<double>({});
    over.value = zeros<std::int64_t>({});
  }

  /// Whether the valley has started.
  bool started() const { return valley.steps() > 0; }
  /// Whether it is over: nothing later counts.
  bool ended() const { return host(over.value)[0] == 1; }

  /// The model after a step. Throws ShapeError for a model of other shapes.
  void step(const M& model, Site site = Site::current()) {
    if (ended()) return;
    const Recording off(false);
    detail::check_same_shapes("Swad", open.mean, model, site);
    join(open, WeightSegment<M>{detach(model), {tensor<double>({1, 0})}}, site);
  }

  /// The validation loss after the last step. Throws ValueError for one that is not finite, and without a step since
  /// the last evaluation.
  void evaluated(double loss, Site site = Site::current()) {
    if (ended()) return;
    if (!std::isfinite(loss)) fail("Swad", {"the validation loss is ", loss}, {}, site);
    if (open.steps() == 0) fail("Swad", "there was no step since the last evaluation", {}, site);
    const Recording off(false);
    open.numbers.value = tensor<double>({open.steps(), loss});
    waiting[held()] = open;
    empty(open);
    if (!started())
      start(site);
    else
      go_on(site);
  }

  /// The mean of the steps of the valley. Where training ends in it, spans after the last evaluation that is not above
  /// the threshold are left out, as in the authors' code; where it has not started, it is the mean of the last span
  /// that was evaluated, as there. What is no parameter is of the last model. Throws ValueError before the first
  /// evaluation.
  M average(Site site = Site::current()) const {
    std::size_t last = held();
    if (!started() && last == 0) fail("Swad", "there was no evaluation", {}, site);
    if (!started()) return waiting[last - 1].mean;
    while (last > 0 && waiting[last - 1].loss() > threshold.value.item()) --last;
    const Recording off(false);
    WeightSegment<M> all = valley;
    for (std::size_t i = 0; i < last; ++i) join(all, waiting[i], site);
    return all.mean;
  }

 private:
  static void empty(WeightSegment<M>& segment) { segment.numbers.value = zeros<double>({2}); }
  /// Joins the steps of `more` to those of `to`.
  static void join(WeightSegment<M>& to, const WeightSegment<M>& more, Site site) {
    const double steps = to.steps() + more.steps();
    to.mean =
        to.steps() == 0 ? more.mean : detail::moved_towards("Swad", to.mean, more.mean, more.steps() / steps, site);
    to.numbers.value = tensor<double>({steps, more.loss()});
  }
  /// How many places of `waiting` are filled.
  std::size_t held() const {
    std::size_t count = 0;
    while (count < waiting.size() && waiting[count].steps() > 0) ++count;
    return count;
  }
  void drop_first() {
    std::rotate(waiting.begin(), waiting.begin() + 1, waiting.end());
    empty(waiting.back());
  }

  void start(Site site) {
    const auto patience = static_cast<std::size_t>(options.optimum_patience);
    if (held() > patience) drop_first();
    if (held() < patience) return;
    double total = 0;
    for (std::size_t i = 0; i < patience; ++i) {
      if (waiting[i].loss() < waiting[0].loss()) return;
      total += waiting[i].loss();
    }
    threshold.value = Tensor<double>(options.tolerance * total / static_cast<double>(patience));
    join(valley, waiting[0], site);
    drop_first();
  }
  void go_on(Site site) {
    const auto patience = static_cast<std::size_t>(options.overfit_patience);
    for (; held() > patience; drop_first()) join(valley, waiting[0], site);
    if (held() < patience) return;
    for (std::size_t i = 0; i < patience; ++i)
      if (waiting[i].loss() <= threshold.value.item()) return;
    over.value = Tensor<std::int64_t>(1);
    for (WeightSegment<M>& segment : waiting) empty(segment);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
