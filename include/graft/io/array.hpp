#pragma once
// Arrays as files hold them: what the formats npy, npz and safetensors have in common. Floats of 8 and 16 bits exist in
// files only: they are widened when their numbers are asked for.

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
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

/// The value of a float of 1 sign bit, E bits of the exponent and F of the fraction. With infinities the highest
/// exponent is theirs and NaN's as in IEEE 754; without, it holds numbers, and only all bits set are NaN.
template <int E, int F, bool Infinities>
constexpr float widened(std::uint32_t bits) {
  constexpr std::uint32_t bias = (1u << (E - 1)) - 1, top = (1u << E) - 1, all = (1u << F) - 1;
  const std::uint32_t sign = bits >> (E + F) << 31, exponent = bits >> F & top, fraction = bits & all;
  if (exponent == top && (Infinities || fraction == all))
    return std::bit_cast<float>(sign | 0x7F800000u | fraction << (23 - F));
  if (exponent == 0 && E < 8) {  // a denormal number here, none as a float
    const float size = static_cast<float>(fraction) * std::bit_cast<float>((128 - bias - F) << 23);
    return sign ? -size : size;
  }
  return std::bit_cast<float>(sign | (exponent + 127 - bias) << 23 | fraction << (23 - F));
}

/// A float that has no C++ type.
struct NarrowFloat {
  std::string_view dtype;
  Index size;  // bytes
  float (*widen)(std::uint32_t bits);
};
/// IEEE 754's of 16 bits under NumPy's name; the others under those of ml_dtypes, which safetensors files of Python hold
/// (Micikevicius et al., "FP8 formats for deep learning", 2022).
inline constexpr NarrowFloat kNarrowFloats[] = {{"<f2", 2, widened<5, 10, true>},
                                                {"bfloat16", 2, widened<8, 7, true>},
                                                {"float8_e4m3fn", 1, widened<4, 3, false>},
                                                {"float8_e5m2", 1, widened<5, 2, true>}};

/// nullptr for any other dtype.
inline const NarrowFloat* narrow_float(std::string_view dtype) {
  for (const NarrowFloat& one : kNarrowFloats)
    if (one.dtype == dtype) return &one;
  return nullptr;
}

/// An array that is whole but of a kind that graft has no type for.
struct UnreadKind : FileError {
  using FileError::FileError;
};

/// Bytes of one element, 0 for a dtype that graft does not read.
inline Index dtype_size(std::string_view dtype) {
  Index size = 0;
  if (const NarrowFloat* narrow = narrow_float(dtype)) size = narrow->size;
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

/// An array as a file holds it: row-major elements of a NumPy dtype, or of a float of 8 or 16 bits that NumPy has not.
struct Array {
  /// "|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "bfloat16", "float8_e4m3fn" or
  /// "float8_e5m2"
  std::string dtype;
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
    if (const detail::NarrowFloat* narrow = detail::narrow_float(dtype); narrow && narrow->size == 2)
      convert(std::span(reinterpret_cast<const std::uint16_t*>(data.data()), data.size() / 2), narrow->widen);
    else if (narrow)
      convert(std::span(reinterpret_cast<const std::uint8_t*>(data.data()), data.size()), narrow->widen);
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

/// The array as a tensor of T, its elements converted as by `Array::converted`: floats of 8 and 16 bits are widened. Errors:
/// FileError for floats asked for as integers and for a value that T cannot hold, ShapeError if there are more or fewer
/// elements than the shape says.
template <Element T>
Tensor<T> to_tensor(const Array& array, Site site = Site::current()) {
  if (array.dtype == dtype_of<T>()) return from_span(array.as<T>(), array.shape, site);
  return from_vector(array.converted<T>(), array.shape, site);
}

namespace detail {

/// Every other byte in a bool is undefined behaviour.
inline void check_booleans(const Array& array) {
  if (array.dtype != "|b1") return;
  for (std::byte value : array.data)
    if (value > std::byte{1}) array.fail({"holds a boolean that is neither 0 nor 1"});
}

}  // namespace detail

/// The arrays of one file by name.
struct ArrayFile {
  std::string path;
  std::map<std::string, Array> arrays;
  std::map<std::string, std::string> unread;  ///< the others, and why each was not read: "is big-endian ..."

  bool contains(const std::string& name) const { return arrays.count(name) > 0 || unread.count(name) > 0; }
  /// The array of that name. Error: FileError that says why it was not read, or names the arrays that there are.
  const Array& at(const std::string& name) const {
    const auto found = arrays.find(name);
    if (found != arrays.end()) return found->second;
    if (const auto other = unread.find(name); other != unread.end())
      fail_file(path, {"array ", detail::in_quotes(name), " ", other->second});
    const std::string all = detail::joined(names(), detail::in_quotes);
    fail_file(path, {"has no array ", detail::in_quotes(name), "; it has ", (all.empty() ? "none" : all)});
  }
  /// The names of all arrays, read or not.
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : arrays) all.push_back(entry.first);
    for (const auto& entry : unread) all.push_back(entry.first);
    return all;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
