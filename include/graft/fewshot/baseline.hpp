#pragma once
// Baseline and Baseline++. Chen, Liu, Kira, Wang, Huang, "A closer look at few-shot classification", ICLR 2019: train a
// classifier on all base classes; for a new task keep its body and train a new head on the support set. Compared with
// the authors' code.

#include <utility>

#include "graft/common/inner_loop.hpp"
#include "graft/model/init.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/optim/sgd.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a new head is trained; the authors'. (Their code makes 100 passes over the support set in batches of 4, the
/// paper speaks of 100 steps.)
struct BaselineOptions {
  double alpha = 0.01;         ///< learning rate
  int steps = 100;             ///< of gradient descent
  Index batch = 4;             ///< items of a step; 0: all
  double momentum = 0.9;       ///< of `Sgd`
  double dampening = 0.9;      ///< of `Sgd`
  double weight_decay = 1e-3;  ///< of `Sgd`
};

/// Options of `CosineLinear`.
struct CosineLinearOptions {
  double scale = 2;  ///< of the cosines; the authors take 10 for more than 200 classes
};

/// Cosines of items and one vector a class, times a scale: x [items, in] -> [items, out]. Multiplying an item or a
/// class's vector by a positive number changes nothing; one of zeros has cosine 0. (The authors' code learns the length
/// of a class's vector as well; the paper's formula has none.) Numbers whose squares leave the range of T must be
/// scaled first. Throws ShapeError.
template <class T = float>
struct CosineLinear {
  Tensor<T> weight;  ///< [out, in]
  CosineLinearOptions options;
  GRAFT_FIELDS(weight)
  GRAFT_CONFIG(options)

  CosineLinear() = default;
  /// Weight uniform in +-1 / sqrt(in). Throws ValueError unless the scale is positive.
  CosineLinear(Index in, Index out, const Random& random, CosineLinearOptions o = {}, Site site = Site::current())
      : weight(torch_default_weight<T>({out, in}, random.stream("weight"), site)), options(o) {
    detail::check_option<T>("CosineLinear", "scale", o.scale, detail::Range::positive, site);
  }

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("CosineLinear", site);
    if (x.rank() != 2 || x.size(1) != weight.shape()[-1])
      fail<ShapeError>("CosineLinear", {"expected x [items, ", weight.shape()[-1], "]"},
                       {{"x", x.shape()}, {"weight", weight.shape()}}, site);
    return static_cast<T>(options.scale) * cosine_similarities(x, weight, site);
  }
};

namespace detail {

/// The loss of a classifier on all labelled items of an episode, support and query together.
template <class Loss, class M, class T>
Tensor<T> loss_on_all(const char* op, const Loss& loss, const M& model, const Episode<T>& episode, ContextRef context,
                      Site site) {
  const LabelledSet<T>&support = episode.support, &query = episode.query;
  if (!support.x.defined() && !query.x.defined()) fail(op, "the episode has no items", {}, site);
  if (!query.x.defined()) return loss(model, support, context);
  if (!support.x.defined()) return loss(model, query, context);
  return loss(
      model,
      LabelledSet<T>{concat<T>({support.x, query.x}, 0, site), concat<std::int64_t>({support.y, query.y}, 0, site)},
      context);
}

/// A head of `make_head(width, ways, random)` for the body of a model, trained on the features of the support items.
template <class Loss, class Body, class OldHead, class T, class MakeHead>
auto with_new_head(const char* op, const Loss& loss, const BodyHead<Body, OldHead>& model,
                   const LabelledSet<T>& support, const BaselineOptions& o, MakeHead make_head, ContextRef context,
                   Site site) {
  check_count(op, "steps", o.steps, 0, site);
  check_count(op, "batch", o.batch, 0, site);
  check_option<T>(op, "alpha", o.alpha, Range::not_negative, site);
  const Recording off(false);
  const LabelledSet<T> features{answer_of(model.body, support.x, context), support.y};
  const Index ways = ways_of(support.y, site);
  check_embedded(op, Episode<T>{features, {features.x, {}}, ways}, site);
  auto head = make_head(features.x.size(1), ways, context->stream("head"));
  using Head = decltype(head);
  Sgd<Head> sgd(head, {.momentum = o.momentum, .weight_decay = o.weight_decay, .dampening = o.dampening}, site);
  MiniBatches batches(o.batch, context->stream("mini-batches"));
  for (int k = 0; k < o.steps; ++k) {
    const LabelledSet<T> items = batches.next(features);
    const auto batch_loss = [&](const Head& at) { return finite_support(op, loss(at, items, context), k, site); };
    sgd.step(head, grad(batch_loss, head, {.create_graph = false}, site), o.alpha, site);
  }
  return AdaptedModel<BodyHead<Body, Head>>{{model.body, finite_model(op, std::move(head), o.steps, site)}};
}

}  // namespace detail

/// Baseline as a few-shot method for a `BodyHead`. `train_loss` is that of a plain classifier on all items of the
/// episode, support and query, whose labels are base classes: the head's. `adapt` freezes the body and trains a new
/// `Linear` head of the task's ways by `Sgd` on the features of the support set, with no gradient to the model; its
/// first weights and the mini-batches are drawn by the context's random numbers. Throws ShapeError for features that
/// are not [items, width], and ValueError for options outside their range, a class without support items, and when a
/// support loss or the new head is not finite.
template <class Loss = ClassificationLoss>
struct Baseline {
  static constexpr Needs needs{};
  BaselineOptions options = {};
  Loss loss = {};

  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("Baseline", site);
    return detail::loss_on_all("Baseline", loss, model, episode, context, site);
  }

  template <class Body, class Head, class T>
  AdaptedModel<BodyHead<Body, Linear<T>>> adapt(const BodyHead<Body, Head>& model, const LabelledSet<T>& support,
                                                const Tensor<T>& = {}, ContextRef context = Context(),
                                                Site site = Site::current()) const {
    const Named here("Baseline", site);
    const auto make_head = [](Index width, Index ways, const Random& random) { return Linear<T>(width, ways, random); };
    return detail::with_new_head("Baseline", loss, model, support, options, make_head, context, site);
  }
};

/// Baseline++ as a few-shot method: `Baseline` whose heads are `CosineLinear`, the base classes' and the new ones.
/// Throws as `Baseline`.
template <class Loss = ClassificationLoss>
struct BaselinePlusPlus {
  static constexpr Needs needs{};
  BaselineOptions options = {};
  Loss loss = {};
  CosineLinearOptions cosine = {};  ///< of the new heads

  template <class Body, class T>
  Tensor<T> train_loss(const BodyHead<Body, CosineLinear<T>>& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("BaselinePlusPlus", site);
    return detail::loss_on_all("BaselinePlusPlus", loss, model, episode, context, site);
  }

  template <class Body, class T>
  AdaptedModel<BodyHead<Body, CosineLinear<T>>> adapt(const BodyHead<Body, CosineLinear<T>>& model,
                                                      const LabelledSet<T>& support, const Tensor<T>& = {},
                                                      ContextRef context = Context(),
                                                      Site site = Site::current()) const {
    const Named here("BaselinePlusPlus", site);
    const auto make_head = [&](Index width, Index ways, const Random& random) {
      return CosineLinear<T>(width, ways, random, cosine, site);
    };
    return detail::with_new_head("BaselinePlusPlus", loss, model, support, options, make_head, context, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
