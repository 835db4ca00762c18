// Data of few-shot tasks, vectors above all: any bytes as such an .npz file.

#include "arrays.hpp"
#include "graft/data/few_shot_data.hpp"
#include "target.hpp"

FUZZ_TARGET(few_shot_vectors) {
  const fuzz::MemoryFile file(bytes);
  graft::FewShotData data;
  if (!fuzz::reads(file.path(), [&] { data = graft::load_few_shot(file.path(), "", {}, graft::Random(1)); }))
    return false;
  for (const graft::EpisodeSource* part : {&data.train, &data.validation, &data.test})
    for (const auto& classes : part->tasks) {
      fuzz::require(!classes.empty(), "no list of classes is empty");
      for (const graft::Index c : classes)
        fuzz::require(c >= 0 && c < part->items.classes(), "lists are of the data's classes");
    }
  if (data.kind != graft::ItemKind::vectors) return true;
  std::vector<graft::Index> all;
  for (const graft::EpisodeSource* part : {&data.train, &data.validation, &data.test})
    all.insert(all.end(), part->tasks[0].begin(), part->tasks[0].end());
  std::sort(all.begin(), all.end());
  fuzz::require(all == data.train.items.all_classes(), "a class is trained on, validates or tests");
  return true;
}
