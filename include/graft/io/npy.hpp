#pragma once
// NumPy's .npy format, versions 1.0 to 3.0 ("numpy.lib.format", NumPy reference; NEP 1): magic, header length, a Python
// dict literal with descr, fortran_order and shape, then the elements. Read and written little-endian and in C order.
// No size that a file states is believed before it is compared with the file's real length.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "graft/io/array.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Bytes of one element, 0 for a dtype that is not NumPy's or that graft does not read.
inline Index npy_size(std::string_view dtype) {
  return dtype.substr(0, 1) == "<" || dtype.substr(0, 1) == "|" ? dtype_size(dtype) : 0;
}

/// Reads the dict literal of an .npy header: descr and shape, in any order, with the white space NumPy allows.
class NpyHeaderParser {
 public:
  NpyHeaderParser(std::string_view text, const std::string& origin) : text_(text), origin_(origin) {}

  void parse(std::string& dtype, Shape& shape) {
    bool has_dtype = false, has_order = false, has_shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = string();
      expect(':');
      bool& seen = key == "descr" ? has_dtype : key == "fortran_order" ? has_order : has_shape;
      if (seen || (&seen == &has_shape && key != "shape")) malformed();
      seen = true;
      if (key == "descr") {
        dtype = descr();
      } else if (key == "fortran_order") {
        if (word("True")) fail_file<UnreadKind>(origin_, "is in Fortran order; save np.ascontiguousarray(x) instead");
        if (!word("False")) malformed();
      } else {
        shape = sizes();
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip();
    if (at_ != text_.size() || !has_dtype || !has_order || !has_shape) malformed();
  }

 private:
  [[noreturn]] void malformed() const { fail_file(origin_, "has a malformed npy header"); }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) malformed();
  }
  bool word(std::string_view expected) {
    skip();
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }
  std::string string() {
    const char quote = take('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) malformed();
    const std::string value(text_.substr(at_, end - at_));
    at_ = end + 1;
    return value;
  }
  std::string descr() {
    if (take('[')) fail_file<UnreadKind>(origin_, "has a structured dtype; save each field as an array of its own");
    std::string dtype = string();
    if (dtype.size() == 3 && dtype[2] == '1' && (dtype[0] == '<' || dtype[0] == '>' || dtype[0] == '=')) dtype[0] = '|';
    if (npy_size(dtype) > 0) return dtype;
    if (dtype.substr(0, 1) == ">")
      fail_file<UnreadKind>(origin_, {"is big-endian (dtype ", in_quotes(dtype), "); save it little-endian"});
    if (dtype.find('O') != std::string::npos) fail_file<UnreadKind>(origin_, "holds Python objects, not numbers");
    fail_file<UnreadKind>(origin_, {"dtype ", in_quotes(dtype), " is not one that graft reads"});
  }
  Index number() {
    skip();
    const std::size_t start = at_;
    Index value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, Index{10}, &value) || __builtin_add_overflow(value, text_[at_] - '0', &value))
        fail_file(origin_, "has a size beyond 64 bits in its shape");
    if (at_ == start) malformed();
    return value;
  }
  Shape sizes() {
    Shape shape;
    expect('(');
    bool comma = false;
    while (!take(')')) {
      if (shape.rank() > 0 && !comma) malformed();
      if (shape.rank() == kMaxRank)
        fail_file<UnreadKind>(origin_, {"has more than ", kMaxRank, " axes, graft's highest rank"});
      shape.push_back(number());
      comma = take(',');
    }
    if (shape.rank() == 1 && !comma) malformed();  // "(3)" is a number in Python, "(3,)" a shape
    return shape;
  }

  std::string_view text_;
  const std::string& origin_;
  std::size_t at_ = 0;
};

/// Reads the .npy array that fills bytes [offset, offset + length) of `file`; `seen(bytes)` is shown all of them in
/// order. `origin` names the array in errors.
template <class Seen>
Array read_npy_at(const InputFile& file, Index offset, Index length, const std::string& origin, Seen seen) {
  Array array;
  array.origin = origin;
  const auto take = [&](void* out, Index count) {
    if (count > length) fail_file(origin, "is truncated");
    file.read(offset, out, count);
    seen(std::span(static_cast<const std::byte*>(out), static_cast<std::size_t>(count)));
    offset += count;
    length -= count;
  };
  unsigned char start[8] = {};
  const Index present = std::min<Index>(length, 8);
  take(start, present);
  if (present == 0) fail_file(origin, "is empty");
  if (std::memcmp(start, "\x93NUMPY", static_cast<std::size_t>(std::min<Index>(present, 6))) != 0)
    fail_file(origin, "is not an npy array (wrong magic bytes)");
  if (present < 8) fail_file(origin, "is truncated");
  if (start[6] < 1 || start[6] > 3 || start[7] != 0)
    fail_file(origin, {"has npy version ", start[6], ".", start[7], ", graft reads 1.0 to 3.0"});
  unsigned char size[4] = {};
  take(size, start[6] == 1 ? 2 : 4);
  const Index header_length = size[0] | size[1] << 8 | size[2] << 16 | Index{size[3]} << 24;
  if (header_length > length) fail_file(origin, "is truncated");
  std::string header(static_cast<std::size_t>(header_length), '\0');
  take(header.data(), header_length);
  NpyHeaderParser(header, origin).parse(array.dtype, array.shape);

  // Sizes of zero are left out of the product, so that no later product of the other axes can overflow either.
  Index elements = 1, bytes = 0;
  bool empty = false, overflow = false;
  for (Index axis : array.shape) {
    empty = empty || axis == 0;
    overflow = overflow || (axis > 0 && __builtin_mul_overflow(elements, axis, &elements));
  }
  overflow = overflow || __builtin_mul_overflow(elements, dtype_size(array.dtype), &bytes);
  if (overflow) fail_file(origin, {"has a shape ", to_string(array.shape), " beyond 64 bits"});
  if (empty) bytes = 0;
  if (bytes > length)
    fail_file(origin, {"is truncated: ", array.dtype, " ", to_string(array.shape), " needs ", bytes, " bytes, ", length,
                       " follow the header"});
  if (bytes < length) fail_file(origin, {"has ", length - bytes, " bytes after its last element"});
  array.data.resize(static_cast<std::size_t>(bytes));
  take(array.data.data(), bytes);
  check_booleans(array);
  return array;
}

/// Everything before the elements: version 1.0, padded with spaces so that the elements start at a multiple of 64.
/// Errors: ValueError for an array whose dtype, shape and data do not fit together.
inline std::string npy_header(const Array& array) {
  const Index size = npy_size(array.dtype);
  if (size == 0) fail("write_npy", {"dtype '", array.dtype, "' is not one that graft writes"});
  if (array.shape.rank() > kMaxRank || array.shape.count() * size != static_cast<Index>(array.data.size()))
    fail("write_npy", {array.data.size(), " bytes of ", array.dtype}, {{"array", array.shape}});
  std::string header = "{'descr': '" + array.dtype + "', 'fortran_order': False, 'shape': (";
  for (int axis = 0; axis < array.shape.rank(); ++axis)
    header += detail::as_text(array.shape[axis]) + (array.shape.rank() == 1 ? "," : "") +
              (axis + 1 < array.shape.rank() ? ", " : "");
  header += "), }";
  header.append(63 - (10 + header.size()) % 64, ' ').push_back('\n');
  const auto low = static_cast<char>(header.size() & 0xFF), high = static_cast<char>(header.size() >> 8);
  return std::string("\x93NUMPY\x01", 7) + '\0' + low + high + header;
}

}  // namespace detail

/// The array in an .npy file. Errors: FileError for a missing, truncated or malformed file, Fortran order, or a dtype
/// that graft has no type for.
inline Array read_npy(const std::string& path) {
  const InputFile file(path);
  return detail::read_npy_at(file, 0, file.size(), path, [](std::span<const std::byte>) {});
}

/// Writes an .npy file. Errors: FileError if the file cannot be written (an older one stays as it was), ValueError for
/// an array whose dtype, shape and data do not fit together.
inline void write_npy(const std::string& path, const Array& array) {
  const std::string header = detail::npy_header(array);
  OutputFile file(path);
  file.write(header);
  file.write(array.data.data(), static_cast<Index>(array.data.size()));
  file.commit();
}

}  // namespace GRAFT_ABI
}  // namespace graft
