#include "graft/data/described_items.hpp"

#include "catch.hpp"
#include "graft/graft.hpp"
#include "graft/ops/statistics.hpp"

using namespace graft;

namespace {
double inner(const Tensor<>& a, const Tensor<>& b) { return sum(a * b).item(); }
}  // namespace

TEST_CASE("described items have the shapes that were asked for, by seed", "[data]") {
  const DescribedItemsOptions o{.classes = 6, .items = 3, .tokens = 4, .width = 10, .meaning = 5};
  const DescribedItems set = make_described_items(Random(1), o), again = make_described_items(Random(1), o);
  CHECK(set.x.shape() == Shape{18, 10});
  CHECK(set.labels.shape() == Shape{18});
  CHECK(set.tokens.shape() == Shape{6, 4, 10});
  CHECK(set.informative.shape() == Shape{6});
  CHECK(same_bits(set.tokens, again.tokens));
  CHECK(same_bits(set.x, again.x));
  CHECK_FALSE(same_bits(set.x, make_described_items(Random(2), o).x));
}

TEST_CASE("without noise all items of a class are one, as long as what their informative token says", "[data]") {
  const DescribedItems set = make_described_items(Random(3), {.classes = 20, .items = 2, .noise = 0});
  for (Index c = 0; c < 20; ++c) {
    const Tensor<> first = slice(set.x, 0, 2 * c, 2 * c + 1), second = slice(set.x, 0, 2 * c + 1, 2 * c + 2);
    CHECK(max(abs(first - second)).item() < 1e-6);
    const Tensor<> own = slice(set.tokens, 0, c, c + 1);
    const auto at = set.informative.at({c});
    const Tensor<> token = slice(own, 1, at, at + 1);
    // A and B keep lengths; the mark of 2 is at right angles.
    CHECK(inner(token, token) == Approx(inner(first, first) + 4).epsilon(1e-4));
  }
}

TEST_CASE("one token in a description bears the mark, at any place", "[data]") {
  const DescribedItems set = make_described_items(Random(4), {.classes = 100, .items = 1});
  // All other tokens share -2 of a unit vector: the mean of tokens that are not informative points along it.
  const auto is_own = generate({100, 8, 1}, [&](Index c, Index t, Index) { return set.informative.at({c}) == t; });
  const Tensor<> others = sum(where(is_own, zeros<float>({100, 8, 32}), set.tokens), {0, 1}) / 700.0f;
  const Tensor<> mark = others / norm(others).item();
  const Tensor<> along = sum(set.tokens * mark, {2});
  std::vector<Index> places(8);
  for (Index c = 0; c < 100; ++c) {
    Index above = 0;
    for (Index t = 0; t < 8; ++t) above += along.at({c, t}) < 0;
    CHECK(above == 1);
    CHECK(along.at({c, set.informative.at({c})}) < 0);
    ++places[set.informative.at({c})];
  }
  for (const Index count : places) CHECK(count > 2);
}

TEST_CASE("described items of impossible sizes are refused", "[data]") {
  CHECK_THROWS_WITH(make_described_items(Random(1), {.width = 4, .meaning = 4}), contains("meanings of 4"));
  CHECK_THROWS_AS(make_described_items(Random(1), {.tokens = 0}), ValueError);
  CHECK_THROWS_AS(make_described_items(Random(1), {.noise = -1}), ValueError);
}
