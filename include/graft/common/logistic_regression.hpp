#pragma once
// Multinomial logistic regression with an L2 penalty, to convergence: the head of frozen features.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "graft/common/inner_loop.hpp"
#include "graft/core/options.hpp"
#include "graft/model/solvers.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `logistic_regression`.
struct LogisticOptions {
  double lambda = 1;        ///< of the penalty; scikit-learn's C is 1 / lambda, and 1 by default
  double tolerance = 1e-8;  ///< of the norm of the gradient, a mean over items
  int iterations = 100;     ///< Newton's, at most
};

/// A linear classifier of features less a constant: (x - centre) W' + bias, x [items, width] -> [items, ways]. The
/// centre is no parameter: features far from 0 cost the bias no digits.
template <class T = float>
struct CentredClassifier {
  Tensor<T> weight;  ///< [ways, width]
  Tensor<T> bias;    ///< [ways]
  Buffer<T> centre;  ///< [width]
  GRAFT_FIELDS(weight, bias, centre)

  /// Throws ShapeError.
  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("CentredClassifier", site);
    if (x.rank() != 2 || x.size(1) != weight.size(1))
      fail<ShapeError>("CentredClassifier", {"expected x [items, ", weight.size(1), "]"}, {{"x", x.shape()}}, site);
    return matmul(x - centre.value, weight, {.transpose_b = true}, site) + bias;
  }
};

/// What `logistic_regression` found.
template <class T = float>
struct LogisticFit {
  CentredClassifier<T> classifier;
  int iterations = 0;        ///< of Newton's method
  double gradient_norm = 0;  ///< of the objective over the number of items
  double objective = 0;      ///< over the number of items
};

namespace detail {

/// sum over items of the cross-entropy, plus lambda / 2 |W|^2, all over the number of items; theta [ways, width + 1]
/// has the biases in its last column. In doubles, without a tape.
class LogisticObjective {
 public:
  LogisticObjective(Tensor<double> x, const Tensor<std::int64_t>& y, Index ways, double lambda)
      : x_(std::move(x)), y_(one_hot<double>(y, ways)), share_(1 / static_cast<double>(x_.size(0))) {
    const Index width = x_.size(1) - 1;
    penalty_ = generate({1, width + 1}, [&](Index, Index j) { return j < width ? lambda * share_ : 0; });
  }

  struct Point {
    double value = 0;
    double least_margin = 0;  ///< of an item's own logit over the largest other one
    Tensor<double> gradient, chances;
  };
  Point at(const Tensor<double>& theta) const {
    const Tensor<double> logits = matmul(x_, theta, {.transpose_b = true});
    Point point;
    point.chances = softmax(logits);
    point.gradient = share_ * matmul(point.chances - y_, x_, {.transpose_a = true}) + penalty_ * theta;
    point.value = share_ * -sum(y_ * log_softmax(logits)).item() + 0.5 * sum(penalty_ * square(theta)).item();
    const Tensor<double> own = sum(y_ * logits, {1});
    const Tensor<double> others = where(y_ == 1, -std::numeric_limits<double>::infinity(), logits);
    point.least_margin = min(own - max(others, {1})).item();
    return point;
  }
  Tensor<double> curvature(const Point& at, const Tensor<double>& v) const {
    const Tensor<double> change = at.chances * matmul(x_, v, {.transpose_b = true});
    return share_ * matmul(change - at.chances * sum(change, {1}, true), x_, {.transpose_a = true}) + penalty_ * v;
  }

 private:
  Tensor<double> x_, y_, penalty_;
  double share_;
};

}  // namespace detail

/// The classifier that minimises  sum_i cross-entropy(W x_i + b, y_i) + lambda / 2 |W|^2  on features x [items, width]
/// with labels y [items], 0 .. ways - 1, each class with an item: as scikit-learn's LogisticRegression(C = 1 / lambda),
/// the biases without penalty. By Newton's method in doubles, its steps by conjugate gradients; carries no gradient.
/// Features may have a common part. Throws ShapeError, IndexError for a label out of range, ValueError for a class
/// without items, features that are not finite, options outside their range, items that lambda 0 has no optimum for
/// since a classifier separates them, and when the tolerance is not reached.
template <Real T>
LogisticFit<T> logistic_regression(const Tensor<T>& x, const Tensor<std::int64_t>& y, Index ways,
                                   const LogisticOptions& o = {}, Site site = Site::current()) {
  const char* op = "logistic_regression";
  using detail::Range;
  detail::check_option<double>(op, "lambda", o.lambda, Range::not_negative, site);
  detail::check_option<double>(op, "tolerance", o.tolerance, Range::positive, site);
  detail::check_count(op, "iterations", o.iterations, 1, site);
  detail::check_embedded(op, Episode<T>{{x, y}, {x, {}}, ways}, site);
  const Named here(op, site);
  const Recording off(false);
  const Index width = x.size(1);
  // Of the first item and of what the others differ from it: a large common part is not rounded away.
  const Tensor<double> rows = cast<double>(x), first = slice(rows, 0, 0, 1);
  const Tensor<T> centre = cast<T>(reshape(first + mean(rows - first, {0}, true), {width}));
  if (!all_finite(rows)) fail(op, "the features are not all finite", {{"x", x.shape()}}, site);
  const detail::LogisticObjective objective(
      concat<double>({rows - cast<double>(centre), ones<double>({x.size(0), 1})}, 1), y, ways, o.lambda);

  Tensor<double> theta = zeros<double>({ways, width + 1});
  auto point = objective.at(theta);
  const auto length = [](const Tensor<double>& v) { return std::sqrt(sum(square(v)).item()); };
  double slope = length(point.gradient);
  int done = 0;
  for (; done < o.iterations && slope > o.tolerance; ++done) {
    if (o.lambda == 0 && ways > 1 && point.least_margin > 0)
      fail(op, "a classifier separates the items, so that without a penalty there is no optimum: set lambda above 0",
           {{"x", x.shape()}}, site);
    const auto apply = [&](const Tensor<double>& v) { return objective.curvature(point, v); };
    const Tensor<double> step =
        conjugate_gradient(apply, -1.0 * point.gradient,
                           {.iterations = 500, .tolerance = std::min(0.01, std::sqrt(slope))}, site)
            .solution;
    const double fall = -sum(step * point.gradient).item();
    double share = 1;
    auto next = objective.at(theta + step);
    // A fall below the rounding of the value cannot be seen in it: then the whole step is taken.
    while (!(next.value <= point.value - 1e-4 * share * fall) && share > 1e-10 &&
           fall > 1e-13 * std::fabs(point.value)) {
      share *= 0.5;
      next = objective.at(theta + share * step);
    }
    theta = theta + share * step;
    point = std::move(next);
    slope = length(point.gradient);
  }
  if (!(slope <= o.tolerance))
    fail(op,
         {"the gradient's norm is ", slope, " after ", done, " iterations, expected ", o.tolerance,
          o.lambda == 0 ? "; a lambda above 0 has an optimum for any items" : ""},
         {{"x", x.shape()}}, site);
  return {{cast<T>(slice(theta, 1, 0, width)), cast<T>(reshape(slice(theta, 1, width, width + 1), {ways})), {centre}},
          done,
          slope,
          point.value};
}

namespace detail {

/// `body` with the head that `logistic_regression` fits to its features of a support set, a class for each of the
/// set's.
template <class Body, class T>
BodyHead<Body, CentredClassifier<T>> probed(const Body& body, const LabelledSet<T>& support, const LogisticOptions& o,
                                            ContextRef context, Site site) {
  const Recording off(false);
  const Tensor<T> features = answer_of(body, support.x, context);
  return {body, logistic_regression(features, support.y, ways_of(support.y, site), o, site).classifier};
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
