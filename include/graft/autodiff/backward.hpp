#pragma once
// One walk back through a tape. On x86 and AArch64 what is below the smallest normal number on the way back counts as
// zero.
//
// Backward runs level by level from the highest. Within a level nodes are taken in the order in which the graph was
// walked, and contributions to one node are added by consumer and argument, so the sum depends on the graph alone.

#include "graft/autodiff/node.hpp"
#include "graft/core/float_mode.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// True while a function that is to be differentiated runs on this thread.
inline constinit thread_local bool differentiating = false;

/// Says so for as long as it lives.
class Differentiating {
 public:
  Differentiating() : before_(std::exchange(differentiating, true)) {}
  ~Differentiating() { differentiating = before_; }
  Differentiating(const Differentiating&) = delete;
  Differentiating& operator=(const Differentiating&) = delete;

 private:
  bool before_;
};

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
GRAFT_ONCE
std::vector<AnyTensor> backward(AnyTensor y, AnyTensor seed, std::span<Node* const> targets, bool create_graph,
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

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
