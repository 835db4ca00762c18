#pragma once
// A few-shot learner chosen at run time: any method with any backbone behind one type, so that a harness, a saved file
// or a program that answers needs no template. The list of methods by name is in graft/fewshot.hpp:
//
//     FewShotLearner learner = make_learner({.method = "protonet", .backbone = "conv4", .size = 28}, Random(1));
//     const auto few = learner.adapt(support);                // a LabelledSet of a few items a class
//     const Tensor<> logits = few.predict(x);                 // [items, ways]

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "graft/common/backbones.hpp"
#include "graft/common/few_shot.hpp"
#include "graft/model/grad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// All that a learner is made from besides random numbers: kept in the file of a saved one.
struct LearnerSpec {
  std::string method = "protonet";  ///< a name of `few_shot_methods()`
  std::string backbone = "conv4";   ///< a name of `backbones()`
  Index size = 28;     ///< of an item: pixels a side of images, numbers of a vector or of a node's features, tokens
  Index entries = 1;   ///< of the table that items are looked up in: nodes of the graph, tokens of the vocabulary
  Index width = 64;    ///< of the embeddings; a multiple of 8
  Index ways = 5;      ///< classes of an episode, where the method fixes them (`Needs::any_ways`)
  Index classes = 64;  ///< base classes, where the method is trained to tell all of them apart (`Trains::classes`)
};

/// What a method is trained on: nothing; episodes; or batches of the base classes, `Episode::support` alone with the
/// numbers of base classes as labels (0 .. classes - 1 of the specification), as a plain classifier is.
enum class Trains { nothing, episodes, classes };

namespace detail {

/// A learner that knows a task, of any type.
struct KnownTask {
  virtual ~KnownTask() = default;
  virtual Tensor<> predict(const Tensor<>& queries, ContextRef context) const = 0;
};
template <class A>
struct KnownTaskOf final : KnownTask {
  A adapted;
  explicit KnownTaskOf(A a) : adapted(std::move(a)) {}
  Tensor<> predict(const Tensor<>& queries, ContextRef context) const override {
    return adapted.predict(queries, context);
  }
};

/// A method and its model, of any types. What has a member `embedding`, called for single items, and a `head` answers
/// episodes of embeddings.
struct AnyMethod {
  virtual ~AnyMethod() = default;
  virtual AnyMethod* copy() const = 0;
  virtual Needs needs() const = 0;
  virtual Trains trains() const = 0;
  virtual const char* trained_as() const = 0;
  virtual Tensor<> train_loss(const Episode<>& episode, ContextRef context, Site site) const = 0;
  virtual std::shared_ptr<const KnownTask> adapt(const LabelledSet<>& support, const Tensor<>& unlabelled,
                                                 ContextRef context, Site site) const = 0;
  virtual Tensor<> answer(const Episode<>& episode, ContextRef context, Site site) const = 0;
  virtual Backbone* embedding() = 0;
  virtual void see_base(const Tensor<>& features, Site site) = 0;
  virtual void see_progress(double done) = 0;
  virtual void gather(LeafList& list) const = 0;
  static void* operator new(std::size_t bytes) { return allocate_block(bytes); }
  static void operator delete(void* from, std::size_t bytes) { free_block(from, bytes); }
};
template <class Method, class M>
struct MethodOf final : AnyMethod {
  Method method;
  M model;
  static constexpr char kType = 0;  // its address tells learners of different types apart
  static constexpr bool embeds = requires(const M& m, const Episode<>& e, ContextRef c) {
    m.embed(e, c);
    m.embedding;
    m.head;
  };

  MethodOf(Method how, M what) : method(std::move(how)), model(std::move(what)) {}
  AnyMethod* copy() const override { return new MethodOf(*this); }
  Needs needs() const override { return Method::needs; }
  Trains trains() const override {
    if constexpr (requires { Method::trains; })
      return Method::trains;
    else
      return Method::needs.derivatives == 0 ? Trains::nothing : Trains::episodes;
  }
  const char* trained_as() const override {
    if constexpr (requires { Method::trained_as; })
      return Method::trained_as;
    else
      return nullptr;
  }
  Tensor<> train_loss(const Episode<>& episode, ContextRef context, Site site) const override {
    return method.train_loss(model, episode, context, site);
  }
  std::shared_ptr<const KnownTask> adapt(const LabelledSet<>& support, const Tensor<>& unlabelled, ContextRef context,
                                         Site site) const override {
    auto adapted = method.adapt(model, support, unlabelled, context, site);
    return std::make_shared<KnownTaskOf<decltype(adapted)>>(std::move(adapted));
  }
  Tensor<> answer(const Episode<>& episode, ContextRef context, Site site) const override {
    if constexpr (embeds)
      return model.head(model.embed(episode, context, site), context);  // one batch of all items
    else
      return method.adapt(model, episode.support, episode.unlabelled, context, site).predict(episode.query.x, context);
  }
  Backbone* embedding() override {
    if constexpr (embeds)
      return &model.embedding;
    else if constexpr (requires { Method::embedding_of(model); })
      return &Method::embedding_of(model);
    else
      return nullptr;
  }
  void see_base(const Tensor<>& features, Site site) override {
    if constexpr (requires { method.see_base(model, features, site); }) method.see_base(model, features, site);
  }
  void see_progress(double done) override {
    if constexpr (requires { method.see_progress(done); }) method.see_progress(done);
  }
  void gather(LeafList& list) const override {
    list.note(reinterpret_cast<std::size_t>(&kType));
    gather_leaves(list, model);
  }
};

}  // namespace detail

/// A learner that knows a task. A copy shares it.
class AdaptedTask {
 public:
  explicit AdaptedTask(std::shared_ptr<const detail::KnownTask> task) : task_(std::move(task)) {}

  /// Logits [queries, ways] of items as the support's. A transductive method sees the queries of one call together.
  Tensor<> predict(const Tensor<>& queries, ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("FewShotLearner", site);
    return task_->predict(queries, context);
  }

 private:
  std::shared_ptr<const detail::KnownTask> task_;
};

/// A few-shot method (common/few_shot.hpp) with its model, of whatever types. A value and a Model like every other:
/// copies have parameters of their own, gradients and optimisers work, it is saved as a tree of tensors.
class FewShotLearner {
 public:
  FewShotLearner() = default;
  /// `method.train_loss(model, episode, context, site)` and `method.adapt(model, support, unlabelled, context, site)`
  /// are what it does. `Method::trains` says what it is trained on; without it, that is episodes, or nothing where
  /// `Method::needs` has no derivatives.
  template <class Method, Model M>
  FewShotLearner(const LearnerSpec& spec, Method method, M model)
      : spec_(std::make_shared<LearnerSpec>(spec)),
        held_(new detail::MethodOf<Method, M>(std::move(method), std::move(model))) {}
  FewShotLearner(const FewShotLearner& other)
      : spec_(other.spec_), held_(other.held_ ? other.held_->copy() : nullptr) {}
  FewShotLearner(FewShotLearner&& other) noexcept
      : spec_(std::move(other.spec_)), held_(std::exchange(other.held_, nullptr)) {}
  FewShotLearner& operator=(FewShotLearner other) noexcept {
    std::swap(spec_, other.spec_);
    std::swap(held_, other.held_);
    return *this;
  }
  ~FewShotLearner() { delete held_; }

  const LearnerSpec& spec(Site site = Site::current()) const {
    held(site);
    return *spec_;
  }
  const std::string& name(Site site = Site::current()) const { return spec(site).method; }
  Needs needs(Site site = Site::current()) const { return held(site).needs(); }
  Trains trains(Site site = Site::current()) const { return held(site).trains(); }
  /// The method whose training gives this one its embedding: another one's for heads without a training of their own,
  /// which share one embedding (`with_embedding`).
  std::string trained_as(Site site = Site::current()) const {
    const char* other = held(site).trained_as();
    return other ? other : name(site);
  }

  /// The scalar whose gradient trains the learner, of an episode or a batch as `trains()` says. A method that is not
  /// trained has the cross-entropy of its answers, without a gradient.
  Tensor<> train_loss(const Episode<>& episode, ContextRef context, Site site = Site::current()) const {
    const Named here("FewShotLearner", site);
    return held(site).train_loss(episode, context, site);
  }
  /// The learner after a look at labelled items of a task, `support.y` [items] in 0 .. ways-1, and at unlabelled ones
  /// if there are any.
  AdaptedTask adapt(const LabelledSet<>& support, const Tensor<>& unlabelled = {}, ContextRef context = Context(),
                    Site site = Site::current()) const {
    const Named here("FewShotLearner", site);
    return AdaptedTask(held(site).adapt(support, unlabelled, context, site));
  }
  /// `adapt` to the support of an episode and `predict` of its queries: logits [queries, ways].
  Tensor<> operator()(const Episode<>& episode, ContextRef context, Site site = Site::current()) const {
    const Named here("FewShotLearner", site);
    return held(site).answer(episode, context, site);
  }

  /// What embeds single items before a head answers; null where the whole model adapts. Items may be embedded once by
  /// it, and the learner that `with_embedding` a `SameItems` answers episodes of them.
  const Backbone* embedding(Site site = Site::current()) const { return held(site).embedding(); }
  /// The learner with another embedding. Throws ValueError where there is none to replace.
  FewShotLearner with_embedding(Backbone other, Site site = Site::current()) const {
    FewShotLearner result = *this;
    Backbone* const own = result.held(site).embedding();
    if (!own) fail("FewShotLearner", {name(site), " has no embedding of single items"}, {}, site);
    *own = std::move(other);
    return result;
  }
  /// Shows embeddings [items, width] of items of the base classes, after training, to a method that asks for them
  /// (SimpleShot centres by their mean); to others it does nothing.
  void see_base(const Tensor<>& features, Site site = Site::current()) { held(site).see_base(features, site); }
  /// Tells a method with a schedule of its own (MAML++) which share of the training is done, 0 to 1.
  void see_progress(double done, Site site = Site::current()) { held(site).see_progress(done); }

  /// For the walk over models (model/fields.hpp).
  void gather(detail::LeafList& list) const {
    list.note(held_ != nullptr);
    if (held_) held_->gather(list);
  }

 private:
  detail::AnyMethod& held(Site site) const {
    if (!held_) fail("FewShotLearner", "used before it was made; make it with make_learner", {}, site);
    return *held_;
  }

  std::shared_ptr<const LearnerSpec> spec_;
  detail::AnyMethod* held_ = nullptr;
};

namespace detail {

template <>
inline constexpr bool is_tree<FewShotLearner> = true;
template <class U>
inline constexpr bool may_hold<FewShotLearner, U> = std::is_same_v<U, float>;
template <>
struct FirstScalar<FewShotLearner> {
  using type = float;
};

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
