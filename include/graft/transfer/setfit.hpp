#pragma once
// Contrastive tuning on pairs, then a logistic head. Tunstall, Reimers, Jo, Bates, Korat, Wasserblat, Pereg, "Efficient
// few-shot learning without prompts" (SetFit), 2022. Pairs as in programs that follow the
// authors' code, but no item is paired with itself where its class has another; the paper was not read.

#include <algorithm>
#include <utility>

#include "graft/common/logistic_regression.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/tuner.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Pairs of items, by their places.
struct ItemPairs {
  Tensor<std::int64_t> first, second;  ///< [pairs]
  Tensor<std::int64_t> alike;          ///< [pairs]: 1 where both are of one class, else 0
};

/// For every item, `rounds` times, a pair with an item of its class, itself where it is the only one, and a pair with
/// one of another class, if there is another: places of labels [items]. Throws ShapeError for other labels, ValueError
/// for none, for one below 0 and for rounds below 1.
inline ItemPairs setfit_pairs(const Tensor<std::int64_t>& labels, Index rounds, const Random& random,
                              Site site = Site::current()) {
  if (labels.rank() != 1)
    fail<ShapeError>("setfit_pairs", "expected labels [items]", {{"labels", labels.shape()}}, site);
  detail::check_count("setfit_pairs", "rounds", rounds, 1, site);
  const auto of = host(labels);
  const Index items = labels.count();
  if (items == 0) fail("setfit_pairs", "no labels", {}, site);
  for (const std::int64_t label : of)
    if (label < 0) fail("setfit_pairs", {"label ", label}, {}, site);
  List<std::int64_t> first, second, alike;
  for (Index round = 0; round < rounds; ++round)
    for (Index i = 0; i < items; ++i)
      for (const bool same : {true, false}) {
        // The places that may be drawn, in order; an item is its own partner only where there is no other.
        Index count = 0;
        const auto may = [&](Index j) {
          return (of[static_cast<std::size_t>(j)] == of[static_cast<std::size_t>(i)]) == same && j != i;
        };
        for (Index j = 0; j < items; ++j) count += may(j);
        if (count == 0 && !same) continue;
        Index partner = i;
        if (count > 0) {
          const auto number = static_cast<std::uint64_t>((round * items + i) * 2 + (same ? 0 : 1));
          Index chosen = random.below(number, count);
          for (partner = 0; !may(partner) || chosen-- > 0;) ++partner;
        }
        first.push_back(i);
        second.push_back(partner);
        alike.push_back(same);
      }
  return {from_vector(first), from_vector(second), from_vector(alike)};
}

/// The mean over pairs of (cos(a_i, b_i) - alike_i)^2, a and b [pairs, width], alike [pairs] of 0 and 1: shape []. A
/// row of zeros has cosine 0. Throws ShapeError.
template <Real T>
Tensor<T> setfit_loss(const Tensor<T>& a, const Tensor<T>& b, const Tensor<std::int64_t>& alike,
                      Site site = Site::current()) {
  if (a.rank() != 2 || !(a.shape() == b.shape()) || !(alike.shape() == Shape{a.size(0)}) || a.size(0) == 0)
    fail<ShapeError>("setfit_loss", "expected a and b [pairs, width] of one pair or more, and alike [pairs]",
                     {{"a", a.shape()}, {"b", b.shape()}, {"alike", alike.shape()}}, site);
  return mean(square(sum(unit_rows(a) * unit_rows(b), {1}) - cast<T>(alike)));
}

/// Options of `SetFit`; the authors'. Their rate is that of encoders with 10^8 parameters: small ones want 1e-3.
struct SetFitOptions {
  static constexpr DataNeeds needs{};
  Index rounds = 20;    ///< pairs of either kind for each item
  double alpha = 2e-5;  ///< learning rate of AdamW
  Index batch = 16;     ///< pairs of a step
  int epochs = 1;       ///< over the pairs; 0: the linear probe
  int steps = 0;        ///< at most, where it is above 0: some of the pairs are left out then
  LogisticOptions head = {};
};

/// SetFit as a few-shot method for a `BodyHead`: the body is trained on pairs of support items, then
/// `logistic_regression` fits the head to its features. `train_loss` is that of a plain classifier of the base classes
/// on `Episode::support`. Throws as `logistic_regression`, and ValueError for options outside their range, and when a
/// loss or the tuned body is not finite.
template <class Loss = ClassificationLoss>
struct SetFit {
  static constexpr Needs needs{};
  SetFitOptions options = {};
  Loss loss = {};

  template <Model M, class T>
  Tensor<T> train_loss(const M& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("SetFit", site);
    return loss(model, episode.support, context);
  }

  template <class Body, class Head, class T>
  auto adapt(const BodyHead<Body, Head>& model, const LabelledSet<T>& support, const Tensor<T>& = {},
             ContextRef context = Context(), Site site = Site::current()) const {
    const Recording off(false);
    detail::check_count("SetFit", "epochs", options.epochs, 0, site);
    detail::check_count("SetFit", "batch", options.batch, 1, site);
    detail::check_count("SetFit", "steps", options.steps, 0, site);
    const Index ways = ways_of(support.y, site);
    detail::checked_width("SetFit", model.body, support, ways, context, site);
    const ItemPairs pairs = setfit_pairs(support.y, options.rounds, context->stream("pairs"), site);
    // Mini-batches of numbers of pairs, whose labels say nothing.
    const Index count = pairs.first.size(0);
    const LabelledSet<T> numbers{cast<T>(arange<std::int64_t>(count)), arange<std::int64_t>(count)};
    const auto objective = [&](const Body& at, const LabelledSet<T>& batch, ContextRef own) {
      const auto features = [&](const Tensor<std::int64_t>& side) {
        return answer_of(at, gather(support.x, gather(side, batch.y)), own);
      };
      return setfit_loss(features(pairs.first), features(pairs.second), gather(pairs.alike, batch.y), site);
    };
    const Index all = options.epochs * ((count + options.batch - 1) / options.batch);
    const Index steps = options.steps > 0 ? std::min(all, Index{options.steps}) : all;
    const Body body = [&] {
      const Named here("SetFit", site);
      return detail::trained_on("SetFit", detach(model.body), numbers,
                                {.alpha = options.alpha, .steps = static_cast<int>(steps), .batch = options.batch},
                                objective, context, site);
    }();
    return AdaptedModel{detail::probed(body, support, options.head, context, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
