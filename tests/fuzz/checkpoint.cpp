// Checkpoints of a linear layer: any bytes as such a file.

#include "graft/io/checkpoint.hpp"

#include "arrays.hpp"
#include "graft/nn/linear.hpp"
#include "target.hpp"

FUZZ_TARGET(checkpoint) {
  using Layer = graft::Linear<>;
  static const Layer before(3, 2, graft::Random(1));
  const auto equal = [](const Layer& a, const Layer& b) {
    return graft::same_bits(a.weight, b.weight) && graft::same_bits(*a.bias, *b.bias) &&
           a.weight.frozen() == b.weight.frozen() && a.bias->frozen() == b.bias->frozen();
  };
  const fuzz::MemoryFile file(bytes), again;
  Layer loaded = before, twice = before;
  graft::Metadata metadata;
  fuzz::reads(file.path(), [&] { metadata = graft::read_checkpoint_metadata(file.path()); });
  if (!fuzz::reads(file.path(), [&] { graft::load_checkpoint(file.path(), loaded); })) {
    fuzz::require(equal(loaded, before), "a checkpoint that is refused changes nothing");
    return false;
  }
  for (const auto& [name, value] : metadata)
    if (name.size() > 900) return true;  // which graft reads and does not write
  graft::save_checkpoint(again.path(), loaded, metadata);
  fuzz::require(graft::load_checkpoint(again.path(), twice).size() == metadata.size() && equal(twice, loaded),
                "what was loaded is saved and loaded again");
  return true;
}
