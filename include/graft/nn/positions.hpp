#pragma once
// Places in a sequence as numbers. Learned ones are an `Embedding` of the places; rotary ones are an op, `rotary`.

#include <cmath>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sines and cosines of the places first .. first + time - 1, [time, width]: of place m column 2 i is the sine of m
/// base^(-2 i / width), column 2 i + 1 the cosine. Added to embedded tokens (Vaswani et al., NeurIPS 2017). Throws
/// ValueError for an odd width, ShapeError for negative sizes.
template <Real T = float>
Tensor<T> sinusoidal_positions(Index time, Index width, Index first = 0, double base = 10000,
                               Site site = Site::current()) {
  if (width % 2 != 0) fail("sinusoidal_positions", {"width is ", width, ", expected an even number"}, {}, site);
  const Tensor<double> speeds = generate(
      {width / 2}, [&](Index i) { return std::pow(base, -2 * static_cast<double>(i) / static_cast<double>(width)); },
      site);
  const auto number = [first, of_pair = host(speeds)](Index place, Index column) {
    const double angle = static_cast<double>(first + place) * of_pair[static_cast<std::size_t>(column / 2)];
    return static_cast<T>(column % 2 == 0 ? std::sin(angle) : std::cos(angle));
  };
  return generate({time, width}, number, site);
}

/// The slopes of ALiBi, [heads], for `AttentionOptions::slopes`: 2^(-8 h / heads) for h = 1 .. heads where heads is a
/// power of two; else those of the largest power of two below, and of twice that every other one, as many as are
/// needed. Press, Smith, Lewis, "Train short, test long: attention with linear biases enables input length
/// extrapolation", ICLR 2022, and its authors' code. Throws ValueError for less than one head.
template <Real T = float>
Tensor<T> alibi_slopes(Index heads, Site site = Site::current()) {
  if (heads < 1) fail("alibi_slopes", {heads, " heads, expected 1 or more"}, {}, site);
  Index power = 1;
  while (2 * power <= heads) power *= 2;
  const auto slope = [power](Index head) {
    const auto step = 8 / static_cast<double>(power);
    const bool regular = head < power;
    const auto exponent = static_cast<double>(regular ? head + 1 : head - power) + (regular ? 0 : 0.5);
    return static_cast<T>(std::exp2(-step * exponent));
  };
  return generate({heads}, slope, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
