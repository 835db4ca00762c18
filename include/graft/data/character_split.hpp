#pragma once
// Which characters are trained on, which choose the model, and which test it: whole alphabets apart, by the data's own
// split or by a second file, and none of the test among those trained on.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/data/character_classes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The three parts of the data. `test` may be of another file than the rest.
struct CharacterSplit {
  CharacterClasses train, test;
  ClassPool tasks;       ///< of `train`, at all four turns: an alphabet is a task
  ClassPool validation;  ///< of `train`, upright
  ClassPool unseen;      ///< of `test`, upright

  /// One line: how many of everything.
  std::string text() const {
    return std::to_string(tasks.names.size()) + " training alphabets with " + std::to_string(tasks.all.size()) +
           " classes (characters at four turns), " + std::to_string(validation.all.size()) +
           " characters for validation, " + std::to_string(unseen.all.size()) + " for the test";
  }
};

namespace detail {

/// The alphabets that are kept for validation: the ones asked for, else the customary three of Omniglot where they are,
/// else the last three (or as many as leave one to train on).
inline std::vector<std::string> validation_alphabets(const std::vector<std::string>& asked,
                                                     const std::vector<std::string>& names, const std::string& source) {
  const auto known = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& name : asked)
    if (!known(name)) fail_no_alphabet(source, name, names, "training ");
  if (!asked.empty()) return asked;
  const std::vector<std::string> customary{"Grantha", "N_Ko", "Japanese_(hiragana)"};
  if (std::all_of(customary.begin(), customary.end(), known)) return customary;
  const auto count = static_cast<std::ptrdiff_t>(std::min<std::size_t>(3, names.size() - 1));
  return {names.end() - count, names.end()};
}

}  // namespace detail

/// How many characters of `test` are also among `seen`: half of their images or more are, pixel by pixel, images of one
/// character there. Classes of both are characters at their turns; only the characters matter.
inline Index shared_characters(const CharacterClasses& seen, const std::vector<Index>& seen_classes,
                               const CharacterClasses& test, const std::vector<Index>& test_classes) {
  const auto characters = [](const CharacterClasses& of, const std::vector<Index>& classes) {
    std::vector<bool> wanted(static_cast<std::size_t>(of.images().character_count()));
    for (Index c : classes) {
      if (c < 0 || c / 4 >= of.images().character_count())
        fail<IndexError>("shared_characters", {"class ", c, " of ", 4 * of.images().character_count()});
      wanted[static_cast<std::size_t>(c / 4)] = true;
    }
    return wanted;
  };
  const auto pixels = [](const CharacterClasses& of, Index image) {
    const auto bytes = of.images().image(image);
    return std::string_view(reinterpret_cast<const char*>(std::data(bytes)), bytes.size());
  };
  const auto character_of = [](const CharacterClasses& of, Index image) {
    return static_cast<std::size_t>(of.images().character_id[static_cast<std::size_t>(image)]);
  };
  const std::vector<bool> trained = characters(seen, seen_classes), tested = characters(test, test_classes);
  std::vector<std::pair<std::string_view, std::size_t>> known;  // image, its character
  for (Index i = 0; i < seen.images().image_count(); ++i)
    if (trained[character_of(seen, i)]) known.emplace_back(pixels(seen, i), character_of(seen, i));
  std::sort(known.begin(), known.end());

  std::vector<Index> images(tested.size());
  std::vector<std::pair<std::size_t, std::size_t>> matches;  // test character, seen character: one entry an image
  for (Index i = 0; i < test.images().image_count(); ++i) {
    const std::size_t own = character_of(test, i);
    if (!tested[own]) continue;
    ++images[own];
    const std::string_view image = pixels(test, i);
    std::size_t last = trained.size();
    for (auto at = std::lower_bound(known.begin(), known.end(), std::pair(image, std::size_t{0}));
         at != known.end() && at->first == image; ++at)
      if (at->second != last) matches.emplace_back(own, last = at->second);
  }
  std::sort(matches.begin(), matches.end());
  Index shared = 0;
  std::size_t counted = tested.size();  // the test character that was counted last
  for (std::size_t i = 0, j = 0; i < matches.size(); i = j) {
    while (j < matches.size() && matches[j] == matches[i]) ++j;
    const std::size_t own = matches[i].first;
    if (own == counted || 2 * static_cast<Index>(j - i) < images[own]) continue;
    counted = own;
    ++shared;
  }
  return shared;
}

namespace detail {

/// Throws FileError unless the images of a test are as large as those that are trained on, and none of its characters
/// is among those that train or choose the model.
inline void check_apart(const CharacterClasses& train, const ClassPool& tasks, const ClassPool& validation,
                        const CharacterClasses& test, const ClassPool& unseen) {
  if (test.images().height != train.images().height)
    fail_file(test.source(), {"images are ", test.images().height, " pixels wide, those of ", train.source(), " ",
                              train.images().width});
  std::vector<Index> seen = tasks.all;
  seen.insert(seen.end(), validation.all.begin(), validation.all.end());
  if (const Index shared = shared_characters(train, seen, test, unseen.all); shared > 0)
    fail_file(test.source(), {shared, " of the ", unseen.all.size(),
                              " characters to test on are trained on too: their images are the same in ",
                              train.source()});
}

}  // namespace detail

/// Splits the characters of `data`, from `source`. The test is its split 1, or all of `test` where that is given; then
/// all of `data` may be trained on. `validation` names the alphabets that choose the model, none: three that are
/// customary. Errors: FileError if a part would be empty, an alphabet is unknown, the images differ in size, or
/// characters of the test are trained on too.
GRAFT_ONCE CharacterSplit split_characters(CharacterImages data, const std::string& source,
                                           const std::vector<std::string>& validation = {},
                                           std::optional<CharacterClasses> test = {}) {
  const CharacterClasses train(std::move(data), source);
  const CharacterImages& images = train.images();
  if (!test && images.split.empty())
    fail_file(source, "has no array 'vinyals_split' that says which characters are the test; give a file with --eval");
  const auto split_is = [&](Index wanted) {
    return [&images, wanted](Index c) { return images.split[static_cast<std::size_t>(c)] == wanted; };
  };
  const auto trainable = [&](Index c) { return test || split_is(0)(c); };
  const ClassPool candidates = train.pool(false, trainable);
  if (candidates.names.size() < 2)
    fail_file(source, "needs two training alphabets or more, one of them for validation");
  const std::vector<std::string> chosen = detail::validation_alphabets(validation, candidates.names, source);
  const auto validates = [&](Index c) {
    const auto alphabet = static_cast<std::size_t>(images.character_alphabet[static_cast<std::size_t>(c)]);
    return std::find(chosen.begin(), chosen.end(), images.alphabet_names[alphabet]) != chosen.end();
  };
  const ClassPool tasks = train.pool(true, [&](Index c) { return trainable(c) && !validates(c); });
  if (tasks.names.empty()) fail_file(source, "no alphabet is left to train on");
  const ClassPool validated = train.pool(false, [&](Index c) { return trainable(c) && validates(c); });

  const ClassPool unseen = test ? test->pool(false, [](Index) { return true; }) : train.pool(false, split_is(1));
  if (unseen.all.empty()) fail_file(source, "has no character of split 1 to test on; give a file with --eval");
  const CharacterClasses& tested = test ? *test : train;
  detail::check_apart(train, tasks, validated, tested, unseen);
  return {train, tested, tasks, validated, unseen};
}
GRAFT_HELD(CharacterSplit split_characters<>(CharacterImages, const std::string&, const std::vector<std::string>&,
                                             std::optional<CharacterClasses>))

/// The same for files in the layout of `load_characters`; `test` is a file or "".
GRAFT_ONCE CharacterSplit load_character_split(const std::string& data, const std::string& test = "",
                                               const std::vector<std::string>& validation = {}) {
  if (test.empty()) return split_characters(load_characters(data), data, validation);
  return split_characters(load_characters(data), data, validation, CharacterClasses(load_characters(test), test));
}
GRAFT_HELD(CharacterSplit load_character_split<>(const std::string&, const std::string&,
                                                 const std::vector<std::string>&))

}  // namespace GRAFT_ABI
}  // namespace graft
