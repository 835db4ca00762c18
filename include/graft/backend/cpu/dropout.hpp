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

/// The words of sixteen counters of Philox 4x32-10 with the given key: word w of counter l is words[16 w + l]. Sixteen
/// counters side by side, in arrays that nothing can alias, are what compilers turn into SIMD.
inline void mask_words(const std::uint64_t (&counters)[16], std::uint64_t key, std::uint32_t (&words)[kMaskTile]) {
  constexpr int kLanes = 16;
  std::uint32_t a[kLanes], b[kLanes], c[kLanes], d[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    a[l] = static_cast<std::uint32_t>(counters[l]);
    b[l] = static_cast<std::uint32_t>(counters[l] >> 32);
    c[l] = 0;
    d[l] = 0;
  }
  auto key_a = static_cast<std::uint32_t>(key), key_c = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < kLanes; ++l) {
      const std::uint64_t first = std::uint64_t{0xD2511F53u} * a[l], second = std::uint64_t{0xCD9E8D57u} * c[l];
      a[l] = static_cast<std::uint32_t>(second >> 32) ^ b[l] ^ key_a;
      b[l] = static_cast<std::uint32_t>(second);
      c[l] = static_cast<std::uint32_t>(first >> 32) ^ d[l] ^ key_c;
      d[l] = static_cast<std::uint32_t>(first);
    }
    key_a += 0x9E3779B9u;
    key_c += 0xBB67AE85u;
  }
  std::memcpy(words, a, sizeof a);
  std::memcpy(words + kLanes, b, sizeof b);
  std::memcpy(words + 2 * kLanes, c, sizeof c);
  std::memcpy(words + 3 * kLanes, d, sizeof d);
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
    T factors[kMaskTile];
    for (Index first = begin; first < end; first += kMaskTile) {
      mask_words(static_cast<std::uint64_t>(first / kMaskTile), key, words);
      for (Index i = 0; i < kMaskTile; ++i) factors[i] = words[i] >= threshold ? scale : T(0);
      const Index elements = end - first < kMaskTile ? end - first : kMaskTile;
      for (Index i = 0; i < elements; i += B::size) {
        const B factor = B::load(factors + i);
        // Chosen, not multiplied: 0 times infinity would be NaN.
        const B value = where(factor == B(0), B(0), factor * B::load(x + first + i));
        if (elements - i >= B::size)
          value.store(out + first + i);
        else
          value.store_part(out + first + i, elements - i);
      }
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
