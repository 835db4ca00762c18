#pragma once
// Rows of several heads that registers hold, and sums over each head of a row, in registers or through memory.

#include <cstdint>
#include <type_traits>
#include <utility>

#include "graft/backend/cpu/head_rows.hpp"
#include "graft/backend/cpu/kept_weights.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Rows of `Count` batches and numbers a head beside them: in the first lanes of a batch, in all lanes of it if there
/// is but one head.
template <class T, bool OneHead, int Count>
struct RowLanes {
  using B = Simd<T>;
  Index heads, row;
  const LaneIndex<T>* head_lane;

  [[gnu::always_inline]] B per_head(const T* numbers) const { return OneHead ? B(*numbers) : B::load(numbers); }
  [[gnu::always_inline]] void store_per_head(B numbers, T* to) const { numbers.store_part(to, heads); }
  /// Numbers a head beside batch k of a row.
  [[gnu::always_inline]] B spread(B numbers, int k) const {
    return OneHead ? numbers : pick_lanes(numbers, head_lane + k * B::size);
  }
  /// What dropout leaves of the weights of an edge, the first of which is number n.
  [[gnu::always_inline]] B kept(B weights, const KeptWeights<T>& keep, Index n) const {
    return OneHead ? lanes_where(keep.bit(n) ? ~std::uint64_t{0} : 0, weights * B(keep.scale)) : keep(weights, n);
  }
  /// Register k of a row and zeros past it.
  [[gnu::always_inline]] B load(const T* from, int k) const {
    return OneHead && k == Count - 1 ? load_lanes(from + k * B::size, row - k * B::size) : B::load(from + k * B::size);
  }
  [[gnu::always_inline]] void store(B numbers, T* to, int k) const {
    store_lanes(numbers, to + k * B::size, OneHead && k == Count - 1 ? row - k * B::size : B::size);
  }
  /// The sums over each head of product(k) for the batches of a row.
  template <int From = 0, int To = Count, class Product>
  [[gnu::always_inline]] B sum_heads(const Product& product) const {
    if constexpr (To - From > 1) {
      const B a = sum_heads<From, (From + To) / 2>(product), b = sum_heads<(From + To) / 2, To>(product);
      if constexpr (To - From < Count) return OneHead ? a + b : add_pairs(a, b);
      return whole_sums(OneHead ? a + b : add_pairs(a, b));
    } else if constexpr (Count > 1) {
      return product(From);
    } else {
      return whole_sums(product(From));
    }
  }

 private:
  [[gnu::always_inline]] B whole_sums(B sums) const {
    if (OneHead) return sum_everywhere(sums);
    for (Index lanes = B::size / heads; lanes > 1; lanes /= 2) sums = add_pairs(sums, sums);
    return sums;
  }
};

/// Calls run(lanes, std::integer_sequence of the batches of a row) if a row has `batches` of them that registers hold;
/// false if not.
template <bool OneHead, class T, class Run>
[[gnu::always_inline]] inline bool with_batches(const HeadRow<T>& heads, Index batches, const Run& run) {
  const auto with = [&]<int Count>(std::integral_constant<int, Count>) __attribute__((always_inline)) {
    run(RowLanes<T, OneHead, Count>{heads.heads, heads.row, heads.head_lane.data()},
        std::make_integer_sequence<int, Count>());
    return true;
  };
  switch (batches) {
    case 1: return with(std::integral_constant<int, 1>{});
    case 2: return with(std::integral_constant<int, 2>{});
    case 4: return with(std::integral_constant<int, 4>{});
    case 8: return with(std::integral_constant<int, 8>{});
    default: return false;
  }
}
/// The same where a batch holds all heads and registers hold a row; false where not.
template <class T, class Run>
bool with_row_lanes(const HeadRow<T>& heads, const Run& run) {
  if (heads.heads == 1) return with_batches<true>(heads, (heads.row + Simd<T>::size - 1) / Simd<T>::size, run);
  return with_batches<false>(heads, heads.folded, run);
}

/// scratch[e, h] = sum over the numbers of head h of a row of products, for `count` <= block edges. `products(e)` gives
/// a function that returns the batch of the products of edge e from number i of the row on.
template <class T, class Products>
[[gnu::always_inline]] inline void sum_heads(const HeadRow<T>& heads, Index count, Products products, T* scratch) {
  using B = Simd<T>;
  const Index row = heads.row;
  const auto in_registers = [&](const auto& lanes, auto) __attribute__((always_inline)) {
    for (Index e = 0; e < count; ++e) {
      const auto product = products(e);
      const B sums = lanes.sum_heads([&](int k) __attribute__((always_inline)) { return product(k * B::size); });
      sums.store(scratch + e * heads.heads);  // what is past the heads is overwritten by the next
    }
  };
  if (with_batches<false>(heads, heads.folded, in_registers)) return;
  T* to = scratch;
  for (Index e = 0; e < count; ++e) {
    const auto product = products(e);
    if (heads.group == heads.width) {  // what is stored past a row is overwritten by the next
      for (Index i = 0; i < row; i += B::size) product(i).store(to + i);
      to += row;
    } else {
      for (Index h = 0; h < heads.heads; ++h, to += B::size) {
        B sum(0);
        for_row<T>(heads.width, [&](Index i, Index left) __attribute__((always_inline)) {
          const B part = product(h * heads.width + i);
          sum += left < B::size ? first_lanes(part, left, T(0)) : part;
        });
        sum.store(to);
      }
    }
  }
  for (Index group = heads.group / 2; group > 0; group /= 2)
    for (Index i = 0; i < count * heads.heads * group; i += B::size)
      add_pairs(B::load(scratch + 2 * i), B::load(scratch + 2 * i + B::size)).store(scratch + i);
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
