// Items described by attributes: any bytes as such an .npz file.

#include "graft/data/attributed_items.hpp"

#include "arrays.hpp"
#include "target.hpp"

FUZZ_TARGET(attributed_items) {
  const fuzz::MemoryFile file(bytes);
  graft::AttributedItems data;
  if (!fuzz::reads(file.path(), [&] { data = graft::load_attributed_items(file.path(), graft::Random(1)); }))
    return false;
  const graft::Index classes = data.classes(), attributes = data.signatures.size(1);
  fuzz::require(data.x.size(0) == data.labels.count() && data.x.size(1) == attributes,
                "every item has a label and as many attributes as its class");
  fuzz::require(std::ssize(data.class_names) == classes && std::ssize(data.attribute_names) == attributes,
                "classes and attributes have names");
  for (const std::int64_t label : host(data.labels))
    fuzz::require(label >= 0 && label < classes, "labels are those of classes");
  for (const auto* part : {&data.x, &data.signatures})
    for (const float number : host(*part)) fuzz::require(number >= 0 && number <= 1, "attributes lie in [0, 1]");
  return true;
}
