// Rules and the classifier that choose texts to train on, tagged [data].

#include "graft/data/text_filters.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"

using namespace graft;

namespace {

/// So many different words of five letters.
std::string words(int count, int first = 0) {
  std::string text;
  for (int i = first; i < first + count; ++i) {
    std::string word = "qaaaa";
    for (int digit = 1, rest = i; digit < 5; ++digit, rest /= 26) word[digit] += static_cast<char>(rest % 26);
    text += word + " ";
  }
  return text;
}
const std::string kGood = "The fox and the hen " + words(60);
std::vector<std::string> list(std::initializer_list<const char*> texts) { return {texts.begin(), texts.end()}; }

}  // namespace

TEST_CASE("a text that keeps all rules", "[data]") {
  CHECK(text_fault(kGood) == "");
  CHECK(text_fault("Der Fuchs und die Henne " + words(60), {.language = {"der", "die", "das", "und"}}) == "");
}

TEST_CASE("each rule names itself and the figure that breaks it", "[data]") {
  CHECK(text_fault("the fox and the hen") == "words: 5");
  CHECK(text_fault("") == "words: 0");
  CHECK(text_fault(kGood, {.most_words = 64}) == "words: 65");
  CHECK(text_fault(kGood, {.fewest_words = 65, .most_words = 65}) == "");
  std::string letters = "the and ";
  for (int i = 0; i < 60; ++i) letters += std::string(1, static_cast<char>('a' + i % 26)) + " ";
  CHECK_THAT(text_fault(letters), contains("mean length of words: 1.0"));
  CHECK_THAT(text_fault(kGood, {.longest_mean = 4}), contains("mean length of words: 4."));
  std::string digits = "the and ";
  for (int i = 0; i < 60; ++i) digits += std::to_string(10000 + i) + " ";
  CHECK_THAT(text_fault(digits), contains("share of words with letters: 0.03"));
  CHECK(text_fault(words(60)) == "stop words: 0");
  CHECK(text_fault("the the the " + words(60)) == "stop words: 1");
  CHECK_THAT(text_fault("Der Fuchs und die Henne " + words(60)), contains("stop words"));
  const std::string lines = kGood + "\n" + words(10, 100) + "\n" + words(10, 200) + "\n";
  CHECK(text_fault(lines + "\n\n" + words(10, 100)) == "");  // 1 of 4; blank lines do not count
  CHECK_THAT(text_fault(lines + words(10, 100) + "\n" + words(10, 200)), contains("share of repeated lines: 0.4"));
}

TEST_CASE("the commonest run of words, in letters of all letters", "[data]") {
  const TextFilterOptions o{.most_words = 1000, .most_common = {0, 0, 0}};
  // 100 different words and 10 times two others of 4 letters each: 80 of 587 letters, 7 of them of the two stop words.
  std::string text = "and have ";
  for (int i = 0; i < 10; ++i) text += words(10, 10 * i) + "xxxx yyyy ";
  CHECK_THAT(text_fault(text, o), contains("commonest two words: 0.1362"));
  TextFilterOptions two = o;
  two.most_common[0] = 80.0 / 587 + 1e-9;
  CHECK(text_fault(text, two) == "");  // no run of three or four words comes again
  two.most_common[0] -= 2e-9;
  CHECK_THAT(text_fault(text, two), contains("commonest two words"));
  std::string again = kGood + "one two three four " + words(4, 300) + "one two three four ";
  TextFilterOptions rest = o;
  rest.most_common[0] = 1;
  CHECK_THAT(text_fault(again, rest), contains("commonest three words"));
  rest.most_common[1] = 1;
  CHECK_THAT(text_fault(again, rest), contains("commonest four words"));
}

TEST_CASE("limits that no text can keep", "[data]") {
  CHECK_THROWS_WITH(text_fault("", {.fewest_words = 5, .most_words = 4}), contains("text_fault: 5 to 4 words"));
  CHECK_THROWS_AS(text_fault("", {.fewest_words = -1}), ValueError);
  CHECK_THROWS_AS(text_fault("", {.shortest_mean = NAN}), ValueError);
  CHECK_THROWS_AS(text_fault("", {.letters = 1.5}), ValueError);
  CHECK_THROWS_AS(text_fault("", {.most_common = {0.1, -0.1, 0.1}}), ValueError);
  CHECK_THROWS_WITH(text_fault("", {.language = {"der"}}), contains("2 stop words of a list of 1"));
}

TEST_CASE("the classifier is at the optimum of regularised logistic regression", "[data]") {
  // One text of one word each: by symmetry the weights are w and -w, and 0 = 2 l2 w - 1 / (1 + e^w).
  for (const double l2 : {1e-3, 0.1, 10.0}) {
    const QualityOptions o{.l2 = l2, .tolerance = 1e-10};
    const QualityClassifier quality = train_quality(list({"apple"}), list({"pear"}), o);
    const double good = quality("Apple apple!"), w = std::log(good / (1 - good));
    CHECK(std::abs(2 * l2 * w - 1 / (1 + std::exp(w))) < 1e-8);
    CHECK(quality("pear") == Approx(1 - good).epsilon(1e-8));
    CHECK(quality("plum") == Approx(0.5).epsilon(1e-8));
    CHECK(quality("") == Approx(0.5).epsilon(1e-8));
  }
}

TEST_CASE("each kind has half of the weight, and one bucket tells nothing", "[data]") {
  const auto few = list({"a b", "c d"}), others = list({"e f b", "h"});
  std::vector<std::string> many;
  for (int i = 0; i < 7; ++i) many.insert(many.end(), few.begin(), few.end());
  const QualityOptions o{.tolerance = 1e-9};
  const auto one = train_quality(few, others, o), seven = train_quality(many, others, o);
  for (const char* text : {"a", "b", "h f", "c e"}) CHECK(one(text) == Approx(seven(text)).epsilon(1e-6));
  CHECK(one("a") > one("b"));
  CHECK(one("b") > one("e"));
  CHECK(train_quality(few, others, {.buckets = 1})("a b c") == Approx(0.5).epsilon(1e-6));
}

TEST_CASE("what is no training", "[data]") {
  CHECK_THROWS_WITH(train_quality({}, list({"a"})), contains("train_quality: 0 good texts and 1 others"));
  CHECK_THROWS_AS(train_quality(list({"a"}), list({"b"}), {.buckets = 0}), ValueError);
  CHECK_THROWS_AS(train_quality(list({"a"}), list({"b"}), {.l2 = 0}), ValueError);
  CHECK_THROWS_AS(train_quality(list({"a"}), list({"b"}), {.iterations = 0}), ValueError);
  CHECK_THROWS_WITH(QualityClassifier()("a"), contains("QualityClassifier: called before it was trained"));
}

TEST_CASE("the chance of keeping a text is that of a Pareto draw above 1 - score", "[data]") {
  CHECK(keep_chance(1) == 1);
  CHECK(keep_chance(0) == std::pow(2.0, -9));
  CHECK(keep_chance(0.5, 0) == 1);
  // numpy.random.pareto(a) is (1 - u)^(-1 / a) - 1 of a uniform u.
  double kept = 0;
  for (std::uint64_t i = 0; i < 100000; ++i) kept += std::pow(1 - Random(3).uniform(i), -1.0 / 9) - 1 > 1 - 0.8;
  const double p = keep_chance(0.8);
  CHECK(std::abs(kept - 1e5 * p) < 5 * std::sqrt(1e5 * p * (1 - p)));
  CHECK_THROWS_AS(keep_chance(1.1), ValueError);
  CHECK_THROWS_AS(keep_chance(NAN), ValueError);
  CHECK_THROWS_AS(keep_chance(0.5, -1), ValueError);
}
