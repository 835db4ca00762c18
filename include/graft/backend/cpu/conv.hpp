#pragma once
// Convolution of channels-last maps as products of windows (backend/cpu/windows.hpp), and its transposes in the map and
// in the weight.
//
// The gradient to the input gathers windows as well, with the kernel turned around; a stride s splits it into s x s
// such problems, one for each residue of a pixel's position, without a single product with an inserted zero.

#include <algorithm>

#include "graft/backend/cpu/windows.hpp"
#include "graft/core/per_axis.hpp"

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

/// Multiplications that make a parallel job.
inline constexpr Index kConvJobWork = Index{1} << 21;

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
