#pragma once
// Items of classes that are told of by attributes, and splits of the classes into seen and unseen ones.

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/io/npz.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Items with classes, and a signature of each class.
struct AttributedItems {
  std::string source;                        ///< the file, or what else they come from, for errors
  Tensor<> x;                                ///< [items, ...]
  Tensor<std::int64_t> labels;               ///< [items]
  Tensor<> signatures;                       ///< [classes, attributes]
  std::vector<std::string> class_names;      ///< [classes]
  std::vector<std::string> attribute_names;  ///< [attributes]

  Index classes() const { return signatures.size(0); }
};

/// Classes by what their signatures have in common: those that are equal are one.
struct AttributeCombinations {
  Tensor<std::int64_t> of;  ///< [classes], the number of each class's combination, in order of first occurrence
  Tensor<> signatures;      ///< [combinations, attributes]
};

/// The different rows of signatures [classes, attributes]. Throws ShapeError.
inline AttributeCombinations attribute_combinations(const Tensor<>& signatures, Site site = Site::current()) {
  if (signatures.rank() != 2)
    fail<ShapeError>("attribute_combinations", "expected signatures [classes, attributes]",
                     {{"signatures", signatures.shape()}}, site);
  const Index attributes = signatures.size(1);
  const float* numbers = std::data(host(signatures));
  List<std::int64_t> of, first;
  for (Index c = 0; c < signatures.size(0); ++c) {
    const float* row = numbers + c * attributes;
    Index found = 0;
    while (found < first.size() && !std::equal(row, row + attributes, numbers + first[found] * attributes)) ++found;
    if (found == first.size()) first.push_back(c);
    of.push_back(found);
  }
  return {from_vector(of), gather(signatures, from_vector(first), 0, site)};
}

/// Which classes are seen, [classes], when `unseen` of them, drawn, are held out so that what is new of them is the
/// combination of attributes alone: no seen class has the same signature, and of every attribute each value that an
/// unseen class has, above its mean or not, a seen class has too. Classes of one signature go together; one that would
/// leave a value without an example stays seen. `signatures` [classes, attributes]. Throws ShapeError, ValueError
/// unless so many classes can be held out.
inline Tensor<bool> split_combinations(const Tensor<>& signatures, Index unseen, const Random& random,
                                       Site site = Site::current()) {
  const AttributeCombinations all = attribute_combinations(signatures, site);
  const Index classes = signatures.size(0), attributes = signatures.size(1), combinations = all.signatures.size(0);
  if (unseen < 1 || unseen >= classes) fail("split_combinations", {unseen, " unseen classes of ", classes}, {}, site);
  const Tensor<bool> above = all.signatures > mean(signatures, {0}, true);
  const auto has = host(above);
  const auto no = host(all.of);
  List<Index> members(combinations), examples(2 * attributes);  // of combinations; of attribute m: 2 m + its value
  for (const std::int64_t c : no) ++members[c];
  const auto place = [&](Index c, Index m) { return 2 * m + has[static_cast<std::size_t>(c * attributes + m)]; };
  for (Index c = 0; c < combinations; ++c)
    for (Index m = 0; m < attributes; ++m) ++examples[place(c, m)];
  List<Index> held(combinations);
  Index left = unseen;
  for (const Index c : random.permutation(combinations)) {
    bool may = members[c] <= left;
    for (Index m = 0; may && m < attributes; ++m) may = examples[place(c, m)] > 1;
    if (!may) continue;
    held[c] = 1;
    left -= members[c];
    for (Index m = 0; m < attributes; ++m) --examples[place(c, m)];
  }
  if (left > 0)
    fail("split_combinations",
         {"only ", unseen - left, " classes can be unseen with an example of every attribute among the others, not ",
          unseen},
         {}, site);
  return gather(from_vector(held), all.of) == 0;
}

/// Which classes are seen, [classes], when any `unseen` of them, drawn, are held out. Throws ValueError unless some are
/// left on both sides.
inline Tensor<bool> split_classes(Index classes, Index unseen, const Random& random, Site site = Site::current()) {
  if (unseen < 1 || unseen >= classes) fail("split_classes", {unseen, " unseen classes of ", classes}, {}, site);
  List<Index> seen(classes, 1);
  for (const Index c : random.permutation(classes, unseen)) seen[c] = 0;
  return from_vector(seen) == 1;
}

/// A zero-shot task: which classes are seen, and items to train and to test on.
struct ZeroShotSplit {
  Tensor<bool> seen;                 ///< [classes]
  Tensor<std::int64_t> train, test;  ///< items of seen classes; others of these, and all of the unseen ones
};

/// Splits the items: of every seen class a share is kept for the test, one item at least where there are two. `seen`
/// [classes], `labels` [items]. Throws IndexError for a label out of range, ValueError for a share outside (0, 1).
inline ZeroShotSplit split_zero_shot(const Tensor<std::int64_t>& labels, const Tensor<bool>& seen, double share,
                                     const Random& random, Site site = Site::current()) {
  if (!(share > 0 && share < 1)) fail("split_zero_shot", {"share ", share, ", expected one in (0, 1)"}, {}, site);
  const Index classes = seen.count();
  const auto is_seen = host(seen);
  const auto of = host(labels);
  std::vector<List<std::int64_t>> items(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < of.size(); ++i) {
    if (of[i] < 0 || of[i] >= classes)
      fail<IndexError>("split_zero_shot", {"label ", of[i], " of ", classes, " classes"}, {}, site);
    items[static_cast<std::size_t>(of[i])].push_back(static_cast<std::int64_t>(i));
  }
  List<std::int64_t> train, test;
  for (Index c = 0; c < classes; ++c) {
    const List<std::int64_t>& own = items[static_cast<std::size_t>(c)];
    const Index count = own.size();
    const Index kept =
        !is_seen[static_cast<std::size_t>(c)] ? count
        : count < 2                           ? 0
                    : std::clamp(static_cast<Index>(share * static_cast<double>(count) + 0.5), Index{1}, count - 1);
    Index at = 0;
    for (const Index i : random.stream("class", c).permutation(count)) (at++ < kept ? test : train).push_back(own[i]);
  }
  return {seen, from_vector(train), from_vector(test)};
}

/// Items as features and as descriptions of their classes, without overlap: half of every class's items, drawn, is set
/// aside, and the means of its numbers are the class's signature; the other half are the items. For data whose items
/// are their attributes. `x` [items, attributes], numbers in [0, 1], `labels` [items]; a class has two items or more.
/// Throws ShapeError, IndexError for a label out of range, ValueError for a class of less than two items.
inline AttributedItems halves_as_signatures(const Tensor<>& x, const Tensor<std::int64_t>& labels, Index classes,
                                            const Random& random, Site site = Site::current()) {
  if (x.rank() != 2 || !(labels.shape() == Shape{x.size(0)}))
    fail<ShapeError>("halves_as_signatures", "expected items [items, attributes] and labels [items]",
                     {{"items", x.shape()}, {"labels", labels.shape()}}, site);
  const ZeroShotSplit halves = split_zero_shot(labels, ones<bool>({classes}), 0.5, random, site);
  List<Index> counts(classes);
  for (const std::int64_t label : host(labels)) ++counts[label];
  for (Index c = 0; c < classes; ++c)
    if (counts[c] < 2)
      fail("halves_as_signatures", {"class ", c, " has ", counts[c], " items, expected 2 or more"}, {}, site);
  AttributedItems result;
  result.x = gather(x, halves.train);
  result.labels = gather(labels, halves.train);
  result.signatures = prototypes(gather(x, halves.test), gather(labels, halves.test), classes, site);
  return result;
}

/// Reads a file of items with attributes, arrays x [items, attributes] and y [items]: attributes over their largest
/// number, with the names in classes.txt and attributes.txt beside the file, one a line, if they are there. Signatures
/// are made of half of the items, `halves_as_signatures`. Errors: FileError for a file of another form, negative
/// attributes, labels that leave a class out, names that do not match.
inline AttributedItems load_attributed_items(const std::string& path, const Random& random) {
  const ArrayFile file = read_npz(path);
  const Array& array = file.at("y");
  if (array.shape.rank() != 1) array.fail({"is no list of labels"});
  const auto y = array.as<std::int64_t>();
  const Index items = static_cast<Index>(y.size());
  const Array& table = file.at("x");
  if (table.shape.rank() != 2 || table.shape[0] != items || table.shape[1] < 1)
    table.fail({"has no row of attributes for each of ", items, " items"});
  const Index attributes = table.shape[1];
  const auto numbers = table.as<float>();
  List<float> largest(attributes, 1e-30f);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (!(numbers[i] >= 0 && numbers[i] < 1e30f))
      table.fail({"element ", i, " is ", numbers[i], ", expected 0 or more"});
    float& most = largest[static_cast<Index>(i) % attributes];
    most = std::max(most, numbers[i]);
  }
  std::int64_t classes = 0;
  for (const std::int64_t label : y) {
    if (label < 0 || label >= items) array.fail({"a label is ", label});
    classes = std::max(classes, label + 1);
  }
  const Tensor<> x = from_vector(List<float>(numbers), {items, attributes}) / from_vector(largest);
  const Tensor<std::int64_t> labels = from_vector(List<std::int64_t>(y));
  List<Index> counts(classes);
  for (const std::int64_t label : y) ++counts[label];
  for (Index c = 0; c < classes; ++c)
    if (counts[c] < 2) array.fail({"class ", c, " has ", counts[c], " items, expected 2 or more"});
  AttributedItems result = halves_as_signatures(x, labels, classes, random);
  result.source = path;
  const std::size_t slash = path.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  const auto names = [&](const char* name, const char* what, Index count) {
    const std::string list = folder + name;
    std::vector<std::string> found;
    if (::access(list.c_str(), F_OK) == 0) {
      found = read_lines(list);
      if (std::ssize(found) != count) fail_file(list, {"names ", found.size(), ", but ", path, " has ", count});
    }
    for (Index i = std::ssize(found); i < count; ++i) found.push_back(std::string(what) + " " + std::to_string(i));
    return found;
  };
  result.class_names = names("classes.txt", "class", classes);
  result.attribute_names = names("attributes.txt", "attribute", attributes);
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
