#pragma once
// Gradients of every sample's loss in a linear head, without one backward pass a sample: the gradient with respect to
// the weight is the outer product of the logit gradient and the input (Goodfellow, "Efficient per-example gradient
// computations", 2015).

#include "graft/model/grad.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What `per_sample_gradients` returns: slice s belongs to sample s.
template <class T>
struct HeadGradients {
  Tensor<T> weight;  ///< [samples, out, in]
  Tensor<T> bias;    ///< [samples, out]
};

/// d loss_s / d W and d loss_s / d b of a linear head z = x W^T + b, for every sample s: g_s x_s^T and g_s with
/// g = d sum_s loss_s / d z. `loss` maps logits [samples, out] to one loss a sample [samples], which must depend on its
/// own row alone; `x` [samples, in] is the head's input. With `create_graph` the results can be differentiated again.
template <class Loss, Real T>
HeadGradients<T> per_sample_gradients(Loss&& loss, const Tensor<T>& logits, const Tensor<T>& x,
                                      GradOptions options = {}, Site site = Site::current()) {
  if (logits.rank() != 2 || x.rank() != 2 || logits.shape()[0] != x.shape()[0])
    fail<ShapeError>("per_sample_gradients", "needs logits [samples, out] and x [samples, in]",
                     {{"logits", logits.shape()}, {"x", x.shape()}}, site);
  const Index samples = x.shape()[0], out = logits.shape()[1], in = x.shape()[1];
  const Tensor<T> g = grad(
      [&](const Tensor<T>& z) {
        const Tensor<T> losses = loss(z);
        if (!(losses.shape() == Shape{samples}))
          fail<ShapeError>("per_sample_gradients", "the function must give one loss a sample",
                           {{"losses", losses.shape()}, {"logits", logits.shape()}}, site);
        return sum(losses);
      },
      logits, options, site);
  const Recording record_products(g.tracked());
  return {matmul(reshape(g, {samples, out, 1}), reshape(x, {samples, 1, in})), g};
}

}  // namespace GRAFT_ABI
}  // namespace graft
