#pragma once
// Gradients as functions: grad, vjp, jvp, hvp, jacobian. There is no `.grad` field and nothing to zero.

#include <concepts>
#include <optional>
#include <string>

#include "graft/autodiff/backward.hpp"
#include "graft/model/names.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `grad` differentiates.
struct GradOptions {
  /// Whether the gradients can be differentiated again. By default they can where somebody may want to: inside a
  /// function that is itself being differentiated, and where the argument is tracked.
  std::optional<bool> create_graph = {};
  bool strict = false;  ///< parameters that the value does not depend on are an error that names them, not zeros
};

namespace detail {

template <class T>
Tensor<T> one_like(const Tensor<T>& y) {
  return full<T>(y.shape(), T(1));
}

template <class T>
void require_scalar(const char* op, const Tensor<T>& y, Site site) {
  if (y.count() != 1)
    fail<ShapeError>(op, "the value to differentiate must have one element", {{"value", y.shape()}}, site);
}

/// Whether gradients with respect to these parameters keep a graph.
GRAFT_ONCE
[[gnu::noinline]] bool keeps_graph(const GradOptions& options, const LeafList& parameters) {
  if (options.create_graph) return *options.create_graph;
  if (!recording()) return false;
  bool tracked = differentiating;
  for (const Leaf& leaf : parameters) tracked = tracked || leaf.tensor->tracked();
  return tracked;
}

/// Throws ValueError when two parameters hold one tensor: each would get a gradient and a step of its own.
GRAFT_ONCE
[[gnu::noinline]] void check_held_once(const char* op, const LeafList& parameters, Site site) {
  const auto numbers = [&](std::size_t i) -> const void* {
    const Body* body = parameters[i].tensor->body();
    return body && body->count > 0 ? body->data : nullptr;
  };
  std::uint64_t seen = 0;  // a filter by 6 bits of the address: pairs are compared after a hit only
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const void* data = numbers(i);
    if (!data) continue;
    const std::uint64_t bit = std::uint64_t{1} << (reinterpret_cast<std::uintptr_t>(data) * 0x9E3779B97F4A7C15u >> 58);
    for (std::size_t j = 0; j < i && (seen & bit) != 0; ++j)
      if (numbers(j) == data && parameters[j].tensor->body()->count == parameters[i].tensor->body()->count)
        fail(op,
             {"parameters ", parameters.name(j), " and ", parameters.name(i),
              " hold one tensor: keep tied weights in one field and use it twice, or part them with untied(model)"},
             {}, site);
    seen |= bit;
  }
}

/// Makes tracked aliases of the parameters of element type T that are not frozen and, if there is a choice, chosen:
/// linked to their source when a graph is kept.
template <class T>
void track(const LeafList& parameters, const std::vector<bool>& chosen, bool linked) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].holds<T>() || (!chosen.empty() && !chosen[i])) continue;
    Tensor<T>& leaf = parameters[i].as<T>();
    if (!leaf.defined() || leaf.frozen()) continue;
    leaf = linked && leaf.tracked() ? identity(leaf) : variable(leaf);
  }
}
template <class M>
M tracked_aliases(const M& model, bool linked) {
  M aliases = model;
  const LeafList parameters = parameters_of(aliases);
  for_each_scalar<M>([&]<class T>() { track<T>(parameters, {}, linked); });
  return aliases;
}

/// The nodes of the parameters, null where one is frozen, without value or not chosen.
GRAFT_ONCE
[[gnu::noinline]] std::vector<Node*> nodes_of(const LeafList& parameters, const std::vector<bool>& chosen = {}) {
  std::vector<Node*> nodes(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Body* body = parameters[i].tensor->body();
    if (body && !body->frozen && (chosen.empty() || chosen[i])) nodes[i] = node_of(*parameters[i].tensor);
  }
  return nodes;
}

/// Replaces the parameters of element type T by their gradients, zeros where there is none.
template <class T>
void put_gradients(const LeafList& parameters, std::vector<AnyTensor>& gradients) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].holds<T>() || !parameters[i].tensor->defined()) continue;
    Tensor<T>& leaf = parameters[i].as<T>();
    leaf = gradients[i].defined() ? Tensor<T>(std::move(gradients[i])) : zeros<T>(leaf.shape());
  }
}
template <class M>
M gradients_as_model(const M& model, std::vector<AnyTensor> gradients) {
  M result = model;
  const LeafList parameters = parameters_of(result);
  for_each_scalar<M>([&]<class T>() { put_gradients<T>(parameters, gradients); });
  return result;
}

/// Whether one of the parameters with a node, all of them if `strict`, was reached, or none has a node.
inline bool enough_reached(const std::vector<Node*>& nodes, const std::vector<AnyTensor>& gradients, bool strict) {
  bool any = false, all = true;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    any = any || gradients[i].defined();
    all = all && (gradients[i].defined() || !nodes[i]);
  }
  return all || (any && !strict);
}
[[noreturn, gnu::cold, gnu::noinline]] inline void fail_captured(Site site) {
  fail("grad",
       "the value does not depend on the argument (does the function use a captured model instead of its argument?)",
       {}, site);
}
GRAFT_ONCE
[[noreturn, gnu::cold, gnu::noinline]] void fail_unreached(const LeafList& parameters, const std::vector<Node*>& nodes,
                                                           const std::vector<AnyTensor>& gradients, bool chosen,
                                                           Site site) {
  bool any = chosen;
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    any = any || gradients[i].defined();
    if (nodes[i] && !gradients[i].defined()) missing.push_back(parameters.name(i));
  }
  if (!any) fail_captured(site);
  fail("grad", {"the value does not depend on: ", listed(missing)}, {}, site);
}
/// Throws ValueError when no parameter was reached, or, if `strict`, when one was not. `nodes` are those that could be;
/// `chosen`: they were chosen by name.
template <class M>
void check_reached(const LeafList& parameters, const std::vector<Node*>& nodes, const std::vector<AnyTensor>& gradients,
                   bool strict, bool chosen, Site site) {
  if (enough_reached(nodes, gradients, strict)) return;
  if constexpr (is_tensor<M>)  // without the code that names parameters
    fail_captured(site);
  else
    fail_unreached(parameters, nodes, gradients, chosen, site);
}

/// The value of f at tracked aliases, computed as something to be differentiated.
template <class F, class M>
auto differentiable_value(F& f, const M& aliases) {
  const Recording on(true);
  const Differentiating here;
  return f(aliases);
}

/// `parts`: an Only, or nothing for all parameters.
template <class F, class M, class... Parts>
auto value_and_grad_of(F& f, const M& model, const GradOptions& options, Site site, const Parts&... parts) {
  M aliases = model;
  const LeafList parameters = parameters_of(aliases);
  std::vector<bool> chosen;
  if constexpr (sizeof...(Parts) > 0) (parts.names.choose("grad", parameters, chosen, site), ...);
  if constexpr (HasFields<M>) check_held_once("grad", parameters, site);  // a list of arguments may hold one twice
  const bool keep = keeps_graph(options, parameters);
  for_each_scalar<M>([&]<class T>() { track<T>(parameters, chosen, keep); });
  auto value = differentiable_value(f, std::as_const(aliases));
  require_scalar("grad", value, site);
  const std::vector<Node*> nodes = nodes_of(parameters, chosen);
  auto shown = keep ? value : value.detach();
  auto seed = one_like(value);
  std::vector<AnyTensor> gradients = backward(std::move(value), std::move(seed), nodes, keep, true);
  check_reached<M>(parameters, nodes, gradients, options.strict, sizeof...(Parts) > 0, site);
  return std::pair(std::move(shown), gradients_as_model(model, std::move(gradients)));
}

/// sum over parameters of <a_i, b_i>, shape []; a_i are tensors of the parameters' types or undefined, for zero. Not
/// defined when all are. Throws ShapeError unless b has the parameters' shapes.
template <class Y, class M>
Y product_with(const char* op, const std::vector<AnyTensor>& a, const M& b, const M& model, Site site) {
  const LeafList directions = parameters_of(b), parameters = parameters_of(model);
  directions.check_same_structure(parameters);
  Y product;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!directions[i].tensor->defined() && !parameters[i].tensor->defined()) continue;
    for_each_scalar<M>([&]<class T>() {
      if (!parameters[i].holds<T>()) return;
      const Tensor<T>&at = parameters[i].as<T>(), &direction = directions[i].as<T>();
      if (!(direction.shape() == at.shape()))
        fail<ShapeError>(op, {"the direction must have the argument's shapes, not so ", parameters.name(i)},
                         {{"argument", at.shape()}, {"direction", direction.shape()}}, site);
      if (!a[i].defined()) return;
      const Y term = cast<typename Y::Scalar>(sum(Tensor<T>(a[i]) * direction));
      product = product.defined() ? product + term : term;
    });
  }
  return product;
}

/// Of a struct that does not name its fields.
template <class M>
const M& refuse_struct(const M& model) {
  static_assert(std::is_void_v<M>, "this struct is no model: name its tensors and models in it, GRAFT_FIELDS(a, b)");
  return model;
}

}  // namespace detail

/// Value and gradient of `f(model)`, a scalar: d f / d parameter for every parameter, as a model of the same type.
/// `f` gets tracked aliases of the parameters. Where a graph is kept the gradient is itself differentiable, and the
/// aliases are linked to the model's own tape, so a gradient step can be differentiated through. Frozen and unused
/// parameters get zeros. Throws ValueError when the value reaches none of the parameters, or two fields of a model hold
/// one tensor.
template <class F, Model M>
auto value_and_grad(F&& f, const M& model, GradOptions options = {}, Site site = Site::current()) {
  return detail::value_and_grad_of(f, model, options, site);
}
/// Value and gradient with respect to the named parts; zeros elsewhere.
template <class F, Model M>
auto value_and_grad(F&& f, const M& model, const Only& parts, GradOptions options = {}, Site site = Site::current()) {
  return detail::value_and_grad_of(f, model, options, site, parts);
}

/// Of a struct that does not name its fields there is none.
template <class F, class M>
  requires(!Model<M> && std::is_class_v<M> && std::invocable<F&, const M&>)
auto value_and_grad(F&&, const M& model, GradOptions = {}, Site = {}) {
  return std::pair(Tensor<>(), detail::refuse_struct(model));
}

/// The gradient alone; see `value_and_grad`.
template <class F, Model M>
  requires std::invocable<F&, const M&>
M grad(F&& f, const M& model, GradOptions options = {}, Site site = Site::current()) {
  return detail::value_and_grad_of(f, model, options, site).second;
}
template <class F, Model M>
M grad(F&& f, const M& model, const Only& parts, GradOptions options = {}, Site site = Site::current()) {
  return detail::value_and_grad_of(f, model, options, site, parts).second;
}

/// Of a struct that does not name its fields there is none.
template <class F, class M>
  requires(!Model<M> && std::is_class_v<M> && std::invocable<F&, const M&>)
M grad(F&&, const M& model, GradOptions = {}, Site = {}) {
  return detail::refuse_struct(model);
}

/// d y / d x for tracked tensors x (one, or a tree of them) from which the scalar `y` was computed. `y` keeps its
/// graph; the gradients have one only where `create_graph` asks for it, or inside a function being differentiated.
template <class T, Model M>
M grad(const Tensor<T>& y, const M& xs, GradOptions options = {}, Site site = Site::current()) {
  detail::require_scalar("grad", y, site);
  const detail::LeafList parameters = detail::parameters_of(xs);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const AnyTensor& leaf = *parameters[i].tensor;
    if (leaf.defined() && !leaf.tracked() && !leaf.body()->frozen)
      fail("grad", "an argument is not tracked: start its tape with variable(x) or use grad(f, x)",
           {{"argument", leaf.body()->shape}}, site);
  }
  const bool keep = options.create_graph.value_or(recording() && detail::differentiating);
  const std::vector<detail::Node*> nodes = detail::nodes_of(parameters);
  std::vector<AnyTensor> gradients = detail::backward(y, detail::one_like(y), nodes, keep, false);
  detail::check_reached<M>(parameters, nodes, gradients, options.strict, false, site);
  return detail::gradients_as_model(xs, std::move(gradients));
}

/// Value y = f(x) and the product of `v` (shaped like y) with the Jacobian: v^T dy/dx, shaped like x.
template <class F, Model M, class T>
auto vjp(F&& f, const M& x, const Tensor<T>& v, GradOptions options = {}, Site site = Site::current()) {
  const bool keep = detail::keeps_graph(options, detail::parameters_of(x));
  const M aliases = detail::tracked_aliases(x, keep);
  Tensor<T> y = detail::differentiable_value(f, aliases);
  if (!(y.shape() == v.shape()))
    fail<ShapeError>("vjp", "the cotangent must have the value's shape",
                     {{"value", y.shape()}, {"cotangent", v.shape()}}, site);
  const auto nodes = detail::nodes_of(detail::parameters_of(aliases));
  Tensor<T> shown = keep ? y : y.detach();
  auto gradients = detail::backward(std::move(y), v, nodes, keep, true);
  return std::pair(std::move(shown), detail::gradients_as_model(x, std::move(gradients)));
}

/// Value y = f(x) and the directional derivative dy/dx v, shaped like y. Computed as the derivative of u -> u^T dy/dx
/// (linear in u) in direction v, so every op that has a gradient has it.
template <class F, Model M>
auto jvp(F&& f, const M& x, const M& v, GradOptions options = {}, Site site = Site::current()) {
  const bool keep = detail::keeps_graph(options, detail::parameters_of(x));
  const M aliases = detail::tracked_aliases(x, keep);
  const Recording on(true);
  auto y = detail::differentiable_value(f, aliases);
  using Y = decltype(y);
  const Y u = variable(zeros<typename Y::Scalar>(y.shape()));
  const auto nodes = detail::nodes_of(detail::parameters_of(aliases));
  const auto pulled = detail::backward(y, u, nodes, true, true);
  // <v, u^T dy/dx> is linear in u; its gradient with respect to u is dy/dx v.
  Y product = detail::product_with<Y>("jvp", pulled, v, x, site), tangent;
  if (product.defined()) {
    detail::Node* target[] = {detail::node_of(u)};
    auto seed = detail::one_like(product);
    tangent = Y(detail::backward(std::move(product), std::move(seed), target, keep, true)[0]);
  }
  if (!tangent.defined()) tangent = zeros<typename Y::Scalar>(y.shape());
  return std::pair(keep ? y : y.detach(), std::move(tangent));
}

/// Gradient of f at `model` and its Hessian times `v`: d/de grad f(model + e v) at e = 0.
template <class F, Model M>
std::pair<M, M> hvp(F&& f, const M& model, const M& v, GradOptions options = {}, Site site = Site::current()) {
  const bool keep = detail::keeps_graph(options, detail::parameters_of(model));
  const M aliases = detail::tracked_aliases(model, keep);
  const Recording on(true);
  M gradient = grad(f, aliases, {.create_graph = true}, site);
  std::vector<AnyTensor> slopes;
  for (const detail::Leaf& leaf : detail::parameters_of(gradient)) slopes.push_back(*leaf.tensor);
  using Scalar = decltype(f(model));
  Scalar product = detail::product_with<Scalar>("hvp", slopes, v, model, site);
  const auto nodes = detail::nodes_of(detail::parameters_of(aliases));
  std::vector<AnyTensor> second(nodes.size());
  if (product.defined() && product.tracked()) {
    auto seed = detail::one_like(product);
    second = detail::backward(std::move(product), std::move(seed), nodes, keep, true);
  }
  if (!keep) for_each_parameter([](auto& leaf) { leaf = leaf.detach(); }, gradient);
  return {std::move(gradient), detail::gradients_as_model(model, std::move(second))};
}

namespace detail {

/// Calls `check(y)`, then `row(i, gradients)` with the gradients of element i of y = f(x) with respect to the
/// parameters of x, for every i, from one forward pass.
template <class F, class M, class Check, class Row>
void each_row_of_jacobian(F& f, const M& x, bool keep, Check check, Row row) {
  const M aliases = tracked_aliases(x, keep);
  const auto y = differentiable_value(f, aliases);
  using T = typename std::remove_const_t<decltype(y)>::Scalar;
  check(y);
  const std::vector<Node*> nodes = nodes_of(parameters_of(aliases));
  for (Index i = 0; i < y.count(); ++i) {
    const Tensor<T> one = one_hot<T>(Tensor<std::int64_t>(i), y.count());
    row(i, backward(y, reshape(one, y.shape()), nodes, keep, true));
  }
}

}  // namespace detail

/// dy/dx [y..., x...] of y = f(x) for a tensor x, one backward pass a row. The rank of the result, rank y + rank x,
/// must not exceed 6.
template <class F, Real T>
Tensor<T> jacobian(F&& f, const Tensor<T>& x, GradOptions options = {}, Site site = Site::current()) {
  const bool keep = detail::keeps_graph(options, detail::parameters_of(x));
  const Recording recorded_rows(keep);
  Shape shape;
  const auto check = [&](const Tensor<T>& y) {
    shape = y.shape();
    for (Index size : x.shape()) shape.push_back(size);
    detail::checked_count("jacobian", shape, sizeof(T), site);
  };
  std::vector<Tensor<T>> rows;
  detail::each_row_of_jacobian(f, x, keep, check, [&](Index, std::vector<AnyTensor> row) {
    rows.push_back(row[0].defined() ? Tensor<T>(std::move(row[0])) : zeros<T>(x.shape()));
  });
  return rows.empty() ? zeros<T>(shape, site) : reshape(stack(rows), shape, site);
}

/// The Jacobian of several losses [tasks] = f(model) with respect to all parameters, [tasks, count(model)], from one
/// forward pass: row i is `to_vector` of the gradient of loss i, zeros where it does not depend on a parameter. What
/// aggregators of conflicting gradients take. Throws ShapeError unless f gives one axis.
template <class F, ModelTree M>
Tensor<ModelScalar<M>> jacobian(F&& f, const M& model, GradOptions options = {}, Site site = Site::current()) {
  using T = ModelScalar<M>;
  const detail::LeafList parameters = detail::parameters_of(model);
  const bool keep = detail::keeps_graph(options, parameters);
  const Recording recorded_rows(keep);
  const auto check = [&](const auto& y) {
    if (y.rank() != 1)
      fail<ShapeError>("jacobian", "the function of a model must give losses [tasks]", {{"losses", y.shape()}}, site);
  };
  std::vector<Tensor<T>> rows;
  detail::each_row_of_jacobian(f, model, keep, check, [&](Index, std::vector<AnyTensor> row) {
    std::vector<Tensor<T>> parts;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      detail::for_each_scalar<M>([&]<class U>() {
        if (!parameters[i].holds<U>() || !parameters[i].tensor->defined()) return;
        const Index numbers = parameters[i].as<U>().count();
        parts.push_back(row[i].defined() ? cast<T>(reshape(Tensor<U>(std::move(row[i])), {numbers}))
                                         : zeros<T>({numbers}));
      });
    rows.push_back(parts.empty() ? zeros<T>({0}) : concat(parts));
  });
  return rows.empty() ? zeros<T>({0, count(model)}, site) : stack(rows);
}

}  // namespace GRAFT_ABI
}  // namespace graft
