#pragma once
// Walks over channels-last data [samples, rows, channels]: its cut into fixed chunks of rows, sums over rows for every
// channel, and numbers that follow from those of their channel.

#include <algorithm>
#include <array>
#include <type_traits>

#include "graft/backend/cpu/rows.hpp"
#include "graft/core/memory.hpp"
#include "graft/core/parallel.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// How channels-last data is cut up: `groups` divides `channels`.
struct ChannelLayout {
  Index samples, rows, channels, groups;
  Index count() const { return samples * rows * channels; }
  Index group_width() const { return groups == 0 ? 0 : channels / groups; }
};

/// The work cut into fixed chunks of rows, each within one sample.
template <class T>
struct ChannelChunks {
  Index chunk, in_sample, stride, count;  // rows a chunk, chunks a sample, padded channels, all chunks

  explicit ChannelChunks(const ChannelLayout& layout) {
    const Index fit = 32768 / static_cast<Index>(sizeof(T)) / (layout.channels + 1);
    chunk = fit < 8 ? 8 : fit < 512 ? fit : 512;  // short enough that rounding of the sums does not add up
    in_sample = layout.channels == 0 ? 0 : (layout.rows + chunk - 1) / chunk;
    stride = whole_batches<T>(layout.channels);
    count = layout.samples * in_sample;
  }
  Index rows_of(const ChannelLayout& layout, Index at) const {
    const Index first = at % in_sample * chunk;
    return first + chunk < layout.rows ? chunk : layout.rows - first;
  }
  /// Calls f(chunk, sample, first element, rows) for all chunks, on several threads.
  template <class F>
  void for_each(const ChannelLayout& layout, F f) const {
    parallel_for(count, 1 + 16384 / (chunk * layout.channels + 1), [&](Index begin, Index end) {
      for (Index at = begin; at < end; ++at) {
        const Index sample = at / in_sample, first = at % in_sample * chunk;
        f(at, sample, (sample * layout.rows + first) * layout.channels, rows_of(layout, at));
      }
    });
  }
};

/// Most batches of channels whose coefficients and sums a kernel keeps in registers over all rows. Wider rows are
/// walked one by one, as memory likes it, with sums and coefficients in the first-level cache.
inline constexpr Index kNarrow = 4;

/// Calls f(integral_constant<K>) with the number of batches K in 1 .. kNarrow that cover the channels.
template <class T, class F>
[[gnu::always_inline]] inline void with_batches(Index channels, F f) {
  constexpr Index size = Simd<T>::size;
  if (channels > 3 * size)
    f(std::integral_constant<int, 4>());
  else if (channels > 2 * size)
    f(std::integral_constant<int, 3>());
  else if (channels > size)
    f(std::integral_constant<int, 2>());
  else
    f(std::integral_constant<int, 1>());
}

/// N sums over rows for every channel: term(at(channel), offset, sums) adds element `offset` = row channels + channel,
/// and those of the rest of its batch, to the N batches `sums`. out[n] has zeros for whole batches of channels and gets
/// the sums. at(channel) is what a term needs to know of the channel. The last batch of a row may reach past it, into
/// numbers that nobody uses.
template <int N, class T, class At, class Term>
[[gnu::always_inline]] inline void sum_channels(Index rows, Index channels, At at, Term term,
                                                const std::array<T*, N>& out) {
  using B = Simd<T>;
  using Sums = std::array<B, N>;
  const auto add_to_out = [&](Index channel, const Sums& sums) {
    for (std::size_t n = 0; n < N; ++n) (B::load(out[n] + channel) + sums[n]).store(out[n] + channel);
  };
  if (channels > kNarrow * B::size) {
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < channels; c += B::size) {
        Sums sums;
        for (std::size_t n = 0; n < N; ++n) sums[n] = B::load(out[n] + c);
        term(at(c), r * channels + c, sums);
        for (std::size_t n = 0; n < N; ++n) sums[n].store(out[n] + c);
      }
    return;
  }
  with_batches<T>(channels, [&]<int K>(std::integral_constant<int, K>) {
    constexpr int U = K * N >= 8 ? 1 : 8 / (K * N);  // rows whose sums run side by side
    decltype(at(0)) coefficients[K];
    Sums sums[U][K];
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      coefficients[k] = at(k * B::size);
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) sums[u][k].fill(B(0));
    }
    Index r = 0;
    for (; r + U <= rows; r += U) {
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u)
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k) term(coefficients[k], (r + u) * channels + k * B::size, sums[u][k]);
    }
    for (; r < rows; ++r)
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) term(coefficients[k], r * channels + k * B::size, sums[0][k]);
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) add_to_out(k * B::size, sums[u][k]);
  });
}

/// Stores value(at(channel), offset) for every row and channel, a batch at a time, at that offset of `to`.
template <class T, class At, class Value>
[[gnu::always_inline]] inline void store_channels(Index rows, Index channels, T* to, At at, Value value) {
  constexpr Index size = Simd<T>::size;
  if (channels > kNarrow * size) {
    for (Index r = 0; r < rows; ++r)
      for_row<T>(channels, [&](Index c, Index left) {
        store_lanes(value(at(c), r * channels + c), to + r * channels + c, left);
      });
    return;
  }
  with_batches<T>(channels, [&]<int K>(std::integral_constant<int, K>) {
    decltype(at(0)) coefficients[K];
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) coefficients[k] = at(k * size);
    const Index in_last = channels - (K - 1) * size;
    for (Index r = 0; r < rows; ++r) {
      const Index row = r * channels;
#pragma GCC unroll 4
      for (int k = 0; k < K - 1; ++k) value(coefficients[k], row + k * size).store(to + row + k * size);
      store_lanes(value(coefficients[K - 1], row + (K - 1) * size), to + row + (K - 1) * size, in_last);
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
