// Edges held back from a graph: nothing of them is heard, nothing is asked twice, wrong answers are wrong.

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "graft/data/edge_split.hpp"

using namespace graft;

namespace {

using Pair = std::pair<std::int64_t, std::int64_t>;

std::set<Pair> pairs_of(const NodePairs& pairs) {
  const auto first = host(pairs.first), second = host(pairs.second);
  std::set<Pair> set;
  for (std::size_t i = 0; i < first.size(); ++i) {
    CHECK(first[i] < second[i]);
    set.emplace(first[i], second[i]);
  }
  CHECK(static_cast<Index>(set.size()) == pairs.count());  // each once
  return set;
}

/// 40 nodes, about every eighth pair with an edge; some edges listed one way only, some twice, a few self-loops.
Graph some_graph() {
  const Random random(7);
  std::vector<GraphEdge> edges;
  for (Index i = 0; i < 40; ++i)
    for (Index j = i + 1; j < 40; ++j) {
      const auto place = static_cast<std::uint64_t>(i * 40 + j);
      if (random.below(place, 8) > 0) continue;
      edges.push_back({j, i});
      if (place % 3 > 0) edges.push_back({i, j});
      if (place % 5 == 0) edges.push_back({i, j});
    }
  edges.push_back({3, 3});
  edges.push_back({9, 9});
  return Graph(40, edges);
}

bool same_pairs(const NodePairs& a, const NodePairs& b) {
  return same_bits(a.first, b.first) && same_bits(a.second, b.second);
}

}  // namespace

TEST_CASE("no direction of an edge that is held back is heard", "[data][graph]") {
  const Graph graph = some_graph();
  std::set<Pair> edges;
  for (const auto& [from, to] : edge_list(graph))
    if (from != to) edges.emplace(std::min(from, to), std::max(from, to));
  const auto count = static_cast<Index>(edges.size());
  REQUIRE(count > 60);

  const EdgeSplit split = split_edges(graph, Random(1));
  const std::set<Pair> train = pairs_of(split.train), validation = pairs_of(split.validation),
                       test = pairs_of(split.test);
  CHECK(split.validation.count() == count / 20);
  CHECK(split.test.count() == count / 10);
  std::set<Pair> all = train;
  all.insert(validation.begin(), validation.end());
  all.insert(test.begin(), test.end());
  CHECK(all == edges);
  CHECK(split.train.count() + split.validation.count() + split.test.count() == count);  // so no edge is in two parts

  CHECK(split.graph.sources() == 40);
  std::set<Pair> heard;
  for (const auto& [from, to] : edge_list(split.graph)) heard.emplace(from, to);
  CHECK(static_cast<Index>(heard.size()) == split.graph.edges());
  std::set<Pair> both_ways;
  for (const auto& [a, b] : train) {
    both_ways.emplace(a, b);
    both_ways.emplace(b, a);
  }
  CHECK(heard == both_ways);

  std::set<Pair> wrong = pairs_of(split.validation_negatives);
  for (const Pair& pair : pairs_of(split.test_negatives)) CHECK(wrong.insert(pair).second);
  CHECK(split.validation_negatives.count() == split.validation.count());
  CHECK(split.test_negatives.count() == split.test.count());
  for (const Pair& pair : wrong) CHECK(edges.count(pair) == 0);

  const EdgeSplit again = split_edges(graph, Random(1)), other = split_edges(graph, Random(2));
  CHECK(same_pairs(again.test, split.test));
  CHECK(same_pairs(again.test_negatives, split.test_negatives));
  CHECK_FALSE(same_pairs(other.test, split.test));
  CHECK_FALSE(same_pairs(other.test_negatives, split.test_negatives));
}

TEST_CASE("pairs without an edge are drawn uniformly, all if need be", "[data][graph]") {
  // Of the ten pairs of five nodes four have an edge.
  const Graph graph(5, std::vector<GraphEdge>{{0, 1}, {1, 0}, {2, 1}, {2, 3}, {4, 3}, {4, 4}});
  const std::set<Pair> free{{0, 2}, {0, 3}, {0, 4}, {1, 3}, {1, 4}, {2, 4}};
  CHECK(pairs_of(draw_unlinked(graph, 6, Random(1))) == free);
  CHECK(draw_unlinked(graph, 0, Random(1)).count() == 0);
  CHECK_THROWS_WITH(draw_unlinked(graph, 7, Random(1)), contains("7 pairs") && contains("have 6"));
  CHECK_THROWS_AS(draw_unlinked(graph, -1, Random(1)), ValueError);
  CHECK_THROWS_AS(draw_unlinked(Graph(2, 3, {}), 1, Random(1)), ShapeError);

  // Both ways of drawing, as one of six is a small share of all pairs and three are a large one: a pair is drawn with
  // probability 1/6 and 1/2; five deviations of the binomial count.
  for (const Index count : {1, 3}) {
    std::vector<int> times(25);
    for (std::uint64_t i = 0; i < 6000; ++i)
      for (const auto& [a, b] : pairs_of(draw_unlinked(graph, count, Random(5).stream(i)))) ++times[5 * a + b];
    const double chance = static_cast<double>(count) / 6;
    for (const auto& [a, b] : free)
      CHECK(std::abs(times[5 * a + b] - 6000 * chance) < 5 * std::sqrt(6000 * chance * (1 - chance)));
  }
}

TEST_CASE("a split that leaves a part without edges is refused", "[data][graph]") {
  const Graph graph = some_graph();
  CHECK_THROWS_AS(split_edges(graph, Random(), {.validation = 0.001}), ValueError);
  CHECK_THROWS_AS(split_edges(graph, Random(), {.test = 0}), ValueError);
  CHECK_THROWS_AS(split_edges(graph, Random(), {.validation = 0.5, .test = 0.6}), ValueError);
  CHECK_THROWS_AS(split_edges(graph, Random(), {.test = NAN}), ValueError);
  CHECK_THROWS_AS(split_edges(Graph(2, 3, {}), Random()), ShapeError);
  std::vector<GraphEdge> complete;
  for (Index i = 0; i < 8; ++i)
    for (Index j = 0; j < i; ++j) complete.push_back({i, j});
  CHECK_THROWS_WITH(split_edges(Graph(8, complete), Random()), contains("split_edges") && contains("have 0"));
}
