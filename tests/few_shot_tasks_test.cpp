// Tasks by name: what they hold, and how their classes are dealt out.

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/few_shot_tasks.hpp"

using namespace graft;

namespace {

/// Two alphabets of 16-pixel characters whose corner tells character and drawing; the characters take turns.
CharacterClasses marked_characters(Index each, Index drawers) {
  CharacterImages data;
  data.height = data.width = 16;
  data.alphabet_names = {"even", "odd"};
  for (Index c = 0; c < 2 * each; ++c) {
    data.character_alphabet.push_back(c % 2);
    for (Index d = 0; d < drawers; ++d) {
      std::vector<std::uint8_t> image(256);
      image[0] = static_cast<std::uint8_t>(10 + c);
      image[1] = static_cast<std::uint8_t>(d + 1);
      data.images.insert(data.images.end(), image.begin(), image.end());
      data.character_id.push_back(c);
      data.alphabet_id.push_back(c % 2);
      data.drawer_id.push_back(d);
    }
  }
  return CharacterClasses(data, "marked");
}

/// A set of so many classes of two vectors each.
FewShotTask vectors(Index classes, const std::string& name = "vectors") {
  const Tensor<> x = generate({2 * classes, 1}, [](Index i, Index) { return static_cast<float>(i); });
  return set_task(name, "numbers", ItemKind::vectors, 1,
                  vector_items(x, generate({2 * classes}, [classes](Index i) { return i % classes; })));
}

std::vector<Index> sorted(std::vector<Index> list) {
  std::sort(list.begin(), list.end());
  return list;
}

}  // namespace

TEST_CASE("a task of an alphabet has its characters, then the same at each turn", "[data]") {
  const CharacterClasses all = marked_characters(7, 2);
  const FewShotTask task = alphabet_task(all, "odd");
  REQUIRE(task.classes == 7);
  REQUIRE(task.items.classes() == 28);
  CHECK(task.reader == "images");
  CHECK(task.size == 16);
  for (Index k = 0; k < 28; ++k) {
    const Index character = 2 * (k % 7) + 1, whole = 4 * character + k / 7;
    CHECK(task.items.name(k) == all.items().name(whole));
    const std::vector<Index> items{task.items.items[k][1]}, own{k}, of_all{whole};
    CHECK(all.images().character_id[items[0]] == character);
    CHECK(same_bits(task.items.inputs(items, own), all.items().inputs(items, of_all)));
  }
  const std::vector<Index> item{0}, none{28};
  CHECK_THROWS_AS(task.items.inputs(item, none), IndexError);
  CHECK_THAT(file_error([&] { alphabet_task(all, "prime"); }), contains("marked") && contains("'prime'"));
}

TEST_CASE("every class is dealt to one part, and turned ones where they are trained on", "[data]") {
  const FewShotTask task = alphabet_task(marked_characters(9, 2), "even");
  const FewShotData data = deal_task(task, Random(3));
  std::vector<Index> upright, turned;
  for (const Index c : data.train.tasks[0]) (c < 9 ? upright : turned).push_back(c);
  REQUIRE(turned.size() == 3 * upright.size());
  for (std::size_t i = 0; i < turned.size(); ++i) CHECK(turned[i] % 9 == upright[i % upright.size()]);
  for (const EpisodeSource* part : {&data.validation, &data.test}) {
    upright.insert(upright.end(), part->tasks[0].begin(), part->tasks[0].end());
    CHECK(part->items.classes() == 36);
  }
  CHECK(sorted(upright) == std::vector<Index>{0, 1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("sizes of the parts, and the same deal for as many classes", "[data]") {
  // classes: to train on, validation, test
  for (const auto& [classes, train, other] :
       {std::tuple<Index, Index, Index>{6, 2, 2}, {7, 3, 2}, {10, 4, 3}, {77, 33, 22}}) {
    const FewShotData data = deal_task(vectors(classes), Random(1)),
                      again = deal_task(vectors(classes, "b"), Random(1));
    CHECK(std::ssize(data.train.tasks[0]) == train);
    CHECK(std::ssize(data.validation.tasks[0]) == other);
    CHECK(std::ssize(data.test.tasks[0]) == other);
    CHECK(data.test.tasks == again.test.tasks);
    CHECK(data.validation.tasks == again.validation.tasks);
  }
  CHECK(deal_task(vectors(77), Random(1)).test.tasks != deal_task(vectors(77), Random(2)).test.tasks);
  CHECK_THROWS_AS(deal_task(vectors(5), Random(1)), FileError);
}

TEST_CASE("nodes keep their table, texts are words or vectors", "[data]") {
  const NodeLabels graph = make_communities(Random(2), {.nodes = 300, .classes = 6, .width = 24});
  const FewShotTask nodes = node_task("mine", graph, "a graph");
  CHECK(nodes.reader == "nodes of mine");
  CHECK(nodes.classes == 6);
  CHECK(nodes.entries == 300);
  REQUIRE(nodes.table.shape() == Shape{300, 24});
  const FewShotData dealt = deal_task(nodes, Random(1));
  CHECK(dealt.kind == ItemKind::nodes);
  CHECK(same_bits(dealt.table, nodes.table));

  const LabelledTexts texts = make_intents(Random(1), {.texts = 2});
  const FewShotTask words = text_task("said", texts);
  CHECK(words.reader == "words");
  CHECK(words.size == 32);
  CHECK(words.entries == 4097);
  const SentenceVectors lengths = [](const std::vector<std::string>& all) {
    return generate({std::ssize(all), 3},
                    [&](Index i, Index k) { return static_cast<float>(all[i].size() + static_cast<std::size_t>(k)); });
  };
  const FewShotTask frozen = text_task("said", texts, lengths);
  CHECK(frozen.kind == ItemKind::vectors);
  CHECK(frozen.reader == "sentence vectors");
  REQUIRE(frozen.size == 3);
  const std::vector<Index> items{5}, classes{2};
  CHECK(frozen.items.inputs(items, classes).at({0, 1}) == static_cast<float>(texts.texts[5].size() + 1));
}

TEST_CASE("all generated tasks can be made; other names are alphabets", "[data]") {
  FewShotTasks make;
  std::map<std::string, int> readers;
  for (const std::string& name : make.usual()) {
    const FewShotTask task = make(name);
    CHECK(task.name == name);
    CHECK(task.classes >= 6);
    ++readers[task.reader];
  }
  CHECK(readers == std::map<std::string, int>{
                       {"images", 4}, {"words", 2}, {"nodes of communities_0", 1}, {"nodes of communities_1", 1}});
  CHECK_THROWS_AS(make("Greek"), ValueError);
  CHECK_THROWS_WITH(make("Greek"), contains("nothing is called 'Greek'; there are communities_0") &&
                                       contains("bank, journey, glyphs_0") && contains("glyphs_3"));
  for (const std::string& name : make.names()) CHECK(make(name).name == name);
}

TEST_CASE("tasks of a folder; each fails for itself", "[data]") {
  const Folder folder;
  for (const char* name : {"usps", "digits8x8", "trec6"}) std::filesystem::create_directory(folder / name);
  std::vector<std::uint8_t> images(20 * 4, 7);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < 20; ++i) labels.push_back(i % 10);
  write_npz(folder / "digits8x8/digits8x8.npz",
            {{"images", make_array(images, {20, 2, 2})}, {"labels", make_array(labels, {20})}});
  put(folder / "trec6/trec6_train.tsv", "0\ta\n1\tb\n");
  FewShotTasks make(folder.path.string());
  const FewShotTask digits = make("digits8x8");
  CHECK(digits.reader == "images");
  CHECK(digits.classes == 10);
  CHECK_THAT(file_error([&] { make("usps"); }), contains("usps.npz"));
  CHECK_THAT(file_error([&] { make("trec6"); }), contains("has 2 classes; six or more are needed"));
  CHECK_THAT(file_error([&] { make("mnist"); }), contains("mnist_train10k.npz"));
  CHECK_THAT(file_error([&] { make("cora"); }), contains("cora.npz"));
  CHECK_THAT(file_error([&] { make("Greek"); }), contains("omniglot_background.npz"));
}
