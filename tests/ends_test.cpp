// Where elementwise functions and their derivatives are singular or undefined: zeros, NaN, the sides of a `where` that
// are not taken. What is expected is on docs/conventions.md; where that is a convention, it is PyTorch's unless said
// otherwise.

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/pool.hpp"
#include "graft/ops/statistics.hpp"

using namespace graft;

namespace {

using D = Tensor<double>;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

void check_equal(const D& a, const std::vector<double>& expected) {
  REQUIRE(a.count() == static_cast<Index>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double x = a.data()[i], y = expected[i];
    INFO("number " << i << " is " << x << ", expected " << y);
    CHECK((x == y || (std::isnan(x) && std::isnan(y)) || std::fabs(x - y) <= 1e-12 * std::fabs(y)));
  }
}

/// First to third derivatives of the sum of an elementwise f, each by every way there is.
void check_derivatives(const std::function<D(const D&)>& f, const D& x, const std::vector<double>& first,
                       const std::vector<double>& second, const std::vector<double>& third) {
  const auto total = [&](const D& at) { return sum(f(at)); };
  const D one = ones<double>(x.shape());
  const auto slopes = [&](const D& at) { return sum(grad(total, at, {.create_graph = true})); };
  check_equal(grad(total, x), first);
  check_equal(grad(total, x, {.create_graph = true}), first);
  check_equal(jvp(f, x, one).second, first);
  check_equal(hvp(total, x, one).second, second);
  check_equal(grad(slopes, x), second);
  check_equal(hvp(slopes, x, one).second, third);
  // With a term in x itself: where the second derivative is constant, a gradient of it would be an error.
  const auto seconds = [&](const D& at) { return sum(hvp(total, at, one, {.create_graph = true}).second + 0 * at); };
  check_equal(grad(seconds, x), third);
}

}  // namespace

TEST_CASE("pow: values at the ends are C's", "[elementwise]") {
  check_equal(pow(zeros<double>({6}), tensor<double>({0, 1, 2, 0.5, -1, kNan})), {1, 0, 0, 0, kInfinity, kNan});
  check_equal(
      pow(tensor<double>({kInfinity, kNan, 1, 1, -8, -8, -2}), tensor<double>({0, 0, -kInfinity, kNan, 3, 0.5, -2})),
      {1, 1, 1, 1, -512, kNan, 0.25});
  check_equal(pow(tensor<double>({-3, 0, kNan}), 2), {9, 0, kNan});
}

TEST_CASE("pow: derivatives of whole powers are right at 0", "[elementwise]") {
  const D x = tensor<double>({0, -2, 3});
  check_derivatives([](const D& v) { return pow(v, 0); }, x, {0, 0, 0}, {0, 0, 0}, {0, 0, 0});
  check_derivatives([](const D& v) { return pow(v, 1); }, x, {1, 1, 1}, {0, 0, 0}, {0, 0, 0});
  check_derivatives([](const D& v) { return pow(v, 2); }, x, {0, -4, 6}, {2, 2, 2}, {0, 0, 0});
  check_derivatives([](const D& v) { return pow(v, 3); }, x, {0, 12, 27}, {0, -12, 18}, {6, 6, 6});
  check_derivatives([](const D& v) { return map([](auto w) { return pow(w, 2); }, v); }, x, {0, -4, 6}, {2, 2, 2},
                    {0, 0, 0});
  check_derivatives([](const D& v) { return map([](auto w) { return pow(w, 3); }, v); }, x, {0, 12, 27}, {0, -12, 18},
                    {6, 6, 6});
  // The exponent as a tensor, without a gradient of its own.
  check_derivatives([](const D& v) { return pow(v, full<double>({3}, 2)); }, x, {0, -4, 6}, {2, 2, 2}, {0, 0, 0});
}

TEST_CASE("pow: gradients at zeros and tiny bases", "[elementwise]") {
  const auto slope_x = [](double x, double y) { return grad([&](const D& v) { return pow(v, D(y)); }, D(x)).item(); };
  const auto slope_y = [](double x, double y) { return grad([&](const D& v) { return pow(D(x), v); }, D(y)).item(); };
  CHECK(slope_x(0, 0.5) == kInfinity);
  CHECK(slope_x(0, 0) == 0);
  CHECK(slope_x(0, -1) == -kInfinity);
  CHECK(slope_y(0, 2) == 0);
  CHECK(slope_y(0, 0) == 0);
  CHECK(slope_y(0, -1) == -kInfinity);
  CHECK(std::isnan(slope_y(-2, 3)));
  CHECK(slope_y(1e-100, 0.01) == Approx(0.1 * std::log(1e-100)));
  CHECK(slope_y(3, 2) == Approx(9 * std::log(3)));
}

TEMPLATE_TEST_CASE("a NaN propagates, whichever argument holds it", "[elementwise]", float, double) {
  using T = TestType;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const Tensor<T> x = tensor<T>({nan, 1, 2}), y = tensor<T>({1, nan, 3});
  const auto nans = [](const Tensor<T>& z) {
    std::vector<bool> is;
    for (T v : z.span()) is.push_back(v != v);
    return is;
  };
  const std::vector<bool> both = {true, true, false}, first = {true, false, false};
  CHECK(nans(maximum(x, y)) == both);
  CHECK(nans(minimum(x, y)) == both);
  CHECK(nans(map([](auto a, auto b) { return maximum(a, b) - minimum(a, b); }, x, y)) == both);
  CHECK(nans(maximum(x, 0)) == first);
  CHECK(nans(minimum(x, 0)) == first);
  CHECK(nans(clamp(x, -1, 1)) == first);
  CHECK(nans(clamp(x, y, full<T>({3}, 5))) == both);
  CHECK(nans(clamp(full<T>({3}, 5), x, y)) == both);
  CHECK(nans(relu(x)) == first);
  for (const Tensor<T>& z : {x, y}) {
    CHECK(std::isnan(max(z).item()));
    CHECK(std::isnan(min(z).item()));
    CHECK(std::isnan(max_pool2d(reshape(concat<T>({z, z, z}), {1, 3, 3, 1}), {.kernel = 3}).item()));
  }
  CHECK(nans(clip_by_norm(std::vector{tensor<T>({nan, 100, 1})}, 1)[0]) == std::vector<bool>{true, true, true});
}

TEST_CASE("a gradient passes through maximum to both arguments where one is a NaN", "[elementwise]") {
  const D x = tensor<double>({kNan, 1, 2, 3}), y = tensor<double>({1, kNan, 2, 1});
  check_equal(grad([&](const D& v) { return sum(maximum(v, y)); }, x), {1, 1, 0.5, 1});
  check_equal(grad([&](const D& v) { return sum(minimum(x, v)); }, y), {1, 1, 0.5, 1});
}

TEST_CASE("the side of a where that is not taken sends no gradient, in any order", "[elementwise]") {
  const D x = tensor<double>({0, -1, 4});
  const auto check = [&](auto f, double first, double second, double third) {
    check_derivatives([&](const D& v) { return map(f, v); }, x, {0, 0, first}, {0, 0, second}, {0, 0, third});
    check_derivatives(f, x, {0, 0, first}, {0, 0, second}, {0, 0, third});
  };
  check([](auto v) { return where(v > 0, sqrt(v), 0); }, 1. / 4, -1. / 32, 3. / 256);
  check([](auto v) { return where(v <= 0, 1, log(v)); }, 1. / 4, -1. / 16, 1. / 32);
  check([](auto v) { return where(v > 0, 1 / v, 0); }, -1. / 16, 1. / 32, -3. / 128);
  check([](auto v) { return where(v > 0, reciprocal(v), 0); }, -1. / 16, 1. / 32, -3. / 128);
  check([](auto v) { return where(v > 0, rsqrt(v), 0); }, -1. / 16, 3. / 128, -15. / 1024);
  check([](auto v) { return where(v > 0, pow(v, 0.5), 0); }, 1. / 4, -1. / 32, 3. / 256);
  check([](auto v) { return where(v > 0, pow(v, -1), 0); }, -1. / 16, 1. / 32, -3. / 128);
  check([](auto v) { return where(v > 0, log1p(v - 1), 0); }, 1. / 4, -1. / 16, 1. / 32);
  check([](auto v) { return where(v > 0, v * log(v), 0); }, std::log(4) + 1, 1. / 4, -1. / 16);
  check([](auto v) { return where(v > 0, sqrt(sqrt(v * v)), 0); }, 1. / 4, -1. / 32, 3. / 256);
  check([](auto v) { return where(v > -3, where(v > 0, log(v), 0), sqrt(v)); }, 1. / 4, -1. / 16, 1. / 32);
  // The choice inside, where a slope is infinite outside of it.
  check([](auto v) { return sqrt(where(v > 0, v, 0)); }, 1. / 4, -1. / 32, 3. / 256);
}

TEST_CASE("map of several inputs: what is not taken sends no gradient to any of them", "[elementwise]") {
  const D x = tensor<double>({0, 4}), y = tensor<double>({0, 2});
  const auto quotient = [](const D& a, const D& b) {
    return sum(map([](auto u, auto v) { return where(v != 0, u / v, 0); }, a, b));
  };
  for (const bool create_graph : {false, true}) {
    check_equal(grad([&](const D& a) { return quotient(a, y); }, x, {.create_graph = create_graph}), {0, 0.5});
    check_equal(grad([&](const D& b) { return quotient(x, b); }, y, {.create_graph = create_graph}), {0, -1});
  }
  check_equal(hvp([&](const D& b) { return quotient(x, b); }, y, ones<double>({2})).second, {0, 1});
}

TEST_CASE("a factor of zero in the chain rule gives zero, whatever the other", "[elementwise]") {
  // d/dx of 0 sqrt(x) is 0 for every x > 0. PyTorch gives NaN at 0, here and below.
  const D x = tensor<double>({0, 4}), mask = tensor<double>({0, 1});
  check_derivatives([&](const D& v) { return mask * sqrt(v); }, x, {0, 0.25}, {0, -1. / 32}, {0, 3. / 256});
  const auto size = [](const D& v) { return sqrt(square(v)); };
  check_equal(grad([&](const D& v) { return sum(size(v)); }, x), {0, 1});
  check_equal(grad([&](const D& v) { return sum(map([](auto w) { return sqrt(square(w)); }, v)); }, x), {0, 1});
  check_equal(chain_product(tensor<double>({0, kInfinity, kNan, 2}), tensor<double>({kNan, 0, 1, 3})), {0, 0, kNan, 6});
}

TEST_CASE("sinh and cosh keep tiny arguments, erf and gelu huge ones, log denormal ones", "[elementwise]") {
  CHECK(sinh(Tensor<float>(1e-8f)).item() == 1e-8f);
  CHECK(grad([](const Tensor<float>& x) { return cosh(x); }, Tensor<float>(1e-7f)).item() == 1e-7f);
  check_equal(erf(tensor<double>({1e62, 1e300, kInfinity, -1e300})), {1, 1, 1, -1});
  check_equal(gelu(tensor<double>({1e63, kInfinity, -1e63, -kInfinity})), {1e63, kInfinity, 0, 0});
  check_equal(log(tensor<double>({2e-308, 1e-310})), {std::log(2e-308), std::log(1e-310)});
}

TEST_CASE("statistics of nothing, and of a sample of one, are NaN", "[ops]") {
  const D nothing = zeros<double>({0}), one = ones<double>({1});
  for (const bool sample : {false, true}) {
    CHECK(std::isnan(var(nothing, {}, {.sample = sample}).item()));
    CHECK(std::isnan(stddev(nothing, {}, {.sample = sample}).item()));
    check_equal(var(zeros<double>({2, 0}), {1}, {.sample = sample}), {kNan, kNan});
  }
  CHECK(std::isnan(var(one, {}, {.sample = true}).item()));
  CHECK(var(one).item() == 0);
  CHECK(std::isnan(mean(nothing).item()));
}
