// Text as numbers, tagged [data]: the vocabulary, windows, and the sentences whose entropy is known.

#include "graft/data/text.hpp"

#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/ops/layout.hpp"

using namespace graft;

namespace {

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words{""};
  for (const char c : line)
    if (c == ' ')
      words.emplace_back();
    else
      words.back() += c;
  return words;
}

}  // namespace

TEST_CASE("a vocabulary numbers the characters of a text in the order of their codes", "[data]") {
  // U+0061, U+007A, U+00E9, U+4E2D, U+1F600.
  const std::string text =
      "z\xC3\xA9\xF0\x9F\x98\x80"
      "a\xE4\xB8\xADz";
  const CharacterVocabulary vocabulary(text);
  CHECK(vocabulary.size() == 5);
  const Tensor<std::int64_t> ids = vocabulary.encode(text);
  CHECK(same_bits(ids, tensor<std::int64_t>({1, 2, 4, 0, 3, 1})));
  CHECK(vocabulary.decode(ids) == text);
  CHECK(vocabulary.decode(reshape(ids, {2, 3})) == text);
  CHECK(vocabulary.encode("").count() == 0);
  CHECK_THROWS_WITH(vocabulary.encode("az b"), contains("' ' at byte 2 is not among the 5 characters"));
  CHECK_THROWS_WITH(vocabulary.encode("a\xC3"), contains("byte 1 of the text is not UTF-8"));
  CHECK_THROWS_AS(vocabulary.decode(tensor<std::int64_t>({5})), IndexError);
  CHECK_THROWS_AS(vocabulary.decode(tensor<std::int64_t>({-1})), IndexError);
  CHECK_THROWS_AS(CharacterVocabulary(""), ValueError);
  CHECK_THROWS_AS(CharacterVocabulary("\xFF"), ValueError);
}

TEST_CASE("drawn windows are pieces of the text, from every place", "[data]") {
  const auto tokens = arange<std::int64_t>(10);
  const Tensor<std::int64_t> drawn = draw_windows(tokens, 500, 4, Random(1));
  CHECK(drawn.shape() == Shape{500, 4});
  std::set<std::int64_t> begins;
  for (Index i = 0; i < 500; ++i) {
    begins.insert(drawn.at({i, 0}));
    for (Index j = 1; j < 4; ++j) CHECK(drawn.at({i, j}) == drawn.at({i, 0}) + j);
  }
  CHECK(begins == std::set<std::int64_t>{0, 1, 2, 3, 4, 5, 6});  // each is missed with chance (6 / 7)^500
  CHECK(same_bits(drawn, draw_windows(tokens, 500, 4, Random(1))));
  CHECK(same_bits(slice(drawn, 0, 0, 20), draw_windows(tokens, 20, 4, Random(1))));
  CHECK_FALSE(same_bits(drawn, draw_windows(tokens, 500, 4, Random(2))));
  CHECK(same_bits(draw_windows(tokens, 1, 10, Random(1)), reshape(tokens, {1, 10})));
  CHECK_THROWS_AS(draw_windows(tokens, 1, 11, Random(1)), ShapeError);
  CHECK_THROWS_AS(draw_windows(tokens, 1, 0, Random(1)), ValueError);
}

TEST_CASE("consecutive windows foretell every token but the first once", "[data]") {
  CHECK(same_bits(consecutive_windows(arange<std::int64_t>(10), 4),
                  tensor<std::int64_t>({{0, 1, 2, 3}, {3, 4, 5, 6}, {6, 7, 8, 9}})));
  CHECK(consecutive_windows(arange<std::int64_t>(12), 4).shape() == Shape{3, 4});  // 10 and 11 are left out
  CHECK(consecutive_windows(arange<std::int64_t>(4), 4).shape() == Shape{1, 4});
  CHECK_THROWS_AS(consecutive_windows(arange<std::int64_t>(3), 4), ShapeError);
  CHECK_THROWS_AS(consecutive_windows(arange<std::int64_t>(3), 1), ValueError);
}

TEST_CASE("drawn sentences have the entropy that is stated", "[data]") {
  const Index count = 20000;
  const SentenceText drawn = make_sentences(count, Random(1));
  // A sentence is told by its draws and tells them: ln 2 for an adjective or none and ln 4 for which, half the time; ln
  // 8 for each of two nouns and a verb.
  const double nats = 2 * (std::log(2.0) + std::log(4.0) / 2 + std::log(8.0)) + std::log(8.0);
  const double mean_length = static_cast<double>(drawn.text.size()) / count;
  // A phrase's length has a deviation below 3 letters, so the mean of 20000 sentences one below 0.04.
  CHECK(nats / drawn.entropy == Approx(mean_length).margin(0.15));
  std::set<std::string> words[3];  // adjectives, nouns, verbs
  std::string line;
  for (const char c : drawn.text) {
    if (c != '\n') {
      line += c;
      continue;
    }
    REQUIRE(line.back() == '.');
    line.pop_back();
    const std::vector<std::string> all = words_of(line);
    std::size_t at = 0;
    const auto phrase = [&](std::size_t end) {
      REQUIRE(all[at] == "the");
      if (end - at == 3) words[0].insert(all[at + 1]);
      words[1].insert(all[end - 1]);
      at = end;
    };
    const auto second = static_cast<std::size_t>(std::find(all.begin() + 1, all.end(), "the") - all.begin());
    phrase(second - 1);
    words[2].insert(all[at++]);
    phrase(all.size());
    line.clear();
  }
  CHECK((words[0].size() == 4 && words[1].size() == 8 && words[2].size() == 8));
  std::set<char> first;  // of an adjective or a noun, which stand at one place
  for (const auto& kind : {words[0], words[1]})
    for (const std::string& word : kind) first.insert(word[0]);
  CHECK(first.size() == 12);
  CHECK(make_sentences(3, Random(1)).text == drawn.text.substr(0, make_sentences(3, Random(1)).text.size()));
  CHECK(make_sentences(0, Random(1)).text.empty());
}
