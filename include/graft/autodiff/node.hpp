#pragma once
// The tape. A node remembers how one tensor was computed: the nodes of its inputs and one rule an input, which maps the
// gradient of the output to the gradient of that input. Rules are written in tensor ops, so running them with recording
// on records a graph that can be differentiated again, to any order.
//
// A tracked tensor's header is the head of its node. The node outlives the header's handles as long as other nodes
// refer to it, but the numbers are let go with the last handle. No global tape, no counter: order comes from levels.

#include <array>
#include <optional>
#include <tuple>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

inline constinit thread_local bool recording_on = true;

/// a + b; defined with the operators (ops/arithmetic.hpp).
template <class T>
Tensor<T> add_gradients(Tensor<T> a, const Tensor<T>& b);

/// Drops the reference that the handles of a node's head share.
inline void release_node(Body* head);

/// Base of all nodes: the header that handles point to, and what backward needs.
struct Node : Body {
  std::atomic<std::int32_t> node_refs{1};  // edges from consumers, plus one while the header has handles
  std::int32_t level = 0;             // 1 + highest level of the inputs: backward goes from high to low
  std::int32_t input_count = 0;
  Node** inputs = nullptr;  // null where an input is not tracked
  const char* name = "";
  Node* next_dead = nullptr;

  Node() : Body(Kind::node) { release_head = release_node; }
  virtual ~Node() = default;
  /// Calls the rules of the inputs marked in `needed` with the output's gradient.
  virtual void pull(const AnyTensor& gradient, const bool* needed, AnyTensor* results) = 0;
  /// a + b for gradients of this node's output; may reuse the memory of `a`.
  virtual AnyTensor add(AnyTensor a, const AnyTensor& b) const = 0;
  /// True when a tensor of this node's output type holds a NaN.
  virtual bool has_nan(const AnyTensor& tensor) const = 0;
  /// Size of the allocation.
  virtual std::size_t bytes() const = 0;
};

inline Node* node_of(Body* body) {
  return body && body->kind == Body::Kind::node ? static_cast<Node*>(body) : nullptr;
}
inline Node* node_of(const AnyTensor& tensor) { return node_of(tensor.body()); }

inline constinit thread_local Node* dead_nodes = nullptr;
inline constinit thread_local bool releasing = false;

/// Drops one reference. The last one destroys the node; nodes that die on the way wait in a list instead of on the
/// stack, so a chain of a million ops is released in constant stack space.
inline void release_edge(Node* node) {
  if (!node || node->node_refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  node->next_dead = dead_nodes;
  dead_nodes = node;
  if (releasing) return;
  releasing = true;
  while (Node* dead = dead_nodes) {
    dead_nodes = dead->next_dead;
    const std::size_t bytes = dead->bytes();
    dead->~Node();
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
template <class T, int Inputs>
struct NodeWithInputs : Node {
  std::array<Node*, Inputs> input_nodes{};

  template <class... Us>
  NodeWithInputs(const char* op, const Tensor<T>& value, const Us&... tensors) {
    name = op;
    shape = value.shape();
    count = value.count();
    data = value.body()->data;
    owner = value.body()->owner ? value.body()->owner : value.body();
    retain(owner);
    inputs = input_nodes.data();
    input_count = Inputs;
    int i = 0;
    ((input_nodes[static_cast<std::size_t>(i++)] = node_of(tensors)), ...);
    for (Node* input : input_nodes)
      if (input) {
        input->node_refs.fetch_add(1, std::memory_order_relaxed);
        if (level <= input->level) level = input->level + 1;
      }
  }
  ~NodeWithInputs() override {
    for (Node* input : input_nodes) release_edge(input);
  }
  AnyTensor add(AnyTensor a, const AnyTensor& b) const override {
    return add_gradients(Tensor<T>(std::move(a)), Tensor<T>(b));
  }
  bool has_nan(const AnyTensor& tensor) const override {
    const Tensor<T> typed(tensor);
    for (T value : typed.span())
      if (value != value) return true;
    return false;
  }
};

/// A node with one rule an input.
template <class T, class Inputs, class... Rules>
struct RuleNode;
template <class T, class... Us, class... Rules>
struct RuleNode<T, std::tuple<Us...>, Rules...> final : NodeWithInputs<T, sizeof...(Us)> {
  std::tuple<std::optional<Rules>...> rules;

  template <class... Edges>
  RuleNode(const char* op, const Tensor<T>& value, Edges&&... edges)
      : NodeWithInputs<T, sizeof...(Us)>(op, value, edges.input...),
        rules(keep_if_tracked(edges.input, std::move(edges.rule))...) {}

  // The rule of an untracked input is dropped at once, with whatever it saved.
  template <class Rule>
  static std::optional<Rule> keep_if_tracked(const AnyTensor& input, Rule&& rule) {
    if (input.tracked()) return std::optional<Rule>(std::move(rule));
    return std::nullopt;
  }
  void pull(const AnyTensor& gradient, const bool* needed, AnyTensor* results) override {
    const Tensor<T> g(gradient);
    pull_each(g, needed, results, std::index_sequence_for<Rules...>());
  }
  template <std::size_t... I>
  void pull_each(const Tensor<T>& g, const bool* needed, AnyTensor* results, std::index_sequence<I...>) {
    ((needed[I] ? void(results[I] = (*std::get<I>(rules))(g)) : void()), ...);
  }
  std::size_t bytes() const override { return sizeof(*this); }
};

/// A node with one rule for all inputs: rule(gradient, needed, results).
template <class T, int Inputs, class Rule>
struct JointNode final : NodeWithInputs<T, Inputs> {
  Rule rule;

  template <class... Us>
  JointNode(const char* op, const Tensor<T>& value, Rule&& r, const Us&... tensors)
      : NodeWithInputs<T, Inputs>(op, value, tensors...), rule(std::move(r)) {}
  void pull(const AnyTensor& gradient, const bool* needed, AnyTensor* results) override {
    rule(Tensor<T>(gradient), needed, results);
  }
  std::size_t bytes() const override { return sizeof(*this); }
};

/// A node with one rule for all inputs, whose number is known at run time only.
template <class T, class Rule>
struct ManyNode final : NodeWithInputs<T, 0> {
  std::vector<Node*, CacheAllocator<Node*>> nodes;
  Rule rule;

  ManyNode(const char* op, const Tensor<T>& value, Rule&& r, std::span<const Tensor<T>> tensors)
      : NodeWithInputs<T, 0>(op, value), rule(std::move(r)) {
    nodes.reserve(tensors.size());
    for (const Tensor<T>& tensor : tensors) {
      Node* input = node_of(tensor);
      nodes.push_back(input);
      if (!input) continue;
      input->node_refs.fetch_add(1, std::memory_order_relaxed);
      if (this->level <= input->level) this->level = input->level + 1;
    }
    this->inputs = nodes.data();
    this->input_count = static_cast<std::int32_t>(nodes.size());
  }
  ~ManyNode() override {
    for (Node* input : nodes) release_edge(input);
  }
  void pull(const AnyTensor& gradient, const bool* needed, AnyTensor* results) override {
    rule(Tensor<T>(gradient), needed, results);
  }
  std::size_t bytes() const override { return sizeof(*this); }
};

template <class N, class... Args>
N* new_node(Args&&... args) {
  static_assert(alignof(N) <= 64);
  void* memory = allocate_block(sizeof(N));
  N* node = new (memory) N(std::forward<Args>(args)...);
  return node;
}

/// Debug mode of this thread: see `CheckNan`.
inline constinit thread_local bool check_nan = false;

/// The tensor whose history `node` is.
template <class T>
Tensor<T> on_tape(Node* node) {
  Tensor<T> result(node);
  if (check_nan && node->has_nan(result)) [[unlikely]]
    fail(node->name, "the value holds a NaN", {{"value", node->shape}});
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

/// One input of an op and the rule that maps the output's gradient to its gradient. A rule is written in tensor ops.
template <class U, class Rule>
struct Edge {
  const Tensor<U>& input;
  Rule rule;
  Edge(const Tensor<U>& x, Rule r) : input(x), rule(std::move(r)) {}
};

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
  using N = detail::RuleNode<T, std::tuple<Us...>, Rules...>;
  return detail::on_tape<T>(detail::new_node<N>(op, value, std::move(edges)...));
}

/// Like `record`, with one rule for all inputs: `rule(gradient, needed, results)` sets `results[i]` for each i with
/// `needed[i]`; a result left empty counts as zero.
template <class T, class Rule, class... Us>
Tensor<T> record_jointly(const char* op, Tensor<T> value, Rule rule, const Tensor<Us>&... inputs) {
  if (!recorded(inputs...)) return value;
  using N = detail::JointNode<T, static_cast<int>(sizeof...(Us)), Rule>;
  return detail::on_tape<T>(detail::new_node<N>(op, value, std::move(rule), inputs...));
}

/// Like `record_jointly`, for inputs of one type whose number is known at run time only.
template <class T, class Rule>
Tensor<T> record_many(const char* op, Tensor<T> value, Rule rule, std::span<const Tensor<T>> inputs) {
  bool tracked = false;
  for (const Tensor<T>& input : inputs) tracked = tracked || input.tracked();
  if (!tracked || !detail::recording_on) return value;
  using N = detail::ManyNode<T, Rule>;
  return detail::on_tape<T>(detail::new_node<N>(op, value, std::move(rule), inputs));
}

/// A tracked tensor with the numbers of `x` and no history: the start of a tape made by hand.
template <class T>
Tensor<T> variable(const Tensor<T>& x) {
  static_assert(Real<T>, "only float and double tensors are differentiable");
  const auto rule = [](const Tensor<T>&, const bool*, AnyTensor*) {};
  using N = detail::JointNode<T, 0, std::remove_const_t<decltype(rule)>>;
  N* node = detail::new_node<N>("variable", x, std::remove_const_t<decltype(rule)>(rule));
  node->frozen = x.frozen();
  return Tensor<T>(node);
}

/// A tracked tensor with the numbers of `x` that passes gradients on to `x`: an argument of its own for whoever
/// differentiates with respect to it, even when `x` is passed twice.
template <class T>
Tensor<T> identity(const Tensor<T>& x) {
  return record("identity", x, Edge(x, [](const Tensor<T>& g) { return g; }));
}

}  // namespace GRAFT_ABI
}  // namespace graft
