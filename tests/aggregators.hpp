#pragma once
// Jacobians on which every aggregator of gradients is tried, and what can be asked of its weights. Directions are
// compared, not weights: where rows depend on each other, many weights make one direction.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gap.hpp"
#include "graft/common/aggregator.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"
#include "method_table.hpp"

using namespace graft;

using Numbers = Tensor<double>;

inline double at(const Numbers& x, Index i) { return host(x)[i]; }
inline double at(const Numbers& x, Index i, Index j) { return at(x, i * x.size(1) + j); }
inline Numbers row_of(const Numbers& x, Index i) { return reshape(slice(x, 0, i, i + 1), {x.size(1)}); }
inline double inner(const Numbers& a, const Numbers& b) { return sum(a * b).item(); }
/// The catalogue's rows: |g1|^2 = 18, |g2|^2 = 38, <g1, g2> = -22.
inline const Numbers golden = tensor<double>({{-4, 1, 1}, {6, 1, 1}});

/// One gradient a row, [tasks, n].
struct TestJacobian {
  std::string name;
  Numbers rows;
  bool stationary = false;  ///< some convex combination of the rows is 0 (a row of zeros is one)
};

/// [tasks, tasks]
inline Numbers gramian_of(const Numbers& jacobian) { return matmul(jacobian, jacobian, {.transpose_b = true}); }
/// sum_i weights_i g_i, [n].
inline Numbers direction_of(const Numbers& weights, const Numbers& jacobian) {
  return reshape(matmul(reshape(weights, {1, jacobian.size(0)}), jacobian), {jacobian.size(1)});
}
/// |x|, without overflow for numbers below 1e150.
inline double length_of(const Numbers& x) {
  double squared = 0;
  for (double value : host(x)) squared += value * value;
  return std::sqrt(squared);
}
/// The rows' lengths.
inline std::vector<double> lengths_of(const Numbers& jacobian) {
  std::vector<double> lengths;
  for (Index i = 0; i < jacobian.size(0); ++i) lengths.push_back(length_of(slice(jacobian, 0, i, i + 1)));
  return lengths;
}
inline double cosine(const Numbers& a, const Numbers& b) { return inner(a, b) / (length_of(a) * length_of(b)); }
/// sum_i |weights_i| |g_i|: what the direction's rounding errors are relative to.
inline double size_of(const Numbers& weights, const Numbers& jacobian) {
  const std::vector<double> lengths = lengths_of(jacobian);
  double size = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) size += std::abs(host(weights)[i]) * lengths[i];
  return size;
}
/// Row i times scales_i.
inline Numbers scale_rows(const Numbers& scales, const Numbers& jacobian) {
  return reshape(scales, {scales.count(), 1}) * jacobian;
}
/// Normal numbers.
inline Numbers random_rows(Index tasks, Index n, std::uint64_t stream) {
  return randn<double>({tasks, n}, Random(3).stream(stream));
}
/// Rows in the order given.
inline Numbers reorder(const Numbers& jacobian, const std::vector<Index>& order) {
  std::vector<Numbers> rows;
  for (Index i : order) rows.push_back(slice(jacobian, 0, i, i + 1));
  return concat(rows, 0);
}

/// Random rows, dependent ones, zeros, tiny and huge ones, one task, opposite ones.
inline std::vector<TestJacobian> test_jacobians() {
  const auto random = [](Index tasks, Index n, std::uint64_t stream) {
    return randn<double>({tasks, n}, Random(41).stream(stream));
  };
  const auto join = [](std::vector<Numbers> rows) { return concat(rows, 0); };
  /// Rows with a first number of 2 or more: along the first axis no two of them conflict, so none of these is
  /// stationary.
  const auto ahead = [&](Index tasks, Index n, std::uint64_t stream) {
    const Numbers x = random(tasks, n - 1, stream);
    return concat(std::vector{full<double>({tasks, 1}, 2.0), x}, 1);
  };
  const Numbers row = random(1, 5, 1), wide = ahead(4, 30, 2), uneven = tensor<double>({1, 1e-6, 1e3, 0.02});
  std::vector<TestJacobian> all{
      {"golden", golden},
      {"at right angles", tensor<double>({{2, 0, 0}, {0, 3, 0}, {0, 0, 0.5}})},
      {"in one orthant", tensor<double>({{1, 2, 0, 0.5}, {0, 1, 4, 0}, {3, 0, 0.5, 1}})},
      {"one task", row},
      {"one task of zeros", zeros<double>({1, 3}), true},
      {"all zeros", zeros<double>({3, 4}), true},
      {"a row of zeros", join({golden, zeros<double>({1, 3})}), true},
      {"rows of zeros among others", join({zeros<double>({1, 30}), wide, zeros<double>({1, 30})}), true},
      {"opposite", join({row, -1.0 * row}), true},
      {"opposite, of unequal lengths", join({row, -3.0 * row}), true},
      {"opposite, and one beside them", join({row, -2.0 * row, random(1, 5, 3)}), true},
      {"the same twice", join({row, row})},
      {"parallel", join({row, 5.0 * row, 0.1 * row})},
      {"a row twice", join({golden, slice(golden, 0, 0, 1)})},
      {"all rows twice", join({wide, wide})},
      {"rank 2 of 5", matmul(tensor<double>({{1, 0}, {1, 1}, {0.2, -0.5}, {2, -3}, {1, 4}}), ahead(2, 9, 4))},
      {"more tasks than numbers", ahead(7, 3, 5)},
      {"as many tasks as numbers", ahead(6, 6, 6)},
      {"around the origin", tensor<double>({{1, 0}, {-0.5, 0.8}, {-0.5, -0.7}}), true},
      {"uneven lengths", scale_rows(uneven, wide)},
      {"nearly parallel", row + 1e-4 * random(4, 5, 7)},
      {"nearly opposite", join({row, -1.0 * row + 1e-3 * random(1, 5, 8)})},
      {"tiny", 1e-12 * wide},
      {"huge", 1e12 * wide},
      {"tiny and opposite", 1e-12 * join({row, -2.0 * row}), true},
      {"tiny beside huge", scale_rows(tensor<double>({1e-12, 1e12}), golden)},
      {"twelve tasks", ahead(12, 40, 9)},
  };
  for (std::uint64_t i = 0; i < 8; ++i)
    all.push_back({"random " + std::to_string(i), ahead(2 + static_cast<Index>(i), 10, 20 + i)});
  for (std::uint64_t i = 0; i < 6; ++i)  // in spaces wide enough that rows are independent
    all.push_back({"normal " + std::to_string(i), random(3 + static_cast<Index>(i), 20, 40 + i)});
  return all;
}

/// <g_i, d> >= 0 for all tasks, but for rounding: `tolerance` is relative to |g_i| sum_k |weights_k| |g_k|.
inline bool never_conflicts(const Numbers& weights, const Numbers& jacobian, double tolerance = 1e-9) {
  const Numbers along = matmul(jacobian, reshape(direction_of(weights, jacobian), {-1, 1}));
  const std::vector<double> lengths = lengths_of(jacobian);
  const double size = size_of(weights, jacobian);
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (!(host(along)[i] >= -tolerance * lengths[i] * size)) return false;
  return true;
}

/// |sum_i weights_i g_i - direction| relative to sum_i |weights_i| |g_i|, and to the direction's length if it is more.
inline double direction_gap(const Numbers& weights, const Numbers& jacobian, const Numbers& direction) {
  const double apart = length_of(direction_of(weights, jacobian) - direction);
  const double size = std::max(size_of(weights, jacobian), length_of(direction));
  return size == 0 ? apart : apart / size;
}

/// d(c J) = c d(J) for some c, where `weights_of(gramian)` are an aggregator's weights.
template <class WeightsOf>
bool scales_linearly(const WeightsOf& weights_of, const Numbers& jacobian, double tolerance = 1e-9) {
  const Numbers weights = weights_of(gramian_of(jacobian));
  for (double c : {3.0, 1e-7, 1e9}) {
    const Numbers scaled = c * jacobian;
    const Numbers expected = c * direction_of(weights, jacobian);
    const double size = c * size_of(weights, jacobian);
    const double apart = length_of(direction_of(weights_of(gramian_of(scaled)), scaled) - expected);
    if (!(apart <= tolerance * size)) return false;
  }
  return true;
}

/// The mean over draws of direction(rows, random) [n] does not depend on the order of the tasks, up to 4 standard
/// errors; single draws differ.
template <class Direction>
bool permutes_on_average(const Direction& direction, const Numbers& jacobian) {
  constexpr int draws = 2000;
  const auto moments = [&](const Numbers& rows, const char* name) {
    Numbers total = zeros<double>({rows.size(1)}), squares = total;
    for (int draw = 0; draw < draws; ++draw) {
      const Numbers d = direction(rows, Random(19).stream(name, draw));
      total = total + d;
      squares = squares + d * d;
    }
    const Numbers mean = total / static_cast<double>(draws);
    return std::pair(mean, squares / static_cast<double>(draws) - mean * mean);
  };
  std::vector<Index> order;
  for (Index i = 0; i < jacobian.size(0); ++i) order.push_back((i + 1) % jacobian.size(0));
  const auto [first, spread] = moments(jacobian, "as it is");
  const auto [second, other_spread] = moments(reorder(jacobian, order), "reordered");
  const Numbers allowed = 4.0 * sqrt((spread + other_spread) / static_cast<double>(draws));
  return max(spread).item() > 0 && max(abs(first - second) - allowed).item() <= 1e-12;
}

/// The direction does not depend on the order of the tasks.
template <class WeightsOf>
bool permutes(const WeightsOf& weights_of, const Numbers& jacobian, double tolerance = 1e-9) {
  const Index tasks = jacobian.size(0);
  const Numbers weights = weights_of(gramian_of(jacobian)), direction = direction_of(weights, jacobian);
  std::vector<Index> backwards, shifted, mixed = Random(7).permutation(tasks);
  for (Index i = 0; i < tasks; ++i) {
    backwards.push_back(tasks - 1 - i);
    shifted.push_back((i + 1) % tasks);
  }
  for (const auto& order : {backwards, shifted, mixed}) {
    const Numbers other = reorder(jacobian, order);
    const double apart = length_of(direction_of(weights_of(gramian_of(other)), other) - direction);
    if (!(apart <= tolerance * size_of(weights, jacobian))) return false;
  }
  return true;
}

/// Calls check(name, rows) for the test Jacobians and for rows of scales 1e-20 to 1e20 beside each other.
template <class Check>
void scan(const Check& check) {
  for (const TestJacobian& one : test_jacobians()) {
    INFO(one.name);
    check(one);
  }
  const Numbers mixed = tensor<double>({1e-20, 1e20, 1, 1e-20, 1e20});
  for (std::uint64_t i = 0; i < 4; ++i) {
    INFO("scales 1e-20 to 1e20, " << i);
    check(TestJacobian{"scales 1e-20 to 1e20", scale_rows(mixed, random_rows(5, 9, 100 + i))});
  }
}

inline Numbers gains(const Numbers& jacobian, const Numbers& direction) {
  return reshape(matmul(jacobian, reshape(direction, {-1, 1})), {jacobian.size(0)});
}
inline bool has_zero_row(const Numbers& jacobian) {
  for (double length : lengths_of(jacobian))
    if (length == 0) return true;
  return false;
}
inline const Numbers broken = tensor<double>({{1, 0}, {0, std::numeric_limits<double>::quiet_NaN()}});

/// What every function of a Gramian refuses.
template <class F>
std::vector<BadUse> bad_gramians(F weights_of) {
  return {bad_use<ShapeError>(
              [=] {
                weights_of(zeros<double>({2, 3}));
              },
              "[2, 3]"),
          bad_use<ShapeError>([=] { weights_of(zeros<double>({4})); }, "[4]"),
          bad_use<ValueError>(
              [=] {
                weights_of(zeros<double>({0, 0}));
              },
              "no tasks"),
          bad_use<ValueError>([=] { weights_of(broken); }, "nan"),
          bad_use<ValueError>(
              [=] {
                weights_of(full<double>({2, 2}, std::numeric_limits<double>::infinity()));
              },
              "inf"),
          bad_use<ValueError>(
              [=] {
                weights_of(tensor<double>({{-1, 0}, {0, 1}}));
              },
              "-1")};
}

/// The direction that an aggregator gives.
template <class A>
Numbers direction(A&& aggregator, const Numbers& jacobian, const Random& random = Random(1),
                  const List<Index>& ids = {}, Index all = 0, const Numbers& losses = {}, Site site = Site::current()) {
  TaskGradients gradients(jacobian, losses, random);
  if (ids.size() > 0) gradients.ids = ids, gradients.all_tasks = all;
  const Combination answer = [&] {
    if constexpr (requires { aggregator(gradients, site); })
      return aggregator(gradients, site);
    else
      return aggregator(gradients);
  }();
  return answer.direction.defined() ? answer.direction : direction_of(answer.weights, jacobian);
}
/// That for six tasks of many parameters: one use, for the standing checks.
inline Tensor<float> one_round(Aggregator aggregator, const Random& random) {
  const Numbers rows = randn<double>({6, 5000}, random.stream("rows"));
  return cast<float>(direction(aggregator, rows, random, {}, 0, abs(randn<double>({6}, random))));
}
/// The weights of an aggregator, as one that is chosen by name.
inline Numbers weights_by(Aggregator aggregator, const Numbers& jacobian, const Numbers& losses = {},
                          Site site = Site::current()) {
  TaskGradients gradients(jacobian, losses, Random(1));
  return aggregator(gradients, site).weights;
}
