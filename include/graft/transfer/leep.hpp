#pragma once
// Log expected empirical prediction: how well the classes that a source model answers tell those of a new task. Nguyen,
// Hassner, Seeger, Archambeau, "LEEP: a new measure to evaluate transferability of learned representations", ICML 2020.
// The formula was compared with the code of the Transfer Learning Library (thuml); the paper was not read.

#include <cmath>

#include "graft/common/needs.hpp"
#include "graft/core/errors.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What `leep` reads.
struct LeepNeeds {
  static constexpr DataNeeds needs{.derivatives = 0};
};

/// The mean over items of  ln sum_z p(y_i | z) s_iz,  s [items, source classes] the chances that the source model gives
/// its own classes, p(y | z) = p(y, z) / p(z), p(y, z) the mean over items of s_iz where y_i = y: shape []. 0 at most,
/// and 0 where the source classes tell the labels [items] for sure; the larger, the better. Differentiable in s. A
/// source class that no item gets a chance of adds nothing. Throws ShapeError, IndexError for a label outside 0 ..
/// classes - 1, ValueError for rows that are no chances.
template <Real T>
Tensor<T> leep(const Tensor<T>& source, const Tensor<std::int64_t>& labels, Index classes,
               Site site = Site::current()) {
  if (source.rank() != 2 || source.count() == 0 || !(labels.shape() == Shape{source.size(0)}))
    fail<ShapeError>("leep", "expected source [items, source classes] and labels [items] of one item or more",
                     {{"source", source.shape()}, {"labels", labels.shape()}}, site);
  const Index items = source.size(0), of = source.size(1);
  for (const std::int64_t label : host(labels))
    if (label < 0 || label >= classes)
      fail<IndexError>("leep", {"label ", label, " of ", classes, " classes"}, {}, site);
  const auto chances = host(source);
  for (Index i = 0; i < items; ++i) {
    double total = 0;
    bool fine = true;
    for (Index z = 0; z < of; ++z) {
      const double chance = static_cast<double>(chances[static_cast<std::size_t>(i * of + z)]);
      fine = fine && chance >= 0;
      total += chance;
    }
    if (!fine || !(std::fabs(total - 1) < 1e-3))
      fail("leep", {"row ", i, " of the source is no distribution: its sum is ", total}, {{"source", source.shape()}},
           site);
  }
  const Tensor<T> one = one_hot<T>(labels, classes);
  const Tensor<T> joint = matmul(one, source, {.transpose_a = true});  // [classes, source classes], times items
  const Tensor<T> all = sum(joint, {0}, true);
  const Tensor<T> given = joint / where(all > T(0), all, T(1));
  return mean(log(sum(matmul(one, given) * source, {1})));
}

}  // namespace GRAFT_ABI
}  // namespace graft
