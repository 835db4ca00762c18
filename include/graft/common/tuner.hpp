#pragma once
// What makes few-shot methods of the ways to tune a model that was trained on something else. A way to tune is a value
//
//     static constexpr const char* name;                   for messages
//     start(body, random, site)                            -> the body that is trained; what is frozen is marked so
//     with_penalty(loss, model, start)                     the loss and what is added to it; may be left out
//     plan(model, steps, site)                             -> plan(k), a factor of the learning rate for each parameter
//                                                          at step k, 0: frozen; may be left out
//
// and `TunerMethod{way}` trains such a body with a new head on the support set of a task.

#include <utility>
#include <vector>

#include "graft/common/inner_loop.hpp"
#include "graft/nn/linear.hpp"
#include "graft/optim/adam.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a tuner trains: by AdamW, on mini-batches of the support set, with dropout. The numbers are this library's: the
/// papers' (rates of 1e-5 to 1e-3, some thousand steps) are those of models with 10^8 parameters and more.
struct TuningOptions {
  double alpha = 1e-3;      ///< learning rate
  int steps = 100;          ///< of AdamW
  Index batch = 16;         ///< items of a step; 0: all
  double weight_decay = 0;  ///< of AdamW
  double epsilon = 1e-8;    ///< of AdamW; far above the gradients, steps are in proportion to these, by alpha / epsilon
};

namespace detail {

/// The factor 1 for all parameters at all steps.
struct SameRates {};

/// Marks as frozen what has factor 0 and was not, so that the optimiser keeps no mean of its gradients.
template <class M>
M with_marks(const M& model, const std::vector<bool>& frozen, const std::vector<double>& factors) {
  M result = model;
  const LeafList parameters = parameters_of(result);
  std::vector<bool> on(parameters.size()), off(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    on[i] = frozen[i] || factors[i] == 0;
    off[i] = !on[i];
  }
  for_each_scalar<M>([&]<class T>() {
    mark<T>(parameters, on, true);
    mark<T>(parameters, off, false);
  });
  return result;
}

/// before + factor (after - before) in the place of every parameter of `after`: as if the rate of this one had been
/// multiplied, since the steps of AdamW are proportional to it.
template <class M>
void shorten_steps(const M& before, M& after, const std::vector<double>& factors) {
  const LeafList from = parameters_of(before), to = parameters_of(after);
  for_each_scalar<M>([&]<class T>() {
    for (std::size_t i = 0; i < to.size(); ++i) {
      if (!to[i].holds<T>() || !to[i].tensor->defined() || factors[i] == 1 || factors[i] == 0) continue;
      Tensor<T>& leaf = to[i].as<T>();
      const Tensor<T>& old = from[i].as<T>();
      leaf = with_frozen_mark(add_scaled(old, static_cast<T>(factors[i]), leaf - old), leaf.frozen());
    }
  });
}

/// `start` after steps of AdamW on mini-batches of `set` along the gradient of objective(model, batch, context).
/// `plan(k)`: a factor of the rate for each parameter.
template <class M, class T, class Objective, class Plan = SameRates>
M trained_on(const char* op, const M& start, const LabelledSet<T>& set, const TuningOptions& o, Objective objective,
             ContextRef context, Site site, const Plan& plan = {}) {
  check_count(op, "steps", o.steps, 0, site);
  check_count(op, "batch", o.batch, 0, site);
  check_option<T>(op, "alpha", o.alpha, Range::not_negative, site);
  check_option<T>(op, "weight_decay", o.weight_decay, Range::not_negative, site);
  check_option<T>(op, "epsilon", o.epsilon, Range::positive, site);
  const Recording off(false);
  M model = start;
  std::vector<bool> frozen;
  for (const Leaf& leaf : parameters_of(start)) frozen.push_back(leaf.tensor->defined() && leaf.tensor->body()->frozen);
  AdamW<M> optimizer(model, {.epsilon = o.epsilon, .weight_decay = o.weight_decay}, site);
  MiniBatches batches(o.batch, context->stream("mini-batches"));
  const Random draws = context->stream("tuning");
  for (int k = 0; k < o.steps; ++k) {
    Context own(Phase::training, draws.stream(static_cast<std::uint64_t>(k)));
    const LabelledSet<T> items = batches.next(set);
    const auto loss = [&](const M& at) { return finite_support(op, objective(at, items, own), k, site); };
    if constexpr (std::is_same_v<Plan, SameRates>) {
      optimizer.step(model, grad(loss, model, {.create_graph = false}, site), o.alpha, site);
    } else {
      const std::vector<double> factors = plan(k);
      model = with_marks(model, frozen, factors);
      const M before = model;
      optimizer.step(model, grad(loss, model, {.create_graph = false}, site), o.alpha, site);
      shorten_steps(before, model, factors);
      if (k + 1 == o.steps) model = with_marks(model, frozen, std::vector<double>(frozen.size(), 1));
    }
    model = apply_updates(model, own, site);
  }
  return finite_model(op, std::move(model), o.steps, site);
}

/// The width of the features that a body makes of a support set. Throws as `check_embedded`.
template <class Body, class T>
Index checked_width(const char* op, const Body& body, const LabelledSet<T>& support, Index ways, ContextRef context,
                    Site site) {
  const Recording off(false);
  if (support.x.rank() < 1 || support.x.size(0) < 1) fail(op, "no support items", {}, site);
  const Tensor<T> one = answer_of(body, slice(support.x, 0, 0, 1), context);
  const Index width = one.rank() == 2 ? one.size(1) : 0;
  const Tensor<T> features = one.rank() == 2 ? broadcast_to(one, {support.x.size(0), width}) : one;
  check_embedded(op, Episode<T>{{features, support.y}, {features, {}}, ways}, site);
  return width;
}

/// Numbers that a gradient reaches: those of parameters that are not frozen.
template <class M>
Index trainable_of(const M& model) {
  Index total = 0;
  for_each_parameter(
      [&](const auto& leaf) {
        if (leaf.defined() && !leaf.frozen()) total += leaf.count();
      },
      model);
  return total;
}

/// Marks all parameters as frozen.
template <class M>
M all_frozen(const M& model) {
  return marked("freeze", model, nullptr, true, {});
}

}  // namespace detail

/// Numbers in the parameters that are trained: those that are not frozen.
template <Model M>
Index trainable_count(const M& model) {
  return detail::trainable_of(model);
}

/// A way to tune as a few-shot method for a `BodyHead`. `train_loss` is that of a plain classifier of the base classes
/// on the labelled items of a batch, `Episode::support`. `adapt` makes a body by `way.start`, a new `Linear` head of
/// the task's ways, and trains both on the support set; no gradient flows to the model. The head's first weights, the
/// mini-batches and dropout are drawn by the context's random numbers. Throws ShapeError for features that are not
/// [items, width], ValueError for options outside their range, a class without support items, and when a support loss
/// or the tuned model is not finite; what the way throws.
template <class Way, class Loss = ClassificationLoss>
struct TunerMethod {
  static constexpr Needs needs{};
  Way way = {};
  TuningOptions training = {};
  Loss loss = {};

  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const Named here(Way::name, site);
    return loss(model, episode.support, context);
  }

  template <class Body, class Head, class T>
  auto adapt(const BodyHead<Body, Head>& model, const LabelledSet<T>& support, const Tensor<T>& = {},
             ContextRef context = Context(), Site site = Site::current()) const {
    const Named here(Way::name, site);
    const Index ways = ways_of(support.y, site);
    const Index width = detail::checked_width(Way::name, model.body, support, ways, context, site);
    BodyHead start{way.start(detach(model.body), context->stream("tuner"), site),
                   Linear<T>(width, ways, context->stream("head"), {}, site)};
    using Tuned = decltype(start);
    const auto objective = [&](const Tuned& at, const LabelledSet<T>& items, ContextRef own) {
      const Tensor<T> value = loss(at, items, own);
      if constexpr (requires { way.with_penalty(value, at, start); })
        return way.with_penalty(value, at, start);
      else
        return value;
    };
    if constexpr (requires { way.plan(start, training.steps, site); })
      return AdaptedModel<Tuned>{detail::trained_on(Way::name, start, support, training, objective, context, site,
                                                    way.plan(start, training.steps, site))};
    else
      return AdaptedModel<Tuned>{detail::trained_on(Way::name, start, support, training, objective, context, site)};
  }
};
template <class Way>
TunerMethod(Way) -> TunerMethod<Way>;
template <class Way>
TunerMethod(Way, TuningOptions) -> TunerMethod<Way>;

}  // namespace GRAFT_ABI
}  // namespace graft
