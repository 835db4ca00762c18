#pragma once
// Adversarial placeholders: items moved to where the model is most wrong. Goodfellow, Shlens, Szegedy, "Explaining and
// harnessing adversarial examples", ICLR 2015 (one step); Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep
// learning models resistant to adversarial attacks", ICLR 2018 (projected steps). Virtual ones, which need no label:
// Miyato, Maeda, Koyama, Ishii, "Virtual adversarial training", TPAMI 2018; compared with the authors' code.

#include <cmath>
#include <limits>

#include "graft/common/inner_loop.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/placeholder_samples.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `adversarial_points`; the defaults are those of Madry et al. for training on CIFAR-10, for numbers from 0
/// to 1.
struct AdversarialOptions {
  double eps = 8.0 / 255;    ///< no number moves further
  double alpha = 2.0 / 255;  ///< by so much it moves in a step; eps: one step is that of Goodfellow et al.
  int steps = 7;             ///< gradient steps
  bool random_start = true;  ///< from a uniform point of the ball; else from x
  double low = -std::numeric_limits<double>::infinity();  ///< range that the numbers stay in
  double high = std::numeric_limits<double>::infinity();
  static constexpr DataNeeds needs{};
};

namespace detail {

template <class T>
void check_adversarial(const char* op, const Tensor<T>& x, const AdversarialOptions& o, Site site) {
  check_option<T>(op, "eps", o.eps, Range::not_negative, site);
  check_option<T>(op, "alpha", o.alpha, Range::not_negative, site);
  check_count(op, "steps", o.steps, 0, site);
  if (!(o.low < o.high)) fail(op, {"the range is ", o.low, " to ", o.high}, {}, site);
  for (const T number : host(x))
    if (!std::isfinite(number) || static_cast<double>(number) < o.low || static_cast<double>(number) > o.high)
      fail(op, {"an input is ", static_cast<double>(number), ", expected a finite number from ", o.low, " to ", o.high},
           {{"x", x.shape()}}, site);
}

/// The move x~ - x, outside any tape; see `adversarial_points`.
template <class T, class Loss>
Tensor<T> adversarial_move(const char* op, Loss& loss, const Tensor<T>& x, const Random& random,
                           const AdversarialOptions& o, Site site) {
  const Tensor<T> start = x.detach();
  const T eps = static_cast<T>(o.eps);
  const bool bounded = std::isfinite(o.low) || std::isfinite(o.high);
  const auto inside = [&](const Tensor<T>& move) {
    const Tensor<T> near = minimum(maximum(move, -eps), eps);
    if (!bounded) return near;
    return minimum(maximum(near, static_cast<T>(o.low) - start), static_cast<T>(o.high) - start);
  };
  Tensor<T> move = zeros<T>(x.shape());
  if (o.random_start) move = inside(rand<T>(x.shape(), random.stream("start"), -o.eps, o.eps));
  for (int step = 0; step < o.steps; ++step) {
    const Tensor<T> slope = grad(loss, start + move, {.create_graph = false}, site).detach();
    if (!all_finite(slope)) fail(op, {"the gradient is not finite at step ", step}, {}, site);
    move = inside(move + static_cast<T>(o.alpha) * sign(slope));
  }
  return move.detach();
}

/// The model's answers, with a copy of the context: what looks for a point draws no number and leaves no update of the
/// caller's.
template <class M, class T>
Tensor<T> answer_aside(const M& model, const Tensor<T>& x, const Context& context) {
  Context aside = context;
  return answer_of(model, x, aside);
}

}  // namespace detail

/// Points near x where `loss(points)`, a scalar, is large, shaped like x:
///   d_0 = u, uniform in [-eps, eps], or 0;  d_{k+1} = P(d_k + alpha sign(d loss / d x at x + d_k));  x~ = x + d,
/// P: to |d| <= eps and x + d in [low, high]. x may be items or features; d counts as a constant, so that a gradient
/// passes through features to what made them. Where the slope is 0 nothing moves. eps 0 gives x itself. For a linear
/// logistic model one step of alpha = eps from x reaches the worst case, ln(1 + e^(-y w.x + eps |w|_1)). Throws
/// ValueError for options out of range, numbers outside of low .. high or not finite, a gradient that is not finite.
template <Real T, class Loss>
Tensor<T> adversarial_points(Loss loss, const Tensor<T>& x, const Random& random, const AdversarialOptions& o = {},
                             Site site = Site::current()) {
  const char* op = "adversarial_points";
  detail::check_adversarial(op, x, o, site);
  if (o.eps == 0) return x;
  const Tensor<T> moved = x + detail::adversarial_move(op, loss, x, random, o, site);
  return std::isfinite(o.low) || std::isfinite(o.high) ? clamp(moved, o.low, o.high, site) : moved;
}

/// The adversarial neighbours of labelled items as placeholders, each with its own label as target, for `sample_loss`;
/// `model(items, context)` -> logits [items, classes]. The start is drawn from the context's stream "adversarial"; the
/// model's own draws there are the same at every step, and it leaves no updates. Throws as `adversarial_points`, and
/// ShapeError, IndexError for a label out of range.
template <class M, Real T>
PlaceholderSamples<T> adversarial_placeholders(const M& model, const LabelledSet<T>& set, const AdversarialOptions& o,
                                               ContextRef context, Site site = Site::current()) {
  const Named here("adversarial_placeholders", site);
  const Context& own = context;
  const Index classes = detail::answer_aside(model, set.x, own).size(-1);
  detail::check_labels("adversarial_placeholders", set.y, set.x.size(0), classes, site);
  const auto loss = [&](const Tensor<T>& x) {
    return cross_entropy(detail::answer_aside(model, x, own), set.y, {.reduction = Reduction::sum}, site);
  };
  const Tensor<T> x = adversarial_points(loss, set.x, context->stream("adversarial"), o, site);
  return {x, one_hot<T>(set.y, classes, site)};
}

/// mean_i CE(head(h_i + d_i), y_i), shape []: adversarial features h + d instead of items, h = body(x); d is found with
/// the head alone and counts as a constant, the gradient passes to head and body. At eps 0 the plain loss. Throws as
/// `adversarial_placeholders`.
template <class Body, class Head, Real T>
Tensor<T> adversarial_feature_loss(const BodyHead<Body, Head>& model, const LabelledSet<T>& set,
                                   const AdversarialOptions& o, ContextRef context, Site site = Site::current()) {
  const Named here("adversarial_feature_loss", site);
  const Tensor<T> features = answer_of(model.body, set.x, context);
  const Context& own = context;
  const Index classes = detail::answer_aside(model.head, features.detach(), own).size(-1);
  detail::check_labels("adversarial_feature_loss", set.y, features.size(0), classes, site);
  const auto loss = [&](const Tensor<T>& h) {
    return cross_entropy(detail::answer_aside(model.head, h, own), set.y, {.reduction = Reduction::sum}, site);
  };
  const Tensor<T> moved = adversarial_points(loss, features, context->stream("adversarial"), o, site);
  return cross_entropy(answer_of(model.head, moved, context), set.y, {}, site);
}

/// Options of `virtual_adversarial_points`; the defaults are those of the authors' code.
struct VirtualAdversarialOptions {
  double eps = 8;       ///< Euclidean length of an item's move
  int power_steps = 1;  ///< K, iterations towards the direction that the answer is most sensitive to
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true, .derivatives = 2};
};

namespace detail {

/// Rows of x [items, ...] over their norms; rows of 0 stay. However small a row is, its length becomes 1.
template <class T>
Tensor<T> unit_items(const Tensor<T>& x) {
  const Tensor<T> rows = reshape(x, {x.size(0), x.count() / x.size(0)}), largest = max(abs(rows), {1}, true);
  return reshape(unit_rows(rows / where(largest > 0, largest, T(1))), x.shape());
}

/// sum_i KL(p_i | softmax(logits_i)) for p = e^log_p, constants.
template <class T>
Tensor<T> divergence(const Tensor<T>& log_p, const Tensor<T>& logits) {
  const Tensor<T> p = exp(log_p);
  return sum(where(p > 0, p * (log_p - log_softmax(logits)), T(0)));
}

}  // namespace detail

/// Items [items, ...] moved by `eps` each in the direction r that changes the model's own answer p most: r = eps d,
///   d normal, then K times  d <- H d / |H d|,   H = d^2 KL(p | f(x + r)) / dr^2 at r = 0, item by item.
/// The authors take H d by a difference of gradients, xi 1e-6 apart; here it is exact, by a second derivative, and so
/// does not depend on the rounding of the number type. An item whose H d is 0 stays. The targets are the clean answers
/// p, constants: in `sample_loss` they give the gradient of virtual adversarial training. The direction is drawn from
/// the context's stream "virtual_adversarial". Throws ShapeError, ValueError for options out of range, no items, and
/// numbers or derivatives that are not finite.
template <class M, Real T>
PlaceholderSamples<T> virtual_adversarial_points(const M& model, const Tensor<T>& items,
                                                 const VirtualAdversarialOptions& o, ContextRef context,
                                                 Site site = Site::current()) {
  const char* op = "virtual_adversarial_points";
  detail::check_option<T>(op, "eps", o.eps, detail::Range::not_negative, site);
  detail::check_count(op, "power_steps", o.power_steps, 1, site);
  if (items.rank() < 2 || items.count() == 0)
    fail<ShapeError>(op, "expected items [items, ...]", {{"items", items.shape()}}, site);
  if (!all_finite(items)) fail(op, "an input is not finite", {{"items", items.shape()}}, site);
  const Named here(op, site);
  const Tensor<T> x = items.detach();
  const Context& own = context;
  const Random random = context->stream("virtual_adversarial");
  const Tensor<T> log_p = log_softmax(detail::answer_aside(model, x, own)).detach();
  if (o.eps == 0) return {x, exp(log_p)};
  const auto change = [&](const Tensor<T>& r) {
    return detail::divergence(log_p, detail::answer_aside(model, x + r, own));
  };
  Tensor<T> d = detail::unit_items(randn<T>(x.shape(), random));
  for (int k = 0; k < o.power_steps; ++k) {
    const Tensor<T> bent = hvp(change, zeros<T>(x.shape()), d, {.create_graph = false}, site).second.detach();
    if (!all_finite(bent)) fail(op, {"the second derivative is not finite at step ", k}, {}, site);
    d = detail::unit_items(bent).detach();
  }
  return {x + static_cast<T>(o.eps) * d, exp(log_p)};
}

/// mean_i KL(p_i | f(x_i + r_i)), shape []: the local smoothness of the model, see `virtual_adversarial_points`; p and
/// r count as constants. Throws as that.
template <class M, Real T>
Tensor<T> virtual_adversarial_loss(const M& model, const Tensor<T>& items, const VirtualAdversarialOptions& o,
                                   ContextRef context, Site site = Site::current()) {
  const PlaceholderSamples<T> moved = virtual_adversarial_points(model, items, o, context, site);
  return detail::divergence(log(moved.targets), answer_of(model, moved.x, context)) / static_cast<T>(items.size(0));
}

}  // namespace GRAFT_ABI
}  // namespace graft
