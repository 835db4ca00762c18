#pragma once
// Episodes over drawings of characters in which a class may stand for a character, for who drew it, for how it is
// turned or for its alphabet, and which of these is meant is told by the support alone.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "graft/data/character_classes.hpp"
#include "graft/data/item_set.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What tells the classes of an episode apart.
enum class Notion { character, drawer, turn, alphabet };

/// All of them.
inline constexpr Notion kNotions[] = {Notion::character, Notion::drawer, Notion::turn, Notion::alphabet};

/// "character", "drawer", "turn", "alphabet".
inline const char* name_of(Notion notion) {
  static constexpr const char* names[] = {"character", "drawer", "turn", "alphabet"};
  return names[static_cast<int>(notion)];
}

/// A notion within one alphabet; that of the alphabet over all of them.
struct NotionTask {
  Notion notion = Notion::character;
  Index alphabet = -1;  ///< -1: all
};

/// Draws episodes of notions. All images of an episode differ, and what is not asked for is drawn anew for every item:
/// the turn, the character and the person, so that they vary inside every class and the items alone do not give the
/// notion away. Drawers are people of one alphabet: the same number elsewhere is somebody else.
class Notions {
 public:
  /// Of these alphabets, by their numbers in the images. Throws FileError for no alphabets or one that there is not.
  Notions(const CharacterClasses& characters, std::vector<Index> alphabets)
      : items_(characters.items()), alphabets_(std::move(alphabets)) {
    const CharacterImages& images = characters.images();
    if (alphabets_.empty()) fail_file(items_.source, {"no alphabets to ask notions of"});
    images_.resize(static_cast<std::size_t>(images.alphabet_count()));
    for (const Index alphabet : alphabets_)
      if (alphabet < 0 || alphabet >= images.alphabet_count())
        fail_file(items_.source, {"alphabet ", alphabet, " of ", images.alphabet_count()});
    for (Index i = 0; i < images.image_count(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      images_[static_cast<std::size_t>(images.alphabet_id[at])].push_back(
          {i, images.character_id[at], images.drawer_id[at]});
    }
  }

  /// Of the alphabets of a pool's classes.
  Notions(const CharacterClasses& characters, const ClassPool& pool)
      : Notions(characters, alphabets_of(characters, pool)) {}

  /// Their numbers in the images.
  const std::vector<Index>& alphabets() const { return alphabets_; }

  /// The tasks of one notion: one an alphabet, but of the alphabet one over all.
  std::vector<NotionTask> tasks(Notion notion) const {
    if (notion == Notion::alphabet) return {{notion, -1}};
    std::vector<NotionTask> list;
    for (const Index alphabet : alphabets_) list.push_back({notion, alphabet});
    return list;
  }
  /// Character, drawer and turn of each alphabet, then the alphabet.
  std::vector<NotionTask> tasks() const {
    std::vector<NotionTask> list;
    for (const Notion notion : kNotions)
      for (const NotionTask& task : tasks(notion)) list.push_back(task);
    return list;
  }
  /// Those of some notions, each notion's as often as there are alphabets: of tasks that are drawn uniformly, one
  /// notion then takes part as often as another.
  std::vector<NotionTask> even_tasks(const std::vector<Notion>& notions) const {
    std::vector<NotionTask> list;
    for (const Notion notion : notions) {
      const std::vector<NotionTask> own = tasks(notion);
      for (std::size_t i = 0; i < alphabets_.size(); ++i) list.push_back(own[i % own.size()]);
    }
    return list;
  }

  /// An episode of a notion, of a task that is drawn uniformly from its tasks; of the alphabet with as many ways as
  /// there are alphabets, if these are fewer. Throws as the other form.
  Episode<> draw(Notion notion, EpisodeOptions options, const Random& random, Site site = Site::current()) const {
    const std::vector<NotionTask> own = tasks(notion);
    if (notion == Notion::alphabet) options.ways = std::min<Index>(options.ways, std::ssize(alphabets_));
    const auto task = static_cast<std::size_t>(random.stream("task").below(0, std::ssize(own)));
    return draw(own[task], options, random.stream("episode"), site);
  }
  /// An episode of a task: `ways`, `shots` and `queries` of `options`. Throws FileError when the alphabet has too few
  /// characters, drawers or images, ValueError for more than four turns.
  Episode<> draw(const NotionTask& task, const EpisodeOptions& options, const Random& random,
                 Site site = Site::current()) const {
    const auto [codes, wanted] = std::pair(codes_of(task, site), options.shots + options.queries);
    if (options.ways > static_cast<Index>(codes.size()) || options.ways < 1 || options.shots < 1 || options.queries < 0)
      fail_file(items_.source, {"impossible episodes: ", options.ways, " ways of the notion '", name_of(task.notion),
                                "', of which there are ", codes.size(), " in ", where(task)});
    std::vector<Index> support, query, support_views, query_views, used;
    Index way = 0;
    for (const Index place : random.stream("classes").permutation(static_cast<Index>(codes.size()), options.ways)) {
      const Index code = codes[static_cast<std::size_t>(place)];
      const std::vector<Image> candidates = images_of(task, code);
      const Random own = random.stream("items", way++);
      Index taken = 0;
      for (const Index at : own.permutation(static_cast<Index>(candidates.size()))) {
        if (taken == wanted) break;
        const Image& image = candidates[static_cast<std::size_t>(at)];
        if (std::find(used.begin(), used.end(), image.number) != used.end()) continue;
        used.push_back(image.number);
        const Index turn =
            task.notion == Notion::turn ? code : own.stream("turn").below(static_cast<std::uint64_t>(taken), 4);
        const bool supports = taken++ < options.shots;
        (supports ? support : query).push_back(image.number);
        (supports ? support_views : query_views).push_back(4 * image.character + turn);
      }
      if (taken < wanted)
        fail_file(items_.source, {"impossible episodes: ", wanted, " images of a ", name_of(task.notion), " in ",
                                  where(task), ", which has ", candidates.size()});
    }
    return {{items_.inputs(support, support_views), episode_labels(options.ways, options.shots)},
            {items_.inputs(query, query_views), episode_labels(options.ways, options.queries)},
            options.ways};
  }

 private:
  struct Image {
    Index number, character, drawer;
  };

  static std::vector<Index> alphabets_of(const CharacterClasses& characters, const ClassPool& pool) {
    std::vector<Index> list;
    for (const std::vector<Index>& classes : pool.by_alphabet)
      list.push_back(characters.images().character_alphabet[static_cast<std::size_t>(classes[0] / 4)]);
    return list;
  }
  static std::string where(const NotionTask& task) {
    return task.alphabet < 0 ? "all alphabets" : "alphabet " + std::to_string(task.alphabet);
  }
  const std::vector<Image>& of_alphabet(Index alphabet, Site site) const {
    if (std::find(alphabets_.begin(), alphabets_.end(), alphabet) == alphabets_.end())
      fail("Notions", {"alphabet ", alphabet, " is none of its ", alphabets_.size()}, {}, site);
    return images_[static_cast<std::size_t>(alphabet)];
  }
  /// The values that the notion may take.
  std::vector<Index> codes_of(const NotionTask& task, Site site) const {
    if (task.notion == Notion::alphabet) return alphabets_;
    const std::vector<Image>& images = of_alphabet(task.alphabet, site);
    if (task.notion == Notion::turn) return {0, 1, 2, 3};
    std::vector<Index> codes;
    for (const Image& image : images) codes.push_back(task.notion == Notion::drawer ? image.drawer : image.character);
    std::sort(codes.begin(), codes.end());
    codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
    return codes;
  }
  std::vector<Image> images_of(const NotionTask& task, Index code) const {
    if (task.notion == Notion::alphabet) return images_[static_cast<std::size_t>(code)];
    std::vector<Image> chosen = images_[static_cast<std::size_t>(task.alphabet)];
    if (task.notion != Notion::turn)
      std::erase_if(chosen, [&](const Image& image) {
        return (task.notion == Notion::drawer ? image.drawer : image.character) != code;
      });
    return chosen;
  }

  ItemSet items_;
  std::vector<Index> alphabets_;
  std::vector<std::vector<Image>> images_;  // [alphabets of the images]
};

}  // namespace GRAFT_ABI
}  // namespace graft
