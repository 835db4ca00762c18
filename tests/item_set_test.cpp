// Sets of items: episodes of vectors, images, numbers; unlabelled items; what is refused before training; embeddings
// that are computed once.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "gap.hpp"
#include "graft/data/character_folds.hpp"
#include "graft/data/episode_suite.hpp"
#include "graft/data/item_set.hpp"
#include "graft/data/notions.hpp"

using namespace graft;

namespace {

/// Item i is (i, 10 i), of class i % classes.
ItemSet pairs(Index count, Index classes) {
  const Tensor<> x = generate({count, 2}, [](Index i, Index k) { return static_cast<float>(k == 0 ? i : 10 * i); });
  return vector_items(x, generate({count}, [classes](Index i) { return i % classes; }), {}, "pairs");
}

/// Characters of 16 pixels a side whose first three pixels are their character, drawer and alphabet.
CharacterClasses labelled_characters(Index alphabets, Index characters, Index drawers) {
  CharacterImages data;
  data.height = data.width = 16;
  for (Index a = 0; a < alphabets; ++a) {
    data.alphabet_names.push_back("a" + std::to_string(a));
    for (Index c = 0; c < characters; ++c) {
      data.character_alphabet.push_back(a);
      for (Index d = 0; d < drawers; ++d) {
        std::vector<std::uint8_t> image(256);
        image[0] = 255;
        image[1] = static_cast<std::uint8_t>(a * characters + c + 1);
        image[2] = static_cast<std::uint8_t>(d + 1);
        image[3] = static_cast<std::uint8_t>(a + 1);
        data.images.insert(data.images.end(), image.begin(), image.end());
        data.character_id.push_back(a * characters + c);
        data.alphabet_id.push_back(a);
        data.drawer_id.push_back(d);
      }
    }
  }
  return CharacterClasses(data, "labelled");
}

}  // namespace

TEST_CASE("an episode of a set holds the items that were drawn", "[data]") {
  const ItemSet set = pairs(60, 6);
  CHECK(set.classes() == 6);
  CHECK(set.name(2) == "class 2");
  const EpisodeIndices drawn =
      set.draw(set.all_classes(), {.ways = 3, .shots = 2, .queries = 3, .unlabelled = 2, .distractors = 1}, Random(5));
  const Episode<> episode = set.episode(drawn);
  CHECK(episode.ways == 3);
  REQUIRE(episode.support.x.shape() == Shape{6, 2});
  REQUIRE(episode.query.x.shape() == Shape{9, 2});
  REQUIRE(episode.unlabelled.shape() == Shape{8, 2});
  for (Index i = 0; i < 6; ++i) {
    const auto item = static_cast<Index>(episode.support.x.at({i, 0}));
    CHECK(item == drawn.support[i]);
    CHECK(item % 6 == drawn.classes[episode.support.y.at({i})]);
  }
  for (Index i = 0; i < 8; ++i) CHECK(static_cast<Index>(episode.unlabelled.at({i, 0})) == drawn.unlabelled[i]);
  EpisodeIndices wrong = drawn;
  wrong.query_labels.pop_back();
  CHECK_THROWS_AS(set.episode(wrong), ValueError);
  wrong = drawn;
  wrong.support_labels[0] = 3;
  CHECK_THROWS_AS(set.episode(wrong), IndexError);
  wrong = drawn;
  wrong.others.clear();
  CHECK_THROWS_AS(set.episode(wrong), ValueError);
}

TEST_CASE("images are averaged to the size of the model", "[data]") {
  std::vector<std::uint8_t> images(2 * 4 * 4);
  for (std::size_t i = 0; i < 16; ++i) images[i] = static_cast<std::uint8_t>(i < 8 ? 255 : 0);
  const ItemSet set = image_items(images, 4, 4, 2, tensor<std::int64_t>({0, 1}), {"half", "blank"});
  CHECK(set.name(0) == "half");
  const Episode<> episode = set.episode({{0, 1}, {0, 1}, {}, {0, 1}});
  REQUIRE(episode.support.x.shape() == Shape{2, 2, 2, 1});
  // The upper half of the first image is ink.
  CHECK(gap(reshape(episode.support.x, {8}), tensor<float>({1, 1, 0, 0, 0, 0, 0, 0})) < 1e-6);
  CHECK_THAT(refusal("photos", [&] { image_items(images, 5, 5, 2, tensor<std::int64_t>({0}), {}, "photos"); }),
             contains("32 bytes are no images of 5 x 5 pixels"));
}

TEST_CASE("numbers of nodes are items; those without a label are in no class", "[data]") {
  const ItemSet set = number_items(tensor<std::int64_t>({1, 0, -1, 1}), {"left", "right"}, "graph");
  CHECK(set.items[0].size() == 1);
  CHECK(set.items[1].size() == 2);
  const Episode<> episode = set.episode({{1}, {0, 3}, {}, {0, 0}});
  CHECK(same_bits(episode.support.x, tensor<float>({{0}, {3}})));
  CHECK_THROWS_AS(set.inputs(std::vector<Index>{4}, std::vector<Index>{0}), IndexError);
  CHECK_THAT(refusal("graph",
                     [&] {
                       number_items(tensor<std::int64_t>({2}), {"left", "right"}, "graph");
                     }),
             contains("item 0 has label 2 of 2 classes"));
}

TEST_CASE("token ids are items of whole numbers", "[data]") {
  const ItemSet set =
      token_items(tensor<std::int64_t>({{5, 0}, {16777215, 7}}), tensor<std::int64_t>({1, 0}), {"a", "b"}, "texts");
  // The largest number below 2^24 keeps its last bit.
  const Episode<> episode = set.episode({{0, 1}, {1, 0}, {}, {0, 1}});
  CHECK(same_bits(cast<std::int64_t>(episode.support.x), tensor<std::int64_t>({{16777215, 7}, {5, 0}})));
  for (const std::int64_t id : {std::int64_t{-1}, std::int64_t{1} << 24})
    CHECK_THAT(refusal("texts",
                       [&] {
                         token_items(tensor<std::int64_t>({{0, id}}), tensor<std::int64_t>({0}), {}, "texts");
                       }),
               contains("number 1 of its ids is " + std::to_string(id)));
}

TEST_CASE("classes that belong together make episodes of their own", "[data]") {
  const ItemSet set = pairs(80, 8);
  const ClassPool pool = group_classes(set, {1, 0, 1, -1, 0, 1, 3, 1}, {"left", "right", "nobody", "small"});
  CHECK(pool.names == std::vector<std::string>{"left", "right", "small"});
  CHECK(pool.by_alphabet == std::vector<std::vector<Index>>{{1, 4}, {0, 2, 5, 7}, {6}});
  CHECK(pool.all == std::vector<Index>{1, 4, 0, 2, 5, 7, 6});
  const EpisodeSuite suite = draw_suite("test", set, pool, {.ways = 3, .shots = 1, .queries = 2}, 30, Random(1));
  for (const EpisodeIndices& drawn : suite[1])
    for (const Index c : drawn.classes)
      CHECK(std::find(pool.by_alphabet[1].begin(), pool.by_alphabet[1].end(), c) != pool.by_alphabet[1].end());
  for (const EpisodeIndices& drawn : suite[0])
    CHECK(std::find(drawn.classes.begin(), drawn.classes.end(), 3) == drawn.classes.end());
  // Three ways and two distractors need five classes, which no group has.
  CHECK_THAT(refusal("pairs",
                     [&] {
                       draw_suite("test", set, pool, {.ways = 3, .shots = 1, .queries = 2, .distractors = 2}, 1,
                                  Random(1));
                     }),
             contains("no alphabet has so many"));
  CHECK_THAT(refusal("pairs", [&] { group_classes(set, {0, 0}, {"a"}); }), contains("2 groups are given for 8"));
  CHECK_THAT(refusal("pairs", [&] { group_classes(set, std::vector<Index>(8, 1), {"a"}); }),
             contains("class 0 is of group 1 of 1"));
}

TEST_CASE("what episodes cannot be made of is refused before training", "[data]") {
  const ItemSet set = pairs(20, 6);  // classes 0 and 1 have four items, the others three
  const auto refused = [&](const std::vector<Index>& of, const EpisodeOptions& o) {
    return refusal("pairs", [&] { set.check("training", of, o, "task 7"); });
  };
  CHECK_THAT(refused({0, 1}, {.ways = 3, .shots = 1, .queries = 1}), contains("3 ways, but task 7 has 2 classes"));
  CHECK_THAT(refused({0, 1, 2}, {.ways = 2, .shots = 1, .queries = 1, .unlabelled = 1, .distractors = 2}),
             contains("2 ways and 2 distractors"));
  CHECK_THAT(refused({0, 1, 2}, {.ways = 2, .shots = 2, .queries = 2}), contains("class 2 has 3 items"));
  CHECK_THAT(refused({0, 1, 2}, {.ways = 2, .shots = 1, .queries = 1, .unlabelled = 2}), contains("and 2 unlabelled"));
  CHECK_THAT(refused({0, 1}, {.ways = 2, .shots = 1, .queries = 2, .concentration = 2}), contains("4 queries"));
  CHECK_THAT(refused({6}, {.ways = 1, .shots = 1, .queries = 1}), contains("no class 6, only 6"));
  CHECK_THAT(refused({0, 1, 0}, {.ways = 2, .shots = 1, .queries = 1}), contains("task 7 lists class 0 twice"));
  CHECK_THROWS_WITH(set.check("training", {0, 1}, {.ways = 0}, "task 7"),
                    contains("training episodes") && contains("ways >= 1"));
  const Index most = std::numeric_limits<Index>::max();
  CHECK_THAT(refused({0, 1}, {.ways = most, .shots = 1, .queries = 1, .distractors = most}), contains("has 2 classes"));
  CHECK_THAT(refused({0, 1}, {.ways = 1, .shots = most, .queries = most}), contains("class 0 has 4 items"));
  const ItemSet one = vector_items(zeros({3, 2}), tensor<std::int64_t>({0, 0, 1}), {"many", "lone"}, "ones");
  CHECK_THAT(refusal("ones", [&] { one.check("test", {0, 1}, {2, 1, 1}, "it"); }), contains("lone has 1 item"));
  CHECK_THAT(refusal("pairs",
                     [&] {
                       check_disjoint(set, {0, 1, 2}, {3, 2});
                     }),
             contains("class class 2 is both trained on and tested"));
  check_disjoint(set, {0, 1, 2}, {3, 4});
  CHECK_THAT(refusal("bad",
                     [&] {
                       vector_items(tensor<float>({{0, 1}, {NAN, 2}}), tensor<std::int64_t>({0, 0}), {}, "bad");
                     }),
             contains("item 1 holds nan"));
  CHECK_THAT(refusal("bad",
                     [&] {
                       vector_items(zeros({1, 2}), tensor<std::int64_t>({-1}), {}, "bad");
                     }),
             contains("item 0 has label -1"));
  CHECK_THROWS_AS(vector_items(zeros({3, 2}), tensor<std::int64_t>({0, 0})), ShapeError);
}

TEST_CASE("a bank of features answers episodes as embedding them would", "[data][threads]") {
  const CharacterClasses characters = labelled_characters(2, 3, 4);
  const auto embedding = [](const Tensor<>& images) {
    return reshape(slice(images, 1, 0, 2), {images.size(0), 32}) * 3.0f;
  };
  const EpisodeIndices drawn =
      characters.items().draw({0, 5, 10, 15}, {.ways = 3, .shots = 1, .queries = 2}, Random(1));
  const Episode<> episode = characters.items().episode(drawn);
  Tensor<> all;
  for (const int threads : {1, 2, 3, 8}) {
    set_threads(threads);
    const ItemSet bank = feature_bank(characters.items(), embedding, 7);
    CHECK(bank.classes() == characters.items().classes());
    // A bank numbers its items anew: the draw of the same stream is of the same items of each class.
    const Episode<> of_bank = bank.episode(bank.draw({0, 5, 10, 15}, {.ways = 3, .shots = 1, .queries = 2}, Random(1)));
    CHECK(same_bits(of_bank.support.x, embedding(episode.support.x)));
    CHECK(same_bits(of_bank.query.x, embedding(episode.query.x)));
    CHECK(same_bits(of_bank.query.y, episode.query.y));
  }
  set_threads(0);
  CHECK_THROWS_AS(feature_bank(characters.items(), embedding, 0), ValueError);
  CHECK_THROWS_AS(feature_bank(characters.items(), [](const Tensor<>& x) { return x; }), ShapeError);
  CHECK_THROWS_AS(feature_bank(characters.items(), [](const Tensor<>&) { return zeros({1, 3}); }), ShapeError);
  // Classes without items cost nothing, and a set without any has a bank without any.
  ItemSet few = characters.items();
  for (Index c = 0; c < few.classes(); ++c)
    if (c != 5) few.items[c] = {};
  Index embedded = 0;
  const ItemSet small = feature_bank(few, [&](const Tensor<>& x) {
    embedded += x.size(0);
    return embedding(x);
  });
  CHECK(embedded == 4);
  CHECK(small.items[5].size() == 4);
  few.items[5] = {};
  CHECK(feature_bank(few, embedding).classes() == characters.items().classes());
}

TEST_CASE("notions: classes differ in what is asked for alone", "[data]") {
  const CharacterClasses characters = labelled_characters(5, 12, 14);
  const Notions notions(characters, {0, 1, 2, 4});
  CHECK(notions.tasks().size() == 13);
  const EpisodeOptions sizes{.ways = 4, .shots = 3, .queries = 2};
  // Of the turned image: 0 character, 1 drawer, 2 alphabet, 3 turn.
  const auto read = [](const Tensor<>& x, Index i) {
    std::vector<Index> facts;
    for (Index turn = 0; turn < 4; ++turn) {
      const auto at = [&](Index k) {  // pixel k of the first row before the turn
        return turn == 0   ? x.at({i, 0, k, 0})
               : turn == 1 ? x.at({i, 15 - k, 0, 0})
               : turn == 2 ? x.at({i, 15, 15 - k, 0})
                           : x.at({i, k, 15, 0});
      };
      if (at(0) != 1) continue;
      for (const Index k : {1, 2, 3}) facts.push_back(static_cast<Index>(std::lround(255 * at(k))));
      facts.push_back(turn);
      break;
    }
    return facts;
  };
  for (const NotionTask& task : notions.tasks())
    for (std::uint64_t draw = 0; draw < 4; ++draw) {
      const Episode<> e = notions.draw(task, sizes, Random(draw).stream(name_of(task.notion), task.alphabet + 1));
      const std::size_t asked = task.notion == Notion::character  ? 0
                                : task.notion == Notion::drawer   ? 1
                                : task.notion == Notion::alphabet ? 2
                                                                  : 3;
      std::vector<Index> of_class(4, -1);
      std::vector<std::vector<Index>> others(4);
      for (const auto* side : {&e.support, &e.query})
        for (Index i = 0; i < side->x.size(0); ++i) {
          const std::vector<Index> facts = read(side->x, i);
          REQUIRE(facts.size() == 4);
          const auto label = static_cast<std::size_t>(side->y.at({i}));
          if (of_class[label] < 0) of_class[label] = facts[asked];
          CHECK(of_class[label] == facts[asked]);
          if (task.alphabet >= 0) CHECK(facts[2] == task.alphabet + 1);
          others[label].push_back(asked == 1 ? facts[0] : facts[1]);
        }
      std::sort(of_class.begin(), of_class.end());
      CHECK(std::unique(of_class.begin(), of_class.end()) == of_class.end());
      // Five items of one class that agree in another factor as well come once in tens of thousands.
      for (auto& list : others) {
        std::sort(list.begin(), list.end());
        CHECK(list.front() != list.back());
      }
    }
  // Of a notion: a task of its own, drawn from all of them; of the alphabet no more ways than there are.
  CHECK((notions.tasks(Notion::turn).size() == 4 && notions.tasks(Notion::alphabet).size() == 1));
  CHECK(notions.even_tasks({Notion::drawer, Notion::alphabet}).size() == 8);
  CHECK(notions.even_tasks({Notion::drawer, Notion::alphabet})[7].alphabet == -1);
  const Notions three(characters, characters.pool(false, [](Index c) { return c >= 12 && c < 48; }));
  CHECK(three.alphabets() == std::vector<Index>{1, 2, 3});
  CHECK(three.draw(Notion::alphabet, sizes, Random(1)).ways == 3);
  std::vector<Index> drawn;
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    const Episode<> e = three.draw(Notion::character, sizes, Random(draw));
    CHECK(e.ways == 4);
    drawn.push_back(read(e.query.x, 0)[2] - 1);
  }
  std::sort(drawn.begin(), drawn.end());
  drawn.erase(std::unique(drawn.begin(), drawn.end()), drawn.end());
  CHECK(drawn == std::vector<Index>{1, 2, 3});
  CHECK_THROWS_AS(notions.draw({Notion::drawer, 3}, sizes, Random(1)), ValueError);
  CHECK_THAT(refusal("labelled",
                     [&] {
                       notions.draw({Notion::turn, 0}, {.ways = 5, .shots = 1, .queries = 1}, Random(1));
                     }),
             contains("5 ways of the notion 'turn', of which there are 4"));
  CHECK_THAT(refusal("labelled",
                     [&] {
                       notions.draw({Notion::drawer, 0}, {.ways = 2, .shots = 9, .queries = 4}, Random(1));
                     }),
             contains("13 images of a drawer"));
  CHECK_THAT(refusal("labelled", [&] { Notions(characters, {5}); }), contains("alphabet 5 of 5"));
}

TEST_CASE("folds test every alphabet once and share none between their parts", "[data]") {
  const CharacterClasses characters = labelled_characters(9, 3, 2);
  std::vector<std::string> tested;
  for (Index fold = 0; fold < 3; ++fold) {
    const CharacterFold parts = character_fold(characters, fold, 3, 2, Random(4));
    CHECK(parts.test.names.size() == 3);
    CHECK(parts.validation.names.size() == 2);
    CHECK(parts.tasks.names.size() == 4);
    CHECK(parts.tasks.all.size() == 4 * 3 * 4);
    CHECK(parts.test.all.size() == 3 * 3);
    check_disjoint(characters, parts.tasks.all, parts.test.all);
    check_disjoint(characters, parts.tasks.all, parts.validation.all);
    check_disjoint(characters, parts.validation.all, parts.test.all);
    tested.insert(tested.end(), parts.test.names.begin(), parts.test.names.end());
  }
  std::sort(tested.begin(), tested.end());
  CHECK(std::unique(tested.begin(), tested.end()) == tested.end());
  CHECK(tested.size() == 9);
  CHECK_THROWS_AS(character_fold(characters, 3, 3, 2, Random(4)), IndexError);
  CHECK_THAT(refusal("labelled", [&] { character_fold(characters, 0, 3, 6, Random(4)); }), contains("9 alphabets"));
}
