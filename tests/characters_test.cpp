// Characters as classes of episodes: quarter turns, pools, what is trained on and what tests, suites and their figures.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/character_split.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/fewshot/nearest_support.hpp"
#include "graft/train/episodes.hpp"

using namespace graft;

namespace {

/// Every pixel of every image is drawn, so no two images are equal, whatever their turns.
CharacterImages noise(Index alphabets, Index characters, Index drawers, std::uint64_t seed = 1) {
  CharacterImages data;
  data.height = data.width = 16;
  for (Index a = 0; a < alphabets; ++a) {
    data.alphabet_names.push_back("alphabet " + std::to_string(a));
    for (Index c = 0; c < characters; ++c) {
      for (Index d = 0; d < drawers; ++d) {
        data.character_id.push_back(data.character_count());
        data.alphabet_id.push_back(a);
        data.drawer_id.push_back(d);
      }
      data.character_alphabet.push_back(a);
      data.split.push_back(a == alphabets - 1);
    }
  }
  const Random random(seed);
  for (Index i = 0; i < data.image_count() * 256; ++i)
    data.images.push_back(static_cast<std::uint8_t>(random.below(static_cast<std::uint64_t>(i), 256)));
  return data;
}
const auto every = [](Index) { return true; };

}  // namespace

TEST_CASE("a class is a character at a quarter turn", "[data]") {
  const CharacterClasses characters(noise(2, 3, 4), "noise");
  const ClassPool upright = characters.pool(false, every), turned = characters.pool(true, every);
  CHECK(upright.all == std::vector<Index>{0, 4, 8, 12, 16, 20});
  CHECK(turned.all.size() == 24);
  CHECK(upright.by_alphabet == std::vector<std::vector<Index>>{{0, 4, 8}, {12, 16, 20}});
  CHECK(upright.names == std::vector<std::string>{"alphabet 0", "alphabet 1"});
  const ClassPool second = characters.pool(false, [](Index c) { return c >= 4; });
  CHECK(second.names == std::vector<std::string>{"alphabet 1"});
  CHECK(second.all == std::vector<Index>{16, 20});

  // One image at all four turns: ink is pixel / 255, a counter-clockwise quarter takes (y, x) to (15 - x, y).
  const Episode<> episode = characters.items().episode({{8, 9, 10, 11}, {11, 11, 11, 11}, {}, {0, 1, 2, 3}});
  CHECK(episode.support.x.shape() == Shape{4, 16, 16, 1});
  CHECK(episode.query.x.shape() == Shape{0, 16, 16, 1});
  CHECK(same_bits(episode.support.y, tensor<std::int64_t>({0, 1, 2, 3})));
  const auto pixels = characters.images().image(11);
  for (Index y = 0; y < 16; ++y)
    for (Index x = 0; x < 16; ++x) {
      const float ink = static_cast<float>(pixels[16 * y + x]) * (1.0f / 255);
      if (episode.support.x.at({0, y, x, 0}) != ink) FAIL_CHECK(y << " " << x);
    }
  for (Index turn = 0; turn < 4; ++turn)
    for (Index y = 0; y < 16; ++y)
      for (Index x = 0; x < 16; ++x)
        if (episode.support.x.at({(turn + 1) % 4, 15 - x, y, 0}) != episode.support.x.at({turn, y, x, 0}))
          FAIL_CHECK(turn << " " << y << " " << x);
}

TEST_CASE("sets of characters check what they are given", "[data]") {
  const auto refused = [](auto change) {
    CharacterImages data = noise(2, 3, 4);
    change(data);
    return refusal("here", [&] { CharacterClasses(std::move(data), "here"); });
  };
  CHECK_THAT(refused([](auto& d) { d.images.pop_back(); }), contains("pixels"));
  CHECK_THAT(refused([](auto& d) { d.height = 8, d.width = 32; }), contains("8 x 32"));
  CHECK_THAT(refused([](auto& d) { d.character_id[3] = 6; }), contains("character id"));
  CHECK_THAT(refused([](auto& d) { d.character_alphabet[3] = -1; }), contains("alphabet id"));
  CHECK_THAT(refused([](auto& d) { d.split.pop_back(); }), contains("split"));
  CHECK_THAT(refused([](auto& d) { d.drawer_id.pop_back(); }), contains("drawers"));
  CHECK_THAT(refused([](auto& d) { d.drawer_id[5] = -1; }), contains("drawers"));
  CHECK_THAT(refused([](auto& d) { d.alphabet_id.clear(); }), contains("an image's alphabet"));
  CHECK_THAT(refused([](auto& d) { d.alphabet_id[0] = 1; }), contains("an image's alphabet"));

  const CharacterClasses characters(noise(2, 3, 4), "here");
  CHECK_THROWS_AS(characters.images().image(24), IndexError);
  CHECK_THROWS_AS(characters.images().image(-1), IndexError);
  CHECK_THROWS_AS(characters.items().episode({{0}, {24}, {}, {0}}), IndexError);
  CHECK_THROWS_AS(characters.items().episode({{0}, {1}, {}, {1}}), IndexError);
  CHECK_THROWS_AS(characters.items().episode({{0, 4}, {1}, {}, {}}), ValueError);
  CHECK_THAT(refusal("here",
                     [&] {
                       characters.items().check("training", {24}, {1, 1, 1}, "all");
                     }),
             contains("no class 24"));
  CHECK_THAT(refusal("here",
                     [&] {
                       characters.items().check("test", {0, 4}, {3, 1, 1}, "the set");
                     }),
             contains("impossible test episodes: 3 ways") && contains("the set has 2"));
  CHECK_THAT(refusal("here",
                     [&] {
                       characters.items().check("test", {0, 4}, {2, 3, 2}, "the set");
                     }),
             contains("3 shots and 2 queries") && contains("character 0 of alphabet 0 has 4 items"));
  CHECK_THAT(refusal("here",
                     [&] {
                       characters.check("training", characters.pool(false, every), {4, 1, 1});
                     }),
             contains("alphabet alphabet 0 has 3"));
}

TEST_CASE("fingerprints tell what changed", "[data]") {
  const CharacterImages data = noise(2, 3, 4);
  const auto changed = [&](auto change) {
    CharacterImages other = data;
    change(other);
    std::string names;
    const auto before = fingerprints(data), after = fingerprints(other);
    for (std::size_t i = 0; i < before.size(); ++i)
      if (before[i] != after[i]) names += before[i].first + ";";
    return names;
  };
  CHECK(changed([](auto&) {}).empty());
  CHECK(changed([](auto& d) { d.images[100] ^= 1; }) == "images;");
  CHECK(changed([](auto& d) { d.height = 8, d.width = 32; }) == "images;");
  CHECK(changed([](auto& d) { d.character_id[0] = 1; }) == "labels;");
  CHECK(changed([](auto& d) { d.character_alphabet[0] = 1; }) == "labels;");
  CHECK(changed([](auto& d) { d.split[0] = 1; }) == "split;");
  CHECK(changed([](auto& d) { d.alphabet_names[0] += "x"; }) == "alphabet names;");
  CHECK(alphabet_names_file("a/b.npz") == "a/b_alphabets.txt");
  CHECK(alphabet_names_file("a/b") == "a/b_alphabets.txt");
}

TEST_CASE("training, validation and test hold whole alphabets apart", "[data]") {
  const CharacterSplit split = split_characters(noise(6, 3, 4), "noise");
  CHECK(split.tasks.names == std::vector<std::string>{"alphabet 0", "alphabet 1"});
  CHECK(split.tasks.all.size() == 2 * 3 * 4);
  CHECK(split.validation.names == std::vector<std::string>{"alphabet 2", "alphabet 3", "alphabet 4"});
  CHECK(split.unseen.names == std::vector<std::string>{"alphabet 5"});
  CHECK_THAT(split.text(), contains("2 training alphabets with 24 classes") && contains("9 characters for validation"));
  const CharacterSplit chosen = split_characters(noise(6, 3, 4), "noise", {"alphabet 1"});
  CHECK(chosen.validation.names == std::vector<std::string>{"alphabet 1"});
  CHECK(chosen.tasks.names.size() == 4);
  // With a test of its own, all alphabets are trained on.
  const CharacterSplit two = split_characters(noise(6, 3, 4), "noise", {}, CharacterClasses(noise(1, 5, 4, 2), "test"));
  CHECK(two.tasks.names.size() == 3);
  CHECK(two.unseen.all.size() == 5);

  const auto refused = [](const std::string& source, auto run) { return refusal(source, run); };
  CharacterImages none = noise(6, 3, 4);
  none.split.clear();
  CHECK_THAT(refused("noise", [&] { split_characters(none, "noise"); }), contains("vinyals_split"));
  CHECK_THAT(refused("noise", [] { split_characters(noise(2, 3, 4), "noise"); }), contains("two training alphabets"));
  CHECK_THAT(refused("noise",
                     [] {
                       split_characters(noise(3, 3, 4), "noise", {"alphabet 0", "alphabet 1"});
                     }),
             contains("no alphabet is left"));
  CHECK_THAT(refused("noise", [] { split_characters(noise(3, 3, 4), "noise", {"alphabet 2"}); }),
             contains("'alphabet 2'"));
  none.split.assign(18, 0);
  CHECK_THAT(refused("noise", [&] { split_characters(none, "noise"); }), contains("no character of split 1"));
}

TEST_CASE("characters that are trained on are not tested on", "[data]") {
  const CharacterImages data = noise(3, 3, 4);
  const CharacterClasses seen(data, "seen");
  const std::vector<Index> all = seen.pool(false, every).all;
  CHECK(shared_characters(seen, all, seen, all) == 9);
  CHECK(shared_characters(seen, {0, 1, 2, 3, 4}, seen, all) == 2);  // turns do not matter
  CHECK(shared_characters(seen, {}, seen, all) == 0);
  CHECK(shared_characters(seen, all, CharacterClasses(noise(3, 3, 4, 2), "other"), all) == 0);
  CHECK_THROWS_AS(shared_characters(seen, {36}, seen, all), IndexError);
  // Two of the four images of character 7 are those of character 0, then only one.
  CharacterImages other = noise(3, 3, 4, 2);
  const auto copy = [&](Index from, Index to) {
    std::copy_n(data.images.begin() + from * 256, 256, other.images.begin() + to * 256);
  };
  copy(1, 28);
  CHECK(shared_characters(seen, all, CharacterClasses(other, "other"), all) == 0);
  copy(3, 30);
  CHECK(shared_characters(seen, all, CharacterClasses(other, "other"), all) == 1);
  CHECK(shared_characters(seen, {4}, CharacterClasses(other, "other"), all) == 0);
  CHECK_THAT(refusal("other", [&] { split_characters(data, "data", {}, CharacterClasses(other, "other")); }),
             contains("1 of the 9 characters") && contains("data"));
  // Two images of two different characters make none of them this one.
  other = noise(3, 3, 4, 2);
  copy(0, 28);
  copy(4, 29);
  CHECK(shared_characters(seen, all, CharacterClasses(other, "other"), all) == 0);
}

TEST_CASE("suites hold both kinds of episodes, and figures come in their order", "[data][threads]") {
  const CharacterClasses characters(noise(3, 4, 5), "noise");
  const ClassPool pool = characters.pool(false, every);
  const EpisodeOptions sizes{.ways = 3, .shots = 2, .queries = 3};
  const EpisodeSuite suite = draw_suite("test", characters, pool, sizes, 20, Random(1));
  REQUIRE(suite[0].size() == 20);
  REQUIRE(suite[1].size() == 20);
  std::set<Index> alphabets;
  for (const EpisodeIndices& episode : suite[1]) {
    for (Index c : episode.classes) CHECK(c / 16 == episode.classes[0] / 16);  // four characters of four turns
    alphabets.insert(episode.classes[0] / 16);
  }
  CHECK(alphabets.size() == 3);
  CHECK(draw_suite("test", characters, pool, sizes, 0, Random(1))[0].empty());
  CHECK_THROWS_AS(draw_suite("test", characters, pool, sizes, -1, Random(1)), ValueError);
  CHECK_THAT(refusal("noise",
                     [&] {
                       draw_suite("test", characters, pool, {5, 1, 1}, 1, Random(1));
                     }),
             contains("no alphabet has so many"));

  const auto first_pixel = [](const Episode<>& episode) { return double(episode.support.x.at({0, 0, 0, 0})); };
  set_threads(1);
  const auto one = episode_figures(characters, suite, first_pixel);
  set_threads(3);
  CHECK(episode_figures(characters, suite, first_pixel) == one);
  set_threads(0);
  for (std::size_t i = 0; i < 20; ++i) CHECK(one[0][i] == first_pixel(characters.items().episode(suite[0][i])));
  CHECK(mean_figure({{1, 2}, {4, 4, 4}}) == Approx(0.5 * 1.5 + 0.5 * 4));
  StopFlag stop;
  CHECK(episode_figures(characters, suite, first_pixel, &stop) == one);
  stop.request();
  CHECK_THROWS_AS(episode_figures(characters, suite, first_pixel, &stop), Stopped);
  // A learner that gives every query the same logits is right on the queries of the class that it prefers.
  const auto first = [](const Episode<>& episode, Context&) {
    std::vector<float> logits(3 * episode.query.x.size(0));
    for (std::size_t i = 0; i < logits.size(); i += 3) logits[i] = 1;
    return from_vector(logits, {episode.query.x.size(0), 3});
  };
  for (const auto& kind : episode_accuracies(first, characters, suite))
    for (double share : kind) CHECK(share == Approx(1.0 / 3));
}

TEST_CASE("the nearest support item by pixels", "[data][fewshot]") {
  // Queries 0.2 and 5 of supports 0, 1, 4 with labels 7, 8, 9; 0.5 ties and goes to the earlier item.
  const Episode<double> episode{{tensor<double>({{0}, {1}, {4}}), tensor<std::int64_t>({7, 8, 9})},
                                {tensor<double>({{0.2}, {5}, {0.5}}), {}},
                                10};
  CHECK(same_bits(nearest_support(episode), tensor<std::int64_t>({7, 9, 7})));
  Episode<double> wrong = episode;
  wrong.support.y = tensor<std::int64_t>({7, 8});
  CHECK_THROWS_AS(nearest_support(wrong), ShapeError);
  wrong = episode;
  wrong.query.x = tensor<double>({{1, 2}});
  CHECK_THROWS_AS(nearest_support(wrong), ShapeError);
  wrong.query.x = wrong.support.x = zeros<double>({0, 1});
  wrong.support.y = zeros<std::int64_t>({0});
  CHECK_THROWS_AS(nearest_support(wrong), ValueError);
}

TEST_CASE("accuracy counts the first largest logit", "[evaluate]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const Tensor<> logits =
      tensor<float>({{1, 2, 3}, {3, 3, 1}, {3, 3, 1}, {-inf, -inf, -inf}, {nan, 5, 1}, {1, 5, nan}, {2, inf, 1}});
  const auto share = [&](std::vector<std::int64_t> labels) { return accuracy(logits, from_vector(labels)); };
  CHECK(share({2, 0, 0, 0, 1, 1, 1}) == Approx(5.0 / 7));  // a NaN in the row: wrong
  CHECK(share({1, 1, 1, 1, 0, 2, 0}) == 0);
  CHECK_THROWS_AS(share({3, 0, 0, 0, 0, 0, 0}), IndexError);
  CHECK_THROWS_AS(share({-1, 0, 0, 0, 0, 0, 0}), IndexError);
  CHECK_THROWS_AS(share({0}), ShapeError);
  CHECK_THROWS_AS(accuracy(zeros({0, 3}), zeros<std::int64_t>({0})), ValueError);
  const auto labels = tensor<std::int64_t>({1, 2, 3, 4});
  CHECK(accuracy(tensor<std::int64_t>({1, 2, 0, 4}), labels) == 0.75);
  CHECK_THROWS_AS(accuracy(tensor<std::int64_t>({1}), labels), ShapeError);
}
