// .npz archives: byte-exact fixtures written from the published format (PKWARE APPNOTE), and damage of every kind,
// which must end in a FileError of one line.

#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/io/npz.hpp"
#include "graft/model/arithmetic.hpp"
#include "npy_fixtures.hpp"

using namespace graft;

namespace {

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

}  // namespace

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
      const ArrayFile archive = read_npz(path);
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

TEST_CASE("arrays that are not asked for are not looked at", "[io]") {
  const Folder folder;
  const std::string path = folder / "mixed.npz",
                    text = npy("{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}", std::string(8, 'x'));
  const std::string fortran = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", std::string(4, '\0'));
  put(path, zip({{"three.npy", kThree}, {"text.npy", text}, {"fortran.npy", fortran}}));
  const ArrayFile all = read_npz(path);
  CHECK(three(all.at("three")) == std::vector<std::int32_t>{1, -2, 3});
  CHECK(all.names() == std::vector<std::string>{"three", "fortran", "text"});
  CHECK(all.contains("text"));
  CHECK_THAT(refusal(path, [&] { all.at("text"); }), contains("'text'") && contains("'<U2'"));
  CHECK_THAT(refusal(path, [&] { all.at("fortran"); }), contains("'fortran'") && contains("Fortran order"));
  CHECK_THAT(refusal(path, [&] { all.at("more"); }), contains("'three'") && contains("'text'"));

  // A damaged array is refused also where its kind is not read, but not where nobody asks for it.
  std::string damaged = zip({{"three.npy", kThree}, {"text.npy", text}, {"notes.txt", "text"}, {"z.npy", kThree, 8}});
  damaged[30 + 9 + kThree.size() + 30 + 8 + text.size() - 1] ^= 1;
  put(path, damaged);
  CHECK_THAT(refusal(path, [&] { read_npz(path); }), contains("'text'") && contains("CRC"));
  const ArrayFile one = read_npz(path, {"three", "absent"});
  CHECK(three(one.at("three")) == std::vector<std::int32_t>{1, -2, 3});
  CHECK_THAT(refusal(path, [&] { one.at("text"); }), contains("not asked for"));
  CHECK_FALSE(one.contains("absent"));
  CHECK_THAT(refusal(path, [&] { read_npz(path, {"z"}); }), contains("'z.npy'") && contains("compressed"));
}

TEST_CASE("npz archives that are refused", "[io]") {
  const Folder folder;
  const std::string path = folder / "bad.npz";
  const auto message = [&](const std::string& bytes) {
    put(path, bytes);
    return refusal(path, [&] { read_npz(path); });
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
    const ArrayFile expected = read_npz(path);
    for (std::size_t at = 0; at < whole.size(); ++at)
      for (int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
        std::string bytes = whole;
        bytes[at] = static_cast<char>(bytes[at] ^ flip);
        put(path, bytes);
        ArrayFile seen;
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
