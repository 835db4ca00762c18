#pragma once
// What the programs of few-shot regression share: the network of Finn, Abbeel, Levine, ICML 2017, and methods that
// adapt as many of them as there are functions, stacked in one.

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/data/episodes.hpp"
#include "graft/data/functions.hpp"
#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/graft.hpp"
#include "program.hpp"

namespace examples {

using namespace graft;

/// inputs -> 40 -> 40 -> 1 with ReLU. Of a stack: x [functions, points, inputs] -> [functions, points, 1].
struct Perceptron {
  Linear<> first, second, last;
  GRAFT_FIELDS(first, second, last)

  Perceptron(Index inputs, const Random& random)
      : first(inputs, 40, random.stream("first")),
        second(40, 40, random.stream("second")),
        last(40, 1, random.stream("last")) {}
  Tensor<> operator()(const Tensor<>& x) const { return last(relu(second(relu(first(x))))); }
};

/// The mean squared error of each function's points, added over the functions: its gradient at a stack of networks has
/// that of every network in its place.
struct SumOfErrors {
  template <class Nets>
  Tensor<> operator()(const Nets& nets, const FunctionPoints& points, ContextRef) const {
    return static_cast<float>(points.x.size(0)) * mse(nets(points.x), points.y);
  }
};

/// The mean over functions of what a method trains `model` by, all of them in one stack.
template <class Method, class M>
Tensor<> stacked_loss(const Method& method, const M& model, const FunctionTasks& tasks) {
  const Index functions = tasks.families.size();
  return method.train_loss(stacked(model, functions), tasks, Context()) * (1 / static_cast<double>(functions));
}

/// The mean squared error of every function's answers [functions, points, 1].
inline List<double> errors_of(const Tensor<>& answers, const FunctionPoints& points) {
  const Tensor<double> errors = cast<double>(mean(square(answers - points.y), {1, 2}));
  return List<double>(host(errors));
}

/// The same after so many of the method's steps on the support of each function; infinite where they diverge, for all
/// functions where one has no finite network left.
template <class Method, class M>
List<double> errors_after(Index steps, Method method, const M& model, const FunctionTasks& tasks) {
  method.options.steps = static_cast<int>(steps);
  try {
    const auto nets = method.adapt(stacked(model, tasks.families.size()), tasks.support).model;
    List<double> errors = errors_of(nets(tasks.query.x), tasks.query);
    for (double& error : errors)
      if (!std::isfinite(error)) error = std::numeric_limits<double>::infinity();
    return errors;
  } catch (const ValueError&) {
    return List<double>(tasks.families.size(), std::numeric_limits<double>::infinity());
  }
}

/// y of a query point from its x and the mean code of the support points: Garnelo et al., "Conditional neural
/// processes", ICML 2018, here for the squared error.
struct ConditionalProcess {
  Linear<> first, second;
  Perceptron answer;
  GRAFT_FIELDS(first, second, answer)

  /// [functions, queries, 1].
  Tensor<> operator()(const FunctionTasks& tasks) const {
    const Tensor<> codes = second(relu(first(concat<float>({tasks.support.x, tasks.support.y}, 2))));
    const Tensor<>& asked = tasks.query.x;
    const Tensor<> code = broadcast_to(mean(codes, {1}, true), asked.shape().with(2, codes.size(2)));
    return answer(concat<float>({asked, code}, 2));
  }
};

/// Function i as methods for labelled items take it: the items are the points (x, y), each of a class of its own.
inline Episode<> as_episode(const FunctionTasks& tasks, Index i) {
  const auto points = [&](const FunctionPoints& p) {
    const Tensor<> both = concat<float>({p.x, p.y}, 2);
    return LabelledSet<>{reshape(slice(both, 0, i, i + 1), both.shape().without(0)), episode_labels(both.size(1), 1)};
  };
  return {points(tasks.support), points(tasks.query), tasks.support.x.size(1)};
}
/// The mean squared error on such points.
struct PointError {
  Tensor<> operator()(const Perceptron& net, const LabelledSet<>& points, ContextRef) const {
    const Index inputs = points.x.size(1) - 1;
    return mse(net(slice(points.x, 1, 0, inputs)), slice(points.x, 1, inputs, inputs + 1));
  }
};
/// An embedding of such points.
struct PointEmbedding {
  Linear<> first, second;
  GRAFT_FIELDS(first, second)

  Tensor<> operator()(const Tensor<>& points) const { return second(relu(first(points))); }
};

/// The mean over functions of what `method` trains a model of such episodes by, and its errors on the queries of each.
template <class Method, class M>
Tensor<> episode_loss(const Method& method, const M& model, const FunctionTasks& tasks) {
  Tensor<> total(0.0f);
  for (Index i = 0; i < tasks.families.size(); ++i)
    total = total + method.train_loss(model, as_episode(tasks, i), Context());
  return total * (1 / static_cast<double>(tasks.families.size()));
}
template <class Method, class M>
List<double> episode_errors(const Method& method, const M& model, const FunctionTasks& tasks) {
  List<double> errors;
  for (Index i = 0; i < tasks.families.size(); ++i) {
    const Episode<> task = as_episode(tasks, i);
    errors.push_back(PointError()(method.adapt(model, task.support).model, task.query, Context()).item());
  }
  return errors;
}

/// What a model reached, over several seeds.
struct StepErrors {
  std::string model;
  List<List<double>> errors = {};  // [steps + 1][functions]: after 0, 1 ... steps, means over the seeds
  List<double> of_seeds = {};      // means after the last step
  double seconds = 0;              // of training, mean over the seeds
  Curve training = {};             // validation errors of the first seed

  /// Adds the errors of one of `seeds` seeds, [steps + 1][functions].
  void add(const List<List<double>>& of_seed, double of_training, Index seeds) {
    if (errors.empty()) errors = List<List<double>>(of_seed.size(), List<double>(of_seed[0].size()));
    for (Index k = 0; k < errors.size(); ++k)
      for (Index i = 0; i < errors[k].size(); ++i) errors[k][i] += of_seed[k][i] / static_cast<double>(seeds);
    of_seeds.push_back(mean_interval(of_seed[of_seed.size() - 1]).mean);
    seconds += of_training / static_cast<double>(seeds);
  }
};

/// Prints the errors after every step, with 95 % intervals over the functions, and records them.
inline void print_steps(Program& program, const std::vector<StepErrors>& results) {
  std::printf("steps");
  for (const StepErrors& result : results) std::printf("%18s", result.model.c_str());
  for (Index k = 0; k < results[0].errors.size(); ++k) {
    std::printf("\n%-5d", int(k));
    for (const StepErrors& r : results) {
      const Interval error = mean_interval(r.errors[k]);
      if (error.mean < 1000)
        std::printf("%9.3f +- %.3f", error.mean, error.ci95);
      else if (std::isfinite(error.mean))
        std::printf("%18.1e", error.mean);
      else
        std::printf("%18s", "diverges");
      program.record.add({r.model, "mse-after-" + std::to_string(k), error.mean, error.ci95, error.n, r.seconds});
    }
  }
  for (const StepErrors& result : results) {
    std::printf("\n%s: %.0f s of training a seed; after the last step, by seed:", result.model.c_str(), result.seconds);
    for (const double error : result.of_seeds) std::printf(" %.3f", error);
  }
  std::printf("\n");
}

}  // namespace examples
