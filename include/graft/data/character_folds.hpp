#pragma once
// Folds of alphabets: every alphabet is tested once, and none by a model that has seen it.

#include <vector>

#include "graft/data/character_classes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The parts of one fold, all of different alphabets.
struct CharacterFold {
  ClassPool tasks;       ///< at all four turns: an alphabet is a task
  ClassPool validation;  ///< upright
  ClassPool test;        ///< upright
};

/// Fold `fold` of `folds`: the alphabets, in an order drawn from `random`, are cut into folds of equal size (what is
/// left over is never tested); one is the test, the next `validation` alphabets validate, the others are trained on.
/// Throws FileError when a part would be empty, IndexError for a fold that there is not.
inline CharacterFold character_fold(const CharacterClasses& characters, Index fold, Index folds, Index validation,
                                    const Random& random, Site site = Site::current()) {
  if (fold < 0 || fold >= folds) fail<IndexError>("character_fold", {"fold ", fold, " of ", folds}, {}, site);
  const CharacterImages& images = characters.images();
  const Index alphabets = images.alphabet_count(), each = alphabets / folds;
  if (each < 1 || validation < 1 || each + validation >= alphabets)
    fail_file(characters.source(), {alphabets, " alphabets are too few for ", folds, " folds with ", validation,
                                    " of the others for validation"});
  enum class Part { trained_on, validated_on, tested_on };
  List<Part> part(alphabets);
  const std::vector<Index> order = random.permutation(alphabets);
  for (Index place = 0; place < alphabets; ++place)
    part[order[static_cast<std::size_t>((fold * each + place) % alphabets)]] = place < each ? Part::tested_on
                                                                               : place < each + validation
                                                                                   ? Part::validated_on
                                                                                   : Part::trained_on;
  const auto pool = [&](bool all_turns, Part wanted) {
    return characters.pool(
        all_turns, [&](Index c) { return part[images.character_alphabet[static_cast<std::size_t>(c)]] == wanted; });
  };
  return {pool(true, Part::trained_on), pool(false, Part::validated_on), pool(false, Part::tested_on)};
}

}  // namespace GRAFT_ABI
}  // namespace graft
