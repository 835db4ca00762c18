#pragma once
// More episodes out of those that there are. Yao, Huang, Zhang, Wei, Tian, Zou, Huang, Li, "Improving generalization in
// meta-learning via task augmentation", ICML 2021 (MetaMix: queries mixed with support items of their own task), and
// Yao, Zhang, Finn, "Meta-learning with fewer tasks through task interpolation", ICLR 2022 (MLTI: two tasks mixed to a
// third). Formulas after the authors' published programs; of the papers no more than abstracts was read.
//
// Both mix inputs, or hidden features, at a layer drawn at random: to mix features hand over episodes of them, such as
// `EpisodeLearner::embed` gives.

#include <vector>

#include "graft/core/beta_draws.hpp"
#include "graft/common/few_shot.hpp"
#include "graft/common/laps.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How much is mixed. The default is the authors' for images.
struct MetaMixOptions {
  double alpha = 2;  ///< lambda ~ Beta(alpha, alpha), once an episode
};

/// Items with probabilities of classes in the place of labels: `x` [items, ...], `y` [items, ways].
template <class T = float>
struct SoftSet {
  Tensor<T> x, y;
};

/// An episode whose queries, or all of whose items, are mixed. A `task` as `maml_loss` takes it, with a
/// `SoftClassificationLoss`.
template <class T = float, class Support = LabelledSet<T>>
struct MixedEpisode {
  Support support;
  SoftSet<T> query;
  Index ways = 0;
  double lambda = 1;  ///< weight of the first of the two that were mixed
};

/// The mean cross-entropy of `model(x, context)` (or `model(x)`) on labelled or mixed items.
struct SoftClassificationLoss {
  template <class M, class T>
  Tensor<T> operator()(const M& model, const LabelledSet<T>& set, ContextRef context = Context()) const {
    return cross_entropy(answer_of(model, set.x, context), set.y);
  }
  template <class M, class T>
  Tensor<T> operator()(const M& model, const SoftSet<T>& set, ContextRef context = Context()) const {
    return cross_entropy(answer_of(model, set.x, context), set.y);
  }
};

namespace detail {

template <class T>
Tensor<T> mixture(const Tensor<T>& a, const Tensor<T>& b, double lambda) {
  return static_cast<T>(lambda) * a + static_cast<T>(1 - lambda) * b;
}

/// lambda of the labels one-hot and 1 - lambda of the partners' labels, [items, ways].
template <class T>
Tensor<T> mixed_labels(const Tensor<std::int64_t>& own, const Tensor<std::int64_t>& partners, Index ways,
                       double lambda) {
  return mixture(one_hot<T>(own, ways), one_hot<T>(partners, ways), lambda);
}

/// Throws unless both sides have a label an item, 0 .. ways-1, and items of equal shape.
template <class T>
void check_labelled(const char* op, const Episode<T>& episode, Site site) {
  for (const LabelledSet<T>* side : {&episode.support, &episode.query}) {
    const auto& [x, y] = *side;
    if (!x.defined() || !y.defined()) fail(op, "needs support and query, with labels", {}, site);
    if (x.rank() < 1 || !(y.shape() == Shape{x.size(0)}) ||
        !(x.shape().without(0) == episode.support.x.shape().without(0)))
      fail<ShapeError>(op, "expected support and query items of one shape, and a label each",
                       {{"support", episode.support.x.shape()}, {"items", x.shape()}, {"labels", y.shape()}}, site);
    check_indices(op, y, episode.ways, site);
  }
}

/// `places_in_laps`, to gather by.
inline Tensor<std::int64_t> spread_places(Index count, Index items, const Random& random) {
  return from_vector(places_in_laps(count, items, random));
}

/// What `MetaMix` mixes an episode's queries with.
template <class T>
struct QueryMix {
  double lambda;
  Tensor<std::int64_t> partners;  ///< [queries]: their places in the support
  Tensor<T> x;

  QueryMix(const char* op, const Episode<T>& episode, const Random& random, const MetaMixOptions& options, Site site) {
    check_gamma_shape(op, "alpha", options.alpha, site);
    check_labelled(op, episode, site);
    const Index items = episode.support.x.size(0), queries = episode.query.x.size(0);
    if (items == 0) fail(op, "there are no support items to mix with", {}, site);
    lambda = beta_draw(options.alpha, options.alpha, random.stream("lambda"));
    partners = spread_places(queries, items, random.stream("partners"));
    x = mixture(episode.query.x, gather(episode.support.x, partners), lambda);
  }
};

/// Throws unless two tasks of equal ways and items can be mixed by `lambda`.
template <class T>
void check_pair(const char* op, const Episode<T>& a, const Episode<T>& b, double lambda, Site site) {
  check_labelled(op, a, site);
  check_labelled(op, b, site);
  if (a.ways != b.ways) fail(op, {"tasks of ", a.ways, " and ", b.ways, " ways"}, {}, site);
  if (!(a.support.x.shape().without(0) == b.support.x.shape().without(0)))
    fail<ShapeError>(op, "the tasks' items differ in shape", {{"a", a.support.x.shape()}, {"b", b.support.x.shape()}},
                     site);
  if (!(lambda >= 0 && lambda <= 1)) fail(op, {"lambda is ", lambda, ", expected 0 to 1"}, {}, site);
}

}  // namespace detail

/// MetaMix: a query x and a support item x' of the same task become lambda x + (1 - lambda) x', their labels, one-hot,
/// the same; lambda ~ Beta(alpha, alpha) is drawn once an episode. Partners are drawn such that each support item
/// serves as often as any other, up to one. The support stays as it is: a learner adapts to it, and its loss on the
/// mixed queries trains it. Gradients flow to both sides' items. Throws ShapeError, IndexError for a label out of
/// range, ValueError for an alpha that is not positive, or no support items.
template <Real T>
MixedEpisode<T> mix_episode(const Episode<T>& episode, const Random& random, const MetaMixOptions& options = {},
                            Site site = Site::current()) {
  const detail::QueryMix<T> mix("mix_episode", episode, random, options, site);
  const Tensor<T> y =
      detail::mixed_labels<T>(episode.query.y, gather(episode.support.y, mix.partners), episode.ways, mix.lambda);
  return {episode.support, {mix.x, y}, episode.ways, mix.lambda};
}

/// MLTI of tasks that share no labels: classes of `a` and `b` are paired at random, class k with pair(k), and every
/// item x of class k becomes lambda x + (1 - lambda) x' with an item x' of pair(k), on the same side: the items of
/// class k of the new task, which has as many items as `a`, with its labels. Partners are taken in order, from the
/// start again where b has fewer. The pairs are the same for support and queries. `lambda`: see `beta_draw`; the
/// authors' is Beta(2, 2) for images, Beta(0.5, 0.5) for data of biology. Unlabelled items are left out. Throws
/// ShapeError, IndexError for a label out of range, ValueError for unequal ways, a lambda outside [0, 1], or a class of
/// `b` that has no item where its partner has.
template <Real T>
Episode<T> interpolate_tasks(const Episode<T>& a, const Episode<T>& b, double lambda, const Random& random,
                             Site site = Site::current()) {
  detail::check_pair("interpolate_tasks", a, b, lambda, site);
  const std::vector<Index> pair = random.permutation(a.ways);
  const auto mixed = [&](const LabelledSet<T>& own, const LabelledSet<T>& other) -> LabelledSet<T> {
    List<List<std::int64_t>> of_class(a.ways);
    std::int64_t place = 0;
    for (const std::int64_t label : host(other.y)) of_class[label].push_back(place++);
    List<Index> taken(a.ways);
    List<std::int64_t> partners;
    for (const std::int64_t label : host(own.y)) {
      const Index partner = pair[static_cast<std::size_t>(label)];
      const List<std::int64_t>& candidates = of_class[partner];
      if (candidates.empty())
        fail("interpolate_tasks", {"class ", partner, " of b has no item for those of class ", label, " of a"}, {},
             site);
      partners.push_back(candidates[taken[label]++ % candidates.size()]);
    }
    return {detail::mixture(own.x, gather(other.x, from_vector(partners)), lambda), own.y};
  };
  return {mixed(a.support, b.support), mixed(a.query, b.query), a.ways};
}

/// MLTI of tasks that share their labels: items are paired at random, whatever their classes, and their labels,
/// one-hot, are mixed as they are, on both sides. Throws as `interpolate_tasks`, and ValueError where `b` has no item.
template <Real T>
MixedEpisode<T, SoftSet<T>> interpolate_shared_tasks(const Episode<T>& a, const Episode<T>& b, double lambda,
                                                     const Random& random, Site site = Site::current()) {
  detail::check_pair("interpolate_shared_tasks", a, b, lambda, site);
  const auto mixed = [&](const LabelledSet<T>& own, const LabelledSet<T>& other, const char* side) -> SoftSet<T> {
    if (other.x.size(0) == 0 && own.x.size(0) > 0)
      fail("interpolate_shared_tasks", {"b has no ", side, " items"}, {}, site);
    const Tensor<std::int64_t> partners = detail::spread_places(own.x.size(0), other.x.size(0), random.stream(side));
    return {detail::mixture(own.x, gather(other.x, partners), lambda),
            detail::mixed_labels<T>(own.y, gather(other.y, partners), a.ways, lambda)};
  };
  return {mixed(a.support, b.support, "support"), mixed(a.query, b.query, "query"), a.ways, lambda};
}

/// Any few-shot method (common/few_shot.hpp) trained on mixed queries. A method knows labels only; but the
/// cross-entropy is linear in its targets, so the loss on `mix_episode` is lambda times the method's loss on the mixed
/// items with the queries' labels plus 1 - lambda times that with the partners' labels, which is what is computed: for
/// methods whose `train_loss` is a mean cross-entropy of the queries, besides terms without their labels. It adapts as
/// the method does.
template <class Method>
struct MetaMix {
  static constexpr Needs needs = Method::needs;
  Method method = {};
  MetaMixOptions options = {};

  /// Takes the context's next stream named "meta mix". Both losses see the same of its other numbers; it keeps the
  /// updates of the first.
  template <class M, class T>
  Tensor<T> train_loss(const M& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const detail::QueryMix<T> mix("MetaMix", episode, context->stream("meta mix"), options, site);
    Context again = context;
    Episode<T> mixed = episode;
    mixed.query.x = mix.x;
    const Tensor<T> own = method.train_loss(model, mixed, context, site);
    mixed.query.y = gather(episode.support.y, mix.partners);
    return detail::mixture(own, method.train_loss(model, mixed, again, site), mix.lambda);
  }

  template <class M, class T>
  auto adapt(const M& model, const LabelledSet<T>& support, const Tensor<T>& unlabelled = {},
             ContextRef context = Context(), Site site = Site::current()) const {
    return method.adapt(model, support, unlabelled, context, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
