// .npy and .npz files: byte-exact fixtures written from the published formats (numpy.lib.format; PKWARE APPNOTE), round
// trips, and damage of every kind, which must end in a FileError of one line.

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/io/npz.hpp"

using namespace graft;

namespace {

namespace fs = std::filesystem;

/// A new folder that goes away with everything in it.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "graft-io-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  long files() const { return std::distance(fs::directory_iterator(path), fs::directory_iterator()); }
};

void put(const std::string& path, const std::string& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fclose(file) != 0)
    throw std::runtime_error("cannot write " + path);
}

std::string bytes_of(const std::string& path) { return InputFile(path).read_text(); }

/// The message of the FileError that `run` throws; empty if it throws none.
template <class Run>
std::string file_error(Run run) {
  try {
    run();
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

/// One line, which names the file.
bool teaches(const std::string& message, const std::string& path) {
  return message.find(path) != std::string::npos && message.find('\n') == std::string::npos;
}

// ---- Fixtures ----

/// Version 1.0 or 2.0: magic, version, header length (2 or 4 bytes, little-endian), header, elements.
std::string npy(const std::string& dict, const std::string& elements, int version = 1) {
  const std::size_t length = dict.size();
  std::string bytes = std::string("\x93NUMPY") + static_cast<char>(version) + '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) bytes += static_cast<char>(length >> (8 * i) & 0xFF);
  return bytes + dict + elements;
}

/// np.save of np.array([1, -2, 3], '<i4'), byte by byte: the header is 118 = 0x76 long, so the elements start at 128.
const std::string kThree = std::string("\x93NUMPY\x01\x00\x76\x00", 10) +
                           "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }" + std::string(60, ' ') + "\n" +
                           std::string("\x01\x00\x00\x00\xFE\xFF\xFF\xFF\x03\x00\x00\x00", 12);

void number(std::string& bytes, std::uint64_t value, int width) {
  for (int i = 0; i < width; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
}

/// CRC-32 bit by bit, straight from its definition (reflected, initial value and final complement of all ones).
std::uint32_t slow_crc(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (unsigned char byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

struct Member {
  std::string name, content;
  int method = 0;
};

/// A zip archive from the record layouts of the APPNOTE (4.3.7, 4.3.12, 4.3.14 to 4.3.16, 4.5.3).
std::string zip(const std::vector<Member>& members, bool zip64 = false, const std::string& comment = "") {
  std::string body, directory;
  for (const Member& member : members) {
    const std::size_t offset = body.size(), size = member.content.size();
    std::string extra;
    if (zip64) {
      number(extra, 1, 2), number(extra, 24, 2);
      number(extra, size, 8), number(extra, size, 8), number(extra, offset, 8);
    }
    body += "PK\3\4";
    for (int value : {45, 0, member.method, 0, 33}) number(body, static_cast<std::uint64_t>(value), 2);
    number(body, slow_crc(member.content), 4);
    number(body, size, 4), number(body, size, 4);
    number(body, member.name.size(), 2), number(body, 0, 2);
    body += member.name + member.content;
    directory += "PK\1\2";
    for (int value : {45, 45, 0, member.method, 0, 33}) number(directory, static_cast<std::uint64_t>(value), 2);
    number(directory, slow_crc(member.content), 4);
    number(directory, zip64 ? 0xFFFFFFFFu : size, 4), number(directory, zip64 ? 0xFFFFFFFFu : size, 4);
    number(directory, member.name.size(), 2), number(directory, extra.size(), 2);
    directory += std::string(10, '\0');
    number(directory, zip64 ? 0xFFFFFFFFu : offset, 4);
    directory += member.name + extra;
  }
  std::string end;
  if (zip64) {
    end += "PK\6\6";
    number(end, 44, 8), number(end, 45, 2), number(end, 45, 2), number(end, 0, 4), number(end, 0, 4);
    number(end, members.size(), 8), number(end, members.size(), 8);
    number(end, directory.size(), 8), number(end, body.size(), 8);
    end += "PK\6\7";
    number(end, 0, 4), number(end, body.size() + directory.size(), 8), number(end, 1, 4);
  }
  end += "PK\5\6";
  number(end, 0, 2), number(end, 0, 2);
  number(end, zip64 ? 0xFFFFu : members.size(), 2), number(end, zip64 ? 0xFFFFu : members.size(), 2);
  number(end, zip64 ? 0xFFFFFFFFu : directory.size(), 4), number(end, zip64 ? 0xFFFFFFFFu : body.size(), 4);
  number(end, comment.size(), 2);
  return body + directory + end + comment;
}

std::vector<std::int32_t> three(const Array& array) {
  REQUIRE(array.shape == Shape{3});
  const auto values = array.as<std::int32_t>();
  return {values.begin(), values.end()};
}

bool same(const Array& a, const Array& b) { return a.dtype == b.dtype && a.shape == b.shape && a.data == b.data; }

template <class T>
std::vector<T> some_values(Index count) {
  std::vector<T> values;
  for (Index i = 0; i < count; ++i) values.push_back(static_cast<T>(i % 5 == 4 ? std::numeric_limits<T>::max() : T(i)));
  if (count > 1) values[1] = std::numeric_limits<T>::lowest();
  return values;
}

template <class T>
void round_trip(const Folder& folder, const std::string& dtype) {
  for (const Shape& shape :
       {Shape{}, Shape{0}, Shape{7}, Shape{2, 3}, Shape{3, 0, 2}, Shape{2, 3, 4}, Shape{2, 1, 3, 5}}) {
    const std::vector<T> values = some_values<T>(shape.count());
    Array array{dtype, shape, {}, {}};
    for (const T value : values) {
      const auto* bytes = reinterpret_cast<const std::byte*>(&value);
      array.data.insert(array.data.end(), bytes, bytes + sizeof(T));
    }
    INFO(dtype << " " << to_string(shape));
    write_npy(folder / "a.npy", array);
    const Array back = read_npy(folder / "a.npy");
    CHECK(same(back, array));
    const auto seen = back.as<T>();
    CHECK(std::vector<T>(seen.begin(), seen.end()) == values);
    CHECK(back.converted<T>() == values);
    CHECK(bytes_of(folder / "a.npy").size() % 64 == array.data.size() % 64);  // elements start at a multiple of 64
    write_npz(folder / "a.npz", {{"x", array}, {"y.z", array}});
    const Npz archive = read_npz(folder / "a.npz");
    CHECK(archive.arrays.size() == 2);
    CHECK(same(archive.at("x"), array));
    CHECK(same(archive.at("y.z"), array));
  }
}

}  // namespace

TEST_CASE("npy and npz keep every dtype and rank", "[io]") {
  const Folder folder;
  round_trip<bool>(folder, "|b1");
  round_trip<std::int8_t>(folder, "|i1");
  round_trip<std::uint8_t>(folder, "|u1");
  round_trip<std::int16_t>(folder, "<i2");
  round_trip<std::uint16_t>(folder, "<u2");
  round_trip<std::int32_t>(folder, "<i4");
  round_trip<std::uint32_t>(folder, "<u4");
  round_trip<std::int64_t>(folder, "<i8");
  round_trip<std::uint64_t>(folder, "<u8");
  round_trip<float>(folder, "<f4");
  round_trip<double>(folder, "<f8");
}

TEST_CASE("npy bytes are those of the format's description", "[io]") {
  const Folder folder;
  put(folder / "three.npy", kThree);
  CHECK(three(read_npy(folder / "three.npy")) == std::vector<std::int32_t>{1, -2, 3});
  write_npy(folder / "ours.npy", make_array(std::vector<std::int32_t>{1, -2, 3}, {3}));
  CHECK(bytes_of(folder / "ours.npy") == kThree);
  // NumPy writes () for a scalar and (2, 1) for a matrix.
  write_npy(folder / "scalar.npy", make_array(std::vector<double>{0.5}, {}));
  CHECK_THAT(bytes_of(folder / "scalar.npy"), contains("{'descr': '<f8', 'fortran_order': False, 'shape': (), }"));
  write_npy(folder / "matrix.npy", make_array(std::vector<std::uint8_t>{1, 2}, {2, 1}));
  CHECK_THAT(bytes_of(folder / "matrix.npy"), contains("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1), }"));
}

TEST_CASE("npy headers of other writers", "[io]") {
  const Folder folder;
  const std::string elements = kThree.substr(128);
  for (const std::string dict : {"{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n",
                                 "{'descr':'<i4','fortran_order':False,'shape':(3,)}",
                                 "{\"shape\": (3,), \"fortran_order\": False, \"descr\": \"<i4\"}   \n",
                                 "{ 'shape' : ( 3 , ) ,'descr': '<i4','fortran_order': False,}\n"})
    for (int version : {1, 2, 3}) {
      INFO(dict << " version " << version);
      put(folder / "a.npy", npy(dict, elements, version));
      CHECK(three(read_npy(folder / "a.npy")) == std::vector<std::int32_t>{1, -2, 3});
    }
}

TEST_CASE("npy files that are refused", "[io]") {
  const Folder folder;
  const std::string path = folder / "bad.npy", elements(24, '\1');
  const auto message = [&](const std::string& bytes) {
    put(path, bytes);
    const std::string text = file_error([&] { read_npy(path); });
    INFO(text);
    CHECK(teaches(text, path));
    return text;
  };
  const auto header = [&](const std::string& descr, const std::string& order, const std::string& shape) {
    return message(
        npy("{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n", elements));
  };
  CHECK_THAT(message(""), contains("empty"));
  CHECK_THAT(message("PK\3\4 something else"), contains("magic"));
  CHECK_THAT(message(npy("", "", 4)), contains("version 4.0"));
  CHECK_THAT(header("'<i4'", "True", "(2, 3)"), contains("Fortran order"));
  CHECK_THAT(header("'>i4'", "False", "(6,)"), contains("big-endian"));
  CHECK_THAT(header("'|O'", "False", "(3,)"), contains("Python objects"));
  CHECK_THAT(header("'<U2'", "False", "(3,)"), contains("'<U2'"));
  CHECK_THAT(header("'<f2'", "False", "(12,)"), contains("'<f2'"));
  CHECK_THAT(header("[('a', '<i4')]", "False", "(6,)"), contains("structured"));
  CHECK_THAT(header("'|b1'", "False", "(23,)"), contains("after its last element"));
  CHECK_THAT(message(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", "\2")),
             contains("neither 0 nor 1"));
  CHECK_THAT(header("'<i4'", "False", "(7,)"), contains("truncated"));
  CHECK_THAT(header("'<i4'", "False", "(1, 1, 1, 1, 1, 1, 6)"), contains("axes"));
  // Sizes whose product, or whose bytes, pass 2^63 - 1 must not be multiplied, let alone allocated.
  CHECK_THAT(header("'<i4'", "False", "(99999999999999999999,)"), contains("64 bits"));
  CHECK_THAT(header("'<i4'", "False", "(4611686018427387904,)"), contains("64 bits"));
  CHECK_THAT(header("'|u1'", "False", "(4294967296, 4294967296)"), contains("64 bits"));
  CHECK_THAT(header("'|u1'", "False", "(0, 4294967296, 4294967296)"), contains("64 bits"));
  CHECK_THAT(header("'|u1'", "False", "(1099511627776,)"), contains("truncated"));
  for (const char* shape : {"3", "(3)", "(3", "(3,,)", "(,)", "(-3,)", "(2 3)", "(2.0,)", "None", ""})
    CHECK_THAT(header("'<i4'", "False", shape), contains("malformed"));
  for (const char* dict : {"", "{", "{}", "{'descr': '<i4'}", "{'descr': '<i4', 'fortran_order': False, 'shape': (6,)",
                           "{'descr': '<i4', 'fortran_order': 0, 'shape': (6,)}", "{'descr': '<i4",
                           "{'descr': '<i4', 'descr': '<i4', 'fortran_order': False, 'shape': (6,)}",
                           "{'descr': '<i4', 'fortran_order': False, 'shape': (6,), 'more': 1}",
                           "{'descr': '<i4', 'fortran_order': False, 'shape': (6,)} x"})
    CHECK_THAT(message(npy(dict, elements)), contains("malformed"));
}

TEST_CASE("an npy file cut or lengthened anywhere is refused", "[io]") {
  const Folder folder;
  for (std::size_t length = 0; length < kThree.size(); ++length) {
    put(folder / "cut.npy", kThree.substr(0, length));
    CHECK(teaches(file_error([&] { read_npy(folder / "cut.npy"); }), folder / "cut.npy"));
  }
  put(folder / "long.npy", kThree + "x");
  CHECK_THAT(file_error([&] { read_npy(folder / "long.npy"); }), contains("1 bytes after its last element"));
}

TEST_CASE("array elements are converted only where they keep their value", "[io]") {
  const Array large = make_array(std::vector<std::int64_t>{0, 255, 256}, {3});
  CHECK(large.converted<std::int32_t>() == std::vector<std::int32_t>{0, 255, 256});
  CHECK(large.converted<double>() == std::vector<double>{0, 255, 256});
  CHECK_THAT(file_error([&] { large.converted<std::uint8_t>(); }), contains("element 2 is 256"));
  CHECK_THAT(file_error([&] { large.as<std::int32_t>(); }), contains("'<i8'") && contains("'<i4'"));
  const Array negative = make_array(std::vector<std::int8_t>{-1}, {1});
  CHECK(negative.converted<std::int64_t>() == std::vector<std::int64_t>{-1});
  CHECK(negative.converted<float>() == std::vector<float>{-1});
  CHECK_THAT(file_error([&] { negative.converted<std::uint64_t>(); }), contains("element 0 is -1"));
  const Array top = make_array(std::vector<std::uint64_t>{~std::uint64_t{0}}, {1});
  CHECK_THAT(file_error([&] { top.converted<std::int64_t>(); }), contains("cannot hold"));
  CHECK_THAT(file_error([&] { top.converted<double>(); }), contains("cannot hold"));
  // 2^24 is the last integer below which float has every one.
  const Array edge = make_array(std::vector<std::int32_t>{1 << 24, -(1 << 24)}, {2});
  CHECK(edge.converted<float>() == std::vector<float>{16777216.f, -16777216.f});
  CHECK_THAT(file_error([&] { make_array(std::vector<std::int32_t>{(1 << 24) + 1}, {1}).converted<float>(); }),
             contains("16777217"));
  CHECK_THAT(file_error([&] {
               make_array(std::vector<std::int32_t>{std::numeric_limits<std::int32_t>::min()}, {1}).converted<float>();
             }),
             contains("-2147483648"));
  const Array mask = make_array(std::vector<std::uint8_t>{0, 1}, {2});
  CHECK(mask.converted<bool>() == std::vector<bool>{false, true});
  CHECK_THAT(file_error([&] { make_array(std::vector<std::uint8_t>{2}, {1}).converted<bool>(); }),
             contains("cannot hold"));
  const Array real = make_array(std::vector<double>{0.1, 1e300}, {2});
  CHECK_THAT(file_error([&] { real.converted<int>(); }), contains("not converted"));
  CHECK_THAT(file_error([&] { real.converted<float>(); }), contains("element 1"));
  CHECK(make_array(std::vector<double>{0.1}, {1}).converted<float>() == std::vector<float>{0.1f});
  CHECK(real.with_shape({-1}).shape == Shape{2});
  CHECK_THAT(file_error([&] { real.with_shape({-1, 2}); }), contains("[2]") && contains("[-1, 2]"));
  CHECK_THAT(file_error([&] { real.with_shape({3}); }), contains("[3]"));
  CHECK_THROWS_AS(make_array(std::vector<double>{1, 2}, {3}), ShapeError);
  CHECK_THROWS_AS(write_npy("never-made.npy", Array{"<f4", {2}, std::vector<std::byte>(7), {}}), ValueError);
  CHECK_FALSE(fs::exists("never-made.npy"));
}

TEST_CASE("crc32 has the published check value", "[io]") {
  const auto crc = [](const std::string& text) { return crc32(std::as_bytes(std::span(text))); };
  CHECK(crc("123456789") == 0xCBF43926u);  // the check value of CRC-32/ISO-HDLC in the RevEng catalogue
  CHECK(crc("") == 0);
  std::string text;
  for (int i = 0; i < 70; ++i) {  // every length around the eight-byte steps, and every way to cut one in two
    CHECK(crc(text) == slow_crc(text));
    for (std::size_t cut = 0; cut <= text.size(); cut += 3) {
      const auto bytes = std::as_bytes(std::span(text));
      CHECK(crc32(bytes.subspan(cut), crc32(bytes.first(cut))) == slow_crc(text));
    }
    text += static_cast<char>(37 * i + 11);
  }
}

TEST_CASE("npz archives of other writers", "[io]") {
  const Folder folder;
  const std::string path = folder / "a.npz", other = npy("{'descr': '|u1', 'fortran_order': False, 'shape': ()}", "\7");
  for (bool zip64 : {false, true})
    for (const std::string comment : {"", "a comment that holds PK\5\6"}) {
      put(path, zip({{"b.npy", kThree}, {"a.npy", other}}, zip64, comment));
      const Npz archive = read_npz(path);
      REQUIRE(archive.arrays.size() == 2);
      CHECK(three(archive.at("b")) == std::vector<std::int32_t>{1, -2, 3});
      CHECK(archive.at("a").as<std::uint8_t>()[0] == 7);
      CHECK(archive.contains("a"));
      CHECK_FALSE(archive.contains("c"));
      CHECK_THAT(file_error([&] { archive.at("c"); }), contains(path) && contains("'c'") && contains("'a', 'b'"));
      CHECK_THAT(file_error([&] { archive.at("a").as<float>(); }),
                 contains(path) && contains("'a'") && contains("'<f4'"));
    }
  put(path, zip({}));
  CHECK(read_npz(path).arrays.empty());
  // The archive of one array as written by hand above is also the one that write_npz makes, up to the two version
  // bytes.
  write_npz(path, {{"three", make_array(std::vector<std::int32_t>{1, -2, 3}, {3})}});
  std::string expected = zip({{"three.npy", kThree}});
  const std::size_t directory = 30 + 9 + kThree.size();
  expected[4] = expected[directory + 4] = expected[directory + 6] = 20;
  CHECK(bytes_of(path) == expected);
}

TEST_CASE("npz archives that are refused", "[io]") {
  const Folder folder;
  const std::string path = folder / "bad.npz";
  const auto message = [&](const std::string& bytes) {
    put(path, bytes);
    const std::string text = file_error([&] { read_npz(path); });
    INFO(text);
    CHECK(teaches(text, path));
    return text;
  };
  CHECK_THAT(message(""), contains("empty"));
  CHECK_THAT(message("no archive at all, only some text"), contains("not an npz file"));
  CHECK_THAT(message(kThree), contains("not an npz file"));
  CHECK_THAT(message(zip({{"x.npy", kThree, 8}})),
             contains("'x.npy'") && contains("compressed") && contains("np.savez"));
  CHECK_THAT(message(zip({{"notes.txt", "text"}})), contains("'notes.txt'"));
  CHECK_THAT(message(zip({{".npy", kThree}})), contains("'.npy'"));
  CHECK_THAT(message(zip({{"x.npy", "text"}})), contains("'x'") && contains("magic"));
  CHECK_THAT(message(zip({{"x.npy", kThree}, {"x.npy", kThree}})), contains("two arrays 'x'"));
  CHECK_THAT(message(zip({{"new\nline.npy", "text"}})), contains("'new?line'"));
  std::string wrong = zip({{"x.npy", kThree}});
  wrong[30 + 5 + 128] ^= 1;
  CHECK_THAT(message(wrong), contains("'x'") && contains("CRC"));
  std::string encrypted = zip({{"x.npy", kThree}});
  encrypted[30 + 5 + kThree.size() + 8] |= 1;
  CHECK_THAT(message(encrypted), contains("encrypted"));
  // Of one member "x.npy": its directory entry begins at 35 + the content, the end record 51 bytes later.
  const std::size_t begin = 30 + 5 + kThree.size(), entry = 46 + 5;
  const auto changed = [&](std::initializer_list<std::pair<std::size_t, int>> changes) {
    std::string bytes = zip({{"x.npy", kThree}});
    for (const auto& [at, value] : changes) bytes[at] = static_cast<char>(value);
    return bytes;
  };
  CHECK_THAT(message(changed({{begin + entry + 8, 2}, {begin + entry + 10, 2}})), contains("number of members"));
  CHECK_THAT(message(changed({{begin + entry + 8, 2}})), contains("split over several files"));
  CHECK_THAT(message(changed({{begin + 20, 1}})), contains("two different sizes"));
  CHECK_THAT(message(changed({{begin + 22, 0x7F}, {begin + 26, 0x7F}})), contains("'x.npy' is truncated"));
  CHECK_THAT(message(changed({{begin + entry + 18, 0x7F}})), contains("outside the file"));
  // Two entries for one member, which a bomb of overlapping members is made of.
  std::string twice = zip({{"x.npy", kThree}});
  twice.insert(begin, twice.substr(begin, entry));
  twice[begin + 2 * entry + 8] = twice[begin + 2 * entry + 10] = 2;
  twice[begin + 2 * entry + 12] = static_cast<char>(2 * entry);
  CHECK_THAT(message(twice), contains("overlap"));
}

TEST_CASE("an npz file cut anywhere is refused", "[io]") {
  const Folder folder;
  for (bool zip64 : {false, true}) {
    const std::string whole = zip({{"x.npy", kThree}, {"y.npy", kThree}}, zip64);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      put(folder / "cut.npz", whole.substr(0, length));
      CHECK(teaches(file_error([&] { read_npz(folder / "cut.npz"); }), folder / "cut.npz"));
    }
  }
}

TEST_CASE("one damaged byte in an npz file never changes an array unseen", "[io]") {
  const Folder folder;
  const std::string path = folder / "damaged.npz";
  int refused = 0, harmless = 0;
  for (bool zip64 : {false, true}) {
    const std::string whole = zip({{"x.npy", kThree}, {"yy.npy", kThree}}, zip64);
    put(path, whole);
    const Npz expected = read_npz(path);
    for (std::size_t at = 0; at < whole.size(); ++at)
      for (int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
        std::string bytes = whole;
        bytes[at] = static_cast<char>(bytes[at] ^ flip);
        put(path, bytes);
        Npz seen;
        const std::string message = file_error([&] { seen = read_npz(path); });
        if (!message.empty()) {
          ++refused;
          if (!teaches(message, path)) FAIL_CHECK(message);
          continue;
        }
        ++harmless;
        bool equal = seen.arrays.size() == 2;
        for (const auto& [name, array] : expected.arrays)
          equal = equal && seen.contains(name) && same(seen.at(name), array);
        if (!equal) FAIL_CHECK("byte " << at << " flipped by " << flip << " changed an array unseen");
      }
  }
  CHECK(refused > 0);
  CHECK(harmless > 0);  // time stamps and attributes
}

TEST_CASE("reading what is no file", "[io]") {
  const Folder folder;
  CHECK_THAT(file_error([&] { read_npz(folder / "missing.npz"); }),
             contains("missing.npz") && contains("No such file"));
  CHECK_THAT(file_error([&] { read_npy(folder.path.string()); }), contains("is a directory"));
  const std::string pipe = folder / "pipe.npy";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THAT(file_error([&] { read_npy(pipe); }), contains("not a regular file"));
}

TEST_CASE("a failed write leaves the old file and nothing else", "[io]") {
  const Folder folder;
  const std::string path = folder / "kept.npz";
  const Array small = make_array(std::vector<std::int32_t>{1, -2, 3}, {3});
  const Array large = make_array(std::vector<double>(100000, 1.5), {100000});
  write_npz(path, {{"x", small}});
  const std::string old = bytes_of(path);

  SECTION("a disk that fills up") {
    struct rlimit before;
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const struct rlimit tight { 4096, before.rlim_max };
    auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
    const std::string npz = file_error([&] { write_npz(path, {{"x", large}}); });
    const std::string npy = file_error([&] { write_npy(path, large); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(teaches(npz, path));
    CHECK(teaches(npy, path));
    CHECK_THAT(npz, contains("cannot write"));
  }
  SECTION("an array that is refused") {
    CHECK_THROWS_AS(write_npz(path, {{"x", small}, {"y", Array{"<f2", {1}, std::vector<std::byte>(2), {}}}}),
                    ValueError);
  }
  SECTION("a writer that is given up") {
    OutputFile file(path);
    file.write("half of");
    CHECK(folder.files() == 2);
  }
  CHECK(bytes_of(path) == old);
  CHECK(folder.files() == 1);
  write_npz(path, {{"x", large}});  // and a later write goes through
  CHECK(same(read_npz(path).at("x"), large));
  CHECK(folder.files() == 1);
}

TEST_CASE("folders that cannot be written are refused", "[io]") {
  const Folder folder;
  const Array small = make_array(std::vector<std::int32_t>{1, -2, 3}, {3});
  const auto message = [&](const std::string& path) {
    const std::string text = file_error([&] { write_npz(path, {{"x", small}}); });
    INFO(text);
    CHECK(teaches(text, path));
    return text;
  };
  CHECK_THAT(message(folder / "missing/a.npz"), contains("folder"));
  put(folder / "file", "");
  CHECK_THAT(message(folder / "file/a.npz"), contains("folder"));
  CHECK_THAT(message(folder.path.string()), contains("is a directory"));
  CHECK(folder.files() == 1);

  // The superuser may write everywhere, so step down to "nobody" for this part where that is possible.
  write_npz(folder / "kept.npz", {{"x", small}});
  const std::string old = bytes_of(folder / "kept.npz");
  REQUIRE(::chmod(folder.path.c_str(), 0555) == 0);
  const bool superuser = ::geteuid() == 0, may_write = superuser && ::seteuid(65534) != 0;
  if (!may_write) {
    CHECK_THAT(message(folder / "kept.npz"), contains("folder") && contains("Permission denied"));
    CHECK_THAT(message(folder / "new.npz"), contains("Permission denied"));
  }
  if (superuser && !may_write) REQUIRE(::seteuid(0) == 0);
  REQUIRE(::chmod(folder.path.c_str(), 0755) == 0);
  CHECK(bytes_of(folder / "kept.npz") == old);
  CHECK(folder.files() == 2);
}
