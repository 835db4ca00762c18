#pragma once
// Characters as classes of few-shot episodes. A class is a character seen at one of four quarter turns, 4 character +
// turn: turned characters are new ones (Santoro et al., "Meta-learning with memory-augmented neural networks", ICML
// 2016).

#include <string>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/data/characters.hpp"
#include "graft/data/episodes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Classes that episodes are drawn from.
struct ClassPool {
  std::vector<std::vector<Index>> by_alphabet;  ///< [alphabets with classes]
  std::vector<std::string> names;               ///< of these alphabets
  std::vector<Index> all;                       ///< the classes of all of them
};

/// Images of characters, and the episodes made of them. `source` is the file, or what else they come from, for errors.
class CharacterClasses {
 public:
  /// Errors: FileError unless the images are squares of at least 16 x 16 pixels, with ids that fit together.
  CharacterClasses(CharacterImages images, std::string source)
      : images_(std::move(images)), source_(std::move(source)) {
    if (images_.height != images_.width || images_.height < 16)
      fail_file(source_,
                {"images are ", images_.height, " x ", images_.width, ", expected squares of at least 16 x 16 pixels"});
    check_characters(images_, source_);
    items_ = ClassItems(4 * images_.character_count());
    Index image = 0;
    for (Index c : images_.character_id) {
      for (Index turn = 0; turn < 4; ++turn) items_[4 * c + turn].push_back(image);
      ++image;
    }
  }

  const CharacterImages& images() const { return images_; }
  const std::string& source() const { return source_; }

  /// The classes of the characters for which `wanted(character)`, upright or at all four turns.
  template <class Wanted>
  ClassPool pool(bool all_turns, Wanted wanted) const {
    List<std::vector<Index>> of(images_.alphabet_count());
    Index c = 0;
    for (Index alphabet : images_.character_alphabet) {
      for (Index turn = 0; turn < (all_turns ? 4 : 1) && wanted(c); ++turn) of[alphabet].push_back(4 * c + turn);
      ++c;
    }
    ClassPool pool;
    auto name = images_.alphabet_names.begin();
    for (std::vector<Index>& classes : of) {
      if (!classes.empty()) {
        pool.all.insert(pool.all.end(), classes.begin(), classes.end());
        pool.by_alphabet.push_back(std::move(classes));
        pool.names.push_back(*name);
      }
      ++name;
    }
    return pool;
  }

  /// Throws FileError unless there are enough `classes` (those of `where`) for episodes of these sizes and each has
  /// enough images. `purpose` names the episodes: "training".
  void check(const std::string& purpose, const std::vector<Index>& classes, const EpisodeOptions& o,
             const std::string& where) const {
    if (o.ways > static_cast<Index>(classes.size()))
      fail_file(source_, {"impossible ", purpose, " episodes: ", o.ways, " ways, but ", where, " has ", classes.size(),
                          " classes"});
    for (Index c : classes) {
      const Index held = items_of(c).size();
      if (o.shots > held || o.queries > held - o.shots)
        fail_file(source_, {"impossible ", purpose, " episodes: ", o.shots, " shots and ", o.queries,
                            " queries a class, but character ", c / 4, " has ", held, " images"});
    }
  }

  /// The same for episodes within each alphabet of a pool.
  void check(const std::string& purpose, const ClassPool& pool, const EpisodeOptions& o) const {
    for (std::size_t a = 0; a < pool.by_alphabet.size(); ++a)
      check(purpose, pool.by_alphabet[a], o, "alphabet " + pool.names[a]);
  }

  /// An episode of some of `classes`. Throws as `draw_episode`.
  EpisodeIndices draw(const std::vector<Index>& classes, const EpisodeOptions& options, const Random& random,
                      Site site = Site::current()) const {
    return draw_episode(items_, classes, options, random, site);
  }

  /// The images of an episode, [items, size, size, 1] with ink in [0, 1]. Throws ValueError, IndexError for an episode
  /// that is not of this set.
  Episode<> render(const EpisodeIndices& drawn, Site site = Site::current()) const {
    const auto ways = static_cast<Index>(drawn.classes.size());
    const auto side = [&](const std::vector<Index>& items) -> LabelledSet<> {
      if (ways == 0 || items.size() % drawn.classes.size() != 0)
        fail("CharacterClasses::render", {items.size(), " items of ", ways, " classes"}, {}, site);
      const Index each = static_cast<Index>(items.size()) / ways, size = images_.height;
      std::vector<float> ink(items.size() * static_cast<std::size_t>(size * size));
      for (std::size_t i = 0; i < items.size(); ++i)
        turn(std::data(images_.image(items[i], site)), drawn.classes[i / static_cast<std::size_t>(each)] % 4,
             std::data(ink) + static_cast<Index>(i) * size * size);
      return {from_vector(ink, {ways * each, size, size, 1}), episode_labels(ways, each)};
    };
    return {side(drawn.support), side(drawn.query), ways};
  }

 private:
  const List<Index>& items_of(Index c) const {
    if (c < 0 || c >= items_.size()) fail<IndexError>("CharacterClasses", {"class ", c, " of ", items_.size()});
    return items_[c];
  }
  /// Copies an image, turned counter-clockwise by `quarters` right angles.
  void turn(const std::uint8_t* from, Index quarters, float* to) const {
    const Index n = images_.height;
    for (Index y = 0; y < n; ++y)
      for (Index x = 0; x < n; ++x) {
        const Index at = quarters == 0   ? y * n + x
                         : quarters == 1 ? x * n + (n - 1 - y)
                         : quarters == 2 ? (n - 1 - y) * n + (n - 1 - x)
                                         : (n - 1 - x) * n + y;
        to[y * n + x] = static_cast<float>(from[at]) * (1.0f / 255);
      }
  }

  CharacterImages images_;
  std::string source_;
  ClassItems items_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
