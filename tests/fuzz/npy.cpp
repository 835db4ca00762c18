// NumPy arrays: any bytes as an .npy file.

#include "graft/io/npy.hpp"

#include "target.hpp"

FUZZ_TARGET(npy) {
  const fuzz::MemoryFile file(bytes), again;
  graft::Array array;
  if (!fuzz::reads(file.path(), [&] { array = graft::read_npy(file.path()); })) return false;
  fuzz::check(array);
  graft::write_npy(again.path(), array);
  fuzz::require(same(graft::read_npy(again.path()), array), "what was read is written and read again");
  return true;
}
