#pragma once
// Placeholder slots: learned vectors P that every token may attend to, H -> layer([H ; P]) without the slots' rows. As
// a placeholder of multi-task learning the construction has no paper of its own; its near relatives are the prompts of
// Jia, Tang, Chen, Cardie, Belongie, Hariharan, Lim, "Visual prompt tuning", ECCV 2022 (deep: fresh prompts for each
// layer, dropped behind it; shallow: carried through all layers) and the registers of Darcet, Oquab, Mairal,
// Bojanowski, "Vision Transformers need registers", ICLR 2024 (carried on). The gated form takes its tanh gate from
// Alayrac et al., "Flamingo: a visual language model for few-shot learning", NeurIPS 2022. Formulas as the catalogue of
// methods has them.

#include <algorithm>
#include <utility>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/slots.hpp"
#include "graft/nn/attention.hpp"
#include "graft/ops/csr.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What becomes of slots behind the layer that they were given to.
enum class SlotPassing {
  deep,       ///< they are dropped; the next layer may have slots of its own
  persistent  ///< they are tokens of all layers after it too, and dropped behind the last
};

/// Options of a `SlotStack`. Visual prompts and registers have other initial values (uniform by the patch's size,
/// normal with deviation 1e-6); here they are those of a class token.
struct SlotOptions {
  Index slots = 4;  ///< of each bank; as many as the registers' authors take
  SlotPassing passing = SlotPassing::deep;
  std::vector<Index> layers = {};  ///< which layers get a bank; empty: each if `deep`, the first if `persistent`
  double deviation = 0.02;         ///< of the initial numbers
  bool masked = false;             ///< true: the slots stay in the model, and no layer sees them
};

/// Layers one after another, H [n, width] or [batch, n, width] -> the same shape, with banks of slots behind the tokens
/// of some. A layer is called with (x, context) or (x): a `TransformerEncoderLayer`, a `MultiHeadAttention`, any
/// callable [n, width] -> [n, width]. Slots have no order: permuting the rows of a bank changes nothing but rounding,
/// if the layer knows no places. Without slots, or with `masked`, it is the layers alone, bit for bit.
template <class Layer, class T = float>
struct SlotStack {
  static constexpr DataNeeds needs{};
  std::vector<Layer> layers;
  std::vector<Tensor<T>> banks;  ///< [layers]: [slots, width], with no slots for a layer that gets none
  SlotOptions options;
  GRAFT_FIELDS(layers, banks)
  GRAFT_CONFIG(options)

  SlotStack() = default;
  /// `width`: numbers of a token. Throws ValueError for sizes out of range, IndexError for a layer that does not exist.
  SlotStack(std::vector<Layer> parts, Index width, const Random& random, const SlotOptions& o = {},
            Site site = Site::current())
      : layers(std::move(parts)), options(o) {
    const auto count = static_cast<Index>(layers.size());
    if (count == 0) fail("SlotStack", "there are no layers", {}, site);
    for (const Index layer : o.layers)
      if (layer < 0 || layer >= count)
        fail<IndexError>("SlotStack", {"slots for layer ", layer, ", there are layers 0 to ", count - 1}, {}, site);
    for (Index l = 0; l < count; ++l) {
      const bool usual = o.passing == SlotPassing::deep || l == 0;
      const bool has = o.layers.empty() ? usual : std::find(o.layers.begin(), o.layers.end(), l) != o.layers.end();
      banks.push_back(detail::slot_bank<T>("SlotStack", has ? o.slots : std::min<Index>(o.slots, 0), width, o.deviation,
                                           random.stream("banks", l), site));
    }
  }

  /// Throws ShapeError for tokens of another width, or a layer that does not answer with a row for each.
  Tensor<T> operator()(const Tensor<T>& h, ContextRef context, Site site = Site::current()) const {
    return run(
        h, [&](const Layer& layer, const Tensor<T>& x) { return answer_of(layer, x, context); }, site);
  }
  /// Of layers that are called with (x, mask, context): `mask` is that of the tokens alone, [batch, n] where it has a
  /// key mask; slots are seen by all. Throws as above, and ValueError for a mask that says more than which keys are
  /// seen: slots have no place in it.
  Tensor<T> operator()(const Tensor<T>& h, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const auto masked_layer = [&](const Layer& layer, const Tensor<T>& x) {
      return layer(x, widened(mask, x.shape()[-2] - h.shape()[-2], site), context);
    };
    return run(h, masked_layer, site);
  }

 private:
  template <class Call>
  Tensor<T> run(const Tensor<T>& h, const Call& call, Site site) const {
    const Named here("SlotStack", site);
    if (banks.size() != layers.size() || (h.rank() != 2 && h.rank() != 3))
      fail<ShapeError>(
          "SlotStack",
          {"expected tokens [n, width] or [batch, n, width], and a bank for each of ", layers.size(), " layers"},
          {{"tokens", h.shape()}}, site);
    const Index tokens = h.shape()[-2];
    Tensor<T> x = h;
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const Tensor<T> slots = options.masked ? Tensor<T>() : banks[l];
      if (slots.defined() && slots.shape()[-1] != h.shape()[-1])
        fail<ShapeError>("SlotStack", {"the slots of layer ", l, " are made for tokens of another width"},
                         {{"tokens", h.shape()}, {"slots", slots.shape()}}, site);
      const Tensor<T> all = append_slots(x, slots, site), y = call(layers[l], all);
      const bool drop = options.passing == SlotPassing::deep || l + 1 == layers.size();
      x = drop ? detail::first_tokens("SlotStack", y, all, tokens, site) : y;
    }
    return x;
  }
  static AttentionMask<T> widened(AttentionMask<T> mask, Index slots, Site site) {
    if (slots == 0) return mask;
    if (mask.causal || mask.mask.defined() || mask.bias.defined() || mask.keys)
      fail("SlotStack", "slots go with a key mask only: they have no place among the tokens", {}, site);
    if (mask.key_mask.defined() && mask.key_mask.rank() == 2)
      mask.key_mask = concat(std::vector{mask.key_mask, ones<bool>({mask.key_mask.size(0), slots})}, 1, site);
    return mask;
  }
};
template <class Layer>
SlotStack(std::vector<Layer>, Index, const Random&) -> SlotStack<Layer>;
template <class Layer>
SlotStack(std::vector<Layer>, Index, const Random&, const SlotOptions&) -> SlotStack<Layer>;

/// Options of `GatedSlots`.
struct GatedSlotOptions {
  Index slots = 4;
  Index heads = 1;          ///< of the attention
  double deviation = 0.02;  ///< of the slots' initial numbers
};

/// H + tanh(gate) Attn(H, P): tokens [n, width] or [batch, n, width] attend to the slots alone, not to one another. The
/// gate is 0 at first, where the model is what it was without slots; the first step of training moves the gate alone,
/// since its slope is the only one that is not 0 there. Without slots it is H, bit for bit.
template <class T = float>
struct GatedSlots {
  static constexpr DataNeeds needs{};
  Tensor<T> slots;  ///< [slots, width]
  Tensor<T> gate;   ///< []
  MultiHeadAttention<T> attention;
  GRAFT_FIELDS(slots, gate, attention)

  GatedSlots() = default;
  /// Throws ValueError for sizes out of range.
  GatedSlots(Index width, const Random& random, const GatedSlotOptions& o = {}, Site site = Site::current())
      : slots(detail::slot_bank<T>("GatedSlots", o.slots, width, o.deviation, random.stream("slots"), site)),
        gate(zeros<T>({}, site)),
        attention(width, o.heads, random.stream("attention"), {}, site) {}

  /// Draws no random numbers. Throws ShapeError for tokens of another width.
  Tensor<T> operator()(const Tensor<T>& h, Site site = Site::current()) const {
    const Named here("GatedSlots", site);
    if ((h.rank() != 2 && h.rank() != 3) || h.shape()[-1] != slots.size(1))
      fail<ShapeError>("GatedSlots", {"expected tokens [..., n, ", slots.size(1), "]"}, {{"tokens", h.shape()}}, site);
    if (slots.size(0) == 0) return h;
    const Tensor<T> own = h.rank() == 3 ? broadcast_to(slots, {h.size(0), slots.size(0), slots.size(1)}, site) : slots;
    return h + tanh(gate) * attention(h, own, own, Context(), site);
  }
};

/// The graph with `slots` further nodes behind its own, for a graph layer on `append_slots(x, bank)`: edges between
/// each slot and each node of the graph both ways, and from each slot to itself, behind the graph's own in its list.
/// With no slots, the graph. Throws ShapeError unless it is on one set of nodes, ValueError for fewer than 0 slots.
///
///     const Graph wide = slot_graph(graph, 4);
///     with_slots([&](const Tensor<>& x) { return gat(wide, x, context); }, h, bank, context);
inline Graph slot_graph(const Graph& graph, Index slots, Site site = Site::current()) {
  const Index nodes = graph.destinations();
  if (graph.sources() != nodes)
    fail<ShapeError>("slot_graph",
                     {"the graph must be on one set of nodes, it leads from ", graph.sources(), " to ", nodes}, {},
                     site);
  if (slots < 0) fail("slot_graph", {slots, " slots"}, {}, site);
  if (slots == 0) return graph;
  std::vector<GraphEdge> edges = edge_list(graph);
  for (Index s = nodes; s < nodes + slots; ++s) {
    for (Index i = 0; i < nodes; ++i) {
      edges.push_back({s, i});
      edges.push_back({i, s});
    }
    edges.push_back({s, s});
  }
  return Graph(nodes + slots, edges, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
