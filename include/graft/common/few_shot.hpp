#pragma once
// What few-shot methods share. A method is a value of three members, so that a harness runs any of them:
//
//     static constexpr Needs needs;                            what it looks at, and which derivatives it takes
//     train_loss(model, episode, context)                      the scalar whose gradient trains `model`
//     adapt(model, support, unlabelled, context)               -> a value with predict(queries): logits [queries, ways]
//
// A method for an `EpisodeLearner` is a head of it (`HeadMethod` in fewshot/episode_learner.hpp makes the three
// members); one that adapts all of a model stands by itself.

#include <algorithm>
#include <vector>

#include "graft/common/checks.hpp"
#include "graft/data/episodes.hpp"
#include "graft/model/any_model.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Which items a method looks at to answer a query besides the labelled support: none (inductive), unlabelled items of
/// the task (semi-supervised), or these and the other queries (transductive). Accuracies of methods that see more are
/// not to be compared with those that see less.
enum class Sees { support, unlabelled, queries };

/// What a few-shot method needs; its `needs`.
struct Needs {
  Sees sees = Sees::support;
  int derivatives = 1;   ///< order taken of the model in training; 0: nothing is trained
  bool any_ways = true;  ///< else as many classes in every episode as the model was made for
};

/// A few-shot learner whose type is chosen at run time: logits [queries, ways]. What trains and tests learners is
/// compiled once for all of them, in the library graft::compiled where a program links that. It is trained with the
/// cross-entropy of its logits; a loss of the learner inside is not seen.
using AnyEpisodeLearner = AnyModel<Tensor<>(const Episode<>& episode, ContextRef context) const>;

/// A model after adaptation.
template <Model M>
struct AdaptedModel {
  M model;

  /// Logits [queries, ways].
  template <class X>
  auto predict(const X& queries, ContextRef context = Context()) const {
    return answer_of(model, queries, context);
  }
};
template <Model M>
AdaptedModel(M) -> AdaptedModel<M>;

/// The mean cross-entropy of `model(x, context)` (or `model(x)`) on a labelled set: the loss of methods that adapt a
/// classifier. Another loss has the same call.
struct ClassificationLoss {
  template <class M, class T>
  Tensor<T> operator()(const M& model, const LabelledSet<T>& set, ContextRef context) const {
    return cross_entropy(answer_of(model, set.x, context), set.y);
  }
};

/// The number of classes of labels [items] that start at 0: the largest and 1. Throws ValueError without labels, and
/// for one below 0.
inline Index ways_of(const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  Index ways = 0;
  for (const std::int64_t label : host(labels)) {
    if (label < 0) fail("ways_of", {"label ", label}, {}, site);
    ways = std::max(ways, static_cast<Index>(label) + 1);
  }
  if (ways == 0) fail("ways_of", "no labels", {}, site);
  return ways;
}

/// The answers [queries, ways] of `head(episode, context)` to `piece` queries at a time: those to all at once where no
/// query looks at another; a head whose queries do look at one another then sees those of a piece alone. Throws
/// ValueError for a piece below 1.
template <class Head, class T>
Tensor<T> answer_in_pieces(const Head& head, const Episode<T>& episode, Index piece, ContextRef context,
                           Site site = Site::current()) {
  if (piece < 1) fail("answer_in_pieces", {piece, " queries at a time"}, {}, site);
  const auto ask = [&](const Episode<T>& part) -> Tensor<T> {
    if constexpr (requires { head(part, context, site); })
      return head(part, context, site);
    else
      return head(part, context);
  };
  const Index queries = episode.query.x.size(0);
  if (queries <= piece) return ask(episode);
  std::vector<Tensor<T>> parts;
  Episode<T> some = episode;
  for (Index at = 0; at < queries; at += piece) {
    some.query.x = slice(episode.query.x, 0, at, std::min(queries, at + piece));
    parts.push_back(ask(some));
  }
  return concat(parts, 0, site);
}

namespace detail {

/// What every head asks of an episode of embeddings: support [items, width] with a label 0 .. ways-1 each, one item of
/// every class at least, query [queries, width], and nothing unlabelled or [items, width].
template <class T>
void check_embedded(const char* op, const Episode<T>& episode, Site site) {
  const Tensor<T>& x = episode.support.x;
  const Tensor<std::int64_t>& labels = episode.support.y;
  const auto has_width = [&](const Tensor<T>& items) { return items.rank() == 2 && items.size(1) == x.size(1); };
  if (x.rank() != 2 || labels.rank() != 1 || labels.size(0) != x.size(0) || !has_width(episode.query.x))
    fail<ShapeError>(op, "expected support [items, width], labels [items] and query [queries, width]",
                     {{"support", x.shape()}, {"labels", labels.shape()}, {"query", episode.query.x.shape()}}, site);
  if (episode.unlabelled.defined() && !has_width(episode.unlabelled))
    fail<ShapeError>(op, {"expected unlabelled [items, ", x.size(1), "]"}, {{"unlabelled", episode.unlabelled.shape()}},
                     site);
  if (episode.ways < 1 || x.size(0) == 0) fail(op, {episode.ways, " ways and ", x.size(0), " support items"}, {}, site);
  std::vector<bool> seen(static_cast<std::size_t>(episode.ways));
  for (const std::int64_t label : host(labels)) {
    if (label < 0 || label >= episode.ways)
      fail<IndexError>(op, {"label ", label, " of ", episode.ways, " ways"}, {}, site);
    seen[static_cast<std::size_t>(label)] = true;
  }
  for (std::size_t way = 0; way < seen.size(); ++way)
    if (!seen[way])
      fail(op, {"class ", static_cast<Index>(way), " of ", episode.ways, " has no support item"}, {}, site);
}
/// The same, of a head that is made for embeddings of `width` numbers.
template <class T>
void check_embedded(const char* op, const Episode<T>& episode, Index width, Site site) {
  check_embedded(op, episode, site);
  const Tensor<T>& x = episode.support.x;
  if (x.size(1) != width)
    fail<ShapeError>(op, {"made for embeddings [items, ", width, "]"}, {{"support", x.shape()}}, site);
}
/// Throws ShapeError unless there are queries [queries, width] with a label each.
template <class T>
void check_query_labels(const char* op, const LabelledSet<T>& query, Site site) {
  if (query.x.rank() != 2 || !query.y.defined() || !(query.y.shape() == Shape{query.x.size(0)}))
    fail<ShapeError>(op, "expected a label for each query", {{"query", query.x.shape()}}, site);
}

/// x less the mean of the rows of `of`, in two parts, the first of them a constant: a mean of numbers with a common
/// part would be rounded to theirs. Both [items, width].
template <class T>
Tensor<T> less_mean(const Tensor<T>& x, const Tensor<T>& of) {
  const Tensor<T> first = slice(of.detach(), 0, 0, 1);
  return (x - first) - mean(of - first, {0}, true);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
