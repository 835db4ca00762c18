// Graphs whose nodes are to be labelled: any bytes as such an .npz file.

#include "graft/data/node_labels.hpp"

#include "arrays.hpp"
#include "target.hpp"

FUZZ_TARGET(node_labels) {
  const fuzz::MemoryFile file(bytes);
  graft::NodeLabels data;
  if (!fuzz::reads(file.path(), [&] { data = graft::load_node_labels(file.path()); })) return false;
  const graft::Index nodes = data.nodes();
  fuzz::require(data.labels.count() == nodes && data.features.rows() == nodes, "every node has a label and features");
  for (const std::int64_t label : host(data.labels))
    fuzz::require(label >= 0 && label < data.classes, "labels are those of classes");
  std::vector<bool> taken(nodes);
  for (const auto* part : {&data.train, &data.validation, &data.test}) {
    fuzz::require(part->count() > 0, "no part is empty");
    for (const std::int64_t node : host(*part)) {
      fuzz::require(node >= 0 && node < nodes && !taken[node], "a node is in one part");
      taken[node] = true;
    }
  }
  graft::rows_to_one(data.features);
  return true;
}
