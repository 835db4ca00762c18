#pragma once
// The gradients of a round, as models, become one direction.

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

}  // namespace detail

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
  for (const M& gradient : gradients) detail::check_same_shapes("aggregate", gradients[0], gradient, site);
  const detail::LeafList first = detail::parameters_of(gradients[0]);
  std::vector<bool> is_shared;
  if (shared.empty())
    is_shared.assign(first.size(), true);
  else
    detail::NameSet(shared).choose("aggregate", first, is_shared, site);
  std::vector<bool> is_private = is_shared;
  is_private.flip();

  detail::ModelGradients<M> tasks(gradients, is_shared, losses, random);
  if (ids.size() > 0) {
    tasks.ids = ids;
    tasks.all_tasks = all;
  }
  const Combination answer = aggregator(tasks, site);
  if (answer.weights.defined() == answer.direction.defined() ||
      (answer.weights.defined() && !(answer.weights.shape() == Shape{tasks.tasks()})))
    fail<ShapeError>("aggregate", {"an aggregator must give weights for ", tasks.tasks(), " tasks or a direction"}, {},
                     site);

  M total = gradients[0];
  const detail::LeafList to = detail::parameters_of(total);
  const auto each_further = [&](auto add) {
    for (std::size_t i = 1; i < gradients.size(); ++i) add(i, detail::parameters_of(gradients[i]));
  };
  detail::for_each_scalar<M>([&]<class T>() {
    each_further([&](std::size_t, const detail::LeafList& g) { detail::add_scaled<T>(to, 1, g, is_private); });
  });
  if (answer.direction.defined()) {
    Index numbers = 0;
    for (std::size_t i = 0; i < to.size(); ++i)
      if (is_shared[i] && to[i].tensor->defined()) numbers += to[i].tensor->body()->count;
    if (!(answer.direction.shape() == Shape{numbers}))
      fail<ShapeError>("aggregate", {"the shared parameters are ", numbers, " numbers"},
                       {{"direction", answer.direction.shape()}}, site);
    detail::put_chosen<M>(to, answer.direction, is_shared);
    return total;
  }
  const auto weights = host(answer.weights);
  bool equal = true;
  for (double weight : weights) equal = equal && weight == weights[0];
  detail::for_each_scalar<M>([&]<class T>() {
    if (!equal) detail::scale<T>(to, weights[0], is_shared);
    each_further([&](std::size_t i, const detail::LeafList& g) {
      detail::add_scaled<T>(to, equal ? 1 : weights[i], g, is_shared);
    });
    if (equal) detail::scale<T>(to, weights[0], is_shared);
  });
  return total;
}

}  // namespace GRAFT_ABI
}  // namespace graft
