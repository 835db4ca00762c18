#pragma once
// Trees of tensors: what a model is made of. A struct becomes a branch by naming its fields once with GRAFT_FIELDS;
// tensors are leaves; vectors, optionals, arrays, pairs and tuples of trees are trees. All walks visit leaves in the
// same order, with the same names.

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A tensor that belongs to a model but is no parameter (running statistics, fixed tables): saved and loaded with it,
/// never differentiated, never stepped, not part of the model's vector space.
template <class T = float>
struct Buffer {
  Tensor<T> value;
};

}  // namespace GRAFT_ABI
}  // namespace graft

/// Names the fields of a struct that are tensors, buffers, models, or vectors or optionals of these, in saving order:
/// `GRAFT_FIELDS(hidden, head)`. Other fields (sizes, rates, modes) are configuration and travel with copies only.
#define GRAFT_FIELDS(...)                                                         \
  auto graft_fields() { return std::tie(__VA_ARGS__); }                           \
  auto graft_fields() const { return std::tie(__VA_ARGS__); }                     \
  static constexpr std::string_view graft_field_names() { return #__VA_ARGS__; }

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

template <class M>
concept HasFields = requires(const M& m) {
  m.graft_fields();
  { M::graft_field_names() };
};
template <class M>
inline constexpr bool is_tensor = false;
template <class T>
inline constexpr bool is_tensor<Tensor<T>> = true;
template <class M>
inline constexpr bool is_buffer = false;
template <class T>
inline constexpr bool is_buffer<Buffer<T>> = true;
template <class M>
inline constexpr bool is_sequence = false;
template <class M, class A>
inline constexpr bool is_sequence<std::vector<M, A>> = true;
template <class M, std::size_t N>
inline constexpr bool is_sequence<std::array<M, N>> = true;
template <class M>
inline constexpr bool is_optional = false;
template <class M>
inline constexpr bool is_optional<std::optional<M>> = true;
template <class M>
inline constexpr bool is_tuple = false;
template <class... Ms>
inline constexpr bool is_tuple<std::tuple<Ms...>> = true;
template <class A, class B>
inline constexpr bool is_tuple<std::pair<A, B>> = true;

/// Cuts the next name off "hidden, head".
constexpr std::string_view next_name(std::string_view& names) {
  const auto comma = names.find(',');
  std::string_view name = names.substr(0, comma);
  names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 1);
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
  return name;
}

inline std::string join(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "." + std::string(name);
}

/// A call that is never inlined: a walk over a model with a hundred leaves compiles the visit once a leaf type.
template <class Visit, class... Leaves>
[[gnu::noinline]] void visit_leaf(Visit& visit, Leaves&... leaves) {
  visit(leaves...);
}

/// Calls `visit(leaf)` with `leaf` a Tensor<U>& or Buffer<U>&, or several leaves at the same place of trees of equal
/// structure. `First` decides the structure.
template <class Visit, class First, class... Rest>
void walk(Visit& visit, First& first, Rest&... rest) {
  using M = std::remove_const_t<First>;
  if constexpr (is_tensor<M> || is_buffer<M>) {
    visit_leaf(visit, first, rest...);
  } else if constexpr (HasFields<M>) {
    auto fields = first.graft_fields();
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (void)fields;
      [[maybe_unused]] const auto at = [&]<std::size_t J>(std::integral_constant<std::size_t, J>) {
        walk(visit, std::get<J>(fields), std::get<J>(rest.graft_fields())...);
      };
      (at(std::integral_constant<std::size_t, I>()), ...);
    }(std::make_index_sequence<std::tuple_size_v<decltype(fields)>>());
  } else if constexpr (is_sequence<M>) {
    if (((rest.size() != first.size()) || ...)) fail<ShapeError>("model", "lists of models of unequal length");
    for (std::size_t i = 0; i < first.size(); ++i) walk(visit, first[i], rest[i]...);
  } else if constexpr (is_optional<M>) {
    if (((rest.has_value() != first.has_value()) || ...))
      fail<ShapeError>("model", "a part is present in one model only");
    if (first.has_value()) walk(visit, *first, (*rest)...);
  } else if constexpr (is_tuple<M>) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      [[maybe_unused]] const auto at = [&]<std::size_t J>(std::integral_constant<std::size_t, J>) {
        walk(visit, std::get<J>(first), std::get<J>(rest)...);
      };
      (at(std::integral_constant<std::size_t, I>()), ...);
    }(std::make_index_sequence<std::tuple_size_v<M>>());
  } else {
    static_assert(is_tensor<M>,
                  "a tree of tensors needs GRAFT_FIELDS, or is a tensor, vector, optional or tuple of trees");
  }
}

/// Calls `visit(path, leaf)` with the dotted path of every leaf: "encoder.layers.0.weight".
template <class Visit, class M>
void walk_named(Visit& visit, M& model, const std::string& path) {
  using Plain = std::remove_const_t<M>;
  if constexpr (is_tensor<Plain> || is_buffer<Plain>) {
    visit_leaf(visit, path, model);
  } else if constexpr (HasFields<Plain>) {
    std::string_view names = Plain::graft_field_names();
    std::apply([&](auto&... fields) { (walk_named(visit, fields, join(path, next_name(names))), ...); },
               model.graft_fields());
  } else if constexpr (is_sequence<Plain>) {
    for (std::size_t i = 0; i < model.size(); ++i) walk_named(visit, model[i], join(path, detail::as_text(i)));
  } else if constexpr (is_optional<Plain>) {
    if (model.has_value()) walk_named(visit, *model, path);
  } else if constexpr (is_tuple<Plain>) {
    std::size_t i = 0;
    std::apply([&](auto&... parts) { (walk_named(visit, parts, join(path, detail::as_text(i++))), ...); }, model);
  }
}

}  // namespace detail

/// A tree of tensors: a tensor, a struct with GRAFT_FIELDS, or vectors, optionals, pairs and tuples of these.
template <class M>
concept Model = detail::is_tensor<M> || detail::HasFields<M> || detail::is_sequence<M> || detail::is_optional<M> ||
                detail::is_tuple<M>;

namespace detail {

/// True for tensors, structs with GRAFT_FIELDS, and containers of nothing but these.
template <class M>
inline constexpr bool is_tree = is_tensor<M> || HasFields<M>;
template <class M, class A>
inline constexpr bool is_tree<std::vector<M, A>> = is_tree<M>;
template <class M, std::size_t N>
inline constexpr bool is_tree<std::array<M, N>> = is_tree<M>;
template <class M>
inline constexpr bool is_tree<std::optional<M>> = is_tree<M>;
template <class M, class... Ms>
inline constexpr bool is_tree<std::tuple<M, Ms...>> = is_tree<M> && (is_tree<Ms> && ...);
template <class A, class B>
inline constexpr bool is_tree<std::pair<A, B>> = is_tree<A>&& is_tree<B>;

/// Element type of the first parameter in field order; void where there is none.
template <class M>
struct FirstScalar {
  using type = void;
};
template <class M>
using FirstScalarOf = typename FirstScalar<std::remove_cvref_t<M>>::type;
template <Real T>
struct FirstScalar<Tensor<T>> {
  using type = T;
};
template <class M>
  requires(is_sequence<M> || is_optional<M>)
struct FirstScalar<M> : FirstScalar<typename M::value_type> {};
template <class M, class... Ms>
struct FirstScalar<std::tuple<M, Ms...>>
    : std::conditional_t<std::is_void_v<FirstScalarOf<M>>, FirstScalar<std::tuple<Ms...>>,
                         FirstScalar<std::remove_cvref_t<M>>> {};
template <class A, class B>
struct FirstScalar<std::pair<A, B>> : FirstScalar<std::tuple<A, B>> {};
template <HasFields M>
struct FirstScalar<M> : FirstScalar<decltype(std::declval<const M&>().graft_fields())> {};

}  // namespace detail

/// A model that is not itself a tensor: what the operators of this file are for.
template <class M>
concept ModelTree = detail::is_tree<M> && !detail::is_tensor<M>;

/// Element type of `dot`, `norm` and `to_vector` of a model: that of its first parameter, float if it has none.
template <Model M>
using ModelScalar = std::conditional_t<std::is_void_v<detail::FirstScalarOf<M>>, float, detail::FirstScalarOf<M>>;

/// Calls `visit(parameter)` for every tensor of floats or doubles that is not a buffer, in field order. With several
/// models of the same structure, calls `visit(a, b, ...)` with the tensors at the same place.
template <class Visit, class M, class... Ms>
void for_each_parameter(Visit visit, M& model, Ms&... others) {
  auto only_parameters = [&](auto& first, auto&... rest) {
    using Leaf = std::remove_cvref_t<decltype(first)>;
    if constexpr (detail::is_tensor<Leaf>) {
      if constexpr (Real<typename Leaf::Scalar>) visit(first, rest...);
    }
  };
  detail::walk(only_parameters, model, others...);
}

/// Calls `visit(path, parameter)` with dotted names: "encoder.layers.0.weight".
template <class Visit, class M>
void for_each_named_parameter(Visit visit, M& model) {
  auto only_parameters = [&](const std::string& path, auto& leaf) {
    using Leaf = std::remove_cvref_t<decltype(leaf)>;
    if constexpr (detail::is_tensor<Leaf>) {
      if constexpr (Real<typename Leaf::Scalar>) visit(path, leaf);
    }
  };
  detail::walk_named(only_parameters, model, std::string());
}

}  // namespace GRAFT_ABI
}  // namespace graft
