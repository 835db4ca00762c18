#pragma once
// The arrays of a graph as kernels see them, the cut of its rows into parallel chunks, and the walk over the rows that
// edges belong to.

#include <algorithm>
#include <cstdint>

#include "graft/core/parallel.hpp"
#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// How far ahead of its use a row is fetched, in edges.
inline constexpr Index kEdgesAhead = 16;

/// What nodes and edges are numbered with: half the memory of `Index`, and half of what a walk over edges reads.
using GraphIndex = std::int32_t;

/// A graph one way round: row r has the edges offsets[r] .. offsets[r + 1] - 1, which lead to the rows `other`.
struct GraphSide {
  Index rows;
  const std::int64_t* offsets;
  const GraphIndex* other;
  Index edges() const { return offsets[rows]; }
  /// The row that the edge `distance` after e leads to, to be fetched when e is walked.
  Index ahead(Index e, Index distance) const { return other[std::min(e + distance, edges() - 1)]; }
};
/// The arrays of a graph as kernels see them; see `Graph`.
struct GraphArrays {
  GraphSide by_destination, by_source;
  const GraphIndex* edge_by_source;  ///< the place in destination order of each edge in source order
};

/// Edges and rows of one parallel chunk. Fixed, because partial sums over chunks are added in chunk order.
inline constexpr Index kGraphChunk = 2048;
inline Index graph_chunks(const GraphSide& side) { return (side.edges() + side.rows + kGraphChunk - 1) / kGraphChunk; }

/// Room for the edges of a chunk and sixteen more: of one size for all chunks without a very long row, so that a thread
/// that gets another chunk than last time finds its memory in its cache.
inline Index graph_capacity(Index edges) { return std::max(edges, kGraphChunk) + 16; }

/// Calls run(chunk, first row, last row) for ranges of rows with about equally many edges, on several threads.
template <class Run>
void for_graph_chunks(const GraphSide& side, const Run& run) {
  const auto row_at = [&side](Index work) {
    Index low = 0, high = side.rows;
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (side.offsets[middle] + middle < work)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  };
  // Tasks, not `parallel_for`: a chunk may fail to get memory.
  parallel_even_jobs(graph_chunks(side), [&](Index chunk) {
    const Index begin = chunk * kGraphChunk, end = std::min(begin + kGraphChunk, side.edges() + side.rows);
    run(chunk, row_at(begin), row_at(end));
  });
}

/// Calls run(row, first edge, count) for the rows of the edges begin .. end - 1, the first of which belongs to `row`.
template <class Run>
[[gnu::always_inline]] inline void for_row_parts(const GraphSide& side, Index row, Index begin, Index end, Run run) {
  for (; begin < end; ++row) {
    const Index stop = std::min(end, side.offsets[row + 1]);
    if (begin < stop) run(row, begin, stop - begin);
    begin = stop;
  }
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
