// What the op table cannot say about reductions: ties, NaN, infinities, zeros and empty ranges, element types without
// gradients, and printing.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/core/print.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/ops/statistics.hpp"

using namespace graft;

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

bool all_zero(const Tensor<double>& x) { return !any(x != 0).item(); }
/// Gradient of f and of the squared length of that gradient.
template <class F>
std::pair<Tensor<double>, Tensor<double>> two_orders(F f, const Tensor<double>& x) {
  const auto slope = [&](const Tensor<double>& v) { return sum(square(grad(f, v, {.create_graph = true}))); };
  return {grad(f, x), grad(slope, x)};
}
}  // namespace

TEST_CASE("equal maxima share the gradient", "[ops]") {
  const auto x = tensor<double>({{2, 5, 5}, {4, 4, 4}});
  const auto g = grad([](const Tensor<double>& v) { return sum(max(v, {1})); }, x);
  CHECK(all_close(g, tensor<double>({{0, 0.5, 0.5}, {1. / 3, 1. / 3, 1. / 3}}), 1e-15));
  // Over axes that are not neighbours, too: both fives lie in the one group of the middle entry.
  const auto y = reshape(tensor<double>({1, 5, 2, 0, 3, 5, 4, 2}), {2, 2, 2});
  CHECK(all_close(grad(
                      [](const Tensor<double>& v) {
                        return sum(max(v, {0, 2}));
                      },
                      y),
                  reshape(tensor<double>({0, 0.5, 0, 0, 0, 0.5, 1, 0}), {2, 2, 2}), 1e-15));
}

TEST_CASE("extremes carry NaN, and places name the first of equals", "[ops]") {
  for (Index at : {0, 1, 16, 39}) {  // inside and behind the runs that are folded side by side
    std::vector<double> numbers(40, 1.0);
    numbers[at] = kNan;
    const auto x = from_vector(numbers);
    CHECK(std::isnan(max(x).item()));
    CHECK(std::isnan(min(x).item()));
    CHECK(argmax(x).item() == at);
    CHECK(argmin(x).item() == at);
    CHECK(argmax(reshape(x, {40, 1}), 0).item() == at);
    CHECK(argmax(concat(std::vector{reshape(x, {40, 1}), reshape(x, {40, 1})}, 1), 0).at({1}) == at);
  }
  const auto ties = tensor<double>({{1, 7, 7}, {-1, 7, -1}});
  CHECK(argmax(ties).item() == 1);
  CHECK(argmin(ties).item() == 3);
  CHECK(same_bits(argmax(ties, 0), tensor<std::int64_t>({0, 0, 0})));
  CHECK(same_bits(argmin(ties, 1, true), tensor<std::int64_t>({{0}, {0}})));
  CHECK(max(tensor<double>({-kInfinity, -kInfinity})).item() == -kInfinity);
}

TEST_CASE("extremes of integers and counts of masks", "[ops]") {
  const auto x = tensor<std::int32_t>({{3, -9, 4}, {std::numeric_limits<std::int32_t>::min(), 0, 0}});
  CHECK(same_bits(max(x, {1}), tensor<std::int32_t>({4, 0})));
  CHECK(min(x).item() == std::numeric_limits<std::int32_t>::min());
  CHECK(same_bits(count_nonzero(x, {1}), tensor<std::int64_t>({3, 1})));
  CHECK(same_bits(cumsum(x, 0),
                  tensor<std::int32_t>({{3, -9, 4}, {std::numeric_limits<std::int32_t>::min() + 3, -9, 4}})));
  // One long mask, cut into parts that are counted apart.
  const auto mask = arange<std::int64_t>(100003) < std::int64_t{70001};
  CHECK(count_nonzero(mask).item() == 70001);
  CHECK(any(mask).item());
  CHECK_FALSE(all(mask).item());
  CHECK(all(slice(mask, 0, 0, 70001)).item());
  CHECK_FALSE(any(slice(mask, 0, 70001, 100003)).item());
  CHECK_FALSE(any(zeros<bool>({0})).item());
  CHECK(all(zeros<bool>({0})).item());
}

TEST_CASE("extremes over no elements are an error, unless there is nothing to give", "[ops]") {
  const auto x = zeros({2, 0});
  CHECK_THROWS_WITH(max(x), contains("max: over no elements") && contains("[2, 0]") && contains("reduce_test.cpp"));
  CHECK_THROWS_AS(min(x, {1}), ShapeError);
  CHECK_THROWS_AS(argmax(x, 1), ShapeError);
  CHECK_THROWS_AS(argmin(zeros({0})), ShapeError);
  CHECK(max(x, {0}).shape() == Shape{0});
  CHECK(argmax(x, 0).shape() == Shape{0});
}

TEST_CASE("norm and standard deviation have zero derivatives of every order at 0", "[ops]") {
  const auto x = tensor<double>({{0, 0}, {3, 4}});
  const auto norms = [](const Tensor<double>& v) { return sum(norm(v, {1})); };
  CHECK(all_close(grad(norms, x), tensor<double>({{0, 0}, {0.6, 0.8}}), 1e-15));
  const auto [first, second] = two_orders([](const Tensor<double>& v) { return norm(v); }, zeros<double>({3}));
  CHECK(all_zero(first));
  CHECK(all_zero(second));
  const auto [slope, curvature] = two_orders([](const Tensor<double>& v) { return stddev(v); }, full<double>({4}, 0.7));
  CHECK(all_zero(slope));
  CHECK(all_zero(curvature));
}

TEST_CASE("variance does not cancel", "[ops]") {
  // Exact in float: deviations of -1, 0, 1 around a mean 2^20 times as large, where E[x^2] - E[x]^2 loses everything.
  const auto x = tensor<float>({1048575, 1048576, 1048577});
  CHECK(var(x, {}, {.sample = true}).item() == 1.0f);
  CHECK(var(x).item() == Approx(2. / 3));
}

TEST_CASE("log-sum-exp is exact where exponentials overflow, vanish or are none", "[ops]") {
  const auto x =
      tensor<double>({{-kInfinity, -kInfinity, -kInfinity}, {1000, 1001, -kInfinity}, {-2000, -2000, -5000}});
  const auto y = logsumexp(x, {1});
  CHECK(y.at({0}) == -kInfinity);
  CHECK(y.at({1}) == Approx(1001 + std::log1p(std::exp(-1))).epsilon(1e-15));
  CHECK(y.at({2}) == Approx(-2000 + std::log(2)).epsilon(1e-15));
  CHECK(logsumexp(tensor<double>({1, kInfinity})).item() == kInfinity);
  CHECK(logsumexp(zeros<double>({2, 0}), {1}).at({1}) == -kInfinity);
  CHECK(std::isnan(logsumexp(tensor<double>({1, kNan})).item()));

  // The gradient is softmax (a sigmoid here), zero for what is masked, and so is what is left of it at second order.
  const auto unmasked = [](const Tensor<double>& v) {
    const auto rows = logsumexp(v, {1});
    return sum(where(rows == -kInfinity, 0, rows));
  };
  const auto [first, second] = two_orders(unmasked, x);
  const double s = 1 / (1 + std::exp(-1));
  CHECK(all_close(first, tensor<double>({{0, 0, 0}, {1 - s, s, 0}, {0.5, 0.5, 0}}), 1e-14));
  CHECK(all(second == second).item());
  CHECK(all_zero(slice(second, 0, 0, 1)));
}

TEST_CASE("a scalar has axis 0, of size one", "[ops]") {
  const auto check = [](const char* op, auto f) {
    INFO(op);
    const Tensor<double> x(1.75);
    const auto in_list = [&](const Tensor<double>& v, int axis) { return reshape(f(reshape(v, {1}), axis), {}); };
    for (int axis : {0, -1}) {
      CHECK(same_bits(f(x, axis), in_list(x, axis)));
      const auto [g, gg] = two_orders([&](const Tensor<double>& v) { return square(f(v, axis)); }, x);
      const auto [e, ee] = two_orders([&](const Tensor<double>& v) { return square(in_list(v, axis)); }, x);
      CHECK(same_bits(g, e));
      CHECK(same_bits(gg, ee));
    }
    for (int axis : {1, -2}) CHECK_THROWS_WITH(f(x, axis), contains("of rank 0") && contains(op));
  };
  check("sum", [](const auto& x, int axis) { return sum(x, {axis}); });
  check("mean", [](const auto& x, int axis) { return mean(x, {axis}, true); });
  check("max", [](const auto& x, int axis) { return max(x, {axis}); });
  check("var", [](const auto& x, int axis) { return var(x, {axis}); });
  check("norm", [](const auto& x, int axis) { return norm(x, {axis}); });
  check("logsumexp", [](const auto& x, int axis) { return logsumexp(x, {axis}); });
  check("cumsum", [](const auto& x, int axis) { return cumsum(x, axis); });
  check("softmax", [](const auto& x, int axis) { return softmax(x, axis); });
  check("log_softmax", [](const auto& x, int axis) { return log_softmax(x, axis); });
  CHECK(same_bits(argmax(Tensor<float>(3.f), 0), zeros<std::int64_t>({})));
  CHECK(same_bits(argmin(Tensor<float>(3.f), -1, true), zeros<std::int64_t>({})));
  CHECK(any(Tensor<bool>(true), {0}).item());
  CHECK_THROWS_WITH(sum(Tensor<float>(1.f), {0, -1}), contains("axis -1 given twice"));
}

TEST_CASE("small tensors print in full", "[ops]") {
  CHECK(to_string(tensor<float>({{1, -2.5f}, {3, 4}})) == "float [2, 2]\n[[   1, -2.5],\n [   3,    4]]");
  CHECK(to_string(Tensor<double>(0.1)) == "double [] 0.1");
  CHECK(to_string(tensor<bool>({true, false})) == "bool [2]\n[ true, false]");
  CHECK(to_string(reshape(arange<std::int64_t>(4), {2, 1, 2})) == "int64 [2, 1, 2]\n[[[0, 1]],\n\n [[2, 3]]]");
  CHECK(to_string(zeros<std::uint8_t>({0, 3})) == "uint8 [0, 3]");
  CHECK(to_string(tensor<double>({kNan, -kInfinity})) == "double [2]\n[ nan, -inf]");
  CHECK(to_string(Tensor<float>()) == "float tensor without a value");
}

TEST_CASE("large tensors print their edges and a summary", "[ops]") {
  CHECK(to_string(arange<std::int32_t>(2001)) ==
        "int32 [2001], min 0 mean 1000 max 2000\n[   0,    1,    2, ..., 1998, 1999, 2000]");
  const std::string text = to_string(reshape(arange<float>(10000), {100, 100}));
  CHECK(text.substr(0, 47) == "float [100, 100], min 0 mean 4999.5 max 9999\n[[");
  CHECK_THAT(text, contains("],\n ...,\n [9700, 9701, 9702, ..., 9797, 9798, 9799],\n"));
  std::vector<double> numbers(1001, 2.0);
  numbers[500] = kNan;
  CHECK_THAT(to_string(from_vector(numbers)), contains("min 2 mean 2 max 2, 1 NaN"));
}

namespace {
/// A stream of the least that `<<` asks for.
struct Log {
  std::string text;
  Log& operator<<(const std::string& more) {
    text += more;
    return *this;
  }
};
}  // namespace

TEST_CASE("tensors print to any stream of strings", "[ops]") {
  Log log;
  log << tensor<float>({1, 2}) << std::string("; ") << Tensor<std::int32_t>(7);
  CHECK(log.text == "float [2]\n[1, 2]; int32 [] 7");
}
