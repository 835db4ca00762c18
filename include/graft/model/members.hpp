#pragma once
// The two macros that name the members of a model, and the check that no member is forgotten: what both macros name
// must cover the struct but for padding too small to hold a tensor.

#include <array>
#include <cstddef>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "graft/core/config.hpp"

/// Names the members of a struct that are tensors, buffers, models, or vectors or optionals of these, in saving order:
/// `GRAFT_FIELDS(hidden, head)`. All other members (sizes, rates, modes) are configuration, which travels with copies
/// only, and stand in `GRAFT_CONFIG(heads, rate)`. A member that neither names is an error when the model is first
/// used.
#define GRAFT_FIELDS(...)                                                     \
  auto graft_fields() { return std::tie(__VA_ARGS__); }                       \
  auto graft_fields() const { return std::tie(__VA_ARGS__); }                 \
  static constexpr std::string_view graft_field_names() { return #__VA_ARGS__; } \
  GRAFT_MEMBERS(graft_field_spans, __VA_ARGS__)

/// Names the members that are configuration; see GRAFT_FIELDS.
#define GRAFT_CONFIG(...) GRAFT_MEMBERS(graft_config_spans, __VA_ARGS__)

// A function whose type tells where the members lie; it is never run. Not static: only so does a local class, which may
// have no templates, know its own type.
#define GRAFT_MEMBERS(function, ...)                                                                   \
  auto function() const {                                                                              \
    _Pragma("GCC diagnostic push")                                                                     \
    _Pragma("GCC diagnostic ignored \"-Winvalid-offsetof\"")                                           \
    using GraftSelf [[maybe_unused]] = std::remove_cvref_t<decltype(*this)>;                           \
    return ::graft::detail::MemberSpans<__VA_OPT__(GRAFT_EACH(GRAFT_MEMBER_SPAN, __VA_ARGS__)) nullptr>(); \
    _Pragma("GCC diagnostic pop")                                                                      \
  }
#define GRAFT_MEMBER_SPAN(member)                                                              \
  ::graft::detail::MemberSpan{__builtin_offsetof(GraftSelf, member), sizeof(GraftSelf::member), \
                              alignof(decltype(GraftSelf::member))},

// GRAFT_EACH(m, a, b, c) is m(a) m(b) m(c), for up to 256 arguments.
#define GRAFT_EACH(macro, ...) GRAFT_EXPAND(GRAFT_EACH_STEP(macro, __VA_ARGS__))
#define GRAFT_EACH_STEP(macro, first, ...) macro(first) __VA_OPT__(GRAFT_EACH_AGAIN GRAFT_PARENS(macro, __VA_ARGS__))
#define GRAFT_EACH_AGAIN() GRAFT_EACH_STEP
#define GRAFT_PARENS ()
#define GRAFT_EXPAND(...) GRAFT_EXPAND4(GRAFT_EXPAND4(GRAFT_EXPAND4(GRAFT_EXPAND4(__VA_ARGS__))))
#define GRAFT_EXPAND4(...) GRAFT_EXPAND3(GRAFT_EXPAND3(GRAFT_EXPAND3(GRAFT_EXPAND3(__VA_ARGS__))))
#define GRAFT_EXPAND3(...) GRAFT_EXPAND2(GRAFT_EXPAND2(GRAFT_EXPAND2(GRAFT_EXPAND2(__VA_ARGS__))))
#define GRAFT_EXPAND2(...) GRAFT_EXPAND1(GRAFT_EXPAND1(GRAFT_EXPAND1(GRAFT_EXPAND1(__VA_ARGS__))))
#define GRAFT_EXPAND1(...) __VA_ARGS__

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Where a member lies in its struct, in bytes.
struct MemberSpan {
  std::size_t offset = 0, size = 0, alignment = 1;
};

/// A list of spans as a type; it ends with nullptr.
template <auto... spans>
struct MemberSpans {};
template <auto... fields, auto... config>
constexpr auto all_spans(MemberSpans<fields...>, MemberSpans<config...>) {
  const auto span = [](auto member) {
    if constexpr (std::is_same_v<decltype(member), std::nullptr_t>) return MemberSpan{};
    else return member;
  };
  return std::array{span(fields)..., span(config)...};
}

/// True when the members leave no room for a tensor in a struct of `size` bytes.
template <std::size_t N>
constexpr bool cover(std::array<MemberSpan, N> members, std::size_t first, std::size_t size) {
  for (std::size_t i = 1; i < N; ++i)
    for (std::size_t j = i; j > 0 && members[j].offset < members[j - 1].offset; --j) {
      const MemberSpan swapped = members[j];
      members[j] = members[j - 1];
      members[j - 1] = swapped;
    }
  std::size_t end = first;
  const auto leaves_room = [&](std::size_t next, std::size_t alignment) {
    return next >= end + sizeof(void*) && next - end >= alignment;
  };
  for (const MemberSpan& member : members) {
    if (member.size == 0) continue;  // ends a list
    if (leaves_room(member.offset, member.alignment)) return false;
    if (member.offset + member.size > end) end = member.offset + member.size;
  }
  return !leaves_room(size, 1);
}

/// False when a member of M that could be a tensor or a model is named by neither macro. A struct that lists its leaves
/// by hand is not checked.
template <class M>
constexpr bool members_are_named() {
  if constexpr (!requires(const M& m) { m.graft_field_spans(); } || std::is_empty_v<M>) {
    return true;
  } else {
    using Fields = decltype(std::declval<const M&>().graft_field_spans());
    constexpr std::size_t first = std::is_polymorphic_v<M> ? sizeof(void*) : 0;
    if constexpr (requires(const M& m) { m.graft_config_spans(); })
      return cover(all_spans(Fields(), decltype(std::declval<const M&>().graft_config_spans())()), first, sizeof(M));
    else
      return cover(all_spans(Fields(), MemberSpans<>()), first, sizeof(M));
  }
}
template <class M>
inline constexpr bool all_members_named = members_are_named<M>();

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
