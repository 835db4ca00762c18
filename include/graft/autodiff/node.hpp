#pragma once
// The tape. A node remembers how one tensor was computed: the nodes of its inputs and one rule an input, which maps the
// gradient of the output to the gradient of that input. Rules are written in tensor ops, so running them with recording
// on records a graph that can be differentiated again, to any order.
//
// A tracked tensor's header is the head of its node. The node outlives the header's handles as long as other nodes
// refer to it, but the numbers are let go with the last handle. No global tape, no counter: order comes from levels.

#include "graft/backend/cpu/map.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One input of an op and the rule that maps the output's gradient to its gradient. A rule is written in tensor ops.
template <class U, class Rule>
struct Edge {
  const Tensor<U>& input;
  Rule rule;
  Edge(const Tensor<U>& x, Rule r) : input(x), rule(std::move(r)) {}
};

namespace detail {

inline constinit thread_local bool recording_on = true;

/// a + b of gradients on their way back.
template <class T>
Tensor<T> add_gradients(Tensor<T> a, const Tensor<T>& b);

/// Drops the reference that the handles of a node's head share.
inline void release_node(Body* head);

/// Base of all nodes: the header that handles point to, and what backward needs. The list of inputs lies behind the
/// node in its allocation.
struct Node : Body {
  std::atomic<std::int32_t> node_refs{1};  // edges from consumers, plus one while the header has handles
  std::int32_t level = 0;                  // 1 + highest level of the inputs: backward goes from high to low
  std::int32_t input_count = 0;
  Node** inputs = nullptr;  // null where an input is not tracked
  const char* name = "";
  Node* next_dead = nullptr;
  std::size_t bytes = 0;  // of the allocation

  Node() : Body(Kind::node) { release_head = release_node; }
  /// Calls the rules of the inputs marked in `needed` with the output's gradient.
  virtual void pull(const AnyTensor& gradient, const bool* needed, AnyTensor* results) = 0;
  /// a + b for gradients of this node's output; may reuse the memory of `a`.
  virtual AnyTensor add(AnyTensor a, const AnyTensor& b) const = 0;
  /// True when a tensor of this node's output type holds a NaN.
  virtual bool has_nan(const AnyTensor& tensor) const = 0;
  /// Ends the lifetime of the node; its memory stays.
  virtual void destroy() = 0;

 protected:
  ~Node() = default;
};

inline Node* node_of(Body* body) {
  return body && body->kind == Body::Kind::node ? static_cast<Node*>(body) : nullptr;
}
inline Node* node_of(const AnyTensor& tensor) { return node_of(tensor.body()); }

inline constinit thread_local Node* dead_nodes = nullptr;
inline constinit thread_local bool releasing = false;

/// Drops one reference; a node without references goes to the list of the dead. As with tensors, the last reference
/// needs no atomic subtraction.
inline void drop_reference(Node* node) noexcept {
  if (!node) return;
  if (node->node_refs.load(std::memory_order_acquire) != 1 &&
      node->node_refs.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  node->next_dead = dead_nodes;
  dead_nodes = node;
}
/// Drops one reference and destroys the dead. Nodes that die on the way wait in the list instead of on the stack, so a
/// chain of a million ops is released in constant stack space.
[[gnu::noinline]] inline void release_edge(Node* node) noexcept {
  drop_reference(node);
  if (releasing) return;
  releasing = true;
  while (Node* dead = dead_nodes) {
    dead_nodes = dead->next_dead;
    for (int i = 0; i < dead->input_count; ++i) drop_reference(dead->inputs[i]);
    const std::size_t bytes = dead->bytes;
    dead->destroy();
    free_block(dead, bytes);
  }
  releasing = false;
}
inline void release_node(Body* head) { release_edge(node_of(head)); }

/// A counted reference to a node.
class NodeRef {
 public:
  NodeRef() = default;
  explicit NodeRef(Node* node) : node_(node) {
    if (node_) node_->node_refs.fetch_add(1, std::memory_order_relaxed);
  }
  NodeRef(NodeRef&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  NodeRef& operator=(NodeRef&& other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~NodeRef() { release_edge(node_); }
  Node* get() const { return node_; }

 private:
  Node* node_ = nullptr;
};

/// What every node of output type T has in common.
template <class T>
struct TypedNode : Node {
  AnyTensor add(AnyTensor a, const AnyTensor& b) const override {
    return add_gradients(Tensor<T>(std::move(a)), Tensor<T>(b));
  }
  bool has_nan(const AnyTensor& tensor) const override {
    const Tensor<T> typed(tensor);
    for (T value : typed.span())
      if (value != value) return true;
    return false;
  }

 protected:
  ~TypedNode() = default;
};

/// A node whose rule(gradient, needed, results) serves all inputs.
template <class T, class Rule>
struct RuleNode final : TypedNode<T> {
  Rule rule;

  template <class... Parts>
  explicit RuleNode(Parts&&... parts) : rule(std::forward<Parts>(parts)...) {}
  void pull(const AnyTensor& gradient, const bool* needed, AnyTensor* results) override {
    rule(Tensor<T>(gradient), needed, results);
  }
  void destroy() override { this->~RuleNode(); }
};

/// The rule of one input, dropped at once, with whatever it saved, when the input is not tracked.
template <class Rule>
struct InputRule {
  const bool kept;
  union {
    Rule rule;
  };

  template <class U>
  InputRule(Edge<U, Rule>&& edge) : kept(edge.input.tracked()) {
    if (kept) new (&rule) Rule(std::move(edge.rule));
  }
  InputRule(const InputRule&) = delete;
  ~InputRule() {
    if (kept) rule.~Rule();
  }
};

/// A rule an input.
template <class T, class... Rules>
struct RuleOfEach {
  void operator()(const Tensor<T>&, const bool*, AnyTensor*) const {}
};
template <class T, class First, class... Rest>
struct RuleOfEach<T, First, Rest...> {
  InputRule<First> first;
  RuleOfEach<T, Rest...> rest;

  template <class FirstEdge, class... Edges>
  explicit RuleOfEach(FirstEdge&& edge, Edges&&... edges) : first(std::move(edge)), rest(std::move(edges)...) {}
  void operator()(const Tensor<T>& g, const bool* needed, AnyTensor* results) const {
    if (*needed) *results = first.rule(g);
    rest(g, needed + 1, results + 1);
  }
};

/// Fills in what does not depend on the node's type: it stands for `value`, made by `op`, and has room for inputs.
[[gnu::noinline]] inline void place_on_tape(Node* node, const char* op, const AnyTensor& value, std::size_t bytes,
                                            Node** inputs) noexcept {
  Body* source = value.body();
  node->name = op;
  node->shape = source->shape;
  node->count = source->count;
  node->data = source->data;
  node->owner = source->owner ? source->owner : source;
  retain(node->owner);
  node->bytes = bytes;
  node->inputs = inputs;
}
/// Adds the next input.
[[gnu::noinline]] inline void connect(Node* node, const AnyTensor& input) noexcept {
  Node* source = node_of(input);
  node->inputs[node->input_count++] = source;
  if (!source) return;
  source->node_refs.fetch_add(1, std::memory_order_relaxed);
  if (node->level <= source->level) node->level = source->level + 1;
}

/// A node of output type T without inputs yet, and with room for `count` of them.
template <class T, class Rule, class... Parts>
Node* new_node(const char* op, const AnyTensor& value, std::size_t count, Parts&&... parts) {
  using N = RuleNode<T, Rule>;
  static_assert(alignof(N) <= 64 && sizeof(N) % alignof(Node*) == 0);
  const std::size_t bytes = sizeof(N) + count * sizeof(Node*);
  void* memory = allocate_block(bytes);
  Node* node = new (memory) N(std::forward<Parts>(parts)...);
  place_on_tape(node, op, value, bytes, reinterpret_cast<Node**>(static_cast<char*>(memory) + sizeof(N)));
  return node;
}

/// Debug mode of this thread: see `CheckNan`.
inline constinit thread_local bool check_nan = false;

[[gnu::cold, gnu::noinline]] inline void require_no_nan(const Node* node, const AnyTensor& value) {
  if (node->has_nan(value)) fail(node->name, "the value holds a NaN", {{"value", node->shape}});
}
/// The tensor whose history `node` is.
template <class T>
Tensor<T> on_tape(Node* node) {
  Tensor<T> result(node);
  if (check_nan) [[unlikely]]
    require_no_nan(node, result);
  return result;
}

}  // namespace detail

/// True while ops on tracked tensors leave nodes behind. On by default, for each thread.
inline bool recording() { return detail::recording_on; }

/// Switches recording on or off on this thread for as long as it lives.
class Recording {
 public:
  explicit Recording(bool on) : before_(detail::recording_on) { detail::recording_on = on; }
  ~Recording() { detail::recording_on = before_; }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  bool before_;
};

/// True when an op on these tensors must be recorded.
template <class... Us>
bool recorded(const Tensor<Us>&... inputs) {
  return detail::recording_on && (inputs.tracked() || ...);
}

/// Debug mode: while it lives, the first op on this thread whose value or gradient holds a NaN throws and is named.
class CheckNan {
 public:
  CheckNan() : before_(std::exchange(detail::check_nan, true)) {}
  ~CheckNan() { detail::check_nan = before_; }
  CheckNan(const CheckNan&) = delete;
  CheckNan& operator=(const CheckNan&) = delete;

 private:
  bool before_;
};

/// Puts `value` on the tape: the same numbers, and how to differentiate them. Returns `value` itself when nothing that
/// it was computed from is tracked.
///
///     Tensor<T> product = ...;
///     return record("mul", product, Edge(a, [b](const Tensor<T>& g) { return g * b; }),
///                                   Edge(b, [a](const Tensor<T>& g) { return g * a; }));
template <class T, class... Us, class... Rules>
Tensor<T> record(const char* op, Tensor<T> value, Edge<Us, Rules>... edges) {
  if (!recorded(edges.input...)) return value;
  using Rule = detail::RuleOfEach<T, Rules...>;
  detail::Node* node = detail::new_node<T, Rule>(op, value, sizeof...(Us), std::move(edges)...);
  (detail::connect(node, edges.input), ...);
  return detail::on_tape<T>(node);
}

/// Like `record`, with one rule for all inputs: `rule(gradient, needed, results)` sets `results[i]` for each i with
/// `needed[i]`; a result left empty counts as zero.
template <class T, class Rule, class... Us>
Tensor<T> record_jointly(const char* op, Tensor<T> value, Rule rule, const Tensor<Us>&... inputs) {
  if (!recorded(inputs...)) return value;
  detail::Node* node = detail::new_node<T, Rule>(op, value, sizeof...(Us), std::move(rule));
  (detail::connect(node, inputs), ...);
  return detail::on_tape<T>(node);
}

/// Like `record_jointly`, for inputs of one type whose number is known at run time only.
template <class T, class Rule>
Tensor<T> record_many(const char* op, Tensor<T> value, Rule rule, std::span<const Tensor<T>> inputs) {
  bool tracked = false;
  for (const Tensor<T>& input : inputs) tracked = tracked || input.tracked();
  if (!tracked || !detail::recording_on) return value;
  detail::Node* node = detail::new_node<T, Rule>(op, value, inputs.size(), std::move(rule));
  for (const Tensor<T>& input : inputs) detail::connect(node, input);
  return detail::on_tape<T>(node);
}

/// A tracked tensor with the numbers of `x` and no history: the start of a tape made by hand.
template <class T>
Tensor<T> variable(const Tensor<T>& x) {
  static_assert(Real<T>, "only float and double tensors are differentiable");
  detail::Node* node = detail::new_node<T, detail::RuleOfEach<T>>("variable", x, 0);
  node->frozen = x.frozen();
  return Tensor<T>(node);
}

/// A tracked tensor with the numbers of `x` that passes gradients on to `x`: an argument of its own for whoever
/// differentiates with respect to it, even when `x` is passed twice.
template <class T>
Tensor<T> identity(const Tensor<T>& x) {
  return record("identity", x, Edge(x, [](const Tensor<T>& g) { return g; }));
}

namespace detail {

template <class T>
Tensor<T> add_gradients(Tensor<T> a, const Tensor<T>& b) {
  using B = Simd<T>;
  const bool unseen = !recording() && sole_owner(a);  // then the sum takes its memory
  Tensor<T> total = unseen ? a : fresh<T>(a.shape());
  cpu::map_kernel<T, 2, 1>(a.shape(), {writable(total)}, {&a, &b},
                           [](const std::array<B, 2>& x) { return std::array{x[0] + x[1]}; });
  const auto as_it_is = [](const Tensor<T>& g) { return g; };
  return record("add", std::move(total), Edge(a, as_it_is), Edge(b, as_it_is));
}

}  // namespace detail

}  // namespace GRAFT_ABI
}  // namespace graft
