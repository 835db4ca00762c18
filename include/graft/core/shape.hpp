#pragma once
// Run-time shapes of rank 0 to 6, stored inline, and the NumPy broadcasting rule.

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

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

/// A list of axes, as in sum(x, {0, -1}); negative ones count from the end.
class Axes {
 public:
  constexpr Axes() = default;
  constexpr Axes(std::initializer_list<int> axes) : Axes(axes.begin(), axes.size()) {}
  Axes(const std::vector<int>& axes) : Axes(axes.data(), axes.size()) {}

  constexpr std::size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr int operator[](std::size_t i) const { return axes_[i]; }
  constexpr const int* begin() const { return axes_; }
  constexpr const int* end() const { return axes_ + (size_ < kStored ? size_ : kStored); }

 private:
  // A list with more axes than a tensor can have names one twice, or one that does not exist, among the first of them.
  static constexpr std::size_t kStored = kMaxRank + 1;
  constexpr Axes(const int* axes, std::size_t size) : size_(size) {
    for (std::size_t i = 0; i < size && i < kStored; ++i) axes_[i] = axes[i];
  }
  int axes_[kStored] = {};
  std::size_t size_ = 0;
};

namespace detail {

// Text is put together at many places and none of them is hot: out of line, and by `append` alone.
[[gnu::cold, gnu::noinline]] inline void append_number(std::string& text, long long number) {
  char digits[24];
  text.append(digits, static_cast<std::size_t>(std::snprintf(digits, sizeof digits, "%lld", number)));
}
[[gnu::cold, gnu::noinline]] inline void append_number(std::string& text, double number) {
  char digits[32];
  text.append(digits, static_cast<std::size_t>(std::snprintf(digits, sizeof digits, "%g", number)));
}
/// "[2, 3]"; "[]" for a scalar.
[[gnu::cold, gnu::noinline]] inline void append_shape(std::string& text, const Shape& shape) {
  text.append("[", 1);
  for (int axis = 0; axis < shape.rank() && axis < kMaxRank; ++axis) {
    if (axis > 0) text.append(", ", 2);
    append_number(text, static_cast<long long>(shape[axis]));
  }
  if (shape.rank() > kMaxRank) text.append(", ...", 5);
  text.append("]", 1);
}

/// A number as text; six digits of a fraction.
template <class N>
std::string as_text(N number) {
  std::string text;
  append_number(text, static_cast<std::conditional_t<std::is_floating_point_v<N>, double, long long>>(number));
  return text;
}

}  // namespace detail

/// "[2, 3]"; "[]" for a scalar.
inline std::string to_string(const Shape& shape) {
  std::string text;
  detail::append_shape(text, shape);
  return text;
}

/// NumPy rule: shapes are aligned at their last axes; sizes are equal or one of them is 1 (or absent).
/// Returns false, leaving `result` unspecified, when `a` and `b` do not broadcast.
[[gnu::noinline]] constexpr bool broadcast_shapes(const Shape& a, const Shape& b, Shape& result) {
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
