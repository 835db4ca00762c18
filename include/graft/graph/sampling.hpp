#pragma once
// Neighbour sampling: layers run on the nodes that a batch of seeds hears, some drawn neighbours of each.
//
// Hamilton, Ying, Leskovec, "Inductive representation learning on large graphs", NeurIPS 2017, algorithm 2: uniform,
// without replacement, anew for each layer.
//
// What a node draws depends on the random stream, the layer and the node alone, so neither threads nor the other seeds
// move it. Drawing f of d neighbours takes O(f log f), whatever d is.

#include <algorithm>
#include <bit>
#include <vector>

#include "graft/graph/structure.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A fan-out that takes every neighbour.
inline constexpr Index kAllNeighbours = -1;

/// The edges that one layer walks. The layer maps rows of `sources` to rows of the first of them, the destinations:
/// `slice(x, 0, 0, block.graph.destinations())` are their own rows.
struct SampledBlock {
  Graph graph;                   ///< bipartite; its rows keep the order of the whole graph's
  Tensor<std::int64_t> sources;  ///< [sources]: nodes of the whole graph, the destinations first
  Tensor<std::int64_t> edges;    ///< [edges]: the place in the whole graph's list of each edge of the block's list
};

/// What a batch of seeds is computed from.
struct SampledBatch {
  Tensor<std::int64_t> seeds;        ///< [seeds]: the destinations of the last block
  std::vector<SampledBlock> blocks;  ///< one a layer, in the order in which layers run

  /// The nodes whose features the first layer reads.
  const Tensor<std::int64_t>& nodes() const { return blocks.empty() ? seeds : blocks.front().sources; }
};

namespace detail {

/// Numbers for nodes in the order in which they are met: open addressing, at most half full.
class NodeNumbers {
 public:
  const std::vector<std::int64_t>& nodes() const { return nodes_; }
  /// Makes room for `count` nodes.
  void reserve(std::size_t count) {
    if (2 * count <= slots_.size()) return;
    std::vector<Slot> narrower(std::bit_ceil(2 * count + 16));
    slots_.swap(narrower);
    shift_ = 64 - std::countr_zero(slots_.size());
    for (const Slot& slot : narrower)
      if (slot.number >= 0) {
        std::size_t at = home(slot.node);
        while (slots_[at].number >= 0) at = (at + 1) & (slots_.size() - 1);
        slots_[at] = slot;
      }
  }
  /// The number of `node`, a new one if it has none.
  Index number_of(std::int64_t node) {
    for (std::size_t at = home(node);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].number < 0) {
        slots_[at] = {static_cast<cpu::GraphIndex>(node), static_cast<cpu::GraphIndex>(nodes_.size())};
        nodes_.push_back(node);
        return slots_[at].number;
      }
      if (slots_[at].node == node) return slots_[at].number;
    }
  }

 private:
  struct Slot {
    cpu::GraphIndex node = 0, number = -1;
  };
  std::size_t home(std::int64_t node) const {
    return static_cast<std::size_t>((static_cast<std::uint64_t>(node) * 0x9E3779B97F4A7C15u) >> shift_);
  }
  std::vector<Slot> slots_;
  int shift_ = 0;
  std::vector<std::int64_t> nodes_;
};

/// Draws without replacement: Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", CACM 1987), with a table
/// of what is drawn that takes as long to clear as the draws take.
class DistinctDraws {
 public:
  /// Puts into `to` `count` different numbers below `bound` >= count, in rising order; each set of them is as likely.
  void draw(Index bound, Index count, const Random& random, std::vector<Index>& to) {
    table_.assign(std::bit_ceil(static_cast<std::size_t>(2 * count + 2)), -1);
    to.resize(static_cast<std::size_t>(count));
    for (Index i = 0; i < count; ++i) {
      const Index highest = bound - count + i, drawn = random.below(static_cast<std::uint64_t>(i), highest + 1);
      const bool is_new = insert(drawn);
      if (!is_new) insert(highest);
      to[static_cast<std::size_t>(i)] = is_new ? drawn : highest;
    }
    std::sort(to.begin(), to.end());
  }

 private:
  bool insert(Index number) {
    const std::size_t last = table_.size() - 1;
    for (std::size_t at = static_cast<std::size_t>(mix(0, static_cast<std::uint64_t>(number))) & last;;
         at = (at + 1) & last) {
      if (table_[at] == number) return false;
      if (table_[at] < 0) {
        table_[at] = number;
        return true;
      }
    }
  }
  std::vector<Index> table_;
};

/// For each node up to `fan_out` of the edges into it, those of node i from starts[i] to before starts[i + 1]: their
/// sources, and their places in the graph's list.
struct DrawnEdges {
  std::vector<std::int64_t> starts{0}, listed;
  std::vector<cpu::GraphIndex> sources;

  DrawnEdges(const Graph& graph, std::span<const std::int64_t> nodes, Index fan_out, const Random& random) {
    const std::span offsets = host(graph.offsets());
    const std::span source_of = host(graph.source_of()), places = host(graph.input_order());
    const auto degree = [&](std::int64_t node) {
      return offsets[static_cast<std::size_t>(node) + 1] - offsets[static_cast<std::size_t>(node)];
    };
    for (const std::int64_t node : nodes)
      starts.push_back(starts.back() + (fan_out < 0 ? degree(node) : std::min(degree(node), fan_out)));
    sources.resize(static_cast<std::size_t>(starts.back()));
    listed.resize(sources.size());
    constexpr std::size_t chunk = 512;
    parallel_jobs(static_cast<Index>((nodes.size() + chunk - 1) / chunk), [&](Index job) {
      DistinctDraws draws;
      std::vector<Index> drawn;
      const std::size_t begin = static_cast<std::size_t>(job) * chunk, end = std::min(begin + chunk, nodes.size());
      for (std::size_t i = begin; i < end; ++i) {
        const Index all = degree(nodes[i]), taken = starts[i + 1] - starts[i];
        const bool choose = taken < all;
        if (choose) draws.draw(all, taken, random.stream(static_cast<std::uint64_t>(nodes[i])), drawn);
        for (Index e = 0; e < taken; ++e) {
          const Index nth = choose ? drawn[static_cast<std::size_t>(e)] : e;
          const auto from = static_cast<std::size_t>(offsets[static_cast<std::size_t>(nodes[i])] + nth);
          const auto to = static_cast<std::size_t>(starts[i] + e);
          sources[to] = source_of[from];
          listed[to] = places[from];
        }
      }
    });
  }
};

/// Throws unless there is a fan-out for some layer and each is at least 0 or all.
inline void check_fan_outs(const char* op, const std::vector<Index>& fan_outs, Site site) {
  if (fan_outs.empty()) fail(op, "needs a fan-out for each layer, got none", {}, site);
  for (std::size_t hop = 0; hop < fan_outs.size(); ++hop)
    if (fan_outs[hop] < kAllNeighbours)
      fail(op, {"fan-out ", hop, " is ", fan_outs[hop], ", expected 0 or more, or kAllNeighbours"}, {}, site);
}

}  // namespace detail

/// The blocks for layers that end at `seeds` [seeds], different nodes: fan_outs[0] neighbours of each seed, fan_outs[1]
/// of each node that the layer before the last then needs, and so on; all of a node that has fewer, or with
/// `kAllNeighbours`, when a layer gives the bits of the whole graph. Throws ShapeError unless the graph is on one set
/// of nodes, IndexError for a seed that is not there, ValueError for one given twice or a negative fan-out.
inline SampledBatch sample_neighbours(const Graph& graph, const Tensor<std::int64_t>& seeds,
                                      const std::vector<Index>& fan_outs, const Random& random,
                                      Site site = Site::current()) {
  const char* op = "sample_neighbours";
  detail::check_one_set(op, graph, site);
  if (seeds.rank() != 1) fail<ShapeError>(op, "seeds must be a list", {{"seeds", seeds.shape()}}, site);
  detail::check_fan_outs(op, fan_outs, site);
  detail::NodeNumbers numbers;
  numbers.reserve(static_cast<std::size_t>(seeds.count()));
  Index position = 0;
  for (const std::int64_t seed : host(seeds)) {
    if (seed < 0 || seed >= graph.sources())
      fail<IndexError>(op, {"seed ", seed, " at position ", position, " is outside 0 .. ", graph.sources() - 1},
                       {{"seeds", seeds.shape()}, {detail::kGraphSizes, detail::graph_sizes(graph)}}, site);
    if (numbers.number_of(seed) != position)
      fail(op, {"seed ", seed, " at position ", position, " is there before"}, {{"seeds", seeds.shape()}}, site);
    ++position;
  }
  SampledBatch batch{seeds, {}};
  for (std::size_t hop = 0; hop < fan_outs.size(); ++hop) {
    detail::DrawnEdges drawn(graph, numbers.nodes(), fan_outs[hop],
                             random.stream("neighbours", static_cast<std::uint64_t>(hop)));
    numbers.reserve(std::min(numbers.nodes().size() + drawn.sources.size(), static_cast<std::size_t>(graph.sources())));
    for (cpu::GraphIndex& source : drawn.sources) source = static_cast<cpu::GraphIndex>(numbers.number_of(source));
    batch.blocks.push_back({Graph::from_rows(static_cast<Index>(numbers.nodes().size()), from_vector(drawn.starts),
                                             from_vector(drawn.sources), site),
                            from_vector(numbers.nodes()), from_vector(drawn.listed)});
  }
  std::reverse(batch.blocks.begin(), batch.blocks.end());
  return batch;
}

/// Batches of seeds with their sampled neighbours, in another order each epoch. A batch depends on the loader's random
/// stream, the epoch and its number alone, so batches may be made on several threads or after a restart.
class NeighbourLoader {
 public:
  struct Options {
    Index batch_size = 1024;
    std::vector<Index> fan_outs = {10, 10};  ///< see `sample_neighbours`
    bool shuffle = true;                     ///< false: seeds in their own order, as for evaluation
  };

  /// The batches of one epoch.
  class Epoch {
   public:
    Index batches() const {
      return (static_cast<Index>(order_.size()) + options_.batch_size - 1) / options_.batch_size;
    }
    /// Batch `number`; the last one may be smaller. Throws IndexError.
    SampledBatch batch(Index number, Site site = Site::current()) const {
      if (number < 0 || number >= batches())
        fail<IndexError>("NeighbourLoader", {"batch ", number, " of ", batches()}, {}, site);
      const auto begin = order_.begin() + number * options_.batch_size;
      const auto end = order_.end() - begin < options_.batch_size ? order_.end() : begin + options_.batch_size;
      return sample_neighbours(graph_, from_vector(std::vector<std::int64_t>(begin, end)), options_.fan_outs,
                               random_.stream("batch", number), site);
    }

   private:
    friend class NeighbourLoader;
    Epoch(const Graph& graph, std::vector<std::int64_t> order, const Options& options, const Random& random)
        : graph_(graph), order_(std::move(order)), options_(options), random_(random) {}
    Graph graph_;
    std::vector<std::int64_t> order_;
    Options options_;
    Random random_;
  };

  /// `seeds` [seeds]: different nodes of the graph. Throws ValueError for a batch size below 1 or a negative fan-out.
  NeighbourLoader(const Graph& graph, const Tensor<std::int64_t>& seeds, const Options& options, const Random& random,
                  Site site = Site::current())
      : graph_(graph), seeds_(seeds), options_(options), random_(random) {
    const char* op = "NeighbourLoader";
    if (seeds.rank() != 1) fail<ShapeError>(op, "seeds must be a list", {{"seeds", seeds.shape()}}, site);
    if (options.batch_size < 1) fail(op, {"batch_size is ", options.batch_size, ", expected 1 or more"}, {}, site);
    detail::check_fan_outs(op, options.fan_outs, site);
  }

  Epoch epoch(Index number) const {
    const Random random = random_.stream("epoch", number);
    const std::span seeds = host(seeds_);
    std::vector<std::int64_t> order(seeds.begin(), seeds.end());
    if (options_.shuffle) {
      const std::vector<Index> places = random.stream("order").permutation(seeds_.count());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = seeds[static_cast<std::size_t>(places[i])];
    }
    return Epoch(graph_, std::move(order), options_, random);
  }

 private:
  Graph graph_;
  Tensor<std::int64_t> seeds_;
  Options options_;
  Random random_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
