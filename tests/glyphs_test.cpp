// Generated characters, and files of characters in Omniglot's layout.

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "few_glyphs.hpp"
#include "files.hpp"
#include "graft/data/glyphs.hpp"

using namespace graft;

namespace {

namespace fs = std::filesystem;

const CharacterImages& default_glyphs() {
  static const CharacterImages data = make_glyphs();
  return data;
}

/// Squared Euclidean distance of two images, in units of full ink.
double distance(const CharacterImages& data, Index a, Index b) {
  const auto x = data.image(a), y = data.image(b);
  Index sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += (Index{x[i]} - y[i]) * (Index{x[i]} - y[i]);
  return static_cast<double>(sum) / (255.0 * 255.0);
}

/// Held-out characters, alphabet by alphabet.
std::vector<std::vector<Index>> held_out(const CharacterImages& data) {
  std::map<Index, std::vector<Index>> groups;
  for (Index c = 0; c < data.character_count(); ++c) {
    const auto at = static_cast<std::size_t>(c);
    if (data.split[at] == 1) groups[data.character_alphabet[at]].push_back(c);
  }
  std::vector<std::vector<Index>> list;
  for (auto& entry : groups) list.push_back(std::move(entry.second));
  return list;
}

/// Accuracy of the nearest pixel on 5-way 1-shot episodes with one query a class, drawn by another drawer than the
/// example. Each episode takes its five characters from one of `groups`.
double nearest_pixel(const CharacterImages& data, const std::vector<std::vector<Index>>& groups, Index drawers) {
  constexpr Index episodes = 2500, ways = 5;
  Index right = 0;
  for (Index e = 0; e < episodes; ++e) {
    const Random random = Random(7).stream("episode").stream(static_cast<std::uint64_t>(e));
    const auto& group = groups[random.stream("group").below(0, static_cast<Index>(groups.size()))];
    const auto chosen = random.stream("characters").permutation(static_cast<Index>(group.size()), ways);
    std::vector<Index> support, query;
    for (Index w = 0; w < ways; ++w) {
      const Index character = group[chosen[w]];
      const auto pair = random.stream("drawers").stream(static_cast<std::uint64_t>(w)).permutation(drawers, 2);
      support.push_back(character * drawers + pair[0]);
      query.push_back(character * drawers + pair[1]);
    }
    for (std::size_t q = 0; q < query.size(); ++q) {
      std::size_t best = 0;
      for (std::size_t s = 1; s < support.size(); ++s)
        if (distance(data, query[q], support[s]) < distance(data, query[q], support[best])) best = s;
      right += best == q;
    }
  }
  return static_cast<double>(right) / (episodes * ways);
}

/// The arrays of a file in Omniglot's layout.
std::map<std::string, Array> file_arrays(const CharacterImages& data) {
  const Index images = data.image_count(), characters = data.character_count();
  return {{"images", make_array(data.images, {images, data.height, data.width})},
          {"character_id", make_array(data.character_id, {images})},
          {"alphabet_id", make_array(data.alphabet_id, {images})},
          {"drawer_id", make_array(data.drawer_id, {images})},
          {"character_alphabet", make_array(data.character_alphabet, {characters})},
          {"vinyals_split", make_array(data.split, {characters})}};
}

}  // namespace

TEST_CASE("glyphs have the shapes that were asked for", "[data]") {
  const CharacterImages& data = default_glyphs();
  const GlyphOptions options;
  REQUIRE(data.alphabet_count() == options.alphabets);
  REQUIRE(data.height == 28);
  REQUIRE(data.width == 28);
  const Index characters = data.character_count(), images = characters * options.drawers;
  REQUIRE(data.image_count() == images);
  CHECK(static_cast<Index>(data.images.size()) == images * 28 * 28);
  CHECK(static_cast<Index>(data.alphabet_id.size()) == images);
  CHECK(static_cast<Index>(data.drawer_id.size()) == images);
  std::vector<Index> per_alphabet(options.alphabets);
  for (auto a : data.character_alphabet) ++per_alphabet.at(static_cast<std::size_t>(a));
  for (Index count : per_alphabet) {
    CHECK(count >= options.characters_min);
    CHECK(count <= options.characters_max);
  }
  bool consistent = true;
  for (Index i = 0; i < images; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto character = static_cast<std::size_t>(data.character_id[at]);
    consistent = consistent && data.character_id[at] == i / options.drawers &&
                 data.drawer_id[at] == i % options.drawers &&
                 data.alphabet_id[at] == data.character_alphabet[character];
  }
  CHECK(consistent);
}

TEST_CASE("the glyph split holds out whole alphabets, the last ones", "[data]") {
  const CharacterImages& data = default_glyphs();
  const GlyphOptions options;
  REQUIRE(data.split.size() == data.character_alphabet.size());
  for (std::size_t c = 0; c < data.split.size(); ++c)
    CHECK(data.split[c] == (data.character_alphabet[c] >= options.alphabets - options.test_alphabets ? 1 : 0));
  CHECK(held_out(data).size() == static_cast<std::size_t>(options.test_alphabets));
}

TEST_CASE("glyphs are ink on an empty ground", "[data]") {
  const CharacterImages& data = default_glyphs();
  double total = 0;
  for (Index i = 0; i < data.image_count(); ++i) {
    Index sum = 0, darkest = 0, empty = 0;
    for (Index value : data.image(i)) {
      sum += value;
      darkest = std::max(darkest, value);
      empty += value == 0;
    }
    const double ink = static_cast<double>(sum) / (255.0 * 784);
    total += ink;
    // At least a stroke of a few pixels, at most half of the page; Omniglot's mean is 0.08.
    if (!(ink > 0.005 && ink < 0.5 && darkest > 127 && empty > 784 / 3))
      FAIL_CHECK("image " << i << " has ink " << ink << ", darkest " << darkest << ", empty " << empty);
    // No line runs over the edge: the pixels on the border stay faint.
    for (Index k = 0; k < 28; ++k)
      for (Index at : {k, 27 * 28 + k, 28 * k, 28 * k + 27})
        if (data.image(i)[at] > 192) FAIL_CHECK("image " << i << " is cut off");
  }
  const double mean = total / static_cast<double>(data.image_count());
  CHECK(mean > 0.05);
  CHECK(mean < 0.2);
}

TEST_CASE("glyphs have the same bits on any number of threads", "[data]") {
  set_threads(1);
  const CharacterImages one = make_glyphs(few_glyphs());
  for (int count : {2, 3, 8}) {
    set_threads(count);
    const CharacterImages many = make_glyphs(few_glyphs());
    CHECK(many.images == one.images);
    CHECK(many.character_alphabet == one.character_alphabet);
  }
  set_threads(0);
}

TEST_CASE("a glyph depends on seed, alphabet, character and drawer only", "[data]") {
  const CharacterImages base = make_glyphs(few_glyphs());
  GlyphOptions options = few_glyphs();
  options.alphabets = 6;
  CHECK(std::equal(base.images.begin(), base.images.end(), make_glyphs(options).images.begin()));
  options = few_glyphs();
  options.drawers = 5;
  const CharacterImages more = make_glyphs(options);
  for (Index c = 0; c < base.character_count(); ++c)
    for (Index d = 0; d < 3; ++d) CHECK(std::ranges::equal(more.image(5 * c + d), base.image(3 * c + d)));
  options = few_glyphs();
  options.seed = 2;
  CHECK(make_glyphs(options).images != base.images);
  options = few_glyphs();
  options.variation = 0;
  const CharacterImages still = make_glyphs(options);
  for (Index i = 0; i < still.image_count(); ++i) CHECK(std::ranges::equal(still.image(i), still.image(i - i % 3)));
  for (Index i = 3; i < still.image_count(); i += 3)
    CHECK_FALSE(std::ranges::equal(still.image(i), still.image(i - 3)));
}

TEST_CASE("drawings of one character are nearer than drawings of two, in every alphabet", "[data]") {
  const CharacterImages& data = default_glyphs();
  const Index drawers = GlyphOptions().drawers;
  std::vector<double> same(30), other(30), same_count(30), other_count(30);
  for (Index c = 0; c < data.character_count(); ++c) {
    const auto a = static_cast<std::size_t>(data.character_alphabet[c]);
    for (Index d = 0; d + 1 < drawers; ++d) {
      same[a] += distance(data, c * drawers + d, c * drawers + d + 1);
      ++same_count[a];
      for (Index step = 1; step <= 3; ++step) {
        const Index neighbour = c + step;
        if (neighbour >= data.character_count() || data.character_alphabet[neighbour] != static_cast<Index>(a))
          continue;
        other[a] += distance(data, c * drawers + d, neighbour * drawers + d + 1);
        ++other_count[a];
      }
    }
  }
  for (std::size_t a = 0; a < 30; ++a) {
    INFO("alphabet " << a);
    CHECK(same[a] / same_count[a] < other[a] / other_count[a]);
  }
}

TEST_CASE("glyphs are neither easy nor hopeless for the nearest pixel", "[data]") {
  // The window is the generator's specification; chance is 0.2.
  const Index drawers = GlyphOptions().drawers;
  for (std::uint64_t seed : {1u, 5u}) {
    GlyphOptions options;
    options.seed = seed;
    const CharacterImages data = make_glyphs(options);
    const auto alphabets = held_out(data);
    std::vector<Index> all;
    for (const auto& group : alphabets) all.insert(all.end(), group.begin(), group.end());
    const double unstructured = nearest_pixel(data, {all}, drawers), within = nearest_pixel(data, alphabets, drawers);
    UNSCOPED_INFO("unstructured " << unstructured << ", within one alphabet " << within);
    CHECK(unstructured > 0.4);
    CHECK(unstructured < 0.8);
    CHECK(within > 0.4);
    CHECK(within < 0.8);
  }
}

TEST_CASE("glyph options out of range are refused", "[data]") {
  const auto refused = [](auto change, const std::string& text) {
    GlyphOptions options = few_glyphs();
    change(options);
    CHECK_THROWS_AS(make_glyphs(options), ValueError);
    CHECK_THROWS_WITH(make_glyphs(options), contains("make_glyphs") && contains(text));
  };
  refused([](GlyphOptions& o) { o.alphabets = 0; }, "alphabets is 0");
  refused([](GlyphOptions& o) { o.test_alphabets = 5; }, "test_alphabets is 5, expected 0 to 4");
  refused([](GlyphOptions& o) { o.characters_min = 0; }, "characters_min is 0");
  refused([](GlyphOptions& o) { o.characters_max = 4; }, "characters_max is 4, expected 5");
  refused([](GlyphOptions& o) { o.drawers = -1; }, "drawers is -1");
  refused([](GlyphOptions& o) { o.variation = -0.5; }, "variation is -0.5");
  refused([](GlyphOptions& o) { o.variation = std::nan(""); }, "variation is");
}

TEST_CASE("character files give back what was written", "[data]") {
  const Folder folder;
  const CharacterImages data = make_glyphs(few_glyphs());
  const std::string path = folder / "set.npz";
  write_npz(path, file_arrays(data));
  CharacterImages back = load_characters(path);
  CHECK(back.images == data.images);
  CHECK(back.height == 28);
  CHECK(back.width == 28);
  CHECK(back.character_id == data.character_id);
  CHECK(back.alphabet_id == data.alphabet_id);
  CHECK(back.drawer_id == data.drawer_id);
  CHECK(back.character_alphabet == data.character_alphabet);
  CHECK(back.split == data.split);
  CHECK(back.alphabet_names == std::vector<std::string>{"alphabet_0", "alphabet_1", "alphabet_2", "alphabet_3"});

  put(folder / "set_alphabets.txt", "Greek\r\nN_Ko\nLatin\nKorean\n");
  CHECK(load_characters(path).alphabet_names == std::vector<std::string>{"Greek", "N_Ko", "Latin", "Korean"});
  put(folder / "set_alphabets.txt", "Greek\nN_Ko\nLatin");
  CHECK_THROWS_AS(load_characters(path), FileError);
  CHECK_THROWS_WITH(load_characters(path), contains("set_alphabets.txt") && contains("3 names, 4 alphabets"));
  fs::remove(folder / "set_alphabets.txt");

  auto arrays = file_arrays(data);
  arrays.erase("vinyals_split");
  arrays["stroke_number"] = make_array(std::vector<std::int64_t>{1}, {1});  // not looked at
  write_npz(path, arrays);
  CHECK(load_characters(path).split.empty());
}

TEST_CASE("character files with wrong arrays are refused in one line", "[data]") {
  const Folder folder;
  const CharacterImages data = make_glyphs(few_glyphs());
  const std::string path = folder / "bad.npz";
  const auto refused = [&](const std::function<void(std::map<std::string, Array>&)>& change, const std::string& name,
                           const std::string& reason) {
    auto arrays = file_arrays(data);
    change(arrays);
    write_npz(path, arrays);
    INFO(name << ": " << reason);
    std::string message;
    try {
      load_characters(path);
    } catch (const FileError& error) {
      message = error.what();
    }
    CHECK_THAT(message, contains(path) && contains("'" + name + "'") && contains(reason));
    CHECK(message.find('\n') == std::string::npos);
  };
  const Index images = data.image_count(), characters = data.character_count();
  const auto with = [](std::vector<std::int64_t> ids, std::size_t at, std::int64_t value) {
    ids[at] = value;
    return make_array(ids, {static_cast<Index>(ids.size())});
  };
  using Arrays = std::map<std::string, Array>;
  for (const char* name : {"images", "character_id", "alphabet_id", "drawer_id", "character_alphabet"})
    refused([&](Arrays& a) { a.erase(name); }, name, "has no array");
  refused([&](Arrays& a) { a["images"].shape = {images * 28, 28}; }, "images", "shape");
  refused([&](Arrays& a) { a["images"].dtype = "|i1"; }, "images", "'|i1'");
  refused([&](Arrays& a) { a["images"] = Array{"|u1", {0, 28, 28}, {}, {}}; }, "images", "no pixels");
  refused([&](Arrays& a) { a["character_id"].shape = {images, 1}; }, "character_id", "shape");
  refused([&](Arrays& a) { a["drawer_id"] = make_array(std::vector<std::int64_t>{0}, {1}); }, "drawer_id", "shape");
  refused([&](Arrays& a) { a["alphabet_id"].dtype = "<f8"; }, "alphabet_id", "'<f8'");
  refused([&](Arrays& a) { a["vinyals_split"] = make_array(std::vector<std::int64_t>{0}, {1}); }, "vinyals_split",
          "shape");
  refused([&](Arrays& a) { a["vinyals_split"] = with(data.split, 2, 3); }, "vinyals_split", "element 2 is 3");
  refused([&](Arrays& a) { a["character_id"] = with(data.character_id, 4, characters); }, "character_id", "element 4");
  refused([&](Arrays& a) { a["character_id"] = with(data.character_id, 4, -1); }, "character_id", "element 4 is -1");
  refused([&](Arrays& a) { a["drawer_id"] = with(data.drawer_id, 1, -2); }, "drawer_id", "element 1 is -2");
  refused([&](Arrays& a) { a["character_alphabet"] = with(data.character_alphabet, 0, std::int64_t{1} << 40); },
          "character_alphabet", "element 0");
  refused([&](Arrays& a) { a["alphabet_id"] = with(data.alphabet_id, 0, 1); }, "alphabet_id", "image 0 has alphabet 1");
  refused(
      [&](Arrays& a) {
        std::vector<std::int64_t> ids = data.character_id;
        for (auto& id : ids) id = id == 1 ? 0 : id;  // both are of the first alphabet
        a["character_id"] = make_array(ids, {images});
      },
      "character_id", "character 1 has no image");
}
