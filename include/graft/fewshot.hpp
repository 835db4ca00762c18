#pragma once
// All few-shot methods of fewshot/, by name, and learners of theirs in files. A program that knows its method includes
// the method's header alone, which compiles much faster.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/registry.hpp"
#include "graft/fewshot/anil.hpp"
#include "graft/fewshot/arml.hpp"
#include "graft/fewshot/baseline.hpp"
#include "graft/fewshot/bd_cspn.hpp"
#include "graft/fewshot/boil.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/feat.hpp"
#include "graft/fewshot/fewshot_gnn.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/fewshot/hausdorff.hpp"
#include "graft/fewshot/imaml.hpp"
#include "graft/fewshot/in_context.hpp"
#include "graft/fewshot/laplacian_shot.hpp"
#include "graft/fewshot/learner.hpp"
#include "graft/fewshot/mahalanobis.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/maml_plus_plus.hpp"
#include "graft/fewshot/matching.hpp"
#include "graft/fewshot/meta_mix.hpp"
#include "graft/fewshot/meta_sgd.hpp"
#include "graft/fewshot/nearest_support.hpp"
#include "graft/fewshot/proser.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/pt_map.hpp"
#include "graft/fewshot/relation.hpp"
#include "graft/fewshot/reptile.hpp"
#include "graft/fewshot/ridge.hpp"
#include "graft/fewshot/simpleshot.hpp"
#include "graft/fewshot/soft_kmeans.hpp"
#include "graft/fewshot/svm.hpp"
#include "graft/fewshot/tadam.hpp"
#include "graft/fewshot/tim.hpp"
#include "graft/fewshot/tpn.hpp"
#include "graft/io/checkpoint.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

using Table = Tensor<>;

inline Backbone backbone_of(const LearnerSpec& s, const Random& random, const Table& table) {
  return backbones().make(s.backbone, {s.size, s.entries, s.width}, random.stream("backbone"), table);
}
inline Random head_stream(const Random& random) { return random.stream("head"); }

// ---- Heads that are trained in episodes with their embedding ----

template <class Head>
FewShotLearner head_learner(const LearnerSpec& s, const Random& random, const Table& table, Head head) {
  return FewShotLearner(s, HeadMethod<Head>(), EpisodeLearner<Backbone, Head>{backbone_of(s, random, table), head});
}
/// Of a head without parameters, or whose parameters begin as constants.
template <class Head>
FewShotLearner with_head(const LearnerSpec& s, const Random& random, const Table& table) {
  return head_learner(s, random, table, Head());
}
/// Of one that is made for embeddings of `width` numbers.
template <class Head>
FewShotLearner with_wide_head(const LearnerSpec& s, const Random& random, const Table& table) {
  return head_learner(s, random, table, Head(s.width, head_stream(random)));
}
inline FewShotLearner metaoptnet_ridge_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return head_learner(s, random, table, RidgeHead<>(metaoptnet_ridge()));
}
/// The scale of the cosines is learned from 10 on: at the paper's 1 little is learned (see `MatchingHead`).
inline FewShotLearner matching_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return head_learner(s, random, table, MatchingHead<>({.scale = 10, .learned = true}));
}
/// A class is the mean of its items, not the paper's sum: what is trained with one shot is asked with several.
inline FewShotLearner relation_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  const RelationOptions o{.width = s.width, .of_class = RelationClass::mean};
  return head_learner(s, random, table, RelationHead<>(head_stream(random), o));
}
template <Sees sees>
FewShotLearner graph_transformer_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return head_learner(s, random, table, GraphTransformer<float, sees>(head_stream(random), {.width = s.width}));
}
inline FewShotLearner masked_soft_kmeans_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return head_learner(s, random, table, MaskedSoftKMeans<>(head_stream(random)));
}
inline FewShotLearner in_context_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  const Index heads = InContextOptions().heads, least = std::max(s.ways, InContextOptions().label_width);
  const Index label_width = (s.width + least + heads - 1) / heads * heads - s.width;
  return head_learner(
      s, random, table,
      InContextLearner<>(head_stream(random), {.ways = s.ways, .width = s.width, .label_width = label_width}));
}

/// A `FewShotGnn` that answers so many queries at a time that its pairs of nodes fit into memory: each query has a
/// graph of its own, so the answers are the same.
struct FewShotGnnInPieces {
  FewShotGnn<> gnn;
  GRAFT_FIELDS(gnn)
  static constexpr Needs needs = FewShotGnn<>::needs;

  Tensor<> operator()(const Episode<>& episode, ContextRef context, Site site = Site::current()) const {
    const Index nodes = episode.support.x.size(0) + 1;
    return answer_in_pieces(gnn, episode, std::max(Index{1}, (Index{1} << 15) / (nodes * nodes)), context, site);
  }
  /// The cross-entropy of some queries, drawn anew each time, where all of them would take some gigabytes with their
  /// gradient; the authors' episodes have one query.
  Tensor<> loss(const Episode<>& episode, ContextRef context, Site site = Site::current()) const {
    const Index nodes = episode.support.x.size(0) + 1, queries = episode.query.x.size(0);
    const Index most = std::max(Index{1}, (Index{1} << 12) / (nodes * nodes));
    Episode<> some = episode;
    if (most < queries) {
      const std::vector<Index> drawn = context->stream("queries").permutation(queries, most);
      const auto places = from_vector(std::vector<std::int64_t>(drawn.begin(), drawn.end()));
      some.query = {gather(episode.query.x, places), gather(episode.query.y, places)};
    }
    return cross_entropy(gnn(some, context, site), some.query.y, {}, site);
  }
};
inline FewShotLearner fewshot_gnn_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return head_learner(s, random, table,
                      FewShotGnnInPieces{FewShotGnn<>(head_stream(random), {.ways = s.ways, .width = s.width})});
}
inline FewShotLearner meta_mix_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return FewShotLearner(s, MetaMix<HeadMethod<ProtoNetHead>>(),
                        EpisodeLearner<Backbone, ProtoNetHead>{backbone_of(s, random, table), {}});
}
/// The backbone is its only stage: the task conditions the embedding.
inline FewShotLearner tadam_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return FewShotLearner(
      s, TadamMethod(),
      Tadam<Backbone>(std::vector<Backbone>{backbone_of(s, random, table)}, {s.width}, head_stream(random)));
}

// ---- Methods whose embedding is trained as a plain classifier of all base classes ----

/// A method for a `BodyHead` that is trained on base classes and leaves the body alone when it adapts.
template <class Method>
struct OnBaseClasses : Method {
  static constexpr Trains trains = Trains::classes;
  template <class M>
  static Backbone& embedding_of(M& model) {
    return model.body;
  }
};
inline Linear<> base_classifier(const LearnerSpec& s, const Random& random) {
  return Linear<>(s.width, s.classes, head_stream(random));
}
inline FewShotLearner baseline_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return FewShotLearner(s, OnBaseClasses<Baseline<>>(),
                        BodyHead<Backbone, Linear<>>{backbone_of(s, random, table), base_classifier(s, random)});
}
/// The scale of the cosines is the authors': 10 above 200 classes.
inline FewShotLearner baseline_plus_plus_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  OnBaseClasses<BaselinePlusPlus<>> method;
  method.cosine.scale = s.classes > 200 ? 10 : 2;
  return FewShotLearner(s, method,
                        BodyHead<Backbone, CosineLinear<>>{
                            backbone_of(s, random, table),
                            CosineLinear<>(s.width, s.classes, head_stream(random), {.scale = method.cosine.scale})});
}

/// An embedding with two heads: the classifier of the base classes that trains it, and the one that answers episodes.
template <class Head>
struct PretrainedLearner : EpisodeLearner<Backbone, Head> {
  using EpisodeLearner<Backbone, Head>::embedding;
  using EpisodeLearner<Backbone, Head>::head;
  Linear<> classifier;
  GRAFT_FIELDS(embedding, head, classifier)
};
template <class Head>
struct PretrainedHead {
  static constexpr Needs needs = Head::needs;
  static constexpr Trains trains = Trains::classes;
  static constexpr const char* trained_as = "baseline";

  Tensor<> train_loss(const PretrainedLearner<Head>& model, const Episode<>& batch, ContextRef context,
                      Site site) const {
    const auto loss = [&](const PretrainedLearner<Head>& m, const LabelledSet<>& set, ContextRef c) {
      return cross_entropy(m.classifier(m.embedding(set.x, c), site), set.y, {}, site);
    };
    return loss_on_all("FewShotLearner", loss, model, batch, context, site);
  }
  auto adapt(const PretrainedLearner<Head>& model, const LabelledSet<>& support, const Tensor<>& unlabelled,
             ContextRef context, Site site) const {
    const EpisodeLearner<Backbone, Head>& both = model;
    return HeadMethod<Head>().adapt(both, support, unlabelled, context, site);
  }
  void see_base(PretrainedLearner<Head>& model, const Tensor<>& features, Site site) const {
    if constexpr (requires { model.head.base_mean; }) model.head.base_mean.value = mean_feature(features, site);
  }
};
template <class Head>
FewShotLearner pretrained_learner(const LearnerSpec& s, const Random& random, const Table& table, Head head) {
  PretrainedLearner<Head> model;
  model.embedding = backbone_of(s, random, table);
  model.head = std::move(head);
  model.classifier = base_classifier(s, random);
  return FewShotLearner(s, PretrainedHead<Head>(), std::move(model));
}
template <class Head>
FewShotLearner with_pretrained(const LearnerSpec& s, const Random& random, const Table& table) {
  return pretrained_learner(s, random, table, Head());
}
/// Until it has seen base classes their mean is taken to be 0.
inline FewShotLearner simpleshot_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  SimpleShotHead<> head;
  head.base_mean.value = zeros<float>({s.width});
  return pretrained_learner(s, random, table, head);
}
inline FewShotLearner label_propagation_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return pretrained_learner(s, random, table, LabelPropagationHead<>(LabelPropagationHeadOptions{}));
}

// ---- Methods that adapt a whole classifier of as many classes as an episode has ----

using Classifier = BodyHead<Backbone, Linear<>>;
inline Classifier classifier_of(const LearnerSpec& s, const Random& random, const Table& table) {
  return {backbone_of(s, random, table), Linear<>(s.width, s.ways, head_stream(random))};
}
template <class Method>
FewShotLearner with_classifier(const LearnerSpec& s, const Random& random, const Table& table) {
  return FewShotLearner(s, Method(), classifier_of(s, random, table));
}
/// Rate and steps are the authors' for Omniglot: 0.4 and one step of up to 5 ways, else 0.1 and five.
template <bool first_order>
FewShotLearner maml_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  const MamlOptions few{.alpha = 0.4, .steps = 1, .first_order = first_order};
  const MamlOptions many{.alpha = 0.1, .steps = 5, .first_order = first_order};
  return FewShotLearner(s, Maml<>{s.ways <= 5 ? few : many}, classifier_of(s, random, table));
}
inline FewShotLearner meta_sgd_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return FewShotLearner(s, MetaSgd<>(), meta_sgd_model(classifier_of(s, random, table), random));
}
/// The authors' rounds are epochs, of which there are a hundred.
struct MamlPlusPlusOfTraining : MamlPlusPlus<> {
  void see_progress(double done) { options.round = static_cast<Index>(100 * done); }
};
inline FewShotLearner maml_plus_plus_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  return FewShotLearner(s, MamlPlusPlusOfTraining(), maml_plus_plus_model(classifier_of(s, random, table)));
}
/// Five steps in training, 50 of a new task, as the authors take.
struct ReptileWithLongTest : Reptile<> {
  template <class M>
  AdaptedModel<M> adapt(const M& model, const LabelledSet<>& support, const Tensor<>& unlabelled, ContextRef context,
                        Site site) const {
    Reptile<> longer = *this;
    longer.options.steps = 50;
    return longer.adapt(model, support, unlabelled, context, site);
  }
};
/// Representations of 32 numbers in the place of the authors' 128: the gates have twice as many a parameter of theta.
inline FewShotLearner arml_learner(const LearnerSpec& s, const Random& random, const Table& table) {
  const Random own = random.stream("arml");
  return FewShotLearner(s, ArmlMethod<>(),
                        Arml<Classifier, Backbone>(classifier_of(s, random, table), backbone_of(s, own, table), own,
                                                   {.width = s.width, .hidden = 32}));
}

// ---- Methods that are not trained ----

struct NoModel {
  GRAFT_FIELDS()
};
/// What `Method().adapt(support)` answers.
template <class Method>
struct Untrained {
  static constexpr Needs needs{.derivatives = 0};

  auto adapt(const NoModel&, const LabelledSet<>& support, const Tensor<>&, ContextRef, Site site) const {
    return Method().adapt(support, site);
  }
  Tensor<> train_loss(const NoModel&, const Episode<>& episode, ContextRef context, Site site) const {
    return cross_entropy(Method().adapt(episode.support, site).predict(episode.query.x, context), episode.query.y, {},
                         site);
  }
};
struct HausdorffOfSupport {
  auto adapt(const LabelledSet<>& support, Site site) const {
    return ModifiedHausdorff().adapt(support, Tensor<>(), Context(), site);
  }
};
/// Logits 1 for the class of the nearest support item and 0 for the others.
struct NearestOfSupport {
  struct Known {
    LabelledSet<> support;
    Index ways = 0;
    Tensor<> predict(const Tensor<>& queries, ContextRef) const {
      return one_hot<float>(nearest_support(Episode<>{support, {queries, {}}, ways}), ways);
    }
  };
  Known adapt(const LabelledSet<>& support, Site site) const { return {support, ways_of(support.y, site)}; }
};
template <class Method>
FewShotLearner without_model(const LearnerSpec& s, const Random&, const Table&) {
  return FewShotLearner(s, Untrained<Method>(), NoModel());
}

}  // namespace detail

/// The few-shot methods that a program can choose by name, made by (specification, random, table), the table being that
/// of the backbone: with their defaults, or what their makers above say. A new one is a line. Those before the first
/// comment look at the support alone.
GRAFT_ONCE const Registry<FewShotLearner(const LearnerSpec&, const Random&, const Tensor<>&)>& few_shot_methods() {
  using namespace detail;
  static const Registry<FewShotLearner(const LearnerSpec&, const Random&, const Tensor<>&)> list(
      "few_shot_methods", {
                              {"nearest_support", without_model<NearestOfSupport>},
                              {"hausdorff", without_model<HausdorffOfSupport>},
                              {"baseline", baseline_learner},
                              {"baseline_plus_plus", baseline_plus_plus_learner},
                              {"simpleshot", simpleshot_learner},
                              {"protonet", with_head<ProtoNetHead>},
                              {"matching", matching_learner},
                              {"relation", relation_learner},
                              {"ridge", with_head<RidgeHead<>>},
                              {"metaoptnet_ridge", metaoptnet_ridge_learner},
                              {"svm", with_head<SvmHead<>>},
                              {"mahalanobis", with_head<MahalanobisHead<>>},
                              {"feat", with_wide_head<Feat<>>},
                              {"tadam", tadam_learner},
                              {"proser", with_wide_head<Proser<>>},
                              {"meta_mix", meta_mix_learner},
                              {"graph_transformer", graph_transformer_learner<Sees::support>},
                              {"fewshot_gnn", fewshot_gnn_learner},
                              {"in_context", in_context_learner},
                              {"maml", maml_learner<false>},
                              {"fomaml", maml_learner<true>},
                              {"maml_plus_plus", maml_plus_plus_learner},
                              {"meta_sgd", meta_sgd_learner},
                              {"anil", with_classifier<Anil<>>},
                              {"nil", with_classifier<Nil<>>},
                              {"boil", with_classifier<Boil<>>},
                              {"imaml", with_classifier<Imaml<>>},
                              {"reptile", with_classifier<ReptileWithLongTest>},
                              {"arml", arml_learner},
                              // Unlabelled items too:
                              {"soft_kmeans", with_head<SoftKMeans>},
                              {"masked_soft_kmeans", masked_soft_kmeans_learner},
                              {"graph_transformer_unlabelled", graph_transformer_learner<Sees::unlabelled>},
                              // The other queries too:
                              {"tpn", with_wide_head<LabelPropagationHead<>>},
                              {"label_propagation", label_propagation_learner},
                              {"bd_cspn", with_pretrained<BdCspn>},
                              {"laplacian_shot", with_pretrained<LaplacianShot>},
                              {"pt_map", with_pretrained<PtMap>},
                              {"tim", with_pretrained<Tim>},
                          });
  return list;
}
GRAFT_HELD(const Registry<FewShotLearner(const LearnerSpec&, const Random&, const Tensor<>&)>& few_shot_methods<>())

/// The learner of a specification. `table`: of the backbone `graph`, see `backbones`. Throws ValueError, which lists
/// the names, for an unknown method or backbone, and for sizes below 1 or that do not fit together.
GRAFT_ONCE FewShotLearner make_learner(const LearnerSpec& spec, const Random& random, const Tensor<>& table = {},
                                       Site site = Site::current()) {
  for (const auto& [name, value] : {std::pair("size", spec.size), std::pair("entries", spec.entries),
                                    std::pair("ways", spec.ways), std::pair("classes", spec.classes)})
    if (value < 1) fail("make_learner", {name, " is ", value, ", expected 1 or more"}, {}, site);
  if (spec.width < 8 || spec.width % 8 != 0)
    fail("make_learner", {"width is ", spec.width, ", expected a multiple of 8"}, {}, site);
  if (table.defined() && !(table.shape() == Shape{spec.entries, spec.size}))
    fail<ShapeError>("make_learner", {"expected a table [", spec.entries, ", ", spec.size, "]"},
                     {{"table", table.shape()}}, site);
  return few_shot_methods().make(spec.method, spec, random, table, site);
}
GRAFT_HELD(FewShotLearner make_learner<>(const LearnerSpec&, const Random&, const Tensor<>&, Site))

/// Writes a learner with its specification, and `more` of the caller's, to a file that `load_learner` reads. Throws
/// FileError when it cannot be written.
GRAFT_ONCE void save_learner(const std::string& path, const FewShotLearner& learner, Metadata more = {}) {
  const LearnerSpec& s = learner.spec();
  more["learner/method"] = s.method;
  more["learner/backbone"] = s.backbone;
  for (const auto& [name, value] :
       {std::pair("size", s.size), std::pair("entries", s.entries), std::pair("width", s.width),
        std::pair("ways", s.ways), std::pair("classes", s.classes)})
    more[std::string("learner/") + name] = static_cast<std::int64_t>(value);
  save_checkpoint(path, learner, more);
}
GRAFT_HELD(void save_learner<>(const std::string&, const FewShotLearner&, Metadata))

/// The learner of a file of `save_learner`: it answers with the same bits. Throws FileError for a file that cannot be
/// read, is none of a learner, or one of a method or backbone that this library does not have.
GRAFT_ONCE FewShotLearner load_learner(const std::string& path) {
  const Metadata found = read_checkpoint_metadata(path);
  const auto read = [&]<class T>(const char* name, T& to) {
    using Stored = std::conditional_t<std::is_same_v<T, std::string>, std::string, std::int64_t>;
    const auto at = found.find(std::string("learner/") + name);
    const auto* value = at == found.end() ? nullptr : std::get_if<Stored>(&at->second);
    if (!value)
      fail_file(path, {"is a checkpoint, but not one of a few-shot learner (it has no 'learner/", name, "')"});
    to = *value;
  };
  LearnerSpec spec;
  read("method", spec.method);
  read("backbone", spec.backbone);
  read("size", spec.size);
  read("entries", spec.entries);
  read("width", spec.width);
  read("ways", spec.ways);
  read("classes", spec.classes);
  FewShotLearner learner;
  try {
    learner = make_learner(spec, Random(0));
  } catch (const ValueError& error) {
    std::string why = error.what();
    fail_file(path, {"holds a learner that cannot be made: ", why.substr(0, why.find('\n'))});
  }
  load_checkpoint(path, learner);
  return learner;
}
GRAFT_HELD(FewShotLearner load_learner<>(const std::string&))

}  // namespace GRAFT_ABI
}  // namespace graft
