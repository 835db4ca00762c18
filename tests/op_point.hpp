#pragma once
// One op of the table at one point: drawn inputs, gradients of any order along random directions, and finite
// differences. Finite differences are central, in double, extrapolated twice (Romberg), so their error is of the order
// of the sixth power of the step.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "graft/model/grad.hpp"
#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

namespace point {

using namespace graft;

using Numbers = Tensor<double>;

/// Largest step of a finite difference, and how far test points keep from kinks.
inline constexpr double kStep = 4e-3;
inline constexpr double kAway = 0.05;

/// Which numbers a draw gives depends on the row's name and the purpose, not on other rows.
inline std::mt19937_64 generator(const std::string& name, int purpose) {
  std::uint64_t hash = 0xCBF29CE484222325u + static_cast<std::uint64_t>(purpose);
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return std::mt19937_64(hash);
}
inline double uniform(std::mt19937_64& random, double low, double high) {
  return low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
}

/// Numbers that float represents, so that both types see the same.
inline Numbers draw(const Input& input, const Shape& shape, std::mt19937_64& random) {
  std::vector<double> values(shape.count());
  const double count = static_cast<double>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (input.spaced) {
      values[i] = input.low + (input.high - input.low) * (static_cast<double>(i) + uniform(random, 0.3, 0.7)) / count;
      continue;
    }
    bool near = true;
    for (int attempt = 0; near && attempt < 1000; ++attempt) {
      std::array<double, 2> range = {input.low, input.high};
      if (const std::size_t other = input.also.empty() ? 0 : random() % (input.also.size() + 1))
        range = input.also[other - 1];
      values[i] = uniform(random, range[0], range[1]);
      near = false;
      for (double point : input.away_from) near |= std::abs(values[i] - point) < kAway;
    }
  }
  if (input.spaced)
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random() % i]);
  for (double& value : values) value = static_cast<float>(value);
  return from_vector(values, shape);
}

inline std::vector<Shape> shapes_of(const OpRow& row) {
  std::vector<Shape> shapes;
  for (const Input& input : row.inputs) shapes.push_back(input.shape);
  return shapes;
}
/// One draw for every input of a row.
inline Arrays draw_all(const OpRow& row, const std::vector<Shape>& shapes, int purpose) {
  Arrays inputs;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    std::mt19937_64 random = generator(row.name, purpose + static_cast<int>(i));
    inputs.push_back(draw(row.inputs[i], shapes[i], random));
  }
  return inputs;
}

template <class T>
Tensor<T> convert(const Numbers& x) {
  std::vector<T> values(x.span().begin(), x.span().end());
  return from_vector(values, x.shape());
}
template <class T>
Inputs<T> convert(const Arrays& xs) {
  Inputs<T> converted;
  for (const Numbers& x : xs) converted.push_back(convert<T>(x));
  return converted;
}

inline double largest(const Numbers& x) {
  double most = 0;
  for (double value : x.span())
    if (std::isfinite(value)) most = std::max(most, std::abs(value));
  return most;
}
inline double largest(const Arrays& xs) {
  double most = 0;
  for (const Numbers& x : xs) most = std::max(most, largest(x));
  return most;
}

/// Largest |a - b|; infinite where one is NaN or infinite and the other is not the same.
template <class T>
double gap(const Tensor<T>& a, const Numbers& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.span().size(); ++i) {
    const double x = static_cast<double>(a.data()[i]), y = b.data()[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    most = std::max(most, std::isfinite(x) && std::isfinite(y) ? std::abs(x - y) : INFINITY);
  }
  return most;
}

inline std::string text(double value) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.3g", value);
  return buffer;
}

/// One op at given inputs: the function of the tracked inputs alone, and what is needed to differentiate it.
class Point {
 public:
  Point(const OpRow& row, Arrays inputs, int purpose)
      : row_(row), inputs_(std::move(inputs)), random_(generator(row.name, purpose)) {
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      if (row.inputs[i].tracked) tracked_.push_back(i);
    const Numbers value = row.call(inputs_);
    weights_ = draw({}, value.shape(), random_);
    for (Arrays& direction : directions_)
      for (std::size_t i : tracked_) direction.push_back(draw({}, inputs_[i].shape(), random_));
  }

  const Arrays& inputs() const { return inputs_; }
  bool differentiable() const { return !tracked_.empty(); }
  const Arrays& direction(int order) const { return directions_[order]; }
  const Numbers& weights() const { return weights_; }
  std::size_t input_of(std::size_t tracked) const { return tracked_[tracked]; }

  template <class T>
  Inputs<T> tracked() const {
    Inputs<T> xs;
    for (std::size_t i : tracked_) xs.push_back(convert<T>(inputs_[i]));
    return xs;
  }
  /// The op as a function of its tracked inputs.
  template <class T>
  Tensor<T> value(const Inputs<T>& xs) const {
    Inputs<T> all = convert<T>(inputs_);
    for (std::size_t i = 0; i < xs.size(); ++i) all[tracked_[i]] = xs[i];
    return row_.call(all);
  }
  template <class T>
  Inputs<T> gradient(bool create_graph = false) const {
    return vjp([&](const Inputs<T>& xs) { return value(xs); }, tracked<T>(), convert<T>(weights_),
               {.create_graph = create_graph})
        .second;
  }

  /// phi_0 = <weights, op>; phi_k = <gradient of phi_(k-1), direction k-1>.
  template <class T>
  Tensor<T> phi(int order, const Inputs<T>& xs) const {
    if (order == 0) return sum(value(xs) * convert<T>(weights_));
    const Inputs<T> g = gradient_of_phi(order - 1, xs, xs[0].tracked());
    Tensor<T> total(T(0));
    for (std::size_t i = 0; i < g.size(); ++i) total = total + sum(g[i] * convert<T>(directions_[order - 1][i]));
    return total;
  }
  template <class T>
  Inputs<T> gradient_of_phi(int order, const Inputs<T>& xs, bool create_graph) const {
    return vjp([&](const Inputs<T>& at) { return phi(order, at); }, xs, Tensor<T>(T(1)), {.create_graph = create_graph})
        .second;
  }

  /// d f(inputs + t direction) / dt at 0 for f with a vector of numbers as value.
  template <class F>
  std::vector<double> finite_difference(const Arrays& direction, F f) const {
    std::vector<double> slopes[3];
    for (int level = 0; level < 3; ++level) {
      const double step = kStep / (1 << level);
      const std::vector<double> above = f(moved(direction, step)), below = f(moved(direction, -step));
      for (std::size_t i = 0; i < above.size(); ++i) slopes[level].push_back((above[i] - below[i]) / (2 * step));
    }
    std::vector<double> result;
    for (std::size_t i = 0; i < slopes[0].size(); ++i) {
      const double coarse = (4 * slopes[1][i] - slopes[0][i]) / 3, fine = (4 * slopes[2][i] - slopes[1][i]) / 3;
      result.push_back((16 * fine - coarse) / 15);
    }
    return result;
  }

 private:
  Arrays moved(const Arrays& direction, double step) const {
    Arrays xs;
    for (std::size_t i = 0; i < tracked_.size(); ++i) {
      std::vector<double> values(inputs_[tracked_[i]].span().begin(), inputs_[tracked_[i]].span().end());
      for (std::size_t j = 0; j < values.size(); ++j) values[j] += step * direction[i].data()[j];
      xs.push_back(from_vector(values, inputs_[tracked_[i]].shape()));
    }
    return xs;
  }

  const OpRow& row_;
  Arrays inputs_;
  std::mt19937_64 random_;
  std::vector<std::size_t> tracked_;
  Numbers weights_;
  Arrays directions_[4];
};

}  // namespace point
