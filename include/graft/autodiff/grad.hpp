#pragma once
// Gradients as functions: grad, vjp, jvp, hvp, jacobian. There is no `.grad` field and nothing to zero. On x86 what is
// below the smallest normal number on the way back counts as zero.
//
// Backward runs level by level from the highest. Within a level nodes are taken in the order in which the graph was
// walked, and contributions to one node are added by consumer and argument, so the sum depends on the graph alone.

#include <concepts>
#include <string>

#include "graft/autodiff/node.hpp"
#include "graft/core/float_mode.hpp"
#include "graft/core/tree.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `grad` differentiates.
struct GradOptions {
  bool create_graph = false;  ///< the gradients can be differentiated again
  bool strict = false;        ///< parameters that the value does not depend on are an error that names them, not zeros
};

namespace detail {

/// The nodes of a walk in the order in which they were met, found by address (open addressing). Nodes hold no scratch
/// state, so several threads may differentiate graphs that share nodes.
class NodeTable {
 public:
  struct Entry {
    const Node* key;  // outlives the reference
    NodeRef node;
    AnyTensor gradient;
    bool needed = false;
    bool target = false;
  };
  std::vector<Entry, CacheAllocator<Entry>> entries;

  NodeTable() : slots_(64), slot_count_(64) {
    entries.reserve(24);
    clear_slots();
  }

  /// The place of a node, or -1.
  Index find(const Node* node) const { return slots_[slot_of(node)]; }
  /// Adds `node` unless it is there.
  void insert(Node* node) {
    Index slot = slot_of(node);
    if (slots_[slot] >= 0) return;
    const auto count = static_cast<Index>(entries.size());
    if (2 * (count + 1) > slot_count_) {
      grow();
      slot = slot_of(node);
    }
    slots_[slot] = static_cast<std::int32_t>(count);
    entries.push_back(Entry{node, NodeRef(node), AnyTensor()});
  }

 private:
  Index slot_of(const Node* node) const {
    const auto mask = static_cast<std::size_t>(slot_count_ - 1);
    std::size_t slot = (reinterpret_cast<std::uintptr_t>(node) >> 6) * 0x9E3779B97F4A7C15u >> 20 & mask;
    for (;; slot = (slot + 1) & mask) {
      const std::int32_t at = slots_[static_cast<Index>(slot)];
      if (at < 0 || entries[static_cast<std::size_t>(at)].key == node) return static_cast<Index>(slot);
    }
  }
  void clear_slots() {
    for (Index i = 0; i < slot_count_; ++i) slots_[i] = -1;
  }
  void grow() {
    Workspace<std::int32_t> larger(slot_count_ *= 2);
    slots_.swap(larger);
    clear_slots();
    std::int32_t at = 0;
    for (const Entry& entry : entries) slots_[slot_of(entry.key)] = at++;
  }
  Workspace<std::int32_t> slots_;
  Index slot_count_;
};

/// Gradients of <y, seed> with respect to the nodes in `targets`. An empty result stands for zero. With
/// `stop_at_targets` nothing beyond a target is looked at (targets that were made for this call alone). Takes `y` over,
/// so that what only its graph keeps alive is let go on the way.
inline std::vector<AnyTensor> backward(AnyTensor y, AnyTensor seed, std::span<Node* const> targets, bool create_graph,
                                       bool stop_at_targets) {
  std::vector<AnyTensor> results(targets.size());
  Node* const root = node_of(y);
  if (!root) return results;
  NodeTable table;
  const auto entry_at = [&](Index i) -> NodeTable::Entry& { return table.entries[static_cast<std::size_t>(i)]; };
  const auto entry_count = [&] { return static_cast<Index>(table.entries.size()); };

  std::int32_t lowest = root->level;
  for (Node* target : targets)
    if (target) {
      table.insert(target);
      if (target->level < lowest) lowest = target->level;
    }
  for (auto& entry : table.entries) entry.target = true;

  // Walk what `root` was computed from, breadth first.
  const Index first = stop_at_targets ? entry_count() : 0;
  table.insert(root);
  Index most_inputs = 0;
  for (Index i = first; i < entry_count(); ++i) {
    const Node* node = entry_at(i).node.get();
    if (node->input_count > most_inputs) most_inputs = node->input_count;
    for (Node* input : std::span(node->inputs, static_cast<std::size_t>(node->input_count)))
      if (input && input->level >= lowest) table.insert(input);
  }

  // Counting sort by level; within a level the order of the walk. A target above the root is not reached.
  const Index level_count = root->level - lowest + 1;
  const Workspace<Index> starts(level_count + 1), order(entry_count());
  for (Index l = 0; l <= level_count; ++l) starts[l] = 0;
  for (const auto& entry : table.entries)
    if (entry.key->level <= root->level) ++starts[entry.key->level - lowest + 1];
  for (Index l = 0; l < level_count; ++l) starts[l + 1] += starts[l];
  const Index placed = starts[level_count];
  for (Index i = 0; i < entry_count(); ++i)
    if (const Node* node = entry_at(i).key; node->level <= root->level) order[starts[node->level - lowest]++] = i;

  // The place of an input whose gradient leads to a target, else -1.
  const auto needed_place = [&](const Node* input) {
    const Index at = input && input->level >= lowest ? table.find(input) : -1;
    return at >= 0 && entry_at(at).needed ? at : -1;
  };
  for (Index o = 0; o < placed; ++o) {
    auto& entry = entry_at(order[o]);
    entry.needed = entry.target;
    if (entry.needed && stop_at_targets) continue;
    for (int i = 0; i < entry.key->input_count && !entry.needed; ++i)
      entry.needed = needed_place(entry.key->inputs[i]) >= 0;
  }

  Recording record_rules(create_graph);
  const DenormalMode flushed(kFlushDenormals);
  entry_at(table.find(root)).gradient = std::move(seed);
  y = AnyTensor();
  std::vector<AnyTensor, CacheAllocator<AnyTensor>> pulled(static_cast<std::size_t>(most_inputs));
  const Workspace<bool> needed(most_inputs);
  const Workspace<Index> places(most_inputs);
  for (Index o = placed; o-- > 0;) {
    auto& entry = entry_at(order[o]);
    if (!entry.needed || !entry.gradient.defined()) {
      entry.node = NodeRef();
      continue;
    }
    if (entry.target && stop_at_targets) continue;
    Node* node = entry.node.get();
    bool any = false;
    for (int i = 0; i < node->input_count; ++i) {
      places[i] = needed_place(node->inputs[i]);
      any |= needed[i] = places[i] >= 0;
    }
    if (any) {
      const AnyTensor gradient = entry.target ? entry.gradient : std::move(entry.gradient);
      node->pull(gradient, needed.data(), pulled.data());
    }
    for (int i = 0; i < node->input_count; ++i) {
      AnyTensor part = std::move(pulled[static_cast<std::size_t>(i)]);
      if (!needed[i] || !part.defined()) continue;
      Node* const input = node->inputs[i];
      if (check_nan && input->has_nan(part)) [[unlikely]]
        fail(node->name, {"the gradient of argument ", i, " holds a NaN"}, {{"value", node->shape}});
      AnyTensor& total = entry_at(places[i]).gradient;
      total = total.defined() ? input->add(std::move(total), part) : std::move(part);
    }
    if (!entry.target) entry.node = NodeRef();
  }
  for (std::size_t t = 0; t < targets.size(); ++t)
    if (targets[t]) results[t] = entry_at(table.find(targets[t])).gradient;
  return results;
}

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
