#pragma once
// How much of what a model can do is left away from its training data: on new items, in other domains, with noise on
// its inputs, and against inputs chosen to mislead it: projected gradient descent by Madry, Makelov, Schmidt, Tsipras,
// Vladu, "Towards deep learning models resistant to adversarial attacks", ICLR 2018. Compared with the authors' code.

#include <cmath>
#include <limits>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/context.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// What is lost from one figure to another. Throws ValueError for figures that are not finite.
inline double lost(const char* op, double before, double after, bool higher_is_better, Site site) {
  if (!std::isfinite(before) || !std::isfinite(after))
    fail(op, {"the figures are ", before, " and ", after, ", expected finite numbers"}, {}, site);
  return higher_is_better ? before - after : after - before;
}

}  // namespace detail

/// train - test of an accuracy, test - train of a loss or an error: above 0 where the model does better on what it was
/// trained on. Throws ValueError for figures that are not finite.
inline double train_test_gap(double train, double test, bool higher_is_better = true, Site site = Site::current()) {
  return detail::lost("train_test_gap", train, test, higher_is_better, site);
}

/// inside - outside of an accuracy, outside - inside of a loss or an error: what the model loses from data distributed
/// as its training data to data that are not. Both figures are of items that it was not trained on. Throws ValueError
/// for figures that are not finite.
inline double out_of_distribution_drop(double inside, double outside, bool higher_is_better = true,
                                       Site site = Site::current()) {
  return detail::lost("out_of_distribution_drop", inside, outside, higher_is_better, site);
}

/// The accuracy in each domain, [domains]. `logits` [items, classes], `labels` and `domains` [items], the latter in 0
/// .. count-1. Groups of items are domains too: of a class and an attribute, class attributes + attribute. Throws
/// ShapeError, IndexError for a label or a domain out of range, ValueError for a domain without items.
template <Real T>
std::vector<double> domain_accuracies(const Tensor<T>& logits, const Tensor<std::int64_t>& labels,
                                      const Tensor<std::int64_t>& domains, Index count, Site site = Site::current()) {
  const char* op = "domain_accuracies";
  detail::check_logits(op, logits, labels, site);
  if (!(domains.shape() == labels.shape()))
    fail<ShapeError>(op, "expected a domain for each item", {{"labels", labels.shape()}, {"domains", domains.shape()}},
                     site);
  if (count < 1) fail(op, {"of ", count, " domains"}, {}, site);
  std::vector<std::vector<std::int64_t>> items(static_cast<std::size_t>(count));
  std::int64_t item = 0;
  for (const std::int64_t domain : host(domains)) {
    if (domain < 0 || domain >= count) fail<IndexError>(op, {"domain ", domain, " of ", count}, {}, site);
    items[static_cast<std::size_t>(domain)].push_back(item++);
  }
  std::vector<double> accuracies;
  const Named here(op, site);
  for (const std::vector<std::int64_t>& own : items) {
    if (own.empty()) fail(op, {"domain ", static_cast<Index>(accuracies.size()), " has no items"}, {}, site);
    const Tensor<std::int64_t> places = from_vector(own);
    accuracies.push_back(accuracy(gather(logits, places), gather(labels, places), site));
  }
  return accuracies;
}

/// The domain with the worst figure.
struct WorstDomain {
  Index domain = 0;   ///< the first of equal ones
  double figure = 0;  ///< there: of accuracies of groups, the worst-group accuracy (Sagawa et al., ICLR 2020)
  double mean = 0;    ///< over domains, each counting the same
};

/// Of one figure a domain. Throws ValueError for no domains or a figure that is not finite.
inline WorstDomain worst_domain(const std::vector<double>& figures, bool higher_is_better = true,
                                Site site = Site::current()) {
  if (figures.empty()) fail("worst_domain", "of no domains", {}, site);
  WorstDomain worst{0, figures[0], 0};
  for (std::size_t i = 0; i < figures.size(); ++i) {
    if (!std::isfinite(figures[i]))
      fail("worst_domain", {"the figure of domain ", static_cast<Index>(i), " is ", figures[i]}, {}, site);
    if (higher_is_better ? figures[i] < worst.figure : figures[i] > worst.figure) {
      worst.domain = static_cast<Index>(i);
      worst.figure = figures[i];
    }
    worst.mean += figures[i] / static_cast<double>(figures.size());
  }
  return worst;
}

/// Between which numbers every input lies.
struct InputRange {
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
};

namespace detail {

/// Throws ShapeError unless x and labels have as many items, ValueError for none, a range that is none or an input
/// outside.
template <class T>
void check_inputs(const char* op, const Tensor<T>& x, const Tensor<std::int64_t>& labels, const InputRange& range,
                  Site site) {
  if (x.rank() < 1 || labels.rank() != 1 || labels.size(0) != x.size(0))
    fail<ShapeError>(op, "expected inputs [items, ...] and labels [items]",
                     {{"x", x.shape()}, {"labels", labels.shape()}}, site);
  if (x.count() == 0) fail(op, "of no items", {{"x", x.shape()}}, site);
  if (!(range.low < range.high)) fail(op, {"inputs from ", range.low, " to ", range.high}, {}, site);
  for (const T number : host(x))
    if (!(static_cast<double>(number) >= range.low && static_cast<double>(number) <= range.high))
      fail(op, {"an input is ", number, ", expected ", range.low, " to ", range.high}, {}, site);
}

}  // namespace detail

/// The accuracy at x + deviation z, z standard normal, moved into `range` where it leaves it, for each of the
/// deviations. z is the same for all of them and depends on `random` alone, so that points of the curve, and curves of
/// several models, are of the same noise. `model` is called as model(x, context) or model(x) and gives logits [items,
/// classes]; x [items, ...], labels [items]. Throws ShapeError, IndexError for a label out of range, ValueError for no
/// items, an input outside of the range or a deviation below 0.
template <class M, Real T>
std::vector<double> noise_accuracies(const M& model, const Tensor<T>& x, const Tensor<std::int64_t>& labels,
                                     const std::vector<double>& deviations, const Random& random,
                                     const InputRange& range = {}, ContextRef context = Context(),
                                     Site site = Site::current()) {
  const char* op = "noise_accuracies";
  detail::check_inputs(op, x, labels, range, site);
  for (const double deviation : deviations)
    detail::check_option<T>(op, "deviation", deviation, detail::Range::not_negative, site);
  const Recording off(false);
  const Tensor<T> noise = randn<T>(x.shape(), random.stream("noise"));
  std::vector<double> accuracies;
  for (const double deviation : deviations) {
    const Tensor<T> seen = clamp(x + static_cast<T>(deviation) * noise, range.low, range.high);
    accuracies.push_back(accuracy(answer_of(model, seen, context), labels, site));
  }
  return accuracies;
}

/// The attack by projected gradient descent. The defaults are those of the authors for MNIST; for CIFAR-10, in 0 ..
/// 255, they have eps 8 and alpha 2, in training 7 steps.
struct PgdOptions {
  double eps = 0.3;          ///< no number of an input moves further
  double alpha = 0.01;       ///< by so much it moves in a step
  Index steps = 40;          ///< gradient steps
  bool random_start = true;  ///< from a uniform point of the ball; else from x
  InputRange range = {0, 1};
};

namespace detail {

template <class T>
void check_pgd(const char* op, const Tensor<T>& x, const Tensor<std::int64_t>& labels, const PgdOptions& o, Site site) {
  check_inputs(op, x, labels, o.range, site);
  check_option<T>(op, "eps", o.eps, Range::not_negative, site);
  check_option<T>(op, "alpha", o.alpha, Range::not_negative, site);
  if (o.steps < 0) fail(op, {"steps is ", o.steps, ", expected 0 or more"}, {}, site);
}

/// The sum over items of ln sum_{j != y} exp z_j - z_y. Throws ShapeError, IndexError, ValueError as `pgd_attack`.
template <class T>
Tensor<T> margins_lost(const char* op, const Tensor<T>& logits, const Tensor<std::int64_t>& labels, Site site) {
  check_logits(op, logits, labels, site);
  const Index classes = logits.size(1);
  if (classes < 2) fail(op, "a model of less than two classes", {{"logits", logits.shape()}}, site);
  for (const std::int64_t label : host(labels))
    if (label < 0 || label >= classes) fail<IndexError>(op, {"label ", label, " of ", classes, " classes"}, {}, site);
  const Tensor<T> own = one_hot<T>(labels, classes);
  const Tensor<T> others = where(own > T(0), -std::numeric_limits<T>::infinity(), logits);
  return sum(logsumexp(others, {1}) - sum(logits * own, {1}));
}

template <class M, class T>
Tensor<T> pgd_attack(const char* op, const M& model, const Tensor<T>& x, const Tensor<std::int64_t>& labels,
                     const Random& random, const PgdOptions& o, ContextRef context, Site site) {
  const Tensor<T> start = x.detach();
  const Tensor<T> low = clamp(start - static_cast<T>(o.eps), o.range.low, o.range.high);
  const Tensor<T> high = clamp(start + static_cast<T>(o.eps), o.range.low, o.range.high);
  Tensor<T> moved = start;
  if (o.random_start) moved = clamp(start + rand<T>(x.shape(), random.stream("start"), -o.eps, o.eps), low, high);
  const auto lost = [&](const Tensor<T>& z) { return margins_lost(op, answer_of(model, z, context), labels, site); };
  for (Index step = 0; step < o.steps; ++step) {
    const Tensor<T> slope = grad(lost, moved, {.create_graph = false}, site);
    if (!all_finite(slope)) fail(op, {"the gradient is not finite at step ", step}, {}, site);
    moved = clamp(moved + static_cast<T>(o.alpha) * sign(slope), low, high);
  }
  return moved;
}

}  // namespace detail

/// Inputs near x that `model` gets wrong, if it finds them: shaped like x, no number further than eps away,
///   x_0 = x + u, u uniform in [-eps, eps], or x;  x_{k+1} = P(x_k + alpha sign(grad loss(x_k))),
/// P: to the nearest point within eps of x and within the range. The loss of an item is ln sum_{j != y} exp z_j - z_y,
/// whose gradient has everywhere the direction of that of the cross-entropy, ln (1 + exp of it), but does not vanish in
/// rounding where the model is sure. `model`, x and `labels` as for `noise_accuracies`; the model may be differentiated
/// anywhere. Throws ShapeError, IndexError for a label out of range, ValueError for options out of range, an input
/// outside of the range, less than two classes and a gradient that is not finite.
template <class M, Real T>
Tensor<T> pgd_attack(const M& model, const Tensor<T>& x, const Tensor<std::int64_t>& labels, const Random& random,
                     const PgdOptions& options = {}, ContextRef context = Context(), Site site = Site::current()) {
  detail::check_pgd("pgd_attack", x, labels, options, site);
  return detail::pgd_attack("pgd_attack", model, x, labels, random, options, context, site);
}

/// The share of items that are right at x and after each of `restarts` attacks, attack r of random.stream("restart",
/// r): an upper bound of the accuracy against the worst inputs, which falls with every restart, and never above the
/// accuracy at x. Throws as `pgd_attack`, and ValueError for less than one restart.
template <class M, Real T>
double pgd_accuracy(const M& model, const Tensor<T>& x, const Tensor<std::int64_t>& labels, const Random& random,
                    const PgdOptions& options = {}, Index restarts = 1, ContextRef context = Context(),
                    Site site = Site::current()) {
  const char* op = "pgd_accuracy";
  detail::check_pgd(op, x, labels, options, site);
  if (restarts < 1) fail(op, {"restarts is ", restarts, ", expected 1 or more"}, {}, site);
  std::vector<bool> right(static_cast<std::size_t>(x.size(0)), true);
  const auto look = [&](const Tensor<T>& inputs) {
    const Recording off(false);
    const Tensor<T> logits = answer_of(model, inputs, context);
    detail::check_logits(op, logits, labels, site);
    const Index classes = logits.size(1);
    const T* row = std::data(host(logits));
    std::size_t item = 0;
    for (const std::int64_t label : host(labels)) {
      if (label < 0 || label >= classes) fail<IndexError>(op, {"label ", label, " of ", classes, " classes"}, {}, site);
      right[item] = right[item] && detail::is_right(row, classes, label);
      row += classes;
      ++item;
    }
  };
  look(x);
  for (Index r = 0; r < restarts; ++r)
    look(detail::pgd_attack(op, model, x, labels, random.stream("restart", r), options, context, site));
  Index count = 0;
  for (const bool one : right) count += one;
  return static_cast<double>(count) / static_cast<double>(right.size());
}

}  // namespace GRAFT_ABI
}  // namespace graft
