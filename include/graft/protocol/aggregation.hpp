#pragma once
// The gradients of a round, as models, become one direction.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "graft/common/aggregator.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/gramian.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// The parameters that `shared` names, all if it names none, behind one another: [n] in double.
template <class M>
Tensor<double> shared_vector(const M& gradient, const std::vector<bool>& shared) {
  const LeafList leaves = parameters_of(gradient);
  std::vector<Tensor<double>> parts;
  for (std::size_t i = 0; i < leaves.size(); ++i)
    for_each_scalar<M>([&]<class T>() {
      if (!leaves[i].holds<T>() || !shared[i] || !leaves[i].tensor->defined()) return;
      parts.push_back(cast<double>(reshape(leaves[i].as<T>(), {-1})));
    });
  return parts.empty() ? zeros<double>({0}) : concat(parts);
}

/// The inner product of two lists of numbers, in double: eight sums, which a compiler makes in one register.
template <class T>
double inner_product(std::span<const T> a, std::span<const T> b) {
  double sums[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= a.size(); i += 8)
    for (std::size_t lane = 0; lane < 8; ++lane)
      sums[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
  for (; i < a.size(); ++i) sums[i % 8] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

/// The inner products of a few gradients with respect to the parameters that are chosen, [rows, rows], pair by pair.
template <class M>
Tensor<double> few_products(const std::vector<M>& gradients, const std::vector<bool>& chosen) {
  std::vector<LeafList> leaves;
  for (const M& gradient : gradients) leaves.push_back(parameters_of(gradient));
  const auto n = static_cast<Index>(gradients.size());
  List<double> matrix(n * n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j <= i; ++j) {
      const LeafList &one = leaves[static_cast<std::size_t>(i)], &other = leaves[static_cast<std::size_t>(j)];
      double total = 0;
      for (std::size_t leaf = 0; leaf < one.size(); ++leaf)
        for_each_scalar<M>([&]<class T>() {
          if (!chosen[leaf] || !one[leaf].template holds<T>() || !one[leaf].tensor->defined()) return;
          total += inner_product(host(one[leaf].template as<T>()), host(other[leaf].template as<T>()));
        });
      matrix[i * n + j] = matrix[j * n + i] = total;
    }
  return from_vector(matrix, Shape{n, n});
}

/// The tasks of a round whose gradients are models.
template <Model M>
class ModelGradients final : public TaskGradients {
 public:
  ModelGradients(const std::vector<M>& gradients, const std::vector<bool>& shared, Tensor<double> losses,
                 const Random& random)
      : TaskGradients(static_cast<Index>(gradients.size()), std::move(losses), random),
        gradients_(gradients),
        shared_(shared) {}

 protected:
  Tensor<double> make_jacobian() const override {
    std::vector<Tensor<double>> rows;
    for (const M& gradient : gradients_) rows.push_back(shared_vector(gradient, shared_));
    return stack(rows);
  }
  /// Slice by slice of the shared parameters: the Jacobian, as large as all gradients in double, is not made for it.
  Tensor<double> make_gramian() override {
    constexpr std::size_t few = 4;  // the usual round: a matrix product would not be worth its copies in double
    if (gradients_.size() <= few) return few_products(gradients_, shared_);
    GradientRows rows;
    for (const M& gradient : gradients_) {
      const LeafList leaves = parameters_of(gradient);
      rows.emplace_back(leaves.size());
      for (std::size_t i = 0; i < leaves.size(); ++i)
        if (shared_[i]) rows.back()[i] = *leaves[i].tensor;
    }
    return symmetric_products<M>(parameters_of(gradients_[0]), rows);
  }

 private:
  const std::vector<M>& gradients_;
  const std::vector<bool>& shared_;
};

/// Cuts `vector` into the chosen parameters.
template <class M>
void put_chosen(const LeafList& to, const Tensor<double>& vector, const std::vector<bool>& chosen) {
  Index at = 0;
  for (std::size_t i = 0; i < to.size(); ++i)
    for_each_scalar<M>([&]<class T>() {
      if (!to[i].holds<T>() || !chosen[i] || !to[i].tensor->defined()) return;
      Tensor<T>& leaf = to[i].as<T>();
      leaf = cast<T>(reshape(slice(vector, 0, at, at + leaf.count()), leaf.shape()));
      at += leaf.count();
    });
}

/// Which parameters the aggregator acts on: those below the names, all if there are none.
template <Model M>
std::vector<bool> shared_parameters(const M& gradient, const std::vector<std::string>& shared, Site site) {
  const LeafList leaves = parameters_of(gradient);
  std::vector<bool> is_shared;
  if (shared.empty())
    is_shared.assign(leaves.size(), true);
  else
    NameSet(shared).choose("aggregate", leaves, is_shared, site);
  return is_shared;
}

/// The direction of `gradients`, which are those behind `tasks`.
template <Model M>
M aggregated(const std::vector<M>& gradients, ModelGradients<M>& tasks, const std::vector<bool>& is_shared,
             Aggregator& aggregator, Site site) {
  for (const M& gradient : gradients) check_same_shapes("aggregate", gradients[0], gradient, site);
  std::vector<bool> is_private = is_shared;
  is_private.flip();
  const Combination answer = aggregator(tasks, site);
  if (answer.weights.defined() == answer.direction.defined() ||
      (answer.weights.defined() && !(answer.weights.shape() == Shape{tasks.tasks()})))
    fail<ShapeError>("aggregate", {"an aggregator must give weights for ", tasks.tasks(), " tasks or a direction"}, {},
                     site);

  M total = gradients[0];
  const LeafList to = parameters_of(total);
  const auto each_further = [&](auto add) {
    for (std::size_t i = 1; i < gradients.size(); ++i) add(i, parameters_of(gradients[i]));
  };
  for_each_scalar<M>(
      [&]<class T>() { each_further([&](std::size_t, const LeafList& g) { add_scaled<T>(to, 1, g, is_private); }); });
  if (answer.direction.defined()) {
    Index numbers = 0;
    for (std::size_t i = 0; i < to.size(); ++i)
      if (is_shared[i] && to[i].tensor->defined()) numbers += to[i].tensor->body()->count;
    if (!(answer.direction.shape() == Shape{numbers}))
      fail<ShapeError>("aggregate", {"the shared parameters are ", numbers, " numbers"},
                       {{"direction", answer.direction.shape()}}, site);
    put_chosen<M>(to, answer.direction, is_shared);
    return total;
  }
  const auto weights = host(answer.weights);
  bool equal = true;
  for (double weight : weights) equal = equal && weight == weights[0];
  for_each_scalar<M>([&]<class T>() {
    if (!equal) scale<T>(to, weights[0], is_shared);
    each_further([&](std::size_t i, const LeafList& g) { add_scaled<T>(to, equal ? 1 : weights[i], g, is_shared); });
    if (equal) scale<T>(to, weights[0], is_shared);
  });
  return total;
}

}  // namespace detail

/// Throws TooFewTasks, as the first round would, for an aggregator that needs more than `tasks` gradients; it is not
/// changed.
inline void check_round_size(Aggregator aggregator, Index tasks, Site site = Site::current()) {
  try {
    TaskGradients gradients(eye<double>(tasks), ones<double>({tasks}), Random(0), site);
    aggregator(gradients, site);
  } catch (const TooFewTasks&) {
    throw;
  } catch (const Error&) {
    // What else it has to say depends on the gradients.
  }
}

/// One direction from the tasks' gradients, in the model's own structure. They are taken in the order given (the
/// protocol gives task order), so the result does not depend on which task ended first. The aggregator acts on the
/// parameters named `shared` (a name stands for all below it; none: all); the others, private to a task, get the sum of
/// their gradients, which is their own task's. `losses` [tasks] and `ids`, the tasks behind the gradients of `all` that
/// there are, may be left out. Throws ValueError without gradients or for a name that the model has not, ShapeError
/// when the gradients' shapes differ or the aggregator's answer fits neither tasks nor parameters.
template <Model M>
M aggregate(const std::vector<M>& gradients, Aggregator& aggregator, const Random& random,
            const std::vector<std::string>& shared = {}, const Tensor<double>& losses = {}, const List<Index>& ids = {},
            Index all = 0, Site site = Site::current()) {
  if (gradients.empty()) fail("aggregate", "no gradients", {}, site);
  const std::vector<bool> is_shared = detail::shared_parameters(gradients[0], shared, site);
  detail::ModelGradients<M> tasks(gradients, is_shared, losses, random);
  if (ids.size() > 0) {
    tasks.ids = ids;
    tasks.all_tasks = all;
  }
  return detail::aggregated(gradients, tasks, is_shared, aggregator, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
