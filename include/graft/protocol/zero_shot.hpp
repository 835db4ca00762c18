#pragma once
// Zero-shot methods by name, all on the same features, and poolings of descriptions on the same items: what a
// comparison of them runs.

#include <algorithm>
#include <string>
#include <vector>

#include "graft/common/class_descriptions.hpp"
#include "graft/common/zero_shot.hpp"
#include "graft/core/registry.hpp"
#include "graft/core/stop.hpp"
#include "graft/data/attributed_items.hpp"
#include "graft/data/described_items.hpp"
#include "graft/evaluate/generalised_zero_shot.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/evaluate/semantic_space.hpp"
#include "graft/fewshot/ridge.hpp"
#include "graft/nn/backbones.hpp"
#include "graft/nn/linear.hpp"
#include "graft/optim/adam.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/pretrain/ale.hpp"
#include "graft/pretrain/attribute_prediction.hpp"
#include "graft/pretrain/description_attention.hpp"
#include "graft/pretrain/description_matching.hpp"
#include "graft/pretrain/devise.hpp"
#include "graft/pretrain/eszsl.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How what is trained is trained: by Adam, the rate falling by half a cosine.
struct ZeroShotTraining {
  Index steps = 300;
  Index batch = 128;  ///< items a step
  double rate = 1e-2;
  const StopFlag* stop = nullptr;  ///< ends training when it asks for it; nobody else is told
};

/// Items of seen classes to train on, and items to answer.
struct ZeroShotTask {
  Tensor<> x;                   ///< [items, width]
  Tensor<std::int64_t> labels;  ///< [items], among all classes
  ZeroShotClasses<> classes;
  Tensor<> test;           ///< [others, width]
  bool one_space = false;  ///< items and signatures lie in one space, as texts and descriptions by the same encoder
};

/// `model` after training on batches drawn of items [items, ...] with labels: `loss(model, x, labels)` is a scalar.
/// Throws ValueError for no items and options below 1.
template <class M, class Loss>
M fit_on_items(M model, const Tensor<>& x, const Tensor<std::int64_t>& labels, const ZeroShotTraining& o,
               const Random& random, const Loss& loss, Site site = Site::current()) {
  if (o.steps < 0 || o.batch < 1 || x.rank() < 1 || x.size(0) < 1)
    fail("fit_on_items", {o.steps, " steps with batches of ", o.batch}, {{"items", x.shape()}}, site);
  Adam<M> adam(model);
  const Schedule rate = Schedule::cosine(o.rate, std::max(o.steps, Index{1}));
  for (Index step = 0; step < o.steps && !(o.stop && o.stop->requested()); ++step) {
    const Random draw = random.stream("batch", step);
    const auto batch =
        generate({o.batch}, [&](Index i) { return draw.below(static_cast<std::uint64_t>(i), x.size(0)); });
    const Tensor<> items = gather(x, batch);
    const Tensor<std::int64_t> own = gather(labels, batch);
    adam.step(model, grad([&](const M& m) { return loss(m, items, own); }, model), rate(step));
  }
  return model;
}

namespace detail {

inline Tensor<> random_zero_shot(const ZeroShotTask& task, const ZeroShotTraining&, const Random& random, Site) {
  return randn<float>({task.test.size(0), task.classes.classes()}, random);
}
inline Tensor<> majority_zero_shot(const ZeroShotTask& task, const ZeroShotTraining&, const Random&, Site) {
  const Index all = task.classes.classes();
  return broadcast_to(sum(one_hot<float>(task.labels, all), {0}, true), {task.test.size(0), all});
}

/// Answers [others, out] of a linear map of the items; `loss(answers, labels)`.
template <class Loss>
Tensor<> linear_answers(const ZeroShotTask& task, Index out, const ZeroShotTraining& o, const Random& random,
                        const Loss& loss, Site site) {
  const auto of_answers = [&](const Linear<>& m, const Tensor<>& x, const Tensor<std::int64_t>& y) {
    return loss(m(x), y);
  };
  const Linear<> start(task.x.size(1), out, random.stream("linear"));
  return fit_on_items(start, task.x, task.labels, o, random, of_answers, site)(task.test);
}
inline Tensor<> dap_zero_shot(const ZeroShotTask& task, const ZeroShotTraining& o, const Random& random, Site site) {
  const ZeroShotClasses<>& classes = task.classes;
  const auto loss = [&](const Tensor<>& a, const Tensor<std::int64_t>& y) { return attribute_loss(a, y, classes); };
  return dap_scores(linear_answers(task, classes.attributes(), o, random, loss, site), classes.signatures,
                    attribute_priors(classes));
}
inline Tensor<> iap_zero_shot(const ZeroShotTask& task, const ZeroShotTraining& o, const Random& random, Site site) {
  const ZeroShotClasses<>& classes = task.classes;
  const auto loss = [&](const Tensor<>& a, const Tensor<std::int64_t>& y) {
    return cross_entropy(a, classes.seen_labels(y));
  };
  return iap_scores(linear_answers(task, classes.seen_classes(), o, random, loss, site), classes,
                    attribute_priors(classes));
}

/// The classes with signatures less their mean over the seen ones, of length 1.
inline ZeroShotClasses<> centred(const ZeroShotClasses<>& classes, Site site) {
  return {unit_rows(classes.signatures - mean(classes.seen_signatures(), {0}, true)), classes.seen, site};
}
inline Tensor<> eszsl_zero_shot(const ZeroShotTask& task, const ZeroShotTraining&, const Random& random, Site site) {
  const ZeroShotClasses<> classes = centred(task.classes, site);
  const EszslOptions chosen =
      choose_eszsl(task.x, task.labels, classes, random.stream("folds"), {.others = 0}, site).options;
  return eszsl(task.x, task.labels, classes, chosen, site)(task.test, classes.signatures);
}
/// By a `Compatibility` that is trained by its own loss.
template <class Ranking>
Tensor<> ranked_zero_shot(const ZeroShotTask& task, const ZeroShotTraining& o, const Random& random, Site site) {
  const ZeroShotClasses<> classes = centred(task.classes, site);
  const auto loss = [&](const Ranking& m, const Tensor<>& x, const Tensor<std::int64_t>& y) {
    return m.loss(x, y, classes);
  };
  const Ranking start(task.x.size(1), classes.attributes(), random);
  return fit_on_items(start, task.x, task.labels, o, random, loss, site)(task.test, classes.signatures);
}
inline Tensor<> matching_zero_shot(const ZeroShotTask& task, const ZeroShotTraining&, const Random&, Site site) {
  if (task.one_space) return DescriptionMatching<>(task.classes.signatures, {}, site)(task.test);
  const ZeroShotClasses<> classes = centred(task.classes, site);
  const Tensor<> map = ridge_weights(task.x, gather(classes.signatures, task.labels), Tensor<>(10.0f), site);
  return DescriptionMatching<>(classes.signatures, {}, site)(matmul(task.test, map));
}

}  // namespace detail

/// Methods by name, made by (task, training, random, site) -> scores [others, classes]; a new one is a line. `random`
/// and `majority` are controls: numbers without meaning, and always the most frequent seen class. The others are linear
/// maps of the items: dap, iap, eszsl, devise, ale, and matching, the class whose signature is nearest by angle to
/// where ridge regression (lambda 10) takes the item; in one space to the item itself, without training. dap and iap
/// want attributes from 0 to 1; the others see signatures less their mean over the seen classes, of length 1. eszsl has
/// targets 0 and 1: with -1 an intercept among the items' numbers becomes a bias against what seen classes have in
/// common.
inline const Registry<Tensor<>(const ZeroShotTask&, const ZeroShotTraining&, const Random&, Site)>&
zero_shot_methods() {
  static const Registry<Tensor<>(const ZeroShotTask&, const ZeroShotTraining&, const Random&, Site)> list(
      "zero-shot methods", {
                               {"random", detail::random_zero_shot},
                               {"majority", detail::majority_zero_shot},
                               {"dap", detail::dap_zero_shot},
                               {"iap", detail::iap_zero_shot},
                               {"eszsl", detail::eszsl_zero_shot},
                               {"devise", detail::ranked_zero_shot<Devise<>>},
                               {"ale", detail::ranked_zero_shot<Ale<>>},
                               {"matching", detail::matching_zero_shot},
                           });
  return list;
}

/// Scores [others, classes] by a method of that name. Throws ValueError for another name, listing them, and as the
/// methods do.
inline Tensor<> zero_shot_scores(const std::string& method, const ZeroShotTask& task, const ZeroShotTraining& o,
                                 const Random& random, Site site = Site::current()) {
  return zero_shot_methods().make(method, task, o, random, site, site);
}

/// `x` [items, width] less its mean over the rows that `of` names, over its deviation there, and a one for the
/// intercept: [items, width + 1]. A number that hardly differs there, by less than 1e-3, is not blown up.
inline Tensor<> standardised(const Tensor<>& x, const Tensor<std::int64_t>& of, Site site = Site::current()) {
  const Tensor<> own = gather(x, of, 0, site);
  const Tensor<> scaled = (x - mean(own, {0}, true)) / maximum(stddev(own, {0}, {.keep = true}), 1e-3f);
  return concat<float>({scaled, ones<float>({x.size(0), 1})}, 1, site);
}

/// An encoder of drawings [items, height, width, 1] of at least 16 x 16 pixels and a layer that predicts attributes.
struct AttributeNet {
  Conv4<> body;
  Linear<> head;
  GRAFT_FIELDS(body, head)
  Tensor<> operator()(const Tensor<>& x) const { return head(body(x)); }
};

/// Features [items, 32] of drawings: of a small `Conv4` that is trained to predict the attributes of seen classes from
/// the training items. Items that are no images [items, height, width, 1] are their own features.
inline Tensor<> attribute_features(const AttributedItems& items, const ZeroShotSplit& split,
                                   const ZeroShotClasses<>& classes, const ZeroShotTraining& o, const Random& random) {
  if (items.x.rank() != 4) return items.x;
  const AttributeNet start{Conv4<>(random.stream("body"), {.channels = {16, 16, 32, 32}, .groups = 4}),
                           {32, classes.attributes(), random.stream("head")}};
  const auto loss = [&](const AttributeNet& m, const Tensor<>& x, const Tensor<std::int64_t>& y) {
    return attribute_loss(m(x), y, classes);
  };
  const Tensor<std::int64_t> labels = gather(items.labels, split.train);
  const AttributeNet net = fit_on_items(start, gather(items.x, split.train), labels, o, random, loss);
  std::vector<Tensor<>> parts;
  for (Index at = 0; at < items.x.size(0); at += 500)
    parts.push_back(net.body(slice(items.x, 0, at, std::min(at + 500, items.x.size(0)))));
  return concat(parts, 0);
}

/// What a zero-shot method is judged by: S, U and H with all classes in play, the accuracy of unseen classes among
/// themselves, and AUSUC.
inline const std::vector<std::string>& zero_shot_metrics() {
  static const std::vector<std::string> names{"S", "U", "H", "U alone", "AUSUC"};
  return names;
}
/// These figures of scores [items, classes] and labels [items]. Throws as `zero_shot_figures` does.
inline std::vector<double> zero_shot_metrics(const Tensor<>& scores, const Tensor<std::int64_t>& labels,
                                             const Tensor<bool>& seen, Site site = Site::current()) {
  const ZeroShotFigures together = zero_shot_figures(scores, labels, seen, 0, site);
  const double alone = zero_shot_figures(scores, labels, seen, std::numeric_limits<double>::infinity(), site).unseen;
  return {together.seen, together.unseen, together.harmonic, alone, ausuc(scores, labels, seen, site)};
}

/// What poolings of descriptions are trained on, and tested: `description_figures`.
struct DescriptionTask {
  const DescribedItems& set;
  Index seen;  ///< classes
  const ZeroShotTraining& training;
  const Random& random;
  Site site;
};

/// How well items of classes that training has not seen are matched to the descriptions of these classes alone.
struct DescriptionFigures {
  double accuracy = 0, reciprocal_rank = 0;
  Index parameters = 0;
};

namespace detail {

/// A map of the items, and what scores them against descriptions.
template <class Pooling>
struct ItemsAndDescriptions {
  Linear<> first;
  Pooling second;
  GRAFT_FIELDS(first, second)
};

/// A linear map of the items and a pooling of `tokens` [classes, tokens, width], trained on the seen classes.
template <class Pooling>
DescriptionFigures fit_pooling(const DescriptionTask& task, const Tensor<>& tokens, const Pooling& pooling) {
  const auto& [set, seen, training, random, site] = task;
  using Pair = ItemsAndDescriptions<Pooling>;
  const Index classes = tokens.size(0), width = tokens.size(2), items = set.x.size(0);
  const auto descriptions = [&tokens](Index from, Index end) {
    const Tensor<> part = slice(tokens, 0, from, end);
    return ClassDescriptions<>{part, ones<bool>({part.size(0), part.size(1)})};
  };
  const ClassDescriptions<> of_seen = descriptions(0, seen), of_unseen = descriptions(seen, classes);
  const Index from = seen * items / classes;  // items stand by class, each with as many
  const auto loss = [&of_seen](const Pair& m, const Tensor<>& x, const Tensor<std::int64_t>& y) {
    return cross_entropy(m.second(m.first(x), of_seen, Context()), y);
  };
  const Pair start{Linear<>(width, width, random.stream("items")), pooling};
  const Pair trained =
      fit_on_items(start, slice(set.x, 0, 0, from), slice(set.labels, 0, 0, from), training, random, loss, site);
  const Tensor<> scores = trained.second(trained.first(slice(set.x, 0, from, items)), of_unseen, Context());
  const Tensor<std::int64_t> right = slice(set.labels, 0, from, items) - seen;
  return {accuracy(scores, right), mean_reciprocal_rank(scores, right), count(trained)};
}

inline DescriptionFigures mean_pooling(const DescriptionTask& task) {
  return fit_pooling(task, task.set.tokens, MeanDescription<>(task.set.tokens.size(2), task.random.stream("pooling")));
}
template <Index heads, DescriptionQuery query>
DescriptionFigures attention_over(const DescriptionTask& task, const Tensor<>& tokens) {
  return fit_pooling(
      task, tokens,
      DescriptionAttention<>(tokens.size(2), task.random.stream("pooling"), {.heads = heads, .query = query}));
}
template <Index heads, DescriptionQuery query>
DescriptionFigures attention_pooling(const DescriptionTask& task) {
  return attention_over<heads, query>(task, task.set.tokens);
}
inline DescriptionFigures oracle_pooling(const DescriptionTask& task) {
  const Tensor<>& all = task.set.tokens;
  const Index classes = all.size(0), width = all.size(2);
  const Tensor<> rows = reshape(all, {classes * all.size(1), width});
  const Tensor<std::int64_t> place = arange<std::int64_t>(classes) * all.size(1) + task.set.informative;
  return attention_over<4, DescriptionQuery::learned>(task, reshape(gather(rows, place), {classes, 1, width}));
}

}  // namespace detail

/// Poolings by name: "mean" (`MeanDescription`), "attention" with four heads and "one_head", both with a query that is
/// learned, "image" with four heads and the item as query, and the bound "oracle": attention to the informative token
/// alone, which nobody could tell it.
inline const Registry<DescriptionFigures(const DescriptionTask&)>& description_poolings() {
  using detail::attention_pooling;
  static const Registry<DescriptionFigures(const DescriptionTask&)> list(
      "poolings of descriptions", {
                                      {"mean", detail::mean_pooling},
                                      {"one_head", attention_pooling<1, DescriptionQuery::learned>},
                                      {"attention", attention_pooling<4, DescriptionQuery::learned>},
                                      {"image", attention_pooling<4, DescriptionQuery::image>},
                                      {"oracle", detail::oracle_pooling},
                                  });
  return list;
}

/// Trains a linear map of the items and a pooling of the descriptions on the first `seen` classes, by the cross-entropy
/// among their descriptions, and tests on the others. Throws ValueError for another name, listing them, and unless
/// there are classes on both sides.
inline DescriptionFigures description_figures(const std::string& pooling, const DescribedItems& set, Index seen,
                                              const ZeroShotTraining& o, const Random& random,
                                              Site site = Site::current()) {
  const Index classes = set.tokens.size(0);
  if (seen < 1 || seen >= classes) fail("description_figures", {seen, " of ", classes, " classes seen"}, {}, site);
  return description_poolings().make(pooling, {set, seen, o, random, site}, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
