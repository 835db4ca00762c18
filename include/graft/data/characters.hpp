#pragma once
// Images of handwritten characters of many alphabets, as Omniglot has them (Lake, Salakhutdinov and Tenenbaum, "Human-
// level concept learning through probabilistic program induction", Science 2015), and their .npz file layout.

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/io/npz.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Characters of alphabets, each drawn by several people. 0 is background, 255 full ink. Every id counts from 0.
struct CharacterImages {
  std::vector<std::uint8_t> images;              ///< [images, height, width]
  Index height = 28, width = 28;                 ///< pixels
  std::vector<std::int64_t> character_id;        ///< [images], unique over all alphabets
  std::vector<std::int64_t> alphabet_id;         ///< [images]
  std::vector<std::int64_t> drawer_id;           ///< [images]
  std::vector<std::int64_t> character_alphabet;  ///< [characters]
  std::vector<std::string> alphabet_names;       ///< [alphabets]
  /// [characters], or empty if the source has no split: 0 to train on, 1 held out. Files with Vinyals' split of all of
  /// Omniglot say 1 for validation and 2 for test.
  std::vector<std::int64_t> split;

  Index image_count() const { return static_cast<Index>(character_id.size()); }
  Index character_count() const { return static_cast<Index>(character_alphabet.size()); }
  Index alphabet_count() const { return static_cast<Index>(alphabet_names.size()); }
  /// Pixels of one image, row by row. Throws IndexError.
  std::span<const std::uint8_t> image(Index i, Site site = Site::current()) const {
    if (i < 0 || i >= image_count())
      fail<IndexError>("CharacterImages::image", {"image ", i, " of ", image_count()}, {}, site);
    const auto size = static_cast<std::size_t>(height * width);
    return std::span(images).subspan(static_cast<std::size_t>(i) * size, size);
  }
};

namespace detail {

inline std::vector<std::int64_t> id_array(const ArrayFile& file, const char* name, Index count) {
  const auto ids = file.at(name).with_shape({count}).as<std::int64_t>();
  return {ids.begin(), ids.end()};
}

/// Every id is in [0, bound).
inline void check_ids(const ArrayFile& file, const char* name, const std::vector<std::int64_t>& ids, Index bound) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= bound)
      file.at(name).fail({"element ", i, " is ", ids[i], ", outside [0, ", bound, ")"});
}

}  // namespace detail

/// Throws FileError, naming `source`, unless there are as many pixels, ids and names as each other say and every id is
/// in its range.
inline void check_characters(const CharacterImages& data, const std::string& source) {
  const auto images = static_cast<Index>(data.character_id.size());
  const auto require = [&](bool right, const char* what) {
    if (!right) fail_file(source, {"is no set of characters: ", what});
  };
  const auto below = [](const std::vector<std::int64_t>& ids, Index bound) {
    return std::all_of(ids.begin(), ids.end(), [&](std::int64_t id) { return id >= 0 && id < bound; });
  };
  Index pixels = 0, bytes = 0;
  require(data.height > 0 && data.width > 0 && !__builtin_mul_overflow(data.height, data.width, &pixels) &&
              !__builtin_mul_overflow(pixels, images, &bytes) && bytes == static_cast<Index>(data.images.size()),
          "the number of pixels is wrong");
  require(below(data.character_id, data.character_count()), "a character id is out of range");
  require(below(data.character_alphabet, data.alphabet_count()), "an alphabet id is out of range");
  bool fit = std::ssize(data.alphabet_id) == images;
  for (std::size_t i = 0; fit && i < data.alphabet_id.size(); ++i)
    fit = data.alphabet_id[i] == data.character_alphabet[static_cast<std::size_t>(data.character_id[i])];
  require(fit, "an image's alphabet is not its character's");
  require(std::ssize(data.drawer_id) == images && below(data.drawer_id, std::numeric_limits<Index>::max()),
          "the drawers are not one an image, from 0");
  require(data.split.empty() || data.split.size() == data.character_alphabet.size(),
          "the split is not one of its characters");
}

/// What the images are, for comparison: checksums of the images, of their labels, of the split and of the names of the
/// alphabets, by name.
GRAFT_ONCE std::vector<std::pair<std::string, std::string>> fingerprints(const CharacterImages& data) {
  std::string names;
  for (const std::string& name : data.alphabet_names) names += name + "\n";
  const std::vector<Index> sizes{data.image_count(), data.height, data.width};
  return {{"images", fingerprint(sizes, data.images)},
          {"labels", fingerprint(data.character_id, data.character_alphabet)},
          {"split", fingerprint(data.split)},
          {"alphabet names", fingerprint(names)}};
}
GRAFT_HELD(std::vector<std::pair<std::string, std::string>> fingerprints<>(const CharacterImages&))

namespace detail {

/// Throws FileError, which lists those that there are, for an alphabet that `names` has not.
[[noreturn]] inline void fail_no_alphabet(const std::string& source, const std::string& name,
                                          const std::vector<std::string>& names, const char* kind = "") {
  fail_file(source, {"has no ", kind, "alphabet named ", in_quotes(name), "; there are ", listed(names)});
}

}  // namespace detail

/// The file beside NAME.npz that names its alphabets: NAME_alphabets.txt.
inline std::string alphabet_names_file(const std::string& path) {
  const bool npz = path.size() > 4 && path.compare(path.size() - 4, 4, ".npz") == 0;
  return path.substr(0, path.size() - (npz ? 4 : 0)) + "_alphabets.txt";
}

/// Reads an .npz file in the layout
///
///     images              uint8  [images, height, width]
///     character_id        int64  [images]                  in [0, characters)
///     alphabet_id         int64  [images]                  the alphabet of that character
///     drawer_id           int64  [images]                  from 0
///     character_alphabet  int64  [characters]              in [0, 65536)
///     vinyals_split       int64  [characters], optional    0, 1 or 2
///
/// and names the alphabets by the lines of NAME_alphabets.txt beside NAME.npz if there is such a file, else
/// "alphabet_0", "alphabet_1" and so on. Other arrays, of whatever kind, are not looked at. Errors: FileError for a
/// file that `read_npz` refuses, an array that is missing or has another dtype or shape, an id out of range or at odds
/// with another, a character without images, or fewer names than alphabets.
GRAFT_ONCE CharacterImages load_characters(const std::string& path) {
  const ArrayFile file =
      read_npz(path, {"images", "character_id", "alphabet_id", "drawer_id", "character_alphabet", "vinyals_split"});
  CharacterImages data;

  const Array& images = file.at("images").with_shape({-1, -1, -1});
  const auto pixels = images.as<std::uint8_t>();
  if (pixels.empty()) images.fail({"holds no pixels, its shape is ", to_string(images.shape)});
  data.images.assign(pixels.begin(), pixels.end());
  data.height = images.shape[1];
  data.width = images.shape[2];

  const Index count = images.shape[0];
  data.character_alphabet = detail::id_array(file, "character_alphabet", -1);
  const Index characters = data.character_count();
  data.character_id = detail::id_array(file, "character_id", count);
  data.alphabet_id = detail::id_array(file, "alphabet_id", count);
  data.drawer_id = detail::id_array(file, "drawer_id", count);
  detail::check_ids(file, "character_alphabet", data.character_alphabet, 65536);  // a name is made for each below
  detail::check_ids(file, "character_id", data.character_id, characters);
  detail::check_ids(file, "drawer_id", data.drawer_id, std::numeric_limits<Index>::max());

  std::vector<bool> drawn(static_cast<std::size_t>(characters));
  for (std::size_t i = 0; i < data.character_id.size(); ++i) {
    const auto character = static_cast<std::size_t>(data.character_id[i]);
    drawn[character] = true;
    if (data.alphabet_id[i] != data.character_alphabet[character])
      file.at("alphabet_id")
          .fail({"image ", i, " has alphabet ", data.alphabet_id[i], ", but its character ", character,
                 " is of alphabet ", data.character_alphabet[character]});
  }
  for (std::size_t c = 0; c < drawn.size(); ++c)
    if (!drawn[c]) file.at("character_id").fail({"character ", c, " has no image"});

  if (file.contains("vinyals_split")) {
    data.split = detail::id_array(file, "vinyals_split", characters);
    detail::check_ids(file, "vinyals_split", data.split, 3);
  }

  const auto alphabets =
      static_cast<std::size_t>(1 + *std::max_element(data.character_alphabet.begin(), data.character_alphabet.end()));
  const std::string names = alphabet_names_file(path);
  if (::access(names.c_str(), F_OK) == 0) {
    data.alphabet_names = read_lines(names);
    if (data.alphabet_names.size() < alphabets)
      fail_file(names, {"has ", data.alphabet_names.size(), " names, ", alphabets, " alphabets are in ", path});
    data.alphabet_names.resize(alphabets);
  } else {
    for (std::size_t a = 0; a < alphabets; ++a) data.alphabet_names.push_back("alphabet_" + detail::as_text(a));
  }
  return data;
}
GRAFT_HELD(CharacterImages load_characters<>(const std::string&))

}  // namespace GRAFT_ABI
}  // namespace graft
