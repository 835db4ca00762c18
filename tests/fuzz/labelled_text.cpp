// Texts with classes: any bytes as such a file.

#include "graft/data/labelled_text.hpp"

#include "target.hpp"

FUZZ_TARGET(labelled_text) {
  const fuzz::MemoryFile file(bytes);
  graft::LabelledTexts data;
  if (!fuzz::reads(file.path(), [&] { data = graft::load_labelled_texts(file.path()); })) return false;
  fuzz::require(!data.texts.empty() && data.texts.size() == data.labels.size(), "every text has a label");
  for (const std::int64_t label : data.labels)
    fuzz::require(label >= 0 && label < std::ssize(data.class_names), "labels are those of classes");
  const graft::HashedWords words{64, 8};
  const graft::Tensor<std::int64_t> ids = graft::hashed_words(data.texts, words);
  for (const std::int64_t id : host(ids))
    fuzz::require(id >= 0 && id < words.entries(), "words have numbers of the table");
  return true;
}
