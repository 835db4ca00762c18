#pragma once
// Pairs told from all others one by one, by a sigmoid in the place of InfoNCE's softmax. Zhai, Mustafa, Kolesnikov,
// Beyer, "Sigmoid loss for language image pre-training", ICCV 2023.

#include <cmath>

#include "graft/common/needs.hpp"
#include "graft/core/options.hpp"
#include "graft/model/fields.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// (1 / N) sum_ij ln(1 + e^(-z_ij (scale s_ij + bias))), s_ij the cosine of row i of `a` and row j of `b` [pairs,
/// width], z_ij 1 where i = j, else -1, N the number of pairs: shape []. The authors divide by N, so it is N times the
/// mean over all N^2 couples. `scale` and `bias` are numbers []. A row's terms do not depend on the other rows of its
/// side, so a small batch is no easier task than a large one. A pair that occurs twice is its own negative. Throws
/// ShapeError.
template <Real T>
Tensor<T> siglip_loss(const Tensor<T>& a, const Tensor<T>& b, const Tensor<T>& scale, const Tensor<T>& bias,
                      Site site = Site::current()) {
  if (a.rank() != 2 || !(a.shape() == b.shape()) || a.size(0) == 0 || scale.count() != 1 || bias.count() != 1)
    fail<ShapeError>("siglip_loss", "expected a and b [pairs, width] of one pair or more, one scale and one bias",
                     {{"a", a.shape()}, {"b", b.shape()}, {"scale", scale.shape()}, {"bias", bias.shape()}}, site);
  const Tensor<T> scores = scale * cosine_similarities(a, b, site) + bias;
  const Tensor<T> total =
      binary_cross_entropy_with_logits(scores, eye<T>(a.size(0)), {.reduction = Reduction::sum}, site);
  return total / static_cast<T>(a.size(0));
}

/// The loss with a learned scale e^log_scale and a learned bias. They start where the authors' do: a bias of -10 says
/// that nearly all couples are negative, as they are.
template <class T = float>
struct Siglip {
  Tensor<T> log_scale = Tensor<T>(static_cast<T>(std::log(10)));  ///< []
  Tensor<T> bias = Tensor<T>(T(-10));                             ///< []
  GRAFT_FIELDS(log_scale, bias)
  static constexpr DataNeeds needs{.labels = false, .second_modality = true};

  Tensor<T> operator()(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) const {
    return siglip_loss(a, b, exp(log_scale), bias, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
