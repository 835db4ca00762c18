#pragma once
// map: any lambda as a fused, differentiable elementwise op.

#include "graft/core/refuse.hpp"
#include "graft/ops/arithmetic.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// `map`, called at `site`. What is wrong with a lambda is said here, in one line, before kernels are made of it.
template <class F, class T, class... Ts>
Tensor<T> map_at(Site site, F f, const Tensor<T>& first, const Tensor<Ts>&... rest) {
  constexpr bool alike = (std::is_same_v<T, Ts> && ...), real = Real<T> || !alike;
  static_assert(alike, "map: tensors of different element types: convert one, as in cast<float>(y)");
  static_assert(real, "map: takes tensors of float or double: convert, as in cast<float>(x)");
  constexpr bool numbers = std::is_trivially_copyable_v<F>;
  static_assert(numbers, "map: a lambda captures numbers, not tensors: pass those to map as further inputs");
  if constexpr (alike && real && numbers) {
    using Known = KnownSlopes<1 + sizeof...(Ts)>;
    using Value = decltype(f(Known(first.rank()), Known(rest.rank())...));
    constexpr bool std_free =
        !std::is_same_v<Value, long double> && !std::is_same_v<Value, UnfitExpression<Unfit::calls_std>>;
    static_assert(std_free, "map: inside, write graft's functions, exp(x) instead of std::exp(x)");
    constexpr bool tensor_free = !std::is_same_v<Value, UnfitExpression<Unfit::holds_tensor>>;
    static_assert(tensor_free, "map: a lambda captures numbers, not tensors: pass those to map as further inputs");
    constexpr bool number = !std::is_same_v<Value, KnownMask>;
    static_assert(number, "map: a lambda gives numbers: write where(x > 0, x, 0), or compare outside of map");
    if constexpr (std_free && tensor_free && number) return fused_map("map", site, f, first, rest...);
  }
  return first;
}

}  // namespace detail

/// out[i] = f(inputs[i]...) elementwise, up to seven inputs broadcast by the NumPy rule; fused, differentiable to any
/// order. `f` is generic in its number type and written with graft's elementwise functions and `where` instead of
/// branches. It may capture numbers, by value, and never tensors: pass those as inputs.
///
///     auto swish = map([](auto x) { return x / (1 + exp(-x)); }, input);
template <class F, class A>
Tensor<A> map(F f, const Tensor<A>& a, Site site = Site::current()) {
  return detail::map_at(site, f, a);
}
template <class F, class A, class B>
Tensor<A> map(F f, const Tensor<A>& a, const Tensor<B>& b, Site site = Site::current()) {
  return detail::map_at(site, f, a, b);
}
template <class F, class A, class B, class C>
Tensor<A> map(F f, const Tensor<A>& a, const Tensor<B>& b, const Tensor<C>& c, Site site = Site::current()) {
  return detail::map_at(site, f, a, b, c);
}
template <class F, class A, class B, class C, class D>
Tensor<A> map(F f, const Tensor<A>& a, const Tensor<B>& b, const Tensor<C>& c, const Tensor<D>& d,
              Site site = Site::current()) {
  return detail::map_at(site, f, a, b, c, d);
}
template <class F, class A, class B, class C, class D, class E>
Tensor<A> map(F f, const Tensor<A>& a, const Tensor<B>& b, const Tensor<C>& c, const Tensor<D>& d, const Tensor<E>& e,
              Site site = Site::current()) {
  return detail::map_at(site, f, a, b, c, d, e);
}
template <class F, class A, class B, class C, class D, class E, class G>
Tensor<A> map(F f, const Tensor<A>& a, const Tensor<B>& b, const Tensor<C>& c, const Tensor<D>& d, const Tensor<E>& e,
              const Tensor<G>& g, Site site = Site::current()) {
  return detail::map_at(site, f, a, b, c, d, e, g);
}
template <class F, class A, class B, class C, class D, class E, class G, class H>
Tensor<A> map(F f, const Tensor<A>& a, const Tensor<B>& b, const Tensor<C>& c, const Tensor<D>& d, const Tensor<E>& e,
              const Tensor<G>& g, const Tensor<H>& h, Site site = Site::current()) {
  return detail::map_at(site, f, a, b, c, d, e, g, h);
}

}  // namespace GRAFT_ABI
}  // namespace graft
