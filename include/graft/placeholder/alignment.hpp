#pragma once
// Alignment of tasks: what makes the slot features of several tasks alike. Distances of means and covariances as in
// Sun, Saenko, "Deep CORAL: correlation alignment for deep domain adaptation", ECCV 2016 workshops; symmetric InfoNCE
// as in Radford et al., ICML 2021; the variance floor is that of Bardes, Ponce, LeCun, "VICReg:
// variance-invariance-covariance regularization for self-supervised learning", ICLR 2022. Over slots of tasks they have
// no paper: formula as the catalogue of methods has it.

#include <vector>

#include "graft/common/needs.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What makes two tasks alike.
enum class AlignmentKind {
  moments,  ///< |mu_s - mu_t|^2 + covariance |Sigma_s - Sigma_t|_F^2 / (4 d^2): equal means and covariances
  cosine,   ///< 1 - cos(mu_s, mu_t): means in one direction
  info_nce  ///< row i of one task is told, among all rows of the other, as the partner of row i
};

/// Options of `task_alignment`.
struct TaskAlignmentOptions {
  static constexpr DataNeeds needs{.labels = false, .domains = true};
  AlignmentKind kind = AlignmentKind::moments;
  double covariance = 1;      ///< weight b of the covariances' distance; 0: they are not computed
  double temperature = 0.07;  ///< of `info_nce`; where CLIP starts
  double floor_weight = 1;    ///< of the mean `variance_floor` of the tasks; 0: off. VICReg weighs its two terms alike
  double floor = 1;           ///< VICReg's gamma
  double epsilon = 1e-4;      ///< VICReg's
};

/// 1/d sum_k max(0, floor - sqrt(Var_k + epsilon)), shape [], over the columns k of `features` [items, width], Var with
/// the divisor items - 1: 0 where every unit's deviation reaches the floor, and floor - sqrt(epsilon)
/// where all items are one point, the optimum of alignment alone. Unlike distances of moments it depends on the
/// axes. Throws ShapeError, ValueError for fewer than two items and options out of range.
template <Real T>
Tensor<T> variance_floor(const Tensor<T>& features, double floor = 1, double epsilon = 1e-4,
                         Site site = Site::current()) {
  const char* op = "variance_floor";
  if (features.rank() != 2 || features.size(1) == 0)
    fail<ShapeError>(op, "expected features [items, width]", {{"features", features.shape()}}, site);
  if (features.size(0) < 2) fail(op, "fewer than two items", {{"features", features.shape()}}, site);
  detail::check_option<T>(op, "floor", floor, detail::Range::not_negative, site);
  detail::check_option<T>(op, "epsilon", epsilon, detail::Range::positive, site);
  const Tensor<T> deviations = sqrt(var(features, {0}, {.sample = true}, site) + epsilon);
  return mean(maximum(floor - deviations, T(0)));
}

namespace detail {

/// Throws unless there are two tasks or more, each with items [items, width] of one width.
template <class T>
void check_task_features(const char* op, const std::vector<Tensor<T>>& features, Site site) {
  if (features.size() < 2)
    fail(op, {features.size(), features.size() == 1 ? " task" : " tasks", ", expected 2 or more"}, {}, site);
  for (std::size_t t = 0; t < features.size(); ++t) {
    const Tensor<T>& x = features[t];
    if (!x.defined() || x.rank() != 2 || x.size(1) == 0 || x.size(1) != features[0].size(1))
      fail<ShapeError>(op, {"expected features [items, width] of one width for every task, not those of task ", t},
                       {{"task 0", features[0].defined() ? features[0].shape() : Shape{0}},
                        {"features", x.defined() ? x.shape() : Shape{0}}},
                       site);
    if (x.size(0) == 0) fail(op, {"task ", t, " has no items"}, {{"features", x.shape()}}, site);
  }
}

}  // namespace detail

/// sum_(s<t) w_st distance(s, t) + floor_weight mean_t variance_floor(t), shape [], over the features [items, width] of
/// two tasks or more. `pair_weights` w [tasks, tasks], of which what is above the diagonal counts; ones, if not given.
/// Moments are means over the items (Deep CORAL divides by items - 1), without a correction for their number, and taken
/// from a common row, so that what all items share is not rounded: distances of moments are 0 exactly for equal
/// moments, do not change with a common rotation and shift, and have the gradient 2 w (mu_s - mu_t) in mu_s. By
/// themselves they are least where all items of all tasks are one point: look at `feature_deviations`. InfoNCE takes as
/// many rows of every task, slot i of one belonging to slot i of the others. Features that are not finite give a loss
/// that is not. Throws ShapeError, ValueError for fewer than two tasks, a task without items and options out of range.
template <Real T>
Tensor<T> task_alignment(const std::vector<Tensor<T>>& features, const TaskAlignmentOptions& o = {},
                         const Tensor<T>& pair_weights = {}, Site site = Site::current()) {
  const char* op = "task_alignment";
  using detail::Range;
  detail::check_task_features(op, features, site);
  detail::check_option<T>(op, "covariance", o.covariance, Range::not_negative, site);
  detail::check_option<T>(op, "temperature", o.temperature, Range::positive, site);
  detail::check_option<T>(op, "floor_weight", o.floor_weight, Range::not_negative, site);
  const auto tasks = static_cast<Index>(features.size()), width = features[0].size(1);
  if (pair_weights.defined() && !(pair_weights.shape() == Shape{tasks, tasks}))
    fail<ShapeError>(op, {"expected pair_weights of ", tasks, " tasks"}, {{"pair_weights", pair_weights.shape()}},
                     site);
  if (o.kind == AlignmentKind::info_nce)
    for (Index t = 1; t < tasks; ++t)
      if (features[static_cast<std::size_t>(t)].size(0) != features[0].size(0))
        fail<ShapeError>(op, {"InfoNCE needs as many rows of task ", t, " as of task 0"},
                         {{"task 0", features[0].shape()}, {"features", features[static_cast<std::size_t>(t)].shape()}},
                         site);

  std::vector<Tensor<T>> means, covariances;
  if (o.kind != AlignmentKind::info_nce) {
    const Tensor<T> common = slice(features[0].detach(), 0, 0, 1);
    for (const Tensor<T>& x : features) {
      const Tensor<T> moved = o.kind == AlignmentKind::cosine ? x : x - common, mu = mean(moved, {0}, true);
      means.push_back(mu);
      if (o.kind == AlignmentKind::cosine || o.covariance == 0) continue;
      const Tensor<T> centred = moved - mu;
      covariances.push_back(matmul(centred, centred, {.transpose_a = true}) / static_cast<T>(x.size(0)));
    }
  }
  const Tensor<std::int64_t> partner = arange<std::int64_t>(features[0].size(0));
  const auto distance = [&](std::size_t s, std::size_t t) {
    if (o.kind == AlignmentKind::cosine) return T(1) - sum(cosine_similarities(means[s], means[t]));
    if (o.kind == AlignmentKind::info_nce) {
      const Tensor<T> scores = cosine_similarities(features[s], features[t]) / o.temperature;
      return (cross_entropy(scores, partner) + cross_entropy(transpose(scores), partner)) * T(0.5);
    }
    const Tensor<T> of_means = sum(square(means[s] - means[t]));
    if (o.covariance == 0) return of_means;
    const double scale = o.covariance / (4.0 * static_cast<double>(width) * static_cast<double>(width));
    return of_means + scale * sum(square(covariances[s] - covariances[t]));
  };
  Tensor<T> total;
  for (Index s = 0; s < tasks; ++s)
    for (Index t = s + 1; t < tasks; ++t) {
      Tensor<T> own = distance(static_cast<std::size_t>(s), static_cast<std::size_t>(t));
      if (pair_weights.defined()) own = own * reshape(slice(slice(pair_weights, 0, s, s + 1), 1, t, t + 1), Shape{});
      total = total.defined() ? total + own : own;
    }
  if (o.floor_weight == 0) return total;
  Tensor<T> floors;
  for (const Tensor<T>& x : features) {
    const Tensor<T> own = variance_floor(x, o.floor, o.epsilon, site);
    floors = floors.defined() ? floors + own : own;
  }
  return total + (o.floor_weight / static_cast<double>(tasks)) * floors;
}

/// The mean over units of their standard deviations over the items (divisor items - 1; 0 for one item), for each task's
/// features [items, width]: [tasks], a constant. What falls towards 0 where alignment collapses. Throws ShapeError,
/// ValueError for a task without items.
template <Real T>
Tensor<T> feature_deviations(const std::vector<Tensor<T>>& features, Site site = Site::current()) {
  const char* op = "feature_deviations";
  std::vector<Tensor<T>> deviations;
  for (std::size_t t = 0; t < features.size(); ++t) {
    const Tensor<T>& x = features[t];
    if (!x.defined() || x.rank() != 2 || x.size(1) == 0)
      fail<ShapeError>(op, {"expected features [items, width] of task ", t},
                       {{"features", x.defined() ? x.shape() : Shape{0}}}, site);
    if (x.size(0) == 0) fail(op, {"task ", t, " has no items"}, {{"features", x.shape()}}, site);
    deviations.push_back(x.size(0) == 1 ? zeros<T>({}) : mean(stddev(x.detach(), {0}, {.sample = true}, site)));
  }
  if (deviations.empty()) fail(op, "of no tasks", {}, site);
  return stack(deviations);
}

}  // namespace GRAFT_ABI
}  // namespace graft
