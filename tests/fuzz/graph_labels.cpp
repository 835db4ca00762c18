// Graphs that are to be labelled as a whole: any bytes as such an .npz file.

#include "graft/data/graph_labels.hpp"

#include "arrays.hpp"
#include "target.hpp"

FUZZ_TARGET(graph_labels) {
  const fuzz::MemoryFile file(bytes);
  graft::GraphLabels data;
  if (!fuzz::reads(file.path(), [&] { data = graft::load_graph_labels(file.path()); })) return false;
  const graft::Index count = data.count();
  fuzz::require(static_cast<graft::Index>(data.graphs.size()) == count && data.offsets.count() == count + 1,
                "every graph has its nodes and a label");
  graft::Index nodes = 0;
  for (const graft::Graph& graph : data.graphs) nodes += graph.sources();
  fuzz::require(data.features.size(0) == nodes && host(data.offsets).back() == nodes, "every node is of one graph");
  for (const std::int64_t label : host(data.labels))
    fuzz::require(label >= 0 && label < data.classes, "labels are those of classes");
  const graft::LabelledBatch all = data.batch(graft::arange<std::int64_t>(count));
  fuzz::require(all.graphs.graph.sources() == nodes, "a batch has the nodes of its graphs");
  for (const graft::Index fold : {graft::Index{0}, data.folds - 1}) {
    const graft::GraphParts parts = graft::fold_parts(data, fold, graft::Random(1));
    fuzz::require(parts.train.count() > 0 && parts.validation.count() > 0 && parts.test.count() > 0,
                  "no part is empty");
  }
  return true;
}
