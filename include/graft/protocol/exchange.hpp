#pragma once
// Knowledge that tasks exchange while they train: each episode's class nodes attend to what other tasks posted, along
// edges from task to task. Graph attention: Brody, Alon, Yahav, "How attentive are graph attention networks?", ICLR
// 2022; a branch behind a gate from 0 on: Bachlechner et al., "ReZero is all you need", UAI 2021. The exchange itself
// is this project's; without it a learner has the bits of one that never heard of it.

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/core/registry.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/soft_kmeans.hpp"
#include "graft/graph/gatv2.hpp"
#include "graft/graph/knn.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/norm.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/protocol/board.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a task tells the others of its episode.
///   prototypes   the mean embedding of each class: [ways, width]
///   summary      one row, an attention summary of the support: sum_i softmax_i(m . (x_i - m) / sqrt(width)) x_i with
///                the mean m of the support: [1, width]
///   soft_labels  prototypes that unlabelled items take part in by their soft labels, one step of soft k-means (Ren et
///                al., ICLR 2018); without such items, the prototypes: [ways, width]
enum class TaskMessage { prototypes, summary, soft_labels };

/// The kinds of messages by name.
inline const Registry<TaskMessage()>& task_messages() {
  static const Registry<TaskMessage()> list("task messages",
                                            {
                                                {"prototypes", [] { return TaskMessage::prototypes; }},
                                                {"summary", [] { return TaskMessage::summary; }},
                                                {"soft_labels", [] { return TaskMessage::soft_labels; }},
                                            });
  return list;
}

/// The message of an episode of embeddings, a constant; the queries have no part in it. Throws ShapeError, IndexError
/// and ValueError for an episode that is none.
template <Real T>
Tensor<float> task_message(TaskMessage kind, const Episode<T>& episode, Site site = Site::current()) {
  detail::check_embedded("task_message", episode, site);
  const Recording off(false);
  const Tensor<T> x = episode.support.x.detach();
  if (kind == TaskMessage::summary) {
    const Tensor<T> centre = mean(x, {0}, true), apart = x - centre;
    const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(x.size(1))));
    const Tensor<T> share = softmax(scale * matmul(centre, apart, {.transpose_b = true}), 1);
    return cast<float>(centre + matmul(share, apart));
  }
  const auto assign = [&](const Tensor<T>& classes) {
    return softmax(-squared_distances(episode.unlabelled.detach(), classes, site), 1, site);
  };
  const int steps = kind == TaskMessage::soft_labels ? 1 : 0;
  return cast<float>(detail::refined_prototypes(episode, steps, assign, site).detach());
}

/// How tasks hear one another.
struct ExchangeOptions {
  bool on = true;  ///< false: no edges between tasks, and no parameters for them
  TaskMessage message = TaskMessage::prototypes;
  Index width = 64;      ///< of the embeddings
  Index heads = 4;       ///< of the attention; must divide the width
  Index neighbours = 0;  ///< rows that a class node hears, the nearest ones in embedding; 0: all
  double gate = 0;       ///< every number of the branch starts scaled by this
  double dropout = 0;    ///< of the attention weights, in training
  bool uniform = false;  ///< a negative control: all rows heard get equal weight, whatever they say
};

/// "off", and the names of messages.
inline std::vector<std::string> exchange_names() {
  std::vector<std::string> names = task_messages().names();
  names.insert(names.begin(), "off");
  return names;
}

/// An exchange of messages of that name, or "off". Throws ValueError for another one.
inline ExchangeOptions exchange_of(const std::string& name, Site site = Site::current()) {
  ExchangeOptions options{.on = name != "off"};
  if (options.on) options.message = task_messages().make(name, site);
  return options;
}

/// c <- c + gate * GATv2(norm(rows) -> norm(c)): class nodes [ways, width] attend to rows that other tasks posted.
template <class T = float>
struct TaskExchange {
  LayerNorm<T> norm_rows, norm_classes;
  GatV2<T> attention;
  Tensor<T> gate;  ///< [width]
  ExchangeOptions options;
  GRAFT_FIELDS(norm_rows, norm_classes, attention, gate)
  GRAFT_CONFIG(options)

  TaskExchange() = default;
  /// Throws ValueError for options out of range.
  explicit TaskExchange(const Random& random, const ExchangeOptions& o = {}, Site site = Site::current()) : options(o) {
    if (o.heads < 1 || o.width < 1 || o.width % o.heads != 0)
      fail("TaskExchange", {o.heads, " heads do not divide a width of ", o.width}, {}, site);
    if (o.neighbours < 0) fail("TaskExchange", {"neighbours is ", o.neighbours}, {}, site);
    detail::check_option<T>("TaskExchange", "gate", o.gate, detail::Range::finite, site);
    norm_rows = LayerNorm<T>(o.width);
    norm_classes = LayerNorm<T>(o.width);
    attention = GatV2<T>(o.width, o.width / o.heads, random.stream("attention"),
                         {.heads = o.heads, .dropout = o.dropout, .in_destinations = o.width}, site);
    if (o.uniform) attention.att = detail::with_frozen_mark(zeros<T>(attention.att.shape()), true);
    gate = full<T>({o.width}, static_cast<T>(o.gate));
  }

  /// The edges from rows [rows, width] to classes [ways, width]: all, or each class's nearest ones.
  Graph edges(const Tensor<T>& rows, const Tensor<T>& classes, Site site = Site::current()) const {
    const Index sources = rows.size(0), ways = classes.size(0);
    const Index heard = options.neighbours > 0 ? std::min(options.neighbours, sources) : sources;
    if (heard < sources)
      return Graph(sources, ways, nearest_neighbours(rows, classes.detach(), heard, false, site), site);
    std::vector<GraphEdge> all;
    all.reserve(static_cast<std::size_t>(sources * ways));
    for (Index way = 0; way < ways; ++way)
      for (Index row = 0; row < sources; ++row) all.push_back({row, way});
    return Graph(sources, ways, all, site);
  }

  /// What is added to the classes, [ways, width]; not defined when nobody has posted anything.
  Tensor<T> operator()(const Tensor<T>& classes, const BoardRows& others, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("TaskExchange", site);
    if (others.tasks.empty()) return {};
    const Tensor<T> rows = cast<T>(others.rows);
    return gate * attention(edges(rows, classes, site), norm_rows(rows), norm_classes(classes), context, site);
  }

  /// [tasks]: the share of the attention, mean over classes and heads, that the rows of each of `tasks` tasks get
  /// together, without dropout; 0 for tasks without rows. Not defined when nobody has posted anything.
  Tensor<double> shares(const Tensor<T>& classes, const BoardRows& others, Index tasks,
                        Site site = Site::current()) const {
    if (others.tasks.empty()) return {};
    const Recording off(false);
    const Tensor<T> rows = cast<T>(others.rows), own = classes.detach();
    const Graph graph = edges(rows, own, site);
    const Tensor<T> alpha = attention.attention(graph, norm_rows(rows), norm_classes(own), {}, site);
    List<double> sums(tasks);
    const auto weights = host(alpha);
    const double each = 1 / static_cast<double>(options.heads * own.size(0));
    std::size_t at = 0;
    for (const std::int64_t source : host(graph.source_of()))
      for (Index head = 0; head < options.heads; ++head)
        sums[others.tasks[static_cast<std::size_t>(source)]] += each * static_cast<double>(weights[at++]);
    return from_vector(sums);
  }
};

/// A few-shot learner whose tasks hear one another. The class nodes of an episode, the means of its embedded supports,
/// are moved by `TaskExchange`: every support item by as much as its class, so that the learner's head, whatever it is,
/// sees the classes there. Queries are not moved, and stay independent of each other.
///
///     ExchangeLearner learner(EpisodeLearner{embedding, GraphTransformer<>(random)}, tasks, ways, random);
///
/// In training a task hears the other tasks' latest messages; at test a task that was never trained on joins by its
/// support alone and hears the board of the model that was kept. With `on` false, the same learner bit for bit.
template <class Embedding, class Head>
struct ExchangeLearner {
  EpisodeLearner<Embedding, Head> learner;
  std::optional<TaskExchange<float>> exchange;  ///< none: off
  TaskBoard board;
  GRAFT_FIELDS(learner, exchange, board)

  ExchangeLearner() = default;
  /// `ways`: of the largest training episode. Throws ValueError for options out of range.
  ExchangeLearner(EpisodeLearner<Embedding, Head> l, Index tasks, Index ways, const Random& random,
                  const ExchangeOptions& o = {}, Site site = Site::current())
      : learner(std::move(l)) {
    if (!o.on) return;
    exchange = TaskExchange<float>(random, o, site);
    board = TaskBoard(tasks, {o.message == TaskMessage::summary ? 1 : ways, o.width}, site);
  }

  /// The episode of embeddings with its support moved by what tasks other than `own` posted (own < 0: all of them).
  Episode<> joined(Episode<> embedded, Index own, ContextRef context, Site site = Site::current()) const {
    if (!exchange) return embedded;
    return moved(std::move(embedded), rows_of_others(board, own), context, site);
  }

  /// Logits [queries, ways] of an episode of a task that is not on the board.
  Tensor<> operator()(const Episode<>& episode, ContextRef context, Site site = Site::current()) const {
    if (!exchange) return learner(episode, context, site);
    return learner.head(joined(learner.embed(episode, context, site), -1, context, site), context);
  }

  /// The loss of an episode of training task `own` (the head's own, or the cross-entropy of its logits), its accuracy,
  /// what it posts and whom it heard: what a round of the protocol asks of a task.
  TaskAnswer<> train_answer(const Episode<>& episode, Index own, ContextRef context,
                            Site site = Site::current()) const {
    Episode<> embedded = learner.embed(episode, context, site);
    TaskAnswer<> answer;
    if (exchange) {
      const BoardRows others = rows_of_others(board, own);
      answer.message = task_message(exchange->options.message, embedded, site);
      answer.attention = exchange->shares(class_means(embedded, site), others, board.tasks(), site);
      embedded = moved(std::move(embedded), others, context, site);
    }
    const Tensor<> logits = learner.head(embedded, context);
    if constexpr (requires { learner.head.loss(embedded, context); })
      answer.loss = learner.head.loss(embedded, context);
    else
      answer.loss = cross_entropy(logits, episode.query.y, {}, site);
    answer.metric = accuracy(logits, episode.query.y);
    return answer;
  }

  /// The learner after adaptation to a labelled support: predict(queries) -> logits.
  AdaptedLearner<Embedding, Head, float> adapt(const LabelledSet<>& support, const Tensor<>& unlabelled = {},
                                               ContextRef context = Context(), Site site = Site::current()) const {
    const Episode<> known{support, {}, ways_of(support.y, site), unlabelled};
    return {learner, joined(learner.embed(known, context, site), -1, context, site)};
  }

 private:
  static Tensor<> class_means(const Episode<>& embedded, Site site) {
    return prototypes(embedded.support.x, embedded.support.y, embedded.ways, site);
  }
  Episode<> moved(Episode<> embedded, const BoardRows& others, ContextRef context, Site site) const {
    const Tensor<> shift = (*exchange)(class_means(embedded, site), others, context, site);
    if (shift.defined()) embedded.support.x = embedded.support.x + gather(shift, embedded.support.y, 0, site);
    return embedded;
  }
};
template <class Embedding, class Head>
ExchangeLearner(EpisodeLearner<Embedding, Head>, Index, Index, const Random&, const ExchangeOptions& = {})
    -> ExchangeLearner<Embedding, Head>;

}  // namespace GRAFT_ABI
}  // namespace graft
