// Near duplicates of texts, tagged [data]: MinHash, its estimate, and what is kept.

#include "graft/data/near_duplicates.hpp"

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "catch.hpp"

using namespace graft;

namespace {

using Set = std::vector<std::uint64_t>;
/// The numbers first .. last - 1, spread over 64 bits.
Set numbers(std::uint64_t first, std::uint64_t last) {
  Set set;
  for (std::uint64_t i = first; i < last; ++i) set.push_back(Random(9).bits(i));
  std::sort(set.begin(), set.end());
  return set;
}
/// Words w_first .. w_(last - 1), unknown elsewhere by `name`.
std::string words(const std::string& name, int first, int last) {
  std::string text;
  for (int i = first; i < last; ++i) text += name + std::to_string(i) + " ";
  return text;
}
NearDuplicates found(const std::vector<std::string>& texts, const DuplicateOptions& o = {}) {
  return near_duplicates(texts, o);
}

}  // namespace

TEST_CASE("shingles are the different runs of words, in lower case and without punctuation", "[data]") {
  CHECK(shingles_of("a b c d e f").size() == 2);
  CHECK(shingles_of("a b c d e").size() == 1);
  CHECK(shingles_of("a b").size() == 1);
  CHECK(shingles_of(" ,. ").empty());
  CHECK(shingles_of("a a a a a a a a").size() == 1);
  CHECK(shingles_of("The old fox, the HEN.", {.shingle = 2}) == shingles_of("the OLD fox the hen", {.shingle = 2}));
  CHECK(shingles_of("a b", {.shingle = 2}) != shingles_of("b a", {.shingle = 2}));
  CHECK(shingles_of("ab c", {.shingle = 2}) != shingles_of("a bc", {.shingle = 2}));
  const Set set = shingles_of("f e d c b a g f e d c", {.shingle = 1});
  CHECK(set.size() == 7);
  CHECK(std::is_sorted(set.begin(), set.end()));
  CHECK_THROWS_WITH(shingles_of("a", {.shingle = 0}), contains("graft: shingles_of: shingles of 0 words"));
}

TEST_CASE("the Jaccard index", "[data]") {
  CHECK(jaccard(numbers(0, 6), numbers(4, 10)) == 0.2);
  CHECK(jaccard(numbers(0, 5), numbers(0, 5)) == 1);
  CHECK(jaccard(numbers(0, 5), numbers(5, 6)) == 0);
  CHECK(jaccard(Set{}, Set{}) == 1);
  CHECK(jaccard(Set{}, numbers(0, 1)) == 0);
}

TEST_CASE("signatures estimate the Jaccard index without bias, with variance J (1 - J) / hashes", "[data]") {
  for (const auto& [a, b, j] :
       {std::tuple(numbers(0, 40), numbers(20, 60), 1.0 / 3), {numbers(0, 50), numbers(5, 50), 0.9}}) {
    constexpr int repeats = 400;
    double sum = 0, squares = 0;
    for (int seed = 0; seed < repeats; ++seed) {
      const DuplicateOptions o{.seed = static_cast<std::uint64_t>(seed)};
      const double e = estimated_jaccard(min_hash(a, o), min_hash(b, o));
      sum += e;
      squares += (e - j) * (e - j);
    }
    const double variance = j * (1 - j) / 128;
    CHECK(std::abs(sum / repeats - j) < 5 * std::sqrt(variance / repeats));
    CHECK(std::abs(squares / repeats - variance) < 5 * variance * std::sqrt(2.0 / repeats));
  }
  CHECK(estimated_jaccard(min_hash(numbers(0, 9)), min_hash(numbers(0, 9))) == 1);
  CHECK(min_hash(Set{}) == Set(128, std::numeric_limits<std::uint64_t>::max()));
  CHECK_THROWS_AS(estimated_jaccard(Set{1}, Set{1, 2}), ShapeError);
  CHECK_THROWS_AS(estimated_jaccard(Set{}, Set{}), ShapeError);
}

TEST_CASE("exact duplicates are left out, the first is kept", "[data]") {
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) texts.push_back(words("t" + std::to_string(i % 100) + "x", 0, 5 + i % 100));
  texts[150] = "  " + texts[150] + "!";  // the same words
  const NearDuplicates result = found(texts);
  std::vector<Index> first(100);
  std::iota(first.begin(), first.end(), Index{0});
  CHECK(result.kept == first);
  for (Index i = 0; i < 300; ++i) CHECK(result.original[i] == i % 100);
}

TEST_CASE("the threshold tells a constructed pair", "[data]") {
  // 10 words each, 9 of them common: 9 of 11 single words; 8 of 10 runs of two words are not broken by another last
  // word.
  const std::vector<std::string> pair{words("w", 0, 10), words("w", 0, 9) + "other"};
  CHECK(found(pair, {.shingle = 1, .threshold = 9.0 / 11}).kept == std::vector<Index>{0});
  CHECK(found(pair, {.shingle = 1, .threshold = 9.0 / 11 + 1e-9}).kept == std::vector<Index>{0, 1});
  CHECK(found(pair, {.shingle = 2, .threshold = 0.8}).kept == std::vector<Index>{0});
  CHECK(found(pair, {.shingle = 2, .threshold = 0.81}).kept == std::vector<Index>{0, 1});
  CHECK(found(pair, {.threshold = 1}).kept == std::vector<Index>{0, 1});
}

TEST_CASE("what is kept is what comparing all with all would keep", "[data]") {
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) {  // 20 families of 100 words, up to 14 of which each member changes
    std::string text;
    const Random draws = Random(4).stream(static_cast<std::uint64_t>(i));
    const auto changes = draws.stream("which").permutation(100, draws.stream("number").below(0, 15));
    for (Index w = 0; w < 100; ++w)
      text += (std::find(changes.begin(), changes.end(), w) == changes.end() ? "f" + std::to_string(i % 20)
                                                                             : "i" + std::to_string(i)) +
              "w" + std::to_string(w) + " ";
    texts.push_back(text);
  }
  const DuplicateOptions o{.shingle = 1};
  std::vector<Index> kept;
  for (Index i = 0; i < 200; ++i) {
    const auto set = [&](Index n) { return shingles_of(texts[n], o); };
    if (std::none_of(kept.begin(), kept.end(), [&](Index k) { return jaccard(set(i), set(k)) >= o.threshold; }))
      kept.push_back(i);
  }
  CHECK(kept.size() > 20);
  CHECK(kept.size() < 180);
  for (const int threads : {1, 3}) {
    set_threads(threads);
    CHECK(found(texts, o).kept == kept);
  }
}

TEST_CASE("of pairs with a share J in common, 1 - (1 - J^rows)^bands are found", "[data]") {
  double pairs = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "p" + std::to_string(i) + "w";
    pairs += found({words(name, 0, 20), words(name, 10, 30)}, {.shingle = 1, .threshold = 0.3}).kept.size() == 1;
  }
  const double p = 1 - std::pow(1 - std::pow(1.0 / 3, 4), 32);
  CHECK(std::abs(pairs - 1000 * p) < 5 * std::sqrt(1000 * p * (1 - p)));
}

TEST_CASE("no texts, texts without words, and options that say nothing", "[data]") {
  CHECK(found({}).kept.empty());
  CHECK(found({"", "a b", " . "}).kept == std::vector<Index>{0, 1});
  CHECK_THROWS_WITH(found({"a"}, {.threshold = 0}), contains("near_duplicates: threshold is 0"));
  CHECK_THROWS_AS(found({"a"}, {.threshold = NAN}), ValueError);
  CHECK_THROWS_AS(found({"a"}, {.threshold = 1.1}), ValueError);
  CHECK_THROWS_WITH(found({"a"}, {.hashes = 100, .bands = 32}), contains("32 bands do not divide 100 hashes"));
  CHECK_THROWS_AS(found({"a"}, {.bands = 0}), ValueError);
  CHECK_THROWS_AS(min_hash(Set{}, {.hashes = 0}), ValueError);
}
