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

/// A tuple of the tensor or model itself, or of nothing for a plain function.
template <class Layer>
auto field_of(Layer& layer) {
  if constexpr (is_tree<std::remove_const_t<Layer>>)
    return std::tie(layer);
  else
    return std::tuple<>();
}

}  // namespace detail

/// The composition of layers and functions: f_n(... f_1(x)). A part is called with (x, context) if it takes that, else
/// with (x). Parameters are named by place, "0.weight", as in torch.nn.Sequential; functions (lambdas, `Relu`) have
/// none.
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

  template <class T>
  auto operator()(const Tensor<T>& x, Context& context, Site site = Site::current()) const {
    const Named here("Sequential", site);
    return from<0>(x, &context, site);
  }
  template <class T>
  auto operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("Sequential", site);
    return from<0>(x, nullptr, site);
  }

 private:
  template <std::size_t I, class X, class C>
  auto from(const X& x, C context, Site site) const {
    if constexpr (I == sizeof...(Layers)) {
      return x;
    } else {
      const std::string place = detail::as_text(I);
      auto y = [&] {
        const Named here(place.c_str(), site);
        return call(std::get<I>(layers), x, context, site);
      }();
      return from<I + 1>(y, context, site);
    }
  }
  template <class Layer, class X, class C>
  static auto call(const Layer& layer, const X& x, [[maybe_unused]] C context, [[maybe_unused]] Site site) {
    constexpr bool has_context = !std::is_same_v<C, std::nullptr_t>;
    if constexpr (has_context && std::is_invocable_v<const Layer&, const X&, Context&, Site>)
      return layer(x, *context, site);
    else if constexpr (has_context && std::is_invocable_v<const Layer&, const X&, Context&>)
      return layer(x, *context);
    else if constexpr (std::is_invocable_v<const Layer&, const X&, Site>)
      return layer(x, site);
    else {
      static_assert(std::is_invocable_v<const Layer&, const X&>,
                    "a part of Sequential needs a context: call it with (x, context)");
      return layer(x);
    }
  }
};

/// Activations as parts of `Sequential`.
struct Relu {
  template <Real T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return relu(x);
  }
};
struct Gelu {
  template <Real T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return gelu(x);
  }
};
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
