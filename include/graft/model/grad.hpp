#pragma once
// Gradients as functions: grad, vjp, jvp, hvp, jacobian. There is no `.grad` field and nothing to zero.

#include <concepts>
#include <string>

#include "graft/autodiff/backward.hpp"
#include "graft/model/names.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `grad` differentiates.
struct GradOptions {
  bool create_graph = false;  ///< the gradients can be differentiated again
  bool strict = false;        ///< parameters that the value does not depend on are an error that names them, not zeros
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

/// Tracked aliases of all parameters that are not frozen: linked to their source when a graph is kept.
template <class M>
M tracked_aliases(const M& model, bool linked) {
  M aliases = model;
  for_each_parameter(
      [&](auto& leaf) {
        if (!leaf.defined() || leaf.frozen()) return;
        leaf = linked && leaf.tracked() ? identity(leaf) : variable(leaf);
      },
      aliases);
  return aliases;
}
template <class M>
std::vector<Node*> parameter_nodes(const M& model) {
  std::vector<Node*> nodes;
  for_each_parameter([&](const auto& leaf) { nodes.push_back(leaf.frozen() ? nullptr : node_of(leaf)); }, model);
  return nodes;
}

/// Gradients in the shape of the model; zeros where there is none.
template <class M>
M gradients_as_model(const M& model, std::vector<AnyTensor> gradients) {
  M result = model;
  std::size_t i = 0;
  for_each_parameter(
      [&](auto& leaf) {
        using T = typename std::remove_cvref_t<decltype(leaf)>::Scalar;
        AnyTensor& gradient = gradients[i++];
        if (!leaf.defined()) return;
        leaf = gradient.defined() ? Tensor<T>(std::move(gradient)) : zeros<T>(leaf.shape());
      },
      result);
  return result;
}

/// Throws ValueError when no parameter was reached, or, if `strict`, when one was not.
template <class M>
void check_reached(const M& aliases, const std::vector<AnyTensor>& gradients, bool strict, Site site) {
  bool any = false;
  for (const AnyTensor& gradient : gradients) any |= gradient.defined();
  if (any && !strict) return;
  std::string missing;
  std::size_t i = 0;
  auto visit = [&](const std::string& path, const auto& leaf) {
    if (gradients[i++].defined() || !leaf.tracked() || leaf.frozen()) return;
    missing += (missing.empty() ? "" : ", ") + (path.empty() ? "the argument" : path);
  };
  for_each_named_parameter(visit, aliases);
  if (missing.empty()) return;
  if (!any)
    fail("grad",
         "the value does not depend on the argument (does the function use a captured model instead of its argument?)",
         {}, site);
  fail("grad", {"the value does not depend on: ", missing}, {}, site);
}

}  // namespace detail

/// Value and gradient of `f(model)`, a scalar: d f / d parameter for every parameter, as a model of the same type.
/// `f` gets tracked aliases of the parameters. With `create_graph` the gradient is itself differentiable, and the
/// aliases are linked to the model's own tape, so a gradient step can be differentiated through. Frozen and unused
/// parameters get zeros. Throws ValueError when the value reaches none of the parameters.
template <class F, Model M>
auto value_and_grad(F&& f, const M& model, GradOptions options = {}, Site site = Site::current()) {
  const M aliases = detail::tracked_aliases(model, options.create_graph);
  auto value = [&] {
    Recording on(true);
    return f(aliases);
  }();
  detail::require_scalar("grad", value, site);
  const std::vector<detail::Node*> nodes = detail::parameter_nodes(aliases);
  auto shown = options.create_graph ? value : value.detach();
  auto seed = detail::one_like(value);
  std::vector<AnyTensor> gradients =
      detail::backward(std::move(value), std::move(seed), nodes, options.create_graph, true);
  detail::check_reached(aliases, gradients, options.strict, site);
  return std::pair(std::move(shown), detail::gradients_as_model(model, std::move(gradients)));
}

/// The gradient alone; see `value_and_grad`.
template <class F, Model M>
  requires std::invocable<F&, const M&>
M grad(F&& f, const M& model, GradOptions options = {}, Site site = Site::current()) {
  return value_and_grad(f, model, options, site).second;
}

/// Value and gradient of `f(model)` with respect to the named parts; zeros elsewhere. See `value_and_grad(f, model)`.
template <class F, Model M>
auto value_and_grad(F&& f, const M& model, const Only& parts, GradOptions options = {}, Site site = Site::current()) {
  parts.names.check("grad", model, site);
  M aliases = model;
  std::vector<detail::Node*> nodes;
  for_each_named_parameter(
      [&](const std::string& path, auto& leaf) {
        const bool chosen = leaf.defined() && !leaf.frozen() && parts.names.holds(path);
        if (chosen) leaf = options.create_graph && leaf.tracked() ? identity(leaf) : variable(leaf);
        nodes.push_back(chosen ? detail::node_of(leaf) : nullptr);
      },
      aliases);
  auto value = [&] {
    Recording on(true);
    return f(std::as_const(aliases));
  }();
  detail::require_scalar("grad", value, site);
  auto shown = options.create_graph ? value : value.detach();
  auto seed = detail::one_like(value);
  std::vector<AnyTensor> gradients =
      detail::backward(std::move(value), std::move(seed), nodes, options.create_graph, true);
  bool any_reached = false;
  std::string missing;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    any_reached = any_reached || gradients[i].defined();
    if (nodes[i] && !gradients[i].defined())
      missing += (missing.empty() ? "" : ", ") + detail::parameter_name(model, i);
  }
  if (!missing.empty() && (options.strict || !any_reached))
    fail("grad", {"the value does not depend on: ", missing}, {}, site);
  return std::pair(std::move(shown), detail::gradients_as_model(model, std::move(gradients)));
}

/// The gradient alone.
template <class F, Model M>
M grad(F&& f, const M& model, const Only& parts, GradOptions options = {}, Site site = Site::current()) {
  return value_and_grad(f, model, parts, options, site).second;
}

/// d y / d x for tracked tensors x (one, or a tree of them) from which the scalar `y` was computed. `y` keeps its
/// graph.
template <class T, Model M>
M grad(const Tensor<T>& y, const M& xs, GradOptions options = {}, Site site = Site::current()) {
  detail::require_scalar("grad", y, site);
  for_each_parameter(
      [&](const auto& leaf) {
        if (!leaf.tracked() && !leaf.frozen())
          fail("grad", "an argument is not tracked: start its tape with variable(x) or use grad(f, x)",
               {{"argument", leaf.shape()}}, site);
      },
      xs);
  const std::vector<detail::Node*> nodes = detail::parameter_nodes(xs);
  std::vector<AnyTensor> gradients = detail::backward(y, detail::one_like(y), nodes, options.create_graph, false);
  detail::check_reached(xs, gradients, options.strict, site);
  return detail::gradients_as_model(xs, std::move(gradients));
}

/// Value y = f(x) and the product of `v` (shaped like y) with the Jacobian: v^T dy/dx, shaped like x.
template <class F, Model M, class T>
auto vjp(F&& f, const M& x, const Tensor<T>& v, GradOptions options = {}, Site site = Site::current()) {
  const M aliases = detail::tracked_aliases(x, options.create_graph);
  Tensor<T> y = [&] {
    Recording on(true);
    return f(aliases);
  }();
  if (!(y.shape() == v.shape()))
    fail<ShapeError>("vjp", "the cotangent must have the value's shape",
                     {{"value", y.shape()}, {"cotangent", v.shape()}}, site);
  const auto nodes = detail::parameter_nodes(aliases);
  Tensor<T> shown = options.create_graph ? y : y.detach();
  auto gradients = detail::backward(std::move(y), v, nodes, options.create_graph, true);
  return std::pair(std::move(shown), detail::gradients_as_model(x, std::move(gradients)));
}

/// Value y = f(x) and the directional derivative dy/dx v, shaped like y. Computed as the derivative of u -> u^T dy/dx
/// (linear in u) in direction v, so every op that has a gradient has it.
template <class F, Model M>
auto jvp(F&& f, const M& x, const M& v, GradOptions options = {}, Site site = Site::current()) {
  const M aliases = detail::tracked_aliases(x, options.create_graph);
  Recording on(true);
  auto y = f(aliases);
  using Y = decltype(y);
  const Y u = variable(zeros<typename Y::Scalar>(y.shape()));
  const auto nodes = detail::parameter_nodes(aliases);
  auto pulled = detail::backward(y, u, nodes, true, true);
  // <v, u^T dy/dx> is linear in u; its gradient with respect to u is dy/dx v.
  Y product;
  std::size_t i = 0;
  for_each_parameter(
      [&](const auto& direction, const auto& at) {
        if (!(direction.shape() == at.shape()))
          fail<ShapeError>("jvp", "the direction must have the argument's shapes",
                           {{"argument", at.shape()}, {"direction", direction.shape()}}, site);
        const AnyTensor& gradient = pulled[i++];
        if (!gradient.defined()) return;
        Y term = sum(Y(gradient) * direction);
        product = product.defined() ? product + term : term;
      },
      v, x);
  if (!product.defined()) return std::pair(options.create_graph ? y : y.detach(), zeros<typename Y::Scalar>(y.shape()));
  detail::Node* target[] = {detail::node_of(u)};
  auto seed = detail::one_like(product);
  auto forward = detail::backward(std::move(product), seed, target, options.create_graph, true);
  Y tangent = forward[0].defined() ? Y(forward[0]) : zeros<typename Y::Scalar>(y.shape());
  return std::pair(options.create_graph ? y : y.detach(), tangent);
}

/// Gradient of f at `model` and its Hessian times `v`: d/de grad f(model + e v) at e = 0.
template <class F, Model M>
std::pair<M, M> hvp(F&& f, const M& model, const M& v, GradOptions options = {}, Site site = Site::current()) {
  const M aliases = detail::tracked_aliases(model, options.create_graph);
  Recording on(true);
  const M gradient = grad(f, aliases, {.create_graph = true}, site);
  using Scalar = decltype(f(model));
  Scalar product;
  for_each_parameter(
      [&](const auto& g, const auto& direction) {
        if (!(direction.shape() == g.shape()))
          fail<ShapeError>("hvp", "the direction must have the model's shapes",
                           {{"model", g.shape()}, {"direction", direction.shape()}}, site);
        Scalar term = sum(g * direction);
        product = product.defined() ? product + term : term;
      },
      gradient, v);
  std::vector<AnyTensor> second(detail::parameter_nodes(aliases).size());
  if (product.defined() && product.tracked()) {
    const auto nodes = detail::parameter_nodes(aliases);
    auto seed = detail::one_like(product);
    second = detail::backward(std::move(product), seed, nodes, options.create_graph, true);
  }
  M first = gradient;
  if (!options.create_graph) for_each_parameter([](auto& leaf) { leaf = leaf.detach(); }, first);
  return {first, detail::gradients_as_model(model, std::move(second))};
}

/// dy/dx [y..., x...] of y = f(x), one backward pass a row. The rank of the result, rank y + rank x, must not exceed 6.
template <class F, class T>
Tensor<T> jacobian(F&& f, const Tensor<T>& x, GradOptions options = {}, Site site = Site::current()) {
  const Tensor<T> alias = detail::tracked_aliases(x, options.create_graph);
  Recording on(true);
  const Tensor<T> y = f(alias);
  Shape shape = y.shape();
  for (Index size : x.shape()) shape.push_back(size);
  detail::checked_count("jacobian", shape, sizeof(T), site);
  detail::Node* target[] = {detail::node_of(alias)};
  std::vector<Tensor<T>> rows;
  for (Index i = 0; i < y.count(); ++i) {
    Tensor<T> one = zeros<T>(y.shape());
    detail::writable(one)[i] = T(1);
    auto row = detail::backward(y, one, target, options.create_graph, true);
    rows.push_back(row[0].defined() ? Tensor<T>(row[0]) : zeros<T>(x.shape()));
  }
  if (rows.empty()) return zeros<T>(shape, site);
  return reshape(stack(rows), shape);
}

}  // namespace GRAFT_ABI
}  // namespace graft
