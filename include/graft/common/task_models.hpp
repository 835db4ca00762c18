#pragma once
// What the architectures for several tasks share.

#include <vector>

#include "graft/core/options.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

inline void check_task(const char* op, Index task, std::size_t tasks, Site site) {
  if (tasks == 0) fail(op, "has no tasks", {}, site);
  if (task < 0 || task >= static_cast<Index>(tasks)) fail<IndexError>(op, {"task ", task, " of ", tasks}, {}, site);
}

/// What each of some models makes of the same items.
template <class M, class X>
auto answers_of(const std::vector<M>& models, const X& x, ContextRef context) {
  std::vector<decltype(answer_of(models[0], x, context))> answers;
  for (const M& model : models) answers.push_back(answer_of(model, x, context));
  return answers;
}

/// What each of some models makes of its own items, as many as there are models.
template <class M, class T>
std::vector<Tensor<T>> answers_of(const std::vector<M>& models, const std::vector<Tensor<T>>& x, ContextRef context) {
  std::vector<Tensor<T>> answers;
  for (std::size_t i = 0; i < models.size(); ++i) answers.push_back(answer_of(models[i], x[i], context));
  return answers;
}

/// sum_e softmax(scores)_e experts_e: `scores` [items, experts], experts [items, ...] each. Throws ValueError for
/// scores of more or fewer experts.
template <Real T>
Tensor<T> mixed(const char* op, const std::vector<Tensor<T>>& experts, const Tensor<T>& scores, Site site) {
  check_parts(op, "experts", experts.size(), "scores of the gate", static_cast<std::size_t>(scores.size(1)), site);
  const Tensor<T> weights = softmax(scores, 1, site);
  Tensor<T> sum;
  for (std::size_t e = 0; e < experts.size(); ++e) {
    Shape shape = experts[e].shape();
    for (int axis = 1; axis < shape.rank(); ++axis) shape[axis] = 1;
    const auto place = static_cast<Index>(e);
    const Tensor<T> part = reshape(slice(weights, 1, place, place + 1), shape, site) * experts[e];
    sum = e == 0 ? part : sum + part;
  }
  return sum;
}

/// The items [items, ...] as rows [items, width].
template <Real T>
Tensor<T> as_rows(const Tensor<T>& x) {
  return x.rank() == 2 ? x : reshape(x, {x.size(0), x.size(0) > 0 ? x.count() / x.size(0) : 0});
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
