// Images of digits: any bytes as such an .npz file.

#include "graft/data/digits.hpp"

#include "arrays.hpp"
#include "target.hpp"

FUZZ_TARGET(digits) {
  const fuzz::MemoryFile file(bytes);
  graft::ItemSet data;
  if (!fuzz::reads(file.path(), [&] { data = graft::load_digits(file.path(), 4); })) return false;
  fuzz::require(data.classes() == 10, "there are ten digits");
  for (graft::Index digit = 0; digit < 10; ++digit) {
    const auto own = data.items[digit];
    if (own.empty()) continue;
    const graft::Tensor<> images = data.inputs({own.begin(), own.end()}, std::vector<graft::Index>(own.size(), digit));
    fuzz::require(images.shape() == graft::Shape{std::ssize(own), 4, 4, 1}, "images have the size that was asked for");
    for (const float ink : host(images)) fuzz::require(ink >= 0 && ink <= 1, "ink lies in [0, 1]");
  }
  return true;
}
