#pragma once
// Pooling of channels-last maps. Each op is linear once its windows (and, for the maximum, the chosen pixels) are
// fixed, so it comes as a pair of an op and its transpose, each the other's derivative. Global average pooling is
// `mean(x, {1, 2})`.

#include <algorithm>
#include <limits>

#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Where the windows of a pooling op lie; the same along both axes.
struct PoolOptions {
  Index kernel = 2;   ///< height and width of a window
  Index stride = 0;   ///< pixels from one window to the next; 0 means `kernel`: windows side by side
  Index padding = 0;  ///< rows and columns around the map, at most kernel / 2
};

namespace detail {

/// Sizes of a pooling op: maps [batch, height, width, channels] and [batch, out_h, out_w, channels].
struct PoolShape {
  Index batch, height, width, channels, out_h, out_w, kernel, stride, padding;

  Shape input() const { return {batch, height, width, channels}; }
  Shape output() const { return {batch, out_h, out_w, channels}; }
};

inline PoolShape pool_shape(const char* op, const Shape& x, const PoolOptions& o, Site site) {
  if (x.rank() != 4) fail<ShapeError>(op, "expected maps [batch, height, width, channels]", {{"x", x}}, site);
  const Index stride = o.stride == 0 ? o.kernel : o.stride;
  if (o.kernel < 1 || stride < 1 || o.padding < 0 || o.padding > o.kernel / 2)
    fail(op,
         {"kernel must be 1 or more, stride 0 or more and padding at most half the kernel, got ", o.kernel, ", ",
          o.stride, ", ", o.padding},
         {{"x", x}}, site);
  if (x[1] + 2 * o.padding < o.kernel || x[2] + 2 * o.padding < o.kernel)
    fail<ShapeError>(op, {"a window of ", o.kernel, " does not fit into the map"}, {{"x", x}}, site);
  // Indices into a map are int32, and those into a window are counted in float.
  if (x[1] * x[2] > std::numeric_limits<std::int32_t>::max() || o.kernel * x[2] > Index{1} << 24)
    fail<ShapeError>(op, "more than 2^31 pixels in a map or 2^24 in the rows of a window", {{"x", x}}, site);
  return {x[0],
          x[1],
          x[2],
          x[3],
          (x[1] + 2 * o.padding - o.kernel) / stride + 1,
          (x[2] + 2 * o.padding - o.kernel) / stride + 1,
          o.kernel,
          stride,
          o.padding};
}

/// Calls run(map, out, first_row, last_row, first_column, last_column) for every window: the number of the map, of the
/// window, and the part of the window inside the map. Maps are shared out among threads.
template <class Run>
void for_pool_windows(const PoolShape& s, Run run) {
  const Index work = std::max(s.out_h * s.out_w * s.channels, Index{1}) * s.kernel * s.kernel;
  parallel_for(s.batch, 1 + 65536 / work, [&](Index begin, Index end) {
    for (Index map = begin; map < end; ++map)
      for (Index i = 0; i < s.out_h; ++i)
        for (Index j = 0; j < s.out_w; ++j) {
          const Index row = i * s.stride - s.padding, column = j * s.stride - s.padding;
          run(map, (map * s.out_h + i) * s.out_w + j, std::max(row, Index{0}), std::min(row + s.kernel, s.height),
              std::max(column, Index{0}), std::min(column + s.kernel, s.width));
        }
  });
}

template <class T>
Tensor<T> scatter_pixels(const Tensor<T>& y, const Tensor<std::int32_t>& pixels, const Shape& x_shape);

/// y[b, i, j, c] = x[b, pixel pixels[b, i, j, c], c].
template <class T>
Tensor<T> gather_pixels(const Tensor<T>& x, const Tensor<std::int32_t>& pixels) {
  Tensor<T> value = fresh<T>(pixels.shape());
  const Index channels = x.shape()[3], from = x.shape()[1] * x.shape()[2] * channels;
  const Index to = pixels.shape()[1] * pixels.shape()[2] * channels;
  parallel_for(x.shape()[0], 1 + 65536 / (to + 1), [&](Index begin, Index end) {
    for (Index map = begin; map < end; ++map) {
      const T* numbers = x.data() + map * from;
      const std::int32_t* at = pixels.data() + map * to;
      T* out = writable(value) + map * to;
      for (Index i = 0; i < to; i += channels)
        for (Index c = 0; c < channels; ++c) out[i + c] = numbers[at[i + c] * channels + c];
    }
  });
  return record("gather_pixels", std::move(value),
                Edge(x, [pixels, own = x.shape()](const Tensor<T>& g) { return scatter_pixels(g, pixels, own); }));
}

/// The transpose of `gather_pixels`: every y[b, i, j, c] is added, in order, to its pixel.
template <class T>
Tensor<T> scatter_pixels(const Tensor<T>& y, const Tensor<std::int32_t>& pixels, const Shape& x_shape) {
  Tensor<T> value = fresh<T>(x_shape);
  const Index channels = x_shape[3], to = x_shape[1] * x_shape[2] * channels;
  const Index from = y.shape()[1] * y.shape()[2] * channels;
  parallel_for(x_shape[0], 1 + 65536 / (to + 1), [&](Index begin, Index end) {
    for (Index map = begin; map < end; ++map) {
      const T* numbers = y.data() + map * from;
      const std::int32_t* at = pixels.data() + map * from;
      T* out = writable(value) + map * to;
      std::fill(out, out + to, T(0));
      for (Index i = 0; i < from; i += channels)
        for (Index c = 0; c < channels; ++c) out[at[i + c] * channels + c] += numbers[i + c];
    }
  });
  return record("scatter_pixels", std::move(value),
                Edge(y, [pixels](const Tensor<T>& g) { return gather_pixels(g, pixels); }));
}

template <class T>
Tensor<T> spread_windows(const Tensor<T>& y, const PoolShape& s);

/// Mean over windows; the area of a window counts padding, which holds zeros.
template <class T>
Tensor<T> average_windows(const Tensor<T>& x, const PoolShape& s) {
  using B = Batch<T>;
  Tensor<T> value = fresh<T>(s.output());
  const T scale = T(1) / static_cast<T>(s.kernel * s.kernel);
  for_pool_windows(s, [&](Index map, Index window, Index row, Index row_end, Index column, Index column_end) {
    T* out = writable(value) + window * s.channels;
    for (Index c = 0; c < s.channels; c += B::size) {
      B sum(0);
      for (Index i = row; i < row_end; ++i) {
        const T* from = x.data() + ((map * s.height + i) * s.width + column) * s.channels + c;
        for (Index j = column; j < column_end; ++j, from += s.channels) sum += B::load(from);
      }
      sum *= scale;
      store_lanes(sum, out + c, s.channels - c);
    }
  });
  return record("avg_pool2d", std::move(value), Edge(x, [s](const Tensor<T>& g) { return spread_windows(g, s); }));
}

/// The transpose of `average_windows`.
template <class T>
Tensor<T> spread_windows(const Tensor<T>& y, const PoolShape& s) {
  using B = Batch<T>;
  Tensor<T> value = fresh<T>(s.input());
  std::fill(writable(value), writable(value) + value.count(), T(0));
  const T scale = T(1) / static_cast<T>(s.kernel * s.kernel);
  for_pool_windows(s, [&](Index map, Index window, Index row, Index row_end, Index column, Index column_end) {
    const T* from = y.data() + window * s.channels;
    for (Index i = row; i < row_end; ++i)
      for (Index j = column; j < column_end; ++j) {
        T* out = writable(value) + ((map * s.height + i) * s.width + j) * s.channels;
        for (Index c = 0; c < s.channels; c += B::size) {
          const Index left = s.channels - c;
          store_lanes(fma(B::load(from + c), B(scale), load_lanes(out + c, left)), out + c, left);
        }
      }
  });
  return record("spread_windows", std::move(value), Edge(y, [s](const Tensor<T>& g) { return average_windows(g, s); }));
}

}  // namespace detail

/// Largest number of each window: x [batch, height, width, channels] -> [batch, out_h, out_w, channels] with
/// out_h = (height + 2 padding - kernel) / stride + 1. Padding is never chosen; of equal numbers the first one (by row,
/// then column) is, and gets the whole gradient. A NaN is larger than any number.
template <Real T>
Tensor<T> max_pool2d(const Tensor<T>& x, PoolOptions options = {}, Site site = Site::current()) {
  using B = Batch<T>;
  const detail::PoolShape s = detail::pool_shape("max_pool2d", x.shape(), options, site);
  Tensor<T> value = detail::fresh<T>(s.output(), "max_pool2d", site);
  const bool keep = recorded(x);
  Tensor<std::int32_t> pixels;
  if (keep) pixels = detail::fresh<std::int32_t>(s.output(), "max_pool2d", site);
  detail::for_pool_windows(s, [&](Index map, Index window, Index row, Index row_end, Index column, Index column_end) {
    T* out = detail::writable(value) + window * s.channels;
    for (Index c = 0; c < s.channels; c += B::size) {
      const T* from = x.data() + ((map * s.height + row) * s.width + column) * s.channels + c;
      B best = B::load(from), place(0);
      for (Index i = row; i < row_end; ++i)
        for (Index j = column; j < column_end; ++j) {
          const Index ahead = (i - row) * s.width + (j - column);
          const B next = B::load(from + ahead * s.channels);
          const auto larger = next > best || next != next;
          best = where(larger, next, best);
          if (keep) place = where(larger, B(ahead), place);
        }
      const Index wide = std::min(B::size, s.channels - c);
      store_lanes(best, out + c, wide);
      if (!keep) continue;
      alignas(64) T places[B::size];
      place.store(places);
      std::int32_t* to = detail::writable(pixels) + window * s.channels + c;
      const auto first = static_cast<std::int32_t>(row * s.width + column);
      for (Index l = 0; l < wide; ++l) to[l] = first + static_cast<std::int32_t>(places[l]);
    }
  });
  if (!keep) return value;
  return record("max_pool2d", std::move(value), Edge(x, [pixels, own = x.shape()](const Tensor<T>& g) {
                  return detail::scatter_pixels(g, pixels, own);
                }));
}

/// Mean of each window: x [batch, height, width, channels] -> [batch, out_h, out_w, channels]; padding counts as zeros.
template <Real T>
Tensor<T> avg_pool2d(const Tensor<T>& x, PoolOptions options = {}, Site site = Site::current()) {
  return detail::average_windows(x, detail::pool_shape("avg_pool2d", x.shape(), options, site));
}

}  // namespace GRAFT_ABI
}  // namespace graft
