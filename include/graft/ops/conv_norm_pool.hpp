#pragma once
// The block that convolutional networks for few-shot learning repeat: convolution, batch or group norm, 2 x 2
// max-pooling, ReLU, as one op. It is defined by those four; the kernel (backend/cpu/conv_norm_pool.hpp) walks the map
// between convolution and pooling far less often.

#include "graft/backend/cpu/conv_norm_pool.hpp"
#include "graft/ops/conv.hpp"
#include "graft/ops/norm.hpp"
#include "graft/ops/pool.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// What the backward kernel reads again: the convolution's output if it is kept, its number at every maximum without
/// the mean, and the moments.
template <class T>
struct ConvNormSaved {
  Tensor<T> map, centred;
  NormMoments<T> moments;
};

/// relu(max_pool2d(norm(conv2d(x, kernel), weight, bias))), the norm being batch norm, or group norm where `groups` is
/// positive; the batch's statistics go to `statistics` unless null.
template <class T>
Tensor<T> conv_norm_pool(const char* op, Index groups, const ConvOptions& options, double eps,
                         ChannelStatistics<T>* statistics, const Tensor<T>& x, const Tensor<T>& kernel,
                         const Tensor<T>& weight, const Tensor<T>& bias, Site site) {
  const cpu::ConvShape s = conv_shape(op, x.shape(), kernel.shape(), options, site);
  pool_shape(op, output_shape(s), {}, site);
  if (!(eps >= 0)) fail(op, {"eps is ", eps, ", expected 0 or more"}, {{"x", x.shape()}}, site);
  const Shape channel{s.out};
  for (const auto* affine : {&weight, &bias})
    if (!(affine->shape() == channel))
      fail<ShapeError>(op, "weight and bias must have one number an output channel",
                       {{"kernel", kernel.shape()}, {"weight", weight.shape()}, {"bias", bias.shape()}}, site);
  if (groups < 0 || (groups > 0 && s.out % groups != 0))
    fail(op, {groups, " groups do not divide ", s.out, " channels"}, {{"kernel", kernel.shape()}}, site);
  const bool kept = cpu::ConvOutput<T>::kept(s);
  const Index pixels = s.out_h * s.out_w;
  const cpu::ChannelLayout layout = groups > 0 ? cpu::ChannelLayout{s.batch, pixels, s.out, groups}
                                               : cpu::ChannelLayout{1, s.batch * pixels, s.out, s.out};

  const auto composite = [=](const Tensor<T>& z, const Tensor<T>& k, const Tensor<T>& w, const Tensor<T>& b) {
    const Tensor<T> map = conv2d(z, k, options);
    return relu(max_pool2d(groups > 0 ? group_norm(map, groups, w, b, eps) : batch_norm(map, w, b, eps)));
  };
  const auto forward = [&](const Tensor<T>& z, const Tensor<T>& k, const Tensor<T>& w, const Tensor<T>& b) {
    const Shape per_channel{layout.samples, s.out};
    ConvNormSaved<T> saved;
    if (kept) saved.map = fresh<T>(output_shape(s));
    saved.moments = {fresh<T>(per_channel), fresh<T>(per_channel), {}};
    const Tensor<T> value = fresh<T>(pool_shape(op, output_shape(s), {}, site).output(), op, site);
    const Tensor<T> variance = fresh<T>(per_channel), packed = cpu::packed_weight(s, k.data());
    saved.centred = fresh<T>(value.shape());
    cpu::conv_moments<T>(s, layout, z.data(), packed.data(), kept ? writable(saved.map) : nullptr,
                         {writable(saved.moments.mean), writable(saved.moments.rest), writable(variance)});
    saved.moments.inverse = inverse_deviation(variance, eps);
    cpu::conv_norm_pool<T>({s, layout, z.data(), packed.data(), saved.moments.read(), w.data(), b.data()},
                           kept ? saved.map.data() : nullptr, writable(value), writable(saved.centred));
    if (statistics) *statistics = {view(saved.moments.mean, channel, 0), view(variance, channel, 0)};
    return Fused<T, ConvNormSaved<T>>{value, saved};
  };
  const auto backward = [s, kept, layout, options](const Tensor<T>& g, const ConvNormSaved<T>& saved,
                                                   const bool* needed, AnyTensor* results, const Tensor<T>& z,
                                                   const Tensor<T>& k, const Tensor<T>& w, const Tensor<T>& b) {
    const Tensor<T> packed = cpu::packed_weight(s, k.data());
    Tensor<T> map;
    if (needed[0]) map = fresh<T>(output_shape(s));
    const cpu::ConvNormGradients<T> out{
        needed[0] ? writable(map) : nullptr, gradient_place<T>(needed, results, 1, k.shape()),
        gradient_place<T>(needed, results, 2, w.shape()), gradient_place<T>(needed, results, 3, b.shape())};
    cpu::conv_norm_pool_backward<T>({s, layout, z.data(), packed.data(), saved.moments.read(), w.data(), b.data()},
                                    kept ? saved.map.data() : nullptr, saved.centred.data(), g.data(), out);
    if (needed[0]) results[0] = conv2d_input(map, k, z.shape(), options);
  };
  return fused(op, composite, forward, backward, x, kernel, weight, bias);
}

}  // namespace detail

/// relu(max_pool2d(batch_norm(conv2d(x, kernel, options), weight, bias, eps))) of x [batch, height, width, in] and
/// kernel [out, in / groups, kernel_h, kernel_w], in windows of 2 x 2 pixels -> [batch, out_h / 2, out_w / 2, out], and
/// the batch's statistics [out]. Throws what the four ops throw.
template <Real T>
BatchNormResult<T> conv_batch_norm_pool(const Tensor<T>& x, const Tensor<T>& kernel, const Tensor<T>& weight,
                                        const Tensor<T>& bias, ConvOptions options = {}, double eps = 1e-5,
                                        Site site = Site::current()) {
  BatchNormResult<T> result;
  result.value = detail::conv_norm_pool<T>("conv_batch_norm_pool", 0, options, eps, &result.statistics, x, kernel,
                                           weight, bias, site);
  return result;
}

/// relu(max_pool2d(group_norm(conv2d(x, kernel, options), groups, weight, bias, eps))), as `conv_batch_norm_pool`.
template <Real T>
Tensor<T> conv_group_norm_pool(const Tensor<T>& x, const Tensor<T>& kernel, Index groups, const Tensor<T>& weight,
                               const Tensor<T>& bias, ConvOptions options = {}, double eps = 1e-5,
                               Site site = Site::current()) {
  if (groups < 1) fail("conv_group_norm_pool", {groups, " groups, expected 1 or more"}, {{"x", x.shape()}}, site);
  return detail::conv_norm_pool<T>("conv_group_norm_pool", groups, options, eps, nullptr, x, kernel, weight, bias,
                                   site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
