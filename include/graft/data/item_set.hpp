#pragma once
// Any data set whose items have classes, as what few-shot episodes are drawn from and shown by.

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/function.hpp"
#include "graft/core/list.hpp"
#include "graft/core/parallel.hpp"
#include "graft/data/episodes.hpp"
#include "graft/data/resize.hpp"
#include "graft/io/npz.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Items with classes. What an item is to a model is the set's own business: an image [height, width, channels], a
/// vector [width], token ids [length], or the number of a node or graph [1]; ids and numbers are whole numbers in float
/// (exact below 2^24) that the encoder casts. A class may show an item in its own way (a turned character), so an item
/// may be in several classes.
struct ItemSet {
  std::string source;                    ///< the file, or what else the items come from, for errors
  std::vector<std::string> class_names;  ///< [classes]
  ClassItems items;                      ///< of each class
  /// The items as these classes show them, both [n] -> [n, ...]
  Function<Tensor<>(std::span<const Index> items, std::span<const Index> classes)> inputs;
  std::vector<std::pair<std::string, std::string>> fingerprints;  ///< of the content, by name, for an `Identity`

  Index classes() const { return items.size(); }
  /// Numbers of all classes.
  std::vector<Index> all_classes() const {
    std::vector<Index> all(static_cast<std::size_t>(classes()));
    for (std::size_t c = 0; c < all.size(); ++c) all[c] = static_cast<Index>(c);
    return all;
  }

  /// An episode of some of `classes`. Throws as `draw_episode`.
  EpisodeIndices draw(const std::vector<Index>& of, const EpisodeOptions& options, const Random& random,
                      Site site = Site::current()) const {
    return draw_episode(items, of, options, random, {}, site);
  }

  /// The inputs and labels of an episode. Throws ValueError when its lists do not fit together, IndexError for a class
  /// or item that the set has not.
  GRAFT_ONCE Episode<> episode(const EpisodeIndices& drawn, Site site = Site::current()) const {
    const auto side = [&](const std::vector<Index>& part, const std::vector<Index>& labels) -> LabelledSet<> {
      if (part.size() != labels.size())
        fail("ItemSet::episode", {part.size(), " items with ", labels.size(), " labels"}, {}, site);
      std::vector<Index> shown;
      for (const Index label : labels) {
        if (label < 0 || label >= std::ssize(drawn.classes))
          fail<IndexError>("ItemSet::episode", {"label ", label, " of ", drawn.classes.size(), " classes"}, {}, site);
        shown.push_back(drawn.classes[static_cast<std::size_t>(label)]);
      }
      return {inputs(part, shown), from_vector(labels)};
    };
    Episode<> episode{side(drawn.support, drawn.support_labels), side(drawn.query, drawn.query_labels),
                      std::ssize(drawn.classes)};
    if (drawn.unlabelled.size() != drawn.others.size())
      fail("ItemSet::episode", {drawn.unlabelled.size(), " unlabelled items of ", drawn.others.size(), " classes"}, {},
           site);
    if (!drawn.unlabelled.empty()) episode.unlabelled = inputs(drawn.unlabelled, drawn.others);
    return episode;
  }

  /// Throws FileError unless `of` are enough classes of the set for episodes of these sizes, none of them twice, each
  /// with enough items. `purpose` names the episodes, "training", and `where` the classes, "alphabet Greek". With
  /// `unlabelled` items of their own these are counted there. Throws ValueError for sizes that no episode has.
  GRAFT_ONCE void check(const std::string& purpose, const std::vector<Index>& of, const EpisodeOptions& o,
                        const std::string& where, const ClassItems& unlabelled = {},
                        Site site = Site::current()) const {
    detail::check_episode_options((purpose + " episodes").c_str(), o, site);
    if (o.ways > std::ssize(of) || o.distractors > std::ssize(of) - o.ways)
      fail_file(source, {"impossible ", purpose, " episodes: ", o.ways, " ways",
                         o.distractors > 0 ? " and " + detail::as_text(o.distractors) + " distractors" : "", ", but ",
                         where, " has ", of.size(), " classes"});
    std::vector<Index> sorted = of;
    std::sort(sorted.begin(), sorted.end());
    if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
      fail_file(source, {"impossible ", purpose, " episodes: ", where, " lists ", name(*twice), " twice"});
    const bool own_pool = unlabelled.size() > 0;
    // Unequal shares may give all queries to one class.
    const Index queries = o.concentration > 0 ? o.ways * o.queries : o.queries;
    for (const Index c : of) {
      if (c < 0 || c >= classes()) fail_file(source, {"has no class ", c, ", only ", classes()});
      const Index held = items[c].size(), hidden = own_pool ? 0 : o.unlabelled;
      if (o.shots > held || queries > held - o.shots || hidden > held - o.shots - queries)
        fail_file(source, {"impossible ", purpose, " episodes: ", o.shots, " shots and ", queries, " queries",
                           hidden > 0 ? " and " + detail::as_text(hidden) + " unlabelled" : "", " a class, but ",
                           name(c), " has ", held, held == 1 ? " item" : " items"});
      if (own_pool && (unlabelled.size() != classes() || o.unlabelled > unlabelled[c].size()))
        fail_file(source, {"impossible ", purpose, " episodes: ", o.unlabelled, " unlabelled items a class, but ",
                           name(c), " has ", unlabelled.size() == classes() ? unlabelled[c].size() : 0});
    }
  }

  /// The name of a class, for messages.
  std::string name(Index c) const {
    const auto at = static_cast<std::size_t>(c);
    return at < class_names.size() ? class_names[at] : "class " + std::to_string(c);
  }
};
GRAFT_HELD(void ItemSet::check<>(const std::string&, const std::vector<Index>&, const EpisodeOptions&,
                                 const std::string&, const ClassItems&, Site) const)
GRAFT_HELD(Episode<> ItemSet::episode<>(const EpisodeIndices&, Site) const)

/// Classes that episodes are drawn from: all together, or those of one alphabet (or of whatever else classes belong
/// to), which are more alike.
struct ClassPool {
  std::vector<std::vector<Index>> by_alphabet;  ///< [alphabets with classes]
  std::vector<std::string> names;               ///< of these alphabets
  std::vector<Index> all;                       ///< the classes of all of them

  /// How many classes each of these alphabets has, [alphabets].
  Tensor<double> sizes() const {
    return generate({std::ssize(by_alphabet)}, [this](Index a) {
      return static_cast<double>(by_alphabet[static_cast<std::size_t>(a)].size());
    });
  }
};

/// The pool of a set's classes when class c belongs to the group `group_of[c]`, a place in `names`; below 0 it belongs
/// to none and is left out. Throws FileError unless every class has a group, and for a group that there is not.
GRAFT_ONCE ClassPool group_classes(const ItemSet& set, const std::vector<Index>& group_of,
                                   const std::vector<std::string>& names) {
  if (std::ssize(group_of) != set.classes())
    fail_file(set.source, {group_of.size(), " groups are given for ", set.classes(), " classes"});
  std::vector<std::vector<Index>> of(names.size());
  for (Index c = 0; c < set.classes(); ++c) {
    const Index group = group_of[static_cast<std::size_t>(c)];
    if (group >= std::ssize(names)) fail_file(set.source, {set.name(c), " is of group ", group, " of ", names.size()});
    if (group >= 0) of[static_cast<std::size_t>(group)].push_back(c);
  }
  ClassPool pool;
  for (std::size_t g = 0; g < of.size(); ++g) {
    if (of[g].empty()) continue;
    pool.all.insert(pool.all.end(), of[g].begin(), of[g].end());
    pool.names.push_back(names[g]);
    pool.by_alphabet.push_back(std::move(of[g]));
  }
  return pool;
}
GRAFT_HELD(ClassPool group_classes<>(const ItemSet&, const std::vector<Index>&, const std::vector<std::string>&))

/// Throws FileError, naming the set and a class, if a class is in both lists: classes that are tested must not have
/// been trained on.
inline void check_disjoint(const ItemSet& set, const std::vector<Index>& trained, const std::vector<Index>& tested) {
  for (const Index c : tested)
    if (std::find(trained.begin(), trained.end(), c) != trained.end())
      fail_file(set.source, {"class ", set.name(c), " is both trained on and tested"});
}

namespace detail {

/// Items of each class from a label an item. Throws FileError for a label outside [0, classes).
inline ClassItems items_by_class(const std::string& source, std::span<const std::int64_t> labels, Index classes) {
  ClassItems items(classes);
  Index item = 0;
  for (const std::int64_t label : labels) {
    if (label < 0 || label >= classes)
      fail_file(source, {"item ", item, " has label ", label, " of ", classes, " classes"});
    items[label].push_back(item++);
  }
  return items;
}

/// A set whose item i is row i of `x`, whatever its class.
inline ItemSet rows_of(const Tensor<>& x, const Tensor<std::int64_t>& labels, std::vector<std::string> class_names,
                       const std::string& source, Site site) {
  if (x.rank() < 1 || labels.rank() != 1 || labels.size(0) != x.size(0))
    fail<ShapeError>("vector_items", "expected items [n, ...] and labels [n]",
                     {{"items", x.shape()}, {"labels", labels.shape()}}, site);
  ItemSet set;
  set.source = source;
  if (class_names.empty()) {
    const Index most = std::max(labels.count(), Index{65536});  // a name is made for each below
    Index item = 0, classes = 0;
    for (const std::int64_t label : host(labels)) {
      if (label >= most) fail_file(source, {"item ", item, " has label ", label, ", expected less than ", most});
      classes = std::max(classes, static_cast<Index>(label) + 1);
      ++item;
    }
    for (Index c = 0; c < classes; ++c) class_names.push_back("class " + std::to_string(c));
  }
  set.items = items_by_class(source, host(labels), std::ssize(class_names));
  set.class_names = std::move(class_names);
  set.fingerprints = {{"items", fingerprint(std::vector<float>(host(x).begin(), host(x).end()))},
                      {"labels", fingerprint(std::vector<std::int64_t>(host(labels).begin(), host(labels).end()))}};
  set.inputs = [x](std::span<const Index> items, std::span<const Index>) {
    return gather(x, from_vector(std::vector<std::int64_t>(items.begin(), items.end())), 0);
  };
  return set;
}

}  // namespace detail

/// Items that are rows of a tensor: vectors [n, width], images [n, height, width, channels], token ids [n, length] as
/// whole numbers. `labels` [n] in 0 .. classes-1; without names the classes are called by their numbers, of which there
/// are at most 65536, or n. Throws ShapeError, and FileError for a label out of range or a number that is not finite
/// (it names the item).
inline ItemSet vector_items(const Tensor<>& x, const Tensor<std::int64_t>& labels,
                            std::vector<std::string> class_names = {}, const std::string& source = "the items",
                            Site site = Site::current()) {
  ItemSet set = detail::rows_of(x, labels, std::move(class_names), source, site);
  const Index each = x.size(0) == 0 ? 1 : std::max(x.count() / x.size(0), Index{1});
  Index at = 0;
  for (const float value : host(x)) {
    if (!std::isfinite(value)) fail_file(source, {"item ", at / each, " holds ", value});
    ++at;
  }
  return set;
}

/// Images [n, height, width] of 0 .. 255 as items [size, size, 1] of 0 .. 1, area-averaged. Throws as `vector_items`,
/// and FileError for as many bytes as do not make whole images.
inline ItemSet image_items(std::span<const std::uint8_t> images, Index height, Index width, Index size,
                           const Tensor<std::int64_t>& labels, std::vector<std::string> class_names = {},
                           const std::string& source = "the images", Site site = Site::current()) {
  const Index pixels = height * width, count = pixels > 0 ? std::ssize(images) / pixels : 0;
  if (height < 1 || width < 1 || count * pixels != std::ssize(images))
    fail_file(source, {images.size(), " bytes are no images of ", height, " x ", width, " pixels"});
  std::vector<float> ink(images.size());
  for (std::size_t i = 0; i < ink.size(); ++i) ink[i] = static_cast<float>(images[i]) * (1.0f / 255);
  Tensor<> x = from_vector(std::move(ink), {count, height, width});
  if (height != size || width != size) x = area_average(x, size, site);
  return vector_items(reshape(x, {count, size, size, 1}), labels, std::move(class_names), source, site);
}

/// Items that are token ids [n, length], as whole numbers in float. Throws as `vector_items`, and FileError for an id
/// below 0 or from 2^24 on.
inline ItemSet token_items(const Tensor<std::int64_t>& ids, const Tensor<std::int64_t>& labels,
                           std::vector<std::string> class_names = {}, const std::string& source = "the texts",
                           Site site = Site::current()) {
  Index at = 0;
  for (const std::int64_t id : host(ids)) {
    if (id < 0 || id >= std::int64_t{1} << 24)
      fail_file(source, {"number ", at, " of its ids is ", id, ", expected 0 to 2^24 - 1"});
    ++at;
  }
  return detail::rows_of(cast<float>(ids), labels, std::move(class_names), source, site);
}

/// Items that are their own numbers [n, 1], for encoders that hold the data: nodes of a graph, graphs of a list. An
/// item with a label below 0 belongs to no class. Throws ShapeError unless `labels` is [n], ValueError for 2^24 items
/// or more.
inline ItemSet number_items(const Tensor<std::int64_t>& labels, std::vector<std::string> class_names,
                            const std::string& source, Site site = Site::current()) {
  if (labels.rank() != 1) fail<ShapeError>("number_items", "expected labels [n]", {{"labels", labels.shape()}}, site);
  if (labels.count() >= Index{1} << 24) fail("number_items", {labels.count(), " items"}, {}, site);
  ItemSet set;
  set.source = source;
  set.items = ClassItems(std::ssize(class_names));
  Index item = 0;
  for (const std::int64_t label : host(labels)) {
    if (label >= std::ssize(class_names))
      fail_file(source, {"item ", item, " has label ", label, " of ", class_names.size(), " classes"});
    if (label >= 0) set.items[label].push_back(item);
    ++item;
  }
  set.class_names = std::move(class_names);
  set.fingerprints = {{"labels", fingerprint(std::vector<std::int64_t>(host(labels).begin(), host(labels).end()))}};
  set.inputs = [count = labels.count()](std::span<const Index> items, std::span<const Index>) {
    std::vector<float> numbers;
    for (const Index i : items) {
      if (i < 0 || i >= count) fail<IndexError>("number_items", {"item ", i, " of ", count});
      numbers.push_back(static_cast<float>(i));
    }
    const auto n = static_cast<Index>(numbers.size());
    return from_vector(std::move(numbers), {n, 1});
  };
  return set;
}

/// The same items, embedded once: `embedding(inputs [n, ...])` -> [n, width], without a gradient, in batches of `batch`
/// that run in parallel. Every item is embedded as each of its classes shows it. Any head answers episodes of the
/// result as fast as it can be called. Throws ValueError for an empty batch, ShapeError for an embedding that does not
/// keep its items apart, and what `embedding` throws.
template <class Embedding>
ItemSet feature_bank(const ItemSet& set, const Embedding& embedding, Index batch = 256, Site site = Site::current()) {
  if (batch < 1) fail("feature_bank", {"batches of ", batch}, {}, site);
  std::vector<Index> items, classes;
  ItemSet bank;
  bank.items = ClassItems(set.classes());
  for (Index c = 0; c < set.classes(); ++c)
    for (const Index item : set.items[c]) {
      bank.items[c].push_back(static_cast<Index>(items.size()));
      items.push_back(item);
      classes.push_back(c);
    }
  const auto count = static_cast<Index>(items.size()), batches = (count + batch - 1) / batch;
  std::vector<Tensor<>> parts(static_cast<std::size_t>(batches));
  parallel_tasks(batches, [&](Index b) {
    const auto from = static_cast<std::size_t>(b * batch),
               length = static_cast<std::size_t>(std::min(batch, count - b * batch));
    const Tensor<> made =
        embedding(set.inputs(std::span(items).subspan(from, length), std::span(classes).subspan(from, length)));
    if (made.rank() != 2 || made.size(0) != static_cast<Index>(length))
      fail<ShapeError>("feature_bank", {"expected embeddings [", length, ", width]"}, {{"embedding", made.shape()}},
                       site);
    parts[static_cast<std::size_t>(b)] = made.detach();
  });
  const Tensor<> rows = parts.empty() ? zeros<float>({0, 1}) : concat(parts, 0, site);
  bank.source = set.source;
  bank.class_names = set.class_names;
  bank.fingerprints = set.fingerprints;
  bank.inputs = [rows](std::span<const Index> chosen, std::span<const Index>) {
    return gather(rows, from_vector(std::vector<std::int64_t>(chosen.begin(), chosen.end())), 0);
  };
  return bank;
}

}  // namespace GRAFT_ABI
}  // namespace graft
