#pragma once
// Characters as classes of few-shot episodes. A class is a character seen at one of four quarter turns, 4 character +
// turn: turned characters are new ones (Santoro et al., "Meta-learning with memory-augmented neural networks", ICML
// 2016).

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/data/characters.hpp"
#include "graft/data/item_set.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Copies an image of n x n bytes as ink in [0, 1], turned counter-clockwise by `quarters` right angles.
inline void turned_ink(const std::uint8_t* from, Index n, Index quarters, float* to) {
  for (Index y = 0; y < n; ++y)
    for (Index x = 0; x < n; ++x) {
      const Index at = quarters == 0   ? y * n + x
                       : quarters == 1 ? x * n + (n - 1 - y)
                       : quarters == 2 ? (n - 1 - y) * n + (n - 1 - x)
                                       : (n - 1 - x) * n + y;
      to[y * n + x] = static_cast<float>(from[at]) * (1.0f / 255);
    }
}

}  // namespace detail

/// Images of characters as a set of items [size, size, 1] with ink in [0, 1], whose classes are the characters at four
/// turns: `items()` draws, checks and shows episodes. `source` is the file, or what else they come from, for errors.
/// Copies share the images.
class CharacterClasses {
 public:
  /// Errors: FileError unless the images are squares of at least 16 x 16 pixels, with ids that fit together.
  CharacterClasses(CharacterImages images, std::string source)
      : images_(std::make_shared<const CharacterImages>(std::move(images))) {
    const CharacterImages& all = *images_;
    items_.source = std::move(source);
    if (all.height != all.width || all.height < 16)
      fail_file(items_.source,
                {"images are ", all.height, " x ", all.width, ", expected squares of at least 16 x 16 pixels"});
    check_characters(all, items_.source);
    items_.items = ClassItems(4 * all.character_count());
    Index image = 0;
    for (const Index c : all.character_id) {
      for (Index turn = 0; turn < 4; ++turn) items_.items[4 * c + turn].push_back(image);
      ++image;
    }
    for (Index c = 0; c < all.character_count(); ++c) {
      const Index alphabet = all.character_alphabet[static_cast<std::size_t>(c)];
      const std::string name =
          "character " + std::to_string(c) + " of " + all.alphabet_names[static_cast<std::size_t>(alphabet)];
      for (const char* turn : {"", ", turned by 90", ", turned by 180", ", turned by 270"})
        items_.class_names.push_back(name + turn);
    }
    items_.fingerprints = fingerprints(all);
    items_.inputs = [own = images_](std::span<const Index> chosen, std::span<const Index> classes) {
      if (chosen.size() != classes.size())
        fail("CharacterClasses", {chosen.size(), " items of ", classes.size(), " classes"});
      const Index size = own->height, count = std::ssize(chosen);
      std::vector<float> ink(chosen.size() * static_cast<std::size_t>(size * size));
      for (Index i = 0; i < count; ++i) {
        const auto at = static_cast<std::size_t>(i);
        detail::turned_ink(std::data(own->image(chosen[at])), size, classes[at] % 4, std::data(ink) + i * size * size);
      }
      return from_vector(std::move(ink), {count, size, size, 1});
    };
  }

  const CharacterImages& images() const { return *images_; }
  const ItemSet& items() const { return items_; }
  operator const ItemSet&() const { return items_; }
  const std::string& source() const { return items_.source; }

  /// The classes of the characters for which `wanted(character)`, upright or at all four turns.
  template <class Wanted>
  ClassPool pool(bool all_turns, Wanted wanted) const {
    std::vector<Index> alphabet_of;  // of each class; -1: it is not wanted
    Index c = 0;
    for (const Index alphabet : images_->character_alphabet) {
      const bool is_wanted = wanted(c++);
      for (Index turn = 0; turn < 4; ++turn)
        alphabet_of.push_back(is_wanted && (all_turns || turn == 0) ? alphabet : -1);
    }
    return group_classes(items_, alphabet_of, images_->alphabet_names);
  }

  /// `ItemSet::check` of episodes within each alphabet of a pool.
  void check(const std::string& purpose, const ClassPool& pool, const EpisodeOptions& o) const {
    for (std::size_t a = 0; a < pool.by_alphabet.size(); ++a)
      items_.check(purpose, pool.by_alphabet[a], o, "alphabet " + pool.names[a]);
  }

 private:
  std::shared_ptr<const CharacterImages> images_;
  ItemSet items_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
