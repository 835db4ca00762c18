#pragma once
// A callable of any type; what std::function is for, at a small part of what its header costs to compile.

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

template <class Signature>
class Function;

/// Calls what it was made of, which must be callable as const. Copies share it. Empty until then: false, and a call
/// throws ValueError.
template <class R, class... Args>
class Function<R(Args...)> {
 public:
  Function() = default;
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, Function> && std::is_invocable_r_v<R, const F&, Args...>)
  Function(F callable) : held_(std::make_shared<const Holds<F>>(std::move(callable))) {}

  explicit operator bool() const { return held_ != nullptr; }
  R operator()(Args... args) const {
    if (!held_) fail("Function", "called while empty");
    return held_->call(std::forward<Args>(args)...);
  }

 private:
  struct Held {
    virtual ~Held() = default;
    virtual R call(Args... args) const = 0;
  };
  template <class F>
  struct Holds final : Held {
    F callable;
    explicit Holds(F f) : callable(std::move(f)) {}
    R call(Args... args) const override { return callable(std::forward<Args>(args)...); }
  };
  std::shared_ptr<const Held> held_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
