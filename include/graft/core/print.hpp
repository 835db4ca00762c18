#pragma once
// Tensors as text: small ones in full, large ones by their corners and a summary. Works with any stream without
// including one.

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

template <class T>
constexpr const char* type_name() {
  if constexpr (std::is_same_v<T, float>)
    return "float";
  else if constexpr (std::is_same_v<T, double>)
    return "double";
  else if constexpr (std::is_same_v<T, bool>)
    return "bool";
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return "int32";
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return "int64";
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return "uint8";
  else
    return "uint16";
}

template <class T>
std::string number_text(T value) {
  if constexpr (std::is_same_v<T, bool>)
    return value ? "true" : "false";
  else
    return detail::as_text(value);
}

/// Tensors with more elements are shown by the first and last `kEdge` entries of every axis.
inline constexpr Index kFullPrint = 1000, kEdge = 3;

/// Calls `visit(i)` for the entries of an axis that are shown, and `skip()` where some are left out.
template <class Visit, class Skip>
void shown_entries(Index size, bool full, Visit visit, Skip skip) {
  for (Index i = 0; i < size; ++i) {
    if (!full && size > 2 * kEdge && i == kEdge) {
      skip();
      i = size - kEdge;
    }
    visit(i);
  }
}

template <class T>
std::size_t widest_number(const Tensor<T>& x, int axis, Index offset, bool full) {
  if (axis == x.rank()) return number_text(x.data()[offset]).size();
  std::size_t width = 0;
  shown_entries(
      x.shape()[axis], full,
      [&](Index i) {
        const std::size_t one = widest_number(x, axis + 1, offset * x.shape()[axis] + i, full);
        if (one > width) width = one;
      },
      [] {});
  return width;
}

template <class T>
void append_numbers(std::string& text, const Tensor<T>& x, int axis, Index offset, bool full, std::size_t width) {
  if (axis == x.rank()) {
    const std::string number = number_text(x.data()[offset]);
    text.append(width - number.size(), ' ');
    text += number;
    return;
  }
  // Inner axes but the last begin on a line of their own.
  const bool last = axis == x.rank() - 1;
  const auto separate = [&](bool first) {
    if (first) return;
    text += last ? ", "
                 : "," + std::string(static_cast<std::size_t>(x.rank() - 1 - axis), '\n') +
                       std::string(static_cast<std::size_t>(axis + 1), ' ');
  };
  text += '[';
  bool first = true;
  shown_entries(
      x.shape()[axis], full,
      [&](Index i) {
        separate(first);
        first = false;
        append_numbers(text, x, axis + 1, offset * x.shape()[axis] + i, full, width);
      },
      [&] {
        separate(false);
        text += "...";
      });
  text += ']';
}

/// ", min 0 mean 0.5 max 1", and how many NaN there are; they are left out of the other three.
template <class T>
std::string summary_text(const Tensor<T>& x) {
  double low = 0, high = 0, total = 0;
  Index numbers = 0;
  for (T value : x.span()) {
    const double v = static_cast<double>(value);
    if (v != v) continue;
    if (numbers == 0 || v < low) low = v;
    if (numbers == 0 || v > high) high = v;
    total += v;
    ++numbers;
  }
  std::string text;
  if (numbers > 0)
    text = ", min " + number_text(low) + " mean " + number_text(total / static_cast<double>(numbers)) + " max " +
           number_text(high);
  if (numbers < x.count()) text += ", " + detail::as_text(x.count() - numbers) + " NaN";
  return text;
}

}  // namespace detail

/// The element type, the shape and the numbers (six digits). Above 1000 elements: minimum, mean and maximum, and the
/// first and last three entries of every axis.
///
///     float [2, 2]
///     [[1, 2],
///      [3, 4]]
template <class T>
std::string to_string(const Tensor<T>& x) {
  if (!x.defined()) return std::string(detail::type_name<T>()) + " tensor without a value";
  std::string text = std::string(detail::type_name<T>()) + " " + to_string(x.shape());
  const bool full = x.count() <= detail::kFullPrint;
  if (!full) text += detail::summary_text(x);
  if (x.count() == 0) return text;
  text += x.rank() == 0 ? " " : "\n";
  detail::append_numbers(text, x, 0, 0, full, detail::widest_number(x, 0, 0, full));
  return text;
}

/// `stream << tensor`, for any stream that takes strings.
template <class Stream, class T>
requires requires(Stream& stream, const std::string& text) { stream << text; }
Stream& operator<<(Stream& stream, const Tensor<T>& x) {
  stream << to_string(x);
  return stream;
}

}  // namespace GRAFT_ABI
}  // namespace graft
