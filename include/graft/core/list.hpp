#pragma once
// A list subscripted by Index, for algorithms over tasks, classes or items that read like their paper.

#include <initializer_list>
#include <span>
#include <vector>

#include "graft/core/memory.hpp"
#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A std::vector whose sizes and subscripts are Index, and whose memory comes from the library's caches.
template <class T>
class List : public std::vector<T, detail::CacheAllocator<T>> {
  using Base = std::vector<T, detail::CacheAllocator<T>>;

 public:
  List() = default;
  explicit List(Index count, const T& value = T()) : Base(static_cast<std::size_t>(count), value) {}
  List(std::initializer_list<T> values) : Base(values) {}
  explicit List(std::span<const T> values) : Base(values.begin(), values.end()) {}

  Index size() const { return static_cast<Index>(Base::size()); }
  T& operator[](Index i) { return Base::operator[](static_cast<std::size_t>(i)); }
  const T& operator[](Index i) const { return Base::operator[](static_cast<std::size_t>(i)); }
};

}  // namespace GRAFT_ABI
}  // namespace graft
