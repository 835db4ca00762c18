#pragma once
// Tasks with few labels: items with several labels each, of which one is the main task's and the others are auxiliary,
// and a draw of few labelled items a class, of unlabelled ones and of a test.

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/random.hpp"
#include "graft/data/characters.hpp"
#include "graft/io/npz.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/pool.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Items with several labels each.
struct MultiLabelItems {
  Tensor<> x;                   ///< [items, width]
  Tensor<std::int64_t> labels;  ///< [items, kinds of labels], 0 or more
  Index training = 0;           ///< the first so many items are trained on, those after them only tested
};

/// Drawings as items: means over squares of 2 x 2 pixels, -1 to 1, row by row; labels character and alphabet. All may
/// be trained on. Throws ValueError for no images or an odd height or width.
inline MultiLabelItems character_items(const CharacterImages& characters, Site site = Site::current()) {
  const Index images = characters.image_count(), height = characters.height, width = characters.width;
  if (images == 0 || height % 2 != 0 || width % 2 != 0)
    fail("character_items", {images, " images of ", height, " x ", width, " pixels"}, {}, site);
  const Tensor<> pixels = cast<float>(from_vector(characters.images, {images, height, width, 1}));
  const Tensor<> means = avg_pool2d(pixels, {.kernel = 2}) / 127.5f - 1;
  const auto column = [&](const std::vector<std::int64_t>& numbers) { return from_vector(numbers, {images, 1}); };
  return {reshape(means, {images, height * width / 4}),
          concat<std::int64_t>({column(characters.character_id), column(characters.alphabet_id)}, 1), images};
}

/// Items of an .npz file with x_train, x_test [items, width] and y_train, y_test [items, kinds], 0 or more, as those of
/// the emotions in music (Trohidis, Tsoumakas, Kalliris, Vlahavas, ISMIR 2008). Each column of x less its mean over its
/// deviation, both of the training items; a column that does not vary becomes 0. Throws FileError, which names the
/// array.
inline MultiLabelItems read_multilabel_items(const std::string& path) {
  const ArrayFile file = read_npz(path, {"x_train", "y_train", "x_test", "y_test"});
  const Tensor<> x = to_tensor<float>(file.at("x_train")), x_test = to_tensor<float>(file.at("x_test"));
  const auto y = to_tensor<std::int64_t>(file.at("y_train")), y_test = to_tensor<std::int64_t>(file.at("y_test"));
  if (x.rank() != 2 || x.size(0) == 0 || y.rank() != 2 || y.size(0) != x.size(0))
    fail_file(path, {"arrays 'x_train' and 'y_train' are not [items, width] and [items, kinds of labels]"});
  if (x_test.rank() != 2 || y_test.rank() != 2 || x_test.size(1) != x.size(1) || y_test.size(1) != y.size(1) ||
      y_test.size(0) != x_test.size(0))
    fail_file(path, {"arrays 'x_test' and 'y_test' do not fit to 'x_train' and 'y_train'"});
  for (const float number : host(x))
    if (!std::isfinite(number)) fail_file(path, {"array 'x_train' holds ", static_cast<double>(number)});
  for (const float number : host(x_test))
    if (!std::isfinite(number)) fail_file(path, {"array 'x_test' holds ", static_cast<double>(number)});
  for (const auto* labels : {&y, &y_test})
    for (const std::int64_t label : host(*labels))
      if (label < 0) fail_file(path, {"has a label ", label});
  const Tensor<> shift = mean(x, {0}), deviation = stddev(x - shift, {0});
  const Tensor<> all = concat<float>({x, x_test}, 0) - shift;
  return {where(deviation > 0, all / where(deviation > 0, deviation, 1.0f), 0.0f), concat<std::int64_t>({y, y_test}, 0),
          x.size(0)};
}

/// Options of `draw_scarce_task`.
struct ScarceTaskOptions {
  Index kind = 0;        ///< which label is the main task's; the others are auxiliary
  Index classes = 20;    ///< drawn at random, or all if there are no more
  Index shots = 8;       ///< labelled items of the first class
  double tail = 1;       ///< times as many as of the last; between them they fall as a power
  Index unlabelled = 4;  ///< items of each class without labels, and of each class that was not drawn
};

/// Items of a task.
struct ScarceItems {
  Tensor<> x;               ///< [items, width]
  Tensor<std::int64_t> y;   ///< [items], 0 to classes - 1, in the order in which classes were drawn
  Tensor<> auxiliary = {};  ///< [items, columns], of training: for every label of another kind whether an item has it
};
/// A task with few labels: what is trained on and tested, and items without labels.
struct ScarceTask {
  ScarceItems train, test;
  Tensor<> unlabelled;  ///< items of the task's classes
  Tensor<> others;      ///< of classes that were not drawn; those of `unlabelled` if all were
  Index classes = 0;
};

/// Draws a task: class c of C in the order drawn gets round(shots tail^(-c / (C - 1))) labelled items, two at least,
/// and `unlabelled` others; tested are the items kept for that or, if there are none, what is left over of each class.
/// The classes that are drawn, and an item's place among those of its class, depend on `random` alone, so more shots
/// add items to those of fewer. Throws IndexError for a kind that does not exist, ValueError for options out of range,
/// fewer than two classes, a class of too few items, naming it, and a class of the test that nothing was trained on.
inline ScarceTask draw_scarce_task(const MultiLabelItems& items, const ScarceTaskOptions& o, const Random& random,
                                   Site site = Site::current()) {
  const char* op = "draw_scarce_task";
  const Index kinds = items.labels.size(1), count = items.x.size(0);
  if (o.kind < 0 || o.kind >= kinds) fail<IndexError>(op, {"label ", o.kind, " of ", kinds}, {}, site);
  if (o.classes < 2 || o.shots < 2 || o.unlabelled < 1 || !(o.tail >= 1) || !std::isfinite(o.tail))
    fail(op, {o.classes, " classes, ", o.shots, " shots, ", o.unlabelled, " unlabelled, a tail of ", o.tail}, {}, site);
  const auto label_of = [&, all = host(items.labels)](Index item, Index kind) {
    return all[static_cast<std::size_t>(item * kinds + kind)];
  };
  std::map<std::int64_t, std::vector<Index>> places;  // of each label, in a random order
  for (const Index i : random.stream("items").permutation(items.training)) places[label_of(i, o.kind)].push_back(i);
  std::vector<std::int64_t> drawn;
  for (const auto& entry : places) drawn.push_back(entry.first);
  const auto known = static_cast<Index>(drawn.size()), classes = std::min(o.classes, known);
  if (known < 2) fail(op, {"items of ", known, " class"}, {}, site);
  std::vector<Index> train, test, same, others;
  std::map<std::int64_t, std::int64_t> name;
  const std::vector<Index> order = random.stream("classes").permutation(known);
  for (Index c = 0; c < known; ++c) {
    const std::int64_t label = drawn[static_cast<std::size_t>(order[static_cast<std::size_t>(c)])];
    const std::vector<Index>& own = places[label];
    const bool chosen = c < classes;
    const double share = std::pow(o.tail, -static_cast<double>(c) / static_cast<double>(classes - 1));
    const Index labelled = !chosen ? 0 : std::max<Index>(2, std::lround(share * static_cast<double>(o.shots)));
    const Index used = (chosen ? o.shots : 0) + o.unlabelled;
    if (static_cast<Index>(own.size()) < used + (items.training == count && chosen ? 1 : 0))
      fail(op,
           {"class ", label, " has ", own.size(), " items, for ", o.shots, " shots, ", o.unlabelled,
            " unlabelled ones and a test"},
           {}, site);
    if (!chosen) {
      others.insert(others.end(), own.begin(), own.begin() + o.unlabelled);
      continue;
    }
    name.emplace(label, c);
    train.insert(train.end(), own.begin(), own.begin() + labelled);
    same.insert(same.end(), own.begin() + o.shots, own.begin() + used);
    if (items.training == count) test.insert(test.end(), own.begin() + used, own.end());
  }
  for (Index i = items.training; i < count; ++i) test.push_back(i);

  const auto of = [&](const std::vector<Index>& chosen) {
    std::vector<std::int64_t> labels;
    for (const Index i : chosen) {
      const auto found = name.find(label_of(i, o.kind));
      if (found == name.end())
        fail(op, {"class ", label_of(i, o.kind), " of the test is none of those trained on"}, {}, site);
      labels.push_back(found->second);
    }
    return ScarceItems{gather(items.x, from_vector(chosen)), from_vector(labels)};
  };
  ScarceTask task{of(train), of(test), gather(items.x, from_vector(same)), {}, classes};
  task.others = others.empty() ? task.unlabelled : gather(items.x, from_vector(others));
  std::set<std::pair<Index, std::int64_t>> columns;  // kinds and labels
  for (const Index i : train)
    for (Index kind = 0; kind < kinds; ++kind)
      if (kind != o.kind) columns.emplace(kind, label_of(i, kind));
  std::vector<float> has;
  for (const Index i : train)
    for (const auto& [kind, label] : columns) has.push_back(label_of(i, kind) == label ? 1.0f : 0.0f);
  task.train.auxiliary = from_vector(has, {task.train.x.size(0), static_cast<Index>(columns.size())});
  return task;
}

}  // namespace GRAFT_ABI
}  // namespace graft
