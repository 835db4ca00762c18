#pragma once
// Trees of tensors: what a model is made of. A struct becomes a branch by naming its members once, with GRAFT_FIELDS
// and GRAFT_CONFIG; tensors are leaves; vectors, optionals, arrays, pairs and tuples of trees are trees. One walk a
// type lists the leaves, always in the same order, with the same names; all else works on the list.

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "graft/core/tensor.hpp"
#include "graft/model/members.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A tensor that belongs to a model but is no parameter (running statistics, fixed tables): saved and loaded with it,
/// never differentiated, never stepped, not part of the model's vector space.
template <class T = float>
struct Buffer {
  Tensor<T> value;
};

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

/// Element types as numbers, for lists of tensors of different types.
enum class ElementType : std::uint8_t { float32, float64, int32, int64, boolean, uint8, uint16 };
template <Element T>
inline constexpr ElementType element_type = std::is_same_v<T, float>          ? ElementType::float32
                                            : std::is_same_v<T, double>       ? ElementType::float64
                                            : std::is_same_v<T, std::int32_t> ? ElementType::int32
                                            : std::is_same_v<T, std::int64_t> ? ElementType::int64
                                            : std::is_same_v<T, bool>         ? ElementType::boolean
                                            : std::is_same_v<T, std::uint8_t> ? ElementType::uint8
                                                                              : ElementType::uint16;

/// One tensor of a model: where the model holds it, of which type, and whether in a Buffer.
struct Leaf {
  AnyTensor* tensor;
  ElementType type;
  bool buffer;

  bool is_parameter() const { return !buffer && type <= ElementType::float64; }
  template <class T>
  bool holds() const {
    return type == element_type<T>;
  }
  template <class T>
  Tensor<T>& as() const {
    return *static_cast<Tensor<T>*>(tensor);
  }
};

/// Calls f.template operator()<T>() for the element type of a leaf.
template <class F>
void with_element_type(const Leaf& leaf, F f) {
  const auto call_if = [&]<class T>(std::type_identity<T>) {
    if (leaf.holds<T>()) f.template operator()<T>();
  };
  call_if(std::type_identity<float>());
  call_if(std::type_identity<double>());
  call_if(std::type_identity<std::int32_t>());
  call_if(std::type_identity<std::int64_t>());
  call_if(std::type_identity<bool>());
  call_if(std::type_identity<std::uint8_t>());
  call_if(std::type_identity<std::uint16_t>());
}

/// The leaves of a model in field order. Pointers into the model: it must stay where it is, and keep its structure, as
/// long as the list is used. A list of a const model is for reading.
class LeafList {
 public:
  using Gather = void (*)(LeafList& list, const void* model);
  enum class Which : bool { all, parameters };

  LeafList(const void* model, Gather gather, Which which) : model_(model), gather_(gather), which_(which) {
    gather(*this, model);
  }

  std::size_t size() const { return leaves_.size(); }
  const Leaf& operator[](std::size_t i) const { return leaves_[i]; }
  auto begin() const { return leaves_.begin(); }
  auto end() const { return leaves_.end(); }

  /// Dotted names of the leaves, "encoder.layers.0.weight"; "" for a model that is a tensor.
  GRAFT_ONCE
  [[gnu::noinline]] std::vector<std::string> names() const {
    LeafList again(which_);
    again.named_ = true;
    gather_(again, model_);
    return std::move(again.names_);
  }
  /// The name of one leaf for messages.
  GRAFT_ONCE
  [[gnu::cold, gnu::noinline]] std::string name(std::size_t i) const {
    const std::string name = names()[i];
    return name.empty() ? "the argument" : name;
  }

  // For `gather_leaves`.
  [[gnu::noinline]] void add(const AnyTensor& tensor, ElementType type, bool buffer) {
    const Leaf leaf{const_cast<AnyTensor*>(&tensor), type, buffer};
    if (which_ == Which::parameters && !leaf.is_parameter()) return;
    leaves_.push_back(leaf);
    if (named_) names_.push_back(path_);
  }
  /// Goes down to the next of `names`, or to place `i` of a list; returns what `leave` needs to come back.
  GRAFT_ONCE
  [[gnu::noinline]] std::size_t enter(std::string_view& names) {
    return named_ ? append(next_name(names)) : 0;
  }
  GRAFT_ONCE
  [[gnu::noinline]] std::size_t enter(std::size_t i) { return named_ ? append(as_text(i)) : 0; }
  void leave(std::size_t length) {
    if (named_) path_.resize(length);
  }
  /// Notes the length of a list, or whether a part is there: models of one type differ in nothing else.
  [[gnu::noinline]] void note(std::size_t length) { structure_.push_back(static_cast<Index>(length)); }

  /// Throws ShapeError unless `other` has as many leaves in each list of models, and the same parts.
  GRAFT_ONCE
  [[gnu::noinline]] void check_same_structure(const LeafList& other) const {
    if (structure_ == other.structure_ && size() == other.size()) return;
    fail<ShapeError>("model", "the models differ in structure: lists of unequal length, or a part that one has only");
  }

 private:
  explicit LeafList(Which which) : which_(which) {}
  std::size_t append(std::string_view name) {
    const std::size_t before = path_.size();
    if (before > 0) path_ += '.';
    path_ += name;
    return before;
  }

  const void* model_ = nullptr;
  Gather gather_ = nullptr;
  Which which_;
  bool named_ = false;
  std::vector<Leaf, CacheAllocator<Leaf>> leaves_;
  std::vector<Index, CacheAllocator<Index>> structure_;
  std::vector<std::string> names_;
  std::string path_;
};

/// A model that hides its type and walks itself.
template <class M>
concept GathersItself = requires(const M& m, LeafList& list) { m.gather(list); };

// Texts in macros of their own, and said by whoever is asked first: so a compiler's message stays short.
#define GRAFT_MEMBER_IN_NO_MACRO "a member stands neither in GRAFT_FIELDS (tensors and models) nor in GRAFT_CONFIG"
#define GRAFT_NO_MODEL "no model: name its tensors and models with GRAFT_FIELDS(a, b), all else with GRAFT_CONFIG"

/// Adds the leaves of `model` to the list: the one walk over a model's type. `checked`: its members are.
template <class M, bool checked = false>
void gather_leaves(LeafList& list, const M& model) {
  if constexpr (is_tensor<M>) {
    list.add(model, element_type<typename M::Scalar>, false);
  } else if constexpr (is_buffer<M>) {
    list.add(model.value, element_type<typename decltype(model.value)::Scalar>, true);
  } else if constexpr (GathersItself<M>) {
    model.gather(list);
  } else if constexpr (HasFields<M>) {
    static_assert(checked || all_members_named<M>, GRAFT_MEMBER_IN_NO_MACRO);
    std::string_view names = M::graft_field_names();
    std::apply(
        [&](const auto&... field) {
          [[maybe_unused]] const auto visit = [&](const auto& one) {
            const std::size_t back = list.enter(names);
            gather_leaves(list, one);
            list.leave(back);
          };
          (visit(field), ...);
        },
        model.graft_fields());
  } else if constexpr (is_sequence<M>) {
    list.note(model.size());
    for (std::size_t i = 0; i < model.size(); ++i) {
      const std::size_t back = list.enter(i);
      gather_leaves(list, model[i]);
      list.leave(back);
    }
  } else if constexpr (is_optional<M>) {
    list.note(model.has_value());
    if (model.has_value()) gather_leaves(list, *model);
  } else if constexpr (is_tuple<M>) {
    std::size_t i = 0;
    std::apply(
        [&](const auto&... part) {
          [[maybe_unused]] const auto visit = [&](const auto& one) {
            const std::size_t back = list.enter(i++);
            gather_leaves(list, one);
            list.leave(back);
          };
          (visit(part), ...);
        },
        model);
  } else {
    static_assert(is_tensor<M>, GRAFT_NO_MODEL);
  }
}

}  // namespace detail

/// A tree of tensors: a tensor, a struct with GRAFT_FIELDS, or vectors, optionals, pairs and tuples of these.
template <class M>
concept Model = detail::is_tensor<M> || detail::HasFields<M> || detail::is_sequence<M> || detail::is_optional<M> ||
                detail::is_tuple<M> || detail::GathersItself<M>;

namespace detail {

template <class M>
inline constexpr bool is_model = Model<M>;

template <class M>
void gather_erased(LeafList& list, const void* model) {
  if constexpr (is_model<M>) gather_leaves<M, true>(list, *static_cast<const M*>(model));
}
/// All leaves of a model, buffers and index tensors among them.
template <class M>
LeafList leaves_of(const M& model) {
  static_assert(is_model<M>, GRAFT_NO_MODEL);
  static_assert(all_members_named<M>, GRAFT_MEMBER_IN_NO_MACRO);
  return LeafList(&model, gather_erased<M>, LeafList::Which::all);
}
/// The leaves that are parameters: tensors of floats or doubles outside buffers.
template <class M>
LeafList parameters_of(const M& model) {
  static_assert(is_model<M>, GRAFT_NO_MODEL);
  static_assert(all_members_named<M>, GRAFT_MEMBER_IN_NO_MACRO);
  return LeafList(&model, gather_erased<M>, LeafList::Which::parameters);
}
#undef GRAFT_MEMBER_IN_NO_MACRO
#undef GRAFT_NO_MODEL

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

/// Whether a model may have parameters of element type T.
template <class M, class T>
inline constexpr bool may_hold = false;
template <Real U, class T>
inline constexpr bool may_hold<Tensor<U>, T> = std::is_same_v<U, T>;
template <class M, class T>
  requires(is_sequence<M> || is_optional<M>)
inline constexpr bool may_hold<M, T> = may_hold<typename M::value_type, T>;
template <class... Ms, class T>
inline constexpr bool may_hold<std::tuple<Ms...>, T> = (may_hold<std::remove_cvref_t<Ms>, T> || ...);
template <class A, class B, class T>
inline constexpr bool may_hold<std::pair<A, B>, T> = may_hold<A, T> || may_hold<B, T>;
template <HasFields M, class T>
inline constexpr bool may_hold<M, T> = may_hold<decltype(std::declval<const M&>().graft_fields()), T>;

/// Calls f.template operator()<T>() for each element type T that parameters of M may have.
template <class M, class F>
void for_each_scalar(F f) {
  if constexpr (may_hold<M, float>) f.template operator()<float>();
  if constexpr (may_hold<M, double>) f.template operator()<double>();
}

}  // namespace detail

/// A model that is not itself a tensor: what the operators of this file are for.
template <class M>
concept ModelTree = detail::is_tree<M> && !detail::is_tensor<M>;

/// Element type of `dot`, `norm` and `to_vector` of a model: that of its first parameter, float if it has none.
template <Model M>
using ModelScalar = std::conditional_t<std::is_void_v<detail::FirstScalarOf<M>>, float, detail::FirstScalarOf<M>>;

/// Calls `visit(parameter)` for every tensor of floats or doubles that is not a buffer, in field order. With several
/// models of the same structure, calls `visit(a, b, ...)` with the tensors at the same place. Throws ShapeError when
/// lists have unequal lengths, a part is present in one model only, or tensors at the same place differ in type.
template <class Visit, class M, class... Ms>
void for_each_parameter(Visit visit, M& model, Ms&... others) {
  using detail::LeafList;
  const LeafList lists[]{detail::parameters_of(model), detail::parameters_of(others)...};
  for (std::size_t n = 0; n < sizeof...(Ms); ++n) lists[0].check_same_structure(lists[n + 1]);
  const auto call = [&]<class T, std::size_t... n>(std::size_t i, std::type_identity<T>, std::index_sequence<n...>) {
    if ((!lists[n + 1][i].template holds<T>() || ...))
      fail<ShapeError>("model", {lists[0].name(i), " has another element type in another model"});
    using Own = std::conditional_t<std::is_const_v<M>, const Tensor<T>, Tensor<T>>;
    Own& own = lists[0][i].template as<T>();
    visit(own, static_cast<std::conditional_t<std::is_const_v<Ms>, const Tensor<T>, Tensor<T>>&>(
                   lists[n + 1][i].template as<T>())...);
  };
  for (std::size_t i = 0; i < lists[0].size(); ++i)
    detail::for_each_scalar<std::remove_const_t<M>>([&]<class T>() {
      if (lists[0][i].template holds<T>()) call(i, std::type_identity<T>(), std::make_index_sequence<sizeof...(Ms)>());
    });
}

/// Calls `visit(path, parameter)` with dotted names: "encoder.layers.0.weight".
template <class Visit, class M>
void for_each_named_parameter(Visit visit, M& model) {
  const std::vector<std::string> names = detail::parameters_of(model).names();
  std::size_t i = 0;
  for_each_parameter([&](auto& parameter) { visit(names[i++], parameter); }, model);
}

}  // namespace GRAFT_ABI
}  // namespace graft
