#pragma once
// The block of convolutional networks for few-shot learning (Vinyals et al., NeurIPS 2016).

#include "graft/nn/conv.hpp"
#include "graft/nn/norm.hpp"
#include "graft/ops/conv_norm_pool.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A 3x3 convolution without bias, batch norm, 2x2 max-pooling and ReLU: x [batch, height, width, in] ->
/// [batch, height / 2, width / 2, out]. (Pooling before ReLU: the same numbers for a quarter of the work.)
template <class T = float>
struct ConvBlock {
  Conv2d<T> conv;
  BatchNorm<T> norm;
  GRAFT_FIELDS(conv, norm)

  ConvBlock() = default;
  ConvBlock(Index in, Index out, const Random& random, BatchNormOptions o = {}, Site site = Site::current())
      : conv(in, out, 3, random, {.padding = 1, .bias = false}, site), norm(out, o, site) {}

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("ConvBlock", site);
    const bool running = norm.options.mode == BatchNormMode::running;
    if (!norm.bias || (running && !context->training())) return relu(max_pool2d(norm(conv(x, site), context, site)));
    const BatchNormResult<T> result =
        conv_batch_norm_pool(x, conv.weight, *norm.weight, *norm.bias, conv.options, norm.options.eps, site);
    if (running) norm.track(result.statistics, x.size(0) * x.size(1) * x.size(2), context, site);
    return result.value;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
