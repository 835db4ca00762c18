#pragma once
// A model whose type is chosen at run time: a program that picks a backbone by name compiles its methods once, not once
// a backbone.

#include <type_traits>
#include <utility>

#include "graft/model/fields.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Any model whose parameters are of type T and that is called as the signature says: `R(Args...) const`, or
/// `R(Args...)` for one that may change itself, such as an aggregator that remembers. A value like every model: a copy
/// has parameters of its own, arithmetic and gradients work, names are those of the model inside. Two of them combine
/// when they hold models of one type.
///
///     using Backbone = AnyModel<Tensor<>(const Tensor<>& images, ContextRef context) const>;
///     Backbone net = name == "conv4" ? Backbone(Conv4<>(random)) : Backbone(PatchTransformer<>(random));
template <class Signature, Real T = float>
class AnyModel;

namespace detail {

/// AnyModel but for the constness of its call.
template <class T, bool changes, class R, class... Args>
class ErasedModel {
 public:
  ErasedModel() = default;
  template <class M>
    requires(!std::is_base_of_v<ErasedModel, std::remove_cvref_t<M>>)
  ErasedModel(M model) : held_(new Holds<M>(std::move(model))) {
    using Other = std::conditional_t<std::is_same_v<T, float>, double, float>;
    static_assert(!may_hold<M, Other>, "AnyModel<Signature, T> holds models whose parameters are all of type T");
  }
  ErasedModel(const ErasedModel& other) : held_(other.held_ ? other.held_->copy() : nullptr) {}
  ErasedModel(ErasedModel&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  ErasedModel& operator=(ErasedModel other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  ~ErasedModel() { delete held_; }

  /// For the walk over models (model/fields.hpp).
  void gather(LeafList& list) const {
    list.note(held_ != nullptr);
    if (held_) held_->gather(list);
  }

 protected:
  R call(Args... args, Site site) const {
    if (!held_) fail("AnyModel", "called before it was given a model", {}, site);
    return held_->call(std::forward<Args>(args)..., site);
  }

 private:
  struct Held {
    virtual ~Held() = default;
    virtual Held* copy() const = 0;
    virtual R call(Args... args, Site site) = 0;
    virtual void gather(LeafList& list) const = 0;
    static void* operator new(std::size_t bytes) { return allocate_block(bytes); }
    static void operator delete(void* from, std::size_t bytes) { free_block(from, bytes); }
  };
  template <class M>
  struct Holds final : Held {
    M model;
    static constexpr char kType = 0;  // its address tells models of different types apart

    explicit Holds(M m) : model(std::move(m)) {}
    Held* copy() const override { return new Holds(model); }
    R call(Args... args, Site site) override {
      std::conditional_t<changes, M, const M>& callee = model;
      if constexpr (requires { callee(std::forward<Args>(args)..., site); })
        return callee(std::forward<Args>(args)..., site);
      else
        return callee(std::forward<Args>(args)...);
    }
    void gather(LeafList& list) const override {
      list.note(reinterpret_cast<std::size_t>(&kType));
      gather_leaves(list, model);
    }
  };

  Held* held_ = nullptr;
};

}  // namespace detail

template <class R, class... Args, Real T>
class AnyModel<R(Args...) const, T> : public detail::ErasedModel<T, false, R, Args...> {
 public:
  using detail::ErasedModel<T, false, R, Args...>::ErasedModel;
  /// Throws ValueError when no model was put in. A model whose call takes a Site last is told that of this call.
  R operator()(Args... args, Site site = Site::current()) const { return this->call(std::forward<Args>(args)..., site); }
};
template <class R, class... Args, Real T>
class AnyModel<R(Args...), T> : public detail::ErasedModel<T, true, R, Args...> {
 public:
  using detail::ErasedModel<T, true, R, Args...>::ErasedModel;
  /// Throws ValueError when no model was put in. A model whose call takes a Site last is told that of this call.
  R operator()(Args... args, Site site = Site::current()) { return this->call(std::forward<Args>(args)..., site); }
};

namespace detail {

template <class Signature, class T>
inline constexpr bool is_tree<AnyModel<Signature, T>> = true;
template <class Signature, class T, class U>
inline constexpr bool may_hold<AnyModel<Signature, T>, U> = std::is_same_v<T, U>;
template <class Signature, class T>
struct FirstScalar<AnyModel<Signature, T>> {
  using type = T;
};

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
