#pragma once
// Normalisations: layer norm, RMS norm, group norm, batch norm. Activations are channels-last: what is normalised or
// scaled channel by channel is the last axis. Each is a fused op; its composite, the definition in ops, gives the
// higher orders. A constant group with eps = 0 gives NaN, as the definition does.

#include "graft/autodiff/fused.hpp"
#include "graft/backend/cpu/channel_norm.hpp"
#include "graft/backend/cpu/norm.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Mean and biased variance (the mean square deviation) of every channel: [channels] each, outside any tape.
template <class T = float>
struct ChannelStatistics {
  Tensor<T> mean, variance;
};
/// A batch norm and the statistics that it used, for whoever keeps running ones.
template <class T = float>
struct BatchNormResult {
  Tensor<T> value;
  ChannelStatistics<T> statistics;
};

namespace detail {

/// What a norm's backward kernel reads again, besides the inputs. Norms of channels have means in two parts, unless
/// they were given: mean + rest.
template <class T>
struct NormMoments {
  Tensor<T> mean, rest, inverse;
  cpu::ChannelNorms<T> read() const { return {mean.data(), rest.defined() ? rest.data() : nullptr, inverse.data()}; }
};

template <class T, class... Affine>
void check_norm(const char* op, const Tensor<T>& x, double eps, Site site, const Affine&... affine) {
  if (x.rank() < 1) fail<ShapeError>(op, "x needs a last axis to normalise or scale", {{"x", x.shape()}}, site);
  if (!(eps >= 0)) fail(op, {"eps is ", eps, ", expected 0 or more"}, {{"x", x.shape()}}, site);
  if constexpr (sizeof...(affine) > 0) {
    const Shape channel{x.shape()[-1]};
    const char* names[] = {"weight", "bias"};
    int i = 0;
    const auto check = [&](const char* name, const Tensor<T>& one) {
      if (!(one.shape() == channel))
        fail<ShapeError>(op, {name, " must have one number a channel (the last axis of x)"},
                         {{"x", x.shape()}, {name, one.shape()}}, site);
    };
    (check(names[i++], affine), ...);
  }
}

/// n, n weight, or n weight + bias.
template <class T>
Tensor<T> affine(const Tensor<T>& n) {
  return n;
}
template <class T>
Tensor<T> affine(const Tensor<T>& n, const Tensor<T>& weight) {
  return n * weight;
}
template <class T>
Tensor<T> affine(const Tensor<T>& n, const Tensor<T>& weight, const Tensor<T>& bias) {
  return n * weight + bias;
}

/// The numbers of argument I, or null where there are not so many.
template <int I, class T, class... Ts>
const T* numbers_or_null(const Tensor<Ts>&... arguments) {
  if constexpr (I < static_cast<int>(sizeof...(arguments)))
    return std::get<I>(std::tie(arguments...)).data();
  else
    return nullptr;
}
/// A place for the gradient of argument `i`, shaped like `like`; null when it is not needed.
template <class T>
T* gradient_place(const bool* needed, AnyTensor* results, int i, const Shape& like) {
  if (!needed[i]) return nullptr;
  Tensor<T> gradient = fresh<T>(like);
  results[i] = gradient;
  return writable(gradient);
}

/// Layer norm (`Centred`, affine = weight and bias, weight or none) or RMS norm (affine = weight or none).
template <bool Centred, class T, class... Affine>
Tensor<T> norm_over_rows(const char* op, double eps, const Tensor<T>& x, const Affine&... scale) {
  const Index width = x.shape()[-1], rows = x.shape().without(x.rank() - 1).count();
  const auto composite = [eps](const Tensor<T>& z, const Affine&... a) {
    const Shape column = z.shape().with(z.rank() - 1, 1);
    const T n = static_cast<T>(z.shape()[-1]);
    Tensor<T> d = z;
    if constexpr (Centred) {
      d = z - first_of(z, column);
      d = d - sum_to(d, column) / n;
    }
    return affine(d * rsqrt(sum_to(square(d), column) / n + eps), a...);
  };
  const auto forward = [&](const Tensor<T>& z, const Affine&... a) {
    const Tensor<T> value = fresh<T>(z.shape()), inverse = fresh<T>({rows});
    const Tensor<T> mean = Centred ? fresh<T>({rows}) : Tensor<T>();
    cpu::norm_rows<Centred>(z.data(), numbers_or_null<0, T>(a...), numbers_or_null<1, T>(a...), static_cast<T>(eps),
                            rows, width, Centred ? writable(mean) : nullptr, writable(inverse), writable(value));
    return Fused<T, NormMoments<T>>{value, {mean, {}, inverse}};
  };
  const auto backward = [rows, width](const Tensor<T>& g, const NormMoments<T>& moments, const bool* needed,
                                      AnyTensor* results, const Tensor<T>& z, const Affine&... a) {
    T* dx = gradient_place<T>(needed, results, 0, z.shape());
    T *dweight = nullptr, *dbias = nullptr;
    if constexpr (sizeof...(a) > 0) {
      // The kernel makes them together; the graph ignores one that was not asked for.
      bool wanted = false;
      for (std::size_t i = 1; i <= sizeof...(a); ++i) wanted |= needed[i];
      const bool all[] = {false, wanted, wanted};
      dweight = gradient_place<T>(all, results, 1, {width});
      if constexpr (sizeof...(a) > 1) dbias = gradient_place<T>(all, results, 2, {width});
    }
    cpu::norm_rows_backward<Centred>(z.data(), g.data(), numbers_or_null<0, T>(a...),
                                     Centred ? moments.mean.data() : nullptr, moments.inverse.data(), rows, width, dx,
                                     dweight, dbias);
  };
  return fused(op, composite, forward, backward, x, scale...);
}

/// Batch norm: one sample, every channel a group.
template <class T>
cpu::ChannelLayout batch_layout(const Tensor<T>& x) {
  return {1, x.shape().without(x.rank() - 1).count(), x.shape()[-1], x.shape()[-1]};
}

/// 1 / sqrt(variance + eps).
template <class T>
Tensor<T> inverse_deviation(const Tensor<T>& variance, double eps) {
  Recording off(false);
  return rsqrt(variance + eps);
}

/// z cut into groups: [samples, rows, groups, width of a group]; and the shape of one number a group.
template <class T>
Tensor<T> in_groups(const cpu::ChannelLayout& layout, const Tensor<T>& z) {
  return reshape(z, {layout.samples, layout.rows, layout.groups, layout.group_width()});
}
/// Mean over each group of a tensor cut into groups.
template <class T>
Tensor<T> group_mean(const cpu::ChannelLayout& layout, const Tensor<T>& cut) {
  return sum_to(cut, Shape{layout.samples, 1, layout.groups, 1}) / static_cast<T>(layout.rows * layout.group_width());
}

/// A tensor cut into groups less the mean of each.
template <class T>
Tensor<T> centred_groups(const cpu::ChannelLayout& layout, const Tensor<T>& cut) {
  const Tensor<T> d = cut - first_of(cut, Shape{layout.samples, 1, layout.groups, 1});
  return d - group_mean(layout, d);
}

/// The gradient of norm(x) weight + bias to x for the gradient g to it: with n = norm(x), h = g weight and means over
/// groups, inverse (h - mean h - n mean hn). `moments` are those of x.
template <class T>
Tensor<T> norm_slope(const cpu::ChannelLayout& layout, double eps, const NormMoments<T>& moments, const Tensor<T>& x,
                     const Tensor<T>& g, const Tensor<T>& weight) {
  const auto composite = [layout, eps](const Tensor<T>& z, const Tensor<T>& u, const Tensor<T>& w) {
    const Tensor<T> d = centred_groups(layout, in_groups(layout, z));
    const Tensor<T> inverse = rsqrt(group_mean(layout, square(d)) + eps), n = d * inverse;
    const Tensor<T> h = in_groups(layout, u * w);
    return reshape(inverse * (h - group_mean(layout, h) - n * group_mean(layout, h * n)), z.shape());
  };
  const auto forward = [&](const Tensor<T>& z, const Tensor<T>& u, const Tensor<T>& w) {
    const Tensor<T> value = fresh<T>(z.shape());
    cpu::ChannelGradients<T> out;
    out.x = writable(value);
    cpu::channel_backward(z.data(), u.data(), layout, moments.read(), w.data(), false, out);
    return Fused<T, NormMoments<T>>{value, moments};
  };
  const auto backward = [layout](const Tensor<T>& v, const NormMoments<T>& saved, const bool* needed,
                                 AnyTensor* results, const Tensor<T>& z, const Tensor<T>& u, const Tensor<T>& w) {
    const cpu::ChannelSlopeGradients<T> out{gradient_place<T>(needed, results, 0, z.shape()),
                                            gradient_place<T>(needed, results, 1, z.shape()),
                                            gradient_place<T>(needed, results, 2, w.shape())};
    cpu::channel_slope_backward(z.data(), u.data(), v.data(), layout, saved.read(), w.data(), out);
  };
  return fused("norm_slope", composite, forward, backward, x, g, weight);
}

template <class T, class... Affine>
Tensor<T> norm_over_channels(const char* op, const cpu::ChannelLayout& layout, double eps,
                             ChannelStatistics<T>* statistics, const Tensor<T>& x, const Affine&... scale);

/// The gradient of norm(x) weight + bias to weight for the gradient g to it: the sum of norm(x) g for every channel.
template <class T>
Tensor<T> norm_weight_slope(const cpu::ChannelLayout& layout, double eps, const NormMoments<T>& moments,
                            const Tensor<T>& x, const Tensor<T>& g) {
  const Tensor<T> value = fresh<T>({layout.channels});
  cpu::ChannelGradients<T> out;
  out.weight = writable(value);
  cpu::channel_backward(x.data(), g.data(), layout, moments.read(), static_cast<const T*>(nullptr), false, out);
  return record("norm_weight_slope", value,
                Edge(x, [=](const Tensor<T>& s) { return norm_slope(layout, eps, moments, x, g, s); }),
                Edge(g, [=](const Tensor<T>& s) {
                  if (recording()) return norm_over_channels<T>("norm", layout, eps, nullptr, x) * s;
                  const Tensor<T> scaled = fresh<T>(x.shape());
                  cpu::channel_scale(x.data(), layout, moments.read(), s.data(), static_cast<const T*>(nullptr),
                                     writable(scaled));
                  return scaled;
                }));
}

/// Batch norm (one sample) and group norm by their own statistics; those of the sample go to `statistics` unless null.
/// The definition, for n numbers in a group: d / sqrt(mean d^2 + eps) weight + bias with d = x - mean x.
template <class T, class... Affine>
Tensor<T> norm_over_channels(const char* op, const cpu::ChannelLayout& layout, double eps,
                             ChannelStatistics<T>* statistics, const Tensor<T>& x, const Affine&... scale) {
  constexpr bool scaled = sizeof...(Affine) > 0, shifted = sizeof...(Affine) > 1;
  const Shape per_channel{layout.samples, layout.channels};
  Tensor<T> value = fresh<T>(x.shape());
  NormMoments<T> moments{fresh<T>(per_channel), fresh<T>(per_channel), {}};
  const Tensor<T> variance = fresh<T>(per_channel);
  cpu::channel_moments(x.data(), layout, {writable(moments.mean), writable(moments.rest), writable(variance)});
  moments.inverse = inverse_deviation(variance, eps);
  cpu::channel_scale(x.data(), layout, moments.read(), numbers_or_null<0, T>(scale...), numbers_or_null<1, T>(scale...),
                     writable(value));
  if (statistics) {
    const Shape channel{layout.channels};
    *statistics = {view(moments.mean, channel, 0), view(variance, channel, 0)};
  }
  if (!recorded(x, scale...)) return value;
  auto rule = [=](const Tensor<T>& g, const bool* needed, AnyTensor* results) {
    const std::tuple<const Affine&...> affine(scale...);
    if (recording()) {
      // The derivatives as ops, which have kernels for theirs.
      if constexpr (scaled) {
        if (needed[0]) results[0] = norm_slope(layout, eps, moments, x, g, std::get<0>(affine));
        if (needed[1]) results[1] = norm_weight_slope(layout, eps, moments, x, g);
        if constexpr (shifted)
          if (needed[2]) results[2] = sum_to(g, Shape{layout.channels});
      } else {
        results[0] = norm_slope(layout, eps, moments, x, g, ones<T>({layout.channels}));
      }
      return;
    }
    cpu::ChannelGradients<T> out;
    out.x = gradient_place<T>(needed, results, 0, x.shape());
    if constexpr (scaled) out.weight = gradient_place<T>(needed, results, 1, {layout.channels});
    if constexpr (shifted) out.bias = gradient_place<T>(needed, results, 2, {layout.channels});
    cpu::channel_backward(x.data(), g.data(), layout, moments.read(), numbers_or_null<0, T>(scale...), false, out);
  };
  return record_jointly(op, std::move(value), std::move(rule), x, scale...);
}

/// Batch norm by given statistics, which get gradients like any argument.
template <class T, class... Affine>
Tensor<T> norm_by_given(double eps, const Tensor<T>& x, const Tensor<T>& mean, const Tensor<T>& variance,
                        const Affine&... scale) {
  const cpu::ChannelLayout layout = batch_layout(x);
  const auto composite = [eps](const Tensor<T>& z, const Tensor<T>& m, const Tensor<T>& v, const Affine&... a) {
    return affine((z - m) * rsqrt(v + eps), a...);
  };
  const auto forward = [&](const Tensor<T>& z, const Tensor<T>& m, const Tensor<T>& v, const Affine&... a) {
    const Tensor<T> value = fresh<T>(z.shape()), inverse = inverse_deviation(v, eps);
    cpu::channel_scale<T>(z.data(), layout, {m.data(), nullptr, inverse.data()}, numbers_or_null<0, T>(a...),
                          numbers_or_null<1, T>(a...), writable(value));
    return Fused<T, Tensor<T>>{value, inverse};
  };
  const auto backward = [layout](const Tensor<T>& g, const Tensor<T>& inverse, const bool* needed, AnyTensor* results,
                                 const Tensor<T>& z, const Tensor<T>& m, const Tensor<T>&, const Affine&... a) {
    cpu::ChannelGradients<T> out;
    const Shape channel{layout.channels};
    out.x = gradient_place<T>(needed, results, 0, z.shape());
    out.mean = gradient_place<T>(needed, results, 1, channel);
    out.variance = gradient_place<T>(needed, results, 2, channel);
    if constexpr (sizeof...(a) > 0) out.weight = gradient_place<T>(needed, results, 3, channel);
    if constexpr (sizeof...(a) > 1) out.bias = gradient_place<T>(needed, results, 4, channel);
    cpu::channel_backward<T>(z.data(), g.data(), layout, {m.data(), nullptr, inverse.data()},
                             numbers_or_null<0, T>(a...), true, out);
  };
  return fused("batch_norm", composite, forward, backward, x, mean, variance, scale...);
}

template <class T>
cpu::ChannelLayout group_layout(const Tensor<T>& x, Index groups, Site site) {
  if (x.rank() < 2) fail<ShapeError>("group_norm", "x needs a batch and a channel axis", {{"x", x.shape()}}, site);
  const Index channels = x.shape()[-1];
  if (groups < 1 || channels % groups != 0)
    fail("group_norm", {groups, " groups do not divide ", channels, " channels"}, {{"x", x.shape()}}, site);
  return {x.shape()[0], x.shape().without(x.rank() - 1).without(0).count(), channels, groups};
}
template <class T>
void check_statistics(const Tensor<T>& x, const ChannelStatistics<T>& statistics, Site site) {
  const Shape channel{x.shape()[-1]};
  if (!(statistics.mean.shape() == channel) || !(statistics.variance.shape() == channel))
    fail<ShapeError>("batch_norm", "statistics must have one number a channel (the last axis of x)",
                     {{"x", x.shape()}, {"mean", statistics.mean.shape()}, {"variance", statistics.variance.shape()}},
                     site);
}
template <class T, class... Affine>
BatchNormResult<T> batch_norm_result(double eps, const Tensor<T>& x, const Affine&... scale) {
  BatchNormResult<T> result;
  result.value = norm_over_channels("batch_norm", batch_layout(x), eps, &result.statistics, x, scale...);
  return result;
}

}  // namespace detail

/// (x - mean) / sqrt(variance + eps) weight + bias over the last axis of x [..., width], weight and bias [width], the
/// variance biased. Ba, Kiros, Hinton 2016 (arXiv 1607.06450). Throws ShapeError, ValueError for a negative eps.
template <Real T>
Tensor<T> layer_norm(const Tensor<T>& x, const Tensor<T>& weight, const Tensor<T>& bias, double eps = 1e-5,
                     Site site = Site::current()) {
  detail::check_norm("layer_norm", x, eps, site, weight, bias);
  return detail::norm_over_rows<true>("layer_norm", eps, x, weight, bias);
}
/// Layer norm without bias.
template <Real T>
Tensor<T> layer_norm(const Tensor<T>& x, const Tensor<T>& weight, double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("layer_norm", x, eps, site, weight);
  return detail::norm_over_rows<true>("layer_norm", eps, x, weight);
}
/// Layer norm without weight and bias.
template <Real T>
Tensor<T> layer_norm(const Tensor<T>& x, double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("layer_norm", x, eps, site);
  return detail::norm_over_rows<true>("layer_norm", eps, x);
}

/// x / sqrt(mean x^2 + eps) weight over the last axis of x [..., width], weight [width]. Zhang, Sennrich, NeurIPS 2019.
/// Throws ShapeError, ValueError for a negative eps.
template <Real T>
Tensor<T> rms_norm(const Tensor<T>& x, const Tensor<T>& weight, double eps = 1e-6, Site site = Site::current()) {
  detail::check_norm("rms_norm", x, eps, site, weight);
  return detail::norm_over_rows<false>("rms_norm", eps, x, weight);
}
/// RMS norm without weight.
template <Real T>
Tensor<T> rms_norm(const Tensor<T>& x, double eps = 1e-6, Site site = Site::current()) {
  detail::check_norm("rms_norm", x, eps, site);
  return detail::norm_over_rows<false>("rms_norm", eps, x);
}

/// Normalises x [batch, ..., channels] over each sample and group of neighbouring channels, then scales channels by
/// weight and bias [channels]. Wu, He, ECCV 2018; one group a channel is instance norm (Ulyanov, Vedaldi, Lempitsky
/// 2016). Throws ShapeError, ValueError for a negative eps or groups that do not divide the channels.
template <Real T>
Tensor<T> group_norm(const Tensor<T>& x, Index groups, const Tensor<T>& weight, const Tensor<T>& bias,
                     double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("group_norm", x, eps, site, weight, bias);
  return detail::norm_over_channels("group_norm", detail::group_layout(x, groups, site), eps,
                                    static_cast<ChannelStatistics<T>*>(nullptr), x, weight, bias);
}
/// Group norm without bias.
template <Real T>
Tensor<T> group_norm(const Tensor<T>& x, Index groups, const Tensor<T>& weight, double eps = 1e-5,
                     Site site = Site::current()) {
  detail::check_norm("group_norm", x, eps, site, weight);
  return detail::norm_over_channels("group_norm", detail::group_layout(x, groups, site), eps,
                                    static_cast<ChannelStatistics<T>*>(nullptr), x, weight);
}
/// Group norm without weight and bias.
template <Real T>
Tensor<T> group_norm(const Tensor<T>& x, Index groups, double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("group_norm", x, eps, site);
  return detail::norm_over_channels("group_norm", detail::group_layout(x, groups, site), eps,
                                    static_cast<ChannelStatistics<T>*>(nullptr), x);
}

/// (x - mean) / sqrt(variance + eps) weight + bias for x [..., channels], with mean and biased variance of each channel
/// taken over all other axes of this very batch; weight and bias [channels]. Gradients flow through the statistics.
/// Ioffe, Szegedy, ICML 2015. Throws ShapeError, ValueError for a negative eps.
template <Real T>
Tensor<T> batch_norm(const Tensor<T>& x, const Tensor<T>& weight, const Tensor<T>& bias, double eps = 1e-5,
                     Site site = Site::current()) {
  detail::check_norm("batch_norm", x, eps, site, weight, bias);
  return detail::batch_norm_result(eps, x, weight, bias).value;
}
/// Batch norm without bias.
template <Real T>
Tensor<T> batch_norm(const Tensor<T>& x, const Tensor<T>& weight, double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("batch_norm", x, eps, site, weight);
  return detail::batch_norm_result(eps, x, weight).value;
}
/// Batch norm without weight and bias.
template <Real T>
Tensor<T> batch_norm(const Tensor<T>& x, double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("batch_norm", x, eps, site);
  return detail::batch_norm_result(eps, x).value;
}
/// `batch_norm` and the batch's statistics, at the cost of `batch_norm` alone. Over n rows the unbiased variance is
/// n / (n - 1) times the one returned.
template <Real T>
BatchNormResult<T> batch_norm_with_statistics(const Tensor<T>& x, const Tensor<T>& weight, const Tensor<T>& bias,
                                              double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("batch_norm_with_statistics", x, eps, site, weight, bias);
  return detail::batch_norm_result(eps, x, weight, bias);
}
template <Real T>
BatchNormResult<T> batch_norm_with_statistics(const Tensor<T>& x, const Tensor<T>& weight, double eps = 1e-5,
                                              Site site = Site::current()) {
  detail::check_norm("batch_norm_with_statistics", x, eps, site, weight);
  return detail::batch_norm_result(eps, x, weight);
}
template <Real T>
BatchNormResult<T> batch_norm_with_statistics(const Tensor<T>& x, double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("batch_norm_with_statistics", x, eps, site);
  return detail::batch_norm_result(eps, x);
}
/// Mean and biased variance of each channel of x [..., channels] over all other axes; zeros over no rows. Throws
/// ShapeError.
template <Real T>
ChannelStatistics<T> batch_statistics(const Tensor<T>& x, Site site = Site::current()) {
  detail::check_norm("batch_statistics", x, 0, site);
  const Shape channel{x.shape()[-1]};
  ChannelStatistics<T> result{detail::fresh<T>(channel), detail::fresh<T>(channel)};
  const Tensor<T> rest = detail::fresh<T>(channel);
  cpu::channel_moments(x.data(), detail::batch_layout(x),
                       {detail::writable(result.mean), detail::writable(rest), detail::writable(result.variance)});
  return result;
}

/// Batch norm by given statistics [channels] (running ones, another batch's): (x - mean) / sqrt(variance + eps) weight
/// + bias. Samples do not influence one another; gradients flow to the statistics where they are tracked. Throws
/// ShapeError, ValueError for a negative eps.
template <Real T>
Tensor<T> batch_norm(const Tensor<T>& x, const ChannelStatistics<T>& statistics, const Tensor<T>& weight,
                     const Tensor<T>& bias, double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("batch_norm", x, eps, site, weight, bias);
  detail::check_statistics(x, statistics, site);
  return detail::norm_by_given(eps, x, statistics.mean, statistics.variance, weight, bias);
}
/// Batch norm by given statistics without bias.
template <Real T>
Tensor<T> batch_norm(const Tensor<T>& x, const ChannelStatistics<T>& statistics, const Tensor<T>& weight,
                     double eps = 1e-5, Site site = Site::current()) {
  detail::check_norm("batch_norm", x, eps, site, weight);
  detail::check_statistics(x, statistics, site);
  return detail::norm_by_given(eps, x, statistics.mean, statistics.variance, weight);
}
/// Batch norm by given statistics without weight and bias.
template <Real T>
Tensor<T> batch_norm(const Tensor<T>& x, const ChannelStatistics<T>& statistics, double eps = 1e-5,
                     Site site = Site::current()) {
  detail::check_norm("batch_norm", x, eps, site);
  detail::check_statistics(x, statistics, site);
  return detail::norm_by_given(eps, x, statistics.mean, statistics.variance);
}

}  // namespace GRAFT_ABI
}  // namespace graft
