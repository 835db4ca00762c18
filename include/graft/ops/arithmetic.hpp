#pragma once
// Casts, and elementwise functions with numbers as options.

#include "graft/core/refuse.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/integer.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// x^y; see the table. The square is x * x.
template <Real T, Number S>
Tensor<T> pow(const Tensor<T>& x, S y) {
  if (y == S(2)) return square(x);
  return detail::binary<row::pow_row>(x, Tensor<T>(static_cast<T>(y)));
}
/// The larger of x and y.
template <Real T, Number S>
Tensor<T> maximum(const Tensor<T>& x, S y) {
  return detail::binary<row::maximum_row>(x, Tensor<T>(static_cast<T>(y)));
}
/// The smaller of x and y.
template <Real T, Number S>
Tensor<T> minimum(const Tensor<T>& x, S y) {
  return detail::binary<row::minimum_row>(x, Tensor<T>(static_cast<T>(y)));
}

/// The numbers of `x` as type To. Between float and double gradients flow (and are converted back); fractions are cut
/// off on the way to integers.
template <class To, class From>
Tensor<To> cast(const Tensor<From>& x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else {
    Tensor<To> value = detail::fresh<To>(x.shape());
    cpu::map_scalars<To>(
        x.shape(), detail::writable(value), [](From v) { return static_cast<To>(v); }, x);
    if constexpr (Real<To> && Real<From>)
      return record("cast", std::move(value), Edge(x, [](const Tensor<To>& g) { return cast<From>(g); }));
    else
      return value;
  }
}

/// max(x, 0) + slope min(x, 0).
template <Real T>
Tensor<T> leaky_relu(const Tensor<T>& x, double slope = 0.01) {
  return detail::fused_map(
      "leaky_relu", {}, [slope](auto v) { return where(v > 0, v, slope * v); }, x);
}
/// x where x > 0, else alpha (e^x - 1). Clevert, Unterthiner, Hochreiter, ICLR 2016.
template <Real T>
Tensor<T> elu(const Tensor<T>& x, double alpha = 1) {
  return detail::fused_map(
      "elu", {}, [alpha](auto v) { return where(v > 0, v, alpha * expm1(where(v > 0, 0, v))); }, x);
}
/// x limited to [low, high]; slope 1 inside and on the limits, 0 outside. A NaN stays one.
template <Real T>
Tensor<T> clamp(const Tensor<T>& x, double low, double high, Site site = Site::current()) {
  if (!(low <= high)) fail("clamp", {"low ", low, " is above high ", high}, {{"x", x.shape()}}, site);
  return detail::fused_map(
      "clamp", site, [low, high](auto v) { return where(v < low, low, where(v > high, high, v)); }, x);
}
/// x limited to [low, high], which are tensors too; all three broadcast. The gradient goes to the one that is taken, to
/// x where it is on a limit. `high` where it is below `low`; NaN where any of the three is.
template <Real T>
Tensor<T> clamp(const Tensor<T>& x, const Tensor<T>& low, const Tensor<T>& high, Site site = Site::current()) {
  const auto limited = [](auto v, auto l, auto h) {
    const auto raised = where(v < l || l != l, l, v);
    return where(raised > h || h != h, h, raised);
  };
  return detail::fused_map("clamp", site, limited, x, low, high);
}

}  // namespace GRAFT_ABI
}  // namespace graft
