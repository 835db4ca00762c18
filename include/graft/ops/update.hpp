#pragma once
// The pass that an optimiser's step is made of: several tensors get new numbers at once, in place where nobody else
// holds them, else in new blocks. The only op that writes what it was given.

#include <array>
#include <limits>

#include "graft/backend/cpu/map.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Where the new numbers of `tensor` go: its own block if nobody else can see it, else a new one, which takes its place
/// when `publish` is called.
template <class T>
class Overwrite {
 public:
  explicit Overwrite(Tensor<T>& tensor)
      : tensor_(tensor), target_(sole_owner(tensor) ? tensor : fresh<T>(tensor.shape())) {}
  const T* from() const { return tensor_.data(); }
  T* to() const { return writable(target_); }
  void publish() { tensor_ = std::move(target_); }

 private:
  Tensor<T>& tensor_;
  Tensor<T> target_;
};

/// The next values of N tensors of `count` numbers from their present values and the gradient:
/// f(present, gradient) maps std::array<Simd<T>, N> and Simd<T> to std::array<Simd<T>, N>.
template <class T, class F, class... Tensors>
void update_in_one_pass(F f, const Tensor<T>& gradient, Tensors&... tensors) {
  constexpr std::size_t N = sizeof...(Tensors);
  using B = Simd<T>;
  std::array<Overwrite<T>, N> places{Overwrite<T>(tensors)...};
  std::array<const T*, N> from;
  std::array<T*, N> to;
  for (std::size_t n = 0; n < N; ++n) {
    from[n] = places[n].from();
    to[n] = places[n].to();
  }
  const T* g = gradient.data();
  parallel_for(gradient.count(), cpu::kMapChunk, [=](Index begin, Index end) {
    // Copies of what was captured, and folds for loops over the tensors: only so do compilers keep all of this in
    // registers.
    const F own = f;
    const auto x = from;
    const auto y = to;
    const T* const slope = g;
    [&]<std::size_t... n>(std::index_sequence<n...>) __attribute__((always_inline)) {
      cpu::for_row<T>(
          end - begin, [&](Index i, Index left) __attribute__((always_inline)) {
            cpu::fetch_ahead(slope + begin + i);
            (cpu::fetch_for_write_ahead(y[n] + begin + i), ...);
            const std::array<B, N> next = own({B::load(x[n] + begin + i)...}, B::load(slope + begin + i));
            (store_lanes(next[n], y[n] + begin + i, left), ...);
          });
    }(std::make_index_sequence<N>());
  });
  for (auto& place : places) place.publish();
}

/// x, or 0 where |x| is below the smallest normal number: averages of vanished gradients would else decay into
/// denormals, which slow every later step a hundredfold.
template <class T>
Simd<T> without_denormals(Simd<T> x) {
  return where(native::abs(x) < Simd<T>(std::numeric_limits<T>::min()), Simd<T>(0), x);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
