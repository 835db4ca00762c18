#pragma once
// Options of windows over maps (kernel, stride, dilation, padding): one number for both axes of a map, or one for each.

#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A number for rows (along the height of a map) and one for columns (along its width): `{2, 1}`, or `2` for both.
struct PerAxis {
  Index rows, columns;
  constexpr PerAxis(Index both) : rows(both), columns(both) {}
  constexpr PerAxis(Index for_rows, Index for_columns) : rows(for_rows), columns(for_columns) {}
  constexpr bool operator==(const PerAxis&) const = default;

  /// The lower and the higher of both numbers.
  constexpr Index least() const { return rows < columns ? rows : columns; }
  constexpr Index most() const { return rows < columns ? columns : rows; }
};

/// Zeros around a map: so many on both sides of an axis, `1` or `{1, 2}`, or as many as `Padding::same` asks for.
class Padding {
 public:
  constexpr Padding(Index both) : widths_(both) {}
  constexpr Padding(Index rows, Index columns) : widths_(rows, columns) {}
  /// As many as give ceil(size / stride) windows along each axis, half of them before the map and an odd one behind it:
  /// with stride 1 the result is as large as the map.
  static const Padding same;

  constexpr bool is_same() const { return same_; }
  /// The zeros on each side; 0 for `same`, where they follow from the sizes.
  constexpr PerAxis widths() const { return widths_; }

 private:
  PerAxis widths_;
  bool same_ = false;
  static constexpr Padding make_same() {
    Padding padding(0);
    padding.same_ = true;
    return padding;
  }
};
/// Windows as many as ceil(size / stride).
inline constexpr Padding Padding::same = Padding::make_same();

namespace detail {

/// How windows lie along one axis: how many fit, and how many zeros there are before the first pixel.
struct WindowsAlong {
  Index count, before;
};
constexpr WindowsAlong windows_along(Index extent, Index kernel, Index stride, Index dilation, Index padding,
                                     bool same) {
  const Index reach = dilation * (kernel - 1) + 1;  // pixels from the first of a window to the last
  if (same) {
    const Index count = (extent + stride - 1) / stride, missing = (count - 1) * stride + reach - extent;
    return {kernel < 1 ? 0 : count, missing > 0 ? missing / 2 : 0};
  }
  const Index room = extent + 2 * padding - reach;
  return {kernel < 1 || room < 0 ? 0 : room / stride + 1, padding};
}

/// "2", or "2 x 1" for rows and columns that differ.
[[gnu::cold, gnu::noinline]] inline std::string as_text(const PerAxis& number) {
  std::string text = as_text(number.rows);
  if (number.rows != number.columns) text.append(" x ").append(as_text(number.columns));
  return text;
}
[[gnu::cold, gnu::noinline]] inline std::string as_text(const Padding& padding) {
  return padding.is_same() ? "same" : as_text(padding.widths());
}

}  // namespace detail

}  // namespace GRAFT_ABI
}  // namespace graft
