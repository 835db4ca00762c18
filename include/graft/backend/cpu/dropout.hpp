#pragma once
// Dropout in one pass: the mask is drawn while it is applied, and drawn again for the derivative instead of being
// stored.

#include <cstring>

#include "graft/core/parallel.hpp"
#include "graft/core/random.hpp"
#include "graft/number/batch.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Elements whose mask is drawn together: the four words of sixteen counters.
inline constexpr Index kMaskTile = 64;

/// The words of sixteen counters of Philox 4x32-10 with the given key: word w of counter l is words[16 w + l]. Every
/// word has a lane of 64 bits, of which only the lower half counts: what products and exclusive-ors leave above it is
/// never read.
inline void mask_words(const std::uint64_t (&counters)[16], std::uint64_t key, std::uint32_t (&words)[kMaskTile]) {
  using Lanes = native::Lanes64;
  constexpr int kLanes = sizeof(Lanes) / sizeof(std::uint64_t);
  for (int l = 0; l < 16; l += kLanes) {
    Lanes a, c{}, d{};
    std::memcpy(&a, counters + l, sizeof a);
    Lanes b = a >> 32;
    std::uint64_t key_a = key & 0xFFFFFFFFu, key_c = key >> 32;
    for (int round = 0; round < 10; ++round) {
      const Lanes first = native::multiply_lower_halves(a, 0xD2511F53u);
      const Lanes second = native::multiply_lower_halves(c, 0xCD9E8D57u);
      a = (second >> 32) ^ b ^ key_a;
      b = second;
      c = (first >> 32) ^ d ^ key_c;
      d = first;
      key_a += 0x9E3779B9u;
      key_c += 0xBB67AE85u;
    }
    native::store_lower_halves(a, words + l);
    native::store_lower_halves(b, words + 16 + l);
    native::store_lower_halves(c, words + 32 + l);
    native::store_lower_halves(d, words + 48 + l);
  }
}

/// The words of the elements of a tile, those of the counters 16 tile .. 16 tile + 15.
inline void mask_words(std::uint64_t tile, std::uint64_t key, std::uint32_t (&words)[kMaskTile]) {
  std::uint64_t counters[16];
  for (std::uint64_t l = 0; l < 16; ++l) counters[l] = 16 * tile + l;
  mask_words(counters, key, words);
}
/// For sixteen elements that need not be neighbours: chosen[l] becomes the word of element elements[l].
inline void element_words(const std::uint64_t (&elements)[16], std::uint64_t key, std::uint32_t (&chosen)[16]) {
  std::uint64_t counters[16];
  std::uint32_t words[kMaskTile];
  for (int l = 0; l < 16; ++l) counters[l] = elements[l] / kMaskTile * 16 + elements[l] % 16;
  mask_words(counters, key, words);
  for (std::uint64_t l = 0; l < 16; ++l) chosen[l] = words[elements[l] % kMaskTile / 16 * 16 + l];
}

/// What `dropout` keeps of `count` elements, a bit each: bit n % 64 of words[n / 64] is set where the word of element n
/// is at least `threshold`.
inline void dropout_bits(Index count, std::uint64_t key, std::uint32_t threshold, std::uint64_t* bits) {
  static_assert(kMaskTile == 64);
  parallel_for((count + kMaskTile - 1) / kMaskTile, 256, [=](Index begin, Index end) {
    std::uint32_t words[kMaskTile];
    for (Index tile = begin; tile < end; ++tile) {
      mask_words(static_cast<std::uint64_t>(tile), key, words);
      bits[tile] = bits_at_least(words, threshold);
    }
  });
}

/// out[i] = scale x[i] where the word of element i is at least `threshold`, else 0.
template <class T>
void dropout(const T* x, Index count, std::uint64_t key, std::uint32_t threshold, T scale, T* out) {
  using B = Batch<T>;
  parallel_for(count, 256 * kMaskTile, [=](Index begin, Index end) {
    std::uint32_t words[kMaskTile];
    for (Index first = begin; first < end; first += kMaskTile) {
      mask_words(static_cast<std::uint64_t>(first / kMaskTile), key, words);
      const Index elements = end - first < kMaskTile ? end - first : kMaskTile;
      for (Index i = 0; i < elements; i += B::size) {
        // Chosen, not multiplied: 0 times infinity would be NaN.
        const B value = lanes_at_least(words + i, threshold, B(scale) * B::load(x + first + i));
        store_lanes(value, out + first + i, elements - i);
      }
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
