// Items with several labels each: any bytes as such an .npz file.

#include "arrays.hpp"
#include "graft/data/scarce_labels.hpp"
#include "target.hpp"

FUZZ_TARGET(multilabel_items) {
  const fuzz::MemoryFile file(bytes);
  graft::MultiLabelItems data;
  if (!fuzz::reads(file.path(), [&] { data = graft::read_multilabel_items(file.path()); })) return false;
  fuzz::require(data.labels.size(0) == data.x.size(0) && data.training > 0 && data.training <= data.x.size(0),
                "every item has its labels, and some are trained on");
  for (const std::int64_t label : host(data.labels)) fuzz::require(label >= 0, "labels are 0 or more");
  const graft::Tensor<> trained = slice(data.x, 0, 0, data.training);
  for (const float number : host(trained)) fuzz::require(std::isfinite(number), "numbers of training are finite");
  return true;
}
