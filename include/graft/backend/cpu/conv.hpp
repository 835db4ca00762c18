#pragma once
// Convolution of channels-last maps as matrix products over small blocks of pixels: the windows of a block are gathered
// into rows that stay in the L2 cache ("im2col"; Chellapilla, Puri, Simard, "High performance convolutional neural
// networks for document processing", 2006) and multiplied there, so the unfolded map never exists as a whole.
//
// The gradient to the input gathers as well, with the kernel turned around; a stride s splits it into s x s such
// problems, one for each residue of a pixel's position, without a single product with an inserted zero. So all three
// products write every output once, from one thread, and the order of every sum depends on the shapes alone.

#include <algorithm>

#include "graft/backend/cpu/gemm.hpp"
#include "graft/core/per_axis.hpp"
#include "graft/core/tensor.hpp"
#include "graft/number/transpose.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Sizes of a convolution: x [batch, height, width, in], weight [out, in / groups, kernel_h, kernel_w],
/// y [batch, out_h, out_w, out].
struct ConvShape {
  Index batch, height, width, in, out, kernel_h, kernel_w, out_h, out_w, groups;
  PerAxis stride, before, dilation;  // before: zeros ahead of the map

  Index group_in() const { return in / groups; }
  Index group_out() const { return out / groups; }
  Index taps() const { return kernel_h * kernel_w; }
};

/// How windows lie along one axis: tap t of window i reads position i * step + first + t * hop of `extent`, where
/// positions outside count as zero, and belongs to kernel entry kernel_first + t * kernel_hop.
struct WindowAxis {
  Index count, extent, step, first, hop, taps, kernel_first, kernel_hop;
};

/// Windows over maps whose pixels hold `pixel` numbers, of which `channels` are taken from `source` on.
template <class T>
struct Windows {
  const T* source;
  Index pixel, channels;
  WindowAxis rows, columns;

  Index length() const { return rows.taps * columns.taps * channels; }
};

/// Bytes of gathered windows that one thread works on at a time: a part of the L2 cache, next to weights and results.
inline constexpr Index kWindowBytes = Index{1} << 18;
/// Multiplications that make a parallel job.
inline constexpr Index kConvJobWork = Index{1} << 21;

/// Pixels of a block: a multiple of 56, which the tiles of the matrix product fill without ends.
template <class T>
Index window_block(Index length) {
  const Index fits = kWindowBytes / (std::max(length, Index{1}) * static_cast<Index>(sizeof(T)));
  return std::clamp(fits / 56, Index{1}, Index{8}) * 56;
}

/// Writes `count` numbers from `from`, or zeros where it is null, and up to a batch of anything after them.
template <class T>
[[gnu::always_inline]] inline T* put_run(const T* from, Index count, T* to) {
  using B = Simd<T>;
  if (from)
    for (Index i = 0; i < count; i += B::size) B::load(from + i).store(to + i);
  else
    for (Index i = 0; i < count; i += B::size) B(0).store(to + i);
  return to + count;
}

/// Rows [begin, end) of the unfolded maps, [end - begin, length], in the order (tap row, tap column, channel). A batch
/// more than that may be overwritten.
template <class T>
void gather_windows(const Windows<T>& windows, Index begin, Index end, T* to) {
  const WindowAxis &rows = windows.rows, &columns = windows.columns;
  const Index channels = windows.channels, pixel = windows.pixel;
  const bool joined = columns.hop == 1 && channels == pixel;
  Index j = begin % columns.count, i = begin / columns.count % rows.count;
  const T* map = windows.source + begin / columns.count / rows.count * rows.extent * columns.extent * pixel;
  for (Index at = begin; at < end; ++at) {
    const Index column = j * columns.step + columns.first;
    const bool inside = column >= 0 && column + (columns.taps - 1) * columns.hop < columns.extent;
    Index row = i * rows.step + rows.first;
    for (Index t = 0; t < rows.taps; ++t, row += rows.hop) {
      if (row < 0 || row >= rows.extent) {
        to = put_run<T>(nullptr, columns.taps * channels, to);
        continue;
      }
      const T* line = map + (row * columns.extent + column) * pixel;
      if (inside && joined) {
        to = put_run(line, columns.taps * channels, to);
        continue;
      }
      for (Index u = 0; u < columns.taps; ++u) {
        const Index position = column + u * columns.hop;
        to = put_run(position >= 0 && position < columns.extent ? line + u * columns.hop * pixel : nullptr, channels,
                     to);
      }
    }
    if (++j == columns.count) {
      j = 0;
      if (++i == rows.count) {
        i = 0;
        map += rows.extent * columns.extent * pixel;
      }
    }
  }
}

/// to[place(j) + i] = from[i * stride + j] for i < rows, j < columns; nothing where place(j) is negative. Reads up to a
/// batch past the end of `from`.
template <class T, class Place>
void place_transposed(const T* from, Index rows, Index stride, Index columns, T* to, Place place) {
  constexpr Index lanes = Simd<T>::size;
  for (Index j = 0; j < columns; j += lanes) {
    const Index wide = std::min(lanes, columns - j);
    Index places[lanes];
    for (Index l = 0; l < wide; ++l) places[l] = place(j + l);
    Index i = 0;
    for (; i + lanes <= rows; i += lanes)
      load_transposed(from + i * stride + j, stride, [&](Index l, Simd<T> column) {
        if (l < wide && places[l] >= 0) column.store(to + places[l] + i);
      });
    for (; i < rows; ++i)
      for (Index l = 0; l < wide; ++l)
        if (places[l] >= 0) to[places[l] + i] = from[i * stride + j + l];
  }
}

/// The windows over the outputs that reach the inputs phase, phase + stride, ...: their taps are the kernel entries k
/// for which phase + before - k dilation is a multiple of the stride, last entry first.
inline WindowAxis backward_axis(Index phase, Index extent, Index out_extent, Index kernel, const ConvShape& s,
                                Index PerAxis::*along) {
  const Index stride = s.stride.*along, before = s.before.*along, dilation = s.dilation.*along;
  WindowAxis axis{phase < extent ? (extent - phase - 1) / stride + 1 : 0, out_extent, 1, 0, 1, 0, 0, -1};
  Index earlier = -1;
  for (Index k = kernel - 1; k >= 0; --k) {
    const Index from = phase + before - k * dilation;
    if (from % stride != 0) continue;
    if (axis.taps == 0) {
      axis.first = from / stride;
      axis.kernel_first = k;
    } else if (axis.taps == 1) {
      axis.hop = from / stride - axis.first;
      axis.kernel_hop = k - earlier;
    }
    earlier = k;
    ++axis.taps;
  }
  return axis;
}

/// Calls run(begin, end, windows) for blocks of `count` pixels, whose windows are gathered first.
template <class T, class Run>
void for_window_blocks(const Windows<T>& windows, Index begin, Index end, Run run) {
  const Index length = windows.length(), block = window_block<T>(length);
  // The windows of a 1 x 1 kernel are the pixels themselves.
  const WindowAxis &rows = windows.rows, &columns = windows.columns;
  const bool direct = rows.taps == 1 && columns.taps == 1 && rows.step == 1 && columns.step == 1 && rows.first == 0 &&
                      columns.first == 0 && rows.count == rows.extent && columns.count == columns.extent &&
                      windows.channels == windows.pixel;
  const Tensor<T> gathered = detail::fresh<T>({direct ? 0 : std::min(block, end - begin) * length});
  for (Index at = begin; at < end; at += block) {
    const Index last = std::min(at + block, end);
    if (!direct) gather_windows(windows, at, last, detail::writable(gathered));
    run(at, last, direct ? windows.source + at * windows.pixel : detail::writable(gathered));
  }
}

/// How the products of windows are computed; decided by shapes alone, never by the number of maps.
enum class WindowPath {
  gathered,  ///< windows are gathered into rows
  lines,     ///< the maps get a border of zeros, and a line of windows is a matrix whose rows overlap
  taps       ///< one channel: a tap of all windows is a shifted copy of the map
};
template <class T>
WindowPath window_path(const Windows<T>& windows) {
  const WindowAxis &rows = windows.rows, &columns = windows.columns;
  const Index width = columns.taps * windows.channels;
  if (rows.step != 1 || columns.step != 1 || columns.hop != 1 || windows.channels != windows.pixel)
    return WindowPath::gathered;
  if (windows.channels == 1) return WindowPath::taps;
  // Lines as long as the tiles of the product, sums long enough for it.
  return columns.count >= 12 && width >= 48 && width <= 512 ? WindowPath::lines : WindowPath::gathered;
}
/// Columns of the weights that `WindowPath::lines` multiplies at a time: a panel stays in the first-level cache.
inline constexpr Index kLinePanel = 32;

/// The weights [length, out] as the path wants them: for lines, in panels [out / kLinePanel][length, kLinePanel].
template <class T>
void arrange_weights(WindowPath path, Index length, Index out, T* weights) {
  if (path != WindowPath::lines) return;
  const detail::Workspace<T> before(length * out);
  std::copy(weights, weights + length * out, before.data());
  for (Index c = 0; c < out; c += kLinePanel)
    for (Index r = 0, wide = std::min(kLinePanel, out - c); r < length; ++r) {
      const T* from = before.data() + r * out + c;
      std::copy(from, from + wide, weights + c * length + r * wide);
    }
}

/// Lines [first, last) of a map [extent, length of a line], whose positions may lie outside, with `left` numbers of
/// zeros before each and so many after it that it is `wide` numbers long.
template <class T>
void copy_bordered(const T* map, Index extent, Index length, Index first, Index last, Index left, Index wide, T* to) {
  using B = Simd<T>;
  const Index skip = std::max(-left, Index{0}), before = std::max(left, Index{0});
  const Index inside = std::clamp(length - skip, Index{0}, wide - std::min(before, wide));
  for (Index line = first; line < last; ++line, to += wide) {
    if (line < 0 || line >= extent) {
      std::fill(to, to + wide, T(0));
      continue;
    }
    const T* from = map + line * length + skip;
    std::fill(to, to + std::min(before, wide), T(0));
    T* const middle = to + before;
    Index i = 0;
    for (; i + B::size <= inside; i += B::size) B::load(from + i).store(middle + i);
    if (i < inside) B::load(from + i).store_part(middle + i, inside - i);
    if (before + inside < wide) std::fill(middle + inside, to + wide, T(0));
  }
}

/// Bytes of a piece of a map that is multiplied where it lies: next to another such piece in the second-level cache.
inline constexpr Index kPieceBytes = Index{1} << 16;

/// The windows of pixels [begin, end), tap by tap: [taps, end - begin].
template <class T>
void gather_taps(const Windows<T>& windows, Index begin, Index end, T* to) {
  using B = Simd<T>;
  const WindowAxis &rows = windows.rows, &columns = windows.columns;
  for (Index t = 0; t < rows.taps; ++t)
    for (Index u = 0; u < columns.taps; ++u)
      for (Index at = begin; at < end;) {
        const Index j = at % columns.count, i = at / columns.count % rows.count;
        const Index map = at / columns.count / rows.count, row = i + rows.first + t * rows.hop;
        const Index count = std::min(columns.count - j, end - at), column = j + columns.first + u;
        const bool outside = row < 0 || row >= rows.extent;
        const Index from = outside ? count : std::clamp(-column, Index{0}, count);
        const Index until = outside ? count : std::clamp(columns.extent - column, from, count);
        for (Index k = 0; k < from; ++k) to[k] = T(0);
        const T* line = windows.source + (map * rows.extent + row) * columns.extent + column;
        Index k = from;
        for (; k + B::size <= until; k += B::size) B::load(line + k).store(to + k);
        if (k < until) B::load(line + k).store_part(to + k, until - k);
        for (k = until; k < count; ++k) to[k] = T(0);
        to += count;
        at += count;
      }
}

/// Pixels that products should be asked for at a time: multiples of this.
template <class T>
Index window_step(const Windows<T>& windows) {
  return window_path(windows) == WindowPath::lines ? windows.columns.count : window_block<T>(windows.length());
}

/// y = windows weights for pixels [begin, end), whole lines where the path is `lines`: y [end - begin, out], rows
/// `apart`. `weights` comes from `arrange_weights`. `add` to what is there instead.
template <class T>
void window_products(const Windows<T>& windows, Index begin, Index end, const T* weights, Index out, T* y, Index apart,
                     bool add) {
  const Index length = windows.length();
  const WindowPath path = window_path(windows);
  if (path == WindowPath::lines) {
    const WindowAxis &rows = windows.rows, &columns = windows.columns;
    const Index pixel = windows.pixel, steps = columns.taps * pixel, halo = (rows.taps - 1) * rows.hop;
    const Index line = (columns.count + columns.taps - 1) * pixel;
    const Index fit = kWindowBytes / (line * static_cast<Index>(sizeof(T))) - halo;
    const Index most = std::clamp(fit, Index{1}, rows.count);
    const detail::Workspace<T> bordered((most + halo) * line + Simd<T>::size);
    for (Index at = begin, count = 0; at < end; at += count * columns.count) {
      const Index map = at / columns.count / rows.count, first = at / columns.count % rows.count;
      count = std::min({most, rows.count - first, (end - at) / columns.count});
      copy_bordered(windows.source + map * rows.extent * columns.extent * pixel, rows.extent, columns.extent * pixel,
                    first + rows.first, first + rows.first + count + halo, -columns.first * pixel, line,
                    bordered.data());
      for (Index c = 0; c < out; c += kLinePanel)
        for (Index t = 0, panel = std::min(kLinePanel, out - c); t < rows.taps; ++t)
          for (Index i = 0; i < count; ++i)
            gemm(false, false, columns.count, panel, steps, bordered.data() + (i + t * rows.hop) * line, pixel,
                 weights + c * length + t * steps * panel, panel, y + (at - begin + i * columns.count) * apart + c,
                 apart, add || t > 0);
    }
    return;
  }
  if (path == WindowPath::taps) {
    constexpr Index block = 224;  // 16 tiles of 14 rows
    const detail::Workspace<T> taps(length * block + Simd<T>::size);
    for (Index at = begin; at < end; at += block) {
      const Index count = std::min(block, end - at);
      gather_taps(windows, at, at + count, taps.data());
      gemm(true, false, count, out, length, taps.data(), count, weights, out, y + (at - begin) * apart, apart, add);
    }
    return;
  }
  for_window_blocks(windows, begin, end, [&](Index first, Index last, const T* rows) {
    gemm(false, false, last - first, out, length, rows, length, weights, out, y + (first - begin) * apart, apart, add);
  });
}

/// sum [length, out] = the windows of pixels [begin, end), transposed, times y [end - begin, out] with rows `apart`;
/// with `add`, plus what is there. Whole lines of pixels.
template <class T>
void window_transposed_products(const Windows<T>& windows, Index begin, Index end, const T* y, Index apart, Index out,
                                T* sum, bool add) {
  const Index length = windows.length();
  const WindowAxis &rows = windows.rows, &columns = windows.columns;
  // Sums over fewer pixels are shorter than it takes to read and write them.
  if (rows.step == 1 && columns.step == 1 && windows.channels == windows.pixel && windows.channels >= 16 &&
      rows.count * columns.count >= 32) {
    // A piece of the map, shifted by a column of taps, is a matrix for each of their rows, as it lies.
    const Index pixel = windows.pixel, halo = (rows.taps - 1) * rows.hop, line = columns.count * pixel;
    const Index fit = kPieceBytes / (columns.count * std::max(pixel, out) * static_cast<Index>(sizeof(T)));
    const Index most = std::clamp(fit, Index{1}, rows.count);
    const detail::Workspace<T> shifted((most + halo) * line + Simd<T>::size);
    for (Index at = begin, count = 0; at < end; at += count * columns.count) {
      const Index map = at / columns.count / rows.count, first = at / columns.count % rows.count;
      count = std::min({most, rows.count - first, (end - at) / columns.count});
      for (Index u = 0; u < columns.taps; ++u) {
        copy_bordered(windows.source + map * rows.extent * columns.extent * pixel, rows.extent, columns.extent * pixel,
                      first + rows.first, first + rows.first + count + halo, -(columns.first + u * columns.hop) * pixel,
                      line, shifted.data());
        for (Index t = 0; t < rows.taps; ++t)
          gemm(true, false, pixel, out, count * columns.count, shifted.data() + t * rows.hop * line, pixel,
               y + (at - begin) * apart, apart, sum + (t * columns.taps + u) * pixel * out, out, add || at > begin);
      }
    }
    return;
  }
  if (window_path(windows) == WindowPath::taps) {
    constexpr Index block = 224;
    const detail::Workspace<T> taps(length * block + Simd<T>::size);
    for (Index at = begin; at < end; at += block) {
      const Index count = std::min(block, end - at);
      gather_taps(windows, at, at + count, taps.data());
      gemm(false, false, length, out, count, taps.data(), count, y + (at - begin) * apart, apart, sum, out,
           add || at > begin);
    }
    return;
  }
  for_window_blocks(windows, begin, end, [&](Index first, Index last, const T* block) {
    gemm(true, false, length, out, last - first, block, length, y + (first - begin) * apart, apart, sum, out,
         add || first > begin);
  });
}

/// The windows of group g that the forward product multiplies.
template <class T>
Windows<T> forward_windows(const ConvShape& s, const T* x, Index g) {
  return {x + g * s.group_in(),
          s.in,
          s.group_in(),
          {s.out_h, s.height, s.stride.rows, -s.before.rows, s.dilation.rows, s.kernel_h, 0, 1},
          {s.out_w, s.width, s.stride.columns, -s.before.columns, s.dilation.columns, s.kernel_w, 0, 1}};
}

/// The weight as the forward product reads it: [group, tap, in, out].
template <class T>
Tensor<T> packed_weight(const ConvShape& s, const T* weight) {
  const Index in = s.group_in(), out = s.group_out(), taps = s.taps(), length = taps * in;
  const Tensor<T> packed = detail::fresh<T>({s.groups * length * out});
  for (Index g = 0; g < s.groups; ++g)
    place_transposed(weight + g * out * length, out, length, length, detail::writable(packed) + g * length * out,
                     [&](Index j) { return (j % taps * in + j / taps) * out; });
  const WindowPath path = window_path(forward_windows<T>(s, nullptr, 0));
  for (Index g = 0; g < s.groups; ++g) arrange_weights(path, length, out, detail::writable(packed) + g * length * out);
  return packed;
}

/// Pixels [begin, end) of the convolution, written to `y`, or added to what is there.
template <class T>
void conv2d_pixels(const ConvShape& s, const T* x, const T* packed, Index begin, Index end, T* y, bool add) {
  const Index out = s.group_out(), length = s.taps() * s.group_in();
  for (Index g = 0; g < s.groups; ++g)
    window_products(forward_windows(s, x, g), begin, end, packed + g * length * out, out, y + g * out, s.out, add);
}

/// y = x * weight (+ bias where it is not null): y[b, i, j, o] is the sum over c, k, l of
/// x[b, i stride + k dilation - before, j stride + l dilation - before, c] weight[o, c, k, l].
template <class T>
void conv2d(const ConvShape& s, const T* x, const T* weight, const T* bias, T* y) {
  const Index length = s.taps() * s.group_in(), pixels = s.batch * s.out_h * s.out_w;
  const Tensor<T> packed = packed_weight(s, weight);
  const Index block = window_step(forward_windows(s, x, 0));
  const Index job = std::max(Index{1}, kConvJobWork / (block * std::max(length * s.out, Index{1}))) * block;
  parallel_jobs((pixels + job - 1) / job, [&](Index i) {
    const Index begin = i * job, end = std::min(begin + job, pixels);
    if (bias)
      for (Index at = begin; at < end; ++at) std::copy(bias, bias + s.out, y + at * s.out);
    conv2d_pixels(s, x, packed.data(), begin, end, y + begin * s.out, bias != nullptr);
  });
}

/// The transpose of `conv2d` in x: x[b, h, w, c] is the sum over all y[b, i, j, o] weight[o, c, k, l] with
/// h = i stride + k dilation - before and w likewise.
template <class T>
void conv2d_input(const ConvShape& s, const T* y, const T* weight, T* x) {
  const Index in = s.group_in(), out = s.group_out(), taps = s.taps();
  const Tensor<T> packed = detail::fresh<T>({s.groups * taps * in * out});  // [group, tap, out, in]
  for (Index phase = 0; phase < s.stride.rows * s.stride.columns; ++phase) {
    const Index phase_h = phase / s.stride.columns, phase_w = phase % s.stride.columns;
    const WindowAxis rows = backward_axis(phase_h, s.height, s.out_h, s.kernel_h, s, &PerAxis::rows);
    const WindowAxis columns = backward_axis(phase_w, s.width, s.out_w, s.kernel_w, s, &PerAxis::columns);
    const Index length = rows.taps * columns.taps * out, pixels = s.batch * rows.count * columns.count;
    if (pixels == 0) continue;
    for (Index g = 0; g < s.groups; ++g)
      for (Index o = 0; o < out; ++o)
        place_transposed(weight + (g * out + o) * in * taps, in, taps, taps, detail::writable(packed) + g * length * in,
                         [&](Index j) {
                           const Index row = (j / s.kernel_w - rows.kernel_first) * rows.kernel_hop;
                           const Index column = (j % s.kernel_w - columns.kernel_first) * columns.kernel_hop;
                           const Index hop_h = rows.kernel_hop * rows.kernel_hop;
                           const Index hop_w = columns.kernel_hop * columns.kernel_hop;
                           if (row < 0 || column < 0 || row % hop_h != 0 || column % hop_w != 0 ||
                               row / hop_h >= rows.taps || column / hop_w >= columns.taps)
                             return Index{-1};
                           return ((row / hop_h * columns.taps + column / hop_w) * out + o) * in;
                         });
    const Windows<T> all{y, s.out, out, rows, columns};
    for (Index g = 0; g < s.groups; ++g)
      arrange_weights(window_path(all), length, in, detail::writable(packed) + g * length * in);
    const Index block = window_step(all);
    const Index job = std::max(Index{1}, kConvJobWork / (block * std::max(length * s.in, Index{1}))) * block;
    parallel_jobs((pixels + job - 1) / job, [&](Index i) {
      const Index begin = i * job, end = std::min(begin + job, pixels);
      const Tensor<T> apart = detail::fresh<T>({s.stride == 1 ? 0 : (end - begin) * in});
      for (Index g = 0; g < s.groups; ++g) {
        Windows<T> windows = all;
        windows.source += g * out;
        const T* weights = packed.data() + g * length * in;
        if (s.stride == 1) {
          window_products(windows, begin, end, weights, in, x + begin * s.in + g * in, s.in, false);
          continue;
        }
        window_products(windows, begin, end, weights, in, detail::writable(apart), in, false);
        for (Index at = begin; at < end; ++at) {
          const Index column = at % columns.count * s.stride.columns + phase_w;
          const Index row = at / columns.count % rows.count * s.stride.rows + phase_h;
          const Index map = at / columns.count / rows.count;
          const T* from = apart.data() + (at - begin) * in;
          std::copy(from, from + in, x + ((map * s.height + row) * s.width + column) * s.in + g * in);
        }
      }
    });
  }
}

/// Adds the pixels [begin, end) to a sum [group, tap, in, out] of the gradient to the weight; `start`: the first ones.
/// `y` starts at pixel `begin`.
template <class T>
void add_weight_products(const ConvShape& s, const T* x, const T* y, Index begin, Index end, bool start, T* sum) {
  const Index out = s.group_out(), length = s.taps() * s.group_in();
  for (Index g = 0; g < s.groups; ++g)
    window_transposed_products(forward_windows(s, x, g), begin, end, y + g * out, s.out, out, sum + g * length * out,
                               !start);
}

/// Adds `count` sums of `add_weight_products` in order and puts them into the weight's order.
template <class T>
void join_weight_sums(const ConvShape& s, const T* sums, Index count, T* weight) {
  using B = Simd<T>;
  const Index in = s.group_in(), out = s.group_out(), taps = s.taps(), length = taps * in, size = s.out * length;
  if (count == 0) {
    std::fill(weight, weight + size, T(0));
    return;
  }
  const Tensor<T> total = detail::fresh<T>({length * out});
  for (Index g = 0; g < s.groups; ++g) {
    for (Index r = 0; r < length; ++r) {
      const T* from = sums + (g * length + r) * out;
      T* to = detail::writable(total) + (r % in * taps + r / in) * out;
      for (Index o = 0; o < out; o += B::size) {
        B sum = B::load(from + o);
        for (Index i = 1; i < count; ++i) sum += B::load(from + i * size + o);
        store_lanes(sum, to + o, out - o);
      }
    }
    place_transposed(detail::writable(total), length, out, out, weight + g * out * length,
                     [&](Index o) { return o * length; });
  }
}

/// The transpose of `conv2d` in the weight: weight[o, c, k, l] is the sum over all b, i, j of
/// x[b, i stride + k dilation - before, j stride + l dilation - before, c] y[b, i, j, o].
template <class T>
void conv2d_weight(const ConvShape& s, const T* x, const T* y, T* weight) {
  const Index size = s.out * s.taps() * s.group_in(), pixels = s.batch * s.out_h * s.out_w;
  // At most 32 chunks of whole lines, each with its own sum.
  const Index lines = std::max((2048 + s.out_w - 1) / s.out_w, (s.batch * s.out_h + 31) / 32);
  const Index chunk = lines * s.out_w, chunks = (pixels + chunk - 1) / chunk;
  const Tensor<T> sums = detail::fresh<T>({chunks * size});
  parallel_jobs(chunks, [&](Index i) {
    const Index begin = i * chunk, end = std::min(begin + chunk, pixels);
    add_weight_products(s, x, y + begin * s.out, begin, end, true, detail::writable(sums) + i * size);
  });
  join_weight_sums(s, sums.data(), chunks, weight);
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
