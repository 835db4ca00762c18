#pragma once
// Dropout: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 15, 2014, in its inverted form. The mask
// depends on the random stream and the element's place alone, so replaying or recomputing a layer draws the same
// mask.

#include "graft/autodiff/node.hpp"
#include "graft/backend/cpu/dropout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

inline void check_dropout_rate(double rate, const Shape& shape, Site site) {
  if (!(rate >= 0 && rate < 1)) fail("dropout", {"rate is ", rate, ", expected 0 <= rate < 1"}, {{"x", shape}}, site);
}
/// Random words below it drop their element.
inline std::uint32_t dropout_threshold(double rate) {
  const double threshold = rate * 0x1p32 + 0.5;
  return threshold < 0x1p32 ? static_cast<std::uint32_t>(threshold) : 0xFFFFFFFFu;
}

/// What dropout keeps of `count` elements, a bit each, and a word more: a batch of them may begin in the last.
inline Tensor<std::int64_t> dropout_mask(Index count, double rate, const Random& random) {
  Tensor<std::int64_t> bits = fresh<std::int64_t>({count / cpu::kMaskTile + 2});
  cpu::dropout_bits(count, random.bits(0), dropout_threshold(rate), reinterpret_cast<std::uint64_t*>(writable(bits)));
  return bits;
}
/// scale x where the bit of the element is set, else 0. Linear with a diagonal matrix: its own transpose. Bits, a
/// thirty-second of x, are kept for it: drawing them again would take longer than all the rest.
template <class T>
Tensor<T> keep_marked(const Tensor<T>& x, const Tensor<std::int64_t>& bits, double scale) {
  Tensor<T> value = fresh<T>(x.shape());
  cpu::keep_marked(x.data(), x.count(), reinterpret_cast<const std::uint64_t*>(bits.data()), static_cast<T>(scale),
                   writable(value));
  return record("dropout", std::move(value),
                Edge(x, [bits, scale](const Tensor<T>& g) { return keep_marked(g, bits, scale); }));
}

}  // namespace detail

/// Each number of `x` is 0 with probability `rate`, else x / (1 - rate), so the expectation is kept. Draws from
/// `random` only: give every layer and step a stream of its own, `random.stream(layer).stream(step)`. `rate` in [0, 1).
template <Real T>
Tensor<T> dropout(const Tensor<T>& x, double rate, const Random& random, Site site = Site::current()) {
  detail::check_dropout_rate(rate, x.shape(), site);
  if (rate == 0) return x;
  return detail::keep_marked(x, detail::dropout_mask(x.count(), rate, random), 1 / (1 - rate));
}

}  // namespace GRAFT_ABI
}  // namespace graft
