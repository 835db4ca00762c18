// Tensors as Hugging Face stores them: any bytes as a .safetensors file.

#include "graft/io/safetensors.hpp"

#include "target.hpp"

FUZZ_TARGET(safetensors) {
  const fuzz::MemoryFile file(bytes), again;
  graft::ArrayFile all;
  if (!fuzz::reads(file.path(), [&] { all = graft::read_safetensors(file.path()); })) return false;
  const auto texts = graft::read_safetensors_metadata(file.path());
  for (const auto& [name, array] : all.arrays) {
    fuzz::check(array);
    fuzz::require(same(graft::read_safetensors(file.path(), {name}).at(name), array),
                  "an array is the same read alone");
  }
  graft::write_safetensors(again.path(), all.arrays, texts);
  fuzz::check_again(all, graft::read_safetensors(again.path()));
  fuzz::require(graft::read_safetensors_metadata(again.path()) == texts, "texts are written and read again");
  return true;
}
