// Rows of the method table for the slots of placeholder/. None has a paper with numbers: they are held to the
// catalogue's closed forms and limits, and to slow double versions.

#include <cmath>

#include "catch.hpp"
#include "graft/graph/gat.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/transformer.hpp"
#include "graft/placeholder/dynamic_slots.hpp"
#include "graft/placeholder/moment_slots.hpp"
#include "graft/placeholder/slots.hpp"
#include "graft/placeholder/staged_slots.hpp"
#include "layers.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

double gap(const Numbers& a, const Numbers& b) { return max(abs(a - b)).item(); }
Numbers rows_reversed(const Numbers& x) { return flip(x, 0); }
/// Every parameter of `model` as a number of its own, away from symmetric points.
template <class M>
M scattered(const M& model, std::uint64_t seed = 7) {
  return from_vector(0.5 * randn<double>({count(model)}, Random(seed)), model);
}

/// tanh of each token and the mean of all: the plainest layer [n, d] -> [n, d] of any number of tokens.
struct MeanLayer {
  GRAFT_FIELDS()
  template <class T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return tanh(x + mean(x, {-2}, true));
  }
};

template <class T>
std::vector<TransformerEncoderLayer<T>> encoder_layers(Index count, Index width, double dropout) {
  std::vector<TransformerEncoderLayer<T>> layers;
  for (Index l = 0; l < count; ++l)
    layers.emplace_back(width, 2, 2 * width, Random(20).stream("layer", l), TransformerOptions{.dropout = dropout});
  return layers;
}
std::vector<MultiHeadAttention<double>> attention_layers(Index count, Index width) {
  std::vector<MultiHeadAttention<double>> layers;
  for (Index l = 0; l < count; ++l) layers.emplace_back(width, 2, Random(21).stream("layer", l));
  return layers;
}
/// The layers alone.
template <class Layer, class T>
Tensor<T> through(const std::vector<Layer>& layers, Tensor<T> x, ContextRef context) {
  for (const Layer& layer : layers) x = answer_of(layer, x, context);
  return x;
}

/// Attention of one head of `query` [n, d] to `tokens` [m, d] by its definition.
std::vector<double> plain_attention(const MultiHeadAttention<double>& layer, const Numbers& query,
                                    const Numbers& tokens) {
  const Index d = query.size(1), n = query.size(0), m = tokens.size(0);
  const auto project = [&](const Numbers& x, Index row, Index part, Index j) {
    double y = layer.in_proj_bias->at({part * d + j});
    for (Index k = 0; k < d; ++k) y += layer.in_proj_weight.at({part * d + j, k}) * x.at({row, k});
    return y;
  };
  std::vector<double> out;
  for (Index i = 0; i < n; ++i) {
    std::vector<double> weights;
    double total = 0;
    for (Index s = 0; s < m; ++s) {
      double score = 0;
      for (Index j = 0; j < d; ++j) score += project(query, i, 0, j) * project(tokens, s, 1, j);
      weights.push_back(std::exp(score / std::sqrt(static_cast<double>(d))));
      total += weights.back();
    }
    std::vector<double> head(d);
    for (Index j = 0; j < d; ++j)
      for (Index s = 0; s < m; ++s) head[j] += weights[s] / total * project(tokens, s, 2, j);
    for (Index j = 0; j < d; ++j) {
      double y = layer.out_proj.bias->at({j});
      for (Index k = 0; k < d; ++k) y += layer.out_proj.weight.at({j, k}) * head[k];
      out.push_back(y);
    }
  }
  return out;
}

// ---------------------------------------------------------------------------------------------------- slots (P1.1)

const Index kWidth = 4;

auto smooth_stack(SlotPassing passing) {
  return SlotStack<MultiHeadAttention<double>, double>(attention_layers(2, kWidth), kWidth, Random(3),
                                                       {.slots = 3, .passing = passing, .deviation = 1});
}
struct StackAndGate {
  SlotStack<MultiHeadAttention<double>, double> stack;
  GatedSlots<double> gated;
  GRAFT_FIELDS(stack, gated)
};
StackAndGate stack_and_gate() {
  return {smooth_stack(SlotPassing::deep), GatedSlots<double>(kWidth, Random(4), {.slots = 2, .heads = 2})};
}

const bool slots_row = add_method_rows({{
    .name = "slots",
    .header = "graft/placeholder/slots.hpp",
    .paper = "near relatives: Jia et al., Visual prompt tuning, ECCV 2022; Darcet et al., Vision Transformers need "
             "registers, ICLR 2024",
    .functions = {"SlotStack", "GatedSlots", "slot_graph", "SlotOptions", "GatedSlotOptions", "SlotPassing",
                  "append_slots", "with_slots"},
    .use = "SlotStack(encoder.layers, 64, random, {.slots = 4})(tokens, context)",
    .run =
        [](const Random& random) {
          const SlotStack<TransformerEncoderLayer<float>> stack(encoder_layers<float>(2, 16, 0.1), 16,
                                                                random.stream("slots"), {.slots = 3});
          const Tensor<float> h = randn<float>({8, 20, 16}, random.stream("tokens"));
          return to_vector(
              grad([&](const auto& net) { return sum(square(net(h, Context(Phase::training, random)) - h)); }, stack));
        },
    .loss =
        [](const Numbers& x) {
          const StackAndGate net = from_vector(x, stack_and_gate());
          const Numbers h = randn<double>({2, 3, kWidth}, Random(5));
          return sum(square(net.gated(net.stack(h, Context()))));
        },
    .loss_at = 0.5 * randn<double>({count(stack_and_gate())}, Random(8)),
    .errors =
        {bad_use<ValueError>([] { SlotStack<MeanLayer>(std::vector<MeanLayer>{}, 4, Random(1)); }, "no layers"),
         bad_use<ValueError>([] { SlotStack<MeanLayer>(std::vector<MeanLayer>(1), 4, Random(1), {.slots = -1}); },
                             "-1 slots"),
         bad_use<ValueError>([] { SlotStack<MeanLayer>(std::vector<MeanLayer>(1), 4, Random(1), {.deviation = NAN}); },
                             "deviation is nan"),
         bad_use<IndexError>([] { SlotStack<MeanLayer>(std::vector<MeanLayer>(2), 4, Random(1), {.layers = {2}}); },
                             "slots for layer 2, there are layers 0 to 1"),
         bad_use<ShapeError>(
             [] {
               SlotStack<MeanLayer>(std::vector<MeanLayer>(2), 4, Random(1))(zeros({3, 5}), Context());
             },
             "layer 0"),
         bad_use<ShapeError>(
             [] { SlotStack<MeanLayer>(std::vector<MeanLayer>(2), 4, Random(1))(zeros({4}), Context()); },
             "tokens [4]"),
         bad_use<ShapeError>(
             [] {
               append_slots(zeros({2, 3, 4}), zeros({3, 1, 4}));
             },
             "slots [3, 1, 4]"),
         bad_use<ShapeError>(
             [] {
               append_slots(zeros({3, 4}), zeros({1, 2, 4}));
             },
             "slots [1, 2, 4]"),
         bad_use<ShapeError>(
             [] {
               with_slots([](const Tensor<>& x) { return slice(x, 0, 0, 3); }, zeros({3, 4}), zeros({1, 4}), Context());
             },
             "a row for each of 3 tokens and 1 slots"),
         bad_use<ValueError>(
             [] {
               smooth_stack(SlotPassing::deep)(zeros<double>({3, kWidth}), {.causal = true}, Context());
             },
             "a key mask only"),
         bad_use<ValueError>([] { GatedSlots<>(4, Random(1), {.slots = -2}); }, "-2 slots"),
         bad_use<ShapeError>(
             [] {
               GatedSlots<>(4, Random(1))(zeros({3, 5}));
             },
             "[3, 5]"),
         bad_use<ShapeError>([] { slot_graph(Graph(2, 3, std::vector<GraphEdge>{}), 1); }, "from 2 to 3"),
         bad_use<ValueError>([] { slot_graph(Graph(2, std::vector<GraphEdge>{}), -1); }, "-1 slots")},
    .properties =
        {{"no slots, or masked ones: the layers alone, bit for bit, in training with dropout too",
          [] {
            const auto layers = encoder_layers<float>(3, 8, 0.2);
            const Tensor<float> h = randn<float>({4, 6, 8}, Random(1));
            for (const SlotPassing passing : {SlotPassing::deep, SlotPassing::persistent})
              for (const bool masked : {false, true}) {
                const SlotStack stack(layers, 8, Random(2),
                                      SlotOptions{.slots = masked ? 5 : 0, .passing = passing, .masked = masked});
                CHECK(same_bits(stack(h, Context()), through(layers, h, Context())));
                CHECK(same_bits(stack(h, training()), through(layers, h, training())));
                CHECK(same_bits(stack(slice(h, 0, 0, 1), Context()), through(layers, slice(h, 0, 0, 1), Context())));
                const auto slope = [&](const auto& net) {
                  return grad([&](const auto& n) { return sum(square(n(h, training()) - h)); }, net);
                };
                const auto base = [&](const auto& net) {
                  return grad([&](const auto& n) { return sum(square(through(n, h, training()) - h)); }, net);
                };
                CHECK(same_bits(to_vector(slope(stack).layers), to_vector(base(layers))));
              }
            const SlotStack open(layers, 8, Random(2), SlotOptions{.slots = 5});
            CHECK_FALSE(same_bits(open(h, Context()), through(layers, h, Context())));
          }},
         {"the mean of tokens and slots, by hand: deep, and carried on",
          [] {
            const Numbers h = tensor<double>({{0.2, -0.1}, {0.4, 0.3}, {-0.5, 0.7}});
            for (const SlotPassing passing : {SlotPassing::deep, SlotPassing::persistent}) {
              SlotStack<MeanLayer, double> stack(std::vector<MeanLayer>(2), 2, Random(1),
                                                 {.slots = 1, .passing = passing, .layers = {0, 1}});
              stack.banks = {tensor<double>({{0.9, -0.4}}), tensor<double>({{-0.3, 0.6}})};
              const Numbers found = stack(h, Context());
              REQUIRE(found.shape() == Shape{3, 2});
              for (Index j = 0; j < 2; ++j) {
                std::vector<double> x{h.at({0, j}), h.at({1, j}), h.at({2, j})};
                for (std::size_t l = 0; l < 2; ++l) {
                  x.push_back(stack.banks[l].at({0, j}));
                  double total = 0;
                  for (const double v : x) total += v;
                  for (double& v : x) v = std::tanh(v + total / static_cast<double>(x.size()));
                  if (passing == SlotPassing::deep) x.resize(3);
                }
                for (Index i = 0; i < 3; ++i) CHECK(found.at({i, j}) == Approx(x[i]).epsilon(1e-14));
              }
            }
          }},
         {"banks for the layers that were asked for; each, or the first of those that carry on",
          [] {
            const auto sizes = [](const SlotOptions& o) {
              std::vector<Index> all;
              for (const auto& bank : SlotStack<MeanLayer>(std::vector<MeanLayer>(3), 4, Random(1), o).banks)
                all.push_back(bank.size(0));
              return all;
            };
            CHECK(sizes({.slots = 2}) == std::vector<Index>{2, 2, 2});
            CHECK(sizes({.slots = 2, .passing = SlotPassing::persistent}) == std::vector<Index>{2, 0, 0});
            CHECK(sizes({.slots = 2, .layers = {1}}) == std::vector<Index>{0, 2, 0});
          }},
         {"slots have no order",
          [] {
            const Numbers h = randn<double>({2, 5, kWidth}, Random(1));
            for (const SlotPassing passing : {SlotPassing::deep, SlotPassing::persistent}) {
              auto stack = smooth_stack(passing);
              const Numbers before = stack(h, Context());
              for (auto& bank : stack.banks) bank = rows_reversed(bank);
              CHECK(gap(stack(h, Context()), before) < 1e-14);
            }
            GatedSlots<double> gated = scattered(stack_and_gate()).gated;
            const Numbers before = gated(h);
            gated.slots = rows_reversed(gated.slots);
            CHECK(gap(gated(h), before) < 1e-14);
          }},
         {"slots that an attention mask hides: the layer alone",
          [] {
            const MultiHeadAttention<double> layer(kWidth, 2, Random(1));
            const Numbers h = randn<double>({2, 5, kWidth}, Random(2)), slots = randn<double>({3, kWidth}, Random(3));
            const Tensor<bool> seen = concat(std::vector{ones<bool>({2, 5}), zeros<bool>({2, 3})}, 1);
            const auto hidden = [&](const Numbers& x) { return layer(x, {.key_mask = seen}, Context()); };
            CHECK(gap(with_slots(hidden, h, slots, Context()), layer(h, Context())) < 1e-14);
            CHECK(gap(with_slots(layer, h, slots, Context()), layer(h, Context())) > 1e-3);
          }},
         {"with a key mask of the tokens, padding changes nothing; slots off: the layers under that mask, bit for bit",
          [] {
            const Numbers h = randn<double>({2, 5, kWidth}, Random(2));
            const auto seen = tensor<bool>({{true, true, true, false, false}, {true, true, true, true, true}});
            for (const SlotPassing passing : {SlotPassing::deep, SlotPassing::persistent}) {
              auto stack = smooth_stack(passing);
              const Numbers all = stack(h, {.key_mask = seen}, Context());
              const auto sample = [&](const Numbers& x, Index i, Index n) {
                return reshape(slice(slice(x, 0, i, i + 1), 1, 0, n), {n, kWidth});
              };
              CHECK(gap(sample(all, 0, 3), stack(sample(h, 0, 3), Context())) < 1e-14);
              CHECK(gap(sample(all, 1, 5), stack(sample(h, 1, 5), Context())) < 1e-14);
              stack.options.masked = true;
              Numbers alone = h;
              for (const auto& layer : stack.layers) alone = layer(alone, {.key_mask = seen}, Context());
              CHECK(same_bits(stack(h, {.key_mask = seen}, Context()), alone));
            }
          }},
         {"a sample's own slots: as if it were alone",
          [] {
            const Numbers h = randn<double>({2, 5, kWidth}, Random(2)),
                          slots = randn<double>({2, 3, kWidth}, Random(3));
            const MultiHeadAttention<double> layer(kWidth, 2, Random(1));
            const Numbers all = with_slots(layer, h, slots, Context());
            for (Index i = 0; i < 2; ++i) {
              const auto one = [&](const Numbers& x) { return reshape(slice(x, 0, i, i + 1), x.shape().without(0)); };
              CHECK(gap(with_slots(layer, one(h), one(slots), Context()), one(all)) < 1e-14);
            }
          }},
         {"gated: H bit for bit at first, where the gate alone has a slope; H + tanh(gate) attention after",
          [] {
            const Numbers h = randn<double>({3, 4}, Random(1));
            const GatedSlots<double> gated(4, Random(2), {.slots = 3, .deviation = 1});
            CHECK(same_bits(gated(h), h));
            CHECK(same_bits(GatedSlots<double>(4, Random(2), {.slots = 0})(h), h));
            const auto slope = grad([&](const auto& g) { return sum(g(h) * h); }, gated);
            CHECK(std::abs(slope.gate.item()) > 1e-3);
            CHECK(largest(slope.slots) == 0);
            CHECK(largest(to_vector(slope.attention)) == 0);
            GatedSlots<double> moved = scattered(gated);
            const std::vector<double> attended = plain_attention(moved.attention, h, moved.slots);
            const Numbers found = moved(h);
            for (Index i = 0; i < 3; ++i)
              for (Index j = 0; j < 4; ++j)
                CHECK(found.at({i, j}) ==
                      Approx(h.at({i, j}) + std::tanh(moved.gate.item()) * attended[4 * i + j]).epsilon(1e-12));
          }},
         {"on a graph: each node hears each slot, and none without slots",
          [] {
            const Graph ring = with_self_loops(Graph(4, std::vector<GraphEdge>{{0, 1}, {1, 2}, {2, 3}, {3, 0}}));
            CHECK(slot_graph(ring, 0).edges() == 8);
            const Graph wide = slot_graph(ring, 2);
            CHECK(wide.destinations() == 6);
            const auto edges = edge_list(wide);
            REQUIRE(edges.size() == 8 + 2 * (2 * 4 + 1));
            CHECK(std::equal(edges.begin(), edges.begin() + 8, edge_list(ring).begin()));
            for (Index node = 0; node < 6; ++node)
              for (Index slot = 4; slot < 6; ++slot) {
                const bool both = node < 4 || node == slot;
                CHECK(std::count(edges.begin(), edges.end(), GraphEdge{slot, node}) == (both ? 1 : 0));
                CHECK(std::count(edges.begin(), edges.end(), GraphEdge{node, slot}) == (both ? 1 : 0));
              }
            const Gat<double> gat(3, 3, Random(1));
            const Numbers h = randn<double>({4, 3}, Random(2)), slots = randn<double>({2, 3}, Random(3));
            const auto layer = [&](const Graph& graph) {
              return [&gat, graph](const Numbers& x) { return gat(graph, x, Context()); };
            };
            CHECK(same_bits(with_slots(layer(ring), h, zeros<double>({0, 3}), Context()), gat(ring, h, Context())));
            const Numbers with = with_slots(layer(wide), h, slots, Context());
            CHECK(gap(with_slots(layer(wide), h, rows_reversed(slots), Context()), with) < 1e-14);
            CHECK(gap(with, gat(ring, h, Context())) > 1e-3);
          }}},
}});

// ------------------------------------------------------------------------------------------------ moments (P1.2)

const bool moment_slots_row = add_method_rows({{
    .name = "moment_slots",
    .header = "graft/placeholder/moment_slots.hpp",
    .paper = "near relative: Kim et al., Hadamard product for low-rank bilinear pooling, ICLR 2017",
    .functions = {"MomentSlots", "slot_moments", "SlotMoments", "MomentSlotOptions"},
    .use = "with_slots(layer, tokens, slots(task), context)",
    .run =
        [](const Random& random) {
          const MomentSlots<float> slots(2, 32, random.stream("slots"));
          const Tensor<float> h = randn<float>({40, 6, 32}, random.stream("tokens"));
          return to_vector(grad([&](const auto& net) { return sum(square(net.of(slot_moments(h)))); }, slots));
        },
    .loss =
        [](const Numbers& x) {
          const MomentSlots<double> net =
              from_vector(slice(x, 0, 12, x.count()), MomentSlots<double>(1, 3, Random(1), {.rank = 2}));
          return sum(square(net.of(slot_moments(reshape(slice(x, 0, 0, 12), {4, 3})))));
        },
    .loss_at = randn<double>({12 + 9 + 6 + 6 + 6}, Random(3)),
    .errors = {bad_use<ValueError>([] { MomentSlots<>(0, 4, Random(1)); }, "0 tasks"),
               bad_use<ValueError>([] { MomentSlots<>(1, 4, Random(1), {.rank = 0}); }, "rank 0"),
               bad_use<ValueError>([] { MomentSlots<>(1, 4, Random(1), {.momentum = 0}); }, "momentum is 0"),
               bad_use<ValueError>([] { MomentSlots<>(1, 4, Random(1), {.momentum = NAN}); }, "momentum is nan"),
               bad_use<ShapeError>(
                   [] {
                     slot_moments(zeros({0, 4}));
                   },
                   "[0, 4]"),
               bad_use<ShapeError>([] { slot_moments(zeros({4})); }, "[4]"),
               bad_use<IndexError>([] { MomentSlots<>(2, 4, Random(1))(2); }, "task 2 of 2"),
               bad_use<ValueError>(
                   [] {
                     MomentSlots<> slots(2, 4, Random(1));
                     slots.covariances.pop_back();
                     slots(1);
                   },
                   "1 covariances for 2 means"),
               bad_use<ValueError>(
                   [] {
                     MomentSlots<> slots(2, 4, Random(1));
                     slots.counts.clear();
                     slots.observe(zeros({3, 4}), 1, training());
                   },
                   "0 counts for 2 means"),
               bad_use<IndexError>(
                   [] {
                     MomentSlots<>(2, 4, Random(1)).observe(zeros({3, 4}), -1, training());
                   },
                   "task -1"),
               bad_use<ShapeError>(
                   [] {
                     MomentSlots<>(2, 4, Random(1)).observe(zeros({3, 5}), 0, training());
                   },
                   "mean [5]"),
               bad_use<ValueError>(
                   [] {
                     MomentSlots<>(2, 4, Random(1)).observe(full<float>({3, 4}, INFINITY), 1, training());
                   },
                   "task 1 are not finite"),
               bad_use<ShapeError>(
                   [] {
                     MomentSlots<>(2, 4, Random(1)).of({zeros({4}), zeros({4, 3})});
                   },
                   "[4, 3]")},
    .properties = {{"moments by their definition; the tokens' mean of a sample is its feature",
                    [] {
                      const Numbers h = randn<double>({5, 3}, Random(1));
                      const SlotMoments<double> found = slot_moments(h);
                      for (Index j = 0; j < 3; ++j) {
                        double mu = 0;
                        for (Index i = 0; i < 5; ++i) mu += h.at({i, j}) / 5;
                        CHECK(found.mean.at({j}) == Approx(mu).epsilon(1e-13));
                      }
                      for (Index j = 0; j < 3; ++j)
                        for (Index k = 0; k < 3; ++k) {
                          double c = 0;
                          for (Index i = 0; i < 5; ++i)
                            c += (h.at({i, j}) - found.mean.at({j})) * (h.at({i, k}) - found.mean.at({k})) / 5;
                          CHECK(found.covariance.at({j, k}) == Approx(c).margin(1e-14));
                        }
                      const Numbers tokens = stack(std::vector{h - 0.5, h + 0.5, h}, 1);
                      CHECK(gap(slot_moments(tokens).covariance, found.covariance) < 1e-14);
                    }},
                   {"c as large features: c times the first order, c^2 times the second",
                    [] {
                      const MomentSlots<double> slots(1, 4, Random(1));
                      const Numbers h = randn<double>({9, 4}, Random(2));
                      const Numbers one = slots.of(slot_moments(h));
                      for (const double c : {4.0, -0.5})  // powers of two: exact
                        CHECK(same_bits(slots.of(slot_moments(c * h)), tensor<double>({{c}, {c * c}}) * one));
                      CHECK(gap(slots.of(slot_moments(3.0 * h)), tensor<double>({{3}, {9}}) * one) < 1e-12);
                    }},
                   {"p = A mu and s = B (u_k' Sigma v_k), by hand",
                    [] {
                      const MomentSlots<double> slots(1, 3, Random(1), {.rank = 2});
                      const SlotMoments<double> m = slot_moments(randn<double>({6, 3}, Random(2)));
                      const Numbers found = slots.of(m);
                      for (Index i = 0; i < 3; ++i) {
                        double p = 0, s = 0;
                        for (Index j = 0; j < 3; ++j) p += slots.first.at({i, j}) * m.mean.at({j});
                        for (Index r = 0; r < 2; ++r) {
                          double q = 0;
                          for (Index j = 0; j < 3; ++j)
                            for (Index k = 0; k < 3; ++k)
                              q += slots.left.at({r, j}) * m.covariance.at({j, k}) * slots.right.at({r, k});
                          s += slots.second.at({i, r}) * q;
                        }
                        CHECK(found.at({0, i}) == Approx(p).epsilon(1e-13));
                        CHECK(found.at({1, i}) == Approx(s).epsilon(1e-13));
                      }
                    }},
                   {"equal means and other covariances: the same first order, another second; no common part in it",
                    [] {
                      const MomentSlots<double> slots(1, 2, Random(1));
                      // Signs (+-1, +-1) and (+-2, +-1): means 0, covariances diag(1, 1) and diag(4, 1).
                      const Numbers a = tensor<double>({{1, 1}, {1, -1}, {-1, 1}, {-1, -1}});
                      const Numbers b = a * tensor<double>({2, 1});
                      const Numbers of_a = slots.of(slot_moments(a)), of_b = slots.of(slot_moments(b));
                      CHECK(same_bits(slice(of_a, 0, 0, 1), slice(of_b, 0, 0, 1)));
                      CHECK(gap(slice(of_a, 0, 1, 2), slice(of_b, 0, 1, 2)) > 0.1);
                      CHECK(same_bits(slot_moments(a + 1e6).covariance, slot_moments(a).covariance));
                      // Five items in sixteenths, whose mean is no float near 1e6, and who are one each.
                      const Numbers near = tensor<double>({{1, 7}, {3, -2}, {-6, 4}, {0, 5}, {9, -8}}) / 16.0;
                      const Tensor<float> far = cast<float>(near + 1e6);
                      CHECK(gap(cast<double>(slot_moments(far).covariance), slot_moments(near).covariance) < 1e-6);
                    }},
                   {"averages: the first batch as it is, then (1 - momentum) old + momentum new; each task its own",
                    [] {
                      MomentSlots<double> slots(2, 3, Random(1), {.momentum = 0.25});
                      CHECK(largest(slots(0)) == 0);
                      Numbers mu, sigma;
                      for (std::uint64_t batch = 0; batch < 3; ++batch) {
                        const Numbers h = randn<double>({7, 3}, Random(batch));
                        const SlotMoments<double> now = slot_moments(h);
                        mu = batch == 0 ? now.mean : 0.75 * mu + 0.25 * now.mean;
                        sigma = batch == 0 ? now.covariance : 0.75 * sigma + 0.25 * now.covariance;
                        Context context = training();
                        slots.observe(h, 1, context);
                        slots = apply_updates(slots, context);
                        CHECK(slots.counts[1].value.item() == static_cast<std::int64_t>(batch + 1));
                      }
                      CHECK(gap(slots.means[1].value, mu) < 1e-14);
                      CHECK(gap(slots(1), slots.of({mu, sigma})) < 1e-13);
                      CHECK(largest(slots(0)) == 0);
                      Context evaluation;
                      slots.observe(ones<double>({2, 3}), 0, evaluation);
                      CHECK(evaluation.updates().empty());
                    }}},
}});

// ------------------------------------------------------------------------------------------------ dynamic (P1.3)

auto dynamic_slots() {
  return DynamicSlots<double>(3, Random(1),
                              {.slots = 2, .tasks = 2, .task_width = 2, .predictions = 2, .hidden = 4, .deviation = 1});
}

const bool dynamic_slots_row = add_method_rows({{
    .name = "dynamic_slots",
    .header = "graft/placeholder/dynamic_slots.hpp",
    .paper = "near relative: Zhou et al., Conditional prompt learning for vision-language models, CVPR 2022",
    .functions = {"DynamicSlots", "DynamicSlotOptions"},
    .use = "with_slots(layer, tokens, slots(tokens, task, answer), context)",
    .run =
        [](const Random& random) {
          DynamicSlots<float> slots(24, random.stream("slots"));
          slots.last.weight = randn<float>(slots.last.weight.shape(), random.stream("last"));
          const Tensor<float> h = randn<float>({60, 9, 24}, random.stream("tokens"));
          return to_vector(grad([&](const auto& net) { return mean(square(net(h, 0))); }, slots));
        },
    .loss =
        [](const Numbers& x) {
          const DynamicSlots<double> net = from_vector(slice(x, 0, 12, x.count()), dynamic_slots());
          return sum(square(net(reshape(slice(x, 0, 0, 12), {2, 2, 3}), 1, tensor<double>({{0.2, 0.8}, {0.5, 0.5}}))));
        },
    .loss_at = 0.6 * randn<double>({12 + count(dynamic_slots())}, Random(3)),
    .errors = {bad_use<ValueError>([] { DynamicSlots<>(4, Random(1), {.slots = -1}); }, "-1 slots"),
               bad_use<ValueError>([] { DynamicSlots<>(4, Random(1), {.tasks = 0}); }, "0 tasks"),
               bad_use<ValueError>([] { DynamicSlots<>(0, Random(1)); }, "of 0 numbers"),
               bad_use<ShapeError>(
                   [] {
                     DynamicSlots<>(4, Random(1))(zeros({3, 5}), 0);
                   },
                   "[3, 5]"),
               bad_use<ShapeError>(
                   [] {
                     DynamicSlots<>(4, Random(1))(zeros({2, 0, 4}), 0);
                   },
                   "[2, 0, 4]"),
               bad_use<IndexError>(
                   [] {
                     DynamicSlots<>(4, Random(1))(zeros({3, 4}), 1);
                   },
                   "task 1 of 1"),
               bad_use<ShapeError>(
                   [] {
                     DynamicSlots<>(4, Random(1), {.predictions = 3})(zeros({2, 3, 4}), 0, zeros({2, 2}));
                   },
                   "3 numbers for each sample")},
    .properties =
        {{"at first the static slots, bit for bit, whatever the sample, task and answer",
          [] {
            const DynamicSlots<double> slots = dynamic_slots();
            const Numbers h = randn<double>({4, 5, 3}, Random(2)), before = rand<double>({4, 2}, Random(3));
            const Numbers fixed = broadcast_to(slots.slots, {4, 2, 3});
            for (const Index task : {0, 1}) {
              CHECK(same_bits(slots(h, task), fixed));
              CHECK(same_bits(slots(h, task, before), fixed));
            }
            CHECK(DynamicSlots<double>(3, Random(1), {.slots = 0, .task_width = 0})(h, 0).shape() == Shape{4, 0, 3});
          }},
         {"P + G by hand, and no answer is an answer of zeros",
          [] {
            const DynamicSlots<double> slots = scattered(dynamic_slots());
            const Numbers h = randn<double>({5, 3}, Random(2)), before = tensor<double>({0.3, 0.7});
            std::vector<double> in;
            for (Index j = 0; j < 3; ++j) {
              in.push_back(0);
              for (Index i = 0; i < 5; ++i) in.back() += h.at({i, j}) / 5;
            }
            for (Index j = 0; j < 2; ++j) in.push_back(slots.tasks.at({1, j}));
            in.push_back(0.3);
            in.push_back(0.7);
            std::vector<double> hidden;
            for (Index u = 0; u < 4; ++u) {
              double y = slots.first.bias->at({u});
              for (Index k = 0; k < 7; ++k) y += slots.first.weight.at({u, k}) * in[k];
              hidden.push_back(y * 0.5 * std::erfc(-y / std::sqrt(2.0)));
            }
            const Numbers found = slots(h, 1, before);
            for (Index o = 0; o < 6; ++o) {
              double y = slots.last.bias->at({o}) + slots.slots.at({o / 3, o % 3});
              for (Index u = 0; u < 4; ++u) y += slots.last.weight.at({o, u}) * hidden[u];
              CHECK(found.at({o / 3, o % 3}) == Approx(y).epsilon(1e-12));
            }
            CHECK(same_bits(slots(h, 1), slots(h, 1, zeros<double>({2}))));
          }},
         {"after one step they depend on the sample, the task and the answer",
          [] {
            const DynamicSlots<double> before = dynamic_slots();
            const Numbers h = randn<double>({3, 5, 3}, Random(2)), answer = rand<double>({3, 2}, Random(3));
            const Numbers target = randn<double>({3, 2, 3}, Random(4));
            const auto loss = [&](const auto& net) { return sum(square(net(h, 0, answer) - target)); };
            const DynamicSlots<double> after = before - 0.1 * grad(loss, before);
            const Numbers slots = after(h, 0, answer);
            CHECK(gap(slice(slots, 0, 0, 1), slice(slots, 0, 1, 2)) > 1e-3);
            CHECK(gap(after(h, 1, answer), slots) > 1e-3);
            CHECK(gap(after(h, 0, 1 - answer), slots) > 1e-3);
          }},
         {"no gradient flows into the answer",
          [] {
            const DynamicSlots<double> slots = scattered(dynamic_slots());
            const Numbers h = randn<double>({3, 5, 3}, Random(2));
            const auto loss = [&](const Numbers& answer) { return sum(square(slots(h, 0, answer))) + sum(answer); };
            const Numbers answer = rand<double>({3, 2}, Random(3));
            CHECK(same_bits(grad(loss, answer), ones<double>({3, 2})));
            CHECK(std::abs(loss(answer + 0.1).item() - loss(answer).item() - 0.6) > 1e-3);
          }}},
}});

// ------------------------------------------------------------------------------------------------- staged (P1.4)

auto staged_slots() {
  return StagedSlots<MultiHeadAttention<double>, double>(attention_layers(2, kWidth), {{0, 1}, {1, 2}}, 4, kWidth,
                                                         Random(3), {.slots = 2, .deviation = 1});
}
Numbers staged_loss(const StagedSlots<MultiHeadAttention<double>, double>& net, Index task) {
  return sum(square(net(randn<double>({2, 3, kWidth}, Random(5)), task, Context())));
}

const bool staged_slots_row = add_method_rows({{
    .name = "staged_slots",
    .header = "graft/placeholder/staged_slots.hpp",
    .paper = "near relative: Jia et al., Visual prompt tuning, ECCV 2022",
    .functions = {"StagedSlots", "StagedSlotOptions"},
    .use = "StagedSlots(encoder.layers, {{0, 1}, {1, 2}}, 3, 64, random)(tokens, task, context)",
    .run =
        [](const Random& random) {
          const StagedSlots<TransformerEncoderLayer<float>> net(encoder_layers<float>(2, 16, 0.1), {{0}, {0, 1}}, 2, 16,
                                                                random.stream("slots"));
          const Tensor<float> h = randn<float>({8, 20, 16}, random.stream("tokens"));
          return to_vector(
              grad([&](const auto& n) { return sum(square(n(h, 0, Context(Phase::training, random)) - h)); }, net));
        },
    .loss = [](const Numbers& x) { return staged_loss(from_vector(x, staged_slots()), 1); },
    .loss_at = 0.5 * randn<double>({count(staged_slots())}, Random(8)),
    .errors = {bad_use<ValueError>([] { StagedSlots<MeanLayer>(std::vector<MeanLayer>(2), {{0}}, 1, 4, Random(1)); },
                                   "1 groups for 2 layers"),
               bad_use<IndexError>(
                   [] {
                     StagedSlots<MeanLayer>(std::vector<MeanLayer>(1), {{0, 3}}, 3, 4, Random(1));
                   },
                   "task 3 of 3"),
               bad_use<ValueError>(
                   [] {
                     StagedSlots<MeanLayer>(std::vector<MeanLayer>(1), {{0, 0}}, 1, 4, Random(1));
                   },
                   "task 0 is twice"),
               bad_use<IndexError>(
                   [] {
                     staged_slots()(zeros<double>({3, kWidth}), 4, Context());
                   },
                   "task 4 of 4"),
               bad_use<IndexError>([] { staged_slots().serves(2, 0); }, "layer 2 of 2"),
               bad_use<ValueError>([] { StagedSlots<MeanLayer>({}, {}, 1, 4, Random(1)); }, "no layers"),
               bad_use<ValueError>(
                   [] {
                     auto net = staged_slots();
                     net.banks.pop_back();
                     net(zeros<double>({3, kWidth}), 0, Context());
                   },
                   "1 banks for 2 layers"),
               bad_use<ValueError>(
                   [] {
                     auto net = staged_slots();
                     net.groups.pop_back();
                     net(zeros<double>({3, kWidth}), 0, Context());
                   },
                   "1 groups for 2 layers"),
               bad_use<ValueError>(
                   [] {
                     auto net = staged_slots();
                     net.stage = 3;
                     net(zeros<double>({3, kWidth}), 0, Context());
                   },
                   "stage 3 of 2")},
    .properties =
        {{"a task outside a layer's group gives its slots a gradient of exactly 0",
          [] {
            for (Index task = 0; task < 4; ++task) {
              const auto slope = grad([&](const auto& net) { return staged_loss(net, task); }, staged_slots());
              for (Index layer = 0; layer < 2; ++layer) {
                const bool inside = (layer == 0 && task <= 1) || (layer == 1 && (task == 1 || task == 2));
                const double size = largest(slope.banks[layer]);
                CHECK(staged_slots().serves(layer, task) == inside);
                CHECK((inside ? size > 1e-4 : size == 0));
              }
            }
          }},
         {"stages unlock the groups one after another; locked, or in no group: the layers alone, bit for bit",
          [] {
            auto net = staged_slots();
            const Numbers h = randn<double>({2, 3, kWidth}, Random(6));
            const Numbers alone = through(net.layers, h, Context());
            CHECK(same_bits(net(h, 3, Context()), alone));
            const Numbers all = net(h, 1, Context());
            for (Index stage = 0; stage <= 2; ++stage) {
              net.stage = stage;
              const auto slope = grad([&](const auto& n) { return staged_loss(n, 1); }, net);
              for (Index layer = 0; layer < 2; ++layer) CHECK((largest(slope.banks[layer]) > 0) == (layer < stage));
              CHECK(same_bits(net(h, 2, Context()), alone) == (stage < 2));
              CHECK(same_bits(net(h, 1, Context()), alone) == (stage == 0));
              CHECK(same_bits(net(h, 1, Context()), all) == (stage == 2));
            }
          }},
         {"all tasks in all groups: a stack of deep slots",
          [] {
            const auto layers = attention_layers(2, kWidth);
            const StagedSlots<MultiHeadAttention<double>, double> net(layers, {{0}, {0}}, 1, kWidth, Random(3));
            const SlotStack<MultiHeadAttention<double>, double> deep(layers, kWidth, Random(3));
            const Numbers h = randn<double>({2, 3, kWidth}, Random(6));
            CHECK(same_bits(net(h, 0, Context()), deep(h, Context())));
          }}},
}});

}  // namespace
