#pragma once
// Layers one after another, of any types, put together at compile time.

#include <array>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "graft/model/context.hpp"
#include "graft/model/fields.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// "0, 2, 3": the places in `trees` that are true.
template <std::size_t N>
struct PlaceNames {
  char text[N * 6 + 1] = {};
  std::size_t length = 0;

  constexpr explicit PlaceNames(const std::array<bool, N>& trees) {
    for (std::size_t i = 0; i < N; ++i) {
      if (!trees[i]) continue;
      if (length > 0) text[length++] = ',';
      if (i >= 100) text[length++] = static_cast<char>('0' + i / 100);
      if (i >= 10) text[length++] = static_cast<char>('0' + i / 10 % 10);
      text[length++] = static_cast<char>('0' + i % 10);
    }
  }
  constexpr std::string_view view() const { return {text, length}; }
};

template <class... Layers>
inline constexpr PlaceNames<sizeof...(Layers)> kPlaceNames{std::array<bool, sizeof...(Layers)>{is_tree<Layers>...}};

template <class F, class Arguments>
inline constexpr bool applies = false;
template <class F, class... Args>
inline constexpr bool applies<F, std::tuple<Args...>> = std::is_invocable_v<const F&, Args...>;

/// f of the first list of arguments that it takes.
template <class F, class First, class... Rest>
auto apply_first(const F& f, const First& first, const Rest&... rest) {
  if constexpr (applies<F, First>)
    return std::apply(f, first);
  else {
    static_assert(sizeof...(Rest) > 0,
                  "a part of Sequential takes none of (x), (x, context) and what was passed "
                  "besides; one that needs a context wants the call net(x, context)");
    return apply_first(f, rest...);
  }
}

/// A tuple of the tensor or model itself, or of nothing for a plain function.
template <class Layer>
auto field_of(Layer& layer) {
  if constexpr (is_tree<std::remove_const_t<Layer>>)
    return std::tie(layer);
  else
    return std::tuple<>();
}

}  // namespace detail

/// The composition of layers and functions: f_n(... f_1(x)). A part is called with all that the caller passed, as
/// (x, mask, context) or (graph, x, context), if it takes that, else with (x, context), else with (x). Parameters are
/// named by place, "0.weight", as in torch.nn.Sequential; functions (lambdas, `Relu`) have none.
///
///     const Sequential net(Linear<>(2, 8, random.stream(0)), Relu(), Linear<>(8, 1, random.stream(1)));
///     net(x);           // or net(x, context), which parts like Dropout need
template <class... Layers>
struct Sequential {
  static_assert(sizeof...(Layers) > 0 && sizeof...(Layers) < 1000);
  std::tuple<Layers...> layers;

  Sequential() = default;
  explicit Sequential(Layers... parts) : layers(std::move(parts)...) {}

  auto graft_fields() {
    return std::apply([](auto&... layer) { return std::tuple_cat(detail::field_of(layer)...); }, layers);
  }
  auto graft_fields() const {
    return std::apply([](const auto&... layer) { return std::tuple_cat(detail::field_of(layer)...); }, layers);
  }
  static constexpr std::string_view graft_field_names() { return detail::kPlaceNames<Layers...>.view(); }

  template <class X>
  auto operator()(const X& x, Site site = Site::current()) const {
    return run(std::tuple<>(), x, std::tuple<>(), std::tuple<>(), site);
  }
  template <class X>
  auto operator()(const X& x, ContextRef context, Site site = Site::current()) const {
    return run(std::tuple<>(), x, std::tuple<>(), std::tuple(context), site);
  }
  /// With something that parts may want besides: (x, mask, context) if the first is a tensor, else (graph, x, context).
  template <class A, class B>
  auto operator()(const A& a, const B& b, ContextRef context, Site site = Site::current()) const {
    if constexpr (detail::is_tensor<A>)
      return run(std::tuple<>(), a, std::tie(b), std::tuple(context), site);
    else
      return run(std::tie(a), b, std::tuple<>(), std::tuple(context), site);
  }

 private:
  template <class X, class Before, class After, class Contexts>
  auto run(const Before& before, const X& x, const After& after, const Contexts& context, Site site) const {
    const Named here("Sequential", site);
    return from<0>(before, x, after, context, site);
  }
  template <std::size_t I, class X, class Before, class After, class Contexts>
  auto from(const Before& before, const X& x, const After& after, const Contexts& context, Site site) const {
    if constexpr (I == sizeof...(Layers)) {
      return x;
    } else {
      const std::string place = detail::as_text(I);
      auto y = [&] {
        const Named here(place.c_str(), site);
        const auto& layer = std::get<I>(layers);
        // With all that the caller gave, with the context alone, or with nothing but x; each with the call's site if
        // the part takes it.
        const std::tuple<const X&> input(x);
        const std::tuple<Site> at(site);
        return detail::apply_first(layer, std::tuple_cat(before, input, after, context, at),
                                   std::tuple_cat(before, input, after, context), std::tuple_cat(input, context, at),
                                   std::tuple_cat(input, context), std::tuple_cat(input, at), input);
      }();
      return from<I + 1>(before, y, after, context, site);
    }
  }
};

/// `relu` as a part of `Sequential`.
struct Relu {
  template <Real T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return relu(x);
  }
};
/// `gelu` as a part of `Sequential`.
struct Gelu {
  template <Real T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return gelu(x);
  }
};
/// `tanh` as a part of `Sequential`.
struct Tanh {
  template <Real T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return tanh(x);
  }
};
/// [batch, ...] -> [batch, all the rest].
struct Flatten {
  template <class T>
  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    if (x.rank() < 1) fail<ShapeError>("Flatten", "x needs a batch axis", {{"x", x.shape()}}, site);
    return reshape(x, {x.shape()[0], x.shape().without(0).count()}, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
