#pragma once
// What some layers need besides their input: training or evaluation, random numbers, and a list in which updates of
// running statistics wait. A layer never writes to itself, so one model serves many tasks at once; each task has a
// context of its own, and their updates are merged afterwards in task order.

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/random.hpp"
#include "graft/model/fields.hpp"
#include "graft/ops/map.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a forward pass is for: layers such as dropout and batch norm behave differently in training.
enum class Phase { evaluation, training };

/// An update of a buffer that waits to be applied.
struct StateUpdate {
  AnyTensor target;  ///< what the buffer held when the layer ran; kept alive, so that its address stays its own
  AnyTensor observed;
  double momentum;
};

/// Passed (as ContextRef) through one forward pass (or several, one after the other). Not for several threads at once.
///
///     Context context(Phase::training, random.stream("training").stream(step));
///     auto [loss, gradient] = value_and_grad([&](const Net& net) { return loss_of(net, batch, context); }, net);
///     net = apply_updates(net, context);
class Context {
 public:
  /// Evaluation: dropout is off, running statistics are read.
  Context() = default;
  Context(Phase phase, const Random& random) : phase_(phase), random_(random) {}

  bool training() const { return phase_ == Phase::training; }

  /// The next stream of random numbers for `purpose`: draw number n of a purpose is the same whatever other purposes
  /// draw. A copy of a context repeats its numbers, which is what `recompute` needs.
  Random stream(std::string_view purpose) {
    const Random named = random_.stream(purpose);
    for (auto& [name, draws] : draws_)
      if (name == named) return named.stream(draws++);
    draws_.emplace_back(named, 1);
    return named.stream(std::uint64_t{0});
  }

  /// Leaves the update `buffer <- (1 - momentum) buffer + momentum observed` in the list.
  template <Real T>
  void average(const Buffer<T>& buffer, const Tensor<T>& observed, double momentum) {
    updates_.push_back({buffer.value, observed.detach(), momentum});
  }
  /// Leaves the update `buffer <- buffer + observed` in the list.
  template <Integer T>
  void count(const Buffer<T>& buffer, const Tensor<T>& observed) {
    updates_.push_back({buffer.value, observed, 1});
  }

  /// The list, in the order of the calls.
  std::span<const StateUpdate> updates() const { return updates_; }

 private:
  Phase phase_ = Phase::evaluation;
  Random random_;
  std::vector<std::pair<Random, std::uint64_t>, detail::CacheAllocator<std::pair<Random, std::uint64_t>>> draws_;
  std::vector<StateUpdate, detail::CacheAllocator<StateUpdate>> updates_;
};

/// How layers take a context: a reference to the caller's, or to a temporary that lives as long as the call, as in
/// `layer(x, Context())`.
class ContextRef {
 public:
  ContextRef(Context& context) : context_(&context) {}
  ContextRef(Context&& context) : context_(&context) {}
  operator Context&() const { return *context_; }
  Context* operator->() const { return context_; }

 private:
  Context* context_;
};

/// What a model makes of items: `model(x, context)`, or `model(x)` of one that takes no context.
template <class M, class X>
auto answer_of(const M& model, const X& x, ContextRef context) {
  if constexpr (requires { model(x, context); })
    return model(x, context);
  else
    return model(x);
}

namespace detail {

template <Real T>
Tensor<T> updated(const Tensor<T>& value, const Tensor<T>& observed, double momentum) {
  return map([momentum](auto x, auto y) { return (1 - momentum) * x + momentum * y; }, value, observed);
}
template <Integer T>
Tensor<T> updated(const Tensor<T>& value, const Tensor<T>& observed, double) {
  return value + observed;
}
inline void apply_update(const Leaf& leaf, const StateUpdate& update) {
  with_element_type(leaf, [&]<class T>() {
    if constexpr (Real<T> || Integer<T>)
      leaf.as<T>() = updated(leaf.as<T>(), Tensor<T>(update.observed), update.momentum);
  });
}
/// Applies the updates of all contexts to the buffers of a model.
GRAFT_ONCE
[[gnu::noinline]] void apply_updates(const LeafList& leaves, std::span<const Context> contexts, Site site) {
  const Recording off(false);
  std::vector<const Body*> seen;
  for (const Leaf& leaf : leaves) {
    if (!leaf.buffer) continue;
    const AnyTensor held = *leaf.tensor;
    bool changed = false;
    for (const Context& context : contexts)
      for (const StateUpdate& update : context.updates()) {
        if (update.target.body() != held.body()) continue;
        apply_update(leaf, update);
        changed = true;
      }
    if (!changed) continue;
    for (const Body* other : seen)
      if (other == held.body())
        fail("apply_updates",
             "two buffers of the model share one tensor: construct each layer anew instead of copying one", {}, site);
    seen.push_back(held.body());
  }
}

}  // namespace detail

/// The model with the updates of all contexts, in their order. `model` is the one that the forward passes used (or a
/// copy with stepped parameters): buffers are recognised by the tensor that they held then; updates of others are
/// dropped. Throws ValueError when two buffers of the model hold one tensor (a layer copied after construction instead
/// of constructed anew), since their updates could not be told apart.
template <class M>
[[nodiscard]] M apply_updates(const M& model, std::span<const Context> contexts, Site site = Site::current()) {
  M result = model;
  detail::apply_updates(detail::leaves_of(result), contexts, site);
  return result;
}
/// The model with the updates of one context.
template <class M>
[[nodiscard]] M apply_updates(const M& model, const Context& context, Site site = Site::current()) {
  return apply_updates(model, std::span<const Context>(&context, 1), site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
