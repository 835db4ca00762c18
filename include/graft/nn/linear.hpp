#pragma once
// The affine map. Parameter names and default initial values are torch.nn.Linear's.

#include <optional>

#include "graft/model/fields.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Linear`.
struct LinearOptions {
  bool bias = true;
};

/// y = x W^T + b: x [..., in] -> [..., out]. Throws ShapeError when the last axis of x is not `in`. A stack of layers
/// (see `stacked`), weight [models..., out, in] and bias [models..., out], takes x [models..., n, in], each model its
/// own rows.
template <class T = float>
struct Linear {
  Tensor<T> weight;               ///< [out, in]
  std::optional<Tensor<T>> bias;  ///< [out]
  GRAFT_FIELDS(weight, bias)

  Linear() = default;
  /// Weight and bias uniform in +-1 / sqrt(in).
  Linear(Index in, Index out, const Random& random, LinearOptions options = {}, Site site = Site::current())
      : weight(torch_default_weight<T>({out, in}, random.stream("weight"), site)) {
    if (options.bias) bias = torch_default_bias<T>({out, in}, random.stream("bias"), site);
  }

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("Linear", site);
    if (x.rank() == 0 || x.shape()[-1] != weight.shape()[-1])
      fail<ShapeError>("Linear", {"the last axis of x must have ", weight.shape()[-1], " elements"},
                       {{"x", x.shape()}, {"weight", weight.shape()}}, site);
    const bool vector = x.rank() == 1;
    Tensor<T> y = matmul(vector ? reshape(x, {1, x.count()}, site) : x, weight, {.transpose_b = true}, site);
    if (bias && weight.rank() == 2)
      y = y + *bias;
    else if (bias)
      y = y + reshape(*bias, weight.shape().with(-1, weight.shape()[-2]).with(-2, 1), site);  // [models..., 1, out]
    return vector ? reshape(y, {y.count()}, site) : y;
  }
  /// The same of constants that are mostly zeros, a `SparseMatrix` x [n, in] -> [n, out]; no gradient flows to them.
  template <class Sparse>
    requires requires(const Sparse& x) { x.rows() + x.columns(); }
  Tensor<T> operator()(const Sparse& x, Site site = Site::current()) const {
    const Named here("Linear", site);
    if (weight.rank() != 2 || x.columns() != weight.size(1))
      fail<ShapeError>("Linear", {"sparse x must have ", weight.shape()[-1], " columns, for one model"},
                       {{"x", {x.rows(), x.columns()}}, {"weight", weight.shape()}}, site);
    const Tensor<T> y = matmul(x, weight, {.transpose_b = true}, site);
    return bias ? y + *bias : y;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
