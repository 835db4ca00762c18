// Neighbour sampling, tagged [graph]: blocks are parts of the graph, draws are uniform and depend on no thread, and
// all neighbours give the bits of the whole graph.

#include <algorithm>
#include <cmath>
#include <set>

#include "catch.hpp"
#include "graft/graph/sampling.hpp"
#include "graft/ops/graph_attention.hpp"

using namespace graft;

namespace {

using Edges = std::vector<GraphEdge>;

/// Destinations hear from none to very many: node i about as often as 1 / (i + 1) says. In no order.
Graph uneven_graph(Index nodes, Index count, std::uint64_t seed) {
  const Random random(seed);
  Edges edges;
  for (Index e = 0; e < count; ++e) {
    const double u = random.uniform(static_cast<std::uint64_t>(2 * e));
    edges.push_back({random.below(static_cast<std::uint64_t>(2 * e + 1), nodes),
                     static_cast<Index>(std::pow(static_cast<double>(nodes), u)) - 1});
  }
  return Graph(nodes, edges);
}
Tensor<std::int64_t> list(std::initializer_list<std::int64_t> nodes) { return tensor<std::int64_t>(nodes); }
Tensor<double> normal(const Shape& shape, std::uint64_t stream) {
  return randn<double>(shape, Random(11).stream(stream));
}
std::size_t place(Index i) { return static_cast<std::size_t>(i); }
bool same_batches(const SampledBatch& a, const SampledBatch& b) {
  bool same = same_bits(a.seeds, b.seeds) && a.blocks.size() == b.blocks.size();
  for (std::size_t l = 0; same && l < a.blocks.size(); ++l)
    same = same_bits(a.blocks[l].sources, b.blocks[l].sources) && same_bits(a.blocks[l].edges, b.blocks[l].edges) &&
           same_bits(a.blocks[l].graph.offsets(), b.blocks[l].graph.offsets()) &&
           same_bits(a.blocks[l].graph.source_of(), b.blocks[l].graph.source_of());
  return same;
}

}  // namespace

TEST_CASE("blocks are parts of the graph that fit each other", "[graph]") {
  const Graph graph = uneven_graph(60, 700, 1);
  const Edges edges = edge_list(graph);
  const std::vector<Index> fan_outs{3, 50, 2};
  const SampledBatch batch = sample_neighbours(graph, list({0, 7, 59, 1}), fan_outs, Random(2));
  REQUIRE(batch.blocks.size() == 3);
  CHECK(same_bits(batch.nodes(), batch.blocks[0].sources));
  CHECK(batch.blocks[2].graph.destinations() == 4);
  for (std::size_t l = 0; l < 3; ++l) {
    const SampledBlock& block = batch.blocks[l];
    const Tensor<std::int64_t>& after = l + 1 < 3 ? batch.blocks[l + 1].sources : batch.seeds;
    // The destinations are what the next layer reads, and the first of the sources; no source stands there twice.
    REQUIRE(block.graph.destinations() == after.count());
    CHECK(same_bits(slice(block.sources, 0, 0, after.count()), after));
    CHECK(std::set<std::int64_t>(block.sources.span().begin(), block.sources.span().end()).size() ==
          block.sources.span().size());
    // Every edge is one of the graph's, none twice, as many as the fan-out or all.
    const Edges drawn = edge_list(block.graph);
    std::set<std::int64_t> once;
    for (std::size_t e = 0; e < drawn.size(); ++e) {
      const std::int64_t from = block.edges.data()[e];
      once.insert(from);
      CHECK(edges[place(from)] ==
            GraphEdge{block.sources.at({drawn[e].source}), block.sources.at({drawn[e].destination})});
    }
    CHECK(once.size() == drawn.size());
    const Tensor<std::int64_t> taken = in_degrees(block.graph), all = in_degrees(graph);
    for (Index i = 0; i < after.count(); ++i)
      CHECK(taken.at({i}) == std::min<Index>(fan_outs[2 - l], all.at({after.at({i})})));
  }
}

TEST_CASE("all neighbours give the bits of the whole graph", "[graph]") {
  const Graph graph = with_self_loops(uneven_graph(80, 500, 3));
  const Tensor<double> x = normal({80, 5}, 1), weights = normal({graph.edges()}, 2);
  const Tensor<std::int64_t> seeds = list({5, 79, 0, 33});
  for (const Index fan_out : {kAllNeighbours, Index{1000}}) {
    const SampledBatch batch = sample_neighbours(graph, seeds, {fan_out, fan_out}, Random(4));
    const auto layers = [](const Graph& inner, const Graph& outer, const Tensor<double>& in, const Tensor<double>& w) {
      return neighbour_max(outer, relu(neighbour_sum(inner, in, w))) + neighbour_mean(outer, neighbour_sum(inner, in));
    };
    const Tensor<double> sampled = layers(batch.blocks[0].graph, batch.blocks[1].graph, gather(x, batch.nodes()),
                                          gather(weights, batch.blocks[0].edges));
    CHECK(same_bits(sampled, gather(layers(graph, graph, x, weights), seeds)));
    // Attention walks the rows of both in the same order too.
    const Graph& block = batch.blocks[1].graph;
    const Tensor<double> v = normal({80, 2, 3}, 5), s = normal({80, 2}, 6), d = normal({80, 2}, 7);
    const Tensor<std::int64_t>& nodes = batch.blocks[1].sources;
    CHECK(same_bits(graph_attention(block, gather(v, nodes), gather(s, nodes), gather(d, seeds)),
                    gather(graph_attention(graph, v, s, d), seeds)));
  }
}

TEST_CASE("a sampled mean is the mean of all neighbours on average", "[graph]") {
  // Without replacement, the mean of f of d numbers has the variance s^2 / f (1 - f / d) (s^2: over d - 1), so the mean
  // of n draws lies within 5 standard deviations but for one time in a million; and the draws vary as much as that.
  const Index degree = 23, draws = 4000;
  Edges edges;
  for (Index j = 0; j < degree; ++j) edges.push_back({j, 0});
  const Graph graph(degree, edges);
  const Tensor<double> x = normal({degree}, 1);
  double mean = 0, variance = 0;
  for (Index j = 0; j < degree; ++j) mean += x.at({j}) / static_cast<double>(degree);
  for (Index j = 0; j < degree; ++j) variance += std::pow(x.at({j}) - mean, 2) / static_cast<double>(degree - 1);
  for (const Index fan_out : {1, 4, 12, 22}) {
    std::vector<Index> times(place(degree), 0);
    double total = 0, squares = 0;
    for (Index n = 0; n < draws; ++n) {
      const SampledBatch batch =
          sample_neighbours(graph, list({0}), {fan_out}, Random(9).stream(static_cast<std::uint64_t>(n)));
      const double drawn = neighbour_mean(batch.blocks[0].graph, gather(x, batch.nodes())).at({0});
      total += drawn / static_cast<double>(draws);
      squares += std::pow(drawn - mean, 2) / static_cast<double>(draws);
      for (const std::int64_t e : batch.blocks[0].edges.span()) ++times[place(e)];
    }
    const double f = static_cast<double>(fan_out), d = static_cast<double>(degree), n = static_cast<double>(draws);
    const double expected = variance / f * (1 - f / d);
    CHECK(std::abs(total - mean) < 5 * std::sqrt(expected / n));
    // The variance of n squares of about normal numbers is 2 / n of their mean's square; three times that for others.
    CHECK(std::abs(squares / expected - 1) < 5 * std::sqrt(6 / n));
    // Each neighbour is drawn with probability f / d.
    for (const Index count : times)
      CHECK(std::abs(static_cast<double>(count) - n * f / d) < 5.5 * std::sqrt(n * f / d * (1 - f / d)));
  }
}

TEST_CASE("what a node draws depends neither on threads nor on other seeds", "[graph]") {
  const Graph graph = uneven_graph(3000, 60000, 5);
  std::vector<std::int64_t> seeds;
  for (Index i = 0; i < 2500; ++i) seeds.push_back((7 * i) % 3000);
  const auto sample = [&](const std::vector<std::int64_t>& of, std::uint64_t seed) {
    return sample_neighbours(graph, from_vector(of), {5, 3}, Random(seed));
  };
  const SampledBatch first = sample(seeds, 1);
  for (const int threads : {1, 2, 3, 8}) {
    set_threads(threads);
    CHECK(same_batches(sample(seeds, 1), first));
  }
  set_threads(0);
  CHECK_FALSE(same_batches(sample(seeds, 2), first));
  // The edges into one seed, alone and among the others.
  const SampledBatch alone = sample({seeds[11]}, 1);
  const Graph& all = first.blocks[1].graph;
  const Index begin = all.offsets().at({11}), end = all.offsets().at({12});
  CHECK(same_bits(alone.blocks[1].edges, slice(first.blocks[1].edges, 0, begin, end)));
  // The two layers draw anew: that some seed hears others in its second turn is as good as certain.
  const Graph& inner = first.blocks[0].graph;
  Index differ = 0;
  for (Index i = 0; i < 2500; ++i) {
    const std::span<const std::int64_t> a = first.blocks[0].edges.span(), b = first.blocks[1].edges.span();
    const auto has = [&](std::int64_t e) {
      return std::find(b.begin() + all.offsets().at({i}), b.begin() + all.offsets().at({i + 1}), e) !=
             b.begin() + all.offsets().at({i + 1});
    };
    for (Index e = inner.offsets().at({i}); e < inner.offsets().at({i + 1}); ++e) differ += !has(a[place(e)]);
  }
  CHECK(differ > 100);
}

TEST_CASE("a loader goes through its seeds once an epoch", "[graph]") {
  const Graph graph = uneven_graph(50, 300, 6);
  const Tensor<std::int64_t> seeds = list({3, 9, 27, 31, 12, 48, 0});
  const NeighbourLoader loader(graph, seeds, {.batch_size = 3, .fan_outs = {2}}, Random(7));
  const auto first = loader.epoch(0), second = loader.epoch(1);
  REQUIRE(first.batches() == 3);
  std::vector<std::int64_t> seen, again;
  for (Index b = 0; b < 3; ++b) {
    const SampledBatch batch = first.batch(b);
    CHECK(batch.seeds.count() == (b < 2 ? 3 : 1));
    CHECK(same_batches(batch, loader.epoch(0).batch(b)));
    seen.insert(seen.end(), batch.seeds.span().begin(), batch.seeds.span().end());
    const Tensor<std::int64_t> other = second.batch(b).seeds;
    again.insert(again.end(), other.span().begin(), other.span().end());
  }
  CHECK(seen != again);
  std::sort(seen.begin(), seen.end());
  CHECK(seen == std::vector<std::int64_t>{0, 3, 9, 12, 27, 31, 48});
  const NeighbourLoader in_order(graph, seeds, {.batch_size = 7, .fan_outs = {2}, .shuffle = false}, Random(7));
  CHECK(same_bits(in_order.epoch(4).batch(0).seeds, seeds));
  CHECK_THROWS_WITH(first.batch(3), contains("batch 3 of 3") && contains("sampling_test.cpp"));
  CHECK_THROWS_AS(NeighbourLoader(graph, seeds, {.batch_size = 0}, Random(1)), ValueError);
  CHECK_THROWS_AS(NeighbourLoader(graph, zeros<std::int64_t>({2, 2}), {}, Random(1)), ShapeError);
}

TEST_CASE("sampling names what does not fit", "[graph]") {
  const Graph graph = uneven_graph(50, 300, 8);
  const auto sample = [&](const Tensor<std::int64_t>& seeds, const std::vector<Index>& fan_outs) {
    return sample_neighbours(graph, seeds, fan_outs, Random(1));
  };
  CHECK_THROWS_WITH(sample(list({1, 50}), {2}),
                    contains("graft: sample_neighbours: seed 50 at position 1") && contains("sampling_test.cpp"));
  CHECK_THROWS_AS(sample(list({-1}), {2}), IndexError);
  CHECK_THROWS_WITH(sample(list({4, 2, 4}), {2}), contains("seed 4 at position 2 is there before"));
  CHECK_THROWS_WITH(sample(list({1}), {2, -3}), contains("fan-out 1 is -3"));
  CHECK_THROWS_AS(sample(list({1}), {}), ValueError);
  CHECK_THROWS_AS(sample(zeros<std::int64_t>({1, 1}), {2}), ShapeError);
  CHECK_THROWS_AS(sample_neighbours(Graph(2, 3, Edges{}), list({0}), {1}, Random(1)), ShapeError);
  // Nothing to draw: fan-outs of 0, no seeds, nodes without edges.
  CHECK(sample(list({1, 2}), {0}).blocks[0].graph.edges() == 0);
  CHECK(sample(zeros<std::int64_t>({0}), {3, 3}).nodes().count() == 0);
  const SampledBatch lone = sample_neighbours(Graph(3, Edges{}), list({2}), {5}, Random(1));
  CHECK(same_bits(lone.nodes(), list({2})));
}
