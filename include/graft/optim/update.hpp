#pragma once
// What every optimiser shares: its state has the model's shape, and all tensors are checked before any is touched.

#include <initializer_list>

#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/update.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Zeros for every parameter of the model; buffers and index tensors are left out.
template <class M>
M optimizer_state(const char* op, const M& model, Site site) {
  check_held_once(op, parameters_of(model), site);
  M state = zeros_like(model);
  for (const Leaf& leaf : leaves_of(state))
    if (!leaf.is_parameter()) *leaf.tensor = AnyTensor();
  return state;
}

/// Stands for the optimiser of a struct that does not name its fields, so that a compiler says this and no more.
template <class M, class Options>
struct NoOptimizer {
  explicit NoOptimizer(const M& model, Options = {}, Site = {}) { refuse_struct(model); }
  void step(M&, const M&, double, Site = {}) {}
};

/// Throws unless gradient and state fit the model and the rate is a number that T can hold, 0 or more.
template <class T>
void check_step(const char* op, const LeafList& model, const LeafList& gradient,
                std::initializer_list<const LeafList*> state, double rate, Site site) {
  check_option<T>(op, "the learning rate", rate, Range::not_negative, site);
  check_same_shapes(op, model, gradient, site);
  for (const LeafList* part : state) check_same_shapes(op, model, *part, site);
}

/// Whether a parameter is of element type T, has a value, and is not frozen.
template <class T>
bool is_stepped(const Leaf& leaf) {
  return leaf.holds<T>() && leaf.tensor->defined() && !leaf.as<T>().frozen();
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
