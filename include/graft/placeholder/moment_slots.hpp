#pragma once
// Placeholder slots of first and second order: what a task's slots say is the mean, and the covariance, of its features
// so far. Formula as the catalogue of methods has it; no paper describes it. A near relative is second-order pooling:
// Carreira, Caseiro, Batista, Sminchisescu, ECCV 2012; in the low-rank form, Kim, On, Lim, Kim, Ha, Zhang, "Hadamard
// product for low-rank bilinear pooling", ICLR 2017.

#include <vector>

#include "graft/common/needs.hpp"
#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/context.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The first and second moments of a task's features.
template <class T = float>
struct SlotMoments {
  Tensor<T> mean;        ///< [width]
  Tensor<T> covariance;  ///< [width, width]
  GRAFT_FIELDS(mean, covariance)
};

/// Mean and covariance (divided by the number of items) of features [items, width], or of the tokens' means of
/// [items, n, width]. A common part of all items costs the covariance no digit. Differentiable. Throws ShapeError for
/// no items or no tokens.
template <Real T>
SlotMoments<T> slot_moments(const Tensor<T>& h, Site site = Site::current()) {
  if ((h.rank() != 2 && h.rank() != 3) || h.count() == 0)
    fail<ShapeError>("slot_moments", "expected features [items, width] or [items, n, width] of one item or more",
                     {{"features", h.shape()}}, site);
  const Tensor<T> x = h.rank() == 3 ? mean(h, {1}, false, site) : h;
  const Tensor<T> first = slice(x.detach(), 0, 0, 1), rest = x - first, shift = mean(rest, {0}, true);
  const Tensor<T> centred = rest - shift;
  return {reshape(first + shift, {x.size(1)}, site),
          matmul(centred, centred, {.transpose_a = true}, site) / static_cast<T>(x.size(0))};
}

/// Options of `MomentSlots`.
struct MomentSlotOptions {
  Index rank = 8;         ///< r of the second-order form
  double momentum = 0.1;  ///< weight of the newest batch in a task's averages, as batch norm's
};

/// Two slots a task, from averages of the moments mu_t and Sigma_t of its features:
///   first order   p_t = A mu_t
///   second order  s_t = B q_t,  q_tk = u_k' Sigma_t v_k,  k = 1 .. rank (B vec(Sigma_t) in a form of low rank)
/// so that features c times as large give c p_t and c^2 s_t, and tasks that differ in their covariances alone have
/// the same first-order slot. Averages are brought up to date by `observe` and `apply_updates`; a task without
/// observations has slots of 0. Gradients flow to A, B, u and v, and through the moments that `of` is given.
template <class T = float>
struct MomentSlots {
  static constexpr DataNeeds needs{.domains = true};
  Tensor<T> first;                            ///< A [width, width]
  Tensor<T> left, right;                      ///< u, v [rank, width]
  Tensor<T> second;                           ///< B [width, rank]
  std::vector<Buffer<T>> means, covariances;  ///< [tasks]: [width], [width, width]
  std::vector<Buffer<std::int64_t>> counts;   ///< [tasks]: batches observed, []
  MomentSlotOptions options;
  GRAFT_FIELDS(first, left, right, second, means, covariances, counts)
  GRAFT_CONFIG(options)

  MomentSlots() = default;
  /// Glorot uniform matrices. Throws ValueError for options out of range.
  MomentSlots(Index tasks, Index width, const Random& random, const MomentSlotOptions& o = {},
              Site site = Site::current())
      : options(o) {
    if (tasks < 1 || width < 1 || o.rank < 1)
      fail("MomentSlots", {tasks, " tasks, features of ", width, " numbers, rank ", o.rank}, {}, site);
    if (!(o.momentum > 0 && o.momentum <= 1))
      fail("MomentSlots", {"momentum is ", o.momentum, ", expected above 0 and at most 1"}, {}, site);
    const auto matrix = [&](Index rows, Index columns, const char* name) {
      return glorot_uniform<T>({rows, columns}, random.stream(name), 1, site);
    };
    first = matrix(width, width, "first");
    left = matrix(o.rank, width, "left");
    right = matrix(o.rank, width, "right");
    second = matrix(width, o.rank, "second");
    for (Index t = 0; t < tasks; ++t) {
      means.push_back({zeros<T>({width}, site)});
      covariances.push_back({zeros<T>({width, width}, site)});
      counts.push_back({zeros<std::int64_t>({}, site)});
    }
  }

  /// In training, leaves the update of a task's averages by its features in the context's list: the first batch sets
  /// them, every further one counts `momentum`. One call a task between two `apply_updates`. Throws ShapeError,
  /// IndexError for a task that does not exist, ValueError for features that are not finite, which would stay in the
  /// averages for ever.
  void observe(const Tensor<T>& h, Index task, ContextRef context, Site site = Site::current()) const {
    const Named here("MomentSlots", site);
    const std::size_t t = checked_task(task, site);
    const SlotMoments<T> now = slot_moments(h.detach(), site);
    check_width(now, site);
    if (!context->training()) return;
    if (!all_finite(now)) fail("MomentSlots", {"the features of task ", task, " are not finite"}, {}, site);
    const double momentum = counts[t].value.item() == 0 ? 1 : options.momentum;
    context->average(means[t], now.mean, momentum);
    context->average(covariances[t], now.covariance, momentum);
    context->count(counts[t], ones<std::int64_t>({}));
  }

  /// The slots [2, width] of a task: first order, then second. Throws IndexError.
  Tensor<T> operator()(Index task, Site site = Site::current()) const {
    const std::size_t t = checked_task(task, site);
    return of({means[t].value, covariances[t].value}, site);
  }
  /// The same of moments that are given. Throws ShapeError.
  Tensor<T> of(const SlotMoments<T>& moments, Site site = Site::current()) const {
    const Named here("MomentSlots", site);
    check_width(moments, site);
    const Index width = first.size(0), rank = left.size(0);
    const Tensor<T> p = matmul(first, reshape(moments.mean, {width, 1}, site), {}, site);
    const Tensor<T> q = sum(matmul(left, moments.covariance, {}, site) * right, {1}, true);
    const Tensor<T> s = matmul(second, reshape(q, {rank, 1}, site), {}, site);
    return concat(std::vector{reshape(p, {1, width}, site), reshape(s, {1, width}, site)}, 0, site);
  }

 private:
  std::size_t checked_task(Index task, Site site) const {
    if (task < 0 || task >= static_cast<Index>(means.size()))
      fail<IndexError>("MomentSlots", {"task ", task, " of ", means.size()}, {}, site);
    detail::check_parts("MomentSlots", "covariances", covariances.size(), "means", means.size(), site);
    detail::check_parts("MomentSlots", "counts", counts.size(), "means", means.size(), site);
    return static_cast<std::size_t>(task);
  }
  void check_width(const SlotMoments<T>& moments, Site site) const {
    const Index width = first.size(0);
    if (!(moments.mean.shape() == Shape{width}) || !(moments.covariance.shape() == Shape{width, width}))
      fail<ShapeError>("MomentSlots", {"expected moments of features of ", width, " numbers"},
                       {{"mean", moments.mean.shape()}, {"covariance", moments.covariance.shape()}}, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
