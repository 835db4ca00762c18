// Texts with classes: files, words as numbers, generated requests.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/labelled_text.hpp"

using namespace graft;

TEST_CASE("texts of a file, with the names of their classes", "[data]") {
  const Folder folder;
  const std::string path = folder / "texts.tsv";
  put(path, "1\tHow much?\n0\tWhere is\tit\n1\t\n");
  LabelledTexts all = load_labelled_texts(path);
  CHECK(all.source == path);
  CHECK(all.texts == std::vector<std::string>{"How much?", "Where is\tit", ""});
  CHECK(all.labels == std::vector<std::int64_t>{1, 0, 1});
  CHECK(all.class_names == std::vector<std::string>{"class 0", "class 1"});
  put(folder / "classes.txt", "place\nprice\ntime\n");
  all = load_labelled_texts(path);
  CHECK(all.class_names == std::vector<std::string>{"place", "price"});
  put(folder / "classes.txt", "place\n");
  CHECK_THAT(file_error([&] { load_labelled_texts(path); }), contains("names 1 classes") && contains("has 2"));
}

TEST_CASE("files that hold no labelled texts are refused", "[data]") {
  const Folder folder;
  const std::string path = folder / "texts.tsv";
  for (const char* bad : {"0\ta\nno tab\n", "0\ta\n\tb\n", "0\ta\n-1\tb\n", "0\ta\n1234567\tb\n", "0\ta\n\n"}) {
    put(path, bad);
    CHECK_THAT(file_error([&] { load_labelled_texts(path); }), contains("line 2 is not"));
  }
  put(path, "");
  CHECK_THAT(file_error([&] { load_labelled_texts(path); }), contains("holds no texts"));
  CHECK_THROWS_AS(load_labelled_texts(folder / "none.tsv"), FileError);
}

TEST_CASE("words are letters and digits in lower case", "[data]") {
  using Words = std::vector<std::string>;
  CHECK(words_of("  I'm here, at 10:30 -- ÉTÉ!") == Words{"i", "m", "here", "at", "10", "30", "ÉtÉ"});
  CHECK(words_of("").empty());
  CHECK(words_of(" ?! ").empty());
}

TEST_CASE("hashed words: CRC-32 of the word, 0 where there is none", "[data]") {
  // 0xCBF43926 is the published check value of CRC-32, of "123456789".
  const Tensor<std::int64_t> ids =
      hashed_words({"123456789 what", "What 123456789", "", "a b c d"}, {.buckets = 4096, .length = 3});
  REQUIRE(ids.shape() == Shape{4, 3});
  CHECK(ids.at({0, 0}) == 1 + 0xCBF43926 % 4096);
  CHECK(ids.at({1, 1}) == ids.at({0, 0}));
  CHECK(ids.at({1, 0}) == ids.at({0, 1}));
  CHECK(ids.at({0, 2}) == 0);
  for (Index k = 0; k < 3; ++k) {
    CHECK(ids.at({2, k}) == 0);
    CHECK(ids.at({3, k}) > 0);  // the fourth word is left out
  }
  const HashedWords few{.buckets = 1, .length = 2};
  CHECK(few.entries() == 2);
  const Tensor<std::int64_t> same = hashed_words({"any words"}, few);
  CHECK(same.at({0, 0}) == 1);
  CHECK(same.at({0, 1}) == 1);
  CHECK_THROWS_AS(hashed_words({"a"}, {.buckets = 0}), ValueError);
  CHECK_THROWS_AS(hashed_words({"a"}, {.length = 0}), ValueError);
  CHECK_THROWS_AS(hashed_words({"a"}, {.buckets = Index{1} << 24}), ValueError);
}

TEST_CASE("texts as items", "[data]") {
  const ItemSet set = text_items({"two", {"yes", "no", "no no"}, {1, 0, 0}, {"deny", "agree"}}, {.length = 4});
  REQUIRE(set.classes() == 2);
  CHECK(set.name(1) == "agree");
  CHECK(set.items[0].size() == 2);
  const std::vector<Index> items{2, 1}, classes{0, 0};
  const Tensor<> x = set.inputs(items, classes);
  REQUIRE(x.shape() == Shape{2, 4});
  CHECK(x.at({0, 0}) == x.at({1, 0}));
  CHECK(x.at({0, 1}) == x.at({1, 0}));
  CHECK(x.at({1, 1}) == 0);
  CHECK_THAT(file_error([] { text_items({"two", {"yes"}, {0, 0}, {"a"}}); }), contains("2 labels for 1 texts"));
  CHECK_THAT(file_error([] { text_items({"two", {"yes"}, {1}, {"a"}}); }), contains("label 1 of 1 classes"));
}

TEST_CASE("generated requests say an action and a thing, and depend on their place alone", "[data]") {
  const LabelledTexts few = make_intents(Random(4), {.texts = 3}), more = make_intents(Random(4), {.texts = 12});
  REQUIRE(few.class_names.size() == 36);
  CHECK(few.class_names == more.class_names);
  CHECK(std::set<std::string>(few.class_names.begin(), few.class_names.end()).size() == 36);
  REQUIRE(few.texts.size() == 108);
  for (std::size_t i = 0; i < few.texts.size(); ++i) {
    CHECK(few.labels[i] == static_cast<std::int64_t>(i / 3));
    CHECK(few.texts[i] == more.texts[i / 3 * 12 + i % 3]);
  }
  CHECK(few.class_names[0] == "order card");
  for (std::size_t i = 0; i < 12; ++i) {  // what may be said for the two words of the first class
    const auto says = [&](const char* word) { return more.texts[i].find(word) != std::string::npos; };
    CHECK((says("order ") || says("request ") || says("get ")));
    CHECK((says(" card") || says("debit card") || says("plastic")));
  }
  CHECK(std::set<std::string>(more.texts.begin(), more.texts.begin() + 12).size() > 6);
  CHECK(make_intents(Random(4), {.domain = 1}).class_names[0] == "order flight");
  CHECK(make_intents(Random(5), {.texts = 12}).texts != more.texts);
  CHECK_THROWS_AS(make_intents(Random(1), {.domain = 2}), ValueError);
  CHECK_THROWS_AS(make_intents(Random(1), {.texts = -1}), ValueError);
}
