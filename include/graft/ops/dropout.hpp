#pragma once
// Dropout: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 15, 2014, in its inverted form. The mask
// depends on the random stream and the element's place alone, so replaying or checkpointing a layer draws the same
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

template <class T>
Tensor<T> dropout_keyed(const Tensor<T>& x, double rate, std::uint64_t key) {
  Tensor<T> value = fresh<T>(x.shape());
  cpu::dropout(x.data(), x.count(), key, dropout_threshold(rate), static_cast<T>(1 / (1 - rate)), writable(value));
  // Linear with a diagonal matrix: its own transpose.
  return record("dropout", std::move(value),
                Edge(x, [rate, key](const Tensor<T>& g) { return dropout_keyed(g, rate, key); }));
}

}  // namespace detail

/// Each number of `x` is 0 with probability `rate`, else x / (1 - rate), so the expectation is kept. Draws from
/// `random` only: give every layer and step a stream of its own, `random.stream(layer).stream(step)`. `rate` in [0, 1).
template <Real T>
Tensor<T> dropout(const Tensor<T>& x, double rate, const Random& random, Site site = Site::current()) {
  detail::check_dropout_rate(rate, x.shape(), site);
  if (rate == 0) return x;
  return detail::dropout_keyed(x, rate, random.bits(0));
}

}  // namespace GRAFT_ABI
}  // namespace graft
