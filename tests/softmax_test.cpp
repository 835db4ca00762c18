// Properties of softmax and log-softmax that the op table does not look at: infinities, size of the logits, locality.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/softmax.hpp"

using namespace graft;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
Tensor<T> whole_numbers(const Shape& shape, int bound) {
  const Random random = Random(3).stream("whole numbers");
  std::vector<T> values;
  for (Index i = 0; i < shape.count(); ++i)
    values.push_back(static_cast<T>(random.below(static_cast<std::uint64_t>(i), 2 * bound + 1) - bound));
  return from_vector(values, shape);
}
bool all_zero(const Tensor<double>& x) {
  for (double value : x.span())
    if (value != 0) return false;
  return true;
}

}  // namespace

TEMPLATE_TEST_CASE("softmax does not change when a number is added to all logits", "[ops]", float, double) {
  // Whole numbers below 2^24 are added and subtracted without rounding, so even the bits agree.
  for (Index width : {1, 5, 16, 37, 300}) {
    const auto x = whole_numbers<TestType>({7, width}, 20);
    CHECK(same_bits(softmax(x + 4096), softmax(x)));
    CHECK(same_bits(log_softmax(x - 4096), log_softmax(x)));
    CHECK(same_bits(softmax(x + 4096, 0), softmax(x, 0)));
    CHECK(same_bits(log_softmax(x - 4096, 0), log_softmax(x, 0)));
  }
}

TEMPLATE_TEST_CASE("softmax of two logits is the sigmoid of their difference", "[ops]", float, double) {
  const double gap = 1.75, p = 1 / (1 + std::exp(-gap));
  const auto y = softmax(tensor<TestType>({TestType(gap), 0}));
  CHECK(y.at({0}) == Approx(p).epsilon(1e-6));
  CHECK(y.at({1}) == Approx(1 - p).epsilon(1e-6));
  const auto g = grad(
      [](const auto& x) {
        return sum(softmax(x) * tensor<TestType>({1, 0}));
      },
      tensor<TestType>({TestType(gap), 0}));
  CHECK(g.at({0}) == Approx(p * (1 - p)).epsilon(1e-5));
  CHECK(g.at({1}) == Approx(-p * (1 - p)).epsilon(1e-5));
}

TEMPLATE_TEST_CASE("softmax of large logits neither overflows nor loses the small ones", "[ops]", float, double) {
  const auto x = tensor<TestType>({{TestType(1e30), 0}, {1000, 998}, {-1000, -1002}});
  const auto y = softmax(x);
  CHECK(y.at({0, 0}) == 1);
  CHECK(y.at({0, 1}) == 0);
  for (Index row : {1, 2}) CHECK(y.at({row, 1}) == Approx(1 / (1 + std::exp(2.0))).epsilon(1e-6));
  const auto logs = log_softmax(x);
  CHECK(logs.at({0, 0}) == 0);
  CHECK(logs.at({0, 1}) == TestType(-1e30));
  for (Index row : {1, 2}) CHECK(logs.at({row, 1}) == Approx(-2 - std::log1p(std::exp(-2.0))).epsilon(1e-6));
}

TEST_CASE("the entries of a softmax add up to one, and its logarithm is log_softmax", "[ops]") {
  const auto x = randn<double>({9, 41}, Random(1)) * 5;
  for (int axis : {0, 1}) {
    CHECK(all_close(sum(softmax(x, axis), {axis}), ones<double>({axis == 0 ? 41 : 9}), 1e-14, 0));
    CHECK(all_close(exp(log_softmax(x, axis)), softmax(x, axis), 1e-13, 0));
  }
}

TEST_CASE("a softmax over logits of -inf alone is zero with zero derivatives", "[ops]") {
  const auto x = tensor<double>({{-kInfinity, -kInfinity, -kInfinity}, {0, 1, -kInfinity}, {1, 2, 3}});
  const auto weights = tensor<double>({{1, 2, 3}, {2, 3, 5}, {1, -1, 2}});
  for (int axis : {1, 0}) {
    const Tensor<double> in =
        axis == 1 ? x : from_vector<double>({-kInfinity, 0, 1, -kInfinity, 1, 2, -kInfinity, -kInfinity, 3}, {3, 3});
    const Tensor<double> by = axis == 1 ? weights : from_vector<double>({1, 2, 1, 2, 3, -1, 3, 5, 2}, {3, 3});
    const auto entry = [&](const Tensor<double>& t, Index row, Index i) {
      return axis == 1 ? t.at({row, i}) : t.at({i, row});
    };
    const auto y = softmax(in, axis);
    const auto loss = [&](const Tensor<double>& v) { return sum(square(softmax(v, axis)) * by); };
    const auto g = grad(loss, in), kept = grad(loss, in, {.create_graph = true});
    const auto hessian_product = hvp(loss, in, ones<double>({3, 3})).second;
    for (Index i = 0; i < 3; ++i)
      for (const auto& t : {y, g, kept, hessian_product}) CHECK(entry(t, 0, i) == 0);
    // A ruled-out entry is as if it were not there.
    CHECK(entry(y, 1, 0) == Approx(1 / (1 + std::exp(1.0))));
    CHECK(entry(y, 1, 2) == 0);
    CHECK(entry(g, 1, 2) == 0);
    for (double value : hessian_product.span()) CHECK(std::isfinite(value));
  }
}

TEST_CASE("entries of -inf are constants of log_softmax", "[ops]") {
  const auto x = tensor<double>({{-kInfinity, -kInfinity}, {0, -kInfinity}, {0, 1}});
  const auto y = log_softmax(x);
  CHECK(y.at({0, 0}) == -kInfinity);
  CHECK(y.at({1, 0}) == 0);
  CHECK(y.at({1, 1}) == -kInfinity);
  const auto ones_back = ones<double>({3, 2});
  for (bool keep : {false, true}) {
    const auto g = vjp([](const auto& v) { return log_softmax(v); }, x, ones_back, {.create_graph = keep}).second;
    for (Index i : {0, 1}) CHECK(g.at({0, i}) == 0);
    for (Index i : {0, 1}) CHECK(g.at({1, i}) == 0);  // one class alone: log 1 whatever its logit
    CHECK(g.at({2, 0}) == Approx(1 - 2 / (1 + std::exp(1.0))));
  }
}

TEST_CASE("a NaN spoils its own softmax only", "[ops]") {
  std::vector<double> values(20 * 19, 0.5);
  values[3 * 19 + 7] = std::nan("");
  const auto x = from_vector(values, {20, 19});
  for (const auto& y : {softmax(x), log_softmax(x)})
    for (Index row = 0; row < 20; ++row)
      for (Index i = 0; i < 19; ++i) CHECK(std::isnan(y.at({row, i})) == (row == 3));
  CHECK(std::isnan(softmax(x, 0).at({0, 7})));
  CHECK_FALSE(std::isnan(softmax(x, 0).at({3, 6})));
}

TEST_CASE("the gradient of a softmax has no component along a common shift", "[ops]") {
  const auto x = randn<double>({5, 23}, Random(2)), g = randn<double>({5, 23}, Random(4));
  const auto dx = vjp([](const auto& v) { return softmax(v); }, x, g).second;
  CHECK(all_close(sum(dx, {1}), zeros<double>({5}), 0, 1e-15));
  CHECK_FALSE(all_zero(dx));
}
