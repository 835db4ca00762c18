// Records: their text is JSON of the form that all programs share, whatever the names in them hold.

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/evaluate/record.hpp"

using namespace graft;

TEST_CASE("text and numbers as JSON", "[evaluate]") {
  CHECK(json_text("plain") == "\"plain\"");
  CHECK(json_text("a \"b\" \\c\n\t\x01") == "\"a \\\"b\\\" \\\\c\\u000a\\u0009\\u0001\"");
  CHECK(json_text("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x99\x82") == "\"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x99\x82\"");
  CHECK(json_number(0.1) == "0.1");
  CHECK(json_number(-2) == "-2");
  CHECK(json_number(1e300) == "1e+300");
  for (double value : {1.0 / 3, std::nextafter(1.0, 2.0), std::numeric_limits<double>::denorm_min()})
    CHECK(std::strtod(json_number(value).c_str(), nullptr) == value);  // reads back as the same number
  CHECK(json_number(std::nan("")) == "null");
  CHECK(json_number(-std::numeric_limits<double>::infinity()) == "null");
}

TEST_CASE("what is UTF-8 and what is not", "[evaluate]") {
  // The boundaries of RFC 3629, section 4: overlong forms, surrogates, codes above U+10FFFF, cut sequences.
  for (const char* good : {"", "a", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
    CHECK(is_utf8(good));
  for (const char* bad : {"\x80", "\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82", "a\xC3("}) {
    CHECK_FALSE(is_utf8(bad));
    CHECK(is_utf8(json_text(bad)));
  }
  CHECK(json_text("r\xE9sum\xE9") == "\"r\xEF\xBF\xBDsum\xEF\xBF\xBD\"");
}

TEST_CASE("a record holds what it was told", "[evaluate]") {
  Record record("program");
  CHECK_THAT(record.text(), contains("\"options\": {},") && contains("\"results\": []"));
  record.option("ways", std::int64_t{5});
  record.option("rate", 0.5);
  record.option("quiet", true);
  record.option("data", std::string("caf\xE9.npz"));
  record.option("names", std::vector<std::string>{"a", "b"});
  CHECK_THROWS_WITH(record.option("ways", std::int64_t{6}), contains("'ways' is stated twice"));
  record.add_seed(std::numeric_limits<std::uint64_t>::max());
  record.add("method", "accuracy", {0.75, 0.125, 600}, 2.5);
  record.add({"method", "loss", std::nan(""), 0, 1, 0});
  const std::string text = record.text();
  INFO(text);
  CHECK(is_utf8(text));
  for (const char* part :
       {"\"program\": \"program\"", "\"ways\": 5", "\"rate\": 0.5", "\"quiet\": true",
        "\"data\": \"caf\xEF\xBF\xBD.npz\"", "\"names\": [\"a\", \"b\"]", "\"seeds\": [18446744073709551615]",
        "{\"name\": \"method\", \"metric\": \"accuracy\", \"value\": 0.75, \"ci95\": 0.125, \"n\": 600, \"seconds\": "
        "2.5}",
        "\"value\": null", "\"threads\": ", "\"machine\": \"", "\"seconds\": ", "\"peak_bytes\": "})
    CHECK_THAT(text, contains(part));
  CHECK(peak_bytes() > 1000000);

  const Folder folder;
  record.write(folder / "record.json");
  CHECK_THAT(bytes_of(folder / "record.json"), contains("\"ways\": 5"));
  CHECK(folder.files() == 1);
}

TEST_CASE("a card says what a run may be compared with", "[evaluate]") {
  Record record("program");
  CHECK_THAT(record.text(), !contains("card"));
  const ReproducibilityCard good{.data = {{"omniglot.npz", "9f86d081"}, {"a \"b\"", "1"}},
                                 .split = "1028 / 172 / 423 classes",
                                 .selection = "best validation",
                                 .transductive = true,
                                 .configurations = 20};
  const auto with = [&](auto change) {
    ReproducibilityCard card = good;
    change(card);
    Record("program").card(card);
  };
  CHECK_THROWS_WITH(with([](auto& card) { card.split = ""; }), contains("Record::card: split is empty"));
  CHECK_THROWS_WITH(with([](auto& card) { card.selection = ""; }), contains("selection is empty"));
  CHECK_THROWS_WITH(with([](auto& card) { card.configurations = 0; }), contains("configurations is 0"));
  CHECK_THROWS_WITH(with([](auto& card) { card.data[1].second = ""; }), contains("lacks a fingerprint"));
  CHECK_THROWS_WITH(with([](auto& card) { card.data[1].first = ""; }), contains("lacks a name"));
  CHECK_THROWS_WITH(with([](auto& card) { card.data[1].first = "omniglot.npz"; }), contains("is stated twice"));
  record.card(good);
  CHECK_THROWS_WITH(record.card(good), contains("the card is stated twice"));
  CHECK_THAT(record.text(), contains("\"card\": {\"data\": {\"omniglot.npz\": \"9f86d081\", \"a \\\"b\\\"\": \"1\"}, "
                                     "\"split\": \"1028 / 172 / 423 classes\", \"selection\": \"best validation\", "
                                     "\"transductive\": true, \"configurations\": 20},\n  \"results\": []"));
}
