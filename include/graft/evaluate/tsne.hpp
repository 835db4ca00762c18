#pragma once
// A map of features in the plane that keeps neighbours together: t-SNE, van der Maaten, Hinton, "Visualizing data using
// t-SNE", JMLR 2008, exactly, in time items^2 a step. What is far apart on the map means little; read it beside
// `separation` of the features themselves.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/core/parallel.hpp"
#include "graft/core/random.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `tsne`; the defaults are those of the paper (its perplexities are 5 to 50, and 40 in its experiments).
struct TsneOptions {
  double perplexity = 30;  ///< about how many neighbours an item has; from 1 to less than items - 1
  Index steps = 1000;
  double learning_rate = 100;  ///< with a gain for every number that grows while its slope keeps its sign
  double exaggeration = 4;     ///< of p in the first 50 steps, so that groups form
};

/// The map.
struct TsneMap {
  Tensor<double> points;  ///< [items, 2], around 0
  double divergence = 0;  ///< KL(P | Q), what the map makes small
};

namespace detail {

/// Affinities of t-SNE: p_(j|i) proportional to e^(-b_i |x_i - x_j|^2), with b_i such that the entropy of row i is that
/// of `perplexity` equal neighbours. By bisection of the exponent's scale; rows whose neighbours are all equally far,
/// or that have more twins than neighbours, stay as near to that as they can. squares [items, items] -> the same.
inline std::vector<double> tsne_conditional(const std::vector<double>& squares, std::size_t items, double perplexity) {
  std::vector<double> p(items * items);
  const double wanted = std::log(perplexity);
  parallel_for(static_cast<Index>(items), 8, [&](Index begin, Index end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      double* row = std::data(p) + i * items;
      const double* far = std::data(squares) + i * items;
      double nearest = std::numeric_limits<double>::infinity(), farthest = 0;
      for (std::size_t j = 0; j < items; ++j)
        if (j != i) nearest = std::min(nearest, far[j]), farthest = std::max(farthest, far[j]);
      const double unit = farthest > nearest ? farthest - nearest : 1;
      double low = -60, high = 60;  // of the binary logarithm of b
      for (int round = 0; round < 80; ++round) {
        const double b = std::exp2(0.5 * (low + high)) / unit;
        double total = 0, mean = 0;
        for (std::size_t j = 0; j < items; ++j) {
          row[j] = j == i ? 0 : std::exp(-b * (far[j] - nearest));
          total += row[j];
          mean += row[j] * (far[j] - nearest);
        }
        const double entropy = std::log(total) + b * mean / total;
        (entropy > wanted ? low : high) = 0.5 * (low + high);
        for (std::size_t j = 0; j < items; ++j) row[j] /= total;
      }
    }
  });
  return p;
}
/// KL(P | Q) of points y [items, 2] and, in `slope`, its gradient 4 sum_j (f p_ij - q_ij) (y_i - y_j) / (1 + |y_i -
/// y_j|^2), with f a factor of P in the gradient.
inline double tsne_divergence(const std::vector<double>& p, const std::vector<double>& y, std::size_t items,
                              double factor, std::vector<double>& slope) {
  std::vector<double> sums(items), parts(items);
  const auto kernel = [&](std::size_t i, std::size_t j) {
    const double a = y[2 * i] - y[2 * j], b = y[2 * i + 1] - y[2 * j + 1];
    return 1 / (1 + a * a + b * b);
  };
  const auto each = [&](const auto& f) {
    parallel_for(static_cast<Index>(items), 1 + static_cast<Index>(8192 / items), [&](Index begin, Index end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) f(i);
    });
  };
  each([&](std::size_t i) {
    for (std::size_t j = 0; j < items; ++j)
      if (j != i) sums[i] += kernel(i, j);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  each([&](std::size_t i) {
    double a = 0, b = 0;
    for (std::size_t j = 0; j < items; ++j) {
      if (j == i) continue;
      const double own = p[i * items + j], k = kernel(i, j), q = k / total;
      if (own > 0) parts[i] += own * std::log(own / q);
      a += (factor * own - q) * k * (y[2 * i] - y[2 * j]);
      b += (factor * own - q) * k * (y[2 * i + 1] - y[2 * j + 1]);
    }
    slope[2 * i] = 4 * a;
    slope[2 * i + 1] = 4 * b;
  });
  double divergence = 0;
  for (const double part : parts) divergence += part;
  return divergence;
}

}  // namespace detail

/// The map of features `x` [items, width]: gradient descent on KL(P | Q), P the symmetric affinities (p_(j|i) +
/// p_(i|j)) / (2 items), q_ij proportional to 1 / (1 + |y_i - y_j|^2), from points drawn with deviation 0.01; momentum
/// 0.5 for 250 steps, then 0.8. The same draws give the same map on any number of threads. Throws ShapeError,
/// ValueError for fewer than 4 items, a number that is not finite and options out of range.
template <Real T>
TsneMap tsne(const Tensor<T>& x, const Random& random, const TsneOptions& o = {}, Site site = Site::current()) {
  const char* op = "tsne";
  if (x.rank() != 2) fail<ShapeError>(op, "expected x [items, width]", {{"x", x.shape()}}, site);
  if (x.size(0) < 4) fail(op, {x.size(0), " items, expected 4 or more"}, {{"x", x.shape()}}, site);
  using detail::Range;
  detail::check_option<double>(op, "perplexity", o.perplexity, Range::positive, site);
  detail::check_option<double>(op, "learning_rate", o.learning_rate, Range::positive, site);
  detail::check_option<double>(op, "exaggeration", o.exaggeration, Range::positive, site);
  if (o.perplexity < 1 || o.perplexity >= static_cast<double>(x.size(0) - 1) || o.steps < 0)
    fail(op, {"a perplexity of ", o.perplexity, " and ", o.steps, " steps for ", x.size(0), " items"}, {}, site);
  const auto items = static_cast<std::size_t>(x.size(0)), width = static_cast<std::size_t>(x.size(1));
  const auto numbers = host(x);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (!std::isfinite(numbers[i]))
      fail(op, {"item ", i / width, " holds ", static_cast<double>(numbers[i])}, {{"x", x.shape()}}, site);
  double largest = 0;  // numbers are less the first item's, so that an offset costs no digits
  const auto at = [&](std::size_t i, std::size_t k) {
    return static_cast<double>(numbers[i * width + k]) - static_cast<double>(numbers[k]);
  };
  for (std::size_t i = 0; i < items; ++i)
    for (std::size_t k = 0; k < width; ++k) largest = std::max(largest, std::abs(at(i, k)));
  const double unit = largest > 0 ? largest : 1;
  std::vector<double> squares(items * items);
  for (std::size_t i = 0; i < items; ++i)
    for (std::size_t j = 0; j < i; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < width; ++k) {
        const double off = (at(i, k) - at(j, k)) / unit;
        sum += off * off;
      }
      squares[i * items + j] = squares[j * items + i] = sum;
    }
  const std::vector<double> conditional = detail::tsne_conditional(squares, items, o.perplexity);
  std::vector<double> p(items * items);
  for (std::size_t i = 0; i < items; ++i)
    for (std::size_t j = 0; j < items; ++j)
      p[i * items + j] = (conditional[i * items + j] + conditional[j * items + i]) / (2 * static_cast<double>(items));

  std::vector<double> y(2 * items), speed(2 * items), gain(2 * items, 1), slope(2 * items);
  for (std::size_t i = 0; i < 2 * items; ++i) y[i] = 0.01 * random.normal(i);
  for (Index step = 0; step < o.steps; ++step) {
    detail::tsne_divergence(p, y, items, step < 50 ? o.exaggeration : 1, slope);
    double middle[2] = {0, 0};
    for (std::size_t i = 0; i < 2 * items; ++i) {
      gain[i] = std::max((slope[i] > 0) != (speed[i] > 0) ? gain[i] + 0.2 : gain[i] * 0.8, 0.01);
      speed[i] = (step < 250 ? 0.5 : 0.8) * speed[i] - o.learning_rate * gain[i] * slope[i];
      y[i] += speed[i];
      middle[i % 2] += y[i] / static_cast<double>(items);
    }
    for (std::size_t i = 0; i < 2 * items; ++i) y[i] -= middle[i % 2];
  }
  TsneMap map{{}, detail::tsne_divergence(p, y, items, 1, slope)};
  if (!std::isfinite(map.divergence))
    fail(op, {"the map is not finite: lower the learning rate of ", o.learning_rate}, {}, site);
  map.points = from_vector(y, {x.size(0), 2});
  return map;
}

}  // namespace GRAFT_ABI
}  // namespace graft
