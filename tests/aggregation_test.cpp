// Aggregation: one direction from gradients that are models.

#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/multitask.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/protocol/aggregation.hpp"
#include "two_layers.hpp"

using namespace graft;
using namespace two_layers;

TEST_CASE("pcgrad equals the mean where no gradients conflict", "[protocol][aggregation]") {
  // Rows that share a direction and are orthogonal otherwise: all inner products are positive.
  std::vector<Linear<>> gradients;
  for (int i = 0; i < 3; ++i) {
    Tensor<> weight = full<float>({2, 3}, 1.0f);
    detail::writable(weight)[i] += 2.0f;
    Linear<> g;
    g.weight = weight;
    gradients.push_back(g);
  }
  Aggregator average = MeanGradient(), projecting = PcGrad();
  const Linear<> mean = aggregate(gradients, average, Random(1));
  const Linear<> surgery = aggregate(gradients, projecting, Random(1));
  CHECK(all_close(surgery.weight, mean.weight, 1e-6));
  // And differs where they do: with g_2 = -g_1 / 2 the projections are zero, the mean is not.
  Linear<> opposite = -0.5 * gradients[0];
  const std::vector<Linear<>> two{gradients[0], opposite};
  CHECK(all_close(aggregate(two, average, Random(1)).weight, 0.25 * gradients[0].weight, 1e-6));
  CHECK(all_close(aggregate(two, projecting, Random(1)).weight, zeros<float>({2, 3}), 0, 1e-6));
}

TEST_CASE("the mean of the aggregation is the arithmetic mean of the gradients", "[protocol][aggregation]") {
  std::vector<Net> gradients;
  for (std::uint64_t i = 0; i < 4; ++i) {
    Net g = make_net();
    for_each_parameter([&](auto& leaf) { leaf = randn<float>(leaf.shape(), Random(20 + i)); }, g);
    gradients.push_back(g);
  }
  Aggregator average = MeanGradient();
  const Tensor<> mean = to_vector(aggregate(gradients, average, Random(1)));
  for (Index k = 0; k < mean.count(); ++k) {
    double expected = 0;
    for (const Net& g : gradients) expected += static_cast<double>(to_vector(g).data()[k]) / 4;
    CHECK(mean.data()[k] == Approx(expected).margin(1e-6));
  }
}

TEST_CASE("an aggregator acts on the shared parameters; private ones keep their own gradient",
          "[protocol][aggregation]") {
  // Two tasks with opposite gradients of the shared layer and a head each, and one without: a head's gradient is zero
  // for the others.
  struct Heads {
    Tensor<> shared, first, second;
    GRAFT_FIELDS(shared, first, second)
  };
  const std::vector<Heads> gradients{{full<float>({2}, 1.0f), full<float>({3}, 5.0f), zeros<float>({3})},
                                     {full<float>({2}, -3.0f), zeros<float>({3}), full<float>({3}, 7.0f)},
                                     {full<float>({2}, 5.0f), zeros<float>({3}), zeros<float>({3})}};
  for (const std::string& name : aggregators().names()) {
    Aggregator aggregator = aggregators().make(name, 3);
    const Heads direction = aggregate(gradients, aggregator, Random(1), {"shared"}, tensor<double>({1, 2, 3}));
    CHECK(same_bits(direction.first, gradients[0].first));
    CHECK(same_bits(direction.second, gradients[1].second));
    // By hand: the mean of 1, -3 and 5; of two opposite ones, projected, nothing is left.
    if (name == "mean") CHECK(all_close(direction.shared, full<float>({2}, 1.0f), 0, 1e-6));
    if (name == "pcgrad") CHECK(all_close(direction.shared, zeros<float>({2}), 0, 1e-6));
  }
  Aggregator average = MeanGradient();
  CHECK_THROWS_AS(aggregate(gradients, average, Random(1), {"trunk"}), ValueError);
}

TEST_CASE("a direction of an aggregator's own is cut into the shared parameters", "[protocol][aggregation]") {
  struct Median {  // of two tasks: the mean, given as a direction
    GRAFT_FIELDS()
    Combination operator()(TaskGradients& g) const { return {.direction = mean(g.jacobian(), {0})}; }
  };
  struct Wrong {
    GRAFT_FIELDS()
    Combination operator()(TaskGradients&) const { return {.direction = zeros<double>({2})}; }
  };
  const std::vector<Linear<>> gradients{Linear<>(3, 2, Random(1)), Linear<>(3, 2, Random(2))};
  Aggregator median = Median(), average = MeanGradient(), wrong = Wrong();
  const Linear<> one = aggregate(gradients, median, Random(1)), other = aggregate(gradients, average, Random(1));
  CHECK(all_close(to_vector(one), to_vector(other), 1e-6));
  CHECK_THROWS_AS(aggregate(gradients, wrong, Random(1)), ShapeError);
}

TEST_CASE("the Gramian of a round is that of its Jacobian, for few tasks and for many", "[protocol][aggregation]") {
  struct Comparing {
    double* error;
    GRAFT_FIELDS()
    GRAFT_CONFIG(error)
    Combination operator()(TaskGradients& g) const {
      const Tensor<double>&rows = g.jacobian(), products = matmul(rows, rows, {.transpose_b = true});
      CHECK(same_bits(g.gramian(), transpose(g.gramian())));
      *error = max(abs(g.gramian() - products)).item() / max(products).item();
      return {.weights = ones<double>({g.tasks()})};
    }
  };
  for (std::uint64_t tasks : {1, 2, 3, 4, 5, 9})
    for (const std::vector<std::string>& shared : {std::vector<std::string>{}, {"hidden.weight", "head.bias"}}) {
      std::vector<Net> gradients;
      for (std::uint64_t i = 0; i < tasks; ++i) {
        const Random random = Random(5).stream(i);
        gradients.push_back({Linear<>(4, 13, random.stream("hidden")), Linear<>(13, 1, random.stream("head"))});
        gradients.back().head.bias = randn<float>({1}, random);
      }
      double error = 1;
      Aggregator comparing = Comparing{&error};
      aggregate(gradients, comparing, Random(1), shared);
      CHECK(error < 1e-14);
    }
}
