#pragma once
// NumPy's .npy format, versions 1.0 to 3.0 ("numpy.lib.format", NumPy reference; NEP 1): magic, header length, a Python
// dict literal with descr, fortran_order and shape, then the elements. Read and written little-endian and in C order.
// 16-bit floats exist in files only: they are widened when their numbers are asked for. No size that a file states is
// believed before it is compared with the file's real length.

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/tensor.hpp"
#include "graft/io/file.hpp"

namespace graft {
inline namespace GRAFT_ABI {

static_assert(std::endian::native == std::endian::little, "graft reads and writes arrays on little-endian machines");

namespace detail {

/// Calls `visit.operator()<T>()` with the C++ type of a NumPy dtype string; false if graft has none for it.
template <class Visit>
bool visit_dtype(std::string_view dtype, Visit visit) {
  if (dtype == "|b1") return visit.template operator()<bool>(), true;
  if (dtype == "|i1") return visit.template operator()<std::int8_t>(), true;
  if (dtype == "|u1") return visit.template operator()<std::uint8_t>(), true;
  if (dtype == "<i2") return visit.template operator()<std::int16_t>(), true;
  if (dtype == "<u2") return visit.template operator()<std::uint16_t>(), true;
  if (dtype == "<i4") return visit.template operator()<std::int32_t>(), true;
  if (dtype == "<u4") return visit.template operator()<std::uint32_t>(), true;
  if (dtype == "<i8") return visit.template operator()<std::int64_t>(), true;
  if (dtype == "<u8") return visit.template operator()<std::uint64_t>(), true;
  if (dtype == "<f4") return visit.template operator()<float>(), true;
  if (dtype == "<f8") return visit.template operator()<double>(), true;
  return false;
}

/// NumPy's name of the 16-bit floats of IEEE 754, which have no C++ type.
inline constexpr std::string_view kHalf = "<f2";

/// The value of a 16-bit float: 1 sign bit, 5 of the exponent (bias 15), 10 of the fraction.
inline float widened(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16, fraction = half & 0x3FFu,
                      exponent = half >> 10 & 0x1F;
  if (exponent == 0) return (sign ? -0x1p-24f : 0x1p-24f) * static_cast<float>(fraction);
  const std::uint32_t biased = exponent == 31 ? 255 : exponent + 127 - 15;
  return std::bit_cast<float>(sign | biased << 23 | fraction << 13);
}

/// An array that is whole but of a kind that graft has no type for.
struct UnreadKind : FileError {
  using FileError::FileError;
};

/// Bytes of one element, 0 for a dtype that graft does not read.
inline Index dtype_size(std::string_view dtype) {
  Index size = dtype == kHalf ? 2 : 0;
  visit_dtype(dtype, [&]<class T>() { size = sizeof(T); });
  return size;
}

/// Stores `from` in `to` if it keeps its value; a double may be rounded to float, a finite one never to infinity.
template <class To, class From>
bool convert_value(From from, To& to) {
  to = static_cast<To>(from);
  if constexpr (std::is_same_v<To, From>) {
    return true;
  } else if constexpr (std::floating_point<From>) {
    return !std::isfinite(from) || std::isfinite(to);
  } else if constexpr (std::floating_point<To>) {
    constexpr std::uint64_t exact = std::uint64_t{1} << std::numeric_limits<To>::digits;
    const std::uint64_t bits = static_cast<std::uint64_t>(from);
    return (from < From{} ? std::uint64_t{0} - bits : bits) <= exact;
  } else {
    return static_cast<From>(to) == from && (to < To{}) == (from < From{});
  }
}

}  // namespace detail

/// NumPy's name of an element type: dtype_of<float>() is "<f4".
template <class T>
std::string dtype_of() {
  if constexpr (std::is_same_v<T, bool>) return "|b1";
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "NumPy has no such element type");
  const char kind = std::floating_point<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
  return std::string(sizeof(T) == 1 ? "|" : "<") + kind + detail::as_text(sizeof(T));
}

/// An array as a file holds it: row-major elements of a NumPy dtype.
struct Array {
  std::string dtype;  ///< "|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4" or "<f8"
  Shape shape;
  std::vector<std::byte> data;
  std::string origin;  ///< the file, and the name in it, for errors; empty for an array that was never in a file

  /// The elements in place. Error: FileError if the array has another dtype than T's.
  template <class T>
  std::span<const T> as() const {
    if (dtype != dtype_of<T>()) fail({"dtype is '", dtype, "', expected '", dtype_of<T>(), "'"});
    return {reinterpret_cast<const T*>(data.data()), data.size() / sizeof(T)};
  }

  /// The elements converted to T. Integers and booleans must keep their value; a double may be rounded to float.
  /// Errors: FileError for floats asked for as integers, and for a value that T cannot hold.
  template <class T>
  std::vector<T> converted() const {
    std::vector<T> result;
    const auto convert = [&]<class From>(std::span<const From> values, auto widen) {
      if (std::floating_point<decltype(widen(From{}))> && !std::floating_point<T>)
        fail({"dtype is '", dtype, "', which is not converted to '", dtype_of<T>(), "'"});
      result.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        T value;
        if (!detail::convert_value(widen(values[i]), value))
          fail({"element ", i, " is ", widen(values[i]), ", which '", dtype_of<T>(), "' cannot hold"});
        result[i] = value;
      }
    };
    if (dtype == detail::kHalf)
      convert(std::span(reinterpret_cast<const std::uint16_t*>(data.data()), data.size() / 2), detail::widened);
    else if (!detail::visit_dtype(dtype, [&]<class From>() { convert(as<From>(), [](From value) { return value; }); }))
      fail({"dtype '", dtype, "' is not one that graft reads"});
    return result;
  }

  /// Returns the array itself if its shape is `expected`, where a size of -1 allows any. Error: FileError.
  const Array& with_shape(const Shape& expected) const {
    bool equal = shape.rank() == expected.rank();
    for (int axis = 0; equal && axis < shape.rank(); ++axis)
      equal = expected[axis] == -1 || shape[axis] == expected[axis];
    if (!equal) fail({"shape is ", to_string(shape), ", expected ", to_string(expected), " (-1: any size)"});
    return *this;
  }

  /// Throws a FileError about this array.
  [[noreturn, gnu::cold]] void fail(std::initializer_list<Piece> reason) const {
    fail_file(origin.empty() ? "an array in memory" : origin, reason);
  }
};

/// An array of `values` in the given shape. Error: ShapeError if their number is not the shape's.
template <class T>
Array make_array(std::span<const T> values, const Shape& shape) {
  if (shape.rank() > kMaxRank || shape.count() != static_cast<Index>(values.size()))
    fail<ShapeError>("make_array", {values.size(), " values"}, {{"shape", shape}});
  const auto bytes = std::as_bytes(values);
  return {dtype_of<std::remove_const_t<T>>(), shape, {bytes.begin(), bytes.end()}, {}};
}
template <class T>
Array make_array(const std::vector<T>& values, const Shape& shape) {
  return make_array(std::span<const T>(values), shape);
}

/// The array as a tensor of T, its elements converted as by `Array::converted`: 16-bit floats are widened. Errors:
/// FileError for floats asked for as integers and for a value that T cannot hold, ShapeError if there are more or fewer
/// elements than the shape says.
template <Element T>
Tensor<T> to_tensor(const Array& array, Site site = Site::current()) {
  if (array.dtype == dtype_of<T>()) return from_span(array.as<T>(), array.shape, site);
  return from_vector(array.converted<T>(), array.shape, site);
}

namespace detail {

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
    if (dtype_size(dtype) > 0) return dtype;
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
  if (array.dtype == "|b1")
    for (std::byte value : array.data)
      if (value > std::byte{1}) fail_file(origin, "holds a boolean that is neither 0 nor 1");
  return array;
}

/// Everything before the elements: version 1.0, padded with spaces so that the elements start at a multiple of 64.
/// Errors: ValueError for an array whose dtype, shape and data do not fit together.
inline std::string npy_header(const Array& array) {
  const Index size = dtype_size(array.dtype);
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
