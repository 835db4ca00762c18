#include "graft/evaluate/semantic_space.hpp"

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "graft/graft.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/prototypes.hpp"
#include "zero_shot_cases.hpp"

using namespace graft;
using namespace zero_shot_cases;

namespace {

using Numbers = Tensor<double>;

/// The map from x to y by ridge regression.
Numbers ridge(const Numbers& x, const Numbers& y, double lambda) {
  return solve(matmul(x, x, {.transpose_a = true}) + lambda * eye<double>(x.size(1)),
               matmul(x, y, {.transpose_a = true}));
}

}  // namespace

TEST_CASE("ranks, neighbours and their skewness are scikit-learn's and SciPy's", "[evaluate]") {
  for (const SpaceCase& c : kSpace) {
    const Numbers scores = -squared_distances(matrix(c.queries), matrix(c.points));
    CHECK(mean_reciprocal_rank(scores, from_vector(c.right)) == Approx(c.reciprocal).epsilon(1e-12));
    CHECK(same_bits(k_occurrences(scores, c.k), from_vector(c.counts)));
    CHECK(hubness(scores, c.k) == Approx(c.skewness).epsilon(1e-12));
  }
  CHECK(kProtocol.size() == 3);  // of generalised_zero_shot_test.cpp
}

TEST_CASE("the reciprocal rank: 1 of the best, the mean of 1/2 and 1/3, equal scores find nothing", "[evaluate]") {
  const Tensor<float> scores = tensor<float>({{5, 4, 3}, {5, 4, 3}});
  CHECK(mean_reciprocal_rank(scores, tensor<std::int64_t>({0, 0})) == 1);
  CHECK(mean_reciprocal_rank(scores, tensor<std::int64_t>({1, 2})) == Approx((0.5 + 1 / 3.0) / 2).epsilon(1e-14));
  CHECK(mean_reciprocal_rank(zeros<float>({2, 4}), tensor<std::int64_t>({0, 3})) == 0.25);
  const auto turned = tensor<std::int64_t>({2, 0, 1});
  CHECK(mean_reciprocal_rank(gather(scores, turned, 1), tensor<std::int64_t>({0, 0})) == Approx(1 / 3.0));
}

TEST_CASE("k-occurrences add up, one hub among n has skewness (n - 2) / sqrt(n - 1), even counts none", "[evaluate]") {
  const Numbers scores = randn<double>({50, 12}, Random(1));
  for (const Index k : {1, 3, 12}) CHECK(sum(k_occurrences(scores, k)).item() == 50 * k);
  CHECK(hubness(scores, 12) == 0);  // all items, every time
  for (const Index n : {5, 20}) {
    // All queries answer with item 3: counts q and n - 1 zeros, a Bernoulli variable of chance 1 / n.
    const Numbers hub = broadcast_to(reshape(one_hot<double>(tensor<std::int64_t>({3}), n), {1, n}), {7, n});
    CHECK(k_occurrences(hub, 1).at({3}) == 7);
    CHECK(hubness(hub, 1) == Approx(static_cast<double>(n - 2) / std::sqrt(static_cast<double>(n - 1))).epsilon(1e-12));
  }
  CHECK(same_bits(k_occurrences(zeros<double>({4, 3}), 2), tensor<std::int64_t>({4, 4, 0})));  // the first of equals
}

TEST_CASE("ridge from items to classes makes hubs, from classes to items fewer", "[evaluate]") {
  // Shigeto et al. 2015: regression shrinks what it maps towards the origin. Items shrunk among the classes fall to the
  // classes near the origin; classes shrunk among the items do not.
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    const Random random(seed);
    const Numbers map = randn<double>({30, 40}, random.stream("map"));
    const auto items = [&](const Numbers& classes, const char* name) {
      return matmul(classes, map) + 12.0 * randn<double>({classes.size(0), 40}, random.stream(name));
    };
    const Numbers train = randn<double>({500, 30}, random.stream("train")), test = randn<double>({400, 30}, random);
    const Numbers x = items(train, "training noise"), queries = items(test, "noise");
    const Numbers forward = -squared_distances(matmul(queries, ridge(x, train, 1)), test);
    const Numbers reverse = -squared_distances(queries, matmul(test, ridge(train, x, 1)));
    const auto right = arange<std::int64_t>(400);
    UNSCOPED_INFO("skewness " << hubness(forward) << " and " << hubness(reverse) << ", reciprocal ranks "
                              << mean_reciprocal_rank(forward, right) << " and "
                              << mean_reciprocal_rank(reverse, right));
    CHECK(hubness(reverse) < 0.5 * hubness(forward));
    CHECK(mean_reciprocal_rank(reverse, right) > mean_reciprocal_rank(forward, right));
  }
}

TEST_CASE("figures of a semantic space refuse what they cannot judge", "[evaluate]") {
  const Tensor<float> scores = zeros<float>({2, 3});
  CHECK_THROWS_AS(mean_reciprocal_rank(scores, tensor<std::int64_t>({0})), ShapeError);
  CHECK_THROWS_AS(mean_reciprocal_rank(scores, tensor<std::int64_t>({0, 3})), IndexError);
  CHECK_THROWS_WITH(mean_reciprocal_rank(zeros<float>({0, 3}), zeros<std::int64_t>({0})), contains("of no queries"));
  CHECK_THROWS_WITH(mean_reciprocal_rank(full<float>({2, 3}, NAN), tensor<std::int64_t>({0, 1})),
                    contains("not a number"));
  CHECK_THROWS_AS(k_occurrences(zeros<float>({3}), 1), ShapeError);
  CHECK_THROWS_WITH(k_occurrences(scores, 4), contains("4 of 3 items"));
  CHECK_THROWS_WITH(k_occurrences(full<float>({2, 3}, NAN), 1), contains("query 0"));
  CHECK_THROWS_AS(hubness(zeros<float>({3}), 1), ShapeError);
  CHECK_THROWS_WITH(hubness(scores), contains("hubness: k is 10 of 3 items"));
}
