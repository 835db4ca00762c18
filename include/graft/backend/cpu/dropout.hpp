#pragma once
// Dropout in one pass: the mask is drawn while it is applied, and drawn again for the derivative instead of being
// stored.

#include <cstring>

#include "graft/core/parallel.hpp"
#include "graft/core/random.hpp"
#include "graft/number/random_lanes.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Elements whose mask is drawn together: the four words of sixteen counters.
inline constexpr Index kMaskTile = 64;

/// The keys of the ten rounds of Philox 4x32-10.
struct PhiloxKeys {
  std::uint64_t a[10], c[10];
  explicit PhiloxKeys(std::uint64_t key) {
    for (std::uint64_t round = 0; round < 10; ++round) {
      a[round] = (key & 0xFFFFFFFFu) + round * detail::kPhiloxKeySteps[0];
      c[round] = (key >> 32) + round * detail::kPhiloxKeySteps[1];
    }
  }
};

/// Counters of Philox 4x32-10: a lane of 64 bits for each of their words, of which only the lower half counts. What
/// products and exclusive-ors leave above it is never read.
struct PhiloxLanes {
  using Lanes = native::Lanes64;
  Lanes a, b, c, d;

  /// The first round, on counters of 64 bits: the upper two words are 0.
  [[gnu::always_inline]] void first_round(Lanes counters, std::uint64_t key_a, std::uint64_t key_c) {
    d = native::multiply_lower_halves(counters, detail::kPhiloxFactors[0]);
    a = native::upper_halves(counters) ^ key_a;
    b = Lanes{};
    c = native::upper_halves(d) ^ key_c;
  }
  [[gnu::always_inline]] void round(std::uint64_t key_a, std::uint64_t key_c) {
    const Lanes first = native::multiply_lower_halves(a, detail::kPhiloxFactors[0]);
    const Lanes second = native::multiply_lower_halves(c, detail::kPhiloxFactors[1]);
    a = native::upper_halves(second) ^ b ^ key_a;
    b = second;
    c = native::upper_halves(first) ^ d ^ key_c;
    d = first;
  }
};

/// Runs the rounds on sixteen counters: calls use(l, x, y) with the words of a register of counters, from counter l on,
/// and with those of the next register. `counters_from(l)` are the counters of a register.
template <class Counters, class Use>
[[gnu::always_inline]] inline void philox(const Counters& counters_from, const PhiloxKeys& keys, const Use& use) {
  constexpr int lanes = sizeof(native::Lanes64) / sizeof(std::uint64_t);
  for (int l = 0; l < 16; l += 2 * lanes) {  // two chains of products at a time
    PhiloxLanes x, y;
    x.first_round(counters_from(l), keys.a[0], keys.c[0]);
    y.first_round(counters_from(l + lanes), keys.a[0], keys.c[0]);
    for (int round = 1; round < 10; ++round) {
      x.round(keys.a[round], keys.c[round]);
      y.round(keys.a[round], keys.c[round]);
    }
    use(l, x, y);
  }
}
[[gnu::always_inline]] inline native::Lanes64 load_lanes64(const std::uint64_t* from) {
  native::Lanes64 some;
  std::memcpy(&some, from, sizeof some);
  return some;
}

/// The words of the elements of a tile, those of the counters 16 tile .. 16 tile + 15: word w of counter l is
/// words[16 w + l].
inline void mask_words(std::uint64_t tile, const PhiloxKeys& keys, std::uint32_t (&words)[kMaskTile]) {
  std::uint64_t counters[16];
  for (std::uint64_t l = 0; l < 16; ++l) counters[l] = 16 * tile + l;
  philox([&](int l) __attribute__((always_inline)) { return load_lanes64(counters + l); }, keys,
         [&](int l, const PhiloxLanes& x, const PhiloxLanes& y) __attribute__((always_inline)) {
           native::store_lower_halves(x.a, y.a, words + l);
           native::store_lower_halves(x.b, y.b, words + 16 + l);
           native::store_lower_halves(x.c, y.c, words + 32 + l);
           native::store_lower_halves(x.d, y.d, words + 48 + l);
         });
}
/// What `dropout` keeps of sixteen elements that need not be neighbours, a bit each.
inline std::uint64_t kept_elements(const std::uint64_t* elements, const PhiloxKeys& keys, std::uint32_t threshold) {
  using Lanes = native::Lanes64;
  constexpr int lanes = sizeof(Lanes) / sizeof(std::uint64_t);
  std::uint32_t words[16];
  const auto word_of = [](const PhiloxLanes& counter, Lanes element) __attribute__((always_inline)) {
    const Lanes low = (element & 16) == 0 ? counter.a : counter.b, high = (element & 16) == 0 ? counter.c : counter.d;
    return (element & 32) == 0 ? low : high;
  };
  philox(
      [&](int l) __attribute__((always_inline)) {
        const Lanes element = load_lanes64(elements + l);
        return element / kMaskTile * 16 + element % 16;
      },
      keys,
      [&](int l, const PhiloxLanes& x, const PhiloxLanes& y) __attribute__((always_inline)) {
        native::store_lower_halves(word_of(x, load_lanes64(elements + l)),
                                   word_of(y, load_lanes64(elements + l + lanes)), words + l);
      });
  return bits_at_least(words, threshold);
}

/// What `dropout` keeps of `count` elements, a bit each: bit n % 64 of words[n / 64] is set where the word of element n
/// is at least `threshold`.
inline void dropout_bits(Index count, std::uint64_t key, std::uint32_t threshold, std::uint64_t* bits) {
  static_assert(kMaskTile == 64);
  parallel_for((count + kMaskTile - 1) / kMaskTile, 256, [=](Index begin, Index end) {
    const PhiloxKeys keys(key);
    std::uint32_t words[kMaskTile];
    for (Index tile = begin; tile < end; ++tile) {
      mask_words(static_cast<std::uint64_t>(tile), keys, words);
      bits[tile] = bits_at_least(words, threshold);
    }
  });
}

/// out[i] = scale x[i] where bit i is set, else 0.
template <class T>
void keep_marked(const T* x, Index count, const std::uint64_t* bits, T scale, T* out) {
  using B = Simd<T>;
  parallel_for(count, 256 * kMaskTile, [=](Index begin, Index end) {
    for (Index first = begin; first < end; first += kMaskTile) {
      const std::uint64_t kept = bits[first / kMaskTile];
      const Index elements = end - first < kMaskTile ? end - first : kMaskTile;
      for (Index i = 0; i < elements; i += B::size)  // chosen, not multiplied: 0 times infinity would be NaN
        store_lanes(lanes_where(kept >> i, B(scale) * B::load(x + first + i)), out + first + i, elements - i);
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
