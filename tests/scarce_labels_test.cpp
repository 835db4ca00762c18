// Tasks with few labels: what is drawn, that parts do not overlap, and what is refused.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/data/scarce_labels.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

/// 12 items of each of 6 classes, x = the item's number; the auxiliary label is the class's half. The last `kept` items
/// are for the test.
MultiLabelItems numbered(Index kept = 0) {
  std::vector<std::int64_t> labels;
  for (Index i = 0; i < 72; ++i) labels.insert(labels.end(), {10 * (i % 6), i % 6 / 3});
  return {reshape(arange<float>(72), {72, 1}), from_vector(labels, {72, 2}), 72 - kept};
}
std::vector<Index> items_of(const Tensor<>& x) {
  std::vector<Index> items;
  for (const float number : host(x)) items.push_back(static_cast<Index>(number));
  return items;
}

}  // namespace

TEST_CASE("a task of few labels: counts, labels, and parts that do not overlap", "[data]") {
  const ScarceTaskOptions o{.classes = 4, .shots = 6, .tail = 3, .unlabelled = 3};
  const ScarceTask task = draw_scarce_task(numbered(), o, Random(1));
  CHECK(task.classes == 4);
  // 6 3^(-c / 3): 6, 4.16, 2.88, 2.
  const Index shots[] = {6, 4, 3, 2};
  std::map<std::int64_t, std::set<Index>> original;  // remainder by 6 of the items of each class
  Index counts[4] = {}, tested[4] = {};
  std::set<Index> seen;
  const std::vector<Index> train = items_of(task.train.x), test = items_of(task.test.x);
  for (std::size_t i = 0; i < train.size(); ++i) {
    const std::int64_t y = host(task.train.y)[i];
    ++counts[y];
    original[y].insert(train[i] % 6);
    CHECK(seen.insert(train[i]).second);
  }
  for (std::size_t i = 0; i < test.size(); ++i) {
    const std::int64_t y = host(task.test.y)[i];
    ++tested[y];
    original[y].insert(test[i] % 6);
    CHECK(seen.insert(test[i]).second);
  }
  std::set<Index> drawn;
  for (Index c = 0; c < 4; ++c) {
    CHECK(counts[c] == shots[c]);
    CHECK(tested[c] == 12 - 6 - 3);
    CHECK(original[c].size() == 1);
    drawn.insert(*original[c].begin());
  }
  CHECK(drawn.size() == 4);
  for (const Index item : items_of(task.unlabelled)) {
    CHECK(seen.insert(item).second);
    CHECK(drawn.count(item % 6) == 1);
  }
  for (const Index item : items_of(task.others)) CHECK(drawn.count(item % 6) == 0);
  CHECK(task.unlabelled.size(0) == 12);
  CHECK(task.others.size(0) == 6);
  // A column for each half of the classes, with the item's own.
  const Tensor<>& halves = task.train.auxiliary;
  REQUIRE(halves.shape() == Shape{15, 2});
  for (std::size_t i = 0; i < train.size(); ++i)
    for (Index half = 0; half < 2; ++half)
      CHECK(halves.at({static_cast<Index>(i), half}) == (train[i] % 6 / 3 == half ? 1 : 0));
  CHECK_FALSE(task.test.auxiliary.defined());
}

TEST_CASE("more shots add items, another seed draws others, and kept items are the test", "[data]") {
  const auto train_of = [](Index shots, std::uint64_t seed) {
    const std::vector<Index> items =
        items_of(draw_scarce_task(numbered(), {.classes = 3, .shots = shots, .unlabelled = 2}, Random(seed)).train.x);
    return std::set<Index>(items.begin(), items.end());
  };
  const std::set<Index> few = train_of(3, 1), more = train_of(6, 1);
  CHECK(std::includes(more.begin(), more.end(), few.begin(), few.end()));
  CHECK(few == train_of(3, 1));
  CHECK(few != train_of(3, 2));
  const ScarceTask task = draw_scarce_task(numbered(12), {.classes = 20, .shots = 4, .unlabelled = 2}, Random(1));
  CHECK(task.classes == 6);
  std::vector<Index> kept;
  for (Index i = 60; i < 72; ++i) kept.push_back(i);
  CHECK(items_of(task.test.x) == kept);
  CHECK(items_of(task.others) == items_of(task.unlabelled));
  for (const Index item : items_of(task.train.x)) CHECK(item < 60);
  const ScarceTask half = draw_scarce_task(numbered(12), {.kind = 1, .shots = 4}, Random(1));
  CHECK(half.classes == 2);
  CHECK(half.train.auxiliary.size(1) <= 6);
  CHECK(min(sum(half.train.auxiliary, {1})).item() == 1);
}

TEST_CASE("drawings as items", "[data]") {
  const CharacterImages glyphs = make_glyphs({.alphabets = 2, .test_alphabets = 1, .drawers = 3});
  const MultiLabelItems items = character_items(glyphs);
  CHECK(items.x.shape() == Shape{glyphs.image_count(), 196});
  CHECK(items.labels.at({4, 0}) == glyphs.character_id[4]);
  CHECK(items.labels.at({4, 1}) == glyphs.alphabet_id[4]);
  const auto pixel = [&](Index row, Index column) { return double(glyphs.image(4)[std::size_t(row * 28 + column)]); };
  for (const Index row : {0, 5, 13})
    for (const Index column : {0, 7, 13}) {
      const double total = pixel(2 * row, 2 * column) + pixel(2 * row + 1, 2 * column) +
                           pixel(2 * row, 2 * column + 1) + pixel(2 * row + 1, 2 * column + 1);
      CHECK(items.x.at({4, row * 14 + column}) == Approx(total / 4 / 127.5 - 1).margin(1e-6));
    }
}

TEST_CASE("items with several labels from a file", "[data]") {
  const Folder folder;
  const std::string path = folder / "items.npz";
  const auto write = [&](const std::vector<float>& x_test, const std::vector<std::int64_t>& y_test) {
    write_npz(path, {{"x_train", make_array(std::vector<float>{1, 5, 3, 5, 5, 5}, {3, 2})},
                     {"y_train", make_array(std::vector<std::int64_t>{0, 1, 1, 0, 0, 0}, {3, 2})},
                     {"x_test", make_array(x_test, {1, 2})},
                     {"y_test", make_array(y_test, {1, 2})}});
  };
  write({7, 9}, {1, 1});
  const MultiLabelItems items = read_multilabel_items(path);
  CHECK(items.training == 3);
  const double deviation = std::sqrt(8.0 / 3);  // 1, 3, 5 and, of the test, 7: its own numbers do not move the scale
  for (Index i = 0; i < 4; ++i) {
    CHECK(items.x.at({i, 0}) == Approx((2.0 * static_cast<double>(i) - 2) / deviation));
    CHECK(items.x.at({i, 1}) == 0);
  }
  CHECK(items.labels.at({3, 1}) == 1);
  write({7, 9}, {1, -1});
  CHECK_THROWS_WITH(read_multilabel_items(path), contains("items.npz") && contains("label -1"));
  write({7, std::numeric_limits<float>::infinity()}, {1, 1});
  CHECK_THROWS_WITH(read_multilabel_items(path), contains("'x_test' holds inf"));
  write_npz(path, {{"x_train", make_array(std::vector<float>{1, 5}, {1, 2})}});
  CHECK_THROWS_WITH(read_multilabel_items(path), contains("x_test"));
}

TEST_CASE("what drawing a task of few labels refuses", "[data]") {
  const auto draw = [](const ScarceTaskOptions& o, Site site = Site::current()) {
    draw_scarce_task(numbered(), o, Random(1), site);
  };
  CHECK(refusal_fault<IndexError>("draw_scarce_task", "label 2 of 2", [&] { draw({.kind = 2}); }) == "");
  CHECK(refusal_fault("draw_scarce_task", "1 classes", [&] { draw({.classes = 1}); }) == "");
  CHECK(refusal_fault("draw_scarce_task", "a tail of 0.5", [&] { draw({.tail = 0.5}); }) == "");
  CHECK(refusal_fault("draw_scarce_task", "has 12 items", [&] { draw({.shots = 8, .unlabelled = 4}); }) == "");
  CHECK(refusal_fault("character_items", "0 images", [&] { character_items(CharacterImages()); }) == "");
}
