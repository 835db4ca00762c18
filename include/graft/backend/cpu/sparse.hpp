#pragma once
// Products and dropout of a matrix in compressed rows. The walk over a row is that of graph attention with one head.

#include "graft/backend/cpu/dropout.hpp"
#include "graft/backend/cpu/weighted_rows.hpp"
#include "graft/number/compress.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// out[r, :] = sum over the edges e of row r of values[places ? places[e] : e] b[other[e], :], rows of `width` numbers.
/// Edges whose value is 0, as dropout leaves them, are passed over.
template <class T>
void sparse_product(const GraphSide& side, const GraphIndex* places, const T* values, const T* b, Index width,
                    T* out) {
  const HeadRow<T> row(1, width);
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    const Index rows = last - first, edges = side.offsets[last] - side.offsets[first];
    const Index capacity = graph_capacity(edges);
    const detail::Workspace<T> weights(capacity);
    const detail::Workspace<GraphIndex> others(capacity);
    const detail::Workspace<std::int64_t> offsets(kGraphChunk + 2);
    Index count = 0;
    for (Index r = 0; r < rows; ++r) {
      offsets[r] = count;
      const Index begin = side.offsets[first + r], edges_of_row = side.offsets[first + r + 1] - begin;
      count += keep_nonzero(places ? values : values + begin, places ? places + begin : nullptr, side.other + begin,
                            edges_of_row, weights.data() + count, others.data() + count);
    }
    offsets[rows] = count;
    add_weighted_rows<T>(
        row, {{rows, offsets.data(), others.data()}, 0, rows, 0, count, b, weights.data(), out + first * width});
  });
}

/// Dropout of the numbers at (row of e, other[e]) of a matrix of `columns` columns, as `dropout` drops them from the
/// whole matrix.
template <class T>
void sparse_dropout(const GraphSide& side, Index columns, const T* values, std::uint64_t key, std::uint32_t threshold,
                    T scale, T* out) {
  using B = Simd<T>;
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    const PhiloxKeys keys(key);
    const Index begin = side.offsets[first], count = side.offsets[last] - begin;
    const detail::Workspace<std::uint64_t> elements(graph_capacity(count));
    for (Index r = first; r < last; ++r)
      for (Index e = side.offsets[r]; e < side.offsets[r + 1]; ++e)
        elements[e - begin] = static_cast<std::uint64_t>(r * columns + side.other[e]);
    std::memset(elements.data() + count, 0, 16 * sizeof(std::uint64_t));
    for (Index e = 0; e < count; e += 16) {
      const std::uint64_t kept = kept_elements(elements.data() + e, keys, threshold);
      for (Index l = 0; l < 16 && e + l < count; l += B::size)
        store_lanes(lanes_where(kept >> l, B(scale) * B::load(values + begin + e + l)), out + begin + e + l,
                    count - e - l);
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
