#pragma once
// Pooling of channels-last maps. Each op is linear once its windows (and, for the maximum, the chosen pixels) are
// fixed, so it comes as a pair of an op and its transpose, each the other's derivative. Global average pooling is
// `mean(x, {1, 2})`.

#include <algorithm>
#include <limits>

#include "graft/core/per_axis.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Where the windows of a pooling op lie. Each option is one number, or {rows, columns}.
struct PoolOptions {
  PerAxis kernel = 2;    ///< height and width of a window
  PerAxis stride = 0;    ///< pixels from one window to the next; 0 means `kernel`: windows side by side
  Padding padding = 0;   ///< rows and columns around the map, at most kernel / 2, or `Padding::same`
  PerAxis dilation = 1;  ///< pixels from one pixel of a window to the next
};

namespace detail {

/// Windows along one axis of a map: window i holds the pixels i stride - before + t dilation for 0 <= t < kernel, as
/// far as they lie inside.
struct PoolAxis {
  Index extent, count, kernel, stride, before, dilation;

  /// The first pixel of window i inside the map, and the end of its pixels there.
  Index first(Index i) const {
    const Index start = i * stride - before;
    return start >= 0 ? start : start + (dilation - 1 - start) / dilation * dilation;
  }
  Index end(Index i) const { return std::min(i * stride - before + (kernel - 1) * dilation + 1, extent); }
};

/// Sizes of a pooling op: maps [batch, height, width, channels] and [batch, out_h, out_w, channels].
struct PoolShape {
  Index batch, channels;
  PoolAxis rows, columns;

  Shape input() const { return {batch, rows.extent, columns.extent, channels}; }
  Shape output() const { return {batch, rows.count, columns.count, channels}; }
};

inline PoolShape pool_shape(const char* op, const Shape& x, const PoolOptions& o, Site site) {
  if (x.rank() != 4) fail<ShapeError>(op, "expected maps [batch, height, width, channels]", {{"x", x}}, site);
  const PerAxis padding = o.padding.widths();
  if (o.kernel.least() < 1 || o.stride.least() < 0 || o.dilation.least() < 1 || padding.least() < 0 ||
      padding.rows > o.kernel.rows / 2 || padding.columns > o.kernel.columns / 2)
    fail(op,
         {"kernel and dilation must be 1 or more, stride 0 or more and padding at most half the kernel, got ",
          as_text(o.kernel), ", ", as_text(o.dilation), ", ", as_text(o.stride), ", ", as_text(padding)},
         {{"x", x}}, site);
  constexpr Index kLimit = Index{1} << 30;  // keeps every position below 2^63
  if (o.kernel.most() > kLimit || o.stride.most() > kLimit || o.dilation.most() > kLimit)
    fail(op, "kernel, stride or dilation above 2^30", {{"x", x}}, site);
  const auto along = [&](Index extent, Index kernel, Index step, Index dilation, Index width) {
    const Index stride = step == 0 ? kernel : step;
    const auto [count, before] = windows_along(extent, kernel, stride, dilation, width, o.padding.is_same());
    if (count == 0)
      fail<ShapeError>(op, {"a window of ", as_text(o.kernel), " does not fit into the map"}, {{"x", x}}, site);
    const PoolAxis axis{extent, count, kernel, stride, before, dilation};
    for (Index i = 0; i < count && dilation > 1; ++i)
      if (axis.first(i) >= axis.end(i))
        fail<ShapeError>(op, {"window ", i, " holds no pixel of the map, dilation ", as_text(o.dilation)}, {{"x", x}},
                         site);
    return axis;
  };
  const PoolAxis rows = along(x[1], o.kernel.rows, o.stride.rows, o.dilation.rows, padding.rows);
  const PoolAxis columns = along(x[2], o.kernel.columns, o.stride.columns, o.dilation.columns, padding.columns);
  // Indices into a map are int32, and those into a window are counted in float.
  if (x[1] * x[2] > std::numeric_limits<std::int32_t>::max() ||
      std::min(rows.dilation * rows.kernel, x[1]) * x[2] > Index{1} << 24)
    fail<ShapeError>(op, "more than 2^31 pixels in a map or 2^24 in the rows of a window", {{"x", x}}, site);
  return {x[0], x[3], rows, columns};
}

/// Calls run(map, out, first_row, last_row, first_column, last_column) for every window: the number of the map, of the
/// window, and the part of the window inside the map. Maps are shared out among threads.
template <class Run>
void for_pool_windows(const PoolShape& s, Run run) {
  const PoolAxis &rows = s.rows, &columns = s.columns;
  const Index work = std::max(rows.count * columns.count * s.channels, Index{1}) * rows.kernel * columns.kernel;
  parallel_for(s.batch, 1 + 65536 / work, [&](Index begin, Index end) {
    for (Index map = begin; map < end; ++map)
      for (Index i = 0; i < rows.count; ++i)
        for (Index j = 0; j < columns.count; ++j)
          run(map, (map * rows.count + i) * columns.count + j, rows.first(i), rows.end(i), columns.first(j),
              columns.end(j));
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
  using B = Simd<T>;
  Tensor<T> value = fresh<T>(s.output());
  const T scale = T(1) / static_cast<T>(s.rows.kernel * s.columns.kernel);
  const Index step = s.columns.dilation * s.channels;
  for_pool_windows(s, [&](Index map, Index window, Index row, Index row_end, Index column, Index column_end) {
    T* out = writable(value) + window * s.channels;
    for (Index c = 0; c < s.channels; c += B::size) {
      B sum(0);
      for (Index i = row; i < row_end; i += s.rows.dilation) {
        const T* from = x.data() + ((map * s.rows.extent + i) * s.columns.extent + column) * s.channels + c;
        for (Index j = column; j < column_end; j += s.columns.dilation, from += step) sum += B::load(from);
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
  using B = Simd<T>;
  Tensor<T> value = fresh<T>(s.input());
  std::fill(writable(value), writable(value) + value.count(), T(0));
  const T scale = T(1) / static_cast<T>(s.rows.kernel * s.columns.kernel);
  for_pool_windows(s, [&](Index map, Index window, Index row, Index row_end, Index column, Index column_end) {
    const T* from = y.data() + window * s.channels;
    for (Index i = row; i < row_end; i += s.rows.dilation)
      for (Index j = column; j < column_end; j += s.columns.dilation) {
        T* out = writable(value) + ((map * s.rows.extent + i) * s.columns.extent + j) * s.channels;
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
/// out_h = (height + 2 padding - dilation (kernel - 1) - 1) / stride + 1, or ceil(height / stride) with
/// `Padding::same`. Padding is never chosen; of equal numbers the first one (by row, then column) is, and gets the
/// whole gradient. A NaN is larger than any number. Throws ShapeError when a window does not fit or meets no pixel,
/// ValueError for bad options.
template <Real T>
Tensor<T> max_pool2d(const Tensor<T>& x, PoolOptions options = {}, Site site = Site::current()) {
  using B = Simd<T>;
  const detail::PoolShape s = detail::pool_shape("max_pool2d", x.shape(), options, site);
  Tensor<T> value = detail::fresh<T>(s.output(), "max_pool2d", site);
  const bool keep = recorded(x);
  Tensor<std::int32_t> pixels;
  if (keep) pixels = detail::fresh<std::int32_t>(s.output(), "max_pool2d", site);
  detail::for_pool_windows(s, [&](Index map, Index window, Index row, Index row_end, Index column, Index column_end) {
    T* out = detail::writable(value) + window * s.channels;
    for (Index c = 0; c < s.channels; c += B::size) {
      const T* from = x.data() + ((map * s.rows.extent + row) * s.columns.extent + column) * s.channels + c;
      B best = B::load(from), place(0);
      for (Index i = row; i < row_end; i += s.rows.dilation)
        for (Index j = column; j < column_end; j += s.columns.dilation) {
          const Index ahead = (i - row) * s.columns.extent + (j - column);
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
      const auto first = static_cast<std::int32_t>(row * s.columns.extent + column);
      for (Index l = 0; l < wide; ++l) to[l] = first + static_cast<std::int32_t>(places[l]);
    }
  });
  if (!keep) return value;
  return record("max_pool2d", std::move(value), Edge(x, [pixels, own = x.shape()](const Tensor<T>& g) {
                  return detail::scatter_pixels(g, pixels, own);
                }));
}

/// Mean of each window: x [batch, height, width, channels] -> [batch, out_h, out_w, channels]; padding counts as zeros.
/// Sizes and errors are those of `max_pool2d`.
template <Real T>
Tensor<T> avg_pool2d(const Tensor<T>& x, PoolOptions options = {}, Site site = Site::current()) {
  return detail::average_windows(x, detail::pool_shape("avg_pool2d", x.shape(), options, site));
}

}  // namespace GRAFT_ABI
}  // namespace graft
