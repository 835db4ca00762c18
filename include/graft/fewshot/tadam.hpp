#pragma once
// Task-dependent adaptive metric. Oreshkin, Rodriguez Lopez, Lacoste, "TADAM: Task dependent adaptive metric for
// improved few-shot learning", NeurIPS 2018: a prototypical network with a learned scale of its distances, whose
// embedding is conditioned on the task: each stage's features are scaled and shifted by what a network makes of the
// mean of the class prototypes.
//
// The paper's third part, training on a classification of all training classes beside the episodes, is left out: it is
// a loss of its own on the same stages, which a caller adds.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a task's logits and its conditioning are made. The defaults are the authors' for mini-ImageNet.
struct TadamOptions {
  double alpha = 7.5;     ///< scale of the distances at first; its logarithm is learned, so it stays positive
  bool squared = false;   ///< squared distances, as a prototypical network's; the authors' program takes no squares
  Index layers = 3;       ///< of the networks that predict scales and shifts
  double penalty = 0.01;  ///< L2 weight of the post-multipliers in the loss of training
};

/// h -> gamma h + beta for features h [..., width].
template <class T>
struct Film {
  Tensor<T> gamma, beta;  ///< [width]
  GRAFT_FIELDS(gamma, beta)

  Tensor<T> operator()(const Tensor<T>& h) const { return h * gamma + beta; }
};

/// What conditions one stage: gamma = gamma_0 h(task) + 1 and beta = beta_0 g(task), with residual fully connected
/// networks h and g: x -> silu(W x + b [+ x]), the first layer without a shortcut, the last without silu. The
/// post-multipliers gamma_0 and beta_0 are 0 at first: the stage starts unconditioned.
template <class T = float>
struct TaskEncodingNetwork {
  std::vector<Linear<T>> scale, shift;   ///< of h and of g
  Tensor<T> scale_weight, shift_weight;  ///< [], gamma_0 and beta_0
  GRAFT_FIELDS(scale, shift, scale_weight, shift_weight)

  TaskEncodingNetwork() = default;
  TaskEncodingNetwork(Index task_width, Index width, Index layers, const Random& random, Site site = Site::current())
      : scale_weight(zeros<T>({})), shift_weight(zeros<T>({})) {
    if (layers < 1 || task_width < 1 || width < 1)
      fail("TaskEncodingNetwork", {layers, " layers from ", task_width, " to ", width, " numbers"}, {}, site);
    for (Index l = 0; l < layers; ++l) {
      const Index in = l == 0 ? task_width : width;
      scale.emplace_back(in, width, random.stream("scale", l), LinearOptions{}, site);
      shift.emplace_back(in, width, random.stream("shift", l), LinearOptions{}, site);
    }
  }

  /// `task` [task_width], the mean of the prototypes.
  Film<T> operator()(const Tensor<T>& task) const {
    return {scale_weight * predicted(scale, task) + T(1), shift_weight * predicted(shift, task)};
  }

 private:
  static Tensor<T> predicted(const std::vector<Linear<T>>& layers, const Tensor<T>& task) {
    Tensor<T> x = task;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const Tensor<T> y = l == 0 ? layers[l](x) : layers[l](x) + x;
      x = l + 1 < layers.size() ? silu(y) : y;
    }
    return x;
  }
};

/// What a support set makes of a `Tadam`.
template <class T>
struct TadamTask {
  std::vector<Film<T>> films;  ///< [stages]
  Tensor<T> prototypes;        ///< [ways, width], of the conditioned embedding
  GRAFT_FIELDS(films, prototypes)
};

/// Logits of an episode's queries [queries, ways], -alpha |f(x | task) - c_k|:
///   1  c = mean over classes of the prototypes of the support, embedded without conditioning
///   2  gamma_l, beta_l of every stage l from c
///   3  support and queries are embedded, each by itself, with h <- gamma_l h + beta_l after stage l
/// An embedding is a list of stages, called as stage(x, context) or stage(x), whose last axis are the features. In the
/// paper the conditioning stands between a convolution's norm and its activation: cut stages there. Positions that the
/// last stage leaves are averaged. Inductive, if no stage looks at other items.
template <class Stage, class T = float>
struct Tadam {
  std::vector<Stage> stages;
  std::vector<TaskEncodingNetwork<T>> encoders;  ///< [stages]
  Tensor<T> log_alpha;                           ///< []
  TadamOptions options;
  GRAFT_FIELDS(stages, encoders, log_alpha)
  GRAFT_CONFIG(options)

  Tadam() = default;
  /// `widths` [stages]: features of each stage; `random` is for the networks that condition them. Throws ValueError.
  Tadam(std::vector<Stage> embedding, const std::vector<Index>& widths, const Random& random,
        const TadamOptions& o = {}, Site site = Site::current())
      : stages(std::move(embedding)), options(o) {
    detail::check_option<T>("Tadam", "alpha", o.alpha, detail::Range::positive, site);
    detail::check_option<T>("Tadam", "penalty", o.penalty, detail::Range::not_negative, site);
    if (stages.empty() || widths.size() != stages.size())
      fail("Tadam", {stages.size(), " stages and the widths of ", widths.size()}, {}, site);
    detail::check_count("Tadam", "layers", o.layers, 1, site);
    for (const Index width : widths)
      if (width < 1) fail("Tadam", {"a stage of ", width, " features"}, {}, site);
    for (std::size_t l = 0; l < stages.size(); ++l)
      encoders.emplace_back(widths.back(), widths[l], o.layers, random.stream("stage", l), site);
    log_alpha = Tensor<T>(static_cast<T>(std::log(o.alpha)));
  }

  /// Embeddings [items, width], conditioned by one film a stage, or not at all if there are none.
  Tensor<T> embed(const Tensor<T>& items, const std::vector<Film<T>>& films, ContextRef context,
                  Site site = Site::current()) const {
    const Named here("Tadam", site);
    detail::check_parts("Tadam", "encoders", encoders.size(), "stages", stages.size(), site);
    if (!films.empty()) detail::check_parts("Tadam", "films", films.size(), "stages", stages.size(), site);
    Tensor<T> h = items;
    for (std::size_t l = 0; l < stages.size(); ++l) {
      h = answer_of(stages[l], h, context);
      const Index width = encoders[l].scale.back().weight.size(0);
      if (h.rank() < 2 || h.shape()[-1] != width)
        fail<ShapeError>("Tadam", {"stage ", l, " must give [items, ..., ", width, "]"}, {{"features", h.shape()}},
                         site);
      if (!films.empty()) h = films[l](h);
    }
    if (h.rank() == 2) return h;
    const Index width = h.shape()[-1], positions = h.count() / (std::max(h.size(0), Index{1}) * width);
    return mean(reshape(h, {h.size(0), positions, width}, site), {1});
  }

  /// Throws ShapeError, IndexError for a label out of range, ValueError for a class without an item.
  TadamTask<T> condition(const LabelledSet<T>& support, Index ways, ContextRef context,
                         Site site = Site::current()) const {
    const Tensor<T>& x = support.x;
    const Tensor<std::int64_t>& labels = support.y;
    if (x.rank() < 1) fail<ShapeError>("Tadam", "support needs an axis of items", {{"support", x.shape()}}, site);
    const Tensor<T> rows = reshape(x.detach(), {x.size(0), x.count() / std::max(x.size(0), Index{1})}, site);
    detail::check_embedded("Tadam", Episode<T>{{rows, labels}, {rows, {}}, ways}, site);
    const auto class_means = [&](const std::vector<Film<T>>& films) {
      return prototypes(embed(x, films, context, site), labels, ways, site);
    };
    const Tensor<T> task = mean(class_means({}), {0});
    TadamTask<T> result;
    for (const auto& encoder : encoders) result.films.push_back(encoder(task));
    result.prototypes = class_means(result.films);
    return result;
  }

  /// Logits [queries, ways] of a task that is known.
  Tensor<T> logits(const TadamTask<T>& task, const Tensor<T>& queries, ContextRef context,
                   Site site = Site::current()) const {
    const Tensor<T> squares = squared_distances(embed(queries, task.films, context, site), task.prototypes, site);
    return -exp(log_alpha) * (options.squared ? squares : detail::root_of_squares(squares));
  }

  Tensor<T> operator()(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    return logits(condition(episode.support, episode.ways, context, site), episode.query.x, context, site);
  }

  /// penalty / 2 sum over stages of gamma_0^2 + beta_0^2, [].
  Tensor<T> penalty() const {
    Tensor<T> squares = zeros<T>({});
    for (const auto& encoder : encoders)
      squares = squares + square(encoder.scale_weight) + square(encoder.shift_weight);
    return static_cast<T>(options.penalty / 2) * squares;
  }
};
template <class Stage>
Tadam(std::vector<Stage>, const std::vector<Index>&, const Random&, const TadamOptions& = {}) -> Tadam<Stage>;

/// A `Tadam` that knows a task.
template <class Stage, class T>
struct AdaptedTadam {
  Tadam<Stage, T> model;
  TadamTask<T> task;

  /// Logits [queries, ways].
  Tensor<T> predict(const Tensor<T>& queries, ContextRef context = Context(), Site site = Site::current()) const {
    return model.logits(task, queries, context, site);
  }
};

/// The few-shot method (common/few_shot.hpp) of a `Tadam`.
struct TadamMethod {
  static constexpr Needs needs{};

  /// The mean cross-entropy of the queries and the penalty of the post-multipliers.
  template <class Stage, class T>
  Tensor<T> train_loss(const Tadam<Stage, T>& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    return cross_entropy(model(episode, context, site), episode.query.y, {}, site) + model.penalty();
  }

  template <class Stage, class T>
  AdaptedTadam<Stage, T> adapt(const Tadam<Stage, T>& model, const LabelledSet<T>& support, const Tensor<T>& = {},
                               ContextRef context = Context(), Site site = Site::current()) const {
    return {model, model.condition(support, ways_of(support.y, site), context, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
