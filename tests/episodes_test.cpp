// Episodes: what N-way K-shot means (support and query disjoint, K of each class, reproducible, uniform over classes).

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/core/parallel.hpp"
#include "graft/data/episodes.hpp"

using namespace graft;

namespace {

/// Class c has the items 100 c, 100 c + 1, ...
ClassItems numbered(Index classes, Index each) {
  ClassItems items(classes);
  for (Index c = 0; c < classes; ++c)
    for (Index i = 0; i < each; ++i) items[c].push_back(100 * c + i);
  return items;
}
std::vector<Index> range(Index count) {
  std::vector<Index> all;
  for (Index i = 0; i < count; ++i) all.push_back(i);
  return all;
}

}  // namespace

TEST_CASE("an episode holds K support and q query items of each of N classes, none of them twice", "[episodes]") {
  const ClassItems items = numbered(12, 9);
  const EpisodeOptions options{.ways = 5, .shots = 3, .queries = 4};
  for (std::uint64_t draw = 0; draw < 50; ++draw) {
    const EpisodeIndices episode = draw_episode(items, range(12), options, Random(1).stream(draw));
    REQUIRE(episode.classes.size() == 5);
    CHECK(std::set<Index>(episode.classes.begin(), episode.classes.end()).size() == 5);  // labels are a bijection
    REQUIRE(episode.support.size() == 15);
    REQUIRE(episode.query.size() == 20);
    std::set<Index> seen(episode.support.begin(), episode.support.end());
    seen.insert(episode.query.begin(), episode.query.end());
    CHECK(seen.size() == 35);
    for (std::size_t i = 0; i < 15; ++i) CHECK(episode.support[i] / 100 == episode.classes[i / 3]);
    for (std::size_t i = 0; i < 20; ++i) CHECK(episode.query[i] / 100 == episode.classes[i / 4]);
  }
}

TEST_CASE("labels count the classes of an episode", "[episodes]") {
  const Tensor<std::int64_t> labels = episode_labels(3, 2);
  CHECK(same_bits(labels, tensor<std::int64_t>({0, 0, 1, 1, 2, 2})));
  CHECK(episode_labels(3, 0).count() == 0);
  CHECK_THROWS_WITH(episode_labels(-1, 2), contains("episode_labels") && contains("-1 ways"));
  CHECK_THROWS_AS(episode_labels(Index{1} << 40, Index{1} << 40), ValueError);
}

TEST_CASE("the same stream gives the same episodes on any number of threads", "[episodes][threads]") {
  const ClassItems items = numbered(30, 20);
  const auto draw_all = [&] {
    std::vector<EpisodeIndices> drawn(64);
    parallel_tasks(64, [&](Index i) {
      drawn[static_cast<std::size_t>(i)] =
          draw_episode(items, range(30), {}, Random(4).stream(static_cast<std::uint64_t>(i)));
    });
    return drawn;
  };
  set_threads(1);
  const auto one = draw_all();
  for (int threads : {2, 3, 8}) {
    set_threads(threads);
    const auto many = draw_all();
    for (std::size_t i = 0; i < 64; ++i) {
      CHECK(many[i].classes == one[i].classes);
      CHECK(many[i].support == one[i].support);
      CHECK(many[i].query == one[i].query);
    }
  }
  set_threads(0);
  CHECK(one[0].support != one[1].support);
}

TEST_CASE("classes and items are drawn uniformly", "[episodes]") {
  const ClassItems items = numbered(10, 8);
  std::vector<double> classes(10), supports(8), queries(8);
  const int draws = 4000;
  for (std::uint64_t draw = 0; draw < draws; ++draw) {
    const EpisodeIndices episode =
        draw_episode(items, range(10), {.ways = 3, .shots = 2, .queries = 2}, Random(2).stream(draw));
    for (Index c : episode.classes) ++classes[static_cast<std::size_t>(c)];
    for (Index i : episode.support) ++supports[static_cast<std::size_t>(i % 100)];
    for (Index i : episode.query) ++queries[static_cast<std::size_t>(i % 100)];
  }
  // Draws without replacement vary less than independent ones, so the chi-square bound holds all the more: with 9 and 7
  // degrees of freedom it is exceeded with probability 0.001.
  const auto chi_square = [](const std::vector<double>& counts, double expected) {
    double chi = 0;
    for (double count : counts) chi += (count - expected) * (count - expected) / expected;
    return chi;
  };
  CHECK(chi_square(classes, draws * 3 / 10.0) < 27.9);
  CHECK(chi_square(supports, draws * 6 / 8.0) < 24.3);
  CHECK(chi_square(queries, draws * 6 / 8.0) < 24.3);
}

TEST_CASE("an impossible episode is an error that says what is missing", "[episodes]") {
  const ClassItems items = numbered(4, 3);
  REQUIRE_THROWS_WITH(draw_episode(items, range(4), {.ways = 5, .shots = 1, .queries = 1}, Random(1)),
                      contains("5 ways") && contains("4 classes"));
  REQUIRE_THROWS_WITH(draw_episode(items, range(4), {.ways = 2, .shots = 2, .queries = 2}, Random(1)),
                      contains("2 shots and 2 queries") && contains("3 items"));
  for (Index outside : {-1, 4})
    REQUIRE_THROWS_WITH(draw_episode(items, {outside}, {.ways = 1, .shots = 1, .queries = 1}, Random(1)),
                        contains("class " + std::to_string(outside)) && contains("4 classes"));
  const Index most = std::numeric_limits<Index>::max();
  REQUIRE_THROWS_AS(draw_episode(items, range(4), {.ways = 1, .shots = most, .queries = most}, Random(1)), ValueError);
  REQUIRE_THROWS_AS(draw_episode(items, range(4), {.ways = 0, .shots = 1, .queries = 1}, Random(1)), ValueError);
  REQUIRE_THROWS_AS(draw_episode(items, range(4), {.ways = 2, .shots = 0, .queries = 1}, Random(1)), ValueError);
  CHECK(draw_episode(items, range(4), {.ways = 4, .shots = 3, .queries = 0}, Random(1)).query.empty());
}
