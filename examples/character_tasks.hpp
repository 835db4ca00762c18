#pragma once
// The data of the main job: which characters are trained on, which choose the model and which test it, and how their
// images become episodes. A class is a character seen at one of four quarter turns: 4 character + turn.

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "graft/data/characters.hpp"
#include "graft/data/episodes.hpp"

namespace collaborate {

using namespace graft;

/// What the user can put right: one line, exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Classes that episodes are drawn from.
struct ClassPool {
  std::vector<std::vector<Index>> by_alphabet;  ///< [alphabets with classes]
  std::vector<std::string> names;               ///< of these alphabets
  std::vector<Index> all;                       ///< the classes of all of them
};

/// Images of characters, and the episodes made of them.
class Characters {
 public:
  Characters(CharacterImages images, std::string source) : images_(std::move(images)), source_(std::move(source)) {
    if (images_.height != images_.width || images_.height < 16)
      throw UsageError(source_ + ": images are " + std::to_string(images_.height) + " x " +
                       std::to_string(images_.width) + ", expected squares of at least 16 x 16 pixels");
    items_.resize(static_cast<std::size_t>(4 * images_.character_count()));
    for (Index i = 0; i < images_.image_count(); ++i)
      for (Index turn = 0; turn < 4; ++turn)
        items_[static_cast<std::size_t>(4 * images_.character_id[static_cast<std::size_t>(i)] + turn)].push_back(i);
  }

  const CharacterImages& images() const { return images_; }
  /// Where they come from, for messages.
  const std::string& source() const { return source_; }

  /// The classes of the characters for which `wanted(character)`, upright or at all four turns.
  template <class Wanted>
  ClassPool pool(bool all_turns, Wanted wanted) const {
    std::vector<std::vector<Index>> of(static_cast<std::size_t>(images_.alphabet_count()));
    for (Index c = 0; c < images_.character_count(); ++c)
      for (Index turn = 0; turn < (all_turns ? 4 : 1) && wanted(c); ++turn) of[alphabet(c)].push_back(4 * c + turn);
    ClassPool pool;
    for (std::size_t a = 0; a < of.size(); ++a) {
      if (of[a].empty()) continue;
      pool.all.insert(pool.all.end(), of[a].begin(), of[a].end());
      pool.by_alphabet.push_back(std::move(of[a]));
      pool.names.push_back(images_.alphabet_names[a]);
    }
    return pool;
  }
  std::size_t alphabet(Index character) const {
    return static_cast<std::size_t>(images_.character_alphabet[static_cast<std::size_t>(character)]);
  }

  /// Throws UsageError unless every class of the pool has enough images and `classes` has enough of them.
  void check(const char* purpose, const std::vector<Index>& classes, const EpisodeOptions& o,
             const std::string& where) const {
    if (o.ways > static_cast<Index>(classes.size()))
      throw UsageError(source_ + ": impossible " + purpose + " episodes: " + std::to_string(o.ways) + " ways, but " +
                       where + " has " + std::to_string(classes.size()) + " classes");
    for (Index c : classes) {
      const auto held = static_cast<Index>(items_[static_cast<std::size_t>(c)].size());
      if (o.shots + o.queries > held)
        throw UsageError(source_ + ": impossible " + purpose + " episodes: " + std::to_string(o.shots) + " shots and " +
                         std::to_string(o.queries) + " queries a class, but character " + std::to_string(c / 4) +
                         " has " + std::to_string(held) + " images");
    }
  }

  EpisodeIndices draw(const std::vector<Index>& classes, const EpisodeOptions& options, const Random& random) const {
    return draw_episode(items_, classes, options, random);
  }

  /// The images of an episode [items, size, size, 1] with ink in [0, 1].
  Episode<> render(const EpisodeIndices& drawn) const {
    const auto ways = static_cast<Index>(drawn.classes.size());
    const auto side = [&](const std::vector<Index>& items) {
      const Index each = static_cast<Index>(items.size()) / ways, size = images_.height;
      Tensor<> x = detail::fresh<float>({ways * each, size, size, 1});
      for (Index i = 0; i < ways * each; ++i)
        turn(images_.image(items[static_cast<std::size_t>(i)]).data(),
             drawn.classes[static_cast<std::size_t>(i / each)] % 4, detail::writable(x) + i * size * size);
      return LabelledSet<>{x, episode_labels(ways, each)};
    };
    return {side(drawn.support), side(drawn.query), ways};
  }

 private:
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

/// Episodes that every method answers: with classes from anywhere, and with all classes of one alphabet.
struct EpisodeSuite {
  std::vector<EpisodeIndices> unstructured, within_alphabet;
};

/// `count` episodes of each kind. Alphabets with fewer characters than ways are left out of the second kind.
inline EpisodeSuite draw_suite(const char* purpose, const Characters& characters, const ClassPool& pool,
                               const EpisodeOptions& options, Index count, const Random& random) {
  characters.check(purpose, pool.all, options, "their set of characters");
  std::vector<const std::vector<Index>*> large;
  for (const auto& alphabet : pool.by_alphabet)
    if (static_cast<Index>(alphabet.size()) >= options.ways) large.push_back(&alphabet);
  if (large.empty())
    throw UsageError(characters.source() + ": impossible " + purpose + " episodes: " + std::to_string(options.ways) +
                     " ways, but no alphabet has so many characters");
  EpisodeSuite suite;
  for (Index i = 0; i < count; ++i) {
    const auto number = static_cast<std::uint64_t>(i);
    const Random free = random.stream("unstructured").stream(number), bound = random.stream("within").stream(number);
    suite.unstructured.push_back(characters.draw(pool.all, options, free));
    const auto chosen = static_cast<std::size_t>(bound.below(0, static_cast<Index>(large.size())));
    suite.within_alphabet.push_back(characters.draw(*large[chosen], options, bound.stream("episode")));
  }
  return suite;
}

/// Share of queries whose nearest support image, by Euclidean distance of pixels, is of the right class.
inline double nearest_pixel_accuracy(const Episode<>& episode) {
  const Index queries = episode.query.x.size(0), supports = episode.support.x.size(0);
  const Index pixels = episode.query.x.count() / queries;
  Index right = 0;
  for (Index q = 0; q < queries; ++q) {
    double best = 1e300;
    Index label = 0;
    for (Index s = 0; s < supports; ++s) {
      double distance = 0;
      for (Index p = 0; p < pixels; ++p) {
        const double gap = episode.query.x.data()[q * pixels + p] - episode.support.x.data()[s * pixels + p];
        distance += gap * gap;
      }
      if (distance < best) {
        best = distance;
        label = episode.support.y.data()[s];
      }
    }
    right += label == episode.query.y.data()[q];
  }
  return static_cast<double>(right) / static_cast<double>(queries);
}

}  // namespace collaborate
