// .npy files: byte-exact fixtures written from the published format (numpy.lib.format), round trips of both kinds of
// file, and damage of every kind, which must end in a FileError of one line. And what holds for every file that is read
// or written.

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/io/npz.hpp"
#include "npy_fixtures.hpp"

using namespace graft;

namespace {

namespace fs = std::filesystem;

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
    const ArrayFile archive = read_npz(folder / "a.npz");
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
    return refusal(path, [&] { read_npy(path); });
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
  CHECK_THAT(header("'<c8'", "False", "(3,)"), contains("'<c8'"));
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

TEST_CASE("16-bit floats are read and widened", "[io]") {
  // Values and their bits from IEEE 754-2008, 3.6: the largest number, the smallest normal, the smallest subnormal.
  const std::pair<std::uint16_t, float> known[] = {{0x0000, 0.f},      {0x8000, -0.f},        {0x3C00, 1.f},
                                                   {0xC000, -2.f},     {0x3555, 0x1.554p-2f}, {0x7BFF, 65504.f},
                                                   {0x0400, 0x1p-14f}, {0x0001, 0x1p-24f},    {0x83FF, -0x1.ff8p-15f}};
  std::string elements;
  for (const auto& entry : known)
    elements += {static_cast<char>(entry.first & 0xFF), static_cast<char>(entry.first >> 8)};
  const Folder folder;
  put(folder / "half.npy", npy("{'descr': '<f2', 'fortran_order': False, 'shape': (3, 3)}", elements));
  const Array half = read_npy(folder / "half.npy");
  const Tensor<> wide = to_tensor<float>(half);
  CHECK(wide.shape() == Shape{3, 3});
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK(wide.data()[i] == known[i].second);
    CHECK(std::signbit(wide.data()[i]) == std::signbit(known[i].second));
  }
  CHECK(half.converted<double>()[5] == 65504);
  CHECK_THAT(file_error([&] { half.converted<int>(); }), contains("'<f2'") && contains("not converted"));
  CHECK_THAT(file_error([&] { half.as<std::uint16_t>(); }), contains("'<f2'"));
  // Every half lies strictly between its neighbours, and the codes above infinity are NaN.
  for (std::uint32_t code = 0; code < 0x7C00; ++code) {
    const float here = detail::widened<5, 10, true>(static_cast<std::uint16_t>(code));
    if (!(here < detail::widened<5, 10, true>(static_cast<std::uint16_t>(code + 1)))) FAIL_CHECK(code);
    if (detail::widened<5, 10, true>(static_cast<std::uint16_t>(code | 0x8000)) != -here) FAIL_CHECK(code);
  }
  CHECK(std::isinf(detail::widened<5, 10, true>(0x7C00)));
  CHECK(std::isnan(detail::widened<5, 10, true>(0x7C01)));
  write_npy(folder / "again.npy", half);
  CHECK(same(read_npy(folder / "again.npy"), half));
}

TEST_CASE("arrays become tensors", "[io]") {
  const Array numbers = make_array(std::vector<std::int32_t>{1, 0, 3, 1, 0, 1}, {2, 3});
  CHECK(same_bits(to_tensor<std::int32_t>(numbers), tensor<std::int32_t>({{1, 0, 3}, {1, 0, 1}})));
  CHECK(same_bits(to_tensor<double>(numbers), tensor<double>({{1, 0, 3}, {1, 0, 1}})));
  CHECK_THAT(file_error([&] { to_tensor<bool>(numbers); }), contains("element 2 is 3"));
  const Array flags = make_array(std::vector<std::uint8_t>{1, 0, 1}, {3});
  const bool expected[] = {true, false, true};
  CHECK(same_bits(to_tensor<bool>(flags), from_span(std::span(expected), {3})));
  CHECK(to_tensor<float>(make_array(std::vector<double>{0.1}, {})).item() == 0.1f);
  CHECK_THAT(file_error([&] { to_tensor<std::int64_t>(make_array(std::vector<float>{1}, {1})); }),
             contains("not converted"));
  CHECK_THROWS_AS(to_tensor<float>(Array{"<f4", {2}, std::vector<std::byte>(4), {}}), ShapeError);
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
    CHECK_THROWS_AS(write_npz(path, {{"x", small}, {"y", Array{"<c8", {1}, std::vector<std::byte>(8), {}}}}),
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
