#pragma once
// Few-shot regression: functions of families drawn at random, each to be learned from a few of its points. Sinusoids as
// in Finn, Abbeel, Levine, "Model-agnostic meta-learning for fast adaptation of deep networks", ICML 2017; mixtures as
// in Yao, Wu, Tao, Li, Ding, Li, Li, "Automated relational meta-learning", ICLR 2020, and Vuorio, Sun, Hu, Lim,
// "Multimodal model-agnostic meta-learning via task-aware modulation", NeurIPS 2019. All ranges are those of the
// authors' programs.

#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Functions of one form, y = value(numbers, x), whose numbers are drawn uniformly.
struct FunctionFamily {
  std::string name;
  std::vector<std::pair<double, double>> ranges;  ///< of its numbers: from, up to
  double (*value)(const double* numbers, const double* x) = nullptr;
  Index inputs = 1;  ///< how many coordinates of x it depends on
};

/// Families, each as likely as another, and the points at which their functions are seen.
struct FunctionMixture {
  std::vector<FunctionFamily> families;
  Index inputs = 1;           ///< coordinates of a point; those that a function does not depend on are 1
  double low = -5, high = 5;  ///< coordinates are uniform in [low, high)
  double noise = 0;           ///< standard deviation of what is added to every y, normal
};

/// Points of functions, x [functions, points, inputs] and y [functions, points, 1].
struct FunctionPoints {
  Tensor<> x, y;
};

/// Functions as few-shot tasks: learn each from its `support`, answer on its `query`.
struct FunctionTasks {
  FunctionPoints support, query;
  List<Index> families;  ///< [functions]: the place of each function's family in the mixture
};

/// MAML's: a sin(x - p), a in [0.1, 5], p in [0, pi], x in [-5, 5]. The mean square of y is 4.2517; the best answer
/// that does not look at the support is -1.6234 cos x, with mean squared error 3.0057: E a = 2.55, E cos p = 0, E sin p
/// = 2 / pi.
inline FunctionMixture sinusoid_functions() {
  return {{{"sinusoid", {{0.1, 5}, {0, std::numbers::pi}}, [](const double* c, const double* x) {
              return c[0] * std::sin(x[0] - c[1]);
            }}}};
}

namespace detail {

/// a sin(f x + p), a x + b, a x^2 + b x + c and a x^3 + b x^2 + c x + d as in the program of ARML.
inline std::vector<FunctionFamily> arml_curves() {
  return {{"sinusoid",
           {{0.1, 5}, {0, 2 * std::numbers::pi}, {0.8, 1.2}},
           [](const double* c, const double* x) { return c[0] * std::sin(c[2] * x[0] + c[1]); }},
          {"line", {{-3, 3}, {-3, 3}}, [](const double* c, const double* x) { return c[0] * x[0] + c[1]; }},
          {"quadratic",
           {{-0.2, 0.2}, {-2, 2}, {-3, 3}},
           [](const double* c, const double* x) { return (c[0] * x[0] + c[1]) * x[0] + c[2]; }},
          {"cubic", {{-0.1, 0.1}, {-0.2, 0.2}, {-2, 2}, {-3, 3}}, [](const double* c, const double* x) {
             return ((c[0] * x[0] + c[1]) * x[0] + c[2]) * x[0] + c[3];
           }}};
}

}  // namespace detail

/// ARML's six families over the plane, with noise 0.3: four curves along x1 (x2 is 1 there), the surface a x1^2 + b
/// x2^2 and the ripple sin(-a |x|^2) + b. No answer can have a mean squared error below that of the noise, 0.09.
inline FunctionMixture arml_functions() {
  FunctionMixture mixture{detail::arml_curves(), 2, -5, 5, 0.3};
  mixture.families.push_back({"surface",
                              {{-1, 1}, {-1, 1}},
                              [](const double* c, const double* x) { return c[0] * x[0] * x[0] + c[1] * x[1] * x[1]; },
                              2});
  mixture.families.push_back(
      {"ripple",
       {{-0.2, 0.2}, {-3, 3}},
       [](const double* c, const double* x) { return std::sin(-c[0] * (x[0] * x[0] + x[1] * x[1])) + c[1]; },
       2});
  return mixture;
}

/// Six families over the line, with noise 0.3: ARML's four curves, and the absolute value a |x - c| + b and
/// a tanh(x - c) + b of Vuorio et al.
inline FunctionMixture line_functions() {
  FunctionMixture mixture{detail::arml_curves(), 1, -5, 5, 0.3};
  mixture.families.push_back({"absolute", {{-3, 3}, {-3, 3}, {-3, 3}}, [](const double* c, const double* x) {
                                return c[0] * std::abs(x[0] - c[1]) + c[2];
                              }});
  mixture.families.push_back({"tanh", {{-3, 3}, {-3, 3}, {-3, 3}}, [](const double* c, const double* x) {
                                return c[0] * std::tanh(x[0] - c[1]) + c[2];
                              }});
  return mixture;
}

/// `functions` functions of a mixture with `shots` support and `queries` query points each; function i depends on
/// (random, i) only, so that more of them begin with the same. Throws ValueError for a mixture without families or with
/// one that does not fit, fewer than one function or point, or numbers that are not finite.
inline FunctionTasks draw_functions(const FunctionMixture& mixture, Index functions, Index shots, Index queries,
                                    const Random& random, Site site = Site::current()) {
  const char* op = "draw_functions";
  const Index inputs = mixture.inputs, kinds = static_cast<Index>(mixture.families.size());
  if (kinds == 0 || inputs < 1) fail(op, {kinds, " families over ", inputs, " coordinates"}, {}, site);
  if (functions < 1 || shots < 1 || queries < 1)
    fail(op, {functions, " functions with ", shots, " support and ", queries, " query points"}, {}, site);
  detail::check_option<double>(op, "low", mixture.low, detail::Range::finite, site);
  detail::check_option<double>(op, "high", mixture.high, detail::Range::finite, site);
  detail::check_option<float>(op, "noise", mixture.noise, detail::Range::not_negative, site);
  for (const FunctionFamily& family : mixture.families)
    if (!family.value || family.inputs < 1 || family.inputs > inputs)
      fail(op, {"family ", family.name, " takes ", family.inputs, " of ", inputs, " coordinates"}, {}, site);

  FunctionTasks tasks;
  const Index each = shots + queries;
  List<float> x[2] = {List<float>(functions * shots * inputs), List<float>(functions * queries * inputs)};
  List<float> y[2] = {List<float>(functions * shots), List<float>(functions * queries)};
  List<double> numbers, point(inputs, 1.0);
  for (Index i = 0; i < functions; ++i) {
    const Random own = random.stream(static_cast<std::uint64_t>(i)), of_points = own.stream("points"),
                 of_noise = own.stream("noise");
    tasks.families.push_back(own.below(0, kinds, site));
    const FunctionFamily& family = mixture.families[static_cast<std::size_t>(tasks.families[i])];
    numbers.clear();
    for (const auto& [low, high] : family.ranges)
      numbers.push_back(own.uniform(1 + static_cast<std::uint64_t>(numbers.size()), low, high));
    for (Index c = 0; c < inputs; ++c) point[c] = 1;
    for (Index p = 0; p < each; ++p) {
      const bool asked = p >= shots;
      const Index row = asked ? i * queries + p - shots : i * shots + p;
      for (Index c = 0; c < inputs; ++c) {
        // The function is that of the point as it is stored.
        if (c < family.inputs)
          point[c] = static_cast<float>(
              of_points.uniform(static_cast<std::uint64_t>(p * inputs + c), mixture.low, mixture.high));
        x[asked][row * inputs + c] = static_cast<float>(point[c]);
      }
      double value = family.value(std::data(numbers), std::data(point));
      if (mixture.noise > 0) value += mixture.noise * of_noise.normal(static_cast<std::uint64_t>(p));
      y[asked][row] = static_cast<float>(value);
    }
  }
  tasks.support = {from_vector(x[0], {functions, shots, inputs}), from_vector(y[0], {functions, shots, 1})};
  tasks.query = {from_vector(x[1], {functions, queries, inputs}), from_vector(y[1], {functions, queries, 1})};
  return tasks;
}

}  // namespace GRAFT_ABI
}  // namespace graft
