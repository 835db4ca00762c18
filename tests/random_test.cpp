// Random streams: published known answers of the generator, moments, and independence of streams.

#include <algorithm>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/core/parallel.hpp"
#include "graft/ops/sampling.hpp"

using namespace graft;

namespace {

using Words = std::array<std::uint32_t, 4>;

/// Mean of f(i) over the first `count` indices.
template <class F>
double average(int count, F f) {
  double total = 0;
  for (int i = 0; i < count; ++i) total += f(static_cast<std::uint64_t>(i));
  return total / count;
}

}  // namespace

TEST_CASE("Philox 4x32-10 gives the published known answers", "[random]") {
  // kat_vectors of Random123 (Salmon, Moraes, Dror, Shaw 2011).
  CHECK(detail::philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(detail::philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(detail::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("the counter of a stream is (block, stream), the key is the seed", "[random]") {
  CHECK(Random(0).words(0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  // Two 64-bit draws a block, in the order of its words.
  CHECK(Random(0).bits(0) == 0x6627e8d5e169c58dull);
  CHECK(Random(0).bits(1) == 0xbc57ac4c9b00dbd8ull);
  CHECK(Random(5).bits(7) != Random(6).bits(7));
}

TEST_CASE("uniform draws have the moments of a uniform distribution", "[random]") {
  const Random random = Random(3).stream("uniform");
  constexpr int n = 200000;
  double lowest = 1, highest = 0;
  int histogram[16] = {};
  for (int i = 0; i < n; ++i) {
    const double u = random.uniform(static_cast<std::uint64_t>(i));
    lowest = std::min(lowest, u);
    highest = std::max(highest, u);
    ++histogram[static_cast<int>(u * 16)];
  }
  CHECK(lowest >= 0);
  CHECK(highest < 1);
  // Standard errors: sqrt(1/12 / n) for the mean; five of them.
  CHECK(std::abs(average(n, [&](auto i) { return random.uniform(i); }) - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  // Chi-squared with 15 degrees of freedom exceeds 44.3 once in 10 000 seeds.
  double chi = 0;
  for (int count : histogram) chi += (count - n / 16.0) * (count - n / 16.0) / (n / 16.0);
  CHECK(chi < 44.3);
  // Neighbouring draws are uncorrelated: the mean product is 1/4 with deviation below sqrt(1/9 / n).
  CHECK(std::abs(average(n, [&](auto i) { return random.uniform(i) * random.uniform(i + 1); }) - 0.25) <
        5 * std::sqrt(1.0 / 9 / n));
  CHECK(random.uniform(9, -2, 6) == -2 + 8 * random.uniform(9));
}

TEST_CASE("normal draws have the moments of a standard normal distribution", "[random]") {
  const Random random = Random(4).stream("normal");
  constexpr int n = 200000;
  const auto moment = [&](int power) { return average(n, [&](auto i) { return std::pow(random.normal(i), power); }); };
  // E x^2k of a standard normal: 1, 3, 15, 105; the deviation of the mean of x^k is sqrt(E x^2k / n) at most.
  CHECK(std::abs(moment(1)) < 5 * std::sqrt(1.0 / n));
  CHECK(std::abs(moment(2) - 1) < 5 * std::sqrt(3.0 / n));
  CHECK(std::abs(moment(3)) < 5 * std::sqrt(15.0 / n));
  CHECK(std::abs(moment(4) - 3) < 5 * std::sqrt(105.0 / n));
  // The two numbers of one Box-Muller pair are uncorrelated.
  CHECK(std::abs(average(n / 2, [&](auto i) { return random.normal(2 * i) * random.normal(2 * i + 1); })) <
        5 * std::sqrt(2.0 / n));
  // P(|x| > 1.959964) = 0.05.
  const double tail = average(n, [&](auto i) { return std::abs(random.normal(i)) > 1.959964; });
  CHECK(std::abs(tail - 0.05) < 5 * std::sqrt(0.05 * 0.95 / n));
}

TEST_CASE("integers below a bound are uniform and below it", "[random]") {
  const Random random = Random(5).stream("below");
  int histogram[7] = {};
  constexpr int n = 70000;
  for (int i = 0; i < n; ++i) {
    const Index value = random.below(static_cast<std::uint64_t>(i), 7);
    REQUIRE(value >= 0);
    REQUIRE(value < 7);
    ++histogram[value];
  }
  double chi = 0;
  for (int count : histogram) chi += (count - n / 7.0) * (count - n / 7.0) / (n / 7.0);
  CHECK(chi < 27.9);  // 6 degrees of freedom: exceeded once in 10 000 seeds
  CHECK(random.below(0, 1) == 0);
  CHECK_THROWS_WITH(random.below(0, 0), contains("Random::below") && contains("bound is 0"));
}

TEST_CASE("permutations are permutations, and every order is as likely", "[random]") {
  for (Index n : {0, 1, 2, 17, 1000}) {
    std::vector<Index> order = Random(1).stream(static_cast<std::uint64_t>(n)).permutation(n);
    std::sort(order.begin(), order.end());
    for (Index i = 0; i < n; ++i) REQUIRE(order[i] == i);
    CHECK(static_cast<Index>(order.size()) == n);
  }
  // Part of a permutation is its beginning.
  const Random random = Random(2).stream("order");
  const auto whole = random.permutation(10), part = random.permutation(10, 4);
  CHECK(part == std::vector<Index>(whole.begin(), whole.begin() + 4));
  CHECK_THROWS_WITH(random.permutation(3, 4), contains("Random::permutation") && contains("4 of 3"));
  CHECK_THROWS_WITH(random.permutation(3, -1), contains("Random::permutation") && contains("-1 of 3"));
  CHECK_THROWS_WITH(random.permutation(-1), contains("Random::permutation") && contains("of -1 numbers"));

  int histogram[6] = {};
  constexpr int n = 60000;
  for (int i = 0; i < n; ++i) {
    const auto order = Random(7).stream("orders").stream(static_cast<std::uint64_t>(i)).permutation(3);
    ++histogram[order[0] * 2 + (order[1] > order[2])];
  }
  double chi = 0;
  for (int count : histogram) chi += (count - n / 6.0) * (count - n / 6.0) / (n / 6.0);
  CHECK(chi < 25.8);  // 5 degrees of freedom: exceeded once in 10 000 seeds
}

TEST_CASE("streams are told apart by purpose and do not move one another", "[random]") {
  const Random root(11);
  const Random streams[] = {root,
                            root.stream("dropout"),
                            root.stream("initialisation"),
                            root.stream("dropout").stream(1),
                            root.stream("dropout").stream(2),
                            root.stream(1),
                            root.stream(1).stream("dropout"),
                            root.stream(std::uint64_t{0}),
                            root.stream("")};
  constexpr int n = 20000;
  for (std::size_t a = 0; a < std::size(streams); ++a)
    for (std::size_t b = 0; b < a; ++b) {
      CHECK_FALSE(streams[a] == streams[b]);
      // Uncorrelated: E (u - 1/2)(v - 1/2) = 0 with deviation 1/12 a draw.
      const double product =
          average(n, [&](auto i) { return (streams[a].uniform(i) - 0.5) * (streams[b].uniform(i) - 0.5); });
      CHECK(std::abs(product) < 5 / 12.0 / std::sqrt(n));
    }
  CHECK(root.stream("dropout", 7) == root.stream("dropout").stream(7));
  // The same name gives the same stream, whatever else was drawn in between.
  const double before = root.stream("dropout").stream(3).uniform(5);
  (void)root.stream("data augmentation").uniform(5);
  CHECK(root.stream("dropout").stream(3).uniform(5) == before);
  static_assert(Random(1).stream("a").uniform(0) == Random(1).stream("a").uniform(0));
}

TEST_CASE("element i of a random tensor is draw i of its stream", "[random]") {
  const Random random = Random(12).stream("weights");
  const Tensor<double> normal = randn<double>({3, 5}, random), uniform = rand<double>({4}, random, -2, 2);
  for (int i = 0; i < 15; ++i) CHECK(normal.data()[i] == random.normal(static_cast<std::uint64_t>(i)));
  for (int i = 0; i < 4; ++i) CHECK(uniform.data()[i] == random.uniform(static_cast<std::uint64_t>(i), -2, 2));
  // A longer tensor begins with the same numbers.
  const Tensor<float> longer = randn<float>({40}, random), shorter = randn<float>({7}, random);
  for (int i = 0; i < 7; ++i) CHECK(longer.data()[i] == shorter.data()[i]);
}

TEST_CASE("classes are drawn as often as their probabilities say", "[random]") {
  constexpr Index n = 60000;
  const std::vector<double> weights = {1, 0, 2, 5};  // of 8
  const auto expect = [&](const Tensor<std::int64_t>& drawn) {
    CHECK(drawn.shape() == Shape{n});
    double chi = 0;
    for (std::size_t c = 0; c < weights.size(); ++c) {
      const double expected = static_cast<double>(n) * weights[c] / 8;
      const double count = static_cast<double>(std::count(drawn.span().begin(), drawn.span().end(), c));
      if (weights[c] == 0)
        CHECK(count == 0);
      else
        chi += (count - expected) * (count - expected) / expected;
    }
    CHECK(chi < 18.5);  // 2 degrees of freedom: exceeded once in 10 000 seeds
  };
  const Random random = Random(6).stream("classes");
  const auto rows = [&](auto number) { return generate({n, 4}, [&](Index, Index c) { return number(weights[c]); }); };
  expect(categorical(rows([](double w) { return w; }), random));
  expect(categorical(rows([](double w) { return static_cast<float>(w * 1e37); }), random));
  expect(categorical_from_logits(rows([](double w) { return std::log(w) + 1000; }), random));
  // Row i takes draw i of the stream: the first class is drawn where that is below 1/8.
  const auto drawn = categorical(rows([](double w) { return w; }), random);
  for (Index i = 0; i < 100; ++i)
    CHECK((drawn.at({i}) == 0) == (random.uniform(static_cast<std::uint64_t>(i)) < 0.125));
  set_threads(3);
  CHECK(same_bits(categorical(rows([](double w) { return w; }), random), drawn));
  set_threads(0);
}

TEST_CASE("draws of classes check what they are given", "[random]") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Random random(1);
  CHECK(categorical(ones({2, 3, 1}), random).shape() == Shape{2, 3});
  CHECK(categorical(ones({0, 3}), random).shape() == Shape{0});
  CHECK(categorical(tensor<double>({0, 1e-320}), random).item() == 1);
  CHECK(categorical_from_logits(tensor<double>({-kInfinity, -1e308}), random).item() == 1);
  CHECK_THROWS_WITH(categorical(tensor<double>({1, -0.5}), random), contains("place 1 is -0.5"));
  CHECK_THROWS_WITH(categorical(tensor<double>({1, kInfinity}), random), contains("place 1 is inf"));
  CHECK_THROWS_WITH(categorical(tensor<double>({{1, 0}, {0, 0}}), random), contains("no class of row 1"));
  CHECK_THROWS_AS(categorical(zeros({3, 0}), random), ShapeError);
  CHECK_THROWS_AS(categorical(Tensor<double>(1.0), random), ShapeError);
  CHECK_THROWS_WITH(categorical_from_logits(tensor<double>({1, std::nan("")}), random), contains("place 1 is nan"));
  CHECK_THROWS_WITH(categorical_from_logits(tensor<double>({-kInfinity, -kInfinity}), random),
                    contains("categorical_from_logits: no class of row 0"));
}
