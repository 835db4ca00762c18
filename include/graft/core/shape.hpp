#pragma once
// Run-time shapes of rank 0 to 6, stored inline, and the NumPy broadcasting rule.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>

#include "graft/core/config.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes, counts and offsets are 64-bit everywhere.
using Index = std::int64_t;

/// Highest rank of a tensor.
inline constexpr int kMaxRank = 6;

/// Sizes of the axes of a tensor, outermost first (row-major). Rank 0 is a scalar with one element.
class Shape {
 public:
  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<Index> sizes) : Shape(sizes.begin(), static_cast<Index>(sizes.size())) {}
  explicit constexpr Shape(std::span<const Index> sizes) : Shape(sizes.data(), static_cast<Index>(sizes.size())) {}

  constexpr int rank() const { return rank_; }
  /// Size of `axis`; negative axes count from the end.
  constexpr Index operator[](int axis) const { return sizes_[axis < 0 ? axis + rank_ : axis]; }
  constexpr Index& operator[](int axis) { return sizes_[axis < 0 ? axis + rank_ : axis]; }
  constexpr const Index* begin() const { return sizes_; }
  constexpr const Index* end() const { return sizes_ + rank_; }

  /// Number of elements: the product of the sizes.
  constexpr Index count() const {
    Index product = 1;
    for (Index size : *this) product *= size;
    return product;
  }
  constexpr bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int axis = 0; axis < rank_; ++axis)
      if (sizes_[axis] != other.sizes_[axis]) return false;
    return true;
  }
  /// Appends an axis. A rank above `kMaxRank` is reported by the checks of `Tensor`, never written.
  constexpr void push_back(Index size) {
    if (rank_ < kMaxRank) sizes_[rank_] = size;
    ++rank_;
  }
  constexpr Shape without(int axis) const {
    Shape shorter;
    for (int i = 0; i < rank_; ++i)
      if (i != axis) shorter.push_back(sizes_[i]);
    return shorter;
  }
  constexpr Shape with(int axis, Index size) const {
    Shape changed = *this;
    changed[axis] = size;
    return changed;
  }

 private:
  constexpr Shape(const Index* sizes, Index rank) {
    for (Index i = 0; i < rank; ++i) push_back(sizes[i]);
  }
  Index sizes_[kMaxRank] = {};
  int rank_ = 0;
};

namespace detail {

// std::to_string, out of line: messages are put together at many places and none of them is hot.
[[gnu::cold, gnu::noinline]] inline std::string integer_text(long long value) { return std::to_string(value); }
[[gnu::cold, gnu::noinline]] inline std::string real_text(double value) { return std::to_string(value); }

/// A number as an error message shows it.
template <class N>
std::string as_text(N value) {
  if constexpr (std::is_floating_point_v<N>)
    return real_text(static_cast<double>(value));
  else
    return integer_text(static_cast<long long>(value));
}

}  // namespace detail

/// "[2, 3]"; "[]" for a scalar.
[[gnu::cold, gnu::noinline]] inline std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank() && axis < kMaxRank; ++axis) {
    if (axis > 0) text += ", ";
    text += detail::as_text(shape[axis]);
  }
  return text + (shape.rank() > kMaxRank ? ", ...]" : "]");
}

/// NumPy rule: shapes are aligned at their last axes; sizes are equal or one of them is 1 (or absent).
/// Returns false, leaving `result` unspecified, when `a` and `b` do not broadcast.
constexpr bool broadcast_shapes(const Shape& a, const Shape& b, Shape& result) {
  const int rank = a.rank() > b.rank() ? a.rank() : b.rank();
  result = Shape();
  for (int axis = 0; axis < rank; ++axis) {
    const int in_a = axis - (rank - a.rank()), in_b = axis - (rank - b.rank());
    const Index size_a = in_a < 0 ? 1 : a[in_a], size_b = in_b < 0 ? 1 : b[in_b];
    if (size_a != size_b && size_a != 1 && size_b != 1) return false;
    result.push_back(size_a == 1 ? size_b : size_a);
  }
  return true;
}

}  // namespace GRAFT_ABI
}  // namespace graft
