// .safetensors files: byte-exact fixtures written from the published format (github.com/huggingface/safetensors), the
// floats that exist in files only, and damage of every kind, which must end in a FileError of one line.

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/io/safetensors.hpp"
#include "npy_fixtures.hpp"

using namespace graft;

namespace {

/// A file of this header and these elements; the stated length of the header can be another one.
std::string file_of(const std::string& header, const std::string& elements, std::uint64_t length = ~0ull) {
  if (length == ~0ull) length = header.size();
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xFF);
  return bytes + header + elements;
}
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, int begin, int end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

}  // namespace

TEST_CASE("a safetensors file is read to the last bit", "[io]") {
  const Folder folder;
  const std::string path = folder / "a.safetensors";
  // 1.5f is 0x3FC00000; 7 and -2 as 16-bit integers; the header is padded with spaces.
  put(path, file_of("{" + entry("w", "F32", "[2,1]", 0, 8) + "," + entry("n", "I16", "[2]", 8, 12) + "," +
                        entry("none", "F64", "[0,3]", 12, 12) + "," + entry("one", "U8", "[]", 12, 13) +
                        ",\"__metadata__\":{\"format\":\"pt\"}}   ",
                    std::string("\0\0\xC0\x3F\0\0\0\x80\x07\0\xFE\xFF\x09", 13)));
  const ArrayFile file = read_safetensors(path);
  CHECK(file.names() == std::vector<std::string>{"n", "none", "one", "w"});
  CHECK(file.at("w").shape == Shape{2, 1});
  CHECK(file.at("w").as<float>()[0] == 1.5f);
  CHECK(std::signbit(file.at("w").as<float>()[1]));
  CHECK(file.at("n").converted<int>() == std::vector<int>{7, -2});
  CHECK(file.at("none").shape == Shape{0, 3});
  CHECK(file.at("one").shape == Shape{});
  CHECK(file.at("one").converted<int>() == std::vector<int>{9});
  CHECK(read_safetensors_metadata(path) == std::map<std::string, std::string>{{"format", "pt"}});
  const ArrayFile some = read_safetensors(path, {"n"});
  CHECK(some.arrays.size() == 1);
  CHECK_THROWS_WITH(some.at("w"), contains("'w' was not asked for"));
}

TEST_CASE("floats of 8 and 16 bits are widened to their values", "[io]") {
  const auto value = [](const std::string& dtype, unsigned bits) {
    return detail::narrow_float(dtype)->widen(bits);
  };
  // The examples of the published formats: IEEE 754 for 16 bits, bfloat16 as the upper half of a float, Micikevicius et
  // al. 2022, table 1, for 8 bits.
  CHECK(value("<f2", 0x3C00) == 1.0f);
  CHECK(value("<f2", 0x0001) == 0x1p-24f);
  CHECK(value("bfloat16", 0x3F80) == 1.0f);
  CHECK(value("bfloat16", 0xC049) == -3.140625f);
  CHECK(value("bfloat16", 0x0001) == 0x1p-133f);
  CHECK(std::isinf(value("bfloat16", 0x7F80)));
  CHECK(value("float8_e4m3fn", 0x7E) == 448.0f);
  CHECK(std::isnan(value("float8_e4m3fn", 0x7F)));
  CHECK(std::isnan(value("float8_e4m3fn", 0xFF)));
  CHECK(value("float8_e4m3fn", 0x08) == 0x1p-6f);
  CHECK(value("float8_e4m3fn", 0x01) == 0x1p-9f);
  CHECK(value("float8_e5m2", 0x7B) == 57344.0f);
  CHECK(std::isinf(value("float8_e5m2", 0x7C)));
  CHECK(std::isnan(value("float8_e5m2", 0x7E)));
  CHECK(value("float8_e5m2", 0x04) == 0x1p-14f);
  CHECK(value("float8_e5m2", 0x81) == -0x1p-16f);
  // Between 0 and the largest number every code is above the one before it, and the sign turns it round.
  for (const auto& [dtype, codes] : {std::pair("<f2", 0x7C00), std::pair("bfloat16", 0x7F80),
                                     std::pair("float8_e4m3fn", 0x7F), std::pair("float8_e5m2", 0x7C)}) {
    const unsigned sign = detail::narrow_float(dtype)->size == 2 ? 0x8000 : 0x80;
    int wrong = 0;
    for (unsigned code = 0; code + 1 < static_cast<unsigned>(codes); ++code) {
      wrong += !(value(dtype, code) < value(dtype, code + 1));
      wrong += value(dtype, code | sign) != -value(dtype, code);
    }
    CHECK(wrong == 0);
  }
  const Folder folder;
  put(folder / "narrow", file_of("{" + entry("b", "BF16", "[2]", 0, 4) + "," + entry("e", "F8_E4M3", "[2]", 4, 6) + "}",
                                 "\x80\x3F\x49\xC0\x7E\x08"));
  const ArrayFile file = read_safetensors(folder / "narrow");
  CHECK(to_tensor<double>(file.at("b")).at({1}) == -3.140625);
  CHECK(to_tensor<float>(file.at("e")).at({0}) == 448.0f);
  CHECK_THROWS_AS(file.at("b").converted<int>(), FileError);
}

TEST_CASE("what is written to a safetensors file is read again", "[io]") {
  const Folder folder;
  const std::string path = folder / "again.safetensors";
  const std::map<std::string, Array> arrays{{"b", make_array(std::vector<std::uint8_t>{1, 2, 3}, {3})},
                                            {"a", make_array(std::vector<float>{1, -2}, {1, 2})},
                                            {"\"q\\\n\u00e9", make_array(std::vector<double>{0.1}, {})}};
  write_safetensors(path, arrays, {{"k", "v"}});
  const ArrayFile file = read_safetensors(path);
  CHECK(file.arrays.size() == 3);
  for (const auto& [name, array] : arrays) CHECK(same(file.at(name), array));
  CHECK(read_safetensors_metadata(path).at("k") == "v");
  // Equal contents, equal bytes; the header is padded so that every element is aligned.
  write_safetensors(folder / "twice", arrays, {{"k", "v"}});
  const std::string bytes = bytes_of(path);
  CHECK(bytes == bytes_of(folder / "twice"));
  CHECK(static_cast<unsigned char>(bytes[0]) % 8 == 0);
  write_safetensors(path, {});
  CHECK(read_safetensors(path).arrays.empty());
  CHECK_THROWS_AS(write_safetensors(path, {{"__metadata__", arrays.at("b")}}), ValueError);
  CHECK_THROWS_AS(write_safetensors(path, {{"\xff", arrays.at("b")}}), ValueError);
  CHECK_THROWS_AS(write_safetensors(path, {{"x", {"<f4", {3}, {}, {}}}}), ValueError);
  CHECK_THROWS_AS(write_safetensors(path, {{"x", {"<c8", {0}, {}, {}}}}), ValueError);
  CHECK(read_safetensors(path).arrays.empty());  // as it was
}

TEST_CASE("a damaged safetensors file is refused in one line", "[io]") {
  const Folder folder;
  const std::string path = folder / "bad.safetensors";
  const auto message = [&](const std::string& bytes) {
    put(path, bytes);
    const std::string text = file_error([&] { read_safetensors(path); });
    CHECK(teaches(text, path));
    return text;
  };
  const std::string four(4, '\0'), eight(8, '\0');
  CHECK_THAT(message(""), contains("shorter than 8 bytes"));
  CHECK_THAT(message(file_of("{}", "", 3)), contains("states a header of 3 bytes, 2 follow"));
  CHECK_THAT(message(file_of("{}", "", ~0ull - 1)), contains("18446744073709551614"));
  CHECK_THAT(message(file_of("[]", "")), contains("does not begin with '{'"));
  CHECK_THAT(message(file_of("", "")), contains("does not begin with '{'"));
  CHECK_THAT(message(file_of("{", "")), contains("malformed safetensors header"));
  CHECK_THAT(message(file_of("{} x", "")), contains("malformed safetensors header"));
  CHECK_THAT(message(file_of("{\"a\":1}", "")), contains("malformed"));
  CHECK_THAT(message(file_of("{\"a\":{}}", "")), contains("array 'a' has a malformed header"));
  CHECK_THAT(message(file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", four)),
             contains("array 'a'"));
  CHECK_THAT(message(file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", four)),
             contains("array 'a'"));
  CHECK_THAT(message(file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", four)),
             contains("array 'a'"));
  CHECK_THAT(message(file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[[1]],\"data_offsets\":[0,4]}}", four)),
             contains("array 'a'"));
  CHECK_THAT(message(file_of("{\"__metadata__\":{\"a\":1}}", "")), contains("malformed"));
  CHECK_THAT(message(file_of("{" + entry("a", "F32", "[1]", 0, 4) + "," + entry("a", "F32", "[1]", 4, 8) + "}", eight)),
             contains("two arrays 'a'"));
  // Overlap, a gap, beyond the end, backwards, not all of the file.
  CHECK_THAT(message(file_of("{" + entry("a", "F32", "[2]", 0, 8) + "," + entry("b", "F32", "[1]", 4, 8) + "}", eight)),
             contains("array 'b' has offsets 4 to 8"));
  CHECK_THAT(message(file_of("{" + entry("a", "F32", "[1]", 4, 8) + "}", eight)), contains("offsets 4 to 8"));
  CHECK_THAT(message(file_of("{" + entry("a", "F32", "[3]", 0, 12) + "}", eight)), contains("up to at most 8"));
  CHECK_THAT(message(file_of("{" + entry("a", "F32", "[1]", 0, -4) + "}", eight)), contains("array 'a'"));
  CHECK_THAT(message(file_of("{" + entry("a", "F32", "[1]", 0, 4) + "}", eight)), contains("4 bytes that belong to no"));
  // Bytes that are not what shape and dtype need, also where their product leaves 64 bits.
  CHECK_THAT(message(file_of("{" + entry("a", "F32", "[3]", 0, 8) + "}", eight)), contains("8 bytes, which are not"));
  CHECK_THAT(message(file_of("{" + entry("a", "F32", "[4294967296,4294967296]", 0, 8) + "}", eight)),
             contains("array 'a': has 8 bytes"));
  CHECK_THAT(message(file_of("{" + entry("a", "BOOL", "[1]", 0, 1) + "}", "\x02")), contains("neither 0 nor 1"));
  // Deep nesting and other JSON end early.
  CHECK_THAT(message(file_of("{" + std::string(100000, '['), "")), contains("malformed"));
  CHECK_THAT(message(file_of("{\"a\":" + std::string(100000, '{'), "")), contains("malformed"));
}

TEST_CASE("an array that graft has no type for is passed over until it is asked for", "[io]") {
  const Folder folder;
  const std::string path = folder / "other.safetensors";
  put(path, file_of("{" + entry("a", "F8_E8M0", "[1]", 0, 1) + "," + entry("b", "U8", "[1]", 1, 2) + "," +
                        entry("deep", "U8", "[1,1,1,1,1,1,1]", 2, 3) + "}",
                    "\x01\x02\x03"));
  const ArrayFile file = read_safetensors(path);
  CHECK(file.at("b").converted<int>() == std::vector<int>{2});
  CHECK_THROWS_WITH(file.at("a"), contains("has dtype 'F8_E8M0', which graft does not read"));
  CHECK_THROWS_WITH(file.at("deep"), contains("more than 6 axes"));
}

TEST_CASE("a safetensors file cut anywhere is refused", "[io]") {
  const Folder folder;
  const std::string path = folder / "cut.safetensors";
  write_safetensors(path, {{"a", make_array(std::vector<float>{1, 2}, {2})}}, {{"k", "v"}});
  const std::string whole = bytes_of(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    put(path, whole.substr(0, length));
    CHECK(teaches(file_error([&] { read_safetensors(path); }), path));
  }
}
