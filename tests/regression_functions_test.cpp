// Functions drawn for few-shot regression: their forms, their ranges, and what MAML's sinusoids are known to be.

#include <cmath>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/core/parallel.hpp"
#include "graft/data/functions.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/losses.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

double mean_square(const Tensor<>& x) { return mean(square(cast<double>(x))).item(); }

/// The residual of a least-squares fit of y to functions of x, of every drawn function of a family, the largest.
template <class Basis>
double worst_fit(const FunctionMixture& mixture, const std::string& family, const Basis& basis, int columns) {
  const FunctionTasks tasks = draw_functions(mixture, 300, 20, 1, Random(3));
  double worst = 0;
  for (Index i = 0; i < 300; ++i) {
    if (mixture.families[tasks.families[i]].name != family) continue;
    const Tensor<double> a = generate({20, columns}, [&](Index p, Index c) {
      return basis(tasks.support.x.at({i, p, 0}), mixture.inputs > 1 ? tasks.support.x.at({i, p, 1}) : 1.0f, c);
    });
    const Tensor<double> y = cast<double>(reshape(slice(tasks.support.y, 0, i, i + 1), {20, 1}));
    const Tensor<double> fit = matmul(a, solve(matmul(transpose(a), a), matmul(transpose(a), y)));
    worst = std::max(worst, max(abs(fit - y)).item());
  }
  return worst;
}
FunctionMixture without_noise(FunctionMixture mixture) {
  mixture.noise = 0;
  return mixture;
}

}  // namespace

TEST_CASE("a drawn function has support and query points, and depends on its own stream only", "[data][threads]") {
  for (const FunctionMixture& mixture : {sinusoid_functions(), line_functions(), arml_functions()}) {
    const FunctionTasks tasks = draw_functions(mixture, 40, 7, 3, Random(1));
    CHECK(tasks.support.x.shape() == Shape{40, 7, mixture.inputs});
    CHECK(tasks.support.y.shape() == Shape{40, 7, 1});
    CHECK(tasks.query.x.shape() == Shape{40, 3, mixture.inputs});
    CHECK(tasks.query.y.shape() == Shape{40, 3, 1});
    CHECK(tasks.families.size() == 40);
    CHECK(min(tasks.support.x).item() >= -5);
    CHECK(max(tasks.support.x).item() < 5);
    const FunctionTasks fewer = draw_functions(mixture, 4, 7, 3, Random(1));
    CHECK(same_bits(fewer.query.y, slice(tasks.query.y, 0, 0, 4)));
    CHECK(same_bits(fewer.support.x, slice(tasks.support.x, 0, 0, 4)));
    const FunctionTasks more_queries = draw_functions(mixture, 40, 7, 9, Random(1));
    CHECK(same_bits(more_queries.support.y, tasks.support.y));
    CHECK_FALSE(same_bits(draw_functions(mixture, 40, 7, 3, Random(2)).support.y, tasks.support.y));
  }
}

TEST_CASE("MAML's sinusoids: mean square 4.2517, and 3.0057 for the best answer that does not adapt", "[data]") {
  // E a^2 / 2 (1 - E cos(2 x - 2 p)), and E (y - E y)^2, by integrals over a, p and x; 2 million points of 100000
  // waves.
  const FunctionTasks tasks = draw_functions(sinusoid_functions(), 100000, 1, 20, Random(5));
  const Tensor<>& x = tasks.query.x;
  CHECK(mean_square(tasks.query.y) == Approx(4.2517).epsilon(0.01));
  CHECK(mean_square(tasks.query.y + 1.6234f * cos(x)) == Approx(3.0057).epsilon(0.01));
  // Of any other factor the error is larger, by the square of the difference times the mean of cos^2 over [-5, 5].
  const double cosines = 0.5 + std::sin(10.0) / 20;
  for (const float factor : {1.2f, 2.0f})
    CHECK(mean_square(tasks.query.y + factor * cos(x)) ==
          Approx(3.0057 + (factor - 1.6234) * (factor - 1.6234) * cosines).epsilon(0.01));
}

TEST_CASE("every family has its form", "[data]") {
  const auto power = [](double x, double, int c) { return std::pow(x, c); };
  for (const FunctionMixture& mixture : {without_noise(line_functions()), without_noise(arml_functions())}) {
    CHECK(worst_fit(mixture, "line", power, 2) < 1e-4);
    CHECK(worst_fit(mixture, "quadratic", power, 3) < 1e-4);
    CHECK(worst_fit(mixture, "quadratic", power, 2) > 0.1);
    CHECK(worst_fit(mixture, "cubic", power, 4) < 1e-4);
    CHECK(worst_fit(mixture, "cubic", power, 3) > 0.1);
    CHECK(worst_fit(mixture, "sinusoid", power, 4) > 0.1);
  }
  const FunctionMixture arml = without_noise(arml_functions());
  CHECK(worst_fit(
            arml, "surface", [](double x, double z, int c) { return c == 0 ? x * x : z * z; }, 2) < 1e-4);
  CHECK(worst_fit(
            arml, "surface", [](double x, double, int) { return x * x; }, 1) > 0.1);
  const auto at = [](const FunctionMixture& mixture, std::size_t family, std::vector<double> numbers, double x,
                     double z = 1) {
    const double point[] = {x, z};
    return mixture.families[family].value(numbers.data(), point);
  };
  const double half_pi = std::numbers::pi / 2;
  CHECK(at(sinusoid_functions(), 0, {2, half_pi}, std::numbers::pi) == Approx(2));
  CHECK(at(arml, 0, {2, half_pi, 0.9}, 0) == Approx(2));
  CHECK(at(arml, 5, {-half_pi / 5, 7}, 2, 1) == Approx(8));
  CHECK(at(line_functions(), 4, {2, 1, 3}, -1) == 7);
  CHECK(at(line_functions(), 5, {2, 1, 3}, 1) == 3);
  CHECK(at(line_functions(), 5, {2, 1, 3}, 5) == Approx(5).epsilon(1e-3));
}

TEST_CASE("families are equally likely, idle coordinates are 1, noise is of its size", "[data]") {
  const FunctionMixture arml = arml_functions();
  const FunctionTasks tasks = draw_functions(arml, 6000, 10, 1, Random(7));
  std::map<Index, int> counts;
  for (Index i = 0; i < 6000; ++i) ++counts[tasks.families[i]];
  REQUIRE(counts.size() == 6);
  for (const auto& [family, count] : counts) CHECK(std::abs(count - 1000) < 5 * std::sqrt(6000 * 5.0 / 36));
  for (Index i = 0; i < 100; ++i)
    for (Index p = 0; p < 10; ++p) CHECK((tasks.support.x.at({i, p, 1}) == 1) == (tasks.families[i] < 4));

  const FunctionTasks clean = draw_functions(without_noise(arml), 6000, 10, 1, Random(7));
  CHECK(same_bits(clean.support.x, tasks.support.x));
  const Tensor<> noise = tasks.support.y - clean.support.y;  // 60000 numbers: the deviation of their square is 0.6 %
  CHECK(mean_square(noise) == Approx(0.09).epsilon(0.03));
  CHECK(std::abs(mean(noise).item()) < 5 * 0.3 / std::sqrt(60000.0));
}

TEST_CASE("mixtures that cannot be drawn from", "[data]") {
  const auto refused = [](FunctionMixture mixture, Index functions = 1, Index shots = 1, Index queries = 1) {
    return message<ValueError>([&] { draw_functions(mixture, functions, shots, queries, Random(1)); });
  };
  CHECK_THAT(refused({}), contains("draw_functions: 0 families"));
  CHECK_THAT(refused(sinusoid_functions(), 0), contains("0 functions"));
  CHECK_THAT(refused(sinusoid_functions(), 1, 0), contains("0 support"));
  CHECK_THAT(refused(sinusoid_functions(), 1, 1, 0), contains("0 query"));
  FunctionMixture wrong = sinusoid_functions();
  wrong.noise = -1;
  CHECK_THAT(refused(wrong), contains("noise is -1"));
  wrong = sinusoid_functions();
  wrong.high = INFINITY;
  CHECK_THAT(refused(wrong), contains("high is inf"));
  wrong = arml_functions();
  wrong.inputs = 1;
  CHECK_THAT(refused(wrong), contains("surface takes 2 of 1"));
  wrong.families[0].value = nullptr;
  CHECK_THAT(refused(wrong), contains("sinusoid"));
}
