// Tables of numbers as text: any bytes as such a file.

#include "graft/io/csv.hpp"

#include "target.hpp"

FUZZ_TARGET(csv) {
  const fuzz::MemoryFile file(bytes);
  graft::Array table;
  if (!fuzz::reads(file.path(), [&] { table = graft::read_csv(file.path()); })) return false;
  fuzz::require(table.shape.rank() == 2 && table.shape.count() > 0, "there are rows and columns");
  fuzz::check(table);
  for (const float number : table.as<float>()) fuzz::require(std::isfinite(number), "numbers are finite");
  return true;
}
