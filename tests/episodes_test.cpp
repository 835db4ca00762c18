// Episodes: what N-way K-shot means (support and query disjoint, K of each class, reproducible, uniform over classes).

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/core/parallel.hpp"
#include "graft/data/episodes.hpp"
#include "messages.hpp"

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
      drawn[i] = draw_episode(items, range(30), {}, Random(4).stream(static_cast<std::uint64_t>(i)));
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
    for (Index c : episode.classes) ++classes[c];
    for (Index i : episode.support) ++supports[i % 100];
    for (Index i : episode.query) ++queries[i % 100];
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

TEST_CASE("episodes of equal sizes are drawn as they always were", "[episodes]") {
  // The rule that records of earlier runs stand on: classes are the first of a permutation, items those of a
  // permutation of each class's own stream, support first.
  const ClassItems items = numbered(12, 9);
  std::vector<Index> of = range(12);
  std::reverse(of.begin(), of.end());
  const EpisodeOptions options{.ways = 5, .shots = 2, .queries = 3};
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    const Random random = Random(11).stream(draw);
    const EpisodeIndices episode = draw_episode(items, of, options, random);
    EpisodeIndices expected;
    for (const Index rank : random.stream("classes").permutation(12, 5)) {
      const Index chosen = of[rank];
      const std::vector<Index> order =
          random.stream("items").stream(static_cast<std::uint64_t>(expected.classes.size())).permutation(9, 5);
      for (std::size_t i = 0; i < 5; ++i)
        (i < 2 ? expected.support : expected.query).push_back(items[chosen][order[i]]);
      expected.classes.push_back(chosen);
    }
    CHECK(episode.classes == expected.classes);
    CHECK(episode.support == expected.support);
    CHECK(episode.query == expected.query);
    CHECK(episode.support_labels == std::vector<Index>{0, 0, 1, 1, 2, 2, 3, 3, 4, 4});
    CHECK(episode.query_labels == std::vector<Index>{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4});
  }
}

TEST_CASE("episodes of unequal sizes do not depend on the number of threads", "[episodes][threads]") {
  const ClassItems items = numbered(30, 90);
  const EpisodeOptions o{.ways = 6,
                         .shots = 3,
                         .queries = 5,
                         .unlabelled = 2,
                         .distractors = 3,
                         .fewest_ways = 2,
                         .fewest_shots = 1,
                         .concentration = 2};
  const auto draw_all = [&](int threads) {
    set_threads(threads);
    std::vector<EpisodeIndices> drawn(64);
    parallel_tasks(64, [&](Index i) {
      drawn[i] = draw_episode(items, range(30), o, Random(4).stream(static_cast<std::uint64_t>(i)));
    });
    return drawn;
  };
  const auto one = draw_all(1);
  for (int threads : {2, 3, 8}) {
    const auto many = draw_all(threads);
    for (std::size_t i = 0; i < 64; ++i) {
      CHECK(many[i].classes == one[i].classes);
      CHECK(many[i].support == one[i].support);
      CHECK(many[i].query == one[i].query);
      CHECK(many[i].unlabelled == one[i].unlabelled);
      CHECK(many[i].others == one[i].others);
    }
  }
  set_threads(0);
}

TEST_CASE("unlabelled items and distractors move no other draw", "[episodes]") {
  const ClassItems items = numbered(12, 20);
  const EpisodeOptions plain{.ways = 5, .shots = 2, .queries = 4};
  EpisodeOptions more = plain;
  more.unlabelled = 3;
  more.distractors = 2;
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    const EpisodeIndices a = draw_episode(items, range(12), plain, Random(9).stream(draw)),
                         b = draw_episode(items, range(12), more, Random(9).stream(draw));
    CHECK(a.classes == b.classes);
    CHECK(a.support == b.support);
    CHECK(a.query == b.query);
    CHECK(a.unlabelled.empty());
    REQUIRE(b.unlabelled.size() == 3 * 7);
    std::set<Index> seen(b.support.begin(), b.support.end());
    seen.insert(b.query.begin(), b.query.end());
    seen.insert(b.unlabelled.begin(), b.unlabelled.end());
    CHECK(seen.size() == 10 + 20 + 21);
    std::set<Index> distractors;
    for (std::size_t i = 0; i < b.unlabelled.size(); ++i) {
      CHECK(b.unlabelled[i] / 100 == b.others[i]);
      const bool known = std::find(b.classes.begin(), b.classes.end(), b.others[i]) != b.classes.end();
      CHECK(known == (i < 15));
      if (!known) distractors.insert(b.others[i]);
    }
    CHECK(distractors.size() == 2);
  }
}

TEST_CASE("labels are split once, and episodes take unlabelled items from their own pool", "[episodes]") {
  const ClassItems items = numbered(6, 20);
  const LabelSplit split = split_labels(items, 2, Random(3));
  for (Index c = 0; c < 6; ++c) {
    CHECK(split.labelled[c].size() == 2);
    std::vector<Index> all(split.labelled[c].begin(), split.labelled[c].end());
    all.insert(all.end(), split.unlabelled[c].begin(), split.unlabelled[c].end());
    std::sort(all.begin(), all.end());
    CHECK(all == std::vector<Index>(items[c].begin(), items[c].end()));
  }
  const EpisodeOptions o{.ways = 3, .shots = 1, .queries = 1, .unlabelled = 5};
  const EpisodeIndices episode = draw_episode(split.labelled, range(6), o, Random(4), split.unlabelled);
  REQUIRE(episode.unlabelled.size() == 15);
  for (std::size_t i = 0; i < 15; ++i) {
    const List<Index>& pool = split.unlabelled[episode.others[i]];
    CHECK(std::find(pool.begin(), pool.end(), episode.unlabelled[i]) != pool.end());
  }
  CHECK_THROWS_WITH(split_labels(items, 21, Random(1)), contains("21 labelled items, but class 0 has 20"));
  // Three classes in two forms each, whose items are the same: what is labelled in one form is in the other.
  ClassItems forms;
  for (Index c = 0; c < 6; ++c) forms.push_back(items[c / 2]);
  const LabelSplit both = split_labels(forms, 2, Random(3), 2);
  for (Index c = 0; c < 6; ++c) {
    const auto alike = [](const List<Index>& a, const List<Index>& b) {
      return std::equal(a.begin(), a.end(), b.begin(), b.end());
    };
    CHECK(alike(both.labelled[c], both.labelled[c / 2 * 2]));
    CHECK(alike(both.unlabelled[c], both.unlabelled[c / 2 * 2]));
    CHECK(alike(both.labelled[c], split.labelled[c / 2]));
  }
  CHECK_THROWS_WITH(split_labels(items, 2, Random(1), 4), contains("6 classes in 4 forms"));
  CHECK_THROWS_AS(draw_episode(split.labelled, range(6), {.ways = 3, .shots = 1, .queries = 1, .unlabelled = 19},
                               Random(4), split.unlabelled),
                  ValueError);
}

TEST_CASE("ways and shots are drawn between their limits, each number as often", "[episodes]") {
  const ClassItems items = numbered(12, 20);
  const EpisodeOptions o{.ways = 7, .shots = 4, .queries = 2, .fewest_ways = 3, .fewest_shots = 2};
  std::vector<double> ways(8), shots(5);
  double classes = 0;
  for (std::uint64_t draw = 0; draw < 600; ++draw) {
    const EpisodeIndices episode = draw_episode(items, range(12), o, Random(6).stream(draw));
    ++ways[episode.classes.size()];
    std::vector<std::size_t> own(episode.classes.size());
    for (const Index label : episode.support_labels) ++own[label];
    for (const std::size_t count : own) ++shots[count], ++classes;
    CHECK(episode.query.size() == 2 * episode.classes.size());
  }
  // 120 expected with deviation 10; a third of about 3000 classes with deviation 26.
  for (std::size_t n = 3; n <= 7; ++n) CHECK(std::abs(ways[n] - 120) < 45);
  for (std::size_t n = 2; n <= 4; ++n) CHECK(std::abs(shots[n] - classes / 3) < 110);
}

TEST_CASE("queries are shared out by a Dirichlet distribution", "[episodes]") {
  const ClassItems items = numbered(5, 100);
  double squares = 0, count = 0;
  for (std::uint64_t draw = 0; draw < 800; ++draw) {
    const EpisodeIndices episode = draw_episode(
        items, range(5), {.ways = 5, .shots = 1, .queries = 15, .concentration = 2}, Random(8).stream(draw));
    REQUIRE(episode.query.size() == 75);
    std::vector<double> own(5);
    for (const Index label : episode.query_labels) ++own[label];
    for (const double n : own) squares += (n / 75 - 0.2) * (n / 75 - 0.2), ++count;
  }
  // A share's variance is a (A - a) / (A^2 (A + 1)) with a = 2, A = 10; rounding to whole queries adds 1 / (12 75^2).
  CHECK(squares / count == Approx(2.0 * 8 / (100 * 11) + 1 / (12.0 * 75 * 75)).epsilon(0.06));
}

TEST_CASE("options of episodes that cannot be are refused", "[episodes]") {
  const ClassItems items = numbered(4, 6);
  const auto refused = [&](const EpisodeOptions& o) {
    return message<ValueError>([&] { draw_episode(items, range(4), o, Random(1)); });
  };
  CHECK_THAT(refused({.ways = 3, .shots = 1, .queries = 1, .unlabelled = 1, .distractors = 2}),
             contains("3 ways and 2 distractors, but there are 4 classes"));
  CHECK_THAT(refused({.ways = 2, .shots = 1, .queries = 2, .unlabelled = 4}), contains("4 unlabelled and 2 queries"));
  CHECK_THAT(refused({.ways = 2, .shots = 1, .queries = 1, .unlabelled = -1}), contains("-1 unlabelled"));
  CHECK_THAT(refused({.ways = 2, .shots = 1, .queries = 1, .fewest_ways = 3}), contains("at least 3 of 2 ways"));
  CHECK_THAT(refused({.ways = 2, .shots = 1, .queries = 1, .concentration = NAN}), contains("concentration is nan"));
  const Index most = std::numeric_limits<Index>::max();
  CHECK_THAT(refused({.ways = 2, .shots = 1, .queries = most, .concentration = 2}), contains("each of 2 classes"));
  // Shares so unequal that one class gets all queries, and more than it has.
  CHECK_THAT(refused({.ways = 2, .shots = 1, .queries = 4, .concentration = 1e-3}), contains("1 shots and 8 queries"));
}
