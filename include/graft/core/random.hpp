#pragma once
// Counter-based random numbers: Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011. A value depends on (seed, stream, index) only, so it is the same on any thread, in any order.

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>
#include <type_traits>
#include <vector>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// What Philox 4x32 multiplies words 0 and 2 of the counter by, and adds to the key after every round.
inline constexpr std::uint32_t kPhiloxFactors[2] = {0xD2511F53u, 0xCD9E8D57u};
inline constexpr std::uint32_t kPhiloxKeySteps[2] = {0x9E3779B9u, 0xBB67AE85u};

/// Philox 4x32 with ten rounds.
constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t first = std::uint64_t{kPhiloxFactors[0]} * counter[0];
    const std::uint64_t second = std::uint64_t{kPhiloxFactors[1]} * counter[2];
    counter = {static_cast<std::uint32_t>(second >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(second),
               static_cast<std::uint32_t>(first >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(first)};
    key[0] += kPhiloxKeySteps[0];
    key[1] += kPhiloxKeySteps[1];
  }
  return counter;
}

/// Mixes `value` into `state` (the finaliser of SplitMix64).
constexpr std::uint64_t mix(std::uint64_t state, std::uint64_t value) {
  std::uint64_t z = state * 0x9E3779B97F4A7C15u + value + 0x632BE59BD9B4E019u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace detail

/// A named stream of random numbers. Streams are told apart by purpose, so switching one feature on moves no other
/// feature's numbers:  `Random(seed).stream("dropout", layer).stream(step)`.
class Random {
 public:
  constexpr explicit Random(std::uint64_t seed = 0) : seed_(seed) {}

  /// A sub-stream named by purpose.
  constexpr Random stream(std::string_view purpose) const {
    std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
    for (char c : purpose) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    return Random(seed_, detail::mix(stream_, hash));
  }
  /// A sub-stream named by number (a layer, a step, a task's draw).
  constexpr Random stream(std::uint64_t number) const { return Random(seed_, detail::mix(stream_ + 1, number)); }

  /// stream(purpose).stream(number): the draws of one step, task or layer for one purpose.
  template <class N>
    requires std::is_integral_v<N>
  constexpr Random stream(std::string_view purpose, N number) const {
    return stream(purpose).stream(static_cast<std::uint64_t>(number));
  }

  /// 64 random bits at `index`.
  constexpr std::uint64_t bits(std::uint64_t index) const {
    const auto block = words(index >> 1);
    const int half = static_cast<int>(index & 1) * 2;
    return std::uint64_t{block[half]} << 32 | block[half + 1];
  }
  /// The four 32-bit words of counter `block`.
  constexpr std::array<std::uint32_t, 4> words(std::uint64_t block) const {
    return detail::philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                           static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
                          {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
  }
  /// Uniform in [0, 1), a multiple of 2^-53.
  constexpr double uniform(std::uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }
  /// Uniform in [low, high).
  constexpr double uniform(std::uint64_t index, double low, double high) const {
    return low + (high - low) * uniform(index);
  }
  /// Standard normal (Box and Muller 1958).
  double normal(std::uint64_t index) const {
    const std::uint64_t pair = index >> 1;
    const double radius = std::sqrt(-2 * std::log(1 - uniform(2 * pair)));
    const double angle = 2 * std::numbers::pi * uniform(2 * pair + 1);
    return radius * (index & 1 ? std::sin(angle) : std::cos(angle));
  }
  /// Uniform integer in [0, bound); bias below bound / 2^64. Throws ValueError for a bound below 1.
  constexpr Index below(std::uint64_t index, Index bound, Site site = Site::current()) const {
    if (bound < 1) fail("Random::below", {"the bound is ", bound, ", expected 1 or more"}, {}, site);
    __extension__ using Wide = unsigned __int128;
    return static_cast<Index>((static_cast<Wide>(bits(index)) * static_cast<std::uint64_t>(bound)) >> 64);
  }
  /// A uniform permutation of 0 .. count-1 (Fisher and Yates). Throws ValueError for a negative count.
  std::vector<Index> permutation(Index count, Site site = Site::current()) const {
    return permutation(count, count, site);
  }
  /// The first `chosen` entries of a permutation. Throws ValueError unless 0 <= chosen <= count.
  std::vector<Index> permutation(Index count, Index chosen, Site site = Site::current()) const {
    if (count < 0) fail("Random::permutation", {"of ", count, " numbers, expected 0 or more"}, {}, site);
    if (chosen < 0 || chosen > count) fail("Random::permutation", {chosen, " of ", count, " asked for"}, {}, site);
    std::vector<Index> order(static_cast<std::size_t>(count));
    for (Index i = 0; i < count; ++i) order[static_cast<std::size_t>(i)] = i;
    for (Index i = 0; i < chosen; ++i) {
      const Index other = i + below(static_cast<std::uint64_t>(i), count - i);
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(other)]);
    }
    order.resize(static_cast<std::size_t>(chosen));
    return order;
  }

  constexpr std::uint64_t seed() const { return seed_; }
  constexpr bool operator==(const Random&) const = default;

 private:
  constexpr Random(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}
  std::uint64_t seed_;
  std::uint64_t stream_ = 0;
};

}  // namespace GRAFT_ABI
}  // namespace graft
