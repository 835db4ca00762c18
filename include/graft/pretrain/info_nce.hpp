#pragma once
// Symmetric InfoNCE: pairs tell each other from all others of the batch. van den Oord, Li, Vinyals, "Representation
// learning with contrastive predictive coding", 2018; in this form Radford et al., "Learning transferable visual models
// from natural language supervision" (CLIP), ICML 2021.

#include <cmath>

#include "graft/common/needs.hpp"
#include "graft/core/options.hpp"
#include "graft/model/fields.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// (CE(S, i) + CE(S^T, i)) / 2 with S = scale u v^T, u and v the rows of `a` and `b` [pairs, width] over their norms,
/// where row i of one belongs to row i of the other: shape []. `scale` is a positive number []. A pair that occurs
/// twice is its own negative. Throws ShapeError.
template <Real T>
Tensor<T> info_nce(const Tensor<T>& a, const Tensor<T>& b, const Tensor<T>& scale, Site site = Site::current()) {
  if (a.rank() != 2 || !(a.shape() == b.shape()) || a.size(0) == 0 || scale.count() != 1)
    fail<ShapeError>("info_nce", "expected a and b [pairs, width] of one pair or more, and one scale",
                     {{"a", a.shape()}, {"b", b.shape()}, {"scale", scale.shape()}}, site);
  const Tensor<T> scores = scale * cosine_similarities(a, b, site);
  const Tensor<std::int64_t> partner = arange<std::int64_t>(a.size(0));
  return (cross_entropy(scores, partner) + cross_entropy(transpose(scores, site), partner)) * T(0.5);
}

/// The loss with a learned scale e^log_scale, cut off at 100; CLIP starts at ln(1 / 0.07).
template <class T = float>
struct InfoNce {
  Tensor<T> log_scale = Tensor<T>(static_cast<T>(std::log(1 / 0.07)));  ///< []
  GRAFT_FIELDS(log_scale)
  static constexpr DataNeeds needs{.labels = false, .second_modality = true};

  Tensor<T> operator()(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) const {
    return info_nce(a, b, minimum(exp(log_scale), T(100)), site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
