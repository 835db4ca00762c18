// The toy of two losses of two numbers: its formula, its gradient, its front, and what plain descent does on it.

#include <cmath>

#include "catch.hpp"
#include "graft/data/pareto_toy.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/model/grad.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/pcgrad.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/optim/adam.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

/// The formula of CAGrad's toy in plain numbers, as its authors write it: f2 by itself, not as a mirror image.
struct Losses {
  double first, second;
};
Losses by_the_book(double x1, double x2) {
  const double up = std::max(std::tanh(x2 / 2), 0.0), down = std::max(std::tanh(-x2 / 2), 0.0);
  const double valley1 = std::log(std::max(std::abs(0.5 * (-x1 - 7) - std::tanh(-x2)), 5e-6)) + 6;
  const double valley2 = std::log(std::max(std::abs(0.5 * (-x1 + 3) + std::tanh(-x2) + 2), 5e-6)) + 6;
  const double bowl1 = ((7 - x1) * (7 - x1) + 0.1 * (x2 + 8) * (x2 + 8)) / 10 - 20;
  const double bowl2 = ((7 + x1) * (7 + x1) + 0.1 * (x2 + 8) * (x2 + 8)) / 10 - 20;
  return {up * valley1 + down * bowl1, up * valley2 + down * bowl2};
}
/// Adam with a rate of 1e-3 on what the aggregator makes of the gradients.
template <class A>
Numbers descend_with(A aggregator, Numbers x, int steps, double scale = 1) {
  Adam optimizer(x);
  const auto losses = [&](const Numbers& at) { return pareto_toy_losses(at, {.scale = scale}); };
  for (int step = 0; step < steps; ++step) {
    TaskGradients gradients(jacobian(losses, x), losses(x), Random(1).stream(static_cast<std::uint64_t>(step)));
    const Numbers weights = reshape(aggregator(gradients).weights, {1, 2});
    optimizer.step(x, reshape(matmul(weights, gradients.jacobian()), {2}), 1e-3);
  }
  return x;
}

}  // namespace

TEST_CASE("the losses of the toy are those of the formula", "[pareto_toy]") {
  // By hand. At (7, -8) both bowls are bare: f1 = -20 tanh(4), f2 = (19.6 - 20) tanh(4). At (0, -8) both are 4.9 - 20.
  const double full = std::tanh(4.0);
  const Numbers right = pareto_toy_losses(tensor<double>({7, -8})), middle = pareto_toy_losses(tensor<double>({0, -8}));
  CHECK(right.at({0}) == Approx(-20 * full).epsilon(1e-14));
  CHECK(right.at({1}) == Approx(-0.4 * full).epsilon(1e-12));
  CHECK(middle.at({0}) == Approx(-15.1 * full).epsilon(1e-14));
  CHECK(middle.at({1}) == Approx(-15.1 * full).epsilon(1e-14));
  // At (-7, 1) the first valley: ln tanh(1); at (-7 + 2 tanh(1), 1), its floor: ln 5e-6.
  const double half = std::tanh(0.5);
  CHECK(pareto_toy_losses(tensor<double>({-7, 1})).at({0}) ==
        Approx(half * (std::log(std::tanh(1.0)) + 6)).epsilon(1e-13));
  CHECK(pareto_toy_losses(tensor<double>({-7 + 2 * std::tanh(1.0), 1})).at({0}) ==
        Approx(half * (std::log(5e-6) + 6)).epsilon(1e-13));
  // And at random points, several at once, with either scale; the second is the first seen in a mirror.
  const Numbers points = rand<double>({4, 50, 2}, Random(1), -10, 10);
  const Numbers losses = pareto_toy_losses(points), scaled = pareto_toy_losses(points, {.scale = 0.1});
  const Numbers seen = pareto_toy_losses(points * tensor<double>({-1, 1}));
  REQUIRE(losses.shape() == Shape{4, 50, 2});
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 50; ++j) {
      const Losses expected = by_the_book(points.at({i, j, 0}), points.at({i, j, 1}));
      CHECK(losses.at({i, j, 0}) == Approx(expected.first).epsilon(1e-11).margin(1e-11));
      CHECK(losses.at({i, j, 1}) == Approx(expected.second).epsilon(1e-11).margin(1e-11));
      CHECK(scaled.at({i, j, 0}) == Approx(0.1 * expected.first).epsilon(1e-11).margin(1e-11));
      CHECK(scaled.at({i, j, 1}) == losses.at({i, j, 1}));
      CHECK(seen.at({i, j, 1}) == losses.at({i, j, 0}));
    }
}

TEST_CASE("the gradient of the toy is that of finite differences", "[pareto_toy]") {
  const auto losses = [](const Numbers& x) { return pareto_toy_losses(x, {.scale = 0.1}); };
  for (const Numbers& x : {tensor<double>({-8.5, 7.5}), tensor<double>({-8.5, -5}), tensor<double>({9, 9}),
                           tensor<double>({1, 0.3}), tensor<double>({3, -0.7}), tensor<double>({0, -8.36})}) {
    const Numbers slopes = jacobian(losses, x);
    for (Index j = 0; j < 2; ++j) {
      const double h = 1e-5;
      const Numbers step = h * one_hot<double>(Tensor<std::int64_t>(j), 2);
      const Numbers difference = (losses(x + step) - losses(x - step)) / (2 * h);
      for (Index i = 0; i < 2; ++i) CHECK(slopes.at({i, j}) == Approx(difference.at({i})).epsilon(1e-7).margin(1e-8));
    }
  }
}

TEST_CASE("where the toy's halves meet the slope is not 0", "[pareto_toy]") {
  // At (0, 0): c(x2) and c(-x2) have slopes 1/2 and -1/2, so df/dx2 = (ln 3.5 + 6 - (4.9 + 0.64 - 20)) / 2 for both.
  const Numbers slopes = jacobian([](const Numbers& x) { return pareto_toy_losses(x); }, zeros<double>({2}));
  for (Index i = 0; i < 2; ++i) {
    CHECK(slopes.at({i, 0}) == 0);
    CHECK(slopes.at({i, 1}) == Approx(0.5 * (std::log(3.5) + 6 - (4.9 + 0.64 - 20))).epsilon(1e-13));
  }
}

TEST_CASE("the toy's front is where a mean of the losses has no slope", "[pareto_toy]") {
  CHECK(pareto_toy_front(0) == Approx(-8.3552).margin(5e-5));  // the number in the authors' program
  CHECK(pareto_toy_front(7) == Approx(-8.434).margin(5e-4));
  CHECK(pareto_toy_front(-7) == pareto_toy_front(7));
  for (double x1 : {-7.0, -5.5, -1.0, 0.0, 2.5, 6.9, 7.0}) {
    const double w = (7 + x1) / 14;
    const Numbers slopes =
        jacobian([](const Numbers& x) { return pareto_toy_losses(x); }, tensor<double>({x1, pareto_toy_front(x1)}));
    for (Index j = 0; j < 2; ++j) CHECK(w * slopes.at({0, j}) + (1 - w) * slopes.at({1, j}) == Approx(0).margin(1e-9));
  }
  CHECK_THROWS_AS(pareto_toy_front(7.1), ValueError);
  CHECK_THROWS_AS(pareto_toy_front(std::nan("")), ValueError);
}

TEST_CASE("each loss of the toy is least at its end of the front", "[pareto_toy]") {
  // Newton's method from nearby ends where both slopes are 0 and the curvatures above it.
  for (Index task : {0, 1}) {
    const auto loss = [&](const Numbers& x) { return sum(slice(pareto_toy_losses(x), 0, task, task + 1)); };
    Numbers x = tensor<double>({task == 0 ? 6.5 : -6.5, -8.3});
    for (int step = 0; step < 20; ++step) {
      const auto [slope, first] = hvp(loss, x, tensor<double>({1, 0}));
      const auto [same, second] = hvp(loss, x, tensor<double>({0, 1}));
      const double a = first.at({0}), b = first.at({1}), d = second.at({1}), determinant = a * d - b * b;
      REQUIRE((a > 0 && determinant > 0));
      const double s = slope.at({0}), t = same.at({1});
      x = x - tensor<double>({(d * s - b * t) / determinant, (a * t - b * s) / determinant});
    }
    CHECK(x.at({0}) == Approx(task == 0 ? 7 : -7).epsilon(1e-12));
    CHECK(x.at({1}) == Approx(pareto_toy_front(7)).epsilon(1e-9));
    CHECK(x.at({1}) == Approx(-8.434).margin(5e-4));
  }
}

TEST_CASE("the mean of the gradients is stuck in the toy's valley, projected ones leave it", "[pareto_toy]") {
  // 60 000 of the 100 000 steps are enough to tell. From (-8.5, 7.5) the mean comes down with the bottom of the first
  // valley, x1 = -7 + 2 tanh(x2), ever slower: it does not reach x2 = 2 even after all. PCGrad gets below x2 = 0.
  const Numbers start = tensor<double>({-8.5, 7.5});
  const Numbers stuck = descend_with(MeanGradient(), start, 60000);
  CHECK(stuck.at({1}) > 2);
  CHECK(std::abs(stuck.at({0}) - (-7 + 2 * std::tanh(stuck.at({1})))) < 0.05);
  CHECK(descend_with(PcGrad(), start, 60000).at({1}) < -1);
  // In the bowls the mean finds its minimum of the front: x1 = 0, and -63/11 with the first loss a tenth as large.
  for (const auto& [scale, x1] : {std::pair(1.0, 0.0), std::pair(0.1, -63.0 / 11)}) {
    const Numbers end = descend_with(MeanGradient(), tensor<double>({-8.5, -5}), 20000, scale);
    CHECK(end.at({0}) == Approx(x1).margin(1e-3));
    CHECK(end.at({1}) == Approx(pareto_toy_front(x1)).margin(1e-3));
  }
}

TEST_CASE("the toy takes points of two numbers and a scale above 0", "[pareto_toy]") {
  CHECK_THROWS_AS(pareto_toy_losses(zeros<double>({3})), ShapeError);
  CHECK_THROWS_AS(pareto_toy_losses(Tensor<double>(1.0)), ShapeError);
  CHECK_THROWS_WITH(pareto_toy_losses(zeros<double>({2}), {.scale = 0}), contains("pareto_toy_losses: scale is 0"));
  CHECK(pareto_toy_losses(zeros<double>({0, 2})).shape() == Shape{0, 2});
  CHECK(pareto_toy_losses(tensor<float>({7, -8})).at({0}) == Approx(-20 * std::tanh(4.0)).epsilon(1e-6));
}
