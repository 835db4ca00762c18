#pragma once
// The baseline that learns nothing: a query has the label of the nearest support item. Cover and Hart, "Nearest
// neighbor pattern classification", IEEE Transactions on Information Theory 1967.

#include "graft/core/list.hpp"
#include "graft/data/episodes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Labels [queries] of the support items nearest to the queries by Euclidean distance of the items as they are (of
/// images: their pixels); a tie goes to the earlier item. Throws ShapeError, ValueError without support.
template <Real T>
Tensor<std::int64_t> nearest_support(const Episode<T>& episode, Site site = Site::current()) {
  const auto& [x, labels] = episode.support;
  const Tensor<T>& query = episode.query.x;
  if (x.rank() < 1 || query.rank() != x.rank() || !(query.shape().with(0, x.size(0)) == x.shape()) ||
      labels.rank() != 1 || labels.size(0) != x.size(0))
    fail<ShapeError>("nearest_support", "expected items of one shape, and a label for each support item",
                     {{"support", x.shape()}, {"labels", labels.shape()}, {"query", query.shape()}}, site);
  const Index supports = x.size(0), queries = query.size(0);
  if (supports == 0) fail("nearest_support", "no support items", {}, site);
  const Index width = x.count() / supports;
  const T *const known = std::data(host(x)), *const asked = std::data(host(query));
  const std::int64_t* const label_of = std::data(host(labels));
  List<std::int64_t> nearest(queries);
  for (Index q = 0; q < queries; ++q) {
    double least = 0;
    for (Index s = 0; s < supports; ++s) {
      double distance = 0;
      for (Index i = 0; i < width; ++i) {
        const double gap = asked[q * width + i] - known[s * width + i];
        distance += gap * gap;
      }
      if (s == 0 || distance < least) {
        least = distance;
        nearest[q] = label_of[s];
      }
    }
  }
  return from_vector(nearest);
}

}  // namespace GRAFT_ABI
}  // namespace graft
