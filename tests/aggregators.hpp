#pragma once
// Jacobians on which every aggregator of gradients is tried, and what can be asked of its weights. Directions are
// compared, not weights: where rows depend on each other, many weights make one direction.

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gap.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"

using Numbers = graft::Tensor<double>;

inline double at(const Numbers& x, graft::Index i) { return graft::host(x)[static_cast<std::size_t>(i)]; }
inline double at(const Numbers& x, graft::Index i, graft::Index j) { return at(x, i * x.size(1) + j); }
inline Numbers row_of(const Numbers& x, graft::Index i) {
  return graft::reshape(graft::slice(x, 0, i, i + 1), {x.size(1)});
}
inline double inner(const Numbers& a, const Numbers& b) { return sum(a * b).item(); }
/// The catalogue's rows: |g1|^2 = 18, |g2|^2 = 38, <g1, g2> = -22.
inline const Numbers golden = graft::tensor<double>({{-4, 1, 1}, {6, 1, 1}});

/// One gradient a row, [tasks, n].
struct TestJacobian {
  std::string name;
  Numbers rows;
  bool stationary = false;  ///< some convex combination of the rows is 0 (a row of zeros is one)
};

/// [tasks, tasks]
inline Numbers gramian_of(const Numbers& jacobian) { return graft::matmul(jacobian, jacobian, {.transpose_b = true}); }
/// sum_i weights_i g_i, [n].
inline Numbers direction_of(const Numbers& weights, const Numbers& jacobian) {
  return graft::reshape(graft::matmul(graft::reshape(weights, {1, jacobian.size(0)}), jacobian), {jacobian.size(1)});
}
/// |x|, without overflow for numbers below 1e150.
inline double length_of(const Numbers& x) {
  double squared = 0;
  for (double value : graft::host(x)) squared += value * value;
  return std::sqrt(squared);
}
/// The rows' lengths.
inline std::vector<double> lengths_of(const Numbers& jacobian) {
  std::vector<double> lengths;
  for (graft::Index i = 0; i < jacobian.size(0); ++i) lengths.push_back(length_of(graft::slice(jacobian, 0, i, i + 1)));
  return lengths;
}
inline double cosine(const Numbers& a, const Numbers& b) { return inner(a, b) / (length_of(a) * length_of(b)); }
/// sum_i |weights_i| |g_i|: what the direction's rounding errors are relative to.
inline double size_of(const Numbers& weights, const Numbers& jacobian) {
  const std::vector<double> lengths = lengths_of(jacobian);
  double size = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) size += std::abs(graft::host(weights)[i]) * lengths[i];
  return size;
}
/// Row i times scales_i.
inline Numbers scale_rows(const Numbers& scales, const Numbers& jacobian) {
  return graft::reshape(scales, {scales.count(), 1}) * jacobian;
}
/// Rows in the order given.
inline Numbers reorder(const Numbers& jacobian, const std::vector<graft::Index>& order) {
  std::vector<Numbers> rows;
  for (graft::Index i : order) rows.push_back(graft::slice(jacobian, 0, i, i + 1));
  return graft::concat(rows, 0);
}

/// Random rows, dependent ones, zeros, tiny and huge ones, one task, opposite ones.
inline std::vector<TestJacobian> test_jacobians() {
  using graft::Index;
  const auto random = [](Index tasks, Index n, std::uint64_t stream) {
    return graft::randn<double>({tasks, n}, graft::Random(41).stream(stream));
  };
  const auto join = [](std::vector<Numbers> rows) { return graft::concat(rows, 0); };
  /// Rows with a first number of 2 or more: along the first axis no two of them conflict, so none of these is
  /// stationary.
  const auto ahead = [&](Index tasks, Index n, std::uint64_t stream) {
    const Numbers x = random(tasks, n - 1, stream);
    return graft::concat(std::vector{graft::full<double>({tasks, 1}, 2.0), x}, 1);
  };
  const Numbers row = random(1, 5, 1), wide = ahead(4, 30, 2), uneven = graft::tensor<double>({1, 1e-6, 1e3, 0.02});
  std::vector<TestJacobian> all{
      {"golden", golden},
      {"at right angles", graft::tensor<double>({{2, 0, 0}, {0, 3, 0}, {0, 0, 0.5}})},
      {"in one orthant", graft::tensor<double>({{1, 2, 0, 0.5}, {0, 1, 4, 0}, {3, 0, 0.5, 1}})},
      {"one task", row},
      {"one task of zeros", graft::zeros<double>({1, 3}), true},
      {"all zeros", graft::zeros<double>({3, 4}), true},
      {"a row of zeros", join({golden, graft::zeros<double>({1, 3})}), true},
      {"rows of zeros among others", join({graft::zeros<double>({1, 30}), wide, graft::zeros<double>({1, 30})}), true},
      {"opposite", join({row, -1.0 * row}), true},
      {"opposite, of unequal lengths", join({row, -3.0 * row}), true},
      {"opposite, and one beside them", join({row, -2.0 * row, random(1, 5, 3)}), true},
      {"the same twice", join({row, row})},
      {"parallel", join({row, 5.0 * row, 0.1 * row})},
      {"a row twice", join({golden, graft::slice(golden, 0, 0, 1)})},
      {"all rows twice", join({wide, wide})},
      {"rank 2 of 5",
       graft::matmul(graft::tensor<double>({{1, 0}, {1, 1}, {0.2, -0.5}, {2, -3}, {1, 4}}), ahead(2, 9, 4))},
      {"more tasks than numbers", ahead(7, 3, 5)},
      {"as many tasks as numbers", ahead(6, 6, 6)},
      {"around the origin", graft::tensor<double>({{1, 0}, {-0.5, 0.8}, {-0.5, -0.7}}), true},
      {"uneven lengths", scale_rows(uneven, wide)},
      {"nearly parallel", row + 1e-4 * random(4, 5, 7)},
      {"nearly opposite", join({row, -1.0 * row + 1e-3 * random(1, 5, 8)})},
      {"tiny", 1e-12 * wide},
      {"huge", 1e12 * wide},
      {"tiny and opposite", 1e-12 * join({row, -2.0 * row}), true},
      {"tiny beside huge", scale_rows(graft::tensor<double>({1e-12, 1e12}), golden)},
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
  const Numbers along = graft::matmul(jacobian, graft::reshape(direction_of(weights, jacobian), {-1, 1}));
  const std::vector<double> lengths = lengths_of(jacobian);
  const double size = size_of(weights, jacobian);
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (!(graft::host(along)[i] >= -tolerance * lengths[i] * size)) return false;
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
    Numbers total = graft::zeros<double>({rows.size(1)}), squares = total;
    for (int draw = 0; draw < draws; ++draw) {
      const Numbers d = direction(rows, graft::Random(19).stream(name, draw));
      total = total + d;
      squares = squares + d * d;
    }
    const Numbers mean = total / static_cast<double>(draws);
    return std::pair(mean, squares / static_cast<double>(draws) - mean * mean);
  };
  std::vector<graft::Index> order;
  for (graft::Index i = 0; i < jacobian.size(0); ++i) order.push_back((i + 1) % jacobian.size(0));
  const auto [first, spread] = moments(jacobian, "as it is");
  const auto [second, other_spread] = moments(reorder(jacobian, order), "reordered");
  const Numbers allowed = 4.0 * sqrt((spread + other_spread) / static_cast<double>(draws));
  return max(spread).item() > 0 && max(abs(first - second) - allowed).item() <= 1e-12;
}

/// The direction does not depend on the order of the tasks.
template <class WeightsOf>
bool permutes(const WeightsOf& weights_of, const Numbers& jacobian, double tolerance = 1e-9) {
  const graft::Index tasks = jacobian.size(0);
  const Numbers weights = weights_of(gramian_of(jacobian)), direction = direction_of(weights, jacobian);
  std::vector<graft::Index> backwards, shifted, mixed = graft::Random(7).permutation(tasks);
  for (graft::Index i = 0; i < tasks; ++i) {
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
