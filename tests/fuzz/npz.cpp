// NumPy's archives of arrays: any bytes as an .npz file.

#include "graft/io/npz.hpp"

#include "arrays.hpp"
#include "target.hpp"

FUZZ_TARGET(npz) {
  const fuzz::MemoryFile file(bytes), again;
  graft::ArrayFile all;
  if (!fuzz::reads(file.path(), [&] { all = graft::read_npz(file.path()); })) return false;
  std::size_t longest = 0;
  for (const auto& [name, array] : all.arrays) {
    fuzz::check(array);
    fuzz::require(same(graft::read_npz(file.path(), {name}).at(name), array), "an array is the same read alone");
    longest = std::max(longest, name.size());
  }
  if (longest > 1000) return true;  // which graft reads and does not write
  graft::write_npz(again.path(), all.arrays);
  fuzz::check_again(all, graft::read_npz(again.path()));
  return true;
}
