#pragma once
// Products and dropout of a matrix in compressed rows. The walk over a row is that of graph attention with one head.

#include "graft/backend/cpu/dropout.hpp"
#include "graft/backend/cpu/graph_attention.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// out[r, :] = sum over the edges e of row r of values[places ? places[e] : e] b[other[e], :], rows of `width` numbers.
template <class T>
void sparse_product(const GraphSide& side, const std::int64_t* places, const T* values, const T* b, Index width,
                    T* out) {
  const HeadRow<T> row(1, width);
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    const Index begin = side.offsets[first], count = side.offsets[last] - begin;
    const detail::Workspace<T> placed(places ? row.edge_numbers(count) : 0);
    for (Index e = 0; places && e < count; ++e) placed[e] = values[places[begin + e]];
    const T* weights = places ? placed.data() - begin : values;
    for (Index r = first; r < last; ++r) {
      const Index from = side.offsets[r];
      add_weighted_rows<T>(row, {b, side.other + from, side.offsets[r + 1] - from, side.edges() - from, weights + from,
                                 nullptr, {}, 0, out + r * width, false});
    }
  });
}

/// Dropout of the numbers at (row of e, other[e]) of a matrix of `columns` columns, as `dropout` drops them from the
/// whole matrix.
template <class T>
void sparse_dropout(const GraphSide& side, Index columns, const T* values, std::uint64_t key, std::uint32_t threshold,
                    T scale, T* out) {
  for_graph_chunks(side, [&](Index, Index first, Index last) {
    const Index end = side.offsets[last];
    Index r = first;
    for (Index e = side.offsets[first]; e < end; e += 16) {
      const Index count = std::min<Index>(16, end - e);
      std::uint64_t elements[16] = {};
      std::uint32_t words[16];
      for (Index l = 0; l < count; ++l) {
        while (e + l >= side.offsets[r + 1]) ++r;
        elements[l] = static_cast<std::uint64_t>(r * columns + side.other[e + l]);
      }
      element_words(elements, key, words);
      for (Index l = 0; l < count; ++l) out[e + l] = words[l] >= threshold ? values[e + l] * scale : T(0);
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
