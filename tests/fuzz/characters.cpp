// Drawings of characters: any bytes as such an .npz file.

#include "graft/data/characters.hpp"

#include "arrays.hpp"
#include "graft/data/character_classes.hpp"
#include "target.hpp"

FUZZ_TARGET(characters) {
  const fuzz::MemoryFile file(bytes);
  graft::CharacterImages data;
  if (!fuzz::reads(file.path(), [&] { data = graft::load_characters(file.path()); })) return false;
  graft::check_characters(data, file.path());
  std::vector<bool> drawn(data.character_count());
  for (graft::Index i = 0; i < data.image_count(); ++i) {
    const std::int64_t character = data.character_id[i];
    drawn[character] = true;
    fuzz::require(data.alphabet_id[i] == data.character_alphabet[character], "an image is of its character's alphabet");
    fuzz::require(std::ssize(data.image(i)) == data.height * data.width, "every image has its pixels");
  }
  fuzz::require(std::find(drawn.begin(), drawn.end(), false) == drawn.end(), "every character has an image");
  fuzz::reads(file.path(), [&] { graft::CharacterClasses(data, file.path()); });
  return true;
}
