#pragma once
// Normalisation layers over channels-last activations. Parameter names and initial values (weight 1, bias 0) are those
// of torch.nn.LayerNorm, RMSNorm, GroupNorm and BatchNorm1d/2d.

#include <cstdint>
#include <optional>
#include <utility>

#include "graft/model/context.hpp"
#include "graft/model/fields.hpp"
#include "graft/ops/norm.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of the norms that keep no statistics.
struct NormOptions {
  double eps = 1e-5;
  bool affine = true;  ///< scale and shift each channel by a learned weight and bias
  bool bias = true;    ///< false: the weight alone
};

namespace detail {

/// The learned scale and shift of a norm, the scale alone, or neither.
template <class T>
struct NormParameters {
  std::optional<Tensor<T>> weight, bias;  ///< [channels]

  NormParameters() = default;
  NormParameters(Index channels, bool affine, bool shifted, Site site) {
    if (affine) weight = ones<T>({channels}, site);
    if (affine && shifted) bias = zeros<T>({channels}, site);
  }

 protected:
  /// norm(weight, bias), of those that there are.
  template <class Norm>
  auto scaled(Norm norm) const {
    if (!weight) return norm();
    return bias ? norm(*weight, *bias) : norm(*weight);
  }
};

}  // namespace detail

/// Layer norm over the last axis: x [..., width] -> [..., width].
template <class T = float>
struct LayerNorm : detail::NormParameters<T> {
  using detail::NormParameters<T>::weight;
  using detail::NormParameters<T>::bias;
  double eps = 1e-5;
  GRAFT_FIELDS(weight, bias)
  GRAFT_CONFIG(eps)

  LayerNorm() = default;
  explicit LayerNorm(Index width, NormOptions o = {}, Site site = Site::current())
      : detail::NormParameters<T>(width, o.affine, o.bias, site), eps(o.eps) {}

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("LayerNorm", site);
    return this->scaled([&](const auto&... scale) { return layer_norm(x, scale..., eps, site); });
  }
};

/// RMS norm over the last axis: x [..., width] -> [..., width].
template <class T = float>
struct RmsNorm {
  std::optional<Tensor<T>> weight;  ///< [width]
  double eps = 1e-6;
  GRAFT_FIELDS(weight)
  GRAFT_CONFIG(eps)

  RmsNorm() = default;
  explicit RmsNorm(Index width, NormOptions o = {.eps = 1e-6}, Site site = Site::current()) : eps(o.eps) {
    if (o.affine) weight = ones<T>({width}, site);
  }

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("RmsNorm", site);
    return weight ? rms_norm(x, *weight, eps, site) : rms_norm(x, eps, site);
  }
};

/// Group norm over each sample and group of channels: x [batch, ..., channels] -> the same shape.
template <class T = float>
struct GroupNorm : detail::NormParameters<T> {
  using detail::NormParameters<T>::weight;
  using detail::NormParameters<T>::bias;
  Index groups = 1;
  double eps = 1e-5;
  GRAFT_FIELDS(weight, bias)
  GRAFT_CONFIG(groups, eps)

  GroupNorm() = default;
  GroupNorm(Index group_count, Index channels, NormOptions o = {}, Site site = Site::current())
      : detail::NormParameters<T>(channels, o.affine, o.bias, site), groups(group_count), eps(o.eps) {}

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("GroupNorm", site);
    return this->scaled([&](const auto&... scale) { return group_norm(x, groups, scale..., eps, site); });
  }
};

/// Which statistics a batch norm uses.
enum class BatchNormMode {
  batch,  ///< those of the very batch, in training and in evaluation: samples of a batch see one another (transductive)
  running  ///< the batch's in training, running averages in evaluation
};

/// Options of `BatchNorm`.
struct BatchNormOptions {
  BatchNormMode mode = BatchNormMode::running;
  double eps = 1e-5;
  double momentum = 0.1;  ///< weight of the newest batch in the running averages
  bool affine = true;     ///< scale and shift each channel by a learned weight and bias
  bool bias = true;       ///< false: the weight alone
};

/// Batch norm of every channel: x [..., channels] -> the same shape. The running averages (of the mean and of the
/// unbiased variance) are updated through the context's list; in mode `batch` there are none, and no context is needed.
template <class T = float>
struct BatchNorm : detail::NormParameters<T> {
  using detail::NormParameters<T>::weight;
  using detail::NormParameters<T>::bias;
  Buffer<T> running_mean, running_var;       ///< [channels]
  Buffer<std::int64_t> num_batches_tracked;  ///< []
  BatchNormOptions options;
  GRAFT_FIELDS(weight, bias, running_mean, running_var, num_batches_tracked)
  GRAFT_CONFIG(options)

  BatchNorm() = default;
  /// Running mean 0 and variance 1.
  explicit BatchNorm(Index channels, BatchNormOptions o = {}, Site site = Site::current())
      : detail::NormParameters<T>(channels, o.affine, o.bias, site), options(o) {
    if (o.mode == BatchNormMode::batch) return;
    running_mean.value = zeros<T>({channels}, site);
    running_var.value = ones<T>({channels}, site);
    num_batches_tracked.value = zeros<std::int64_t>({}, site);
  }

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("BatchNorm", site);
    const double eps = options.eps;
    if (options.mode == BatchNormMode::batch) return by_batch(x, site);
    if (!context->training()) {
      const ChannelStatistics<T> running{running_mean.value, running_var.value};
      return this->scaled([&](const auto&... scale) { return batch_norm(x, running, scale..., eps, site); });
    }
    const BatchNormResult<T> result =
        this->scaled([&](const auto&... scale) { return batch_norm_with_statistics(x, scale..., eps, site); });
    const Index channels = x.shape()[-1];
    track(result.statistics, channels > 0 ? x.count() / channels : 0, context, site);
    return result.value;
  }
  /// Leaves the update of the running averages by the statistics of a batch of `rows` numbers a channel in the
  /// context's list, for whoever normalised the batch.
  void track(const ChannelStatistics<T>& statistics, Index rows, ContextRef context,
             Site site = Site::current()) const {
    if (!(statistics.mean.shape() == running_mean.value.shape()))
      fail<ShapeError>("BatchNorm", "the last axis of x must be the channels",
                       {{"channels of x", statistics.mean.shape()}, {"running_mean", running_mean.value.shape()}},
                       site);
    if (rows == 0) return;
    const double unbiased = rows > 1 ? static_cast<double>(rows) / static_cast<double>(rows - 1) : 1;
    context->average(running_mean, statistics.mean, options.momentum);
    context->average(running_var, statistics.variance * unbiased, options.momentum);
    context->count(num_batches_tracked, ones<std::int64_t>({}));
  }
  /// Mode `batch` alone. Throws ValueError in mode `running`, which needs a context.
  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("BatchNorm", site);
    if (options.mode != BatchNormMode::batch)
      fail("BatchNorm", "running statistics need a context: call it with (x, context)", {{"x", x.shape()}}, site);
    return by_batch(x, site);
  }

 private:
  Tensor<T> by_batch(const Tensor<T>& x, Site site) const {
    return this->scaled([&](const auto&... scale) { return batch_norm(x, scale..., options.eps, site); });
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
