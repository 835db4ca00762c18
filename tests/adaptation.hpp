#pragma once
// What the rows of methods that adapt by gradient steps share: a small classifier, and tasks where everything is known.

#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/common/inner_loop.hpp"
#include "graft/common/task_models.hpp"
#include "graft/model/check_gradients.hpp"
#include "heads.hpp"
#include "layers.hpp"
#include "method_table.hpp"

namespace adaptation {

using namespace graft;

// ---- A small classifier in two parts --------------------------------------------------------------------------------
template <class T>
using Net = BodyHead<TanhLayer<T>, Linear<T>>;
template <class T>
Net<T> net(Index in, Index width, Index ways, const Random& random) {
  return {TanhLayer<T>(in, width, random.stream("body")), Linear<T>(width, ways, random.stream("head"))};
}
inline Net<double> small_net() { return net<double>(3, 4, 2, Random(1)); }
inline Episode<double> small_episode() {
  return embedded_episode({.ways = 2, .shots = 2, .queries = 6, .width = 3}, 2);
}
inline Net<float> large_net(const Random& random) { return net<float>(48, 96, 5, random); }
inline Episode<float> large_episode(const Random& random) {
  return embedded_episode<float>({.ways = 5, .shots = 5, .queries = 75, .width = 48}, random);
}

template <class M>
double gap_of(const M& a, const M& b) {
  return gap(to_vector(a), to_vector(b));
}
template <class M>
bool same_bits_of(const M& a, const M& b) {
  return same_bits(to_vector(a), to_vector(b));
}
/// The gradient of a method's loss, and its answers after adaptation, in one vector.
template <class Method, class M>
Tensor<float> trained(const Method& method, const M& model, const Episode<float>& episode, const Random& random) {
  Context context(Phase::training, random.stream("training"));
  const auto [value, gradient] =
      value_and_grad([&](const M& m) { return method.train_loss(m, episode, context); }, model);
  const Tensor<float> logits = method.adapt(model, episode.support).predict(episode.query.x);
  return concat<float>({reshape(value, {1}), to_vector(gradient), reshape(logits, {-1})}, 0);
}
/// A method's loss as a function of all that it trains.
template <class Method, class M>
auto loss_of(const Method& method, const M& model) {
  return [method, model](const Tensor<double>& vector) {
    return method.train_loss(from_vector(vector, model), small_episode(), Context());
  };
}
template <class Method, class M>
M gradient_of(const Method& method, const M& model, const Episode<double>& episode) {
  return grad([&](const M& m) { return method.train_loss(m, episode, Context()); }, model);
}
inline Net<double> joint_gradient(const Net<double>& model, const LabelledSet<double>& set) {
  return grad([&](const Net<double>& m) { return ClassificationLoss()(m, set, Context()); }, model);
}

// ---- Quadratic tasks, mean over items of a/2 (theta - c)^2, where everything is known -------------------------------
struct QuadraticLoss {
  Tensor<double> operator()(const Tensor<double>& theta, const LabelledSet<double>& set, ContextRef) const {
    const Tensor<double> a = slice(set.x, 1, 0, 1), c = slice(set.x, 1, 1, 2);
    return mean(0.5 * a * square(theta - c));
  }
};
/// One item (a, c) a row.
inline LabelledSet<double> quadratic_set(const std::vector<std::vector<double>>& items) {
  std::vector<double> numbers;
  for (const std::vector<double>& item : items) numbers.insert(numbers.end(), item.begin(), item.end());
  const Index count = static_cast<Index>(items.size());
  return {from_vector(numbers, {count, 2}), zeros<std::int64_t>({count})};
}
inline Episode<double> quadratic_task(double a, double c) {
  return {quadratic_set({{a, c}}), quadratic_set({{a, c}}), 1};
}

template <class Method>
double quadratic_gradient(const Method& method, double theta) {
  double total = 0;
  for (const auto& task : {quadratic_task(1, 0), quadratic_task(3, 1)})
    total += gradient_of(method, Tensor<double>(theta), task).item();
  return total;
}
/// Where the meta-gradient over the two tasks, affine in theta, is zero.
template <class Method>
double fixed_point(const Method& method) {
  const double at_zero = quadratic_gradient(method, 0), at_one = quadratic_gradient(method, 1);
  return at_zero / (at_zero - at_one);
}

}  // namespace adaptation
