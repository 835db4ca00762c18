#pragma once
// Tasks of several kinds by name: alphabets, digits of several sources, nodes of graphs, texts; from files, or
// generated. Each is a few-shot data set of its own, whose classes are dealt out anew for every seed.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/function.hpp"
#include "graft/data/digits.hpp"
#include "graft/data/few_shot_data.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/data/labelled_text.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A task before its classes are dealt out.
struct FewShotTask {
  std::string name;
  std::string reader;  ///< tasks with the same reader have items of one form and meaning, which one encoder can read
  ItemKind kind = ItemKind::images;
  Index size = 28;      ///< of an item, as `FewShotData::size`
  Index entries = 1;    ///< of the table that items are looked up in
  Tensor<> table = {};  ///< [entries, size] of nodes
  ItemSet items = {};   ///< all classes
  Index classes = 0;    ///< the first so many of them are dealt out; class c + k classes is c in another form (a
                        ///< character at a turn), which is trained on where c is, and never tested
};

/// The characters of one alphabet, at four turns. Throws FileError for an alphabet that there is not.
inline FewShotTask alphabet_task(const CharacterClasses& characters, const std::string& alphabet) {
  const CharacterImages& images = characters.images();
  std::vector<Index> own;
  for (Index c = 0; c < images.character_count(); ++c)
    if (images.alphabet_names[static_cast<std::size_t>(images.character_alphabet[static_cast<std::size_t>(c)])] ==
        alphabet)
      own.push_back(c);
  if (own.empty()) detail::fail_no_alphabet(characters.source(), alphabet, images.alphabet_names);
  FewShotTask task{alphabet, "images", ItemKind::images, images.height};
  task.classes = std::ssize(own);
  const ItemSet& all = characters.items();
  task.items.source = characters.source() + ", alphabet " + alphabet;
  task.items.fingerprints = all.fingerprints;
  std::vector<Index> of;  // the class of all characters
  for (Index turn = 0; turn < 4; ++turn)
    for (const Index c : own) {
      of.push_back(4 * c + turn);
      task.items.items.push_back(all.items[of.back()]);
      task.items.class_names.push_back(all.name(of.back()));
    }
  task.items.inputs = [show = all.inputs, of](std::span<const Index> items, std::span<const Index> classes) {
    std::vector<Index> shown;
    for (const Index c : classes) {
      if (c < 0 || c >= std::ssize(of)) fail<IndexError>("alphabet_task", {"class ", c, " of ", of.size()});
      shown.push_back(of[static_cast<std::size_t>(c)]);
    }
    return show(items, shown);
  };
  return task;
}

/// A task of all classes of a set; `size`, `reader` as in `FewShotTask`.
inline FewShotTask set_task(const std::string& name, const std::string& reader, ItemKind kind, Index size,
                            ItemSet items) {
  FewShotTask task{name, reader, kind, size};
  task.classes = items.classes();
  task.items = std::move(items);
  return task;
}

/// The nodes of a graph, with the table of `few_shot_nodes`: a reader of its own.
inline FewShotTask node_task(const std::string& name, const NodeLabels& nodes, const std::string& source) {
  FewShotData data = few_shot_nodes(nodes, source, Random(0));
  FewShotTask task = set_task(name, "nodes of " + name, data.kind, data.size, std::move(data.train.items));
  task.entries = data.entries;
  task.table = std::move(data.table);
  task.items.fingerprints.emplace_back(
      "table", fingerprint(std::vector<float>(host(task.table).begin(), host(task.table).end())));
  return task;
}

/// Vectors of texts [texts] -> [texts, width], by a frozen encoder of sentences.
using SentenceVectors = Function<Tensor<>(const std::vector<std::string>& texts)>;

/// Texts as hashed words, one reader for all such tasks, or, where `vectors` is given, as these.
inline FewShotTask text_task(const std::string& name, const LabelledTexts& texts, const SentenceVectors& vectors = {},
                             const HashedWords& words = {}) {
  if (!vectors) {
    FewShotTask task = set_task(name, "words", ItemKind::texts, words.length, text_items(texts, words));
    task.entries = words.entries();
    return task;
  }
  const Tensor<> x = vectors(texts.texts);
  ItemSet items = vector_items(x, from_vector(texts.labels), texts.class_names, texts.source);
  return set_task(name, "sentence vectors", ItemKind::vectors, x.size(1), std::move(items));
}

/// The task with its classes dealt out as `few_shot_classes` does, two sevenths (two at least) for the test, as many
/// for validation. Tasks with as many classes as each other are dealt the same numbers by the same `random`: a digit
/// that is tested in one source is trained on in none. Throws FileError for less than six classes.
inline FewShotData deal_task(const FewShotTask& task, const Random& random) {
  ItemSet upright = task.items;
  upright.items = ClassItems();
  for (Index c = 0; c < task.classes; ++c) upright.items.push_back(task.items.items[c]);
  FewShotData data = few_shot_classes(upright, task.kind, task.size, random);
  for (EpisodeSource* part : {&data.train, &data.validation, &data.test}) part->items = task.items;
  const std::vector<Index> dealt = data.train.tasks[0];
  for (Index other = task.classes; other + task.classes <= task.items.classes(); other += task.classes)
    for (const Index c : dealt) data.train.tasks[0].push_back(c + other);
  data.entries = task.entries;
  data.table = task.table;
  return data;
}

/// Makes tasks by name.
class FewShotTasks {
 public:
  /// `folder` holds a folder each of `omniglot`, `mnist`, `usps`, `digits8x8`, `cora`, `citeseer`, `banking77` and
  /// `trec6`; "": generated tasks. Texts are read as `text_task` does.
  explicit FewShotTasks(std::string folder = "", SentenceVectors vectors = {})
      : folder_(std::move(folder)), vectors_(std::move(vectors)) {}

  /// What is made where no names are asked for.
  std::vector<std::string> usual() const {
    if (folder_.empty())
      return {"glyphs_0", "glyphs_1", "glyphs_2", "glyphs_3", "communities_0", "communities_1", "bank", "journey"};
    return {"Greek", "Hebrew",    "Korean", "Latin",    "Tifinagh",  "mnist",
            "usps",  "digits8x8", "cora",   "citeseer", "banking77", "trec6"};
  }

  /// All names: of the sets, then of the alphabets. Throws FileError where these cannot be read.
  std::vector<std::string> names() {
    std::vector<std::string> all{"mnist", "usps", "digits8x8", "cora", "citeseer", "banking77", "trec6"};
    if (folder_.empty()) all = {"communities_0", "communities_1", "bank", "journey"};
    const std::vector<std::string>& alphabets = characters().images().alphabet_names;
    all.insert(all.end(), alphabets.begin(), alphabets.end());
    return all;
  }

  /// The task of that name; other names than those of sets are alphabets. Throws FileError where its data are missing,
  /// damaged or too few, ValueError, which lists `names`, for one that there is not.
  FewShotTask operator()(const std::string& name, Site site = Site::current()) {
    FewShotTask task = folder_.empty() ? generated(name, site) : loaded(name, site);
    if (task.classes < 6) fail_file(task.items.source, {"has ", task.classes, " classes; six or more are needed"});
    return task;
  }

 private:
  const CharacterClasses& characters() {
    if (characters_) return *characters_;
    const std::string file = folder_ + "/omniglot/omniglot_background.npz";
    if (folder_.empty())
      characters_ = CharacterClasses(make_glyphs({.alphabets = 4, .test_alphabets = 0}), "the generated characters");
    else
      characters_ = CharacterClasses(load_characters(file), file);
    return *characters_;
  }
  FewShotTask alphabet(const std::string& name, Site site) {
    if (detail::holds(characters().images().alphabet_names, name)) return alphabet_task(characters(), name);
    fail("FewShotTasks", {"nothing is called ", detail::in_quotes(name), "; there are ", detail::listed(names())}, {},
         site);
  }
  FewShotTask loaded(const std::string& name, Site site) {
    const std::string start = folder_ + "/" + name + "/" + name;
    if (name == "mnist") return set_task(name, "images", ItemKind::images, 28, load_digits(start + "_train10k.npz"));
    if (name == "usps" || name == "digits8x8")
      return set_task(name, "images", ItemKind::images, 28, load_digits(start + ".npz"));
    if (name == "cora" || name == "citeseer") return node_task(name, load_node_labels(start + ".npz"), start + ".npz");
    if (name == "banking77" || name == "trec6")
      return text_task(name, load_labelled_texts(start + "_train.tsv"), vectors_);
    return alphabet(name, site);
  }
  FewShotTask generated(const std::string& name, Site site) {
    for (Index i = 0; i < 2; ++i) {
      if (name == "communities_" + std::to_string(i)) {
        const CommunityOptions sizes{.classes = 6 + i};
        return node_task(name, make_communities(Random(0).stream("communities", i), sizes), "the generated graph");
      }
      if (name == (i == 0 ? "bank" : "journey"))
        return text_task(name, make_intents(Random(0).stream("requests", i), {.domain = i}), vectors_);
    }
    return alphabet(name, site);
  }

  std::string folder_;
  SentenceVectors vectors_;
  std::optional<CharacterClasses> characters_;  // read once
};

}  // namespace GRAFT_ABI
}  // namespace graft
