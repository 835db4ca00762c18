// The WordPiece tokeniser against ids that the reference implementation gave (make_wordpiece_cases.py), and its errors.

#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/io/wordpiece.hpp"

using namespace graft;

namespace {

struct Case {
  bool lowercase;
  std::string text;
  std::vector<std::int64_t> ids;
};
#include "wordpiece_cases.inc"

std::string vocabulary(const Folder& folder) {
  const std::string path = folder / "vocab.txt";
  put(path, kVocabulary);
  return path;
}
std::vector<std::int64_t> plain(const List<std::int64_t>& ids) { return {ids.begin(), ids.end()}; }

}  // namespace

TEST_CASE("WordPiece gives the ids of the reference implementation", "[io]") {
  const Folder folder;
  const std::string path = vocabulary(folder);
  for (bool lowercase : {true, false}) {
    const WordPiece words(path, {.lowercase = lowercase});
    for (const Case& one : kCases) {
      if (one.lowercase != lowercase) continue;
      CAPTURE(lowercase, one.text);
      CHECK(plain(words.encode(one.text)) == one.ids);
    }
  }
}

TEST_CASE("texts of different lengths make one padded batch", "[io]") {
  const Folder folder;
  const WordPiece words(vocabulary(folder));
  const std::vector<std::string> texts{"a b e", "", "a"};
  const TokenBatch batch = words.encode(texts);
  REQUIRE(batch.ids.shape() == Shape{3, 5});
  REQUIRE(batch.mask.shape() == Shape{3, 5});
  CHECK(batch.truncated == 0);
  for (Index text = 0; text < 3; ++text) {
    const auto ids = words.encode(texts[text]);
    for (Index place = 0; place < 5; ++place) {
      CHECK(batch.mask.at({text, place}) == (place < ids.size()));
      CHECK(batch.ids.at({text, place}) == (place < ids.size() ? ids[place] : 0));  // [PAD] is 0
    }
  }
  CHECK(words.encode(std::vector<std::string>{}).ids.shape() == Shape{0, 0});
}

TEST_CASE("a text that is too long is cut before the end token, and counted", "[io]") {
  const Folder folder;
  const WordPiece words(vocabulary(folder));
  const auto whole = plain(words.encode("a b e i o u"));
  for (Index length = 2; length <= 10; ++length) {
    const auto cut = plain(words.encode("a b e i o u", length));
    std::vector<std::int64_t> expected(whole.begin(), whole.begin() + std::min<Index>(length - 1, 7));
    expected.push_back(3);  // [SEP]
    CHECK(cut == expected);
  }
  CHECK(words.encode(std::vector<std::string>{"a b e", "a", "a b"}, 4).truncated == 1);
}

TEST_CASE("WordPiece's errors name the file or the place", "[io]") {
  const Folder folder;
  const std::string path = vocabulary(folder);
  const WordPiece words(path);
  CHECK(words.size() > 5);
  CHECK(words.token(2) == "[CLS]");
  CHECK_THROWS_AS(words.token(words.size()), IndexError);
  CHECK_THROWS_AS(words.token(-1), IndexError);
  CHECK_THROWS_AS(words.encode("a", 1), ValueError);
  for (const auto& [text, place] : {std::pair("ab\xff", "byte 2"), std::pair("\xc3", "byte 0"),
                                    std::pair("a\xed\xa0\x80", "byte 1"), std::pair("[SEP] \xe6\xbc", "byte 6")})
    CHECK_THROWS_WITH(words.encode(text), contains(place));
  put(path, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n");
  CHECK_THROWS_WITH(WordPiece(path), contains("vocab.txt: has the token '[PAD]' twice"));
  put(path, "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n");
  CHECK_THROWS_WITH(WordPiece(path), contains("has no token '[MASK]'"));
  CHECK_THROWS_AS(WordPiece(folder / "absent"), FileError);
}
