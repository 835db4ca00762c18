// t-SNE: affinities of the wanted perplexity, the gradient against differences, and groups that stay together.

#include <cmath>

#include "catch.hpp"
#include "graft/evaluate/principal_components.hpp"
#include "graft/evaluate/tsne.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

/// Three groups of 15 in ten dimensions, 10 apart, and the labels.
Tensor<double> groups(double distance = 10) {
  return randn<double>({45, 10}, Random(1)) +
         generate({45, 10}, [=](Index i, Index k) { return k == i % 3 ? distance : 0.0; });
}
Tensor<std::int64_t> labels() {
  return generate({45}, [](Index i) { return static_cast<std::int64_t>(i % 3); });
}
const TsneOptions small{.perplexity = 8, .steps = 500, .learning_rate = 20};

}  // namespace

TEST_CASE("affinities of t-SNE have the perplexity that was asked for", "[evaluate]") {
  const Random random(1);
  const std::size_t items = 20;
  std::vector<double> squares(items * items);
  for (std::size_t i = 0; i < items; ++i)
    for (std::size_t j = 0; j < i; ++j)
      squares[i * items + j] = squares[j * items + i] = std::exp(6 * random.normal(i * items + j));
  for (const double perplexity : {1.5, 5.0, 18.0}) {
    const std::vector<double> p = detail::tsne_conditional(squares, items, perplexity);
    for (std::size_t i = 0; i < items; ++i) {
      double total = 0, entropy = 0;
      for (std::size_t j = 0; j < items; ++j) {
        const double own = p[i * items + j];
        total += own;
        if (own > 0) entropy -= own * std::log(own);
      }
      CHECK(p[i * items + i] == 0);
      CHECK(total == Approx(1).epsilon(1e-12));
      CHECK(std::exp(entropy) == Approx(perplexity).epsilon(1e-6));
    }
  }
}

TEST_CASE("the gradient of t-SNE is that of its divergence", "[evaluate]") {
  const Random random(2);
  const std::size_t items = 6;
  std::vector<double> p(items * items), y(2 * items), slope(2 * items), unused(2 * items);
  double total = 0;
  for (std::size_t i = 0; i < items; ++i)
    for (std::size_t j = 0; j < i; ++j)
      total += 2 * (p[i * items + j] = p[j * items + i] = random.uniform(i * items + j));
  for (double& own : p) own /= total;
  for (std::size_t i = 0; i < 2 * items; ++i) y[i] = random.stream("y").normal(i);
  detail::tsne_divergence(p, y, items, 1, slope);
  for (std::size_t i = 0; i < 2 * items; ++i) {
    std::vector<double> up = y, down = y;
    up[i] += 1e-5;
    down[i] -= 1e-5;
    const double difference =
        (detail::tsne_divergence(p, up, items, 1, unused) - detail::tsne_divergence(p, down, items, 1, unused)) / 2e-5;
    CHECK(slope[i] == Approx(difference).margin(1e-8));
  }
}

TEST_CASE("groups stay together on the map of t-SNE", "[evaluate]") {
  const TsneMap map = tsne(groups(), Random(3), small);
  CHECK(map.points.shape() == Shape{45, 2});
  CHECK(max(abs(mean(map.points, {0}))).item() < 1e-9);
  CHECK(separation(map.points, labels()) > 5);
  CHECK(separation(map.points, labels()) > separation(principal_components(groups(0)).project(groups(0)), labels()));
  // Every item's nearest on the map is of its group.
  for (Index i = 0; i < 45; ++i) {
    Index nearest = -1;
    double least = 1e300;
    for (Index j = 0; j < 45; ++j) {
      const double d =
          std::hypot(map.points.at({i, 0}) - map.points.at({j, 0}), map.points.at({i, 1}) - map.points.at({j, 1}));
      if (j != i && d < least) least = d, nearest = j;
    }
    CHECK(nearest % 3 == i % 3);
  }
  // Steps lower the divergence, and where nothing separates the labels the map does not either.
  CHECK(map.divergence < tsne(groups(), Random(3), {.perplexity = 8, .steps = 0}).divergence / 2);
  CHECK(separation(tsne(groups(0), Random(3), small).points, labels()) < 0.3);
}

TEST_CASE("a map of t-SNE is the same on any number of threads, and blind to an offset and a scale", "[evaluate]") {
  const int threads_before = threads();
  const TsneOptions few{.perplexity = 8, .steps = 30, .learning_rate = 20};
  set_threads(1);
  const TsneMap one = tsne(groups(), Random(3), few);
  set_threads(3);
  CHECK(same_bits(tsne(groups(), Random(3), few).points, one.points));
  set_threads(threads_before);
  CHECK(same_bits(tsne(8 * groups(), Random(3), few).points, one.points));
  CHECK(max(abs(tsne(groups() + 1e6, Random(3), few).points - one.points)).item() < 1e-4);
  CHECK_FALSE(same_bits(tsne(groups(), Random(4), few).points, one.points));
  CHECK(std::isfinite(tsne(ones<double>({6, 2}), Random(1), {.perplexity = 2, .steps = 20}).divergence));
}

TEST_CASE("what t-SNE refuses", "[evaluate]") {
  const Tensor<double> x = groups();
  CHECK(refusal_fault("tsne", "3 items", [&] { tsne(slice(x, 0, 0, 3), Random(1)); }) == "");
  CHECK(refusal_fault("tsne", "a perplexity of 44", [&] { tsne(x, Random(1), {.perplexity = 44}); }) == "");
  CHECK(refusal_fault("tsne", "perplexity is -1", [&] { tsne(x, Random(1), {.perplexity = -1}); }) == "");
  CHECK(refusal_fault("tsne", "item 0 holds nan", [&] { tsne(x * std::nan(""), Random(1)); }) == "");
  CHECK(refusal_fault<ShapeError>("tsne", "[45]", [&] { tsne(sum(x, {1}), Random(1)); }) == "");
}
