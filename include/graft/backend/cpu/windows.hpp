#pragma once
// Products of the windows of channels-last maps over small blocks of pixels: the windows of a block are gathered into
// rows that stay in the L2 cache ("im2col"; Chellapilla, Puri, Simard, "High performance convolutional neural networks
// for document processing", 2006) and multiplied there, so the unfolded map never exists as a whole. Every output is
// written once, from one thread, and the order of every sum depends on the shapes alone.

#include <algorithm>

#include "graft/backend/cpu/gemm.hpp"
#include "graft/core/tensor.hpp"
#include "graft/number/transpose.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

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

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
