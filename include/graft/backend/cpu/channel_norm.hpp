#pragma once
// Normalisation of channels-last data [samples, rows, channels]: batch norm (one sample, a group is one channel) and
// group norm (a group is several channels of one sample). Moments are taken in fixed chunks of rows, relative to the
// first row: in each, the mean and the squares of what is left after subtracting it, while the chunk is in the
// first-level cache; chunks are joined in order by the exact rule of Chan, Golub and LeVeque, "Updating formulae and a
// pairwise algorithm for computing sample variances", 1979. So memory is read once, no variance is a difference of
// large numbers, and no part that all numbers share, however large, is rounded: means have two parts.

#include <array>
#include <vector>

#include "graft/backend/cpu/channels.hpp"
#include "graft/core/memory.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Moments of chunks of rows, rows of whole batches each: the first row, the mean of what is left after subtracting it,
/// and the squares of what is left after subtracting both.
template <class T>
struct ChunkMoments {
  std::vector<T, detail::CacheAllocator<T>> parts;
  Index stride;

  ChunkMoments(Index chunks, Index channels)
      : parts(static_cast<std::size_t>(3 * chunks * whole_batches<T>(channels))), stride(whole_batches<T>(channels)) {}
  T* first(Index chunk) { return parts.data() + 3 * chunk * stride; }
  T* mean(Index chunk) { return first(chunk) + stride; }
  T* squares(Index chunk) { return mean(chunk) + stride; }
};

template <class T>
void chunk_moments(const T* from, Index rows, Index channels, ChunkMoments<T>& moments, Index chunk) {
  using B = Simd<T>;
  const B one_over(T(1) / static_cast<T>(rows));
  T *const first = moments.first(chunk), *const mean = moments.mean(chunk);
  for (Index c = 0; c < channels; c += B::size) B::load(from + c).store(first + c);
  sum_channels<1, T>(
      rows, channels, [first](Index c) __attribute__((always_inline)) { return B::load(first + c); },
      [from](B start, Index i, std::array<B, 1>& sum)
          __attribute__((always_inline)) { sum[0] += B::load(from + i) - start; },
      {mean});
  for (Index c = 0; c < channels; c += B::size) (B::load(mean + c) * one_over).store(mean + c);
  sum_channels<1, T>(
      rows, channels, [first, mean](Index c) __attribute__((always_inline)) {
        return std::array{B::load(first + c), B::load(mean + c)};
      },
      [from](const std::array<B, 2>& centre, Index i, std::array<B, 1>& sum) __attribute__((always_inline)) {
        const B d = (B::load(from + i) - centre[0]) - centre[1];
        sum[0] = fma(d, d, sum[0]);
      },
      {moments.squares(chunk)});
}

/// Where moments [samples, channels] go: the mean is mean + rest, since one number would round it to its size.
template <class T>
struct ChannelMoments {
  T *mean, *rest, *variance;
};

/// Joins the moments of chunks, `in_sample` of each sample; rows_of(chunk) counts the rows of one:
/// mean = sum n_k m_k / n; variance = sum (s_k + n_k (m_k - mean)^2) / n, over chunks and the channels of the group.
/// All means are taken relative to the first number of the group.
template <class T, class RowsOf>
void join_moments(const ChannelLayout& layout, Index in_sample, RowsOf rows_of, ChunkMoments<T>& moments,
                  const ChannelMoments<T>& out) {
  const Index channels = layout.channels, width = layout.group_width();
  const double total = static_cast<double>(layout.rows * width);
  std::vector<double, detail::CacheAllocator<double>> sums(static_cast<std::size_t>(2 * layout.groups));
  double *const mean = sums.data(), *const variance = mean + layout.groups;
  for (Index sample = 0; sample < layout.samples; ++sample) {
    const auto start = [&](Index group) {
      return in_sample == 0 ? 0 : static_cast<double>(moments.first(sample * in_sample)[group * width]);
    };
    // Adds term(n_k, m_k, s_k, mean of the group) over the chunks of the sample and the channels of each group.
    const auto over_chunks = [&](double* to, auto term) {
      for (Index at = sample * in_sample; at < (sample + 1) * in_sample; ++at) {
        const double rows = static_cast<double>(rows_of(at));
        const T *f = moments.first(at), *m = moments.mean(at), *s = moments.squares(at);
        for (Index group = 0; group < layout.groups; ++group, f += width, m += width, s += width) {
          double sum = 0;
          for (Index c = 0; c < width; ++c)
            sum += term(rows, (static_cast<double>(f[c]) - start(group)) + static_cast<double>(m[c]),
                        static_cast<double>(s[c]), mean[group]);
          to[group] += sum;
        }
      }
    };
    for (double& sum : sums) sum = 0;
    over_chunks(mean, [](double rows, double m, double, double) { return rows * m; });
    for (Index group = 0; group < layout.groups; ++group) mean[group] = total > 0 ? mean[group] / total : 0;
    over_chunks(variance, [](double rows, double m, double s, double mu) { return s + rows * (m - mu) * (m - mu); });
    for (Index group = 0, c = sample * channels; group < layout.groups; ++group)
      for (const Index end = c + width; c < end; ++c) {
        out.mean[c] = static_cast<T>(start(group) + mean[group]);
        out.rest[c] = static_cast<T>((start(group) - static_cast<double>(out.mean[c])) + mean[group]);
        out.variance[c] = static_cast<T>(total > 0 ? variance[group] / total : 0);
      }
  }
}

/// Mean and (biased) variance of each group, written for every one of its channels: [samples, channels]. Zeros over no
/// rows.
template <class T>
void channel_moments(const T* x, const ChannelLayout& layout, const ChannelMoments<T>& out) {
  const ChannelChunks<T> chunks(layout);
  ChunkMoments<T> moments(chunks.count, layout.channels);
  chunks.for_each(layout, [&](Index at, Index, Index offset, Index rows) {
    chunk_moments(x + offset, rows, layout.channels, moments, at);
  });
  join_moments(
      layout, chunks.in_sample, [&](Index at) { return chunks.rows_of(layout, at); }, moments, out);
}

/// What normalises: means in two parts and inverse deviations, [samples, channels] each; a null `rest` is 0.
template <class T>
struct ChannelNorms {
  const T *mean, *rest, *inverse;
};

/// y = (x - mean) inverse weight + bias with weight and bias [channels] or null. What rounding left of the mean goes
/// with the bias.
template <class T>
void channel_scale(const T* x, const ChannelLayout& layout, const ChannelNorms<T>& norms, const T* weight,
                   const T* bias, T* y) {
  using B = Simd<T>;
  const Index channels = layout.channels;
  ChannelChunks<T>(layout).for_each(layout, [&](Index, Index sample, Index offset, Index rows) {
    const T *const m = norms.mean + sample * channels, *const r = norms.inverse + sample * channels;
    const T *const rest = norms.rest ? norms.rest + sample * channels : nullptr, *const from = x + offset;
    const auto at = [=](Index c) __attribute__((always_inline)) {
      const B scale = weight ? B::load(r + c) * B::load(weight + c) : B::load(r + c);
      const B shift = bias ? B::load(bias + c) : B(0);
      return std::array{B::load(m + c), scale, rest ? fma(-B::load(rest + c), scale, shift) : shift};
    };
    store_channels<T>(
        rows, channels, y + offset, at, [from](const std::array<B, 3>& k, Index i) __attribute__((always_inline)) {
          return fma(B::load(from + i) - k[0], k[1], k[2]);
        });
  });
}

/// Where the gradients of `channel_scale` go; null ones are skipped. Those of mean and variance [channels] exist for
/// statistics that were given; statistics taken from x send theirs on to x.
template <class T>
struct ChannelGradients {
  T *x = nullptr, *weight = nullptr, *bias = nullptr, *mean = nullptr, *variance = nullptr;
};

/// N sums over the rows of each sample, [N, samples, stride]: term(sample, offset) gives what `sum_channels` calls for
/// the chunk of the sample that starts there, as a pair (at, term).
template <int N, class T, class Terms>
void sum_samples(const ChannelLayout& layout, Terms terms, T* out) {
  const ChannelChunks<T> chunks(layout);
  const Index stride = chunks.stride, part = chunks.count * stride;
  std::vector<T, detail::CacheAllocator<T>> parts(static_cast<std::size_t>(N * part));
  chunks.for_each(layout, [&](Index at, Index sample, Index offset, Index rows) {
    std::array<T*, N> to;
    for (std::size_t i = 0; i < N; ++i) to[i] = parts.data() + static_cast<Index>(i) * part + at * stride;
    const auto [coefficients, term] = terms(sample, offset);
    sum_channels<N, T>(rows, layout.channels, coefficients, term, to);
  });
  for (Index i = 0; i < N; ++i)
    for (Index sample = 0; sample < layout.samples; ++sample)
      add_parts(parts.data() + i * part + sample * chunks.in_sample * stride, chunks.in_sample, stride, layout.channels,
                out + (i * layout.samples + sample) * stride);
}

/// Sums over the rows of each sample, [2, samples, stride]: of g, and of g (x - mean), `mean` being the first part.
template <class T>
void channel_sums(const T* x, const T* g, const ChannelLayout& layout, const T* mean, T* out) {
  using B = Simd<T>;
  sum_samples<2>(
      layout,
      [&](Index sample, Index offset) {
        const T *const m = mean + sample * layout.channels, *const from_x = x + offset, *const from_g = g + offset;
        return std::pair(
            [m](Index c) __attribute__((always_inline)) { return B::load(m + c); },
            [=](B centre, Index i, std::array<B, 2> & sums) __attribute__((always_inline)) {
              const B gi = B::load(from_g + i);
              sums[0] += gi;
              sums[1] = fma(gi, B::load(from_x + i) - centre, sums[1]);
            });
      },
      out);
}

/// What the gradient to x needs beside h = g weight, [samples, stride] each: p = mean h and q = inverse^2 mean
/// (h (x - mean)) over the n numbers of a group.
template <class T>
struct ChannelMeans {
  T *p, *q;
};

/// From the sums of `channel_sums`, which are changed: all gradients but that to x, and the means for it unless the
/// statistics were given.
template <class T>
void channel_gradients(const ChannelLayout& layout, const ChannelNorms<T>& norms, const T* weight, bool given, T* plain,
                       T* along, const ChannelMeans<T>& means, const ChannelGradients<T>& out) {
  const Index channels = layout.channels, samples = layout.samples, width = layout.group_width();
  const Index stride = whole_batches<T>(channels);
  const double n = static_cast<double>(layout.rows * width);
  for (Index sample = 0; sample < samples; ++sample) {
    const T* r = norms.inverse + sample * channels;
    T *const a = plain + sample * stride, *const b = along + sample * stride;
    for (Index c = 0; norms.rest && c < channels; ++c) b[c] -= norms.rest[sample * channels + c] * a[c];
    if (!given && n > 0)
      for (Index first = 0; first < channels; first += width) {
        double s = 0, t = 0;
        for (Index c = first; c < first + width; ++c) {
          const double w = weight ? static_cast<double>(weight[c]) : 1;
          s += w * static_cast<double>(a[c]);
          t += w * static_cast<double>(b[c]);
        }
        const double scale = static_cast<double>(r[first]);
        for (Index c = first; c < first + width; ++c) {
          means.p[sample * stride + c] = static_cast<T>(s / n);
          means.q[sample * stride + c] = static_cast<T>(scale * scale * t / n);
        }
      }
    for (Index c = 0; c < channels; ++c) {
      const T w = weight ? weight[c] : T(1);
      if (out.mean) out.mean[c] = -r[c] * w * a[c];
      // In this order no product of numbers in range leaves it before the result does.
      if (out.variance) out.variance[c] = T(-0.5) * (r[c] * w) * (r[c] * b[c]) * r[c];
      b[c] *= r[c];
    }
  }
  if (out.bias) add_parts(plain, samples, stride, channels, out.bias);
  if (out.weight) add_parts(along, samples, stride, channels, out.weight);
}

/// How the gradient to x of one channel follows from g and x: (x - mean) along + g scale + constant, `mean` being the
/// first part.
template <class T>
struct ChannelSlope {
  Simd<T> mean, scale, constant, along;
  [[gnu::always_inline]] Simd<T> operator()(Simd<T> g, Simd<T> centred) const {
    return fma(centred, along, fma(g, scale, constant));
  }
};
/// The slopes of the channels from `at` = sample channels + c and padded = sample stride + c on.
template <class T>
[[gnu::always_inline]] inline ChannelSlope<T> channel_slope(const ChannelNorms<T>& norms, const T* weight,
                                                            const ChannelMeans<T>& means, Index at, Index padded,
                                                            Index c) {
  using B = Simd<T>;
  const B scale = B::load(norms.inverse + at), along = -scale * B::load(means.q + padded);
  const B rest = norms.rest ? B::load(norms.rest + at) : B(0);
  return {B::load(norms.mean + at), weight ? scale * B::load(weight + c) : scale,
          -fma(scale, B::load(means.p + padded), rest * along), along};
}

/// Gradients of `channel_scale` at inverse = (variance + eps)^(-1/2). With the statistics taken from x, over the n
/// numbers of a group and h = g weight: dx = inverse (h - mean h - (x - mean) inverse^2 mean (h (x - mean))).
template <class T>
void channel_backward(const T* x, const T* g, const ChannelLayout& layout, const ChannelNorms<T>& norms,
                      const T* weight, bool given, const ChannelGradients<T>& out) {
  using B = Simd<T>;
  const Index channels = layout.channels, stride = whole_batches<T>(channels), sums = layout.samples * stride;
  std::vector<T, detail::CacheAllocator<T>> buffer(static_cast<std::size_t>(4 * sums));
  T *const plain = buffer.data(), *const along = plain + sums;
  const ChannelMeans<T> means{along + sums, along + 2 * sums};
  channel_sums(x, g, layout, norms.mean, plain);
  channel_gradients(layout, norms, weight, given, plain, along, means, out);
  if (!out.x) return;
  ChannelChunks<T>(layout).for_each(layout, [&](Index, Index sample, Index offset, Index rows) {
    const T *const from_x = x + offset, *const from_g = g + offset;
    if (given) {  // does not look at x, which may be infinite
      store_channels<T>(
          rows, channels, out.x + offset,
          [=](Index c) __attribute__((always_inline)) {
            const B scale = B::load(norms.inverse + sample * channels + c);
            return weight ? scale * B::load(weight + c) : scale;
          },
          [=](B scale, Index i) __attribute__((always_inline)) { return scale * B::load(from_g + i); });
      return;
    }
    store_channels<T>(
        rows, channels, out.x + offset,
        [=](Index c) __attribute__((always_inline)) {
          return channel_slope(norms, weight, means, sample * channels + c, sample * stride + c, c);
        },
        [=](const ChannelSlope<T>& slope, Index i)
            __attribute__((always_inline)) { return slope(B::load(from_g + i), B::load(from_x + i) - slope.mean); });
  });
}

/// Where the gradients of the gradient to x go; null ones are skipped.
template <class T>
struct ChannelSlopeGradients {
  T *x = nullptr, *g = nullptr, *weight = nullptr;
};

/// Gradients of the gradient to x that `channel_backward` gives for statistics taken from x, towards v. With n = (x -
/// mean) inverse, h = g weight, and means over the numbers of a group:
///   dg = weight inverse (v - mean v - n mean vn),   dweight = sum of g dg / weight,
///   dx = inverse^2 (mean hn (mean v - v) + mean vn (mean h - h) + n (3 mean hn mean vn + mean h mean v - mean vh)).
template <class T>
void channel_slope_backward(const T* x, const T* g, const T* v, const ChannelLayout& layout,
                            const ChannelNorms<T>& norms, const T* weight, const ChannelSlopeGradients<T>& out) {
  using B = Simd<T>;
  const Index channels = layout.channels, samples = layout.samples, width = layout.group_width();
  const Index stride = whole_batches<T>(channels), sums = samples * stride;
  // The sums of g, g (x - mean), v, v (x - mean) and v g, and what the gradients are made of.
  std::vector<T, detail::CacheAllocator<T>> buffer(static_cast<std::size_t>(12 * sums));
  T* const sum = buffer.data();
  const auto coefficients = [&](Index i) { return sum + (5 + i) * sums; };
  sum_samples<5>(
      layout,
      [&](Index sample, Index offset) {
        const T *const m = norms.mean + sample * channels, *const from_x = x + offset, *const from_g = g + offset;
        const T* const from_v = v + offset;
        return std::pair(
            [m](Index c) __attribute__((always_inline)) { return B::load(m + c); },
            [=](B centre, Index i, std::array<B, 5> & s) __attribute__((always_inline)) {
              const B gi = B::load(from_g + i), vi = B::load(from_v + i);
              const B d = B::load(from_x + i) - centre;
              s[0] += gi, s[1] = fma(gi, d, s[1]), s[2] += vi, s[3] = fma(vi, d, s[3]);
              s[4] = fma(vi, gi, s[4]);
            });
      },
      sum);
  const double n = static_cast<double>(layout.rows * width);
  for (Index first = 0; n > 0 && first < samples * channels; first += width) {
    const Index sample = first / channels, shift = sample * (stride - channels);
    const double rest = norms.rest ? static_cast<double>(norms.rest[first]) : 0;
    const auto number = [&](int i, Index c) {  // less what rounding left of the mean
      const double plain = static_cast<double>(sum[i * sums + shift + c]);
      return i % 2 == 0 ? plain : plain - rest * static_cast<double>(sum[(i - 1) * sums + shift + c]);
    };
    const auto weight_of = [&](Index c) { return static_cast<double>(weight[c - sample * channels]); };
    const double r = static_cast<double>(norms.inverse[first]);
    double h = 0, hn = 0, mean_v = 0, vn = 0, vh = 0;
    for (Index c = first; c < first + width; ++c) {
      const double w = weight_of(c) / n;
      h += w * number(0, c), hn += w * r * number(1, c), mean_v += number(2, c) / n, vn += r * number(3, c) / n;
      vh += w * number(4, c);
    }
    for (Index c = first; c < first + width; ++c) {
      const double w = weight_of(c);
      const double along_g = -w * r * r * vn, along_x = r * r * r * (3 * hn * vn + h * mean_v - vh);
      const double values[] = {w * r,
                               along_g,
                               -w * r * mean_v - rest * along_g,
                               -r * r * hn,
                               -r * r * vn * w,
                               along_x,
                               r * r * (hn * mean_v + vn * h) - rest * along_x};
      // The sum over the sample of g dg / weight, where the sum of v g was.
      sum[4 * sums + shift + c] = static_cast<T>(r * (number(4, c) - mean_v * number(0, c) - vn * r * number(1, c)));
      for (int i = 0; i < 7; ++i) coefficients(i)[shift + c] = static_cast<T>(values[i]);
    }
  }
  if (out.weight) add_parts(sum + 4 * sums, samples, stride, channels, out.weight);
  if (!out.x && !out.g) return;
  ChannelChunks<T>(layout).for_each(layout, [&](Index, Index sample, Index offset, Index rows) {
    const T *const m = norms.mean + sample * channels, *const k = coefficients(0) + sample * stride;
    const T *const from_x = x + offset, *const from_g = g + offset, *const from_v = v + offset;
    if (out.g)
      store_channels<T>(
          rows, channels, out.g + offset,
          [=](Index c) __attribute__((always_inline)) {
            return std::array{B::load(m + c), B::load(k + c), B::load(k + sums + c), B::load(k + 2 * sums + c)};
          },
          [=](const std::array<B, 4>& a, Index i) __attribute__((always_inline)) {
            return fma(B::load(from_x + i) - a[0], a[2], fma(B::load(from_v + i), a[1], a[3]));
          });
    if (out.x)
      store_channels<T>(
          rows, channels, out.x + offset,
          [=](Index c) __attribute__((always_inline)) {
            return std::array{B::load(m + c), B::load(k + 3 * sums + c), B::load(k + 4 * sums + c),
                              B::load(k + 5 * sums + c), B::load(k + 6 * sums + c)};
          },
          [=](const std::array<B, 5>& a, Index i) __attribute__((always_inline)) {
            return fma(B::load(from_x + i) - a[0], a[3],
                       fma(B::load(from_v + i), a[1], fma(B::load(from_g + i), a[2], a[4])));
          });
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
