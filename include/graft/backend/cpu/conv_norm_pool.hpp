#pragma once
// A block of a convolutional network: convolution, batch or group norm, 2 x 2 max-pooling, ReLU. The map between
// convolution and pooling is the largest of a network: instead of a pass over it for every op, there are two passes
// forward and one backward, over blocks that stay in the second-level cache. Where a pixel of it costs few
// multiplications, as in the first layer, it is not even stored but computed again.

#include "graft/backend/cpu/channel_norm.hpp"
#include "graft/backend/cpu/conv.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// How the maps between convolution and pooling are cut up: an image into strips of an even number of rows (the last
/// one takes what is left), a strip into chunks for the statistics; a block is one strip or several whole images.
template <class T>
struct ConvBlocks {
  Index height, width, rows, strips, images, count;  ///< `rows` of a strip, `images` of a block, `count` of blocks
  Index batch, chunk, chunks;                        ///< pixels of a chunk, chunks of a strip

  explicit ConvBlocks(const ConvShape& s) : height(s.out_h), width(s.out_w), batch(s.batch) {
    constexpr Index kBytes = Index{1} << 16;  // next to windows and weights
    const Index pixels = height * width, fit = std::max(kBytes / (s.out * static_cast<Index>(sizeof(T)) + 1), Index{1});
    const Index about = (pixels + fit - 1) / fit;
    rows = ((height + about - 1) / about + 1) / 2 * 2;
    strips = (height + rows - 1) / rows;
    images = strips > 1 ? 1 : std::max(fit / pixels, Index{1});
    count = s.out == 0 ? 0 : strips > 1 ? batch * strips : (batch + images - 1) / images;
    chunk = std::clamp(fit / 2, Index{8}, Index{512});  // fits the first-level cache
    chunks = (std::min(rows, height) * width + chunk - 1) / chunk;
  }

  /// Numbers of the strips of a block: strip / strips is the image.
  Index first_strip(Index block) const { return block * images; }
  Index end_strip(Index block) const { return std::min((block + 1) * images, batch * strips); }
  Index first_row(Index strip) const { return strip % strips * rows; }
  Index rows_of(Index strip) const { return std::min(rows, height - first_row(strip)); }
  Index first_pixel(Index strip) const { return (strip / strips * height + first_row(strip)) * width; }
  Index end_pixel(Index strip) const { return first_pixel(strip) + rows_of(strip) * width; }
  /// The first pooled pixel of a strip.
  Index first_window(Index strip) const { return (strip / strips * (height / 2) + first_row(strip) / 2) * (width / 2); }
  Index most_pixels() const { return images * std::min(rows, height) * width; }
  Index rows_of_chunk(Index at) const {
    const Index left = rows_of(at / chunks) * width - at % chunks * chunk;
    return left < 0 ? 0 : std::min(left, chunk);
  }
};

/// A convolution whose output a block needs now or later: kept in memory, or computed whenever it is needed.
template <class T>
struct ConvOutput {
  /// Longest windows for which computing again beats writing and reading.
  static constexpr Index kCheap = 32;
  static bool kept(const ConvShape& s) { return s.taps() * s.group_in() > kCheap; }

  const ConvShape& s;
  const T *x, *packed;  ///< the weight as `packed_weight` gives it
  const T* y;           ///< the output, or null
  T* scratch;           ///< for a block

  /// The pixels [begin, end).
  const T* operator()(Index begin, Index end) const {
    if (y) return y + begin * s.out;
    conv2d_pixels(s, x, packed, begin, end, scratch, false);
    return scratch;
  }
};

/// The four pixels of a window once normalised, and which of them is the maximum: the last one that is larger than
/// those before it, or a NaN, as in `max_pool2d`.
template <class T>
struct NormedWindow {
  using B = Simd<T>;
  B centred0, centred1, centred2, centred3, best;
  SimdMask<T> chosen1, chosen2, chosen3;

  [[gnu::always_inline]] NormedWindow(const T* from, Index right, Index below, B mean, B scale, B shift)
      : centred0(B::load(from) - mean),
        centred1(B::load(from + right) - mean),
        centred2(B::load(from + below) - mean),
        centred3(B::load(from + below + right) - mean),
        best(fma(centred0, scale, shift)) {
    const auto next = [&](B centred) __attribute__((always_inline)) {
      const B number = fma(centred, scale, shift);
      const SimdMask<T> larger = number > best || number != number;
      best = where(larger, number, best);
      return larger;
    };
    chosen1 = next(centred1), chosen2 = next(centred2), chosen3 = next(centred3);
  }
  [[gnu::always_inline]] B centred() const {
    return where(chosen3, centred3, where(chosen2, centred2, where(chosen1, centred1, centred0)));
  }
};

/// What all passes of a block know.
template <class T>
struct ConvNorm {
  const ConvShape& s;
  const ChannelLayout& layout;  ///< of the convolution's output
  const T *x, *packed;
  ChannelNorms<T> norms;
  const T *weight, *bias;   ///< [channels]

  Index sample(const ConvBlocks<T>& blocks, Index strip) const {
    return layout.samples == 1 ? 0 : strip / blocks.strips;
  }
  /// What is added to (y - mean) scale for the channels from `at` = sample channels + c on: the bias, and with it what
  /// rounding left of the mean.
  [[gnu::always_inline]] Simd<T> shift(Index at, Index c, Simd<T> scale) const {
    return fma(-Simd<T>::load(norms.rest + at), scale, Simd<T>::load(bias + c));
  }
};

/// First pass: the moments of the convolution's output, which is written to `y` unless that is null.
template <class T>
void conv_moments(const ConvShape& s, const ChannelLayout& layout, const T* x, const T* packed, T* y,
                  const ChannelMoments<T>& out) {
  const ConvBlocks<T> blocks(s);
  const Index parts = s.batch * blocks.strips * blocks.chunks;
  ChunkMoments<T> moments(parts, s.out);
  parallel_jobs(blocks.count, [&](Index block) {
    const detail::Workspace<T> scratch(y ? 0 : blocks.most_pixels() * s.out + Simd<T>::size);
    const Index first = blocks.first_strip(block), end = blocks.end_strip(block);
    const Index begin = blocks.first_pixel(first);
    T* const to = y ? y + begin * s.out : scratch.data();
    conv2d_pixels(s, x, packed, begin, blocks.end_pixel(end - 1), to, false);
    for (Index at = first * blocks.chunks; at < end * blocks.chunks; ++at) {
      const Index rows = blocks.rows_of_chunk(at);
      const Index pixel = blocks.first_pixel(at / blocks.chunks) + at % blocks.chunks * blocks.chunk;
      if (rows > 0) chunk_moments(to + (pixel - begin) * s.out, rows, s.out, moments, at);
    }
  });
  join_moments(
      layout, parts / std::max(layout.samples, Index{1}), [&](Index at) { return blocks.rows_of_chunk(at); }, moments,
      out);
}

/// Second pass: out = relu(max over windows of (y - mean) inverse weight + bias), and y - mean where the maximum is.
template <class T>
void conv_norm_pool(const ConvNorm<T>& n, const T* y, T* out, T* centred) {
  using B = Simd<T>;
  const ConvShape& s = n.s;
  const ConvBlocks<T> blocks(s);
  parallel_jobs(blocks.count, [&](Index block) {
    const detail::Workspace<T> scratch(y ? 0 : blocks.most_pixels() * s.out + B::size);
    const Index first = blocks.first_strip(block), end = blocks.end_strip(block), line = s.out_w * s.out;
    const Index begin = blocks.first_pixel(first);
    const T* from = ConvOutput<T>{s, n.x, n.packed, y, scratch.data()}(begin, blocks.end_pixel(end - 1));
    for (Index strip = first; strip < end; ++strip)
      for (Index i = 0; i < blocks.rows_of(strip) / 2; ++i) {
        const T* const rows = from + (blocks.first_pixel(strip) - begin) * s.out + 2 * i * line;
        const Index to = (blocks.first_window(strip) + i * (s.out_w / 2)) * s.out;
        for_row<T>(s.out, [&](Index c, Index left) {
          const Index channel = n.sample(blocks, strip) * s.out + c;
          const B mean = B::load(n.norms.mean + channel);
          const B scale = B::load(n.norms.inverse + channel) * B::load(n.weight + c);
          const B shift = n.shift(channel, c, scale);
          for (Index j = 0; j < s.out_w / 2; ++j) {
            const NormedWindow<T> window(rows + 2 * j * s.out + c, s.out, line, mean, scale, shift);
            store_lanes(where(window.best < B(0), B(0), window.best), out + to + j * s.out + c, left);
            store_lanes(window.centred(), centred + to + j * s.out + c, left);
          }
        });
      }
  });
}

/// The gradient to the convolution's output in one strip, from that output and the gradient to the pooled strip.
template <class T>
void conv_norm_slopes(const ConvNorm<T>& n, const ConvBlocks<T>& blocks, Index strip, const T* from, const T* g,
                      const ChannelMeans<T>& means, T* to) {
  using B = Simd<T>;
  const Index channels = n.s.out, width = n.s.out_w, line = width * channels, sample = n.sample(blocks, strip);
  const Index stride = whole_batches<T>(channels);
  for (Index row = 0; row < blocks.rows_of(strip); row += 2) {
    const bool pair = row + 1 < blocks.rows_of(strip);
    for_row<T>(channels, [&](Index c, Index left) {
      const ChannelSlope<T> slope =
          channel_slope(n.norms, n.weight, means, sample * channels + c, sample * stride + c, c);
      const B shift = n.shift(sample * channels + c, c, slope.scale);
      const T* const at = from + row * line + c;
      T* const out = to + row * line + c;
      const auto put = [&](Index offset, B gradient, B centred) __attribute__((always_inline)) {
        store_lanes(slope(gradient, centred), out + offset, left);
      };
      // Pixels outside all windows: those of an odd last row or column.
      const auto put_lone = [&](Index offset) { put(offset, B(0), B::load(at + offset) - slope.mean); };
      if (!pair) {
        for (Index j = 0; j < line; j += channels) put_lone(j);
        return;
      }
      const T* upstream = g + row / 2 * (width / 2) * channels + c;
      Index j = 0;
      for (; j + 2 * channels <= line; j += 2 * channels, upstream += channels) {
        const NormedWindow<T> w(at + j, channels, line, slope.mean, slope.scale, shift);
        const B gi = B::load(upstream) * where(w.best > B(0), B(1), B(0));
        const SimdMask<T> late = w.chosen2 || w.chosen3;
        put(j, where(w.chosen1 || late, B(0), gi), w.centred0);
        put(j + channels, where(w.chosen1 && !late, gi, B(0)), w.centred1);
        put(j + line, where(w.chosen2 && !w.chosen3, gi, B(0)), w.centred2);
        put(j + line + channels, where(w.chosen3, gi, B(0)), w.centred3);
      }
      if (j < line) put_lone(j), put_lone(j + line);
    });
  }
}

/// Gradients of `conv_norm_pool`; null ones are skipped. `map` [batch, out_h, out_w, out], the gradient to the
/// convolution's output, is what the gradient to x is made from.
template <class T>
struct ConvNormGradients {
  T *map, *kernel, *weight, *bias;
};

/// Backward: sums over the pooled map alone (no other pixel gets a gradient from above), then one pass that makes the
/// gradient to the convolution's output and multiplies it into that to the kernel.
template <class T>
void conv_norm_pool_backward(const ConvNorm<T>& n, const T* y, const T* centred, const T* g,
                             const ConvNormGradients<T>& gradients) {
  using B = Simd<T>;
  const ConvShape& s = n.s;
  const ConvBlocks<T> blocks(s);
  const Index channels = s.out, stride = whole_batches<T>(channels), sums = n.layout.samples * stride;
  std::vector<T, detail::CacheAllocator<T>> buffer(static_cast<std::size_t>(4 * sums));
  T *const plain = buffer.data(), *const along = plain + sums;
  const ChannelMeans<T> means{along + sums, along + 2 * sums};
  const ChannelLayout pooled{n.layout.samples,
                             n.layout.samples == 0 ? 0 : s.batch * (s.out_h / 2) * (s.out_w / 2) / n.layout.samples,
                             channels, n.layout.groups};
  sum_samples<2>(
      pooled,
      [&](Index sample, Index offset) {
        const Index first = sample * channels;
        const T *const from = centred + offset, *const from_g = g + offset;
        return std::pair(
            [=, &n](Index c) __attribute__((always_inline)) {
              const B scale = B::load(n.norms.inverse + first + c) * B::load(n.weight + c);
              return std::array{scale, n.shift(first + c, c, scale)};
            },
            [=](const std::array<B, 2>& k, Index i, std::array<B, 2>& sum) __attribute__((always_inline)) {
              const B d = B::load(from + i), best = fma(d, k[0], k[1]);
              const B gi = B::load(from_g + i) * where(best > B(0), B(1), B(0));
              sum[0] += gi;
              sum[1] = fma(gi, d, sum[1]);
            });
      },
      plain);
  channel_gradients(n.layout, n.norms, n.weight, false, plain, along, means,
                    {.weight = gradients.weight, .bias = gradients.bias});
  if (!gradients.map && !gradients.kernel) return;

  // At most 32 jobs, each with its own sum of the gradient to the kernel.
  const Index size = channels * s.taps() * s.group_in();
  const Index job = std::max(2048 / blocks.most_pixels() + 1, (blocks.count + 31) / 32);
  const Index jobs = (blocks.count + job - 1) / job;
  const detail::Workspace<T> kernels(gradients.kernel ? jobs * size + B::size : 0);
  parallel_jobs(jobs, [&](Index i) {
    const Index most = blocks.most_pixels() * channels + B::size;
    const detail::Workspace<T> scratch(y ? 0 : most), slopes(gradients.map ? 0 : most);
    const ConvOutput<T> output{s, n.x, n.packed, y, scratch.data()};
    for (Index block = i * job; block < std::min((i + 1) * job, blocks.count); ++block) {
      const Index first = blocks.first_strip(block), end = blocks.end_strip(block);
      const Index begin = blocks.first_pixel(first), last = blocks.end_pixel(end - 1);
      const T* const from = output(begin, last);
      T* const to = gradients.map ? gradients.map + begin * channels : slopes.data();
      for (Index strip = first; strip < end; ++strip)
        conv_norm_slopes(n, blocks, strip, from + (blocks.first_pixel(strip) - begin) * channels,
                         g + blocks.first_window(strip) * channels, means,
                         to + (blocks.first_pixel(strip) - begin) * channels);
      if (gradients.kernel) add_weight_products(s, n.x, to, begin, last, block == i * job, kernels.data() + i * size);
    }
  });
  if (gradients.kernel) join_weight_sums(s, kernels.data(), jobs, gradients.kernel);
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
