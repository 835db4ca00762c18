#pragma once
// Data sets of several kinds as what few-shot learners are trained, chosen and tested on: three sets of classes of
// which no two share one.

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/data/character_split.hpp"
#include "graft/data/episode_suite.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/data/item_set.hpp"
#include "graft/data/labelled_text.hpp"
#include "graft/data/node_episodes.hpp"
#include "graft/data/runs.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What an item is to a model.
enum class ItemKind { images, vectors, nodes, texts };

/// A data set for few-shot learning.
struct FewShotData {
  ItemKind kind = ItemKind::images;
  Index size = 28;      ///< of an item: pixels a side, numbers of a vector or of a node's features, tokens of a text
  Index entries = 1;    ///< nodes of the graph, tokens of the vocabulary
  Tensor<> table = {};  ///< [entries, size] of nodes: their features, smoothed by the graph
  EpisodeSource train, validation, test;
  /// One-shot runs to test on in the place of `test`, by name; none but where alphabets are held back.
  std::vector<std::pair<std::string, OneShotRuns>> runs = {};
  std::string split = {};  ///< one line: what is trained, chosen and tested on

  /// The content of all parts, for an `Identity`.
  std::vector<std::pair<std::string, std::string>> fingerprints() const {
    std::vector<std::pair<std::string, std::string>> all;
    for (const auto& [part, source] :
         {std::pair("training", &train), std::pair("validation", &validation), std::pair("test", &test)}) {
      for (const auto& [name, value] : source->items.fingerprints) all.emplace_back(part + (" " + name), value);
      List<std::int64_t> classes;
      for (const auto& task : source->tasks) {
        classes.push_back(std::ssize(task));
        for (const Index c : task) classes.push_back(c);
      }
      all.emplace_back(std::string(part) + " classes", fingerprint(classes));
    }
    if (table.defined())
      all.emplace_back("table", fingerprint(std::vector<float>(host(table).begin(), host(table).end())));
    return all;
  }
};

/// How characters are split, see `few_shot_characters`.
struct CharacterProtocol {
  bool within = false;   ///< episodes of one alphabet each, not of all together
  Index held_back = -1;  ///< at 0 or more: alphabets are held back, and so many runs are drawn from each
  std::vector<std::string> train_alphabets = {};      ///< train on these alone; none: on all that are left
  std::vector<std::string> held_back_alphabets = {};  ///< none: five that are customary, else the last five
};

namespace detail {

inline EpisodeSource alphabets_source(const CharacterClasses& characters, const ClassPool& pool, bool within) {
  if (within) {
    EpisodeSource source{characters.items(), pool.by_alphabet, {}};
    for (const std::string& name : pool.names) source.names.push_back("alphabet " + name);
    return source;
  }
  return {characters.items(), {pool.all}, {"their set of characters"}};
}

/// The source with those images alone for which `wanted(drawer)`.
template <class Wanted>
EpisodeSource of_drawers(EpisodeSource source, const CharacterImages& images, Wanted wanted) {
  for (List<Index>& own : source.items.items) {
    List<Index> kept;
    for (const Index image : own)
      if (wanted(images.drawer_id[static_cast<std::size_t>(image)])) kept.push_back(image);
    own = kept;
  }
  return source;
}

inline bool holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace detail

/// Characters as episodes. By default the split of the data, or all of `test` for the test (`split_characters`), with
/// three alphabets for validation. With `held_back`, the protocol of Lake et al.: five alphabets are held back
/// (Armenian, Bengali, Futurama, Hebrew and Mkhedruli of Omniglot), whose runs are the test; three of the others
/// validate. Where `train_alphabets` are named, a minimal set, they are all that is trained on, and other drawings of
/// their characters, by the last quarter of the drawers, validate. Training classes are characters at four turns.
/// Throws FileError for unknown alphabets, one that is both trained on and held back, or none left.
inline FewShotData few_shot_characters(CharacterImages data, const std::string& source, CharacterProtocol o,
                                       const Random& random, std::optional<CharacterClasses> test = {}) {
  FewShotData result;
  result.size = data.height;
  if (o.held_back < 0 && o.train_alphabets.empty()) {
    const CharacterSplit split = split_characters(std::move(data), source, {}, std::move(test));
    result.train = detail::alphabets_source(split.train, split.tasks, o.within);
    result.validation = detail::alphabets_source(split.train, split.validation, o.within);
    result.test = detail::alphabets_source(split.test, split.unseen, o.within);
    result.split = split.text();
    return result;
  }
  const CharacterClasses all(std::move(data), source);
  const CharacterImages& images = all.images();
  const auto alphabet_of = [&](Index c) -> const std::string& {
    return images.alphabet_names[static_cast<std::size_t>(images.character_alphabet[static_cast<std::size_t>(c)])];
  };
  std::vector<std::string> tested;
  if (o.held_back >= 0) {
    tested = o.held_back_alphabets;
    if (tested.empty()) tested = {"Armenian", "Bengali", "Futurama", "Hebrew", "Mkhedruli_(Georgian)"};
    const auto known = [&](const std::string& name) { return detail::holds(images.alphabet_names, name); };
    if (o.held_back_alphabets.empty() && !std::all_of(tested.begin(), tested.end(), known)) {
      const auto count = std::min<std::ptrdiff_t>(5, images.alphabet_count() - 1);
      tested.assign(images.alphabet_names.end() - count, images.alphabet_names.end());
    }
    for (const std::string& name : tested)
      if (!known(name)) detail::fail_no_alphabet(source, name, images.alphabet_names);
  }
  const auto is_tested = [&](Index c) {
    if (o.held_back >= 0) return detail::holds(tested, alphabet_of(c));
    return !test && !images.split.empty() && images.split[static_cast<std::size_t>(c)] == 1;
  };
  std::vector<std::string> trainable;
  for (const std::string& name : all.pool(false, [&](Index c) { return !is_tested(c); }).names)
    trainable.push_back(name);
  const bool minimal = !o.train_alphabets.empty();
  std::vector<std::string> validated;
  if (minimal) {
    for (const std::string& name : o.train_alphabets) {
      if (!detail::holds(images.alphabet_names, name)) detail::fail_no_alphabet(source, name, trainable, "training ");
      if (!detail::holds(trainable, name)) fail_file(source, {"tests on the alphabet ", detail::in_quotes(name)});
    }
    trainable = o.train_alphabets;
  } else {
    if (trainable.size() < 2) fail_file(source, "no two alphabets are left to train and to validate on");
    validated = detail::validation_alphabets({}, trainable, source);
  }
  const auto pool_of = [&](bool turns, const std::vector<std::string>& names, bool but = false) {
    return all.pool(turns, [&](Index c) {
      return !is_tested(c) && detail::holds(names, alphabet_of(c)) &&
             !(but && detail::holds(validated, alphabet_of(c)));
    });
  };
  const ClassPool training = pool_of(true, trainable, true),
                  validation = pool_of(false, minimal ? trainable : validated);
  if (training.all.empty()) fail_file(source, "no alphabet is left to train on");
  result.train = detail::alphabets_source(all, training, o.within);
  result.validation = detail::alphabets_source(all, validation, o.within);
  if (minimal) {
    std::int64_t drawers = 0;
    for (const std::int64_t drawer : images.drawer_id) drawers = std::max(drawers, drawer + 1);
    const std::int64_t first = drawers - drawers / 4;
    result.train = detail::of_drawers(result.train, images, [first](std::int64_t d) { return d < first; });
    result.validation = detail::of_drawers(result.validation, images, [first](std::int64_t d) { return d >= first; });
  }
  const CharacterClasses& tests = test ? *test : all;
  const ClassPool unseen = tests.pool(false, [&](Index c) { return test || is_tested(c); });
  if (unseen.all.empty()) fail_file(source, "has no character to test on; give a file with --eval");
  if (test) detail::check_apart(all, training, validation, tests, unseen);
  result.test = detail::alphabets_source(tests, unseen, o.within);
  if (o.held_back > 0)
    result.runs.emplace_back("own runs", make_lake_runs(all, tested, o.held_back, random.stream("runs")));
  result.split = std::to_string(training.names.size()) + " training alphabets with " +
                 std::to_string(training.all.size()) + " classes (characters at four turns), " +
                 (minimal ? "other drawings of the same" : std::to_string(validation.all.size()) + " characters") +
                 " for validation, " + std::to_string(unseen.all.size()) + " characters of " +
                 std::to_string(unseen.names.size()) + " alphabets held back";
  return result;
}

/// Items of one set whose classes are dealt out at random: two sevenths of them (two at least) test, as many validate,
/// the others are trained on. Throws FileError for less than six classes.
inline FewShotData few_shot_classes(const ItemSet& set, ItemKind kind, Index size, const Random& random) {
  const Index classes = set.classes(), share = std::max(Index{2}, (2 * classes + 3) / 7);
  if (classes < 6) fail_file(set.source, {"has ", classes, " classes; six or more are needed to train and test"});
  std::vector<Index> order = random.stream("classes").permutation(classes);
  const auto part = [&](Index from, Index to) {
    std::vector<Index> own(order.begin() + from, order.begin() + to);
    std::sort(own.begin(), own.end());
    return EpisodeSource{set, {own}, {"their set of classes"}};
  };
  FewShotData data;
  data.kind = kind;
  data.size = size;
  data.train = part(2 * share, classes);
  data.validation = part(share, 2 * share);
  data.test = part(0, share);
  data.split = std::to_string(classes - 2 * share) + " classes to train on, " + std::to_string(share) +
               " for validation, " + std::to_string(share) + " for the test";
  return data;
}

/// The labelled nodes of a graph, each by its number. The table is the `compared_features` after `hops`, times the
/// square root of their width, so that an entry is about 1.
inline FewShotData few_shot_nodes(const NodeLabels& nodes, const std::string& source, const Random& random,
                                  Index hops = 8) {
  std::vector<std::string> names;
  for (Index c = 0; c < nodes.classes; ++c) names.push_back("class " + std::to_string(c));
  FewShotData data = few_shot_classes(number_items(from_vector(nodes.known_labels()), names, source), ItemKind::nodes,
                                      nodes.features.columns(), random);
  data.entries = nodes.nodes();
  data.table = compared_features(nodes, hops) * std::sqrt(static_cast<float>(nodes.features.columns()));
  return data;
}

/// Texts of a file, as `load_labelled_texts` reads it, as ids of their words (`words_of`): 0 is no word, 1 a word that
/// fewer than two texts of the training classes hold; of longer texts the first `length` words are taken. Errors:
/// FileError.
inline FewShotData few_shot_texts(const std::string& path, const Random& random, Index length = 32) {
  const LabelledTexts all = load_labelled_texts(path);
  std::vector<std::vector<std::string>> texts;
  for (const std::string& text : all.texts) texts.push_back(words_of(text));
  const auto count = static_cast<Index>(texts.size());
  const auto items = [&](const std::vector<float>& ids) {
    return vector_items(from_vector(ids, {count, length}), from_vector(all.labels), all.class_names, path);
  };
  const FewShotData dealt = few_shot_classes(items(std::vector<float>(static_cast<std::size_t>(count * length))),
                                             ItemKind::texts, length, random);
  std::map<std::string, Index> counts;  // texts of training classes that hold a word
  for (const Index c : dealt.train.tasks[0])
    for (const Index item : dealt.train.items.items[c]) {
      std::vector<std::string> words = texts[static_cast<std::size_t>(item)];
      std::sort(words.begin(), words.end());
      words.erase(std::unique(words.begin(), words.end()), words.end());
      for (const std::string& word : words) ++counts[word];
    }
  std::map<std::string, Index> number;
  for (const auto& [word, held] : counts)
    if (held > 1) number.emplace(word, static_cast<Index>(number.size()) + 2);
  std::vector<float> ids(static_cast<std::size_t>(count * length));
  for (std::size_t i = 0; i < texts.size(); ++i)
    for (std::size_t w = 0; w < std::min(texts[i].size(), static_cast<std::size_t>(length)); ++w) {
      const auto found = number.find(texts[i][w]);
      ids[i * static_cast<std::size_t>(length) + w] = found == number.end() ? 1.0f : static_cast<float>(found->second);
    }
  FewShotData data = few_shot_classes(items(ids), ItemKind::texts, length, random);
  data.entries = static_cast<Index>(number.size()) + 2;
  return data;
}

/// Reads what a file holds: characters (`load_characters`), nodes of a graph (an .npz file with `edge_index`, as
/// `load_node_labels` reads it), texts (.tsv), or vectors (an .npz file with `x` [n, width] and `y` [n]); "glyphs" are
/// the generated characters. `eval` is a file of characters to test on, or "". `random` deals out classes and draws
/// runs. Throws FileError for what cannot be read, and where what is asked for needs characters and these are none.
GRAFT_ONCE FewShotData load_few_shot(const std::string& path, const std::string& eval,
                                     const CharacterProtocol& protocol, const Random& random) {
  const auto characters = [&](CharacterImages images, const std::string& source) {
    if (eval.empty()) return few_shot_characters(std::move(images), source, protocol, random);
    return few_shot_characters(std::move(images), source, protocol, random,
                               CharacterClasses(load_characters(eval), eval));
  };
  if (path == "glyphs") return characters(make_glyphs(), "the generated characters");
  const auto no_characters = [&] {
    if (!eval.empty() || protocol.within || protocol.held_back >= 0 || !protocol.train_alphabets.empty())
      fail_file(path, "holds no characters, but a test file, alphabets or a protocol of characters are asked for");
  };
  if (path.ends_with(".tsv")) {
    no_characters();
    return few_shot_texts(path, random);
  }
  const ArrayFile file = read_npz(path);
  const bool graph = file.contains("edge_index");
  if (!graph && (!file.contains("x") || !file.contains("y"))) return characters(load_characters(path), path);
  no_characters();
  if (graph) return few_shot_nodes(load_node_labels(path), path, random);
  const Array& x = file.at("x").with_shape({-1, -1});
  const Array& y = file.at("y").with_shape({x.shape[0]});
  return few_shot_classes(vector_items(to_tensor<float>(x), to_tensor<std::int64_t>(y), {}, path), ItemKind::vectors,
                          x.shape[1], random);
}
GRAFT_HELD(FewShotData load_few_shot<>(const std::string&, const std::string&, const CharacterProtocol&, const Random&))

}  // namespace GRAFT_ABI
}  // namespace graft
